//! Every JSON document that the programs print, against its schema in `man/schemas/`.
//!
//! The published schemas are open, because keys may be added. Here they are closed: a key that a program prints and its
//! schema does not describe is a mistake.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::place::{Place, project, text_of};

/// The schemas, and the manual pages that describe the same keys.
const SCHEMAS: [(&str, &[&str]); 13] = [
    ("backup", &["vpo-library.1"]),
    ("backup-dry-run", &["vpo-library.1"]),
    ("restore", &["vpo-library.1", "vpo-unpack-restore.1"]),
    ("restore-dry-run", &["vpo-library.1", "vpo-unpack-restore.1"]),
    ("backups", &["vpo-library.1", "vpo-ls-backups.1"]),
    ("verify", &["vpo-library.1", "vpo-verify.1"]),
    ("diff", &["vpo-library.1", "vpo-diff.1"]),
    ("prune", &["vpo-library.1"]),
    ("prune-dry-run", &["vpo-library.1"]),
    (
        "error",
        &[
            "vpo-library.1",
            "vpo-verify.1",
            "vpo-unpack-restore.1",
            "vpo-ls-backups.1",
            "vpo-diff.1",
        ],
    ),
    ("log-line", &["vpo-library.1"]),
    ("stats", &["vpo-snapshot.1"]),
    ("backup-metadata", &["vpo-library-archive.5"]),
];

const TIME: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$";
const SHA256: &str = "^[0-9a-f]{64}$";

fn schema(name: &str) -> Value {
    serde_json::from_str(&text_of(&format!("man/schemas/{name}.json"))).unwrap()
}

/// What is wrong with `value`. Only keywords that are understood may be in a schema.
fn check(value: &Value, schema: &Value, at: &str, wrong: &mut Vec<String>) {
    let mut complain = |what: String| wrong.push(format!("{at}: {value} {what}"));
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "title" | "description" => {}
            "type" => {
                let types: Vec<&str> = match rule {
                    Value::Array(types) => types.iter().map(|t| t.as_str().unwrap()).collect(),
                    one => vec![one.as_str().unwrap()],
                };
                if !types.iter().any(|name| has_type(value, name)) {
                    complain(format!("is none of {types:?}"));
                }
            }
            "const" if value != rule => complain(format!("is not {rule}")),
            "enum" if !rule.as_array().unwrap().contains(value) => complain(format!("is not in {rule}")),
            "minimum" if value.as_f64().is_some_and(|n| n < rule.as_f64().unwrap()) => complain("is too small".into()),
            "maximum" if value.as_f64().is_some_and(|n| n > rule.as_f64().unwrap()) => complain("is too large".into()),
            "maxLength"
                if value
                    .as_str()
                    .is_some_and(|s| s.chars().count() as u64 > rule.as_u64().unwrap()) =>
            {
                complain("is too long".into());
            }
            "pattern"
                if value
                    .as_str()
                    .is_some_and(|text| !matches(text, rule.as_str().unwrap())) =>
            {
                complain(format!("does not match {rule}"));
            }
            "const" | "enum" | "minimum" | "maximum" | "maxLength" | "pattern" => {}
            "required" => {
                for key in rule.as_array().unwrap() {
                    if value.get(key.as_str().unwrap()).is_none() {
                        complain(format!("has no {key}"));
                    }
                }
            }
            "properties" => {}
            "items" => {}
            other => panic!("the keyword {other} is not understood here"),
        }
    }
    if let (Some(properties), Some(object)) = (schema.get("properties"), value.as_object()) {
        for (key, value) in object {
            match properties.get(key) {
                Some(schema) => check(value, schema, &format!("{at}/{key}"), wrong),
                None => wrong.push(format!("{at}: nobody has described '{key}'")),
            }
        }
    }
    if let (Some(items), Some(array)) = (schema.get("items"), value.as_array()) {
        for (i, value) in array.iter().enumerate() {
            check(value, items, &format!("{at}/{i}"), wrong);
        }
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("the type {other} is not known"),
    }
}

