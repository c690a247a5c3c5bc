//! What people meet around the programs: help, manual, completions, JSON documents, units, the installed tree.

#[path = "../../examples/sample-library/generate.rs"]
mod generate;
#[allow(dead_code)] // the recipes use all of it
#[path = "../recipes/place.rs"]
mod place;

mod completions;
mod installed;
mod options;
mod packages;
mod schema;
mod units;
