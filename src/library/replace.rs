//! New content for a library that exists, in one SQLite transaction: owner, mode, links and open connections stay.

use std::path::Path;

use anyhow::Context;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::claim::Claim;
use crate::database::{Facts, Header, immutable, quick_check};
use crate::failure::Kind;

/// Replaces the content of the claimed library by that of `stage`.
///
/// # Errors
/// Until the new content is committed, the old one is untouched. After that the message begins with "the library was
/// restored, but".
pub fn replace(claim: Claim, old: &Facts, stage: &Path, new: Header) -> anyhow::Result<()> {
    let source = immutable(stage)?;
    let mut library = claim.into_connection()?;
    let auto_vacuum: i64 = library.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    let mut mode: String = library.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode == "wal" && (old.page_size != new.page_size || auto_vacuum != 0) {
        // The page size can't change in WAL mode, and the backup API does not undo auto-vacuum's pointer map there. VPO
        // switches back at its next open.
        mode = library.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
        if mode != "delete" {
            return Err(Kind::Failed.error(format!("the library stays in journal mode {mode}")));
        }
    }
    // EXTRA also flushes the directory after the journal is gone, which is the commit in rollback mode.
    let synchronous = if mode == "wal" { "FULL" } else { "EXTRA" };
    library.pragma_update(None, "synchronous", synchronous)?;
    copy(&source, &mut library).context("cannot replace the library's content: it is as it was")?;
    settle(library, mode == "wal").context("the library was restored, but")
}

/// Copies all pages in one step, which is one transaction.
fn copy(source: &Connection, library: &mut Connection) -> anyhow::Result<()> {
    match Backup::new(source, library)?.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(Kind::Locked.error("it is locked")),
    }
}

/// Brings the new content from the log into the file, and looks at it once more.
fn settle(library: Connection, wal: bool) -> anyhow::Result<()> {
    if wal {
        let busy: i64 = library
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .context("its log can't be written back")?;
        if busy != 0 {
            return Err(Kind::Locked.error("its log can't be written back: it is locked"));
        }
    }
    quick_check(&library)?;
    let closed = library.close();
    closed.map_err(|(_, error)| error).context("it can't be closed")
}
