//! What proves that a database is damaged, and why SQLite failed where nothing proves that.

use std::ffi::c_int;
use std::{fmt, io};

use rusqlite::{Connection, ErrorCode, ffi};
use rustix::io::Errno;

use crate::failure::{Kind, describe, is_full, kind};

/// Proof that a database is damaged: SQLite said SQLITE_CORRUPT or SQLITE_NOTADB about bytes that could be read, or
/// quick_check found something wrong in its structure. Nothing else proves it: not a lock, a limit, missing memory, an
/// I/O error, an unknown function, a value of an unexpected type, or a query that fails.
#[derive(Debug)]
pub struct Damage {
    found_by: &'static str,
    /// What was found, a failure of [`Kind::Database`].
    found: anyhow::Error,
}

impl Damage {
    /// By quick_check.
    pub(super) fn in_structure(found: &str) -> anyhow::Error {
        let found_by = "quick_check found damage";
        let found = Kind::Database.error(found);
        anyhow::Error::new(Damage { found_by, found })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.found_by)
    }
}

impl std::error::Error for Damage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.found.as_ref())
    }
}

/// True if `error` is, or is caused by, the proof that a database is damaged.
pub fn is_damage(error: &anyhow::Error) -> bool {
    damage(error).is_some()
}

/// What proves that a database is damaged, if `error` is or is caused by that.
pub fn damage(error: &anyhow::Error) -> Option<String> {
    let proof = error.chain().find_map(|cause| cause.downcast_ref::<Damage>())?;
    Some(format!("{proof}: {}", describe(&proof.found)))
}

/// True if SQLite did not get the memory that it asked for.
pub fn is_out_of_memory(error: &anyhow::Error) -> bool {
    code(error) == Some(ErrorCode::OutOfMemory)
}

/// SQLite's result code, if the error is one of SQLite's.
pub(super) fn code(error: &anyhow::Error) -> Option<ErrorCode> {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<rusqlite::Error>());
    cause.and_then(rusqlite::Error::sqlite_error_code)
}

/// Says what SQLite's last error on `connection` means. To SQLite most failures to write are a "disk I/O error", and
/// some failures to read are damage: if the system said that the device or quota is full, or that it could not read,
/// the error says so. What remains of SQLITE_CORRUPT and SQLITE_NOTADB is [`Damage`].
pub fn explain(connection: &Connection, error: anyhow::Error) -> anyhow::Error {
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
            _ if is_damage(&error) => error,
            _ => match code(&error) {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => anyhow::Error::new(Damage {
                    found_by: "SQLite finds it damaged",
                    found: error,
                }),
                _ => error,
            },
        },
        _ => error,
    }
}

/// What SQLite's Unix VFS considers a damaged file system, and its virtual machine a damaged database: it turns
/// SQLITE_IOERR_CORRUPTFS into SQLITE_CORRUPT.
const UNREADABLE: [Errno; 3] = [Errno::RANGE, Errno::IO, Errno::NXIO];

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
