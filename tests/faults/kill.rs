//! Old or new, never between: the programs are killed at every step, and every call fails once.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::damage::judge;
use crate::support::strace::*;
use crate::support::*;
use crate::{chosen, figures};

/// How many steps of each situation are tried in a sampled run.
const SAMPLE: usize = 1;

/// Whose calls are tried. In a sampled run those of the main thread, which does nearly all that can be seen on disk.
fn whose() -> &'static [Whose] {
    match exhaustive() {
        true => &[Whose::Main, Whose::All],
        false => &[Whose::Main],
    }
}

/// A library of a few small pages, and what it holds.
pub fn small(path: &Path, generation: u32, pragmas: &str) {
    sqlite(
        path,
        &format!(
            "PRAGMA page_size = 512; {pragmas};
             CREATE TABLE _meta (key TEXT, value TEXT);
             CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT, size_bytes INTEGER);
             INSERT INTO _meta VALUES ('schema_version', '27'), ('generation', '{generation}');
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
               INSERT INTO files SELECT i, printf('/v/%d/%s', i * {generation}, hex(zeroblob(40))), i FROM n",
            rows = 20 + 10 * generation
        ),
    );
}

/// What a library holds, after SQLite has recovered a copy of it; or what is wrong with it.
pub fn content(path: &Path) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    for suffix in ["", "-wal", "-journal"] {
        if let Ok(bytes) = std::fs::read(beside(path, suffix)) {
            write(beside(&copy, suffix), &bytes);
        }
    }
    let look = || -> rusqlite::Result<String> {
        let db = Connection::open(&copy)?;
        let found: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        if found != "ok" {
            return Ok(format!("integrity_check: {found}"));
        }
        db.query_row(
            "SELECT (SELECT group_concat(key || '=' || value, ';') FROM _meta) || ' ' ||
                    (SELECT group_concat(id || path || size_bytes, ';') FROM files ORDER BY id)",
            [],
            |row| row.get(0),
        )
    };
    match look() {
        Ok(text) if text.starts_with("integrity_check") => Err(text),
        Ok(text) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}

/// What was there before the restore.
enum Old {
    /// No library.
    None,
    /// One with this content.
    Whole(String),
    /// These useless bytes, which must stay somewhere.
    Useless(Vec<u8>),
}

pub struct Situation {
    pub name: &'static str,
    pub world: World,
    pub saved: Saved,
    /// Where the library is, symlinks resolved.
    library: PathBuf,
    old: Old,
    new: String,
    args: Vec<String>,
}

impl Situation {
    fn new(name: &'static str, set_up: impl FnOnce(&World)) -> Self {
        Self::with(name, &[], set_up)
    }

    fn with(name: &'static str, args: &[&str], set_up: impl FnOnce(&World)) -> Self {
        let world = World::new();
        let new = world.path("new.db");
        small(&new, 2, "PRAGMA journal_mode = DELETE");
        let archive = world.archive_of(&new);
        write(world.path("new.tar.gz"), &archive);
        set_up(&world);
        let named = world.library();
        let library = named.canonicalize().unwrap_or(named);
        let old = match content(&library) {
            _ if !library.exists() => Old::None,
            Ok(text) => Old::Whole(text),
            Err(_) => Old::Useless(read(&library)),
        };
        Situation {
            name,
            saved: Saved::of(&world.home()),
            library,
            old,
            new: content(&new).unwrap(),
            args: args.iter().map(|arg| (*arg).into()).collect(),
            world,
        }
    }

    /// The arguments of a restore.
    pub fn restore(&self, cmd: Cmd) -> Cmd {
        cmd.args(["--yes", "--timeout", "0"]).args(&self.args).arg("new.tar.gz")
    }

    /// What is there now: the old (false) or the new (true); anything else fails the test.
    #[track_caller]
    pub fn state(&self, what: &str) -> bool {
        let name = self.name;
        match (&self.old, content(&self.library)) {
            (_, Ok(now)) if now == self.new => true,
            (Old::Whole(old), Ok(now)) if now == *old => false,
            (Old::Whole(old), Err(_)) if !self.library.exists() => {
                // A library that could not be read may have been moved aside: nothing is deleted.
                let aside = self
                    .asides()
                    .into_iter()
                    .any(|path| content(&path).is_ok_and(|now| now == *old));
                assert!(aside, "{name}: {what}: the old library is nowhere");
                false
            }
            (Old::None, Err(_)) if !self.library.exists() => false,
            (Old::Useless(bytes), _) => {
                let there = [self.library.clone()].into_iter().chain(self.asides());
                let kept = there.filter(|path| path.exists()).any(|path| read(path) == *bytes);
                assert!(kept, "{name}: {what}: the damaged library is nowhere");
                false
            }
            (_, now) => panic!("{name}: {what}: neither old nor new: {now:.300?}"),
        }
    }

