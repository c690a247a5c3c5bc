//! What people meet around the programs: help, manual, completions, JSON documents, units, the installed tree.
fn main() {}
