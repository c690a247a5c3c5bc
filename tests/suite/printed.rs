//! Commands in messages, hints and reports: each is pasted as printed, in another directory.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::generate::Sample;
use crate::support::*;

/// Directories that are hard on whoever builds a command line of them.
const DIRECTORIES: [&[u8]; 4] = [b"it's a \"dir\" $HOME", b"-o", b"line\nfeed", b"not UTF-8 \xff"];

/// A library and a backup directory that are not the default ones, named by relative paths; and another library where
/// the default one is.
struct Scene {
    world: World,
    library: PathBuf,
    backups: PathBuf,
    options: Vec<OsString>,
    /// What the library holds.
    content: String,
}

impl Scene {
    fn new(directory: &[u8]) -> Self {
        let world = World::new();
        world.make_library(&Sample { seed: 9, ..files(3) });
        let directory = Path::new(OsStr::from_bytes(directory));
        std::fs::create_dir(world.path(directory)).unwrap();
        std::fs::create_dir(world.path("elsewhere")).unwrap();
        let library = world.path(directory).join("lib.db");
        make(&files(20), &library);
        let content = dump(&library);
        let mut options: Vec<OsString> = vec!["--db".into()];
        options.push(directory.join("lib.db").into());
        options.extend(["--backup-dir".into(), directory.join("kept").into()]);
        Scene {
            backups: world.path(directory).join("kept"),
            world,
            library,
            options,
            content,
        }
    }

    /// `vpo-library` with the options.
    fn vpo(&self, args: &[&str]) -> Output {
        self.world.cmd("vpo-library").args(&self.options).args(args).run()
    }

    /// A backup of the library, after which the library gets other content.
    fn backup_and_accident(&self) {
        self.vpo(&["backup", "-q"]).silent();
        self.accident();
    }

    fn accident(&self) {
        let db = rusqlite::Connection::open(&self.library).unwrap();
        db.execute("DELETE FROM files WHERE id > 7", []).unwrap();
        db.close().unwrap();
    }

    /// Only page 2 and what follows: the first page tells what it is.
    fn damage(&self) {
        let mut bytes = read(&self.library);
        bytes[3 * 4096..8 * 4096].fill(0);
        write(&self.library, &bytes);
    }

    /// Runs a command that was printed, in another directory. A question is answered by yes, if it is about the library.
    #[track_caller]
    fn paste(&self, command: &str) -> Output {
        assert!(!command.contains("--yes"), "{command}");
        assert!(!command.chars().any(char::is_control), "{command:?}");
        let shell = self.world.cmd("sh").args(["-c", command]);
        let (shell, mut terminal) = shell.dir(&self.world.path("elsewhere")).terminal(&[Stream::Err]);
        let running = shell.start();
        // Or it ends without a question.
        let shown = std::thread::spawn(move || {
            let question = terminal.wait_for_or_end("[y/N] ");
            if question.contains("[y/N] ") {
                terminal.type_in("y\n");
            }
            question + &terminal.rest()
        });
        let out = running.finish();
        Output {
            stderr: shown.join().unwrap(),
            ..out
        }
    }

    /// Nothing happened to the library that a command without options means.
    fn default_is_untouched(&self) {
        assert_eq!(names(&self.world.home().join(".vpo")), ["library.db"]);
        let rows = rusqlite::Connection::open(self.world.library()).unwrap().query_row(
            "SELECT count(*) FROM files",
            [],
            |row| row.get::<_, u32>(0),
        );
        assert_eq!(rows.unwrap(), 3);
        self.world.clean();
    }
}

/// What stands behind `text` on its line.
#[track_caller]
fn behind<'a>(text: &'a str, marker: &str) -> &'a str {
    let line = text.lines().find_map(|line| Some(line.split_once(marker)?.1));
    line.unwrap_or_else(|| panic!("{marker:?} is not in: {text}"))
}

#[track_caller]
fn rows(library: &Path) -> u32 {
    let db = rusqlite::Connection::open(library).unwrap();
    db.query_row("SELECT count(*) FROM files", [], |row| row.get(0))
        .unwrap()
}

/// "To go back: vpo-library restore …" left out `--db`: pasted as printed it replaced the default library.
#[test]
fn to_go_back() {
    for directory in DIRECTORIES {
        let scene = Scene::new(directory);
        scene.backup_and_accident();
        assert_eq!(rows(&scene.library), 7);
        let out = scene.vpo(&["restore", "--yes", "latest"]).silent();
        same_content("restored", &dump(&scene.library), &scene.content);
        scene.paste(behind(out.text(), "To go back: ")).ok();
        assert_eq!(rows(&scene.library), 7);
        // And back again, by what that has printed.
        let newest = scene.vpo(&["restore", "--yes", "replaced"]).silent();
        same_content("once more", &dump(&scene.library), &scene.content);
        scene.paste(behind(newest.text(), "To go back: ")).ok();
        assert_eq!(rows(&scene.library), 7);
        assert_eq!(names(&scene.backups).len(), 5);
        scene.default_is_untouched();
    }
}

