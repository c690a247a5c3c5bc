//! What a person reads before a library is replaced.

use rustix::process::Signal;

use crate::support::*;

/// Starts it on a terminal, answers no, and gives the question as lines.
#[track_caller]
fn asked(cmd: Cmd) -> Vec<String> {
    asked_on(300, cmd)
}

/// The same on a terminal of so many columns.
#[track_caller]
fn asked_on(columns: u16, cmd: Cmd) -> Vec<String> {
    let (cmd, mut terminal) = cmd.terminal(&[Stream::Err]);
    terminal.resize(columns);
    let running = cmd.start();
    let question = terminal.wait_for("[y/N] ");
    terminal.type_in("n\n");
    let rest = std::thread::spawn(|| terminal.rest());
    running.finish().exits(1);
    rest.join().unwrap();
    question.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// A library of ten files and its backup `a.tar.gz`.
fn world() -> World {
    let world = World::new();
    world.make_library(&files(10));
    write(world.path("a.tar.gz"), &world.archive_of(&world.library()));
    world
}

fn part<'a>(question: &'a [String], label: &str) -> &'a str {
    let line = question.iter().find_map(|line| line.trim_start().strip_prefix(label));
    line.unwrap_or_else(|| panic!("{label}: {question:#?}")).trim_start()
}

#[test]
fn all_of_it() {
    let world = world();
    let library = world.library();
    let size = || format!("{:.1} KB", library.metadata().unwrap().len() as f64 / 1024.0);
    let backup_size = size();
    sqlite(
        &library,
        "DELETE FROM tracks WHERE file_id IN (2, 3, 4); DELETE FROM files WHERE id IN (2, 3, 4);
         UPDATE tracks SET language = 'xyz' WHERE file_id = 5;
         UPDATE files SET scanned_at = '2030-01-01' WHERE id = 6",
    );
    for n in 0..2 {
        let sql = "INSERT INTO files (path, filename, directory, extension, size_bytes, modified_at, scanned_at)
                   SELECT path || '.new', filename, directory, extension, size_bytes, modified_at, scanned_at FROM files";
        sqlite(&library, &format!("{sql} LIMIT 1 OFFSET {n}"));
    }
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_770_302_000);
    let file = std::fs::File::options().write(true).open(&library).unwrap();
    file.set_modified(time).unwrap();
    let cmd = world.cmd("vpo-unpack-restore").env("TZ", "XXX-11").arg("a.tar.gz");
    assert_eq!(
        asked(cmd),
        [
            format!("Library: {}", library.display()),
            "Backup:  a.tar.gz".into(),
            format!("  now:    9 files, schema 27, {}", size()),
            "          last changed 2026-02-05 14:33:20 UTC, 2026-02-06 01:33:20 local".into(),
            format!("  backup: 10 files, schema 27, {backup_size}"),
            "          created 2026-02-05 14:30:22 UTC, 2026-02-06 01:30:22 local".into(),
            "  change: 3 files come back, 2 are forgotten, 1 changes".into(),
            format!(
                "  The library as it is now will be kept in {}",
                world.backups().display()
            ),
            "Replace it? [y/N]".into(),
        ]
    );
    // The date is there where it is another one.
    let cmd = world.cmd("vpo-unpack-restore").env("TZ", "XXX-1").arg("a.tar.gz");
    assert!(asked(cmd)[5].ends_with("created 2026-02-05 14:30:22 UTC, 15:30:22 local"));
    // Where there is no room, each line goes on below; but for a path, which stands alone.
    let cmd = world.cmd("vpo-unpack-restore").env("TZ", "XXX-11").arg("a.tar.gz");
    assert_eq!(
        asked_on(50, cmd)[3..],
        [
            "          last changed 2026-02-05 14:33:20 UTC,".to_owned(),
            "          2026-02-06 01:33:20 local".into(),
            format!("  backup: 10 files, schema 27, {backup_size}"),
            "          created 2026-02-05 14:30:22 UTC,".into(),
            "          2026-02-06 01:30:22 local".into(),
            "  change: 3 files come back, 2 are forgotten, 1".into(),
            "          changes".into(),
            "  The library as it is now will be kept in".into(),
            format!("  {}", world.backups().display()),
            "Replace it? [y/N]".into(),
        ]
    );
}

