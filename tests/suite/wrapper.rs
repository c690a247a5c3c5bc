//! `vpo-library`: everyday use, by the programs beside it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::generate::{Sample, Size};
use crate::support::*;

fn vpo(world: &World, args: &[&str]) -> Output {
    world.cmd("vpo-library").args(args).run()
}

/// The only file in a directory.
#[track_caller]
fn only(dir: &Path) -> PathBuf {
    let names = names(dir);
    assert_eq!(names.len(), 1, "{names:?}");
    dir.join(&names[0])
}

#[track_caller]
fn is_name(name: &str) {
    let digits = name
        .strip_prefix("vpo-library-")
        .and_then(|rest| rest.strip_suffix("Z.tar.gz"));
    let shape: String = digits
        .unwrap_or(name)
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T000000", "{name}");
}

#[test]
fn a_backup() {
    let world = World::new();
    world.make_library(&files(1523));
    let out = unchanged(&world.library(), || vpo(&world, &["backup"])).silent();
    let path = only(&world.backups());
    is_name(path.file_name().unwrap().to_str().unwrap());
    let archive = read(&path);
    let (database, metadata) = unpack(&archive);
    same("content", &database, &read(world.library()));
    // One reading of the clock.
    let time: String = metadata["created_at"].as_str().unwrap().replace(':', "");
    assert_eq!(
        path.file_name().unwrap().to_str().unwrap(),
        format!("vpo-library-{time}.tar.gz")
    );
    let saved = 100.0 - archive.len() as f64 * 100.0 / database.len() as f64;
    assert_eq!(
        out.text(),
        format!(
            "Backup created: {}\n  Database size: {:.1} MB\n  Archive size:  {:.1} MB ({saved:.0}% smaller)\n  \
             Files in library: 1,523\n",
            path.display(),
            database.len() as f64 / 1048576.0,
            archive.len() as f64 / 1048576.0
        )
    );
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&world.backups()), 0o700);
    world.clean();
}

#[test]
fn many_backups_in_one_second() {
    let world = World::new();
    tiny(&world.library());
    let running: Vec<_> = (0..6).map(|_| world.cmd("vpo-library").arg("backup").start()).collect();
    for backup in running {
        backup.finish().silent();
    }
    assert_eq!(names(&world.backups()).len(), 6);
    let json = vpo(&world, &["verify", "--json"]).silent().json();
    assert_eq!((&json["total_count"], &json["bad_count"]), (&json!(6), &json!(0)));
    world.clean();
}

#[test]
fn a_backup_as_json() {
    let world = World::new();
    let facts = world.default_library();
    for (args, verified) in [
        (&["backup", "--json"][..], false),
        (&["--format", "json", "backup", "--verify"], true),
    ] {
        let json = vpo(&world, args).silent().json();
        let path = PathBuf::from(json["path"].as_str().unwrap());
        let archive = read(&path);
        let (database, metadata) = unpack(&archive);
        let duration = json["duration_seconds"].as_f64().unwrap();
        assert!((0.0..60.0).contains(&duration));
        let ratio = 1.0 - archive.len() as f64 / database.len() as f64;
        let mut expected = json!({
            "success": true,
            "path": path,
            "archive_size_bytes": archive.len(),
            "database_size_bytes": database.len(),
            "compression_ratio": (ratio * 1000.0).round() / 1000.0,
            "file_count": facts.file_count,
            "schema_version": 27,
            "created_at": metadata["created_at"],
            "database_sha256": sha256(&database),
            "duration_seconds": json["duration_seconds"],
            "verified": verified,
            "blocks": blocks(&archive).len(),
            "blocks_reused": json["blocks_reused"],
        });
        // All but those with the time, which in the same second is the same.
        let reused = json["blocks_reused"].as_u64().unwrap() as usize;
        assert!(
            if verified {
                reused + 2 >= blocks(&archive).len()
            } else {
                reused == 0
            },
            "{reused}"
        );
        for (key, value) in expected.as_object_mut().unwrap() {
            assert_eq!(json[key], *value, "{key}");
        }
    }
}

/// Waits until the clock shows another second.
fn next_second() {
    let second = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_secs()
    };
    let this = second();
    wait_until("the next second", || second() != this);
}

/// A backup as JSON: its path, its blocks and how many of them were reused.
fn backup_json(world: &World, args: &[&str]) -> (PathBuf, u64, u64) {
    let json = vpo(world, &[&["backup", "--json"], args].concat()).silent().json();
    let number = |key: &str| json[key].as_u64().unwrap();
    let path = world.path(json["path"].as_str().unwrap());
    let archive = read(&path);
    world.verify(&archive).silent();
    assert_eq!(number("blocks"), blocks(&archive).len() as u64);
    (path, number("blocks"), number("blocks_reused"))
}

