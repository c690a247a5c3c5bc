//! What a program understands, according to its help text: it lists every option, and after the name, in capitals, what
//! value it takes.

use std::collections::BTreeMap;

use lexopt::Arg;

/// The lines of a help text without its examples, which end at an empty line: the programs in them have their own
/// options.
fn without_examples(usage: &str) -> impl Iterator<Item = &str> {
    let mut examples = false;
    usage.lines().filter(move |line| {
        examples = (examples || *line == "examples:") && !line.is_empty();
        !examples
    })
}

/// The options of a help text by their names, dashes included, and whether they take a value.
fn options(usage: &str) -> BTreeMap<&str, bool> {
    let mut options = BTreeMap::new();
    let lines = without_examples(usage).map(str::trim_start);
    for line in lines.filter(|line| line.starts_with('-')) {
        // Two spaces separate the description, unless the name is too long for that.
        let mut words = line.split("  ").next().unwrap_or_default().split(' ').peekable();
        let mut names = Vec::new();
        while let Some(name) = words.next_if(|word| word.starts_with('-')) {
            names.push(name.trim_end_matches(','));
        }
        let value = words
            .next()
            .is_some_and(|word| word.bytes().all(|c| c.is_ascii_uppercase()));
        options.extend(names.into_iter().map(|name| (name, value)));
    }
    options
}

/// True if a help text lists an option, which is given with its dashes.
pub fn lists(usage: &str, option: &str) -> bool {
    options(usage).contains_key(option)
}

/// The commands of a help text that have a help of their own.
fn commands(usage: &str) -> impl Iterator<Item = &str> {
    let list = usage.lines().skip_while(|line| *line != "commands:").skip(1);
    let names = list.map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| *name != "help")
}

/// What arguments say before anybody has understood them.
#[derive(Default)]
pub(super) struct Asked {
    /// An error is reported in the form that was asked for, wherever the option is. The value of another option asks
    /// for nothing.
    pub(super) json: bool,
    /// The command, if it is one of those that the help text lists.
    pub(super) command: Option<String>,
}

/// Reads arguments as far as the help text tells what they mean, even if they can't be read to their end.
pub(super) fn asked(usage: &str, mut args: lexopt::Parser) -> Asked {
    let options = options(usage);
    let mut asked = Asked::default();
    let mut operands = 0;
    loop {
        let (name, long) = match args.next() {
            Ok(None) => return asked,
            Ok(Some(Arg::Long(name))) => (format!("--{name}"), true),
            Ok(Some(Arg::Short(name))) => (format!("-{name}"), false),
            Ok(Some(Arg::Value(operand))) => {
                if operands == 0 {
                    asked.command = commands(usage).find(|name| operand == *name).map(str::to_owned);
                }
                operands += 1;
                continue;
            }
            // An option had a value that it does not take.
            Err(_) => continue,
        };
        match (name.as_str(), options.get(name.as_str())) {
            ("--json", Some(_)) => asked.json = true,
            // The last one counts. A missing value counts as none.
            ("--format", Some(_)) => asked.json = args.value().is_ok_and(|value| value == "json"),
            (_, Some(true)) => drop(args.value()),
            // Whatever option it is, '=' gives it its value.
            (_, None) if long => drop(args.optional_value()),
            _ => {}
        }
    }
}

/// The known word that was probably meant: one that begins with `word`, or differs by a slip or two.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bare = word.trim_start_matches('-').chars().count();
    let distance = |name: &str| match name.starts_with(word) && bare > 1 {
        true => 0,
        false => strsim::osa_distance(word, name),
    };
    let near = known.into_iter().map(|name| (distance(name), name));
    let (distance, name) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= bare.div_ceil(3)).then_some(name)
}

/// The long option of a help text that was probably meant.
pub(super) fn nearest_option(usage: &str, option: &str) -> Option<String> {
    let options = options(usage);
    let long = options.keys().copied().filter(|name| name.starts_with("--"));
    nearest(option, long).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: &str = "\
usage: x [options]

examples:
  x \\
    --of-another FILE

options:
  -o, --output FILE     write to FILE
      --json            report as JSON
      --format FORM     text or json
      --timeout SECONDS how long to wait
  -q, --quiet           say nothing
      --no-such-long-option
                        that has no room
";

    /// An option at the beginning of an example's line would be one of the program.
    #[test]
    fn examples_have_no_options_of_the_program() {
        assert!(!lists(USAGE, "--of-another") && lists(USAGE, "--output") && lists(USAGE, "-q"));
    }

    /// What asks for JSON was guessed from the arguments once: the value of an option, too, and never a bundle.
    #[test]
    fn json_is_asked_for_by_the_option_alone() {
        for (args, asked) in [
            ("--json", true),
            ("--bad --json", true),
            ("--bad=x --json", true),
            ("--quiet=x --json", true),
            ("--output --json", false),
            ("-o --json", false),
            ("-qo --json", false),
            ("-q --json", true),
            ("--output=x --json", true),
            ("--timeout --json", false),
            ("--bad=--json", false),
            ("-- --json", false),
            ("x --json", true),
            ("--format json", true),
            ("--format=json", true),
            ("--format text", false),
            ("--json --format text", false),
            ("--format", false),
            ("--output --format --json", true),
            ("-o", false),
        ] {
            let parser = lexopt::Parser::from_args(args.split(' '));
            assert_eq!(super::asked(USAGE, parser).json, asked, "{args}");
        }
        let quiet = "  -q, --quiet  say nothing";
        assert!(!asked(quiet, lexopt::Parser::from_args(["--json"])).json);
    }

    #[test]
    fn the_command_is_the_first_operand() {
        let usage =
            format!("{USAGE}\ncommands:\n  run [FILE]  run it\n  stop  stop it\n  help  help\n\nnotes:\n  walk\n");
        for (args, command) in [
            ("run", Some("run")),
            ("--bad stop run", Some("stop")),
            ("-o run stop", Some("stop")),
            ("--timeout=run stop", Some("stop")),
            ("-- run", Some("run")),
            ("other run", None),
            ("help run", None),
            ("walk", None),
            ("--output run", None),
        ] {
            let parser = lexopt::Parser::from_args(args.split(' '));
            assert_eq!(asked(&usage, parser).command.as_deref(), command, "{args}");
        }
        assert!(asked(USAGE, lexopt::Parser::from_args(["run"])).command.is_none());
    }

    #[test]
    fn what_was_meant() {
        let option = |word: &str| nearest_option(USAGE, word);
        for (word, meant) in [
            ("--ouptut", "--output"),
            ("--time-out", "--timeout"),
            ("--out", "--output"),
        ] {
            assert_eq!(option(word).as_deref(), Some(meant), "{word}");
        }
        for word in ["--verbose", "-x", "--", "--o", "--j"] {
            assert_eq!(option(word), None, "{word}");
        }
        let commands = ["backup", "restore", "backups", "verify"];
        for (word, meant) in [
            ("bakcup", "backup"),
            ("backups-", "backups"),
            ("rest", "restore"),
            ("verfiy", "verify"),
        ] {
            assert_eq!(nearest(word, commands), Some(meant), "{word}");
        }
        for word in ["list", "x", "", "frobnicate"] {
            assert_eq!(nearest(word, commands), None, "{word}");
        }
    }
}
