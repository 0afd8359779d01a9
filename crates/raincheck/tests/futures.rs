//! The future without an executor: rows F, W and A of CPython's suite with the changed rules, and what Twisted's
//! Deferred, Tornado's Future, JavaScript's Promise and Java's CompletableFuture can do.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use raincheck::{
    Cancel, CompletionQueue, Event, Executor, Moment, Options, Outcome, Promise, TaskError, TaskFuture, ThreadPool,
    Until, all, all_settled, any, as_completed, promise, race, wait, wait_timeout,
};

const TOO_LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(10);

/// One future in each state, with whatever keeps it there.
fn in_each_state() -> [(&'static str, TaskFuture<i32>, Box<dyn std::any::Any>); 5] {
    let (pending, pending_future) = promise();
    let (running, running_future) = promise();
    let (cancelled, cancelled_future) = promise();
    cancelled_future.cancel();
    [
        ("pending", pending_future, Box::new(pending)),
        ("running", running_future, Box::new(running.start())),
        ("cancelled", cancelled_future, Box::new(cancelled)),
        ("failed", TaskFuture::ready(Err(TaskError::worker_lost("test"))), Box::new(())),
        ("finished", TaskFuture::ready(Ok(42)), Box::new(())),
    ]
}

/// F9, F11 to F14, F18
#[test]
fn each_state_answers_its_questions() {
    let answers = in_each_state().map(|(state, future, _held)| {
        let shown = format!("{future:?}");
        assert!(shown.starts_with(&format!("<TaskFuture state={state}")), "{shown}");
        let seen = (future.is_done(), future.is_running(), future.is_cancelled(), future.error().is_some());
        (state, seen, future.cancel())
    });

    assert_eq!(
        answers,
        [
            ("pending", (false, false, false, false), Cancel::Prevented),
            ("running", (false, true, false, false), Cancel::Requested),
            ("cancelled", (true, false, true, true), Cancel::Prevented),
            ("failed", (true, false, false, true), Cancel::TooLate),
            ("finished", (true, false, false, false), Cancel::TooLate),
        ]
    );
}

/// F15
#[test]
fn a_look_at_each_state_gives_what_is_there() {
    let looks = in_each_state().map(|(_, future, _held)| future.result_timeout(Duration::ZERO).ok());

    let lost = TaskError::worker_lost("test");
    assert_eq!(looks, [None, None, Some(Err(TaskError::Cancelled)), Some(Err(lost)), Some(Ok(42))]);
}

/// F16, F17
#[test]
fn who_waits_is_woken_by_the_outcome_and_by_cancelling() {
    let (promise_of_one, one) = promise();
    let (_promise_of_two, two) = promise::<i32>();
    let stop_two = two.shared();

    let waiters = [
        thread::spawn(move || one.result()),
        thread::spawn({
            let two = stop_two.clone();
            move || two.result()
        }),
    ];
    promise_of_one.finish(Ok(1));
    stop_two.cancel();

    assert_eq!(waiters.map(|waiter| waiter.join().unwrap()), [Ok(1), Err(TaskError::Cancelled)]);
}

/// F1 to F8
#[test]
fn callbacks_are_called_in_order_and_at_once_if_done() {
    let calls: Arc<Mutex<Vec<(u8, bool)>>> = Arc::default();
    let call = |number| {
        let calls = Arc::clone(&calls);
        move |outcome: &Outcome<i32>| calls.lock().unwrap().push((number, outcome.is_ok()))
    };
    let (promise, future) = promise();
    future.on_done(call(1));
    future.on_done(|_| panic!("a callback that panics"));
    future.on_done(call(2));

    promise.finish(Ok(1));
    future.on_done(call(3));
    future.on_done(|_| panic!("and a late one"));

    assert_eq!(*calls.lock().unwrap(), [(1, true), (2, true), (3, true)]);
    assert_eq!(future.result(), Ok(1));
}

/// F3
#[test]
fn cancelling_calls_the_callbacks_in_the_cancelling_thread() {
    let (_promise, future) = promise::<i32>();
    let (told, hears) = mpsc::channel();
    future.on_done(move |outcome| told.send((outcome.clone(), thread::current().id())).unwrap());

    future.cancel();

    assert_eq!(hears.try_recv(), Ok((Err(TaskError::Cancelled), thread::current().id())));
}

#[test]
fn callbacks_are_through_before_who_waits_is_released() {
    for _ in 0..200 {
        let (promise, future) = promise();
        let called = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&called);
        future.on_done(move |_| {
            thread::yield_now();
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let finisher = thread::spawn(move || promise.finish(Ok(1)));

        future.wait();

        assert_eq!(called.load(Ordering::SeqCst), 1);
        finisher.join().unwrap();
    }
}

/// F20, F21
#[test]
fn the_first_outcome_holds() {
    let (promise, future) = promise();
    future.cancel();

    assert!(promise.is_cancelled());
    assert!(!promise.finish(Ok(1)));
    assert_eq!(future.result(), Err(TaskError::Cancelled));
}

#[test]
fn a_promise_that_is_dropped_answers_too() {
    let (dropped, one) = promise::<i32>();
    let (begun, two) = promise::<i32>();
    drop(dropped);
    drop(begun.start());

    for future in [one, two] {
        assert!(matches!(future.result(), Err(TaskError::WorkerLost(lost)) if lost.reason().contains("dropped")));
    }
}

/// Twisted: a Deferred's canceller.
#[test]
fn cancelling_reaches_whoever_keeps_the_promise() {
    let (promise, future) = promise::<i32>();
    let (told, hears) = mpsc::channel();
    let running = promise.start().unwrap();
    running.on_cancel(move || {
        told.send(()).unwrap();
        Cancel::Stopped
    });

    assert_eq!((future.cancel(), future.cancel()), (Cancel::Stopped, Cancel::Requested));
    assert_eq!(hears.try_iter().count(), 1);
    assert!(running.is_cancelled());
    assert!(running.finish(Err(TaskError::Cancelled)));
    assert_eq!(future.result(), Err(TaskError::Cancelled));
}

#[test]
fn who_says_how_to_reach_it_after_the_caller_has_cancelled_is_told_at_once() {
    let (promise, future) = promise::<i32>();
    let (prevented, future_of_none) = raincheck::promise::<i32>();
    let (kept, future_of_one) = raincheck::promise();
    let running = promise.start().unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let tell = || {
        let told = Arc::clone(&told);
        move || {
            told.fetch_add(1, Ordering::SeqCst);
            Cancel::Stopped
        }
    };

    assert_eq!((future.cancel(), future_of_none.cancel()), (Cancel::Requested, Cancel::Prevented));
    running.on_cancel(tell());
    prevented.on_cancel(tell());
    kept.on_cancel(tell());
    kept.finish(Ok(1));

    assert_eq!(told.load(Ordering::SeqCst), 2);
    assert_eq!(future_of_one.cancel(), Cancel::TooLate);
    assert_eq!(told.load(Ordering::SeqCst), 2);
}

/// JavaScript's `then`, `catch` and `finally`; Java's `thenApply`, `thenCompose`, `handle`, `exceptionally`; Twisted's
/// `addCallback`, `addErrback`, `addBoth`
#[test]
fn a_chain_goes_on_with_values_and_with_errors() {
    let ok = || TaskFuture::ready(Ok(1));
    let err = || TaskFuture::<i32>::ready(Err(TaskError::Refused));
    let seen = Arc::new(AtomicUsize::new(0));
    let see = || {
        let seen = Arc::clone(&seen);
        move || {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    };

    assert_eq!((ok().map(|n| n + 1).result(), err().map(|n| n + 1).result()), (Ok(2), Err(TaskError::Refused)));
    assert_eq!((ok().then(|it| it.is_ok()).result(), err().then(|it| it.is_ok()).result()), (Ok(true), Ok(false)));
    let more = |n| TaskFuture::ready(Ok(n + 1));
    assert_eq!((ok().and_then(more).result(), err().and_then(more).result()), (Ok(2), Err(TaskError::Refused)));
    let mend = |_| TaskFuture::ready(Ok(9));
    assert_eq!((ok().or_else(mend).result(), err().or_else(mend).result()), (Ok(1), Ok(9)));
    assert_eq!((ok().or_default().result(), err().or_default().result()), (Ok(1), Ok(0)));
    assert_eq!((ok().finally(see()).result(), err().finally(see()).result()), (Ok(1), Err(TaskError::Refused)));
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    assert_eq!(ok().zip(TaskFuture::ready(Ok("two"))).result(), Ok((1, "two")));
    assert_eq!(TaskFuture::ready(Ok(ok())).flatten().result(), Ok(1));
}

/// JavaScript: what throws in a `then` rejects.
#[test]
fn a_panic_in_a_chain_is_the_new_futures_outcome() {
    let failed = TaskFuture::ready(Ok(1)).map(|_| -> i32 { panic!("no umbrella") });

    assert!(matches!(failed.result(), Err(TaskError::Panicked(panic)) if panic.message() == "no umbrella"));
}

#[test]
fn cancelling_the_end_of_a_chain_cancels_its_beginning() {
    type Chained = fn(TaskFuture<i32>) -> TaskFuture<i32>;
    let chains: [Chained; 7] = [
        |it| it.map(|n| n),
        |it| it.then(Result::unwrap_or_default),
        |it| it.and_then(|n| TaskFuture::ready(Ok(n))),
        |it| it.or_else(|_| TaskFuture::ready(Ok(0))),
        |it| it.finally(|| ()),
        |it| it.timeout(TOO_LONG),
        |it| it.zip(TaskFuture::ready(Ok(1))).map(|(n, _)| n),
    ];
    for chain in chains {
        let (promise, future) = promise();
        let end = chain(future);

        end.cancel();

        assert!(promise.is_cancelled());
        assert_eq!(end.result(), Err(TaskError::Cancelled));
    }
}

#[test]
fn cancelling_reaches_the_inner_future_once_the_outer_one_is_done() {
    let (outer, future) = promise();
    let (inner, inner_future) = promise::<i32>();
    let flat = future.flatten();
    outer.finish(Ok(inner_future));

    flat.cancel();

    assert!(inner.is_cancelled());
}

#[test]
fn dropping_the_end_of_a_cancel_on_drop_chain_cancels_its_beginning() {
    type Dropped = fn(TaskFuture<i32>);
    let ends: [Dropped; 5] = [
        |it| drop(it.map(|n| n + 1).shared()),
        |it| drop(it.timeout(TOO_LONG)),
        |it| drop(it.zip(promise::<i32>().1.cancel_on_drop())),
        |it| drop(all([it])),
        |it| drop(race([it])),
    ];
    for end in ends {
        let (kept, future) = promise::<i32>();

        end(future.cancel_on_drop());

        assert!(kept.is_cancelled());
    }
}

#[test]
fn a_whole_cancels_its_parts_when_dropped_only_if_each_of_them_would() {
    let (one, future_of_one) = promise::<i32>();
    let (two, future_of_two) = promise::<i32>();

    drop(all([future_of_one.cancel_on_drop(), future_of_two]));

    assert!(!one.is_cancelled() && !two.is_cancelled());
}

/// Java's `orTimeout`, Twisted's `addTimeout`
#[test]
fn a_timeout_ends_the_future_and_cancels_its_task() {
    let (promise, future) = promise::<i32>();
    let (kept, in_time) = raincheck::promise();
    let in_time = in_time.timeout(TOO_LONG);
    kept.finish(Ok(1));

    assert_eq!(future.timeout(SHORT).result(), Err(TaskError::TimedOut { limit: SHORT }));
    while !promise.is_cancelled() {
        thread::yield_now();
    }
    assert_eq!(in_time.result(), Ok(1));
}

#[test]
fn a_callback_of_a_time_out_holds_up_no_other() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let late = || {
        let (promise, future) = promise::<i32>();
        (promise, future.timeout(SHORT))
    };

    let held_up: Vec<_> = (0..3).map(|_| late()).collect();
    let caller = thread::current().id();
    for (_promise, future) in &held_up {
        let released = Arc::clone(&released);
        future.on_done(move |_| {
            // What was late before it came here is called back on this thread, which has to go on.
            if thread::current().id() != caller {
                let _ = released.lock().unwrap().recv();
            }
        });
    }
    let (_promise, other) = late();
    let (_promise, waits_for_another) = late();
    let waits_for_another = waits_for_another.then(move |_| late().1.result_timeout(TOO_LONG).ok());

    let timed_out = Err(TaskError::TimedOut { limit: SHORT });
    assert_eq!(other.result_timeout(TOO_LONG).ok(), Some(timed_out.clone()));
    assert_eq!(waits_for_another.result_timeout(TOO_LONG).ok(), Some(Ok(Some(timed_out))));
    drop(release);
    assert!(held_up.into_iter().all(|(_promise, future)| future.result_timeout(TOO_LONG).is_ok()));
}

#[test]
fn an_error_of_either_of_two_ends_both() {
    let (first, one) = promise::<i32>();
    let (second, two) = promise::<i32>();
    let both = one.zip(two);

    second.finish(Err(TaskError::Refused));

    assert_eq!(both.result(), Err(TaskError::Refused));
    assert!(first.is_cancelled());
}

/// A chain needs no more stack than its two ends, when it is settled, cancelled or dropped.
#[test]
fn a_chain_can_be_as_long_as_it_likes() {
    let chain = || {
        let (promise, future) = promise::<u32>();
        (promise, (0..100_000).fold(future, |future, _| future.map(|n| n + 1)))
    };

    let (promise, end) = chain();
    promise.finish(Ok(0));
    assert_eq!(end.result(), Ok(100_000));

    let (promise, end) = chain();
    end.cancel();
    assert!(promise.is_cancelled());

    let (promise, end) = chain();
    drop(promise);
    assert!(matches!(end.result(), Err(TaskError::WorkerLost(_))));
}

fn promises<const N: usize>() -> ([Promise<i32>; N], [TaskFuture<i32>; N]) {
    let mut promises = Vec::new();
    let futures = std::array::from_fn(|_| {
        let (promise, future) = promise();
        promises.push(promise);
        future
    });
    (promises.try_into().unwrap_or_else(|_| unreachable!("as many as futures")), futures)
}

/// JavaScript's `Promise.all`, Java's `allOf`, Twisted's `gatherResults`, Tornado's `multi`
#[test]
fn all_gives_every_value_in_order_or_the_first_error() {
    let ([a, b], futures) = promises();
    let every = all(futures);
    b.finish(Ok(2));
    a.finish(Ok(1));
    assert_eq!(every.result(), Ok(vec![1, 2]));

    let ([a, b], futures) = promises();
    let every = all(futures);
    b.finish(Err(TaskError::Refused));
    assert_eq!(every.result(), Err(TaskError::Refused));
    assert!(a.is_cancelled());
    assert_eq!(all::<i32>([]).result(), Ok(vec![]));
}

/// JavaScript's `Promise.allSettled`, Twisted's `DeferredList`
#[test]
fn all_settled_gives_every_outcome_in_order() {
    let ([a, b], futures) = promises();
    let every = all_settled(futures);
    b.finish(Err(TaskError::Refused));
    a.finish(Ok(1));

    assert_eq!(every.result(), Ok(vec![Ok(1), Err(TaskError::Refused)]));
    assert_eq!(all_settled::<i32>([]).result(), Ok(vec![]));
}

/// JavaScript's `Promise.any`, Java's `invokeAny`, Twisted's `race`
#[test]
fn any_gives_the_first_value_and_cancels_the_rest() {
    let ([a, b, c], futures) = promises();
    let first = any(futures);
    a.finish(Err(TaskError::Refused));
    b.finish(Ok(2));

    assert_eq!(first.result(), Ok(2));
    assert!(c.is_cancelled());
    assert_eq!(any::<i32>([]).result(), Err(TaskError::AllFailed(Box::default())));
}

/// JavaScript's `Promise.race`, Java's `anyOf`
#[test]
fn race_gives_the_first_outcome_and_cancels_the_rest() {
    let ([a, b], futures) = promises();
    let first = race(futures);
    a.finish(Err(TaskError::Refused));

    assert_eq!(first.result(), Err(TaskError::Refused));
    assert!(b.is_cancelled());
    assert!(race::<i32>([]).result().is_err(), "nobody waits for ever");
}

#[test]
fn cancelling_the_whole_cancels_every_part() {
    for combine in
        [|futures| all(futures).map(drop), |futures| any(futures).map(drop), |futures| race(futures).map(drop)]
    {
        let (promises, futures) = promises::<3>();
        let combine: fn([TaskFuture<i32>; 3]) -> TaskFuture<()> = combine;

        combine(futures).cancel();

        assert!(promises.iter().all(Promise::is_cancelled));
    }
}

/// W2, W3, W4, W6, W7 as changed: what is cancelled is done.
#[test]
fn wait_sorts_into_what_is_done_and_what_is_not() {
    let named = || {
        in_each_state().map(|(state, future, held)| {
            std::mem::forget(held);
            (state, future)
        })
    };
    let names =
        |items: Vec<(&'static str, TaskFuture<i32>)>| items.into_iter().map(|(name, _)| name).collect::<Vec<_>>();

    let first = wait(named(), Until::FirstCompleted);
    let failed = wait(named(), Until::FirstFailed);
    let timed = wait_timeout(named(), Until::AllCompleted, SHORT);

    for waited in [first, failed, timed] {
        assert_eq!(
            (names(waited.done), names(waited.not_done)),
            (vec!["cancelled", "failed", "finished"], vec!["pending", "running"])
        );
    }
    assert!(wait(Vec::<TaskFuture<i32>>::new(), Until::AllCompleted).done.is_empty());
}

/// W4
#[test]
fn a_cancelled_future_is_no_failure_to_wait_for() {
    let ([a, b, c], futures) = promises();
    futures[0].cancel();
    let waiter = thread::spawn(move || wait(futures, Until::FirstFailed).done.len());

    b.finish(Ok(2));
    c.finish(Err(TaskError::Refused));

    assert_eq!(waiter.join().unwrap(), 3);
    drop(a);
}

/// A1, A2, A5
#[test]
fn as_completed_gives_each_when_it_is_done() {
    let ([a, b, c], futures) = promises();
    let mut completed = as_completed(futures.into_iter().enumerate());
    c.finish(Ok(3));
    a.finish(Ok(1));

    assert_eq!(completed.next().map(|(place, _)| place), Some(2));
    assert_eq!(completed.next().map(|(place, _)| place), Some(0));
    assert_eq!(format!("{completed:?}"), "AsCompleted(1 (of 3) futures unfinished)");
    let mut completed = completed.timeout(SHORT);
    assert!(completed.next().is_none());
    assert_eq!(completed.into_rest().len(), 1);
    drop(b);
}

/// A3, W1: the same future handed in twice
#[test]
fn clones_of_one_future_each_come_out_once() {
    let future = TaskFuture::ready(Ok(1)).shared();

    assert_eq!(as_completed(vec![future.clone(); 5]).count(), 5);
    assert_eq!(wait(vec![future; 5], Until::AllCompleted).done.len(), 5);
}

/// Java's `ExecutorCompletionService`, Tornado's `WaitIterator`
#[test]
fn a_completion_queue_takes_more_while_it_is_read() {
    let queue = CompletionQueue::new();
    assert!(queue.next().is_none());
    let ([a, b], futures) = promises();
    futures.into_iter().for_each(|future| queue.push(future));

    assert!(queue.next_timeout(SHORT).is_none());
    b.finish(Ok(2));
    assert_eq!(queue.next().unwrap().result(), Ok(2));
    queue.push(TaskFuture::ready(Ok(3)));
    assert_eq!(queue.next().unwrap().result(), Ok(3));
    a.finish(Ok(1));
    assert_eq!((queue.next().unwrap().result(), queue.len()), (Ok(1), 0));
}

#[test]
fn who_waits_at_a_completion_queue_is_let_go_when_another_takes_the_last() {
    for _ in 0..100 {
        let queue = CompletionQueue::new();
        let (promise, future) = promise();
        queue.push(future);

        let taken: usize = thread::scope(|s| {
            let takers: Vec<_> = (0..3).map(|_| s.spawn(|| usize::from(queue.next().is_some()))).collect();
            promise.finish(Ok(1));
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });

        assert_eq!(taken, 1);
    }
}

/// Counts how often it is woken, and how many of it there are.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_future_can_be_awaited_in_any_runtime_and_in_none() {
    let (promise, future) = promise();
    let mut future = pin!(future);
    let wakers: [Arc<Woken>; 3] = Default::default();
    for woken in &wakers {
        let waker = Waker::from(Arc::clone(woken));
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    // Only the last one is kept.
    assert_eq!(wakers.each_ref().map(Arc::strong_count), [1, 1, 2]);

    promise.finish(Ok(1));

    assert_eq!(wakers.each_ref().map(|woken| woken.0.load(Ordering::SeqCst)), [0, 0, 1]);
    assert_eq!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(1)));
}

#[tokio::test]
async fn tokio_awaits_what_a_thread_brings() {
    let (promise, future) = promise();
    let finisher = thread::spawn(move || promise.finish(Ok(1)));
    let shared = future.map(|n| n + 1).shared();

    let readers: Vec<_> = (0..10).map(|_| tokio::spawn(shared.clone())).collect();

    for reader in readers {
        assert_eq!(reader.await.unwrap(), Ok(2));
    }
    let queue = CompletionQueue::new();
    queue.push(TaskFuture::ready(Ok(3)));
    assert_eq!(queue.next_async().await.unwrap().await, Ok(3));
    assert!(queue.next_async().await.is_none());
    assert!(finisher.join().unwrap());
}

#[test]
fn one_outcome_has_many_readers() {
    let (promise, future) = promise::<String>();
    let shared = future.shared();
    let called = Arc::new(AtomicUsize::new(0));
    shared.on_done({
        let called = Arc::clone(&called);
        move |outcome| {
            assert_eq!(outcome.as_deref(), Ok("page"));
            called.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert!(shared.try_get().is_none());

    let readers: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn({
                let shared = shared.clone();
                move || shared.get().unwrap().len()
            })
        })
        .collect();
    promise.finish(Ok("page".to_owned()));

    assert!(readers.into_iter().all(|reader| reader.join().unwrap() == 4));
    assert_eq!((shared.result(), called.load(Ordering::SeqCst)), (Ok("page".into()), 1));
    assert_eq!(shared.cancel(), Cancel::TooLate);
}

#[test]
fn a_shared_future_keeps_no_waker_of_a_clone_that_is_gone() {
    let (promise, future) = promise::<u8>();
    let shared = future.shared();
    let wakers: Vec<Arc<Woken>> = (0..2).map(|_| Arc::default()).collect();
    let (mut stays, mut leaves) = (shared.clone(), shared.clone());

    for (clone, waker) in [&mut stays, &mut leaves].into_iter().zip(&wakers) {
        assert!(pin!(clone).poll(&mut Context::from_waker(&waker.clone().into())).is_pending());
    }
    drop(leaves);

    assert_eq!([0, 1].map(|n: usize| Arc::strong_count(&wakers[n]) - 1), [1, 0]);
    promise.finish(Ok(1));
    assert_eq!(wakers[0].0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_future_that_is_dropped_leaves_no_waker_behind() {
    let (promise, mut future) = promise::<i32>();
    let flag = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&flag));
    assert_eq!(pin!(&mut future).poll(&mut Context::from_waker(&waker)), Poll::Pending);
    drop(waker);
    assert_eq!(Arc::strong_count(&flag), 2);

    drop(future);

    assert_eq!(Arc::strong_count(&flag), 1);
    drop(promise);
}

#[test]
fn a_shared_future_is_done_to_its_callbacks() {
    let (promise, future) = promise();
    let shared = future.shared();
    let (send, receive) = mpsc::channel();
    let this = shared.clone();
    shared.on_done(move |_outcome| {
        let seen = this.is_done() && this.wait_timeout(Duration::ZERO);
        send.send(seen.then(|| this.result())).unwrap();
    });

    promise.finish(Ok(1));

    assert_eq!(receive.try_recv(), Ok(Some(Ok(1))));
}

#[test]
fn a_shared_future_that_is_done_to_its_callbacks_is_not_waited_for_there() {
    let (promise, future) = promise();
    let shared = future.shared();
    let (send, receive) = mpsc::channel();
    let this = shared.clone();
    shared.on_done(move |_outcome| {
        let waited = wait_timeout([this.clone()], Until::AllCompleted, TOO_LONG);
        let next = as_completed([this]).timeout(TOO_LONG).next();
        send.send((waited.done.len(), next.map(|next| next.result()))).unwrap();
    });
    // On a thread of its own, since it would hang here.
    thread::spawn(move || promise.finish(Ok(1)));

    assert_eq!(receive.recv_timeout(TOO_LONG), Ok((1, Some(Ok(1)))));
}

#[test]
fn what_comes_after_a_future_that_was_done_is_cancelled_on_drop_too() {
    let (first_promise, first) = promise();
    let (next_promise, next) = promise::<i32>();
    let first = first.cancel_on_drop();
    first_promise.finish(Ok(1));

    drop(first.and_then(move |_one| next));

    assert!(next_promise.is_cancelled());
}

#[test]
fn a_completion_queue_keeps_one_waker_of_who_awaits_it_and_none_of_who_left() {
    let (promise, future) = promise::<u8>();
    let queue = CompletionQueue::new();
    queue.push(future);
    let wakers: Vec<Arc<Woken>> = (0..3).map(|_| Arc::default()).collect();
    let mut stays = pin!(queue.next_async());
    let mut leaves = Box::pin(queue.next_async());
    let held = || [&wakers[0], &wakers[1], &wakers[2]].map(|waker| Arc::strong_count(waker) - 1);

    assert!(stays.as_mut().poll(&mut Context::from_waker(&wakers[0].clone().into())).is_pending());
    assert!(stays.as_mut().poll(&mut Context::from_waker(&wakers[1].clone().into())).is_pending());
    assert!(leaves.as_mut().poll(&mut Context::from_waker(&wakers[2].clone().into())).is_pending());
    assert_eq!(held(), [0, 1, 1]);
    drop(leaves);

    assert_eq!(held(), [0, 1, 0]);
    promise.finish(Ok(1));
    assert_eq!([0, 1, 2].map(|n: usize| wakers[n].0.load(Ordering::SeqCst)), [0, 1, 0]);
}

/// A waker that does something whenever it is cloned or dropped, as one of the user's may.
#[expect(unsafe_code, reason = "a waker that has no `Arc` of the standard library's to clone")]
mod asking {
    use std::{
        sync::Arc,
        task::{RawWaker, RawWakerVTable, Waker},
    };

    pub(super) type Ask = dyn Fn() + Send + Sync;
    type Data = Arc<Box<Ask>>;

    static TABLE: RawWakerVTable = RawWakerVTable::new(clone, drop, |_| (), drop);

    pub(super) fn waker(ask: impl Fn() + Send + Sync + 'static) -> Waker {
        let data: Data = Arc::new(Box::new(ask));
        // SAFETY: the data is an `Arc`'s, as the functions of the table take it to be.
        unsafe { Waker::new(Arc::into_raw(data).cast(), &TABLE) }
    }

    fn clone(data: *const ()) -> RawWaker {
        let data: *const Box<Ask> = data.cast();
        // SAFETY: whoever clones the waker has it, and with it the `Arc`.
        unsafe {
            Arc::increment_strong_count(data);
            (*data)();
        }
        RawWaker::new(data.cast(), &TABLE)
    }

    fn drop(data: *const ()) {
        // SAFETY: each waker is woken or dropped once.
        let data: Data = unsafe { Arc::from_raw(data.cast()) };
        data();
    }
}

#[test]
fn a_waker_may_ask_for_what_it_waits_for_when_it_is_cloned_or_dropped() {
    fn poll<F: Future>(future: &mut std::pin::Pin<Box<F>>, ask: impl Fn() + Send + Sync + 'static) {
        assert!(future.as_mut().poll(&mut Context::from_waker(&asking::waker(ask))).is_pending());
    }

    // On a thread of its own, since it would hang here.
    let (told, hears) = mpsc::channel();
    thread::spawn(move || {
        let (owed, future) = promise::<u8>();
        let owed = Arc::new(owed);
        let ask = || {
            let owed = Arc::clone(&owed);
            move || owed.on_cancel(|| Cancel::Requested)
        };
        let mut awaited = Box::pin(future);
        poll(&mut awaited, ask());
        poll(&mut awaited, ask());
        drop(awaited);

        let (owed, future) = promise::<u8>();
        let shared = future.shared();
        let ask = || {
            let shared = shared.clone();
            move || shared.on_done(|_| ())
        };
        let (mut stays, mut leaves) = (Box::pin(shared.clone()), Box::pin(shared.clone()));
        poll(&mut stays, ask());
        poll(&mut stays, ask());
        poll(&mut leaves, ask());
        drop(leaves);
        owed.finish(Ok(1));

        let (owed, future) = promise::<u8>();
        let queue = Arc::new(CompletionQueue::new());
        queue.push(future);
        let ask = || {
            let queue = Arc::clone(&queue);
            move || assert!(queue.next_timeout(Duration::ZERO).is_none_or(|next| next.is_done()))
        };
        let (mut stays, mut leaves) = (Box::pin(queue.next_async()), Box::pin(queue.next_async()));
        poll(&mut stays, ask());
        poll(&mut stays, ask());
        poll(&mut leaves, ask());
        drop(leaves);
        owed.finish(Ok(1));

        told.send(()).unwrap();
    });

    assert_eq!(hears.recv_timeout(TOO_LONG), Ok(()));
}

#[test]
fn a_waker_that_panics_when_it_is_dropped_is_no_matter_to_who_lets_go_of_it() {
    let is_armed = Arc::new(AtomicBool::new(false));
    let waker = asking::waker({
        let is_armed = Arc::clone(&is_armed);
        move || assert!(!is_armed.load(Ordering::SeqCst), "on purpose")
    });
    let poll = |future: &mut TaskFuture<u8>, waker| {
        assert!(pin!(future).poll(&mut Context::from_waker(waker)).is_pending());
    };
    let (_owed, mut dropped) = promise();
    let (owed, mut kept) = promise();
    poll(&mut dropped, &waker);
    poll(&mut kept, &waker);
    is_armed.store(true, Ordering::SeqCst);

    drop(dropped);
    poll(&mut kept, Waker::noop());

    owed.finish(Ok(1));
    assert_eq!(kept.result(), Ok(1));
    is_armed.store(false, Ordering::SeqCst);
}

#[test]
fn a_waker_that_panics_is_no_matter_to_who_finishes() {
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("a waker that panics");
        }
    }

    let (promise, future) = promise();
    let queue = CompletionQueue::new();
    queue.push(future);
    let mut next = pin!(queue.next_async());
    assert!(next.as_mut().poll(&mut Context::from_waker(&Arc::new(Panics).into())).is_pending());

    assert!(promise.finish(Ok(1)));

    assert_eq!(queue.next().unwrap().result(), Ok(1));
}

