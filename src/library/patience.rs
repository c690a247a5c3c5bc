//! Waiting for a lock.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::signals;

/// How long to wait, in milliseconds: SQLite's callback has no place for it. A program has one timeout.
static TIMEOUT: AtomicU64 = AtomicU64::new(0);
/// Time between two attempts. SQLite's own handler soon waits 100 ms, and then finds no gap between writers that are
/// busy all the time.
const PAUSE: Duration = Duration::from_millis(1);

thread_local! {
    /// When this thread began to wait for the present lock.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Makes `connection` wait for locks up to `timeout`, or until a signal asks the process to end.
pub fn be_patient(connection: &mut Connection, timeout: Duration) -> rusqlite::Result<()> {
    let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    TIMEOUT.store(milliseconds, Ordering::Relaxed);
    connection.busy_handler(Some(wait))
}

/// SQLite's busy handler: true to try again. `attempts` is 0 when the wait for a lock begins.
fn wait(attempts: c_int) -> bool {
    let now = Instant::now();
    let since = match SINCE.get() {
        Some(since) if attempts > 0 => since,
        _ => now,
    };
    SINCE.set(Some(since));
    let limit = Duration::from_millis(TIMEOUT.load(Ordering::Relaxed));
    if now - since >= limit || signals::pending().is_some() {
        return false;
    }
    thread::sleep(PAUSE);
    true
}
