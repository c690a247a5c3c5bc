# make demo    try everything, on a sample library in a temporary directory
# make test    run the tests
# make         build, and then, as root: make install
.POSIX:

PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
MANDIR = $(PREFIX)/share/man
DESTDIR =
SIZES = 100M

PROGRAMS = vpo-snapshot vpo-pack vpo-verify vpo-unpack-restore vpo-ls-backups vpo-library
MANUAL = vpo-snapshot.1 vpo-pack.1 vpo-verify.1 vpo-unpack-restore.1 vpo-ls-backups.1 vpo-library.1 \
	vpo-library-archive.5 vpo-library.7
SCRIPTS = .ci/run benches/run examples/demo.sh
RELEASE = "$${CARGO_TARGET_DIR:-target}"/release

all: toolchain
	cargo build --release --locked

# LIBRARY=path make demo: with a real library, which is only read
demo: toolchain
	@examples/demo.sh

test: toolchain
	cargo test --locked

test-large: toolchain
	cargo test --locked --release -- --ignored large

check: toolchain
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	@command -v mandoc >/dev/null || { echo 'make check: mandoc is missing: apt-get install mandoc' >&2; exit 1; }
	cd man && mandoc -Tlint $(MANUAL)
	@if command -v shellcheck >/dev/null; then echo shellcheck $(SCRIPTS); shellcheck $(SCRIPTS); \
	else echo 'make check: shellcheck is not installed: the scripts were not checked' >&2; fi
	cargo test --locked

# make bench SIZES="100M 1G"
bench: toolchain
	@benches/run $(SIZES)

# Installs what 'make' has built: root needs no cargo for it, and leaves nothing of its own in target/.
install:
	@test -x $(RELEASE)/vpo-library || $(MAKE) all
	mkdir -p "$(DESTDIR)$(BINDIR)" "$(DESTDIR)$(MANDIR)/man1" "$(DESTDIR)$(MANDIR)/man5" "$(DESTDIR)$(MANDIR)/man7"
	for p in $(PROGRAMS); do install -m 755 $(RELEASE)/$$p "$(DESTDIR)$(BINDIR)/" || exit 1; done
	for m in $(MANUAL); do install -m 644 man/$$m "$(DESTDIR)$(MANDIR)/man$${m##*.}/" || exit 1; done

uninstall:
	for p in $(PROGRAMS); do rm -f "$(DESTDIR)$(BINDIR)/$$p" || exit 1; done
	for m in $(MANUAL); do rm -f "$(DESTDIR)$(MANDIR)/man$${m##*.}/$$m" || exit 1; done

clean:
	cargo clean

toolchain:
	@command -v cargo >/dev/null || { \
	echo 'make: cargo is missing: install Rust 1.89 or newer, see https://rustup.rs' >&2; exit 1; }
	@set -- $${CC:-cc}; command -v "$$1" >/dev/null || { \
	echo "make: the C compiler $$1 is missing: SQLite and libdeflate are built from source" >&2; \
	echo 'hint: apt-get install gcc libc6-dev, dnf install gcc, or xcode-select --install' >&2; exit 1; }

.PHONY: all demo test test-large check bench install uninstall clean toolchain
