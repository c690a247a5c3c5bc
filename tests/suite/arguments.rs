//! Arguments and variables at their edges: what was probably meant, where an option belongs, homes.

use crate::support::*;

#[test]
fn what_was_probably_meant() {
    let world = World::new();
    world.default_library();
    for (program, args, wrong, hint) in [
        (
            "vpo-library",
            &["bakcup"][..],
            "command 'bakcup'",
            "did you mean 'backup'?",
        ),
        (
            "vpo-library",
            &["restor"],
            "command 'restor'",
            "did you mean 'restore'?",
        ),
        (
            "vpo-library",
            &["help", "verfiy"],
            "command 'verfiy'",
            "did you mean 'verify'?",
        ),
        ("vpo-library", &["list"], "command 'list'", "help"),
        (
            "vpo-library",
            &["backup", "--ouptut", "x"],
            "'--ouptut'",
            "did you mean '--output'?",
        ),
        (
            "vpo-library",
            &["restore", "--no-safety"],
            "'--no-safety'",
            "did you mean '--no-safety-backup'?",
        ),
        ("vpo-snapshot", &["--stat", "x"], "'--stat'", "did you mean '--stats'?"),
        ("vpo-pack", &["--lvel=3"], "'--lvel'", "did you mean '--level'?"),
        (
            "vpo-verify",
            &["--no-databse-check"],
            "-databse-",
            "did you mean '--no-database-check'?",
        ),
        (
            "vpo-unpack-restore",
            &["--dryrun"],
            "'--dryrun'",
            "did you mean '--dry-run'?",
        ),
        (
            "vpo-ls-backups",
            &["--maxage", "3d"],
            "'--maxage'",
            "did you mean '--max-age'?",
        ),
        ("vpo-diff", &["--nul"], "'--nul'", "did you mean '--null'?"),
        ("vpo-ls-backups", &["--frobnicate"], "'--frob", "--help"),
        // The help of the command that was typed, wherever the options are and whoever finds the fault.
        ("vpo-library", &["backup", "--frobnicate"], "'--frob", "backup --help"),
        (
            "vpo-library",
            &["--timeout", "1", "backup", "x"],
            "'x'",
            "backup --help",
        ),
        (
            "vpo-library",
            &["verify", "--newest", "0"],
            "at least 1 is",
            "verify --help",
        ),
        ("vpo-library", &["backup", "-o", "x.tar"], "'x.tar'", "backup --help"),
        ("vpo-library", &["diff", "-", "-"], "only one of the two", "diff --help"),
        ("vpo-library", &["--frobnicate", "backup"], "'--frob", "backup --help"),
        ("vpo-library", &["--frobnicate"], "'--frob", "--help"),
        ("vpo-library", &["help", "backup", "x"], "'x'", "--help"),
    ] {
        let out = world.cmd(program).args(args).input(b"").run();
        let out = out.fails(2, &[wrong]);
        match hint.starts_with("did") {
            true => assert_eq!(out.hint(), hint, "{program} {args:?}"),
            // A command, for whatever the program was called by.
            false => assert!(out.hint().ends_with(&format!("{program} {hint}")), "{}", out.hint()),
        }
    }
}

#[test]
fn options_of_a_command() {
    let world = World::new();
    world.default_library();
    for (args, message, hint) in [
        (
            &["-o", "x.tar.gz", "backup"][..],
            "'-o' is an option of 'backup' and goes after the command",
            "vpo-library help backup",
        ),
        (
            &["--max-age=3d", "backups"],
            "'--max-age' is an option of 'backups' and goes after the command",
            "vpo-library help backups",
        ),
        (
            &["--dry-run", "backup"],
            "'--dry-run' is an option of 'backup', 'restore' and 'prune' and goes after the command",
            "vpo-library help",
        ),
        (
            &["restore", "--verify", "latest"],
            "'--verify' is an option of 'backup', not of 'restore'",
            "vpo-library help restore",
        ),
    ] {
        let out = unchanged(&world.home(), || world.cmd("vpo-library").args(args).run());
        let out = out.fails(2, &[message]);
        assert!(out.hint().ends_with(hint), "{}", out.hint());
    }
}

/// The hint named an option that vpo-snapshot does not have.
#[test]
fn how_to_name_the_library() {
    let world = World::new();
    for (program, args) in [
        ("vpo-snapshot", &["gone.db"][..]),
        ("vpo-library", &["backup", "--db", "gone.db"]),
    ] {
        let out = world.cmd(program).args(args).run();
        let out = out.fails(20, &["there is no library at 'gone.db'"]);
        let hint = "name it, or set VPO_DATABASE_PATH, or database_path in VPO's config.toml";
        assert_eq!(out.hint(), hint, "{program}");
    }
}

