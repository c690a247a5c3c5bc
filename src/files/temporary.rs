//! Private temporary files with a name, and the removal of those that a killed run left behind.

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::database::{SIDE_FILES, side_file};
use crate::signals;

const PREFIX: &str = ".vpo-";
const SUFFIX: &str = ".tmp";

/// A file `.vpo-<random>.tmp`, mode 0600, locked with flock(2) while in use and removed when dropped, or when a signal
/// ends the process. It has a name because SQLite can open nothing else; side files that SQLite puts beside it are
/// removed with it.
pub struct Temporary {
    file: NamedTempFile,
}

impl Temporary {
    /// Creates one in `directory`.
    pub fn create(directory: &Path) -> io::Result<Self> {
        loop {
            let file = signals::register_litter(remove, || {
                let file = tempfile::Builder::new()
                    .prefix(PREFIX)
                    .suffix(SUFFIX)
                    .rand_bytes(12)
                    .disable_cleanup(true)
                    .tempfile_in(directory)?;
                Ok((file.path().to_owned(), file))
            })?;
            let temporary = Temporary { file };
            make_private(temporary.file())?;
            // A sweep in another process was faster, and is about to remove the file. Where locks are not supported,
            // nobody can lock it to sweep it away either.
            if matches!(temporary.file().try_lock(), Err(TryLockError::WouldBlock)) {
                continue;
            }
            // A sweep in another process may have locked and removed the file before it was locked here.
            if temporary.file.as_file().metadata()?.nlink() > 0 {
                return Ok(temporary);
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The open file, for reading and writing.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Creates a side file of it, for a copy of a database with its log or journal.
    pub fn create_side_file(&self, suffix: &str) -> io::Result<File> {
        let path = side_file(self.path(), suffix);
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        make_private(&file)?;
        Ok(file)
    }

    /// Gives the file its final name, if that is free.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken. The temporary file comes back with every error.
    pub fn rename_to(self, target: &Path) -> Result<(), (io::Error, Self)> {
        // Nothing is left by the old name then, so that dropping `self` only forgets it.
        rename_new(self.path(), target).map_err(|error| (error, self))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // In this order a signal in between finds the name still registered, and at worst nothing by it.
        remove(self.path());
        signals::forget_litter(self.path());
    }
}

/// Gives a new file mode 0600: the umask may have taken bits away.
pub(super) fn make_private(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o600))
}

/// rename(2) that never replaces: RENAME_NOREPLACE where the file system has it, else link(2) and unlink(2).
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            done => return Ok(done?),
        }
    }
    std::fs::hard_link(from, to)?;
    std::fs::remove_file(from).inspect_err(|_| {
        // Of the two names the new one was not asked for alone.
        let _ = std::fs::remove_file(to);
    })
}

/// Deletes the temporary files in `directory` that no living process has locked: what a killed run left.
///
/// It is a courtesy, never a reason to fail: a directory that can't be read has nothing that we could have left.
pub fn sweep(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            sweep_one(&entry.path());
        }
    }
}

fn sweep_one(path: &Path) {
    // O_NOFOLLOW and O_NONBLOCK: someone else may have planted a link or a FIFO by such a name.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits() as i32).open(path);
    let Ok(file) = file else { return };
    let is_file = file.metadata().is_ok_and(|m| m.is_file());
    if is_file && file.try_lock().is_ok() {
        remove(path);
    }
}

/// Removes a temporary file and its side files: those first, so that the next sweep finds what an interrupted one
/// left.
fn remove(path: &Path) {
    for suffix in SIDE_FILES {
        let _ = std::fs::remove_file(side_file(path, suffix));
    }
    let _ = std::fs::remove_file(path);
}
