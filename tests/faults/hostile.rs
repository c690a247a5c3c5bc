//! Archives and directories made to attack. Each ends within bounded time and memory, with a clear error, and nothing is
//! written outside its place.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::craft::*;
use crate::support::*;

/// No hostile archive may take longer: SQLite is stopped after six seconds of processor time, and other tests run
/// meanwhile.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Nor more address space, in KiB: the programs start threads, each with a stack that is mostly never touched.
const MEMORY_LIMIT: u64 = 600_000;
/// Nor really take more memory, in KiB: the 32 MiB that SQLite may have, twice that as malloc counts, blocks in
/// flight, and metadata.
const PEAK: u64 = 90 << 10;
const PEAK_PER_CORE: u64 = 6 << 10;

/// A program under a limit of memory.
fn bounded(world: &World, program: &str) -> Cmd {
    let script = format!("ulimit -v {MEMORY_LIMIT} && exec \"$0\" \"$@\"");
    world.cmd("sh").args(["-c", &script, executable(program)])
}

/// Runs one of the programs to its end, which has to come soon, and without much memory taken on the way.
#[track_caller]
fn in_bounds(what: &str, cmd: Cmd) -> Output {
    let began = Instant::now();
    let mut running = cmd.start();
    let mut peak = 0;
    // Nobody reads meanwhile: what fills the pipe is told from what hangs by `finish`.
    while running.is_running() && began.elapsed() < TIME_LIMIT {
        peak = peak.max(anonymous_memory(running.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    let out = running.finish();
    let taken = began.elapsed();
    assert!(taken < TIME_LIMIT, "{what}: {taken:?}: {}", out.stderr);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let bound = PEAK + PEAK_PER_CORE * cores;
    assert!(peak < bound, "{what}: {peak} KiB, bound {bound}");
    harmless(what, &out);
    out
}

/// Every program that takes an archive refuses this one, in bounded time and memory, and touches nothing.
#[track_caller]
fn refused(world: &World, what: &str, archive: &[u8], message: &str) {
    refused_as(world, what, archive, &[(46, message)]);
}

/// The same with one of these codes and its message.
#[track_caller]
fn refused_as(world: &World, what: &str, archive: &[u8], ways: &[(i32, &str)]) {
    let path = world.path(NAME);
    write(&path, archive);
    let judge = |out: &Output, said: &str| {
        let way = ways.iter().find(|(code, _)| out.status.code() == Some(*code));
        let Some((_, message)) = way else {
            panic!("{what}: {}, not {ways:?}: {said}", out.status);
        };
        assert!(
            !message.is_empty() && said.contains(message),
            "{what}: {message:?} is not in: {said}"
        );
    };
    let verified = in_bounds(what, bounded(world, "vpo-verify").arg(NAME));
    judge(&verified, &format!("{}{}", verified.text(), verified.stderr));
    world.clean();

    let restored = unchanged(&world.home(), || {
        in_bounds(what, bounded(world, "vpo-unpack-restore").args(["--yes", NAME]))
    });
    judge(&restored, &restored.stderr);

    in_bounds(what, bounded(world, "vpo-ls-backups").arg(world.path(""))).ok();
    std::fs::remove_file(path).unwrap();
    world.clean();
}

/// Nothing that steers a terminal, and no panic.
#[track_caller]
fn harmless(what: &str, out: &Output) {
    let stdout = String::from_utf8_lossy(&out.stdout);
    for text in [&*stdout, &out.stderr] {
        assert!(!text.contains("panicked"), "{what}: {text}");
        let bad = text.chars().find(|c| {
            (c.is_control() && *c != '\n')
                || ('\u{202a}'..='\u{202e}').contains(c)
                || ('\u{2066}'..='\u{2069}').contains(c)
        });
        assert_eq!(bad, None, "{what}: {text:?}");
    }
}

fn plain_metadata(db: &[u8]) -> Vec<u8> {
    let mut truth = metadata(db);
    truth
        .as_object_mut()
        .unwrap()
        .retain(|key, _| key != "database_sha256" && key != "page_size");
    truth.to_string().into_bytes()
}

/// A plain archive of these entries and true metadata.
fn plain_of(entries: &[Vec<u8>]) -> Vec<u8> {
    let db = tiny_database();
    plain(&[entries.concat(), ending(&plain_metadata(&db))].concat())
}

/// A PAX record with its own length in front.
fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    loop {
        let text = format!("{length}{rest}");
        if text.len() == length {
            return text;
        }
        length = text.len();
    }
}

fn pax(records: &[(&str, &str)], flag: u8) -> Vec<u8> {
    let text: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
    entry_with("PaxHeaders/library.db", text.as_bytes(), |h| h[156] = flag)
}

#[test]
fn members_that_are_no_plain_files_or_lie_elsewhere() {
    let world = World::new();
    world.default_library();
    let outside = world.path("outside");
    let db = tiny_database();
    let target = outside.to_str().unwrap().to_owned();
    let link = |flag: u8| {
        header("library.db", 0, |h| {
            h[156] = flag;
            h[157..157 + target.len().min(100)].copy_from_slice(&target.as_bytes()[..target.len().min(100)]);
        })
    };
    let mut cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "a symlink, then the file",
            plain_of(&[link(b'2'), entry("library.db", &db)]),
            "is a link",
        ),
        (
            "a hard link",
            plain_of(&[link(b'1'), entry("library.db", &db)]),
            "is a link",
        ),
        ("a character device", plain_of(&[link(b'3')]), "is a device"),
        ("a block device", plain_of(&[link(b'4')]), "is a device"),
        ("a directory", plain_of(&[link(b'5')]), "is a directory"),
        ("a FIFO", plain_of(&[link(b'6')]), "is a device"),
        (
            "GNU sparse",
            plain_of(&[entry_with("library.db", &db, |h| h[156] = b'S')]),
            "is a sparse file",
        ),
        (
            "an absolute path",
            plain_of(&[entry("/tmp/library.db", &db)]),
            "does not belong there",
        ),
        (
            "a parent path",
            plain_of(&[entry("../library.db", &db)]),
            "does not belong there",
        ),
        (
            "a parent path within",
            plain_of(&[entry("./../library.db", &db)]),
            "does not belong there",
        ),
        (
            "two dots",
            plain_of(&[entry("././library.db", &db)]),
            "does not belong there",
        ),
        (
            "a name with a NUL",
            plain_of(&[entry("library.db\0/../x", &db), entry("library.db", &db)]),
            "twice",
        ),
        (
            "a prefix",
            plain_of(&[entry_with("library.db", &db, |h| h[345..350].copy_from_slice(b"/etc/"))]),
            "does not belong",
        ),
        (
            "a PAX path",
            plain_of(&[pax(&[("path", "../../x")], b'x'), entry("library.db", &db)]),
            "another name",
        ),
        (
            "a small PAX size",
            plain_of(&[pax(&[("size", "512")], b'x'), entry("library.db", &db)]),
            "another size",
        ),
        (
            "a negative PAX size",
            plain_of(&[pax(&[("size", "-1")], b'x'), entry("library.db", &db)]),
            "not a number",
        ),
        (
            "a PAX link",
            plain_of(&[pax(&[("linkpath", "/etc/passwd")], b'x'), entry("library.db", &db)]),
            "links",
        ),
        (
            "PAX sparse",
            plain_of(&[pax(&[("GNU.sparse.major", "1")], b'x'), entry("library.db", &db)]),
            "sparse",
        ),
        (
            "a global PAX path",
            plain_of(&[pax(&[("path", "x")], b'g'), entry("library.db", &db)]),
            "global",
        ),
        (
            "two PAX headers",
            plain_of(&[pax(&[], b'x'), pax(&[], b'x'), entry("library.db", &db)]),
            "'PaxHeaders/library.db'",
        ),
        (
            "a PAX header alone",
            plain(&[pax(&[("mtime", "1")], b'x'), vec![0; 1024]].concat()),
            "without a member",
        ),
        (
            "a damaged PAX header",
            plain_of(&[
                entry_with("x", b"999 path=x\n", |h| h[156] = b'x'),
                entry("library.db", &db),
            ]),
            "a PAX header is damaged",
        ),
        (
            "a GNU long name",
            plain_of(&[
                entry_with("././@LongLink", b"../../etc/x\0", |h| h[156] = b'L'),
                entry("library.db", &db),
            ]),
            "long name",
        ),
        (
            "a GNU long link",
            plain_of(&[
                entry_with("././@LongLink", b"/etc/passwd\0", |h| h[156] = b'K'),
                entry("library.db", &db),
            ]),
            "long name",
        ),
    ];
    // Sizes up to 8 EiB: in octal, in base-256, in PAX.
    let another = "where its header says 1536";
    for (name, size, message) in [
        ("8 GiB", 1_u64 << 33, another),
        ("1 TiB", 1 << 40, another),
        ("281 TB", 0xffff_fffe * 65536, another),
        ("8 EiB", i64::MAX as u64, "which no SQLite database can have"),
    ] {
        let mut lie = header("library.db", size, |_| {});
        lie.extend_from_slice(&db);
        cases.push((name, plain(&lie), message));
        let blocks = blocks_of(&lie, &ending(metadata(&db).to_string().as_bytes()));
        cases.push((name, blocks, message));
        let lie = [pax(&[("size", &size.to_string())], b'x'), lie].concat();
        cases.push((name, plain(&lie), message));
    }
    for (what, archive, message) in &cases {
        // More than the disk has free ends with 44.
        let ways = [(46, *message), (44, "not enough space")];
        let full = ["8 GiB", "1 TiB", "281 TB"].contains(what);
        refused_as(&world, what, archive, &ways[..1 + usize::from(full)]);
    }
    assert!(!outside.exists());
}

