//! The caller's end: a value that another thread has yet to hand in.

use std::{
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::{
    cell::{Cancel, Claim, Watcher},
    context,
    counted::Counted,
    error::{Outcome, TaskError},
    executor::InProcess,
    panics::{catch, contain},
    promise::{Promise, promise},
    shared::Shared,
    sync::{Mutex, lock},
    task::{self, ClosureBody},
    timer,
    wait::wait_for,
};

/// A value that is not there yet: the rain check for a submitted task.
///
/// It is claimed by [`result`](Self::result), which blocks, or by `.await`, in any async runtime or in none. Dropping
/// it lets the task run on, and its outcome is dropped when it comes; [`cancel_on_drop`](Self::cancel_on_drop) says
/// otherwise.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, ThreadPool};
///
/// let pool = ThreadPool::new(2);
/// let answer = pool.submit(|| 6 * 7);
/// assert_eq!(answer.result()?, 42);
/// # Ok::<(), raincheck::TaskError>(())
/// ```
#[must_use = "a future that is dropped lets its task run on, but its outcome is lost"]
pub struct TaskFuture<T> {
    /// `None` only while it goes, its outcome being claimed.
    cell: Option<Counted<dyn Claim<T>>>,
}

impl<T: Send + 'static> TaskFuture<T> {
    pub(crate) fn of(cell: Counted<dyn Claim<T>>) -> Self {
        Self { cell: Some(cell) }
    }

    pub(crate) fn cell(&self) -> &Counted<dyn Claim<T>> {
        self.cell.as_ref().expect("it is given away by who takes the future")
    }

    /// The outcome, which is there.
    fn claim(mut self) -> Outcome<T> {
        self.cell.take().and_then(Counted::<dyn Claim<T>>::claim_and_leave).expect(CLAIMED_ONCE)
    }

    /// Returns a future that is done, with this outcome.
    pub fn ready(outcome: Outcome<T>) -> Self {
        let (promise, future) = promise();
        promise.finish(outcome);
        future
    }

    /// Returns the task's value, or why there is none.
    ///
    /// # Blocking
    ///
    /// Blocks the calling thread until the task is done. In async code, `.await` the future instead. Inside a task
    /// of the same executor it runs the awaited task right here if nobody has started it, and otherwise lets another
    /// worker take this one's place, so that even a pool of one thread goes on.
    ///
    /// # Errors
    ///
    /// - [`TaskError::Panicked`] if the task panicked.
    /// - [`TaskError::Cancelled`] if it was cancelled first.
    /// - [`TaskError::TimedOut`] if it overran its time limit.
    /// - [`TaskError::WorkerLost`], [`TaskError::Refused`], [`TaskError::ShutDown`] if no worker could see it through.
    ///
    /// # Panics
    ///
    /// If the future has already given its outcome to an `.await`.
    pub fn result(self) -> Outcome<T> {
        self.wait();
        self.claim()
    }

    /// Returns the outcome if it comes within `limit`, and otherwise the future itself, whose task goes on.
    ///
    /// Blocks for at most `limit`; a limit of zero only looks. To have the task cancelled as well, see
    /// [`timeout`](Self::timeout).
    pub fn result_timeout(self, limit: Duration) -> Result<Outcome<T>, Self> {
        if self.wait_timeout(limit) { self.try_result() } else { Err(self) }
    }

    /// Returns the outcome if it is there, and otherwise the future itself. Never blocks.
    pub fn try_result(self) -> Result<Outcome<T>, Self> {
        if !self.is_done() {
            return Err(self);
        }
        Ok(self.claim())
    }

    /// Blocks until the task is done; see [`result`](Self::result) for what that means inside a task.
    pub fn wait(&self) {
        wait_for(self.cell(), None);
    }

    /// Blocks until the task is done, or `limit` has passed. Returns whether it is done.
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        // A limit beyond the clock's range is none.
        wait_for(self.cell(), Instant::now().checked_add(limit))
    }

    /// Whether the task has its outcome, cancelled included. Never blocks.
    pub fn is_done(&self) -> bool {
        self.cell().flags().is_done()
    }

    /// Whether a worker has started the task, and it has no outcome yet. Never blocks.
    pub fn is_running(&self) -> bool {
        self.cell().is_running()
    }

    /// Whether the task is done without a value because it was cancelled. Never blocks.
    pub fn is_cancelled(&self) -> bool {
        self.error().is_some_and(|error| error.is_cancelled())
    }

    /// Why the task has no value; `None` if it has one, or no outcome yet. Never blocks.
    pub fn error(&self) -> Option<TaskError> {
        self.cell().error()
    }

    /// Cancels the task, as far as that can be done, and says how far that was.
    ///
    /// A task that has not started never will: it is done at once, as [`TaskError::Cancelled`], its closure is
    /// dropped, and everyone who waits for it is woken. One that runs on a thread is told, and sees it when it asks
    /// [`cancelled`](crate::cancelled()). An async one is dropped at its next await. Does not block.
    pub fn cancel(&self) -> Cancel {
        self.cell().cancel()
    }

    /// Makes dropping this future cancel its task; also dropping a future that is made of it, such as by
    /// [`then`](Self::then) or [`timeout`](Self::timeout), or one of many by [`all`](crate::all), if all of these are so.
    pub fn cancel_on_drop(self) -> Self {
        self.cell().set_cancel_on_drop();
        self
    }

    /// Has `look` called with the outcome, in the thread that finishes the task, or here and now if it is done.
    ///
    /// Callbacks are called in the order of their registration, before anyone who waits is released: whoever has the
    /// result knows that the callbacks are through. Be quick, since the worker waits meanwhile. A panic in one
    /// reaches neither the worker nor the next.
    ///
    /// # Examples
    ///
    /// ```
    /// use raincheck::{Executor, ThreadPool};
    ///
    /// let pool = ThreadPool::new(2);
    /// let (send, receive) = std::sync::mpsc::channel();
    /// let answer = pool.submit(|| 6 * 7);
    /// answer.on_done(move |outcome| send.send(outcome.is_ok()).unwrap());
    /// assert_eq!(answer.result()?, 42);
    /// assert!(receive.recv().unwrap());
    /// # Ok::<(), raincheck::TaskError>(())
    /// ```
    pub fn on_done(&self, look: impl FnOnce(&Outcome<T>) + Send + 'static) {
        // Given back only if the outcome is claimed, and then nobody can show it.
        drop(self.cell().watch(Watcher::Callback(Box::new(look))));
    }

    /// Returns a future that many can hold, and each can claim.
    pub fn shared(self) -> Shared<T>
    where
        T: Sync,
    {
        Shared::of(self)
    }
}

