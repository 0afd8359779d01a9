//! A pool of processes.
//!
//! Each worker is this program, started again, and has a socket of its own to the parent: no lock and no queue is
//! shared by processes, so that no death can hold up anyone else. One lock guards what the pool knows: the tasks that
//! wait, and which are with which worker. Whoever submits a task to an idle worker writes to its socket itself; one
//! thread listens to all sockets.
//!
//! A worker does its tasks one after the other, and answers each in that order. Some may wait in its socket, so that
//! it never idles between two; on a page of memory that both share (`process/page.rs`) either takes such a task for
//! itself: the worker to start it, the parent to cancel it or give it to another.

mod boot;
#[cfg(not(target_vendor = "apple"))]
pub(crate) mod channel;
mod dispatch;
mod fork;
mod hand;
mod kin;
mod life;
mod limits;
mod link;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod meter;
mod outlet;
mod page;
mod poller;
mod rest;
mod serve;
mod socket;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod stack;
mod wire;

use std::{
    ffi::{OsStr, OsString},
    fmt, io,
    sync::{Arc, Condvar, Mutex, Once, OnceLock, Weak},
    thread,
    time::Duration,
};

pub use self::serve::serve_if_worker;
#[cfg(fuzzing)]
pub use self::wire::check as check_frames;
use self::{
    dispatch::{Core, Lot},
    limits::Limits,
    poller::Poller,
    serve::Prepared,
};
use crate::{
    call::{Call, TaskFunction},
    carry,
    error::TaskError,
    executor::{Executor, pass_on},
    options::Options,
    panics,
    segment::Attached,
    setup::{Setup, setup_methods},
};

/// An executor whose workers are processes: what a task does there, also if it crashes, costs that task and no other.
///
/// Calls of `#[raincheck::task]` functions can be submitted to it, whose arguments and value are written down and read
/// back by serde; closures cannot. The workers are this same program, started again, which become workers before
/// `main`: nothing needs to be done for it in a binary, an example, a test or a benchmark.
///
/// A task that panics, aborts, exits or is killed ends as an error that says so, and its worker is replaced. A task
/// that is cancelled while it runs, or overruns its time limit, is killed, and all that its worker has started ends with
/// that. When this process ends, however it does, so do all workers and what they have started. On Linux that reaches
/// daemons, too, unless they have parted both with their parents and with their environment; elsewhere it does not reach
/// processes that have made themselves a group of their own. A worker that is no longer needed, and told to go, leaves
/// those running.
///
/// A worker has nothing on its standard input, and what a task asks for at the terminal is an error; its standard output is
/// this process's, and what it writes to stderr is passed on.
///
/// An `async` task is driven on its worker's thread, one at a time. With the feature `tokio` that is a runtime of one
/// thread, so that tokio's sockets, timers and `spawn` work in it; what it has spawned goes on while later ones are
/// driven.
///
/// Dropping the pool waits for all its tasks, those in the queue included; while unwinding from a panic it cancels
/// those in the queue instead, and does not wait. In a callback it does not wait either if that is called by a thread that
/// the pool needs; the tasks go on.
///
/// # Systems
///
/// It is made for Linux, where all of it is tested. For macOS, FreeBSD and NetBSD it is known to compile, and has not been
/// run. What is different there:
///
/// - Daemons are not found, as said above. Of a worker that ends while something it has started has its socket still,
///   the end is heard only when that ends, too. So it is if this process ends and one that it has forked does not.
/// - The workers are started from the path of this program; if another program is there by then, they are that one, and
///   refused if it speaks another version of the protocol. On Linux they are always this one.
/// - No `memory_ceiling`; and whether the system had no memory left when it killed a worker is not known, nor whether a
///   stack overflowed. On macOS [`memory_limit`](ProcessPoolBuilder::memory_limit) does nothing; on NetBSD there is no
///   `processor_time`.
/// - No `channel` on macOS, whose sockets do not keep messages apart. There a program that another thread starts in the
///   instant in which a descriptor comes in inherits it.
/// - Memory that a [`Blob`](crate::Blob) crosses in cannot be sealed against being made smaller by the other side, which
///   is this program too.
///
/// On Windows there is no such pool: the feature `process` adds nothing.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, ProcessPool};
///
/// #[raincheck::task]
/// fn area(width: u32, height: u32) -> u32 {
///     width * height
/// }
///
/// # fn main() -> Result<(), raincheck::TaskError> {
/// let pool = ProcessPool::new(2);
/// assert_eq!(pool.submit(area::call(6, 7)).result()?, 42);
/// # Ok(())
/// # }
/// ```
pub struct ProcessPool {
    core: Arc<Core>,
}

