//! Another process that has a database open.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

/// The process. POSIX locks belong to a process, so a connection in the tests' own would
/// not do; and this one can be killed.
pub struct Peer {
    child: Child,
    /// Closed when dropped.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

const PEER: &str = "VPO_TEST_PEER";
const ANSWER: &str = "peer> ";

impl Peer {
    /// Opens the database at `path`, which exists, without waiting for locks.
    #[track_caller]
    pub fn open(path: &Path) -> Self {
        Self::patient(path, 0)
    }

    /// One that waits so many milliseconds for a lock.
    #[track_caller]
    pub fn patient(path: &Path, timeout: u32) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "support::peer::peer_process",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(PEER, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Peer { child, input, output };
        peer.sql(&format!(
            "PRAGMA busy_timeout = {timeout}; SELECT count(*) FROM sqlite_schema"
        ));
        peer
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Runs statements, which must succeed; gives the first value of the last one's first row.
    #[track_caller]
    pub fn sql(&mut self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    #[track_caller]
    pub fn try_sql(&mut self, sql: &str) -> Result<String, String> {
        writeln!(self.input.as_mut().unwrap(), "{}", sql.replace('\n', " ")).unwrap();
        loop {
            let mut line = String::new();
            assert!(
                self.output.read_line(&mut line).unwrap() > 0,
                "the other process is gone"
            );
            // The test runner's own output stands before the first answer.
            if let Some((_, answer)) = line.trim_end_matches('\n').split_once(ANSWER) {
                return match answer.split_once(' ') {
                    Some(("ok", value)) => Ok(value.into()),
                    _ => Err(answer.into()),
                };
            }
        }
    }

    /// Inserts so many rows into `files`, each in a transaction of its own.
    #[track_caller]
    pub fn insert(&mut self, rows: u32) {
        for n in 0..rows {
            self.sql(&insert(n));
        }
    }

    /// Dies at once: nothing is written back, nothing is removed.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes the database in good order, which in WAL mode checkpoints.
    pub fn close(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // In good order too, and not behind the back of the test.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Adds a row to the table `files` of a sample library.
pub fn insert(n: u32) -> String {
    format!(
        "INSERT INTO files (path, filename, directory, extension, size_bytes, modified_at, scanned_at)
         VALUES ('/new/' || hex(randomblob(8)) || '{n}', 'new', '/new', 'mkv', 1000, 'now', 'now')"
    )
}

#[test]
#[ignore = "the other process of other tests, not a test"]
fn peer_process() {
    let Some(path) = std::env::var_os(PEER) else { return };
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let run = |sql: &str| -> rusqlite::Result<String> {
        let mut value = String::new();
        let mut batch = rusqlite::Batch::new(&db, sql);
        while let Some(mut statement) = batch.next()? {
            let mut rows = statement.query([])?;
            let mut first = true;
            while let Some(row) = rows.next()? {
                if first {
                    value = match row.get_ref(0)? {
                        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                        ValueRef::Integer(n) => n.to_string(),
                        other => format!("{other:?}"),
                    };
                    first = false;
                }
            }
        }
        Ok(value)
    };
    for line in io::stdin().lines() {
        let answer = match run(&line.unwrap()) {
            Ok(value) => format!("ok {value}"),
            Err(error) => format!("failed: {error}"),
        };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{ANSWER}{}", answer.replace('\n', " ")).unwrap();
        stdout.flush().unwrap();
    }
    // In WAL mode the last one out checkpoints.
    db.close().map_err(|(_, error)| error).unwrap();
}
