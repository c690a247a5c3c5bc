//! Choosing a backup from the list, on the terminal.
//!
//! The newest stands last, beside the prompt, and is number 1: what is wanted most is typed fastest, and a number means the
//! same backup however many of the older ones the screen has room for. Safety backups stand apart, above, and are counted
//! after the others.

use std::io;
use std::path::Path;

use super::{CommonOptions, Meant, backups_in, elsewhere, none_of, selected};
use crate::backups::{Backup, Selector};
use crate::cli::{self, CommandLine, Table};
use crate::database::Source;
use crate::failure::{Kind, kind};
use crate::time::Time;

/// Lines that are not rows: the directory, the heading of the table, the prompt, and one for an answer that wraps.
const OTHER_LINES: usize = 4;
/// Where there is room for fewer rows, they are not for safety backups, of which one in so many may be.
const FEW_ROWS: usize = 8;
const SHARE: usize = 5;

/// Shows the list on the terminal and asks until the answer means a backup. `again` gives the command that the person
/// would go on with.
///
/// # Errors
/// [`Kind::Usage`] where nobody can be asked; [`Kind::NotFound`] where there are no backups; [`Kind::Declined`] after an
/// empty line, or at the end of the input.
pub fn ask_which(common: &CommonOptions, again: &dyn Fn(&Path) -> CommandLine) -> anyhow::Result<Meant> {
    let usage = || {
        let latest = common.line().arg("restore").arg("latest");
        Kind::Usage
            .because("no backup is named")
            .hint(latest.after("name a file, or '-' for standard input; or, for the newest backup"))
    };
    let Some((width, rows)) = cli::size(io::stderr()) else {
        return Err(usage().into());
    };
    let directory = common.backup_directory()?;
    let listed = backups_in(&directory)?;
    if listed.is_empty() {
        return Err(none_of(common, Path::new("latest"), &directory, &listed));
    }
    let latest = latest(common, &listed)?;
    let choice = Choice::new(&listed, rows.saturating_sub(OTHER_LINES));
    let mut question = format!("{}\n", cli::list_heading(&directory, width));
    if choice.hidden() != (0, 0) {
        let (ordinary, safety) = choice.hidden();
        let note = not_shown(ordinary, safety);
        let more = common.line().arg("backups").after(&format!("{note}; to see all"));
        question.push_str(&cli::escape(if cli::lines_of(&more, width) == 1 {
            &more
        } else {
            &note
        }));
        question.push('\n');
    }
    let table = |width| Table::new(&listed, None, Time::now()).mark_latest(latest).fitted(width);
    for line in choice.lines(width, table) {
        question.push_str(&format!("{line}\n"));
    }
    let latest = if latest.is_some() { ", latest" } else { "" };
    question.push_str(&format!("Restore which backup? [number, name{latest}] "));
    loop {
        let answer = cli::ask(&question)?.ok_or_else(usage)?;
        if answer.is_empty() {
            return Err(Kind::Declined.error("no backup was chosen"));
        }
        let told = match (choice.backup(&answer), Selector::parse(&answer)) {
            (Some(backup), _) => {
                return Ok(Meant {
                    path: backup.path.clone(),
                    older: None,
                });
            }
            (None, None | Some(Selector::Name(_))) => format!("there is no backup '{answer}'"),
            (None, Some(selector)) => match selected(common, &selector, &listed, Path::new(&answer), again) {
                Err(error) if kind(&error) == Kind::NotFound => error.to_string(),
                chosen => return chosen,
            },
        };
        cli::note(&format!("vpo-library: {told}"));
        question = "Restore which backup? ".into();
    }
}

/// The backup that `latest` means, where nobody has to be asked.
fn latest<'a>(common: &CommonOptions, listed: &'a [Backup]) -> anyhow::Result<Option<&'a Backup>> {
    let (library, now) = (common.library()?, Time::now());
    let here = Source::of(&library);
    let candidates = Selector::Latest.candidates(listed, here.as_ref(), now);
    let elsewhere = || elsewhere::only(&Selector::Latest.elsewhere(listed, here.as_ref(), now), &library);
    Ok(candidates.first().copied().or_else(elsewhere))
}

/// What is said of so many backups that the screen has no room for.
fn not_shown(ordinary: usize, safety: usize) -> String {
    let several = |n: usize| if n == 1 { "" } else { "s" };
    let mut kinds = Vec::new();
    if ordinary > 0 {
        kinds.push(format!("{ordinary} older backup{}", several(ordinary)));
    }
    if safety > 0 {
        kinds.push(format!("{safety} safety backup{}", several(safety)));
    }
    format!("{} not shown", kinds.join(" and "))
}

