//! Writes a sample VPO library: VPO's schema, filled with invented films and series, their tracks, and the history of
//! jobs that worked on them.
//!
//! The rows come from a generator with a seed, and the clock in them is invented too: the same [`Sample`] gives the
//! same bytes with the same SQLite. The indexes are there while the rows come in, so pages are as full, and rows as
//! scattered, as in a library that grew, and the mixture compresses like one (to a third, with DEFLATE level 6).
//!
//! Self-contained (std and rusqlite): the tests and benchmarks include this file by its path.

use std::collections::hash_map::{Entry, HashMap};
use std::io::{self, ErrorKind};
use std::path::Path;

use rusqlite::{Connection, Params, Statement};

/// How far to fill a library.
#[allow(dead_code)] // whoever includes this file uses what it needs
#[derive(Clone, Copy, Debug)]
pub enum Size {
    /// Length of the database file: met within a few percent, but never less than the empty schema takes.
    Bytes(u64),
    /// Rows of `files`, exactly. With 0 there are no rows at all but `_meta`'s.
    Files(u64),
}

/// The journal mode that is left in the header.
#[allow(dead_code)]
#[derive(Clone, Copy, Debug)]
pub enum Journal {
    Wal,
    Delete,
}

#[allow(dead_code)]
#[derive(Clone, Copy, Debug)]
pub enum AutoVacuum {
    None,
    Full,
    Incremental,
}

/// The library to write. Start from `Sample::default()`: a hundred files, everything else as VPO makes it.
#[allow(dead_code)]
#[derive(Clone, Debug)]
pub struct Sample {
    pub size: Size,
    pub seed: u64,
    /// Bytes; a power of two from 512 to 65536.
    pub page_size: u32,
    pub journal: Journal,
    pub auto_vacuum: AutoVacuum,
    /// What `_meta` says; the tables are always those of schema 27.
    pub schema_version: u32,
}

impl Default for Sample {
    fn default() -> Self {
        Sample {
            size: Size::Files(100),
            seed: 1,
            page_size: 4096,
            journal: Journal::Wal,
            auto_vacuum: AutoVacuum::None,
            schema_version: 27,
        }
    }
}

/// What is true of the library that was written, under the names that a backup's metadata has for it.
#[allow(dead_code)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub schema_version: u32,
    pub file_count: u64,
    /// Sum of `files.size_bytes`.
    pub total_library_size_bytes: u64,
    pub database_size_bytes: u64,
    pub page_size: u32,
}

/// Writes the library to a new file at `path` and leaves no side files. A file that exists is an error of the kind
/// [`ErrorKind::AlreadyExists`], an impossible page size one of [`ErrorKind::InvalidInput`]; after any other error
/// the unfinished file is removed.
#[allow(dead_code)]
pub fn write(sample: &Sample, path: &Path) -> io::Result<Facts> {
    if !sample.page_size.is_power_of_two() || !(512..=65536).contains(&sample.page_size) {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "the page size is not a power of two from 512 to 65536",
        ));
    }
    // Absolute, because SQLite would take a name that begins with `file:` for a URI.
    let path = std::path::absolute(path)?;
    std::fs::File::create_new(&path)?;
    fill(sample, &path)
        .map_err(io::Error::other)
        .and_then(|(file_count, total)| {
            Ok(Facts {
                schema_version: sample.schema_version,
                file_count,
                total_library_size_bytes: total,
                database_size_bytes: path.metadata()?.len(),
                page_size: sample.page_size,
            })
        })
        .inspect_err(|_| drop(std::fs::remove_file(&path)))
}

/// What a day does to a library.
#[allow(dead_code)]
#[derive(Clone, Copy, Debug)]
pub struct Day {
    /// Another day of the same kind.
    pub seed: u64,
    /// Media files that come.
    pub new: u64,
    /// Media files that were replaced by others, and are scanned again.
    pub changed: u64,
}

/// Lets a day go by in the library at `path`, which [`write`] wrote, in one transaction. Leaves no side files.
#[allow(dead_code)]
pub fn live(day: Day, path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path)?;
    path.metadata()?;
    let work = || {
        let db = Connection::open(&path)?;
        db.execute_batch("PRAGMA foreign_keys = ON; BEGIN IMMEDIATE")?;
        Library::of(&db, day.seed)?.live(day)?;
        db.execute_batch("COMMIT")?;
        db.close().map_err(|(_, error)| error)
    };
    work().map_err(io::Error::other)
}

/// Fills the empty file at `path`; gives the number and the total size of the media files in it.
fn fill(sample: &Sample, path: &Path) -> rusqlite::Result<(u64, u64)> {
    let db = Connection::open(path)?;
    let auto_vacuum = match sample.auto_vacuum {
        AutoVacuum::None => "NONE",
        AutoVacuum::Full => "FULL",
        AutoVacuum::Incremental => "INCREMENTAL",
    };
    // Nothing here has to survive a crash: without a journal the one big transaction spills its pages straight into
    // the file, and memory stays at the cache's 64 MiB.
    db.execute_batch(&format!(
        "PRAGMA page_size = {}; PRAGMA auto_vacuum = {auto_vacuum};
         PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;
         PRAGMA foreign_keys = ON;
         BEGIN; {SCHEMA}",
        sample.page_size
    ))?;
    db.execute(
        "INSERT INTO _meta VALUES ('schema_version', ?)",
        [sample.schema_version.to_string()],
    )?;
    if !matches!(sample.size, Size::Files(0)) {
        Library::new(&db, sample.seed).grow(sample.size, sample.page_size)?;
    }
    db.execute_batch("COMMIT")?;
    let mode = match sample.journal {
        Journal::Wal => "WAL",
        Journal::Delete => "DELETE",
    };
    db.pragma_update(None, "journal_mode", mode)?;
    let facts = db.query_row("SELECT count(*), coalesce(sum(size_bytes), 0) FROM files", [], |row| {
        Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
    })?;
    db.close().map_err(|(_, error)| error)?;
    Ok(facts)
}

