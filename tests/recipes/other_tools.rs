//! Other people's tools in the pipe: encryption, object storage, repositories, compressors, archivers.

use crate::support::place::Place;
use crate::support::{dump, has_tools};

#[test]
fn age_encrypts_on_the_way() {
    if !has_tools("age", &["age", "age-keygen"]) {
        return;
    }
    let place = Place::with_library();
    place
        .manual("age-keygen -o key.txt && age-keygen -y key.txt > recipients.txt")
        .ok();
    place
        .recipe("vpo-library backup -o - | age -R recipients.txt > x.tar.gz.age")
        .ok();
    let before = place.accident();
    // What is encrypted is not a backup to whoever has no key.
    place.sh("vpo-verify x.tar.gz.age").ends(46);
    place
        .recipe("age -d -i key.txt x.tar.gz.age | vpo-library restore --yes -")
        .ok();
    place.recovered(&before);

    // A cut file gives no library, though age has passed on what it could read.
    place.accident();
    let damaged = dump(&place.library());
    place
        .sh("head -c 70000 x.tar.gz.age | age -d -i key.txt | vpo-library restore --yes -")
        .ends(46);
    assert!(dump(&place.library()) == damaged);
    place.clean();
}

#[test]
fn rclone_carries_archives_to_object_storage() {
    if !has_tools("rclone", &["rclone"]) {
        return;
    }
    let mut place = Place::with_library();
    let store = place.path("store");
    std::fs::create_dir(&store).unwrap();
    let config = place.path("rclone.conf");
    let remote = format!("[remote]\ntype = alias\nremote = {}\n", store.display());
    std::fs::write(&config, remote).unwrap();
    place.set("RCLONE_CONFIG", config.to_str().unwrap());

    place
        .recipe("vpo-library backup -o - | rclone rcat remote:vpo/library.tar.gz")
        .ok();
    place.manual("rclone cat remote:vpo/library.tar.gz | vpo-verify").ok();
    let before = place.accident();
    place
        .recipe("rclone cat remote:vpo/library.tar.gz | vpo-library restore --yes -")
        .ok();
    place.recovered(&before);

    // rcat can't know that its input ended too early; the reader does.
    place
        .sh("vpo-library backup -o - | head -c 9999 | rclone rcat remote:vpo/short.tar.gz")
        .ok();
    let short = place.sh("rclone cat remote:vpo/short.tar.gz | vpo-library restore --yes -");
    short.ends(46);
    place.recovered(&before);

    place.sh("vpo-library backup -q").ok();
    place.manual("rclone copy ~/.vpo/backups remote:vpo/backups").ok();
    place.sh("vpo-verify -q store/vpo/backups").ok();
    place.clean();
}

#[test]
fn restic_keeps_snapshots() {
    if !has_tools("restic", &["restic"]) {
        return;
    }
    let mut place = Place::with_library();
    let repository = place.path("repository");
    place.set("RESTIC_REPOSITORY", repository.to_str().unwrap());
    place.set("RESTIC_PASSWORD", "of the test");
    place.sh("restic init").ok();
    place
        .recipe("vpo-snapshot | restic backup --stdin --stdin-filename library.db")
        .ok();
    place
        .recipe("restic dump latest library.db | vpo-pack | vpo-verify")
        .ok();
    let before = place.accident();
    place
        .manual("restic dump latest library.db | vpo-pack | vpo-unpack-restore --yes")
        .ok();
    place.recovered(&before);

    // restic stores a snapshot that was cut like any other; it can't become a library.
    place
        .sh("vpo-snapshot | head -c 99999 | restic backup --stdin --stdin-filename library.db")
        .ok();
    let short = place.sh("restic dump latest library.db | vpo-pack | vpo-unpack-restore --yes");
    assert!(short.stderr.contains("vpo-pack: "), "{}", short.stderr);
    short.ends(46);
    place.recovered(&before);
    place.clean();
}

#[test]
fn zstd_compresses_a_snapshot() {
    if !has_tools("zstd", &["zstd"]) {
        return;
    }
    let place = Place::with_library();
    place.manual("vpo-snapshot | zstd > library.db.zst").ok();
    let before = place.accident();
    place
        .manual("zstd -dc library.db.zst | vpo-pack | vpo-unpack-restore --yes")
        .ok();
    place.recovered(&before);
    // It is not a backup by itself, and the programs say what it is.
    let refused = place.sh("vpo-verify library.db.zst").ends(46);
    assert!(refused.stdout.contains("zstd"), "{}", refused.stdout);
    place.clean();
}

