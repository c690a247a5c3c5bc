//! Signals at every step, and limits of the system.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;

use crate::generate::{Sample, Size};
use crate::kill::{content, small};
use crate::support::strace::{CHANGING, Whose, available, count, signalled, steps, tracer};
use crate::support::*;
use crate::{chosen, figures, spread};

const SIGNALS: [(&str, i32); 3] = [("INT", 2), ("TERM", 15), ("HUP", 1)];

/// A library that takes a moment.
fn large() -> Sample {
    Sample {
        size: Size::Bytes(3_000_000),
        ..Sample::default()
    }
}

/// The wrapper passes it on, and has waited for its children when it ends.
#[test]
fn a_signal_at_any_step_leaves_no_litter() {
    if !available("signals at every step") {
        return;
    }
    let world = World::new();
    // Each page is a step or more, and so are those on the way to the one that is tried.
    let sample = Sample {
        size: Size::Bytes(if exhaustive() { 3_000_000 } else { 600_000 }),
        ..Sample::default()
    };
    world.make_library(&sample);
    let bytes = read(world.library());
    let old = dump(&world.library());
    let archive = world.archive_of(&world.library());
    write(world.path("a.tar.gz"), &archive);
    // Another generation, so that a mixture of the two would show.
    let other = Sample { seed: 2, ..sample };
    make(&other, &world.path("new.db"));
    let new = dump(&world.path("new.db"));
    assert_ne!(old, new);
    write(world.path("new.tar.gz"), &world.archive_of(&world.path("new.db")));
    std::fs::remove_file(world.path("new.db")).unwrap();
    std::fs::create_dir(world.path("kept")).unwrap();
    type Finish = fn(&World, Cmd) -> Cmd;
    let programs: [(&str, &str, Finish); 6] = [
        ("vpo-snapshot", "snapshot", |_, cmd| cmd),
        ("vpo-pack", "pack", |w, cmd| cmd.stdin_file(&w.library())),
        ("vpo-verify", "verify", |_, cmd| cmd.arg("a.tar.gz")),
        ("vpo-verify", "--save", |w, cmd| {
            cmd.args(["--save", "kept"]).stdin_file(&w.path("a.tar.gz"))
        }),
        ("vpo-library", "backup", |_, cmd| cmd.args(["backup", "--verify"])),
        ("vpo-unpack-restore", "restore", |_, cmd| {
            cmd.args(["--yes", "--safety-dir", "kept", "new.tar.gz"])
        }),
    ];
    let (mut ended, mut finished, mut restored) = (0, 0, 0);
    for (program, name, finish) in programs {
        let calls = format!("{CHANGING},read,pread64");
        let counts = count(&world, program, Whose::Main, &calls, |cmd| finish(&world, cmd));
        let steps = steps(&counts);
        write(world.library(), &bytes);
        for dir in [world.path("kept"), world.backups()] {
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir(dir).unwrap();
        }
        let sample = match (exhaustive(), name) {
            // Each page that is read is a step.
            (true, _) => 300,
            (false, "restore") => 6,
            (false, _) => 2,
        };
        for i in spread(steps.len(), sample) {
            let (call, n) = steps[i];
            let (signal, number) = SIGNALS[i % 3];
            let name = format!("{name}, {signal} after {call} {n}");
            let out = finish(&world, signalled(&world, program, signal, call, n)).run();
            assert!(!works_in(&world), "{name}: a child is left behind");
            let done = out.status.success();
            match done {
                true => finished += 1,
                false => {
                    out.ended_by(number);
                    ended += 1;
                }
            }
            world.clean();
            let side: Vec<_> = names(&world.home().join(".vpo"))
                .into_iter()
                .filter(|n| n != "library.db" && n != "backups")
                .collect();
            assert!(side.is_empty(), "{name}: left beside the library: {side:?}");
            // Old or new. What is reported as done is done; what a signal ended may have been done.
            let now = match read(world.library()) == bytes {
                true => old.clone(),
                false => dump(&world.library()),
            };
            if program == "vpo-unpack-restore" && (done || now == new) {
                same_content(&name, &now, &new);
                let found: String = Connection::open(world.library())
                    .and_then(|db| db.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
                    .unwrap();
                assert_eq!(found, "ok");
                assert_eq!(names(&world.path("kept")).len(), 1, "no safety backup");
                write(world.library(), &bytes);
                restored += 1;
            } else {
                same_content(&name, &now, &old);
            }
            for dir in [world.path("kept"), world.backups()] {
                if dir.exists() && !names(&dir).is_empty() {
                    world.cmd("vpo-verify").arg(&dir).run().ok();
                    // All of them are of the old library, those that a restore has made, too.
                    for name in names(&dir) {
                        let (database, _) = unpack(&read(dir.join(&name)));
                        same_content(&name, &dump_bytes(&database), &old);
                    }
                    std::fs::remove_dir_all(&dir).unwrap();
                    std::fs::create_dir(&dir).unwrap();
                }
            }
        }
    }
    figures(&format!(
        "signals: {ended} runs ended by one, {finished} were done before; no litter; {restored} restored, the others not"
    ));
    assert!(ended > 0 && restored > 0, "{ended} {restored}");
}

fn works_in(world: &World) -> bool {
    let place = world.path("").canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .any(|entry| entry.path().join("cwd").read_link().is_ok_and(|cwd| cwd == place))
}

/// A shell sets a limit and becomes the program.
fn limited(world: &World, limit: &str, program: &str) -> Cmd {
    let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    world.cmd("sh").args(["-c", &script, executable(program)])
}

/// A file-size limit is an ordinary error, not the end by SIGXFSZ.
#[test]
fn a_limit_of_file_size() {
    let world = World::new();
    world.make_library(&large());
    let archive = world.archive_of(&world.library());
    write(world.path("a.tar.gz"), &archive);
    std::fs::create_dir(world.path("kept")).unwrap();
    // In blocks of 512 bytes: 100 KiB.
    let limit = "-f 200";
    let tries: [(&str, &[&str]); 5] = [
        ("vpo-verify", &["a.tar.gz"]),
        ("vpo-unpack-restore", &["--yes", "a.tar.gz"]),
        ("vpo-unpack-restore", &["--dry-run", "a.tar.gz"]),
        ("vpo-library", &["backup"]),
        ("vpo-library", &["backup", "-o", "kept"]),
    ];
    for (program, args) in tries {
        let before = dump(&world.library());
        let out = limited(&world, limit, program).args(args).run().exits(40);
        let said = format!("{}{}", out.stderr, out.text());
        assert!(said.contains("File too large"), "{program} {args:?}: {said}");
        same_content(program, &dump(&world.library()), &before);
        world.clean();
        assert!(!world.backups().exists() || names(&world.backups()).is_empty());
    }
    let out = limited(&world, limit, "vpo-verify")
        .args(["--save", "kept"])
        .stdin_file(&world.path("a.tar.gz"))
        .run();
    out.exits(40);
    assert_eq!(names(&world.path("kept")), [""; 0]);
    // In the middle of the replacement: the stage fits, its copy in the log does not.
    for (name, generation, rows) in [("grown.db", 2, 2000), ("other.db", 1, 1000)] {
        small(&world.path(name), generation, "PRAGMA journal_mode = WAL");
        let filling = "INSERT INTO filling SELECT hex(randomblob(50)) FROM n";
        let numbers = format!("SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}");
        let sql = format!("CREATE TABLE filling (x); WITH RECURSIVE n(i) AS ({numbers}) {filling}");
        sqlite(&world.path(name), &sql);
    }
    let at = world.path("other.db").metadata().unwrap().len();
    let before = content(&world.path("grown.db")).unwrap();
    let archive = world.archive_of(&world.path("other.db"));
    let limit = format!("-f {}", at.div_ceil(512));
    let out = limited(&world, &limit, "vpo-unpack-restore")
        .args(["--yes", "--db", "grown.db"])
        .input(&archive)
        .run();
    let out = out.exits(40);
    assert!(out.stderr.contains("it is as it was"), "{}", out.stderr);
    assert_eq!(content(&world.path("grown.db")), Ok(before));
    world.clean();
}

/// A small device that fills up: exit 44, nothing left, nothing lost.
#[test]
fn a_full_device() {
    with_mounts("a full device", || {
        let world = World::new();
        world.make_library(&large());
        let archive = world.archive_of(&world.library());
        write(world.path("a.tar.gz"), &archive);
        let before = dump(&world.library());
        let small = world.path("small");
        std::fs::create_dir(&small).unwrap();
        make_small(&small, 256);
        for (program, args) in [
            ("vpo-library", vec!["backup", "-o", "small"]),
            ("vpo-library", vec!["backup", "--no-check", "-o", "small/new.tar.gz"]),
            (
                "vpo-unpack-restore",
                vec!["--yes", "--db", "small/library.db", "a.tar.gz"],
            ),
            ("vpo-unpack-restore", vec!["--yes", "--safety-dir", "small", "a.tar.gz"]),
            (
                "vpo-unpack-restore",
                vec!["--yes", "--safety-dir", "small/new", "a.tar.gz"],
            ),
        ] {
            let out = world.cmd(program).args(&args).run();
            assert_eq!(out.status.code(), Some(44), "{program} {args:?}: {}", out.stderr);
            let mut left = names(&small);
            left.retain(|name| name != "new" || !names(&small.join("new")).is_empty());
            assert_eq!(left, [""; 0], "{program} {args:?}");
        }
        let out = world.cmd("vpo-verify").args(["--save", "small"]).input(&archive).run();
        out.fails(44, &["'small'", "No space left"]);
        for (program, args) in [
            ("vpo-verify", vec!["a.tar.gz"]),
            ("vpo-unpack-restore", vec!["--dry-run", "--db", "none/x.db", "a.tar.gz"]),
        ] {
            let out = world.cmd(program).args(&args).env("TMPDIR", &small).run();
            assert_eq!(out.status.code(), Some(44), "{program}: {}", out.stderr);
        }
        assert_eq!(
            names(&small)
                .into_iter()
                .filter(|name| name != "new")
                .collect::<Vec<_>>(),
            [""; 0]
        );
        same_content("the library", &dump(&world.library()), &before);
        world.clean();
    });
}

/// Too few descriptors: an error, with nothing moved aside and nothing left.
#[test]
fn too_few_descriptors() {
    let world = World::new();
    small(&world.library(), 1, "PRAGMA journal_mode = WAL");
    let before = content(&world.library()).unwrap();
    write(world.path("a.tar.gz"), &world.archive_of(&world.library()));
    small(&world.path("new.db"), 2, "PRAGMA journal_mode = DELETE");
    write(world.path("new.tar.gz"), &world.archive_of(&world.path("new.db")));
    let after = content(&world.path("new.db")).unwrap();
    std::fs::create_dir(world.path("kept")).unwrap();
    let (mut failed, mut done) = (0, 0);
    for n in 4..30 {
        for (program, args) in [
            ("vpo-verify", vec!["a.tar.gz"]),
            ("vpo-library", vec!["backup", "-o", "kept"]),
            (
                "vpo-unpack-restore",
                vec!["--yes", "--safety-dir", "kept", "new.tar.gz"],
            ),
        ] {
            let out = limited(&world, &format!("-n {n}"), program).args(&args).run();
            assert!(!out.stderr.contains("panicked"), "{n} descriptors: {}", out.stderr);
            match out.status.code() {
                Some(0) => done += 1,
                // The loader has its own.
                Some(127) => continue,
                Some(40 | 1) => failed += 1,
                _ => panic!("{n} descriptors: {program}: {} {}", out.status, out.stderr),
            }
            let now = content(&world.library()).unwrap();
            let said = out.stderr.contains("the library was restored, but");
            assert!(
                now == before || (now == after && (out.status.success() || said)),
                "{n}: {program}: {}",
                out.stderr
            );
            let aside: Vec<_> = names(&world.home().join(".vpo"))
                .into_iter()
                .filter(|n| n.contains("replaced"))
                .collect();
            assert_eq!(aside, [""; 0], "{n} descriptors: {}", out.stderr);
            if now == after {
                std::fs::remove_file(world.library()).unwrap();
                small(&world.library(), 1, "PRAGMA journal_mode = WAL");
            }
        }
        world.clean();
    }
    assert!(failed > 10 && done > 10, "{failed} {done}");
}

/// TMPDIR that vanished, is a file, or is on a read-only file system; where it may not be written, see
/// [`without_permission`].
#[test]
fn no_place_for_temporary_files() {
    with_mounts("a read-only TMPDIR", || {
        no_temporary_files(&["gone", "file", "read-only"])
    });
    no_temporary_files(&["gone", "file"]);
}

fn no_temporary_files(places: &[&str]) {
    let world = World::new();
    small(&world.library(), 1, "PRAGMA journal_mode = DELETE");
    let archive = world.archive_of(&world.library());
    let before = content(&world.library()).unwrap();
    write(world.path("file"), b"");
    if places.contains(&"read-only") {
        std::fs::create_dir(world.path("read-only")).unwrap();
        make_read_only(&world.path("read-only"));
    }
    for place in places {
        for (program, input) in [
            ("vpo-snapshot", Vec::new()),
            ("vpo-pack", read(world.library())),
            ("vpo-verify", archive.clone()),
        ] {
            let cmd = world.cmd(program).env("TMPDIR", world.path(place));
            let out = unchanged(&world.home(), || cmd.input(&input).run());
            let said = format!("{}{}", out.stderr, String::from_utf8_lossy(&out.stdout));
            assert_eq!(out.status.code(), Some(40), "{program}, {place}: {}", out.stderr);
            assert!(said.contains(place), "{program}, {place}: {said:.300}");
        }
        // A restore needs no TMPDIR.
        world
            .cmd("vpo-unpack-restore")
            .arg("--yes")
            .env("TMPDIR", world.path(place))
            .input(&archive)
            .run()
            .ok();
        assert_eq!(content(&world.library()).as_ref(), Ok(&before));
    }
    world.clean();
}

/// A program as somebody without rights: root may write everything.
fn unprivileged(world: &World, program: &str) -> Cmd {
    if !rustix::process::geteuid().is_root() {
        return world.cmd(program);
    }
    // The programs may lie where nobody else may look, and elsewhere than TMPDIR. By a shell: a file that this process
    // writes may be open in a child of another thread, and can't be run then.
    let bin = world.home().parent().unwrap().join("bin");
    if !bin.exists() {
        let beside = Path::new(executable("vpo-library")).parent().unwrap();
        let copy = "mkdir \"$1\" && { ln \"$0\"/vpo-*[a-z] \"$1\" 2>/dev/null || cp \"$0\"/vpo-*[a-z] \"$1\"; } &&
                    chmod -R a+rx \"$1\"";
        world.cmd("sh").args(["-c", copy]).arg(beside).arg(&bin).run().ok();
    }
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let program = match program.starts_with("vpo-") {
        true => bin.join(program),
        false => program.into(),
    };
    world.cmd("setpriv").args(nobody).arg(program)
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Where no thread can be started, that is an error, or the work is done with fewer: it was a panic.
#[test]
fn threads_that_can_not_be_started() {
    let what = "threads that can't be started";
    if !has_tool("prlimit", what) || !has_tool("setpriv", what) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return skipped(what, "a limit of processes counts all of this user's");
    }
    let world = World::new();
    set_mode(world.home().parent().unwrap(), 0o755);
    for own in [world.home(), world.home().join(".vpo"), world.scratch(), world.path("")] {
        std::os::unix::fs::chown(own, Some(65534), Some(65534)).unwrap();
    }
    small(&world.library(), 1, "PRAGMA journal_mode = DELETE");
    write(world.path("a.tar.gz"), &world.archive_of(&world.library()));
    for own in [world.library(), world.path("a.tar.gz")] {
        std::os::unix::fs::chown(own, Some(65534), Some(65534)).unwrap();
    }
    let (mut failed, mut done) = (0, 0);
    for limit in 0..14 {
        for (program, args) in [
            ("vpo-snapshot", &[][..]),
            ("vpo-verify", &["a.tar.gz"]),
            ("vpo-unpack-restore", &["--yes", "a.tar.gz"]),
            ("vpo-library", &["backup"]),
        ] {
            let cmd = unprivileged(&world, "prlimit").arg(format!("--nproc={limit}:{limit}"));
            let program = world.home().parent().unwrap().join("bin").join(program);
            // The progress bar's clock was such a thread, too.
            let bar = ["--progress"].iter().filter(|_| !program.ends_with("vpo-library"));
            let cmd = cmd.arg(&program).args(args).args(bar).env("TERM", "xterm");
            let (cmd, terminal) = cmd.terminal(&[Stream::Err]);
            let shown = std::thread::spawn(|| terminal.rest());
            let out = cmd.run();
            let shown = shown.join().unwrap();
            match out.status.code() {
                Some(0) => done += 1,
                Some(40) => failed += 1,
                other => panic!("{} of {limit}: {other:?}: {shown}", program.display()),
            }
            assert!(!shown.contains("panicked"), "{shown}");
        }
    }
    assert!(failed > 0 && done > 0, "{failed} {done}");
    world.clean();
}

/// The one place that opened the library without the protection from signals: `-wal` and `-shm` were left.
#[test]
fn a_signal_in_a_dry_run_leaves_no_side_files() {
    if !available("a signal at a system call") {
        return;
    }
    let world = World::new();
    world.make_library(&large());
    for n in chosen(40, 6).into_iter().map(|n| n + 1) {
        let inject = format!("inject=pread64:signal=TERM:when={n}");
        let options = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=pread64", "-e", &inject];
        let dry_run = tracer(&world).args(options).arg(executable("vpo-library"));
        let out = unchanged(&world.home(), || dry_run.args(["backup", "--dry-run"]).run());
        // The library is open in vpo-snapshot, which the wrapper outlives.
        match out.status.code() {
            Some(0) | None => {}
            code => {
                let said = "vpo-library: vpo-snapshot was ended by signal 15\n";
                assert_eq!((code, &*out.stderr), (Some(40), said), "{n}");
            }
        }
        world.clean();
    }
}

/// The rights of a group are not given to another one, where the user may not keep the group.
#[test]
fn another_group_gets_no_rights() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED the rights of another group: only root can make a file of a group that the user is not in");
        return;
    }
    if !has_tool("setpriv", "the rights of another group") {
        return;
    }
    let world = World::new();
    set_mode(world.home().parent().unwrap(), 0o755);
    for own in [world.home(), world.home().join(".vpo"), world.scratch(), world.path("")] {
        std::os::unix::fs::chown(own, Some(65534), Some(65534)).unwrap();
    }
    small(&world.path("new.db"), 2, "PRAGMA journal_mode = DELETE");
    write(world.path("new.tar.gz"), &world.archive_of(&world.path("new.db")));
    set_mode(&world.path("new.tar.gz"), 0o644);
    write(world.library(), b"of no use, and of the group 0");
    std::os::unix::fs::chown(world.library(), Some(65534), Some(0)).unwrap();
    set_mode(&world.library(), 0o660);
    let restore = unprivileged(&world, "vpo-unpack-restore").args(["--yes", "new.tar.gz"]);
    assert!(restore.run().status.success());
    assert_eq!(content(&world.library()), content(&world.path("new.db")));
    assert_eq!(mode(&world.library()), 0o600);
    world.clean();
}

