//! New content for a library that is there, whatever the two of them look like: the old or the new, whole, at every
//! step, and nothing is called restored that the next to open it does not find.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use sha2::{Digest, Sha256};

use crate::kill::{FAILING, Told, codes, not_by_us, once_and_on, told};
use crate::support::strace::*;
use crate::support::*;
use crate::{chosen, figures, spread};

/// How many steps of each pair are tried in a sampled run.
const SAMPLE: usize = 2;

/// A library to be made.
#[derive(Clone, Copy)]
struct Look {
    page_size: u32,
    auto_vacuum: u32,
    encoding: &'static str,
    /// Bytes that SQLite leaves free at the end of each page, for extensions.
    reserved: u8,
    rows: u32,
    /// So many rows were deleted: their pages are free.
    free: u32,
    /// What tells the old content from the new.
    generation: u32,
    /// The generation shows in every n-th row.
    every: u32,
    /// The header's page count is wrong, and marked as such, as old versions of SQLite leave it.
    stale: bool,
}

const OLD: Look = Look {
    page_size: 512,
    auto_vacuum: 0,
    encoding: "UTF-8",
    reserved: 0,
    rows: 150,
    free: 0,
    generation: 1,
    every: 20,
    stale: false,
};
const NEW: Look = Look { generation: 2, ..OLD };

impl Look {
    fn make(&self, path: &Path) {
        let Look {
            page_size,
            auto_vacuum,
            encoding,
            rows,
            free,
            generation,
            every,
            ..
        } = self;
        sqlite(
            path,
            &format!(
                "PRAGMA page_size = {page_size}; PRAGMA auto_vacuum = {auto_vacuum}; PRAGMA encoding = '{encoding}';
                 PRAGMA user_version = 1"
            ),
        );
        self.reserve(path);
        sqlite(
            path,
            &format!(
                "CREATE TABLE _meta (key TEXT, value TEXT);
                 CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT, size_bytes INTEGER);
                 CREATE INDEX by_path ON files (path);
                 CREATE TABLE gone (x);
                 INSERT INTO _meta VALUES ('schema_version', '27'), ('generation', '{generation}');
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                   INSERT INTO files
                   SELECT i, printf('/v/%d/%d/%s', i, CASE i % {every} WHEN 0 THEN {generation} END, hex(zeroblob(20))), i
                   FROM n;
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {free})
                   INSERT INTO gone SELECT zeroblob(400) FROM n WHERE {free} > 0;
                 DELETE FROM gone"
            ),
        );
        whole(path).unwrap();
        assert_eq!(read(path)[20], self.reserved);
    }

    /// Sets the reserved bytes of a database without tables: SQLite has a call for it, and no SQL.
    fn reserve(&self, path: &Path) {
        let mut bytes = read(path);
        assert_eq!(bytes.len(), self.page_size as usize, "more than the first page");
        bytes[20] = self.reserved;
        // Where the cells of the first page begin: there are none.
        let end = self.page_size - u32::from(self.reserved);
        bytes[105..107].copy_from_slice(&(end as u16).to_be_bytes());
        write(path, &bytes);
    }
}

/// Makes the header's page count wrong, and not to be believed.
fn make_stale(path: &Path) {
    let mut bytes = read(path);
    bytes[31] ^= 5;
    bytes[95] ^= 1;
    write(path, &bytes);
    whole(path).unwrap();
}

/// What a library holds, after SQLite has recovered a copy of it, in a form that can be compared; or what is wrong with
/// it. A copy: what is found is what the next to open the library would find.
fn whole(path: &Path) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.db");
    for suffix in ["", "-wal", "-journal"] {
        if beside(path, suffix).exists() {
            std::fs::copy(beside(path, suffix), beside(&copy, suffix)).unwrap();
        }
    }
    found(&copy)
}

/// The same of a library that nobody uses, which is recovered in place.
fn found(path: &Path) -> Result<String, String> {
    let look = || contents(&Connection::open(path)?);
    look().unwrap_or_else(|error| Err(error.to_string()))
}

