//! Why SQLite failed: what the system said.

use std::ffi::c_int;
use std::io;

use rusqlite::{Connection, ffi};
use rustix::io::Errno;

use crate::failure::{Kind, describe, is_full, kind};

/// To SQLite most failures to write are a "disk I/O error", and a failure to read is damage. Where the system says that
/// the device or the quota is full, or that it could not read, the error, which was given by `connection` last, says so
/// too.
pub fn with_reason(connection: &Connection, error: anyhow::Error) -> anyhow::Error {
    match kind(&error) {
        Kind::Failed => {
            // SAFETY: the handle is that of a connection that is open while it is borrowed; only a field of it is read.
            let number = unsafe { ffi::sqlite3_system_errno(connection.handle()) };
            let reason = io::Error::from_raw_os_error(number);
            match is_full(&reason) {
                true => Kind::NoSpace.because(describe(&error)).source(reason).into(),
                false => error,
            }
        }
        Kind::Database => match last_errno(connection) {
            Some(number) if UNREADABLE.contains(&number) => Kind::Failed
                .because(format!("its file can't be read ({})", describe(&error)))
                .source(io::Error::from(number))
                .into(),
            _ => error,
        },
        _ => error,
    }
}

/// What SQLite's Unix VFS takes for a damaged file system, and the virtual machine for a damaged database: it makes
/// SQLITE_CORRUPT of SQLITE_IOERR_CORRUPTFS.
const UNREADABLE: [Errno; 3] = [Errno::RANGE, Errno::IO, Errno::NXIO];

/// True if the system could not read a file that SQLite was asked for.
pub fn is_unreadable(error: &anyhow::Error) -> bool {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| Errno::from_io_error(cause).is_some_and(|number| UNREADABLE.contains(&number)))
}

/// The last error that the system gave for the database file, if it gave one
/// (<https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html>, SQLITE_FCNTL_LAST_ERRNO).
fn last_errno(connection: &Connection) -> Option<Errno> {
    let mut number: c_int = 0;
    // SAFETY: the handle is that of a connection that is open while it is borrowed, the name is a C string, and the
    // opcode writes one int, which outlives the call.
    let result = unsafe {
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_LAST_ERRNO,
            (&raw mut number).cast(),
        )
    };
    (result == ffi::SQLITE_OK && number != 0).then(|| Errno::from_raw_os_error(number))
}
