//! The mutilation table: every way in which an archive can be damaged, and what has to be said about it.

use std::io::Read;
use std::num::NonZero;
use std::path::Path;

use serde_json::{Value, json};
use vpo_library::archive::{Metadata, Reader};
use vpo_library::backups;
use vpo_library::failure::{Kind, describe, kind};

use crate::generate::{Sample, Size};
use crate::support::craft::*;
use crate::support::*;
use crate::{chosen, exhaustive, figures};

/// An archive that must be refused, and a part of what must be said.
struct Case {
    name: String,
    bytes: Vec<u8>,
    message: &'static str,
}

fn case(name: impl Into<String>, message: &'static str, bytes: Vec<u8>) -> Case {
    Case {
        name: name.into(),
        bytes,
        message,
    }
}

/// Two archives of several blocks, of libraries that differ in one row.
struct Pair {
    a: Vec<u8>,
    b: Vec<u8>,
}

fn pair(world: &World) -> Pair {
    let path = world.path("large.db");
    let sample = Sample {
        size: Size::Bytes(400_000),
        ..Sample::default()
    };
    make(&sample, &path);
    let a = world.archive_of(&path);
    sqlite(&path, "UPDATE files SET size_bytes = size_bytes + 1 WHERE id = 7");
    let b = world.archive_of(&path);
    Pair { a, b }
}

/// What the library says of an archive, every check included; `Ok` is the database.
pub fn judge(archive: &[u8]) -> Result<Vec<u8>, (Kind, String)> {
    let dir = tempfile::tempdir().unwrap();
    let input = Box::new(std::io::Cursor::new(archive.to_vec()));
    let judged = backups::stage(input, dir.path(), 0, NonZero::<usize>::MIN).and_then(|staged| {
        staged.check()?;
        Ok(read(staged.file.path()))
    });
    judged.map_err(|error| (kind(&error), describe(&error)))
}

/// The same without looking into the database, and without a file; `Ok` is what the archive holds.
fn judge_stream(archive: Vec<u8>) -> Result<(Vec<u8>, Metadata), (Kind, String)> {
    let mut database = Vec::new();
    Reader::open(Box::new(std::io::Cursor::new(archive)), NonZero::<usize>::MIN)
        .and_then(|reader| reader.unpack(&mut database))
        .map(|contents| (database, contents.metadata))
        .map_err(|error| (kind(&error), describe(&error)))
}

fn join(blocks: &[&[u8]]) -> Vec<u8> {
    blocks.concat()
}

/// Blocks removed, doubled, exchanged, from another backup; bytes before, between and after.
fn block_cases(pair: &Pair) -> Vec<Case> {
    let blocks: Vec<&[u8]> = blocks(&pair.a).into_iter().map(|range| &pair.a[range]).collect();
    let others: Vec<&[u8]> = crate::support::blocks(&pair.b)
        .into_iter()
        .map(|range| &pair.b[range])
        .collect();
    assert!(blocks.len() >= 4 && blocks.len() == others.len());
    let last = blocks.len() - 1;
    let mut cases = Vec::new();
    for i in 0..blocks.len() {
        let mut less = blocks.clone();
        less.remove(i);
        let message = if i == last {
            "truncated"
        } else {
            "a block is missing, doubled or from elsewhere"
        };
        cases.push(case(format!("block {i} removed"), message, join(&less)));
        let mut more = blocks.clone();
        more.insert(i, blocks[i]);
        let message = "a block is missing, doubled or from elsewhere";
        cases.push(case(format!("block {i} doubled"), message, join(&more)));
        if i < last {
            let mut exchanged = blocks.clone();
            exchanged.swap(i, i + 1);
            cases.push(case(
                format!("blocks {i} and {} exchanged", i + 1),
                message,
                join(&exchanged),
            ));
        }
        if blocks[i] != others[i] {
            let mut mixed = blocks.clone();
            mixed[i] = others[i];
            cases.push(case(format!("block {i} of another backup"), "SHA-256", join(&mixed)));
        }
        if i < last {
            let swapped: Vec<Vec<u8>> = (0..blocks.len())
                .map(|n| match n {
                    n if n == i => renumbered(blocks[(i + 1) % last], i as u32),
                    n => blocks[n].to_vec(),
                })
                .collect();
            // Only the first begins with a tar header, and before the last two all have one length.
            let message = match i {
                _ if i + 2 == last => "is too short: only the last two may be",
                0 => "tar: the header at byte",
                _ if i + 1 == last => "tar: the header at byte",
                _ => "SHA-256",
            };
            cases.push(case(
                format!("block {i} replaced by a renumbered one"),
                message,
                swapped.concat(),
            ));
        }
    }
    // With true headers: all the blocks in another order.
    let front: Vec<usize> = (0..last).rev().collect();
    let mut turned: Vec<Vec<u8>> = (0..last).map(|n| renumbered(blocks[front[n]], n as u32)).collect();
    turned.push(blocks[last].to_vec());
    cases.push(case(
        "all blocks in reverse order, renumbered",
        "tar: the header at byte 0 is damaged",
        turned.concat(),
    ));
    for n in [1, 2, 31, 32, 33, 511, 512, 1 << 16] {
        cases.push(case(
            format!("{n} zeros appended"),
            if n < 32 {
                "there are bytes after the last block"
            } else {
                "no gzip member begins there"
            },
            [&pair.a[..], &vec![0; n]].concat(),
        ));
    }
    let appended: [(&str, &str, Vec<u8>); 7] = [
        ("a line feed", "there are bytes after the last block", b"\n".to_vec()),
        (
            "text",
            "no gzip member begins there",
            b"and now for something completely different, as they say".to_vec(),
        ),
        ("an empty gzip member", "the file ends within block", gzip(b"")),
        ("a gzip member", "the file ends within block", gzip(&[0; 512])),
        (
            "a long gzip member",
            "its gzip header is not that of a block",
            gzip(&noise(512, 7)),
        ),
        ("itself", "a block is missing, doubled", pair.a.clone()),
        (
            "another block of zeros",
            "is too short: only the last two may be",
            block(blocks.len() as u32, &[0; 512]),
        ),
    ];
    for (what, message, bytes) in appended {
        cases.push(case(
            format!("{what} appended"),
            message,
            [&pair.a[..], &bytes].concat(),
        ));
    }
    for (what, bytes) in [
        ("a zero", vec![0]),
        ("a line feed", b"\n".to_vec()),
        ("an archive's first byte", vec![0x1f]),
    ] {
        cases.push(case(
            format!("{what} in front"),
            "vpo backups are .tar.gz",
            [&bytes[..], &pair.a].concat(),
        ));
    }
    for i in 1..blocks.len() {
        let at: usize = blocks[..i].iter().map(|b| b.len()).sum();
        let (front, back) = pair.a.split_at(at);
        for (what, message, bytes) in [
            ("a zero", "no gzip member begins there", vec![0]),
            (
                "an empty gzip member",
                "its gzip header is not that of a block",
                gzip(b""),
            ),
            ("1 KiB of noise", "no gzip member begins there", noise(1024, i as u64)),
        ] {
            cases.push(case(
                format!("{what} before block {i}"),
                message,
                [front, &bytes, back].concat(),
            ));
        }
    }
    cases
}

