//! The promises once more, made to calls of `#[task]` functions, which any executor takes: also one whose workers are
//! other processes. There, tasks and tests meet in a folder.

use std::{
    collections::HashMap,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use raincheck::{
    Cancel, Ending, Event, Executor, Inline, Moment, Options, Retry, TaskError, TaskId, Until, as_completed, promise,
    wait,
};

use crate::gate::{TOO_LONG, claim};

/// Runs each promise on each executor, of the width that it asks for.
macro_rules! every_executor_keeps_to_calls {
    ($($promise:ident),+ $(,)?) => {
        mod every {
            mod inline {
                $(#[test] fn $promise() { super::super::$promise(|_workers| raincheck::Inline::new()); })+
            }
        }
        concurrent_executors_keep_to_calls! { mod every_concurrent: $($promise),+ }
    };
}

/// The same for those promises that need a second thread.
macro_rules! concurrent_executors_keep_to_calls {
    (mod $name:ident: $($promise:ident),+ $(,)?) => {
        mod $name {
            mod thread {
                $(#[test] fn $promise() { super::super::$promise(raincheck::ThreadPool::new); })+
            }
            #[cfg(feature = "tokio")]
            mod tokio {
                $(#[test] fn $promise() { super::super::$promise(raincheck::Tokio::new); })+
            }
            #[cfg(all(feature = "process", unix))]
            mod process {
                $(#[test] fn $promise() { super::super::$promise(raincheck::ProcessPool::new); })+
            }
        }
    };
}

every_executor_keeps_to_calls! {
    a_call_gives_its_value,
    an_async_call_gives_its_value,
    every_future_gets_exactly_one_outcome,
    a_panic_costs_its_own_task_and_no_other,
    a_panic_says_what_and_where,
    a_panic_with_an_odd_payload_is_an_error_too,
    an_executor_can_be_picked_at_run_time,
    all_are_invoked_and_their_outcomes_in_order,
    any_gives_the_first_success,
    any_of_failures_gives_them_all,
    a_handle_submits_too,
    a_call_is_submitted_later,
    one_that_fails_is_submitted_anew,
    outcomes_come_in_the_order_of_the_inputs,
    an_error_is_in_its_place_and_the_rest_goes_on,
    a_panic_in_a_group_costs_its_own_input_and_no_other,
    an_endless_input_is_fine,
    no_input_gives_no_outcome,
    exactly_as_many_inputs_are_pulled_as_the_buffer_holds,
    as_completed_gives_each_input_with_its_outcome,
    tiny_inputs_are_grouped,
    each_task_has_its_moments_in_order,
    the_ending_says_how_it_ended,
    what_is_mapped_is_observed_each_by_itself,
    a_panic_of_the_observer_hurts_nobody,
    progress_reaches_the_observer,
    after_shutdown_nothing_is_taken,
    shutdown_waits_for_what_was_submitted,
    shutdown_can_be_called_twice_and_from_many_threads,
    dropping_the_executor_finishes_its_work,
    a_handle_refuses_when_the_executor_is_gone,
    cancelled_tasks_do_not_hold_it_up,
}

concurrent_executors_keep_to_calls! {
    mod concurrent:
    cancelling_what_waits_is_done_at_once,
    what_is_cancelled_comes_out_of_wait_and_as_completed,
    is_running_is_true_only_between_start_and_outcome,
    waiting_for_so_long_gives_the_future_back,
    dropping_a_future_lets_its_task_run_on,
    dropping_a_cancel_on_drop_future_cancels,
    the_losers_of_any_are_cancelled,
    tasks_run_side_by_side,
    no_more_run_at_a_time_than_there_are_workers,
    a_time_limit_counts_from_the_start_of_the_task,
    a_task_that_overruns_is_timed_out_and_its_place_is_taken,
    the_higher_priority_goes_first,
    what_is_cancelled_never_starts,
    no_lane_has_two_tasks_at_a_time,
    what_is_queued_can_be_cancelled,
    what_is_queued_can_be_run_elsewhere,
    shutdown_can_wait_for_so_long,
    closing_does_not_wait,
    an_unwinding_caller_does_not_wait_for_the_queue,
    a_task_of_a_thread_pool_waits_for_a_call,
    workers_are_kept_busy,
    as_completed_gives_the_first_that_is_ready,
    a_callback_may_wait_for_another_call,
}

/// Where the tasks of a test meet, in whatever process they are.
struct Meeting(PathBuf);

impl Meeting {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("raincheck-calls-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.clone()
    }

    /// Who has arrived.
    fn arrived(&self) -> Vec<u32> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<u32> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
        names.sort_unstable();
        names
    }

    #[track_caller]
    fn wait_for(&self, arrived: usize) {
        let start = Instant::now();
        while self.arrived().len() < arrived {
            assert!(start.elapsed() < TOO_LONG, "fewer than {arrived} tasks arrived");
            thread::yield_now();
        }
    }

    fn open(&self) {
        fs::write(self.0.join("open"), "").unwrap();
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Arrives at a meeting, and waits until it is open.
#[raincheck::task]
fn meet(folder: &Path, name: u32) -> u32 {
    fs::write(folder.join(name.to_string()), "").unwrap();
    let start = Instant::now();
    // Also a meeting that is over is one that nobody need wait for.
    while folder.exists() && !folder.join("open").exists() {
        assert!(start.elapsed() < TOO_LONG, "the meeting was never opened");
        thread::sleep(Duration::from_millis(1));
    }
    name
}

#[raincheck::task]
fn square(n: u64) -> u64 {
    n * n
}

#[raincheck::task]
async fn double(n: u64) -> u64 {
    n * 2
}

#[raincheck::task]
fn not_seventh(n: u64) -> u64 {
    if n.is_multiple_of(7) { panic!("{n} is a seventh") } else { n }
}

#[raincheck::task]
fn no_umbrella() -> u8 {
    panic!("no {}", "umbrella")
}

#[raincheck::task]
fn panics_oddly() {
    std::panic::panic_any(42)
}

/// Notes its name in a file, after those who were before it.
#[raincheck::task]
fn sign(file: &Path, name: u64) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
    // In one piece, since others write there too.
    file.write_all(format!("{name}\n").as_bytes()).unwrap();
}

fn signed(file: &Path) -> Vec<u64> {
    fs::read_to_string(file).unwrap_or_default().lines().map(|line| line.parse().unwrap()).collect()
}

fn a_call_gives_its_value<E: Executor>(executor: impl Fn(usize) -> E) {
    assert_eq!(claim(executor(2).submit(square::call(16))), Ok(256));
}

fn an_async_call_gives_its_value<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    assert_eq!(claim(executor.submit(double::call(21))), Ok(42));
    assert_eq!(executor.map(double::task(), 0..3).collect::<Result<Vec<_>, _>>(), Ok(vec![0, 2, 4]));
}

fn every_future_gets_exactly_one_outcome<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let (told, hears) = mpsc::channel();
    let futures: Vec<_> = (0..1000)
        .map(|n| {
            let future = executor.submit(not_seventh::call(n));
            let told = told.clone();
            future.on_done(move |_outcome| told.send(n).unwrap());
            future
        })
        .collect();

    for (n, future) in (0..).zip(futures) {
        assert_eq!(claim(future).ok(), (n % 7 != 0).then_some(n));
    }
    drop(told);
    let mut seen: Vec<u64> = hears.iter().collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
}

fn a_panic_costs_its_own_task_and_no_other<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let before = executor.submit(square::call(1));
    let task = executor.submit(no_umbrella::call());
    let after = executor.submit(square::call(2));

    assert!(matches!(claim(task), Err(TaskError::Panicked(panic)) if panic.message() == "no umbrella"));
    assert_eq!((claim(before), claim(after)), (Ok(1), Ok(4)));
}

fn a_panic_says_what_and_where<E: Executor>(executor: impl Fn(usize) -> E) {
    let error = claim(executor(1).submit(no_umbrella::call())).unwrap_err();

    let TaskError::Panicked(panic) = &error else { panic!("{error}") };
    assert!(panic.place().is_some_and(|place| place.contains("calls.rs:")), "{error}");
}

fn a_panic_with_an_odd_payload_is_an_error_too<E: Executor>(executor: impl Fn(usize) -> E) {
    let error = claim(executor(1).submit(panics_oddly::call())).unwrap_err();

    assert!(matches!(error, TaskError::Panicked(panic) if panic.message() == "the payload is no text"));
}

fn an_executor_can_be_picked_at_run_time<E: Executor + 'static>(executor: impl Fn(usize) -> E) {
    fn generic(executor: &impl Executor) -> u64 {
        executor.submit(square::call(3)).result().unwrap()
    }
    let boxed: Box<dyn Executor> = Box::new(executor(1));
    let counted: Arc<dyn Executor> = Arc::new(executor(1));

    assert_eq!((boxed.submit(square::call(1)).result(), counted.submit(square::call(2)).result()), (Ok(1), Ok(4)));
    assert_eq!((generic(&boxed), generic(&counted)), (9, 9));
    assert_eq!(boxed.map(square::task(), [1, 2]).collect::<Result<Vec<_>, _>>(), Ok(vec![1, 4]));
}

fn all_are_invoked_and_their_outcomes_in_order<E: Executor>(executor: impl Fn(usize) -> E) {
    let outcomes = executor(2).invoke_all((0..10).map(square::call));

    assert_eq!(outcomes, (0..10).map(|n| Ok(n * n)).collect::<Vec<_>>());
}

fn any_gives_the_first_success<E: Executor>(executor: impl Fn(usize) -> E) {
    assert_eq!(executor(2).invoke_any([0, 7, 9, 14].map(not_seventh::call)), Ok(9));
}

fn any_of_failures_gives_them_all<E: Executor>(executor: impl Fn(usize) -> E) {
    let error = executor(2).invoke_any([0, 7, 14].map(not_seventh::call)).unwrap_err();

    let TaskError::AllFailed(errors) = error else { panic!("{error}") };
    assert!(errors[2].to_string().ends_with("14 is a seventh"));
}

fn a_handle_submits_too<E: Executor + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let handle = executor.handle();

    assert_eq!(claim(thread::spawn(move || handle.submit(square::call(1))).join().unwrap()), Ok(1));
}

