//! `vpo-verify`: nothing passes that is not whole.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::*;

/// Verifies many small archives in few processes, and says which of them were called valid.
fn valid_ones(world: &World, archives: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<String> {
    let dir = world.path("mutants");
    let mut archives = archives.into_iter().peekable();
    let mut valid = Vec::new();
    while archives.peek().is_some() {
        std::fs::create_dir(&dir).unwrap();
        let mut paths: Vec<PathBuf> = Vec::new();
        let mut names = Vec::new();
        for (name, bytes) in archives.by_ref().take(400) {
            let path = dir.join(format!("{}.tar.gz", paths.len()));
            write(&path, &bytes);
            paths.push(path);
            names.push(name);
        }
        let out = world.cmd("vpo-verify").arg("--json").args(&paths).run();
        let json = out.json();
        let rows = json["archives"].as_array().unwrap();
        assert_eq!(rows.len(), names.len());
        let mut bad = 0;
        for (row, name) in rows.iter().zip(&names) {
            match row["valid"].as_bool().unwrap() {
                true => valid.push(name.clone()),
                false => bad += 1,
            }
        }
        assert_eq!(json["bad_count"], bad, "some are bad for another reason");
        out.exits(if bad > 0 { 46 } else { 0 });
        std::fs::remove_dir_all(&dir).unwrap();
    }
    valid
}

#[test]
fn an_archive_that_is_whole() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    write(world.path("x.tar.gz"), &archive);
    let line = "  created 2026-02-05T14:30:22Z, schema 27, 100 files, 636.0 KB\n";
    let by_name = world.cmd("vpo-verify").arg("x.tar.gz").run().silent();
    assert_eq!(by_name.text(), format!("ok  x.tar.gz{line}"));
    assert_eq!(world.verify(&archive).silent().text(), format!("ok  -{line}"));
    let both = world
        .cmd("vpo-verify")
        .args(["x.tar.gz", "-"])
        .input(&archive)
        .run()
        .silent();
    assert_eq!(both.text(), format!("ok  x.tar.gz{line}ok  -{line}"));
    world
        .cmd("vpo-verify")
        .arg("--no-database-check")
        .arg("x.tar.gz")
        .run()
        .silent();
    world.clean();
}

#[test]
fn the_report_as_json() {
    let world = World::new();
    let facts = world.default_library();
    let database = read(world.library());
    write(world.path("good.tar.gz"), &world.archive_of(&world.library()));
    write(world.path("bad.tar.gz"), b"bad");
    let out = world
        .cmd("vpo-verify")
        .args(["--json", "good.tar.gz", "bad.tar.gz", "missing.tar.gz"])
        .run();
    let json = out.exits(46).json();
    has_keys(&json, &["total_count", "bad_count", "archives"]);
    assert_eq!((&json["total_count"], &json["bad_count"]), (&json!(3), &json!(1)));
    let rows = json["archives"].as_array().unwrap();
    assert_eq!(
        rows[0],
        json!({
            "path": "good.tar.gz",
            "valid": true,
            "status": "ok",
            "error": null,
            "vpo_version": format!("vpo-library/{}", env!("CARGO_PKG_VERSION")),
            "schema_version": 27,
            "created_at": TIME,
            "database_size_bytes": facts.database_size_bytes,
            "file_count": 100,
            "total_library_size_bytes": facts.total_library_size_bytes,
            "compression": "gzip",
            "database_sha256": sha256(&database),
            "page_size": 4096,
            "compression_level": 6,
            "source_host": null,
            "source_path": null,
        })
    );
    for (row, path, status) in [(&rows[1], "bad.tar.gz", "bad"), (&rows[2], "missing.tar.gz", "unknown")] {
        assert_eq!((&row["path"], &row["valid"]), (&json!(path), &json!(false)));
        assert_eq!(row["status"], status);
        assert!(row["error"].as_str().is_some_and(|error| !error.is_empty()), "{row}");
    }
    let out = world.cmd("vpo-verify").args(["--json", "good.tar.gz"]).run().silent();
    assert_eq!(out.json()["bad_count"], 0);
    let out = world
        .cmd("vpo-verify")
        .args(["--json", "-q", "bad.tar.gz"])
        .run()
        .exits(46);
    assert_eq!(out.json()["bad_count"], 1);
}

