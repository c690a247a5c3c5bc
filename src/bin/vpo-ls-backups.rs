//! `vpo-ls-backups`: lists the archives in a directory.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use vpo_library::backups::{self, Backup, Rules, Verdict};
use vpo_library::cli;
use vpo_library::database::Source;
use vpo_library::failure::{Kind, kind};
use vpo_library::time::Time;

const USAGE: &str = "\
usage: vpo-ls-backups [options] [DIR]

Lists the backups in a directory, newest first.

examples:
  vpo-ls-backups --max-age 26h -q || echo 'no backup since yesterday'
  vpo-ls-backups -0 | xargs -0 vpo-verify
  vpo-ls-backups --json | jq '.backups[0].path'
  vpo-ls-backups --expired --keep-daily 7 -0 | xargs -0 -r rm --

Only the beginning and the end of each archive are read; vpo-verify reads all of
it.

options:
  -p, --path DIR        the directory (default: VPO_BACKUP_DIR, else
                        $VPO_DATA_DIR/backups, else ~/.vpo/backups)
      --names           print only the paths, one per line
  -0, --null            print only the paths, each followed by a NUL
      --max-age AGE     exit 1 unless a good backup is younger: 90m, 26h, 3d
      --source HOST:PATH
                        list only the backups of this library
      --json            report as one JSON document
  -q, --quiet           no report, only the exit status
  -v, --verbose         say on stderr which directory is read
  -h, --help            print this help
  -V, --version         print the version

keep rules: a backup stays if any of them keeps it. They add a column that says
why it stays, or 'expired'. Nothing is removed.
      --keep-last N     the N newest
      --keep-within AGE those younger than the newest by less than AGE: 36h, 7d,
                        5w, 1y
      --keep-hourly N   the newest of each of the last N hours with a backup;
      --keep-daily N    likewise of days,
      --keep-weekly N   of weeks,
      --keep-monthly N  of months,
      --keep-yearly N   of years
      --keep-replaced AGE
                        safety backups, unless older than the newest other
                        backup by AGE or more
      --one-source      treat all as backups of one library
      --expired         list only what no rule keeps
";

#[derive(Default)]
struct Config {
    directory: Option<PathBuf>,
    format: Format,
    max_age: Option<Duration>,
    source: Option<Source>,
    rules: Rules,
    expired: bool,
    quiet: bool,
    verbose: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Table,
    Names,
    NamesWithNul,
    Json,
}

fn main() -> ExitCode {
    cli::main("vpo-ls-backups", USAGE, |parser| run(&Config::parse(parser)?))
}

fn run(config: &Config) -> anyhow::Result<u8> {
    let now = Time::now();
    let named_directory = cli::named_backup_directory(config.directory.as_deref());
    let (directory, named) = cli::backup_directory(config.directory.clone())?;
    if config.verbose {
        cli::note(&format!("vpo-ls-backups: reading '{}'", directory.display()));
    }
    let listed = backups::list(&directory);
    let mut backups = match listed {
        // Nobody has made a backup yet.
        Err(error) if !named && kind(&error) == Kind::NotFound => Vec::new(),
        listed => listed?,
    };
    cli::protect(&cli::archives(backups.iter().map(|backup| &backup.path)))?;
    if let Some(wanted) = &config.source {
        backups.retain(|backup| backup.source.as_ref() == Some(wanted));
    }
    let verdicts = decide(config, &mut backups, now);
    let verdicts = verdicts.as_deref();
    match config.format {
        Format::Names | Format::NamesWithNul => cli::print_names(&backups, config.format == Format::NamesWithNul)?,
        Format::Json => cli::print_listing_json(&directory, &backups, verdicts)?,
        Format::Table if config.quiet || (config.expired && backups.is_empty()) => {}
        Format::Table => {
            cli::print_table(&directory, &backups, verdicts, now)?;
            if backups.is_empty() {
                let line = cli::everyday(&[("--backup-dir", named_directory)]);
                cli::note(&format!("hint: {}", line.arg("backup").after("to make one")));
            }
        }
    }
    if let Some(age) = config.max_age
        && let Err(error) = backups::require_recent(&backups, age, now)
    {
        if config.format == Format::Json {
            // The listing was the one document.
            cli::note(&format!("vpo-ls-backups: {error}"));
            return Ok(kind(&error).code());
        }
        return Err(error);
    }
    Ok(0)
}

/// What keep rules, if there are any, say about each backup; with `--expired`, only expired ones remain in `backups`.
fn decide(config: &Config, backups: &mut Vec<Backup>, now: Time) -> Option<Vec<Verdict>> {
    if config.rules.is_empty() {
        return None;
    }
    let mut verdicts = backups::decide(backups, &config.rules, now);
    if !config.quiet {
        cli::note_uncounted("vpo-ls-backups", &verdicts);
    }
    if config.expired {
        let mut expired = verdicts.iter().map(|verdict| *verdict == Verdict::Expired);
        backups.retain(|_| expired.next().unwrap_or(false));
        verdicts.retain(|verdict| *verdict == Verdict::Expired);
    }
    Some(verdicts)
}

impl Config {
    fn parse(mut parser: lexopt::Parser) -> anyhow::Result<Self> {
        let mut config = Config::default();
        let (mut json, mut names, mut null) = (false, false, false);
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => return Err(cli::help(USAGE)),
                Short('V') | Long("version") => return Err(cli::version("vpo-ls-backups")),
                Short('p') | Long("path") if config.directory.is_none() => {
                    config.directory = Some(cli::path(parser.value()?));
                }
                Short('p') | Long("path") => return Err(Kind::Usage.error("the directory is named twice")),
                Long("names") => names = true,
                Short('0') | Long("null") => null = true,
                Long("json") => json = true,
                Long("max-age") => config.max_age = Some(cli::age(&parser.value()?.string()?)?),
                Long("source") => config.source = Some(cli::source(&parser.value()?)?),
                Long("one-source") => config.rules.one_source = true,
                Long("expired") => config.expired = true,
                Long(name) if cli::is_keep_rule(name) => {
                    let name = name.to_owned();
                    cli::add_keep_rule(&mut config.rules, &name, &parser.value()?)?;
                }
                Short('q') | Long("quiet") => config.quiet = true,
                Short('v') | Long("verbose") => config.verbose = true,
                Value(directory) if config.directory.is_none() => config.directory = Some(directory.into()),
                other => return Err(cli::unexpected(other)),
            }
        }
        config.format = match (json, null, names) {
            (true, false, false) => Format::Json,
            (true, ..) => return Err(Kind::Usage.error("--json contradicts --names and --null")),
            (false, true, _) => Format::NamesWithNul,
            (false, false, true) => Format::Names,
            (false, false, false) => Format::Table,
        };
        if config.rules.is_empty() && (config.expired || config.rules.one_source) {
            return Err(Kind::Usage.error("--expired and --one-source need a keep rule, such as --keep-last 10"));
        }
        // A forgotten word must not name everything to 'xargs rm'.
        if !config.rules.is_empty() && (names || null) && !config.expired {
            return Err(Kind::Usage.error("keep rules with --names or --null need --expired"));
        }
        Ok(config)
    }
}
