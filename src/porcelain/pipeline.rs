//! Sibling programs, joined by pipes, and the one reason why they failed.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::thread;

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::SIGPIPE;

use super::trace::shown;
use crate::cli::{self, CommandLine, Reported, Told};
use crate::failure::Kind;
use crate::files::uninterrupted;
use crate::signals::{self, SignalGuard};

/// How much a program may say, in bytes: an error line, or a warning or two.
const MAX_MESSAGES: usize = 64 * 1024;

/// A program of the pipeline and its arguments.
pub struct Program {
    pub(super) name: &'static str,
    pub(super) words: Vec<Word>,
    /// The option and the descriptor that the program finds as `/dev/fd/N`.
    inherited: Option<(&'static str, OwnedFd)>,
}

/// What is on the command line of a program.
pub(super) enum Word {
    Plain(OsString),
    Path(PathBuf),
}

impl Program {
    /// A sibling program with its options.
    pub fn new(name: &'static str, options: impl IntoIterator<Item = OsString>) -> Self {
        Program {
            name,
            words: options.into_iter().map(Word::Plain).collect(),
            inherited: None,
        }
    }

    /// Adds an option whose value is a path.
    pub fn path_option(mut self, option: &str, path: impl Into<PathBuf>) -> Self {
        self.words.push(Word::Plain(option.into()));
        self.words.push(Word::Path(path.into()));
        self
    }

    /// Adds the operands, which come last.
    pub fn operands(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.words.push(Word::Plain("--".into()));
        self.words.extend(paths.into_iter().map(Word::Path));
        self
    }

    /// Adds an option whose value is the path of a descriptor that only this program inherits.
    pub fn with_descriptor(mut self, option: &'static str, descriptor: OwnedFd) -> Self {
        self.inherited = Some((option, descriptor));
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
    /// The last program prints a JSON document on our standard output, even if it fails.
    pub json_printed: bool,
    /// Leave it to the caller to say why it failed.
    pub untold: bool,
}

/// How a pipeline ended.
pub struct Ended {
    /// [`Reported`] for the first program that failed for a reason of its own.
    pub result: anyhow::Result<()>,
    /// The library was replaced, whatever happened afterwards.
    pub restored: bool,
}

struct Running {
    program: &'static str,
    child: Child,
    stderr: Option<ChildStderr>,
    messages: Vec<u8>,
    /// Some of what it said could not be read.
    unread: bool,
    told: PipeReader,
}

struct Finished {
    program: &'static str,
    status: ExitStatus,
    /// What it said on stderr, as far as that was read.
    messages: String,
    /// That was not all.
    unread: bool,
    told: Told,
}

/// Runs the programs, each one's output the next one's input, and waits for all of them. Signals are passed on to them.
/// `line` is how the person would continue: `vpo-library` with the options of this run.
pub fn run(programs: Vec<Program>, ends: Ends, line: &CommandLine, verbose: bool) -> Ended {
    if verbose {
        cli::note(&shown(&programs));
    }
    let _guard = SignalGuard::new();
    let (json_printed, untold) = (ends.json_printed, ends.untold);
    let mut running = Vec::new();
    // If one can't be started, those before it find their pipe closed and end by themselves.
    let spawned = spawn_all(programs, ends, line, &mut running);
    let listened = listen(&mut running);
    let finished: anyhow::Result<Vec<_>> = running.into_iter().map(Running::wait).collect();
    let restored = finished.as_ref().is_ok_and(|all| all.iter().any(|f| f.told.restored));
    let result = spawned.and(listened).and(finished).and_then(|finished| {
        // A signal is reason enough, unless something has been done that must be reported.
        if !restored {
            signals::check()?;
        }
        first_failure(finished, json_printed, untold)?;
        Ok(signals::check()?)
    });
    Ended { result, restored }
}

/// Runs one program and returns what it wrote to its standard output, even if it failed. `ends` say the rest.
pub fn output_of(
    program: Program,
    ends: Ends,
    line: &CommandLine,
    verbose: bool,
) -> anyhow::Result<(Vec<u8>, anyhow::Result<()>)> {
    let read = |mut reader: PipeReader| {
        let mut output = Vec::new();
        reader.read_to_end(&mut output).map(|_| output)
    };
    let (output, result) = read_from(program, ends, line, verbose, read)?;
    Ok((output.context("cannot read what a program writes")?, result))
}

/// Runs one program, lets `read` have its standard output meanwhile, and gives what that found and how the program ended.
pub fn read_from<T: Send>(
    program: Program,
    ends: Ends,
    line: &CommandLine,
    verbose: bool,
    read: impl FnOnce(PipeReader) -> T + Send,
) -> anyhow::Result<(T, anyhow::Result<()>)> {
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    let ends = Ends {
        output: Some(File::from(OwnedFd::from(writer))),
        ..ends
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, || read(reader));
        let thread = thread.context("cannot start a thread")?;
        let ended = run(vec![program], ends, line, verbose);
        let found = thread.join();
        let found = found.map_err(|_| Kind::Failed.error("reading what a program writes was cut short"))?;
        Ok((found, ended.result))
    })
}

