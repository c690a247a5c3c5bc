//! `vpo-diff`, and `vpo-library diff`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value;
use rustix::process::Signal;

use crate::generate::{Journal, Sample};
use crate::support::*;

/// Which files differ, as plain SQL says: nothing of it is fast, or careful, or shared with the program.
fn naive(old: &Path, new: &Path) -> Vec<(String, String)> {
    let db = Connection::open(old).unwrap();
    db.execute("ATTACH ?1 AS new", [new.to_str().unwrap()]).unwrap();
    let columns = |table: &str, not: &[&str]| {
        let all = |schema: &str| -> Vec<String> {
            let mut statement = db.prepare(&format!("PRAGMA {schema}.table_info({table})")).unwrap();
            let names = statement.query_map([], |row| row.get::<_, String>(1)).unwrap();
            names.map(Result::unwrap).collect()
        };
        let new = all("new");
        let mut shared = all("main");
        shared.retain(|name| new.contains(name) && !not.contains(&name.as_str()));
        let quoted: Vec<_> = shared
            .iter()
            .map(|name| format!("typeof({name}) || quote({name})"))
            .collect();
        quoted.join(" || ' ' || ")
    };
    let file = columns("files", &["id", "scanned_at", "job_id"]);
    let track = columns("tracks", &["id", "file_id"]);
    let side = |schema: &str| {
        format!(
            "SELECT path, {file} AS file, (SELECT group_concat(track, char(10)) FROM (SELECT {track} AS track
             FROM {schema}.tracks WHERE file_id = files.id ORDER BY track_index)) AS tracks FROM {schema}.files"
        )
    };
    let sql = format!(
        "WITH o AS ({}), n AS ({}) SELECT CASE WHEN o.path IS NULL THEN 'A' WHEN n.path IS NULL THEN 'D' ELSE 'M' END,
         coalesce(o.path, n.path) AS path FROM o FULL JOIN n ON o.path = n.path
         WHERE o.path IS NULL OR n.path IS NULL OR o.file IS NOT n.file OR o.tracks IS NOT n.tracks
         ORDER BY coalesce(o.path, n.path)",
        side("main"),
        side("new")
    );
    let mut statement = db.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// What the program says, as NUL-terminated records.
#[track_caller]
fn records(out: &Output) -> Vec<(String, String)> {
    let text = String::from_utf8(out.stdout.clone()).unwrap();
    assert!(text.is_empty() || text.ends_with('\0'), "{text:?}");
    let record = |record: &str| {
        let (status, path) = record.split_once('\t').unwrap();
        (status.to_owned(), path.to_owned())
    };
    text.split_terminator('\0').map(record).collect()
}

/// Compares two operands in every form, and all of them with what is expected.
#[track_caller]
fn agrees(world: &World, old: &Path, new: &Path, expected: &[(String, String)]) {
    let status = i32::from(!expected.is_empty());
    let run = |options: &[&str]| {
        world
            .cmd("vpo-diff")
            .args(options)
            .arg(old)
            .arg(new)
            .run()
            .exits(status)
    };
    let found = records(&run(&["-0"]));
    if found != expected {
        let first = found.iter().zip(expected).find(|(a, b)| a != b);
        panic!("{} and {} differences, first {first:?}", found.len(), expected.len());
    }
    assert_eq!(run(&["-q"]).stdout, b"");
    let json = run(&["--json"]).json();
    let files: Vec<(String, String)> = json["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            (
                file["status"].as_str().unwrap().into(),
                file["path"].as_str().unwrap().into(),
            )
        })
        .collect();
    assert_eq!(files, expected);
    for (key, status) in [("added", "A"), ("removed", "D"), ("changed", "M")] {
        assert_eq!(json[key], expected.iter().filter(|(s, _)| s == status).count(), "{key}");
    }
    let count = |status: &str| grouped(expected.iter().filter(|(s, _)| s == status).count());
    let summary = format!("{} added, {} removed, {} changed\n", count("A"), count("D"), count("M"));
    let stat = run(&["--stat"]);
    assert!(stat.text().starts_with(&summary), "{}", stat.text());
}

fn grouped(count: usize) -> String {
    match count {
        0..1000 => count.to_string(),
        _ => format!("{},{:03}", count / 1000, count % 1000),
    }
}

