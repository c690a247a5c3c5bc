//! Outputs that would be inputs, success that nobody received, FIFOs, and what a program inherits.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::Signal;

use crate::generate::{Journal, Sample};
use crate::support::*;

/// A file opened for writing as it stands, as `1<>file` does.
fn opened(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

/// A shell sets something up and becomes the program.
fn by_shell(world: &World, setup: &str, program: &str) -> Cmd {
    let script = format!("{setup}\nexec \"$0\" \"$@\"");
    world.cmd("sh").args(["-c", &script, executable(program)])
}

/// The library, its side files and names for them, there or not.
fn names_of_the_library(world: &World) -> Vec<std::path::PathBuf> {
    let library = world.library();
    std::fs::hard_link(&library, world.path("hard.db")).unwrap();
    symlink(&library, world.path("link.db")).unwrap();
    symlink("link.db", world.path("link2.db")).unwrap();
    symlink(beside(&library, "-wal"), world.path("link-wal")).unwrap();
    let mut names: Vec<_> = ["", "-wal", "-shm", "-journal"]
        .iter()
        .map(|suffix| beside(&library, suffix))
        .collect();
    names.extend(["hard.db", "link2.db", "link-wal"].map(|name| world.path(name)));
    names
}

/// `--stats` took whatever it was told for its own: the library became 120 bytes of JSON, its log was emptied.
#[test]
fn the_facts_never_replace_what_is_read() {
    let world = World::new();
    world.default_library();
    let mut peer = Peer::open(&world.library());
    peer.insert(3);
    write(world.home().join(".vpo/config.toml"), b"# VPO\n");
    for there in [true, false] {
        let names = match there {
            true => names_of_the_library(&world),
            false => vec![beside(&world.library(), "-wal"), world.path("link-wal")],
        };
        for file in names {
            unchanged(&world.home(), || {
                let out = world.cmd("vpo-snapshot").arg("--stats").arg(&file).run();
                assert_eq!(out.stdout, b"", "{}", file.display());
                out.fails(2, &["--stats", "are the same file"]).hint();
            });
        }
        if there {
            let config = world.cmd("vpo-snapshot").args(["--stats", "~/.vpo/config.toml"]);
            unchanged(&world.home(), || config.run()).fails(2, &["config.toml"]);
            // From now on without side files.
            peer.sql("PRAGMA journal_mode = DELETE");
            assert!(!beside(&world.library(), "-wal").exists());
        }
    }
}

/// The pages were written over the facts, or after them, and that was a success.
#[test]
fn the_facts_are_not_where_the_pages_go() {
    let world = World::new();
    world.default_library();
    for name in ["new.db", "/dev/stdout"] {
        let out = File::create(world.path("new.db")).unwrap();
        let snapshot = world.cmd("vpo-snapshot").args(["--stats", name]).stdout(out);
        snapshot
            .run()
            .fails(2, &["--stats", "and the output are the same file"])
            .hint();
        assert_eq!(read(world.path("new.db")), b"");
    }
}

/// The file of `--stats` was readable for everybody.
#[test]
fn the_facts_are_private() {
    let world = World::new();
    world.default_library();
    symlink("there", world.path("link")).unwrap();
    for (n, (mask, name)) in [(0o000, "a"), (0o777, "b"), (0o022, "link")].into_iter().enumerate() {
        let snapshot = || world.cmd("vpo-snapshot").umask(mask).args(["--stats", name]).run().ok();
        let database = snapshot().stdout;
        let made = world.path(name).canonicalize().unwrap();
        assert_eq!(mode(&made), 0o600, "{name}");
        assert_eq!(made.file_name().unwrap() == "there", name == "link");
        // What was there is replaced, also by less; its rights stay.
        let facts = read(&made);
        write(&made, &[b'x'; 4096]);
        let old = 0o640 + n as u32;
        std::fs::set_permissions(&made, std::os::unix::fs::PermissionsExt::from_mode(old)).unwrap();
        snapshot();
        same("facts", &read(&made), &facts);
        assert_eq!(mode(&made), old);
        let pack = world.cmd("vpo-pack").args(["--stats", name]).input(&database);
        world.verify(&pack.run().ok().stdout).ok();
    }
}

/// Nothing is written into an input, whatever way standard output came to be it. Nor into a library that a command only
/// knows by `--db`: `vpo-library verify >> library.db` wrote its report there, and into its log.
#[test]
fn standard_output_is_never_an_input() {
    let world = World::new();
    world.default_library();
    write(world.path("a.tar.gz"), &world.archive_of(&world.library()));
    std::fs::create_dir(world.backups()).unwrap();
    std::fs::copy(world.path("a.tar.gz"), world.backups().join(NAME)).unwrap();
    std::fs::copy(world.library(), world.path("x.db")).unwrap();
    write(world.path("facts"), b"{}");
    let (library, backup) = (world.library(), world.backups().join(NAME));
    let (archive, facts) = (world.path("a.tar.gz"), world.path("facts"));
    let database = world.path("x.db");
    let cases: [(&str, &[&str], &Path); 22] = [
        ("vpo-snapshot", &[], &library),
        ("vpo-pack", &["--stats", "facts"], &facts),
        ("vpo-verify", &["a.tar.gz"], &archive),
        ("vpo-verify", &["missing.tar.gz", "."], &archive),
        ("vpo-unpack-restore", &["--yes", "a.tar.gz"], &archive),
        ("vpo-unpack-restore", &["--yes", "--json", "a.tar.gz"], &library),
        ("vpo-ls-backups", &[], &backup),
        ("vpo-diff", &["a.tar.gz", "x.db"], &archive),
        ("vpo-diff", &["--json", "a.tar.gz", "x.db"], &database),
        ("vpo-library", &["backup", "-o", "-"], &library),
        ("vpo-library", &["backup"], &library),
        ("vpo-library", &["backup", "--dry-run"], &library),
        ("vpo-library", &["restore", "--yes", "latest"], &backup),
        ("vpo-library", &["restore", "--yes", "latest"], &library),
        ("vpo-library", &["verify"], &backup),
        ("vpo-library", &["verify", "a.tar.gz"], &archive),
        ("vpo-library", &["backups"], &backup),
        ("vpo-library", &["backups"], &library),
        ("vpo-library", &["diff", "a.tar.gz", "x.db"], &library),
        ("vpo-library", &["verify"], &library),
        ("vpo-library", &["prune", "--keep-last", "1"], &library),
        ("vpo-library", &["verify", "-"], &archive),
    ];
    let renamed = world.path("vpo-library-a.tar.gz");
    for (program, args, output) in cases {
        println!("{program} {args:?} > {}", output.display());
        let mut output = output.to_owned();
        if args.contains(&".") {
            // In a directory only what is named like a backup is read.
            std::fs::hard_link(&output, &renamed).unwrap();
            output = renamed.clone();
        }
        let mut cmd = world.cmd(program).args(args).stdout(opened(&output));
        match program {
            "vpo-pack" => cmd = cmd.stdin_file(&world.path("x.db")),
            _ if args.contains(&"-") => cmd = cmd.stdin_file(&archive),
            _ => {}
        }
        let root = world.home().parent().unwrap().to_owned();
        unchanged(&root, || cmd.run()).exits(2);
        let _ = std::fs::remove_file(&renamed);
    }
    let pack = world.cmd("vpo-pack").stdin_file(&world.path("x.db"));
    let pack = pack.stdout(opened(&world.path("x.db")));
    let needles = ["standard output and standard input are the same file"];
    unchanged(&world.path(""), || pack.run()).fails(2, &needles).hint();
    // One device for both is not one file; and a report may lie beside the backups.
    let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
    world
        .cmd("vpo-pack")
        .stdin(null())
        .stdout(null())
        .run()
        .fails(42, &["empty"]);
    let report = File::create(world.backups().join("report.txt")).unwrap();
    world.cmd("vpo-library").arg("verify").stdout(report).run().silent();
}

/// `--save` and `-o` were not compared with what is read.
#[test]
fn a_named_output_is_never_an_input() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    write(world.path("a.tar.gz"), &archive);
    std::fs::hard_link(world.library(), world.path("lib.tar.gz")).unwrap();
    let save = world.cmd("vpo-verify").args(["--save", "a.tar.gz"]);
    let save = save.stdin_file(&world.path("a.tar.gz"));
    unchanged(&world.path(""), || save.run()).fails(2, &["--save 'a.tar.gz' and standard input"]);
    let backup = world.cmd("vpo-library").args(["backup", "-o", "lib.tar.gz"]);
    unchanged(&world.home(), || backup.run()).fails(2, &["--output 'lib.tar.gz' and"]);
}