/// # What comes next
///
/// Each of these takes the future and returns another one, without blocking. What it is given runs in the thread that
/// finishes the task, or here and now if it is done; a panic in it is the new future's outcome. To run it on an
/// executor instead, use [`then_on`](Self::then_on). Cancelling the new future cancels the old one.
impl<T: Send + 'static> TaskFuture<T> {
    /// Goes on with whatever the outcome is: to turn it, whole, into a value.
    pub fn then<U: Send + 'static>(self, next: impl FnOnce(Outcome<T>) -> U + Send + 'static) -> TaskFuture<U> {
        self.chain(|outcome, promise| settle(promise, catch(|| next(outcome))))
    }

    /// Goes on with the value, if there is one: to turn it into another. An error stays.
    pub fn map<U: Send + 'static>(self, next: impl FnOnce(T) -> U + Send + 'static) -> TaskFuture<U> {
        self.chain(|outcome, promise| settle(promise, outcome.and_then(|value| catch(|| next(value)))))
    }

    /// Goes on with the value, if there is one: to a further task. An error stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use raincheck::{Executor, ThreadPool};
    ///
    /// let pool = ThreadPool::new(2);
    /// let handle = pool.handle();
    /// let answer = pool.submit(|| 6).and_then(move |six| handle.submit(move || six * 7));
    /// assert_eq!(answer.result()?, 42);
    /// # Ok::<(), raincheck::TaskError>(())
    /// ```
    pub fn and_then<U: Send + 'static>(self, next: impl FnOnce(T) -> TaskFuture<U> + Send + 'static) -> TaskFuture<U> {
        self.map(next).flatten()
    }

    /// Goes on with the error, if there is one: to a further task that may do better. A value stays.
    pub fn or_else(self, next: impl FnOnce(TaskError) -> TaskFuture<T> + Send + 'static) -> TaskFuture<T> {
        self.then(|outcome| match outcome {
            Ok(value) => TaskFuture::ready(Ok(value)),
            Err(error) => next(error),
        })
        .flatten()
    }

    /// Does something when the task is done, whatever its outcome, which stays. A panic in it is swallowed.
    pub fn finally(self, last: impl FnOnce() + Send + 'static) -> TaskFuture<T> {
        self.chain(|outcome, promise| {
            contain(last);
            settle(promise, outcome);
        })
    }

    /// Puts `T::default()` in the place of an error.
    pub fn or_default(self) -> TaskFuture<T>
    where
        T: Default,
    {
        self.then(Result::unwrap_or_default)
    }

    /// Cancels the task when `limit` has passed, counted from now; the new future is then done at once, as
    /// [`TaskError::TimedOut`].
    ///
    /// A time limit of the task's own, which counts from its start, is [`Options::time_limit`](crate::Options).
    ///
    /// When the time is up, the callbacks run on a thread that is there for what is late. One that takes long there, or
    /// waits, holds up no other limit or delay by more than some milliseconds.
    ///
    /// # Panics
    ///
    /// If the program's clock is needed for the first time, and the system can start no thread for it.
    pub fn timeout(self, limit: Duration) -> TaskFuture<T> {
        let (promise, future) = promise();
        let stop = self.canceller();
        promise.on_cancel({
            let stop = Arc::clone(&stop);
            move || stop()
        });
        future.inherit_cancel_on_drop(self.take_cancel_on_drop());
        let promise = Arc::new(Mutex::new(Some(promise)));
        let alarm = timer::after(limit, {
            let promise = Arc::clone(&promise);
            move || {
                let promise = lock(&promise).take();
                if let Some(promise) = promise {
                    promise.finish(Err(TaskError::TimedOut { limit }));
                    stop();
                }
            }
        });
        self.consume(move |outcome| {
            drop(alarm);
            let promise = lock(&promise).take();
            if let Some(promise) = promise {
                promise.finish(outcome);
            }
        });
        future
    }

    /// Joins this future and another into one of both values. The first error ends it, and cancels the other.
    pub fn zip<U: Send + 'static>(self, other: TaskFuture<U>) -> TaskFuture<(T, U)> {
        let (promise, future) = promise();
        let (stop_this, stop_other) = (self.canceller(), other.canceller());
        promise.on_cancel({
            let (stop_this, stop_other) = (Arc::clone(&stop_this), Arc::clone(&stop_other));
            move || {
                stop_other();
                stop_this()
            }
        });
        // Dropping it would stop both.
        future.inherit_cancel_on_drop(self.take_cancel_on_drop() & other.take_cancel_on_drop());
        let both = Arc::new(Mutex::new((None, None, Some(promise))));
        self.consume({
            let both = Arc::clone(&both);
            move |outcome| join(&both, outcome, |both| &mut both.0, &*stop_other)
        });
        other.consume(move |outcome| join(&both, outcome, |both| &mut both.1, &*stop_this));
        future
    }

    /// Goes on with whatever the outcome is, on an executor.
    pub fn then_on<E, U>(self, executor: &E, next: impl FnOnce(Outcome<T>) -> U + Send + 'static) -> TaskFuture<U>
    where
        E: InProcess + ?Sized,
        U: Send + 'static,
    {
        let executor = executor.core();
        self.then(move |outcome| task::submit(&*executor, ClosureBody::new(move || next(outcome)))).flatten()
    }

    /// Hands the outcome to `taker` when it comes, in this caller's stead.
    pub(crate) fn consume(self, taker: impl FnOnce(Outcome<T>) + Send + 'static) {
        self.take_cancel_on_drop();
        // Given back only if the outcome is claimed already, by an `.await`.
        assert!(self.cell().watch(Watcher::Consumer(Box::new(taker))).is_ok(), "{CLAIMED_ONCE}");
    }

    /// Whether dropping this future cancels its task; from now on it no longer does.
    pub(crate) fn take_cancel_on_drop(&self) -> bool {
        self.cell().flags().take_cancel_on_drop()
    }

    /// Makes dropping this future cancel its task, if that was so of those that it is made of.
    pub(crate) fn inherit_cancel_on_drop(&self, was_so: bool) {
        if was_so {
            self.cell().set_cancel_on_drop();
        }
    }

    /// Makes the future whose promise `next` keeps, once it has this one's outcome.
    fn chain<U: Send + 'static>(self, next: impl FnOnce(Outcome<T>, Promise<U>) + Send + 'static) -> TaskFuture<U> {
        let (promise, future) = promise();
        let stop = self.canceller();
        promise.on_cancel(move || stop());
        future.inherit_cancel_on_drop(self.take_cancel_on_drop());
        self.consume(move |outcome| next(outcome, promise));
        future
    }

    /// How to cancel the task without keeping it alive.
    pub(crate) fn canceller(&self) -> Canceller {
        let task = Counted::downgrade(self.cell());
        Arc::new(move || task.upgrade().map_or(Cancel::TooLate, |task| task.cancel()))
    }
}

