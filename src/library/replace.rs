//! New content for a library that exists, in one SQLite transaction: owner, mode, links and open connections stay.
//!
//! If both databases have the same layout, only the pages that differ are written; else SQLite's backup API copies all.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::after_commit::after_commit;
use super::exclusive_lock::ExclusiveLock;
use super::read_connection::pages;
use crate::database::{HEADER_LEN, Header, JOURNAL, explain, immutable, side_file};
use crate::failure::{Kind, kind};
use crate::files::{parent, read_full, require_space, sync_directory};
use crate::signals;

/// Fields of the database header that are the library's own (<https://www.sqlite.org/fileformat2.html>, section 1.3):
/// format versions, which tell the journal mode, change counter, schema cookie, and which SQLite wrote last.
const OWN_HEADER_FIELDS: [Range<usize>; 4] = [18..20, 24..28, 40..44, 92..100];
/// Where the header holds the number of pages.
const PAGE_COUNT: Range<usize> = 28..32;
/// SQLite locks this byte and never writes the page that it is in (file format, section 1.8).
const LOCK_BYTE: u64 = 0x4000_0000;
/// Length of what precedes a page in a frame of the log; more than a page in the journal takes besides
/// (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
const FRAME_HEADER: u64 = 24;
/// A journal begins with a header that is not zero, unless what it held is over (`pager.c`, zeroJournalHdr).
const JOURNAL_HEADER: usize = 28;

/// The database to put in place: a file that nobody writes to, which has passed every check.
pub struct Stage<'a> {
    pub path: &'a Path,
    pub header: Header,
    pub size: u64,
}

impl Stage<'_> {
    fn page_count(&self) -> u64 {
        self.size / u64::from(self.header.page_size)
    }

    fn open(&self) -> io::Result<BufReader<File>> {
        Ok(BufReader::with_capacity(1 << 18, File::open(self.path)?))
    }
}

/// What must be done to a library to give it the content of a stage.
pub struct Work {
    /// The numbers of the pages that differ; `None` if the layouts differ and everything must be copied.
    pages: Option<Vec<u32>>,
    /// Bytes that this takes beside the library, and by which the library grows.
    space: u64,
}

impl Work {
    /// Compares the library, as the transaction of `connection` sees it, with the stage.
    pub fn find(connection: &Connection, stage: &Stage<'_>) -> anyhow::Result<Self> {
        let old = page_one(connection)?.and_then(|page| Header::parse(&page).ok());
        let old_pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let old_pages = old_pages.unsigned_abs();
        let page_size = u64::from(stage.header.page_size);
        let Some(old) = old.filter(|old| alike(old, &stage.header)) else {
            let old_size = old.map_or(0, |old| old_pages * u64::from(old.page_size));
            // The journal keeps the old content until the new one is there.
            let space = old_size + stage.size.saturating_sub(old_size);
            return Ok(Work { pages: None, space });
        };
        debug_assert_eq!(old.page_size, stage.header.page_size);
        let mut differing = Vec::new();
        let mut number = 0_u32;
        let failed = "cannot compare the library with the backup";
        let mut staged = stage.open().context(failed)?;
        let mut expected = vec![0; page_size as usize];
        pages(connection, |page| {
            signals::check()?;
            number += 1;
            let n = read_full(&mut staged, &mut expected).context(failed)?;
            if n > 0 && page != &expected[..n] && !holds_lock_byte(number, page_size) {
                differing.push(number);
            }
            Ok(())
        })?;
        // A page count has 32 bits.
        let more = number + 1..stage.page_count() as u32 + 1;
        differing.extend(more.filter(|number| !holds_lock_byte(*number, page_size)));
        let grows = stage.page_count().saturating_sub(old_pages) * page_size;
        let space = differing.len() as u64 * (page_size + FRAME_HEADER) + grows;
        Ok(Work {
            pages: Some(differing),
            space,
        })
    }

    /// Fails if there is too little space for it beside the library at `path`.
    pub fn require_space(&self, path: &Path) -> anyhow::Result<()> {
        require_space(parent(path), self.space)
    }
}

