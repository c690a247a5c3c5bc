//! What the metadata may not say, and what they say that is not so.

use serde_json::{Value, json};

use super::*;

pub fn cases() -> Vec<Case> {
    let db = tiny_database();
    let good = metadata(&db);
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        archive(&db, &changed)
    };
    let without = |key: &str| {
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove(key);
        archive(&db, &changed)
    };
    let raw = |json: &str| archive_raw(&db, json.as_bytes());
    let text = good.to_string();
    let inside = text.trim_end_matches('}');
    let mut cases = vec![
        case("metadata: empty", "is not valid", raw("")),
        case("metadata: not JSON", "is not valid", raw("not JSON")),
        case("metadata: cut off", "is not valid", raw(inside)),
        case("metadata: two documents", "is not valid", raw(&format!("{text}{text}"))),
        case("metadata: a list", "is not valid", raw(&format!("[{text}]"))),
        case(
            "metadata: not UTF-8",
            "it is not UTF-8",
            archive_raw(&db, &[text.as_bytes(), b"\xff"].concat()),
        ),
        case("metadata: NULs behind", "is not valid", raw(&format!("{text}\0\0"))),
        case(
            "metadata: a byte order mark",
            "is not valid",
            raw(&format!("\u{feff}{text}")),
        ),
        case(
            "metadata: a key twice",
            "'file_count' appears twice",
            raw(&format!("{inside},\"file_count\":1}}")),
        ),
        case(
            "metadata: an unknown key twice",
            "'x' appears twice",
            raw(&format!("{inside},\"x\":1,\"x\":1}}")),
        ),
        case("metadata: a key twice, escaped", "'page_size' appears twice", {
            raw(&format!("{inside},\"p\\u0061ge_size\":512}}"))
        }),
        case(
            "metadata: more than 1 MiB, in a block",
            "impossible size",
            raw(&format!("{text}{}", " ".repeat(MIB))),
        ),
        case("metadata: more than 1 MiB", "more than 1048576", {
            let long = format!("{text}{}", " ".repeat(MIB));
            craft::plain(&[entry("library.db", &db), ending(long.as_bytes())].concat())
        }),
        case("metadata: deeply nested", "nested more than 128 deep", {
            raw(&format!(
                "{inside},\"x\":{}{}}}",
                "[".repeat(100_000),
                "]".repeat(100_000)
            ))
        }),
        case(
            "digest wrong",
            "SHA-256",
            with("database_sha256", json!("0".repeat(64))),
        ),
        case(
            "size wrong",
            "the database has 1536 bytes where the metadata says 2560",
            with("database_size_bytes", json!(2560)),
        ),
        case(
            "page size wrong",
            "pages of 512 bytes where the metadata says 1024",
            with("page_size", json!(1024)),
        ),
        case(
            "schema not the database's",
            "schema version 27 where the metadata says 26",
            with("schema_version", json!(26)),
        ),
        case(
            "count not the database's",
            "a number of files of 1 where the metadata says 2",
            with("file_count", json!(2)),
        ),
        case(
            "another compression",
            "'compression' is not gzip",
            with("compression", json!("zstd")),
        ),
        case(
            "a time of another form",
            "'created_at'",
            with("created_at", json!("2026-02-05T14:30:22+00:00")),
        ),
        case(
            "a time of nowhere",
            "'created_at'",
            with("created_at", json!("2026-02-30T14:30:22Z")),
        ),
        case("a digest in capitals", "'database_sha256'", {
            with("database_sha256", json!(sha256(&db).to_uppercase()))
        }),
        case(
            "a long string",
            "'vpo_version' is longer",
            with("vpo_version", json!("x".repeat(4097))),
        ),
    ];
    for key in good.as_object().unwrap().keys() {
        cases.push(case(format!("metadata: no {key}"), "is missing", without(key)));
        for (what, value) in [
            ("null", Value::Null),
            ("a list", json!([])),
            ("true", json!(true)),
            ("negative", json!(-1)),
            ("a fraction", json!(1.5)),
            ("huge", json!(u64::MAX)),
            ("an object", json!({})),
        ] {
            cases.push(case(format!("metadata: {key} is {what}"), "is not a", with(key, value)));
        }
        if good[key].is_u64() {
            cases.push(case(
                format!("metadata: {key} is a string"),
                "is not a",
                with(key, json!(good[key].to_string())),
            ));
        }
    }
    for (key, number) in [
        ("schema_version", "1e400"),
        ("file_count", "99999999999999999999999"),
        ("page_size", "5.12e2"),
    ] {
        let before = format!("\"{key}\":{}", good[key]);
        assert!(text.contains(&before));
        let changed = text.replace(&before, &format!("\"{key}\":{number}"));
        cases.push(case(format!("metadata: {key} is {number}"), "is not a", raw(&changed)));
    }
    cases
}