#[test]
fn blocks_of_the_last_backup() {
    let world = World::new();
    world.make_library(&files(400));
    let (first, blocks, reused) = backup_json(&world, &[]);
    assert_eq!(reused, 0, "there is nothing yet");
    // All but the block with the time and the metadata.
    let (_, _, reused) = backup_json(&world, &[]);
    assert!(reused >= blocks - 2, "{reused} of {blocks}");
    sqlite(
        &world.library(),
        "UPDATE files SET size_bytes = size_bytes + 1 WHERE id = 7",
    );
    let (_, _, reused) = backup_json(&world, &[]);
    assert!(reused > blocks / 2 && reused < blocks, "{reused} of {blocks}");
    // The backup directory is where earlier ones are, wherever the new one goes.
    let (_, _, reused) = backup_json(&world, &["-o", "elsewhere/x.tar.gz"]);
    assert!(reused >= blocks - 2, "{reused} of {blocks}");
    let out = vpo(&world, &["-v", "backup", "-o", "-"]).ok();
    let line = format!(" of {blocks} blocks");
    assert!(
        out.stderr.contains("vpo-pack: reused ") && out.stderr.contains(&line) && out.stderr.contains("--reuse"),
        "{}",
        out.stderr
    );
    world.verify(&out.stdout).silent();
    for args in [&["--no-reuse"][..], &["--level", "6"], &["-l6"]] {
        assert_eq!(backup_json(&world, args).2, 0, "{args:?}");
    }
    let out = vpo(&world, &["-v", "backup", "--no-reuse"]).ok();
    assert!(!out.stderr.contains("reuse"), "{}", out.stderr);

    // For people, and in the log. In the same second the blocks with the time would be the same, too.
    next_second();
    let out = vpo(&world, &["--log", "log", "backup"]).silent();
    let line = format!("\n  Reused: {} of {blocks} blocks\n", blocks - 2);
    assert!(out.text().contains(&line), "{}", out.text());
    let out = vpo(&world, &["--log", "log", "backup", "--no-reuse"]).silent();
    assert!(!out.text().contains("Reused"), "{}", out.text());
    vpo(&world, &["--log", "log", "verify", "-q", first.to_str().unwrap()]).silent();
    let log = String::from_utf8(read(world.path("log"))).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines
        .iter()
        .map(|line| (&line["blocks"], &line["blocks_reused"]))
        .collect();
    let all = json!(blocks);
    assert_eq!(
        told,
        [
            (&all, &json!(blocks - 2)),
            (&all, &json!(0)),
            (&json!(null), &json!(null))
        ]
    );
    world.clean();
}

/// Whatever lies in the backup directory is not an error, and only what serves is taken.
#[test]
fn the_earlier_backup_that_serves() {
    let world = World::new();
    world.make_library(&files(400));
    let database = read(world.library());
    let dir = world.backups();
    std::fs::create_dir_all(&dir).unwrap();
    let put = |name: &str, args: &[&str]| {
        let out = world.cmd("vpo-pack").args(args).input(&database).run().silent();
        write(dir.join(name), &out.stdout);
    };
    let level = ["--level", "1", "--created-at", "2026-03-03T00:00:00Z"];
    put("vpo-library-2026-03-03T000000Z.tar.gz", &level);
    let version = ["--vpo-version", "0.0.9", "--created-at", "2026-03-04T00:00:00Z"];
    put("vpo-library-2026-03-04T000000Z.tar.gz", &version);
    put(
        "vpo-library-2026-03-05T000000Z-replaced.tar.gz",
        &["--created-at", "2026-03-05T00:00:00Z"],
    );
    write(dir.join("vpo-library-2026-03-06T000000Z.tar.gz"), b"no archive");
    let facts = make(&files(20), &world.path("vpo.db"));
    let plain = plain_archive(&read(world.path("vpo.db")), &vpo_metadata(&facts));
    write(dir.join("vpo-library-2026-03-07T00-00-00Z.tar.gz"), &plain);
    world
        .tool("mkfifo")
        .arg(dir.join("vpo-library-2026-03-08T000000Z.tar.gz"))
        .run()
        .silent();
    std::fs::create_dir(dir.join("vpo-library-2026-03-09T000000Z.tar.gz")).unwrap();
    let make = || {
        let (path, blocks, reused) = backup_json(&world, &[]);
        std::fs::remove_file(path).unwrap();
        (blocks, reused)
    };
    let (blocks, reused) = make();
    assert_eq!(reused, 0);
    // The newest of this library or of nobody knows which; another's only where there is nothing else.
    let other = [
        "--created-at",
        "2026-03-11T00:00:00Z",
        "--source",
        "nas:/srv/library.db",
    ];
    put("vpo-library-2026-03-11T000000Z.tar.gz", &other);
    assert_eq!(make(), (blocks, blocks - 2), "another's, but it fits");
    let foreign = dir.join("vpo-library-2026-03-11T000000Z.tar.gz");
    let small = world
        .cmd("vpo-pack")
        .args(other)
        .stdin_file(&world.path("vpo.db"))
        .run()
        .silent();
    write(&foreign, &small.stdout);
    assert_eq!(make().1, 0, "another's, and it does not fit");
    put(
        "vpo-library-2026-03-10T000000Z.tar.gz",
        &["--created-at", "2026-03-10T00:00:00Z"],
    );
    assert_eq!(make(), (blocks, blocks - 2), "older, but not known to be another's");
}

#[test]
fn where_the_output_goes() {
    let world = World::new();
    world.default_library();
    let library = read(world.library());
    for args in [
        &["backup", "-o", "a/b/mine.tar.gz"][..],
        &["backup", "--output=a/c.tar.gz"],
        &["backup", "-oc.tar.gz"],
    ] {
        vpo(&world, args).silent();
    }
    for path in ["a/b/mine.tar.gz", "a/c.tar.gz", "c.tar.gz"] {
        same(path, &unpack(&read(world.path(path))).0, &library);
        assert_eq!(mode(&world.path(path)), 0o600);
    }
    assert_eq!(mode(&world.path("a/b")), 0o700);
    // A directory: the standard name in it.
    std::fs::create_dir(world.path("d")).unwrap();
    vpo(&world, &["backup", "-o", "d"]).silent();
    is_name(only(&world.path("d")).file_name().unwrap().to_str().unwrap());
    vpo(&world, &["backup", "--backup-dir", "e/f"]).silent();
    is_name(only(&world.path("e/f")).file_name().unwrap().to_str().unwrap());
    // Standard output: nothing else is on it.
    let out = vpo(&world, &["backup", "-o", "-"]).silent();
    same("stdout", &unpack(&out.stdout).0, &library);
    world.verify(&out.stdout).silent();
    assert!(!world.backups().exists());

    // Nothing is overwritten.
    for args in [
        &["backup", "-o", "c.tar.gz"][..],
        &["backup", "--json", "-o", "c.tar.gz"],
    ] {
        let out = unchanged(&world.path(""), || vpo(&world, args)).fails(40, &["c.tar.gz"]);
        if args.contains(&"--json") {
            out.json_error(40);
        }
    }
    unchanged(&world.path(""), || {
        vpo(&world, &["backup", "-o", "c.zip"]).fails(2, &["c.zip"]);
        vpo(&world, &["backup", "-o", "new/c.zip"]).fails(2, &["c.zip"]);
        for option in ["--json", "--verify", "--dry-run"] {
            vpo(&world, &["backup", "-o", "-", option]).fails(2, &[option]);
        }
    });
    world.clean();
}

