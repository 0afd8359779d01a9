//! The classic of its kind: twelve megabytes of noise and the SHA-256 of each, as they become ready.
//!
//! ```sh
//! cargo run --release --example sha [WORKERS]
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{env, iter, time::Instant};

use raincheck::{Executor, TaskError, ThreadPool, as_completed};
use sha2::{Digest, Sha256};

const JOBS: u64 = 12;
const SIZE: usize = 1 << 20;

fn main() -> Result<(), TaskError> {
    let workers = env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(4);
    // Made beforehand: the hashing is what is timed.
    let blocks: Vec<_> = (1..=JOBS).map(noise).collect();
    let start = Instant::now();

    let pool = ThreadPool::new(workers);
    let sums = blocks.into_iter().map(|block| pool.submit(move || Sha256::digest(block)));
    for sum in as_completed(sums) {
        println!("{}", hex(&sum.result()?));
    }

    println!("{workers} workers, elapsed time: {:.3}s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Bytes that look like chance, and are the same each time (xorshift).
fn noise(seed: u64) -> Vec<u8> {
    let step = |state: &u64| {
        let state = state ^ (state << 13);
        let state = state ^ (state >> 7);
        Some(state ^ (state << 17))
    };
    iter::successors(Some(seed), step).flat_map(u64::to_le_bytes).take(SIZE).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
