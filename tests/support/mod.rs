//! The world that a test runs in: a temporary home with a pinned environment, the real programs joined by real pipes,
//! other processes that have the library open, terminals, and archives built by hand.

#![allow(dead_code, reason = "each crate uses what it needs")]

pub mod craft;
pub mod place;
pub mod strace;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::generate::{self, Facts, Sample, Size};

pub const PROGRAMS: [&str; 7] = [
    "vpo-snapshot",
    "vpo-pack",
    "vpo-verify",
    "vpo-unpack-restore",
    "vpo-ls-backups",
    "vpo-diff",
    "vpo-library",
];

/// The time of backups where a test does not care, and as it is in their names.
pub const TIME: &str = "2026-02-05T14:30:22Z";
pub const NAME: &str = "vpo-library-2026-02-05T143022Z.tar.gz";

/// Seconds. Nothing here takes longer, unless it hangs.
static PATIENCE: AtomicU64 = AtomicU64::new(60);

/// Lets programs take their time: for tests on large libraries.
pub fn be_patient() {
    PATIENCE.store(3600, Ordering::Relaxed);
}

fn patience() -> Duration {
    Duration::from_secs(PATIENCE.load(Ordering::Relaxed))
}

/// The executable of one of the programs; any other name is looked for on PATH.
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

/// Says, past the capture of the test runner, that something could not be tried; where the machine is meant to have
/// everything, that is a failure.
#[track_caller]
pub fn skipped(what: &str, why: &str) {
    let required = std::env::var_os("VPO_TEST_REQUIRE_TOOLS").is_some_and(|value| !value.is_empty());
    assert!(!required, "{what} could not be tried: {why}");
    let _ = writeln!(io::stderr(), "SKIPPED {what}: {why}");
}

/// True if a tool is there; if not, says that `what` is skipped.
#[track_caller]
pub fn has_tool(tool: &str, what: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    if !there {
        skipped(what, &format!("there is no {tool}"));
    }
    there
}

/// A home of its own, in a place with a name that is hard on whoever builds URIs or shell lines of it.
pub struct World {
    root: PathBuf,
    _guard: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let guard = tempfile::Builder::new().prefix("vpo 100%41?#").tempdir().unwrap();
        let root = guard.path().canonicalize().unwrap();
        for dir in ["home", "home/.vpo", "tmp", "work"] {
            std::fs::create_dir(root.join(dir)).unwrap();
        }
        World { root, _guard: guard }
    }

    /// A path in the working directory of the programs.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join("work").join(name)
    }

    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// TMPDIR.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// `~/.vpo/library.db`
    pub fn library(&self) -> PathBuf {
        self.home().join(".vpo/library.db")
    }

    /// `~/.vpo/backups`
    pub fn backups(&self) -> PathBuf {
        self.home().join(".vpo/backups")
    }

    /// A program, with the environment pinned.
    pub fn cmd(&self, program: &str) -> Cmd {
        let mut command = Command::new(executable(program));
        command
            .env_clear()
            .env("HOME", self.home())
            .env("TMPDIR", self.scratch())
            .env("TZ", "XXX-05:45")
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.path(""));
        Cmd::new(program, command)
    }

    /// Somebody else's program, with the environment that the tests were started with.
    pub fn tool(&self, name: &str) -> Cmd {
        let mut command = Command::new(name);
        command.current_dir(self.path(""));
        Cmd::new(name, command)
    }

    /// Makes `~/.vpo/library.db`.
    pub fn make_library(&self, sample: &Sample) -> Facts {
        make(sample, &self.library())
    }

    /// Makes the library of a hundred files.
    pub fn default_library(&self) -> Facts {
        self.make_library(&Sample::default())
    }

    /// The archive that the programs make of the library at `path`.
    pub fn archive_of(&self, path: &Path) -> Vec<u8> {
        let snapshot = self.cmd("vpo-snapshot").arg(path);
        pipeline([snapshot, self.cmd("vpo-pack").args(["--created-at", TIME])]).ok()
    }

    /// A database as an archive.
    pub fn pack(&self, database: &[u8]) -> Vec<u8> {
        let pack = self.cmd("vpo-pack").args(["--created-at", TIME]).input(database);
        pack.run().ok().stdout
    }

    /// Puts an archive of a sample library of so many files at `path`, with this time.
    pub fn backup_at(&self, path: &Path, files: u64, time: &str) {
        let database = self.path("backup_at.db");
        make(
            &Sample {
                size: Size::Files(files),
                ..Sample::default()
            },
            &database,
        );
        let pack = self.cmd("vpo-pack").args(["--created-at", time]).stdin_file(&database);
        write(path, &pack.run().ok().stdout);
        std::fs::remove_file(database).unwrap();
    }

    /// `vpo-verify` of these bytes.
    pub fn verify(&self, archive: &[u8]) -> Output {
        self.cmd("vpo-verify").input(archive).run()
    }

    /// No temporary file is left anywhere.
    #[track_caller]
    pub fn clean(&self) {
        let left: Vec<_> = tree(&self.root)
            .into_keys()
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(".vpo-"))
            })
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

