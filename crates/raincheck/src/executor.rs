//! Where tasks run: one trait, whatever is behind it.

use std::{
    fmt,
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    combine,
    context::Home,
    each,
    error::Outcome,
    future::TaskFuture,
    map::{AsyncFunction, Function, Map},
    options::Options,
    schedule::{self, Pace, Retry},
    scope::{self, Scope},
    task::{self, AsyncBody, Task, Work},
};

/// Where tasks run.
///
/// A program that is generic over `E: Executor` submits calls of `#[task]` functions, and runs anywhere; one that is
/// generic over `E:` [`InProcess`] submits closures and futures too. A program that picks the executor by a flag holds
/// a `Box<dyn Executor>` or a `Box<dyn InProcess>`, or an `Arc` of either, and has the same methods on it. Functions
/// that are given one take `&impl InProcess`, which such a box is too.
///
/// # Writing one
///
/// The methods without a default are what an executor is: it takes a [`Task`], runs each once on some [`Lane`], and can
/// be told to end. Everything else is made of these.
///
/// [`Lane`]: crate::Lane
pub trait Executor: Send + Sync {
    /// Takes a task, to run it once, later or now.
    ///
    /// Does not block, unless a bound on the queue was agreed that says so. An executor that cannot take it
    /// [refuses](Task::refuse) it.
    fn execute(&self, task: Task);

    /// How many tasks it runs at a time at most.
    fn workers(&self) -> usize;

    /// Takes no further tasks from now on. Those that it has taken are run. Does not block.
    fn close(&self);

    /// Hands out the tasks that have not started, in the order in which they would have. Does not block.
    fn drain(&self) -> Vec<Task>;

    /// Blocks until all its tasks are done and its workers gone, once it is closed, or until `deadline`.
    ///
    /// Returns whether they are. Called from one of its own tasks it returns `false` at once: it would wait for
    /// itself.
    fn join(&self, deadline: Option<Instant>) -> bool;

    /// The executor itself, for what outlives this value, such as the clock; it does not keep the executor running.
    fn core(&self) -> Arc<dyn Executor>;

    /// Which tasks are its own; see [`Home`].
    fn home(&self) -> Home {
        Home::NONE
    }

    /// Whether its tasks leave this process, so that a call is to be written down when it is submitted.
    fn is_remote(&self) -> bool {
        false
    }

    /// What is agreed for each of its tasks beyond the default; `None` if nothing is.
    fn options(&self) -> Option<&Options> {
        None
    }

    /// Submits a task: a closure, a future, or a call of a `#[task]` function. What comes back claims its outcome.
    ///
    /// Does not block, unless the executor's queue is bounded and set to block when it is full.
    ///
    /// # Examples
    ///
    /// ```
    /// use raincheck::{Executor, ThreadPool};
    ///
    /// let pool = ThreadPool::new(2);
    /// let closure = pool.submit(|| 6 * 7);
    /// let future = pool.submit(async { 6 * 7 });
    /// assert_eq!(closure.result()?, future.result()?);
    /// # Ok::<(), raincheck::TaskError>(())
    /// ```
    fn submit<W, Kind>(&self, work: W) -> TaskFuture<W::Output>
    where
        W: Work<Self, Kind>,
        Self: Sized,
    {
        task::submit(self, work.into_body())
    }

    /// Applies `function` to each input, and returns an iterator over the outcomes, in the order of the inputs.
    ///
    /// The inputs are pulled as they are needed, on the calling thread, and a bounded number is under way at a time:
    /// an endless input is fine, and memory does not grow with it. The first are submitted when the first outcome is asked
    /// for, or by [`Map::start`], the next ones when an outcome is taken. One that fails is an `Err` in its place, and the rest goes on. Dropping the
    /// iterator cancels what is left.
    ///
    /// Inputs that take less time than a submission are grouped by themselves; the outcomes of a group come when all of
    /// it is done. A group that takes longer than was to be expected, while its outcomes are waited for, stops between
    /// two inputs: what is done comes out, and the rest goes to all workers. Where one input waits for what is done with
    /// another's outcome, say [`group(1)`](Map::group).
    ///
    /// # Examples
    ///
    /// ```
    /// use raincheck::{Executor, ThreadPool};
    ///
    /// let pool = ThreadPool::new(2);
    /// let squares: Result<Vec<u64>, _> = pool.map(|n: u64| n * n, 1..=4).collect();
    /// assert_eq!(squares?, [1, 4, 9, 16]);
    /// # Ok::<(), raincheck::TaskError>(())
    /// ```
    fn map<F, I, Kind>(&self, function: F, inputs: I) -> Map<'_, I::IntoIter, F::Output>
    where
        I: IntoIterator,
        F: Function<Self, I::Item, Kind>,
        Self: Sized,
    {
        Map::new(self, function, inputs.into_iter())
    }

