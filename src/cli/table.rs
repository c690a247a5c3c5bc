//! The listing as a table: for a pipe, or fitted to the width of a terminal.
//!
//! On a terminal each backup is one line. Where the width allows it, the table has all that it has in a pipe, and more.
//! Else the file name gives way to what tells it from the others, its time as a rule; the age gets shorter; and then
//! columns are left out one after the other.

use super::cells::{Age, age, coloured, listed_names, size, what_is_wrong, word};
use super::keep::keep_words;
use super::text::{columns as columns_of, cut_end, cut_middle, escape};
use crate::backups::{Backup, Verdict};
use crate::size::grouped;
use crate::time::Time;

/// Columns in the order in which they stand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Kind {
    Name,
    Created,
    Age,
    Archive,
    // From here on a damaged backup has nothing to say but what is wrong with it.
    Database,
    Files,
    Change,
    Schema,
    Source,
    Keep,
    Note,
}

const KINDS: [Kind; 11] = [
    Kind::Name,
    Kind::Created,
    Kind::Age,
    Kind::Archive,
    Kind::Database,
    Kind::Files,
    Kind::Change,
    Kind::Schema,
    Kind::Source,
    Kind::Keep,
    Kind::Note,
];

/// What is left out where there is no room, the least needed first: who looks for the last good backup goes by what is in
/// it, not by how large it is.
const LEAST_NEEDED: [Kind; 7] = [
    Kind::Schema,
    Kind::Database,
    Kind::Archive,
    Kind::Source,
    Kind::Age,
    Kind::Files,
    Kind::Change,
];

/// A longer name does not widen its column for all. It takes the place of what is beside it.
const WIDEST_NAME: usize = "2026-02-05T143022Z-replaced-10".len();
/// Where names give way to times, a longer source is cut; it is cut shorter before it is left out. What keep rules say is
/// cut before files and their change are left out.
const WIDEST_SOURCE: usize = 24;
const SHORT_SOURCE: usize = 20;
const SHORT_KEEP: usize = 16;
/// What is cut is left so many columns.
const LEAST: usize = 8;
/// With so many columns, what is wrong with a backup begins below the column that it is in the place of.
const ROOM_FOR_FLAW: usize = 16;
/// Between columns.
const GAP: usize = 2;

/// One way to write the table.
#[derive(Clone, Copy)]
struct Form {
    /// File names and times; else what tells the names from each other.
    full: bool,
    age: Age,
    /// Each safety backup is called one in a column of its own; else it is marked where its name does not say it.
    all_notes: bool,
    /// Sources and what keep rules say are cut to so many columns.
    source: usize,
    keep: usize,
    left_out: &'static [Kind],
}

const FOR_PIPE: Form = Form {
    full: true,
    age: Age::Absent,
    all_notes: false,
    source: usize::MAX,
    keep: usize::MAX,
    left_out: &[],
};

/// The forms for a terminal, the widest first.
fn forms() -> impl Iterator<Item = Form> {
    let complete = [
        (true, Age::Long, true),
        (true, Age::Long, false),
        (true, Age::Short, false),
        (false, Age::Long, true),
        (false, Age::Long, false),
    ];
    let complete = complete.map(|(full, age, all_notes)| Form {
        full,
        age,
        all_notes,
        source: if full { usize::MAX } else { WIDEST_SOURCE },
        ..FOR_PIPE
    });
    let place = |kind| LEAST_NEEDED.iter().position(|other| *other == kind).unwrap_or(0);
    let (with_source, without_age) = (place(Kind::Source), place(Kind::Age) + 1);
    let wide = (0..=with_source).map(|n| (n, WIDEST_SOURCE, usize::MAX));
    let short = (with_source..=without_age).map(|n| (n, SHORT_SOURCE, usize::MAX));
    let narrow = (without_age..=LEAST_NEEDED.len()).map(|n| (n, SHORT_SOURCE, SHORT_KEEP));
    let narrower = wide.chain(short).chain(narrow).flat_map(|(n, source, keep)| {
        [Age::Short, Age::Tiny].map(|age| Form {
            full: false,
            age,
            all_notes: false,
            source,
            keep,
            left_out: &LEAST_NEEDED[..n],
        })
    });
    complete.into_iter().chain(narrower)
}

/// What a table is made of.
pub struct Table<'a> {
    backups: &'a [Backup],
    verdicts: Option<&'a [Verdict]>,
    latest: Option<&'a Backup>,
    now: Time,
    several_sources: bool,
}

struct Column {
    kind: Kind,
    heading: &'static str,
    cells: Vec<String>,
    width: usize,
}

impl<'a> Table<'a> {
    /// Of `backups`, the newest first, with what keep rules say of each. The age of each is counted to `now`.
    pub fn new(backups: &'a [Backup], verdicts: Option<&'a [Verdict]>, now: Time) -> Self {
        let mut known = backups.iter().filter_map(|backup| backup.source.as_ref());
        let first = known.next();
        Table {
            backups,
            verdicts,
            latest: None,
            now,
            several_sources: known.any(|source| Some(source) != first),
        }
    }

