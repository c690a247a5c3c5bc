//! Why SQLite failed: what the system said.

use rusqlite::Connection;

use crate::failure::{Kind, describe, is_full, kind};

/// To SQLite most failures to write are a "disk I/O error". Where the system says that the device or the quota is full,
/// the error, which was given by `connection` last, says so too.
pub fn with_reason(connection: &Connection, error: anyhow::Error) -> anyhow::Error {
    if kind(&error) != Kind::Failed {
        return error;
    }
    // SAFETY: the handle is that of a connection that is open while it is borrowed; only a field of it is read.
    let number = unsafe { rusqlite::ffi::sqlite3_system_errno(connection.handle()) };
    let reason = std::io::Error::from_raw_os_error(number);
    if is_full(&reason) {
        Kind::NoSpace.because(describe(&error)).source(reason).into()
    } else {
        error
    }
}
