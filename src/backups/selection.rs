//! Which backup is meant: `latest`, `replaced`, a day, or a name. Decided from a listing alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::listing::Backup;
use super::name::{BackupName, stem};
use crate::database::Source;
use crate::failure::Kind;
use crate::time::Time;

/// A backup that is dated further ahead of now than this, in seconds, does not count: its clock was wrong, and it would
/// always be the newest.
const MAX_AHEAD: u64 = 24 * 60 * 60;

/// What a person may say instead of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `latest`: the newest ordinary backup, damaged or not.
    Latest,
    /// `replaced`: the newest safety backup.
    Replaced,
    /// `2026-02-05`: the newest ordinary backup of this day in UTC.
    Day(String),
    /// `2026-02-05T143022Z-replaced-2`: the file of this name.
    Name(String),
}

impl Selector {
    /// Reads an operand; `None` if it is none of these.
    pub fn parse(operand: &str) -> Option<Self> {
        let time = |time: &str| Time::from_name(time).is_some();
        match operand {
            "latest" => Some(Selector::Latest),
            "replaced" => Some(Selector::Replaced),
            day if day.len() == 10 && time(&format!("{day}T000000Z")) => Some(Selector::Day(day.into())),
            text => {
                let name = format!("vpo-library-{text}.tar.gz");
                let parsed = BackupName::parse(&name)?;
                parsed.time.is_some().then_some(Selector::Name(name))
            }
        }
    }

    /// The backups of the library `here`, or of unknown source, that are meant among `backups`, a listing: the first is
    /// the one meant, the others are older ones that would be meant without it. A name means one file, whatever its
    /// source.
    pub fn candidates<'a>(&self, backups: &'a [Backup], here: Option<&Source>, now: Time) -> Vec<&'a Backup> {
        let of_here = |backup: &Backup| backup.source.is_none() || backup.source.as_ref() == here;
        let named = matches!(self, Selector::Name(_));
        let meant = |backup: &&Backup| self.fits(backup, now) && (named || of_here(backup));
        backups.iter().filter(meant).collect()
    }

    /// The backups of other libraries that would be meant, grouped by library. `replaced` never means
    /// another library's.
    pub fn elsewhere<'a>(&self, backups: &'a [Backup], here: Option<&Source>, now: Time) -> Vec<Vec<&'a Backup>> {
        let mut libraries: BTreeMap<&Source, Vec<&Backup>> = BTreeMap::new();
        if matches!(self, Selector::Latest | Selector::Day(_)) {
            for backup in backups.iter().filter(|backup| self.fits(backup, now)) {
                if let Some(source) = backup.source.as_ref().filter(|source| Some(*source) != here) {
                    libraries.entry(source).or_default().push(backup);
                }
            }
        }
        libraries.into_values().collect()
    }

    fn fits(&self, backup: &Backup, now: Time) -> bool {
        let ordinary = !backup.replaced && !is_ahead(backup, now);
        match self {
            Selector::Latest => ordinary,
            Selector::Replaced => backup.replaced,
            Selector::Day(day) => ordinary && backup.created_at.to_string().starts_with(day),
            Selector::Name(name) => backup.file_name == name.as_str(),
        }
    }
}

/// What is left of a backup's file name without what all of them have; the whole name where that is something else to a
/// command: a selector, a day, an option, or the number of a row.
pub fn short_name(file_name: &str) -> &str {
    let Some(stem) = stem(file_name) else {
        return file_name;
    };
    let taken = matches!(
        Selector::parse(stem),
        Some(Selector::Latest | Selector::Replaced | Selector::Day(_))
    );
    let number = stem.bytes().all(|byte| byte.is_ascii_digit());
    let odd = stem.starts_with(['-', '.']) || stem.trim() != stem;
    match taken || number || odd {
        true => file_name,
        false => stem,
    }
}

/// True for a backup that is dated more than a day ahead.
pub fn is_ahead(backup: &Backup, now: Time) -> bool {
    backup.created_at.as_second() > now.as_second() + MAX_AHEAD
}

/// The newest backup of a listing that can be relied on, as far as a listing shows: whole, not a safety backup, and not
/// dated more than a day ahead.
pub fn newest_good(backups: &[Backup], now: Time) -> Option<&Backup> {
    let good = |backup: &&Backup| Selector::Latest.fits(backup, now) && backup.summary.is_ok();
    backups.iter().find(good)
}

