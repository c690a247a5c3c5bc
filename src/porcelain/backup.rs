//! `vpo-library backup`: `vpo-snapshot | vpo-pack`, into a file that gets its name when it is complete.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;

use super::pipeline::{Ends, Program, read_from, run};
use super::{CommonOptions, Log};
use crate::archive::{Level, Metadata, Reusable, Reuse, TailMetadata, read_tail};
use crate::backups::{Destination, candidates, estimate, reusable};
use crate::cli::{self, Reported};
use crate::database::{Facts, Source, WAL, side_file};
use crate::failure::Kind;
use crate::files::{
    Identity, Inputs, NewFile, create_directory, free_space, parent, require_place, require_space, sweep,
};
use crate::library::find;
use crate::size::{grouped, human};
use crate::time::Time;

/// The options of `backup`.
#[derive(Clone, Debug, Default)]
pub struct BackupOptions {
    /// `-o`: a file, a directory, or `-`
    pub output: Option<PathBuf>,
    /// `--dry-run`
    pub dry_run: bool,
    /// `--verify`
    pub verify: bool,
    /// `--no-check`
    pub no_check: bool,
    /// `-l`
    pub level: Level,
    /// `--no-reuse`
    pub no_reuse: bool,
    /// The level as it was given, to be passed on.
    pub level_option: Option<OsString>,
}

/// Makes a backup, or in a dry run says what it would be.
pub fn backup(common: &CommonOptions, options: &BackupOptions, log: &mut Log) -> anyhow::Result<u8> {
    let library = common.library();
    let output = options.output.as_deref().filter(|output| *output != Path::new("-"));
    let inputs = common.inputs(&[]);
    let made = match (output, &options.output) {
        (Some(output), _) => Inputs::default().file(output),
        (None, Some(_)) => Inputs::default().open(io::stdout(), "standard output"),
        (None, None) => Inputs::default(),
    };
    log.protect(&inputs, &made)?;
    if let Some(output) = output {
        inputs.refuse(Identity::at(output), &format!("--output '{}'", output.display()))?;
    }
    let library = library?;
    log.library(&library);
    let library = find(&library)?;
    log.library(&library);
    let time = Time::now();
    if options.output.as_deref() == Some(Path::new("-")) {
        cli::binary_output("an archive", &common.line().arg("backup").after("to write a file"))?;
        // The program gets ours: if it had a copy and this one were closed here, nobody would see an error of closing.
        let earlier = earlier(common, options, &library);
        run_pipeline(common, options, &library, time, earlier.as_ref(), None)?;
        return Ok(0);
    }
    let destination = destination(common, options)?;
    if options.dry_run {
        return dry_run(common, options, &library, &destination, time);
    }
    let directory = destination.directory().to_owned();
    sweep(&directory, Some(&library));
    let shown = directory.display();
    let file = NewFile::create(&directory).with_context(|| format!("cannot create a file in '{shown}'"))?;
    require_room(common, options, &library, &directory)?;
    let output = file.file().try_clone().context("cannot write the archive")?;
    let earlier = earlier(common, options, &library);
    run_pipeline(common, options, &library, time, earlier.as_ref(), Some(output))?;
    if options.verify {
        read_back(common, file.file())?;
    }
    let archive_size = file.file().metadata().context("cannot look at the archive")?.len();
    let TailMetadata::Blocks(metadata) = read_tail(file.file(), archive_size)? else {
        return Err(Kind::InvalidArchive.error("the archive that was just made is not valid"));
    };
    let made = Made {
        archive_size,
        blocks: blocks(file.file(), earlier),
        metadata: *metadata,
    };
    // From here on it exists, and must be reported.
    log.hold();
    let published = match &destination {
        Destination::File(path) => file.publish([path.clone()]),
        Destination::Directory(directory) => file.publish(candidates(directory, time, false)),
    };
    let path = published.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Kind::Failed.error("the name of the backup is already taken"),
        _ => anyhow::Error::new(error).context(format!("cannot put the backup in place in '{shown}'")),
    })?;
    log.backup(&path);
    log.archive(archive_size, &made.metadata);
    log.blocks(made.blocks);
    report(common, options, &path, &made, log)?;
    Ok(0)
}

/// An archive that was made.
struct Made {
    archive_size: u64,
    metadata: Metadata,
    /// How many blocks it has, and how many of them came from the earlier archive.
    blocks: (u32, u32),
}

/// The archive whose unchanged blocks the new one copies. If a level is given, everything is compressed at that level.
fn earlier(common: &CommonOptions, options: &BackupOptions, library: &Path) -> Option<(PathBuf, Reuse)> {
    if options.no_reuse || options.level_option.is_some() {
        return None;
    }
    let directory = common.backup_directory().ok()?;
    let directory = std::path::absolute(directory).ok()?;
    let source = Source::of(library);
    reusable(&directory, options.level, cli::VPO_VERSION, source.as_ref())
}