    fn asides(&self) -> Vec<PathBuf> {
        let dir = self.library.parent().unwrap();
        let names = if dir.exists() { names(dir) } else { Vec::new() };
        names
            .into_iter()
            .filter(|name| name.contains(".replaced-") && !name.ends_with("-wal") && !name.ends_with("-journal"))
            .map(|name| dir.join(name))
            .collect()
    }

    /// Whatever lists as a backup is one; and where a safety backup was asked for, the old library is in it before the
    /// new one is there.
    #[track_caller]
    pub fn backups_are_whole(&self, what: &str) {
        let dir = self.world.backups();
        let mut kept = false;
        for name in if dir.exists() { names(&dir) } else { Vec::new() } {
            if name.starts_with("vpo-library-") {
                let database =
                    judge(&read(dir.join(&name))).unwrap_or_else(|e| panic!("{}: {what}: {name}: {e:?}", self.name));
                let copy = self.world.path("safety.db");
                write(&copy, &database);
                kept |= matches!(&self.old, Old::Whole(old) if content(&copy).as_ref() == Ok(old));
                std::fs::remove_file(copy).unwrap();
            }
        }
        if self.args.iter().any(|arg| arg == "--safety-dir") && self.state(what) {
            let aside = !self.asides().is_empty();
            assert!(kept || aside, "{}: {what}: the old library is nowhere", self.name);
        }
    }

    /// The next run succeeds and clears every left-over.
    #[track_caller]
    fn next_run(&self, what: &str) {
        let out = self.restore(self.world.cmd("vpo-unpack-restore")).run();
        assert!(out.status.success(), "{}: after {what}: {}", self.name, out.stderr);
        assert!(self.state(what), "{}: {what}", self.name);
        self.world.clean();
    }
}

/// Every state in which a restore may find a library.
pub fn situations() -> Vec<Situation> {
    let wal = "PRAGMA journal_mode = WAL";
    let rollback = "PRAGMA journal_mode = DELETE";
    let library = move |pragmas: &'static str| move |world: &World| small(&world.library(), 1, pragmas);
    vec![
        Situation::new("missing", |_| {}),
        Situation::with("missing directory", &["--db", "../home/.vpo/library.db"], |world| {
            std::fs::remove_dir(world.home().join(".vpo")).unwrap();
        }),
        Situation::new("WAL", library(wal)),
        Situation::new("rollback", library(rollback)),
        Situation::with("safety backup", &["--safety-dir", "../home/.vpo/backups"], library(wal)),
        Situation::new(
            "other page size, WAL",
            library("PRAGMA page_size = 1024; PRAGMA journal_mode = WAL"),
        ),
        Situation::new(
            "other page size, rollback",
            library("PRAGMA page_size = 4096; PRAGMA journal_mode = DELETE"),
        ),
        Situation::new(
            "auto-vacuum",
            library("PRAGMA auto_vacuum = FULL; PRAGMA journal_mode = WAL"),
        ),
        Situation::new("log of a crashed writer", |world| {
            small(&world.library(), 1, wal);
            let mut peer = Peer::open(&world.library());
            peer.sql("INSERT INTO files VALUES (1000, 'in the log', 5)");
            peer.kill();
            assert!(beside(&world.library(), "-wal").metadata().unwrap().len() > 0);
        }),
        Situation::new("hot journal", |world| {
            small(&world.library(), 1, rollback);
            let mut peer = Peer::open(&world.library());
            peer.sql("PRAGMA cache_size = 1");
            peer.sql("BEGIN");
            peer.sql("UPDATE files SET path = path || 'never committed'");
            peer.kill();
            assert!(beside(&world.library(), "-journal").metadata().unwrap().len() > 512);
        }),
        Situation::new("log without a library", |world| {
            let path = world.path("gone.db");
            small(&path, 1, wal);
            let mut peer = Peer::open(&path);
            peer.sql("INSERT INTO files VALUES (1000, 'in the log', 5)");
            peer.kill();
            std::fs::rename(beside(&path, "-wal"), beside(&world.library(), "-wal")).unwrap();
        }),
        Situation::new("damaged", |world| {
            small(&world.library(), 1, wal);
            let mut bytes = read(world.library());
            bytes[512..2048].fill(0xaa);
            write(world.library(), &bytes);
        }),
        Situation::new("no database", |world| {
            write(world.library(), b"this is not a database at all")
        }),
        Situation::new("symlink", |world| {
            std::fs::create_dir(world.home().join("elsewhere")).unwrap();
            small(&world.home().join("elsewhere/real.db"), 1, wal);
            std::os::unix::fs::symlink("../elsewhere/real.db", world.library()).unwrap();
        }),
    ]
}

