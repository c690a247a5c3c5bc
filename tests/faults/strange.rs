//! Systems that do less: calls that move fewer bytes than they were asked to, and file systems without O_TMPFILE or
//! renameat2(2).

use std::path::{Path, PathBuf};

use crate::damage::judge;
use crate::kill::{Others, RUNS, Situation, content, situations, small};
use crate::support::strace::*;
use crate::support::*;
use crate::{chosen, figures};

/// Does half of what read(2) and write(2) are asked for.
const HALF: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/types.h>
#define HALF(type, name, parameters, arguments) \
    ssize_t name parameters { \
        static ssize_t (*real) parameters; \
        if (!real) real = (ssize_t (*) parameters) dlsym(RTLD_NEXT, #name); \
        if (n > 1) n = (n + 1) / 2; \
        return real arguments; \
    }
HALF(read, read, (int fd, void *b, size_t n), (fd, b, n))
HALF(write, write, (int fd, const void *b, size_t n), (fd, b, n))
HALF(pread, pread, (int fd, void *b, size_t n, off_t at), (fd, b, n, at))
HALF(pwrite, pwrite, (int fd, const void *b, size_t n, off_t at), (fd, b, n, at))
HALF(pread64, pread64, (int fd, void *b, size_t n, off_t at), (fd, b, n, at))
HALF(pwrite64, pwrite64, (int fd, const void *b, size_t n, off_t at), (fd, b, n, at))
"#;

/// Compiles [`HALF`] in `dir`; `None` where that can't be done.
fn half(dir: &Path) -> Option<PathBuf> {
    let what = "short reads and writes";
    if !cfg!(target_os = "linux") || !has_tool("cc", what) {
        return None;
    }
    let (source, library) = (dir.join("half.c"), dir.join("half.so"));
    write(&source, HALF.as_bytes());
    let mut cc = std::process::Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl");
    assert!(cc.status().unwrap().success());
    Some(library)
}

#[test]
fn short_reads_and_writes_are_no_failure() {
    // Not in a world: its name has a space, which ends a name in LD_PRELOAD.
    let dir = tempfile::tempdir().unwrap();
    let Some(half) = half(dir.path()) else { return };
    // It is in force: of ten bytes five arrive.
    let others = Others::new();
    let cmd = others.world.tool("dd").args(["bs=10", "count=1", "status=none"]);
    let five = cmd.env("LD_PRELOAD", &half).input(b"0123456789").run().ok();
    assert_eq!(five.stdout, b"01234");

    for run in &RUNS {
        others.put_back();
        others.finish(run, others.world.cmd(run.program)).run().ok();
        let good = others.out();
        others.put_back();
        let cmd = others.world.cmd(run.program).env("LD_PRELOAD", &half);
        others.finish(run, cmd).run().ok();
        assert_eq!(others.doubt(run, &good), None, "{} {:?}", run.program, run.args);
    }
    for situation in situations() {
        situation.saved.put_back();
        let cmd = situation.world.cmd("vpo-unpack-restore").env("LD_PRELOAD", &half);
        situation.restore(cmd).run().ok();
        assert!(situation.state("short calls"), "{}", situation.name);
        situation.backups_are_whole("short calls");
        situation.world.clean();
    }
}

/// What such a file system answers, as rules for strace(1). `log` is a run on an ordinary one: it tells which of the
/// main thread's open(2) has O_TMPFILE.
fn less(log: &str) -> Vec<String> {
    let mut rules = vec!["inject=renameat2:error=EINVAL".to_owned()];
    let nameless = log
        .lines()
        .filter(|line| line.starts_with("open("))
        .position(|line| line.contains("O_TMPFILE"));
    if let Some(n) = nameless {
        rules.push(format!("inject=open:error=EOPNOTSUPP:when={}", n + 1));
    }
    rules
}

/// The main thread of a program, with calls that meet these rules.
fn under(world: &World, program: &str, log: &Path, rules: &[String]) -> Cmd {
    let mut cmd = tracer(world).args(["-qq", "-o"]).arg(log);
    cmd = cmd.args(["-e", &format!("trace={CHANGING}"), "-e", "signal=none"]);
    for rule in rules {
        cmd = cmd.args(["-e", rule]);
    }
    cmd.arg(executable(program))
}

/// Kills and fails a run of `program` at every step that only such a file system needs. `put_back` makes everything as
/// it was, `finish` completes the command line, `good` judges what is there afterwards: whether the run was successful
/// is its first argument.
fn at_every_step(
    world: &World,
    program: &str,
    put_back: &dyn Fn(),
    finish: &dyn Fn(Cmd) -> Cmd,
    good: &dyn Fn(bool, &str),
) -> usize {
    let log = world.path("strace.log");
    put_back();
    finish(under(world, program, &log, &[])).run().ok();
    let rules = less(&String::from_utf8_lossy(&read(&log)));
    put_back();
    finish(under(world, program, &log, &rules)).run().ok();
    good(true, "undisturbed");
    let text = String::from_utf8_lossy(&read(&log)).into_owned();
    assert!(
        text.contains("EINVAL (Invalid argument) (INJECTED)"),
        "{program}: {text}"
    );
    let calls = ["fsync", "link", "linkat", "rename", "unlink"];
    let mut cases = Vec::new();
    for call in calls {
        let count = text
            .lines()
            .filter(|line| line.starts_with(&format!("{call}(")))
            .count();
        for n in 1..=count {
            cases.extend(["signal=KILL", "error=EIO", "error=ENOSPC"].map(|fault| (call, n, fault)));
        }
    }
    assert!(
        cases.iter().any(|(call, ..)| *call == "link" || *call == "linkat"),
        "{program}: {text}"
    );
    let chosen = chosen(cases.len(), 2);
    for i in &chosen {
        let (call, n, fault) = cases[*i];
        put_back();
        let mut rules = rules.clone();
        rules.push(format!("inject={call}:{fault}:when={n}"));
        let out = finish(under(world, program, &log, &rules)).run();
        println!("{program}: {call} {n} {fault}: {}", out.stderr);
        good(out.status.success(), &format!("{program}: {call} {n} {fault}"));
        let _ = std::fs::remove_file(&log);
        // The next run clears what is left.
        finish(world.cmd(program)).run().ok();
        world.clean();
    }
    chosen.len()
}

#[test]
fn file_systems_without_nameless_files_or_exclusive_renames() {
    if !available("file systems that can do less") {
        return;
    }
    let mut tried = 0;
    let others = Others::new();
    for run in RUNS
        .iter()
        .filter(|run| run.args.contains(&"--save") || run.program == "vpo-library")
    {
        tried += at_every_step(
            &others.world,
            run.program,
            &|| others.put_back(),
            &|cmd| others.finish(run, cmd),
            &|success, what| {
                let archives = others.archives();
                assert!(!success || archives.len() == 1, "{what}: {archives:?}");
                for path in archives {
                    judge(&read(&path)).unwrap_or_else(|error| panic!("{what}: {error:?}"));
                }
                assert_eq!(content(&others.world.library()).as_ref(), Ok(&others.old), "{what}");
            },
        );
    }
    for situation in situations() {
        // In place nothing is renamed.
        if !["missing", "safety backup", "damaged", "log without a library"].contains(&situation.name) {
            continue;
        }
        tried += restores(&situation);
    }
    figures(&format!(
        "file systems that can do less: {tried} kills and faults survived"
    ));
}

fn restores(situation: &Situation) -> usize {
    at_every_step(
        &situation.world,
        "vpo-unpack-restore",
        &|| situation.saved.put_back(),
        &|cmd| situation.restore(cmd),
        &|success, what| {
            let new = situation.state(what);
            assert!(!success || new, "{}: {what}", situation.name);
            situation.backups_are_whole(what);
        },
    )
}

/// Neither is the library of a backup, nor what is kept, where two programs race for a name.
#[test]
fn a_name_that_is_taken_is_kept_without_exclusive_renames() {
    if !available("file systems that can do less") {
        return;
    }
    let world = World::new();
    small(&world.library(), 1, "PRAGMA journal_mode = WAL");
    let archive = world.archive_of(&world.library());
    write(world.path("a.tar.gz"), &archive);
    std::fs::create_dir(world.path("kept")).unwrap();
    let log = world.path("strace.log");
    let save = |cmd: Cmd| cmd.args(["--save", "kept"]).stdin_file(&world.path("a.tar.gz"));
    save(under(&world, "vpo-verify", &log, &[])).run().ok();
    let [first] = &names(&world.path("kept"))[..] else {
        panic!()
    };
    write(world.path("kept").join(first), b"somebody else's");
    let rules = less(&String::from_utf8_lossy(&read(&log)));
    save(under(&world, "vpo-verify", &log, &rules)).run().ok();
    assert_eq!(read(world.path("kept").join(first)), b"somebody else's");
    let second = names(&world.path("kept"))
        .into_iter()
        .find(|name| name != first)
        .unwrap();
    same(&second, &read(world.path("kept").join(second.clone())), &archive);
}

/// A device that fills up at every possible moment: the old library or the new one, and the reason by its name.
#[test]
fn a_device_that_fills_up_during_a_restore() {
    with_mounts("devices that fill up", || {
        let world = World::new();
        let new = world.path("new.db");
        small(&new, 2, "PRAGMA journal_mode = DELETE");
        sqlite(&new, "UPDATE files SET path = path || hex(zeroblob(4000))");
        let archive = world.archive_of(&new);
        write(world.path("new.tar.gz"), &archive);
        let (mut refused, mut restored) = (0, 0);
        for mode in ["PRAGMA journal_mode = WAL", "PRAGMA journal_mode = DELETE"] {
            let old = world.path("old.db");
            let _ = std::fs::remove_file(&old);
            small(&old, 1, mode);
            sqlite(&old, "UPDATE files SET path = path || hex(zeroblob(3000))");
            let old_content = content(&old);
            let least = old.metadata().unwrap().len() / 1024;
            let most = least + 3 * new.metadata().unwrap().len() / 1024 + 100;
            for kib in (least + 8..most).step_by(if exhaustive() { 4 } else { 24 }) {
                make_small(world.library().parent().unwrap(), kib);
                std::fs::copy(&old, world.library()).unwrap();
                let out = world
                    .cmd("vpo-unpack-restore")
                    .args(["--yes", "--no-safety-backup", "--timeout", "0", "new.tar.gz"])
                    .run();
                let what = format!("{mode}, {kib} KiB: {} {}", out.status, out.stderr);
                let is = |other: &Result<String, String>| content(&world.library()) == *other;
                if out.status.success() {
                    assert!(is(&content(&new)), "{what}");
                    restored += 1;
                    continue;
                }
                let out = out.exits(44);
                if out.stderr.contains("the library was restored, but") {
                    // The new content is in the log, and finds no room to go on into the file.
                    assert!(is(&content(&new)), "{what}");
                } else {
                    assert!(is(&old_content), "{what}");
                    assert_eq!(names(world.library().parent().unwrap()), ["library.db"], "{what}");
                }
                refused += usize::from(out.stderr.contains("free"));
            }
        }
        // Both have to be met; between them the space that is asked for is just what is needed.
        assert!(refused > 0 && restored > 0, "{refused} refused, {restored} restored");
    });
}
