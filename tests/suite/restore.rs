//! `vpo-unpack-restore`: the library is the old one or the new one, whole, whatever happens.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::generate::{AutoVacuum, Journal, Sample, Size};
use crate::support::strace;
use crate::support::*;

/// The library that is replaced.
fn old() -> Sample {
    Sample { seed: 2, ..files(40) }
}

/// The only file in a directory.
#[track_caller]
fn only(dir: &Path) -> PathBuf {
    let names = names(dir);
    assert_eq!(names.len(), 1, "{names:?}");
    dir.join(&names[0])
}

/// A world with an old library and, as `new.tar.gz`, a backup of another one; and the content of both.
struct Scene {
    world: World,
    old: String,
    new: String,
}

impl Scene {
    fn with(old: &Sample, new: &Sample) -> Self {
        let world = World::new();
        make(new, &world.path("new.db"));
        write(world.path("new.tar.gz"), &world.archive_of(&world.path("new.db")));
        let new = dump(&world.path("new.db"));
        world.make_library(old);
        let old = dump(&world.library());
        Scene { world, old, new }
    }

    fn new() -> Self {
        Self::with(&old(), &files(100))
    }

    fn cmd(&self) -> Cmd {
        self.world.cmd("vpo-unpack-restore")
    }

    /// Restores with `--yes` and these options.
    #[track_caller]
    fn restore(&self, options: &[&str]) -> Output {
        self.cmd().arg("--yes").args(options).arg("new.tar.gz").run()
    }

    /// Fails with this code, with and without `--dry-run`, and touches nothing.
    #[track_caller]
    fn refused(&self, code: i32, options: &[&str], needles: &[&str]) -> Output {
        let dry = || self.restore(&[&["--dry-run"], options].concat());
        unchanged(&self.world.home(), || dry().fails_after_all(code, needles));
        let out = unchanged(&self.world.home(), || {
            self.restore(options).fails_after_all(code, needles)
        });
        self.world.clean();
        out
    }

    #[track_caller]
    fn has_new_content(&self) {
        same_content("the restored library", &dump(&self.world.library()), &self.new);
        self.world.clean();
    }

    /// What lies beside the library under a name that begins with that of a replaced one.
    fn aside(&self) -> Vec<PathBuf> {
        let dir = self.world.home().join(".vpo");
        let names = names(&dir);
        let aside = names.iter().filter(|name| name.starts_with("library.db.replaced-"));
        aside.map(|name| dir.join(name)).collect()
    }
}

#[test]
fn where_there_is_no_library() {
    let scene = Scene::new();
    let world = &scene.world;
    std::fs::remove_file(world.library()).unwrap();
    // Nobody is asked.
    let out = scene.cmd().arg("new.tar.gz").run().silent();
    assert!(out.text().contains("library.db"), "{}", out.text());
    same("bytes", &read(world.library()), &read(world.path("new.db")));
    assert_eq!(mode(&world.library()), 0o600);
    assert_eq!(names(&world.home().join(".vpo")), ["library.db"]);

    for from in [
        scene.cmd().args(["--db", "a/b/lib.db", "new.tar.gz"]),
        scene
            .cmd()
            .args(["--db", "c/lib.db"])
            .input(&read(world.path("new.tar.gz"))),
        scene
            .cmd()
            .args(["--db", "d/lib.db", "-"])
            .stdin_file(&world.path("new.tar.gz")),
    ] {
        from.run().silent();
    }
    for dir in ["a", "a/b", "c", "d"] {
        assert_eq!(mode(&world.path(dir)), 0o700);
    }
    for path in ["a/b/lib.db", "c/lib.db", "d/lib.db"] {
        same(path, &read(world.path(path)), &read(world.path("new.db")));
    }
    // A dry run does not even make the directory.
    unchanged(&world.path(""), || {
        scene
            .cmd()
            .args(["--dry-run", "--db", "e/f/lib.db", "new.tar.gz"])
            .run()
            .silent();
    });
    world.clean();
}

#[test]
fn a_new_library_belongs_to_the_owner_of_its_directory() {
    let scene = Scene::new();
    let dir = scene.world.path("d");
    std::fs::create_dir(&dir).unwrap();
    if std::os::unix::fs::chown(&dir, Some(1234), Some(2345)).is_err() {
        return skipped("owner of a new library", "this user can't give files away");
    }
    scene.cmd().args(["--db", "d/lib.db", "new.tar.gz"]).run().silent();
    let meta = dir.join("lib.db").metadata().unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1234, 2345));
}

#[test]
fn a_sound_library_is_replaced_in_place() {
    for (from, to) in [
        (Journal::Wal, Journal::Wal),
        (Journal::Delete, Journal::Wal),
        (Journal::Wal, Journal::Delete),
        (Journal::Delete, Journal::Delete),
    ] {
        println!("{from:?} -> {to:?}");
        let scene = Scene::with(
            &Sample { journal: from, ..old() },
            &Sample {
                journal: to,
                ..files(100)
            },
        );
        let library = scene.world.library();
        std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o640)).unwrap();
        let _ = std::os::unix::fs::chown(&library, Some(1234), Some(2345));
        let hard = scene.world.home().join("hard link");
        std::fs::hard_link(&library, &hard).unwrap();
        let before = library.metadata().unwrap();
        let out = scene.restore(&[]).silent();
        assert!(out.text().contains("100"), "{}", out.text());
        scene.has_new_content();
        let after = library.metadata().unwrap();
        assert_eq!(
            (after.ino(), after.uid(), after.gid()),
            (before.ino(), before.uid(), before.gid())
        );
        assert_eq!(mode(&library), 0o640);
        same_content("by its other name", &dump(&hard), &scene.new);
        assert_eq!(names(&scene.world.home().join(".vpo")), ["backups", "library.db"]);
        // And VPO goes on with it.
        let mut peer = Peer::open(&library);
        peer.sql("PRAGMA journal_mode = WAL");
        peer.insert(3);
        assert_eq!(peer.sql("PRAGMA integrity_check"), "ok");
    }
}

