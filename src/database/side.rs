//! The side files of a database: write-ahead log, its shared-memory index, and rollback journal. They belong to it only
//! by name (<https://www.sqlite.org/tempfiles.html>).

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Suffix of the write-ahead log.
pub const WAL: &str = "-wal";
/// Suffix of the log's index in shared memory.
pub const SHM: &str = "-shm";
/// Suffix of the rollback journal.
pub const JOURNAL: &str = "-journal";

/// The suffixes of all of them.
pub const SIDE_FILES: [&str; 3] = [WAL, SHM, JOURNAL];

/// The side file of `database` with this suffix.
pub fn side_file(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(suffix);
    name.into()
}

/// Length of a side file in bytes, or `None` if it does not exist.
///
/// This asks by name: opening and closing a file would drop the locks that this process has on it.
pub fn side_file_size(database: &Path, suffix: &str) -> io::Result<Option<u64>> {
    match std::fs::metadata(side_file(database, suffix)) {
        Ok(meta) => Ok(Some(meta.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A log or journal beside `database` that holds bytes, without which the database is not what was committed.
pub fn pending_side_file(database: &Path) -> io::Result<Option<PathBuf>> {
    for suffix in [WAL, JOURNAL] {
        if side_file_size(database, suffix)?.is_some_and(|size| size > 0) {
            return Ok(Some(side_file(database, suffix)));
        }
    }
    Ok(None)
}
