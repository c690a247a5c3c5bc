//! Files that appear complete or not at all: private temporary files, publishing under a free name, free space.

mod descriptor;
mod identity;
mod owner;
mod publish;
mod space;
mod stamp;
mod temporary;
mod writeback;

pub use descriptor::{inherited, open_path_or_descriptor};
pub use identity::{Identity, Inputs, resolve};
pub use owner::give_to_owner;
pub use publish::{NewDirectories, NewFile, create_directory, flush_directory, sync_directory};
pub use space::{free_space, require_place, require_space};
pub use stamp::FileStamp;
pub(crate) use temporary::lock_path;
pub use temporary::{Temporary, rename_new, sweep};
pub use writeback::Writeback;

use std::io::{self, ErrorKind, Read};
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::Path;

/// The directory that a path lies in: `.` for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Repeats a call that a signal interrupts. Most of the standard library does that by itself.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Reads until `buffer` is full or the input ends, and says how much that was.
pub fn read_full(mut input: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match uninterrupted(|| input.read(&mut buffer[filled..]))? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// Closes a file that was written to. Network file systems and quotas may report only here that bytes were lost, at the
/// first close of any of its descriptors after they were written (close(2)); dropping a [`std::fs::File`] ignores that.
pub fn close(file: impl Into<OwnedFd>) -> io::Result<()> {
    let fd: OwnedFd = file.into();
    // SAFETY: the descriptor was owned, and is given up here: nobody else closes it or uses it afterwards.
    Ok(unsafe { rustix::io::try_close(fd.into_raw_fd()) }?)
}
