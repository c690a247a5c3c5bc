//! What `vpo-unpack-restore` says: the question before, the report after.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::caller::tell_restored;
use super::command::{CommandLine, advise};
use super::progress::Progress;
use super::report::{note, print, print_json};
use super::streams::ask;
use super::text::{escape, escape_path, seconds};
use crate::database::{Facts, Source};
use crate::failure::{Kind, describe, kind};
use crate::library::{Counts, Outcome, Plan, Step, Target, is_after_commit};
use crate::signals;
use crate::size::{grouped, human};
use crate::time::Time;

/// Warns where VPO will have something to do after the restore, or where the library is not one any more.
pub fn warn(plan: &Plan) {
    if plan.schema_mismatch() {
        note(&format!(
            "vpo-unpack-restore: warning: the backup has schema {}, older than {}: VPO will migrate it",
            plan.backup.schema_version, plan.current_schema
        ));
    }
    if let Target::Damaged(reason) = &plan.target {
        note(&format!(
            "vpo-unpack-restore: warning: the library is damaged ({reason}); it will be moved aside"
        ));
    }
}

/// Asks whether the library is to be replaced by the backup in `archive`, and says what becomes of it. Where there is
/// none, there is nothing to ask.
///
/// # Errors
/// [`Kind::Declined`] if the answer is no, or nobody can be asked.
pub fn confirm(plan: &Plan, archive: &Path, safety_directory: Option<&Path>) -> anyhow::Result<()> {
    let Some(now) = now(plan) else {
        return Ok(());
    };
    let mut lines = vec![
        format!("Library: {}", escape_path(&plan.library)),
        format!("Backup:  {}", name(archive)),
    ];
    let mut part = |label: &str, texts: Vec<String>| {
        for (i, text) in texts.iter().enumerate() {
            lines.push(format!("  {:7} {text}", if i == 0 { label } else { "" }));
        }
    };
    part("now:", now);
    part("backup:", backup(plan));
    part("change:", change(plan).into_iter().collect());
    lines.push(format!("  {}", fate(&plan.target, safety_directory)));
    match ask(&format!("{}\nReplace it? [y/N] ", lines.join("\n")))? {
        Some(answer) if ["y", "yes"].contains(&answer.to_lowercase().as_str()) => Ok(()),
        Some(_) => Err(Kind::Declined.error("the library was not replaced: the answer was not yes")),
        None => Err(Kind::Declined
            .because("the library was not replaced: there is no terminal to ask on")
            .hint("--yes replaces it without a question")
            .into()),
    }
}

/// The file name of an archive.
fn name(archive: &Path) -> String {
    match archive.file_name() {
        Some(name) if name != "-" => escape(&name.to_string_lossy()).into_owned(),
        _ => "standard input".into(),
    }
}

/// What is there now; `None` where there is nothing to lose. What is somebody else's was refused before.
fn now(plan: &Plan) -> Option<Vec<String>> {
    let is = match &plan.target {
        Target::Library(facts) => counts(facts),
        Target::Damaged(reason) => format!("damaged: {}", escape(reason)),
        Target::Missing | Target::Empty | Target::Foreign(_) | Target::Unknown(_) => return None,
    };
    let modified = plan
        .modified
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| Time::from_second(i64::try_from(since.as_secs()).ok()?));
    let modified = modified.map(|time| format!("last changed {}", moment(time)));
    Some([is].into_iter().chain(modified).collect())
}

/// What the backup holds, and from where it is where that is not this library.
fn backup(plan: &Plan) -> Vec<String> {
    let metadata = &plan.contents.metadata;
    let created = metadata
        .time()
        .map_or_else(|| escape(&metadata.created_at).into_owned(), moment);
    let source = metadata.source();
    let other = source.filter(|source| Source::of(&plan.library).as_ref() != Some(source));
    let other = other.map(|source| format!("of another library: {}", escape(&source.to_string())));
    [counts(&plan.backup), format!("created {created}")]
        .into_iter()
        .chain(other)
        .collect()
}

fn counts(facts: &Facts) -> String {
    format!(
        "{} {}, schema {}, {}",
        grouped(facts.file_count),
        if facts.file_count == 1 { "file" } else { "files" },
        facts.schema_version,
        human(facts.database_size_bytes)
    )
}

/// Draws what a restore is doing.
pub fn watch(progress: &Progress, step: Step<'_>) {
    match step {
        Step::Checking => progress.begin("checking", None),
        Step::Waiting(holder, left) => {
            let seconds = left.as_secs_f64().ceil();
            progress.say(&format!("waiting for {holder}, {seconds} s"));
        }
        Step::Keeping(bytes) => progress.begin("keeping the old library", Some(bytes)),
        Step::Kept(bytes) => progress.add(bytes),
        Step::Writing => progress.begin("writing the library", None),
    }
}

/// A time for somebody who may live elsewhere than in UTC.
fn moment(time: Time) -> String {
    let local = time.local().map_or(String::new(), |local| format!(", {local} local"));
    format!("{} UTC{local}", time.readable())
}

