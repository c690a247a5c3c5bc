//! The memory of a backup and a restore is bounded by blocks in flight, not by the library.
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
    let cores = std::thread::available_parallelism().unwrap().get() as u64;
    let bound = 64 + 6 * cores.saturating_sub(2);
    let mut peaks = Vec::new();
    for mib in [16, 64] {
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
        // Buffers that are filled or not; a library four times as large would show.
        assert!(large <= small + 6, "{peaks:?}");
    }
}

/// Of a comparison neither the databases nor the differences are held, also where SQLite has to sort.
#[test]
fn the_memory_of_a_comparison_does_not_grow() {
    let world = World::new();
    let empty = world.path("empty.db");
    for (id, index) in [("INTEGER PRIMARY KEY", "UNIQUE"), ("", "")] {
        let mut peaks = Vec::new();
        for (name, n) in [("small.db", 10_000), ("large.db", 60_000)] {
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
            for (old, new) in [(&empty, &large), (&large, &empty)] {
                let diff = world.cmd("vpo-diff").arg("--json").args([old, new]);
                peaks.push(peak(diff.stdout(std::process::Stdio::null())));
            }
        }
        println!("{index}: {peaks:?} MiB");
        let (small, large) = peaks.split_at(peaks.len() / 2);
        for (small, large) in small.iter().zip(large) {
            assert!(*large <= small + 6 && *large <= 32, "{index}: {peaks:?}");
        }
    }
}
