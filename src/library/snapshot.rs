//! A consistent copy of a live library, as a stream.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;

use super::holder::in_use;
use super::read_connection::{ReadConnection, damaged, find};
use super::stats;
use crate::database::{Facts, immutable, quick_check, stop_when};
use crate::failure::{Kind, kind};
use crate::files::{Identity, Inputs, Temporary, close, read_full, require_space};
use crate::signals;

/// Bytes that are passed on at once, and buffers for them.
const PIECE: usize = 256 * 1024;
const BUFFERS: usize = 4;
/// How often a wait checks for a signal.
const TICK: Duration = Duration::from_millis(50);

/// How a snapshot is made.
#[derive(Clone, Debug)]
pub struct SnapshotOptions {
    /// Run quick_check meanwhile, and hold the end back until it has passed.
    pub check: bool,
    /// Where the facts go, before the first page.
    pub stats: Option<PathBuf>,
    /// How long to wait for a lock.
    pub timeout: Duration,
    /// For the copies that some situations need.
    pub scratch: PathBuf,
}

/// Writes the library at `path` to `out`, exactly as one read transaction sees it: every committed change, and nothing
/// else. `watch` is told the facts, before the first page, and then with each piece how many bytes it has.
///
/// A slow reader of `out` blocks no writer: in WAL mode the pages are streamed inside the transaction; in
/// rollback-journal mode, where that would lock writers out, from a private copy.
///
/// # Errors
/// As for [`ReadConnection::open`]; [`Kind::Usage`] if `out` or the file for the facts is the library or one of its side files,
/// before anything is written; [`Kind::Database`] if the check finds damage: the end of the stream is missing then.
pub fn snapshot(
    path: &Path,
    out: File,
    options: &SnapshotOptions,
    watch: impl FnMut(&Facts, usize),
) -> anyhow::Result<Facts> {
    let inputs = Inputs::default().database(&find(path)?);
    inputs.refuse(Identity::of(&out), "the output")?;
    // The facts would be lost beneath the pages, or the pages follow them.
    let inputs = inputs.open(&out, "the output");
    if let Some(stats) = &options.stats {
        inputs.refuse(Identity::at(stats), &format!("--stats '{}'", stats.display()))?;
    }
    let live = ReadConnection::open(path, &options.scratch, options.timeout)?;
    if live.blocks_nobody()? {
        // Before the facts are counted, which keeps only one core busy.
        let check = match options.check {
            true => match ReadConnection::open_beside(path, &options.scratch, options.timeout) {
                Err(error) if kind(&error) == Kind::Locked => {
                    drop(live);
                    return Err(in_use(&find(path)?).into());
                }
                second => Some(Check::of_library(second?)?),
            },
            false => None,
        };
        let begun = live
            .facts()
            .and_then(|facts| Stream::begin(facts, out, options, &inputs, watch));
        let sent = begun.and_then(|mut stream| {
            live.pages(|page| stream.send(page))?;
            Ok(stream)
        });
        let checked = Check::result(check, sent.is_err());
        // Before the last bytes are sent: what was read without locks may turn out to have changed.
        let closed = live.close();
        let stream = sent?;
        checked.and(closed)?;
        stream.finish()
    } else {
        let facts = live.facts()?;
        let copy = private_copy(&live, &options.scratch, facts.database_size_bytes)?;
        live.close()?;
        // The library is free now: reading the facts may take the reader a while, too.
        let mut stream = Stream::begin(facts, out, options, &inputs, watch)?;
        let check = match options.check {
            true => Some(Check::of_copy(copy.path(), path)?),
            false => None,
        };
        let sent = send_file(copy.file(), |bytes| stream.send(bytes));
        let checked = Check::result(check, sent.is_err());
        sent.and(checked)?;
        stream.finish()
    }
}

/// A snapshot that is being written out.
struct Stream<W> {
    facts: Facts,
    outlet: OutputThread,
    watch: W,
}

impl<W: FnMut(&Facts, usize)> Stream<W> {
    /// Passes the facts on; the pages follow.
    fn begin(
        facts: Facts,
        out: File,
        options: &SnapshotOptions,
        inputs: &Inputs,
        mut watch: W,
    ) -> anyhow::Result<Self> {
        if let Some(path) = &options.stats {
            stats::write(path, &facts, inputs, &out)?;
        }
        watch(&facts, 0);
        let outlet = OutputThread::start(out)?;
        Ok(Stream { facts, outlet, watch })
    }

    fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        (self.watch)(&self.facts, bytes.len());
        self.outlet.write(bytes)
    }

    fn finish(self) -> anyhow::Result<Facts> {
        self.outlet.finish()?;
        Ok(self.facts)
    }
}

