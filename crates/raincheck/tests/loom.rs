//! The two ends of a future, and the parking of the pool, in every order in which their threads can run.
//!
//! `RUSTFLAGS="--cfg raincheck_loom" cargo test -p raincheck --no-default-features --test loom --release`
//!
//! The models of the ends are explored whole. Those of the pool have too many states for that, and are explored with
//! at most two preemptions, which is where lost wake-ups are found: each needs one thread to be stopped in between.
#![cfg(raincheck_loom)]

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use loom::thread;
use raincheck::{Cancel, CompletionQueue, Executor, Full, TaskError, ThreadPool, Until, all, promise, wait};

/// Counts without being part of the model.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn up(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.up();
    }
}

fn pool_model(model: impl Fn() + Send + Sync + 'static) {
    bounded_model(2, model);
}

fn bounded_model(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn finish_against_result() {
    loom::model(|| {
        let (promise, future) = promise();
        let finisher = thread::spawn(move || assert!(promise.finish(Ok(1))));

        assert_eq!(future.result(), Ok(1));
        finisher.join().unwrap();
    });
}

#[test]
fn start_and_finish_against_result() {
    loom::model(|| {
        let (promise, future) = promise();
        let finisher = thread::spawn(move || assert!(promise.start().unwrap().finish(Ok(1))));

        assert_eq!(future.result(), Ok(1));
        finisher.join().unwrap();
    });
}

#[test]
fn drop_of_the_promise_against_result() {
    loom::model(|| {
        let (promise, future) = promise::<u8>();
        let finisher = thread::spawn(move || drop(promise));

        assert!(matches!(future.result(), Err(TaskError::WorkerLost(_))));
        finisher.join().unwrap();
    });
}

#[test]
fn start_and_drop_against_result() {
    loom::model(|| {
        let (promise, future) = promise::<u8>();
        let finisher = thread::spawn(move || drop(promise.start()));

        assert!(matches!(future.result(), Err(TaskError::WorkerLost(_))));
        finisher.join().unwrap();
    });
}

#[test]
fn start_and_finish_against_cancel() {
    loom::model(|| {
        let (promise, future) = promise();
        let finisher = thread::spawn(move || promise.start().is_some_and(|running| running.finish(Ok(1))));

        let cancel = future.cancel();
        let outcome = future.result();

        let finished = finisher.join().unwrap();
        match cancel {
            Cancel::Prevented => assert_eq!((outcome, finished), (Err(TaskError::Cancelled), false)),
            Cancel::Requested | Cancel::TooLate => assert_eq!((outcome, finished), (Ok(1), true)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn finish_against_cancel_against_waiting() {
    loom::model(|| {
        let (promise, future) = promise();
        let future = Arc::new(future);
        let finisher = thread::spawn(move || promise.finish(Ok(1)));
        let canceller = thread::spawn({
            let future = Arc::clone(&future);
            move || future.cancel()
        });

        future.wait();

        let (finished, cancel) = (finisher.join().unwrap(), canceller.join().unwrap());
        assert_eq!(finished, cancel == Cancel::TooLate);
        assert_eq!(future.is_cancelled(), !finished);
    });
}

#[test]
fn finish_against_callbacks() {
    loom::model(|| {
        let (promise, future) = promise();
        let called = Arc::new(Count::default());
        let finisher = thread::spawn(move || promise.finish(Ok(1)));

        for _ in 0..2 {
            let called = Arc::clone(&called);
            future.on_done(move |outcome| {
                assert_eq!(*outcome, Ok(1));
                called.up();
            });
        }
        finisher.join().unwrap();

        assert_eq!(called.get(), 2);
        assert_eq!(future.result(), Ok(1));
    });
}

#[test]
fn a_late_callback_against_waiting() {
    loom::model(|| {
        let (promise, future) = promise();
        let future = Arc::new(future);
        let waiter = thread::spawn({
            let future = Arc::clone(&future);
            move || future.wait()
        });
        promise.finish(Ok(1));
        let called = Arc::new(Count::default());
        future.on_done({
            let called = Arc::clone(&called);
            move |_| called.up()
        });

        waiter.join().unwrap();
        assert_eq!(called.get(), 1);
    });
}

#[test]
fn finish_against_poll() {
    loom::model(|| {
        let (promise, future) = promise();
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        let finisher = thread::spawn(move || promise.finish(Ok(1)));

        let mut future = pin!(future);
        let first = future.as_mut().poll(&mut Context::from_waker(&waker));
        finisher.join().unwrap();

        match first {
            Poll::Ready(outcome) => assert_eq!(outcome, Ok(1)),
            Poll::Pending => {
                assert_eq!(woken.get(), 1);
                assert_eq!(future.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(1)));
            }
        }
    });
}

#[test]
fn a_chain_against_finish() {
    loom::model(|| {
        let (promise, future) = promise();
        let finisher = thread::spawn(move || promise.finish(Ok(1)));

        assert_eq!(future.map(|n| n + 1).then(|outcome| outcome.unwrap() + 1).result(), Ok(3));
        finisher.join().unwrap();
    });
}

#[test]
fn all_against_two_that_finish() {
    loom::model(|| {
        let (first, one) = promise();
        let (second, two) = promise();
        let finisher = thread::spawn(move || first.finish(Ok(1)));

        let both = all([one, two]);
        second.finish(Ok(2));

        assert_eq!(both.result(), Ok(vec![1, 2]));
        finisher.join().unwrap();
    });
}

#[test]
fn a_completion_queue_against_two_that_finish() {
    bounded_model(3, || {
        let queue = CompletionQueue::new();
        let finishers: Vec<_> = (0..2)
            .map(|n| {
                let (promise, future) = promise();
                queue.push(future);
                thread::spawn(move || promise.finish(Ok(n)))
            })
            .collect();

        let sum: usize = std::iter::from_fn(|| queue.next()).map(|future| future.result().unwrap()).sum();

        assert_eq!(sum, 1);
        assert!(finishers.into_iter().all(|finisher| finisher.join().unwrap()));
    });
}

#[test]
fn wait_for_the_first_against_two_that_finish() {
    bounded_model(3, || {
        let (first, one) = promise();
        let (second, two) = promise::<u8>();
        let finisher = thread::spawn(move || first.finish(Ok(1)));
        let dropper = thread::spawn(move || drop(second));

        assert!(!wait([one, two], Until::FirstCompleted).done.is_empty());
        finisher.join().unwrap();
        dropper.join().unwrap();
    });
}

#[test]
fn a_worker_that_goes_to_sleep_against_submit() {
    pool_model(|| {
        let pool = ThreadPool::new(1);

        for n in 0..2 {
            assert_eq!(pool.submit(move || n).result(), Ok(n));
        }
        drop(pool);
    });
}

#[test]
fn two_submitters_against_one_worker() {
    pool_model(|| {
        let pool = Arc::new(ThreadPool::new(1));
        let submitter = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.submit(|| 1).result()
        });

        assert_eq!(pool.submit(|| 2).result(), Ok(2));
        assert_eq!(submitter.join().unwrap(), Ok(1));
    });
}

#[test]
fn two_workers_against_two_tasks_that_meet() {
    // Three threads that all wait for one another have too many orders: as many as fit in this time.
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_duration = Some(std::time::Duration::from_secs(20));
    builder.check(|| {
        let pool = ThreadPool::new(2);
        let (promise, future) = promise();

        // Each needs the other to run at the same time.
        let waits = pool.submit(move || future.result().unwrap());
        let keeps = pool.submit(move || promise.finish(Ok(1)));

        assert_eq!((waits.result(), keeps.result()), (Ok(1), Ok(true)));
    });
}

#[test]
fn a_worker_that_waits_against_the_one_that_takes_its_place() {
    pool_model(|| {
        let pool = ThreadPool::new(1);
        let (promise, future) = promise();

        let waits = pool.submit(move || future.result().unwrap());
        let keeps = pool.submit(move || promise.finish(Ok(1)));

        assert_eq!((waits.result(), keeps.result()), (Ok(1), Ok(true)));
    });
}

#[test]
fn a_nested_task_against_its_own_worker() {
    pool_model(|| {
        let pool = ThreadPool::new(1);
        let handle = pool.handle();

        assert_eq!(pool.submit(move || handle.submit(|| 1).result().unwrap() + 1).result(), Ok(2));
    });
}

#[test]
fn cancel_against_start() {
    pool_model(|| {
        let pool = ThreadPool::new(1);
        let task = pool.submit(|| 1);

        match task.cancel() {
            Cancel::Prevented => assert_eq!(task.result(), Err(TaskError::Cancelled)),
            _ => assert_eq!(task.result(), Ok(1)),
        }
    });
}

#[test]
fn shutdown_against_submit() {
    pool_model(|| {
        let pool = Arc::new(ThreadPool::new(1));
        let closer = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.shutdown()
        });

        let outcome = pool.submit(|| 1).result();

        assert!(matches!(outcome, Ok(1) | Err(TaskError::ShutDown)));
        closer.join().unwrap();
    });
}

#[test]
fn a_full_queue_against_the_worker_that_makes_room() {
    pool_model(|| {
        let pool = ThreadPool::builder().workers(1).queue(0, Full::Block).build();

        let tasks = [pool.submit(|| 1), pool.submit(|| 2)];

        assert_eq!(tasks.map(|task| task.result()), [Ok(1), Ok(2)]);
    });
}

#[test]
fn the_end_of_a_scope_against_its_tasks() {
    pool_model(|| {
        let pool = ThreadPool::new(1);
        let done = Count::default();

        pool.scope(|s| {
            for _ in 0..2 {
                drop(s.submit(|| done.up()));
            }
        });

        assert_eq!(done.get(), 2);
    });
}

#[test]
fn a_scope_in_a_task_against_another_worker() {
    // As many orders as fit in this time, for the same reason as above.
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.max_duration = Some(std::time::Duration::from_secs(20));
    builder.check(|| {
        let pool = ThreadPool::new(2);
        let handle = pool.handle();

        let sum = pool.submit(move || {
            handle.scope(|s| {
                let outer = s.submit(|| handle.scope(|s| s.submit(|| 1).result().unwrap()));
                let inner = s.submit(|| 2).result().unwrap();
                outer.result().unwrap() + inner
            })
        });

        assert_eq!(sum.result(), Ok(3));
    });
}
