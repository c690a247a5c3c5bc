//! One line on the terminal that says what is being done, and how far it is. Afterwards it is gone.

use std::cell::Cell;
use std::fmt::Write;
use std::io::{self, Read, Write as _};
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};

use super::terminal::{is_capable, is_terminal, size, wipe_line};
use super::text::{columns, cut_end, escape};
use crate::signals;
use crate::size::human;

/// What is done in less time says nothing about how long the rest takes.
const MEANINGFUL: Duration = Duration::from_millis(500);
/// The columns of a rate and of the time left, so that what stands beside them stays where it is.
const RATE_COLUMNS: usize = "1023.9 MB/s".len();
const LEFT_COLUMNS: usize = "59 min left".len();
/// A bar has so many columns at least, and at most.
const BAR_COLUMNS: (usize, usize) = (10, 40);
/// Between the parts of the line.
const GAP: usize = 2;
/// After them: the terminal echoes `^C` there, and some go on to the next line when the last column is written.
const MARGIN: usize = 3;
/// How often it is drawn in a second, at most.
const HZ: u8 = 20;

/// Draws the line. Unless it was asked for, and stderr is a terminal that can do more than print lines, it draws nothing.
///
/// It is drawn again when something was done, not by a clock: indicatif's is a thread, and a panic where none can be started.
pub struct Progress {
    bar: ProgressBar,
    since: Cell<Instant>,
    /// Whether the line is there.
    drawn: Arc<AtomicBool>,
}

impl Progress {
    /// Draws nothing before something is begun.
    pub fn new(wanted: bool) -> Self {
        let draws = wanted && is_terminal(io::stderr()) && is_capable();
        let target = match draws {
            true => ProgressDrawTarget::term_like_with_hz(Box::new(OneLine::default()), HZ),
            false => ProgressDrawTarget::hidden(),
        };
        let drawn = Arc::new(AtomicBool::new(false));
        if draws {
            let drawn = Arc::clone(&drawn);
            signals::at_end(move |_| {
                if drawn.load(Ordering::SeqCst) {
                    wipe_line(io::stderr());
                }
            });
        }
        Progress {
            bar: ProgressBar::with_draw_target(None, target),
            since: Cell::new(Instant::now()),
            drawn,
        }
    }

    /// Says what is being done from here on, and of how many bytes it is done, if that is known.
    pub fn begin(&self, doing: &str, total: Option<u64>) {
        self.since.set(Instant::now());
        // First of all: each of these draws.
        self.style(doing);
        self.bar.reset();
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.draw();
    }

    /// Says something else about the same bytes.
    pub fn say(&self, doing: &str) {
        self.style(doing);
        if self.bar.is_finished() {
            let done = self.bar.position();
            self.bar.reset();
            self.bar.set_position(done);
        }
        self.draw();
    }

    /// Draws now, also if something else was drawn a moment ago.
    fn draw(&self) {
        self.bar.suspend(|| ());
    }

    /// The columns that there are for the line.
    pub fn room() -> usize {
        let width = size(io::stderr()).map_or(80, |(width, _)| width);
        width.saturating_sub(MARGIN)
    }

    fn style(&self, doing: &str) {
        if let Ok(style) = ProgressStyle::with_template("{line}") {
            let (doing, since) = (doing.to_owned(), self.since.get());
            let drawn = Arc::clone(&self.drawn);
            let draw = move |state: &ProgressState, out: &mut dyn Write| {
                drawn.store(true, Ordering::SeqCst);
                // The line is gone, or will be.
                if signals::pending().is_some() {
                    return;
                }
                let line = Line {
                    doing: &doing,
                    total: state.len(),
                    done: state.pos(),
                };
                // What can't be drawn is not drawn.
                let _ = out.write_str(&line.text(since.elapsed(), Self::room()));
            };
            self.bar.set_style(style.with_key("line", draw));
        }
    }

    /// Counts `bytes` more.
    pub fn add(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
    }

    /// Takes the line away. Whatever is said afterwards draws it again.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
        self.drawn.store(false, Ordering::SeqCst);
    }

    /// Counts what is read from `input`.
    pub fn reading<R: Read>(&self, input: R) -> impl Read + use<R> {
        self.bar.wrap_read(input)
    }
}

/// Standard error, as indicatif draws one line on it. It pads the line to the last column, which is left out: what the
/// terminal echoes after that would be on the next line.
#[derive(Debug, Default)]
struct OneLine {
    unwritten: Mutex<String>,
}

impl OneLine {
    fn push(&self, text: &str) -> io::Result<()> {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        unwritten.push_str(text);
        Ok(())
    }
}

impl TermLike for OneLine {
    fn width(&self) -> u16 {
        let columns = size(io::stderr()).map_or(80, |(columns, _)| columns);
        u16::try_from(columns).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.push(text.trim_end_matches(' '))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        io::stderr().write_all(mem::take(&mut *unwritten).as_bytes())
    }
}

/// What the line says.
struct Line<'a> {
    doing: &'a str,
    total: Option<u64>,
    done: u64,
}

