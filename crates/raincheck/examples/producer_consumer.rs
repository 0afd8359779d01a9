//! Queue and threads: one produces, some consume, and the queue between them is never longer than agreed.
//!
//! A pool *is* a queue with threads behind it. With a bound, `submit` waits for room, which slows the producer down to
//! the pace of the consumers.
//!
//! ```sh
//! cargo run --example producer_consumer
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use raincheck::{Executor, Full, TaskError, ThreadPool};

const EATERS: usize = 2;
const PLATES: usize = 3;

fn main() -> Result<(), TaskError> {
    let pool = ThreadPool::builder().workers(EATERS).queue(PLATES, Full::Block).build();
    let eaten = Arc::new(AtomicUsize::new(0));

    let (mut meals, mut most_ahead) = (Vec::new(), 0);
    for pancake in 1..=20 {
        let counted = Arc::clone(&eaten);
        // Waits here while all plates are full.
        meals.push(pool.submit(move || {
            eat();
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        most_ahead = most_ahead.max(pancake - eaten.load(Ordering::Relaxed));
    }
    for meal in meals {
        meal.result()?;
    }

    println!("{} pancakes eaten, and never more than {most_ahead} ahead", eaten.load(Ordering::Relaxed));
    assert!(most_ahead <= PLATES + EATERS, "one on each plate, and one in each mouth");
    Ok(())
}

fn eat() {
    thread::sleep(Duration::from_millis(5));
}
