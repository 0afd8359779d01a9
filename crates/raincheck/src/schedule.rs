//! Tasks that are submitted later, again and again, or anew.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    cell::Cancel,
    error::{Outcome, TaskError},
    executor::Executor,
    future::{Canceller, TaskFuture},
    promise::{Promise, promise},
    sync::{Mutex, lock},
    task::{self, Body, ClosureBody},
    timer::{self, Alarm},
};

/// Whether and when a task that failed is submitted anew.
///
/// # Examples
///
/// Five attempts in all, half a second after the first, then a second, two, and no more than three:
///
/// ```
/// use raincheck::Retry;
/// use std::time::Duration;
///
/// let retry = Retry::times(4).backoff(Duration::from_millis(500)).at_most(Duration::from_secs(3));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    times: u32,
    backoff: Duration,
    at_most: Duration,
}

impl Retry {
    /// So many further attempts after the first, one right after the other.
    pub fn times(times: u32) -> Self {
        Self { times, backoff: Duration::ZERO, at_most: Duration::MAX }
    }

    /// Waits this long before the second attempt, and twice as long before each one after that.
    #[must_use]
    pub fn backoff(mut self, first: Duration) -> Self {
        self.backoff = first;
        self
    }

    /// Waits no longer than this.
    #[must_use]
    pub fn at_most(mut self, longest: Duration) -> Self {
        self.at_most = longest;
        self
    }

    /// How long to wait after this attempt, counted from 0; `None` if it was the last.
    fn wait_after(&self, attempt: u32) -> Option<Duration> {
        (attempt < self.times).then(|| {
            let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
            self.backoff.saturating_mul(factor).min(self.at_most)
        })
    }
}

/// How the runs of a repeated task follow one another.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// From start to start.
    Rate(Duration),
    /// From end to start.
    Delay(Duration),
}

/// What cancelling reaches of something that is submitted later: an alarm, and then the task itself.
#[derive(Default)]
struct Reach(Mutex<Progress>);

#[derive(Default)]
struct Progress {
    at: At,
    /// How many steps it has taken.
    steps: u64,
}

#[derive(Default)]
enum At {
    /// On the way from one to the other.
    #[default]
    Between,
    Waiting {
        _alarm: Alarm,
    },
    Submitted(Canceller),
}

impl Reach {
    /// Calls `next` after `delay`, unless it is cancelled before.
    fn wait(self: &Arc<Self>, delay: Duration, next: impl FnOnce() + Send + 'static) {
        let steps = self.step(At::Between);
        let alarm = timer::after(delay, next);
        let mut progress = lock(&self.0);
        // It may have rung meanwhile, and be further on, perhaps between two others: then that place is not this alarm's.
        if progress.steps == steps {
            progress.at = At::Waiting { _alarm: alarm };
        }
    }

    /// Goes on. How many steps that makes comes back.
    fn step(&self, next: At) -> u64 {
        let mut progress = lock(&self.0);
        progress.steps += 1;
        let steps = progress.steps;
        let before = mem::replace(&mut progress.at, next);
        drop(progress);
        drop(before);
        steps
    }

    fn cancel(&self) -> Cancel {
        let at = mem::take(&mut lock(&self.0).at);
        match at {
            At::Submitted(cancel) => cancel(),
            At::Between | At::Waiting { .. } => Cancel::Requested,
        }
    }
}

/// Makes the promise of what is submitted later, its future, and what cancelling that must reach.
fn promise_of_later<T: Send + 'static>() -> (Promise<T>, TaskFuture<T>, Arc<Reach>) {
    let (promise, future) = promise();
    let reach = Arc::new(Reach::default());
    promise.on_cancel({
        let reach = Arc::clone(&reach);
        move || reach.cancel()
    });
    (promise, future, reach)
}

/// Submits `body` for `promise`, and calls `next` with the outcome.
fn submit<B: Body, T: Send + 'static>(
    executor: &dyn Executor,
    body: B,
    promise: Promise<T>,
    reach: &Reach,
    next: impl FnOnce(Promise<T>, Outcome<B::Output>) + Send + 'static,
) {
    if promise.is_cancelled() {
        return;
    }
    let task = task::submit(executor, body);
    reach.step(At::Submitted(task.canceller()));
    // Whoever cancelled a moment ago has found nothing to reach.
    if promise.is_cancelled() {
        task.cancel();
    }
    task.consume(move |outcome| next(promise, outcome));
}