/// A little of chance, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// A few changes to a library, of those that count and of those that do not.
fn change(path: &Path, dice: &mut Dice) {
    for _ in 0..1 + dice.below(20) {
        let id = dice.below(130);
        let some = format!("id % 7 = {} AND id > {id}", dice.below(7));
        let sql = match dice.below(20) {
            0 => format!("UPDATE files SET scanned_at = 'later', job_id = 'x' WHERE {some}"),
            1 => format!("UPDATE files SET size_bytes = size_bytes + 1 WHERE {some}"),
            2 => format!("UPDATE files SET content_hash = NULL WHERE id = {id}"),
            3 => format!("UPDATE files SET content_hash = '' WHERE id = {id}"),
            4 => format!("UPDATE files SET plugin_metadata = CAST(plugin_metadata AS BLOB) WHERE {some}"),
            5 => format!("UPDATE files SET path = path || '!' WHERE id = {id}"),
            6 => format!(
                "UPDATE files SET path = char({}) || path WHERE id = {id}",
                1 + dice.below(3000)
            ),
            7 => format!("DELETE FROM files WHERE {some}"),
            8 => format!("DELETE FROM tracks WHERE file_id = {id}"),
            9 => format!("DELETE FROM tracks WHERE file_id = {id} AND track_index = 1"),
            10 => format!("UPDATE tracks SET language = 'xyz' WHERE {some}"),
            11 => format!("UPDATE tracks SET duration_seconds = duration_seconds + 1e-9 WHERE file_id = {id}"),
            12 => format!("UPDATE tracks SET track_index = track_index + 100 WHERE file_id = {id}"),
            13 => format!("UPDATE tracks SET track_index = 50 - track_index WHERE file_id = {id}"),
            14 => format!("INSERT OR IGNORE INTO tracks (file_id, track_index, track_type) VALUES ({id}, 90, 'audio')"),
            15 => format!("UPDATE OR IGNORE tracks SET file_id = file_id + 1 WHERE file_id = {id}"),
            16 => insert(id as u32),
            // Two files, or the tracks of two, change places.
            17 => format!(
                "UPDATE files SET id = -1 WHERE id = {id}; UPDATE files SET id = {id} WHERE id = {id} + 1;
                 UPDATE files SET id = {id} + 1 WHERE id = -1"
            ),
            18 => format!(
                "UPDATE tracks SET file_id = -file_id WHERE file_id IN ({id}, {id} + 1);
                 UPDATE tracks SET file_id = 2 * {id} + 1 + file_id WHERE file_id < 0"
            ),
            // Numbered anew, as after a scan of everything: no difference.
            _ => "UPDATE files SET id = id + 100000 WHERE id < 100000;
                  UPDATE tracks SET file_id = file_id + 100000 WHERE file_id < 100000;
                  UPDATE tracks SET id = id + 1000000 WHERE id < 1000000"
                .to_owned(),
        };
        // What belongs to a file goes with it.
        let keys = if sql.starts_with("DELETE FROM files") {
            "ON"
        } else {
            "OFF"
        };
        sqlite(path, &format!("PRAGMA foreign_keys = {keys}; {sql}"));
    }
}

#[test]
fn it_agrees_with_sql_on_generated_pairs() {
    let world = World::new();
    let new = world.path("new.db");
    let (mut differences, mut kinds) = (0, std::collections::BTreeSet::new());
    for seed in 1..=6 {
        let mut dice = Dice(seed * 7919);
        let old = world.path(format!("old {seed}.db"));
        make(&Sample { seed, ..files(120) }, &old);
        write(&new, &read(&old));
        change(&new, &mut dice);
        let expected = naive(&old, &new);
        println!("{seed}: {} differences", expected.len());
        differences += expected.len();
        kinds.extend(expected.iter().map(|(status, _)| status.clone()));
        agrees(&world, &old, &new, &expected);
        // The other way round, and as archives.
        let back = naive(&new, &old);
        if seed % 5 == 0 {
            let archives = [("old.tar.gz", &old), ("new.tar.gz", &new)].map(|(name, database)| {
                write(world.path(name), &world.archive_of(database));
                world.path(name)
            });
            agrees(&world, &archives[1], &archives[0], &back);
            agrees(&world, &archives[1], &old, &back);
        } else {
            agrees(&world, &new, &old, &back);
        }
    }
    assert!(differences > 100 && kinds.len() == 3, "{differences} {kinds:?}");
    world.clean();
}

#[test]
fn equal_empty_and_all_different() {
    let world = World::new();
    let paths = ["a.db", "b.db", "empty.db"].map(|name| world.path(name));
    let [a, b, empty] = &paths;
    make(&files(100), a);
    make(
        &Sample {
            seed: 2,
            page_size: 512,
            ..files(100)
        },
        b,
    );
    make(
        &Sample {
            page_size: 65536,
            ..files(0)
        },
        empty,
    );
    for old in &paths {
        for new in &paths {
            let expected = naive(old, new);
            assert_eq!(expected.is_empty(), old == new);
            agrees(&world, old, new, &expected);
        }
    }
    // No pair of these knows a file in the same way; where both know a path, it is changed.
    assert_eq!(naive(empty, a).len(), 100);
    let out = world.cmd("vpo-diff").args([a, a]).run().silent();
    assert_eq!(out.text(), "");
    // Another page size and another journal do not matter.
    let other = world.path("other.db");
    write(&other, &read(a));
    sqlite(&other, "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM");
    agrees(&world, a, &other, &[]);
}

