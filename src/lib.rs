//! Backup and restore of a VPO library: consistent snapshots, verified archives, safe replacement.
//!
//! VPO (Video Policy Orchestrator) keeps what it knows of a video collection in one SQLite database. Seven programs make
//! backups of it and bring them back; each does one job and is joined to the others by pipes:
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
//! | files | [`files`], [`database`] | files that appear whole or not at all; SQLite files as such |
//! | ground | [`signals`], [`failure`], [`time`], [`size`] | how things end; what things are measured in |
//!
//! # Where the time goes
//!
//! Measured by `benches/run 500M` on two cores; the README has the table, and the figures below are of the same machine.
//!
//! A **backup** is bound by the processor: both cores are busy from the first moment to the last, so that nothing but less
//! work makes it faster. Of the 7.5 seconds of processor time that a library of 500 MB takes, by profile:
//!
//! | | seconds |
//! | --- | --- |
//! | DEFLATE, which takes 5.5 to 5.7 by itself: the limit | 5.75 |
//! | quick_check, which takes 0.7 by itself | 1.0 |
//! | SHA-256, by the processor's own instructions | 0.35 |
//! | reading the pages, a pipe, writing the archive | 0.4 |
//!
//! Without `--stats`, `vpo-pack` adds its spool: half a second in the file system. **Verifying** is two things one after
//! the other: inflating on all cores together with SHA-256 and the writing of the stage (0.9 s), then quick_check on one
//! core (0.8 s). A **restore over a library** adds the backup API with its log (1.2 s), the checkpoint (0.5 s), and the
//! comparison of all pages (0.3 s). A **listing** reads 4 KiB of each archive.
//!
//! What was tried, and what came of it:
//!
//! | | |
//! | --- | --- |
//! | the archive on its way to the disk while it is made ([`files::WriteBehind`]), and the check of the library before the facts are counted | 2.3 % less time, without the check 2.7 % (medians of seven, side by side): before, the disk and one core had waited |
//! | quick_check of the old library beside that of the new one, not repeated under the lock; pages compared at the end instead of another quick_check | a restore over a library from 6.9 s to 5.1 s (single runs on a busy machine), and a stronger proof |
//! | a larger page cache for quick_check (8, 16, 32 MB) | nothing, or slower: every page is met twice, far apart; dropped |
//! | no `cell_size_check` while reading | nothing that could be measured; kept, for it is safer |
//! | SQLite compiled with `-O2`, without memory statistics, or without `-fPIC` | quick_check took 0.67 to 0.75 s with all of them, as before; dropped |
//! | memory-mapped reading | quick_check's system time goes (0.2 s); dropped, because a read error would kill the process |
//! | link-time optimisation, one code generation unit | 1.3 % less time, without the check 0.2 %, which is within the noise, for 90 s of building; dropped |
//! | huge pages for libdeflate's tables, smaller blocks | nothing; dropped |
//! | OpenSSL's SHA-256 | as fast as the crate's; dropped |
//! | more threads than cores (4, 8, 16 on 2) | neither faster nor slower, 4.5 MiB each |

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
/// so that a program without it must not come into being.
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
