//! Mutations from a generator with a seed. What our reader accepts, gzip and Python's tarfile accept too, with the same
//! content.

use std::num::NonZero;
use std::time::{Duration, Instant};

use vpo_library::archive::{Layout, Metadata, Reader, TailMetadata, read_tail};
use vpo_library::database::Header;
use vpo_library::failure::{Kind, kind};

use crate::figures;
use crate::support::craft::*;
use crate::support::*;

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n.max(1)
    }

    /// A few changes of bits, bytes, and runs of bytes.
    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len());
            let run = 1 + self.below(40);
            let end = (at + run).min(bytes.len());
            match self.below(7) {
                _ if bytes.is_empty() => return,
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => drop(bytes.drain(at..end)),
                3 => bytes.truncate(at),
                4 => {
                    let copy = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, copy);
                }
                5 => {
                    let from = self.below(other.len());
                    let copy = &other[from..(from + run).min(other.len())];
                    bytes.splice(at..at, copy.iter().copied());
                }
                _ => bytes[at..end].reverse(),
            }
        }
    }
}

/// An input that is kept, by a name that is told, if the test fails while it is looked at.
struct Witness<'a> {
    what: &'static str,
    bytes: &'a [u8],
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = format!("fuzz-{}-{:08x}", self.what, crc32(self.bytes));
            let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
            let kept = std::fs::write(&path, self.bytes);
            eprintln!("the input that failed: {} {kept:?}", path.display());
        }
    }
}

#[test]
fn a_failing_input_is_kept() {
    let bytes = b"an input that fails";
    let failed = std::panic::catch_unwind(|| {
        let _witness = Witness { what: "test", bytes };
        panic!("on purpose");
    });
    assert!(failed.is_err());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-test-{:08x}", crc32(bytes)));
    assert_eq!(read(&path), bytes);
    std::fs::remove_file(path).unwrap();
}

/// What a full read says of an archive; an error has to be that of an invalid one.
fn full(bytes: &[u8], content: &mut Vec<u8>) -> Option<Metadata> {
    let input = Box::new(std::io::Cursor::new(bytes.to_vec()));
    match Reader::open(input, NonZero::<usize>::MIN).and_then(|reader| reader.unpack(content)) {
        Ok(contents) => Some(contents.metadata),
        Err(error) => {
            assert_eq!(kind(&error), Kind::InvalidArchive, "{error:#}");
            None
        }
    }
}

/// What its first header and its tail say: nothing else than a full read that finds it valid, and nothing at all only of
/// a plain archive.
fn tail(path: &std::path::Path, bytes: &[u8], full: Option<&Metadata>) -> Option<Metadata> {
    write(path, bytes);
    let seen = match read_tail(&std::fs::File::open(path).unwrap(), bytes.len() as u64) {
        Ok(TailMetadata::Blocks(metadata)) => Some(*metadata),
        Ok(TailMetadata::Other) => {
            let flags = bytes.get(3).is_some_and(|flags| flags & 4 != 0);
            assert!(full.is_none() || !flags, "blocks, and taken for something else");
            None
        }
        Err(error) => {
            assert_eq!(kind(&error), Kind::InvalidArchive, "{error:#}");
            assert!(full.is_none(), "valid, but for its tail: {error:#}");
            None
        }
    };
    if let (Some(seen), Some(full)) = (&seen, full) {
        assert_eq!(seen, full, "the tail says something else");
    }
    seen
}

fn length() -> Duration {
    Duration::from_millis(if exhaustive() { 60_000 } else { 500 })
}

