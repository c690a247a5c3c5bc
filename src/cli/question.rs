//! The question before a library is replaced: what is there, what will be, and what becomes of the old one.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::report::note;
use super::streams::ask_meanwhile;
use super::terminal::{is_capable, size};
use super::text::{columns, escape, escape_path, fold, lines_of};
use crate::database::{Facts, Source};
use crate::failure::Kind;
use crate::library::{Counts, Plan, Target};
use crate::signals;
use crate::size::{grouped, human};
use crate::time::Time;

/// The columns before what is said of the library or of the backup, and before what becomes of the library.
const LABEL: usize = "  backup: ".len();
const INDENT: usize = "  ".len();

/// How long the question is held back for the comparison, which nobody notices; and on a terminal on which it can't be
/// completed afterwards.
const MOMENT: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the answer is looked for until the comparison has ended, and when it has to: it keeps others from the library.
const TICK: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(60);

/// Warns where VPO will have something to do after the restore, or where the library is not one any more.
pub fn warn(plan: &Plan) {
    if plan.schema_mismatch() {
        note(&format!(
            "vpo-unpack-restore: warning: the backup has schema {}, older than {}: VPO will migrate it",
            plan.backup.schema_version, plan.current_schema
        ));
    }
    if let Target::Damaged(reason) = &plan.target {
        note(&format!(
            "vpo-unpack-restore: warning: the library is damaged ({reason}); it will be moved aside"
        ));
    }
}

/// Asks whether the library is to be replaced by the backup in `archive`, and says what becomes of it. Where there is
/// none, there is nothing to ask.
///
/// # Errors
/// [`Kind::Declined`] if the answer is no, or nobody can be asked.
pub fn confirm(plan: &Plan, archive: &Path, safety_directory: Option<&Path>) -> anyhow::Result<()> {
    let Some(now) = now(plan) else {
        return Ok(());
    };
    let width = size(io::stderr()).map_or(80, |(width, _)| width);
    let mut beginning = vec![
        format!("Library: {}", escape_path(&plan.library)),
        format!("Backup:  {}", name(archive)),
    ];
    beginning.extend(part("now:", &now, width));
    beginning.extend(part("backup:", &backup(plan), width));
    let fate = fate(plan, safety_directory, width);
    let end = |change: Option<String>| {
        let mut lines = part("change:", change.as_slice(), width);
        lines.extend_from_slice(&fate);
        lines.push("Replace it? [y/N] ".into());
        lines.join("\n")
    };
    // On macOS nobody can look whether /dev/tty has input, poll(2), "BUGS".
    let completes = cfg!(target_os = "linux") && is_capable();
    let comparing = plan.comparing.as_ref();
    let compared = comparing.map(|comparing| comparing.counts(if completes { MOMENT } else { PATIENCE }));
    let unfinished = comparing.filter(|_| completes && compared == Some(Err(RecvTimeoutError::Timeout)));
    if let (Some(comparing), None) = (comparing, unfinished) {
        comparing.give_up();
    }
    let change_now = match (&plan.target, unfinished) {
        (Target::Library(_), Some(_)) => Some("the files are being compared".into()),
        (Target::Library(_), None) => Some(change(compared.and_then(Result::ok))),
        _ => None,
    };
    let first = end(change_now);
    let begun = Instant::now();
    let completion = || {
        let Some(comparing) = unfinished else {
            return ControlFlow::Break(None);
        };
        if begun.elapsed() > LONGEST {
            comparing.give_up();
        }
        match comparing.counts(TICK) {
            Err(RecvTimeoutError::Timeout) => ControlFlow::Continue(()),
            // It broke off, and this is no question any more.
            _ if signals::pending().is_some() => ControlFlow::Break(None),
            compared => ControlFlow::Break(Some(back_over(&first) + &end(Some(change(compared.ok()))))),
        }
    };
    match ask_meanwhile(&format!("{}\n{first}", beginning.join("\n")), completion)? {
        Some(answer) if ["y", "yes"].contains(&answer.to_lowercase().as_str()) => Ok(()),
        Some(_) => Err(Kind::Declined.error("the library was not replaced: the answer was not yes")),
        None => Err(Kind::Declined
            .because("the library was not replaced: there is no terminal to ask on")
            .hint("--yes replaces it without a question")
            .into()),
    }
}

