//! Everyday use: `backup`, `restore`, `backups`, `verify`, `diff` and `prune`, by running the sibling programs and
//! joining them by pipes.

mod backup;
mod choice;
mod diff;
mod elsewhere;
mod help;
mod log;
mod pipeline;
mod prune;
mod restore;
mod trace;
mod verify;

pub use backup::{BackupOptions, backup};
pub use diff::{DiffOptions, diff};
pub use help::{COMMANDS, Help, usage};
pub use log::Log;
pub use prune::{PruneOptions, prune};
pub use restore::{RestoreOptions, restore};
pub use verify::{VerifyOptions, backups, verify};

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::backups::{Backup, Selector};
use crate::cli::{self, CommandLine};
use crate::database::Source;
use crate::failure::{Kind, kind};
use crate::files::Inputs;
use crate::time::Time;

/// What all commands have in common.
#[derive(Clone, Debug, Default)]
pub struct CommonOptions {
    /// `--db`
    pub db: Option<PathBuf>,
    /// `--backup-dir`, or for `backups` also `--path`
    pub backup_directory: Option<PathBuf>,
    /// `--json`
    pub json: bool,
    /// `-q`
    pub quiet: bool,
    /// `-v`
    pub verbose: bool,
    /// `--timeout`
    pub timeout: Option<Duration>,
}

impl CommonOptions {
    fn library(&self) -> anyhow::Result<PathBuf> {
        cli::library(self.db.clone())
    }

    fn backup_directory(&self) -> anyhow::Result<PathBuf> {
        Ok(cli::backup_directory(self.backup_directory.clone())?.0)
    }

    /// What must not be written to: the configuration file, the operands, every backup in the backup directory, and the
    /// library, also where the command only asks which one it is.
    fn inputs(&self, operands: &[PathBuf]) -> Inputs {
        let directory = self.backup_directory().ok();
        let inputs = cli::archives(operands.iter().chain(directory.as_ref()));
        self.library()
            .iter()
            .fold(inputs, |inputs, library| inputs.database(library))
    }

    /// A bar is drawn if a person sees it and nothing else was asked for.
    fn progress(&self) -> bool {
        cli::is_terminal(std::io::stderr()) && !self.quiet && !self.json
    }

    /// The options that are passed on to a program unchanged.
    fn passed_on(&self, json: bool) -> Vec<OsString> {
        let mut args = Vec::new();
        for (wanted, option) in [
            (self.json && json, "--json"),
            (self.quiet, "--quiet"),
            (self.verbose, "--verbose"),
        ] {
            if wanted {
                args.push(option.into());
            }
        }
        args
    }

    /// How the person would type another command about the same library and backup directory.
    fn line(&self) -> CommandLine {
        let library = cli::named_library(self.db.as_deref());
        let directory = cli::named_backup_directory(self.backup_directory.as_deref());
        let line = CommandLine::this("vpo-library")
            .option("--db", library.as_deref())
            .option("--backup-dir", directory.as_deref());
        self.timeout_option().iter().fold(line, |line, word| line.word(word))
    }

    fn timeout_option(&self) -> Vec<OsString> {
        match self.timeout {
            Some(timeout) => vec!["--timeout".into(), timeout.as_secs_f64().to_string().into()],
            None => Vec::new(),
        }
    }
}

/// The backup that an operand means.
struct Meant {
    path: PathBuf,
    /// What would be meant without it, the newest that lists as whole: only if the backup was chosen by its age.
    older: Option<PathBuf>,
}

