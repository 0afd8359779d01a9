//! What only a pool of threads has: rows T and S8 to S10.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use raincheck::{Executor, Handle, ThreadPool, default_pool};

use crate::gate::{Gate, claim};

fn threads(pool: &ThreadPool) -> usize {
    let shown = format!("{pool:?}");
    let (_, rest) = shown.split_once("threads: ").unwrap();
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// T2
#[test]
fn without_a_number_there_is_a_worker_for_each_processor() {
    let processors = thread::available_parallelism().unwrap().get();

    assert_eq!(ThreadPool::builder().build().workers(), processors);
    assert_eq!(default_pool().workers(), processors);
}

/// T3
#[test]
fn many_tasks_have_as_many_threads_as_there_are_workers() {
    let pool = ThreadPool::new(4);
    let gate = Gate::default();

    let tasks: Vec<_> = (0..60)
        .map(|_| {
            pool.submit({
                let gate = gate.clone();
                move || gate.pass()
            })
        })
        .collect();
    gate.wait_for(4);

    assert_eq!(threads(&pool), 4);
    gate.open();
    assert!(tasks.into_iter().all(|task| claim(task) == Ok(())));
}

/// P9
#[test]
fn a_task_that_maps_does_the_work_itself_if_nobody_else_does() {
    let pool = ThreadPool::new(1);
    let inner = pool.handle();

    let (me, ordered, unordered) = claim(pool.submit(move || {
        let who = |_: u32| thread::current().id();
        let ordered: HashSet<_> = inner.map(who, 0..1000).map(Result::unwrap).collect();
        let unordered: HashSet<_> = inner.map(who, 0..1000).as_completed().map(|(_, id)| id.unwrap()).collect();
        (thread::current().id(), ordered, unordered)
    }))
    .unwrap();

    assert_eq!((ordered, unordered), (HashSet::from([me]), HashSet::from([me])));
}

/// T4
#[test]
fn tasks_one_after_the_other_have_one_thread() {
    let pool = ThreadPool::new(4);

    let threads: HashSet<_> = (0..3).map(|_| claim(pool.submit(|| thread::current().id())).unwrap()).collect();

    assert!(threads.len() <= 2, "the first may still be on its way back when the second is submitted");
}

#[test]
fn no_thread_is_started_before_there_is_work() {
    assert_eq!(threads(&ThreadPool::new(4)), 0);
}

/// S8, S9
#[test]
fn shutting_down_ends_the_threads() {
    let pool = ThreadPool::new(3);
    let gate = Gate::default();
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            pool.submit({
                let gate = gate.clone();
                move || gate.pass()
            })
        })
        .collect();
    gate.wait_for(3);
    gate.open();

    pool.shutdown();

    assert_eq!(threads(&pool), 0);
    assert!(tasks.into_iter().all(|task| task.is_done()));
}

#[test]
fn tasks_start_in_the_order_of_submission() {
    let pool = ThreadPool::new(1);
    let (told, hears) = std::sync::mpsc::channel();

    for n in 0..10_000 {
        let told = told.clone();
        drop(pool.submit(move || told.send(n).unwrap()));
    }
    drop(told);

    assert!(hears.iter().eq(0..10_000));
}

#[test]
fn tasks_that_take_long_start_in_the_order_of_submission_on_several_workers() {
    let pool = ThreadPool::new(2);
    let (first, started) = (Gate::default(), Arc::new(Mutex::new(Vec::new())));
    let mut tasks: Vec<_> = (0..2).map(|_| pool.submit(work_behind(&first))).collect();
    first.wait_for(2);

    let gates: Vec<Gate> = (0..20).map(|_| Gate::default()).collect();
    tasks.extend(gates.iter().enumerate().map(|(n, gate)| {
        let (started, work) = (Arc::clone(&started), work_behind(gate));
        pool.submit(move || {
            started.lock().unwrap().push(n);
            work();
        })
    }));
    first.open();
    for gate in &gates {
        gate.wait_for(1);
        gate.open();
    }

    assert!(tasks.into_iter().all(|task| claim(task) == Ok(())));
    let started = started.lock().unwrap();
    assert!(started.iter().enumerate().all(|(place, n)| n.abs_diff(place) < 2), "{started:?}");
}

/// Work of a millisecond, which is longer than anything that is quick.
fn work_behind(gate: &Gate) -> impl FnOnce() + Send + 'static {
    let gate = gate.clone();
    move || {
        gate.pass();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1) {
            thread::yield_now();
        }
    }
}

#[test]
fn what_a_worker_took_with_a_long_task_does_not_wait_for_it() {
    let pool = ThreadPool::new(2);
    let (first, long, started) = (Gate::default(), Gate::default(), Arc::new(Mutex::new(Vec::new())));
    let hold = |gate: &Gate| {
        let gate = gate.clone();
        move || gate.pass()
    };
    let held: Vec<_> = (0..2).map(|_| pool.submit(hold(&first))).collect();
    first.wait_for(2);
    // So that whoever takes the long one takes several at once by then.
    drop((0..2_000).map(|_| pool.submit(|| ())).collect::<Vec<_>>());

    let long_task = pool.submit(hold(&long));
    let tasks: Vec<_> = (0..20_000)
        .map(|n| {
            let started = Arc::clone(&started);
            pool.submit(move || started.lock().unwrap().push(n))
        })
        .collect();
    first.open();
    assert!(tasks.into_iter().chain(held).all(|task| claim(task) == Ok(())));
    long.open();

    assert_eq!(claim(long_task), Ok(()));
    let latest =
        started.lock().unwrap().iter().enumerate().map(|(place, n): (usize, &usize)| place.saturating_sub(*n)).max();
    assert!(latest < Some(5_000), "{latest:?} others have started before one that was submitted before them");
}

