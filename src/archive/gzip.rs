//! The gzip layer, read: from an archive's bytes to its tar stream, checked to the last byte.

use std::io::{BufReader, Cursor, ErrorKind, Read};
use std::num::NonZero;

use anyhow::Context;
use flate2::bufread::GzDecoder;

use super::block::{BLOCK_SIZE, BlockHeader, HEADER_LEN, expand};
use super::inflate::Inflater;
use super::invalid;
use super::ordered::Ordered;
use crate::failure::inside;
use crate::files;

/// Enough of a file to tell what it is: the mark of a tar file is at 257.
const SNIFF: usize = 512;
/// Piece in which a plain stream is decompressed.
const PIECE: usize = 256 * 1024;
/// The gzip flag for an extra field (RFC 1952, 2.3.1).
const FEXTRA: u8 = 4;

/// How the gzip layer of an archive is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Blocks, as this project writes them.
    Blocks,
    /// One plain gzip member, from elsewhere.
    Plain,
}

/// A tar stream that is being decompressed.
pub struct Gzip {
    source: Source,
    /// Uncompressed bytes consumed so far.
    position: u64,
}

enum Source {
    Blocks(Box<Blocks>),
    Plain(Box<Plain>),
}

impl Gzip {
    /// Looks at the beginning of `input` and starts to decompress, on `threads` threads where the archive allows it.
    ///
    /// # Errors
    /// An invalid archive, whose format is named where it is a well-known one; an I/O error.
    pub fn open(mut input: Box<dyn Read>, threads: NonZero<usize>) -> anyhow::Result<Self> {
        let mut head = vec![0; SNIFF];
        let length = read_full(&mut *input, &mut head)?;
        head.truncate(length);
        if !head.starts_with(&[0x1f, 0x8b]) {
            return Err(super::foreign::refuse(&head));
        }
        let extra = head.get(3).is_some_and(|flags| flags & FEXTRA != 0);
        let input = Cursor::new(head).chain(input);
        let source = if extra {
            Source::Blocks(Box::new(Blocks::open(Box::new(input), threads)?))
        } else {
            Source::Plain(Box::new(Plain {
                decoder: GzDecoder::new(BufReader::with_capacity(PIECE, Box::new(input))),
                piece: vec![0; PIECE],
                filled: 0,
                at: 0,
            }))
        };
        Ok(Gzip { source, position: 0 })
    }

    /// How the archive is built.
    pub fn layout(&self) -> Layout {
        match self.source {
            Source::Blocks(_) => Layout::Blocks,
            Source::Plain(_) => Layout::Plain,
        }
    }

    /// Uncompressed bytes consumed so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes, none only at the end of an archive whose gzip layer is whole.
    pub fn fill(&mut self) -> anyhow::Result<&[u8]> {
        match &mut self.source {
            Source::Blocks(blocks) => blocks.fill(),
            Source::Plain(plain) => plain.fill(),
        }
    }

    /// Takes `n` of the bytes that [`Gzip::fill`] gave.
    pub fn consume(&mut self, n: usize) {
        self.position += n as u64;
        match &mut self.source {
            Source::Blocks(blocks) => blocks.at += n,
            Source::Plain(plain) => plain.at += n,
        }
    }

    /// Where the block that was begun last begins, as an offset in the tar stream; `None` in a plain archive.
    pub fn block_start(&self) -> Option<u64> {
        match &self.source {
            Source::Blocks(blocks) => Some(blocks.start),
            Source::Plain(_) => None,
        }
    }
}

fn read_full(input: impl Read, buffer: &mut [u8]) -> anyhow::Result<usize> {
    files::read_full(input, buffer).context("cannot read the archive")
}

/// A member on its way through the threads, and its buffers.
struct Job {
    header: BlockHeader,
    member: Vec<u8>,
    data: Vec<u8>,
}

struct Blocks {
    input: Box<dyn Read>,
    pool: Ordered<Job, (Job, anyhow::Result<()>)>,
    free: Vec<Job>,
    /// Offset in the file of the next member.
    offset: u64,
    /// Number that the next member must have.
    number: u32,
    ended: bool,
    /// What was wrong with the file beyond the members in flight: told after what they have to tell.
    failed: Option<anyhow::Error>,
    current: Option<Job>,
    /// How much of the current block is consumed.
    at: usize,
    /// Where the current block begins and ends in the tar stream.
    start: u64,
    end: u64,
    /// Sizes of the last two blocks that were taken: only they may be short.
    recent: [usize; 2],
}

