//! Private temporary files with a name, and the removal of those that a killed run left behind.

use std::ffi::OsStr;
use std::fs::{File, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use super::owner::give_to_owner;
use super::parent;
use crate::database::{SIDE_FILES, side_file};
use crate::failure::{Kind, is_full};
use crate::signals;

const PREFIX: &str = ".vpo-";
const SUFFIX: &str = ".tmp";
/// Random characters of a name. A checksum of them follows, so that no name given by a person looks like one of ours.
const RANDOM: usize = 12;
/// Suffix of the empty files by which processes take turns.
const LOCK_SUFFIX: &str = ".lock";

/// A file `.vpo-<random>.tmp`, mode 0600, locked with flock(2) while in use and removed when dropped, or when a signal
/// ends the process. It has a name because SQLite can't open a file without one; side files that SQLite puts beside it
/// are removed with it.
pub struct Temporary {
    file: NamedTempFile,
}

impl Temporary {
    /// Creates one in `directory`.
    pub fn create(directory: &Path) -> io::Result<Self> {
        Self::create_locked(directory).map_err(|error| no_room(directory, error))
    }

    fn create_locked(directory: &Path) -> io::Result<Self> {
        loop {
            let file = signals::register_temporary(remove, || {
                let file = create_signed(directory)?;
                Ok((file.path().to_owned(), file))
            })?;
            let temporary = Temporary { file };
            make_private(temporary.file())?;
            give_to_owner(temporary.file(), directory);
            // A sweep in another process was faster, and is about to remove the file. If locks are not supported,
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
    /// `AlreadyExists` if the name is taken. The temporary file comes back with every error.
    pub fn rename_to(self, target: &Path) -> Result<(), (io::Error, Self)> {
        // Nothing is left under the old name then, so dropping `self` only forgets it.
        rename_new(self.path(), target).map_err(|error| (error, self))
    }
}

/// Writes to the file. An error for a full disk names the directory.
impl Write for &Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file().write(bytes);
        written.map_err(|error| no_room(parent(self.path()), error))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn no_room(directory: &Path, error: io::Error) -> io::Error {
    if !is_full(&error) {
        return error;
    }
    let message = format!("cannot write in '{}'", directory.display());
    io::Error::other(Kind::NoSpace.because(message).directory(directory).source(error))
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // In this order a signal in between finds the name still registered, and at worst no file.
        remove(self.path());
        signals::forget_temporary(self.path());
    }
}

/// Gives a new file mode 0600: the umask may have removed bits.
pub(super) fn make_private(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o600))
}

/// rename(2) that never replaces: RENAME_NOREPLACE if the file system has it, else link(2) and unlink(2).
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
        // The caller did not ask for a second name.
        let _ = std::fs::remove_file(to);
    })
}

/// Creates a file with O_EXCL, under a name that [`is_ours`].
fn create_signed(directory: &Path) -> io::Result<NamedTempFile> {
    let mut named = None;
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(PREFIX)
        .suffix("")
        .rand_bytes(RANDOM)
        .disable_cleanup(true);
    let made = builder.make_in(directory, |path| {
        let random = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let signed = directory.join(format!("{random}{}{SUFFIX}", signature(&random[PREFIX.len()..])));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&signed)?;
        named = Some(signed);
        Ok(file)
    })?;
    let mut path = TempPath::try_from_path(named.unwrap_or_default())?;
    path.disable_cleanup(true);
    Ok(NamedTempFile::from_parts(made.into_file(), path))
}

/// The part of a name that follows its random characters.
fn signature(random: &str) -> String {
    format!("{:08x}", libdeflater::crc32(random.as_bytes()))
}

/// True for a name that was made here, and not by a person.
fn is_ours(name: &str) -> bool {
    let middle = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    middle
        .and_then(|middle| middle.split_at_checked(RANDOM))
        .is_some_and(|(random, signed)| signed == signature(random))
}

/// The name beside `path` of the file by which processes that change `path` take turns.
pub(crate) fn lock_path(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(PREFIX);
    name.push(path.file_name().unwrap_or_default());
    name.push(LOCK_SUFFIX);
    parent(path).join(name)
}

/// Deletes what a killed run left in `directory`: the temporary files that are ours by their names and that no living
/// process has locked. Never the `library`, whatever its name.
///
/// It is a courtesy, never a reason to fail: a directory that can't be read can't hold files of ours.
pub fn sweep(directory: &Path, library: Option<&Path>) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    // By its path: a library that was linked into place may still have a temporary name of ours.
    let place = |path: &Path| Some(parent(path).canonicalize().ok()?.join(path.file_name()?));
    let kept = library.and_then(|library| place(&library.canonicalize().unwrap_or_else(|_| library.to_owned())));
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let lock = name.starts_with(PREFIX) && name.ends_with(LOCK_SUFFIX);
        if (lock || is_ours(name)) && (kept.is_none() || place(&entry.path()) != kept) {
            sweep_one(&entry.path(), lock);
        }
    }
}

/// Removes one that nobody has locked; with `is_empty`, only if it is empty.
fn sweep_one(path: &Path, is_empty: bool) {
    // O_NOFOLLOW and O_NONBLOCK: someone else may have planted a link or a FIFO under such a name.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits() as i32).open(path);
    let Ok(file) = file else { return };
    let fits = |meta: std::fs::Metadata| meta.is_file() && !(is_empty && meta.len() > 0);
    if file.metadata().is_ok_and(fits) && file.try_lock().is_ok() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_were_made_here_are_ours() {
        let directory = tempfile::tempdir().unwrap();
        let temporary = Temporary::create(directory.path()).unwrap();
        let name = temporary.path().file_name().unwrap().to_str().unwrap().to_owned();
        assert!(is_ours(&name), "{name}");
        let other = name.replace(SUFFIX, "0.tmp");
        for name in [
            &other,
            ".vpo-mine.tmp",
            ".vpo-abcdefghijkl.tmp",
            ".vpo-abcdefghijkl00000000.tmp",
            ".vpo-.tmp",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