#[test]
fn archives() {
    let world = World::new();
    let db = tiny_database();
    let mut truth = metadata(&db);
    let blocks = archive(&db, &truth);
    truth
        .as_object_mut()
        .unwrap()
        .retain(|key, _| key != "database_sha256" && key != "page_size");
    let tar = [entry("library.db", &db), ending(truth.to_string().as_bytes())].concat();
    let stored = plain(&tar);
    let mut random = Random(0x5eed);
    let (mut tried, mut accepted) = (0_u64, Vec::new());
    let start = Instant::now();
    while start.elapsed() < length() {
        // The gzip layer as it comes, or the tar layer in a gzip layer that is whole.
        let bytes = match random.below(4) {
            0 => {
                let mut bytes = blocks.clone();
                random.mutate(&mut bytes, &stored);
                bytes
            }
            1 => {
                let mut bytes = stored.clone();
                random.mutate(&mut bytes, &blocks);
                bytes
            }
            2 => {
                let mut bytes = tar.clone();
                random.mutate(&mut bytes, &blocks);
                gzip(&bytes)
            }
            _ => {
                let mut front = entry("library.db", &db);
                let mut end = ending(metadata(&db).to_string().as_bytes());
                if random.below(2) == 0 {
                    random.mutate(&mut front, &tar);
                } else {
                    random.mutate(&mut end, &tar);
                }
                blocks_of(&front, &end)
            }
        };
        tried += 1;
        let mut content = Vec::new();
        let witness = Witness {
            what: "archive",
            bytes: &bytes,
        };
        let metadata = full(&bytes, &mut content);
        // The file costs more than all the rest: as a rule only for what is accepted.
        if metadata.is_some() || tried.is_multiple_of(8) {
            tail(&world.path("tail.tar.gz"), &bytes, metadata.as_ref());
        }
        drop(witness);
        if let Some(metadata) = metadata {
            accepted.push((bytes, content, metadata));
        }
    }
    // What was accepted is accepted by others, with the same content.
    let compared = accepted.len().min(if exhaustive() { 500 } else { 8 });
    if has_tool("python3", "what Python makes of accepted archives") && has_tool("gzip", "what gzip makes of them") {
        let script = "import sys, tarfile, json\nt = tarfile.open(sys.argv[1], 'r:gz')\n\
                      held = {m.name.removeprefix('./'): t.extractfile(m).read() for m in t}\n\
                      assert sorted(held) == ['backup_metadata.json', 'library.db'] and len(t.getmembers()) == 2\n\
                      print(json.dumps(json.loads(held['backup_metadata.json'])), flush=True)\n\
                      sys.stdout.buffer.write(held['library.db'])";
        for (bytes, content, metadata) in accepted.iter().step_by(accepted.len().div_ceil(compared.max(1)).max(1)) {
            let _witness = Witness {
                what: "differential",
                bytes,
            };
            write(world.path("x.tar.gz"), bytes);
            world.tool("gzip").args(["-t", "x.tar.gz"]).run().ok();
            let out = world.tool("python3").args(["-c", script, "x.tar.gz"]).run().ok();
            let line = out.stdout.iter().position(|b| *b == b'\n').unwrap();
            same("Python's content", &out.stdout[line + 1..], content);
            let theirs: serde_json::Value = serde_json::from_slice(&out.stdout[..line]).unwrap();
            let ours = serde_json::to_value(metadata).unwrap();
            for (key, value) in ours.as_object().unwrap() {
                assert_eq!(theirs[key], *value, "Python's {key}");
            }
        }
    }
    figures(&format!(
        "fuzz: {tried} archives, {} accepted, {compared} compared with gzip and tarfile",
        accepted.len()
    ));
}

