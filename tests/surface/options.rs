//! Help, manual and completions in step: an option that is in one of them is in all.

use std::collections::{BTreeMap, BTreeSet};

use crate::completions;
use crate::support::place::{Place, project, text_of};
use crate::support::{PROGRAMS, has_tools};

/// The spellings of the options of each command; those of a program without commands, and the common ones of
/// `vpo-library`, are under the empty name.
pub type Options = BTreeMap<String, BTreeSet<String>>;

/// The commands of `vpo-library`.
pub const COMMANDS: [&str; 6] = ["backup", "restore", "backups", "verify", "diff", "prune"];

fn add(options: &mut Options, command: &str, spelling: &str) {
    options.entry(command.into()).or_default().insert(spelling.into());
}

/// What the help lists, of the examples and the first line nothing.
fn of_help(program: &str) -> Options {
    let mut options = Options::new();
    let mut command = "";
    for line in listing(&format!("{program} --help")).lines() {
        if !line.starts_with(' ') {
            let of = line.strip_prefix("options of ").and_then(|name| name.strip_suffix(':'));
            command = of.map_or("", |name| COMMANDS.into_iter().find(|known| *known == name).unwrap());
        }
        for option in options_in(line) {
            add(&mut options, command, &option);
        }
    }
    options
}

/// The part of a help text that is about the program itself. The examples run other programs, and come before the
/// options: what a person looks for is seldom the whole list.
fn listing(help: &str) -> String {
    let help = Place::new().sh(help).ok();
    let (before, examples) = help.split_once("\nexamples:\n").unwrap();
    let (_, after) = examples.split_once("\n\n").unwrap();
    assert!(
        options_in_lists(before).next().is_none(),
        "options before the examples: {before}"
    );
    after.lines().map(|line| format!("{line}\n")).collect()
}

/// The lines that say what an option does.
fn options_in_lists(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| line.trim_start().starts_with('-'))
}

fn options_in(line: &str) -> impl Iterator<Item = String> {
    let words = line.split_whitespace();
    let options = words.map(|word| word.trim_matches(|c: char| "(),:;'".contains(c)));
    let options = options.filter(|word| {
        let long = word.strip_prefix("--").is_some_and(|name| !name.is_empty());
        long || (word.starts_with('-') && !word.starts_with("--") && word.chars().count() == 2)
    });
    options.map(str::to_owned)
}

/// The help of one command has its options and those of all commands, and nothing of another one.
#[test]
fn each_command_has_its_own_help() {
    let all = of_help("vpo-library");
    for command in COMMANDS {
        let texts = [
            format!("help {command}"),
            format!("{command} --help"),
            format!("-q {command} -h"),
        ]
        .map(|args| Place::new().sh(&format!("vpo-library {args}")).ok());
        assert!(
            texts.iter().all(|text| *text == texts[0]),
            "{command}: not the same three times"
        );
        let text = &texts[0];
        assert!(
            text.starts_with(&format!("usage: vpo-library {command} [options]")),
            "{text}"
        );
        assert!(
            text.contains(&format!("\nexamples:\n  vpo-library {command}")),
            "{text}"
        );
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
        }
        let mut expected = all[""].clone();
        expected.extend(all.get(command).cloned().unwrap_or_default());
        let listed: BTreeSet<String> = listing(&format!("vpo-library help {command}"))
            .lines()
            .flat_map(options_in)
            .collect();
        assert_eq!(
            listed, expected,
            "left: vpo-library help {command}, right: vpo-library --help"
        );
    }
    let place = Place::new();
    let help = place.sh("vpo-library --help").ok();
    for same in ["help", "help help", "help --help", "-h", "--help backup"] {
        assert_eq!(place.sh(&format!("vpo-library {same}")).ok(), help, "{same}");
    }
}

/// The words behind `Fl` in a line of mdoc, as a person would type them.
fn flags(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let flags = words.windows(2).filter(|pair| pair[0].trim_start_matches('.') == "Fl");
    flags.map(|pair| format!("-{}", pair[1])).collect()
}

/// The options that the manual page describes: the items of its lists.
fn of_manual(program: &str) -> Options {
    let mut options = Options::new();
    let mut command = "";
    let source = text_of(&format!("man/{program}.1"));
    let mut lines = source.lines().skip_while(|line| *line != ".Sh DESCRIPTION").skip(1);
    while let Some(line) = lines.next() {
        if line.starts_with(".Sh") {
            break;
        }
        if line == ".It Xo" {
            let entry = lines.next().and_then(|line| line.strip_prefix(".Ic "));
            command = COMMANDS.iter().find(|name| entry == Some(**name)).copied().unwrap();
        }
        if line.starts_with(".It") {
            for flag in flags(line) {
                add(&mut options, command, &flag);
            }
        }
    }
    options
}