/// An older schema lacks a column, and a table.
#[test]
fn schemas_that_differ() {
    let world = World::new();
    let (old, new) = (world.path("old.db"), world.path("new.db"));
    make(
        &Sample {
            schema_version: 26,
            ..files(100)
        },
        &old,
    );
    write(&new, &read(&old));
    sqlite(
        &old,
        "ALTER TABLE files DROP COLUMN container_tags; ALTER TABLE tracks DROP COLUMN color_range; DROP TABLE plans",
    );
    sqlite(
        &new,
        "UPDATE files SET container_tags = 'other', scan_error = CASE id % 9 WHEN 1 THEN 'x' END;
         UPDATE tracks SET color_range = 'x'; DELETE FROM files WHERE id = 5",
    );
    let expected = naive(&old, &new);
    assert!((5..20).contains(&expected.len()), "{}", expected.len());
    agrees(&world, &old, &new, &expected);
    agrees(&world, &new, &old, &naive(&new, &old));
    let note = "vpo-diff: note: the schemas differ; not compared: files.container_tags, tracks.color_range\n";
    let lines = world.cmd("vpo-diff").args([&old, &new]).run().exits(1);
    assert_eq!(lines.stderr, note);
    assert_eq!(
        world.cmd("vpo-diff").arg("-q").args([&old, &new]).run().exits(1).stderr,
        ""
    );
    // The rows of the table that only one has.
    let json = world
        .cmd("vpo-diff")
        .arg("--json")
        .args([&old, &new])
        .run()
        .exits(1)
        .json();
    let row = |name: &str| {
        json["tables"]
            .as_array()
            .unwrap()
            .iter()
            .find(|t| t["name"] == name)
            .cloned()
    };
    assert!(row("plans").unwrap()["old_rows"].is_null() && row("plans").unwrap()["new_rows"].is_u64());
    assert_eq!(
        row("_meta").unwrap(),
        serde_json::json!({"name": "_meta", "old_rows": 1, "new_rows": 1})
    );
    assert_eq!(row("files"), None);

    // Without tracks only the files are compared.
    sqlite(&old, "DROP TABLE tracks");
    sqlite(&new, "UPDATE tracks SET codec = 'x'");
    let out = world.cmd("vpo-diff").arg("-0").args([&old, &new]).run().exits(1);
    assert_eq!(records(&out), expected);
    assert!(
        out.stderr.ends_with("not compared: files.container_tags, tracks\n"),
        "{}",
        out.stderr
    );
}

/// The same library in another encoding.
fn encoded(from: &Path, to: &Path, encoding: &str) {
    let old = Connection::open(from).unwrap();
    let new = Connection::open(to).unwrap();
    new.execute_batch(&format!(
        "PRAGMA encoding = '{encoding}'; PRAGMA foreign_keys = OFF; BEGIN"
    ))
    .unwrap();
    let mut schema = old
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
        .unwrap();
    let entries: Vec<(String, String, String)> = schema
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (kind, name, sql) in entries {
        new.execute_batch(&sql).unwrap();
        if kind != "table" {
            continue;
        }
        let mut select = old.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let n = select.column_count();
        let places = vec!["?"; n].join(", ");
        let mut insert = new.prepare(&format!("INSERT INTO {name} VALUES ({places})")).unwrap();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values: Vec<Value> = (0..n).map(|i| row.get(i).unwrap()).collect();
            insert.execute(rusqlite::params_from_iter(values)).unwrap();
        }
    }
    new.execute_batch("COMMIT").unwrap();
}

/// The order of UTF-16 is another one: beyond U+FFFF, and byte by byte everywhere in the little-endian one.
#[test]
fn text_of_another_encoding() {
    let world = World::new();
    let (old, new) = (world.path("old.db"), world.path("new.db"));
    make(&files(60), &old);
    for (id, prefix) in [
        (1, "\u{ff21}"),
        (2, "\u{1f3ac}"),
        (3, "\u{100}"),
        (4, "\u{ff}"),
        (5, "愛"),
        (6, "\u{e000}"),
    ] {
        sqlite(
            &old,
            &format!("UPDATE files SET path = '{prefix}' || path, scan_error = '{prefix}' WHERE id = {id}"),
        );
    }
    write(&new, &read(&old));
    change(&new, &mut Dice(4711));
    sqlite(
        &new,
        "UPDATE files SET scan_error = '\u{1f3ad}' WHERE id = 2; UPDATE tracks SET title = 'é' WHERE id % 15 = 1",
    );
    let expected = naive(&old, &new);
    assert!(expected.len() > 10, "{}", expected.len());
    let encodings = ["UTF-8", "UTF-16le", "UTF-16be"];
    let mut copies = Vec::new();
    for encoding in encodings {
        let pair = [(&old, "old"), (&new, "new")].map(|(from, name)| {
            let to = world.path(format!("{name} {encoding}.db"));
            encoded(from, &to, encoding);
            to
        });
        copies.push(pair);
    }
    for [old, _] in &copies {
        for [_, new] in &copies {
            agrees(&world, old, new, &expected);
        }
        agrees(&world, old, &copies[1][0], &[]);
    }
    // One in an archive, where SQLite's memory is bounded.
    let archive = world.path("old.tar.gz");
    write(&archive, &world.archive_of(&copies[2][0]));
    agrees(&world, &archive, &copies[1][1], &expected);
    world.clean();
}

