//! A backup is removed only if it is still the file that was looked at.

use std::ffi::OsStr;
use std::fs::File;
use std::io;

use rustix::fs::{AtFlags, statat, unlinkat};
use rustix::io::{Errno, retry_on_intr};

use crate::files::FileStamp;

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It was removed.
    Removed,
    /// It was gone already.
    Gone,
    /// It belongs to another file than before, or the file has changed: it stays.
    Changed,
}

/// Removes the name `name` from `directory`, an open directory, if it still belongs to the file of `stamp`.
pub fn remove(directory: &File, name: &OsStr, stamp: &FileStamp) -> io::Result<Removal> {
    match retry_on_intr(|| statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(stat) if FileStamp::from(&stat) == *stamp && stamp.regular => {}
        Ok(_) => return Ok(Removal::Changed),
        Err(Errno::NOENT) => return Ok(Removal::Gone),
        Err(error) => return Err(error.into()),
    }
    match retry_on_intr(|| unlinkat(directory, name, AtFlags::empty())) {
        Ok(()) => Ok(Removal::Removed),
        Err(Errno::NOENT) => Ok(Removal::Gone),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backups::list;

    #[test]
    fn only_what_was_looked_at_goes() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = File::open(temporary.path()).unwrap();
        let name = "vpo-library-2026-02-05T143022Z.tar.gz";
        let path = temporary.path().join(name);
        let stamp = |content: &str| {
            std::fs::write(&path, content).unwrap();
            list(temporary.path()).unwrap()[0].stamp
        };
        let remove = |stamp: &FileStamp| remove(&directory, OsStr::new(name), stamp).unwrap();

        let other = temporary.path().join("other");
        let changes: [(&str, &dyn Fn()); 5] = [
            ("longer", &|| std::fs::write(&path, "abcd").unwrap()),
            ("written to", &|| {
                let file = File::options().write(true).open(&path).unwrap();
                let times = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
                file.set_times(times).unwrap();
            }),
            ("another file", &|| {
                // Beside the first one, so that it can't get its inode.
                let modified = path.metadata().unwrap().modified().unwrap();
                std::fs::write(&other, "abc").unwrap();
                let times = std::fs::FileTimes::new().set_modified(modified);
                File::options()
                    .write(true)
                    .open(&other)
                    .unwrap()
                    .set_times(times)
                    .unwrap();
                std::fs::rename(&other, &path).unwrap();
            }),
            ("a symlink to it", &|| {
                std::fs::rename(&path, &other).unwrap();
                std::os::unix::fs::symlink(&other, &path).unwrap();
            }),
            ("a directory", &|| {
                std::fs::remove_file(&path).unwrap();
                std::fs::create_dir(&path).unwrap();
            }),
        ];
        for (what, change) in changes {
            let before = stamp("abc");
            change();
            assert_eq!(remove(&before), Removal::Changed, "{what}");
            assert!(path.symlink_metadata().is_ok(), "{what}");
            if path.is_dir() {
                std::fs::remove_dir(&path).unwrap();
            } else {
                std::fs::remove_file(&path).unwrap();
            }
        }
        let before = stamp("abc");
        assert_eq!(remove(&before), Removal::Removed);
        assert_eq!(remove(&before), Removal::Gone);
    }
}
