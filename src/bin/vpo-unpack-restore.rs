//! `vpo-unpack-restore`: an archive becomes the live library, safely.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use vpo_library::archive::{Level, Options, Resources, Reusable, Reuse};
use vpo_library::cli::{self, CommandLine, Progress};
use vpo_library::failure::{Kind, with_hint};
use vpo_library::files::Identity;
use vpo_library::library::{Request, after_commit, restore};
use vpo_library::signals::SignalGuard;
use vpo_library::time::Time;
use vpo_library::{backups, files};

const USAGE: &str = "\
usage: vpo-unpack-restore [options] [ARCHIVE]

Restores the library from a backup archive: verifies all of it, asks, and only
then replaces the library. The replaced library is kept.

examples:
  vpo-unpack-restore --dry-run library.tar.gz
  vpo-unpack-restore --db /tmp/old.db library.tar.gz
  ssh nas cat library.tar.gz | vpo-unpack-restore --yes

Without ARCHIVE, or if it is '-', the archive is read from standard input. After
any failure the library is the old one or the new one, whole.

options:
      --db PATH         the library (default: VPO_DATABASE_PATH, else
                        database_path in VPO's config.toml, else
                        ~/.vpo/library.db)
  -y, --yes             replace an existing library without asking
      --dry-run         make every check and change nothing
      --safety-dir DIR  where to keep the replaced library, as a backup
                        (default: VPO_BACKUP_DIR, else $VPO_DATA_DIR/backups,
                        else ~/.vpo/backups)
      --no-safety-backup
                        do not keep the replaced library
      --current-schema N
                        the schema of the installed VPO
      --timeout SECONDS how long to wait for a lock (default: 5)
      --json            report as one JSON document
      --progress        draw a progress bar on stderr
  -q, --quiet           no reports
  -v, --verbose         say on stderr what is done
  -h, --help            print this help
  -V, --version         print the version
";

struct Config {
    archive: PathBuf,
    db: Option<PathBuf>,
    yes: bool,
    dry_run: bool,
    safety_directory: Option<PathBuf>,
    safety_backup: bool,
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
        let hint = "name a file, or send an archive through a pipe";
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
    let safety_directory = config.safety_directory(&library)?;
    let safety_directory = safety_directory.as_deref();
    let scratch = cli::scratch_directory();
    files::sweep(&scratch, Some(&library));
    let progress = Progress::new(config.progress && !config.quiet);
    progress.begin("unpacking", size);
    let request = Request {
        library: &library,
        input: Box::new(progress.reading(file)),
        safety_directory,
        current_schema: config.current_schema,
        timeout: config.timeout,
        scratch: &scratch,
        archive: Options {
            // Somebody is waiting.
            level: Level::new(1).unwrap_or_default(),
            created_at: Time::now(),
            vpo_version: cli::VPO_VERSION.into(),
            replaced: false,
            source: None,
        },
        resources: Resources {
            threads: cli::cores(),
            reuse,
        },
        dry_run: config.dry_run,
        asks: !config.yes && !config.dry_run,
        watch: &|step| cli::watch(&progress, step),
        clock: &Time::now,
    };
    let mut guard = None;
    let done = restore(request, |plan| {
        progress.clear();
        if config.verbose {
            cli::note("vpo-unpack-restore: the archive is complete");
        }
        cli::warn(plan);
        match (config.dry_run, config.yes) {
            (true, _) => return Ok(()),
            (false, true) => {}
            (false, false) => cli::confirm(plan, &config.archive, safety_directory)?,
        }
        // What is done from here on is reported before a signal ends the program.
        guard = Some(SignalGuard::new());
        Ok(())
    });
    progress.clear();
    let (plan, outcome) = done.map_err(|error| {
        let everyday = cli::everyday(&[("--db", cli::named_library(config.db.as_deref()))]);
        cli::not_restored(error, &config.archive, &everyday)
    })?;
    if config.dry_run {
        cli::would_restore(&plan, &config.archive, config.json, config.quiet)?;
        return Ok(0);
    }
    cli::tell_restored();
    let report = cli::RestoreReport {
        source: &config.archive,
        took: started.elapsed(),
        line: config.line(),
        json: config.json,
        quiet: config.quiet,
    };
    cli::restored(&plan, &outcome, &report)
        .and_then(|()| cli::close_output())
        .map_err(|error| match cli::is_closed_pipe(&error) {
            true => error,
            false => after_commit(error),
        })?;
    Ok(0)
}

impl Config {
    /// Where the replaced library is kept.
    ///
    /// # Errors
    /// [`Kind::Usage`] if there is something to keep, and no place for it is known.
    fn safety_directory(&self, library: &Path) -> anyhow::Result<Option<PathBuf>> {
        if !self.safety_backup {
            return Ok(None);
        }
        match cli::backup_directory(self.safety_directory.clone()) {
            Ok((directory, _)) => Ok(Some(directory)),
            // A library that appears meanwhile is not replaced.
            Err(_) if library.metadata().is_err() => Ok(None),
            Err(error) => Err(with_hint(error, cli::keep_elsewhere())),
        }
    }

    /// How this program would be run again for the same library.
    fn line(&self) -> CommandLine {
        let safety_directory = match self.safety_backup {
            true => cli::named_backup_directory(self.safety_directory.as_deref()),
            false => None,
        };
        cli::this_run(
            "vpo-unpack-restore",
            "restore",
            &[
                ("--db", cli::named_library(self.db.as_deref())),
                ("--safety-dir", safety_directory),
            ],
        )
    }

    fn parse(mut parser: lexopt::Parser) -> anyhow::Result<Self> {
        let mut config = Config {
            archive: "-".into(),
            db: None,
            yes: false,
            dry_run: false,
            safety_directory: None,
            safety_backup: true,
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
                Long("no-safety-backup") => config.safety_backup = false,
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
        if !config.safety_backup && config.safety_directory.is_some() {
            return Err(Kind::Usage.error("--safety-dir contradicts --no-safety-backup"));
        }
        if config.current_schema.is_none() {
            config.current_schema = cli::schema_variable()?;
        }
        Ok(config)
    }
}