/// How a [`ProcessPool`] is to be; made by [`ProcessPool::builder`].
pub struct ProcessPoolBuilder {
    setup: Setup,
    program: Option<OsString>,
    initializer: Option<Result<Preparation, TaskError>>,
    worker_state: Option<Result<Preparation, TaskError>>,
    tasks_per_worker: usize,
    start: Duration,
    idle: Option<Duration>,
    grace: Option<Duration>,
    limits: Limits,
}

impl ProcessPool {
    /// A pool of so many processes.
    ///
    /// # Panics
    ///
    /// If `workers` is 0.
    pub fn new(workers: usize) -> Self {
        Self::builder().workers(workers).build()
    }

    /// A pool that is to be described further. Unless said, it has a process for each processor.
    pub fn builder() -> ProcessPoolBuilder {
        ProcessPoolBuilder {
            setup: Setup::new(),
            program: None,
            initializer: None,
            worker_state: None,
            tasks_per_worker: usize::MAX,
            start: FIRST_WORD,
            idle: None,
            grace: None,
            limits: Limits::default(),
        }
    }

    /// The processes that there are, by their numbers: for whoever watches them from outside.
    pub fn pids(&self) -> Vec<u32> {
        self.core.lot().hands.values().map(|hand| hand.link.pid).collect()
    }
}

impl ProcessPoolBuilder {
    setup_methods!();

    /// Has each worker make this call before its first task.
    ///
    /// If it fails, the executor is broken: its tasks end as
    /// [`TaskError::WorkerLost`](crate::TaskError::WorkerLost), and so do all that are submitted later. What it returns
    /// is dropped.
    #[must_use]
    pub fn initializer<F: TaskFunction>(mut self, call: Call<F>) -> Self {
        self.initializer = Some(prepared(call));
        self
    }

    /// Gives each worker a value of its own, which this call returns there, and its tasks reach by
    /// [`with_worker_state`](crate::with_worker_state). Made before the worker's first task; a failure does what one of
    /// the [`initializer`](Self::initializer) does. The value stays there, and need not be one that serde knows.
    #[must_use]
    pub fn worker_state<F: TaskFunction>(mut self, call: Call<F>) -> Self {
        self.worker_state = Some(prepared(call));
        self
    }

    /// Has another program be the workers. It is one of Rust that has the same tasks, of the same signatures.
    #[must_use]
    pub fn worker_program(mut self, path: impl Into<OsString>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Replaces each worker when it has done so many tasks, at least 1. What leaks in a task leaks no further.
    #[must_use]
    pub fn tasks_per_worker(mut self, tasks: usize) -> Self {
        self.tasks_per_worker = tasks.max(1);
        self
    }

    /// Gives a process that is started so long to say that it is a worker, which it does before `main`; what initializers
    /// take does not count. One that does not is killed, and the executor is broken if that goes on. Unless said, it has
    /// ten seconds.
    #[must_use]
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start = limit;
        self
    }

