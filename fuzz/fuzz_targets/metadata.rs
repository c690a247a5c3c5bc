//! `backup_metadata.json`: what is accepted keeps its rules, is what another JSON parser reads, and can be written and
//! read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use vpo_library::archive::{Layout, Metadata};

fuzz_target!(|json: &[u8]| {
    let plain = Metadata::parse(json, Layout::Plain);
    let blocks = Metadata::parse(json, Layout::Blocks);
    // The rules for archives of blocks are stricter, and nothing else.
    if let Ok(blocks) = &blocks {
        assert_eq!(plain.as_ref(), Ok(blocks));
    }
    let Ok(metadata) = plain else { return };
    keeps_its_rules(&metadata);
    let again = serde_json::to_vec(&metadata).unwrap();
    assert_eq!(Metadata::parse(&again, Layout::Plain).as_ref(), Ok(&metadata));
    if blocks.is_ok() {
        assert_eq!(metadata.time().unwrap().to_string(), metadata.created_at);
        assert_eq!(Metadata::parse(&again, Layout::Blocks).as_ref(), Ok(&metadata));
    }
    // Values of other keys may be too much for this parser: numbers without end, halves of surrogate pairs.
    if let Ok(Value::Object(mut other)) = serde_json::from_slice(json) {
        let Ok(Value::Object(mut ours)) = serde_json::to_value(&metadata) else {
            unreachable!()
        };
        // A source that is not there, or makes no sense in a plain archive, is null.
        ours.retain(|_, value| !value.is_null());
        other.retain(|key, _| ours.contains_key(key));
        assert_eq!(other, ours);
    }
});

fn keeps_its_rules(metadata: &Metadata) {
    let numbers = [
        metadata.schema_version,
        metadata.database_size_bytes,
        metadata.file_count,
        metadata.total_library_size_bytes,
    ];
    assert!(numbers.iter().all(|number| *number <= i64::MAX as u64));
    assert!(metadata.schema_version > 0 && metadata.database_size_bytes > 0);
    assert!(metadata.vpo_version.len() <= 4096 && metadata.created_at.len() <= 4096);
    assert!(metadata.time().is_some());
    assert_eq!(metadata.compression, "gzip");
    assert!(metadata.compression_level.is_none_or(|level| level <= 12));
    for text in [&metadata.source_host, &metadata.source_path].into_iter().flatten() {
        assert!(text.len() <= 4096);
    }
    if let Some(digest) = &metadata.database_sha256 {
        assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    }
    assert!(
        metadata
            .page_size
            .is_none_or(|size| size.is_power_of_two() && (512..=65536).contains(&size))
    );
}
