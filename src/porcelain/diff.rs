//! `vpo-library diff`: `vpo-diff`, with the library and backups named as in the other commands.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::pipeline::{Ends, Program, run};
use super::{CommonOptions, meant, require_there};
use crate::cli::{self, CommandLine, Reported};

/// The options of `diff`.
#[derive(Clone, Debug, Default)]
pub struct DiffOptions {
    /// As for a restore; `latest` if not given.
    pub old: Option<PathBuf>,
    /// As for a restore; the library if not given.
    pub new: Option<PathBuf>,
    /// `--stat`
    pub stat: bool,
}

/// Says which files two backups, or a backup and the library, know differently. The status is 1 if there are any.
pub fn diff(common: &CommonOptions, options: &DiffOptions) -> anyhow::Result<u8> {
    cli::protect(&common.inputs(&[]))?;
    let line = || match options.stat {
        true => common.line().arg("diff").arg("--stat"),
        false => common.line().arg("diff"),
    };
    let old = options.old.as_deref().unwrap_or(Path::new("latest"));
    let again = |old: &Path| match &options.new {
        Some(new) => line().path(old).word(new.as_os_str()),
        None => line().path(old),
    };
    let there = |operand: &Path, again: &dyn Fn(&Path) -> CommandLine| {
        let path = meant(common, operand, again)?.path;
        require_there(common, operand, &path).map(|()| path)
    };
    let old = there(old, &again)?;
    let new = match &options.new {
        Some(new) => there(new, &|new| line().path(&old).path(new))?,
        None => common.library()?,
    };
    let mut args: Vec<OsString> = common.passed_on(true);
    if options.stat {
        args.push("--stat".into());
    }
    let ends = Ends {
        capture: !cli::is_terminal(std::io::stderr()),
        json_printed: common.json,
        ..Ends::default()
    };
    let program = Program::new("vpo-diff", args).operands([old, new]);
    match run(vec![program], ends, &common.line(), common.verbose).result {
        Ok(()) => Ok(0),
        // No failure: there are differences.
        Err(error)
            if error
                .downcast_ref::<Reported>()
                .is_some_and(|reported| reported.status == 1) =>
        {
            Ok(1)
        }
        Err(error) => Err(error),
    }
}
