//! The units of systemd.

use crate::place::{Place, has_tools, text_of};

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
        "systemd-analyze --user --man=no verify {}/vpo-library-backup.*",
        units.display()
    );
    let verified = place.sh(&line).ends(0);
    assert_eq!((verified.stdout.as_str(), verified.stderr.as_str()), ("", ""));

    // It does complain: about a program that is not there, and about what it does not know.
    for (from, to) in [
        ("/vpo-library backup", "/vpo-gone backup"),
        ("ProtectSystem=", "ProtectSistem="),
    ] {
        let service = units.join("vpo-library-backup.service");
        let right = std::fs::read_to_string(&service).unwrap();
        std::fs::write(&service, right.replace(from, to)).unwrap();
        assert_ne!(place.sh(&line).stderr, "", "{to}");
        std::fs::write(&service, right).unwrap();
    }
    let line = format!("systemd-analyze calendar '{}'", calendar());
    assert!(place.sh(&line).ok().contains("03:15:00"));
}

fn calendar() -> String {
    let timer = text_of("systemd/vpo-library-backup.timer");
    let line = timer.lines().find_map(|line| line.strip_prefix("OnCalendar="));
    line.unwrap().to_owned()
}

#[test]
fn the_service_shuts_out_what_it_does_not_need() {
    let service = text_of("systemd/vpo-library-backup.service");
    let has = |line: &str| service.lines().any(|other| other == line);
    for line in [
        "ProtectSystem=strict",
        "PrivateTmp=yes",
        "NoNewPrivileges=yes",
        "ReadWritePaths=%h/.vpo",
        "RestrictAddressFamilies=none",
    ] {
        assert!(has(line), "{line}");
    }
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
