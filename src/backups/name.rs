//! The names of backups: `vpo-library-<time>[-replaced][-N].tar.gz`.

use std::path::{Path, PathBuf};

use crate::time::Time;

const PREFIX: &str = "vpo-library-";
const SUFFIX: &str = ".tar.gz";
const REPLACED: &str = "-replaced";
/// With this many backups in one second, something is wrong.
const MAX_SAME_SECOND: u32 = 1000;

/// What a backup's file name has of its own; `None` if it is not the name of a backup.
pub(super) fn stem(file_name: &str) -> Option<&str> {
    file_name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)
}

/// What the name of a backup says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupName {
    /// The time in it, in our form or VPO's; people may have renamed the file.
    pub time: Option<Time>,
    /// A safety backup: the library as it was before a restore.
    pub replaced: bool,
    /// Among backups of the same second, the larger number is the later one. The first has none, which counts as 1.
    pub number: u32,
    /// It has exactly the form that we or VPO use: no person chose it.
    pub standard: bool,
}

impl BackupName {
    /// Reads a file name; `None` if it is not that of a backup.
    pub fn parse(name: &str) -> Option<Self> {
        let middle = stem(name)?;
        let end = middle.find('Z').map_or(middle.len(), |z| z + 1);
        let (written, rest) = middle.split_at(end);
        let time = Time::from_name(written);
        let (rest, replaced) = match rest.strip_prefix(REPLACED) {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let number = match rest.strip_prefix('-') {
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|_| digits.bytes().all(|b| b.is_ascii_digit())),
            None => rest.is_empty().then_some(1),
        };
        // As the programs write it: numbers begin at 2, without zeros in front.
        let counted = match rest.strip_prefix('-') {
            Some(digits) => number.is_some_and(|n: u32| n >= 2 && n.to_string() == digits),
            None => rest.is_empty(),
        };
        let exact = time.is_some_and(|time| [time.compact(), time.hyphenated()].iter().any(|form| form == written));
        Some(BackupName {
            time,
            replaced: replaced && time.is_some() && number.is_some(),
            number: number.unwrap_or(1),
            standard: exact && counted,
        })
    }
}

/// The names that a backup of `time` may get in `directory`, in the order in which to try them.
pub fn candidates(directory: &Path, time: Time, replaced: bool) -> impl Iterator<Item = PathBuf> {
    let mark = if replaced { REPLACED } else { "" };
    let stem = format!("{PREFIX}{}{mark}", time.compact());
    (1..=MAX_SAME_SECOND).map(move |n| {
        let name = match n {
            1 => format!("{stem}{SUFFIX}"),
            n => format!("{stem}-{n}{SUFFIX}"),
        };
        directory.join(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_they_tell() {
        let time = Time::from_name("2026-02-05T143022Z");
        let cases = [
            ("vpo-library-2026-02-05T143022Z.tar.gz", Some((time, false))),
            ("vpo-library-2026-02-05T143022Z-replacement.tar.gz", Some((time, false))),
            ("vpo-library-2026-02-05T14-30-22Z.tar.gz", Some((time, false))),
            ("vpo-library-2026-02-05T143022Z-2.tar.gz", Some((time, false))),
            ("vpo-library-2026-02-05T143022Z-replaced.tar.gz", Some((time, true))),
            ("vpo-library-2026-02-05T143022Z-replaced-12.tar.gz", Some((time, true))),
            ("vpo-library-2026-02-05T143022Z-replaced-x.tar.gz", Some((time, false))),
            ("vpo-library-before-the-move.tar.gz", Some((None, false))),
            ("vpo-library-before-replaced.tar.gz", Some((None, false))),
            ("vpo-library-2026-02-05T143022Z.tar", None),
            (".vpo-library-2026-02-05T143022Z.tar.gz", None),
        ];
        for (name, expected) in cases {
            let parsed = BackupName::parse(name).map(|n| (n.time, n.replaced));
            assert_eq!(parsed, expected, "{name}");
        }
    }

    /// What a person named stays, whatever its name looks like at first sight.
    #[test]
    fn names_that_no_person_chose() {
        let cases = [
            ("vpo-library-2026-02-05T143022Z.tar.gz", true),
            ("vpo-library-2026-02-05T14-30-22Z.tar.gz", true),
            ("vpo-library-2026-02-05T143022Z-2.tar.gz", true),
            ("vpo-library-2026-02-05T143022Z-replaced.tar.gz", true),
            ("vpo-library-2026-02-05T14-30-22Z-replaced-12.tar.gz", true),
            ("vpo-library-2026-02-05T143022Z-1.tar.gz", false),
            ("vpo-library-2026-02-05T143022Z-02.tar.gz", false),
            ("vpo-library-2026-02-05T143022Z-+2.tar.gz", false),
            ("vpo-library-2026-02-05T143022Z-99999999999.tar.gz", false),
            ("vpo-library-2026-02-05T143022Z-.tar.gz", false),
            ("vpo-library-2026-02-05T143022Z-keep.tar.gz", false),
            ("vpo-library-2026-02-05T143022Z-replacement.tar.gz", false),
            ("vpo-library-2026-02-05T143022Z-replaced-.tar.gz", false),
            ("vpo-library-2026-02-05T143022Zx.tar.gz", false),
            ("vpo-library-2026-02-05T14:30:22Z.tar.gz", false),
            ("vpo-library-2026-02-30T143022Z.tar.gz", false),
            ("vpo-library-+026-02-05T143022Z.tar.gz", false),
            ("vpo-library-2026-02- 5T143022Z.tar.gz", false),
            ("vpo-library-before-the-move.tar.gz", false),
            ("vpo-library-.tar.gz", false),
        ];
        for (name, standard) in cases {
            assert_eq!(BackupName::parse(name).map(|n| n.standard), Some(standard), "{name}");
        }
    }

    #[test]
    fn candidates_are_names() {
        let time = Time::from_name("2026-02-05T143022Z").unwrap();
        let names: Vec<_> = candidates(Path::new("d"), time, true).take(2).collect();
        assert_eq!(names[0], Path::new("d/vpo-library-2026-02-05T143022Z-replaced.tar.gz"));
        assert_eq!(
            names[1],
            Path::new("d/vpo-library-2026-02-05T143022Z-replaced-2.tar.gz")
        );
    }
}
