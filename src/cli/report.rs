//! Reports on standard output.

use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

use super::streams::require_output;
use super::text::{escape, escape_json};

/// Writes text to standard output.
pub fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

/// Writes bytes that need not be text, such as file names, to standard output.
pub fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    require_output()?;
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")
}

/// Writes a line to standard error. If that fails, nobody is left to tell.
pub fn note(line: &str) {
    let _ = io::stderr().write_all(format!("{}\n", escape(line)).as_bytes());
}

/// Writes one JSON document to standard output.
pub fn print_json(report: &impl Serialize) -> anyhow::Result<()> {
    let mut text = escape_json(&serde_json::to_string_pretty(report)?);
    text.push('\n');
    print(&text)
}