fn contents(db: &Connection) -> rusqlite::Result<Result<String, String>> {
    let found: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if found != "ok" {
        return Ok(Err(format!("integrity_check: {found}")));
    }
    let mut digest = Sha256::new();
    let mut schema = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
    let tables = schema.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let tables: Vec<(String, String)> = tables.collect::<Result<_, _>>()?;
    for (name, sql) in &tables {
        digest.update(sql);
        let mut select = db.prepare(&format!("SELECT * FROM \"{name}\""))?;
        let columns = select.column_count();
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                match row.get_ref(column)? {
                    ValueRef::Text(text) => digest.update(text),
                    value => digest.update(format!("{value:?}")),
                }
                digest.update([0]);
            }
        }
    }
    if tables.is_empty() {
        return Ok(Ok("no tables".into()));
    }
    let say = "SELECT (SELECT group_concat(value) FROM _meta WHERE key = 'generation') || ', ' ||
                      (SELECT count(*) FROM files) || ' files'";
    let says: String = db.query_row(say, [], |row| row.get(0))?;
    Ok(Ok(format!("generation {says}, {:x?}", &digest.finalize()[..8])))
}

/// Makes `new.tar.gz` of a database.
fn pack(world: &World, database: &Path) {
    let archive = std::fs::File::create(world.path("new.tar.gz")).unwrap();
    let pack = world.cmd("vpo-pack").args(["--created-at", TIME, "--level", "1"]);
    pack.stdin_file(database).stdout(archive).run().ok();
}

/// A library, and a backup that is to be restored over it.
struct Pair {
    name: String,
    world: World,
    /// In WAL mode.
    wal: bool,
    saved: Saved,
    old: String,
    new: String,
    /// The database in the backup.
    database: PathBuf,
}

/// What is where the library belongs.
#[derive(Clone, Copy)]
enum Old {
    Library(Look),
    /// A database without tables.
    Blank,
    /// A file without a byte.
    Empty,
}

impl Pair {
    fn of(name: &str, wal: bool, old: Old, new: Look) -> Self {
        let world = World::new();
        let database = world.path("new.db");
        new.make(&database);
        if new.stale {
            make_stale(&database);
        }
        pack(&world, &database);
        let library = world.library();
        match old {
            Old::Library(look) => look.make(&library),
            Old::Blank => sqlite(&library, "PRAGMA user_version = 1"),
            Old::Empty => write(&library, b""),
        }
        if wal {
            sqlite(&library, "PRAGMA journal_mode = WAL");
        }
        if matches!(old, Old::Library(look) if look.stale) {
            make_stale(&library);
        }
        Pair {
            name: format!("{name}, {}", if wal { "WAL" } else { "rollback" }),
            wal,
            saved: Saved::of(&world.home()),
            old: whole(&world.library()).unwrap(),
            new: whole(&database).unwrap(),
            database,
            world,
        }
    }

    fn restore(&self, cmd: Cmd) -> Cmd {
        cmd.args(["--yes", "--timeout", "0", "new.tar.gz"])
    }

    /// A restore under strace, where only the library, its side files and its directory count: the stage is there.
    fn traced(&self, calls: &str, options: &[&str]) -> Cmd {
        let library = self.world.library();
        let paths = ["", "-wal", "-journal"].map(|suffix| beside(&library, suffix));
        let mut all = vec!["-e".to_owned(), format!("trace={calls}")];
        for path in paths.iter().map(PathBuf::as_path).chain(library.parent()) {
            all.extend(["-P".to_owned(), path.to_str().unwrap().to_owned()]);
        }
        all.extend(options.iter().map(|option| (*option).to_owned()));
        let all: Vec<_> = all.iter().map(String::as_str).collect();
        self.restore(traced(&self.world, "vpo-unpack-restore", Whose::Main, &all))
    }

    /// Each of `calls` that a restore makes on the library, with its numbers.
    fn counts(&self, calls: &str) -> Vec<(String, usize)> {
        self.saved.put_back();
        let log = self.world.path("strace.log");
        self.traced(calls, &["-o", log.to_str().unwrap()]).run().ok();
        per_thread(&log)
    }

