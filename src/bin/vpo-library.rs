//! `vpo-library`: backup and restore for every day, by running the other six programs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;
use vpo_library::cli;
use vpo_library::failure::Kind;
use vpo_library::porcelain::{self, BackupOptions, Common, DiffOptions, Log, RestoreOptions};

const USAGE: &str = "\
usage: vpo-library [options] backup|restore|backups|verify|diff [...]

Backup and restore of a VPO library.

commands:
  backup                make a backup of the library
    -o, --output FILE   write it to FILE, into a directory, or '-' for stdout
    -l, --level N       compression level, 0 to 12 (default: 6)
        --no-check      do not look for damage in the library meanwhile
        --verify        read the finished file back before it gets its name
        --dry-run       say what the backup would be
  restore [BACKUP]      put a backup in the place of the library; BACKUP is a
                        file, 'latest', or '-' for stdin
    -y, --yes           without a question
        --dry-run       make every check and change nothing
        --no-safety-backup
                        do not keep the replaced library as a backup
        --current-schema N
                        the schema of the installed VPO
  backups               list the backups
    -p, --path DIR      of this directory
        --max-age AGE   exit 1 unless a good backup is younger: 90m, 26h, 3d
  verify [BACKUP...]    prove that backups are whole (default: all)
  diff [OLD [NEW]]      say which files two backups, or a backup and the
                        library, know differently (default: the newest
                        backup and the library)
        --stat          the counts alone, and the rows of other tables

options, before or after the command:
      --db PATH         the library (default: VPO_DATABASE_PATH, else
                        database_path in VPO's config.toml, else
                        ~/.vpo/library.db)
      --backup-dir DIR  where backups are (default: VPO_BACKUP_DIR, else
                        $VPO_DATA_DIR/backups, else ~/.vpo/backups)
      --timeout SECONDS wait so long for a lock (default: 5)
      --log FILE        append a JSON line about the run (or VPO_LIBRARY_LOG)
      --json            report as one JSON document (also: --format json)
  -q, --quiet           no reports
  -v, --verbose         show the pipeline that is run, and more
  -h, --help            print this help
  -V, --version         print the version

examples:
  vpo-library backup
  vpo-library backups
  vpo-library restore latest
";

enum Command {
    Backup(BackupOptions),
    Restore(RestoreOptions),
    Backups { max_age: Option<OsString> },
    Verify(Vec<PathBuf>),
    Diff(DiffOptions),
}

struct Config {
    common: Common,
    command: Command,
    log: Option<PathBuf>,
}

fn main() -> ExitCode {
    cli::main("vpo-library", |parser| run(&Config::parse(parser)?))
}

fn run(config: &Config) -> anyhow::Result<u8> {
    let Config { common, command, log } = config;
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
        Command::Backup(options) => logged("backup", &|log| porcelain::backup(common, options, log)),
        Command::Restore(options) => logged("restore", &|log| porcelain::restore(common, options, log)),
        Command::Verify(operands) => logged("verify", &|log| porcelain::verify(common, operands, log)),
        Command::Backups { max_age } => porcelain::backups(common, max_age.clone()),
        Command::Diff(options) => porcelain::diff(common, options),
    }
}

impl Config {
    fn parse(mut parser: lexopt::Parser) -> anyhow::Result<Self> {
        let mut common = Common::default();
        let mut log = None;
        let mut command = None;
        while let Some(arg) = parser.next()? {
            match (arg, &mut command) {
                (Short('h') | Long("help"), _) => return Err(cli::help(USAGE)),
                (Short('V') | Long("version"), _) => return Err(cli::version("vpo-library")),
                (Long("db"), _) => common.db = Some(parser.value()?.into()),
                (Long("backup-dir"), _) => common.backup_directory = Some(parser.value()?.into()),
                (Long("timeout"), _) => common.timeout = Some(cli::timeout(&parser.value()?)?),
                (Long("log"), _) => log = Some(parser.value()?.into()),
                (Long("json"), _) => common.json = true,
                (Long("format"), _) => common.json = format(&parser.value()?.string()?)?,
                (Short('q') | Long("quiet"), _) => common.quiet = true,
                (Short('v') | Long("verbose"), _) => common.verbose = true,

                (Value(name), None) => command = Some(Command::named(&name)?),

                (Short('o') | Long("output"), Some(Command::Backup(o))) => o.output = Some(parser.value()?.into()),
                (Short('l') | Long("level"), Some(Command::Backup(o))) => {
                    let level = parser.value()?;
                    o.level = cli::level(&level)?;
                    o.level_option = Some(level);
                }
                (Long("no-check"), Some(Command::Backup(o))) => o.no_check = true,
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
                    common.backup_directory = Some(parser.value()?.into());
                }
                (Long("max-age"), Some(Command::Backups { max_age })) => {
                    let age = parser.value()?.string()?;
                    cli::age(&age)?;
                    *max_age = Some(age.into());
                }
                (Value(operand), Some(Command::Verify(operands))) => operands.push(operand.into()),

                (Long("stat"), Some(Command::Diff(o))) => o.stat = true,
                (Value(old), Some(Command::Diff(o))) if o.old.is_none() => o.old = Some(old.into()),
                (Value(new), Some(Command::Diff(o))) if o.new.is_none() => o.new = Some(new.into()),

                (other, _) => return Err(cli::unexpected(other)),
            }
        }
        let command = command.ok_or_else(|| Kind::Usage.because("no command").hint("vpo-library --help lists them"))?;
        if let Command::Backup(options) = &command {
            let stream = options.output.as_ref().is_some_and(|output| output.as_os_str() == "-");
            if stream && (common.json || options.verify || options.dry_run) {
                return Err(Kind::Usage.error("'-o -' contradicts --json, --verify and --dry-run"));
            }
        }
        Ok(Config {
            common,
            command,
            log: log.or_else(|| cli::path_variable("VPO_LIBRARY_LOG")),
        })
    }
}

impl Command {
    fn named(name: &std::ffi::OsStr) -> anyhow::Result<Self> {
        match name.to_str() {
            Some("backup") => Ok(Command::Backup(BackupOptions::default())),
            Some("restore") => Ok(Command::Restore(RestoreOptions::default())),
            Some("backups") => Ok(Command::Backups { max_age: None }),
            Some("verify") => Ok(Command::Verify(Vec::new())),
            Some("diff") => Ok(Command::Diff(DiffOptions::default())),
            _ => Err(Kind::Usage
                .because(format!("unknown command '{}'", name.display()))
                .hint("the commands are backup, restore, backups, verify and diff")
                .into()),
        }
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
