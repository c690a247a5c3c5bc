//! The contract of the programs as tests: the real executables, joined by real pipes.

#[path = "../../examples/sample-library/generate.rs"]
mod generate;
mod harness;
#[allow(dead_code, reason = "shared with the other test crate")]
#[path = "../faults/strace.rs"]
mod strace;

mod arguments;
mod contract;
mod diff;
mod fixtures;
mod interop;
mod listing;
mod log;
mod memory;
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