/// Cancels a task, and says how far.
pub(crate) type Canceller = Arc<dyn Fn() -> Cancel + Send + Sync>;

const CLAIMED_ONCE: &str = "a future gives its outcome once";

fn settle<T: Send + 'static>(promise: Promise<T>, outcome: Outcome<T>) {
    promise.finish(outcome);
}

/// Two values on their way, and who wants both.
type Both<T, U> = (Option<T>, Option<U>, Option<Promise<(T, U)>>);

/// Puts one of two outcomes in its place; the second value, or the first error, keeps the promise.
fn join<T: Send + 'static, U: Send + 'static, V>(
    both: &Mutex<Both<T, U>>,
    outcome: Outcome<V>,
    place: impl FnOnce(&mut Both<T, U>) -> &mut Option<V>,
    stop_other: &dyn Fn() -> Cancel,
) {
    let mut guard = lock(both);
    match outcome {
        Ok(value) => *place(&mut guard) = Some(value),
        Err(error) => {
            let promise = guard.2.take();
            drop(guard);
            if let Some(promise) = promise {
                promise.finish(Err(error));
                stop_other();
            }
            return;
        }
    }
    if guard.0.is_some() && guard.1.is_some() {
        let taken = mem::take(&mut *guard);
        drop(guard);
        if let (Some(this), Some(other), Some(promise)) = taken {
            promise.finish(Ok((this, other)));
        }
    }
}