    /// What is there now: the old (false) or the new (true); anything else fails the test.
    #[track_caller]
    fn state(&self, what: &str) -> bool {
        let there = names(self.world.library().parent().unwrap());
        // A journal beside a database without tables may be: it holds nothing that anybody would miss.
        let nothing = |name: &str| self.old == "no tables" && name.ends_with("-journal");
        let aside = there.iter().any(|name| name.contains(".replaced-") && !nothing(name));
        assert!(
            !aside,
            "{}: {what}: something sound was moved aside: {there:?}",
            self.name
        );
        match whole(&self.world.library()) {
            Ok(now) if now == self.new => true,
            Ok(now) if now == self.old => false,
            now => panic!("{}: {what}: {now:?}, neither {} nor {}", self.name, self.old, self.new),
        }
    }

    /// The next run succeeds and clears every left-over.
    #[track_caller]
    fn next_run(&self, what: &str) {
        let out = self.restore(self.world.cmd("vpo-unpack-restore")).run();
        assert!(out.status.success(), "{}: after {what}: {}", self.name, out.stderr);
        assert!(self.state(what), "{}: {what}", self.name);
        self.world.clean();
    }
}

/// The file is, byte for byte, the database of the backup, but for what a database's header says of itself: format
/// versions (which are the journal mode), change counter, page count, schema cookie, and who wrote last.
#[track_caller]
fn is_the_backup(name: &str, library: &Path, database: &Path) {
    const OWN: [std::ops::Range<usize>; 5] = [18..20, 24..28, 28..32, 40..44, 92..100];
    /// SQLite locks this byte, and the page that it is in is not part of the content.
    const LOCK_BYTE: u64 = 1 << 30;
    let open = |path: &Path| std::fs::File::open(path).unwrap();
    let (library, backup) = (open(library), open(database));
    let length = backup.metadata().unwrap().len();
    assert_eq!(library.metadata().unwrap().len(), length, "{}: length", name);
    let (mut ours, mut theirs) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    for at in (0..length).step_by(1 << 16) {
        let n = (length - at).min(1 << 16) as usize;
        library.read_exact_at(&mut ours[..n], at).unwrap();
        backup.read_exact_at(&mut theirs[..n], at).unwrap();
        if at == 0 {
            OWN.iter()
                .for_each(|own| ours[own.clone()].copy_from_slice(&theirs[own.clone()]));
        }
        if at == LOCK_BYTE {
            let page = match u16::from_be_bytes([theirs[16], theirs[17]]) {
                1 => 65536,
                size => usize::from(size),
            };
            ours[..page.min(n)].copy_from_slice(&theirs[..page.min(n)]);
        }
        same(&format!("{}: from byte {at}", name), &ours[..n], &theirs[..n]);
    }
    // What a header says of the length is true of the file, or is not to be believed.
    let mut header = [0; 100];
    library.read_exact_at(&mut header, 0).unwrap();
    let field = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65536,
        size => u64::from(size),
    };
    assert_eq!(field(24), field(92), "{}: the page count does not count", name);
    assert_eq!(u64::from(field(28)) * page_size, length, "{}: the page count", name);
}
/// What a library and the backup of another may look like. Each in both journal modes.
fn looks() -> Vec<(&'static str, Look, Look)> {
    let old = |change: fn(&mut Look)| {
        let mut look = OLD;
        change(&mut look);
        look
    };
    let new = |change: fn(&mut Look)| {
        let mut look = NEW;
        change(&mut look);
        look
    };
    vec![
        ("few pages differ", OLD, NEW),
        ("every page differs", old(|l| l.every = 1), new(|l| l.every = 1)),
        ("none differs", NEW, NEW),
        ("growing", OLD, new(|l| l.rows = 500)),
        ("shrinking", old(|l| l.rows = 500), NEW),
        ("shrinking to the least", old(|l| l.rows = 500), new(|l| l.rows = 1)),
        ("free pages in the library", old(|l| l.free = 100), NEW),
        ("free pages in the backup", OLD, new(|l| l.free = 100)),
        (
            "more free pages in the backup",
            old(|l| l.free = 20),
            new(|l| l.free = 100),
        ),
        ("auto-vacuum in the library", old(|l| l.auto_vacuum = 1), NEW),
        (
            "incremental vacuum in the library",
            old(|l| (l.auto_vacuum, l.free) = (2, 50)),
            NEW,
        ),
        ("auto-vacuum in the backup", OLD, new(|l| l.auto_vacuum = 1)),
        (
            "incremental vacuum in the backup",
            OLD,
            new(|l| (l.auto_vacuum, l.free) = (2, 50)),
        ),
        (
            "auto-vacuum in both",
            old(|l| l.auto_vacuum = 1),
            new(|l| l.auto_vacuum = 1),
        ),
        (
            "incremental vacuum in both",
            old(|l| (l.auto_vacuum, l.free) = (2, 50)),
            new(|l| (l.auto_vacuum, l.rows) = (2, 300)),
        ),
        ("larger pages", OLD, new(|l| l.page_size = 2048)),
        ("smaller pages", old(|l| l.page_size = 2048), NEW),
        ("the largest pages", OLD, new(|l| l.page_size = 65536)),
        ("reserved bytes in the library", old(|l| l.reserved = 24), NEW),
        ("reserved bytes in the backup", OLD, new(|l| l.reserved = 24)),
        (
            "reserved bytes in both",
            old(|l| l.reserved = 24),
            new(|l| l.reserved = 24),
        ),
        (
            "other reserved bytes",
            old(|l| l.reserved = 24),
            new(|l| l.reserved = 8),
        ),
        (
            "UTF-16 in both",
            old(|l| l.encoding = "UTF-16le"),
            new(|l| l.encoding = "UTF-16le"),
        ),
        ("UTF-16 in the library", old(|l| l.encoding = "UTF-16le"), NEW),
        ("UTF-16 in the backup", OLD, new(|l| l.encoding = "UTF-16be")),
        (
            "UTF-16 of both kinds",
            old(|l| l.encoding = "UTF-16be"),
            new(|l| l.encoding = "UTF-16le"),
        ),
        (
            "UTF-16 and larger pages",
            old(|l| l.encoding = "UTF-16be"),
            new(|l| l.page_size = 2048),
        ),
        ("page count out of date in the library", old(|l| l.stale = true), NEW),
        ("page count out of date in the backup", OLD, new(|l| l.stale = true)),
        (
            "page count out of date in the backup, growing",
            OLD,
            new(|l| (l.stale, l.rows) = (true, 400)),
        ),
        (
            "page count out of date in the backup, larger pages",
            OLD,
            new(|l| (l.stale, l.page_size) = (true, 2048)),
        ),
        (
            "page count out of date in both, shrinking",
            old(|l| (l.stale, l.rows) = (true, 400)),
            new(|l| l.stale = true),
        ),
    ]
}