    /// The same as [`map`](Self::map) with a function that returns a future, such as an `async` closure's.
    ///
    /// # Examples
    ///
    /// ```
    /// use raincheck::{Executor, ThreadPool};
    ///
    /// let pool = ThreadPool::new(2);
    /// let squares: Result<Vec<u64>, _> = pool.map_async(|n| async move { n * n }, 1..=4).collect();
    /// assert_eq!(squares?, [1, 4, 9, 16]);
    /// # Ok::<(), raincheck::TaskError>(())
    /// ```
    fn map_async<F, I, T>(&self, function: F, inputs: I) -> Map<'_, I::IntoIter, T::Output>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Future + Send + 'static,
        T::Output: Send + 'static,
        Self: InProcess + Sized,
    {
        Map::new(self, AsyncFunction(function), inputs.into_iter())
    }

    /// Runs tasks that borrow from the caller, and returns when all of them are done.
    ///
    /// # Blocking
    ///
    /// Blocks until the last task is done, also if `work` or a task panics.
    ///
    /// # Panics
    ///
    /// If `work` panics; when all tasks are done. A task's panic is its future's outcome.
    ///
    /// # Examples
    ///
    /// ```
    /// use raincheck::{Executor, ThreadPool};
    ///
    /// let pool = ThreadPool::new(2);
    /// let words = vec!["borrowed", "not", "moved"];
    /// let longest = pool.scope(|s| {
    ///     let lengths = words.iter().map(|word| s.submit(move || word.len())).collect::<Vec<_>>();
    ///     lengths.into_iter().map(|length| length.result().unwrap()).max()
    /// });
    /// assert_eq!(longest, Some(8));
    /// drop(words);
    /// ```
    fn scope<'env, F, R>(&'env self, work: F) -> R
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
        Self: InProcess + Sized,
    {
        scope::scope(self, work)
    }

    /// Calls `body` with each of the inputs, in any order, and returns when all are done: the parallel loop. `body` may
    /// borrow from the caller.
    ///
    /// The workers pull the inputs as they need them, several at a time if they take little time. To get something
    /// back for each, see [`map`](Self::map).
    ///
    /// # Panics
    ///
    /// If `body` panics: with the first panic, when the calls that are under way have returned. No further ones are
    /// made. Also if the executor is shut down.
    fn for_each<I>(&self, inputs: I, body: impl Fn(I::Item) + Sync)
    where
        I: IntoIterator<IntoIter: Send>,
        I::Item: Send,
        Self: InProcess + Sized,
    {
        each::for_each(self, inputs.into_iter(), body);
    }

    /// Submits all `works`, and blocks until all are done. Returns their outcomes in order.
    fn invoke_all<W, Kind>(&self, works: impl IntoIterator<Item = W>) -> Vec<Outcome<W::Output>>
    where
        W: Work<Self, Kind>,
        Self: Sized,
    {
        let futures: Vec<_> = works.into_iter().map(|work| self.submit(work)).collect();
        futures.into_iter().map(TaskFuture::result).collect()
    }

    /// Submits all `works`, and blocks until one succeeds. Returns its value; the others are cancelled.
    ///
    /// # Errors
    ///
    /// [`TaskError::AllFailed`](crate::TaskError::AllFailed) if none succeeds.
    fn invoke_any<W, Kind>(&self, works: impl IntoIterator<Item = W>) -> Outcome<W::Output>
    where
        W: Work<Self, Kind>,
        Self: Sized,
    {
        let futures: Vec<_> = works.into_iter().map(|work| self.submit(work)).collect();
        combine::any(futures).result()
    }

    /// Submits a task when `delay` has passed. Does not block; nothing waits meanwhile but the clock.
    ///
    /// Cancelling the future before then calls it off. If the executor is shut down first, the task is refused.
    ///
    /// # Panics
    ///
    /// If the program's clock is needed for the first time, and the system can start no thread for it.
    fn submit_after<W, Kind>(&self, delay: Duration, work: W) -> TaskFuture<W::Output>
    where
        W: Work<Self, Kind>,
        Self: Sized,
    {
        schedule::after(self.core(), delay, work.into_body())
    }

    /// Submits `work` now and then again every `period`, counted from start to start.
    ///
    /// One run follows another: a run that is late or long delays the next, and then as many follow at once as are
    /// due. Ends when the future is cancelled, when a run panics, which is the future's outcome, or when the executor
    /// is shut down.
    ///
    /// # Panics
    ///
    /// If the program's clock is needed for the first time, and the system can start no thread for it.
    fn submit_at_fixed_rate(&self, period: Duration, work: impl FnMut() + Send + 'static) -> TaskFuture<()>
    where
        Self: InProcess + Sized,
    {
        schedule::repeat(self.core(), Pace::Rate(period), work)
    }

    /// Submits `work` now and then again whenever `delay` has passed since the last run ended; otherwise as
    /// [`submit_at_fixed_rate`](Self::submit_at_fixed_rate).
    fn submit_with_fixed_delay(&self, delay: Duration, work: impl FnMut() + Send + 'static) -> TaskFuture<()>
    where
        Self: InProcess + Sized,
    {
        schedule::repeat(self.core(), Pace::Delay(delay), work)
    }

    /// Submits a task that may fail, and submits it anew when it does, as `retry` says. Waiting for the next attempt
    /// holds no worker.
    ///
    /// An attempt fails that returns an `Err`, panics, overruns its time limit or loses its worker. The outcome is
    /// the last attempt's. Cancelling the future cancels the attempt that is under way and all further ones.
    ///
    /// # Examples
    ///
    /// ```
    /// use raincheck::{Executor, Retry, ThreadPool};
    /// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
    ///
    /// let pool = ThreadPool::new(2);
    /// let attempts = Arc::new(AtomicU32::new(0));
    /// let flaky = move || match attempts.fetch_add(1, Ordering::Relaxed) {
    ///     0 | 1 => Err("not yet"),
    ///     attempt => Ok(attempt),
    /// };
    /// assert_eq!(pool.submit_retrying(Retry::times(5), flaky).result().unwrap(), Ok(2));
    /// ```
    fn submit_retrying<W, Kind, T, E>(&self, retry: Retry, work: W) -> TaskFuture<Result<T, E>>
    where
        W: Work<Self, Kind, Output = Result<T, E>> + Clone + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
        Self: Sized,
    {
        schedule::retrying(self.core(), retry, work, |work| work.clone().into_body())
    }

    /// The same as [`submit_retrying`](Self::submit_retrying) with a function that returns a future, such as an `async`
    /// closure's.
    fn submit_retrying_async<F, W, T, E>(&self, retry: Retry, function: F) -> TaskFuture<Result<T, E>>
    where
        F: Fn() -> W + Send + 'static,
        W: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
        Self: InProcess + Sized,
    {
        schedule::retrying(self.core(), retry, function, |function| AsyncBody::new(function()))
    }

    /// Stops taking tasks, and blocks until those that it has taken are done. A second call returns when the first
    /// does.
    fn shutdown(&self) {
        self.close();
        self.join(None);
    }

    /// The same as [`shutdown`](Self::shutdown), but blocks for at most `limit`. Returns whether all is done by then;
    /// if not, it goes on.
    fn shutdown_timeout(&self, limit: Duration) -> bool {
        self.close();
        self.join(Instant::now().checked_add(limit))
    }

    /// Stops taking tasks, and hands out those that have not started; dropping them cancels them. Those that run go
    /// on. Does not block.
    fn shutdown_now(&self) -> Vec<Task> {
        self.close();
        self.drain()
    }

    /// Returns a view of this executor, for which more is agreed about each task: who observes it, how long it may
    /// take, how much it matters, what it is called.
    fn with(&self, options: Options) -> With<'_, Self>
    where
        Self: Sized,
    {
        With { options: options.or(self.options()), executor: self }
    }

    /// Returns another handle to this executor, which does not keep it running: once the executor is shut down or
    /// dropped, it refuses what the handle submits.
    fn handle(&self) -> Handle<Self>
    where
        Self: Sized,
    {
        Handle { core: self.core(), of: PhantomData }
    }
}

/// An executor whose tasks run in this process, and share its memory: closures and futures can be submitted to it,
/// and tasks can borrow from the caller.
#[diagnostic::on_unimplemented(
    message = "a closure cannot be carried to where `{Self}` runs its tasks",
    label = "runs tasks outside this process",
    note = "make the closure a function, mark it `#[raincheck::task]`, and submit the call: `executor.submit(name::call(…))`"
)]
pub trait InProcess: Executor {}