/// What asks for JSON was guessed from the arguments: the value of an option, too.
#[test]
fn json_is_asked_for_by_the_option_alone() {
    let world = World::new();
    world.default_library();
    for (program, args, message, asked) in [
        ("vpo-library", &["backup", "-o", "--json"][..], "'--json'", false),
        (
            "vpo-library",
            &["backup", "-o", "--format=json"],
            "'--format=json'",
            false,
        ),
        ("vpo-library", &["--db", "--json", "backup"], "'--json'", false),
        ("vpo-library", &["--db=--json", "backup"], "'--json'", false),
        (
            "vpo-library",
            &["backups", "-p", "--json", "--nonsense"],
            "'--nonsense'",
            false,
        ),
        ("vpo-library", &["restore", "--", "--json"], "'--json'", false),
        ("vpo-library", &["backup", "--nonsense", "--json"], "'--nonsense'", true),
        ("vpo-library", &["backup", "-o", "x", "--json"], "'x'", true),
        ("vpo-library", &["nonsense", "--json"], "'nonsense'", true),
        (
            "vpo-library",
            &["--json", "--format", "text", "nonsense"],
            "'nonsense'",
            false,
        ),
        ("vpo-library", &["--format", "json", "nonsense"], "'nonsense'", true),
        ("vpo-verify", &["--save", "--json"], "'--json'", false),
        ("vpo-verify", &["--save", "x", "--json"], "'x'", true),
        ("vpo-unpack-restore", &["--timeout", "--json"], "'--json'", false),
        ("vpo-unpack-restore", &["--timeout", "x", "--json"], "'x'", true),
        ("vpo-ls-backups", &["--max-age", "--json"], "'--json'", false),
        // These have no reports.
        ("vpo-pack", &["--json"], "'--json'", false),
        ("vpo-snapshot", &["--json"], "'--json'", false),
    ] {
        let out = world.cmd(program).args(args).input(b"").run();
        let code = out.status.code().unwrap();
        assert!(code != 0, "{program} {args:?}");
        let out = out.fails(code, &[message]);
        match asked {
            true => out.json_error(code),
            false => assert_eq!(out.text(), "", "{program} {args:?}"),
        }
    }
}

/// A shell leaves the `~` of `--option=~/x` alone.
#[test]
fn homes_in_options() {
    let world = World::new();
    world.default_library();
    let at_home = |name: &str| world.home().join(name);
    let run = |program: &str, args: &[&str]| world.cmd(program).args(args).run().ok();
    run(
        "vpo-library",
        &["backup", "--db=~/.vpo/library.db", "--backup-dir=~/b", "--log=~/log"],
    );
    run("vpo-library", &["backup", "--output=~/x.tar.gz"]);
    run("vpo-library", &["backups", "--path=~/b"]);
    run("vpo-ls-backups", &["--path=~/b"]);
    run("vpo-snapshot", &["--stats=~/facts"]);
    let archive = read(at_home("x.tar.gz"));
    world
        .cmd("vpo-verify")
        .arg("--save=~/y.tar.gz")
        .input(&archive)
        .run()
        .ok();
    let restore = world
        .cmd("vpo-unpack-restore")
        .args(["--yes", "--db=~/.vpo/library.db", "--safety-dir=~/safe"]);
    restore.input(&archive).run().ok();
    let pack = world
        .cmd("vpo-pack")
        .arg("--stats=~/facts")
        .stdin_file(&world.library());
    pack.run().ok();
    for made in ["b", "log", "x.tar.gz", "facts", "y.tar.gz", "safe"] {
        assert!(at_home(made).exists(), "{made}");
    }
    assert_eq!(names(&world.path("")), [""; 0]);
    // Nobody else's home, and not in the middle.
    run("vpo-library", &["backup", "-o", "~other/x.tar.gz"]);
    run("vpo-library", &["backup", "-o", "a/~/x.tar.gz"]);
    assert_eq!(names(&world.path("")), ["a", "~other"]);
}

#[test]
fn a_directory_for_the_backup_is_created() {
    let world = World::new();
    world.default_library();
    let dry = world
        .cmd("vpo-library")
        .args(["backup", "--dry-run", "-o", "new/deep/"]);
    let out = unchanged(&world.path(""), || dry.run()).silent();
    assert!(out.text().contains("new/deep/vpo-library-"), "{}", out.text());
    for n in 1..=2 {
        world
            .cmd("vpo-library")
            .args(["backup", "-o", "new/deep/"])
            .run()
            .silent();
        assert_eq!(names(&world.path("new/deep")).len(), n);
    }
    assert_eq!(mode(&world.path("new")), 0o700);
    assert_eq!(mode(&world.path("new/deep")), 0o700);
    // Also where the name looks like a file's.
    world
        .cmd("vpo-library")
        .args(["backup", "-o", "x.tar.gz/"])
        .run()
        .silent();
    assert_eq!(names(&world.path("x.tar.gz")).len(), 1);
    // Without the slash a directory has to be there: it may be a slip.
    let out = world.cmd("vpo-library").args(["backup", "-o", "other"]).run();
    out.fails(2, &["'other'"]);
    write(world.path("file"), b"");
    let out = world.cmd("vpo-library").args(["backup", "-o", "file/"]).run();
    out.fails(40, &["file/"]);
}

