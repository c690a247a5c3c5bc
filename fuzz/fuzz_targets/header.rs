//! The database header: what is taken for one has a legal page size, and is judged by its own length only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vpo_library::database::{HEADER_LEN, Header};

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = Header::parse(bytes) else { return };
    assert!(header.page_size.is_power_of_two() && (512..=65536).contains(&header.page_size));
    assert_eq!(Header::parse(&bytes[..HEADER_LEN]), Ok(header));
    let page = u64::from(header.page_size);
    match header.database_size() {
        Some(size) => {
            assert_eq!(size, u64::from(header.page_count.unwrap()) * page);
            assert!(size > 0 && header.check_size(size).is_ok());
            for other in [0, size - page, size - 1, size + 1, size + page, u64::MAX] {
                assert!(header.check_size(other).is_err());
            }
        }
        None => {
            for pages in [1, 7, u64::from(u32::MAX)] {
                assert!(header.check_size(pages * page).is_ok());
                assert!(header.check_size(pages * page - 1).is_err());
            }
            assert!(header.check_size(0).is_err());
        }
    }
});
