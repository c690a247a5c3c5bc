//! The contract of the programs as tests: the real executables, joined by real pipes.

#[path = "../../examples/sample-library/generate.rs"]
mod generate;
#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod contract;
mod diff;
mod fixtures;
mod interop;
mod listing;
mod log;
mod pack;
mod printed;
mod question;
mod restore;
mod retention;
mod reuse;
mod roundtrip;
mod snapshot;
mod sources;
mod streams;
mod target;
mod terminal;
mod verify;
mod wrapper;
