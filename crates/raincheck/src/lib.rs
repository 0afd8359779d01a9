//! Submit work now, claim the result later: on this thread, on threads, on processes, or on an async runtime.
//!
//! An [`Executor`] takes work and hands out a [`TaskFuture`], which is a rain check: a value that is not there yet, to
//! be claimed when it is wanted. It is the model of Python's `concurrent.futures`, which has it from Java.
//!
//! ```
//! use raincheck::{Executor, ThreadPool};
//!
//! let pool = ThreadPool::new(4); // or `Inline::new()`, or `Tokio::new(4)`: just change that
//!
//! let answer = pool.submit(|| 6 * 7); // does not block
//! assert_eq!(answer.result()?, 42); // blocks; or `answer.await`
//! # Ok::<(), raincheck::TaskError>(())
//! ```
//!
//! # What there is
//!
//! | to … | there is |
//! |---|---|
//! | run work | [`Inline`], [`ThreadPool`], `Tokio`, `ProcessPool`; [`submit`] and [`for_each`] without any set-up |
//! | claim it | [`TaskFuture::result`], [`result_timeout`](TaskFuture::result_timeout), `.await`, [`on_done`](TaskFuture::on_done) |
//! | call it off | [`TaskFuture::cancel`]; in the task, [`cancelled()`] and [`checkpoint`] |
//! | say how far it is | [`progress()`] |
//! | go on with it | [`map`](TaskFuture::map), [`then`](TaskFuture::then), [`and_then`](TaskFuture::and_then), [`timeout`](TaskFuture::timeout), … |
//! | wait for many | [`wait`], [`as_completed`], [`CompletionQueue`], [`all`], [`any`], [`race`] |
//! | work on many inputs | [`Executor::map`], lazily and in bounded memory |
//! | borrow | [`Executor::scope`], [`Executor::for_each`] |
//! | agree on more | [`Executor::with`] and [`Options`]: priority, time limit, observer, label |
//! | do it later, or again | [`Executor::submit_after`], [`submit_at_fixed_rate`](Executor::submit_at_fixed_rate), [`submit_retrying`](Executor::submit_retrying) |
//! | name it and send it | `#[task]`, [`Call`]; many bytes as a [`Blob`] |
//! | write an executor, or bridge to something that calls back | [`Executor`], [`promise`] |
//!
//! # What is promised
//!
//! 1. Every future gets exactly one outcome, whatever happens to the worker or the executor; nobody waits for ever.
//! 2. Cancelled is done: it wakes every waiter, comes out of [`wait`] and [`as_completed`], and its closure is dropped at once.
//! 3. [`is_running`](TaskFuture::is_running) is true only between a worker's really starting the task and its outcome.
//! 4. [`cancel`](TaskFuture::cancel) says how far it got; see [`Cancel`].
//! 5. A time limit is the task's own, counted from its start.
//! 6. A panic inside a task costs that task and no other, and is an error that says what and where.
//! 7. [`map`](Executor::map) pulls its input lazily, keeps a bounded number under way, goes on after an error, and cancels the rest
//!    when it is dropped.
//! 8. Arguments and results are dropped as soon as they are no longer needed.
//! 9. Waiting inside a task deadlocks no executor, not even of one worker, and runs no unrelated task on the waiter's stack.
//! 10. Shutting down can wait, wait for so long, cancel what is queued, or hand it out.
//!
//! # Features
//!
//! - `task`, on by default: the attribute `#[task]`, and with it serde. Without it the crate has no dependency.
//! - `tokio`: the executor `Tokio`.
//! - `process`: the executor `ProcessPool`, on Unix; elsewhere it adds nothing.
//! - `fetch`: the module `fetch`, an HTTP client, and many downloads at once.

// For `#[task]`, which names this crate as others do.
#[cfg(feature = "fetch")]
extern crate self as raincheck;

#[cfg(feature = "task")]
mod blob;
#[cfg(any(test, not(raincheck_loom)))]
mod brief;
#[cfg(feature = "task")]
mod call;
#[cfg(all(feature = "process", unix))]
mod carry;
mod cell;
mod combine;
mod context;
mod counted;
mod drive;
mod each;
#[cfg(all(feature = "process", unix))]
mod ear;
mod error;
mod event;
mod executor;
#[cfg(feature = "fetch")]
pub mod fetch;
mod future;
mod inline;
mod map;
mod options;
mod panics;
mod pieces;
#[cfg(all(feature = "process", unix))]
mod process;
mod program;
mod promise;
mod queue;
mod schedule;
mod scope;
#[cfg(all(feature = "process", unix))]
mod segment;
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

