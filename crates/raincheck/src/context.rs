//! Where the running code is: inside which task, on which worker of which executor.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    mem,
    sync::Arc,
};

#[cfg(raincheck_loom)]
use crate::sync::{LocalCell as _, LocalRefCell as _};
use crate::{
    cell::Inside,
    counted::{Counted, View, lend},
    event::Lane,
    panics::Stop,
    sync::{Lasting, LocalKey, thread_local},
    trampoline,
};

thread_local! {
    static WORKER: RefCell<Lasting<Option<Worker>>> = const { RefCell::new(Lasting::new(None)) };
    static TASK: RefCell<Option<Around>> = const { RefCell::new(None) };
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static AWAITS: Cell<bool> = const { Cell::new(false) };
}

/// Which executor a task was submitted to.
///
/// A worker that waits for a task of its own executor, and finds that nobody has started it, runs it itself; this is
/// how it knows its own. An executor that wants that has one `Home`, made by [`Home::new`]; for any other
/// [`Home::NONE`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Home(u32);

/// A thread that runs tasks, as the tasks on it see it.
struct Worker {
    host: Arc<dyn Host>,
    lane: Lane,
    state: Option<State>,
}

/// The task that a thread is inside, which is there for as long as that lasts; so no copy of it is kept for longer.
pub(crate) type Around = View<'static, dyn Inside>;

/// What a worker keeps from task to task.
pub(crate) type State = Box<dyn Any + Send>;

/// An executor as its workers see it.
pub(crate) trait Host: Send + Sync {
    fn home(&self) -> Home;
    /// A worker is about to wait for something that another task may have to bring: let another one take its place.
    fn blocked(&self);
    /// It waits no longer.
    fn unblocked(&self);

    /// Calls `wait`, which keeps the thread from whatever else it does.
    fn stand_aside(&self, wait: &mut dyn FnMut()) {
        wait();
    }
}

impl Home {
    /// No executor: no worker runs the task while it waits for it.
    pub const NONE: Self = Self(0);

    /// A home unlike any other.
    #[expect(clippy::new_without_default, reason = "no two are equal, so none is the default")]
    pub fn new() -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        Self(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}

/// Whether the running task had better stop: someone has cancelled it, or its time is up.
///
/// Tasks that run for long ask now and then, and return early. `false` outside a task. Never blocks; costs a few
/// nanoseconds.
///
/// # Examples
///
/// ```
/// use raincheck::{Cancel, Executor, ThreadPool};
///
/// let pool = ThreadPool::new(1);
/// let (started, has_started) = std::sync::mpsc::channel();
/// let task = pool.submit(move || {
///     started.send(()).unwrap();
///     while !raincheck::cancelled() {
///         std::thread::yield_now();
///     }
///     "stopped when asked"
/// });
/// has_started.recv().unwrap();
/// assert_eq!(task.cancel(), Cancel::Requested);
/// assert_eq!(task.result().unwrap(), "stopped when asked");
/// ```
pub fn cancelled() -> bool {
    TASK.with_borrow(|task| task.as_ref().is_some_and(|task| task.flags().should_stop()))
}

/// Ends the running task here if it is [`cancelled()`]: it unwinds, and its outcome is
/// [`TaskError::Cancelled`](crate::TaskError::Cancelled). Does nothing outside a task.
///
/// Values on the stack are dropped as in a panic, but no panic is reported and no hook is called. In a program built
/// with `panic = "abort"` it aborts; ask [`cancelled()`] there and return.
pub fn checkpoint() {
    if cancelled() {
        std::panic::resume_unwind(Box::new(Stop));
    }
}

/// Tells whoever observes the running task how far it is, as [`Moment::Progress`](crate::Moment): so many bytes, lines
/// or whatever it counts, in all since it started.
///
/// Does nothing outside a task, or if nobody observes it. From another process not every call is passed on, but the
/// last one before the task ends always is.
///
/// # Examples
///
/// ```
/// use raincheck::{Event, Executor, Moment, Options, ThreadPool};
///
/// let (send, receive) = std::sync::mpsc::channel();
/// let pool = ThreadPool::new(1);
/// let observed = pool.with(Options::new().observer(move |event: &Event| drop(send.send(event.moment))));
/// observed.submit(|| raincheck::progress(42)).result().unwrap();
/// assert!(receive.try_iter().any(|moment| moment == Moment::Progress(42)));
/// ```
pub fn progress(done: u64) {
    if let Some(task) = task() {
        task.progress(done);
    }
}

/// The lane that the running task is on; `None` outside an executor's worker.
pub fn lane() -> Option<Lane> {
    WORKER.with_borrow(|worker| worker.as_ref().map(|worker| worker.lane))
}

/// Lends out this worker's own state, which the executor's `worker_state` option made when the worker started.
///
/// `None` if the calling thread is no such worker, or its state is of another type. The state cannot be lent twice at
/// a time: the inner of two nested calls gets `None`.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, ThreadPool, with_worker_state};
///
/// let pool = ThreadPool::builder().workers(1).worker_state(|_lane| Vec::<u8>::new()).build();
/// for byte in [1, 2, 3] {
///     pool.submit(move || with_worker_state(|seen: &mut Vec<u8>| seen.push(byte)));
/// }
/// let seen = pool.submit(|| with_worker_state(|seen: &mut Vec<u8>| seen.clone()));
/// assert_eq!(seen.result().unwrap(), Some(vec![1, 2, 3]));
/// ```
pub fn with_worker_state<S: 'static, R>(work: impl FnOnce(&mut S) -> R) -> Option<R> {
    let state = WORKER.with_borrow_mut(|worker| worker.as_mut()?.state.take())?;
    let mut lent = Lent(Some(state));
    lent.0.as_mut()?.downcast_mut::<S>().map(work)
}

