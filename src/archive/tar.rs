//! The tar layer: two members, and nothing else.

use std::io;

use tar::{EntryType, Header, PaxExtensions};

use super::gzip::{Gzip, Layout};
use super::{DATABASE_NAME, METADATA_NAME, invalid};
use crate::time::Time;

/// Unit of a tar file.
pub const RECORD: usize = 512;
/// A PAX header for one of our two names has a few dozen bytes; extended attributes may make it longer.
const MAX_PAX: u64 = 1024 * 1024;
/// tar pads its output to a multiple of its blocking factor, seldom more than 10 KiB.
const MAX_PADDING: u64 = 16 * 1024 * 1024;
/// From here on the size field of a ustar header is too small (POSIX.1, pax, "ustar Header Block").
const OCTAL_LIMIT: u64 = 1 << 33;

/// Where a ustar header holds the prefix of its name.
const PREFIX: usize = 345;

/// Zeros that fill up a member of `size` bytes.
pub fn padding(size: u64) -> usize {
    (size.next_multiple_of(RECORD as u64) - size) as usize
}

/// The header of a member: ustar, mode 0600, owner 0, no names. From 8 GiB on the size is in GNU's base-256.
pub fn header(name: &str, size: u64, mtime: Time) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(mtime.as_second());
    header.set_entry_type(EntryType::Regular);
    header.set_device_major(0)?;
    header.set_device_minor(0)?;
    header.set_cksum();
    Ok(header)
}

/// Which of the two members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `library.db`
    Database,
    /// `backup_metadata.json`
    Metadata,
}

/// A member whose content comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which one.
    pub name: Name,
    /// Bytes of content.
    pub size: u64,
    /// Where its header begins, as an offset in the tar stream.
    pub offset: u64,
}

/// A tar stream that is being read.
pub struct TarReader {
    gzip: Gzip,
    /// The directory itself has been seen.
    root_seen: bool,
}

impl TarReader {
    /// Reads the tar stream of `gzip` from its beginning.
    pub fn new(gzip: Gzip) -> Self {
        TarReader { gzip, root_seen: false }
    }

    /// How the archive is built.
    pub fn layout(&self) -> Layout {
        self.gzip.layout()
    }

    /// The next member, or `None` at the first of the zero blocks that end a tar file.
    ///
    /// # Errors
    /// Any member except a regular `library.db` or `backup_metadata.json`; a damaged header.
    pub fn next_entry(&mut self) -> anyhow::Result<Option<Entry>> {
        let mut pax = None;
        let mut global = false;
        loop {
            let offset = self.gzip.position();
            let mut record = [0; RECORD];
            self.read_exact(&mut record)?;
            if record == [0; RECORD] {
                return if pax.is_none() {
                    Ok(None)
                } else {
                    Err(invalid("tar: a PAX header without a member"))
                };
            }
            let header = Header::from_byte_slice(&record);
            check_sum(header, offset)?;
            let kind = header.entry_type();
            // Not every reader takes one in the oldest format for a PAX header.
            let known = header.as_ustar().is_some() || header.as_gnu().is_some();
            let plain = self.layout() == Layout::Plain && known;
            if plain && kind == EntryType::XGlobalHeader && !global {
                global = true;
                self.read_pax(header)?.must_be_harmless()?;
            } else if plain && kind == EntryType::XHeader && pax.is_none() {
                pax = Some(self.read_pax(header)?);
            } else if plain && !self.root_seen && is_root(header, pax.as_ref()) {
                self.root_seen = true;
                pax = None;
            } else {
                return member(header, &pax.unwrap_or_default(), offset, self.layout()).map(Some);
            }
        }
    }

    /// Hands the content of a member to `sink` piece by piece, and checks that its padding is zero.
    pub fn content(&mut self, entry: Entry, mut sink: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut left = entry.size;
        while left > 0 {
            let bytes = self.gzip.fill()?;
            if bytes.is_empty() {
                return Err(truncated());
            }
            let n = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            sink(&bytes[..n])?;
            self.gzip.consume(n);
            left -= n as u64;
        }
        let mut zeros = [0; RECORD];
        let zeros = &mut zeros[..padding(entry.size)];
        self.read_exact(zeros)?;
        if zeros.iter().any(|b| *b != 0) {
            return Err(invalid("tar: the padding of a member is not zero"));
        }
        Ok(())
    }

