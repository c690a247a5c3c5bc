//! The metadata of an archive of blocks, found from its end: one small read, however large the file is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use anyhow::Context;
use tar::Header;

use super::block::{BlockHeader, HEADER_LEN, MAX_MEMBER, expand};
use super::gzip::Layout;
use super::inflate::Inflater;
use super::invalid;
use super::metadata::Metadata;
use super::reader::parse_metadata;
use super::tar::{Name, RECORD, check_sum, member, padding};

/// The last member is below 1 KiB as a rule.
const FIRST_TRY: u64 = 4096;

/// Candidates that may reach to the end of the file without being a block. By chance there is not even one: what begins
/// like a block has 20 bytes that are always the same.
const MAX_FALSE: usize = 8;

/// What the beginning and the end of a file show.
#[derive(Clone, Debug)]
pub enum TailMetadata {
    /// An archive of blocks whose last member is intact.
    Blocks(Box<Metadata>),
    /// Something else: only a full read can say more.
    Other,
}

/// Reads the first header and the last member of a file of `size` bytes.
///
/// # Errors
/// An archive of blocks without an intact last member or valid metadata; an I/O error.
pub fn read_tail(file: &File, size: u64) -> anyhow::Result<TailMetadata> {
    let mut head = [0; HEADER_LEN];
    let first = match file.read_exact_at(&mut head, 0) {
        Ok(()) => BlockHeader::parse(&head),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(TailMetadata::Other),
        Err(error) => return Err(error).context("cannot read the archive"),
    };
    // Anything but a first block gets the full read, which says what it is.
    if !first.is_ok_and(|header| header.number == 0) {
        return Ok(TailMetadata::Other);
    }
    let mut searched = 0;
    for reach in [FIRST_TRY, MAX_MEMBER as u64] {
        let reach = reach.min(size);
        let mut tail = vec![0; reach as usize];
        file.read_exact_at(&mut tail, size - reach)
            .context("cannot read the archive")?;
        if let Some(metadata) = search(&tail, searched)? {
            return Ok(TailMetadata::Blocks(Box::new(metadata)));
        }
        searched = tail.len();
    }
    Err(invalid(
        "truncated or damaged at its end: the last block is not complete",
    ))
}

/// Looks, from the end, for a member that reaches exactly to the end and holds the metadata. The last `searched` bytes
/// have been looked at before.
fn search(tail: &[u8], searched: usize) -> anyhow::Result<Option<Metadata>> {
    let nearest = tail.len() - searched.max(HEADER_LEN).min(tail.len());
    let mut seen = 0;
    for start in (0..=nearest).rev() {
        let candidate = &tail[start..];
        let Some(head) = candidate.first_chunk() else { continue };
        if let Ok(header) = BlockHeader::parse(head)
            && header.length == candidate.len()
            && header.number > 0
        {
            let mut data = Vec::new();
            // A false candidate, inside compressed bytes: the true one is further to the front.
            if expand(&mut Inflater::new(), header, candidate, &mut data, 0).is_err() {
                seen += 1;
                if seen == MAX_FALSE {
                    break;
                }
                continue;
            }
            return last_block(&data).map(Some);
        }
    }
    Ok(None)
}

/// The metadata in the content of the last block: a tar entry and the two zero blocks that end the archive.
fn last_block(data: &[u8]) -> anyhow::Result<Metadata> {
    let wrong = || invalid("the last block does not hold the metadata");
    let (record, rest) = data.split_at_checked(RECORD).ok_or_else(wrong)?;
    let header = Header::from_byte_slice(record);
    check_sum(header, 0).map_err(|_| wrong())?;
    let entry = member(header, &super::tar::Pax::default(), 0, Layout::Blocks)?;
    let size = usize::try_from(entry.size).map_err(|_| wrong())?;
    let (json, zeros) = rest.split_at_checked(size).ok_or_else(wrong)?;
    let end = padding(entry.size) + 2 * RECORD;
    if entry.name != Name::Metadata || zeros.len() != end || zeros.iter().any(|b| *b != 0) {
        return Err(wrong());
    }
    parse_metadata(json, Layout::Blocks)
}
