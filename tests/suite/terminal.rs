//! What a person sees on a terminal: the list, choosing from it, and progress.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use rustix::process::Signal;
use unicode_width::UnicodeWidthStr;

use crate::support::*;

const WIDTHS: [u16; 5] = [50, 66, 80, 100, 140];
const NAS: &str = "nas:/srv/library.db";

/// Backups of a library, the newest of `DAYS` days ago.
struct Shelf {
    world: World,
    now: i64,
    /// Databases of so many files, packed by need.
    source: String,
}

impl Shelf {
    fn new() -> Self {
        let world = World::new();
        world.make_library(&files(7));
        std::fs::create_dir(world.backups()).unwrap();
        let host = rustix::system::uname().nodename().to_str().unwrap().to_owned();
        let source = format!("{host}:{}", world.library().display());
        // Half an hour off the full hour: no age changes while a test runs.
        let now = jiff::Timestamp::now().as_second() - 1800;
        Shelf { world, now, source }
    }

    fn time(&self, hours: i64, format: &str) -> String {
        let time = jiff::Timestamp::from_second(self.now - hours * 3600).unwrap();
        time.strftime(format).to_string()
    }

    /// What the name of a backup of so many hours ago has of its own.
    fn stem(&self, hours: i64) -> String {
        self.time(hours, "%Y-%m-%dT%H%M%SZ")
    }

    fn path(&self, stem: &str) -> PathBuf {
        self.world.backups().join(format!("vpo-library-{stem}.tar.gz"))
    }

    /// A backup of so many hours ago under this name, of a library of `source` with so many files; `seed` tells libraries
    /// with as many files from each other.
    fn put_of(&self, hours: i64, stem: &str, source: &str, count: u64, seed: u64) {
        let database = self.world.path(format!("{count}-{seed}.db"));
        if !database.exists() {
            make(&crate::generate::Sample { seed, ..files(count) }, &database);
        }
        let created = self.time(hours, "%Y-%m-%dT%H:%M:%SZ");
        let pack = self.world.cmd("vpo-pack").args(["--created-at", &created]);
        let pack = pack.args(["--source", source]).stdin_file(&database);
        write(self.path(stem), &pack.run().ok().stdout);
    }

    fn put(&self, hours: i64, count: u64, seed: u64) {
        self.put_of(hours, &self.stem(hours), &self.source, count, seed);
    }

    /// One that VPO itself made: its time has hyphens, and it has neither a source nor a digest.
    fn put_vpos(&self, hours: i64, count: u64) {
        let database = self.world.path(format!("vpo-{hours}.db"));
        let facts = make(&files(count), &database);
        let mut metadata = vpo_metadata(&facts);
        metadata["created_at"] = self.time(hours, "%Y-%m-%dT%H:%M:%SZ").into();
        let plain = plain_archive(&read(&database), &metadata);
        write(self.path(&self.time(hours, "%Y-%m-%dT%H-%M-%SZ")), &plain);
    }

    /// 31 of all kinds.
    fn full() -> Self {
        let shelf = Shelf::new();
        for day in 0..24 {
            shelf.put(24 * day + 5, 7 + (day as u64) % 3 / 2, 1 + (day as u64) / 2);
        }
        for day in [2, 9, 16] {
            let stem = format!("{}-replaced", shelf.stem(24 * day + 4));
            shelf.put_of(24 * day + 4, &stem, &shelf.source, 3, 1);
        }
        shelf.put_of(24 * 10 + 3, "before-the-move", &shelf.source, 7, 1);
        shelf.put_vpos(24 * 11 + 3, 12);
        shelf.put_vpos(24 * 30, 12);
        let damaged = shelf.path(&shelf.stem(24 * 3 + 5));
        let bytes = read(&damaged);
        write(&damaged, &bytes[..bytes.len() - 9]);
        // Reading its beginning is an I/O error.
        let unreadable = shelf.path(&shelf.stem(7));
        std::os::unix::fs::symlink("/proc/self/mem", unreadable).unwrap();
        shelf
    }