#[test]
fn other_page_sizes_and_auto_vacuum() {
    let shape = |page_size, auto_vacuum, journal| Sample {
        page_size,
        auto_vacuum,
        journal,
        ..Sample::default()
    };
    let none = AutoVacuum::None;
    let wal = Journal::Wal;
    for (from, to) in [
        (shape(4096, none, wal), shape(512, none, wal)),
        (shape(512, none, wal), shape(4096, none, wal)),
        (shape(4096, none, wal), shape(65536, none, wal)),
        (shape(65536, none, wal), shape(1024, none, wal)),
        (shape(4096, none, Journal::Delete), shape(8192, none, wal)),
        (shape(4096, AutoVacuum::Full, wal), shape(4096, none, wal)),
        (shape(4096, AutoVacuum::Incremental, wal), shape(4096, none, wal)),
        (shape(4096, none, wal), shape(4096, AutoVacuum::Full, wal)),
        (
            shape(4096, AutoVacuum::Full, wal),
            shape(4096, AutoVacuum::Incremental, wal),
        ),
        (
            shape(1024, AutoVacuum::Full, Journal::Delete),
            shape(4096, AutoVacuum::Incremental, Journal::Delete),
        ),
    ] {
        let what = format!("{from:?} -> {to:?}");
        println!("{what}");
        let scene = Scene::with(
            &Sample {
                size: Size::Files(60),
                ..from
            },
            &Sample { seed: 3, ..to },
        );
        // Longer than the new one, and shorter.
        scene.restore(&["--safety-dir", "safe"]).silent();
        scene.has_new_content();
        assert_eq!(names(&scene.world.home().join(".vpo")), ["library.db"], "{what}");
        let mut peer = Peer::open(&scene.world.library());
        assert_eq!(peer.sql("PRAGMA integrity_check"), "ok", "{what}");
        assert_eq!(peer.sql("PRAGMA page_size"), to.page_size.to_string(), "{what}");
        let auto_vacuum = (to.auto_vacuum as i32).to_string();
        assert_eq!(peer.sql("PRAGMA auto_vacuum"), auto_vacuum, "{what}");
        peer.sql("PRAGMA journal_mode = WAL");
        peer.insert(3);
        peer.close();
        let safety = scene.world.path("safe").join(&names(&scene.world.path("safe"))[0]);
        same_content(&what, &dump_bytes(&unpack(&read(safety)).0), &scene.old);
    }
}

/// Spoils the library in a way of its own.
type Damage = (&'static str, &'static dyn Fn(&mut Vec<u8>));

const DAMAGES: [Damage; 5] = [
    ("no header", &|bytes| bytes[..100].fill(0)),
    ("text", &|bytes| *bytes = b"this was a library once\n".repeat(400)),
    ("cut off", &|bytes| bytes.truncate(bytes.len() / 2)),
    ("a damaged page", &|bytes| {
        let middle = bytes.len() / 8192 * 4096;
        bytes[middle..middle + 4096].fill(0x55);
    }),
    ("a damaged schema", &|bytes| bytes[100..4096].fill(0xff)),
];

#[test]
fn a_damaged_library_is_moved_aside() {
    for (name, damage) in DAMAGES {
        println!("{name}");
        let scene = Scene::new();
        let library = scene.world.library();
        let mut bytes = read(&library);
        damage(&mut bytes);
        write(&library, &bytes);
        std::fs::set_permissions(&library, std::fs::Permissions::from_mode(0o664)).unwrap();
        let owned = std::os::unix::fs::chown(&library, Some(1234), Some(2345)).is_ok();
        unchanged(&scene.world.home(), || scene.restore(&["--dry-run"]).ok());
        let out = scene.restore(&["--json", "--safety-dir", "safe"]).ok();
        assert_eq!(out.json()["safety_backup"], json!(null));
        same("bytes", &read(&library), &read(scene.world.path("new.db")));
        let aside = scene.aside();
        assert_eq!(aside.len(), 1, "{name}: {aside:?}");
        same(name, &read(&aside[0]), &bytes);
        assert_eq!(mode(&library), 0o664, "{name}");
        if owned {
            let meta = library.metadata().unwrap();
            assert_eq!((meta.uid(), meta.gid()), (1234, 2345), "{name}");
        }
        assert!(!scene.world.path("safe").exists() || names(&scene.world.path("safe")).is_empty());
        scene.world.clean();
    }
}