/// A library of some 3 MB, as bytes.
fn megabytes() -> Vec<u8> {
    tiny_with("CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(3000000))")
}

/// Version 0.1.0 wrote blocks of 1 MiB, and the only rule is one size for all blocks of an archive. Shorter and longer
/// ones among them were once looked for only with 1 MiB.
#[test]
fn blocks_of_any_one_size() {
    let db = megabytes();
    let json = metadata(&db).to_string();
    let (front, end) = (entry("library.db", &db), ending(json.as_bytes()));
    for size in [64 << 10, 100_000, 128 << 10, MIB - 1, MIB] {
        let archive = blocks_of_size(size, &front, &end);
        assert!(judge(&archive).as_ref() == Ok(&db), "{size}");
        assert!(
            judge_stream(archive).is_ok_and(|(database, _)| database == db),
            "{size}"
        );
    }
    // Where the first is one of the last two, its length tells nothing.
    let small = tiny_database();
    let archive = blocks_of_size(
        MIB,
        &entry("library.db", &small),
        &ending(metadata(&small).to_string().as_bytes()),
    );
    assert!(judge(&archive) == Ok(small));

    let cut = |sizes: &[usize]| {
        let mut rest = &front[..];
        let mut archive = Vec::new();
        for (i, size) in sizes.iter().enumerate() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            archive.extend(block(i as u32, piece));
            rest = after;
        }
        let numbers = sizes.len() as u32..;
        let pieces = rest.chunks(sizes[0]).chain([&end[..]]);
        archive.extend(numbers.zip(pieces).flat_map(|(i, piece)| block(i, piece)));
        archive
    };
    assert!(judge(&cut(&[MIB])) == Ok(db.clone()));
    let k = 1 << 10;
    for (sizes, message) in [
        (&[64 * k - 1][..], "block 0 is too short: only the last two may be"),
        (&[1], "block 0 is too short: only the last two may be"),
        (&[MIB + 1], "block 0 is damaged: its trailer claims an impossible size"),
        (&[128 * k, 128 * k + 1], "block 1 is longer than the first"),
        (&[128 * k, 128 * k, 128 * k + 1], "block 2 is longer than the first"),
        (&[128 * k, MIB], "block 1 is longer than the first"),
        (
            &[128 * k, 128 * k - 1],
            "block 1 is too short: only the last two may be",
        ),
        (&[128 * k, 64 * k], "block 1 is too short: only the last two may be"),
        (&[MIB, MIB, 128 * k], "block 2 is too short: only the last two may be"),
    ] {
        let (kind, said) = judge(&cut(sizes)).expect_err("a mixture");
        assert!(
            kind == Kind::InvalidArchive && said.contains(message),
            "{sizes:?}: {said}"
        );
    }
    // The last may not be longer either.
    let long = format!("{json}{}", " ".repeat(200 * k));
    let archive = blocks_of(&front, &ending(long.as_bytes()));
    let (_, said) = judge(&archive).expect_err("a long end");
    assert!(said.contains("is longer than the first"), "{said}");
    let archive = blocks_of_size(MIB, &front, &ending(long.as_bytes()));
    assert!(judge(&archive) == Ok(db));
}

