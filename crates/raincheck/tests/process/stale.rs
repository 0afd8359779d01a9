//! Workers that are not what the pool takes them for.

use std::{env, fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use raincheck::{Executor, ProcessPool, TaskError};

use crate::{Meeting, area, claim};

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

/// What a pool says whose workers are a program that does this, with its standard input for the socket.
fn error_of_script(script: &str) -> String {
    let folder = Meeting::new();
    let program = folder.path().join("worker");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let pool =
        ProcessPool::builder().workers(1).worker_program(&program).start_timeout(Duration::from_millis(300)).build();

    let error = claim(pool.submit(area::call(6, 7))).unwrap_err().to_string();

    assert!(error.contains(&format!("`{}`", program.display())), "{error}");
    error
}

#[test]
fn a_worker_of_another_version_is_refused_by_name() {
    // All bits of the version are set, and no end of the process gives it away.
    let error = error_of_script(r"printf 'raincheck\0\0\0\377\377\377\377' >&0; exec sleep 40");

    assert!(error.contains("speaks version 4294967295 of raincheck's protocol and not "), "{error}");
    assert!(error.contains("with the same version of raincheck"), "{error}");
}

#[test]
fn a_worker_that_talks_nonsense_is_refused_by_name() {
    let error = error_of_script("echo What a day >&0; exec sleep 40");

    assert!(error.contains("what it says is not raincheck's protocol: is it a program with tasks?"), "{error}");
}

#[test]
fn a_worker_that_says_nothing_is_refused_by_name() {
    let error = error_of_script("exec sleep 40");

    assert!(error.contains("it has not said in time that it is a worker"), "{error}");
}
