//! What `make install` puts where, and that `make uninstall` takes all of it away.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::place::{Place, project};
use crate::support::{PROGRAMS, executable, has_tools};

/// The files below a directory, as they would be named there.
pub fn files(root: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    files
}

/// What `make install` and `make install-systemd` put below a prefix: with what is behind the names of manual pages, and
/// the directory in which zsh looks.
pub fn tree(prefix: &str, page: &str, zsh: &str) -> BTreeSet<String> {
    let mut tree = BTreeSet::from([format!("share/zsh/{zsh}/_vpo-library")]);
    for name in PROGRAMS {
        tree.insert(format!("bin/{name}"));
        tree.insert(format!("share/bash-completion/completions/{name}"));
        tree.insert(format!("share/fish/vendor_completions.d/{name}.fish"));
    }
    let names = |directory: &str| {
        let entries = std::fs::read_dir(project(directory)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
    };
    for name in names("man").filter(|name| name != "schemas") {
        let (_, section) = name.rsplit_once('.').unwrap();
        tree.insert(format!("share/man/man{section}/{name}{page}"));
    }
    tree.extend(names("man/schemas").map(|name| format!("share/vpo-library/schemas/{name}")));
    tree.extend(names("systemd").map(|name| format!("lib/systemd/user/{name}")));
    assert!(tree.len() > 45, "{tree:?}");
    tree.into_iter().map(|file| format!("{prefix}{file}")).collect()
}

#[test]
fn a_complete_tree_and_nothing_left_of_it() {
    if !has_tools("make install", &["make", "install"]) {
        return;
    }
    let mut place = Place::with_library();
    let root = place.root().join("root");
    // The programs as they are: building them again is not what is tried here.
    let release = place.root().join("target/release");
    std::fs::create_dir_all(&release).unwrap();
    for name in PROGRAMS {
        std::os::unix::fs::symlink(executable(name), release.join(name)).unwrap();
    }
    let target = place.root().join("target").display().to_string();
    place.set("CARGO_TARGET_DIR", &target);
    let make = |goal: &str| {
        let project = env!("CARGO_MANIFEST_DIR");
        let line = format!(
            "umask 077; make -s -C '{project}' {goal} DESTDIR='{}' PREFIX=/usr",
            root.display()
        );
        place.sh(&line).ok();
    };
    make("install install-systemd");

    assert_eq!(files(&root), tree("usr/", "", "site-functions"));

    // Everybody can read it.
    let closed = place
        .sh("cd ../root/usr && find . -type f ! -perm -444 -o -type d ! -perm -555")
        .ok();
    assert_eq!(closed, "");
    let service = std::fs::read_to_string(root.join("usr/lib/systemd/user/vpo-library-backup.service")).unwrap();
    assert!(
        service.contains("\nExecStart=/usr/bin/vpo-library backup "),
        "{service}"
    );

    // The installed programs find each other, and the shells the completions.
    place
        .sh("PATH=/usr/bin:/bin; ../root/usr/bin/vpo-library backup -q")
        .ok();
    if has_tools("the installed completions", &["fish"]) {
        let line = "fish --no-config -c 'set fish_complete_path ../root/usr/share/fish/vendor_completions.d; \
                    complete -C \"vpo-pack -l \"; complete -C \"vpo-library re\"'";
        let offered = place.sh(line).ok();
        let offered: Vec<&str> = offered.lines().map(|line| line.split('\t').next().unwrap()).collect();
        let mut expected: Vec<String> = (0..=12).map(|level| level.to_string()).collect();
        expected.push("restore".into());
        assert_eq!(offered, expected);
    }

    make("uninstall");
    assert_eq!(files(&root), BTreeSet::new());
}
