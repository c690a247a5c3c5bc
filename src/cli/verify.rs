//! The report of `vpo-verify`: a line, or a row of the JSON document, for each archive.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::report::{note, print, print_json};
use super::terminal::{bad, good};
use super::text::{escape, escape_path};
use crate::archive::{Contents, Metadata};
use crate::failure::{Kind, describe, hint, kind};
use crate::size::{grouped, human};

/// What is known of the archives so far.
pub struct VerifyReport {
    json: bool,
    quiet: bool,
    rows: Vec<Row>,
    bad: usize,
    missing: usize,
    /// The kind of the first failure that says nothing about the archive.
    failed: Option<Kind>,
}

#[derive(Serialize)]
struct Row {
    path: String,
    valid: bool,
    error: Option<String>,
    /// Where a valid archive was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<String>,
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
            bad: 0,
            missing: 0,
            failed: None,
        }
    }

    /// Adds an archive that is whole; `saved` is where it was kept.
    pub fn good(&mut self, path: &Path, contents: Contents, saved: Option<&Path>) -> anyhow::Result<()> {
        let metadata = contents.metadata;
        if !self.quiet && !self.json {
            print(&format!(
                "{}  {}  created {}, schema {}, {} files, {}\n",
                good("ok"),
                escape_path(saved.unwrap_or(path)),
                escape(&metadata.created_at),
                metadata.schema_version,
                grouped(metadata.file_count),
                human(contents.database_size)
            ))?;
        }
        self.rows.push(Row {
            path: path.to_string_lossy().into_owned(),
            valid: true,
            error: None,
            saved: saved.map(|path| path.to_string_lossy().into_owned()),
            metadata: Some(metadata),
        });
        Ok(())
    }

    /// Adds an archive that is not whole, or could not be looked at.
    pub fn bad(&mut self, path: &Path, error: &anyhow::Error) -> anyhow::Result<()> {
        match kind(error) {
            Kind::InvalidArchive => self.bad += 1,
            Kind::NotFound => self.missing += 1,
            kind => {
                self.failed.get_or_insert(kind);
            }
        }
        let what = format!("{}: {}", escape_path(path), escape(&describe(error)));
        if self.quiet {
            note(&format!("bad {what}"));
        } else if !self.json {
            print(&format!("{} {what}\n", bad("bad")))?;
        }
        if let Some(hint) = hint(error) {
            note(&format!("hint: {hint}"));
        }
        self.rows.push(Row {
            path: path.to_string_lossy().into_owned(),
            valid: false,
            error: Some(describe(error)),
            saved: None,
            metadata: None,
        });
        Ok(())
    }

    /// Prints the document, and gives the exit status: 46 if one was bad, else 20 if one was missing, else that of
    /// the first other failure.
    pub fn finish(self) -> anyhow::Result<u8> {
        if self.json {
            print_json(&json!({
                "total_count": self.rows.len(),
                "bad_count": self.bad,
                "archives": self.rows,
            }))?;
        }
        Ok(match (self.bad, self.missing) {
            (1.., _) => Kind::InvalidArchive.code(),
            (0, 1..) => Kind::NotFound.code(),
            (0, 0) => self.failed.map_or(0, Kind::code),
        })
    }
}