#[test]
fn help_and_manual_list_the_same_options() {
    for program in PROGRAMS {
        let help = of_help(program);
        assert!(help[""].contains("--help"), "{program}: {help:?}");
        assert_eq!(
            of_manual(program),
            help,
            "left: man/{program}.1, right: {program} --help"
        );
    }
}

#[test]
fn the_synopsis_has_each_option_once() {
    for program in PROGRAMS {
        let source = text_of(&format!("man/{program}.1"));
        let synopsis = source
            .lines()
            .skip_while(|line| *line != ".Sh SYNOPSIS")
            .take_while(|line| *line != ".Sh DESCRIPTION");
        let mut shown = BTreeSet::new();
        for line in synopsis {
            for flag in flags(&line.replace('|', "")) {
                match flag.strip_prefix('-') {
                    Some(long) if long.starts_with('-') => drop(shown.insert(flag)),
                    Some(bundle) => shown.extend(bundle.chars().map(|c| format!("-{c}"))),
                    None => unreachable!(),
                }
            }
        }
        // 'Fl h | V'
        shown.insert("-V".into());
        let help = of_help(program);
        for (command, spellings) in &help {
            if program == "vpo-library" && command.is_empty() {
                // There it says 'option ...'.
                continue;
            }
            let page = text_of(&format!("man/{program}.1"));
            for spelling in spellings {
                // Where it has a short form the item of the list gives both, and the synopsis the short one.
                let pair = page
                    .lines()
                    .find(|line| line.starts_with(".It Fl") && flags(line).contains(spelling));
                let known = pair.map(flags).unwrap_or_default();
                assert!(
                    known.iter().any(|flag| shown.contains(flag)),
                    "{program} {command}: {spelling} is not in the synopsis"
                );
            }
        }
        let all: BTreeSet<_> = help.into_values().flatten().collect();
        let unknown: Vec<_> = shown.difference(&all).collect();
        assert!(unknown.is_empty(), "{program}: {unknown:?} is only in the synopsis");
    }
}

/// The table of the overview says which program has which of the common options.
#[test]
fn the_overview_has_the_common_options_of_each_program() {
    let page = text_of("man/vpo-library.7");
    for program in PROGRAMS {
        let help: BTreeSet<String> = of_help(program).into_values().flatten().collect();
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!(".It {program} Ta Fl")));
        let row = row.unwrap_or_else(|| panic!("no row for {program}"));
        let listed: BTreeSet<String> = flags(row).into_iter().collect();
        for common in ["-h", "-q", "-v", "--progress", "--json"] {
            assert_eq!(
                listed.contains(common),
                help.contains(common),
                "{program} {common}: {row}"
            );
        }
        assert!(row.contains("Fl h V"), "{row}");
    }
}

fn completions_have(shell: &str, tools: &[&str], complete: fn(&Place, &str, &str) -> BTreeSet<String>) {
    if !has_tools(&format!("the options that {shell} completes"), tools) {
        return;
    }
    let place = Place::new();
    for program in PROGRAMS {
        let help = of_help(program);
        let common = &help[""];
        let commands: &[&str] = if program == "vpo-library" { &COMMANDS } else { &[] };
        for command in std::iter::once(&"").chain(commands) {
            let mut expected = common.clone();
            expected.extend(help.get(*command).cloned().unwrap_or_default());
            let offered = complete(&place, program, command);
            assert_eq!(offered, expected, "left: {shell}, right: {program} {command} --help");
        }
    }
}

#[test]
fn bash_completes_the_options_of_the_help() {
    completions_have("bash", &["bash"], completions::bash_options);
}

#[test]
fn zsh_completes_the_options_of_the_help() {
    completions_have("zsh", &["zsh"], completions::zsh_options);
}

#[test]
fn fish_completes_the_options_of_the_help() {
    completions_have("fish", &["fish"], completions::fish_options);
}

/// Each environment variable that the sources look at is in the manual, and the other way round.
#[test]
fn the_manual_knows_the_environment() {
    let mut looked_at = BTreeSet::from(["TMPDIR".to_owned()]);
    let mut directories = vec![project("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            for begin in ["variable(\"", "VARIABLE: &str = \""] {
                for (i, _) in source.match_indices(begin) {
                    let name = source[i + begin.len()..].split('"').next().unwrap();
                    looked_at.insert(name.to_owned());
                }
            }
        }
    }
    assert!(looked_at.contains("VPO_BACKUP_DIR"), "{looked_at:?}");
    let page = text_of("man/vpo-library.1");
    let described: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".It Ev "))
        .filter(|name| *name != "PATH")
        .map(str::to_owned)
        .collect();
    assert_eq!(described, looked_at, "left: man/vpo-library.1, right: src/");
}
