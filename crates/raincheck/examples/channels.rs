//! Communicating sequential processes: stages that share nothing and talk through channels.
//!
//! Each stage is a task that reads from the left and writes to the right, until nothing comes any more. The channels
//! are the standard library's; raincheck runs the stages, and says what became of each. The numbers that come out are
//! prime: each stage keeps the multiples of its own prime from those behind it.
//!
//! ```sh
//! cargo run --example channels
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::mpsc::{Receiver, sync_channel};

use raincheck::{Executor, TaskError, ThreadPool};

const STAGES: usize = 20;

fn main() -> Result<(), TaskError> {
    // All stages run side by side, so each needs a worker.
    let pool = ThreadPool::new(STAGES + 1);
    let (numbers, mut stream) = sync_channel(1);
    let mut stages = vec![pool.submit(move || {
        // Ends when nobody listens any more.
        let _ = (2..).try_for_each(|number: u32| numbers.send(number));
    })];

    let mut primes = Vec::new();
    for _ in 0..STAGES {
        let Ok(prime) = stream.recv() else { break };
        primes.push(prime);
        let (sieved, next) = sync_channel(1);
        stages.push(pool.submit(move || {
            let _ = others(prime, stream).try_for_each(|number| sieved.send(number));
        }));
        stream = next;
    }
    drop(stream);

    for stage in stages {
        stage.result()?;
    }
    println!("{primes:?}");
    Ok(())
}

/// What comes through and is no multiple of the prime.
fn others(prime: u32, stream: Receiver<u32>) -> impl Iterator<Item = u32> {
    stream.into_iter().filter(move |number| number % prime != 0)
}
