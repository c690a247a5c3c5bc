//! Every sentence of the rules, as rows of a table.

use std::time::Duration;

use super::*;
use crate::backups::Flaw;

const NOW: &str = "2026-11-21T12:00:00Z";
const DAY: Duration = Duration::from_secs(86400);

fn at(text: &str) -> Time {
    text.parse().unwrap()
}

/// A backup, told in words: a day in November 2026, or a whole time; then `replaced`, a number such as `-2`, a source
/// such as `nas` (else it is `here`), `unknown`, `damaged`, `link`, `named`.
fn backup(words: &str) -> Backup {
    let mut words = words.split(' ');
    let time = match words.next().unwrap() {
        day if day.len() <= 2 => at(&format!("2026-11-{day:0>2}T03:00:00Z")),
        time => at(time),
    };
    let mut backup = Backup {
        source: Some(source("here")),
        ..Backup::invented("a name", time)
    };
    for word in words {
        match word {
            "replaced" => backup.replaced = true,
            "unknown" => backup.source = None,
            // What can't be read has no source either.
            "damaged" => {
                let flaw = Flaw {
                    reason: "damaged".into(),
                    proven: true,
                };
                (backup.summary, backup.source) = (Err(flaw), None);
            }
            "link" => backup.stamp.regular = false,
            "named" => backup.standard_name = false,
            number if number.starts_with('-') => backup.number = number[1..].parse().unwrap(),
            host => backup.source = Some(source(host)),
        }
    }
    backup
}

fn source(host: &str) -> Source {
    Source {
        host: host.into(),
        path: "/home/u/.vpo/library.db".into(),
    }
}

fn shown(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Kept(reasons) => reasons.iter().map(|r| r.name()).collect::<Vec<_>>().join(" "),
        Verdict::Expired => "expired".into(),
        Verdict::NoRule => "no rule".into(),
        Verdict::UnknownSource => "unknown source".into(),
        Verdict::LeftAlone => "left alone".into(),
    }
}

/// Decides about backups, in the order in which they are given and in the other one, which must make no difference.
#[track_caller]
fn check(what: &str, rules: &Rules, rows: &[(&str, &str)]) {
    let backups: Vec<Backup> = rows.iter().map(|(words, _)| backup(words)).collect();
    let verdicts: Vec<_> = decide(&backups, rules, at(NOW)).iter().map(shown).collect();
    let expected: Vec<_> = rows.iter().map(|(_, verdict)| *verdict).collect();
    assert_eq!(verdicts, expected, "{what}: {rows:?}");
    let reversed: Vec<Backup> = backups.into_iter().rev().collect();
    let mut verdicts: Vec<_> = decide(&reversed, rules, at(NOW)).iter().map(shown).collect();
    verdicts.reverse();
    assert_eq!(verdicts, expected, "{what}, the other way round: {rows:?}");
}

fn rules() -> Rules {
    Rules::default()
}

