//! `vpo-verify`: nothing passes that is not whole.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::*;

#[test]
fn an_archive_that_is_whole() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    write(world.path("x.tar.gz"), &archive);
    let line = "  created 2026-02-05T14:30:22Z, schema 27, 100 files, 636.0 KB\n";
    let by_name = world.cmd("vpo-verify").arg("x.tar.gz").run().silent();
    assert_eq!(by_name.text(), format!("ok  x.tar.gz{line}"));
    assert_eq!(world.verify(&archive).silent().text(), format!("ok  -{line}"));
    let both = world
        .cmd("vpo-verify")
        .args(["x.tar.gz", "-"])
        .input(&archive)
        .run()
        .silent();
    assert_eq!(both.text(), format!("ok  x.tar.gz{line}ok  -{line}"));
    world
        .cmd("vpo-verify")
        .arg("--no-database-check")
        .arg("x.tar.gz")
        .run()
        .silent();
    world.clean();
}

#[test]
fn the_report_as_json() {
    let world = World::new();
    let facts = world.default_library();
    let database = read(world.library());
    write(world.path("good.tar.gz"), &world.archive_of(&world.library()));
    write(world.path("bad.tar.gz"), b"bad");
    let out = world
        .cmd("vpo-verify")
        .args(["--json", "good.tar.gz", "bad.tar.gz", "missing.tar.gz"])
        .run();
    let json = out.exits(46).json();
    has_keys(&json, &["total_count", "bad_count", "archives"]);
    assert_eq!((&json["total_count"], &json["bad_count"]), (&json!(3), &json!(1)));
    let rows = json["archives"].as_array().unwrap();
    assert_eq!(
        rows[0],
        json!({
            "path": "good.tar.gz",
            "valid": true,
            "status": "ok",
            "error": null,
            "vpo_version": format!("vpo-library/{}", env!("CARGO_PKG_VERSION")),
            "schema_version": 27,
            "created_at": TIME,
            "database_size_bytes": facts.database_size_bytes,
            "file_count": 100,
            "total_library_size_bytes": facts.total_library_size_bytes,
            "compression": "gzip",
            "database_sha256": sha256(&database),
            "page_size": 4096,
            "compression_level": 6,
            "source_host": null,
            "source_path": null,
        })
    );
    for (row, path, status) in [(&rows[1], "bad.tar.gz", "bad"), (&rows[2], "missing.tar.gz", "unknown")] {
        assert_eq!((&row["path"], &row["valid"]), (&json!(path), &json!(false)));
        assert_eq!(row["status"], status);
        assert!(row["error"].as_str().is_some_and(|error| !error.is_empty()), "{row}");
    }
    let out = world.cmd("vpo-verify").args(["--json", "good.tar.gz"]).run().silent();
    assert_eq!(out.json()["bad_count"], 0);
    let out = world
        .cmd("vpo-verify")
        .args(["--json", "-q", "bad.tar.gz"])
        .run()
        .exits(46);
    assert_eq!(out.json()["bad_count"], 1);
}

#[test]
fn all_are_checked_and_the_worst_counts() {
    let world = World::new();
    world.default_library();
    write(world.path("good.tar.gz"), &world.archive_of(&world.library()));
    write(world.path("bad.tar.gz"), b"bad");
    std::fs::create_dir(world.path("empty")).unwrap();
    std::fs::create_dir(world.path("loop.tar.gz")).unwrap();
    std::os::unix::fs::symlink("circle.tar.gz", world.path("circle.tar.gz")).unwrap();
    let run = |args: &[&str]| world.cmd("vpo-verify").args(args).run();

    let out = run(&["bad.tar.gz", "missing.tar.gz", "circle.tar.gz", "good.tar.gz"]).exits(46);
    let lines: Vec<_> = out.text().lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("bad bad.tar.gz: "), "{lines:?}");
    assert!(lines[1].starts_with("??  missing.tar.gz: "), "{lines:?}");
    assert!(lines[2].starts_with("??  circle.tar.gz: "), "{lines:?}");
    assert!(lines[3].starts_with("ok  good.tar.gz  "), "{lines:?}");
    run(&["missing.tar.gz", "good.tar.gz"]).exits(20);
    run(&["circle.tar.gz", "missing.tar.gz", "good.tar.gz"]).exits(20);
    run(&["circle.tar.gz", "good.tar.gz"]).exits(40);
    run(&["empty"]).exits(20);
    run(&["empty", "good.tar.gz"]).exits(20);

    // Quietly: only the bad ones, on stderr.
    let out = run(&["-q", "bad.tar.gz", "good.tar.gz"]).exits(46);
    assert_eq!(out.stdout, b"");
    assert!(
        out.stderr.starts_with("bad bad.tar.gz: ") && !out.stderr.contains("good"),
        "{}",
        out.stderr
    );
    assert_eq!(run(&["-q", "good.tar.gz"]).silent().stdout, b"");
}

