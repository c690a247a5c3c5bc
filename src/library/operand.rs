//! What can be compared: a backup, or a database that others may be using.

use std::fs::File;
use std::io::{Cursor, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rusqlite::Connection;
use rusqlite::limits::Limit;

use super::read_connection::{ReadConnection, damaged};
use super::snapshot::private_copy;
use crate::backups::{open_archive, stage};
use crate::database::{immutable, is_damage, limit_time, too_slow};
use crate::failure::{Kind, kind};
use crate::files::{Temporary, read_full};

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// No value read from an archive may be longer, in bytes: each must be held in memory.
const MAX_VALUE: i32 = 100_000_000;

/// Something to open, examined just enough to know what it is.
pub struct Operand {
    /// Its name in messages.
    name: String,
    what: What,
}

enum What {
    Archive(Box<dyn Read>),
    Database(PathBuf),
}

impl Operand {
    /// Looks at the file at `path`: its content says whether it is a database or an archive. A FIFO or a device can
    /// only be an archive.
    ///
    /// Look at all operands before opening any: closing a file drops the locks that SQLite has on it in the same
    /// process.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::Usage`] for a directory; an I/O error.
    pub fn look(path: &Path) -> anyhow::Result<Self> {
        let name = format!("'{}'", path.display());
        let mut file = open_archive(path)?;
        let failed = || format!("cannot read {name}");
        let mut head = vec![0; MAGIC.len()];
        let filled = read_full(&mut file, &mut head).with_context(failed)?;
        head.truncate(filled);
        let is_file = file.metadata().with_context(failed)?.is_file();
        let what = if is_file && head == MAGIC {
            What::Database(path.to_owned())
        } else {
            What::Archive(Box::new(Cursor::new(head).chain(file)))
        };
        Ok(Operand { name, what })
    }

    /// An archive read from `input`, with a name for messages.
    pub fn archive(name: &str, input: File) -> Self {
        Operand {
            name: name.into(),
            what: What::Archive(Box::new(input)),
        }
    }
}

/// An open operand: the database in an archive, or a library as one transaction sees it.
pub struct Opened {
    name: String,
    database: Database,
}

enum Database {
    /// That of an archive which passed every check, unpacked.
    Unpacked(
        Connection,
        #[allow(dead_code, reason = "removed when dropped")] Temporary,
    ),
    Library(ReadConnection),
    /// A copy of the library at a path, whose writers would have to wait while it is read.
    Copy(
        Connection,
        #[allow(dead_code, reason = "removed when dropped")] Temporary,
        PathBuf,
    ),
}

impl Opened {
    /// Opens both operands. Archives come first, and are verified and unpacked in `scratch`; libraries are opened after
    /// that, so that no transaction lasts longer than necessary, and `timeout` is for their locks.
    ///
    /// # Errors
    /// [`Kind::InvalidArchive`], [`Kind::NoSpace`], those of [`ReadConnection::open`], or an I/O error, with the operand's name.
    pub fn both(
        old: Operand,
        new: Operand,
        scratch: &Path,
        timeout: Duration,
        threads: NonZero<usize>,
    ) -> anyhow::Result<(Self, Self)> {
        let unpack = |operand: Operand| match operand.what {
            What::Archive(input) => Self::unpack(operand.name, input, scratch, threads).map(Ok),
            What::Database(path) => Ok(Err((operand.name, path))),
        };
        let (old, new) = (unpack(old)?, unpack(new)?);
        let library = |(name, path): (String, PathBuf)| Self::library(name, &path, scratch, timeout);
        let (mut old, mut new) = (old.or_else(library)?, new.or_else(library)?);
        // The thread that reads one reads the other too.
        let [old_size, new_size] = [&old, &new].map(|opened| size(opened.connection()));
        let bytes = old_size?.saturating_add(new_size?);
        old.limit(bytes)?;
        new.limit(bytes)?;
        Ok((old, new))
    }

    fn unpack(name: String, input: Box<dyn Read>, scratch: &Path, threads: NonZero<usize>) -> anyhow::Result<Self> {
        let unpacked = || {
            let staged = stage(input, scratch, 0, threads)?;
            staged.check()?;
            Ok(Database::Unpacked(immutable(staged.file.path())?, staged.file))
        };
        match unpacked() {
            Ok(database) => Ok(Opened { name, database }),
            Err(error) => Err(not_valid(&name, error)),
        }
    }

    fn library(name: String, path: &Path, scratch: &Path, timeout: Duration) -> anyhow::Result<Self> {
        let live = ReadConnection::open(path, scratch, timeout)?;
        let database = if live.blocks_nobody()? {
            Database::Library(live)
        } else {
            let copy = private_copy(&live, scratch, size(live.connection())?)?;
            let path = live.path().to_owned();
            live.close()?;
            Database::Copy(immutable(copy.path())?, copy, path)
        };
        Ok(Opened { name, database })
    }

    /// Bounds what may be hostile to work on this many bytes. Its schema is known to fit into little memory.
    fn limit(&mut self, bytes: u64) -> anyhow::Result<()> {
        if let Database::Unpacked(connection, _) = &mut self.database {
            connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE)?;
            limit_time(connection, bytes)?;
        }
        Ok(())
    }

    /// The connection to the database.
    pub fn connection(&self) -> &Connection {
        match &self.database {
            Database::Unpacked(connection, _) | Database::Copy(connection, ..) => connection,
            Database::Library(live) => live.connection(),
        }
    }

    /// An error of the connection, with the name of the operand, and of the kind that it has for an operand of this
    /// sort.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        match &self.database {
            Database::Unpacked(..) if is_damage(&error) => {
                let inside = Kind::InvalidArchive.because("the database inside is damaged");
                not_valid(&self.name, inside.source(error).into())
            }
            Database::Unpacked(..) => match too_slow(&error) {
                Some(error) => not_valid(&self.name, error),
                None => error.context(format!("cannot compare {}", self.name)),
            },
            Database::Library(live) => damaged(live.path(), error, "compare"),
            Database::Copy(_, _, path) => damaged(path, error, "compare"),
        }
    }

    /// Closes it.
    ///
    /// # Errors
    /// [`Kind::Failed`] if a library that could not be locked was changed meanwhile: what was read must not be used.
    pub fn close(self) -> anyhow::Result<()> {
        match self.database {
            Database::Library(live) => live.close(),
            Database::Unpacked(..) | Database::Copy(..) => Ok(()),
        }
    }
}

/// Length of a database in bytes.
fn size(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let size = number("PRAGMA page_count")?.saturating_mul(number("PRAGMA page_size")?);
    Ok(size.unsigned_abs())
}

fn not_valid(name: &str, error: anyhow::Error) -> anyhow::Error {
    match kind(&error) {
        Kind::InvalidArchive => error.context(format!("{name} is not a complete backup")),
        Kind::Database => Kind::InvalidArchive
            .because(format!("{name} is not a complete backup"))
            .source(error)
            .into(),
        _ => error.context(format!("cannot unpack {name}")),
    }
}