/// Half a surrogate pair, and UTF-8 that is not valid: what differs in one byte is another path.
#[test]
fn paths_that_are_hard_to_write() {
    let world = World::new();
    let (old, new) = (world.path("old.db"), world.path("new.db"));
    make(&files(0), &old);
    write(&new, &read(&old));
    let insert = |path: &str| {
        sqlite(
            &new,
            &format!(
                "INSERT INTO files (path, filename, directory, extension, size_bytes, modified_at, scanned_at)
                 VALUES ({path}, '', '', '', 1, '', '')"
            ),
        );
    };
    insert("'/a' || char(9) || 'tab'");
    insert("'/b' || char(10) || 'A' || char(9) || '/line'");
    insert("'/c' || char(27) || '[2J\u{202e}'");
    insert("'/d\\t'");
    insert("CAST(x'2f65ff' AS TEXT)");
    insert("CAST(x'2f65fe' AS TEXT)");
    let diff = |options: &[&str]| world.cmd("vpo-diff").args(options).args([&old, &new]).run().exits(1);
    assert_eq!(
        diff(&[]).text(),
        "A\t/a\\ttab\nA\t/b\\nA\\t/line\nA\t/c\\u{1b}[2J\\u{202e}\nA\t/d\\t\nA\t/e\u{fffd}\nA\t/e\u{fffd}\n"
    );
    let raw = b"A\t/a\ttab\0A\t/b\nA\t/line\0A\t/c\x1b[2J\xe2\x80\xae\0A\t/d\\t\0A\t/e\xfe\0A\t/e\xff\0";
    assert_eq!(diff(&["-0"]).stdout, raw);
    let json = diff(&["--json"]);
    let paths: Vec<_> = json.json()["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].clone())
        .collect();
    assert_eq!(paths[..3], ["/a\ttab", "/b\nA\t/line", "/c\x1b[2J\u{202e}"]);
    assert!(!json.text().contains(['\x1b', '\u{202e}', '\t']), "{}", json.text());

    // On a terminal nothing is raw.
    let (cmd, terminal) = world
        .cmd("vpo-diff")
        .arg("-0")
        .args([&old, &new])
        .terminal(&[Stream::Out]);
    let shown = std::thread::spawn(|| terminal.rest());
    cmd.run().exits(1);
    assert!(!shown.join().unwrap().contains('\x1b'));
}

/// A table without VPO's constraints: values of every class for paths, some of them twice.
#[test]
fn paths_that_are_double_or_no_text() {
    let world = World::new();
    let (old, new) = (world.path("old.db"), world.path("new.db"));
    let fill = |path: &Path, key: &str, rows: &str| {
        sqlite(
            path,
            &format!(
                "CREATE TABLE _meta (key, value); INSERT INTO _meta VALUES ('schema_version', '27');
                 CREATE TABLE files (id {key}, path, size_bytes); INSERT INTO files VALUES {rows}"
            ),
        );
    };
    let expected = "D\t\nM\t1\nA\t1.5\nD\t20\nM\ta\nM\ta\nA\ta\nA\tc\nM\tb\n";
    for (n, key) in ["INTEGER PRIMARY KEY", ""].into_iter().enumerate() {
        let (old, new) = (world.path(format!("old{n}")), world.path(format!("new{n}")));
        fill(
            &old,
            key,
            "(1, NULL, 1), (2, NULL, 2), (3, 'a', 1), (4, 'a', 2), (5, x'62', 1), (6, 1, 1), (7, 20, 1)",
        );
        fill(
            &new,
            key,
            "(1, 'a', 2), (2, 'a', 1), (3, 'a', 3), (4, NULL, 1), (5, x'62', 9), (6, 1.0, 1), (7, 1.5, 1), (8, 'c', 1)",
        );
        let out = world.cmd("vpo-diff").args([&old, &new]).run().exits(1);
        assert_eq!((out.text(), out.stderr.as_str()), (expected, ""));
        // As archives, and nothing differs from itself.
        write(world.path("x.tar.gz"), &world.archive_of(&old));
        let out = world.cmd("vpo-diff").arg("x.tar.gz").arg(&new).run().exits(1);
        assert_eq!(out.text(), expected);
        agrees(&world, &new, &new, &[]);
    }

    // Without an index for paths and none for tracks, SQLite sorts by itself.
    make(&files(150), &old);
    let mut bare = String::from("PRAGMA foreign_keys = OFF;");
    for table in ["files", "tracks"] {
        let columns = Connection::open(&old)
            .unwrap()
            .query_row(
                "SELECT group_concat(name) FROM pragma_table_info(?1) WHERE name <> 'id'",
                [table],
                |row| row.get::<_, String>(0),
            )
            .unwrap();
        bare.push_str(&format!(
            "CREATE TABLE bare (id INTEGER PRIMARY KEY, {columns}); INSERT INTO bare SELECT id, {columns} FROM {table}
             ORDER BY random(); DROP TABLE {table}; ALTER TABLE bare RENAME TO {table};"
        ));
    }
    let indexed = world.path("indexed.db");
    write(&indexed, &read(&old));
    sqlite(&old, &bare);
    write(&new, &read(&indexed));
    agrees(&world, &old, &indexed, &[]);
    change(&new, &mut Dice(99));
    agrees(&world, &old, &new, &naive(&indexed, &new));
}

/// quick_check does not compare an index with its table. What comes in no order can't be merged, and is not.
#[test]
fn an_index_that_lies() {
    let world = World::new();
    world.default_library();
    let bad = world.path("bad.db");
    write(&bad, &read(world.library()));
    sqlite(&bad, "PRAGMA journal_mode = DELETE");
    let change_index = |sql: &str| {
        sqlite(
            &bad,
            &format!("PRAGMA writable_schema = ON; {sql}; PRAGMA writable_schema = RESET"),
        );
    };
    // What is the index of paths holds the sizes from now on.
    change_index(
        "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'idx_files_directory') WHERE name = 'sqlite_autoindex_files_1'",
    );
    let out = world.cmd("vpo-diff").arg(&bad).arg(world.library()).run();
    // Which of the indexes SQLite takes is its own affair: it may say itself that something is wrong.
    let message = ["its indexes do not agree with its tables", "is damaged"];
    assert!(
        message.iter().any(|message| out.stderr.contains(message)),
        "{}",
        out.stderr
    );
    out.exits(42);
    world.clean();
}

#[test]
fn a_live_library_with_a_log() {
    let world = World::new();
    world.make_library(&files(200));
    write(world.path("x.tar.gz"), &world.archive_of(&world.library()));
    let mut peer = Peer::open(&world.library());
    // In the log, and not yet in the file.
    peer.sql("DELETE FROM files WHERE id = 7");
    peer.sql("UPDATE tracks SET codec = 'x' WHERE file_id = 9");
    peer.sql("BEGIN; DELETE FROM files WHERE id < 100");
    for options in [&[][..], &["--json"]] {
        let library = world.library();
        let diff = world.cmd("vpo-diff").args(options).arg("x.tar.gz").arg(&library);
        let out = unchanged(&world.home(), || diff.run().exits(1));
        if options.is_empty() {
            let letters: Vec<_> = out.text().lines().map(|line| &line[..2]).collect();
            assert_eq!(letters.len(), 2, "{}", out.text());
            assert!(letters.contains(&"D\t") && letters.contains(&"M\t"), "{letters:?}");
        }
    }
    // The library beside itself: two connections of one process, one file.
    world
        .cmd("vpo-diff")
        .arg(world.library())
        .arg(world.library())
        .run()
        .silent();
    peer.sql("ROLLBACK");
    peer.close();
    unchanged(&world.home(), || {
        world
            .cmd("vpo-diff")
            .arg("x.tar.gz")
            .arg(world.library())
            .run()
            .exits(1)
    });
    world.clean();
}

/// A library whose report is longer than all buffers.
fn long_report(world: &World, journal: Journal) -> (PathBuf, usize) {
    const FILES: usize = 16_000;
    let empty = world.path("empty.db");
    make(&files(0), &empty);
    world.make_library(&Sample { journal, ..files(0) });
    sqlite(
        &world.library(),
        &format!(
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {FILES})
             INSERT INTO files (path, filename, directory, extension, size_bytes, modified_at, scanned_at)
             SELECT printf('/media/%0200d', i), '', '', '', i, '', '' FROM n"
        ),
    );
    (empty, FILES)
}

