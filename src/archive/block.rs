//! One block: a complete gzip member (RFC 1952) whose header tells its length, its number and the CRC of its
//! compressed bytes.
//!
//! ```text
//! 1f 8b 08 04  0 0 0 0  0 ff  14 00      ID1 ID2 CM FLG, MTIME, XFL OS, XLEN
//! 'I' 'G' 4 0  length                    of the complete member
//! 'V' 'C' 8 0  crc, number               CRC-32 of the DEFLATE bytes, number of the block
//! … DEFLATE …
//! CRC-32, ISIZE                          of the uncompressed bytes
//! ```

use std::ops::RangeInclusive;

use libdeflater::{CompressionLvl, Compressor};

use super::inflate::Inflater;
use super::invalid;

/// Uncompressed bytes in every block but the last two, as this project writes them.
pub const BLOCK_SIZE: usize = 128 * 1024;
/// The sizes that a reader accepts: the same for all blocks of an archive.
pub const BLOCK_SIZES: RangeInclusive<usize> = 64 * 1024..=MAX_BLOCK;
/// No block is longer.
pub const MAX_BLOCK: usize = 1024 * 1024;
/// Bytes before the DEFLATE stream of a block.
pub const HEADER_LEN: usize = 32;
/// Bytes after it.
pub const TRAILER_LEN: usize = 8;
/// No member is longer: incompressible data is stored with 5 bytes for each 64 KiB or less, far below this.
pub const MAX_MEMBER: usize = HEADER_LEN + MAX_BLOCK + MAX_BLOCK / 16 + TRAILER_LEN;

const FIXED: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 20, 0, b'I', b'G', 4, 0];

/// How hard to compress: libdeflate's levels, 0 (stored) to 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(u8);

impl Level {
    /// A level from 0 to 12.
    pub fn new(level: u8) -> Option<Self> {
        (level <= 12).then_some(Level(level))
    }

    /// Its number.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl Default for Level {
    /// Level 6.
    fn default() -> Self {
        Level(6)
    }
}

/// What a block's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Bytes in the member, header and trailer included.
    pub length: usize,
    /// CRC-32 of the DEFLATE bytes as they stand in the file.
    pub crc: u32,
    /// Number of the block, from 0.
    pub number: u32,
}

impl BlockHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// A phrase that says what is wrong. A length that no block can have is refused here, before anything is
    /// allocated for it.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, String> {
        if bytes[..2] != FIXED[..2] {
            return Err("no gzip member begins there".into());
        }
        if bytes[..16] != FIXED || bytes[20..24] != *b"VC\x08\0" {
            return Err("its gzip header is not that of a block".into());
        }
        let field = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let length = field(16) as usize;
        if !(HEADER_LEN + TRAILER_LEN + 1..=MAX_MEMBER).contains(&length) {
            return Err(format!("its header claims an impossible length of {length} bytes"));
        }
        Ok(BlockHeader {
            length,
            crc: field(24),
            number: field(28),
        })
    }

    /// The same, as it stands in the file.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..16].copy_from_slice(&FIXED);
        // Bounded by MAX_MEMBER.
        bytes[16..20].copy_from_slice(&(self.length as u32).to_le_bytes());
        bytes[20..24].copy_from_slice(b"VC\x08\0");
        bytes[24..28].copy_from_slice(&self.crc.to_le_bytes());
        bytes[28..].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }
}

/// Turns data into members.
pub struct Deflater(Compressor);

impl Deflater {
    /// One that compresses at `level`.
    pub fn new(level: Level) -> Self {
        // libdeflate knows every level that a `Level` can hold.
        Deflater(Compressor::new(CompressionLvl::new(level.0.into()).unwrap_or_default()))
    }

    /// Bytes that the member of `size` bytes of data never exceeds.
    pub fn bound(&mut self, size: usize) -> usize {
        HEADER_LEN + self.0.deflate_compress_bound(size) + TRAILER_LEN
    }

