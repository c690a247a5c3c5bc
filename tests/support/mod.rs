//! What the test crates share: a world to run the programs in, other processes, terminals, and archives of every kind.
#![allow(dead_code, unused_imports, reason = "each crate uses what it needs")]

mod archive;
pub mod craft;
mod database;
mod files;
mod machine;
pub mod mutilations;
mod output;
mod peer;
pub mod place;
mod process;
pub mod strace;
mod terminal;
mod world;

pub use archive::*;
pub use database::*;
pub use files::*;
pub use machine::*;
pub use output::*;
pub use peer::*;
pub use process::*;
pub use terminal::*;
pub use world::*;