#[test]
fn all_are_checked_and_the_worst_counts() {
    let world = World::new();
    world.default_library();
    write(world.path("good.tar.gz"), &world.archive_of(&world.library()));
    write(world.path("bad.tar.gz"), b"bad");
    std::fs::create_dir(world.path("empty")).unwrap();
    std::fs::create_dir(world.path("loop.tar.gz")).unwrap();
    std::os::unix::fs::symlink("circle.tar.gz", world.path("circle.tar.gz")).unwrap();
    let run = |args: &[&str]| world.cmd("vpo-verify").args(args).run();

    let out = run(&["bad.tar.gz", "missing.tar.gz", "circle.tar.gz", "good.tar.gz"]).exits(46);
    let lines: Vec<_> = out.text().lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("bad bad.tar.gz: "), "{lines:?}");
    assert!(lines[1].starts_with("??  missing.tar.gz: "), "{lines:?}");
    assert!(lines[2].starts_with("??  circle.tar.gz: "), "{lines:?}");
    assert!(lines[3].starts_with("ok  good.tar.gz  "), "{lines:?}");
    run(&["missing.tar.gz", "good.tar.gz"]).exits(20);
    run(&["circle.tar.gz", "missing.tar.gz", "good.tar.gz"]).exits(20);
    run(&["circle.tar.gz", "good.tar.gz"]).exits(40);
    run(&["empty"]).exits(20);
    run(&["empty", "good.tar.gz"]).exits(20);

    // Quietly: only the bad ones, on stderr.
    let out = run(&["-q", "bad.tar.gz", "good.tar.gz"]).exits(46);
    assert_eq!(out.stdout, b"");
    assert!(
        out.stderr.starts_with("bad bad.tar.gz: ") && !out.stderr.contains("good"),
        "{}",
        out.stderr
    );
    assert_eq!(run(&["-q", "good.tar.gz"]).silent().stdout, b"");
}

#[test]
fn a_directory_is_all_its_backups() {
    let world = World::new();
    let dir = world.path("d");
    std::fs::create_dir(&dir).unwrap();
    world.backup_at(
        &dir.join("vpo-library-2026-01-01T000000Z.tar.gz"),
        1,
        "2026-01-01T00:00:00Z",
    );
    world.backup_at(
        &dir.join("vpo-library-2026-03-01T000000Z.tar.gz"),
        2,
        "2026-03-01T00:00:00Z",
    );
    world.backup_at(
        &dir.join("vpo-library-2026-02-01T000000Z.tar.gz"),
        3,
        "2026-02-01T00:00:00Z",
    );
    write(dir.join("notes.txt"), b"no backup");
    write(dir.join("other.tar.gz"), b"no backup");
    let out = world.cmd("vpo-verify").arg("d").run().silent();
    let months: Vec<_> = out.text().lines().map(|line| &line[..39]).collect();
    let expected = ["03", "02", "01"].map(|month| format!("ok  d/vpo-library-2026-{month}-01T000000Z.ta"));
    assert_eq!(months, expected);
    write(dir.join("vpo-library-2026-02-15T000000Z.tar.gz"), b"damaged");
    let out = world.cmd("vpo-verify").args(["--json", "d"]).run().exits(46).json();
    assert_eq!((&out["total_count"], &out["bad_count"]), (&json!(4), &json!(1)));
}

