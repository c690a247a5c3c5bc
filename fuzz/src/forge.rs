//! Archives taken apart and put together, without a line of the library: it is what is tried here.

use std::io::{Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::{DeflateEncoder, GzEncoder};
use flate2::{Compression, Crc};

const RECORD: usize = 512;
/// Length of a block, as vpo-pack writes them.
const BLOCK: usize = 128 << 10;
/// Archives that hold more are not taken apart.
const MAX_TAR: u64 = 4 << 20;

/// A tar header and what belongs to it.
#[derive(Clone)]
pub struct Entry {
    pub header: [u8; RECORD],
    pub content: Vec<u8>,
}

impl Entry {
    /// A member of type `kind` with a header that is right.
    pub fn new(name: &str, kind: u8, content: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_770_301_822);
        header.as_mut_bytes()[156] = kind;
        let mut entry = Entry {
            header: *header.as_bytes(),
            content: content.to_vec(),
        };
        entry.set_size();
        entry.set_sum();
        entry
    }

    pub fn is(&self, name: &str) -> bool {
        let own = &self.header[..100];
        let own = own.strip_prefix(b"./").unwrap_or(own);
        own.starts_with(name.as_bytes()) && own[name.len()] == 0
    }

    /// Puts the length of the content into the header.
    pub fn set_size(&mut self) {
        let size = format!("{:011o}\0", self.content.len());
        self.header[124..136].copy_from_slice(size.as_bytes());
    }

    /// Puts the checksum of the header right.
    pub fn set_sum(&mut self) {
        self.header[148..156].fill(b' ');
        let sum: u32 = self.header.iter().map(|b| u32::from(*b)).sum();
        let sum = format!("{sum:06o}\0 ");
        self.header[148..156].copy_from_slice(sum.as_bytes());
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.header[..], &self.content].concat();
        bytes.resize(bytes.len().next_multiple_of(RECORD), 0);
        bytes
    }
}

/// What an archive consists of.
pub struct Archive {
    /// Blocks, or one plain gzip member.
    pub blocks: bool,
    /// Length of the blocks.
    pub size: usize,
    /// How far before its metadata the last block begins.
    pub early: usize,
    pub level: Compression,
    pub entries: Vec<Entry>,
    /// What follows the last member.
    pub end: Vec<u8>,
}

impl Archive {
    /// Takes an archive apart, as far as it makes sense.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut tar = Vec::new();
        let decoder = MultiGzDecoder::new(bytes);
        // What is damaged at its end is taken as far as it goes.
        let _ = decoder.take(MAX_TAR + 1).read_to_end(&mut tar);
        if tar.len() < RECORD || tar.len() as u64 > MAX_TAR {
            return None;
        }
        let mut rest = &tar[..];
        let mut entries = Vec::new();
        while let Some((header, after)) = rest.split_first_chunk::<RECORD>()
            && *header != [0; RECORD]
        {
            let size = tar::Header::from_byte_slice(header).entry_size().unwrap_or(0);
            let size = usize::try_from(size).unwrap_or(usize::MAX).min(after.len());
            let (content, after) = after.split_at(size);
            entries.push(Entry {
                header: *header,
                content: content.to_vec(),
            });
            rest = &after[(size.next_multiple_of(RECORD) - size).min(after.len())..];
        }
        Some(Archive {
            blocks: bytes.get(3).is_some_and(|flags| flags & 4 != 0),
            size: split(bytes)
                .first()
                .map_or(BLOCK, |member| length_of(member).max(BLOCK / 2)),
            early: 0,
            level: Compression::fast(),
            entries,
            end: rest.to_vec(),
        })
    }

    pub fn entry(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.is(name))
    }

    /// Puts the archive together, with every checksum of the gzip layer right.
    pub fn to_bytes(&self) -> Vec<u8> {
        let all: Vec<Vec<u8>> = self.entries.iter().map(Entry::to_bytes).collect();
        if !self.blocks {
            return gzip(self.level, &[&all.concat()[..], &self.end].concat());
        }
        let (last, front) = all.split_last().map_or((&[][..], &[][..]), |(l, f)| (&l[..], f));
        let front = front.concat();
        let (front, early) = front.split_at(front.len().saturating_sub(self.early));
        blocks(self.level, self.size, front, &[early, last, &self.end].concat()).concat()
    }
}

/// One plain gzip member.
pub fn gzip(level: Compression, data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Blocks of `size` bytes of `front`, and one with `last`.
pub fn blocks(level: Compression, size: usize, front: &[u8], last: &[u8]) -> Vec<Vec<u8>> {
    let pieces = front.chunks(size).chain(last.chunks(size));
    let numbered = pieces.enumerate();
    numbered
        .map(|(number, data)| block(level, number as u32, data))
        .collect()
}

fn block(level: Compression, number: u32, data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), level);
    encoder.write_all(data).unwrap();
    let deflated = encoder.finish().unwrap();
    let mut out = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 20, 0, b'I', b'G', 4, 0];
    out.extend_from_slice(&(deflated.len() as u32 + 40).to_le_bytes());
    out.extend_from_slice(b"VC\x08\0");
    out.extend_from_slice(&crc32(&deflated).to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&deflated);
    out.extend_from_slice(&crc32(data).to_le_bytes());
    out.extend_from_slice(&(data.len() as u32).to_le_bytes());
    out
}

/// The CRC-32 of gzip.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// What a member says of the length of its content, as far as that makes sense.
fn length_of(member: &[u8]) -> usize {
    let size = member.last_chunk().map_or(0, |size| u32::from_le_bytes(*size));
    (size as usize).min(1 << 20)
}

/// The blocks of an archive, as far as their headers lead from one to the next.
pub fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut members = Vec::new();
    while let Some(length) = bytes.get(16..20) {
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        if length < 40 || length > bytes.len() {
            break;
        }
        let (member, rest) = bytes.split_at(length);
        members.push(member.to_vec());
        bytes = rest;
    }
    members
}
