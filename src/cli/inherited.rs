//! Which standard streams were closed when the program was started.
//!
//! Rust's runtime opens `/dev/null` in the place of a closed stream before `main` begins, so that no other file gets its
//! number. Afterwards `>&-` can't be told from `/dev/null` opened for reading and writing, which is what daemon(3) and
//! Python's `subprocess.DEVNULL` give a program; and an archive written there would be lost in silence. So this looks
//! before: the C library calls what `.init_array` lists before it calls `main` (uutils coreutils does the same).

use std::sync::atomic::{AtomicU8, Ordering};

/// A standard stream, by its descriptor.
#[derive(Clone, Copy)]
pub enum Stream {
    Input = 0,
    Output = 1,
}

/// A bit for each stream that was closed.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// True if the stream was closed when the program was started.
pub fn was_closed(stream: Stream) -> bool {
    CLOSED.load(Ordering::Relaxed) & (1 << stream as u8) != 0
}

extern "C" fn look() {
    for stream in [Stream::Input, Stream::Output] {
        // SAFETY: F_GETFD takes no pointer, changes nothing, and may be asked of a number that is not open. It needs
        // nothing of Rust's runtime, which is not there yet.
        if unsafe { libc::fcntl(stream as i32, libc::F_GETFD) } == -1 {
            CLOSED.fetch_or(1 << stream as u8, Ordering::Relaxed);
        }
    }
}

// SAFETY: the section is a list of functions that take what `main` takes, or nothing, and return nothing; `look` is one,
// needs no other that is in the list, and can't panic.
#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static LOOK: extern "C" fn() = look;
