//! `vpo-ls-backups`: what is there, newest first, whatever state it is in.

use serde_json::{Value, json};

use crate::generate::Sample;
use crate::support::*;

/// A world with four backups, one of them of VPO's own making, and things that are not backups.
fn several() -> World {
    let world = World::new();
    let dir = world.backups();
    std::fs::create_dir(&dir).unwrap();
    world.backup_at(&dir.join("vpo-library-2026-02-05T143022Z.tar.gz"), 20, TIME);
    world.backup_at(&dir.join("vpo-library-2026-02-05T143022Z-2.tar.gz"), 20, TIME);
    // Its name lies.
    world.backup_at(
        &dir.join("vpo-library-2029-01-01T000000Z.tar.gz"),
        1523,
        "2026-01-01T00:00:00Z",
    );
    world.backup_at(
        &dir.join("vpo-library-2026-03-01T000000Z-replaced.tar.gz"),
        7,
        "2026-03-01T00:00:00Z",
    );
    let facts = make(
        &Sample {
            schema_version: 26,
            ..files(30)
        },
        &world.path("vpo.db"),
    );
    let plain = plain_archive(&read(world.path("vpo.db")), &vpo_metadata(&facts));
    write(dir.join("vpo-library-2026-02-05T14-30-22Z.tar.gz"), &plain);
    write(dir.join("other.tar.gz"), b"no backup by its name");
    write(dir.join("vpo-library-2026-02-05T143022Z.tar"), b"nor this");
    std::fs::create_dir(dir.join("vpo-library-directory.tar.gz")).unwrap();
    world
}

const ORDER: [&str; 5] = [
    "vpo-library-2026-03-01T000000Z-replaced.tar.gz",
    "vpo-library-2026-02-05T143022Z-2.tar.gz",
    "vpo-library-2026-02-05T143022Z.tar.gz",
    "vpo-library-2026-02-05T14-30-22Z.tar.gz",
    "vpo-library-2029-01-01T000000Z.tar.gz",
];

fn ls(world: &World, args: &[&str]) -> Output {
    unchanged(&world.home(), || world.cmd("vpo-ls-backups").args(args).run())
}

#[test]
fn the_table() {
    let world = several();
    let out = ls(&world, &[]).silent();
    let lines: Vec<_> = out.text().lines().collect();
    assert_eq!(lines[0], format!("Backups in {}:", world.backups().display()));
    assert_eq!(lines[1], "");
    let words: Vec<_> = lines[2].split_whitespace().collect();
    assert_eq!(
        words,
        ["Filename", "Created", "(UTC)", "Archive", "Database", "Files", "Schema"]
    );
    let rows = &lines[3..3 + ORDER.len()];
    for (row, name) in rows.iter().zip(ORDER) {
        assert!(row.starts_with(name), "{row}");
        assert!(row.chars().count() == lines[2].chars().count(), "not aligned: {row}");
    }
    let size = |path: &str| {
        let bytes = world.backups().join(path).metadata().unwrap().len();
        format!("{:.1} KB", bytes as f64 / 1024.0)
    };
    let row: Vec<_> = rows[1]
        .split("  ")
        .filter(|field| !field.is_empty())
        .map(str::trim)
        .collect();
    assert_eq!(
        row,
        [ORDER[1], "2026-02-05 14:30:22", &size(ORDER[1]), row[3], "20", "27"]
    );
    let database = unpack(&read(world.backups().join(ORDER[1]))).0.len();
    assert_eq!(row[3], format!("{:.1} KB", database as f64 / 1024.0));
    assert!(
        rows[4].contains("2026-01-01 00:00:00") && rows[4].contains("1,523"),
        "{}",
        rows[4]
    );
    assert!(rows[3].trim_end().ends_with("26"), "{}", rows[3]);
    assert_eq!(lines[3 + ORDER.len()], "");
    let last = lines[4 + ORDER.len()];
    assert!(last.starts_with("5 backups, ") && last.ends_with(" MB"), "{last}");
    assert_eq!(lines.len(), 5 + ORDER.len());
}