/// Blocks that are whole, but not what an archive is made of.
fn gzip_cases() -> Vec<Case> {
    let db = tiny_database();
    let json = metadata(&db).to_string();
    let front = entry("library.db", &db);
    let end = ending(json.as_bytes());
    let whole = [&front[..], &end].concat();
    let good = [block(0, &front), block(1, &end)];
    let deflated = deflate(&front);
    let around = |deflated: &[u8]| block_around(0, deflated, crc32(&front), front.len() as u32);
    let edited = |at: usize, bytes: &[u8]| {
        let mut first = good[0].clone();
        first[at..at + bytes.len()].copy_from_slice(bytes);
        [first, good[1].clone()].concat()
    };
    let mut cases = vec![
        case(
            "a byte between content and trailer",
            "bytes between its content and its trailer",
            [around(&[&deflated[..], &[0]].concat()), good[1].clone()].concat(),
        ),
        case(
            "the content's checksum, with all else right",
            "the checksum of its content does not match",
            {
                [
                    block_around(0, &deflated, crc32(&front) ^ 1, front.len() as u32),
                    good[1].clone(),
                ]
                .concat()
            },
        ),
        case("a size too small", "more content than its trailer says", {
            [
                block_around(0, &deflated, crc32(&front), front.len() as u32 - 1),
                good[1].clone(),
            ]
            .concat()
        }),
        case("a size too large", "less content than its trailer says", {
            [
                block_around(0, &deflated, crc32(&front), front.len() as u32 + 1),
                good[1].clone(),
            ]
            .concat()
        }),
        case("a size of 4 GiB", "impossible size", {
            [block_around(0, &deflated, crc32(&front), u32::MAX), good[1].clone()].concat()
        }),
        case("an empty block", "impossible size", {
            [block(0, &front), block(1, &[]), block(2, &end)].concat()
        }),
        case("no DEFLATE at all", "make no sense", {
            [around(&[0xff; 40]), good[1].clone()].concat()
        }),
        case("a DEFLATE stream without an end", "make no sense", {
            [around(&deflated[..deflated.len() - 3]), good[1].clone()].concat()
        }),
        case(
            "everything in one block",
            "the last block does not begin with the metadata",
            block(0, &whole),
        ),
        case(
            "a short block before the last two",
            "too short: only the last two may be",
            {
                let (one, two) = front.split_at(700);
                [block(0, one), block(1, two), block(2, &end)].concat()
            },
        ),
        case("the metadata in two blocks", "block 0 is too short", {
            let (one, two) = end.split_at(512);
            [block(0, &front), block(1, one), block(2, two)].concat()
        }),
        case("the end in a block of its own", "block 0 is too short", {
            let (one, two) = end.split_at(end.len() - 1024);
            [block(0, &front), block(1, one), block(2, two)].concat()
        }),
        case(
            "an impossible length",
            "impossible length",
            edited(16, &u32::MAX.to_le_bytes()),
        ),
        case(
            "a length of nothing",
            "impossible length",
            edited(16, &0u32.to_le_bytes()),
        ),
        case(
            "a length too short by one",
            "the checksum of its compressed bytes does not match",
            {
                let length = good[0].len() as u32 - 1;
                edited(16, &length.to_le_bytes())
            },
        ),
        case(
            "a number that is not 0",
            "a block is missing, doubled",
            edited(28, &1u32.to_le_bytes()),
        ),
        case(
            "a block, then a plain member",
            "not that of a block",
            [good[0].clone(), gzip(&end)].concat(),
        ),
        case(
            "a plain member, then a block",
            "several plain gzip members",
            [gzip(&front), good[1].clone()].concat(),
        ),
        case(
            "two plain members",
            "several plain gzip members",
            [gzip(&front), gzip(&end)].concat(),
        ),
        case(
            "a plain member, then an empty one",
            "several plain gzip members",
            [gzip(&whole), gzip(b"")].concat(),
        ),
        case(
            "a plain member, then a zero",
            "bytes after the end",
            [gzip(&whole), vec![0]].concat(),
        ),
        case("an empty file", "this is empty", Vec::new()),
        case("one byte", "no gzip file", vec![0x1f]),
        case("two bytes", "truncated", vec![0x1f, 0x8b]),
        case("a gzip header alone", "truncated", gzip(b"")[..10].to_vec()),
        case("an empty gzip file", "truncated", gzip(b"")),
        case("a plain tar file", "a plain tar file", whole.clone()),
        case("a bare database", "a bare SQLite database", db.clone()),
        case("zip", "a zip file", b"PK\x03\x04 and so on".to_vec()),
        case("zstd", "a zstd file", b"\x28\xb5\x2f\xfd and so on".to_vec()),
        case("xz", "an xz file", b"\xfd7zXZ\0 and so on".to_vec()),
        case("bzip2", "a bzip2 file", b"BZh9 and so on".to_vec()),
        case("lz4", "an lz4 file", b"\x04\x22\x4d\x18 and so on".to_vec()),
    ];
    // Fields of the header, one after the other, that a gzip reader may not mind.
    for (at, what) in [
        (2, "method"),
        (3, "flags"),
        (4, "MTIME"),
        (8, "XFL"),
        (9, "OS"),
        (10, "XLEN"),
        (12, "SI1"),
        (14, "LEN"),
    ] {
        let value = good[0][at] ^ 1;
        let message = "its gzip header is not that of a block";
        cases.push(case(format!("header: {what}"), message, edited(at, &[value])));
    }
    cases
}