    /// Marks the backup that `latest` means.
    pub fn mark_latest(mut self, latest: Option<&'a Backup>) -> Self {
        self.latest = latest;
        self
    }

    /// The lines for a pipe: the heading, then one for each backup.
    pub fn complete(&self) -> Vec<String> {
        self.lines(FOR_PIPE, &self.columns(FOR_PIPE), usize::MAX)
    }

    /// The lines for a terminal of `width` columns: the heading, then one for each backup. None is wider.
    pub fn fitted(&self, width: usize) -> Vec<String> {
        let mut narrowest = FOR_PIPE;
        for form in forms() {
            let mut columns = self.columns(form);
            if let Some(left) = width.checked_sub(total(&columns)) {
                // What stands last need not be cut as short.
                if let Some(keep) = columns.iter_mut().find(|column| column.kind == Kind::Keep) {
                    keep.width += left;
                }
                return self.lines(form, &columns, width);
            }
            narrowest = form;
        }
        let mut fitted = self.columns(narrowest);
        let over = total(&fitted).saturating_sub(width);
        if let Some(keep) = fitted.iter_mut().find(|column| column.kind == Kind::Keep) {
            keep.width = keep.width.saturating_sub(over).max(LEAST);
        }
        self.lines(narrowest, &fitted, width)
    }

    fn columns(&self, form: Form) -> Vec<Column> {
        let for_people = form.age != Age::Absent;
        let wanted = |kind: &Kind| match kind {
            Kind::Created => form.full,
            Kind::Age | Kind::Change => for_people,
            Kind::Source => self.several_sources,
            Kind::Keep => self.verdicts.is_some(),
            Kind::Note => form.all_notes && self.backups.iter().any(|backup| backup.replaced),
            _ => true,
        };
        let kinds = KINDS.into_iter().filter(wanted);
        let kinds = kinds.filter(|kind| !form.left_out.contains(kind));
        kinds.map(|kind| self.column(kind, form)).collect()
    }

    fn column(&self, kind: Kind, form: Form) -> Column {
        // In full, columns of numbers are as wide as they usually have to be.
        let (heading, usual) = match kind {
            Kind::Name if form.full => ("Filename", 0),
            Kind::Name => ("Backup", 0),
            Kind::Created => ("Created (UTC)", 0),
            Kind::Age => ("Age", 0),
            Kind::Archive => ("Archive", 8),
            Kind::Database => ("Database", 9),
            Kind::Files => ("Files", 6),
            Kind::Change => ("Change", 7),
            Kind::Schema => ("Schema", 0),
            Kind::Source => ("Source", 0),
            Kind::Keep => ("Keep", 0),
            Kind::Note => ("", 0),
        };
        let cells: Vec<_> = (0..self.backups.len()).map(|i| self.cell(kind, form, i)).collect();
        let widest = |most: usize| {
            let widths = cells.iter().map(|cell| columns_of(cell));
            widths.filter(|width| *width <= most).max().unwrap_or(0)
        };
        let width = match (kind, form.full) {
            (Kind::Name, false) => widest(WIDEST_NAME),
            (Kind::Source, _) => widest(usize::MAX).min(form.source),
            (Kind::Keep, _) => widest(usize::MAX).min(form.keep),
            (_, true) => widest(usize::MAX).max(usual),
            (_, false) => widest(usize::MAX),
        };
        Column {
            kind,
            heading,
            cells,
            width: width.max(heading.len()),
        }
    }

    fn cell(&self, kind: Kind, form: Form, i: usize) -> String {
        let backup = &self.backups[i];
        let summary = backup.summary.as_ref().ok();
        let cell = match kind {
            Kind::Name => Some(self.name(backup, form, usize::MAX)),
            Kind::Created => Some(backup.created_at.readable()),
            Kind::Age => Some(age(backup.created_at, self.now, form.age)),
            Kind::Archive => Some(size(backup.archive_size, form.age)),
            Kind::Database => summary.map(|summary| size(summary.database_size, form.age)),
            Kind::Files => summary.map(|summary| grouped(summary.metadata.file_count)),
            Kind::Change => self.change(i),
            Kind::Schema => summary.map(|summary| summary.metadata.schema_version.to_string()),
            Kind::Source => (backup.source.as_ref()).map(|source| escape(&source.to_string()).into_owned()),
            Kind::Keep => self.verdicts.map(|verdicts| keep_words(&verdicts[i])),
            Kind::Note => backup.replaced.then(|| "safety backup".into()),
        };
        cell.unwrap_or_default()
    }

