//! The owner of files that root creates.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::Path;

/// If root has created `file` (or opened a directory that it created), gives it to the owner of the `directory` that it
/// is in: root with another user's HOME must not leave files that this user can't read.
///
/// If a file system has no owners, this can't be done, and need not be.
pub fn give_to_owner(file: &File, directory: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (Ok(new), Ok(like)) = (file.metadata(), directory.metadata()) else {
        return;
    };
    if (new.uid(), new.gid()) != (like.uid(), like.gid()) {
        let _ = fchown(file, Some(like.uid()), Some(like.gid()));
    }
}
