//! What is not a `.tar.gz` at all.

use super::*;

/// Named as what they are.
pub fn cases() -> Vec<Case> {
    let db = tiny_database();
    let whole = [entry("library.db", &db), ending(metadata(&db).to_string().as_bytes())].concat();
    vec![
        case("an empty file", "this is empty", Vec::new()),
        case("a plain tar file", "a plain tar file", whole.clone()),
        case("a bare database", "a bare SQLite database", db),
        case("zip", "a zip file", b"PK\x03\x04 and so on".to_vec()),
        case("zstd", "a zstd file", b"\x28\xb5\x2f\xfd and so on".to_vec()),
        case("xz", "an xz file", b"\xfd7zXZ\0 and so on".to_vec()),
        case("bzip2", "a bzip2 file", b"BZh9 and so on".to_vec()),
        case("lz4", "an lz4 file", b"\x04\x22\x4d\x18 and so on".to_vec()),
        case("text", "not a gzip file", b"what is this?".to_vec()),
    ]
}