#[test]
fn a_restore_killed_at_any_step_leaves_old_or_new() {
    if !available("kills at every step") {
        return;
    }
    let (mut points, mut old, mut new) = (0, 0, 0);
    for situation in situations() {
        for &whose in whose() {
            situation.saved.put_back();
            let counts = count(&situation.world, "vpo-unpack-restore", whose, CHANGING, |cmd| {
                situation.restore(cmd)
            });
            let steps = steps(&counts);
            assert!(situation.state("undisturbed"), "{}", situation.name);
            for i in chosen(steps.len(), SAMPLE) {
                let (call, n) = steps[i];
                situation.saved.put_back();
                let what = format!("killed at {call} {n} ({whose:?})");
                let cmd = killed(&situation.world, "vpo-unpack-restore", whose, call, n);
                let out = situation.restore(cmd).run();
                if out.status.success() {
                    // What another thread did first, the main thread need not do: it never came to this call.
                    assert!(situation.state(&what), "{}: {what}", situation.name);
                    continue;
                }
                if whose == Whose::Main {
                    out.ended_by(9);
                }
                if situation.state(&what) {
                    new += 1;
                } else {
                    old += 1;
                }
                let moved = matches!(situation.old, Old::Whole(_)) && !situation.asides().is_empty();
                assert!(!moved, "{}: {what}: a sound library was moved aside", situation.name);
                situation.backups_are_whole(&what);
                situation.next_run(&what);
                points += 1;
            }
        }
    }
    assert!(old > 0 && new > 0, "{old} {new}");
    figures(&format!(
        "restore: {points} kill points survived, {old} with the old content, {new} with the new"
    ));
}

#[test]
fn a_save_killed_at_any_step_leaves_a_whole_file_or_none() {
    if !available("kills at every step") {
        return;
    }
    let world = World::new();
    small(&world.library(), 1, "PRAGMA journal_mode = WAL");
    write(world.path("a.tar.gz"), &world.archive_of(&world.library()));
    std::fs::create_dir(world.path("kept")).unwrap();
    let save = |cmd: Cmd| cmd.args(["--save", "kept"]).stdin_file(&world.path("a.tar.gz"));
    let counts = count(&world, "vpo-verify", Whose::Main, CHANGING, save);
    let steps = steps(&counts);
    let archive = read(world.path("a.tar.gz"));
    let mut points = 0;
    for i in chosen(steps.len(), 6 * SAMPLE) {
        let (call, n) = steps[i];
        std::fs::remove_dir_all(world.path("kept")).unwrap();
        std::fs::create_dir(world.path("kept")).unwrap();
        save(killed(&world, "vpo-verify", Whose::Main, call, n))
            .run()
            .ended_by(9);
        for name in names(&world.path("kept")) {
            if name.starts_with("vpo-library-") {
                same(&name, &read(world.path("kept").join(&name)), &archive);
            }
        }
        save(world.cmd("vpo-verify")).run().ok();
        world.clean();
        points += 1;
    }
    figures(&format!("--save: {points} kill points survived"));
}

#[test]
fn a_backup_killed_at_any_step_leaves_a_whole_backup_or_none() {
    if !available("kills at every step") {
        return;
    }
    let mut points = 0;
    for (mode, pragma) in [
        ("WAL", "PRAGMA journal_mode = WAL"),
        ("rollback", "PRAGMA journal_mode = DELETE"),
    ] {
        let world = World::new();
        small(&world.library(), 1, pragma);
        // Of several blocks.
        sqlite(
            &world.library(),
            "CREATE TABLE filling (x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
               INSERT INTO filling SELECT randomblob(1000) FROM n",
        );
        let old = content(&world.library()).unwrap();
        let saved = Saved::of(&world.home());
        for &whose in whose() {
            saved.put_back();
            let counts = count(&world, "vpo-library", whose, CHANGING, |cmd| cmd.arg("backup"));
            let steps = steps(&counts);
            for i in chosen(steps.len(), 2 * SAMPLE) {
                let (call, n) = steps[i];
                saved.put_back();
                let out = killed(&world, "vpo-library", whose, call, n).arg("backup").run();
                let what = format!("{mode}, {whose:?}: killed at {call} {n}");
                // Those that were not killed end when their pipes do.
                wait_until("the pipeline is gone", || !anybody_works_in(&world));
                assert_eq!(content(&world.library()).as_ref(), Ok(&old), "{what}");
                if world.backups().exists() {
                    for name in names(&world.backups()) {
                        if name.starts_with("vpo-library-") {
                            judge(&read(world.backups().join(&name))).unwrap_or_else(|e| panic!("{what}: {e:?}"));
                        }
                    }
                }
                world.cmd("vpo-library").arg("backup").run().ok();
                world.clean();
                assert_eq!(content(&world.library()).as_ref(), Ok(&old), "{what}");
                // Its threads race: the one that gets there first need not do all that the other did.
                if out.status.success() {
                    assert_eq!(whose, Whose::All, "{what}: not killed");
                } else {
                    points += 1;
                }
            }
        }
    }
    assert!(points > 0, "none was killed");
    figures(&format!("backup: {points} kill points survived"));
}