/// A gzip file of `front`, so many MiB of zeros and `back`. The zeros are compressed once: after a full flush (RFC 1951
/// 3.2.4) nothing refers to what was before, and the same bytes are a MiB of them each time.
fn with_zeros(front: &[u8], mib: u32, back: &[u8]) -> Vec<u8> {
    let mut deflate = flate2::Compress::new(flate2::Compression::fast(), false);
    let mut crc = flate2::Crc::new();
    let mut part = |content: &[u8], flush| {
        let mut part = Vec::with_capacity(content.len() + MIB);
        deflate.compress_vec(content, &mut part, flush).unwrap();
        assert!(part.len() < part.capacity());
        let mut crc = flate2::Crc::new();
        crc.update(content);
        (part, crc)
    };
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut add = |(part, of): &(Vec<u8>, flate2::Crc)| {
        out.extend_from_slice(part);
        crc.combine(of);
    };
    add(&part(front, flate2::FlushCompress::Full));
    let zeros = part(&[0; MIB], flate2::FlushCompress::Full);
    for _ in 0..mib {
        add(&zeros);
    }
    add(&part(back, flate2::FlushCompress::Finish));
    out.extend(crc.sum().to_le_bytes());
    out.extend(crc.amount().to_le_bytes());
    out
}

/// What decompresses to a thousand times its size: bounded by the size that the header declares, or by the padding.
#[test]
fn bombs() {
    let world = World::new();
    world.default_library();
    let db = tiny_database();
    let end = ending(&plain_metadata(&db));
    let mib: u32 = if exhaustive() { 1024 } else { 112 };
    let zeros = |mib: u32| with_zeros(&[entry("library.db", &db), end.clone()].concat(), mib, &[]);
    refused(&world, "zeros at the end", &zeros(mib), "endless zeros");
    // A header that lies, and content to match it: no database begins with zeros.
    refused(
        &world,
        "zeros for a database",
        &with_zeros(&header("library.db", 2 << 30, |_| {}), mib, &[]),
        "does not begin as a SQLite database",
    );
    // A header that tells the truth: the page count is that of the zeros, so that all of them are unpacked.
    let whole = |front: &[u8]| {
        let mut first = header("library.db", u64::from(mib) << 20, |_| {});
        first.extend_from_slice(front);
        first.resize(first.len() + MIB - front.len(), 0);
        let archive = with_zeros(&first, mib - 1, &end);
        assert!(archive.len() < (mib as usize) << 14, "{} bytes", archive.len());
        archive
    };
    let mut front = db.clone();
    front[28..32].copy_from_slice(&(mib << 11).to_be_bytes());
    let mut cases = vec![("zeros after a database", front.clone())];
    if exhaustive() {
        cases.push(("a gibibyte of zeros behind a header", front[..100].to_vec()));
    }
    for (what, front) in cases {
        refused(&world, what, &whole(&front), "the database inside is damaged");
    }
    // Blocks of zeros: each 1 KiB in the file and 1 MiB in memory.
    let mut blocks = blocks_of_size(MIB, &[entry("library.db", &db), vec![0; MIB]].concat()[..MIB], &[]);
    let (deflated, crc) = (deflate(&[0; MIB]), crc32(&[0; MIB]));
    for n in 1..600 {
        blocks.extend(block_around(n, &deflated, crc, MIB as u32));
    }
    refused(&world, "blocks of zeros", &blocks, "endless zeros");
    // Nested: a bomb inside is only bytes.
    let inner = zeros(16);
    refused(
        &world,
        "an archive in an archive",
        &plain_of(&[entry("library.db", &inner)]),
        "does not begin as a SQLite",
    );
}

