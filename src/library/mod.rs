//! The live library: read as it is, locked so that nobody else has it open, and replaced completely.

mod after_commit;
mod busy_handler;
mod diff;
mod exclusive_lock;
mod holder;
mod install;
mod live;
mod look;
mod operand;
mod replace;
mod restore;
mod safety_backup;
mod snapshot;
mod stats;
mod target;
mod turn;

pub use after_commit::{after_commit, is_after_commit};
pub use diff::{Comparison, Counts, DiffError, Status, TableRows, tables};
pub use holder::Holder;
pub use live::{Live, find};
pub use operand::{Opened, Operand};
pub use restore::{Outcome, Plan, Request, Step, restore};
pub(crate) use snapshot::Outlet;
pub use snapshot::{SnapshotOptions, snapshot};
pub use target::Target;