#[test]
fn the_listing_as_json() {
    let world = several();
    let json = ls(&world, &["--json"]).silent().json();
    has_keys(&json, &["directory", "total_count", "total_size_bytes", "backups"]);
    assert_eq!(json["directory"], world.backups().to_str().unwrap());
    assert_eq!(json["total_count"], 5);
    let rows = json["backups"].as_array().unwrap();
    let listed: Vec<_> = rows.iter().map(|row| row["filename"].as_str().unwrap()).collect();
    assert_eq!(listed, ORDER);
    let mut total = 0;
    for row in rows {
        let path = world.backups().join(row["filename"].as_str().unwrap());
        let archive = read(&path);
        let (database, metadata) = unpack(&archive);
        total += archive.len();
        assert_eq!(row["path"], path.to_str().unwrap());
        assert_eq!(row["archive_size_bytes"], archive.len());
        assert_eq!(row["database_size_bytes"], database.len());
        assert_eq!(row["created_at"], metadata["created_at"]);
        assert_eq!(row["file_count"], metadata["file_count"]);
        assert_eq!(row["schema_version"], metadata["schema_version"]);
        assert_eq!(row["replaced"], row["filename"].as_str().unwrap().contains("replaced"));
    }
    assert_eq!(json["total_size_bytes"], total);
}

/// A safety backup under another name was an ordinary one.
#[test]
fn a_safety_backup_stays_one_by_any_name() {
    let world = World::new();
    world.default_library();
    world.cmd("vpo-library").args(["backup", "-q"]).run().silent();
    world
        .cmd("vpo-library")
        .args(["restore", "-q", "--yes", "latest"])
        .run();
    let names = ls(&world, &["--names"]).silent();
    let safety = names.text().lines().find(|name| name.contains("-replaced")).unwrap();
    let other = world.backups().join("vpo-library-by-hand.tar.gz");
    std::fs::rename(safety, &other).unwrap();
    let json = ls(&world, &["--json"]).silent().json();
    let rows = json["backups"].as_array().unwrap();
    let library = world.library().canonicalize().unwrap();
    for row in rows {
        assert_eq!(row["replaced"], row["path"] == other.to_str().unwrap(), "{row}");
        assert!(row["source_host"].is_string(), "{row}");
        assert_eq!(row["source_path"], library.to_str().unwrap(), "{row}");
    }
    assert_eq!(rows.len(), 2);
}

#[test]
fn names_for_scripts() {
    let world = several();
    let paths: Vec<String> = ORDER
        .iter()
        .map(|name| world.backups().join(name).to_str().unwrap().to_owned())
        .collect();
    assert_eq!(ls(&world, &["--names"]).silent().text(), paths.join("\n") + "\n");
    assert_eq!(ls(&world, &["-0"]).silent().text(), paths.join("\0") + "\0");
    assert_eq!(ls(&world, &["--null"]).silent().text(), paths.join("\0") + "\0");
    let verified = pipeline([
        world.cmd("vpo-ls-backups").arg("-0"),
        world.cmd("xargs").args(["-0", executable("vpo-verify"), "-q"]),
    ]);
    verified.ok();
    // DIR as it was given.
    let out = world
        .cmd("vpo-ls-backups")
        .args(["--names", ".vpo/backups"])
        .dir(&world.home())
        .run()
        .silent();
    assert!(out.text().starts_with(".vpo/backups/vpo-library-"), "{}", out.text());
    // Raw into a pipe, whatever it holds.
    std::fs::create_dir(world.path("d")).unwrap();
    let name = std::ffi::OsString::from(String::from("d/vpo-library-\x1b[2J\n.tar.gz"));
    write(world.path(&name), b"bad");
    let out = world.cmd("vpo-ls-backups").args(["--names", "d"]).run().silent();
    assert_eq!(out.text(), format!("{}\n", name.to_str().unwrap()));
    let out = world.cmd("vpo-ls-backups").args(["-0", "d"]).run().silent();
    assert_eq!(out.text(), format!("{}\0", name.to_str().unwrap()));
}