#[test]
fn a_million_members() {
    let world = World::new();
    world.default_library();
    let db = tiny_database();
    let thousands = if exhaustive() { 1000 } else { 30 };
    let many = |entry: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let thousand = entry.repeat(1000);
        for _ in 0..thousands {
            encoder.write_all(&thousand).unwrap();
        }
        encoder.finish().unwrap()
    };
    refused(
        &world,
        "empty members",
        &many(&entry("x", b"")),
        "does not belong there",
    );
    refused(&world, "databases", &many(&entry("library.db", &db)), "twice");
    refused(
        &world,
        "PAX headers",
        &many(&pax(&[("mtime", "1")], b'x')),
        "'PaxHeaders/library.db'",
    );
    refused(
        &world,
        "global headers",
        &many(&pax(&[("mtime", "1")], b'g')),
        "'PaxHeaders/library.db'",
    );
    refused(
        &world,
        "gzip members",
        &gzip(b"").repeat(thousands * 1000),
        "several plain",
    );
    // And blocks of one byte each, of which the first one is one too many.
    let first = blocks_of(&[entry("library.db", &db), vec![0; BLOCK]].concat()[..BLOCK], &[]);
    let tiny: Vec<u8> = (1..20_000).flat_map(|n| block(n, &[0])).collect();
    refused(&world, "blocks of one byte", &[first, tiny].concat(), "too short");
}

