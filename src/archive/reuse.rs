//! Members of an earlier archive that are copied, because they hold exactly what would be compressed again.
//!
//! Nothing is taken on trust: a member is inflated, compared byte by byte and checked by its own checksums before it is
//! copied. What can't be read, makes no sense or is being written is silently compressed again.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::block::{BlockHeader, HEADER_LEN, Level, TRAILER_LEN, Trailer, expand};
use super::inflate::Inflater;
use super::metadata::Metadata;
use super::tail::{TailMetadata, read_tail};

/// Bytes that the system is asked to read ahead at once.
const AHEAD: u64 = 4 * 1024 * 1024;

/// Which earlier archives may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reusable {
    /// Those of the same level and version: the result then has the same bytes as without reuse.
    Same,
    /// All of them, where speed counts most.
    Any,
}

/// An earlier archive of blocks.
#[derive(Clone, Debug)]
pub struct Reuse {
    file: Arc<File>,
    metadata: Metadata,
    reusable: Reusable,
    /// The next member, and where it begins; none if the file ends or makes no sense there.
    next: Option<(u64, BlockHeader)>,
    /// How far the system was asked to read ahead.
    asked: u64,
}

impl Reuse {
    /// Opens an earlier archive; none if what is there can't be used.
    pub fn open(path: &Path, reusable: Reusable) -> Option<Self> {
        // Asked by name first: a device may do something when opened. A FIFO put in its place does not block.
        path.metadata().ok().filter(|meta| meta.is_file())?;
        let mut options = File::options();
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        Self::of(options.read(true).custom_flags(flags).open(path).ok()?, reusable)
    }

    /// The same for an open file. It is only read by position.
    pub fn of(file: File, reusable: Reusable) -> Option<Self> {
        let meta = file.metadata().ok().filter(|meta| meta.is_file())?;
        let Ok(TailMetadata::Blocks(metadata)) = read_tail(&file, meta.len()) else {
            return None;
        };
        let mut head = [0; HEADER_LEN];
        file.read_exact_at(&mut head, 0).ok()?;
        let first = BlockHeader::parse(&head).ok().filter(|header| header.number == 0)?;
        Some(Reuse {
            file: Arc::new(file),
            metadata: *metadata,
            reusable,
            next: Some((0, first)),
            asked: 0,
        })
    }

    /// What the earlier archive says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// True if its members may be copied into an archive of this level and version.
    pub fn serves(&self, level: Level, vpo_version: &str) -> bool {
        let same = self.has_level(level) && self.metadata.vpo_version == vpo_version;
        same || self.reusable == Reusable::Any
    }

    /// True if all its members are of this level.
    pub(super) fn has_level(&self, level: Level) -> bool {
        self.metadata.compression_level == Some(level.number())
    }

    /// The members with the `count` numbers from `first` on, as far as they are there. The numbers asked for only grow.
    pub(super) fn members(&mut self, first: u32, count: u32) -> Members {
        let mut places = Vec::new();
        while let Some((offset, header)) = self.next
            && header.number < first.saturating_add(count)
            && let Some(place) = self.hop(offset, header)
        {
            if header.number >= first {
                places.push(place);
            }
        }
        Members {
            file: Arc::clone(&self.file),
            places,
        }
    }

    /// How many members there are, and how many of them equal those of `earlier` at the same place, by everything that
    /// their headers and trailers say: the checksums of content and compressed bytes, and both lengths.
    pub fn shared_with(mut self, mut earlier: Option<Reuse>) -> (u32, u32) {
        let (mut count, mut shared) = (0, 0);
        while let Some(place) = self.advance() {
            let other = earlier.as_mut().and_then(Reuse::advance);
            count += 1;
            shared += u32::from(other.is_some_and(|other| other.is_like(&place)));
        }
        (count, shared)
    }

    fn advance(&mut self) -> Option<Member> {
        let (offset, header) = self.next?;
        self.hop(offset, header)
    }

    /// From one header to the next: the end of the member, and the header after it, are read at once.
    fn hop(&mut self, offset: u64, header: BlockHeader) -> Option<Member> {
        self.next = None;
        // A parsed length is longer than a trailer, and far below the limits of an offset.
        let end = offset.checked_add(header.length as u64)?;
        self.read_ahead(end);
        let mut bytes = [0; TRAILER_LEN + HEADER_LEN];
        let trailer_at = end - TRAILER_LEN as u64;
        if self.file.read_exact_at(&mut bytes, trailer_at).is_err() {
            // The last member.
            self.file.read_exact_at(&mut bytes[..TRAILER_LEN], trailer_at).ok()?;
        } else if let Some(Ok(next)) = bytes.last_chunk().map(BlockHeader::parse)
            && Some(next.number) == header.number.checked_add(1)
        {
            self.next = Some((end, next));
        }
        let trailer = Trailer::parse(*bytes.first_chunk()?);
        Some(Member {
            offset,
            header,
            trailer,
        })
    }

    /// Hopping looks like random access, for which no system reads ahead: on a hard disk, each hop would wait for a
    /// seek.
    fn read_ahead(&mut self, end: u64) {
        while self.asked < end.saturating_add(AHEAD) {
            ask_for(&self.file, self.asked, AHEAD);
            self.asked += AHEAD;
        }
    }
}

#[cfg(target_os = "linux")]
fn ask_for(file: &File, offset: u64, length: u64) {
    // Advice: whether it fails makes no difference.
    let _ = rustix::fs::fadvise(file, offset, length.try_into().ok(), rustix::fs::Advice::WillNeed);
}

#[cfg(not(target_os = "linux"))]
fn ask_for(_file: &File, _offset: u64, _length: u64) {}

/// Where a member is, and what it says about itself.
struct Member {
    offset: u64,
    header: BlockHeader,
    trailer: Trailer,
}

impl Member {
    fn is_like(&self, other: &Member) -> bool {
        (self.header, self.trailer) == (other.header, other.trailer)
    }
}

/// Some members in a row of an earlier archive.
pub(super) struct Members {
    file: Arc<File>,
    places: Vec<Member>,
}

/// Copies members, with the buffers that this needs.
pub(super) struct Copier {
    inflater: Inflater,
    data: Vec<u8>,
}

impl Copier {
    /// A new one.
    pub fn new() -> Self {
        Copier {
            inflater: Inflater::new(),
            data: Vec::new(),
        }
    }

    /// Copies the member at place `index` to the beginning of `out` if it is intact and holds `block`. Returns its
    /// length; otherwise the content of `out` is unspecified.
    pub fn copy(&mut self, members: &Members, index: usize, block: &[u8], out: &mut [u8]) -> Option<usize> {
        let Member {
            offset,
            header,
            trailer,
        } = members.places.get(index)?;
        // A member that is longer than necessary is not copied: `out` has room only for the most that a block takes.
        if trailer.size != block.len() || header.length > out.len() || trailer.crc != libdeflater::crc32(block) {
            return None;
        }
        let member = &mut out[..header.length];
        members.file.read_exact_at(member, *offset).ok()?;
        // It may have changed since: only what was read now counts.
        let whole = member.first_chunk().map(BlockHeader::parse) == Some(Ok(*header));
        let end = expand(&mut self.inflater, *header, member, &mut self.data, 0).ok()?;
        (whole && self.data[..end] == *block).then_some(header.length)
    }
}
