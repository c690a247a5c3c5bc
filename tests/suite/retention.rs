//! Old backups: what the keep rules of `vpo-ls-backups` say, and what `vpo-library prune` does about it. Deciding itself
//! has a table of its own, in `src/backups/retention/tests.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::*;

const HERE: &str = "here:/home/u/.vpo/library.db";
const NAS: &str = "nas:/srv/library.db";

/// A directory of backups of the least library.
struct Shelf {
    world: World,
    directory: PathBuf,
}

impl Shelf {
    fn new() -> Self {
        let world = World::new();
        let directory = world.backups();
        std::fs::create_dir(&directory).unwrap();
        tiny(&world.path("tiny.db"));
        Shelf { world, directory }
    }

    /// Adds a backup with this time, form and number in its name, such as `2025-11-01T030000Z-replaced-2`.
    fn put(&self, name: &str, source: Option<&str>) -> PathBuf {
        self.put_of(name, source, &self.world.path("tiny.db"))
    }

    fn put_of(&self, name: &str, source: Option<&str>, database: &Path) -> PathBuf {
        let date = &name[..10];
        let time: String = name[11..].chars().filter(char::is_ascii_digit).take(6).collect();
        let time = format!("{date}T{}:{}:{}Z", &time[..2], &time[2..4], &time[4..]);
        let mut pack = self.world.cmd("vpo-pack").args(["-t", "1", "--created-at", &time]);
        if let Some(source) = source {
            pack = pack.args(["--source", source]);
        }
        let path = self.path(name);
        write(&path, &pack.stdin_file(database).run().ok().stdout);
        path
    }

    /// Backups at three o'clock of these days of November 2025.
    fn days(&self, days: impl IntoIterator<Item = u32>, source: Option<&str>) {
        for day in days {
            self.put(&format!("2025-11-{day:02}T030000Z"), source);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("vpo-library-{name}.tar.gz"))
    }

    /// What is there, without what all names have in common.
    fn left(&self) -> Vec<String> {
        let names = names(&self.directory).into_iter();
        names
            .map(|name| name.replace("vpo-library-", "").replace(".tar.gz", ""))
            .collect()
    }

    /// The size of these together, as the programs print it.
    fn size(&self, names: &[&str]) -> String {
        let sizes = names.iter().map(|name| self.path(name).metadata().unwrap().len());
        vpo_library::size::human(sizes.sum())
    }

    fn list(&self, args: &[&str]) -> Output {
        self.world.cmd("vpo-ls-backups").args(args).run()
    }

    fn prune(&self, args: &[&str]) -> Output {
        self.world.cmd("vpo-library").arg("prune").args(args).run()
    }

    /// A library of so many files, for [`Shelf::put_of`].
    fn library_of(&self, files: u32) -> PathBuf {
        let path = self.world.path(format!("{files}.db"));
        if path.exists() {
            return path;
        }
        tiny(&path);
        for n in 2..=files {
            sqlite(&path, &format!("INSERT INTO files VALUES ({n}, '/v/{n}', 1)"));
        }
        path
    }
}

fn damage_the_middle(path: &Path) {
    let mut bytes = read(path);
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    write(path, &bytes);
}

fn filenames(rows: &Value) -> Vec<&str> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["filename"].as_str().unwrap()).collect()
}

/// The manual's example, with years in which nothing is dated ahead: the days of the week are those of 2026.
#[test]
fn the_listing_says_why_each_stays() {
    let shelf = Shelf::new();
    // The 21st of June 2025 is a Saturday, as that of November 2026 is.
    for day in 1..=21 {
        shelf.put(&format!("2025-06-{day:02}T030000Z"), Some(HERE));
    }
    let rules = ["--keep-daily", "3", "--keep-weekly=2", "--keep-monthly", "2"];
    let listed = shelf.list(&rules).silent();
    let rows: Vec<&str> = listed.text().lines().skip(2).collect();
    assert!(rows[0].ends_with("  Schema  Keep"), "{}", rows[0]);
    for (row, why) in [
        (1, "  newest, daily, weekly, monthly"),
        (2, "  daily"),
        (3, "  daily"),
        (4, "  expired"),
        (7, "  weekly"),
        (8, "  expired"),
        (21, "  expired"),
    ] {
        assert!(rows[row].ends_with(why), "{}", rows[row]);
    }
    let words = listed.text().matches("expired").count();
    assert_eq!(words, 17);

    let json = shelf.list(&[&rules[..], &["--json"]].concat()).silent().json();
    let rows = json["backups"].as_array().unwrap();
    assert_eq!(rows[0]["keep"], json!(["newest", "daily", "weekly", "monthly"]));
    assert_eq!(rows[6]["keep"], json!(["weekly"]));
    assert_eq!(rows[20]["keep"], json!([]));
    use std::os::unix::fs::MetadataExt;
    let meta = Path::new(rows[0]["path"].as_str().unwrap()).metadata().unwrap();
    assert_eq!(rows[0]["device"], meta.dev());
    assert_eq!(rows[0]["inode"], meta.ino());
    assert_eq!(rows[0]["mtime_ns"], meta.mtime() * 1_000_000_000 + meta.mtime_nsec());
    // Without rules there is nothing of that.
    let json = shelf.list(&["--json"]).silent().json();
    for key in ["keep", "device", "inode", "mtime_ns"] {
        assert!(json["backups"][0].get(key).is_none(), "{key}");
    }

    let expired = shelf.list(&[&rules[..], &["--expired"]].concat()).silent();
    assert!(expired.text().contains("\n17 backups, 1"), "{}", expired.text());
    let json = shelf
        .list(&[&rules[..], &["--expired", "--json"]].concat())
        .silent()
        .json();
    assert_eq!(json["total_count"], 17);
    assert_eq!(filenames(&json["backups"])[0], "vpo-library-2025-06-18T030000Z.tar.gz");
}

