//! `vpo-pack`: the format to the byte, as a stream.

use std::io::Read;
use std::sync::{Arc, Mutex};

use crate::generate::{Journal, Sample, Size};
use crate::support::*;

#[test]
fn the_format_is_the_one_described() {
    let world = World::new();
    let facts = world.make_library(&files(1000));
    let database = read(world.library());
    let archive = world.pack(&database);

    let blocks = blocks(&archive);
    let sizes: Vec<_> = blocks.iter().map(|block| isize_of(&archive[block.clone()])).collect();
    let tar = gunzip(&archive);
    let (last, before) = sizes.split_last().unwrap();
    assert!(
        before[..before.len() - 1].iter().all(|size| *size == 128 << 10),
        "{sizes:?}"
    );
    assert!(before[before.len() - 1] <= 128 << 10);

    // The database, padded; then, as the last block, the metadata and two zero blocks, and nothing else.
    let padded = 512 + database.len().next_multiple_of(512);
    assert_eq!(tar.len() - last, padded);
    let (unpacked, metadata) = unpack(&archive);
    same("the database", &unpacked, &database);
    let json = &tar[padded + 512..];
    let end = json.iter().position(|byte| *byte == 0).unwrap();
    assert_eq!(*last, 512 + end.next_multiple_of(512) + 1024);
    assert!(json[end..].iter().all(|byte| *byte == 0));
    assert_eq!(
        metadata,
        serde_json::json!({
            "vpo_version": format!("vpo-library/{}", env!("CARGO_PKG_VERSION")),
            "schema_version": 27,
            "created_at": TIME,
            "database_size_bytes": database.len(),
            "file_count": 1000,
            "total_library_size_bytes": facts.total_library_size_bytes,
            "compression": "gzip",
            "database_sha256": sha256(&database),
            "page_size": 4096,
            "compression_level": 6,
            "source_host": null,
            "source_path": null,
        })
    );

    for (at, name, size) in [(0, "library.db", database.len()), (padded, "backup_metadata.json", end)] {
        let header = tar::Header::from_byte_slice(&tar[at..at + 512]);
        assert!(header.as_ustar().is_some(), "{name} is not ustar");
        assert_eq!(*header.path_bytes(), *name.as_bytes());
        assert_eq!(header.mode().unwrap(), 0o600);
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.username().unwrap(), Some(""));
        assert_eq!(header.groupname().unwrap(), Some(""));
        assert_eq!(header.mtime().unwrap(), 1_770_301_822, "mtime is created_at");
        assert_eq!(header.size().unwrap() as usize, size);
        assert!(header.entry_type().is_file());
    }
    world.verify(&archive).silent();
    assert!(archive.len() * 2 < database.len(), "less than half is saved");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let world = World::new();
    world.make_library(&files(400));
    let database = read(world.library());
    let stats = world.path("stats");
    world.cmd("vpo-snapshot").arg("--stats").arg(&stats).run().silent();
    let pack = |args: &[&str]| world.cmd("vpo-pack").args(["--created-at", TIME]).args(args);
    let expected = pack(&[]).input(&database).run().silent().stdout;
    for threads in ["1", "2", "3", "17"] {
        let out = pack(&["--threads", threads]).input(&database).run().silent().stdout;
        same(&format!("{threads} threads"), &out, &expected);
    }
    let out = pack(&[]).stdin_file(&world.library()).run().silent().stdout;
    same("from a file", &out, &expected);
    let told = pack(&["--stats", stats.to_str().unwrap()])
        .input(&database)
        .run()
        .silent()
        .stdout;
    let library = world.library().canonicalize().unwrap();
    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    let source = format!("{host}:{}", library.display());
    let out = pack(&["--source", &source]).input(&database).run().silent().stdout;
    same("with --stats", &out, &told);
    // What the snapshot says counts.
    let out = pack(&["--source", "nas:/elsewhere", "--stats", stats.to_str().unwrap()]);
    same(
        "--stats before --source",
        &out.input(&database).run().silent().stdout,
        &told,
    );
    let out = pack(&["--created-at", "2026-02-05T15:30:22.9+01:00"])
        .input(&database)
        .run()
        .silent()
        .stdout;
    same("the same second elsewhere", &out, &expected);

    let other = pack(&["--vpo-version", "0.2.0"]).input(&database).run().silent().stdout;
    assert_eq!(unpack(&other).1["vpo_version"], "0.2.0");
    let other = pack(&["--created-at", "2026-02-05T14:30:23Z"])
        .input(&database)
        .run()
        .silent()
        .stdout;
    assert_eq!(unpack(&other).1["created_at"], "2026-02-05T14:30:23Z");
}