#[test]
fn each_rule() {
    let last = Rules {
        last: Some(2),
        ..rules()
    };
    check(
        "the N newest",
        &last,
        &[("21", "newest last"), ("3", "last"), ("2", "expired")],
    );
    check("fewer than that", &last, &[("21", "newest last")]);
    check("none at all", &last, &[]);

    let within = Rules {
        within: Some(3 * DAY),
        ..rules()
    };
    check(
        "younger than the newest by less than AGE",
        &within,
        &[
            ("20", "newest within"),
            ("2026-11-17T03:00:01Z", "within"),
            ("17", "expired"),
            ("16", "expired"),
        ],
    );
    check(
        "not than now: where backups have stopped, time alone removes nothing",
        &within,
        &[
            ("2020-01-03T00:00:00Z", "newest within"),
            ("2020-01-01T00:00:00Z", "within"),
        ],
    );

    let hourly = Rules {
        hourly: Some(2),
        ..rules()
    };
    check(
        "the newest of each hour; hours without a backup don't count",
        &hourly,
        &[
            ("2026-11-21T10:59:59Z", "newest hourly"),
            ("2026-11-21T10:00:00Z", "expired"),
            ("2026-11-20T09:59:59Z", "hourly"),
            ("2026-11-20T08:00:00Z", "expired"),
        ],
    );
    let daily = Rules {
        daily: Some(2),
        ..rules()
    };
    check(
        "the newest of each day, in UTC; days without a backup don't count",
        &daily,
        &[
            ("2026-11-21T00:00:00Z", "newest daily"),
            ("2026-11-17T23:59:59Z", "daily"),
            ("2026-11-17T00:00:00Z", "expired"),
            ("2026-11-16T23:59:59Z", "expired"),
        ],
    );
    let weekly = Rules {
        weekly: Some(3),
        ..rules()
    };
    check(
        "ISO weeks: a Sunday ends one, a Monday begins the next",
        &weekly,
        &[
            ("16", "newest weekly"),
            ("15", "weekly"),
            ("9", "expired"),
            ("8", "weekly"),
            ("1", "expired"),
        ],
    );
    check(
        "the last week of a year ends in the next one",
        &weekly,
        &[
            ("2021-01-04T00:00:00Z", "newest weekly"),
            ("2021-01-03T23:59:59Z", "weekly"),
            ("2020-12-28T00:00:00Z", "expired"),
            ("2020-12-27T23:59:59Z", "weekly"),
        ],
    );
    let monthly = Rules {
        monthly: Some(2),
        ..rules()
    };
    check(
        "months, across the end of a year",
        &monthly,
        &[
            ("2026-01-01T00:00:00Z", "newest monthly"),
            ("2025-12-31T23:59:59Z", "monthly"),
            ("2025-12-01T00:00:00Z", "expired"),
            ("2025-01-01T00:00:00Z", "expired"),
        ],
    );
    check(
        "the same month of another year is another month",
        &monthly,
        &[
            ("2026-01-01T00:00:00Z", "newest monthly"),
            ("2025-01-01T00:00:00Z", "monthly"),
        ],
    );
    let yearly = Rules {
        yearly: Some(2),
        ..rules()
    };
    check(
        "years",
        &yearly,
        &[
            ("2026-01-01T00:00:00Z", "newest yearly"),
            ("2025-12-31T23:59:59Z", "yearly"),
            ("2025-01-01T00:00:00Z", "expired"),
            ("2023-12-31T23:59:59Z", "expired"),
        ],
    );
}

/// The example of the manual: a backup each night from 1 to 21 November 2026, a Saturday.
#[test]
fn three_days_two_weeks_two_months() {
    let rules = Rules {
        daily: Some(3),
        weekly: Some(2),
        monthly: Some(2),
        ..rules()
    };
    let days: Vec<String> = (1..=21).rev().map(|day| day.to_string()).collect();
    let rows: Vec<(&str, &str)> = days
        .iter()
        .map(|day| {
            let verdict = match day.as_str() {
                "21" => "newest daily weekly monthly",
                "20" | "19" => "daily",
                "15" => "weekly",
                _ => "expired",
            };
            (day.as_str(), verdict)
        })
        .collect();
    assert_eq!(rows.iter().filter(|row| row.1 == "expired").count(), 17);
    check("17 go", &rules, &rows);
}

#[test]
fn rules_add_up() {
    let rules = Rules {
        last: Some(1),
        within: Some(2 * DAY),
        daily: Some(1),
        yearly: Some(2),
        ..rules()
    };
    check(
        "every rule counts for itself, and nothing is kept to fill one",
        &rules,
        &[
            ("21", "newest last within daily yearly"),
            ("2026-11-20T23:00:00Z", "within"),
            ("20", "within"),
            ("19", "expired"),
            ("2025-06-02T00:00:00Z", "yearly"),
            ("2025-06-01T00:00:00Z", "expired"),
        ],
    );
}

#[test]
fn equal_seconds() {
    let last = Rules {
        last: Some(2),
        ..rules()
    };
    check(
        "the larger number is the newer one",
        &last,
        &[
            ("21 -10", "newest last"),
            ("21 -2", "last"),
            ("21", "expired"),
            ("20 -99", "expired"),
        ],
    );
    let within = Rules {
        within: Some(Duration::from_secs(1)),
        ..rules()
    };
    check(
        "none is younger",
        &within,
        &[("21", "within"), ("21 -2", "newest within")],
    );
}

#[test]
fn sources() {
    let last = Rules {
        last: Some(1),
        ..rules()
    };
    let rows = [
        ("21", ["newest last", "newest last"]),
        ("20 nas", ["newest last", "expired"]),
        ("19", ["expired", "expired"]),
        ("18 nas", ["expired", "expired"]),
        ("22 unknown", ["unknown source", "newest last"]),
        ("17 unknown", ["unknown source", "expired"]),
        ("16 unknown replaced", ["unknown source", "no rule"]),
    ];
    let apart = rows.map(|(words, [apart, _])| (words, apart));
    // The newest of all is one of unknown source.
    let mut as_one = rows.map(|(words, [_, as_one])| (words, as_one));
    as_one[0].1 = "expired";
    check("one never pushes out another's; unknown ones stay", &last, &apart);
    let one_source = Rules {
        one_source: true,
        ..last
    };
    check("--one-source counts everything as one library's", &one_source, &as_one);

    let mut other_path = backup("20");
    other_path.source.as_mut().unwrap().path = "/srv/library.db".into();
    let backups = [backup("21"), other_path, backup("19")];
    let rules = Rules {
        last: Some(1),
        ..self::rules()
    };
    let verdicts: Vec<_> = decide(&backups, &rules, at(NOW)).iter().map(shown).collect();
    assert_eq!(
        verdicts,
        ["newest last", "newest last", "expired"],
        "two libraries of one host"
    );
}