/// In which journal modes the old library may be: WAL or not.
const BOTH: &[bool] = &[true, false];

/// Of those in these journal modes every `step`th from `first` on.
fn pairs(modes: &'static [bool], first: usize, step: usize) -> impl Iterator<Item = Pair> {
    let libraries = looks().into_iter().flat_map(|(name, old, new)| {
        let old = Old::Library(old);
        [(name, true, old, new), (name, false, old, new)]
    });
    let others = [
        ("no tables", true, Old::Blank, NEW),
        ("no tables", false, Old::Blank, NEW),
        (
            "no tables, larger pages",
            false,
            Old::Blank,
            Look { page_size: 8192, ..NEW },
        ),
        ("an empty file", false, Old::Empty, NEW),
    ];
    let all = libraries.chain(others).filter(|(_, wal, ..)| modes.contains(wal));
    let those = all.skip(first).step_by(step);
    those.map(|(name, wal, old, new)| Pair::of(name, wal, old, new))
}

/// All of them, or in a sampled run every ninth from `first` on: of both journal modes, for these take turns.
fn chosen_pairs(modes: &'static [bool], first: usize) -> impl Iterator<Item = Pair> {
    let (first, step) = if exhaustive() { (0, 1) } else { (first, 9) };
    pairs(modes, first, step)
}

