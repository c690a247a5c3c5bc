//! The examples of the pages of the single programs, those that no other recipe has.

use std::os::unix::fs::PermissionsExt;

use crate::support::place::Place;
use crate::support::{dump, has_tools};

#[test]
fn of_vpo_snapshot() {
    let place = Place::with_library();
    place.manual("vpo-snapshot | vpo-pack > library.tar.gz").ok();
    place.manual("vpo-verify library.tar.gz && echo whole").ok();
    if has_tools("sqlite3", &["sqlite3"]) {
        let count = "vpo-snapshot > copy.db && sqlite3 copy.db 'select count(*) from files'";
        assert_eq!(place.manual(count).ok(), "100\n");
    }
    place
        .manual(
            "stats=$(mktemp)
             vpo-snapshot --stats \"$stats\" | vpo-pack --stats \"$stats\" > library.tar.gz
             rm \"$stats\"",
        )
        .ok();
    place.sh("vpo-verify -q library.tar.gz").ok();
    place
        .manual(
            "mkfifo facts
             vpo-snapshot --stats facts | vpo-pack --stats facts > library.tar.gz
             rm facts",
        )
        .ok();
    place.sh("vpo-verify -q library.tar.gz").ok();
    place.clean();
}

#[test]
fn of_vpo_pack() {
    let place = Place::with_library();
    place.readme("vpo-snapshot | vpo-pack > x.tar.gz").ok();
    place.readme("vpo-verify x.tar.gz").ok();
    place.manual("vpo-snapshot | vpo-pack -l 12 -t 2 > small.tar.gz").ok();
    place.sh("vpo-snapshot | vpo-pack > library.tar.gz").ok();
    let next = "vpo-snapshot | vpo-pack --reuse library.tar.gz > next.tar.gz";
    place.manual(next).ok();
    place.sh("vpo-verify -q next.tar.gz").ok();
    place
        .sh("vpo-verify -q small.tar.gz && test $(wc -c <small.tar.gz) -lt $(wc -c <x.tar.gz)")
        .ok();
    place.clean();
}

#[test]
fn of_vpo_unpack_restore() {
    let place = Place::with_library();
    place.sh("vpo-library backup -q -o library.tar.gz").ok();
    place
        .manual_as("vpo-unpack-restore --db /tmp/old.db library.tar.gz", "/tmp/", "")
        .ok();
    assert!(dump(&place.path("old.db")) == dump(&place.library()));
    if has_tools("sqlite3", &["sqlite3"]) {
        let paths = place.manual_as("sqlite3 /tmp/old.db 'select path from files'", "/tmp/", "");
        assert_eq!(paths.ok().lines().count(), 100);
    }
    let before = place.accident();
    place
        .manual("vpo-unpack-restore --yes --timeout 60 library.tar.gz")
        .ok();
    place.recovered(&before);
    place.clean();
}

#[test]
fn of_vpo_diff() {
    let place = Place::with_library();
    let diff = "vpo-diff x.tar.gz ~/.vpo/library.db";
    let if_changed = "vpo-library diff -q
        case $? in
        0)  ;;
        1)  vpo-library backup -q ;;
        *)  echo \"cannot compare\" ;;
        esac";
    place.sh("vpo-library backup -q && cp .vpo/backups/* x.tar.gz").ok();
    assert_eq!(place.manual(diff).ok(), "");
    place.manual(if_changed).ok();
    assert_eq!(place.sh("vpo-ls-backups --names").ok().lines().count(), 1);

    place.accident();
    let lost = place.manual(diff).ends(1).stdout;
    assert!(
        lost.lines().count() == 50 && lost.lines().all(|line| line.starts_with("D\t/")),
        "{lost}"
    );
    let stat = place
        .manual("vpo-diff --stat x.tar.gz ~/.vpo/library.db")
        .ends(1)
        .stdout;
    assert!(stat.starts_with("0 added, 50 removed, 0 changed\n\nRows in "), "{stat}");
    let of_library = place.recipe("vpo-library diff").ends(1).stdout;
    assert_eq!(of_library, lost);
    assert_eq!(place.readme("vpo-library diff --stat latest").ends(1).stdout, stat);
    place
        .sh("cp x.tar.gz monday.tar.gz; vpo-library backup -q -o tuesday.tar.gz")
        .ok();
    let between = place.readme("vpo-diff --stat monday.tar.gz tuesday.tar.gz");
    assert_eq!(between.ends(1).stdout, stat);
    let there = "vpo-diff -0 x.tar.gz ~/.vpo/library.db | sed -zn 's/^D\\t//p' |
        xargs -0 -r ls -d";
    // None of the videos exists.
    assert_eq!(place.manual(there).ends(123).stdout, "");
    place
        .manual_as(
            "for backup in $(vpo-ls-backups --names); do
                 vpo-diff \"$backup\" ~/.vpo/library.db | grep -q 'S01E06' &&
                     echo \"$backup\" && break
             done",
            "S01E06",
            "^D",
        )
        .ok();
    place.manual(if_changed).ok();
    assert_eq!(place.sh("vpo-ls-backups --names").ok().lines().count(), 2);
    place.clean();
}

