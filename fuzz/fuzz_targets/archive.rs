//! The whole reader: what it accepts holds what it says, another reader finds the same in it, and nothing can be taken
//! from it or added to it.
#![no_main]

use std::io;

use flate2::read::MultiGzDecoder;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use vpo_library::database::Header;
use vpo_library_fuzz::{Sink, Whole, crc32, mutate, read};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate(data, size, max_size, seed) });

fuzz_target!(|bytes: &[u8]| {
    let outcome = read(bytes, usize::MAX);
    let choice = crc32(bytes) as usize;
    // However the bytes come, the answer is the same. Of a plain stream that is damaged, more or less of what comes
    // before the damage is seen, and perhaps found wrong first.
    if bytes.len() < 4096 {
        let in_pieces = read(bytes, [1, 7, 31, 500][choice % 4]);
        match (&outcome, &in_pieces) {
            (Ok(one), Ok(other)) => assert_eq!(one.sha256, other.sha256),
            (Err(one), Err(other)) => assert!(one == other || !has_blocks(bytes), "{one}; {other}"),
            _ => panic!("{outcome:?}; {in_pieces:?}"),
        }
    }
    let Ok(whole) = outcome else { return };
    holds_what_it_says(&whole);
    others_agree(bytes, &whole);

    // Nothing can be taken away or added; in an archive of blocks, no bit changed.
    let bit = choice / 8 % (bytes.len() * 8);
    let changed = match choice % 8 {
        0 => bytes[..bit / 8].to_vec(),
        1 => [bytes, b"\0"].concat(),
        2 => [bytes, &[0; 512]].concat(),
        3 => [bytes, bytes].concat(),
        _ if !has_blocks(bytes) => return,
        _ => {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        }
    };
    assert!(read(&changed, usize::MAX).is_err(), "change {}, bit {bit}", choice % 8);
});

/// An extra field says that blocks are meant.
fn has_blocks(bytes: &[u8]) -> bool {
    bytes.get(3).is_some_and(|flags| flags & 4 != 0)
}

fn holds_what_it_says(whole: &Whole) {
    let contents = &whole.contents;
    assert_eq!(contents.database_size, whole.size);
    assert_eq!(Header::parse(&whole.head), Ok(contents.header));
    assert!(contents.header.check_size(whole.size).is_ok());
    if let Some(digest) = &contents.metadata.database_sha256 {
        assert_eq!(digest, &whole.sha256);
        assert_eq!(contents.metadata.database_size_bytes, whole.size);
        assert!(
            contents
                .metadata
                .page_size
                .is_none_or(|size| size == contents.header.page_size)
        );
    }
}

/// What flate2 and the tar crate make of it. Their gzip reader, too, has to come to the end without an error.
fn others_agree(bytes: &[u8], whole: &Whole) {
    let mut archive = tar::Archive::new(MultiGzDecoder::new(bytes));
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        // A global PAX header is not a member by POSIX, but the tar crate shows it as one.
        let header = entry.header();
        if header.entry_type().is_pax_global_extensions() {
            continue;
        }
        assert!(header.entry_type().is_file());
        // Python's tarfile puts the prefix before the name whatever the header's format is.
        assert!(header.as_ustar().is_some() || header.as_bytes()[345] == 0, "a prefix");
        let name = entry.path_bytes();
        let name = name.strip_prefix(b"./").unwrap_or(&name).to_vec();
        if name == b"library.db" {
            let mut sink = Sink::default();
            io::copy(&mut entry, &mut sink).unwrap();
            assert_eq!((sink.size, sink.digest()), (whole.size, whole.sha256.clone()));
        }
        names.push(name);
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).unwrap();
    names.sort();
    assert_eq!(names, [&b"backup_metadata.json"[..], b"library.db"]);
}
