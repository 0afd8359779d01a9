//! What the two ends of a future share: the work, then its outcome.
//!
//! A task is pending, then running, then done; cancelling takes it from pending straight to done. One lock guards
//! the stage and the list of those who watch it, so there is no memory ordering to reason about. Beside it stands one
//! atomic byte that says "done" and "asked to stop" to those who must look without locking.
//!
//! The work and its outcome live in the same place, one after the other, in the one piece of memory that a task costs.

use std::{any::Any, mem, pin::Pin, sync::Arc, task::Waker, time::Duration};

#[cfg(all(feature = "process", unix))]
use crate::carry::{Away, Written};
use crate::{
    context::{self, Home, Host},
    counted::{Counted, lend, widen},
    drive::Driven,
    error::{Outcome, TaskError},
    event::{Ending, Lane},
    panics::{self, discard},
    scope::Open,
    sync::{AtomicU8, Brief, Ordering, Thread},
    task::Body,
    timer::TimeLimit,
    trampoline,
    wait::Signal,
};

/// What both ends of a future hold.
pub(crate) struct Cell<B, T, X = ()> {
    flags: Flags,
    /// The executor whose workers may run the task while they wait for it.
    home: Home,
    inner: Brief<Inner<B, T>>,
    /// What is agreed beyond the default: who observes, how long it may take.
    terms: X,
}

struct Inner<B, T> {
    stage: Stage<B, T>,
    watchers: Watchers<T>,
}

/// Where a task is in its life.
enum Stage<B, T> {
    /// Submitted, and no worker has taken it. `start` takes it to running, `cancel` and `settle` to settling or done.
    Pending(B),
    /// A worker has taken it. Only `settle` leaves this stage, towards settling or done.
    Running,
    /// It has its outcome, and one thread is showing it to the callbacks. That thread alone leaves this stage. If it was
    /// done before, and a callback came late, this says why there is no value.
    Settling(Option<Box<TaskError>>),
    /// It has its outcome, which the caller has yet to claim. Left for settling by a callback that comes late.
    Done(Outcome<T>),
    /// The caller has the outcome. Never left.
    Claimed,
}

/// Those who want to know, in the order in which they asked. Empty for most tasks, and then of no cost.
#[expect(clippy::box_collection, reason = "one word in every task, instead of three")]
struct Watchers<T>(Option<Box<Vec<Watcher<T>>>>);

/// One who wants to know when a task is done.
pub(crate) enum Watcher<T> {
    /// A thread that is parked.
    Thread(Thread),
    /// An async task that awaits it, through the caller's end with this number.
    Waker(usize, Waker),
    /// A set of futures that is waited for together, and this one's place in it.
    Signal(Arc<Signal>, usize),
    /// A look at the outcome.
    Callback(Callback<T>),
    /// Whoever takes the outcome, in the caller's stead. There is one at most.
    Consumer(Consumer<T>),
    /// How to reach the work when it is cancelled. Not told of anything else.
    OnCancel(OnCancel),
}

/// Looks at an outcome.
type Callback<T> = Box<dyn FnOnce(&Outcome<T>) + Send>;

/// Takes an outcome.
type Consumer<T> = Box<dyn FnOnce(Outcome<T>) + Send>;

/// Reaches the work of a cancelled task, and says how.
pub(crate) type OnCancel = Box<dyn FnOnce() -> Cancel + Send>;

/// What a call of `cancel` has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cancel {
    /// The task had not started, and never will. It is done, as [`TaskError::Cancelled`].
    Prevented,
    /// The task is running. It is told, and sees it when it asks [`cancelled`](crate::cancelled()); until it returns
    /// it is not done.
    Requested,
    /// The task was running, and is stopped from outside: an async task at its next await, a process by a kill.
    Stopped,
    /// The task was done already.
    TooLate,
}

/// The two things that are seen of a task without locking.
pub(crate) struct Flags(AtomicU8);

const DONE: u8 = 1;
const STOP: u8 = 2;
const CANCEL_ON_DROP: u8 = 4;
const AWAITED: u8 = 8;

