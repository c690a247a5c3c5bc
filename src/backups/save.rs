//! An archive that is kept only if it is valid.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::name::candidates;
use crate::archive::Contents;
use crate::failure::Kind;
use crate::files::{NewFile, Writeback, parent, sweep};

/// Where to keep an archive.
#[derive(Clone, Debug)]
pub enum Destination {
    /// In this directory, under its standard name, or the next that is free.
    Directory(PathBuf),
    /// Under this name, which must be free.
    File(PathBuf),
}

impl Destination {
    /// A directory that exists, or a name that ends in `.tar.gz` in one that does.
    ///
    /// # Errors
    /// [`Kind::Usage`] for another name; [`Kind::NotFound`] if there is no such directory; [`Kind::Failed`] if the
    /// name is taken.
    pub fn parse(path: &Path) -> anyhow::Result<Self> {
        if path.is_dir() {
            return Ok(Destination::Directory(path.to_owned()));
        }
        let shown = path.display();
        if !path.as_os_str().to_string_lossy().ends_with(".tar.gz") {
            return Err(Kind::Usage.error(format!(
                "'{shown}' is not a directory, and its name does not end in .tar.gz"
            )));
        }
        let above = parent(path);
        if !above.is_dir() {
            return Err(Kind::NotFound.error(format!("there is no directory '{}'", above.display())));
        }
        if path.symlink_metadata().is_ok() {
            return Err(Kind::Failed.error(format!("'{shown}' already exists")));
        }
        Ok(Destination::File(path.to_owned()))
    }

    /// The directory that the file will be in.
    pub fn directory(&self) -> &Path {
        match self {
            Destination::Directory(directory) => directory,
            Destination::File(path) => parent(path),
        }
    }
}

/// Keeps the archive from `input` if `check`, which must read it to its end, finds it valid. The file is private,
/// complete and flushed to disk, or does not exist at all.
///
/// Returns its path and what it holds.
pub fn save(
    input: impl Read + 'static,
    destination: &Destination,
    check: impl FnOnce(Box<dyn Read>) -> anyhow::Result<Contents>,
) -> anyhow::Result<(PathBuf, Contents)> {
    let directory = destination.directory();
    let shown = directory.display().to_string();
    sweep(directory, None);
    let file = NewFile::create(directory).with_context(|| format!("cannot create a file in '{shown}'"))?;
    let copy = file.file().try_clone().context("cannot write the archive")?;
    let contents = check(Box::new(Tee {
        input,
        copy: Writeback::new(copy),
        place: shown,
    }))?;
    let published = match destination {
        Destination::File(path) => file.publish([path.clone()]),
        Destination::Directory(directory) => {
            let time = contents.metadata.time().context("the archive has no time")?;
            file.publish(candidates(directory, time, contents.metadata.replaced))
        }
    };
    let path = published.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Kind::Failed.error("the archive's name is already taken"),
        _ => anyhow::Error::new(error).context("cannot keep the archive"),
    })?;
    Ok((path, contents))
}

/// Passes on what is read, and writes a copy of it.
struct Tee<R> {
    input: R,
    copy: Writeback,
    place: String,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.copy.write_all(&buffer[..n]).map_err(|error| {
            let kind = if crate::failure::is_full(&error) {
                Kind::NoSpace
            } else {
                Kind::Failed
            };
            let message = format!("cannot keep a copy in '{}'", self.place);
            io::Error::other(kind.because(message).source(error))
        })?;
        Ok(n)
    }
}
