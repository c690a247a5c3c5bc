//! `vpo-library restore`: `vpo-unpack-restore`, with a safety backup.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::choice::ask_which;
use super::pipeline::{Ends, Program, run};
use super::{CommonOptions, Log, Meant, meant, require_there};
use crate::archive::{TailMetadata, read_tail};
use crate::cli::{self, CommandLine, Reported};
use crate::failure::Kind;
use crate::files::Inputs;

/// What `restore` can be told.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// A path, a name, `latest` and the like, or `-`.
    pub backup: Option<PathBuf>,
    /// `--yes`
    pub yes: bool,
    /// `--dry-run`
    pub dry_run: bool,
    /// `--no-safety-backup`
    pub no_safety_backup: bool,
    /// `--current-schema`, as it was given
    pub current_schema: Option<OsString>,
}

/// Restores a backup, or in a dry run says what that would do.
pub fn restore(common: &CommonOptions, options: &RestoreOptions, log: &mut Log) -> anyhow::Result<u8> {
    let library = common.library();
    log.protect(&common.inputs(options.backup.as_slice()), &Inputs::default())?;
    let library = library?;
    log.library(&library);
    let Meant { path, older } = choose(common, options)?;
    log.backup(&path);
    if let Some(operand) = &options.backup {
        require_there(common, operand, &path)?;
    }
    note_archive(&path, log);
    let ends = Ends {
        // On a terminal it may have to ask.
        capture: !cli::is_terminal(io::stderr()),
        json_printed: common.json,
        ..Ends::default()
    };
    let program = program(common, options, &library)?.operands([path]);
    // Whether the library was replaced is written into the log, whatever signal comes.
    log.hold();
    let ended = run(vec![program], ends, &common.line(), common.verbose);
    if ended.restored {
        log.restored();
    }
    if let (Some(error), Some(older)) = (ended.result.as_ref().err(), older)
        && error.downcast_ref::<Reported>().map(|reported| reported.status) == Some(Kind::InvalidArchive.code())
    {
        let line = again(common, options).path(&older);
        cli::note(&format!("hint: {}", line.after("restore the next older backup")));
    }
    ended.result.map(|()| 0)
}

fn program(common: &CommonOptions, options: &RestoreOptions, library: &Path) -> anyhow::Result<Program> {
    let mut args = common.passed_on(true);
    args.extend(common.timeout_option());
    for (wanted, option) in [
        (options.yes, "--yes"),
        (options.dry_run, "--dry-run"),
        (common.progress(), "--progress"),
        (options.no_safety_backup, "--no-safety-backup"),
    ] {
        if wanted {
            args.push(option.into());
        }
    }
    if let Some(schema) = &options.current_schema {
        args.extend(["--current-schema".into(), schema.clone()]);
    }
    let program = Program::new("vpo-unpack-restore", args).path_option("--db", library);
    Ok(match options.no_safety_backup {
        true => program,
        false => program.path_option("--safety-dir", common.backup_directory()?),
    })
}

/// The same command once more, but for the backup and for consent.
fn again(common: &CommonOptions, options: &RestoreOptions) -> CommandLine {
    let mut line = common.line().arg("restore");
    for (wanted, option) in [
        (options.dry_run, "--dry-run"),
        (options.no_safety_backup, "--no-safety-backup"),
    ] {
        if wanted {
            line = line.arg(option);
        }
    }
    if let Some(schema) = &options.current_schema {
        line = line.arg("--current-schema").word(schema);
    }
    line
}

/// The backup that is meant.
fn choose(common: &CommonOptions, options: &RestoreOptions) -> anyhow::Result<Meant> {
    match &options.backup {
        Some(operand) => meant(common, operand, &|path| again(common, options).path(path)),
        None => ask_which(common, &|path| again(common, options).path(path)),
    }
}

/// What the archive says of itself goes into the log; whether it is true is not decided here.
fn note_archive(backup: &Path, log: &Log) {
    if let Ok(file) = crate::backups::open_regular(backup)
        && let Ok(size) = file.metadata().map(|meta| meta.len())
        && let Ok(TailMetadata::Blocks(metadata)) = read_tail(&file, size)
    {
        log.archive(size, &metadata);
    }
}
