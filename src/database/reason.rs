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

/// The last error that the system gave for the database file, or for its log or journal
/// (<https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html>, SQLITE_FCNTL_LAST_ERRNO).
fn last_errno(connection: &Connection) -> Option<Errno> {
    let mut numbers: [c_int; 2] = [0, 0];
    let mut journal: *mut ffi::sqlite3_file = std::ptr::null_mut();
    // SAFETY: the handle is that of a connection that is open while it is borrowed, and used by this thread only, as
    // `Connection` is not `Sync`; the name is a C string. The opcodes write one int, and one pointer to a file that the
    // connection owns and that has methods only while it is open.
    unsafe {
        let handle = connection.handle();
        let main = c"main".as_ptr();
        ffi::sqlite3_file_control(handle, main, ffi::SQLITE_FCNTL_LAST_ERRNO, (&raw mut numbers[0]).cast());
        let got = ffi::sqlite3_file_control(
            handle,
            main,
            ffi::SQLITE_FCNTL_JOURNAL_POINTER,
            (&raw mut journal).cast(),
        );
        if got == ffi::SQLITE_OK
            && let Some(file) = journal.as_ref()
            && let Some(methods) = file.pMethods.as_ref()
            && let Some(control) = methods.xFileControl
        {
            control(journal, ffi::SQLITE_FCNTL_LAST_ERRNO, (&raw mut numbers[1]).cast());
        }
    }
    let number = numbers.into_iter().find(|number| *number != 0)?;
    Some(Errno::from_raw_os_error(number))
}
