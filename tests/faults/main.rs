//! Nothing is lost: every fault, every damaged byte, every hostile archive.
//!
//! Without `VPO_TEST_EXHAUSTIVE` the long loops take samples: spread evenly, and the same ones in every run.

#[allow(dead_code, reason = "whoever includes this file uses what it needs")]
#[path = "../../examples/sample-library/generate.rs"]
mod generate;
#[path = "../support/mod.rs"]
mod support;

mod apply;
mod company;
mod damage;
mod fuzz;
mod hostile;
mod kill;
mod memory;
mod prune;
mod reuse;
mod signals;
mod strange;

use support::exhaustive;

/// All of the numbers below `end` in an exhaustive run, else about `sample` of them.
pub fn chosen(end: usize, sample: usize) -> Vec<usize> {
    if exhaustive() {
        (0..end).collect()
    } else {
        spread(end, sample)
    }
}

/// So many of the numbers below `end`, spread evenly: the middles of equal parts.
pub fn spread(end: usize, sample: usize) -> Vec<usize> {
    if end <= sample {
        return (0..end).collect();
    }
    (0..sample).map(|i| (2 * i + 1) * end / (2 * sample)).collect()
}

/// A line of figures, past the capture of the test runner.
pub fn figures(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "figures: {text}");
}
