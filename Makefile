# make demo    try everything, on a sample library in a temporary directory
# make test    run the tests
# make         build, and then, as root: make install
.POSIX:

PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
DATADIR = $(PREFIX)/share
UNITDIR = $(PREFIX)/lib/systemd/user
DESTDIR =
SIZES = 100M
FUZZ_SECONDS = 60

PROGRAMS = vpo-snapshot vpo-pack vpo-verify vpo-unpack-restore vpo-ls-backups vpo-diff vpo-library
MANUAL = vpo-snapshot.1 vpo-pack.1 vpo-verify.1 vpo-unpack-restore.1 vpo-ls-backups.1 vpo-diff.1 vpo-library.1 \
	vpo-library-archive.5 vpo-library.7
SCHEMAS = backup backup-dry-run backup-metadata backups diff error log-line prune prune-dry-run restore restore-dry-run \
	stats verify
UNITS = vpo-library-backup.service vpo-library-backup.timer vpo-library-prune.service vpo-library-prune.timer
BASH_COMPLETIONS = $(DATADIR)/bash-completion/completions
ZSH_COMPLETIONS = $(DATADIR)/zsh/site-functions
FISH_COMPLETIONS = $(DATADIR)/fish/vendor_completions.d
SCRIPTS = .ci/audit .ci/run examples/demo.sh completions/vpo-library.bash fuzz/run
RELEASE = "$${CARGO_TARGET_DIR:-target}"/release
DIST = "$${CARGO_TARGET_DIR:-target}"/dist

all: toolchain
	cargo build --release --locked

# LIBRARY=path make demo: with a real library, which is only read
demo: toolchain
	@examples/demo.sh

test: toolchain
	cargo test --locked

test-large: toolchain
	cargo test --locked --release --test suite -- --ignored large --test-threads=1

# Every kill point, failing call and flipped bit, where 'make test' takes samples: a quarter of an hour on two cores.
test-exhaustive: toolchain
	VPO_TEST_EXHAUSTIVE=1 cargo test --locked --test faults -- --nocapture

# The readers, fed what nobody would write. cargo-fuzz is installed under the target directory if it is missing.
# make fuzz FUZZ_SECONDS=600: each target for ten minutes
fuzz: toolchain
	@fuzz/run $(FUZZ_SECONDS)

check: toolchain
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	@command -v mandoc >/dev/null || { echo 'make check: mandoc is missing: apt-get install mandoc' >&2; exit 1; }
	cd man && mandoc -Tlint $(MANUAL)
	@if command -v shellcheck >/dev/null; then echo shellcheck $(SCRIPTS); shellcheck $(SCRIPTS); \
	else echo 'make check: shellcheck is not installed: the scripts were not checked' >&2; fi
	cargo test --locked

# The crates against the advisories of RustSec. Error 3: these can't be reached, and nothing was checked.
audit: toolchain
	@.ci/audit

# make bench SIZES="100M 1G"
bench: toolchain
	@benches/run --svg assets/speed.svg $(SIZES)

# Installs what 'make' has built: root needs no cargo for it, and leaves nothing of its own in target/. The completions
# have a file for each program, because bash and fish look for the name that is typed.
install:
	@test -x $(RELEASE)/vpo-library || $(MAKE) all
	umask 022; for d in "$(BINDIR)" "$(MANDIR)/man1" "$(MANDIR)/man5" "$(MANDIR)/man7" "$(DATADIR)/vpo-library/schemas" \
	    "$(BASH_COMPLETIONS)" "$(ZSH_COMPLETIONS)" "$(FISH_COMPLETIONS)"; do mkdir -p "$(DESTDIR)$$d" || exit 1; done
	for p in $(PROGRAMS); do install -m 755 $(RELEASE)/$$p "$(DESTDIR)$(BINDIR)/" || exit 1; done
	for m in $(MANUAL); do install -m 644 man/$$m "$(DESTDIR)$(MANDIR)/man$${m##*.}/" || exit 1; done
	for s in $(SCHEMAS); do \
	    install -m 644 man/schemas/$$s.json "$(DESTDIR)$(DATADIR)/vpo-library/schemas/" || exit 1; done
	install -m 644 completions/_vpo-library "$(DESTDIR)$(ZSH_COMPLETIONS)/"
	for p in $(PROGRAMS); do \
	    install -m 644 completions/vpo-library.bash "$(DESTDIR)$(BASH_COMPLETIONS)/$$p" && \
	    install -m 644 completions/vpo-library.fish "$(DESTDIR)$(FISH_COMPLETIONS)/$$p.fish" || exit 1; done

