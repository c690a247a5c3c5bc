//! Points in time, to the second: in UTC, as metadata, file names and tar headers have them, and for a person in local
//! time, too.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::fmt::strtime;

/// A second between 1970 and 9999. Prints as RFC 3339, `2026-02-05T14:30:22Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Timestamp);

impl Time {
    /// The current second. Only the programs and [`crate::porcelain`] call it: everything else is told the time.
    pub fn now() -> Self {
        let now = Timestamp::now().as_second().max(0);
        Self::from_second(now).unwrap_or(Time(Timestamp::UNIX_EPOCH))
    }

    /// From seconds since 1970, if they are in range.
    pub fn from_second(second: i64) -> Option<Self> {
        let time = Timestamp::from_second(second).ok()?;
        (second >= 0).then_some(Time(time))
    }

    /// Seconds since 1970.
    pub fn as_second(self) -> u64 {
        self.0.as_second().unsigned_abs()
    }

    /// As in the names of backups: `2026-02-05T143022Z`.
    pub fn compact(self) -> String {
        self.0.strftime("%Y-%m-%dT%H%M%SZ").to_string()
    }

    /// As in the names that VPO gives: `2026-02-05T14-30-22Z`.
    pub fn hyphenated(self) -> String {
        self.0.strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
    }

    /// The hour that it is in, counted from 1970; all of these are in UTC.
    pub fn hour(self) -> u64 {
        self.as_second() / 3600
    }

    /// The day that it is in, counted from 1970.
    pub fn day(self) -> u64 {
        self.hour() / 24
    }

    /// The ISO week that it is in: they begin on Mondays, and the first day of 1970 was a Thursday.
    pub fn week(self) -> u64 {
        (self.day() + 3) / 7
    }

    /// The month that it is in, counted from the year 0.
    pub fn month(self) -> u64 {
        let date = jiff::tz::Offset::UTC.to_datetime(self.0);
        u64::from(date.year().unsigned_abs()) * 12 + u64::from(date.month().unsigned_abs()) - 1
    }

    /// The year.
    pub fn year(self) -> u64 {
        self.month() / 12
    }

    /// For people: `2026-02-05 14:30:22`.
    pub fn readable(self) -> String {
        self.0.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// The same in the system's time zone, `TZ` or `/etc/localtime`; `None` where that is UTC, or not known. Only
    /// [`crate::cli`] calls it.
    pub fn local(self) -> Option<String> {
        let zone = jiff::tz::TimeZone::system();
        let local = self.0.to_zoned(zone).datetime();
        let utc = jiff::tz::Offset::UTC.to_datetime(self.0);
        let format = match local.date() == utc.date() {
            true => "%H:%M:%S",
            false => "%Y-%m-%d %H:%M:%S",
        };
        (local != utc).then(|| local.strftime(format).to_string())
    }

    /// From a name's form of the time, `2026-02-05T143022Z`, or VPO's, `2026-02-05T14-30-22Z`.
    pub fn from_name(text: &str) -> Option<Self> {
        let format = match text.len() {
            18 => "%Y-%m-%dT%H%M%SZ",
            20 => "%Y-%m-%dT%H-%M-%SZ",
            _ => return None,
        };
        let civil = strtime::parse(format, text).ok()?.to_datetime().ok()?;
        let time = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Self::from_second(time.timestamp().as_second())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl FromStr for Time {
    type Err = String;

    /// Any RFC 3339 time with an offset, from 1970 on; fractions of a second are dropped.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not an RFC 3339 time such as 2026-02-05T14:30:22Z");
        // jiff reads more forms than RFC 3339 has: annotations, offsets to the second, dates of other shapes.
        let shape = text.len() >= 20
            && text.is_ascii()
            && matches!(text.as_bytes()[10], b'T' | b't' | b' ')
            && !text.contains('[')
            && (text.ends_with(['Z', 'z']) || text.as_bytes()[text.len() - 3] == b':');
        if !shape {
            return Err(wrong());
        }
        let time: Timestamp = text.parse().map_err(|_| wrong())?;
        Self::from_second(time.as_second()).ok_or_else(|| format!("'{text}' is before 1970"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_one_second() {
        let time: Time = "2026-02-05T14:30:22Z".parse().unwrap();
        for text in [
            "2026-02-05T14:30:22+00:00",
            "2026-02-05T15:30:22.75+01:00",
            "2026-02-05t14:30:22z",
        ] {
            assert_eq!(text.parse(), Ok(time), "{text}");
        }
        assert_eq!(time.to_string(), "2026-02-05T14:30:22Z");
        assert_eq!(Time::from_name("2026-02-05T143022Z"), Some(time));
        assert_eq!(Time::from_name("2026-02-05T14-30-22Z"), Some(time));
        assert_eq!(Time::from_name(&time.compact()), Some(time));
    }

    /// Each pair is two seconds on either side of a border, the year's last ISO week among them.
    #[test]
    fn where_periods_end() {
        let at = |text: &str| text.parse::<Time>().unwrap();
        type Period = fn(Time) -> u64;
        let cases: [(Period, &str, &str); 7] = [
            (Time::hour, "2026-11-21T10:59:59Z", "2026-11-21T11:00:00Z"),
            (Time::day, "2026-11-20T23:59:59Z", "2026-11-21T00:00:00Z"),
            (Time::week, "2026-11-15T23:59:59Z", "2026-11-16T00:00:00Z"),
            (Time::week, "2027-01-03T23:59:59Z", "2027-01-04T00:00:00Z"),
            (Time::month, "2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z"),
            (Time::month, "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
            (Time::year, "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        ];
        for (period, last, first) in cases {
            assert_eq!(period(at(last)) + 1, period(at(first)), "{last}");
        }
        // Week 53 of 2026 goes on in 2027.
        assert_eq!(at("2026-12-28T00:00:00Z").week(), at("2027-01-03T23:59:59Z").week());
        assert_eq!(at("1970-01-01T00:00:00Z").week(), at("1970-01-04T23:59:59Z").week());
        assert_eq!(at("2026-02-05T14:30:22Z").year(), 2026);
    }

    #[test]
    fn what_is_not_a_time() {
        for text in [
            "",
            "now",
            "2026-02-05",
            "2026-02-05T14:30:22",
            "2026-02-30T14:30:22Z",
            "1969-12-31T23:59:59Z",
            "2026-02-05T14:30:22+01:00[Europe/Paris]",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
        for text in ["2026-02-05T143022", "2026-13-05T143022Z", "2026-02-05T1430220"] {
            assert_eq!(Time::from_name(text), None, "{text}");
        }
    }
}