/// On a terminal too, wide or narrow.
#[test]
fn a_terminal_shows_why_each_stays() {
    let shelf = Shelf::new();
    shelf.days([1, 2], Some(HERE));
    shelf.put("2025-11-03T030000Z", Some(NAS));
    for columns in [200, 100, 60] {
        let list = shelf.world.cmd("vpo-ls-backups").args(["--keep-last", "1"]);
        let (list, terminal) = list.terminal(&[Stream::Out]);
        terminal.resize(columns);
        let listing = list.start();
        let shown = std::thread::spawn(|| terminal.rest());
        listing.finish().ok();
        let shown = shown.join().unwrap();
        assert_eq!(shown.matches("expired").count(), 1, "{shown}");
        assert_eq!(shown.matches("newest, last").count(), 2, "{shown}");
        // Of which library they are goes before their age.
        assert_eq!(shown.matches(NAS).count(), usize::from(columns > 60), "{shown}");
    }
}

/// `xargs rm` gets what expired and nothing else, and nothing at all where nothing did.
#[test]
fn the_filter_composes() {
    let mut shelf = Shelf::new();
    // A name that only NULs survive.
    shelf.directory = shelf.world.path("back\nups ");
    std::fs::create_dir(&shelf.directory).unwrap();
    shelf.days(1..=5, Some(HERE));
    let directory = shelf.directory.to_str().unwrap().to_owned();
    let run = |keep: &str| {
        let list = shelf.world.cmd("vpo-ls-backups");
        let list = list.args(["--expired", "-0", "--keep-last", keep, &directory]);
        let rm = shelf.world.cmd("xargs").args(["-0", "-r", "rm", "--"]);
        pipeline([list, rm]).ok();
    };
    run("3");
    assert_eq!(
        shelf.left(),
        ["2025-11-03T030000Z", "2025-11-04T030000Z", "2025-11-05T030000Z"]
    );
    run("3");
    assert_eq!(shelf.left().len(), 3);

    // Nothing expired is silence, not "No backups found".
    for format in [&["--names"][..], &["-0"], &[]] {
        let args = [&["--expired", "--keep-last", "3", &directory][..], format].concat();
        assert_eq!(shelf.list(&args).silent().text(), "", "{format:?}");
    }
    let json = shelf
        .list(&["--expired", "--keep-last", "3", "--json", &directory])
        .silent()
        .json();
    assert_eq!(
        (&json["total_count"], &json["total_size_bytes"]),
        (&json!(0), &json!(0))
    );
    // Nor are there hints where there is no backup at all.
    let empty = shelf.world.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let args = ["--expired", "--keep-last", "3", empty.to_str().unwrap()];
    assert_eq!(shelf.list(&args).silent().text(), "");
}

