//! What tasks write to stdout and stderr, and want to read from stdin, is no part of what workers and parents say.

use std::{
    io::{self, Read, Write},
    process::Command,
};

use raincheck::{Executor, ProcessPool};

use crate::claim;

const TASKS: u32 = 20;
/// More than a pipe or a socket holds.
const LENGTH: usize = 300_000;

/// Is loud, and listens.
#[raincheck::task]
fn chatter(n: u32) -> (u32, usize) {
    let noise = "~".repeat(LENGTH);
    io::stdout().write_all(noise.as_bytes()).unwrap();
    io::stdout().flush().unwrap();
    io::stderr().write_all(noise.as_bytes()).unwrap();
    let heard = io::stdin().read_to_end(&mut Vec::new()).unwrap();
    (n, heard)
}

/// What the next test starts as a program of its own.
#[test]
#[ignore = "only started by another test"]
fn tasks_that_chatter() {
    let pool = ProcessPool::new(2);

    let tasks: Vec<_> = (0..TASKS).map(|n| pool.submit(chatter::call(n))).collect();

    assert!((0..).zip(tasks).all(|(n, task)| claim(task) == Ok((n, 0))));
}

#[test]
fn what_tasks_print_arrives_whole_and_disturbs_nobody() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact", "streams::tasks_that_chatter"])
        .output()
        .unwrap();

    assert!(output.status.success(), "{}", output.status);
    for stream in [output.stdout, output.stderr] {
        assert_eq!(stream.iter().filter(|byte| **byte == b'~').count(), TASKS as usize * LENGTH);
    }
}
