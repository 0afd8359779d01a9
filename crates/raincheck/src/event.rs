//! The moments of a task's life, as data.
//!
//! An executor that was given an [`Observer`] tells it of each; one that was not pays nothing. Bars, reports and
//! timelines are readers of this one stream.

use std::{fmt, sync::Arc, time::Instant};

use crate::error::{Outcome, TaskError};

/// One moment of one task.
#[derive(Clone, Debug)]
pub struct Event {
    /// Whose moment it is.
    pub task: TaskId,
    /// What the caller named the task, if anything.
    pub label: Option<Arc<str>>,
    /// When it happened.
    pub at: Instant,
    /// What happened.
    pub moment: Moment,
}

/// What happens to a task, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Moment {
    /// The caller handed it over.
    Submitted,
    /// A worker took it. A task that is cancelled or refused first never has this moment.
    Started(Lane),
    /// It has said by [`progress`](crate::progress()) how far it is, in units of its own.
    Progress(u64),
    /// It has its outcome. Nothing more happens to it.
    Finished(Ending),
}

/// How a task ended, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// It returned a value; whether the value is an `Err` of its own is between the task and its caller.
    Returned,
    /// It panicked.
    Panicked,
    /// It was cancelled.
    Cancelled,
    /// It overran its time limit.
    TimedOut,
    /// Its worker was lost, or the executor refused it.
    Lost,
}

/// A task's number: unique in this process, in the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

/// Which worker of an executor runs a task: a small number, a row of a timeline.
///
/// No two tasks are on one lane at the same time, but for a task that waits and the task that it waits for, which
/// the waiting worker may run itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(u32);

/// Who is told of every moment of every task of an executor.
///
/// Called on the thread where the moment happens, and never two moments of one task at a time; moments of different
/// tasks come from many threads at once. Be quick: the task waits meanwhile. A panic in an observer is swallowed.
pub trait Observer: Send + Sync {
    /// Takes note of one moment.
    fn observe(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}

impl TaskId {
    pub(crate) fn next() -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Self(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    /// The number itself.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl Lane {
    /// The lane with this number.
    pub fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The number itself, counted from 0.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> From<&Outcome<T>> for Ending {
    fn from(outcome: &Outcome<T>) -> Self {
        match outcome {
            Ok(_) => Self::Returned,
            Err(TaskError::Panicked(_)) => Self::Panicked,
            Err(TaskError::Cancelled) => Self::Cancelled,
            Err(TaskError::TimedOut { .. }) => Self::TimedOut,
            Err(
                TaskError::WorkerLost(_)
                | TaskError::NotCarried(_)
                | TaskError::Refused
                | TaskError::ShutDown
                | TaskError::AllFailed(_),
            ) => Self::Lost,
        }
    }
}