#[test]
fn tails_metadata_and_headers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let db = tiny_database();
    let text = metadata(&db).to_string().into_bytes();
    let blocks = archive(&db, &metadata(&db));
    let mut random = Random(0x7a11);
    let start = Instant::now();
    let truth = Metadata::parse(&text, Layout::Blocks).unwrap();
    let (mut tried, mut glimpsed) = (0_u64, 0_u64);
    while start.elapsed() < length() {
        let mut bytes = blocks.clone();
        random.mutate(&mut bytes, &text);
        let witness = Witness {
            what: "tail",
            bytes: &bytes,
        };
        let whole = full(&bytes, &mut Vec::new());
        // No checksum of the last block is right by chance: what it says is what it said.
        if let Some(seen) = tail(&path, &bytes, whole.as_ref()) {
            assert_eq!(seen, truth, "the tail says something else");
            glimpsed += 1;
        }
        drop(witness);
        for _ in 0..20 {
            let mut json = text.clone();
            random.mutate(&mut json, b"{}[]\":,0123456789eE+-.\\u0000\0\xff\xed\xa0\x80null");
            let _witness = Witness {
                what: "metadata",
                bytes: &json,
            };
            if let Ok(parsed) = Metadata::parse(&json, Layout::Blocks) {
                let again: serde_json::Value = serde_json::from_slice(&json).unwrap();
                for (key, value) in serde_json::to_value(&parsed).unwrap().as_object().unwrap() {
                    assert_eq!(again[key], *value, "{key}");
                }
            }
            let mut header = db[..100].to_vec();
            random.mutate(&mut header, &db);
            let bytes = header.clone();
            let _witness = Witness {
                what: "header",
                bytes: &bytes,
            };
            if let Ok(header) = Header::parse(&header) {
                assert!(header.page_size.is_power_of_two());
                let _ = (header.database_size(), header.check_size(random.below(1 << 30) as u64));
            }
            tried += 1;
        }
    }
    figures(&format!(
        "fuzz: {tried} metadata and headers, {} tails, {glimpsed} of them whole",
        tried / 20
    ));
    assert!(glimpsed > 0);
}

/// What came to light with the fuzz targets in `fuzz/`: by their runs, or by writing down what they demand.
#[test]
fn findings() {
    let db = tiny_database();
    let json = metadata(&db).to_string();
    let plain_with = |pax: &[(&str, u8)], edit: fn(&mut [u8; 512])| {
        let mut tar = Vec::new();
        for (records, kind) in pax {
            tar.extend(entry_with("PaxHeaders/library.db", records.as_bytes(), |h| {
                h[156] = *kind;
                edit(h);
            }));
        }
        if pax.is_empty() {
            tar.extend(entry_with("library.db", &db, edit));
        } else {
            tar.extend(entry("library.db", &db));
        }
        plain(&[tar, ending(json.as_bytes())].concat())
    };
    let none = |_: &mut [u8; 512]| {};
    let oldest = |h: &mut [u8; 512]| h[257..265].fill(0);
    let cases: [(&str, Vec<u8>, &str); 8] = [
        // Python's tarfile, and so VPO, took the member for 'abc/library.db'.
        (
            "a prefix in GNU's format",
            plain_with(&[], |h| {
                h[257..265].copy_from_slice(b"ustar  \0");
                h[345..348].copy_from_slice(b"abc");
            }),
            "to some readers 'library.db' has another name",
        ),
        (
            "a prefix in the oldest format",
            plain_with(&[], |h| {
                h[257..265].fill(0);
                h[345..348].copy_from_slice(b"abc");
            }),
            "to some readers 'library.db' has another name",
        ),
        // The last of two records counted here, the first in the tar crate.
        (
            "two PAX paths",
            plain_with(&[("12 path=abc\n19 path=library.db\n", b'x')], none),
            "a path or a size twice",
        ),
        (
            "two PAX sizes",
            plain_with(&[(&format!("10 size=1\n13 size={:04}\n", db.len()), b'x')], none),
            "a path or a size twice",
        ),
        // A PAX header to us, a file by that name to others.
        (
            "a PAX header in the oldest format",
            plain_with(&[("17 comment=hello\n", b'x')], oldest),
            "is not a regular file",
        ),
        (
            "a global PAX header in the oldest format",
            plain_with(&[("17 comment=hello\n", b'g')], oldest),
            "is not a regular file",
        ),
        // bsdtar makes holes of it.
        (
            "Solaris's sparse files",
            plain_with(&[("24 SUN.holesdata= 0 100\n", b'x')], none),
            "sparse files are not allowed",
        ),
        ("none of these", plain_with(&[("17 comment=hello\n", b'x')], none), ""),
    ];
    for (what, bytes, message) in cases {
        let input = Box::new(std::io::Cursor::new(bytes));
        let outcome = Reader::open(input, NonZero::<usize>::MIN).and_then(|reader| reader.unpack(&mut std::io::sink()));
        match outcome {
            Ok(_) => assert_eq!(message, "", "{what}"),
            Err(error) => assert!(
                !message.is_empty() && error.to_string().contains(message),
                "{what}: {error:#}"
            ),
        }
    }
}
