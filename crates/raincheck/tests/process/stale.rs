//! Workers that are not what the pool takes them for.

use std::{env, path::PathBuf};

use raincheck::{Executor, ProcessPool, TaskError};

use crate::{area, claim};

#[raincheck::task(name = "stale.sum")]
fn sum(a: u32, b: u32) -> u32 {
    a + b
}

/// A program with other tasks, which `cargo test` builds as an example.
fn stale_worker() -> PathBuf {
    let this = env::current_exe().unwrap();
    let worker = this.ancestors().nth(2).unwrap().join("examples").join("stale_worker");
    assert!(worker.exists(), "`cargo build --examples --features process` makes {}", worker.display());
    worker
}

fn error_of(call: impl FnOnce(&ProcessPool) -> raincheck::TaskFuture<u32>) -> String {
    let pool = ProcessPool::builder().workers(1).worker_program(stale_worker()).build();
    let error = claim(call(&pool)).unwrap_err();
    assert!(matches!(error, TaskError::NotCarried(_)), "{error:?}");
    error.to_string()
}

#[test]
fn a_task_that_the_worker_lacks_is_refused_by_name() {
    let error = error_of(|pool| pool.submit(area::call(6, 7)));

    assert!(error.contains("has no task `process::area`") && error.contains("from the same source"), "{error}");
}

#[test]
fn a_task_of_another_signature_is_refused_by_name() {
    let error = error_of(|pool| pool.submit(sum::call(1, 2)));

    assert!(error.contains("`stale.sum` is `fn(a: u64) -> u64` and not `fn(a: u32, b: u32) -> u32`"), "{error}");
    assert!(error.contains("from the same source"), "{error}");
}
