//! If all backups that could be meant are of other libraries, nothing is guessed.

use std::path::Path;

use crate::backups::Backup;
use crate::cli::{self, CommandLine};
use crate::failure::Kind;

/// The newest backup of the only library that there are backups of, where nothing is at `library`.
pub fn only<'a>(libraries: &[Vec<&'a Backup>], library: &Path) -> Option<&'a Backup> {
    match libraries {
        [backups] if !library.exists() => backups.first().copied(),
        _ => None,
    }
}

/// Chooses among the backups of other libraries, grouped by library: on a new machine, where nothing is at `library`, those
/// of the only other library; otherwise a person chooses.
///
/// Returns nothing if there is nothing to choose. `again` gives the command that the person would continue with.
///
/// # Errors
/// [`Kind::Declined`] if nobody can be asked, or has no answer.
pub fn choose<'a>(
    libraries: Vec<Vec<&'a Backup>>,
    library: &Path,
    directory: &Path,
    again: &dyn Fn(&Path) -> CommandLine,
) -> anyhow::Result<Vec<&'a Backup>> {
    // Each has at least one backup.
    let newest: Vec<(&Backup, String)> = (libraries.iter())
        .filter_map(|backups| Some((*backups.first()?, backups.first()?.source.as_ref()?.to_string())))
        .collect();
    match &newest[..] {
        [] => return Ok(Vec::new()),
        [(backup, source)] if only(&libraries, library).is_some() => {
            let name = backup.file_name.display();
            cli::note(&format!(
                "vpo-library: taking '{name}' of another library, {source}: there is no other"
            ));
            return Ok(libraries.into_iter().next().unwrap_or_default());
        }
        _ => {}
    }
    let shown = directory.display();
    let none = format!("no backup in '{shown}' is of this library");
    let mut question = format!("{}. The newest of others:\n", cli::escape(&none));
    for (i, (backup, source)) in newest.iter().enumerate() {
        let row = format!("{}  {source}", backup.file_name.display());
        question.push_str(&format!("{:>3}  {}\n", i + 1, cli::escape(&row)));
    }
    question.push_str(&format!("Which one? [1-{}] ", newest.len()));
    if let Some(answer) = cli::ask(&question)? {
        let chosen = answer.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        return chosen
            .and_then(|n| libraries.into_iter().nth(n))
            .ok_or_else(|| Kind::Declined.error("no backup was chosen"));
    }
    for (backup, source) in &newest {
        let command = again(&backup.path);
        cli::note(&command.after(&format!("the newest backup of {source}")));
    }
    Err(Kind::Declined.error(format!("{none}: name one")))
}
