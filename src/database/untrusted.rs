//! Database files that nobody writes to: copies of the library, and unpacked archives, which may be hostile.

use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use rustix::time::{ClockId, clock_gettime};

use super::check::{OPERATIONS, harden, stop_when};
use super::damage::{code, is_out_of_memory};
use crate::failure::{Failure, Kind};
use crate::signals;

/// No value in a file is longer than the file. That also limits what an expression in a hostile schema can make; below
/// this many bytes it does not matter.
const MIN_LENGTH: u64 = 1_000_000;
/// SQLite's own limit for a value, in bytes (<https://www.sqlite.org/limits.html>).
const MAX_LENGTH: u64 = 1_000_000_000;
/// Processor time that SQLite may take to look at a file, and for each MiB of it. A fast machine needs 0.7 s for 500.
const TIME: Duration = Duration::from_secs(5);
const TIME_FOR_MIB: Duration = Duration::from_secs(1);
/// Memory that SQLite may take, in bytes. A library's schema, the cache of each connection and what a check notes need
/// some 5 MiB; a hostile schema of 20 MB, 100 KB in the archive, took 1.8 GB. Also bytes of the file for each more:
/// quick_check takes a bit for each page.
const MEMORY: u64 = 32 << 20;
const BYTES_FOR_MEMORY: u64 = 32;

/// Opens a file that nobody writes to, without side files and without trust in its schema.
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

/// A connection to a file that may be hostile. What its schema makes SQLite compute is bounded in length and processor
/// time, and SQLite in memory as long as this exists.
pub struct Untrusted {
    connection: Connection,
    memory: MemoryLimit,
}

impl Untrusted {
    /// Opens a file as [`immutable`] does, with bounds that follow from its size.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut connection = immutable(path)?;
        let size = path.metadata().map_or(0, |meta| meta.len());
        // At most MAX_LENGTH, which fits.
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, size.clamp(MIN_LENGTH, MAX_LENGTH) as i32)?;
        limit_time(&mut connection, size)?;
        let memory = MemoryLimit::new(MEMORY + size / BYTES_FOR_MEMORY);
        Ok(Untrusted { connection, memory })
    }

    /// Lets `cancel` stop what is done with this connection, instead of the bound on its time.
    pub fn stop_when(&mut self, cancel: Arc<AtomicBool>) -> rusqlite::Result<()> {
        stop_when(&mut self.connection, cancel)
    }

    /// Says what an error of this connection means if the bounds caused it.
    ///
    /// # Errors
    /// [`Kind::Database`] if the file asked for more than a library of its size can need; the error itself if that is
    /// not proven, because this process may not have had that much.
    pub fn explain(self, error: anyhow::Error) -> anyhow::Error {
        if let Some(error) = too_slow(&error) {
            return error;
        }
        if !is_out_of_memory(&error) {
            return error;
        }
        let bytes = self.memory.bytes;
        drop(self);
        // Nothing is touched: this only asks whether the address space has room.
        let had = usize::try_from(bytes).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
        match had {
            // With its cause: beside other work, which has a part in the limit, it proves nothing.
            true => made_for_that("it takes SQLite more memory than a library can")
                .source(error)
                .into(),
            false => error,
        }
    }
}

impl Deref for Untrusted {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Stops whatever takes `connection` longer than work on this many bytes can. The time is that of the processor in the
/// thread that runs its statements, from the next one on.
pub(crate) fn limit_time(connection: &mut Connection, bytes: u64) -> rusqlite::Result<()> {
    let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
    let allowed = TIME + TIME_FOR_MIB * mib;
    // From the first look on: the connection may go to another thread.
    let mut begun = None;
    let stop = move || {
        let (begun, spent) = begun.get_or_insert_with(|| (Instant::now(), processor_time()));
        // This clock is cheaper to read, and never behind.
        let late = begun.elapsed() > allowed && processor_time().saturating_sub(*spent) > allowed;
        late || signals::pending().is_some()
    };
    connection.progress_handler(OPERATIONS, Some(stop))
}

/// What an error of [`Kind::Database`] says if [`limit_time`] caused it.
pub(crate) fn too_slow(error: &anyhow::Error) -> Option<anyhow::Error> {
    let stopped = code(error) == Some(ErrorCode::OperationInterrupted) && signals::pending().is_none();
    stopped.then(|| made_for_that("it keeps SQLite busy for longer than a library of its size can").into())
}

fn made_for_that(what: &str) -> Failure {
    Kind::Database.because(format!("{what}; its schema may be made for that"))
}

/// A part of what SQLite may take from the heap. SQLite has one limit for the whole process
/// (<https://www.sqlite.org/c3ref/hard_heap_limit64.html>): it is the sum of those in existence, and there is none
/// without them. Other work that needs more gets SQLITE_NOMEM meanwhile, and must be repeated afterwards.
struct MemoryLimit {
    bytes: u64,
}

/// The sum of the limits in existence.
static MEMORY_LIMIT: Mutex<u64> = Mutex::new(0);

impl MemoryLimit {
    fn new(bytes: u64) -> Self {
        Self::change(|sum| sum.saturating_add(bytes));
        MemoryLimit { bytes }
    }

    fn change(by: impl FnOnce(u64) -> u64) {
        let mut sum = MEMORY_LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
        *sum = by(*sum);
        let limit = i64::try_from(*sum).unwrap_or(i64::MAX);
        // SAFETY: the function takes a number, and may be called at any time from any thread.
        unsafe { ffi::sqlite3_hard_heap_limit64(limit) };
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        Self::change(|sum| sum.saturating_sub(self.bytes));
    }
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    // Neither is negative; a clock that were would only allow more.
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
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