impl Line<'_> {
    /// The line `elapsed` after it was begun, in at most `width` columns.
    ///
    /// What is whole is not told as a share: something else is being done then.
    fn text(&self, elapsed: Duration, width: usize) -> String {
        let mut room = width;
        let doing = cut_end(&escape(self.doing), room);
        room -= columns(&doing);
        let Some(total) = self.total.filter(|total| self.done > 0 && self.done < *total) else {
            let counted = self.total.is_none() && self.done > 0;
            let parts = [human(self.done), self.rate(elapsed).unwrap_or_default()];
            let parts = parts.into_iter().filter(|part| counted && !part.is_empty());
            return parts.fold(doing, |line, part| match columns(&line) + GAP + part.len() <= width {
                true => format!("{line}  {part}"),
                false => line,
            });
        };
        let mut fits = |columns: usize| {
            let fits = GAP + columns <= room;
            room -= if fits { GAP + columns } else { 0 };
            fits
        };
        let share = fits("99%".len()).then(|| format!("  {:>2}%", percent(self.done, total)));
        let left = share.is_some() && fits(LEFT_COLUMNS);
        let rate = left && fits(RATE_COLUMNS);
        let bar = room.saturating_sub(GAP + 2).min(BAR_COLUMNS.1);
        let bar = (rate && bar >= BAR_COLUMNS.0).then(|| bar_of(self.done, total, bar));
        let rate = rate.then(|| format!("  {:>RATE_COLUMNS$}", self.rate(elapsed).unwrap_or_default()));
        let left = left.then(|| self.time_left(elapsed, total)).flatten();
        let left = left.map(|left| format!("  {left}"));
        let parts = [Some(doing), bar, share, rate, left];
        let line: String = parts.into_iter().flatten().collect();
        line.trim_end().to_owned()
    }

    fn rate(&self, elapsed: Duration) -> Option<String> {
        let rate = self.done as f64 / elapsed.as_secs_f64();
        (elapsed >= MEANINGFUL).then(|| format!("{}/s", human(rate as u64)))
    }

    fn time_left(&self, elapsed: Duration, total: u64) -> Option<String> {
        let left = elapsed.as_secs_f64() * (total - self.done) as f64 / self.done as f64;
        // A day is far enough ahead.
        let seconds = left.ceil().clamp(1.0, 86400.0) as u64;
        (elapsed >= MEANINGFUL).then(|| match seconds {
            0..60 => format!("{seconds} s left"),
            60..3600 => format!("{} min left", seconds.div_ceil(60).min(59)),
            _ => format!("{} h left", seconds.div_ceil(3600)),
        })
    }
}

/// How much is done, in whole hundredths.
fn percent(done: u64, total: u64) -> u128 {
    u128::from(done) * 100 / u128::from(total.max(1))
}

fn bar_of(done: u64, total: u64, columns: usize) -> String {
    // At most `columns`, for less than all is done.
    let full = (u128::from(done) * columns as u128 / u128::from(total.max(1))) as usize;
    let head = if full < columns { ">" } else { "" };
    format!("  [{:<columns$}]", format!("{}{head}", "=".repeat(full)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(doing: &str, total: Option<u64>, done: u64) -> Line<'_> {
        Line { doing, total, done }
    }

    #[test]
    fn what_fits_is_shown() {
        let half = line("unpacking", Some(100 << 20), 45 << 20);
        let second = Duration::from_secs(1);
        for (width, text) in [
            (
                100,
                "unpacking  [==================>                     ]  45%    45.0 MB/s  2 s left",
            ),
            (
                77,
                "unpacking  [==============>                  ]  45%    45.0 MB/s  2 s left",
            ),
            (50, "unpacking  45%    45.0 MB/s  2 s left"),
            (30, "unpacking  45%  2 s left"),
            (20, "unpacking  45%"),
            (9, "unpacking"),
            (8, "unpacki…"),
            (0, ""),
        ] {
            assert_eq!(half.text(second, width), text);
        }
        let many = line("verifying 12 of 31", Some(100), 45);
        assert_eq!(many.text(second, 18), "verifying 12 of 31");
    }

    /// `0 B/s` and `0s` were the first that was said.
    #[test]
    fn nothing_is_said_that_is_not_known() {
        let moment = Duration::from_millis(400);
        assert_eq!(line("copying", Some(1000), 0).text(moment, 60), "copying");
        assert_eq!(line("copying", Some(1000), 0).text(MEANINGFUL, 60), "copying");
        assert_eq!(line("copying", Some(1000), 990).text(moment, 30), "copying  99%");
        assert_eq!(
            line("copying", Some(1000), 999).text(MEANINGFUL, 30),
            "copying  99%  1 s left"
        );
        // What is whole, and what is more than there should be.
        assert_eq!(line("copying", Some(1000), 1000).text(MEANINGFUL, 30), "copying");
        assert_eq!(line("copying", Some(1000), 1001).text(MEANINGFUL, 30), "copying");
        assert_eq!(line("checking", None, 0).text(MEANINGFUL, 60), "checking");
        assert_eq!(line("verifying", None, 2048).text(moment, 60), "verifying  2.0 KB");
        assert_eq!(
            line("verifying", None, 2048).text(MEANINGFUL, 60),
            "verifying  2.0 KB  4.0 KB/s"
        );
        assert_eq!(line("verifying", None, 2048).text(MEANINGFUL, 20), "verifying  2.0 KB");
    }

    #[test]
    fn no_line_is_too_long_at_any_time() {
        for total in [1, 1000, 5 << 40, u64::MAX] {
            for done in [0, 1, total / 3, total - 1, total] {
                for seconds in [0.4, 0.5, 59.0, 90_000.0] {
                    let elapsed = Duration::from_secs_f64(seconds);
                    for width in 0..130 {
                        for total in [Some(total), None] {
                            let text = line("verifying 12 of 31", total, done).text(elapsed, width);
                            assert!(columns(&text) <= width, "{width}: {text}");
                        }
                    }
                }
            }
        }
    }
}