#[test]
fn a_damaged_library_keeps_its_side_files() {
    let scene = Scene::new();
    let library = scene.world.library();
    let mut peer = Peer::open(&library);
    peer.insert(20);
    peer.kill();
    let log = read(beside(&library, "-wal"));
    // Of a copy, so that the log stays as it is.
    let copy = scene.world.path("copy.db");
    write(&copy, &read(&library));
    damage_index(&copy);
    let bytes = read(&copy);
    write(&library, &bytes);
    assert!(!log.is_empty());
    scene.restore(&[]).ok();
    same("bytes", &read(&library), &read(scene.world.path("new.db")));
    let aside = scene.aside();
    let main = aside
        .iter()
        .find(|path| !path.to_str().unwrap().ends_with("-wal") && !path.to_str().unwrap().ends_with("-shm"));
    let main = main.unwrap();
    same("the library", &read(main), &bytes);
    same("its log", &read(beside(main, "-wal")), &log);
    scene.has_new_content();
}

#[test]
fn a_damaged_library_in_use() {
    let scene = Scene::new();
    let mut peer = Peer::open(&scene.world.library());
    peer.sql("BEGIN; SELECT count(*) FROM files");
    let mut bytes = read(scene.world.library());
    let middle = bytes.len() / 8192 * 4096;
    bytes[middle..middle + 4096].fill(0x55);
    write(scene.world.library(), &bytes);
    scene.refused(43, &["--timeout", "0.1"], &[&peer.pid()]);
    peer.kill();
}

#[test]
fn the_log_of_a_library_that_vanished_is_not_replayed() {
    let scene = Scene::new();
    let library = scene.world.library();
    let mut peer = Peer::open(&library);
    peer.insert(20);
    peer.kill();
    std::fs::remove_file(&library).unwrap();
    let log = read(beside(&library, "-wal"));
    scene.cmd().arg("new.tar.gz").run().ok();
    scene.has_new_content();
    let aside = scene.aside();
    let kept = aside
        .iter()
        .find(|path| path.to_str().unwrap().ends_with("-wal"))
        .unwrap();
    same("the log", &read(kept), &log);
    assert!(!beside(&library, "-wal").exists());
}

#[test]
fn a_database_of_somebody_else_is_never_replaced() {
    for sql in [
        "CREATE TABLE photos (x); INSERT INTO photos VALUES (1)",
        "PRAGMA journal_mode = WAL; CREATE TABLE files (size_bytes)",
        "CREATE TABLE _meta (key, value); INSERT INTO _meta VALUES ('schema_version', '27')",
    ] {
        let scene = Scene::new();
        std::fs::remove_file(scene.world.library()).unwrap();
        sqlite(&scene.world.library(), sql);
        scene.refused(42, &[], &["library.db"]).hint();
    }
}

#[test]
fn symlinks_are_followed() {
    let scene = Scene::new();
    let home = scene.world.home();
    std::fs::create_dir(home.join("real")).unwrap();
    std::fs::rename(scene.world.library(), home.join("real/lib.db")).unwrap();
    std::os::unix::fs::symlink("../real/lib.db", home.join(".vpo/two.db")).unwrap();
    std::os::unix::fs::symlink("two.db", scene.world.library()).unwrap();
    let inode = home.join("real/lib.db").metadata().unwrap().ino();
    scene.restore(&[]).silent();
    assert!(scene.world.library().is_symlink() && home.join(".vpo/two.db").is_symlink());
    assert_eq!(home.join("real/lib.db").metadata().unwrap().ino(), inode);
    scene.has_new_content();
    assert_eq!(names(&home.join("real")), ["lib.db"]);

    // To a library that is missing, and one in a circle.
    std::fs::remove_file(home.join("real/lib.db")).unwrap();
    scene.restore(&[]).silent();
    assert!(scene.world.library().is_symlink());
    same(
        "bytes",
        &read(home.join("real/lib.db")),
        &read(scene.world.path("new.db")),
    );
    std::fs::remove_file(home.join(".vpo/two.db")).unwrap();
    std::os::unix::fs::symlink("library.db", home.join(".vpo/two.db")).unwrap();
    unchanged(&home, || scene.restore(&[]).fails(40, &["too many symbolic links"]));
}

#[test]
fn whoever_has_the_library_open_is_named() {
    for (journal, sql) in [
        (Journal::Wal, "SELECT 1"),
        (Journal::Wal, "BEGIN; SELECT count(*) FROM files"),
        (Journal::Wal, "BEGIN IMMEDIATE"),
        (Journal::Wal, "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT"),
        (Journal::Delete, "BEGIN; SELECT count(*) FROM files"),
        (Journal::Delete, "BEGIN IMMEDIATE"),
        (Journal::Delete, "BEGIN EXCLUSIVE"),
    ] {
        println!("{journal:?} {sql}");
        let scene = Scene::with(&Sample { journal, ..old() }, &files(100));
        let mut peer = Peer::open(&scene.world.library());
        peer.sql(sql);
        let options = ["--timeout", "0.1", "--safety-dir", "safe"];
        let out = scene.refused(43, &options, &[&peer.pid(), "suite"]);
        assert!(out.hint().contains("daemon"), "{}", out.stderr);
        assert!(!scene.world.path("safe").exists() || names(&scene.world.path("safe")).is_empty());
        let out = scene.restore(&["--json", "--timeout", "0"]);
        out.fails(43, &[&peer.pid()]).json_error(43);
        // Until it is gone.
        if strace::available("waiting for a lock") {
            let restore = |cmd: Cmd| cmd.args(["--yes", "--timeout", "60", "new.tar.gz"]);
            let mut waiting = strace::waiting(&scene.world, "vpo-unpack-restore", restore);
            waiting.is_refused();
            peer.kill();
            waiting.finish().ok();
            scene.has_new_content();
        }
    }
}

