//! There and back again: libraries of every shape, byte for byte.

use std::path::Path;

use crate::generate::{AutoVacuum, Journal, Sample, Size};
use crate::support::*;

/// snapshot | pack > x; verify; restore; and the bytes are those of the library.
#[track_caller]
fn there_and_back(world: &World, library: &Path) -> Vec<u8> {
    let archive = world.archive_anew(library);
    world.verify(&archive).silent();
    let restored = world.path("restored.db");
    let restore = world
        .cmd("vpo-unpack-restore")
        .arg("--db")
        .arg(&restored)
        .args(["--current-schema", "99"]);
    restore.input(&archive).run().ok();
    let bytes = read(&restored);
    std::fs::remove_file(&restored).unwrap();
    same("there and back", &bytes, &unpack(&archive).0);
    bytes
}

#[test]
fn the_smallest_library() {
    let world = World::new();
    tiny(&world.library());
    let library = read(world.library());
    assert_eq!(library.len(), 3 * 512);
    same("tiny", &there_and_back(&world, &world.library()), &library);
    make(&files(0), &world.path("empty.db"));
    same(
        "no rows",
        &there_and_back(&world, &world.path("empty.db")),
        &read(world.path("empty.db")),
    );
}

#[test]
fn every_page_size() {
    let world = World::new();
    // Of the journal mode two bytes of the header tell, so that each page size is tried with one of the two.
    let journals = [Journal::Wal, Journal::Delete].into_iter().cycle();
    for (shift, journal) in (9..=16).zip(journals) {
        let library = world.path("library.db");
        make(
            &Sample {
                page_size: 1 << shift,
                journal,
                ..files(60)
            },
            &library,
        );
        println!("pages of {}, {journal:?}", 1 << shift);
        same("bytes", &there_and_back(&world, &library), &read(&library));
        std::fs::remove_file(&library).unwrap();
    }
}

#[test]
fn auto_vacuum() {
    let world = World::new();
    for auto_vacuum in [AutoVacuum::Full, AutoVacuum::Incremental] {
        let library = world.path("library.db");
        make(
            &Sample {
                auto_vacuum,
                ..files(200)
            },
            &library,
        );
        // With free pages inside, and at the end.
        sqlite(&library, "DELETE FROM files WHERE id % 3 = 0");
        same("bytes", &there_and_back(&world, &library), &read(&library));
        std::fs::remove_file(&library).unwrap();
    }
}

#[test]
fn lengths_around_a_block() {
    let world = World::new();
    // The database's own header in the tar takes 512 bytes of the first block.
    for pages in [2047, 2048, 2049, 4095, 4096, 4097] {
        let library = world.path("library.db");
        tiny(&library);
        let filler = (pages - 3 - 1) * (512 - 4);
        let sql = format!("CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob({filler}))");
        sqlite(&library, &sql);
        let have = read(&library).len() / 512;
        // One row more or less, until it fits exactly.
        let sql = format!(
            "UPDATE filler SET x = zeroblob({})",
            filler as i64 + (pages as i64 - have as i64) * 508
        );
        sqlite(&library, &format!("{sql}; VACUUM"));
        let bytes = read(&library);
        assert_eq!(bytes.len() / 512, pages as usize, "the test makes another length");
        same("bytes", &there_and_back(&world, &library), &bytes);
        std::fs::remove_file(&library).unwrap();
    }
}

#[test]
fn committed_rows_that_are_only_in_the_log() {
    let world = World::new();
    world.default_library();
    let mut peer = Peer::open(&world.library());
    peer.insert(50);
    let committed = dump(&world.library());
    let mut other = Peer::open(&world.library());
    other.sql("BEGIN IMMEDIATE");
    other.insert(50);
    assert_eq!(other.sql("SELECT count(*) FROM files"), "200");
    let back = there_and_back(&world, &world.library());
    same_content("there and back", &dump_bytes(&back), &committed);
    let db = world.path("check.db");
    write(&db, &back);
    assert_eq!(Peer::open(&db).sql("SELECT count(*) FROM files"), "150");
    other.sql("COMMIT");
    peer.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let back = there_and_back(&world, &world.library());
    same("after a checkpoint", &back, &read(world.library()));
}

#[test]
fn a_backup_of_a_backup_is_the_same() {
    let world = World::new();
    world.default_library();
    let first = world.archive_anew(&world.library());
    world
        .cmd("vpo-unpack-restore")
        .args(["--db", "again.db"])
        .input(&first)
        .run()
        .ok();
    same("the second", &world.archive_anew(&world.path("again.db")), &first);
}

