//! Archives from elsewhere, of one plain gzip member, with one thing wrong.

use serde_json::Value;

use super::*;
use crate::generate::Facts;

fn library() -> (Vec<u8>, Facts) {
    let mut facts = None;
    let database = craft::database(|path| facts = Some(make(&Sample::default(), path)));
    (database, facts.unwrap())
}

/// What all of them are made of: nothing is wrong with it.
pub fn good() -> Vec<u8> {
    let (database, facts) = library();
    plain_archive(&database, &vpo_metadata(&facts))
}

pub fn cases() -> Vec<Case> {
    let (database, facts) = library();
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
    let sql = |sql: &str| plain_archive(&craft::database(|path| sqlite(path, sql)), &metadata);
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

    let case = |name, bytes, message| case(format!("plain: {name}"), message, bytes);
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
