//! What all seven programs share.

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::generate::{Journal, Sample};
use crate::support::*;

/// The long options that the contract gives each program, beyond help and version.
const OPTIONS: [(&str, &str); 7] = [
    ("vpo-snapshot", "no-check stats timeout progress quiet verbose"),
    (
        "vpo-pack",
        "level threads stats reuse source created-at vpo-version quiet verbose",
    ),
    ("vpo-verify", "json no-database-check save quiet verbose progress"),
    (
        "vpo-unpack-restore",
        "db yes dry-run json safety-dir current-schema timeout quiet verbose progress",
    ),
    ("vpo-ls-backups", "json names null max-age path quiet"),
    ("vpo-diff", "json stat null quiet"),
    (
        "vpo-library",
        "output dry-run json verify no-check no-reuse level yes no-safety-backup current-schema path max-age db backup-dir \
         quiet verbose timeout log format stat",
    ),
];

/// The variables of the contract.
const VARIABLES: [&str; 6] = [
    "VPO_DATABASE_PATH",
    "VPO_CONFIG_PATH",
    "VPO_BACKUP_DIR",
    "VPO_DATA_DIR",
    "VPO_SCHEMA_VERSION",
    "VPO_LIBRARY_LOG",
];

/// The long options in a text.
fn options_in(text: &str) -> BTreeSet<String> {
    text.split("--")
        .skip(1)
        .map(|rest| {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .unwrap_or(rest.len());
            rest[..end].to_owned()
        })
        .filter(|option| option.len() > 1)
        .collect()
}

#[test]
fn help_fits_the_terminal_and_lists_every_option() {
    let world = World::new();
    for (program, options) in OPTIONS {
        let help = world.cmd(program).arg("--help").run().silent();
        let text = help.text();
        assert!(
            text.starts_with("usage: ") && text.contains(program),
            "{program}: {text}"
        );
        assert!(text.contains("\nexamples:\n"), "{program} has no examples");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{program}: longer than 80 columns: {line}");
        }
        let listed = options_in(text);
        for option in options.split_whitespace().chain(["help", "version"]) {
            let there = listed.contains(option);
            assert!(there, "{program} --help does not list --{option}");
        }
        assert_eq!(world.cmd(program).arg("-h").run().silent().stdout, help.stdout);
    }
}

#[test]
fn version() {
    let world = World::new();
    for program in PROGRAMS {
        let version = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
        for option in ["--version", "-V"] {
            assert_eq!(world.cmd(program).arg(option).run().silent().text(), version);
        }
    }
}

#[test]
fn unknown_options_and_missing_values() {
    let world = World::new();
    world.default_library();
    for (program, options) in OPTIONS {
        for (option, message) in [
            ("--no-such-option", "'--no-such-option'"),
            ("-Z", "'-Z'"),
            ("--quiet=yes", "\"yes\""),
        ] {
            let out = world.cmd(program).arg(option).input(b"").run().fails(2, &[message]);
            out.hint();
            assert_eq!(out.stdout, b"", "{program} {option}");
        }
        let with_value = [
            "stats",
            "source",
            "reuse",
            "timeout",
            "level",
            "threads",
            "created-at",
            "vpo-version",
            "save",
            "db",
            "safety-dir",
            "current-schema",
            "max-age",
            "path",
            "backup-dir",
            "log",
            "format",
            "output",
        ];
        for option in options.split_whitespace().filter(|option| with_value.contains(option)) {
            let mut cmd = world.cmd(program);
            cmd = match option {
                "output" | "level" if program == "vpo-library" => cmd.arg("backup"),
                "max-age" | "path" if program == "vpo-library" => cmd.arg("backups"),
                "current-schema" if program == "vpo-library" => cmd.arg("restore"),
                _ => cmd,
            };
            cmd.arg(format!("--{option}")).input(b"").run().fails(2, &[option]);
        }
    }
}

