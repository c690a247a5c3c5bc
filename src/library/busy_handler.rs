//! Waiting for a lock.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::signals;

/// Time between two attempts. SQLite's own handler soon waits 100 ms at a time, and then finds no gap between writers
/// that are always busy.
const PAUSE: Duration = Duration::from_millis(1);

/// Makes `connection` wait for each lock up to `timeout`, or until a signal asks the process to end.
pub fn wait_for_locks(connection: &mut Connection, timeout: Duration) -> rusqlite::Result<()> {
    let mut since = None;
    // SQLite counts the attempts from 0 when the wait for a lock begins.
    let wait = move |attempts| {
        if attempts == 0 {
            since = None;
        }
        let waited = since.get_or_insert_with(Instant::now).elapsed();
        if waited >= timeout || signals::pending().is_some() {
            return false;
        }
        thread::sleep(PAUSE);
        true
    };
    connection.busy_handler(Some(wait))
}
