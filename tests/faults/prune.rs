//! Old backups are removed one by one: whatever stops that, what remains is a valid state.

use std::path::Path;

use serde_json::Value;

use crate::support::strace::{Whose, available, count, failing, killed, tracer};
use crate::support::*;

const DAYS: u32 = 6;

/// Backups of some days, made once; every run begins with copies of them.
struct Shelf {
    world: World,
    archives: Vec<(String, Vec<u8>)>,
}

impl Shelf {
    fn new() -> Self {
        let world = World::new();
        let database = world.path("tiny.db");
        tiny(&database);
        let archives = (1..=DAYS).map(|day| {
            let pack = world.cmd("vpo-pack").stdin_file(&database);
            let pack = pack.args(["--source", "here:/x", "--created-at"]);
            let archive = pack.arg(format!("2025-11-{day:02}T03:00:00Z")).run().ok().stdout;
            (format!("vpo-library-2025-11-{day:02}T030000Z.tar.gz"), archive)
        });
        let archives = archives.collect();
        Shelf { world, archives }
    }

    /// Puts all of them back.
    fn fill(&self) {
        let directory = self.world.backups();
        if directory.exists() {
            std::fs::remove_dir_all(&directory).unwrap();
        }
        std::fs::create_dir(&directory).unwrap();
        for (name, archive) in &self.archives {
            write(directory.join(name), archive);
        }
    }

    /// Which of the archives are left; each is whole.
    #[track_caller]
    fn left(&self) -> Vec<usize> {
        let directory = self.world.backups();
        let left: Vec<usize> = (0..self.archives.len())
            .filter(|i| {
                let path = directory.join(&self.archives[*i].0);
                let there = path.exists();
                assert!(
                    !there || read(&path) == self.archives[*i].1,
                    "{} has changed",
                    path.display()
                );
                there
            })
            .collect();
        assert_eq!(names(&directory).len(), left.len(), "something else is there");
        left
    }
}

fn prune(cmd: Cmd, log: &Path) -> Cmd {
    cmd.args(["prune", "--yes", "--json", "--keep-last", "2", "--log"])
        .arg(log)
}

/// How often a prune calls unlinkat: once for each of the four that go.
fn removals(shelf: &Shelf, log: &Path) -> usize {
    shelf.fill();
    let counts = count(&shelf.world, "vpo-library", Whose::Main, "unlinkat", |cmd| {
        prune(cmd, log)
    });
    assert_eq!(shelf.left(), [4, 5]);
    counts.iter().map(|(_, n)| n).sum()
}

#[test]
fn killed_at_every_removal() {
    if !available("a prune that is killed") {
        return;
    }
    let shelf = Shelf::new();
    let log = shelf.world.path("log");
    let removals = removals(&shelf, &log);
    assert_eq!(removals, 4);
    for n in 1..=removals {
        shelf.fill();
        let cmd = killed(&shelf.world, "vpo-library", Whose::Main, "unlinkat", n);
        prune(cmd, &log).run().ended_by(9);
        // The oldest are gone, and nothing else is.
        let left = shelf.left();
        assert_eq!(left, (n - 1..6).collect::<Vec<_>>());
        // The next one finishes the work.
        prune(shelf.world.cmd("vpo-library"), &log).run().ok();
        assert_eq!(shelf.left(), [4, 5]);
    }
    shelf.world.clean();
}