# A backup each night, and what is old gone each week, for each user who asks for it:
# systemctl --user enable --now vpo-library-backup.timer vpo-library-prune.timer
install-systemd:
	umask 022; mkdir -p "$(DESTDIR)$(UNITDIR)"
	for u in $(UNITS); do sed 's#/usr/local/bin/#$(BINDIR)/#' systemd/$$u > "$(DESTDIR)$(UNITDIR)/$$u" && \
	    chmod 644 "$(DESTDIR)$(UNITDIR)/$$u" || exit 1; done

uninstall:
	for p in $(PROGRAMS); do rm -f "$(DESTDIR)$(BINDIR)/$$p" "$(DESTDIR)$(BASH_COMPLETIONS)/$$p" \
	    "$(DESTDIR)$(FISH_COMPLETIONS)/$$p.fish" || exit 1; done
	for m in $(MANUAL); do rm -f "$(DESTDIR)$(MANDIR)/man$${m##*.}/$$m" || exit 1; done
	for u in $(UNITS); do rm -f "$(DESTDIR)$(UNITDIR)/$$u" || exit 1; done
	rm -f "$(DESTDIR)$(ZSH_COMPLETIONS)/_vpo-library"
	rm -rf "$(DESTDIR)$(DATADIR)/vpo-library"

# A tarball of the last commit that builds without a network: the crates are in it, and cargo is told so.
dist:
	@command -v git >/dev/null && git rev-parse --verify -q HEAD >/dev/null || { \
	echo 'make dist: this is not a git repository: there is no commit to make a tarball of' >&2; exit 1; }
	rm -rf $(DIST)
	mkdir -p $(DIST)
	set -e; v=$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1); name=vpo-library-$$v; \
	git archive --prefix=$$name/ HEAD | tar -xf - -C $(DIST); \
	(cd $(DIST)/$$name && cargo vendor --quiet --locked vendor >/dev/null); \
	printf '%s\n' '' '[source.crates-io]' 'replace-with = "vendored-sources"' \
	    '' '[source.vendored-sources]' 'directory = "vendor"' >>$(DIST)/$$name/.cargo/config.toml; \
	tar --sort=name --mtime="@$$(git log -1 --format=%ct)" --owner=0 --group=0 --numeric-owner -C $(DIST) -cf $(DIST)/$$name.tar $$name; \
	rm -rf $(DIST)/$$name; xz -T0 $(DIST)/$$name.tar; ls -l $(DIST)/$$name.tar.xz

clean:
	cargo clean
	rm -rf fuzz/target

toolchain:
	@command -v cargo >/dev/null || { \
	echo 'make: cargo is missing: install Rust 1.89 or newer, see https://rustup.rs' >&2; exit 1; }
	@set -- $${CC:-cc}; command -v "$$1" >/dev/null || { \
	echo "make: the C compiler $$1 is missing: SQLite and libdeflate are built from source" >&2; \
	echo 'hint: apt-get install gcc libc6-dev, dnf install gcc, or xcode-select --install' >&2; exit 1; }

.PHONY: all demo test test-large test-exhaustive fuzz check audit bench install install-systemd uninstall dist clean \
	toolchain
