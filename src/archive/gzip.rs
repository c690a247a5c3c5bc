//! The gzip layer, read: from an archive's bytes to its tar stream, checked to the last byte.

use std::io::{BufReader, Cursor, ErrorKind, Read};
use std::num::NonZero;

use anyhow::Context;
use flate2::bufread::GzDecoder;

use super::blocks::Blocks;
use super::invalid;
use crate::failure::inside;
use crate::files;

/// Enough of a file to recognise it: the magic of a tar file is at 257.
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
    /// An invalid archive, whose format is named if it is well known; an I/O error.
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

    /// The next bytes; none only at the end of an archive whose gzip layer is complete.
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
            Source::Blocks(blocks) => blocks.consume(n),
            Source::Plain(plain) => plain.at += n,
        }
    }

    /// Where the block that was begun last begins, as an offset in the tar stream; `None` in a plain archive.
    pub fn block_start(&self) -> Option<u64> {
        match &self.source {
            Source::Blocks(blocks) => Some(blocks.start()),
            Source::Plain(_) => None,
        }
    }
}

fn read_full(input: impl Read, buffer: &mut [u8]) -> anyhow::Result<usize> {
    files::read_full(input, buffer).context("cannot read the archive")
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