#[test]
fn wrong_rules() {
    let shelf = Shelf::new();
    shelf.days([1], Some(HERE));
    let number = "a whole number of at least 1 is needed";
    let age = "an age such as 36h, 7d, 5w or 1y is needed";
    let cases: &[(&[&str], &str)] = &[
        (&["--keep-last", "0"], number),
        (&["--keep-last", "-1"], number),
        (&["--keep-daily=0"], number),
        (&["--keep-weekly", "all"], number),
        (&["--keep-within", "5"], age),
        (&["--keep-within", "0d"], age),
        (&["--keep-within", "90m"], age),
        (&["--keep-replaced", "-7d"], age),
        (&["--keep-replaced", "30s"], age),
        (&["--keep-yearly"], "missing argument"),
        (&["--keep-minutely", "3"], "--keep-minutely"),
    ];
    for (args, message) in cases {
        shelf.list(&[&["--expired"], *args].concat()).fails(2, &[message]);
        shelf.prune(&[&["--yes"], *args].concat()).fails(2, &[message]);
    }
    // A forgotten word must not name everything to 'xargs rm'.
    for args in [["--keep-last", "1", "--names"], ["--keep-last", "1", "-0"]] {
        shelf.list(&args).fails(2, &["need --expired"]);
    }
    for args in [&["--expired"][..], &["--expired", "-0"], &["--one-source"]] {
        shelf.list(args).fails(2, &["need a keep rule"]);
    }
    for args in [&[][..], &["--yes"], &["--dry-run", "--one-source"]] {
        let failed = shelf.prune(args).fails(2, &["prune needs a rule"]);
        assert!(failed.hint().contains("--dry-run --keep-daily 7"), "{}", failed.hint());
    }
    // The example is about this directory, as whatever is printed is: it named the default one.
    let elsewhere = shelf
        .world
        .cmd("vpo-library")
        .args(["--backup-dir", "else where", "prune"])
        .run();
    let directory = format!(
        "--backup-dir '{}' prune --dry-run",
        shelf.world.path("else where").display()
    );
    assert!(elsewhere.exits(2).hint().contains(&directory));
    shelf
        .prune(&["--keep-last", "1", "vpo-library-2025-11-01T030000Z.tar.gz"])
        .fails(2, &["unexpected"]);
    assert_eq!(shelf.left().len(), 1);
    let usage = shelf.prune(&["--json", "--keep-last", "0"]).exits(2);
    assert_eq!(usage.json()["exit_code"], 2);
}

/// One library's backups never push out another's; those of unknown source stay, and a line says how many.
#[test]
fn sources_in_one_directory() {
    let shelf = Shelf::new();
    shelf.days([10, 11, 12], Some(HERE));
    shelf.put("2025-11-01T030000Z", Some(NAS));
    let listed = shelf.list(&["--keep-last", "1"]).silent();
    let rows: Vec<&str> = listed.text().lines().skip(2).collect();
    assert!(rows[0].ends_with("  Source                        Keep"), "{}", rows[0]);
    assert!(rows[1].ends_with(&format!("  {HERE}  newest, last")), "{}", rows[1]);
    assert!(rows[3].ends_with(&format!("  {HERE}  expired")), "{}", rows[3]);
    assert!(
        rows[4].ends_with(&format!("  {NAS}           newest, last")),
        "{}",
        rows[4]
    );

    let of_nas = shelf.list(&["--source", NAS, "--json"]).silent().json();
    assert_eq!(filenames(&of_nas["backups"]), ["vpo-library-2025-11-01T030000Z.tar.gz"]);
    assert_eq!(of_nas["backups"][0]["source_host"], "nas");
    assert_eq!(of_nas["backups"][0]["source_path"], "/srv/library.db");
    // Where there is one source, its name would be noise.
    assert!(!shelf.list(&["--source", NAS]).silent().text().contains("Source"));
    let none = shelf.list(&["--source", "other:/x"]).ok();
    assert!(none.text().starts_with("No backups found"), "{}", none.text());
    shelf
        .list(&["--source", "nas"])
        .fails(2, &["--source 'nas'", "HOST:PATH"]);
    shelf
        .list(&["--source", NAS, "--max-age", "26h"])
        .fails_after_all(1, &["2025-11-01"]);

    shelf.put("2025-11-20T030000Z", None);
    shelf.put("2025-11-21T03-00-00Z", None);
    let listed = shelf.list(&["--keep-last", "1"]).ok();
    assert_eq!(
        listed.stderr,
        "vpo-ls-backups: 2 backups are of unknown source and left alone: --one-source counts all as one library's\n"
    );
    assert_eq!(listed.text().matches("unknown source").count(), 2);
    let json = shelf.list(&["--keep-last", "1", "--json"]).ok().json();
    assert_eq!(json["backups"][0]["keep"], Value::Null);

    let pruned = shelf.prune(&["--yes", "--keep-last", "1"]).ok();
    assert!(
        pruned.stderr.contains("2 backups are of unknown source"),
        "{}",
        pruned.stderr
    );
    let all = [
        "2025-11-01T030000Z",
        "2025-11-12T030000Z",
        "2025-11-20T030000Z",
        "2025-11-21T03-00-00Z",
    ];
    assert_eq!(shelf.left(), all);
    shelf.prune(&["--yes", "--keep-last", "1", "--one-source"]).silent();
    assert_eq!(shelf.left(), ["2025-11-21T03-00-00Z"]);
}

