//! `vpo-library restore`: `vpo-unpack-restore`, with a safety backup.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::pipeline::{Ends, Stage, run};
use super::{Common, Log, named_backup, ordinary_backups};
use crate::archive::{Glimpse, glimpse};
use crate::cli::{self, Reported};
use crate::failure::{Kind, kind};
use crate::time::Time;

/// What `restore` can be told.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// A path, `latest`, or `-`.
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
pub fn restore(common: &Common, options: &RestoreOptions, log: &mut Log) -> anyhow::Result<u8> {
    let library = common.library();
    log.protect(&common.inputs(library.as_deref().ok(), options.backup.as_slice()))?;
    let library = library?;
    log.library(&library);
    let directory = common.backup_directory()?;
    let (backup, older) = choose(options.backup.as_deref(), &directory)?;
    log.backup(&backup);
    note_archive(&backup, log);

    let mut args = common.passed_on(true);
    args.extend(common.timeout_option());
    for (wanted, option) in [
        (options.yes, "--yes"),
        (options.dry_run, "--dry-run"),
        (common.progress(), "--progress"),
    ] {
        if wanted {
            args.push(option.into());
        }
    }
    if let Some(schema) = &options.current_schema {
        args.extend(["--current-schema".into(), schema.clone()]);
    }
    if !options.no_safety_backup {
        args.extend(["--safety-dir".into(), directory.into()]);
    }
    args.extend(["--db".into(), library.into(), "--".into(), backup.into()]);
    let ends = Ends {
        // On a terminal it may have to ask.
        capture: !cli::is_terminal(io::stderr()),
        documented: common.json,
        ..Ends::default()
    };
    let result = run(vec![Stage::new("vpo-unpack-restore", args)], ends, common.verbose);
    if let Err(error) = &result
        && let Some(reported) = error.downcast_ref::<Reported>()
        && reported.status == Kind::InvalidArchive.code()
        && let Some(older) = older
    {
        let older = cli::quoted(&older);
        cli::note(&format!(
            "hint: restore the next older backup: vpo-library restore {older}"
        ));
    }
    result.map(|()| 0)
}

/// The backup that is meant, and for `latest` the next older one.
pub(super) fn choose(operand: Option<&Path>, directory: &Path) -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
    match operand {
        Some(operand) if operand == Path::new("-") => cli::require_input().map(|()| ("-".into(), None)),
        Some(operand) if operand == Path::new("latest") => {
            let mut backups = match ordinary_backups(directory) {
                Err(error) if kind(&error) == Kind::NotFound => return Err(none_in(directory)),
                listed => listed?.into_iter(),
            };
            let latest = backups.next().ok_or_else(|| none_in(directory))?;
            Ok((latest.path, backups.next().map(|backup| backup.path)))
        }
        Some(operand) => Ok((named_backup(operand, directory), None)),
        None => ask_which(directory).map(|backup| (backup, None)),
    }
}

fn none_in(directory: &Path) -> anyhow::Error {
    Kind::NotFound
        .because(format!("there are no backups in '{}'", directory.display()))
        .hint("name one: vpo-library restore FILE, or the directory: --backup-dir DIR")
        .into()
}

/// Shows the list on the terminal and asks for a number.
fn ask_which(directory: &Path) -> anyhow::Result<PathBuf> {
    let usage = || {
        Kind::Usage
            .because("no backup is named")
            .hint("vpo-library restore FILE, or 'latest', or '-' for standard input")
    };
    if !cli::is_terminal(io::stderr()) {
        return Err(usage().into());
    }
    let backups = match crate::backups::list(directory) {
        Err(error) if kind(&error) != Kind::NotFound => return Err(error),
        listed => listed.unwrap_or_default(),
    };
    if backups.is_empty() {
        return Err(none_in(directory));
    }
    let width = cli::width(io::stderr()).unwrap_or(80);
    let mut question = cli::numbered(&backups, Time::now(), width).join("\n");
    question.push_str(&format!("\nRestore which one? [1-{}] ", backups.len()));
    let answer = cli::ask(&question)?.ok_or_else(usage)?;
    let chosen = answer
        .parse::<usize>()
        .ok()
        .and_then(|n| backups.get(n.checked_sub(1)?));
    match chosen {
        Some(backup) => Ok(backup.path.clone()),
        None => Err(Kind::Declined.error("no backup was chosen")),
    }
}

/// What the archive says of itself goes into the log; whether it is true is not decided here.
fn note_archive(backup: &Path, log: &mut Log) {
    if let Ok(file) = crate::backups::open_regular(backup)
        && let Ok(size) = file.metadata().map(|meta| meta.len())
        && let Ok(Glimpse::Blocks(metadata)) = glimpse(&file, size)
    {
        log.archive(size, &metadata);
    }
}
