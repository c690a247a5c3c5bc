//! The mutilation table: every way in which an archive can be damaged, and what has to be said about it.

mod blocks;
mod databases;
pub mod formats;
mod members;
mod metadata;
pub mod plain;

use super::craft::*;
use super::*;
use crate::generate::{Sample, Size};

/// An archive that must be refused, and a part of what must be said.
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    pub message: &'static str,
}

fn case(name: impl Into<String>, message: &'static str, bytes: Vec<u8>) -> Case {
    Case {
        name: name.into(),
        bytes,
        message,
    }
}

/// Two archives of several blocks, of libraries that differ in one row.
pub struct Pair {
    pub a: Vec<u8>,
    pub b: Vec<u8>,
}

pub fn pair(world: &World) -> Pair {
    let path = world.path("large.db");
    let sample = Sample {
        size: Size::Bytes(400_000),
        ..Sample::default()
    };
    make(&sample, &path);
    let a = world.archive_of(&path);
    sqlite(&path, "UPDATE files SET size_bytes = size_bytes + 1 WHERE id = 7");
    let b = world.archive_of(&path);
    Pair { a, b }
}

/// The whole table.
pub fn all(world: &World) -> Vec<Case> {
    let mut cases = blocks::of_a_pair(&pair(world));
    cases.extend(blocks::made_by_hand());
    cases.extend(formats::cases());
    cases.extend(members::cases());
    cases.extend(metadata::cases());
    cases.extend(databases::cases());
    cases.extend(plain::cases());
    cases
}