#[test]
fn prune_shows_verifies_asks_and_removes() {
    let shelf = Shelf::new();
    shelf.days([1, 2, 3], Some(HERE));
    let rules = ["--keep-last", "1"];

    // Nobody can be asked.
    let sizes = [["2025-11-01T030000Z"], ["2025-11-02T030000Z"], ["2025-11-03T030000Z"]].map(|name| shelf.size(&name));
    let both = shelf.size(&["2025-11-01T030000Z", "2025-11-02T030000Z"]);
    let told = shelf.prune(&rules).fails(1, &["nothing was removed", "no terminal"]);
    assert!(told.hint().contains("--yes"));
    let shown = format!(
        "vpo-library-2025-11-03T030000Z.tar.gz  {:>8}  newest, last\n\
         vpo-library-2025-11-02T030000Z.tar.gz  {:>8}  expired\n\
         vpo-library-2025-11-01T030000Z.tar.gz  {:>8}  expired\n\n\
         2 of 3 to remove, {both}\n",
        sizes[2], sizes[1], sizes[0]
    );
    assert!(told.text().ends_with(&shown), "{}", told.text());
    // --json never implies yes.
    shelf.prune(&["--keep-last", "1", "--json"]).exits(1).json_error(1);

    let would = shelf.prune(&["--keep-last", "1", "--dry-run"]).silent();
    assert_eq!(would.text(), told.text());

    for (answer, removed) in [("no\n", false), ("\n", false), ("Yes\n", true)] {
        let cmd = shelf.world.cmd("vpo-library").arg("prune").args(rules);
        let (cmd, mut terminal) = cmd.terminal(&[Stream::Err]);
        let running = cmd.start();
        // Standard output is not a terminal: the question says what goes.
        let question = terminal.wait_for("? [y/N] ");
        assert!(
            question.contains(&format!(
                "vpo-library-2025-11-02T030000Z.tar.gz  {:>8}  expired",
                sizes[1]
            )),
            "{question}"
        );
        assert!(
            question.ends_with(&format!("Remove these 2 backups, {both}? [y/N] ")),
            "{question}"
        );
        terminal.type_in(answer);
        let rest = std::thread::spawn(|| terminal.rest());
        let output = running.finish();
        let rest = rest.join().unwrap();
        if removed {
            let output = output.ok();
            assert!(
                output.text().ends_with(&format!("\nRemoved 2, kept 1: {both} freed\n")),
                "{}",
                output.text()
            );
        } else {
            output.exits(1);
            assert!(
                rest.contains("vpo-library: nothing was removed: the answer was not yes"),
                "{rest}"
            );
        }
        assert_eq!(shelf.left().len(), if removed { 1 } else { 3 });
    }
    let nothing = shelf.prune(&rules).silent();
    assert!(
        nothing.text().ends_with("\nNothing to remove: it stays\n"),
        "{}",
        nothing.text()
    );
    assert_eq!(shelf.prune(&["--keep-last", "1", "-q"]).silent().text(), "");
    shelf.world.clean();
}

#[test]
fn prune_as_a_document() {
    let shelf = Shelf::new();
    shelf.days([1, 2], Some(HERE));
    let directory = shelf.directory.to_str().unwrap();
    let row = |name: &str, keep: Value| {
        let filename = format!("vpo-library-{name}.tar.gz");
        json!({"filename": filename, "path": format!("{directory}/{filename}"), "keep": keep})
    };
    let (old, new) = ("2025-11-01T030000Z", "2025-11-02T030000Z");
    let size = shelf.path(old).metadata().unwrap().len();
    let rules = ["--json", "--keep-last", "1"];
    let would = shelf.prune(&[&rules[..], &["--dry-run"]].concat()).silent().json();
    assert_eq!(
        would,
        json!({
            "dry_run": true,
            "would_remove": [row(old, json!([]))],
            "kept": [row(new, json!(["newest", "last"]))],
            "would_free_bytes": size,
        })
    );
    let done = shelf.prune(&[&rules[..], &["--yes"]].concat()).silent().json();
    assert_eq!(
        done,
        json!({
            "success": true,
            "removed": [row(old, json!([]))],
            "kept": [row(new, json!(["newest", "last"]))],
            "failed": [],
            "freed_bytes": size,
        })
    );
    let nothing = shelf.prune(&rules).silent().json();
    assert_eq!((&nothing["success"], &nothing["removed"]), (&json!(true), &json!([])));
}

#[test]
fn a_directory_that_does_not_exist() {
    let world = World::new();
    let none = world
        .cmd("vpo-library")
        .args(["prune", "--keep-last", "1"])
        .run()
        .silent();
    assert!(none.text().starts_with("No backups found in "), "{}", none.text());
    let json = world
        .cmd("vpo-library")
        .args(["prune", "--json", "--keep-last", "1"])
        .run()
        .silent()
        .json();
    assert_eq!(json["removed"], json!([]));
    let named = ["prune", "--keep-last", "1", "--backup-dir", "gone"];
    world
        .cmd("vpo-library")
        .args(named)
        .run()
        .fails(20, &["there is no directory"]);
    let named = world
        .cmd("vpo-library")
        .args(["prune", "--keep-last", "1"])
        .env("VPO_BACKUP_DIR", "gone");
    named.run().fails(20, &["there is no directory"]);
}