    /// Writes block `number`, which holds `data`, at most [`MAX_BLOCK`] bytes, to the beginning of `member`, which has
    /// room for [`Deflater::bound`].
    ///
    /// Returns the length of the member.
    pub fn compress(&mut self, number: u32, data: &[u8], member: &mut [u8]) -> usize {
        debug_assert!(data.len() <= MAX_BLOCK);
        let deflated = self
            .0
            .deflate_compress(data, &mut member[HEADER_LEN..])
            // The buffer has the size that libdeflate asked for.
            .expect("libdeflate's own bound holds");
        let end = HEADER_LEN + deflated;
        let header = BlockHeader {
            length: end + TRAILER_LEN,
            crc: libdeflater::crc32(&member[HEADER_LEN..end]),
            number,
        };
        member[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        member[end..end + 4].copy_from_slice(&libdeflater::crc32(data).to_le_bytes());
        member[end + 4..header.length].copy_from_slice(&(data.len() as u32).to_le_bytes());
        header.length
    }
}

/// Bytes of the blocks that `data` would become.
pub fn compressed_size(level: Level, data: &[u8]) -> usize {
    let mut deflater = Deflater::new(level);
    let mut member = vec![0; deflater.bound(BLOCK_SIZE)];
    let blocks = data.chunks(BLOCK_SIZE);
    blocks.map(|block| deflater.compress(0, block, &mut member)).sum()
}

/// CRC-32 and length of the content of a member, which are its last 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// CRC-32 of the uncompressed bytes.
    pub crc: u32,
    /// Their number, as the trailer gives it.
    pub size: usize,
}

impl Trailer {
    /// Reads a trailer.
    pub fn parse(bytes: [u8; TRAILER_LEN]) -> Self {
        let [c0, c1, c2, c3, s0, s1, s2, s3] = bytes;
        Trailer {
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
            size: u32::from_le_bytes([s0, s1, s2, s3]) as usize,
        }
    }

    /// The trailer of a complete member.
    pub fn of(member: &[u8]) -> Option<Self> {
        member.last_chunk().copied().map(Self::parse)
    }
}

/// Checks and decompresses one member, header included, into `data` from `at` on. `data` only ever grows, so that it
/// need not be zeroed again. Returns where the content ends in it.
///
/// # Errors
/// An invalid archive; the message names block `header.number`.
pub fn expand(
    inflater: &mut Inflater,
    header: BlockHeader,
    member: &[u8],
    data: &mut Vec<u8>,
    at: usize,
) -> anyhow::Result<usize> {
    let wrong = |what: &str| invalid(format!("block {} is damaged: {what}", header.number));
    let Some((deflated, trailer)) = member
        .get(HEADER_LEN..)
        .and_then(|rest| rest.split_last_chunk::<TRAILER_LEN>())
    else {
        return Err(wrong("it is too short"));
    };
    // First, because DEFLATE has bits that decode to nothing.
    if libdeflater::crc32(deflated) != header.crc {
        return Err(wrong("the checksum of its compressed bytes does not match"));
    }
    let trailer = Trailer::parse(*trailer);
    if trailer.size == 0 || trailer.size > MAX_BLOCK {
        return Err(wrong("its trailer claims an impossible size"));
    }
    let end = at + trailer.size;
    if data.len() < end {
        data.resize(end, 0);
    }
    let data = &mut data[at..end];
    inflater.inflate(deflated, data).map_err(|what| wrong(&what))?;
    if libdeflater::crc32(data) != trailer.crc {
        return Err(wrong("the checksum of its content does not match"));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(level: Level, number: u32, data: &[u8]) -> Vec<u8> {
        let mut deflater = Deflater::new(level);
        let mut member = vec![0; deflater.bound(data.len())];
        let length = deflater.compress(number, data, &mut member);
        member.truncate(length);
        member
    }

    #[test]
    fn stored_blocks_fit_the_bound() {
        for level in 0..=12 {
            for size in [BLOCK_SIZE, MAX_BLOCK] {
                let noise: Vec<u8> = (0..size as u64)
                    .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8)
                    .collect();
                let member = member(Level::new(level).unwrap(), 3, &noise);
                assert!(member.len() <= MAX_MEMBER);
                let header = BlockHeader::parse(member.first_chunk().unwrap()).unwrap();
                let mut data = b"before".to_vec();
                let end = expand(&mut Inflater::new(), header, &member, &mut data, 6).unwrap();
                assert!(data[6..end] == noise && data.starts_with(b"before"));
            }
        }
    }

    #[test]
    fn any_bit_of_a_block_counts() {
        let member = member(Level::default(), 0, b"abcabcabcabcabc, and so on");
        for bit in 0..member.len() * 8 {
            let mut bad = member.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let whole = match BlockHeader::parse(bad.first_chunk().unwrap()) {
                Ok(h) if h.length == bad.len() && h.number == 0 => {
                    expand(&mut Inflater::new(), h, &bad, &mut Vec::new(), 0).is_ok()
                }
                _ => false,
            };
            assert!(!whole, "bit {bit}");
        }
    }
}