fn a_call_is_submitted_later<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (start, delay) = (Instant::now(), Duration::from_millis(20));

    assert_eq!(claim(executor.submit_after(delay, square::call(3))), Ok(9));
    assert!(start.elapsed() >= delay);
}

fn one_that_fails_is_submitted_anew<E: Executor>(executor: impl Fn(usize) -> E) {
    #[raincheck::task]
    fn third_time_lucky(file: &Path) -> Result<usize, String> {
        sign(file, 1);
        match signed(file).len() {
            3 => Ok(3),
            attempt => Err(format!("not at attempt {attempt}")),
        }
    }
    let (executor, meeting) = (executor(1), Meeting::new());

    let task = executor.submit_retrying(Retry::times(5), third_time_lucky::call(meeting.path().join("attempts")));

    assert_eq!(claim(task), Ok(Ok(3)));
}

fn outcomes_come_in_the_order_of_the_inputs<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let expected: Vec<u64> = (0..10_000).map(|n| n * n).collect();

    let free: Result<Vec<u64>, _> = executor.map(square::task(), 0..10_000).collect();
    let grouped: Result<Vec<u64>, _> = executor.map(square::task(), 0..10_000).group(3).collect();
    let bounded: Result<Vec<u64>, _> = executor.map(square::task(), 0..2_000).buffer(5).collect();

    assert_eq!((free.as_ref(), grouped.as_ref()), (Ok(&expected), Ok(&expected)));
    assert_eq!(bounded.unwrap(), expected[..2_000]);
}

