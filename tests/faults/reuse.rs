//! Earlier archives whose blocks are to be copied, with something wrong in each of them.

use std::num::NonZero;
use std::path::Path;

use vpo_library::archive::{Level, Options, Resources, Reusable, Reuse, Writer, Written};
use vpo_library::database::{Facts, immutable};
use vpo_library::time::Time;

use crate::damage::judge;
use crate::figures;
use crate::support::craft::*;
use crate::support::*;

/// A library of which each block compresses to a few hundred bytes, the facts about it, and the same after a change.
struct Library {
    before: Vec<u8>,
    after: Vec<u8>,
    facts: Facts,
}

impl Library {
    fn new() -> Self {
        let filler = "CREATE TABLE filler (x);
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4)
            INSERT INTO filler SELECT printf('%.*c', 100000, char(64 + i)) FROM n";
        let before = tiny_with(filler);
        // In the first two of four blocks.
        let after = tiny_with(&format!(
            "{filler}; UPDATE filler SET x = replace(x, 'B', 'b') WHERE x LIKE 'B%'"
        ));
        assert!(before.len() == after.len() && before.len() > 3 * BLOCK && before.len() < 4 * BLOCK);
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("x.db"), &after);
        let facts = Facts::read(&immutable(&dir.path().join("x.db")).unwrap()).unwrap();
        Library { before, after, facts }
    }

    fn pack(&self, database: &[u8], level: u8, version: &str, reuse: Option<Reuse>) -> (Vec<u8>, Written) {
        let options = Options {
            level: Level::new(level).unwrap(),
            created_at: TIME.parse::<Time>().unwrap(),
            vpo_version: version.into(),
            replaced: false,
            source: None,
        };
        let resources = Resources {
            threads: NonZero::<usize>::MIN,
            reuse,
        };
        let mut writer = Writer::new(Vec::new(), database.len() as u64, options, resources).unwrap();
        writer.write(database).unwrap();
        writer.finish(&self.facts).unwrap()
    }
}

fn open(archive: &[u8], reusable: Reusable) -> Option<Reuse> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("earlier");
    write(&path, archive);
    Reuse::open(&path, reusable)
}

/// Any bit of an archive is flipped, and it has any length: the result has the bytes that it has without it.
#[test]
fn no_damage_is_copied() {
    let library = Library::new();
    let (earlier, _) = library.pack(&library.before, 6, "v", None);
    let (expected, written) = library.pack(&library.after, 6, "v", None);
    let blocks = written.blocks;
    assert_eq!(judge(&expected).as_ref(), Ok(&library.after));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("earlier");
    let pack = |earlier: &[u8]| {
        write(&path, earlier);
        library.pack(&library.after, 6, "v", Reuse::open(&path, Reusable::Same))
    };
    let (whole, written) = pack(&earlier);
    assert!(whole == expected);
    let all = written.blocks_reused;
    assert!(all >= 2 && all < blocks, "{all} of {blocks}");

    // Odd, so that it comes to each bit of a byte.
    let step = if exhaustive() { 1 } else { 241 };
    let mut less = 0;
    for bit in (0..earlier.len() * 8).step_by(step) {
        let mut bad = earlier.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let (archive, written) = pack(&bad);
        assert!(archive == expected, "bit {bit}");
        less += usize::from(written.blocks_reused < all);
    }
    for length in (0..earlier.len()).step_by(if exhaustive() { 1 } else { 421 }) {
        let (archive, written) = pack(&earlier[..length]);
        assert!(archive == expected && written.blocks_reused == 0, "{length} bytes");
    }
    assert!(less > 0);
    figures(&format!(
        "an archive of {} bytes to reuse: every {step} bits flipped, {less} times less was copied",
        earlier.len()
    ));
}

