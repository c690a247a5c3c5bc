//! In scripts: names with NULs, JSON, exit statuses.

use std::path::PathBuf;

use crate::support::place::Place;
use crate::support::{craft, dump, has_tools, read, unpack, write};

/// Two ordinary backups, the older one a day and a half old, and one safety backup between them.
fn with_backups() -> (Place, [PathBuf; 3]) {
    let place = Place::with_library();
    let names = place
        .sh("set -e; mkdir .vpo/backups; cd .vpo/backups
             make() { vpo-snapshot | vpo-pack --created-at \"$(date -u -d \"$1\" +%FT%TZ)\" >x
                      name=vpo-library-$(date -u -d \"$1\" +%FT%H%M%SZ)$2.tar.gz; mv x $name; echo $name; }
             make '-2 hours' ''; make '-5 hours' -replaced; make '-36 hours' ''")
        .ok();
    let paths: Vec<PathBuf> = names
        .lines()
        .map(|name| place.path(".vpo/backups").join(name))
        .collect();
    (place, paths.try_into().unwrap())
}

fn damage(path: &PathBuf) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn xargs_verifies_every_backup() {
    let (place, [_, _, old]) = with_backups();
    let recipe = "vpo-ls-backups -0 | xargs -0 -r -n 1 -P 4 vpo-verify -q";
    assert_eq!(place.recipe(recipe).ok(), "");
    damage(&old);
    let bad = place.recipe(recipe).ends(123);
    assert!(
        bad.stderr.starts_with(&format!("bad {}: ", old.display())),
        "{}",
        bad.stderr
    );

    std::fs::create_dir(place.path("disk")).unwrap();
    let copy = "vpo-ls-backups -0 | xargs -0 -I {} cp -n {} /mnt/disk/";
    place.manual_as(copy, "/mnt/disk/", "disk/").ok();
    assert_eq!(std::fs::read_dir(place.path("disk")).unwrap().count(), 3);

    // A directory with a name that only NULs survive.
    let line = "mkdir 'a\nb' && cp .vpo/backups/*[0-9]Z.tar.gz 'a\nb'/ && vpo-ls-backups -0 'a\nb' | xargs -0 -n 1 ls";
    assert_eq!(place.sh(line).ok().lines().count(), 4);
}

#[test]
fn jq_picks_backups() {
    if !has_tools("jq", &["jq"]) {
        return;
    }
    let (place, [new, ..]) = with_backups();
    let newest = "vpo-ls-backups --json | jq -r 'first(.backups[]
                      | select((.error or .replaced) | not) | .path)'";
    assert_eq!(place.manual(newest).ok(), format!("{}\n", new.display()));
    assert_eq!(
        place.sh("vpo-ls-backups --json | jq '.backups[0].path'").ok(),
        format!("\"{}\"\n", new.display())
    );
    damage(&new);
    let reasons = place
        .manual(
            "vpo-verify --json ~/.vpo/backups |
                jq -r '.archives[] | select(.valid | not)
                    | \"\\(.path): \\(.error)\"'",
        )
        .ok();
    assert!(reasons.starts_with(&format!("{}: ", new.display())), "{reasons}");
    assert_eq!(reasons.lines().count(), 1);

    let saved = place.manual("vpo-library backup --json | jq .compression_ratio").ok();
    assert!(saved.trim().parse::<f64>().unwrap() > 0.5, "{saved}");
    let most = place
        .manual("vpo-library backup --dry-run --json | jq .estimated_archive_max_bytes")
        .ok();
    assert!(most.trim().parse::<u64>().unwrap() > 1000, "{most}");
    let files = place.manual("vpo-snapshot --stats /dev/fd/3 3>&1 >/dev/null | jq .file_count");
    assert_eq!(files.ok(), "100\n");
    let report = place.sh("vpo-library backup -q -o library.tar.gz").ok();
    assert_eq!(report, "");
    let would = place.manual(
        "vpo-unpack-restore --dry-run --json library.tar.gz |
            jq '{created_at, file_count, schema_mismatch}'",
    );
    assert!(would.ok().contains("\"file_count\": 100"));
}

/// A backup at three o'clock of each of the last so many nights, the newest of last night; gives their names.
fn nights(place: &Place, count: u32) -> Vec<String> {
    place
        .sh("mkdir -p .vpo/backups; vpo-snapshot --stats stats | vpo-pack --stats stats >one.tar.gz")
        .ok();
    let (database, mut metadata) = unpack(&read(place.path("one.tar.gz")));
    // They differ in their time alone, so that what comes before it is compressed once.
    let front = craft::entry("library.db", &database);
    let blocks = craft::blocks_of(&front, b"");
    let number = front.chunks(craft::BLOCK).len() as u32;
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let night = |night: u32| {
        let date = today.checked_sub(jiff::Span::new().days(night)).unwrap();
        metadata["created_at"] = format!("{date}T03:00:00Z").into();
        let last = craft::block(number, &craft::ending(metadata.to_string().as_bytes()));
        let name = format!("vpo-library-{date}T030000Z.tar.gz");
        write(place.path(".vpo/backups").join(&name), &[&blocks[..], &last].concat());
        name
    };
    (1..=count).rev().map(night).collect()
}

#[test]
fn old_backups_go() {
    let place = Place::with_library();
    let all = nights(&place, 400);
    let left = || {
        place
            .sh("ls .vpo/backups")
            .ok()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let dry = "vpo-library prune --dry-run --keep-daily 7 --keep-weekly 5 --keep-monthly 12";
    let shown = place.readme(dry).ok();
    assert!(shown.contains(" of 400 to remove, "), "{shown}");
    let dry = "vpo-library prune --dry-run --keep-daily 7 --keep-weekly 5 \\
                   --keep-monthly 12";
    assert_eq!(place.manual(dry).ok(), shown);
    assert_eq!(left(), all);
    let prune = "vpo-library prune --keep-daily 7 --keep-weekly 5 --keep-monthly 12";
    let alone = place.recipe(prune).ends(1);
    assert!(alone.stderr.contains("no terminal to ask on"), "{}", alone.stderr);
    place.sh(&format!("{prune} --yes")).ok();
    // 7 days, 3 or 4 weeks before them, and 8 to 12 months before these.
    let kept = left();
    assert!((18..=23).contains(&kept.len()), "{kept:?}");
    assert_eq!(kept[kept.len() - 7..], all[393..]);

    let why = place.manual("vpo-ls-backups --keep-daily 7 --keep-weekly 5").ok();
    assert!(why.contains("  newest, daily, weekly\n"), "{why}");
    let filter = "vpo-ls-backups --expired --keep-daily 7 --keep-weekly 5 -0 | xargs -0 -r rm --";
    place.manual(filter).ok();
    assert!((10..=11).contains(&left().len()), "{:?}", left());
    place.manual(filter).ok();
    place.manual("vpo-library prune --keep-replaced 30d").ok();
    place.clean();
}

/// A policy changes every track, and not the number of files: the lists of names and counts don't show it.
#[test]
fn the_last_good_backup_is_found() {
    let place = Place::with_library();
    std::fs::create_dir(place.path(".vpo/backups")).unwrap();
    let night = |day: &str| {
        place
            .sh(&format!(
                "vpo-snapshot --stats stats | vpo-pack --stats stats --created-at {day}T03:15:00Z |
                     vpo-verify -q --save .vpo/backups/"
            ))
            .ok();
    };
    night("2026-02-03");
    night("2026-02-04");
    let before = dump(&place.library());
    let db = rusqlite::Connection::open(place.library()).unwrap();
    db.execute_batch("UPDATE tracks SET title = 'as the policy says'")
        .unwrap();
    db.close().map_err(|(_, error)| error).unwrap();
    let after = dump(&place.library());
    night("2026-02-05");

    let listed = place.manual("vpo-library backups").ok();
    assert!(listed.contains("\n3 backups, "), "{listed}");
    let same = place.manual("vpo-library diff --stat 2026-02-05 | head -n 1").ok();
    assert_eq!(same, "0 added, 0 removed, 0 changed\n");
    let differ = place.manual("vpo-library diff --stat 2026-02-04 | head -n 1").ok();
    assert_eq!(differ, "0 added, 0 removed, 100 changed\n");
    let files = place.manual("vpo-library diff 2026-02-04 | head -n 3").ok();
    assert!(
        files.lines().count() == 3 && files.lines().all(|line| line.starts_with("M\t/")),
        "{files}"
    );
    place
        .manual_as("vpo-library restore 2026-02-04", "restore", "restore --yes")
        .ok();
    place.recovered(&before);
    place
        .manual_as("vpo-library restore replaced", "restore", "restore --yes")
        .ok();
    place.recovered(&after);
    place.clean();
}

#[test]
fn the_log_answers() {
    if !has_tools("the log", &["jq"]) {
        return;
    }
    let mut place = Place::with_library();
    let all = nights(&place, 3);
    let log = place.path(".vpo/backup.log");
    place.set("VPO_LIBRARY_LOG", log.to_str().unwrap());
    place
        .sh(
            "vpo-library backup -q; vpo-library --db gone.db backup -q; vpo-library verify -q
             vpo-library prune -q --yes --keep-last 1; vpo-library prune -q --yes --keep-last 1
             vpo-library prune -q --keep-last 0; vpo-library backup -q",
        )
        .ok();
    let last = place.manual(
        "jq -s 'map(select(.command == \"backup\" and .exit_code != 0))
             | last | {time, error}' ~/.vpo/backup.log",
    );
    let last = last.ok();
    assert!(
        last.contains("there is no library at") && last.contains("gone.db"),
        "{last}"
    );
    let grew = place.manual(
        "jq -r 'select(.command == \"backup\" and .exit_code == 0)
             | [.time[:10], .database_size_bytes] | @tsv' ~/.vpo/backup.log",
    );
    let size = place.library().metadata().unwrap().len();
    let grew = grew.ok();
    assert_eq!(grew.lines().count(), 2);
    assert!(grew.lines().all(|line| line.ends_with(&format!("\t{size}"))), "{grew}");
    let removed = place.manual(
        "jq -r 'select(.command == \"prune\" and .removed)
             | .time as $t | .removed[] | \"\\($t) \\(.)\"' ~/.vpo/backup.log",
    );
    let removed = removed.ok();
    let names: Vec<&str> = removed.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(names, all);
}

#[test]
fn a_monitor_asks_for_a_fresh_backup() {
    let (place, [new, safety, old]) = with_backups();
    let recipe = "vpo-ls-backups -q --max-age 26h || echo \"no fresh backup\" >&2";
    assert_eq!(place.recipe(recipe).ends(0).stderr, "");
    place.sh("vpo-library backups --max-age 26h").ok();
    place.sh("vpo-ls-backups -q --max-age 1h").ends(1);
    // Neither a safety backup nor one that is short is a backup of the last day.
    std::fs::write(&new, &std::fs::read(&new).unwrap()[..5000]).unwrap();
    assert!(safety.exists() && old.exists());
    let late = place.recipe(recipe).ends(0).stderr;
    assert!(late.ends_with("\nno fresh backup\n"), "{late}");
    place.sh("vpo-library backups --max-age 26h").ends(1);
    place.sh("vpo-library backups --max-age 2d").ok();
}

#[test]
fn conditionals() {
    let (place, [new, _, old]) = with_backups();
    let restore = "vpo-library restore --yes latest
        case $? in
        0)  echo \"restored\" ;;
        43) echo \"stop the VPO daemon first\" ;;
        45) echo \"upgrade VPO first\" ;;
        46) echo \"the newest backup is bad; choose another\" ;;
        *)  echo \"the restore failed; see the message above\" ;;
        esac";
    let said = |script: &str| place.manual(script).ok().lines().last().unwrap_or_default().to_owned();
    assert_eq!(said(restore), "restored");
    place.sh("rm .vpo/backups/*-replaced*").ok();
    let held = rusqlite::Connection::open(place.library()).unwrap();
    held.execute_batch("BEGIN; SELECT count(*) FROM files").unwrap();
    let script =
        format!("VPO_LIBRARY_LOG=log; export VPO_LIBRARY_LOG\n{restore}").replace("latest", "--timeout 0 latest");
    assert_eq!(place.sh(&script).ok(), "stop the VPO daemon first\n");
    drop(held);
    assert_eq!(
        place
            .sh(&format!("VPO_SCHEMA_VERSION=26; export VPO_SCHEMA_VERSION\n{restore}"))
            .ok(),
        "upgrade VPO first\n"
    );
    damage(&new);
    assert_eq!(said(restore), "the newest backup is bad; choose another");
    std::fs::remove_file(&new).unwrap();
    assert_eq!(said(restore), "restored");

    let verify = "vpo-verify -q \"$archive\"
        case $? in
        0)  ;;
        20) echo \"there is no $archive\" ;;
        46) echo \"$archive is bad\" ;;
        *)  echo \"$archive could not be checked\" ;;
        esac";
    place.manual(verify).ok();
    let verdict = |archive: &str| place.sh(&format!("archive={archive}\n{verify}")).ok();
    assert_eq!(verdict(old.to_str().unwrap()), "");
    assert_eq!(verdict("gone.tar.gz"), "there is no gone.tar.gz\n");
    assert_eq!(verdict(".vpo/library.db"), ".vpo/library.db is bad\n");

    let backup = "vpo-library backup -q
        case $? in
        0)  ;;
        43) echo \"the library is in use; try again later\" ;;
        44) echo \"the disk is full\" ;;
        *)  echo \"the backup failed\" ;;
        esac";
    assert_eq!(place.manual(backup).ok(), "");
    std::fs::remove_file(place.library()).unwrap();
    assert_eq!(place.manual(backup).ok(), "the backup failed\n");
}