/// `vpo-library` beside programs of which one is traced with these options of strace(1).
fn with_traced(world: &World, traced: &str, options: &str) -> PathBuf {
    let dir = world.path("bin");
    let library = executable("vpo-library");
    let mut script =
        format!("mkdir -p bin; [ -e bin/vpo-library ] || ln '{library}' bin/ 2>/dev/null || cp '{library}' bin/\n");
    for program in ["vpo-snapshot", "vpo-pack", "vpo-verify"] {
        let strace = match program == traced {
            true => format!("{} strace -qq {options} ", on_one_processor().join(" ")),
            false => String::new(),
        };
        let real = executable(program);
        script += &format!("cat > bin/{program} <<'END'\n#!/bin/sh\nexec {strace}'{real}' \"$@\"\nEND\n");
    }
    script += "chmod +x bin/*";
    // By a shell: a file that this process writes may be open in a child of another thread, and can't be run then.
    world.cmd("sh").args(["-euc", &script]).run().ok();
    dir.join("vpo-library")
}

#[test]
fn a_backup_one_of_whose_programs_is_killed_at_any_step_leaves_none() {
    if !available("kills at every step") {
        return;
    }
    let others = Others::new();
    let world = &others.world;
    let log = world.scratch().join("strace.log");
    let mut points = 0;
    for (program, args) in [
        ("vpo-snapshot", &["backup"][..]),
        ("vpo-pack", &["backup"]),
        ("vpo-verify", &["backup", "--verify"]),
    ] {
        let options = format!("-f -e trace={CHANGING} -e signal=none -o '{}'", log.display());
        let library = with_traced(world, program, &options);
        world.cmd(library.to_str().unwrap()).args(args).run().ok();
        let counts = per_thread(&log);
        let all = steps(&counts);
        for i in chosen(all.len(), 2 * SAMPLE) {
            let (call, n) = all[i];
            others.home.put_back();
            let options = format!("-f -o /dev/null -e trace={call} -e inject={call}:signal=KILL:when={n}");
            let library = with_traced(world, program, &options);
            let out = world.cmd(library.to_str().unwrap()).args(args).run();
            let what = format!("{program}: killed at {call} {n}");
            assert!(!anybody_works_in(world), "{what}: somebody is left behind");
            let killed = out.stderr.contains(&format!("{program} was ended by signal 9"));
            // Its threads race: the one that gets there first need not do all that the other did.
            assert!(
                out.status.success() || killed,
                "{what}: {} {:?}",
                out.status,
                out.stderr
            );
            assert_eq!(out.status.success(), !others.archives().is_empty(), "{what}");
            for path in others.archives() {
                judge(&read(&path)).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            }
            points += usize::from(killed);
            assert_eq!(content(&world.library()).as_ref(), Ok(&others.old), "{what}");
            world.cmd("vpo-library").arg("backup").run().ok();
            world.clean();
        }
    }
    assert!(points > SAMPLE, "only {points} were killed");
    figures(&format!("backup: {points} kill points of its programs survived"));
}

