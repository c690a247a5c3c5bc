//! The log: one JSON line for each backup, restore and verify.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;

use crate::archive::Metadata;
use crate::cli;
use crate::failure;
use crate::files::{Identity, Inputs};
use crate::time::Time;

/// What is known of one run, and where it is to be written.
pub struct Log {
    file: Option<PathBuf>,
    started: Instant,
    line: Line,
}

#[derive(Serialize)]
struct Line {
    time: String,
    command: &'static str,
    outcome: &'static str,
    exit_code: u8,
    error: Option<String>,
    // As text: JSON has no other names, and one that is not UTF-8 must not cost the line.
    database_path: Option<String>,
    backup_path: Option<String>,
    archive_size_bytes: Option<u64>,
    database_size_bytes: Option<u64>,
    database_sha256: Option<String>,
    blocks: Option<u32>,
    blocks_reused: Option<u32>,
    duration_seconds: f64,
}

impl Log {
    /// Begins the line of a command; without `file` nothing will be written.
    pub fn begin(file: Option<PathBuf>, command: &'static str) -> Self {
        Log {
            file,
            started: Instant::now(),
            line: Line {
                time: Time::now().to_string(),
                command,
                outcome: "success",
                exit_code: 0,
                error: None,
                database_path: None,
                backup_path: None,
                archive_size_bytes: None,
                database_size_bytes: None,
                database_sha256: None,
                blocks: None,
                blocks_reused: None,
                duration_seconds: 0.0,
            },
        }
    }

    /// Names what the run reads and will have written: standard output and the log have to be other files.
    ///
    /// # Errors
    /// [`crate::failure::Kind::Usage`]; a log that is one of them gets no line.
    pub fn protect(&mut self, inputs: &Inputs) -> anyhow::Result<()> {
        let shown = |file: &PathBuf| format!("the log '{}'", file.display());
        let refused = self
            .file
            .as_ref()
            .map(|file| inputs.refuse(Identity::at(file), &shown(file)));
        if let Some(Err(_)) = refused {
            self.file = None;
        }
        cli::protect(inputs).and(refused.unwrap_or(Ok(())))
    }

    /// When the command began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Notes the library.
    pub fn library(&mut self, path: &Path) {
        self.line.database_path = Some(path.to_string_lossy().into_owned());
    }

    /// Notes the backup.
    pub fn backup(&mut self, path: &Path) {
        self.line.backup_path = Some(path.to_string_lossy().into_owned());
    }

    /// Notes what is known of the archive.
    pub fn archive(&mut self, size: u64, metadata: &Metadata) {
        self.line.archive_size_bytes = Some(size);
        self.line.database_size_bytes = Some(metadata.database_size_bytes);
        self.line.database_sha256.clone_from(&metadata.database_sha256);
    }

    /// Notes how many blocks an archive has, and how many of them were reused.
    pub fn blocks(&mut self, (blocks, reused): (u32, u32)) {
        (self.line.blocks, self.line.blocks_reused) = (Some(blocks), Some(reused));
    }

    /// Writes the line. A log that can't be written is told, but the work is done: it changes no result.
    pub fn end(mut self, result: &anyhow::Result<u8>) {
        let Some(file) = &self.file else { return };
        match result {
            Ok(code) => self.line.exit_code = *code,
            Err(error) => {
                let reported = error.downcast_ref::<cli::Reported>();
                self.line.exit_code = reported.map_or_else(|| failure::kind(error).code(), |r| r.status);
                self.line.error = Some(failure::describe(error));
            }
        }
        if self.line.exit_code != 0 {
            self.line.outcome = "failure";
        }
        self.line.duration_seconds = cli::seconds(self.started.elapsed());
        if let Err(error) = append(file, &self.line) {
            let shown = file.display();
            cli::note(&format!(
                "vpo-library: warning: cannot write the log '{shown}': {}",
                failure::describe(&error)
            ));
        }
    }
}

fn append(file: &Path, line: &Line) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(line).context("it can't be put into JSON")?;
    text.push(b'\n');
    // One write, so that lines of several runs never mix.
    open(file)?.write_all(&text)?;
    Ok(())
}

/// Opens the log for appending; a new one is private, whatever the umask.
fn open(file: &Path) -> io::Result<File> {
    match File::options().append(true).create_new(true).mode(0o600).open(file) {
        Ok(new) => {
            new.set_permissions(Permissions::from_mode(0o600))?;
            Ok(new)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => File::options().append(true).open(file),
        Err(error) => Err(error),
    }
}
