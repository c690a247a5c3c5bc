//! Changes of an archive below its checksums.

use flate2::Compression;
use libfuzzer_sys::fuzzer_mutate;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::forge::{Archive, Entry, crc32, split};
use crate::hex;
use crate::random::Random;

const DATABASE: &str = "library.db";
const METADATA: &str = "backup_metadata.json";

/// libFuzzer's custom mutator for archives: changes the first `size` bytes of `data`, and returns how many there are
/// then, at most `max_size`.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random::new(seed);
    let changed = match random.below(8) {
        0 => None,
        1 => change_blocks(&data[..size], &mut random),
        _ => change_content(&data[..size], &mut random),
    };
    match changed {
        Some(bytes) if bytes.len() <= max_size && !bytes.is_empty() => {
            data[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

/// libFuzzer's own changes of some bytes, which may become `more` longer.
fn change(bytes: &mut Vec<u8>, more: usize) {
    let size = bytes.len();
    bytes.resize(size + more, 0);
    let end = bytes.len();
    let size = fuzzer_mutate(bytes, size, end);
    bytes.truncate(size);
}

/// The gzip layer: what is in the blocks stays as it is, or keeps its checksum at least.
fn change_blocks(bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut members = split(bytes);
    if members.is_empty() {
        return None;
    }
    let (at, to) = (random.below(members.len()), random.below(members.len()));
    match random.below(7) {
        0 => members.swap(at, to),
        1 => members.insert(to, members[at].clone()),
        2 => drop(members.remove(at)),
        3 => members[at].truncate(random.below(bytes.len())),
        4 => members.push(
            random
                .pick(&[&b"\0"[..], b"\x1f\x8b", b"\x1f\x8b\x08\0", b"end", &[0; 512]])
                .to_vec(),
        ),
        5 => {
            let field = random.pick(&[&(0..12), &(12..16), &(16..20), &(20..24), &(24..28), &(28..32)]);
            let mut value = members[at][field.clone()].to_vec();
            change(&mut value, 0);
            value.resize(field.len(), 0);
            members[at][field.clone()].copy_from_slice(&value);
        }
        _ => {
            let end = members[at].len() - 8 * random.below(2);
            let mut inner = members[at][32..end].to_vec();
            change(&mut inner, 16);
            members[at].splice(32..end, inner);
            let length = members[at].len() as u32;
            members[at][16..20].copy_from_slice(&length.to_le_bytes());
            let crc = crc32(members[at].get(32..length as usize - 8)?);
            members[at][24..28].copy_from_slice(&crc.to_le_bytes());
        }
    }
    // Else every change of the order would end at the first wrong number.
    if random.one_in(2) {
        for (number, member) in members.iter_mut().enumerate() {
            if let Some(field) = member.get_mut(28..32) {
                field.copy_from_slice(&(number as u32).to_le_bytes());
            }
        }
    }
    Some(members.concat())
}

/// The tar layer and what is in it.
fn change_content(bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let mut archive = Archive::parse(bytes)?;
    if random.one_in(4) {
        archive.level = Compression::none();
    }
    if random.one_in(8) {
        archive.size = *random.pick(&[&((64 << 10) - 512), &(64 << 10), &100_000, &(128 << 10), &(1 << 20)]);
    }
    for _ in 0..1 + random.below(3) {
        change_entries(&mut archive, random);
    }
    if !random.one_in(4) {
        tell_the_truth(&mut archive);
    }
    Some(archive.to_bytes())
}

fn change_entries(archive: &mut Archive, random: &mut Random) {
    let count = archive.entries.len();
    let (at, to) = (random.below(count), random.below(count));
    match random.below(12) {
        0 if random.one_in(8) => archive.early = random.below(2048),
        0 => archive.blocks = !archive.blocks,
        1 => {
            let length = random.pick(&[&0, &511, &512, &513, &1024, &1536, &10240]);
            // More than the reader takes, but seldom: it takes its time.
            let length = if random.one_in(100) { 17 << 20 } else { *length };
            archive.end.resize(length, 0);
        }
        2 => change(&mut archive.end, 16),
        3 => archive.entries.insert(random.below(count + 1), strange(random)),
        _ if count == 0 => {}
        4 => archive.entries.swap(at, to),
        5 => archive.entries.insert(to, archive.entries[at].clone()),
        6 => drop(archive.entries.remove(at)),
        7 | 8 => {
            let entry = &mut archive.entries[at];
            let mut header = entry.header.to_vec();
            let field = random.pick(&[
                &(0..100),
                &(124..136),
                &(148..156),
                &(156..157),
                &(257..265),
                &(345..500),
                &(0..512),
            ]);
            let mut value = header[field.clone()].to_vec();
            change(&mut value, 0);
            value.resize(field.len(), 0);
            header[field.clone()].copy_from_slice(&value);
            entry.header.copy_from_slice(&header);
            if !random.one_in(8) {
                entry.set_sum();
            }
        }
        9 => {
            if let Some(entry) = archive.entry(DATABASE) {
                change_database(entry, random);
            }
        }
        _ => {
            let entry = &mut archive.entries[at];
            change(&mut entry.content, 64);
            if !random.one_in(8) {
                entry.set_size();
                entry.set_sum();
            }
        }
    }
}

/// A member that does not belong there, or that tar puts there for its own sake.
fn strange(random: &mut Random) -> Entry {
    let name = random.pick(&[
        DATABASE,
        METADATA,
        "./library.db",
        "../library.db",
        "PaxHeaders/library.db",
        "notes",
    ]);
    let kind = *random.pick(&[
        b"x", b"x", b"x", b"g", b"0", b"1", b"2", b"3", b"5", b"7", b"L", b"K", b"S", b"V", b"\0",
    ]);
    let records = [
        "19 path=library.db\n",
        "28 path=backup_metadata.json\n",
        "13 size=2048\n",
        "21 size=999999999999\n",
        "30 mtime=1770301822.123456789\n",
        "19 linkpath=/other\n",
        "22 GNU.sparse.major=1\n",
        "23 SCHILY.realsize=512\n",
        "12 path=abc\n",
        "9 nothing\n",
    ];
    let mut content = String::new();
    for _ in 0..1 + random.below(2) {
        content += records[random.below(records.len())];
    }
    Entry::new(name, kind[0], content.as_bytes())
}

fn change_database(entry: &mut Entry, random: &mut Random) {
    if entry.content.len() < 100 {
        return;
    }
    match random.below(3) {
        // The fields that the reader looks at: page size, change counter, page count, version-valid-for.
        0 => {
            let field = random.pick(&[&(0..16), &(16..18), &(24..28), &(28..32), &(92..96)]);
            let mut value = entry.content[field.clone()].to_vec();
            change(&mut value, 0);
            value.resize(field.len(), 0);
            entry.content[field.clone()].copy_from_slice(&value);
        }
        1 => entry.content.truncate(random.below(entry.content.len())),
        // Another length, with a header that says so; seldom one of up to three blocks.
        _ => {
            let pages = match random.below(24) {
                0 => random.pick(&[&2046, &2047, &2048, &4094, &4095, &4200]),
                _ => random.pick(&[&1, &2, &4, &7]),
            };
            entry.content.resize(pages * 512, 0);
            entry.content[16..18].copy_from_slice(&512_u16.to_be_bytes());
            entry.content[28..32].copy_from_slice(&(*pages as u32).to_be_bytes());
        }
    }
    entry.set_size();
    entry.set_sum();
}

/// Makes the metadata true of the database.
fn tell_the_truth(archive: &mut Archive) {
    let Some(database) = archive.entry(DATABASE) else {
        return;
    };
    let digest = hex(&Sha256::digest(&database.content));
    let size = database.content.len();
    let page_size = database
        .content
        .get(16..18)
        .map_or(0, |field| match (field[0], field[1]) {
            (0, 1) => 65536,
            (high, low) => u32::from(high) << 8 | u32::from(low),
        });
    let Some(metadata) = archive.entry(METADATA) else {
        return;
    };
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(&metadata.content) else {
        return;
    };
    let truth = [
        ("database_sha256", digest.into()),
        ("database_size_bytes", size.into()),
        ("page_size", page_size.into()),
    ];
    for (key, value) in truth {
        fields.entry(key).and_modify(|field| *field = value);
    }
    metadata.content = Value::Object(fields).to_string().into_bytes();
    metadata.set_size();
    metadata.set_sum();
}