/// One transaction, however slowly the report is read; and no writer waits for the reader.
#[test]
fn a_writer_does_not_wait_for_a_slow_reader() {
    for journal in [Journal::Wal, Journal::Delete] {
        let world = World::new();
        let (empty, n) = long_report(&world, journal);
        let mut peer = Peer::open(&world.library());
        let mut running = world.cmd("vpo-diff").arg(&empty).arg(world.library()).start();
        let first = running.take(1);
        // Without waiting for a lock.
        peer.sql("DELETE FROM files WHERE id > 3");
        let out = running.finish().exits(1);
        let lines = [first, out.stdout].concat();
        assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), n, "{journal:?}");
        assert_eq!(out.stderr, "");
        world.clean();
    }
}

/// A reader who stalls does not keep a signal from ending it, nor side files.
#[test]
fn a_signal_while_the_reader_stalls() {
    for journal in [Journal::Wal, Journal::Delete] {
        let world = World::new();
        let (empty, _) = long_report(&world, journal);
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            unchanged(&world.home(), || {
                let mut running = world.cmd("vpo-diff").arg(&empty).arg(world.library()).start();
                running.take(1);
                running.signal(signal);
                // Nobody has read on.
                wait_until("the end", || !running.is_running());
                let out = running.finish().ended_by(signal.as_raw());
                assert_eq!(out.stderr, "");
            });
            world.clean();
        }
    }
}

