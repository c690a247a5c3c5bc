//! Backups of several libraries in one directory: which one is meant, and what is verified.

use std::path::PathBuf;

use crate::support::*;

const NAS: &str = "nas:/srv/library.db";
const LAPTOP: &str = "laptop:/home/u/.vpo/library.db";

fn backup_name(time: &str) -> String {
    format!("vpo-library-{time}.tar.gz")
}

/// Puts a backup of another library into the backup directory, or with no source one that doesn't say.
fn put(world: &World, name: &str, source: Option<&str>) -> PathBuf {
    let database = world.path("other.db");
    if !database.exists() {
        make(&files(7), &database);
    }
    let (date, time) = (&name[..10], &name[11..17]);
    let time = format!("{date}T{}:{}:{}Z", &time[..2], &time[2..4], &time[4..]);
    let mut pack = world.cmd("vpo-pack").args(["--created-at", &time]);
    if let Some(source) = source {
        pack = pack.args(["--source", source]);
    }
    let path = world.backups().join(backup_name(name));
    write(&path, &pack.stdin_file(&database).run().ok().stdout);
    path
}

/// The source that backups of the default library have.
fn here(world: &World) -> String {
    let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    format!("{host}:{}", world.library().display())
}

/// A world with a library and an empty backup directory.
fn world() -> World {
    let world = World::new();
    world.default_library();
    std::fs::create_dir(world.backups()).unwrap();
    world
}

