//! `map`: rows E3 to E20, and promise 7.

use std::{
    collections::HashSet,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use raincheck::{Executor, InProcess, Task, TaskError, ThreadPool};

use crate::{
    every_concurrent_executor_keeps, every_executor_keeps,
    gate::{Counted, Gate, TOO_LONG},
};

every_executor_keeps! {
    /// E3
    outcomes_come_in_the_order_of_the_inputs,
    /// E4, P7
    an_error_is_in_its_place_and_the_rest_goes_on,
    /// E4
    a_panic_in_a_group_costs_its_own_input_and_no_other,
    /// E5
    a_time_out_of_the_function_is_a_value,
    /// E7
    what_has_ended_stays_ended,
    /// E10, E11
    inputs_can_be_zipped,
    /// E12, P7
    an_endless_input_is_fine,
    /// E14, E15
    no_input_gives_no_outcome,
    /// E16, P7
    exactly_as_many_inputs_are_pulled_as_the_buffer_holds,
    all_values_come_at_once_or_the_first_error,
    values_come_in_order_however_many_were_foretold,
    /// P7
    values_end_at_the_first_error_of_an_endless_input,
    a_map_that_has_begun_can_still_be_given_a_smaller_buffer,
    a_group_may_be_larger_than_all_there_is,
    /// P8
    values_are_dropped_once_also_if_one_is_missing,
    /// T1
    it_begins_with_start,
    /// E20, P8
    it_keeps_nothing_that_was_taken,
    /// P7
    dropping_it_drops_what_is_left,
    as_completed_gives_each_input_with_its_outcome,
    tiny_inputs_are_grouped,
    what_comes_slowly_is_not_held_up,
    async_functions_are_mapped,
    its_size_is_known,
}

every_concurrent_executor_keeps! {
    /// E6, T7
    a_time_limit_ends_it_and_cancels_the_rest,
    as_completed_gives_the_first_that_is_ready,
    /// P7
    workers_are_kept_busy,
    /// P7
    long_inputs_behind_tiny_ones_are_shared_out,
    /// P7
    long_inputs_between_tiny_ones_are_shared_out,
}

fn outcomes_come_in_the_order_of_the_inputs<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let expected: Vec<u64> = (0..10_000).map(|n| n * n).collect();

    let free: Result<Vec<u64>, _> = executor.map(|n: u64| n * n, 0..10_000).collect();
    let grouped: Result<Vec<u64>, _> = executor.map(|n: u64| n * n, 0..10_000).group(3).collect();
    let bounded: Result<Vec<u64>, _> = executor.map(|n: u64| n * n, 0..10_000).buffer(5).collect();

    assert_eq!((free.as_ref(), grouped.as_ref(), bounded.as_ref()), (Ok(&expected), Ok(&expected), Ok(&expected)));
}

fn all_values_come_at_once_or_the_first_error<E: InProcess>(make: fn(usize) -> E) {
    let executor = make(2);
    let odd = |n: u32| if n % 2 == 1 { n } else { panic!("{n} is even") };

    let values = executor.map(|n: u32| n + 1, 0..10_000).values();
    let first_error = executor.map(odd, (1..10_000).step_by(2).chain(4..10)).values().unwrap_err();

    assert_eq!(values, Ok((1..=10_000).collect()));
    assert!(matches!(first_error, TaskError::Panicked(panic) if panic.message() == "4 is even"));
}

fn values_come_in_order_however_many_were_foretold<E: InProcess>(make: fn(usize) -> E) {
    let executor = make(2);
    let expected: Vec<usize> = (0..10_000).collect();
    let same = |n: usize| n;

    let none_foretold = executor.map(same, (0..10_000).filter(|_| true)).values();
    let half_foretold = executor.map(same, (0..5_000).chain((5_000..10_000).filter(|_| true))).values();
    let too_many_foretold = executor.map(same, Liar(0..10_000)).values();
    let mut begun = executor.map(same, 0..10_000).start();
    assert_eq!(begun.next(), Some(Ok(0)));
    let rest = begun.values();
    let bounded = executor.map(same, 0..10_000).buffer(7).values();
    let by_async = executor.map_async(|n: usize| async move { n }, 0..10_000).values();

    for values in [none_foretold, half_foretold, too_many_foretold, bounded, by_async] {
        assert_eq!(values.as_ref(), Ok(&expected));
    }
    assert_eq!(rest.as_deref(), Ok(&expected[1..]));
}

