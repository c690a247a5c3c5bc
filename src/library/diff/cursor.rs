//! The rows of a query of one of the two databases, one at a time.

use std::ops::RangeInclusive;

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator;
use rusqlite::{Connection, Rows, Statement};

use super::DiffError;
use super::value::Value;
use crate::database::{Encoding, explain};

/// Which database it is, for its errors.
#[derive(Clone, Copy)]
pub struct Origin<'c> {
    /// The connection to it.
    pub connection: &'c Connection,
    /// Says whose error it is.
    pub which: fn(anyhow::Error) -> DiffError,
}

impl<'c> Origin<'c> {
    /// An error of this database.
    pub fn failed(&self, error: impl Into<anyhow::Error>) -> DiffError {
        (self.which)(explain(self.connection, error.into()))
    }

    /// How it stores text.
    pub fn encoding(&self) -> Result<Encoding, DiffError> {
        Encoding::of(self.connection).map_err(|error| self.failed(error))
    }

    /// Prepares a query, whose columns are those of [`Value::sql`].
    pub fn prepare(&self, sql: &str) -> Result<Statement<'c>, DiffError> {
        self.connection.prepare(sql).map_err(|error| self.failed(error))
    }
}

/// Rows that are being read. It is positioned at one of them.
pub struct Cursor<'s> {
    origin: Origin<'s>,
    rows: Rows<'s>,
    encoding: Encoding,
}

impl<'s> Cursor<'s> {
    /// Begins to read, at the first row.
    pub fn begin(origin: Origin<'s>, query: &'s mut Statement<'_>, encoding: Encoding) -> Result<Self, DiffError> {
        let rows = query.query([]).map_err(|error| origin.failed(error))?;
        let mut cursor = Cursor { origin, rows, encoding };
        cursor.advance()?;
        Ok(cursor)
    }

    /// An error of its database.
    pub fn failed(&self, error: impl Into<anyhow::Error>) -> DiffError {
        self.origin.failed(error)
    }

    /// Goes to the next row.
    pub fn advance(&mut self) -> Result<(), DiffError> {
        self.rows.advance().map_err(|error| self.origin.failed(error))
    }

    /// Value number `i` of the row; `None` after the last one.
    pub fn value(&self, i: usize) -> Result<Option<Value<'_>>, DiffError> {
        let value = self.rows.get().map(|row| Value::get(row, i, self.encoding));
        value.transpose().map_err(|error| self.failed(error))
    }

    /// True if the row of `other` has the same values in these columns.
    pub fn has_row_of(&self, other: &Cursor, columns: RangeInclusive<usize>) -> Result<bool, DiffError> {
        for i in columns {
            match (self.value(i)?, other.value(i)?) {
                (Some(value), Some(others)) if value.is(&others) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}