/// A backup whose name is not UTF-8 was left out of the list.
#[test]
fn names_that_are_not_text() {
    use std::os::unix::ffi::OsStrExt;
    let world = World::new();
    std::fs::create_dir(world.backups()).unwrap();
    let path = world
        .backups()
        .join(std::ffi::OsStr::from_bytes(b"vpo-library-\xff.tar.gz"));
    if std::fs::write(&path, b"bad").is_err() {
        return skipped("names that are not UTF-8", "the file system has none");
    }
    let out = ls(&world, &["-0"]).silent();
    assert_eq!(out.stdout, [path.as_os_str().as_bytes(), b"\0"].concat());
    assert_eq!(ls(&world, &["--json"]).silent().json()["total_count"], 1);
    ls(&world, &[]).silent();
}

#[test]
fn where_there_are_none() {
    let world = World::new();
    let dir = world.backups();
    let none = || {
        let out = ls(&world, &[]).ok();
        assert_eq!(out.text(), format!("No backups found in {}\n", dir.display()));
        assert!(
            format!("{}{}", out.text(), out.stderr).contains("vpo-library backup"),
            "{}",
            out.stderr
        );
        assert_eq!(ls(&world, &["--names"]).ok().stdout, b"");
        assert_eq!(ls(&world, &["-0"]).ok().stdout, b"");
        assert_eq!(ls(&world, &["-q"]).silent().stdout, b"");
        let json = ls(&world, &["--json"]).ok().json();
        assert_eq!(
            (&json["total_count"], &json["total_size_bytes"]),
            (&json!(0), &json!(0))
        );
        assert_eq!(json["backups"], json!([]));
        ls(&world, &["--max-age", "1d"]).exits(1);
    };
    // The default directory may be missing.
    none();
    std::fs::create_dir(&dir).unwrap();
    none();
    // One that is named may not.
    let missing = world.path("missing");
    for args in [&["missing"][..], &["--path", "missing"], &["--names", "missing"]] {
        world.cmd("vpo-ls-backups").args(args).run().fails(20, &["missing"]);
    }
    let variable = world.cmd("vpo-ls-backups").env("VPO_BACKUP_DIR", &missing);
    variable.run().fails(20, &["missing"]);
    write(world.path("file"), b"");
    world.cmd("vpo-ls-backups").arg("file").run().fails(40, &["file"]);
}

#[test]
fn damaged_ones_are_rows_too() {
    let world = several();
    let dir = world.backups();
    let good = read(dir.join(ORDER[1]));
    let plain = read(dir.join(ORDER[3]));
    let name = |n: u32| format!("vpo-library-2026-06-0{n}T000000Z.tar.gz");
    let last = blocks(&good).pop().unwrap();
    let mut bad_end = good.clone();
    bad_end[last.end - 9] ^= 1;
    let cases: [&[u8]; 6] = [
        b"",
        b"text",
        &good[..good.len() - 1],
        &[&good[..], b"x"].concat(),
        &bad_end,
        &plain[..plain.len() / 2],
    ];
    for (n, bytes) in cases.iter().enumerate() {
        write(dir.join(name(n as u32 + 1)), bytes);
    }
    let json = ls(&world, &["--json"]).silent().json();
    let rows = json["backups"].as_array().unwrap();
    assert_eq!(rows.len(), cases.len() + ORDER.len());
    for (n, row) in rows[..cases.len()].iter().rev().enumerate() {
        let name = name(n as u32 + 1);
        assert_eq!(row["filename"], name);
        assert!(row["error"].as_str().is_some_and(|error| !error.is_empty()), "{row}");
        for key in ["database_size_bytes", "file_count", "schema_version"] {
            assert_eq!(row.get(key), Some(&Value::Null), "{row}");
        }
        assert_eq!(row["archive_size_bytes"], cases[n].len());
        // The time is that of the name.
        assert_eq!(row["created_at"], format!("2026-06-0{}T00:00:00Z", n + 1));
    }
    for row in &rows[cases.len()..] {
        assert!(row.get("error").is_none_or(Value::is_null), "{row}");
    }
    let table = ls(&world, &[]).silent();
    let damaged = table.text().lines().filter(|line| line.contains("damaged")).count();
    assert_eq!(damaged, cases.len(), "{}", table.text());
    assert!(table.text().contains("11 backups, "), "{}", table.text());
    let names = ls(&world, &["--names"]).silent();
    assert_eq!(names.text().lines().count(), 11, "--names prints every row");
}