fn values_end_at_the_first_error_of_an_endless_input<E: InProcess>(make: fn(usize) -> E) {
    let executor = make(2);

    let error = executor.map(|n: u64| if n < 10 { n } else { panic!("enough") }, 0..).values().unwrap_err();

    assert!(matches!(error, TaskError::Panicked(panic) if panic.message() == "enough"));
}

fn a_map_that_has_begun_can_still_be_given_a_smaller_buffer<E: InProcess>(make: fn(usize) -> E) {
    let executor = make(2);

    let values: Result<Vec<u8>, _> = executor.map(|n: u8| n, 0..100).start().buffer(1).collect();

    assert_eq!(values, Ok((0..100).collect()));
}

fn a_group_may_be_larger_than_all_there_is<E: InProcess>(make: fn(usize) -> E) {
    let executor = make(2);

    let values: Result<Vec<u8>, _> = executor.map(|n: u8| n, 0..100).group(usize::MAX).collect();

    assert_eq!(values, Ok((0..100).collect()));
}

/// Has fewer than it says.
struct Liar(std::ops::Range<usize>);

impl Iterator for Liar {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len() + 5_000, None)
    }
}

fn values_are_dropped_once_also_if_one_is_missing<E: InProcess>(make: fn(usize) -> E) {
    let (value, alive) = Counted::new();
    let unless = |missing: usize| {
        let value = value.clone();
        move |n: usize| if n == missing { panic!("{n} is missing") } else { value.clone() }
    };

    let executor = make(2);
    let all = executor.map(unless(usize::MAX), 0..10_000).values().unwrap();
    assert_eq!(alive(), 1 + 10_000);
    drop(all);
    assert!(executor.map(unless(7_000), 0..10_000).values().is_err());
    assert!(executor.map(unless(7_000), 0..10_000).group(100).values().is_err());

    // What was under way is let go by its worker.
    executor.shutdown();
    drop(executor);
    assert_eq!(alive(), 1);
}

fn an_error_is_in_its_place_and_the_rest_goes_on<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    for group in [1, 4] {
        let mut outcomes = executor.map(|n: i32| 10 / (n - 3), 0..8).group(group);
        let values: Vec<Option<i32>> = outcomes.by_ref().map(Result::ok).collect();

        assert_eq!(values, [Some(-3), Some(-5), Some(-10), None, Some(10), Some(5), Some(3), Some(2)]);
        assert!(outcomes.next().is_none());
    }
}

fn a_panic_in_a_group_costs_its_own_input_and_no_other<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let odd_panics = |n: u32| if n % 2 == 1 { panic!("{n} is odd") } else { n };

    let outcomes: Vec<_> = executor.map(odd_panics, 0..100).group(100).collect();

    for (n, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(value) => assert_eq!((value, n % 2), (n, 0)),
            Err(TaskError::Panicked(panic)) => assert_eq!(panic.message(), format!("{n} is odd")),
            Err(error) => panic!("{error}"),
        }
    }
}

fn a_time_out_of_the_function_is_a_value<E: InProcess>(executor: impl Fn(usize) -> E) {
    let timed_out = || Err::<u8, _>(TaskError::TimedOut { limit: Duration::ZERO });

    let outcomes: Vec<_> = executor(1).map(move |()| timed_out(), [(), ()]).timeout(TOO_LONG).collect();

    assert_eq!(outcomes, [Ok(timed_out()), Ok(timed_out())]);
}

fn what_has_ended_stays_ended<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let mut outcomes = executor.map(|n: u8| n, [1]);

    assert_eq!(outcomes.next(), Some(Ok(1)));
    assert_eq!((outcomes.next(), outcomes.next()), (None, None));
}

fn inputs_can_be_zipped<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    for buffer in [1, 2, 5, 10] {
        let sums = executor.map(|(a, b): (u32, u32)| a + b, (0..5).zip(10..)).buffer(buffer);

        assert_eq!(sums.collect::<Result<Vec<_>, _>>(), Ok(vec![10, 12, 14, 16, 18]));
    }
}

fn an_endless_input_is_fine<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    let bounded: Vec<_> = executor.map(|n: u64| n, 0..).buffer(2).take(3).collect();
    let free: Vec<_> = executor.map(|n: u64| n, 0..).take(10_000).collect();

    assert_eq!(bounded, [Ok(0), Ok(1), Ok(2)]);
    assert_eq!(free.len(), 10_000);
}

fn no_input_gives_no_outcome<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);

    assert!(executor.map(|n: u8| n, []).next().is_none());
    assert!(executor.map(|n: u8| n, []).as_completed().next().is_none());
}

