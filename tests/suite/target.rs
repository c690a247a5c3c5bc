//! What is where the library belongs, and what proves that it is damaged: nothing sound is called so, or moved.

use std::path::Path;

use crate::support::*;

/// A world with a library, changed by `spoil`, and as `new.tar.gz` a backup of another one.
fn world(spoil: impl FnOnce(&Path)) -> World {
    let world = World::new();
    world.backup_at(&world.path("new.tar.gz"), 30, TIME);
    world.default_library();
    spoil(&world.library());
    world
}

fn restore(world: &World, options: &[&str]) -> Output {
    let restore = world.cmd("vpo-unpack-restore").args(["--yes", "--safety-dir", "safe"]);
    restore.args(options).arg("new.tar.gz").run()
}

/// The library can be backed up, its backup is whole and can be restored, and it can be replaced, with a safety backup
/// that holds it.
#[track_caller]
fn is_sound(what: &str, world: &World) {
    let content = dump(&world.library());
    let archive = world.archive_of(&world.library());
    world.verify(&archive).ok();
    let restored = world
        .cmd("vpo-unpack-restore")
        .args(["--db", "other.db"])
        .input(&archive);
    restored.run().ok();
    same_content(what, &dump(&world.path("other.db")), &content);
    restore(world, &["--dry-run"]).ok();
    restore(world, &[]).ok();
    let kept = names(&world.path("safe"));
    assert_eq!(kept.len(), 1, "{what}: {kept:?}");
    let kept = unpack(&read(world.path("safe").join(&kept[0]))).0;
    same_content(what, &dump_bytes(&kept), &content);
    assert_eq!(names(&world.home().join(".vpo")), ["library.db"], "{what}");
    world.clean();
}

/// Values of an unexpected type, and sums that overflow or are negative: every backup ended with 42 ("Invalid column type
/// Real"), and a restore moved the library aside without a safety backup, because a query of ours had failed.
#[test]
fn values_of_any_type_are_not_damage() {
    for (value, total) in [
        ("1.5", 0),
        ("'a lot'", 0),
        ("x'0102'", 0),
        ("NULL", 0),
        ("-5", 0),
        ("9223372036854775807", i64::MAX),
    ] {
        let world = world(|library| {
            // Without the NOT NULL of the sample's column.
            sqlite(
                library,
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = replace(sql, 'size_bytes INTEGER NOT NULL', 'size_bytes INTEGER')",
            );
            sqlite(library, &format!("UPDATE files SET size_bytes = {value}"));
        });
        let stats = world.path("stats");
        world.cmd("vpo-snapshot").args(["--stats", "stats"]).run().ok();
        let facts: serde_json::Value = serde_json::from_slice(&read(stats)).unwrap();
        assert_eq!(facts["total_library_size_bytes"], total, "{value}");
        is_sound(value, &world);
    }
}

/// A table may hold what its own rules forbid, name a collation that only the writer knows, or a function: the content is
/// whole. All of these were "damaged".
#[test]
fn rules_that_are_broken_or_unknown_are_not_damage() {
    for (what, columns) in [
        ("NOT NULL", "x TEXT NOT NULL"),
        ("CHECK", "x TEXT CHECK (x IS NOT NULL)"),
        ("an unknown function", "x TEXT CHECK (known_to_vpo(x))"),
        ("an unknown collation", "x TEXT COLLATE known_to_vpo UNIQUE"),
    ] {
        let world = world(|library| {
            let plain = if columns.contains("UNIQUE") {
                "x TEXT UNIQUE"
            } else {
                "x TEXT"
            };
            sqlite(
                library,
                &format!(
                    "CREATE TABLE odd ({plain}); INSERT INTO odd VALUES (NULL), (NULL);
                     PRAGMA writable_schema = ON;
                     UPDATE sqlite_schema SET sql = 'CREATE TABLE odd ({columns})' WHERE name = 'odd'"
                ),
            );
        });
        is_sound(what, &world);
    }
}

