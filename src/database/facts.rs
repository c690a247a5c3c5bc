//! What a VPO library says about itself.

use std::path::Path;

use anyhow::Context;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::damage::explain;
use super::source::{self, Source};
use crate::failure::Kind;

/// The figures that go into a backup's metadata, all read in one transaction. Also the content of `--stats FILE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `schema_version` in the table `_meta`.
    pub schema_version: u64,
    /// Rows of the table `files`.
    pub file_count: u64,
    /// Sum of `files.size_bytes`: the size of the videos, not of the database.
    pub total_library_size_bytes: u64,
    /// Length of the database in bytes.
    pub database_size_bytes: u64,
    /// Bytes in a page.
    pub page_size: u32,
    /// Name of the machine on which the library was read, if known.
    #[serde(default)]
    pub source_host: Option<String>,
    /// Absolute path of the library that was read, symlinks resolved, if known.
    #[serde(default)]
    pub source_path: Option<String>,
}

impl Facts {
    /// Reads the facts in the transaction that `connection` is in, or in one of its own.
    ///
    /// # Errors
    /// [`Kind::Database`] if it is not a VPO library; else why SQLite could not read them.
    pub fn read(connection: &Connection) -> anyhow::Result<Self> {
        Self::find(connection)?.map_err(|why| Kind::Database.error(why))
    }

    /// The facts, or a phrase that says why this is not a VPO library: `_meta` and `files` must be ordinary tables, and
    /// the first must hold the schema version.
    ///
    /// # Errors
    /// Why SQLite could not read them.
    pub fn find(connection: &Connection) -> anyhow::Result<Result<Self, String>> {
        Self::ask(connection).map_err(|error| explain(connection, error))
    }

    /// Checks figures that come from elsewhere: they must be in the ranges that an archive's metadata may have, or an
    /// archive made with them could never be verified.
    ///
    /// # Errors
    /// A phrase that names the key.
    pub fn check(&self) -> Result<(), String> {
        if self.schema_version == 0 {
            return Err("'schema_version' is 0".into());
        }
        for (key, number) in [
            ("schema_version", self.schema_version),
            ("file_count", self.file_count),
            ("total_library_size_bytes", self.total_library_size_bytes),
        ] {
            if i64::try_from(number).is_err() {
                return Err(format!("'{key}' is greater than 2^63-1"));
            }
        }
        Ok(())
    }

    /// The same facts, for the library at `path` on this machine. Names that are not UTF-8, or longer than
    /// [`MAX_SOURCE`], stay unknown.
    ///
    /// [`MAX_SOURCE`]: super::MAX_SOURCE
    pub fn of_library(mut self, path: &Path) -> Self {
        self.source_host = source::host();
        self.source_path = source::path(path);
        self
    }

    /// The library that was read, if host and path are known.
    pub fn source(&self) -> Option<Source> {
        Some(Source {
            host: self.source_host.clone()?,
            path: self.source_path.clone()?,
        })
    }

    fn ask(connection: &Connection) -> anyhow::Result<Result<Self, String>> {
        for table in ["_meta", "files"] {
            if !has_table(connection, table)? {
                return Ok(Err(format!("not a VPO library: it has no table '{table}'")));
            }
        }
        let Some(schema_version) = schema_version(connection)? else {
            return Ok(Err("not a VPO library: its table '_meta' has no schema version".into()));
        };
        let number = |sql: &str| -> anyhow::Result<u64> {
            let value: i64 = connection.query_row(sql, [], |row| row.get(0))?;
            u64::try_from(value).with_context(|| format!("{sql} gives {value}"))
        };
        let page_size = number("PRAGMA page_size")?;
        Ok(Ok(Facts {
            schema_version,
            file_count: number("SELECT count(*) FROM files")?,
            total_library_size_bytes: total_size(connection)?,
            database_size_bytes: number("PRAGMA page_count")?.saturating_mul(page_size),
            page_size: u32::try_from(page_size).context("impossible page size")?,
            source_host: None,
            source_path: None,
        }))
    }
}

/// `schema_version` in `_meta`, if it is there and a number above 0.
fn schema_version(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    if !has_column(connection, "_meta", "key")? || !has_column(connection, "_meta", "value")? {
        return Ok(None);
    }
    // The collation is named, because an index may be ordered by one that SQLite does not know.
    let sql = "SELECT CAST(value AS TEXT) FROM _meta WHERE key = 'schema_version' COLLATE BINARY";
    let text = connection.query_row(sql, [], |row| {
        Ok(row.get_ref(0)?.as_str_or_null().ok().flatten().map(str::to_owned))
    });
    let version = text.optional()?.flatten().and_then(|text| text.parse::<i64>().ok());
    Ok(version
        .and_then(|version| u64::try_from(version).ok())
        .filter(|version| *version > 0))
}

/// Sum of `files.size_bytes`. SQLite lets a column hold anything: a value that is not an integer counts as 0, and a sum
/// beyond what metadata can hold counts as the largest that they can. It is for people; no backup fails because of it.
fn total_size(connection: &Connection) -> rusqlite::Result<u64> {
    if !has_column(connection, "files", "size_bytes")? {
        return Ok(0);
    }
    // In halves, because SQLite's sum() fails if it overflows.
    let sql = "SELECT coalesce(sum(size_bytes >> 32), 0), coalesce(sum(size_bytes & 0xffffffff), 0) FROM files
               WHERE typeof(size_bytes) = 'integer' AND size_bytes > 0";
    let (high, low): (i64, i64) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let sum = (i128::from(high) << 32) + i128::from(low);
    Ok(u64::try_from(sum.clamp(0, i128::from(i64::MAX))).unwrap_or_default())
}

/// True if there is a table of that name: not a view, and not a virtual table, which has no root page.
fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    is_there(
        connection,
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE AND rootpage > 0",
        [name],
    )
}

/// True if `table` has a column of that name, generated or not.
fn has_column(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    is_there(
        connection,
        "SELECT 1 FROM pragma_table_xinfo(?1) WHERE name = ?2 COLLATE NOCASE",
        [table, column],
    )
}

fn is_there<const N: usize>(connection: &Connection, sql: &str, names: [&str; N]) -> rusqlite::Result<bool> {
    let found = connection.query_row(sql, rusqlite::params_from_iter(names), |_| Ok(()));
    found.optional().map(|found| found.is_some())
}