/// Copies the pages to a file in `scratch`, as fast as possible.
pub(super) fn private_copy(live: &ReadConnection, scratch: &Path, size: u64) -> anyhow::Result<Temporary> {
    require_space(scratch, size)?;
    let failed = || format!("cannot copy the library to '{}'", scratch.display());
    let copy = Temporary::create(scratch).with_context(failed)?;
    let mut out = std::io::BufWriter::with_capacity(PIECE, &copy);
    live.pages(|page| {
        signals::check()?;
        out.write_all(page).with_context(failed)
    })?;
    out.flush().with_context(failed)?;
    drop(out);
    Ok(copy)
}

fn send_file(mut file: &File, mut send: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
    file.seek(SeekFrom::Start(0))
        .context("cannot read the copy of the library")?;
    let mut piece = vec![0; PIECE / 4];
    loop {
        match read_full(file, &mut piece).context("cannot read the copy of the library")? {
            0 => return Ok(()),
            n => send(&piece[..n])?,
        }
    }
}

/// A quick_check on a thread of its own.
struct Check {
    thread: JoinHandle<anyhow::Result<()>>,
    cancel: Arc<AtomicBool>,
}

impl Check {
    /// Of the library, through a connection of its own.
    fn of_library(mut live: ReadConnection) -> anyhow::Result<Self> {
        let cancel = Arc::default();
        live.stop_when(Arc::clone(&cancel))?;
        let work = move || {
            let checked = live.check();
            checked.and(live.close())
        };
        Self::start(cancel, work)
    }

    /// Of a copy of `library` that nobody writes to.
    fn of_copy(path: &Path, library: &Path) -> anyhow::Result<Self> {
        let cancel = Arc::default();
        let mut connection = immutable(path)?;
        stop_when(&mut connection, Arc::clone(&cancel))?;
        let library = library.to_owned();
        let work = move || quick_check(&connection).map_err(|error| damaged(&library, error, "check"));
        Self::start(cancel, work)
    }

    fn start(
        cancel: Arc<AtomicBool>,
        work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let thread = thread::Builder::new().name("check".into()).spawn(work);
        let thread = thread.context("cannot start a thread")?;
        Ok(Check { thread, cancel })
    }

    /// Waits for the result, or with `give_up` stops the check.
    fn result(check: Option<Self>, give_up: bool) -> anyhow::Result<()> {
        let Some(Check { thread, cancel }) = check else {
            return Ok(());
        };
        if give_up {
            cancel.store(true, Ordering::Relaxed);
        }
        let joined = thread.join();
        joined.unwrap_or_else(|_| Err(Kind::Failed.error("the check of the library was cut short")))
    }
}

/// Writes to `out` from a thread of its own, so that a reader who stalls never keeps the library's connections from
/// being closed cleanly.
pub(crate) struct OutputThread {
    full: Option<Sender<Vec<u8>>>,
    free: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    /// What to pass on next. The very last bytes stay here until [`OutputThread::finish`].
    current: Vec<u8>,
}

impl OutputThread {
    pub(crate) fn start(mut out: File) -> anyhow::Result<Self> {
        let (full, to_write) = channel::<Vec<u8>>();
        let (written, free) = channel();
        for _ in 1..BUFFERS {
            // The receiver is right here.
            let _ = written.send(Vec::new());
        }
        let thread = thread::Builder::new().name("output".into()).spawn(move || {
            for mut bytes in to_write {
                out.write_all(&bytes)?;
                bytes.clear();
                // Perhaps nobody needs it any more.
                let _ = written.send(bytes);
            }
            close(out)
        });
        Ok(OutputThread {
            full: Some(full),
            free,
            thread: Some(thread.context("cannot start a thread")?),
            current: Vec::new(),
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        if self.current.len() + bytes.len() > PIECE {
            let next = self.wait()?.map_or_else(|| self.failed().map(|()| Vec::new()), Ok)?;
            self.hand_on(next);
        }
        if self.current.capacity() == 0 {
            self.current.reserve_exact(PIECE);
        }
        self.current.extend_from_slice(bytes);
        Ok(())
    }

    fn hand_on(&mut self, next: Vec<u8>) {
        let bytes = std::mem::replace(&mut self.current, next);
        if let Some(full) = &self.full {
            // If the thread is gone, the next wait says why.
            let _ = full.send(bytes);
        }
    }

    /// Waits for an empty buffer; `None` when the thread has ended.
    fn wait(&self) -> anyhow::Result<Option<Vec<u8>>> {
        loop {
            match self.free.recv_timeout(TICK) {
                Ok(buffer) => return Ok(Some(buffer)),
                Err(RecvTimeoutError::Timeout) => signals::check()?,
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }

    /// The result of the thread, which has ended or is about to.
    fn failed(&mut self) -> anyhow::Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        match thread.join() {
            Ok(result) => result.context("cannot write the output"),
            Err(_) => Err(Kind::Failed.error("the output was cut short")),
        }
    }

    /// Passes on the last bytes and waits until all are written.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        self.hand_on(Vec::new());
        self.full = None;
        while self.wait()?.is_some() {}
        self.failed()
    }
}
