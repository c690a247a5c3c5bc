//! What lies where a library belongs.

use rusqlite::Connection;

use crate::database::{Facts, quick_check};
use crate::failure::{Kind, describe};

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
    /// [`Kind::Database`] for a sound database with tables that is no VPO library: somebody else's.
    pub fn of(connection: &Connection, check: bool) -> anyhow::Result<Self> {
        let damaged = |error: anyhow::Error| Ok(State::Damaged(describe(&error)));
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
                Ok(()) if !error.chain().any(|cause| cause.is::<rusqlite::Error>()) => Err(Kind::Database
                    .because("it will not be replaced")
                    .hint("is --db right? a sound database that is no VPO library is never touched")
                    .source(error)
                    .into()),
                _ => damaged(error),
            },
        }
    }
}
