//! The listing of a backup directory: a table, names, or a JSON document.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::report::{print, print_bytes, print_json};
use super::streams::is_terminal;
use super::text::{escape, escape_path};
use crate::backups::Backup;
use crate::failure::Kind;
use crate::size::{grouped, human};
use crate::time::Time;

/// Prints the listing as a table.
pub fn print_table(directory: &Path, backups: &[Backup]) -> anyhow::Result<()> {
    let shown = escape_path(directory);
    if backups.is_empty() {
        return print(&format!("No backups found in {shown}\n"));
    }
    let mut text = format!("Backups in {shown}:\n\n");
    for line in rows(backups) {
        text.push_str(&format!("{line}\n"));
    }
    let plural = if backups.len() == 1 { "backup" } else { "backups" };
    text.push_str(&format!(
        "\n{} {plural}, {}\n",
        grouped(backups.len() as u64),
        human(total_size(backups))
    ));
    print(&text)
}

/// The lines of the table: the heading, then one for each backup.
pub fn rows(backups: &[Backup]) -> Vec<String> {
    let names: Vec<_> = (backups
        .iter()
        .map(|b| escape(&b.file_name.to_string_lossy()).into_owned()))
    .collect();
    let width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0).max(8);
    let mut lines = vec![format!(
        "{:width$}  {:19}  {:>8}  {:>9}  {:>6}  {:>6}",
        "Filename", "Created (UTC)", "Archive", "Database", "Files", "Schema"
    )];
    for (backup, name) in backups.iter().zip(&names) {
        let rest = match &backup.summary {
            Ok(summary) => format!(
                "{:>9}  {:>6}  {:>6}",
                human(summary.database_size),
                grouped(summary.file_count),
                summary.schema_version
            ),
            Err(error) => format!("damaged: {}", escape(error)),
        };
        let archive = human(backup.archive_size);
        lines.push(format!(
            "{name:width$}  {}  {archive:>8}  {rest}",
            backup.created_at.readable()
        ));
    }
    lines
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

/// Prints the listing as a JSON document.
pub fn print_listing_json(directory: &Path, backups: &[Backup]) -> anyhow::Result<()> {
    let rows: Vec<Value> = backups.iter().map(row).collect();
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
        "file_count": summary.map(|s| s.file_count),
        "schema_version": summary.map(|s| s.schema_version),
        "replaced": backup.replaced,
    });
    if let Err(error) = &backup.summary {
        row["error"] = json!(error);
    }
    row
}

fn total_size(backups: &[Backup]) -> u64 {
    backups.iter().map(|backup| backup.archive_size).sum()
}

/// Fails unless an undamaged backup that is no safety backup is younger than `age`.
///
/// # Errors
/// [`Kind::Declined`].
pub fn require_recent(backups: &[Backup], age: Duration, now: Time) -> anyhow::Result<()> {
    let oldest = now.as_second().saturating_sub(age.as_secs());
    let good = |backup: &&Backup| backup.summary.is_ok() && !backup.replaced;
    match backups.iter().find(good) {
        Some(newest) if newest.created_at.as_second() > oldest => Ok(()),
        Some(newest) => Err(Kind::Declined.error(format!(
            "no backup is young enough: the newest is of {} UTC",
            newest.created_at.readable()
        ))),
        None => Err(Kind::Declined.error("no backup is young enough: there is none")),
    }
}

/// Reads an age such as `90m`, `26h` or `3d`.
pub fn age(text: &str) -> anyhow::Result<Duration> {
    let wrong = || Kind::Usage.error(format!("--max-age '{text}': an age such as 90m, 26h or 3d is needed"));
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        'w' => 7 * 86400,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages() {
        for (text, seconds) in [("90m", 5400), ("26h", 93600), ("3d", 259_200), ("0s", 0)] {
            assert_eq!(age(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "h", "3", "-3d", "3 d", "1.5h", "3y", "4294967296d", "3é"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
