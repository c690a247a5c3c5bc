//! `vpo-library verify` and `vpo-library backups`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::pipeline::{Ends, Program, run};
use super::{CommonOptions, Log, meant};
use crate::cli;
use crate::database::Source;
use crate::failure::{Kind, kind};
use crate::files::Inputs;
use crate::time::Time;

/// The options of `verify`.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Paths, or names of backups; none for all.
    pub backups: Vec<PathBuf>,
    /// `--newest`
    pub newest: Option<usize>,
    /// `--full`
    pub full: bool,
}

/// Verifies the named backups, the newest of the list, or every backup in the backup directory.
pub fn verify(common: &CommonOptions, options: &VerifyOptions, log: &mut Log) -> anyhow::Result<u8> {
    log.protect(&common.inputs(&options.backups), &Inputs::default())?;
    let mut args = common.passed_on(true);
    let mut line = common.line().arg("verify");
    if options.full {
        args.push("--full".into());
        line = line.arg("--full");
    }
    let again = |path: &Path| line.clone().path(path);
    if common.progress() {
        args.push("--progress".into());
    }
    let paths = match (&options.backups[..], options.newest) {
        ([], None) => vec![whole_directory(common)?],
        ([], Some(count)) => newest(common, count)?,
        (operands, _) => operands
            .iter()
            .map(|operand| Ok(meant(common, operand, &again)?.path))
            .collect::<anyhow::Result<Vec<_>>>()?,
    };
    match &paths[..] {
        [path] => log.backup(path),
        _ if options.newest.is_some() => log.backup(&common.backup_directory()?),
        _ => {}
    }
    let program = Program::new("vpo-verify", args).operands(paths);
    let ends = Ends {
        capture: !cli::is_terminal(std::io::stderr()),
        json_printed: common.json,
        ..Ends::default()
    };
    let ended = run(vec![program], ends, &common.line(), common.verbose);
    ended.result.map(|()| 0)
}

fn whole_directory(common: &CommonOptions) -> anyhow::Result<PathBuf> {
    let directory = common.backup_directory()?;
    if !directory.is_dir() {
        let message = format!("there is no backup directory '{}'", directory.display());
        let backup = common.line().arg("backup");
        let hint = backup.after("to make the first backup");
        return Err(Kind::NotFound.because(message).hint(hint).into());
    }
    Ok(directory)
}

/// The newest backups of the list.
fn newest(common: &CommonOptions, count: usize) -> anyhow::Result<Vec<PathBuf>> {
    let directory = whole_directory(common)?;
    let backups = crate::backups::list(&directory)?;
    if backups.is_empty() {
        let message = format!("no backups in '{}': nothing was verified", directory.display());
        return Err(Kind::NotFound.error(message));
    }
    Ok(backups.into_iter().take(count).map(|backup| backup.path).collect())
}

/// Lists the backups in the backup directory.
pub fn backups(common: &CommonOptions, max_age: Option<Duration>) -> anyhow::Result<u8> {
    cli::protect(&common.inputs(&[]))?;
    let mut args: Vec<OsString> = Vec::new();
    for (wanted, option) in [(common.json, "--json"), (common.quiet, "--quiet")] {
        if wanted {
            args.push(option.into());
        }
    }
    let mut program = Program::new("vpo-ls-backups", args);
    // If nobody named one, a missing directory is not an error: the program finds the default by the same rule.
    if let Some(directory) = &common.backup_directory {
        program = program.path_option("--path", directory);
    }
    let ends = Ends {
        json_printed: common.json,
        ..Ends::default()
    };
    run(vec![program], ends, &common.line(), common.verbose).result?;
    match max_age {
        Some(age) => require_recent(common, age),
        None => Ok(0),
    }
}

/// Fails unless a backup of this library, or of unknown source, is younger than `age`: those of others prove nothing.
fn require_recent(common: &CommonOptions, age: Duration) -> anyhow::Result<u8> {
    let mut backups = match crate::backups::list(&common.backup_directory()?) {
        Err(error) if kind(&error) == Kind::NotFound => Vec::new(),
        listed => listed?,
    };
    let here = Source::of(&common.library()?);
    backups.retain(|backup| backup.source.is_none() || backup.source == here);
    match crate::backups::require_recent(&backups, age, Time::now()) {
        Ok(()) => Ok(0),
        // The listing was the one document.
        Err(error) if common.json => {
            cli::note(&format!("vpo-library: {error}"));
            Ok(kind(&error).code())
        }
        Err(error) => Err(error),
    }
}