#[test]
fn a_late_callback_hides_nothing_of_the_outcome_while_it_runs() {
    let (_promise, future) = promise::<u8>();
    future.cancel();
    let (inside, is_inside) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();

    thread::scope(|scope| {
        scope.spawn(|| {
            future.on_done(move |_| {
                inside.send(()).unwrap();
                may_go_on.recv().unwrap();
            });
        });
        is_inside.recv().unwrap();

        assert!(future.is_done());
        assert_eq!(future.error(), Some(TaskError::Cancelled));
        assert_eq!(future.cancel(), Cancel::Prevented);
        go_on.send(()).unwrap();
    });
}

#[test]
fn what_was_to_reach_the_work_may_ask_for_the_future_as_it_goes() {
    struct Asks(Arc<TaskFuture<u8>>);

    impl Drop for Asks {
        fn drop(&mut self) {
            assert!(!self.0.is_running());
        }
    }

    // On a thread of its own, since it would hang here.
    let (told, hears) = mpsc::channel();
    thread::spawn(move || {
        let (promise, future) = promise::<u8>();
        let future = Arc::new(future);
        future.on_done({
            let future = Arc::clone(&future);
            move |_| {
                let asks = Asks(Arc::clone(&future));
                promise.on_cancel(move || {
                    drop(asks);
                    Cancel::Stopped
                });
                future.cancel();
            }
        });
        told.send(future.cancel()).unwrap();
    });

    assert_eq!(hears.recv_timeout(TOO_LONG), Ok(Cancel::Prevented));
}

