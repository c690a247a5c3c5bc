//! Looking at a database file that nobody else uses and that may be hostile.

use std::ffi::c_int;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Context;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use crate::failure::Kind;
use crate::signals;

/// Opens a file that no one writes, such as a stage, without side files and without trust in its schema
/// (<https://www.sqlite.org/security.html>).
///
/// `immutable=1` drops what a log or a journal beside the file holds: never use it on a live library that has one.
pub fn immutable(path: &Path) -> anyhow::Result<Connection> {
    let path = std::path::absolute(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(immutable_uri(&path), flags)
        .with_context(|| format!("cannot open '{}'", path.display()))?;
    harden(&mut connection)?;
    Ok(connection)
}

/// How many of its own operations SQLite does between two looks at whether it is to stop.
const OPERATIONS: c_int = 10_000;

/// Takes from a connection what content that came from elsewhere could misuse, and lets a signal interrupt it.
pub(crate) fn harden(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, 100_000_000)?;
    connection.progress_handler(OPERATIONS, Some(|| signals::pending().is_some()))
}

/// `file:///…?immutable=1`, with every byte that means something in a URI percent-encoded
/// (<https://www.sqlite.org/uri.html>).
fn immutable_uri(absolute: &Path) -> String {
    let mut uri = String::from("file://");
    for &byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// Runs `PRAGMA quick_check`, which has to say `ok` and nothing else.
///
/// # Errors
/// [`Kind::Database`] with the first thing that it found.
pub fn quick_check(connection: &Connection) -> anyhow::Result<()> {
    let first: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .context("quick_check failed")?;
    if first == "ok" {
        return Ok(());
    }
    let found = first.trim_start_matches("*** in database main ***\n");
    Err(Kind::Database.error(format!("quick_check found damage: {found}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_uri() {
        assert_eq!(
            immutable_uri(Path::new("/a b/100%?#x.db")),
            "file:///a%20b/100%25%3F%23x.db?immutable=1"
        );
    }
}