    /// What a terminal shows of the list.
    #[track_caller]
    fn list(&self, columns: u16, args: &[&str]) -> Vec<String> {
        let cmd = self.world.cmd("vpo-ls-backups").args(args);
        let (cmd, terminal) = cmd.env("NO_COLOR", "1").terminal(&[Stream::Out]);
        terminal.resize_to(columns, 24);
        let list = cmd.start();
        let shown = std::thread::spawn(|| terminal.rest());
        list.finish().ok();
        let shown = shown.join().unwrap();
        let lines: Vec<String> = shown.lines().map(str::to_owned).collect();
        for line in &lines {
            assert!(
                columns == 0 || line.width() <= columns.into(),
                "wider than {columns}: {line}"
            );
        }
        lines
    }

    /// The rows of the list, without what stands above and below the table.
    #[track_caller]
    fn rows(&self, columns: u16, args: &[&str]) -> Vec<String> {
        let lines = self.list(columns, args);
        assert!(lines[0].starts_with("Backups in ") && lines[1].is_empty(), "{lines:?}");
        let end = lines.len() - 2;
        assert!(lines[end].is_empty(), "{lines:?}");
        lines[3..end].to_vec()
    }

    fn vpo(&self, args: &[&str]) -> Output {
        self.world.cmd("vpo-library").args(args).run()
    }
}

fn first(row: &str) -> String {
    row.split("  ").next().unwrap().to_owned()
}

fn has_unreadable_files(what: &str) -> bool {
    let there = std::path::Path::new("/proc/self/mem").exists();
    if !there {
        skipped(what, "there is no /proc/self/mem");
    }
    there
}

