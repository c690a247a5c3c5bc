//! The command-line layer: the only code that touches the environment, the standard streams, the terminal and the
//! clock.

mod args;
mod exit;
mod places;
mod progress;
mod report;
mod streams;
mod text;
mod verify;

pub use args::{DEFAULT_TIMEOUT, cores, help, level, number, timeout, unexpected, version};
pub use exit::main;
pub use places::{backup_directory, library, scratch_directory, variable};
pub use progress::Progress;
pub use report::{note, print, print_json};
pub use streams::{ask, binary_input, binary_output, is_terminal, standard_input};
pub use text::{escape, escape_path};
pub use verify::VerifyReport;
