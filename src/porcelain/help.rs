//! The help texts of `vpo-library`: one for each command, and one for all together.

/// The help of a command.
pub struct Help {
    /// Its name.
    pub name: &'static str,
    operands: &'static str,
    /// One line for the list of commands.
    summary: &'static str,
    /// What it does, before the examples.
    about: &'static str,
    examples: &'static str,
    /// What to know before the options; it may be empty.
    details: &'static str,
    options: &'static str,
}

/// What each command understands.
pub static COMMANDS: [Help; 6] = [
    Help {
        name: "backup",
        operands: "",
        summary: "make a backup of the library",
        about: "\
Makes a backup of the library, while others read and write it.
",
        examples: "  vpo-library backup
  vpo-library backup --verify -o /mnt/disk/
  vpo-library backup -o - | ssh nas vpo-verify --save backups/
",
        details: "\
A backup that fails or is killed leaves nothing behind, and no existing file is
overwritten.
",
        options: "  -o, --output FILE     write it to FILE, into a directory (DIR/ is created if
                        missing), or '-' for stdout
  -l, --level N         compression level, 0 to 12 (default: 6)
      --no-check        do not check the library for damage meanwhile
      --no-reuse        copy nothing from the last backup: compress all of it
      --verify          read the finished file back before it gets its name
      --dry-run         show what the backup would be, and write nothing
",
    },
    Help {
        name: "restore",
        operands: " [BACKUP]",
        summary: "restore the library from a backup",
        about: "\
Verifies a backup, asks, and replaces the library with it.
",
        examples: "  vpo-library restore
  vpo-library restore latest
  vpo-library restore --dry-run 2026-02-05
  ssh nas cat library.tar.gz | vpo-library restore --yes -
",
        details: "\
BACKUP is a file, a name in the backup directory, 'latest', 'replaced' (the
newest safety backup: it undoes the last restore), a day such as 2026-02-05, a
time such as 2026-02-05T143022Z, or '-' for stdin. Without it, on a terminal,
the backups are listed and you choose one.
",
        options: "  -y, --yes             replace an existing library without asking
      --dry-run         make every check and change nothing
      --no-safety-backup
                        do not keep the replaced library as a backup
      --current-schema N
                        the schema of the installed VPO
",
    },
    Help {
        name: "backups",
        operands: "",
        summary: "list the backups",
        about: "\
Lists the backups in the backup directory, newest first.
",
        examples: "  vpo-library backups
  vpo-library backups --max-age 26h -q || echo 'no backup since yesterday'
",
        details: "",
        options: "  -p, --path DIR        list the backups in DIR
      --max-age AGE     exit 1 unless a good backup is younger: 90m, 26h, 3d
",
    },
    Help {
        name: "verify",
        operands: " [BACKUP...]",
        summary: "prove that backups are whole",
        about: "\
Reads every byte of the named backups, or of all in the backup directory, and
checks the databases inside.
",
        examples: "  vpo-library verify
  vpo-library verify latest
  vpo-library verify ~/.vpo/backups/vpo-library-2026-02-05T143022Z.tar.gz
",
        details: "\
BACKUP is named as for 'vpo-library restore'.
",
        options: "      --newest N        verify only the N newest
      --full            also check indexes against tables, and references: what
                        is found was already so in the library
",
    },
    Help {
        name: "diff",
        operands: " [OLD [NEW]]",
        summary: "show which files differ",
        about: "\
Compares two backups, or a backup and the library: prints each file that was
added (A), deleted (D) or modified (M).
",
        examples: "  vpo-library diff
  vpo-library diff --stat latest
  vpo-library diff --stat 2026-02-01 2026-02-05
",
        details: "\
OLD and NEW are named as for 'vpo-library restore'; a database is named by its
path. The default for OLD is the newest backup, and for NEW the library. The
exit status is 1 if there are differences.
",
        options: "      --stat            print only the counts, and the rows of other tables
",
    },
    Help {
        name: "prune",
        operands: " KEEP...",
        summary: "remove the backups that no keep rule keeps",
        about: "\
Shows which backups would go and why the others stay, verifies the newest one,
asks, and removes.
",
        examples: "  vpo-library prune --dry-run --keep-daily 7 --keep-weekly 5 --keep-monthly 12
  vpo-library prune --keep-last 30
  vpo-library prune --yes --keep-replaced 30d
",
        details: "\
A backup stays if any rule keeps it. Each library is counted separately, and its
newest backup always stays. Files that were named by hand are never touched.
",
        options: "      --keep-last N     the N newest
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
      --dry-run         show what would go
  -y, --yes             remove without asking
      --no-verify       do not verify the newest backups first
",
    },
];

const COMMON: &str = "      --db PATH         the library (default: VPO_DATABASE_PATH, else
                        database_path in VPO's config.toml, else
                        ~/.vpo/library.db)
      --backup-dir DIR  where backups are (default: VPO_BACKUP_DIR, else
                        $VPO_DATA_DIR/backups, else ~/.vpo/backups)
      --timeout SECONDS how long to wait for a lock (default: 5)
      --log FILE        append a JSON line about the run (or VPO_LIBRARY_LOG)
      --json            report as one JSON document
      --format FORM     'json' for --json, as VPO spells it, or 'text'
  -q, --quiet           no reports
  -v, --verbose         show the pipeline that is run, and more
  -h, --help            print this help
  -V, --version         print the version
";

/// The help of all commands.
pub fn usage() -> String {
    let mut text = "\
usage: vpo-library [options] COMMAND [...]

Backs up and restores a VPO library.

examples:
  vpo-library backup
  vpo-library backups
  vpo-library restore latest
  vpo-library help restore

commands:
"
    .to_owned();
    for Help {
        name,
        operands,
        summary,
        ..
    } in &COMMANDS
    {
        text.push_str(&format!("  {:20}  {summary}\n", format!("{name}{operands}")));
    }
    text.push_str("  help [COMMAND]        print the help of a command, with examples\n");
    for Help { name, options, .. } in COMMANDS.iter().filter(|help| !help.options.is_empty()) {
        text.push_str(&format!("\noptions of {name}:\n{options}"));
    }
    text.push_str(&format!("\noptions, before or after the command:\n{COMMON}"));
    text
}

impl Help {
    /// The help of the command of this name.
    pub fn of(name: &str) -> Option<&'static Help> {
        COMMANDS.iter().find(|help| help.name == name)
    }

    /// The help of this command alone.
    pub fn text(&self) -> String {
        let Help {
            name,
            operands,
            about,
            examples,
            details,
            options,
            ..
        } = self;
        let mut text = format!("usage: vpo-library {name} [options]{operands}\n\n{about}\nexamples:\n{examples}");
        if !details.is_empty() {
            text.push_str(&format!("\n{details}"));
        }
        if !options.is_empty() {
            text.push_str(&format!("\noptions:\n{options}"));
        }
        text.push_str(&format!("\noptions of all commands:\n{COMMON}"));
        text
    }

    /// The commands that have an option, which is given with its dashes.
    pub fn with_option(option: &str) -> Vec<&'static str> {
        let has = |help: &&Help| crate::cli::lists(help.options, option);
        COMMANDS.iter().filter(has).map(|help| help.name).collect()
    }
}
