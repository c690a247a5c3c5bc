//! The backups in a directory, from the first header and the tail of each.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context;

use super::name::BackupName;
use crate::archive::{Layout, Metadata, Reader, TailMetadata, read_tail};
use crate::database::Source;
use crate::failure::{Kind, describe, kind};
use crate::files::{FileStamp, uninterrupted};
use crate::time::Time;

/// A row of the listing.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Its name in the directory.
    pub file_name: OsString,
    /// The directory as it was given, with the name.
    pub path: PathBuf,
    /// The metadata's time; if that can't be read, that of the name, else the file's own.
    pub created_at: Time,
    /// Bytes of the archive.
    pub archive_size: u64,
    /// A safety backup, by its name or by its metadata.
    pub replaced: bool,
    /// Its place among the backups of one second, by its name.
    pub number: u32,
    /// Its name has exactly the programs' form: no person chose it.
    pub standard_name: bool,
    /// The library that it is of, if the archive says so.
    pub source: Option<Source>,
    /// The file that its name belongs to, as it was before the archive was read.
    pub stamp: FileStamp,
    /// What the archive says about itself, or why it can't.
    pub summary: Result<Summary, Flaw>,
}

impl Backup {
    /// A sound one, of no known library, for the tests of what is decided from a listing alone.
    #[cfg(test)]
    pub(super) fn invented(file_name: &str, created_at: Time) -> Self {
        const METADATA: &str = r#"{"vpo_version": "x", "schema_version": 27, "created_at": "2026-11-21T03:00:00Z",
            "database_size_bytes": 512, "file_count": 1, "total_library_size_bytes": 1, "compression": "gzip"}"#;
        Backup {
            file_name: file_name.into(),
            path: file_name.into(),
            created_at,
            archive_size: 1,
            replaced: false,
            number: 1,
            standard_name: true,
            source: None,
            stamp: FileStamp {
                regular: true,
                device: 1,
                inode: 1,
                size: 1,
                mtime_ns: 1,
            },
            summary: Ok(Summary {
                database_size: 512,
                metadata: Metadata::parse(METADATA.as_bytes(), Layout::Plain).unwrap(),
                layout: Layout::Plain,
            }),
        }
    }

    /// The key that decides which of two is newer. Those of the same second are ordered by number, then by name.
    pub(super) fn age_order(&self) -> (Time, u32, &OsStr) {
        (self.created_at, self.number, &self.file_name)
    }
}

/// Why an archive can't say anything about itself.
#[derive(Clone, Debug)]
pub struct Flaw {
    /// What is wrong.
    pub reason: String,
    /// The archive is not a complete backup; otherwise this is unknown, because it could not be looked at.
    pub proven: bool,
}

/// What an archive says about itself.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Bytes of the database in it; VPO's metadata may give fewer than there are.
    pub database_size: u64,
    /// The metadata.
    pub metadata: Metadata,
    /// An archive of blocks, not a plain one.
    pub layout: Layout,
}

/// Lists the backups of `directory`, newest first. Damaged ones are rows too.
///
/// # Errors
/// [`Kind::NotFound`] if there is no such directory; an I/O error of the directory itself.
pub fn list(directory: &Path) -> anyhow::Result<Vec<Backup>> {
    let shown = directory.display();
    let entries = uninterrupted(|| std::fs::read_dir(directory)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound.error(format!("there is no directory '{shown}'")),
        _ => anyhow::Error::new(error).context(format!("cannot read the directory '{shown}'")),
    })?;
    let mut backups = Vec::new();
    for entry in entries {
        let name = entry
            .with_context(|| format!("cannot read the directory '{shown}'"))?
            .file_name();
        // A name that is not UTF-8 is also a backup's, if it begins and ends like one.
        if let Some(parsed) = BackupName::parse(&name.to_string_lossy()) {
            let path = directory.join(&name);
            backups.extend(row(name, path, parsed));
        }
    }
    newest_first(&mut backups);
    Ok(backups)
}

/// Puts backups into the order of the listing.
pub(super) fn newest_first(backups: &mut [Backup]) {
    backups.sort_by(|a, b| b.age_order().cmp(&a.age_order()));
}

/// The row of one file; none if it is not a regular file, or has vanished meanwhile.
fn row(file_name: OsString, path: PathBuf, name: BackupName) -> Option<Backup> {
    // Asked by name first: a device may do something when opened. A FIFO put in its place does not block.
    let own = fs::symlink_metadata(&path).ok()?;
    let meta = std::fs::metadata(&path).ok().filter(|m| m.is_file())?;
    let mtime = meta
        .modified()
        .ok()
        .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
        .and_then(|d| Time::from_second(i64::try_from(d.as_secs()).ok()?));
    let read = open_regular(&path).and_then(|file| read_summary(file, meta.len()));
    let summary = read.map_err(|error| Flaw {
        reason: describe(&error),
        proven: kind(&error) == Kind::InvalidArchive,
    });
    let metadata = summary.as_ref().ok().map(|summary| &summary.metadata);
    let time = metadata.and_then(Metadata::time);
    let epoch = Time::from_second(0)?;
    Some(Backup {
        file_name,
        path,
        created_at: time.or(name.time).or(mtime).unwrap_or(epoch),
        archive_size: meta.len(),
        replaced: name.replaced || metadata.is_some_and(|metadata| metadata.replaced),
        number: name.number,
        standard_name: name.standard,
        source: metadata.and_then(Metadata::source),
        stamp: FileStamp::from(&own),
        summary,
    })
}

/// Opens an archive that must be a regular file; a FIFO in its place does not block.
pub fn open_regular(path: &Path) -> anyhow::Result<File> {
    let regular = |meta: std::fs::Metadata| match meta.is_file() {
        true => Ok(()),
        false => Err(Kind::Failed.error("it is not a regular file")),
    };
    // Asked by its name first: a FIFO's writer would take the opening and closing for the end of its reader.
    regular(std::fs::metadata(path).context("cannot open it")?)?;
    let file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .context("cannot open it")?;
    regular(file.metadata().context("cannot look at it")?)?;
    Ok(file)
}

fn read_summary(file: File, size: u64) -> anyhow::Result<Summary> {
    Ok(match read_tail(&file, size)? {
        TailMetadata::Blocks(metadata) => Summary {
            database_size: metadata.database_size_bytes,
            metadata: *metadata,
            layout: Layout::Blocks,
        },
        TailMetadata::Other => {
            let contents = Reader::open(Box::new(file), NonZero::<usize>::MIN)?.unpack(&mut io::sink())?;
            Summary {
                database_size: contents.database_size,
                metadata: contents.metadata,
                layout: Layout::Plain,
            }
        }
    })
}
