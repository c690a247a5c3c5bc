//! Blocks, read one after the other and inflated on threads.

use std::io::Read;
use std::num::NonZero;
use std::ops::Range;

use anyhow::Context;

use super::block::{BLOCK_SIZES, BlockHeader, HEADER_LEN, MAX_BLOCK, Trailer, expand};
use super::inflate::Inflater;
use super::invalid;
use super::ordered_pool::OrderedPool;
use crate::files;

/// This many of the shortest blocks are as long as the longest.
const MAX_MEMBERS: usize = MAX_BLOCK / *BLOCK_SIZES.start();

/// Members in a row that a thread works on at once: handing over each one of 128 KiB alone costs more than it gains.
#[derive(Default)]
struct Batch {
    /// Where each member is in `bytes`.
    members: Vec<(BlockHeader, Range<usize>)>,
    bytes: Vec<u8>,
    /// What they hold.
    data: Vec<u8>,
    /// Where the content of each ends in `data`.
    ends: Vec<usize>,
}

impl Batch {
    fn expand(&mut self, inflater: &mut Inflater) -> anyhow::Result<()> {
        let mut end = 0;
        for (header, member) in &self.members {
            end = expand(inflater, *header, &self.bytes[member.clone()], &mut self.data, end)?;
            self.ends.push(end);
        }
        Ok(())
    }
}

/// The blocks of an archive, inflated, in order.
pub struct Blocks {
    members: Members,
    pool: OrderedPool<Batch, (Batch, anyhow::Result<()>)>,
    free: Vec<Batch>,
    ended: bool,
    /// What was wrong with the file beyond the members in flight: reported after their own errors.
    failed: Option<anyhow::Error>,
    batch: Batch,
    /// Number in the batch of the current block, and where it begins and ends there.
    index: usize,
    at: usize,
    end: usize,
    /// Where the current block begins in the tar stream.
    start: u64,
    sizes: Sizes,
}

impl Blocks {
    /// Inflates what comes from `input`, which is read in complete batches, on `threads` threads.
    pub fn open(input: Box<dyn Read>, threads: NonZero<usize>) -> anyhow::Result<Self> {
        let pool = OrderedPool::start(threads, || {
            let mut inflater = Inflater::new();
            move |mut batch: Batch| {
                let result = batch.expand(&mut inflater);
                (batch, result)
            }
        })
        .context("cannot start a thread")?;
        Ok(Blocks {
            members: Members {
                input,
                offset: 0,
                number: 0,
            },
            pool,
            free: Vec::new(),
            ended: false,
            failed: None,
            batch: Batch::default(),
            index: 0,
            at: 0,
            end: 0,
            start: 0,
            sizes: Sizes::default(),
        })
    }

    /// The rest of the current block, or the next one; empty only at the end of the last.
    pub fn fill(&mut self) -> anyhow::Result<&[u8]> {
        if self.at == self.end {
            self.advance()?;
        }
        Ok(&self.batch.data[self.at..self.end])
    }

    /// Takes `n` of the bytes that [`Blocks::fill`] gave.
    pub fn consume(&mut self, n: usize) {
        self.at += n;
    }

    /// Where the block that was begun last begins in the tar stream.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Makes the next block the current one.
    fn advance(&mut self) -> anyhow::Result<()> {
        if self.index == self.batch.ends.len() && !self.next_batch()? {
            return Ok(());
        }
        self.start += self.sizes.last() as u64;
        self.at = if self.index == 0 { 0 } else { self.end };
        self.end = self.batch.ends[self.index];
        self.index += 1;
        self.sizes.add(self.end - self.at)
    }

    /// Makes the next batch the current one; false at the end of the file.
    fn next_batch(&mut self) -> anyhow::Result<bool> {
        while self.pool.has_room() && !self.ended {
            let mut batch = self.free.pop().unwrap_or_default();
            match self.members.read(&mut batch) {
                Ok(more) => self.ended = !more,
                Err(error) => {
                    self.ended = true;
                    self.failed = Some(error);
                }
            }
            if !batch.members.is_empty() {
                self.pool.submit(batch);
            }
        }
        let Some((batch, result)) = self.pool.take()? else {
            return self.failed.take().map_or(Ok(false), Err);
        };
        result?;
        self.free.push(std::mem::replace(&mut self.batch, batch));
        self.index = 0;
        Ok(true)
    }
}