/// The same where close(2) fails once: what has become a backup is whole.
#[test]
fn a_backup_one_of_whose_programs_cannot_close() {
    if !available("failing calls") {
        return;
    }
    let others = Others::new();
    let world = &others.world;
    let log = world.scratch().join("strace.log");
    let (mut failed, mut made) = (0, 0);
    for (program, args) in [
        ("vpo-snapshot", &["backup"][..]),
        ("vpo-pack", &["backup"]),
        ("vpo-verify", &["backup", "--verify"]),
    ] {
        let library = with_traced(world, program, &format!("-e trace=close -o '{}'", log.display()));
        world.cmd(library.to_str().unwrap()).args(args).run().ok();
        let counts = per_thread(&log);
        let all = steps(&counts);
        for i in chosen(all.len(), 4 * SAMPLE) {
            let (call, n) = all[i];
            others.home.put_back();
            let options = format!("-o /dev/null -e trace={call} -e inject={call}:error=EIO:when={n}");
            let library = with_traced(world, program, &options);
            let out = world.cmd(library.to_str().unwrap()).args(args).run();
            // The same as `not_by_us`, as the wrapper tells it: the loader, and Rust's library.
            let gone = ["ended with status 127", "ended with status 101"];
            if not_by_us(&out) || gone.iter().any(|status| out.stderr.contains(status)) {
                continue;
            }
            let what = format!("{program}: {call} {n}: {} {:?}", out.status, out.stderr);
            assert!(matches!(out.status.code(), Some(0 | 40)), "{what}");
            assert_eq!(out.status.success(), !others.archives().is_empty(), "{what}");
            for path in others.archives() {
                judge(&read(&path)).unwrap_or_else(|error| panic!("{what}: {error:?}"));
            }
            match out.status.success() {
                true => made += 1,
                false => failed += 1,
            }
            assert_eq!(content(&world.library()).as_ref(), Ok(&others.old), "{what}");
            world.cmd("vpo-library").arg("backup").run().ok();
            world.clean();
        }
    }
    assert!(failed > 0, "no close failed");
    figures(&format!(
        "backup: close fails in its programs: {made} made, {failed} not"
    ));
}

/// True while a process has its working directory in this world.
fn anybody_works_in(world: &World) -> bool {
    let place = world.path("");
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return false;
    };
    processes
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .any(|entry| {
            entry
                .path()
                .join("cwd")
                .read_link()
                .is_ok_and(|cwd| cwd.join("") == place)
        })
}

/// The calls that may fail, and how.
pub const FAILING: [(&str, &[&str]); 18] = [
    ("write", &["ENOSPC", "EDQUOT", "EIO", "EFBIG"]),
    ("pwrite64", &["ENOSPC", "EDQUOT", "EIO", "EFBIG"]),
    ("fsync", &["EIO", "ENOSPC", "EDQUOT"]),
    ("fdatasync", &["EIO", "ENOSPC", "EDQUOT"]),
    ("ftruncate", &["EIO", "ENOSPC", "EDQUOT"]),
    ("renameat2", &["EIO", "ENOSPC", "EDQUOT"]),
    ("rename", &["EIO"]),
    ("link", &["EIO", "ENOSPC"]),
    ("linkat", &["EIO", "ENOSPC", "EDQUOT"]),
    ("pread64", &["EIO"]),
    ("read", &["EIO"]),
    ("fchmod", &["EIO"]),
    ("fallocate", &["ENOSPC", "EIO"]),
    ("mkdir", &["ENOSPC", "EIO", "EDQUOT"]),
    ("unlink", &["EIO"]),
    ("open", &["ENOSPC", "EDQUOT", "EIO", "EMFILE"]),
    ("openat", &["ENOSPC", "EMFILE"]),
    // NFS and quotas report here what a write did not. Under strace the descriptor stays open.
    ("close", &["EIO"]),
];

/// The codes that a failure may have: the contract's.
pub fn codes(call: &str, errno: &str) -> &'static [i32] {
    match (call, errno) {
        // Nothing but a creation meets this, and strace makes the others meet it too.
        ("openat", "ENOSPC") => &[40, 44],
        (_, "ENOSPC" | "EDQUOT") => &[44],
        _ => &[40],
    }
}

/// The first calls of a program are those of the loader, which says in its own words that it could not start. And Rust's
/// library panics where a directory can't be closed: nothing was written to one, so that no system has a reason for it.
pub fn not_by_us(out: &Output) -> bool {
    out.status.code() == Some(127)
        || out.stderr.contains("error while loading shared libraries")
        || out.stderr.contains("unexpected error during closedir")
}

/// A fault once, and from then on; what fails to be closed is open, and of too many such there is nothing to learn.
pub fn once_and_on(call: &str) -> &'static [bool] {
    if call == "close" { &[false] } else { &[false, true] }
}

#[test]
fn a_restore_with_any_call_failing_leaves_old_or_new() {
    restores_with_failing_calls(Whose::Main);
}

#[test]
fn a_restore_with_any_call_failing_in_every_thread_leaves_old_or_new() {
    restores_with_failing_calls(Whose::All);
}

/// What a restore that met a fault says that it has done.
pub enum Told {
    Done,
    /// The library was restored, but something else failed.
    DoneBut,
    Not,
}