#[cfg(feature = "tokio")]
pub use self::tokio::{Tokio, TokioBuilder};
#[cfg(feature = "task")]
pub use blob::Blob;
#[cfg(feature = "task")]
pub use call::{Call, Context, Input, Portable, TaskFunction, TaskOf};
#[cfg(all(feature = "process", unix))]
pub use carry::{Entry, PortableError, tasks};
pub use cell::Cancel;
pub use combine::{all, all_settled, any, race};
pub use context::{Home, blocking, cancelled, checkpoint, lane, progress, with_worker_state};
pub use error::{Death, Limit, Lost, Outcome, Panic, TaskError};
pub use event::{Ending, Event, Lane, Moment, Observer, TaskId};
pub use executor::{Executor, Handle, InProcess, With};
pub use future::TaskFuture;
pub use inline::Inline;
pub use map::{Function, Map, MapAsCompleted};
pub use options::Options;
#[cfg(all(feature = "process", unix, not(target_vendor = "apple")))]
pub use process::channel::{ChannelError, Receiver, Sender, channel};
#[cfg(all(feature = "process", unix))]
pub use process::{ProcessPool, ProcessPoolBuilder, serve_if_worker};
pub use program::{default_pool, for_each, map, scope, submit};
pub use promise::{Promise, Running, promise};
/// Makes a function a task: it stays a plain function, and its calls become values.
///
/// Beside the function, the attribute adds a type of the same name, with `name::call(…)`, which returns the [`Call`] with
/// these arguments, for [`Executor::submit`]; `name::task()`, for [`Executor::map`]; and `name::submit(…)`, which submits
/// the call to the program's own pool. A call runs on any executor, and can be written down and read back by serde.
///
/// The function may be `async`. It cannot be generic, a method, or unsafe. Its arguments must be [`Portable`]; `&str`,
/// `&[T]`, `&Path` and other references are kept owned, and a `&Context` is given by the worker. What it returns
/// must be `Send` and owned.
///
/// `#[raincheck::task(name = "…")]` gives it a name of its own; otherwise it is called by its path.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, ThreadPool};
///
/// #[raincheck::task(name = "words.letters")]
/// fn letters(word: &str) -> usize {
///     word.chars().filter(|c| c.is_alphabetic()).count()
/// }
///
/// let pool = ThreadPool::new(2);
/// assert_eq!(letters("rain check"), 9);
/// assert_eq!(pool.submit(letters::call("rain check")).result()?, 9);
/// # Ok::<(), raincheck::TaskError>(())
/// ```
#[cfg(feature = "task")]
pub use raincheck_macros::task;
pub use schedule::Retry;
pub use scope::{Scope, ScopedFuture};
pub use setup::Full;
pub use shared::Shared;
pub use task::{Task, Work, kind};
pub use thread::{ThreadPool, ThreadPoolBuilder};
pub use wait::{AsCompleted, Awaited, CompletionQueue, Until, Waited, as_completed, wait, wait_timeout};

/// What the code needs that `#[task]` adds.
#[cfg(feature = "task")]
#[doc(hidden)]
pub mod __private {
    pub use crate::call::Begun;
    #[cfg(all(feature = "process", unix))]
    pub use crate::carry::{ByError, ByNothing, BySerde, Carrier, Entry};
}

/// The ways in for `fuzz/`.
#[cfg(all(fuzzing, feature = "process", unix))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::process::check_frames;
}

/// How a task function's value is carried to another process, and the function found there.
#[cfg(all(feature = "process", unix))]
#[doc(hidden)]
#[macro_export]
macro_rules! __carried {
    ($task:ty, $output:ty) => {
        fn entry() -> &'static $crate::__private::Entry {
            static ENTRY: $crate::__private::Entry = $crate::__private::Entry::of::<$task>();
            &ENTRY
        }

        // The first of the three traits that holds for the type is found by the compiler, which looks through the
        // references one by one.
        fn write_output(
            output: Self::Output,
            to: &mut ::std::vec::Vec<u8>,
        ) -> ::std::result::Result<(), ::std::string::String> {
            #[allow(unused_imports)]
            use $crate::__private::{ByError as _, ByNothing as _, BySerde as _};
            (&&&$crate::__private::Carrier::<$output>::new()).write(output, to)
        }

        fn read_output(bytes: &[u8]) -> ::std::result::Result<Self::Output, ::std::string::String> {
            #[allow(unused_imports)]
            use $crate::__private::{ByError as _, ByNothing as _, BySerde as _};
            (&&&$crate::__private::Carrier::<$output>::new()).read(bytes)
        }
    };
}

#[cfg(not(all(feature = "process", unix)))]
#[doc(hidden)]
#[macro_export]
macro_rules! __carried {
    ($task:ty, $output:ty) => {};
}

/// Has a task function found by its name. Before `main`, and before the program can become a worker, which is the
/// reason for the number: those with one come first.
#[cfg(all(feature = "process", unix))]
#[doc(hidden)]
#[macro_export]
macro_rules! __registered {
    ($task:ty) => {
        const _: () = {
            extern "C" fn register() {
                <$task as $crate::TaskFunction>::entry().register();
            }

            #[used]
            #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array.00500"))]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
            static REGISTER: extern "C" fn() = register;
        };
    };
}

#[cfg(not(all(feature = "process", unix)))]
#[doc(hidden)]
#[macro_export]
macro_rules! __registered {
    ($task:ty) => {};
}

/// The README's Rust, as tests.
#[cfg(all(doctest, feature = "process"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