#[test]
fn formats_that_are_none_of_ours_are_named() {
    let world = World::new();
    tiny(&world.library());
    let database = read(world.library());
    let cases: [(&str, &[u8]); 9] = [
        ("zip", b"PK\x03\x04\x14\0\0\0\x08\0"),
        ("zstd", b"\x28\xb5\x2f\xfd\x04\x58\x01\0\0"),
        ("xz", b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46"),
        ("bzip2", b"BZh91AY&SY\0\0"),
        ("lz4", b"\x04\x22\x4d\x18\x64\x40\xa7\0"),
        ("plain tar", &tar_file(&[member("library.db", &database)])),
        ("SQLite", &database),
        ("empty", b""),
        ("gzip", b"what is this?"),
    ];
    for (name, bytes) in cases {
        let out = world.verify(bytes).exits(46);
        assert!(
            out.text().starts_with("bad -: ") && out.text().contains(name),
            "{name}: {}",
            out.text()
        );
        if !["empty", "gzip"].contains(&name) {
            assert!(out.text().contains("vpo backups are .tar.gz"), "{}", out.text());
        }
        if name == "SQLite" {
            assert!(out.stderr.contains("vpo-pack"), "{}", out.stderr);
        }
        world
            .cmd("vpo-unpack-restore")
            .args(["--db", "new.db"])
            .input(bytes)
            .run()
            .fails(46, &[name]);
        assert!(!world.path("new.db").exists());
    }
    // As their own tools write them.
    for (tool, option, name) in [
        ("zstd", "-c", "zstd"),
        ("xz", "-c", "xz"),
        ("bzip2", "-c", "bzip2"),
        ("lz4", "-c", "lz4"),
    ] {
        if has_tool(tool, "a foreign format") {
            let file = world.tool(tool).arg(option).input(&database).run().ok().stdout;
            let out = world.verify(&file).exits(46);
            assert!(out.text().contains(name), "{}", out.text());
        }
    }
}

/// Every bit of a small archive, every length that it can be cut to, and bytes behind its end.
#[test]
fn no_bit_can_flip_and_no_byte_be_missing() {
    let world = World::new();
    tiny(&world.library());
    let archive = world.archive_of(&world.library());
    assert_eq!(
        valid_ones(&world, [("as it is".to_owned(), archive.clone())]),
        ["as it is"]
    );
    let bits = (0..archive.len() * 8).map(|bit| {
        let mut mutant = archive.clone();
        mutant[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {} of byte {}", bit % 8, bit / 8), mutant)
    });
    let cuts = (0..archive.len()).map(|length| (format!("cut to {length}"), archive[..length].to_vec()));
    let longer = [
        &b"\0"[..],
        b"x",
        &[0; 512],
        &[0; 1 << 16],
        &archive,
        &gzip(b""),
        b"\x1f\x8b",
    ]
    .map(|tail| (format!("with {} bytes behind", tail.len()), [&archive, tail].concat()));
    let shorter = (0..archive.len()).map(|at| {
        let mut mutant = archive.clone();
        mutant.remove(at);
        (format!("without byte {at}"), mutant)
    });
    let valid = valid_ones(&world, bits.chain(cuts).chain(longer).chain(shorter));
    assert!(valid.is_empty(), "{valid:?}");
}

/// An archive of several small blocks: pages of zeros compress well.
fn many_blocks(world: &World, name: &str, size_bytes: u32) -> Vec<u8> {
    let path = world.path(name);
    tiny(&path);
    sqlite(
        &path,
        &format!(
            "CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(500000)); UPDATE files SET size_bytes = {size_bytes}"
        ),
    );
    let archive = world.pack(&read(&path));
    assert_eq!(blocks(&archive).len(), 5);
    archive
}

#[test]
fn blocks_that_are_not_where_they_belong() {
    let world = World::new();
    let archive = many_blocks(&world, "a.db", 1);
    let other = many_blocks(&world, "b.db", 2);
    let cut = |archive: &[u8]| {
        blocks(archive)
            .into_iter()
            .map(|b| archive[b].to_vec())
            .collect::<Vec<_>>()
    };
    let (ours, theirs) = (cut(&archive), cut(&other));
    let mut mutants: Vec<(String, Vec<Vec<u8>>)> = Vec::new();
    for i in 0..ours.len() {
        let mut without = ours.clone();
        without.remove(i);
        mutants.push((format!("without block {i}"), without));
        let mut twice = ours.clone();
        twice.insert(i, ours[i].clone());
        mutants.push((format!("block {i} twice"), twice));
        for j in 0..ours.len() {
            if i != j {
                let mut swapped = ours.clone();
                swapped.swap(i, j);
                mutants.push((format!("blocks {i} and {j} exchanged"), swapped));
                let mut numbered = ours.clone();
                numbered.swap(i, j);
                let (a, b) = (ours[i][28..32].to_vec(), ours[j][28..32].to_vec());
                numbered[i][28..32].copy_from_slice(&a);
                numbered[j][28..32].copy_from_slice(&b);
                if numbered != ours {
                    mutants.push((format!("blocks {i} and {j} exchanged and renumbered"), numbered));
                }
            }
        }
        for n in 1..=ours.len() - i {
            let mut foreign = ours.clone();
            foreign[i..i + n].clone_from_slice(&theirs[i..i + n]);
            if foreign != ours && foreign != theirs {
                mutants.push((format!("blocks {i} to {} of another backup", i + n - 1), foreign));
            }
        }
        let mut empty = ours.clone();
        empty.insert(i, gzip(b""));
        mutants.push((format!("an empty member before {i}"), empty));
        let mut plain = ours.clone();
        plain[i] = gzip(&gunzip(&ours[i]));
        mutants.push((format!("block {i} as a plain member"), plain));
    }
    mutants.push((
        "plain members".into(),
        ours.iter().map(|block| gzip(&gunzip(block))).collect(),
    ));
    let valid = valid_ones(
        &world,
        mutants.into_iter().map(|(name, blocks)| (name, blocks.concat())),
    );
    assert!(valid.is_empty(), "{valid:?}");

    // Headers and trailers bit by bit.
    let places = blocks(&archive)
        .into_iter()
        .flat_map(|b| (b.start..b.start + 32).chain(b.end - 8..b.end));
    let flips = places.flat_map(|at| (0..8).map(move |bit| (at, bit))).map(|(at, bit)| {
        let mut mutant = archive.clone();
        mutant[at] ^= 1 << bit;
        (format!("bit {bit} of byte {at}"), mutant)
    });
    let valid = valid_ones(&world, flips);
    assert!(valid.is_empty(), "{valid:?}");
}

/// Of an archive of real size, places here and there.
#[test]
fn damage_in_a_real_archive() {
    let world = World::new();
    world.make_library(&files(1000));
    let archive = world.archive_of(&world.library());
    let step = archive.len() / 97;
    let flips = (0..97).map(|n| {
        let (at, bit) = (n * step + n, n % 8);
        let mut mutant = archive.clone();
        mutant[at] ^= 1 << bit;
        (format!("bit {bit} of byte {at}"), mutant)
    });
    let cuts = (1..30).map(|n| (format!("cut {n}"), archive[..archive.len() * n / 30].to_vec()));
    let valid = valid_ones(&world, flips.chain(cuts));
    assert!(valid.is_empty(), "{valid:?}");
}

/// One thing wrong with an archive from elsewhere, and a word of the reason that must be given.
struct Case {
    name: &'static str,
    archive: Vec<u8>,
    reason: &'static str,
}

fn hostile(world: &World) -> Vec<Case> {
    let facts = world.default_library();
    let database = read(world.library());
    let metadata = vpo_metadata(&facts);
    let text = metadata.to_string();
    let db = || member("library.db", &database);
    let meta = || member("backup_metadata.json", text.as_bytes());
    let of = |members: Vec<Member>| gzip(&tar_file(&members));
    let with = |change: &dyn Fn(&mut Value)| {
        let mut metadata = metadata.clone();
        change(&mut metadata);
        plain_archive(&database, &metadata)
    };
    let raw = |json: &[u8]| of(vec![db(), member("backup_metadata.json", json)]);
    let typed = |name: &str, kind: u8, content: &[u8]| Member {
        name: name.into(),
        kind: tar::EntryType::new(kind),
        content: content.to_owned(),
    };
    let link = |name: &str, kind: u8, target: &str| {
        let mut tar = tar_entries(&[db(), meta(), typed(name, kind, b"")]);
        let at = tar.len() - 512;
        tar[at + 157..at + 157 + target.len()].copy_from_slice(target.as_bytes());
        let header = &mut tar[at..];
        let mut sum = tar::Header::new_ustar();
        sum.as_mut_bytes().copy_from_slice(header);
        sum.set_cksum();
        header.copy_from_slice(sum.as_bytes());
        gzip(&[&tar[..], &[0; 1024]].concat())
    };
    let whole = tar_file(&[db(), meta()]);
    let good = gzip(&whole);
    let digest = |change: &dyn Fn(&mut Value)| {
        with(&|m| {
            m["database_sha256"] = sha256(&database).into();
            m["page_size"] = 4096.into();
            change(m);
        })
    };
    let inside = |bytes: &[u8]| plain_archive(bytes, &metadata);
    let sql = |sql: &str| {
        let path = world.path("inside.db");
        let _ = std::fs::remove_file(&path);
        sqlite(&path, sql);
        plain_archive(&read(&path), &metadata)
    };
    let mut trailing = whole.clone();
    trailing.extend(vec![0; 512]);
    let end = trailing.len() - 1;
    trailing[end] = 1;
    let mut padding = whole.clone();
    let after = 512 + database.len() + 512 + text.len();
    padding[after] = b'x';
    let mut checksum = whole.clone();
    checksum[148] ^= 1;
    let mut bad_index = database.clone();
    bad_index[database.len() / 4096 * 2048 / 4096 * 4096..][..4096].fill(0x55);
    let mut page_size = database.clone();
    page_size[16] = 0x0f;
    let big = format!("{}{}", text, " ".repeat(1 << 20));

    let case = |name, archive, reason| Case { name, archive, reason };
    vec![
        case("no members", of(vec![]), "library.db"),
        case("no database", of(vec![meta()]), "library.db"),
        case("no metadata", of(vec![db()]), "backup_metadata.json"),
        case("the database twice", of(vec![db(), db(), meta()]), "library.db"),
        case(
            "the metadata twice",
            of(vec![db(), meta(), meta()]),
            "backup_metadata.json",
        ),
        case(
            "another member",
            of(vec![db(), meta(), member("notes.txt", b"hi")]),
            "notes.txt",
        ),
        case(
            "another member first",
            of(vec![member("notes.txt", b"hi"), db(), meta()]),
            "notes.txt",
        ),
        case("a directory", of(vec![db(), meta(), typed("dir/", b'5', b"")]), "dir"),
        case(
            "an absolute path",
            of(vec![member("/library.db", &database), meta()]),
            "/library.db",
        ),
        case(
            "a parent path",
            of(vec![member("../library.db", &database), meta()]),
            "../library.db",
        ),
        case(
            "a path below",
            of(vec![member("x/library.db", &database), meta()]),
            "x/library.db",
        ),
        case("a symlink", link("library.db", b'2', "/etc/passwd"), "library.db"),
        case("a hard link", link("x", b'1', "library.db"), "x"),
        case("a device", of(vec![db(), meta(), typed("x", b'3', b"")]), "x"),
        case("a FIFO", of(vec![db(), meta(), typed("x", b'6', b"")]), "x"),
        case(
            "a sparse file",
            of(vec![typed("library.db", b'S', &database), meta()]),
            "library.db",
        ),
        case("a wrong checksum", gzip(&checksum), "header"),
        case("bytes in the padding", gzip(&padding), "padding"),
        case("bytes after the end", gzip(&trailing), "follows the last member"),
        case("no zero blocks", gzip(&tar_entries(&[db(), meta()])), "truncated"),
        case("one zero block", gzip(&whole[..whole.len() - 512]), "zero blocks"),
        case("cut in the database", gzip(&whole[..5000]), "truncated"),
        case(
            "bytes after the gzip member",
            [&good[..], b"x"].concat(),
            "bytes after the end",
        ),
        case("two gzip members", [&good[..], &good].concat(), "several plain"),
        case(
            "an empty gzip member behind",
            [&good[..], &gzip(b"")].concat(),
            "several plain",
        ),
        case("zeros behind", [&good[..], &[0; 100]].concat(), "bytes after the end"),
        case("metadata: empty", raw(b""), "backup_metadata.json"),
        case("metadata: no JSON", raw(b"{"), "backup_metadata.json"),
        case("metadata: no object", raw(b"[]"), "backup_metadata.json"),
        case(
            "metadata: no UTF-8",
            raw(b"{\"vpo_version\": \"\xff\"}"),
            "backup_metadata.json",
        ),
        case(
            "metadata: two documents",
            raw(format!("{text}{text}").as_bytes()),
            "backup_metadata.json",
        ),
        case(
            "metadata: a key twice",
            raw(text.replacen('{', "{\"file_count\": 1,", 1).as_bytes()),
            "file_count",
        ),
        case("metadata: too long", raw(big.as_bytes()), "backup_metadata.json"),
        case(
            "metadata: no version",
            with(&|m| drop(m.as_object_mut().unwrap().remove("vpo_version"))),
            "vpo_version",
        ),
        case(
            "metadata: no schema",
            with(&|m| drop(m.as_object_mut().unwrap().remove("schema_version"))),
            "schema_version",
        ),
        case(
            "metadata: schema 0",
            with(&|m| m["schema_version"] = 0.into()),
            "schema_version",
        ),
        case(
            "metadata: schema as text",
            with(&|m| m["schema_version"] = "27".into()),
            "schema_version",
        ),
        case(
            "metadata: schema with a fraction",
            with(&|m| m["schema_version"] = 27.0.into()),
            "schema_version",
        ),
        case(
            "metadata: no time",
            with(&|m| m["created_at"] = "today".into()),
            "created_at",
        ),
        case(
            "metadata: time without offset",
            with(&|m| m["created_at"] = "2026-02-05T14:30:22".into()),
            "created_at",
        ),
        case(
            "metadata: size 0",
            with(&|m| m["database_size_bytes"] = 0.into()),
            "database_size_bytes",
        ),
        case(
            "metadata: negative count",
            with(&|m| m["file_count"] = (-1).into()),
            "file_count",
        ),
        case(
            "metadata: too large",
            with(&|m| m["file_count"] = 0x8000_0000_0000_0000_u64.into()),
            "file_count",
        ),
        case(
            "metadata: not gzip",
            with(&|m| m["compression"] = "zstd".into()),
            "compression",
        ),
        case(
            "metadata: long text",
            with(&|m| m["vpo_version"] = "v".repeat(4097).into()),
            "vpo_version",
        ),
        case(
            "metadata: other digest",
            digest(&|m| m["database_sha256"] = "0".repeat(64).into()),
            "SHA-256",
        ),
        case(
            "metadata: a short digest",
            digest(&|m| m["database_sha256"] = "00".into()),
            "database_sha256",
        ),
        case(
            "metadata: other size",
            digest(&|m| m["database_size_bytes"] = 4096.into()),
            "bytes",
        ),
        case(
            "metadata: other page size",
            digest(&|m| m["page_size"] = 8192.into()),
            "8192",
        ),
        case(
            "metadata: other schema",
            digest(&|m| m["schema_version"] = 26.into()),
            "26",
        ),
        case("metadata: other count", digest(&|m| m["file_count"] = 99.into()), "99"),
        case("database: empty", inside(b""), "library.db"),
        case("database: text", inside(&b"text ".repeat(1000)), "library.db"),
        case(
            "database: short",
            inside(&database[..database.len() - 4096]),
            "library.db",
        ),
        case(
            "database: long",
            inside(&[&database[..], &[0; 4096]].concat()),
            "library.db",
        ),
        case("database: no page size", inside(&page_size), "library.db"),
        case("database: a damaged page", inside(&bad_index), "quick_check"),
        case("database: no tables", sql("PRAGMA user_version = 1"), "_meta"),
        case("database: no files", sql("CREATE TABLE _meta (key, value)"), "files"),
        case(
            "database: files is a view",
            sql(
                "CREATE TABLE _meta (key, value); INSERT INTO _meta VALUES ('schema_version', '27');
                 CREATE VIEW files AS SELECT 1 AS size_bytes",
            ),
            "files",
        ),
    ]
}

#[test]
fn one_thing_wrong() {
    let world = World::new();
    let cases = hostile(&world);
    // None of them for the want of something else.
    let facts = world_facts(&world);
    let good = plain_archive(&read(world.library()), &vpo_metadata(&facts));
    world.verify(&good).silent();
    for Case { name, archive, reason } in cases {
        let out = world.verify(&archive).exits(46);
        assert!(out.text().starts_with("bad -: "), "{name}: {}", out.text());
        assert!(
            out.text().contains(reason),
            "{name}: {reason:?} is not in: {}",
            out.text()
        );
        let out = world.cmd("vpo-unpack-restore").args(["--yes"]).input(&archive);
        unchanged(&world.home(), || out.run().fails(46, &[reason]));
        let save = world.cmd("vpo-verify").args(["--save", "x.tar.gz"]).input(&archive);
        save.run().exits(46);
        assert!(!world.path("x.tar.gz").exists(), "{name}");
    }
    world.clean();
}

fn world_facts(world: &World) -> crate::generate::Facts {
    make(&Default::default(), &world.library())
}

#[test]
fn archives_from_elsewhere() {
    let world = World::new();
    let facts = world.default_library();
    let database = read(world.library());
    let metadata = vpo_metadata(&facts);
    let text = metadata.to_string();
    let of = |names: [&str; 2], swap: bool| {
        let mut members = vec![member(names[0], &database), member(names[1], text.as_bytes())];
        if swap {
            members.reverse();
        }
        gzip(&tar_file(&members))
    };
    let with = |key: &str, value: Value| {
        let mut metadata = metadata.clone();
        metadata[key] = value;
        plain_archive(&database, &metadata)
    };
    let pax = |content: &[u8]| Member {
        name: b"PaxHeaders/library.db".to_vec(),
        kind: tar::EntryType::XHeader,
        content: content.to_owned(),
    };
    let mut record_padding = tar_file(&[
        member("library.db", &database),
        member("backup_metadata.json", text.as_bytes()),
    ]);
    record_padding.resize(record_padding.len().next_multiple_of(10240), 0);
    let cases = [
        ("as VPO writes it", plain_archive(&database, &metadata)),
        ("metadata first", of(["library.db", "backup_metadata.json"], true)),
        ("with ./", of(["./library.db", "./backup_metadata.json"], false)),
        ("record padding", gzip(&record_padding)),
        ("size of before the backup", with("database_size_bytes", 4096.into())),
        ("other schema than the database", with("schema_version", 26.into())),
        (
            "another offset",
            with("created_at", "2026-02-05T14:30:22.123456+02:00".into()),
        ),
        ("unknown keys", with("tags", json!({"a": [1.5, null]}))),
        (
            "PAX headers",
            gzip(&tar_file(&[
                pax(b"30 mtime=1770301822.123456789\n"),
                member("library.db", &database),
                member("backup_metadata.json", text.as_bytes()),
            ])),
        ),
    ];
    for (name, archive) in cases {
        println!("{name}");
        world.verify(&archive).silent();
        world
            .cmd("vpo-unpack-restore")
            .args(["--db", "new.db"])
            .input(&archive)
            .run()
            .ok();
        same(name, &read(world.path("new.db")), &database);
        std::fs::remove_file(world.path("new.db")).unwrap();
    }
}

#[test]
fn the_database_check_can_be_left_out() {
    let world = World::new();
    let facts = world.default_library();
    let mut database = read(world.library());
    let middle = database.len() / 8192 * 4096;
    database[middle..middle + 4096].fill(0x55);
    let archive = plain_archive(&database, &vpo_metadata(&facts));
    let out = world.verify(&archive).exits(46);
    assert!(out.text().contains("quick_check"), "{}", out.text());
    world
        .cmd("vpo-verify")
        .arg("--no-database-check")
        .input(&archive)
        .run()
        .silent();
    let cut = &archive[..archive.len() - 1];
    world
        .cmd("vpo-verify")
        .arg("--no-database-check")
        .input(cut)
        .run()
        .exits(46);
}

#[test]
fn save_keeps_what_is_valid() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    let save = |dest: &str, bytes: &[u8]| world.cmd("vpo-verify").args(["--save", dest]).input(bytes).run();
    std::fs::create_dir(world.path("d")).unwrap();

    let out = save("d", &archive).silent();
    assert!(out.text().starts_with(&format!("ok  d/{NAME}  ")), "{}", out.text());
    same("kept", &read(world.path("d").join(NAME)), &archive);
    assert_eq!(mode(&world.path("d").join(NAME)), 0o600);
    // A name that is taken gets a number.
    save("d", &archive).silent();
    save("d", &archive).silent();
    let numbered = ["-2.tar.gz", "-3.tar.gz", ".tar.gz"].map(|end| format!("vpo-library-2026-02-05T143022Z{end}"));
    assert_eq!(names(&world.path("d")), numbered);

    let out = save("d/mine.tar.gz", &archive).silent();
    assert!(out.text().contains("d/mine.tar.gz"), "{}", out.text());
    same("kept", &read(world.path("d/mine.tar.gz")), &archive);
    let json = world
        .cmd("vpo-verify")
        .args(["--json", "--save", "d/json.tar.gz"])
        .input(&archive)
        .run()
        .silent();
    assert_eq!(json.json()["total_count"], 1);

    // Nothing is replaced, not even by itself; nothing is kept of what is bad.
    unchanged(&world.path("d"), || {
        save("d/mine.tar.gz", &archive).fails(40, &["d/mine.tar.gz"]);
        for bad in [
            &archive[..archive.len() - 1],
            &[&archive[..], b"x"].concat(),
            b"",
            b"text",
        ] {
            save("d/new.tar.gz", bad).exits(46);
            save("d", bad).exits(46);
        }
        save("missing/new.tar.gz", &archive).fails(20, &["missing"]);
        save("d/new.zip", &archive).fails(2, &["d/new.zip"]);
        save("d/new", &archive).fails(2, &["d/new"]);
    });
    // A link that leads nowhere is a name that is taken.
    std::os::unix::fs::symlink("nowhere", world.path("d/link.tar.gz")).unwrap();
    save("d/link.tar.gz", &archive).fails(40, &["'d/link.tar.gz'", "exists"]);
    assert!(!world.path("d/nowhere").exists());
    world.clean();
}

/// A file that appears while the archive is still coming is not replaced either.
#[test]
fn save_does_not_replace_what_appears_meanwhile() {
    let world = World::new();
    let facts = world.make_library(&files(1000));
    let archive = plain_archive(&read(world.library()), &vpo_metadata(&facts));
    let mut running = world
        .cmd("vpo-verify")
        .args(["--save", "x.tar.gz"])
        .input_pipe()
        .start();
    running.feed(&archive[..archive.len() - 10]);
    wait_until("its work has begun", || {
        !names(&world.scratch()).is_empty() || !running.is_running()
    });
    write(world.path("x.tar.gz"), b"precious");
    running.feed(&archive[archive.len() - 10..]);
    running.finish().fails(40, &["taken"]);
    assert_eq!(read(world.path("x.tar.gz")), b"precious");
    assert_eq!(names(&world.path("")), ["x.tar.gz"]);
}

#[test]
fn a_pipeline_that_keeps_only_what_is_whole() {
    let world = World::new();
    world.default_library();
    std::fs::create_dir(world.path("d")).unwrap();
    let stages = || {
        [
            world.cmd("vpo-snapshot"),
            world.cmd("vpo-pack"),
            world.cmd("vpo-verify").args(["--save", "d"]),
        ]
    };
    pipeline(stages()).ok();
    assert_eq!(names(&world.path("d")).len(), 1);
    let mut library = read(world.library());
    library.truncate(100_000);
    write(world.library(), &library);
    let out = pipeline(stages());
    assert_eq!(out.last().status.code(), Some(46));
    assert_eq!(names(&world.path("d")).len(), 1);
    world.clean();
}

#[test]
fn no_room_to_unpack_or_to_keep() {
    with_mounts("verify without room", || {
        let world = World::new();
        world.default_library();
        let archive = world.archive_of(&world.library());
        std::fs::create_dir(world.path("small")).unwrap();
        make_small(&world.path("small"), 64);
        let save = world
            .cmd("vpo-verify")
            .args(["--save", "small/x.tar.gz"])
            .input(&archive);
        save.run().fails(44, &["small"]);
        assert_eq!(names(&world.path("small")), [""; 0]);

        make_small(&world.scratch(), 64);
        let out = world.verify(&archive).exits(44);
        // A good backup is not called bad for a full TMPDIR.
        assert!(
            out.text()
                .starts_with("??  -: no space for temporary files: not enough space"),
            "{}",
            out.text()
        );
        world
            .cmd("vpo-verify")
            .arg("--no-database-check")
            .input(&archive)
            .run()
            .silent();
        assert_eq!(names(&world.scratch()), [""; 0]);
    });
}

#[test]
fn devices_and_fifos_are_streams() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    let fifo: &Path = &world.path("fifo");
    world.tool("mkfifo").arg(fifo).run().ok();
    let running = world.cmd("vpo-verify").arg("fifo").start();
    write(fifo, &archive);
    running.finish().silent();
    world.cmd("vpo-verify").arg("/dev/stdin").input(&archive).run().silent();
    world.cmd("vpo-verify").arg("/dev/null").run().exits(46);
}

