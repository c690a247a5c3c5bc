//! The one door out of every program: a result becomes an exit status, a line on stderr and, with `--json`, a document.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;
use signal_hook::consts::SIGPIPE;

use super::caller::tell_error;
use super::command::help;
use super::report::print_json;
use super::streams::close_output;
use super::text::escape;
use super::usage::{asked, nearest_option};
use crate::failure::{Kind, describe, hint, kind};
use crate::signals;

/// Help or version was printed: there is nothing more to do.
#[derive(Debug)]
pub(super) struct Done;

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("done")
    }
}

impl std::error::Error for Done {}

/// Runs a program; `usage` is its help text. `run` returns its exit status, or the error that becomes one.
///
/// It has succeeded only if standard output could be closed without an error.
pub fn main(program: &str, usage: &str, run: impl FnOnce(lexopt::Parser) -> anyhow::Result<u8>) -> ExitCode {
    let result = signals::listen()
        .map_err(|error| anyhow::Error::new(error).context("cannot listen to signals"))
        .and_then(|()| run(lexopt::Parser::from_env()));
    let result = match result {
        Err(error) if error.is::<Done>() => Ok(0),
        result => result,
    };
    let (status, error) = match result {
        Ok(status) => (status, close_output().err()),
        Err(error) => (0, Some(error)),
    };
    // A run that a signal interrupted ends by that signal, not with the error that it led to.
    if let Some(signal) = signals::pending() {
        signals::end_by(signal);
    }
    match error {
        None => ExitCode::from(status),
        Some(error) if is_closed_pipe(&error) => signals::end_by(SIGPIPE),
        Some(error) => {
            let failed = fail(program, usage, &error);
            // A report that was lost is not a success: a bad status stays, whatever the report said.
            ExitCode::from(if status == 0 { failed } else { status })
        }
    }
}

/// A failure whose line another program has printed.
#[derive(Debug)]
pub struct Reported {
    /// The exit status.
    pub status: u8,
    /// The message, for the JSON document.
    pub message: String,
    /// The hint that came with it.
    pub hint: Option<String>,
    /// The JSON document, if it was asked for, has been printed too.
    pub json_printed: bool,
}

impl Reported {
    /// The same failure as an error of this program, which nobody has printed.
    pub fn as_own(self, what: &str) -> anyhow::Error {
        let failure = Kind::of_code(self.status).because(format!("{what}: {}", self.message));
        match self.hint {
            Some(hint) => failure.hint(hint).into(),
            None => failure.into(),
        }
    }
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Reported {}

/// The context of a failure whose JSON document has been printed.
#[derive(Debug)]
pub(super) struct JsonPrinted(pub(super) &'static str);

impl fmt::Display for JsonPrinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The status that a shell shows for a program that `signal` has ended.
pub fn signal_status(signal: i32) -> u8 {
    // Signals have numbers up to 64.
    128 + u8::try_from(signal).unwrap_or_default()
}

/// The status that a program ends with for this error, as a shell sees it.
pub fn status(error: &anyhow::Error) -> u8 {
    if let Some(reported) = error.downcast_ref::<Reported>() {
        return reported.status;
    }
    match error.is::<lexopt::Error>() {
        true => Kind::Usage.code(),
        false if is_closed_pipe(error) => signal_status(SIGPIPE),
        false => kind(error).code(),
    }
}

/// Reports a failure, and returns the exit status.
fn fail(program: &str, usage: &str, error: &anyhow::Error) -> u8 {
    if let Some(reported) = error.downcast_ref::<Reported>() {
        if !reported.json_printed {
            document(usage, &reported.message, reported.hint.as_deref(), reported.status);
        }
        return reported.status;
    }
    let wrong = error.downcast_ref::<lexopt::Error>();
    let kind = if wrong.is_some() { Kind::Usage } else { kind(error) };
    let message = describe(error);
    let mut line = format!("{program}: {}\n", escape(&message));
    let meant = match wrong {
        Some(lexopt::Error::UnexpectedOption(option)) => nearest_option(usage, option),
        _ => None,
    };
    let hint = match (hint(error), meant) {
        (Some(hint), _) => Some(hint.to_owned()),
        (None, Some(meant)) => Some(format!("did you mean '{meant}'?")),
        (None, None) if kind == Kind::Usage => {
            let command = asked(usage, lexopt::Parser::from_env()).command;
            Some(help(program, command.as_deref()).after("for the options"))
        }
        (None, None) => None,
    };
    if let Some(hint) = &hint {
        line.push_str(&format!("hint: {}\n", escape(hint)));
    }
    tell_error(&message, hint.as_deref());
    // If stderr is gone too, nobody is left to tell.
    let _ = io::stderr().write_all(line.as_bytes());
    if !error.is::<JsonPrinted>() {
        document(usage, &message, hint.as_deref(), kind.code());
    }
    kind.code()
}

/// Prints the JSON document of a failure, if one was asked for.
fn document(usage: &str, message: &str, hint: Option<&str>, status: u8) {
    if asked(usage, lexopt::Parser::from_env()).json {
        let mut report = json!({"success": false, "error": message, "exit_code": status});
        if let Some(hint) = hint {
            report["hint"] = hint.into();
        }
        if print_json(&report).is_err_and(|error| is_closed_pipe(&error)) {
            signals::end_by(SIGPIPE);
        }
    }
}

/// True if the reader of the program's output went away.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