#[test]
fn what_is_left_alone() {
    let last = Rules {
        last: Some(1),
        one_source: true,
        ..rules()
    };
    check(
        "what can't be counted neither goes nor takes a place",
        &last,
        &[
            ("21 damaged", "left alone"),
            ("21 link", "left alone"),
            ("21 named", "left alone"),
            ("20", "newest last"),
            ("19 damaged", "left alone"),
            ("19 link", "left alone"),
            ("19 named", "left alone"),
            ("18", "expired"),
        ],
    );
    check(
        "dated more than a day ahead, which is another second",
        &last,
        &[
            ("2099-01-01T00:00:00Z", "left alone"),
            ("2026-11-22T12:00:01Z", "left alone"),
            ("2026-11-22T12:00:00Z", "newest last"),
            ("21", "expired"),
        ],
    );
    check(
        "of unknown source, but first of all damaged",
        &Rules {
            last: Some(1),
            ..rules()
        },
        &[("21 unknown damaged", "left alone"), ("21 unknown", "unknown source")],
    );
}

#[test]
fn safety_backups() {
    let both = Rules {
        last: Some(1),
        replaced: Some(10 * DAY),
        ..rules()
    };
    check(
        "older than the newest ordinary one by AGE or more",
        &both,
        &[
            ("22 replaced", "replaced"),
            ("21", "newest last"),
            ("2026-11-11T03:00:01Z replaced", "replaced"),
            ("11 replaced", "expired"),
            ("2", "expired"),
            ("1 replaced", "expired"),
        ],
    );
    check(
        "they count for no other rule, and no other rule lets them go",
        &Rules {
            last: Some(1),
            daily: Some(1),
            ..rules()
        },
        &[
            ("21 replaced", "no rule"),
            ("20", "newest last daily"),
            ("19", "expired"),
            ("1 replaced", "no rule"),
        ],
    );
    let alone = Rules {
        replaced: Some(DAY),
        ..rules()
    };
    check(
        "with --keep-replaced alone all ordinary ones stay",
        &alone,
        &[
            ("21", "newest"),
            ("20 replaced", "expired"),
            ("19", "no rule"),
            ("1", "no rule"),
        ],
    );
    check(
        "where a source has no ordinary backup, its safety backups all stay",
        &alone,
        &[
            ("21 nas", "newest"),
            ("2 replaced", "no rule"),
            ("1 replaced", "no rule"),
            ("1 replaced nas", "expired"),
        ],
    );
    check(
        "one that is not counted is none",
        &alone,
        &[
            ("21 damaged", "left alone"),
            ("20 named", "left alone"),
            ("2099-01-01T00:00:00Z", "left alone"),
            ("1 replaced", "no rule"),
        ],
    );
    check(
        "damaged safety backups, and those of unknown source, stay",
        &alone,
        &[
            ("21", "newest"),
            ("1 replaced damaged", "left alone"),
            ("1 replaced link", "left alone"),
            ("1 replaced unknown", "unknown source"),
        ],
    );
}

/// Without a rule for ordinary backups, none of them goes; without any rule, nothing does.
#[test]
fn without_rules() {
    check(
        "no rule at all",
        &rules(),
        &[("21", "newest"), ("20", "no rule"), ("1 replaced", "no rule")],
    );
    assert!(rules().is_empty());
    let each: [fn(&mut Rules); 8] = [
        |r| r.last = Some(1),
        |r| r.within = Some(DAY),
        |r| r.hourly = Some(1),
        |r| r.daily = Some(1),
        |r| r.weekly = Some(1),
        |r| r.monthly = Some(1),
        |r| r.yearly = Some(1),
        |r| r.replaced = Some(DAY),
    ];
    for set in each {
        let mut rules = rules();
        set(&mut rules);
        assert!(!rules.is_empty(), "{rules:?}");
        // Whatever the rule, the newest ordinary one stays.
        let verdict = &decide(&[backup("21")], &rules, at(NOW))[0];
        assert!(matches!(verdict, Verdict::Kept(reasons) if reasons[0] == Reason::Newest));
    }
}