/// A tail of headers of blocks that all reach to its end, each of which would have to be checked: seconds for one file.
#[test]
fn a_tail_of_forged_headers() {
    let world = World::new();
    let db = tiny_database();
    let forged = 32_000_usize;
    let mut archive = block(0, &entry("library.db", &db));
    for n in 0..forged {
        let header = block(1, b"x");
        let mut header = header[..32].to_vec();
        header[16..20].copy_from_slice(&(((forged - n) * 32) as u32).to_le_bytes());
        archive.extend(header);
    }
    write(world.path(NAME), &archive);
    let mut fastest = TIME_LIMIT;
    for _ in 0..3 {
        let began = Instant::now();
        let out = in_bounds(
            "forged headers",
            bounded(&world, "vpo-ls-backups").args(["--json", "."]),
        );
        fastest = fastest.min(began.elapsed());
        let report = out.ok().json();
        let row = &report["backups"][0];
        assert_eq!(report["total_count"], 1, "{report}");
        assert_eq!(row["filename"], NAME, "{report}");
        assert!(row["file_count"].is_null(), "{report}");
        let error = row["error"].as_str().unwrap_or_default();
        assert!(error.contains("damaged at its end"), "{report}");
    }
    // One of the three was not kept waiting by other tests.
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    world.default_library();
    refused(&world, "forged headers", &archive, "block 1 is damaged");
}

#[test]
fn metadata_without_bounds() {
    let world = World::new();
    world.default_library();
    let db = tiny_database();
    // A gibibyte that is one long string, in a plain archive; the size is told, so that it is never read.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&entry("library.db", &db)).unwrap();
    encoder
        .write_all(&header("backup_metadata.json", 1 << 30, |_| {}))
        .unwrap();
    // More of it than a program may take.
    for _ in 0..if exhaustive() { 1024 } else { 128 } {
        encoder.write_all(&[b' '; MIB]).unwrap();
    }
    refused(&world, "a gibibyte", &encoder.finish().unwrap(), "more than 1048576");
    let truth = metadata(&db).to_string();
    let inside = truth.trim_end_matches('}');
    for (what, text) in [
        ("nested lists", format!("{inside},\"x\":{}", "[".repeat(500_000))),
        (
            "nested objects",
            format!("{inside},\"x\":{}", "{\"x\":".repeat(100_000)),
        ),
        (
            "nested and closed",
            format!("{inside},\"x\":{}{}}}", "[".repeat(400_000), "]".repeat(400_000)),
        ),
        ("many keys", {
            let keys: Vec<String> = (0..60_000).map(|n| format!("\"{n}\":0")).collect();
            format!("{inside},{},\"0\":1}}", keys.join(","))
        }),
        (
            "a number of a megabyte",
            format!("{inside},\"file_count\":{}}}", "9".repeat(1_000_000)),
        ),
        ("a key of a megabyte, twice", {
            let key = "k".repeat(500_000);
            format!("{inside},\"{key}\":1,\"{key}\":2}}")
        }),
    ] {
        refused(&world, what, &archive_raw(&db, text.as_bytes()), "backup_metadata.json");
        let short = bounded(&world, "vpo-verify")
            .input(&archive_raw(&db, text.as_bytes()))
            .run();
        assert!(
            short.stdout.len() < 20_000,
            "{what}: a report of {} bytes",
            short.stdout.len()
        );
    }
}