    /// After the first zero block: the second, and nothing else but zeros (in archives of blocks: nothing at all).
    pub fn finish(&mut self) -> anyhow::Result<()> {
        let mut zeros = 0;
        loop {
            let bytes = self.gzip.fill()?;
            if bytes.is_empty() {
                break;
            }
            if bytes.iter().any(|b| *b != 0) {
                return Err(invalid("tar: what follows the last member is not zero"));
            }
            let n = bytes.len();
            self.gzip.consume(n);
            zeros += n as u64;
            if zeros > MAX_PADDING {
                return Err(invalid("tar: endless zeros follow the last member"));
            }
        }
        match (self.layout(), zeros) {
            (_, ..=511) => Err(invalid("tar: the two zero blocks at the end are missing")),
            (Layout::Blocks, 513..) => Err(invalid("tar: more than two zero blocks at the end")),
            _ => Ok(()),
        }
    }

    /// After the end: true if the last block begins at `offset`, or if the archive is a plain one.
    pub fn last_block_begins_at(&self, offset: u64) -> bool {
        self.gzip.block_start().is_none_or(|start| start == offset)
    }

    fn read_exact(&mut self, mut buffer: &mut [u8]) -> anyhow::Result<()> {
        while !buffer.is_empty() {
            let bytes = self.gzip.fill()?;
            if bytes.is_empty() {
                return Err(truncated());
            }
            let n = bytes.len().min(buffer.len());
            let (now, later) = buffer.split_at_mut(n);
            now.copy_from_slice(&bytes[..n]);
            self.gzip.consume(n);
            buffer = later;
        }
        Ok(())
    }

    fn read_pax(&mut self, header: &Header) -> anyhow::Result<Pax> {
        let size = size_field(header).filter(|size| *size <= MAX_PAX);
        let size = size.ok_or_else(|| invalid("tar: a PAX header of impossible size"))?;
        let entry = Entry {
            name: Name::Metadata,
            size,
            offset: 0,
        };
        let mut records = Vec::new();
        self.content(entry, |bytes| {
            records.extend_from_slice(bytes);
            Ok(())
        })?;
        Pax::parse(&records)
    }
}

fn truncated() -> anyhow::Error {
    invalid("truncated: the tar stream ends too early")
}

/// The records of a PAX header that could change what a member is.
#[derive(Default)]
pub struct Pax {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Pax {
    fn parse(records: &[u8]) -> anyhow::Result<Self> {
        let sparse = || invalid("tar: sparse files are not allowed");
        let mut pax = Pax::default();
        for record in PaxExtensions::new(records) {
            let record = record.map_err(|_| invalid("tar: a PAX header is damaged"))?;
            let key = record.key_bytes();
            let twice = match key {
                b"path" => pax.path.replace(record.value_bytes().to_vec()).is_some(),
                b"size" => {
                    let size = record.value().ok().and_then(|text| text.parse().ok());
                    let size = size.ok_or_else(|| invalid("tar: a PAX size is not a number"))?;
                    pax.size.replace(size).is_some()
                }
                b"linkpath" => return Err(invalid("tar: links are not allowed")),
                b"SCHILY.realsize" | b"SUN.holesdata" => return Err(sparse()),
                _ if key.starts_with(b"GNU.sparse.") => return Err(sparse()),
                // Times, owners and attributes, which tar adds for its own use and nobody compares.
                _ => false,
            };
            // By POSIX the last one counts, but some readers heed the first.
            if twice {
                return Err(invalid("tar: a PAX header has a path or a size twice"));
            }
        }
        Ok(pax)
    }

