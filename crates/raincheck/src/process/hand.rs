//! What the pool knows of one worker, and of the tasks that are with it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{link::Link, page::PLACES, rest::Part};
use crate::{carry::Written, cell::Remote, counted::Counted, error::TaskError, event::Lane, task::Task, timer::Alarm};

/// One worker, and what it has to do.
pub(super) struct Hand {
    pub(super) link: Arc<Link>,
    pub(super) phase: Phase,
    /// The tasks that are with it and not answered, in the order in which it will.
    pub(super) flights: VecDeque<Flight>,
    pub(super) next_task: u64,
    /// How many tasks it has been given in all.
    pub(super) taken: usize,
    /// It gets no more, and goes when it has done what it has.
    pub(super) is_spent: bool,
    /// Which functions it has been told of.
    pub(super) defined: Vec<bool>,
    /// How many tasks may be with it, which goes by how long they take.
    pub(super) window: usize,
    /// Since when, and how many it has answered since, to know how long they take.
    pub(super) since: Instant,
    pub(super) answered: usize,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its process is started, and it has not said that it is ready.
    Starting,
    /// It does tasks.
    Ready,
    /// It gets no further ones: it has been told to go, or killed.
    Leaving,
}

/// A task on its way to a worker, or with it.
pub(super) struct Flight {
    pub(super) number: u64,
    /// `None` once it was taken back.
    pub(super) task: Option<Sent>,
    /// What has come of a group that is not done.
    pub(super) part: Part,
}

/// What is known of a task that was sent.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) task: Counted<dyn Remote>,
    pub(super) written: Arc<Written>,
    /// What was said of it, if anyone observes it.
    pub(super) moments: Option<Arc<Mutex<Moments>>>,
}

/// What was said of a task to those who observe it, so that each thing is said once and in order.
#[derive(Default)]
pub(super) struct Moments {
    pub(super) begun: bool,
    pub(super) over: bool,
    pub(super) time_limit: Option<Alarm>,
}

/// For how long a worker should have tasks waiting: longer than it takes to bring it more.
const WINDOW_TIME: Duration = Duration::from_micros(400);

/// No more tasks are with a worker at a time.
const LARGEST_WINDOW: usize = 128;
const _: () = assert!(LARGEST_WINDOW < PLACES);

impl Hand {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            phase: Phase::Starting,
            flights: VecDeque::new(),
            next_task: 1,
            taken: 0,
            is_spent: false,
            defined: Vec::new(),
            window: 2,
            since: Instant::now(),
            answered: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.phase != Phase::Leaving
    }

    /// Learns how many tasks may be with it.
    pub(super) fn learn(&mut self) {
        if self.answered < self.window / 2 {
            return;
        }
        let now = Instant::now();
        let each = (now - self.since).as_nanos() / self.answered.max(1) as u128;
        let ideal = usize::try_from(WINDOW_TIME.as_nanos() / each.max(1)).unwrap_or(LARGEST_WINDOW);
        self.window = ideal.clamp(2, (self.window * 2).min(LARGEST_WINDOW));
        self.since = now;
        self.answered = 0;
    }
}

/// Hands in a task's outcome. If it is observed, it has started first, and nothing is said of it afterwards.
pub(super) fn end(sent: &Sent, lane: Lane, answer: Result<&[u8], TaskError>) {
    let Some(moments) = &sent.moments else { return sent.task.conclude(answer) };
    let mut moments = lock(moments);
    if moments.over {
        return;
    }
    moments.over = true;
    let alarm = moments.time_limit.take();
    if !moments.begun {
        moments.begun = true;
        sent.task.begin(lane);
    }
    sent.task.conclude(answer);
    drop(moments);
    drop(alarm);
}

/// Takes back from a worker what it has not started, in the order in which it would have.
pub(super) fn take_back(hand: &mut Hand) -> Vec<Task> {
    let waiting = hand.flights.iter_mut().filter_map(|flight| flight.task.take_if(|sent| sent.written.disembark()));
    waiting.map(|sent| Task::of(sent.task)).collect()
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