#[test]
fn changes_in_words() {
    let world = world();
    let change = || part(&asked(world.cmd("vpo-unpack-restore").arg("a.tar.gz")), "change:").to_owned();
    assert_eq!(change(), "none: both know the same of the same files");
    sqlite(&world.library(), "DELETE FROM files WHERE id = 1");
    assert_eq!(change(), "1 file comes back, 0 are forgotten, 0 change");
    // Schemas that differ are compared by what they have in common.
    sqlite(&world.library(), "ALTER TABLE files ADD COLUMN later TEXT");
    assert_eq!(change(), "1 file comes back, 0 are forgotten, 0 change");
    // What a damaged library knows is not told.
    let mut bytes = read(world.library());
    bytes[100..4096].fill(0xff);
    write(world.library(), &bytes);
    let question = asked(world.cmd("vpo-unpack-restore").arg("a.tar.gz"));
    assert!(!question.iter().any(|line| line.contains("change:")), "{question:#?}");
}

#[test]
fn an_archive_without_a_name() {
    let world = world();
    let archive = read(world.path("a.tar.gz"));
    let question = asked(world.cmd("vpo-library").args(["restore", "-"]).input(&archive));
    assert!(question.contains(&"Backup:  standard input".into()), "{question:#?}");
    // What a name could do to a terminal.
    std::fs::rename(world.path("a.tar.gz"), world.path("a\u{1b}[2J.tar.gz")).unwrap();
    let question = asked(world.cmd("vpo-library").args(["restore", "a\u{1b}[2J.tar.gz"]));
    assert!(
        question.contains(&"Backup:  a\\u{1b}[2J.tar.gz".into()),
        "{question:#?}"
    );
}

/// The question waited up to three seconds for the comparison, and came without it where that took longer. What is typed
/// before the question is whole is no answer, but what is entered is.
#[test]
#[cfg(target_os = "linux")]
fn the_comparison_goes_on_beside_the_question() {
    if !strace::available("a comparison that takes long") {
        return;
    }
    // Its thread leaves the processor to others first of all.
    let slowly = ["-o", "/dev/null", "-e", "inject=setpriority:delay_enter=3000000"];
    let compared = "  change: 1 file comes back, 0 are forgotten, 0 change";
    for waits in [true, false] {
        let world = world();
        let backup = dump(&world.library());
        sqlite(&world.library(), "DELETE FROM files WHERE id = 1");
        let restore = strace::traced(&world, "vpo-unpack-restore", strace::Whose::All, &slowly);
        let (cmd, mut terminal) = restore.arg("a.tar.gz").env("TERM", "xterm").terminal(&[Stream::Err]);
        terminal.resize(50);
        let running = cmd.start();
        let first = terminal.wait_for("[y/N] ");
        assert!(first.contains("  change: the files are being compared"), "{first}");
        let end: Vec<_> = first
            .lines()
            .skip_while(|line| !line.contains("change:"))
            .skip(1)
            .collect();
        if waits {
            terminal.type_in("n");
            let again = terminal.wait_for("[y/N] ");
            // The path of the safety backup may take several lines of 50 columns.
            let rows: usize = end.iter().map(|line| line.trim_end().len().div_ceil(50)).sum();
            let [up, empty] = [format!("\r\u{1b}[{rows}A"), "\u{1b}[J".into()];
            assert!(again.contains(&(up + &empty + &compared[..40])), "{again:?}");
            assert!(again.replace("\r\n", "\n").ends_with(&end.join("\n")), "{again:?}");
        }
        terminal.type_in("y\n");
        let rest = std::thread::spawn(|| terminal.rest());
        running.finish().ok();
        let rest = rest.join().unwrap();
        assert!(!rest.contains("change:"), "{rest:?}");
        same_content("restored", &dump(&world.library()), &backup);
        world.clean();
    }
}

