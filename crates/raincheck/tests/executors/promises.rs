//! The promises of the design, and the rows E of the executor's contract.

use std::{
    any::Any,
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use raincheck::{Cancel, Executor, InProcess, TaskError, TaskFuture, Until, as_completed, promise, wait};

use crate::{
    every_concurrent_executor_keeps, every_executor_keeps,
    gate::{Counted, Gate, TOO_LONG, claim},
};

every_executor_keeps! {
    /// E1
    a_task_gives_its_value,
    a_future_gives_its_value,
    /// E2
    what_a_closure_captures_goes_with_it,
    /// P1
    every_future_gets_exactly_one_outcome,
    /// P6
    a_panic_costs_its_own_task_and_no_other,
    /// P6
    a_panic_says_what_and_where,
    /// P6
    a_panic_with_an_odd_payload_is_an_error_too,
    /// P8, E18
    a_closure_is_dropped_once_it_has_run,
    /// P8
    a_value_nobody_claims_is_dropped_when_it_comes,
    an_executor_can_be_picked_at_run_time,
    all_are_invoked_and_their_outcomes_in_order,
    any_gives_the_first_success,
    any_of_failures_gives_them_all,
    a_handle_submits_too,
    it_may_go_with_the_thread_that_keeps_it,
}

every_concurrent_executor_keeps! {
    /// P2
    cancelling_what_waits_is_done_at_once,
    /// P2
    what_is_cancelled_comes_out_of_wait_and_as_completed,
    /// P2, P8
    cancelling_drops_the_closure_at_once,
    /// P3
    is_running_is_true_only_between_start_and_outcome,
    /// P3, F11
    what_has_started_cannot_be_prevented,
    /// P6
    a_value_that_panics_when_dropped_hurts_nobody,
    /// P4
    a_running_closure_sees_that_it_is_cancelled,
    /// P4
    a_checkpoint_ends_a_cancelled_task,
    /// P4
    a_running_future_is_told_and_its_outcome_is_cancelled,
    /// P1
    waiting_for_so_long_gives_the_future_back,
    dropping_a_future_lets_its_task_run_on,
    dropping_a_cancel_on_drop_future_cancels,
    the_losers_of_any_are_cancelled,
    tasks_run_side_by_side,
    no_more_run_at_a_time_than_there_are_workers,
}

fn a_task_gives_its_value<E: InProcess>(executor: impl Fn(usize) -> E) {
    assert_eq!(claim(executor(2).submit(|| 2_u32.pow(8))), Ok(256));
}

fn a_future_gives_its_value<E: InProcess>(executor: impl Fn(usize) -> E) {
    assert_eq!(claim(executor(2).submit(async { 2_u32.pow(8) })), Ok(256));
}

fn what_a_closure_captures_goes_with_it<E: InProcess>(executor: impl Fn(usize) -> E) {
    let words = ["moved".to_owned()];

    assert_eq!(claim(executor(1).submit(move || words.concat())), Ok("moved".to_owned()));
}

fn every_future_gets_exactly_one_outcome<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let (told, hears) = mpsc::channel();
    let futures: Vec<_> = (0..1000)
        .map(|n| {
            let future = executor.submit(move || if n % 7 == 0 { panic!("seventh") } else { n });
            let told = told.clone();
            future.on_done(move |_outcome| told.send(n).unwrap());
            future
        })
        .collect();

    for (n, future) in futures.into_iter().enumerate() {
        assert_eq!(claim(future).ok(), (n % 7 != 0).then_some(n));
    }
    drop(told);
    let mut seen: Vec<usize> = hears.iter().collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
}

fn a_panic_costs_its_own_task_and_no_other<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let before = executor.submit(|| 1);
    let task = executor.submit(|| -> u8 { panic!("no umbrella") });
    let after = executor.submit(|| 2);

    assert!(matches!(claim(task), Err(TaskError::Panicked(panic)) if panic.message() == "no umbrella"));
    assert_eq!((claim(before), claim(after)), (Ok(1), Ok(2)));
}

