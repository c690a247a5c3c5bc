//! Errors of a restore that come too late to undo anything: the library is already the new one.

use crate::failure::{describe, kind};

const RESTORED: &str = "the library was restored, but";

/// The error of whatever failed after the library was replaced.
pub fn after_commit(error: anyhow::Error) -> anyhow::Error {
    kind(&error).error(format!("{RESTORED} {}", describe(&error)))
}

/// True if the library was replaced before this error.
pub fn is_after_commit(error: &anyhow::Error) -> bool {
    describe(error).starts_with(RESTORED)
}