impl<T: Send + 'static> TaskFuture<TaskFuture<T>> {
    /// Makes one future of a task that gives a future: done when the inner one is. Cancelling it cancels whichever
    /// of the two it waits for.
    pub fn flatten(self) -> TaskFuture<T> {
        let (promise, future) = promise();
        let stop = Arc::new(Mutex::new(self.canceller()));
        promise.on_cancel({
            let stop = Arc::clone(&stop);
            move || {
                let stop = Arc::clone(&lock(&stop));
                stop()
            }
        });
        future.inherit_cancel_on_drop(self.take_cancel_on_drop());
        self.consume(move |outcome| match outcome {
            Ok(inner) => {
                *lock(&stop) = inner.canceller();
                // Whoever cancelled a moment ago has reached only the outer one.
                if promise.is_cancelled() {
                    inner.cancel();
                }
                inner.consume(move |outcome| settle(promise, outcome));
            }
            Err(error) => settle(promise, Err(error)),
        });
        future
    }
}

impl<T: Send + 'static> Future for TaskFuture<T> {
    type Output = Outcome<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        if !self.is_done() && self.cell().watch(Watcher::Waker(0, cx.waker().clone())).is_ok() {
            self.cell().flags().set_awaited();
            context::note_await();
            return Poll::Pending;
        }
        Poll::Ready(self.cell().claim().expect(CLAIMED_ONCE))
    }
}

impl<T> Drop for TaskFuture<T> {
    fn drop(&mut self) {
        let Some(cell) = &self.cell else { return };
        if cell.flags().is_awaited() {
            // Nobody awaits it here any more, and the task may go on for long.
            cell.unwatch(&|watcher| matches!(watcher, Watcher::Waker(..)));
        }
        if cell.flags().take_cancel_on_drop() {
            cell.cancel();
        }
    }
}

impl<T: Send + 'static> fmt::Debug for TaskFuture<T> {
    /// Says what Python's `repr` of a future says: its state, and once done how it ended.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<TaskFuture state=")?;
        match (self.is_done(), self.error()) {
            (true, None) => f.write_str("finished>"),
            (true, Some(TaskError::Cancelled)) => f.write_str("cancelled>"),
            (true, Some(error)) => write!(f, "failed: {error}>"),
            (false, _) if self.is_running() => f.write_str("running>"),
            (false, _) => f.write_str("pending>"),
        }
    }
}