fn an_error_is_in_its_place_and_the_rest_goes_on<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    for group in [1, 4] {
        let mut outcomes = executor.map(not_seventh::task(), 5..10).group(group);
        let values: Vec<Option<u64>> = outcomes.by_ref().map(Result::ok).collect();

        assert_eq!(values, [Some(5), Some(6), None, Some(8), Some(9)]);
        assert!(outcomes.next().is_none());
    }
}

fn a_panic_in_a_group_costs_its_own_input_and_no_other<E: Executor>(executor: impl Fn(usize) -> E) {
    let outcomes: Vec<_> = executor(1).map(not_seventh::task(), 0..100).group(100).collect();

    for (n, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(value) => assert!(value == n && n % 7 != 0),
            Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), format!("{n} is a seventh")),
            Err(error) => panic!("{error}"),
        }
    }
}

fn an_endless_input_is_fine<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    let bounded: Vec<_> = executor.map(square::task(), 0..).buffer(2).take(3).collect();
    let free: Vec<_> = executor.map(square::task(), 0..).take(5_000).collect();

    assert_eq!(bounded, [Ok(0), Ok(1), Ok(4)]);
    assert_eq!(free.len(), 5_000);
}

fn no_input_gives_no_outcome<E: Executor>(executor: impl Fn(usize) -> E) {
    assert!(executor(1).map(square::task(), Vec::<u64>::new()).next().is_none());
}