/// Strings and file names that steer a terminal or deceive its reader are never shown raw.
#[test]
fn nothing_steers_the_terminal() {
    let world = World::new();
    world.default_library();
    let db = tiny_database();
    let evil = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n\u{202e}gpj.exe\u{2066}\u{9b}31m\u{7f}";
    let mut truth = metadata(&db);
    truth["vpo_version"] = json!(evil);
    truth[evil] = json!(evil);
    let good = archive(&db, &truth);
    let dir = world.path(format!("dir-{}", evil.replace('/', "_")));
    std::fs::create_dir(&dir).unwrap();
    let evil_name = format!("vpo-library-{}.tar.gz", evil.replace('/', "_"));
    write(dir.join(&evil_name), &good);
    write(dir.join("vpo-library-bad\u{1b}[31m.tar.gz"), b"no archive");
    let missing = dir.join("missing\u{1b}[31m");
    let mut outs = vec![
        world.cmd("vpo-verify").arg(&dir).run(),
        world.cmd("vpo-verify").arg("-q").arg(&dir).run(),
        world.cmd("vpo-verify").arg("-v").arg(&dir).run(),
        world.cmd("vpo-verify").arg(&missing).run(),
        world.cmd("vpo-verify").arg("--json").arg(&dir).run(),
        world.cmd("vpo-ls-backups").arg(&dir).run(),
        world.cmd("vpo-ls-backups").arg("--json").arg(&dir).run(),
        world.cmd("vpo-ls-backups").arg("-v").arg(&missing).run(),
        world
            .cmd("vpo-unpack-restore")
            .arg("--dry-run")
            .arg(dir.join(&evil_name))
            .run(),
        world
            .cmd("vpo-unpack-restore")
            .args(["--dry-run", "--json"])
            .arg(dir.join(&evil_name))
            .run(),
        world
            .cmd("vpo-unpack-restore")
            .arg("--yes")
            .arg("--db")
            .arg(dir.join("new\u{1b}.db"))
            .arg(dir.join(&evil_name))
            .run(),
        world.cmd("vpo-unpack-restore").arg("--yes").arg(&missing).run(),
        world.cmd("vpo-snapshot").arg(&missing).run(),
        world
            .cmd("vpo-library")
            .arg("--backup-dir")
            .arg(&dir)
            .arg("verify")
            .run(),
        world
            .cmd("vpo-library")
            .arg("--backup-dir")
            .arg(&dir)
            .arg("backups")
            .run(),
        world
            .cmd("vpo-library")
            .arg("-v")
            .arg("--backup-dir")
            .arg(&dir)
            .args(["restore", "--yes", "latest"])
            .run(),
        world
            .cmd("vpo-library")
            .arg("-v")
            .arg("--backup-dir")
            .arg(&dir)
            .arg("backup")
            .run(),
        world.cmd("vpo-library").arg("--db").arg(&missing).arg("backup").run(),
        world
            .cmd("vpo-library")
            .arg("backup")
            .arg("-o")
            .arg(dir.join("\u{1b}out.tar.gz"))
            .run(),
        world
            .cmd("vpo-library")
            .arg("backup")
            .arg("-o")
            .arg(dir.join("\u{1b}out.zip"))
            .run(),
        world.cmd("vpo-library").arg("\u{1b}[2J").run(),
        world.cmd("vpo-pack").arg("--\u{1b}[2J").run(),
        world.cmd("vpo-pack").arg("--level=\u{1b}[2J").run(),
    ];
    // Where members and errors name what is in the archive.
    for bad in [
        plain_of(&[entry("x\u{1b}[2J\u{202e}.db", &db)]),
        archive_raw(&db, "{\"\u{202e}\":1,\"\u{202e}\":1}".as_bytes()),
        archive(
            &tiny_with("DROP TABLE files; CREATE TABLE \"\u{1b}[2J\" (x)"),
            &metadata(&db),
        ),
    ] {
        outs.push(world.verify(&bad).exits(46));
        outs.push(
            world
                .cmd("vpo-unpack-restore")
                .arg("--dry-run")
                .input(&bad)
                .run()
                .exits(46),
        );
    }
    for out in outs {
        harmless(&out.name.clone(), &out);
    }
}

/// What is not a regular file, in the place of an archive.
#[test]
fn what_is_no_file() {
    let world = World::new();
    world.default_library();
    let dir = world.path("backups");
    std::fs::create_dir(&dir).unwrap();
    let named = |n: u32| dir.join(format!("vpo-library-2026-02-05T14302{n}Z.tar.gz"));
    std::fs::create_dir(named(0)).unwrap();
    world.tool("mkfifo").arg(named(1)).run().ok();
    let _listener = std::os::unix::net::UnixListener::bind(world.path("s")).unwrap();
    std::fs::rename(world.path("s"), named(2)).unwrap();
    symlink("/dev/zero", named(3)).unwrap();
    symlink("/dev/tty", named(4)).unwrap();
    symlink(named(5), named(5)).unwrap();
    symlink("nowhere", named(6)).unwrap();
    symlink(named(1), named(7)).unwrap();
    let good = world.pack(&tiny_database());
    write(named(8), &good);
    for name in ["vpo-ls-backups", "vpo-verify"] {
        let began = Instant::now();
        let out = world.cmd(name).arg("--json").arg(&dir).run().ok();
        assert_eq!(out.json()["total_count"], 1, "{name}: {}", out.json());
        assert!(began.elapsed() < TIME_LIMIT);
    }
    // Named by the user they are read, as far as that is possible.
    for (n, code) in [(0, 20), (2, 40), (5, 40), (6, 20)] {
        let out = world.cmd("vpo-verify").arg(named(n)).run();
        assert_eq!(out.status.code(), Some(code), "{n}: {} {}", out.text(), out.stderr);
    }
    let out = bounded(&world, "vpo-verify").arg("/dev/zero").run().exits(46);
    assert!(out.text().contains("not a gzip file"), "{}", out.text());
    bounded(&world, "vpo-verify").arg("/dev/null").run().exits(46);
    world
        .cmd("vpo-unpack-restore")
        .args(["--yes", "/dev/zero"])
        .run()
        .fails(46, &["not a gzip file"]);
    world
        .cmd("vpo-unpack-restore")
        .arg("--yes")
        .arg(named(0))
        .run()
        .fails(2, &["is a directory"]);
    // A FIFO is a stream.
    let feeder = {
        let (fifo, good) = (named(1), good.clone());
        std::thread::spawn(move || std::fs::write(fifo, good))
    };
    world.cmd("vpo-verify").arg(named(1)).run().ok();
    feeder.join().unwrap().unwrap();
    // In the place of a library.
    for what in ["backups", "/dev/zero"] {
        world.cmd("vpo-snapshot").arg(what).run().fails(42, &[what]);
        let out = world
            .cmd("vpo-unpack-restore")
            .args(["--yes", "--db", what])
            .input(&good)
            .run();
        assert!([Some(40), Some(42)].contains(&out.status.code()), "{}", out.stderr);
    }
}

