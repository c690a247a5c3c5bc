//! A home of its own, with a library in it, and a shell that finds the programs there.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::generate::{self, Facts, Sample, Size};

/// The programs and their executables.
pub const PROGRAMS: [(&str, &str); 7] = [
    ("vpo-snapshot", env!("CARGO_BIN_EXE_vpo-snapshot")),
    ("vpo-pack", env!("CARGO_BIN_EXE_vpo-pack")),
    ("vpo-verify", env!("CARGO_BIN_EXE_vpo-verify")),
    ("vpo-unpack-restore", env!("CARGO_BIN_EXE_vpo-unpack-restore")),
    ("vpo-ls-backups", env!("CARGO_BIN_EXE_vpo-ls-backups")),
    ("vpo-diff", env!("CARGO_BIN_EXE_vpo-diff")),
    ("vpo-library", env!("CARGO_BIN_EXE_vpo-library")),
];

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(40);

/// Where other people's programs are; sshd is among the administrator's.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// A file of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the project.
#[track_caller]
pub fn text_of(path: &str) -> String {
    std::fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Waits until `what` is the case.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "this did not happen: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// True if the tools are there. If not, the test says past the capture of the runner what is skipped; where the machine
/// is meant to have everything, that is a failure.
#[track_caller]
pub fn has_tools(what: &str, tools: &[&str]) -> bool {
    for tool in tools {
        if !SYSTEM_PATH.split(':').any(|dir| Path::new(dir).join(tool).is_file()) {
            let required = std::env::var_os("VPO_TEST_REQUIRE_TOOLS").is_some_and(|value| !value.is_empty());
            assert!(!required, "{what} could not be tried: there is no {tool}");
            let _ = writeln!(io::stderr(), "SKIPPED {what}: there is no {tool}");
            return false;
        }
    }
    true
}

/// What a shell has run.
#[derive(Debug)]
pub struct Ran {
    pub script: String,
    /// As a shell shows it: 128 and the signal, where one ended it.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// It ended well; this is what it printed.
    #[track_caller]
    pub fn ok(self) -> String {
        self.ends(0).stdout
    }

    /// It ended with this status.
    #[track_caller]
    pub fn ends(self, status: i32) -> Ran {
        assert_eq!(
            self.status, status,
            "{}\nstdout: {}\nstderr: {}",
            self.script, self.stdout, self.stderr
        );
        self
    }
}

/// A directory with `bin`, `home` and `tmp`.
pub struct Place {
    root: PathBuf,
    env: Vec<(String, String)>,
    _guard: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let guard = tempfile::Builder::new().prefix("vpo-recipe-").tempdir().unwrap();
        let root = guard.path().canonicalize().unwrap();
        for directory in ["bin", "home/.vpo", "tmp"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        for (name, executable) in PROGRAMS {
            symlink(executable, root.join("bin").join(name)).unwrap();
        }
        Place {
            root,
            env: Vec::new(),
            _guard: guard,
        }
    }

    /// With a library of a hundred files.
    pub fn with_library() -> Self {
        let place = Place::new();
        place.make_library(&place.library(), 100);
        place
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// A path in the home directory, where the shell starts.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    pub fn library(&self) -> PathBuf {
        self.path(".vpo/library.db")
    }

    /// Adds an environment variable for the shells to come.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.into(), value.into()));
    }

    /// Adds a program to those that the shell finds first.
    pub fn add_program(&self, name: &str, script: &str) {
        self.write_executable(&self.root.join("bin").join(name), script);
    }

    pub fn write_executable(&self, path: &Path, script: &str) {
        std::fs::write(path, script).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    pub fn make_library(&self, path: &Path, files: u64) -> Facts {
        let sample = Sample {
            size: Size::Files(files),
            ..Sample::default()
        };
        generate::write(&sample, path).unwrap()
    }

    /// A program in this place, started in the home directory.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home())
            .env("TMPDIR", self.root.join("tmp"))
            .env("PATH", format!("{}:{SYSTEM_PATH}", self.root.join("bin").display()))
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home())
            .stdin(Stdio::null());
        command
    }

    /// Runs lines of a shell script.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Ran {
        let mut command = self.command("sh");
        command.args(["-c", script]);
        run(command, script)
    }

    /// Runs lines that stand in the manual and in the README.
    #[track_caller]
    pub fn recipe(&self, script: &str) -> Ran {
        in_manual(script);
        in_readme(script);
        self.sh(script)
    }

    /// Runs lines that stand in the manual.
    #[track_caller]
    pub fn manual(&self, script: &str) -> Ran {
        in_manual(script);
        self.sh(script)
    }

    /// Runs lines that stand in the manual, with a path of this place instead of one that they give.
    #[track_caller]
    pub fn manual_as(&self, script: &str, theirs: &str, ours: &str) -> Ran {
        in_manual(script);
        self.sh(&script.replace(theirs, ours))
    }

    /// Runs lines that stand in the README.
    #[track_caller]
    pub fn readme(&self, script: &str) -> Ran {
        in_readme(script);
        self.sh(script)
    }

    /// Runs lines that stand in the README, with a path of this place instead of one that they give.
    #[track_caller]
    pub fn readme_as(&self, script: &str, theirs: &str, ours: &str) -> Ran {
        in_readme(script);
        self.sh(&script.replace(theirs, ours))
    }

    /// Changes the library as an accident would: half of what it knows is gone. Gives the content of before.
    pub fn accident(&self) -> String {
        let before = content(&self.library());
        let db = Connection::open(self.library()).unwrap();
        db.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM files WHERE id % 2 = 0")
            .unwrap();
        db.close().map_err(|(_, error)| error).unwrap();
        assert!(content(&self.library()) != before);
        before
    }

    /// The library holds what it held before the accident.
    #[track_caller]
    pub fn recovered(&self, before: &str) {
        assert!(
            content(&self.library()) == before,
            "the library does not hold what it held before"
        );
    }

    /// No temporary file is left anywhere.
    #[track_caller]
    pub fn clean(&self) {
        let mut todo = vec![self.root.clone()];
        while let Some(directory) = todo.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().to_string_lossy().into_owned();
                let temporary = name.starts_with(".vpo-") && name.ends_with(".tmp");
                assert!(!temporary, "left behind: {}", entry.path().display());
                if entry.file_type().unwrap().is_dir() {
                    todo.push(entry.path());
                }
            }
        }
    }
}

