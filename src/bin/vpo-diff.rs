//! `vpo-diff`: which files two backups, or a backup and the library, know differently.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;
use vpo_library::cli::{self, DiffFormat, DiffReport};
use vpo_library::failure::{Kind, kind};
use vpo_library::files;
use vpo_library::library::{Comparison, Counts, DiffError, Opened, Operand, TableRows, tables};

const USAGE: &str = "\
usage: vpo-diff [options] OLD NEW

Compares two backups, or a backup and the library: prints each file that only
NEW knows (A), that only OLD knows (D), or that they know differently (M).

examples:
  vpo-diff x.tar.gz ~/.vpo/library.db
  vpo-diff --stat monday.tar.gz tuesday.tar.gz
  ssh nas cat x.tar.gz | vpo-diff - ~/.vpo/library.db

OLD and NEW are backup archives, which are verified, or databases, including
that of a library in use; '-' is an archive on standard input. One line is
printed for each file, ordered by path.

options:
      --stat            print only the counts, and the rows of other tables
  -0, --null            end each path with a NUL, and do not escape it
      --json            report as one JSON document
  -q, --quiet           no report, only the exit status
  -v, --verbose         say on stderr what is read
  -h, --help            print this help
  -V, --version         print the version

exit status: 0 no difference, 1 differences, 2 and above a failure
";

struct Config {
    old: PathBuf,
    new: PathBuf,
    format: DiffFormat,
    quiet: bool,
    verbose: bool,
}

fn main() -> ExitCode {
    cli::main("vpo-diff", USAGE, |parser| {
        let config = Config::parse(parser)?;
        // 1 says that there are differences.
        run(&config).map_err(|error| match kind(&error) {
            Kind::Declined => Kind::Failed.because("cannot compare").source(error).into(),
            _ => error,
        })
    })
}

fn run(config: &Config) -> anyhow::Result<u8> {
    let scratch = cli::scratch_directory();
    files::sweep(&scratch, None);
    let inputs = cli::archives([&config.old, &config.new]);
    cli::protect(&inputs.database(&config.old).database(&config.new))?;
    let (old, new) = (operand(config, &config.old)?, operand(config, &config.new)?);
    let opened = Opened::both(old, new, &scratch, cli::DEFAULT_TIMEOUT, cli::cores());
    let (old, new) = opened.map_err(cli::with_scratch_named)?;
    let mut report = DiffReport::new(config.format)?;
    let compared = compare(config, &old, &new, &mut report).map_err(|error| match error {
        DiffError::Old(error) => old.explain(error),
        DiffError::New(error) => new.explain(error),
        DiffError::Sink(error) => error,
    });
    // Before the rest of the report goes to a reader who may be slow.
    let closed = old.close().and(new.close());
    match compared.and_then(|compared| closed.map(|()| compared)) {
        Ok((counts, tables)) => {
            report.finish(counts, &tables)?;
            Ok(u8::from(!counts.is_none()))
        }
        Err(error) => Err(report.broken_off(error)),
    }
}

fn operand(config: &Config, path: &Path) -> anyhow::Result<Operand> {
    if config.verbose {
        cli::note(&format!("vpo-diff: reading '{}'", path.display()));
    }
    if path == "-" {
        let hint = "name a file, or send an archive through a pipe";
        let input = cli::binary_input("an archive", hint)?;
        return Ok(Operand::archive("standard input", input));
    }
    Operand::look(path)
}

fn compare(
    config: &Config,
    old: &Opened,
    new: &Opened,
    report: &mut DiffReport,
) -> Result<(Counts, Vec<TableRows>), DiffError> {
    let (old, new) = (old.connection(), new.connection());
    let comparison = Comparison::new(old, new)?;
    if !config.quiet {
        cli::note_left_out(comparison.left_out());
    }
    let counts = comparison.run(|status, path| {
        report.file(status, path)?;
        Ok(match config.format.is_quiet() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })?;
    let tables = match config.format.has_tables() {
        true => tables(old, new)?,
        false => Vec::new(),
    };
    Ok((counts, tables))
}

impl Config {
    fn parse(mut parser: lexopt::Parser) -> anyhow::Result<Self> {
        let (mut stat, mut null, mut json, mut quiet, mut verbose) = (false, false, false, false, false);
        let mut operands: Vec<PathBuf> = Vec::new();
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => return Err(cli::help(USAGE)),
                Short('V') | Long("version") => return Err(cli::version("vpo-diff")),
                Long("stat") => stat = true,
                Short('0') | Long("null") => null = true,
                Long("json") => json = true,
                Short('q') | Long("quiet") => quiet = true,
                Short('v') | Long("verbose") => verbose = true,
                Value(operand) if operands.len() < 2 => operands.push(operand.into()),
                other => return Err(cli::unexpected(other)),
            }
        }
        let format = match (json, null, stat, quiet) {
            (true, true, ..) => return Err(Kind::Usage.error("--json contradicts --null")),
            (_, true, true, _) => return Err(Kind::Usage.error("--stat contradicts --null")),
            (true, false, true, _) => DiffFormat::JsonStat,
            (true, false, false, _) => DiffFormat::Json,
            (false, _, _, true) => DiffFormat::Quiet,
            (false, false, true, false) => DiffFormat::Stat,
            (false, true, false, false) => DiffFormat::Null,
            (false, false, false, false) => DiffFormat::Lines,
        };
        let Ok([old, new]) = <[PathBuf; 2]>::try_from(operands) else {
            return Err(Kind::Usage.error("two operands are needed: OLD and NEW"));
        };
        if old == Path::new("-") && new == Path::new("-") {
            return Err(Kind::Usage.error("only one of the two can come from standard input"));
        }
        Ok(Config {
            old,
            new,
            format,
            quiet,
            verbose,
        })
    }
}