/// The tar layer, with a gzip layer that is whole.
fn tar_cases() -> Vec<Case> {
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

/// What the metadata may not say, and what they say that is not so.
fn metadata_cases() -> Vec<Case> {
    let db = tiny_database();
    let good = metadata(&db);
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        archive(&db, &changed)
    };
    let without = |key: &str| {
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove(key);
        archive(&db, &changed)
    };
    let raw = |json: &str| archive_raw(&db, json.as_bytes());
    let text = good.to_string();
    let inside = text.trim_end_matches('}');
    let mut cases = vec![
        case("metadata: empty", "is not valid", raw("")),
        case("metadata: not JSON", "is not valid", raw("not JSON")),
        case("metadata: cut off", "is not valid", raw(inside)),
        case("metadata: two documents", "is not valid", raw(&format!("{text}{text}"))),
        case("metadata: a list", "is not valid", raw(&format!("[{text}]"))),
        case(
            "metadata: not UTF-8",
            "it is not UTF-8",
            archive_raw(&db, &[text.as_bytes(), b"\xff"].concat()),
        ),
        case("metadata: NULs behind", "is not valid", raw(&format!("{text}\0\0"))),
        case(
            "metadata: a byte order mark",
            "is not valid",
            raw(&format!("\u{feff}{text}")),
        ),
        case(
            "metadata: a key twice",
            "'file_count' appears twice",
            raw(&format!("{inside},\"file_count\":1}}")),
        ),
        case(
            "metadata: an unknown key twice",
            "'x' appears twice",
            raw(&format!("{inside},\"x\":1,\"x\":1}}")),
        ),
        case("metadata: a key twice, escaped", "'page_size' appears twice", {
            raw(&format!("{inside},\"p\\u0061ge_size\":512}}"))
        }),
        case(
            "metadata: more than 1 MiB, in a block",
            "impossible size",
            raw(&format!("{text}{}", " ".repeat(MIB))),
        ),
        case("metadata: more than 1 MiB", "more than 1048576", {
            plain_archive_raw(&db, format!("{text}{}", " ".repeat(MIB)).as_bytes())
        }),
        case("metadata: deeply nested", "nested more than 128 deep", {
            raw(&format!(
                "{inside},\"x\":{}{}}}",
                "[".repeat(100_000),
                "]".repeat(100_000)
            ))
        }),
        case(
            "digest wrong",
            "SHA-256",
            with("database_sha256", json!("0".repeat(64))),
        ),
        case(
            "size wrong",
            "the database has 1536 bytes where the metadata says 2560",
            with("database_size_bytes", json!(2560)),
        ),
        case(
            "page size wrong",
            "pages of 512 bytes where the metadata says 1024",
            with("page_size", json!(1024)),
        ),
        case(
            "schema not the database's",
            "schema version 27 where the metadata says 26",
            with("schema_version", json!(26)),
        ),
        case(
            "count not the database's",
            "a number of files of 1 where the metadata says 2",
            with("file_count", json!(2)),
        ),
        case(
            "another compression",
            "'compression' is not gzip",
            with("compression", json!("zstd")),
        ),
        case(
            "a time of another form",
            "'created_at'",
            with("created_at", json!("2026-02-05T14:30:22+00:00")),
        ),
        case(
            "a time of nowhere",
            "'created_at'",
            with("created_at", json!("2026-02-30T14:30:22Z")),
        ),
        case("a digest in capitals", "'database_sha256'", {
            with("database_sha256", json!(sha256(&db).to_uppercase()))
        }),
        case(
            "a long string",
            "'vpo_version' is longer",
            with("vpo_version", json!("x".repeat(4097))),
        ),
    ];
    for key in good.as_object().unwrap().keys() {
        cases.push(case(format!("metadata: no {key}"), "is missing", without(key)));
        for (what, value) in [
            ("null", Value::Null),
            ("a list", json!([])),
            ("true", json!(true)),
            ("negative", json!(-1)),
            ("a fraction", json!(1.5)),
            ("huge", json!(u64::MAX)),
            ("an object", json!({})),
        ] {
            cases.push(case(format!("metadata: {key} is {what}"), "is not a", with(key, value)));
        }
        if good[key].is_u64() {
            cases.push(case(
                format!("metadata: {key} is a string"),
                "is not a",
                with(key, json!(good[key].to_string())),
            ));
        }
    }
    for (key, number) in [
        ("schema_version", "1e400"),
        ("file_count", "99999999999999999999999"),
        ("page_size", "5.12e2"),
    ] {
        let before = format!("\"{key}\":{}", good[key]);
        assert!(text.contains(&before));
        let changed = text.replace(&before, &format!("\"{key}\":{number}"));
        cases.push(case(format!("metadata: {key} is {number}"), "is not a", raw(&changed)));
    }
    cases
}