#[cfg(target_os = "linux")]
thread_local! {
    /// What was mounted by this thread, inside of [`with_mounts`].
    static MOUNTS: std::cell::RefCell<Vec<PathBuf>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[cfg(target_os = "linux")]
impl Drop for World {
    fn drop(&mut self) {
        // What is mounted can't be removed.
        for mount in MOUNTS.take() {
            let _ = rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// Makes a sample library at `path`; equal ones are only written once.
pub fn make(sample: &Sample, path: &Path) -> Facts {
    static MADE: Mutex<BTreeMap<String, (Vec<u8>, Facts)>> = Mutex::new(BTreeMap::new());
    const KEEP: usize = 8 << 20;
    let key = format!("{sample:?}");
    let known = MADE.lock().unwrap().get(&key).cloned();
    if let Some((bytes, facts)) = known {
        write(path, &bytes);
        return facts;
    }
    let facts = generate::write(sample, path).unwrap();
    if facts.database_size_bytes < KEEP as u64 {
        MADE.lock().unwrap().insert(key, (read(path), facts.clone()));
    }
    facts
}

/// A sample library with so many files.
pub fn files(n: u64) -> Sample {
    Sample {
        size: Size::Files(n),
        ..Sample::default()
    }
}

/// The least that is a VPO library: 2 KiB.
pub fn tiny(path: &Path) {
    sqlite(
        path,
        "PRAGMA page_size = 512; PRAGMA journal_mode = DELETE;
         CREATE TABLE _meta (key TEXT, value TEXT);
         CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT, size_bytes INTEGER);
         INSERT INTO _meta VALUES ('schema_version', '27');
         INSERT INTO files VALUES (1, '/v/Amélie.mkv', 700000000);",
    );
}

/// Runs SQL in this process on a database that no test looks at meanwhile.
#[track_caller]
pub fn sqlite(path: &Path, sql: &str) {
    let db = Connection::open(path).unwrap();
    let mut batch = rusqlite::Batch::new(&db, sql);
    while let Some(mut statement) = batch.next().unwrap() {
        let mut rows = statement.query([]).unwrap();
        while rows.next().unwrap().is_some() {}
    }
    db.close().map_err(|(_, error)| error).unwrap();
}

#[track_caller]
pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) {
    let path = path.as_ref();
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

pub fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// `path` with something behind its name, as a side file has.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Everything that a database holds, as text. It reads a private copy of the file and its log: the library itself is
/// not touched, and no lock of this process on it is lost.
#[track_caller]
pub fn dump(path: &Path) -> String {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    write(&copy, &read(path));
    for suffix in ["-wal", "-journal"] {
        if beside(path, suffix).exists() {
            write(beside(&copy, suffix), &read(beside(path, suffix)));
        }
    }
    dump_of(&Connection::open(&copy).unwrap())
}

/// [`dump`] of a database in memory.
#[track_caller]
pub fn dump_bytes(database: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    write(&copy, database);
    let db = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    dump_of(&db)
}

#[track_caller]
fn dump_of(db: &Connection) -> String {
    let mut out = String::new();
    let mut schema = db
        .prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")
        .unwrap();
    let entries: Vec<(String, String, Option<String>)> = schema
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (kind, name, sql) in entries {
        writeln!(out, "{kind} {name}: {sql:?}").unwrap();
        if kind != "table" {
            continue;
        }
        let mut select = db.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        let columns = select.column_count();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                match row.get_ref(column).unwrap() {
                    ValueRef::Text(text) => write!(out, " {:?}", String::from_utf8_lossy(text)).unwrap(),
                    value => write!(out, " {value:?}").unwrap(),
                }
            }
            out.push('\n');
        }
    }
    out
}

/// Spoils the root of an index: SQLite still opens the library, and reads its facts.
pub fn damage_index(path: &Path) {
    // Asked of a copy: a connection leaves side files.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    write(&copy, &read(path));
    let db = Connection::open(&copy).unwrap();
    let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap() as usize;
    let page_size = number("PRAGMA page_size");
    let root = number("SELECT rootpage FROM sqlite_schema WHERE name = 'idx_tracks_file_id'");
    let mut bytes = read(path);
    bytes[(root - 1) * page_size..][..page_size].fill(0x55);
    write(path, &bytes);
}

/// Equal, without printing megabytes when not.
#[track_caller]
pub fn same(what: &str, left: &[u8], right: &[u8]) {
    if left != right {
        let at = left.iter().zip(right).position(|(a, b)| a != b);
        panic!(
            "{what}: {} and {} bytes differ, first at {at:?}",
            left.len(),
            right.len()
        );
    }
}

/// Equal content, without printing all of it when not.
#[track_caller]
pub fn same_content(what: &str, left: &str, right: &str) {
    if left != right {
        let (a, b) = left
            .lines()
            .zip(right.lines())
            .find(|(a, b)| a != b)
            .unwrap_or(("", ""));
        panic!(
            "{what}: {} and {} lines; {a:.300} | {b:.300}",
            left.lines().count(),
            right.lines().count()
        );
    }
}

/// One file, link or directory, as far as a program could change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub mode: u32,
    pub owner: (u32, u32),
    /// Directories have none: what is in them counts.
    pub modified: Option<(i64, i64)>,
    pub content: Vec<u8>,
}

