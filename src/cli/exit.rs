//! The one door out of every program: a result becomes an exit status, a line on stderr and, with `--json`, a document.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;
use signal_hook::consts::SIGPIPE;

use super::report::print_json;
use super::text::escape;
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

/// Runs a program. `run` gives its exit status, or the error that becomes one.
pub fn main(program: &str, run: impl FnOnce(lexopt::Parser) -> anyhow::Result<u8>) -> ExitCode {
    let result = signals::listen()
        .map_err(|error| anyhow::Error::new(error).context("cannot listen to signals"))
        .and_then(|()| run(lexopt::Parser::from_env()));
    // What was interrupted by a signal ends by it, not by the error that it led to.
    if let Some(signal) = signals::pending() {
        signals::end_by(signal);
    }
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) if error.is::<Done>() => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => signals::end_by(SIGPIPE),
        Err(error) => fail(program, &error),
    }
}

/// A failure whose line somebody else has printed.
#[derive(Debug)]
pub struct Reported {
    /// The exit status.
    pub status: u8,
    /// The message, for the JSON document.
    pub message: String,
    /// The JSON document, if it was asked for, has been printed too.
    pub documented: bool,
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Reported {}

/// The context of a failure whose JSON document has been printed.
#[derive(Debug)]
pub(super) struct Documented(pub(super) &'static str);

impl fmt::Display for Documented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

fn fail(program: &str, error: &anyhow::Error) -> ExitCode {
    if let Some(reported) = error.downcast_ref::<Reported>() {
        if !reported.documented {
            document(&reported.message, reported.status);
        }
        return ExitCode::from(reported.status);
    }
    let usage = error.is::<lexopt::Error>();
    let kind = if usage { Kind::Usage } else { kind(error) };
    let message = describe(error);
    let mut line = format!("{program}: {}\n", escape(&message));
    match hint(error) {
        Some(hint) => line.push_str(&format!("hint: {}\n", escape(hint))),
        None if kind == Kind::Usage => line.push_str(&format!("hint: '{program} --help' lists the options\n")),
        None => {}
    }
    // Nobody is left to be told when stderr is gone too.
    let _ = io::stderr().write_all(line.as_bytes());
    if !error.is::<Documented>() {
        document(&message, kind.code());
    }
    ExitCode::from(kind.code())
}

/// Prints the JSON document of a failure, if one was asked for.
fn document(message: &str, status: u8) {
    if wants_json() {
        let report = json!({"success": false, "error": message, "exit_code": status});
        if print_json(&report).is_err_and(|error| is_closed_pipe(&error)) {
            signals::end_by(SIGPIPE);
        }
    }
}

/// True if the reader of the program's output went away.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether `--json` was asked for: needed also where the command line could not be read to its end.
fn wants_json() -> bool {
    let mut args = std::env::args_os().skip(1).take_while(|arg| arg != "--").peekable();
    while let Some(arg) = args.next() {
        let value = args.peek().is_some_and(|value| value == "json");
        if arg == "--json" || arg == "--format=json" || (arg == "--format" && value) {
            return true;
        }
    }
    false
}
