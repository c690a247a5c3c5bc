//! Which files two databases know differently.
//!
//! Both are read in the order of their paths and merged, so at most one row of each is held. The schema may be hostile,
//! and the tables need not be what VPO makes of them: an index may be missing, and paths may be duplicate, missing or
//! not text. The same rules then apply to SQLite's order of values; of equal paths the first is compared with the
//! first. Of two libraries that number their files alike only those are read so that may differ at all.

mod cursor;
mod schema;
mod side;
mod suspects;
mod value;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rusqlite::Connection;

use crate::database::explain;
use crate::failure::Kind;

use schema::{Columns, FILES, NoPaths, Schema, quoted, table_names};
use side::{Queries, Side};

/// How the two know a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Only the new one knows it.
    Added,
    /// Only the old one knew it.
    Removed,
    /// Both do, differently.
    Changed,
}

/// How many files there are of each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Only the new one knows them.
    pub added: u64,
    /// Only the old one knew them.
    pub removed: u64,
    /// Both know them, differently.
    pub changed: u64,
}

impl Counts {
    /// True if there is no difference.
    pub fn is_none(&self) -> bool {
        *self == Counts::default()
    }

    fn add(&mut self, status: Status) {
        match status {
            Status::Added => self.added += 1,
            Status::Removed => self.removed += 1,
            Status::Changed => self.changed += 1,
        }
    }
}

/// Why a comparison broke off.
#[derive(Debug)]
pub enum DiffError {
    /// The old database could not be read.
    Old(anyhow::Error),
    /// The new database could not be read.
    New(anyhow::Error),
    /// The receiver of the differences failed.
    Sink(anyhow::Error),
}

/// A comparison of two databases: from the old one to the new.
pub struct Comparison<'c> {
    old: &'c Connection,
    new: &'c Connection,
    columns: Columns,
}

impl<'c> Comparison<'c> {
    /// Finds what the two have in common: of schemas that differ, the common columns are compared. The connections
    /// should be inside transactions.
    ///
    /// # Errors
    /// [`Kind::Database`] for one without a table `files` that has paths.
    pub fn new(old: &'c Connection, new: &'c Connection) -> Result<Self, DiffError> {
        let old_schema = schema_of(old).map_err(DiffError::Old)?;
        let new_schema = schema_of(new).map_err(DiffError::New)?;
        let columns = Columns::shared(&old_schema, &new_schema);
        Ok(Comparison { old, new, columns })
    }

    /// What is not compared because only one of them has it, as `table.column`, or `tracks` for all of them.
    pub fn left_out(&self) -> &[String] {
        &self.columns.left_out
    }

    /// Hands each file that differs to `sink`, in the order of the UTF-8 bytes of the paths: the status, and the path
    /// as it is stored. `sink` may end the comparison; the counts are then those of the files before.
    ///
    /// A file is changed if any column of its row differs except `id`, `scanned_at` and `job_id`, or any column of its
    /// tracks, by `track_index`, except `id` and `file_id`. Values are the same if their storage class and their bytes
    /// are.
    pub fn run(
        &self,
        mut sink: impl FnMut(Status, &[u8]) -> anyhow::Result<ControlFlow<()>>,
    ) -> Result<Counts, DiffError> {
        // What goes wrong there is met again here, after the differences that come before it.
        let suspects = match self.columns.numbered {
            true => suspects::find(self.old, self.new, &self.columns).unwrap_or(None),
            false => None,
        };
        let mut old = Queries::prepare(self.old, DiffError::Old, &self.columns, suspects.as_ref())?;
        let mut new = Queries::prepare(self.new, DiffError::New, &self.columns, suspects.as_ref())?;
        let (mut old, mut new) = (old.begin()?, new.begin()?);
        let mut counts = Counts::default();
        loop {
            let order = match (old.path()?, new.path()?) {
                (None, None) => return Ok(counts),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => old.order(&new),
            };
            let status = match order {
                Ordering::Less => Some(Status::Removed),
                Ordering::Greater => Some(Status::Added),
                Ordering::Equal => self.differ(&mut old, &mut new)?.then_some(Status::Changed),
            };
            let knows_it = if order.is_gt() { &new } else { &old };
            if let (Some(status), Some(path)) = (status, knows_it.path()?) {
                counts.add(status);
                if sink(status, &path.shown()).map_err(DiffError::Sink)?.is_break() {
                    return Ok(counts);
                }
            }
            if order.is_le() {
                old.pass()?;
            }
            if order.is_ge() {
                new.pass()?;
            }
        }
    }

    /// True if the two know their current file differently.
    fn differ(&self, old: &mut Side, new: &mut Side) -> Result<bool, DiffError> {
        if !old.has_file_of(new, self.columns.files.len())? {
            return Ok(true);
        }
        let Some(columns) = &self.columns.tracks else {
            return Ok(false);
        };
        loop {
            match old.has_track_of(new, columns.len())? {
                Some(true) => {
                    old.next_track()?;
                    new.next_track()?;
                }
                Some(false) => return Ok(true),
                None => return Ok(false),
            }
        }
    }
}

fn schema_of(connection: &Connection) -> anyhow::Result<Schema> {
    match Schema::read(connection) {
        Ok(Ok(schema)) => Ok(schema),
        Ok(Err(NoPaths)) => Err(Kind::Database.error(format!("it has no table '{FILES}' with a column 'path'"))),
        Err(error) => Err(explain(connection, error.into())),
    }
}

/// How many rows a table has; `None` if there is no such table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRows {
    /// The name of the table.
    pub name: String,
    /// In the old database.
    pub old: Option<u64>,
    /// In the new database.
    pub new: Option<u64>,
}

/// Counts the rows of every table except `files`, ordered by name.
pub fn tables(old: &Connection, new: &Connection) -> Result<Vec<TableRows>, DiffError> {
    let old = count_all(old).map_err(|error| DiffError::Old(explain(old, error.into())))?;
    let mut new = count_all(new).map_err(|error| DiffError::New(explain(new, error.into())))?;
    let mut tables = BTreeMap::new();
    for (name, rows) in old {
        let in_new = new.remove(&name);
        tables.insert(name, (Some(rows), in_new));
    }
    tables.extend(new.into_iter().map(|(name, rows)| (name, (None, Some(rows)))));
    let row = |(name, (old, new))| TableRows { name, old, new };
    Ok(tables.into_iter().map(row).collect())
}

fn count_all(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut names = table_names(connection)?;
    names.retain(|name| !name.eq_ignore_ascii_case(FILES));
    let count = |name: String| {
        let sql = format!("SELECT count(*) FROM {}", quoted(&name));
        let rows = connection.query_row(&sql, [], |row| row.get::<_, i64>(0))?;
        Ok((name, rows.unsigned_abs()))
    };
    names.into_iter().map(count).collect()
}
