//! The units of systemd.

use crate::support::has_tools;
use crate::support::place::{Place, text_of};

/// `make install-systemd` into a root of its own; gives the directory of the units there.
fn installed(place: &Place) -> std::path::PathBuf {
    let bin = place.root().join("bin");
    let line = format!(
        "make -s -C '{}' install-systemd DESTDIR={}/root PREFIX=/usr BINDIR={}",
        env!("CARGO_MANIFEST_DIR"),
        place.root().display(),
        bin.display()
    );
    place.sh(&line).ok();
    place.root().join("root/usr/lib/systemd/user")
}

#[test]
fn systemd_understands_the_units() {
    if !has_tools("the units", &["make", "systemd-analyze"]) {
        return;
    }
    let mut place = Place::new();
    let units = installed(&place);
    let runtime = place.root().join("run");
    std::fs::create_dir(&runtime).unwrap();
    place.set("XDG_RUNTIME_DIR", runtime.to_str().unwrap());
    // Without the manual, which may not be installed. It says nothing if nothing is wrong.
    let line = format!(
        "systemd-analyze --user --man=no verify {}/vpo-library-*.*",
        units.display()
    );
    let verified = place.sh(&line).ends(0);
    assert_eq!((verified.stdout.as_str(), verified.stderr.as_str()), ("", ""));

    // It does complain: about a program that is not there, and about what it does not know.
    for (from, to) in [("/vpo-library ", "/vpo-gone "), ("ProtectSystem=", "ProtectSistem=")] {
        for name in ["backup", "prune"] {
            let service = units.join(format!("vpo-library-{name}.service"));
            let right = std::fs::read_to_string(&service).unwrap();
            std::fs::write(&service, right.replace(from, to)).unwrap();
            assert_ne!(place.sh(&line).stderr, "", "{to}");
            std::fs::write(&service, right).unwrap();
        }
    }
    for (name, when) in [("backup", "03:15:00"), ("prune", "Sun ")] {
        let line = format!("systemd-analyze calendar '{}'", calendar(name));
        assert!(place.sh(&line).ok().contains(when));
    }
}

fn calendar(name: &str) -> String {
    let timer = text_of(&format!("systemd/vpo-library-{name}.timer"));
    let line = timer.lines().find_map(|line| line.strip_prefix("OnCalendar="));
    line.unwrap().to_owned()
}

/// The lines of a unit that set something.
fn settings(name: &str) -> Vec<String> {
    let unit = text_of(&format!("systemd/{name}"));
    let lines = unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_services_shut_out_what_they_do_not_need() {
    for service in ["vpo-library-backup.service", "vpo-library-prune.service"] {
        let settings = settings(service);
        for line in [
            "ProtectSystem=strict",
            "PrivateTmp=yes",
            "NoNewPrivileges=yes",
            "ReadWritePaths=%h/.vpo",
            "RestrictAddressFamilies=none",
        ] {
            assert!(settings.iter().any(|other| other == line), "{service}: {line}");
        }
    }
    // Both have the same walls.
    let walls = |service: &str| {
        let mut settings = settings(service);
        settings.retain(|line| {
            let about = ["Description=", "Documentation=", "After=", "Environment=", "ExecStart="];
            !about.iter().any(|start| line.starts_with(start))
        });
        settings
    };
    assert_eq!(walls("vpo-library-backup.service"), walls("vpo-library-prune.service"));
    let service = text_of("systemd/vpo-library-backup.service");
    // The reason for the one writable directory stands there.
    let comment = service.split("ReadWritePaths=%h").next().unwrap();
    assert!(comment.ends_with("named.\nProtectSystem=strict\n") && comment.contains("library.db-shm"));
}

/// The command of the service does its work where nothing else can be written to, and no network is there.
#[test]
fn the_command_of_the_service_works() {
    let place = Place::with_library();
    let service = text_of("systemd/vpo-library-backup.service");
    let command = service
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/"));
    let ran = place.sh(command.unwrap()).ends(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert_eq!(place.sh("vpo-ls-backups --names").ok().lines().count(), 1);
}

/// The rules of the service are one line, which a drop-in can replace, and mean what it says.
#[test]
fn the_command_of_the_prune_service_works() {
    let place = Place::with_library();
    place
        .sh("set -e; mkdir .vpo/backups; vpo-snapshot --stats s >x.db
             for day in 01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20; do
                 vpo-pack --stats s --created-at 2026-10-${day}T03:00:00Z <x.db \
                     >.vpo/backups/vpo-library-2026-10-${day}T030000Z.tar.gz
             done")
        .ok();
    let settings = settings("vpo-library-prune.service");
    let value = |start: &str| settings.iter().find_map(|line| line.strip_prefix(start)).unwrap();
    let keep = value("Environment=\"KEEP=").strip_suffix('"').unwrap();
    let command = value("ExecStart=/usr/local/bin/");
    let run = |keep: &str| place.sh(&format!("KEEP='{keep}'; {command}")).ends(0);
    let ran = run(keep);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    // 7 days, 5 weeks (11 October is a Sunday), and what of 12 months there is.
    let left = place
        .sh("vpo-ls-backups --names | sed 's/.*10-\\(..\\)T.*/\\1/' | xargs")
        .ok();
    assert_eq!(left, "20 19 18 17 16 15 14 11 04\n");

    let service = text_of("systemd/vpo-library-prune.service");
    let example = service
        .lines()
        .find_map(|line| line.strip_prefix("#   Environment=\"KEEP="));
    assert_eq!(example.unwrap(), "--keep-last 30\"");
    run("--keep-last 2");
    assert_eq!(place.sh("vpo-ls-backups --names").ok().lines().count(), 2);
}