#[test]
fn values_that_make_no_sense() {
    let world = World::new();
    world.default_library();
    let cases: [(&str, &[&str], &str); 20] = [
        ("vpo-snapshot", &["--timeout", "soon"], "--timeout 'soon'"),
        ("vpo-snapshot", &["--timeout", "-1"], "--timeout '-1'"),
        ("vpo-snapshot", &["--timeout", "nan"], "--timeout 'nan'"),
        ("vpo-pack", &["--level", "13"], "--level '13'"),
        ("vpo-pack", &["-l", "-1"], "--level '-1'"),
        ("vpo-pack", &["--threads", "0"], "--threads '0'"),
        ("vpo-pack", &["--created-at", "yesterday"], "'yesterday'"),
        (
            "vpo-pack",
            &["--created-at", "2026-02-05T14:30:22"],
            "'2026-02-05T14:30:22'",
        ),
        ("vpo-verify", &["--save", "x.zip"], "'x.zip'"),
        ("vpo-verify", &["--save", "x.tar.gz", "y.tar.gz"], "--save"),
        (
            "vpo-unpack-restore",
            &["--current-schema", "new"],
            "--current-schema 'new'",
        ),
        ("vpo-unpack-restore", &["--current-schema", "0"], "--current-schema '0'"),
        ("vpo-unpack-restore", &["--timeout", ""], "--timeout ''"),
        ("vpo-ls-backups", &["--max-age", "26"], "--max-age '26'"),
        ("vpo-ls-backups", &["--max-age", "h"], "--max-age 'h'"),
        ("vpo-ls-backups", &["--max-age", "-1h"], "--max-age '-1h'"),
        ("vpo-library", &["backup", "-o", "x.zip"], "'x.zip'"),
        ("vpo-library", &["backup", "--level", "x"], "--level 'x'"),
        ("vpo-library", &["backups", "--max-age", "1y"], "--max-age '1y'"),
        ("vpo-library", &["backups", "--format", "xml"], "--format 'xml'"),
    ];
    for (program, args, message) in cases {
        let out = unchanged(&world.home(), || world.cmd(program).args(args).input(b"").run());
        let out = out.fails(2, &[message]);
        assert_eq!(out.stdout, b"", "{program} {args:?}");
    }
}

#[test]
fn extra_operands() {
    let world = World::new();
    world.default_library();
    let cases: [(&str, &[&str], &str); 14] = [
        ("vpo-snapshot", &["a.db", "b.db"], "'b.db'"),
        ("vpo-pack", &["a.db"], "'a.db'"),
        ("vpo-verify", &["--save", "a.tar.gz", "b.tar.gz"], "--save"),
        ("vpo-unpack-restore", &["a.tar.gz", "b.tar.gz"], "'b.tar.gz'"),
        ("vpo-ls-backups", &["a", "b"], "'b'"),
        ("vpo-ls-backups", &["--path", "a", "b"], "'b'"),
        ("vpo-diff", &[], "two"),
        ("vpo-diff", &["a"], "two"),
        ("vpo-diff", &["a", "b", "c"], "'c'"),
        ("vpo-library", &["diff", "a", "b", "c"], "'c'"),
        ("vpo-library", &["backup", "x"], "'x'"),
        ("vpo-library", &["restore", "a", "b"], "'b'"),
        ("vpo-library", &["backups", "x"], "'x'"),
        ("vpo-library", &["frobnicate"], "'frobnicate'"),
    ];
    for (program, args, message) in cases {
        let out = world.cmd(program).args(args).input(b"").run().fails(2, &[message]);
        assert_eq!(out.stdout, b"", "{program} {args:?}");
    }
    world.cmd("vpo-library").run().fails(2, &["no command"]).hint();
}

#[test]
fn options_in_all_spellings() {
    let world = World::new();
    let facts = world.default_library();
    let library = read(world.library());
    let expected = world
        .cmd("vpo-pack")
        .args(["--level", "1", "--created-at", TIME, "--quiet", "--verbose"]);
    let expected = expected.input(&library).run().ok().stdout;
    for args in [
        &["--level=1", &format!("--created-at={TIME}")][..],
        &["-l1", "--created-at", TIME],
        &["-qvl1", "--created-at", TIME],
        &["-l", "1", "--created-at", TIME, "--"],
    ] {
        let out = world.cmd("vpo-pack").args(args).input(&library).run().ok();
        same("the archive", &out.stdout, &expected);
    }
    // `--` ends the options, `-` is a standard stream.
    let dashed = world.path("--help");
    write(&dashed, &expected);
    let out = world.cmd("vpo-verify").args(["--", "--help"]).run().silent();
    assert!(out.text().starts_with("ok  --help"), "{}", out.text());
    let out = world.cmd("vpo-verify").arg("-").stdin_file(&dashed).run().silent();
    assert!(out.text().starts_with("ok  -  "), "{}", out.text());
    let out = world
        .cmd("vpo-unpack-restore")
        .args(["--db=new.db", "-"])
        .stdin_file(&dashed)
        .run()
        .ok();
    assert_eq!(out.stderr, "");
    assert_eq!(read(world.path("new.db")).len() as u64, facts.database_size_bytes);
}

