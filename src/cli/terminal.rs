//! What is different if a person is watching: width, colour.

use std::io;
use std::os::fd::AsFd;

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