/// Databases that are slow to open, or would run something when looked into.
#[test]
fn databases_made_to_attack() {
    let world = World::new();
    world.default_library();
    let truth = |db: &[u8]| {
        let mut truth = metadata(&tiny_database());
        truth["database_size_bytes"] = json!(db.len());
        truth["database_sha256"] = json!(sha256(db));
        truth
    };
    let made = |sql: &str| {
        let db = tiny_with(sql);
        archive(&db, &truth(&db))
    };
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    for (what, sql) in [
        (
            "a view by the name files",
            "ALTER TABLE files RENAME TO f; CREATE VIEW files AS SELECT 1 AS size_bytes".to_owned(),
        ),
        (
            "an endless view",
            format!("DROP TABLE files; CREATE VIEW files(size_bytes) AS {endless}"),
        ),
        (
            "an endless view by the name _meta",
            format!("DROP TABLE _meta; CREATE VIEW _meta(key, value) AS {endless}"),
        ),
    ] {
        refused(
            &world,
            what,
            &made(&sql),
            "the database inside is damaged or not a VPO library",
        );
    }
    // A virtual table by the name files, which needs no root page.
    let virtual_table = tiny_with(
        "DROP TABLE files; PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema VALUES ('table', 'files', 'files', 0, 'CREATE VIRTUAL TABLE files USING sqlite_dbpage')",
    );
    refused(
        &world,
        "a virtual table",
        &archive(&virtual_table, &truth(&virtual_table)),
        "the database inside",
    );
    for (what, entry) in [
        (
            "a schema that is not a SQL",
            "('table', 'x', 'x', 2, 'CREATE TABLE x (((((')",
        ),
        (
            "a table on a page that is not there",
            "('table', 'x', 'x', 99999, 'CREATE TABLE x (y)')",
        ),
        (
            "an index on a table that is not there",
            "('index', 'x', 'nothing', 2, 'CREATE INDEX x ON nothing (y)')",
        ),
    ] {
        let db = tiny_with(&format!(
            "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES {entry}"
        ));
        refused(&world, what, &archive(&db, &truth(&db)), "the database inside");
    }
    // Harmless though strange: triggers and views beside the tables are content like any other, and nothing runs.
    let strange = made(&format!(
        "CREATE VIEW v AS {endless};
         CREATE TRIGGER t AFTER INSERT ON files BEGIN INSERT INTO files SELECT NULL, 'x', 1 FROM v; END"
    ));
    let began = Instant::now();
    bounded(&world, "vpo-verify").input(&strange).run().ok();
    assert!(began.elapsed() < TIME_LIMIT);
}

/// A library whose `table` has 100,000 rows of one number, and these columns by its schema.
fn with_columns(table: &str, columns: &str) -> Vec<u8> {
    // The rows come first, or the expressions would be computed here.
    let db = tiny_with(&format!(
        "DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (id INTEGER); \
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
         INSERT INTO {table} SELECT i FROM n; \
         PRAGMA writable_schema = ON; \
         UPDATE sqlite_schema SET sql = 'CREATE TABLE {table} ({})' WHERE name = '{table}'",
        columns.replace('\'', "''")
    ));
    // Not asked of the database itself, which would take as long.
    let mut metadata = metadata(&tiny_database());
    metadata["database_size_bytes"] = json!(db.len());
    metadata["database_sha256"] = json!(sha256(&db));
    archive(&db, &metadata)
}

/// Expressions in the schema that would take minutes: SQLite is stopped after six seconds of processor time. Only the
/// constraint is never computed, because SQLite knows of none where a database is read-only.
#[test]
fn slow_expressions_in_the_schema() {
    if !at_leisure("slow expressions in a schema") {
        return;
    }
    // Of a column, or it would be computed once; no longer than SQLite's limit here, or it would be an error at once.
    let slow = "length(replace(hex(zeroblob(240000 + (id & 1))), '0', '01'))";
    let cases = [
        ("slow", format!("id INTEGER, CHECK ({slow} > 0)"), 0, "ok"),
        (
            "slow",
            format!("id INTEGER, x TEXT AS ({slow})"),
            46,
            "keeps SQLite busy",
        ),
        (
            "files",
            format!("id INTEGER, size_bytes INTEGER AS ({slow})"),
            46,
            "keeps SQLite busy",
        ),
        (
            "_meta",
            format!("id INTEGER, value INTEGER, key TEXT AS ({slow})"),
            46,
            "keeps SQLite busy",
        ),
    ];
    let running = cases.into_iter().map(|(table, columns, status, says)| {
        let world = World::new();
        let archive = with_columns(table, &columns);
        let began = Instant::now();
        let verify = bounded(&world, "vpo-verify").input(&archive).start();
        (verify, began, columns, status, says, world)
    });
    let running: Vec<_> = running.collect();
    for (verify, began, columns, status, says, world) in running {
        let out = verify.finish().exits(status);
        assert!(out.text().contains(says), "{columns}: {}", out.text());
        // Other tests run meanwhile.
        let taken = began.elapsed();
        assert!(taken < Duration::from_secs(60), "{columns}: {taken:?}");
        world.clean();
    }
}

