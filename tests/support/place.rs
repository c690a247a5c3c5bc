//! A home of its own, with a library in it, and a shell that finds the programs there.

use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::database::{dump, make, sqlite};
use super::files::write_executable;
use super::machine::{SYSTEM_PATH, heed_signals};
use super::process::{PROGRAMS, collect, executable, patience};
use super::world::no_temporary_files;
use crate::generate::Facts;

/// A file of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the project.
#[track_caller]
pub fn text_of(path: &str) -> String {
    std::fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
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
        heed_signals();
        let guard = tempfile::Builder::new().prefix("vpo-recipe-").tempdir().unwrap();
        let root = guard.path().canonicalize().unwrap();
        for directory in ["bin", "home/.vpo", "tmp"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        for name in PROGRAMS {
            symlink(executable(name), root.join("bin").join(name)).unwrap();
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
        write_executable(&self.root.join("bin").join(name), script.as_bytes());
    }

    pub fn make_library(&self, path: &Path, files: u64) -> Facts {
        make(&super::files(files), path)
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
        let before = dump(&self.library());
        sqlite(
            &self.library(),
            "PRAGMA foreign_keys = OFF; DELETE FROM files WHERE id % 2 = 0",
        );
        assert!(dump(&self.library()) != before);
        before
    }

    /// The library holds what it held before the accident.
    #[track_caller]
    pub fn recovered(&self, before: &str) {
        assert!(
            dump(&self.library()) == before,
            "the library does not hold what it held before"
        );
    }

    /// No temporary file is left anywhere.
    #[track_caller]
    pub fn clean(&self) {
        no_temporary_files(&self.root);
    }
}

/// Runs a program to its end and collects what it prints. Whatever it started ends with it if it hangs.
#[track_caller]
pub fn run(mut command: Command, script: &str) -> Ran {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{script}: {error}"));
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let stdout = collect(move |out| stdout.read_to_end(out));
    let stderr = collect(move |out| stderr.read_to_end(out));
    let status = wait(&mut child, script);
    Ran {
        script: script.into(),
        status,
        stdout: String::from_utf8_lossy(&stdout.join().unwrap()).into_owned(),
        stderr: String::from_utf8_lossy(&stderr.join().unwrap()).into_owned(),
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
        if start.elapsed() > patience() {
            let group = rustix::process::Pid::from_child(child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            panic!("this hangs: {script}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
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