pub(crate) fn after<B: Body>(executor: Arc<dyn Executor>, delay: Duration, body: B) -> TaskFuture<B::Output> {
    let (promise, future, reach) = promise_of_later();
    let within = Arc::clone(&reach);
    reach.wait(delay, move || {
        submit(&*executor, body, promise, &within, |promise, outcome| {
            promise.finish(outcome);
        });
    });
    future
}

/// A task that is submitted again and again.
struct Series<F> {
    executor: Arc<dyn Executor>,
    pace: Pace,
    work: Mutex<F>,
    reach: Arc<Reach>,
}

pub(crate) fn repeat<F>(executor: Arc<dyn Executor>, pace: Pace, work: F) -> TaskFuture<()>
where
    F: FnMut() + Send + 'static,
{
    let (promise, future, reach) = promise_of_later();
    Arc::new(Series { executor, pace, work: Mutex::new(work), reach }).run(promise, Instant::now());
    future
}

impl<F: FnMut() + Send + 'static> Series<F> {
    /// Submits the run that is due at this time, and afterwards the next.
    fn run(self: Arc<Self>, promise: Promise<()>, due: Instant) {
        let series = Arc::clone(&self);
        // The runs follow one another, so this lock is always free; a run that panics is the last.
        let body = ClosureBody::new(move || (series.work.lock().expect("no run follows one that panicked"))());
        let (executor, reach) = (Arc::clone(&self.executor), Arc::clone(&self.reach));
        submit(&*executor, body, promise, &reach, move |promise, outcome| match outcome {
            Err(error) => {
                promise.finish(Err(error));
            }
            Ok(()) => {
                let now = Instant::now();
                let next = match self.pace {
                    Pace::Rate(period) => due.checked_add(period),
                    Pace::Delay(delay) => now.checked_add(delay),
                };
                // A run that lies beyond the clock's range never comes.
                let Some(next) = next else { return };
                let reach = Arc::clone(&self.reach);
                reach.wait(next.saturating_duration_since(now), move || self.run(promise, next));
            }
        });
    }
}

/// A task that is submitted anew when it fails.
struct Attempts<W, B> {
    executor: Arc<dyn Executor>,
    retry: Retry,
    work: W,
    body: fn(&W) -> B,
    reach: Arc<Reach>,
}

pub(crate) fn retrying<W, B, T, E>(
    executor: Arc<dyn Executor>,
    retry: Retry,
    work: W,
    body: fn(&W) -> B,
) -> TaskFuture<Result<T, E>>
where
    W: Send + 'static,
    B: Body<Output = Result<T, E>>,
    T: Send + 'static,
    E: Send + 'static,
{
    let (promise, future, reach) = promise_of_later();
    Box::new(Attempts { executor, retry, work, body, reach }).attempt(promise, 0);
    future
}

impl<W, B, T, E> Attempts<W, B>
where
    W: Send + 'static,
    B: Body<Output = Result<T, E>>,
    T: Send + 'static,
    E: Send + 'static,
{
    fn attempt(self: Box<Self>, promise: Promise<Result<T, E>>, number: u32) {
        let body = (self.body)(&self.work);
        let (executor, reach) = (Arc::clone(&self.executor), Arc::clone(&self.reach));
        submit(&*executor, body, promise, &reach, move |promise, outcome| {
            let may_go_better = match &outcome {
                Ok(result) => result.is_err(),
                Err(error) => match error {
                    TaskError::Cancelled | TaskError::ShutDown | TaskError::NotCarried(_) => false,
                    TaskError::Panicked(_)
                    | TaskError::TimedOut { .. }
                    | TaskError::WorkerLost(_)
                    | TaskError::Refused
                    | TaskError::AllFailed(_) => true,
                },
            };
            match self.retry.wait_after(number) {
                Some(wait) if may_go_better => {
                    let reach = Arc::clone(&self.reach);
                    reach.wait(wait, move || self.attempt(promise, number + 1));
                }
                _ => {
                    promise.finish(outcome);
                }
            }
        });
    }
}
