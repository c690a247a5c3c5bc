//! SQLite's own check of a database, and what a connection is denied before it reads content from elsewhere.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

use super::damage::{Damage, explain};
use crate::failure::Kind;
use crate::signals;

/// How many of its own operations SQLite performs between two checks whether it should stop.
pub(super) const OPERATIONS: c_int = 1000;

/// Denies a connection what content from elsewhere could misuse (<https://www.sqlite.org/security.html>),
/// and lets a signal interrupt it.
///
/// Collations that SQLite does not know compare bytes. Nothing here depends on the order: quick_check compares no keys,
/// and our queries name their collation.
pub(crate) fn harden(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // A violated constraint is not damage, and checking one may take long, or need a function that is not available.
    connection.pragma_update(None, "ignore_check_constraints", true)?;
    connection.collation_needed(|connection, name| connection.create_collation(name, |a, b| a.cmp(b)))?;
    connection.progress_handler(OPERATIONS, Some(|| signals::pending().is_some()))
}

/// Lets `cancel` stop what `connection` does, or is about to do: an interrupt before a statement begins would be lost.
pub(crate) fn stop_when(connection: &mut Connection, cancel: Arc<AtomicBool>) -> rusqlite::Result<()> {
    let stop = move || cancel.load(Ordering::Relaxed) || signals::pending().is_some();
    connection.progress_handler(OPERATIONS, Some(stop))
}

/// What quick_check says about values that violate a rule of their table, as opposed to how the table is stored
/// (`pragma.c`, "Verify datatypes for all columns").
const VIOLATIONS: [&str; 5] = [
    "NULL value in ",
    "non-",
    "NUMERIC value in ",
    "TEXT value in ",
    "CHECK constraint failed in ",
];

/// What quick_check says if it could not look: too little memory, an I/O error (`btree.c`, checkTreePage, checkList;
/// `fts5_main.c`). Everything else that it says may be a consequence.
const UNSEEN: [&str; 3] = [
    "unable to get the page. error code=",
    "failed to get page ",
    "unable to validate the inverted index",
];

/// Codes for pages that could be read, and are wrong: SQLITE_CORRUPT, SQLITE_NOTADB.
const WRONG_PAGE: [&str; 2] = ["11", "26"];

/// Runs `PRAGMA quick_check` over the structure of the database: every page, record and index. Values that violate a
/// constraint are not reported.
///
/// # Errors
/// [`Damage`] with the first finding. Whatever keeps SQLite from checking is reported as such: it proves nothing.
pub fn quick_check(connection: &Connection) -> anyhow::Result<()> {
    let found = findings(connection).map_err(|error| match error.sqlite_error_code() {
        // Being stopped is not a failure.
        Some(ErrorCode::OperationInterrupted) => anyhow::Error::new(error),
        _ => anyhow::Error::new(error).context("quick_check failed"),
    });
    let judged = found.and_then(|found| first_damage(&found));
    judged.map_err(|error| explain(connection, error))
}

/// The rows of quick_check, without `ok`. It stops after a hundred; those about the structure come first.
fn findings(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA quick_check")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    rows.filter(|row| row.as_ref().map_or(true, |row| row != "ok"))
        .collect()
}

fn first_damage(found: &[String]) -> anyhow::Result<()> {
    let lines = || found.iter().flat_map(|row| row.lines());
    if let Some(line) = lines().find(|line| is_unseen(line)) {
        return Err(Kind::Failed.error(format!("quick_check could not look at all of it: {line}")));
    }
    let damage =
        lines().find(|line| !line.starts_with("*** in database") && !VIOLATIONS.iter().any(|v| line.starts_with(v)));
    damage.map_or(Ok(()), |line| Err(Damage::in_structure(line)))
}

/// True for a line of quick_check or integrity_check that says that it could not look.
pub(super) fn is_unseen(line: &str) -> bool {
    UNSEEN.iter().any(|what| {
        let Some(at) = line.find(what) else { return false };
        let code = &line[at + what.len()..];
        !(what.ends_with("code=") && WRONG_PAGE.contains(&code))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::is_damage;

    /// SQLite's own interrupt is lost if it comes before a statement begins.
    #[test]
    fn a_check_that_is_given_up_before_it_begins() {
        let mut connection = Connection::open_in_memory().unwrap();
        let fill = "CREATE TABLE t (x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
                    INSERT INTO t SELECT i FROM n";
        connection.execute_batch(fill).unwrap();
        assert!(quick_check(&connection).is_ok());
        stop_when(&mut connection, Arc::new(AtomicBool::new(true))).unwrap();
        let error = quick_check(&connection).unwrap_err();
        assert!(error.to_string().contains("interrupted"), "{error:#}");
    }

    #[test]
    fn only_structure_is_damage() {
        let cases = [
            (
                &["*** in database main ***\nTree 3 page 9: btreeInitPage() returns error code 11"][..],
                Some(true),
            ),
            (
                &["*** in database main ***\nTree 3 page 9: unable to get the page. error code=11"],
                Some(true),
            ),
            (
                &["*** in database main ***\nTree 3 page 9: unable to get the page. error code=7"],
                Some(false),
            ),
            (
                &[
                    "*** in database main ***\nTree 3 page 9: unable to get the page. error code=266\nPage 5: never used",
                ],
                Some(false),
            ),
            (
                &["*** in database main ***\nTree 3 page 9 cell 1: failed to get page 10"],
                Some(false),
            ),
            (&["wrong # of entries in index i"], Some(true)),
            (&["NULL value in files.path", "NUMERIC value in files.path"], None),
            (
                &["NULL value in files.path", "wrong # of entries in index i"],
                Some(true),
            ),
            (&[], None),
        ];
        for (rows, damage) in cases {
            let rows: Vec<_> = rows.iter().map(|row| row.to_string()).collect();
            let judged = first_damage(&rows).err().map(|error| is_damage(&error));
            assert_eq!(judged, damage, "{rows:?}");
        }
    }
}