#[test]
fn the_time_where_nothing_tells_it() {
    let world = World::new();
    let dir = world.backups();
    std::fs::create_dir(&dir).unwrap();
    write(dir.join("vpo-library-before-the-move.tar.gz"), b"bad");
    let file = std::fs::File::open(dir.join("vpo-library-before-the-move.tar.gz")).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    file.set_modified(time).unwrap();
    let json = ls(&world, &["--json"]).silent().json();
    assert_eq!(json["backups"][0]["created_at"], "2023-11-14T22:13:20Z");
}

/// Damage in the middle is `vpo-verify`'s to find, and listing reads only the ends of a file.
#[test]
fn only_the_ends_are_read() {
    let world = World::new();
    let dir = world.backups();
    std::fs::create_dir(&dir).unwrap();
    world.make_library(&files(1000));
    let mut archive = world.archive_of(&world.library());
    let blocks = blocks(&archive);
    let middle = archive.len() / 2;
    archive[middle..middle + 100].fill(0);
    write(dir.join(NAME), &archive);
    let json = ls(&world, &["--json"]).silent().json();
    assert_eq!(json["backups"][0]["file_count"], 1000);
    assert!(json["backups"][0].get("error").is_none_or(Value::is_null));
    world.cmd("vpo-verify").arg(&dir).run().exits(46);

    // A hole of a terabyte in between is not read, nor even a look at it taken.
    let path = dir.join("vpo-library-2026-02-06T000000Z.tar.gz");
    let file = std::fs::File::create(&path).unwrap();
    use std::os::unix::fs::FileExt;
    file.write_all_at(&archive[blocks[0].clone()], 0).unwrap();
    let tail = &archive[blocks[blocks.len() - 1].clone()];
    if let Err(error) = file.write_all_at(tail, 1 << 40) {
        return skipped("a backup of a terabyte", &error.to_string());
    }
    let start = std::time::Instant::now();
    let json = ls_only(&world);
    assert_eq!(json["total_count"], 2);
    assert!(start.elapsed().as_secs() < 10, "it was read");
}

fn ls_only(world: &World) -> Value {
    world.cmd("vpo-ls-backups").arg("--json").run().silent().json()
}

#[test]
fn an_age_that_is_asked_for() {
    let world = World::new();
    let dir = world.backups();
    std::fs::create_dir(&dir).unwrap();
    let ago = |minutes: i64| {
        let time = jiff::Timestamp::now().as_second() - minutes * 60;
        jiff::Timestamp::from_second(time).unwrap().to_string()
    };
    let age = |age: &str| world.cmd("vpo-ls-backups").args(["--max-age", age]).run();
    world.backup_at(&dir.join("vpo-library-old.tar.gz"), 1, &ago(50 * 60));
    age("3d").silent();
    let out = age("2d").exits(1);
    assert!(
        out.text().contains("1 backup, "),
        "the listing comes all the same: {}",
        out.text()
    );
    age("51h").silent();
    age("49h").exits(1);
    age("3001m").silent();
    age("2999m").exits(1);

    // What doesn't count: safety backups, and damaged ones.
    world.backup_at(&dir.join("vpo-library-2026-03-01T000000Z-replaced.tar.gz"), 1, &ago(5));
    age("2d").exits(1);
    let name = |minutes| {
        let time: jiff::Timestamp = ago(minutes).parse().unwrap();
        dir.join(time.strftime("vpo-library-%Y-%m-%dT%H%M%SZ.tar.gz").to_string())
    };
    write(name(3), b"damaged");
    age("2d").exits(1);
    let out = world
        .cmd("vpo-ls-backups")
        .args(["-q", "--max-age", "2d"])
        .run()
        .exits(1);
    assert_eq!(out.stdout, b"");
    let out = world
        .cmd("vpo-ls-backups")
        .args(["--json", "--max-age", "2d"])
        .run()
        .exits(1);
    assert_eq!(out.json()["total_count"], 3);
    let wrapper = || world.cmd("vpo-library").args(["backups", "--max-age", "2d"]).run();
    wrapper().exits(1);
    world.backup_at(&name(2), 1, &ago(2));
    age("2d").silent();
    age("90m").silent();
    wrapper().silent();
}