impl Flags {
    #[cfg(all(feature = "process", unix))]
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    pub(crate) fn is_done(&self) -> bool {
        self.0.load(Ordering::Acquire) & DONE != 0
    }

    /// Whether the task should stop: it was asked to, or its outcome is there already and its value is not wanted.
    pub(crate) fn should_stop(&self) -> bool {
        self.0.load(Ordering::Acquire) & (STOP | DONE) != 0
    }

    /// Whether it was asked to stop, as long as it is not done.
    fn is_asked_to_stop(&self) -> bool {
        self.0.load(Ordering::Acquire) & STOP != 0
    }

    /// The task's lock is held, as it is by whoever sets what this keeps.
    fn set_done(&self) {
        // What else this overwrites is not asked for once the task is done.
        self.0.store(self.0.load(Ordering::Relaxed) & CANCEL_ON_DROP | DONE, Ordering::Release);
    }

    pub(crate) fn ask_to_stop(&self) {
        self.0.fetch_or(STOP, Ordering::Release);
    }

    /// The task's lock is held.
    fn set_cancel_on_drop(&self) {
        self.0.fetch_or(CANCEL_ON_DROP, Ordering::Relaxed);
    }

    /// Notes that a waker was left by the caller's end.
    pub(crate) fn set_awaited(&self) {
        if self.0.load(Ordering::Relaxed) & AWAITED == 0 {
            self.0.fetch_or(AWAITED, Ordering::Relaxed);
        }
    }

    /// Whether a waker was left, as long as the task is not done.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.load(Ordering::Relaxed) & AWAITED != 0
    }

    /// Whether dropping the caller's end cancels the task; from now on it no longer does.
    pub(crate) fn take_cancel_on_drop(&self) -> bool {
        self.0.load(Ordering::Relaxed) & CANCEL_ON_DROP != 0
            && self.0.fetch_and(!CANCEL_ON_DROP, Ordering::Relaxed) & CANCEL_ON_DROP != 0
    }
}

/// What is agreed about one task beyond the default. `()` agrees nothing, and costs nothing.
pub(crate) trait Terms: Send + Sync + 'static {
    /// Whether anyone wants to hear of `started` and `finished`.
    const OBSERVED: bool;

    fn started(&self, lane: Lane);
    fn finished(&self, ending: Ending);
    fn progressed(&self, done: u64);
    fn time_limit(&self) -> Option<Duration>;
    fn priority(&self) -> i32;

    /// What stands open inside it, if that is kept.
    fn open(&self) -> Option<&Open> {
        None
    }
}

impl Terms for () {
    const OBSERVED: bool = false;

    fn started(&self, _lane: Lane) {}

    fn finished(&self, _ending: Ending) {}

    fn progressed(&self, _done: u64) {}

    fn time_limit(&self) -> Option<Duration> {
        None
    }

    fn priority(&self) -> i32 {
        0
    }
}

/// A task as its caller sees it.
pub(crate) trait Claim<T>: Inside {
    fn home(&self) -> Home;
    /// Whether a worker has taken it and it has no outcome yet.
    fn is_running(&self) -> bool;
    /// Why there is no value; `None` also while there is no outcome.
    fn error(&self) -> Option<TaskError>;
    /// Takes the outcome away. `None` if there is none yet, or no longer.
    fn claim(&self) -> Option<Outcome<T>>;
    /// The same without locking, for whom nobody else has to do with the task.
    fn take_outcome(&mut self) -> Option<Outcome<T>>;
    /// Adds one who wants to know. Given back if the task is done already, so that the caller can act at once.
    fn watch(&self, watcher: Watcher<T>) -> Result<(), Watcher<T>>;
    /// Forgets those who no longer want to know.
    fn unwatch(&self, is_one: &dyn Fn(&Watcher<T>) -> bool);
    fn cancel(&self) -> Cancel;
    /// Makes dropping the caller's end cancel the task.
    fn set_cancel_on_drop(&self);
    /// Runs the task on this thread if nobody has taken it yet. Says whether it did. `this` is the task itself.
    fn help(&self, this: &Counted<dyn Inside>) -> bool;
    /// How this thread can itself receive what another process sends about the task, instead of being woken for it.
    #[cfg(all(feature = "process", unix))]
    fn attend(&self) -> Option<Arc<dyn Away>>;
}

