//! What can be agreed about a task beyond the default.

use std::{fmt, sync::Arc, time::Duration};

use crate::event::Observer;

/// What can be agreed about tasks beyond the default: who observes them, how long each may take, which go first, what
/// they are called.
///
/// Given to [`Executor::with`](crate::Executor::with), for the tasks submitted through what comes back.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, Options, ThreadPool};
/// use std::time::Duration;
///
/// let pool = ThreadPool::new(2);
/// let urgent = pool.with(Options::new().priority(9).time_limit(Duration::from_secs(2)));
/// assert_eq!(urgent.submit(|| 6 * 7).result().unwrap(), 42);
/// ```
#[derive(Clone, Default)]
pub struct Options {
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) priority: i32,
    pub(crate) label: Option<Arc<str>>,
}

impl Options {
    /// Nothing beyond the default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has every moment of every task told to `observer`.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Gives each task this long, counted from its own start.
    ///
    /// One that overruns ends as [`TaskError::TimedOut`](crate::TaskError::TimedOut) there and then. An async task is
    /// dropped at its next await. A task on a thread cannot be stopped from outside: it sees
    /// [`cancelled`](crate::cancelled()) and should return; until it does, a pool of threads runs one thread more, so
    /// that it stays as wide as it was.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Lets the task start before all that wait with a lower priority, and after those with a higher one. 0 unless
    /// said; equals start in the order of submission.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// What the tasks are called in their events.
    #[must_use]
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// These options, and where they say nothing those of `other`.
    pub(crate) fn or(self, other: Option<&Self>) -> Self {
        let Some(other) = other else { return self };
        Self {
            observer: self.observer.or_else(|| other.observer.clone()),
            time_limit: self.time_limit.or(other.time_limit),
            priority: if self.priority == 0 { other.priority } else { self.priority },
            label: self.label.or_else(|| other.label.clone()),
        }
    }

    /// Whether anything is said at all.
    pub(crate) fn are_default(&self) -> bool {
        self.observer.is_none() && self.time_limit.is_none() && self.priority == 0 && self.label.is_none()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("observed", &self.observer.is_some())
            .field("time_limit", &self.time_limit)
            .field("priority", &self.priority)
            .field("label", &self.label)
            .finish()
    }
}