#[test]
fn a_dry_run_of_a_backup() {
    let world = World::new();
    for (size, log) in [
        (Size::Files(0), false),
        (Size::Files(300), true),
        (Size::Bytes(4 << 20), false),
    ] {
        let facts = world.make_library(&Sample {
            size,
            ..Sample::default()
        });
        let mut peer = Peer::open(&world.library());
        if log {
            peer.insert(20);
        }
        let json = unchanged(&world.home(), || vpo(&world, &["backup", "--dry-run", "--json"]))
            .silent()
            .json();
        let text = unchanged(&world.home(), || vpo(&world, &["backup", "--dry-run"])).silent();
        assert!(!world.backups().exists());
        let archive = vpo(&world, &["backup", "-o", "-"]).silent().stdout;
        assert_eq!(json["dry_run"], true);
        assert_eq!(json["database_path"], world.library().to_str().unwrap());
        let (database, metadata) = unpack(&archive);
        assert_eq!(json["database_size_bytes"], database.len());
        assert_eq!(json["file_count"], metadata["file_count"]);
        assert_eq!(metadata["file_count"], facts.file_count + if log { 20 } else { 0 });
        assert_eq!(json["schema_version"], 27);
        let output = PathBuf::from(json["output_path"].as_str().unwrap());
        assert_eq!(output.parent().unwrap(), world.backups());
        is_name(output.file_name().unwrap().to_str().unwrap());
        let (min, max) = ("estimated_archive_min_bytes", "estimated_archive_max_bytes");
        let (min, max) = (json[min].as_u64().unwrap(), json[max].as_u64().unwrap());
        assert!(
            (min..=max).contains(&(archive.len() as u64)),
            "{min} <= {} <= {max}",
            archive.len()
        );
        // 0.9 and 1.1 times the same number.
        assert!((min as f64 * 11.0 / 9.0 - max as f64).abs() <= 3.0, "{min} {max}");
        for needle in [world.library().to_str().unwrap(), "27"] {
            assert!(text.text().contains(needle), "{}", text.text());
        }
        drop(peer);
        let dir = world.home().join(".vpo");
        std::fs::remove_dir_all(&dir).unwrap();
        std::fs::create_dir(&dir).unwrap();
    }
    world.default_library();
    let json = vpo(&world, &["backup", "--dry-run", "--json", "-o", "x/y.tar.gz"])
        .silent()
        .json();
    assert!(json["output_path"].as_str().unwrap().ends_with("x/y.tar.gz"));
    assert!(!world.path("x").exists());
    write(world.path("taken.tar.gz"), b"");
    vpo(&world, &["backup", "--dry-run", "-o", "taken.tar.gz"]).fails(40, &["taken.tar.gz"]);
}

#[test]
fn a_backup_that_fails_leaves_nothing() {
    let world = World::new();
    let nothing = |code: i32, args: &[&str], needle: &str| {
        println!("{args:?}");
        let before = world.library().exists().then(|| tree(&world.library()));
        let out = vpo(&world, args).fails(code, &[needle]);
        assert_eq!(out.stdout, b"");
        let json = vpo(&world, &[args, &["--json"]].concat()).fails(code, &[needle]);
        json.json_error(code);
        if world.backups().exists() {
            assert_eq!(names(&world.backups()), [""; 0]);
        }
        assert_eq!(names(&world.path("")), [""; 0]);
        assert!(before == world.library().exists().then(|| tree(&world.library())));
        world.clean();
    };
    nothing(20, &["backup"], "library.db");
    assert!(!world.library().exists(), "a missing library was created");
    nothing(20, &["backup", "-o", "x.tar.gz"], "library.db");
    write(world.library(), b"no database");
    nothing(42, &["backup"], "library.db");
    sqlite(&world.path("other.db"), "CREATE TABLE t (x)");
    std::fs::rename(world.path("other.db"), world.library()).unwrap();
    nothing(42, &["backup"], "table '_meta'");
    std::fs::remove_file(world.library()).unwrap();
    world.make_library(&files(1000));
    damage_index(&world.library());
    nothing(42, &["backup"], "damaged");
    nothing(42, &["backup", "-o", "x.tar.gz"], "damaged");
    vpo(&world, &["backup", "--no-check", "-o", "x.tar.gz"]).silent();
    vpo(&world, &["verify", "x.tar.gz"]).exits(46);
    std::fs::remove_file(world.path("x.tar.gz")).unwrap();
    // Read back before it gets its name.
    vpo(&world, &["backup", "--no-check", "--verify", "-o", "x.tar.gz"]).exits(46);
    assert_eq!(names(&world.path("")), [""; 0]);
    std::fs::remove_file(world.library()).unwrap();

    world.make_library(&Sample {
        journal: crate::generate::Journal::Delete,
        ..files(50)
    });
    let mut peer = Peer::open(&world.library());
    peer.sql("BEGIN EXCLUSIVE");
    nothing(43, &["backup", "--timeout", "0.1"], &peer.pid());
    nothing(43, &["--timeout=0", "backup"], &peer.pid());
}

