//! What becomes of tasks whose workers are processes, whatever happens to these.
#![cfg(all(feature = "process", unix))]

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use raincheck::{Cancel, Death, Executor, Full, Inline, Options, Outcome, ProcessPool, TaskError, TaskFuture};

/// Longer than anything takes here; what takes longer hangs, and the test fails.
const TOO_LONG: Duration = Duration::from_secs(30);

#[track_caller]
fn claim<T: Send + 'static>(future: TaskFuture<T>) -> Outcome<T> {
    future.result_timeout(TOO_LONG).unwrap_or_else(|future| panic!("it hangs: {future:?}"))
}

#[raincheck::task]
fn area(width: u32, height: u32) -> u32 {
    width * height
}

#[raincheck::task]
fn pid() -> u32 {
    std::process::id()
}

#[test]
fn a_call_is_made_in_another_process() {
    let pool = ProcessPool::new(2);

    assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
    assert_ne!(claim(pool.submit(pid::call())), Ok(std::process::id()));
}
