//! The pool that every program has, so that a parallel loop and a single task need no set-up.

use std::sync::OnceLock;

use crate::{
    executor::Executor,
    future::TaskFuture,
    map::{Function, Map},
    scope::{self, Scope},
    task::Work,
    thread::ThreadPool,
};

/// The program's own pool: a thread for each processor, started by the first use, and never shut down.
///
/// What it still has to do when `main` returns is not done; wait for what matters.
pub fn default_pool() -> &'static ThreadPool {
    static POOL: OnceLock<ThreadPool> = OnceLock::new();
    POOL.get_or_init(|| ThreadPool::builder().build())
}

/// Submits a task to the program's own pool; see [`Executor::submit`].
///
/// # Examples
///
/// ```
/// let answer = raincheck::submit(|| 6 * 7);
/// assert_eq!(answer.result()?, 42);
/// # Ok::<(), raincheck::TaskError>(())
/// ```
pub fn submit<W, Kind>(work: W) -> TaskFuture<W::Output>
where
    W: Work<ThreadPool, Kind>,
{
    default_pool().submit(work)
}

/// Applies `function` to each input on the program's own pool; see [`Executor::map`].
pub fn map<F, I, Kind>(function: F, inputs: I) -> Map<'static, I::IntoIter, F::Output>
where
    I: IntoIterator,
    F: Function<ThreadPool, I::Item, Kind>,
{
    default_pool().map(function, inputs)
}

/// Runs tasks on the program's own pool that borrow from the caller; see [`Executor::scope`].
pub fn scope<'env, F, R>(work: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    scope::scope(default_pool(), work)
}

/// The parallel loop: calls `body` with each of the inputs, on the program's own pool; see [`Executor::for_each`].
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let sum = AtomicU64::new(0);
/// raincheck::for_each(1..=100, |n| {
///     sum.fetch_add(n, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 5050);
/// ```
pub fn for_each<I>(inputs: I, body: impl Fn(I::Item) + Sync)
where
    I: IntoIterator<IntoIter: Send>,
    I::Item: Send,
{
    default_pool().for_each(inputs, body);
}
