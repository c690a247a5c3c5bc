//! Other processes that use the library, as fast as they can, while backups and restores run.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::harness::*;
use crate::kill::{content, small};
use crate::strace;
use crate::{exhaustive, figures};

/// A process that writes until it is told to stop.
struct Writer {
    child: Child,
}

/// What a writer did.
struct Written {
    commits: u64,
    /// The longest that one transaction took.
    worst: Duration,
    /// From the first to the last time that a lock was refused to it, for each lock that it had to wait for, if it is a
    /// watched one; by the clock of [`now`]. No time in which it was only slow is in there.
    refused: Vec<(u64, u64)>,
    /// The rows that it was told are committed.
    rows: BTreeSet<String>,
    errors: Vec<String>,
}

impl Written {
    /// The longest that it waited for a lock, which has to be a watched one's.
    fn longest_wait(&self) -> Duration {
        let longest = self.refused.iter().map(|(first, last)| last - first).max();
        Duration::from_micros(longest.unwrap_or(0))
    }
}

/// Microseconds of a clock that all processes share.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

const WRITER: &str = "VPO_TEST_WRITER";
const WRITER_KIND: &str = "VPO_TEST_WRITER_KIND";

impl Writer {
    /// Moves amounts between the accounts of the table `ledger`, whose sum stays.
    fn of_ledger(path: &Path) -> Self {
        Self::start(path, "ledger")
    }

    /// The same, and it notes when a lock is refused to it.
    fn watched(path: &Path) -> Self {
        Self::start(path, "watched ledger")
    }

    /// Opens the library, adds a row, closes it, over and over.
    fn of_rows(path: &Path) -> Self {
        Self::start(path, "rows")
    }

    /// The same, and it notes when a lock is refused to it.
    fn waiting(path: &Path) -> Self {
        Self::start(path, "watched rows")
    }

    fn start(path: &Path, kind: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "company::writer_process",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(WRITER, path)
            .env(WRITER_KIND, kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Writer { child }
    }

    /// Tells it to stop, and reads what it did.
    fn stop(mut self) -> Written {
        drop(self.child.stdin.take());
        let mut written = Written {
            commits: 0,
            worst: Duration::ZERO,
            refused: Vec::new(),
            rows: BTreeSet::new(),
            errors: Vec::new(),
        };
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        assert!(self.child.wait().unwrap().success(), "a writer failed: {out}");
        for line in out.lines() {
            if let Some((_, row)) = line.split_once("row> ") {
                written.rows.insert(row.into());
            } else if let Some((_, error)) = line.split_once("error> ") {
                written.errors.push(error.into());
            } else if let Some((_, times)) = line.split_once("refused> ") {
                let (first, last) = times.split_once(' ').unwrap();
                written.refused.push((first.parse().unwrap(), last.parse().unwrap()));
            } else if let Some((_, figures)) = line.split_once("writer> ") {
                let (commits, worst) = figures.split_once(' ').unwrap();
                written.commits = commits.parse().unwrap();
                written.worst = Duration::from_micros(worst.parse().unwrap());
            }
        }
        assert!(written.commits > 0, "a writer did nothing: {out:.500}");
        written
    }
}

#[test]
#[ignore = "the other process of other tests, not a test"]
fn writer_process() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let path = Path::new(&path);
    let kind = std::env::var(WRITER_KIND).unwrap_or_default();
    let (ledger, watched) = (kind.ends_with("ledger"), kind.starts_with("watched"));
    static REFUSED: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());
    static STOP: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        STOP.store(true, Ordering::SeqCst);
    });
    let open = || -> rusqlite::Result<Connection> {
        let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        match watched {
            false => db.busy_timeout(Duration::from_secs(20))?,
            // SQLite calls it each time that a lock is refused, from 0 on for each that is wanted.
            true => db.busy_handler(Some(|attempts| {
                let mut refused = REFUSED.lock().unwrap();
                match refused.last_mut() {
                    Some(wait) if attempts > 0 => wait.1 = now(),
                    _ => refused.push((now(), now())),
                }
                std::thread::sleep(Duration::from_millis(1));
                refused.last().is_some_and(|(first, last)| last - first < 20_000_000)
            }))?,
        }
        // As VPO does.
        db.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(db)
    };
    let mut kept = ledger.then(|| open().unwrap());
    // In rollback mode three writers without a gap starve each other, whoever else is there.
    let mode = kept.as_ref().map(|db| {
        db.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0))
            .unwrap()
    });
    let gap = Duration::from_millis(if mode.as_deref() == Some("wal") { 0 } else { 5 });
    let mut out = String::from("\n");
    let (mut commits, mut worst) = (0_u64, Duration::ZERO);
    while !STOP.load(Ordering::SeqCst) {
        let began = Instant::now();
        let result = match &mut kept {
            Some(db) => transfer(db, commits),
            None => open().and_then(|db| {
                let row = format!("{}-{commits}", std::process::id());
                db.execute("INSERT INTO files (path, size_bytes) VALUES (?1, 1)", [&row])?;
                db.close().map_err(|(_, error)| error)?;
                out.push_str(&format!("row> {row}\n"));
                Ok(())
            }),
        };
        worst = worst.max(began.elapsed());
        match result {
            Ok(()) => {
                commits += 1;
                std::thread::sleep(gap);
            }
            Err(error) => out.push_str(&format!("error> {error}\n")),
        }
    }
    for (first, last) in REFUSED.lock().unwrap().iter() {
        out.push_str(&format!("refused> {first} {last}\n"));
    }
    out.push_str(&format!("writer> {commits} {}\n", worst.as_micros()));
    std::io::stdout().write_all(out.as_bytes()).unwrap();
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

