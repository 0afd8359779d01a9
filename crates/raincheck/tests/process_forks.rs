//! A worker whose task has forked, and which dies before the other half does.
#![cfg(all(feature = "process", target_os = "linux"))]

use std::{fs, path::Path, time::Duration};

use raincheck::{Executor, ProcessPool, TaskError};

#[raincheck::task]
#[expect(unsafe_code, reason = "only the system's own call leaves a process with all that this one has open")]
fn fork_and_die(pid: &Path) {
    // SAFETY: the new process calls nothing but what a process with one thread of many may call.
    match unsafe { libc::fork() } {
        // SAFETY: as above; it is killed by who started this.
        0 => unsafe {
            libc::setsid();
            loop {
                libc::pause();
            }
        },
        child => fs::write(pid, child.to_string()).unwrap(),
    }
    std::process::abort();
}

#[test]
fn a_death_is_noticed_though_another_process_holds_the_workers_socket() {
    let path = std::env::temp_dir().join(format!("raincheck-fork-{}", std::process::id()));
    let pool = ProcessPool::new(1);

    let outcome = pool.submit(fork_and_die::call(path.clone())).result_timeout(Duration::from_secs(10));

    let child = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    std::process::Command::new("kill").args(["-s", "KILL", &child]).status().unwrap();
    match outcome {
        Ok(Err(TaskError::WorkerLost(lost))) => assert_eq!(lost.death().unwrap().signal_name(), Some("SIGABRT")),
        other => panic!("{other:?}"),
    }
}