/// Damage to the newest backup, wherever it is in the file: what is older may be all there is.
#[test]
fn nothing_goes_while_the_newest_is_damaged() {
    let shelf = Shelf::new();
    shelf.days([1, 2, 3], Some(HERE));
    shelf.put("2025-11-02T040000Z", Some(NAS));
    let newest = shelf.path("2025-11-03T030000Z");
    let good = read(&newest);
    let name = newest.to_str().unwrap();
    let damages: [(&str, &dyn Fn()); 3] = [
        ("in the middle, which only vpo-verify sees", &|| {
            damage_the_middle(&newest)
        }),
        ("a truncation, which the listing sees", &|| {
            write(&newest, &good[..good.len() / 2])
        }),
        ("nothing left", &|| write(&newest, b"")),
    ];
    for (what, damage) in damages {
        damage();
        for args in [&["--yes", "--keep-last", "1"][..], &["--keep-last", "1", "-q"]] {
            let failed = shelf.prune(args).fails_after_all(46, &["nothing was removed", name]);
            assert!(
                failed
                    .hint()
                    .contains("to make a new backup, after which old ones can go: "),
                "{what}"
            );
        }
        let json = shelf.prune(&["--yes", "--json", "--keep-last", "1"]).exits(46);
        json.json_error(46);
        assert!(json.json()["error"].as_str().unwrap().contains(name), "{what}");
        assert_eq!(shelf.left().len(), 4, "{what}");
        write(&newest, &good);
    }
    // So it is with the newest of each source.
    let of_nas = shelf.path("2025-11-02T040000Z");
    damage_the_middle(&of_nas);
    let failed = shelf.prune(&["--yes", "--keep-last", "1"]);
    failed.fails_after_all(46, &[of_nas.to_str().unwrap()]);
    assert_eq!(shelf.left().len(), 4);

    // Who does not want to know.
    let unseen = shelf.prune(&["--yes", "--keep-last", "1", "--no-verify"]).silent();
    assert!(unseen.text().contains("\nRemoved 2, kept 2: "), "{}", unseen.text());
    assert_eq!(shelf.left(), ["2025-11-02T040000Z", "2025-11-03T030000Z"]);
}

/// A new backup after a damaged one, which stays for whoever wants to look at it, lets the others go again.
#[test]
fn an_older_damaged_backup_is_left_alone() {
    let shelf = Shelf::new();
    shelf.days(1..=5, Some(HERE));
    let damaged = shelf.path("2025-11-04T030000Z");
    write(&damaged, &read(&damaged)[..500]);
    let pruned = shelf.prune(&["--yes", "--keep-last", "2"]).ok();
    assert_eq!(
        pruned.stderr,
        "vpo-ls-backups: 1 backup is left alone and not counted: named by hand, a link, damaged, or dated ahead\n"
    );
    assert_eq!(
        shelf.left(),
        ["2025-11-03T030000Z", "2025-11-04T030000Z", "2025-11-05T030000Z"]
    );
}

/// An emptied library must not push out its good backups unseen.
#[test]
fn an_emptied_library_is_asked_about() {
    let shelf = Shelf::new();
    for (day, files) in [(1, 10), (2, 9), (3, 5)] {
        let name = format!("2025-11-{day:02}T030000Z");
        shelf.put_of(&name, Some(HERE), &shelf.library_of(files));
    }
    shelf.put("2025-11-04T030000Z", Some(HERE));
    let doubt = [
        "the newest backup, 'vpo-library-2025-11-04T030000Z.tar.gz', has 1 files",
        "'vpo-library-2025-11-03T030000Z.tar.gz', which would go, has 5",
    ];
    let refused = shelf
        .prune(&["--yes", "--keep-last", "1"])
        .fails(1, &["nothing was removed", doubt[0], doubt[1]]);
    assert!(refused.hint().contains("--no-verify"));
    assert_eq!(shelf.left().len(), 4);

    let cmd = shelf.world.cmd("vpo-library").args(["prune", "--keep-last", "1"]);
    let (cmd, mut terminal) = cmd.terminal(&[Stream::Err, Stream::Out]);
    let running = cmd.start();
    let question = terminal.wait_for("? [y/N] ");
    assert!(doubt.iter().all(|words| question.contains(words)), "{question}");
    terminal.type_in("y\n");
    let rest = std::thread::spawn(|| terminal.rest());
    running.finish().ok();
    rest.join().unwrap();
    assert_eq!(shelf.left(), ["2025-11-04T030000Z"]);

    // Another source's numbers are nobody's business.
    let shelf = Shelf::new();
    shelf.put("2025-11-04T030000Z", Some(HERE));
    shelf.put("2025-11-03T030000Z", Some(HERE));
    shelf.put_of("2025-11-03T040000Z", Some(NAS), &shelf.library_of(9));
    shelf.put_of("2025-11-02T040000Z", Some(NAS), &shelf.library_of(10));
    shelf.put_of("2025-11-02T050000Z", None, &shelf.library_of(10));
    shelf.prune(&["--yes", "-q", "--keep-last", "1"]).silent();
    assert_eq!(shelf.left().len(), 3);
    // With --one-source there is only one, so that its newest has to answer for all.
    let refused = shelf.prune(&["--yes", "-q", "--keep-last", "1", "--one-source"]);
    refused.fails(1, &["has 1 files", "which would go, has 9"]);
}

