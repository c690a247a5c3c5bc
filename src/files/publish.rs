//! A new file that gets its name only when it is complete, and never replaces another.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::{Errno, retry_on_intr};

use super::owner::give_to_owner;
use super::temporary::{Temporary, make_private};
use crate::signals;

/// A file of mode 0600 that is being written. Dropped without [`NewFile::publish`], it leaves nothing.
///
/// On Linux it has no name at all until then (O_TMPFILE), so even a SIGKILL leaves nothing; if the file system does
/// not support that, it is a [`Temporary`].
pub struct NewFile(Inner);

enum Inner {
    Nameless(File),
    Named(Temporary),
}

impl NewFile {
    /// Creates it on the file system of `directory`, where it will be published.
    pub fn create(directory: &Path) -> io::Result<Self> {
        let inner = match nameless(directory)? {
            Some(file) => Inner::Nameless(file),
            None => Inner::Named(Temporary::create(directory)?),
        };
        let new = NewFile(inner);
        make_private(new.file())?;
        give_to_owner(new.file(), directory);
        Ok(new)
    }

    /// The open file, for reading and writing.
    pub fn file(&self) -> &File {
        match &self.0 {
            Inner::Nameless(file) => file,
            Inner::Named(temporary) => temporary.file(),
        }
    }

    /// Flushes the file to disk and gives it the first of `names` that is free, then flushes the directory. After an
    /// error no new file has any of them.
    ///
    /// # Errors
    /// `AlreadyExists` if all names are taken, else the system's error.
    pub fn publish(self, names: impl IntoIterator<Item = PathBuf>) -> io::Result<PathBuf> {
        self.file().sync_all()?;
        let mut inner = self.0;
        for name in names {
            let linked = match inner {
                Inner::Nameless(file) => link(&file, &name).map_err(|e| (e, Inner::Nameless(file))),
                Inner::Named(temporary) => temporary
                    .rename_to(&name)
                    .map_err(|(e, temporary)| (e, Inner::Named(temporary))),
            };
            match linked {
                Ok(()) => {
                    // A name that may not survive a power cut does not count.
                    return match sync_directory(super::parent(&name)) {
                        Ok(()) => Ok(name),
                        Err(error) => {
                            let _ = std::fs::remove_file(&name);
                            Err(error)
                        }
                    };
                }
                Err((error, back)) if error.kind() == io::ErrorKind::AlreadyExists => inner = back,
                Err((error, _)) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Whether a file can be created in `directory`, tried without leaving anything; `None` if that can't be tried.
pub(super) fn can_create(directory: &Path) -> io::Result<Option<()>> {
    Ok(nameless(directory)?.map(drop))
}

/// A file without a name, or `None` if that is not supported.
#[cfg(target_os = "linux")]
fn nameless(directory: &Path) -> io::Result<Option<File>> {
    use rustix::fs::{Mode, OFlags};
    // Without /proc there is no unprivileged way to give it a name later.
    if !Path::new("/proc/self/fd").exists() {
        return Ok(None);
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match retry_on_intr(|| rustix::fs::open(directory, flags, Mode::from_raw_mode(0o600))) {
        Ok(fd) => Ok(Some(fd.into())),
        // open(2): the file system or an old kernel does not support O_TMPFILE.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn nameless(_directory: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

/// Names a nameless file; linkat(2) never replaces another.
fn link(file: &File, name: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, linkat};
    use std::os::fd::AsRawFd;
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    let linked = retry_on_intr(|| linkat(CWD, from.as_str(), CWD, name, AtFlags::SYMLINK_FOLLOW));
    Ok(linked?)
}

/// Flushes a directory, so that a name added there survives a power cut.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    flush_directory(&File::open(directory)?)
}

/// [`sync_directory`] for one that is open.
pub fn flush_directory(directory: &File) -> io::Result<()> {
    match directory.sync_all() {
        // Some network file systems can't, and have nothing to flush.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
        synced => synced,
    }
}

/// Directories that were created for a purpose that may still fail. When this is dropped, or a signal ends the process,
/// the empty ones are removed; [`NewDirectories::keep`] lets them stay.
#[must_use]
#[derive(Default)]
pub struct NewDirectories(Vec<PathBuf>);

impl NewDirectories {
    /// Lets them stay.
    pub fn keep(mut self) {
        for directory in self.0.drain(..) {
            signals::forget_temporary(&directory);
        }
    }
}

impl Drop for NewDirectories {
    fn drop(&mut self) {
        for directory in self.0.drain(..).rev() {
            remove_empty(&directory);
            signals::forget_temporary(&directory);
        }
    }
}

fn remove_empty(directory: &Path) {
    // It stays if somebody has put something there.
    let _ = std::fs::remove_dir(directory);
}

/// Creates a directory and its missing parents, each of mode 0700 and flushed to disk.
pub fn create_directory(directory: &Path) -> io::Result<NewDirectories> {
    let mut new = NewDirectories::default();
    create_missing(directory, &mut new)?;
    Ok(new)
}

fn create_missing(directory: &Path, new: &mut NewDirectories) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = super::parent(directory);
    if above != directory {
        create_missing(above, new)?;
    }
    let made = signals::register_temporary(remove_empty, || {
        DirBuilder::new().mode(0o700).create(directory)?;
        Ok((directory.to_owned(), ()))
    });
    match made {
        Ok(()) => {
            new.0.push(directory.to_owned());
            // The umask may have removed bits.
            std::fs::set_permissions(directory, Permissions::from_mode(0o700))?;
            give_to_owner(&File::open(directory)?, above);
            sync_directory(above)
        }
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}