/// A file that somebody names has to be one; a device without an end was read until the memory was full.
#[test]
fn what_is_not_a_configuration() {
    let world = World::new();
    world.default_library();
    write(world.path("large.toml"), &vec![b'#'; (1 << 20) + 1]);
    for (config, message) in [
        ("/dev/zero", "larger than 1 MiB"),
        ("large.toml", "larger than 1 MiB"),
        (".", "directory"),
        ("missing.toml", "'missing.toml' does not exist"),
        ("/dev/null/x", "cannot read"),
    ] {
        for (program, args) in [("vpo-snapshot", &[][..]), ("vpo-library", &["backup"])] {
            let cmd = world.cmd(program).args(args).env("VPO_CONFIG_PATH", config);
            let code = if config.ends_with('x') { 40 } else { 2 };
            cmd.run().fails(code, &[message]);
        }
    }
    // Where nothing depends on it, it is not looked at; and the default need not exist.
    let named = world.cmd("vpo-snapshot").arg(world.library());
    named.env("VPO_CONFIG_PATH", "missing.toml").run().silent();
    world.cmd("vpo-snapshot").run().silent();
    // What bash makes of <(...) is a FIFO.
    let script = "VPO_CONFIG_PATH=<(echo 'database_path = \"other.db\"') exec \"$0\"";
    make(&files(7), &world.path("other.db"));
    if has_tool("bash", "a configuration from a process") {
        let out = world
            .cmd("bash")
            .args(["-c", script, executable("vpo-snapshot")])
            .run()
            .silent();
        same("database", &out.stdout, &read(world.path("other.db")));
    }
}

/// Two names for one thing.
#[test]
fn the_library_is_named_once() {
    let world = World::new();
    world.default_library();
    let out = world.cmd("vpo-snapshot").args(["--db", "x.db", "y.db"]).run();
    out.fails(2, &["--db"]);
    for (args, wrong) in [(["a.db", "b.db"], "'b.db'"), (["--db=a.db", "a.db"], "--db")] {
        let out = world.cmd("vpo-snapshot").args(args).run();
        assert_eq!(out.fails(2, &[wrong]).stdout, b"");
    }
}

/// Facts with such figures were packed, and what came of them could not be verified.
#[test]
fn facts_out_of_range() {
    let world = World::new();
    world.default_library();
    world.cmd("vpo-snapshot").args(["--stats", "facts"]).run().ok();
    let facts: serde_json::Value = serde_json::from_slice(&read(world.path("facts"))).unwrap();
    let pack = || {
        world
            .cmd("vpo-pack")
            .args(["--stats", "facts"])
            .stdin_file(&world.library())
    };
    for (key, value, message) in [
        ("schema_version", 0_u64, "'schema_version' is 0"),
        ("schema_version", 1 << 63, "'schema_version' is greater than 2^63-1"),
        ("file_count", 1 << 63, "'file_count' is greater"),
        (
            "total_library_size_bytes",
            u64::MAX,
            "'total_library_size_bytes' is greater",
        ),
        ("database_size_bytes", 0, "another database"),
        ("page_size", 0, "another database"),
    ] {
        let mut other = facts.clone();
        other[key] = value.into();
        write(world.path("facts"), other.to_string().as_bytes());
        let out = pack().run().fails(42, &[message]);
        assert_eq!(out.stdout, b"", "{key}");
    }
    let mut most = facts.clone();
    for key in ["schema_version", "file_count", "total_library_size_bytes"] {
        most[key] = i64::MAX.into();
    }
    write(world.path("facts"), most.to_string().as_bytes());
    let archive = pack().run().ok().stdout;
    let verify = world.cmd("vpo-verify").arg("--no-database-check");
    verify.input(&archive).run().silent();
}

