//! A library opened for reading, without changing it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};

use super::busy_handler::wait_for_locks;
use super::holder::in_use;
use crate::database::{
    Facts, JOURNAL, SHM, WAL, explain, harden, immutable, is_damage, pending_side_file, quick_check, side_file,
    side_file_size, stop_when,
};
use crate::failure::{Advice, Kind, kind};
use crate::files::{FileStamp, Temporary, parent, require_space};
use crate::signals::{self, SignalGuard};

/// A connection that reads a library as it stands.
///
/// Opening it changes only what any reader of a SQLite database changes: a hot journal is rolled back, and a `-shm` may
/// appear beside a log that had none. While it is open, signals wait: an abrupt end would leave side files.
pub struct ReadConnection {
    connection: Connection,
    /// The library itself, symlinks resolved.
    path: PathBuf,
    how: How,
    /// How the files looked when they were opened, if they are read without locks.
    before: Option<DatabaseStamp>,
    /// Ends after the connection is closed, because it is the last field.
    _guard: SignalGuard,
}

/// How a library is read.
enum How {
    /// Through SQLite's locks, like any other user of it.
    Locked,
    /// Without locks: nobody can write to it, and there is no log or journal with content.
    Immutable,
    /// A copy of it and of its log or journal, because their content can't be read in place.
    Copy(#[allow(dead_code, reason = "removed when dropped")] Temporary),
}

/// What changes when a database is written to: the stamps of the file, and of its log and journal if they hold anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct DatabaseStamp([Option<FileStamp>; 3]);

impl DatabaseStamp {
    /// That of the database at `path` now.
    pub(super) fn of(path: &Path) -> anyhow::Result<Self> {
        let look = |path: &Path| match path.metadata() {
            Ok(meta) if meta.len() == 0 => Ok(None),
            Ok(meta) => Ok(Some(FileStamp::from(&meta))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let failed = || format!("cannot look at the library '{}'", path.display());
        let files = [path.to_owned(), side_file(path, WAL), side_file(path, JOURNAL)];
        let [database, log, journal] = files.map(|file| look(&file).with_context(failed));
        Ok(DatabaseStamp([database?, log?, journal?]))
    }
}

impl ReadConnection {
    /// Opens the library at `path` in the least intrusive way that sees every committed change. `scratch` is for the
    /// copy that a read-only file system may make necessary; `timeout` is for locks. No other connection of this process
    /// to the library may be open.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::Database`], [`Kind::Locked`] with the process that has it open, or an I/O error.
    pub fn open(path: &Path, scratch: &Path, timeout: Duration) -> anyhow::Result<Self> {
        Self::open_beside(path, scratch, timeout).map_err(|error| match kind(&error) {
            Kind::Locked => find(path).map_or(error, |path| in_use(&path).into()),
            _ => error,
        })
    }

    /// The same while this process may have other connections to the library: who has the lock is not asked, for to ask
    /// means to open and close the file, and whoever closes it drops all locks of the process.
    pub(super) fn open_beside(path: &Path, scratch: &Path, timeout: Duration) -> anyhow::Result<Self> {
        let path = find(path)?;
        let writable = [path.as_path(), parent(&path)].map(|p| access(p, Access::WRITE_OK).is_ok());
        if writable == [true, true] {
            return Self::open_locked(path, OpenFlags::SQLITE_OPEN_READ_WRITE, timeout);
        }
        let exists = |suffix| side_file_size(&path, suffix).map(|size| size.is_some());
        if exists(WAL)? && exists(SHM)? {
            return Self::open_locked(path, OpenFlags::SQLITE_OPEN_READ_ONLY, timeout);
        }
        Self::open_untouched(path, scratch)
    }

    /// Opens the library at `path` so that not even a side file changes: only for looking, while nobody writes.
    pub fn open_without_trace(path: &Path, scratch: &Path) -> anyhow::Result<Self> {
        Self::open_untouched(find(path)?, scratch)
    }

    fn open_locked(path: PathBuf, flags: OpenFlags, timeout: Duration) -> anyhow::Result<Self> {
        let guard = SignalGuard::new();
        let connection = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_context(|| format!("cannot open the library '{}'", path.display()))?;
        let mut live = ReadConnection {
            connection,
            path,
            how: How::Locked,
            before: None,
            _guard: guard,
        };
        // The first access to the file, which reveals a lock or damage.
        match live.prepare(timeout).and_then(|()| live.begin()) {
            Ok(()) => Ok(live),
            Err(error) => Err(error),
        }
    }

    fn prepare(&mut self, timeout: Duration) -> anyhow::Result<()> {
        wait_for_locks(&mut self.connection, timeout)?;
        harden(&mut self.connection)?;
        self.connection.pragma_update(None, "query_only", true)?;
        Ok(())
    }

    fn open_untouched(path: PathBuf, scratch: &Path) -> anyhow::Result<Self> {
        let guard = SignalGuard::new();
        let before = DatabaseStamp::of(&path)?;
        let (connection, how) = if pending_side_file(&path)?.is_none() {
            (immutable(&path)?, How::Immutable)
        } else {
            let copy = copy(&path, scratch)?;
            if DatabaseStamp::of(&path)? != before {
                return Err(changed(&path));
            }
            // It is private, and takes no locks: on macOS that of the temporary file, by flock(2), would be in their way
            // (lockf(3)). In the exclusive locking mode SQLite reads the log without shared memory.
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let mut connection = Connection::open_with_flags_and_vfs(copy.path(), flags, c"unix-none")
                .context("cannot open a copy of the library")?;
            harden(&mut connection)?;
            connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
            (connection, How::Copy(copy))
        };
        let live = ReadConnection {
            connection,
            path,
            how,
            before: Some(before),
            _guard: guard,
        };
        live.begin()?;
        Ok(live)
    }

    /// Begins the read transaction; from here on it sees one state of the library.
    fn begin(&self) -> anyhow::Result<()> {
        let begun = self
            .connection
            .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;");
        begun.map_err(|error| self.failed(explain(&self.connection, error.into()), "read"))
    }

    /// An error of this library: the same for damage of every kind.
    fn failed(&self, error: anyhow::Error, doing: &str) -> anyhow::Error {
        damaged(&self.path, error, doing)
    }

    /// The path of the library, symlinks resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The connection, inside its read transaction.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// True if reading from this connection, however slowly, blocks no writer: in WAL mode, and if nobody shares the
    /// file.
    pub fn blocks_nobody(&self) -> anyhow::Result<bool> {
        let mode: String = self.connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        Ok(mode == "wal" || !matches!(self.how, How::Locked))
    }

    /// The facts of the state that it sees.
    pub fn facts(&self) -> anyhow::Result<Facts> {
        match Facts::find(&self.connection) {
            Ok(Ok(facts)) => Ok(facts.of_library(&self.path)),
            Ok(Err(why)) => Err(Kind::Database.error(format!("'{}': {why}", self.path.display()))),
            Err(error) => Err(self.failed(error, "read")),
        }
    }

    /// Hands every page, in order, to `sink`.
    pub fn pages(&self, sink: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        pages(&self.connection, sink).map_err(|error| match is_damage(&error) {
            true => self.failed(error, "read"),
            false => error,
        })
    }

    /// Runs SQLite's quick_check.
    pub fn check(&self) -> anyhow::Result<()> {
        quick_check(&self.connection).map_err(|error| self.failed(error, "check"))
    }

    /// Lets `cancel` stop what is done with this connection.
    pub fn stop_when(&mut self, cancel: Arc<AtomicBool>) -> anyhow::Result<()> {
        Ok(stop_when(&mut self.connection, cancel)?)
    }

    /// Closes the connection and leaves the library as it was.
    ///
    /// # Errors
    /// [`Kind::Failed`] if the library was changed while it was read without locks: what was read must not be used.
    pub fn close(self) -> anyhow::Result<()> {
        match &self.before {
            Some(before) if DatabaseStamp::of(&self.path)? != *before => Err(changed(&self.path)),
            _ => Ok(()),
        }
    }
}

impl Drop for ReadConnection {
    fn drop(&mut self) {
        if matches!(self.how, How::Locked) {
            // The last connection to close checkpoints, which would change the library. If the log is empty there is
            // nothing to checkpoint, and a plain close removes the side files that opening made. The setting itself
            // can't fail: it is a flag of the connection.
            let log = side_file_size(&self.path, WAL).is_ok_and(|size| size.is_some_and(|size| size > 0));
            let _ = self
                .connection
                .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, log);
        }
    }
}

/// The error of a library that is proven damaged, or else of one that could not be read or checked.
pub(super) fn damaged(path: &Path, error: anyhow::Error, doing: &str) -> anyhow::Error {
    let shown = path.display();
    match is_damage(&error) {
        true => Kind::Database
            .because(format!("the library '{shown}' is damaged"))
            .advise(Advice::RestoreLatest)
            .source(error)
            .into(),
        false => error.context(format!("cannot {doing} the library '{shown}'")),
    }
}

/// The path of the library itself, symlinks resolved.
///
/// # Errors
/// [`Kind::NotFound`] if there is none; [`Kind::Database`] for something that can't be one.
pub fn find(path: &Path) -> anyhow::Result<PathBuf> {
    let shown = path.display();
    let resolved = path.canonicalize().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound
            .because(format!("there is no library at '{shown}'"))
            .hint("name it, or set VPO_DATABASE_PATH, or database_path in VPO's config.toml")
            .into(),
        _ => anyhow::Error::new(error).context(format!("cannot find the library '{shown}'")),
    })?;
    let meta = resolved
        .metadata()
        .with_context(|| format!("cannot look at '{shown}'"))?;
    if !meta.is_file() {
        return Err(Kind::Database.error(format!("'{shown}' is not a file, so it can't be a library")));
    }
    if meta.len() == 0 {
        return Err(Kind::Database.error(format!("'{shown}' is empty, not a library")));
    }
    // SQLite says only that it is unable to open it.
    access(&resolved, Access::READ_OK)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot read the library '{shown}'"))?;
    Ok(resolved)
}