#[test]
fn half_is_not_fewer_than_half() {
    let shelf = Shelf::new();
    shelf.put_of("2025-11-01T030000Z", Some(HERE), &shelf.library_of(10));
    shelf.put_of("2025-11-02T030000Z", Some(HERE), &shelf.library_of(5));
    shelf.prune(&["--yes", "--keep-last", "1"]).silent();
    assert_eq!(shelf.left(), ["2025-11-02T030000Z"]);
    shelf.put_of("2025-11-01T030000Z", Some(HERE), &shelf.library_of(11));
    shelf
        .prune(&["--yes", "--keep-last", "1"])
        .fails(1, &["has 5 files", "has 11"]);
}

/// A full disk is just when one prunes.
#[test]
fn without_space_for_the_database_check() {
    with_mounts("a prune without temporary space", || {
        let shelf = Shelf::new();
        let database = shelf.world.path("large.db");
        make(&files(500), &database);
        shelf.put_of("2025-11-01T030000Z", Some(HERE), &database);
        shelf.put_of("2025-11-02T030000Z", Some(HERE), &database);
        make_small(&shelf.world.scratch(), 64);
        let newest = shelf.path("2025-11-02T030000Z");
        let good = read(&newest);
        damage_the_middle(&newest);
        shelf
            .prune(&["--yes", "--keep-last", "1"])
            .fails_after_all(46, &["nothing was removed", "damaged"]);
        write(&newest, &good);
        let pruned = shelf.prune(&["--yes", "--keep-last", "1"]).ok();
        assert!(
            pruned
                .stderr
                .contains("vpo-library: warning: there is no space to check the databases inside"),
            "{}",
            pruned.stderr
        );
        assert_eq!(shelf.left(), ["2025-11-02T030000Z"]);
    });
}

/// Links, directories, strangers, files being written: never touched, whatever their names.
#[test]
fn what_is_not_a_backup_of_ours_stays() {
    let shelf = Shelf::new();
    shelf.days([1, 5], Some(HERE));
    let directory = &shelf.directory;
    let outside = shelf.world.path("outside.tar.gz");
    std::fs::copy(shelf.path("2025-11-01T030000Z"), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, shelf.path("2025-11-02T030000Z")).unwrap();
    std::fs::create_dir(shelf.path("2025-11-03T030000Z")).unwrap();
    for name in [
        "vpo-library-before-the-move.tar.gz",
        "vpo-library-2025-11-01T030000Z-keep.tar.gz",
        "vpo-library-2025-11-01T030000Z-1.tar.gz",
        "vpo-library-2025-11-01T030000Z.tar.gz.part",
        ".vpo-library-2025-11-01T030000Z.tar.gz",
        "my-library-2025-11-01T030000Z.tar.gz",
        "vpo-library-2025-11-01T030000Z.tar.gz\n",
    ] {
        std::fs::copy(&outside, directory.join(name)).unwrap();
    }
    shelf.put("2099-11-01T030000Z", Some(HERE));
    let before = tree(directory);
    let pruned = shelf.prune(&["--yes", "--keep-last", "1", "--one-source"]).ok();
    assert!(
        pruned
            .stderr
            .starts_with("vpo-ls-backups: 5 backups are left alone and not counted: "),
        "{}",
        pruned.stderr
    );
    // Each column begins where it does in the other lines, however long a name is.
    let table = pruned.text();
    let ends: Vec<_> = table.lines().filter_map(|line| line.find("B  ")).collect();
    assert!(ends.len() > 5 && ends.iter().all(|end| *end == ends[0]), "{table}");
    let gone = shelf.path("2025-11-01T030000Z");
    let after = tree(directory);
    let missing: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    assert_eq!(missing, [&gone]);
    assert!(outside.exists());
}