/// What a restore said that met a fault for which the contract has one of `codes`; or why that is not true, where what
/// is there now is the `new` content or not. A `mute` one could not write its message.
pub fn told(out: &Output, new: bool, codes: &[i32], mute: bool) -> Result<Told, &'static str> {
    // Where no flush succeeds any more, nobody can tell which of the two states will be found.
    let unsure = out
        .stderr
        .contains("the next to open it finds it as it was, or restored");
    let said = out.stderr.contains("vpo-unpack-restore: the library was restored, but");
    match out.status.code() {
        Some(0) if new => Ok(Told::Done),
        Some(0) => Err("success without the new content"),
        // SQLite does not tell why it stays in a mode, and here the disk is not really full.
        Some(40) if !new && out.stderr.contains("stays in journal mode wal") => Ok(Told::Not),
        Some(code) if !codes.contains(&code) => Err("the wrong code"),
        Some(_) if out.stderr.contains("panicked") => Err("a panic"),
        Some(_) if !mute && !out.stderr.starts_with("vpo-unpack-restore: ") => Err("no error line"),
        Some(_) if new && !said && !mute && !unsure => Err("restored without a word about it"),
        Some(_) if !new && said => Err("not restored, but says so"),
        Some(_) if new => Ok(Told::DoneBut),
        Some(_) => Ok(Told::Not),
        None => Err("killed"),
    }
}

fn restores_with_failing_calls(whose: Whose) {
    if !available("failing calls") {
        return;
    }
    let calls = FAILING.map(|(call, _)| call).join(",");
    let (mut faults, mut failed, mut after, mut harmless) = (0, 0, 0, 0);
    let mut wrong = Vec::new();
    for situation in &situations() {
        situation.saved.put_back();
        let counts = count(&situation.world, "vpo-unpack-restore", whose, &calls, |cmd| {
            situation.restore(cmd)
        });
        let mut cases = Vec::new();
        for (call, errnos) in FAILING {
            for (_, n) in steps(&counts).into_iter().filter(|(name, _)| *name == call) {
                for errno in errnos {
                    cases.extend(once_and_on(call).iter().map(|on| (call, *errno, n, *on)));
                }
            }
        }
        for i in chosen(cases.len(), SAMPLE) {
            let (call, errno, n, on) = cases[i];
            situation.saved.put_back();
            let cmd = failing(&situation.world, "vpo-unpack-restore", whose, call, errno, n, on);
            let out = situation.restore(cmd).run();
            if not_by_us(&out) {
                continue;
            }
            let what = format!("{call} {n}{} {errno} ({whose:?})", if on { "+" } else { "" });
            let new = situation.state(&what);
            situation.backups_are_whole(&what);
            faults += 1;
            let mut complain = |why: &str| {
                let (status, stderr) = (out.status, &out.stderr);
                wrong.push(format!(
                    "{}: {what}: {why}: {status}, new: {new}: {stderr:?}",
                    situation.name
                ));
            };
            // Where more than one write fails, that of the message may be among them.
            let mute = call == "write" && (on || whose == Whose::All);
            match told(&out, new, codes(call, errno), mute) {
                Ok(Told::Done) => harmless += 1,
                Ok(Told::DoneBut) => after += 1,
                Ok(Told::Not) => failed += 1,
                Err(why) => complain(why),
            }
            // A sound library is put aside only because it can't be read, or its journal can't be rolled back at
            // any time: SQLite can't open it then.
            let moved = matches!(situation.old, Old::Whole(_)) && !situation.asides().is_empty();
            let rolled_back = situation.name != "hot journal" || call != "pwrite64" || !on;
            let unreadable = !rolled_back || errno == "EIO" && ["read", "pread64"].contains(&call);
            if moved && !unreadable {
                complain("a sound library was moved aside");
            }
            situation.next_run(&what);
        }
    }
    assert!(failed > 0, "no call failed");
    figures(&format!(
        "restore ({whose:?}): {faults} faults survived: {failed} with the old state, {after} after the commit, \
         {harmless} harmless"
    ));
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// A run of one of the other programs.
pub struct Run {
    pub program: &'static str,
    pub args: &'static [&'static str],
    stdin: Option<&'static str>,
}