/// What could not be looked at was called bad: somebody might have thrown a good backup away for a full TMPDIR.
#[test]
fn what_can_not_be_looked_at_is_not_bad() {
    let world = World::new();
    world.default_library();
    let archive = world.archive_of(&world.library());
    write(world.path("good.tar.gz"), &archive);
    write(world.path("bad.tar.gz"), b"bad");
    let nowhere = world.path("nowhere");
    let run = |args: &[&str]| world.cmd("vpo-verify").env("TMPDIR", &nowhere).args(args).run();

    let out = run(&["good.tar.gz", "missing.tar.gz"]).exits(20);
    let lines: Vec<_> = out.text().lines().collect();
    assert!(
        lines[0].starts_with("??  good.tar.gz: cannot ") && lines[0].contains("nowhere"),
        "{lines:?}"
    );
    assert_eq!(lines[1], "??  missing.tar.gz: 'missing.tar.gz' does not exist");
    run(&["good.tar.gz"]).exits(40);
    // What is bad is found before there is need of space, and counts for more.
    let out = run(&["--json", "good.tar.gz", "missing.tar.gz", "bad.tar.gz"]).exits(46);
    let json = out.json();
    assert_eq!((&json["total_count"], &json["bad_count"]), (&json!(3), &json!(1)));
    let said: Vec<_> = json["archives"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["status"])
        .collect();
    assert_eq!(said, ["unknown", "unknown", "bad"]);
    for row in json["archives"].as_array().unwrap() {
        assert_eq!(row["valid"], false, "{row}");
    }
    let out = run(&["-q", "good.tar.gz"]).exits(40);
    assert!(out.stderr.starts_with("??  good.tar.gz: "), "{}", out.stderr);
    assert_eq!(out.stdout, b"");
}

