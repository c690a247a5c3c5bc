//! Where things are: options first, then the environment, then VPO's `config.toml`, then the defaults.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context;

use crate::failure::{Kind, full_directory, kind, with_hint};
use crate::files::Inputs;

/// Bytes that VPO's configuration may have; it has a few kilobytes.
const MAX_CONFIGURATION: u64 = 1024 * 1024;

/// The library: `option` (an operand or `--db`), `VPO_DATABASE_PATH`, `database_path` in `config.toml`,
/// `~/.vpo/library.db`.
///
/// # Errors
/// [`Kind::Usage`] if `config.toml` is needed and can't be parsed.
pub fn library(option: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(path) = option.or_else(|| path_variable("VPO_DATABASE_PATH")) {
        return Ok(path);
    }
    match configured_library()? {
        Some(path) => Ok(path),
        None => Ok(vpo_home()?.join("library.db")),
    }
}

/// The backup directory: `option`, `VPO_BACKUP_DIR`, `$VPO_DATA_DIR/backups`, `~/.vpo/backups`. The second value is
/// true if somebody named it; the last two are there only after the first backup.
pub fn backup_directory(option: Option<PathBuf>) -> anyhow::Result<(PathBuf, bool)> {
    if let Some(named) = option.or_else(|| path_variable("VPO_BACKUP_DIR")) {
        return Ok((named, true));
    }
    let data = path_variable("VPO_DATA_DIR").map_or_else(vpo_home, Ok)?;
    Ok((data.join("backups"), false))
}

/// Where temporary files go: `TMPDIR`, else the system's directory.
pub fn scratch_directory() -> PathBuf {
    path_variable("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// A sibling program: beside this one, else on PATH.
pub fn sibling(program: &str) -> PathBuf {
    let typed = || Some(PathBuf::from(std::env::args_os().next()?)).filter(|path| path.components().count() > 1);
    // Without /proc, only the command line can say where this one is.
    let this = std::env::current_exe().ok().or_else(typed);
    let beside = this.and_then(|this| Some(this.parent()?.join(program)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| program.into())
}

/// An error as it is, but where the directory for temporary files is missing or has no room it says which that is and
/// what to do.
pub fn with_scratch_named(error: anyhow::Error) -> anyhow::Error {
    let scratch = scratch_directory();
    let set = match variable("TMPDIR") {
        Some(_) => "TMPDIR is",
        None => "TMPDIR is not set, so it is",
    };
    let choose = |directory| format!("set TMPDIR to {directory}; {set} '{}'", scratch.display());
    let not_found = |cause: &(dyn std::error::Error + 'static)| {
        let error = cause.downcast_ref::<io::Error>();
        error.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    match kind(&error) {
        Kind::NoSpace if full_directory(&error) == Some(&scratch) => Kind::NoSpace
            .because("no space for temporary files")
            .hint(choose("a directory with more room"))
            .source(error)
            .into(),
        Kind::Failed if error.chain().any(not_found) && !scratch.exists() => {
            with_hint(error, choose("a directory that exists"))
        }
        _ => error,
    }
}

/// The path that an option was given; a leading `~/` is expanded, because a shell leaves that of `--option=~/x` alone.
pub fn path(value: OsString) -> PathBuf {
    expand(Path::new(&value))
}

/// VPO's configuration file, as an input.
pub fn configuration() -> Inputs {
    configuration_path().map_or_else(|_| Inputs::default(), |(path, _)| Inputs::default().file(&path))
}

/// Where VPO's configuration file is, and whether somebody named it.
fn configuration_path() -> anyhow::Result<(PathBuf, bool)> {
    match path_variable("VPO_CONFIG_PATH") {
        Some(path) => Ok((path, true)),
        None => Ok((vpo_home()?.join("config.toml"), false)),
    }
}

/// An environment variable; an empty one counts as unset.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// An environment variable that holds a path; `~` is expanded.
pub fn path_variable(name: &str) -> Option<PathBuf> {
    variable(name).map(|value| expand(Path::new(&value)))
}

/// `database_path` in VPO's `config.toml`. A missing file sets nothing, unless somebody named it.
fn configured_library() -> anyhow::Result<Option<PathBuf>> {
    // A FIFO can be read only once.
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found.clone());
    }
    let found = read_library()?;
    Ok(FOUND.get_or_init(|| found).clone())
}

fn read_library() -> anyhow::Result<Option<PathBuf>> {
    let (config, named) = configuration_path()?;
    let text = match read_configuration(&config) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Kind::Usage
                .because(format!("'{}' does not exist", config.display()))
                .hint("VPO_CONFIG_PATH names it")
                .into());
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(unparsable(&config, &error.to_string()));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read '{}'", config.display())),
    };
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error
            .span()
            .map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        unparsable(&config, &format!("line {line}: {}", error.message()))
    })?;
    match table.get("database_path") {
        None => Ok(None),
        Some(toml::Value::String(path)) if path.is_empty() => Ok(None),
        Some(toml::Value::String(path)) => Ok(Some(expand(Path::new(path)))),
        Some(_) => Err(unparsable(&config, "'database_path' is not a string")),
    }
}

/// Reads a configuration file, or a pipe in its place; of an endless device only the beginning.
fn read_configuration(config: &Path) -> io::Result<String> {
    let file = File::open(config)?;
    let mut text = String::new();
    let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    if file.metadata()?.is_dir() {
        return invalid("it is a directory");
    }
    match file.take(MAX_CONFIGURATION + 1).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => invalid("it is not UTF-8"),
        Ok(n) if n as u64 > MAX_CONFIGURATION => invalid("it is larger than 1 MiB"),
        read => read.map(|_| text),
    }
}

fn unparsable(config: &Path, why: &str) -> anyhow::Error {
    Kind::Usage
        .because(format!("cannot parse '{}': {why}", config.display()))
        .hint("correct it, or name the library by VPO_DATABASE_PATH")
        .into()
}

/// `~/.vpo`
fn vpo_home() -> anyhow::Result<PathBuf> {
    let named = home().filter(|home| !home.as_os_str().is_empty());
    let home = named.ok_or_else(|| {
        Kind::Usage
            .because("cannot tell where your home directory is")
            .hint("set HOME, or name the library with --db")
    })?;
    Ok(home.join(".vpo"))
}

/// `HOME`, else what the system's list of users says. A static program does not ask: glibc would load modules of the
/// system for that, and those have to be of the very glibc that the program was linked with (NSS in
/// <https://sourceware.org/glibc/wiki/FAQ>).
fn home() -> Option<PathBuf> {
    match cfg!(all(target_feature = "crt-static", target_env = "gnu")) {
        true => std::env::var_os("HOME").map(PathBuf::from),
        false => std::env::home_dir(),
    }
}

/// Expands a leading `~` or `~/`, as VPO does. `~user` is left alone.
fn expand(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    if bytes != b"~" && !bytes.starts_with(b"~/") {
        return path.to_owned();
    }
    match home() {
        Some(home) => home.join(path.strip_prefix("~").unwrap_or(path)),
        None => path.to_owned(),
    }
}