/// `--log lib.db` and `--log x.tar.gz` appended a line to them; that of a verify or a prune still went into the library.
#[test]
fn the_log_is_never_what_a_run_reads_or_makes() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    write(world.path("a.tar.gz"), &archive);
    std::fs::create_dir(world.backups()).unwrap();
    write(world.backups().join(NAME), &archive);
    let mut cases = Vec::new();
    for file in names_of_the_library(&world) {
        cases.push((&["backup"][..], file.clone()));
        cases.push((&["restore", "--yes", "a.tar.gz"], file.clone()));
        cases.push((&["verify"], file.clone()));
        cases.push((&["prune", "--keep-last", "1"], file));
    }
    cases.extend([
        (&["backup", "-o", "new.tar.gz"][..], world.path("new.tar.gz")),
        (&["restore", "--yes", "a.tar.gz"], world.path("a.tar.gz")),
        (&["restore", "--yes", "latest"], world.backups().join(NAME)),
        (&["restore", "--yes", "-"], world.path("a.tar.gz")),
        (
            &["restore", "--yes", "--db", "new.db", "a.tar.gz"],
            world.path("new.db"),
        ),
        (&["verify", "a.tar.gz"], world.path("a.tar.gz")),
        (&["verify"], world.backups().join(NAME)),
        // What ends before it has found all that it reads.
        (&["restore", "--yes", "missing"], world.backups().join(NAME)),
        (&["backup", "--db=missing.db"], world.path("missing.db-wal")),
        (&["backup"], world.home().join(".vpo/config.toml")),
    ]);
    let root = world.home().parent().unwrap().to_owned();
    for (args, log) in cases {
        println!("{args:?} --log {}", log.display());
        for variable in [false, true] {
            let cmd = world.cmd("vpo-library").args(args).stdin_file(&world.path("a.tar.gz"));
            let cmd = match variable {
                true => cmd.env("VPO_LIBRARY_LOG", &log),
                false => cmd.arg("--log").arg(&log),
            };
            unchanged(&root, || cmd.run()).fails(2, &["the log", "are the same file"]);
        }
    }
    // The line came after the archive, which was no backup any more.
    write(world.path("out.tar.gz"), b"");
    let backup = world
        .cmd("vpo-library")
        .args(["backup", "-o", "-", "--log", "out.tar.gz"]);
    let backup = backup.stdout(opened(&world.path("out.tar.gz")));
    unchanged(&root, || backup.run()).fails(2, &["the log", "are the same file"]);
    // Into a pipe, too.
    let backup = world
        .cmd("vpo-library")
        .args(["backup", "-o", "-", "--log", "/dev/stdout"]);
    let out = unchanged(&root, || backup.run()).fails(2, &["the log '/dev/stdout'", "are the same file"]);
    assert_eq!(out.stdout, b"");
    // A log may lie beside the backups.
    for command in ["backup", "verify"] {
        let cmd = world.cmd("vpo-library").args([command, "--log", "~/.vpo/backups/log"]);
        cmd.run().silent();
    }
    assert_eq!(
        String::from_utf8(read(world.backups().join("log")))
            .unwrap()
            .lines()
            .count(),
        2
    );
}

