//! What a VPO library says of itself.

use std::path::Path;

use anyhow::Context;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::reason::with_reason;
use super::source::{self, Source};
use super::staged::patience_lost;
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
    /// Name of the machine on which the library was read, where known.
    #[serde(default)]
    pub source_host: Option<String>,
    /// Absolute path of the library that was read, symlinks resolved, where known.
    #[serde(default)]
    pub source_path: Option<String>,
}

impl Facts {
    /// Reads the facts in the transaction that `connection` is in, or in one of its own.
    ///
    /// # Errors
    /// [`Kind::Database`] if it is no VPO library: `_meta` and `files` have to be ordinary tables. An I/O error where the
    /// file could not be read.
    pub fn read(connection: &Connection) -> anyhow::Result<Self> {
        Self::ask(connection).map_err(|error| with_reason(connection, patience_lost(error)))
    }

    /// The same facts, of the library at `path` on this machine. What is not UTF-8, or longer than [`MAX_SOURCE`], stays
    /// unknown.
    ///
    /// [`MAX_SOURCE`]: super::MAX_SOURCE
    pub fn of_library(mut self, path: &Path) -> Self {
        self.source_host = source::host();
        self.source_path = source::path(path);
        self
    }

    /// The library that was read, where host and path are known.
    pub fn source(&self) -> Option<Source> {
        Some(Source {
            host: self.source_host.clone()?,
            path: self.source_path.clone()?,
        })
    }

    fn ask(connection: &Connection) -> anyhow::Result<Self> {
        for table in ["_meta", "files"] {
            if !has_table(connection, table)? {
                return Err(Kind::Database.error(format!("no VPO library: it has no table '{table}'")));
            }
        }
        let number = |sql: &str| -> anyhow::Result<u64> {
            let value: i64 = connection.query_row(sql, [], |row| row.get(0))?;
            u64::try_from(value).with_context(|| format!("{sql} gives {value}"))
        };
        let schema_version: Option<String> = connection
            .query_row(
                "SELECT CAST(value AS TEXT) FROM _meta WHERE key = 'schema_version'",
                [],
                |row| row.get(0),
            )
            .optional()?;
        let schema_version = schema_version
            .as_deref()
            .and_then(|text| text.parse::<i64>().ok())
            .and_then(|version| u64::try_from(version).ok())
            .filter(|version| *version > 0)
            .ok_or_else(|| Kind::Database.error("no VPO library: its table '_meta' has no schema version"))?;
        let page_size = number("PRAGMA page_size")?;
        let (file_count, total_size): (i64, i64) =
            connection.query_row("SELECT count(*), coalesce(sum(size_bytes), 0) FROM files", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        Ok(Facts {
            schema_version,
            file_count: file_count.unsigned_abs(),
            total_library_size_bytes: u64::try_from(total_size)
                .map_err(|_| Kind::Database.error("the sizes of its files add up to less than nothing"))?,
            database_size_bytes: number("PRAGMA page_count")?.saturating_mul(page_size),
            page_size: u32::try_from(page_size).context("impossible page size")?,
            source_host: None,
            source_path: None,
        })
    }
}

/// True if there is a table of that name: not a view, and not a virtual table, which has no root page.
fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE AND rootpage > 0",
            [name],
            |_| Ok(()),
        )
        .optional()
        .map(|found| found.is_some())
}
