//! The question before a library is replaced: what is there, what will be, and what becomes of the old one.

use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::report::note;
use super::streams::ask;
use super::terminal::size;
use super::text::{columns, escape, escape_path, fold};
use crate::database::{Facts, Source};
use crate::failure::Kind;
use crate::library::{Counts, Plan, Target};
use crate::size::{grouped, human};
use crate::time::Time;

/// The columns before what is said of the library or of the backup, and before what becomes of the library.
const LABEL: usize = "  backup: ".len();
const INDENT: usize = "  ".len();

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
    let mut lines = vec![
        format!("Library: {}", escape_path(&plan.library)),
        format!("Backup:  {}", name(archive)),
    ];
    let width = size(io::stderr()).map_or(80, |(width, _)| width);
    let mut part = |label: &str, texts: Vec<String>| {
        let texts = texts.iter().flat_map(|text| fold(text, width.saturating_sub(LABEL)));
        for (i, text) in texts.enumerate() {
            lines.push(format!("  {:7} {text}", if i == 0 { label } else { "" }));
        }
    };
    part("now:", now);
    part("backup:", backup(plan));
    part("change:", change(plan).into_iter().collect());
    let (fate, place) = fate(plan, safety_directory);
    // A path is not broken, for it may have blanks.
    let mut fate = fold(fate, width.saturating_sub(INDENT));
    match fate.last_mut() {
        Some(last) if columns(last) + 1 + columns(&place) <= width.saturating_sub(INDENT) => {
            last.push(' ');
            last.push_str(&place);
        }
        _ => fate.push(place),
    }
    lines.extend(fate.iter().map(|line| format!("  {}", line.trim_end())));
    match ask(&format!("{}\nReplace it? [y/N] ", lines.join("\n")))? {
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

/// Which files a restore changes, in numbers.
fn change(plan: &Plan) -> Option<String> {
    let Some(Counts {
        added,
        removed,
        changed,
    }) = plan.difference
    else {
        let sound = matches!(plan.target, Target::Library(_));
        return sound.then(|| "not known: the files were not compared in time".into());
    };
    if (added, removed, changed) == (0, 0, 0) {
        return Some("none: both know the same of the same files".into());
    }
    let verb =
        |count: u64, one: &str, more: &str| format!("{} {}", grouped(count), if count == 1 { one } else { more });
    Some(format!(
        "{}, {}, {}",
        verb(added, "file comes back", "files come back"),
        verb(removed, "is forgotten", "are forgotten"),
        verb(changed, "changes", "change")
    ))
}

/// What becomes of the library that is replaced, and where it will be.
fn fate(plan: &Plan, safety_directory: Option<&Path>) -> (&'static str, String) {
    match (&plan.target, safety_directory) {
        (Target::Damaged(_), _) => (
            "The damaged file will be kept as",
            format!("{}.replaced-TIME", escape_path(&plan.library)),
        ),
        (_, Some(directory)) => {
            let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
            ("The library as it is now will be kept in", escape_path(&directory))
        }
        (_, None) => ("The library as it is now will NOT be kept.", String::new()),
    }
}