#[test]
fn binary_data_and_terminals() {
    let world = World::new();
    world.default_library();
    let library = world.library();
    let cases: [(&str, &[&str], Stream); 11] = [
        ("vpo-snapshot", &[], Stream::Out),
        ("vpo-pack", &[], Stream::In),
        ("vpo-pack", &[], Stream::Out),
        ("vpo-verify", &[], Stream::In),
        ("vpo-verify", &["--save", "x.tar.gz"], Stream::In),
        ("vpo-unpack-restore", &["--yes"], Stream::In),
        ("vpo-diff", &["-", library.to_str().unwrap()], Stream::In),
        ("vpo-library", &["diff", "-"], Stream::In),
        ("vpo-library", &["backup", "-o", "-"], Stream::Out),
        ("vpo-library", &["restore", "--yes", "-"], Stream::In),
        ("vpo-library", &["verify", "-"], Stream::In),
    ];
    for (program, args, stream) in cases {
        let mut cmd = world.cmd(program).args(args);
        if stream == Stream::Out {
            cmd = cmd.stdin_file(&library);
        }
        let (cmd, terminal) = cmd.terminal(&[stream]);
        let out = unchanged(&world.home(), || cmd.run());
        out.fails(2, &["terminal"]).hint();
        assert_eq!(terminal.rest(), "", "{program} {args:?}: something on the terminal");
    }
    assert_eq!(names(&world.path("")), [""; 0]);
}

#[test]
fn a_closed_pipe_ends_every_program_silently() {
    let world = World::new();
    world.make_library(&files(300));
    let archive = world.archive_of(&world.library());
    std::fs::create_dir(world.backups()).unwrap();
    write(world.backups().join(NAME), &archive);
    for program in PROGRAMS {
        for option in ["--help", "--version"] {
            world.cmd(program).arg(option).closed_stdout().run().ended_silently();
        }
    }
    world.cmd("vpo-snapshot").closed_stdout().run().ended_silently();
    world
        .cmd("vpo-pack")
        .input(&read(world.library()))
        .closed_stdout()
        .run()
        .ended_silently();
    let pack = world.cmd("vpo-pack").stdin_file(&world.library());
    pack.closed_stdout().run().ended_silently();
    for json in [&[][..], &["--json"]] {
        world
            .cmd("vpo-verify")
            .args(json)
            .input(&archive)
            .closed_stdout()
            .run()
            .ended_silently();
        world
            .cmd("vpo-verify")
            .args(json)
            .arg(world.backups())
            .closed_stdout()
            .run()
            .ended_silently();
        world
            .cmd("vpo-ls-backups")
            .args(json)
            .closed_stdout()
            .run()
            .ended_silently();
        world
            .cmd("vpo-library")
            .arg("backups")
            .args(json)
            .closed_stdout()
            .run()
            .ended_silently();
        world
            .cmd("vpo-library")
            .arg("verify")
            .args(json)
            .closed_stdout()
            .run()
            .ended_silently();
        let restore = world
            .cmd("vpo-unpack-restore")
            .arg("--dry-run")
            .args(json)
            .input(&archive);
        restore.closed_stdout().run().ended_silently();
        let dry = world.cmd("vpo-library").args(["backup", "--dry-run"]).args(json);
        dry.closed_stdout().run().ended_silently();
    }
    world
        .cmd("vpo-ls-backups")
        .arg("--names")
        .closed_stdout()
        .run()
        .ended_silently();
    let backup = world.cmd("vpo-library").args(["backup", "-o", "-"]);
    backup.closed_stdout().run().ended_silently();
    let empty = world.path("empty.db");
    make(&files(0), &empty);
    for options in [&[][..], &["-0"], &["--stat"], &["--json"]] {
        let diff = world.cmd("vpo-diff").args(options).arg(&empty).arg(world.library());
        diff.closed_stdout().run().ended_silently();
    }
    let diff = world.cmd("vpo-library").args(["diff", "latest"]).arg(&empty);
    diff.closed_stdout().run().ended_silently();
    world.clean();
}