/// A task as an executor sees it. Where a method takes `this`, that is the task itself.
pub(crate) trait Runnable: Inside {
    /// Starts the task, does it and finishes it, on this thread. Does nothing if it was cancelled.
    fn run(&self, this: &Counted<dyn Inside>, lane: Lane);
    /// Whether the work is a future, which an async executor had better poll than block for.
    fn is_async(&self) -> bool;
    /// The same as `run`, without blocking.
    fn drive(&self, this: Counted<dyn Inside>, lane: Lane) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// Ends a task that has not started. Does nothing if it has.
    fn refuse(&self, error: TaskError);
    fn priority(&self) -> i32;
    /// A task whose worker is in another process.
    #[cfg(all(feature = "process", unix))]
    fn remote(&self, this: Counted<dyn Inside>) -> Counted<dyn Remote>;
}

/// A task that another process runs, as its executor sees it.
#[cfg(all(feature = "process", unix))]
pub(crate) trait Remote: Runnable {
    /// The work as it was written down; `None` if it was not, or it is done.
    fn written(&self) -> Option<Arc<Written>>;
    /// Whether it has its outcome.
    fn is_over(&self) -> bool;
    /// Whether it must be said when it starts and how far it is.
    fn is_observed(&self) -> bool;
    /// How long it may take.
    fn time_limit(&self) -> Option<Duration>;
    /// Takes note that a worker has started it. How long it may take comes back.
    fn begin(&self, lane: Lane) -> Option<Duration>;
    /// Hands in the outcome as it came from the worker: the value as it was written down, or why there is none.
    fn conclude(&self, answer: Outcome<&[u8]>);
}

/// A task as it sees itself while it runs, and as the clock sees it.
pub(crate) trait Inside: Send + Sync {
    /// The task as what it is.
    fn as_any(&self) -> &dyn Any;
    fn flags(&self) -> &Flags;
    /// Ends the task as timed out, if it is still running. Says whether it was.
    fn overrun(&self, limit: Duration) -> bool;
    /// How a cancellation is to reach the work.
    fn on_cancel(&self, hook: OnCancel);
    /// Tells whoever observes it how far it is.
    fn progress(&self, done: u64);
    /// What stands open inside it; `None` unless it is a scope's task.
    fn open(&self) -> Option<&Open> {
        None
    }
}

impl<B: Body, X: Terms> Cell<B, B::Output, X> {
    pub(crate) fn new(body: B, home: Home, terms: X) -> Self {
        Self {
            flags: Flags(AtomicU8::new(0)),
            home,
            inner: Brief::new(Inner { stage: Stage::Pending(body), watchers: Watchers(None) }),
            terms,
        }
    }

    /// Takes the task for the calling worker. `None` if someone else was first, or it was cancelled.
    pub(crate) fn start(&self) -> Option<B> {
        self.inner.lock().leave_pending(Stage::Running)
    }

    /// Hands in the outcome, shows it to the callbacks and wakes everyone who waits for it.
    ///
    /// Says whether this was the task's outcome; `false` if it had one already.
    pub(crate) fn settle(&self, outcome: Outcome<B::Output>) -> bool {
        let mut inner = self.inner.lock();
        match inner.stage {
            Stage::Pending(_) | Stage::Running => {}
            Stage::Settling(_) | Stage::Done(_) | Stage::Claimed => {
                drop(inner);
                discard(outcome);
                return false;
            }
        }
        if !X::OBSERVED && inner.watchers.0.is_none() {
            let before = mem::replace(&mut inner.stage, Stage::Done(outcome));
            self.flags.set_done();
            drop(inner);
            if let Stage::Pending(body) = before {
                discard(body);
            }
            return true;
        }
        let before = mem::replace(&mut inner.stage, Stage::Settling(None));
        drop(inner);
        if let Stage::Pending(body) = before {
            discard(body);
        }
        self.announce(outcome);
        true
    }

