//! The live library: read as it is, locked so that nobody else has it open, and replaced completely.

mod after_commit;
mod apply;
mod busy_handler;
mod diff;
mod examine;
mod exclusive_lock;
mod holder;
mod install;
mod operand;
mod read_connection;
mod replace;
mod restore;
mod restore_lock;
mod safety_backup;
mod snapshot;
mod stats;
mod target;

pub use after_commit::{after_commit, is_after_commit};
pub use diff::{Comparison, Counts, DiffError, Status, TableRows, tables};
pub use examine::Comparing;
pub use holder::Holder;
pub use operand::{Opened, Operand};
pub use read_connection::{ReadConnection, find};
pub use restore::{Outcome, Plan, Request, Step, restore};
pub(crate) use snapshot::OutputThread;
pub use snapshot::{SnapshotOptions, snapshot};
pub use target::Target;
