//! Descriptors that a program inherited, by their number.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// The descriptor of this number, which the process that started this one left open. It is a duplicate: closing it
/// leaves the inherited one open.
///
/// # Errors
/// `EBADF` if there is none.
pub fn inherited(number: i32) -> io::Result<File> {
    if number < 0 {
        return Err(rustix::io::Errno::BADF.into());
    }
    // SAFETY: the number is not -1, and only fcntl(2) sees it, which refuses a number that is not open. Nobody
    // else's descriptor can be closed by it: the duplicate is what is owned.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(descriptor.try_clone_to_owned()?.into())
}

/// Opens `path`. `/dev/fd/N` is the inherited descriptor N, even if there is no `/dev/fd` or `/proc`, or if the system
/// does not let it be opened a second time.
pub fn open_path_or_descriptor(options: &OpenOptions, path: &Path) -> io::Result<File> {
    options.open(path).or_else(|error| match number(path) {
        Some(number) => inherited(number),
        None => Err(error),
    })
}

/// The number in `/dev/fd/N`.
fn number(path: &Path) -> Option<i32> {
    let digits = path.to_str()?.strip_prefix("/dev/fd/")?;
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_descriptors() {
        assert_eq!(number(Path::new("/dev/fd/13")), Some(13));
        for path in [
            "/dev/fd/",
            "/dev/fd/-1",
            "/dev/fd/1x",
            "/dev/fd/1/2",
            "13",
            "/dev/fd/99999999999",
        ] {
            assert_eq!(number(Path::new(path)), None, "{path}");
        }
        assert!(inherited(-1).is_err());
        assert!(inherited(i32::MAX).is_err());
    }
}
