//! Many tasks, many threads, and everything at once: every future is accounted for.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use raincheck::{Executor, TaskError, ThreadPool};

/// A million in a release build; fewer where each takes ten times as long.
const TASKS: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// Turns a hang into a failure that says which test it was.
struct Watchdog(Arc<AtomicBool>);

impl Watchdog {
    fn watch(test: &'static str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&over);
        thread::spawn(move || {
            thread::park_timeout(Duration::from_secs(240));
            if !watched.load(Ordering::SeqCst) {
                let _ = writeln!(io::stderr(), "`{test}` hangs");
                process::abort();
            }
        });
        Self(over)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The same numbers each time, for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn every_future_of_a_million_has_its_one_outcome() {
    let _watchdog = Watchdog::watch("every_future_of_a_million_has_its_one_outcome");
    let pool = ThreadPool::new(4);
    let (ran, told) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
    let ran: &'static AtomicU64 = Box::leak(Box::new(ran));

    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let of_each = thread::scope(|s| {
        let submitters: Vec<_> = (1..=4_u64)
            .map(|seed| {
                let (pool, told) = (&pool, &told);
                s.spawn(move || {
                    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
                    let mut kept = Vec::new();
                    for n in 0..TASKS / 4 {
                        let future = pool.submit(move || {
                            ran.fetch_add(1, Ordering::Relaxed);
                            n
                        });
                        let counted = Arc::clone(told);
                        future.on_done(move |_| {
                            counted.fetch_add(1, Ordering::Relaxed);
                        });
                        match random.below(8) {
                            0 => {
                                future.cancel();
                                kept.push((n, future));
                            }
                            1 => {
                                *counts.entry("dropped").or_default() += 1;
                                drop(future);
                            }
                            2 => kept.push((n, future.map(|n| n))),
                            3 if n % 64 == 0 => {
                                future.wait();
                                kept.push((n, future));
                            }
                            _ => kept.push((n, future)),
                        }
                    }
                    for (n, future) in kept {
                        let outcome = match future.result() {
                            Ok(value) => {
                                assert_eq!(value, n);
                                "returned"
                            }
                            Err(TaskError::Cancelled) => "cancelled",
                            Err(TaskError::ShutDown) => "refused",
                            Err(error) => panic!("{error}"),
                        };
                        *counts.entry(outcome).or_default() += 1;
                    }
                    counts
                })
            })
            .collect();
        // In the middle of it.
        while told.load(Ordering::Relaxed) < TASKS * 3 / 4
            && submitters.iter().any(|submitter| !submitter.is_finished())
        {
            thread::yield_now();
        }
        pool.shutdown();
        submitters.into_iter().map(|submitter| submitter.join().unwrap()).collect::<Vec<_>>()
    });

    for (outcome, count) in of_each.into_iter().flatten() {
        *counts.entry(outcome).or_default() += count;
    }
    assert_eq!(counts.values().sum::<u64>(), TASKS, "{counts:?}");
    assert_eq!(told.load(Ordering::SeqCst), TASKS, "each was told once");
    assert!(counts["returned"] <= ran.load(Ordering::SeqCst));
    assert!(counts.get("cancelled").is_some_and(|count| *count > 0), "{counts:?}");
}

#[test]
fn pools_come_and_go() {
    let _watchdog = Watchdog::watch("pools_come_and_go");

    for round in 0..500_u64 {
        let pool = ThreadPool::new(1 + (round % 3) as usize);
        let handle = pool.handle();
        let nested = pool.submit(move || (0..3).map(|n| handle.submit(move || n).result().unwrap()).sum::<u64>());
        let plain: Vec<_> = (0..10).map(|n| pool.submit(move || n)).collect();
        match round % 3 {
            0 => drop(pool),
            1 => pool.shutdown(),
            _ => assert!(nested.wait_timeout(Duration::from_secs(60))),
        }

        let nested = nested.result();
        assert!(nested == Ok(3) || matches!(nested, Err(TaskError::Panicked(_))), "{nested:?}");
        assert_eq!(plain.into_iter().map(|task| task.result().unwrap()).sum::<u64>(), 45);
    }
}
