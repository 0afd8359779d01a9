//! What tasks do to the workers they are in: each costs itself, and nobody else.
#![expect(unsafe_code, reason = "that is how descriptors are used that belong to others")]

use std::{os::unix::process::CommandExt, path::Path, process::Command};

use raincheck::{Executor, ProcessPool};
use rustix::process::{Pid, setpgid};

use crate::{Meeting, area, assert_gone, claim, meet};

/// More than any worker has.
const DESCRIPTORS: i32 = 64;

/// Leaves the group that its worker leads for that of a child.
#[raincheck::task]
fn join_another_group(folder: &Path) {
    let mut child = Command::new("sleep").arg("30").process_group(0).spawn().unwrap();
    setpgid(None, Some(Pid::from_child(&child))).unwrap();
    meet(folder, 1);
    child.wait().unwrap();
}

#[test]
fn a_task_that_has_left_its_workers_group_is_killed_all_the_same() {
    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    let task = pool.submit(join_another_group::call(meeting.path()));
    meeting.wait_for(1);
    let worker = pool.pids()[0];

    task.cancel();

    assert!(claim(task).unwrap_err().is_cancelled());
    assert_gone(worker);
    assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
}

#[raincheck::task]
fn close_everything() {
    for number in 0..DESCRIPTORS {
        // SAFETY: it is not safe, and costs this process its life.
        unsafe { libc::close(number) };
    }
    loop {
        std::thread::park();
    }
}

#[test]
fn a_task_that_closes_all_descriptors_is_ended() {
    let pool = ProcessPool::new(1);

    let error = claim(pool.submit(close_everything::call())).unwrap_err();

    assert!(error.to_string().contains("close_everything"), "{error}");
    assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
}

#[raincheck::task]
fn write_to_everything(byte: u8, times: usize) {
    let bytes = vec![byte; times];
    for number in 3..DESCRIPTORS {
        // SAFETY: it is not safe either; the bytes are there.
        unsafe { libc::write(number, bytes.as_ptr().cast(), times) };
    }
}

#[test]
fn a_task_that_writes_to_all_descriptors_costs_itself_alone() {
    // Among them what begins as frames do, and what is as long as several.
    for (byte, times) in [0, 1, 9, 255].into_iter().flat_map(|byte| [1, 8, 24, 4096].map(|times| (byte, times))) {
        let pool = ProcessPool::new(1);
        assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));

        let task = pool.submit(write_to_everything::call(byte, times));
        let next = pool.submit(area::call(6, 7));

        let error = claim(task).unwrap_err().to_string();
        assert!(error.contains("write_to_everything"), "{byte} {times} times: {error}");
        assert_eq!(claim(next), Ok(42), "{byte} {times} times");
    }
}