/// Everything below `dir`.
pub fn tree(dir: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut all = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(meta) = path.symlink_metadata() else { continue };
        let kind = meta.file_type();
        if kind.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let content = match () {
            () if kind.is_file() => read(&path),
            () if kind.is_symlink() => path.read_link().unwrap().into_os_string().into_encoded_bytes(),
            () => Vec::new(),
        };
        let entry = Entry {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            modified: (!kind.is_dir()).then(|| (meta.mtime(), meta.mtime_nsec())),
            content,
        };
        all.insert(path, entry);
    }
    all
}

/// Runs `work` and makes sure that it changed nothing below `dir`. What a `-shm` holds is not content: every reader
/// writes its marks into it.
#[track_caller]
pub fn unchanged<T>(dir: &Path, work: impl FnOnce() -> T) -> T {
    let look = || {
        let mut tree = tree(dir);
        for (path, entry) in &mut tree {
            if path.as_os_str().as_encoded_bytes().ends_with(b"-shm") {
                entry.modified = None;
                entry.content.clear();
            }
        }
        tree
    };
    let before = look();
    let result = work();
    let after = look();
    for (path, entry) in &before {
        match after.get(path) {
            None => panic!("{} is gone", path.display()),
            Some(now) if now != entry => panic!(
                "{} has changed: mode {:o} -> {:o}, mtime {:?} -> {:?}, length {} -> {}, same bytes: {}",
                path.display(),
                entry.mode,
                now.mode,
                entry.modified,
                now.modified,
                entry.content.len(),
                now.content.len(),
                entry.content == now.content
            ),
            Some(_) => {}
        }
    }
    let new: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    assert!(new.is_empty(), "these are new: {new:?}");
    result
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
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
    fn new(name: &str, command: Command) -> Self {
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
        // Safety: the closures of this file only make system calls.
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

fn collect(mut read: impl FnMut(&mut Vec<u8>) -> io::Result<usize> + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut out = Vec::new();
        // A terminal ends with an error.
        let _ = read(&mut out);
        out
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    In,
    Out,
    Err,
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

/// What a program did.
#[derive(Debug)]
pub struct Output {
    pub name: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        if self.status.code() != Some(code) {
            let out = String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(2000)]);
            panic!(
                "{} ended with {}, not {code}\nstderr: {}\nstdout: {out}",
                self.name, self.status, self.stderr
            );
        }
        self
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Ended well, and had nothing to say about it.
    #[track_caller]
    pub fn silent(self) -> Self {
        let this = self.ok();
        assert_eq!(this.stderr, "", "{}", this.name);
        this
    }

    /// Failed with this code, and said so in the form of the contract: one line that has all of `needles`, perhaps a
    /// hint, nothing else.
    #[track_caller]
    pub fn fails(self, code: i32, needles: &[&str]) -> Self {
        let this = self.exits(code);
        let lines: Vec<_> = this.stderr.lines().collect();
        assert!(
            lines.len() == 1 || (lines.len() == 2 && lines[1].starts_with("hint: ")),
            "{}: not one error line and perhaps a hint:\n{}",
            this.name,
            this.stderr
        );
        this.check_error_line(lines[0], needles);
        this
    }

    /// Failed with this code; the error line is the last one but hints, after warnings, reports of progress or a
    /// question.
    #[track_caller]
    pub fn fails_after_all(self, code: i32, needles: &[&str]) -> Self {
        let this = self.exits(code);
        let line = this
            .stderr
            .lines()
            .rfind(|line| !line.starts_with("hint: "))
            .unwrap_or_default();
        this.check_error_line(line, needles);
        this
    }

    #[track_caller]
    fn check_error_line(&self, line: &str, needles: &[&str]) {
        // With a wrong reason the right status proves little.
        let said = !needles.is_empty() && needles.iter().all(|needle| !needle.is_empty());
        assert!(said, "which message is expected is to be said; this came: {line}");
        // The wrapper may leave the last word to the program that failed.
        let by = PROGRAMS
            .iter()
            .find_map(|program| line.strip_prefix(&format!("{program}: ")));
        let Some(message) = by.filter(|_| self.name == "vpo-library" || line.starts_with(&self.name)) else {
            panic!("no error line of {}: {line:?}\n{}", self.name, self.stderr);
        };
        let first = message.chars().next().unwrap_or('.');
        let variable = message.starts_with("VPO_");
        assert!(
            (variable || !first.is_uppercase()) && !message.ends_with('.'),
            "not in the style of an error: {line}"
        );
        for needle in needles {
            assert!(line.contains(needle), "{needle:?} is not in: {line}");
        }
    }

    /// The hint.
    #[track_caller]
    pub fn hint(&self) -> &str {
        let hint = self.stderr.lines().find_map(|line| line.strip_prefix("hint: "));
        hint.unwrap_or_else(|| panic!("{} gives no hint: {}", self.name, self.stderr))
    }

    /// Was ended by a closed pipe, without a word.
    #[track_caller]
    pub fn ended_silently(self) {
        assert!(!self.status.success(), "{} takes a closed pipe for success", self.name);
        assert_eq!(self.stderr, "", "{} says something about a closed pipe", self.name);
    }

    #[track_caller]
    pub fn ended_by(self, signal: i32) -> Self {
        let ended = self.status.signal();
        assert_eq!(ended, Some(signal), "{}: {} {}", self.name, self.status, self.stderr);
        self
    }

    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The one JSON document that standard output holds.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| {
            let out = String::from_utf8_lossy(&self.stdout);
            panic!(
                "{}: not one JSON document: {error}\nstdout: {out}\nstderr: {}",
                self.name, self.stderr
            )
        })
    }

    /// The document that stands for a failure.
    #[track_caller]
    pub fn json_error(&self, code: i32) {
        let json = self.json();
        assert_eq!(json["success"], false, "{json}");
        assert_eq!(json["exit_code"], code, "{json}");
        assert!(json["error"].as_str().is_some_and(|error| !error.is_empty()), "{json}");
        assert_eq!(json.as_object().unwrap().len(), 3, "{json}");
    }
}