#[test]
fn a_closed_pipe_does_not_interrupt_a_restore_or_a_save() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    let library = read(world.library());

    let save = world.cmd("vpo-verify").args(["--save", "kept.tar.gz"]).input(&archive);
    save.closed_stdout().run().ended_silently();
    same("kept", &read(world.path("kept.tar.gz")), &archive);

    for (db, program, args) in [
        ("a.db", "vpo-unpack-restore", &["--db=a.db", "kept.tar.gz"][..]),
        ("b.db", "vpo-library", &["restore", "--db=b.db", "kept.tar.gz"]),
    ] {
        world.cmd(program).args(args).closed_stdout().run().ended_silently();
        same(db, &read(world.path(db)), &library);
    }
    std::fs::remove_file(world.path("kept.tar.gz")).unwrap();
    let backup = world.cmd("vpo-library").args(["backup", "-o", "kept.tar.gz"]);
    backup.closed_stdout().run().ended_silently();
    same("backup", &unpack(&read(world.path("kept.tar.gz"))).0, &library);
    world.clean();
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let world = World::new();
    let facts = world.default_library();
    let cmd = |program: &str| VARIABLES.iter().fold(world.cmd(program), |cmd, name| cmd.env(name, ""));
    let snapshot = cmd("vpo-snapshot").run().silent();
    same("snapshot", &snapshot.stdout, &read(world.library()));
    cmd("vpo-library").arg("backup").run().silent();
    assert_eq!(names(&world.backups()).len(), 1);
    let listing = cmd("vpo-ls-backups").arg("--json").run().silent().json();
    assert_eq!(listing["total_count"], 1);
    let archive = world.backups().join(&names(&world.backups())[0]);
    std::fs::remove_file(world.library()).unwrap();
    let restore = cmd("vpo-unpack-restore")
        .arg("--json")
        .stdin_file(&archive)
        .run()
        .silent();
    assert_eq!(restore.json()["file_count"], facts.file_count);
    same("restored", &read(world.library()), &snapshot.stdout);
    cmd("vpo-pack").env("TMPDIR", "").input(&snapshot.stdout).run().silent();
}