#[test]
fn rows_of_a_writer_are_never_lost_unnoticed() {
    // What was committed before the restore is in the safety backup, in whichever file it lay.
    let scene = Scene::new();
    let mut peer = Peer::open(&scene.world.library());
    peer.insert(30);
    peer.kill();
    let committed = dump(&scene.world.library());
    assert_ne!(committed, scene.old);
    scene.restore(&["--safety-dir", "safe"]).ok();
    scene.has_new_content();
    let safe = scene.world.path("safe");
    same_content(
        "safety backup",
        &dump_bytes(&unpack(&read(safe.join(&names(&safe)[0]))).0),
        &committed,
    );
}

#[test]
fn an_idle_connection_in_rollback_mode_sees_the_new_content() {
    let scene = Scene::with(
        &Sample {
            journal: Journal::Delete,
            ..old()
        },
        &files(100),
    );
    let mut peer = Peer::open(&scene.world.library());
    assert_eq!(peer.sql("SELECT count(*) FROM files"), "40");
    scene.restore(&[]).ok();
    assert_eq!(peer.sql("SELECT count(*) FROM files"), "100");
    peer.insert(1);
    assert_eq!(peer.sql("PRAGMA integrity_check"), "ok");
    assert_eq!(peer.sql("SELECT count(*) FROM files"), "101");
}

#[test]
fn a_hot_journal_is_rolled_back_first() {
    let scene = Scene::with(
        &Sample {
            journal: Journal::Delete,
            ..files(500)
        },
        &files(100),
    );
    let mut peer = Peer::open(&scene.world.library());
    peer.sql("PRAGMA cache_size = 2; BEGIN IMMEDIATE; UPDATE files SET filename = hex(randomblob(60))");
    peer.kill();
    assert!(
        beside(&scene.world.library(), "-journal").metadata().unwrap().len() > 512,
        "no hot journal"
    );
    unchanged(&scene.world.home(), || scene.restore(&["--dry-run"]).ok());
    scene.restore(&["--safety-dir", "safe"]).ok();
    scene.has_new_content();
    let safe = scene.world.path("safe");
    same_content(
        "safety backup",
        &dump_bytes(&unpack(&read(safe.join(&names(&safe)[0]))).0),
        &scene.old,
    );
}

#[test]
fn the_question() {
    for (answer, yes) in [
        ("y\n", true),
        ("yes\n", true),
        ("YES\n", true),
        ("Y\n", true),
        ("n\n", false),
        ("\n", false),
        ("yeah\n", false),
        ("\x04", false),
    ] {
        for piped in [false, true] {
            println!("{answer:?}, archive on stdin: {piped}");
            let scene = Scene::new();
            let cmd = match piped {
                true => scene.cmd().input(&read(scene.world.path("new.tar.gz"))),
                false => scene.cmd().arg("new.tar.gz"),
            };
            let (cmd, mut terminal) = cmd.terminal(&[Stream::Err]);
            let running = cmd.start();
            let question = terminal.wait_for("? ");
            assert!(question.contains("library.db"), "{question}");
            terminal.type_in(answer);
            let rest = std::thread::spawn(|| terminal.rest());
            if yes {
                running.finish().exits(0);
                scene.has_new_content();
            } else {
                unchanged(&scene.world.library(), || running.finish().exits(1));
                same_content("untouched", &dump(&scene.world.library()), &scene.old);
            }
            rest.join().unwrap();
            scene.world.clean();
        }
    }
}

#[test]
fn when_nobody_can_be_asked() {
    let scene = Scene::new();
    for options in [&[][..], &["--json"]] {
        let cmd = scene.cmd().args(options).arg("new.tar.gz");
        let out = unchanged(&scene.world.home(), || cmd.run()).fails(1, &["no terminal"]);
        assert!(out.hint().contains("--yes"), "{}", out.stderr);
        if !options.is_empty() {
            out.json_error(1);
        }
    }
    // A terminal on another stream is none to ask on.
    let (cmd, terminal) = scene.cmd().arg("new.tar.gz").terminal(&[Stream::Out]);
    unchanged(&scene.world.home(), || cmd.run()).fails(1, &["no terminal"]);
    assert_eq!(terminal.rest(), "");
    scene.world.clean();
    // With --yes, and in a dry run, nobody is asked on a terminal either.
    for option in ["--dry-run", "--yes"] {
        let (cmd, terminal) = scene.cmd().args([option, "new.tar.gz"]).terminal(&[Stream::Err]);
        let shown = std::thread::spawn(|| terminal.rest());
        cmd.run().ok();
        let shown = shown.join().unwrap();
        assert!(!shown.contains("? "), "{shown}");
    }
    scene.has_new_content();
}