fn exactly_as_many_inputs_are_pulled_as_the_buffer_holds<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let pulled = AtomicUsize::new(0);

    let inputs = (0..).inspect(|_| {
        pulled.fetch_add(1, Ordering::SeqCst);
    });
    let mut outcomes = executor.map(square::task(), inputs).buffer(5);
    for taken in 0..20 {
        assert_eq!(outcomes.next(), Some(Ok(taken * taken)));
        assert_eq!(pulled.load(Ordering::SeqCst) as u64, taken + 5);
    }
}

fn as_completed_gives_each_input_with_its_outcome<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    let mut outcomes: Vec<(u64, u64)> =
        executor.map(square::task(), 0..1000).as_completed().map(|(n, square)| (n, square.unwrap())).collect();

    outcomes.sort_unstable();
    assert_eq!(outcomes, (0..1000).map(|n| (n, n * n)).collect::<Vec<_>>());
}

fn tiny_inputs_are_grouped<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let pulled = AtomicUsize::new(0);

    let inputs = (0..).inspect(|_| {
        pulled.fetch_add(1, Ordering::SeqCst);
    });
    let mut outcomes = executor.map(square::task(), inputs);
    let _ = outcomes.nth(20_000);

    assert!(pulled.load(Ordering::SeqCst) > 20_020, "{} pulled", pulled.load(Ordering::SeqCst));
}

/// Takes note of all events.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<Event>>>);

impl Notes {
    fn observing(&self) -> Options {
        let notes = Arc::clone(&self.0);
        Options::new().observer(move |event: &Event| notes.lock().unwrap().push(event.clone()))
    }

    fn by_task(&self) -> Vec<Vec<Moment>> {
        let mut tasks: HashMap<TaskId, Vec<Moment>> = HashMap::new();
        for event in self.0.lock().unwrap().iter() {
            tasks.entry(event.task).or_default().push(event.moment);
        }
        let mut tasks: Vec<_> = tasks.into_iter().collect();
        tasks.sort_unstable_by_key(|(task, _)| *task);
        tasks.into_iter().map(|(_, moments)| moments).collect()
    }
}

