//! The real programs, joined by real pipes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::output::{Output, Outputs};
use super::terminal::{Stream, Terminal};

pub const PROGRAMS: [&str; 7] = [
    "vpo-snapshot",
    "vpo-pack",
    "vpo-verify",
    "vpo-unpack-restore",
    "vpo-ls-backups",
    "vpo-diff",
    "vpo-library",
];

/// Seconds. Nothing here takes longer, unless it hangs.
static PATIENCE: AtomicU64 = AtomicU64::new(60);

/// Lets programs take their time: for tests on large libraries.
pub fn be_patient() {
    PATIENCE.store(3600, Ordering::Relaxed);
}

pub(super) fn patience() -> Duration {
    Duration::from_secs(PATIENCE.load(Ordering::Relaxed))
}

/// The executable of one of the programs; any other name as it is.
pub fn executable(program: &str) -> &str {
    match program {
        "vpo-snapshot" => env!("CARGO_BIN_EXE_vpo-snapshot"),
        "vpo-pack" => env!("CARGO_BIN_EXE_vpo-pack"),
        "vpo-verify" => env!("CARGO_BIN_EXE_vpo-verify"),
        "vpo-unpack-restore" => env!("CARGO_BIN_EXE_vpo-unpack-restore"),
        "vpo-ls-backups" => env!("CARGO_BIN_EXE_vpo-ls-backups"),
        "vpo-diff" => env!("CARGO_BIN_EXE_vpo-diff"),
        "vpo-library" => env!("CARGO_BIN_EXE_vpo-library"),
        other => other,
    }
}

/// Waits until `what` is the case.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience(), "this did not happen: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Memory that a process has for itself, in KiB: what it has really taken, of all that it may. None where it has ended.
pub fn anonymous_memory(id: u32) -> Option<u64> {
    let name = |process: &str| std::fs::read(format!("/proc/{process}/comm")).ok();
    // Up to its exec(2), of which we are told a moment before it is done, a child has our memory, and our name.
    if name(&id.to_string())? == name("thread-self")? {
        return None;
    }
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line?.split_whitespace().next()?.parse().ok()
}

enum Input {
    Nothing,
    Bytes(Vec<u8>),
    /// A pipe that the test writes to.
    Pipe,
    /// Set on the command.
    Given,
}

/// A program about to run.
pub struct Cmd {
    name: String,
    command: Command,
    input: Input,
    stdout_given: bool,
    stderr_given: bool,
}

