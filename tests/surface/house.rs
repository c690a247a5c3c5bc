//! The house as CONTRIBUTING.md draws it: imports follow the arrows, and each file of its table is there.

use std::path::Path;

use crate::support::place::{project, text_of};

/// The parts of `src/`, from the top down. Each may use what is in its own row, and below.
const ROWS: [&[&str]; 8] = [
    &["bin"],
    &["porcelain"],
    &["cli"],
    &["library"],
    &["backups"],
    &["archive"],
    &["database", "files"],
    &["signals.rs", "failure.rs", "time.rs", "size.rs"],
];

/// The lines under `path` that hold one of these words; comments don't count.
fn lines_with(path: &Path, words: &[String]) -> Vec<String> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap();
        return entries
            .flat_map(|entry| lines_with(&entry.unwrap().path(), words))
            .collect();
    }
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//") && words.iter().any(|word| line.contains(word)))
        .map(|line| format!("{}: {line}", path.display()))
        .collect()
}

#[test]
fn imports_follow_the_arrows() {
    let mut above: Vec<String> = Vec::new();
    for row in ROWS {
        for part in row {
            let wrong = lines_with(&project("src").join(part), &above);
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
        above.extend(row.iter().map(|part| format!("crate::{part}")));
    }
}

/// The wrapper once asked the environment by itself where its siblings are.
#[test]
fn only_the_command_line_layer_opens_environment_streams_and_clock() {
    let environment = ["std::env"];
    let clock = ["Time::now", "SystemTime::now"];
    let streams = ["stdin()", "stdout()", "stderr()", "/dev/tty"];
    for (i, part) in ROWS
        .iter()
        .enumerate()
        .flat_map(|(i, row)| row.iter().map(move |part| (i, part)))
    {
        let denied = match i {
            0 | 1 => environment.to_vec(),
            2 => clock.to_vec(),
            _ => [&environment[..], &clock, &streams].concat(),
        };
        let denied: Vec<_> = denied.into_iter().map(str::to_owned).collect();
        let wrong = lines_with(&project("src").join(part), &denied);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

#[test]
fn each_file_of_the_table_is_there() {
    let text = text_of("CONTRIBUTING.md");
    let (_, table) = text.split_once("| | in `src/` |").unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let names = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let files: Vec<_> = names.filter(|name| name.contains(['/', '.'])).collect();
    assert!(files.len() > 30, "{files:?}");
    for file in files {
        assert!(project("src").join(file).exists(), "{file}");
    }
}
