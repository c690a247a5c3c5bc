//! What becomes of each backup, for a person.

use std::path::Path;

use super::Row;
use crate::cli;
use crate::size::{grouped, human};

/// Every backup, and what becomes of it.
pub fn table(directory: &Path, rows: &[Row], gone: usize, bytes: u64) -> String {
    let shown = cli::escape_path(directory);
    if rows.is_empty() {
        return format!("No backups found in {shown}\n");
    }
    let mut text = format!("Backups in {shown}:\n\n");
    let mut known = rows.iter().filter(|row| row.source_path.is_some()).map(Row::source);
    let first = known.next();
    let several = known.any(|source| Some(source) != first);
    text.push_str(&lines(rows.iter(), several));
    text.push_str(&match (gone, rows.len()) {
        (0, 1) => "\nNothing to remove: it stays\n".into(),
        (0, all) => format!("\nNothing to remove: all {} stay\n", grouped(all as u64)),
        (gone, all) => format!(
            "\n{} of {} to remove, {}\n",
            grouped(gone as u64),
            grouped(all as u64),
            human(bytes)
        ),
    });
    text
}

/// A line for each backup.
pub fn lines<'a>(rows: impl Iterator<Item = &'a Row>, with_source: bool) -> String {
    let rows: Vec<_> = rows.map(|row| cells(row, with_source)).collect();
    let widest = |cell: usize| rows.iter().map(|cells| cli::columns(&cells[cell])).max().unwrap_or(0);
    let widths = [0, 1, 2].map(widest);
    let line = |[name, size, why, source]: &[String; 4]| {
        let pad = |cell: usize, text: &str| " ".repeat(widths[cell].saturating_sub(cli::columns(text)));
        let (after_name, before_size, after_why) = (pad(0, name), pad(1, size), pad(2, why));
        let line = format!("{name}{after_name}  {before_size}{size}  {why}{after_why}  {source}");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

/// The name of a backup, its size, what becomes of it, and where it is from if that is to be told.
fn cells(row: &Row, with_source: bool) -> [String; 4] {
    let why = match &row.keep {
        None => "left alone".into(),
        Some(keep) if keep.is_empty() => "expired".into(),
        Some(keep) => keep.join(", "),
    };
    let source = match row.source() {
        (Some(host), Some(path)) if with_source => format!("{host}:{path}"),
        _ => String::new(),
    };
    let size = format!("{:>8}", human(row.archive_size_bytes));
    [row.filename.clone(), size, why, source].map(|cell| cli::escape(&cell).into_owned())
}