#[test]
fn undisturbed() {
    for pair in pairs(BOTH, 0, if exhaustive() { 1 } else { 3 }) {
        restored(&pair);
    }
}

/// Restores, and looks at what came of it.
#[track_caller]
fn restored(pair: &Pair) {
    let out = pair.restore(pair.world.cmd("vpo-unpack-restore")).run();
    assert!(out.status.success(), "{}: {}", pair.name, out.stderr);
    assert!(pair.state("undisturbed"), "{}", pair.name);
    is_the_backup(&pair.name, &pair.world.library(), &pair.database);
    let mut left = names(&pair.world.home().join(".vpo"));
    left.retain(|name| name.starts_with("library.db"));
    assert_eq!(left, ["library.db"], "{}", pair.name);
    pair.world.clean();
    // And it goes on living.
    let mut peer = Peer::open(&pair.world.library());
    peer.sql(
        "INSERT INTO files (path, size_bytes) VALUES (hex(zeroblob(3000)), 1); DELETE FROM files WHERE id % 3 = 0",
    );
    assert_eq!(peer.sql("PRAGMA integrity_check"), "ok", "{}", pair.name);
    peer.close();
    whole(&pair.world.library()).unwrap_or_else(|error| panic!("{}: {error}", pair.name));
}

/// Somebody has it open and does nothing: in WAL mode that is seen, and refused. In rollback mode it is not, and the next
/// query finds the new content, whatever was in the cache.
#[test]
fn beside_an_idle_connection() {
    for pair in chosen_pairs(BOTH, 2) {
        let name = &pair.name;
        let mut idle = Peer::open(&pair.world.library());
        // What it has read is in its cache.
        let _ = idle.try_sql("SELECT sum(length(path)) FROM files; SELECT count(*) FROM files ORDER BY path");
        let restore = || pair.restore(pair.world.cmd("vpo-unpack-restore")).run();
        if pair.wal {
            restore().fails(43, &["in use", &idle.pid()]);
            assert_eq!(whole(&pair.world.library()).as_ref(), Ok(&pair.old), "{name}");
        } else {
            restore().ok();
            let count = idle.sql("SELECT count(*) || ' files' FROM files NOT INDEXED");
            assert!(pair.new.contains(&count), "{name}: {count}, not {}", pair.new);
            assert_eq!(
                idle.sql("SELECT value FROM _meta WHERE key = 'generation'"),
                "2",
                "{name}"
            );
            assert_eq!(idle.sql("PRAGMA integrity_check"), "ok", "{name}");
        }
        if pair.wal && pair.old == "no tables" {
            continue;
        }
        idle.sql("INSERT INTO files (path, size_bytes) VALUES ('by the idle one', 1)");
        idle.close();
        let db = Connection::open(pair.world.library()).unwrap();
        let found = "SELECT count(*) FROM files WHERE path = 'by the idle one'";
        assert_eq!(
            db.query_row(found, [], |row| row.get(0)),
            Ok(1),
            "{name}: its row is lost"
        );
        let found: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(found, "ok", "{name}");
    }
}

#[test]
fn killed_at_any_step_in_wal_mode() {
    killed_at_any_step("WAL mode", &[true], 0);
}

#[test]
fn killed_at_any_step_with_a_rollback_journal() {
    killed_at_any_step("a rollback journal", &[false], 2);
}

/// Two tests: to kill an exhaustive run's programs one after the other takes a third of an hour. In a sampled run the
/// pairs from `first` on, so that the two try libraries of other kinds.
fn killed_at_any_step(mode: &str, modes: &'static [bool], first: usize) {
    if !available("kills at every step of a replacement") {
        return;
    }
    let (mut old, mut new) = (0, 0);
    for pair in chosen_pairs(modes, first) {
        let (before, after) = kill(&pair);
        old += before;
        new += after;
    }
    assert!(old > 0 && new > 0, "{old} {new}");
    figures(&format!(
        "replacement, {mode}: {} kill points survived, {old} with the old content, {new} with the new",
        old + new
    ));
}

