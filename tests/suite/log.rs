//! The log has a line of every backup, restore and verify, however it ended, with the error that the person saw.

use std::io::{self, PipeReader, Read, Write};
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::generate::{Sample, Size};
use crate::support::*;

const SIGNALS: [(Signal, i32); 3] = [(Signal::INT, 2), (Signal::TERM, 15), (Signal::HUP, 1)];

/// `vpo-library` with a log.
fn vpo(world: &World, args: &[&str]) -> Cmd {
    world.cmd("vpo-library").args(["--log", "log"]).args(args)
}

/// The only line of the log, which is then removed.
#[track_caller]
fn line(world: &World) -> Value {
    let log = world.path("log");
    let text = String::from_utf8(read(&log)).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    std::fs::remove_file(log).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// 20 of 20 backups that a signal ended left no line.
#[test]
fn what_a_signal_ended() {
    let world = World::new();
    // More than the pipes on the way hold.
    world.make_library(&Sample {
        size: Size::Bytes(6 << 20),
        ..Sample::default()
    });
    write(world.path("a.tar.gz"), &world.archive_of(&world.library()));
    let half = &read(world.path("a.tar.gz"))[..100_000];
    for (signal, number) in SIGNALS {
        let ended = |command: &str, running: Running| {
            running.signal(signal);
            running.finish().ended_by(number);
            let line = line(&world);
            assert_eq!(
                (&line["command"], &line["outcome"], &line["exit_code"], &line["error"]),
                (
                    &json!(command),
                    &json!("failure"),
                    &json!(128 + number),
                    &json!(format!("ended by signal {number}"))
                ),
                "{line}"
            );
            world.clean();
        };
        // Nobody reads what it writes.
        let mut running = vpo(&world, &["backup", "--no-check", "-o", "-"]).start();
        running.take(1000);
        ended("backup", running);
        // The pipeline is shown when the work has begun, and the archive never ends.
        for (command, args) in [
            ("verify", &["-v", "verify", "-"][..]),
            ("restore", &["-v", "restore", "-y", "-"]),
        ] {
            let (cmd, mut terminal) = vpo(&world, args).input_pipe().terminal(&[Stream::Err]);
            let mut running = cmd.start();
            running.feed(half);
            terminal.wait_for(" -- -");
            let drained = std::thread::spawn(|| terminal.rest());
            ended(command, running);
            drained.join().unwrap();
        }
        // While a question is open: that of the wrapper, that of the program that it runs.
        std::fs::create_dir_all(world.backups()).unwrap();
        write(world.backups().join(NAME), &read(world.path("a.tar.gz")));
        for (args, question) in [
            (&["restore"][..], "Restore which backup?"),
            (&["restore", "latest"], "[y/N] "),
        ] {
            let (cmd, mut terminal) = vpo(&world, args).terminal(&[Stream::Err]);
            let running = cmd.start();
            terminal.wait_for(question);
            let drained = std::thread::spawn(|| terminal.rest());
            ended("restore", running);
            drained.join().unwrap();
        }
    }
}

/// A pipe that takes no byte more.
fn full_pipe() -> (PipeReader, io::PipeWriter, usize) {
    let (reader, mut writer) = io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut filled = 0;
    while let Ok(n) = writer.write(&[b'x'; 512]) {
        filled += n;
    }
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer, filled)
}

/// SIGINT just after the library was replaced: new content, status 130, not a word, no line in the log.
#[test]
fn what_is_restored_is_told_before_a_signal_ends_it() {
    let world = World::new();
    make(&files(30), &world.path("new.db"));
    write(world.path("new.tar.gz"), &world.archive_of(&world.path("new.db")));
    let new = dump(&world.path("new.db"));
    for (signal, number) in SIGNALS {
        for json in [false, true] {
            for wrapper in [false, true] {
                world.make_library(&Sample { seed: 2, ..files(40) });
                let old = read(world.library());
                let cmd = match wrapper {
                    true => vpo(&world, &["restore", "--yes", "new.tar.gz"]),
                    false => world.cmd("vpo-unpack-restore").args(["--yes", "new.tar.gz"]),
                };
                let cmd = if json { cmd.arg("--json") } else { cmd };
                // The report can't be written until somebody reads.
                let (mut reader, writer, filled) = full_pipe();
                let running = cmd.stdout(writer).start();
                // The safety backup is there before, the temporary files are gone when all is done.
                wait_until("the library is replaced", || {
                    read(world.library()) != old
                        && names(&world.home().join(".vpo"))
                            .iter()
                            .all(|name| !name.starts_with(".vpo-") && !name.starts_with("library.db-"))
                });
                running.signal(signal);
                let rest = std::thread::spawn(move || {
                    let mut text = Vec::new();
                    reader.read_to_end(&mut text).unwrap();
                    String::from_utf8(text.split_off(filled)).unwrap()
                });
                let out = running.finish().ended_by(number);
                assert_eq!(out.stderr, "");
                let report = rest.join().unwrap();
                match json {
                    true => assert_eq!(serde_json::from_str::<Value>(&report).unwrap()["success"], true),
                    false => assert!(report.starts_with("Library restored: "), "{report}"),
                }
                same_content("restored", &dump(&world.library()), &new);
                if wrapper {
                    let line = line(&world);
                    assert_eq!(
                        (&line["outcome"], &line["exit_code"]),
                        (&json!("success"), &json!(128 + number)),
                        "{line}"
                    );
                }
                world.clean();
            }
        }
    }
}