/// Databases that are none, in archives that are whole, with a digest that is right.
fn database_cases() -> Vec<Case> {
    let db = tiny_database();
    let pages = db.len() / 512;
    let made = |database: &[u8]| archive(database, &truth_of(database, &db));
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = db.clone();
        edit(&mut changed);
        made(&changed)
    };
    let inside = "the database inside is damaged or not a VPO library";
    let mut cases = vec![
        case("database: empty", "'library.db'", made(&[])),
        case("database: a header alone", "'library.db'", made(&db[..100])),
        case("database: less than a header", "'library.db'", made(&db[..99])),
        case(
            "database: a page short",
            "where its header says",
            made(&db[..db.len() - 512]),
        ),
        case(
            "database: a byte short",
            "where its header says",
            made(&db[..db.len() - 1]),
        ),
        case(
            "database: a page too long",
            "where its header says",
            made(&[&db[..], &[0; 512]].concat()),
        ),
        case(
            "database: other bytes",
            "does not begin as a SQLite database",
            made(&noise(2048, 1)),
        ),
        case(
            "database: zeros",
            "does not begin as a SQLite database",
            made(&[0; 2048]),
        ),
        case(
            "database: an impossible page size",
            "impossible page size",
            edited(&|db| db[16] = 3),
        ),
        case(
            "database: another page size",
            "where its header says",
            edited(&|db| db[16] = 4),
        ),
        case("database: a count that is stale", "not a whole number of pages", {
            let mut changed = db.clone();
            changed[27] ^= 1;
            changed.push(0);
            made(&changed)
        }),
        case("database: no table files", inside, made(&tiny_with("DROP TABLE files"))),
        case("database: no table _meta", inside, made(&tiny_with("DROP TABLE _meta"))),
        case(
            "database: no schema version",
            inside,
            made(&tiny_with("DELETE FROM _meta")),
        ),
        case(
            "database: schema version 0",
            inside,
            made(&tiny_with("UPDATE _meta SET value = '0'")),
        ),
        case(
            "database: a schema version that is none",
            inside,
            made(&tiny_with("UPDATE _meta SET value = 'new'")),
        ),
        case("database: a view by the name files", inside, {
            made(&tiny_with(
                "ALTER TABLE files RENAME TO f; CREATE VIEW files AS SELECT * FROM f",
            ))
        }),
        case("database: a view by the name _meta", inside, {
            made(&tiny_with(
                "ALTER TABLE _meta RENAME TO m; CREATE VIEW _meta AS SELECT * FROM m",
            ))
        }),
        case("database: of another kind", inside, {
            made(&database(|path| {
                sqlite(
                    path,
                    "PRAGMA page_size = 512; CREATE TABLE t (x); INSERT INTO t VALUES (1)",
                )
            }))
        }),
        case("database: without tables", inside, {
            made(&database(|path| {
                sqlite(path, "PRAGMA page_size = 512; CREATE TABLE t (x); DROP TABLE t")
            }))
        }),
    ];
    // A page of a b-tree without meaning, for each page but the first.
    for page in 1..pages {
        cases.push(case(format!("database: page {} is zero", page + 1), inside, {
            edited(&|db| db[page * 512..(page + 1) * 512].fill(0))
        }));
        cases.push(case(format!("database: page {} is noise", page + 1), inside, {
            edited(&|db| db[page * 512..(page + 1) * 512].copy_from_slice(&noise(512, page as u64)))
        }));
    }
    cases.push(case("database: two pages exchanged", inside, {
        edited(&|db| {
            let (a, b) = db.split_at_mut(1024);
            a[512..].swap_with_slice(&mut b[..512]);
        })
    }));
    cases
}