#[test]
fn where_the_library_is() {
    let world = World::new();
    for (name, seed) in [
        ("operand", 1),
        ("variable", 2),
        ("elsewhere", 3),
        ("configured", 4),
        ("default", 5),
    ] {
        let path = if name == "default" {
            world.library()
        } else {
            world.home().join(format!("{name}.db"))
        };
        make(&Sample { seed, ..files(3) }, &path);
    }
    let home = world.home();
    let at = |name: &str| read(home.join(format!("{name}.db")));
    write(
        home.join("other.toml"),
        b"# VPO\ndatabase_path = \"~/elsewhere.db\"\n[daemon]\nport = 1\n",
    );
    let config = home.join(".vpo/config.toml");

    let snapshot = || world.cmd("vpo-snapshot");
    same("default", &snapshot().run().silent().stdout, &read(world.library()));
    write(&config, b"database_path = \"~/configured.db\"\n");
    same("config.toml", &snapshot().run().silent().stdout, &at("configured"));
    let moved = || snapshot().env("VPO_CONFIG_PATH", "~/other.toml");
    same("VPO_CONFIG_PATH", &moved().run().silent().stdout, &at("elsewhere"));
    let variable = || moved().env("VPO_DATABASE_PATH", "~/variable.db");
    same("VPO_DATABASE_PATH", &variable().run().silent().stdout, &at("variable"));
    let operand = variable().arg(home.join("operand.db"));
    same("operand", &operand.run().silent().stdout, &at("operand"));

    // The same for the others, by what they would replace.
    let archive = world.archive_of(&world.library());
    let target = |cmd: Cmd| {
        cmd.input(&archive).run().ok().json()["database_path"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for (program, command) in [("vpo-unpack-restore", None), ("vpo-library", Some("restore"))] {
        let restore = || world.cmd(program).args(command).args(["--dry-run", "--json", "-"]);
        let expected = |name: &str| home.join(name).to_str().unwrap().to_owned();
        assert_eq!(target(restore()), expected("configured.db"));
        assert_eq!(
            target(restore().env("VPO_CONFIG_PATH", "~/other.toml")),
            expected("elsewhere.db")
        );
        assert_eq!(
            target(restore().env("VPO_DATABASE_PATH", "~/variable.db")),
            expected("variable.db")
        );
        let db = restore()
            .env("VPO_DATABASE_PATH", "~/variable.db")
            .arg("--db")
            .arg(home.join("operand.db"));
        assert_eq!(target(db), expected("operand.db"));
    }

    // A configuration that sets nothing, and one that can't be parsed.
    write(&config, b"[daemon]\nport = 1\n");
    same(
        "empty config.toml",
        &snapshot().run().silent().stdout,
        &read(world.library()),
    );
    for bad in [&b"database_path = \n"[..], b"database_path = 7\n", b"\xff\xfe"] {
        write(&config, bad);
        for program in ["vpo-snapshot", "vpo-unpack-restore", "vpo-library"] {
            let cmd = world.cmd(program).args((program == "vpo-library").then_some("backup"));
            cmd.input(&archive).run().fails(2, &["config.toml"]);
        }
    }
}

#[test]
fn where_the_backups_are() {
    let world = World::new();
    let home = world.home();
    for (n, dir) in ["operand", "variable", "data/backups", ".vpo/backups"]
        .iter()
        .enumerate()
    {
        std::fs::create_dir_all(home.join(dir)).unwrap();
        world.backup_at(&home.join(dir).join(NAME), n as u64 + 1, TIME);
    }
    let files = |cmd: Cmd| {
        cmd.arg("--json").run().silent().json()["backups"][0]["file_count"]
            .as_u64()
            .unwrap()
    };
    for (program, command, option) in [
        ("vpo-ls-backups", None, "--path"),
        ("vpo-library", Some("backups"), "--backup-dir"),
    ] {
        let list = || world.cmd(program).args(command);
        assert_eq!(files(list()), 4);
        let data = || list().env("VPO_DATA_DIR", "~/data");
        assert_eq!(files(data()), 3);
        let variable = || data().env("VPO_BACKUP_DIR", "~/variable");
        assert_eq!(files(variable()), 2);
        assert_eq!(files(variable().arg(option).arg(home.join("operand"))), 1);
    }
    let operand = world
        .cmd("vpo-ls-backups")
        .env("VPO_BACKUP_DIR", "~/variable")
        .arg(home.join("operand"));
    assert_eq!(files(operand), 1);
}

#[test]
fn with_json_there_is_one_document_whatever_happens() {
    let world = World::new();
    world.default_library();
    write(world.path("bad.tar.gz"), b"no archive");
    write(world.path("config.toml"), b"= 7");
    // The message: the last argument, or what is wrong with it.
    let cases: [(i32, &str, &[&str], &str); 23] = [
        (2, "vpo-verify", &["--json", "--no-such-option"], ""),
        (2, "vpo-verify", &["--no-such-option", "--json"], "'--no-such-option'"),
        (2, "vpo-verify", &["--json", "--save"], ""),
        (20, "vpo-verify", &["--json", "--save", "missing/x.tar.gz"], "'missing'"),
        (2, "vpo-unpack-restore", &["--json", "-Z"], ""),
        (2, "vpo-unpack-restore", &["--json", "."], "is a directory"),
        (20, "vpo-unpack-restore", &["--json", "missing.tar.gz"], ""),
        (46, "vpo-unpack-restore", &["--json", "bad.tar.gz"], "gzip"),
        (2, "vpo-ls-backups", &["--json", "--max-age"], ""),
        (20, "vpo-ls-backups", &["--json", "missing"], ""),
        (2, "vpo-diff", &["--json", "a"], "two"),
        (2, "vpo-diff", &["--json", "-0", "a", "b"], "--null"),
        (20, "vpo-diff", &["--json", "a", "b"], "'a'"),
        (46, "vpo-diff", &["--json", "bad.tar.gz", "bad.tar.gz"], "gzip"),
        (20, "vpo-library", &["diff", "--json"], "no backups"),
        (2, "vpo-library", &["--json"], "no command"),
        (2, "vpo-library", &["backup", "--json", "--no-such-option"], ""),
        (20, "vpo-library", &["backup", "--json", "--db", "missing.db"], ""),
        (46, "vpo-library", &["restore", "--json", "bad.tar.gz"], "gzip"),
        (
            46,
            "vpo-library",
            &["restore", "--format", "json", "bad.tar.gz"],
            "gzip",
        ),
        (20, "vpo-library", &["restore", "--json", "missing.tar.gz"], ""),
        (20, "vpo-library", &["backups", "--json", "--path", "missing"], ""),
        (2, "vpo-library", &["backup", "--json", "-o", "-"], "contradicts"),
    ];
    for (code, program, args, message) in cases {
        let message = match message {
            "" => args[args.len() - 1],
            message => message,
        };
        let out = world.cmd(program).args(args).input(b"").run().fails(code, &[message]);
        println!("{program} {args:?}");
        out.json_error(code);
    }
    let config = world
        .cmd("vpo-library")
        .args(["--json", "backup"])
        .env("VPO_CONFIG_PATH", "config.toml");
    config.run().fails(2, &["config.toml"]).json_error(2);
}

#[test]
fn quiet_and_verbose() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    write(world.path("x.tar.gz"), &archive);
    let (tiny_db, nothing) = (world.path("q.db"), [0_u8; 0]);
    for (program, args) in [
        ("vpo-verify", &["x.tar.gz"][..]),
        ("vpo-unpack-restore", &["--dry-run", "x.tar.gz"]),
        ("vpo-unpack-restore", &["--db", tiny_db.to_str().unwrap(), "x.tar.gz"]),
        ("vpo-library", &["backup"]),
        ("vpo-library", &["backup", "--dry-run"]),
        ("vpo-library", &["verify", "x.tar.gz"]),
        ("vpo-library", &["restore", "--dry-run", "x.tar.gz"]),
        ("vpo-library", &["backups"]),
        ("vpo-ls-backups", &[]),
        ("vpo-diff", &["x.tar.gz", "x.tar.gz"]),
        ("vpo-library", &["diff"]),
    ] {
        println!("{program} {args:?}");
        let quiet = world.cmd(program).args(args).arg("-q").run().silent();
        assert_eq!(quiet.stdout, nothing, "{program} {args:?}");
        // What only looks has nothing more to say.
        if program != "vpo-ls-backups" && !matches!(args, ["backups"] | ["backup", "--dry-run"]) {
            let _ = std::fs::remove_file(&tiny_db);
            let verbose = world.cmd(program).args(args).arg("--verbose").run().ok();
            assert_ne!(verbose.stderr, "", "{program} {args:?} -v");
        }
    }
    for program in ["vpo-snapshot", "vpo-pack"] {
        let run = |options: &[&str]| world.cmd(program).args(options).stdin_file(&world.library()).run().ok();
        assert_ne!(run(&["-v"]).stderr, "", "{program} -v");
        assert_eq!(run(&["-q"]).stderr, "", "{program} -q");
    }
}

/// Temporary files had the rights that the umask left to them: with 777, none.
#[test]
fn what_is_made_is_private() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    let new = |name: &str| world.path(name);
    for mask in [0o000, 0o077, 0o777] {
        let cmd = |program: &str| world.cmd(program).umask(mask);
        let dir = format!("{mask:o}");
        cmd("vpo-library")
            .args(["backup", "--log", "log", "--backup-dir", &format!("{dir}/deep/b")])
            .run()
            .ok();
        let backups = new(&format!("{dir}/deep/b"));
        assert_eq!(mode(&backups), 0o700);
        assert_eq!(mode(backups.parent().unwrap()), 0o700);
        assert_eq!(mode(&backups.join(&names(&backups)[0])), 0o600);
        assert_eq!(mode(&new("log")), 0o600);
        std::fs::remove_file(new("log")).unwrap();

        cmd("vpo-verify")
            .args(["--save", &format!("{dir}/x.tar.gz")])
            .input(&archive)
            .run()
            .ok();
        assert_eq!(mode(&new(&format!("{dir}/x.tar.gz"))), 0o600);
        cmd("vpo-unpack-restore")
            .args(["--db", &format!("{dir}/new/lib.db")])
            .input(&archive)
            .run()
            .ok();
        assert_eq!(mode(&new(&format!("{dir}/new"))), 0o700);
        assert_eq!(mode(&new(&format!("{dir}/new/lib.db"))), 0o600);
        cmd("vpo-unpack-restore")
            .args([
                "--yes",
                "--db",
                &format!("{dir}/new/lib.db"),
                "--safety-dir",
                &format!("{dir}/safe"),
            ])
            .input(&archive)
            .run()
            .ok();
        let safe = new(&format!("{dir}/safe"));
        assert_eq!(mode(&safe), 0o700);
        assert_eq!(mode(&safe.join(&names(&safe)[0])), 0o600);
    }
}

