//! What is where the library belongs: everything that a restore decides depends on this.

use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::read_connection::{DatabaseStamp, ReadConnection};
use crate::database::{Facts, damage, quick_check};
use crate::failure::Kind;

/// What is where the library belongs.
#[derive(Debug)]
pub enum Target {
    /// No file.
    Missing,
    /// An empty file, or a database without tables: there is nothing to lose, but somebody may have it open.
    Empty,
    /// A VPO library.
    Library(Facts),
    /// A sound database that is something else, for this reason. It is never touched.
    Foreign(String),
    /// A file that is proven damaged ([`Damage`](crate::database::Damage)), by this.
    Damaged(String),
    /// Something that could not be looked at. It is never touched.
    Unknown(anyhow::Error),
}

impl Target {
    /// Looks at the database at `path` through `connection`; unless it is `known_sound`, quick_check has to pass.
    pub fn of(connection: &Connection, path: &Path, known_sound: bool) -> Self {
        let looked = Self::look(connection, known_sound);
        looked.unwrap_or_else(|error| match Self::from_error(error) {
            Target::Unknown(error) => {
                Target::Unknown(error.context(format!("cannot check the library '{}'", path.display())))
            }
            known => known,
        })
    }

    /// What an error says about a database that could not be opened or examined.
    pub fn from_error(error: anyhow::Error) -> Self {
        match damage(&error) {
            Some(found) => Target::Damaged(found),
            None => Target::Unknown(error),
        }
    }

    fn look(connection: &Connection, known_sound: bool) -> anyhow::Result<Self> {
        if !known_sound {
            quick_check(connection)?;
        }
        let facts = Facts::find(connection)?;
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok(match facts {
            Ok(facts) => Target::Library(facts),
            Err(_) if tables == 0 => Target::Empty,
            Err(why) => Target::Foreign(why),
        })
    }

    /// Looks at the file at `path`, symlinks resolved, as any reader of the library does; this process may have other
    /// connections to it, so that who has it locked is not asked. Also returns its stamp, if it is
    /// a library and stayed as it was meanwhile.
    pub(super) fn read(path: &Path, scratch: &Path, timeout: Duration) -> (Self, Option<DatabaseStamp>) {
        Self::read_by(path, || ReadConnection::open_beside(path, scratch, timeout))
    }

    /// The same, so that not even a side file changes.
    pub(super) fn read_without_trace(path: &Path, scratch: &Path) -> (Self, Option<DatabaseStamp>) {
        Self::read_by(path, || ReadConnection::open_without_trace(path, scratch))
    }

    fn read_by(path: &Path, open: impl Fn() -> anyhow::Result<ReadConnection>) -> (Self, Option<DatabaseStamp>) {
        let look = || {
            match path.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Target::Missing, None)),
                Ok(meta) if meta.len() == 0 => return Ok((Target::Empty, None)),
                _ => {}
            }
            let before = DatabaseStamp::of(path)?;
            let live = match open() {
                // What is read without locks may be torn.
                Err(_) if DatabaseStamp::of(path)? != before => open()?,
                opened => opened?,
            };
            let target = Target::of(live.connection(), path, false);
            live.close()?;
            let unchanged = matches!(target, Target::Library(_)) && DatabaseStamp::of(path)? == before;
            Ok((target, unchanged.then_some(before)))
        };
        look().unwrap_or_else(|error| (Self::from_error(error), None))
    }

    /// The error for what is never touched.
    pub fn refused(self, path: &Path) -> anyhow::Result<Self> {
        match self {
            Target::Unknown(error) => Err(error),
            Target::Foreign(why) => Err(Kind::Database
                .because(format!("'{}' is {why}; it will not be replaced", path.display()))
                .hint("is --db right? a sound database that is not a VPO library is never touched")
                .into()),
            usable => Ok(usable),
        }
    }
}
