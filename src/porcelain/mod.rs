//! Everyday use: `backup`, `restore`, `backups`, `verify` and `diff`, by running the sibling programs and joining them by pipes.

mod backup;
mod diff;
mod help;
mod log;
mod pipeline;
mod restore;
mod verify;

pub use backup::{BackupOptions, backup};
pub use diff::{DiffOptions, diff};
pub use help::{COMMANDS, Help, usage};
pub use log::Log;
pub use restore::{RestoreOptions, restore};
pub use verify::{backups, verify};

use std::cmp::Reverse;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::backups::Backup;
use crate::cli;
use crate::files::Inputs;

/// What all commands have in common.
#[derive(Clone, Debug, Default)]
pub struct Common {
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

impl Common {
    fn library(&self) -> anyhow::Result<PathBuf> {
        cli::library(self.db.clone())
    }

    fn backup_directory(&self) -> anyhow::Result<PathBuf> {
        Ok(cli::backup_directory(self.backup_directory.clone())?.0)
    }

    /// What a command may read: the configuration file, the library, the operands, and every backup in the backup
    /// directory.
    fn inputs(&self, library: Option<&Path>, operands: &[PathBuf]) -> Inputs {
        let directory = self.backup_directory().ok();
        let inputs = cli::archives(operands.iter().chain(directory.as_ref()));
        library.into_iter().fold(inputs, Inputs::database)
    }

    /// A bar is drawn where a person sees it and nothing else was asked for.
    fn progress(&self) -> bool {
        cli::is_terminal(std::io::stderr()) && !self.quiet && !self.json
    }

    /// The options that a program takes over as they are.
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

    fn timeout_option(&self) -> Vec<OsString> {
        match self.timeout {
            Some(timeout) => vec!["--timeout".into(), timeout.as_secs_f64().to_string().into()],
            None => Vec::new(),
        }
    }
}

/// The file that an operand names: a path, or the name of a backup as the listing shows it.
fn named_backup(operand: &Path, directory: &Path) -> PathBuf {
    let bare = operand.components().count() == 1;
    let listed = directory.join(operand);
    if bare && !operand.exists() && listed.is_file() {
        listed
    } else {
        operand.to_owned()
    }
}

/// The backups that `latest` may mean, newest first: safety backups are not among them.
fn ordinary_backups(directory: &Path) -> anyhow::Result<Vec<Backup>> {
    let mut backups = crate::backups::list(directory)?;
    backups.retain(|backup| !backup.replaced);
    // The listing orders the backups of one second by name, which is not the order in which they were made.
    backups.sort_by_key(|backup| Reverse((backup.created_at, backup.number)));
    Ok(backups)
}