#[test]
fn every_level_is_a_whole_archive() {
    let world = World::new();
    world.make_library(&files(80));
    let database = read(world.library());
    let mut sizes = Vec::new();
    for level in 0..=12 {
        let pack = world.cmd("vpo-pack").arg(format!("-l{level}")).input(&database);
        let archive = pack.run().silent().stdout;
        blocks(&archive);
        same("content", &unpack(&archive).0, &database);
        world.verify(&archive).silent();
        sizes.push(archive.len());
    }
    assert!(
        sizes[0] > database.len() && sizes[1] < sizes[0] && sizes[6] < sizes[1] && sizes[12] < sizes[6],
        "{sizes:?}"
    );
    let default = world
        .cmd("vpo-pack")
        .args(["--created-at", TIME])
        .input(&database)
        .run()
        .ok()
        .stdout;
    let six = world
        .cmd("vpo-pack")
        .args(["--created-at", TIME, "--level=6"])
        .input(&database)
        .run()
        .ok()
        .stdout;
    same("the default level", &default, &six);
}

#[test]
fn the_time_is_now_where_none_is_given() {
    let world = World::new();
    tiny(&world.library());
    let before = jiff::Timestamp::now().as_second();
    let archive = world.cmd("vpo-pack").stdin_file(&world.library()).run().silent().stdout;
    let after = jiff::Timestamp::now().as_second();
    let created: jiff::Timestamp = unpack(&archive).1["created_at"].as_str().unwrap().parse().unwrap();
    assert!((before..=after).contains(&created.as_second()));
}

#[test]
fn output_leaves_before_the_input_has_come() {
    let world = World::new();
    world.make_library(&Sample {
        size: Size::Bytes(6 << 20),
        ..Sample::default()
    });
    let database = read(world.library());
    world.cmd("vpo-snapshot").args(["--stats", "stats"]).run().silent();
    for args in [&["--threads", "1", "--stats", "stats"][..], &["--threads", "1"]] {
        let mut running = world.cmd("vpo-pack").args(args).input_pipe().start();
        let mut stdout = running.stdout.take().unwrap();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let archive = arrived.clone();
        // As the next program would, the test reads while it writes.
        let reader = std::thread::spawn(move || {
            let mut piece = vec![0; 1 << 16];
            loop {
                let n = stdout.read(&mut piece).unwrap();
                if n == 0 {
                    break;
                }
                archive.lock().unwrap().extend_from_slice(&piece[..n]);
            }
        });
        let (head, tail) = database.split_at(5 << 20);
        running.feed(head);
        // With a sixth of the database still to come.
        wait_until("half a megabyte of output", || arrived.lock().unwrap().len() > 1 << 19);
        running.feed(tail);
        running.finish().silent();
        reader.join().unwrap();
        let archive = arrived.lock().unwrap();
        world.verify(&archive).silent();
    }
    world.clean();
}