/// The patterns that the schemas have, without an engine for all of them.
fn matches(text: &str, pattern: &str) -> bool {
    match pattern {
        SHA256 => text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')),
        TIME => {
            let form: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
            form == "9999-99-99T99:99:99Z"
        }
        other => panic!("the pattern {other} is not understood here"),
    }
}

/// `text` is one JSON document and nothing else, and fits the schema.
#[track_caller]
fn fits(name: &str, text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}: {text:?}"));
    let mut wrong = Vec::new();
    check(&value, &schema(name), name, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
    value
}

/// The one document of a command that ends with this status.
#[track_caller]
fn document(place: &Place, name: &str, status: i32, line: &str) -> Value {
    fits(name, &place.sh(line).ends(status).stdout)
}

/// The checks find something at all.
#[test]
fn a_wrong_document_does_not_fit() {
    let good = serde_json::json!({"success": false, "error": "x", "exit_code": 43});
    for (key, value) in [
        ("success", Some(Value::Bool(true))),
        ("error", Some(Value::Null)),
        ("exit_code", Some(0.into())),
        ("exit_code", Some(2.5.into())),
        ("exit_code", None),
        ("hint", Some(1.into())),
        ("reason", Some("x".into())),
    ] {
        let mut document = good.clone();
        match value {
            Some(value) => document[key] = value,
            None => drop(document.as_object_mut().unwrap().remove(key)),
        }
        let mut wrong = Vec::new();
        check(&document, &schema("error"), "", &mut wrong);
        assert_eq!(wrong.len(), 1, "{document}");
    }
    fits("error", &good.to_string());
}

#[test]
fn backup() {
    let place = Place::with_library();
    let made = document(&place, "backup", 0, "vpo-library backup --json");
    assert_eq!(made["verified"], false);
    let named = document(
        &place,
        "backup",
        0,
        "vpo-library backup --json --verify -l 9 -o x.tar.gz",
    );
    assert_eq!(named["verified"], true);
    document(&place, "backup", 0, "vpo-library backup --format json -q");
    let would = document(&place, "backup-dry-run", 0, "vpo-library --json backup --dry-run");
    assert_eq!(would["file_count"], 100);
}

#[test]
fn restore() {
    let place = Place::with_library();
    place.sh("vpo-library backup -q -o x.tar.gz").ok();
    let done = document(&place, "restore", 0, "vpo-library restore --yes --json x.tar.gz");
    assert!(done["safety_backup"].is_string(), "{done}");
    let direct = document(
        &place,
        "restore",
        0,
        "vpo-unpack-restore --yes --json --no-safety-backup --current-schema 99 <x.tar.gz",
    );
    assert_eq!(
        (&direct["safety_backup"], &direct["source_path"]),
        (&Value::Null, &"-".into())
    );
    assert_eq!(direct["schema_mismatch"], true);
    for line in [
        "vpo-library restore --dry-run --json x.tar.gz",
        "vpo-unpack-restore --dry-run --json x.tar.gz",
        "vpo-unpack-restore --dry-run --json --db none.db <x.tar.gz",
    ] {
        document(&place, "restore-dry-run", 0, line);
    }
    // Where there was no library, and where there was a ruin.
    document(&place, "restore", 0, "vpo-unpack-restore --json --db new.db x.tar.gz");
    place.sh("head -c 5000 /dev/zero >.vpo/library.db").ok();
    let moved = document(&place, "restore", 0, "vpo-library restore --yes --json x.tar.gz");
    assert!(moved["moved_aside"].is_string(), "{moved}");
}

