//! What `--executor` means: the only place that knows every executor.

use std::num::NonZeroUsize;

use raincheck::{Executor, InProcess, Inline, ProcessPool, ThreadPool, Tokio};

use crate::args::ExecutorName;
use crate::error::Error;
use crate::report::figures;

/// The executor that the user chose. It takes calls of tasks.
pub(crate) type Chosen = Box<dyn Executor>;

/// Makes the executor of this name, that runs so many jobs at once; `inline` runs one, whatever is asked.
///
/// # Errors
///
/// If the system cannot provide it.
pub(crate) fn make(name: ExecutorName, jobs: NonZeroUsize) -> Result<Chosen, Error> {
    match name {
        ExecutorName::Process => Ok(Box::new(ProcessPool::builder().workers(jobs.get()).build())),
        ExecutorName::Inline | ExecutorName::Thread | ExecutorName::Tokio => Ok(make_here(name, jobs)?),
    }
}

/// The same, for jobs that cannot leave this process.
///
/// # Errors
///
/// If the system cannot provide it, or its jobs would leave this process.
pub(crate) fn make_here(name: ExecutorName, jobs: NonZeroUsize) -> Result<Box<dyn InProcess>, Error> {
    Ok(match name {
        ExecutorName::Inline => Box::new(Inline::new()),
        ExecutorName::Thread => Box::new(ThreadPool::builder().workers(jobs.get()).build()),
        ExecutorName::Tokio => {
            let tokio = Tokio::builder().workers(jobs.get()).build();
            Box::new(tokio.map_err(|error| Error::new("cannot start the `tokio` executor").because(error))?)
        }
        ExecutorName::Process => {
            return Err(Error::usage("the jobs of this command cannot run on `process`")
                .hint("use `--executor thread`, `tokio` or `inline`"));
        }
    })
}

/// Why jobs that read standard input cannot be given to `process`.
pub(crate) fn stdin_stays_here() -> Error {
    Error::usage("another process cannot read the standard input of this one")
        .hint("leave `--executor process` out, or name files")
}

/// What the timeline calls a run on this executor.
pub(crate) fn style(executor: ExecutorName, jobs: NonZeroUsize) -> String {
    match executor {
        ExecutorName::Inline => "one by one".into(),
        ExecutorName::Thread => figures::count(jobs.get() as u64, "thread"),
        ExecutorName::Process => figures::count_of(jobs.get() as u64, "process", "processes"),
        ExecutorName::Tokio => "tokio".into(),
    }
}