/// On a terminal the programs write there themselves, and the log said "ended with status 20" instead of the reason.
#[test]
fn the_reason_also_on_a_terminal() {
    let world = World::new();
    world.default_library();
    write(world.path("bad.tar.gz"), b"bad");
    let mut spoiled = read(world.library());
    spoiled[3 * 4096..8 * 4096].fill(0);
    write(world.path("spoiled.db"), &spoiled);
    let cases: [(i32, &[&str], &str); 6] = [
        (
            20,
            &["restore", "-y", "missing.tar.gz"],
            "'missing.tar.gz' does not exist",
        ),
        (
            46,
            &["restore", "-y", "bad.tar.gz"],
            "'bad.tar.gz' is not a complete backup: ",
        ),
        (46, &["verify", "bad.tar.gz"], "'bad.tar.gz': "),
        (20, &["verify", "missing.tar.gz"], "'missing.tar.gz': "),
        (42, &["backup", "--db", "spoiled.db"], "is damaged"),
        (
            20,
            &["backup", "--db", "missing.db"],
            "there is no library at 'missing.db'",
        ),
    ];
    for (code, args, reason) in cases {
        for terminal in [false, true] {
            let cmd = vpo(&world, args);
            let shown = if terminal {
                let (cmd, terminal) = cmd.terminal(&[Stream::Out, Stream::Err]);
                let shown = std::thread::spawn(|| terminal.rest());
                cmd.run().exits(code);
                shown.join().unwrap()
            } else {
                let out = cmd.run().exits(code);
                out.text().to_owned() + &out.stderr
            };
            let line = line(&world);
            let error = line["error"].as_str().unwrap();
            assert!(error.contains(reason), "{args:?}: {error}");
            // The same that the person saw; a report of `verify` has the path without quotes.
            let said = error.replace('\'', "");
            assert!(shown.replace('\'', "").contains(&said), "{args:?}: {error} | {shown}");
            assert_eq!(line["exit_code"], code);
        }
    }
}

/// A failed verify was "a backup is not whole", without a name; that of `backup --verify --json` "ended with status 46".
#[test]
fn a_failed_verify_has_a_name() {
    let world = World::new();
    world.default_library();
    write(world.path("good.tar.gz"), &world.archive_of(&world.library()));
    write(world.path("bad 1.tar.gz"), b"bad");
    write(world.path("bad 2.tar.gz"), b"bad");
    vpo(
        &world,
        &[
            "verify",
            "missing.tar.gz",
            "good.tar.gz",
            "bad 1.tar.gz",
            "bad 2.tar.gz",
        ],
    )
    .run()
    .exits(46);
    let error = line(&world)["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("'bad 1.tar.gz': this is"), "{error}");
    assert!(error.ends_with("(and 2 more)"), "{error}");

    // Nothing is kept, and the document has the reason.
    let nowhere = world.path("no such directory");
    let backup = vpo(&world, &["backup", "--verify", "--json"]).env("TMPDIR", &nowhere);
    let out = backup.run().exits(40);
    out.json_error(40);
    let reason = "the archive that was just written can't be verified: ";
    let error = out.json()["error"].as_str().unwrap().to_owned();
    assert!(
        error.starts_with(reason) && error.contains("no such directory"),
        "{error}"
    );
    assert_eq!(line(&world)["error"], json!(error));
    assert!(out.stderr.contains(&error), "{}", out.stderr);
    assert_eq!(names(&world.backups()), [""; 0]);
}

#[test]
fn paths_are_absolute() {
    let world = World::new();
    world.default_library();
    std::fs::copy(world.library(), world.path("lib.db")).unwrap();
    let absolute = |line: &Value, key: &str, expected: &Path| {
        assert_eq!(line[key], expected.to_str().unwrap(), "{line}");
    };
    vpo(&world, &["--db", "lib.db", "--backup-dir", "kept", "backup"])
        .run()
        .silent();
    let made = line(&world);
    let path = world.path("kept").join(&names(&world.path("kept"))[0]);
    absolute(&made, "database_path", &world.path("lib.db"));
    absolute(&made, "backup_path", &path);
    for args in [&["verify"][..], &["verify", "latest"], &["restore", "-y", "latest"]] {
        let options = ["--db", "lib.db", "--backup-dir", "kept"];
        vpo(&world, &options).args(args).run().silent();
        let line = line(&world);
        let expected = if args.len() == 1 {
            world.path("kept")
        } else {
            path.clone()
        };
        absolute(&line, "backup_path", &expected);
    }
    // What failed before it was found, too.
    vpo(&world, &["--db", "missing.db", "backup"]).run().exits(20);
    absolute(&line(&world), "database_path", &world.path("missing.db"));
    // Standard input has no path.
    let input = read(&path);
    vpo(&world, &["verify", "-"]).input(&input).run().silent();
    assert_eq!(line(&world)["backup_path"], "-");
}
