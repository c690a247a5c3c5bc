//! Which library a database was read from: a host and a path.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::files::parent;

/// The longest host or path that is recorded, in bytes.
pub const MAX_SOURCE: usize = 4096;

/// The library that a backup was made of. It distinguishes the backups of several libraries; nothing opens it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// Name of the machine.
    pub host: String,
    /// Absolute path there, symlinks resolved.
    pub path: String,
}

impl Source {
    /// What the backups of the library at `library` say, whether it exists or not; `None` if they can't say.
    pub fn of(library: &Path) -> Option<Self> {
        let path = path(library).or_else(|| {
            let directory = parent(library).canonicalize().ok()?;
            told(
                directory
                    .join(library.file_name()?)
                    .into_os_string()
                    .into_string()
                    .ok()?,
            )
        })?;
        Some(Source { host: host()?, path })
    }
}

impl FromStr for Source {
    type Err = String;

    /// Reads `HOST:PATH`, split at the first colon.
    ///
    /// # Errors
    /// A phrase that says what is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((host, path)) = text.split_once(':').filter(|(host, _)| !host.is_empty()) else {
            return Err(format!("'{text}': HOST:PATH is needed"));
        };
        if !path.starts_with('/') {
            return Err(format!("'{text}': the path is not absolute"));
        }
        if host.len() > MAX_SOURCE || path.len() > MAX_SOURCE {
            return Err(format!("the host or the path is longer than {MAX_SOURCE} bytes"));
        }
        Ok(Source {
            host: host.to_owned(),
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.path)
    }
}

/// The name of this machine, if it has one that can be recorded.
pub(super) fn host() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    told(name.to_owned()).filter(|name| !name.is_empty())
}

/// The absolute path of a library, symlinks resolved, if it can be recorded.
pub(super) fn path(library: &Path) -> Option<String> {
    told(library.canonicalize().ok()?.into_os_string().into_string().ok()?)
}

fn told(text: String) -> Option<String> {
    Some(text).filter(|text| text.len() <= MAX_SOURCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A library that is gone still has its backups.
    #[test]
    fn of_a_library() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("a")).unwrap();
        std::os::unix::fs::symlink(real.join("a"), real.join("b")).unwrap();
        let path = real.join("b/library.db");
        let missing = Source::of(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(Source::of(&path), Some(missing.clone()));
        assert_eq!(missing.path, real.join("a/library.db").to_str().unwrap());
        assert_eq!(Some(missing.host), host());
        assert_eq!(Source::of(&real.join("gone/library.db")), None);
    }

    #[test]
    fn host_and_path() {
        let source: Source = "nas:/srv/a:b.db".parse().unwrap();
        assert_eq!((source.host.as_str(), source.path.as_str()), ("nas", "/srv/a:b.db"));
        assert_eq!(source.to_string(), "nas:/srv/a:b.db");
        for (text, message) in [
            ("", "HOST:PATH"),
            ("nas", "HOST:PATH"),
            (":/x", "HOST:PATH"),
            ("nas:", "not absolute"),
            ("nas:x.db", "not absolute"),
            (&format!("{}:/x", "h".repeat(4097)), "longer"),
            (&format!("h:/{}", "x".repeat(4096)), "longer"),
        ] {
            assert!(text.parse::<Source>().unwrap_err().contains(message), "{text}");
        }
    }
}