impl Blocks {
    fn open(input: Box<dyn Read>, threads: NonZero<usize>) -> anyhow::Result<Self> {
        let pool = Ordered::start(threads, || {
            let mut inflater = Inflater::new();
            move |mut job: Job| {
                let result = expand(&mut inflater, job.header, &job.member, &mut job.data);
                (job, result)
            }
        })
        .context("cannot start a thread")?;
        Ok(Blocks {
            input,
            pool,
            free: Vec::new(),
            offset: 0,
            number: 0,
            ended: false,
            failed: None,
            current: None,
            at: 0,
            start: 0,
            end: 0,
            recent: [BLOCK_SIZE; 2],
        })
    }

    fn fill(&mut self) -> anyhow::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|job| self.at == job.data.len()) {
            self.advance()?;
        }
        Ok(self.current.as_ref().map_or(&[], |job| &job.data[self.at..]))
    }

    /// Makes the next block the current one.
    fn advance(&mut self) -> anyhow::Result<()> {
        self.free.extend(self.current.take());
        self.at = 0;
        while self.pool.has_room() && !self.ended {
            match self.read_member() {
                Ok(Some(job)) => self.pool.submit(job),
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    self.failed = Some(error);
                }
            }
        }
        let Some((job, result)) = self.pool.take()? else {
            return self.failed.take().map_or(Ok(()), Err);
        };
        result?;
        if self.recent[0] != BLOCK_SIZE {
            return Err(invalid(format!(
                "block {} is too short: only the last two may be",
                job.header.number.saturating_sub(2)
            )));
        }
        self.recent = [self.recent[1], job.data.len()];
        self.start = self.end;
        self.end += job.data.len() as u64;
        self.current = Some(job);
        Ok(())
    }

    fn read_member(&mut self) -> anyhow::Result<Option<Job>> {
        let mut head = [0; HEADER_LEN];
        let (number, offset) = (self.number, self.offset);
        let truncated = || invalid(format!("truncated: the file ends within block {number}"));
        match read_full(&mut *self.input, &mut head)? {
            0 => return Ok(None),
            HEADER_LEN => {}
            _ if number > 0 && !head.starts_with(&[0x1f, 0x8b]) => {
                return Err(invalid(format!(
                    "there are bytes after the last block, from byte {offset} on"
                )));
            }
            _ => return Err(truncated()),
        }
        let header = BlockHeader::parse(&head)
            .map_err(|what| invalid(format!("block {number} at byte {offset} is damaged: {what}")))?;
        if header.number != number {
            return Err(invalid(format!(
                "a block is missing, doubled or from elsewhere: number {} at byte {offset} where {number} belongs",
                header.number
            )));
        }
        let mut job = self.free.pop().unwrap_or_else(|| Job {
            header,
            member: Vec::new(),
            data: Vec::new(),
        });
        job.header = header;
        job.member.resize(header.length, 0);
        job.member[..HEADER_LEN].copy_from_slice(&head);
        let rest = read_full(&mut *self.input, &mut job.member[HEADER_LEN..])?;
        if rest != header.length - HEADER_LEN {
            return Err(truncated());
        }
        self.offset += header.length as u64;
        self.number = number
            .checked_add(1)
            .ok_or_else(|| invalid("it has more blocks than can be numbered"))?;
        Ok(Some(job))
    }
}

struct Plain {
    decoder: GzDecoder<BufReader<Box<dyn Read>>>,
    piece: Vec<u8>,
    filled: usize,
    at: usize,
}

impl Plain {
    fn fill(&mut self) -> anyhow::Result<&[u8]> {
        if self.at == self.filled {
            self.at = 0;
            self.filled = 0;
            self.filled = loop {
                match self.decoder.read(&mut self.piece) {
                    Ok(0) => break self.check_end().map(|()| 0)?,
                    Ok(n) => break n,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // An error of the system has a number; the decoder's own have none.
                    Err(error) if error.raw_os_error().is_some() || inside(&error).is_some() => {
                        return Err(error).context("cannot read the archive");
                    }
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                        return Err(invalid("truncated: the gzip stream has no end"));
                    }
                    Err(error) => {
                        return Err(invalid(format!("the gzip stream is damaged: {error}")));
                    }
                }
            };
        }
        Ok(&self.piece[self.at..self.filled])
    }

    /// Nothing may follow the only member.
    fn check_end(&mut self) -> anyhow::Result<()> {
        let mut rest = [0; 2];
        let length = read_full(self.decoder.get_mut(), &mut rest)?;
        let rest = &rest[..length];
        if rest.is_empty() {
            Ok(())
        } else if rest.starts_with(&[0x1f, 0x8b]) {
            Err(invalid("several plain gzip members: the first must be the only one"))
        } else {
            Err(invalid("there are bytes after the end of the gzip stream"))
        }
    }
}
