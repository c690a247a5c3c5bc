//! `vpo-pack`: a database on standard input becomes a backup archive on standard output.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use lexopt::prelude::*;
use vpo_library::archive::{Level, Options, Resources, Reusable, Reuse, Written};
use vpo_library::cli::{self, CommandLine, Progress};
use vpo_library::failure::Kind;
use vpo_library::files::{self, Identity, Inputs, Writeback};
use vpo_library::time::Time;
use vpo_library::{backups, size};

const USAGE: &str = "\
usage: vpo-pack [options] < DATABASE > ARCHIVE

Makes a backup archive from a VPO library's database.

examples:
  vpo-snapshot | vpo-pack > library.tar.gz
  ssh nas vpo-snapshot | vpo-pack -l 9 | vpo-verify --save backups/

The input is a complete SQLite database, from vpo-snapshot or from a file that
nobody is writing to.

options:
  -l, --level N         compression level, 0 (none) to 12 (default: 6)
  -t, --threads N       number of compression threads (default: one per core)
      --stats FILE      facts about the database, from vpo-snapshot --stats;
                        without it, a pipe is copied to TMPDIR to find them
      --reuse ARCHIVE   copy unchanged blocks from this earlier archive: faster,
                        and otherwise the same
      --source HOST:PATH
                        the library that was read, if --stats does not say
      --created-at TIME time of the backup, RFC 3339 (default: now)
      --vpo-version V   version to write into the metadata
      --progress        draw a progress bar on stderr
  -q, --quiet           no reports
  -v, --verbose         say on stderr what was packed
  -h, --help            print this help
  -V, --version         print the version
";

struct Config {
    options: Options,
    threads: Option<NonZero<usize>>,
    stats: Option<PathBuf>,
    reuse: Option<PathBuf>,
    verbose: bool,
    progress: bool,
}

fn main() -> ExitCode {
    cli::main("vpo-pack", USAGE, |parser| {
        let config = Config::parse(parser)?;
        run(config)
    })
}

fn run(config: Config) -> anyhow::Result<u8> {
    let backup = CommandLine::sibling("vpo-snapshot").pipe(cli::packed_here());
    let hint = backup.after("to make a backup in this directory");
    let input = cli::binary_input("a database", &hint)?;
    let output = cli::binary_output("an archive", &hint)?;
    let mut inputs = Inputs::default().open(&input, "standard input");
    for file in [&config.stats, &config.reuse].into_iter().flatten() {
        inputs = inputs.file(file);
    }
    inputs.refuse(Identity::of(&output), "standard output")?;
    let earlier = config.reuse.as_deref();
    let resources = Resources {
        threads: config.threads.unwrap_or_else(cli::cores),
        reuse: earlier.and_then(|earlier| Reuse::open(earlier, Reusable::Same)),
    };
    let mut output = Writeback::new(output);
    let scratch = cli::scratch_directory();
    files::sweep(&scratch, None);
    let stats = config.stats.as_deref();
    let progress = Progress::new(config.progress);
    let mut begun = false;
    let watch = |total, bytes| {
        if !std::mem::replace(&mut begun, true) {
            progress.begin("packing", Some(total));
        }
        progress.add(bytes);
    };
    let packed = backups::pack(&input, stats, &scratch, &mut output, config.options, resources, watch);
    progress.clear();
    let Written {
        metadata,
        blocks,
        blocks_reused,
    } = packed.map_err(|error| cli::advise(cli::with_scratch_named(error), &cli::everyday(&[])))?;
    output.close().context("cannot write the archive")?;
    if config.verbose {
        cli::note(&format!(
            "vpo-pack: packed {} of schema {} with {} files, sha256 {}",
            size::human(metadata.database_size_bytes),
            metadata.schema_version,
            size::grouped(metadata.file_count),
            metadata.database_sha256.unwrap_or_default()
        ));
        if config.reuse.is_some() {
            let (reused, blocks) = (size::grouped(blocks_reused.into()), size::grouped(blocks.into()));
            cli::note(&format!("vpo-pack: reused {reused} of {blocks} blocks"));
        }
    }
    Ok(0)
}

impl Config {
    fn parse(mut parser: lexopt::Parser) -> anyhow::Result<Self> {
        let mut level = Level::default();
        let mut threads = None;
        let mut stats = None;
        let (mut source, mut reuse) = (None, None);
        let mut created_at = None;
        let mut vpo_version = cli::VPO_VERSION.to_owned();
        let (mut verbose, mut quiet, mut progress) = (false, false, false);
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => return Err(cli::help(USAGE)),
                Short('V') | Long("version") => return Err(cli::version("vpo-pack")),
                Short('l') | Long("level") => level = cli::level(&parser.value()?)?,
                Short('t') | Long("threads") => {
                    threads = NonZero::new(cli::number("--threads", &parser.value()?, 1..=1024)? as usize);
                }
                Long("stats") => stats = Some(cli::path(parser.value()?)),
                Long("reuse") => reuse = Some(cli::path(parser.value()?)),
                Long("source") => source = Some(cli::source(&parser.value()?)?),
                Long("created-at") => {
                    let text = parser.value()?.string()?;
                    created_at = Some(text.parse().map_err(|what: String| Kind::Usage.error(what))?);
                }
                Long("vpo-version") => vpo_version = parser.value()?.string()?,
                Long("progress") => progress = true,
                Short('q') | Long("quiet") => quiet = true,
                Short('v') | Long("verbose") => verbose = true,
                other => return Err(cli::unexpected(other)),
            }
        }
        if vpo_version.len() > 4096 {
            return Err(Kind::Usage.error("--vpo-version is longer than 4096 bytes"));
        }
        Ok(Config {
            options: Options {
                level,
                created_at: created_at.unwrap_or_else(Time::now),
                vpo_version,
                replaced: false,
                source,
            },
            threads,
            stats,
            reuse,
            verbose: verbose && !quiet,
            progress: progress && !quiet,
        })
    }
}
