//! Commands that are printed: each can be pasted as it stands, into any POSIX shell, from any directory.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::caller;
use super::places::{backup_directory, library, variable};
use super::text::{MAX_CHARS, escape};
use crate::failure::{Advice, advice, with_hint};

/// A command for a person to paste. Paths in it are absolute and quoted. It is empty if a path can't be written on a
/// command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine(Option<String>);

impl CommandLine {
    /// This program, as the person typed it.
    pub fn this(program: &str) -> Self {
        match typed() {
            // A login shell has a name of this kind.
            Some(typed) if !typed.as_os_str().as_bytes().starts_with(b"-") => Self::program(&typed),
            _ => CommandLine(Some(program.into())),
        }
    }

    /// Another of the programs: from the same directory, if the person typed one.
    pub fn sibling(program: &str) -> Self {
        let beside = typed().filter(|typed| typed.components().count() > 1);
        match beside.map(|typed| typed.with_file_name(program)) {
            Some(path) if path.is_file() => Self::program(&path),
            _ => CommandLine(Some(program.into())),
        }
    }

    /// One that was made before, as text; an empty one could not be written.
    pub(super) fn made(text: &str) -> Self {
        CommandLine((!text.is_empty()).then(|| text.to_owned()))
    }

    fn program(path: &Path) -> Self {
        match path.components().count() {
            1 => CommandLine(word(path.as_os_str())),
            _ => CommandLine(absolute(path)),
        }
    }

    /// Adds a word that needs no quotes.
    pub fn arg(self, word: &str) -> Self {
        self.and(Some(word.into()))
    }

    /// Adds a word that may need quotes.
    pub fn word(self, text: &OsStr) -> Self {
        self.and(word(text))
    }

    /// Adds a path.
    pub fn path(self, path: &Path) -> Self {
        let path = absolute(path);
        self.and(path)
    }

    /// Adds an option with the path that it was given, if it was.
    pub fn option(self, name: &str, path: Option<&Path>) -> Self {
        match path {
            Some(path) => self.arg(name).path(path),
            None => self,
        }
    }

    /// Adds a program that reads what this one writes.
    pub fn pipe(self, reader: Self) -> Self {
        self.arg("|").and(reader.0)
    }

    fn and(self, word: Option<String>) -> Self {
        CommandLine(self.0.zip(word).map(|(line, word)| format!("{line} {word}")))
    }

    /// The text, unless a path in it can't be written on a command line.
    pub fn text(&self) -> Option<&str> {
        // A longer one would be cut, and half a command is useless.
        self.0.as_deref().filter(|text| text.len() < MAX_CHARS)
    }

    /// `text`, a colon and the command; only the text if there is no command.
    pub fn after(&self, text: &str) -> String {
        match self.text() {
            Some(command) => format!("{text}: {command}"),
            None => text.into(),
        }
    }
}

/// This run's program with the options that say where its files are; if `vpo-library` runs it, that with its own
/// options and `command`.
pub fn this_run(program: &str, command: &str, options: &[(&str, Option<PathBuf>)]) -> CommandLine {
    match caller::command_line() {
        Some(wrapper) => wrapper.arg(command),
        None => with_options(CommandLine::this(program), options),
    }
}

/// What prints the options of the program that the person typed, or of its `command`.
pub(super) fn help(program: &str, command: Option<&str>) -> CommandLine {
    // The person typed a command of the wrapper, which runs this program.
    let wrapped = match program {
        "vpo-unpack-restore" => "restore",
        "vpo-ls-backups" => "backups",
        "vpo-verify" => "verify",
        "vpo-diff" => "diff",
        _ => "backup",
    };
    let line = match caller::command_line() {
        Some(wrapper) => wrapper.arg(wrapped),
        None => command.into_iter().fold(CommandLine::this(program), CommandLine::arg),
    };
    line.arg("--help")
}

/// `vpo-library`, which may be what runs this program, with these options if it is not.
pub fn everyday(options: &[(&str, Option<PathBuf>)]) -> CommandLine {
    caller::command_line().unwrap_or_else(|| with_options(CommandLine::sibling("vpo-library"), options))
}

fn with_options(line: CommandLine, options: &[(&str, Option<PathBuf>)]) -> CommandLine {
    let add = |line: CommandLine, (name, path): &(&str, Option<PathBuf>)| line.option(name, path.as_deref());
    options.iter().fold(line, add)
}

/// The library, if a command without options and without this run's environment might mean another one.
pub fn named_library(option: Option<&Path>) -> Option<PathBuf> {
    let named = option.is_some()
        || ["VPO_DATABASE_PATH", "VPO_CONFIG_PATH"]
            .iter()
            .any(|v| variable(v).is_some());
    let path = library(option.map(Path::to_owned)).ok()?;
    (named || path.is_relative()).then_some(path)
}