fn each_task_has_its_moments_in_order<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, notes) = (executor(2), Notes::default());
    let observed = executor.with(notes.observing().label("a square"));

    let futures: Vec<_> = (0..50).map(|n| observed.submit(square::call(n))).collect();
    futures.into_iter().for_each(|future| drop(claim(future)));

    let tasks = notes.by_task();
    assert_eq!(tasks.len(), 50);
    for moments in tasks {
        assert!(
            matches!(moments[..], [Moment::Submitted, Moment::Started(_), Moment::Finished(Ending::Returned)]),
            "{moments:?}"
        );
    }
    assert!(notes.0.lock().unwrap().iter().all(|event| event.label.as_deref() == Some("a square")));
}

fn the_ending_says_how_it_ended<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, notes) = (executor(1), Notes::default());
    let observed = executor.with(notes.observing());

    drop(claim(observed.submit(no_umbrella::call())));
    drop(claim(observed.submit(square::call(1))));
    executor.close();
    drop(claim(observed.submit(square::call(2))));

    let endings: Vec<_> = notes.by_task().into_iter().map(|moments| *moments.last().unwrap()).collect();
    assert_eq!(endings, [Ending::Panicked, Ending::Returned, Ending::Lost].map(Moment::Finished));
}

fn what_is_mapped_is_observed_each_by_itself<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, notes) = (executor(2), Notes::default());
    let observed = executor.with(notes.observing());

    let succeeded = observed.map(not_seventh::task(), 0..100).filter(|outcome| outcome.is_ok()).count();

    let tasks = notes.by_task();
    assert_eq!((succeeded, tasks.len()), (85, 100));
    assert_eq!(tasks[0].last(), Some(&Moment::Finished(Ending::Panicked)));
}

fn a_panic_of_the_observer_hurts_nobody<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);

    let task = executor.with(Options::new().observer(|_: &Event| panic!("the observer"))).submit(square::call(1));

    assert_eq!(claim(task), Ok(1));
}

fn progress_reaches_the_observer<E: Executor>(executor: impl Fn(usize) -> E) {
    #[raincheck::task]
    fn counts(most: u64) {
        (1..=most).for_each(raincheck::progress);
    }
    let (executor, notes) = (executor(1), Notes::default());

    assert_eq!(claim(executor.with(notes.observing()).submit(counts::call(1000))), Ok(()));

    let moments = &notes.by_task()[0];
    assert!(matches!(moments[..3], [Moment::Submitted, Moment::Started(_), Moment::Progress(1)]), "{moments:?}");
    assert_eq!(moments[moments.len() - 2..], [Moment::Progress(1000), Moment::Finished(Ending::Returned)]);
}

fn after_shutdown_nothing_is_taken<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    executor.shutdown();

    assert_eq!(claim(executor.submit(square::call(1))), Err(TaskError::ShutDown));
}

fn shutdown_waits_for_what_was_submitted<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(2), Meeting::new());
    let file = meeting.path().join("signed");
    (0..300).for_each(|n| drop(executor.submit(sign::call(file.clone(), n))));

    executor.shutdown();

    let mut names = signed(&file);
    names.sort_unstable();
    assert_eq!(names, (0..300).collect::<Vec<_>>());
}

fn shutdown_can_be_called_twice_and_from_many_threads<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let task = executor.submit(square::call(1));

    thread::scope(|s| (0..4).for_each(|_| drop(s.spawn(|| executor.shutdown()))));
    executor.shutdown();

    assert_eq!(claim(task), Ok(1));
}

fn dropping_the_executor_finishes_its_work<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let tasks: Vec<_> = (0..500).map(|n| executor.submit(square::call(n))).collect();

    drop(executor);

    assert!(tasks.iter().all(raincheck::TaskFuture::is_done));
    assert!((0..).zip(tasks).all(|(n, task)| claim(task) == Ok(n * n)));
}

fn a_handle_refuses_when_the_executor_is_gone<E: Executor + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let handle = executor.handle();
    executor.shutdown();
    drop(executor);

    assert_eq!(claim(handle.submit(square::call(1))), Err(TaskError::ShutDown));
}

