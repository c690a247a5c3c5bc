//! Backups as a person sees them: made, proven, named and listed.

mod earlier;
mod estimate;
mod listing;
mod name;
mod pack;
mod removal;
mod retention;
mod save;
mod selection;
mod stage;
mod verify;

pub use earlier::reusable;
pub use estimate::estimate;
pub use listing::{Backup, Flaw, Summary, list, open_regular};
pub use name::{BackupName, candidates};
pub use pack::pack;
pub use removal::{Removal, remove};
pub use retention::{Reason, Rules, Verdict, decide};
pub use save::{Destination, save};
pub use selection::{Selector, is_ahead, newest_good, require_recent, short_name};
pub use stage::{Staged, stage};
pub use verify::{Open, check_archive, named, open_archive};