fn a_panic_says_what_and_where<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (closure, future) = (executor.submit(|| panic!("{} umbrella", "no")), executor.submit(async { panic!("wet") }));

    let errors: [TaskError; 2] = [claim::<()>(closure).unwrap_err(), claim::<()>(future).unwrap_err()];

    for (error, message) in errors.iter().zip(["no umbrella", "wet"]) {
        let TaskError::Panicked(panic) = error else { panic!("{error}") };
        assert_eq!(panic.message(), message);
        assert!(panic.place().is_some_and(|place| place.contains("promises.rs:")), "{error}");
        assert!(error.to_string().starts_with("task panicked at "), "{error}");
    }
}

fn a_panic_with_an_odd_payload_is_an_error_too<E: InProcess>(executor: impl Fn(usize) -> E) {
    let task = executor(1).submit(|| std::panic::panic_any(42));

    let error = claim::<()>(task).unwrap_err();

    assert!(matches!(error, TaskError::Panicked(panic) if panic.message() == "the payload is no text"));
}

fn a_value_that_panics_when_dropped_hurts_nobody<E: InProcess>(executor: impl Fn(usize) -> E) {
    struct Trap;
    impl Drop for Trap {
        fn drop(&mut self) {
            if !thread::panicking() {
                panic!("dropped");
            }
        }
    }
    let executor = executor(1);

    let gate = Gate::default();
    drop(executor.submit({
        let gate = gate.clone();
        move || {
            gate.pass();
            Trap
        }
    }));
    gate.open();
    let trap = Trap;
    let caught = executor.submit(move || {
        let _trap = trap;
    });

    assert!(matches!(claim(caught), Err(TaskError::Panicked(_))));
    assert_eq!(claim(executor.submit(|| 1)), Ok(1));
}

fn a_closure_is_dropped_once_it_has_run<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (counted, alive) = Counted::new();

    let future = executor.submit(move || drop(counted.clone()));
    future.wait();

    assert_eq!(alive(), 0);
}

fn a_value_nobody_claims_is_dropped_when_it_comes<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (counted, alive) = Counted::new();

    drop(executor.submit(move || counted));
    // With one worker, this is done after that.
    executor.submit(|| ()).wait();
    executor.shutdown();

    assert_eq!(alive(), 0);
}

fn an_executor_can_be_picked_at_run_time<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    fn generic(executor: &impl InProcess) -> u8 {
        executor.submit(|| 3).result().unwrap()
    }
    let boxed: Box<dyn InProcess> = Box::new(executor(1));
    let counted: Arc<dyn InProcess> = Arc::new(executor(1));

    assert_eq!((boxed.submit(|| 1).result(), counted.submit(|| 2).result()), (Ok(1), Ok(2)));
    assert_eq!((generic(&boxed), generic(&&*counted)), (3, 3));
    assert_eq!(boxed.map(|n: u8| n + 1, [1, 2]).collect::<Result<Vec<_>, _>>(), Ok(vec![2, 3]));
}

fn all_are_invoked_and_their_outcomes_in_order<E: InProcess>(executor: impl Fn(usize) -> E) {
    let outcomes = executor(2).invoke_all((0..10).map(|n| move || n * n));

    assert_eq!(outcomes, (0..10).map(|n| Ok(n * n)).collect::<Vec<_>>());
}

fn any_gives_the_first_success<E: InProcess>(executor: impl Fn(usize) -> E) {
    let found = executor(2).invoke_any((0..10).map(|n| move || if n == 4 { n } else { panic!("not {n}") }));

    assert_eq!(found, Ok(4));
}

fn any_of_failures_gives_them_all<E: InProcess>(executor: impl Fn(usize) -> E) {
    let error = executor(2).invoke_any((0..3).map(|n| move || -> u8 { panic!("not {n}") })).unwrap_err();

    let TaskError::AllFailed(errors) = error else { panic!("{error}") };
    assert_eq!(errors.len(), 3);
    assert!(errors[2].to_string().ends_with("not 2"));
}

fn a_handle_submits_too<E: InProcess + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let handle = executor.handle();

    assert_eq!(claim(thread::spawn(move || handle.submit(|| 1)).join().unwrap()), Ok(1));
}

