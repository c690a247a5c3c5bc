//! `vpo-unpack-restore`: an archive becomes the live library, safely.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use lexopt::prelude::*;
use vpo_library::archive::{Level, Options, Reusable, Reuse};
use vpo_library::cli::{self, Progress};
use vpo_library::failure::{Kind, kind};
use vpo_library::files::Identity;
use vpo_library::library::{Request, restore};
use vpo_library::time::Time;
use vpo_library::{backups, files};

const USAGE: &str = "\
usage: vpo-unpack-restore [options] [ARCHIVE]

Puts a backup in the place of the library. The archive, from standard input
without ARCHIVE or for '-', is unpacked beside the library and verified in full
before the library is touched. After any failure the library is the old one or
the new one, whole.

options:
      --db PATH         the library (default: VPO_DATABASE_PATH, else
                        database_path in VPO's config.toml, else
                        ~/.vpo/library.db)
  -y, --yes             replace an existing library without a question
      --dry-run         make every check and change nothing
      --safety-dir DIR  keep the replaced library in DIR, as a backup
      --current-schema N
                        the schema of the installed VPO
      --timeout SECONDS wait so long for a lock (default: 5)
      --json            report as one JSON document
      --progress        draw a progress bar on stderr
  -q, --quiet           no reports
  -v, --verbose         say on stderr what is done
  -h, --help            print this help
  -V, --version         print the version

examples:
  vpo-unpack-restore --dry-run library.tar.gz
  ssh nas cat library.tar.gz | vpo-unpack-restore --yes
";

struct Config {
    archive: PathBuf,
    db: Option<PathBuf>,
    yes: bool,
    dry_run: bool,
    safety_directory: Option<PathBuf>,
    current_schema: Option<u64>,
    timeout: Duration,
    json: bool,
    progress: bool,
    quiet: bool,
    verbose: bool,
}

fn main() -> ExitCode {
    cli::main("vpo-unpack-restore", USAGE, |parser| run(&Config::parse(parser)?))
}

fn run(config: &Config) -> anyhow::Result<u8> {
    let started = Instant::now();
    let library = cli::library(config.db.clone())?;
    cli::protect(&cli::archives([&config.archive]).database(&library))?;
    let (file, size) = if config.archive == Path::new("-") {
        let hint = "vpo-unpack-restore FILE, or: cat FILE | vpo-unpack-restore";
        (cli::binary_input("an archive", hint)?, None)
    } else {
        let file = backups::open_archive(&config.archive)?;
        let size = file.metadata().ok().map(|meta| meta.len());
        (file, size)
    };
    if Identity::of(&file).is_some_and(|archive| Identity::at(&library) == Some(archive)) {
        return Err(Kind::Usage.error(format!("'{}' is the archive itself, not a library", library.display())));
    }
    let reuse = file.try_clone().ok().and_then(|file| Reuse::of(file, Reusable::Any));
    let scratch = cli::scratch_directory();
    files::sweep(&scratch, Some(&library));
    let progress = Progress::new(config.progress, size);
    let request = Request {
        library: &library,
        input: Box::new(progress.reading(file)),
        safety_directory: config.safety_directory.as_deref(),
        current_schema: config.current_schema,
        timeout: config.timeout,
        scratch: &scratch,
        archive: Options {
            // Somebody is waiting.
            level: Level::new(1).unwrap_or_default(),
            threads: cli::cores(),
            created_at: Time::now(),
            vpo_version: cli::VPO_VERSION.into(),
            replaced: false,
            source: None,
            reuse,
        },
        threads: cli::cores(),
        dry_run: config.dry_run,
        clock: &Time::now,
    };
    let done = restore(request, |plan| {
        progress.clear();
        if config.verbose {
            cli::note("vpo-unpack-restore: the archive is whole");
        }
        cli::warn(plan);
        if config.dry_run || config.yes {
            Ok(())
        } else {
            plan.wait_until_free(config.timeout)?;
            cli::confirm(plan)
        }
    });
    progress.clear();
    let (plan, outcome) = done.map_err(|error| match kind(&error) {
        Kind::InvalidArchive if config.archive != Path::new("-") => {
            error.context(format!("'{}' is no whole backup", config.archive.display()))
        }
        _ => error,
    })?;
    if config.dry_run {
        cli::would_restore(&plan, &config.archive, config.json, config.quiet)?;
    } else {
        cli::restored(
            &plan,
            &outcome,
            &config.archive,
            started.elapsed(),
            config.json,
            config.quiet,
        )
        .and_then(|()| cli::close_output())
        .context("the library was restored, but")?;
    }
    Ok(0)
}

impl Config {
    fn parse(mut parser: lexopt::Parser) -> anyhow::Result<Self> {
        let mut config = Config {
            archive: "-".into(),
            db: None,
            yes: false,
            dry_run: false,
            safety_directory: None,
            current_schema: None,
            timeout: cli::DEFAULT_TIMEOUT,
            json: false,
            progress: false,
            quiet: false,
            verbose: false,
        };
        let mut operands = 0;
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => return Err(cli::help(USAGE)),
                Short('V') | Long("version") => return Err(cli::version("vpo-unpack-restore")),
                Long("db") => config.db = Some(cli::path(parser.value()?)),
                Short('y') | Long("yes") => config.yes = true,
                Long("dry-run") => config.dry_run = true,
                Long("safety-dir") => config.safety_directory = Some(cli::path(parser.value()?)),
                Long("current-schema") => config.current_schema = Some(cli::schema(&parser.value()?)?),
                Long("timeout") => config.timeout = cli::timeout(&parser.value()?)?,
                Long("json") => config.json = true,
                Long("progress") => config.progress = true,
                Short('q') | Long("quiet") => config.quiet = true,
                Short('v') | Long("verbose") => config.verbose = true,
                Value(archive) if operands == 0 => {
                    operands = 1;
                    config.archive = archive.into();
                }
                other => return Err(cli::unexpected(other)),
            }
        }
        if config.current_schema.is_none() {
            config.current_schema = cli::schema_variable()?;
        }
        Ok(config)
    }
}
