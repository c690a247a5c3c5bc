//! `vpo-ls-backups`: lists the archives of a directory.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use vpo_library::backups;
use vpo_library::cli;
use vpo_library::failure::{Kind, kind};
use vpo_library::time::Time;

const USAGE: &str = "\
usage: vpo-ls-backups [options] [DIR]

Lists the backups of a directory, newest first. Of each archive only the first
header and the tail are read; vpo-verify reads all.

options:
  -p, --path DIR        the directory (default: VPO_BACKUP_DIR, else
                        $VPO_DATA_DIR/backups, else ~/.vpo/backups)
      --names           print paths alone, one a line
  -0, --null            print paths alone, each ended by a NUL
      --max-age AGE     exit 1 unless a good backup is younger: 90m, 26h, 3d
      --json            report as one JSON document
  -q, --quiet           no report, only the exit status
  -v, --verbose         say on stderr which directory is read
  -h, --help            print this help
  -V, --version         print the version

examples:
  vpo-ls-backups --max-age 26h -q || echo 'no backup since yesterday'
  vpo-ls-backups -0 | xargs -0 vpo-verify
  vpo-ls-backups --json | jq '.backups[0].path'
";

#[derive(Default)]
struct Config {
    directory: Option<PathBuf>,
    format: Format,
    max_age: Option<Duration>,
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
    cli::main("vpo-ls-backups", USAGE, |parser| run(Config::parse(parser)?))
}

fn run(config: Config) -> anyhow::Result<u8> {
    let now = Time::now();
    let named_directory = cli::named_backup_directory(config.directory.as_deref());
    let (directory, named) = cli::backup_directory(config.directory)?;
    if config.verbose {
        cli::note(&format!("vpo-ls-backups: reading '{}'", directory.display()));
    }
    let listed = backups::list(&directory);
    let backups = match listed {
        // Nobody has made a backup yet.
        Err(error) if !named && kind(&error) == Kind::NotFound => Vec::new(),
        listed => listed?,
    };
    cli::protect(&cli::archives(backups.iter().map(|backup| &backup.path)))?;
    match config.format {
        Format::Names | Format::NamesWithNul => cli::print_names(&backups, config.format == Format::NamesWithNul)?,
        Format::Json => cli::print_listing_json(&directory, &backups)?,
        Format::Table if config.quiet => {}
        Format::Table => {
            cli::print_table(&directory, &backups, now)?;
            if backups.is_empty() {
                let line = cli::everyday(&[("--backup-dir", named_directory)]);
                cli::note(&format!("hint: {}", line.arg("backup").after("to make one")));
            }
        }
    }
    if let Some(age) = config.max_age
        && let Err(error) = cli::require_recent(&backups, age, now)
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
        Ok(config)
    }
}
