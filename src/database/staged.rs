//! Looking at a database file that nobody else uses and that may be hostile.

use std::ffi::c_int;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::time::{ClockId, clock_gettime};

use super::reason::with_reason;
use crate::failure::Kind;
use crate::signals;

/// How many of its own operations SQLite does between two looks at whether it is to stop.
const OPERATIONS: c_int = 1000;
/// No string or blob in a database may be longer, in bytes.
const MAX_LENGTH: u64 = 100_000_000;
/// Nor need it be longer than the file, above this: what an expression in a hostile schema can make is limited with it.
const MIN_LENGTH: u64 = 1_000_000;
/// Processor time that SQLite may take to look at a file, and for each MiB of it. A fast machine needs 0.7 s for 500.
const PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE_FOR_MIB: Duration = Duration::from_secs(1);
/// Memory that SQLite may take, in bytes. A library's schema, the cache of each connection and what a check notes need
/// some 5 MiB; a hostile schema of 20 MB, 100 KB in the archive, took 1.8 GB. Also bytes of the file for each more: 16
/// for a page of 512. A restore's log takes 10 for a page in its index, and quick_check a bit.
const MEMORY: u64 = 32 << 20;
const BYTES_FOR_MEMORY: u64 = 32;

/// Opens a file that no one writes, such as a stage, without side files and without trust in its schema
/// (<https://www.sqlite.org/security.html>). What its schema makes SQLite compute is bounded in length and time, and all
/// of SQLite in memory: in this process, for good, because SQLite has one limit, which can only be lowered
/// (<https://www.sqlite.org/pragma.html#pragma_hard_heap_limit>).
///
/// `immutable=1` drops what a log or a journal beside the file holds: never use it on a live library that has one.
pub fn immutable(path: &Path) -> anyhow::Result<Connection> {
    let path = std::path::absolute(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(immutable_uri(&path), flags)
        .with_context(|| format!("cannot open '{}'", path.display()))?;
    harden(&mut connection)?;
    let size = path.metadata().map_or(0, |meta| meta.len());
    // At most MAX_LENGTH, which fits.
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, size.clamp(MIN_LENGTH, MAX_LENGTH) as i32)?;
    let memory = MEMORY + size / BYTES_FOR_MEMORY;
    connection.query_row(&format!("PRAGMA hard_heap_limit = {memory}"), [], |_| Ok(()))?;
    let mib = u32::try_from(size >> 20).unwrap_or(u32::MAX);
    let patience = PATIENCE + PATIENCE_FOR_MIB * mib;
    // From the first look on: the connection may go to another thread.
    let mut begun = None;
    let stop = move || {
        let (begun, spent) = begun.get_or_insert_with(|| (Instant::now(), processor_time()));
        // The clock is cheaper to ask, and never behind.
        let late = begun.elapsed() > patience && processor_time().saturating_sub(*spent) > patience;
        late || signals::pending().is_some()
    };
    connection.progress_handler(OPERATIONS, Some(stop))?;
    Ok(connection)
}

/// Time that the processor has given to this thread.
fn processor_time() -> Duration {
    // Neither is negative; a clock that were would only make the patience longer.
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// Takes from a connection what content that came from elsewhere could misuse, and lets a signal interrupt it.
pub(crate) fn harden(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_LENGTH as i32)?;
    connection.progress_handler(OPERATIONS, Some(|| signals::pending().is_some()))
}

/// Says so where SQLite was stopped because it took too long.
pub(super) fn patience_lost(error: anyhow::Error) -> anyhow::Error {
    let interrupted = |cause: &rusqlite::Error| cause.sqlite_error_code() == Some(ErrorCode::OperationInterrupted);
    let by_us = error.chain().any(|cause| cause.downcast_ref().is_some_and(interrupted));
    if !by_us || signals::pending().is_some() {
        return error;
    }
    let message = "it keeps SQLite busy for longer than a library of its size can; its schema may be made for that";
    Kind::Database.error(message)
}

/// True if SQLite did not get the memory that it asked for.
pub fn is_out_of_memory(error: &anyhow::Error) -> bool {
    let refused = |cause: &rusqlite::Error| cause.sqlite_error_code() == Some(ErrorCode::OutOfMemory);
    error.chain().any(|cause| cause.downcast_ref().is_some_and(refused))
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
/// [`Kind::Database`] with the first thing that it found; an I/O error where the file could not be read.
pub fn quick_check(connection: &Connection) -> anyhow::Result<()> {
    let error = match connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)) {
        Ok(first) if first == "ok" => return Ok(()),
        Ok(first) => {
            let found = first.trim_start_matches("*** in database main ***\n");
            Kind::Database.error(format!("quick_check found damage: {found}"))
        }
        Err(error) => patience_lost(error.into()).context("quick_check failed"),
    };
    Err(with_reason(connection, error))
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
