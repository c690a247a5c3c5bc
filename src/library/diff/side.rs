//! One of two databases that are compared: its files in the order of their paths, and with each its tracks.

use std::collections::HashSet;

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, Statement, types};

use super::DiffError;
use super::cursor::{Cursor, Origin};
use super::schema::{Columns, FILES, TRACKS, quoted};
use super::value::Value;
use crate::database::Encoding;
use crate::failure::Kind;

/// The queries of a side.
pub struct Queries<'c> {
    origin: Origin<'c>,
    files: Statement<'c>,
    tracks: Option<Statement<'c>>,
    encoding: Encoding,
}

impl<'c> Queries<'c> {
    /// Prepares the queries for these columns, of all files or of these. `which` says whose errors they have.
    ///
    /// SQLite walks through the indexes of a VPO library and sorts nothing. If there are none it sorts in temporary
    /// files, which it puts into TMPDIR.
    pub fn prepare(
        connection: &'c Connection,
        which: fn(anyhow::Error) -> DiffError,
        columns: &Columns,
        only: Option<&HashSet<i64>>,
    ) -> Result<Self, DiffError> {
        let origin = Origin { connection, which };
        Self::prepared(origin, columns, only).map_err(|error| origin.failed(error))
    }

    fn prepared(origin: Origin<'c>, columns: &Columns, only: Option<&HashSet<i64>>) -> rusqlite::Result<Self> {
        let connection = origin.connection;
        connection.pragma_update(None, "temp_store", "FILE")?;
        let encoding = Encoding::of(connection)?;
        let values = |table: &str, names: &[String]| {
            let value = |name: &String| format!(", {}", Value::sql(&format!("{table}.{}", quoted(name)), encoding));
            names.iter().map(value).collect::<String>()
        };
        let (id, then_by_id) = match columns.has_id {
            true => (Value::sql("f.id", encoding), ", f.id"),
            false => (Value::sql("NULL", encoding), ""),
        };
        // Not by a collation of the schema; and UTF-16 in the order of its UTF-8, which none of its indexes has.
        let order = match encoding {
            Encoding::Utf8 => "f.path COLLATE BINARY",
            _ => {
                define_utf8(connection, encoding)?;
                "typeof(f.path) = 'blob', \
                 CASE typeof(f.path) WHEN 'text' THEN vpo_utf8(CAST(f.path AS BLOB)) ELSE f.path END"
            }
        };
        let condition = match only {
            Some(ids) => {
                define_is_one_of(connection, ids.clone())?;
                "WHERE vpo_is_one_of(f.id)"
            }
            None => "",
        };
        let files = values("f", &columns.files);
        let files = format!("SELECT {id}{files} FROM {FILES} AS f {condition} ORDER BY {order}{then_by_id}");
        // CROSS JOIN keeps the order of the loops: for each file, through its tracks.
        let tracks = columns.tracks.as_ref().map(|names| {
            let tracks = values("t", names);
            format!(
                "SELECT {id}{tracks} FROM {FILES} AS f CROSS JOIN {TRACKS} AS t ON t.file_id = f.id {condition} \
                 ORDER BY {order}{then_by_id}, t.track_index COLLATE BINARY"
            )
        });
        Ok(Queries {
            origin,
            files: connection.prepare(&files)?,
            tracks: tracks.map(|sql| connection.prepare(&sql)).transpose()?,
            encoding,
        })
    }

    /// Begins to read, at the first file.
    pub fn begin(&mut self) -> Result<Side<'_>, DiffError> {
        let tracks = self.tracks.as_mut();
        let mut side = Side {
            files: Cursor::begin(self.origin, &mut self.files, self.encoding)?,
            tracks: tracks
                .map(|tracks| Cursor::begin(self.origin, tracks, self.encoding))
                .transpose()?,
            rank: 0,
            path: Vec::new(),
        };
        side.arrive()?;
        Ok(side)
    }
}

/// What the functions that are defined here have in common: queries may call them, but no schema.
const OURS: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_DIRECTONLY);

/// Defines the function that turns the bytes of a text into UTF-8.
fn define_utf8(connection: &Connection, encoding: Encoding) -> rusqlite::Result<()> {
    connection.create_scalar_function("vpo_utf8", 1, OURS, move |call| {
        let text = call.get_raw(0).as_bytes().unwrap_or_default();
        Ok(types::Value::Blob(encoding.utf8(text).into_owned()))
    })
}

/// Defines the function that says whether a number is one of these.
fn define_is_one_of(connection: &Connection, numbers: HashSet<i64>) -> rusqlite::Result<()> {
    connection.create_scalar_function("vpo_is_one_of", 1, OURS, move |call| {
        Ok(numbers.contains(&call.get_raw(0).as_i64()?))
    })
}

/// A side that is being read. It is positioned at a file, and at the next of its tracks.
pub struct Side<'s> {
    files: Cursor<'s>,
    tracks: Option<Cursor<'s>>,
    /// Class and bytes of the path of the file.
    rank: u8,
    path: Vec<u8>,
}

impl Side<'_> {
    /// The path of the file; `None` after the last one.
    pub fn path(&self) -> Result<Option<Value<'_>>, DiffError> {
        self.files.value(1)
    }

    /// Goes to the next file, past the rest of this one's tracks.
    pub fn pass(&mut self) -> Result<(), DiffError> {
        while self.track()?.is_some() {
            self.next_track()?;
        }
        self.files.advance()?;
        self.arrive()
    }

    /// Goes to the next track.
    pub fn next_track(&mut self) -> Result<(), DiffError> {
        self.tracks.as_mut().map_or(Ok(()), Cursor::advance)
    }

    /// True if the file of `other` has the same values in its first `columns` columns.
    pub fn has_file_of(&self, other: &Side, columns: usize) -> Result<bool, DiffError> {
        // The first value is the number of the file.
        self.files.has_row_of(&other.files, 1..=columns)
    }

    /// True if the next track of the file of `other` has the same values in its first `columns` columns; `None` if
    /// neither has one more.
    pub fn has_track_of(&self, other: &Side, columns: usize) -> Result<Option<bool>, DiffError> {
        match (self.track()?, other.track()?) {
            (Some(track), Some(others)) => track.has_row_of(others, 1..=columns).map(Some),
            (None, None) => Ok(None),
            _ => Ok(Some(false)),
        }
    }

    /// The tracks, if the next one is one of the file.
    fn track(&self) -> Result<Option<&Cursor<'_>>, DiffError> {
        let Some(tracks) = &self.tracks else {
            return Ok(None);
        };
        Ok(match (self.files.value(0)?, tracks.value(0)?) {
            (Some(file), Some(of)) if file.is(&of) => Some(tracks),
            _ => None,
        })
    }

    /// Notes the path of the file.
    ///
    /// # Errors
    /// [`Kind::Database`] if a file comes before the one that it follows, or a track without its file: quick_check does
    /// not compare indexes with their tables, and what is not in order can't be merged.
    fn arrive(&mut self) -> Result<(), DiffError> {
        let disordered = || Kind::Database.error("its indexes do not agree with its tables");
        let Some(path) = self.files.value(1)? else {
            return match &self.tracks {
                Some(tracks) if tracks.value(0)?.is_some() => Err(self.files.failed(disordered())),
                _ => Ok(()),
            };
        };
        let bytes = path.bytes();
        if (path.rank(), &*bytes) < (self.rank, &*self.path) {
            return Err(self.files.failed(disordered()));
        }
        self.rank = path.rank();
        self.path.clear();
        self.path.extend_from_slice(&bytes);
        Ok(())
    }
}
