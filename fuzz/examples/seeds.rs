//! Writes the seeds anew: `cargo run --manifest-path fuzz/Cargo.toml --example seeds -- fuzz/seeds`. The same seeds
//! come out every time.

use std::fs;
use std::path::Path;

use flate2::Compression;
use sha2::{Digest, Sha256};
use vpo_library_fuzz::{Archive, Entry, blocks, gzip, hex};

fn main() {
    let to = std::env::args_os().nth(1).expect("usage: seeds DIRECTORY");
    let to = Path::new(&to);
    let put = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(to.join(target)).unwrap();
        fs::write(to.join(target).join(name), bytes).unwrap();
    };
    let database = database();
    let large = longer(&database, 4200);
    let whole = archive(&database, &metadata(&database)).to_bytes();

    put("archive", "blocks.tar.gz", &whole);
    put(
        "archive",
        "many-blocks.tar.gz",
        &archive(&large, &metadata(&large)).to_bytes(),
    );
    // As version 0.1.0 cut them.
    let mut mebibytes = archive(&large, &metadata(&large));
    mebibytes.size = 1 << 20;
    put("archive", "blocks-of-1-mib.tar.gz", &mebibytes.to_bytes());
    for (name, bytes) in plain(&database) {
        put("archive", name, &bytes);
    }
    // One thing wrong at a time, which random changes seldom make of an archive that is right otherwise.
    let text = metadata(&database);
    let mut other = database.clone();
    other[1000] ^= 1;
    let lies = [
        ("wrong-size", text.replace("1536", "2048")),
        ("wrong-page-size", text.replace("512}", "4096}")),
        ("wrong-digest", metadata(&other)),
        ("no-number", text.replace(":27", ":\"27\"")),
        ("no-string", text.replace("\"gzip\"", "null")),
    ];
    for (name, text) in lies {
        put(
            "archive",
            &format!("{name}.tar.gz"),
            &archive(&database, &text).to_bytes(),
        );
    }
    put("archive", "bytes-behind.tar.gz", &[&whole[..], b"behind"].concat());
    put("archive", "no-block-behind.tar.gz", &[&whole[..], &[0; 32]].concat());
    let joined = archive(&database, &text);
    let tar = [joined.entries[0].to_bytes(), joined.entries[1].to_bytes(), joined.end].concat();
    let joined = blocks(Compression::best(), 1 << 20, &tar[..512], &tar[512..]).concat();
    put("archive", "metadata-within-a-block.tar.gz", &joined);
    // Two members make it an archive of blocks, which these are not.
    let small = gzip(Compression::fast(), b"");
    put("archive", "two-members.tar.gz", &[&small[..], &small].concat());
    let tar = archive(&database, "").entries[0].to_bytes();
    let no_metadata = blocks(Compression::fast(), 1 << 20, &tar, &[0; 1024]).concat();
    put("archive", "no-metadata.tar.gz", &no_metadata);
    let foreign = [
        &b"PK\x03\x04"[..],
        b"\x28\xb5\x2f\xfd",
        b"\xfd7zXZ\0",
        b"BZh",
        b"SQLite format 3\0",
    ];
    for (number, magic) in foreign.iter().enumerate() {
        put("archive", &format!("foreign-{number}"), magic);
    }
    put("archive", "foreign-tar", &tar[..512]);

    put("tail", "blocks.tar.gz", &whole);
    put("tail", "no-metadata.tar.gz", &no_metadata);
    // An end that the first try does not reach.
    let long = metadata(&database).replace("0.1.0", &hex(&[&Sha256::digest("")[..]; 60].concat()));
    let mut long = archive(&database, &long);
    long.level = Compression::none();
    put("tail", "long-end.tar.gz", &long.to_bytes());

    put("metadata", "ours.json", text.as_bytes());
    put("metadata", "elsewhere.json", elsewhere().as_bytes());
    let more = r#"{"later":{"any":[1.5e-7,null,true,false,-0,"\u0041\"\\\/\b\f\n\r\t😀"]},"#;
    put("metadata", "more-keys.json", text.replacen('{', more, 1).as_bytes());
    let offset = text.replace("22Z", "22.75+01:00");
    put("metadata", "offset.json", offset.as_bytes());

    put("header", "512", &database[..100]);
    let mut header = database[..100].to_vec();
    header[16..18].copy_from_slice(&[0, 1]);
    put("header", "65536", &header);
    header[92] ^= 1;
    put("header", "count-out-of-date", &header);
}