/// A foreign database was moved aside, because its columns have other names than VPO's.
#[test]
fn a_foreign_database_is_never_touched() {
    for schema in [
        "CREATE TABLE _meta (k, v); CREATE TABLE files (name, bytes); INSERT INTO _meta VALUES ('schema_version', 27)",
        "CREATE TABLE _meta (key, value); CREATE TABLE files (name, bytes); INSERT INTO _meta VALUES ('schema_version', 'x')",
        "CREATE TABLE _meta (key, value); INSERT INTO _meta VALUES ('schema_version', 27)",
        "CREATE TABLE songs (title)",
    ] {
        let world = world(|library| {
            std::fs::remove_file(library).unwrap();
            sqlite(library, schema);
        });
        for options in [&["--dry-run"][..], &[]] {
            unchanged(&world.home(), || {
                restore(&world, options).fails(42, &["not a VPO library", "it will not be replaced"]);
            });
        }
        world.clean();
    }
}

/// Writers of old leave the number of pages in the header out of date: what was restored over a library was right, and was
/// told to be wrong (42, "page 1 is not that of the backup").
#[test]
fn page_counts_that_are_out_of_date() {
    for (count, bump) in [(0_u32, 0_u8), (3, 1)] {
        let spoil = |path: &Path| {
            sqlite(path, "PRAGMA journal_mode = DELETE");
            let mut bytes = read(path);
            bytes[28..32].copy_from_slice(&count.to_be_bytes());
            bytes[27] = bytes[27].wrapping_add(bump);
            write(path, &bytes);
        };
        let world = world(|_| {});
        make(&files(70), &world.path("legacy.db"));
        spoil(&world.path("legacy.db"));
        let content = dump(&world.path("legacy.db"));
        let archive = world
            .cmd("vpo-pack")
            .stdin_file(&world.path("legacy.db"))
            .run()
            .ok()
            .stdout;
        world.verify(&archive).ok();
        for _ in 0..2 {
            let restored = world
                .cmd("vpo-unpack-restore")
                .args(["--yes", "--safety-dir", "safe"])
                .input(&archive);
            restored.run().ok();
            same_content("restored", &dump(&world.library()), &content);
            // And over one that is out of date itself.
            spoil(&world.library());
        }
    }
}

/// Another text encoding: 42, "attached databases must use the same text encoding", the comparison left out, and in
/// rollback mode a journal left.
#[test]
fn another_text_encoding() {
    for mode in ["WAL", "DELETE"] {
        let world = world(|library| {
            std::fs::remove_file(library).unwrap();
            sqlite(
                library,
                &format!("PRAGMA encoding = 'UTF-16le'; PRAGMA journal_mode = {mode}"),
            );
            tiny(library);
            sqlite(library, &format!("PRAGMA journal_mode = {mode}"));
        });
        is_sound(mode, &world);
        let mut peer = Peer::open(&world.library());
        assert_eq!(peer.sql("PRAGMA encoding"), "UTF-8");
        assert_eq!(peer.sql("PRAGMA integrity_check"), "ok");
    }
}

/// A file of no bytes that somebody has open was replaced by a new file: the holder paired its old file with the new
/// library's log, and the restored content was gone.
#[test]
fn an_empty_file_is_written_in_place() {
    for prepare in [
        "",
        "PRAGMA user_version = 7",
        "PRAGMA journal_mode = WAL; PRAGMA user_version = 7",
    ] {
        let world = world(|library| {
            std::fs::remove_file(library).unwrap();
            write(library, b"");
            if !prepare.is_empty() {
                sqlite(library, prepare);
            }
        });
        let wal = prepare.contains("WAL");
        let mut peer = Peer::open(&world.library());
        // An idle connection of WAL mode is in the way; one of rollback mode, as to a file of no bytes, is not.
        match wal {
            true => {
                restore(&world, &[]).fails(43, &["in use", &peer.pid()]);
                peer.close();
                restore(&world, &[]).ok();
            }
            false => {
                restore(&world, &["--dry-run"]).ok();
                restore(&world, &[]).ok();
                assert_eq!(peer.sql("SELECT count(*) FROM files"), "30");
                peer.insert(1);
                peer.close();
            }
        }
        let mut peer = Peer::open(&world.library());
        let rows = if wal { "30" } else { "31" };
        assert_eq!(peer.sql("SELECT count(*) FROM files"), rows, "{prepare}");
        assert_eq!(peer.sql("PRAGMA integrity_check"), "ok");
        peer.close();
        // There was nothing to lose.
        assert!(!world.path("safe").exists());
        assert_eq!(names(&world.home().join(".vpo")), ["library.db"]);
    }
}