/// An object has all of these keys.
#[track_caller]
pub fn has_keys(json: &Value, keys: &[&str]) {
    let object = json.as_object().unwrap_or_else(|| panic!("no object: {json}"));
    for key in keys {
        assert!(object.contains_key(*key), "no key {key:?} in {json:#}");
    }
}

/// What the programs of a pipeline did.
pub struct Outputs(pub Vec<Output>);

impl Outputs {
    /// All ended well; gives what the last one wrote.
    #[track_caller]
    pub fn ok(self) -> Vec<u8> {
        self.0.into_iter().map(Output::ok).next_back().unwrap().stdout
    }

    #[track_caller]
    pub fn last(mut self) -> Output {
        self.0.pop().unwrap()
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

/// The side of a terminal on which the person sits.
pub struct Terminal {
    device: File,
}

impl Terminal {
    fn open() -> (Self, OwnedFd) {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let device = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        rustix::io::fcntl_setfd(&device, rustix::io::FdFlags::CLOEXEC).unwrap();
        grantpt(&device).unwrap();
        unlockpt(&device).unwrap();
        let name = ptsname(&device, Vec::new()).unwrap();
        let user = File::options()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOCTTY.bits() as i32)
            .open(OsStr::new(name.to_str().unwrap()))
            .unwrap();
        (Terminal { device: device.into() }, user.into())
    }

    /// Makes it so many columns wide.
    pub fn resize(&self, columns: u16) {
        self.resize_to(columns, 50);
    }

    /// Makes it so many columns wide and so many rows high.
    pub fn resize_to(&self, columns: u16, rows: u16) {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.device, size).unwrap();
    }