/// Hands every page of the database, as the transaction of `connection` sees it, to `sink`.
///
/// The lock-byte page, which SQLite never writes, is handed over as zeros
/// (<https://www.sqlite.org/fileformat2.html#the_lock_byte_page>).
pub(super) fn pages(connection: &Connection, mut sink: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let failed = |error: rusqlite::Error| explain(connection, error.into()).context("cannot read the library's pages");
    let mut statement = connection.prepare("SELECT data FROM sqlite_dbpage").map_err(failed)?;
    let mut rows = statement.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let page = row.get_ref(0).map_err(failed)?;
        sink(page.as_blob().context("a page of the library is not a blob")?)?;
    }
    Ok(())
}

/// Copies a database with its log and journal.
fn copy(path: &Path, scratch: &Path) -> anyhow::Result<Temporary> {
    let mut size = path.metadata()?.len();
    for suffix in [WAL, JOURNAL] {
        size += side_file_size(path, suffix)?.unwrap_or(0);
    }
    require_space(scratch, size)?;
    let failed = || format!("cannot copy the library to '{}'", scratch.display());
    let copy = Temporary::create(scratch).with_context(failed)?;
    copy_file(path, copy.file()).with_context(failed)?;
    for suffix in [WAL, JOURNAL] {
        let from = side_file(path, suffix);
        if from.exists() {
            let to = copy.create_side_file(suffix).with_context(failed)?;
            copy_file(&from, &to).with_context(failed)?;
        }
    }
    Ok(copy)
}

fn copy_file(from: &Path, mut to: &File) -> anyhow::Result<()> {
    signals::check()?;
    io::copy(&mut File::open(from)?, &mut to)?;
    Ok(())
}

fn changed(path: &Path) -> anyhow::Error {
    Kind::Failed
        .because(format!(
            "the library '{}' was changed while it was read",
            path.display()
        ))
        .hint("it can't be locked by this user; try again, or run as the user that writes it")
        .into()
}