#[test]
fn a_directory_is_all_its_backups() {
    let world = World::new();
    let dir = world.path("d");
    std::fs::create_dir(&dir).unwrap();
    world.backup_at(
        &dir.join("vpo-library-2026-01-01T000000Z.tar.gz"),
        1,
        "2026-01-01T00:00:00Z",
    );
    world.backup_at(
        &dir.join("vpo-library-2026-03-01T000000Z.tar.gz"),
        2,
        "2026-03-01T00:00:00Z",
    );
    world.backup_at(
        &dir.join("vpo-library-2026-02-01T000000Z.tar.gz"),
        3,
        "2026-02-01T00:00:00Z",
    );
    write(dir.join("notes.txt"), b"no backup");
    write(dir.join("other.tar.gz"), b"no backup");
    let out = world.cmd("vpo-verify").arg("d").run().silent();
    let months: Vec<_> = out.text().lines().map(|line| &line[..39]).collect();
    let expected = ["03", "02", "01"].map(|month| format!("ok  d/vpo-library-2026-{month}-01T000000Z.ta"));
    assert_eq!(months, expected);
    write(dir.join("vpo-library-2026-02-15T000000Z.tar.gz"), b"damaged");
    let out = world.cmd("vpo-verify").args(["--json", "d"]).run().exits(46).json();
    assert_eq!((&out["total_count"], &out["bad_count"]), (&json!(4), &json!(1)));
}

#[test]
fn formats_that_are_none_of_ours_are_named() {
    let world = World::new();
    for case in mutilations::formats::cases() {
        let name = &case.name;
        let out = world.verify(&case.bytes).exits(46);
        assert!(
            out.text().starts_with("bad -: ") && out.text().contains(case.message),
            "{name}: {}",
            out.text()
        );
        if !["an empty file", "text"].contains(&&name[..]) {
            assert!(out.text().contains("vpo backups are .tar.gz"), "{}", out.text());
        }
        if name == "a bare database" {
            assert!(out.stderr.contains("vpo-pack"), "{}", out.stderr);
        }
        world
            .cmd("vpo-unpack-restore")
            .args(["--db", "new.db"])
            .input(&case.bytes)
            .run()
            .fails(46, &[case.message]);
        assert!(!world.path("new.db").exists());
    }
    // As their own tools write them.
    for (tool, option, name) in [
        ("zstd", "-c", "zstd"),
        ("xz", "-c", "xz"),
        ("bzip2", "-c", "bzip2"),
        ("lz4", "-c", "lz4"),
    ] {
        if has_tool(tool, "a foreign format") {
            let file = world.tool(tool).arg(option).input(b"a file").run().ok().stdout;
            let out = world.verify(&file).exits(46);
            assert!(out.text().contains(name), "{}", out.text());
        }
    }
}

/// The whole mutilation table, in one run of the program.
#[test]
fn each_mutilation_is_bad_with_its_reason() {
    let world = World::new();
    let cases = mutilations::all(&world);
    let paths: Vec<PathBuf> = (0..cases.len()).map(|n| world.path(format!("{n}.tar.gz"))).collect();
    for (case, path) in cases.iter().zip(&paths) {
        write(path, &case.bytes);
    }
    let json = world
        .cmd("vpo-verify")
        .arg("--json")
        .args(&paths)
        .run()
        .exits(46)
        .json();
    assert_eq!(json["bad_count"], cases.len());
    let rows = json["archives"].as_array().unwrap();
    assert_eq!(rows.len(), cases.len());
    for (row, case) in rows.iter().zip(&cases) {
        let said = row["error"].as_str().unwrap();
        assert!(said.contains(case.message), "{}: {said}", case.name);
    }
    world.clean();
}

