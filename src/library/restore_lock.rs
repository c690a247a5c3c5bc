//! Restores of one library take turns when they move files: each would mistake the other's files for its own.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::failure::Kind;
use crate::files::{Identity, give_to_owner, lock_path, parent};
use crate::signals;

/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// A lock that belongs to one library, whether or not its file exists: an empty file beside it, locked with flock(2),
/// that disappears with the lock. A killed run leaves it unlocked.
pub struct RestoreLock {
    path: PathBuf,
    _file: File,
}

impl RestoreLock {
    /// Waits for it up to `timeout`, or until a signal asks the process to end.
    ///
    /// # Errors
    /// [`Kind::Locked`] if another restore holds it for longer.
    pub fn take(library: &Path, timeout: Duration) -> anyhow::Result<Self> {
        let path = lock_path(library);
        let begun = Instant::now();
        let mut file = open(&path)?;
        loop {
            signals::check()?;
            // If locks are not supported, there is no turn to wait for.
            if flock(&file, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK) {
                if Identity::of(&file) == Identity::at(&path) {
                    return Ok(RestoreLock { path, _file: file });
                }
                // Its last holder has removed the file after it was opened here.
                file = open(&path)?;
                continue;
            }
            if begun.elapsed() >= timeout {
                return Err(Kind::Locked
                    .because(format!("another restore of '{}' is about to end", library.display()))
                    .hint("try again when it has ended; --timeout SECONDS waits longer")
                    .into());
            }
            thread::sleep(PAUSE);
        }
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(0o600);
    // Someone else may have planted a link or a FIFO there.
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
    let file = options.open(path);
    let file = file.with_context(|| format!("cannot open '{}'", path.display()))?;
    give_to_owner(&file, parent(path));
    Ok(file)
}

impl Drop for RestoreLock {
    fn drop(&mut self) {
        // While it is locked: a process that has opened it meanwhile checks again.
        let _ = std::fs::remove_file(&self.path);
    }
}