fn spawn_all(programs: Vec<Program>, ends: Ends, line: &CommandLine, running: &mut Vec<Running>) -> anyhow::Result<()> {
    let last = programs.len().saturating_sub(1);
    let mut input = ends.input.map_or(Stdio::inherit(), Stdio::from);
    let mut output = Some(ends.output.map_or(Stdio::inherit(), Stdio::from));
    for (i, program) in programs.into_iter().enumerate() {
        let stdout = if i == last {
            output.take().unwrap_or_else(Stdio::inherit)
        } else {
            Stdio::piped()
        };
        let stderr = match ends.capture || i > 0 {
            true => Stdio::piped(),
            false => Stdio::inherit(),
        };
        let mut started = spawn(program, line, [input, stdout, stderr])?;
        input = started.child.stdout.take().map_or(Stdio::null(), Stdio::from);
        running.push(started);
    }
    Ok(())
}

fn spawn(program: Program, line: &CommandLine, [stdin, stdout, stderr]: [Stdio; 3]) -> anyhow::Result<Running> {
    let (told, tells) = io::pipe().context("cannot make a pipe")?;
    let path = cli::sibling(program.name);
    let mut command = Command::new(&path);
    if let Some((option, descriptor)) = &program.inherited {
        pass_on(descriptor)?;
        command.arg(option).arg(format!("/dev/fd/{}", descriptor.as_raw_fd()));
    }
    pass_on(&tells)?;
    command.env(cli::CALLER_VARIABLE, cli::caller_value(tells.as_raw_fd(), line));
    let words = program.words.iter().map(|word| match word {
        Word::Plain(text) => text.as_os_str(),
        Word::Path(path) => path.as_os_str(),
    });
    command.args(words).stdin(stdin).stdout(stdout).stderr(stderr);
    let child = command.spawn();
    // Closed before the next program starts, which must not inherit them.
    drop((program.inherited, tells));
    let mut child = child.map_err(|error| {
        Kind::Failed
            .because(format!("cannot run '{}'", path.display()))
            .hint("the programs of vpo-library belong together, in one directory or on PATH")
            .source(error)
    })?;
    signals::register_child(child.id());
    Ok(Running {
        program: program.name,
        stderr: child.stderr.take(),
        child,
        messages: Vec::new(),
        unread: false,
        told,
    })
}

/// Lets the next program inherit a descriptor.
fn pass_on(descriptor: &impl AsFd) -> anyhow::Result<()> {
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())
        .map_err(io::Error::from)
        .context("cannot pass on a descriptor")
}

/// Reads what the programs say, all of them at once, until they have ended.
fn listen(running: &mut [Running]) -> anyhow::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let mut speaking: Vec<&mut Running> = running.iter_mut().filter(|r| r.stderr.is_some()).collect();
        if speaking.is_empty() {
            return Ok(());
        }
        let mut ready: Vec<_> = speaking
            .iter()
            .filter_map(|r| Some(PollFd::new(r.stderr.as_ref()?, PollFlags::IN)))
            .collect();
        uninterrupted(|| Ok(poll(&mut ready, None)?)).context("cannot wait for a program")?;
        let ready: Vec<bool> = ready.iter().map(|fd| !fd.revents().is_empty()).collect();
        for (running, _) in speaking.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            let Some(stderr) = &mut running.stderr else { continue };
            match uninterrupted(|| stderr.read(&mut buffer)) {
                Ok(0) => running.stderr = None,
                Err(_) => {
                    running.stderr = None;
                    running.unread = true;
                }
                Ok(n) => {
                    let room = MAX_MESSAGES - running.messages.len();
                    running.messages.extend_from_slice(&buffer[..n.min(room)]);
                }
            }
        }
    }
}

impl Running {
    fn wait(mut self) -> anyhow::Result<Finished> {
        let id = self.child.id();
        let status = self.child.wait();
        signals::forget_child(id);
        Ok(Finished {
            program: self.program,
            status: status.with_context(|| format!("cannot wait for {}", self.program))?,
            messages: String::from_utf8_lossy(&self.messages).into_owned(),
            unread: self.unread,
            told: Told::read(self.told),
        })
    }
}

/// Prints what the programs said, but of several errors only that of the first program in the pipeline that failed for
/// a reason of its own.
fn first_failure(mut finished: Vec<Finished>, json_printed: bool, untold: bool) -> anyhow::Result<()> {
    let failed: Vec<usize> = (0..finished.len()).filter(|i| !finished[*i].status.success()).collect();
    let own = |i: &&usize| finished[**i].status.signal() != Some(SIGPIPE);
    let first = failed.iter().find(own).copied();
    for (i, program) in finished.iter().enumerate() {
        if program.status.success() || (Some(i) == first && !untold) {
            program.messages.lines().for_each(cli::note);
        }
    }
    let Some(first) = first else {
        // Whoever read our output went away.
        return match failed.is_empty() {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
        };
    };
    let Finished {
        program,
        status,
        unread,
        told,
        ..
    } = finished.swap_remove(first);
    if let Some(signal) = status.signal() {
        return Err(Kind::Failed.error(format!("{program} was ended by signal {signal}")));
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let code = code.unwrap_or(Kind::Failed.code());
    let message = told
        .error
        .unwrap_or_else(|| format!("{program} ended with status {code}"));
    if unread && !untold {
        return Err(Kind::of_code(code).error(message));
    }
    Err(Reported {
        status: code,
        message,
        hint: told.hint,
        json_printed,
    }
    .into())
}