#[test]
fn a_backup_that_is_too_new() {
    let schema = |n| Sample {
        schema_version: n,
        ..files(100)
    };
    let scene = Scene::with(&old(), &schema(28));
    let out = scene.refused(45, &[], &["28", "27"]);
    assert!(out.stderr.contains("--current-schema"), "{}", out.stderr);
    scene.restore(&["--json"]).fails(45, &["schema 28"]).json_error(45);
    scene.refused(45, &["--current-schema", "27"], &["28"]);
    let variable = |value: &str| scene.cmd().env("VPO_SCHEMA_VERSION", value).args(["--yes", "--json"]);
    unchanged(&scene.world.home(), || {
        variable("27").arg("new.tar.gz").run().fails(45, &["schema 28"])
    });
    unchanged(&scene.world.home(), || {
        // The option comes first.
        variable("28")
            .args(["--current-schema", "27", "new.tar.gz"])
            .run()
            .fails(45, &["schema 28"]);
        variable("many")
            .arg("new.tar.gz")
            .run()
            .fails(2, &["VPO_SCHEMA_VERSION"]);
    });
    let json = variable("28").arg("new.tar.gz").run().silent().json();
    assert_eq!(json["schema_mismatch"], false);
    scene.has_new_content();
    scene.restore(&["--current-schema", "28"]).silent();

    // The library itself tells that VPO is newer; without one, 27 is assumed.
    let scene = Scene::with(
        &Sample {
            schema_version: 30,
            ..old()
        },
        &schema(30),
    );
    scene.restore(&[]).silent();
    std::fs::remove_file(scene.world.library()).unwrap();
    scene.refused(45, &[], &["30", "27"]);
}

#[test]
fn a_backup_that_is_older() {
    let scene = Scene::with(
        &old(),
        &Sample {
            schema_version: 26,
            ..files(100)
        },
    );
    let out = unchanged(&scene.world.home(), || scene.restore(&["--dry-run", "--json"])).ok();
    let json = out.json();
    assert_eq!(json["schema_version"], 26);
    assert_eq!(json["current_schema_version"], 27);
    assert_eq!(json["schema_mismatch"], true);
    // The warning comes before the question.
    let out = unchanged(&scene.world.home(), || scene.cmd().arg("new.tar.gz").run()).exits(1);
    let (first, last) = (out.stderr.find("migrate").unwrap(), out.stderr.find("--yes").unwrap());
    assert!(first < last, "{}", out.stderr);
    let out = scene.restore(&["--json"]).ok();
    assert!(
        out.stderr.contains("26") && out.stderr.contains("migrate"),
        "{}",
        out.stderr
    );
    assert_eq!(out.json()["schema_mismatch"], true);
    scene.has_new_content();
}

/// The schema that counts is the one in the database, not what VPO wrote beside it.
#[test]
fn the_schema_is_that_of_the_database() {
    let world = World::new();
    let facts = make(
        &Sample {
            schema_version: 28,
            ..files(10)
        },
        &world.path("28.db"),
    );
    let mut metadata = vpo_metadata(&facts);
    metadata["schema_version"] = 20.into();
    let archive = plain_archive(&read(world.path("28.db")), &metadata);
    world.cmd("vpo-unpack-restore").input(&archive).run().fails(45, &["28"]);
    let out = world
        .cmd("vpo-unpack-restore")
        .args(["--dry-run", "--json", "--current-schema=28"])
        .input(&archive);
    assert_eq!(out.run().silent().json()["schema_version"], 28);
}

#[test]
fn safety_backups() {
    let scene = Scene::new();
    let world = &scene.world;
    let database = read(world.library());
    let out = scene.restore(&["--json", "--safety-dir", "safe/deep"]).silent();
    let safety = PathBuf::from(out.json()["safety_backup"].as_str().unwrap());
    let safety = world.path(safety);
    assert_eq!(safety.parent().unwrap(), world.path("safe/deep"));
    let name = safety.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(
        name.starts_with("vpo-library-2") && name.ends_with("Z-replaced.tar.gz"),
        "{name}"
    );
    world.cmd("vpo-verify").arg(&safety).run().silent();
    same("the replaced library", &unpack(&read(&safety)).0, &database);
    let listed = world
        .cmd("vpo-ls-backups")
        .args(["--json", "safe/deep"])
        .run()
        .silent()
        .json();
    assert_eq!(listed["backups"][0]["replaced"], true);

    // It leads back.
    world.cmd("vpo-unpack-restore").arg("--yes").arg(&safety).run().silent();
    same_content("back", &dump(&world.library()), &scene.old);
    // Many in one second.
    for _ in 0..4 {
        scene.restore(&["--safety-dir", "many"]).silent();
    }
    assert_eq!(names(&world.path("many")).len(), 4);
    assert!(
        names(&world.path("many"))
            .iter()
            .all(|name| name.contains("Z-replaced"))
    );
    let out = world.cmd("vpo-verify").args(["--json", "many"]).run().silent();
    assert_eq!(out.json()["total_count"], 4);
    // The report tells where it is.
    let out = scene.restore(&["--safety-dir", "said"]).silent();
    assert!(out.text().contains(&names(&world.path("said"))[0]), "{}", out.text());
}