/// The backup directory, if a command without options and without this run's environment might mean another one.
pub fn named_backup_directory(option: Option<&Path>) -> Option<PathBuf> {
    let named = option.is_some() || ["VPO_BACKUP_DIR", "VPO_DATA_DIR"].iter().any(|v| variable(v).is_some());
    let (path, _) = backup_directory(option.map(Path::to_owned)).ok()?;
    (named || path.is_relative()).then_some(path)
}

/// Turns the advice of an error into a hint with the command that follows it. `everyday` is `vpo-library` for the
/// library that the error is about.
pub fn advise(error: anyhow::Error, everyday: &CommandLine) -> anyhow::Error {
    let hint = match advice(&error) {
        None => return error,
        Some(Advice::RestoreLatest) => everyday
            .clone()
            .arg("restore")
            .arg("latest")
            .after("a restore keeps the damaged file beside the library; to bring back the newest backup"),
        Some(Advice::KeepElsewhere) => keep_elsewhere(),
        Some(Advice::Snapshot(database)) => CommandLine::sibling("vpo-snapshot")
            .path(database)
            .pipe(packed_here())
            .after("use vpo-snapshot"),
    };
    with_hint(error, hint)
}

/// What to do if the library to be replaced can't be kept.
pub fn keep_elsewhere() -> String {
    let option = match caller::command_line() {
        Some(_) => "--backup-dir",
        None => "--safety-dir",
    };
    format!("{option} DIR keeps the replaced library elsewhere, --no-safety-backup does not keep it")
}

/// What makes a backup from a stream: in the directory where it is pasted, where it replaces nothing.
pub fn packed_here() -> CommandLine {
    let save = CommandLine::sibling("vpo-verify").arg("--save").arg(".");
    CommandLine::sibling("vpo-pack").pipe(save)
}

/// The name of this program as it was typed.
fn typed() -> Option<PathBuf> {
    let first = std::env::args_os().next()?;
    (!first.is_empty()).then(|| first.into())
}

/// An absolute path as a word; it never begins with a hyphen.
fn absolute(path: &Path) -> Option<String> {
    word(std::path::absolute(path).ok()?.as_os_str())
}

/// A word for a POSIX shell. What could steer a terminal, and what is not UTF-8, is written by printf(1), which takes
/// octal everywhere; `$'…'` is too young for many shells.
fn word(text: &OsStr) -> Option<String> {
    let bytes = text.as_bytes();
    if let Some(text) = text.to_str()
        && matches!(escape(text), Cow::Borrowed(_))
    {
        return shlex::try_quote(text).ok().map(Cow::into_owned);
    }
    // Shells remove the line feeds at the end of what a command prints.
    if bytes.ends_with(b"\n") {
        return None;
    }
    let mut quoted = String::from("\"$(printf '");
    for byte in bytes {
        match byte {
            b'\\' | b'%' | b'\'' => quoted.push_str(&format!("\\{byte:03o}")),
            b' '..=b'~' => quoted.push(char::from(*byte)),
            _ => quoted.push_str(&format!("\\{byte:03o}")),
        }
    }
    quoted.push_str("')\"");
    Some(quoted)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_every_word() {
        let words: [&[u8]; 12] = [
            b"/plain/library-1.tar.gz",
            b"/with space",
            b"-o",
            b"/it's \"quoted\" `x` $HOME !! ^a^b \\",
            b"/~/*?[a]{b,c};&|<>()#=%",
            b"/a\nb",
            b"/a\nit's 100% \\n $(x) `y` \"z\"",
            b"/a\x1b[2Jb",
            "/rtl \u{202e}gz".as_bytes(),
            "/Amélie 愛".as_bytes(),
            b"/not UTF-8 \xff\xfe1",
            b"/\x0172",
        ];
        for expected in words {
            let word = word(OsStr::from_bytes(expected)).unwrap();
            assert_eq!(escape(&word), word);
            let script = format!("printf %s {word}");
            for shell in ["sh", "bash"] {
                let Ok(output) = Command::new(shell).args(["-c", &script]).output() else {
                    continue;
                };
                assert_eq!(output.stdout, expected, "{shell}: {word}");
            }
        }
        assert_eq!(word(OsStr::new("/ends\n")), None);
    }

    #[test]
    fn what_can_not_be_written_is_not() {
        let line = CommandLine::made("vpo-library");
        let written = line.clone().option("--db", Some(Path::new("/a b"))).arg("backup");
        assert_eq!(written.after("text"), "text: vpo-library --db '/a b' backup");
        assert_eq!(line.clone().path(Path::new("/a\n")).after("text"), "text");
        let long = format!("/{}", "x".repeat(MAX_CHARS));
        assert_eq!(line.path(Path::new(&long)).after("text"), "text");
    }
}