/// Runs a program to its end and collects what it prints. Whatever it started ends with it if it hangs.
#[track_caller]
pub fn run(mut command: Command, script: &str) -> Ran {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{script}: {error}"));
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait(&mut child, script);
    Ran {
        script: script.into(),
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

/// Waits for a program that leads a process group of its own.
#[track_caller]
pub fn wait(child: &mut Child, script: &str) -> i32 {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        }
        if start.elapsed() > PATIENCE {
            let group = rustix::process::Pid::from_child(child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            panic!("this hangs: {script}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn collect(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Everything that a database holds, as text. It reads a copy of the file and its log.
#[track_caller]
pub fn content(path: &Path) -> String {
    let copy = tempfile::tempdir().unwrap();
    let copied = copy.path().join("copy.db");
    std::fs::copy(path, &copied).unwrap();
    let wal = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    if wal(path).exists() {
        std::fs::copy(wal(path), wal(&copied)).unwrap();
    }
    let db = Connection::open_with_flags(&copied, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let mut tables = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .unwrap();
    let tables: Vec<String> = tables
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let mut text = String::new();
    for table in tables {
        writeln!(text, "{table}").unwrap();
        let mut select = db.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns = select.column_count();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..columns {
                match row.get_ref(column).unwrap() {
                    ValueRef::Text(value) => write!(text, " {:?}", String::from_utf8_lossy(value)).unwrap(),
                    value => write!(text, " {value:?}").unwrap(),
                }
            }
            text.push('\n');
        }
    }
    text
}

/// The lines stand in a manual page, in this form.
#[track_caller]
fn in_manual(script: &str) {
    let found = std::fs::read_dir(project("man")).unwrap().any(|page| {
        let page = page.unwrap().path();
        let Ok(source) = std::fs::read_to_string(page) else {
            return false;
        };
        let mut text = String::new();
        for line in source.lines() {
            let line = line.strip_prefix(".Dl").unwrap_or(line);
            let line = line.trim().strip_prefix("$ ").unwrap_or(line.trim());
            text.push_str(line);
            text.push('\n');
        }
        words(&in_shell_form(&text)).contains(&words(script))
    });
    assert!(found, "no manual page has this:\n{script}");
}

/// Text of a manual page as a person would type it.
pub fn in_shell_form(mdoc: &str) -> String {
    mdoc.replace("\\(aq", "'").replace("\\e", "\\").replace("\\&", "")
}

/// The lines stand in the README, in this form.
#[track_caller]
fn in_readme(script: &str) {
    let text: String = text_of("README.md")
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("$ ").unwrap_or(line)))
        .collect();
    assert!(
        words(&text).contains(&words(script)),
        "the README does not have this:\n{script}"
    );
}

/// The text without comments, however its lines are broken.
pub fn words(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("  # ").next().unwrap_or(line));
    let text: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    text.join(" ")
}
