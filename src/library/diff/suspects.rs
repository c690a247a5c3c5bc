//! Which files two databases may know differently: as a rule a few.
//!
//! To look up each file and its tracks by its path is to jump through the tables. Most files have the same number in both,
//! and what has the same number is compared in the order in which the tables hold it, in less than half the time.

use std::cmp::Ordering;
use std::collections::HashSet;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

use super::DiffError;
use super::cursor::{Cursor, Origin};
use super::schema::{Columns, FILES, TRACKS, quoted};
use super::value::Value;
use crate::database::Encoding;

/// If there are more of them the jumps cost less than this does; and they take memory, 2 MB for so many.
const MANY: usize = 1 << 16;

/// Finds the numbers of the files that are not the same in both, number by number, or have a track that is not. `None` if
/// there are many of them, or if tracks belong to what is not a number.
///
/// Both must number their rows, and a path may occur only once in each ([`Columns::numbered`]): every other file is then
/// in both, and the same.
pub fn find(old: &Connection, new: &Connection, columns: &Columns) -> Result<Option<HashSet<i64>>, DiffError> {
    let mut suspects = HashSet::new();
    let tracks = columns.tracks.as_ref().map(|names| (TRACKS, "file_id", names));
    for (table, file, names) in [(FILES, "id", &columns.files)].into_iter().chain(tracks) {
        let mut old = Query::prepare(old, DiffError::Old, table, file, names)?;
        let mut new = Query::prepare(new, DiffError::New, table, file, names)?;
        if !compare(old.begin()?, new.begin()?, names.len(), &mut suspects)? {
            return Ok(None);
        }
    }
    Ok(Some(suspects))
}

/// A table on one side: the number of each row, that of its file, and the values.
struct Query<'c> {
    origin: Origin<'c>,
    statement: Statement<'c>,
    encoding: Encoding,
}

impl<'c> Query<'c> {
    fn prepare(
        connection: &'c Connection,
        which: fn(anyhow::Error) -> DiffError,
        table: &str,
        file: &str,
        names: &[String],
    ) -> Result<Self, DiffError> {
        let origin = Origin { connection, which };
        let encoding = origin.encoding()?;
        let names = ["id", file].into_iter().chain(names.iter().map(String::as_str));
        let values: Vec<String> = names.map(|name| Value::sql(&quoted(name), encoding)).collect();
        Ok(Query {
            origin,
            statement: origin.prepare(&format!("SELECT {} FROM {table} ORDER BY id", values.join(", ")))?,
            encoding,
        })
    }

    fn begin(&mut self) -> Result<Cursor<'_>, DiffError> {
        Cursor::begin(self.origin, &mut self.statement, self.encoding)
    }
}

/// Merges the rows of a table by their numbers, and adds the files of those that differ; false if they are many, or can't
/// be told.
fn compare(mut old: Cursor, mut new: Cursor, columns: usize, suspects: &mut HashSet<i64>) -> Result<bool, DiffError> {
    loop {
        let order = match (old.value(0)?, new.value(0)?) {
            (None, None) => return Ok(true),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.order(&new),
        };
        if order.is_ne() || !old.has_row_of(&new, 1..=columns + 1)? {
            let of_old = if order.is_le() { old.value(1)? } else { None };
            let of_new = if order.is_ge() { new.value(1)? } else { None };
            for file in [of_old, of_new].into_iter().flatten() {
                match file.raw {
                    ValueRef::Integer(number) => _ = suspects.insert(number),
                    ValueRef::Null => {}
                    // SQLite may find that it equals a number.
                    _ => return Ok(false),
                }
            }
            if suspects.len() > MANY {
                return Ok(false);
            }
        }
        if order.is_le() {
            old.advance()?;
        }
        if order.is_ge() {
            new.advance()?;
        }
    }
}
