//! What SQLite's longer checks find: indexes against their tables, and references to rows.

use rusqlite::{Connection, ffi};
use serde::Serialize;

use super::check::is_unseen;

/// At most this many kinds of problems are distinguished; a hostile database could have any number.
const MAX_PROBLEMS: usize = 100;

/// One kind of problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The table, if SQLite says which.
    pub table: Option<String>,
    /// How many of its rows, if it is about rows.
    pub rows: Option<u64>,
    /// In SQLite's words about the first such row, or in ours.
    pub message: String,
}

/// Runs `integrity_check` and `foreign_key_check` on a database that has passed quick_check, and returns what they
/// find, in the order in which they find it.
///
/// # Errors
/// If a check could not be run to its end; that proves nothing about the database.
pub fn problems(connection: &Connection) -> anyhow::Result<Vec<Problem>> {
    // Here keys are compared: by a collation that is not the right one, sound indexes would look wrong.
    connection.collation_needed(|_, _| Ok(()))?;
    let mut found = Found::default();
    integrity(connection, &mut found)?;
    references(connection, &mut found)?;
    Ok(found.problems)
}

#[derive(Default)]
struct Found {
    /// What makes two findings one: the message without its row.
    keys: Vec<String>,
    problems: Vec<Problem>,
}

impl Found {
    fn add(&mut self, key: String, of_rows: bool, problem: impl FnOnce() -> Problem) {
        if let Some(known) = self.keys.iter().position(|known| *known == key) {
            if of_rows && let Some(rows) = &mut self.problems[known].rows {
                *rows += 1;
            }
        } else if self.keys.len() < MAX_PROBLEMS {
            self.keys.push(key);
            self.problems.push(problem());
        } else if self.problems.len() == MAX_PROBLEMS {
            self.problems.push(Problem {
                table: None,
                rows: None,
                message: "there are more kinds of problems".into(),
            });
        }
    }
}

/// <https://www.sqlite.org/pragma.html#pragma_integrity_check>
fn integrity(connection: &Connection, found: &mut Found) -> anyhow::Result<()> {
    // Without a number it stops after a hundred.
    let mut check = match connection.prepare("PRAGMA integrity_check(2147483647)") {
        Ok(check) => check,
        Err(error) => return impossible(error, None, found),
    };
    let mut rows = check.query([])?;
    while let Some(row) = rows.next()? {
        let text = String::from_utf8_lossy(row.get_ref(0)?.as_bytes().unwrap_or_default()).into_owned();
        if text == "ok" {
            continue;
        }
        anyhow::ensure!(
            !text.lines().any(is_unseen),
            "integrity_check could not look at all of it: {text}"
        );
        // "row 17 missing from index idx_files_path"
        let rest = text.strip_prefix("row ");
        let rest = rest.map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        let key = rest.unwrap_or(&text).to_owned();
        let of_rows = rest.is_some() || is_of_a_row(&text);
        found.add(key, of_rows, || Problem {
            table: table_of(connection, &text),
            rows: of_rows.then_some(1),
            message: text.clone(),
        });
    }
    Ok(())
}

/// What the schema makes impossible to check is a finding too: "foreign key mismatch", "no such collation sequence".
fn impossible(error: rusqlite::Error, table: Option<&str>, found: &mut Found) -> anyhow::Result<()> {
    let rusqlite::Error::SqliteFailure(code, Some(message)) = &error else {
        return Err(error.into());
    };
    if code.extended_code & 0xff != ffi::SQLITE_ERROR {
        return Err(error.into());
    }
    found.add(message.clone(), false, || Problem {
        table: table.map(str::to_owned),
        rows: None,
        message: message.clone(),
    });
    Ok(())
}

/// Messages about one row that don't give its number.
fn is_of_a_row(message: &str) -> bool {
    [
        "non-unique entry in index ",
        "NULL value in ",
        "CHECK constraint failed in ",
    ]
    .iter()
    .any(|start| message.starts_with(start))
}

/// The table that a message is about: it names the table, a column of it, or an index.
fn table_of(connection: &Connection, message: &str) -> Option<String> {
    if let Some((_, index)) = message.rsplit_once(" index ") {
        let sql = "SELECT tbl_name FROM sqlite_schema WHERE type = 'index' AND name = ?1";
        return connection.query_row(sql, [index], |row| row.get(0)).ok();
    }
    let (_, name) = message.split_once(" in ").filter(|_| is_of_a_row(message))?;
    let table = name.rsplit_once('.').map_or(name, |(table, _)| table);
    Some(table.to_owned())
}

/// <https://www.sqlite.org/pragma.html#pragma_foreign_key_check>, table by table: one that can't be checked ends it.
fn references(connection: &Connection, found: &mut Found) -> anyhow::Result<()> {
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")?;
    let mut names = tables.query([])?;
    while let Some(row) = names.next()? {
        let name = String::from_utf8_lossy(row.get_ref(0)?.as_bytes().unwrap_or_default()).into_owned();
        if let Err(error) = references_of(connection, &name, found) {
            impossible(error, Some(&name), found)?;
        }
    }
    Ok(())
}

