//! Proof that nobody else has the library open, held for as long as the claim lives.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::holder::{Holder, locked};
use super::live::Looks;
use super::patience::be_patient;
use super::state::{State, is_damage};
use crate::database::{Facts, WAL, harden, side_file_size, with_reason};
use crate::failure::{Kind, describe, kind};

/// An open exclusive transaction on the library, in SQLite's exclusive locking mode.
///
/// In WAL mode every open connection, an idle one too, holds a shared lock, so that holding the exclusive one proves
/// that there is none. `BEGIN EXCLUSIVE` in the normal locking mode would prove nothing: a WAL-mode reader goes on.
/// In rollback-journal mode it proves that nobody is in a transaction; idle connections notice the new schema cookie.
pub struct Claim {
    connection: Connection,
}

/// What an attempt to claim a library shows about it.
pub enum Attempt {
    /// It is ours, and it is sound.
    Sound(Claim, Facts),
    /// It is of no use, as the state says, and nobody else uses it.
    Useless(State),
}

impl Claim {
    /// Claims the library at `path`, which must have its symlinks resolved, and looks whether it is sound. This
    /// recovers a hot journal or a log left by a crash.
    ///
    /// A library that still looks as it did when it was last `checked` and found sound is not checked once more.
    ///
    /// # Errors
    /// [`Kind::Locked`] with the process that uses it; [`Kind::Database`] for a sound database that is no VPO library;
    /// an I/O error that says nothing about the library.
    pub fn attempt(path: &Path, timeout: Duration, checked: Option<Looks>) -> anyhow::Result<Attempt> {
        let unchanged = checked.is_some() && checked == Some(Looks::of(path)?);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags).map_err(anyhow::Error::new);
        let claimed = opened.and_then(|mut connection| {
            // SQLite falls back to that where the first open fails, and then can't take its locks: an "I/O error".
            if connection.is_readonly("main")? {
                return Err(Kind::Failed.error("it can be opened for reading only"));
            }
            let begun = begin(&mut connection, timeout).map_err(|error| with_reason(&connection, error.into()));
            // Until the content is replaced, the log stays as it is, with whatever it holds.
            let log = side_file_size(path, WAL).is_ok_and(|size| size.is_some_and(|size| size > 0));
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, log)?;
            begun.map(|()| Claim { connection })
        });
        let claim = match claimed {
            Ok(claim) => claim,
            Err(error) => return not_claimed(path, error),
        };
        match State::of(&claim.connection, !unchanged).with_context(|| format!("'{}'", path.display()))? {
            State::Library(facts) => Ok(Attempt::Sound(claim, facts)),
            useless => {
                drop(claim);
                alone(path)?;
                Ok(Attempt::Useless(useless))
            }
        }
    }

    /// The connection, inside its exclusive transaction.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Ends the transaction, which has changed nothing, and gives the connection: it keeps the exclusive lock.
    pub fn into_connection(self) -> anyhow::Result<Connection> {
        self.connection
            .execute_batch("COMMIT")
            .context("cannot end the transaction")?;
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        Ok(self.connection)
    }
}

fn begin(connection: &mut Connection, timeout: Duration) -> rusqlite::Result<()> {
    be_patient(connection, timeout)?;
    harden(connection)?;
    // Before the first access to the file, so that no shared memory is used.
    let mode: String = connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |row| row.get(0))?;
    debug_assert_eq!(mode, "exclusive");
    connection.execute_batch("BEGIN EXCLUSIVE")
}

/// Why the library could not be claimed.
fn not_claimed(path: &Path, error: anyhow::Error) -> anyhow::Result<Attempt> {
    if kind(&error) == Kind::Locked {
        return Err(locked(path).into());
    }
    if !is_damage(&error) {
        return Err(error.context(format!("cannot use the library '{}'", path.display())));
    }
    alone(path)?;
    Ok(Attempt::Useless(State::Damaged(describe(&error))))
}

/// Makes sure that no other process has a lock on a file that SQLite can't help with.
pub fn alone(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let found = Holder::find(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Kind::Locked.error(format!("somebody just moved the library '{shown}' away")),
        _ => anyhow::Error::new(error).context(format!("cannot ask who uses '{shown}'")),
    })?;
    match found {
        Some(_) => Err(locked(path).into()),
        None => Ok(()),
    }
}