/// Network file systems and quotas report at close(2) that bytes were lost, and cat(1) says 1. These said 0.
#[test]
fn a_close_that_fails_is_not_a_success() {
    if !strace::available("a close that fails") {
        return;
    }
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    std::fs::create_dir(world.backups()).unwrap();
    write(world.backups().join(NAME), &archive);
    let cases: [(&str, &[&str], &str); 15] = [
        ("vpo-snapshot", &[], "cannot write the output"),
        ("vpo-diff", &["a.tar.gz", "a.tar.gz", "--json"], "cannot write"),
        ("vpo-pack", &[], "cannot write the archive"),
        ("vpo-pack", &["--help"], "cannot write to standard output"),
        ("vpo-verify", &["a.tar.gz"], "cannot write to standard output"),
        ("vpo-verify", &["--json", "a.tar.gz"], "cannot write to standard output"),
        ("vpo-ls-backups", &[], "cannot write to standard output"),
        (
            "vpo-unpack-restore",
            &["--dry-run", "a.tar.gz"],
            "cannot write to standard output",
        ),
        (
            "vpo-unpack-restore",
            &["--db=new.db", "a.tar.gz"],
            "the library was restored, but",
        ),
        ("vpo-library", &["backup", "-o", "-"], "cannot write the archive"),
        ("vpo-library", &["backup"], "cannot write to standard output"),
        (
            "vpo-library",
            &["backup", "--dry-run"],
            "cannot write to standard output",
        ),
        ("vpo-library", &["backups"], "cannot write to standard output"),
        ("vpo-library", &["verify"], "cannot write to standard output"),
        ("vpo-library", &["help", "backup"], "cannot write to standard output"),
    ];
    write(world.path("a.tar.gz"), &archive);
    for (program, args, message) in cases {
        println!("{program} {args:?}");
        let out = File::create(world.path("out")).unwrap();
        let strace = strace::tracer(&world).args(["-f", "-qq", "-o", "/dev/null", "-P"]);
        let strace = strace.arg(world.path("out")).args(["-e", "inject=close:error=EIO"]);
        let cmd = strace.arg(executable(program)).args(args).stdin_file(&world.library());
        let out = cmd.stdout(out).run().exits(40);
        let line = out.stderr.lines().next().unwrap_or_default();
        assert!(
            line.contains(message) && line.contains("Input/output error"),
            "{}",
            out.stderr
        );
    }
    // What else is wrong stays the status: a damaged archive is not less damaged.
    write(world.path("bad.tar.gz"), b"bad");
    let out = File::create(world.path("out")).unwrap();
    let strace = strace::tracer(&world).args(["-f", "-qq", "-o", "/dev/null", "-P"]);
    let strace = strace.arg(world.path("out")).args(["-e", "inject=close:error=EIO"]);
    let cmd = strace.arg(executable("vpo-verify")).arg("bad.tar.gz").stdout(out);
    cmd.run().exits(46);
}