#[test]
fn input_that_is_not_a_complete_database() {
    let world = World::new();
    world.make_library(&files(700));
    world.cmd("vpo-snapshot").args(["--stats", "stats"]).run().silent();
    let database = read(world.library());
    let longer = [&database[..], b"x"].concat();
    let page_longer = [&database[..], &[0; 4096]].concat();
    let text = b"just text\n".repeat(100_000);
    let mut page_size = database.clone();
    page_size[16..18].copy_from_slice(&1000_u16.to_be_bytes());
    let (short, long, foreign) = ("ends after", "longer than", "does not begin as a SQLite database");
    let cases: [(&str, &[u8], &str); 13] = [
        ("empty", b"", "is empty"),
        ("one byte", &database[..1], "too short for a SQLite database"),
        ("99 bytes", &database[..99], "too short for a SQLite database"),
        ("the header", &database[..100], short),
        ("one page", &database[..4096], short),
        ("half", &database[..database.len() / 2], short),
        ("one byte short", &database[..database.len() - 1], short),
        ("one page short", &database[..database.len() - 4096], short),
        ("one byte long", &longer, long),
        ("one page long", &page_longer, long),
        ("foreign", &text, foreign),
        ("an archive", &world.pack(&database), foreign),
        ("an impossible page size", &page_size, "page size, 1000"),
    ];
    for (name, input, message) in cases {
        println!("{name}");
        let file = world.path("input");
        write(&file, input);
        // A file is asked for its facts first, which may be in what is missing.
        let of_file = match name {
            "the header" | "one page" | "half" | "one page short" => "malformed",
            _ => message,
        };
        for (cmd, message) in [
            (world.cmd("vpo-pack").input(input), message),
            (world.cmd("vpo-pack").stdin_file(&file), of_file),
            (world.cmd("vpo-pack").args(["--stats", "stats"]).input(input), message),
        ] {
            let out = cmd.run().fails(42, &[message]);
            let verified = world.verify(&out.stdout).exits(46);
            assert!(verified.text().starts_with("bad -: "), "{}", verified.text());
        }
    }
    world.clean();
}