/// Whether pages of one can be put into the other.
fn alike(old: &Header, new: &Header) -> bool {
    let layout = |header: &Header| (header.page_size, header.reserved_bytes, header.text_encoding);
    layout(old) == layout(new) && !old.auto_vacuum && !new.auto_vacuum
}

fn holds_lock_byte(number: u32, page_size: u64) -> bool {
    u64::from(number - 1) == LOCK_BYTE / page_size
}

fn page_one(connection: &Connection) -> anyhow::Result<Option<Vec<u8>>> {
    let sql = "SELECT data FROM sqlite_dbpage WHERE pgno = 1";
    let page = connection.query_row(sql, [], |row| row.get(0)).optional();
    page.map_err(|error| explain(connection, error.into()).context("cannot read the library's pages"))
}

/// Gives the locked library at `path` the content of `stage`.
///
/// # Errors
/// Until the new content is committed, the old one is untouched. After that the message begins with "the library was
/// restored, but".
pub fn replace(mut lock: ExclusiveLock, path: &Path, stage: &Stage<'_>, work: &Work) -> anyhow::Result<()> {
    let wal = is_wal(lock.connection())?;
    let put = match &work.pages {
        Some(pages) => write_pages(lock.connection(), stage, pages).map(|()| wal),
        None => copy_all(&mut lock, path, stage).map(|()| false),
    };
    let put = put.map_err(|error| explain(lock.connection(), error));
    let proven = put.and_then(|wal| match wal {
        true => Ok(true),
        false => journal_is_over(path).map(|()| false),
    });
    let wal = match proven {
        Ok(wal) => wal,
        Err(error) => return Err(not_replaced(lock, path, stage, error)),
    };
    checkpoint_and_compare(lock, path, stage, wal).map_err(after_commit)
}

/// Writes the pages that differ, in the transaction that is open. The order matters: SQLite reads the schema anew after
/// the cookie was raised, and must find the old one intact, so page 1 comes last.
fn write_pages(library: &Connection, stage: &Stage<'_>, pages: &[u32]) -> anyhow::Result<()> {
    // Until the last page is written; it would refuse that, and silently drop the cookie.
    library.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    raise_schema_cookie(library)?;
    let page_size = stage.header.page_size as usize;
    let file = File::open(stage.path).context("cannot read the stage")?;
    let mut buffer = vec![0; page_size];
    let read = |number: u32, buffer: &mut [u8]| {
        let offset = u64::from(number - 1) * page_size as u64;
        file.read_exact_at(buffer, offset).context("cannot read the stage")
    };
    let mut write = library.prepare("INSERT INTO sqlite_dbpage (pgno, data) VALUES (?1, ?2)")?;
    for &number in pages.iter().filter(|number| **number != 1) {
        signals::check()?;
        read(number, &mut buffer)?;
        write.execute((number, &buffer))?;
    }
    let own = page_one(library)?.context("the library has no page 1")?;
    read(1, &mut buffer)?;
    take_own_fields(&mut buffer, &own, stage);
    write.execute((1, &buffer))?;
    let count: i64 = library.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    if count.unsigned_abs() > stage.page_count() {
        // It truncates the database there.
        write.execute((stage.page_count() as i64 + 1, rusqlite::types::Null))?;
    }
    drop(write);
    library.execute_batch("COMMIT")?;
    Ok(())
}

/// This tells idle connections in rollback mode that the schema has changed.
fn raise_schema_cookie(library: &Connection) -> anyhow::Result<()> {
    let cookie = || library.query_row("PRAGMA schema_version", [], |row| row.get::<_, i32>(0));
    let raised = cookie()?.wrapping_add(1);
    library.pragma_update(None, "schema_version", raised)?;
    match cookie()? {
        now if now == raised => Ok(()),
        _ => Err(Kind::Failed.error("its schema version can't be raised")),
    }
}

