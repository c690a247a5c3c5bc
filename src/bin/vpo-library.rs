//! `vpo-library`: everyday backup and restore, by running the other six programs.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::Arg;
use lexopt::prelude::*;
use vpo_library::cli::{self, CommandLine};
use vpo_library::failure::Kind;
use vpo_library::porcelain::{
    self, BackupOptions, COMMANDS, CommonOptions, DiffOptions, Help, Log, PruneOptions, RestoreOptions, VerifyOptions,
    usage,
};

enum Command {
    Backup(BackupOptions),
    Restore(RestoreOptions),
    Backups { max_age: Option<Duration> },
    Verify(VerifyOptions),
    Prune(PruneOptions),
    Diff(DiffOptions),
}

struct Config {
    common: CommonOptions,
    command: Command,
    log: Option<PathBuf>,
}

fn main() -> ExitCode {
    cli::main("vpo-library", &usage(), |parser| run(&Config::parse(parser)?))
}

fn run(config: &Config) -> anyhow::Result<u8> {
    let Config { common, command, log } = config;
    // The programs that report would find /dev/null in its place.
    if common.json || !common.quiet {
        cli::require_output()?;
    }
    let logged = |name, work: &dyn Fn(&mut Log) -> anyhow::Result<u8>| {
        let mut log = Log::begin(log.clone(), name);
        let result = work(&mut log);
        log.end(&result);
        result
    };
    match command {
        Command::Backup(options) if options.dry_run => {
            porcelain::backup(common, options, &mut Log::begin(None, "backup"))
        }
        Command::Restore(options) if options.dry_run => {
            porcelain::restore(common, options, &mut Log::begin(None, "restore"))
        }
        Command::Prune(options) if options.dry_run => porcelain::prune(common, options, &mut Log::begin(None, "prune")),
        Command::Backup(options) => logged("backup", &|log| porcelain::backup(common, options, log)),
        Command::Restore(options) => logged("restore", &|log| porcelain::restore(common, options, log)),
        Command::Verify(options) => logged("verify", &|log| porcelain::verify(common, options, log)),
        Command::Prune(options) => logged("prune", &|log| porcelain::prune(common, options, log)),
        Command::Backups { max_age } => porcelain::backups(common, *max_age),
        Command::Diff(options) => porcelain::diff(common, options),
    }
}

impl Config {
    fn parse(mut parser: lexopt::Parser) -> anyhow::Result<Self> {
        let mut common = CommonOptions::default();
        let mut log = None;
        let mut command = None;
        while let Some(arg) = parser.next()? {
            match (arg, &mut command) {
                (Short('h') | Long("help"), Some(command)) => return Err(help(Some(command.name()))),
                (Short('h') | Long("help"), None) => return Err(help(None)),
                (Short('V') | Long("version"), _) => return Err(cli::version("vpo-library")),
                (Long("db"), _) => common.db = Some(cli::path(parser.value()?)),
                (Long("backup-dir"), _) => common.backup_directory = Some(cli::path(parser.value()?)),
                (Long("timeout"), _) => common.timeout = Some(cli::timeout(&parser.value()?)?),
                (Long("log"), _) => log = Some(cli::path(parser.value()?)),
                (Long("json"), _) => common.json = true,
                (Long("format"), _) => common.json = format(&parser.value()?.string()?)?,
                (Short('q') | Long("quiet"), _) => common.quiet = true,
                (Short('v') | Long("verbose"), _) => common.verbose = true,

                (Value(name), None) if name == "help" => return Err(help_on(parser)),
                (Value(name), None) => command = Some(Command::named(&name)?),

                (Short('o') | Long("output"), Some(Command::Backup(o))) => o.output = Some(cli::path(parser.value()?)),
                (Short('l') | Long("level"), Some(Command::Backup(o))) => {
                    let level = parser.value()?;
                    o.level = cli::level(&level)?;
                    o.level_option = Some(level);
                }
                (Long("no-check"), Some(Command::Backup(o))) => o.no_check = true,
                (Long("no-reuse"), Some(Command::Backup(o))) => o.no_reuse = true,
                (Long("verify"), Some(Command::Backup(o))) => o.verify = true,
                (Long("dry-run"), Some(Command::Backup(o))) => o.dry_run = true,

                (Short('y') | Long("yes"), Some(Command::Restore(o))) => o.yes = true,
                (Long("dry-run"), Some(Command::Restore(o))) => o.dry_run = true,
                (Long("no-safety-backup"), Some(Command::Restore(o))) => o.no_safety_backup = true,
                (Long("current-schema"), Some(Command::Restore(o))) => {
                    let schema = parser.value()?;
                    cli::schema(&schema)?;
                    o.current_schema = Some(schema);
                }
                (Value(backup), Some(Command::Restore(o))) if o.backup.is_none() => o.backup = Some(backup.into()),

                (Short('p') | Long("path"), Some(Command::Backups { .. })) => {
                    common.backup_directory = Some(cli::path(parser.value()?));
                }
                (Long("max-age"), Some(Command::Backups { max_age })) => {
                    *max_age = Some(cli::age(&parser.value()?.string()?)?);
                }
                (Long(name), Some(Command::Prune(o))) if cli::is_keep_rule(name) => {
                    let name = name.to_owned();
                    cli::add_keep_rule(&mut o.rules, &name, &parser.value()?)?;
                }
                (Long("one-source"), Some(Command::Prune(o))) => o.rules.one_source = true,
                (Long("dry-run"), Some(Command::Prune(o))) => o.dry_run = true,
                (Short('y') | Long("yes"), Some(Command::Prune(o))) => o.yes = true,
                (Long("no-verify"), Some(Command::Prune(o))) => o.no_verify = true,
                (Long("full"), Some(Command::Verify(o))) => o.full = true,
                (Long("newest"), Some(Command::Verify(o))) => {
                    let count = cli::number("--newest", &parser.value()?, 1..=u64::from(u32::MAX))?;
                    o.newest = Some(count as usize);
                }
                (Value(operand), Some(Command::Verify(o))) => o.backups.push(operand.into()),

                (Long("stat"), Some(Command::Diff(o))) => o.stat = true,
                (Value(old), Some(Command::Diff(o))) if o.old.is_none() => o.old = Some(old.into()),
                (Value(new), Some(Command::Diff(o))) if o.new.is_none() => o.new = Some(new.into()),

                (other, command) => return Err(unexpected(other, command.as_ref())),
            }
        }
        let command = command.ok_or_else(|| Kind::Usage.because("no command").hint(for_help(None)))?;
        if let Command::Backup(options) = &command {
            let stream = options.output.as_ref().is_some_and(|output| output.as_os_str() == "-");
            if stream && (common.json || options.verify || options.dry_run) {
                return Err(Kind::Usage.error("'-o -' contradicts --json, --verify and --dry-run"));
            }
        }
        if let Command::Verify(options) = &command
            && options.newest.is_some()
            && !options.backups.is_empty()
        {
            return Err(Kind::Usage.error("--newest contradicts a named backup"));
        }
        Ok(Config {
            common,
            command,
            log: log.or_else(|| cli::path_variable("VPO_LIBRARY_LOG")),
        })
    }
}

