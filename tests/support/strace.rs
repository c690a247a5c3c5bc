//! System calls that kill or fail, by strace(1).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::*;

/// The calls that change what is on disk, or may. Between two of them a kill leaves the same as at the second.
pub const CHANGING: &str = "write,pwrite64,writev,open,openat,rename,renameat2,link,linkat,unlink,unlinkat,ftruncate,fsync,\
                            fdatasync,mkdir,mkdirat,fchmod,chmod,fchown,fallocate,flock";

/// Whose calls count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of the program's main thread.
    Main,
    /// Those of each thread and child, each counted for itself.
    All,
}

/// True if it can be done here.
pub fn available(what: &str) -> bool {
    if !has_tools(what, &["strace", "taskset"]) {
        return false;
    }
    let tried = std::process::Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=1", "true"])
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        skipped(what, "strace can't trace here");
        return false;
    }
    true
}

/// What makes a command line run on one processor: another one in each call.
pub fn on_one_processor() -> [String; 3] {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    let allowed = processors();
    ["taskset".into(), "-c".into(), allowed[turn % allowed.len()].to_string()]
}

/// Those that this process may use.
#[cfg(target_os = "linux")]
fn processors() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|&number| allowed.is_set(number))
        .collect()
}

#[cfg(not(target_os = "linux"))]
fn processors() -> Vec<usize> {
    unreachable!("strace is Linux's");
}

/// strace(1), and all that it starts, on one processor; its options are to follow. Each call that is traced wakes it and
/// then the program: where one sleeps on a processor of its own, in a virtual machine, that takes five times as long as
/// all else that they do.
pub fn tracer(world: &World) -> Cmd {
    let [taskset, option, number] = on_one_processor();
    world.cmd(&taskset).args([&option, &number, "strace"])
}

/// A program under strace; its arguments are to follow.
pub fn traced(world: &World, program: &str, whose: Whose, options: &[&str]) -> Cmd {
    let follow: &[&str] = match whose {
        Whose::Main => &[],
        Whose::All => &["-f"],
    };
    // Where there is time, threads that all count run side by side.
    let cmd = match whose == Whose::All && exhaustive() {
        true => world.cmd("strace"),
        false => tracer(world),
    };
    cmd.arg("-qq").args(follow).args(options).arg(executable(program))
}