#[test]
fn pv_shows_and_limits_the_flow() {
    if !has_tools("pv", &["pv"]) {
        return;
    }
    let place = Place::with_library();
    place.manual("vpo-snapshot | pv | vpo-pack > x.tar.gz").ok();
    std::fs::create_dir(place.path("backups")).unwrap();
    place
        .recipe("vpo-snapshot | vpo-pack | pv -q -L 4m | vpo-verify --save backups/")
        .ok();
    let before = place.accident();
    place.manual("pv x.tar.gz | vpo-unpack-restore --yes").ok();
    place.recovered(&before);
    place.clean();
}

#[test]
fn split_and_cat() {
    let place = Place::with_library();
    let recipe = "vpo-library backup -o - | split -b 1G - library.tar.gz.";
    place.recipe(recipe).ok();
    place.sh("vpo-verify <library.tar.gz.aa && rm library.tar.gz.*").ok();
    // The same, with pieces that are small enough for this library.
    place.sh(&recipe.replace("1G", "16K")).ok();
    place.sh("test -e library.tar.gz.ac").ok();
    let before = place.accident();
    place.recipe("cat library.tar.gz.* | vpo-library restore --yes -").ok();
    place.recovered(&before);
    for wrong in [
        "cat library.tar.gz.a[b-z]",
        "cat library.tar.gz.aa library.tar.gz.a[c-z]",
        "ls -r library.tar.gz.* | xargs cat",
        "cat library.tar.gz.* library.tar.gz.aa",
    ] {
        place.sh(&format!("{wrong} | vpo-library restore --yes -")).ends(46);
    }
    place.recovered(&before);
    place.clean();
}

/// GNU tar, bsdtar and busybox open an archive; what they have taken out is the library.
#[test]
fn archivers_open_a_backup() {
    let place = Place::with_library();
    place.sh("vpo-library backup -q -o x.tar.gz").ok();
    let here = dump(&place.library());
    for (tools, recipe) in [
        (&["tar", "gzip"][..], "tar xzf x.tar.gz library.db"),
        (&["bsdtar"], "bsdtar xf x.tar.gz library.db"),
        (&["busybox"], "busybox tar xzf x.tar.gz library.db"),
    ] {
        if has_tools(tools[0], tools) {
            place.manual(recipe).ok();
            assert!(dump(&place.path("library.db")) == here, "{recipe}");
            place.sh("vpo-snapshot | cmp - library.db && rm library.db").ok();
        }
    }
    if has_tools("a database that was taken out", &["sqlite3"]) {
        place.readme("tar xzf x.tar.gz library.db").ok();
        let paths = place.readme("sqlite3 library.db 'select path from files'").ok();
        assert_eq!(paths.lines().count(), 100);
    }
    let metadata = place.recipe("tar xOzf x.tar.gz backup_metadata.json").ok();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(metadata["file_count"], 100);
}

/// What they have packed is a backup too.
#[test]
fn archivers_make_a_backup() {
    let place = Place::with_library();
    let before = dump(&place.library());
    place.sh("vpo-library backup -q -o x.tar.gz && tar xzf x.tar.gz").ok();
    for (tools, pack) in [
        (&["tar", "gzip"][..], "tar czf y.tar.gz library.db backup_metadata.json"),
        (
            &["bsdtar"],
            "bsdtar --no-mac-metadata -czf y.tar.gz library.db backup_metadata.json",
        ),
        (&["busybox"], "busybox tar czf y.tar.gz library.db backup_metadata.json"),
        (&["gzip"], "zcat x.tar.gz | gzip > y.tar.gz"),
    ] {
        if has_tools(tools[0], tools) {
            place.accident();
            place
                .sh(&format!(
                    "rm -f y.tar.gz && {pack} && vpo-unpack-restore --yes y.tar.gz"
                ))
                .ok();
            place.recovered(&before);
        }
    }
    // Written anew in blocks, with its time kept.
    if has_tools("jq", &["jq"]) {
        place.sh("mv y.tar.gz old.tar.gz").ok();
        place
            .manual(
                "time=$(tar xOzf old.tar.gz backup_metadata.json | jq -r .created_at)
                 tar xOzf old.tar.gz library.db | vpo-pack --created-at \"$time\" > new.tar.gz",
            )
            .ok();
        // VPO's own say no source; what this one says is lost on the way.
        let of = |name: &str| format!("tar xOzf {name} library.db");
        let time = |name: &str| format!("$(tar xOzf {name} backup_metadata.json | jq -r .created_at)");
        place
            .sh(&format!(
                "{} > 1.db && {} > 2.db && cmp 1.db 2.db && rm 1.db 2.db && test \"{}\" = \"{}\"",
                of("x.tar.gz"),
                of("new.tar.gz"),
                time("x.tar.gz"),
                time("new.tar.gz")
            ))
            .ok();
    }
    place.clean();
}