fn cancelled_tasks_do_not_hold_it_up<E: Executor>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    for n in 0..100 {
        executor.submit(square::call(n)).cancel();
    }

    assert!(executor.shutdown_timeout(TOO_LONG));
}

fn cancelling_what_waits_is_done_at_once<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let first = executor.submit(meet::call(meeting.path(), 1));
    let second = executor.submit(meet::call(meeting.path(), 2));
    meeting.wait_for(1);

    thread::scope(|s| {
        let waiter = s.spawn(|| second.wait());
        assert_eq!(second.cancel(), Cancel::Prevented);
        waiter.join().unwrap();
    });
    assert!(second.is_done() && second.is_cancelled() && !second.is_running());
    assert_eq!(second.cancel(), Cancel::Prevented);
    assert_eq!(claim(second), Err(TaskError::Cancelled));
    meeting.open();
    assert_eq!(claim(first), Ok(1));
    executor.shutdown();
    assert_eq!(meeting.arrived(), [1]);
}

fn what_is_cancelled_comes_out_of_wait_and_as_completed<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let first = executor.submit(meet::call(meeting.path(), 1));
    meeting.wait_for(1);
    let (second, third) = (executor.submit(square::call(1)), executor.submit(square::call(2)));
    second.cancel();
    third.cancel();

    let waited = wait([("second", second)], Until::FirstCompleted);
    let completed: Vec<_> = as_completed([third]).map(|third| third.is_cancelled()).collect();

    assert_eq!((waited.done.len(), completed), (1, vec![true]));
    assert!(!first.is_done());
    meeting.open();
    assert_eq!(claim(first), Ok(1));
}

fn is_running_is_true_only_between_start_and_outcome<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let tasks: Vec<_> = (0..3).map(|n| executor.submit(meet::call(meeting.path(), n))).collect();
    meeting.wait_for(1);

    let running: Vec<_> = tasks.iter().map(|task| task.is_running()).collect();

    assert_eq!(running, [true, false, false]);
    meeting.open();
    tasks.iter().for_each(|task| task.wait());
    assert!(tasks.iter().all(|task| task.is_done() && !task.is_running()));
}

fn waiting_for_so_long_gives_the_future_back<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let task = executor.submit(meet::call(meeting.path(), 1));

    let task = task.try_result().unwrap_err();
    let task = task.result_timeout(Duration::from_millis(5)).unwrap_err();
    assert!(!task.wait_timeout(Duration::ZERO));
    meeting.open();

    assert_eq!(claim(task), Ok(1));
}

fn dropping_a_future_lets_its_task_run_on<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());

    drop(executor.submit(meet::call(meeting.path(), 1)));

    meeting.wait_for(1);
    meeting.open();
}

fn dropping_a_cancel_on_drop_future_cancels<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let first = executor.submit(meet::call(meeting.path(), 1));
    meeting.wait_for(1);

    drop(executor.submit(meet::call(meeting.path(), 2)).cancel_on_drop());
    meeting.open();

    assert_eq!(claim(first), Ok(1));
    executor.shutdown();
    assert_eq!(meeting.arrived(), [1]);
}

fn the_losers_of_any_are_cancelled<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let first = executor.submit(meet::call(meeting.path(), 1));
    meeting.wait_for(1);
    let (winner, won) = promise();
    let any = raincheck::any([executor.submit(meet::call(meeting.path(), 2)), won]);

    winner.finish(Ok(3));

    assert_eq!(claim(any), Ok(3));
    meeting.open();
    assert_eq!(claim(first), Ok(1));
    executor.shutdown();
    assert_eq!(meeting.arrived(), [1]);
}

fn tasks_run_side_by_side<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(3), Meeting::new());
    let tasks: Vec<_> = (0..3).map(|n| executor.submit(meet::call(meeting.path(), n))).collect();

    meeting.wait_for(3);

    meeting.open();
    assert!((0..).zip(tasks).all(|(n, task)| claim(task) == Ok(n)));
}