/// Dry runs did not look at the safety directory: 0, and then 40 or 44 when it counted.
#[test]
fn without_the_safety_backup_there_is_no_restore() {
    let scene = Scene::new();
    write(scene.world.path("file"), b"not a directory");
    let both = "--no-safety-backup";
    for place in ["file", "file/below", "/proc/nothing/can/be/made"] {
        let out = scene.refused(40, &["--safety-dir", place], &["cannot make a safety backup in", place]);
        assert!(
            out.hint().contains("--safety-dir") && out.hint().contains(both),
            "{}",
            out.stderr
        );
    }
    with_mounts("no room for a safety backup", || {
        let scene = Scene::new();
        for (place, code) in [("small", 44), ("sealed", 40)] {
            let dir = scene.world.path(place);
            std::fs::create_dir(&dir).unwrap();
            match code {
                44 => make_small(&dir, 16),
                _ => make_read_only(&dir),
            }
            scene.refused(code, &["--safety-dir", place], &[place]);
            assert_eq!(names(&dir), [""; 0]);
        }
        same_content("untouched", &dump(&scene.world.library()), &scene.old);
        scene.world.clean();
    });
}

/// It was dated before the question: a row that is in it was committed later.
#[test]
fn a_safety_backup_is_of_the_moment_of_the_lock() {
    let scene = Scene::new();
    let cmd = scene.cmd().args(["--safety-dir", "safe", "new.tar.gz"]);
    let (cmd, mut terminal) = cmd.terminal(&[Stream::Err]);
    let running = cmd.start();
    terminal.wait_for("? ");
    let second = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let asked = second(std::time::SystemTime::now());
    wait_until("the next second", || second(std::time::SystemTime::now()) > asked);
    let mut peer = Peer::open(&scene.world.library());
    peer.insert(1);
    peer.close();
    terminal.type_in("y\n");
    let rest = std::thread::spawn(|| terminal.rest());
    running.finish().ok();
    rest.join().unwrap();
    let safe = scene.world.path("safe");
    let (database, metadata) = unpack(&read(safe.join(&names(&safe)[0])));
    assert_eq!(dump_bytes(&database).matches("/new/").count(), 1);
    let created: jiff::Timestamp = metadata["created_at"].as_str().unwrap().parse().unwrap();
    assert!(created.as_second() > asked as i64, "{created} {asked}");
}

/// Root with another user's HOME left backups and directories that the user could not read, and a log that the user's
/// own backups could not be written into.
#[test]
fn what_root_creates_belongs_to_the_owner_of_its_directory() {
    if !rustix::process::geteuid().is_root() {
        return skipped("root with another's HOME", "this is not root");
    }
    let scene = Scene::new();
    let world = &scene.world;
    for dir in [world.home(), world.home().join(".vpo"), world.library()] {
        std::os::unix::fs::chown(dir, Some(65534), Some(65533)).unwrap();
    }
    let backup = world.cmd("vpo-library").args(["backup", "--log", "../home/.vpo/log"]);
    backup.run().ok();
    scene.restore(&["--safety-dir", "../home/.vpo/backups/deeper"]).ok();
    scene.restore(&["--db", "../home/.vpo/new/library.db"]).ok();
    for (path, entry) in tree(&world.home()) {
        let meta = world.home().join(&path).symlink_metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid()), (65534, 65533), "{path:?} {entry:?}");
    }
}

/// It is made fast, for somebody is waiting: level 1, and blocks of any level from the archive that is restored, or from
/// the newest in its directory.
#[test]
fn a_safety_backup_reuses_blocks() {
    let world = World::new();
    world.make_library(&files(800));
    let archive = world.archive_of(&world.library());
    write(world.path("a.tar.gz"), &archive);
    let change = || sqlite(&world.library(), "UPDATE files SET size_bytes = 7 WHERE id = 1");
    let restore = || world.cmd("vpo-unpack-restore").args(["--yes", "--safety-dir", "safe"]);
    let kept = || {
        let safe = world.path("safe");
        let name = names(&safe).into_iter().find(|name| name.contains("replaced")).unwrap();
        let kept = read(safe.join(&name));
        std::fs::remove_file(safe.join(name)).unwrap();
        world.verify(&kept).ok();
        kept
    };
    // From a pipe there is nothing to reuse: level 1.
    change();
    let content = dump(&world.library());
    restore().input(&archive).run().ok();
    let fresh = kept();
    let (database, metadata) = unpack(&fresh);
    same_content("kept", &dump_bytes(&database), &content);
    assert_eq!(
        (&metadata["compression_level"], &metadata["replaced"]),
        (&json!(1), &json!(true))
    );
    assert!(fresh.len() > archive.len(), "of a lower level");
    for from_file in [true, false] {
        change();
        let content = dump(&world.library());
        match from_file {
            true => restore().arg("a.tar.gz").run().ok(),
            false => {
                write(world.path("safe").join(NAME), &archive);
                restore().input(&archive).run().ok()
            }
        };
        let kept = kept();
        let (database, metadata) = unpack(&kept);
        same_content("kept", &dump_bytes(&database), &content);
        assert_eq!(metadata.get("compression_level"), None, "{from_file}");
        let (old, new) = (blocks(&archive), blocks(&kept));
        let equal = old
            .iter()
            .zip(&new)
            .filter(|(a, b)| archive[(*a).clone()] == kept[(*b).clone()]);
        assert!(equal.count() > old.len() / 2, "{from_file}");
    }
}

/// That somebody has the library open was found after the question.
#[test]
fn nobody_is_asked_while_the_library_is_in_use() {
    let scene = Scene::new();
    let peer = Peer::open(&scene.world.library());
    let (cmd, terminal) = scene
        .cmd()
        .args(["--timeout", "0", "new.tar.gz"])
        .terminal(&[Stream::Err]);
    let shown = std::thread::spawn(|| terminal.rest());
    cmd.run().exits(43);
    let shown = shown.join().unwrap();
    assert!(shown.contains(&peer.pid()) && !shown.contains("? "), "{shown}");
}

