//! The report of `vpo-diff`: a line, or an element of the JSON document, for each file, written while it is found.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use anyhow::Context;
use serde_json::json;

use super::exit::JsonPrinted;
use super::report::note;
use super::streams::require_output;
use super::terminal::is_terminal;
use super::text::{escape, escape_json};
use crate::failure::{describe, hint, kind};
use crate::library::{Counts, OutputThread, Status, TableRows};
use crate::size::grouped;

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiffFormat {
    /// A line for each file.
    #[default]
    Lines,
    /// The same with unescaped paths, each followed by a NUL.
    Null,
    /// Only counts.
    Stat,
    /// One document with everything.
    Json,
    /// One document without the files.
    JsonStat,
    /// Nothing.
    Quiet,
}

impl DiffFormat {
    /// True if only the exit status says whether there is a difference.
    pub fn is_quiet(self) -> bool {
        self == DiffFormat::Quiet
    }

    /// True if it has the rows of the other tables.
    pub fn has_tables(self) -> bool {
        matches!(self, DiffFormat::Stat | DiffFormat::Json | DiffFormat::JsonStat)
    }

    fn is_json(self) -> bool {
        matches!(self, DiffFormat::Json | DiffFormat::JsonStat)
    }
}

/// A report that is being written, from a thread of its own: a reader who stalls can't keep a library open after a
/// signal.
pub struct DiffReport {
    format: DiffFormat,
    out: OutputThread,
    /// Something was written.
    begun: bool,
}

impl DiffReport {
    /// A report on standard output.
    pub fn new(format: DiffFormat) -> anyhow::Result<Self> {
        if !format.is_quiet() {
            require_output()?;
        }
        let stdout = io::stdout().as_fd().try_clone_to_owned();
        let stdout = File::from(stdout.context("cannot use standard output")?);
        Ok(DiffReport {
            format,
            out: OutputThread::start(stdout)?,
            begun: false,
        })
    }

    /// Adds a file that differs.
    pub fn file(&mut self, status: Status, path: &[u8]) -> anyhow::Result<()> {
        let letter = match status {
            Status::Added => "A",
            Status::Removed => "D",
            Status::Changed => "M",
        };
        let text = String::from_utf8_lossy(path);
        match self.format {
            // No name reaches a terminal unescaped.
            DiffFormat::Null if !is_terminal(io::stdout()) => {
                self.write(&[letter.as_bytes(), b"\t", path, b"\0"].concat())
            }
            DiffFormat::Null => self.write(format!("{letter}\t{}\0", escape(&text)).as_bytes()),
            DiffFormat::Lines => self.write(format!("{letter}\t{}\n", escape(&text)).as_bytes()),
            DiffFormat::Json => {
                let element = json!({"status": letter, "path": text});
                let before = if self.begun {
                    ",\n    "
                } else {
                    "{\n  \"files\": [\n    "
                };
                self.write(format!("{before}{}", escape_json(&element.to_string())).as_bytes())
            }
            DiffFormat::Stat | DiffFormat::JsonStat | DiffFormat::Quiet => Ok(()),
        }
    }

    /// Adds what is known at the end, and waits until everything is written.
    pub fn finish(mut self, counts: Counts, tables: &[TableRows]) -> anyhow::Result<()> {
        if self.format == DiffFormat::Stat {
            self.write(summary(counts, tables).as_bytes())?;
        }
        if self.format.is_json() {
            let tables: Vec<_> = tables
                .iter()
                .map(|table| json!({"name": table.name, "old_rows": table.old, "new_rows": table.new}))
                .collect();
            self.end_document(&json!({
                "added": counts.added,
                "removed": counts.removed,
                "changed": counts.changed,
                "tables": tables,
            }))?;
        }
        self.out.finish()
    }

    /// Ends the report if the comparison was cut short, and returns the error that says so. A document that was begun
    /// ends with the keys of a failure.
    pub fn broken_off(mut self, error: anyhow::Error) -> anyhow::Error {
        if !self.begun {
            return error;
        }
        const WHAT: &str = "the comparison was cut short";
        if !self.format.is_json() {
            // What was found before is true.
            return self.out.finish().err().unwrap_or_else(|| error.context(WHAT));
        }
        let error = error.context(JsonPrinted(WHAT));
        let mut end = json!({"success": false, "error": describe(&error), "exit_code": kind(&error).code()});
        if let Some(hint) = hint(&error) {
            end["hint"] = hint.into();
        }
        match self.end_document(&end).and_then(|()| self.out.finish()) {
            Ok(()) => error,
            Err(error) => error,
        }
    }

    /// Ends the array of files, if there is one, and adds the keys of `end`, an object, to the document.
    fn end_document(&mut self, end: &serde_json::Value) -> anyhow::Result<()> {
        let files = match (self.format, self.begun) {
            (DiffFormat::Json, true) => "\n  ],",
            (DiffFormat::Json, false) => "{\n  \"files\": [],",
            _ => "{",
        };
        let end = escape_json(&serde_json::to_string_pretty(end)?);
        // An object with keys is printed on several lines.
        let end = end.strip_prefix('{').unwrap_or(&end);
        self.write(format!("{files}{end}\n").as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.begun = true;
        self.out.write(bytes)
    }
}

/// Says what is not compared because only one of the two has it.
pub fn note_left_out(left_out: &[String]) {
    if !left_out.is_empty() {
        let names = left_out.join(", ");
        note(&format!("vpo-diff: note: the schemas differ; not compared: {names}"));
    }
}

fn summary(counts: Counts, tables: &[TableRows]) -> String {
    let mut text = format!(
        "{} added, {} removed, {} changed\n",
        grouped(counts.added),
        grouped(counts.removed),
        grouped(counts.changed)
    );
    if tables.is_empty() {
        return text;
    }
    let rows = |rows: Option<u64>| rows.map_or_else(|| "-".to_owned(), grouped);
    let mut lines = vec![["Rows in".to_owned(), "Old".into(), "New".into()]];
    lines.extend(
        tables
            .iter()
            .map(|t| [escape(&t.name).into_owned(), rows(t.old), rows(t.new)]),
    );
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let [name, old, new] = [0, 1, 2].map(width);
    text.push('\n');
    for line in &lines {
        text.push_str(&format!("{:name$}  {:>old$}  {:>new$}\n", line[0], line[1], line[2]));
    }
    text
}