/// A permission that is missing is an error like any other: it is named, and nothing is changed or left.
#[test]
fn without_permission() {
    let world = World::new();
    let root = world.home().parent().unwrap().to_owned();
    // What belongs to the user in whose name the programs run.
    set_mode(&root, 0o755);
    for own in [world.home(), world.home().join(".vpo"), world.scratch(), world.path("")] {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(own, Some(65534), Some(65534)).unwrap();
        }
    }
    if rustix::process::geteuid().is_root() {
        if !has_tool("setpriv", "missing permissions, as root") {
            return;
        }
        let able = unprivileged(&world, "vpo-library").arg("--version").run();
        if !able.status.success() {
            return skipped("missing permissions, as root", "nobody else may run the programs");
        }
    }
    let rollback = "PRAGMA journal_mode = DELETE";
    let (sealed, hidden) = (world.path("sealed"), world.path("hidden"));
    for dir in [&sealed, &hidden, &world.path("unread")] {
        std::fs::create_dir(dir).unwrap();
    }
    small(&world.library(), 1, rollback);
    small(&world.path("new.db"), 2, rollback);
    let archive = world.archive_of(&world.path("new.db"));
    write(world.path("a.tar.gz"), &archive);
    write(world.path("secret.tar.gz"), &archive);
    write(world.path("unread").join(NAME), &archive);
    small(&world.path("secret.db"), 1, rollback);
    small(&sealed.join("library.db"), 1, rollback);
    for path in [
        world.path("secret.tar.gz"),
        world.path("unread").join(NAME),
        world.path("secret.db"),
    ] {
        set_mode(&path, 0);
    }
    for path in [
        world.library(),
        world.path("new.db"),
        world.path("a.tar.gz"),
        sealed.join("library.db"),
    ] {
        set_mode(&path, 0o444);
    }
    set_mode(&sealed, 0o555);
    set_mode(&hidden, 0);

    let library = world.library();
    let library = library.to_str().unwrap();
    let from = |name: &str| read(world.path(name));
    let restore = "vpo-unpack-restore";
    let cases: Vec<(&str, Vec<&str>, Vec<u8>, &str)> = vec![
        // A directory that can't be written.
        ("vpo-library", vec!["backup", "-o", "sealed"], vec![], "'sealed'"),
        (
            "vpo-library",
            vec!["backup", "-o", "sealed/x.tar.gz"],
            vec![],
            "'sealed'",
        ),
        (
            "vpo-library",
            vec!["backup", "-o", "sealed/new/x.tar.gz"],
            vec![],
            "'sealed/new'",
        ),
        (
            "vpo-library",
            vec!["--backup-dir", "sealed", "backup"],
            vec![],
            "'sealed'",
        ),
        (
            "vpo-library",
            vec!["--backup-dir", "sealed/new", "backup"],
            vec![],
            "'sealed/new'",
        ),
        ("vpo-verify", vec!["--save", "sealed"], from("a.tar.gz"), "'sealed'"),
        (
            "vpo-verify",
            vec!["--save", "sealed/x.tar.gz"],
            from("a.tar.gz"),
            "'sealed'",
        ),
        ("vpo-snapshot", vec!["--stats", "sealed/x"], vec![], "'sealed/x'"),
        (
            restore,
            vec!["--yes", "--db", "sealed/new.db", "a.tar.gz"],
            vec![],
            "sealed'",
        ),
        (
            restore,
            vec!["--yes", "--db", "sealed/d/new.db", "a.tar.gz"],
            vec![],
            "sealed/d'",
        ),
        (
            restore,
            vec!["--dry-run", "--db", "sealed/new.db", "a.tar.gz"],
            vec![],
            "sealed'",
        ),
        // A directory that can't be entered.
        ("vpo-library", vec!["backup", "-o", "hidden"], vec![], "'hidden'"),
        (
            "vpo-library",
            vec!["--backup-dir", "hidden", "restore", "--yes", "latest"],
            vec![],
            "'hidden'",
        ),
        ("vpo-verify", vec!["--save", "hidden"], from("a.tar.gz"), "'hidden'"),
        ("vpo-ls-backups", vec!["hidden"], vec![], "'hidden'"),
        ("vpo-snapshot", vec!["hidden/x.db"], vec![], "'hidden/x.db'"),
        (
            restore,
            vec!["--yes", "--db", "hidden/x.db", "a.tar.gz"],
            vec![],
            "hidden/x.db'",
        ),
        (restore, vec!["--yes", "hidden/x.tar.gz"], vec![], "'hidden/x.tar.gz'"),
        // A library that can't be read, or not be written.
        ("vpo-snapshot", vec!["secret.db"], vec![], "secret.db'"),
        ("vpo-library", vec!["--db", "secret.db", "backup"], vec![], "secret.db'"),
        (
            "vpo-library",
            vec!["--db", "secret.db", "backup", "--dry-run"],
            vec![],
            "secret.db'",
        ),
        (
            restore,
            vec!["--yes", "--db", "secret.db", "a.tar.gz"],
            vec![],
            "secret.db'",
        ),
        (
            restore,
            vec!["--dry-run", "--db", "secret.db", "a.tar.gz"],
            vec![],
            "secret.db'",
        ),
        (restore, vec!["--yes", "a.tar.gz"], vec![], library),
        (
            restore,
            vec!["--yes", "--db", "sealed/library.db", "a.tar.gz"],
            vec![],
            "library.db'",
        ),
        ("vpo-library", vec!["restore", "--yes", "a.tar.gz"], vec![], library),
        // An archive that can't be read.
        (restore, vec!["--yes", "secret.tar.gz"], vec![], "'secret.tar.gz'"),
        (
            "vpo-library",
            vec!["restore", "--yes", "secret.tar.gz"],
            vec![],
            "secret.tar.gz'",
        ),
        (
            "vpo-library",
            vec!["--backup-dir", "unread", "restore", "--yes", "latest"],
            vec![],
            NAME,
        ),
    ];
    let tried = cases.len();
    // The programs have their place beside these.
    let own = [world.home(), world.scratch(), world.path("")];
    let look = || -> BTreeMap<_, _> { own.iter().flat_map(|dir| tree(dir)).collect() };
    let files = look();
    for (program, args, input, named) in cases {
        let out = unprivileged(&world, program).args(&args).input(&input).run();
        let mut out = out.exits(40);
        let what = format!("{program} {args:?}");
        assert!(out.stderr.contains("Permission denied"), "{what}: {}", out.stderr);
        out.name = program.into();
        out.fails(40, &[named]);
        // `~/.vpo/backups` may have come into being, for the backup that then failed.
        let mut now = look();
        now.remove(&world.backups());
        let new: Vec<_> = now.keys().filter(|path| !files.contains_key(*path)).collect();
        assert!(new.is_empty(), "{what}: {new:?} is new");
        assert!(now == files, "{what}: something has changed");
    }
    // What is only looked at is told, and the next one looked at.
    for operand in ["secret.tar.gz", "unread", "hidden"] {
        let out = unprivileged(&world, "vpo-verify")
            .args([operand, "a.tar.gz"])
            .run()
            .exits(40);
        let lines: Vec<_> = out.text().lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("??  ") && lines[0].contains("Permission denied"),
            "{lines:?}"
        );
        assert!(lines[1].starts_with("ok "), "{lines:?}");
    }
    let listed = unprivileged(&world, "vpo-ls-backups")
        .args(["--json", "unread"])
        .run()
        .ok();
    let error = listed.json()["backups"][0]["error"].to_string();
    assert!(error.contains("Permission denied"), "{error}");
    // TMPDIR that can't be written or entered. The library is its user's own: where nobody else writes, there is no copy.
    set_mode(&world.library(), 0o666);
    for place in [&sealed, &hidden] {
        for (program, input) in [
            ("vpo-snapshot", vec![]),
            ("vpo-pack", from("new.db")),
            ("vpo-verify", archive.clone()),
        ] {
            let cmd = unprivileged(&world, program).env("TMPDIR", place);
            let out = unchanged(&world.home(), || cmd.input(&input).run()).exits(40);
            let said = format!("{}{}", out.stderr, String::from_utf8_lossy(&out.stdout));
            assert!(said.contains("Permission denied"), "{program}: {said:.300}");
            assert!(said.contains(place.to_str().unwrap()), "{program}: {said:.300}");
        }
    }
    // No place for the old library, so that it is not replaced.
    for dir in ["sealed", "sealed/new", "hidden"] {
        let cmd = unprivileged(&world, restore).args(["--yes", "--safety-dir", dir, "a.tar.gz"]);
        let mut out = unchanged(&world.home(), || unchanged(&world.path(""), || cmd.run()));
        out.name = restore.into();
        out.fails(40, &["cannot make a safety backup", dir, "Permission denied"]);
    }
    set_mode(&sealed, 0o755);
    set_mode(&hidden, 0o755);
    figures(&format!(
        "{} programs without a permission: named, and nothing changed",
        tried + 13
    ));
}

