//! Other processes that use the library while backups and restores run: at every step of theirs, and in a crowd.
//!
//! What meets when is not left to chance: a program is stopped after each of its calls, the other one comes and does
//! its work, or has to wait, and then the first one goes on.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::kill::{content, small};
use crate::support::strace::{self, CHANGING, Whose, count, stopping};
use crate::support::*;
use crate::{chosen, figures};

/// A process that writes until it is told to stop, or once.
struct Writer {
    child: Child,
    output: BufReader<ChildStdout>,
    said: String,
}

/// What a writer did.
#[derive(Default)]
struct Written {
    commits: u64,
    /// The rows that it was told are committed.
    rows: BTreeSet<String>,
    errors: Vec<String>,
}

const WRITER: &str = "VPO_TEST_WRITER";
const WRITER_KIND: &str = "VPO_TEST_WRITER_KIND";
const WRITER_ARGS: [&str; 5] = [
    "--exact",
    "company::writer_process",
    "--ignored",
    "--nocapture",
    "--test-threads=1",
];
/// How long a writer waits for a lock: nothing here holds one so long, unless it hangs.
const WRITERS_PATIENCE: Duration = Duration::from_secs(50);

impl Writer {
    /// Moves amounts between the accounts of the table `ledger`, whose sum stays.
    fn of_ledger(path: &Path) -> Self {
        Self::start(path, "ledger")
    }

    /// Opens the library, adds a row, closes it, over and over.
    fn of_rows(path: &Path) -> Self {
        Self::start(path, "rows")
    }

    /// Does that once, and waits for a lock if it has to.
    fn of_one_row(path: &Path) -> Self {
        Self::start(path, "one row")
    }

    /// The same, but it looks for the lock as seldom as SQLite's own busy handler after a while.
    fn of_one_row_seldom(path: &Path) -> Self {
        Self::start(path, "one row seldom")
    }

    fn start(path: &Path, kind: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(WRITER_ARGS)
            .env(WRITER, path)
            .env(WRITER_KIND, kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Writer {
            child,
            output,
            said: String::new(),
        }
    }

    /// Waits until it has come as far as it can by itself: it has written its row, or a lock is refused to it.
    fn has_come(&mut self) {
        while !["done> ", "error> ", "refused> "]
            .iter()
            .any(|mark| self.said.contains(mark))
        {
            assert!(self.output.read_line(&mut self.said).unwrap() > 0, "a writer is gone");
        }
    }

    /// Tells it to stop, and reads what it did.
    fn stop(mut self) -> Written {
        drop(self.child.stdin.take());
        self.output.read_to_string(&mut self.said).unwrap();
        assert!(self.child.wait().unwrap().success(), "a writer failed: {}", self.said);
        Written::parse(&self.said)
    }
}

impl Written {
    fn parse(out: &str) -> Self {
        let mut written = Written::default();
        for line in out.lines() {
            if let Some((_, row)) = line.split_once("done> ") {
                written.rows.insert(row.into());
            } else if let Some((_, error)) = line.split_once("error> ") {
                written.errors.push(error.into());
            } else if let Some((_, commits)) = line.split_once("writer> ") {
                written.commits = commits.parse().unwrap();
            }
        }
        written
    }

    /// It wrote, without an error, and each of its rows is in `found`.
    #[track_caller]
    fn is_in(&self, found: &BTreeSet<String>, what: &str) {
        assert!(self.errors.is_empty(), "{what}: {:.300?}", self.errors);
        assert!(self.commits > 0, "{what}: a writer did nothing");
        let lost: Vec<_> = self.rows.difference(found).collect();
        let committed = self.rows.len();
        assert!(
            lost.is_empty(),
            "{what}: {} of {committed} rows lost: {lost:.300?}",
            lost.len()
        );
    }
}

#[test]
#[ignore = "the other process of other tests, not a test"]
fn writer_process() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let path = Path::new(&path);
    let kind = std::env::var(WRITER_KIND).unwrap_or_default();
    static STOP: AtomicBool = AtomicBool::new(false);
    if !kind.starts_with("one row") {
        std::thread::spawn(|| {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            STOP.store(true, Ordering::SeqCst);
        });
    }
    let open = || -> rusqlite::Result<Connection> {
        let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // SQLite calls it each time that a lock is refused, from 0 on for each that is wanted.
        db.busy_handler(Some(|attempts| {
            let kind = std::env::var(WRITER_KIND).unwrap_or_default();
            if attempts == 0 && kind.starts_with("one row") {
                say("refused> \n");
            }
            let pause = Duration::from_millis(if kind == "one row seldom" { 100 } else { 1 });
            std::thread::sleep(pause);
            // Each attempt takes as long, and more.
            pause * (attempts as u32) < WRITERS_PATIENCE
        }))?;
        // As VPO does.
        db.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(db)
    };
    let mut kept = (kind == "ledger").then(|| open().unwrap());
    // In rollback mode three writers without a gap starve each other, whoever else is there.
    let mode = kept.as_ref().map(|db| {
        db.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0))
            .unwrap()
    });
    let gap = Duration::from_millis(if mode.as_deref() == Some("wal") { 0 } else { 5 });
    let mut commits = 0_u64;
    say("\n");
    loop {
        let result = match &mut kept {
            Some(db) => transfer(db, commits),
            None => open().and_then(|db| {
                let row = format!("{}-{commits}", std::process::id());
                db.execute("INSERT INTO files (path, size_bytes) VALUES (?1, 1)", [&row])?;
                db.close().map_err(|(_, error)| error)?;
                // Not while it has the library open: nobody may read what it says for a while.
                say(&format!("done> {row}\n"));
                Ok(())
            }),
        };
        match result {
            Ok(()) => commits += 1,
            Err(error) => say(&format!("error> {error}\n")),
        }
        if kind.starts_with("one row") || STOP.load(Ordering::SeqCst) {
            break;
        }
        std::thread::sleep(gap);
    }
    say(&format!("writer> {commits}\n"));
}

