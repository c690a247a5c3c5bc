//! A backup becomes the library: stage, look, ask, lock, keep the old, apply, in this order.
//!
//! At every instant, whatever dies, the library is the old one or the new one, whole.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;

use super::apply::{apply, rehearse, wait_until_free};
use super::examine::{Comparing, examine, library_exists};
use super::exclusive_lock::require_no_holder;
use super::holder::Holder;
use super::target::Target;
use crate::archive::{Contents, Options, Resources};
use crate::backups::stage;
use crate::database::{Facts, WAL, side_file, side_file_size};
use crate::failure::{Failure, Kind, kind};
use crate::files::{NewDirectories, create_directory, parent, sweep};
use crate::time::Time;

/// The schema of the VPO that this version was made for: what is assumed where nothing says more.
const KNOWN_SCHEMA: u64 = 27;

/// What is to be restored where.
pub struct Request<'a> {
    /// The library.
    pub library: &'a Path,
    /// The archive.
    pub input: Box<dyn Read>,
    /// Where the replaced library is kept as a safety backup.
    pub safety_directory: Option<&'a Path>,
    /// The schema of the installed VPO, if it is known.
    pub current_schema: Option<u64>,
    /// How long to wait for a lock.
    pub timeout: Duration,
    /// For copies that some situations need.
    pub scratch: &'a Path,
    /// What a safety backup is to be, but for its time.
    pub archive: Options,
    /// What it is made with; where no archive to reuse is named, the newest one in the safety directory is. As many
    /// threads decompress.
    pub resources: Resources,
    /// Tells the time at which the library is locked: that of the safety backup, and in the name of what is moved aside.
    pub clock: &'a dyn Fn() -> Time,
    /// Make every check and change nothing.
    pub dry_run: bool,
    /// `confirm` is going to ask somebody: who has the library open is found before, and the files are compared.
    pub asks: bool,
    /// Is told what is being done, once the archive is unpacked.
    pub watch: &'a dyn Fn(Step<'_>),
}

/// What a restore is doing.
pub enum Step<'a> {
    /// Checking the backup, and what is there.
    Checking,
    /// Waiting because another process has the library open: which one, and how long it is waited for at most. Told again
    /// and again.
    Waiting(&'a Holder, Duration),
    /// Keeping the library that is replaced, which has so many bytes.
    Keeping(u64),
    /// So many bytes more of it are packed.
    Kept(usize),
    /// Putting the backup in the place of the library.
    Writing,
}

impl Request<'_> {
    /// Tells who has the library open, in a wait that began then. None of our own connections may be open.
    pub(super) fn say_who(&self, library: &Path, begun: Instant) {
        if let Ok(Some(holder)) = Holder::find(library) {
            (self.watch)(Step::Waiting(&holder, self.timeout.saturating_sub(begun.elapsed())));
        }
    }
}

/// What is about to happen: for the question, and for the report.
pub struct Plan {
    /// The library, symlinks resolved.
    pub library: PathBuf,
    /// What the archive holds.
    pub contents: Contents,
    /// What the database in it says of itself.
    pub backup: Facts,
    /// What is there now.
    pub target: Target,
    /// The comparison of the library and the backup, which need not have ended; `None` where nobody is asked, or there is
    /// nothing to compare.
    pub comparing: Option<Comparing>,
    /// When that was changed last, as far as the file system tells.
    pub modified: Option<SystemTime>,
    /// The schema of the installed VPO.
    pub current_schema: u64,
}

impl Plan {
    /// True if the backup is of an older schema, which VPO will migrate.
    pub fn schema_mismatch(&self) -> bool {
        self.backup.schema_version != self.current_schema
    }
}

/// What was done.
#[derive(Default)]
pub struct Outcome {
    /// The safety backup that was made.
    pub safety_backup: Option<PathBuf>,
    /// Where a damaged library was moved to, or what was left of one.
    pub moved_aside: Option<PathBuf>,
}

