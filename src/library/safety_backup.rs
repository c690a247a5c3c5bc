//! The library that is about to be replaced, kept as a backup.

use std::path::{Path, PathBuf};

use crate::archive::{Options, Resources, Reusable, Reuse, Writer};
use crate::backups::{BackupName, candidates, estimate};
use crate::database::Facts;
use crate::failure::{Advice, kind};
use crate::files::{NewFile, create_directory, require_place, sweep};
use crate::signals;

use super::exclusive_lock::ExclusiveLock;
use super::read_connection::{ReadConnection, pages};

/// How many archives are searched for blocks to reuse: somebody is waiting.
const MAX_TRIES: usize = 4;

/// Packs the locked library, of which `facts` are known, into a safety backup in `directory`, and flushes it to disk.
/// `watch` is told with each page how many bytes it has.
///
/// # Errors
/// Of every kind; then no file is left, and no new directory.
pub fn write_safety_backup(
    lock: &ExclusiveLock,
    library: &Path,
    facts: &Facts,
    directory: &Path,
    archive: Options,
    resources: Resources,
    watch: impl Fn(usize),
) -> anyhow::Result<PathBuf> {
    sweep(directory, Some(library));
    let facts = facts.clone().of_library(library);
    write(lock, &facts, directory, archive, resources, watch).map_err(|error| failed(directory, error))
}

fn write(
    lock: &ExclusiveLock,
    facts: &Facts,
    directory: &Path,
    archive: Options,
    resources: Resources,
    watch: impl Fn(usize),
) -> anyhow::Result<PathBuf> {
    let time = archive.created_at;
    let new_directories = create_directory(directory)?;
    let file = NewFile::create(directory)?;
    let resources = Resources {
        reuse: resources.reuse.or_else(|| newest_archive(directory)),
        ..resources
    };
    let mut writer = Writer::new(file.file(), facts.database_size_bytes, archive, resources)?;
    pages(lock.connection(), |page| {
        signals::check()?;
        watch(page.len());
        writer.write(page)
    })?;
    writer.finish(facts)?;
    let path = file.publish(candidates(directory, time, true))?;
    new_directories.keep();
    Ok(path)
}

/// The newest archive of blocks in `directory` by its name, which most likely holds much of what the library holds.
fn newest_archive(directory: &Path) -> Option<Reuse> {
    let entries = std::fs::read_dir(directory).ok()?;
    let mut backups: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((BackupName::parse(entry.file_name().to_str()?)?.time?, entry.path())))
        .collect();
    backups.sort();
    let mut newest = backups.into_iter().rev().take(MAX_TRIES);
    newest.find_map(|(_, path)| Reuse::open(&path, Reusable::Any))
}

/// Makes sure, without leaving anything, that a safety backup of the library of `live` can be made in `directory`.
///
/// # Errors
/// Those of [`write_safety_backup`], as far as can be known in advance.
pub fn rehearse_safety_backup(
    live: &ReadConnection,
    facts: &Facts,
    directory: &Path,
    archive: &Options,
) -> anyhow::Result<()> {
    let rehearsed = || {
        let mut statement = live
            .connection()
            .prepare("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?;
        let size = estimate(facts, archive.level, |pages, sample| {
            for page in pages {
                // A page count has 32 bits.
                statement.query_row([(page + 1) as i64], |row| {
                    sample.extend_from_slice(row.get_ref(0)?.as_blob()?);
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        require_place(directory, size)
    };
    rehearsed().map_err(|error| failed(directory, error))
}

fn failed(directory: &Path, error: anyhow::Error) -> anyhow::Error {
    kind(&error)
        .because(format!("cannot make a safety backup in '{}'", directory.display()))
        .advise(Advice::KeepElsewhere)
        .source(error)
        .into()
}
