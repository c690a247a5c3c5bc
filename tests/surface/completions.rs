//! What the shells offer, asked of the real shells.

use std::collections::BTreeSet;

use crate::support::has_tools;
use crate::support::place::{Place, project, run};

fn file(name: &str) -> String {
    project("completions").join(name).display().to_string()
}

/// What bash offers for the last of these words.
fn bash(place: &Place, words: &[&str]) -> Vec<String> {
    let quoted: Vec<String> = words
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', "'\\''")))
        .collect();
    let script = format!(
        ". '{}'; COMP_WORDS=({}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _vpo_library {}; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        file("vpo-library.bash"),
        quoted.join(" "),
        words[0]
    );
    let mut command = place.command("bash");
    command.args(["--norc", "--noprofile", "-c", &script]);
    lines(run(command, &script).ok())
}

/// What fish offers for the last word of a line, without the descriptions.
fn fish(place: &Place, line: &str) -> Vec<String> {
    fish_described(place, line)
        .iter()
        .map(|line| line.split('\t').next().unwrap().to_owned())
        .collect()
}

/// The same with them, behind a tab.
fn fish_described(place: &Place, line: &str) -> Vec<String> {
    let script = format!("source '{}'; complete -C '{line}'", file("vpo-library.fish"));
    let mut command = place.command("fish");
    command.args(["--no-config", "-c", &script]);
    lines(run(command, &script).ok())
}

fn lines(text: String) -> Vec<String> {
    text.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The options that bash offers after a command.
pub fn bash_options(place: &Place, program: &str, command: &str) -> BTreeSet<String> {
    let mut words = vec![program, command, "-"];
    words.retain(|word| !word.is_empty());
    bash(place, &words).into_iter().collect()
}

/// The options that fish offers after a command.
pub fn fish_options(place: &Place, program: &str, command: &str) -> BTreeSet<String> {
    let offered = fish(place, &format!("{program} {command} -"));
    // An option with a value is offered as '--option='.
    offered
        .into_iter()
        .map(|option| option.trim_end_matches('=').to_owned())
        .collect()
}

/// The options that the zsh function gives to `_arguments` after a command.
pub fn zsh_options(place: &Place, program: &str, command: &str) -> BTreeSet<String> {
    let script = format!(
        "_arguments() {{ print -rl -- \"$@\" }}; service={program}; words=({program} {command} -); \
         CURRENT=$#words; . '{}'",
        file("_vpo-library")
    );
    let mut command = place.command("zsh");
    command.args(["-f", "-c", &script]);
    let specs = lines(run(command, &script).ok());
    let mut options = BTreeSet::new();
    for spec in specs {
        // '(-q --quiet)-q[no reports]', '--db=[the library]:file:_files', '1:archive:...'
        let option = match spec.strip_prefix('(') {
            Some(rest) => rest.split_once(')').unwrap().1,
            None => &spec,
        };
        let option = option.split(['[', '=', '+', ':']).next().unwrap();
        if option.starts_with('-') && option != "-s" && option != "-S" {
            options.insert(option.to_owned());
        }
    }
    options
}

/// A place with two backups and, newer than both, a safety backup; and their names in the order in which they are
/// offered.
fn with_backups() -> (Place, Vec<String>) {
    let place = Place::with_library();
    place
        .sh(
            "vpo-library backup -q && vpo-library backup -q && touch other.tar.gz x.txt && mkdir dir
             cd .vpo/backups && set -- *.tar.gz && cp $1 ${1%Z*}Z-replaced-9.tar.gz && touch '.hidden.tar.gz'",
        )
        .ok();
    let names = lines(place.sh("vpo-ls-backups --names | sed 's,.*/,,'").ok());
    let (replaced, mut ordinary): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name.contains("-replaced-9"));
    assert_eq!((ordinary.len(), replaced.len()), (2, 1));
    ordinary.extend(replaced);
    (place, ordinary)
}

/// What a name is in the list.
fn time(name: &str) -> &str {
    name.trim_start_matches("vpo-library-").trim_end_matches(".tar.gz")
}

