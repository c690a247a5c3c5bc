//! The memory of a backup and a restore is bounded by blocks in flight, not by the library; and where there is too little of
//! it, nothing is called damaged.
#![cfg(target_os = "linux")]

use std::path::Path;

use crate::support::*;

/// The processes that one has started.
fn children(parent: u32) -> Vec<u32> {
    let names = Path::new("/proc").read_dir().unwrap().flatten();
    let ids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let of_parent = |id: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        line.is_some_and(|line| line.trim() == parent.to_string())
    };
    ids.filter(of_parent).collect()
}

/// The most memory, in MiB, that a command has at any time. It may end with 1: vpo-diff found a difference.
fn peak(cmd: Cmd) -> u64 {
    let mut running = cmd.start();
    let (mut peak, mut family) = (0, Vec::new());
    // To look without a pause, or each time for children, takes the core that the program needs.
    for look in 0.. {
        if !running.is_running() {
            break;
        }
        if look % 16 == 0 {
            family = [vec![running.id()], children(running.id())].concat();
        }
        // Anonymous: what is shared or belongs to files is not counted.
        let taken = family.iter().filter_map(|id| anonymous_memory(*id)).sum();
        peak = peak.max(taken);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let ended = running.finish();
    assert!(matches!(ended.status.code(), Some(0 | 1)), "{ended:?}");
    assert!(peak > 0, "nothing was measured");
    peak / 1024
}

#[test]
fn memory_does_not_grow_with_the_library() {
    // What the larger one has more is more than may show below.
    let sizes = if exhaustive() { [20, 160] } else { [12, 24] };
    let cores = std::thread::available_parallelism().unwrap().get() as u64;
    let bound = 64 + 6 * cores.saturating_sub(2);
    let mut peaks = Vec::new();
    for mib in sizes {
        let world = World::new();
        world.default_library();
        sqlite(
            &world.library(),
            &format!(
                "CREATE TABLE filling (x);
                 WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {mib} << 8)
                 INSERT INTO filling SELECT hex(randomblob(2000)) FROM n"
            ),
        );
        let backup = peak(world.cmd("vpo-library").args(["backup", "-q"]));
        let restore = peak(world.cmd("vpo-library").args(["restore", "-q", "--yes", "latest"]));
        println!("{mib} MiB: backup {backup} MiB, restore {restore} MiB");
        assert!(
            backup.max(restore) <= bound,
            "backup {backup}, restore {restore} MiB; bound {bound}"
        );
        peaks.push([backup, restore]);
    }
    for (small, large) in peaks[0].iter().zip(peaks[1]) {
        // Buffers that are filled or not; the rest of a larger library would show.
        assert!(large <= small + 6, "{peaks:?}");
    }
}

/// Of a comparison neither the databases nor the differences are held, also where SQLite has to sort.
#[test]
fn the_memory_of_a_comparison_does_not_grow() {
    let world = World::new();
    let empty = world.path("empty.db");
    // Both ways, but for a sampled run: one of each kind.
    for (id, index, sampled) in [("INTEGER PRIMARY KEY", "UNIQUE", 0), ("", "", 1)] {
        let mut peaks = Vec::new();
        for (name, n) in [("small.db", 10_000), ("large.db", 100_000)] {
            let large = world.path(format!("{index}{name}"));
            let schema = format!(
                "PRAGMA journal_mode = OFF; CREATE TABLE _meta (key, value);
                 CREATE TABLE files (id {id}, path TEXT {index} NOT NULL, size_bytes INTEGER);"
            );
            sqlite(
                &large,
                &format!(
                    "{schema} WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {n})
                     INSERT INTO files SELECT i, printf('/media/%0100d', (i * 7919) % 1000003), i FROM n"
                ),
            );
            let _ = std::fs::remove_file(&empty);
            sqlite(&empty, &schema);
            let ways = [(&empty, &large), (&large, &empty)];
            let tried = if exhaustive() {
                &ways[..]
            } else {
                &ways[sampled..=sampled]
            };
            for (old, new) in tried {
                let diff = world.cmd("vpo-diff").arg("--json").args([old, new]);
                peaks.push(peak(diff.stdout(std::process::Stdio::null())));
            }
        }
        println!("{index}: {peaks:?} MiB");
        let (small, large) = peaks.split_at(peaks.len() / 2);
        for (small, large) in small.iter().zip(large) {
            // What 90,000 more differences are is more than ten.
            assert!(*large <= small + 6 && *large <= 32, "{index}: {peaks:?}");
        }
    }
}

