//! A database in, an archive out, as a stream.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::retry_on_intr;
use serde::Deserialize;

use crate::archive::{Options, Resources, Writer, Written};
use crate::database::{Facts, HEADER_LEN, Header, immutable, pending_side_file};
use crate::failure::{Advice, Kind};
use crate::files::{self, FileStamp, Temporary};

/// Facts are a few hundred bytes.
const MAX_STATS: u64 = 64 * 1024;
/// Where to look when a stream is empty or short.
const UPSTREAM: &str = "in a pipeline, the program before this one may have failed";

/// A database that is being read; its header has been read already.
struct Input<'a> {
    head: [u8; HEADER_LEN],
    header: Header,
    rest: &'a File,
}

/// Where the facts for the metadata come from.
enum Source {
    /// From the program that made the stream.
    Told(Facts),
    /// From the input, a regular file that must not change meanwhile.
    InPlace(PathBuf, Facts, FileStamp),
    /// From a copy of the stream.
    Spool(Temporary),
}

/// Reads a database from `input` and writes an archive of it to `out`.
///
/// The facts for the metadata come from the file `stats`, which is opened after the first bytes of input have arrived;
/// else from the input itself: a regular file is opened in place, a pipe is spooled to a private file in `scratch`.
/// `watch` is told the length of the database and, with each piece, how many bytes it has.
///
/// # Errors
/// [`Kind::Database`] for input that is not a complete VPO library. What was written to `out` is then not a complete
/// archive.
pub fn pack<W: Write>(
    input: &File,
    stats: Option<&Path>,
    scratch: &Path,
    out: W,
    options: Options,
    resources: Resources,
    watch: impl FnMut(u64, usize),
) -> anyhow::Result<Written> {
    let fifo = stats.map(open_fifo).transpose()?.flatten();
    let mut head = [0; HEADER_LEN];
    let length = read_full(input, &mut head)?;
    if length == 0 {
        return Err(Kind::Database
            .because("the input is empty, not a database")
            .hint(UPSTREAM)
            .into());
    }
    let header = Header::parse(&head[..length]).map_err(not_a_database)?;
    let mut input = Input {
        head,
        header,
        rest: input,
    };
    let begin = |size| Writer::new(out, size, options, resources);
    if let Some(stats) = stats {
        let facts = read_stats(stats, fifo, header)?;
        return stream(input, Source::Told(facts), begin, watch);
    }
    if let Some(path) = path_of(input.rest)? {
        let stamp = stamp(input.rest)?;
        let facts = read_facts(&path)?;
        return stream(input, Source::InPlace(path, facts, stamp), begin, watch);
    }
    let spool = Temporary::create(scratch);
    let spool = spool.with_context(|| format!("cannot create a file in '{}'", scratch.display()))?;
    if header.database_size().is_some() {
        return stream(input, Source::Spool(spool), begin, watch);
    }
    // A legacy writer left the page count out of date: only the end of the input shows how long it is.
    let failed = "cannot spool the input";
    (&spool).write_all(&head).context(failed)?;
    io::copy(&mut &*input.rest, &mut &spool).context(failed)?;
    spool.file().seek(SeekFrom::Start(HEADER_LEN as u64)).context(failed)?;
    input.rest = spool.file();
    stream(input, Source::Told(read_facts(spool.path())?), begin, watch)
}

/// Packs the database that comes from `input`. `begin` makes the archive of one of so many bytes.
fn stream<W: Write>(
    input: Input<'_>,
    source: Source,
    begin: impl FnOnce(u64) -> anyhow::Result<Writer<W>>,
    mut watch: impl FnMut(u64, usize),
) -> anyhow::Result<Written> {
    let size = match &source {
        Source::Told(facts) | Source::InPlace(_, facts, _) => Some(facts.database_size_bytes),
        Source::Spool(_) => input.header.database_size(),
    };
    let size = size.context("the length of the database is not known")?;
    input.header.check_size(size).map_err(not_a_database)?;
    let keep = |bytes: &[u8]| match &source {
        Source::Spool(spool) => (&*spool).write_all(bytes).context("cannot spool the input"),
        _ => Ok(()),
    };

    let mut writer = begin(size)?;
    keep(&input.head)?;
    writer.write(&input.head)?;
    watch(size, HEADER_LEN);
    while writer.missing() > 0 {
        let spare = writer.spare();
        let n = read_full(input.rest, spare)?;
        if n == 0 {
            let had = size - writer.missing();
            let message = format!("the input ends after {had} of {size} bytes");
            return Err(Kind::Database.because(message).hint(UPSTREAM).into());
        }
        keep(&spare[..n])?;
        writer.advance(n)?;
        watch(size, n);
    }
    if read_full(input.rest, &mut [0])? > 0 {
        return Err(Kind::Database.error(format!("the input is longer than the {size} bytes it should have")));
    }
    // Before the metadata, which completes the archive.
    let facts = match &source {
        Source::Told(facts) => facts.clone(),
        Source::InPlace(path, _, before) if stamp(input.rest)? != *before => {
            let shown = path.display();
            return Err(Kind::Failed
                .because(format!("'{shown}' was changed while it was read"))
                .advise(Advice::Snapshot(path.clone()))
                .into());
        }
        Source::InPlace(_, facts, _) => facts.clone(),
        Source::Spool(spool) => read_facts(spool.path())?,
    };
    Ok(writer.finish(&facts)?.1)
}

