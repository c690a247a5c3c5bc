//! Files and directories: what is in them, and that nothing changes it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[track_caller]
pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) {
    let path = path.as_ref();
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Makes a program of these bytes. Another process writes the file: a child that some other test starts just then inherits
/// what this process has open, until its own exec, and a file that anybody has open for writing can't be run ("Text file
/// busy").
#[track_caller]
pub fn write_executable(path: &Path, bytes: &[u8]) {
    let mut sh = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    sh.stdin.take().unwrap().write_all(bytes).unwrap();
    assert!(sh.wait().unwrap().success(), "{}", path.display());
}

pub fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// `path` with something behind its name, as a side file has.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Equal, without printing megabytes when not.
#[track_caller]
pub fn same(what: &str, left: &[u8], right: &[u8]) {
    if left != right {
        let at = left.iter().zip(right).position(|(a, b)| a != b);
        panic!(
            "{what}: {} and {} bytes differ, first at {at:?}",
            left.len(),
            right.len()
        );
    }
}

/// Equal content, without printing all of it when not.
#[track_caller]
pub fn same_content(what: &str, left: &str, right: &str) {
    if left != right {
        let (a, b) = left
            .lines()
            .zip(right.lines())
            .find(|(a, b)| a != b)
            .unwrap_or(("", ""));
        panic!(
            "{what}: {} and {} lines; {a:.300} | {b:.300}",
            left.lines().count(),
            right.lines().count()
        );
    }
}

/// One file, link or directory, as far as a program could change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub mode: u32,
    pub owner: (u32, u32),
    /// Directories have none: what is in them counts.
    pub modified: Option<(i64, i64)>,
    pub content: Vec<u8>,
}

/// Everything below `dir`.
pub fn tree(dir: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut all = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        let kind = meta.file_type();
        if kind.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let content = match () {
            () if kind.is_file() => read(&path),
            () if kind.is_symlink() => path.read_link().unwrap().into_os_string().into_encoded_bytes(),
            () => Vec::new(),
        };
        let entry = Entry {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            modified: (!kind.is_dir()).then(|| (meta.mtime(), meta.mtime_nsec())),
            content,
        };
        all.insert(path, entry);
    }
    all
}

/// Runs `work` and makes sure that it changed nothing below `dir`. What a `-shm` holds is not content: every reader
/// writes its marks into it.
#[track_caller]
pub fn unchanged<T>(dir: &Path, work: impl FnOnce() -> T) -> T {
    let look = || {
        let mut tree = tree(dir);
        for (path, entry) in &mut tree {
            if path.as_os_str().as_encoded_bytes().ends_with(b"-shm") {
                entry.modified = None;
                entry.content.clear();
            }
        }
        tree
    };
    let before = look();
    let result = work();
    let after = look();
    for (path, entry) in &before {
        match after.get(path) {
            None => panic!("{} is gone", path.display()),
            Some(now) if now != entry => panic!(
                "{} has changed: mode {:o} -> {:o}, mtime {:?} -> {:?}, length {} -> {}, same bytes: {}",
                path.display(),
                entry.mode,
                now.mode,
                entry.modified,
                now.modified,
                entry.content.len(),
                now.content.len(),
                entry.content == now.content
            ),
            Some(_) => {}
        }
    }
    let new: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    assert!(new.is_empty(), "these are new: {new:?}");
    result
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Everything below a directory, to be put back as often as it is needed.
pub struct Saved {
    files: BTreeMap<PathBuf, Entry>,
    root: PathBuf,
}

impl Saved {
    pub fn of(root: &Path) -> Self {
        Saved {
            files: tree(root),
            root: root.to_owned(),
        }
    }

    pub fn put_back(&self) {
        for entry in std::fs::read_dir(&self.root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
        for (path, entry) in &self.files {
            match entry.mode & 0o170000 {
                _ if *path == self.root => continue,
                0o040000 => std::fs::create_dir(path).unwrap(),
                0o120000 => {
                    use std::os::unix::ffi::OsStrExt;
                    let target = std::ffi::OsStr::from_bytes(&entry.content);
                    std::os::unix::fs::symlink(target, path).unwrap();
                    continue;
                }
                _ => write(path, &entry.content),
            }
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(entry.mode & 0o7777)).unwrap();
        }
    }
}
