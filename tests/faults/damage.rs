//! Damage: the mutilation table, every bit, every length.

use std::io::Read;
use std::num::NonZero;
use std::path::Path;

use serde_json::Value;
use vpo_library::archive::{Metadata, Reader};
use vpo_library::backups;
use vpo_library::failure::{Kind, describe, kind};

use crate::support::craft::*;
use crate::support::*;
use crate::{chosen, figures};

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
        // Not millions of the shortest.
        let pieces = rest.chunks(sizes[0].max(4 << 10)).chain([&end[..]]);
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
    let cases = mutilations::all(&world);
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
    let cases = mutilations::all(&world);
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
    let cases = mutilations::all(&world);
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
    let archive = mutilations::pair(&world).a;
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
    for bit in chosen(archive.len() * 8, 800) {
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
        let bits = chosen(archive.len() * 8, 1200);
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
        let sample = if exhaustive() { 2000 } else { 20 };
        let end = if exhaustive() { 64 } else { 4 };
        let mut bits: Vec<usize> = (0..end * 8).chain((length - end) * 8..length * 8).collect();
        bits.extend((0..sample).map(|i| (i * 7919 * 104_729) % (length * 8)));
        let mut lengths: Vec<usize> = (0..end).chain(length - end..length).collect();
        lengths.extend((0..sample / 4).map(|i| (i * 7919 * 104_729) % length));
        unchanged_or_refused(name, &archive, bits, lengths);
    }
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