    /// Makes the outcome known, of which this thread has made sure that it is the only one. The stage is settling.
    fn announce(&self, outcome: Outcome<B::Output>) {
        self.terms.finished(Ending::from(&outcome));
        self.publish(outcome);
    }

    /// Has `hook` called when the caller cancels: later, or here and now if that was before.
    pub(crate) fn reach_on_cancel(&self, hook: OnCancel) {
        let mut inner = self.inner.lock();
        if self.flags.is_asked_to_stop() || inner.stage.is_cancelled() {
            drop(inner);
            reach(Some(hook));
        } else if let Stage::Pending(_) | Stage::Running = inner.stage {
            inner.watchers.add(Watcher::OnCancel(hook));
        } else {
            // It is done otherwise, and nothing is left to be reached.
            drop(inner);
            discard(hook);
        }
    }

    /// Shows the outcome to the callbacks until none is left, and then to everyone. The stage is settling.
    fn publish(&self, outcome: Outcome<B::Output>) {
        let mut waiting = Vec::new();
        let mut consumer: Option<Consumer<B::Output>> = None;
        loop {
            let mut inner = self.inner.lock();
            let Some(watchers) = inner.watchers.0.take() else {
                match consumer {
                    None => inner.stage = Stage::Done(outcome),
                    Some(consumer) => {
                        inner.stage = Stage::Claimed;
                        self.flags.set_done();
                        drop(inner);
                        wake(waiting);
                        return trampoline::bounce(move || consumer(outcome));
                    }
                }
                self.flags.set_done();
                drop(inner);
                return wake(waiting);
            };
            drop(inner);
            for watcher in *watchers {
                match watcher {
                    Watcher::Callback(callback) => panics::contain(|| callback(&outcome)),
                    Watcher::Consumer(taker) => consumer = Some(taker),
                    Watcher::Thread(_) | Watcher::Waker(..) | Watcher::Signal(..) => waiting.push(watcher),
                    Watcher::OnCancel(hook) => discard(hook),
                }
            }
        }
    }

    /// Runs the body and finishes the task, which this thread has started.
    fn perform(&self, this: &Counted<dyn Inside>, body: B, lane: Lane) {
        self.terms.started(lane);
        let limit = match self.keep_time(this, context::host) {
            Ok(limit) => limit,
            Err(error) => {
                discard(body);
                self.settle(Err(error));
                return;
            }
        };
        let outcome = context::inside(this, || body.perform());
        let is_in_time = self.settle(outcome);
        if let Some(limit) = limit
            && !is_in_time
        {
            limit.overrun_is_over();
        }
    }
}

impl<B: Body, X: Terms> Cell<B, B::Output, X> {
    /// Has the clock end the task that starts here when its time is up, if there is a limit.
    fn keep_time(
        &self,
        this: &Counted<dyn Inside>,
        host: impl FnOnce() -> Option<Arc<dyn Host>>,
    ) -> Outcome<Option<TimeLimit>> {
        let Some(limit) = self.terms.time_limit() else { return Ok(None) };
        TimeLimit::start(limit, this, host()).map(Some)
    }
}

/// Answers for a task whose future is dropped on the way, as a runtime does that is shut down.
struct Lifeline<B: Body, X: Terms>(Counted<Cell<B, B::Output, X>>);

impl<B: Body, X: Terms> Drop for Lifeline<B, X> {
    fn drop(&mut self) {
        self.0.settle(Err(TaskError::worker_lost("the runtime that ran it is gone")));
    }
}

/// Wakes those who only wait. No lock is held.
fn wake<T>(waiting: Vec<Watcher<T>>) {
    for watcher in waiting {
        match watcher {
            Watcher::Thread(thread) => thread.unpark(),
            Watcher::Waker(_, waker) => panics::contain(|| waker.wake()),
            Watcher::Signal(signal, place) => signal.raise(place),
            Watcher::Callback(_) | Watcher::Consumer(_) | Watcher::OnCancel(_) => {
                unreachable!("only those who wait are kept until the outcome is published")
            }
        }
    }
}

impl<B: Body, X: Terms> Claim<B::Output> for Cell<B, B::Output, X> {
    fn home(&self) -> Home {
        self.home
    }

