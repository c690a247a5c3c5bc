//! `vpo-library prune`: `vpo-ls-backups` decides, `vpo-verify` looks at what will stay, then what has expired is
//! removed.

mod table;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use self::table::{lines, table};
use super::pipeline::{Ends, Program, output_of};
use super::{CommonOptions, Log};
use crate::backups::{BackupName, Removal, Rules, remove};
use crate::cli::{self, Reported};
use crate::failure::{Kind, describe};
use crate::files::{FileStamp, Inputs, flush_directory};
use crate::signals;
use crate::size::{grouped, human};
use crate::time::Time;

/// The options of `prune`.
#[derive(Clone, Debug, Default)]
pub struct PruneOptions {
    /// `--keep-…` and `--one-source`
    pub rules: Rules,
    /// `--dry-run`
    pub dry_run: bool,
    /// `--yes`
    pub yes: bool,
    /// `--no-verify`
    pub no_verify: bool,
}

/// A row of what `vpo-ls-backups --json` prints.
#[derive(Deserialize)]
struct Row {
    filename: String,
    path: String,
    created_at: String,
    archive_size_bytes: u64,
    file_count: Option<u64>,
    source_host: Option<String>,
    source_path: Option<String>,
    error: Option<String>,
    /// Why it stays: empty if it goes, null if no rule applies to it.
    keep: Option<Vec<String>>,
    device: u64,
    inode: u64,
    mtime_ns: i64,
}

impl Row {
    fn goes(&self) -> bool {
        self.keep.as_ref().is_some_and(Vec::is_empty)
    }

    /// The newest ordinary backup of its library.
    fn is_newest(&self) -> bool {
        self.keep
            .as_ref()
            .is_some_and(|keep| keep.iter().any(|why| why == "newest"))
    }

    fn source(&self) -> (Option<&str>, Option<&str>) {
        (self.source_host.as_deref(), self.source_path.as_deref())
    }

    fn document(&self) -> Value {
        json!({"filename": self.filename, "path": self.path, "keep": self.keep})
    }
}

/// Removes the backups that no rule keeps, or in a dry run says which.
pub fn prune(common: &CommonOptions, options: &PruneOptions, log: &mut Log) -> anyhow::Result<u8> {
    if options.rules.is_empty() {
        let example = "prune --dry-run --keep-daily 7 --keep-weekly 5 --keep-monthly 12";
        return Err(Kind::Usage
            .because("prune needs a rule that says what to keep")
            .hint(common.line().arg(example).after("for example"))
            .into());
    }
    log.protect(&common.inputs(&[]), &Inputs::default())?;
    let directory = common.backup_directory()?;
    log.backup(&directory);
    let rows = list(common, options)?;
    let (go, stay): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.goes());
    let bytes = go.iter().map(|row| row.archive_size_bytes).sum();
    if !common.json && !common.quiet {
        cli::print(&table(&directory, &rows, go.len(), bytes))?;
    }
    if options.dry_run {
        return would_remove(common, &go, &stay, bytes);
    }
    if go.is_empty() {
        return report(common, &Outcome::default(), &stay, log);
    }
    let mut doubt = None;
    if !options.no_verify {
        verify(common, &directory, &rows)?;
        doubt = emptied(&rows, options.rules.one_source);
    }
    confirm(common, options, &go, bytes, doubt)?;

    // Whatever is removed is reported, even if a signal ends the work.
    log.hold();
    let mut outcome = Outcome::default();
    let opened = File::open(&directory);
    let opened = opened.with_context(|| format!("cannot open the directory '{}'", directory.display()))?;
    // Oldest first: whatever stops this, the newest remain.
    for row in go.into_iter().rev() {
        match signals::pending() {
            None => outcome.remove(&opened, row),
            Some(_) => outcome.stayed.push(row),
        }
    }
    if let Err(error) = flush_directory(&opened) {
        let error = anyhow::Error::new(error).context(format!("cannot flush the directory '{}'", directory.display()));
        outcome.fail(&directory.to_string_lossy(), &error);
    }
    let status = report(common, &outcome, &stay, log)?;
    signals::check()?;
    Ok(status)
}

