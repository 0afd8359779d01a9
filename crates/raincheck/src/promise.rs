//! The worker's end: for those who write executors, or bridge to something that calls back.
//!
//! A client cannot set a future's outcome; only who holds the promise can.

use std::{fmt, marker::PhantomData, pin::Pin};

use crate::{
    cell::{Cancel, Cell, Claim, Inside},
    context::Home,
    counted::{Counted, widen},
    error::{Outcome, TaskError},
    future::TaskFuture,
    task::Body,
};

/// Returns the two ends of a new future: one that owes the outcome, one that claims it.
///
/// # Examples
///
/// ```
/// let (promise, future) = raincheck::promise();
/// std::thread::spawn(move || promise.finish(Ok(6 * 7)));
/// assert_eq!(future.result()?, 42);
/// # Ok::<(), raincheck::TaskError>(())
/// ```
pub fn promise<T: Send + 'static>() -> (Promise<T>, TaskFuture<T>) {
    let (owing, claiming) = Counted::pair(Cell::new(Owed(PhantomData), Home::NONE, ()));
    (Promise(Some(owing)), TaskFuture::of(widen!(claiming => dyn Claim<T>)))
}

/// The end of a future that owes its outcome, before anything is done for it.
///
/// The future is pending, and its caller can cancel it; then whatever the promise is given comes too late. Dropping
/// the promise ends the future as [`TaskError::WorkerLost`], so that nobody waits for ever.
pub struct Promise<T: Send + 'static>(Option<Owing<T>>);

/// The end of a future that owes its outcome, once work for it has begun.
///
/// The future is running. Dropping this ends it as [`TaskError::WorkerLost`].
pub struct Running<T: Send + 'static>(Option<Owing<T>>);

type Owing<T> = Counted<Cell<Owed<T>, T>>;

impl<T: Send + 'static> Promise<T> {
    /// Takes the task for the calling worker.
    ///
    /// Returns `None` if the caller cancelled first; the work must then not be done.
    pub fn start(mut self) -> Option<Running<T>> {
        let cell = self.0.take()?;
        cell.start().map(|_owed| Running(Some(cell)))
    }

    /// Hands in the outcome and wakes everyone who waits for it.
    ///
    /// Returns whether it is the future's outcome; `false` if the caller cancelled first. The future's callbacks run
    /// here, before this returns.
    pub fn finish(mut self, outcome: Outcome<T>) -> bool {
        self.0.take().is_some_and(|cell| cell.settle(outcome))
    }

    /// Whether the caller has cancelled, so that nobody wants the outcome.
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|cell| cell.flags().should_stop())
    }

    /// Has `reach` called when the caller cancels, here or later: how to stop what was begun elsewhere.
    ///
    /// It runs in the cancelling thread, or before this returns if the caller has cancelled already; once at most. It
    /// says what it brought about. Of several only the first is called.
    pub fn on_cancel(&self, reach: impl FnOnce() -> Cancel + Send + 'static) {
        if let Some(cell) = &self.0 {
            cell.reach_on_cancel(Box::new(reach));
        }
    }
}

impl<T: Send + 'static> Running<T> {
    /// Hands in the outcome and wakes everyone who waits for it.
    ///
    /// Returns whether it is the future's outcome; `false` if it had one already. The future's callbacks run here,
    /// before this returns.
    pub fn finish(mut self, outcome: Outcome<T>) -> bool {
        self.0.take().is_some_and(|cell| cell.settle(outcome))
    }

    /// Whether the caller has cancelled: the work had better stop, and end as [`TaskError::Cancelled`].
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|cell| cell.flags().should_stop())
    }

    /// Has `reach` called when the caller cancels; see [`Promise::on_cancel`].
    pub fn on_cancel(&self, reach: impl FnOnce() -> Cancel + Send + 'static) {
        if let Some(cell) = &self.0 {
            cell.reach_on_cancel(Box::new(reach));
        }
    }
}

impl<T: Send + 'static> Drop for Promise<T> {
    fn drop(&mut self) {
        break_promise(self.0.take());
    }
}

impl<T: Send + 'static> Drop for Running<T> {
    fn drop(&mut self) {
        break_promise(self.0.take());
    }
}

fn break_promise<T: Send + 'static>(cell: Option<Owing<T>>) {
    if let Some(cell) = cell {
        cell.settle(Err(TaskError::worker_lost("its promise was dropped")));
    }
}

impl<T: Send + 'static> fmt::Debug for Promise<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

impl<T: Send + 'static> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("is_cancelled", &self.is_cancelled()).finish()
    }
}

/// The body of a task that someone else does: nobody can do it here.
pub(crate) struct Owed<T>(PhantomData<fn() -> T>);

impl<T: Send + 'static> Body for Owed<T> {
    type Output = T;
    const ASYNC: bool = true;

    fn perform(self) -> Outcome<T> {
        Err(TaskError::worker_lost("a promise is kept by whoever holds it"))
    }

    fn into_future(self) -> Pin<Box<dyn Future<Output = T> + Send>> {
        Box::pin(std::future::pending())
    }
}
