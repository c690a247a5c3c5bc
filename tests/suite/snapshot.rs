//! `vpo-snapshot`: byte-exact, of one transaction, and without a trace.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use rustix::process::Signal;

use crate::generate::{Journal, Sample, Size};
use crate::support::strace;
use crate::support::*;

fn rollback(n: u64) -> Sample {
    Sample {
        journal: Journal::Delete,
        ..files(n)
    }
}

/// The snapshot of the library, which leaves everything below HOME as it was.
#[track_caller]
fn snapshot(world: &World) -> Vec<u8> {
    let out = unchanged(&world.home(), || world.cmd("vpo-snapshot").run());
    world.clean();
    out.silent().stdout
}

#[test]
fn a_library_at_rest() {
    let world = World::new();
    for sample in [files(0), files(100), rollback(100)] {
        world.make_library(&sample);
        same("snapshot", &snapshot(&world), &read(world.library()));
        std::fs::remove_file(world.library()).unwrap();
    }
}

#[test]
fn committed_rows_in_the_log_belong_to_it() {
    let world = World::new();
    world.default_library();
    let before = dump(&world.library());
    let mut peer = Peer::open(&world.library());
    peer.insert(20);
    let committed = dump(&world.library());
    assert_ne!(before, committed);
    assert_eq!(
        dump_bytes(&read(world.library())),
        before,
        "the rows are in the log alone"
    );
    same_content("snapshot", &dump_bytes(&snapshot(&world)), &committed);

    // What another connection has not committed is not there.
    peer.sql("BEGIN IMMEDIATE");
    peer.insert(20);
    same_content(
        "snapshot beside a transaction",
        &dump_bytes(&snapshot(&world)),
        &committed,
    );
    // Nor if it has spilled into the log.
    peer.sql("PRAGMA cache_size = 1; UPDATE files SET filename = filename || hex(zeroblob(200))");
    same_content(
        "snapshot beside a large transaction",
        &dump_bytes(&snapshot(&world)),
        &committed,
    );
    peer.sql("ROLLBACK");
    same_content("snapshot after it", &dump_bytes(&snapshot(&world)), &committed);
}

#[test]
fn an_idle_connection_does_not_matter() {
    let world = World::new();
    for sample in [files(50), rollback(50)] {
        world.make_library(&sample);
        let mut peer = Peer::open(&world.library());
        let expected = dump(&world.library());
        same_content("idle", &dump_bytes(&snapshot(&world)), &expected);
        peer.sql("BEGIN; SELECT count(*) FROM files");
        same_content("reading", &dump_bytes(&snapshot(&world)), &expected);
        peer.sql("COMMIT");
        peer.close();
        std::fs::remove_file(world.library()).unwrap();
    }
}

#[test]
fn a_log_left_by_a_crash() {
    let world = World::new();
    world.default_library();
    let mut peer = Peer::open(&world.library());
    peer.insert(10);
    peer.kill();
    let committed = dump(&world.library());
    assert!(beside(&world.library(), "-wal").metadata().unwrap().len() > 0);
    same_content("with -shm", &dump_bytes(&snapshot(&world)), &committed);

    // Without the index: that one may appear, and stay.
    std::fs::remove_file(beside(&world.library(), "-shm")).unwrap();
    let (db, log) = (tree(&world.library()), tree(&beside(&world.library(), "-wal")));
    let out = world.cmd("vpo-snapshot").run().silent();
    same_content("without -shm", &dump_bytes(&out.stdout), &committed);
    assert!(tree(&world.library()) == db, "the library has changed");
    assert!(tree(&beside(&world.library(), "-wal")) == log, "the log has changed");
    let allowed = ["library.db", "library.db-shm", "library.db-wal"];
    assert!(
        names(&world.home().join(".vpo"))
            .iter()
            .all(|name| allowed.contains(&name.as_str()))
    );
}

/// Rows of a transaction that was never committed, on their way into the file when their writer died.
fn leave_hot_journal(library: &Path) {
    let mut peer = Peer::open(library);
    peer.sql("PRAGMA cache_size = 2; BEGIN IMMEDIATE; UPDATE files SET filename = hex(randomblob(60))");
    peer.kill();
    assert!(
        beside(library, "-journal").metadata().unwrap().len() > 512,
        "no hot journal"
    );
}