#[test]
fn a_database_without_the_tables_of_vpo() {
    let world = World::new();
    let both = "CREATE TABLE files (size_bytes); CREATE TABLE _meta (key, value)";
    let version = |value: &str| format!("{both}; INSERT INTO _meta VALUES ('schema_version', '{value}')");
    for (sql, missing) in [
        ("PRAGMA user_version = 1", "table '_meta'"),
        ("CREATE TABLE t (x); INSERT INTO t VALUES (1)", "table '_meta'"),
        (
            "CREATE TABLE _meta (key, value); INSERT INTO _meta VALUES ('schema_version', '27')",
            "table 'files'",
        ),
        (both, "schema version"),
        (&version("0"), "schema version"),
        (&version("x"), "schema version"),
    ] {
        let path = world.path("x.db");
        sqlite(&path, sql);
        for cmd in [
            world.cmd("vpo-pack").stdin_file(&path),
            world.cmd("vpo-pack").input(&read(&path)),
        ] {
            let out = cmd.run().fails(42, &[missing]);
            world.verify(&out.stdout).exits(46);
        }
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn facts_of_another_database() {
    let world = World::new();
    world.make_library(&files(700));
    let database = read(world.library());
    world.cmd("vpo-snapshot").args(["--stats", "stats"]).run().silent();
    let good: serde_json::Value = serde_json::from_slice(&read(world.path("stats"))).unwrap();
    let wrong = |key: &str, value: serde_json::Value| {
        let mut stats = good.clone();
        stats[key] = value;
        stats.to_string().into_bytes()
    };
    for stats in [
        wrong("page_size", 8192.into()),
        wrong("database_size_bytes", (database.len() + 4096).into()),
        wrong("database_size_bytes", (database.len() - 4096).into()),
        wrong("schema_version", "27".into()),
        wrong("file_count", serde_json::Value::Null),
        wrong("source_host", 5.into()),
        b"".to_vec(),
        b"{}".to_vec(),
        b"not JSON".to_vec(),
    ] {
        write(world.path("wrong"), &stats);
        for cmd in [
            world.cmd("vpo-pack").args(["--stats", "wrong"]).input(&database),
            world
                .cmd("vpo-pack")
                .args(["--stats", "wrong"])
                .stdin_file(&world.library()),
        ] {
            let out = cmd.run().fails(42, &["wrong"]);
            world.verify(&out.stdout).exits(46);
        }
    }
    // Wrong in what the header does not tell: packed, but no verifier takes it.
    for key in ["schema_version", "file_count"] {
        write(world.path("wrong"), &wrong(key, 26.into()));
        let out = world
            .cmd("vpo-pack")
            .args(["--stats", "wrong"])
            .input(&database)
            .run()
            .silent();
        world.verify(&out.stdout).exits(46);
    }
}

#[test]
fn the_library_that_was_read() {
    let world = World::new();
    world.default_library();
    let database = read(world.library());
    world.cmd("vpo-snapshot").args(["--stats", "stats"]).run().silent();
    let good: serde_json::Value = serde_json::from_slice(&read(world.path("stats"))).unwrap();
    let source = |stats: &serde_json::Value, args: &[&str]| {
        write(world.path("stats"), stats.to_string().as_bytes());
        let out = world.cmd("vpo-pack").args(["--stats", "stats"]).args(args);
        let out = out.input(&database).run().silent();
        world.verify(&out.stdout).silent();
        let metadata = unpack(&out.stdout).1;
        (metadata["source_host"].clone(), metadata["source_path"].clone())
    };
    let told = (good["source_host"].clone(), good["source_path"].clone());
    assert_eq!(source(&good, &[]), told);
    let unknown = (serde_json::Value::Null, serde_json::Value::Null);
    let mut stats = good.clone();
    // Facts of an earlier version don't have them; a path that is not UTF-8 is null.
    stats
        .as_object_mut()
        .unwrap()
        .retain(|key, _| !key.starts_with("source"));
    assert_eq!(source(&stats, &[]), unknown);
    stats["source_host"] = "nas".into();
    stats["source_path"] = serde_json::Value::Null;
    assert_eq!(source(&stats, &[]), ("nas".into(), unknown.1.clone()));
    assert_eq!(
        source(&stats, &["--source", "nas:/srv/a:b.db"]),
        ("nas".into(), "/srv/a:b.db".into())
    );
    // Longer than a reader takes.
    stats["source_path"] = format!("/{}", "x".repeat(4096)).into();
    assert_eq!(source(&stats, &[]), ("nas".into(), unknown.1));
    for (wrong, message) in [
        ("nas", "'nas': HOST:PATH is needed"),
        (":/srv/library.db", "HOST:PATH is needed"),
        ("nas:", "'nas:': the path is not absolute"),
        ("nas:library.db", "the path is not absolute"),
        (&format!("nas:/{}", "x".repeat(4096)), "longer than 4096 bytes"),
    ] {
        let out = world.cmd("vpo-pack").args(["--source", wrong]).input(&database);
        assert_eq!(out.run().fails(2, &["--source", message]).stdout, b"");
    }
}

/// Whoever opened the file before there is a byte would find what is there from the last time, or nothing.
#[test]
fn facts_are_read_after_the_first_byte() {
    if !strace::available("when vpo-pack reads the facts") {
        return;
    }
    let world = World::new();
    world.default_library();
    let database = read(world.library());
    world.cmd("vpo-snapshot").args(["--stats", "facts"]).run().silent();
    let traced = strace::tracer(&world).args(["-qq", "-o", "log", "-e", "trace=read,open,openat"]);
    let args = ["--stats", "facts", "--created-at", TIME];
    let pack = traced.arg(executable("vpo-pack")).args(args).input(&database);
    let expected = world.cmd("vpo-pack").args(args).input(&database);
    let expected = expected.run().silent().stdout;
    same("archive", &pack.run().silent().stdout, &expected);
    let log = String::from_utf8(read(world.path("log"))).unwrap();
    let line = |what: &str| log.lines().position(|line| line.contains(what));
    let (first, facts) = (line(", \"SQLite format 3"), line("\"facts\""));
    assert!(first.is_some() && facts > first, "{log}");
}

#[test]
fn a_file_that_is_not_all_there_is() {
    let world = World::new();
    world.default_library();
    let mut peer = Peer::open(&world.library());
    peer.insert(5);
    let out = unchanged(&world.home(), || {
        world.cmd("vpo-pack").stdin_file(&world.library()).run()
    });
    let out = out.fails(42, &["library.db-wal"]);
    assert!(out.hint().contains("vpo-snapshot"), "{}", out.stderr);
    world.verify(&out.stdout).exits(46);
    peer.close();
    world.cmd("vpo-pack").stdin_file(&world.library()).run().silent();

    let library = world.path("rollback.db");
    make(
        &Sample {
            journal: Journal::Delete,
            ..files(20)
        },
        &library,
    );
    write(beside(&library, "-journal"), b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7");
    world
        .cmd("vpo-pack")
        .stdin_file(&library)
        .run()
        .fails(42, &["-journal"]);
    for suffix in ["-wal", "-journal"] {
        // Empty ones hold nothing.
        write(beside(&library, suffix), b"");
    }
    unchanged(&world.path(""), || {
        world.cmd("vpo-pack").stdin_file(&library).run().silent()
    });
}

/// Bytes 24–27 and 92–95 differ where an old SQLite wrote last: then the page count is not to be believed.
#[test]
fn a_page_count_that_is_out_of_date() {
    let world = World::new();
    world.make_library(&files(700));
    world.cmd("vpo-snapshot").args(["--stats", "stats"]).run().silent();
    let mut stale = read(world.library());
    stale[92..96].copy_from_slice(&[0, 0, 0, 9]);
    stale[28..32].copy_from_slice(&7_u32.to_be_bytes());
    let mut zero = read(world.library());
    zero[28..32].fill(0);
    for database in [stale, zero] {
        let file = world.path("stale.db");
        write(&file, &database);
        for cmd in [
            world.cmd("vpo-pack").input(&database),
            world.cmd("vpo-pack").stdin_file(&file),
            world.cmd("vpo-pack").args(["--stats", "stats"]).input(&database),
        ] {
            let archive = cmd.run().silent().stdout;
            same("content", &unpack(&archive).0, &database);
            world.verify(&archive).silent();
        }
        let short = &database[..database.len() - 100];
        for cmd in [
            world.cmd("vpo-pack").input(short),
            world.cmd("vpo-pack").args(["--stats", "stats"]).input(short),
        ] {
            let out = cmd.run().fails(42, &["ends after"]);
            world.verify(&out.stdout).exits(46);
        }
    }
    world.clean();
}

#[test]
fn an_input_that_was_renamed_or_opened_in_the_middle() {
    let world = World::new();
    world.default_library();
    let database = read(world.library());
    let expected = world.pack(&database);
    // The file has no name any more.
    let file = std::fs::File::open(world.library()).unwrap();
    std::fs::remove_file(world.library()).unwrap();
    let out = world
        .cmd("vpo-pack")
        .args(["--created-at", TIME])
        .stdin(file)
        .run()
        .silent();
    same("nameless", &out.stdout, &expected);
    // The database begins in the middle of a file.
    let path = world.path("joined");
    write(&path, &[b"prefix!\n", &database[..]].concat());
    let mut file = std::fs::File::open(&path).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(8)).unwrap();
    let out = world
        .cmd("vpo-pack")
        .args(["--created-at", TIME])
        .stdin(file)
        .run()
        .silent();
    same("from the middle", &out.stdout, &expected);
}

#[test]
fn no_room_for_the_spool() {
    with_mounts("pack without room in TMPDIR", || {
        let world = World::new();
        world.make_library(&files(1000));
        let database = read(world.library());
        world.cmd("vpo-snapshot").args(["--stats", "stats"]).run().silent();
        make_small(&world.scratch(), 64);
        let out = world
            .cmd("vpo-pack")
            .input(&database)
            .run()
            .fails(44, &["the input", "No space left"]);
        world.verify(&out.stdout).exits(46);
        assert_eq!(names(&world.scratch()), [""; 0]);
        // Where the facts are known, nothing is spooled.
        world
            .cmd("vpo-pack")
            .args(["--stats", "stats"])
            .input(&database)
            .run()
            .silent();
        world.cmd("vpo-pack").stdin_file(&world.library()).run().silent();
    });
}

#[test]
fn a_temporary_directory_that_is_not_there() {
    let world = World::new();
    world.default_library();
    let pack = world
        .cmd("vpo-pack")
        .env("TMPDIR", world.path("missing"))
        .input(&read(world.library()));
    let out = pack.run().fails(40, &["missing"]);
    world.verify(&out.stdout).exits(46);
}
