//! The live library: read as it stands, proven to be alone with, replaced as a whole.

mod claim;
mod holder;
mod install;
mod live;
mod patience;
mod replace;
mod restore;
mod snapshot;
mod state;

pub use live::{Live, find};
pub use restore::{Current, Outcome, Plan, Request, restore};
pub use snapshot::{SnapshotOptions, snapshot};
pub use state::State;