#[test]
fn everyday() {
    let place = Place::with_library();
    place.sh("vpo-library backup -q").ok();
    let before = place.accident();
    let after = dump(&place.library());
    place.recipe("vpo-library backups").ok();
    place.recipe("vpo-library verify").ok();
    let report = place.sh("vpo-library restore --yes latest").ok();
    place.recovered(&before);
    // The report tells how to go back, in a line that works.
    let back = report
        .lines()
        .find_map(|line| line.trim().strip_prefix("To go back: "))
        .unwrap()
        .to_owned();
    place.sh(&format!("{back} --yes")).ok();
    place.recovered(&after);

    // For cron: silent, with a line in the log.
    let cron = place.sh("vpo-library backup -q --log ~/.vpo/backup.log").ends(0);
    assert_eq!((cron.stdout.as_str(), cron.stderr.as_str()), ("", ""));
    let log = std::fs::read_to_string(place.path(".vpo/backup.log")).unwrap();
    assert_eq!(log.lines().count(), 1);

    // The pipeline of the overview, with and without a temporary copy.
    place
        .manual("vpo-snapshot | vpo-pack | vpo-verify --save ~/.vpo/backups/")
        .ok();
    place
        .manual(
            "stats=$(mktemp)
             vpo-snapshot --stats \"$stats\" | vpo-pack --stats \"$stats\" |
                 vpo-verify --save ~/.vpo/backups/
             rm \"$stats\"",
        )
        .ok();
    place.clean();
}