/// `vpo-diff … | head -n 1`
#[test]
fn a_reader_who_has_seen_enough() {
    let world = World::new();
    let (empty, _) = long_report(&world, Journal::Wal);
    for options in [&[][..], &["-0"], &["--json"]] {
        unchanged(&world.home(), || {
            let mut running = world
                .cmd("vpo-diff")
                .args(options)
                .arg(&empty)
                .arg(world.library())
                .start();
            running.take(1);
            drop(running.stdout.take());
            running.finish().ended_by(13).ended_silently();
        });
    }
    world.clean();
}

#[test]
fn operands() {
    let world = World::new();
    world.default_library();
    let library = world.library();
    let archive = world.archive_of(&library);
    write(world.path("x.tar.gz"), &archive);
    // By their content, whatever they are called.
    write(world.path("archive.db"), &archive);
    write(world.path("database.tar.gz"), &read(&library));
    let diff = |old: &str, new: &str| world.cmd("vpo-diff").args([old, new]);
    for (old, new) in [
        ("archive.db", "database.tar.gz"),
        ("database.tar.gz", "archive.db"),
        ("x.tar.gz", "x.tar.gz"),
    ] {
        diff(old, new).run().silent();
    }
    for (old, new) in [("-", "x.tar.gz"), ("x.tar.gz", "-")] {
        diff(old, new).input(&archive).run().silent();
        diff(old, new).stdin_file(&world.path("x.tar.gz")).run().silent();
    }
    // A FIFO, as `<(…)` gives one.
    let fifo = world
        .tool("sh")
        .args(["-c", "mkfifo f && { cat x.tar.gz >f & } && exec \"$0\" f archive.db"]);
    fifo.arg(executable("vpo-diff")).run().silent();

    let wrong =
        |old: &str, new: &str, code: i32, needles: &[&str]| diff(old, new).input(b"").run().fails(code, needles);
    wrong("-", "-", 2, &["only one of the two can come from standard input"]).hint();
    wrong(".", "x.tar.gz", 2, &["'.' is a directory"]);
    wrong("x.tar.gz", "./", 2, &["'./' is a directory"]);
    wrong("gone.tar.gz", "x.tar.gz", 20, &["'gone.tar.gz' does not exist"]);
    wrong("x.tar.gz", "gone.db", 20, &["'gone.db' does not exist"]);
    world.cmd("vpo-diff").run().fails(2, &["two operands are needed"]);
    world
        .cmd("vpo-diff")
        .arg("x")
        .run()
        .fails(2, &["two operands are needed"]);
    for contradiction in [["-0", "--json"], ["-0", "--stat"]] {
        let out = world.cmd("vpo-diff").args(contradiction).args(["x", "y"]).run();
        out.fails(2, &["contradicts --null"]);
    }
    world
        .cmd("vpo-diff")
        .args(["--stat", "--json", "x.tar.gz", "-"])
        .input(&archive)
        .run()
        .silent();
    world.clean();
}

#[test]
fn operands_that_are_damaged_or_something_else() {
    let world = World::new();
    world.default_library();
    let library = world.library();
    let archive = world.archive_of(&library);
    write(world.path("x.tar.gz"), &archive);
    let mut flipped = archive.clone();
    flipped[archive.len() / 2] ^= 1;
    let damaged = world.path("damaged.db");
    write(&damaged, &read(&library));
    damage_index(&damaged);
    let facts = make(&files(100), &world.path("same.db"));
    let inside = plain_archive(&read(&damaged), &vpo_metadata(&facts));
    let bare = world.path("bare.db");
    sqlite(&bare, "CREATE TABLE _meta (key, value); CREATE TABLE files (name)");
    let mut zeros = read(&library);
    zeros[4096..].fill(0);
    for (name, bytes) in [
        ("flipped.tar.gz", &flipped[..]),
        ("short.tar.gz", &archive[..archive.len() - 1]),
        ("inside.tar.gz", &inside),
        ("empty", b""),
        ("zip", b"PK\x03\x04 and so on"),
        ("zeros.db", &zeros),
        ("header.db", &read(&library)[..100]),
    ] {
        write(world.path(name), bytes);
    }
    for (name, code, why) in [
        ("flipped.tar.gz", 46, "block "),
        ("short.tar.gz", 46, "truncated"),
        ("inside.tar.gz", 46, "the database inside is damaged"),
        ("empty", 46, "this is empty"),
        ("zip", 46, "this is a zip file"),
        ("zeros.db", 42, "is damaged"),
        ("header.db", 42, "is damaged"),
        ("bare.db", 42, "it has no table 'files' with a column 'path'"),
    ] {
        println!("{name}");
        let named = format!("'{name}'");
        for operands in [[name, "x.tar.gz"], ["x.tar.gz", name]] {
            let out = world.cmd("vpo-diff").args(operands).run().fails(code, &[why]);
            assert!(
                out.stderr.contains(&named) || out.stderr.contains(&format!("/{name}'")),
                "{}",
                out.stderr
            );
            assert_eq!(out.stdout, b"");
            world
                .cmd("vpo-diff")
                .arg("--json")
                .args(operands)
                .run()
                .fails(code, &[why])
                .json_error(code);
        }
    }
    let out = world.cmd("vpo-diff").args(["-", "x.tar.gz"]).stdin_file(&library).run();
    let out = out.fails(
        46,
        &["standard input is not a complete backup", "a bare SQLite database"],
    );
    assert!(out.hint().contains("vpo-pack"), "{}", out.stderr);
    world.clean();
}