/// A handle to an executor, made by [`Executor::handle`]: for callbacks, and for whatever else outlives a borrow.
pub struct Handle<E: ?Sized> {
    core: Arc<dyn Executor>,
    of: PhantomData<fn(&E)>,
}

/// An executor, with more agreed about each task; made by [`Executor::with`].
pub struct With<'e, E: ?Sized> {
    executor: &'e E,
    options: Options,
}

/// The same, without the borrow.
struct WithCore {
    executor: Arc<dyn Executor>,
    options: Options,
}

/// Passes what an executor is on to another one.
macro_rules! pass_on {
    ($this:ident => $executor:expr) => {
        fn execute(&$this, task: crate::task::Task) {
            $executor.execute(task);
        }

        fn workers(&$this) -> usize {
            $executor.workers()
        }

        fn close(&$this) {
            $executor.close();
        }

        fn drain(&$this) -> Vec<crate::task::Task> {
            $executor.drain()
        }

        fn join(&$this, deadline: Option<std::time::Instant>) -> bool {
            $executor.join(deadline)
        }

        fn home(&$this) -> crate::context::Home {
            $executor.home()
        }

        fn is_remote(&$this) -> bool {
            $executor.is_remote()
        }
    };
}

pub(crate) use pass_on;

/// The same for all that is behind a pointer.
macro_rules! pass_on_all {
    ($($pointer:ty),*) => {$(
        impl<E: Executor + ?Sized> Executor for $pointer {
            pass_on!(self => (**self));

            fn core(&self) -> Arc<dyn Executor> {
                (**self).core()
            }

            fn options(&self) -> Option<&Options> {
                (**self).options()
            }
        }

        impl<E: InProcess + ?Sized> InProcess for $pointer {}
    )*};
}