/// The file name of an archive.
fn name(archive: &Path) -> String {
    match archive.file_name() {
        Some(name) if name != "-" => escape(&name.to_string_lossy()).into_owned(),
        _ => "standard input".into(),
    }
}

/// What is there now; `None` where there is nothing to lose. What is somebody else's was refused before.
fn now(plan: &Plan) -> Option<Vec<String>> {
    let is = match &plan.target {
        Target::Library(facts) => counts(facts),
        // By what, the warning has said.
        Target::Damaged(_) => "damaged".into(),
        Target::Missing | Target::Empty | Target::Foreign(_) | Target::Unknown(_) => return None,
    };
    let modified = plan
        .modified
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| Time::from_second(i64::try_from(since.as_secs()).ok()?));
    let modified = modified.map(|time| format!("last changed {}", moment(time)));
    Some([is].into_iter().chain(modified).collect())
}

/// What the backup holds, and from where it is where that is not this library.
fn backup(plan: &Plan) -> Vec<String> {
    let metadata = &plan.contents.metadata;
    let created = metadata
        .time()
        .map_or_else(|| escape(&metadata.created_at).into_owned(), moment);
    let source = metadata.source();
    let other = source.filter(|source| Source::of(&plan.library).as_ref() != Some(source));
    let other = other.map(|source| format!("of another library: {}", escape(&source.to_string())));
    [counts(&plan.backup), format!("created {created}")]
        .into_iter()
        .chain(other)
        .collect()
}

fn counts(facts: &Facts) -> String {
    format!(
        "{} {}, schema {}, {}",
        grouped(facts.file_count),
        if facts.file_count == 1 { "file" } else { "files" },
        facts.schema_version,
        human(facts.database_size_bytes)
    )
}

/// A time for somebody who may live elsewhere than in UTC.
fn moment(time: Time) -> String {
    let local = time.local().map_or(String::new(), |local| format!(", {local} local"));
    format!("{} UTC{local}", time.readable())
}

/// Which files a restore changes, in numbers, if that is known.
fn change(counts: Option<Counts>) -> String {
    let Some(Counts {
        added,
        removed,
        changed,
    }) = counts
    else {
        return "not known: the files were not compared".into();
    };
    if (added, removed, changed) == (0, 0, 0) {
        return "none: both know the same of the same files".into();
    }
    let verb =
        |count: u64, one: &str, more: &str| format!("{} {}", grouped(count), if count == 1 { one } else { more });
    format!(
        "{}, {}, {}",
        verb(added, "file comes back", "files come back"),
        verb(removed, "is forgotten", "are forgotten"),
        verb(changed, "changes", "change")
    )
}

/// What becomes of the library that is replaced, and where it will be, in lines of at most `width` columns; but a path is
/// not broken, for it may have blanks.
fn fate(plan: &Plan, safety_directory: Option<&Path>, width: usize) -> Vec<String> {
    let (fate, place) = match (&plan.target, safety_directory) {
        (Target::Damaged(_), _) => (
            "The damaged file will be kept as",
            format!("{}.replaced-TIME", escape_path(&plan.library)),
        ),
        (_, Some(directory)) => {
            let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
            ("The library as it is now will be kept in", escape_path(&directory))
        }
        (_, None) => ("The library as it is now will NOT be kept", String::new()),
    };
    let room = width.saturating_sub(INDENT);
    let mut lines = fold(fate, room);
    match lines.last_mut() {
        Some(last) if columns(last) + 1 + columns(&place) <= room => {
            last.push(' ');
            last.push_str(&place);
        }
        _ => lines.push(place),
    }
    lines.iter().map(|line| format!("  {}", line.trim_end())).collect()
}

/// Texts below a label, in lines of at most `width` columns.
fn part(label: &str, texts: &[String], width: usize) -> Vec<String> {
    let texts = texts.iter().flat_map(|text| fold(text, width.saturating_sub(LABEL)));
    let label = |i| if i == 0 { label } else { "" };
    texts
        .enumerate()
        .map(|(i, text)| format!("  {:7} {text}", label(i)))
        .collect()
}

/// What brings the cursor of a terminal from the end of `text` back to its beginning, and empties the screen from there.
fn back_over(text: &str) -> String {
    let width = size(io::stderr()).map_or(80, |(width, _)| width);
    let rows: usize = text.lines().map(|line| lines_of(line, width)).sum();
    format!("\r\x1b[{}A\x1b[J", rows.saturating_sub(1))
}