/// What lies beside a file of no bytes would be deleted by SQLite when it opens that.
#[test]
fn a_log_beside_an_empty_file_is_moved_aside() {
    let world = world(|library| {
        write(library, b"");
        write(beside(library, "-wal"), &[7; 5000]);
    });
    restore(&world, &[]).ok();
    let left = names(&world.home().join(".vpo"));
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left[1].starts_with("library.db.replaced-") && left[1].ends_with("-wal"),
        "{left:?}"
    );
    assert_eq!(read(world.home().join(".vpo").join(&left[1])), [7; 5000]);
    assert_eq!(
        read(world.library()).len(),
        unpack(&read(world.path("new.tar.gz"))).0.len()
    );
}

/// `.vpo-mine.tmp` as the name of a library: the sweep for temporary files deleted it.
#[test]
fn a_library_is_never_swept_away() {
    let world = world(|_| {});
    // As ours are called: what is swept is not decided by the name alone.
    let ours = {
        let mut running = world.cmd("vpo-pack").input_pipe().start();
        running.feed(&read(world.library())[..8192]);
        let mut name = None;
        wait_until("a spool", || {
            name = names(&world.scratch()).into_iter().find(|name| name.ends_with(".tmp"));
            name.is_some()
        });
        running.signal(rustix::process::Signal::TERM);
        running.finish().ended_by(15);
        name.unwrap()
    };
    for name in [".vpo-mine.tmp", ".vpo-abcdefghijkl.tmp", &ours, ".vpo-my.lock"] {
        let path = world.path(name);
        std::fs::copy(world.library(), &path).unwrap();
        world
            .cmd("vpo-snapshot")
            .arg(name)
            .env("TMPDIR", world.path(""))
            .run()
            .ok();
        let restored = world
            .cmd("vpo-unpack-restore")
            .args(["--yes", "--no-safety-backup", "--db", name]);
        restored.arg("new.tar.gz").run().ok();
        world
            .cmd("vpo-unpack-restore")
            .args(["--dry-run", "--db", name])
            .arg("new.tar.gz")
            .run()
            .ok();
        assert_eq!(Peer::open(&path).sql("SELECT count(*) FROM files"), "30", "{name}");
        std::fs::remove_file(&path).unwrap();
    }
}

/// `--db` naming the archive itself: it was moved aside as a damaged library.
#[test]
fn the_archive_is_not_the_library() {
    let world = world(|_| {});
    std::fs::hard_link(world.path("new.tar.gz"), world.path("link")).unwrap();
    for name in ["new.tar.gz", "link"] {
        let cmd = || world.cmd("vpo-unpack-restore").args(["--yes", "--db", name]);
        unchanged(&world.path(""), || {
            cmd().arg("new.tar.gz").run().fails(2, &["is the archive itself"]);
            cmd()
                .stdin_file(&world.path("new.tar.gz"))
                .run()
                .fails(2, &["is the archive itself"]);
        });
    }
}

/// Four restores to four names in one directory: three were told that another restore is under way.
#[test]
fn restores_of_other_libraries_do_not_wait() {
    let world = world(|_| {});
    let all: Vec<_> = (0..4)
        .map(|n| {
            let cmd = world.cmd("vpo-unpack-restore").args(["--timeout", "0", "--db"]);
            cmd.arg(format!("d/{n}.db")).arg("new.tar.gz").start()
        })
        .collect();
    for running in all {
        running.finish().ok();
    }
    assert_eq!(names(&world.path("d")), ["0.db", "1.db", "2.db", "3.db"]);
}