/// A signal ends the comparison, too: it was told as one that failed, in a question that nobody asked any more.
#[test]
fn a_signal_while_the_files_are_compared() {
    let world = World::new();
    // Without an index, and with numbers that are texts, each file is looked for among all tracks.
    sqlite(
        &world.library(),
        "CREATE TABLE _meta (key TEXT, value TEXT);
         INSERT INTO _meta VALUES ('schema_version', '27');
         CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT, size_bytes INTEGER);
         CREATE TABLE tracks (file_id TEXT, track_index INTEGER);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
           INSERT INTO files SELECT i, 'file ' || i, 1 FROM n;
         INSERT INTO tracks SELECT id, 0 FROM files",
    );
    write(world.path("a.tar.gz"), &world.archive_of(&world.library()));
    for _ in 0..3 {
        let cmd = world.cmd("vpo-unpack-restore").arg("a.tar.gz").env("TERM", "xterm");
        let (cmd, mut terminal) = cmd.terminal(&[Stream::Err]);
        terminal.resize(120);
        let running = cmd.start();
        let question = terminal.wait_for("[y/N] ");
        assert!(question.contains("change: the files are being compared"), "{question}");
        running.signal(Signal::TERM);
        let rest = std::thread::spawn(|| terminal.rest());
        running.finish().ended_by(15);
        assert_eq!(rest.join().unwrap(), "");
        world.clean();
    }
}

/// The question was the same with and without a safety backup.
#[test]
fn what_becomes_of_the_library() {
    let world = world();
    let kept = |path: &std::path::Path| format!("  The library as it is now will be kept in {}", path.display());
    let not = "  The library as it is now will NOT be kept".to_owned();
    let restore = || world.cmd("vpo-unpack-restore");
    let wrapper = || world.cmd("vpo-library").arg("restore");
    for (cmd, expected) in [
        (restore(), kept(&world.backups())),
        (restore().args(["--safety-dir", "safe"]), kept(&world.path("safe"))),
        (restore().arg("--no-safety-backup"), not.clone()),
        (wrapper().args(["--backup-dir", "there"]), kept(&world.path("there"))),
        (wrapper().arg("--no-safety-backup"), not),
    ] {
        let question = asked(cmd.arg("a.tar.gz"));
        assert!(question.contains(&expected), "{expected} | {question:#?}");
    }
    // Of a damaged one no backup can be made.
    let mut bytes = read(world.library());
    bytes[100..4096].fill(0xff);
    write(world.library(), &bytes);
    let expected = format!(
        "  The damaged file will be kept as {}.replaced-TIME",
        world.library().display()
    );
    let question = asked(restore().arg("a.tar.gz"));
    assert!(question.contains(&expected), "{expected} | {question:#?}");
    assert_eq!(part(&question, "now:"), "damaged");
}

/// It waited in silence, and the question came first.
#[test]
fn who_is_waited_for() {
    for options in [&[][..], &["--yes"]] {
        let world = world();
        let mut peer = Peer::open(&world.library());
        peer.sql("SELECT count(*) FROM files");
        let cmd = world.cmd("vpo-library").args(["restore", "--timeout", "60"]);
        let (cmd, mut terminal) = cmd.args(options).arg("a.tar.gz").terminal(&[Stream::Err]);
        terminal.resize(120);
        let running = cmd.env("TERM", "xterm").start();
        let shown = terminal.wait_for(&format!("waiting for process {} (", peer.pid()));
        assert!(!shown.contains("Replace it?"), "{shown:?}");
        terminal.wait_for(" s left");
        peer.close();
        if options.is_empty() {
            terminal.wait_for("[y/N] ");
            terminal.type_in("y\n");
        }
        let rest = std::thread::spawn(|| terminal.rest());
        running.finish().ok();
        rest.join().unwrap();
        world.clean();
    }
}