#[test]
fn backups() {
    let place = Place::with_library();
    let none = document(&place, "backups", 0, "vpo-library backups --json");
    assert_eq!(none["total_count"], 0);
    // An ordinary one, a safety backup, one of VPO's kind, and a ruin.
    place
        .sh(
            "set -e; vpo-library backup -q; vpo-library restore --yes -q latest; cd .vpo/backups
             zcat *[0-9]Z.tar.gz | gzip >../plain; mv ../plain vpo-library-2026-02-05T14-30-22Z.tar.gz
             echo x >vpo-library-2026-02-06T143022Z.tar.gz",
        )
        .ok();
    for line in [
        "vpo-library backups --json",
        "vpo-ls-backups --json",
        "vpo-ls-backups --json --max-age 1h",
    ] {
        let listing = document(&place, "backups", 0, line);
        let rows = listing["backups"].as_array().unwrap();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows.iter().filter(|row| row.get("error").is_some()).count(), 1);
        assert_eq!(rows.iter().filter(|row| row["replaced"] == true).count(), 1);
    }
    let kept = document(&place, "backups", 0, "vpo-ls-backups --json --keep-last 1 --one-source");
    assert!(
        kept["backups"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["keep"].is_array())
    );
    // The listing stays the one document where --max-age is not met.
    for line in [
        "vpo-library backups --json --max-age 0s",
        "vpo-ls-backups --json --max-age 0s",
    ] {
        document(&place, "backups", 1, line);
    }
}