/// By hand it is the program that was typed, with its own options.
#[test]
fn to_go_back_by_the_same_program() {
    for directory in DIRECTORIES {
        let scene = Scene::new(directory);
        let archive = scene.world.archive_of(&scene.library);
        scene.accident();
        let options: Vec<&OsStr> = vec![
            "--db".as_ref(),
            scene.options[1].as_ref(),
            "--safety-dir".as_ref(),
            scene.options[3].as_ref(),
        ];
        let restore = scene.world.cmd("vpo-unpack-restore").args(options).arg("--yes");
        let out = restore.input(&archive).run().silent();
        let command = behind(out.text(), "To go back: ");
        assert!(command.starts_with(executable("vpo-unpack-restore")), "{command}");
        scene.paste(command).ok();
        assert_eq!(rows(&scene.library), 7);
        assert_eq!(names(&scene.backups).len(), 2);
        scene.default_is_untouched();
    }
}

/// The restored library does not tell any more that VPO has a newer schema.
#[test]
fn to_go_back_to_a_newer_schema() {
    let scene = Scene::new(DIRECTORIES[0]);
    scene.vpo(&["backup", "-q"]).silent();
    sqlite(
        &scene.library,
        "UPDATE _meta SET value = '31' WHERE key = 'schema_version'",
    );
    let newer = dump(&scene.library);
    let out = scene.vpo(&["restore", "--yes", "latest"]).ok();
    scene.paste(behind(out.text(), "To go back: ")).ok();
    same_content("the newer one", &dump(&scene.library), &newer);
    scene.default_is_untouched();
}

#[test]
fn the_next_older_backup() {
    for directory in DIRECTORIES {
        let scene = Scene::new(directory);
        std::fs::create_dir(&scene.backups).unwrap();
        let archive = scene.world.archive_of(&scene.library);
        write(scene.backups.join(NAME), &archive);
        // One that is damaged is not offered.
        write(scene.backups.join("vpo-library-2026-02-06T000000Z.tar.gz"), b"damaged");
        write(scene.backups.join("vpo-library-2026-02-07T000000Z.tar.gz"), b"damaged");
        scene.accident();
        let out = scene
            .vpo(&["restore", "--yes", "--no-safety-backup", "latest"])
            .exits(46);
        let command = behind(&out.stderr, "hint: restore the next older backup: ");
        assert!(command.contains("--no-safety-backup"), "{command}");
        assert!(command.contains(NAME), "{command}");
        scene.paste(command).ok();
        same_content("restored", &dump(&scene.library), &scene.content);
        assert_eq!(names(&scene.backups).len(), 3);
        scene.default_is_untouched();
    }
}

#[test]
fn a_damaged_library_and_the_newest_backup() {
    let marker = "to bring back the newest backup: ";
    for directory in DIRECTORIES {
        let scene = Scene::new(directory);
        scene.backup_and_accident();
        scene.damage();
        let spoiled = read(&scene.library);
        for args in [&["backup"][..], &["backup", "--dry-run"]] {
            write(&scene.library, &spoiled);
            let out = scene.vpo(args).exits(42);
            scene.paste(behind(&out.stderr, marker)).ok();
            same_content("restored", &dump(&scene.library), &scene.content);
        }
        // By hand, the library alone is named: there are no backups where they are by default.
        write(&scene.library, &spoiled);
        let out = scene
            .world
            .cmd("vpo-snapshot")
            .arg("--")
            .arg(&scene.options[1])
            .run()
            .exits(42);
        let command = behind(&out.stderr, marker);
        assert!(command.starts_with(executable("vpo-library")), "{command}");
        assert!(command.ends_with(" restore latest"), "{command}");
        scene.paste(command).exits(20);
        scene.default_is_untouched();
    }
}

#[test]
fn where_there_is_no_backup() {
    for directory in DIRECTORIES {
        let scene = Scene::new(directory);
        let out = scene.vpo(&["verify"]).exits(20);
        scene.paste(behind(&out.stderr, "to make the first backup: ")).ok();
        assert_eq!(names(&scene.backups).len(), 1);

        std::fs::remove_dir_all(&scene.backups).unwrap();
        std::fs::create_dir(&scene.backups).unwrap();
        let out = scene.vpo(&["backups"]).ok();
        scene.paste(behind(&out.stderr, "to make one: ")).ok();
        assert_eq!(names(&scene.backups).len(), 1);

        std::fs::remove_dir_all(&scene.backups).unwrap();
        let out = scene.vpo(&["restore", "latest"]).exits(20);
        scene.paste(behind(&out.stderr, "to see what is there: ")).exits(20);
        std::fs::create_dir(&scene.backups).unwrap();
        // The environment says it as well as an option.
        let variables = |cmd: Cmd| {
            cmd.env("VPO_DATABASE_PATH", &scene.options[1])
                .env("VPO_BACKUP_DIR", &scene.options[3])
        };
        let out = variables(scene.world.cmd("vpo-library")).arg("backups").run().ok();
        scene.paste(behind(&out.stderr, "to make one: ")).ok();
        assert_eq!(names(&scene.backups).len(), 1);
        let out = variables(scene.world.cmd("vpo-library")).arg("restore").run().exits(2);
        scene.paste(behind(&out.stderr, "for the newest backup: ")).ok();
        scene.default_is_untouched();
    }
}