/// The error is that of the stage that failed, not of those that its end took along.
#[test]
fn who_is_to_blame() {
    with_mounts("a full disk under a pipeline", || {
        let world = World::new();
        world.make_library(&Sample {
            size: Size::Bytes(6 << 20),
            ..Sample::default()
        });
        std::fs::create_dir(world.backups()).unwrap();
        make_small(&world.backups(), 400);
        // The free space is looked at first.
        let out = vpo(&world, &["backup"]).fails(44, &["not enough space", "backups"]);
        assert!(
            !out.stderr.contains("pipe") && !out.stderr.contains("short"),
            "{}",
            out.stderr
        );
        assert_eq!(names(&world.backups()), [""; 0]);
        vpo(&world, &["backup", "--dry-run"]).fails(44, &["not enough space", "backups"]);
    });
    let world = World::new();
    world.make_library(&Sample {
        size: Size::Bytes(6 << 20),
        ..Sample::default()
    });
    if let Some(full) = full_device("a full device under a pipeline") {
        // vpo-pack can't write; vpo-snapshot gets the broken pipe.
        let out = world.cmd("vpo-library").args(["backup", "-o", "-"]).stdout(full).run();
        out.fails(44, &["archive"]);
    }
    // vpo-snapshot fails; vpo-pack gets the short input.
    damage_index(&world.library());
    let out = vpo(&world, &["backup", "-o", "-"]).fails(42, &["damaged"]);
    world.verify(&out.stdout).exits(46);
}

#[test]
fn the_programs_are_found_beside_it_and_then_on_path() {
    let world = World::new();
    tiny(&world.library());
    let alone = world.path("bin/vpo-library");
    std::fs::create_dir(world.path("bin")).unwrap();
    write_executable(&alone, &read(executable("vpo-library")));
    let out = world.cmd(alone.to_str().unwrap()).arg("backup").run().exits(40);
    assert!(out.stderr.contains("vpo-snapshot"), "{}", out.stderr);
    let dir = Path::new(executable("vpo-snapshot")).parent().unwrap();
    world
        .cmd(alone.to_str().unwrap())
        .arg("backup")
        .env("PATH", dir)
        .run()
        .ok();
    // Those beside it come first.
    write_executable(
        &world.path("bin/vpo-snapshot"),
        b"#!/bin/sh\necho 'vpo-snapshot: no: it is me' >&2\nexit 43\n",
    );
    let path = format!("{}:/usr/bin:/bin", dir.display());
    let out = world
        .cmd(alone.to_str().unwrap())
        .arg("backup")
        .env("PATH", path)
        .run()
        .exits(43);
    assert_eq!(out.stderr, "vpo-snapshot: no: it is me\n");
    world.clean();
}

#[test]
fn verbose_shows_the_pipeline() {
    let world = World::new();
    world.default_library();
    for (args, programs) in [
        (
            &["-v", "backup", "-o", "x.tar.gz"][..],
            &["vpo-snapshot", "vpo-pack"][..],
        ),
        (&["verify", "-v", "x.tar.gz"], &["vpo-verify"]),
        (&["restore", "-v", "--yes", "x.tar.gz"], &["vpo-unpack-restore"]),
        (&["backups", "-v"], &["vpo-ls-backups"]),
    ] {
        let out = vpo(&world, args).ok();
        let shown = |line: &&str| programs.iter().all(|program| line.contains(program));
        assert!(out.stderr.lines().any(|line| shown(&line)), "{args:?}: {}", out.stderr);
    }
}

#[test]
fn the_listing() {
    let world = World::new();
    let empty = vpo(&world, &["backups"]).ok();
    assert_eq!(
        empty.text(),
        format!("No backups found in {}\n", world.backups().display())
    );
    assert!(format!("{}{}", empty.text(), empty.stderr).contains("vpo-library backup"));
    std::fs::create_dir(world.backups()).unwrap();
    world.backup_at(&world.backups().join(NAME), 15, TIME);
    for args in [
        &[][..],
        &["--json"],
        &["--path", "."],
        &["--json", "-p", "."],
        &["--max-age", "1m"],
    ] {
        let ours = vpo(&world, &[&["backups"], args].concat());
        let theirs = world.cmd("vpo-ls-backups").args(args).run();
        assert_eq!((ours.status, &ours.stdout), (theirs.status, &theirs.stdout), "{args:?}");
    }
    vpo(&world, &["backups", "--path", "missing"]).fails(20, &["missing"]);
    vpo(&world, &["--backup-dir", "missing", "backups", "--json"])
        .fails(20, &["missing"])
        .json_error(20);
    let json = vpo(&world, &["backups", "--format=json"]).silent().json();
    assert_eq!(json["backups"][0]["filename"], NAME);
}

#[test]
fn verifying() {
    let world = World::new();
    world.default_library();
    vpo(&world, &["verify"]).exits(20);
    std::fs::create_dir(world.backups()).unwrap();
    let out = vpo(&world, &["verify"]).exits(20);
    assert_ne!(format!("{}{}", out.text(), out.stderr), "");
    let archive = world.archive_of(&world.library());
    write(world.backups().join(NAME), &archive);
    let out = vpo(&world, &["verify"]).silent();
    assert!(
        out.text().starts_with("ok  ") && out.text().contains(NAME),
        "{}",
        out.text()
    );
    write(world.path("x.tar.gz"), &archive);
    let out = vpo(&world, &["verify", "x.tar.gz", "./x.tar.gz"]).silent();
    assert_eq!(out.text().lines().count(), 2);
    world
        .cmd("vpo-library")
        .args(["verify", "-"])
        .input(&archive)
        .run()
        .silent();

    write(
        world.backups().join("vpo-library-2026-02-06T000000Z.tar.gz"),
        &archive[..archive.len() - 1],
    );
    let out = vpo(&world, &["verify"]).exits(46);
    assert_eq!(out.text().lines().count(), 2);
    let json = vpo(&world, &["verify", "--json"]).exits(46).json();
    has_keys(&json, &["total_count", "bad_count", "archives"]);
    assert_eq!((&json["total_count"], &json["bad_count"]), (&json!(2), &json!(1)));
    let json = vpo(&world, &["verify", "missing.tar.gz", "--json"]).exits(20).json();
    assert_eq!(json["archives"][0]["valid"], false);
    let out = vpo(&world, &["-q", "verify"]).exits(46);
    assert_eq!(out.stdout, b"");
    assert_eq!(
        out.stderr.lines().filter(|line| line.starts_with("bad ")).count(),
        1,
        "{}",
        out.stderr
    );
}