#[test]
fn verify() {
    let place = Place::with_library();
    place
        .sh("set -e; vpo-library backup -q; cp .vpo/backups/* x.tar.gz
             head -c 3000 x.tar.gz >short.tar.gz; mkdir kept")
        .ok();
    document(&place, "verify", 0, "vpo-library verify --json");
    document(&place, "verify", 0, "vpo-verify --json <x.tar.gz");
    let saved = document(&place, "verify", 0, "vpo-verify --json --save kept <x.tar.gz");
    assert!(saved["archives"][0]["saved"].is_string(), "{saved}");
    let bad = document(&place, "verify", 46, "vpo-verify --json --save kept <short.tar.gz");
    assert_eq!(bad["bad_count"], 1);
    let mixed = document(
        &place,
        "verify",
        46,
        "vpo-verify --json x.tar.gz short.tar.gz gone.tar.gz",
    );
    assert_eq!((&mixed["total_count"], &mixed["bad_count"]), (&3.into(), &1.into()));
    document(&place, "verify", 20, "vpo-library verify --json gone.tar.gz");
    document(&place, "verify", 0, "vpo-verify --json --no-database-check x.tar.gz");
    let full = document(&place, "verify", 0, "vpo-verify --json --full x.tar.gz");
    assert_eq!(full["archives"][0]["problems"], serde_json::json!([]));
    let db = rusqlite::Connection::open(place.library()).unwrap();
    let orphans = "PRAGMA foreign_keys = OFF; DELETE FROM files WHERE id = 1";
    db.execute_batch(orphans).unwrap();
    drop(db);
    place.sh("vpo-library backup -q -o orphans.tar.gz").ok();
    let full = document(&place, "verify", 1, "vpo-library verify --json --full orphans.tar.gz");
    assert!(full["archives"][0]["problems"][0]["rows"].is_u64(), "{full}");
}

#[test]
fn prune() {
    let place = Place::with_library();
    let none = document(&place, "prune", 0, "vpo-library prune --json --keep-last 1");
    assert_eq!(none["kept"], serde_json::json!([]));
    place
        .sh("vpo-library backup -q; vpo-library backup -q; vpo-library backup -q")
        .ok();
    let would = document(
        &place,
        "prune-dry-run",
        0,
        "vpo-library prune --json --dry-run --keep-last 1",
    );
    assert_eq!(would["would_remove"].as_array().unwrap().len(), 2);
    document(&place, "error", 1, "vpo-library prune --json --keep-last 1");
    let done = document(&place, "prune", 0, "vpo-library prune --json --yes --keep-last 1");
    assert_eq!(done["removed"].as_array().unwrap().len(), 2);
    assert!(done["freed_bytes"].as_u64().unwrap() > 1000);
}

#[test]
fn diff() {
    let place = Place::with_library();
    place.sh("vpo-library backup -q && cp .vpo/backups/* x.tar.gz").ok();
    let same = document(&place, "diff", 0, "vpo-library diff --json");
    assert_eq!(same["files"], serde_json::json!([]));
    place.accident();
    let lost = document(&place, "diff", 1, "vpo-diff --json x.tar.gz .vpo/library.db");
    assert_eq!(
        lost["removed"].as_u64(),
        lost["files"].as_array().map(|files| files.len() as u64)
    );
    let counts = document(&place, "diff", 1, "vpo-library diff --stat --json");
    assert_eq!(counts.get("files"), None);
    assert_eq!(counts["removed"], lost["removed"]);
}

#[test]
fn errors() {
    let place = Place::new();
    for (status, line) in [
        (20, "vpo-library backup --json"),
        (20, "vpo-library backup --dry-run --json"),
        (20, "vpo-library restore --json latest"),
        (2, "vpo-library restore --json"),
        (20, "vpo-library backups --json -p gone"),
        (20, "vpo-library verify --json"),
        (2, "vpo-library --json"),
        (2, "vpo-library --json --no-such backup"),
        (2, "vpo-verify --json --save x"),
        (40, "vpo-verify --json --save taken.tar.gz </dev/null"),
        (46, "vpo-unpack-restore --json --yes </dev/null"),
        (20, "vpo-unpack-restore --json --yes gone.tar.gz"),
        (20, "vpo-ls-backups --json gone"),
        (2, "vpo-ls-backups --json --names"),
        (2, "vpo-diff --json x"),
        (46, "vpo-diff --json taken.tar.gz taken.tar.gz"),
    ] {
        std::fs::write(place.path("taken.tar.gz"), "").unwrap();
        let out = place.sh(line).ends(status);
        let error = fits("error", &out.stdout);
        assert_eq!(error["exit_code"], status, "{line}");
        // What stderr says, and no less.
        let hint = out.stderr.lines().find_map(|line| line.strip_prefix("hint: "));
        assert_eq!(error.get("hint").and_then(Value::as_str), hint, "{line}");
    }
}

#[test]
fn the_log() {
    let place = Place::with_library();
    let lines = [
        (0, "vpo-library backup -q --log log"),
        (0, "VPO_LIBRARY_LOG='~/log' vpo-library restore --yes -q latest"),
        (0, "vpo-library --log log verify -q"),
        (0, "vpo-library --log log prune -q --yes --keep-last 3"),
        (0, "vpo-library --log log backup -q"),
        (1, "vpo-library --log log prune -q --keep-last 1"),
        (46, "vpo-library --log log verify short.tar.gz"),
        (20, "vpo-library --log log restore --yes gone.tar.gz"),
        (20, "vpo-library --log log --db gone.db backup"),
        // These leave no line.
        (0, "vpo-library --log log backup -q --dry-run"),
        (0, "vpo-library --log log backups -q"),
        (0, "vpo-library --log log prune -q --dry-run --keep-last 1"),
    ];
    std::fs::write(place.path("short.tar.gz"), "").unwrap();
    for (status, line) in lines {
        place.sh(line).ends(status);
    }
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    let entries: Vec<Value> = log.lines().map(|line| fits("log-line", line)).collect();
    let keys: Vec<_> = entries
        .iter()
        .map(|e| (e["command"].as_str().unwrap(), e["exit_code"].as_i64().unwrap()))
        .collect();
    assert_eq!(
        keys,
        [
            ("backup", 0),
            ("restore", 0),
            ("verify", 0),
            ("prune", 0),
            ("backup", 0),
            ("prune", 1),
            ("verify", 46),
            ("restore", 20),
            ("backup", 20)
        ]
    );
    for entry in &entries {
        assert_eq!(entry["outcome"] == "success", entry["exit_code"] == 0, "{entry}");
        assert_eq!(entry["error"].is_null(), entry["exit_code"] == 0, "{entry}");
        // Always the same keys, in the same order.
        assert_eq!(entry.as_object().unwrap().len(), 16, "{entry}");
    }
    assert!(entries[0]["database_sha256"].is_string() && entries[1]["archive_size_bytes"].is_u64());
}

/// A path that is not UTF-8 cost the whole line: serde refuses such paths.
#[test]
fn the_log_of_a_library_with_a_name_that_is_not_utf8() {
    let place = Place::with_library();
    let script = "d=$(printf 'a\\377b') && mkdir \"$d\" && cp .vpo/library.db \"$d/\" &&
                  vpo-library --log log --db \"$d/library.db\" backup -q && cat log";
    let ran = place.sh(script).ends(0);
    assert_eq!(ran.stderr, "");
    let line = fits("log-line", &ran.stdout);
    assert!(
        line["database_path"].as_str().unwrap().ends_with("/library.db"),
        "{line}"
    );
}

#[test]
fn stats_and_metadata() {
    let place = Place::with_library();
    let stats = document(
        &place,
        "stats",
        0,
        "vpo-snapshot --stats stats | vpo-pack --stats stats >x.tar.gz; cat stats",
    );
    assert_eq!(stats["file_count"], 100);
    let metadata = document(&place, "backup-metadata", 0, "tar xOzf x.tar.gz backup_metadata.json");
    assert_eq!(metadata["page_size"], stats["page_size"]);
}

/// The keys that a manual page describes, in the sections about documents.
fn keys_of_page(page: &str) -> BTreeSet<String> {
    const SECTIONS: [&str; 4] = [".Sh JSON OUTPUT", ".Sh LOG", ".Sh STATS", ".Sh METADATA"];
    let mut inside = false;
    let mut keys = BTreeSet::new();
    for line in text_of(&format!("man/{page}")).lines() {
        if line.starts_with(".Sh") || line.starts_with(".Ss") {
            inside = SECTIONS.contains(&line);
        }
        if inside && let Some(item) = line.strip_prefix(".It Sy ") {
            let item = item.split(" No ").next().unwrap();
            keys.extend(item.split([' ', ',']).filter(|key| !key.is_empty()).map(str::to_owned));
        }
    }
    // 'The other keys are those of the metadata.'
    if text_of(&format!("man/{page}")).contains("keys are those of the metadata") {
        keys.extend(keys_of(&schema("backup-metadata")));
    }
    keys
}

fn keys_of(schema: &Value) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    if let Some(properties) = schema.get("properties") {
        for (key, value) in properties.as_object().unwrap() {
            keys.insert(key.clone());
            keys.extend(keys_of(value));
        }
    }
    if let Some(items) = schema.get("items") {
        keys.extend(keys_of(items));
    }
    keys
}

#[test]
fn schemas_and_manual_have_the_same_keys() {
    let pages: BTreeSet<&str> = SCHEMAS.iter().flat_map(|(_, pages)| pages.iter().copied()).collect();
    for page in pages {
        let described: BTreeSet<String> = SCHEMAS
            .iter()
            .filter(|(_, pages)| pages.contains(&page))
            .flat_map(|(name, _)| keys_of(&schema(name)))
            .collect();
        // Where standard input is all that can be verified, nothing is stored; and its listing has no keep rules.
        let mut in_page = keys_of_page(page);
        if page == "vpo-library.1" {
            in_page.extend(["saved", "device", "inode", "mtime_ns"].map(str::to_owned));
        }
        assert_eq!(in_page, described, "left: man/{page}, right: man/schemas/");
    }
    let committed = std::fs::read_dir(project("man/schemas")).unwrap().count();
    assert_eq!(committed, SCHEMAS.len());
}