/// The least that is a VPO library.
fn database() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("library.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch(
        "PRAGMA page_size = 512;
         CREATE TABLE _meta (key TEXT, value TEXT);
         CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT, size_bytes INTEGER);
         INSERT INTO _meta VALUES ('schema_version', '27');
         INSERT INTO files VALUES (1, '/v/Amélie.mkv', 700000000);",
    )
    .unwrap();
    db.close().unwrap();
    fs::read(path).unwrap()
}

/// The same with zeros behind it, and a header that says so: no database, but the reader does not look inside.
fn longer(database: &[u8], pages: u32) -> Vec<u8> {
    let mut database = database.to_vec();
    database.resize(pages as usize * 512, 0);
    database[28..32].copy_from_slice(&pages.to_be_bytes());
    database
}

fn metadata(database: &[u8]) -> String {
    format!(
        r#"{{"vpo_version":"vpo-library/0.1.0","schema_version":27,"created_at":"2026-02-05T14:30:22Z",
"database_size_bytes":{},"file_count":1,"total_library_size_bytes":700000000,"compression":"gzip",
"database_sha256":"{}","page_size":512}}
"#,
        database.len(),
        hex(&Sha256::digest(database))
    )
}

/// As VPO writes it.
fn elsewhere() -> String {
    r#"{
  "vpo_version": "0.1.0",
  "schema_version": 27,
  "created_at": "2026-02-05T14:30:22.123456+00:00",
  "database_size_bytes": 1024,
  "file_count": 1,
  "total_library_size_bytes": 700000000,
  "compression": "gzip"
}"#
    .to_owned()
}

fn archive(database: &[u8], metadata: &str) -> Archive {
    Archive {
        blocks: true,
        size: 128 << 10,
        early: 0,
        level: Compression::best(),
        entries: vec![
            Entry::new("library.db", b'0', database),
            Entry::new("backup_metadata.json", b'0', metadata.as_bytes()),
        ],
        end: vec![0; 1024],
    }
}

/// Archives from elsewhere: as VPO makes them, with the metadata first, and with headers that tar adds.
fn plain(database: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let plain = |change: &dyn Fn(&mut Archive)| {
        let mut archive = archive(database, &elsewhere());
        archive.blocks = false;
        archive.end.resize(8 * 512, 0);
        change(&mut archive);
        archive.to_bytes()
    };
    let pax = Entry::new(
        "PaxHeaders/library.db",
        b'x',
        b"30 mtime=1770301822.123456789\n19 path=library.db\n",
    );
    [
        ("plain.tar.gz", plain(&|_| {})),
        ("metadata-first.tar.gz", plain(&|archive| archive.entries.swap(0, 1))),
        (
            "pax.tar.gz",
            plain(&|archive| {
                archive.entries.insert(0, pax.clone());
                archive
                    .entries
                    .insert(0, Entry::new("pax_global_header", b'g', b"17 comment=hello\n"));
            }),
        ),
        (
            "dot-names-gnu.tar.gz",
            plain(&|archive| {
                for entry in &mut archive.entries {
                    entry.header.copy_within(0..98, 2);
                    entry.header[..2].copy_from_slice(b"./");
                    entry.header[257..265].copy_from_slice(b"ustar  \0");
                    entry.set_sum();
                }
            }),
        ),
    ]
}
