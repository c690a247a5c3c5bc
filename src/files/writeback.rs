//! Writing to disk in the background, while more is still being produced.

use std::fs::File;
use std::io::{self, Seek, Write};

/// Bytes after which the system is asked to begin writing them to disk.
const STEP: u64 = 4 * 1024 * 1024;

/// A file that will be flushed to disk when it is complete. By itself a system begins to write only then, or half a
/// minute later, and the flush waits for all of it.
///
/// It is advice: it causes no error, and loses none, as flushing now and then would.
pub struct Writeback {
    file: File,
    /// Where the next byte goes, and how far writing has begun; `None` for anything but a regular file.
    at: Option<(u64, u64)>,
}

impl Writeback {
    /// Writes to `file` from its position; to a pipe or device as if this type were not there.
    pub fn new(mut file: File) -> Self {
        let regular = file.metadata().is_ok_and(|meta| meta.is_file());
        let at = regular.then(|| file.stream_position().ok()).flatten();
        Writeback {
            file,
            at: at.map(|at| (at, at)),
        }
    }

    /// Closes the file; only then is it known that everything was written.
    pub fn close(self) -> io::Result<()> {
        super::close(self.file)
    }
}

impl Write for Writeback {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        if let Some((end, begun)) = &mut self.at {
            *end += n as u64;
            if *end - *begun >= STEP {
                begin(&self.file, *begun, *end - *begun);
                *begun = *end;
            }
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Starts the writing of a range. POSIX_FADV_DONTNEED does that with pages that are dirty, and drops those that are
/// not, of which a range that was only just written has none (`mm/fadvise.c` of Linux).
#[cfg(target_os = "linux")]
fn begin(file: &File, offset: u64, length: u64) {
    let _ = rustix::fs::fadvise(file, offset, length.try_into().ok(), rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
fn begin(_file: &File, _offset: u64, _length: u64) {}
