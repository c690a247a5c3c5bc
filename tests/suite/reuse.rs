//! `vpo-pack --reuse`: faster, and nothing else.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::support::*;

/// Packs `database` at `TIME`.
fn pack(world: &World, database: &[u8], args: &[&str]) -> Output {
    let cmd = world.cmd("vpo-pack").args(["--created-at", TIME]).args(args);
    cmd.input(database).run().ok()
}

/// How many blocks were reused, and how many there are.
fn reused(out: &Output) -> (usize, usize) {
    let line = out
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("vpo-pack: reused "));
    let (reused, rest) = line.expect("vpo-pack says nothing of it").split_once(" of ").unwrap();
    let number = |text: &str| text.replace(',', "").parse().unwrap();
    (number(reused), number(rest.strip_suffix(" blocks").unwrap()))
}

/// The bytes of a library of 200 files, and those after each of some changes.
fn days(world: &World) -> Vec<(&'static str, Vec<u8>)> {
    let path = world.path("days.db");
    make(&files(200), &path);
    let mut days = vec![("the first day", read(&path))];
    for (what, sql) in [
        ("nothing", ""),
        ("one file", "UPDATE files SET size_bytes = size_bytes + 1 WHERE id = 7"),
        (
            "longer",
            "CREATE TABLE filler (x); INSERT INTO filler VALUES (randomblob(300000))",
        ),
        ("shorter", "DROP TABLE filler; VACUUM"),
        ("much less", "DELETE FROM files WHERE id > 100; VACUUM"),
    ] {
        sqlite(&path, sql);
        days.push((what, read(&path)));
    }
    days
}

#[test]
fn the_bytes_are_those_of_a_backup_made_anew() {
    let world = World::new();
    let days = days(&world);
    let earlier = world.path("earlier.tar.gz");
    let mut any = 0;
    // The slowest level takes ten times as long as the others.
    for (level, many, changes) in [
        ("0", &["1", "5"][..], 5),
        ("1", &["2"], 5),
        ("6", &["1", "5"], 5),
        ("12", &["2"], 1),
    ] {
        write(&earlier, &pack(&world, &days[0].1, &["--level", level]).stdout);
        for (what, database) in &days[1..=changes] {
            let anew = pack(&world, database, &["--level", level]).stdout;
            for threads in many {
                let args = [
                    "--level",
                    level,
                    "--threads",
                    threads,
                    "--reuse",
                    "earlier.tar.gz",
                    "-v",
                ];
                let out = pack(&world, database, &args);
                let (copied, blocks) = reused(&out);
                let case = format!("level {level}, {threads} threads, {what}: {copied} of {blocks}");
                same(&case, &out.stdout, &anew);
                assert_eq!(blocks, crate::support::blocks(&anew).len(), "{case}");
                match *what {
                    "nothing" => assert_eq!(copied, blocks, "{case}"),
                    "one file" => assert!(copied > blocks / 2 && copied < blocks, "{case}"),
                    _ => assert!(copied < blocks, "{case}"),
                }
                any += copied;
            }
            world.verify(&anew).silent();
            // The next day's.
            write(&earlier, &anew);
        }
    }
    assert!(any > 0);
    // The first block holds the time. Without -v nothing is said.
    write(&earlier, &pack(&world, &days[0].1, &[]).stdout);
    let later = ["--created-at", "2026-02-06T14:30:22Z", "--reuse", "earlier.tar.gz"];
    let out = world.cmd("vpo-pack").args(later).arg("-v").input(&days[0].1).run().ok();
    let (copied, blocks) = reused(&out);
    assert_eq!(copied, blocks - 2, "all but the first and the metadata");
    let quiet = world.cmd("vpo-pack").args(later).input(&days[0].1).run().silent();
    same("quiet", &quiet.stdout, &out.stdout);
    world.verify(&quiet.stdout).silent();
}

/// What is of another level or version would live on in all that follow.
#[test]
fn other_levels_and_versions_are_not_reused() {
    let world = World::new();
    let database = days(&world).swap_remove(0).1;
    let expected = pack(&world, &database, &[]).stdout;
    let metadata = unpack(&expected).1;
    for (args, serves) in [
        (&[][..], true),
        (&["--level", "6"], true),
        (&["--level", "5"], false),
        (&["--level", "0"], false),
        (&["--vpo-version", "vpo-library/0.0.9"], false),
    ] {
        write(world.path("earlier.tar.gz"), &pack(&world, &database, args).stdout);
        let out = pack(&world, &database, &["--reuse", "earlier.tar.gz", "-v"]);
        same(&format!("{args:?}"), &out.stdout, &expected);
        let (copied, blocks) = reused(&out);
        assert_eq!(copied, if serves { blocks } else { 0 }, "{args:?}");
    }
    assert_eq!(metadata["compression_level"], 6);
}

