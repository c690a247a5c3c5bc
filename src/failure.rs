//! What can go wrong, as finely as callers need: the kinds are the exit codes of the contract.

use std::path::{Path, PathBuf};
use std::{fmt, io};

/// The kinds of failure. The number of each is the exit status of a program that ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The person said no, or could not be asked; also any failure without a code of its own.
    Declined = 1,
    /// The command line or `config.toml` makes no sense.
    Usage = 2,
    /// The library, a backup or a named directory does not exist.
    NotFound = 20,
    /// An I/O error, or an output that already exists.
    Failed = 40,
    /// The library is damaged or not a VPO library; a stream that is not a complete database.
    Database = 42,
    /// Another process uses the library in a way that forbids the operation.
    Locked = 43,
    /// Not enough free space.
    NoSpace = 44,
    /// The backup's schema is newer than the installed VPO.
    SchemaTooNew = 45,
    /// Not a backup, or a damaged, truncated or hostile one.
    InvalidArchive = 46,
}

impl Kind {
    /// The exit status.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The kind that an exit status stands for; what no program here ends with is a failure like any other.
    pub fn of_code(code: u8) -> Self {
        use Kind::*;
        let kinds = [
            Declined,
            Usage,
            NotFound,
            Failed,
            Database,
            Locked,
            NoSpace,
            SchemaTooNew,
            InvalidArchive,
        ];
        kinds.into_iter().find(|kind| kind.code() == code).unwrap_or(Failed)
    }

    /// A failure of this kind. `message` is a phrase in lower case without a full stop.
    pub fn because(self, message: impl Into<String>) -> Failure {
        Failure {
            kind: self,
            message: message.into(),
            hint: None,
            directory: None,
            advice: None,
            source: None,
        }
    }

    /// An [`anyhow::Error`] of this kind.
    pub fn error(self, message: impl Into<String>) -> anyhow::Error {
        self.because(message).into()
    }
}

/// An error with its exit code and, where it helps, a hint about the next step.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    hint: Option<String>,
    directory: Option<PathBuf>,
    advice: Option<Advice>,
    source: Option<anyhow::Error>,
}

/// A next step that needs a command: only the command-line layer knows how the person would type it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The library is damaged; the newest backup can replace it.
    RestoreLatest,
    /// The library to be replaced can't be kept where it should be.
    KeepElsewhere,
    /// This database must be read by `vpo-snapshot`, not as a file.
    Snapshot(PathBuf),
}

impl Failure {
    /// Adds the next step that a person can take.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the directory that is full.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Adds the next step, where it needs a command.
    pub fn advise(mut self, advice: Advice) -> Self {
        self.advice = Some(advice);
        self
    }

    /// Adds the error that led to this one; it is printed after the message.
    pub fn source(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|e| e.as_ref())
    }
}

/// The kind of an error: the first of its causes that has one decides.
pub fn kind(error: &anyhow::Error) -> Kind {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return failure.kind;
        }
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return io_kind(error);
        }
        if let Some(error) = cause.downcast_ref::<rusqlite::Error>() {
            return sqlite_kind(error);
        }
    }
    Kind::Declined
}

/// An error and its causes on one line.
pub fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        if !text.is_empty() {
            text.push_str(": ");
        }
        let phrase = cause.to_string();
        match cause.is::<io::Error>() {
            true => text.push_str(&without_numbers(&phrase)),
            // A file may have this name.
            false => text.push_str(&phrase),
        }
        // SQLite's message says everything; its cause only repeats it as a number.
        if cause.is::<rusqlite::Error>() {
            break;
        }
    }
    text
}

/// Leaves out the numbers of the system's errors, which the standard library appends to their names: ` (os error 28)`.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    out
}

/// The hint of an error, if one of its causes has one.
pub fn hint(error: &anyhow::Error) -> Option<&str> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>()?.hint.as_deref())
}

/// The full directory, if one of the causes of an error knows it.
pub fn full_directory(error: &anyhow::Error) -> Option<&Path> {
    error.chain().find_map(|cause| {
        let within = cause.downcast_ref::<io::Error>().and_then(inside);
        let failure = cause.downcast_ref::<Failure>().or(within)?;
        failure.directory.as_deref()
    })
}

/// The advice of an error, if one of its causes has one.
pub fn advice(error: &anyhow::Error) -> Option<&Advice> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<Failure>()?.advice.as_ref())
}

/// The same error with another hint.
pub fn with_hint(error: anyhow::Error, hint: impl Into<String>) -> anyhow::Error {
    kind(&error).because(describe(&error)).hint(hint).into()
}

/// True if the device or quota is full.
pub fn is_full(error: &io::Error) -> bool {
    // By kind: some errors wrap the system's, and keep only its kind.
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The failure that a reader or writer of ours has put into an [`io::Error`].
pub fn inside(error: &io::Error) -> Option<&Failure> {
    error.get_ref()?.downcast_ref()
}

fn io_kind(error: &io::Error) -> Kind {
    if let Some(failure) = inside(error) {
        failure.kind
    } else if is_full(error) {
        Kind::NoSpace
    } else {
        Kind::Failed
    }
}

/// SQLite's result codes (<https://www.sqlite.org/rescode.html>) as exit codes.
fn sqlite_kind(error: &rusqlite::Error) -> Kind {
    use rusqlite::ErrorCode as Code;
    match error.sqlite_error_code() {
        Some(Code::DatabaseBusy | Code::DatabaseLocked | Code::FileLockingProtocolFailed) => Kind::Locked,
        Some(Code::DiskFull) => Kind::NoSpace,
        Some(
            Code::SystemIoFailure
            | Code::CannotOpen
            | Code::PermissionDenied
            | Code::ReadOnly
            | Code::OutOfMemory
            | Code::OperationInterrupted,
        ) => Kind::Failed,
        _ => Kind::Database,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_no_numbers_of_the_system() {
        let full = || io::Error::from_raw_os_error(28);
        let error = anyhow::Error::new(full()).context("cannot write 'x (os error 5)'");
        assert_eq!(
            describe(&error),
            "cannot write 'x (os error 5)': No space left on device"
        );
        let error = io::Error::other(format!("{} at path 'x'", full()));
        assert_eq!(describe(&error.into()), "No space left on device at path 'x'");
    }
}
