//! What lies where a library belongs.

use rusqlite::{Connection, ErrorCode};

use crate::database::{Facts, is_unreadable, quick_check};
use crate::failure::{Kind, describe, kind};

/// What a database file turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A database without tables: there is nothing to lose.
    Blank,
    /// A VPO library.
    Library(Facts),
    /// SQLite can't use it, for this reason.
    Damaged(String),
}

impl State {
    /// Looks at the database of `connection`; with `check`, quick_check has to find it sound.
    ///
    /// # Errors
    /// [`Kind::Database`] for a sound database with tables that is no VPO library: somebody else's. An error that says
    /// nothing about the database.
    pub fn of(connection: &Connection, check: bool) -> anyhow::Result<Self> {
        let damaged = |error: anyhow::Error| match is_damage(&error) {
            true => Ok(State::Damaged(describe(&error))),
            false => Err(error),
        };
        if check && let Err(error) = quick_check(connection) {
            return damaged(error);
        }
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0));
        match tables {
            Ok(0) => return Ok(State::Blank),
            Ok(1_i64..) => {}
            Ok(_) => return damaged(Kind::Database.error("its schema can't be counted")),
            Err(error) => return damaged(error.into()),
        }
        match Facts::read(connection) {
            Ok(facts) => Ok(State::Library(facts)),
            Err(error) => match quick_check(connection) {
                Ok(()) if !is_unreadable(&error) && !error.chain().any(|cause| cause.is::<rusqlite::Error>()) => {
                    Err(Kind::Database
                        .because("it will not be replaced")
                        .hint("is --db right? a sound database that is no VPO library is never touched")
                        .source(error)
                        .into())
                }
                _ => damaged(error),
            },
        }
    }
}

/// True if an error that SQLite gave says something about the database, and not about the machine or the moment: too
/// little space or memory, too few descriptors, a missing permission, a signal. What can't be read is damaged.
pub(super) fn is_damage(error: &anyhow::Error) -> bool {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<rusqlite::Error>());
    match kind(error) {
        Kind::Failed => {
            is_unreadable(error) || cause.is_some_and(|e| e.sqlite_error_code() == Some(ErrorCode::SystemIoFailure))
        }
        Kind::Locked | Kind::NoSpace => false,
        _ => true,
    }
}
