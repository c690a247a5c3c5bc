//! Free space, asked for before it is needed.

use std::path::Path;

use anyhow::Context;

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
        .hint(format!(
            "free {} there, or use another place",
            crate::size::human(bytes - available)
        ))
        .into())
}
