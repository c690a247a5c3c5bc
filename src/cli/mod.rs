//! The command-line layer: the only code that touches the environment, the standard streams, the terminal and the
//! clock.

mod args;
mod diff;
mod exit;
mod inherited;
mod listing;
mod places;
mod progress;
mod report;
mod restore;
mod streams;
mod terminal;
mod text;
mod usage;
mod verify;

pub use args::{
    DEFAULT_TIMEOUT, cores, help, level, number, schema, schema_variable, source, timeout, unexpected, version,
};
pub use diff::{DiffFormat, DiffReport, note_left_out};
pub use exit::{Reported, main};
pub use listing::{age, numbered, print_listing_json, print_names, print_table, require_recent};
pub use places::{
    backup_directory, configuration, library, path, path_variable, scratch_directory, with_scratch_named,
};
pub use progress::Progress;
pub use report::{note, print, print_json};
pub use restore::{confirm, quoted, restored, seconds, warn, would_restore};
pub use streams::{archives, ask, binary_input, binary_output, close_output, protect, require_input, require_output};
pub use terminal::{is_terminal, width};
pub use text::{escape, escape_path};
pub use usage::{lists, nearest};
pub use verify::VerifyReport;

/// What `vpo_version` in the metadata says unless told otherwise.
pub const VPO_VERSION: &str = concat!("vpo-library/", env!("CARGO_PKG_VERSION"));