/// Nothing of them is restored or kept.
#[test]
fn one_thing_wrong() {
    let world = World::new();
    world.default_library();
    // None of them for the want of something else.
    world.verify(&mutilations::plain::good()).silent();
    for case in mutilations::plain::cases() {
        let restore = world.cmd("vpo-unpack-restore").args(["--yes"]).input(&case.bytes);
        unchanged(&world.home(), || restore.run().fails(46, &[case.message]));
        let save = world.cmd("vpo-verify").args(["--save", "x.tar.gz"]).input(&case.bytes);
        save.run().exits(46);
        assert!(!world.path("x.tar.gz").exists(), "{}", case.name);
    }
    world.clean();
}

#[test]
fn archives_from_elsewhere() {
    let world = World::new();
    let facts = world.default_library();
    let database = read(world.library());
    let metadata = vpo_metadata(&facts);
    let text = metadata.to_string();
    let of = |names: [&str; 2], swap: bool| {
        let mut members = vec![member(names[0], &database), member(names[1], text.as_bytes())];
        if swap {
            members.reverse();
        }
        gzip(&tar_file(&members))
    };
    let with = |key: &str, value: Value| {
        let mut metadata = metadata.clone();
        metadata[key] = value;
        plain_archive(&database, &metadata)
    };
    let pax = |content: &[u8]| Member {
        name: b"PaxHeaders/library.db".to_vec(),
        kind: tar::EntryType::XHeader,
        content: content.to_owned(),
    };
    let mut record_padding = tar_file(&[
        member("library.db", &database),
        member("backup_metadata.json", text.as_bytes()),
    ]);
    record_padding.resize(record_padding.len().next_multiple_of(10240), 0);
    let cases = [
        ("as VPO writes it", plain_archive(&database, &metadata)),
        ("metadata first", of(["library.db", "backup_metadata.json"], true)),
        ("with ./", of(["./library.db", "./backup_metadata.json"], false)),
        ("record padding", gzip(&record_padding)),
        ("size of before the backup", with("database_size_bytes", 4096.into())),
        ("other schema than the database", with("schema_version", 26.into())),
        (
            "another offset",
            with("created_at", "2026-02-05T14:30:22.123456+02:00".into()),
        ),
        ("unknown keys", with("tags", json!({"a": [1.5, null]}))),
        (
            "PAX headers",
            gzip(&tar_file(&[
                pax(b"30 mtime=1770301822.123456789\n"),
                member("library.db", &database),
                member("backup_metadata.json", text.as_bytes()),
            ])),
        ),
    ];
    for (name, archive) in cases {
        println!("{name}");
        world.verify(&archive).silent();
        world
            .cmd("vpo-unpack-restore")
            .args(["--db", "new.db"])
            .input(&archive)
            .run()
            .ok();
        same(name, &read(world.path("new.db")), &database);
        std::fs::remove_file(world.path("new.db")).unwrap();
    }
}

#[test]
fn the_database_check_can_be_left_out() {
    let world = World::new();
    let facts = world.default_library();
    let mut database = read(world.library());
    let middle = database.len() / 8192 * 4096;
    database[middle..middle + 4096].fill(0x55);
    let archive = plain_archive(&database, &vpo_metadata(&facts));
    let out = world.verify(&archive).exits(46);
    assert!(out.text().contains("quick_check"), "{}", out.text());
    world
        .cmd("vpo-verify")
        .arg("--no-database-check")
        .input(&archive)
        .run()
        .silent();
    let cut = &archive[..archive.len() - 1];
    world
        .cmd("vpo-verify")
        .arg("--no-database-check")
        .input(cut)
        .run()
        .exits(46);
}

