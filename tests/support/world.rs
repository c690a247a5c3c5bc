//! The world that a test runs in: a temporary home with a pinned environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::archive::sha256;
use super::database::{files, make};
use super::files::{beside, read, write};
use super::machine::heed_signals;
use super::output::Output;
use super::process::{Cmd, executable, pipeline};
use crate::generate::{Facts, Sample};

/// The time of backups where a test does not care, and as it is in their names.
pub const TIME: &str = "2026-02-05T14:30:22Z";
pub const NAME: &str = "vpo-library-2026-02-05T143022Z.tar.gz";

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Where on that path a program is. With a PATH of the child's own to search, [`Command`] would fork(2) this process with
/// all its memory instead of posix_spawn(3), thousands of times: a tenth of the time of the fault tests.
fn located(program: &str) -> PathBuf {
    if program.contains('/') {
        return program.into();
    }
    let mut places = PATH.split(':').map(|dir| Path::new(dir).join(program));
    places.find(|path| path.exists()).unwrap_or_else(|| program.into())
}

/// A home of its own, in a place with a name that is hard on whoever builds URIs or shell lines of it.
pub struct World {
    root: PathBuf,
    _guard: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        heed_signals();
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
        let mut command = Command::new(located(executable(program)));
        command
            .env_clear()
            .env("HOME", self.home())
            .env("TMPDIR", self.scratch())
            .env("TZ", "XXX-05:45")
            .env("PATH", PATH)
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

    /// The archive of the library at `path`, to which nobody writes meanwhile; of equal ones it is only made once.
    pub fn archive_of(&self, path: &Path) -> Vec<u8> {
        static MADE: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::new(BTreeMap::new());
        if ["-wal", "-journal"].iter().any(|suffix| beside(path, suffix).exists()) {
            return self.archive_anew(path);
        }
        let key = sha256(&read(path));
        if let Some(known) = MADE.lock().unwrap().get(&key) {
            return known.clone();
        }
        let archive = self.archive_anew(path);
        if archive.len() < 1 << 20 {
            MADE.lock().unwrap().insert(key, archive.clone());
        }
        archive
    }

    /// The archive that the programs now make of the library at `path`.
    pub fn archive_anew(&self, path: &Path) -> Vec<u8> {
        let snapshot = self.cmd("vpo-snapshot").arg(path);
        pipeline([snapshot, self.cmd("vpo-pack").args(["--created-at", TIME])]).ok()
    }

    /// A database as an archive.
    pub fn pack(&self, database: &[u8]) -> Vec<u8> {
        let pack = self.cmd("vpo-pack").args(["--created-at", TIME]).input(database);
        pack.run().ok().stdout
    }

    /// Puts an archive of a sample library of so many files at `path`, with this time.
    pub fn backup_at(&self, path: &Path, count: u64, time: &str) {
        let database = self.path("backup_at.db");
        make(&files(count), &database);
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
        no_temporary_files(&self.root);
    }
}

#[cfg(target_os = "linux")]
impl Drop for World {
    fn drop(&mut self) {
        // What is mounted can't be removed.
        for mount in super::machine::MOUNTS.take() {
            let _ = rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// No temporary file is left anywhere below `dir`.
#[track_caller]
pub(super) fn no_temporary_files(dir: &Path) {
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
            let temporary = entry.file_name().to_string_lossy().starts_with(".vpo-");
            assert!(!temporary, "left behind: {:?}", entry.path());
            if entry.file_type().unwrap().is_dir() {
                dirs.push(entry.path());
            }
        }
    }
}
