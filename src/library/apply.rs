//! What comes after the question: the lock, the old library kept, the new one in its place. And the same as a rehearsal.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::after_commit::is_after_commit;
use super::examine::library_exists;
use super::exclusive_lock::{ExclusiveLock, require_no_holder};
use super::install::{clear_side_files, install};
use super::read_connection::{DatabaseStamp, ReadConnection};
use super::replace::{Stage, Work, replace};
use super::restore::{Outcome, Plan, Request, Step};
use super::safety_backup::{rehearse_safety_backup, write_safety_backup};
use super::target::Target;
use crate::archive::Options;
use crate::backups::Staged;
use crate::database::Facts;
use crate::failure::{Kind, kind};
use crate::files::{Identity, parent, require_place};
use crate::signals::{self, SignalGuard};
use crate::time::Time;

/// A process that waits for a lock has the file open, and shows only when it looks again: SQLite's own busy handler does so
/// every 100 ms.
const SETTLE: Duration = Duration::from_millis(250);
/// Time between two looks at who has the library open.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes the staged database the library.
pub fn apply(
    plan: &mut Plan,
    staged: Staged,
    stamp: Option<DatabaseStamp>,
    request: &Request<'_>,
) -> anyhow::Result<Outcome> {
    // From here on files are moved and connections are open: a signal waits until all is in order.
    let _guard = SignalGuard::new();
    let moved_aside = match plan.target {
        Target::Empty => clear_side_files(&plan.library, (request.clock)(), request.timeout)?,
        _ => None,
    };
    let outcome = Outcome {
        moved_aside: moved_aside.clone(),
        ..Outcome::default()
    };
    put_in_place(plan, staged, stamp, request, outcome).map_err(|error| match moved_aside {
        Some(aside) if !is_after_commit(&error) => error.context(format!(
            "what was beside the empty file is now beside '{}'",
            aside.display()
        )),
        _ => error,
    })
}

fn put_in_place(
    plan: &mut Plan,
    staged: Staged,
    stamp: Option<DatabaseStamp>,
    request: &Request<'_>,
    mut outcome: Outcome,
) -> anyhow::Result<Outcome> {
    let path = plan.library.clone();
    let before = Identity::at(&path);
    let (target, lock) = occupy(&path, stamp, request)?;
    let time = (request.clock)();
    signals::check()?;
    match (&target, lock) {
        (Target::Missing, _) if !matches!(plan.target, Target::Missing) => {
            return Err(Kind::Locked.error(format!(
                "another process just moved the library '{}' away",
                path.display()
            )));
        }
        (Target::Missing, _) => {
            (request.watch)(Step::Writing);
            outcome.moved_aside = install(staged.file, &path, None, time, request.timeout)?;
        }
        // Nobody was asked about it. That somebody has it open is not known.
        (_, lock) if matches!(plan.target, Target::Missing) => {
            drop(lock);
            let made = format!("another process just created '{}'", path.display());
            return Err(Kind::Locked.because(made).hint("look at it, and try again").into());
        }
        // Nobody was asked about that, or told what becomes of it.
        (Target::Library(_), lock) if request.asks && !matches!(plan.target, Target::Library(_)) => {
            drop(lock);
            let changed = format!("another process just made a library of '{}'", path.display());
            return Err(Kind::Locked.because(changed).hint("look at it, and try again").into());
        }
        (Target::Damaged(_), _) => {
            (request.watch)(Step::Writing);
            outcome.moved_aside = install(staged.file, &path, before, time, request.timeout)?;
        }
        (Target::Empty | Target::Library(_), Some(lock)) => {
            let stage = stage_of(&staged);
            let work = Work::find(lock.connection(), &stage)?;
            work.require_space(&path)?;
            if let (Target::Library(facts), Some(directory)) = (&target, request.safety_directory) {
                outcome.safety_backup = Some(keep_library(&lock, &path, facts, directory, time, request)?);
            }
            signals::check()?;
            (request.watch)(Step::Writing);
            replace(lock, &path, &stage, &work)?;
        }
        (Target::Empty | Target::Library(_) | Target::Foreign(_) | Target::Unknown(_), lock) => {
            drop(lock);
            target.refused(&path)?;
            return Err(Kind::Failed.error("the library could not be locked"));
        }
    }
    plan.target = target;
    Ok(outcome)
}

