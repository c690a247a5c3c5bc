//! A new library file where there is none, with the old one moved aside if it is proven damaged. Nothing is deleted.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fsetxattr};
use rustix::io::Errno;

use super::after_commit::after_commit;
use super::exclusive_lock::require_no_holder;
use super::holder::in_use;
use super::restore_lock::RestoreLock;
use crate::database::{SIDE_FILES, pending_side_file, side_file};
use crate::failure::{Kind, kind};
use crate::files::{Identity, Temporary, give_to_owner, parent, rename_new, sync_directory};
use crate::time::Time;

/// With this many libraries replaced in one second, something is wrong.
const MAX_SAME_SECOND: u32 = 1000;

/// Puts `stage` where the library at `path` belongs. Every side file, and the file `damaged` itself, is moved aside
/// first, to `<name>.replaced-<time>` and `<name>.replaced-<time>-wal`: a log that stayed would be replayed into
/// the new file. Without `damaged` there must be no file: one that somebody just made is not touched.
///
/// Returns where the old library, or what was left of it, is now. After an error everything is where it was, except
/// that if somebody just made a library, the files moved aside stay there: a log moved back would be replayed into it.
pub fn install(
    stage: Temporary,
    path: &Path,
    damaged: Option<Identity>,
    time: Time,
    timeout: Duration,
) -> anyhow::Result<Option<PathBuf>> {
    let replacing = damaged.is_some();
    match replacing {
        true => take_attributes(stage.file(), path),
        false => {
            give_to_owner(stage.file(), parent(path));
            Ok(())
        }
    }
    .context("cannot give the new library the attributes of the old one")?;
    stage
        .file()
        .sync_all()
        .context("cannot flush the new library to disk")?;
    let message = format!("cannot put the new library in place at '{}'", path.display());
    let taken = || Kind::Locked.error(format!("{message}: another process just created one"));
    let _lock = RestoreLock::take(path, timeout).with_context(|| message.clone())?;
    // Again, because the flush may have taken a while.
    match replacing {
        true => {
            require_no_holder(path)?;
            // What another restore has put there meanwhile is not what was found damaged.
            if Identity::at(path) != damaged {
                return Err(Kind::Locked.error(format!("{message}: another process just restored it")));
            }
        }
        false if path.symlink_metadata().is_ok() => return Err(taken()),
        false => {}
    }
    let aside = Aside::make(path, replacing, time)?;
    // Whoever has got a lock meanwhile would make a log by the name of the new library.
    if let Some(name) = aside.name.as_deref().filter(|_| replacing)
        && let Err(error) = require_no_holder(name)
    {
        aside.undo();
        return Err(match kind(&error) {
            Kind::Locked => in_use(path).into(),
            _ => error.context(message),
        });
    }
    if let Err((error, _stage)) = stage.rename_to(path) {
        if error.kind() == io::ErrorKind::AlreadyExists {
            return Err(taken());
        }
        aside.undo();
        return Err(anyhow::Error::new(error).context(message));
    }
    sync_directory(parent(path))
        .context("its directory can't be flushed to disk")
        .map_err(after_commit)?;
    Ok(aside.name)
}

/// Moves aside a log or journal that lies beside an empty file at `path`: SQLite would delete it, or replay it later.
/// Returns its new name, without the suffix.
pub fn clear_side_files(path: &Path, time: Time, timeout: Duration) -> anyhow::Result<Option<PathBuf>> {
    // Beside any other file, a log or journal belongs to that file, and SQLite will read it.
    if path.metadata()?.len() > 0 || pending_side_file(path)?.is_none() {
        return Ok(None);
    }
    let _lock = RestoreLock::take(path, timeout)?;
    // Once more: it may be another restore's library by now.
    if path.metadata()?.len() > 0 {
        return Ok(None);
    }
    require_no_holder(path)?;
    Ok(Aside::make(path, false, time)?.name)
}

/// Gives the new file owner, group, mode, ACL and extended attributes of the one that it replaces, as far as this user
/// may.
fn take_attributes(file: &File, path: &Path) -> io::Result<()> {
    let old = match File::open(path) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let like = old.metadata()?;
    let new = file.metadata()?;
    let mut mode = like.permissions().mode() & 0o777;
    if rustix::process::geteuid().is_root() && (new.uid(), new.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid()))?;
    } else if new.gid() != like.gid() && fchown(file, None, Some(like.gid())).is_err() {
        // What one group was allowed is not meant for another.
        mode &= !0o070;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    copy_extended_attributes(&old, file)
}

/// On Linux ACLs are among them.
fn copy_extended_attributes(old: &File, new: &File) -> io::Result<()> {
    // The most that Linux allows for the names, and for a value (`limits.h`, XATTR_LIST_MAX, XATTR_SIZE_MAX).
    let mut names = vec![0; 65536];
    let length = match flistxattr(old, &mut names) {
        Err(Errno::NOTSUP) => return Ok(()),
        length => length?,
    };
    let mut value = vec![0; 65536];
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let copied =
            fgetxattr(old, name, &mut value).and_then(|n| fsetxattr(new, name, &value[..n], XattrFlags::empty()));
        let personal = name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_");
        match copied {
            // The system sets those of security modules.
            Err(error) if personal => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// What was moved aside.
struct Aside {
    /// The new name of the library, which those of its side files begin with; `None` if there was nothing to move.
    name: Option<PathBuf>,
    /// Old and new name of each file.
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Aside {
    /// Moves the side files of `path`, and with `replacing` the file itself: the side files first, so that no log is
    /// ever alone with a file that it does not belong to.
    fn make(path: &Path, replacing: bool, time: Time) -> anyhow::Result<Self> {
        let mut files = SIDE_FILES.map(|suffix| side_file(path, suffix)).to_vec();
        files.extend(replacing.then(|| path.to_owned()));
        files.retain(|file| file.symlink_metadata().is_ok());
        let mut aside = Aside {
            name: None,
            moved: Vec::new(),
        };
        if files.is_empty() {
            return Ok(aside);
        }
        let name = free_name(path, time)?;
        for from in files {
            let to = renamed(path, &from, &name);
            if let Err(error) = rename_new(&from, &to) {
                aside.undo();
                let message = format!("cannot move '{}' to '{}'", from.display(), to.display());
                return Err(match error.kind() {
                    io::ErrorKind::NotFound => Kind::Locked.error(format!("{message}: another process just moved it")),
                    _ => anyhow::Error::new(error).context(message),
                });
            }
            aside.moved.push((from, to));
        }
        aside.name = Some(name);
        if let Err(error) = sync_directory(parent(path)) {
            aside.undo();
            return Err(error).context("cannot flush the library's directory to disk");
        }
        Ok(aside)
    }

    /// Moves everything back, in reverse order. The error that led here is the one to report.
    fn undo(&self) {
        for (from, to) in self.moved.iter().rev() {
            let _ = rename_new(to, from);
        }
    }
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