/// The same on a read-only file system, for which root has no rights either.
#[test]
fn on_a_read_only_file_system() {
    with_mounts("a read-only file system", || {
        let world = World::new();
        let dir = world.path("still");
        std::fs::create_dir(&dir).unwrap();
        let rollback = "PRAGMA journal_mode = DELETE";
        small(&world.library(), 1, rollback);
        small(&dir.join("library.db"), 1, rollback);
        small(&world.path("new.db"), 2, rollback);
        let archive = world.archive_of(&world.path("new.db"));
        write(world.path("a.tar.gz"), &archive);
        make_read_only(&dir);
        let restore = "vpo-unpack-restore";
        for (program, args) in [
            ("vpo-library", vec!["backup", "-o", "still"]),
            ("vpo-library", vec!["backup", "-o", "still/x.tar.gz"]),
            ("vpo-library", vec!["--backup-dir", "still/new", "backup"]),
            ("vpo-verify", vec!["--save", "still"]),
            ("vpo-verify", vec!["--save", "still/x.tar.gz"]),
            ("vpo-snapshot", vec!["--stats", "still/x"]),
            (restore, vec!["--yes", "--db", "still/new.db"]),
            (restore, vec!["--yes", "--db", "still/library.db"]),
            (restore, vec!["--dry-run", "--db", "still/library.db"]),
            (restore, vec!["--yes", "--safety-dir", "still"]),
            (restore, vec!["--yes", "--safety-dir", "still/new"]),
        ] {
            let root = world.path("");
            let out = unchanged(&world.home().join(".vpo/library.db"), || {
                unchanged(&root, || world.cmd(program).args(&args).input(&archive).run())
            });
            out.fails(40, &["still", "Read-only file system"]);
        }
        world.clean();
        // What is only read needs nothing.
        let snapshot = world.cmd("vpo-snapshot").arg("still/library.db").run().ok();
        same("the snapshot", &snapshot.stdout, &read(dir.join("library.db")));
    });
}