/// Rust's runtime opens /dev/null where a standard stream is closed: archives went there, with status 0.
#[test]
fn closed_streams() {
    let world = World::new();
    world.default_library();
    write(world.path("a.tar.gz"), &world.archive_of(&world.library()));
    std::fs::create_dir(world.backups()).unwrap();
    write(world.backups().join(NAME), &read(world.path("a.tar.gz")));
    let input = world.library();
    let cases: [(&str, &str, &[&str]); 18] = [
        (">&-", "vpo-snapshot", &[]),
        (">&-", "vpo-pack", &[]),
        (">&-", "vpo-verify", &["a.tar.gz"]),
        (">&-", "vpo-verify", &["--json", "a.tar.gz"]),
        (">&-", "vpo-ls-backups", &[]),
        (">&-", "vpo-diff", &["--json", "a.tar.gz", "a.tar.gz"]),
        (">&-", "vpo-unpack-restore", &["--dry-run", "a.tar.gz"]),
        (">&-", "vpo-library", &["backup", "-o", "-"]),
        (">&-", "vpo-library", &["backup", "-q", "-o", "-"]),
        (">&-", "vpo-library", &["backup"]),
        (">&-", "vpo-library", &["backups"]),
        (">&-", "vpo-library", &["verify", "-q", "--json"]),
        (">&-", "vpo-library", &["--version"]),
        ("<&-", "vpo-pack", &[]),
        ("<&-", "vpo-verify", &[]),
        ("<&-", "vpo-unpack-restore", &["--yes"]),
        ("<&-", "vpo-library", &["restore", "--yes", "-"]),
        ("<&-", "vpo-library", &["verify", "-"]),
    ];
    for (closed, program, args) in cases {
        println!("{program} {args:?} {closed}");
        let cmd = by_shell(&world, &format!("exec {closed}"), program).args(args);
        let mut out = unchanged(&world.home(), || cmd.stdin_file(&input).run());
        out.name = program.into();
        let stream = if closed == ">&-" { "output" } else { "input" };
        out.fails(40, &[&format!("standard {stream} is closed")]);
    }
    // Where nothing is printed or read, nothing is missing; and /dev/null is an output, however it was opened.
    for (program, args) in [
        ("vpo-library", &["backup", "-q"][..]),
        ("vpo-verify", &["-q", "a.tar.gz"]),
        ("vpo-unpack-restore", &["-q", "--db=new.db", "a.tar.gz"]),
    ] {
        let cmd = by_shell(&world, "exec >&- <&- 2>&-", program).args(args);
        cmd.run().silent();
    }
    for mode in [">", "1<>"] {
        for (program, args) in [
            ("vpo-snapshot", &[][..]),
            ("vpo-pack", &[]),
            ("vpo-library", &["backup", "-o", "-"]),
            ("vpo-library", &["backups"]),
        ] {
            let cmd = by_shell(&world, &format!("exec {mode} /dev/null"), program).args(args);
            cmd.stdin_file(&input).run().silent();
        }
    }
    // Without stderr it fails as it would; no other file gets the message.
    let cmd = by_shell(&world, "exec 2>&-", "vpo-pack").args(["--stats", "a.tar.gz"]);
    unchanged(&world.path(""), || cmd.stdin_file(&input).run()).exits(42);
    world.clean();
}

