//! An archive, unpacked beside where its database belongs: complete, and not yet live.

use std::io::Read;
use std::num::NonZero;
use std::path::Path;

use anyhow::Context;

use crate::archive::{Contents, Reader};
use crate::files::{Temporary, require_space};

/// An archive that passed every check except those of the database's content, and its database, unpacked.
pub struct Staged {
    /// The database; removed when dropped.
    pub file: Temporary,
    /// What the archive holds.
    pub contents: Contents,
}

/// Unpacks an archive into a private file in `directory` and checks everything outside the database.
///
/// The directory must have room for it, plus `beside` bytes.
///
/// # Errors
/// [`Kind::InvalidArchive`](crate::failure::Kind), `NoSpace`; an I/O error of the input or the stage.
pub fn stage(input: Box<dyn Read>, directory: &Path, beside: u64, threads: NonZero<usize>) -> anyhow::Result<Staged> {
    let reader = Reader::open(input, threads)?;
    require_space(directory, reader.database_size().saturating_add(beside))?;
    let file = Temporary::create(directory);
    let file = file.with_context(|| format!("cannot create a file in '{}'", directory.display()))?;
    let contents = reader.unpack(&mut &file)?;
    Ok(Staged { file, contents })
}
