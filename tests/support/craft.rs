//! Archives put together by hand, byte by byte, so that one thing can be wrong and all else right.

use std::io::Write;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{TIME, isize_of, sha256, sqlite, tiny};

pub const MIB: usize = 1 << 20;
/// Length of a block, as vpo-pack writes them.
pub const BLOCK: usize = 128 << 10;

/// The least library, as bytes.
pub fn tiny_database() -> Vec<u8> {
    database(tiny)
}

/// The bytes of the database that `make` makes.
pub fn database(make: impl FnOnce(&std::path::Path)) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.db");
    make(&path);
    std::fs::read(path).unwrap()
}

/// [`tiny`] changed by SQL.
pub fn tiny_with(sql: &str) -> Vec<u8> {
    database(|path| {
        tiny(path);
        sqlite(path, sql);
    })
}

/// True metadata of a library.
pub fn metadata(database: &[u8]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("look.db");
    std::fs::write(&path, database).unwrap();
    let db = Connection::open(&path).unwrap();
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap_or(1);
    json!({
        "vpo_version": "vpo-library/0.1.0",
        "schema_version": number("SELECT CAST(value AS INTEGER) FROM _meta WHERE key = 'schema_version'"),
        "created_at": TIME,
        "database_size_bytes": database.len(),
        "file_count": number("SELECT count(*) FROM files"),
        "total_library_size_bytes": number("SELECT sum(size_bytes) FROM files"),
        "compression": "gzip",
        "database_sha256": sha256(database),
        "page_size": number("PRAGMA page_size"),
    })
}

/// A tar header with a true checksum, after `edit` has been at it.
pub fn header(name: &str, size: u64, edit: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_770_301_822);
    header.set_size(size);
    edit(header.as_mut_bytes());
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// A member: header, content, padding.
pub fn entry(name: &str, content: &[u8]) -> Vec<u8> {
    entry_with(name, content, |_| {})
}

/// A member whose header was edited.
pub fn entry_with(name: &str, content: &[u8], edit: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    let mut out = header(name, content.len() as u64, edit);
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

pub fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// A block around compressed bytes, with a header and a trailer that are true of them.
pub fn block_around(number: u32, deflated: &[u8], crc: u32, isize: u32) -> Vec<u8> {
    let mut out = vec![
        0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 20, 0, b'I', b'G', 4, 0, 0, 0, 0, 0, b'V', b'C', 8, 0,
    ];
    out.extend_from_slice(&crc32(deflated).to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(deflated);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&isize.to_le_bytes());
    let length = out.len() as u32;
    out[16..20].copy_from_slice(&length.to_le_bytes());
    out
}

/// A block of data.
pub fn block(number: u32, data: &[u8]) -> Vec<u8> {
    block_around(number, &deflate(data), crc32(data), data.len() as u32)
}

/// Blocks of 128 KiB of `front`, and one with `last`.
pub fn blocks_of(front: &[u8], last: &[u8]) -> Vec<u8> {
    blocks_of_size(BLOCK, front, last)
}

/// Blocks of `size` bytes of `front`, and one with `last`.
pub fn blocks_of_size(size: usize, front: &[u8], last: &[u8]) -> Vec<u8> {
    let mut pieces: Vec<&[u8]> = front.chunks(size).collect();
    if !last.is_empty() {
        pieces.push(last);
    }
    let numbered = pieces.iter().enumerate();
    numbered.flat_map(|(i, piece)| block(i as u32, piece)).collect()
}

/// The last block's content: metadata and the end of the tar file.
pub fn ending(json: &[u8]) -> Vec<u8> {
    let mut out = entry("backup_metadata.json", json);
    out.resize(out.len() + 1024, 0);
    out
}

/// An archive of blocks.
pub fn archive(database: &[u8], metadata: &Value) -> Vec<u8> {
    archive_raw(database, metadata.to_string().as_bytes())
}

/// An archive of blocks whose metadata are any bytes.
pub fn archive_raw(database: &[u8], json: &[u8]) -> Vec<u8> {
    blocks_of(&entry("library.db", database), &ending(json))
}

/// A plain archive of these tar bytes.
pub fn plain(tar: &[u8]) -> Vec<u8> {
    crate::support::gzip(tar)
}

/// The same block with another number.
pub fn renumbered(member: &[u8], number: u32) -> Vec<u8> {
    assert!(isize_of(member) > 0);
    let mut out = member.to_vec();
    out[28..32].copy_from_slice(&number.to_le_bytes());
    out
}

/// Bytes without a pattern, the same in every run.
pub fn noise(n: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    (0..n)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}
