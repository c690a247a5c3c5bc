//! `vpo-snapshot`: a consistent copy of a live library on standard output.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;
use vpo_library::cli::{self, CommandLine, Progress};
use vpo_library::files::{self, Identity};
use vpo_library::library::{SnapshotOptions, snapshot};
use vpo_library::size;

const USAGE: &str = "\
usage: vpo-snapshot [options] [LIBRARY]

Writes the library's database to standard output, exactly as one transaction
sees it, while other processes read and write. The library is not changed.

examples:
  vpo-snapshot | vpo-pack > library.tar.gz
  vpo-snapshot > copy.db
  ssh nas vpo-snapshot | vpo-pack | vpo-verify --save backups/

Without LIBRARY: VPO_DATABASE_PATH, else database_path in VPO's config.toml,
else ~/.vpo/library.db.

options:
      --no-check        do not run SQLite's quick_check meanwhile
      --stats FILE      write facts about the database to FILE, for vpo-pack
      --timeout SECONDS how long to wait for a lock (default: 5)
      --progress        draw a progress bar on stderr
  -q, --quiet           no reports
  -v, --verbose         say on stderr what is read
  -h, --help            print this help
  -V, --version         print the version
";

struct Config {
    library: Option<PathBuf>,
    check: bool,
    stats: Option<PathBuf>,
    timeout: Duration,
    progress: bool,
    verbose: bool,
}

fn main() -> ExitCode {
    cli::main("vpo-snapshot", USAGE, |parser| run(Config::parse(parser)?))
}

fn run(config: Config) -> anyhow::Result<u8> {
    let named = cli::named_library(config.library.as_deref());
    let library = cli::library(config.library)?;
    let mut this = CommandLine::this("vpo-snapshot");
    if let Some(named) = &named {
        this = this.path(named);
    }
    let hint = this
        .pipe(cli::packed_here())
        .after("to make a backup in this directory");
    let output = cli::binary_output("a database", &hint)?;
    if let Some(stats) = &config.stats {
        let shown = format!("--stats '{}'", stats.display());
        cli::configuration().refuse(Identity::at(stats), &shown)?;
    }
    let scratch = cli::scratch_directory();
    files::sweep(&scratch, Some(&library));
    let options = SnapshotOptions {
        check: config.check,
        stats: config.stats,
        timeout: config.timeout,
        scratch,
    };
    let progress = Progress::new(config.progress);
    // To wait for a lock, and to count what is in it, can take seconds.
    progress.begin("reading the library", None);
    let mut left = None;
    let done = snapshot(&library, output, &options, |facts, bytes| {
        let left = left.get_or_insert_with(|| {
            if config.verbose {
                progress.clear();
                cli::note(&format!(
                    "vpo-snapshot: '{}' has {}, schema {}, {} files",
                    library.display(),
                    size::human(facts.database_size_bytes),
                    facts.schema_version,
                    size::grouped(facts.file_count)
                ));
            }
            progress.begin("copying", Some(facts.database_size_bytes));
            facts.database_size_bytes
        });
        progress.add(bytes);
        *left = left.saturating_sub(bytes as u64);
        if *left == 0 && config.check {
            progress.say("checking the library");
        }
    });
    progress.clear();
    done.map(|_| 0)
        .map_err(|error| cli::advise(cli::with_scratch_named(error), &cli::everyday(&[("--db", named)])))
}

impl Config {
    fn parse(mut parser: lexopt::Parser) -> anyhow::Result<Self> {
        let mut config = Config {
            library: None,
            check: true,
            stats: None,
            timeout: cli::DEFAULT_TIMEOUT,
            progress: false,
            verbose: false,
        };
        let mut quiet = false;
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => return Err(cli::help(USAGE)),
                Short('V') | Long("version") => return Err(cli::version("vpo-snapshot")),
                Long("no-check") => config.check = false,
                Long("stats") => config.stats = Some(cli::path(parser.value()?)),
                Long("timeout") => config.timeout = cli::timeout(&parser.value()?)?,
                Long("progress") => config.progress = true,
                Short('q') | Long("quiet") => quiet = true,
                Short('v') | Long("verbose") => config.verbose = true,
                Value(library) if config.library.is_none() => config.library = Some(library.into()),
                other => return Err(cli::unexpected(other)),
            }
        }
        config.verbose &= !quiet;
        config.progress &= !quiet;
        Ok(config)
    }
}
