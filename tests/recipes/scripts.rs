//! In scripts: names with NULs, JSON, exit statuses.

use std::path::PathBuf;

use crate::place::{Place, content, has_tools};

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
    let (place, [new, _, old]) = with_backups();
    let newest = "vpo-ls-backups --json | jq -r 'first(.backups[]
                      | select((.error or .replaced) | not) | .path)'";
    assert_eq!(place.manual(newest).ok(), format!("{}\n", new.display()));
    assert_eq!(
        place.sh("vpo-ls-backups --json | jq '.backups[0].path'").ok(),
        format!("\"{}\"\n", new.display())
    );
    let prune = "vpo-ls-backups --json | jq -r '[.backups[]
                     | select((.error or .replaced) | not) | .path][10:][]' |
                     tr '\\n' '\\0' | xargs -0 -r rm";
    place.manual(prune).ok();
    assert!(old.exists());
    place.sh(&prune.replace("[10:]", "[1:]")).ok();
    assert!(!old.exists() && new.exists());

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
    let after = content(&place.library());
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
    let cron = place.manual("vpo-library backup -q --log ~/.vpo/backup.log").ends(0);
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
