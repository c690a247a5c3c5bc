//! The one door out of every program: a result becomes an exit status, a line on stderr and, with `--json`, a document.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::json;
use signal_hook::consts::SIGPIPE;

use super::report::print_json;
use super::text::escape;
use crate::failure::{Kind, hint, kind};
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

fn fail(program: &str, error: &anyhow::Error) -> ExitCode {
    let usage = error.is::<lexopt::Error>();
    let kind = if usage { Kind::Usage } else { kind(error) };
    let message = format!("{error:#}");
    let mut line = format!("{program}: {}\n", escape(&message));
    match hint(error) {
        Some(hint) => line.push_str(&format!("hint: {}\n", escape(hint))),
        None if kind == Kind::Usage => line.push_str(&format!("hint: '{program} --help' lists the options\n")),
        None => {}
    }
    // Nobody is left to be told when stderr is gone too.
    let _ = io::stderr().write_all(line.as_bytes());
    if wants_json() {
        let report = json!({"success": false, "error": message, "exit_code": kind.code()});
        if print_json(&report).is_err_and(|error| is_closed_pipe(&error)) {
            signals::end_by(SIGPIPE);
        }
    }
    ExitCode::from(kind.code())
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