/// Sizes of the blocks so far. All are as long as the first, except the last two, which may be shorter.
#[derive(Default)]
struct Sizes {
    count: u32,
    first: usize,
    /// The one before the last, and the last.
    recent: [usize; 2],
}

impl Sizes {
    fn last(&self) -> usize {
        self.recent[1]
    }

    fn add(&mut self, size: usize) -> anyhow::Result<()> {
        if self.count == 0 {
            self.first = size;
        }
        let number = self.count;
        // For an archive of two blocks, nothing more can be known.
        if number >= 2 {
            if self.recent[0] != self.first || !BLOCK_SIZES.contains(&self.first) {
                return Err(invalid(format!(
                    "block {} is too short: only the last two may be",
                    number - 2
                )));
            }
            if self.recent[1].max(size) > self.first {
                return Err(invalid(format!(
                    "block {} is longer than the first",
                    if size > self.first { number } else { number - 1 }
                )));
            }
        }
        self.recent = [self.recent[1], size];
        self.count += 1;
        Ok(())
    }
}

/// The members of a file, one after the other.
struct Members {
    input: Box<dyn Read>,
    /// Offset in the file of the next member.
    offset: u64,
    /// Number that the next member must have.
    number: u32,
}

impl Members {
    /// Reads members until they hold as much as the longest block, so that memory is the same for all sizes of blocks;
    /// false if the file ends with them.
    fn read(&mut self, batch: &mut Batch) -> anyhow::Result<bool> {
        batch.members.clear();
        batch.ends.clear();
        let (mut end, mut size) = (0, 0);
        while size < MAX_BLOCK && end < MAX_BLOCK && batch.members.len() < MAX_MEMBERS {
            let Some(header) = self.read_header()? else {
                return Ok(false);
            };
            let member = end..end + header.length;
            if batch.bytes.len() < member.end {
                batch.bytes.resize(member.end, 0);
            }
            batch.bytes[member.start..member.start + HEADER_LEN].copy_from_slice(&header.to_bytes());
            let rest = &mut batch.bytes[member.start + HEADER_LEN..member.end];
            if read_full(&mut *self.input, rest)? != rest.len() {
                return Err(truncated(header.number));
            }
            end = member.end;
            // An impossible member is refused when it is inflated, and ends the batch here.
            size += Trailer::of(&batch.bytes[..end]).map_or(MAX_BLOCK, |trailer| trailer.size.max(1));
            batch.members.push((header, member));
            self.offset += header.length as u64;
            self.number =
                (self.number.checked_add(1)).ok_or_else(|| invalid("it has more blocks than can be numbered"))?;
        }
        Ok(true)
    }

    fn read_header(&mut self) -> anyhow::Result<Option<BlockHeader>> {
        let mut head = [0; HEADER_LEN];
        let (number, offset) = (self.number, self.offset);
        match read_full(&mut *self.input, &mut head)? {
            0 => return Ok(None),
            HEADER_LEN => {}
            _ if number > 0 && !head.starts_with(&[0x1f, 0x8b]) => {
                return Err(invalid(format!(
                    "there are bytes after the last block, from byte {offset} on"
                )));
            }
            _ => return Err(truncated(number)),
        }
        let header = BlockHeader::parse(&head)
            .map_err(|what| invalid(format!("block {number} at byte {offset} is damaged: {what}")))?;
        if header.number != number {
            return Err(invalid(format!(
                "a block is missing, doubled or from elsewhere: number {} at byte {offset} where {number} belongs",
                header.number
            )));
        }
        Ok(Some(header))
    }
}

fn truncated(number: u32) -> anyhow::Error {
    invalid(format!("truncated: the file ends within block {number}"))
}

fn read_full(input: impl Read, buffer: &mut [u8]) -> anyhow::Result<usize> {
    files::read_full(input, buffer).context("cannot read the archive")
}