    fn is_running(&self) -> bool {
        match self.inner.lock().stage {
            Stage::Running => true,
            Stage::Pending(ref body) => body.has_begun(),
            Stage::Settling(_) | Stage::Done(_) | Stage::Claimed => false,
        }
    }

    fn error(&self) -> Option<TaskError> {
        match &self.inner.lock().stage {
            Stage::Done(Err(error)) => Some(error.clone()),
            Stage::Settling(error) => error.as_deref().cloned(),
            Stage::Done(Ok(_)) | Stage::Pending(_) | Stage::Running | Stage::Claimed => None,
        }
    }

    fn claim(&self) -> Option<Outcome<B::Output>> {
        let mut inner = self.inner.lock();
        match inner.stage {
            Stage::Done(_) => mem::replace(&mut inner.stage, Stage::Claimed).into_outcome(),
            Stage::Pending(_) | Stage::Running | Stage::Settling(_) | Stage::Claimed => None,
        }
    }

    fn take_outcome(&mut self) -> Option<Outcome<B::Output>> {
        mem::replace(&mut self.inner.get_mut().stage, Stage::Claimed).into_outcome()
    }

    fn watch(&self, watcher: Watcher<B::Output>) -> Result<(), Watcher<B::Output>> {
        let mut inner = self.inner.lock();
        match (&inner.stage, &watcher) {
            // A late look at the outcome needs the thread that shows it, and that is this one.
            (Stage::Done(_), Watcher::Callback(_) | Watcher::Consumer(_)) => {
                let Stage::Done(outcome) = mem::replace(&mut inner.stage, Stage::Settling(None)) else {
                    unreachable!("the stage was just seen to be done")
                };
                inner.stage = Stage::Settling(outcome.as_ref().err().cloned().map(Box::new));
                inner.watchers.add(watcher);
                drop(inner);
                self.publish(outcome);
                Ok(())
            }
            (Stage::Done(_) | Stage::Claimed, _) => Err(watcher),
            (Stage::Pending(_) | Stage::Running | Stage::Settling(_), _) => {
                let replaced = inner.watchers.add(watcher);
                drop(inner);
                discard(replaced);
                Ok(())
            }
        }
    }

    fn unwatch(&self, is_one: &dyn Fn(&Watcher<B::Output>) -> bool) {
        let mut inner = self.inner.lock();
        let Some(list) = &mut inner.watchers.0 else { return };
        let removed: Vec<_> = list.extract_if(.., |watcher| is_one(watcher)).collect();
        drop(inner);
        removed.into_iter().for_each(discard);
    }

    fn cancel(&self) -> Cancel {
        let mut inner = self.inner.lock();
        let left = inner.leave_pending(Stage::Settling(None));
        let hook = inner.watchers.take_on_cancel();
        if let Some(body) = left {
            self.flags.ask_to_stop();
            drop(inner);
            discard(body);
            self.announce(Err(TaskError::Cancelled));
            if let Some(hook) = hook {
                trampoline::bounce(move || {
                    hook();
                });
            }
            return Cancel::Prevented;
        }
        if let Stage::Running = inner.stage {
            self.flags.ask_to_stop();
            drop(inner);
            return reach(hook);
        }
        let is_cancelled = inner.stage.is_cancelled();
        drop(inner);
        discard(hook);
        if is_cancelled { Cancel::Prevented } else { Cancel::TooLate }
    }

    fn set_cancel_on_drop(&self) {
        // Whoever settles the task sets its flags anew, and holds the lock meanwhile.
        let _inner = self.inner.lock();
        self.flags.set_cancel_on_drop();
    }

    fn help(&self, this: &Counted<dyn Inside>) -> bool {
        // A future is polled by whoever knows how to wait for what it awaits.
        if B::ASYNC {
            return false;
        }
        let Some(body) = self.start() else { return false };
        let lane = context::lane().unwrap_or(Lane::new(0));
        self.perform(this, body, lane);
        true
    }