/// Control characters and overrides of the writing direction never reach a terminal or a report.
#[test]
fn text_from_elsewhere_is_escaped() {
    let world = World::new();
    world.default_library();
    let evil = "\x1b[2J\u{202e}\r\u{9b}";
    let clean = |what: &str, out: &Output| {
        for (stream, bytes) in [("stdout", &out.stdout[..]), ("stderr", out.stderr.as_bytes())] {
            let text = String::from_utf8_lossy(bytes);
            let bad = text
                .chars()
                .find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert!(bad.is_none(), "{what}: {bad:?} on {stream}: {text:?}");
        }
    };
    let pack = world
        .cmd("vpo-pack")
        .args(["--created-at", TIME, "--vpo-version", evil]);
    let archive = pack.input(&read(world.library())).run().ok().stdout;
    let dir = world.path(format!("dir{evil}"));
    std::fs::create_dir(&dir).unwrap();
    let path = dir.join(format!("vpo-library-{evil}.tar.gz"));
    write(&path, &archive);
    write(dir.join(format!("vpo-library-{evil}-2.tar.gz")), b"bad");

    for args in [&[][..], &["-v"]] {
        for operand in [&dir, &path, &world.path(format!("missing{evil}"))] {
            clean("verify", &world.cmd("vpo-verify").args(args).arg(operand).run());
            clean(
                "wrapper verify",
                &world.cmd("vpo-library").arg("verify").args(args).arg(operand).run(),
            );
            let restore = || world.cmd("vpo-unpack-restore").args(args);
            clean("restore", &restore().arg("--dry-run").arg(operand).run());
            clean(
                "restore",
                &restore().arg("--db").arg(world.path("new.db")).arg(operand).run(),
            );
            let _ = std::fs::remove_file(world.path("new.db"));
            clean(
                "snapshot",
                &world.cmd("vpo-snapshot").args(args).arg(world.path(evil)).run(),
            );
            clean(
                "diff",
                &world.cmd("vpo-diff").args(args).arg(operand).arg(world.library()).run(),
            );
        }
    }
    clean("listing", &world.cmd("vpo-ls-backups").arg(&dir).run().ok());
    clean(
        "listing",
        &world.cmd("vpo-ls-backups").arg(world.path(evil)).run().exits(20),
    );
    clean(
        "backups",
        &world.cmd("vpo-library").args(["backups", "-p"]).arg(&dir).run().ok(),
    );
    for program in PROGRAMS {
        clean(program, &world.cmd(program).arg(format!("--{evil}")).run().exits(2));
        clean(program, &world.cmd(program).arg(evil).arg(evil).input(b"").run());
    }

    // A member with such a name is refused by its name.
    let hostile = gzip(&tar_file(&[member(&format!("x{evil}"), b"")]));
    write(&path, &hostile);
    let out = world.cmd("vpo-verify").arg(&path).run().exits(46);
    clean("hostile member", &out);

    // The table on a terminal, and the question.
    let (cmd, terminal) = world
        .cmd("vpo-ls-backups")
        .arg("--names")
        .arg(&dir)
        .terminal(&[Stream::Out]);
    let shown = std::thread::spawn(|| terminal.rest());
    cmd.run().ok();
    let shown = shown.join().unwrap();
    assert!(!shown.contains('\x1b') && !shown.contains('\u{202e}'), "{shown:?}");
}