fn not_a_database(what: String) -> anyhow::Error {
    Kind::Database.error(format!("the input is not a complete database: {what}"))
}

/// Opens a FIFO for the facts before the first byte of input arrives: the program that writes both may hold that byte
/// back until the FIFO has a reader. A file may not exist yet.
fn open_fifo(stats: &Path) -> anyhow::Result<Option<File>> {
    if !stats.metadata().is_ok_and(|meta| meta.file_type().is_fifo()) {
        return Ok(None);
    }
    let nonblock = OFlags::NONBLOCK.bits() as i32;
    let opened = File::options().read(true).custom_flags(nonblock).open(stats);
    opened
        .map(Some)
        .with_context(|| format!("cannot open '{}'", stats.display()))
}

/// Waits until a FIFO has something to read, and makes reads from it block again: without a writer it looks as if it
/// had ended.
fn wait_for_writer(fifo: File) -> io::Result<File> {
    retry_on_intr(|| poll(&mut [PollFd::new(&fifo, PollFlags::IN)], None))?;
    fcntl_setfl(&fifo, fcntl_getfl(&fifo)? - OFlags::NONBLOCK)?;
    Ok(fifo)
}

/// Facts from the program that made the stream. They are one JSON object: the other end of a pipe may stay open after
/// it.
fn read_stats(stats: &Path, fifo: Option<File>, header: Header) -> anyhow::Result<Facts> {
    let shown = stats.display();
    let open = || files::open_path_or_descriptor(File::options().read(true), stats);
    let file = fifo.map_or_else(open, wait_for_writer);
    let file = file.with_context(|| format!("cannot open '{shown}'"))?;
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(file.take(MAX_STATS)));
    let facts = Facts::deserialize(&mut reader).map_err(|error| match error.is_io() {
        true => anyhow::Error::new(io::Error::from(error)).context(format!("cannot read '{shown}'")),
        false => Kind::Database
            .because(format!("'{shown}' does not hold the facts of a snapshot"))
            .source(error)
            .into(),
    })?;
    facts
        .check()
        .map_err(|what| Kind::Database.error(format!("'{shown}' does not hold the facts of a snapshot: {what}")))?;
    let size = header.database_size().unwrap_or(facts.database_size_bytes);
    if facts.page_size != header.page_size || facts.database_size_bytes != size {
        return Err(Kind::Database.error(format!(
            "'{shown}' is about another database: {} bytes in pages of {}, where the input has {size} in pages of {}",
            facts.database_size_bytes, facts.page_size, header.page_size
        )));
    }
    Ok(facts)
}

/// Facts from a file that nobody writes to.
fn read_facts(path: &Path) -> anyhow::Result<Facts> {
    Facts::read(&immutable(path)?).context("the input cannot be backed up")
}

/// The path of an input that is a regular file, still there by that name, and read from its beginning.
///
/// # Errors
/// [`Kind::Database`] if a log or journal lies beside it, without which the file is not what was committed.
fn path_of(input: &File) -> anyhow::Result<Option<PathBuf>> {
    let meta = input.metadata().context("cannot look at the input")?;
    // The header has been read from it.
    let at_start = || (&*input).stream_position().is_ok_and(|at| at == HEADER_LEN as u64);
    if !meta.is_file() || !at_start() {
        return Ok(None);
    }
    let Some(path) = descriptor_path(input) else {
        return Ok(None);
    };
    let same = std::fs::metadata(&path).is_ok_and(|there| there.ino() == meta.ino() && there.dev() == meta.dev());
    if !same {
        return Ok(None);
    }
    if let Some(side) = pending_side_file(&path).context("cannot look beside the input")? {
        return Err(Kind::Database
            .because(format!(
                "the input has changes in '{}' that would be lost",
                side.display()
            ))
            .advise(Advice::Snapshot(path))
            .into());
    }
    Ok(Some(path))
}

#[cfg(target_os = "linux")]
fn descriptor_path(file: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

#[cfg(target_os = "macos")]
fn descriptor_path(file: &File) -> Option<PathBuf> {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let path = rustix::fs::getpath(file).ok()?;
    Some(OsString::from_vec(path.into_bytes()).into())
}

/// Elsewhere a file is spooled like a pipe.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn descriptor_path(_file: &File) -> Option<PathBuf> {
    None
}

fn stamp(file: &File) -> anyhow::Result<FileStamp> {
    let meta = file.metadata().context("cannot look at the input")?;
    Ok(FileStamp::from(&meta))
}

fn read_full(input: &File, buffer: &mut [u8]) -> anyhow::Result<usize> {
    files::read_full(input, buffer).context("cannot read the input")
}