    #[cfg(all(feature = "process", unix))]
    fn attend(&self) -> Option<Arc<dyn Away>> {
        match &self.inner.lock().stage {
            Stage::Pending(body) => body.written()?.away(),
            Stage::Running | Stage::Settling(_) | Stage::Done(_) | Stage::Claimed => None,
        }
    }
}

impl<B: Body, X: Terms> Runnable for Cell<B, B::Output, X> {
    fn run(&self, this: &Counted<dyn Inside>, lane: Lane) {
        if let Some(body) = self.start() {
            self.perform(this, body, lane);
        }
    }

    fn is_async(&self) -> bool {
        B::ASYNC
    }

    fn drive(&self, this: Counted<dyn Inside>, lane: Lane) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let lifeline = Lifeline::<B, X>(itself(this.clone()));
        Box::pin(async move {
            let task = &lifeline.0;
            let Some(body) = task.start() else { return };
            task.terms.started(lane);
            // A future that overruns is dropped, and holds up no worker.
            let outcome = match task.keep_time(&this, || None) {
                Ok(_limit) => Driven::new(this, body.into_future()).await,
                Err(error) => {
                    discard(body);
                    Err(error)
                }
            };
            task.settle(outcome);
        })
    }

    fn refuse(&self, error: TaskError) {
        let body = self.inner.lock().leave_pending(Stage::Settling(None));
        if let Some(body) = body {
            discard(body);
            self.announce(Err(error));
        }
    }

    fn priority(&self) -> i32 {
        self.terms.priority()
    }

    #[cfg(all(feature = "process", unix))]
    fn remote(&self, this: Counted<dyn Inside>) -> Counted<dyn Remote> {
        widen!(itself::<Self>(this) => dyn Remote)
    }
}

#[cfg(all(feature = "process", unix))]
impl<B: Body, X: Terms> Remote for Cell<B, B::Output, X> {
    fn written(&self) -> Option<Arc<Written>> {
        match &self.inner.lock().stage {
            Stage::Pending(body) => body.written().cloned(),
            Stage::Running | Stage::Settling(_) | Stage::Done(_) | Stage::Claimed => None,
        }
    }

    fn is_over(&self) -> bool {
        self.flags.is_done()
    }

    fn is_observed(&self) -> bool {
        X::OBSERVED
    }

    fn time_limit(&self) -> Option<Duration> {
        self.terms.time_limit()
    }

    fn begin(&self, lane: Lane) -> Option<Duration> {
        let left = self.inner.lock().leave_pending(Stage::Running);
        drop(left);
        self.terms.started(lane);
        self.terms.time_limit()
    }

    fn conclude(&self, answer: Outcome<&[u8]>) {
        self.settle(answer.and_then(B::read_back));
    }
}

impl<B: Body, X: Terms> Inside for Cell<B, B::Output, X> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn flags(&self) -> &Flags {
        &self.flags
    }

    fn overrun(&self, limit: Duration) -> bool {
        let hook = self.inner.lock().watchers.take_on_cancel();
        // The outcome comes first: a task that is told before could return, and be in time with that.
        let was_running = self.settle(Err(TaskError::TimedOut { limit }));
        if was_running {
            reach(hook);
        }
        was_running
    }

    fn on_cancel(&self, hook: OnCancel) {
        // If the task is done, nothing is left to be reached.
        drop(self.watch(Watcher::OnCancel(hook)));
    }

    fn progress(&self, done: u64) {
        self.terms.progressed(done);
    }

    fn open(&self) -> Option<&Open> {
        self.terms.open()
    }
}

/// A task as what it is, which it is known to be.
pub(crate) fn itself<T: Inside + 'static>(this: Counted<dyn Inside>) -> Counted<T> {
    this.downcast(Inside::as_any).expect("a task is told of itself, and of no other")
}

impl<T: 'static> Counted<dyn Claim<T>> {
    /// Runs the task on this thread if nobody has taken it yet. Says whether it did.
    pub(crate) fn help(&self) -> bool {
        let this = lend!(self => dyn Inside);
        (**self).help(&this)
    }

    /// Takes the outcome away, for who holds the caller's end no longer. `None` if there is none, or no longer.
    pub(crate) fn claim_and_leave(mut self) -> Option<Outcome<T>> {
        match Counted::get_mut(&mut self) {
            Some(task) => task.take_outcome(),
            None => self.claim(),
        }
    }
}

