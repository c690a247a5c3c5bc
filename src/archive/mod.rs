//! The archive format: an ordinary `.tar.gz`, cut into gzip members that can be worked on in parallel.
//!
//! ```text
//! writer  ─ tar entries ─▶ block (compress, on threads) ─▶ gzip members
//! gzip members ─▶ block (inflate, on threads) ─▶ gzip ─▶ tar ─▶ reader
//!                                        tail ◀─ the last member alone, for listings
//! ```
//!
//! `vpo-library-archive(5)` describes it in full.

mod block;
mod blocks;
mod foreign;
mod gzip;
mod inflate;
mod metadata;
mod ordered_pool;
mod reader;
mod reuse;
mod tail;
mod tar;
mod writer;

pub use block::{BLOCK_SIZE, Level, compressed_size};
pub use gzip::Layout;
pub use metadata::Metadata;
pub use reader::{Contents, Reader};
pub use reuse::{Reusable, Reuse};
pub use tail::{TailMetadata, read_tail};
pub use writer::{Options, Resources, Writer, Written};

/// The member that holds the database. It comes first.
pub const DATABASE_NAME: &str = "library.db";
/// The member that holds the metadata. It comes last, and marks the archive as complete.
pub const METADATA_NAME: &str = "backup_metadata.json";
/// Metadata is never longer, in bytes.
pub const MAX_METADATA: u64 = 1024 * 1024;

/// An error that says what is wrong with an archive.
fn invalid(message: impl Into<String>) -> anyhow::Error {
    crate::failure::Kind::InvalidArchive.error(message)
}
