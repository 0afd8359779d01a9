//! The options that any executor takes, as far as it is one with workers.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use raincheck::{Executor, Full, InProcess, Inline, Lane, Options, TaskError, ThreadPool, promise, with_worker_state};

use crate::{
    every_concurrent_executor_keeps,
    gate::{Gate, TOO_LONG, claim},
};

/// Makes the same promise of both builders, which have the same options.
macro_rules! every_builder_keeps {
    ($($(#[$row:meta])* $promise:ident),+ $(,)?) => {
        mod thread_builder {
            use super::*;

            $($(#[$row])* #[test] fn $promise() { super::$promise!(raincheck::ThreadPool::builder(), build); })+
        }
        #[cfg(feature = "tokio")]
        mod tokio_builder {
            use super::*;

            trait Built { fn built(self) -> raincheck::Tokio; }
            impl Built for raincheck::TokioBuilder { fn built(self) -> raincheck::Tokio { self.build().unwrap() } }
            $($(#[$row])* #[test] fn $promise() { super::$promise!(raincheck::Tokio::builder(), built); })+
        }
    };
}

every_concurrent_executor_keeps! {
    /// P5
    a_time_limit_counts_from_the_start_of_the_task,
    /// P5
    a_closure_that_overruns_sees_it_and_its_place_is_taken,
    /// P5
    a_future_that_overruns_is_dropped,
    the_higher_priority_goes_first,
    a_task_within_its_limit_has_its_value,
}

fn a_time_limit_counts_from_the_start_of_the_task<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let first = executor.submit({
        let gate = gate.clone();
        move || gate.pass()
    });
    gate.wait_for(1);

    // It waits for longer than it may take, and is in time all the same.
    let limited = executor.with(Options::new().time_limit(Duration::from_millis(40))).submit(|| 1);
    assert!(!limited.wait_timeout(Duration::from_millis(80)));
    gate.open();

    assert_eq!((claim(first), claim(limited)), (Ok(()), Ok(1)));
}

fn a_closure_that_overruns_sees_it_and_its_place_is_taken<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let limit = Duration::from_millis(20);
    let (gate, (told, hears)) = (Gate::default(), mpsc::channel());
    let task = executor.with(Options::new().time_limit(limit)).submit({
        let gate = gate.clone();
        move || {
            gate.pass();
            told.send(raincheck::cancelled()).unwrap();
        }
    });

    assert_eq!(task.error(), None);
    assert_eq!(claim(task), Err(TaskError::TimedOut { limit }));
    // The only worker is still in the task, and yet the executor is as wide as it was.
    assert_eq!(claim(executor.submit(|| 1)), Ok(1));
    gate.open();
    assert_eq!(hears.recv_timeout(TOO_LONG), Ok(true));
    assert_eq!(claim(executor.submit(|| 2)), Ok(2));
}

fn a_future_that_overruns_is_dropped<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let limit = Duration::from_millis(20);
    let (sender, receiver) = mpsc::channel::<()>();

    let task = executor.with(Options::new().time_limit(limit)).submit(async move {
        let _sender = sender;
        std::future::pending::<()>().await;
    });

    assert_eq!(claim(task), Err(TaskError::TimedOut { limit }));
    assert_eq!(receiver.recv_timeout(TOO_LONG), Err(mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(claim(executor.submit(|| 1)), Ok(1));
}

fn the_higher_priority_goes_first<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (gate, order) = (Gate::default(), Arc::new(Mutex::new(Vec::new())));
    let first = executor.submit({
        let gate = gate.clone();
        move || gate.pass()
    });
    gate.wait_for(1);

    let tasks: Vec<_> = [0, -5, 3, 0, 9, 3]
        .into_iter()
        .enumerate()
        .map(|(n, priority)| {
            let order = Arc::clone(&order);
            executor.with(Options::new().priority(priority)).submit(move || order.lock().unwrap().push((priority, n)))
        })
        .collect();
    gate.open();
    claim(first).unwrap();
    tasks.into_iter().for_each(|task| claim(task).unwrap());

    assert_eq!(*order.lock().unwrap(), [(9, 4), (3, 2), (3, 5), (0, 0), (0, 3), (-5, 1)]);
}

fn a_task_within_its_limit_has_its_value<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let limited = executor.with(Options::new().time_limit(TOO_LONG));

    let sum: u64 = limited.map(|n: u64| n, 0..1000).map(Result::unwrap).sum();

    assert_eq!(sum, 499_500);
}

every_builder_keeps! {
    any_number_of_workers_is_one,
    /// I1
    the_initializer_runs_once_for_each_worker,
    /// I2
    a_failing_initializer_breaks_the_executor_and_says_so,
    each_worker_has_a_state_of_its_own,
    /// T, Java's AbortPolicy
    a_full_queue_refuses,
    /// T, Java's CallerRunsPolicy
    a_full_queue_has_the_caller_run_it,
    a_full_queue_blocks_until_there_is_room,
    a_full_queue_blocks_no_task_of_its_own_for_ever,
    who_waits_for_room_has_it_when_a_task_blocks,
    a_late_task_that_the_caller_would_run_holds_up_no_clock,
    what_a_closed_queue_refuses_may_ask_the_executor_as_it_goes,
    the_time_limit_of_the_executor_holds_for_all_tasks,
}

macro_rules! any_number_of_workers_is_one {
    ($builder:expr, $build:ident) => {{
        let executor = $builder.workers(usize::MAX).$build();

        assert_eq!(claim(executor.submit(|| 1)), Ok(1));
        assert_eq!(executor.map(|n: u8| n, 0..100).values(), Ok((0..100).collect()));
    }};
}
use any_number_of_workers_is_one;

macro_rules! the_initializer_runs_once_for_each_worker {
    ($builder:expr, $build:ident) => {{
        let lanes = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&lanes);
        let executor =
            $builder.workers(3).initializer(move |lane: Lane| noted.lock().unwrap().push(lane.index())).$build();
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
        let more: Vec<_> = (0..30).map(|_| executor.submit(|| ())).collect();
        more.into_iter().for_each(|task| claim(task).unwrap());

        let mut lanes = lanes.lock().unwrap().clone();
        lanes.sort_unstable();
        assert_eq!(lanes, [0, 1, 2]);
    }};
}
use the_initializer_runs_once_for_each_worker;

macro_rules! a_failing_initializer_breaks_the_executor_and_says_so {
    ($builder:expr, $build:ident) => {{
        let executor = $builder.workers(2).initializer(|_| panic!("no database")).$build();

        let tasks: Vec<_> = (0..10).map(|_| executor.submit(|| ())).collect();

        for task in tasks.into_iter().chain([executor.submit(|| ())]) {
            let error = claim(task).unwrap_err();
            assert!(matches!(&error, TaskError::WorkerLost(_)), "{error}");
            assert!(error.to_string().contains("no database"), "{error}");
        }
    }};
}
use a_failing_initializer_breaks_the_executor_and_says_so;

macro_rules! each_worker_has_a_state_of_its_own {
    ($builder:expr, $build:ident) => {{
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let executor = $builder
            .workers(2)
            .worker_state(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                0_u32
            })
            .$build();

        let bump = || {
            with_worker_state(|count: &mut u32| {
                *count += 1;
                *count
            })
        };
        let tasks: Vec<_> = (0..100).map(|_| executor.submit(bump)).collect();
        let counts: Vec<u32> = tasks.into_iter().map(|task| claim(task).unwrap().unwrap()).collect();
        let wrong_type = executor.submit(|| with_worker_state(|_: &mut String| ()));
        let awaiting = executor.submit(async move { bump().is_some() });
        let panicking = executor.submit(|| with_worker_state(|_: &mut u32| -> () { panic!("while it is lent") }));

        assert!(made.load(Ordering::SeqCst) <= 2);
        assert!(counts.iter().copied().max().unwrap() >= 50, "{counts:?}");
        assert_eq!((claim(wrong_type), claim(awaiting)), (Ok(None), Ok(true)));
        assert!(claim(panicking).is_err());
        assert!(claim(executor.submit(bump)).unwrap().is_some(), "a panic does not lose it");
        assert_eq!(with_worker_state(|_: &mut u32| ()), None);
    }};
}
use each_worker_has_a_state_of_its_own;

macro_rules! a_full_queue_refuses {
    ($builder:expr, $build:ident) => {{
        let executor = $builder.workers(1).queue(1, Full::Refuse).$build();
        let gate = Gate::default();

        let running = executor.submit({
            let gate = gate.clone();
            move || gate.pass()
        });
        gate.wait_for(1);
        let waiting = executor.submit(|| 1);
        let refused = executor.submit(|| 2);

        assert!(refused.is_done());
        assert_eq!(claim(refused), Err(TaskError::Refused));
        gate.open();
        assert_eq!((claim(running), claim(waiting)), (Ok(()), Ok(1)));
    }};
}
use a_full_queue_refuses;

macro_rules! a_full_queue_has_the_caller_run_it {
    ($builder:expr, $build:ident) => {{
        let executor = $builder.workers(1).queue(1, Full::RunInCaller).$build();
        let gate = Gate::default();

        let running = executor.submit({
            let gate = gate.clone();
            move || gate.pass()
        });
        gate.wait_for(1);
        let waiting = executor.submit(|| thread::current().id());
        let run_here = executor.submit(|| thread::current().id());

        assert!(run_here.is_done());
        assert_eq!(claim(run_here), Ok(thread::current().id()));
        gate.open();
        claim(running).unwrap();
        assert_ne!(claim(waiting), Ok(thread::current().id()));
    }};
}
use a_full_queue_has_the_caller_run_it;

macro_rules! a_full_queue_blocks_until_there_is_room {
    ($builder:expr, $build:ident) => {{
        let executor = $builder.workers(1).queue(1, Full::Block).$build();
        let gate = Gate::default();
        let running = executor.submit({
            let gate = gate.clone();
            move || gate.pass()
        });
        gate.wait_for(1);
        let waiting = executor.submit(|| 1);

        let (told, hears) = mpsc::channel();
        thread::scope(|s| {
            s.spawn(|| {
                let blocked = executor.submit(|| 2);
                told.send(()).unwrap();
                assert_eq!(claim(blocked), Ok(2));
            });
            assert!(hears.recv_timeout(Duration::from_millis(30)).is_err(), "it is blocked");
            gate.open();
            hears.recv_timeout(TOO_LONG).unwrap();
        });
        assert_eq!((claim(running), claim(waiting)), (Ok(()), Ok(1)));
    }};
}
use a_full_queue_blocks_until_there_is_room;

macro_rules! a_full_queue_blocks_no_task_of_its_own_for_ever {
    ($builder:expr, $build:ident) => {{
        let executor = $builder.workers(1).queue(1, Full::Block).$build();
        let inner = executor.handle();

        let task = executor.submit(move || (0..20).map(|n| inner.submit(move || n)).collect::<Vec<_>>());
        let sum: i32 = claim(task).unwrap().into_iter().map(|inner| claim(inner).unwrap()).sum();

        assert_eq!(sum, 190);
    }};
}
use a_full_queue_blocks_no_task_of_its_own_for_ever;

macro_rules! who_waits_for_room_has_it_when_a_task_blocks {
    ($builder:expr, $build:ident) => {{
        let executor = $builder.workers(1).queue(0, Full::Block).$build();
        let (gate, (promise, future)) = (Gate::default(), promise());
        let waits = executor.submit({
            let gate = gate.clone();
            move || {
                gate.pass();
                future.result()
            }
        });
        gate.wait_for(1);

        let (told, hears) = mpsc::channel();
        let handle = executor.handle();
        thread::spawn(move || {
            gate.open();
            drop(handle.submit(move || promise.finish(Ok(1))));
            told.send(()).unwrap();
        });

        assert_eq!(hears.recv_timeout(TOO_LONG), Ok(()));
        assert_eq!(claim(waits), Ok(Ok(1)));
    }};
}
use who_waits_for_room_has_it_when_a_task_blocks;

macro_rules! a_late_task_that_the_caller_would_run_holds_up_no_clock {
    ($builder:expr, $build:ident) => {{
        let executor = $builder.workers(1).queue(0, Full::RunInCaller).$build();
        let gate = Gate::default();
        let pass = || {
            let gate = gate.clone();
            move || gate.pass()
        };
        let running = executor.submit(pass());
        gate.wait_for(1);

        let late = executor.submit_after(Duration::from_millis(1), pass());
        gate.wait_for(2);
        let later = Inline::new().submit_after(Duration::from_millis(1), || 1);

        assert_eq!(later.result_timeout(TOO_LONG).ok(), Some(Ok(1)));
        gate.open();
        assert_eq!((claim(running), claim(late)), (Ok(()), Ok(())));
    }};
}
use a_late_task_that_the_caller_would_run_holds_up_no_clock;

macro_rules! what_a_closed_queue_refuses_may_ask_the_executor_as_it_goes {
    ($builder:expr, $build:ident) => {{
        struct Asks<E: InProcess>(E);
        impl<E: InProcess> Drop for Asks<E> {
            fn drop(&mut self) {
                assert_eq!(self.0.submit(|| ()).result(), Err(TaskError::ShutDown));
            }
        }

        // On a thread of its own, since it would hang here.
        let (told, hears) = mpsc::channel();
        thread::spawn(move || {
            for full in [Full::Refuse, Full::Block] {
                let executor = $builder.workers(1).queue(1, full).$build();
                executor.close();
                let asks = Asks(executor.handle());
                told.send(executor.submit(move || drop(asks)).result()).unwrap();
            }
        });

        assert_eq!(hears.recv_timeout(TOO_LONG), Ok(Err(TaskError::ShutDown)));
        assert_eq!(hears.recv_timeout(TOO_LONG), Ok(Err(TaskError::ShutDown)));
    }};
}
use what_a_closed_queue_refuses_may_ask_the_executor_as_it_goes;

macro_rules! the_time_limit_of_the_executor_holds_for_all_tasks {
    ($builder:expr, $build:ident) => {{
        let limit = Duration::from_millis(20);
        let executor = $builder.workers(2).time_limit(limit).$build();

        let endless = executor.submit(|| {
            while !raincheck::cancelled() {
                thread::yield_now()
            }
        });
        let awaiting = executor.submit(std::future::pending::<()>());

        assert_eq!(claim(endless), Err(TaskError::TimedOut { limit }));
        assert_eq!(claim(awaiting), Err(TaskError::TimedOut { limit }));
    }};
}
use the_time_limit_of_the_executor_holds_for_all_tasks;

#[test]
fn the_threads_of_a_pool_have_its_name() {
    let pool = ThreadPool::builder().workers(2).name("special").build();

    let names: HashSet<_> = (0..50)
        .map(|_| claim(pool.submit(|| thread::current().name().map(ToOwned::to_owned))).unwrap().unwrap())
        .collect();

    assert!(names.iter().all(|name| name == "special-0" || name == "special-1"), "{names:?}");
}

#[test]
#[should_panic(expected = "at least one worker")]
fn a_pool_of_no_workers_is_refused() {
    drop(ThreadPool::new(0));
}
