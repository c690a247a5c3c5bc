//! Files that are not `.tar.gz`: what they are instead.

use crate::failure::Kind;

/// The first bytes that well-known formats have.
const FORMATS: [(&[u8], &str); 7] = [
    (b"PK\x03\x04", "a zip file"),
    (b"PK\x05\x06", "a zip file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"BZh", "a bzip2 file"),
    (b"\x04\x22\x4d\x18", "an lz4 file"),
    (b"age-encryption.org/", "a file encrypted with age"),
];

/// The error for a file that begins with `head` and is not gzip.
pub fn refuse(head: &[u8]) -> anyhow::Error {
    let wrong = |what: &str| Kind::InvalidArchive.because(format!("this is {what}; vpo backups are .tar.gz"));
    if head.is_empty() {
        return wrong("empty").into();
    }
    if head.starts_with(b"SQLite format 3\0") {
        return wrong("a bare SQLite database")
            .hint("vpo-pack makes an archive of it: vpo-pack < FILE > BACKUP.tar.gz")
            .into();
    }
    if head.get(257..262) == Some(b"ustar") {
        return wrong("a plain tar file")
            .hint("compress it with gzip: gzip < FILE > BACKUP.tar.gz")
            .into();
    }
    match FORMATS.iter().find(|(magic, _)| head.starts_with(magic)) {
        Some((_, name)) => wrong(name).into(),
        None => wrong("not a gzip file").into(),
    }
}