fn no_more_run_at_a_time_than_there_are_workers<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(2), Meeting::new());
    let tasks: Vec<_> = (0..10).map(|n| executor.submit(meet::call(meeting.path(), n))).collect();

    meeting.wait_for(2);
    let running = tasks.iter().filter(|task| task.is_running()).count();

    assert_eq!((running, meeting.arrived().len()), (2, 2));
    meeting.open();
    assert!((0..).zip(tasks).all(|(n, task)| claim(task) == Ok(n)));
}

fn a_time_limit_counts_from_the_start_of_the_task<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let first = executor.submit(meet::call(meeting.path(), 1));
    meeting.wait_for(1);

    // It waits for longer than it may take, and is in time all the same.
    let limit = Duration::from_millis(200);
    let limited = executor.with(Options::new().time_limit(limit)).submit(square::call(1));
    assert!(!limited.wait_timeout(2 * limit));
    meeting.open();

    assert_eq!((claim(first), claim(limited)), (Ok(1), Ok(1)));
}

fn a_task_that_overruns_is_timed_out_and_its_place_is_taken<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let limit = Duration::from_millis(20);

    let task = executor.with(Options::new().time_limit(limit)).submit(meet::call(meeting.path(), 1));

    assert_eq!(claim(task), Err(TaskError::TimedOut { limit }));
    assert_eq!(claim(executor.submit(square::call(1))), Ok(1));
    meeting.open();
}

fn the_higher_priority_goes_first<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let file = meeting.path().join("order");
    let first = executor.submit(meet::call(meeting.path(), 1));
    meeting.wait_for(1);

    let tasks: Vec<_> = [0, -5, 3, 0, 9, 3]
        .into_iter()
        .zip(0..)
        .map(|(priority, n)| executor.with(Options::new().priority(priority)).submit(sign::call(file.clone(), n)))
        .collect();
    meeting.open();
    claim(first).unwrap();
    tasks.into_iter().for_each(|task| claim(task).unwrap());

    assert_eq!(signed(&file), [4, 2, 5, 0, 3, 1]);
}

fn what_is_cancelled_never_starts<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, notes, meeting) = (executor(1), Notes::default(), Meeting::new());
    let first = executor.submit(meet::call(meeting.path(), 1));
    meeting.wait_for(1);

    executor.with(notes.observing()).submit(square::call(1)).cancel();
    meeting.open();
    drop(claim(first));

    assert_eq!(notes.by_task(), [[Moment::Submitted, Moment::Finished(Ending::Cancelled)]]);
}

fn no_lane_has_two_tasks_at_a_time<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, notes) = (executor(3), Notes::default());
    let observed = executor.with(notes.observing());

    let futures: Vec<_> = (0..300).map(|n| observed.submit(square::call(n))).collect();
    futures.into_iter().for_each(|future| drop(claim(future)));

    let mut on_lane: HashMap<usize, TaskId> = HashMap::new();
    for event in notes.0.lock().unwrap().iter() {
        match event.moment {
            Moment::Started(lane) => {
                assert!(lane.index() < 3);
                assert_eq!(on_lane.insert(lane.index(), event.task), None);
            }
            Moment::Finished(_) => on_lane.retain(|_, task| *task != event.task),
            _ => {}
        }
    }
}

fn what_is_queued_can_be_cancelled<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(2), Meeting::new());
    let running: Vec<_> = (0..2).map(|n| executor.submit(meet::call(meeting.path(), n))).collect();
    meeting.wait_for(2);
    let queued: Vec<_> = (0..10).map(|n| executor.submit(square::call(n))).collect();

    drop(executor.shutdown_now());

    assert!(queued.into_iter().all(|task| claim(task) == Err(TaskError::Cancelled)));
    meeting.open();
    assert!((0..).zip(running).all(|(n, task)| claim(task) == Ok(n)));
}

