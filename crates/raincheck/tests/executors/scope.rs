//! Tasks that borrow from the caller.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use raincheck::{Cancel, InProcess, TaskError};

use crate::{every_concurrent_executor_keeps, every_executor_keeps, gate::Gate};

every_executor_keeps! {
    tasks_borrow_and_values_may_borrow_too,
    what_is_not_claimed_is_waited_for,
    a_task_submits_into_its_own_scope,
    a_panic_of_a_task_is_its_own_outcome,
    a_panic_of_the_scope_waits_for_its_tasks,
    scopes_are_nested,
    a_value_nobody_claims_is_dropped_within_the_scope,
    the_parallel_loop_calls_with_each_input_once,
    the_parallel_loop_passes_a_panic_on,
    an_executor_that_is_shut_down_runs_nothing_and_hangs_nobody,
}

every_concurrent_executor_keeps! {
    the_parallel_loop_makes_no_further_call_behind_a_panic,
    the_parallel_loop_asks_no_iterator_that_has_panicked,
    what_has_not_started_can_be_cancelled,
}

fn tasks_borrow_and_values_may_borrow_too<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let words = ["one".to_owned(), "three".to_owned()];

    let longest: &str = executor.scope(|s| {
        let halves = words.chunks(1).map(|half| s.submit(move || half.iter().max_by_key(|word| word.len()).unwrap()));
        let halves: Vec<_> = halves.collect();
        halves.into_iter().map(|half| half.result().unwrap()).max_by_key(|word| word.len()).unwrap()
    });

    assert_eq!(longest, "three");
}

fn what_is_not_claimed_is_waited_for<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let mut counts = [0; 100];

    executor.scope(|s| {
        for count in &mut counts {
            drop(s.submit(move || *count += 1));
        }
    });

    assert_eq!(counts, [1; 100]);
}

fn a_task_submits_into_its_own_scope<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let count = AtomicU64::new(0);

    executor.scope(|s| {
        for _ in 0..5 {
            let count = &count;
            drop(s.submit(move || {
                for _ in 0..5 {
                    drop(s.submit(move || count.fetch_add(1, Ordering::Relaxed)));
                }
            }));
        }
    });

    assert_eq!(count.into_inner(), 25);
}

fn a_panic_of_a_task_is_its_own_outcome<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    let (panicked, returned) = executor.scope(|s| {
        let panicked = s.submit(|| -> u8 { panic!("no umbrella") });
        let returned = s.submit(|| 1);
        (panicked.result(), returned.result())
    });

    assert!(matches!(panicked, Err(TaskError::Panicked(_))));
    assert_eq!(returned, Ok(1));
}

fn a_panic_of_the_scope_waits_for_its_tasks<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let count = AtomicU64::new(0);

    let caught = catch_unwind(AssertUnwindSafe(|| {
        executor.scope(|s| {
            for _ in 0..50 {
                drop(s.submit(|| count.fetch_add(1, Ordering::Relaxed)));
            }
            panic!("the scope itself");
        })
    }));

    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"the scope itself"));
    assert_eq!(count.into_inner(), 50);
}

fn scopes_are_nested<E: InProcess>(executor: impl Fn(usize) -> E) {
    fn sum<E: InProcess>(executor: &E, numbers: &[u64]) -> u64 {
        if numbers.len() <= 2 {
            return numbers.iter().sum();
        }
        let (left, right) = numbers.split_at(numbers.len() / 2);
        executor.scope(|s| {
            let left = s.submit(|| sum(executor, left));
            sum(executor, right) + left.result().unwrap()
        })
    }
    let numbers: Vec<u64> = (0..1000).collect();

    assert_eq!(sum(&executor(1), &numbers), 499_500);
}

fn a_value_nobody_claims_is_dropped_within_the_scope<E: InProcess>(executor: impl Fn(usize) -> E) {
    struct Borrows<'a>(&'a AtomicU64);
    impl Drop for Borrows<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let executor = executor(2);

    for _ in 0..100 {
        let dropped = AtomicU64::new(0);
        executor.scope(|s| {
            for _ in 0..10 {
                drop(s.submit(|| Borrows(&dropped)));
            }
        });
        assert_eq!(dropped.into_inner(), 10);
    }
}

fn the_parallel_loop_calls_with_each_input_once<E: InProcess>(executor: impl Fn(usize) -> E) {
    let sum = AtomicU64::new(0);

    executor(3).for_each(1..=10_000, |n| {
        sum.fetch_add(n, Ordering::Relaxed);
    });

    assert_eq!(sum.into_inner(), 50_005_000);
}

fn the_parallel_loop_passes_a_panic_on<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    let caught = catch_unwind(AssertUnwindSafe(|| {
        executor.for_each(0..100, |n| assert!(n != 50, "fifty"));
    }));

    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"fifty"));
}

fn the_parallel_loop_makes_no_further_call_behind_a_panic<E: InProcess>(executor: impl Fn(usize) -> E) {
    // So many are taken together by then that one who has taken these has further ones.
    const TINY: usize = 50_000;
    let executor = executor(2);
    let (gate, calls) = (Gate::default(), AtomicU64::new(0));
    let body = |n| match n {
        0..TINY => {}
        _ => match calls.fetch_add(1, Ordering::SeqCst) {
            0 => gate.pass(),
            1 => {
                gate.wait_for(1);
                let gate = gate.clone();
                // Begun when this worker has left the loop, since the other one is at the gate.
                drop(executor.submit(move || gate.open()));
                panic!("the second");
            }
            _ => {}
        },
    };

    let caught = catch_unwind(AssertUnwindSafe(|| executor.for_each(0..2 * TINY, body)));

    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"the second"));
    assert_eq!(calls.into_inner(), 2);
}

fn the_parallel_loop_asks_no_iterator_that_has_panicked<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    for _ in 0..50 {
        let mut has_panicked = false;
        let inputs = (0..).inspect(|n| {
            assert!(!has_panicked, "asked again");
            if *n == 1_000 {
                has_panicked = true;
                // Until the other worker wants more, too.
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(100) {}
                panic!("no more");
            }
        });

        let caught = catch_unwind(AssertUnwindSafe(|| executor.for_each(inputs, |_| ())));

        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"no more"));
    }
}

fn an_executor_that_is_shut_down_runs_nothing_and_hangs_nobody<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    executor.shutdown();

    assert_eq!(executor.scope(|s| s.submit(|| 1).result()), Err(TaskError::ShutDown));
}

fn what_has_not_started_can_be_cancelled<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();

    let outcome = executor.scope(|s| {
        drop(s.submit(|| gate.pass()));
        gate.wait_for(1);
        let second = s.submit(|| ());
        assert_eq!(second.cancel(), Cancel::Prevented);
        gate.open();
        second.result()
    });

    assert_eq!(outcome, Err(TaskError::Cancelled));
}
