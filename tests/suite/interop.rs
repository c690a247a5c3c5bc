//! Other people's tools read our archives, and we read theirs.

use crate::generate::{Facts, Journal, Sample};
use crate::support::*;

/// A world with a library of several blocks, its archive at `x.tar.gz`, and the library's facts.
fn scene() -> (World, Facts) {
    let world = World::new();
    let facts = world.make_library(&Sample {
        journal: Journal::Delete,
        ..files(150)
    });
    write(world.path("x.tar.gz"), &world.archive_of(&world.library()));
    (world, facts)
}

#[test]
fn tar_reads_ours() {
    if !has_tool("tar", "tar") {
        return;
    }
    let (world, _) = scene();
    let list = world.tool("tar").args(["tzf", "x.tar.gz"]).run().silent();
    assert_eq!(list.text(), "library.db\nbackup_metadata.json\n");
    world.tool("tar").args(["xzf", "x.tar.gz"]).run().silent();
    same("unpacked", &read(world.path("library.db")), &read(world.library()));
    let metadata: serde_json::Value = serde_json::from_slice(&read(world.path("backup_metadata.json"))).unwrap();
    assert_eq!(metadata, unpack(&read(world.path("x.tar.gz"))).1);
    let piped = world
        .tool("tar")
        .args(["xzOf", "-", "library.db"])
        .stdin_file(&world.path("x.tar.gz"));
    same("through a pipe", &piped.run().silent().stdout, &read(world.library()));
}

#[test]
fn gzip_reads_ours() {
    if !has_tool("gzip", "gzip") {
        return;
    }
    let (world, _) = scene();
    world.tool("gzip").args(["-t", "x.tar.gz"]).run().silent();
    let out = world.tool("gzip").args(["-dc", "x.tar.gz"]).run().silent();
    same("unpacked", &out.stdout, &gunzip(&read(world.path("x.tar.gz"))));
}

#[test]
fn pythons_tarfile_reads_ours() {
    if !has_tool("python3", "Python's tarfile") {
        return;
    }
    let (world, _) = scene();
    let script = "
import tarfile, json, sys
with tarfile.open('x.tar.gz', 'r:gz') as t:
    members = t.getmembers()
    for m in members:
        assert m.isreg() and m.mode == 0o600 and m.uid == m.gid == 0 and m.uname == m.gname == '', m.get_info()
    assert [m.name for m in members] == ['library.db', 'backup_metadata.json'], t.getnames()
    metadata = json.load(t.extractfile('backup_metadata.json'))
    for key, kind in dict(vpo_version=str, schema_version=int, created_at=str, database_size_bytes=int,
                          file_count=int, total_library_size_bytes=int, compression=str).items():
        assert type(metadata[key]) is kind, key
    sys.stdout.buffer.write(t.extractfile('library.db').read())
";
    let out = world.tool("python3").args(["-c", script]).run().silent();
    same("unpacked", &out.stdout, &read(world.library()));
}

#[test]
fn we_read_what_tar_makes() {
    if !has_tool("tar", "tar") || !has_tool("gzip", "gzip") {
        return;
    }
    let (world, facts) = scene();
    std::fs::create_dir(world.path("d")).unwrap();
    write(world.path("d/library.db"), &read(world.library()));
    write(
        world.path("d/backup_metadata.json"),
        vpo_metadata(&facts).to_string().as_bytes(),
    );
    let (db, json) = ("library.db", "backup_metadata.json");
    for args in [
        &["czf", "-", "-C", "d", db, json][..],
        &["czf", "-", "-C", "d", json, db],
        &["czf", "-", "-C", "d", "./library.db", "./backup_metadata.json"],
        &["czf", "-", "--format=ustar", "-C", "d", db, json],
        &["czf", "-", "--format=pax", "-C", "d", db, json],
        &["czf", "-", "--format=gnu", "-C", "d", db, json],
    ] {
        println!("{args:?}");
        let archive = world.tool("tar").args(args).run().ok().stdout;
        accepted(&world, &archive);
    }
    // `cd d && tar czf ../x.tar.gz .` has the directory itself, which was refused.
    for (tool, format) in [
        ("tar", "--format=gnu"),
        ("tar", "--format=pax"),
        ("tar", "--format=ustar"),
        ("bsdtar", "--format=pax"),
    ] {
        if has_tool(tool, tool) {
            let tar = world.tool(tool).args([format, "-czf", "dot.tar.gz", "-C", "d", "."]);
            tar.run().ok();
            let archive = read(world.path("dot.tar.gz"));
            assert!(
                gunzip(&archive).windows(2).any(|bytes| bytes == b"./"),
                "{tool} {format}"
            );
            accepted(&world, &archive);
        }
    }
    // Below it there is nothing else.
    std::fs::create_dir(world.path("d/below")).unwrap();
    let archive = world.tool("tar").args(["czf", "-", "-C", "d", "."]).run().ok().stdout;
    let out = world.verify(&archive).exits(46);
    assert!(
        out.text().contains("the member './below/' is a directory"),
        "{}",
        out.text()
    );
    // Packed anew, the blocks are one plain member.
    let pipe = pipeline([
        world.tool("gzip").args(["-dc", "x.tar.gz"]),
        world.tool("gzip").arg("-9c"),
    ]);
    accepted(&world, &pipe.ok());
}

#[test]
fn we_read_what_python_makes() {
    if !has_tool("python3", "Python's tarfile") {
        return;
    }
    let (world, facts) = scene();
    write(world.path("library.db"), &read(world.library()));
    write(
        world.path("backup_metadata.json"),
        vpo_metadata(&facts).to_string().as_bytes(),
    );
    for format in ["USTAR", "GNU", "PAX"] {
        let script = format!(
            "
import tarfile
with tarfile.open('py.tar.gz', 'w:gz', format=tarfile.{format}_FORMAT) as t:
    t.add('library.db')
    t.add('backup_metadata.json')
"
        );
        world.tool("python3").args(["-c", &script]).run().silent();
        accepted(&world, &read(world.path("py.tar.gz")));
    }
}

#[track_caller]
fn accepted(world: &World, archive: &[u8]) {
    world.verify(archive).silent();
    world
        .cmd("vpo-unpack-restore")
        .args(["--db", "new.db"])
        .input(archive)
        .run()
        .ok();
    same("restored", &read(world.path("new.db")), &read(world.library()));
    std::fs::remove_file(world.path("new.db")).unwrap();
    std::fs::create_dir(world.path("list")).unwrap();
    write(world.path("list").join(NAME), archive);
    let json = world
        .cmd("vpo-ls-backups")
        .args(["--json", "list"])
        .run()
        .silent()
        .json();
    assert_eq!(json["backups"][0]["file_count"], 150);
    std::fs::remove_dir_all(world.path("list")).unwrap();
}

/// Another SQLite, of the system, reads what was restored.
#[test]
fn the_sqlite_shell_reads_what_was_restored() {
    if !has_tool("sqlite3", "sqlite3") {
        return;
    }
    let (world, _) = scene();
    world
        .cmd("vpo-unpack-restore")
        .args(["--db", "new.db", "x.tar.gz"])
        .run()
        .ok();
    let sqlite = |path: &std::path::Path, sql: &str| world.tool("sqlite3").arg(path).arg(sql).run().silent().stdout;
    assert_eq!(sqlite(&world.path("new.db"), "PRAGMA integrity_check"), b"ok\n");
    same(
        "dump",
        &sqlite(&world.path("new.db"), ".dump"),
        &sqlite(&world.library(), ".dump"),
    );
}
