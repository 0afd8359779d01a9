//! Promise 9: waiting inside a task deadlocks no executor, not even of one worker, and runs no stranger's task on the
//! waiter's stack.

use std::{cell::Cell, sync::mpsc, thread, time::Duration};

use raincheck::{Executor, InProcess, Until, all, as_completed, blocking, promise, wait};

use crate::{
    every_concurrent_executor_keeps, every_executor_keeps,
    gate::{Gate, TOO_LONG, claim},
};

every_executor_keeps! {
    a_task_waits_for_a_task,
    a_task_waits_for_a_task_that_waits_for_a_task,
    a_task_waits_for_a_future_of_what_follows,
    a_task_waits_for_the_first_of_many,
    a_task_reads_many_as_they_complete,
    a_task_waits_for_all_together,
    a_task_waits_for_a_shared_future,
    a_task_waits_for_so_long,
    a_task_maps,
    a_task_opens_a_scope,
    a_task_runs_a_parallel_loop,
    a_future_awaits_a_task,
    a_closure_waits_for_a_future,
    waiting_goes_as_deep_as_it_must,
}

every_concurrent_executor_keeps! {
    a_task_waits_for_a_promise_that_another_keeps,
    a_task_waits_for_a_channel_that_another_fills,
    no_strangers_task_runs_on_the_stack_of_one_that_waits,
}

fn a_task_waits_for_a_task<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    assert_eq!(claim(executor.submit(move || inner.submit(|| 1).result().unwrap() + 1)), Ok(2));
}

fn a_task_waits_for_a_task_that_waits_for_a_task<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let outer = executor.handle();
    let inner = executor.handle();

    let task =
        executor.submit(move || outer.submit(move || inner.submit(|| 1).result().unwrap() + 1).result().unwrap() + 1);

    assert_eq!(claim(task), Ok(3));
}

fn a_task_waits_for_a_future_of_what_follows<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    let task = executor.submit(move || {
        let again = inner.clone();
        inner.submit(|| 1).map(|n| n + 1).and_then(move |n| again.submit(move || n + 1)).result().unwrap()
    });

    assert_eq!(claim(task), Ok(3));
}

fn a_task_waits_for_the_first_of_many<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    let task = executor.submit(move || {
        let futures: Vec<_> = (0..5).map(|n| inner.submit(move || n)).collect();
        let first = wait(futures, Until::FirstCompleted);
        let all = wait(first.not_done, Until::AllCompleted);
        first.done.len() + all.done.len()
    });

    assert_eq!(claim(task), Ok(5));
}

fn a_task_reads_many_as_they_complete<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    let task = executor.submit(move || {
        let futures: Vec<_> = (0..5).map(|n| inner.submit(move || n)).collect();
        as_completed(futures).map(|future| future.result().unwrap()).sum::<i32>()
    });

    assert_eq!(claim(task), Ok(10));
}

fn a_task_waits_for_all_together<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    let task = executor.submit(move || all((0..5).map(|n| inner.submit(move || n))).result().unwrap());

    assert_eq!(claim(task), Ok(vec![0, 1, 2, 3, 4]));
}

fn a_task_waits_for_a_shared_future<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    assert_eq!(claim(executor.submit(move || inner.submit(|| 1).shared().result().unwrap())), Ok(1));
}

fn a_task_waits_for_so_long<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    assert_eq!(claim(executor.submit(move || inner.submit(|| 1).wait_timeout(TOO_LONG))), Ok(true));
}

fn a_task_maps<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    let task = executor.submit(move || {
        let ordered: u64 = inner.map(|n: u64| n * 2, 0..1000).map(|n| n.unwrap()).sum();
        let unordered: u64 = inner.map(|n: u64| n * 2, 0..1000).as_completed().map(|(_, n)| n.unwrap()).sum();
        (ordered, unordered)
    });

    assert_eq!(claim(task), Ok((999_000, 999_000)));
}

fn a_task_opens_a_scope<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    let task = executor.submit(move || {
        let words = ["one", "three"];
        // One is claimed, the other is left to the scope.
        inner.scope(|s| {
            let _left = s.submit(|| words[0].len());
            s.submit(|| words[1].len()).result().unwrap()
        })
    });

    assert_eq!(claim(task), Ok(5));
}

fn a_task_runs_a_parallel_loop<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    let task = executor.submit(move || {
        let sum = std::sync::atomic::AtomicU64::new(0);
        inner.for_each(1..=100, |n| {
            sum.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
        });
        sum.into_inner()
    });

    assert_eq!(claim(task), Ok(5050));
}

fn a_future_awaits_a_task<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    let task = executor.submit(async move {
        let future = inner.submit(async { 1 }).await.unwrap();
        let closure = inner.submit(|| 2).await.unwrap();
        // Not how it should be done, and no deadlock for that.
        let blocked = inner.submit(|| 3).result().unwrap();
        let shared = inner.submit(async { 4 }).shared().await.unwrap();
        future + closure + blocked + shared
    });

    assert_eq!(claim(task), Ok(10));
}

fn a_closure_waits_for_a_future<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let inner = executor.handle();

    assert_eq!(claim(executor.submit(move || inner.submit(async { 1 }).result().unwrap())), Ok(1));
}

fn waiting_goes_as_deep_as_it_must<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    fn down<E: InProcess + 'static>(executor: raincheck::Handle<E>, depth: u32) -> u32 {
        if depth == 0 {
            return 0;
        }
        let inner = executor.clone();
        executor.submit(move || down(inner, depth - 1)).result().unwrap() + 1
    }
    let executor = executor(1);
    let handle = executor.handle();

    assert_eq!(claim(executor.submit(move || down(handle, 200))), Ok(200));
}

fn a_task_waits_for_a_promise_that_another_keeps<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (promise, future) = promise();
    let gate = Gate::default();

    let waiter = executor.submit({
        let gate = gate.clone();
        move || {
            gate.pass();
            future.result().unwrap()
        }
    });
    gate.wait_for(1);
    let keeper = executor.submit(move || promise.finish(Ok(1)));
    gate.open();

    assert_eq!((claim(waiter), claim(keeper)), (Ok(1), Ok(true)));
}

fn a_task_waits_for_a_channel_that_another_fills<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (send, receive) = mpsc::channel();

    let waiter = executor.submit(move || blocking(|| receive.recv_timeout(TOO_LONG).unwrap()));
    let sender = executor.submit(move || send.send(1).unwrap());

    assert_eq!((claim(waiter), claim(sender)), (Ok(1), Ok(())));
}

fn no_strangers_task_runs_on_the_stack_of_one_that_waits<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    thread_local! {
        static IS_WAITING: Cell<bool> = const { Cell::new(false) };
    }
    let executor = executor(1);
    let inner = executor.handle();
    let gate = Gate::default();

    let waiter = executor.submit({
        let gate = gate.clone();
        move || {
            gate.pass();
            IS_WAITING.set(true);
            // Behind the strangers in the queue.
            let own = inner.submit(|| IS_WAITING.get()).result().unwrap();
            let late = inner.submit(|| ()).map(|()| ()).wait_timeout(Duration::from_secs(20));
            IS_WAITING.set(false);
            (own, late)
        }
    });
    gate.wait_for(1);
    let strangers: Vec<_> = (0..20)
        .map(|_| {
            executor.submit(|| {
                (0..100).any(|_| {
                    thread::yield_now();
                    IS_WAITING.get()
                })
            })
        })
        .collect();
    gate.open();

    assert!(claim(waiter).unwrap().1);
    assert!(strangers.into_iter().all(|stranger| claim(stranger) == Ok(false)));
}