/// A world with a library of 40 files and backups of 1, 2 and 3, the last one newest but a safety backup.
fn with_backups() -> World {
    let world = World::new();
    world.make_library(&Sample { seed: 2, ..files(40) });
    std::fs::create_dir(world.backups()).unwrap();
    let at = |name: &str| world.backups().join(name);
    world.backup_at(&at("vpo-library-2026-01-01T000000Z.tar.gz"), 1, "2026-01-01T00:00:00Z");
    world.backup_at(&at("vpo-library-2026-02-01T000000Z.tar.gz"), 2, "2026-02-01T00:00:00Z");
    world.backup_at(
        &at("vpo-library-2026-03-01T000000Z-replaced.tar.gz"),
        3,
        "2026-03-01T00:00:00Z",
    );
    world
}

fn count(library: &Path) -> String {
    Peer::open(library).sql("SELECT count(*) FROM files")
}

#[test]
fn a_restore_and_the_way_back() {
    let world = with_backups();
    let before = dump(&world.library());
    let backup = world.backups().join("vpo-library-2026-01-01T000000Z.tar.gz");
    let backup = backup.to_str().unwrap();
    let out = vpo(&world, &["restore", "--yes", backup]).silent();
    assert_eq!(count(&world.library()), "1");
    let safety: Vec<_> = names(&world.backups())
        .into_iter()
        .filter(|n| n.contains("Z-replaced"))
        .collect();
    assert_eq!(safety.len(), 2, "{safety:?}");
    let safety = world
        .backups()
        .join(safety.iter().find(|n| !n.contains("2026-03-01T000000Z")).unwrap());
    // The report says how to get it back.
    let line = out
        .text()
        .lines()
        .find(|line| line.contains("vpo-library restore"))
        .unwrap();
    let (_, command) = line.split_once("vpo-library restore").unwrap();
    assert!(
        command.contains(safety.file_name().unwrap().to_str().unwrap()),
        "{line}"
    );
    let undo =
        format!("'{}' --yes restore{command}", executable("vpo-library")).replace(" --yes restore", " restore --yes");
    let mut shell = world.cmd("sh").args(["-c", &undo]);
    shell = shell.env("HOME", world.home());
    shell.run().ok();
    same_content("undone", &dump(&world.library()), &before);
    vpo(&world, &["verify"]).silent();
    world.clean();
}

#[test]
fn restore_as_json() {
    let world = with_backups();
    let backup = world.backups().join("vpo-library-2026-01-01T000000Z.tar.gz");
    let backup = backup.to_str().unwrap();
    let json = unchanged(&world.home(), || {
        vpo(&world, &["restore", "--dry-run", "--json", backup])
    })
    .silent()
    .json();
    let keys = "dry_run valid backup_path created_at vpo_version schema_version current_schema_version schema_mismatch \
                database_size_bytes file_count";
    has_keys(&json, &keys.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        (&json["dry_run"], &json["valid"], &json["file_count"]),
        (&json!(true), &json!(true), &json!(1))
    );
    assert_eq!(json["backup_path"], backup);

    let json = vpo(&world, &["--json", "restore", "--yes", backup]).silent().json();
    let keys = "success source_path database_path duration_seconds schema_mismatch file_count safety_backup";
    has_keys(&json, &keys.split_whitespace().collect::<Vec<_>>());
    assert_eq!((&json["success"], &json["source_path"]), (&json!(true), &json!(backup)));
    let safety = PathBuf::from(json["safety_backup"].as_str().unwrap());
    assert_eq!(safety.parent().unwrap(), world.backups());
    world.cmd("vpo-verify").arg(&safety).run().silent();
    let json = vpo(&world, &["--json", "restore", "--yes", "--no-safety-backup", backup])
        .silent()
        .json();
    assert_eq!(json["safety_backup"], Value::Null);
}

#[test]
fn latest() {
    let world = with_backups();
    let library = || count(&world.library());
    vpo(&world, &["restore", "latest", "--yes", "--no-safety-backup"]).silent();
    assert_eq!(library(), "2", "the newest that is not a safety backup");
    assert_eq!(names(&world.backups()).len(), 3);
    // Damaged: it says which one comes next, and never takes it by itself.
    let newest = world.backups().join("vpo-library-2026-02-10T000000Z.tar.gz");
    let archive = read(world.backups().join("vpo-library-2026-01-01T000000Z.tar.gz"));
    write(&newest, &archive[..archive.len() - 100]);
    for args in [
        &["restore", "latest", "--yes"][..],
        &["restore", "latest", "--yes", "--json"],
    ] {
        let out = unchanged(&world.home(), || vpo(&world, args)).exits(46);
        assert!(
            out.stderr.contains("vpo-library-2026-02-01T000000Z.tar.gz"),
            "{}",
            out.stderr
        );
        if args.contains(&"--json") {
            out.json_error(46);
        }
    }
    // Also where only a full read shows it.
    world.backup_at(&newest, 4, "2026-02-10T00:00:00Z");
    let mut bent = read(&newest);
    bent[100] ^= 1;
    write(&newest, &bent);
    let json = vpo(&world, &["backups", "--json"]).silent().json();
    assert_eq!(json["backups"][1]["file_count"], 4);
    let out = unchanged(&world.home(), || vpo(&world, &["restore", "latest", "--yes"])).exits(46);
    assert!(
        out.stderr.contains("bad") || out.stderr.contains("damaged"),
        "{}",
        out.stderr
    );
    // None there.
    for dir in ["none", "."] {
        vpo(&world, &["restore", "latest", "--yes", "--backup-dir", dir]).fails(20, &["no backups", dir]);
    }
}