#[test]
fn where_something_does_not_fit_a_terminal() {
    for directory in DIRECTORIES {
        let scene = Scene::new(directory);
        let here = scene.world.path("elsewhere");
        let on_terminal = |cmd: Cmd| {
            let (cmd, terminal) = cmd.terminal(&[Stream::Out]);
            let out = cmd.run().exits(2);
            drop(terminal);
            out
        };
        let backup = scene.world.cmd("vpo-library").args(&scene.options);
        let out = on_terminal(backup.args(["backup", "-o", "-"]));
        scene.paste(behind(&out.stderr, "to write a file: ")).ok();
        assert_eq!(names(&scene.backups).len(), 1);

        let out = on_terminal(scene.world.cmd("vpo-snapshot").arg("--").arg(&scene.options[1]));
        scene.paste(behind(&out.stderr, "in this directory: ")).ok();
        let (kept, _) = unpack(&read(here.join(&names(&here)[0])));
        same_content("the archive", &dump_bytes(&kept), &scene.content);
        assert_eq!(names(&here).len(), 1);
        scene.default_is_untouched();
    }
}

/// A file with a log is not input for `vpo-pack`; the path was put between quotes as it was.
#[test]
fn what_is_better_read_by_vpo_snapshot() {
    for directory in DIRECTORIES {
        let scene = Scene::new(directory);
        let here = scene.world.path("elsewhere");
        let mut peer = Peer::open(&scene.library);
        peer.sql("PRAGMA journal_mode = WAL");
        peer.insert(1);
        let pack = scene.world.cmd("vpo-pack").stdin_file(&scene.library);
        let out = pack.run().exits(42);
        scene.paste(behind(&out.stderr, "use vpo-snapshot: ")).ok();
        let (kept, _) = unpack(&read(here.join(&names(&here)[0])));
        same_content("the archive", &dump_bytes(&kept), &dump(&scene.library));
        peer.close();
        scene.default_is_untouched();
    }
}

/// The pipeline that `-v` shows can be run by hand, too: it had the numbers of descriptors in it, and `--yes`.
#[test]
fn the_pipeline_that_is_run() {
    for directory in DIRECTORIES {
        let scene = Scene::new(directory);
        let out = scene.vpo(&["-v", "backup"]).ok();
        let line = out.stderr.lines().next().unwrap();
        assert!(line.contains(" | ") && !line.contains("/dev/fd"), "{line}");
        scene.paste(&format!("{line} > x.tar.gz")).ok();
        let (kept, _) = unpack(&read(scene.world.path("elsewhere/x.tar.gz")));
        same_content("the archive", &dump_bytes(&kept), &scene.content);
        scene.accident();
        let out = scene.vpo(&["-v", "restore", "--yes", "latest"]).ok();
        same_content("restored", &dump(&scene.library), &scene.content);
        scene.accident();
        scene.paste(out.stderr.lines().next().unwrap()).ok();
        same_content("restored", &dump(&scene.library), &scene.content);
        scene.default_is_untouched();
    }
}

/// What can't be written on a command line is left out: half a command, or another file's name, is worse than none.
#[test]
fn a_name_that_no_shell_takes() {
    let world = World::new();
    let library = world.path("ends\n");
    make(&files(5), &library);
    let archive = world.archive_of(&library);
    let restore = world.cmd("vpo-unpack-restore").arg("--yes").arg("--db").arg(&library);
    let out = restore.input(&archive).run().silent();
    assert!(out.text().contains("The library as it was: "), "{}", out.text());
    assert!(!out.text().contains("To go back"), "{}", out.text());
}

/// What a program says that `vpo-library` runs has to name `vpo-library`.
#[test]
fn the_program_that_was_typed() {
    let world = World::new();
    world.default_library();
    std::fs::create_dir(world.path("d")).unwrap();
    for args in [&["restore", "d"][..], &["backups", "--max-age", "x"]] {
        let out = world.cmd("vpo-library").args(args).run().exits(2);
        let command = behind(&out.stderr, "hint: for the options: ");
        assert!(command.starts_with(executable("vpo-library")), "{}", out.stderr);
        let shell = world.cmd("sh").args(["-c", command]).run().silent();
        assert!(shell.text().starts_with("usage: vpo-library "));
    }
    // As it was typed, where it is on PATH.
    let path = Path::new(executable("vpo-library"))
        .parent()
        .unwrap()
        .join(":/usr/bin:/bin");
    let path = path.to_str().unwrap().replace("/:", ":");
    let out = world
        .cmd("sh")
        .args(["-c", "vpo-library restore"])
        .env("PATH", path)
        .run();
    let hint = out.exits(2).hint().to_owned();
    assert!(hint.ends_with(": vpo-library restore latest"), "{hint}");
}