#[test]
fn save_keeps_what_is_valid() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    let save = |dest: &str, bytes: &[u8]| world.cmd("vpo-verify").args(["--save", dest]).input(bytes).run();
    std::fs::create_dir(world.path("d")).unwrap();

    let out = save("d", &archive).silent();
    assert!(out.text().starts_with(&format!("ok  d/{NAME}  ")), "{}", out.text());
    same("kept", &read(world.path("d").join(NAME)), &archive);
    assert_eq!(mode(&world.path("d").join(NAME)), 0o600);
    // A name that is taken gets a number.
    save("d", &archive).silent();
    save("d", &archive).silent();
    let numbered = ["-2.tar.gz", "-3.tar.gz", ".tar.gz"].map(|end| format!("vpo-library-2026-02-05T143022Z{end}"));
    assert_eq!(names(&world.path("d")), numbered);

    let out = save("d/mine.tar.gz", &archive).silent();
    assert!(out.text().contains("d/mine.tar.gz"), "{}", out.text());
    same("kept", &read(world.path("d/mine.tar.gz")), &archive);
    let json = world
        .cmd("vpo-verify")
        .args(["--json", "--save", "d/json.tar.gz"])
        .input(&archive)
        .run()
        .silent();
    assert_eq!(json.json()["total_count"], 1);

    // Nothing is replaced, not even by itself; nothing is kept of what is bad.
    unchanged(&world.path("d"), || {
        save("d/mine.tar.gz", &archive).fails(40, &["d/mine.tar.gz"]);
        for bad in [
            &archive[..archive.len() - 1],
            &[&archive[..], b"x"].concat(),
            b"",
            b"text",
        ] {
            save("d/new.tar.gz", bad).exits(46);
            save("d", bad).exits(46);
        }
        save("missing/new.tar.gz", &archive).fails(20, &["missing"]);
        save("d/new.zip", &archive).fails(2, &["d/new.zip"]);
        save("d/new", &archive).fails(2, &["d/new"]);
    });
    // A link that leads nowhere is a name that is taken.
    std::os::unix::fs::symlink("nowhere", world.path("d/link.tar.gz")).unwrap();
    save("d/link.tar.gz", &archive).fails(40, &["'d/link.tar.gz'", "exists"]);
    assert!(!world.path("d/nowhere").exists());
    world.clean();
}

/// A file that appears while the archive is still coming is not replaced either.
#[test]
fn save_does_not_replace_what_appears_meanwhile() {
    let world = World::new();
    let facts = world.make_library(&files(1000));
    let archive = plain_archive(&read(world.library()), &vpo_metadata(&facts));
    let mut running = world
        .cmd("vpo-verify")
        .args(["--save", "x.tar.gz"])
        .input_pipe()
        .start();
    running.feed(&archive[..archive.len() - 10]);
    wait_until("its work has begun", || {
        !names(&world.scratch()).is_empty() || !running.is_running()
    });
    write(world.path("x.tar.gz"), b"precious");
    running.feed(&archive[archive.len() - 10..]);
    running.finish().fails(40, &["taken"]);
    assert_eq!(read(world.path("x.tar.gz")), b"precious");
    assert_eq!(names(&world.path("")), ["x.tar.gz"]);
}

#[test]
fn a_pipeline_that_keeps_only_what_is_whole() {
    let world = World::new();
    world.default_library();
    std::fs::create_dir(world.path("d")).unwrap();
    let stages = || {
        [
            world.cmd("vpo-snapshot"),
            world.cmd("vpo-pack"),
            world.cmd("vpo-verify").args(["--save", "d"]),
        ]
    };
    pipeline(stages()).ok();
    assert_eq!(names(&world.path("d")).len(), 1);
    let mut library = read(world.library());
    library.truncate(100_000);
    write(world.library(), &library);
    let out = pipeline(stages());
    assert_eq!(out.last().status.code(), Some(46));
    assert_eq!(names(&world.path("d")).len(), 1);
    world.clean();
}

#[test]
fn no_room_to_unpack_or_to_keep() {
    with_mounts("verify without room", || {
        let world = World::new();
        world.default_library();
        let archive = world.archive_of(&world.library());
        std::fs::create_dir(world.path("small")).unwrap();
        make_small(&world.path("small"), 64);
        let save = world
            .cmd("vpo-verify")
            .args(["--save", "small/x.tar.gz"])
            .input(&archive);
        save.run().fails(44, &["small"]);
        assert_eq!(names(&world.path("small")), [""; 0]);

        make_small(&world.scratch(), 64);
        let out = world.verify(&archive).exits(44);
        // A good backup is not called bad for a full TMPDIR.
        assert!(
            out.text()
                .starts_with("??  -: no space for temporary files: not enough space"),
            "{}",
            out.text()
        );
        world
            .cmd("vpo-verify")
            .arg("--no-database-check")
            .input(&archive)
            .run()
            .silent();
        assert_eq!(names(&world.scratch()), [""; 0]);
    });
}