/// Rows that make a library of some hundred KiB, one larger than all pipes and buffers together, and one that takes a
/// while to copy.
const FEW: u32 = 500;
const MANY: u32 = 24_000;
const VERY_MANY: u32 = 150_000;

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

#[test]
fn backups_among_writers_hold_a_state_that_existed() {
    for (mode, pragmas) in [("WAL", WAL), ("rollback", ROLLBACK)] {
        let world = World::new();
        library_with_ledger(&world, pragmas, FEW);
        let writers: Vec<_> = (0..3).map(|_| Writer::of_ledger(&world.library())).collect();
        let start = Instant::now();
        let length = Duration::from_secs(if exhaustive() { 60 } else { 3 });
        let mut made = 0;
        while start.elapsed() < length || made < 2 {
            let out = world
                .cmd("vpo-library")
                .args(["--timeout", "10", "backup", "--json"])
                .run();
            out.ok();
            made += 1;
        }
        let written: Vec<_> = writers.into_iter().map(Writer::stop).collect();
        for name in names(&world.backups()) {
            assert_eq!(balance(&read(world.backups().join(&name))), SUM, "{mode}: {name}");
        }
        assert_eq!(names(&world.backups()).len(), made);
        for written in &written {
            assert!(written.errors.is_empty(), "{mode}: {:?}", written.errors);
        }
        let commits: u64 = written.iter().map(|w| w.commits).sum();
        figures(&format!("{mode}: {made} backups among {commits} commits balanced"));
        world.clean();
    }
}

