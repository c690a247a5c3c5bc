//! The standard streams and the terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;

use anyhow::Context;

use super::terminal::is_terminal;
use crate::failure::Kind;

/// A pipe of this size lets both ends work for a while without waiting for each other.
const PIPE_SIZE: usize = 1024 * 1024;

/// Standard input, for reading.
pub fn standard_input() -> anyhow::Result<File> {
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

/// Standard output for binary data.
///
/// # Errors
/// [`Kind::Usage`] if it is a terminal.
pub fn binary_output(what: &str, hint: &str) -> anyhow::Result<File> {
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

/// Makes a pipe larger, where the system lets us. It works without, only slower.
fn widen(file: &File) {
    #[cfg(target_os = "linux")]
    if rustix::pipe::fcntl_getpipe_size(file).is_ok_and(|size| size < PIPE_SIZE) {
        let _ = rustix::pipe::fcntl_setpipe_size(file, PIPE_SIZE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, PIPE_SIZE);
}

/// Asks a question on the terminal; the question goes to stderr, and the answer comes from `/dev/tty`, so that
/// standard input can be the archive. `None` if stderr is no terminal, or there is none to ask on.
pub fn ask(question: &str) -> anyhow::Result<Option<String>> {
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
    let mut answer = String::new();
    BufReader::new(terminal)
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(Some(answer.trim().to_owned()))
}