/// Turns the stage's page 1 into that of a library whose own page 1 is `own`. The number of pages is written again: a
/// legacy writer may have left it out of date in the stage, and with the old library's the new content would be
/// malformed.
fn take_own_fields(page: &mut [u8], own: &[u8], stage: &Stage<'_>) {
    for field in OWN_HEADER_FIELDS {
        page[field.clone()].copy_from_slice(&own[field]);
    }
    // A page count has 32 bits.
    page[PAGE_COUNT].copy_from_slice(&(stage.page_count() as u32).to_be_bytes());
}

/// Copies all pages by the backup API in one step, which is one transaction.
fn copy_all(lock: &mut ExclusiveLock, path: &Path, stage: &Stage<'_>) -> anyhow::Result<()> {
    // It has changed nothing, and the connection keeps the lock.
    lock.connection().execute_batch("ROLLBACK")?;
    leave_wal_mode(lock.connection(), path)?;
    let source = immutable(stage.path)?;
    let step = Backup::new(&source, lock.connection_mut())?.step(-1);
    match step.map_err(|error| explain(&source, error.into()))? {
        StepResult::Done => Ok(()),
        _ => Err(Kind::Locked.error("it is locked")),
    }
}

/// The page size can't change in WAL mode, and the backup API does not undo auto-vacuum's pointer map there. VPO
/// switches back at its next open.
fn leave_wal_mode(library: &Connection, path: &Path) -> anyhow::Result<()> {
    if !is_wal(library)? {
        return Ok(());
    }
    // First by itself, because only then is a full disk reported as such.
    empty_log(library)?;
    library
        .query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
        .context("cannot change the library's journal mode")?;
    // Do not trust that answer: if the disk is full, SQLite says "delete", and finds the old mode when it next reads.
    library.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    if is_wal(library)? {
        const SOME_PAGES: u64 = 8 * 65536;
        require_space(parent(path), SOME_PAGES)?;
        return Err(Kind::Failed.error("the library stays in journal mode wal"));
    }
    Ok(())
}

/// True in WAL mode. It needs the schema, which a connection can no longer read once the encoding has changed under it.
fn is_wal(library: &Connection) -> anyhow::Result<bool> {
    let mode: String = library.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    Ok(mode == "wal")
}

