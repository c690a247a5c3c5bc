//! The report of `vpo-verify`: a line, or a row of the JSON document, for each archive.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::caller::tell_error;
use super::report::{note, print, print_json};
use super::terminal::{bad, doubtful, good};
use super::text::{escape, escape_path};
use crate::archive::{Contents, Metadata};
use crate::database::Problem;
use crate::failure::{Kind, describe, hint, kind};
use crate::size::{grouped, human};

/// What is known about the archives so far.
pub struct VerifyReport {
    json: bool,
    quiet: bool,
    rows: Vec<Row>,
    /// The kind of the first archive that could not be looked at for a reason other than being missing.
    unknown: Option<Kind>,
    missing: bool,
    /// A full check found something.
    problems: bool,
}

/// What is known about one archive.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// Proven whole.
    Ok,
    /// Proven not to be a complete backup.
    Bad,
    /// It could not be looked at, which says nothing about it.
    Unknown,
}

impl Status {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::InvalidArchive => Status::Bad,
            _ => Status::Unknown,
        }
    }

    /// As a line shows it, three columns wide.
    fn word(self) -> &'static str {
        match self {
            Status::Ok => "ok ",
            Status::Bad => "bad",
            Status::Unknown => "?? ",
        }
    }
}

#[derive(Serialize)]
struct Row {
    path: String,
    valid: bool,
    status: Status,
    error: Option<String>,
    /// Where a valid archive was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<String>,
    /// What a full check found, if one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<Vec<Problem>>,
    #[serde(flatten)]
    metadata: Option<Metadata>,
}

impl VerifyReport {
    /// An empty report: JSON at the end, or a line for each archive, or with `quiet` only for bad ones, on stderr.
    pub fn new(json: bool, quiet: bool) -> Self {
        VerifyReport {
            json,
            quiet,
            rows: Vec::new(),
            unknown: None,
            missing: false,
            problems: false,
        }
    }

    /// Adds an archive that is whole; `saved` is where it was kept, and `problems` what a full check found.
    pub fn good(
        &mut self,
        path: &Path,
        contents: Contents,
        saved: Option<&Path>,
        problems: Option<Vec<Problem>>,
    ) -> anyhow::Result<()> {
        let metadata = contents.metadata;
        if !self.quiet && !self.json {
            print(&format!(
                "{} {}  created {}, schema {}, {} files, {}\n",
                good(Status::Ok.word()),
                escape_path(saved.unwrap_or(path)),
                escape(&metadata.created_at),
                metadata.schema_version,
                grouped(metadata.file_count),
                human(contents.database_size)
            ))?;
        }
        for problem in problems.iter().flatten() {
            self.problems = true;
            let line = in_words(problem);
            if self.quiet {
                note(&format!("{}: {line}", escape_path(saved.unwrap_or(path))));
            } else if !self.json {
                print(&format!("      {}\n", escape(&line)))?;
            }
        }
        self.rows.push(Row {
            path: path.to_string_lossy().into_owned(),
            valid: true,
            status: Status::Ok,
            error: None,
            saved: saved.map(|path| path.to_string_lossy().into_owned()),
            problems,
            metadata: Some(metadata),
        });
        Ok(())
    }

    /// Adds an archive that is not whole, or could not be looked at.
    pub fn bad(&mut self, path: &Path, error: &anyhow::Error) -> anyhow::Result<()> {
        let kind = kind(error);
        let status = Status::of(kind);
        match kind {
            Kind::InvalidArchive => {}
            Kind::NotFound => self.missing = true,
            kind => drop(self.unknown.get_or_insert(kind)),
        }
        let what = format!("{}: {}", escape_path(path), escape(&describe(error)));
        if self.quiet {
            note(&format!("{} {what}", status.word()));
        } else if !self.json {
            let word = match status {
                Status::Bad => bad(status.word()),
                _ => doubtful(status.word()),
            };
            print(&format!("{word} {what}\n"))?;
        }
        if let Some(hint) = hint(error) {
            note(&format!("hint: {hint}"));
        }
        self.rows.push(Row {
            path: path.to_string_lossy().into_owned(),
            valid: false,
            status,
            error: Some(describe(error)),
            saved: None,
            problems: None,
            metadata: None,
        });
        Ok(())
    }

    /// Prints the document, and returns the exit status: 46 if one was bad, else 20 if one was missing, else that of
    /// the first one that could not be looked at; else 1 if a full check found something.
    pub fn finish(self) -> anyhow::Result<u8> {
        let bad = self.rows.iter().filter(|row| row.status == Status::Bad).count();
        if self.json {
            print_json(&json!({
                "total_count": self.rows.len(),
                "bad_count": bad,
                "archives": self.rows,
            }))?;
        }
        let status = match (bad, self.missing) {
            (1.., _) => Kind::InvalidArchive.code(),
            (0, true) => Kind::NotFound.code(),
            (0, false) => self.unknown.map_or(u8::from(self.problems), Kind::code),
        };
        if let Some(message) = self.message() {
            tell_error(&message, None);
        }
        Ok(status)
    }

    /// What is wrong, on one line: of the first bad archive, or else of the first one that is not known.
    fn message(&self) -> Option<String> {
        let wrong = self.rows.iter().filter(|row| row.status != Status::Ok);
        let more = wrong.clone().count().saturating_sub(1);
        let first = wrong
            .clone()
            .find(|row| row.status == Status::Bad)
            .or(wrong.clone().next())?;
        let error = first.error.as_deref().unwrap_or_default();
        // Whoever reads this knows what standard input was.
        let mut text = match first.path.as_str() {
            "-" => error.to_owned(),
            path => format!("'{path}': {error}"),
        };
        if more > 0 {
            text.push_str(&format!(" (and {more} more)"));
        }
        Some(text)
    }
}

/// A problem as a line for a person.
fn in_words(problem: &Problem) -> String {
    let table = problem
        .table
        .as_ref()
        .map_or(String::new(), |table| format!("{table}: "));
    let rows = match problem.rows {
        None => String::new(),
        Some(1) => " (1 row)".into(),
        Some(n) => format!(" ({} rows)", grouped(n)),
    };
    format!("{table}{}{rows}", problem.message)
}