#[test]
fn restore_from_standard_input() {
    let world = with_backups();
    let archive = read(world.backups().join("vpo-library-2026-01-01T000000Z.tar.gz"));
    let cmd = || world.cmd("vpo-library").args(["restore", "-"]);
    unchanged(&world.home(), || cmd().input(&archive).run()).fails(1, &["no terminal"]);
    cmd().arg("--yes").input(&archive).run().silent();
    assert_eq!(count(&world.library()), "1");
    std::fs::remove_file(world.library()).unwrap();
    cmd()
        .stdin_file(&world.backups().join("vpo-library-2026-02-01T000000Z.tar.gz"))
        .run()
        .silent();
    assert_eq!(count(&world.library()), "2");
    let all = pipeline([
        world.cmd("vpo-library").args(["backup", "-o", "-"]),
        world.cmd("vpo-library").args(["restore", "--db", "copy.db", "-"]),
    ]);
    all.ok();
    same_content("copy", &dump(&world.path("copy.db")), &dump(&world.library()));
}

#[test]
fn a_restore_that_is_refused() {
    let world = with_backups();
    let refused = |code: i32, args: &[&str], needle: &str| {
        let args = [&["restore", "--yes"], args].concat();
        println!("{args:?}");
        unchanged(&world.home(), || vpo(&world, &args)).fails(code, &[needle]);
        let json = [&args[..], &["--json"]].concat();
        unchanged(&world.home(), || vpo(&world, &json))
            .fails(code, &[needle])
            .json_error(code);
    };
    write(world.path("bad.tar.gz"), b"text");
    refused(46, &["bad.tar.gz"], "gzip");
    refused(20, &["missing.tar.gz"], "missing.tar.gz");
    refused(2, &["."], "is a directory");
    refused(2, &[], "no backup is named");
    make(
        &Sample {
            schema_version: 28,
            ..files(3)
        },
        &world.path("28.db"),
    );
    write(world.path("28.tar.gz"), &world.archive_of(&world.path("28.db")));
    refused(45, &["28.tar.gz"], "28");
    let mut peer = Peer::open(&world.library());
    refused(43, &["latest", "--timeout", "0.1"], &peer.pid());
    peer.insert(1);
    peer.close();
    vpo(&world, &["restore", "--yes", "28.tar.gz", "--current-schema", "28"]).silent();
    sqlite(&world.path("photos.db"), "CREATE TABLE photos (x)");
    unchanged(&world.path("photos.db"), || {
        vpo(&world, &["restore", "--yes", "latest", "--db", "photos.db"])
    })
    .fails(42, &["photos.db"]);
}

#[test]
fn the_question() {
    let world = with_backups();
    let backup = world.backups().join("vpo-library-2026-01-01T000000Z.tar.gz");
    for (answer, code, files) in [("n\n", 1, "40"), ("y\n", 0, "1")] {
        let (cmd, mut terminal) = world
            .cmd("vpo-library")
            .arg("restore")
            .arg(&backup)
            .terminal(&[Stream::In, Stream::Err]);
        let running = cmd.start();
        terminal.wait_for("? ");
        terminal.type_in(answer);
        let rest = std::thread::spawn(|| terminal.rest());
        running.finish().exits(code);
        rest.join().unwrap();
        assert_eq!(count(&world.library()), files);
    }
    world.clean();
}

#[test]
fn without_a_backup_and_a_terminal() {
    let world = with_backups();
    unchanged(&world.home(), || vpo(&world, &["restore", "--yes"]))
        .fails(2, &["no backup is named"])
        .hint();
}

#[test]
fn a_line_in_the_log_for_each_run() {
    let world = with_backups();
    let lines = || {
        let text = String::from_utf8(read(world.path("log"))).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>()
    };
    let run = |args: &[&str]| vpo(&world, &[args, &["--log", "log"]].concat());
    let before = jiff::Timestamp::now().as_second();
    let json = run(&["backup", "--json"]).silent().json();
    run(&["restore", "--yes", "latest"]).silent();
    run(&["verify"]).silent();
    run(&["backup", "--db", "missing.db"]).exits(20);
    write(world.path("bad.tar.gz"), b"bad");
    run(&["restore", "--yes", "bad.tar.gz"]).exits(46);
    run(&["verify", "bad.tar.gz"]).exits(46);
    let lines_now = lines();
    let told: Vec<_> = lines_now
        .iter()
        .map(|line| (line["command"].as_str().unwrap(), line["exit_code"].as_i64().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("backup", 0),
            ("restore", 0),
            ("verify", 0),
            ("backup", 20),
            ("restore", 46),
            ("verify", 46)
        ]
    );
    for line in &lines_now {
        let time: jiff::Timestamp = line["time"].as_str().unwrap().parse().unwrap();
        assert!((before..before + 100).contains(&time.as_second()), "{line}");
        assert!(line["outcome"].is_string(), "{line}");
        assert_eq!(line["exit_code"] == 0, line["error"].is_null(), "{line}");
        let seconds = line
            .as_object()
            .unwrap()
            .iter()
            .find(|(key, _)| key.contains("seconds"));
        assert!(seconds.is_some_and(|(_, value)| value.is_number()), "{line}");
    }
    assert_ne!(lines_now[0]["outcome"], lines_now[3]["outcome"]);
    // Paths, sizes and digest of what was made.
    let line = lines_now[0].to_string();
    for key in ["path", "archive_size_bytes", "database_size_bytes", "database_sha256"] {
        let value = &json[key];
        assert!(line.contains(&value.to_string()), "{key} {value} is not in {line}");
    }
    assert!(lines_now[1].to_string().contains("library.db"), "{}", lines_now[1]);
    assert_eq!(mode(&world.path("log")), 0o600);

    // By the variable; listings and dry runs leave none.
    for args in [
        &["backups"][..],
        &["backup", "--dry-run"],
        &["restore", "--dry-run", "latest"],
    ] {
        world
            .cmd("vpo-library")
            .args(args)
            .env("VPO_LIBRARY_LOG", "log")
            .run()
            .ok();
    }
    assert_eq!(lines().len(), 6);
    world
        .cmd("vpo-library")
        .arg("verify")
        .env("VPO_LIBRARY_LOG", "~/log")
        .run()
        .ok();
    assert!(world.home().join("log").is_file());
    world
        .cmd("vpo-library")
        .args(["verify", "--log", "log"])
        .env("VPO_LIBRARY_LOG", "~/log")
        .run()
        .ok();
    assert_eq!(lines().len(), 7);
}