/// Statistics that make SQLite look through all tracks for each file, in a comparison: stopped after six seconds, too.
#[test]
fn slow_statistics() {
    if !at_leisure("slow statistics") {
        return;
    }
    let world = World::new();
    let slow = world.path("slow.db");
    sqlite(
        &slow,
        "CREATE TABLE _meta (key, value); INSERT INTO _meta VALUES ('schema_version', '27');
         CREATE TABLE files (id INTEGER PRIMARY KEY, path); CREATE TABLE tracks (id, file_id, track_index);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
         INSERT INTO files SELECT i, '/' || i FROM n;
         INSERT INTO tracks SELECT id, id, 1 FROM files; ANALYZE; DELETE FROM sqlite_stat1;
         INSERT INTO sqlite_stat1 VALUES ('files', NULL, '1'), ('tracks', NULL, '1')",
    );
    write(world.path("slow.tar.gz"), &world.archive_of(&slow));
    let out = world.cmd("vpo-diff").args(["slow.tar.gz", "slow.tar.gz"]).run();
    out.fails(
        46,
        &[
            "'slow.tar.gz' is not a complete backup",
            "it keeps SQLite busy for longer than a library of its size can",
        ],
    );
    world.clean();
}

/// An expression in the schema whose value is longer than the database.
#[test]
fn swelling_expressions_in_the_schema() {
    let swelling = "length(hex(zeroblob(1000000 + id)))";
    let archive = with_columns("files", &format!("id INTEGER, size_bytes INTEGER AS ({swelling})"));
    refused(&World::new(), swelling, &archive, "too big");
}

/// A database whose schema has these entries besides, which nobody has read so far; and an archive of it.
fn with_schema(insert: &str) -> Vec<u8> {
    let db = database(|path| {
        sqlite(path, "PRAGMA page_size = 4096");
        tiny(path);
        sqlite(
            path,
            &format!("PRAGMA synchronous = OFF; PRAGMA writable_schema = ON; {insert}"),
        );
    });
    let mut metadata = metadata(&tiny_database());
    metadata["database_size_bytes"] = json!(db.len());
    metadata["database_sha256"] = json!(sha256(&db));
    archive(&db, &metadata)
}

/// A schema that takes SQLite a hundred times its size in memory, or minutes: 5 MB took 500 MB, and 20 MB took 1.8 GB
/// and were a valid backup.
#[test]
fn giant_schemas() {
    // One of them is in the next test.
    if !at_leisure("giant schemas") {
        return;
    }
    let world = World::new();
    world.default_library();
    let numbers = |n: u32| format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})");
    let columns = |n: u32| (0..n).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",");
    let tables = |count: u32, columns: &str| {
        format!(
            "{} INSERT INTO sqlite_schema
             SELECT 'table', 't' || i, 't' || i, 2, 'CREATE TABLE t' || i || '({columns})' FROM n",
            numbers(count)
        )
    };
    let memory = "takes SQLite more memory than a library can";
    let view = |n: u32| {
        format!(
            "INSERT INTO sqlite_schema SELECT 'view', 'v', 'v', 0,
             'CREATE VIEW v AS SELECT 1 IN (' || replace(hex(zeroblob({n})), '00', '1,') || '1)'"
        )
    };
    let cases = [
        ("a view of a million numbers", view(1_000_000), memory),
        ("100,000 tables", tables(100_000, &columns(40)), memory),
        ("tables of 2000 columns", tables(1200, &columns(2000)), memory),
    ];
    for (what, insert, message) in &cases {
        refused(&world, what, &with_schema(insert), message);
    }
    // Few columns, so that it is the time that runs out, or the doubled root page that is seen.
    let archive = with_schema(&tables(200_000, "x"));
    let began = Instant::now();
    bounded(&world, "vpo-verify").input(&archive).run().exits(46);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// Memory that a stage took away says nothing about a library: it is not told to be damaged, nor moved.