/// A backup took two lines or more below 118 columns, and names were cut that had to be typed.
#[test]
fn each_backup_is_one_line_and_its_first_column_is_its_name() {
    if !has_unreadable_files("the list on a terminal") {
        return;
    }
    let shelf = Shelf::full();
    let json = shelf.vpo(&["backups", "--json"]).ok().json();
    let paths: Vec<_> = (json["backups"].as_array().unwrap().iter())
        .map(|row| row["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(paths.len(), 31);
    let mut known: Vec<Vec<String>> = Vec::new();
    for columns in WIDTHS {
        let rows = shelf.rows(columns, &[]);
        assert_eq!(rows.len(), 31, "{columns}: {rows:#?}");
        assert_eq!(
            rows.iter().filter(|row| row.contains("  damaged: ")).count(),
            1,
            "{rows:#?}"
        );
        assert_eq!(
            rows.iter().filter(|row| row.contains("  unknown: ")).count(),
            1,
            "{rows:#?}"
        );
        assert_eq!(
            rows.iter().filter(|row| row.contains("-replaced")).count(),
            3,
            "{rows:#?}"
        );
        let names: Vec<_> = rows.iter().map(|row| first(row)).collect();
        if !known.contains(&names) {
            known.push(names);
        }
    }
    assert_eq!(known.len(), 2, "in full, and without what all have: {known:?}");
    for names in known {
        let args: Vec<&str> = names.iter().map(String::as_str).collect();
        let verified = shelf.vpo(&[&["verify", "--json"], &args[..]].concat()).exits(46).json();
        let verified: Vec<_> = (verified["archives"].as_array().unwrap().iter())
            .map(|row| row["path"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(verified, paths);
        // One by one those that are not like the others, and some of the rest.
        let odd = [24 * 3 + 5, 7].map(|hours| shelf.path(&shelf.stem(hours)));
        for (n, (name, path)) in names.iter().zip(&paths).enumerate() {
            if n % 4 > 0 && !odd.iter().any(|odd| odd.to_str() == Some(path)) {
                continue;
            }
            let out = shelf.vpo(&["restore", "--dry-run", "--json", name]);
            match out.status.code() {
                Some(0) => assert_eq!(out.json()["backup_path"], path.as_str()),
                Some(46) => assert_eq!(*path, shelf.path(&shelf.stem(24 * 3 + 5)).to_str().unwrap()),
                _ => assert_eq!(*path, shelf.path(&shelf.stem(7)).to_str().unwrap(), "{}", out.stderr),
            }
        }
    }
}

/// Columns are left out one after the other, and what is there stands below its heading.
#[test]
fn the_table_at_each_width() {
    let shelf = Shelf::full();
    let heading = |columns| {
        shelf.list(columns, &[])[2]
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(heading(50), "Backup Age Files Change");
    assert_eq!(heading(66), "Backup Age Archive Files Change");
    for columns in [80, 100] {
        assert_eq!(heading(columns), "Backup Age Archive Database Files Change Schema");
    }
    assert_eq!(
        heading(140),
        "Filename Created (UTC) Age Archive Database Files Change Schema"
    );
    // A terminal that does not tell.
    assert_eq!(heading(0), heading(80));
    for columns in WIDTHS {
        let lines = shelf.list(columns, &[]);
        for (heading, unit) in [("Archive", "B"), ("Files", "7"), ("Schema", "27")] {
            let Some(end) = lines[2].find(heading).map(|at| at + heading.len()) else {
                continue;
            };
            let row = lines.iter().find(|line| line.contains(&shelf.stem(24 + 5))).unwrap();
            assert!(row[..end].ends_with(unit), "{heading}: {row}");
        }
        // What is wrong with one stands in the place of a column.
        let damaged = lines.iter().find(|line| line.contains("damaged: ")).unwrap();
        let unknown = lines.iter().find(|line| line.contains("unknown: ")).unwrap();
        assert_eq!(damaged.find("damaged: "), unknown.find("unknown: "), "{lines:#?}");
    }
    assert!(shelf.list(66, &[])[35].starts_with("31 backups, 3 of them safety backups, "));
}

/// Why each stays is what somebody asked for: it is cut before it is left out. Of which library it is goes before its age.
#[test]
fn keep_rules_and_sources_fit_too() {
    let shelf = Shelf::full();
    let far = "laptop.example.org:/home/somebody/.vpo/library.db";
    shelf.put_of(24 * 2 + 6, &shelf.stem(24 * 2 + 6), far, 7, 1);
    for columns in WIDTHS {
        let rules = ["--keep-last", "2", "--keep-daily", "30", "--keep-weekly", "9"];
        let lines = shelf.list(columns, &rules);
        assert_eq!(lines.len(), 3 + 32 + 2, "{lines:#?}");
        let heading: Vec<_> = lines[2].split_whitespace().collect();
        assert_eq!(heading.last(), Some(&"Keep"), "{heading:?}");
        assert_eq!(heading.contains(&"Source"), columns >= 100, "{heading:?}");
        if columns >= 140 {
            assert!(heading.contains(&"Change"), "{heading:?}");
            let row = lines.iter().find(|line| line.contains("  lapto")).unwrap();
            assert!(row.contains("  newest,") && row.contains(".db  "), "{row}");
        }
    }
}

/// Of which library each is was left out at once, instead of being cut shorter first.
#[test]
fn sources_are_cut_before_they_are_left_out() {
    let shelf = Shelf::full();
    let far = "laptop.example.org:/home/somebody/.vpo/library.db";
    shelf.put_of(24 * 2 + 6, &shelf.stem(24 * 2 + 6), far, 7, 1);
    for (columns, last) in [(66, "Change"), (74, "Source"), (80, "Source")] {
        let heading = &shelf.list(columns, &[])[2];
        assert!(heading.ends_with(last), "{columns}: {heading}");
    }
    let rows = shelf.rows(74, &[]);
    let cut = rows.iter().any(|row| row.ends_with("  laptop.ex…library.db"));
    assert!(cut, "{rows:#?}");
}

/// A run that changed every track and not the number of files was "same".
#[test]
fn what_has_changed() {
    let shelf = Shelf::new();
    let here = shelf.source.clone();
    // From the oldest: its stem, what it holds, and its change.
    let stem = |hours| shelf.stem(hours);
    shelf.put(100, 7, 1);
    shelf.put(90, 7, 1);
    shelf.put(80, 7, 2);
    shelf.put_of(75, &format!("{}-replaced", stem(75)), &here, 2, 1);
    shelf.put(70, 7, 2);
    shelf.put(60, 1200, 1);
    write(shelf.path(&stem(55)), b"damaged");
    shelf.put(50, 5, 1);
    shelf.put_vpos(40, 5);
    shelf.put(30, 5, 1);
    let changes = |shelf: &Shelf| -> Vec<String> {
        let rows = shelf.rows(140, &[]);
        let column = shelf.list(140, &[])[2].find("Change").unwrap() + "Change".len();
        let change = |row: &String| row.get(column - 7..column).unwrap_or_default().trim().to_owned();
        rows.iter().map(change).collect()
    };
    let expected = [
        // After one without a digest, and that one itself: nothing is claimed.
        "", "", "-1,195", // The damaged one has no columns.
        "", "+1,193", // The safety backup is passed over.
        "same", "-5", "changed", "same", "",
    ];
    let mut found = changes(&shelf);
    found[3].clear();
    assert_eq!(found, expected);
    // Another library's backup says nothing about this one's; what names none may be of either.
    shelf.put_of(45, &stem(45), NAS, 9, 1);
    shelf.put_of(35, &stem(35), NAS, 10, 1);
    let rows = shelf.rows(180, &[]);
    let of = |stem: &str| {
        let row = rows.iter().find(|row| row.contains(stem)).unwrap();
        row.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(of(&stem(35)).contains(&"+1".into()), "{rows:#?}");
    assert!(of(&stem(30)).contains(&"same".into()), "{rows:#?}");
}

/// A long name takes the place of columns in its own row only, and is cut only where it is wider than the terminal. What
/// would be read as something else is shown whole. Each is accepted as it is shown.
#[test]
fn names_that_people_gave() {
    let shelf = Shelf::new();
    shelf.put(5, 7, 1);
    let long = "before-the-great-move-of-the-collection-愛愛愛";
    let odd = [
        long,
        "latest",
        "replaced",
        "2026-02-05",
        "12",
        "-v",
        "a b",
        "\u{202e}\u{1b}[2J",
        "2026-02-05T143022Z-keep",
    ];
    for (i, stem) in odd.iter().enumerate() {
        shelf.put_of(10 + i as i64, stem, &shelf.source, 7, 1);
    }
    for columns in [50, 80, 140] {
        let rows = shelf.rows(columns, &[]);
        for (stem, row) in odd.iter().zip(&rows[1..]) {
            let name = first(row);
            let full = format!("vpo-library-{stem}.tar.gz");
            match columns {
                140 => assert!(name == full || stem.contains('\x1b'), "{row}"),
                _ => assert_eq!(
                    name == full,
                    ["latest", "replaced", "2026-02-05", "12", "-v"].contains(stem),
                    "{row}"
                ),
            }
            let json = shelf.vpo(&["restore", "--dry-run", "--json", "--", &name]).ok().json();
            assert_eq!(json["backup_path"], shelf.path(stem).to_str().unwrap());
        }
        assert!(
            rows[0].ends_with(if columns == 50 { "same" } else { "27" }),
            "{rows:#?}"
        );
    }
    let rows = shelf.rows(80, &[]);
    assert_eq!(
        rows[1]
            .split("  ")
            .filter(|cell| !cell.is_empty())
            .map(str::trim)
            .collect::<Vec<_>>()[1..],
        ["7", "same", "27"]
    );
    // Cut in the middle as a last resort; and that it is damaged is seen all the same.
    assert_eq!(shelf.rows(40, &[])[1], "before-the-great-mo…he-collection-愛愛愛");
    write(shelf.path(long), b"text");
    let rows = shelf.rows(40, &[]);
    let damaged: Vec<_> = rows.iter().filter(|row| row.starts_with("before-")).collect();
    assert_eq!(damaged, ["before-the-grea…llection-愛愛愛  damaged"], "{rows:#?}");
}

/// A safety backup is one by what it says of itself, too, and that is shown.
#[test]
fn safety_backups_are_marked() {
    let shelf = Shelf::new();
    shelf.put(48, 9, 1);
    let restored = shelf.vpo(&["restore", "--yes", "--json", "latest"]).ok().json();
    let safety = restored["safety_backup"].as_str().unwrap();
    std::fs::rename(safety, shelf.path("by-hand")).unwrap();
    for (columns, mark) in [
        (50, "by-hand  safety  "),
        (80, "by-hand"),
        (140, "vpo-library-by-hand.tar.gz"),
    ] {
        let rows = shelf.rows(columns, &[]);
        assert!(rows[0].starts_with(mark) && rows[0].contains("  safety"), "{rows:#?}");
        assert!(!rows[1].contains("safety"), "{rows:#?}");
    }
}

/// What a person sees who is asked which backup to restore, up to the prompt.
struct Question {
    running: Running,
    terminal: Terminal,
    lines: Vec<String>,
}

impl Shelf {
    #[track_caller]
    fn ask(&self, (columns, rows): (u16, u16), args: &[&str]) -> Question {
        let cmd = self.world.cmd("vpo-library").args(["restore", "--dry-run", "--json"]);
        let (cmd, mut terminal) = cmd.args(args).env("NO_COLOR", "1").terminal(&[Stream::Err]);
        terminal.resize_to(columns, rows);
        let running = cmd.start();
        let shown = terminal.wait_for("? [") + &terminal.wait_for("] ");
        let lines: Vec<String> = shown.lines().map(str::to_owned).collect();
        let wrapped = lines.iter().map(|line| line.width().div_ceil(columns.into()).max(1));
        assert!(
            wrapped.sum::<usize>() <= rows.into(),
            "more than {rows} lines: {lines:#?}"
        );
        // Only what is a command to paste may be wider than the terminal.
        let table = lines.iter().filter(|line| !line.contains(" not shown; "));
        table.for_each(|line| assert!(line.width() <= columns.into(), "wider than {columns}: {line}"));
        Question {
            running,
            terminal,
            lines,
        }
    }
}

impl Question {
    /// The numbers and names of the rows, in the order in which they stand.
    fn rows(&self) -> Vec<(String, String)> {
        let numbered = |line: &String| {
            let (number, rest) = line.trim_start().split_once("  ")?;
            number.parse::<u32>().ok()?;
            Some((number.to_owned(), first(rest)))
        };
        self.lines.iter().filter_map(numbered).collect()
    }

    fn answer(mut self, text: &str) -> (Output, String) {
        self.terminal.type_in(text);
        let terminal = self.terminal;
        let rest = std::thread::spawn(|| terminal.rest());
        let out = self.running.finish();
        (out, rest.join().unwrap())
    }
}

/// The newest stood first and had scrolled away when the question came.
#[test]
fn choosing_shows_the_newest_last_on_one_screen() {
    if !has_unreadable_files("choosing a backup") {
        return;
    }
    let shelf = Shelf::full();
    let json = shelf.vpo(&["backups", "--json"]).ok().json();
    let (safety, ordinary): (Vec<_>, Vec<_>) =
        (json["backups"].as_array().unwrap().iter()).partition(|row| row["replaced"] == true);
    for columns in WIDTHS {
        let question = shelf.ask((columns, 24), &[]);
        let rows = question.rows();
        let prompt = question.lines.last().unwrap();
        assert_eq!(prompt, "Restore which backup? [number, name, latest] ");
        let last = rows.len() - 1;
        let newest = ordinary[0]["filename"].as_str().unwrap();
        assert!(rows[last].0 == "1" && newest.contains(&rows[last].1), "{rows:?}");
        // Safety backups apart, and numbers that count on behind all others.
        let numbers: Vec<u32> = rows.iter().map(|(number, _)| number.parse().unwrap()).collect();
        assert_eq!(numbers[..3], [31, 30, 29]);
        assert!(
            numbers[3..].is_sorted_by(|a, b| *a == b + 1) && numbers.len() > 13,
            "{numbers:?}"
        );
        let hidden = 28 - numbers[3];
        let note = &question.lines[1];
        assert!(note.starts_with(&format!("{hidden} older backups not shown")), "{note}");
        // What to type is told where it fits.
        let told = format!("{hidden} older backups not shown; to see all: ");
        let command = note.strip_prefix(&told);
        assert!(
            command.is_none_or(|command| command.ends_with("vpo-library backups")),
            "{note}"
        );
        let marked: Vec<_> = question.lines.iter().filter(|line| line.contains("  latest")).collect();
        assert!(
            matches!(&marked[..], [row] if row.starts_with(" 1  ")),
            "{:#?}",
            question.lines
        );
        // Each number is that of its row, and one that is not shown is none.
        let n = numbers[5] as usize;
        let (out, _) = question.answer(&format!("{n}\n"));
        assert_eq!(out.ok().json()["backup_path"], ordinary[n - 1]["path"]);
    }
    let (out, _) = shelf.ask((80, 24), &[]).answer("30\n");
    assert_eq!(out.ok().json()["backup_path"], safety[1]["path"]);
    let (out, shown) = shelf.ask((80, 24), &[]).answer("28\n0\n\n");
    out.exits(1);
    assert!(
        shown.contains("vpo-library: there is no backup '28'") && shown.contains("there is no backup '0'"),
        "{shown}"
    );
    // As many as there is room for.
    assert_eq!(shelf.ask((80, 100), &[]).rows().len(), 31);
    assert!((5..9).contains(&shelf.ask((80, 12), &[]).rows().len()));
    assert_eq!(shelf.ask((80, 6), &[]).rows().len(), 1);
}

#[test]
fn what_an_answer_means() {
    let shelf = Shelf::new();
    for hours in [5, 30, 31, 60] {
        shelf.put(hours, 7, 1);
    }
    shelf.put_of(40, &format!("{}-replaced", shelf.stem(40)), &shelf.source, 7, 1);
    // Listed first, and never `latest`.
    shelf.put_of(-100, &shelf.stem(-100), &shelf.source, 7, 1);
    shelf.put_of(6, "before-the-move", &shelf.source, 7, 1);
    let (latest, by_hand) = (shelf.stem(5), "before-the-move".to_owned());
    let replaced = format!("{}-replaced", shelf.stem(40));
    let day = shelf.time(60, "%Y-%m-%d");
    let cases = [
        ("latest", &latest),
        ("2", &latest),
        ("replaced", &replaced),
        (&replaced, &replaced),
        ("before-the-move", &by_hand),
        ("vpo-library-before-the-move.tar.gz", &by_hand),
        (&day, &shelf.stem(60)),
        // Whatever lies about in the working directory.
        ("x\n2026-01-01\n-\n../x\n99\nlatest", &latest),
    ];
    write(shelf.world.path("x"), b"");
    write(shelf.world.path("before-the-move"), b"");
    for (answer, stem) in cases {
        let question = shelf.ask((100, 24), &[]);
        let marked: Vec<_> = question.lines.iter().filter(|line| line.contains("  latest")).collect();
        assert!(matches!(&marked[..], [row] if row.contains(&latest)), "{marked:?}");
        let (out, shown) = question.answer(&format!("{answer}\n"));
        assert_eq!(
            out.ok().json()["backup_path"],
            shelf.path(stem).to_str().unwrap(),
            "{answer}"
        );
        let refused = answer.lines().count() - 1;
        assert_eq!(shown.matches("Restore which backup? ").count(), refused, "{shown}");
        assert_eq!(shown.matches("vpo-library: ").count(), refused, "{shown}");
        assert_eq!(
            shown.contains("there is no backup of 2026-01-01 in "),
            refused > 0,
            "{shown}"
        );
    }
}

/// The end of the input, an empty line and a signal end it, and nothing was done.
#[test]
fn choosing_can_be_left() {
    let shelf = Shelf::new();
    shelf.put(5, 3, 1);
    unchanged(&shelf.world.home(), || {
        for answer in ["\n", "  \n", "\x04", "7\n\n", "7\n\x04"] {
            let (out, shown) = shelf.ask((80, 24), &[]).answer(answer);
            out.exits(1);
            assert!(shown.contains("vpo-library: no backup was chosen"), "{shown}");
        }
        for (key, signal) in [
            ("\x03", rustix::process::Signal::INT),
            ("", rustix::process::Signal::TERM),
        ] {
            let question = shelf.ask((80, 24), &[]);
            if key.is_empty() {
                question.running.signal(signal);
            }
            let (out, _) = question.answer(key);
            out.ended_by(signal.as_raw());
        }
    });
}

/// Where only other libraries have backups nobody guesses: then `latest` is marked nowhere. On a new machine, with backups
/// of one library alone, it is that one's.
#[test]
fn the_latest_of_other_libraries() {
    let shelf = Shelf::new();
    shelf.put_of(5, &shelf.stem(5), NAS, 3, 1);
    let question = shelf.ask((80, 24), &[]);
    assert_eq!(question.lines.last().unwrap(), "Restore which backup? [number, name] ");
    assert!(!question.lines.iter().any(|line| line.contains("  latest")));
    let (out, _) = question.answer("1\n");
    assert_eq!(
        out.ok().json()["backup_path"],
        shelf.path(&shelf.stem(5)).to_str().unwrap()
    );
    let question = shelf.ask((80, 24), &["--db", "missing.db"]);
    assert_eq!(
        question.lines.last().unwrap(),
        "Restore which backup? [number, name, latest] "
    );
    let (out, shown) = question.answer("latest\n");
    assert_eq!(
        out.ok().json()["backup_path"],
        shelf.path(&shelf.stem(5)).to_str().unwrap()
    );
    assert!(shown.contains(&format!("of another library, {NAS}")), "{shown}");
}

/// As with `restore latest`: the next older one is named.
#[test]
fn the_latest_that_was_chosen_is_damaged() {
    let shelf = Shelf::new();
    shelf.put(30, 3, 1);
    write(shelf.path(&shelf.stem(5)), b"text");
    let (out, shown) = shelf.ask((80, 24), &[]).answer("latest\n");
    out.exits(46);
    assert!(shown.contains("hint: restore the next older backup: "), "{shown}");
    assert!(shown.contains(&shelf.stem(30)), "{shown}");
}

/// What is left on a terminal of what was written to it, line by line, and all that ever stood in a line. Nothing may
/// wrap. It can go to the beginning of a line and erase it.
#[track_caller]
fn screen(bytes: &str, columns: usize) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut line, mut at) = (Vec::new(), Vec::new(), 0);
    let mut stood = Vec::new();
    let mut rest = bytes;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if matches!(c, '\r' | '\x1b') {
            let text: String = line.iter().collect();
            stood.push(text.trim_end().to_owned());
        }
        match c {
            '\r' => at = 0,
            '\n' => {
                lines.push(line.iter().collect());
                (line, at) = (Vec::new(), 0);
            }
            '\x1b' => {
                rest = rest.strip_prefix("[2K").expect("only lines are erased");
                line.clear();
            }
            c => {
                match line.get_mut(at) {
                    Some(cell) => *cell = c,
                    None => line.push(c),
                }
                at += 1;
                // Blanks go on to the last column, text does not.
                assert!(at < columns + usize::from(c == ' '), "the line is full: {line:?}");
            }
        }
    }
    assert!(line.is_empty(), "left behind: {line:?}");
    (lines, stood)
}

/// Runs a program with standard error, or all that it prints, on a terminal, and gives what is shown.
#[track_caller]
fn watched(cmd: Cmd, streams: &[Stream], columns: u16, code: i32) -> String {
    let (cmd, terminal) = cmd.env("NO_COLOR", "1").terminal(streams);
    terminal.resize(columns);
    let running = cmd.start();
    let shown = std::thread::spawn(|| terminal.rest());
    let out = running.finish();
    let shown = shown.join().unwrap();
    assert_eq!(out.status.code(), Some(code), "{shown}");
    shown
}

/// The line stood at 100 % while something else was done, began with `0 B/s 0s`, and told nothing of how many archives.
#[test]
fn progress_says_what_is_done() {
    let several = || {
        let shelf = Shelf::new();
        for hours in [5, 30, 60] {
            shelf.put(hours, 7, 1);
        }
        write(shelf.path(&shelf.stem(40)), b"text");
        shelf
    };
    let in_order = |stood: &[String], wanted: &[&str]| {
        let mut stood_in_order = stood.iter();
        for text in wanted {
            assert!(
                stood_in_order.any(|line| line.starts_with(text)),
                "{text} is not in {stood:#?}"
            );
        }
        for line in stood {
            assert!(
                !line.contains("100%") && !line.contains(" 0 B/s") && !line.contains(" 0 s"),
                "{stood:#?}"
            );
        }
    };
    for columns in [20, 80] {
        let shelf = several();
        let vpo = |args: &[&str]| shelf.world.cmd("vpo-library").args(args).env("TERM", "xterm");
        let (lines, stood) = screen(&watched(vpo(&["verify"]), &[Stream::Err], columns, 46), columns.into());
        assert_eq!(lines, [""; 0]);
        in_order(
            &stood,
            &[
                "verifying 1 of 4",
                "checking  1 of 4",
                "verifying 2 of 4",
                "checking  2 of 4",
                "verifying 3 of 4",
                "verifying 4 of 4",
                "checking  4 of 4",
            ],
        );
        let shown = watched(vpo(&["restore", "--yes", "latest"]), &[Stream::Err], columns, 0);
        let (lines, stood) = screen(&shown, columns.into());
        assert_eq!(lines, [""; 0]);
        let steps = ["unpacking", "checking", "keeping the old ", "writing the lib"];
        in_order(&stood, &steps);
        let shown = watched(vpo(&["backup", "--verify"]), &[Stream::Err], columns, 0);
        let (lines, stood) = screen(&shown, columns.into());
        assert_eq!(lines, [""; 0]);
        let steps = ["reading the lib", "copying", "checking the lib", "reading the arch"];
        in_order(&stood, &steps);
    }
    // A report on the same terminal is not written into the line.
    let shelf = several();
    let verify = shelf.world.cmd("vpo-library").arg("verify").env("TERM", "xterm");
    let shown = watched(verify, &[Stream::Out, Stream::Err], 300, 46);
    let (lines, _) = screen(&shown, 300);
    let words: Vec<_> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(words, ["ok", "ok", "bad", "ok"], "{lines:#?}");
    // The others draw when they are asked to, and standard input has no length.
    let plumbing = |program: &str| shelf.world.cmd(program).arg("--progress").env("TERM", "xterm");
    let archive = read(shelf.path(&shelf.stem(5)));
    for (cmd, steps) in [
        (
            plumbing("vpo-pack").stdin_file(&shelf.world.library()),
            &["packing"][..],
        ),
        (
            plumbing("vpo-verify").input(&archive),
            &["verifying", "checking the database"],
        ),
        (
            plumbing("vpo-verify").args(["--save", "saved.tar.gz"]).input(&archive),
            &["verifying", "checking the database"],
        ),
        (
            plumbing("vpo-unpack-restore").arg("--dry-run").input(&archive),
            &["unpacking", "checking"],
        ),
    ] {
        let (lines, stood) = screen(&watched(cmd, &[Stream::Err], 80, 0), 80);
        assert_eq!(lines, [""; 0]);
        in_order(&stood, steps);
        assert!(
            !stood
                .iter()
                .any(|line| line.starts_with("verifying") && line.contains('%')),
            "{stood:#?}"
        );
    }
}

/// Ctrl-C left the line where it stood, and the shell wrote its prompt behind it.
#[test]
fn a_signal_takes_the_line_away() {
    let shelf = Shelf::new();
    shelf.put(5, 7, 1);
    let archive = read(shelf.path(&shelf.stem(5)));
    let half = &archive[..archive.len() / 2];
    let verify = || {
        let cmd = shelf.world.cmd("vpo-verify").arg("--progress").input_pipe();
        let cmd = cmd.env("TERM", "xterm").env("NO_COLOR", "1");
        let (cmd, mut terminal) = cmd.terminal(&[Stream::Err]);
        terminal.resize(80);
        let mut running = cmd.start();
        running.feed(half);
        let shown = terminal.wait_for("verifying");
        (running, terminal, shown)
    };
    let (running, mut terminal, shown) = verify();
    terminal.type_in("\x03");
    let shown = shown + &terminal.rest();
    assert_eq!(
        running.finish().status.signal(),
        Some(Signal::INT.as_raw()),
        "{shown:?}"
    );
    assert_eq!(screen(&shown, 80).0, [""; 0], "{shown:?}");
    // A terminal that is stopped (Ctrl-S) holds nobody up.
    let (running, mut terminal, _) = verify();
    terminal.type_in("\x13");
    running.signal(Signal::TERM);
    assert_eq!(running.finish().status.signal(), Some(Signal::TERM.as_raw()));
    shelf.world.clean();
}

#[test]
fn nothing_is_drawn_where_it_would_not_be_seen() {
    let shelf = Shelf::new();
    shelf.put(5, 7, 1);
    let commands = [&["backup"][..], &["verify"], &["restore", "--yes", "latest"]];
    for args in commands {
        let vpo = |more: &[&str]| shelf.world.cmd("vpo-library").args([args, more].concat());
        for (cmd, streams) in [
            (vpo(&[]).env("TERM", "xterm"), &[Stream::Out][..]),
            (vpo(&[]).env("TERM", "dumb"), &[Stream::Err]),
            (vpo(&[]), &[Stream::Err]),
            (vpo(&["-q"]).env("TERM", "xterm"), &[Stream::Err]),
            (vpo(&["--json"]).env("TERM", "xterm"), &[Stream::Err]),
        ] {
            let shown = watched(cmd, streams, 300, 0);
            assert!(
                !shown.contains('\x1b') && !shown.replace("\r\n", "").contains('\r'),
                "{args:?}: {shown:?}"
            );
        }
        let piped = vpo(&[]).env("TERM", "xterm").run().ok();
        assert!(!piped.stderr.contains('\r'), "{}", piped.stderr);
    }
    let quiet = shelf
        .world
        .cmd("vpo-verify")
        .args(["--progress", "-q"])
        .arg(shelf.world.backups());
    assert_eq!(watched(quiet.env("TERM", "xterm"), &[Stream::Err], 80, 0), "");
}
