//! The listing of a backup directory: a table, names, or a JSON document.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::keep::keep_words;
use super::report::{print, print_bytes, print_json};
use super::terminal::{bad, doubtful, is_terminal, width};
use super::text::{escape, escape_path};
use crate::backups::{Backup, Flaw, Verdict, newest_good};
use crate::database::Source;
use crate::failure::Kind;
use crate::size::{grouped, human};
use crate::time::Time;

/// Prints the listing: as a table, or for a terminal in the form that fits it.
/// `verdicts`, those of keep rules, are one more column.
pub fn print_table(
    directory: &Path,
    backups: &[Backup],
    verdicts: Option<&[Verdict]>,
    now: Time,
) -> anyhow::Result<()> {
    let shown = escape_path(directory);
    if backups.is_empty() {
        return print(&format!("No backups found in {shown}\n"));
    }
    let mut text = format!("Backups in {shown}:\n\n");
    let lines = match width(std::io::stdout()) {
        Some(width) => lines_for_people(backups, verdicts, now, width),
        None => table(backups, verdicts, None),
    };
    for line in lines {
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

/// The list that somebody is to choose from, for a terminal of `width` columns.
pub fn numbered(backups: &[Backup], now: Time, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (i, backup) in backups.iter().enumerate() {
        let more = remarks(backups, None, i);
        let entry = entry(backup, change(backups, i), more, now, width.saturating_sub(5));
        for (j, line) in entry.into_iter().enumerate() {
            let number = if j == 0 { format!("{:>3}", i + 1) } else { String::new() };
            lines.push(format!("{number:3}  {line}"));
        }
    }
    lines
}

/// A table with the age of each backup where it fits, else two lines or more for each.
fn lines_for_people(backups: &[Backup], verdicts: Option<&[Verdict]>, now: Time, width: usize) -> Vec<String> {
    let table = table(backups, verdicts, Some(now));
    // The heading is as wide as a row without remarks.
    if table[0].chars().count() <= width {
        return table;
    }
    (0..backups.len())
        .flat_map(|i| {
            let more = remarks(backups, verdicts, i);
            entry(&backups[i], change(backups, i), more, now, width)
        })
        .collect()
}

/// The lines of the table: the heading, then one for each backup. With `now`, age and change are columns too.
fn table(backups: &[Backup], verdicts: Option<&[Verdict]>, now: Option<Time>) -> Vec<String> {
    let names: Vec<_> = (backups
        .iter()
        .map(|b| escape(&b.file_name.to_string_lossy()).into_owned()))
    .collect();
    let width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0).max(8);
    let for_people = |column: String| if now.is_some() { column } else { String::new() };
    let more = more_columns(backups, verdicts);
    let mut lines = vec![format!(
        "{:width$}  {:19}{}  {:>8}  {:>9}  {:>6}{}  {:>6}{}",
        "Filename",
        "Created (UTC)",
        for_people(format!("  {:14}", "Age")),
        "Archive",
        "Database",
        "Files",
        for_people(format!("  {:>7}", "Change")),
        "Schema",
        more[0]
    )];
    let heading = lines[0].trim_end().len();
    lines[0].truncate(heading);
    for (i, (backup, name)) in backups.iter().zip(&names).enumerate() {
        let age = now.map_or(String::new(), |now| format!("  {:14}", age_of(backup.created_at, now)));
        let rest = match &backup.summary {
            Ok(summary) => format!(
                "{:>9}  {:>6}{}  {:>6}{}{}",
                human(summary.database_size),
                grouped(summary.metadata.file_count),
                for_people(format!("  {:>7}", change(backups, i).unwrap_or_default())),
                summary.metadata.schema_version,
                more[i + 1],
                for_people(if backup.replaced {
                    "  safety backup".into()
                } else {
                    String::new()
                })
            ),
            Err(flaw) => flawed(flaw),
        };
        let archive = human(backup.archive_size);
        let line = format!(
            "{name:width$}  {}{age}  {archive:>8}  {rest}",
            backup.created_at.readable()
        );
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// What stands in the place of what an archive does not say of itself.
fn flawed(flaw: &Flaw) -> String {
    let word = match flaw.proven {
        true => bad("damaged"),
        false => doubtful("unknown"),
    };
    format!("{word}: {}", escape(&flaw.reason))
}

/// The columns that are not always there, heading first: the sources where there are several, and what keep rules say.
fn more_columns(backups: &[Backup], verdicts: Option<&[Verdict]>) -> Vec<String> {
    let mut lines = vec![String::new(); backups.len() + 1];
    let mut add = |heading: &str, cells: Vec<String>| {
        let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let width = width.max(heading.len());
        for (line, cell) in lines.iter_mut().zip(std::iter::once(heading.to_owned()).chain(cells)) {
            line.push_str(&format!("  {cell:width$}"));
        }
    };
    if several_sources(backups) {
        add("Source", backups.iter().map(source).collect());
    }
    if let Some(verdicts) = verdicts {
        add("Keep", verdicts.iter().map(keep_words).collect());
    }
    lines
}

/// True if the backups are known to be of more than one library.
fn several_sources(backups: &[Backup]) -> bool {
    let mut known = backups.iter().filter_map(|backup| backup.source.as_ref());
    let first = known.next();
    known.any(|source| Some(source) != first)
}

/// The library that a backup is of, for a person; nothing where it is not known.
fn source(backup: &Backup) -> String {
    let source = backup.source.as_ref().map(Source::to_string).unwrap_or_default();
    escape(&source).into_owned()
}

/// What [`more_columns`] has for one backup, where there is no table.
fn remarks(backups: &[Backup], verdicts: Option<&[Verdict]>, i: usize) -> Vec<String> {
    let source = several_sources(backups).then(|| source(&backups[i]));
    let keep = verdicts.map(|verdicts| keep_words(&verdicts[i]));
    source.into_iter().chain(keep).filter(|text| !text.is_empty()).collect()
}

/// One backup in as many lines as a narrow terminal needs.
fn entry(backup: &Backup, change: Option<String>, more: Vec<String>, now: Time, width: usize) -> Vec<String> {
    let created = backup.created_at.readable();
    let mut fields = vec![format!("{} UTC, {}", &created[..16], age_of(backup.created_at, now))];
    match &backup.summary {
        Ok(summary) => {
            let change = change.map_or(String::new(), |change| format!(" ({change})"));
            fields.push(format!(
                "{} of {}",
                human(backup.archive_size),
                human(summary.database_size)
            ));
            fields.push(format!("{} files{change}", grouped(summary.metadata.file_count)));
            fields.push(format!("schema {}", summary.metadata.schema_version));
        }
        Err(flaw) => {
            fields.push(human(backup.archive_size));
            fields.push(flawed(flaw));
        }
    }
    if backup.replaced {
        fields.push("safety backup".into());
    }
    fields.extend(more);
    let mut lines = vec![shorten(&escape(&backup.file_name.to_string_lossy()), width)];
    let mut line = String::new();
    for field in fields {
        if !line.is_empty() && line.chars().count() + 2 + field.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        line.push_str(&format!("  {field}"));
    }
    lines.push(line);
    lines
}

/// How many files a backup has more or less than the next older one that can be read.
fn change(backups: &[Backup], i: usize) -> Option<String> {
    let files = |backup: &Backup| backup.summary.as_ref().ok().map(|summary| summary.metadata.file_count);
    let now = files(&backups[i])?;
    let before = backups[i + 1..].iter().find_map(files)?;
    Some(match now.checked_sub(before) {
        Some(0) => "same".into(),
        Some(more) => format!("+{}", grouped(more)),
        None => format!("-{}", grouped(before - now)),
    })
}

/// The age of a backup in words.
fn age_of(created: Time, now: Time) -> String {
    const UNITS: [(u64, &str); 5] = [
        (365 * 86400, "year"),
        (30 * 86400, "month"),
        (86400, "day"),
        (3600, "hour"),
        (60, "minute"),
    ];
    let Some(seconds) = now.as_second().checked_sub(created.as_second()) else {
        return "in the future".into();
    };
    match UNITS.iter().find(|(length, _)| seconds >= *length) {
        None => "just now".into(),
        Some((length, unit)) => match seconds / length {
            1 => format!("1 {unit} ago"),
            n => format!("{n} {unit}s ago"),
        },
    }
}

/// Cuts a name in the middle, where names of backups differ least.
fn shorten(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width || width < 3 {
        return name.to_owned();
    }
    let front = (width - 1) / 2;
    let back = width - 1 - front;
    let start: String = name.chars().take(front).collect();
    let end: String = name.chars().skip(length - back).collect();
    format!("{start}…{end}")
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

/// Fails unless the newest good backup is younger than `age`.
///
/// # Errors
/// [`Kind::Declined`].
pub fn require_recent(backups: &[Backup], age: Duration, now: Time) -> anyhow::Result<()> {
    let oldest = now.as_second().saturating_sub(age.as_secs());
    match newest_good(backups, now) {
        Some(newest) if newest.created_at.as_second() > oldest => Ok(()),
        Some(newest) => Err(Kind::Declined.error(format!(
            "no backup is recent enough: the newest is from {} UTC",
            newest.created_at.readable()
        ))),
        None => Err(Kind::Declined.error("no backup is recent enough: there is none")),
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
    use super::*;

    #[test]
    fn ages_in_words() {
        let now = Time::from_second(10_000_000).unwrap();
        let cases = [
            (0, "just now"),
            (60, "1 minute ago"),
            (7200, "2 hours ago"),
            (3 * 86400, "3 days ago"),
            (45 * 86400, "1 month ago"),
        ];
        for (seconds, words) in cases {
            assert_eq!(age_of(Time::from_second(10_000_000 - seconds).unwrap(), now), words);
        }
        assert_eq!(age_of(now, Time::from_second(0).unwrap()), "in the future");
    }

    #[test]
    fn names_are_cut_in_the_middle() {
        assert_eq!(shorten("abcdefghij", 10), "abcdefghij");
        assert_eq!(shorten("abcdefghij", 5), "ab…ij");
        assert_eq!(shorten("äöüäöüäöü", 4), "ä…öü");
    }

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
