//! The command-line layer: arguments, environment, standard streams and terminal, which nothing below it touches. Nothing
//! below it asks for the time of day either: the programs and [`crate::porcelain`] read the clock, and pass the time on.

mod args;
mod caller;
mod cells;
mod command;
mod diff;
mod exit;
mod inherited;
mod keep;
mod listing;
mod places;
mod progress;
mod question;
mod report;
mod restore;
mod streams;
mod table;
mod terminal;
mod text;
mod usage;
mod verify;

pub use args::{
    DEFAULT_TIMEOUT, age, cores, help, level, number, schema, schema_variable, source, timeout, unexpected, version,
};
pub use caller::{Told, VARIABLE as CALLER_VARIABLE, tell_restored, value as caller_value};
pub use cells::listed_names;
pub use command::{
    CommandLine, advise, everyday, keep_elsewhere, named_backup_directory, named_library, packed_here, this_run,
};
pub use diff::{DiffFormat, DiffReport, note_left_out};
pub use exit::{Reported, is_closed_pipe, main, signal_status, status};
pub use keep::{add_keep_rule, is_keep_rule, keep_options, note_uncounted};
pub use listing::{list_heading, print_listing_json, print_names, print_table};
pub use places::{
    backup_directory, configuration, library, path, path_variable, scratch_directory, sibling, with_scratch_named,
};
pub use progress::Progress;
pub use question::{confirm, warn};
pub use report::{note, print, print_json};
pub use restore::{RestoreReport, not_restored, restored, watch, would_restore};
pub use streams::{archives, ask, binary_input, binary_output, close_output, protect, require_input, require_output};
pub use table::Table;
pub use terminal::{is_terminal, size};
pub use text::{columns, escape, escape_path, lines_of, seconds};
pub use usage::{lists, nearest};
pub use verify::VerifyReport;

/// What `vpo_version` in the metadata says unless told otherwise.
pub const VPO_VERSION: &str = concat!("vpo-library/", env!("CARGO_PKG_VERSION"));
