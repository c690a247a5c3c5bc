//! The contract of the programs as tests: the real executables, joined by real pipes.

#[path = "../../examples/sample-library/generate.rs"]
mod generate;
mod harness;

mod contract;
mod diff;
mod fixtures;
mod interop;
mod listing;
mod memory;
mod pack;
mod restore;
mod roundtrip;
mod snapshot;
mod target;
mod verify;
mod wrapper;
