//! What is known before anything is touched: the stage is checked, the target is looked at, and for a question the two are
//! compared; side by side, for each of these keeps one core busy.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::diff::{Comparison, Counts};
use super::exclusive_lock::require_no_holder;
use super::holder::in_use;
use super::read_connection::{DatabaseStamp, ReadConnection};
use super::restore::Request;
use super::target::Target;
use crate::backups::Staged;
use crate::database::{Facts, JOURNAL, Untrusted, is_out_of_memory, side_file_size};
use crate::failure::{Kind, kind};
use crate::signals;

/// How much longer than the checks the comparison may take. Somebody waits to be asked, and the answer hardly ever hangs on
/// it.
const GRACE: Duration = Duration::from_secs(3);

/// How long the comparison waits for a lock.
const BESIDE: Duration = Duration::from_secs(1);

/// What was found.
pub struct Findings {
    /// What the staged database says of itself.
    pub backup: Facts,
    /// What is where the library belongs.
    pub target: Target,
    /// How it looked when it was found sound.
    pub stamp: Option<DatabaseStamp>,
    /// How many files the backup knows differently, from the library to the backup; `None` where there is no question, or
    /// it could not be told in time.
    pub difference: Option<Counts>,
}

/// Checks the stage, and looks at what is at `path`.
///
/// # Errors
/// Those of [`Staged::check`]; [`Kind::Locked`] in a dry run.
pub fn examine(staged: &Staged, path: &Path, request: &Request<'_>) -> anyhow::Result<Findings> {
    let Request {
        dry_run,
        scratch,
        timeout,
        asks,
        ..
    } = *request;
    let look_at_target = || -> anyhow::Result<_> {
        if !dry_run {
            return Ok(Target::read(path, scratch, timeout));
        }
        if library_exists(path)? {
            require_no_holder(path)?;
        }
        Ok(Target::read_without_trace(path, scratch))
    };
    // Whoever looks rolls a hot journal back: not before the backup has proved good.
    let hot = side_file_size(path, JOURNAL)?.is_some_and(|size| size > 0);
    let enough = Arc::new(AtomicBool::new(false));
    let (mut backup, looked, difference) = thread::scope(|scope| {
        let thread = |name: &str| thread::Builder::new().name(name.into());
        // Where no thread can be started, one goes after the other, and nothing is compared.
        let beside = match hot {
            true => None,
            false => thread("look").spawn_scoped(scope, look_at_target).ok(),
        };
        let (sender, receiver) = mpsc::sync_channel(1);
        let stage = staged.file.path();
        let enough_too = Arc::clone(&enough);
        let compare = move || sender.send(compare(stage, path, scratch, &enough_too)).is_ok();
        let compared = match beside.is_some() && asks {
            true => thread("compare").spawn_scoped(scope, compare).is_ok(),
            false => false,
        };
        let backup = staged.check();
        let broke_off = |_| Err(Kind::Failed.error("the check of the library was cut short"));
        let looked = beside.map(|thread| thread.join().unwrap_or_else(broke_off));
        let difference = match compared && backup.is_ok() {
            true => receiver.recv_timeout(GRACE).ok().flatten(),
            false => None,
        };
        enough.store(true, Ordering::Relaxed);
        (backup, looked, difference)
    });
    // The stage's limit of memory is one for the process. Neither is judged by what the others take: what could not be
    // checked beside them is tried again alone. What is proven stays so, and a hostile stage costs its time once.
    let unproven = |error: &anyhow::Error| kind(error) != Kind::InvalidArchive || is_out_of_memory(error);
    if looked.is_some() && backup.as_ref().is_err_and(unproven) {
        signals::check()?;
        backup = staged.check();
    }
    let backup = backup?;
    let (target, stamp) = match looked.transpose()? {
        Some((Target::Unknown(error), _)) if kind(&error) != Kind::Locked => look_at_target()?,
        Some(looked) => looked,
        None => look_at_target()?,
    };
    // By now none of our connections is open.
    let target = match target {
        Target::Unknown(error) if kind(&error) == Kind::Locked => Target::Unknown(in_use(path).into()),
        target => target,
    };
    Ok(Findings {
        backup,
        target,
        stamp,
        difference,
    })
}

/// Which files the stage knows differently than the library, in numbers; `None` if they can't be compared, or not before it
/// is `enough`.
fn compare(stage: &Path, library: &Path, scratch: &Path, enough: &Arc<AtomicBool>) -> Option<Counts> {
    let mut stage = Untrusted::open(stage).ok()?;
    stage.stop_when(Arc::clone(enough)).ok()?;
    // Whoever holds it up for longer holds up the look, too; the look itself may, while SQLite recovers a log.
    let mut library = ReadConnection::open_beside(library, scratch, BESIDE).ok()?;
    library.stop_when(Arc::clone(enough)).ok()?;
    let comparison = Comparison::new(library.connection(), &stage).ok()?;
    let counts = comparison.run(|_, _| Ok(ControlFlow::Continue(()))).ok()?;
    library.close().ok()?;
    Some(counts)
}

/// Whether there is a file by the name of the library that this process may read and write.
pub fn library_exists(path: &Path) -> anyhow::Result<bool> {
    let shown = path.display();
    let meta = match path.metadata() {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot look at '{shown}'")),
    };
    if !meta.is_file() {
        let message = format!("'{shown}' is not a file, so no library can be restored there");
        return Err(Kind::Failed.error(message));
    }
    match access(path, Access::READ_OK | Access::WRITE_OK) {
        Ok(()) => Ok(true),
        // Another restore has just moved it aside.
        Err(Errno::NOENT) => Ok(false),
        Err(error) => {
            let message = format!("cannot write the library '{shown}'");
            Err(anyhow::Error::new(io::Error::from(error)).context(message))
        }
    }
}