/// Counts what is pulled out of an iterator.
fn counting(pulled: &Arc<AtomicUsize>) -> impl Iterator<Item = usize> + use<> {
    let pulled = Arc::clone(pulled);
    (0..).inspect(move |_| {
        pulled.fetch_add(1, Ordering::SeqCst);
    })
}

fn exactly_as_many_inputs_are_pulled_as_the_buffer_holds<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let pulled = Arc::new(AtomicUsize::new(0));

    let mut outcomes = executor.map(|n| n, counting(&pulled)).buffer(5);
    assert_eq!(pulled.load(Ordering::SeqCst), 0);
    for taken in 0..20 {
        assert_eq!(outcomes.next(), Some(Ok(taken)));
        assert_eq!(pulled.load(Ordering::SeqCst), taken + 5);
    }
}

fn it_begins_with_start<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let pulled = Arc::new(AtomicUsize::new(0));

    let _outcomes = executor.map(|n| n, counting(&pulled)).buffer(5).start();

    assert_eq!(pulled.load(Ordering::SeqCst), 5);
}

fn it_keeps_nothing_that_was_taken<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (counted, alive) = Counted::new();

    let mut outcomes = executor.map(|counted: Counted| counted, std::iter::repeat_n(counted, 3)).group(1);

    for left in (0..3).rev() {
        drop(outcomes.next());
        assert_eq!(alive(), left);
    }
}

fn dropping_it_drops_what_is_left<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let (counted, alive) = Counted::new();

    let mut outcomes = executor.map(|counted: Counted| counted, std::iter::repeat_n(counted, 100)).group(10);
    drop(outcomes.next());
    drop(outcomes);
    executor.shutdown();

    assert_eq!(alive(), 0);
}

fn as_completed_gives_each_input_with_its_outcome<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);

    let mut outcomes: Vec<(u32, u32)> =
        executor.map(|n: u32| n * n, 0..1000).as_completed().map(|(n, square)| (n, square.unwrap())).collect();

    outcomes.sort_unstable();
    assert_eq!(outcomes, (0..1000).map(|n| (n, n * n)).collect::<Vec<_>>());
}

fn tiny_inputs_are_grouped<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let pulled = Arc::new(AtomicUsize::new(0));

    let mut outcomes = executor.map(|n| n, counting(&pulled));
    let _ = outcomes.nth(50_000);

    // So many inputs ahead would never be pulled one by one: there are places for a few groups only.
    assert!(pulled.load(Ordering::SeqCst) > 50_100, "{} pulled", pulled.load(Ordering::SeqCst));
}

fn what_comes_slowly_is_not_held_up<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    // The function takes no time, so that it would be given many inputs together; but the input stops to think.
    let slow = (0..300_u64).inspect(|n| {
        if *n > 200 {
            let start = std::time::Instant::now();
            while start.elapsed() < Duration::from_micros(200) {}
        }
    });

    assert_eq!(executor.map(|n| n, slow).collect::<Result<Vec<_>, _>>().unwrap().len(), 300);
}

fn async_functions_are_mapped<E: InProcess>(executor: impl Fn(usize) -> E) {
    let outcomes: Vec<_> = executor(2)
        .map_async(|n: u8| async move { if n == 2 { panic!("two") } else { n } }, 0..4)
        .map(Result::ok)
        .collect();

    assert_eq!(outcomes, [Some(0), Some(1), None, Some(3)]);
}

fn its_size_is_known<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let mut outcomes = executor.map(|n: u8| n, 0..10).group(3);

    assert_eq!(outcomes.size_hint(), (10, Some(10)));
    outcomes.next();
    assert_eq!(outcomes.size_hint(), (9, Some(9)));
}

fn a_time_limit_ends_it_and_cancels_the_rest<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);
    let gate = Gate::default();
    let (counted, alive) = Counted::new();
    let function = {
        let gate = gate.clone();
        move |(n, _counted): (u8, Counted)| {
            if n == 2 {
                gate.pass()
            }
        }
    };

    let outcomes: Vec<_> = executor
        .map(function, (0..10).zip(std::iter::repeat(counted)))
        .group(1)
        .buffer(8)
        .timeout(Duration::from_millis(50))
        .collect();

    assert_eq!(outcomes[..2], [Ok(()), Ok(())]);
    assert_eq!(outcomes[2..], [Err(TaskError::TimedOut { limit: Duration::from_millis(50) })]);
    assert_eq!(alive(), 1, "only the one that runs is left");
    gate.open();
}