/// Keeps the locked library as a safety backup of this time.
fn keep_library(
    lock: &ExclusiveLock,
    library: &Path,
    facts: &Facts,
    directory: &Path,
    time: Time,
    request: &Request<'_>,
) -> anyhow::Result<PathBuf> {
    let archive = Options {
        replaced: true,
        created_at: time,
        ..request.archive.clone()
    };
    (request.watch)(Step::Keeping(facts.database_size_bytes));
    let kept = |bytes| (request.watch)(Step::Kept(bytes));
    let resources = request.resources.clone();
    write_safety_backup(lock, library, facts, directory, archive, resources, kept)
}

/// What is there once nobody else has it open, and the lock that proves that; `None` for a missing or a damaged one, which
/// SQLite can't lock.
fn occupy(
    path: &Path,
    stamp: Option<DatabaseStamp>,
    request: &Request<'_>,
) -> anyhow::Result<(Target, Option<ExclusiveLock>)> {
    let begun = Instant::now();
    if !library_exists(path)? {
        return Ok((Target::Missing, None));
    }
    let (target, lock) = match ExclusiveLock::take(path, request.timeout, || request.say_who(path, begun)) {
        Ok(lock) => {
            // What still looks as it did when it was checked and found sound is not checked once more.
            let known_sound = stamp.is_some() && stamp == Some(DatabaseStamp::of(path)?);
            (Target::of(lock.connection(), path, known_sound), Some(lock))
        }
        Err(error) => (Target::from_error(error), None),
    };
    match target {
        // Only the absence of other locks can prove it here.
        Target::Damaged(_) => {
            drop(lock);
            thread::sleep(SETTLE);
            wait_until_free(path, request)?;
            Ok((target, None))
        }
        Target::Unknown(error) if lock.is_none() => Err(error),
        _ => Ok((target, lock)),
    }
}

/// Waits until no other process has a lock on the library. Tells whether it had to.
///
/// # Errors
/// [`Kind::Locked`] with the process that has it.
pub fn wait_until_free(library: &Path, request: &Request<'_>) -> anyhow::Result<bool> {
    let begun = Instant::now();
    let mut waited = false;
    loop {
        match require_no_holder(library) {
            Err(error) if kind(&error) == Kind::Locked && begun.elapsed() < request.timeout => {
                waited = true;
                signals::check()?;
                request.say_who(library, begun);
                thread::sleep(PAUSE);
            }
            free => return free.map(|()| waited),
        }
    }
}

/// Makes the checks that a restore would make after the question.
pub fn rehearse(plan: &Plan, staged: &Staged, request: &Request<'_>) -> anyhow::Result<()> {
    match &plan.target {
        Target::Missing => {
            let directory = parent(&plan.library);
            // Where it exists the stage is in it already.
            let missing = if directory.is_dir() {
                0
            } else {
                staged.contents.database_size
            };
            require_place(directory, missing)
        }
        Target::Empty | Target::Library(_) => {
            let Some(live) = open_if_any(&plan.library, request.scratch)? else {
                return Ok(());
            };
            Work::find(live.connection(), &stage_of(staged))?.require_space(&plan.library)?;
            if let (Target::Library(facts), Some(directory)) = (&plan.target, request.safety_directory) {
                rehearse_safety_backup(&live, facts, directory, &request.archive)?;
            }
            live.close()
        }
        _ => Ok(()),
    }
}

/// The library, unless it is a file of no bytes.
fn open_if_any(path: &Path, scratch: &Path) -> anyhow::Result<Option<ReadConnection>> {
    match path.metadata() {
        Ok(meta) if meta.len() == 0 => Ok(None),
        _ => ReadConnection::open_without_trace(path, scratch).map(Some),
    }
}

fn stage_of(staged: &Staged) -> Stage<'_> {
    Stage {
        path: staged.file.path(),
        header: staged.contents.header,
        size: staged.contents.database_size,
    }
}
