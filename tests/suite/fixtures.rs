//! Real data, where it is: a library and two backups that VPO made. Found by `VPO_FIXTURES`, or as `shared/fixtures`
//! beside the checkout.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::*;

/// A file of the fixtures; where they are not, says that `what` is skipped.
#[track_caller]
fn fixture(name: &str) -> Option<PathBuf> {
    let dir = match std::env::var_os("VPO_FIXTURES").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
    };
    let path = dir.join(name);
    if !path.is_file() {
        // Not a tool that can be installed: never required.
        use std::io::Write;
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {name}: there are no fixtures (VPO_FIXTURES)"
        );
        return None;
    }
    Some(path)
}

/// Both backups of VPO, with what is true of them: files, length of the database in it, and by its metadata.
const BACKUPS: [(&str, u64, u64, u64); 2] = [
    ("vpo-library-2026-11-20T08-25-12Z.tar.gz", 500, 1_724_416, 1_724_416),
    ("vpo-library-2026-02-05T14-30-22Z.tar.gz", 1100, 1_892_352, 1_724_416),
];

#[test]
fn the_pipeline_on_a_real_library() {
    let Some(library) = fixture("library.db") else { return };
    let world = World::new();
    let bytes = read(&library);
    write(world.path("library.db"), &bytes);
    let file = std::fs::File::create(world.path("x.tar.gz")).unwrap();
    let snapshot = world.cmd("vpo-snapshot").arg("library.db");
    pipeline([snapshot, world.cmd("vpo-pack").stdout(file)]).ok();
    world.cmd("vpo-verify").arg("x.tar.gz").run().silent();
    world
        .cmd("vpo-unpack-restore")
        .args(["--db", "new.db", "x.tar.gz"])
        .run()
        .silent();
    same("restored", &read(world.path("new.db")), &bytes);
    same("the library", &read(world.path("library.db")), &bytes);
    if has_tool("tar", "tar xzf of a real library") {
        std::fs::create_dir(world.path("t")).unwrap();
        world.tool("tar").args(["xzf", "x.tar.gz", "-C", "t"]).run().silent();
        same("unpacked by tar", &read(world.path("t/library.db")), &bytes);
    }
    let (_, metadata) = unpack(&read(world.path("x.tar.gz")));
    assert_eq!(
        (&metadata["file_count"], &metadata["schema_version"]),
        (&json!(500), &json!(27))
    );
}

#[test]
fn backups_that_vpo_made() {
    let world = World::new();
    std::fs::create_dir(world.backups()).unwrap();
    for (name, files, inside, said) in BACKUPS {
        let Some(path) = fixture(name) else { return };
        let archive = read(&path);
        write(world.backups().join(name), &archive);
        let (database, metadata) = unpack(&archive);
        assert_eq!(
            (database.len() as u64, &metadata["database_size_bytes"]),
            (inside, &json!(said))
        );

        let json = world
            .cmd("vpo-verify")
            .args(["--json"])
            .arg(&path)
            .run()
            .silent()
            .json();
        assert_eq!(
            (&json["bad_count"], &json["archives"][0]["file_count"]),
            (&json!(0), &json!(files))
        );
        world
            .cmd("vpo-unpack-restore")
            .args(["--db", "new.db"])
            .arg(&path)
            .run()
            .ok();
        same(name, &read(world.path("new.db")), &database);
        // Over another library.
        world.default_library();
        world
            .cmd("vpo-unpack-restore")
            .args(["--yes", "--no-safety-backup"])
            .arg(&path)
            .run()
            .ok();
        same_content(name, &dump(&world.library()), &dump_bytes(&database));
        std::fs::remove_file(world.path("new.db")).unwrap();
        std::fs::remove_file(world.library()).unwrap();
        // Every byte of it counts here too: the CRC is at the very end.
        for cut in [1, 8, 9, archive.len() / 2] {
            world.verify(&archive[..archive.len() - cut]).exits(46);
        }
    }
    let json = world.cmd("vpo-ls-backups").arg("--json").run().silent().json();
    for (row, (name, files, inside, _)) in json["backups"].as_array().unwrap().iter().zip(BACKUPS) {
        assert_eq!((&row["filename"], &row["file_count"]), (&json!(name), &json!(files)));
        assert_eq!(
            (&row["database_size_bytes"], &row["schema_version"]),
            (&json!(inside), &json!(27))
        );
    }
    assert_eq!(json["total_count"], 2);
    world.cmd("vpo-library").arg("verify").run().silent();
    world.cmd("vpo-library").args(["restore", "latest"]).run().ok();
    same_content(
        "latest",
        &dump(&world.library()),
        &dump_bytes(&unpack(&read(world.backups().join(BACKUPS[0].0))).0),
    );
}
