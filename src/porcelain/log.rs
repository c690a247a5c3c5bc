//! The log: one JSON line for each backup, restore, verify and prune.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context;
use rustix::fs::OFlags;
use serde::Serialize;

use crate::archive::Metadata;
use crate::cli;
use crate::failure;
use crate::files::{Identity, Inputs, give_to_owner, parent};
use crate::signals::{self, SignalGuard};
use crate::time::Time;

/// What is known about one run, and where to write it.
///
/// A signal may end the process at any moment, and the line is written then, too; so it is shared with the signal
/// thread, and whichever of the two writes it takes it.
pub struct Log {
    started: Instant,
    prepared: Option<Entry>,
    entry: Arc<Mutex<Option<Entry>>>,
    restored: bool,
    guard: Option<SignalGuard>,
}

struct Entry {
    file: PathBuf,
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
    // As text: JSON has no other names, and one that is not UTF-8 must not lose the line.
    database_path: Option<String>,
    backup_path: Option<String>,
    archive_size_bytes: Option<u64>,
    database_size_bytes: Option<u64>,
    database_sha256: Option<String>,
    blocks: Option<u32>,
    blocks_reused: Option<u32>,
    removed: Option<Vec<String>>,
    kept_count: Option<u64>,
    freed_bytes: Option<u64>,
    duration_seconds: f64,
}

impl Log {
    /// Begins the line of a command; without `file` nothing will be written.
    pub fn begin(file: Option<PathBuf>, command: &'static str) -> Self {
        let started = Instant::now();
        let wanted = file.is_some();
        let prepared = file.map(|file| Entry {
            file,
            started,
            line: Line::begin(command),
        });
        let entry = Arc::default();
        if wanted {
            let entry: Arc<Mutex<_>> = Arc::clone(&entry);
            signals::at_end(move |signal| {
                let error = format!("ended by signal {signal}");
                write(&entry, "failure", cli::signal_status(signal), Some(error));
            });
        }
        Log {
            started,
            prepared,
            entry,
            restored: false,
            guard: None,
        }
    }

    /// Names what the run reads, which standard output and the log must not be, and what it makes, which the log must not
    /// be. Before that nothing is written into the log.
    ///
    /// # Errors
    /// [`crate::failure::Kind::Usage`]; a log that is one of them gets no line.
    pub fn protect(&mut self, inputs: &Inputs, made: &Inputs) -> anyhow::Result<()> {
        let refused = self.prepared.take().map_or(Ok(()), |entry| {
            let shown = format!("the log '{}'", entry.file.display());
            let file = Identity::at(&entry.file);
            inputs.refuse(file.clone(), &shown)?;
            made.refuse(file, &shown)?;
            *lock(&self.entry) = Some(entry);
            Ok(())
        });
        cli::protect(inputs).and(refused)
    }

    /// When the command began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Notes the library.
    pub fn library(&self, path: &Path) {
        self.note(|line| line.database_path = Some(absolute(path)));
    }

    /// Notes the backup.
    pub fn backup(&self, path: &Path) {
        self.note(|line| line.backup_path = Some(absolute(path)));
    }

    /// Notes what is known of the archive.
    pub fn archive(&self, size: u64, metadata: &Metadata) {
        self.note(|line| {
            line.archive_size_bytes = Some(size);
            line.database_size_bytes = Some(metadata.database_size_bytes);
            line.database_sha256.clone_from(&metadata.database_sha256);
        });
    }

    /// Notes that the library has been replaced, whatever happens next.
    pub fn restored(&mut self) {
        self.restored = true;
    }

    /// From here to the end of the command signals wait: what was done is reported first.
    pub fn hold(&mut self) {
        self.guard.get_or_insert_with(SignalGuard::new);
    }

    /// Notes how many blocks an archive has, and how many of them were reused.
    pub fn blocks(&self, (blocks, reused): (u32, u32)) {
        self.note(|line| (line.blocks, line.blocks_reused) = (Some(blocks), Some(reused)));
    }

    /// Notes which backups were removed, how many stay, and how many bytes are free now.
    pub fn pruned(&self, removed: Vec<String>, kept_count: usize, freed_bytes: u64) {
        self.note(|line| {
            line.removed = Some(removed);
            line.kept_count = Some(kept_count as u64);
            line.freed_bytes = Some(freed_bytes);
        });
    }

    /// Writes the line. A log that can't be written causes a warning, but the work is done: it changes no result.
    pub fn end(self, result: &anyhow::Result<u8>) {
        let code = match (signals::pending(), result) {
            (Some(signal), _) => cli::signal_status(signal),
            (None, Ok(code)) => *code,
            (None, Err(error)) => cli::status(error),
        };
        let error = match result {
            Ok(0) => None,
            Ok(code) => Some(format!("ended with status {code}")),
            Err(error) => Some(failure::describe(error)),
        };
        let outcome = match (&error, self.restored, signals::pending()) {
            (None, ..) | (_, true, Some(_)) => "success",
            _ => "failure",
        };
        write(&self.entry, outcome, code, error);
    }

    fn note(&self, change: impl FnOnce(&mut Line)) {
        if let Some(entry) = &mut *lock(&self.entry) {
            change(&mut entry.line);
        }
    }
}

impl Line {
    fn begin(command: &'static str) -> Self {
        Line {
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
            removed: None,
            kept_count: None,
            freed_bytes: None,
            duration_seconds: 0.0,
        }
    }
}

/// A path that is still right wherever the log is read; `-` is not a path.
fn absolute(path: &Path) -> String {
    let absolute = match path.to_str() {
        Some("-") => path.to_owned(),
        _ => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
    };
    absolute.to_string_lossy().into_owned()
}

fn lock(entry: &Mutex<Option<Entry>>) -> MutexGuard<'_, Option<Entry>> {
    // Nothing that holds this lock can panic half-way through a change.
    entry.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Completes the line and writes it, unless that has been done. The lock is held meanwhile: the process can't end
/// before it is written.
fn write(entry: &Mutex<Option<Entry>>, outcome: &'static str, exit_code: u8, error: Option<String>) {
    let mut entry = lock(entry);
    let Some(Entry { file, started, line }) = entry.take() else {
        return;
    };
    let line = Line {
        outcome,
        exit_code,
        error,
        duration_seconds: cli::seconds(started.elapsed()),
        ..line
    };
    if let Err(error) = append(&file, &line) {
        let shown = file.display();
        cli::note(&format!(
            "vpo-library: warning: cannot write the log '{shown}': {}",
            failure::describe(&error)
        ));
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
            give_to_owner(&new, parent(file));
            Ok(new)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A FIFO without a reader must not block: the work is done, and signals wait for the line to be written.
            let nonblock = OFlags::NONBLOCK.bits() as i32;
            File::options().append(true).custom_flags(nonblock).open(file)
        }
        Err(error) => Err(error),
    }
}
