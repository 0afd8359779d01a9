//! Runs each task at once, on the thread that submits it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use crate::{
    error::TaskError,
    event::{Lane, Observer},
    executor::{Executor, InProcess},
    options::Options,
    panics,
    task::Task,
};

/// Runs each task at once, on the thread that submits it: no concurrency, and otherwise the same.
///
/// For debugging, for tests, and for a program that lets its user choose "one after the other". Every future that it
/// returns is done.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, Inline};
///
/// assert_eq!(Inline::new().submit(|| 6 * 7).result()?, 42);
/// # Ok::<(), raincheck::TaskError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inline {
    closed: Arc<AtomicBool>,
    options: Options,
}

impl Inline {
    /// An executor of no threads of its own.
    pub fn new() -> Self {
        panics::note_places();
        Self { closed: Arc::new(AtomicBool::new(false)), options: Options::new() }
    }

    /// Has every moment of every task told to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.options = self.options.observer(observer);
        self
    }

    /// Gives each task this long; see [`Options::time_limit`]. It sees [`cancelled`](crate::cancelled()) then; the
    /// caller has its future back when the task returns.
    #[must_use]
    pub fn time_limit(mut self, limit: std::time::Duration) -> Self {
        self.options = self.options.time_limit(limit);
        self
    }
}

impl Default for Inline {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor for Inline {
    fn execute(&self, task: Task) {
        if self.closed.load(Ordering::Relaxed) {
            task.refuse(TaskError::ShutDown);
        } else {
            task.run(Lane::new(0));
        }
    }

    fn workers(&self) -> usize {
        1
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn drain(&self) -> Vec<Task> {
        Vec::new()
    }

    fn join(&self, _deadline: Option<Instant>) -> bool {
        true
    }

    fn core(&self) -> Arc<dyn Executor> {
        Arc::new(self.clone())
    }

    fn options(&self) -> Option<&Options> {
        (!self.options.are_default()).then_some(&self.options)
    }
}

impl InProcess for Inline {}