#[test]
fn contradictions() {
    let world = several();
    ls(&world, &["--json", "--names"]).fails(2, &["--json"]);
    ls(&world, &["--path", "a", "--path", "b"]).fails(2, &["named twice"]);
}

#[test]
fn on_a_terminal() {
    let world = several();
    let (cmd, terminal) = world.cmd("vpo-ls-backups").terminal(&[Stream::Out]);
    terminal.resize(140);
    let running = cmd.start();
    let shown = std::thread::spawn(|| terminal.rest());
    running.finish().silent();
    let shown = shown.join().unwrap();
    for name in ORDER {
        assert!(shown.contains(name), "{shown}");
    }
    assert!(shown.contains("5 backups, 1 of them a safety backup, "), "{shown}");
}

/// Half of a library's backups may be on a disk that is away: links that lead nowhere are not regular files.
#[test]
fn links_and_special_files() {
    let world = several();
    let dir = world.backups();
    std::os::unix::fs::symlink("nowhere", dir.join("vpo-library-a.tar.gz")).unwrap();
    std::os::unix::fs::symlink(ORDER[1], dir.join("vpo-library-b.tar.gz")).unwrap();
    world.tool("mkfifo").arg(dir.join("vpo-library-c.tar.gz")).run().ok();
    let json = ls(&world, &["--json"]).silent().json();
    let listed: Vec<_> = json["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["filename"].clone())
        .collect();
    assert!(!listed.contains(&json!("vpo-library-a.tar.gz")) && !listed.contains(&json!("vpo-library-c.tar.gz")));
}

/// What could not be read was called damaged.
#[test]
fn what_can_not_be_read_is_unknown() {
    if !std::path::Path::new("/proc/self/mem").exists() {
        return skipped("a file that can't be read", "there is no /proc/self/mem");
    }
    let world = World::new();
    std::fs::create_dir(world.backups()).unwrap();
    let name = |n: u32| world.backups().join(format!("vpo-library-2026-06-0{n}T000000Z.tar.gz"));
    // Reading its beginning is an I/O error.
    std::os::unix::fs::symlink("/proc/self/mem", name(1)).unwrap();
    write(name(2), b"text");
    world.backup_at(&name(3), 3, "2026-06-03T00:00:00Z");
    let json = ls_only(&world);
    let said: Vec<_> = json["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["status"])
        .collect();
    assert_eq!(said, ["whole", "damaged", "unknown"]);
    let out = world.cmd("vpo-ls-backups").run().silent();
    let words: Vec<_> = out
        .text()
        .lines()
        .map(|line| ["damaged: ", "unknown: "].map(|word| line.contains(word)))
        .skip(3)
        .take(3)
        .collect();
    assert_eq!(words, [[false, false], [true, false], [false, true]], "{}", out.text());
}

/// A backup dated 2099 satisfied `--max-age` for ever.
#[test]
fn what_is_dated_ahead_is_not_young() {
    let world = World::new();
    std::fs::create_dir(world.backups()).unwrap();
    let name = |time: &str| world.backups().join(format!("vpo-library-{time}.tar.gz"));
    world.backup_at(&name("2099-01-01T000000Z"), 3, "2099-01-01T00:00:00Z");
    let young = |code, needle: &str| {
        let ls = world.cmd("vpo-ls-backups").args(["-q", "--max-age", "26h"]);
        ls.run().fails(code, &[needle]);
    };
    young(1, "there is none");
    world.backup_at(&name("2026-02-05T143022Z"), 3, TIME);
    young(1, "the newest is from 2026-02-05 14:30:22 UTC");
    // A day ahead may be a clock that is wrong.
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(20);
    world.backup_at(
        &name("2026-02-05T143022Z-2"),
        3,
        &soon.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    );
    let ls = world.cmd("vpo-ls-backups").args(["-q", "--max-age", "26h"]);
    ls.run().silent();
}