#[test]
fn a_hot_journal_is_rolled_back() {
    let world = World::new();
    world.make_library(&rollback(500));
    let before = read(world.library());
    leave_hot_journal(&world.library());
    assert!(read(world.library()) != before, "nothing was written");
    let out = world.cmd("vpo-snapshot").run().silent();
    same_content("snapshot", &dump_bytes(&out.stdout), &dump_bytes(&before));
    assert_eq!(names(&world.home().join(".vpo")), ["library.db"]);
    world.clean();
}

#[test]
fn symlinks_and_names_that_look_like_something_else() {
    let world = World::new();
    for name in [
        "file:x.db",
        "a%41?mode=ro#b.db",
        " .db",
        ":memory:",
        "Amélie 愛.db",
        "-l.db",
    ] {
        let path = world.path(name);
        make(&files(5), &path);
        let expected = read(&path);
        let run = |operand: &Path| {
            let out = unchanged(&world.path(""), || {
                world.cmd("vpo-snapshot").arg("--").arg(operand).run()
            });
            same(name, &out.silent().stdout, &expected);
        };
        run(&path);
        run(Path::new(name));
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::create_dir(world.path("real")).unwrap();
    make(&files(50), &world.path("real/library.db"));
    std::os::unix::fs::symlink("real/library.db", world.path("link.db")).unwrap();
    // The side files are those of the real file.
    let mut peer = Peer::open(&world.path("real/library.db"));
    peer.insert(5);
    let out = unchanged(&world.path(""), || world.cmd("vpo-snapshot").arg("link.db").run()).silent();
    same_content(
        "by a symlink",
        &dump_bytes(&out.stdout),
        &dump(&world.path("real/library.db")),
    );
}

/// A name, what is said, and what makes the file.
type Case<'a> = (&'a str, &'a str, &'a dyn Fn(&Path));

