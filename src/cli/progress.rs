//! The progress bar on stderr.

use std::fmt::Write;
use std::io::{self, Read};

use super::terminal::is_capable;
use crate::size::human;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Draws how much of something is done. Where it was not asked for, or stderr is not a terminal, it draws nothing.
///
/// It is drawn anew when something was done, not by a clock: indicatif's is a thread, and a panic where none can be
/// started.
#[derive(Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Bytes out of `total`; how far it is without a percentage where that is not known.
    pub fn new(wanted: bool, total: Option<u64>) -> Self {
        let wanted = wanted && is_capable();
        let target = if wanted {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => "{wide_bar} {done} of {size} {rate} {eta}",
            None => "{spinner} {done} {rate}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            // The same units as in the reports. What can't be drawn is not drawn.
            let style = style
                .with_key("done", |state: &ProgressState, out: &mut dyn Write| {
                    let _ = write!(out, "{}", human(state.pos()));
                })
                .with_key("size", |state: &ProgressState, out: &mut dyn Write| {
                    let _ = write!(out, "{}", human(state.len().unwrap_or(0)));
                })
                .with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
                    let _ = write!(out, "{}/s", human(state.per_sec() as u64));
                });
            bar.set_style(style.progress_chars("=> "));
        }
        Progress(bar)
    }

    /// Counts `bytes` more.
    pub fn add(&self, bytes: usize) {
        self.0.inc(bytes as u64);
    }

    /// Says something in the place of the bar.
    pub fn say(&self, text: &str) {
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            self.0.reset();
            self.0.set_style(style);
            self.0.set_message(text.to_owned());
            self.0.tick();
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }

    /// Counts what is read from `input`.
    pub fn reading<R: Read>(&self, input: R) -> impl Read + use<R> {
        Counted {
            input,
            progress: self.clone(),
        }
    }
}

struct Counted<R> {
    input: R,
    progress: Progress,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.progress.add(n);
        Ok(n)
    }
}