#[test]
fn the_programs_own_pool_needs_no_set_up() {
    assert_eq!(raincheck::submit(|| 6 * 7).result(), Ok(42));
    assert_eq!(raincheck::map(|n: u8| n + 1, [1, 2]).collect::<Result<Vec<_>, _>>(), Ok(vec![2, 3]));
    let words = ["borrowed"];
    assert_eq!(raincheck::scope(|s| s.submit(|| words[0].len()).result()), Ok(8));
}

#[test]
fn a_worker_state_that_panics_when_dropped_hangs_nobody() {
    struct Trap;
    impl Drop for Trap {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let pool = ThreadPool::builder().workers(1).worker_state(|_lane| Trap).build();

    assert_eq!(claim(pool.submit(|| 1)), Ok(1));

    assert!(pool.shutdown_timeout(crate::gate::TOO_LONG));
    assert_eq!(threads(&pool), 0);
}

/// Does this inside so many scopes' tasks, each of which is run by who waits for it.
fn inside_tasks<R: Send>(pool: &Handle<ThreadPool>, deep: usize, work: Box<dyn FnOnce() -> R + Send + '_>) -> R {
    if deep == 0 {
        return work();
    }
    pool.scope(|scope| scope.submit(move || inside_tasks(pool, deep - 1, work)).result().unwrap())
}

/// Waits in one worker for a scope's task that another has started, and there, so deep inside it, for one that nobody has.
#[track_caller]
fn assert_who_waits_runs_what_is_waited_for(deep: usize) {
    let pool = ThreadPool::new(2);
    let inner = pool.handle();
    let (share, shared) = mpsc::channel();
    let (run, has_run) = mpsc::channel();

    let waiter = pool.submit(move || {
        let inner = &inner;
        inner.scope(move |scope| {
            let wait_for_another = move || {
                inner.scope(move |scope| {
                    let task = scope.submit(move || run.send(thread::current().id()).unwrap());
                    share.send(thread::current().id()).unwrap();
                    // Not told to the pool, so that no other thread takes this one's place.
                    let by = has_run.recv().unwrap();
                    task.result().unwrap();
                    by
                })
            };
            let outer = scope.submit(move || inside_tasks(inner, deep, Box::new(wait_for_another)));
            let other = shared.recv().unwrap();
            let by = outer.result().unwrap();
            (by == thread::current().id(), other != by)
        })
    });

    assert_eq!(claim(waiter), Ok((true, true)));
}

/// Whoever waits for a scope's task that another worker has started works at what that one waits for.
#[test]
fn a_worker_that_waits_for_a_scopes_task_runs_what_that_waits_for() {
    assert_who_waits_runs_what_is_waited_for(0);
}

/// And so it does where that one runs, while it waits itself, others that wait.
#[test]
fn a_worker_that_waits_for_a_scopes_task_runs_what_a_task_inside_that_waits_for() {
    assert_who_waits_runs_what_is_waited_for(1);
    assert_who_waits_runs_what_is_waited_for(3);
}

#[test]
fn a_scopes_task_that_brings_much_along_needs_little_more_stack_than_that() {
    const LARGE: usize = 128 * 1024;
    let pool = ThreadPool::builder().workers(1).stack_size(4 * LARGE).build();
    let large = [1_u8; LARGE];

    let sum =
        pool.scope(|scope| scope.submit(move || large.iter().map(|&byte| usize::from(byte)).sum::<usize>()).result());

    assert_eq!(sum, Ok(LARGE));
}

/// In a process of its own, which has no memory for another thread.
#[cfg(target_os = "linux")]
#[test]
fn a_task_whose_time_nobody_keeps_ends_and_says_so() {
    use std::{env, fs, process::Command};

    use raincheck::{Options, TaskError};
    use rustix::process::{Resource, Rlimit, setrlimit};

    const IS_CHILD: &str = "RAINCHECK_TEST_WITHOUT_CLOCK";

    if env::var_os(IS_CHILD).is_none() {
        let name = "threads::a_task_whose_time_nobody_keeps_ends_and_says_so";
        let child = Command::new(env::current_exe().unwrap()).args([name, "--exact"]).env(IS_CHILD, "1").output();
        let child = child.unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        return;
    }
    let pool = ThreadPool::new(1);
    claim(pool.submit(|| ())).unwrap();
    let limited = pool.with(Options::new().time_limit(Duration::from_secs(9)));
    let borrowed = 1;

    let status = fs::read_to_string("/proc/self/status").unwrap();
    let (_, taken) = status.split_once("VmSize:").unwrap();
    let taken: u64 = taken.split_whitespace().next().unwrap().parse().unwrap();
    let limit = |bytes| setrlimit(Resource::As, Rlimit { current: bytes, maximum: None }).unwrap();
    limit(Some((taken << 10) + (1 << 20)));
    let in_pool = limited.scope(|s| s.submit(|| borrowed).result());
    let in_scope = pool.scope(|s| s.submit(|| limited.scope(|s| s.submit(|| borrowed).result())).result());
    let awaited = claim(limited.submit(async { 1 }));
    limit(None);
    let later = claim(limited.submit(|| 1));

    for outcome in [in_pool, in_scope.unwrap(), awaited] {
        assert!(matches!(outcome, Err(TaskError::WorkerLost(_))), "{outcome:?}");
    }
    assert_eq!(later, Ok(1));
}
