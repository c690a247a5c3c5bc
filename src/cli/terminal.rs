//! What is different if a person is watching: width, colour.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::getpgrp;
use rustix::termios::{tcgetpgrp, ttyname};

use super::places::variable;

/// The columns and the rows of a terminal, 80 and 24 where it does not tell; `None` if the stream is not a terminal.
pub fn size(stream: impl AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    let told = |n: u16, otherwise| if n > 0 { usize::from(n) } else { otherwise };
    Some((told(size.ws_col, 80), told(size.ws_row, 24)))
}

/// True if a stream is a terminal.
pub fn is_terminal(stream: impl AsFd) -> bool {
    rustix::termios::isatty(stream)
}

/// True if the terminal can do more than print lines.
pub fn is_capable() -> bool {
    variable("TERM").is_some_and(|term| term != "dumb")
}

/// Empties the line at the cursor, at once or not at all: a terminal may be stopped, or be somebody else's by now. What is
/// shared with other processes is not made non-blocking for that; the terminal is opened anew.
pub fn wipe_line(terminal: impl AsFd) {
    if tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp())
        && let Ok(name) = ttyname(&terminal, Vec::new())
        && let Ok(terminal) = open(
            name,
            OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )
    {
        // A courtesy.
        let _ = File::from(terminal).write_all(b"\r\x1b[2K");
    }
}

/// A word for something good, in green if standard output shows colour.
pub fn good(word: &str) -> String {
    coloured(word, 32)
}

/// A word for something bad, in red if standard output shows colour.
pub fn bad(word: &str) -> String {
    coloured(word, 31)
}

/// A word for something unknown, in yellow if standard output shows colour.
pub fn doubtful(word: &str) -> String {
    coloured(word, 33)
}

/// Colour is a courtesy to a terminal, unless NO_COLOR is set (<https://no-color.org>).
fn coloured(word: &str, colour: u8) -> String {
    if is_terminal(io::stdout()) && is_capable() && variable("NO_COLOR").is_none() {
        format!("\x1b[{colour}m{word}\x1b[m")
    } else {
        word.to_owned()
    }
}