/// A signal removes what was begun, and ends the program as it would have ended any other.
#[test]
fn signals_clean_up_and_end_the_program() {
    let world = World::new();
    let sample = Sample {
        journal: Journal::Delete,
        ..files(1000)
    };
    let facts = world.make_library(&sample);
    let database = read(world.library());
    // One that is unpacked as it comes: of blocks, some are read ahead.
    let archive = plain_archive(&database, &vpo_metadata(&facts));
    std::fs::create_dir(world.backups()).unwrap();
    let begun = |dir: &std::path::Path| names(dir).iter().any(|name| name.starts_with(".vpo-"));
    let (scratch, beside) = (world.scratch(), world.library().parent().unwrap().to_owned());
    let library = world.library();
    let cases: [(&str, &[&str], &[u8], &std::path::Path); 8] = [
        // Nobody reads what it writes.
        ("vpo-snapshot", &[], b"", &scratch),
        ("vpo-pack", &[], &database[..database.len() / 2], &scratch),
        ("vpo-verify", &[], &archive[..archive.len() / 2], &scratch),
        ("vpo-unpack-restore", &["--yes"], &archive[..archive.len() / 2], &beside),
        (
            "vpo-library",
            &["restore", "--yes", "-"],
            &archive[..archive.len() / 2],
            &beside,
        ),
        ("vpo-library", &["verify", "-"], &archive[..archive.len() / 2], &scratch),
        (
            "vpo-diff",
            &["-", library.to_str().unwrap()],
            &archive[..archive.len() / 2],
            &scratch,
        ),
        ("vpo-library", &["diff", "-"], &archive[..archive.len() / 2], &scratch),
    ];
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        for (program, args, input, place) in cases {
            println!("{program} {args:?} {signal:?}");
            unchanged(&world.home(), || {
                let mut running = world.cmd(program).args(args).input_pipe().start();
                running.feed(input);
                wait_until("a temporary file", || begun(place) || !running.is_running());
                running.signal(signal);
                wait_until("the end", || !running.is_running());
                let out = running.finish().ended_by(signal.as_raw());
                assert_eq!(out.stderr, "");
            });
            world.clean();
        }
    }
}

