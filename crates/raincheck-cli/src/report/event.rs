//! What happens to jobs, as data.
//!
//! A command emits these through [`Report`](super::Report) and draws nothing. The progress line, the summary, the record
//! file and the timeline are four readers of the one stream, and none of them knows of another.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::label::Label;
use crate::error::reason;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// The jobs submitted from here on are run in this style, until the next one begins: a band of the timeline.
    Style { at: Duration, name: Arc<str> },
    /// It is now known how much there is to do in this style.
    Expected(Expected),
    /// Something happened to one job.
    Job { job: u64, at: Duration, moment: Moment },
}

/// How much there is to do, as far as that is known before it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Unknown while the input is still being read.
    pub(crate) jobs: Option<u64>,
    /// Known where the jobs are files that lie there; the time left is then told by bytes.
    pub(crate) bytes: Option<u64>,
}

/// What happens to one job, in this order.
///
/// A job that is tried again goes from `Retrying` back to `Started`, perhaps on another lane.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Moment {
    /// It is in the queue.
    Submitted { label: Label },
    /// A worker took it, and this is the row of the timeline it stands on.
    Started(usize),
    /// It has moved this many bytes so far, in this attempt.
    Progress { bytes: u64 },
    /// This attempt failed, counted from one, and another one follows after the wait.
    Retrying { attempt: u32, wait: Duration, reason: String },
    /// It has its outcome. Nothing more happens to it.
    Finished(Outcome),
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) bytes: u64,
    /// Why it is not done.
    pub(crate) detail: Option<String>,
    /// What the records tell beside, a value for each of the columns that the command has named.
    pub(crate) more: Option<Arc<[Value]>>,
}

impl Outcome {
    /// All went well.
    pub(crate) fn done(bytes: u64) -> Self {
        Self { status: Status::Done, bytes, detail: None, more: None }
    }

    /// It did not, and this is why.
    pub(crate) fn not_done(status: Status, detail: impl Display) -> Self {
        Self { status, bytes: 0, detail: Some(reason(&detail)), more: None }
    }
}

/// How a job ended, in one word. As a number it is its place in [`ALL`](Self::ALL).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Status {
    Done,
    /// The place was asked, and has no such thing.
    NotFound,
    Failed,
    TimedOut,
    /// It was stopped, or taken up and never begun, because the user or another job said so.
    Cancelled,
    /// Nobody took it up: it is none that could be, or the user had asked to stop.
    NotBegun,
}

impl Status {
    /// Every status, in the order in which they are listed to the user.
    pub(crate) const ALL: [Self; 6] =
        [Self::Done, Self::NotFound, Self::Failed, Self::TimedOut, Self::Cancelled, Self::NotBegun];

    /// The word for the eye.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotFound => "not found",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::NotBegun => "not begun",
        }
    }

    /// The word for programs: in records, JSON and style classes.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotFound => "not-found",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Cancelled => "cancelled",
            Self::NotBegun => "not-begun",
        }
    }
}