const fn run(program: &'static str, args: &'static [&'static str], stdin: Option<&'static str>) -> Run {
    Run { program, args, stdin }
}

pub const RUNS: [Run; 10] = [
    run("vpo-snapshot", &[], None),
    run("vpo-snapshot", &["in.db"], None),
    run("vpo-pack", &[], Some("in.db")),
    run("vpo-verify", &["in.tar.gz"], None),
    run("vpo-verify", &["--save", "kept"], Some("in.tar.gz")),
    run("vpo-verify", &["--json", "in.tar.gz"], None),
    run("vpo-ls-backups", &["."], None),
    run("vpo-unpack-restore", &["--dry-run", "in.tar.gz"], None),
    run("vpo-library", &["backup"], None),
    run("vpo-library", &["backup", "--verify", "-o", "kept"], None),
];

/// Where the other programs run: a library, another database and an archive of it, and a directory for archives.
pub struct Others {
    pub world: World,
    home: Saved,
    work: Saved,
    /// What the library holds, which none of them changes.
    pub old: String,
}

impl Others {
    pub fn new() -> Self {
        let world = World::new();
        small(&world.library(), 1, "PRAGMA journal_mode = WAL");
        let old = content(&world.library()).unwrap();
        small(&world.path("in.db"), 2, "PRAGMA journal_mode = DELETE");
        write(world.path("in.tar.gz"), &world.archive_of(&world.path("in.db")));
        std::fs::create_dir(world.path("kept")).unwrap();
        Others {
            home: Saved::of(&world.home()),
            work: Saved::of(&world.path("")),
            world,
            old,
        }
    }

    pub fn put_back(&self) {
        self.home.put_back();
        self.work.put_back();
    }

    /// The arguments and streams of a run.
    pub fn finish(&self, run: &Run, cmd: Cmd) -> Cmd {
        let out = std::fs::File::create(self.world.path("out")).unwrap();
        let cmd = cmd.args(run.args).stdout(out);
        match run.stdin {
            Some(name) => cmd.stdin_file(&self.world.path(name)),
            None => cmd,
        }
    }

    /// What went to standard output.
    pub fn out(&self) -> Vec<u8> {
        read(self.world.path("out"))
    }

    /// What is where archives are kept.
    pub fn archives(&self) -> Vec<PathBuf> {
        [self.world.path("kept"), self.world.backups()]
            .iter()
            .filter(|dir| dir.exists())
            .flat_map(|dir| names(dir).into_iter().map(|name| dir.join(name)))
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("vpo-library-"))
            .collect()
    }

    /// Why a success is none.
    pub fn doubt(&self, run: &Run, good: &[u8]) -> Option<&'static str> {
        let keeps = run.program == "vpo-library" || run.args.contains(&"--save");
        match run.program {
            "vpo-pack" if judge(&self.out()).is_err() => Some("not a complete archive"),
            "vpo-snapshot" if self.out() != good => Some("another output"),
            _ if keeps && self.archives().is_empty() => Some("success without an archive"),
            _ => None,
        }
    }
}