/// In WAL mode a backup never refuses a lock to a writer. In rollback mode it does so while it makes its private copy,
/// and not after that, however long its output stalls. Time alone would prove nothing: on a busy machine a writer is
/// slow without anybody's doing.
#[test]
fn a_stalled_reader_holds_no_writer_off() {
    for (mode, pragmas, rows) in [("WAL", WAL, MANY), ("rollback", ROLLBACK, VERY_MANY)] {
        let world = World::new();
        library_with_ledger(&world, pragmas, rows);
        let size = world.library().metadata().unwrap().len();
        assert!(size > 6 << 20, "{size} bytes fit into the pipe");
        // The writer is there first, and busy.
        let writer = Writer::watched(&world.library());
        let before = now();
        wait_until("the writer writes", || {
            let db = Connection::open_with_flags(world.library(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
            db.busy_timeout(Duration::from_secs(10)).unwrap();
            let rows: u32 = db
                .query_row("SELECT count(*) FROM history", [], |row| row.get(0))
                .unwrap();
            rows > 5
        });
        let begun = now();
        let mut snapshot = world.cmd("vpo-snapshot").args(["--timeout", "10"]).start();
        let head = snapshot.take(100);
        // In rollback mode the first byte comes when the private copy is complete.
        let copied = now();
        std::thread::sleep(Duration::from_millis(if exhaustive() { 10_000 } else { 1200 }));
        assert!(snapshot.is_running(), "{mode}: it did not stall");
        let written = writer.stop();
        assert!(written.errors.is_empty(), "{mode}: {:?}", written.errors);
        assert!(written.commits > 20, "{mode}: {} commits", written.commits);
        let by_backup = || written.refused.iter().filter(|(first, _)| *first >= begun);
        match mode {
            "WAL" => assert_eq!(by_backup().count(), 0, "{mode}: locks refused: {:?}", written.refused),
            _ => {
                let late: Vec<_> = by_backup().filter(|(_, last)| *last > copied).collect();
                assert!(late.is_empty(), "{mode}: refused after {}: {late:?}", copied - before);
                assert!(by_backup().count() > 0, "{mode}: the writer did not meet the copy");
            }
        }
        let rest = snapshot.finish().ok().stdout;
        let database = [head, rest].concat();
        assert_eq!(balance(&world.pack(&database)), SUM);
        figures(&format!(
            "{mode}: {} commits beside a stalled reader, the longest wait for a lock {:?}, of {:?} until the first byte",
            written.commits,
            written.longest_wait(),
            Duration::from_micros(copied - begun)
        ));
        world.clean();
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

/// Measured with a careful rename: writers that open, write and close got thousands of errors, and rows were lost.
#[test]
fn restores_among_writers_lose_no_row() {
    for (mode, pragmas) in [("WAL", WAL), ("rollback", ROLLBACK)] {
        let world = World::new();
        small(&world.library(), 1, pragmas);
        archive(&world, 2, "new.tar.gz");
        // Every row is either in a safety backup or in the library at the end.
        let writers: Vec<_> = (0..3).map(|_| Writer::of_rows(&world.library())).collect();
        let start = Instant::now();
        let length = Duration::from_secs(if exhaustive() { 12 } else { 3 });
        let (mut restored, mut locked) = (0, 0);
        while start.elapsed() < length || (restored == locked && start.elapsed() < 8 * length) {
            let restore = world
                .cmd("vpo-unpack-restore")
                .args(["--yes", "--timeout", "5", "--safety-dir", "kept"]);
            let out = restore.arg("new.tar.gz").run();
            match out.status.code() {
                Some(43) => locked += 1,
                _ => drop(out.ok()),
            }
            restored += 1;
        }
        let written: Vec<_> = writers.into_iter().map(Writer::stop).collect();
        restored -= locked;
        let mut found = rows(&read_settled(&world.library()));
        assert!(restored > 0, "{mode}: {locked} times locked out, and never let in");
        for name in names(&world.path("kept")) {
            let archive = read(world.path("kept").join(name));
            found.extend(rows(&crate::damage::judge(&archive).unwrap()));
        }
        for written in &written {
            assert!(
                written.errors.is_empty(),
                "{mode}: {:?}",
                &written.errors[..written.errors.len().min(5)]
            );
            let lost: Vec<_> = written.rows.difference(&found).collect();
            assert!(
                lost.is_empty(),
                "{mode}: {} of {} rows lost",
                lost.len(),
                written.rows.len()
            );
        }
        content(&world.library()).unwrap();
        let commits: u64 = written.iter().map(|w| w.commits).sum();
        figures(&format!(
            "{mode}: {restored} restores among {commits} rows, none lost; {locked} times locked out"
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

/// Measured: with the lock held until a rename, a process that waited for the lock pairs the old file with the new
/// library's log: 217 rows lost, integrity_check ok.
#[test]
fn whoever_waits_for_the_lock_writes_into_the_new_content() {
    if !strace::available("a restore that holds the lock for long") {
        return;
    }
    for pragmas in [WAL, ROLLBACK] {
        let world = World::new();
        small(&world.library(), 1, pragmas);
        archive(&world, 2, "new.tar.gz");
        let slow = [
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "inject=fsync,fdatasync:delay_enter=250000",
        ];
        let restore = world.cmd("strace").args(slow).arg(executable("vpo-unpack-restore"));
        let restore = restore.args(["--yes", "--safety-dir", "kept", "new.tar.gz"]).start();
        let refused = || {
            let db = Connection::open_with_flags(world.library(), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
            db.busy_timeout(Duration::ZERO).unwrap();
            db.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_err()
        };
        // Once is not enough: a connection of it that is closed has a lock, too, for a moment.
        wait_until("the restore has the lock", || {
            refused() && {
                std::thread::sleep(Duration::from_millis(30));
                refused()
            }
        });
        let waiters: Vec<_> = (0..3).map(|_| Writer::waiting(&world.library())).collect();
        restore.finish().ok();
        std::thread::sleep(Duration::from_millis(200));
        let written: Vec<_> = waiters.into_iter().map(Writer::stop).collect();
        let mut found = rows(&read_settled(&world.library()));
        // What somebody wrote before the lock was there is in the safety backup.
        for name in names(&world.path("kept")) {
            let archive = read(world.path("kept").join(name));
            found.extend(rows(&crate::damage::judge(&archive).unwrap()));
        }
        for written in written {
            assert!(written.errors.is_empty(), "{:?}", written.errors);
            let lost: Vec<_> = written.rows.difference(&found).collect();
            let committed = written.rows.len();
            assert!(
                lost.is_empty(),
                "{pragmas}: {} of {committed} rows lost: {lost:.300?}",
                lost.len()
            );
            let waited = written.longest_wait();
            assert!(waited > Duration::from_millis(100), "it only waited {waited:?}");
        }
        assert!(content(&world.library()).unwrap().contains("generation=2"));
    }
}

/// Somewhere in the directory of the library, by whatever name, there is a file with these bytes.
#[track_caller]
fn kept_beside(world: &World, what: &str, bytes: &[u8]) {
    let dir = world.home().join(".vpo");
    let found = names(&dir).iter().any(|name| read(dir.join(name)) == bytes);
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
        let archive = crate::craft::archive(&damaged, &metadata_of(&damaged, &database));
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
    let mut truth = crate::craft::metadata(sound);
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

#[test]
fn two_restores_at_once() {
    let states = [
        Before::Library(WAL),
        Before::Library(ROLLBACK),
        Before::Nothing,
        Before::Damaged,
        Before::StrayLog,
    ];
    let (mut tried, mut stuck) = (0, 0);
    for state in states {
        for _ in 0..if exhaustive() { 30 } else { 4 } {
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
            let old = content(&world.library()).ok();
            let contents = [archive(&world, 2, "a.tar.gz"), archive(&world, 3, "b.tar.gz")];
            let both = ["a.tar.gz", "b.tar.gz"].map(|name| {
                let restore = world.cmd("vpo-unpack-restore").args(["--yes", "--timeout", "3"]);
                restore.arg(name).start()
            });
            let outs = both.map(Running::finish);
            let done = outs.iter().filter(|out| out.status.success()).count();
            let whose: Vec<_> = outs.iter().map(|out| out.status.success()).collect();
            for out in outs {
                match out.status.code() {
                    Some(0) => {}
                    // The other one has just moved the damaged library away: what is told depends on the moment.
                    Some(20) if state == Before::Damaged => drop(out.fails_after_all(20, &["there is no library"])),
                    Some(40) if state == Before::Damaged => drop(out.fails_after_all(40, &["library.db"])),
                    // Perhaps after the warning that a damaged library will be moved aside.
                    _ => drop(out.fails_after_all(43, &[])),
                }
            }
            let now = content(&world.library()).unwrap_or_else(|error| panic!("{state:?}: {whose:?}: {error}"));
            match contents.iter().position(|content| *content == now) {
                // One that says so has done it.
                Some(last) => assert!(whose[last], "{state:?}: {whose:?}: {now:.200}"),
                // Each may wait for the other until its time is up, where both have the old library open.
                None => {
                    assert!(
                        matches!(state, Before::Library(_)) && done == 0,
                        "{state:?}: {whose:?}: {now:.200}"
                    );
                    assert_eq!(Some(now), old, "{state:?}");
                    stuck += 1;
                }
            }
            tried += 1;
            if let Some(bytes) = kept {
                kept_beside(&world, &format!("{state:?}"), &bytes);
            }
            world.clean();
        }
    }
    assert!(stuck * 3 < tried, "{stuck} of {tried} times neither got through");
    figures(&format!(
        "two restores at once: {tried} times, {stuck} times both refused"
    ));
}

#[test]
fn backups_in_one_second_get_names_of_their_own() {
    let world = World::new();
    small(&world.library(), 1, WAL);
    let all: Vec<_> = (0..5)
        .map(|_| world.cmd("vpo-library").args(["backup", "--json"]).start())
        .collect();
    let paths: BTreeSet<String> = all
        .into_iter()
        .map(|running| running.finish().ok().json()["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(paths.len(), 5);
    for path in &paths {
        crate::damage::judge(&read(path)).unwrap();
    }
    assert_eq!(names(&world.backups()).len(), 5);
    world.clean();
}

#[test]
fn backups_while_restores_run() {
    for pragmas in [WAL, ROLLBACK] {
        let world = World::new();
        small(&world.library(), 1, pragmas);
        let contents = [
            archive(&world, 2, "0.tar.gz"),
            archive(&world, 3, "1.tar.gz"),
            content(&world.library()).unwrap(),
        ];
        let start = Instant::now();
        let length = Duration::from_secs(if exhaustive() { 15 } else { 2 });
        let (mut restores, mut backups) = (0, 0);
        while start.elapsed() < length {
            let restore = world.cmd("vpo-unpack-restore").args(["--yes", "--timeout", "10"]);
            let restore = restore.arg(format!("{}.tar.gz", restores % 2)).start();
            for _ in 0..2 {
                let out = world.cmd("vpo-library").args(["--timeout", "10", "backup"]).run();
                if out.status.code() != Some(43) {
                    out.ok();
                    backups += 1;
                }
            }
            let out = restore.finish();
            if out.status.code() != Some(43) {
                out.ok();
                restores += 1;
            }
        }
        for name in names(&world.backups()) {
            let database = crate::damage::judge(&read(world.backups().join(&name))).unwrap();
            write(world.path("look.db"), &database);
            let held = content(&world.path("look.db")).unwrap();
            assert!(contents.contains(&held), "{name}: {held:.200}");
        }
        figures(&format!("{backups} backups while {restores} restores ran"));
        assert!(backups > 0 && restores > 0);
        world.clean();
    }
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
    // A program of the pipeline that is killed from outside.
    for program in ["vpo-snapshot", "vpo-pack"] {
        let mut kills = 0;
        for _ in 0..20 {
            let mut wrapper = world.cmd("vpo-library").arg("backup").start();
            let mut killed = false;
            let mut children = BTreeSet::new();
            let start = Instant::now();
            while wrapper.is_running() && !killed && start.elapsed() < Duration::from_secs(10) {
                children.extend(children_of(wrapper.id()));
                killed = kill_child_in(&world, program);
            }
            let out = wrapper.finish();
            assert_waited_for(&children);
            let listed = match world.backups().exists() {
                true => names(&world.backups()),
                false => Vec::new(),
            };
            match out.status.success() {
                false => {
                    assert!(killed, "{program} was not killed: {}", out.stderr);
                    out.fails(40, &["was ended by signal 9"]);
                    assert_eq!(listed, [""; 0], "{program}");
                    kills += 1;
                }
                // Whether it was killed too late or not at all: what is there is a backup.
                true => {
                    assert_eq!(listed.len(), 1, "{program}: {listed:?}");
                    assert_eq!(balance(&read(world.backups().join(&listed[0]))), SUM);
                    std::fs::remove_dir_all(world.backups()).unwrap();
                }
            }
            world.clean();
            if kills == 2 {
                break;
            }
        }
        assert!(kills > 0, "{program} never was killed in time");
    }
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

/// Kills a program that works in this world.
fn kill_child_in(world: &World, program: &str) -> bool {
    let place = world.path("").canonicalize().unwrap();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let here = entry.path().join("cwd").read_link().is_ok_and(|cwd| cwd == place);
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let name = line.split(|b| *b == 0).next().unwrap_or_default();
        let pid = entry
            .file_name()
            .to_string_lossy()
            .parse()
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid
            && here
            && name.ends_with(format!("/{program}").as_bytes())
        {
            return rustix::process::kill_process(pid, rustix::process::Signal::KILL).is_ok();
        }
    }
    false
}
