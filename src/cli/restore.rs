//! What `vpo-unpack-restore` says after the question: progress, the report, and an error.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::caller::tell_restored;
use super::command::{CommandLine, advise};
use super::progress::Progress;
use super::report::{note, print, print_json};
use super::text::{cut_end, escape, escape_path, seconds};
use crate::failure::{Kind, describe, kind};
use crate::library::{Outcome, Plan, Step, is_after_commit};
use crate::signals;
use crate::size::{grouped, human};

/// Draws what a restore is doing.
pub fn watch(progress: &Progress, step: Step<'_>) {
    match step {
        Step::Checking => progress.begin("checking", None),
        Step::Waiting(holder, left) => {
            // Whatever there is room for: who it is may be a long command line, how long it lasts is short.
            let left = format!(", {} s left", left.as_secs_f64().ceil());
            let who = format!("waiting for {holder}");
            let room = Progress::room().saturating_sub(left.len());
            progress.say(&format!("{}{left}", cut_end(&who, room)));
        }
        Step::Keeping(bytes) => progress.begin("keeping the old library", Some(bytes)),
        Step::Kept(bytes) => progress.add(bytes),
        Step::Writing => progress.begin("writing the library", None),
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
