//! What `make static` and `make deb` have made. `cargo test` makes neither, for each takes a release build.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::Connection;

use crate::installed::{files, tree};
use crate::support::place::{Place, Ran, project};
use crate::support::{PROGRAMS, executable, has_tools};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Says past the capture of the runner that something could not be tried; where the machine is meant to have everything,
/// that is a failure.
#[track_caller]
fn skipped(what: &str, why: &str) {
    let required = std::env::var_os("VPO_TEST_REQUIRE_TOOLS").is_some_and(|value| !value.is_empty());
    assert!(!required, "{what} could not be tried: {why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {why}");
}

/// The file of a name that begins and ends so, where `make` has put it in the target directory. None if there is none,
/// or if it is older than what it was made of.
#[track_caller]
fn made(goal: &str, directory: &str, begin: &str, end: &str) -> Option<PathBuf> {
    let target = Path::new(executable("vpo-snapshot")).ancestors().nth(2).unwrap();
    let what = format!("what 'make {goal}' makes");
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(begin) && name.ends_with(end)
    };
    let entries = std::fs::read_dir(target.join(directory)).into_iter().flatten();
    let Some(path) = entries.map(|entry| entry.unwrap().path()).find(is_it) else {
        skipped(&what, &format!("there is none: make {goal}"));
        return None;
    };
    let modified = |path: &Path| path.metadata().unwrap().modified().unwrap();
    let of = [
        "Cargo.toml",
        "Cargo.lock",
        "Makefile",
        "src",
        "man",
        "completions",
        "systemd",
        "packaging",
    ];
    let newest = of.iter().map(|name| newest(&project(name), &modified)).max().unwrap();
    if modified(&path) < newest {
        skipped(
            &what,
            &format!("'{}' is older than the sources: make {goal}", path.display()),
        );
        return None;
    }
    Some(path)
}

fn newest(path: &Path, modified: &dyn Fn(&Path) -> SystemTime) -> SystemTime {
    match path.is_dir() {
        true => {
            let entries = std::fs::read_dir(path).unwrap();
            let times = entries.map(|entry| newest(&entry.unwrap().path(), modified));
            times.max().unwrap_or(SystemTime::UNIX_EPOCH)
        }
        false => modified(path),
    }
}

/// The tree of the tarball of static programs, unpacked in a place.
#[track_caller]
fn unpacked(place: &Place) -> Option<PathBuf> {
    let name = format!("vpo-library-{VERSION}-{}-linux", std::env::consts::ARCH);
    let tarball = made("static", "dist", &name, ".tar.xz")?;
    place.sh(&format!("tar xJf '{}'", tarball.display())).ok();
    Some(place.path(&name))
}

#[test]
fn the_tarball_of_static_programs() {
    if !has_tools("the static programs", &["tar", "xz", "readelf"]) {
        return;
    }
    let place = Place::new();
    let Some(unpacked) = unpacked(&place) else { return };
    let mut expected = tree("", "", "site-functions");
    expected.extend(["README.md", "LICENSE", "COPYRIGHT", "CHANGELOG.md"].map(str::to_owned));
    assert_eq!(files(&unpacked), expected);
    for program in PROGRAMS {
        let program = unpacked.join("bin").join(program);
        let line = format!("readelf -lW '{}'", program.display());
        assert!(!place.sh(&line).ok().contains("INTERP"), "{}", program.display());
        // Whose home the builder's is, is nobody's business.
        let bytes = std::fs::read(&program).unwrap();
        let home = std::env::var("HOME").unwrap_or_default() + "/.cargo";
        let told = bytes.windows(home.len()).any(|window| window == home.as_bytes());
        assert!(!told, "{} has '{home}'", program.display());
    }
    // As the README has it: for everybody, by one line; the units name the programs there.
    let service = std::fs::read_to_string(unpacked.join("lib/systemd/user/vpo-library-backup.service")).unwrap();
    assert!(
        service.contains("\nExecStart=/usr/local/bin/vpo-library backup "),
        "{service}"
    );
    let closed = place
        .sh("cd vpo-library-* && find . -type f ! -perm -444 -o -type d ! -perm -555")
        .ok();
    assert_eq!(closed, "");
}