fn cancelling_what_waits_is_done_at_once<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let first = executor.submit({
        let gate = gate.clone();
        move || gate.pass()
    });
    let second = executor.submit(|| ());
    gate.wait_for(1);

    thread::scope(|s| {
        let waiter = s.spawn(|| second.wait());
        assert_eq!(second.cancel(), Cancel::Prevented);
        waiter.join().unwrap();
    });
    assert!(second.is_done() && second.is_cancelled() && !second.is_running());
    assert_eq!(second.cancel(), Cancel::Prevented);
    assert_eq!(claim(second), Err(TaskError::Cancelled));
    gate.open();
    assert_eq!(claim(first), Ok(()));
}

fn what_is_cancelled_comes_out_of_wait_and_as_completed<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let first = executor.submit({
        let gate = gate.clone();
        move || gate.pass()
    });
    gate.wait_for(1);
    let (second, third) = (executor.submit(|| ()), executor.submit(|| ()));
    second.cancel();
    third.cancel();

    let waited = wait([("first", first), ("second", second)], Until::FirstCompleted);
    let completed: Vec<_> = as_completed([third]).map(|third| third.is_cancelled()).collect();

    assert_eq!(waited.done.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["second"]);
    assert_eq!(waited.not_done.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["first"]);
    assert_eq!(completed, [true]);
    gate.open();
}

fn cancelling_drops_the_closure_at_once<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let _first = executor.submit({
        let gate = gate.clone();
        move || gate.pass()
    });
    gate.wait_for(1);
    let (counted, alive) = Counted::new();
    let second = executor.submit(move || drop(counted));
    assert_eq!(alive(), 1);

    second.cancel();

    assert_eq!(alive(), 0, "while the worker is still busy elsewhere");
    gate.open();
}

fn is_running_is_true_only_between_start_and_outcome<E: InProcess>(executor: impl Fn(usize) -> E) {
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
    gate.wait_for(1);

    let running: Vec<_> = tasks.iter().map(|task| task.is_running()).collect();

    assert_eq!(running, [true, false, false]);
    gate.open();
    tasks.iter().for_each(|task| task.wait());
    assert!(tasks.iter().all(|task| task.is_done() && !task.is_running()));
}

fn what_has_started_cannot_be_prevented<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let task = executor.submit({
        let gate = gate.clone();
        move || {
            gate.pass();
            1
        }
    });
    gate.wait_for(1);

    assert_eq!(task.cancel(), Cancel::Requested);
    assert!(!task.is_done());
    gate.open();
    task.wait();

    assert_eq!(task.cancel(), Cancel::TooLate);
    assert_eq!(claim(task), Ok(1));
}

fn a_running_closure_sees_that_it_is_cancelled<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let task = executor.submit({
        let gate = gate.clone();
        move || {
            let before = raincheck::cancelled();
            gate.pass();
            (before, raincheck::cancelled())
        }
    });
    gate.wait_for(1);
    task.cancel();
    gate.open();

    assert_eq!(claim(task), Ok((false, true)));
    assert!(!raincheck::cancelled(), "outside a task nobody is cancelled");
}

fn a_checkpoint_ends_a_cancelled_task<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let task = executor.submit({
        let gate = gate.clone();
        move || {
            raincheck::checkpoint();
            gate.pass();
            raincheck::checkpoint();
            unreachable!("the task goes no further");
        }
    });
    gate.wait_for(1);
    task.cancel();
    gate.open();

    assert_eq!(claim::<()>(task), Err(TaskError::Cancelled));
}

fn a_running_future_is_told_and_its_outcome_is_cancelled<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (counted, alive) = Counted::new();
    let (started, has_started) = mpsc::channel();
    let task = executor.submit(async move {
        let _counted = counted;
        started.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    has_started.recv_timeout(TOO_LONG).unwrap();

    assert_eq!(task.cancel(), Cancel::Stopped);

    assert_eq!(claim(task), Err(TaskError::Cancelled));
    assert_eq!(alive(), 0, "it was dropped where it awaited");
}

fn waiting_for_so_long_gives_the_future_back<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let task = executor.submit({
        let gate = gate.clone();
        move || {
            gate.pass();
            1
        }
    });

    let task = task.try_result().unwrap_err();
    let task = task.result_timeout(std::time::Duration::from_millis(5)).unwrap_err();
    assert!(!task.wait_timeout(std::time::Duration::ZERO));
    gate.open();

    assert_eq!(claim(task), Ok(1));
}