/// What `vpo-ls-backups` says of each backup, the newest first.
fn list(common: &CommonOptions, options: &PruneOptions) -> anyhow::Result<Vec<Row>> {
    #[derive(Deserialize)]
    struct Listing {
        backups: Vec<Row>,
    }
    let mut args: Vec<OsString> = vec!["--json".into()];
    args.extend(common.passed_on(false));
    args.extend(cli::keep_options(&options.rules));
    let mut program = Program::new("vpo-ls-backups", args);
    // If nobody named one, a missing directory is not an error: the program finds the default by the same rule.
    if let Some(directory) = &common.backup_directory {
        program = program.path_option("--path", directory);
    }
    let ends = Ends {
        capture: true,
        ..Ends::default()
    };
    let (document, listed) = output_of(program, ends, &common.line(), common.verbose)?;
    listed?;
    let listing: Listing = serde_json::from_slice(&document).context("cannot read what vpo-ls-backups prints")?;
    Ok(listing.backups)
}

/// Makes sure that what will stay is whole: the newest ordinary backup of each library.
///
/// # Errors
/// With the status of `vpo-verify`, unless all are.
fn verify(common: &CommonOptions, directory: &Path, rows: &[Row]) -> anyhow::Result<()> {
    let newest = rows.iter().filter(|row| row.is_newest()).chain(newest_unreadable(rows));
    let paths: Vec<PathBuf> = newest.map(|row| directory.join(&row.filename)).collect();
    let status = |error: &anyhow::Error| error.downcast_ref::<Reported>().map(|reported| reported.status);
    let mut verified = verify_with(common, &paths, true);
    // A full disk is exactly when people prune.
    if verified.as_ref().err().and_then(status) == Some(Kind::NoSpace.code()) {
        verified = verify_with(common, &paths, false);
        if verified.is_ok() {
            cli::note(
                "vpo-library: warning: there is no space to check the databases inside: \
                 the newest backups were verified byte by byte, and by their digests",
            );
        }
    }
    verified.map_err(|error| match error.downcast::<Reported>() {
        Ok(Reported { status, message, .. }) => Kind::of_code(status)
            .because(format!("nothing was removed: the newest backup is not ok: {message}"))
            .hint(
                common
                    .line()
                    .arg("backup")
                    .after("to make a new backup, after which old ones can go"),
            )
            .into(),
        Err(error) => error,
    })
}

/// Runs `vpo-verify`, and leaves it to the caller to say how that ended.
fn verify_with(common: &CommonOptions, paths: &[PathBuf], database_check: bool) -> anyhow::Result<()> {
    // Its report is not ours; what is wrong comes with its error.
    let mut args: Vec<OsString> = vec!["--json".into()];
    args.extend(common.passed_on(false));
    if common.progress() {
        args.push("--progress".into());
    }
    if !database_check {
        args.push("--no-database-check".into());
    }
    let program = Program::new("vpo-verify", args).operands(paths.iter().cloned());
    let ends = Ends {
        capture: !common.progress(),
        untold: true,
        ..Ends::default()
    };
    output_of(program, ends, &common.line(), common.verbose)?.1
}

/// A backup newer than all that are counted that can't be read: it may be the newest of any library. One dated ahead
/// would be in the way for ever.
fn newest_unreadable(rows: &[Row]) -> Option<&Row> {
    let now = Time::now().to_string();
    rows.iter().take_while(|row| !row.is_newest()).find(|row| {
        let name = BackupName::parse(&row.filename);
        row.error.is_some() && row.created_at <= now && name.is_some_and(|name| name.standard && !name.replaced)
    })
}

/// Says so if the newest backup of a library has fewer than half the files of one that would go: it may have been
/// emptied, and must not push out its good backups unseen.
fn emptied(rows: &[Row], one_source: bool) -> Option<String> {
    rows.iter().filter(|row| row.is_newest()).find_map(|newest| {
        let files = newest.file_count?;
        let more = rows.iter().find(|row| {
            let same = one_source || row.source() == newest.source();
            same && row.goes() && row.file_count.is_some_and(|count| files < count.div_ceil(2))
        })?;
        Some(format!(
            "the newest backup, '{}', has {} files, and '{}', which would go, has {}",
            newest.filename,
            grouped(files),
            more.filename,
            grouped(more.file_count.unwrap_or(0))
        ))
    })
}