/// Kills a restore at every step, or in a sampled run at the one in the middle of the list and at its last, which came
/// before and after the commit of each pair that differs, as tried; how often the old and the new content was there.
fn kill(pair: &Pair) -> (usize, usize) {
    let (mut old, mut new) = (0, 0);
    let counts = pair.counts(CHANGING);
    let steps = steps(&counts);
    let last = steps.len() - 1;
    let tried = if exhaustive() {
        (0..=last).collect()
    } else {
        vec![last / 2, last]
    };
    for i in tried {
        let (call, n) = steps[i];
        let what = format!("killed at {call} {n}");
        pair.saved.put_back();
        let inject = format!("inject={call}:signal=KILL:when={n}");
        let out = pair.traced(call, &["-o", "/dev/null", "-e", &inject]).run();
        if out.status.success() {
            // A page more or less is written, as the moment wants it.
            assert!(pair.state(&what), "{}: {what}", pair.name);
            continue;
        }
        out.ended_by(9);
        match pair.state(&what) {
            true => new += 1,
            false => old += 1,
        }
        pair.next_run(&what);
    }
    (old, new)
}

/// Which calls of a pair fail: in an exhaustive run all, for those three that between them take every way through the
/// replacement, and so many of each other pair. All of all take two hours, and passed once.
fn failing(pair: &Pair, cases: usize) -> Vec<usize> {
    const WHOLE: [&str; 3] = ["few pages differ", "shrinking", "larger pages"];
    const OF_OTHERS: usize = 24;
    let (kind, _) = pair.name.rsplit_once(", ").unwrap();
    match exhaustive() && !WHOLE.contains(&kind) {
        true => spread(cases, OF_OTHERS),
        false => chosen(cases, SAMPLE),
    }
}