/// A snapshot that waits for somebody to read the facts was deaf to signals; and in rollback mode it kept writers off.
#[test]
fn a_fifo_without_a_reader() {
    for journal in [Journal::Wal, Journal::Delete] {
        let world = World::new();
        world.make_library(&Sample { journal, ..files(100) });
        world.tool("mkfifo").arg("fifo").run().ok();
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            unchanged(&world.home(), || {
                let snapshot = world.cmd("vpo-snapshot").args(["-v", "--stats", "fifo"]);
                let running = snapshot.start();
                waits_for_a_reader(&running, &world);
                if matches!(journal, Journal::Delete) {
                    let mut peer = Peer::open(&world.library());
                    wait_until("the library is free", || peer.try_sql("BEGIN EXCLUSIVE").is_ok());
                }
                running.signal(signal);
                running.finish().ended_by(signal.as_raw());
            });
            world.clean();
        }
        // The same of the one that waits for somebody to write them.
        let pack = world.cmd("vpo-pack").args(["--stats", "fifo"]);
        let running = pack.stdin_file(&world.library()).start();
        wait_until("the FIFO is open", || {
            opens(&running, |path| path == world.path("fifo"))
        });
        running.signal(Signal::TERM);
        running.finish().ended_by(15);
        // It has not given up in between.
        let mut running = world.cmd("vpo-snapshot").args(["--stats", "fifo"]).start();
        waits_for_a_reader(&running, &world);
        let facts = std::fs::read_to_string(world.path("fifo")).unwrap();
        assert!(facts.contains("\"file_count\":100"), "{facts}");
        let stdout = running.take(16);
        assert_eq!(stdout, b"SQLite format 3\0");
        running.finish().ok();
        // Who was to read both is gone.
        let snapshot = world.cmd("vpo-snapshot").args(["--stats", "fifo"]);
        snapshot.closed_stdout().run().ended_silently();
    }
}

/// A run that had done its work waited for ever for somebody to read its line, and was deaf to signals.
#[test]
fn a_log_that_nobody_reads() {
    let world = World::new();
    world.default_library();
    world.tool("mkfifo").arg("fifo").run().ok();
    let backup = || world.cmd("vpo-library").args(["backup", "-q", "--log", "fifo"]);
    let out = backup().run().ok();
    assert!(
        out.stderr.contains("warning: cannot write the log 'fifo'"),
        "{}",
        out.stderr
    );
    // With a reader it is as good as a file.
    let mut reader = File::options().read(true).write(true).open(world.path("fifo")).unwrap();
    backup().run().silent();
    let mut line = [0; 9];
    reader.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"{\"time\":\"");
}

/// The two waits for each other end: one opens the FIFO before the first page, the other one read that before it.
#[test]
fn the_facts_go_through_a_fifo() {
    for journal in [Journal::Wal, Journal::Delete] {
        let world = World::new();
        world.make_library(&Sample { journal, ..files(300) });
        world.tool("mkfifo").arg("fifo").run().ok();
        let snapshot = world.cmd("vpo-snapshot").args(["--stats", "fifo"]);
        let pack = world.cmd("vpo-pack").args(["--stats", "fifo"]);
        let archive = pipeline([snapshot, pack]).ok();
        assert_eq!(unpack(&archive).1["file_count"], 300);
        world.verify(&archive).ok();
        // The facts come later than the database.
        let mut pack = world.cmd("vpo-pack").args(["--stats", "fifo"]).input_pipe().start();
        let database = read(world.library());
        pack.feed(&database[..4096]);
        let facts = world.cmd("vpo-snapshot").args(["--stats", "facts"]).run().ok();
        same("database", &facts.stdout, &database);
        write(world.path("fifo"), &read(world.path("facts")));
        pack.feed(&database[4096..]);
        world.verify(&pack.finish().ok().stdout).ok();
        // One of the two can't even begin.
        let snapshot = world.cmd("vpo-snapshot").args(["--stats", "fifo", "missing.db"]);
        let outputs = pipeline([snapshot, world.cmd("vpo-pack").args(["--stats", "fifo"])]).0;
        let [snapshot, pack] = outputs.try_into().ok().unwrap();
        snapshot.fails(20, &["missing.db"]);
        pack.fails(42, &["empty"]);
        let snapshot = world.cmd("vpo-snapshot").args(["--stats", "fifo"]);
        let outputs = pipeline([snapshot, world.cmd("vpo-pack").args(["--stats", "fifo", "-l", "77"])]).0;
        let [snapshot, pack] = outputs.try_into().ok().unwrap();
        snapshot.ended_silently();
        pack.fails(2, &["--level"]);
    }
}