/// A place as the root directory of its programs, which are static: there is no /proc, /dev or /etc.
struct EmptyRoot(Place);

impl EmptyRoot {
    /// None if there are no static programs, or where only root may do this.
    #[track_caller]
    fn new() -> Option<Self> {
        let what = "static programs in an empty root";
        if !has_tools(what, &["tar", "xz", "chroot"]) {
            return None;
        }
        let place = Place::with_library();
        let unpacked = unpacked(&place)?;
        let bin = place.root().join("bin");
        for program in PROGRAMS {
            std::fs::remove_file(bin.join(program)).unwrap();
            std::fs::rename(unpacked.join("bin").join(program), bin.join(program)).unwrap();
        }
        std::fs::remove_dir_all(unpacked).unwrap();
        let root = EmptyRoot(place);
        let tried = root.sh("inside vpo-library --version");
        if tried.status != 0 {
            skipped(what, &format!("this needs root: {}", tried.stderr.trim()));
            return None;
        }
        Some(root)
    }

    /// Runs lines of a shell outside, in which `inside PROGRAM` runs there with a home and nothing else.
    #[track_caller]
    fn sh(&self, script: &str) -> Ran {
        let root = self.0.root().display();
        self.0.sh(&format!(
            "chroot=$(command -v chroot)
             inside() {{ program=$1; shift; env -i HOME=/home \"$chroot\" '{root}' \"/bin/$program\" \"$@\"; }}
             {script}"
        ))
    }
}

#[test]
fn static_programs_need_nothing_around_them() {
    let Some(root) = EmptyRoot::new() else { return };
    let place = &root.0;
    let entries = std::fs::read_dir(place.root()).unwrap();
    let names: BTreeSet<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["bin", "home", "tmp"].map(Into::into).into());

    let made = root.sh("inside vpo-library backup").ok();
    assert!(
        made.starts_with("Backup created: /home/.vpo/backups/vpo-library-"),
        "{made}"
    );
    let verified = root
        .sh("inside vpo-library backup --verify && inside vpo-library verify")
        .ok();
    assert_eq!(
        verified.matches("ok  /home/.vpo/backups/vpo-library-").count(),
        2,
        "{verified}"
    );
    let listed = root.sh("inside vpo-library backups").ok();
    assert!(listed.contains("\n2 backups, "), "{listed}");
    assert_eq!(root.sh("inside vpo-library diff").ok(), "");

    let before = place.accident();
    let differences = root.sh("inside vpo-library diff").ends(1);
    assert_eq!(differences.stdout.lines().count(), 50);
    let restored = root.sh("inside vpo-library restore --yes latest").ok();
    assert!(
        restored.starts_with("Library restored: /home/.vpo/library.db\n"),
        "{restored}"
    );
    place.recovered(&before);

    // A library that is missing, and one that is damaged.
    let library = place.library();
    std::fs::rename(&library, place.path("whole.db")).unwrap();
    root.sh("inside vpo-library restore --yes latest").ok();
    place.recovered(&before);
    root.sh("head -c 50000 whole.db >.vpo/library.db").ok();
    let aside = root.sh("inside vpo-library restore --yes latest").ok();
    assert!(aside.contains("/home/.vpo/library.db.replaced-"), "{aside}");
    place.recovered(&before);

    // By hand, joined outside of it.
    std::fs::create_dir(place.path("kept")).unwrap();
    let saved = root
        .sh("inside vpo-snapshot | inside vpo-pack | inside vpo-verify --save /home/kept/")
        .ok();
    assert!(saved.starts_with("ok  /home/kept/vpo-library-"), "{saved}");
    place.accident();
    root.sh("cat kept/*.tar.gz | inside vpo-unpack-restore --yes").ok();
    place.recovered(&before);
    let pruned = root.sh("inside vpo-library prune --yes --keep-last 1").ok();
    assert!(pruned.contains("\nRemoved 1, kept "), "{pruned}");
    place.clean();
}

/// In a root without /tmp, "No such file or directory" alone did not tell what to do. Without HOME the standard library
/// asks the list of users, for which a static program loads modules of the glibc that it was linked with.
#[test]
fn static_programs_say_what_they_miss() {
    let Some(root) = EmptyRoot::new() else { return };
    let place = &root.0;
    root.sh("inside vpo-library backup -q").ok();

    // Who has it open is told by its number: there is no /proc to learn its name from.
    let db = Connection::open(place.library()).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let locked = root.sh("inside vpo-library restore --yes --timeout 0 latest").ends(43);
    let holder = format!("is in use: process {} has it open\n", std::process::id());
    assert!(locked.stderr.contains(&holder), "{}", locked.stderr);
    drop(db);

    // The list of users is not asked, see `home` in src/cli/places.rs.
    let etc = place.root().join("etc");
    std::fs::create_dir(&etc).unwrap();
    std::fs::write(etc.join("passwd"), "root:x:0:0::/home:/bin/sh\n").unwrap();
    let homeless = root.sh("HOME=; inside() { env -i \"$chroot\" .. \"/bin/$1\" \"$2\"; }; inside vpo-library backup");
    let homeless = homeless.ends(2).stderr;
    assert!(
        homeless.contains("cannot tell where your home directory is\nhint: set HOME"),
        "{homeless}"
    );

    std::fs::remove_dir_all(place.root().join("tmp")).unwrap();
    let missing = root.sh("inside vpo-library verify").ends(40).stderr;
    let hint = "hint: set TMPDIR to a directory that exists; TMPDIR is not set, so it is '/tmp'\n";
    assert!(missing.contains(hint), "{missing}");
}

#[test]
fn the_debian_package() {
    if !has_tools("the Debian package", &["dpkg-deb", "gzip", "mandoc"]) {
        return;
    }
    let Some(package) = made("deb", "debian", &format!("vpo-library_{VERSION}-1_"), ".deb") else {
        return;
    };
    let place = Place::with_library();
    let package = package.display();
    place.sh(&format!("dpkg-deb -x '{package}' ../root")).ok();
    let root = place.root().join("root");
    let mut expected = tree("usr/", ".gz", "vendor-completions");
    for file in ["copyright", "changelog.gz", "changelog.Debian.gz"] {
        expected.insert(format!("usr/share/doc/vpo-library/{file}"));
    }
    expected.insert("usr/share/lintian/overrides/vpo-library".into());
    assert_eq!(files(&root), expected);

    let field = |name: &str| place.sh(&format!("dpkg-deb -f '{package}' {name}")).ok();
    assert_eq!(field("Package"), "vpo-library\n");
    assert_eq!(field("Version"), format!("{VERSION}-1\n"));
    let depends = field("Depends");
    assert!(
        depends.contains("libc6 (>= ") && !depends.contains("sqlite"),
        "{depends}"
    );
    assert!(field("Maintainer").ends_with(">\n"));
    let owners = place.sh(&format!(
        "dpkg-deb -c '{package}' | grep -v ' 0/0 ' | grep -v ' root/root '"
    ));
    assert_eq!(owners.ends(1).stdout, "");

    let read = |line: &str| place.sh(&format!("cd ../root/usr; {line}")).ok();
    assert!(read("gzip -dc share/man/man1/vpo-library.1.gz | mandoc -Tutf8").contains("vpo-library restore"));
    let changes = read("gzip -dc share/doc/vpo-library/changelog.Debian.gz");
    assert!(
        changes.starts_with(&format!("vpo-library ({VERSION}-1) unstable;")),
        "{changes}"
    );
    let copyright = read("cat share/doc/vpo-library/copyright");
    assert!(copyright.contains("\nLicense: MIT\n") && copyright.contains("\nLicense: public-domain\n"));
    assert!(read("cat lib/systemd/user/*.service").contains("\nExecStart=/usr/bin/vpo-library prune "));

    place
        .sh("PATH=/usr/bin:/bin; ../root/usr/bin/vpo-library backup -q")
        .ok();
    let before = place.accident();
    place
        .sh("PATH=/usr/bin:/bin; ../root/usr/bin/vpo-library restore -q --yes latest")
        .ok();
    place.recovered(&before);
}
