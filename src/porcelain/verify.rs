//! `vpo-library verify` and `vpo-library backups`.

use std::ffi::OsString;
use std::path::PathBuf;

use super::pipeline::{Ends, Stage, run};
use super::{Common, Log, meant};
use crate::cli;
use crate::failure::Kind;

/// Verifies the named backups, or every backup of the backup directory.
pub fn verify(common: &Common, operands: &[PathBuf], log: &mut Log) -> anyhow::Result<u8> {
    log.protect(&common.inputs(None, operands))?;
    let mut options = common.passed_on(true);
    if common.progress() {
        options.push("--progress".into());
    }
    let paths = match operands {
        [] => vec![whole_directory(common)?],
        _ => operands
            .iter()
            .map(|operand| Ok(meant(common, operand)?.path))
            .collect::<anyhow::Result<Vec<_>>>()?,
    };
    if let [path] = &paths[..] {
        log.backup(path);
    }
    let stage = Stage::new("vpo-verify", options).operands(paths);
    let ends = Ends {
        capture: !cli::is_terminal(std::io::stderr()),
        documented: common.json,
        ..Ends::default()
    };
    let ended = run(vec![stage], ends, &common.line(), common.verbose);
    ended.result.map(|()| 0)
}

fn whole_directory(common: &Common) -> anyhow::Result<PathBuf> {
    let directory = common.backup_directory()?;
    if !directory.is_dir() {
        let message = format!("there is no backup directory '{}'", directory.display());
        let backup = common.line().arg("backup");
        let hint = backup.after("to make the first backup");
        return Err(Kind::NotFound.because(message).hint(hint).into());
    }
    Ok(directory)
}

/// Lists the backups of the backup directory.
pub fn backups(common: &Common, max_age: Option<OsString>) -> anyhow::Result<u8> {
    let mut args: Vec<OsString> = Vec::new();
    for (wanted, option) in [(common.json, "--json"), (common.quiet, "--quiet")] {
        if wanted {
            args.push(option.into());
        }
    }
    if let Some(age) = max_age {
        args.extend(["--max-age".into(), age]);
    }
    let mut stage = Stage::new("vpo-ls-backups", args);
    // Where nobody named one, a missing directory is no error: the program finds the default by the same rule.
    if let Some(directory) = &common.backup_directory {
        stage = stage.path_option("--path", directory);
    }
    let ends = Ends {
        documented: common.json,
        ..Ends::default()
    };
    run(vec![stage], ends, &common.line(), common.verbose)
        .result
        .map(|()| 0)
}
