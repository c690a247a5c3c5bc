//! What the machine can do, and what is skipped where it can't: tools, private mounts, devices.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Says, past the capture of the test runner, that something could not be tried; where the machine is meant to have
/// everything, that is a failure.
#[track_caller]
pub fn skipped(what: &str, why: &str) {
    let required = std::env::var_os("VPO_TEST_REQUIRE_TOOLS").is_some_and(|value| !value.is_empty());
    assert!(!required, "{what} could not be tried: {why}");
    let _ = writeln!(io::stderr(), "SKIPPED {what}: {why}");
}

/// True if every case is to be tried, however long it takes.
pub fn exhaustive() -> bool {
    std::env::var_os("VPO_TEST_EXHAUSTIVE").is_some_and(|value| !value.is_empty())
}

/// The same for what takes seconds, and can't be sampled: where it is not tried, that is said.
pub fn at_leisure(what: &str) -> bool {
    if !exhaustive() {
        let _ = writeln!(io::stderr(), "LEFT to make test-exhaustive: {what}");
    }
    exhaustive()
}

/// Whoever starts the tests may ignore these signals: a shell does so for what it runs in the background, and nohup(1). The
/// programs would go on to, as they should, and what waits for one to be ended would wait for ever.
pub(super) fn heed_signals() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
            // Safety: the default action runs no code of this process.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    });
}

/// Where other people's programs are; sshd is among the administrator's.
pub(super) const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// True if a tool is there; if not, says that `what` is skipped.
#[track_caller]
pub fn has_tool(tool: &str, what: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs = std::env::split_paths(&path).chain(std::env::split_paths(SYSTEM_PATH));
    let there = dirs.any(|dir| dir.join(tool).is_file());
    if !there {
        skipped(what, &format!("there is no {tool}"));
    }
    there
}

/// [`has_tool`] of all of them.
#[track_caller]
pub fn has_tools(what: &str, tools: &[&str]) -> bool {
    tools.iter().all(|tool| has_tool(tool, what))
}

#[cfg(target_os = "linux")]
thread_local! {
    /// What was mounted by this thread, inside of [`with_mounts`].
    pub(super) static MOUNTS: std::cell::RefCell<Vec<PathBuf>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Runs `work` on a thread where mounts concern nobody else and vanish with it. Where that is not possible, says that
/// `what` is skipped.
#[cfg(target_os = "linux")]
#[track_caller]
pub fn with_mounts(what: &str, work: impl FnOnce() + Send) {
    use rustix::mount::{MountPropagationFlags, mount_change};
    let tried = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Safety: no descriptors are unshared.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }?;
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
            work();
            Ok::<_, rustix::io::Errno>(())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if let Err(error) = tried {
        skipped(what, &format!("no private mounts here: {error}"));
    }
}

#[cfg(not(target_os = "linux"))]
#[track_caller]
pub fn with_mounts(what: &str, _work: impl FnOnce() + Send) {
    skipped(what, "private mounts are Linux's");
}

/// Makes `dir` read-only, inside of [`with_mounts`].
#[cfg(target_os = "linux")]
#[track_caller]
pub fn make_read_only(dir: &Path) {
    use rustix::mount::{MountFlags, mount_bind, mount_remount};
    mount_bind(dir, dir).unwrap();
    MOUNTS.with_borrow_mut(|mounts| mounts.push(dir.to_owned()));
    mount_remount(dir, MountFlags::BIND | MountFlags::RDONLY, c"").unwrap();
    assert!(File::create(dir.join("x")).is_err(), "still writable");
}

#[cfg(not(target_os = "linux"))]
pub fn make_read_only(_dir: &Path) {
    unreachable!("only called inside of with_mounts");
}

/// Puts an empty file system of so many KiB on `dir`, inside of [`with_mounts`].
#[cfg(target_os = "linux")]
#[track_caller]
pub fn make_small(dir: &Path, kib: u64) {
    use rustix::mount::{MountFlags, mount};
    let size = std::ffi::CString::new(format!("size={kib}k,mode=755")).unwrap();
    mount("tmpfs", dir, "tmpfs", MountFlags::empty(), size.as_c_str()).unwrap();
    MOUNTS.with_borrow_mut(|mounts| mounts.push(dir.to_owned()));
}

#[cfg(not(target_os = "linux"))]
pub fn make_small(_dir: &Path, _kib: u64) {
    unreachable!("only called inside of with_mounts");
}

/// A device that is always full, where there is one.
#[track_caller]
pub fn full_device(what: &str) -> Option<File> {
    let device = File::options().write(true).open("/dev/full").ok();
    if device.is_none() {
        skipped(what, "there is no /dev/full");
    }
    device
}
