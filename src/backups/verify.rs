//! Proof that an archive is whole: every check of the format, then the database inside.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rusqlite::Connection;

use super::listing::{list, open_regular};
use super::stage::Staged;
use crate::archive::{Contents, Metadata, Reader};
use crate::database::{Facts, Problem, Untrusted, problems, quick_check};
use crate::failure::{Kind, kind};

/// Opens an archive that a person named: a file, or a FIFO or device to read as a stream.
///
/// # Errors
/// [`Kind::NotFound`]; [`Kind::Usage`] for a directory; an I/O error.
pub fn open_archive(path: &Path) -> anyhow::Result<File> {
    let shown = path.display();
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound.error(format!("'{shown}' does not exist")),
        _ => anyhow::Error::new(error).context(format!("cannot open '{shown}'")),
    })?;
    let meta = file.metadata().with_context(|| format!("cannot look at '{shown}'"))?;
    if meta.is_dir() {
        return Err(Kind::Usage.error(format!("'{shown}' is a directory, not an archive")));
    }
    Ok(file)
}

/// How an archive is opened: what somebody named may be a FIFO, what lies in a directory may not.
pub type Open = fn(&Path) -> anyhow::Result<File>;

/// The archives that an operand names, a directory those in it, in the order of the listing.
///
/// # Errors
/// Those of [`list`]; [`Kind::NotFound`] for a directory without a backup.
pub fn named(operand: &Path) -> anyhow::Result<(Vec<PathBuf>, Open)> {
    if operand == "-" || !operand.is_dir() {
        return Ok((vec![operand.to_owned()], open_archive));
    }
    let backups = list(operand)?;
    if backups.is_empty() {
        return Err(Kind::NotFound.error("no backups in this directory: nothing was verified"));
    }
    Ok((backups.into_iter().map(|backup| backup.path).collect(), open_regular))
}

/// Checks everything except the database's content, which needs no space on disk.
///
/// # Errors
/// [`Kind::InvalidArchive`]; an I/O error of the input.
pub fn check_archive(input: Box<dyn Read>, threads: NonZero<usize>) -> anyhow::Result<Contents> {
    Reader::open(input, threads)?.unpack(&mut io::sink())
}

impl Staged {
    /// Checks the database's content: SQLite must find it sound, and it must be what the metadata says.
    ///
    /// # Errors
    /// [`Kind::InvalidArchive`]; or whatever kept SQLite from checking.
    pub fn check(&self) -> anyhow::Result<Facts> {
        // The last byte is written: quick_check of an empty stage says ok.
        let invalid = "the database inside is damaged or not a VPO library";
        let database = Untrusted::open(self.file.path())?;
        let checked = check_database(&database, &self.contents.metadata);
        checked
            .map_err(|error| database.explain(error))
            .map_err(|error| match kind(&error) {
                Kind::Database => Kind::InvalidArchive.because(invalid).source(error).into(),
                _ => error,
            })
    }

    /// Checks what [`Staged::check`], which must come first, leaves out: indexes against their tables, and references.
    /// Whatever it finds was already so in the library.
    ///
    /// # Errors
    /// If it could not be done.
    pub fn problems(&self) -> anyhow::Result<Vec<Problem>> {
        let database = Untrusted::open(self.file.path())?;
        problems(&database).map_err(|error| {
            let error = database.explain(error);
            Kind::Failed.because("the full check failed").source(error).into()
        })
    }
}

fn check_database(connection: &Connection, metadata: &Metadata) -> anyhow::Result<Facts> {
    let facts = Facts::read(connection)?;
    if metadata.database_sha256.is_some() {
        let differs = |what: &str, inside: u64, said: u64| {
            let message = format!("the database has {what} {inside} where the metadata says {said}");
            Err(Kind::InvalidArchive.error(message))
        };
        if facts.schema_version != metadata.schema_version {
            return differs("schema version", facts.schema_version, metadata.schema_version);
        }
        if facts.file_count != metadata.file_count {
            return differs("a number of files of", facts.file_count, metadata.file_count);
        }
    }
    quick_check(connection)?;
    Ok(facts)
}