/// Damage that is met halfway: the lines before are there, and of JSON one document.
#[test]
fn a_comparison_that_breaks_off() {
    let world = World::new();
    let (empty, n) = long_report(&world, Journal::Delete);
    let damaged = world.path("damaged.db");
    write(&damaged, &read(world.library()));
    // A leaf in the middle of the table, or of its index: everything that is read before it is sound.
    let db = Connection::open(&damaged).unwrap();
    let [page, size] = [
        "SELECT pageno FROM dbstat WHERE name = 'files' AND pagetype = 'leaf' LIMIT 1 OFFSET 300",
        "PRAGMA page_size",
    ]
    .map(|sql| db.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize);
    drop(db);
    let mut bytes = read(&damaged);
    bytes[(page - 1) * size..][..size].fill(0x55);
    write(&damaged, &bytes);
    let out = world.cmd("vpo-diff").arg(&empty).arg(&damaged).run();
    let out = out.fails(
        42,
        &["the comparison was cut short: the library '", "/damaged.db' is damaged"],
    );
    let lines = out.text().lines().count();
    assert!((1000..n).contains(&lines), "{lines}");
    assert!(out.text().ends_with('\n'));

    let out = world
        .cmd("vpo-diff")
        .arg("--json")
        .arg(&empty)
        .arg(&damaged)
        .run()
        .fails(42, &["was cut short"]);
    let json = out.json();
    has_keys(&json, &["files", "success", "error", "exit_code"]);
    assert_eq!(
        (json["files"].as_array().unwrap().len(), &json["success"]),
        (lines, &false.into())
    );
    assert_eq!(json["exit_code"], 42);
    assert_eq!(json.get("added"), None);
    let error = json["error"].as_str().unwrap();
    assert!(out.stderr.starts_with(&format!("vpo-diff: {error}\n")), "{error}");
    // Through the wrapper too.
    let wrapped = world
        .cmd("vpo-library")
        .args(["diff", "--json"])
        .arg(&empty)
        .arg(&damaged)
        .run();
    assert_eq!(wrapped.fails(42, &["was cut short"]).json(), json);
    world.clean();
}

/// An archive may hold what makes each query endless, or join each track with each file.
#[test]
fn an_archive_that_is_hostile() {
    let world = World::new();
    world.default_library();
    let hostile = world.path("hostile.db");
    // All files have one number, and all tracks are its: 4·10⁸ pairs.
    sqlite(
        &hostile,
        "CREATE TABLE _meta (key, value); INSERT INTO _meta VALUES ('schema_version', '27');
         CREATE TABLE files (id INTEGER, path, size_bytes); CREATE TABLE tracks (id, file_id, track_index, title);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO files SELECT 1, '/' || i, 1 FROM n;
         INSERT INTO tracks SELECT 1, 1, 1, zeroblob(100) FROM files",
    );
    write(world.path("x.tar.gz"), &world.archive_of(&hostile));
    let out = world
        .cmd("vpo-diff")
        .args(["--stat", "x.tar.gz"])
        .arg(world.library())
        .run()
        .exits(1);
    assert!(
        out.text().starts_with("100 added, 20,000 removed, 0 changed\n"),
        "{}",
        out.text()
    );
    assert!(out.stderr.contains("not compared: files.filename"), "{}", out.stderr);
    assert!(out.stderr.trim_end().ends_with(", tracks"), "{}", out.stderr);

    // Views and virtual tables are not tables, and a name is only a name.
    let strange = world.path("strange.db");
    sqlite(
        &strange,
        "CREATE TABLE _meta (key, value); INSERT INTO _meta VALUES ('schema_version', '27');
         CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT UNIQUE, \"a\"\"b\" TEXT, size_bytes, late TEXT AS (hex(zeroblob(9))));
         INSERT INTO files (path) VALUES ('/x');
         CREATE VIEW tracks AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;
         CREATE TABLE \"x'); DROP TABLE files; --\" (\"select\");
         CREATE TABLE \"\x1b[2J\" (x)",
    );
    write(world.path("y.tar.gz"), &world.archive_of(&strange));
    let out = world
        .cmd("vpo-diff")
        .args(["--stat", "y.tar.gz", "y.tar.gz"])
        .run()
        .silent();
    assert!(out.text().contains("x'); DROP TABLE files; --"), "{}", out.text());
    assert!(!out.text().contains('\x1b'), "{}", out.text());
    world.clean();
}

