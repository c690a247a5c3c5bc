//! Databases that are none, in archives that are whole, with a digest that is right.

use serde_json::{Value, json};

use super::*;

pub fn cases() -> Vec<Case> {
    let db = tiny_database();
    let pages = db.len() / 512;
    let made = |database: &[u8]| archive(database, &truth_of(database, &db));
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = db.clone();
        edit(&mut changed);
        made(&changed)
    };
    let inside = "the database inside is damaged or not a VPO library";
    let mut cases = vec![
        case("database: empty", "'library.db'", made(&[])),
        case("database: a header alone", "'library.db'", made(&db[..100])),
        case("database: less than a header", "'library.db'", made(&db[..99])),
        case(
            "database: a page short",
            "where its header says",
            made(&db[..db.len() - 512]),
        ),
        case(
            "database: a byte short",
            "where its header says",
            made(&db[..db.len() - 1]),
        ),
        case(
            "database: a page too long",
            "where its header says",
            made(&[&db[..], &[0; 512]].concat()),
        ),
        case(
            "database: other bytes",
            "does not begin as a SQLite database",
            made(&noise(2048, 1)),
        ),
        case(
            "database: zeros",
            "does not begin as a SQLite database",
            made(&[0; 2048]),
        ),
        case(
            "database: an impossible page size",
            "impossible page size",
            edited(&|db| db[16] = 3),
        ),
        case(
            "database: another page size",
            "where its header says",
            edited(&|db| db[16] = 4),
        ),
        case("database: a count that is stale", "not a whole number of pages", {
            let mut changed = db.clone();
            changed[27] ^= 1;
            changed.push(0);
            made(&changed)
        }),
        case("database: no table files", inside, made(&tiny_with("DROP TABLE files"))),
        case("database: no table _meta", inside, made(&tiny_with("DROP TABLE _meta"))),
        case(
            "database: no schema version",
            inside,
            made(&tiny_with("DELETE FROM _meta")),
        ),
        case(
            "database: schema version 0",
            inside,
            made(&tiny_with("UPDATE _meta SET value = '0'")),
        ),
        case(
            "database: a schema version that is none",
            inside,
            made(&tiny_with("UPDATE _meta SET value = 'new'")),
        ),
        case("database: a view by the name files", inside, {
            made(&tiny_with(
                "ALTER TABLE files RENAME TO f; CREATE VIEW files AS SELECT * FROM f",
            ))
        }),
        case("database: a view by the name _meta", inside, {
            made(&tiny_with(
                "ALTER TABLE _meta RENAME TO m; CREATE VIEW _meta AS SELECT * FROM m",
            ))
        }),
        case("database: of another kind", inside, {
            made(&database(|path| {
                sqlite(
                    path,
                    "PRAGMA page_size = 512; CREATE TABLE t (x); INSERT INTO t VALUES (1)",
                )
            }))
        }),
        case("database: without tables", inside, {
            made(&database(|path| {
                sqlite(path, "PRAGMA page_size = 512; CREATE TABLE t (x); DROP TABLE t")
            }))
        }),
    ];
    // A page of a b-tree without meaning, for each page but the first.
    for page in 1..pages {
        cases.push(case(format!("database: page {} is zero", page + 1), inside, {
            edited(&|db| db[page * 512..(page + 1) * 512].fill(0))
        }));
        cases.push(case(format!("database: page {} is noise", page + 1), inside, {
            edited(&|db| db[page * 512..(page + 1) * 512].copy_from_slice(&noise(512, page as u64)))
        }));
    }
    cases.push(case("database: two pages exchanged", inside, {
        edited(&|db| {
            let (a, b) = db.split_at_mut(1024);
            a[512..].swap_with_slice(&mut b[..512]);
        })
    }));
    cases
}

/// Metadata that are true of `database` as far as anything is: facts that can't be read are those of `like`.
fn truth_of(database: &[u8], like: &[u8]) -> Value {
    let mut truth = metadata(like);
    truth["database_size_bytes"] = json!(database.len().max(1));
    truth["database_sha256"] = json!(sha256(database));
    truth
}