#[test]
fn of_vpo_library() {
    let place = Place::with_library();
    std::fs::create_dir(place.path("disk")).unwrap();
    place
        .manual_as("vpo-library backup --verify -o /mnt/disk/", "/mnt/disk/", "disk/")
        .ok();
    assert_eq!(std::fs::read_dir(place.path("disk")).unwrap().count(), 1);

    // The undo; and by the bare name of the safety backup, from elsewhere and in its directory.
    place.sh("vpo-library backup -q").ok();
    let undo = "vpo-library restore replaced";
    let by_name = undo.replace("replaced", "NAME");
    for line in [undo, &by_name, &format!("cd ~/.vpo/backups; {by_name}")] {
        place.accident();
        let after = dump(&place.library());
        place.sh("vpo-library restore --yes -q latest").ok();
        let safety = place
            .sh("vpo-ls-backups --names | grep replaced | head -n 1 | sed 's,.*/,,'")
            .ok();
        let line = line.replace("restore", "restore --yes").replace("NAME", safety.trim());
        place.sh(&line).ok();
        place.recovered(&after);
        place
            .sh("rm .vpo/backups/*-replaced*; vpo-library restore --yes -q --no-safety-backup latest")
            .ok();
    }
    // As the page has it.
    place.manual_as(undo, "restore", "restore --dry-run").ends(20);
    // Lines of a crontab.
    for (when, line) in [
        (
            "15 3 * * *  ",
            "/usr/local/bin/vpo-library backup -q --log ~/.vpo/backup.log",
        ),
        (
            "15 5 * * 0  ",
            "/usr/local/bin/vpo-library prune -q --yes --keep-daily 7",
        ),
    ] {
        let ran = place.manual_as(&format!("{when}{line}"), &format!("{when}/usr/local/bin/"), "");
        assert_eq!(ran.ok(), "");
    }
    let writes = "umask 077; PATH=/usr/local/bin:$PATH; vpo-snapshot | vpo-pack > ~/library.tar.gz";
    place
        .manual_as(&format!("15 3 * * *  {writes}"), "15 3 * * *  ", "umask 022; ")
        .ok();
    let mode = place.path("library.tar.gz").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let told = place.readme("vpo-library -v backup").ends(0).stderr;
    assert!(
        told.starts_with("vpo-snapshot ") && told.contains(" | vpo-pack "),
        "{told}"
    );
    place.clean();
}

/// The bad day, and the new machine of the README.
#[test]
fn of_a_restore() {
    let place = Place::with_library();
    place.sh("vpo-library backup -q --backup-dir backups").ok();
    let before = place.accident();
    let after = dump(&place.library());
    let theirs = "/mnt/backups";
    let listed = place.readme_as("vpo-library --backup-dir /mnt/backups backups", theirs, "backups");
    assert!(listed.ok().contains("\n1 backup, "), "one backup is listed");
    let line = "vpo-library --backup-dir /mnt/backups restore latest";
    let alone = place.readme_as(line, theirs, "backups").ends(1);
    assert!(alone.stderr.contains("no terminal to ask on"), "{}", alone.stderr);
    place.sh("vpo-library --backup-dir backups restore --yes latest").ok();
    place.recovered(&before);
    let undo = "vpo-library restore replaced";
    place
        .readme_as(undo, "restore", "--backup-dir backups restore --yes")
        .ok();
    place.recovered(&after);

    // Where there is no library, nothing is asked.
    std::fs::remove_dir_all(place.path(".vpo")).unwrap();
    place.readme_as(line, theirs, "backups").ok();
    place.recovered(&before);
    place.clean();
}

#[test]
fn of_vpo_verify_and_the_format() {
    let place = Place::with_library();
    place
        .sh("vpo-library backup -q && cp .vpo/backups/* x.tar.gz && tar xzf x.tar.gz")
        .ok();
    assert_eq!(place.manual("vpo-verify -q ~/.vpo/backups").ok(), "");
    place.manual("tar czf y.tar.gz library.db backup_metadata.json").ok();
    place.manual("tar xOzf y.tar.gz library.db | vpo-pack > z.tar.gz").ok();
    place.sh("vpo-verify -q y.tar.gz z.tar.gz").ok();
    let digest = place.manual("tar xOzf x.tar.gz library.db | sha256sum").ok();
    if has_tools("jq", &["jq"]) {
        let metadata = place.manual("tar xOzf x.tar.gz backup_metadata.json | jq .").ok();
        assert!(metadata.contains(&digest[..64]), "{metadata}");
    }
}
