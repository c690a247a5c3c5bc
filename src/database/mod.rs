//! SQLite database files as such: the header, what a VPO library says of itself, and how a file that may be hostile is
//! looked at.

mod facts;
mod header;
mod reason;
mod side;
mod source;
mod staged;

pub use facts::Facts;
pub use header::{HEADER_LEN, Header, MAX_DATABASE_SIZE};
pub use reason::{is_unreadable, with_reason};
pub use side::{JOURNAL, SHM, SIDE_FILES, WAL, pending_side_file, side_file, side_file_size};
pub use source::{MAX_SOURCE, Source};
pub(crate) use staged::harden;
pub use staged::{immutable, is_out_of_memory, quick_check};