#[test]
fn what_is_not_a_library() {
    let world = World::new();
    world.cmd("vpo-snapshot").run().fails(20, &["library.db"]);
    assert_eq!(
        names(&world.home().join(".vpo")),
        [""; 0],
        "a missing library was created"
    );
    let cases: [Case; 8] = [
        ("empty", "is empty", &|path| write(path, b"")),
        ("text", "x.db'", &|path| {
            write(path, "all my videos\n".repeat(1000).as_bytes())
        }),
        ("no tables", "table '_meta'", &|path| {
            sqlite(path, "PRAGMA user_version = 1")
        }),
        ("no files", "table 'files'", &|path| {
            sqlite(
                path,
                "CREATE TABLE _meta (key, value); INSERT INTO _meta VALUES ('schema_version', '27')",
            );
        }),
        ("no _meta", "table '_meta'", &|path| {
            sqlite(path, "CREATE TABLE files (id, size_bytes)")
        }),
        ("no version", "schema version", &|path| {
            sqlite(path, "CREATE TABLE _meta (key, value); CREATE TABLE files (size_bytes)")
        }),
        ("a view", "table 'files'", &|path| {
            sqlite(
                path,
                "CREATE TABLE _meta (key, value); INSERT INTO _meta VALUES ('schema_version', '27');
                 CREATE VIEW files AS SELECT 1 AS size_bytes",
            );
        }),
        ("short", "damaged", &|path| {
            make(&files(10), path);
            let bytes = read(path);
            write(path, &bytes[..bytes.len() / 2]);
        }),
    ];
    for (name, message, build) in cases {
        let path = world.path("x.db");
        build(&path);
        println!("{name}");
        let out = unchanged(&world.path(""), || world.cmd("vpo-snapshot").arg(&path).run());
        let out = out.fails(42, &[message]);
        assert!(
            out.stdout.len() < path.metadata().unwrap().len().max(1) as usize,
            "{name}: all of it was written"
        );
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_damaged_library_gives_no_whole_stream() {
    let world = World::new();
    for sample in [files(1000), rollback(1000)] {
        world.make_library(&sample);
        damage_index(&world.library());
        let size = read(world.library()).len();
        let out = unchanged(&world.home(), || world.cmd("vpo-snapshot").run());
        let out = out.fails(42, &["damaged"]);
        assert!(out.stdout.len() < size);
        let stats = world.path("stats");
        let piped = pipeline([
            world.cmd("vpo-snapshot").arg("--stats").arg(&stats),
            world.cmd("vpo-pack").arg("--stats").arg(&stats),
        ]);
        let packed = piped.last().fails(42, &["ends after"]);
        world.verify(&packed.stdout).exits(46);
        // Unless that is wanted.
        let out = world.cmd("vpo-snapshot").arg("--no-check").run().silent();
        same("unchecked", &out.stdout, &read(world.library()));
        std::fs::remove_file(world.library()).unwrap();
    }
}

#[test]
fn a_stalled_reader_holds_no_writer_off_in_wal_mode() {
    let world = World::new();
    world.make_library(&Sample {
        size: Size::Bytes(6 << 20),
        ..Sample::default()
    });
    let expected = dump(&world.library());
    let mut peer = Peer::open(&world.library());
    let mut running = world.cmd("vpo-snapshot").start();
    let head = running.take(4096);
    // Far more than is under way: the transaction is open, and will be for as long as nobody reads.
    peer.insert(300);
    peer.sql("PRAGMA wal_checkpoint(PASSIVE)");
    assert!(running.is_running());
    let out = running.finish().silent();
    let all = [head, out.stdout].concat();
    same_content("as it was when it began", &dump_bytes(&all), &expected);
    assert_eq!(peer.sql("SELECT count(*) FROM files WHERE path LIKE '/new/%'"), "300");
}

#[test]
fn a_stalled_reader_holds_no_writer_off_in_rollback_mode() {
    let world = World::new();
    world.make_library(&Sample {
        size: Size::Bytes(6 << 20),
        ..rollback(0)
    });
    let before = read(world.library());
    let mut peer = Peer::open(&world.library());
    let mut running = world.cmd("vpo-snapshot").start();
    let head = running.take(4096);
    peer.insert(30);
    assert!(running.is_running());
    let out = running.finish().silent();
    same("as it was when it began", &[head, out.stdout].concat(), &before);
    world.clean();
}

#[test]
fn a_lock_that_does_not_end() {
    let world = World::new();
    world.make_library(&rollback(50));
    let mut peer = Peer::open(&world.library());
    peer.sql("BEGIN EXCLUSIVE");
    let out = unchanged(&world.home(), || {
        world.cmd("vpo-snapshot").args(["--timeout", "0.1"]).run()
    });
    let out = out.fails(43, &[&peer.pid()]);
    assert_eq!(out.stdout, b"");
    out.hint();
    // One that ends in time is waited for.
    if strace::available("waiting for a lock") {
        let mut waiting = strace::waiting(&world, "vpo-snapshot", |cmd| cmd.args(["--timeout", "60"]));
        waiting.is_refused();
        peer.sql("ROLLBACK");
        same(
            "after the lock",
            &waiting.finish().silent().stdout,
            &read(world.library()),
        );
    }

    // The exclusive mode of WAL, in which VPO's daemon may hold it (FR-014).
    std::fs::remove_file(world.library()).unwrap();
    peer.kill();
    world.default_library();
    let mut peer = Peer::open(&world.library());
    peer.sql("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT");
    let out = world.cmd("vpo-snapshot").args(["--timeout", "0"]).run();
    out.fails(43, &[&peer.pid()]);
}

/// However far it came, and with nothing to notice its end but the end of the stream.
#[test]
fn a_killed_snapshot_never_becomes_an_archive() {
    let world = World::new();
    world.make_library(&Sample {
        size: Size::Bytes(6 << 20),
        ..Sample::default()
    });
    let size = read(world.library()).len();
    for (part, stats) in [(1, true), (1, false), (size / 3, true), (size - (3 << 20), false)] {
        let stats_path = world.path("stats");
        let options = || ["--stats".into(), stats_path.clone().into_os_string()];
        let mut snapshot = world.cmd("vpo-snapshot").args(options()).start();
        let head = snapshot.take(part);
        snapshot.signal(Signal::KILL);
        let rest = snapshot.finish().ended_by(9).stdout;
        assert!(head.len() + rest.len() < size, "killed too late");
        let mut pack = world.cmd("vpo-pack");
        if stats {
            pack = pack.args(options());
        }
        let packed = pack.input(&[head, rest].concat()).run().fails(42, &["ends after"]);
        let out = world.verify(&packed.stdout).exits(46);
        assert!(out.text().starts_with("bad "), "{}", out.text());
        let save = world
            .cmd("vpo-verify")
            .args(["--save", "x.tar.gz"])
            .input(&packed.stdout);
        save.run().exits(46);
        assert!(!world.path("x.tar.gz").exists());
    }
    // In a real pipeline, when it is about to write for the first time, or later.
    if !strace::available("a pipeline whose first program is killed") {
        return;
    }
    for n in [1, 2, 20] {
        let inject = format!("inject=write:signal=KILL:when={n}");
        let traced = strace::tracer(&world).args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=write", "-e", &inject]);
        let both = pipeline([traced.arg(executable("vpo-snapshot")), world.cmd("vpo-pack")]);
        assert_eq!(both.0[0].status.signal(), Some(9), "{n}");
        let packed = both.last().fails(42, &["the input"]);
        world.verify(&packed.stdout).exits(46);
    }
}

#[test]
fn facts_for_vpo_pack() {
    let world = World::new();
    let facts = world.default_library();
    let stats = world.path("stats");
    write(&stats, "long and old ".repeat(1000).as_bytes());
    world.cmd("vpo-snapshot").arg("--stats").arg(&stats).run().silent();
    let json: serde_json::Value = serde_json::from_slice(&read(&stats)).unwrap();
    assert_eq!(json["schema_version"], facts.schema_version);
    assert_eq!(json["file_count"], facts.file_count);
    assert_eq!(json["total_library_size_bytes"], facts.total_library_size_bytes);
    assert_eq!(json["database_size_bytes"], facts.database_size_bytes);
    assert_eq!(json["page_size"], facts.page_size);
    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    assert_eq!(json["source_host"], host);
    let library = world.library().canonicalize().unwrap();
    assert_eq!(json["source_path"], library.to_str().unwrap());
    // A symlink stands for what it leads to.
    std::os::unix::fs::symlink(&library, world.path("link.db")).unwrap();
    let linked = world.cmd("vpo-snapshot").args(["--stats", "linked", "link.db"]);
    linked.run().silent();
    assert_eq!(read(world.path("linked")), read(&stats));

    // They are of the transaction of the snapshot, the log included, and there before the first page.
    let mut peer = Peer::open(&world.library());
    peer.insert(200);
    std::fs::remove_file(&stats).unwrap();
    let mut running = world.cmd("vpo-snapshot").arg("--stats").arg(&stats).start();
    let head = running.take(1);
    let json: serde_json::Value = serde_json::from_slice(&read(&stats)).unwrap();
    assert_eq!(json["file_count"], facts.file_count + 200);
    let rest = running.finish().silent().stdout;
    assert_eq!(json["database_size_bytes"], head.len() + rest.len());

    // A descriptor will do.
    let out = world
        .tool("sh")
        .args(["-c", "exec \"$0\" --stats /dev/fd/3 \"$1\" 3>&1 >/dev/null"]);
    let out = out.arg(executable("vpo-snapshot")).arg(world.library()).run().silent();
    assert_eq!(out.json(), json);
    world
        .cmd("vpo-snapshot")
        .args(["--stats", "missing/stats"])
        .run()
        .fails(40, &["missing/stats"]);
}

#[test]
fn facts_of_empty_libraries() {
    let world = World::new();
    world.make_library(&files(0));
    world.cmd("vpo-snapshot").args(["--stats", "stats"]).run().silent();
    let json: serde_json::Value = serde_json::from_slice(&read(world.path("stats"))).unwrap();
    assert_eq!(
        (&json["file_count"], &json["total_library_size_bytes"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn a_reader_that_goes_away_leaves_no_trace() {
    let world = World::new();
    for journal in [Journal::Wal, Journal::Delete] {
        world.make_library(&Sample {
            size: Size::Bytes(6 << 20),
            journal,
            ..Sample::default()
        });
        unchanged(&world.home(), || {
            let mut running = world.cmd("vpo-snapshot").start();
            running.take(100_000);
            drop(running.stdout.take());
            running.finish().ended_silently();
        });
        world.clean();
        std::fs::remove_file(world.library()).unwrap();
    }
}

#[test]
fn on_a_read_only_file_system() {
    with_mounts("snapshot on a read-only file system", || {
        // Each of its own, because what is read-only once stays so.
        let read_only = |name: &str, prepare: &dyn Fn(&Path) -> String| {
            println!("{name}");
            let world = World::new();
            let expected = prepare(&world.library());
            make_read_only(&world.home());
            let mut args = vec!["--stats", "stats"];
            for check in [true, false] {
                if !check {
                    args.push("--no-check");
                }
                let out = unchanged(&world.home(), || world.cmd("vpo-snapshot").args(&args).run()).silent();
                same_content(name, &dump_bytes(&out.stdout), &expected);
                world.clean();
            }
            let json: serde_json::Value = serde_json::from_slice(&read(world.path("stats"))).unwrap();
            let files = dump_bytes(&world.cmd("vpo-snapshot").run().silent().stdout);
            let rows = files.split("table files:").nth(1).unwrap().lines().skip(1);
            let rows = rows.take_while(|line| line.starts_with(' ')).count();
            assert_eq!(json["file_count"], rows, "{name}");
        };
        let crash = |library: &Path| {
            let mut peer = Peer::open(library);
            peer.insert(10);
            peer.kill();
        };
        read_only("WAL mode, no log", &|library| {
            make(&files(50), library);
            dump(library)
        });
        read_only("WAL mode, an empty log", &|library| {
            make(&files(50), library);
            write(beside(library, "-wal"), b"");
            dump(library)
        });
        read_only("rollback mode", &|library| {
            make(&rollback(50), library);
            dump(library)
        });
        read_only("a log and its index", &|library| {
            make(&files(50), library);
            crash(library);
            dump(library)
        });
        read_only("a log alone", &|library| {
            make(&files(50), library);
            crash(library);
            std::fs::remove_file(beside(library, "-shm")).unwrap();
            dump(library)
        });
        read_only("a hot journal", &|library| {
            make(&rollback(500), library);
            let before = dump(library);
            leave_hot_journal(library);
            before
        });
    });
}

#[test]
fn no_room_for_the_copy() {
    with_mounts("snapshot without room in TMPDIR", || {
        let world = World::new();
        world.make_library(&rollback(1000));
        make_small(&world.scratch(), 64);
        let out = unchanged(&world.home(), || world.cmd("vpo-snapshot").run()).fails(44, &["not enough space", "tmp'"]);
        assert_eq!(out.stdout, b"");
        assert_eq!(names(&world.scratch()), [""; 0]);
    });
}

#[test]
fn a_temporary_directory_with_a_hard_name() {
    let world = World::new();
    world.make_library(&rollback(100));
    let expected = read(world.library());
    for name in ["file:tmp?mode=memory", "100%41 #", "Amélie"] {
        std::fs::create_dir(world.path(name)).unwrap();
        for dir in [world.path(name), name.into()] {
            let out = world.cmd("vpo-snapshot").env("TMPDIR", &dir).run().silent();
            same("snapshot", &out.stdout, &expected);
            let archive = world
                .cmd("vpo-pack")
                .env("TMPDIR", &dir)
                .input(&expected)
                .run()
                .silent()
                .stdout;
            world
                .cmd("vpo-verify")
                .env("TMPDIR", &dir)
                .input(&archive)
                .run()
                .silent();
            let restore = world
                .cmd("vpo-unpack-restore")
                .env("TMPDIR", &dir)
                .args(["--db", "no/where.db"]);
            restore.arg("--dry-run").input(&archive).run().silent();
            let db = Path::new(name).join("file:new.db");
            world
                .cmd("vpo-unpack-restore")
                .arg("--db")
                .arg(&db)
                .input(&archive)
                .run()
                .silent();
            same("restored", &read(world.path(&db)), &expected);
            std::fs::remove_file(world.path(&db)).unwrap();
            assert_eq!(names(&world.path(name)), [""; 0]);
        }
    }
}

#[test]
fn progress_does_not_change_the_stream() {
    let world = World::new();
    world.make_library(&Sample {
        size: Size::Bytes(6 << 20),
        ..Sample::default()
    });
    let out = world.cmd("vpo-snapshot").arg("--progress").run().silent();
    same("with --progress", &out.stdout, &read(world.library()));
    let (cmd, mut terminal) = world.cmd("vpo-snapshot").arg("--progress").terminal(&[Stream::Err]);
    let mut running = cmd.env("TERM", "xterm").start();
    // As long as nobody reads on it can't end, however slowly it draws.
    let head = running.take(100_000);
    terminal.wait_for("copying");
    let shown = std::thread::spawn(|| terminal.rest());
    let rest = running.finish().ok().stdout;
    same("on a terminal", &[head, rest].concat(), &read(world.library()));
    shown.join().unwrap();
}