#[test]
fn with_any_call_failing() {
    if !available("failing calls in a replacement") {
        return;
    }
    let (mut done, mut but, mut not, mut wrong) = (0, 0, 0, Vec::new());
    for pair in chosen_pairs(BOTH, 1) {
        let changing = |call: &str| !["read", "pread64"].contains(&call);
        let calls: Vec<_> = FAILING
            .iter()
            .map(|(call, _)| *call)
            .filter(|call| changing(call))
            .collect();
        let counts = pair.counts(&calls.join(","));
        let mut cases = Vec::new();
        for (call, n) in steps(&counts) {
            let (_, errnos) = FAILING.iter().find(|(name, _)| *name == call).unwrap();
            for errno in errnos.iter().filter(|errno| ["ENOSPC", "EIO"].contains(errno)) {
                cases.extend(once_and_on(call).iter().map(|on| (call, *errno, n, *on)));
            }
        }
        for i in failing(&pair, cases.len()) {
            let (call, errno, n, on) = cases[i];
            pair.saved.put_back();
            let mark = if on { "+" } else { "" };
            let what = format!("{call} {n}{mark} {errno}");
            let inject = format!("inject={call}:error={errno}:when={n}{mark}");
            let out = pair.traced(call, &["-o", "/dev/null", "-e", &inject]).run();
            if not_by_us(&out) {
                continue;
            }
            // Where both are the same it can't be told, and what is said counts.
            let new = pair.state(&what)
                && (pair.old != pair.new || out.status.success() || out.stderr.contains("restored, but"));
            match told(&out, new, codes(call, errno), false) {
                Ok(Told::Done) => done += 1,
                Ok(Told::DoneBut) => but += 1,
                Ok(Told::Not) => not += 1,
                Err(why) => wrong.push(format!(
                    "{}: {what}: {why}: {}, new: {new}: {:?}",
                    pair.name, out.status, out.stderr
                )),
            }
            pair.next_run(&what);
        }
    }
    assert!(not > 0, "no call failed");
    figures(&format!(
        "replacement: calls failed, {not} times with the old content, {but} times after the commit, {done} harmless"
    ));
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Pages of the largest size, and the number of the one in which SQLite locks bytes and never writes any.
const LARGE: u32 = 65536;
const LOCK_PAGE: u32 = (1 << 30) / LARGE + 1;

/// Makes a library of so many pages, nearly all of them free and never written, so that the file is sparse. What is not
/// free is at both ends.
fn make_large(path: &Path, generation: u32, pages: u32) {
    let look = Look {
        page_size: LARGE,
        generation,
        ..OLD
    };
    look.make(path);
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let used = (file.metadata().unwrap().len() / u64::from(LARGE)) as u32;
    // https://www.sqlite.org/fileformat2.html#the_freelist: the next trunk, the number of leaves, the leaves. Taken are
    // those of the first trunk first.
    let trunks = [used + 1, used + 2];
    let behind: Vec<u32> = (LOCK_PAGE + 1..=pages).collect();
    let before: Vec<u32> = (used + 3..=pages.min(LOCK_PAGE - 1)).collect();
    for (trunk, next, leaves) in [(trunks[0], trunks[1], &behind), (trunks[1], 0, &before)] {
        let fields = [next, leaves.len() as u32].into_iter().chain(leaves.iter().copied());
        let bytes: Vec<u8> = fields.flat_map(u32::to_be_bytes).collect();
        assert!(bytes.len() <= LARGE as usize);
        file.write_all_at(&bytes, u64::from(trunk - 1) * u64::from(LARGE))
            .unwrap();
    }
    let free = 2 + behind.len() + before.len();
    for (at, value) in [(28, pages), (32, trunks[0]), (36, free as u32)] {
        file.write_all_at(&value.to_be_bytes(), at).unwrap();
    }
    file.set_len(u64::from(pages) * u64::from(LARGE)).unwrap();
    drop(file);
    sqlite(
        path,
        &format!(
            "CREATE TABLE far (x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8)
               INSERT INTO far SELECT zeroblob(65000) || {generation} FROM n"
        ),
    );
    found(path).unwrap();
}

/// Past a gibibyte, on one side or both.
#[test]
fn past_the_page_that_is_never_written() {
    let what = "kills in libraries past a gibibyte";
    if !at_leisure(what) || !available(what) {
        return;
    }
    be_patient();
    let (below, behind) = (200, LOCK_PAGE + 20);
    for (name, old, new) in [
        ("both past a gibibyte", behind, behind + 3),
        ("growing past a gibibyte", below, behind),
        ("shrinking from past a gibibyte", behind, below),
    ] {
        for wal in [true, false] {
            let name = format!("{name}, {}", if wal { "WAL" } else { "rollback" });
            let world = World::new();
            let (library, database) = (world.library(), world.path("new.db"));
            let put_back = || {
                for suffix in ["", "-wal", "-shm", "-journal"] {
                    let _ = std::fs::remove_file(beside(&library, suffix));
                }
                // Where there is no directory for backups, a restore makes it, and flushes the one above.
                let _ = std::fs::remove_dir_all(world.backups());
                make_large(&library, 1, old);
                if wal {
                    sqlite(&library, "PRAGMA journal_mode = WAL");
                }
            };
            put_back();
            make_large(&database, 2, new);
            pack(&world, &database);
            let before = found(&library).unwrap();
            let after = found(&database).unwrap();
            let restore = |cmd: Cmd| cmd.args(["--yes", "--timeout", "0", "new.tar.gz"]);
            let counts = count(
                &world,
                "vpo-unpack-restore",
                Whose::Main,
                "pwrite64,fdatasync,fsync",
                restore,
            );
            assert_eq!(found(&library).as_ref(), Ok(&after), "{name}");
            is_the_backup(&name, &library, &database);
            let mut steps = steps(&counts);
            // strace counts no further.
            steps.retain(|(_, n)| *n < 1 << 16);
            for i in spread(steps.len(), 4) {
                put_back();
                let (call, n) = steps[i];
                restore(killed(&world, "vpo-unpack-restore", Whose::Main, call, n))
                    .run()
                    .ended_by(9);
                let now = found(&library);
                let whole = now.as_ref() == Ok(&before) || now.as_ref() == Ok(&after);
                assert!(whole, "{name}: killed at {call} {n}: {now:?}");
            }
            restore(world.cmd("vpo-unpack-restore")).run().ok();
            assert_eq!(found(&library).as_ref(), Ok(&after), "{name}");
            world.clean();
            figures(&format!("{name}: whole"));
        }
    }
}
