//! An archive, written as a stream: the database as it comes, the metadata last.

use std::io::{self, Write};
use std::num::NonZero;

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::block::{BLOCK_SIZE, Deflater, Level};
use super::metadata::Metadata;
use super::ordered::Ordered;
use super::reader::hex;
use super::tar::{RECORD, header, padding};
use super::{DATABASE_NAME, METADATA_NAME};
use crate::database::{Facts, MAX_SOURCE, Source};
use crate::failure::Kind;
use crate::time::Time;

/// How an archive is written. The threads make no difference to its bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// How hard to compress.
    pub level: Level,
    /// Threads that compress.
    pub threads: NonZero<usize>,
    /// `created_at` in the metadata, and mtime in the tar headers.
    pub created_at: Time,
    /// `vpo_version` in the metadata.
    pub vpo_version: String,
    /// `replaced` in the metadata: this is a safety backup.
    pub replaced: bool,
    /// The library that was read, for the metadata, where the facts don't say it.
    pub source: Option<Source>,
}

/// An archive that is being written to `W`.
///
/// Dropped before [`Writer::finish`], it leaves a file without metadata, which no reader takes for a backup.
pub struct Writer<W: Write> {
    blocks: Blocks<W>,
    options: Options,
    sha256: Sha256,
    database_size: u64,
    /// Bytes of the database that are still to come.
    missing: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive of a database of `database_size` bytes.
    pub fn new(out: W, database_size: u64, options: Options) -> anyhow::Result<Self> {
        let mut blocks = Blocks::start(out, &options)?;
        blocks.write(header(DATABASE_NAME, database_size, options.created_at)?.as_bytes())?;
        Ok(Writer {
            blocks,
            options,
            sha256: Sha256::new(),
            database_size,
            missing: database_size,
        })
    }

    /// Where the next bytes of the database belong: never empty while some are missing, and never longer than what
    /// is missing. Reading straight into it saves a copy; [`Writer::advance`] then says how much was read.
    pub fn spare(&mut self) -> &mut [u8] {
        let spare = self.blocks.spare();
        let limit = spare.len().min(usize::try_from(self.missing).unwrap_or(usize::MAX));
        &mut spare[..limit]
    }

    /// Takes the first `n` bytes of [`Writer::spare`].
    pub fn advance(&mut self, n: usize) -> anyhow::Result<()> {
        let fresh = &self.blocks.spare()[..n];
        self.sha256.update(fresh);
        self.missing -= n as u64;
        self.blocks.advance(n)
    }

