//! `vpo-library verify` and `vpo-library backups`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::pipeline::{Ends, Stage, run};
use super::{Common, Log, named_backup};
use crate::cli::{self, Reported};
use crate::failure::Kind;

/// Verifies the named backups, or every backup of the backup directory.
pub fn verify(common: &Common, operands: &[PathBuf], log: &mut Log) -> anyhow::Result<u8> {
    log.protect(&common.inputs(None, operands))?;
    let directory = common.backup_directory()?;
    let mut args = common.passed_on(true);
    if common.progress() {
        args.push("--progress".into());
    }
    args.push("--".into());
    if operands.is_empty() {
        if !directory.is_dir() {
            let message = format!("there is no backup directory '{}'", directory.display());
            return Err(Kind::NotFound
                .because(message)
                .hint("'vpo-library backup' makes the first backup")
                .into());
        }
        log.backup(&directory);
        args.push(directory.into());
    } else {
        if let [operand] = operands {
            log.backup(&named_backup(operand, &directory));
        }
        let named: Vec<PathBuf> = operands.iter().map(|o| named_backup(o, &directory)).collect();
        if named.iter().any(|path| path == Path::new("-")) {
            cli::require_input()?;
        }
        args.extend(named.into_iter().map(OsString::from));
    }
    let capture = !cli::is_terminal(std::io::stderr());
    let ends = Ends {
        capture,
        documented: common.json,
        ..Ends::default()
    };
    let verified = run(vec![Stage::new("vpo-verify", args)], ends, common.verbose);
    // Its report says which and why; this is for the log.
    verified
        .map(|()| 0)
        .map_err(|error| match error.downcast::<Reported>() {
            Ok(reported) if reported.status == Kind::InvalidArchive.code() => Reported {
                message: "a backup is not whole".into(),
                ..reported
            }
            .into(),
            Ok(reported) => reported.into(),
            Err(error) => error,
        })
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
    // Where nobody named one, a missing directory is no error: the program finds the default by the same rule.
    if let Some(directory) = &common.backup_directory {
        args.extend(["--path".into(), directory.into()]);
    }
    let ends = Ends {
        documented: common.json,
        ..Ends::default()
    };
    run(vec![Stage::new("vpo-ls-backups", args)], ends, common.verbose)?;
    Ok(0)
}
