//! What is known before anything is touched: the stage is checked, and the target is looked at; side by side, for each of
//! these keeps one core busy. For a question the two are compared meanwhile, on what the processor has to spare.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::{self, JoinHandle};
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
    /// The two are still being compared, or have been; `None` where there is no question, or nothing to compare.
    pub comparing: Option<Comparing>,
}

/// Checks the stage, and looks at what is at `path`. If it `compares`, no other process has the library open as far as is
/// known, and nobody may ask who has while [`Findings::comparing`] exists: that would drop its lock
/// ([`Holder::find`](super::Holder::find)).
///
/// # Errors
/// Those of [`Staged::check`]; [`Kind::Locked`] in a dry run.
pub fn examine(staged: &Staged, path: &Path, request: &Request<'_>, compares: bool) -> anyhow::Result<Findings> {
    let Request {
        dry_run,
        scratch,
        timeout,
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
    let mut comparing = None;
    let (mut backup, looked) = thread::scope(|scope| {
        // Where no thread can be started, one goes after the other, and nothing is compared.
        let beside = match hot {
            true => None,
            false => thread::Builder::new()
                .name("look".into())
                .spawn_scoped(scope, look_at_target)
                .ok(),
        };
        if beside.is_some() && compares {
            comparing = Comparing::begin(staged.file.path(), path, scratch);
        }
        let backup = staged.check();
        let broke_off = |_| Err(Kind::Failed.error("the check of the library was cut short"));
        let looked = beside.map(|thread| thread.join().unwrap_or_else(broke_off));
        (backup, looked)
    });
    if backup.is_err() || !matches!(looked, Some(Ok((Target::Library(_), _)))) {
        comparing = None;
    }
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
    // Unless it is a library, none of our connections is open by now.
    let target = match target {
        Target::Unknown(error) if kind(&error) == Kind::Locked => Target::Unknown(in_use(path).into()),
        target => target,
    };
    Ok(Findings {
        backup,
        target,
        stamp,
        comparing,
    })
}

/// A comparison of the library and the stage, which goes on beside the checks and the question. When this is dropped, it has
/// ended, and its connections are closed.
pub struct Comparing {
    enough: Arc<AtomicBool>,
    counts: mpsc::Receiver<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Comparing {
    /// Begins it, if a thread can be started.
    fn begin(stage: &Path, library: &Path, scratch: &Path) -> Option<Self> {
        let enough = Arc::new(AtomicBool::new(false));
        let (sender, counts) = mpsc::sync_channel(1);
        let [stage, library, scratch] = [stage, library, scratch].map(Path::to_owned);
        let enough_too = Arc::clone(&enough);
        let compare = move || {
            give_way();
            if let Some(counts) = compare(&stage, &library, &scratch, &enough_too) {
                // Nobody may want it any more.
                let _ = sender.send(counts);
            }
        };
        let thread = thread::Builder::new().name("compare".into()).spawn(compare).ok()?;
        Some(Comparing {
            enough,
            counts,
            thread: Some(thread),
        })
    }

    /// How many files the backup knows differently, from the library to the backup. It is told once.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`] if it takes longer than that, [`RecvTimeoutError::Disconnected`] if they can't be
    /// compared.
    pub fn counts(&self, patience: Duration) -> Result<Counts, RecvTimeoutError> {
        self.counts.recv_timeout(patience)
    }

    /// Ends it soon: nobody wants the counts any more, and its lock may keep others waiting.
    pub fn give_up(&self) {
        self.enough.store(true, Ordering::Relaxed);
    }

    /// True if it has the library open no more.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Comparing {
    fn drop(&mut self) {
        self.give_up();
        if let Some(thread) = self.thread.take() {
            // It has told all that it has to tell.
            let _ = thread.join();
        }
    }
}

/// Leaves the processor to the checks, for which somebody waits. Linux has a priority for each thread
/// (setpriority(2), "C library/kernel differences"); where it is one of the process, it stays.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        // A tenth of what the checks get, so that on a busy machine it comes to its end, too.
        const LOW: i32 = 10;
        // Without it the checks take longer, no more.
        let _ = rustix::process::setpriority_process(None, LOW);
    }
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
