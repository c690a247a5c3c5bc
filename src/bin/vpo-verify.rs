//! `vpo-verify`: proves that archives are whole, and stores one only if it is.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;
use vpo_library::archive::Contents;
use vpo_library::backups::{self, Destination};
use vpo_library::cli::{self, Progress, VerifyReport};
use vpo_library::database::Problem;
use vpo_library::failure::{Kind, kind};
use vpo_library::files::{self, Identity};

const HINT: &str = "name a file, or send an archive through a pipe";

const USAGE: &str = "\
usage: vpo-verify [options] [ARCHIVE|DIRECTORY]...

Proves that backup archives are whole: reads and checks every byte, and has
SQLite check the database inside.

examples:
  vpo-verify ~/.vpo/backups
  ssh nas cat library.tar.gz | vpo-verify
  vpo-snapshot | vpo-pack | ssh nas vpo-verify --save backups/

Without operands, or for '-', the archive is read from standard input. A
directory stands for every backup in it. Each line of the report begins with
'ok'; with 'bad' for what is not a complete backup; or with '??' for what could
not be looked at.

options:
      --save DEST       keep the archive from standard input, only if it is
                        valid: as DEST, or in the directory DEST
      --full            also check indexes against tables, and references: what
                        is found was already so in the library
      --no-database-check
                        check only the archive, without unpacking the database
      --json            report as one JSON document
      --progress        draw a progress bar on stderr
  -q, --quiet           report only what is bad, on stderr
  -v, --verbose         say on stderr what is being read
  -h, --help            print this help
  -V, --version         print the version

exit status: 0 all are whole, 46 one is bad, 20 one does not exist,
40 or 44 one could not be looked at, 1 --full found something
";

struct Config {
    operands: Vec<PathBuf>,
    save: Option<Destination>,
    database_check: bool,
    full: bool,
    json: bool,
    progress: bool,
    quiet: bool,
    verbose: bool,
}

fn main() -> ExitCode {
    cli::main("vpo-verify", USAGE, |parser| run(&Config::parse(parser)?))
}

fn run(config: &Config) -> anyhow::Result<u8> {
    let mut report = VerifyReport::new(config.json, config.quiet);
    let progress = Progress::new(config.progress && !config.quiet);
    if let Some(destination) = &config.save {
        let input = cli::binary_input("an archive", HINT)?;
        progress.begin("verifying", None);
        let input = progress.reading(input);
        let stdin = Path::new("-");
        let mut problems = None;
        let saved = backups::save(input, destination, |input| {
            check(config, input, &mut problems, || {
                progress.begin("checking the database", None)
            })
        });
        progress.clear();
        match saved {
            Ok((path, contents)) => report.good(stdin, contents, Some(&path), problems)?,
            Err(error) if kind(&error) == Kind::InvalidArchive => report.bad(stdin, &error)?,
            Err(error) => return Err(error),
        }
        return report.finish();
    }
    let operands: Vec<_> = (config.operands.iter())
        .map(|operand| (operand, backups::named(operand)))
        .collect();
    let all = || operands.iter().filter_map(|(_, named)| named.as_ref().ok());
    let count: usize = all().map(|(paths, _)| paths.len()).sum();
    let total = all().flat_map(|(paths, _)| paths).map(|path| size(path)).sum();
    progress.begin("verifying", total);
    let mut number = 0;
    for (operand, named) in operands {
        match named {
            Ok((paths, open)) => {
                for path in &paths {
                    number += 1;
                    let place = if count > 1 { Some((number, count)) } else { None };
                    verify(config, path, open, &mut report, &progress, place)?;
                }
            }
            Err(error) => {
                progress.clear();
                report.bad(operand, &error)?;
            }
        }
    }
    report.finish()
}

/// The bytes that are going to be read of an archive, as far as that is known before.
fn size(path: &Path) -> Option<u64> {
    match path.metadata() {
        Ok(meta) if path != "-" => meta.is_file().then_some(meta.len()),
        // There is nothing to read.
        Err(_) if path != "-" => Some(0),
        _ => None,
    }
}

/// Verifies one archive. `place` is which one it is, of how many.
fn verify(
    config: &Config,
    path: &Path,
    open: backups::Open,
    report: &mut VerifyReport,
    progress: &Progress,
    place: Option<(usize, usize)>,
) -> anyhow::Result<()> {
    if config.verbose {
        cli::note(&format!("vpo-verify: reading '{}'", path.display()));
    }
    // If the input is a terminal, that is the caller's fault, not an archive's.
    let input = match path == "-" {
        true => Ok(cli::binary_input("an archive", HINT)?),
        false => open(path),
    };
    let (verifying, checking) = match place {
        Some((number, count)) => (
            format!("verifying {number} of {count}"),
            format!("checking  {number} of {count}"),
        ),
        None => ("verifying".into(), "checking the database".into()),
    };
    progress.say(&verifying);
    let mut problems = None;
    let checked = input.and_then(|file| {
        let input = Box::new(progress.reading(file));
        check(config, input, &mut problems, || progress.say(&checking))
    });
    progress.clear();
    match checked {
        Ok(contents) => report.good(path, contents, None, problems),
        Err(error) => report.bad(path, &error),
    }
}

/// Checks an archive; `problems` receives what a full check found. When all is read, `unpacked` is called.
fn check(
    config: &Config,
    input: Box<dyn Read>,
    problems: &mut Option<Vec<Problem>>,
    unpacked: impl FnOnce(),
) -> anyhow::Result<Contents> {
    if !config.database_check {
        return backups::check_archive(input, cli::cores());
    }
    let scratch = cli::scratch_directory();
    files::sweep(&scratch, None);
    let staged = backups::stage(input, &scratch, 0, cli::cores()).map_err(cli::with_scratch_named)?;
    unpacked();
    staged.check()?;
    if config.full {
        *problems = Some(staged.problems()?);
    }
    Ok(staged.contents)
}

impl Config {
    fn parse(mut parser: lexopt::Parser) -> anyhow::Result<Self> {
        let mut config = Config {
            operands: Vec::new(),
            save: None,
            database_check: true,
            full: false,
            json: false,
            progress: false,
            quiet: false,
            verbose: false,
        };
        let mut save: Option<PathBuf> = None;
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => return Err(cli::help(USAGE)),
                Short('V') | Long("version") => return Err(cli::version("vpo-verify")),
                Long("save") => save = Some(cli::path(parser.value()?)),
                Long("full") => config.full = true,
                Long("no-database-check") => config.database_check = false,
                Long("json") => config.json = true,
                Long("progress") => config.progress = true,
                Short('q') | Long("quiet") => config.quiet = true,
                Short('v') | Long("verbose") => config.verbose = true,
                Value(operand) => config.operands.push(operand.into()),
                other => return Err(cli::unexpected(other)),
            }
        }
        if config.operands.is_empty() {
            config.operands.push("-".into());
        }
        if config.full && !config.database_check {
            return Err(Kind::Usage.error("--full contradicts --no-database-check"));
        }
        let inputs = cli::archives(&config.operands);
        cli::protect(&inputs)?;
        if let Some(save) = save {
            if config.operands != [Path::new("-")] {
                return Err(Kind::Usage.error("--save takes the archive from standard input, not from an operand"));
            }
            inputs.refuse(Identity::at(&save), &format!("--save '{}'", save.display()))?;
            config.save = Some(Destination::parse(&save)?);
        }
        Ok(config)
    }
}