    fn must_be_harmless(&self) -> anyhow::Result<()> {
        if self.path.is_some() || self.size.is_some() {
            return Err(invalid("tar: a global PAX header sets a path or a size"));
        }
        Ok(())
    }
}

/// True for the directory itself, without content: what tar puts first when told to archive `.`.
fn is_root(header: &Header, pax: Option<&Pax>) -> bool {
    let here = |path: &[u8]| matches!(path, b"./" | b".");
    let (path, size) = pax.map_or((None, None), |pax| (pax.path.as_deref(), pax.size));
    header.entry_type() == EntryType::Directory
        && here(&header.path_bytes())
        && header.as_bytes()[PREFIX] == 0
        && path.is_none_or(here)
        && size_field(header) == Some(0)
        && size.is_none_or(|size| size == 0)
}

/// Says what a header stands for, if that is one of the two members.
pub fn member(header: &Header, pax: &Pax, offset: u64, layout: Layout) -> anyhow::Result<Entry> {
    let path = header.path_bytes();
    if pax.path.as_ref().is_some_and(|p| p.as_slice() != &*path) {
        return Err(invalid("tar: a PAX header gives a member another name"));
    }
    let shown = String::from_utf8_lossy(&path).into_owned();
    let what = match header.entry_type() {
        EntryType::Regular => None,
        EntryType::Link | EntryType::Symlink => Some("a link"),
        EntryType::Char | EntryType::Block | EntryType::Fifo => Some("a device"),
        EntryType::Directory => Some("a directory"),
        EntryType::GNUSparse => Some("a sparse file"),
        EntryType::GNULongName | EntryType::GNULongLink => Some("a long name"),
        _ => Some("not a regular file"),
    };
    if let Some(what) = what {
        return Err(invalid(format!("tar: the member '{shown}' is {what}")));
    }
    // tar and friends put `./` before the names when told to archive `.`.
    let bare = match (layout, path.strip_prefix(b"./")) {
        (Layout::Plain, Some(bare)) => bare,
        _ => &path,
    };
    let name = if bare == DATABASE_NAME.as_bytes() {
        Name::Database
    } else if bare == METADATA_NAME.as_bytes() {
        Name::Metadata
    } else {
        return Err(invalid(format!(
            "tar: it has a member that does not belong there: '{shown}'"
        )));
    };
    // Some readers put the field that ustar has for a prefix before the name in every format.
    if header.as_ustar().is_none() && header.as_bytes()[PREFIX] != 0 {
        return Err(invalid(format!("tar: to some readers '{shown}' has another name")));
    }
    let own = size_field(header).ok_or_else(|| invalid(format!("tar: the size of '{shown}' makes no sense")))?;
    let size = match pax.size {
        // A size that does not fit into the header is only in the PAX header.
        Some(size) if size >= OCTAL_LIMIT => size,
        Some(size) if size != own => {
            return Err(invalid(format!("tar: a PAX header gives '{shown}' another size")));
        }
        _ => own,
    };
    Ok(Entry { name, size, offset })
}

/// The checksum of a header: the sum of its bytes, those of the checksum itself counting as spaces.
pub fn check_sum(header: &Header, offset: u64) -> anyhow::Result<()> {
    let bytes = header.as_bytes();
    let sum: u32 = (bytes.iter().enumerate())
        .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) })
        .sum();
    match header.cksum() {
        Ok(stored) if stored == sum => Ok(()),
        _ => Err(invalid(format!("tar: the header at byte {offset} is damaged"))),
    }
}

/// The size field: octal digits, ended by a NUL or a space, or GNU's base-256. The tar crate takes any 12 bytes for a
/// number and drops what is too large.
fn size_field(header: &Header) -> Option<u64> {
    let field: [u8; 12] = header.as_bytes()[124..136].try_into().ok()?;
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_first_chunk::<4>()?;
        let size = u64::from_be_bytes(low.try_into().ok()?);
        return (*high == [0x80, 0, 0, 0] && size <= i64::MAX as u64).then_some(size);
    }
    let text = std::str::from_utf8(&field).ok()?;
    let digits = text.trim_start_matches(' ').trim_end_matches(['\0', ' ']);
    let octal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    octal.then(|| u64::from_str_radix(digits, 8).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_below_and_from_8_gib() {
        let time = Time::from_second(0).unwrap();
        for size in [0, 1, OCTAL_LIMIT - 1, OCTAL_LIMIT, 1 << 60] {
            let header = header(DATABASE_NAME, size, time).unwrap();
            assert_eq!(size_field(&header), Some(size));
            assert!(check_sum(&header, 0).is_ok());
            let entry = member(&header, &Pax::default(), 7, Layout::Blocks).unwrap();
            assert_eq!((entry.name, entry.size, entry.offset), (Name::Database, size, 7));
        }
    }

    #[test]
    fn sizes_that_make_no_sense() {
        let fields: [&[u8; 12]; 6] = [
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x80\0\0\x01\0\0\0\0\0\0\0\0",
            b"\x80\0\0\0\x80\0\0\0\0\0\0\0",
            b"0000000008\0\0",
            b"-0000000001\0",
            b"\0\0\0\0\0\0\0\0\0\0\0\0",
        ];
        for field in fields {
            let mut header = Header::new_ustar();
            header.as_mut_bytes()[124..136].copy_from_slice(field);
            assert_eq!(size_field(&header), None, "{field:?}");
        }
    }
}