/// Nothing that ARCHIVE may be is an error, or makes a difference.
#[test]
fn what_is_not_an_earlier_archive_is_left_alone() {
    let world = World::new();
    let database = days(&world).swap_remove(0).1;
    let archive = pack(&world, &database, &["-l1"]).stdout;
    let (_, metadata) = unpack(&archive);
    std::fs::create_dir(world.path("directory")).unwrap();
    let fifo = world.tool("mkfifo").arg("fifo").run();
    fifo.silent();
    std::os::unix::fs::symlink("nowhere", world.path("dangling")).unwrap();
    write(world.path("empty"), b"");
    write(world.path("text"), b"no archive");
    write(world.path("library.db"), &database);
    write(world.path("plain"), &plain_archive(&database, &metadata));
    write(world.path("appended"), &[&archive[..], b"x"].concat());
    write(world.path("twice"), &[&archive[..], &archive].concat());
    let last = blocks(&archive).pop().unwrap();
    let last_two = [&archive[..last.start], &archive[last.start + 1..]].concat();
    write(world.path("damaged at its end"), &last_two);
    for cut in [
        1,
        31,
        32,
        33,
        40,
        4096,
        archive.len() / 2,
        last.start,
        archive.len() - 1,
    ] {
        write(world.path(format!("first {cut}")), &archive[..cut]);
    }
    let mut names: Vec<_> = std::fs::read_dir(world.path(""))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    names.extend(
        [
            "missing",
            "missing/too",
            "",
            "/dev/null",
            "/dev/zero",
            "/dev/fd/0",
            "/proc/self/mem",
        ]
        .map(Into::into),
    );
    assert!(names.len() > 20);
    for name in names {
        let name = name.to_str().unwrap();
        let out = pack(&world, &database, &["-l1", "-v", "--reuse", name]);
        same(name, &out.stdout, &archive);
        // What follows a whole archive does not make its blocks another's.
        assert_eq!(reused(&out).0 > 0, name.ends_with("/twice"), "{name}");
        let quiet = pack(&world, &database, &["-l1", "--reuse", name]).silent();
        same(name, &quiet.stdout, &archive);
    }
}

/// An ARCHIVE that somebody writes to meanwhile: only what was read, and proven then, is copied.
#[test]
fn an_archive_that_changes_meanwhile() {
    let world = World::new();
    let days = days(&world);
    let database = &days[0].1;
    let archive = pack(&world, database, &[]).stdout;
    let path = world.path("earlier.tar.gz");
    let half = archive.len() as u64 / 2;
    type Change = fn(&Path, u64);
    let changes: [(&str, Change); 5] = [
        ("truncated", |path, half| {
            File::options().write(true).open(path).unwrap().set_len(half).unwrap()
        }),
        ("emptied", |path, _| File::create(path).map(drop).unwrap()),
        ("longer", |path, _| {
            let mut file = File::options().append(true).open(path).unwrap();
            file.write_all(&[0x1f; 5000]).unwrap();
        }),
        ("overwritten", |path, half| {
            use std::os::unix::fs::FileExt;
            let file = File::options().write(true).open(path).unwrap();
            file.write_all_at(&vec![0x55; half as usize], half / 2).unwrap();
        }),
        ("gone", |path, _| std::fs::remove_file(path).unwrap()),
    ];
    for (what, change) in changes {
        write(&path, &archive);
        let output = File::create(world.path("output")).unwrap();
        let cmd = world
            .cmd("vpo-pack")
            .args(["--created-at", TIME, "--reuse", "earlier.tar.gz"]);
        let mut running = cmd.input_pipe().stdout(output).start();
        // More than a pipe holds: some blocks are done, some are not.
        let (front, back) = database.split_at(database.len() * 2 / 3);
        running.feed(front);
        change(&path, half);
        running.feed(back);
        running.finish().silent();
        same(what, &read(world.path("output")), &archive);
    }
}

/// The output would be read while it is written, and what it was is gone.
#[test]
fn the_output_itself_is_refused() {
    let world = World::new();
    let database = days(&world).swap_remove(0).1;
    let archive = pack(&world, &database, &[]).stdout;
    write(world.path("x.tar.gz"), &archive);
    std::fs::hard_link(world.path("x.tar.gz"), world.path("hard")).unwrap();
    std::os::unix::fs::symlink("x.tar.gz", world.path("soft")).unwrap();
    for name in ["x.tar.gz", "hard", "soft"] {
        let output = File::options().append(true).open(world.path("x.tar.gz")).unwrap();
        let cmd = world
            .cmd("vpo-pack")
            .args(["--reuse", name])
            .input(&database)
            .stdout(output);
        cmd.run().fails(2, &[&format!("'{name}' are the same file")]);
        assert!(read(world.path("x.tar.gz")) == archive);
    }
}
