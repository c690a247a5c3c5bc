//! What all seven programs do with their arguments in the same way.

use std::ffi::OsStr;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::time::Duration;

use lexopt::Arg;

use super::exit::Done;
use super::places::variable;
use super::report::print;
use crate::archive::Level;
use crate::database::Source;
use crate::failure::Kind;

/// Prints the help of a program and ends it successfully.
pub fn help(usage: &str) -> anyhow::Error {
    print(usage).err().unwrap_or(Done.into())
}

/// Prints the version of a program and ends it successfully.
pub fn version(program: &str) -> anyhow::Error {
    let text = format!("{program} {}\n", env!("CARGO_PKG_VERSION"));
    print(&text).err().unwrap_or(Done.into())
}

/// The error for an option or operand that a program does not have.
pub fn unexpected(arg: Arg) -> anyhow::Error {
    match arg {
        Arg::Value(value) => Kind::Usage.error(format!("unexpected operand '{}'", value.display())),
        arg => arg.unexpected().into(),
    }
}

/// Reads the integer that option `name` was given.
pub fn number(name: &str, value: &OsStr, range: RangeInclusive<u64>) -> anyhow::Result<u64> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.filter(|n| range.contains(n)).ok_or_else(|| {
        let shown = value.display();
        let (start, end) = (range.start(), range.end());
        let wanted = match *end {
            // Nobody means so many.
            end if end >= u64::from(u32::MAX) => format!("a whole number of at least {start}"),
            end => format!("a whole number from {start} to {end}"),
        };
        Kind::Usage.error(format!("{name} '{shown}': {wanted} is needed"))
    })
}

/// Reads a compression level.
pub fn level(value: &OsStr) -> anyhow::Result<Level> {
    let level = number("--level", value, 0..=12)?;
    // In range, as was just made sure of.
    Ok(Level::new(level as u8).unwrap_or_default())
}

/// Reads the `HOST:PATH` that `--source` was given.
pub fn source(value: &OsStr) -> anyhow::Result<Source> {
    let read = value
        .to_str()
        .ok_or_else(|| format!("'{}' is not UTF-8", value.display()));
    let read = read.and_then(str::parse);
    read.map_err(|what| Kind::Usage.error(format!("--source {what}")))
}

/// The number of processors that this process may use.
pub fn cores() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// How long to wait for a lock if nothing else is said.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a time in seconds, with or without a fraction.
pub fn timeout(value: &OsStr) -> anyhow::Result<Duration> {
    // SQLite counts milliseconds in 31 bits.
    const MAX: f64 = 2_000_000.0;
    let seconds = value.to_str().and_then(|text| text.parse::<f64>().ok());
    match seconds.filter(|seconds| (0.0..=MAX).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => Err(Kind::Usage.error(format!(
            "--timeout '{}': a number of seconds is needed",
            value.display()
        ))),
    }
}

/// Reads the schema of the installed VPO.
pub fn schema(value: &OsStr) -> anyhow::Result<u64> {
    number("--current-schema", value, 1..=i64::MAX as u64)
}

/// The schema of the installed VPO, if `VPO_SCHEMA_VERSION` gives it.
pub fn schema_variable() -> anyhow::Result<Option<u64>> {
    variable("VPO_SCHEMA_VERSION")
        .map(|value| number("VPO_SCHEMA_VERSION", &value, 1..=i64::MAX as u64))
        .transpose()
}

/// Reads an age such as `90m`, `26h` or `3d`.
pub fn age(text: &str) -> anyhow::Result<Duration> {
    let wrong = || Kind::Usage.error(format!("--max-age '{text}': an age such as 90m, 26h or 3d is needed"));
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        'w' => 7 * 86400,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (text, seconds) in [("90m", 5400), ("26h", 93600), ("3d", 259_200), ("0s", 0)] {
            assert_eq!(age(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "h", "3", "-3d", "3 d", "1.5h", "3y", "4294967296d", "3é"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