/// Fails unless the newest good backup is younger than `age`.
///
/// # Errors
/// [`Kind::Declined`] with the time of the newest one.
pub fn require_recent(backups: &[Backup], age: Duration, now: Time) -> anyhow::Result<()> {
    let oldest = now.as_second().saturating_sub(age.as_secs());
    match newest_good(backups, now) {
        Some(newest) if newest.created_at.as_second() > oldest => Ok(()),
        Some(newest) => Err(Kind::Declined.error(format!(
            "no backup is recent enough: the newest is from {} UTC",
            newest.created_at.readable()
        ))),
        None => Err(Kind::Declined.error("no backup is recent enough: there is none")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::{Flaw, newest_first};
    use super::*;

    const NOW: &str = "2026-02-10T12:00:00Z";

    /// A listing of backups by their names; `!` before a name: damaged.
    fn listing(names: &[&str]) -> Vec<Backup> {
        let mut backups: Vec<Backup> = names.iter().map(|name| backup(name)).collect();
        newest_first(&mut backups);
        backups
    }

    fn backup(text: &str) -> Backup {
        let stem = text.trim_start_matches('!');
        let file_name = format!("vpo-library-{stem}.tar.gz");
        let name = BackupName::parse(&file_name).unwrap();
        let mut backup = Backup {
            replaced: name.replaced,
            number: name.number,
            standard_name: name.standard,
            ..Backup::invented(&file_name, name.time.unwrap())
        };
        if text.starts_with('!') {
            backup.summary = Err(Flaw {
                reason: "it is truncated".into(),
                proven: true,
            });
        }
        backup
    }

    fn stems<'a>(backups: impl IntoIterator<Item = &'a Backup>) -> Vec<String> {
        let stem = |backup: &Backup| {
            let name = backup.file_name.to_str().unwrap();
            name["vpo-library-".len()..name.len() - ".tar.gz".len()].to_owned()
        };
        backups.into_iter().map(stem).collect()
    }

    #[test]
    fn what_an_operand_means() {
        let name = |text: &str| Some(Selector::Name(format!("vpo-library-{text}.tar.gz")));
        let cases = [
            ("latest", Some(Selector::Latest)),
            ("replaced", Some(Selector::Replaced)),
            ("2026-02-05", Some(Selector::Day("2026-02-05".into()))),
            ("2026-02-05T143022Z", name("2026-02-05T143022Z")),
            ("2026-02-05T14-30-22Z", name("2026-02-05T14-30-22Z")),
            ("2026-02-05T143022Z-replaced-2", name("2026-02-05T143022Z-replaced-2")),
            ("2026-02-30", None),
            ("2026-2-5", None),
            ("26-02-05", None),
            ("2026-02", None),
            ("2026-02-05T143022", None),
            ("Latest", None),
            ("before-the-move", None),
            ("./latest", None),
            ("vpo-library-2026-02-05T143022Z.tar.gz", None),
            ("", None),
        ];
        for (operand, expected) in cases {
            assert_eq!(Selector::parse(operand), expected, "{operand}");
        }
    }

    /// What a list shows is taken as a name: where it is something else, the whole name is shown.
    #[test]
    fn names_in_a_list() {
        let cases = [
            ("2026-02-05T143022Z", true),
            ("2026-02-05T14-30-22Z", true),
            ("2026-02-05T143022Z-replaced-2", true),
            ("before-the-move", true),
            ("2026-02", true),
            ("latest-and-greatest", true),
            ("latest", false),
            ("replaced", false),
            ("2026-02-05", false),
            ("12", false),
            ("", false),
            ("-x", false),
            (".", false),
            (" x", false),
        ];
        for (stem, short) in cases {
            let name = format!("vpo-library-{stem}.tar.gz");
            assert_eq!(short_name(&name), if short { stem } else { &name });
        }
    }

    #[test]
    fn which_backup_is_meant() {
        // What is asked for, what is there, and what is meant, with what would be meant without it.
        let cases: [(&str, &[&str], &[&str]); 12] = [
            ("latest", &[], &[]),
            (
                "latest",
                &["2026-02-01T000000Z", "2026-02-03T000000Z", "2026-02-02T000000Z"],
                &["2026-02-03T000000Z", "2026-02-02T000000Z", "2026-02-01T000000Z"],
            ),
            // Damaged ones count: nobody gets an older one without being told.
            (
                "latest",
                &["!2026-02-03T000000Z", "2026-02-02T000000Z"],
                &["2026-02-03T000000Z", "2026-02-02T000000Z"],
            ),
            (
                "latest",
                &["2026-02-03T000000Z-replaced", "2026-02-02T000000Z"],
                &["2026-02-02T000000Z"],
            ),
            ("latest", &["2026-02-03T000000Z-replaced"], &[]),
            // A day ahead may be a clock; what is further ahead would be the latest for ever.
            (
                "latest",
                &[
                    "2099-01-01T000000Z",
                    "2026-02-11T120001Z",
                    "2026-02-11T120000Z",
                    "2026-02-01T000000Z",
                ],
                &["2026-02-11T120000Z", "2026-02-01T000000Z"],
            ),
            // Of one second, the number decides, not its first digit, and VPO's form of the time is another name.
            (
                "latest",
                &[
                    "2026-02-03T000000Z",
                    "2026-02-03T000000Z-10",
                    "2026-02-03T000000Z-2",
                    "2026-02-03T00-00-00Z",
                ],
                &[
                    "2026-02-03T000000Z-10",
                    "2026-02-03T000000Z-2",
                    "2026-02-03T000000Z",
                    "2026-02-03T00-00-00Z",
                ],
            ),
            (
                "replaced",
                &[
                    "2026-02-03T000000Z",
                    "2026-02-02T000000Z-replaced-2",
                    "2026-02-02T000000Z-replaced",
                ],
                &["2026-02-02T000000Z-replaced-2", "2026-02-02T000000Z-replaced"],
            ),
            ("replaced", &["2026-02-03T000000Z"], &[]),
            (
                "2026-02-02",
                &[
                    "2026-02-03T000000Z",
                    "2026-02-02T235959Z",
                    "2026-02-02T000000Z",
                    "2026-02-02T120000Z-replaced",
                ],
                &["2026-02-02T235959Z", "2026-02-02T000000Z"],
            ),
            ("2099-01-01", &["2099-01-01T000000Z"], &[]),
            (
                "2026-02-02T000000Z-replaced",
                &[
                    "2026-02-02T000000Z",
                    "2026-02-02T000000Z-replaced",
                    "2026-02-02T000000Z-replaced-2",
                ],
                &["2026-02-02T000000Z-replaced"],
            ),
        ];
        let now = NOW.parse().unwrap();
        for (operand, there, meant) in cases {
            let backups = listing(there);
            let selector = Selector::parse(operand).unwrap();
            assert_eq!(
                stems(selector.candidates(&backups, None, now)),
                meant,
                "{operand} of {there:?}"
            );
        }
    }

    /// A listing of backups, each with the host of its library, `-` where it is unknown.
    fn listing_of(backups: &[(&str, &str)]) -> Vec<Backup> {
        let source = |host: &str| Source {
            host: host.into(),
            path: "/library.db".into(),
        };
        let mut backups: Vec<Backup> = (backups.iter())
            .map(|(name, host)| Backup {
                source: (*host != "-").then(|| source(host)),
                ..backup(name)
            })
            .collect();
        newest_first(&mut backups);
        backups
    }

    #[test]
    fn which_backup_is_meant_among_several_libraries() {
        let there = [
            ("2026-02-05T000000Z", "nas"),
            ("2026-02-04T000000Z-replaced", "nas"),
            ("2026-02-03T000000Z", "here"),
            ("2026-02-03T000000Z-replaced", "here"),
            ("2026-02-02T000000Z", "-"),
            ("2026-02-02T010000Z", "laptop"),
            ("2026-02-01T000000Z", "nas"),
            ("2026-02-01T000000Z-replaced", "-"),
        ];
        let here = listing_of(&[("2026-02-01T000000Z", "here")])[0].source.clone();
        let now = NOW.parse().unwrap();
        /// What is asked for, what is meant here, and what of other libraries.
        type Case = (
            &'static str,
            &'static [&'static str],
            &'static [&'static [&'static str]],
        );
        let cases: [Case; 6] = [
            (
                "latest",
                &["2026-02-03T000000Z", "2026-02-02T000000Z"],
                &[&["2026-02-02T010000Z"], &["2026-02-05T000000Z", "2026-02-01T000000Z"]],
            ),
            (
                "replaced",
                &["2026-02-03T000000Z-replaced", "2026-02-01T000000Z-replaced"],
                &[],
            ),
            ("2026-02-05", &[], &[&["2026-02-05T000000Z"]]),
            ("2026-02-02", &["2026-02-02T000000Z"], &[&["2026-02-02T010000Z"]]),
            // A name is that of one file.
            ("2026-02-05T000000Z", &["2026-02-05T000000Z"], &[]),
            ("2026-02-09", &[], &[]),
        ];
        let backups = listing_of(&there);
        for (operand, meant, elsewhere) in cases {
            let selector = Selector::parse(operand).unwrap();
            let candidates = selector.candidates(&backups, here.as_ref(), now);
            assert_eq!(stems(candidates), meant, "{operand}");
            let others: Vec<_> = (selector.elsewhere(&backups, here.as_ref(), now).into_iter())
                .map(stems)
                .collect();
            assert_eq!(others, elsewhere, "{operand}");
        }
    }

    #[test]
    fn which_backup_is_young() {
        let cases: [(&[&str], Option<&str>); 4] = [
            (&[], None),
            (
                &["!2026-02-03T000000Z", "2026-02-02T000000Z"],
                Some("2026-02-02T000000Z"),
            ),
            (
                &["2026-02-03T000000Z-replaced", "2026-02-02T000000Z"],
                Some("2026-02-02T000000Z"),
            ),
            (
                &["2099-01-01T000000Z", "2026-02-02T000000Z"],
                Some("2026-02-02T000000Z"),
            ),
        ];
        let now = NOW.parse().unwrap();
        for (there, good) in cases {
            let backups = listing(there);
            let found = stems(newest_good(&backups, now));
            assert_eq!(found.first().map(String::as_str), good, "{there:?}");
        }
    }
}
