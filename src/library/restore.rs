//! A backup becomes the library: stage, ask, claim, keep the old, apply, in this order.
//!
//! At every instant, whatever dies, the library is the old one or the new one, whole.

use std::io::{self, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::claim::{Attempt, Claim, alone};
use super::holder::locked;
use super::install::install;
use super::live::{Live, Looks, pages};
use super::replace::replace;
use super::state::{State, is_damage};
use crate::archive::{Contents, Options, Writer};
use crate::backups::{candidates, stage};
use crate::database::{Facts, JOURNAL, side_file_size};
use crate::failure::{Failure, Kind, describe, kind};
use crate::files::{NewFile, Temporary, create_directory, parent, sweep};
use crate::signals::{self, Deferral};

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
    /// How a safety backup is written; its time also names what is moved aside.
    pub archive: Options,
    /// Threads that decompress.
    pub threads: NonZero<usize>,
    /// Make every check and change nothing.
    pub dry_run: bool,
}

/// What lies where the library belongs.
#[derive(Clone, Debug)]
pub enum Current {
    /// No file, or an empty one.
    Nothing,
    /// A file, and when it was changed last, as far as the file system tells.
    File(State, Option<SystemTime>),
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
    pub current: Current,
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
    /// Where an unusable library was moved to.
    pub moved_aside: Option<PathBuf>,
}

/// Restores a backup. `confirm` sees the plan before anything is touched, and may say no by an error; in a dry run
/// nothing is touched after it either.
///
/// # Errors
/// Of every kind. Unless the message begins with "the library was restored, but", the library is as it was.
pub fn restore(
    request: Request<'_>,
    confirm: impl FnOnce(&Plan) -> anyhow::Result<()>,
) -> anyhow::Result<(Plan, Outcome)> {
    let path = resolve(request.library)?;
    let directory = parent(&path);
    let exists = matches!(Place::of(&path)?, Place::File);
    let place = if request.dry_run && !directory.is_dir() {
        request.scratch
    } else {
        create_directory(directory)
            .with_context(|| format!("cannot create the directory '{}'", directory.display()))?;
        directory
    };
    sweep(place);
    // A second copy goes into the log or the journal when there is something to replace.
    let staged = stage(request.input, place, u64::from(exists), request.threads)?;
    let look = || match (exists, request.dry_run) {
        (false, _) => Ok((Current::Nothing, None)),
        (true, false) => look(&path, request.scratch, request.timeout),
        (true, true) => look_without_trace(&path, request.scratch),
    };
    // Whoever looks rolls a hot journal back: not before the backup has proved good.
    let hot = side_file_size(&path, JOURNAL)?.is_some_and(|size| size > 0);
    let (backup, (current, checked)) = match hot {
        true => (staged.check()?, look()?),
        // One core is enough for either check.
        false => thread::scope(|scope| {
            let look = scope.spawn(look);
            let backup = staged.check();
            let broke_off = || Kind::Failed.error("the look at the library broke off");
            let current = look.join().unwrap_or_else(|_| Err(broke_off()));
            anyhow::Ok((backup?, current?))
        })?,
    };
    let current_schema = request.current_schema.unwrap_or_else(|| assumed_schema(&current));
    let mut plan = Plan {
        library: path,
        contents: staged.contents,
        backup,
        current,
        current_schema,
    };
    if plan.backup.schema_version > current_schema {
        return Err(too_new(&plan).into());
    }
    confirm(&plan)?;
    if request.dry_run {
        return Ok((plan, Outcome::default()));
    }

    // From here on connections are open: a signal waits until they are closed.
    let _deferral = Deferral::new();
    let attempt = match exists {
        true => Claim::attempt(&plan.library, request.timeout, checked)?,
        false => Attempt::Useless(State::Blank),
    };
    let outcome = apply(
        &mut plan,
        staged.file,
        attempt,
        request.safety_directory,
        request.archive,
    )?;
    Ok((plan, outcome))
}

/// Makes the staged database the library.
fn apply(
    plan: &mut Plan,
    stage: Temporary,
    attempt: Attempt,
    safety_directory: Option<&Path>,
    archive: Options,
) -> anyhow::Result<Outcome> {
    let time = archive.created_at;
    let mut outcome = Outcome::default();
    match attempt {
        Attempt::Sound(claim, old) => {
            if let Some(directory) = safety_directory {
                outcome.safety_backup = Some(keep(
                    &claim,
                    &old.clone().of_library(&plan.library),
                    directory,
                    archive,
                )?);
            }
            signals::check()?;
            replace(claim, &plan.library, &old, stage.path(), plan.contents.header)?;
        }
        Attempt::Useless(state) => {
            signals::check()?;
            let claimed = matches!(plan.current, Current::File(..));
            let replacing = match (claimed, Place::of(&plan.library)?) {
                (true, _) | (false, Place::EmptyFile) => true,
                (false, Place::Free) => false,
                // It was made while the question was open.
                (false, Place::File) => return Err(locked(&plan.library).into()),
            };
            if claimed {
                // It may have changed since the question.
                plan.current = Current::File(state, modified(&plan.library));
            }
            outcome.moved_aside = install(stage, &plan.library, replacing, time)?;
        }
    }
    Ok(outcome)
}