/// The standard library puts "(os error 28)" behind what the system says.
#[test]
fn errors_have_no_numbers() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    write(world.path("a.tar.gz"), &archive);
    let mut said = Vec::new();
    for (program, args) in [
        ("vpo-snapshot", &["--stats", "missing/x"][..]),
        ("vpo-pack", &["--stats", "missing"]),
        ("vpo-verify", &["a.tar.gz/x"]),
        ("vpo-verify", &["--json", "a.tar.gz/x"]),
        ("vpo-unpack-restore", &["--yes", "--db", "a.tar.gz/x", "a.tar.gz"]),
        ("vpo-ls-backups", &["a.tar.gz"]),
        ("vpo-library", &["backup", "-o", "a.tar.gz/x.tar.gz"]),
        ("vpo-library", &["backup", "-q", "--log", "a.tar.gz/log"]),
    ] {
        let out = world.cmd(program).args(args).stdin_file(&world.library()).run();
        said.push(format!("{}{}", out.stderr, out.text()));
    }
    let scratch = world.cmd("vpo-verify").env("TMPDIR", "missing").input(&archive).run();
    said.push(format!("{}{}", scratch.stderr, scratch.text()));
    if let Some(full) = full_device("a full device") {
        said.push(
            world
                .cmd("vpo-snapshot")
                .stdout(full)
                .run()
                .fails(44, &["No space left"])
                .stderr,
        );
    }
    for text in said {
        assert!(!text.is_empty() && !text.contains("os error"), "{text}");
    }
}

/// Who is told that there is no room must be told where, and how to have it elsewhere.
#[test]
fn no_room_for_temporary_files() {
    with_mounts("a TMPDIR that is full", || {
        let world = World::new();
        let sample = crate::generate::Sample {
            journal: crate::generate::Journal::Delete,
            ..files(1000)
        };
        world.make_library(&sample);
        let archive = world.archive_of(&world.library());
        let small = world.path("small");
        std::fs::create_dir(&small).unwrap();
        make_small(&small, 64);
        let full = small.display().to_string();
        for (program, input) in [
            ("vpo-pack", read(world.library())),
            ("vpo-verify", archive),
            ("vpo-snapshot", vec![]),
        ] {
            let out = world.cmd(program).env("TMPDIR", &small).input(&input).run().exits(44);
            let said = format!("{}{}", out.stderr, String::from_utf8_lossy(&out.stdout));
            assert!(said.contains(&full), "{program}: {said}");
            let hint = out.hint();
            assert!(hint.contains("set TMPDIR") && hint.contains(&full), "{program}: {hint}");
        }
        // What is full elsewhere has nothing to do with it.
        let save = world.cmd("vpo-verify").args(["--save", "small"]);
        let out = save.input(&world.archive_of(&world.library())).run().exits(44);
        assert!(!out.stderr.contains("TMPDIR"), "{}", out.stderr);
    });
}

/// On a machine without /tmp, "No such file or directory" alone did not tell that TMPDIR names another one.
#[test]
fn no_directory_for_temporary_files() {
    let world = World::new();
    world.default_library();
    write(world.path("a.tar.gz"), &world.archive_of(&world.library()));
    let missing = world.path("missing").display().to_string();
    for (program, args) in [
        ("vpo-pack", &[][..]),
        ("vpo-verify", &["a.tar.gz"]),
        ("vpo-verify", &["-q", "a.tar.gz"]),
        ("vpo-diff", &["a.tar.gz", "a.tar.gz"]),
    ] {
        let cmd = world.cmd(program).args(args).env("TMPDIR", &missing);
        let out = cmd.input(&read(world.library())).run().exits(40);
        let hint = format!("set TMPDIR to a directory that exists; TMPDIR is '{missing}'");
        assert_eq!(out.hint(), hint, "{program}");
    }
    // What is missing elsewhere has nothing to do with it.
    let save = world.cmd("vpo-verify").args(["--save", "nowhere/x.tar.gz"]);
    let out = save.input(&read(world.path("a.tar.gz"))).run().exits(20);
    assert!(!out.stderr.contains("TMPDIR"), "{}", out.stderr);
}

/// Ctrl-D left the prompt of the shell behind the question.
#[test]
fn ctrl_d_ends_the_line_of_a_question() {
    let world = World::new();
    world.default_library();
    write(world.path("a.tar.gz"), &world.archive_of(&world.library()));
    for (typed, answered) in [("\x04", "[y/N] \r\n"), ("n\n", "[y/N] n\r\n")] {
        let cmd = world.cmd("vpo-unpack-restore").arg("a.tar.gz");
        let (cmd, mut terminal) = cmd.terminal(&[Stream::Err]);
        let running = cmd.start();
        let mut shown = terminal.wait_for("[y/N] ");
        terminal.type_in(typed);
        let rest = std::thread::spawn(|| terminal.rest());
        running.finish().exits(1);
        shown.push_str(&rest.join().unwrap());
        assert!(shown.contains(&format!("{answered}vpo-unpack-restore: ")), "{shown:?}");
    }
}
