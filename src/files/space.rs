//! Free space, checked before it is needed.

use std::io;
use std::path::Path;

use anyhow::Context;
use rustix::fs::{Access, access};

use super::parent;
use super::publish::can_create;
use crate::failure::Kind;

/// Bytes that are free for this user on the file system of `directory`.
pub fn free_space(directory: &Path) -> anyhow::Result<u64> {
    let stat = rustix::fs::statvfs(directory)
        .map_err(std::io::Error::from)
        .with_context(|| format!("cannot ask for the free space of '{}'", directory.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Fails unless the file system of `directory` has `bytes` free for this user.
///
/// # Errors
/// [`Kind::NoSpace`] with both figures and the place.
pub fn require_space(directory: &Path, bytes: u64) -> anyhow::Result<()> {
    let available = free_space(directory)?;
    if available >= bytes {
        return Ok(());
    }
    Err(Kind::NoSpace
        .because(format!(
            "not enough space in '{}': {} needed, {} free",
            directory.display(),
            crate::size::human(bytes),
            crate::size::human(available)
        ))
        .directory(directory)
        .hint(format!(
            "free {} there, or use another place",
            crate::size::human(bytes - available)
        ))
        .into())
}

/// Makes sure, without leaving anything, that a file of `bytes` can be created in `directory`, and that directory too
/// if it is missing.
///
/// # Errors
/// [`Kind::NoSpace`]; [`Kind::Failed`] if something that is not a directory is in the way, or a permission is missing.
pub fn require_place(directory: &Path, bytes: u64) -> anyhow::Result<()> {
    let there = existing(directory)?;
    let cannot = || format!("cannot create a file in '{}'", there.display());
    if can_create(there).with_context(cannot)?.is_some() {
        return require_space(there, bytes);
    }
    access(there, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(io::Error::from)
        .with_context(cannot)?;
    // A file system that can't hold files, such as /proc, reports no size at all.
    match rustix::fs::statvfs(there).is_ok_and(|stat| stat.f_blocks == 0) {
        true => Err(Kind::Failed.error(cannot())),
        false => require_space(there, bytes),
    }
}

/// The directory, or the nearest above it that exists.
fn existing(directory: &Path) -> anyhow::Result<&Path> {
    let shown = directory.display();
    match directory.metadata() {
        Ok(meta) if meta.is_dir() => Ok(directory),
        Ok(_) => Err(Kind::Failed.error(format!("'{shown}' is not a directory"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && parent(directory) != directory => {
            // A link that leads nowhere is in the way.
            match directory.symlink_metadata() {
                Ok(_) => Err(Kind::Failed.error(format!("'{shown}' is not a directory"))),
                Err(_) => existing(parent(directory)),
            }
        }
        Err(error) => Err(error).with_context(|| format!("cannot look at '{shown}'")),
    }
}
