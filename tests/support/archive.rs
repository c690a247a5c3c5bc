//! Archives taken apart, and put together as other programs make them.

use std::fmt::Write as _;
use std::io::{Read, Write};

use serde_json::Value;

use super::world::TIME;
use crate::generate::Facts;

/// A member of an archive that is built by hand.
pub struct Member {
    pub name: Vec<u8>,
    pub kind: tar::EntryType,
    pub content: Vec<u8>,
}

pub fn member(name: &str, content: &[u8]) -> Member {
    Member {
        name: name.into(),
        kind: tar::EntryType::Regular,
        content: content.to_owned(),
    }
}

/// A tar stream without its end. Any name goes.
pub fn tar_entries(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..member.name.len()].copy_from_slice(&member.name);
        header.set_entry_type(member.kind);
        header.set_mode(0o600);
        header.set_size(member.content.len() as u64);
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(&member.content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out
}

/// A whole tar file.
pub fn tar_file(members: &[Member]) -> Vec<u8> {
    let mut out = tar_entries(members);
    out.resize(out.len() + 1024, 0);
    out
}

/// One plain gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a `.gz` of any number of members holds.
pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

/// The two members of an archive: the database and the metadata.
#[track_caller]
pub fn unpack(archive: &[u8]) -> (Vec<u8>, Value) {
    let tar = gunzip(archive);
    let mut archive = tar::Archive::new(&tar[..]);
    let mut entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), content)
    });
    let (name, database) = entries.next().expect("a first member");
    assert_eq!(name, "library.db");
    let (name, metadata) = entries.next().expect("a second member");
    assert_eq!(name, "backup_metadata.json");
    assert!(entries.next().is_none(), "a third member");
    (database, serde_json::from_slice(&metadata).unwrap())
}

/// Where the blocks of an archive begin and end, with every field of their headers looked at, by the words of
/// archive-format.md.
#[track_caller]
pub fn blocks(archive: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut blocks = Vec::new();
    let mut start = 0;
    while start < archive.len() {
        let n = blocks.len();
        let header = &archive[start..start + 32];
        let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!(header[..12], [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 20, 0], "block {n}");
        assert_eq!(header[12..16], *b"IG\x04\0", "block {n}");
        assert_eq!(header[20..24], *b"VC\x08\0", "block {n}");
        assert_eq!(field(28) as usize, n, "number");
        let end = start + field(16) as usize;
        let mut crc = flate2::Crc::new();
        crc.update(&archive[start + 32..end - 8]);
        assert_eq!(field(24), crc.sum(), "block {n}: CRC of the compressed bytes");
        blocks.push(start..end);
        start = end;
    }
    assert_eq!(start, archive.len());
    blocks
}

/// ISIZE of a gzip member.
pub fn isize_of(member: &[u8]) -> usize {
    u32::from_le_bytes(member[member.len() - 4..].try_into().unwrap()) as usize
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Metadata as VPO itself writes it, for an archive from elsewhere.
pub fn vpo_metadata(facts: &Facts) -> Value {
    serde_json::json!({
        "vpo_version": "0.2.0",
        "schema_version": facts.schema_version,
        "created_at": TIME,
        "database_size_bytes": facts.database_size_bytes,
        "file_count": facts.file_count,
        "total_library_size_bytes": facts.total_library_size_bytes,
        "compression": "gzip",
    })
}

/// A backup as VPO itself makes it: one plain gzip member.
pub fn plain_archive(database: &[u8], metadata: &Value) -> Vec<u8> {
    let metadata = metadata.to_string();
    gzip(&tar_file(&[
        member("library.db", database),
        member("backup_metadata.json", metadata.as_bytes()),
    ]))
}