fn dropping_a_future_lets_its_task_run_on<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (told, hears) = mpsc::channel();

    drop(executor.submit(move || told.send("ran").unwrap()));

    assert_eq!(hears.recv_timeout(TOO_LONG), Ok("ran"));
}

fn dropping_a_cancel_on_drop_future_cancels<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let _first = executor.submit({
        let gate = gate.clone();
        move || gate.pass()
    });
    gate.wait_for(1);
    let (counted, alive) = Counted::new();

    drop(executor.submit(move || drop(counted)).cancel_on_drop());

    assert_eq!(alive(), 0);
    gate.open();
}

fn the_losers_of_any_are_cancelled<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let _first = executor.submit({
        let gate = gate.clone();
        move || gate.pass()
    });
    gate.wait_for(1);
    let (counted, alive) = Counted::new();
    let loser = executor.submit(move || {
        drop(counted);
        1
    });
    let (winner, won) = promise();
    let any = raincheck::any([loser, won]);

    winner.finish(Ok(2));

    assert_eq!(claim(any), Ok(2));
    assert_eq!(alive(), 0);
    gate.open();
}

fn tasks_run_side_by_side<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(3);
    let gate = Gate::default();
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            executor.submit({
                let gate = gate.clone();
                move || gate.pass()
            })
        })
        .collect();

    gate.wait_for(3);

    gate.open();
    tasks.into_iter().for_each(|task| claim(task).unwrap());
}

fn no_more_run_at_a_time_than_there_are_workers<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let running = Arc::new(AtomicUsize::new(0));

    let most = executor.invoke_all((0..500).map(|_| {
        let running = Arc::clone(&running);
        move || {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            thread::yield_now();
            running.fetch_sub(1, Ordering::SeqCst);
            now
        }
    }));

    assert!(most.into_iter().all(|now| now.unwrap() <= 2));
}

/// What a thread keeps to its end, and uses once more then.
struct Kept<E: InProcess> {
    executor: E,
    /// Cancelled, all along the chain, as it goes.
    chain: Option<TaskFuture<u8>>,
    told: mpsc::Sender<Vec<Result<u8, TaskError>>>,
}

impl<E: InProcess> Drop for Kept<E> {
    fn drop(&mut self) {
        drop(self.chain.take());
        let executor = &self.executor;
        let panics = executor.submit(|| -> u8 { panic!("at the end") });
        assert!(matches!(claim(panics), Err(TaskError::Panicked(_))));
        let outcomes = vec![
            claim(executor.submit(|| u8::from(raincheck::cancelled()))),
            claim(executor.submit(|| 0).map(|n| n + 1)),
            executor.scope(|s| s.submit(|| 2).result()),
            executor.map(|n: u8| n, 3..4).values().map(|values| values[0]),
            claim(executor.submit_after(Duration::from_millis(1), || 4)),
        ];
        self.told.send(outcomes).unwrap();
    }
}

fn it_may_go_with_the_thread_that_keeps_it<E: InProcess + 'static>(make: impl Fn(usize) -> E + Send) {
    thread_local! {
        static KEPT: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    }
    let ((told, hears), (owed, future)) = (mpsc::channel(), promise());
    let (executor, called) = (make(2), Arc::new(AtomicUsize::new(0)));
    let chain = (0..200).fold(future, |future: TaskFuture<u8>, _| {
        let called = Arc::clone(&called);
        future.finally(move || {
            called.fetch_add(1, Ordering::SeqCst);
        })
    });

    thread::spawn(move || {
        // Before the thread has to do with the library, so that whatever that needs is gone before.
        KEPT.set(Some(Box::new(Kept { executor, chain: Some(chain.cancel_on_drop()), told })));
        KEPT.with_borrow(|kept| {
            let kept = kept.as_ref().and_then(|kept| kept.downcast_ref::<Kept<E>>()).unwrap();
            assert_eq!(claim(kept.executor.submit(|| 1)), Ok(1));
        });
    })
    .join()
    .unwrap();

    assert_eq!(hears.try_recv(), Ok((0..5).map(Ok).collect()));
    assert!(owed.is_cancelled());
    assert_eq!(called.load(Ordering::SeqCst), 200);
}