/// Restores of one library take turns, and wait for each other up to `--timeout`.
#[test]
fn restores_take_turns() {
    let scene = Scene::new();
    let world = &scene.world;
    std::fs::remove_file(world.library()).unwrap();
    let lock = world.home().join(".vpo/.vpo-library.db.lock");
    let other = std::fs::File::create(&lock).unwrap();
    other.lock().unwrap();
    let out = scene.restore(&["--timeout", "0"]).fails(43, &["another restore of '"]);
    assert!(out.hint().contains("--timeout"));
    assert!(!world.library().exists());
    let waiting = scene.cmd().args(["--yes", "--timeout", "60", "new.tar.gz"]).start();
    // It has the file open when it waits for the lock.
    wait_until("it waits", || opened(waiting.id(), &lock));
    drop(other);
    waiting.finish().ok();
    scene.has_new_content();
    // What a killed run left, nobody has locked.
    std::fs::remove_file(world.library()).unwrap();
    write(&lock, b"");
    scene.restore(&["--timeout", "0"]).ok();
    scene.has_new_content();
}

/// Whether a process has a file open.
fn opened(process: u32, path: &std::path::Path) -> bool {
    let entries = std::fs::read_dir(format!("/proc/{process}/fd"));
    let mut files = entries.into_iter().flatten().flatten();
    files.any(|entry| entry.path().read_link().is_ok_and(|file| file == path))
}

#[test]
fn no_room_beside_the_library() {
    with_mounts("no room beside the library", || {
        let scene = Scene::with(&old(), &files(1000));
        let library = read(scene.world.library());
        let dir = scene.world.path("small");
        std::fs::create_dir(&dir).unwrap();
        make_small(&dir, 3800);
        let restore = |options: &[&str]| {
            scene
                .cmd()
                .args(options)
                .args(["--db", "small/lib.db", "new.tar.gz"])
                .run()
        };
        // It fits once, but there is nothing to replace.
        restore(&[]).silent();
        write(dir.join("lib.db"), &library);
        // Beside a library that is to be replaced it has to fit twice.
        for options in [&["--yes"][..], &["--dry-run"]] {
            let out = unchanged(&dir, || restore(options));
            out.fails(44, &["small"]);
        }
        same("untouched", &read(dir.join("lib.db")), &library);
    });
}

#[test]
fn a_library_that_may_not_be_written() {
    with_mounts("restore on a read-only file system", || {
        let scene = Scene::new();
        make_read_only(&scene.world.home());
        for options in [&[][..], &["--dry-run"]] {
            let out = unchanged(&scene.world.home(), || scene.restore(options));
            out.fails(40, &["library.db'", "Read-only file system"]);
        }
    });
    let scene = Scene::new();
    std::fs::remove_file(scene.world.library()).unwrap();
    std::fs::create_dir(scene.world.library()).unwrap();
    scene.refused(40, &[], &["library.db"]);
}

/// A temporary file is locked by flock(2), and SQLite takes its locks by fcntl(2). On macOS the two are of one kind
/// (lockf(3)): there the copy that a dry run reads beside a log would have been locked for SQLite.
#[test]
fn a_copy_is_read_without_locks() {
    if !strace::available("locks on a copy") {
        return;
    }
    let scene = Scene::new();
    let mut peer = Peer::open(&scene.world.library());
    peer.insert(20);
    peer.kill();
    let calls = scene.world.path("calls");
    let options = ["-e", "trace=fcntl,flock", "-o", calls.to_str().unwrap()];
    let traced = strace::traced(&scene.world, "vpo-unpack-restore", strace::Whose::All, &options);
    traced.args(["--dry-run", "new.tar.gz"]).run().silent();
    let calls = String::from_utf8(read(&calls)).unwrap();
    assert!(calls.contains("flock(") && !calls.contains("F_SETLK"), "{calls}");
    scene.world.clean();
}

#[test]
fn a_dry_run_changes_nothing() {
    let scene = Scene::new();
    let json = unchanged(&scene.world.home(), || {
        scene.cmd().args(["--dry-run", "--json", "new.tar.gz"]).run()
    });
    let json = json.silent().json();
    let keys = [
        "dry_run",
        "valid",
        "backup_path",
        "created_at",
        "vpo_version",
        "schema_version",
        "current_schema_version",
        "schema_mismatch",
        "database_size_bytes",
        "file_count",
    ];
    has_keys(&json, &keys);
    assert_eq!((&json["dry_run"], &json["valid"]), (&json!(true), &json!(true)));
    assert_eq!(
        (&json["backup_path"], &json["created_at"]),
        (&json!("new.tar.gz"), &json!(TIME))
    );
    assert_eq!(
        (&json["file_count"], &json["schema_mismatch"]),
        (&json!(100), &json!(false))
    );
    assert_eq!(
        (&json["schema_version"], &json["current_schema_version"]),
        (&json!(27), &json!(27))
    );
    assert_eq!(json["database_size_bytes"], read(scene.world.path("new.db")).len());
    let text = unchanged(&scene.world.home(), || {
        scene.cmd().args(["--dry-run", "new.tar.gz"]).run()
    })
    .silent();
    assert!(text.text().contains("100"), "{}", text.text());
    scene.world.clean();

    // Nor where there is a log, left behind by a crash, with or without its index.
    let mut peer = Peer::open(&scene.world.library());
    peer.insert(5);
    peer.kill();
    unchanged(&scene.world.home(), || scene.restore(&["--dry-run"]).silent());
    std::fs::remove_file(beside(&scene.world.library(), "-shm")).unwrap();
    unchanged(&scene.world.home(), || scene.restore(&["--dry-run"]).silent());
    unchanged(&scene.world.home(), || {
        scene.restore(&["--dry-run", "--safety-dir", "safe"]).silent()
    });
    assert!(!scene.world.path("safe").exists());
}

