//! The recipes of the manual and the README, run as they stand there, with the real programs of other people.

#[path = "../../examples/sample-library/generate.rs"]
mod generate;
#[path = "../support/mod.rs"]
mod support;

mod coverage;
mod other_tools;
mod pages;
mod remote;
mod scripts;