#[test]
fn bash_knows_commands_backups_and_values() {
    if !has_tools("completion by bash", &["bash"]) {
        return;
    }
    let (place, names) = with_backups();
    assert_eq!(
        bash(&place, &["vpo-library", ""]),
        ["backup", "restore", "backups", "verify", "diff", "prune", "help"]
    );
    assert_eq!(bash(&place, &["vpo-library", "help", "re"]), ["restore"]);
    assert_eq!(bash(&place, &["vpo-library", "--db", "x", "ba"]), ["backup", "backups"]);

    let sorted = |mut words: Vec<String>| {
        words.sort();
        words
    };
    // Bash sorted the words by itself: the oldest backup came first, and nobody could tell which was which.
    let mut operands = vec!["latest", "replaced"];
    operands.extend(names.iter().map(|name| time(name)));
    operands.extend(["dir", "other.tar.gz"]);
    assert_eq!(bash(&place, &["vpo-library", "restore", ""]), operands);
    assert_eq!(bash(&place, &["vpo-library", "diff", "latest", ""]), operands);
    assert_eq!(
        bash(&place, &["vpo-library", "-v", "verify", names[0].as_str(), ""]),
        operands
    );
    assert_eq!(bash(&place, &["vpo-library", "restore", "vpo"]), names);
    assert_eq!(bash(&place, &["vpo-library", "restore", "la"]), ["latest"]);

    // The backup directory that the line names, in both forms; bash makes a word of the '='.
    place.sh("mv .vpo/backups 'other backups'").ok();
    assert_eq!(bash(&place, &["vpo-library", "restore", "vpo"]), Vec::<String>::new());
    for words in [
        &["vpo-library", "--backup-dir", "'other backups'", "restore", "vpo"][..],
        &[
            "vpo-library",
            "--backup-dir",
            "=",
            "~/other\\ backups",
            "restore",
            "vpo",
        ],
    ] {
        assert_eq!(bash(&place, words), names, "{words:?}");
    }

    // Names with a space, as they stand on a line; bash quotes what it is given.
    for (word, name) in [
        ("other\\ b", "other backups"),
        ("\"other b", "other backups"),
        ("~/other\\ b", "~/other backups"),
        ("~/oth", "~/other backups ~/other.tar.gz"),
    ] {
        let offered = sorted(bash(&place, &["vpo-verify", word]));
        assert_eq!(offered.join(" "), name, "{word}");
    }

    assert_eq!(bash(&place, &["vpo-pack", "-l", "1"]), ["1", "10", "11", "12"]);
    assert_eq!(bash(&place, &["vpo-pack", "--level", "=", "12"]), ["12"]);
    assert_eq!(bash(&place, &["vpo-library", "--format", ""]), ["json"]);
    assert_eq!(
        sorted(bash(&place, &["vpo-unpack-restore", "--safety-dir", ""])),
        ["dir", "other backups"]
    );
    assert_eq!(
        sorted(bash(&place, &["vpo-verify", ""])),
        ["dir", "other backups", "other.tar.gz"]
    );
    assert_eq!(bash(&place, &["vpo-verify", "--", "-"]), Vec::<String>::new());
    assert_eq!(bash(&place, &["vpo-pack", "--created-at", ""]), Vec::<String>::new());
}

#[test]
fn fish_knows_commands_backups_and_values() {
    if !has_tools("completion by fish", &["fish"]) {
        return;
    }
    let (place, names) = with_backups();
    let mut commands = fish(&place, "vpo-library ");
    commands.sort();
    assert_eq!(
        commands,
        ["backup", "backups", "diff", "help", "prune", "restore", "verify"]
    );
    assert_eq!(fish(&place, "vpo-library help v"), ["verify"]);
    for line in [
        "vpo-library restore ",
        "vpo-library diff ",
        "vpo-library --db x -v verify ",
    ] {
        let offered = fish_described(&place, line);
        let mut operands = vec![
            "latest\tthe newest backup".to_owned(),
            "replaced\tthe newest safety backup".to_owned(),
        ];
        operands.extend(names.iter().map(|name| format!("{}\tjust now", time(name))));
        assert_eq!(offered[..operands.len()], operands, "{line}");
        let offered = fish(&place, line);
        assert!(offered.contains(&"other.tar.gz".to_owned()), "{line}: {offered:?}");
        assert!(!offered.iter().any(|word| word == "backup"), "{offered:?}");
    }
    // As the listing has them.
    for (age, told) in [
        ("3 hours ago", "3 hours ago"),
        ("400 days ago", "1 year ago"),
        ("tomorrow", ""),
    ] {
        let name = place.sh(&format!("date -u -d '{age}' +%FT%H%M%SZ")).ok();
        let asked = format!("source '{}'; __vpo_library_age {name}", file("vpo-library.fish"));
        let mut command = place.command("fish");
        command.args(["--no-config", "-c", &asked]);
        assert_eq!(run(command, &asked).ok().trim_end(), told, "{age}");
    }
    place.sh("mv .vpo/backups elsewhere").ok();
    assert!(!fish(&place, "vpo-library restore vpo").contains(&names[0]));
    for line in [
        "vpo-library --backup-dir elsewhere restore vpo",
        "vpo-library restore --backup-dir=~/elsewhere vpo",
    ] {
        assert!(fish(&place, line).contains(&names[0]), "{line}");
    }
    assert_eq!(fish(&place, "vpo-library --format "), ["json"]);
    assert!(fish(&place, "vpo-pack -l ").contains(&"12".to_owned()));
    assert!(fish(&place, "vpo-verify o").contains(&"other.tar.gz".to_owned()));
}