#[test]
fn devices_and_fifos_are_streams() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    let fifo: &Path = &world.path("fifo");
    world.tool("mkfifo").arg(fifo).run().ok();
    let running = world.cmd("vpo-verify").arg("fifo").start();
    write(fifo, &archive);
    running.finish().silent();
    world.cmd("vpo-verify").arg("/dev/stdin").input(&archive).run().silent();
    world.cmd("vpo-verify").arg("/dev/null").run().exits(46);
}

/// What could not be looked at was called bad: somebody might have thrown a good backup away for a full TMPDIR.
#[test]
fn what_can_not_be_looked_at_is_not_bad() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    write(world.path("good.tar.gz"), &archive);
    write(world.path("bad.tar.gz"), b"bad");
    let nowhere = world.path("nowhere");
    let run = |args: &[&str]| world.cmd("vpo-verify").env("TMPDIR", &nowhere).args(args).run();

    let out = run(&["good.tar.gz", "missing.tar.gz"]).exits(20);
    let lines: Vec<_> = out.text().lines().collect();
    assert!(
        lines[0].starts_with("??  good.tar.gz: cannot ") && lines[0].contains("nowhere"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "??  missing.tar.gz: 'missing.tar.gz' does not exist");
    run(&["good.tar.gz"]).exits(40);
    // What is bad is found before there is need of space, and counts for more.
    let out = run(&["--json", "good.tar.gz", "missing.tar.gz", "bad.tar.gz"]).exits(46);
    let json = out.json();
    assert_eq!((&json["total_count"], &json["bad_count"]), (&json!(3), &json!(1)));
    let said: Vec<_> = json["archives"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["status"])
        .collect();
    assert_eq!(said, ["unknown", "unknown", "bad"]);
    for row in json["archives"].as_array().unwrap() {
        assert_eq!(row["valid"], false, "{row}");
    }
    let out = run(&["-q", "good.tar.gz"]).exits(40);
    assert!(out.stderr.starts_with("??  good.tar.gz: "), "{}", out.stderr);
    assert_eq!(out.stdout, b"");
}

/// The first that could not be looked at gives the status.
#[test]
fn which_of_several_reasons_counts() {
    if !std::path::Path::new("/proc/self/mem").exists() {
        return skipped("a file that can't be read", "there is no /proc/self/mem");
    }
    with_mounts("no room to verify", || {
        let world = World::new();
        world.default_library();
        write(world.path("good.tar.gz"), &world.archive_of(&world.library()));
        make_small(&world.scratch(), 64);
        let run = |args: &[&str]| world.cmd("vpo-verify").args(args).run();
        for (args, code) in [
            (["good.tar.gz", "/proc/self/mem"], 44),
            (["/proc/self/mem", "good.tar.gz"], 40),
        ] {
            let out = run(&args).exits(code);
            assert!(
                out.text().lines().all(|line| line.starts_with("??  ")),
                "{}",
                out.text()
            );
        }
    });
}

/// A safety backup that went through `--save`, or was renamed, became an ordinary one, and `latest`.
#[test]
fn a_safety_backup_stays_one() {
    let world = World::new();
    world.make_library(&files(5));
    world.cmd("vpo-library").args(["backup", "-q"]).run().silent();
    world
        .cmd("vpo-library")
        .args(["restore", "-y", "-q", "latest"])
        .run()
        .silent();
    let safety = names(&world.backups())
        .into_iter()
        .find(|name| name.contains("-replaced"));
    let safety = world.backups().join(safety.unwrap());
    std::fs::create_dir(world.path("d")).unwrap();
    let save = world.cmd("vpo-verify").args(["--save", "d"]).stdin_file(&safety);
    save.run().silent();
    let saved = names(&world.path("d"));
    assert_eq!(saved, [safety.file_name().unwrap().to_str().unwrap()]);
    // By another name, its metadata still says what it is.
    std::fs::rename(world.path("d").join(&saved[0]), world.path("d/vpo-library-mine.tar.gz")).unwrap();
    let json = world.cmd("vpo-ls-backups").args(["--json", "d"]).run().silent().json();
    assert_eq!(json["backups"][0]["replaced"], true);
    let latest = world.cmd("vpo-library").args(["--backup-dir", "d", "verify", "latest"]);
    latest.run().fails(20, &["there are only safety backups"]);
    let replaced = world
        .cmd("vpo-library")
        .args(["--backup-dir", "d", "verify", "replaced"]);
    assert!(replaced.run().silent().text().contains("vpo-library-mine.tar.gz"));
}