    /// Bytes of the database that are still to come.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Appends bytes of the database.
    ///
    /// # Errors
    /// More bytes than announced; an I/O error of the output.
    pub fn write(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            let spare = self.spare();
            if spare.is_empty() {
                return Err(Kind::Database.error(format!(
                    "the database is longer than the {} bytes it should have",
                    self.database_size
                )));
            }
            let n = spare.len().min(bytes.len());
            spare[..n].copy_from_slice(&bytes[..n]);
            self.advance(n)?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Ends the database and writes the metadata, which marks the archive as complete.
    ///
    /// # Errors
    /// When bytes of the database are missing, or the facts are not of this database; an I/O error of the output.
    pub fn finish(mut self, facts: &Facts) -> anyhow::Result<(W, Metadata)> {
        if self.missing > 0 {
            return Err(Kind::Database.error(format!(
                "the database ends after {} of {} bytes",
                self.database_size - self.missing,
                self.database_size
            )));
        }
        if facts.database_size_bytes != self.database_size {
            return Err(Kind::Database.error(format!(
                "the database has {} bytes where {} were announced",
                self.database_size, facts.database_size_bytes
            )));
        }
        self.blocks.write(&[0; RECORD][..padding(self.database_size)])?;
        self.blocks.end_block()?;
        let source = facts.source().is_none().then_some(self.options.source).flatten();
        let (source_host, source_path) = match source {
            Some(source) => (Some(source.host), Some(source.path)),
            None => (facts.source_host.clone(), facts.source_path.clone()),
        };
        let told = |text: &String| text.len() <= MAX_SOURCE;
        let metadata = Metadata {
            vpo_version: self.options.vpo_version,
            schema_version: facts.schema_version,
            created_at: self.options.created_at.to_string(),
            database_size_bytes: facts.database_size_bytes,
            file_count: facts.file_count,
            total_library_size_bytes: facts.total_library_size_bytes,
            compression: "gzip".into(),
            database_sha256: Some(hex(&self.sha256.finalize())),
            page_size: Some(facts.page_size),
            replaced: self.options.replaced,
            compression_level: Some(self.options.level.number()),
            source_host: source_host.filter(told),
            source_path: source_path.filter(told),
        };
        let mut json = serde_json::to_vec_pretty(&metadata)?;
        json.push(b'\n');
        let size = json.len() as u64;
        self.blocks
            .write(header(METADATA_NAME, size, self.options.created_at)?.as_bytes())?;
        self.blocks.write(&json)?;
        self.blocks.write(&[0; RECORD][..padding(size)])?;
        self.blocks.write(&[0; 2 * RECORD])?;
        self.blocks.end_block()?;
        let out = self.blocks.finish()?;
        Ok((out, metadata))
    }
}

/// A block on its way through the threads, and its buffers.
#[derive(Default)]
struct Job {
    number: u32,
    data: Vec<u8>,
    member: Vec<u8>,
    /// Bytes of `member` that count.
    length: usize,
}

struct Blocks<W> {
    out: W,
    pool: Ordered<Job, Job>,
    free: Vec<Job>,
    current: Job,
    /// Bytes of the current block that are filled.
    filled: usize,
    number: u32,
}

impl<W: Write> Blocks<W> {
    fn start(out: W, options: &Options) -> anyhow::Result<Self> {
        let level = options.level;
        let pool = Ordered::start(options.threads, || {
            let mut deflater = Deflater::new(level);
            move |mut job: Job| {
                job.length = deflater.compress(job.number, &job.data, &mut job.member);
                job
            }
        })
        .context("cannot start a thread")?;
        Ok(Blocks {
            out,
            pool,
            free: Vec::new(),
            current: Job::default(),
            filled: 0,
            number: 0,
        })
    }

    fn spare(&mut self) -> &mut [u8] {
        // A new buffer is zeroed once; a used one still has its length, unless it held a short block.
        self.current.data.resize(BLOCK_SIZE, 0);
        &mut self.current.data[self.filled..]
    }

    fn advance(&mut self, n: usize) -> anyhow::Result<()> {
        self.filled += n;
        if self.filled == BLOCK_SIZE {
            self.end_block()?;
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            let spare = self.spare();
            let n = spare.len().min(bytes.len());
            spare[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            self.advance(n)?;
        }
        Ok(())
    }

    /// Hands the current block, if there is something in it, to the threads, and writes out what they have done.
    fn end_block(&mut self) -> anyhow::Result<()> {
        if self.filled == 0 {
            return Ok(());
        }
        while !self.pool.has_room() {
            let done = self.pool.take()?;
            self.put(done)?;
        }
        let next = self.free.pop().unwrap_or_default();
        let mut job = std::mem::replace(&mut self.current, next);
        job.data.truncate(self.filled);
        job.number = self.number;
        self.filled = 0;
        self.number = self.number.checked_add(1).context("more blocks than can be numbered")?;
        self.pool.submit(job);
        loop {
            match self.pool.take_ready()? {
                None => return Ok(()),
                done => self.put(done)?,
            }
        }
    }

    fn put(&mut self, done: Option<Job>) -> anyhow::Result<()> {
        if let Some(job) = done {
            self.out.write_all(&job.member[..job.length]).map_err(write_error)?;
            self.free.push(job);
        }
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<W> {
        while let Some(job) = self.pool.take()? {
            self.put(Some(job))?;
        }
        self.out.flush().map_err(write_error)?;
        Ok(self.out)
    }
}

fn write_error(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot write the archive")
}
