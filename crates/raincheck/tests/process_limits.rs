//! What a worker may use, and what is said of one that has used it up.
#![cfg(all(feature = "process", unix))]

use std::{fs, io, time::Duration};

#[cfg(target_os = "linux")]
use raincheck::{Blob, Death, Limit};
use raincheck::{Executor, Outcome, ProcessPool, TaskError, TaskFuture};
#[cfg(target_os = "linux")]
use rustix::time::{ClockId, clock_gettime};

/// Longer than anything takes here.
const TOO_LONG: Duration = Duration::from_secs(30);

#[track_caller]
fn claim<T: Send + 'static>(future: TaskFuture<T>) -> Outcome<T> {
    future.result_timeout(TOO_LONG).unwrap_or_else(|future| panic!("it hangs: {future:?}"))
}

#[cfg(target_os = "linux")]
#[track_caller]
fn death<T: std::fmt::Debug>(outcome: Outcome<T>) -> Death {
    match outcome {
        Err(TaskError::WorkerLost(lost)) => lost.death().unwrap_or_else(|| panic!("{}", lost.reason())).clone(),
        other => panic!("{other:?}"),
    }
}

#[raincheck::task]
fn pid() -> u32 {
    std::process::id()
}

/// Uses up so much processor time.
#[cfg(target_os = "linux")]
#[raincheck::task]
fn spin(milliseconds: u64) -> u64 {
    let used = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap();
    let start = used();
    while used() - start < Duration::from_millis(milliseconds) {
        std::hint::spin_loop();
    }
    milliseconds
}

#[test]
#[cfg(target_os = "linux")]
fn a_task_that_uses_up_its_processor_time_is_ended_and_said_to_have() {
    let pool = ProcessPool::builder().workers(1).processor_time(Duration::from_millis(50)).build();

    let outcomes: Vec<_> = pool.map(spin::task(), [30, 500, 30]).group(3).collect();

    assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(30), &Ok(30)));
    let death = death(outcomes[1].clone());
    assert_eq!((death.signal_name(), death.overran()), (Some("SIGXCPU"), Some(Limit::ProcessorTime)));
    assert!(death.to_string().contains("by SIGXCPU (its processor time was used up) while"), "{death}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_task_has_its_processor_time_whatever_others_have_used_before_it() {
    let pool = ProcessPool::builder().workers(1).processor_time(Duration::from_millis(50)).build();

    let tasks = [(); 3].map(|()| pool.submit(spin::call(30)));

    assert_eq!(tasks.map(claim), [Ok(30), Ok(30), Ok(30)]);
}

#[test]
#[cfg(not(target_os = "netbsd"))]
#[should_panic = "a task needs some processor time"]
fn no_processor_time_at_all_is_refused() {
    drop(ProcessPool::builder().processor_time(Duration::ZERO));
}

#[raincheck::task]
fn allocate(bytes: usize) -> u8 {
    let memory = vec![1_u8; bytes];
    memory[memory.len() / 2]
}

#[test]
#[cfg(target_os = "linux")]
fn a_task_that_asks_for_too_much_memory_is_ended_and_said_to_have() {
    let pool = ProcessPool::builder().workers(1).memory_limit(1 << 30).build();
    let greedy = pool.submit(allocate::call(2 << 30));
    let modest = pool.submit(allocate::call(1 << 20));

    let death = death(claim(greedy));

    assert_eq!((death.signal_name(), death.overran()), (Some("SIGABRT"), Some(Limit::Memory)));
    assert!(death.to_string().contains("(it ran out of memory)"), "{death}");
    assert_eq!(claim(modest), Ok(1));
}

#[test]
#[cfg(target_os = "linux")]
fn a_task_whose_arguments_no_worker_can_take_is_given_up_and_costs_nobody_else() {
    #[raincheck::task]
    fn length(blob: Blob) -> usize {
        blob.len()
    }
    let pool = ProcessPool::builder().workers(1).memory_limit(1 << 30).build();

    let task = pool.submit(length::call(Blob::build(2 << 30, |_| ())));
    let next = pool.submit(pid::call());

    let death = death(claim(task));
    assert!(death.task().is_some_and(|task| task.ends_with("length")) && death.ran().is_none(), "{death}");
    assert!(death.to_string().contains("before it could start `process_limits::length`"), "{death}");
    assert!(death.stderr().contains("this worker cannot go on: Cannot allocate memory"), "{death}");
    assert!(claim(next).is_ok());
}

#[test]
fn a_task_that_opens_too_many_files_sees_an_error_and_costs_nobody_else() {
    #[raincheck::task]
    fn open(files: usize) -> io::Result<usize> {
        let open: io::Result<Vec<fs::File>> = (0..files).map(|_| fs::File::open("/dev/null")).collect();
        Ok(open?.len())
    }
    let pool = ProcessPool::builder().workers(1).open_files(32).build();
    let worker = claim(pool.submit(pid::call())).unwrap();

    let error = claim(pool.submit(open::call(40))).unwrap().unwrap_err();

    assert!(error.to_string().contains("Too many open files"), "{error}");
    assert_eq!(claim(pool.submit(open::call(4))).unwrap().unwrap(), 4);
    assert_eq!(claim(pool.submit(pid::call())), Ok(worker));
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_that_has_too_much_memory_is_replaced_between_two_tasks() {
    #[raincheck::task]
    fn leak(bytes: usize) -> u32 {
        std::mem::forget(std::hint::black_box(vec![1_u8; bytes]));
        std::process::id()
    }
    let pool = ProcessPool::builder().workers(1).memory_ceiling(64 << 20).build();

    let tasks: Vec<_> = (0..12).map(|_| pool.submit(leak::call(30 << 20))).collect();
    let pids: Vec<u32> = tasks.into_iter().map(|task| claim(task).unwrap()).collect();

    // Each does three: then it has 90 MiB.
    assert!(pids.chunks(3).all(|three| three.iter().all(|pid| *pid == three[0])), "{pids:?}");
    assert!(pids.chunks(3).map(|three| three[0]).is_sorted_by(|one, next| one != next), "{pids:?}");
}

#[test]
fn workers_are_replaced_after_so_many_tasks_also_while_others_wait() {
    let pool = ProcessPool::builder().workers(2).tasks_per_worker(3).build();

    let tasks: Vec<_> = (0..60).map(|_| pool.submit(pid::call())).collect();
    let mut pids: Vec<u32> = tasks.into_iter().map(|task| claim(task).unwrap()).collect();

    pids.sort_unstable();
    assert!(pids.chunk_by(|one, next| one == next).all(|same| same.len() <= 3), "{pids:?}");
}
