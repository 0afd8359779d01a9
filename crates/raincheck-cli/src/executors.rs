//! What `--executor` means: the only place that knows every executor.

use std::num::NonZeroUsize;

use raincheck::{InProcess, Inline, ThreadPool, Tokio};

use crate::args::ExecutorName;
use crate::error::Error;
use crate::report::figures;

/// The executor that the user chose.
pub(crate) type Chosen = Box<dyn InProcess>;

/// Makes the executor of this name, that runs so many jobs at once; `inline` runs one, whatever is asked.
///
/// # Errors
///
/// If the system cannot provide it.
pub(crate) fn make(name: ExecutorName, jobs: NonZeroUsize) -> Result<Chosen, Error> {
    Ok(match name {
        ExecutorName::Inline => Box::new(Inline::new()),
        ExecutorName::Thread => Box::new(ThreadPool::builder().workers(jobs.get()).build()),
        ExecutorName::Tokio => {
            let tokio = Tokio::builder().workers(jobs.get()).build();
            Box::new(tokio.map_err(|error| Error::new("cannot start the `tokio` executor").because(error))?)
        }
    })
}

/// What the timeline calls a run on this executor.
pub(crate) fn style(executor: ExecutorName, jobs: NonZeroUsize) -> String {
    match executor {
        ExecutorName::Inline => "one by one".into(),
        ExecutorName::Thread => figures::count(jobs.get() as u64, "thread"),
        ExecutorName::Tokio => "tokio".into(),
    }
}