/// A worker's state while a task has it. Goes back when dropped, so that a panic does not lose it.
struct Lent(Option<State>);

impl Drop for Lent {
    fn drop(&mut self) {
        WORKER.with_borrow_mut(|worker| {
            if let Some(worker) = &mut **worker {
                worker.state = self.0.take();
            }
        });
    }
}

/// Tells the executor that this thread is about to wait for something other than a future, such as a channel, so that
/// another worker can take its place meanwhile; then waits.
///
/// Waiting for a future does this by itself. Outside an executor's worker it only calls `wait`.
pub fn blocking<R>(wait: impl FnOnce() -> R) -> R {
    trampoline::drain();
    let Some(host) = host() else { return wait() };
    host.blocked();
    let blocked = Blocked(host);
    let (mut wait, mut result) = (Some(wait), None);
    blocked.0.stand_aside(&mut || result = wait.take().map(|wait| wait()));
    result.expect("whoever stands aside waits")
}

struct Blocked(Arc<dyn Host>);

impl Drop for Blocked {
    fn drop(&mut self) {
        self.0.unblocked();
    }
}

/// The executor whose worker this thread is.
pub(crate) fn host() -> Option<Arc<dyn Host>> {
    WORKER.with_borrow(|worker| worker.as_ref().map(|worker| Arc::clone(&worker.host)))
}

/// Whether this thread is a worker of the executor with this home.
pub(crate) fn is_at_home(home: Home) -> bool {
    home != Home::NONE && WORKER.with_borrow(|worker| worker.as_ref().is_some_and(|worker| worker.host.home() == home))
}

/// Whether this thread is a worker of any executor.
pub(crate) fn is_worker() -> bool {
    WORKER.with_borrow(|worker| worker.is_some())
}

/// Runs a task inside the one that waits for it; `None` if too many are inside one another already, since a thread's
/// stack is finite.
pub(crate) fn deeper<R>(work: impl FnOnce() -> R) -> Option<R> {
    const DEEP: usize = 64;
    struct Depth;
    impl Drop for Depth {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }

    let depth = DEPTH.get();
    if depth == DEEP {
        return None;
    }
    DEPTH.set(depth + 1);
    let _depth = Depth;
    Some(work())
}

/// Notes that what this thread polls awaits a future of ours, which another task may have to bring.
pub(crate) fn note_await() {
    AWAITS.set(true);
}

/// Whether that was noted since the last time this was asked.
pub(crate) fn take_await() -> bool {
    AWAITS.take()
}

/// Whether this thread is inside a task.
pub(crate) fn is_inside() -> bool {
    TASK.with_borrow(|task| task.is_some())
}

/// The task that this thread is inside.
pub(crate) fn task() -> Option<Counted<dyn Inside>> {
    TASK.with_borrow(|task| task.as_deref().cloned())
}

/// Calls `work` with the task that this thread is inside, without counting it.
pub(crate) fn with_task<R>(work: impl FnOnce(Option<&Counted<dyn Inside>>) -> R) -> R {
    // It is there for as long as this thread is inside it, which is for longer than this call.
    let around = TASK.with_borrow(Clone::clone);
    work(around.as_deref())
}

/// Calls `work` with this thread inside `task`; afterwards it is inside what it was before.
pub(crate) fn inside<R>(task: &Counted<dyn Inside>, work: impl FnOnce() -> R) -> R {
    within(&TASK, task, work)
}

/// Calls `work` with `task` in this place, where afterwards stands what stood there before.
#[expect(unsafe_code, reason = "what lives for ever is no place for what is lent")]
pub(crate) fn within<R>(
    place: &'static LocalKey<RefCell<Option<Around>>>,
    task: &Counted<dyn Inside>,
    work: impl FnOnce() -> R,
) -> R {
    struct Before(&'static LocalKey<RefCell<Option<Around>>>, Option<Around>);
    impl Drop for Before {
        fn drop(&mut self) {
            self.0.with_borrow_mut(|task| *task = self.1.take());
        }
    }
    let task = lend!(task => dyn Inside);
    // SAFETY: it is there as long as `work` runs, and then no longer, also if that panics.
    let task = unsafe { task.for_ever() };
    let _before = Before(place, place.with_borrow_mut(|around| around.replace(task)));
    work()
}

/// Makes this thread a worker, until the guard is dropped; then what it was before.
pub(crate) fn become_worker(host: Arc<dyn Host>, lane: Lane, state: Option<State>) -> AsWorker {
    AsWorker(replace_worker(Some(Worker { host, lane, state })))
}

pub(crate) struct AsWorker(Option<Worker>);

#[cfg(feature = "tokio")]
impl AsWorker {
    /// Ends it, and hands out the worker's state for the next one.
    pub(crate) fn leave(mut self) -> Option<State> {
        let worker = replace_worker(self.0.take());
        mem::forget(self);
        worker.and_then(|worker| worker.state)
    }
}

impl Drop for AsWorker {
    fn drop(&mut self) {
        drop(replace_worker(self.0.take()));
    }
}

fn replace_worker(next: Option<Worker>) -> Option<Worker> {
    WORKER.with_borrow_mut(|worker| mem::replace(&mut **worker, next))
}