impl Counted<dyn Runnable> {
    pub(crate) fn run(self, lane: Lane) {
        {
            let this = lend!(&self => dyn Inside);
            (*self).run(&this, lane);
        }
        // If nobody else holds it, a value goes here that nobody will claim.
        discard(self);
    }

    pub(crate) fn drive(self, lane: Lane) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        (*self).drive(widen!(self.clone() => dyn Inside), lane)
    }

    #[cfg(all(feature = "process", unix))]
    pub(crate) fn remote(self) -> Counted<dyn Remote> {
        (*self).remote(widen!(self.clone() => dyn Inside))
    }
}

impl<B: Body> Inner<B, B::Output> {
    /// Goes on from pending, and hands out the work. `None` if the stage is another, or a worker in another process
    /// has begun, which is seen here.
    fn leave_pending(&mut self, next: Stage<B, B::Output>) -> Option<B> {
        if let Stage::Pending(body) = &self.stage
            && let Err(stop) = body.withdraw()
        {
            self.watchers.add(Watcher::OnCancel(stop));
            self.stage = Stage::Running;
            return None;
        }
        self.stage.leave_pending(next)
    }
}

impl<B, T> Stage<B, T> {
    /// Whether it is done without a value because it was cancelled.
    fn is_cancelled(&self) -> bool {
        match self {
            Self::Done(Err(error)) => error.is_cancelled(),
            Self::Settling(error) => error.as_deref().is_some_and(TaskError::is_cancelled),
            Self::Done(Ok(_)) | Self::Pending(_) | Self::Running | Self::Claimed => false,
        }
    }

    fn into_outcome(self) -> Option<Outcome<T>> {
        match self {
            Self::Done(outcome) => Some(outcome),
            Self::Pending(_) | Self::Running | Self::Settling(_) | Self::Claimed => None,
        }
    }

    /// Goes on from pending, and hands out the work. `None` if this stage is another.
    fn leave_pending(&mut self, next: Self) -> Option<B> {
        match self {
            Self::Pending(_) => match mem::replace(self, next) {
                Self::Pending(body) => Some(body),
                _ => unreachable!("the stage was just seen to be pending"),
            },
            Self::Running | Self::Settling(_) | Self::Done(_) | Self::Claimed => None,
        }
    }
}

/// Tells the work that it is cancelled, if there is a way. No lock is held.
fn reach(hook: Option<OnCancel>) -> Cancel {
    let mut reached = Cancel::Requested;
    if let Some(hook) = hook {
        panics::contain(|| reached = hook());
    }
    reached
}

impl<T> Watchers<T> {
    /// Adds one, and gives back the one that it replaces: an end is awaited by one async task at a time.
    fn add(&mut self, watcher: Watcher<T>) -> Option<Watcher<T>> {
        let list = self.0.get_or_insert_default();
        let replaced = match &watcher {
            Watcher::Waker(end, _) => {
                list.iter_mut().find(|old| matches!(old, Watcher::Waker(other, _) if other == end))
            }
            _ => None,
        };
        match replaced {
            Some(old) => Some(mem::replace(old, watcher)),
            None => {
                list.push(watcher);
                None
            }
        }
    }

    fn take_on_cancel(&mut self) -> Option<OnCancel> {
        let list = self.0.as_mut()?;
        let place = list.iter().position(|watcher| matches!(watcher, Watcher::OnCancel(_)))?;
        match list.remove(place) {
            Watcher::OnCancel(hook) => Some(hook),
            _ => unreachable!("this place was just seen to hold the hook"),
        }
    }
}

#[cfg(all(target_pointer_width = "64", not(raincheck_loom)))]
const _: () = {
    use crate::counted::Slot;

    type Small = Cell<crate::task::ClosureBody<fn() -> u64>, u64>;
    assert!(mem::size_of::<Slot<Small>>() == 48, "a small task costs 48 bytes");
};