#[test]
fn the_observer_goes_with_its_task_though_readers_stay() {
    let (tell, told) = mpsc::channel();
    let pool = ThreadPool::new(1);
    let observed = Options::new().observer(move |event: &Event| tell.send(event.moment).unwrap());
    let shared = pool.with(observed).submit(|| 1).shared();
    shared.wait();
    drop(pool);

    let mut last = None;
    let end = loop {
        match told.recv_timeout(TOO_LONG) {
            Ok(moment) => last = Some(moment),
            Err(end) => break end,
        }
    };

    assert!(matches!(last, Some(Moment::Finished(_))), "{last:?}");
    assert_eq!(end, mpsc::RecvTimeoutError::Disconnected);
    assert_eq!(shared.result(), Ok(1));
}

#[test]
fn who_waits_for_a_task_beside_what_its_observer_owes_is_told_that_this_will_not_come() {
    let pool = ThreadPool::new(1);
    let (owed, half) = promise::<u8>();
    let (go, gate) = mpsc::channel::<()>();
    let observed = Options::new().observer(move |_: &Event| {
        let _owed = &owed;
    });
    let task = pool.with(observed).submit(move || gate.recv().is_ok());

    let both = task.zip(half);
    go.send(()).unwrap();

    assert!(matches!(both.result_timeout(TOO_LONG), Ok(Err(TaskError::WorkerLost { .. }))));
}