    /// What a backup is called, cut to `width` columns, and after that what has to be known of it.
    fn name(&self, backup: &Backup, form: Form, width: usize) -> String {
        let [full, short] = listed_names(&backup.file_name);
        let name = if form.full { full } else { short };
        let is_latest = self.latest.is_some_and(|latest| latest.path == backup.path);
        let says_it = name.contains("-replaced");
        let mark = match backup.replaced && form.age != Age::Absent && !form.all_notes {
            _ if is_latest => "  latest",
            true if !says_it => "  safety",
            _ => "",
        };
        format!("{}{mark}", cut_middle(&name, width.saturating_sub(mark.len())))
    }

    /// How a backup differs from the next older one of the same library that can be read and is not a safety backup: by so
    /// many files, or where these are as many, by what the digests say. Without digests nothing is claimed.
    fn change(&self, i: usize) -> Option<String> {
        let this = &self.backups[i];
        // Where there is only one library, what does not name its own is of that one.
        let same_library =
            |other: &&Backup| !self.several_sources || (this.source.is_some() && other.source == this.source);
        let mut older = self.backups[i + 1..].iter().filter(|backup| !backup.replaced);
        let older = older
            .by_ref()
            .filter(same_library)
            .find_map(|backup| backup.summary.as_ref().ok())?;
        let (old, new) = (&older.metadata, &this.summary.as_ref().ok()?.metadata);
        Some(match (new.file_count, old.file_count) {
            (new, old) if new > old => format!("+{}", grouped(new - old)),
            (new, old) if new < old => format!("-{}", grouped(old - new)),
            _ if new.database_sha256.as_ref()? == old.database_sha256.as_ref()? => "same".into(),
            _ => "changed".into(),
        })
    }

    fn lines(&self, form: Form, columns: &[Column], width: usize) -> Vec<String> {
        let mut heading = Line::new(width);
        for (column, start) in columns.iter().zip(starts(columns)) {
            heading.put(start, column, column.heading);
        }
        let rows = (0..self.backups.len()).map(|i| self.line(form, columns, i, width));
        std::iter::once(heading.text).chain(rows).collect()
    }

    fn line(&self, form: Form, columns: &[Column], i: usize, width: usize) -> String {
        let backup = &self.backups[i];
        let flaw = backup.summary.as_ref().err();
        // That it is damaged is seen, however long the name is.
        let for_cells = width.saturating_sub(flaw.map_or(0, |flaw| word(flaw).len() + GAP));
        let mut line = Line::new(for_cells);
        let mut flaw_start = 0;
        for (column, start) in columns.iter().zip(starts(columns)) {
            let cell = &column.cells[i];
            match column.kind {
                Kind::Name => line.put(start, column, &self.name(backup, form, for_cells)),
                kind if flaw.is_some() && kind >= Kind::Database => {
                    flaw_start = start;
                    break;
                }
                Kind::Source => line.put(start, column, &cut_middle(cell, column.width)),
                Kind::Keep => line.put(start, column, &cut_end(cell, column.width)),
                _ => line.put(start, column, cell),
            }
        }
        if let Some(flaw) = flaw {
            // Below its like, unless it would lose too many words there.
            let start = if flaw_start + ROOM_FOR_FLAW <= width {
                flaw_start
            } else {
                0
            };
            line.pad_to(start.max(line.next()));
            let words = what_is_wrong(flaw, width.saturating_sub(line.used));
            line.text.push_str(&words.replacen(word(flaw), &coloured(flaw), 1));
        }
        line.text
    }
}

/// Where each column begins.
fn starts(columns: &[Column]) -> impl Iterator<Item = usize> {
    columns.iter().scan(0, |next, column| {
        let start = *next;
        *next += column.width + GAP;
        Some(start)
    })
}

/// The columns of the terminal that a table takes.
fn total(columns: &[Column]) -> usize {
    let widths: usize = columns.iter().map(|column| column.width + GAP).sum();
    widths.saturating_sub(GAP)
}

/// A line that is being written, never wider than `width`.
struct Line {
    text: String,
    used: usize,
    width: usize,
}

impl Line {
    fn new(width: usize) -> Self {
        Line {
            text: String::new(),
            used: 0,
            width,
        }
    }

    /// Where the next text can begin.
    fn next(&self) -> usize {
        match self.used {
            0 => 0,
            used => used + GAP,
        }
    }

    fn pad_to(&mut self, column: usize) {
        let missing = column.saturating_sub(self.used);
        self.text.extend(std::iter::repeat_n(' ', missing));
        self.used += missing;
    }

    /// Writes a cell of `column`, which begins at `start`; nothing if a long name or the end is in its way.
    fn put(&mut self, start: usize, column: &Column, cell: &str) {
        let taken = columns_of(cell);
        let start = match column.kind {
            Kind::Archive | Kind::Database | Kind::Files | Kind::Change | Kind::Schema => {
                start + column.width.saturating_sub(taken)
            }
            _ => start,
        };
        if taken > 0 && start >= self.next() && start + taken <= self.width {
            self.pad_to(start);
            self.text.push_str(cell);
            self.used += taken;
        }
    }
}
