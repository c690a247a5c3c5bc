//! SIGINT, SIGTERM and SIGHUP: clean up, then end by that same signal.
//!
//! A thread waits for them. As a rule it removes the temporary files of this process and lets the signal do what it
//! would have done. While a [`SignalGuard`] lives, the signal is only noted: its holder looks at [`pending`] and
//! finishes or undoes its work, and the process ends when the guard is dropped.

use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

static STATE: Mutex<State> = Mutex::new(State {
    deferrals: 0,
    temporaries: Vec::new(),
    children: Vec::new(),
    last_acts: Vec::new(),
});
static CHANGED: Condvar = Condvar::new();
/// The signal that waits to be obeyed, or 0.
static PENDING: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);

struct State {
    deferrals: usize,
    temporaries: Vec<(PathBuf, Remove)>,
    children: Vec<u32>,
    last_acts: Vec<LastAct>,
}

/// What to do last, with the number of the signal.
type LastAct = Box<dyn FnOnce(i32) + Send>;

/// Removes a file by its name. It may be gone already, and nobody is left to tell.
pub type Remove = fn(&Path);

fn state() -> MutexGuard<'static, State> {
    // Nothing that holds this lock can panic half-way through a change.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to listen, except for signals that were ignored when this process started, as by nohup(1): these stay
/// ignored, here and in the programs that it runs. Also turns a write beyond the file-size limit into an ordinary error
/// (EFBIG): by default SIGXFSZ kills the process.
pub fn listen() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    let heeded = [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .filter(|signal| !is_ignored(*signal));
    for signal in heeded.clone() {
        // By the handler itself: a signal that arrives before the process has ended is obeyed, however late the thread
        // wakes.
        signal_hook::flag::register_usize(signal, Arc::clone(&PENDING), signal as usize)?;
    }
    let mut signals = Signals::new(heeded)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let mut state = state();
            for child in &state.children {
                pass_on(signal, *child);
            }
            while state.deferrals > 0 {
                state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            // A directory comes before what was put there later.
            for (path, remove) in state.temporaries.drain(..).rev() {
                remove(&path);
            }
            for act in state.last_acts.drain(..) {
                act(signal);
            }
            // The lock is kept: no new temporary file can appear behind this thread's back.
            end_by(signal);
        }
    })?;
    Ok(())
}

/// True if `signal` is ignored.
fn is_ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call changes nothing, and writes the present one to `action`, which is large
    // enough and is only read if it was written.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// The signal that asked this process to end, if one did.
pub fn pending() -> Option<i32> {
    match PENDING.load(Ordering::SeqCst) {
        0 => None,
        // It was made of an `i32`.
        signal => Some(signal as i32),
    }
}

/// An error if the process was asked to end: for loops inside a [`SignalGuard`].
pub fn check() -> io::Result<()> {
    match pending() {
        // Not `Interrupted`: readers and writers take that as an invitation to try again.
        Some(signal) => Err(io::Error::other(format!("ended by signal {signal}"))),
        None => Ok(()),
    }
}

/// Ends the process the way `signal` does by default, so that a shell sees 128 + `signal`.
pub fn end_by(signal: i32) -> ! {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    // Only a signal that can't be raised comes here.
    std::process::exit(128 + signal);
}

/// While it lives, signals wait.
#[must_use]
pub struct SignalGuard(());

impl SignalGuard {
    /// Begins to hold signals back. Deferrals can be nested.
    pub fn new() -> Self {
        state().deferrals += 1;
        SignalGuard(())
    }
}

impl Default for SignalGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        state().deferrals -= 1;
        CHANGED.notify_all();
    }
}

/// Adds what a signal that ends the process does last, after the temporary files are gone. It must not use this module, and
/// not wait.
pub fn at_end(act: impl FnOnce(i32) + Send + 'static) {
    state().last_acts.push(Box::new(act));
}

/// Makes a file that is removed if a signal ends the process. `create` makes it and tells its name; both happen
/// under one lock, so that no signal comes between them.
pub fn register_temporary<T>(remove: Remove, create: impl FnOnce() -> io::Result<(PathBuf, T)>) -> io::Result<T> {
    let mut state = state();
    let (path, made) = create()?;
    state.temporaries.push((path, remove));
    Ok(made)
}

/// Forgets a file that was removed or shall stay.
pub fn forget_temporary(path: &Path) {
    state().temporaries.retain(|(name, _)| name != path);
}

/// Registers a child process to which signals are passed on.
pub fn register_child(id: u32) {
    let mut state = state();
    state.children.push(id);
    // A signal that came while it was being started did not reach it.
    if let Some(signal) = pending() {
        pass_on(signal, id);
    }
}

/// Forgets a child process that has ended.
pub fn forget_child(id: u32) {
    state().children.retain(|child| *child != id);
}

fn pass_on(signal: i32, child: u32) {
    let pid = i32::try_from(child).ok().and_then(rustix::process::Pid::from_raw);
    if let (Some(pid), Some(signal)) = (pid, rustix::process::Signal::from_named_raw(signal)) {
        // It may have ended already.
        let _ = rustix::process::kill_process(pid, signal);
    }
}
