//! Backups as a person has them: made, proven, named and listed.

mod listing;
mod name;
mod pack;
mod save;
mod verify;

pub use listing::{Backup, Summary, list};
pub use name::{BackupName, candidates};
pub use pack::pack;
pub use save::{Destination, save};
pub use verify::{Staged, check_archive, open_archive, stage};