#[test]
fn options_before_and_after_the_command() {
    let world = with_backups();
    let dir = world.path("d");
    let dir = dir.to_str().unwrap();
    let library = world.library();
    let db = library.to_str().unwrap();
    for args in [
        &["--db", db, "--backup-dir", dir, "--json", "backup"][..],
        &["backup", "--db", db, "--backup-dir", dir, "--json"],
        &["--format", "json", "--db", db, "backup", "--backup-dir", dir],
        &[
            "--timeout=9",
            "backup",
            &format!("--db={db}"),
            &format!("--backup-dir={dir}"),
            "--format=json",
        ],
    ] {
        let out = world
            .cmd("vpo-library")
            .args(args)
            .env("HOME", "/nowhere")
            .run()
            .silent();
        let json = out.json();
        assert!(json["path"].as_str().unwrap().starts_with(dir), "{json}");
        assert_eq!(json["file_count"], 40);
    }
    assert_eq!(names(Path::new(dir)).len(), 4);
    // Options of another command are unknown.
    for (args, option) in [
        (&["--dry-run", "backup"][..], "'--dry-run'"),
        (&["backups", "--yes"], "'--yes'"),
        (&["verify", "--max-age", "1d"], "'--max-age'"),
        (&["restore", "-o", "x"], "'-o'"),
    ] {
        vpo(&world, args).fails(2, &[option]);
    }
}

/// The lines of VPO's quickstart.
#[test]
fn the_quickstart_of_vpo() {
    let world = World::new();
    world.make_library(&files(150));
    let path = world.path("backups/my-backup.tar.gz");
    let path = path.to_str().unwrap();
    let out = vpo(&world, &["backup"]).silent();
    assert!(out.text().starts_with("Backup created: "));
    let file = only(&world.backups());
    let file = file.to_str().unwrap();
    let out = vpo(&world, &["backup", "--output", path]).silent();
    assert!(
        out.text().starts_with(&format!("Backup created: {path}\n")),
        "{}",
        out.text()
    );
    unchanged(&world.home(), || vpo(&world, &["backup", "--dry-run"])).silent();
    vpo(&world, &["restore", file]).fails(1, &["no terminal"]);
    let (cmd, mut terminal) = world
        .cmd("vpo-library")
        .args(["restore", file])
        .terminal(&[Stream::In, Stream::Err]);
    let running = cmd.start();
    terminal.wait_for("? ");
    terminal.type_in("yes\n");
    let rest = std::thread::spawn(|| terminal.rest());
    running.finish().exits(0);
    rest.join().unwrap();
    vpo(&world, &["restore", "--yes", file]).silent();
    unchanged(&world.home(), || vpo(&world, &["restore", "--dry-run", file])).silent();
    let out = vpo(&world, &["backups"]).silent();
    assert!(
        out.text()
            .starts_with(&format!("Backups in {}:\n", world.backups().display())),
        "{}",
        out.text()
    );
    assert!(
        out.text().ends_with("KB\n") && out.text().contains("\n3 backups, "),
        "{}",
        out.text()
    );
    let dir = world.path("backups");
    let out = vpo(&world, &["backups", "--path", dir.to_str().unwrap()]).ok();
    assert_eq!(
        out.text(),
        format!("No backups found in {}\n", dir.display()),
        "the name is none of a backup's"
    );
}

/// "Done when" 4: a library with a writer attached.
#[test]
fn beside_a_daemon() {
    let world = World::new();
    world.make_library(&files(150));
    let mut daemon = Peer::open(&world.library());
    daemon.insert(5);
    let json = unchanged(&world.library(), || vpo(&world, &["backup", "--json"]))
        .silent()
        .json();
    assert_eq!(json["file_count"], 155);
    daemon.sql("BEGIN IMMEDIATE");
    daemon.insert(5);
    let json = vpo(&world, &["backup", "--json"]).silent().json();
    assert_eq!(json["file_count"], 155);
    daemon.sql("COMMIT");
    assert_eq!(vpo(&world, &["backups", "--json"]).silent().json()["total_count"], 2);
    vpo(&world, &["verify"]).silent();
    let out = unchanged(&world.home(), || {
        vpo(&world, &["restore", "latest", "--yes", "--timeout", "0.1"])
    });
    let out = out.fails(43, &[&daemon.pid()]);
    assert!(out.hint().contains("daemon"));
    let json = vpo(&world, &["restore", "latest", "--yes", "--json", "--timeout", "0"]);
    json.fails(43, &[&daemon.pid()]).json_error(43);
    daemon.insert(1);
    daemon.close();
    vpo(&world, &["restore", "latest", "--yes"]).silent();
    assert_eq!(count(&world.library()), "155");
}