#[test]
fn the_other_programs_with_any_call_failing() {
    if !available("failing calls") {
        return;
    }
    let others = Others::new();
    let world = &others.world;
    let calls = FAILING.map(|(call, _)| call).join(",");
    let (mut faults, mut failed, mut wrong) = (0, 0, Vec::new());
    for run in &RUNS {
        let Run { program, args, .. } = run;
        let finish = |cmd| others.finish(run, cmd);
        for &whose in whose() {
            others.put_back();
            let counts = count(world, program, whose, &calls, finish);
            let good = others.out();
            let mut cases = Vec::new();
            for (call, n) in steps(&counts) {
                // A pipe that stays open has no end: see `a_backup_one_of_whose_programs_cannot_close`.
                if call == "close" && *program == "vpo-library" {
                    continue;
                }
                let (_, errnos) = FAILING.iter().find(|(name, _)| *name == call).unwrap();
                for errno in *errnos {
                    cases.extend(once_and_on(call).iter().map(|on| (call, *errno, n, *on)));
                }
            }
            for i in chosen(cases.len(), SAMPLE) {
                let (call, errno, n, on) = cases[i];
                others.put_back();
                let out = finish(failing(world, program, whose, call, errno, n, on)).run();
                if not_by_us(&out) {
                    continue;
                }
                faults += 1;
                failed += usize::from(!out.status.success());
                let mark = if on { "+" } else { "" };
                let what = format!("{program} {args:?} ({whose:?}): {call} {n}{mark} {errno}");
                let mut complain = |why: &str| wrong.push(format!("{what}: {why}: {}: {:?}", out.status, out.stderr));
                // Where more than one write fails, that of the message may be among them.
                let mute = call == "write" && (on || whose == Whose::All);
                match out.status.code() {
                    Some(0) if call == "fsync" && !others.archives().is_empty() => complain("success without a flush"),
                    Some(0) => {
                        if let Some(why) = others.doubt(run, &good) {
                            complain(why);
                        }
                    }
                    // A listing shows what it can't read as a row; a pipeline has the code of the program that failed.
                    Some(code) if !codes(call, errno).contains(&code) => complain("the wrong code"),
                    Some(_) if out.stderr.contains("panicked") => complain("a panic"),
                    Some(_) if out.stderr.is_empty() && !mute && others.out().is_empty() => complain("no word"),
                    Some(_) => {}
                    None => complain("killed"),
                }
                for path in others.archives() {
                    if judge(&read(&path)).is_err() {
                        complain("a backup that is none");
                    }
                }
                assert_eq!(content(&world.library()).as_ref(), Ok(&others.old), "{what}");
                // The next run clears what is left, even where the removal itself failed.
                finish(world.cmd(program)).run().ok();
                world.clean();
            }
        }
    }
    assert!(failed > 0, "no call failed");
    figures(&format!("the other programs: {faults} faults survived"));
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a write did not report, close(2) may: NFS and quotas do so. Nothing counts as written before.
#[test]
fn a_standard_output_that_cannot_be_closed_is_no_success() {
    if !available("a close that fails") {
        return;
    }
    let others = Others::new();
    let world = &others.world;
    let more = [
        run("vpo-library", &["backup", "-o", "-"], None),
        run("vpo-library", &["backups", "--json"], None),
        run("vpo-library", &["verify", "in.tar.gz"], None),
        run("vpo-library", &["restore", "--yes", "in.tar.gz"], None),
        run("vpo-unpack-restore", &["--yes", "in.tar.gz"], None),
        run("vpo-pack", &["--help"], None),
        run("vpo-verify", &["--version"], None),
    ];
    let path = world.path("out");
    for run in RUNS.iter().chain(&more) {
        let (program, args) = (run.program, run.args);
        // In every process that has it: a pipeline's last program may be the one that writes.
        let options = ["-o", "/dev/null", "-P", path.to_str().unwrap(), "-e", "trace=close"];
        let inject = [&options[..], &["-e", "inject=close:error=EIO"]].concat();
        others.put_back();
        let out = others.finish(run, traced(world, program, Whose::All, &inject)).run();
        let what = format!("{program} {args:?}: {:?}", out.stderr);
        assert_eq!(out.status.code(), Some(40), "{what}");
        let said = out.stderr.contains("cannot write") && out.stderr.contains("Input/output error");
        assert!(said, "{what}");
        if args.contains(&"--yes") {
            assert!(out.stderr.contains("the library was restored, but"), "{what}");
        }
    }
}

/// Calls that a signal may interrupt, and that are to be repeated.
const INTERRUPTED: &str = "read,write,pread64,pwrite64,ftruncate,open,openat,flock,linkat";

/// The last read of a comparison, and the opening of a directory, were not repeated after a signal.
#[test]
fn an_interrupted_call_is_no_failure() {
    if !available("interrupted calls") {
        return;
    }
    let situations: Vec<_> = situations()
        .into_iter()
        .filter(|s| ["missing", "WAL", "rollback"].contains(&s.name))
        .collect();
    let mut tried = 0;
    for situation in &situations {
        situation.saved.put_back();
        let counts = count(
            &situation.world,
            "vpo-unpack-restore",
            Whose::Main,
            INTERRUPTED,
            |cmd| situation.restore(cmd),
        );
        let steps = steps(&counts);
        for i in chosen(steps.len(), 3 * SAMPLE) {
            let (call, n) = steps[i];
            situation.saved.put_back();
            let cmd = failing(
                &situation.world,
                "vpo-unpack-restore",
                Whose::Main,
                call,
                "EINTR",
                n,
                false,
            );
            let out = situation.restore(cmd).run();
            if not_by_us(&out) {
                continue;
            }
            let what = format!("{call} {n} interrupted");
            assert!(out.status.success(), "{}: {what}: {}", situation.name, out.stderr);
            assert!(situation.state(&what), "{}: {what}", situation.name);
            situation.world.clean();
            tried += 1;
        }
    }
    let others = Others::new();
    for run in &RUNS {
        let (program, args) = (run.program, run.args);
        for &whose in whose() {
            others.put_back();
            let counts = count(&others.world, program, whose, INTERRUPTED, |cmd| {
                others.finish(run, cmd)
            });
            let good = others.out();
            let steps = steps(&counts);
            for i in chosen(steps.len(), 1) {
                let (call, n) = steps[i];
                others.put_back();
                let cmd = failing(&others.world, program, whose, call, "EINTR", n, false);
                let out = others.finish(run, cmd).run();
                if not_by_us(&out) {
                    continue;
                }
                let what = format!("{program} {args:?} ({whose:?}): {call} {n} interrupted");
                assert!(out.status.success(), "{what}: {} {}", out.status, out.stderr);
                assert_eq!(others.doubt(run, &good), None, "{what}");
                others.world.clean();
                tried += 1;
            }
        }
    }
    figures(&format!("{tried} interrupted calls made no difference"));
}