/// No permission to remove one: told, the others go on.
#[test]
fn each_removal_fails() {
    if !available("a removal that fails") {
        return;
    }
    let shelf = Shelf::new();
    let log = shelf.world.path("log");
    let removals = removals(&shelf, &log);
    for errno in ["EACCES", "EIO", "EROFS"] {
        for n in 1..=removals {
            shelf.fill();
            let cmd = failing(&shelf.world, "vpo-library", Whose::Main, "unlinkat", errno, n, false);
            let failed = prune(cmd, &log).run().exits(40);
            let stays = &shelf.archives[n - 1].0;
            let path = shelf.world.backups().join(stays);
            let line = format!("vpo-library: cannot remove '{}': ", path.display());
            assert!(failed.stderr.starts_with(&line), "{}", failed.stderr);
            let json = failed.json();
            assert_eq!(json["success"], false);
            assert_eq!(json["failed"].as_array().unwrap().len(), 1);
            assert_eq!(json["failed"][0]["filename"], stays.as_str());
            assert_eq!(json["removed"].as_array().unwrap().len(), removals - 1);
            assert_eq!(shelf.left(), [n - 1, 4, 5]);
            let log = String::from_utf8(read(&log)).unwrap();
            let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
            assert_eq!((&line["exit_code"], &line["outcome"]), (&40.into(), &"failure".into()));
            assert!(line["error"].as_str().unwrap().contains(stays), "{line}");
            assert_eq!(line["removed"].as_array().unwrap().len(), removals - 1);
        }
    }
    // None can go.
    shelf.fill();
    let cmd = failing(&shelf.world, "vpo-library", Whose::Main, "unlinkat", "EPERM", 1, true);
    let json = prune(cmd, &log).run().exits(40).json();
    assert_eq!(json["failed"].as_array().unwrap().len(), removals);
    assert_eq!(json["freed_bytes"], 0);
    assert_eq!(shelf.left().len(), 6);
}

/// What somebody else removes between the look and the removal is not an error.
#[test]
fn one_that_is_gone_at_the_last_moment() {
    if !available("a removal of what is gone") {
        return;
    }
    let shelf = Shelf::new();
    let log = shelf.world.path("log");
    shelf.fill();
    let cmd = failing(&shelf.world, "vpo-library", Whose::Main, "unlinkat", "ENOENT", 2, false);
    let json = prune(cmd, &log).run().ok().json();
    assert_eq!(json["success"], true);
    assert_eq!(json["removed"].as_array().unwrap().len(), 3);
    assert_eq!(shelf.left(), [1, 4, 5]);
}

/// A directory that can't be flushed: the names may come back after a power cut, which is told.
#[test]
fn a_flush_that_fails() {
    if !available("a flush that fails") {
        return;
    }
    let shelf = Shelf::new();
    let log = shelf.world.path("log");
    shelf.fill();
    let cmd = failing(&shelf.world, "vpo-library", Whose::Main, "fsync", "EIO", 1, false);
    let failed = prune(cmd, &log).run().exits(40);
    assert!(
        failed.stderr.starts_with("vpo-library: cannot flush the directory "),
        "{}",
        failed.stderr
    );
    assert_eq!(failed.json()["removed"].as_array().unwrap().len(), 4);
    assert_eq!(shelf.left(), [4, 5]);
}

/// A signal in the middle: what is removed is reported, the others stay, and the log has its line.
#[test]
fn a_signal_in_the_middle() {
    if !available("a prune that gets a signal") {
        return;
    }
    let shelf = Shelf::new();
    let log = shelf.world.path("log");
    shelf.fill();
    let cmd = tracer(&shelf.world).args(["-qq", "-o", "/dev/null", "-e"]);
    // The signal comes with the second removal, which is done all the same; a delay gives it time to be seen.
    let cmd = cmd.args([
        "inject=unlinkat:signal=TERM:when=2",
        "-e",
        "inject=newfstatat,statx:delay_enter=50000:when=1+",
    ]);
    let ended = prune(cmd.arg(executable("vpo-library")), &log).run().ended_by(15);
    let json = ended.json();
    let removed = json["removed"].as_array().unwrap().len();
    assert!((1..4).contains(&removed), "{json}");
    assert_eq!(shelf.left(), (removed..6).collect::<Vec<_>>());
    assert_eq!(json["kept"].as_array().unwrap().len(), 6 - removed);
    let log = String::from_utf8(read(&log)).unwrap();
    let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(line["removed"].as_array().unwrap().len(), removed, "{line}");
}

/// Two at once: each removes what it finds, and what the other has removed is not an error.
#[test]
fn two_at_once() {
    let shelf = Shelf::new();
    let log = shelf.world.path("log");
    for _ in 0..5 {
        shelf.fill();
        let both = [0, 1].map(|_| prune(shelf.world.cmd("vpo-library"), &log).start());
        let done = both.map(|running| running.finish().ok().json());
        let removed: usize = done.iter().map(|json| json["removed"].as_array().unwrap().len()).sum();
        assert_eq!(removed, 4, "{done:?}");
        assert_eq!(shelf.left(), [4, 5]);
    }
}
