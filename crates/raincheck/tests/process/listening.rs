//! Who waits for a task listens to its worker, and afterwards nobody may: what the worker says is heard all the same.

use std::{
    path::Path,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use raincheck::{Executor, Outcome, ProcessPool, TaskFuture};

use crate::{Meeting, TOO_LONG, area, claim, meet, pid};

#[raincheck::task]
fn fill(length: usize) -> String {
    "7".repeat(length)
}

/// Meets first, and then returns more than a socket holds.
#[raincheck::task]
fn meet_and_fill(folder: &Path, length: usize) -> String {
    meet(folder, 0);
    "7".repeat(length)
}

/// More than a socket holds.
const LARGE: usize = 500_000;

/// The outcome, which comes though this thread does not listen.
#[track_caller]
fn outcome_told<T: Clone + Send + 'static>(future: &TaskFuture<T>) -> Outcome<T> {
    let (tell, told) = mpsc::channel();
    future.on_done(move |outcome| drop(tell.send(outcome.clone())));
    told.recv_timeout(TOO_LONG).expect("nobody hears the worker")
}

#[test]
fn a_value_that_nobody_waits_for_comes_where_the_one_before_was_waited_for() {
    let pool = ProcessPool::new(1);
    for n in 0..300 {
        assert_eq!(claim(pool.submit(area::call(6, n))), Ok(6 * n));

        assert_eq!(outcome_told(&pool.submit(area::call(7, n))), Ok(7 * n));
    }
}

#[test]
fn a_large_value_that_nobody_waits_for_comes_where_the_one_before_was_waited_for() {
    let pool = ProcessPool::new(1);
    for _ in 0..5 {
        assert_eq!(claim(pool.submit(fill::call(1))), Ok("7".to_owned()));

        assert_eq!(outcome_told(&pool.submit(fill::call(LARGE))), Ok("7".repeat(LARGE)));
    }
}

#[test]
fn a_value_comes_though_whoever_waited_for_it_has_given_up() {
    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
    let task = pool.submit(meet_and_fill::call(meeting.path(), LARGE));
    assert!(!task.wait_timeout(Duration::from_millis(5)));

    meeting.open();

    assert_eq!(outcome_told(&task), Ok("7".repeat(LARGE)));
}

#[test]
fn a_worker_that_dies_while_nobody_listens_is_seen_to_at_once() {
    let pool = ProcessPool::new(1);
    let worker = claim(pool.submit(pid::call())).unwrap();

    let killed = Command::new("kill").args(["-9", &worker.to_string()]).status().unwrap();

    assert!(killed.success());
    // Whoever sees to it reaps it, so that no zombie stays.
    let start = Instant::now();
    while Path::new(&format!("/proc/{worker}")).exists() {
        assert!(start.elapsed() < TOO_LONG, "nobody sees that process {worker} has died");
        thread::yield_now();
    }
}

#[test]
fn many_threads_that_wait_or_do_not_have_one_worker_among_them() {
    let pool = ProcessPool::new(1);
    thread::scope(|scope| {
        for thread in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for n in 0..200 {
                    let task = pool.submit(area::call(thread, n));
                    let outcome = if n % 3 == thread % 3 { outcome_told(&task) } else { claim(task) };
                    assert_eq!(outcome, Ok(thread * n));
                }
            });
        }
    });
}