#[test]
fn a_giant_schema_is_no_damage_of_the_library() {
    let world = World::new();
    world.default_library();
    let view = "INSERT INTO sqlite_schema SELECT 'view', 'v', 'v', 0,
                'CREATE VIEW v AS SELECT 1 IN (' || replace(hex(zeroblob(1000000)), '00', '1,') || '1)'";
    let archive = with_schema(view);
    let database = unpack(&archive).0;
    write(world.path("giant.db"), &database);
    // What bounds a stage does not bound a library.
    world.cmd("vpo-snapshot").arg("giant.db").run().ok();
    world.cmd("vpo-pack").stdin_file(&world.path("giant.db")).run().ok();
    for args in [
        vec!["--yes", "--db", "giant.db"],
        vec!["--dry-run", "--db", "giant.db"],
        vec!["--yes"],
        vec!["--dry-run"],
    ]
    .into_iter()
    .step_by(if exhaustive() { 1 } else { 3 })
    {
        let out = unchanged(&world.home(), || {
            world.cmd("vpo-unpack-restore").args(&args).input(&archive).run()
        });
        out.fails(46, &["the database inside"]);
        same("the library", &read(world.path("giant.db")), &database);
    }
    assert!(names(&world.path("")).iter().all(|name| !name.contains("replaced")));
    world.clean();
}

/// Links that somebody planted where an output is to go.
#[test]
fn planted_links_are_not_followed() {
    let world = World::new();
    world.default_library();
    let victim = world.path("victim");
    write(&victim, b"precious");
    let good = world.archive_of(&world.library());
    let dir = world.path("shared");
    std::fs::create_dir(&dir).unwrap();
    let check = || assert_eq!(read(&victim), b"precious");

    // In the place of an output that is named.
    for (name, target) in [
        ("a.tar.gz", victim.clone()),
        ("b.tar.gz", world.path("not-there")),
        ("c.tar.gz", dir.join("c.tar.gz")),
    ] {
        symlink(&target, dir.join(name)).unwrap();
        let out = world
            .cmd("vpo-verify")
            .arg("--save")
            .arg(dir.join(name))
            .input(&good)
            .run();
        out.fails(40, &[name, "exists"]);
        let out = world
            .cmd("vpo-library")
            .arg("backup")
            .arg("-o")
            .arg(dir.join(name))
            .run();
        out.fails(40, &[name, "exists"]);
        check();
        assert!(!world.path("not-there").exists());
    }
    // In the place of the standard name: the next one is taken.
    let first = dir.join(NAME);
    symlink(&victim, &first).unwrap();
    world
        .cmd("vpo-verify")
        .arg("--save")
        .arg(&dir)
        .input(&world.pack(&tiny_database()))
        .run()
        .ok();
    check();
    assert_eq!(first.read_link().unwrap(), victim);
    assert!(dir.join(NAME.replace("Z.tar", "Z-2.tar")).exists());

    // Planted left-overs of other kinds than ours: links, FIFOs, directories. None is followed, none hangs a program.
    for place in [world.scratch(), world.home().join(".vpo")] {
        symlink(&victim, place.join(".vpo-aaaaaaaaaaaa.tmp")).unwrap();
        std::fs::create_dir(place.join(".vpo-bbbbbbbbbbbb.tmp")).unwrap();
        let fifo = place.join(".vpo-cccccccccccc.tmp");
        world.tool("mkfifo").arg(fifo).run().ok();
        symlink(&victim, place.join(".vpo-dddddddddddd.tmp-wal")).unwrap();
    }
    world.verify(&good).ok();
    world.cmd("vpo-library").arg("backup").run().ok();
    world.cmd("vpo-unpack-restore").arg("--yes").input(&good).run().ok();
    check();

    // The log file of the wrapper may be a link of its owner's; a library that is a link is followed by contract.
    let library = world.library();
    let moved = world.path("moved.db");
    std::fs::rename(&library, &moved).unwrap();
    symlink(&moved, &library).unwrap();
    world.cmd("vpo-unpack-restore").arg("--yes").input(&good).run().ok();
    assert_eq!(library.read_link().unwrap(), moved);
    check();
}

/// `--json` stays one document, whatever is in an archive.
#[test]
fn hostile_strings_in_json() {
    let world = World::new();
    let db = tiny_database();
    let mut truth = metadata(&db);
    truth["vpo_version"] = json!("\u{0}\"}\n{\"success\": true, \u{202e}");
    write(world.path("a.tar.gz"), &archive(&db, &truth));
    for args in [
        vec!["--json", "a.tar.gz"],
        vec!["--json", "--no-database-check", "a.tar.gz"],
    ] {
        let out = world.cmd("vpo-verify").args(args).run().ok();
        let report: Value = out.json();
        assert_eq!(report["archives"][0]["vpo_version"], truth["vpo_version"]);
    }
    let out = world
        .cmd("vpo-unpack-restore")
        .args(["--dry-run", "--json", "a.tar.gz"])
        .run()
        .ok();
    assert_eq!(out.json()["vpo_version"], truth["vpo_version"]);
    assert!(!Path::new(&world.library()).exists());
}