/// What was shown was what had been there before the wait.
#[test]
fn what_changed_while_it_waited() {
    let world = world();
    let mut peer = Peer::open(&world.library());
    peer.sql("SELECT count(*) FROM files");
    let cmd = world
        .cmd("vpo-unpack-restore")
        .args(["--timeout", "60", "--progress", "a.tar.gz"]);
    let (cmd, mut terminal) = cmd.terminal(&[Stream::Err]);
    terminal.resize(120);
    let running = cmd.env("TERM", "xterm").start();
    terminal.wait_for("waiting for process");
    peer.sql("DELETE FROM files WHERE id > 4");
    peer.close();
    let question = terminal.wait_for("[y/N] ");
    assert!(question.contains("now:    4 files,"), "{question}");
    // On a busy machine the question comes first.
    let compared = match question.contains("being compared") {
        true => terminal.wait_for("[y/N] "),
        false => question,
    };
    assert!(compared.contains("6 files come back"), "{compared}");
    terminal.type_in("n\n");
    let rest = std::thread::spawn(|| terminal.rest());
    running.finish().exits(1);
    rest.join().unwrap();
}

/// There was nothing to ask about, and then there was a library: it was replaced without a question.
#[test]
fn a_library_that_was_made_while_it_waited() {
    let world = world();
    let library = world.library();
    let sound = read(&library);
    write(&library, b"");
    let mut peer = Peer::open(&library);
    peer.sql("BEGIN EXCLUSIVE");
    let cmd = world
        .cmd("vpo-unpack-restore")
        .args(["--timeout", "60", "--progress", "--no-safety-backup", "a.tar.gz"]);
    let (cmd, mut terminal) = cmd.terminal(&[Stream::Err]);
    terminal.resize(120);
    let running = cmd.env("TERM", "xterm").start();
    terminal.wait_for("waiting for process");
    peer.sql(
        "CREATE TABLE _meta (key TEXT, value TEXT); INSERT INTO _meta VALUES ('schema_version', '27');
         CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT, size_bytes INTEGER); COMMIT",
    );
    peer.close();
    let question = terminal.wait_for("[y/N] ");
    assert!(question.contains("now:    0 files,"), "{question}");
    terminal.type_in("n\n");
    let rest = std::thread::spawn(|| terminal.rest());
    running.finish().exits(1);
    rest.join().unwrap();

    // The same while the question is open: what it said of a damaged library is not true of a sound one.
    let mut damaged = sound.clone();
    damaged[100..4096].fill(0xff);
    write(&library, &damaged);
    let cmd = world.cmd("vpo-unpack-restore").args(["--no-safety-backup", "a.tar.gz"]);
    let (cmd, mut terminal) = cmd.terminal(&[Stream::Err]);
    let running = cmd.start();
    terminal.wait_for("[y/N] ");
    write(&library, &sound);
    terminal.type_in("y\n");
    let rest = std::thread::spawn(|| terminal.rest());
    running.finish().exits(43);
    let said = rest.join().unwrap();
    assert!(said.contains("another process just made a library of"), "{said}");
    same("untouched", &read(&library), &sound);
}

/// The time was that of the file, to which a commit adds nothing while it is in the log.
#[test]
fn the_last_change_may_be_in_the_log() {
    let world = world();
    let mut peer = Peer::open(&world.library());
    peer.insert(1);
    peer.kill();
    let file = std::fs::File::options().write(true).open(world.library()).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let question = asked(world.cmd("vpo-unpack-restore").arg("a.tar.gz"));
    assert!(!part(&question, "last changed").starts_with("1970"), "{question:#?}");
    assert_eq!(
        part(&question, "change:"),
        "0 files come back, 1 is forgotten, 0 change"
    );
}
