//! Workers whose tasks have forked, and parents that have: the other half has all that they had open.
#![cfg(all(feature = "process", target_os = "linux"))]

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use raincheck::{Blob, Event, Executor, Options, Outcome, ProcessPool, TaskError, TaskFuture};

/// What another test runs as a program of its own: starts a worker, forks, and says which processes these are.
#[test]
#[ignore = "only started by another test"]
#[expect(unsafe_code, reason = "only the system's own call leaves a process with all that this one has open")]
fn parent_that_forks() {
    let pool = ProcessPool::new(1);
    let worker = pool.submit(pid::call()).result().unwrap();
    // SAFETY: as below.
    match unsafe { libc::fork() } {
        // SAFETY: as below.
        0 => unsafe {
            libc::setsid();
            loop {
                libc::pause();
            }
        },
        child => io::stdout().write_all(format!("pids {worker} {child}\n").as_bytes()).unwrap(),
    }
    thread::sleep(Duration::from_secs(30));
}

#[test]
fn no_worker_outlives_its_parent_though_another_process_holds_what_that_had_open() {
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact", "parent_that_forks"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let said = lines.find_map(|line| Some(line.unwrap().split_once("pids ")?.1.to_owned())).unwrap();
    let (worker, child) = said.trim().split_once(' ').unwrap();

    parent.kill().unwrap();

    parent.wait().unwrap();
    let stat = format!("/proc/{worker}/stat");
    // Whoever has it now may not reap it.
    let is_there = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let start = Instant::now();
    while is_there() && start.elapsed() < Duration::from_secs(1) {
        thread::yield_now();
    }
    let outlives = is_there();
    Command::new("kill").args(["-s", "KILL", worker, child]).stderr(Stdio::null()).status().unwrap();
    assert!(!outlives, "process {worker} is still there");
}

#[raincheck::task]
fn pid() -> u32 {
    std::process::id()
}

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
    Command::new("kill").args(["-s", "KILL", &child]).status().unwrap();
    match outcome {
        Ok(Err(TaskError::WorkerLost(lost))) => assert_eq!(lost.death().unwrap().signal_name(), Some("SIGABRT")),
        other => panic!("{other:?}"),
    }
}

/// Forks, and lets both processes return, but one after the other: whether this is the worker's own value, and the exit
/// code of the other.
#[raincheck::task]
#[expect(unsafe_code, reason = "only the system's own call leaves a process with all that this one has open")]
fn fork_and_return(argument: Blob, how: &str) -> (bool, Option<i32>, Blob) {
    use rustix::process::{Pid, WaitOptions, waitpid};
    // SAFETY: what the new process does is what it must not do; it has enough to itself to come as far as that.
    match unsafe { libc::fork() } {
        0 if how == "progress" => {
            raincheck::progress(1);
            (false, None, argument)
        }
        0 => (false, None, argument),
        child => {
            let (_, status) = waitpid(Pid::from_raw(child), WaitOptions::empty()).unwrap().unwrap();
            (true, status.exit_status(), argument)
        }
    }
}

#[track_caller]
fn claim<T: Send + 'static>(future: TaskFuture<T>) -> Outcome<T> {
    future.result_timeout(Duration::from_secs(10)).unwrap_or_else(|future| panic!("it hangs: {future:?}"))
}

#[raincheck::task]
fn abort() {
    std::process::abort();
}

#[test]
fn what_a_task_has_forked_ends_instead_of_answering_for_it() {
    let pool = ProcessPool::new(1);
    let worker = claim(pool.submit(pid::call()));
    let large = Blob::from(vec![7; 1 << 20]);
    let seen = pool.with(Options::new().observer(|_: &Event| {}));

    let alone = [
        pool.submit(fork_and_return::call(large.clone(), "return")),
        seen.submit(fork_and_return::call(large.clone(), "progress")),
    ];
    let inputs = (0..3).map(|_| (large.clone(), "return".to_owned()));
    let together: Outcome<Vec<_>> = pool.map(fork_and_return::task(), inputs).group(3).collect();

    let outcomes = alone.into_iter().map(claim).chain(together.unwrap().into_iter().map(Ok));
    for outcome in outcomes {
        let (is_the_workers, code, argument) = outcome.unwrap();
        assert_eq!((is_the_workers, code), (true, Some(1)));
        assert!(argument == large);
    }
    assert_eq!(claim(pool.submit(pid::call())), worker);
    match claim(pool.submit(abort::call())) {
        Err(TaskError::WorkerLost(lost)) => {
            let stderr = lost.death().unwrap().stderr();
            assert!(stderr.contains("a process that a task has forked is ended here"), "{stderr}");
        }
        other => panic!("{other:?}"),
    }
}
