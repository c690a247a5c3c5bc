//! Backup and restore of a VPO library: consistent snapshots, verified archives, safe replacement.
//!
//! VPO (Video Policy Orchestrator) keeps what it knows of a video collection in one SQLite database. Seven programs
//! make backups of it and bring them back; each does one job and is joined to the others by pipes:
//!
//! ```text
//!   live library                                                              live library
//!        │                                                                         ▲
//!  vpo-snapshot ──pages──▶ vpo-pack ──archive──▶ vpo-verify --save ─ ─ ▶ vpo-unpack-restore
//!        │                    ▲
//!        └───────facts────────┘              vpo-ls-backups lists, vpo-diff compares, vpo-library runs them all
//! ```
//!
//! The code follows that picture. Imports run one way, from the programs down:
//!
//! | layer | modules | job |
//! | --- | --- | --- |
//! | programs | `src/bin` | usage, configuration, one call |
//! | everyday use | [`porcelain`] | runs the other programs, joined by pipes |
//! | command line | [`cli`] | arguments, environment, streams, terminal, reports, exit status |
//! | operations | [`library`], [`backups`] | the live library; archives as a person has them |
//! | formats | [`archive`] | the archive format |
//! | files | [`files`], [`database`] | files that appear complete or not at all; SQLite files as such |
//! | ground | [`signals`], [`failure`], [`time`], [`size`] | how things end; what things are measured in |
//!
//! `benches/README.md` says how fast it is, and what was tried.

pub mod archive;
pub mod backups;
pub mod cli;
pub mod database;
pub mod failure;
pub mod files;
pub mod library;
pub mod porcelain;
pub mod signals;
pub mod size;
pub mod time;

/// Snapshots read pages through SQLite's `sqlite_dbpage` table. Without it they would fail on the day they are needed,
/// so a program without it must not be built.
const _: () = assert!(
    flag_is_set(option_env!("LIBSQLITE3_FLAGS"), b"SQLITE_ENABLE_DBPAGE_VTAB"),
    "the bundled SQLite is built without sqlite_dbpage: build inside the project's directory, whose .cargo/config.toml \
     sets LIBSQLITE3_FLAGS=-DSQLITE_ENABLE_DBPAGE_VTAB, or set that variable yourself"
);

/// True if `flags` contains `flag`.
const fn flag_is_set(flags: Option<&str>, flag: &[u8]) -> bool {
    let Some(flags) = flags else { return false };
    let flags = flags.as_bytes();
    let mut start = 0;
    while start + flag.len() <= flags.len() {
        let mut i = 0;
        while i < flag.len() && flags[start + i] == flag[i] {
            i += 1;
        }
        if i == flag.len() {
            return true;
        }
        start += 1;
    }
    false
}
