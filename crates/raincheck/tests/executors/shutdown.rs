//! Shutting down: rows S, and promise 10.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use raincheck::{Executor, InProcess, Inline, TaskError};

use crate::{
    every_concurrent_executor_keeps, every_executor_keeps,
    gate::{Counted, Gate, TOO_LONG, claim},
};

every_executor_keeps! {
    /// S1
    after_it_nothing_is_taken,
    /// S4, E17
    it_waits_for_what_was_submitted,
    /// S7
    cancelled_tasks_do_not_hold_it_up,
    it_can_be_called_twice_and_from_many_threads,
    /// S10
    dropping_the_executor_finishes_its_work,
    a_task_may_shut_its_executor_down,
    a_handle_refuses_when_the_executor_is_gone,
}

every_concurrent_executor_keeps! {
    /// S5, P10
    what_is_queued_can_be_cancelled,
    /// P10
    what_is_queued_can_be_run_elsewhere,
    /// S11, P10
    it_can_wait_for_so_long,
    closing_does_not_wait,
    an_unwinding_caller_does_not_wait_for_the_queue,
    a_submitter_that_waits_for_room_is_let_go,
}

fn after_it_nothing_is_taken<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    executor.shutdown();
    let (counted, alive) = Counted::new();

    let task = executor.submit(move || drop(counted));

    assert_eq!(claim(task), Err(TaskError::ShutDown));
    assert_eq!(alive(), 0);
}

fn it_waits_for_what_was_submitted<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..1000 {
        let ran = Arc::clone(&ran);
        drop(executor.submit(move || ran.fetch_add(1, Ordering::SeqCst)));
    }

    executor.shutdown();

    assert_eq!(ran.load(Ordering::SeqCst), 1000);
}

fn cancelled_tasks_do_not_hold_it_up<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    for _ in 0..100 {
        executor.submit(|| ()).cancel();
    }

    assert!(executor.shutdown_timeout(TOO_LONG));
}

fn it_can_be_called_twice_and_from_many_threads<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let task = executor.submit(|| 1);

    thread::scope(|s| (0..4).for_each(|_| drop(s.spawn(|| executor.shutdown()))));
    executor.shutdown();

    assert_eq!(claim(task), Ok(1));
}

fn dropping_the_executor_finishes_its_work<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let tasks: Vec<_> = (0..500).map(|n| executor.submit(move || n)).collect();

    drop(executor);

    assert!(tasks.iter().all(raincheck::TaskFuture::is_done));
    assert_eq!(tasks.into_iter().map(|task| claim(task).unwrap()).sum::<i32>(), 124_750);
}

fn a_task_may_shut_its_executor_down<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let handle = executor.handle();

    let task = executor.submit(move || handle.shutdown());

    assert_eq!(claim(task), Ok(()));
    assert_eq!(claim(executor.submit(|| ())), Err(TaskError::ShutDown));
}

fn a_handle_refuses_when_the_executor_is_gone<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let handle = executor.handle();
    executor.shutdown();
    drop(executor);

    assert_eq!(claim(handle.submit(|| ())), Err(TaskError::ShutDown));
}

fn what_is_queued_can_be_cancelled<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let gate = Gate::default();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            executor.submit({
                let gate = gate.clone();
                move || gate.pass()
            })
        })
        .collect();
    gate.wait_for(2);

    drop(executor.shutdown_now());
    gate.open();
    let cancelled = tasks
        .into_iter()
        .filter(|task| {
            task.wait();
            task.is_cancelled()
        })
        .count();

    assert_eq!(cancelled, 48);
}

fn what_is_queued_can_be_run_elsewhere<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let first = executor.submit({
        let gate = gate.clone();
        move || gate.pass()
    });
    gate.wait_for(1);
    let rest: Vec<_> = (0..5).map(|n| executor.submit(move || n)).collect();

    let unstarted = executor.shutdown_now();
    assert_eq!(unstarted.len(), 5);
    unstarted.into_iter().for_each(|task| Inline::new().execute(task));

    assert_eq!(rest.into_iter().map(|task| claim(task).unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    gate.open();
    assert_eq!(claim(first), Ok(()));
}

fn it_can_wait_for_so_long<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let task = executor.submit({
        let gate = gate.clone();
        move || gate.pass()
    });

    assert!(!executor.shutdown_timeout(Duration::from_millis(20)));
    gate.open();

    assert!(executor.shutdown_timeout(TOO_LONG));
    assert_eq!(claim(task), Ok(()));
}

fn closing_does_not_wait<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            executor.submit({
                let gate = gate.clone();
                move || gate.pass()
            })
        })
        .collect();

    executor.close();
    gate.open();

    assert!(tasks.into_iter().all(|task| claim(task) == Ok(())));
}

fn an_unwinding_caller_does_not_wait_for_the_queue<E: InProcess>(executor: impl Fn(usize) -> E) {
    let gate = Gate::default();
    let mut queued = None;

    let caught = catch_unwind(AssertUnwindSafe(|| {
        let executor = executor(1);
        drop(executor.submit({
            let gate = gate.clone();
            move || gate.pass()
        }));
        gate.wait_for(1);
        queued = Some(executor.submit(|| ()));
        panic!("in the middle of it");
    }));

    // Here, though the worker has not passed the gate.
    assert!(caught.is_err());
    assert_eq!(claim(queued.unwrap()), Err(TaskError::Cancelled));
    gate.open();
}

fn a_submitter_that_waits_for_room_is_let_go<E: InProcess>(_executor: impl Fn(usize) -> E) {
    let pool = raincheck::ThreadPool::builder().workers(1).queue(1, raincheck::Full::Block).build();
    let gate = Gate::default();
    drop(pool.submit({
        let gate = gate.clone();
        move || gate.pass()
    }));
    gate.wait_for(1);
    drop(pool.submit(|| ()));

    thread::scope(|s| {
        let submitter = s.spawn(|| pool.submit(|| ()));
        pool.close();
        let late = submitter.join().unwrap();
        // Either it came before the pool was closed and waited, or after: it is refused, and hangs nobody.
        assert_eq!(claim(late), Err(TaskError::ShutDown));
    });
    gate.open();
}