/// It has opened the library, or a copy of it, and does not go on.
fn waits_for_a_reader(running: &Running, world: &World) {
    let is_database = |path: &Path| path == world.library() || path.parent() == Some(&world.scratch());
    wait_until("the library is open", || opens(running, is_database));
}

/// Whether a program has such a file open.
fn opens(running: &Running, is: impl Fn(&Path) -> bool) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{}/fd", running.id()));
    let paths = fds
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|fd| fd.path().read_link().ok());
    paths.into_iter().any(|path| is(&path))
}

/// The wrapper opened and closed a FIFO to have a look: whoever wrote into it died, and the restore hung.
#[test]
fn a_restore_from_a_fifo() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    write(world.path("a.tar.gz"), &archive);
    world.tool("mkfifo").arg("fifo").run().ok();
    for (command, db) in [("restore", "--db=new.db"), ("verify", "--db=x")] {
        // Its first byte is wanted before the program starts; it dies if the first reader goes away.
        let writer = world.tool("sh").args(["-c", "cat a.tar.gz > fifo"]).start();
        world.cmd("vpo-library").args([command, db, "fifo"]).run().ok();
        writer.finish().silent();
    }
    same_content("restored", &dump(&world.path("new.db")), &dump(&world.library()));
}

/// nohup(1) and `trap '' INT` mean it: what was ignored stays ignored, by the wrapper's programs too.
#[test]
fn ignored_signals_stay_ignored() {
    let world = World::new();
    let facts = world.make_library(&files(1000));
    let database = read(world.library());
    // One that is unpacked as it comes: of blocks, some are read ahead.
    let archive = plain_archive(&database, &vpo_metadata(&facts));
    let cases: [(&str, &[&str], &[u8], &Path); 3] = [
        ("vpo-pack", &[], &database, &world.scratch()),
        ("vpo-verify", &[], &archive, &world.scratch()),
        ("vpo-library", &["verify", "-"], &archive, &world.scratch()),
    ];
    for (program, args, input, place) in cases {
        for (name, signal) in [("HUP", Signal::HUP), ("INT", Signal::INT), ("TERM", Signal::TERM)] {
            println!("{program} {args:?} {name}");
            let cmd = by_shell(&world, &format!("trap '' {name}"), program).args(args);
            let mut running = cmd.input_pipe().start();
            running.feed(&input[..input.len() / 2]);
            let begun = || names(place).iter().any(|name| name.starts_with(".vpo-"));
            wait_until("a temporary file", begun);
            for process in processes_of(&running) {
                rustix::process::kill_process(process, signal).unwrap();
            }
            running.feed(&input[input.len() / 2..]);
            running.finish().ok();
            world.clean();
        }
    }
    // The others are heeded.
    let cmd = by_shell(&world, "trap '' HUP", "vpo-pack");
    let mut running = cmd.input_pipe().start();
    running.feed(&database[..4096]);
    wait_until("a temporary file", || !names(&world.scratch()).is_empty());
    running.signal(Signal::HUP);
    running.signal(Signal::TERM);
    wait_until("the end", || !running.is_running());
    running.finish().ended_by(15);
    world.clean();
}

/// A program and its children.
fn processes_of(running: &Running) -> Vec<rustix::process::Pid> {
    let id = running.id();
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let ids = children.split_whitespace().map(|id| id.parse().unwrap());
    ids.chain([id as i32])
        .filter_map(rustix::process::Pid::from_raw)
        .collect()
}