/// The first that could not be looked at gives the status.
#[test]
fn which_of_several_reasons_counts() {
    if !std::path::Path::new("/proc/self/mem").exists() {
        return skipped("a file that can't be read", "there is no /proc/self/mem");
    }
    with_mounts("no room to verify", || {
        let world = World::new();
        world.default_library();
        write(world.path("good.tar.gz"), &world.archive_of(&world.library()));
        make_small(&world.scratch(), 64);
        let run = |args: &[&str]| world.cmd("vpo-verify").args(args).run();
        for (args, code) in [
            (["good.tar.gz", "/proc/self/mem"], 44),
            (["/proc/self/mem", "good.tar.gz"], 40),
        ] {
            let out = run(&args).exits(code);
            assert!(
                out.text().lines().all(|line| line.starts_with("??  ")),
                "{}",
                out.text()
            );
        }
    });
}

/// A safety backup that went through `--save`, or was renamed, became an ordinary one, and `latest`.
#[test]
fn a_safety_backup_stays_one() {
    let world = World::new();
    world.make_library(&files(5));
    world.cmd("vpo-library").args(["backup", "-q"]).run().silent();
    world
        .cmd("vpo-library")
        .args(["restore", "-y", "-q", "latest"])
        .run()
        .silent();
    let safety = names(&world.backups())
        .into_iter()
        .find(|name| name.contains("-replaced"));
    let safety = world.backups().join(safety.unwrap());
    std::fs::create_dir(world.path("d")).unwrap();
    let save = world.cmd("vpo-verify").args(["--save", "d"]).stdin_file(&safety);
    save.run().silent();
    let saved = names(&world.path("d"));
    assert_eq!(saved, [safety.file_name().unwrap().to_str().unwrap()]);
    // By another name, its metadata still says what it is.
    std::fs::rename(world.path("d").join(&saved[0]), world.path("d/vpo-library-mine.tar.gz")).unwrap();
    let json = world.cmd("vpo-ls-backups").args(["--json", "d"]).run().silent().json();
    assert_eq!(json["backups"][0]["replaced"], true);
    let latest = world.cmd("vpo-library").args(["--backup-dir", "d", "verify", "latest"]);
    latest.run().fails(20, &["no backups"]);
    let replaced = world
        .cmd("vpo-library")
        .args(["--backup-dir", "d", "verify", "replaced"]);
    assert!(replaced.run().silent().text().contains("vpo-library-mine.tar.gz"));
}