impl Cmd {
    pub(super) fn new(name: &str, command: Command) -> Self {
        Cmd {
            name: name.into(),
            command,
            input: Input::Nothing,
            stdout_given: false,
            stderr_given: false,
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Bytes that come through a pipe.
    pub fn input(mut self, bytes: &[u8]) -> Self {
        self.input = Input::Bytes(bytes.to_owned());
        self
    }

    /// A pipe whose other end [`Running::input`] is.
    pub fn input_pipe(mut self) -> Self {
        self.input = Input::Pipe;
        self
    }

    pub fn stdin_file(self, path: &Path) -> Self {
        let file = File::open(path).unwrap();
        self.stdin(file)
    }

    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self.input = Input::Given;
        self
    }

    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stdout(to);
        self.stdout_given = true;
        self
    }

    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stderr(to);
        self.stderr_given = true;
        self
    }

    /// Standard output is a pipe whose reader is gone.
    pub fn closed_stdout(self) -> Self {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        self.stdout(writer)
    }

    pub fn umask(self, mask: u32) -> Self {
        self.in_child(move || {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask as _));
            Ok(())
        })
    }

    fn in_child(mut self, work: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> Self {
        // Safety: the closures that come here only make system calls.
        unsafe { self.command.pre_exec(work) };
        self
    }

    /// Runs with a terminal of its own, which is what `/dev/tty` opens, and which these standard streams are.
    pub fn terminal(mut self, streams: &[Stream]) -> (Self, Terminal) {
        let (terminal, user) = Terminal::open();
        for stream in streams {
            let user = user.try_clone().unwrap();
            self = match stream {
                Stream::In => self.stdin(user),
                Stream::Out => self.stdout(user),
                Stream::Err => self.stderr(user),
            };
        }
        // The closure keeps it open until the child has it.
        let cmd = self.in_child(move || {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(&user)?;
            Ok(())
        });
        (cmd, terminal)
    }

    /// Runs to the end.
    #[track_caller]
    pub fn run(self) -> Output {
        self.start().finish()
    }

    /// Starts it; nobody reads its standard output until [`Running::finish`].
    #[track_caller]
    pub fn start(mut self) -> Running {
        match &self.input {
            Input::Nothing => drop(self.command.stdin(Stdio::null())),
            Input::Bytes(_) | Input::Pipe => drop(self.command.stdin(Stdio::piped())),
            Input::Given => {}
        }
        if !self.stdout_given {
            self.command.stdout(Stdio::piped());
        }
        if !self.stderr_given {
            self.command.stderr(Stdio::piped());
        }
        let mut child = match self.command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{}: {error}", self.name),
        };
        let mut input = child.stdin.take();
        let feeder = match self.input {
            Input::Bytes(bytes) => input.take().map(|mut pipe| {
                std::thread::spawn(move || {
                    // A program that has seen enough closes its end.
                    let _ = pipe.write_all(&bytes);
                })
            }),
            _ => None,
        };
        let errors = child
            .stderr
            .take()
            .map(|mut pipe| collect(move |out| pipe.read_to_end(out)));
        Running {
            name: self.name,
            stdout: child.stdout.take(),
            child,
            input,
            feeder,
            errors,
        }
    }
}

/// Reads a stream to its end, on a thread of its own.
pub(super) fn collect(mut read: impl FnMut(&mut Vec<u8>) -> io::Result<usize> + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut out = Vec::new();
        // A terminal ends with an error.
        let _ = read(&mut out);
        out
    })
}

/// A program that runs.
pub struct Running {
    name: String,
    child: Child,
    /// The other end of its standard input, with [`Cmd::input_pipe`].
    pub input: Option<ChildStdin>,
    /// The other end of its standard output.
    pub stdout: Option<ChildStdout>,
    feeder: Option<JoinHandle<()>>,
    errors: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    pub fn process(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.process(), signal).unwrap();
    }

    /// Writes to its standard input.
    #[track_caller]
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Reads exactly so many bytes of its standard output.
    #[track_caller]
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.stdout.as_mut().unwrap().read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends its input, reads what it still prints, and waits for it.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        drop(self.input.take());
        let out = self
            .stdout
            .take()
            .map(|mut pipe| collect(move |out| pipe.read_to_end(out)));
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > patience() {
                let _ = self.child.kill();
                panic!("{} hangs", self.name);
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        if let Some(feeder) = self.feeder.take() {
            feeder.join().unwrap();
        }
        let join = |thread: Option<JoinHandle<Vec<u8>>>| thread.map(|t| t.join().unwrap()).unwrap_or_default();
        Output {
            name: self.name.clone(),
            status,
            stdout: join(out),
            stderr: String::from_utf8_lossy(&join(self.errors.take())).into_owned(),
        }
    }
}

/// Joins programs by pipes of the system, as a shell does.
#[track_caller]
pub fn pipeline(cmds: impl IntoIterator<Item = Cmd>) -> Outputs {
    let mut running: Vec<Running> = Vec::new();
    for mut cmd in cmds {
        if let Some(before) = running.last_mut() {
            cmd = cmd.stdin(before.stdout.take().unwrap());
        }
        running.push(cmd.start());
    }
    // The last one's output has to be read while the others are waited for.
    let last = running.pop().unwrap();
    let last = std::thread::spawn(|| last.finish());
    let mut outputs: Vec<_> = running.into_iter().map(Running::finish).collect();
    outputs.push(last.join().unwrap());
    Outputs(outputs)
}