/// splitmix64: small, and good enough to be incompressible.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }

    /// From 0 to 1, with all the digits that a measured number has.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn hex(&mut self) -> String {
        format!("{:016x}", self.next())
    }

    /// What VPO keeps of a file's content: hashes of its beginning and its end, and its length.
    fn content_hash(&mut self, size: u64) -> String {
        format!("xxh64:{:016x}:{:016x}:{size}", self.next(), self.next())
    }

    fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        let (low, mid, high) = (a >> 32, a >> 16 & 0xffff, a & 0xfff);
        let (variant, node) = (b >> 48 & 0x3fff | 0x8000, b & 0xffff_ffff_ffff);
        format!("{low:08x}-{mid:04x}-4{high:03x}-{variant:04x}-{node:012x}")
    }
}

/// Microseconds since 1970 as VPO writes a time, `2026-02-05T14:30:22.129815+00:00`.
fn iso(micros: u64) -> String {
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    // Days to a date: years begin in March, so that the leap day comes last, and eras of 400 years are all alike.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let (month, day) = ((march + 2) % 12 + 1, day - (153 * march + 2) / 5 + 1);
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
}

/// Adds rows, with each statement prepared once.
struct Rows<'db> {
    db: &'db Connection,
    statements: HashMap<&'static str, Statement<'db>>,
}

impl Rows<'_> {
    /// Gives the rowid.
    fn add(&mut self, sql: &'static str, values: impl Params) -> rusqlite::Result<i64> {
        let statement = match self.statements.entry(sql) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.db.prepare(sql)?),
        };
        statement.insert(values)
    }
}

/// A series while its episodes are being added.
struct Series {
    title: String,
    directory: String,
    tvdb: u64,
    language: &'static str,
    quality: Quality,
    season: u64,
    seasons: u64,
    episode: u64,
    episodes: u64,
}

/// A media file as the scanner meets it.
struct Media {
    title: String,
    directory: String,
    filename: String,
    language: &'static str,
    quality: Quality,
    size: u64,
    /// Seconds.
    duration: f64,
    /// JSON: what Radarr or Sonarr knows.
    plugin_metadata: String,
}

/// A library that grows in the order of events: a scan finds files, and the daemon works on some of them.
struct Library<'db> {
    rows: Rows<'db>,
    random: Random,
    /// Films and series so far.
    titles: u64,
    series: Option<Series>,
    files: u64,
    total_size: u64,
    /// The scan that goes on, and how many files it has yet to find.
    scan_job: String,
    scan_left: u64,
    /// The clocks of the scanner and of the daemon, in microseconds since 1970.
    scanner: u64,
    daemon: u64,
}

impl<'db> Library<'db> {
    fn new(db: &'db Connection, seed: u64) -> Self {
        Library {
            rows: Rows {
                db,
                statements: HashMap::new(),
            },
            random: Random(seed),
            titles: 0,
            series: None,
            files: 0,
            total_size: 0,
            scan_job: String::new(),
            scan_left: 0,
            scanner: START,
            daemon: START,
        }
    }