/// A program that is killed when it is about to do `call` for the `n`th time.
pub fn killed(world: &World, program: &str, whose: Whose, call: &str, n: usize) -> Cmd {
    let inject = format!("inject={call}:signal=KILL:when={n}");
    traced(
        world,
        program,
        whose,
        &["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject],
    )
}

/// A program for which `calls` fail with `errno` at the `n`th time, or with `on` from then on.
pub fn failing(world: &World, program: &str, whose: Whose, calls: &str, errno: &str, n: usize, on: bool) -> Cmd {
    let on = if on { "+" } else { "" };
    let inject = format!("inject={calls}:error={errno}:when={n}{on}");
    traced(
        world,
        program,
        whose,
        &["-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject],
    )
}

/// A program that gets `signal` when it has done `call` for the `n`th time.
pub fn signalled(world: &World, program: &str, signal: &str, call: &str, n: usize) -> Cmd {
    let inject = format!("inject={call}:signal={signal}:when={n}");
    let options = ["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
    traced(world, program, Whose::Main, &options)
}

/// What the log says of a thread that stops.
const STOPPED: &str = "--- stopped by SIGSTOP ---";

/// A program that its tracer watches from aside: it is the child that the test started, with its process id and its
/// status.
pub struct Watched {
    /// Until [`Watched::finish`].
    running: Option<Running>,
    program: String,
    log: PathBuf,
}

/// Starts what `finish` makes of a program, whose main thread stops when it has done `call` for the `n`th time, and all
/// others with it.
pub fn stopping(world: &World, program: &str, call: &str, n: usize, finish: impl FnOnce(Cmd) -> Cmd) -> Watched {
    let inject = format!("inject={call}:signal=STOP:when={n}");
    watched(world, program, &["-e", &format!("trace={call}"), "-e", &inject], finish)
}

/// The same for whichever thread comes to it first.
pub fn stopping_thread(world: &World, program: &str, call: &str, n: usize, finish: impl FnOnce(Cmd) -> Cmd) -> Watched {
    let inject = format!("inject={call}:signal=STOP:when={n}");
    let options = ["-f", "-e", &format!("trace={call}"), "-e", &inject];
    watched(world, program, &options, finish)
}

/// Starts what `finish` makes of a program, to be asked whether a lock was refused to it.
pub fn waiting(world: &World, program: &str, finish: impl FnOnce(Cmd) -> Cmd) -> Watched {
    watched(world, program, &["-f", "-e", "trace=fcntl"], finish)
}

fn watched(world: &World, program: &str, options: &[&str], finish: impl FnOnce(Cmd) -> Cmd) -> Watched {
    let log = world.path("watched.log");
    let _ = std::fs::remove_file(&log);
    let cmd = tracer(world).args(["-D", "-qq", "-o"]).arg(&log).args(options);
    let running = Some(finish(cmd.arg(executable(program))).start());
    let program = program.to_owned();
    Watched { running, program, log }
}

impl Watched {
    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("it is not finished")
    }

    fn logged(&self, what: &str) -> bool {
        std::fs::read(&self.log).is_ok_and(|log| String::from_utf8_lossy(&log).contains(what))
    }

    /// Waits until it has stopped; false if it came to its end before.
    #[track_caller]
    pub fn has_stopped(&mut self) -> bool {
        wait_until("it stops, or ends", || {
            self.logged(STOPPED) || !self.running().is_running()
        });
        self.logged(STOPPED)
    }

    /// Waits until a lock is refused to it, so that it has to wait.
    #[track_caller]
    pub fn is_refused(&mut self) {
        wait_until("a lock is refused to it", || {
            assert!(self.running().is_running(), "it did not wait");
            self.logged("EAGAIN")
        });
    }

    /// What it has written and nobody has read so far, in bytes.
    pub fn unread(&mut self) -> u64 {
        let pipe = self.running().stdout.as_ref().unwrap();
        rustix::io::ioctl_fionread(pipe).unwrap()
    }

    /// Lets it go on, as often as it stops, and waits for its end.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        let running = self.running.take().expect("it is finished once");
        let (process, log) = (running.process(), self.log.clone());
        // Its end, or that of a test that fails, is the end of the channel.
        let (ended, wait) = std::sync::mpsc::channel::<()>();
        let again = std::thread::spawn(move || {
            let mut seen = 0;
            loop {
                let text = std::fs::read(&log).unwrap_or_default();
                let stops = String::from_utf8_lossy(&text).matches(STOPPED).count();
                if stops > seen {
                    let _ = rustix::process::kill_process(process, Signal::CONT);
                    seen = stops;
                }
                match wait.recv_timeout(Duration::from_millis(2)) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => break,
                }
            }
        });
        let out = running.finish();
        drop(ended);
        again.join().unwrap();
        Output {
            name: self.program.clone(),
            ..out
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A test that fails leaves nothing that is stopped for ever.
        if let Some(mut running) = self.running.take()
            && running.is_running()
        {
            running.signal(Signal::KILL);
        }
    }
}

/// How often a program does each of `calls`, from a run of what `finish` makes of it; with [`Whose::All`] what the
/// busiest thread does. strace counts each call for itself.
pub fn count(
    world: &World,
    program: &str,
    whose: Whose,
    calls: &str,
    finish: impl FnOnce(Cmd) -> Cmd,
) -> Vec<(String, usize)> {
    let log = world.path("strace.log");
    let cmd = traced(
        world,
        program,
        whose,
        &[
            "-o",
            log.to_str().unwrap(),
            "-e",
            &format!("trace={calls}"),
            "-e",
            "signal=none",
        ],
    );
    finish(cmd).run().ok();
    per_thread(&log)
}

/// How often the busiest thread of a log does each call. The log is removed.
pub fn per_thread(log: &Path) -> Vec<(String, usize)> {
    let text = String::from_utf8_lossy(&read(log)).into_owned();
    std::fs::remove_file(log).unwrap();
    let mut by_call: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    for line in text.lines() {
        let (thread, rest) = match line.split_once(' ') {
            Some((pid, rest)) if pid.bytes().all(|b| b.is_ascii_digit()) => (pid, rest.trim_start()),
            _ => ("", line),
        };
        let Some((name, _)) = rest.split_once('(') else {
            continue;
        };
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            continue;
        }
        *by_call.entry(name.into()).or_default().entry(thread).or_default() += 1;
    }
    let most = |threads: BTreeMap<&str, usize>| threads.into_values().max().unwrap_or(0);
    by_call
        .into_iter()
        .map(|(name, threads)| (name, most(threads)))
        .collect()
}

/// Each call with each of its numbers.
pub fn steps(counts: &[(String, usize)]) -> Vec<(&str, usize)> {
    let numbered = |(call, count)| (1..=count).map(move |n| (call, n));
    counts
        .iter()
        .map(|(call, count)| (call.as_str(), *count))
        .flat_map(numbered)
        .collect()
}