/// Tells the test, at once.
fn say(text: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).unwrap();
    stdout.flush().unwrap();
}

/// One transaction in three statements: in between the sum is wrong.
fn transfer(db: &mut Connection, n: u64) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let amount = (n % 97 + 1) as i64;
    let (from, to) = ((n * 7 % 50) as i64, (n * 13 % 50) as i64);
    tx.execute(
        "UPDATE ledger SET amount = amount - ?1 WHERE account = ?2",
        [amount, from],
    )?;
    tx.execute("INSERT INTO history (note) VALUES (hex(randomblob(100)))", [])?;
    tx.execute(
        "UPDATE ledger SET amount = amount + ?1 WHERE account = ?2",
        [amount, to],
    )?;
    tx.execute("DELETE FROM history WHERE id < (SELECT max(id) FROM history) - 500", [])?;
    tx.commit()
}

const SUM: i64 = 50_000;

/// Rows that make a library of some hundred KiB, and one larger than all pipes and buffers together.
const FEW: u32 = 500;
const MANY: u32 = 24_000;

/// A library with a ledger, and so many rows of 300 bytes.
fn library_with_ledger(world: &World, pragmas: &str, filling: u32) {
    small(&world.library(), 1, pragmas);
    sqlite(
        &world.library(),
        &format!(
            "CREATE TABLE ledger (account INTEGER PRIMARY KEY, amount INTEGER);
             CREATE TABLE history (id INTEGER PRIMARY KEY, note TEXT);
             CREATE TABLE filling (x TEXT);
             WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 49)
               INSERT INTO ledger SELECT i, 1000 FROM n;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {filling})
               INSERT INTO filling SELECT hex(randomblob(150)) FROM n"
        ),
    );
}