/// A file that changed between the look and the removal stays, and one that is gone is not an error.
#[test]
fn what_has_changed_meanwhile_stays() {
    let shelf = Shelf::new();
    shelf.days(1..=5, Some(HERE));
    let cmd = shelf
        .world
        .cmd("vpo-library")
        .args(["prune", "--json", "--keep-last", "1"]);
    let (cmd, mut terminal) = cmd.terminal(&[Stream::Err]);
    let running = cmd.start();
    terminal.wait_for("? [y/N] ");
    // While the question stands: written to, replaced by an equal file, removed.
    let written = shelf.path("2025-11-01T030000Z");
    write(&written, b"something that somebody else needs");
    let replaced = shelf.path("2025-11-02T030000Z");
    let copy = shelf.world.path("copy");
    std::fs::copy(&replaced, &copy).unwrap();
    std::fs::rename(&copy, &replaced).unwrap();
    std::fs::remove_file(shelf.path("2025-11-03T030000Z")).unwrap();
    terminal.type_in("y\n");
    let rest = std::thread::spawn(|| terminal.rest());
    let json = running.finish().ok().json();
    let told = rest.join().unwrap();
    for path in [&written, &replaced] {
        let warning = format!(
            "vpo-library: warning: '{}' has changed meanwhile and stays",
            path.display()
        );
        assert!(told.contains(&warning), "{told}");
    }
    assert_eq!(filenames(&json["removed"]), ["vpo-library-2025-11-04T030000Z.tar.gz"]);
    assert_eq!(
        filenames(&json["kept"]),
        [
            "vpo-library-2025-11-05T030000Z.tar.gz",
            "vpo-library-2025-11-01T030000Z.tar.gz",
            "vpo-library-2025-11-02T030000Z.tar.gz"
        ]
    );
    assert_eq!((&json["success"], &json["failed"]), (&json!(true), &json!([])));
    assert_eq!(
        shelf.left(),
        ["2025-11-01T030000Z", "2025-11-02T030000Z", "2025-11-05T030000Z"]
    );
}

/// Safety backups have a rule of their own, and count for no other.
#[test]
fn safety_backups_have_their_own_rule() {
    let shelf = Shelf::new();
    shelf.days([1, 2, 20], Some(HERE));
    for day in [1, 10, 11] {
        shelf.put(&format!("2025-11-{day:02}T120000Z-replaced"), Some(HERE));
    }
    shelf.prune(&["--yes", "--keep-last", "2"]).silent();
    let safety = [
        "2025-11-01T120000Z-replaced",
        "2025-11-10T120000Z-replaced",
        "2025-11-11T120000Z-replaced",
    ];
    let ordinary = ["2025-11-02T030000Z", "2025-11-20T030000Z"];
    let mut expected = [&safety[..], &ordinary].concat();
    expected.sort();
    assert_eq!(shelf.left(), expected);
    shelf.prune(&["--yes", "--keep-replaced", "9d"]).silent();
    assert_eq!(shelf.left(), [ordinary[0], safety[2], ordinary[1]]);
}

/// A safety backup under an ordinary name is still one: its metadata says so.
#[test]
fn a_renamed_safety_backup_counts_for_no_other_rule() {
    let world = World::new();
    world.default_library();
    world.cmd("vpo-library").args(["backup", "-q"]).run().silent();
    let first = names(&world.backups()).remove(0);
    world
        .cmd("vpo-library")
        .args(["restore", "-q", "--yes", "latest"])
        .run()
        .ok();
    let safety = names(&world.backups())
        .into_iter()
        .find(|name| name.contains("-replaced"))
        .unwrap();
    std::fs::rename(
        world.backups().join(safety),
        world.backups().join("vpo-library-2025-11-01T030000Z.tar.gz"),
    )
    .unwrap();
    let prune = world
        .cmd("vpo-library")
        .args(["prune", "--json", "--yes", "--keep-last", "1"]);
    let json = prune.run().silent().json();
    assert_eq!(json["removed"], json!([]));
    assert_eq!(filenames(&json["kept"]).len(), 2);
    assert!(filenames(&json["kept"]).contains(&first.as_str()));
}

/// What prune did is a line of the log; a dry run leaves none.
#[test]
fn the_log_of_prune() {
    let shelf = Shelf::new();
    shelf.days([1, 2, 3], Some(HERE));
    let log = shelf.world.path("log");
    let args = ["--log", log.to_str().unwrap(), "--keep-last", "1"];
    shelf.prune(&[&args[..], &["--dry-run"]].concat()).silent();
    assert!(!log.exists());
    let size = shelf.path("2025-11-01T030000Z").metadata().unwrap().len();
    shelf.prune(&args).fails(1, &["no terminal"]);
    shelf.prune(&[&args[..], &["--yes"]].concat()).silent();
    shelf.prune(&[&args[..], &["--yes"]].concat()).silent();
    let lines: Vec<Value> = String::from_utf8(read(&log))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["command"] == "prune"));
    assert_eq!(
        (&lines[0]["exit_code"], &lines[0]["removed"]),
        (&json!(1), &Value::Null)
    );
    let gone = json!([
        "vpo-library-2025-11-01T030000Z.tar.gz",
        "vpo-library-2025-11-02T030000Z.tar.gz"
    ]);
    assert_eq!(lines[1]["removed"], gone);
    assert_eq!(
        (&lines[1]["kept_count"], &lines[1]["freed_bytes"]),
        (&json!(1), &json!(2 * size))
    );
    assert_eq!(lines[1]["backup_path"], shelf.directory.to_str().unwrap());
    assert_eq!((&lines[2]["removed"], &lines[2]["kept_count"]), (&json!([]), &json!(1)));
}

