//! The facts of a snapshot, for the program that packs it.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::database::Facts;
use crate::files::{Identity, Inputs, give_to_owner, open_path_or_descriptor, parent, resolve};
use crate::signals;

/// How often a wait checks for a signal.
const TICK: Duration = Duration::from_millis(50);

/// Writes the facts to the file, FIFO or descriptor at `path`. A new file is private; what an ordinary file held is
/// replaced, unless it is one of `inputs`.
///
/// For a FIFO without a reader it waits until there is one, a signal comes, or nobody reads `out`, where the pages will
/// go: the process that was to read both is gone then.
///
/// # Errors
/// [`crate::failure::Kind::Usage`] for an input, which is not changed; an I/O error.
pub(super) fn write(path: &Path, facts: &Facts, inputs: &Inputs, out: &File) -> anyhow::Result<()> {
    let mut json = serde_json::to_vec(facts)?;
    json.push(b'\n');
    let failed = || format!("cannot write '{}'", path.display());
    let file = open(path, out).with_context(failed)?;
    // The name may belong to another file by now.
    inputs.refuse(Identity::of(&file), &format!("--stats '{}'", path.display()))?;
    if file.metadata().with_context(failed)?.is_file() {
        file.set_len(0).with_context(failed)?;
    }
    send(&file, &json, out).with_context(failed)?;
    crate::files::close(file).with_context(failed)
}

fn open(path: &Path, out: &File) -> io::Result<File> {
    loop {
        // A FIFO must not block: signals wait for the library's connections to be closed.
        let nonblock = OFlags::NONBLOCK.bits() as i32;
        let there = open_path_or_descriptor(File::options().write(true).custom_flags(nonblock), path);
        match there {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match create(&resolve(path)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            },
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) && is_fifo(path) => wait(out, None)?,
            opened => return opened,
        }
    }
}

/// Creates a file of mode 0600, whatever the umask.
fn create(path: &Path) -> io::Result<File> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    give_to_owner(&file, parent(path));
    Ok(file)
}

fn is_fifo(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.file_type().is_fifo())
}

fn send(mut file: &File, mut bytes: &[u8], out: &File) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(out, Some(file))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits a moment, or until `file` can take more.
///
/// # Errors
/// If a signal came, or the reader of `out` went away.
fn wait(out: &File, file: Option<&File>) -> io::Result<()> {
    signals::check()?;
    let mut fds = vec![PollFd::from_borrowed_fd(out.as_fd(), PollFlags::empty())];
    fds.extend(file.map(|file| PollFd::new(file, PollFlags::OUT)));
    let tick = Timespec::try_from(TICK).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&tick)) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    match fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
        true => Err(io::ErrorKind::BrokenPipe.into()),
        false => Ok(()),
    }
}
