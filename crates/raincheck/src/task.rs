//! A unit of work, from the caller's hand to the worker's.
//!
//! The caller gives [`Work`]: a closure, an `async` block, or the call of a `#[task]` function. An executor gets a
//! [`Task`], which it runs once, refuses, or drops; whichever it does, the caller's future has its outcome.

#[cfg(all(feature = "process", unix))]
use std::sync::Arc;
use std::{fmt, mem, pin::Pin};

#[cfg(all(feature = "process", unix))]
use crate::{carry::Written, cell::Remote};
use crate::{
    cell::{Cell, Claim, OnCancel, Runnable, Terms},
    context,
    counted::{Counted, widen},
    drive::{Driven, block_on},
    error::{Outcome, TaskError},
    event::{Ending, Event, Lane, Moment, TaskId},
    executor::{Executor, InProcess},
    future::TaskFuture,
    options::Options,
    panics::{self, catch},
    scope::Open,
};

/// What an executor is handed: work that is to be run, once.
///
/// Dropping it cancels it. Only who writes an executor meets it, and who takes the unstarted tasks from one that is
/// shut down: those can be handed to another by [`Executor::execute`].
#[must_use = "a task that is dropped is cancelled"]
pub struct Task(Option<Counted<dyn Runnable>>);

impl Task {
    /// Runs the task on this thread, until it has its outcome; at once if it was cancelled.
    ///
    /// An async task is polled here, with the thread parked in between. Never panics: a panic in the task is its
    /// outcome.
    pub fn run(mut self, lane: Lane) {
        if let Some(task) = self.0.take() {
            task.run(lane);
        }
    }

    /// Runs the task as a future, for an async executor to poll; dropped on the way, the task is lost.
    ///
    /// A task that is not async ([`Task::is_async`]) blocks in the first poll until it has its outcome.
    pub fn drive(mut self, lane: Lane) -> impl Future<Output = ()> + Send + 'static {
        let driven = self.0.take().map(|task| task.drive(lane));
        async move {
            if let Some(driven) = driven {
                driven.await;
            }
        }
    }

    /// Whether the task is a future, which an async executor had better poll than block a thread for.
    pub fn is_async(&self) -> bool {
        self.0.as_ref().is_some_and(|task| task.is_async())
    }

    /// How much it matters that this task runs before others; 0 unless the caller said otherwise.
    pub fn priority(&self) -> i32 {
        self.0.as_ref().map_or(0, |task| task.priority())
    }

    #[cfg(all(feature = "process", unix))]
    pub(crate) fn of(task: Counted<dyn Remote>) -> Self {
        Self(Some(widen!(task => dyn Runnable)))
    }

    /// Hands it to an executor whose workers are other processes, which from now on owes its outcome.
    #[cfg(all(feature = "process", unix))]
    pub(crate) fn into_remote(mut self) -> Option<Counted<dyn Remote>> {
        self.0.take().map(Counted::<dyn Runnable>::remote)
    }

    /// Ends the task with `error`; it is never run.
    pub fn refuse(mut self, error: TaskError) {
        if let Some(task) = self.0.take() {
            task.refuse(error);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.refuse(TaskError::Cancelled);
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("is_async", &self.is_async()).field("priority", &self.priority()).finish()
    }
}

/// What can be submitted to the executor `E`: a closure, a future, or the call of a `#[task]` function.
///
/// Closures and futures go to an executor that is [`InProcess`]; calls go to any. `Kind` tells the three apart and is
/// always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be submitted to `{E}`",
    label = "not what this executor can carry",
    note = "an executor that runs its tasks in this process takes closures that are `FnOnce() -> T + Send + 'static`, and `async` blocks",
    note = "any executor takes the call of a task: mark a function `#[raincheck::task]`, and submit `name::call(…)`"
)]
pub trait Work<E: ?Sized, Kind>: Sized {
    /// What the caller's future brings.
    type Output: Send + 'static;

    /// The work as its worker does it.
    #[doc(hidden)]
    type Body: Body<Output = Self::Output>;

    /// Turns the work into what its worker does.
    #[doc(hidden)]
    fn into_body(self) -> Self::Body;
}

/// The kinds of [`Work`], which the compiler infers.
pub mod kind {
    /// A closure.
    #[derive(Debug)]
    pub enum Closure {}
    /// A future.
    #[derive(Debug)]
    pub enum Async {}
    /// A call of a `#[task]` function.
    #[derive(Debug)]
    pub enum Call {}
}

/// Work as its worker does it.
#[doc(hidden)]
pub trait Body: Send + 'static {
    type Output: Send + 'static;
    const ASYNC: bool;

    /// Does the work on this thread. The task is the current one.
    fn perform(self) -> Outcome<Self::Output>;
    /// Does the work as a future.
    fn into_future(self) -> Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Writes the work down, for an executor whose workers are elsewhere.
    fn write_down(&mut self) -> Result<(), TaskError> {
        Err(TaskError::not_carried("it is not the call of a `#[raincheck::task]` function"))
    }

    /// The work as it was written down.
    #[cfg(all(feature = "process", unix))]
    fn written(&self) -> Option<&Arc<Written>> {
        None
    }

    /// Reads what its worker has written down when it was done.
    #[cfg(all(feature = "process", unix))]
    fn read_back(_value: &[u8]) -> Outcome<Self::Output> {
        Err(TaskError::not_carried("nobody can have written its value down"))
    }

    /// Whether a worker elsewhere has started it.
    fn has_begun(&self) -> bool {
        #[cfg(all(feature = "process", unix))]
        return self.written().is_some_and(|written| written.has_begun());
        #[cfg(not(all(feature = "process", unix)))]
        false
    }

    /// Makes sure that no worker elsewhere starts it. If one has, what comes back stops it.
    fn withdraw(&self) -> Result<(), OnCancel> {
        #[cfg(all(feature = "process", unix))]
        return self.written().map_or(Ok(()), |written| written.withdraw());
        #[cfg(not(all(feature = "process", unix)))]
        Ok(())
    }
}

