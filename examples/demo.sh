#!/bin/sh
# make demo: backup and restore of a sample library in a temporary directory, shown command by command.
# LIBRARY=path make demo: a backup of that library, which is only read.
# Needs cargo, a C compiler and coreutils. Ends with 0 only if every step did what it should.
set -eu

cd "$(dirname "$0")/.."
LIBRARY=${LIBRARY:-}
case $LIBRARY in
    "" | /*) ;;
    [~]/*) LIBRARY=$HOME/${LIBRARY#??} ;;
    *) LIBRARY=$PWD/$LIBRARY ;;
esac

echo "Building (the first time takes a few minutes) ..."
cargo build --release --locked --bins --example sample-library
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
PATH=$target/release:$target/release/examples:$PATH
sha256=sha256sum
command -v sha256sum >/dev/null || sha256='shasum -a 256'

work=$(mktemp -d "${TMPDIR:-/tmp}/vpo-demo.XXXXXX")
finish() {
    status=$?
    trap - EXIT
    cd /
    rm -rf "$work"
    if [ "$status" -ne 0 ]; then printf '\nThe demo FAILED (status %s).\n' "$status" >&2; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Nothing of the person's own VPO is looked at, or written to.
unset VPO_DATABASE_PATH VPO_CONFIG_PATH VPO_BACKUP_DIR VPO_DATA_DIR VPO_SCHEMA_VERSION VPO_LIBRARY_LOG
HOME=$work
export HOME PATH
exec 2>&1
cd "$work"

say() { printf '\n# %s\n' "$*"; }

# Shows a command line and runs it.
run() {
    printf '\n$ %s\n' "$1"
    eval "$1"
}

# Shows a command line, runs it, and wants it to end with this status.
run_for() {
    status=0
    printf '\n$ %s\n' "$2"
    eval "$2" || status=$?
    printf '(exit status %s)\n' "$status"
    [ "$status" -eq "$1" ] || wrong "it should have been $1"
}

wrong() {
    printf '\ndemo: %s\n' "$*" >&2
    exit 1
}

# What a reader must not change: the names, sizes, times and contents of the library and its logs.
state_of() {
    for file in "$1" "$1-wal" "$1-journal"; do
        [ -e "$file" ] || continue
        stat -L -c '%n: %s bytes, modified %y' "$file" 2>/dev/null || stat -L -f '%N: %z bytes, modified %Fm' "$file"
        $sha256 <"$file"
    done
}

if [ -n "$LIBRARY" ]; then
    [ -f "$LIBRARY" ] || wrong "there is no library '$LIBRARY'"
    say "Your library, before"
    state_of "$LIBRARY" | tee before

    say "A backup of it, read back, and what is in the temporary backup directory then"
    export LIBRARY
    # shellcheck disable=SC2016 # run expands it
    run 'vpo-library --db "$LIBRARY" --backup-dir backups backup --verify'
    run 'vpo-library --backup-dir backups backups'
    run 'vpo-library --backup-dir backups verify'

    say "The backup becomes a library again, elsewhere: the same content as a snapshot of yours"
    run 'vpo-unpack-restore --db copy.db backups/*.tar.gz'
    run "vpo-snapshot \"\$LIBRARY\" | $sha256 | tee snapshot"
    run "$sha256 <copy.db | tee copy"

    say "Your library, after"
    state_of "$LIBRARY" | tee after
    if ! cmp -s before after || ! cmp -s snapshot copy; then
        wrong "not proven: something else wrote to the library meanwhile; stop VPO and try again"
    fi
    printf '\nThe demo SUCCEEDED: the backup is whole, holds what the library holds, and the library is unchanged.\n'
    exit 0
fi

say "A sample library, where VPO would have it"
mkdir .vpo
run 'sample-library --size 20M ~/.vpo/library.db'

say "The filters, joined by pipes: a snapshot of the library becomes an archive"
run 'vpo-snapshot | vpo-pack > x.tar.gz'
run 'vpo-verify x.tar.gz'
run 'vpo-unpack-restore --db new.db x.tar.gz'
run 'cmp new.db ~/.vpo/library.db && echo "new.db has the same bytes as the library"'
say "A stream that was cut makes no archive"
run_for 42 'vpo-snapshot | head -c 1000000 | vpo-pack > cut.tar.gz'
run_for 46 'vpo-verify cut.tar.gz'

say "Everyday use: one program that runs the filters"
run 'vpo-library backup'
run 'vpo-library backups'
run 'vpo-library verify'
run "vpo-snapshot | $sha256 | tee before"

say "An accident: a part of the library is overwritten with zeros"
run 'dd if=/dev/zero of=.vpo/library.db bs=4096 seek=1000 count=500 conv=notrunc 2>/dev/null'
run_for 42 'vpo-library backup'
run 'vpo-library backups'

say "The bad day ends: the newest backup is put in the place of the damaged library, which is kept"
run 'vpo-library restore --yes latest'
run 'ls ~/.vpo'

say "The proof: a snapshot of the library has the same digest as before the accident, and the archive's database too"
run "vpo-snapshot | $sha256 | tee after"
run 'cmp before after && cmp new.db ~/.vpo/library.db && vpo-library backup'
printf '\nThe demo SUCCEEDED: the library is back, to the last byte.\n'
