//! Keep rules on the command line, and what they decided about the backups.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use super::args::number;
use super::report::note;
use crate::backups::{Rules, Verdict};
use crate::failure::Kind;

/// The options that are keep rules, without their hyphens.
const OPTIONS: [&str; 8] = [
    "keep-last",
    "keep-within",
    "keep-hourly",
    "keep-daily",
    "keep-weekly",
    "keep-monthly",
    "keep-yearly",
    "keep-replaced",
];

/// True if the long option `name` is a keep rule.
pub fn is_keep_rule(name: &str) -> bool {
    OPTIONS.contains(&name)
}

/// Adds the keep rule `name`, one that [`is_keep_rule`] knows, with its value.
///
/// # Errors
/// [`Kind::Usage`] unless the value is a positive number, or an age such as `36h`, `7d`, `5w` or `1y`.
pub fn add_keep_rule(rules: &mut Rules, name: &str, value: &OsStr) -> anyhow::Result<()> {
    let option = format!("--{name}");
    let count = || number(&option, value, 1..=u64::MAX).map(Some);
    match name {
        "keep-last" => rules.last = count()?,
        "keep-hourly" => rules.hourly = count()?,
        "keep-daily" => rules.daily = count()?,
        "keep-weekly" => rules.weekly = count()?,
        "keep-monthly" => rules.monthly = count()?,
        "keep-yearly" => rules.yearly = count()?,
        "keep-within" => rules.within = Some(keep_age(&option, value)?),
        _ => rules.replaced = Some(keep_age(&option, value)?),
    }
    Ok(())
}

/// Reads an age. Minutes and seconds are not units here: `m` is minutes in `--max-age`, and months in restic and borg.
fn keep_age(option: &str, value: &OsStr) -> anyhow::Result<Duration> {
    let text = value.to_str().unwrap_or_default();
    let age = text.char_indices().next_back().and_then(|(end, unit)| {
        let seconds: u64 = match unit {
            'h' => 3600,
            'd' => 86400,
            'w' => 7 * 86400,
            'y' => 365 * 86400,
            _ => return None,
        };
        let digits = &text[..end];
        let count: u32 = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
        (count > 0).then(|| Duration::from_secs(u64::from(count) * seconds))
    });
    age.ok_or_else(|| {
        let shown = value.display();
        Kind::Usage.error(format!(
            "{option} '{shown}': an age such as 36h, 7d, 5w or 1y is needed"
        ))
    })
}

/// Keep rules as options for another program.
pub fn keep_options(rules: &Rules) -> Vec<OsString> {
    let hours = |age: Option<Duration>| age.map(|age| format!("{}h", age.as_secs() / 3600));
    let count = |count: Option<u64>| count.map(|count| count.to_string());
    let values = [
        count(rules.last),
        hours(rules.within),
        count(rules.hourly),
        count(rules.daily),
        count(rules.weekly),
        count(rules.monthly),
        count(rules.yearly),
        hours(rules.replaced),
    ];
    let mut options = Vec::new();
    for (name, value) in OPTIONS.iter().zip(values) {
        options.extend(value.map(|value| OsString::from(format!("--{name}={value}"))));
    }
    if rules.one_source {
        options.push("--one-source".into());
    }
    options
}

/// Why a backup stays, or that it goes, as the listing shows it.
pub fn keep_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Kept(reasons) => reasons.iter().map(|r| r.name()).collect::<Vec<_>>().join(", "),
        Verdict::Expired => "expired".into(),
        Verdict::NoRule => "no rule".into(),
        Verdict::UnknownSource => "unknown source".into(),
        Verdict::LeftAlone => "not counted".into(),
    }
}

/// Says on stderr how many backups stay because the rules can't be applied to them.
pub fn note_uncounted(program: &str, verdicts: &[Verdict]) {
    let number_of = |wanted: Verdict| verdicts.iter().filter(|verdict| **verdict == wanted).count();
    let backups = |n: usize| match n {
        1 => "1 backup is".to_owned(),
        n => format!("{n} backups are"),
    };
    match number_of(Verdict::LeftAlone) {
        0 => {}
        n => note(&format!(
            "{program}: {} left alone and not counted: named by hand, a link, damaged, or dated ahead",
            backups(n)
        )),
    }
    match number_of(Verdict::UnknownSource) {
        0 => {}
        n => note(&format!(
            "{program}: {} of unknown source and left alone: --one-source counts all as one library's",
            backups(n)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str, value: &str) -> Result<Rules, String> {
        let mut rules = Rules::default();
        match add_keep_rule(&mut rules, name, OsStr::new(value)) {
            Ok(()) => Ok(rules),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn values() {
        let hours = |n: u64| Some(Duration::from_secs(n * 3600));
        for (value, age) in [
            ("36h", hours(36)),
            ("7d", hours(168)),
            ("5w", hours(840)),
            ("1y", hours(8760)),
        ] {
            assert_eq!(parsed("keep-within", value).unwrap().within, age, "{value}");
            assert_eq!(parsed("keep-replaced", value).unwrap().replaced, age, "{value}");
        }
        for value in [
            "",
            "5",
            "d",
            "0d",
            "-1d",
            "+1d",
            "1.5d",
            "5 d",
            "5m",
            "5s",
            "5M",
            "5D",
            "5dd",
            "4294967296d",
            "5é",
        ] {
            let error = parsed("keep-within", value).unwrap_err();
            assert_eq!(
                error,
                format!("--keep-within '{value}': an age such as 36h, 7d, 5w or 1y is needed")
            );
        }
        assert_eq!(
            parsed("keep-last", "18446744073709551615").unwrap().last,
            Some(u64::MAX)
        );
        for value in ["", "0", "-1", "1.5", "all", "1d", "18446744073709551616"] {
            let error = parsed("keep-last", value).unwrap_err();
            assert_eq!(
                error,
                format!("--keep-last '{value}': a whole number of at least 1 is needed")
            );
        }
    }

    /// Each option sets a rule of its own.
    #[test]
    fn options() {
        let mut seen = Vec::new();
        for name in OPTIONS {
            assert!(is_keep_rule(name));
            let rules = parsed(name, "3").or_else(|_| parsed(name, "3d")).unwrap();
            assert!(!rules.is_empty() && !seen.contains(&rules), "{name}");
            let passed_on = keep_options(&rules);
            assert!(
                matches!(passed_on[0].to_str(), Some(option) if option.starts_with(&format!("--{name}=3")) || option == format!("--{name}=72h"))
            );
            seen.push(rules);
        }
        assert!(!is_keep_rule("keep-") && !is_keep_rule("keep-minutely"));
    }
}
