//! The listing of a backup directory: a table, names, or a JSON document.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::{Value, json};

use super::report::{print, print_bytes, print_json};
use super::table::Table;
use super::terminal::{is_terminal, size};
use super::text::{cut_middle, escape_path};
use crate::backups::{Backup, Verdict};
use crate::size::{grouped, human};
use crate::time::Time;

/// Prints the listing as a table, which on a terminal is fitted to its width. `verdicts`, those of keep rules, are one more
/// column.
pub fn print_table(
    directory: &Path,
    backups: &[Backup],
    verdicts: Option<&[Verdict]>,
    now: Time,
) -> anyhow::Result<()> {
    if backups.is_empty() {
        return print(&format!("No backups found in {}\n", escape_path(directory)));
    }
    let table = Table::new(backups, verdicts, now);
    let width = size(std::io::stdout()).map(|(width, _)| width);
    let (lines, safety) = match width {
        Some(width) => (table.fitted(width), safety_backups(backups)),
        None => (table.complete(), String::new()),
    };
    let mut text = format!("{}\n\n", list_heading(directory, width.unwrap_or(usize::MAX)));
    for line in lines {
        text.push_str(&format!("{line}\n"));
    }
    let plural = if backups.len() == 1 { "backup" } else { "backups" };
    text.push_str(&format!(
        "\n{} {plural}{safety}, {}\n",
        grouped(backups.len() as u64),
        human(total_size(backups))
    ));
    print(&text)
}

/// What stands above the list of a directory, in `width` columns.
pub fn list_heading(directory: &Path, width: usize) -> String {
    let words = "Backups in :";
    let directory = cut_middle(&escape_path(directory), width.saturating_sub(words.len()));
    format!("Backups in {directory}:")
}

/// How many of the backups are safety backups, where there are any.
fn safety_backups(backups: &[Backup]) -> String {
    match backups.iter().filter(|backup| backup.replaced).count() {
        0 => String::new(),
        1 => ", 1 of them a safety backup".into(),
        n => format!(", {} of them safety backups", grouped(n as u64)),
    }
}

/// Prints the paths, each followed by a newline or with `null` by a NUL. Raw, unless a person would see them.
pub fn print_names(backups: &[Backup], null: bool) -> anyhow::Result<()> {
    let raw = null || !is_terminal(std::io::stdout());
    let mut out = Vec::new();
    for backup in backups {
        if raw {
            out.extend_from_slice(backup.path.as_os_str().as_bytes());
        } else {
            out.extend_from_slice(escape_path(&backup.path).as_bytes());
        }
        out.push(if null { 0 } else { b'\n' });
    }
    print_bytes(&out)
}

/// Prints the listing as a JSON document. With `verdicts`, those of keep rules, each row says what becomes of the backup,
/// and what tells whether its name still is of the same file.
pub fn print_listing_json(directory: &Path, backups: &[Backup], verdicts: Option<&[Verdict]>) -> anyhow::Result<()> {
    let mut rows: Vec<Value> = backups.iter().map(row).collect();
    for (i, row) in rows.iter_mut().enumerate() {
        let Some(verdicts) = verdicts else { break };
        let stamp = &backups[i].stamp;
        row["keep"] = match &verdicts[i] {
            Verdict::Kept(reasons) => reasons.iter().map(|reason| reason.name()).collect(),
            Verdict::Expired => json!([]),
            Verdict::NoRule | Verdict::UnknownSource | Verdict::LeftAlone => Value::Null,
        };
        row["device"] = json!(stamp.device);
        row["inode"] = json!(stamp.inode);
        row["mtime_ns"] = json!(stamp.mtime_ns);
    }
    print_json(&json!({
        "directory": directory.to_string_lossy(),
        "total_count": backups.len(),
        "total_size_bytes": total_size(backups),
        "backups": rows,
    }))
}

fn row(backup: &Backup) -> Value {
    let summary = backup.summary.as_ref().ok();
    let mut row = json!({
        "filename": backup.file_name.to_string_lossy(),
        "path": backup.path.to_string_lossy(),
        "created_at": backup.created_at.to_string(),
        "archive_size_bytes": backup.archive_size,
        "database_size_bytes": summary.map(|s| s.database_size),
        "file_count": summary.map(|s| s.metadata.file_count),
        "schema_version": summary.map(|s| s.metadata.schema_version),
        "replaced": backup.replaced,
        "source_host": summary.and_then(|s| s.metadata.source_host.as_deref()),
        "source_path": summary.and_then(|s| s.metadata.source_path.as_deref()),
    });
    row["status"] = json!(match &backup.summary {
        Ok(_) => "whole",
        Err(flaw) if flaw.proven => "damaged",
        Err(_) => "unknown",
    });
    if let Err(flaw) = &backup.summary {
        row["error"] = json!(flaw.reason);
    }
    row
}

fn total_size(backups: &[Backup]) -> u64 {
    backups.iter().map(|backup| backup.archive_size).sum()
}