pass_on_all!(&E, Box<E>, Arc<E>);

impl<E: ?Sized> Executor for Handle<E> {
    pass_on!(self => self.core);

    fn core(&self) -> Arc<dyn Executor> {
        Arc::clone(&self.core)
    }

    fn options(&self) -> Option<&Options> {
        self.core.options()
    }
}

impl<E: InProcess + ?Sized> InProcess for Handle<E> {}

impl<E: ?Sized> Clone for Handle<E> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), of: PhantomData }
    }
}

impl<E: ?Sized> fmt::Debug for Handle<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("workers", &self.workers()).finish()
    }
}

impl<E: Executor + ?Sized> Executor for With<'_, E> {
    pass_on!(self => self.executor);

    fn core(&self) -> Arc<dyn Executor> {
        Arc::new(WithCore { executor: self.executor.core(), options: self.options.clone() })
    }

    fn options(&self) -> Option<&Options> {
        Some(&self.options)
    }
}

impl<E: InProcess + ?Sized> InProcess for With<'_, E> {}

impl<E: Executor + ?Sized> fmt::Debug for With<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("With").field("options", &self.options).finish()
    }
}

impl Executor for WithCore {
    pass_on!(self => self.executor);

    fn core(&self) -> Arc<dyn Executor> {
        Arc::new(Self { executor: Arc::clone(&self.executor), options: self.options.clone() })
    }

    fn options(&self) -> Option<&Options> {
        Some(&self.options)
    }
}