/// Packs the claimed library into a safety backup in `directory`.
fn keep(claim: &Claim, facts: &Facts, directory: &Path, archive: Options) -> anyhow::Result<PathBuf> {
    let failed = || format!("cannot make a safety backup in '{}'", directory.display());
    let archive = Options {
        replaced: true,
        ..archive
    };
    let time = archive.created_at;
    create_directory(directory).with_context(failed)?;
    sweep(directory);
    let file = NewFile::create(directory).with_context(failed)?;
    let mut writer = Writer::new(file.file(), facts.database_size_bytes, archive).with_context(failed)?;
    pages(claim.connection(), |page| {
        signals::check()?;
        writer.write(page)
    })
    .with_context(failed)?;
    writer.finish(facts).with_context(failed)?;
    file.publish(candidates(directory, time, true)).with_context(failed)
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
                let no_name = || Kind::Usage.error(format!("'{shown}' is no name of a file"));
                let name = path.file_name().ok_or_else(no_name)?;
                // Where the directory does not exist yet, there are no links in it.
                let directory = parent(&path)
                    .canonicalize()
                    .unwrap_or_else(|_| parent(&path).to_owned());
                return Ok(directory.join(name));
            }
        }
    }
    Err(Kind::Failed.error(format!("'{shown}' is a symlink that leads nowhere")))
}

/// What is by the name of the library.
enum Place {
    /// Nothing.
    Free,
    /// A file without content that nobody has a lock on.
    EmptyFile,
    /// A file that this process may write: it has to be claimed.
    File,
}

impl Place {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let meta = match path.metadata() {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Free),
            Err(error) => return Err(error).with_context(|| format!("cannot look at '{shown}'")),
        };
        if !meta.is_file() {
            let message = format!("'{shown}' is no file, so no library can be restored there");
            return Err(Kind::Failed.error(message));
        }
        match access(path, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) => {}
            // Another restore has just moved it aside.
            Err(Errno::NOENT) => return Ok(Place::Free),
            Err(error) => {
                let message = format!("cannot write the library '{shown}'");
                return Err(anyhow::Error::new(io::Error::from(error)).context(message));
            }
        }
        if meta.len() > 0 {
            return Ok(Place::File);
        }
        alone(path)?;
        Ok(Place::EmptyFile)
    }
}

/// Looks at the library as any reader of it does. Also returns how its files look if it is sound and they
/// stayed so meanwhile.
fn look(path: &Path, scratch: &Path, timeout: Duration) -> anyhow::Result<(Current, Option<Looks>)> {
    let _deferral = Deferral::new();
    let before = Looks::of(path)?;
    let state = match Live::open(path, scratch, timeout) {
        Ok(live) => {
            let state = State::of(live.connection(), true);
            live.close()?;
            state.with_context(|| format!("'{}'", path.display()))?
        }
        Err(error) if !is_damage(&error) => return Err(error),
        // Whether it is of use is decided when it is claimed.
        Err(error) => State::Damaged(describe(&error)),
    };
    let sound = matches!(state, State::Library(_)) && Looks::of(path)? == before;
    Ok((Current::File(state, modified(path)), sound.then_some(before)))
}

/// Looks at the library without a trace, and with every check that the claim would make.
fn look_without_trace(path: &Path, scratch: &Path) -> anyhow::Result<(Current, Option<Looks>)> {
    alone(path)?;
    let state = match Live::open_without_trace(path, scratch) {
        Ok(live) => {
            let state = State::of(live.connection(), true);
            live.close()?;
            state.with_context(|| format!("'{}'", path.display()))?
        }
        Err(error) if kind(&error) == Kind::NoSpace => return Err(error),
        Err(error) => State::Damaged(describe(&error)),
    };
    Ok((Current::File(state, modified(path)), None))
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// The schema that the installed VPO has, as far as the library tells.
fn assumed_schema(current: &Current) -> u64 {
    match current {
        Current::File(State::Library(facts), _) => facts.schema_version.max(KNOWN_SCHEMA),
        _ => KNOWN_SCHEMA,
    }
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
