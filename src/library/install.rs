//! A new library file where none is, and the old one moved aside where it is of no use any more. Nothing is deleted.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::database::{SIDE_FILES, side_file};
use crate::failure::Kind;
use crate::files::{Temporary, parent, rename_new, sync_directory};
use crate::time::Time;

/// So many libraries replaced in one second, and something is wrong.
const MAX_SAME_SECOND: u32 = 1000;

/// Puts `stage` in the place of the library at `path`. Whatever lies there, and every side file, is moved aside first,
/// to `<name>.replaced-<time>` and `<name>.replaced-<time>-wal`: a log that stayed would be replayed into the new file.
///
/// Returns where the old library, or what was left of it, is now.
pub fn install(stage: Temporary, path: &Path, time: Time) -> anyhow::Result<Option<PathBuf>> {
    let directory = parent(path);
    dress(stage.file(), path).context("cannot set the owner of the new library")?;
    stage
        .file()
        .sync_all()
        .context("cannot flush the new library to disk")?;
    let aside = move_aside(path, time)?;
    stage.rename_to(path).map_err(|(error, _stage)| {
        let message = format!("cannot put the new library in place at '{}'", path.display());
        match &aside {
            Some(aside) => {
                anyhow::Error::new(error).context(format!("{message}; the old one is at '{}'", aside.display()))
            }
            None if error.kind() == io::ErrorKind::AlreadyExists => Kind::Locked
                .because(format!("{message}: somebody just made one"))
                .into(),
            None => anyhow::Error::new(error).context(message),
        }
    })?;
    sync_directory(directory).context("the library was restored, but its directory can't be flushed to disk")?;
    Ok(aside)
}

/// Gives the new file owner, group and mode of the one that it replaces. Without one it is private, and root gives it
/// to the owner of the directory.
fn dress(file: &File, path: &Path) -> io::Result<()> {
    let (like, mode) = match path.metadata() {
        Ok(old) => (old.clone(), old.permissions().mode() & 0o777),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (parent(path).metadata()?, 0o600),
        Err(error) => return Err(error),
    };
    let new = file.metadata()?;
    let root = rustix::process::geteuid().is_root();
    if root && (new.uid(), new.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// Moves the file at `path` and its side files aside: those first, so that no log is ever alone with a file that it
/// does not belong to. If one can't be moved, all go back.
fn move_aside(path: &Path, time: Time) -> anyhow::Result<Option<PathBuf>> {
    let sides = SIDE_FILES.map(|suffix| side_file(path, suffix));
    let present: Vec<&Path> = sides
        .iter()
        .map(PathBuf::as_path)
        .chain([path])
        .filter(|file| file.symlink_metadata().is_ok())
        .collect();
    if present.is_empty() {
        return Ok(None);
    }
    let aside = free_name(path, time)?;
    let mut moved: Vec<(&Path, PathBuf)> = Vec::new();
    for from in present {
        let to = renamed(path, from, &aside);
        if let Err(error) = rename_new(from, &to) {
            for (from, to) in moved.iter().rev() {
                // The first error is the one to tell; what could not go back is where the message says.
                let _ = rename_new(to, from);
            }
            return Err(error).with_context(|| format!("cannot move '{}' to '{}'", from.display(), to.display()));
        }
        moved.push((from, to));
    }
    sync_directory(parent(path)).context("cannot flush the library's directory to disk")?;
    Ok(Some(aside))
}

/// `<aside>-wal` for `<path>-wal`.
fn renamed(path: &Path, from: &Path, aside: &Path) -> PathBuf {
    SIDE_FILES
        .iter()
        .find(|suffix| side_file(path, suffix) == from)
        .map_or_else(|| aside.to_owned(), |suffix| side_file(aside, suffix))
}

/// A name `<path>.replaced-<time>[-N]` that neither a file nor a side file has.
fn free_name(path: &Path, time: Time) -> anyhow::Result<PathBuf> {
    for n in 1..=MAX_SAME_SECOND {
        let mut name = OsString::from(path);
        name.push(format!(".replaced-{}", time.compact()));
        if n > 1 {
            name.push(format!("-{n}"));
        }
        let name = PathBuf::from(name);
        let taken = |file: &Path| file.symlink_metadata().is_ok();
        if !taken(&name) && !SIDE_FILES.iter().any(|suffix| taken(&side_file(&name, suffix))) {
            return Ok(name);
        }
    }
    Err(Kind::Failed.error("no name is free to move the old library to"))
}