/// Finds the backup that `operand` means: `latest`, `replaced`, a path, a day, a time, or a name in `directory`.
/// `again` gives the command that the person would continue with, for another backup.
///
/// # Errors
/// [`Kind::NotFound`] if no backup is `latest`, `replaced` or of the day; [`Kind::Declined`] if only other libraries
/// have one and nobody can be asked.
fn meant(common: &CommonOptions, operand: &Path, again: &dyn Fn(&Path) -> CommandLine) -> anyhow::Result<Meant> {
    if operand == Path::new("-") {
        cli::require_input()?;
    }
    let directory = common.backup_directory()?;
    let exactly = |path: PathBuf| Ok(Meant { path, older: None });
    let selector = operand.to_str().and_then(Selector::parse);
    match selector {
        Some(Selector::Latest | Selector::Replaced) => {}
        _ if operand.symlink_metadata().is_ok() => return exactly(operand.to_owned()),
        Some(Selector::Day(_)) => {}
        Some(Selector::Name(name)) => return exactly(directory.join(name)),
        None => {
            let bare = operand.components().count() == 1 && operand != Path::new("-");
            let listed = if bare { listed(&directory, operand) } else { None };
            return exactly(listed.unwrap_or_else(|| operand.to_owned()));
        }
    }
    let backups = backups_in(&directory)?;
    match selector {
        Some(selector) => selected(common, &selector, &backups, operand, again),
        None => Err(none_of(common, operand, &directory, &backups)),
    }
}

/// Makes sure that there is a file at `path`, which `operand` means; or standard input.
///
/// # Errors
/// [`Kind::NotFound`].
fn require_there(common: &CommonOptions, operand: &Path, path: &Path) -> anyhow::Result<()> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound && path != Path::new("-") => {}
        // What else is wrong with it is said by whoever opens it.
        _ => return Ok(()),
    }
    let near = operand
        .to_str()
        .and_then(|word| cli::nearest(word, ["latest", "replaced"]));
    let hint = match near {
        Some(word) => format!("did you mean '{word}'?"),
        None => common.line().arg("backups").after("to see what is there"),
    };
    let message = format!("'{}' does not exist", path.display());
    Err(Kind::NotFound.because(message).hint(hint).into())
}

/// The backups in `directory`; none where there is no such directory.
fn backups_in(directory: &Path) -> anyhow::Result<Vec<Backup>> {
    match crate::backups::list(directory) {
        Err(error) if kind(&error) == Kind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}

/// The one of `backups`, a listing, that a selector means; `operand` is what was said.
fn selected(
    common: &CommonOptions,
    selector: &Selector,
    backups: &[Backup],
    operand: &Path,
    again: &dyn Fn(&Path) -> CommandLine,
) -> anyhow::Result<Meant> {
    let (library, now) = (common.library()?, Time::now());
    let directory = common.backup_directory()?;
    let here = Source::of(&library);
    let mut candidates = selector.candidates(backups, here.as_ref(), now);
    if candidates.is_empty() {
        let elsewhere = selector.elsewhere(backups, here.as_ref(), now);
        candidates = elsewhere::choose(elsewhere, &library, &directory, again)?;
    }
    let Some((first, others)) = candidates.split_first() else {
        return Err(none_of(common, operand, &directory, backups));
    };
    let older = others.iter().find(|backup| backup.summary.is_ok());
    Ok(Meant {
        path: first.path.clone(),
        older: older.map(|backup| backup.path.clone()),
    })
}

/// The file of `directory` that has this name, or the only one that a list calls so.
fn listed(directory: &Path, name: &Path) -> Option<PathBuf> {
    let exactly = directory.join(name);
    if exactly.is_file() {
        return Some(exactly);
    }
    let files = directory.read_dir().ok()?.flatten().map(|entry| entry.file_name());
    let mut called_so = files.filter(|file| {
        cli::listed_names(file)
            .iter()
            .any(|shown| name.as_os_str() == shown.as_str())
    });
    let file = called_so.next().filter(|_| called_so.next().is_none())?;
    Some(directory.join(file)).filter(|path| path.is_file())
}

/// `backups` are all that there are.
fn none_of(common: &CommonOptions, operand: &Path, directory: &Path, backups: &[Backup]) -> anyhow::Error {
    let shown = directory.display();
    let message = match operand.to_str() {
        Some("latest") if backups.is_empty() => format!("there are no backups in '{shown}'"),
        Some("latest") => format!("there are only safety backups, or ones dated in the future, in '{shown}'"),
        Some("replaced") => format!("there are no safety backups of this library in '{shown}'"),
        _ => format!("there is no backup of {} in '{shown}'", operand.display()),
    };
    let list = common.line().arg("backups");
    Kind::NotFound
        .because(message)
        .hint(list.after("name a file, or the directory with --backup-dir; to see what is there"))
        .into()
}
