//! What an observer sees.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use raincheck::{Ending, Event, Executor, InProcess, Moment, Options, TaskId};

use crate::{
    every_concurrent_executor_keeps, every_executor_keeps,
    gate::{Gate, claim},
};

every_executor_keeps! {
    each_task_has_its_moments_in_order,
    the_ending_says_how_it_ended,
    a_label_goes_with_every_moment,
    what_is_mapped_is_observed_each_by_itself,
    a_panic_of_the_observer_hurts_nobody,
    who_does_not_observe_sees_nothing,
}

every_concurrent_executor_keeps! {
    what_is_cancelled_never_starts,
    no_lane_has_two_tasks_at_a_time,
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

fn each_task_has_its_moments_in_order<E: InProcess>(executor: impl Fn(usize) -> E) {
    let (executor, notes) = (executor(2), Notes::default());
    let observed = executor.with(notes.observing());

    let futures: Vec<_> = (0..50).map(|n| observed.submit(move || n)).collect();
    futures.into_iter().for_each(|future| drop(claim(future)));

    let tasks = notes.by_task();
    assert_eq!(tasks.len(), 50);
    for moments in tasks {
        assert!(
            matches!(moments[..], [Moment::Submitted, Moment::Started(_), Moment::Finished(Ending::Returned)]),
            "{moments:?}"
        );
    }
}

fn the_ending_says_how_it_ended<E: InProcess>(executor: impl Fn(usize) -> E) {
    let (executor, notes) = (executor(1), Notes::default());
    let observed = executor.with(notes.observing());

    drop(claim::<()>(observed.submit(|| panic!("no umbrella"))));
    drop(claim(observed.submit(|| Err::<(), _>("an error of its own is a value"))));
    executor.close();
    drop(claim(observed.submit(|| ())));

    let endings: Vec<_> = notes.by_task().into_iter().map(|moments| *moments.last().unwrap()).collect();
    assert_eq!(endings, [Ending::Panicked, Ending::Returned, Ending::Lost].map(Moment::Finished));
}

fn a_label_goes_with_every_moment<E: InProcess>(executor: impl Fn(usize) -> E) {
    let (executor, notes) = (executor(1), Notes::default());

    drop(claim(executor.with(notes.observing().label("flags/br.gif")).submit(|| ())));

    let notes = notes.0.lock().unwrap();
    assert_eq!(notes.len(), 3);
    assert!(notes.iter().all(|event| event.label.as_deref() == Some("flags/br.gif")));
    assert!(notes.is_sorted_by_key(|event| event.at));
}

fn what_is_mapped_is_observed_each_by_itself<E: InProcess>(executor: impl Fn(usize) -> E) {
    let (executor, notes) = (executor(2), Notes::default());
    let observed = executor.with(notes.observing());

    let succeeded = observed.map(|n: u32| 10 / n, 0..100).filter(|outcome| outcome.is_ok()).count();

    let tasks = notes.by_task();
    assert_eq!((succeeded, tasks.len()), (99, 100));
    assert_eq!(tasks[0].last(), Some(&Moment::Finished(Ending::Panicked)));
}

fn a_panic_of_the_observer_hurts_nobody<E: InProcess>(executor: impl Fn(usize) -> E) {
    let executor = executor(1);

    let task = executor.with(Options::new().observer(|_: &Event| panic!("the observer"))).submit(|| 1);

    assert_eq!(claim(task), Ok(1));
}

fn who_does_not_observe_sees_nothing<E: InProcess>(executor: impl Fn(usize) -> E) {
    let (executor, notes) = (executor(1), Notes::default());
    drop(executor.with(notes.observing()));

    drop(claim(executor.submit(|| ())));

    assert!(notes.0.lock().unwrap().is_empty());
}

fn what_is_cancelled_never_starts<E: InProcess>(executor: impl Fn(usize) -> E) {
    let (executor, notes) = (executor(1), Notes::default());
    let gate = Gate::default();
    let first = executor.submit({
        let gate = gate.clone();
        move || gate.pass()
    });
    gate.wait_for(1);

    executor.with(notes.observing()).submit(|| ()).cancel();
    gate.open();
    drop(claim(first));

    assert_eq!(notes.by_task(), [[Moment::Submitted, Moment::Finished(Ending::Cancelled)]]);
}

fn no_lane_has_two_tasks_at_a_time<E: InProcess>(executor: impl Fn(usize) -> E) {
    let (executor, notes) = (executor(3), Notes::default());
    let observed = executor.with(notes.observing());

    let futures: Vec<_> = (0..300).map(|_| observed.submit(std::thread::yield_now)).collect();
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
