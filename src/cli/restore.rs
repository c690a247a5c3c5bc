//! What `vpo-unpack-restore` says: the question before, the report after.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::report::{note, print, print_json};
use super::streams::ask;
use super::text::{escape, escape_path};
use crate::failure::Kind;
use crate::library::{Outcome, Plan, Target};
use crate::size::{grouped, human};
use crate::time::Time;

/// Warns where VPO will have something to do after the restore, or where the library is no library any more.
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

/// Asks whether the library is to be replaced. Where there is none, there is nothing to ask.
///
/// # Errors
/// [`Kind::Declined`] if the answer is no, or nobody can be asked.
pub fn confirm(plan: &Plan) -> anyhow::Result<()> {
    let modified = plan
        .modified
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| Time::from_second(i64::try_from(since.as_secs()).ok()?))
        .map_or(String::new(), |time| format!(", last changed {} UTC", time.readable()));
    let now = match &plan.target {
        Target::Library(facts) => format!(
            "{} files, schema {}, {}{modified}",
            grouped(facts.file_count),
            facts.schema_version,
            human(facts.database_size_bytes)
        ),
        Target::Damaged(reason) => format!("damaged: {}{modified}", escape(reason)),
        // There is nothing to lose; what is somebody else's was refused before.
        Target::Missing | Target::Empty | Target::Foreign(_) | Target::Unknown(_) => return Ok(()),
    };
    let created = plan.contents.metadata.time();
    let question = format!(
        "Library: {}\n  now:    {now}\n  backup: {} files, schema {}, {}, created {} UTC\nReplace it? [y/N] ",
        escape_path(&plan.library),
        grouped(plan.backup.file_count),
        plan.backup.schema_version,
        human(plan.contents.database_size),
        created.map_or_else(
            || escape(&plan.contents.metadata.created_at).into_owned(),
            Time::readable
        ),
    );
    match ask(&question)? {
        Some(answer) if ["y", "yes"].contains(&answer.to_lowercase().as_str()) => Ok(()),
        Some(_) => Err(Kind::Declined.error("the library was not replaced: the answer was not yes")),
        None => Err(Kind::Declined
            .because("the library was not replaced: there is no terminal to ask on")
            .hint("--yes replaces it without a question")
            .into()),
    }
}

/// Reports a restore.
pub fn restored(
    plan: &Plan,
    outcome: &Outcome,
    source: &Path,
    took: Duration,
    as_json: bool,
    quiet: bool,
) -> anyhow::Result<()> {
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    if as_json {
        return print_json(&json!({
            "success": true,
            "source_path": shown(source),
            "database_path": shown(&plan.library),
            "duration_seconds": seconds(took),
            "schema_mismatch": plan.schema_mismatch(),
            "schema_version": plan.backup.schema_version,
            "file_count": plan.backup.file_count,
            "safety_backup": outcome.safety_backup.as_deref().map(shown),
            "moved_aside": outcome.moved_aside.as_deref().map(shown),
        }));
    }
    if quiet {
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
        text.push_str(&format!("  To go back: vpo-library restore {}\n", quoted(path)));
    }
    if let Some(path) = &outcome.moved_aside {
        text.push_str(&format!("  What was there before: {}\n", escape_path(path)));
    }
    print(&text)
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

/// Seconds with three decimals.
pub fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A path that can be pasted into a shell.
pub fn quoted(path: &Path) -> String {
    let text = escape_path(path);
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