    /// Lets a worker go that has had nothing to do for so long. It is started anew when it is needed.
    #[must_use]
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }

    /// Gives a task that is cancelled, or overruns its time limit, so long to see [`cancelled`](crate::cancelled()) and
    /// return before it is killed. Unless said, it is killed at once.
    #[must_use]
    pub fn grace(mut self, time: Duration) -> Self {
        self.grace = Some(time);
        self
    }

    /// Gives each task so much processor time. A task that uses it up is ended with its worker, by SIGXCPU;
    /// [`Death::overran`](crate::Death::overran) says so. In a [`map`](Executor::map) each input has it.
    ///
    /// On Linux that is to a tick of the system's clock, some milliseconds; elsewhere it may be a second more. Each process
    /// that the task starts may use as much as its worker has so far, and the limit beside that, in whole seconds.
    ///
    /// # Panics
    ///
    /// If the limit is zero.
    #[cfg(not(target_os = "netbsd"))]
    #[must_use]
    pub fn processor_time(mut self, limit: Duration) -> Self {
        assert!(!limit.is_zero(), "a task needs some processor time");
        self.limits.processor_time = Some(limit.as_nanos().try_into().unwrap_or(u64::MAX));
        self
    }

    /// Gives each worker so many bytes of address space: what it maps counts, whether it is used or not. When it asks for
    /// more it gets none, which ends it as a rule; [`Death::overran`](crate::Death::overran) says so. The system must know
    /// `RLIMIT_AS`: Linux does, macOS ignores it.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.limits.memory = Some(bytes);
        self
    }

    /// Lets each worker have so many files open, a dozen of which it needs itself. One more is an error to the task that
    /// opens it.
    #[must_use]
    pub fn open_files(mut self, files: u64) -> Self {
        self.limits.open_files = Some(files);
        self
    }

    /// Replaces each worker that has more than so many bytes of memory to itself when a task is done. No task is lost by
    /// that.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[must_use]
    pub fn memory_ceiling(mut self, bytes: u64) -> Self {
        self.limits.ceiling = Some(bytes);
        self
    }

    /// Makes the pool. Its workers are started by the first tasks.
    pub fn build(self) -> ProcessPool {
        panics::note_places();
        let poller = Poller::new();
        let mut broken = None;
        if self.program.is_none() && !boot::works() {
            broken = Some(TaskError::worker_lost(
                "this program does not become a worker by itself on this system: call `raincheck::serve_if_worker()` \
                 first in `main`",
            ));
        }
        let mut attached = Vec::new();
        let mut prepare = |call: Option<Result<Preparation, TaskError>>| match call.transpose() {
            Ok(call) => call.map(|(call, segments)| {
                attached.extend(segments);
                call
            }),
            Err(error) => {
                broken = Some(error);
                None
            }
        };
        let (initializer, worker_state) = (prepare(self.initializer), prepare(self.worker_state));
        let poller = poller.unwrap_or_else(|error| panic!("the system provides no means to wait for sockets: {error}"));
        let core = Arc::new_cyclic(|this| Core {
            this: Weak::clone(this),
            setup: self.setup,
            program: self.program.unwrap_or_else(own_program),
            initializer,
            worker_state,
            attached,
            tasks_per_worker: self.tasks_per_worker,
            start: self.start,
            idle: self.idle,
            grace: self.grace,
            limits: self.limits,
            lot: Mutex::new(Lot { broken, ..Lot::default() }),
            room: Condvar::new(),
            ended: Condvar::new(),
            poller,
            listening: Once::new(),
            listener: OnceLock::new(),
        });
        ProcessPool { core }
    }
}

/// Writes down a call that every worker makes.
fn prepared<F: TaskFunction>(call: Call<F>) -> Result<Preparation, TaskError> {
    let written = carry::write_call::<F>(call.into_args())?;
    let entry = written.entry;
    let call = (entry.name().to_owned(), entry.signature().to_owned(), written.bytes.clone());
    Ok((call, written.attached()))
}

/// Such a call, and what goes with it.
type Preparation = (Prepared, Attached);

/// This program, also if its file has been replaced.
fn own_program() -> OsString {
    if cfg!(target_os = "linux") {
        return "/proc/self/exe".into();
    }
    std::env::current_exe().map_or_else(|_| OsStr::new("").into(), Into::into)
}

/// How long a process may take to say that it is a worker, unless it is given another time.
const FIRST_WORD: Duration = Duration::from_secs(10);

impl Executor for ProcessPool {
    pass_on!(self => self.core);

    fn core(&self) -> Arc<dyn Executor> {
        Arc::clone(&self.core) as _
    }

    fn options(&self) -> Option<&Options> {
        self.core.options()
    }
}

impl Drop for ProcessPool {
    fn drop(&mut self) {
        self.close();
        if thread::panicking() {
            drop(self.drain());
        } else {
            self.join(None);
        }
    }
}

impl fmt::Debug for ProcessPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lot = self.core.lot();
        f.debug_struct("ProcessPool")
            .field("name", &self.core.setup.name)
            .field("workers", &self.core.setup.workers)
            .field("processes", &lot.hands.len())
            .field("waiting", &lot.queue.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ProcessPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolBuilder")
            .field("workers", &self.setup.workers)
            .field("name", &self.setup.name)
            .field("queue", &self.setup.bound)
            .field("options", &self.setup.options)
            .finish_non_exhaustive()
    }
}

/// A number that is a frame's payload.
fn number(payload: &[u8]) -> io::Result<u64> {
    payload.first_chunk().map(|number| u64::from_le_bytes(*number)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
