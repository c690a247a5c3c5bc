//! The standard streams and the terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{QueueSelector, tcflush};

use super::inherited::{Stream, was_closed};
use super::places::configuration;
use super::report::note;
use super::terminal::is_terminal;
use crate::backups::BackupName;
use crate::failure::Kind;
use crate::files::{Identity, Inputs};

/// A pipe of this size lets both ends work for a while without waiting for each other.
const PIPE_SIZE: usize = 1024 * 1024;

/// Makes sure that standard input is open.
///
/// # Errors
/// [`Kind::Failed`] if it was closed when the program was started.
pub fn require_input() -> anyhow::Result<()> {
    match was_closed(Stream::Input) {
        true => Err(Kind::Failed.error("standard input is closed")),
        false => Ok(()),
    }
}

/// Standard input, for reading.
///
/// # Errors
/// [`Kind::Failed`] if it was closed when the program was started.
pub fn standard_input() -> anyhow::Result<File> {
    require_input()?;
    let fd = io::stdin().as_fd().try_clone_to_owned();
    Ok(fd.context("cannot use standard input")?.into())
}

/// Standard input as binary data.
///
/// # Errors
/// [`Kind::Usage`] if it is a terminal. `what` says what should come, `hint` how.
pub fn binary_input(what: &str, hint: &str) -> anyhow::Result<File> {
    if is_terminal(io::stdin()) {
        return Err(Kind::Usage
            .because(format!("{what} is not read from a terminal"))
            .hint(hint)
            .into());
    }
    let file = standard_input()?;
    widen(&file);
    Ok(file)
}

/// Makes sure that standard output is open.
///
/// # Errors
/// [`Kind::Failed`] if it was closed when the program was started; [`Kind::Usage`] after [`protect`] has refused it.
pub fn require_output() -> anyhow::Result<()> {
    if INPUT.load(Ordering::Relaxed) {
        return Err(Kind::Usage.error("standard output is an input"));
    }
    match was_closed(Stream::Output) {
        true => Err(Kind::Failed.error("standard output is closed")),
        false => Ok(()),
    }
}

/// Standard output for binary data. What was written counts only when [`crate::files::close`] has closed it.
///
/// # Errors
/// [`Kind::Usage`] if it is a terminal; [`Kind::Failed`] if it was closed when the program was started.
pub fn binary_output(what: &str, hint: &str) -> anyhow::Result<File> {
    require_output()?;
    if is_terminal(io::stdout()) {
        return Err(Kind::Usage
            .because(format!("{what} is not written to a terminal"))
            .hint(hint)
            .into());
    }
    let fd = io::stdout().as_fd().try_clone_to_owned();
    let file = fd.context("cannot use standard output")?.into();
    widen(&file);
    Ok(file)
}

/// The archives that operands name, as what a run reads: files, the backups in directories, and '-' for standard input;
/// and the configuration file, which may have been read too.
pub fn archives(operands: impl IntoIterator<Item = impl AsRef<Path>>) -> Inputs {
    operands
        .into_iter()
        .fold(configuration(), |inputs, operand| match operand.as_ref() {
            stream if stream == "-" => inputs.open(io::stdin(), "standard input"),
            path => match path.read_dir() {
                Ok(entries) => entries
                    .flatten()
                    .filter(|entry| BackupName::parse(&entry.file_name().to_string_lossy()).is_some())
                    .fold(inputs, |inputs, entry| inputs.file(&entry.path())),
                Err(_) => inputs.file(path),
            },
        })
}

/// Refuses to go on if standard output is one of the files that are read: the report would be written into it.
///
/// # Errors
/// [`Kind::Usage`]; nothing is printed after that, not even a JSON document about this error.
pub fn protect(inputs: &Inputs) -> anyhow::Result<()> {
    let refused = inputs.refuse(Identity::of(io::stdout()), "standard output");
    INPUT.fetch_or(refused.is_err(), Ordering::Relaxed);
    refused
}

/// Standard output is an input.
static INPUT: AtomicBool = AtomicBool::new(false);

/// Flushes and closes standard output: only then is it known that the report was received. Nothing can be printed
/// afterwards.
pub fn close_output() -> anyhow::Result<()> {
    static CLOSED: AtomicBool = AtomicBool::new(false);
    if CLOSED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    // Nothing is lost on a terminal; and closing its last descriptor may send a hangup before the end.
    if is_terminal(io::stdout()) {
        return Ok(());
    }
    // SAFETY: the standard library never closes this descriptor, and takes an error for a write to a closed one as
    // success. No file is opened by this number, for the program is about to end.
    let close = || unsafe { rustix::io::try_close(io::stdout().as_raw_fd()) };
    let closed = io::stdout().flush().and_then(|()| Ok(close()?));
    closed.context("cannot write to standard output")
}

/// Makes a pipe larger, if the system allows it. Without that it works too, only slower.
fn widen(file: &File) {
    #[cfg(target_os = "linux")]
    if rustix::pipe::fcntl_getpipe_size(file).is_ok_and(|size| size < PIPE_SIZE) {
        let _ = rustix::pipe::fcntl_setpipe_size(file, PIPE_SIZE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, PIPE_SIZE);
}

/// Asks a question on the terminal; the question goes to stderr, and the answer comes from `/dev/tty`, so that
/// standard input can be the archive. `None` if stderr is not a terminal, or there is no terminal to ask on.
pub fn ask(question: &str) -> anyhow::Result<Option<String>> {
    ask_meanwhile(question, || ControlFlow::Break(None))
}

/// Asks like [`ask`], and until there is an answer asks `more` again and again for a text that completes the question on the
/// terminal, until it has given one or says that none will come. What was typed so far and not entered is forgotten then: it
/// was no answer to that.
pub fn ask_meanwhile(
    question: &str,
    mut more: impl FnMut() -> ControlFlow<Option<String>>,
) -> anyhow::Result<Option<String>> {
    if !is_terminal(io::stderr()) {
        return Ok(None);
    }
    let Ok(terminal) = File::open("/dev/tty") else {
        return Ok(None);
    };
    let mut stderr = io::stderr();
    stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush())
        .context("cannot ask")?;
    while !has_input(&terminal) {
        let ControlFlow::Break(text) = more() else {
            continue;
        };
        if let Some(text) = text.filter(|_| !has_input(&terminal)) {
            // What can't be flushed is entered with the answer, and seen by whoever looks.
            let _ = tcflush(&terminal, QueueSelector::IFlush);
            let _ = stderr.write_all(text.as_bytes());
        }
        break;
    }
    let mut answer = String::new();
    let read = BufReader::new(terminal).read_line(&mut answer);
    if !answer.ends_with('\n') {
        // Ctrl-D leaves the cursor after the question.
        note("");
    }
    read.context("cannot read the answer")?;
    Ok(Some(answer.trim().to_owned()))
}

/// True if reading from a terminal does not wait: a line was entered, or nobody is there any more.
fn has_input(terminal: &File) -> bool {
    let mut terminal = [PollFd::new(terminal, PollFlags::IN)];
    // Where it can't be asked, reading tells.
    !matches!(
        poll(&mut terminal, Some(&Timespec::default())),
        Ok(0) | Err(Errno::INTR)
    )
}