/// Everything that names a backup, and what wins where two do.
#[test]
fn which_backup_is_meant() {
    let world = World::new();
    std::fs::create_dir(world.backups()).unwrap();
    let backups = [
        // The number of files tells them apart.
        (1, "2026-02-01T080000Z", "2026-02-01T08:00:00Z"),
        (2, "2026-02-01T200000Z", "2026-02-01T20:00:00Z"),
        (3, "2026-02-02T080000Z", "2026-02-02T08:00:00Z"),
        (4, "2026-02-02T080000Z-2", "2026-02-02T08:00:00Z"),
        (5, "2026-02-02T090000Z-replaced", "2026-02-02T09:00:00Z"),
        (6, "2026-02-02T090000Z-replaced-2", "2026-02-02T09:00:00Z"),
        (7, "2026-01-01T10-11-12Z", "2026-01-01T10:11:12Z"),
        (8, "2099-01-01T000000Z", "2099-01-01T00:00:00Z"),
        (9, "before-the-move", "2025-01-01T00:00:00Z"),
    ];
    for (files, stem, time) in backups {
        world.backup_at(&world.backups().join(format!("vpo-library-{stem}.tar.gz")), files, time);
    }
    // Files in the way: two names are taken for what they mean, all others for the file.
    for name in ["latest", "replaced"] {
        world.backup_at(&world.path(name), 77, TIME);
    }
    let meant = |operand: &str| {
        let json = vpo(&world, &["verify", "--json", "--", operand]).silent().json();
        assert_eq!(json["total_count"], 1);
        let restored = vpo(&world, &["restore", "--json", "--dry-run", "--", operand])
            .ok()
            .json();
        assert_eq!(json["archives"][0]["file_count"], restored["file_count"], "{operand}");
        restored["file_count"].as_u64().unwrap()
    };
    for (operand, files) in [
        ("latest", 4),
        ("replaced", 6),
        ("./latest", 77),
        ("2026-02-01", 2),
        ("2026-02-02", 4),
        ("2026-01-01", 7),
        ("2026-02-02T080000Z", 3),
        ("2026-02-02T080000Z-2", 4),
        ("2026-02-02T090000Z-replaced", 5),
        ("2026-01-01T10-11-12Z", 7),
        ("2099-01-01T000000Z", 8),
        ("vpo-library-before-the-move.tar.gz", 9),
    ] {
        assert_eq!(meant(operand), files, "{operand}");
    }
    for operand in ["2026-02-01", "2026-02-02T080000Z", "vpo-library-before-the-move.tar.gz"] {
        world.backup_at(&world.path(operand), 78, TIME);
        assert_eq!(meant(operand), 78, "{operand}");
    }
    // What is not there.
    for (operand, needle) in [
        ("2026-03-03", "there is no backup of 2026-03-03 in"),
        ("2099-01-01", "there is no backup of 2099-01-01 in"),
        (
            "2026-02-02T080000Z-3",
            "vpo-library-2026-02-02T080000Z-3.tar.gz' does not exist",
        ),
    ] {
        let out = vpo(&world, &["restore", "--yes", operand]).fails(20, &[needle]);
        assert!(out.hint().ends_with(" backups"), "{}", out.stderr);
        assert_eq!(out.stdout, b"");
    }
    // It was told only that there is no such file.
    for command in ["restore", "diff"] {
        let out = vpo(&world, &[command, "lastest"]).fails(20, &["'lastest' does not exist"]);
        assert_eq!(out.hint(), "did you mean 'latest'?");
    }
    // The listing's order is that of `latest`.
    let listed = vpo(&world, &["backups", "--json"]).ok().json();
    let order: Vec<_> = listed["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["file_count"])
        .collect();
    assert_eq!(order, [8, 6, 5, 4, 3, 2, 1, 7, 9]);
}

/// A dry run said 0 where the backup then ended with 40 or 44.
#[test]
fn a_dry_run_looks_at_the_place_of_the_backup() {
    with_mounts("places where no backup can be written", || {
        let world = World::new();
        world.default_library();
        write(world.path("file"), b"");
        std::os::unix::fs::symlink("nowhere", world.path("dangling")).unwrap();
        for name in ["small", "read-only"] {
            std::fs::create_dir(world.path(name)).unwrap();
        }
        write(world.path("taken.tar.gz"), b"");
        make_small(&world.path("small"), 40);
        make_read_only(&world.path("read-only"));
        let directories = [
            ("file", 40),
            ("file/below", 40),
            ("dangling", 40),
            ("read-only", 40),
            ("read-only/new", 40),
            ("/proc", 40),
            ("/proc/new", 40),
            ("small", 44),
        ];
        let outputs = [
            ("taken.tar.gz", 40),
            ("file/x.tar.gz", 40),
            ("read-only/x.tar.gz", 40),
            ("/proc/x.tar.gz", 40),
            ("small/x.tar.gz", 44),
        ];
        let options = directories
            .map(|(place, code)| (["--backup-dir", place], code))
            .into_iter()
            .chain(outputs.map(|(place, code)| (["--output", place], code)));
        for (option, code) in options {
            let dry = || vpo(&world, &["backup", "--dry-run", option[0], option[1]]);
            let shown = option[1].trim_start_matches('/').split('/').next().unwrap();
            unchanged(&world.path(""), dry).fails(code, &[shown]);
            vpo(&world, &["backup", option[0], option[1]]).fails(code, &[shown]);
        }
        // Where a backup can be made, none of the directories on the way is.
        let dry = || vpo(&world, &["backup", "--dry-run", "--backup-dir", "new/deep"]);
        unchanged(&world.path(""), dry).silent();
        vpo(&world, &["backup", "-q", "--backup-dir", "new/deep"]).silent();
    });
}

/// The facts went by the path of a pipe, which is below /proc.
#[test]
fn where_descriptors_have_no_paths() {
    with_mounts("no /proc", || {
        let world = World::new();
        world.default_library();
        make_small(Path::new("/proc"), 64);
        assert!(!Path::new("/dev/fd/0").exists());
        vpo(&world, &["backup", "--verify"]).ok();
        assert_eq!(names(&world.scratch()), [""; 0]);
        vpo(&world, &["verify"]).ok();
        let before = dump(&world.library());
        vpo(&world, &["restore", "--yes", "latest"]).ok();
        same_content("restored", &dump(&world.library()), &before);
        // By hand.
        let script = "\"$0\" --stats /dev/fd/3 3>&1 >/dev/null";
        let shell = world.cmd("sh").args(["-c", script, executable("vpo-snapshot")]);
        assert_eq!(shell.run().ok().json()["file_count"], 100);
    });
}