/// The sum of the ledger in an archive, which has to be whole.
#[track_caller]
fn balance(archive: &[u8]) -> i64 {
    let database = crate::damage::judge(archive).unwrap_or_else(|error| panic!("{error:?}"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    write(&path, &database);
    let db = Connection::open(&path).unwrap();
    let found: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
    db.query_row("SELECT sum(amount) FROM ledger", [], |row| row.get(0))
        .unwrap()
}

const WAL: &str = "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL";
const ROLLBACK: &str = "PRAGMA page_size = 4096; PRAGMA journal_mode = DELETE";

/// However many transactions end while a backup runs, it holds the state between two of them.
#[test]
fn backups_among_writers_hold_a_state_that_existed() {
    for (mode, pragmas) in [("WAL", WAL), ("rollback", ROLLBACK)] {
        let world = World::new();
        library_with_ledger(&world, pragmas, FEW);
        let writers: Vec<_> = (0..3).map(|_| Writer::of_ledger(&world.library())).collect();
        let count = if exhaustive() { 200 } else { 6 };
        for _ in 0..count {
            let backup = world.cmd("vpo-library").args(["--timeout", "60", "backup", "--json"]);
            backup.run().ok();
        }
        let written: Vec<_> = writers.into_iter().map(Writer::stop).collect();
        assert_eq!(names(&world.backups()).len(), count);
        for name in names(&world.backups()) {
            assert_eq!(balance(&read(world.backups().join(&name))), SUM, "{mode}: {name}");
        }
        for written in &written {
            written.is_in(&BTreeSet::new(), mode);
        }
        let commits: u64 = written.iter().map(|w| w.commits).sum();
        figures(&format!("{mode}: {count} backups among {commits} commits balanced"));
        world.clean();
    }
}

/// In WAL mode a snapshot never refuses a lock to a writer, at none of its steps. In rollback mode it does so while it
/// makes its private copy, and not once the first byte is out, however long its output stalls.
#[test]
fn a_writer_at_any_step_of_a_snapshot() {
    if !strace::available("writers at every step of a snapshot") {
        return;
    }
    const CALLS: &str = "open,openat,read,pread64,fcntl,flock,unlink";
    let transfer = "BEGIN IMMEDIATE; UPDATE ledger SET amount = amount - 7 WHERE account = 1;
                    UPDATE ledger SET amount = amount + 7 WHERE account = 2; COMMIT";
    for (mode, pragmas) in [("WAL", WAL), ("rollback", ROLLBACK)] {
        let world = World::new();
        library_with_ledger(&world, pragmas, FEW);
        // It is there first: whoever comes to a log that nobody uses has to see what is in it, and holds others off.
        let mut writer = Peer::open(&world.library());
        let steps = count(&world, "vpo-snapshot", Whose::Main, CALLS, |cmd| cmd);
        let steps = strace::steps(&steps);
        let (mut written, mut refused) = (0, 0);
        for i in chosen(steps.len(), 10) {
            let (call, n) = steps[i];
            let what = format!("{mode}: stopped after {call} {n}");
            let before = writer.sql("SELECT amount FROM ledger WHERE account = 2");
            let mut snapshot = stopping(&world, "vpo-snapshot", call, n, |cmd| cmd.args(["--timeout", "60"]));
            if !snapshot.has_stopped() {
                continue;
            }
            let begun = snapshot.unread() > 0;
            match writer.try_sql(transfer) {
                Ok(_) => written += 1,
                Err(error) => {
                    assert!(error.contains("locked"), "{what}: {error}");
                    assert!(mode == "rollback" && !begun, "{what}: a writer is held off: {error}");
                    // A statement before the refused one may have begun the transaction.
                    let _ = writer.try_sql("ROLLBACK");
                    refused += 1;
                }
            }
            let after = writer.sql("SELECT amount FROM ledger WHERE account = 2");
            let database = snapshot.finish().silent().stdout;
            write(world.path("snapshot.db"), &database);
            let db = Connection::open(world.path("snapshot.db")).unwrap();
            let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
            let seen = number("SELECT amount FROM ledger WHERE account = 2").to_string();
            assert!(
                seen == before || seen == after,
                "{what}: {seen}, not {before} or {after}"
            );
            assert_eq!(number("SELECT sum(amount) FROM ledger"), SUM, "{what}");
            world.clean();
        }
        assert!(
            written > 0 && (refused > 0) == (mode == "rollback"),
            "{mode}: {written}, {refused}"
        );
        figures(&format!(
            "{mode}: a writer at {} steps of a snapshot, {refused} times held off",
            written + refused
        ));
    }
}

/// An archive of a small library of this generation, at `name` in the working directory.
fn archive(world: &World, generation: u32, name: &str) -> String {
    let path = world.path("archived.db");
    small(&path, generation, "PRAGMA journal_mode = DELETE");
    write(world.path(name), &world.archive_of(&path));
    let content = content(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    content
}

/// The rows that the writers were told are committed, as far as they are in a library or in an archive of one.
fn rows(database: &[u8]) -> BTreeSet<String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.db");
    write(&path, database);
    let db = Connection::open(&path).unwrap();
    let mut select = db.prepare("SELECT path FROM files").unwrap();
    let rows = select.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// All rows of the library and of its safety backups in `kept`.
fn rows_anywhere(world: &World) -> BTreeSet<String> {
    let mut found = rows(&read_settled(&world.library()));
    let kept = world.path("kept");
    for name in if kept.exists() { names(&kept) } else { Vec::new() } {
        let database = crate::damage::judge(&read(kept.join(name))).unwrap();
        found.extend(rows(&database));
    }
    found
}

/// The calls of a restore, or of a writer, after which others come: those that change something, and the locks.
fn calls() -> String {
    format!("{CHANGING},fcntl")
}

/// Whoever comes to the library at any step of a restore writes, or is refused, or waits and then writes: into the old
/// content, which is in the safety backup then, or into the new. Nobody reads anything else.
///
/// Measured with the lock held until a rename: a process that waited for it paired the old file with the new library's
/// log, and 217 rows were lost, integrity_check ok.
#[test]
fn a_writer_at_any_step_of_a_restore_loses_no_row() {
    if !strace::available("writers at every step of a restore") {
        return;
    }
    for (mode, pragmas) in [("WAL", WAL), ("rollback", ROLLBACK)] {
        let world = World::new();
        small(&world.library(), 1, pragmas);
        archive(&world, 2, "new.tar.gz");
        let saved = Saved::of(&world.home());
        let restore = |cmd: Cmd| cmd.args(["--yes", "--timeout", "3", "--safety-dir", "kept", "new.tar.gz"]);
        let steps = count(&world, "vpo-unpack-restore", Whose::Main, &calls(), restore);
        let steps = strace::steps(&steps);
        let generation = "SELECT value FROM _meta WHERE key = 'generation'";
        let (mut waited, mut written, mut tried) = (0, 0, 0);
        for i in chosen(steps.len(), 8) {
            let (call, n) = steps[i];
            let what = format!("{mode}: a restore stopped after {call} {n}");
            saved.put_back();
            let _ = std::fs::remove_dir_all(world.path("kept"));
            // Where an idle connection holds no lock, it is not seen.
            let mut idle = (mode == "rollback").then(|| Peer::open(&world.library()));
            let mut restoring = stopping(&world, "vpo-unpack-restore", call, n, restore);
            if !restoring.has_stopped() {
                restoring.finish().ok();
                continue;
            }
            if let Some(Err(error)) = idle.as_mut().map(|idle| idle.try_sql(generation)) {
                assert!(error.contains("locked"), "{what}: {error}");
            }
            let snapshot = world.cmd("vpo-snapshot").args(["--timeout", "0"]).run();
            match snapshot.status.code() {
                Some(0) => {
                    write(world.path("snapshot.db"), &snapshot.stdout);
                    content(&world.path("snapshot.db")).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
                _ => drop(snapshot.fails(43, &["in use"])),
            }
            let mut writer = Writer::of_one_row(&world.library());
            writer.has_come();
            let refused = writer.said.contains("refused> ");
            // Neither waits with a lock for which the other one waits.
            restoring.finish().ok();
            let found = writer.stop();
            found.is_in(&rows_anywhere(&world), &what);
            let now = content(&world.library()).unwrap();
            assert!(now.contains("generation=2"), "{what}: {now:.100}");
            if let Some(mut idle) = idle {
                assert_eq!(idle.sql(generation), "2", "{what}");
                idle.sql("INSERT INTO files (path, size_bytes) VALUES ('idle', 1)");
                idle.close();
                assert!(rows_anywhere(&world).contains("idle"), "{what}");
            }
            world.clean();
            tried += 1;
            match refused {
                true => waited += 1,
                false => written += 1,
            }
        }
        assert!(waited > 0 && written > 0, "{mode}: {waited} {written}");
        figures(&format!(
            "{mode}: writers at {tried} steps of a restore, {waited} of them had to wait; no row lost"
        ));
    }
}

/// The same where the library is damaged, and moved aside. Whoever waits for the lock has its file open, and shows only when
/// it looks again: it locked the file that had been moved away, and made a log by the name of the new library.
#[test]
fn a_writer_at_any_step_of_a_restore_over_a_damaged_library() {
    if !strace::available("writers at every step of a restore over a damaged library") {
        return;
    }
    let world = World::new();
    let library = world.library();
    small(&library, 1, WAL);
    sqlite(&library, "CREATE TABLE other (x); CREATE INDEX by_x ON other (x)");
    let db = Connection::open(&library).unwrap();
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize;
    let root = number("SELECT rootpage FROM sqlite_schema WHERE name = 'by_x'");
    let page_size = number("PRAGMA page_size");
    drop(db);
    let mut bytes = read(&library);
    bytes[(root - 1) * page_size..][..page_size].fill(0x55);
    write(&library, &bytes);
    content(&library).unwrap_err();
    archive(&world, 2, "new.tar.gz");
    let saved = Saved::of(&world.home());
    let restore = |cmd: Cmd| cmd.args(["--yes", "--timeout", "3", "new.tar.gz"]);
    let steps = count(&world, "vpo-unpack-restore", Whose::Main, &calls(), restore);
    let steps = strace::steps(&steps);
    let (mut waited, mut written) = (0, 0);
    for i in chosen(steps.len(), 10) {
        let (call, n) = steps[i];
        let what = format!("a restore stopped after {call} {n}");
        saved.put_back();
        let mut restoring = stopping(&world, "vpo-unpack-restore", call, n, restore);
        if !restoring.has_stopped() {
            restoring.finish().ok();
            continue;
        }
        // Between the two there is no library for a moment.
        if !library.exists() {
            restoring.finish().ok();
            continue;
        }
        let mut writer = Writer::of_one_row_seldom(&library);
        writer.has_come();
        match writer.said.contains("refused> ") {
            true => waited += 1,
            false => written += 1,
        }
        restoring.finish().ok();
        let found = writer.stop();
        let now = content(&library).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(now.contains("generation=2"), "{what}: {now:.100}");
        let mut rows = rows_anywhere(&world);
        for name in names(library.parent().unwrap()) {
            if name.contains(".replaced-") && !name.ends_with("-wal") && !name.ends_with("-shm") {
                let aside = Connection::open(library.with_file_name(name)).unwrap();
                let mut select = aside.prepare("SELECT path FROM files").unwrap();
                rows.extend(select.query_map([], |row| row.get::<_, String>(0)).unwrap().flatten());
            }
        }
        found.is_in(&rows, &what);
    }
    // That they wait is seldom: only where the damaged one is looked at.
    assert!(written > 0 && (waited > 0 || !exhaustive()), "{waited} {written}");
    figures(&format!(
        "writers at {} steps of a restore over a damaged library, {waited} of them had to wait",
        waited + written
    ));
}

/// The other way round: a restore comes at any step of a process that opens the library, adds a row and closes it.
///
/// Measured with a careful rename: such writers got thousands of errors, and rows were lost.
#[test]
fn a_restore_at_any_step_of_a_writer_loses_no_row() {
    if !strace::available("restores at every step of a writer") {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    for (mode, pragmas) in [("WAL", WAL), ("rollback", ROLLBACK)] {
        let world = World::new();
        small(&world.library(), 1, pragmas);
        archive(&world, 2, "new.tar.gz");
        let saved = Saved::of(&world.home());
        let write = |cmd: Cmd| {
            cmd.args(WRITER_ARGS)
                .env(WRITER, world.library())
                .env(WRITER_KIND, "one row")
        };
        let calls = format!("{},pread64", calls());
        // The test runner has a thread for the test.
        let steps = count(&world, program, Whose::All, &calls, write);
        let steps = strace::steps(&steps);
        let (mut restored, mut refused) = (0, 0);
        for i in chosen(steps.len(), 10) {
            let (call, n) = steps[i];
            let what = format!("{mode}: a writer stopped after {call} {n}");
            saved.put_back();
            let _ = std::fs::remove_dir_all(world.path("kept"));
            let mut writing = strace::stopping_thread(&world, program, call, n, write);
            if !writing.has_stopped() {
                writing.finish().ok();
                continue;
            }
            let restore = world.cmd("vpo-unpack-restore").args(["--yes", "--timeout", "0"]);
            let out = restore.args(["--safety-dir", "kept", "new.tar.gz"]).run();
            let done = out.status.success();
            match done {
                true => restored += 1,
                false => {
                    out.fails(43, &["in use"]);
                    refused += 1;
                }
            }
            let out = writing.finish().ok();
            Written::parse(out.text()).is_in(&rows_anywhere(&world), &what);
            let now = content(&world.library()).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(now.contains("generation=2"), done, "{what}");
            world.clean();
        }
        assert!(restored > 0 && refused > 0, "{mode}: {restored} {refused}");
        figures(&format!(
            "{mode}: a restore at {} steps of a writer, {refused} times refused; no row lost",
            restored + refused
        ));
    }
}

/// Many at once: writers that open, write and close, restores, and backups. Whoever says that it is done has done it.
#[test]
fn a_crowd_loses_no_row() {
    for (mode, pragmas) in [("WAL", WAL), ("rollback", ROLLBACK)] {
        let world = World::new();
        small(&world.library(), 1, pragmas);
        archive(&world, 2, "new.tar.gz");
        let restore = |timeout: &str| {
            let cmd = world.cmd("vpo-unpack-restore").args(["--yes", "--timeout", timeout]);
            cmd.args(["--safety-dir", "kept", "new.tar.gz"])
        };
        let writers: Vec<_> = (0..3).map(|_| Writer::of_rows(&world.library())).collect();
        let (mut restored, mut locked) = (0, 0);
        for _ in 0..if exhaustive() { 60 } else { 5 } {
            let restoring = restore("2").start();
            let backup = world.cmd("vpo-library").args(["--timeout", "2", "backup"]).run();
            for out in [backup, restoring.finish()] {
                // Where three write without a break, there may be no moment for a fourth.
                match out.status.code() {
                    Some(43) => locked += 1,
                    _ => drop(out.ok()),
                }
            }
            restored += 1;
        }
        let written: Vec<_> = writers.into_iter().map(Writer::stop).collect();
        restore("0").run().ok();
        let found = rows_anywhere(&world);
        for written in &written {
            written.is_in(&found, mode);
        }
        for name in if world.backups().exists() {
            names(&world.backups())
        } else {
            Vec::new()
        } {
            let database = crate::damage::judge(&read(world.backups().join(&name))).unwrap();
            write(world.path("look.db"), &database);
            content(&world.path("look.db")).unwrap_or_else(|error| panic!("{mode}: {name}: {error}"));
        }
        let commits: u64 = written.iter().map(|w| w.commits).sum();
        figures(&format!(
            "{mode}: {restored} restores and as many backups among {commits} rows, none lost; {locked} locked out"
        ));
        world.clean();
    }
}

/// The bytes of a library that nobody uses, with what its log holds.
fn read_settled(path: &Path) -> Vec<u8> {
    sqlite(path, "PRAGMA wal_checkpoint(TRUNCATE)");
    read(path)
}

/// Measured: a new file by the old name, with the old log still there, is "ok", with the old log replayed over it.
#[test]
fn the_log_of_a_crashed_writer_is_not_replayed_over_the_backup() {
    let world = World::new();
    small(&world.library(), 1, WAL);
    let new = archive(&world, 2, "new.tar.gz");
    let mut peer = Peer::open(&world.library());
    peer.sql("UPDATE files SET path = 'from the old log'");
    peer.kill();
    world.cmd("vpo-unpack-restore").args(["--yes", "new.tar.gz"]).run().ok();
    assert_eq!(content(&world.library()), Ok(new));
}

/// Measured: with the side files deleted and a new file renamed into place, an idle process's next commit goes into a
/// file without a name.
#[test]
fn an_idle_process_loses_nothing() {
    let world = World::new();
    small(&world.library(), 1, WAL);
    archive(&world, 2, "new.tar.gz");
    for state in ["idle", "reader", "writer"] {
        let mut peer = Peer::open(&world.library());
        match state {
            "reader" => drop(peer.sql("BEGIN; SELECT count(*) FROM files")),
            "writer" => drop(peer.sql("BEGIN IMMEDIATE; SELECT count(*) FROM files")),
            _ => {}
        }
        let restore = world
            .cmd("vpo-unpack-restore")
            .args(["--yes", "--timeout", "0", "new.tar.gz"]);
        restore.run().fails(43, &[&peer.pid()]);
        peer.sql(&format!("INSERT INTO files (path, size_bytes) VALUES ('{state}', 1)"));
        if state != "idle" {
            peer.sql("COMMIT");
        }
        peer.close();
        assert!(
            rows(&read_settled(&world.library())).contains(state),
            "{state}: its row is lost"
        );
    }
}

/// In rollback mode an idle connection holds no lock: it is not seen, and writes into the new content.
#[test]
fn an_idle_process_in_rollback_mode_writes_into_the_new_content() {
    let world = World::new();
    small(&world.library(), 1, ROLLBACK);
    archive(&world, 2, "new.tar.gz");
    let mut idle = Peer::open(&world.library());
    idle.sql("SELECT count(*) FROM files");
    world.cmd("vpo-unpack-restore").args(["--yes", "new.tar.gz"]).run().ok();
    idle.sql("INSERT INTO files (path, size_bytes) VALUES ('afterwards', 1)");
    assert_eq!(idle.sql("SELECT value FROM _meta WHERE key = 'generation'"), "2");
    idle.close();
    assert!(rows(&read(world.library())).contains("afterwards"));
    for state in [
        "BEGIN; SELECT count(*) FROM files",
        "BEGIN IMMEDIATE",
        "BEGIN EXCLUSIVE",
    ] {
        let mut peer = Peer::open(&world.library());
        peer.sql(state);
        let restore = world
            .cmd("vpo-unpack-restore")
            .args(["--yes", "--timeout", "0", "new.tar.gz"]);
        restore.run().fails(43, &[&peer.pid()]);
        peer.sql("COMMIT");
        peer.close();
    }
}

/// Somewhere in the directory of the library, by whatever name, there is a file with these bytes.
#[track_caller]
fn kept_beside(world: &World, what: &str, bytes: &[u8]) {
    let dir = world.home().join(".vpo");
    let mut files = tree(&dir).into_values();
    let found = files.any(|file| file.content == bytes);
    assert!(found, "{what} is nowhere: {:?}", names(&dir));
}

/// The log that a killed writer leaves, with a row in it, at `path`; its library is gone.
fn stray_log(world: &World, path: &Path) -> Vec<u8> {
    let gone = world.path("gone.db");
    small(&gone, 1, WAL);
    let mut peer = Peer::open(&gone);
    peer.sql("INSERT INTO files VALUES (1000, 'in the log', 5)");
    peer.kill();
    std::fs::rename(beside(&gone, "-wal"), path).unwrap();
    for suffix in ["", "-shm"] {
        std::fs::remove_file(beside(&gone, suffix)).unwrap();
    }
    read(path)
}

/// The same with the journal of a transaction that was never committed, and the library that it belongs to at `library`.
fn hot_journal(library: &Path) -> Vec<u8> {
    small(library, 1, ROLLBACK);
    let mut peer = Peer::open(library);
    peer.sql("PRAGMA cache_size = 1");
    peer.sql("BEGIN");
    peer.sql("UPDATE files SET path = path || hex(zeroblob(2000))");
    peer.kill();
    let journal = read(beside(library, "-journal"));
    assert!(
        journal.len() > 512 && journal.starts_with(b"\xd9\xd5\x05\xf9"),
        "no hot journal"
    );
    journal
}

/// What a lost library has left is not replayed into the new one, and not deleted either.
#[test]
fn a_log_left_behind_without_its_library_is_kept() {
    for suffix in ["-wal", "-journal"] {
        for empty in [false, true] {
            let world = World::new();
            let new = archive(&world, 2, "new.tar.gz");
            let path = beside(&world.library(), suffix);
            let bytes = match suffix {
                "-wal" => stray_log(&world, &path),
                _ => {
                    let bytes = hot_journal(&world.library());
                    std::fs::remove_file(world.library()).unwrap();
                    bytes
                }
            };
            if empty {
                write(world.library(), b"");
            }
            let dry = world.cmd("vpo-unpack-restore").args(["--dry-run", "new.tar.gz"]);
            unchanged(&world.home(), || dry.run()).ok();
            world.cmd("vpo-unpack-restore").args(["--yes", "new.tar.gz"]).run().ok();
            assert_eq!(content(&world.library()).as_ref(), Ok(&new), "{suffix}");
            // Nor when somebody opens it, who has a right to replay what is beside it.
            let mut peer = Peer::open(&world.library());
            assert_eq!(peer.sql("SELECT value FROM _meta WHERE key = 'generation'"), "2");
            peer.close();
            assert_eq!(content(&world.library()), Ok(new), "{suffix}");
            kept_beside(&world, suffix, &bytes);
            world.clean();
        }
    }
}

/// A backup whose database only quick_check finds damaged costs the library nothing: not even a hot journal is rolled
/// back for it.
#[test]
fn a_damaged_backup_leaves_a_hot_journal_alone() {
    let world = World::new();
    let new = world.path("new.db");
    small(&new, 2, ROLLBACK);
    let mut database = read(&new);
    // A page inside of the tree of `files`: the facts can still be read, and the digest is made right.
    let mut bad = None;
    for page in (2..database.len() / 512).rev() {
        let mut damaged = database.clone();
        let fragmented = page * 512 + 7;
        damaged[fragmented] ^= 0x15;
        let archive = crate::support::craft::archive(&damaged, &metadata_of(&damaged, &database));
        if crate::damage::judge(&archive).is_err_and(|(_, why)| why.contains("quick_check found damage")) {
            bad = Some(archive);
            database = damaged;
            break;
        }
    }
    let bad = bad.expect("damage that only quick_check finds");
    write(world.path("bad.tar.gz"), &bad);
    let stream = world.cmd("vpo-verify").args(["--no-database-check", "bad.tar.gz"]);
    stream.run().ok();
    same("the craft", &unpack(&bad).0, &database);
    for pragmas in [ROLLBACK, WAL] {
        let library = world.library();
        match pragmas {
            ROLLBACK => drop(hot_journal(&library)),
            _ => {
                small(&library, 1, pragmas);
                let mut peer = Peer::open(&library);
                peer.sql("INSERT INTO files VALUES (1000, 'in the log', 5)");
                peer.kill();
            }
        }
        for args in [
            &["--yes"][..],
            &["--yes", "--safety-dir", "kept"],
            &["--dry-run"],
            &["--yes", "--json"],
        ] {
            let cmd = world.cmd("vpo-unpack-restore").args(args).arg("bad.tar.gz");
            let out = unchanged(&world.home(), || cmd.run()).exits(46);
            let said = format!("{}{}", out.stderr, String::from_utf8_lossy(&out.stdout));
            assert!(said.contains("quick_check found damage"), "{args:?}: {said}");
        }
        let wrapper = world.cmd("vpo-library").args(["restore", "--yes", "bad.tar.gz"]);
        let names_before = names(&world.home().join(".vpo"));
        let library_before = read(&library);
        wrapper.run().exits(46);
        same("the library", &read(&library), &library_before);
        let mut names_after = names(&world.home().join(".vpo"));
        names_after.retain(|name| name != "backups");
        assert_eq!(names_after, names_before);
        for name in names_before {
            std::fs::remove_file(world.home().join(".vpo").join(name)).unwrap();
        }
    }
    assert!(!world.path("kept").exists());
    world.clean();
}

/// True metadata of a damaged database, with the facts of the sound one.
fn metadata_of(database: &[u8], sound: &[u8]) -> serde_json::Value {
    let mut truth = crate::support::craft::metadata(sound);
    truth["database_sha256"] = sha256(database).into();
    truth
}

/// What is there when two restores begin at once.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Library(&'static str),
    Nothing,
    Damaged,
    StrayLog,
}

/// A second restore comes at any step of the first one, does not wait, and then the first one goes on. One of them gets
/// through; whoever says that it is done has done it; and what the damaged library was is kept.
#[test]
fn two_restores_at_once() {
    if !strace::available("a restore at every step of another") {
        return;
    }
    let states = [
        Before::Library(WAL),
        Before::Library(ROLLBACK),
        Before::Nothing,
        Before::Damaged,
        Before::StrayLog,
    ];
    let (mut tried, mut refused) = (0, 0);
    for state in states {
        let world = World::new();
        let kept = match state {
            Before::Library(pragmas) => {
                small(&world.library(), 1, pragmas);
                None
            }
            Before::Nothing => None,
            Before::Damaged => {
                small(&world.library(), 1, ROLLBACK);
                let mut bytes = read(world.library());
                bytes[4096..8192].fill(0xaa);
                write(world.library(), &bytes);
                content(&world.library()).unwrap_err();
                Some(bytes)
            }
            Before::StrayLog => Some(stray_log(&world, &beside(&world.library(), "-wal"))),
        };
        let contents = [archive(&world, 2, "a.tar.gz"), archive(&world, 3, "b.tar.gz")];
        let saved = Saved::of(&world.home());
        let first = |cmd: Cmd| cmd.args(["--yes", "--timeout", "60", "a.tar.gz"]);
        let steps = count(&world, "vpo-unpack-restore", Whose::Main, &calls(), first);
        let steps = strace::steps(&steps);
        for i in chosen(steps.len(), 4) {
            let (call, n) = steps[i];
            let what = format!("{state:?}: the first one stopped after {call} {n}");
            saved.put_back();
            let mut stopped = stopping(&world, "vpo-unpack-restore", call, n, first);
            if !stopped.has_stopped() {
                stopped.finish().ok();
                continue;
            }
            let second = world
                .cmd("vpo-unpack-restore")
                .args(["--yes", "--timeout", "0", "b.tar.gz"]);
            let second = second.run();
            let look = || content(&world.library()).unwrap_or_else(|error| panic!("{what}: {error}"));
            if second.status.success() {
                assert!(look() == contents[1], "{what}: the second one is done");
            }
            let outs = [stopped.finish(), second];
            let done = outs.each_ref().map(|out| out.status.success());
            for out in outs {
                match out.status.code() {
                    Some(0) => {}
                    // The other one has just moved the damaged library away: what is told depends on the moment.
                    Some(20) if state == Before::Damaged => drop(out.fails_after_all(20, &["there is no library"])),
                    Some(40) if state == Before::Damaged => drop(out.fails_after_all(40, &["library.db"])),
                    // Perhaps after the warning that a damaged library will be moved aside.
                    _ => {
                        out.fails_after_all(43, &["library.db"]);
                        refused += 1;
                    }
                }
            }
            // Whichever was first, where both are done.
            let now = look();
            let mut whose = contents.iter().zip(done).filter(|(_, done)| *done);
            assert!(done != [false; 2], "{what}: neither got through");
            assert!(
                whose.any(|(content, _)| *content == now),
                "{what}: {done:?}: {now:.200}"
            );
            if let Some(bytes) = &kept {
                kept_beside(&world, &what, bytes);
            }
            world.clean();
            tried += 1;
        }
    }
    figures(&format!(
        "two restores at once: {tried} steps, {refused} times one was refused"
    ));
}

/// The end of a pipe that goes away, on either side: no hang, no child that nobody waits for, nothing that lists and is
/// no backup.
#[test]
fn when_the_other_end_dies() {
    let world = World::new();
    library_with_ledger(&world, WAL, MANY);
    // A consumer that closes early.
    let mut snapshot = world.cmd("vpo-snapshot").start();
    snapshot.take(100);
    drop(snapshot.stdout.take());
    snapshot.finish().ended_silently();
    let mut wrapper = world.cmd("vpo-library").args(["backup", "-o", "-"]).start();
    wrapper.take(100);
    let children = children_of(wrapper.id());
    assert!(!children.is_empty(), "it has no children");
    drop(wrapper.stdout.take());
    wrapper.finish().ended_silently();
    assert_waited_for(&children);
    // A producer that dies.
    let snapshot = world.cmd("vpo-snapshot").run().ok().stdout;
    let packed = world.cmd("vpo-pack").input(&snapshot[..snapshot.len() / 2]).run();
    let archive = packed.fails(42, &["ends after"]).stdout;
    world.verify(&archive).exits(46);
    // A program of the pipeline that is killed: see kill.rs.
    world.cmd("vpo-library").arg("backup").run().ok();
    world.clean();
}

/// Those whose parent is this process; zombies too.
fn children_of(parent: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some((_, _, of)) = process(pid)
            && of == parent
        {
            children.push(pid);
        }
    }
    children
}

/// Name, state, and parent of a process that is there.
fn process(pid: u32) -> Option<(String, char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (front, rest) = stat.rsplit_once(") ")?;
    let (_, name) = front.split_once(" (")?;
    let mut fields = rest.split(' ');
    Some((
        name.into(),
        fields.next()?.chars().next()?,
        fields.next()?.parse().ok()?,
    ))
}

/// They have ended, and their parent, which is gone by now, has waited for them: nobody works on, and none is left for
/// the system to bury.
#[track_caller]
fn assert_waited_for<'a>(children: impl IntoIterator<Item = &'a u32>) {
    for child in children {
        let left = process(*child).filter(|(name, _, _)| name.starts_with("vpo-"));
        assert_eq!(left, None, "{child} is left behind");
    }
}