fn references_of(connection: &Connection, table: &str, found: &mut Found) -> rusqlite::Result<()> {
    let quoted = table.replace('"', "\"\"");
    let mut check = connection.prepare(&format!("PRAGMA foreign_key_check(\"{quoted}\")"))?;
    let mut rows = check.query([])?;
    while let Some(row) = rows.next()? {
        let parent = String::from_utf8_lossy(row.get_ref(2)?.as_bytes().unwrap_or_default()).into_owned();
        let key = format!("{table}\n{parent}\n{}", row.get::<_, i64>(3)?);
        found.add(key, true, || Problem {
            table: Some(table.to_owned()),
            rows: Some(1),
            message: format!("refers to rows of '{parent}' that do not exist"),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(sql: &str) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        connection
    }

    fn problem(table: Option<&str>, rows: Option<u64>, message: &str) -> Problem {
        Problem {
            table: table.map(str::to_owned),
            rows,
            message: message.into(),
        }
    }

    const TABLES: &str = "CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT);
        CREATE INDEX idx_files_path ON files (path);
        CREATE TABLE tracks (id INTEGER PRIMARY KEY, file_id INTEGER REFERENCES files (id));
        INSERT INTO files VALUES (1, 'a'), (2, 'b'), (3, 'c');
        INSERT INTO tracks VALUES (1, 1), (2, 2), (3, NULL);";

    #[test]
    fn nothing_is_found_in_a_sound_database() {
        assert_eq!(problems(&database(TABLES)).unwrap(), []);
    }

    /// quick_check does not see an index that knows other rows than its table.
    #[test]
    fn an_index_that_lacks_rows() {
        let connection = database(TABLES);
        let root: i64 = connection
            .query_row(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'idx_files_path'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        // The index takes the root of an empty one.
        connection
            .execute_batch(&format!(
                "CREATE INDEX empty ON tracks (file_id) WHERE id > 99;
                 PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET rootpage = CASE name WHEN 'empty' THEN {root} ELSE
                     (SELECT rootpage FROM sqlite_schema WHERE name = 'empty') END
                     WHERE name IN ('empty', 'idx_files_path');
                 PRAGMA writable_schema = RESET;"
            ))
            .unwrap();
        let found = problems(&connection).unwrap();
        let row = problem(Some("files"), Some(3), "row 1 missing from index idx_files_path");
        assert!(found.contains(&row), "{found:?}");
        let count = problem(Some("files"), None, "wrong # of entries in index idx_files_path");
        assert!(found.contains(&count), "{found:?}");
    }

    #[test]
    fn rows_that_refer_to_none() {
        let connection = database(TABLES);
        connection
            .execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM files WHERE id < 3")
            .unwrap();
        assert_eq!(
            problems(&connection).unwrap(),
            [problem(
                Some("tracks"),
                Some(2),
                "refers to rows of 'files' that do not exist"
            )]
        );
    }

    #[test]
    fn a_reference_that_can_not_be_checked() {
        let connection = database(
            "PRAGMA foreign_keys = OFF;
             CREATE TABLE files (id INTEGER, path TEXT);
             CREATE TABLE tracks (file_id INTEGER REFERENCES files (id));
             CREATE TABLE \"more \"\"tracks\" (file_id INTEGER REFERENCES gone (id));
             INSERT INTO tracks VALUES (1);
             INSERT INTO \"more \"\"tracks\" VALUES (1)",
        );
        let mismatch = "foreign key mismatch - \"tracks\" referencing \"files\"";
        let dangling = "refers to rows of 'gone' that do not exist";
        assert_eq!(
            problems(&connection).unwrap(),
            [
                problem(Some("tracks"), None, mismatch),
                problem(Some("more \"tracks"), Some(1), dangling)
            ]
        );
    }

    /// Compared by bytes, a sound index of an unavailable collation lacks all its rows.
    #[test]
    fn a_collation_that_is_not_here() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let connection = Connection::open(file.path()).unwrap();
        connection.create_collation("backwards", |a, b| b.cmp(a)).unwrap();
        let sql = TABLES.replace("path TEXT", "path TEXT COLLATE backwards");
        connection.execute_batch(&sql).unwrap();
        drop(connection);
        let connection = crate::database::immutable(file.path()).unwrap();
        assert_eq!(
            problems(&connection).unwrap(),
            [problem(None, None, "no such collation sequence: backwards")]
        );
    }

    #[test]
    fn there_is_an_end() {
        let mut sql = String::from("PRAGMA foreign_keys = OFF;");
        for n in 0..150 {
            sql.push_str(&format!(
                "CREATE TABLE t{n} (x REFERENCES gone (id)); INSERT INTO t{n} VALUES (1);"
            ));
        }
        let found = problems(&database(&sql)).unwrap();
        assert_eq!(found.len(), MAX_PROBLEMS + 1);
        assert_eq!(found[MAX_PROBLEMS].message, "there are more kinds of problems");
    }
}