/// Asks whether the backups are to be removed.
///
/// # Errors
/// [`Kind::Declined`] if the answer is no, or nobody can be asked; with `--yes` if there is a doubt.
fn confirm(
    common: &CommonOptions,
    options: &PruneOptions,
    go: &[&Row],
    bytes: u64,
    doubt: Option<String>,
) -> anyhow::Result<()> {
    if options.yes {
        let Some(doubt) = doubt else { return Ok(()) };
        return Err(Kind::Declined
            .because(format!("nothing was removed: {doubt}"))
            .hint("if that is right, --no-verify leaves this check out")
            .into());
    }
    let mut question = String::new();
    // Whoever answers must see what goes.
    if common.json || common.quiet || !cli::is_terminal(io::stdout()) {
        question.push_str(&lines(go.iter().copied(), true));
    }
    if let Some(doubt) = doubt {
        question.push_str(&format!("Look at this first: {}\n", cli::escape(&doubt)));
    }
    let what = match go.len() {
        1 => "this backup".into(),
        n => format!("these {} backups", grouped(n as u64)),
    };
    question.push_str(&format!("Remove {what}, {}? [y/N] ", human(bytes)));
    match cli::ask(&question)? {
        Some(answer) if ["y", "yes"].contains(&answer.to_lowercase().as_str()) => Ok(()),
        Some(_) => Err(Kind::Declined.error("nothing was removed: the answer was not yes")),
        None => Err(Kind::Declined
            .because("nothing was removed: there is no terminal to ask on")
            .hint("--yes removes them without a question")
            .into()),
    }
}

/// What became of the backups that were to go.
#[derive(Default)]
struct Outcome<'a> {
    removed: Vec<&'a Row>,
    /// They were to go, but stay: they have changed, or a signal came first.
    stayed: Vec<&'a Row>,
    failed: Vec<Value>,
    freed: u64,
}

impl<'a> Outcome<'a> {
    fn remove(&mut self, directory: &File, row: &'a Row) {
        let stamp = FileStamp {
            regular: true,
            device: row.device,
            inode: row.inode,
            size: row.archive_size_bytes,
            mtime_ns: row.mtime_ns,
        };
        match remove(directory, OsStr::new(&row.filename), &stamp) {
            Ok(Removal::Removed) => {
                self.removed.push(row);
                self.freed += row.archive_size_bytes;
            }
            Ok(Removal::Gone) => {}
            Ok(Removal::Changed) => {
                cli::note(&format!(
                    "vpo-library: warning: '{}' has changed meanwhile and stays",
                    row.path
                ));
                self.stayed.push(row);
            }
            Err(error) => {
                let error = anyhow::Error::new(error).context(format!("cannot remove '{}'", row.path));
                self.fail(&row.filename, &error);
            }
        }
    }

    fn fail(&mut self, name: &str, error: &anyhow::Error) {
        let error = describe(error);
        cli::note(&format!("vpo-library: {error}"));
        self.failed.push(json!({"filename": name, "error": error}));
    }
}

fn would_remove(common: &CommonOptions, go: &[&Row], stay: &[&Row], bytes: u64) -> anyhow::Result<u8> {
    if common.json {
        cli::print_json(&json!({
            "dry_run": true,
            "would_remove": go.iter().map(|row| row.document()).collect::<Vec<_>>(),
            "kept": stay.iter().map(|row| row.document()).collect::<Vec<_>>(),
            "would_free_bytes": bytes,
        }))?;
    }
    Ok(0)
}

fn report(common: &CommonOptions, outcome: &Outcome, stay: &[&Row], log: &mut Log) -> anyhow::Result<u8> {
    let kept: Vec<&Row> = stay.iter().chain(&outcome.stayed).copied().collect();
    let names = outcome.removed.iter().map(|row| row.filename.clone()).collect();
    log.pruned(names, kept.len(), outcome.freed);
    if common.json {
        cli::print_json(&json!({
            "success": outcome.failed.is_empty(),
            "removed": outcome.removed.iter().map(|row| row.document()).collect::<Vec<_>>(),
            "kept": kept.iter().map(|row| row.document()).collect::<Vec<_>>(),
            "failed": outcome.failed,
            "freed_bytes": outcome.freed,
        }))?;
    } else if !common.quiet && !outcome.removed.is_empty() {
        cli::print(&format!(
            "Removed {}, kept {}: {} freed\n",
            grouped(outcome.removed.len() as u64),
            grouped(kept.len() as u64),
            human(outcome.freed)
        ))?;
    }
    match outcome.failed.first() {
        None => Ok(0),
        Some(first) => Err(Reported {
            status: Kind::Failed.code(),
            message: first["error"].as_str().unwrap_or_default().to_owned(),
            hint: None,
            json_printed: true,
        }
        .into()),
    }
}
