//! What people meet around the programs: help, manual, completions, JSON documents, units, the installed tree; and the house.

#[path = "../../examples/sample-library/generate.rs"]
mod generate;
#[path = "../support/mod.rs"]
mod support;

mod completions;
mod house;
mod installed;
mod options;
mod packages;
mod schema;
mod units;
