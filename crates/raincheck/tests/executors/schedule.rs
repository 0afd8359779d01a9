//! Tasks that are submitted later, again and again, or anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use raincheck::{Executor, InProcess, Options, Retry, TaskError};

use crate::{
    every_concurrent_executor_keeps, every_executor_keeps,
    gate::{Counted, TOO_LONG, claim},
};

every_executor_keeps! {
    a_delayed_task_runs_after_its_delay,
    a_delayed_task_can_be_called_off,
    at_a_fixed_rate_it_runs_until_it_is_cancelled,
    with_a_fixed_delay_it_runs_until_it_is_cancelled,
    a_panic_ends_the_series,
    shutting_down_ends_the_series,
    a_failing_task_is_tried_again_until_it_succeeds,
    the_last_failure_is_the_outcome,
    no_attempt_is_lost_that_follows_at_once,
    a_panicking_attempt_is_tried_again,
    an_async_task_is_tried_again,
}

every_concurrent_executor_keeps! {
    waiting_for_the_next_attempt_holds_no_worker,
    cancelling_ends_the_attempts,
}

const SHORT: Duration = Duration::from_millis(10);

fn a_delayed_task_runs_after_its_delay<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let start = Instant::now();

    let task = executor.submit_after(SHORT, Instant::now);

    assert!(claim(task).unwrap() - start >= SHORT);
}

fn a_delayed_task_can_be_called_off<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (counted, alive) = Counted::new();

    let task = executor.submit_after(TOO_LONG, move || drop(counted));
    task.cancel();

    assert_eq!(claim(task), Err(TaskError::Cancelled));
    assert_eq!(alive(), 0);
}

fn at_a_fixed_rate_it_runs_until_it_is_cancelled<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (told, hears) = mpsc::channel();

    let began = Instant::now();
    let series = executor.submit_at_fixed_rate(SHORT, move || told.send(Instant::now()).unwrap());
    let runs: Vec<Instant> = (0..5).map(|_| hears.recv_timeout(TOO_LONG).unwrap()).collect();
    series.cancel();

    // A run may be late, and the next one all the sooner after it; none is early.
    assert!((0..).zip(&runs).all(|(n, run)| *run >= began + n * SHORT));
    assert_eq!(claim(series), Err(TaskError::Cancelled));
    // The closure goes with the series, once a run that was under way has ended.
    while hears.recv_timeout(TOO_LONG).is_ok() {}
}

fn with_a_fixed_delay_it_runs_until_it_is_cancelled<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (told, hears) = mpsc::channel();

    let series = executor.submit_with_fixed_delay(SHORT, move || told.send(Instant::now()).unwrap());
    let runs: Vec<Instant> = (0..3).map(|_| hears.recv_timeout(TOO_LONG).unwrap()).collect();
    series.cancel();

    assert!(runs.windows(2).all(|pair| pair[1] - pair[0] >= SHORT));
    assert_eq!(claim(series), Err(TaskError::Cancelled));
}

fn a_panic_ends_the_series<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let mut runs = 0;

    let series = executor.submit_at_fixed_rate(Duration::from_millis(1), move || {
        runs += 1;
        assert!(runs < 3, "the third run");
    });

    assert!(claim(series).unwrap_err().to_string().ends_with("the third run"));
}

fn shutting_down_ends_the_series<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (told, hears) = mpsc::channel();
    let series = executor.submit_at_fixed_rate(Duration::from_millis(1), move || told.send(()).unwrap());
    hears.recv_timeout(TOO_LONG).unwrap();

    executor.shutdown();

    assert_eq!(claim(series), Err(TaskError::ShutDown));
}

/// Fails so many times, and then gives how often it was called.
fn failing(times: u32) -> impl Fn() -> Result<u32, String> + Clone + Send + 'static {
    let calls = Arc::new(AtomicU32::new(0));
    move || match calls.fetch_add(1, Ordering::SeqCst) + 1 {
        call if call <= times => Err(format!("failure {call}")),
        call => Ok(call),
    }
}

fn a_failing_task_is_tried_again_until_it_succeeds<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let start = Instant::now();

    let task = executor.submit_retrying(Retry::times(5).backoff(SHORT), failing(2));

    assert_eq!(claim(task), Ok(Ok(3)));
    assert!(start.elapsed() >= SHORT + 2 * SHORT);
}

fn the_last_failure_is_the_outcome<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);

    let task = executor.submit_retrying(Retry::times(2), failing(9));

    assert_eq!(claim(task), Ok(Err("failure 3".into())));
}

fn no_attempt_is_lost_that_follows_at_once<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    // The clock begins an attempt while the one before it is still being left.
    for _ in 0..3_000 {
        let task = executor.submit_retrying(Retry::times(3), || Err::<(), _>("no luck"));
        assert_eq!(claim(task), Ok(Err("no luck")));
    }
}

fn a_panicking_attempt_is_tried_again<E: InProcess>(executor: impl Fn(usize) -> E) {
    let (executor, fails) = (executor(1), failing(1));

    let task = executor.submit_retrying(Retry::times(1), move || Ok::<u32, ()>(fails().expect("it goes well")));

    assert_eq!(claim(task), Ok(Ok(2)));
}

fn an_async_task_is_tried_again<E: InProcess>(executor: impl Fn(usize) -> E) {
    let (executor, fails) = (executor(1), failing(2));

    let task = executor.submit_retrying_async(Retry::times(2), move || {
        let fails = fails.clone();
        async move { fails() }
    });

    assert_eq!(claim(task), Ok(Ok(3)));
}

fn waiting_for_the_next_attempt_holds_no_worker<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let retrying = executor.submit_retrying(Retry::times(1).backoff(TOO_LONG), failing(9));

    assert_eq!(claim(executor.submit(|| 1)), Ok(1));
    retrying.cancel();
    assert_eq!(claim(retrying), Err(TaskError::Cancelled));
}

fn cancelling_ends_the_attempts<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (told, hears) = mpsc::channel();
    let task = executor.with(Options::new()).submit_retrying(Retry::times(u32::MAX), move || {
        told.send(()).unwrap();
        Err::<(), ()>(())
    });
    hears.recv_timeout(TOO_LONG).unwrap();

    task.cancel();

    assert_eq!(claim(task), Err(TaskError::Cancelled));
    while hears.recv_timeout(TOO_LONG).is_ok() {}
}
