//! Why there is no value.

use std::{fmt, time::Duration};

/// How a task ended: its value, or why there is none.
pub type Outcome<T> = Result<T, TaskError>;

/// Why a task has no value.
///
/// An error that the task itself returns is not among these: it is part of the value, so that a task of type
/// `Result<T, E>` gives an `Outcome<Result<T, E>>`, claimed with two question marks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// The task panicked.
    Panicked(Box<Panic>),
    /// The task was cancelled before it had a value.
    Cancelled,
    /// The time that the task, or whoever waited for it, was given ran out.
    TimedOut {
        /// The time that was given.
        limit: Duration,
    },
    /// The worker ended, or could not start, and took the task with it.
    WorkerLost(Box<Lost>),
    /// The task could not be carried to where it would have run, or its value could not be carried back; why, and what
    /// to do about it.
    NotCarried(Box<String>),
    /// The executor's queue was full, and the executor was told to refuse work then.
    Refused,
    /// The executor was shut down before the task was handed to it.
    ShutDown,
    /// None of several tasks succeeded; why, in the order in which they were given.
    AllFailed(Box<Vec<TaskError>>),
}

/// A panic inside a task: what it said, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    message: String,
    place: Option<String>,
}

/// A worker that is gone: what is known of its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    reason: String,
    death: Option<Death>,
}

/// How a worker that was a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    pub(crate) pid: u32,
    pub(crate) task: Option<String>,
    pub(crate) ran: Option<Duration>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) signal_name: Option<&'static str>,
    pub(crate) overran: Option<Limit>,
    pub(crate) stderr: String,
}

/// What a worker that was a process had used up when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// The processor time that the task was given.
    ProcessorTime,
    /// The memory that the worker was given, or that there was: an allocation failed.
    Memory,
    /// The memory of the whole system, or of the group of processes that it was in: the system killed processes
    /// meanwhile, and most likely this one for that.
    SystemMemory,
}

impl TaskError {
    /// A task whose worker is gone for `reason`, which reads on after a colon: `"the promise was dropped"`.
    pub fn worker_lost(reason: impl Into<String>) -> Self {
        Self::WorkerLost(Box::new(Lost { reason: reason.into(), death: None }))
    }

    #[cfg(all(feature = "process", unix))]
    pub(crate) fn worker_died(death: Death) -> Self {
        Self::WorkerLost(Box::new(Lost { reason: death.to_string(), death: Some(death) }))
    }

    pub(crate) fn not_carried(why: impl Into<String>) -> Self {
        Self::NotCarried(Box::new(why.into()))
    }

    pub(crate) fn panicked(message: String, place: Option<String>) -> Self {
        Self::Panicked(Box::new(Panic { message, place }))
    }

    /// Whether this is [`TaskError::Cancelled`].
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Whether this is [`TaskError::TimedOut`].
    pub fn is_timed_out(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}

impl Panic {
    /// What the panic said; a payload that is no text is described as such.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it was raised, as `file:line:column`.
    ///
    /// `None` if the program has replaced the panic hook since its first executor was made, which is where places
    /// are noted, or if the panic was re-raised by [`std::panic::resume_unwind`].
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }
}

impl Lost {
    /// What is known of the worker's end.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// How the worker ended, if it was a process.
    pub fn death(&self) -> Option<&Death> {
        self.death.as_ref()
    }
}

impl Death {
    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name of the task that it was running, or could not start.
    pub fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// How long it had been running the task; `None` if it had not started it.
    pub fn ran(&self) -> Option<Duration> {
        self.ran
    }

    /// The code that it exited with; `None` if a signal ended it.
    pub fn exit_code(&self) -> Option<i32> {
        self.exit_code
    }

    /// The number of the signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.signal
    }

    /// The name of that signal, such as `SIGSEGV`.
    pub fn signal_name(&self) -> Option<&'static str> {
        self.signal_name
    }

    /// Which limit it ran into, as far as that can be known.
    pub fn overran(&self) -> Option<Limit> {
        self.overran
    }

    /// The last lines that it wrote to stderr.
    pub fn stderr(&self) -> &str {
        &self.stderr
    }
}

/// What the system calls a signal.
#[cfg(all(feature = "process", unix))]
pub(crate) fn signal_name(number: i32) -> Option<&'static str> {
    use rustix::process::Signal;
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::SYS, "SIGSYS"),
    ];
    names.into_iter().find(|(signal, _)| signal.as_raw() == number).map(|(_, name)| name)
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ", self.pid)?;
        match (self.exit_code, self.signal, self.signal_name) {
            (Some(code), ..) => write!(f, "exited with code {code}")?,
            (None, _, Some(name)) => write!(f, "was ended by {name}")?,
            (None, Some(signal), None) => write!(f, "was ended by signal {signal}")?,
            (None, None, None) => f.write_str("is gone")?,
        }
        if let Some(limit) = &self.overran {
            write!(f, " ({limit})")?;
        }
        match (&self.task, self.ran) {
            (Some(task), Some(ran)) => write!(f, " while it ran `{task}`, after {ran:.1?}")?,
            (Some(task), None) => write!(f, " before it could start `{task}`")?,
            (None, _) => {}
        }
        if !self.stderr.is_empty() {
            write!(f, "; its last lines on stderr:\n{}", self.stderr)?;
        }
        Ok(())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProcessorTime => "its processor time was used up",
            Self::Memory => "it ran out of memory",
            Self::SystemMemory => "the system ran out of memory",
        })
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => match &panic.place {
                Some(place) => write!(f, "task panicked at {place}: {}", panic.message),
                None => write!(f, "task panicked: {}", panic.message),
            },
            Self::Cancelled => f.write_str("task was cancelled"),
            Self::TimedOut { limit } => write!(f, "task timed out after {limit:?}"),
            Self::WorkerLost(lost) => write!(f, "task lost its worker: {}", lost.reason),
            Self::NotCarried(why) => write!(f, "task could not be carried to another process: {why}"),
            Self::Refused => f.write_str("task was refused: the queue is full"),
            Self::ShutDown => f.write_str("task was refused: the executor is shut down"),
            Self::AllFailed(errors) => match errors.first() {
                Some(first) => write!(f, "all {} tasks failed, the first: {first}", errors.len()),
                None => f.write_str("there was no task that could succeed"),
            },
        }
    }
}

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::AllFailed(errors) => errors.first().map(|first| first as _),
            _ => None,
        }
    }
}

impl From<TaskError> for std::io::Error {
    fn from(error: TaskError) -> Self {
        let kind = match &error {
            TaskError::TimedOut { .. } => std::io::ErrorKind::TimedOut,
            TaskError::Cancelled => std::io::ErrorKind::Interrupted,
            _ => std::io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
