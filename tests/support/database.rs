//! Libraries and other databases, and what they hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use super::files::{beside, read, write};
use crate::generate::{self, Facts, Sample, Size};

/// Makes a sample library at `path`; equal ones are only written once.
pub fn make(sample: &Sample, path: &Path) -> Facts {
    static MADE: Mutex<BTreeMap<String, (Vec<u8>, Facts)>> = Mutex::new(BTreeMap::new());
    const KEEP: usize = 8 << 20;
    let key = format!("{sample:?}");
    let known = MADE.lock().unwrap().get(&key).cloned();
    if let Some((bytes, facts)) = known {
        write(path, &bytes);
        return facts;
    }
    let facts = generate::write(sample, path).unwrap();
    if facts.database_size_bytes < KEEP as u64 {
        MADE.lock().unwrap().insert(key, (read(path), facts.clone()));
    }
    facts
}

/// A sample library with so many files.
pub fn files(n: u64) -> Sample {
    Sample {
        size: Size::Files(n),
        ..Sample::default()
    }
}

/// The least that is a VPO library: 2 KiB.
pub fn tiny(path: &Path) {
    sqlite(
        path,
        "PRAGMA page_size = 512; PRAGMA journal_mode = DELETE;
         CREATE TABLE _meta (key TEXT, value TEXT);
         CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT, size_bytes INTEGER);
         INSERT INTO _meta VALUES ('schema_version', '27');
         INSERT INTO files VALUES (1, '/v/Amélie.mkv', 700000000);",
    );
}

/// Runs SQL in this process on a database that no test looks at meanwhile.
#[track_caller]
pub fn sqlite(path: &Path, sql: &str) {
    let db = Connection::open(path).unwrap();
    let mut batch = rusqlite::Batch::new(&db, sql);
    while let Some(mut statement) = batch.next().unwrap() {
        let mut rows = statement.query([]).unwrap();
        while rows.next().unwrap().is_some() {}
    }
    db.close().map_err(|(_, error)| error).unwrap();
}

/// Everything that a database holds, as text. It reads a private copy of the file and its log: the library itself is
/// not touched, and no lock of this process on it is lost.
#[track_caller]
pub fn dump(path: &Path) -> String {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    write(&copy, &read(path));
    for suffix in ["-wal", "-journal"] {
        if beside(path, suffix).exists() {
            write(beside(&copy, suffix), &read(beside(path, suffix)));
        }
    }
    dump_of(&Connection::open(&copy).unwrap())
}

/// [`dump`] of a database in memory.
#[track_caller]
pub fn dump_bytes(database: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    write(&copy, database);
    let db = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    dump_of(&db)
}

#[track_caller]
fn dump_of(db: &Connection) -> String {
    let mut out = String::new();
    let mut schema = db
        .prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")
        .unwrap();
    let entries: Vec<(String, String, Option<String>)> = schema
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (kind, name, sql) in entries {
        writeln!(out, "{kind} {name}: {sql:?}").unwrap();
        if kind != "table" {
            continue;
        }
        let mut select = db.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        let columns = select.column_count();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                match row.get_ref(column).unwrap() {
                    // By its length, for a quoted form of megabytes takes longer than all else here.
                    ValueRef::Text(text) => {
                        write!(out, " {}:", text.len()).unwrap();
                        out.push_str(&String::from_utf8_lossy(text));
                    }
                    value => write!(out, " {value:?}").unwrap(),
                }
            }
            out.push('\n');
        }
    }
    out
}

/// Spoils the root of an index: SQLite still opens the library, and reads its facts.
pub fn damage_index(path: &Path) {
    // Asked of a copy: a connection leaves side files.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    write(&copy, &read(path));
    let db = Connection::open(&copy).unwrap();
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize;
    let page_size = number("PRAGMA page_size");
    let root = number("SELECT rootpage FROM sqlite_schema WHERE name = 'idx_tracks_file_id'");
    let mut bytes = read(path);
    bytes[(root - 1) * page_size..][..page_size].fill(0x55);
    write(path, &bytes);
}
