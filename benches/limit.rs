//! The limits that the figures in the README are measured against: libdeflate on all cores, and nothing else.
//!
//! `limit compress FILE [LEVEL]` compresses the file in blocks of 1 MiB; `limit expand FILE` compresses it first and
//! then measures the way back; `limit stream FILE` compresses it in one piece, on one core. Prints seconds and the compressed size. The file is in memory before the clock starts.

use std::time::Instant;

use libdeflater::{CompressionLvl, Compressor, Decompressor};

const BLOCK: usize = 1024 * 1024;

fn main() {
    let args: Vec<String> = std::env::args().filter(|arg| arg != "--bench").collect();
    let (Some(job), Some(file)) = (args.get(1), args.get(2)) else {
        // `cargo test --benches` runs every bench without arguments.
        println!("usage: limit compress|expand|stream FILE [LEVEL]");
        return;
    };
    let level = args.get(3).map_or(6, |level| level.parse().expect("a level"));
    let level = CompressionLvl::new(level).expect("a level from 0 to 12");
    let data = std::fs::read(file).expect("a file that can be read");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let block = if job == "stream" { data.len().max(1) } else { BLOCK };
    let blocks: Vec<&[u8]> = data.chunks(block).collect();
    let parts: Vec<&[&[u8]]> = blocks.chunks(blocks.len().div_ceil(threads).max(1)).collect();

    let started = Instant::now();
    let compressed = on_threads(&parts, |part| {
        let mut compressor = Compressor::new(level);
        let mut out = vec![0; compressor.deflate_compress_bound(block)];
        let keep = job == "expand";
        let mut members = Vec::new();
        for block in part {
            let n = compressor.deflate_compress(block, &mut out).expect("room by the bound");
            members.push(if keep { out[..n].to_vec() } else { vec![0; 0] });
            size(n);
        }
        members
    });
    let compressing = started.elapsed();
    let started = Instant::now();
    if job == "expand" {
        std::thread::scope(|scope| {
            for members in &compressed {
                scope.spawn(move || {
                    let mut decompressor = Decompressor::new();
                    let mut out = vec![0; BLOCK];
                    for member in members {
                        decompressor
                            .deflate_decompress(member, &mut out)
                            .expect("what was just compressed");
                    }
                });
            }
        });
    }
    let taken = if job == "expand" {
        started.elapsed()
    } else {
        compressing
    };
    println!(
        "{:.3} {}",
        taken.as_secs_f64(),
        TOTAL.load(std::sync::atomic::Ordering::Relaxed)
    );
}

static TOTAL: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

fn size(bytes: usize) {
    TOTAL.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
}

fn on_threads<T: Send>(parts: &[&[&[u8]]], work: impl Fn(&[&[u8]]) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = parts.iter().map(|part| scope.spawn(move || work(part))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    })
}