/// Counts the blocks of the new archive, and those among them that are the earlier one's. vpo-pack gives the same bytes
/// with and without it, so those are what it copied.
fn blocks(file: &File, earlier: Option<(PathBuf, Reuse)>) -> (u32, u32) {
    let file = file.try_clone().ok();
    let new = file.and_then(|file| Reuse::of(file, Reusable::Same));
    new.map_or((0, 0), |new| new.shared_with(earlier.map(|(_, earlier)| earlier)))
}

/// Where the backup goes; its directory is created if missing.
fn destination(common: &CommonOptions, options: &BackupOptions) -> anyhow::Result<Destination> {
    let create = |directory: &Path| {
        let shown = directory.display().to_string();
        let created = create_directory(directory).with_context(|| format!("cannot create the directory '{shown}'"))?;
        created.keep();
        anyhow::Ok(())
    };
    let Some(output) = &options.output else {
        let directory = common.backup_directory()?;
        if !options.dry_run {
            create(&directory)?;
        }
        return Ok(Destination::Directory(directory));
    };
    if output.as_os_str().as_bytes().ends_with(b"/") {
        if !options.dry_run {
            create(output)?;
        }
        return Ok(Destination::Directory(output.clone()));
    }
    let file = output.to_string_lossy().ends_with(".tar.gz");
    if file && !options.dry_run && !output.is_dir() {
        create(parent(output))?;
    }
    if file && options.dry_run && !parent(output).is_dir() {
        return Ok(Destination::File(output.clone()));
    }
    Destination::parse(output)
}

fn run_pipeline(
    common: &CommonOptions,
    options: &BackupOptions,
    library: &Path,
    time: Time,
    earlier: Option<&(PathBuf, Reuse)>,
    output: Option<File>,
) -> anyhow::Result<()> {
    let (facts_out, facts_in) = {
        let (reader, writer) = io::pipe().context("cannot make a pipe")?;
        (writer.into(), reader.into())
    };
    let mut snapshot = common.timeout_option();
    if options.no_check {
        snapshot.push("--no-check".into());
    }
    if common.progress() {
        snapshot.push("--progress".into());
    }
    if common.verbose {
        snapshot.push("--verbose".into());
    }
    let mut pack: Vec<OsString> = vec!["--created-at".into(), time.to_string().into()];
    if let Some(level) = &options.level_option {
        pack.extend(["--level".into(), level.clone()]);
    }
    if let Some((path, _)) = earlier {
        pack.extend(["--reuse".into(), path.into()]);
    }
    if common.verbose {
        pack.push("--verbose".into());
    }
    let programs = vec![
        Program::new("vpo-snapshot", snapshot)
            .with_descriptor("--stats", facts_out)
            .operands([library.to_owned()]),
        Program::new("vpo-pack", pack).with_descriptor("--stats", facts_in),
    ];
    let ends = Ends {
        output,
        capture: !common.progress(),
        ..Ends::default()
    };
    run(programs, ends, &common.line(), common.verbose).result
}

/// Runs `vpo-verify` on the archive before it gets its name.
fn read_back(common: &CommonOptions, mut file: &File) -> anyhow::Result<()> {
    file.seek(SeekFrom::Start(0)).context("cannot read the archive back")?;
    let input = Some(file.try_clone().context("cannot read the archive back")?);
    let program = Program::new("vpo-verify", ["--quiet".into()]);
    let ends = Ends {
        input,
        capture: true,
        // It would name standard input.
        untold: true,
        ..Ends::default()
    };
    let progress = cli::Progress::new(common.progress());
    progress.begin("reading the archive back", None);
    let verified = run(vec![program], ends, &common.line(), common.verbose).result;
    progress.clear();
    verified.map_err(|error| match error.downcast::<Reported>() {
        Ok(reported) => reported.as_own("the archive that was just written can't be verified"),
        Err(error) => error,
    })
}

/// Twice the estimated archive must fit. If the complete database fits twice, nothing needs to be estimated.
fn require_room(
    common: &CommonOptions,
    options: &BackupOptions,
    library: &Path,
    directory: &Path,
) -> anyhow::Result<()> {
    let size = |path: &Path| path.metadata().map_or(0, |meta| meta.len());
    let most = size(library).saturating_add(size(&side_file(library, WAL)));
    if free_space(directory)? >= most.saturating_mul(2) {
        return Ok(());
    }
    let (_, estimated) = look(common, options, library)?;
    require_space(directory, estimated.saturating_mul(2))
}

