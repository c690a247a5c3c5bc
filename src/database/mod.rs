//! SQLite database files as such: the header, what a VPO library says about itself, and how a file that may be hostile
//! is examined.

mod check;
mod damage;
mod encoding;
mod facts;
mod header;
mod problems;
mod side;
mod source;
mod untrusted;

pub use check::quick_check;
pub(crate) use check::{harden, stop_when};
pub use damage::{Damage, damage, explain, is_damage, is_out_of_memory};
pub use encoding::Encoding;
pub use facts::Facts;
pub use header::{HEADER_LEN, Header, MAX_DATABASE_SIZE};
pub use problems::{Problem, problems};
pub use side::{JOURNAL, SHM, SIDE_FILES, WAL, pending_side_file, side_file, side_file_size};
pub use source::{MAX_SOURCE, Source};
pub use untrusted::{Untrusted, immutable};
pub(crate) use untrusted::{limit_time, too_slow};