/// What a killed run left is gone after the next one, but not what is in use.
#[test]
fn the_litter_of_killed_runs_is_swept() {
    let world = World::new();
    let facts = world.make_library(&files(1000));
    let archive = plain_archive(&read(world.library()), &vpo_metadata(&facts));
    let beside = world.library().parent().unwrap().to_owned();
    let litter = |dir: &std::path::Path| {
        let mut names = names(dir);
        names.retain(|name| name.starts_with(".vpo-"));
        names
    };
    let start = |program: &str, args: &[&str], dir: &std::path::Path| {
        let before = litter(dir);
        let mut running = world.cmd(program).args(args).input_pipe().start();
        running.feed(&archive[..archive.len() / 2]);
        let new = || litter(dir).iter().any(|name| !before.contains(name));
        wait_until("a temporary file", new);
        running
    };
    for (program, args, dir) in [
        ("vpo-unpack-restore", &["--yes"][..], &beside),
        ("vpo-verify", &[], &world.scratch()),
    ] {
        let killed = start(program, args, dir);
        killed.signal(Signal::KILL);
        killed.finish().ended_by(9);
        assert_eq!(litter(dir).len(), 1);
        let mut in_use = start(program, args, dir);
        assert_eq!(litter(dir).len(), 1, "it did not sweep");
        world.cmd(program).args(args).input(&archive).run().ok();
        assert_eq!(litter(dir).len(), 1, "the temporary file of a living process is gone");
        in_use.feed(&archive[archive.len() / 2..]);
        in_use.finish().ok();
        assert_eq!(litter(dir), [""; 0]);
    }
}

#[test]
fn a_device_that_is_full() {
    let world = World::new();
    world.make_library(&files(1000));
    let archive = world.archive_of(&world.library());
    std::fs::create_dir(world.backups()).unwrap();
    write(world.backups().join(NAME), &archive);
    let empty = world.path("empty.db");
    make(&files(0), &empty);
    let (empty, library) = (empty.to_str().unwrap(), world.library());
    let library = library.to_str().unwrap();
    let cases: [(&str, &[&str], &[u8]); 12] = [
        ("vpo-snapshot", &[], b""),
        ("vpo-pack", &[], &read(world.library())),
        ("vpo-verify", &[], &archive),
        ("vpo-verify", &["--json"], &archive),
        ("vpo-ls-backups", &[], b""),
        ("vpo-library", &["backup", "-o", "-"], b""),
        ("vpo-library", &["backups"], b""),
        ("vpo-library", &["backup", "--dry-run"], b""),
        ("vpo-diff", &[empty, library], b""),
        ("vpo-diff", &["--json", empty, library], b""),
        ("vpo-diff", &["--stat", empty, library], b""),
        ("vpo-library", &["diff", "latest", empty], b""),
    ];
    for (program, args, input) in cases {
        let Some(full) = full_device("full device") else { return };
        println!("{program} {args:?}");
        world
            .cmd(program)
            .args(args)
            .input(input)
            .stdout(full)
            .run()
            .fails(44, &["cannot write", "No space left"]);
    }
    for program in PROGRAMS {
        let Some(full) = full_device("full device") else { return };
        let out = world.cmd(program).arg("--help").stdout(full).run();
        out.fails(44, &["cannot write", "No space left"]);
    }
    world.clean();
}