    /// One that is there already.
    fn of(db: &'db Connection, seed: u64) -> rusqlite::Result<Self> {
        let number = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).map(|n| n as u64);
        // A day that no other seed has; SQLite never gives an id again, and there are no more titles than ids.
        let morning = START + (700 + seed % 10_000) * DAY;
        Ok(Library {
            titles: number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'files'")?,
            files: number("SELECT count(*) FROM files")?,
            total_size: number("SELECT coalesce(sum(size_bytes), 0) FROM files")?,
            scanner: morning,
            daemon: morning,
            ..Library::new(db, seed.wrapping_mul(0x9e37_79b9))
        })
    }

    /// A scan finds new files, and old ones that have changed.
    fn live(mut self, day: Day) -> rusqlite::Result<()> {
        self.begin_scan()?;
        self.scan_left = day.new;
        for _ in 0..day.new {
            self.discover()?;
        }
        let last = self.titles;
        let mut left = day.changed.min(self.files);
        while left > 0 {
            let id = self.random.range(1, last) as i64;
            left -= u64::from(self.scan_again(id)?);
        }
        Ok(())
    }

    /// Scans a file that was replaced by a better one: false if there is none of this number.
    fn scan_again(&mut self, id: i64) -> rusqlite::Result<bool> {
        self.scanner += self.random.range(20_000, 160_000);
        let size = self.random.range(300_000_000, 40_000_000_000);
        let (modified, scanned) = (iso(self.scanner - self.random.range(1, DAY)), iso(self.scanner));
        let changed = self.rows.db.execute(
            "UPDATE files SET size_bytes = ?, modified_at = ?, content_hash = ?, scanned_at = ?, job_id = ? WHERE id = ?",
            (
                size as i64,
                modified,
                self.random.content_hash(size),
                scanned,
                &self.scan_job,
                id,
            ),
        )?;
        self.rows.db.execute(
            "UPDATE tracks SET duration_seconds = duration_seconds + ? WHERE file_id = ?",
            (self.random.fraction(), id),
        )?;
        Ok(changed > 0)
    }

    fn grow(mut self, size: Size, page_size: u32) -> rusqlite::Result<()> {
        self.settle()?;
        let mut page_count = self.rows.db.prepare("PRAGMA page_count")?;
        loop {
            let full = match size {
                Size::Files(files) => self.files >= files + files / 64,
                Size::Bytes(bytes) => {
                    let pages: u32 = page_count.query_row([], |row| row.get(0))?;
                    u64::from(pages) * u64::from(page_size) >= bytes
                }
            };
            if full {
                break;
            }
            self.add_file()?;
        }
        self.prune(match size {
            Size::Files(files) => files,
            Size::Bytes(_) => self.files - self.files / 64,
        })
    }

    /// What is there before the first scan.
    fn settle(&mut self) -> rusqlite::Result<()> {
        for (name, definition) in POLICIES {
            let (created, updated) = (self.later(90), self.later(9000));
            self.rows.add(
                "INSERT INTO policies (name, version, definition, created_at, updated_at)
                 VALUES (?, 12, ?, ?, ?)",
                (name, definition, created, updated),
            )?;
        }
        for plugin in PLUGINS {
            let hash: String = (0..4).map(|_| self.random.hex()).collect();
            let time = self.later(60);
            self.rows.add(
                "INSERT INTO plugin_acknowledgments
                    (plugin_name, plugin_hash, acknowledged_at, acknowledged_by)
                 VALUES (?, ?, ?, 'admin@mediabox')",
                (plugin, hash, time),
            )?;
        }
        Ok(())
    }

    /// Removes the newest files until `keep` are left, as VPO does when a directory has gone: their history goes with
    /// them, and free pages stay behind.
    fn prune(&mut self, keep: u64) -> rusqlite::Result<()> {
        let gone = self.files - keep;
        if gone == 0 {
            return Ok(());
        }
        (self.rows.db).execute("DELETE FROM files WHERE id > ?", [keep as i64])?;
        let (job, began, ended) = (self.random.uuid(), self.later(60), self.later(60));
        let summary = format!(r#"{{"files_pruned": {gone}}}"#);
        self.rows.add(LIBRARY_JOB, (job, "prune", began, ended, summary))?;
        Ok(())
    }

    /// A file, its tracks, and perhaps a job that worked on it.
    fn add_file(&mut self) -> rusqlite::Result<()> {
        let (file, path, media) = self.discover()?;
        if self.random.percent(50) {
            self.process(file, &path, &media)?;
        }
        Ok(())
    }

    /// A file that a scan finds, and its tracks.
    fn discover(&mut self) -> rusqlite::Result<(i64, String, Media)> {
        if self.scan_left == 0 {
            self.begin_scan()?;
        }
        self.scan_left -= 1;
        self.scanner += self.random.range(20_000, 160_000);
        let media = self.next_media();
        let path = format!("{}/{}", media.directory, media.filename);
        let modified = self.scanner - self.random.range(1, 400 * DAY);
        // Most files were seen again later, each by a job of its own that is no longer kept.
        let (scan_job, scanned) = match self.random.percent(95) {
            true => (self.random.uuid(), self.scanner + self.random.range(1, 90 * DAY)),
            false => (self.scan_job.clone(), self.scanner),
        };
        let container_tags = format!(
            r#"{{"title": "{}", "encoder": "libebml v1.4.{} + libmatroska v1.7.{}", "creation_time": "{}"}}"#,
            media.title,
            self.random.range(0, 5),
            self.random.range(0, 2),
            iso(modified - self.random.range(1, 400 * DAY))
        );
        let file = self.rows.add(
            "INSERT INTO files (path, filename, directory, extension, size_bytes, modified_at,
                content_hash, container_format, scanned_at, scan_status, job_id, plugin_metadata,
                container_tags)
             VALUES (?, ?, ?, 'mkv', ?, ?, ?, 'matroska', ?, 'ok', ?, ?, ?)",
            (
                &path,
                &media.filename,
                &media.directory,
                media.size as i64,
                iso(modified),
                self.random.content_hash(media.size),
                iso(scanned),
                scan_job,
                &media.plugin_metadata,
                container_tags,
            ),
        )?;
        self.files += 1;
        self.total_size += media.size;
        self.add_tracks(file, &media)?;
        Ok((file, path, media))
    }

    fn begin_scan(&mut self) -> rusqlite::Result<()> {
        self.scan_job = self.random.uuid();
        self.scan_left = self.random.range(5, 120);
        self.scanner = self.daemon.max(self.scanner) + self.random.range(1, DAY / 24);
        let began = iso(self.scanner);
        let ended = iso(self.scanner + self.scan_left * 90_000);
        self.rows.add(
            "INSERT INTO library_snapshots (snapshot_at, total_files, total_size_bytes, missing_files)
             VALUES (?, ?, ?, 0)",
            (&began, self.files as i64, self.total_size as i64),
        )?;
        let summary = format!(
            r#"{{"total_discovered": {}, "scanned": {}, "skipped": {}, "errors": 0}}"#,
            self.files + self.scan_left,
            self.scan_left,
            self.files
        );
        self.rows
            .add(LIBRARY_JOB, (&self.scan_job, "scan", began, ended, summary))?;
        Ok(())
    }

    fn next_media(&mut self) -> Media {
        match self.series.take() {
            Some(series) => self.episode(series),
            None if self.random.percent(98) => self.film(),
            None => {
                let series = self.new_series();
                self.episode(series)
            }
        }
    }

    fn film(&mut self) -> Media {
        let (title, id) = (self.title(), self.title_id());
        let (language, quality) = (self.random.pick(&LANGUAGES), self.random.pick(&QUALITIES));
        let year = self.random.range(1950, 2026);
        Media {
            directory: format!("/mnt/media/Movies/{title} ({year}) {{tmdb-{id}}}"),
            filename: format!("{title} ({year}) [{}].mkv", quality.0),
            size: self.random.range(1_500_000_000, 40_000_000_000),
            duration: 4800.0 + 5000.0 * self.random.fraction(),
            plugin_metadata: format!(
                r#"{{"radarr": {{"external_id": {}, "tmdb_id": {id}, "imdb_id": "tt{:07}", "original_language": "{language}", "original_title": "{title}", "year": {year}, "confidence": 1.0, "enriched_at": "{}"}}}}"#,
                self.titles,
                self.random.range(1, 9_999_999),
                iso(self.scanner + self.random.range(1, 90 * DAY))
            ),
            title,
            language,
            quality,
        }
    }

    fn new_series(&mut self) -> Series {
        let (title, tvdb) = (self.title(), self.title_id());
        Series {
            directory: format!("/mnt/media/TV/{title} {{tvdb-{tvdb}}}"),
            title,
            tvdb,
            language: self.random.pick(&LANGUAGES),
            quality: self.random.pick(&QUALITIES),
            season: 1,
            seasons: self.random.range(1, 7),
            episode: 1,
            episodes: self.random.range(6, 13),
        }
    }

    /// The next episode of `series`, which goes on unless that was its last.
    fn episode(&mut self, mut series: Series) -> Media {
        let (season, episode, show) = (series.season, series.episode, &series.title);
        let (title, quality) = (self.title(), series.quality);
        let media = Media {
            directory: format!("{}/Season {season:02}", series.directory),
            filename: format!("{show} - S{season:02}E{episode:02} - {title} [{}].mkv", quality.0),
            size: self.random.range(300_000_000, 6_000_000_000),
            duration: 1260.0 + 2400.0 * self.random.fraction(),
            plugin_metadata: format!(
                r#"{{"sonarr": {{"series_id": {}, "tvdb_id": {}, "original_language": "{}", "series_title": "{show}", "season": {season}, "episode": {episode}, "enriched_at": "{}"}}}}"#,
                self.titles,
                series.tvdb,
                series.language,
                iso(self.scanner + self.random.range(1, 90 * DAY))
            ),
            title,
            language: series.language,
            quality,
        };
        series.episode += 1;
        if series.episode > series.episodes {
            (series.season, series.episode) = (season + 1, 1);
        }
        if series.season <= series.seasons {
            self.series = Some(series);
        }
        media
    }

    fn title(&mut self) -> String {
        let (adjective, noun) = (self.random.pick(&ADJECTIVES), self.random.pick(&NOUNS));
        let name: String = (0..self.random.range(2, 4))
            .map(|_| self.random.pick(&SYLLABLES))
            .collect();
        let name = name[..1].to_uppercase() + &name[1..];
        match self.random.range(0, 3) {
            0 => format!("The {adjective} {noun} of {name}"),
            1 => format!("{name} and the {adjective} {noun}"),
            2 => format!("{adjective} {name}"),
            _ => format!("{name} {noun}"),
        }
    }

    /// A number that no other title has, in no visible order; it makes paths unique. (The modulus is a prime.)
    fn title_id(&mut self) -> u64 {
        self.titles += 1;
        self.titles * 6_180_339 % 9_999_991
    }

    fn add_tracks(&mut self, file: i64, media: &Media) -> rusqlite::Result<()> {
        let random = &mut self.random;
        let (_, width, height) = media.quality;
        let (codec, rate) = (random.pick(&VIDEO_CODECS), random.pick(&FRAME_RATES));
        self.rows.add(
            "INSERT INTO tracks (file_id, track_index, track_type, codec, is_default, width, height,
                frame_rate, color_transfer, color_primaries, color_space, color_range, duration_seconds)
             VALUES (?, 0, 'video', ?, 1, ?, ?, ?, 'bt709', 'bt709', 'bt709', 'tv', ?)",
            (file, codec, width, height, rate, media.duration),
        )?;
        let audio_tracks = self.random.range(1, 4);
        for nth in 0..audio_tracks {
            self.add_audio(file, 1 + nth, media)?;
        }
        let random = &mut self.random;
        for nth in 0..random.range(0, 6) as i64 {
            let index = 1 + audio_tracks as i64 + nth;
            let (codec, title) = random.pick(&SUBTITLES);
            let language = random.pick(&LANGUAGES);
            let (default, forced) = (nth == 0, title == Some("Forced"));
            let duration = media.duration - 60.0 * random.fraction();
            self.rows.add(
                "INSERT INTO tracks (file_id, track_index, track_type, codec, language, title,
                    is_default, is_forced, duration_seconds)
                 VALUES (?, ?, 'subtitle', ?, ?, ?, ?, ?, ?)",
                (file, index, codec, language, title, default, forced, duration),
            )?;
        }
        Ok(())
    }

    fn add_audio(&mut self, file: i64, index: u64, media: &Media) -> rusqlite::Result<()> {
        let random = &mut self.random;
        let (channels, layout, mut title) = random.pick(&LAYOUTS);
        let mut language = media.language;
        if index > 1 {
            language = random.pick(&LANGUAGES);
            if random.percent(25) {
                title = "Commentary";
            }
        }
        let codec = random.pick(&AUDIO_CODECS);
        let duration = media.duration - random.fraction() / 10.0;
        let track = self.rows.add(
            "INSERT INTO tracks (file_id, track_index, track_type, codec, language, title, is_default,
                channels, channel_layout, duration_seconds)
             VALUES (?, ?, 'audio', ?, ?, ?, ?, ?, ?, ?)",
            (
                file,
                index as i64,
                codec,
                language,
                title,
                index == 1,
                channels,
                layout,
                duration,
            ),
        )?;
        if self.random.percent(10) {
            self.listen(track, language, media)?;
        }
        Ok(())
    }

    /// What speech recognition found out about an audio track.
    fn listen(&mut self, track: i64, language: &str, media: &Media) -> rusqlite::Result<()> {
        let (time, random) = (self.later(20), &mut self.random);
        let hash = random.content_hash(media.size);
        let confidence = 0.5 + random.fraction() / 2.0;
        let said = format!("{} {}", random.pick(&SPEECH), random.pick(&SPEECH));
        self.rows.add(
            "INSERT INTO transcription_results (track_id, detected_language, confidence_score,
                transcript_sample, plugin_name, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, 'whisper-transcriber', ?5, ?5)",
            (track, language, confidence, said, &time),
        )?;
        self.rows.add(
            "INSERT INTO track_classification_results (track_id, file_hash, original_dubbed_status,
                commentary_status, confidence, detection_method, created_at, updated_at)
             VALUES (?1, ?2, 'original', 'main', ?3, 'metadata', ?4, ?4)",
            (track, &hash, confidence, &time),
        )?;
        let analysis = self.rows.add(
            "INSERT INTO language_analysis_results (track_id, file_hash, primary_language,
                primary_percentage, classification, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, 'SINGLE_LANGUAGE', ?5, ?5)",
            (track, hash, language, confidence, time),
        )?;
        for nth in 0..random.range(2, 5) {
            let start = media.duration * nth as f64 / 6.0;
            let confidence = 0.5 + random.fraction() / 2.0;
            self.rows.add(
                "INSERT INTO language_segments
                    (analysis_id, language_code, start_time, end_time, confidence)
                 VALUES (?1, ?2, ?3, ?3 + 30.0, ?4)",
                (analysis, language, start, confidence),
            )?;
        }
        Ok(())
    }

    /// A job that applies a policy to a file, its statistics, and sometimes the plan and the operation before it.
    fn process(&mut self, file: i64, path: &str, media: &Media) -> rusqlite::Result<()> {
        let (policy, definition) = self.random.pick(&POLICIES);
        let (id, batch) = (self.random.uuid(), self.random.uuid());
        let (created, began, ended) = (self.later(60), self.later(20), self.later(120));
        let failed = self.random.percent(3);
        let error = failed.then_some("ffmpeg exited with status 1: Conversion failed!");
        let status = if failed { "failed" } else { "completed" };
        let count = self.random.range(0, 4) as i64;
        let actions: Vec<Action> = (0..count).map(|_| self.random.pick(&ACTIONS)).collect();
        let log = format!("logs/{id}.log");
        let summary = format!(r#"{{"changes": {count}}}"#);
        self.rows.add(
            "INSERT INTO jobs (id, file_id, file_path, job_type, status, policy_name, policy_json,
                progress_percent, created_at, started_at, completed_at, error_message, summary_json,
                log_path, origin, batch_id)
             VALUES (?, ?, ?, 'process', ?, ?, ?, 100.0, ?, ?, ?, ?, ?, ?, 'daemon', ?)",
            (
                &id, file, path, status, policy, definition, &created, &began, &ended, error, summary, log, batch,
            ),
        )?;
        if self.random.percent(5) {
            let planned = planned(&actions);
            let (plan, operation) = (self.random.uuid(), self.random.uuid());
            self.rows.add(
                "INSERT INTO plans (id, file_id, file_path, policy_name, policy_version, job_id,
                    actions_json, action_count, requires_remux, status, created_at, updated_at)
                 VALUES (?, ?, ?, ?, 12, ?, ?, ?, 1, 'applied', ?, ?)",
                (plan, file, path, policy, &id, &planned, count, created, &began),
            )?;
            let status = if failed { "ROLLED_BACK" } else { "COMPLETED" };
            self.rows.add(
                "INSERT INTO operations (id, file_id, file_path, policy_name, policy_version,
                    actions_json, status, error_message, started_at, completed_at)
                 VALUES (?, ?, ?, ?, 12, ?, ?, ?, ?, ?)",
                (operation, file, path, policy, planned, status, error, began, &ended),
            )?;
        }
        let job = Job {
            id,
            file,
            policy,
            error,
            ended,
            actions,
        };
        self.add_statistics(job, media.size)
    }

    fn add_statistics(&mut self, job: Job, size: u64) -> rusqlite::Result<()> {
        let random = &mut self.random;
        let stats = random.uuid();
        let before = size as i64;
        let after = before - before / 1000 * random.range(0, 400) as i64;
        let seconds = 900.0 * random.fraction();
        let changes = job.actions.len() as i64;
        let (hash_before, hash_after) = (random.hex(), random.hex());
        self.rows.add(
            "INSERT INTO processing_stats (id, file_id, processed_at, policy_name, size_before,
                size_after, size_change, duration_seconds, phases_completed, phases_total,
                total_changes, hash_before, hash_after, success, error_message, job_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5 - ?6, ?7, 3, 3, ?8, 'xxh64:' || ?9, 'xxh64:' || ?10,
                ?11 IS NULL, ?11, ?12)",
            (
                &stats,
                job.file,
                job.ended,
                job.policy,
                before,
                after,
                seconds,
                changes,
                hash_before,
                hash_after,
                job.error,
                job.id,
            ),
        )?;
        for (nth, (name, track, from, to)) in (0i64..).zip(job.actions) {
            let milliseconds = random.range(5, 9000) as i64;
            self.rows.add(
                "INSERT INTO action_results (stats_id, action_type, track_type, track_index,
                    before_state, after_state, success, duration_ms, message)
                 VALUES (?, ?, ?, ?, ?, ?, 1, ?, 'ok')",
                (&stats, name, track, nth, from, to, milliseconds),
            )?;
        }
        for phase in PHASES {
            let (seconds, fps) = (300.0 * random.fraction(), 200.0 * random.fraction());
            let bitrate = random.range(500_000, 20_000_000) as i64;
            let (fps, bitrate) = match phase {
                "transcode" => (Some(fps), Some(bitrate)),
                _ => (None, None),
            };
            self.rows.add(
                "INSERT INTO performance_metrics (stats_id, phase_name, wall_time_seconds, bytes_read,
                    bytes_written, encoding_fps, encoding_bitrate)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
                (&stats, phase, seconds, before, after, fps, bitrate),
            )?;
        }
        Ok(())
    }

    /// The time after the daemon was busy for up to `seconds` more.
    fn later(&mut self, seconds: u64) -> String {
        self.daemon += self.random.range(1, seconds * 1_000_000);
        iso(self.daemon)
    }
}