#[test]
fn no_room_to_unpack() {
    with_mounts("a small TMPDIR", || {
        let world = World::new();
        world.make_library(&files(1000));
        write(world.path("x.tar.gz"), &world.archive_of(&world.library()));
        make_small(&world.scratch(), 100);
        let out = world.cmd("vpo-diff").arg("x.tar.gz").arg(world.library()).run();
        out.fails(44, &["cannot unpack 'x.tar.gz'", "not enough space"]);
        world.clean();
    });
}

/// A library that nobody may write is read as it stands; one that is locked is waited for.
#[test]
fn libraries_that_are_read_only_or_locked() {
    let world = World::new();
    let sample = Sample {
        journal: Journal::Delete,
        ..files(50)
    };
    world.make_library(&sample);
    write(world.path("x.tar.gz"), &world.archive_of(&world.library()));
    let dir = world.library().parent().unwrap().to_owned();
    for (mode, file) in [(0o500, 0o400), (0o700, 0o600)] {
        std::fs::set_permissions(world.library(), std::fs::Permissions::from_mode(file)).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
        world
            .cmd("vpo-diff")
            .arg("x.tar.gz")
            .arg(world.library())
            .run()
            .silent();
    }
    let mut peer = Peer::open(&world.library());
    peer.sql("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM files");
    let out = world.cmd("vpo-diff").arg("x.tar.gz").arg(world.library()).run();
    out.fails(43, &["library.db", &peer.pid()]);
    world.clean();
}

#[test]
fn in_the_wrapper() {
    let world = World::new();
    world.make_library(&files(100));
    let diff = || world.cmd("vpo-library").arg("diff");
    diff().run().fails(20, &["there are no backups"]);
    std::fs::create_dir(world.backups()).unwrap();
    let older = "vpo-library-2026-02-01T143022Z.tar.gz";
    let safety = "vpo-library-2026-03-01T143022Z-replaced.tar.gz";
    world.backup_at(&world.backups().join(older), 90, "2026-02-01T14:30:22Z");
    write(world.backups().join(NAME), &world.archive_of(&world.library()));
    world.backup_at(&world.backups().join(safety), 10, "2026-03-01T14:30:22Z");

    diff().run().silent();
    sqlite(&world.library(), "DELETE FROM files WHERE id <= 3");
    let out = diff().run().exits(1);
    assert_eq!((out.text().lines().count(), out.stderr.as_str()), (3, ""));
    assert!(out.text().starts_with("D\t"), "{}", out.text());
    // The same as the program says itself.
    let direct = world
        .cmd("vpo-diff")
        .arg(world.backups().join(NAME))
        .arg(world.library());
    same("the report", &direct.run().exits(1).stdout, &out.stdout);
    for args in [
        &["latest"][..],
        &[NAME],
        &["latest", "../home/.vpo/library.db"],
        &["--db", "../home/.vpo/library.db"],
    ] {
        same("the report", &diff().args(args).run().exits(1).stdout, &out.stdout);
    }
    // Two backups, and one on standard input.
    let stat = diff().args(["--stat", older, "latest"]).run().exits(1);
    assert!(stat.text().starts_with("10 added, 0 removed, "), "{}", stat.text());
    diff()
        .args(["latest", "-"])
        .stdin_file(&world.backups().join(NAME))
        .run()
        .silent();
    diff().args(["-", "-"]).input(b"").run().fails(2, &["standard input"]);
    let json = diff().args(["--json", "--stat"]).run().exits(1).json();
    assert_eq!((&json["removed"], json.get("files")), (&3.into(), None));
    assert_eq!(diff().arg("-q").run().exits(1).stdout, b"");
    let told = diff().arg("-v").run().exits(1).stderr;
    assert!(
        told.contains("vpo-diff --verbose -- ") && told.contains("reading '"),
        "{told}"
    );

    diff().arg("gone").run().fails(20, &["'gone' does not exist"]);
    diff()
        .args(["--format", "json", "gone"])
        .run()
        .fails(20, &["'gone'"])
        .json_error(20);
    write(world.backups().join(NAME), b"bad");
    diff().run().fails(46, &[NAME, "is not a complete backup"]);
    diff().args(["--db", "gone.db", older]).run().fails(20, &["gone.db"]);
    world.clean();
}
