//! What stands in the table of the listing: names, ages, sizes, and what is wrong with a backup.

use std::ffi::OsStr;

use super::terminal::{bad, doubtful};
use super::text::{cut_end, escape};
use crate::backups::{Flaw, short_name};
use crate::size::human;
use crate::time::Time;

/// How much of a reason is worth showing.
const LEAST: usize = 8;

/// How long the words for an age may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// No age, and none of the columns that only people need.
    Absent,
    /// `3 days ago`
    Long,
    /// `3 days`
    Short,
    /// `3d`
    Tiny,
}

/// How a list calls a file: by its whole name, and where there is less room, by its time or what else the name has of its
/// own. Each command takes either as a name.
pub fn listed_names(file_name: &OsStr) -> [String; 2] {
    let name = file_name.to_string_lossy();
    [&name, short_name(&name)].map(|name| escape(name).into_owned())
}

/// In one word what there is to say of an archive that says nothing of itself.
pub(super) fn word(flaw: &Flaw) -> &'static str {
    match flaw.proven {
        true => "damaged",
        false => "unknown",
    }
}

pub(super) fn coloured(flaw: &Flaw) -> String {
    match flaw.proven {
        true => bad(word(flaw)),
        false => doubtful(word(flaw)),
    }
}

/// The word, and as much of the reason as fits.
pub(super) fn what_is_wrong(flaw: &Flaw, width: usize) -> String {
    let words = cut_end(&format!("{}: {}", word(flaw), escape(&flaw.reason)), width);
    match width < word(flaw).len() + LEAST {
        true => word(flaw).into(),
        false => words,
    }
}

/// A size as everywhere; for people, the number stands before `B` where it stands before a unit of two letters.
pub(super) fn size(bytes: u64, age: Age) -> String {
    let padding = if bytes < 1024 && age != Age::Absent { " " } else { "" };
    format!("{}{padding}", human(bytes))
}

/// The age of a backup in words, the numbers one below the other.
pub(super) fn age(created: Time, now: Time, form: Age) -> String {
    const UNITS: [(u64, &str, &str, &str); 5] = [
        (365 * 86400, "year", "year", "y"),
        (30 * 86400, "month", "month", "mo"),
        (86400, "day", "day", "d"),
        (3600, "hour", "h", "h"),
        (60, "minute", "min", "min"),
    ];
    let Some(seconds) = now.as_second().checked_sub(created.as_second()) else {
        return if form == Age::Long { "in the future" } else { "ahead" }.into();
    };
    let Some((length, long, short, tiny)) = UNITS.iter().find(|(length, ..)| seconds >= *length) else {
        return if form == Age::Long { "just now" } else { "now" }.into();
    };
    let n = seconds / length;
    let plural = |unit: &str| {
        if n == 1 || ["h", "min"].contains(&unit) {
            ""
        } else {
            "s"
        }
    };
    match form {
        Age::Absent => String::new(),
        Age::Long => format!("{n:>2} {long}{} ago", plural(long)),
        Age::Short => format!("{n:>2} {short}{}", plural(short)),
        Age::Tiny => format!("{n:>2}{tiny}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_in_words() {
        const DAY: u64 = 86400;
        // Seconds, and the words for them, long, short and tiny.
        let cases = [
            (0, ["just now", "now", "now"]),
            (60, [" 1 minute ago", " 1 min", " 1min"]),
            (59 * 60, ["59 minutes ago", "59 min", "59min"]),
            (7200, [" 2 hours ago", " 2 h", " 2h"]),
            (DAY, [" 1 day ago", " 1 day", " 1d"]),
            (12 * DAY, ["12 days ago", "12 days", "12d"]),
            (45 * DAY, [" 1 month ago", " 1 month", " 1mo"]),
            (800 * DAY, [" 2 years ago", " 2 years", " 2y"]),
        ];
        let now = Time::from_second(100_000_000).unwrap();
        let forms = [Age::Long, Age::Short, Age::Tiny];
        for (seconds, words) in cases {
            let created = Time::from_second(100_000_000 - i64::try_from(seconds).unwrap()).unwrap();
            assert_eq!(forms.map(|form| age(created, now, form)), words);
        }
        let ahead = forms.map(|form| age(now, Time::from_second(0).unwrap(), form));
        assert_eq!(ahead, ["in the future", "ahead", "ahead"]);
    }
}