#[test]
fn the_report_as_json() {
    let scene = Scene::new();
    let json = scene.restore(&["--json"]).silent().json();
    has_keys(
        &json,
        &[
            "success",
            "source_path",
            "database_path",
            "duration_seconds",
            "schema_mismatch",
            "file_count",
            "safety_backup",
        ],
    );
    assert_eq!(
        (&json["success"], &json["source_path"]),
        (&json!(true), &json!("new.tar.gz"))
    );
    assert_eq!(json["database_path"], scene.world.library().to_str().unwrap());
    assert_eq!(
        (&json["schema_mismatch"], &json["file_count"]),
        (&json!(false), &json!(100))
    );
    assert!(json["duration_seconds"].is_number());
    assert_eq!(json["safety_backup"], only(&scene.world.backups()).to_str().unwrap());
    let json = scene
        .cmd()
        .args(["-y", "--json"])
        .stdin_file(&scene.world.path("new.tar.gz"))
        .run()
        .silent()
        .json();
    assert_eq!(json["source_path"], "-");
}

#[test]
fn what_is_not_an_archive() {
    let scene = Scene::new();
    let archive = read(scene.world.path("new.tar.gz"));
    for (name, bytes, message) in [
        ("cut", &archive[..archive.len() - 1], "truncated"),
        ("half", &archive[..archive.len() / 2], "truncated"),
        ("more", &[&archive[..], b"x"].concat(), "bytes after the last block"),
        ("empty", b"", "is empty"),
    ] {
        println!("{name}");
        write(scene.world.path("new.tar.gz"), bytes);
        scene.refused(46, &[], &[message]);
        scene.refused(46, &["--safety-dir", "safe"], &[message]);
    }
    unchanged(&scene.world.home(), || {
        scene
            .cmd()
            .args(["--yes", "missing.tar.gz"])
            .run()
            .fails(20, &["missing.tar.gz"]);
        scene.cmd().args(["--yes", "."]).run().fails(2, &["is a directory"]);
        scene.cmd().args(["--dry-run", "."]).run().fails(2, &["is a directory"]);
    });
    assert!(!scene.world.path("safe").exists());
}

/// The README said "the old one is kept", and its own line kept nothing.
#[test]
fn the_replaced_library_is_kept() {
    let scene = Scene::new();
    let world = &scene.world;
    let out = scene.restore(&[]).silent();
    let kept = only(&world.backups());
    assert!(
        out.text()
            .contains(&format!("The library as it was: {}\n", kept.display())),
        "{}",
        out.text()
    );
    same_content("kept", &dump_bytes(&unpack(&read(&kept)).0), &scene.old);

    // In the backup directory, as the environment names it.
    for (name, value, place) in [
        ("VPO_BACKUP_DIR", "by name", "by name"),
        ("VPO_DATA_DIR", "data", "data/backups"),
    ] {
        let cmd = scene.cmd().env(name, value).args(["--yes", "new.tar.gz"]);
        cmd.run().silent();
        only(&world.path(place));
    }
    scene.restore(&["--no-safety-backup"]).silent();
    only(&world.backups());

    let out = scene.restore(&["--no-safety-backup", "--safety-dir", "safe"]);
    out.fails(2, &["--safety-dir", "--no-safety-backup"]);
    assert!(!world.path("safe").exists());
    scene.has_new_content();
}

/// Where no safety backup can be made, the next step names the options of the program that was typed.
#[test]
fn what_to_do_where_it_can_not_be_kept() {
    let scene = Scene::new();
    let world = &scene.world;
    write(world.path("file"), b"");
    let out = scene.refused(
        40,
        &["--safety-dir", "file"],
        &["cannot make a safety backup in 'file'"],
    );
    assert!(out.hint().starts_with("--safety-dir DIR keeps"), "{}", out.stderr);
    assert!(out.hint().contains("--no-safety-backup"), "{}", out.stderr);
    let wrapper = world
        .cmd("vpo-library")
        .args(["--backup-dir", "file", "restore", "--yes", "new.tar.gz"]);
    let out = unchanged(&world.home(), || wrapper.run()).fails(40, &["cannot make a safety backup in 'file'"]);
    assert!(out.hint().starts_with("--backup-dir DIR keeps"), "{}", out.stderr);
    assert!(out.hint().contains("--no-safety-backup"), "{}", out.stderr);
    same_content("untouched", &dump(&world.library()), &scene.old);
    // Where there is nothing to keep, nothing is asked of the directory.
    std::fs::remove_file(world.library()).unwrap();
    scene.restore(&["--safety-dir", "file"]).silent();
    scene.has_new_content();
}
