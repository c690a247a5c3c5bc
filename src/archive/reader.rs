//! An archive, read from its first byte to its last: everything that can be checked without opening the database.

use std::io::{Read, Write};
use std::num::NonZero;

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::gzip::{Gzip, Layout};
use super::metadata::Metadata;
use super::tar::{Entry, Name, TarReader};
use super::{DATABASE_NAME, MAX_METADATA, METADATA_NAME, invalid};
use crate::database::{HEADER_LEN, Header, MAX_DATABASE_SIZE};

/// An archive of which everything before the database was read.
pub struct Reader {
    tar: TarReader,
    database: Entry,
    /// Plain archives may have the metadata first.
    metadata: Option<Metadata>,
}

/// What a complete archive turned out to hold.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The metadata; it agrees with the fields below as far as the archive's origin lets them be compared.
    pub metadata: Metadata,
    /// Length of `library.db` in bytes.
    pub database_size: u64,
    /// What the database's header says.
    pub header: Header,
}

impl Reader {
    /// Reads up to the database. `input` is read in complete blocks; `threads` decompress.
    ///
    /// # Errors
    /// An invalid archive, or an I/O error of the input.
    pub fn open(input: Box<dyn Read>, threads: NonZero<usize>) -> anyhow::Result<Self> {
        let mut tar = TarReader::new(Gzip::open(input, threads)?);
        let mut metadata = None;
        loop {
            match tar.next_entry()? {
                Some(entry) if entry.name == Name::Database => {
                    if entry.size > MAX_DATABASE_SIZE || entry.size < HEADER_LEN as u64 {
                        return Err(invalid(format!(
                            "'{DATABASE_NAME}' has {} bytes, which no SQLite database can have",
                            entry.size
                        )));
                    }
                    return Ok(Reader {
                        tar,
                        database: entry,
                        metadata,
                    });
                }
                Some(_) if metadata.is_some() => return Err(twice(METADATA_NAME)),
                Some(_) if tar.layout() == Layout::Blocks => {
                    return Err(invalid(format!("'{METADATA_NAME}' comes before '{DATABASE_NAME}'")));
                }
                Some(entry) => metadata = Some(read_metadata(&mut tar, entry)?),
                None => return Err(invalid(format!("it has no '{DATABASE_NAME}'"))),
            }
        }
    }

    /// Length that the database is said to have, in bytes. [`Reader::unpack`] writes no more than that, so the space
    /// for it can be checked first.
    pub fn database_size(&self) -> u64 {
        self.database.size
    }

    /// Writes the database to `out`, reads the archive to its last byte, and checks that its parts agree.
    ///
    /// # Errors
    /// An invalid archive; an I/O error of the input or of `out`. What was written to `out` must not be used then.
    pub fn unpack(mut self, out: &mut dyn Write) -> anyhow::Result<Contents> {
        let mut sha256 = Sha256::new();
        let mut first = Vec::with_capacity(HEADER_LEN);
        let mut header = None;
        let size = self.database.size;
        self.tar.content(self.database, |bytes| {
            if header.is_none() {
                let missing = HEADER_LEN - first.len();
                first.extend_from_slice(&bytes[..missing.min(bytes.len())]);
                if first.len() == HEADER_LEN {
                    header = Some(check_header(&first, size)?);
                }
            }
            sha256.update(bytes);
            out.write_all(bytes).context("cannot unpack the database")
        })?;
        // `open` has made sure that there is more than a header.
        let header = header.ok_or_else(|| invalid(format!("'{DATABASE_NAME}' is empty")))?;

        let mut metadata_offset = None;
        while let Some(entry) = self.tar.next_entry()? {
            if entry.name == Name::Database {
                return Err(twice(DATABASE_NAME));
            }
            if self.metadata.is_some() {
                return Err(twice(METADATA_NAME));
            }
            metadata_offset = Some(entry.offset);
            self.metadata = Some(read_metadata(&mut self.tar, entry)?);
        }
        self.tar.finish()?;
        let metadata = self
            .metadata
            .ok_or_else(|| invalid(format!("it has no '{METADATA_NAME}'")))?;
        if let Some(offset) = metadata_offset
            && !self.tar.last_block_begins_at(offset)
        {
            return Err(invalid("the last block does not begin with the metadata"));
        }
        let digest = hex(&sha256.finalize());
        agree(&metadata, size, header, &digest)?;
        Ok(Contents {
            metadata,
            database_size: size,
            header,
        })
    }
}

fn twice(name: &str) -> anyhow::Error {
    invalid(format!("it has '{name}' twice"))
}

fn check_header(bytes: &[u8], size: u64) -> anyhow::Result<Header> {
    let wrong = |what: String| invalid(format!("'{DATABASE_NAME}' is not a complete database: {what}"));
    let header = Header::parse(bytes).map_err(wrong)?;
    header.check_size(size).map_err(wrong)?;
    Ok(header)
}

fn read_metadata(tar: &mut TarReader, entry: Entry) -> anyhow::Result<Metadata> {
    if entry.size > MAX_METADATA {
        return Err(invalid(format!(
            "'{METADATA_NAME}' has {} bytes, more than {MAX_METADATA}",
            entry.size
        )));
    }
    let mut json = Vec::new();
    tar.content(entry, |bytes| {
        json.extend_from_slice(bytes);
        Ok(())
    })?;
    parse_metadata(&json, tar.layout())
}

/// Reads metadata, with an error that names the member.
pub(super) fn parse_metadata(json: &[u8], layout: Layout) -> anyhow::Result<Metadata> {
    Metadata::parse(json, layout).map_err(|what| invalid(format!("'{METADATA_NAME}' is not valid: {what}")))
}

/// Archives with a digest come from this project, whose metadata must be true. Those of VPO give the size of the main
/// file before the backup, without the content of its log.
fn agree(metadata: &Metadata, size: u64, header: Header, digest: &str) -> anyhow::Result<()> {
    let Some(expected) = &metadata.database_sha256 else {
        return Ok(());
    };
    if metadata.database_size_bytes != size {
        return Err(invalid(format!(
            "the database has {size} bytes where the metadata says {}",
            metadata.database_size_bytes
        )));
    }
    if let Some(page_size) = metadata.page_size
        && page_size != header.page_size
    {
        return Err(invalid(format!(
            "the database has pages of {} bytes where the metadata says {page_size}",
            header.page_size
        )));
    }
    if expected != digest {
        return Err(invalid(format!(
            "the database's SHA-256 is {digest} where the metadata says {expected}"
        )));
    }
    Ok(())
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
