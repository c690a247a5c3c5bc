//! How large an archive is going to be, from a sample.

use std::ops::Range;

use crate::archive::{BLOCK_SIZE, Level, compressed_size};
use crate::database::Facts;
use crate::signals;

/// This much is compressed: all of a smaller database.
const SAMPLE: u64 = 16 * 1024 * 1024;
/// A larger database is sampled in runs of pages, evenly spaced. Short runs cover more of its tables; long ones
/// compress more like all of it.
const RUN: u64 = 128 * 1024;

/// Estimates the size of the archive of a database, in bytes. `read` appends the bytes of a range of pages, which are
/// counted from 0; it is asked for some of them, in ascending order.
pub fn estimate(
    facts: &Facts,
    level: Level,
    mut read: impl FnMut(Range<u64>, &mut Vec<u8>) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    let page_size = u64::from(facts.page_size);
    let pages = facts.database_size_bytes / page_size;
    let run = (RUN / page_size).max(1);
    let runs = pages.div_ceil(run);
    let wanted = (SAMPLE / page_size).div_ceil(run);
    let (mut sampled, mut compressed) = (0, 0);
    let mut block = Vec::with_capacity(BLOCK_SIZE + RUN as usize);
    let chosen = runs.min(wanted);
    for i in 0..chosen {
        signals::check()?;
        // All runs, or as many evenly spaced ones as make a sample.
        let first = (i * runs / chosen) * run;
        read(first..(first + run).min(pages), &mut block)?;
        while block.len() >= BLOCK_SIZE {
            compressed += compressed_size(level, &block[..BLOCK_SIZE]) as u64;
            sampled += BLOCK_SIZE as u64;
            block.drain(..BLOCK_SIZE);
        }
    }
    if !block.is_empty() {
        compressed += compressed_size(level, &block) as u64;
        sampled += block.len() as u64;
    }
    // The metadata's block.
    const REST: u64 = 500;
    // Bounded by 2^48 × 2^24.
    let whole = u128::from(compressed) * u128::from(facts.database_size_bytes) / u128::from(sampled.max(1));
    Ok(u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(REST))
}