    /// Reads until `text` was shown.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let mut shown = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&shown).contains(text) {
            match self.device.read(&mut byte) {
                Ok(1..) => shown.push(byte[0]),
                _ => panic!("the terminal never shows {text:?}: {}", String::from_utf8_lossy(&shown)),
            }
        }
        String::from_utf8(shown).unwrap()
    }

    /// Reads until `text` was shown, or nobody has the terminal open any more.
    pub fn wait_for_or_end(&mut self, text: &str) -> String {
        let mut shown = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&shown).contains(text) {
            match self.device.read(&mut byte) {
                Ok(1..) => shown.push(byte[0]),
                _ => break,
            }
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    #[track_caller]
    pub fn type_in(&mut self, text: &str) {
        self.device.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until nobody has the terminal open any more.
    pub fn rest(mut self) -> String {
        let mut shown = Vec::new();
        let _ = self.device.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    }
}

/// Another process that has a database open. POSIX locks belong to a process, so a connection in the tests' own would
/// not do; and this one can be killed.
pub struct Peer {
    child: Child,
    /// Closed when dropped.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

const PEER: &str = "VPO_TEST_PEER";
const ANSWER: &str = "peer> ";

impl Peer {
    /// Opens the database at `path`, which exists, without waiting for locks.
    #[track_caller]
    pub fn open(path: &Path) -> Self {
        Self::patient(path, 0)
    }

    /// One that waits so many milliseconds for a lock.
    #[track_caller]
    pub fn patient(path: &Path, timeout: u32) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "support::peer_process",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(PEER, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Peer { child, input, output };
        peer.sql(&format!(
            "PRAGMA busy_timeout = {timeout}; SELECT count(*) FROM sqlite_schema"
        ));
        peer
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Runs statements, which must succeed; gives the first value of the last one's first row.
    #[track_caller]
    pub fn sql(&mut self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    #[track_caller]
    pub fn try_sql(&mut self, sql: &str) -> Result<String, String> {
        writeln!(self.input.as_mut().unwrap(), "{}", sql.replace('\n', " ")).unwrap();
        loop {
            let mut line = String::new();
            assert!(
                self.output.read_line(&mut line).unwrap() > 0,
                "the other process is gone"
            );
            // The test runner's own output stands before the first answer.
            if let Some((_, answer)) = line.trim_end_matches('\n').split_once(ANSWER) {
                return match answer.split_once(' ') {
                    Some(("ok", value)) => Ok(value.into()),
                    _ => Err(answer.into()),
                };
            }
        }
    }

    /// Inserts so many rows into `files`, each in a transaction of its own.
    #[track_caller]
    pub fn insert(&mut self, rows: u32) {
        for n in 0..rows {
            self.sql(&insert(n));
        }
    }

    /// Dies at once: nothing is written back, nothing is removed.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes the database in good order, which in WAL mode checkpoints.
    pub fn close(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // In good order too, and not behind the back of the test.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Adds a row to the table `files` of a sample library.
pub fn insert(n: u32) -> String {
    format!(
        "INSERT INTO files (path, filename, directory, extension, size_bytes, modified_at, scanned_at)
         VALUES ('/new/' || hex(randomblob(8)) || '{n}', 'new', '/new', 'mkv', 1000, 'now', 'now')"
    )
}

#[test]
#[ignore = "the other process of other tests, not a test"]
fn peer_process() {
    let Some(path) = std::env::var_os(PEER) else { return };
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let run = |sql: &str| -> rusqlite::Result<String> {
        let mut value = String::new();
        let mut batch = rusqlite::Batch::new(&db, sql);
        while let Some(mut statement) = batch.next()? {
            let mut rows = statement.query([])?;
            let mut first = true;
            while let Some(row) = rows.next()? {
                if first {
                    value = match row.get_ref(0)? {
                        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                        ValueRef::Integer(n) => n.to_string(),
                        other => format!("{other:?}"),
                    };
                    first = false;
                }
            }
        }
        Ok(value)
    };
    for line in io::stdin().lines() {
        let answer = match run(&line.unwrap()) {
            Ok(value) => format!("ok {value}"),
            Err(error) => format!("failed: {error}"),
        };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{ANSWER}{}", answer.replace('\n', " ")).unwrap();
        stdout.flush().unwrap();
    }
    // In WAL mode the last one out checkpoints.
    db.close().map_err(|(_, error)| error).unwrap();
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

/// A member of an archive that is built by hand.
pub struct Member {
    pub name: Vec<u8>,
    pub kind: tar::EntryType,
    pub content: Vec<u8>,
}

pub fn member(name: &str, content: &[u8]) -> Member {
    Member {
        name: name.into(),
        kind: tar::EntryType::Regular,
        content: content.to_owned(),
    }
}

/// A tar stream without its end. Any name goes.
pub fn tar_entries(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..member.name.len()].copy_from_slice(&member.name);
        header.set_entry_type(member.kind);
        header.set_mode(0o600);
        header.set_size(member.content.len() as u64);
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(&member.content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out
}

/// A whole tar file.
pub fn tar_file(members: &[Member]) -> Vec<u8> {
    let mut out = tar_entries(members);
    out.resize(out.len() + 1024, 0);
    out
}

/// One plain gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What a `.gz` of any number of members holds.
pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

/// The two members of an archive: the database and the metadata.
#[track_caller]
pub fn unpack(archive: &[u8]) -> (Vec<u8>, Value) {
    let tar = gunzip(archive);
    let mut archive = tar::Archive::new(&tar[..]);
    let mut entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), content)
    });
    let (name, database) = entries.next().expect("a first member");
    assert_eq!(name, "library.db");
    let (name, metadata) = entries.next().expect("a second member");
    assert_eq!(name, "backup_metadata.json");
    assert!(entries.next().is_none(), "a third member");
    (database, serde_json::from_slice(&metadata).unwrap())
}

/// Where the blocks of an archive begin and end, with every field of their headers looked at, by the words of
/// archive-format.md.
#[track_caller]
pub fn blocks(archive: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut blocks = Vec::new();
    let mut start = 0;
    while start < archive.len() {
        let n = blocks.len();
        let header = &archive[start..start + 32];
        let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!(header[..12], [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 20, 0], "block {n}");
        assert_eq!(header[12..16], *b"IG\x04\0", "block {n}");
        assert_eq!(header[20..24], *b"VC\x08\0", "block {n}");
        assert_eq!(field(28) as usize, n, "number");
        let end = start + field(16) as usize;
        let mut crc = flate2::Crc::new();
        crc.update(&archive[start + 32..end - 8]);
        assert_eq!(field(24), crc.sum(), "block {n}: CRC of the compressed bytes");
        blocks.push(start..end);
        start = end;
    }
    assert_eq!(start, archive.len());
    blocks
}

/// ISIZE of a gzip member.
pub fn isize_of(member: &[u8]) -> usize {
    u32::from_le_bytes(member[member.len() - 4..].try_into().unwrap()) as usize
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Metadata as VPO itself writes it, for an archive from elsewhere.
pub fn vpo_metadata(facts: &Facts) -> Value {
    serde_json::json!({
        "vpo_version": "0.2.0",
        "schema_version": facts.schema_version,
        "created_at": TIME,
        "database_size_bytes": facts.database_size_bytes,
        "file_count": facts.file_count,
        "total_library_size_bytes": facts.total_library_size_bytes,
        "compression": "gzip",
    })
}

/// A backup as VPO itself makes it: one plain gzip member.
pub fn plain_archive(database: &[u8], metadata: &Value) -> Vec<u8> {
    let metadata = metadata.to_string();
    gzip(&tar_file(&[
        member("library.db", database),
        member("backup_metadata.json", metadata.as_bytes()),
    ]))
}