/// Metadata that are true of `database` as far as anything is: facts that can't be read are those of `like`.
fn truth_of(database: &[u8], like: &[u8]) -> Value {
    let mut truth = metadata(like);
    truth["database_size_bytes"] = json!(database.len().max(1));
    truth["database_sha256"] = json!(sha256(database));
    truth
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

fn all_cases(world: &World) -> Vec<Case> {
    let mut cases = block_cases(&pair(world));
    cases.extend(gzip_cases());
    cases.extend(tar_cases());
    cases.extend(metadata_cases());
    cases.extend(database_cases());
    cases
}

#[test]
fn the_craft_makes_valid_archives() {
    let world = World::new();
    let db = tiny_database();
    let crafted = archive(&db, &metadata(&db));
    assert_eq!(judge(&crafted).unwrap(), db);
    world.verify(&crafted).silent();
    world.verify(&world.pack(&db)).silent();
}

#[test]
fn each_mutilation_is_found_and_named() {
    let world = World::new();
    let cases = all_cases(&world);
    let mut failures = Vec::new();
    for case in &cases {
        match judge(&case.bytes) {
            Ok(_) => failures.push(format!("{}: accepted", case.name)),
            Err((kind, message)) if kind != Kind::InvalidArchive || !message.contains(case.message) => {
                failures.push(format!("{}: {kind:?}, {message}, not {:?}", case.name, case.message));
            }
            Err(_) => {}
        }
    }
    for case in &cases {
        assert!(!case.message.is_empty(), "{}: nothing has to be said", case.name);
    }
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
    figures(&format!("mutilations tried and found: {}", cases.len()));
}

/// The programs' word is that of the library; a sample of the table goes through them, with a library at stake.
#[test]
fn the_programs_refuse_mutilated_archives_and_touch_no_library() {
    let world = World::new();
    world.default_library();
    let cases = all_cases(&world);
    for i in chosen(cases.len(), 60) {
        let case = &cases[i];
        let verified = world.verify(&case.bytes).exits(46);
        let line = verified.text();
        assert!(
            line.starts_with("bad -: ") && line.contains(case.message),
            "{}: {line}",
            case.name
        );
        assert!(
            !verified.stderr.contains("panicked"),
            "{}: {}",
            case.name,
            verified.stderr
        );
        let restored = unchanged(&world.home(), || {
            let restore = world.cmd("vpo-unpack-restore").args(["--yes", "--timeout", "0"]);
            restore.input(&case.bytes).run()
        });
        assert!(
            !restored.stderr.contains("panicked"),
            "{}: {}",
            case.name,
            restored.stderr
        );
        restored.fails(46, &[case.message]);
    }
    world.clean();
}

/// A directory is gone through to its end, whatever is in it.
#[test]
fn a_directory_is_gone_through_past_every_damaged_file() {
    let world = World::new();
    let dir = world.path("backups");
    std::fs::create_dir(&dir).unwrap();
    let cases = all_cases(&world);
    let good = world.pack(&tiny_database());
    let chosen = chosen(cases.len(), 120);
    for &i in &chosen {
        write(
            dir.join(format!("vpo-library-2026-02-05T1{i:05}Z.tar.gz")),
            &cases[i].bytes,
        );
    }
    for name in [
        "vpo-library-0.tar.gz",
        "vpo-library-9.tar.gz",
        "vpo-library-2026-02-05T12-00-00Z.tar.gz",
    ] {
        write(dir.join(name), &good);
    }
    let verified = world.cmd("vpo-verify").arg("--json").arg(&dir).run().exits(46);
    let report = verified.json();
    assert_eq!(report["total_count"], chosen.len() + 3, "{}", verified.stderr);
    assert_eq!(report["bad_count"], chosen.len());
    let listed = world.cmd("vpo-ls-backups").arg("--json").arg(&dir).run().ok();
    assert!(!listed.stderr.contains("panicked"), "{}", listed.stderr);
    let listing = listed.json();
    assert_eq!(listing["total_count"], chosen.len() + 3);
    world.cmd("vpo-ls-backups").arg(&dir).run().ok();
    world.clean();
}

/// Every bit of a small archive of blocks, and every length that it can be cut to: all found.
#[test]
fn every_bit_and_every_length_of_a_small_archive() {
    let world = World::new();
    let archive = world.pack(&tiny_database());
    let mut tried = 0;
    for bit in 0..archive.len() * 8 {
        let mut bad = archive.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        refused(&bad, &format!("bit {} of byte {}", bit % 8, bit / 8));
        tried += 1;
    }
    for length in 0..archive.len() {
        refused(&archive[..length], &format!("{length} bytes"));
        tried += 1;
    }
    for at in 0..=archive.len() {
        let (front, back) = archive.split_at(at);
        refused(&[front, &[0], back].concat(), &format!("a zero before byte {at}"));
        tried += 1;
        if at < archive.len() {
            refused(&[front, &back[1..]].concat(), &format!("without byte {at}"));
            refused(&[front, &[back[0]], back].concat(), &format!("byte {at} twice"));
            tried += 2;
        }
    }
    figures(&format!(
        "flips, truncations and insertions in an archive of {} bytes: {tried} tried and found",
        archive.len()
    ));
}

#[track_caller]
fn refused(bad: &[u8], what: &str) {
    match judge_stream(bad.to_vec()) {
        // Doubling one of two equal bytes, or the like, may make the same archive; nothing else may pass.
        Ok(_) => panic!("{what}: accepted"),
        Err((Kind::InvalidArchive, message)) => assert!(!message.is_empty()),
        Err((kind, message)) => panic!("{what}: {kind:?}: {message}"),
    }
}

/// The same for each bit of every header and trailer of an archive of several blocks, and for the lengths around them.
#[test]
fn every_bit_of_the_headers_and_trailers_of_a_large_archive() {
    let world = World::new();
    let archive = pair(&world).a;
    let mut bits = Vec::new();
    let mut lengths = Vec::new();
    for range in blocks(&archive) {
        bits.extend(range.start * 8..(range.start + 32) * 8);
        bits.extend((range.end - 8) * 8..range.end * 8);
        lengths.extend(range.start.saturating_sub(2)..range.start + 40);
        lengths.extend(range.end - 10..range.end);
    }
    lengths.retain(|length| *length < archive.len());
    let (bits_tried, lengths_tried) = (chosen(bits.len(), 160), chosen(lengths.len(), 40));
    for &i in &bits_tried {
        let mut bad = archive.clone();
        bad[bits[i] / 8] ^= 1 << (bits[i] % 8);
        refused(&bad, &format!("bit {}", bits[i]));
    }
    for &i in &lengths_tried {
        refused(&archive[..lengths[i]], &format!("{} bytes", lengths[i]));
    }
    // And anywhere at all.
    for i in chosen(if exhaustive() { 2000 } else { 40 }, 40) {
        let at = (i * 7919 * 104_729) % (archive.len() * 8);
        let mut bad = archive.clone();
        bad[at / 8] ^= 1 << (at % 8);
        refused(&bad, &format!("bit {at}"));
    }
    figures(&format!(
        "large archive: {} flips, {} truncations found",
        bits_tried.len(),
        lengths_tried.len()
    ));
}

/// A sample of the same through the real programs, so that it is them who find it.
#[test]
fn the_programs_find_flips_and_truncations() {
    let world = World::new();
    let archive = world.pack(&tiny_database());
    for i in chosen(archive.len(), 25) {
        let mut bad = archive.clone();
        bad[i] ^= 1 << (i % 8);
        for (what, bad) in [("flip", &bad[..]), ("cut", &archive[..i])] {
            // Which check finds it is the reader's choice; both programs have to name the same.
            let out = world.verify(bad).exits(46);
            assert!(!out.stderr.contains("panicked"), "{what} {i}: {}", out.stderr);
            let reason = out.text().trim_end().split_once(" -: ").expect("a reason").1;
            let out = world.cmd("vpo-unpack-restore").input(bad).run();
            out.fails(46, &[reason]);
        }
    }
    assert!(!world.library().exists());
    world.clean();
}

/// What `ls` shows from the tail alone: it never panics, never fails, and a cut archive is always marked.
#[test]
fn a_cut_archive_is_marked_in_the_listing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    let archive = world.pack(&tiny_database());
    let path = dir.path().join(NAME);
    let listed = || {
        let list = backups::list(dir.path()).unwrap();
        assert_eq!(list.len(), 1);
        list.into_iter().next().unwrap().summary
    };
    for length in 0..archive.len() {
        write(&path, &archive[..length]);
        assert!(listed().is_err(), "cut to {length} bytes");
    }
    let last = blocks(&archive).pop().unwrap();
    // How many blocks there are is vpo-verify's to find out: the number of the last one is not looked at.
    let number = last.start + 28..last.start + 32;
    for bit in chosen(archive.len() * 8, 1500) {
        let mut bad = archive.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        write(&path, &bad);
        let summary = listed();
        if last.contains(&(bit / 8)) && !number.contains(&(bit / 8)) {
            assert!(summary.is_err(), "bit {bit}");
        }
    }
}