impl Command {
    fn named(name: &OsStr) -> anyhow::Result<Self> {
        match name.to_str() {
            Some("backup") => Ok(Command::Backup(BackupOptions::default())),
            Some("restore") => Ok(Command::Restore(RestoreOptions::default())),
            Some("backups") => Ok(Command::Backups { max_age: None }),
            Some("verify") => Ok(Command::Verify(VerifyOptions::default())),
            Some("prune") => Ok(Command::Prune(PruneOptions::default())),
            Some("diff") => Ok(Command::Diff(DiffOptions::default())),
            _ => Err(unknown_command(name)),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Command::Backup(_) => "backup",
            Command::Restore(_) => "restore",
            Command::Backups { .. } => "backups",
            Command::Verify(_) => "verify",
            Command::Diff(_) => "diff",
            Command::Prune(_) => "prune",
        }
    }
}

fn unknown_command(name: &OsStr) -> anyhow::Error {
    let name = name.to_string_lossy();
    let known = COMMANDS.iter().map(|help| help.name).chain(["help"]);
    let hint = match cli::nearest(&name, known) {
        Some(meant) => format!("did you mean '{meant}'?"),
        None => for_help(None),
    };
    let unknown = Kind::Usage.because(format!("unknown command '{name}'"));
    unknown.hint(hint).into()
}

/// Prints the help of one command, or of all.
fn help(command: Option<&str>) -> anyhow::Error {
    match command.and_then(Help::of) {
        Some(help) => cli::help(&help.text()),
        None => cli::help(&usage()),
    }
}

/// `help [COMMAND]`
fn help_on(mut parser: lexopt::Parser) -> anyhow::Error {
    let mut command = None;
    loop {
        match parser.next() {
            Ok(None) => return help(command.as_deref()),
            Ok(Some(Short('h') | Long("help"))) => {}
            Ok(Some(Value(name))) if command.is_none() => match name.to_str() {
                Some(name) if name == "help" || Help::of(name).is_some() => command = Some(name.to_owned()),
                _ => return unknown_command(&name),
            },
            Ok(Some(other)) => return cli::unexpected(other),
            Err(error) => return error.into(),
        }
    }
}

/// The error for what `command` does not have: an option may belong to another command.
fn unexpected(arg: Arg, command: Option<&Command>) -> anyhow::Error {
    let option = match &arg {
        Short(name) => format!("-{name}"),
        Long(name) => format!("--{name}"),
        Value(_) => return cli::unexpected(arg),
    };
    let owners = Help::with_option(&option);
    let Some((last, others)) = owners.split_last() else {
        return cli::unexpected(arg);
    };
    let all = match others {
        [] => format!("'{last}'"),
        others => format!("'{}' and '{last}'", others.join("', '")),
    };
    let (message, of) = match command {
        None => (
            format!("'{option}' is an option of {all} and goes after the command"),
            others.is_empty().then_some(*last),
        ),
        Some(command) => {
            let name = command.name();
            (format!("'{option}' is an option of {all}, not of '{name}'"), Some(name))
        }
    };
    Kind::Usage.because(message).hint(for_help(of)).into()
}

/// What prints the help of a command, or of all.
fn for_help(command: Option<&str>) -> String {
    let help = CommandLine::this("vpo-library").arg("help");
    match command {
        Some(command) => help.arg(command).after("for its options"),
        None => help.after("for the commands"),
    }
}

/// `--format json`, as VPO spells it; its other format is `text`.
fn format(value: &str) -> anyhow::Result<bool> {
    match value {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => Err(Kind::Usage.error(format!("--format '{value}': json or text is needed"))),
    }
}
