//! Sibling programs, joined by pipes, and the one reason for which they failed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use anyhow::Context;
use signal_hook::consts::SIGPIPE;

use crate::cli::{self, Reported};
use crate::failure::Kind;
use crate::signals::{self, Deferral};

/// What a program may have to say, in bytes: an error line, or a warning or two.
const MAX_MESSAGES: u64 = 64 * 1024;

/// A program of the pipeline and its arguments.
pub struct Stage {
    program: &'static str,
    args: Vec<OsString>,
    /// A descriptor that the program finds as `/dev/fd/N`.
    inherited: Option<OwnedFd>,
}

impl Stage {
    /// A sibling program.
    pub fn new(program: &'static str, args: impl IntoIterator<Item = OsString>) -> Self {
        Stage {
            program,
            args: args.into_iter().collect(),
            inherited: None,
        }
    }

    /// Adds an operand.
    pub fn operand(&mut self, path: &Path) {
        self.args.push("--".into());
        self.args.push(path.into());
    }

    /// Adds an option whose value is the path of a descriptor that only this program inherits.
    pub fn with_descriptor(mut self, option: &str, descriptor: OwnedFd) -> Self {
        self.args.push(option.into());
        self.args.push(format!("/dev/fd/{}", descriptor.as_raw_fd()).into());
        self.inherited = Some(descriptor);
        self
    }
}

/// Where a pipeline begins and ends.
#[derive(Default)]
pub struct Ends {
    /// Standard input of the first program; ours if not given.
    pub input: Option<File>,
    /// Standard output of the last program; ours if not given.
    pub output: Option<File>,
    /// Read what the first program has to say instead of letting it write to our stderr. Then it can't draw or ask.
    pub capture: bool,
    /// The last program prints a JSON document on our standard output, also when it fails.
    pub documented: bool,
}

struct Running {
    program: &'static str,
    child: Child,
    messages: Option<JoinHandle<String>>,
}

struct Finished {
    program: &'static str,
    status: ExitStatus,
    /// What it said on stderr; `None` where it wrote to ours.
    messages: Option<String>,
}

/// Runs the stages, each one's output the next one's input, and waits for all of them. Signals are passed on to them.
///
/// # Errors
/// [`Reported`] for the first stage that failed for a reason of its own.
pub fn run(stages: Vec<Stage>, ends: Ends, verbose: bool) -> anyhow::Result<()> {
    if verbose {
        cli::note(&shown(&stages));
    }
    let _deferral = Deferral::new();
    let documented = ends.documented;
    let mut running: Vec<Running> = Vec::new();
    // If one can't be started, those before it find their pipe closed and end by themselves.
    let spawned = spawn_all(stages, ends, &mut running);
    let mut finished = Vec::new();
    for running in running {
        finished.push(running.wait()?);
    }
    spawned?;
    signals::check()?;
    judge(finished, documented)
}

fn spawn_all(stages: Vec<Stage>, ends: Ends, running: &mut Vec<Running>) -> anyhow::Result<()> {
    let last = stages.len().saturating_sub(1);
    let mut input = ends.input.map_or(Stdio::inherit(), Stdio::from);
    let mut output = Some(ends.output.map_or(Stdio::inherit(), Stdio::from));
    for (i, stage) in stages.into_iter().enumerate() {
        let stdout = if i == last {
            output.take().unwrap_or_else(Stdio::inherit)
        } else {
            Stdio::piped()
        };
        let capture = ends.capture || i > 0;
        let mut started = spawn(stage, input, stdout, capture)?;
        input = started.child.stdout.take().map_or(Stdio::null(), Stdio::from);
        running.push(started);
    }
    Ok(())
}

fn spawn(stage: Stage, stdin: Stdio, stdout: Stdio, capture: bool) -> anyhow::Result<Running> {
    let Stage {
        program,
        args,
        inherited,
    } = stage;
    if let Some(descriptor) = &inherited {
        rustix::io::fcntl_setfd(descriptor.as_fd(), rustix::io::FdFlags::empty())
            .map_err(std::io::Error::from)
            .context("cannot pass on a descriptor")?;
    }
    let path = sibling(program);
    let stderr = if capture { Stdio::piped() } else { Stdio::inherit() };
    let child = Command::new(&path)
        .args(args)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .spawn();
    // Closed before the next program starts, which must not inherit it.
    drop(inherited);
    let mut child = child.map_err(|error| {
        Kind::Failed
            .because(format!("cannot run '{}'", path.display()))
            .hint("the seven programs of vpo-library belong together, in one directory or on PATH")
            .source(error)
    })?;
    signals::register_child(child.id());
    let messages = child.stderr.take().map(|stderr| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let mut stderr = stderr;
            // What can't be read is not there to be told.
            let _ = stderr.by_ref().take(MAX_MESSAGES).read_to_end(&mut text);
            let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    Ok(Running {
        program,
        child,
        messages,
    })
}

impl Running {
    fn wait(mut self) -> anyhow::Result<Finished> {
        let id = self.child.id();
        let status = self
            .child
            .wait()
            .with_context(|| format!("cannot wait for {}", self.program));
        signals::forget_child(id);
        Ok(Finished {
            program: self.program,
            status: status?,
            messages: self.messages.map(|thread| thread.join().unwrap_or_default()),
        })
    }
}

/// Prints what the programs had to say, but of several errors only that of the first stage, in the order of the
/// pipeline, that failed for a reason of its own.
fn judge(finished: Vec<Finished>, documented: bool) -> anyhow::Result<()> {
    let failed: Vec<usize> = (0..finished.len()).filter(|i| !finished[*i].status.success()).collect();
    let own = |i: &&usize| finished[**i].status.signal() != Some(SIGPIPE);
    let guilty = failed.iter().find(own).copied();
    for (i, program) in finished.iter().enumerate() {
        if let Some(messages) = &program.messages
            && (program.status.success() || Some(i) == guilty)
        {
            for line in messages.lines() {
                cli::note(line);
            }
        }
    }
    let Some(guilty) = guilty else {
        // Whoever read our output went away.
        return match failed.is_empty() {
            true => Ok(()),
            false => Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()),
        };
    };
    let Finished {
        program,
        status,
        messages,
    } = &finished[guilty];
    if let Some(signal) = status.signal() {
        return Err(Kind::Failed.error(format!("{program} was ended by signal {signal}")));
    }
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(Kind::Failed.code());
    let line = messages.as_deref().and_then(|messages| {
        let prefix = format!("{program}: ");
        let mut lines = messages.lines().filter_map(|line| line.strip_prefix(&prefix));
        lines.rfind(|line| !line.starts_with("warning: "))
    });
    Err(Reported {
        status: code,
        message: line.map_or_else(|| format!("{program} ended with status {code}"), str::to_owned),
        documented,
    }
    .into())
}

/// A sibling program: beside this one, else on PATH.
fn sibling(program: &str) -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(program)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| program.into())
}

/// The pipeline as a person would type it.
fn shown(stages: &[Stage]) -> String {
    let words = |stage: &Stage| {
        let args = stage.args.iter().map(|arg| cli::quoted(OsStr::new(arg).as_ref()));
        std::iter::once(stage.program.to_owned())
            .chain(args)
            .collect::<Vec<_>>()
            .join(" ")
    };
    stages.iter().map(words).collect::<Vec<_>>().join(" | ")
}
