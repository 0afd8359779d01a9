//! What is left over when a pool is gone: nothing.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use raincheck::{Executor, Options, ProcessPool};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Meeting, TOO_LONG, area, claim, meet, pid, run_alone,
    traps::{DEATHS, Harm, Stage, Trap, carry},
};

/// All that this process has of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    threads: usize,
    /// Those that are not reaped among them.
    children: usize,
    shared_pages: usize,
    shared_names: usize,
}

impl Holdings {
    fn now() -> Self {
        let count = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
        let children = fs::read_dir("/proc/self/task").unwrap().map(|thread| {
            // A thread may have ended meanwhile.
            let list = fs::read_to_string(thread.unwrap().path().join("children")).unwrap_or_default();
            list.split_whitespace().count()
        });
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        Self {
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            children: children.sum(),
            shared_pages: maps.lines().filter(|line| line.contains("/memfd:") || line.contains("/dev/shm")).count(),
            shared_names: fs::read_dir("/dev/shm").map_or(0, |names| {
                names
                    .filter(|name| name.as_ref().is_ok_and(|name| name.file_name().to_string_lossy().contains("rc-")))
                    .count()
            }),
        }
    }

    /// Waits until everything is as it was. A thread is gone some time after it has done its last.
    #[track_caller]
    fn assert_as_before(&self, what: &str) {
        let start = Instant::now();
        loop {
            let now = Self::now();
            if now == *self {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(5), "after {what}:\n{now:?} and not\n{self:?}\n{:?}", open());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What the descriptors are.
fn open() -> BTreeMap<String, String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| {
            let what = fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), what.to_string_lossy().into_owned()))
        })
        .collect()
}

#[raincheck::task]
fn doze() {
    thread::sleep(Duration::from_millis(100));
}

/// What a thread has from its first wait on, and the program's clock.
fn warm_up() -> Holdings {
    let pool = ProcessPool::new(1);
    let limited = pool.with(Options::new().time_limit(TOO_LONG));
    assert_eq!(claim(limited.submit(area::call(1, 1))), Ok(1));
    assert_eq!(claim(pool.submit(area::call(1, 1))), Ok(1));
    // Long enough that this thread has to wait.
    assert_eq!(claim(pool.submit(doze::call())), Ok(()));
    drop(pool);
    // The threads of that pool leave meanwhile.
    let mut before = Holdings::now();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        thread::sleep(Duration::from_millis(20));
        before = Holdings::now();
    }
    assert_eq!((before.children, before.shared_pages), (0, 0), "{before:?}");
    before
}

/// What the next test runs by itself.
#[test]
#[ignore = "only started by another test"]
fn nothing_is_left() {
    let before = warm_up();

    let pool = ProcessPool::new(2);
    let tasks: Vec<_> = (0..10_000).map(|n| pool.submit(area::call(n, 1))).collect();
    let while_they_wait = Holdings::now();
    assert!((0..).zip(tasks).all(|(n, task)| claim(task) == Ok(n)));
    assert!(while_they_wait.descriptors <= before.descriptors + 2 + 2 * 4 + 8, "{while_they_wait:?}");
    drop(pool);
    before.assert_as_before("ten thousand tasks");

    let (pool, meeting) = (ProcessPool::new(2), Meeting::new());
    let running = [1, 2].map(|n| pool.submit(meet::call(meeting.path(), n)));
    meeting.wait_for(2);
    let tasks: Vec<_> = (0..100_000).map(|n| pool.submit(area::call(n, 1))).collect();
    let while_they_wait = Holdings::now();
    meeting.open();
    assert!((0..).zip(tasks).all(|(n, task)| claim(task) == Ok(n)));
    assert!(while_they_wait.descriptors <= before.descriptors + 2 + 2 * 4, "{while_they_wait:?}");
    drop((running, pool));
    before.assert_as_before("a hundred thousand futures at a time");

    let pool = ProcessPool::builder().workers(2).tasks_per_worker(5).build();
    assert!(pool.map(area::task(), (0..100).map(|n| (n, 1))).all(|area| area.is_ok()));
    drop(pool);
    before.assert_as_before("workers that were replaced");

    for stage in [Stage::Arriving, Stage::Running, Stage::Answering] {
        for death in DEATHS {
            let pool = ProcessPool::new(2);
            let tasks = [(); 3].map(|()| pool.submit(carry::call(Trap::new(stage, death))));
            tasks.into_iter().for_each(|task| death.assert_told_by(claim(task)));
            // Also while the pool is there: no more than two workers have.
            let now = Holdings::now();
            assert!(now.descriptors <= before.descriptors + 2 + 3 * 4, "{now:?}, {:?}", open());
            drop(pool);
            before.assert_as_before(&format!("{death:?} while {stage:?}"));
        }
    }

    let (pool, meeting) = (ProcessPool::new(2), Meeting::new());
    let running = [1, 2].map(|n| pool.submit(meet::call(meeting.path(), n)));
    meeting.wait_for(2);
    let waiting: Vec<_> = (0..100).map(|n| pool.submit(area::call(n, 1))).collect();
    running.iter().for_each(|task| {
        task.cancel();
    });
    waiting.iter().for_each(|task| {
        task.cancel();
    });
    drop((running, waiting, pool));
    before.assert_as_before("tasks that were cancelled");

    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    let limit = Duration::from_millis(20);
    let slow = pool.with(Options::new().time_limit(limit)).submit(meet::call(meeting.path(), 1));
    assert!(claim(slow).unwrap_err().is_timed_out());
    drop(pool);
    before.assert_as_before("a task that overran");

    let pool = ProcessPool::new(2);
    let idle = claim(pool.submit(pid::call())).unwrap();
    kill_process(Pid::from_raw(idle.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    drop(pool);
    before.assert_as_before("an idle worker that was killed");

    for (program, failed) in [("/no/such/program", true), ("true", true)] {
        let pool = ProcessPool::builder().workers(2).worker_program(program).build();
        assert_eq!(claim(pool.submit(area::call(1, 1))).is_err(), failed);
        drop(pool);
        before.assert_as_before(program);
    }

    let pool = ProcessPool::builder().workers(1).worker_program("/no/such/program").build();
    let task = pool.submit(area::call(1, 1));
    drop(pool);
    before.assert_as_before("a pool that was dropped while it could not start a worker");
    assert!(claim(task).is_err());

    #[raincheck::task]
    fn harm(harm: Harm) {
        harm.strike().unwrap();
    }
    let pool = ProcessPool::builder().workers(2).initializer(harm::call(Harm::Abort)).build();
    assert!(claim(pool.submit(area::call(1, 1))).is_err());
    drop(pool);
    before.assert_as_before("workers that die before they are ready");
}

#[test]
fn nothing_is_left_after_ten_thousand_tasks_and_every_kind_of_death() {
    run_alone("leaks::nothing_is_left");
}
