//! Submit work now, redeem the result later.

#[cfg(feature = "task")]
mod call;
mod cell;
mod combine;
mod context;
mod drive;
mod each;
mod error;
mod event;
mod executor;
mod future;
mod inline;
mod map;
mod options;
mod panics;
mod program;
mod promise;
mod queue;
mod schedule;
mod scope;
mod setup;
mod shared;
mod sync;
mod task;
mod thread;
mod timer;
#[cfg(feature = "tokio")]
mod tokio;
mod trampoline;
mod wait;

#[cfg(feature = "task")]
pub use call::{Call, Context, Input, Portable, TaskFunction, TaskOf};
pub use cell::Cancel;
pub use combine::{all, all_settled, any, race};
pub use context::{Home, blocking, cancelled, checkpoint, lane, with_worker_state};
pub use error::{Lost, Outcome, Panic, TaskError};
pub use event::{Ending, Event, Lane, Moment, Observer, TaskId};
pub use executor::{Executor, Handle, InProcess, With};
pub use future::TaskFuture;
pub use inline::Inline;
pub use map::{Function, Map, MapAsCompleted};
pub use options::Options;
pub use program::{default_pool, for_each, map, scope, submit};
pub use promise::{Promise, Running, promise};
pub use schedule::Retry;
pub use scope::{Scope, ScopedFuture};
pub use shared::Shared;
pub use task::{Task, Work, kind};
pub use setup::Full;
pub use thread::{ThreadPool, ThreadPoolBuilder};
#[cfg(feature = "tokio")]
pub use self::tokio::{Tokio, TokioBuilder};
pub use wait::{AsCompleted, Awaited, CompletionQueue, Until, Waited, as_completed, wait, wait_timeout};
#[cfg(feature = "task")]
pub use raincheck_macros::task;

/// What the code needs that `#[task]` adds.
#[cfg(feature = "task")]
#[doc(hidden)]
pub mod __private {
    pub use crate::call::Begun;
}