/// Restores a backup. `confirm` sees the plan before anything is touched, and may say no by an error; in a dry run
/// nothing is touched after it either.
///
/// # Errors
/// Of every kind. Unless it [is one after the commit](super::is_after_commit), the library is as it was.
pub fn restore(
    mut request: Request<'_>,
    confirm: impl FnOnce(&Plan) -> anyhow::Result<()>,
) -> anyhow::Result<(Plan, Outcome)> {
    let path = resolve(request.library)?;
    // Cheap, and before a minute goes into the archive.
    let beside = match library_exists(&path)? {
        true => space_to_open(&path)?,
        false => 0,
    };
    let (place, new_directories) = place_for_stage(&request, parent(&path))?;
    sweep(&place, Some(&path));
    let input = std::mem::replace(&mut request.input, Box::new(io::empty()));
    let staged = stage(input, &place, beside, request.resources.threads)?;
    (request.watch)(Step::Checking);
    let asks_whether_in_use = || Ok::<_, anyhow::Error>(request.asks && library_exists(&path)? && is_in_use(&path)?);
    let mut in_use = asks_whether_in_use()?;
    let mut looked = examine(&staged, &path, &request, request.asks && !in_use)?;
    // Or whoever came meanwhile. To ask drops the lock of the comparison.
    if !in_use && looked.comparing.as_ref().is_none_or(Comparing::has_ended) {
        in_use = asks_whether_in_use()?;
    }
    if in_use {
        // Whoever had it open may have changed what the question is about.
        wait_until_free(&path, &request)?;
        (request.watch)(Step::Checking);
        looked = examine(&staged, &path, &request, true)?;
    }
    let target = looked.target.refused(&path)?;
    if matches!(target, Target::Damaged(_)) {
        require_no_holder(&path)?;
    }
    let assumed = match &target {
        Target::Library(facts) => facts.schema_version.max(KNOWN_SCHEMA),
        _ => KNOWN_SCHEMA,
    };
    let mut plan = Plan {
        modified: last_change(&path),
        library: path,
        contents: staged.contents.clone(),
        backup: looked.backup,
        target,
        comparing: looked.comparing,
        current_schema: request.current_schema.unwrap_or(assumed),
    };
    if plan.backup.schema_version > plan.current_schema {
        return Err(too_new(&plan).into());
    }
    if request.dry_run {
        rehearse(&plan, &staged, &request)?;
        confirm(&plan)?;
        return Ok((plan, Outcome::default()));
    }
    confirm(&plan)?;
    // It has the library open.
    plan.comparing = None;
    let outcome = apply(&mut plan, staged, looked.stamp, &request)?;
    new_directories.keep();
    Ok((plan, outcome))
}

/// Whether another process has the library open.
fn is_in_use(path: &Path) -> anyhow::Result<bool> {
    match require_no_holder(path) {
        Err(error) if kind(&error) == Kind::Locked => Ok(true),
        free => free.map(|()| false),
    }
}

/// What SQLite needs beside the library at `path` to open it: the index of its log, 32 KiB for each 4,000 pages. On a device
/// that is full to the brim it would leave what it began.
fn space_to_open(path: &Path) -> anyhow::Result<u64> {
    const LEAST: u64 = 64 << 10;
    const LOG_BYTES_FOR_ONE: u64 = 50;
    let log = side_file_size(path, WAL)?.unwrap_or(0);
    Ok(LEAST + log / LOG_BYTES_FOR_ONE)
}

/// Where the archive is unpacked: beside the library, in a directory that is created where it is missing; a dry run, which
/// creates none, unpacks elsewhere.
fn place_for_stage(request: &Request<'_>, directory: &Path) -> anyhow::Result<(PathBuf, NewDirectories)> {
    if request.dry_run && !directory.is_dir() {
        return Ok((request.scratch.to_owned(), NewDirectories::default()));
    }
    let created = create_directory(directory);
    let created = created.with_context(|| format!("cannot create the directory '{}'", directory.display()))?;
    Ok((directory.to_owned(), created))
}

/// When the library was changed last, as far as the file system tells: commits may be in its log alone.
fn last_change(path: &Path) -> Option<SystemTime> {
    let changed = |path: &Path| path.metadata().ok().filter(|meta| meta.len() > 0)?.modified().ok();
    changed(path).max(changed(&side_file(path, WAL)))
}

/// Follows symlinks to the file that they stand for, which need not exist.
fn resolve(path: &Path) -> anyhow::Result<PathBuf> {
    const MAX_LINKS: usize = 40;
    let shown = path.display();
    let mut path = std::path::absolute(path).with_context(|| format!("cannot find '{shown}'"))?;
    for _ in 0..MAX_LINKS {
        match path.read_link() {
            Ok(target) => path = parent(&path).join(target),
            Err(_) => {
                let no_name = || Kind::Usage.error(format!("'{shown}' is not the name of a file"));
                let name = path.file_name().ok_or_else(no_name)?;
                // Where the directory does not exist yet, there are no links in it.
                let directory = parent(&path)
                    .canonicalize()
                    .unwrap_or_else(|_| parent(&path).to_owned());
                return Ok(directory.join(name));
            }
        }
    }
    Err(Kind::Failed.error(format!("'{shown}' leads through too many symbolic links")))
}

fn too_new(plan: &Plan) -> Failure {
    Kind::SchemaTooNew
        .because(format!(
            "the backup has schema {}, newer than the {} of the installed VPO",
            plan.backup.schema_version, plan.current_schema
        ))
        .hint(format!(
            "upgrade VPO first; if it is already of schema {0}, say so with --current-schema {0}",
            plan.backup.schema_version
        ))
}
