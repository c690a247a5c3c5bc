//! The live library: read as it stands, proven to be alone with, replaced as a whole.

mod busy_handler;
mod exclusive_lock;
mod holder;
mod install;
mod live;
mod replace;
mod restore;
mod safety_backup;
mod snapshot;
mod stats;
mod target;
mod turn;

pub use live::{Live, find};
pub use restore::{Outcome, Plan, Request, restore};
pub use snapshot::{SnapshotOptions, snapshot};
pub use target::Target;
