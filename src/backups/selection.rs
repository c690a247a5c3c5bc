//! Which backup is meant: `latest`, `replaced`, a day, or a name. Decided from a listing alone.

use super::listing::Backup;
use super::name::BackupName;
use crate::time::Time;

/// A backup that is dated further ahead of now, in seconds, does not count: its clock was wrong, and it would be the
/// newest one for ever.
const MAX_AHEAD: u64 = 24 * 60 * 60;

/// What somebody may say instead of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `latest`: the newest ordinary backup, whole or not.
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

    /// The backups that are meant among `backups`, a listing: the first one is the one, the others are older ones that
    /// would be meant without it.
    pub fn candidates<'a>(&self, backups: &'a [Backup], now: Time) -> Vec<&'a Backup> {
        let ordinary = |backup: &Backup| !backup.replaced && !is_ahead(backup, now);
        let meant = |backup: &&Backup| match self {
            Selector::Latest => ordinary(backup),
            Selector::Replaced => backup.replaced,
            Selector::Day(day) => ordinary(backup) && backup.created_at.to_string().starts_with(day),
            Selector::Name(name) => backup.file_name == name.as_str(),
        };
        backups.iter().filter(meant).collect()
    }
}

/// True for a backup that is dated more than a day ahead.
pub fn is_ahead(backup: &Backup, now: Time) -> bool {
    backup.created_at.as_second() > now.as_second() + MAX_AHEAD
}

/// The newest backup of a listing that can be relied on, as far as a listing tells: whole, no safety backup, and not
/// dated more than a day ahead.
pub fn newest_good(backups: &[Backup], now: Time) -> Option<&Backup> {
    let ordinary = Selector::Latest.candidates(backups, now);
    ordinary.into_iter().find(|backup| backup.summary.is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::listing::{Flaw, Summary, newest_first};
    use super::*;
    use crate::archive::{Layout, Metadata};

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
        let summary = match text.starts_with('!') {
            true => Err(Flaw {
                reason: "it is truncated".into(),
                proven: true,
            }),
            false => Ok(Summary {
                database_size: 1,
                metadata: Metadata {
                    vpo_version: "1".into(),
                    schema_version: 27,
                    created_at: name.time.unwrap().to_string(),
                    database_size_bytes: 1,
                    file_count: 1,
                    total_library_size_bytes: 1,
                    compression: "gzip".into(),
                    database_sha256: None,
                    page_size: None,
                    replaced: name.replaced,
                    compression_level: None,
                    source_host: None,
                    source_path: None,
                },
                layout: Layout::Plain,
            }),
        };
        Backup {
            path: file_name.clone().into(),
            file_name: file_name.into(),
            created_at: name.time.unwrap(),
            archive_size: 1,
            replaced: name.replaced,
            number: name.number,
            summary,
        }
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
                stems(selector.candidates(&backups, now)),
                meant,
                "{operand} of {there:?}"
            );
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
