//! Who holds a lock on a database.

use std::fmt;
use std::fs::File;
use std::path::Path;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use crate::failure::{Failure, Kind};

/// SQLite's lock bytes: pending, reserved and 510 shared ones
/// (<https://www.sqlite.org/src/file/src/os.h>, PENDING_BYTE to SHARED_FIRST + SHARED_SIZE).
const LOCK_BYTES: (u64, u64) = (0x4000_0000, 512);

/// A process that has a database open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; `None` if the lock belongs to a machine or container whose processes can't be seen.
    pid: Option<i32>,
    command: Option<String>,
}

impl Holder {
    /// Looks for a process other than this one that has any of SQLite's locks on the file at `path`.
    ///
    /// Opening and closing the file drops the locks that this process itself has on it: its own connections must be
    /// closed first.
    pub fn find(path: &Path) -> std::io::Result<Option<Self>> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .or_else(|_| File::open(path))?;
        let (start, length) = LOCK_BYTES;
        let lock = Flock {
            start,
            length,
            pid: None,
            typ: FlockType::WriteLock,
            offset_type: FlockOffsetType::Set,
        };
        let found = fcntl_getlk(&file, &lock)?;
        Ok(found.map(|lock| {
            // Locks of open file descriptions and of other machines have no process here: -1.
            let pid = lock.pid.map(|pid| pid.as_raw_nonzero().get()).filter(|pid| *pid > 0);
            Holder {
                pid,
                command: pid.and_then(command),
            }
        }))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, &self.command) {
            (Some(pid), Some(command)) => write!(f, "process {pid} ({command})"),
            (Some(pid), None) => write!(f, "process {pid}"),
            _ => write!(f, "a process that can't be seen from here"),
        }
    }
}

/// The error for a library that somebody else uses. It opens and closes the file: our own connections must be closed.
pub fn in_use(path: &Path) -> Failure {
    let who = match Holder::find(path) {
        Ok(Some(holder)) => format!("{holder} has it open"),
        _ => "another process has it open".into(),
    };
    Kind::Locked
        .because(format!("the library '{}' is in use: {who}", path.display()))
        .hint("stop the VPO daemon, or whatever uses the library, and try again")
}

#[cfg(target_os = "linux")]
fn command(pid: i32) -> Option<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = line
        .split(|b| *b == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    let mut command = words.join(" ");
    if let Some((end, _)) = command.char_indices().nth(80) {
        command.truncate(end);
        command.push('…');
    }
    (!command.is_empty()).then_some(command)
}

/// POSIX's ps(1), if there is no /proc.
#[cfg(not(target_os = "linux"))]
fn command(pid: i32) -> Option<String> {
    let output = std::process::Command::new("ps")
        .args(["-o", "comm=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!name.is_empty()).then_some(name)
}