/// The facts of the library, and the estimated size of its archive.
fn look(common: &CommonOptions, options: &BackupOptions, library: &Path) -> anyhow::Result<(Facts, u64)> {
    let (facts_in, facts_out) = io::pipe().context("cannot make a pipe")?;
    let mut snapshot = common.timeout_option();
    snapshot.push("--no-check".into());
    let program = Program::new("vpo-snapshot", snapshot)
        .with_descriptor("--stats", facts_out.into())
        .operands([library.to_owned()]);
    let ends = Ends {
        capture: true,
        ..Ends::default()
    };
    let level = options.level;
    let look = move |mut pages: PipeReader| {
        // Not to its end: the program has it open for as long as it runs.
        let facts = Facts::deserialize(&mut serde_json::Deserializer::from_reader(facts_in))?;
        let page_size = u64::from(facts.page_size);
        let mut passed = 0;
        let estimated = estimate(&facts, level, |range, sample| {
            io::copy(
                &mut (&mut pages).take((range.start - passed) * page_size),
                &mut io::sink(),
            )?;
            (&mut pages)
                .take((range.end - range.start) * page_size)
                .read_to_end(sample)?;
            passed = range.end;
            Ok(())
        })?;
        // Else the program would end by a closed pipe.
        io::copy(&mut pages, &mut io::sink())?;
        anyhow::Ok((facts, estimated))
    };
    let (looked, result) = read_from(program, ends, &common.line(), common.verbose, look)?;
    result?;
    looked.context("cannot read what vpo-snapshot writes")
}

fn dry_run(
    common: &CommonOptions,
    options: &BackupOptions,
    library: &Path,
    destination: &Destination,
    time: Time,
) -> anyhow::Result<u8> {
    // What a real backup would meet before it reads anything, and after.
    require_place(destination.directory(), 0)?;
    let (facts, estimated) = look(common, options, library)?;
    require_place(destination.directory(), estimated.saturating_mul(2))?;
    let output = match destination {
        Destination::File(path) => path.clone(),
        Destination::Directory(directory) => candidates(directory, time, false)
            .find(|path| path.symlink_metadata().is_err())
            .ok_or_else(|| Kind::Failed.error("the name of the backup is already taken"))?,
    };
    let (min, max) = (estimated - estimated / 10, estimated + estimated / 10);
    if common.json {
        cli::print_json(&json!({
            "dry_run": true,
            "database_path": library.to_string_lossy(),
            "database_size_bytes": facts.database_size_bytes,
            "output_path": output.to_string_lossy(),
            "estimated_archive_min_bytes": min,
            "estimated_archive_max_bytes": max,
            "file_count": facts.file_count,
            "schema_version": facts.schema_version,
        }))?;
    } else if !common.quiet {
        cli::print(&format!(
            "Would create backup: {}\n  Database: {} ({})\n  Estimated archive size: {} to {}\n  \
             Files in library: {}\n  Schema version: {}\n",
            cli::escape_path(&output),
            cli::escape_path(library),
            human(facts.database_size_bytes),
            human(min),
            human(max),
            grouped(facts.file_count),
            facts.schema_version
        ))?;
    }
    Ok(0)
}

fn report(common: &CommonOptions, options: &BackupOptions, path: &Path, made: &Made, log: &Log) -> anyhow::Result<()> {
    let Made {
        archive_size,
        metadata,
        blocks: (blocks, reused),
    } = made;
    let database_size = metadata.database_size_bytes;
    let saved = 1.0 - *archive_size as f64 / database_size as f64;
    if common.json {
        return cli::print_json(&json!({
            "success": true,
            "path": path.to_string_lossy(),
            "archive_size_bytes": archive_size,
            "database_size_bytes": database_size,
            "compression_ratio": (saved * 1000.0).round() / 1000.0,
            "file_count": metadata.file_count,
            "schema_version": metadata.schema_version,
            "created_at": metadata.created_at,
            "database_sha256": metadata.database_sha256,
            "duration_seconds": cli::seconds(log.started().elapsed()),
            "verified": options.verify,
            "blocks": blocks,
            "blocks_reused": reused,
        }));
    }
    if common.quiet {
        return Ok(());
    }
    let smaller = if saved >= 0.0 {
        format!("{:.0}% smaller", saved * 100.0)
    } else {
        format!("{:.0}% larger", -saved * 100.0)
    };
    let verified = if options.verify {
        "  Verified: every byte was read back\n"
    } else {
        ""
    };
    let reused = match reused {
        0 => String::new(),
        _ => format!(
            "  Reused: {} of {} blocks\n",
            grouped((*reused).into()),
            grouped((*blocks).into())
        ),
    };
    cli::print(&format!(
        "Backup created: {}\n  Database size: {}\n  Archive size:  {} ({smaller})\n  Files in library: {}\n{reused}{verified}",
        cli::escape_path(path),
        human(database_size),
        human(*archive_size),
        grouped(metadata.file_count)
    ))
}