/// Plain archives of VPO and tar: what is accepted has the content that it had.
#[test]
fn plain_archives_are_unchanged_or_refused() {
    let world = World::new();
    let db = tiny_database();
    let mut archives = vec![("crafted", plain_archive(&db, &vpo_like(&db)))];
    std::fs::create_dir(world.path("in")).unwrap();
    write(world.path("in/library.db"), &db);
    write(
        world.path("in/backup_metadata.json"),
        vpo_like(&db).to_string().as_bytes(),
    );
    if has_tool("tar", "archives of tar") {
        let members = ["library.db", "backup_metadata.json"];
        let tar = world
            .tool("tar")
            .args(["-C", "in", "-czf", "-"])
            .args(members)
            .run()
            .ok();
        archives.push(("tar czf", tar.stdout));
        let tar = world
            .tool("tar")
            .args(["-C", "in", "--format=pax", "-czf", "-"])
            .args(members)
            .run()
            .ok();
        archives.push(("tar --format=pax", tar.stdout));
    }
    if has_tool("python3", "archives of Python's tarfile, as VPO makes them") {
        let script = "import tarfile\nwith tarfile.open('py.tar.gz', 'w:gz') as t:\n t.add('in/library.db', 'library.db')\n \
                      t.add('in/backup_metadata.json', 'backup_metadata.json')";
        world.tool("python3").args(["-c", script]).run().ok();
        archives.push(("tarfile", read(world.path("py.tar.gz"))));
    }
    for (what, archive) in archives {
        assert_eq!(judge(&archive).expect(what), db, "{what}");
        let bits = chosen(archive.len() * 8, 6000);
        let lengths = (0..archive.len()).collect();
        unchanged_or_refused(what, &archive, bits, lengths);
    }
}