/// A failed restore left the directories that it had made.
#[test]
fn a_failed_restore_leaves_no_directory() {
    let world = world(|_| {});
    let mut bad = read(world.path("new.tar.gz"));
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    let cmd = world.cmd("vpo-unpack-restore").args(["--db", "a/b/lib.db"]);
    cmd.input(&bad).run().fails(46, &["checksum"]);
    assert!(!world.path("a").exists());
    // Also where a signal ended it.
    let mut running = world
        .cmd("vpo-unpack-restore")
        .args(["--db", "a/b/lib.db"])
        .input_pipe()
        .start();
    running.feed(&read(world.path("new.tar.gz"))[..600]);
    wait_until("the directory", || world.path("a/b").exists());
    running.signal(rustix::process::Signal::TERM);
    running.finish().ended_by(15);
    wait_until("the directory is gone", || !world.path("a").exists());
}

/// The same message with the way back for damage of every kind: some had SQLite's bare text. A restore said it twice:
/// "file is not a database: Error code 26: file is not a database".
#[test]
fn damage_is_told_alike() {
    fn page(n: usize) -> std::ops::Range<usize> {
        n * 4096..(n + 1) * 4096
    }
    type Spoil = fn(&mut Vec<u8>);
    let kinds: [(&str, Spoil); 5] = [
        ("the header", |bytes| bytes[..16].fill(b'x')),
        ("page 1", |bytes| bytes[100..4096].fill(0)),
        ("the middle", |bytes| {
            let middle = page(bytes.len() / 4096 / 2);
            bytes[middle].fill(0);
        }),
        ("another page", |bytes| bytes[page(2)].fill(0x55)),
        ("cut off", |bytes| bytes.truncate(4096 * 20)),
    ];
    for (what, spoil) in kinds {
        let world = world(|library| {
            let mut bytes = read(library);
            spoil(&mut bytes);
            write(library, &bytes);
        });
        let out = world
            .cmd("vpo-snapshot")
            .run()
            .fails_after_all(42, &["the library '", "' is damaged: "]);
        assert!(out.stderr.contains("hint: "), "{what}: {}", out.stderr);
        let out = restore(&world, &[]).ok();
        assert!(!out.stderr.contains("Error code"), "{what}: {}", out.stderr);
    }
}

/// Owner, mode, ACL and extended attributes of a damaged library are taken over by the new one.
#[test]
#[cfg(target_os = "linux")]
fn attributes_of_a_damaged_library() {
    use rustix::fs::{XattrFlags, getxattr, setxattr};
    // Of user 1, read and write for user 1234: version, then tag, permissions and id of each entry (acl(5)).
    let acl: Vec<u8> = [2_u32.to_le_bytes().to_vec()]
        .into_iter()
        .chain(
            [
                (1_u16, 6_u16, u32::MAX),
                (2, 6, 1234),
                (4, 4, u32::MAX),
                (16, 6, u32::MAX),
                (32, 0, u32::MAX),
            ]
            .map(|(tag, permissions, id)| {
                [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
            }),
        )
        .flatten()
        .collect();
    let world = world(|library| write(library, b"this was a library once, and is none now"));
    let attributes = [("user.colour", &b"blue"[..]), ("system.posix_acl_access", &acl)];
    for (name, value) in attributes {
        if let Err(error) = setxattr(world.library(), name, value, XattrFlags::empty()) {
            return skipped("extended attributes", &error.to_string());
        }
    }
    restore(&world, &[]).ok();
    for (name, value) in attributes {
        let mut buffer = [0; 200];
        let n = getxattr(world.library(), name, &mut buffer).unwrap();
        assert_eq!(&buffer[..n], value, "{name}");
    }
}
