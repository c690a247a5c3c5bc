//! What `vpo-library` and the programs that it runs tell each other: it gives them the command line that a person may
//! paste, they give it the error that they print.
//!
//! An environment variable holds both: the number of a pipe's descriptor, a space, the command line. Reports and
//! prompts need the real standard error, so that the pipe is one of its own.

use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;

use super::command::CommandLine;
use super::places::variable;
use super::text::escape;
use crate::files::inherited;

/// The environment variable.
pub const VARIABLE: &str = "VPO_LIBRARY_CALLER";

const ERROR: &str = "error ";
const HINT: &str = "hint ";
const RESTORED: &str = "restored";

/// Longer messages have been cut already.
const MAX_LENGTH: u64 = 64 * 1024;

/// What a program told the wrapper that ran it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its error, without its name.
    pub error: Option<String>,
    /// The hint that came with it.
    pub hint: Option<String>,
    /// The library was replaced, whatever happened afterwards.
    pub restored: bool,
}

impl Told {
    /// Reads what a program that has ended reported.
    pub fn read(pipe: impl Read) -> Self {
        let mut text = Vec::new();
        // What can't be read can't be reported.
        let _ = pipe.take(MAX_LENGTH).read_to_end(&mut text);
        let mut told = Told::default();
        for line in String::from_utf8_lossy(&text).lines() {
            match (line.strip_prefix(ERROR), line.strip_prefix(HINT)) {
                (Some(error), _) => told.error = Some(error.into()),
                (_, Some(hint)) => told.hint = Some(hint.into()),
                _ => told.restored |= line == RESTORED,
            }
        }
        told
    }
}

/// The value of [`VARIABLE`] for a program that inherits `descriptor`.
pub fn value(descriptor: i32, line: &CommandLine) -> String {
    format!("{descriptor} {}", line.text().unwrap_or_default())
}

/// The command line of the wrapper that runs this program.
pub(super) fn command_line() -> Option<CommandLine> {
    let value = variable(VARIABLE)?;
    let (_, line) = value.to_str()?.split_once(' ')?;
    Some(CommandLine::made(line))
}

/// Tells the wrapper, if one runs this program, the error that it ends with.
pub(super) fn tell_error(message: &str, hint: Option<&str>) {
    let mut text = format!("{ERROR}{}\n", escape(message));
    if let Some(hint) = hint {
        text.push_str(&format!("{HINT}{}\n", escape(hint)));
    }
    tell(&text);
}

/// Tells the wrapper, if one runs this program, that the library is replaced.
pub fn tell_restored() {
    tell(&format!("{RESTORED}\n"));
}

fn tell(text: &str) {
    let descriptor = variable(VARIABLE).and_then(|value| value.to_str()?.split_once(' ')?.0.parse().ok());
    // The standard streams are for others.
    let descriptor = descriptor.filter(|number| *number > 2);
    let Some(Ok(mut pipe)) = descriptor.map(inherited) else {
        return;
    };
    // The variable may be a stranger's.
    if pipe.metadata().is_ok_and(|meta| meta.file_type().is_fifo()) {
        // Where nobody listens any more, nobody has to know.
        let _ = pipe.write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_read() {
        let told = Told::read(&b"restored\nerror why: because\nhint do it\n"[..]);
        assert_eq!(told.error.as_deref(), Some("why: because"));
        assert_eq!(told.hint.as_deref(), Some("do it"));
        assert!(told.restored);
        assert_eq!(Told::read(&b"noise"[..]), Told::default());
    }
}
