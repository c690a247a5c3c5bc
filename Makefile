# make demo    try everything, on a sample library in a temporary directory
# make test    run the tests
# make         build, and then, as root: make install
.POSIX:

PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
DATADIR = $(PREFIX)/share
MANDIR = $(DATADIR)/man
UNITDIR = $(PREFIX)/lib/systemd/user
BASH_COMPLETIONS = $(DATADIR)/bash-completion/completions
ZSH_COMPLETIONS = $(DATADIR)/zsh/site-functions
FISH_COMPLETIONS = $(DATADIR)/fish/vendor_completions.d
SCHEMAS = $(DATADIR)/vpo-library/schemas
DESTDIR =
RELEASE = $${CARGO_TARGET_DIR:-target}/release
# Tests wait as much as they compute: two at a time for each core.
TEST_THREADS = $$(( 2 * $$(getconf _NPROCESSORS_ONLN) ))
SIZES = 100M
FUZZ_SECONDS = 60

PROGRAMS = vpo-snapshot vpo-pack vpo-verify vpo-unpack-restore vpo-ls-backups vpo-diff vpo-library
SCRIPTS = .ci/audit .ci/macos .ci/run completions/vpo-library.bash examples/demo.sh fuzz/run \
	packaging/deb packaging/dist packaging/settings packaging/static packaging/try-deb

all: toolchain
	cargo build --release --locked

# LIBRARY=path make demo: with a real library, which is only read
demo: toolchain
	@examples/demo.sh

test: toolchain
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --locked

test-large: toolchain
	cargo test --locked --release --test suite -- --ignored large --test-threads=1

# Every kill point, failing call and flipped bit, where 'make test' takes samples: 23 minutes on two cores.
test-exhaustive: toolchain
	VPO_TEST_EXHAUSTIVE=1 RUST_TEST_THREADS=$(TEST_THREADS) cargo test --locked --test faults -- --nocapture

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
	cd man && mandoc -Tlint *.[1-9]
	@if command -v shellcheck >/dev/null; then echo shellcheck $(SCRIPTS); shellcheck $(SCRIPTS); \
	else echo 'make check: shellcheck is not installed: the scripts were not checked' >&2; fi
	RUST_TEST_THREADS=$(TEST_THREADS) cargo test --locked

# The crates against the advisories of RustSec. Error 3: these can't be reached, and nothing was checked.
audit: toolchain
	@.ci/audit

# make bench SIZES="100M 1G"
bench: toolchain
	@benches/run --svg assets/speed.svg $(SIZES)

# Under the target directory: a tarball that builds without a network, one of programs that run anywhere, and a package.
dist static deb: toolchain
	@packaging/$@

# Installs what 'make' has built: root needs no cargo for it, and leaves nothing of its own in target/. The completions
# have a file for each program, because bash and fish look for the name that is typed.
install:
	@test -x "$(RELEASE)/vpo-library" || $(MAKE) all
	umask 022; for d in "$(BINDIR)" "$(MANDIR)/man1" "$(MANDIR)/man5" "$(MANDIR)/man7" "$(SCHEMAS)" \
	    "$(BASH_COMPLETIONS)" "$(ZSH_COMPLETIONS)" "$(FISH_COMPLETIONS)"; do mkdir -p "$(DESTDIR)$$d" || exit 1; done
	for p in $(PROGRAMS); do install -m 755 "$(RELEASE)/$$p" "$(DESTDIR)$(BINDIR)/" && \
	    install -m 644 completions/vpo-library.bash "$(DESTDIR)$(BASH_COMPLETIONS)/$$p" && \
	    install -m 644 completions/vpo-library.fish "$(DESTDIR)$(FISH_COMPLETIONS)/$$p.fish" || exit 1; done
	install -m 644 completions/_vpo-library "$(DESTDIR)$(ZSH_COMPLETIONS)/"
	for m in man/*.[1-9]; do install -m 644 $$m "$(DESTDIR)$(MANDIR)/man$${m##*.}/" || exit 1; done
	install -m 644 man/schemas/*.json "$(DESTDIR)$(SCHEMAS)/"

# A backup each night, and what is old gone each week, for each user who asks for it:
# systemctl --user enable --now vpo-library-backup.timer vpo-library-prune.timer
install-systemd:
	umask 022; mkdir -p "$(DESTDIR)$(UNITDIR)"
	for u in systemd/*; do sed 's#/usr/local/bin/#$(BINDIR)/#' $$u > "$(DESTDIR)$(UNITDIR)/$${u##*/}" && \
	    chmod 644 "$(DESTDIR)$(UNITDIR)/$${u##*/}" || exit 1; done

uninstall:
	for p in $(PROGRAMS); do rm -f "$(DESTDIR)$(BINDIR)/$$p" "$(DESTDIR)$(BASH_COMPLETIONS)/$$p" \
	    "$(DESTDIR)$(FISH_COMPLETIONS)/$$p.fish" || exit 1; done
	for m in man/*.[1-9]; do rm -f "$(DESTDIR)$(MANDIR)/man$${m##*.}/$${m##*/}" || exit 1; done
	for u in systemd/*; do rm -f "$(DESTDIR)$(UNITDIR)/$${u##*/}" || exit 1; done
	rm -f "$(DESTDIR)$(ZSH_COMPLETIONS)/_vpo-library"
	rm -rf "$(DESTDIR)$(DATADIR)/vpo-library"

clean:
	cargo clean
	rm -rf fuzz/target

toolchain:
	@command -v cargo >/dev/null || { \
	echo 'make: cargo is missing: install Rust 1.89 or newer, see https://rustup.rs' >&2; exit 1; }
	@set -- $${CC:-cc}; command -v "$$1" >/dev/null || { \
	echo "make: the C compiler $$1 is missing: SQLite and libdeflate are built from source" >&2; \
	echo 'hint: apt-get install gcc libc6-dev, dnf install gcc, or xcode-select --install' >&2; exit 1; }

.PHONY: all demo test test-large test-exhaustive fuzz check audit bench dist static deb install install-systemd \
	uninstall clean toolchain