/// A zsh with a terminal of its own, into which a line and a tab are typed.
#[test]
fn zsh_knows_commands_backups_and_values() {
    if !has_tools("completion by zsh", &["zsh"]) {
        return;
    }
    let (place, names) = with_backups();
    let common = format!("vpo-library restore {}", &names[0][..20]);
    let only = &names[0];
    place
        .sh(&format!("mkdir elsewhere && cp .vpo/backups/{only} elsewhere/"))
        .ok();
    let of_elsewhere = format!("vpo-library --backup-dir ~/elsewhere restore {only} ");
    let cases = [
        ("vpo-library re", "vpo-library restore "),
        ("vpo-library restore la", "vpo-library restore latest "),
        ("vpo-library restore vpo", &common),
        ("vpo-library he", "vpo-library help "),
        ("vpo-library help v", "vpo-library help verify "),
        ("vpo-library --format ", "vpo-library --format json "),
        ("vpo-library verify oth", "vpo-library verify other.tar.gz "),
        (
            "vpo-unpack-restore --safety-dir d",
            "vpo-unpack-restore --safety-dir dir/",
        ),
        ("vpo-pack --cre", "vpo-pack --created-at="),
        ("vpo-library --backup-dir ~/elsewhere restore vpo", &of_elsewhere),
    ];
    let lines = zsh(&place, &cases.map(|(line, _)| line));
    assert_eq!(lines.len(), cases.len(), "{lines:?}");
    for ((line, expected), completed) in cases.iter().zip(lines) {
        // What several backups have in common may be longer.
        let end = if *expected == common {
            common.len()
        } else {
            completed.len()
        };
        assert_eq!(completed.get(..end), Some(*expected), "{line}: {completed}");
    }
}

/// What stands on each of these lines after a tab: in one shell, for its start takes half a second. `^T` shows a line:
/// with a key that is the beginning of others, as `^X` is, zsh would wait for the rest of them each time.
fn zsh(place: &Place, lines: &[&str]) -> Vec<String> {
    let typed: String = lines.iter().map(|line| format!(" $'{line}\\t\\x14'")).collect();
    let script = format!(
        r#"
        zmodload zsh/zpty
        zpty z zsh -f -i
        zpty -w z 'PS1= PS2= RPS1=; stty -echo; unsetopt zle_bracketed_paste 2>/dev/null; unset zle_bracketed_paste'
        zpty -w z 'fpath=({completions} $fpath); autoload -U compinit; compinit -u -D'
        zpty -w z 'show() {{ print -r -- "<<<$BUFFER>>>"; BUFFER=; zle accept-line }}; zle -N show; bindkey "^T" show'
        zpty -w z 'bindkey "^I" complete-word; setopt no_auto_list no_list_beep; echo READY:$((1+1))'
        zpty -r z text '*READY:2*'
        for line in{typed}; do
            zpty -w -n z $line
            zpty -r z text '*>>>*'
            print -r -- "${{${{text##*<<<}}%%>>>*}}"
        done
        zpty -d z
        "#,
        completions = project("completions").display()
    );
    let mut command = place.command("zsh");
    command.args(["-f", "-c", &script]).env("TERM", "dumb");
    run(command, &script).ok().lines().map(str::to_owned).collect()
}