/// What a dry run would restore.
fn meant(world: &World, operand: &str) -> String {
    let restore = world
        .cmd("vpo-library")
        .args(["restore", "--dry-run", "--json", operand]);
    let path = PathBuf::from(restore.run().ok().json()["backup_path"].as_str().unwrap());
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn another_librarys_backup_is_not_meant() {
    let world = world();
    let source = here(&world);
    put(&world, "2025-11-01T030000Z", Some(&source));
    put(&world, "2025-11-01T040000Z-replaced", Some(&source));
    put(&world, "2025-11-02T030000Z", Some(NAS));
    put(&world, "2025-11-02T040000Z-replaced", Some(NAS));
    assert_eq!(meant(&world, "latest"), backup_name("2025-11-01T030000Z"));
    assert_eq!(meant(&world, "replaced"), backup_name("2025-11-01T040000Z-replaced"));
    assert_eq!(meant(&world, "2025-11-01"), backup_name("2025-11-01T030000Z"));
    // A time is exactly one file.
    assert_eq!(meant(&world, "2025-11-02T030000Z"), backup_name("2025-11-02T030000Z"));
    // What does not say where it is from may be of this library.
    put(&world, "2025-11-03T030000Z", None);
    assert_eq!(meant(&world, "latest"), backup_name("2025-11-03T030000Z"));
    // Elsewhere on this machine is another library.
    make(&files(3), &world.path("second.db"));
    let restore = world
        .cmd("vpo-library")
        .args(["--db", "second.db", "restore", "--dry-run", "--json", "latest"]);
    let unknown = restore.run().ok().json();
    assert!(
        unknown["backup_path"]
            .as_str()
            .unwrap()
            .ends_with("2025-11-03T030000Z.tar.gz")
    );
}

/// Where only other libraries have backups nobody guesses; each command that is printed can be pasted. A dry run printed
/// one that was not, and the other options that say what a command does were left out as well.
#[test]
fn nobody_guesses_among_libraries() {
    let world = world();
    put(&world, "2025-11-01T030000Z", Some(NAS));
    put(&world, "2025-11-02T030000Z", Some(NAS));
    put(&world, "2025-11-01T040000Z", Some(LAPTOP));
    for (args, count) in [
        (&["restore", "--yes", "latest"][..], 2),
        (&["restore", "--yes", "2025-11-02"], 1),
        (&["verify", "--full", "latest"], 2),
        (&["diff", "--stat"], 2),
    ] {
        let failed = world
            .cmd("vpo-library")
            .args(args)
            .run()
            .fails_after_all(1, &["is of this library: name one"]);
        let commands: Vec<&str> = failed
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("the newest backup of "))
            .collect();
        assert_eq!(commands.len(), count, "{}", failed.stderr);
        assert!(commands[count - 1].starts_with(NAS), "{}", failed.stderr);
        assert!(commands[count - 1].contains("2025-11-02T030000Z"), "{}", failed.stderr);
        assert!(!failed.stderr.contains("--yes"), "{}", failed.stderr);
        for option in args.iter().filter(|arg| ["--full", "--stat"].contains(arg)) {
            assert!(
                commands.iter().all(|command| command.contains(option)),
                "{}",
                failed.stderr
            );
        }
    }
    // No safety backup of another library brings back this one.
    put(&world, "2025-11-02T040000Z-replaced", Some(NAS));
    let none = world.cmd("vpo-library").args(["restore", "--yes", "replaced"]).run();
    none.fails(20, &["there are no safety backups of this library"]);

    let failed = world
        .cmd("vpo-library")
        .args(["restore", "--dry-run", "latest"])
        .run()
        .exits(1);
    let line = failed.stderr.lines().find(|line| line.contains(NAS)).unwrap();
    let command = line.split_once(": ").unwrap().1;
    let directory = std::path::Path::new(executable("vpo-library")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", directory.display());
    let pasted = world
        .cmd("sh")
        .args(["-c", &format!("{command} --json")])
        .env("PATH", path)
        .dir(std::path::Path::new("/"));
    assert_eq!(pasted.run().ok().json()["file_count"], 7);
}

#[test]
fn a_person_chooses_among_libraries() {
    let world = world();
    put(&world, "2025-11-02T030000Z", Some(NAS));
    put(&world, "2025-11-01T040000Z", Some(LAPTOP));
    for (answer, chosen) in [("2\n", true), ("3\n", false), ("\n", false)] {
        let restore = world.cmd("vpo-library").args(["restore", "--dry-run", "latest"]);
        let (restore, mut terminal) = restore.terminal(&[Stream::Err]);
        let running = restore.start();
        let question = terminal.wait_for("Which one? [1-2] ");
        assert!(
            question.contains(&format!("  2  {}  {NAS}", backup_name("2025-11-02T030000Z"))),
            "{question}"
        );
        terminal.type_in(answer);
        let rest = std::thread::spawn(|| terminal.rest());
        let output = running.finish();
        let rest = rest.join().unwrap();
        if chosen {
            let output = output.ok();
            assert!(output.text().contains("Files in library: 7"), "{}", output.text());
        } else {
            output.exits(1);
            assert!(rest.contains("no backup was chosen"), "{rest}");
        }
    }
}

/// A new machine has no library yet: the only one that there are backups of is meant, and that is said.
#[test]
fn a_new_machine_takes_the_only_library_there_is() {
    let world = World::new();
    std::fs::create_dir(world.backups()).unwrap();
    put(&world, "2025-11-01T030000Z", Some(NAS));
    put(&world, "2025-11-02T030000Z", Some(NAS));
    let restored = world.cmd("vpo-library").args(["restore", "latest"]).run().ok();
    assert!(
        restored.stderr.starts_with(&format!(
            "vpo-library: taking '{}' of another library, {NAS}",
            backup_name("2025-11-02T030000Z")
        )),
        "{}",
        restored.stderr
    );
    std::fs::remove_file(world.library()).unwrap();
    // Of two, neither; of this machine's own, which is gone, that one.
    put(&world, "2025-11-03T030000Z", Some(LAPTOP));
    let refused = world.cmd("vpo-library").args(["restore", "latest"]).run();
    refused.fails_after_all(1, &["name one"]);
    put(&world, "2025-10-01T030000Z", Some(&here(&world)));
    assert_eq!(meant(&world, "latest"), backup_name("2025-10-01T030000Z"));
    assert!(!world.library().exists());
}

#[test]
fn the_question_shows_another_library() {
    let world = world();
    let path = put(&world, "2025-11-01T030000Z", Some(NAS));
    let ours = put(&world, "2025-11-02T030000Z", Some(&here(&world)));
    for (archive, shown) in [(&path, true), (&ours, false)] {
        let restore = world.cmd("vpo-library").arg("restore").arg(archive);
        let (restore, mut terminal) = restore.terminal(&[Stream::Err]);
        let running = restore.start();
        let question = terminal.wait_for("[y/N] ");
        assert_eq!(
            question.contains(&format!("of another library: {NAS}")),
            shown,
            "{question}"
        );
        assert_eq!(question.contains("another library"), shown, "{question}");
        terminal.type_in("n\n");
        let rest = std::thread::spawn(|| terminal.rest());
        running.finish().exits(1);
        rest.join().unwrap();
    }
}

/// Another library's fresh backup says nothing about this one.
#[test]
fn a_monitor_looks_at_this_library() {
    let world = world();
    let hour = std::time::Duration::from_secs(3600);
    let time = jiff::Timestamp::now()
        .checked_sub(hour)
        .unwrap()
        .strftime("%FT%H%M%SZ")
        .to_string();
    put(&world, &time, Some(NAS));
    let monitor = |age: &str, json: &[&str]| {
        let args = [&["backups", "--max-age", age], json].concat();
        world.cmd("vpo-library").args(args).run()
    };
    monitor("26h", &[]).fails(1, &["no backup is recent enough: there is none"]);
    let json = monitor("26h", &["--json"]).exits(1);
    assert_eq!(json.json()["total_count"], 1);
    // The plumbing judges what it lists.
    world.cmd("vpo-ls-backups").args(["--max-age", "26h"]).run().silent();
    put(&world, "2025-11-01T030000Z", Some(&here(&world)));
    monitor("26h", &[]).fails(1, &["the newest is from 2025-11-01 03:00:00 UTC"]);
    put(&world, &time.replace("Z", "Z-2"), None);
    monitor("26h", &[]).silent();
}

#[test]
fn the_newest_are_verified() {
    let world = world();
    let source = here(&world);
    let old = put(&world, "2025-11-01T030000Z", Some(&source));
    put(&world, "2025-11-02T030000Z", Some(&source));
    put(&world, "2025-11-02T040000Z-replaced", Some(&source));
    let mut bytes = read(&old);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    write(&old, &bytes);
    let verify = |args: &[&str]| world.cmd("vpo-library").arg("verify").args(args).run();
    verify(&[]).exits(46);
    for (args, names) in [
        (&["latest"][..], &["2025-11-02T030000Z"][..]),
        (&["replaced"], &["2025-11-02T040000Z-replaced"]),
        (&["--newest", "1"], &["2025-11-02T040000Z-replaced"]),
        (
            &["--newest", "2"],
            &["2025-11-02T040000Z-replaced", "2025-11-02T030000Z"],
        ),
        (
            &["latest", "replaced"],
            &["2025-11-02T030000Z", "2025-11-02T040000Z-replaced"],
        ),
    ] {
        let verified = verify(args).silent();
        let rows: Vec<&str> = verified.text().lines().collect();
        assert_eq!(rows.len(), names.len(), "{}", verified.text());
        for (row, name) in rows.iter().zip(names) {
            assert!(row.contains(&backup_name(name)), "{row}");
        }
    }
    verify(&["--newest", "9"]).exits(46);
    verify(&["--newest", "0"]).fails(2, &["--newest '0'"]);
    verify(&["--newest", "1", "latest"]).fails(2, &["--newest contradicts"]);
    let empty = world.path("empty");
    std::fs::create_dir(&empty).unwrap();
    verify(&["--newest", "1", "--backup-dir", "empty"]).fails(20, &["nothing was verified"]);
    verify(&["latest", "--backup-dir", "empty"]).fails(20, &["there are no backups"]);
}

/// "there are no backups" was said of a directory that held some.
#[test]
fn none_of_them_is_the_latest() {
    for (name, time) in [
        ("2026-02-05T143022Z-replaced", TIME),
        ("2099-01-01T000000Z", "2099-01-01T00:00:00Z"),
    ] {
        let world = world();
        world.backup_at(&world.backups().join(backup_name(name)), 3, time);
        let restore = world.cmd("vpo-library").args(["restore", "--yes", "latest"]);
        restore
            .run()
            .fails(20, &["there are only safety backups, or ones dated in the future, in"]);
    }
}

/// quick_check looks neither at references nor at indexes: what only the full check finds was so in the library.
#[test]
fn a_full_check() {
    let world = world();
    let sound = world.archive_of(&world.library());
    write(world.path("sound.tar.gz"), &sound);
    let full = |args: &[&str]| world.cmd("vpo-verify").arg("--full").args(args).run();
    full(&["sound.tar.gz"]).silent();
    full(&["-q", "sound.tar.gz"]).silent();

    // Rows that refer to none, and two indexes with each other's content.
    sqlite(
        &world.library(),
        "PRAGMA foreign_keys = OFF; DELETE FROM files WHERE id IN (1, 2);
         CREATE TABLE more (a, b); INSERT INTO more VALUES (1, 4), (2, 5), (3, 6);
         CREATE INDEX idx_more ON more (a); CREATE INDEX idx_other ON more (b);
         PRAGMA writable_schema = ON;
         CREATE TEMP TABLE roots AS SELECT name, rootpage FROM sqlite_schema;
         UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM roots WHERE name =
             CASE sqlite_schema.name WHEN 'idx_more' THEN 'idx_other' ELSE 'idx_more' END)
             WHERE name IN ('idx_more', 'idx_other');
         PRAGMA writable_schema = RESET",
    );
    let snapshot = world.cmd("vpo-snapshot").arg("--no-check");
    let archive = pipeline([snapshot, world.cmd("vpo-pack").args(["--created-at", TIME])]).ok();
    write(world.path("problems.tar.gz"), &archive);
    let plain = world.cmd("vpo-verify").arg("problems.tar.gz").run();
    assert!(!plain.status.success() || plain.stderr.is_empty());
    let found = full(&["problems.tar.gz"]).exits(1);
    let lines: Vec<&str> = found.text().lines().collect();
    assert!(lines[0].starts_with("ok  problems.tar.gz  created"), "{}", found.text());
    assert!(
        lines.contains(&"      more: row 1 missing from index idx_more (3 rows)"),
        "{}",
        found.text()
    );
    let dangling = "refers to rows of 'files' that do not exist (";
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("      tracks: ") && line.contains(dangling)),
        "{}",
        found.text()
    );
    let quiet = full(&["-q", "problems.tar.gz"]).exits(1);
    assert_eq!(quiet.text(), "");
    assert!(quiet.stderr.starts_with("problems.tar.gz: "), "{}", quiet.stderr);

    let json = full(&["--json", "problems.tar.gz", "sound.tar.gz"]).exits(1).json();
    assert_eq!(json["bad_count"], 0);
    assert_eq!(
        (&json["archives"][0]["valid"], &json["archives"][0]["status"]),
        (&true.into(), &"ok".into())
    );
    let problems = json["archives"][0]["problems"].as_array().unwrap();
    assert!(
        problems
            .iter()
            .any(|problem| problem["table"] == "more" && problem["rows"] == 3),
        "{json:#}"
    );
    assert_eq!(json["archives"][1]["problems"], serde_json::json!([]));
    // Something worse is said instead.
    write(world.path("short.tar.gz"), &sound[..3000]);
    full(&["problems.tar.gz", "short.tar.gz"]).exits(46);
    full(&["problems.tar.gz", "gone.tar.gz"]).exits(20);

    // It is kept all the same; and the wrapper passes it on.
    std::fs::create_dir(world.path("kept")).unwrap();
    let save = world
        .cmd("vpo-verify")
        .args(["--full", "--save", "kept"])
        .input(&archive)
        .run();
    save.exits(1);
    assert_eq!(names(&world.path("kept")), [NAME]);
    let wrapper = world
        .cmd("vpo-library")
        .args(["verify", "--full", "problems.tar.gz"])
        .run();
    assert_eq!(wrapper.exits(1).text(), found.text());
    full(&["--no-database-check", "sound.tar.gz"]).fails(2, &["--full contradicts"]);
    world.clean();
}