/// Flips these bits of a plain archive, and cuts it to these lengths. What is accepted says the same as before, database
/// and metadata.
#[track_caller]
fn unchanged_or_refused(what: &str, archive: &[u8], bits: Vec<usize>, lengths: Vec<usize>) {
    let whole = judge_stream(archive.to_vec()).expect(what);
    let (mut found, mut harmless) = (0, 0);
    for bit in bits {
        let mut bad = archive.to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        match judge_stream(bad) {
            Ok((database, metadata)) => {
                same(&format!("{what}: bit {bit}"), &database, &whole.0);
                assert_eq!(metadata, whole.1, "{what}: bit {bit}");
                harmless += 1;
            }
            Err((Kind::InvalidArchive, _)) => found += 1,
            Err((kind, message)) => panic!("{what}: bit {bit}: {kind:?} {message}"),
        }
    }
    let cuts = lengths.len();
    for length in lengths {
        refused(&archive[..length], &format!("{what}: {length} bytes"));
    }
    for byte in [0, b'\n', 0x1f] {
        refused(&[archive, &[byte]].concat(), what);
    }
    figures(&format!(
        "{what}: {found} flips found, {harmless} that change nothing, {cuts} truncations found"
    ));
}

/// The same for the backups that VPO itself made, where they are (see tests/suite/fixtures.rs).
#[test]
fn backups_of_vpo_are_unchanged_or_refused() {
    let dir = match std::env::var_os("VPO_FIXTURES").filter(|dir| !dir.is_empty()) {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/fixtures"),
    };
    for name in [
        "vpo-library-2026-11-20T08-25-12Z.tar.gz",
        "vpo-library-2026-02-05T14-30-22Z.tar.gz",
    ] {
        let Ok(archive) = std::fs::read(dir.join(name)) else {
            // Not a tool that can be installed: never required.
            use std::io::Write;
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED {name}: there are no fixtures (VPO_FIXTURES)"
            );
            continue;
        };
        // Both ends, where the headers and the sums are, and a sample of the rest: an archive is some ms to read.
        let length = archive.len();
        let sample = if exhaustive() { 2000 } else { 60 };
        let end = if exhaustive() { 64 } else { 10 };
        let mut bits: Vec<usize> = (0..end * 8).chain((length - end) * 8..length * 8).collect();
        bits.extend((0..sample).map(|i| (i * 7919 * 104_729) % (length * 8)));
        let mut lengths: Vec<usize> = (0..end).chain(length - end..length).collect();
        lengths.extend((0..sample / 4).map(|i| (i * 7919 * 104_729) % length));
        unchanged_or_refused(name, &archive, bits, lengths);
    }
}

fn plain_archive_raw(db: &[u8], json: &[u8]) -> Vec<u8> {
    plain(&[entry("library.db", db), ending(json)].concat())
}

fn vpo_like(db: &[u8]) -> Value {
    let mut metadata = metadata(db);
    metadata
        .as_object_mut()
        .unwrap()
        .retain(|key, _| key != "database_sha256" && key != "page_size");
    metadata
}

/// A damaged archive that arrives as a stream is read no further than the damage, and never saved.
#[test]
fn nothing_damaged_is_saved() {
    let world = World::new();
    let archive = world.pack(&tiny_database());
    std::fs::create_dir(world.path("kept")).unwrap();
    for i in chosen(archive.len(), 12) {
        let out = world
            .cmd("vpo-verify")
            .args(["--save", "kept"])
            .input(&archive[..i])
            .run();
        out.exits(46);
        assert_eq!(names(&world.path("kept")), [""; 0]);
    }
    world
        .cmd("vpo-verify")
        .args(["--save", "kept"])
        .input(&archive)
        .run()
        .ok();
    assert_eq!(names(&world.path("kept")), [NAME]);
    same("kept", &read(world.path("kept").join(Path::new(NAME))), &archive);
}

/// Reads that come in pieces, and are interrupted, make no difference.
#[test]
fn short_and_interrupted_reads_are_no_failure() {
    struct Halting(std::io::Cursor<Vec<u8>>, usize);
    impl Read for Halting {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.1 += 1;
            if self.1.is_multiple_of(3) {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            let n = buffer.len().min(1 + self.1 % 7);
            self.0.read(&mut buffer[..n])
        }
    }
    let db = tiny_database();
    for archive in [archive(&db, &metadata(&db)), plain_archive(&db, &vpo_like(&db))] {
        let input = Box::new(Halting(std::io::Cursor::new(archive), 0));
        let mut out = Vec::new();
        Reader::open(input, NonZero::<usize>::MIN)
            .unwrap()
            .unpack(&mut out)
            .unwrap();
        assert_eq!(out, db);
    }
}