/// A job that ran on a file.
struct Job {
    id: String,
    file: i64,
    policy: &'static str,
    actions: Vec<Action>,
    ended: String,
    error: Option<&'static str>,
}

/// A change to a track: what is done, to which kind of track, and its state before and after in JSON.
type Action = (&'static str, &'static str, &'static str, &'static str);

/// Name, width and height.
type Quality = (&'static str, u32, u32);

/// Actions as a plan lists them.
fn planned(actions: &[Action]) -> String {
    let action = |(name, track, before, after): &Action| {
        format!(r#"{{"action_type": "{name}", "track_type": "{track}", "current": {before}, "desired": {after}}}"#)
    };
    format!("[{}]", actions.iter().map(action).collect::<Vec<_>>().join(", "))
}

/// A scan or a prune, which are of the whole library.
const LIBRARY_JOB: &str = "INSERT INTO jobs (id, file_path, job_type, status, progress_percent, created_at,
        started_at, completed_at, summary_json, origin)
     VALUES (?1, '/mnt/media', ?2, 'completed', 100.0, ?3, ?3, ?4, ?5, 'daemon')";

/// When the library was begun, 2024-10-01, in microseconds since 1970.
const START: u64 = 1_727_740_800_000_000;
const DAY: u64 = 86_400_000_000;

const QUALITIES: [Quality; 5] = [
    ("Bluray-2160p", 3840, 2160),
    ("Bluray-1080p", 1920, 1080),
    ("WEBDL-1080p", 1920, 1080),
    ("HDTV-720p", 1280, 720),
    ("DVD", 720, 480),
];
const VIDEO_CODECS: [&str; 5] = ["hevc", "h264", "av1", "mpeg4", "vp9"];
const FRAME_RATES: [&str; 3] = ["24000/1001", "25/1", "30000/1001"];
const AUDIO_CODECS: [&str; 7] = ["aac", "ac3", "eac3", "dts", "truehd", "flac", "opus"];
/// Channels, their layout, and the title of a track that has them.
const LAYOUTS: [(u32, &str, &str); 4] = [
    (1, "mono", "Mono"),
    (2, "stereo", "Stereo"),
    (6, "5.1(side)", "Surround 5.1"),
    (8, "7.1", "Surround 7.1"),
];
/// Codec and title.
const SUBTITLES: [(&str, Option<&str>); 5] = [
    ("subrip", None),
    ("subrip", Some("SDH")),
    ("subrip", Some("Forced")),
    ("ass", Some("Signs & Songs")),
    ("hdmv_pgs_subtitle", None),
];
#[rustfmt::skip]
const LANGUAGES: [&str; 10] = ["eng", "deu", "fra", "spa", "ita", "jpn", "kor", "por", "rus", "zho"];
#[rustfmt::skip]
const PLUGINS: [&str; 4] = ["policy-engine", "radarr-metadata", "sonarr-metadata", "whisper-transcriber"];
const PHASES: [&str; 3] = ["analyze", "apply", "transcode"];
/// Name and definition.
#[rustfmt::skip]
const POLICIES: [(&str, &str); 3] = [
    ("default.yaml", r#"{"schema_version": 12, "audio": {"keep": ["eng", "jpn"]}}"#),
    ("archive.yaml", r#"{"schema_version": 12, "video": {"codec": "hevc", "crf": 20}}"#),
    ("tablet.yaml", r#"{"schema_version": 12, "subtitle": {"remove_all": true}}"#),
];
#[rustfmt::skip]
const ACTIONS: [Action; 6] = [
    ("transcode", "audio", r#"{"codec": "truehd"}"#, r#"{"codec": "aac"}"#),
    ("transcode", "video", r#"{"codec": "h264"}"#, r#"{"codec": "hevc"}"#),
    ("remove", "audio", r#"{"language": "rus"}"#, "null"),
    ("remove", "subtitle", r#"{"language": "ita"}"#, "null"),
    ("set_default", "audio", r#"{"is_default": false}"#, r#"{"is_default": true}"#),
    ("set_title", "subtitle", r#"{"title": null}"#, r#"{"title": "SDH"}"#),
];
/// What people say in the films.
const SPEECH: [&str; 8] = [
    "I told you not to come here.",
    "The river has been rising since noon.",
    "Has anybody seen the keys?",
    "We leave when the lamps are out.",
    "That was never part of the plan.",
    "Listen, there is someone at the door.",
    "You could have written.",
    "Nobody has sailed it twice.",
];
#[rustfmt::skip]
const ADJECTIVES: [&str; 32] = [
    "Amber", "Ancient", "Bitter", "Borrowed", "Broken", "Burning", "Careful", "Crooked", "Distant", "Eastern",
    "Faithful", "Fallen", "Frozen", "Gilded", "Hidden", "Hollow", "Idle", "Iron", "Last", "Lonely", "Narrow",
    "Painted", "Patient", "Quiet", "Restless", "Rusted", "Salted", "Sleeping", "Stolen", "Tangled", "Velvet", "Winter",
];
#[rustfmt::skip]
const NOUNS: [&str; 40] = [
    "Anchor", "Archive", "Aviary", "Balcony", "Beacon", "Bridge", "Carousel", "Cellar", "Compass", "Corridor",
    "Dovecote", "Estuary", "Falconer", "Ferry", "Foundry", "Glacier", "Granary", "Harbor", "Heron", "Island", "Kiln",
    "Lantern", "Ledger", "Mandolin", "Meridian", "Monsoon", "Orchard", "Parade", "Pelican", "Quarry", "Railway",
    "Saffron", "Sextant", "Signal", "Staircase", "Telegraph", "Tide", "Vineyard", "Weaver", "Window",
];
/// Proper names are made of these.
#[rustfmt::skip]
const SYLLABLES: [&str; 40] = [
    "al", "ber", "bri", "cor", "da", "del", "dro", "el", "esh", "fen", "gar", "gri", "ha", "hol", "il", "ka", "kel",
    "lo", "lun", "ma", "mir", "mo", "na", "nor", "ol", "os", "pel", "qua", "ra", "ros", "sa", "sel", "ta", "tor", "ul",
    "va", "vor", "wen", "yl", "zan",
];

/// VPO's tables at schema 27.
const SCHEMA: &str = "
CREATE TABLE _meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT UNIQUE NOT NULL, filename TEXT NOT NULL, directory TEXT NOT NULL, extension TEXT NOT NULL,
    size_bytes INTEGER NOT NULL, modified_at TEXT NOT NULL, content_hash TEXT, container_format TEXT,
    scanned_at TEXT NOT NULL, scan_status TEXT NOT NULL DEFAULT 'pending', scan_error TEXT, job_id TEXT,
    plugin_metadata TEXT, container_tags TEXT
);
CREATE INDEX idx_files_directory ON files(directory);
CREATE INDEX idx_files_extension ON files(extension);
CREATE INDEX idx_files_content_hash ON files(content_hash);
CREATE INDEX idx_files_job_id ON files(job_id);
CREATE INDEX idx_files_status_scanned ON files(scan_status, scanned_at DESC);

CREATE TABLE tracks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id INTEGER NOT NULL REFERENCES files(id) ON DELETE CASCADE,
    track_index INTEGER NOT NULL, track_type TEXT NOT NULL, codec TEXT, language TEXT, title TEXT,
    is_default INTEGER NOT NULL DEFAULT 0, is_forced INTEGER NOT NULL DEFAULT 0,
    channels INTEGER, channel_layout TEXT, width INTEGER, height INTEGER, frame_rate TEXT,
    color_transfer TEXT, color_primaries TEXT, color_space TEXT, color_range TEXT, duration_seconds REAL,
    UNIQUE (file_id, track_index)
);
CREATE INDEX idx_tracks_file_id ON tracks(file_id);
CREATE INDEX idx_tracks_type ON tracks(track_type);
CREATE INDEX idx_tracks_language ON tracks(language);

CREATE TABLE operations (
    id TEXT PRIMARY KEY,
    file_id INTEGER NOT NULL REFERENCES files(id) ON DELETE CASCADE,
    file_path TEXT NOT NULL, policy_name TEXT NOT NULL, policy_version INTEGER NOT NULL, actions_json TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'PENDING', error_message TEXT, backup_path TEXT,
    started_at TEXT NOT NULL, completed_at TEXT,
    CONSTRAINT valid_status CHECK (status IN ('PENDING', 'IN_PROGRESS', 'COMPLETED', 'FAILED', 'ROLLED_BACK'))
);
CREATE INDEX idx_operations_file_id ON operations(file_id);
CREATE INDEX idx_operations_status ON operations(status);
CREATE INDEX idx_operations_started_at ON operations(started_at);

CREATE TABLE policies (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT UNIQUE NOT NULL, version INTEGER NOT NULL DEFAULT 1, definition TEXT NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);

CREATE TABLE plugin_acknowledgments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    plugin_name TEXT NOT NULL, plugin_hash TEXT NOT NULL, acknowledged_at TEXT NOT NULL, acknowledged_by TEXT,
    UNIQUE (plugin_name, plugin_hash)
);
CREATE INDEX idx_plugin_ack_name ON plugin_acknowledgments(plugin_name);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    file_id INTEGER REFERENCES files(id) ON DELETE CASCADE,
    file_path TEXT NOT NULL, job_type TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'queued',
    priority INTEGER NOT NULL DEFAULT 100, policy_name TEXT, policy_json TEXT,
    progress_percent REAL NOT NULL DEFAULT 0.0, progress_json TEXT,
    created_at TEXT NOT NULL, started_at TEXT, completed_at TEXT, worker_pid INTEGER, worker_heartbeat TEXT,
    output_path TEXT, backup_path TEXT, error_message TEXT, files_affected_json TEXT, summary_json TEXT,
    log_path TEXT, origin TEXT, batch_id TEXT,
    CONSTRAINT valid_status CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    CONSTRAINT valid_job_type CHECK (job_type IN ('transcode', 'move', 'scan', 'apply', 'process', 'prune')),
    CONSTRAINT valid_progress CHECK (progress_percent BETWEEN 0.0 AND 100.0),
    CONSTRAINT valid_priority CHECK (priority BETWEEN 0 AND 1000)
);
CREATE INDEX idx_jobs_status ON jobs(status);
CREATE INDEX idx_jobs_file_id ON jobs(file_id);
CREATE INDEX idx_jobs_created_at ON jobs(created_at);
CREATE INDEX idx_jobs_priority_created ON jobs(priority, created_at);
CREATE INDEX idx_jobs_job_type ON jobs(job_type);
CREATE INDEX idx_jobs_origin ON jobs(origin);
CREATE INDEX idx_jobs_batch_id ON jobs(batch_id);

CREATE TABLE transcription_results (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    track_id INTEGER NOT NULL UNIQUE REFERENCES tracks(id) ON DELETE CASCADE,
    detected_language TEXT, confidence_score REAL NOT NULL, track_type TEXT NOT NULL DEFAULT 'main',
    transcript_sample TEXT, plugin_name TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    CONSTRAINT valid_confidence CHECK (confidence_score BETWEEN 0.0 AND 1.0),
    CONSTRAINT valid_track_type CHECK (
        track_type IN ('main', 'commentary', 'alternate', 'music', 'sfx', 'non_speech')
    )
);
CREATE INDEX idx_transcription_track_id ON transcription_results(track_id);
CREATE INDEX idx_transcription_language ON transcription_results(detected_language);
CREATE INDEX idx_transcription_type ON transcription_results(track_type);
CREATE INDEX idx_transcription_plugin ON transcription_results(plugin_name);

CREATE TABLE plans (
    id TEXT PRIMARY KEY,
    file_id INTEGER REFERENCES files(id) ON DELETE SET NULL,
    file_path TEXT NOT NULL, policy_name TEXT NOT NULL, policy_version INTEGER NOT NULL, job_id TEXT,
    actions_json TEXT NOT NULL, action_count INTEGER NOT NULL, requires_remux INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending', created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    CONSTRAINT valid_status CHECK (status IN ('pending', 'approved', 'rejected', 'applied', 'canceled')),
    CONSTRAINT valid_action_count CHECK (action_count >= 0)
);
CREATE INDEX idx_plans_status ON plans(status);
CREATE INDEX idx_plans_created_at ON plans(created_at DESC);
CREATE INDEX idx_plans_file_id ON plans(file_id);
CREATE INDEX idx_plans_policy_name ON plans(policy_name);

CREATE TABLE language_analysis_results (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    track_id INTEGER NOT NULL UNIQUE REFERENCES tracks(id) ON DELETE CASCADE,
    file_hash TEXT NOT NULL, primary_language TEXT NOT NULL, primary_percentage REAL NOT NULL,
    classification TEXT NOT NULL, analysis_metadata TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    CONSTRAINT valid_percentage CHECK (primary_percentage BETWEEN 0.0 AND 1.0),
    CONSTRAINT valid_classification CHECK (classification IN ('SINGLE_LANGUAGE', 'MULTI_LANGUAGE'))
);
CREATE INDEX idx_lang_analysis_track ON language_analysis_results(track_id);
CREATE INDEX idx_lang_analysis_hash ON language_analysis_results(file_hash);
CREATE INDEX idx_lang_analysis_classification ON language_analysis_results(classification);

CREATE TABLE language_segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    analysis_id INTEGER NOT NULL REFERENCES language_analysis_results(id) ON DELETE CASCADE,
    language_code TEXT NOT NULL, start_time REAL NOT NULL, end_time REAL NOT NULL, confidence REAL NOT NULL,
    CONSTRAINT valid_times CHECK (end_time > start_time),
    CONSTRAINT valid_confidence CHECK (confidence BETWEEN 0.0 AND 1.0)
);
CREATE INDEX idx_lang_segments_analysis ON language_segments(analysis_id);
CREATE INDEX idx_lang_segments_language ON language_segments(language_code);

CREATE TABLE processing_stats (
    id TEXT PRIMARY KEY,
    file_id INTEGER NOT NULL REFERENCES files(id) ON DELETE CASCADE,
    processed_at TEXT NOT NULL, policy_name TEXT NOT NULL,
    size_before INTEGER NOT NULL, size_after INTEGER NOT NULL, size_change INTEGER NOT NULL,
    audio_tracks_before INTEGER NOT NULL DEFAULT 0, subtitle_tracks_before INTEGER NOT NULL DEFAULT 0,
    attachments_before INTEGER NOT NULL DEFAULT 0,
    audio_tracks_after INTEGER NOT NULL DEFAULT 0, subtitle_tracks_after INTEGER NOT NULL DEFAULT 0,
    attachments_after INTEGER NOT NULL DEFAULT 0,
    audio_tracks_removed INTEGER NOT NULL DEFAULT 0, subtitle_tracks_removed INTEGER NOT NULL DEFAULT 0,
    attachments_removed INTEGER NOT NULL DEFAULT 0,
    duration_seconds REAL NOT NULL, phases_completed INTEGER NOT NULL DEFAULT 0,
    phases_total INTEGER NOT NULL DEFAULT 0, total_changes INTEGER NOT NULL DEFAULT 0,
    video_source_codec TEXT, video_target_codec TEXT, video_transcode_skipped INTEGER NOT NULL DEFAULT 0,
    video_skip_reason TEXT, audio_tracks_transcoded INTEGER NOT NULL DEFAULT 0,
    audio_tracks_preserved INTEGER NOT NULL DEFAULT 0,
    hash_before TEXT, hash_after TEXT, success INTEGER NOT NULL, error_message TEXT, encoder_type TEXT,
    job_id TEXT REFERENCES jobs(id) ON DELETE SET NULL
);
CREATE INDEX idx_stats_file ON processing_stats(file_id);
CREATE INDEX idx_stats_job ON processing_stats(job_id);
CREATE INDEX idx_stats_policy ON processing_stats(policy_name);
CREATE INDEX idx_stats_time ON processing_stats(processed_at DESC);
CREATE INDEX idx_stats_success ON processing_stats(success);
CREATE INDEX idx_stats_file_time ON processing_stats(file_id, processed_at DESC);

CREATE TABLE action_results (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stats_id TEXT NOT NULL REFERENCES processing_stats(id) ON DELETE CASCADE,
    action_type TEXT NOT NULL, track_type TEXT, track_index INTEGER, before_state TEXT, after_state TEXT,
    success INTEGER NOT NULL, duration_ms INTEGER, rule_reference TEXT, message TEXT
);
CREATE INDEX idx_action_stats_id ON action_results(stats_id);
CREATE INDEX idx_action_type ON action_results(action_type);
CREATE INDEX idx_action_track_type ON action_results(track_type);

CREATE TABLE performance_metrics (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stats_id TEXT NOT NULL REFERENCES processing_stats(id) ON DELETE CASCADE,
    phase_name TEXT NOT NULL, wall_time_seconds REAL NOT NULL, bytes_read INTEGER, bytes_written INTEGER,
    encoding_fps REAL, encoding_bitrate INTEGER
);
CREATE INDEX idx_perf_stats_id ON performance_metrics(stats_id);
CREATE INDEX idx_perf_phase ON performance_metrics(phase_name);

CREATE TABLE track_classification_results (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    track_id INTEGER NOT NULL UNIQUE REFERENCES tracks(id) ON DELETE CASCADE,
    file_hash TEXT NOT NULL, original_dubbed_status TEXT NOT NULL, commentary_status TEXT NOT NULL,
    confidence REAL NOT NULL, detection_method TEXT NOT NULL, acoustic_profile_json TEXT,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    CONSTRAINT valid_confidence CHECK (confidence BETWEEN 0.0 AND 1.0),
    CONSTRAINT valid_od_status CHECK (original_dubbed_status IN ('original', 'dubbed', 'unknown')),
    CONSTRAINT valid_commentary_status CHECK (commentary_status IN ('commentary', 'main', 'unknown')),
    CONSTRAINT valid_method CHECK (detection_method IN ('metadata', 'acoustic', 'combined', 'position'))
);
CREATE INDEX idx_classification_track ON track_classification_results(track_id);
CREATE INDEX idx_classification_hash ON track_classification_results(file_hash);
CREATE INDEX idx_classification_od_status ON track_classification_results(original_dubbed_status);

CREATE TABLE library_snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    snapshot_at TEXT NOT NULL, total_files INTEGER NOT NULL, total_size_bytes INTEGER NOT NULL,
    missing_files INTEGER NOT NULL, error_files INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX idx_library_snapshots_time ON library_snapshots(snapshot_at);
";
