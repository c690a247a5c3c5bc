//! New content for a library that exists, in one SQLite transaction: owner, mode, links and open connections stay.

use std::fs::File;
use std::io::BufReader;
use std::ops::Range;
use std::path::Path;

use anyhow::Context;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::claim::Claim;
use super::live::pages;
use crate::database::{Facts, Header, immutable, with_reason};
use crate::failure::{Kind, describe, kind};
use crate::files::{parent, read_full, require_space};

/// Fields of the database header that are the library's own (<https://www.sqlite.org/fileformat2.html>, section 1.3):
/// format versions, which tell the journal mode, change counter, schema cookie, and which SQLite wrote last.
const OWN_HEADER_FIELDS: [Range<usize>; 4] = [18..20, 24..28, 40..44, 92..100];
/// SQLite locks this byte and never writes the page that it is in.
const LOCK_BYTE: u64 = 0x4000_0000;

/// Replaces the content of the claimed library at `path` by that of `stage`.
///
/// # Errors
/// Until the new content is committed, the old one is untouched. After that the message begins with "the library was
/// restored, but".
pub fn replace(claim: Claim, path: &Path, old: &Facts, stage: &Path, new: Header) -> anyhow::Result<()> {
    let source = immutable(stage)?;
    let mut library = claim.into_connection()?;
    let wal = prepare(&library, path, old, new).map_err(|error| with_reason(&library, error))?;
    if let Err(error) = copy(&source, &mut library) {
        let error = with_reason(&library, with_reason(&source, error));
        // A log whose flush failed may still end with a whole transaction, which the next to open it takes over.
        let emptied = wal && empty_log(&library).is_ok();
        // In rollback mode the commit is that the journal is gone; the flush after it may still fail, and this connection
        // is then of no use to tell.
        drop(library);
        return Err(match found(path, stage, new.page_size) {
            Ok(None) => after_commit(error.context("it may not be on disk yet")),
            Ok(Some(_)) if emptied || !wal => error.context("cannot replace the library's content: it is as it was"),
            _ => error.context(
                "cannot replace the library's content: it is whole, and the next to open it finds it as it was, or \
                 restored",
            ),
        });
    }
    settle(library, wal, stage, new.page_size).map_err(after_commit)
}

/// How the library, opened anew, differs from the stage.
fn found(path: &Path, stage: &Path, page_size: u32) -> anyhow::Result<Option<String>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    difference(&Connection::open_with_flags(path, flags)?, stage, page_size)
}

/// Makes the library ready to take the new content; true if it stays in WAL mode.
fn prepare(library: &Connection, path: &Path, old: &Facts, new: Header) -> anyhow::Result<bool> {
    let auto_vacuum: i64 = library.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    let mut mode: String = library.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode == "wal" && (old.page_size != new.page_size || auto_vacuum != 0) {
        // The page size can't change in WAL mode, and the backup API does not undo auto-vacuum's pointer map there. VPO
        // switches back at its next open. First by itself, because only then a full disk is told as what it is.
        empty_log(library)?;
        library
            .query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
            .context("cannot change the library's journal mode")?;
        // Not what that said: where the disk is full, SQLite says "delete", and finds the old mode when it next reads.
        library.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        mode = library.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        if mode != "delete" {
            require_space(parent(path), u64::from(old.page_size) * 8)?;
            return Err(Kind::Failed.error(format!("the library stays in journal mode {mode}")));
        }
    }
    // EXTRA also flushes the directory after the journal is gone, which is the commit in rollback mode.
    let synchronous = if mode == "wal" { "FULL" } else { "EXTRA" };
    library.pragma_update(None, "synchronous", synchronous)?;
    Ok(mode == "wal")
}

/// An error that comes too late to undo anything.
pub(super) fn after_commit(error: anyhow::Error) -> anyhow::Error {
    kind(&error).error(format!("the library was restored, but {}", describe(&error)))
}

/// Copies all pages in one step, which is one transaction.
fn copy(source: &Connection, library: &mut Connection) -> anyhow::Result<()> {
    match Backup::new(source, library)?.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(Kind::Locked.error("it is locked")),
    }
}

/// Brings what the log holds into the file.
fn empty_log(library: &Connection) -> anyhow::Result<()> {
    let busy: i64 = library
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(|error| with_reason(library, error.into()))
        .context("its log can't be written back")?;
    match busy {
        0 => Ok(()),
        _ => Err(Kind::Locked.error("its log can't be written back: it is locked")),
    }
}

/// Brings the new content from the log into the file, and makes sure that it is that of the stage.
fn settle(library: Connection, wal: bool, stage: &Path, page_size: u32) -> anyhow::Result<()> {
    if wal {
        empty_log(&library)?;
    }
    if let Some(difference) = difference(&library, stage, page_size)? {
        return Err(Kind::Database.error(difference));
    }
    if !wal {
        remove_journal(&library).context("its journal can't be removed")?;
    }
    let closed = library.close();
    closed.map_err(|(_, error)| error).context("it can't be closed")
}

/// Removes the journal, which the exclusive locking mode keeps beyond the transaction, by leaving that mode: the next
/// access gives up the lock, and SQLite removes a journal that is of no use when the journal mode is changed.
fn remove_journal(library: &Connection) -> rusqlite::Result<()> {
    library.execute_batch(
        "PRAGMA locking_mode = NORMAL;
         SELECT count(*) FROM sqlite_schema;
         PRAGMA journal_mode = PERSIST;
         PRAGMA journal_mode = DELETE;",
    )
}

/// Compares every page of the library with the stage, which has passed quick_check, and says how they differ. That is a
/// stronger proof than another quick_check, and takes a third of the time.
fn difference(library: &Connection, stage: &Path, page_size: u32) -> anyhow::Result<Option<String>> {
    let failed = "what it holds now can't be compared with the backup";
    let mut stage = BufReader::with_capacity(1 << 18, File::open(stage).context(failed)?);
    let mut expected = vec![0; page_size as usize];
    let mut number = 0;
    let mut differs = None;
    pages(library, |page| {
        number += 1;
        let n = read_full(&mut stage, &mut expected).context(failed)?;
        if number == 1 && page.len() == n {
            for own in OWN_HEADER_FIELDS {
                expected[own.clone()].copy_from_slice(&page[own]);
            }
        }
        // The lock-byte page is not part of the content (file format, section 1.8).
        if page != &expected[..n] && (number - 1) * u64::from(page_size) != LOCK_BYTE {
            differs.get_or_insert_with(|| format!("page {number} is not that of the backup"));
        }
        Ok(())
    })?;
    if read_full(&mut stage, &mut [0]).context(failed)? > 0 {
        differs.get_or_insert_with(|| format!("it ends after {number} pages, before the backup does"));
    }
    Ok(differs)
}