/// Which files a restore changes, in numbers.
fn change(plan: &Plan) -> Option<String> {
    let Some(Counts {
        added,
        removed,
        changed,
    }) = plan.difference
    else {
        let sound = matches!(plan.target, Target::Library(_));
        return sound.then(|| "not known: to compare the files would have taken longer than the checks".into());
    };
    if (added, removed, changed) == (0, 0, 0) {
        return Some("none: both know the same of the same files".into());
    }
    let verb =
        |count: u64, one: &str, more: &str| format!("{} {}", grouped(count), if count == 1 { one } else { more });
    Some(format!(
        "{}, {}, {}",
        verb(added, "file comes back", "files come back"),
        verb(removed, "is forgotten", "are forgotten"),
        verb(changed, "changes", "change")
    ))
}

/// What becomes of the library that is replaced.
fn fate(target: &Target, safety_directory: Option<&Path>) -> String {
    match (target, safety_directory) {
        (Target::Damaged(_), _) => "The file that is there now will be kept beside it.".into(),
        (_, Some(directory)) => {
            let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
            format!("The library as it is now will be kept in {}", escape_path(&directory))
        }
        (_, None) => "The library as it is now will NOT be kept.".into(),
    }
}

/// Completes the error of a restore for whoever reads it: the archive that is meant, the next step.
pub fn not_restored(error: anyhow::Error, archive: &Path, everyday: &CommandLine) -> anyhow::Error {
    if kind(&error) == Kind::InvalidArchive && archive != Path::new("-") {
        return error.context(format!("'{}' is not a complete backup", archive.display()));
    }
    if is_after_commit(&error) {
        tell_restored();
        // Who ended it by a signal has to know, too.
        if signals::pending().is_some() {
            note(&format!("vpo-unpack-restore: {}", describe(&error)));
        }
    }
    advise(error, everyday)
}

/// What a report of a restore says beside what was done.
pub struct RestoreReport<'a> {
    /// The archive.
    pub source: &'a Path,
    /// How long it took.
    pub took: Duration,
    /// What restores another backup over the same library.
    pub line: CommandLine,
    /// A JSON document instead of text.
    pub json: bool,
    /// No text.
    pub quiet: bool,
}

/// Reports a restore.
pub fn restored(plan: &Plan, outcome: &Outcome, report: &RestoreReport<'_>) -> anyhow::Result<()> {
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    if report.json {
        return print_json(&json!({
            "success": true,
            "source_path": shown(report.source),
            "database_path": shown(&plan.library),
            "duration_seconds": seconds(report.took),
            "schema_mismatch": plan.schema_mismatch(),
            "schema_version": plan.backup.schema_version,
            "file_count": plan.backup.file_count,
            "safety_backup": outcome.safety_backup.as_deref().map(shown),
            "moved_aside": outcome.moved_aside.as_deref().map(shown),
        }));
    }
    if report.quiet {
        return Ok(());
    }
    let mut text = format!(
        "Library restored: {}\n  Files in library: {}\n  Schema: {}\n",
        escape_path(&plan.library),
        grouped(plan.backup.file_count),
        plan.backup.schema_version
    );
    if let Some(path) = &outcome.safety_backup {
        text.push_str(&format!("  The library as it was: {}\n", escape_path(path)));
        if let Some(command) = going_back(plan, &report.line, path).text() {
            text.push_str(&format!("  To go back: {command}\n"));
        }
    }
    if let Some(path) = &outcome.moved_aside {
        text.push_str(&format!("  What was there before: {}\n", escape_path(path)));
    }
    print(&text)
}

/// What restores the library as it was.
fn going_back(plan: &Plan, line: &CommandLine, safety_backup: &Path) -> CommandLine {
    let line = line.clone();
    // The library alone does not tell any more which schema VPO has.
    let line = match plan.schema_mismatch() {
        true => line.arg("--current-schema").arg(&plan.current_schema.to_string()),
        false => line,
    };
    line.path(safety_backup)
}

/// Reports what a restore would do.
pub fn would_restore(plan: &Plan, source: &Path, as_json: bool, quiet: bool) -> anyhow::Result<()> {
    let metadata = &plan.contents.metadata;
    if as_json {
        return print_json(&json!({
            "dry_run": true,
            "valid": true,
            "backup_path": source.to_string_lossy(),
            "database_path": plan.library.to_string_lossy(),
            "created_at": metadata.created_at,
            "vpo_version": metadata.vpo_version,
            "schema_version": plan.backup.schema_version,
            "current_schema_version": plan.current_schema,
            "schema_mismatch": plan.schema_mismatch(),
            "database_size_bytes": plan.contents.database_size,
            "file_count": plan.backup.file_count,
        }));
    }
    if quiet {
        return Ok(());
    }
    print(&format!(
        "Would restore: {}\n  Created: {}\n  Made by: {}\n  Schema: {} (installed: {})\n  Database size: {}\n  \
         Files in library: {}\n  To: {}\n",
        escape_path(source),
        escape(&metadata.created_at),
        escape(&metadata.vpo_version),
        plan.backup.schema_version,
        plan.current_schema,
        human(plan.contents.database_size),
        grouped(plan.backup.file_count),
        escape_path(&plan.library),
    ))
}
