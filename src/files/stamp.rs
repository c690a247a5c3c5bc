//! Whether a file still is the same one, unchanged.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{FileType, Stat};

/// What tells whether a name still is of the same file, and that nobody has written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// A regular file, not a symlink or anything else.
    pub regular: bool,
    /// The device that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written to, in nanoseconds since 1970.
    pub mtime_ns: i64,
}

impl From<&fs::Metadata> for FileStamp {
    fn from(meta: &fs::Metadata) -> Self {
        FileStamp {
            regular: meta.is_file(),
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            mtime_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
        }
    }
}

impl From<&Stat> for FileStamp {
    // The fields' types differ between systems.
    #[allow(clippy::unnecessary_cast)]
    fn from(stat: &Stat) -> Self {
        FileStamp {
            regular: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            mtime_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        }
    }
}

/// A file's time as one number, if it fits: within three centuries of 1970.
fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