fn what_is_queued_can_be_run_elsewhere<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let first = executor.submit(meet::call(meeting.path(), 1));
    meeting.wait_for(1);
    let rest: Vec<_> = (0..5).map(|n| executor.submit(square::call(n))).collect();

    let unstarted = executor.shutdown_now();
    assert_eq!(unstarted.len(), 5);
    unstarted.into_iter().for_each(|task| Inline::new().execute(task));

    assert_eq!(rest.into_iter().map(|task| claim(task).unwrap()).collect::<Vec<_>>(), [0, 1, 4, 9, 16]);
    meeting.open();
    assert_eq!(claim(first), Ok(1));
}

fn shutdown_can_wait_for_so_long<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let task = executor.submit(meet::call(meeting.path(), 1));

    assert!(!executor.shutdown_timeout(Duration::from_millis(20)));
    meeting.open();

    assert!(executor.shutdown_timeout(TOO_LONG));
    assert_eq!(claim(task), Ok(1));
}

fn closing_does_not_wait<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(1), Meeting::new());
    let tasks: Vec<_> = (0..3).map(|n| executor.submit(meet::call(meeting.path(), n))).collect();

    executor.close();
    meeting.open();

    assert!((0..).zip(tasks).all(|(n, task)| claim(task) == Ok(n)));
}

fn an_unwinding_caller_does_not_wait_for_the_queue<E: Executor>(executor: impl Fn(usize) -> E) {
    let meeting = Meeting::new();
    let mut queued = None;

    let caught = catch_unwind(AssertUnwindSafe(|| {
        let executor = executor(1);
        drop(executor.submit(meet::call(meeting.path(), 1)));
        meeting.wait_for(1);
        queued = Some(executor.submit(square::call(1)));
        panic!("in the middle of it");
    }));

    // Here, though the meeting is not open.
    assert!(caught.is_err());
    assert_eq!(claim(queued.unwrap()), Err(TaskError::Cancelled));
    meeting.open();
}

fn a_task_of_a_thread_pool_waits_for_a_call<E: Executor + 'static>(executor: impl Fn(usize) -> E) {
    let (executor, threads) = (executor(1), raincheck::ThreadPool::new(1));
    let inner = executor.handle();

    let sum = threads.submit(move || (0..10).map(|n| inner.submit(square::call(n)).result().unwrap()).sum::<u64>());

    assert_eq!(claim(sum), Ok(285));
}

fn workers_are_kept_busy<E: Executor>(executor: impl Fn(usize) -> E) {
    let (executor, meeting) = (executor(2), Meeting::new());
    let path = meeting.path();

    let mut outcomes = executor.map(meet::task(), (0..10).map(|n| (path.clone(), n))).group(1).start();

    meeting.wait_for(2);
    meeting.open();
    assert_eq!(outcomes.next(), Some(Ok(0)));
    assert_eq!(outcomes.count(), 9);
}

fn as_completed_gives_the_first_that_is_ready<E: Executor>(executor: impl Fn(usize) -> E) {
    #[raincheck::task]
    fn first_meets(folder: &Path, name: u32) -> u32 {
        if name == 0 { meet(folder, name) } else { name }
    }
    let (executor, meeting) = (executor(2), Meeting::new());
    let path = meeting.path();

    let mut outcomes = executor.map(first_meets::task(), (0..3).map(|n| (path.clone(), n))).group(1).as_completed();
    let first = outcomes.next().map(|((_, n), _)| n);
    meeting.open();

    assert_eq!(first, Some(1));
    assert_eq!(outcomes.count(), 2);
}

fn a_callback_may_wait_for_another_call<E: Executor + 'static>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let (inner, (told, hears)) = (executor.handle(), mpsc::channel());

    executor.submit(square::call(2)).on_done(move |_| told.send(inner.submit(square::call(3)).result()).unwrap());

    assert_eq!(hears.recv_timeout(TOO_LONG), Ok(Ok(9)));
}
