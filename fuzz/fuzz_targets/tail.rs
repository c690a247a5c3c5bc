//! The end of a file: what it tells of an archive that is whole is what the whole archive tells.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use vpo_library::archive::{TailMetadata, read_tail};
use vpo_library::failure::{Kind, kind};
use vpo_library_fuzz::{mutate, read};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate(data, size, max_size, seed) });

static FILE: LazyLock<File> = LazyLock::new(|| tempfile::tempfile().unwrap());

fn look(bytes: &[u8]) -> Option<TailMetadata> {
    FILE.set_len(bytes.len() as u64).unwrap();
    FILE.write_all_at(bytes, 0).unwrap();
    match read_tail(&FILE, bytes.len() as u64) {
        Ok(seen) => Some(seen),
        Err(error) => {
            assert_eq!(kind(&error), Kind::InvalidArchive, "{error:#}");
            None
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let seen = look(bytes);
    let whole = read(bytes, usize::MAX);
    match (&seen, &whole) {
        (Some(TailMetadata::Blocks(metadata)), Ok(whole)) => assert_eq!(**metadata, whole.contents.metadata),
        (Some(TailMetadata::Other), Ok(_)) => assert!(bytes[3] & 4 == 0, "an archive of blocks was not seen as one"),
        (None, Ok(_)) => panic!("a whole archive has a bad end"),
        (_, Err(_)) => {}
    }
    // A truncation shows, and so does anything at the end.
    if let Some(TailMetadata::Blocks(_)) = seen {
        assert!(!matches!(
            look(&bytes[..bytes.len() - 1]),
            Some(TailMetadata::Blocks(_))
        ));
        assert!(!matches!(look(&[bytes, b"\0"].concat()), Some(TailMetadata::Blocks(_))));
    }
});
