//! The pipeline that is run, as a person would type it.

use std::path::Path;

use super::pipeline::{Program, Word};
use crate::cli::CommandLine;

/// The pipeline as one line. What only makes sense within this run is left out: descriptors, and the consent given
/// for it.
pub fn shown(programs: &[Program]) -> String {
    let word = |line: CommandLine, word: &Word| match word {
        Word::Plain(text) if text == "--yes" => line,
        Word::Plain(text) => line.word(text),
        Word::Path(path) if path == Path::new("-") => line.arg("-"),
        Word::Path(path) => line.path(path),
    };
    let line = |program: &Program| program.words.iter().fold(CommandLine::sibling(program.name), word);
    let all = programs.iter().map(line).reduce(CommandLine::pipe);
    let text = all.as_ref().and_then(CommandLine::text);
    text.unwrap_or("the pipeline can't be written on a command line")
        .to_owned()
}
