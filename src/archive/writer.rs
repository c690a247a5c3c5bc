//! An archive, written as a stream: the database as it comes, the metadata last.

use std::io::{self, Write};
use std::num::NonZero;

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::block::{BLOCK_SIZE, Deflater, Level};
use super::metadata::Metadata;
use super::ordered_pool::OrderedPool;
use super::reader::hex;
use super::reuse::{Copier, Members, Reuse};
use super::tar::{RECORD, header, padding};
use super::{DATABASE_NAME, METADATA_NAME};
use crate::database::{Facts, MAX_SOURCE, Source};
use crate::failure::Kind;
use crate::time::Time;

/// Blocks are handed to the threads this many bytes at a time: each one of 128 KiB by itself would cost more.
const JOB_SIZE: usize = 8 * BLOCK_SIZE;

/// What an archive is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// How hard to compress.
    pub level: Level,
    /// `created_at` in the metadata, and mtime in the tar headers.
    pub created_at: Time,
    /// `vpo_version` in the metadata.
    pub vpo_version: String,
    /// `replaced` in the metadata: this is a safety backup.
    pub replaced: bool,
    /// The library that was read, for the metadata, if the facts don't name it.
    pub source: Option<Source>,
}

/// What an archive is made with. It decides how long that takes.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Threads that compress.
    pub threads: NonZero<usize>,
    /// An earlier archive, whose members are copied where they hold the same bytes. With [`Reusable::Same`] that makes
    /// no difference to the bytes.
    ///
    /// [`Reusable::Same`]: super::Reusable::Same
    pub reuse: Option<Reuse>,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// The metadata of the archive.
    pub metadata: Metadata,
    /// Its blocks.
    pub blocks: u32,
    /// How many of them were copied from an earlier archive.
    pub blocks_reused: u32,
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
    pub fn new(out: W, database_size: u64, options: Options, resources: Resources) -> anyhow::Result<Self> {
        let mut blocks = Blocks::start(out, &options, resources)?;
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
    /// If bytes of the database are missing, or the facts are not of this database; an I/O error of the output.
    pub fn finish(mut self, facts: &Facts) -> anyhow::Result<(W, Written)> {
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
        self.blocks.drain()?;
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
            compression_level: (!self.blocks.mixed(self.options.level)).then_some(self.options.level.number()),
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
        self.blocks.drain()?;
        self.blocks.out.flush().map_err(write_error)?;
        let written = Written {
            metadata,
            blocks: self.blocks.number,
            blocks_reused: self.blocks.reused,
        };
        Ok((self.blocks.out, written))
    }
}

/// Blocks in a row on their way through the threads, and their buffers.
#[derive(Default)]
struct Job {
    /// Number of the first.
    number: u32,
    /// The content of all.
    data: Vec<u8>,
    /// The members of an earlier archive with the same numbers.
    earlier: Option<Members>,
    /// How many of them were copied.
    reused: u32,
    /// Their members, one after the other.
    members: Vec<u8>,
    /// Bytes of `members` that count.
    length: usize,
}

impl Job {
    fn compress(&mut self, deflater: &mut Deflater, copier: &mut Copier) {
        (self.length, self.reused) = (0, 0);
        let blocks = self.data.chunks(BLOCK_SIZE);
        let bound = blocks.clone().map(|block| deflater.bound(block.len())).sum();
        if self.members.len() < bound {
            // Not resized: memory that comes zeroed from the system is only touched where something is written.
            self.members = vec![0; bound];
        }
        for (i, block) in blocks.enumerate() {
            let member = &mut self.members[self.length..][..deflater.bound(block.len())];
            let earlier = self.earlier.as_ref();
            let copied = earlier.and_then(|earlier| copier.copy(earlier, i, block, member));
            self.reused += u32::from(copied.is_some());
            // A job has only a few blocks.
            let number = self.number + i as u32;
            self.length += copied.unwrap_or_else(|| deflater.compress(number, block, member));
        }
    }
}

struct Blocks<W> {
    out: W,
    pool: OrderedPool<Job, Job>,
    free: Vec<Job>,
    current: Job,
    /// Bytes of the current job that are filled.
    filled: usize,
    /// Number of its first block.
    number: u32,
    earlier: Option<Reuse>,
    /// Blocks that were copied, as far as they are written.
    reused: u32,
}

impl<W: Write> Blocks<W> {
    fn start(out: W, options: &Options, resources: Resources) -> anyhow::Result<Self> {
        let level = options.level;
        let pool = OrderedPool::start(resources.threads, || {
            let (mut deflater, mut copier) = (Deflater::new(level), Copier::new());
            move |mut job: Job| {
                job.compress(&mut deflater, &mut copier);
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
            earlier: (resources.reuse).filter(|earlier| earlier.serves(level, &options.vpo_version)),
            reused: 0,
        })
    }

    fn spare(&mut self) -> &mut [u8] {
        // A used buffer still has its length, unless it held short blocks.
        match self.current.data.capacity() {
            0 => self.current.data = vec![0; JOB_SIZE],
            _ => self.current.data.resize(JOB_SIZE, 0),
        }
        &mut self.current.data[self.filled..]
    }

    fn advance(&mut self, n: usize) -> anyhow::Result<()> {
        self.filled += n;
        if self.filled == JOB_SIZE {
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

    /// Ends the current block, if it holds anything, and hands it to the threads with those before it; writes out what
    /// they have finished.
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
        let blocks = self.filled.div_ceil(BLOCK_SIZE) as u32;
        let next = self.number.checked_add(blocks);
        self.number = next.context("more blocks than can be numbered")?;
        job.earlier = self.earlier.as_mut().map(|earlier| earlier.members(job.number, blocks));
        self.filled = 0;
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
            self.out.write_all(&job.members[..job.length]).map_err(write_error)?;
            self.reused += job.reused;
            self.free.push(job);
        }
        Ok(())
    }

    /// Writes out all that was begun.
    fn drain(&mut self) -> anyhow::Result<()> {
        while let Some(job) = self.pool.take()? {
            self.put(Some(job))?;
        }
        Ok(())
    }

    /// True if blocks of another or an unknown level were copied.
    fn mixed(&self, level: Level) -> bool {
        let earlier = self.earlier.as_ref();
        self.reused > 0 && earlier.is_some_and(|earlier| !earlier.has_level(level))
    }
}

fn write_error(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot write the archive")
}