#[doc(hidden)]
#[derive(Debug)]
pub struct ClosureBody<F>(F);

impl<F> ClosureBody<F> {
    pub(crate) fn new(work: F) -> Self {
        Self(work)
    }
}

impl<F, T> Body for ClosureBody<F>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = T;
    const ASYNC: bool = false;

    fn perform(self) -> Outcome<T> {
        catch(self.0)
    }

    fn into_future(self) -> Pin<Box<dyn Future<Output = T> + Send>> {
        Box::pin(async move { (self.0)() })
    }
}

#[doc(hidden)]
pub struct AsyncBody<T>(Pin<Box<dyn Future<Output = T> + Send>>);

impl<T: Send + 'static> Body for AsyncBody<T> {
    type Output = T;
    const ASYNC: bool = true;

    fn perform(self) -> Outcome<T> {
        let task = context::task().expect("a body is performed inside its task");
        block_on(Driven::new(task, self.0))
    }

    fn into_future(self) -> Pin<Box<dyn Future<Output = T> + Send>> {
        self.0
    }
}

impl<T> AsyncBody<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Box::pin(work))
    }
}

impl<E, F, T> Work<E, kind::Closure> for F
where
    E: InProcess + ?Sized,
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = T;
    type Body = ClosureBody<F>;

    fn into_body(self) -> ClosureBody<F> {
        ClosureBody(self)
    }
}

impl<E, F> Work<E, kind::Async> for F
where
    E: InProcess + ?Sized,
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    type Output = F::Output;
    type Body = AsyncBody<F::Output>;

    fn into_body(self) -> AsyncBody<F::Output> {
        AsyncBody::new(self)
    }
}

/// Makes a task and hands it to the executor. The other end comes back.
pub(crate) fn submit<E: Executor + ?Sized, B: Body>(executor: &E, mut body: B) -> TaskFuture<B::Output> {
    let ready = if executor.is_remote() { body.write_down() } else { Ok(()) };
    match executor.options() {
        None => hand_over(executor, Cell::new(body, executor.home(), ()), ready),
        Some(options) => hand_over(executor, Cell::new(body, executor.home(), Agreed::of(options)), ready),
    }
}

/// The same for a scope's task, which runs in this process.
pub(crate) fn submit_in_scope<E: InProcess + ?Sized, B: Body>(executor: &E, body: B) -> TaskFuture<B::Output> {
    let (home, open) = (executor.home(), Open::default());
    match executor.options() {
        None => hand_over(executor, Cell::new(body, home, Scoped { terms: (), open }), Ok(())),
        Some(options) => {
            let terms = Agreed::of(options);
            hand_over(executor, Cell::new(body, home, Scoped { terms, open }), Ok(()))
        }
    }
}

fn hand_over<E, B, X>(executor: &E, cell: Cell<B, B::Output, X>, ready: Result<(), TaskError>) -> TaskFuture<B::Output>
where
    E: Executor + ?Sized,
    B: Body,
    X: Terms,
{
    let (caller, worker) = Counted::pair(cell);
    let future = TaskFuture::of(widen!(caller => dyn Claim<B::Output>));
    let task = Task(Some(widen!(worker => dyn Runnable)));
    match ready {
        Ok(()) => executor.execute(task),
        Err(error) => task.refuse(error),
    }
    future
}

/// What is agreed about one task.
struct Agreed {
    id: TaskId,
    options: Options,
}

impl Agreed {
    /// These options for a task that is submitted now.
    fn of(options: &Options) -> Self {
        let terms = Self { id: TaskId::next(), options: options.clone() };
        terms.tell(Moment::Submitted);
        terms
    }

    fn tell(&self, moment: Moment) {
        if let Some(observer) = &self.options.observer {
            let event =
                Event { task: self.id, label: self.options.label.clone(), at: std::time::Instant::now(), moment };
            panics::contain(|| observer.observe(&event));
        }
    }
}

impl Terms for Agreed {
    const OBSERVED: bool = true;

    fn started(&self, lane: Lane) {
        self.tell(Moment::Started(lane));
    }

    fn finished(&self, ending: Ending) {
        self.tell(Moment::Finished(ending));
    }

    fn progressed(&self, done: u64) {
        self.tell(Moment::Progress(done));
    }

    fn time_limit(&self) -> Option<std::time::Duration> {
        self.options.time_limit
    }

    fn priority(&self) -> i32 {
        self.options.priority
    }
}

/// What is agreed about a scope's task, and what it has open.
struct Scoped<X> {
    terms: X,
    open: Open,
}

impl<X: Terms> Terms for Scoped<X> {
    const OBSERVED: bool = X::OBSERVED;

    fn started(&self, lane: Lane) {
        self.terms.started(lane);
    }

    fn finished(&self, ending: Ending) {
        self.terms.finished(ending);
    }

    fn progressed(&self, done: u64) {
        self.terms.progressed(done);
    }

    fn time_limit(&self) -> Option<std::time::Duration> {
        self.terms.time_limit()
    }

    fn priority(&self) -> i32 {
        self.terms.priority()
    }

    fn open(&self) -> Option<&Open> {
        Some(&self.open)
    }
}

const _: () = assert!(mem::size_of::<Task>() == 2 * mem::size_of::<usize>(), "a queue holds two words a task");