/// Blocks that are right in themselves, but in another place, of another size or of other content.
#[test]
fn only_the_same_place_counts() {
    let library = Library::new();
    let (expected, _) = library.pack(&library.after, 6, "v", None);
    let (same, _) = library.pack(&library.after, 6, "v", None);
    let members: Vec<&[u8]> = blocks(&same).into_iter().map(|range| &same[range]).collect();
    let last = members.len() - 1;
    let json = |level: u8| {
        let mut metadata = metadata(&library.after);
        metadata["compression_level"] = level.into();
        metadata["vpo_version"] = "v".into();
        metadata.to_string()
    };
    let (front, end) = (entry("library.db", &library.after), ending(json(6).as_bytes()));
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    for size in [64 << 10, 100_000, MIB] {
        cases.push((format!("blocks of {size}"), blocks_of_size(size, &front, &end)));
    }
    for i in 1..last {
        let mut other = members.clone();
        other.remove(i);
        cases.push((format!("without block {i}"), other.concat()));
        let mut other: Vec<Vec<u8>> = members.iter().map(|member| member.to_vec()).collect();
        other[i] = renumbered(members[if i == 1 { 2 } else { 1 }], i as u32);
        cases.push((format!("another as block {i}"), other.concat()));
        // Its content has the length and the checksum that are looked at first.
        let data = gunzip(members[i]);
        other[i] = block_around(
            i as u32,
            &deflate(&noise(data.len(), 7)),
            crc32(&data),
            data.len() as u32,
        );
        cases.push((format!("a lie as block {i}"), other.concat()));
        // True, but longer than any compressor makes it.
        let stored: Vec<u8> = [[0, 0, 0, 0xff, 0xff]; 30_000].concat();
        let long = [&stored[..], &deflate(&data)].concat();
        other[i] = block_around(i as u32, &long, crc32(&data), data.len() as u32);
        cases.push((format!("a long block {i}"), other.concat()));
        other[i] = gzip(&data);
        cases.push((format!("a plain member as block {i}"), other.concat()));
        other[i] = noise(members[i].len(), 3);
        cases.push((format!("noise as block {i}"), other.concat()));
    }
    for (what, earlier) in cases {
        let (archive, written) = library.pack(&library.after, 6, "v", open(&earlier, Reusable::Same));
        assert!(archive == expected, "{what}");
        assert!(written.blocks_reused < written.blocks, "{what}");
    }
    let earlier = open(&same, Reusable::Same);
    assert!(earlier.is_some());
    let (archive, written) = library.pack(&library.after, 6, "v", earlier);
    assert!(archive == expected && written.blocks_reused == written.blocks);
}

/// Whoever waits takes blocks of any level: then the archive doesn't say one.
#[test]
fn blocks_of_several_levels() {
    let library = Library::new();
    let (earlier, _) = library.pack(&library.before, 6, "v", None);
    for (version, level, expected) in [
        ("v", 6, Some(6)),
        ("other", 6, Some(6)),
        ("v", 1, None),
        ("other", 1, None),
    ] {
        let reuse = open(&earlier, Reusable::Any);
        let (archive, written) = library.pack(&library.after, level, version, reuse);
        assert!(written.blocks_reused > 0, "{version}, level {level}");
        assert_eq!(written.metadata.compression_level, expected, "{version}, level {level}");
        assert_eq!(judge(&archive).as_ref(), Ok(&library.after));
        // A mixture is not what a backup of one level is made of, but it may be mixed again.
        let of_one_level = (version, level) == ("v", 6);
        for (reusable, serves) in [(Reusable::Same, of_one_level), (Reusable::Any, true)] {
            let reuse = open(&archive, reusable);
            let (again, written) = library.pack(&library.after, 6, "v", reuse);
            assert_eq!(written.blocks_reused > 0, serves, "{version}, level {level}");
            assert_eq!(judge(&again).as_ref(), Ok(&library.after));
        }
    }
    // Nothing was copied: all blocks are of one level.
    let (_, written) = library.pack(&library.after, 1, "v", Reuse::open(Path::new("missing"), Reusable::Any));
    assert_eq!(written.metadata.compression_level, Some(1));
}