/// Where a library is replaced, the restored one holds the same, and so do all backups of it from then on.
#[test]
fn back_and_forth_over_a_living_library() {
    let world = World::new();
    let mut before = String::new();
    world.make_library(&Sample { seed: 7, ..files(80) });
    for (n, journal) in [Journal::Wal, Journal::Delete, Journal::Wal].into_iter().enumerate() {
        let other = world.path(format!("{n}.db"));
        make(
            &Sample {
                seed: n as u64,
                journal,
                ..files(50 + 30 * n as u64)
            },
            &other,
        );
        let archive = world.archive_anew(&other);
        world
            .cmd("vpo-unpack-restore")
            .arg("--yes")
            .input(&archive)
            .run()
            .silent();
        let content = dump(&world.library());
        same_content("restored", &content, &dump(&other));
        assert_ne!(content, before);
        let again = world.archive_anew(&world.library());
        same_content("backed up again", &dump_bytes(&unpack(&again).0), &content);
        before = content;
    }
}

fn large(size: u64) {
    be_patient();
    let world = World::new();
    let facts = world.make_library(&Sample {
        size: Size::Bytes(size),
        ..Sample::default()
    });
    assert!(facts.database_size_bytes >= size);
    let (x, new) = (world.path("x.tar.gz"), world.path("new.db"));
    let file = std::fs::File::create(&x).unwrap();
    pipeline([world.cmd("vpo-snapshot"), world.cmd("vpo-pack").stdout(file)]).ok();
    world.cmd("vpo-verify").arg(&x).run().silent();
    world
        .cmd("vpo-unpack-restore")
        .arg("--db")
        .arg(&new)
        .arg(&x)
        .run()
        .silent();
    assert!(same_files(&world.library(), &new), "the restored library differs");
    // In place over another library, which is as large.
    let mut peer = Peer::open(&new);
    peer.insert(10);
    peer.close();
    let safety = ["--safety-dir", "safe"];
    world
        .cmd("vpo-unpack-restore")
        .args(["--yes", "--db"])
        .arg(&new)
        .args(safety)
        .arg(&x)
        .run()
        .silent();
    let mut peer = Peer::open(&new);
    assert_eq!(peer.sql("SELECT count(*) FROM files"), facts.file_count.to_string());
    assert_eq!(peer.sql("PRAGMA quick_check"), "ok");
    world.cmd("vpo-verify").arg("safe").run().silent();
    if has_tool("gzip", "gzip on a large archive") {
        world.tool("gzip").arg("-t").arg(&x).run().silent();
    }
}

fn same_files(a: &Path, b: &Path) -> bool {
    use std::io::Read;
    let (mut a, mut b) = (std::fs::File::open(a).unwrap(), std::fs::File::open(b).unwrap());
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let n = a.read(&mut left).unwrap();
        if n == 0 {
            return b.read(&mut right).unwrap() == 0;
        }
        if b.read_exact(&mut right[..n]).is_err() || left[..n] != right[..n] {
            return false;
        }
    }
}

#[test]
#[ignore = "takes a while: make test-large"]
fn large_300_megabytes() {
    large(300 << 20);
}

/// SQLite never writes the page at 1 GiB, where its lock bytes are; every copy must leave room for it.
#[test]
#[ignore = "takes minutes and 6 GB: make test-large"]
fn large_past_the_lock_byte_page() {
    large((1 << 30) + (20 << 20));
}

#[test]
#[ignore = "takes minutes and 6 GB: make test-large"]
fn large_pages_past_the_lock_byte_page() {
    be_patient();
    let world = World::new();
    for page_size in [512, 65536] {
        let library = world.path("library.db");
        make(
            &Sample {
                size: Size::Bytes((1 << 30) + (4 << 20)),
                page_size,
                ..Sample::default()
            },
            &library,
        );
        let x = world.path("x.tar.gz");
        let file = std::fs::File::create(&x).unwrap();
        let snapshot = world.cmd("vpo-snapshot").arg(&library);
        pipeline([snapshot, world.cmd("vpo-pack").stdout(file)]).ok();
        world
            .cmd("vpo-unpack-restore")
            .args(["--db", "new.db"])
            .arg(&x)
            .run()
            .silent();
        assert!(same_files(&library, &world.path("new.db")), "pages of {page_size}");
        for name in ["library.db", "new.db", "x.tar.gz"] {
            std::fs::remove_file(world.path(name)).unwrap();
        }
    }
}