/// What is to be chosen from.
struct Choice<'a> {
    listed: &'a [Backup],
    /// Places in the listing: of the ordinary backups, the newest first, then of the safety backups.
    order: Vec<usize>,
    ordinary: usize,
    /// So many of the newest are shown, of either kind.
    shown: (usize, usize),
}

impl<'a> Choice<'a> {
    /// Of `listed`, the newest first, as many as `room` lines hold; one fewer where not all are shown, which is said.
    fn new(listed: &'a [Backup], room: usize) -> Self {
        let (safety, ordinary): (Vec<_>, Vec<_>) = (0..listed.len()).partition(|i| listed[*i].replaced);
        let counts = (ordinary.len(), safety.len());
        Choice {
            listed,
            ordinary: ordinary.len(),
            order: ordinary.into_iter().chain(safety).collect(),
            shown: match counts.0 + block(counts) <= room {
                true => counts,
                false => share(counts, room.saturating_sub(1)),
            },
        }
    }

    /// How many are not shown, of either kind.
    fn hidden(&self) -> (usize, usize) {
        let safety = self.order.len() - self.ordinary;
        (self.ordinary - self.shown.0, safety - self.shown.1)
    }

    /// The heading and the rows, with their numbers. `table` gives those of all for a width.
    fn lines(&self, width: usize, table: impl FnOnce(usize) -> Vec<String>) -> Vec<String> {
        let digits = self.order.len().to_string().len();
        let table = table(width.saturating_sub(digits + 2));
        let numbered = |place: usize| format!("{:>digits$}  {}", place + 1, table[self.order[place] + 1]);
        let blank = " ".repeat(digits + 2);
        let mut lines = vec![format!("{blank}{}", table[0])];
        let apart = self.shown.0 > 0 && self.shown.1 > 0;
        if apart {
            lines.push(format!("{blank}Safety backups:"));
        }
        lines.extend((self.ordinary..self.ordinary + self.shown.1).rev().map(numbered));
        if apart {
            lines.push(String::new());
        }
        lines.extend((0..self.shown.0).rev().map(numbered));
        lines
    }

    /// The backup that has this number on the screen, or is called so in the list.
    fn backup(&self, answer: &str) -> Option<&'a Backup> {
        let number = answer.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        if let Some(place) = number {
            let safety = place.checked_sub(self.ordinary);
            let shown = safety.map_or(place < self.shown.0, |place| place < self.shown.1);
            return shown.then(|| &self.listed[self.order[place]]);
        }
        let called_so = |backup: &&Backup| cli::listed_names(&backup.file_name).iter().any(|name| name == answer);
        let mut called_so = self.listed.iter().filter(called_so);
        called_so.next().filter(|_| called_so.next().is_none())
    }
}

/// The lines of safety backups: with ordinary ones below, they have a heading and end with an empty line.
fn block((ordinary, safety): (usize, usize)) -> usize {
    safety + if ordinary > 0 && safety > 0 { 2 } else { 0 }
}

/// How many ordinary backups and safety backups of so many to show in `room` lines.
fn share((ordinary, safety): (usize, usize), room: usize) -> (usize, usize) {
    if ordinary == 0 {
        return (0, safety.min(room.max(1)));
    }
    let few = room < FEW_ROWS;
    let least = if few { 0 } else { safety.min((room / SHARE).max(1)) };
    let shown = ordinary.min(room.saturating_sub(block((ordinary, least))).max(1));
    let left = room.saturating_sub(shown + 2);
    (shown, if few { 0 } else { safety.min(left.max(least)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_screen_holds() {
        // Ordinary and safety backups, the lines that there are, and how many of each are shown in them.
        let cases = [
            ((28, 3), 19, (14, 3)),
            ((28, 30), 19, (14, 3)),
            ((28, 0), 19, (19, 0)),
            ((3, 30), 19, (3, 14)),
            ((0, 30), 19, (0, 19)),
            ((28, 1), 8, (5, 1)),
            ((28, 3), 7, (7, 0)),
            ((28, 3), 0, (1, 0)),
            ((0, 3), 0, (0, 1)),
        ];
        for (there, room, shown) in cases {
            assert_eq!(share(there, room), shown, "{there:?} in {room}");
            assert!(shown.0 + block(shown) <= room.max(1));
        }
    }
}
