//! One of two databases that are compared: its files in the order of their paths, and with each its tracks.

use rusqlite::fallible_streaming_iterator::FallibleStreamingIterator;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, Row, Rows, Statement, types};

use super::DiffError;
use super::schema::{Columns, FILES, TRACKS, quoted};
use super::value::Value;
use crate::database::{Encoding, explain};
use crate::failure::Kind;

/// Which database it is, for its errors.
#[derive(Clone, Copy)]
struct Origin<'c> {
    connection: &'c Connection,
    which: fn(anyhow::Error) -> DiffError,
}

impl Origin<'_> {
    fn failed(&self, error: impl Into<anyhow::Error>) -> DiffError {
        (self.which)(explain(self.connection, error.into()))
    }
}

/// The queries of a side.
pub struct Queries<'c> {
    origin: Origin<'c>,
    files: Statement<'c>,
    tracks: Option<Statement<'c>>,
    encoding: Encoding,
}

impl<'c> Queries<'c> {
    /// Prepares the queries for these columns. `which` says whose errors they have.
    ///
    /// SQLite walks through the indexes of a VPO library and sorts nothing. If there are none it sorts in temporary
    /// files, which it puts into TMPDIR.
    pub fn prepare(
        connection: &'c Connection,
        which: fn(anyhow::Error) -> DiffError,
        columns: &Columns,
    ) -> Result<Self, DiffError> {
        let origin = Origin { connection, which };
        Self::prepared(origin, columns).map_err(|error| origin.failed(error))
    }

    fn prepared(origin: Origin<'c>, columns: &Columns) -> rusqlite::Result<Self> {
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
        let files = values("f", &columns.files);
        let files = format!("SELECT {id}{files} FROM {FILES} AS f ORDER BY {order}{then_by_id}");
        // CROSS JOIN keeps the order of the loops: for each file, through its tracks.
        let tracks = columns.tracks.as_ref().map(|names| {
            let tracks = values("t", names);
            format!(
                "SELECT {id}{tracks} FROM {FILES} AS f CROSS JOIN {TRACKS} AS t ON t.file_id = f.id \
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
        let origin = self.origin;
        self.first().map_err(|error| origin.failed(error))
    }

    fn first(&mut self) -> anyhow::Result<Side<'_>> {
        let mut side = Side {
            origin: self.origin,
            files: self.files.query([])?,
            tracks: self.tracks.as_mut().map(|tracks| tracks.query([])).transpose()?,
            encoding: self.encoding,
            rank: 0,
            path: Vec::new(),
        };
        if let Some(tracks) = &mut side.tracks {
            tracks.advance()?;
        }
        side.next_file()?;
        Ok(side)
    }
}

/// Defines the function that turns the bytes of a text into UTF-8. Queries may call it, but no schema.
fn define_utf8(connection: &Connection, encoding: Encoding) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("vpo_utf8", 1, flags, move |call| {
        let text = call.get_raw(0).as_bytes().unwrap_or_default();
        Ok(types::Value::Blob(encoding.utf8(text).into_owned()))
    })
}

/// A side that is being read. It is positioned at a file, and at the next of its tracks.
pub struct Side<'s> {
    origin: Origin<'s>,
    files: Rows<'s>,
    tracks: Option<Rows<'s>>,
    encoding: Encoding,
    /// Class and bytes of the path of the file.
    rank: u8,
    path: Vec<u8>,
}

impl Side<'_> {
    /// The path of the file; `None` after the last one.
    pub fn path(&self) -> Result<Option<Value<'_>>, DiffError> {
        let row = self.files.get();
        let path = row.map(|row| Value::get(row, 1, self.encoding)).transpose();
        path.map_err(|error| self.origin.failed(error))
    }

    /// Goes to the next file, past the rest of this one's tracks.
    pub fn pass(&mut self) -> Result<(), DiffError> {
        while self.track()?.is_some() {
            self.next_track()?;
        }
        self.next_file().map_err(|error| self.origin.failed(error))
    }

    /// Goes to the next track.
    pub fn next_track(&mut self) -> Result<(), DiffError> {
        match &mut self.tracks {
            Some(tracks) => tracks.advance().map_err(|error| self.origin.failed(error)),
            None => Ok(()),
        }
    }

    /// True if the file of `other` has the same values in its first `columns` columns.
    pub fn has_file_of(&self, other: &Side, columns: usize) -> Result<bool, DiffError> {
        match (self.files.get(), other.files.get()) {
            (Some(row), Some(others)) => self.same(row, other, others, columns),
            _ => Ok(false),
        }
    }

    /// True if the next track of the file of `other` has the same values in its first `columns` columns; `None` if
    /// neither has one more.
    pub fn has_track_of(&self, other: &Side, columns: usize) -> Result<Option<bool>, DiffError> {
        match (self.track()?, other.track()?) {
            (Some(row), Some(others)) => self.same(row, other, others, columns).map(Some),
            (None, None) => Ok(None),
            _ => Ok(Some(false)),
        }
    }

    fn same(&self, row: &Row, other: &Side, others: &Row, columns: usize) -> Result<bool, DiffError> {
        // The first value is the number of the file.
        for i in 1..=columns {
            let value = Value::get(row, i, self.encoding).map_err(|error| self.origin.failed(error))?;
            let others = Value::get(others, i, other.encoding).map_err(|error| other.origin.failed(error))?;
            if !value.is(&others) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next track, if it is one of the file.
    fn track(&self) -> Result<Option<&Row<'_>>, DiffError> {
        let track = self.tracks.as_ref().and_then(|tracks| tracks.get());
        let (Some(file), Some(track)) = (self.files.get(), track) else {
            return Ok(None);
        };
        let id = |row| Value::get(row, 0, self.encoding).map_err(|error| self.origin.failed(error));
        Ok(id(file)?.is(&id(track)?).then_some(track))
    }

    /// # Errors
    /// [`Kind::Database`] if a file comes before the one that it follows, or a track without its file: quick_check does
    /// not compare indexes with their tables, and what is not in order can't be merged.
    fn next_file(&mut self) -> anyhow::Result<()> {
        self.files.advance()?;
        let Some(row) = self.files.get() else {
            return match self.tracks.as_ref().and_then(|tracks| tracks.get()) {
                Some(_) => Err(disordered()),
                None => Ok(()),
            };
        };
        let path = Value::get(row, 1, self.encoding)?;
        let bytes = path.bytes();
        if (path.rank(), &*bytes) < (self.rank, &*self.path) {
            return Err(disordered());
        }
        self.rank = path.rank();
        self.path.clear();
        self.path.extend_from_slice(&bytes);
        Ok(())
    }
}

fn disordered() -> anyhow::Error {
    Kind::Database.error("its indexes do not agree with its tables")
}
