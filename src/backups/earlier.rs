//! The earlier backup that a new one may take blocks from.

use std::path::{Path, PathBuf};

use super::name::BackupName;
use crate::archive::{Level, Reusable, Reuse};
use crate::database::Source;

/// Finds the newest ordinary archive of blocks of this level and version in `directory`, and opens it. One that is
/// known to be of a library other than `source` is taken only if there is no other: it has hardly a block in common.
///
/// Reads only the ends of the archives; those that can't be read are skipped.
pub fn reusable(
    directory: &Path,
    level: Level,
    vpo_version: &str,
    source: Option<&Source>,
) -> Option<(PathBuf, Reuse)> {
    let entries = std::fs::read_dir(directory).ok()?;
    let archives = entries.flatten().filter_map(|entry| {
        let name = BackupName::parse(&entry.file_name().to_string_lossy()).filter(|name| !name.replaced)?;
        let path = entry.path();
        let archive = Reuse::open(&path, Reusable::Same)?;
        let metadata = archive.metadata();
        if metadata.replaced || !archive.serves(level, vpo_version) {
            return None;
        }
        let other = metadata
            .source()
            .is_some_and(|its| source.is_some_and(|ours| its != *ours));
        let order = (!other, metadata.time(), name.number, entry.file_name());
        Some((order, path, archive))
    });
    let newest = archives.max_by(|(a, ..), (b, ..)| a.cmp(b));
    newest.map(|(_, path, archive)| (path, archive))
}