/// A text of 40 MB under a CHECK was backed up and verified, but nothing could be restored over it: the limit of memory that
/// is for a hostile archive was the process's. One of 110 MB, which is tried here, was "damaged: string or blob too big".
#[test]
fn long_values_are_not_damage() {
    if !at_leisure("values of a hundred megabytes") {
        return;
    }
    let world = World::new();
    world.backup_at(&world.path("new.tar.gz"), 30, TIME);
    world.default_library();
    // By another process: what reads archives in this one has a limit of SQLite's memory, which is the process's.
    let mut peer = Peer::open(&world.library());
    peer.sql(
        "CREATE TABLE notes (text TEXT CHECK (length(upper(text)) > 0));
         INSERT INTO notes SELECT replace(hex(zeroblob(110000000 / 2)), '0', 'x')",
    );
    peer.close();
    let archive = world.archive_of(&world.library());
    world.verify(&archive).ok();
    let restore = world.cmd("vpo-unpack-restore").args(["--yes", "--safety-dir", "safe"]);
    restore.arg("new.tar.gz").run().ok();
    assert_eq!(names(&world.home().join(".vpo")), ["library.db"]);
}

/// With too little memory quick_check gives rows such as "unable to get the page. error code=7": a sound library was moved
/// aside, a snapshot said that it is damaged, and a good archive was called invalid. Whether it gives a row or an error is
/// decided by the allocation that fails; the rows are tried in `database/check.rs`.
#[test]
fn too_little_memory_is_not_damage() {
    let world = World::new();
    world.make_library(&files(1500));
    write(world.path("good.tar.gz"), &world.archive_of(&world.library()));
    let bytes = read(world.library());
    let before = dump(&world.library());
    let (mut short, mut enough, mut by_the_check) = (0, 0, 0);
    // From what is too little to begin with, over what is too little for quick_check, to enough.
    let step = if exhaustive() { 1 } else { 4 };
    for eighths in (8 * 14..8 * 20)
        .step_by(step)
        .chain([8 * 8, 8 * 11, 8 * 24, 8 * 28, 8 * 39])
    {
        let mib = f64::from(eighths) / 8.0;
        let limited = |program: &str| {
            let bytes = (eighths << 17).to_string();
            let prlimit = world
                .tool("prlimit")
                .arg(format!("--as={bytes}"))
                .arg(executable(program));
            // Whoever prints the stack may wait for ever where there is no memory.
            let prlimit = prlimit.env("RUST_BACKTRACE", "0");
            prlimit.env("HOME", world.home()).env("TMPDIR", world.scratch())
        };
        for (program, args) in [
            ("vpo-snapshot", &[][..]),
            ("vpo-verify", &["good.tar.gz"]),
            ("vpo-unpack-restore", &["--yes", "--no-safety-backup", "good.tar.gz"]),
        ] {
            let out = limited(program).args(args).run();
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&out.stdout[..out.stdout.len().min(200)]),
                out.stderr
            );
            // Where there is no memory for the signal stack of a new thread, it is Rust's runtime that panics.
            let by_runtime = said.contains("failed to allocate an alternative stack");
            let wrong = ["damaged", "bad ", "not a complete", "aside", "panicked"]
                .iter()
                .find(|word| said.contains(**word) && !(by_runtime && **word == "panicked"));
            assert_eq!(wrong, None, "{program} with {mib} MiB: {said}");
            by_the_check += usize::from(said.contains("quick_check"));
            match out.status.code() {
                Some(0) => enough += 1,
                Some(40 | 127) | None => short += 1,
                other => panic!("{program} with {mib} MiB: {other:?}: {said}"),
            }
        }
        // A program that was ended for want of memory may leave side files, but nothing is moved.
        let left = names(&world.home().join(".vpo"));
        assert!(left.iter().all(|name| !name.contains("replaced")), "{left:?}");
        if read(world.library()) != bytes || left.len() > 1 {
            same_content("the library", &dump(&world.library()), &before);
        }
    }
    println!("{short} had too little, {by_the_check} of them for quick_check; {enough} had enough");
    // Or nothing was tried.
    assert!(short > 0 && enough > 0);
    assert!(by_the_check > 0 || !exhaustive());
}
