//! What the fuzz targets share: archives taken apart, changed, and put together again so that the checksums are right.
//!
//! Inputs are archives as they stand in a file, so that a finding can be handed to `vpo-verify` or `tar` as it is.
//! Random changes of such bytes never get past a CRC; [`mutate`] makes its changes below the checksums.

mod forge;
mod memory;
mod mutate;
mod random;

use std::io::{self, Cursor, Read, Write};
use std::num::NonZero;

use sha2::{Digest, Sha256};
use vpo_library::archive::{Contents, Reader};
use vpo_library::failure::{Kind, describe, kind};

pub use forge::{Archive, Entry, blocks, crc32, gzip};
pub use mutate::mutate;

/// An archive that the reader took for a whole one.
#[derive(Debug)]
pub struct Whole {
    pub contents: Contents,
    /// Bytes of the database that were written.
    pub size: u64,
    /// Their digest.
    pub sha256: String,
    /// The first of them.
    pub head: Vec<u8>,
}

/// The reader has at most three blocks in flight for one thread, each of them compressed and decompressed, and buffers
/// that grow by doubling.
const MEMORY: usize = 16 << 20;

/// Reads an archive that comes in pieces of at most `piece` bytes. The database is not kept: it may be large.
///
/// # Errors
/// The message for an archive that is not whole. There is no other error that bytes in memory could bring about.
pub fn read(bytes: &[u8], piece: usize) -> Result<Whole, String> {
    let input = Box::new(Pieces(Cursor::new(bytes.to_vec()), piece));
    let mut sink = Sink::default();
    let mut announced = 0;
    let (contents, memory) = memory::most_in(|| {
        let reader = Reader::open(input, NonZero::<usize>::MIN)?;
        announced = reader.database_size();
        reader.unpack(&mut sink)
    });
    assert!(memory <= MEMORY, "{memory} bytes of memory were in use");
    assert!(
        sink.size <= announced,
        "{} bytes of {announced} were written",
        sink.size
    );
    match contents {
        Ok(contents) => Ok(Whole {
            contents,
            size: sink.size,
            head: std::mem::take(&mut sink.head),
            sha256: sink.digest(),
        }),
        Err(error) => {
            assert_eq!(kind(&error), Kind::InvalidArchive, "{error:#}");
            Err(describe(&error))
        }
    }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

struct Pieces(Cursor<Vec<u8>>, usize);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

/// Keeps the digest, the length and the first bytes of what is written to it.
#[derive(Default)]
pub struct Sink {
    pub sha256: Sha256,
    pub size: u64,
    pub head: Vec<u8>,
}

impl Sink {
    pub fn digest(self) -> String {
        hex(&self.sha256.finalize())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let missing = 100 - self.head.len();
        self.head.extend_from_slice(&bytes[..missing.min(bytes.len())]);
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
