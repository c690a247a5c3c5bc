//! Whether an output is an input by another name.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fstat};

use super::parent;
use crate::database::{SIDE_FILES, side_file};
use crate::failure::Kind;

/// As many symbolic links as Linux follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// An ordinary file or a pipe, whatever its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// One that exists.
    File {
        /// The device that it is on.
        device: u64,
        /// Its inode there.
        inode: u64,
    },
    /// One that does not exist yet: its absolute path.
    Missing(PathBuf),
}

impl Identity {
    /// The file behind a descriptor; `None` for a terminal, a device or a socket, where nothing can be overwritten and what
    /// two write does not mix.
    pub fn of(file: impl AsFd) -> Option<Self> {
        let stat = fstat(file).ok()?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        (kind.is_file() || kind.is_fifo()).then_some(Identity::File {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
        })
    }

    /// The file that opening `path` would open or create; `None` as for [`Identity::of`], and for anything that can't
    /// be opened.
    pub fn at(path: &Path) -> Option<Self> {
        match path.metadata() {
            Ok(meta) => (meta.is_file() || meta.file_type().is_fifo()).then_some(Identity::File {
                device: meta.dev(),
                inode: meta.ino(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Identity::Missing(resolve(path))),
            Err(_) => None,
        }
    }
}

/// Where `path` leads, as an absolute path without symbolic links, even if nothing is there yet: a link may point to a
/// file that does not exist.
pub fn resolve(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        match path.read_link() {
            Ok(target) => path = parent(&path).join(target),
            Err(_) => break,
        }
    }
    match (parent(&path).canonicalize(), path.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        _ => std::path::absolute(&path).unwrap_or(path),
    }
}

/// The files that a run reads: no output may be one of them.
#[derive(Clone, Debug, Default)]
pub struct Inputs(Vec<(Identity, String)>);

impl Inputs {
    /// Adds a file, which need not exist yet.
    pub fn file(self, path: &Path) -> Self {
        self.add(Identity::at(path), format!("'{}'", path.display()))
    }

    /// Adds a database with its side files. They belong to the file that a symbolic link leads to.
    pub fn database(self, path: &Path) -> Self {
        let found = resolve(path);
        SIDE_FILES.iter().fold(self.file(path), |inputs, suffix| {
            inputs.file(&side_file(&found, suffix))
        })
    }

    /// Adds an open file, which messages call `name`.
    pub fn open(self, file: impl AsFd, name: &str) -> Self {
        self.add(Identity::of(file), name.into())
    }

    fn add(mut self, identity: Option<Identity>, name: String) -> Self {
        self.0.extend(identity.map(|identity| (identity, name)));
        self
    }

    /// Refuses an output that is one of these, before a byte of it is lost. Messages call it `name`.
    ///
    /// # Errors
    /// [`Kind::Usage`]
    pub fn refuse(&self, output: Option<Identity>, name: &str) -> anyhow::Result<()> {
        let same = |(input, _): &&(Identity, String)| Some(input) == output.as_ref();
        match self.0.iter().find(same) {
            Some((_, input)) => Err(Kind::Usage
                .because(format!("{name} and {input} are the same file"))
                .hint("name another file for what is written")
                .into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_by_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a"), "a").unwrap();
        std::fs::hard_link(at("a"), at("b")).unwrap();
        std::os::unix::fs::symlink("a", at("c")).unwrap();
        std::os::unix::fs::symlink("c", at("d")).unwrap();
        for name in ["b", "c", "d", "./d"] {
            assert_eq!(Identity::at(&at(name)), Identity::at(&at("a")), "{name}");
        }
        assert_eq!(
            Identity::of(std::fs::File::open(at("b")).unwrap()),
            Identity::at(&at("a"))
        );
        // Files that do not exist yet, too.
        std::os::unix::fs::symlink("a-wal", at("e")).unwrap();
        assert_eq!(Identity::at(&at("e")), Identity::at(&at("a-wal")));
        let inputs = Inputs::default().database(&at("d"));
        for name in ["a", "b", "a-wal", "e", "a-shm", "a-journal"] {
            assert!(inputs.refuse(Identity::at(&at(name)), "x").is_err(), "{name}");
        }
        for name in ["d-wal", "f"] {
            assert!(inputs.refuse(Identity::at(&at(name)), "x").is_ok(), "{name}");
        }
        assert_eq!(Identity::at(Path::new("/dev/null")), None);
        assert_eq!(Identity::at(dir.path()), None);
    }
}