/// Makes sure that no journal is left that would bring the old content back: that it is gone, or its header zeroed, and
/// that this is on disk. A call that fails while SQLite removes it does not fail the commit.
fn journal_is_over(path: &Path) -> anyhow::Result<()> {
    let failed = "the library's journal can't be put away";
    let mut header = Vec::new();
    match File::open(side_file(path, JOURNAL)) {
        Ok(journal) => {
            (&journal)
                .take(JOURNAL_HEADER as u64)
                .read_to_end(&mut header)
                .context(failed)?;
            journal.sync_all().context(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => sync_directory(parent(path)).context(failed)?,
        Err(error) => return Err(error).context(failed),
    }
    match header.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(Kind::Failed.error(failed)),
    }
}

/// What is in place after an error: the next process to open the library would find the same.
fn not_replaced(lock: ExclusiveLock, path: &Path, stage: &Stage<'_>, error: anyhow::Error) -> anyhow::Error {
    let library = lock.connection();
    if !library.is_autocommit() {
        // What can't be rolled back now will be by the next process that opens it.
        let _ = library.execute_batch("ROLLBACK");
    }
    // A log whose flush failed may still end with a complete transaction, which the next process to open it recovers.
    let wal = is_wal(library).unwrap_or(true);
    let emptied = wal && empty_log(library).is_ok();
    // In rollback mode the commit is that the journal is gone; the flush after it may still fail, and this connection
    // can't tell any more.
    drop(lock);
    match found_anew(path, stage) {
        Ok(None) => after_commit(error.context("it may not be on disk yet")),
        Ok(Some(_)) if emptied || !wal => error.context("cannot replace the library's content: it is as it was"),
        _ => error.context(
            "cannot replace the library's content: it is whole, and the next to open it finds it as it was, or restored",
        ),
    }
}

/// How the library, opened anew, differs from the stage.
fn found_anew(path: &Path, stage: &Stage<'_>) -> anyhow::Result<Option<String>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let library = Connection::open_with_flags(path, flags)?;
    difference(stage, |sink| pages(&library, sink))
}

/// Brings what the log holds into the file.
fn empty_log(library: &Connection) -> anyhow::Result<()> {
    let busy: i64 = library
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(|error| explain(library, error.into()))
        .context("its log can't be written back")?;
    match busy {
        0 => Ok(()),
        _ => Err(Kind::Locked.error("its log can't be written back: it is locked")),
    }
}

/// Brings the new content from the log into the file, and makes sure that it is that of the stage.
fn checkpoint_and_compare(lock: ExclusiveLock, path: &Path, stage: &Stage<'_>, wal: bool) -> anyhow::Result<()> {
    let library = lock.connection();
    library.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    if wal {
        empty_log(library)?;
    }
    if let Some(difference) = difference(stage, |sink| pages_of_file(lock.file(), stage, sink))? {
        return Err(Kind::Database.error(difference));
    }
    lock.close().context("it can't be closed")?;
    match wal {
        true => Ok(()),
        false => remove_journal(path).context("its journal can't be removed"),
    }
}

/// Removes the journal that the exclusive locking mode keeps beyond the transaction, though what it held is over.
/// SQLite removes such a one when the journal mode is changed, unless somebody has begun to use it again.
fn remove_journal(path: &Path) -> anyhow::Result<()> {
    if !side_file(path, JOURNAL).exists() {
        return Ok(());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let library = Connection::open_with_flags(path, flags)?;
    let removed = library.execute_batch("PRAGMA journal_mode = PERSIST; PRAGMA journal_mode = DELETE;");
    match removed.map_err(|error| explain(&library, error.into())) {
        // Somebody uses the library: the journal is theirs by now.
        Err(error) if kind(&error) == Kind::Locked => Ok(()),
        done => done,
    }
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> anyhow::Result<()>;

/// The pages of the library as they are in its file, beneath SQLite: its log has been written back. Only as many as the
/// stage has, which its header says: a run that was killed before SQLite truncated the file leaves unused ones after them.
fn pages_of_file(mut file: &File, stage: &Stage<'_>, sink: Sink<'_>) -> anyhow::Result<()> {
    let failed = "what it holds now can't be read";
    file.seek(SeekFrom::Start(0)).context(failed)?;
    let mut reader = BufReader::with_capacity(1 << 18, file.take(stage.size));
    let mut page = vec![0; stage.header.page_size as usize];
    loop {
        match read_full(&mut reader, &mut page).context(failed)? {
            0 => return Ok(()),
            n => sink(&page[..n])?,
        }
    }
}

/// Compares every page of the library with the stage, which has passed quick_check, and says how they differ. That is a
/// stronger proof than another quick_check, and takes a third of the time.
fn difference(stage: &Stage<'_>, pages: impl FnOnce(Sink<'_>) -> anyhow::Result<()>) -> anyhow::Result<Option<String>> {
    let failed = "what it holds now can't be compared with the backup";
    let mut staged = stage.open().context(failed)?;
    let mut expected = vec![0; stage.header.page_size as usize];
    let mut number = 0;
    let mut differs = None;
    pages(&mut |page| {
        number += 1;
        let n = read_full(&mut staged, &mut expected).context(failed)?;
        if number == 1 && page.len() == n && n >= HEADER_LEN {
            // The backup API leaves what the stage told, out of date or not.
            let told = expected[PAGE_COUNT].to_vec();
            take_own_fields(&mut expected, page, stage);
            if page[PAGE_COUNT] == told {
                expected[PAGE_COUNT].copy_from_slice(&told);
            }
        }
        if page != &expected[..n] && !holds_lock_byte(number, u64::from(stage.header.page_size)) {
            differs.get_or_insert_with(|| format!("page {number} is not that of the backup"));
        }
        Ok(())
    })?;
    if read_full(&mut staged, &mut [0]).context(failed)? > 0 {
        differs.get_or_insert_with(|| format!("it ends after {number} pages, before the backup does"));
    }
    Ok(differs)
}