/// A year of backups each night with gaps, of three libraries in one directory, with a restore each month, pruned each
/// week: what is kept is what a second implementation keeps, written from the same rules in the simplest way.
#[test]
fn a_year_without_looking() {
    let shelf = Shelf::new();
    let sources = [HERE, NAS, "laptop:/home/u/.vpo/library.db"];
    let rules = [
        "--keep-last=3",
        "--keep-within=4d",
        "--keep-daily=7",
        "--keep-weekly=5",
        "--keep-monthly=12",
        "--keep-replaced=30d",
    ];
    let mut expected = BTreeSet::new();
    let start = jiff::civil::date(2024, 12, 1);
    // The archives differ in their time and source alone. By hand, for vpo-pack would run eight hundred times.
    let tiny = craft::tiny_database();
    let mut truth = craft::metadata(&tiny);
    for n in 0..365_i64 {
        let date = start.checked_add(jiff::Span::new().days(n)).unwrap();
        for (which, source) in sources.iter().enumerate() {
            // One misses each ninth night, one was off in spring, one has two on some days.
            let off = match which {
                0 => n % 9 == 4,
                1 => (90..150).contains(&n),
                _ => n % 3 != 0,
            };
            let mut names = Vec::new();
            if !off {
                names.push(format!("{date}T03{which}000Z"));
            }
            if which == 2 && n % 21 == 0 {
                names.push(format!("{date}T03{which}000Z-2"));
            }
            if which == 0 && date.day() == 13 {
                names.push(format!("{date}T12{which}000Z-replaced"));
            }
            for name in names {
                let (host, path) = source.split_once(':').unwrap();
                (truth["source_host"], truth["source_path"]) = (json!(host), json!(path));
                truth["created_at"] = json!(format!("{date}T{}:{}:00Z", &name[11..13], &name[13..15]));
                write(shelf.path(&name), &craft::archive(&tiny, &truth));
                expected.insert((which, name));
            }
        }
        if n % 7 == 6 {
            shelf.prune(&[&["--yes", "-q"][..], &rules].concat()).silent();
            expected = naive(&expected);
            let mut names: Vec<_> = expected.iter().map(|(_, name)| name.clone()).collect();
            names.sort();
            assert_eq!(shelf.left(), names, "after {date}");
        }
    }
    let count = expected.len();
    assert!((40..90).contains(&count), "{count} are left");
}

/// Of each source, what [`a_year_without_looking`] has rules for.
fn naive(all: &BTreeSet<(usize, String)>) -> BTreeSet<(usize, String)> {
    let mut kept = BTreeSet::new();
    for which in 0..3 {
        // Names sort as their times do, and -2 after none.
        let of_source: Vec<&String> = all.iter().filter(|(w, _)| *w == which).map(|(_, name)| name).collect();
        let (safety, mut ordinary): (Vec<&String>, Vec<&String>) =
            of_source.into_iter().partition(|name| name.ends_with("-replaced"));
        ordinary.sort_by_key(|name| (name[..18].to_owned(), name.len()));
        ordinary.reverse();
        let Some(newest) = ordinary.first().map(|name| second(name)) else {
            kept.extend(safety.into_iter().map(|name| (which, name.clone())));
            continue;
        };
        let mut keep: BTreeSet<&String> = ordinary.iter().take(3).copied().collect();
        keep.extend(ordinary.iter().filter(|name| second(name) > newest - 4 * 86400));
        type Period = fn(&str) -> String;
        let periods: [(usize, Period); 3] = [
            (7, |name| name[..10].into()),
            (5, |name| {
                let date: jiff::civil::Date = name[..10].parse().unwrap();
                let week = date.iso_week_date();
                format!("{} {}", week.year(), week.week())
            }),
            (12, |name| name[..7].into()),
        ];
        for (count, period) in periods {
            // The newest of each: the last one that is put in, from the oldest on.
            let mut newest_of = BTreeMap::new();
            for name in ordinary.iter().rev() {
                newest_of.insert(period(name), *name);
            }
            let mut newest: Vec<&String> = newest_of.into_values().collect();
            newest.sort_by_key(|name| second(name));
            keep.extend(newest.iter().rev().take(count));
        }
        keep.extend(safety.iter().filter(|name| second(name) > newest - 30 * 86400));
        kept.extend(keep.into_iter().map(|name| (which, name.clone())));
    }
    kept
}

fn second(name: &str) -> i64 {
    let time: jiff::civil::DateTime = format!("{}T{}:{}:{}", &name[..10], &name[11..13], &name[13..15], &name[15..17])
        .parse()
        .unwrap();
    time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second()
}
