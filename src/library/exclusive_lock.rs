//! Proof that nobody else has the library open, held for as long as the lock lives.

use std::fs::File;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::busy_handler::wait_for_locks;
use super::holder::{Holder, in_use};
use crate::database::{WAL, explain, harden, side_file_size};
use crate::failure::{Kind, kind};
use crate::files::Identity;
use crate::signals::{self, SignalGuard};

/// How long an attempt waits. In the exclusive locking mode a connection keeps its shared lock while it waits, and a
/// writer that is about to commit waits for that: only closing the connection lets it go on.
const ATTEMPT: Duration = Duration::from_millis(50);
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(2);

/// An open exclusive transaction on the library, in SQLite's exclusive locking mode.
///
/// In WAL mode every open connection, an idle one too, holds a shared lock, so holding the exclusive one proves that
/// there is none. `BEGIN EXCLUSIVE` in the normal locking mode would prove nothing: a WAL-mode reader goes on.
/// In rollback-journal mode it proves that nobody is in a transaction; idle connections notice the new schema cookie.
///
/// While it exists, signals wait: an abrupt end would leave side files.
pub struct ExclusiveLock {
    // In this order: closing any descriptor of the file drops the locks of this process, and the process may end when
    // the last field is dropped.
    connection: Connection,
    file: File,
    _guard: SignalGuard,
}

impl ExclusiveLock {
    /// Takes the lock on the library at `path`, symlinks resolved, waiting up to `timeout`; `waiting` is called after
    /// each attempt in vain, when none of our connections is open. This recovers a hot journal or a log left by a
    /// crash.
    ///
    /// # Errors
    /// [`Kind::Locked`] with the process that uses it; [`Damage`](crate::database::Damage) if that is why SQLite can't
    /// open it; else why it could not be opened.
    pub fn take(path: &Path, timeout: Duration, waiting: impl Fn()) -> anyhow::Result<Self> {
        let _guard = SignalGuard::new();
        let begun = Instant::now();
        loop {
            let left = timeout.saturating_sub(begun.elapsed());
            match attempt(path, left.min(ATTEMPT)) {
                Ok((connection, file)) => {
                    return Ok(ExclusiveLock {
                        connection,
                        file,
                        _guard,
                    });
                }
                Err(error) if kind(&error) != Kind::Locked => {
                    return Err(error.context(format!("cannot use the library '{}'", path.display())));
                }
                Err(_) if begun.elapsed() >= timeout || signals::pending().is_some() => {
                    return Err(in_use(path).into());
                }
                Err(_) => {
                    waiting();
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    /// The connection, inside its exclusive transaction.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The same, for changes.
    pub(super) fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The file itself, beneath SQLite and its log.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Closes the connection, and with it gives up the lock.
    pub(super) fn close(self) -> rusqlite::Result<()> {
        let ExclusiveLock {
            connection,
            file: _file,
            _guard,
        } = self;
        connection.close().map_err(|(_, error)| error)
    }
}

/// One attempt, which waits up to `timeout`. After an error nothing is open.
fn attempt(path: &Path, timeout: Duration) -> anyhow::Result<(Connection, File)> {
    // Before SQLite has any lock: see the fields.
    let file = File::options().read(true).write(true).open(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    let begun = begin(&mut connection, timeout).map_err(|error| explain(&connection, error));
    // Until the content is replaced, the log stays as it is, with whatever it holds.
    let log = side_file_size(path, WAL).is_ok_and(|size| size.is_some_and(|size| size > 0));
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, log)?;
    // Between the two openings, or while it waited, another restore may have moved a damaged library aside: then this
    // lock is on a file that is no longer the library.
    if Identity::of(&file) != Identity::at(path) {
        return Err(Kind::Locked.error("another process just moved it"));
    }
    begun.map(|()| (connection, file))
}

fn begin(connection: &mut Connection, timeout: Duration) -> anyhow::Result<()> {
    // SQLite falls back to read-only if the first open fails, and then can't take its locks: an "I/O error".
    if connection.is_readonly("main")? {
        return Err(Kind::Failed.error("it can be opened for reading only"));
    }
    wait_for_locks(connection, timeout)?;
    harden(connection)?;
    // Before the first access to the file, so that no shared memory is used.
    let mode: String = connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |row| row.get(0))?;
    debug_assert_eq!(mode, "exclusive");
    // Not possible inside a transaction. In WAL mode EXTRA is FULL; in rollback mode it also flushes the directory
    // after the journal is gone, which is the commit there.
    connection.pragma_update(None, "synchronous", "EXTRA")?;
    connection.execute_batch("BEGIN EXCLUSIVE")?;
    Ok(())
}

/// Makes sure that no other process has a lock on a file that SQLite can't open. Our own connections to it must be
/// closed.
pub fn require_no_holder(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let found = Holder::find(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Kind::Locked.error(format!("another process just moved the library '{shown}' away")),
        _ => anyhow::Error::new(error).context(format!("cannot ask who uses '{shown}'")),
    })?;
    match found {
        Some(_) => Err(in_use(path).into()),
        None => Ok(()),
    }
}
