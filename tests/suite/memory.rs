//! The memory of a backup and a restore is bounded by blocks in flight, not by the library.
#![cfg(target_os = "linux")]

use std::path::Path;

use crate::generate::{Sample, Size};
use crate::support::*;

/// Anonymous memory, in KiB, of a process and its children: what is shared or belongs to files is not counted.
fn anonymous(id: u32) -> u64 {
    let mut total = 0;
    for entry in Path::new("/proc").read_dir().unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // It may have ended meanwhile.
        let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        let field = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        };
        if pid == id || field("PPid:") == Some(id.into()) {
            total += field("RssAnon:").unwrap_or(0);
        }
    }
    total
}

/// The most memory, in MiB, that a command has at any time. It may end with 1: vpo-diff found a difference.
fn peak(cmd: Cmd) -> u64 {
    let mut running = cmd.start();
    let mut peak = 0;
    while running.is_running() {
        peak = peak.max(anonymous(running.id()));
        // To look without a pause takes the core that the program needs.
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
    for mib in [30, 120] {
        let world = World::new();
        world.make_library(&Sample {
            size: Size::Bytes(mib << 20),
            ..files(0)
        });
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
        for (name, n) in [("small.db", 20_000), ("large.db", 200_000)] {
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