fn as_completed_gives_the_first_that_is_ready<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let gate = Gate::default();
    let function = {
        let gate = gate.clone();
        move |n: u8| {
            if n == 0 {
                gate.pass()
            }
        }
    };

    let mut outcomes = executor.map(function, 0..3).group(1).as_completed();
    let first = outcomes.next().map(|(n, _)| n);
    gate.open();

    assert_eq!(first, Some(1));
    assert_eq!(outcomes.count(), 2);
}

fn workers_are_kept_busy<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(2);
    let gate = Gate::default();
    let function = {
        let gate = gate.clone();
        move |n: u8| {
            if n > 0 {
                gate.pass()
            }
        }
    };

    let mut outcomes = executor.map(function, 0..10).group(1);
    outcomes.next();

    // Two more have begun, though nobody has asked for them yet.
    gate.wait_for(2);
    gate.open();
    assert_eq!(outcomes.count(), 9);
}

/// Which workers have done something long, and how often that was. Each time lasts until two of them do, but not for
/// ever: at first for a moment, and then longer and longer, since the other worker may have to wait for the processor.
#[derive(Default)]
struct Long(Mutex<(HashSet<ThreadId>, u32)>, Condvar);

impl Long {
    fn last(&self) {
        let mut begun = self.0.lock().unwrap();
        begun.0.insert(thread::current().id());
        begun.1 += 1;
        self.1.notify_all();
        let limit = Duration::from_millis(50) * begun.1.pow(2);
        let _begun = self.1.wait_timeout_while(begun, limit, |(workers, _)| workers.len() < 2).unwrap();
    }
}

/// A map over numbers that gives each as it is.
type Numbers<'a> = raincheck::Map<'a, std::ops::Range<u32>, u32>;

fn one_by_one(map: Numbers<'_>) -> Vec<u32> {
    map.collect::<Result<_, _>>().unwrap()
}

fn at_once(map: Numbers<'_>) -> Vec<u32> {
    map.values().unwrap()
}

fn as_completed(map: Numbers<'_>) -> Vec<u32> {
    let mut outcomes: Vec<_> = map.as_completed().map(|(n, value)| (n, value.unwrap())).collect();
    outcomes.sort_unstable();
    outcomes.into_iter().map(|(n, value)| if n == value { n } else { panic!("{value} came of {n}") }).collect()
}

fn long_inputs_behind_tiny_ones_are_shared_out<E: InProcess>(make: fn(usize) -> E) {
    for values in [one_by_one, at_once, as_completed] {
        long_inputs_are_shared_out(&make(2), 0, values);
    }
}

fn long_inputs_between_tiny_ones_are_shared_out<E: InProcess>(make: fn(usize) -> E) {
    // As they are completed, those behind come first, and nobody waits for these.
    for values in [one_by_one, at_once] {
        long_inputs_are_shared_out(&make(2), 200_000, values);
    }
}

/// Maps some inputs that take long behind tiny ones, and before so many.
fn long_inputs_are_shared_out(executor: &impl InProcess, behind: u32, values: fn(Numbers<'_>) -> Vec<u32>) {
    const TINY: u32 = 50_000;
    const LONG: std::ops::Range<u32> = TINY..TINY + 10;
    let all = LONG.end + behind;
    let long = Arc::new(Long::default());
    let function = {
        let long = Arc::clone(&long);
        move |n| {
            if LONG.contains(&n) {
                long.last()
            }
            n
        }
    };

    assert_eq!(values(executor.map(function, 0..all)), (0..all).collect::<Vec<_>>());
    assert!(long.0.lock().unwrap().0.len() > 1, "one worker did all that is long");
}

/// Runs any number of tasks at a time, if its word is taken for it.
struct Boundless(ThreadPool);

impl Executor for Boundless {
    fn execute(&self, task: Task) {
        self.0.execute(task);
    }

    fn workers(&self) -> usize {
        usize::MAX
    }

    fn close(&self) {
        self.0.close();
    }

    fn drain(&self) -> Vec<Task> {
        self.0.drain()
    }

    fn join(&self, deadline: Option<Instant>) -> bool {
        self.0.join(deadline)
    }

    fn core(&self) -> Arc<dyn Executor> {
        self.0.core()
    }
}

impl InProcess for Boundless {}

#[test]
fn an_executor_may_say_that_it_runs_any_number_of_tasks() {
    let executor = Boundless(ThreadPool::new(2));
    let sum = AtomicUsize::new(0);

    let values = executor.map(|n: u8| n, 0..100).values();
    executor.for_each(0..10, |n| {
        sum.fetch_add(n, Ordering::SeqCst);
    });

    assert_eq!((values, sum.into_inner()), (Ok((0..100).collect()), 45));
}
