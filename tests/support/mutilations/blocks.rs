//! Blocks removed, doubled, exchanged; bytes before, between and after; blocks that are not what an archive is made of.

use super::*;

/// Blocks removed, doubled, exchanged, from another backup; bytes before, between and after.
pub fn of_a_pair(pair: &Pair) -> Vec<Case> {
    let blocks: Vec<&[u8]> = blocks(&pair.a).into_iter().map(|range| &pair.a[range]).collect();
    let others: Vec<&[u8]> = super::blocks(&pair.b).into_iter().map(|range| &pair.b[range]).collect();
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
        for j in i + 1..blocks.len() {
            let mut exchanged = blocks.clone();
            exchanged.swap(i, j);
            cases.push(case(format!("blocks {i} and {j} exchanged"), message, join(&exchanged)));
            // The last two may be short, the first begins with a tar header, and the last with that of the metadata.
            let found = match (i, j) {
                (0, j) if j == last => "'backup_metadata.json' comes before 'library.db'",
                (0, _) => "tar: the header at byte 0 is damaged",
                (i, j) if i + 1 == last && j == last => "tar: what follows the last member is not zero",
                (_, j) if j + 1 >= last => "is too short: only the last two may be",
                _ => "SHA-256",
            };
            let mut numbered: Vec<Vec<u8>> = blocks.iter().map(|block| block.to_vec()).collect();
            numbered[i] = renumbered(blocks[j], i as u32);
            numbered[j] = renumbered(blocks[i], j as u32);
            cases.push(case(
                format!("blocks {i} and {j} exchanged and renumbered"),
                found,
                numbered.concat(),
            ));
        }
        for end in i + 1..=blocks.len() {
            let mut mixed = blocks.clone();
            mixed[i..end].copy_from_slice(&others[i..end]);
            if mixed != blocks && mixed != others {
                let name = format!("blocks {i} to {} of another backup", end - 1);
                cases.push(case(name, "SHA-256", join(&mixed)));
            }
        }
        let plain = gzip(&gunzip(blocks[i]));
        let mut one_plain = blocks.clone();
        one_plain[i] = &plain;
        let message = match i {
            0 => "several plain gzip members",
            _ => "its gzip header is not that of a block",
        };
        cases.push(case(format!("block {i} as a plain member"), message, join(&one_plain)));
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
    let all_plain: Vec<Vec<u8>> = blocks.iter().map(|block| gzip(&gunzip(block))).collect();
    cases.push(case(
        "all blocks as plain members",
        "several plain gzip members",
        all_plain.concat(),
    ));
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
    let appended: [(&str, &str, Vec<u8>); 9] = [
        ("a letter", "there are bytes after the last block", b"x".to_vec()),
        (
            "the beginning of a gzip member",
            "the file ends within block",
            b"\x1f\x8b".to_vec(),
        ),
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
    cases.push(case(
        "an empty gzip member in front",
        "several plain gzip members",
        [&gzip(b"")[..], &pair.a].concat(),
    ));
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

fn join(blocks: &[&[u8]]) -> Vec<u8> {
    blocks.concat()
}

/// Blocks that are whole, but not what an archive is made of.
pub fn made_by_hand() -> Vec<Case> {
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
        case("one byte", "not a gzip file", vec![0x1f]),
        case("two bytes", "truncated", vec![0x1f, 0x8b]),
        case("a gzip header alone", "truncated", gzip(b"")[..10].to_vec()),
        case("an empty gzip file", "truncated", gzip(b"")),
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
