//! The tar layer, with a gzip layer that is whole.

use super::*;

pub fn cases() -> Vec<Case> {
    let db = tiny_database();
    let json = metadata(&db).to_string();
    let json = json.as_bytes();
    let front = entry("library.db", &db);
    let meta = entry("backup_metadata.json", json);
    let zeros = |n: usize| vec![0u8; n];
    let with_end = |n: usize| [meta.clone(), zeros(n)].concat();
    let mut cases = vec![
        case("no end", "truncated", blocks_of(&front, &with_end(0))),
        case(
            "one zero block",
            "two zero blocks at the end are missing",
            blocks_of(&front, &with_end(512)),
        ),
        case(
            "three zero blocks",
            "more than two zero blocks",
            blocks_of(&front, &with_end(1536)),
        ),
        case(
            "something after the end",
            "not zero",
            blocks_of(&front, &{
                let mut end = with_end(1024);
                *end.last_mut().unwrap() = 1;
                end
            }),
        ),
        case(
            "padding that is not zero",
            "padding",
            blocks_of(&front, &{
                let mut end = with_end(1024);
                let at = 512 + json.len();
                end[at] = b' ';
                end
            }),
        ),
        case(
            "an end before the metadata",
            "what follows the last member is not zero",
            blocks_of(&[front.clone(), zeros(1024)].concat(), &with_end(1024)),
        ),
        case(
            "no metadata",
            "it has no 'backup_metadata.json'",
            blocks_of(&front, &zeros(1024)),
        ),
        case(
            "no database",
            "comes before 'library.db'",
            blocks_of(&[], &with_end(1024)),
        ),
        case("nothing", "it has no 'library.db'", blocks_of(&[], &zeros(1024))),
        case(
            "metadata first",
            "comes before",
            blocks_of(&meta, &[front.clone(), zeros(1024)].concat()),
        ),
        case(
            "metadata twice",
            "'backup_metadata.json' twice",
            blocks_of(&front, &[meta.clone(), with_end(1024)].concat()),
        ),
        case(
            "database twice",
            "'library.db' twice",
            blocks_of(&[front.clone(), front.clone()].concat(), &with_end(1024)),
        ),
        case("database again at the end", "'library.db' twice", {
            blocks_of(&front, &[meta.clone(), front.clone(), zeros(1024)].concat())
        }),
        case("a third member", "does not belong there: 'notes.txt'", {
            blocks_of(&front, &[meta.clone(), entry("notes.txt", b"x"), zeros(1024)].concat())
        }),
        case("'./' before a name", "does not belong there: './library.db'", {
            blocks_of(&entry("./library.db", &db), &with_end(1024))
        }),
        case(
            "another name",
            "does not belong there",
            blocks_of(&entry("Library.db", &db), &with_end(1024)),
        ),
        case(
            "a size too small",
            "it has 1024 bytes where its header says 1536",
            blocks_of(&entry_sized("library.db", &db, db.len() as u64 - 512), &with_end(1024)),
        ),
        case(
            "a size too large",
            "it has 2048 bytes where its header says 1536",
            blocks_of(&entry_sized("library.db", &db, db.len() as u64 + 512), &with_end(1024)),
        ),
        case(
            "a size of 8 EiB",
            "which no SQLite database can have",
            blocks_of(&entry_sized("library.db", &db, i64::MAX as u64), &with_end(1024)),
        ),
        case("a size that is not a number", "makes no sense", {
            let bad = entry_with("library.db", &db, |h| h[124..136].copy_from_slice(b"zzzzzzzzzzz\0"));
            blocks_of(&bad, &with_end(1024))
        }),
        case("a checksum that is wrong", "the header at byte 0 is damaged", {
            let mut bad = front.clone();
            bad[100] ^= 1;
            blocks_of(&bad, &with_end(1024))
        }),
        case("a checksum of the metadata that is wrong", "is damaged", {
            let mut bad = with_end(1024);
            bad[136] ^= 1;
            blocks_of(&front, &bad)
        }),
    ];
    // The directory itself: in plain archives, once, empty, and by no other name.
    let root = |name: &str, content: &[u8], flag: u8| entry_with(name, content, |h| h[156] = flag);
    let end = with_end(1024);
    for (what, message, directory) in [
        (
            "the directory with content",
            "'./' is a directory",
            root("./", b"content", b'5'),
        ),
        ("a directory below", "'./x/' is a directory", root("./x/", b"", b'5')),
        ("the directory above", "'../' is a directory", root("../", b"", b'5')),
        ("the root directory", "'/' is a directory", root("/", b"", b'5')),
        ("a link to the directory", "'./' is a link", root("./", b"", b'2')),
        (
            "a file by that name",
            "does not belong there: './'",
            root("./", b"", b'0'),
        ),
        (
            "the directory twice",
            "'./' is a directory",
            root("./", b"", b'5').repeat(2),
        ),
        ("the directory with a prefix", "is a directory", {
            entry_with("./", b"", |h| {
                h[156] = b'5';
                h[345] = b'x';
            })
        }),
    ] {
        cases.push(case(what, message, plain(&[&directory[..], &front, &end].concat())));
    }
    cases.push(case("the directory, in blocks", "'./' is a directory", {
        blocks_of(&[&root("./", b"", b'5')[..], &front].concat(), &end)
    }));
    for (flag, what) in [
        (b'1', "is a link"),
        (b'2', "is a link"),
        (b'3', "is a device"),
        (b'4', "is a device"),
        (b'5', "is a directory"),
        (b'6', "is a device"),
        (b'S', "is a sparse file"),
        (b'L', "is a long name"),
        (b'K', "is a long name"),
        (b'x', "is not a regular file"),
        (b'g', "is not a regular file"),
        (b'Z', "is not a regular file"),
    ] {
        let bad = entry_with("library.db", &db, |h| h[156] = flag);
        cases.push(case(
            format!("type {}", flag as char),
            what,
            blocks_of(&bad, &with_end(1024)),
        ));
    }
    cases
}

/// A member whose header lies about its size.
fn entry_sized(name: &str, content: &[u8], size: u64) -> Vec<u8> {
    let mut out = header(name, size, |_| {});
    out.extend_from_slice(content);
    out
}
