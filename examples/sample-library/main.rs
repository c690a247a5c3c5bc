//! `cargo run --release --example sample-library -- --size 500M library.db`: a VPO library to try things on.

mod generate;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use generate::{AutoVacuum, Day, Journal, Sample, Size};
use lexopt::prelude::*;

const HELP: &str = "\
sample-library: write a sample VPO library, filled with invented media files

usage: sample-library [OPTION]... FILE
       sample-library --new N --changed N [--seed N] FILE

FILE must not exist. The same options give the same bytes. With --new or
--changed, a day goes by in the library FILE instead.

  --size SIZE       length of the database, about; K, M or G may follow
  --files N         number of media files instead (default 100; 0: no rows)
  --seed N          another library of the same kind (default 1)
  --page-size N     512, 1024, 2048, 4096, ... 65536 (default 4096)
  --journal MODE    wal or delete (default wal)
  --auto-vacuum A   none, full or incremental (default none)
  --schema N        schema version in _meta (default 27)
  --new N           add N media files to FILE
  --changed N       replace N of those that FILE knows, and scan them again
  -h, --help        show this help

examples:
  sample-library --size 500M library.db
  sample-library --files 0 --journal delete empty.db
  sample-library --new 20 --changed 20 --seed 2 library.db
";

fn main() -> ExitCode {
    let (sample, day, path) = match parse() {
        Ok(Some(job)) => job,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&error.to_string(), 2),
    };
    let name = path.display();
    if let Some(day) = day {
        return match generate::live(day, &path) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("can't change \"{name}\": {error}"), 40),
        };
    }
    match generate::write(&sample, &path) {
        Ok(facts) => {
            let (files, bytes) = (facts.file_count, facts.database_size_bytes);
            println!("{name}: {files} files, {bytes} bytes");
            ExitCode::SUCCESS
        }
        Err(error) if error.kind() == ErrorKind::InvalidInput => fail(&error.to_string(), 2),
        Err(error) => fail(&format!("can't write \"{name}\": {error}"), 40),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    eprintln!("sample-library: {message}");
    ExitCode::from(code)
}

/// What to write and where; None when help was asked for.
fn parse() -> anyhow::Result<Option<(Sample, Option<Day>, PathBuf)>> {
    let (mut sample, mut size, mut path) = (Sample::default(), None, None);
    let (mut new, mut changed) = (None, None);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("size" | "files") if size.is_some() => {
                bail!("give one size, as --size or as --files")
            }
            Long("size") => size = Some(Size::Bytes(args.value()?.parse_with(bytes)?)),
            Long("files") => size = Some(Size::Files(args.value()?.parse()?)),
            Long("new") => new = Some(args.value()?.parse()?),
            Long("changed") => changed = Some(args.value()?.parse()?),
            Long("seed") => sample.seed = args.value()?.parse()?,
            Long("page-size") => sample.page_size = args.value()?.parse()?,
            Long("schema") => sample.schema_version = args.value()?.parse()?,
            Long("journal") => {
                sample.journal = match args.value()?.string()?.as_str() {
                    "wal" => Journal::Wal,
                    "delete" => Journal::Delete,
                    other => bail!("--journal is wal or delete, not \"{other}\""),
                }
            }
            Long("auto-vacuum") => {
                sample.auto_vacuum = match args.value()?.string()?.as_str() {
                    "none" => AutoVacuum::None,
                    "full" => AutoVacuum::Full,
                    "incremental" => AutoVacuum::Incremental,
                    other => bail!("--auto-vacuum is none, full or incremental, not \"{other}\""),
                }
            }
            Short('h') | Long("help") => return Ok(None),
            Value(value) if path.is_none() => path = Some(PathBuf::from(value)),
            _ => return Err(arg.unexpected().into()),
        }
    }
    sample.size = size.unwrap_or(sample.size);
    let day = (new.is_some() || changed.is_some()).then(|| Day {
        seed: sample.seed,
        new: new.unwrap_or(0),
        changed: changed.unwrap_or(0),
    });
    if day.is_some() && size.is_some() {
        bail!("--new and --changed are for a library that is there: give no size")
    }
    Ok(Some((sample, day, path.context("FILE is missing")?)))
}

/// `500M`: a number of bytes, or of KiB, MiB or GiB.
fn bytes(text: &str) -> anyhow::Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        other => bail!("\"{other}\" is none of K, M and G"),
    };
    digits.parse::<u64>()?.checked_mul(unit).context("too large")
}
