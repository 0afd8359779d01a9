//! Tasks that borrow from the caller, which waits for them.
//!
//! This is the one place with unsafe code: an executor takes only what lives for ever, and these tasks do not. They
//! are done before what they borrow is gone, and that is what has to be made sure of here.

#![expect(unsafe_code, reason = "an executor takes work for any time to come; that it is done in time is ensured here")]

use std::{
    fmt,
    marker::PhantomData,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Duration,
};

use crate::{
    cell::{Cancel, Claim},
    context,
    error::Outcome,
    executor::InProcess,
    future::TaskFuture,
    sync::{self, Mutex, Thread, lock, spin},
    task::{self, ClosureBody},
    wait,
};

/// Where tasks are submitted that borrow from the caller; lent out by [`Executor::scope`](crate::Executor::scope).
pub struct Scope<'scope, 'env: 'scope> {
    submit: &'scope (dyn Fn(Job) -> TaskFuture<()> + Sync),
    /// Whether the scope's thread is a worker of the same executor, which may have to run the tasks itself.
    is_at_home: bool,
    own: Mutex<Vec<Arc<dyn Claim<()>>>>,
    latch: Arc<Latch>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// A value that a task in a scope has yet to hand in.
///
/// Dropping it lets the task run on; the scope waits for it all the same.
#[must_use = "a future that is dropped lets its task run on, but its outcome is lost"]
pub struct ScopedFuture<'scope, T> {
    done: TaskFuture<()>,
    value: Arc<Mutex<Option<T>>>,
    scope: PhantomData<&'scope ()>,
}

/// Runs `work`, and returns when all tasks are done that it and they have submitted.
pub(crate) fn scope<'env, E, F, R>(executor: &'env E, work: F) -> R
where
    E: InProcess + ?Sized,
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let latch = Arc::new(Latch(Mutex::new(Open { jobs: 0, waiting: None })));
    let submit = |job: Job| task::submit(executor, ClosureBody::new(move || job.run()));
    let scope = Scope {
        submit: &submit,
        is_at_home: context::is_at_home(executor.home()),
        own: Mutex::new(Vec::new()),
        latch: Arc::clone(&latch),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| work(&scope)));
    // Also when `work` has panicked: its tasks borrow what the unwinding would take away.
    scope.help();
    latch.wait();
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

impl<'scope> Scope<'scope, '_> {
    /// Submits a task that may borrow whatever outlives the scope, and other tasks' futures. Does not block, unless
    /// the executor's queue is bounded and set to block when it is full.
    pub fn submit<F, T>(&'scope self, work: F) -> ScopedFuture<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let value = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&value);
        let work: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || {
            let value = work();
            *lock(&keep) = Some(value);
        });
        // SAFETY: only the lifetime changes. The box is dropped, called or not, before the job's `Done` is, and this
        // scope does not end before that: `scope` waits on the latch in every case, and cannot be left otherwise.
        let work =
            unsafe { mem::transmute::<Box<dyn FnOnce() + Send + 'scope>, Box<dyn FnOnce() + Send + 'static>>(work) };
        let done = (self.submit)(Job { work, done: Done::open(&self.latch) });
        if self.is_at_home {
            lock(&self.own).push(Arc::clone(done.cell()));
        }
        ScopedFuture { done, value, scope: PhantomData }
    }

    /// Runs here what nobody has started, if this is one of the executor's own workers.
    fn help(&self) {
        // One at a time, since each may submit more.
        while let Some(task) = { lock(&self.own).pop() } {
            wait::help(&task);
        }
    }
}

impl<T> ScopedFuture<'_, T> {
    /// Returns the task's value, or why there is none. Blocks until the task is done, as
    /// [`TaskFuture::result`] does.
    pub fn result(self) -> Outcome<T> {
        self.done.result()?;
        Ok(lock(&self.value).take().expect("a task that has returned has left its value"))
    }

    /// Blocks until the task is done.
    pub fn wait(&self) {
        self.done.wait();
    }

    /// Blocks until the task is done, or `limit` has passed. Returns whether it is done.
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        self.done.wait_timeout(limit)
    }

    /// Whether the task has its outcome. Never blocks.
    pub fn is_done(&self) -> bool {
        self.done.is_done()
    }

    /// Cancels the task as far as that can be done; see [`TaskFuture::cancel`].
    pub fn cancel(&self) -> Cancel {
        self.done.cancel()
    }
}

/// A task's work, and the word that it is done; dropped in this order.
struct Job {
    work: Box<dyn FnOnce() + Send>,
    done: Done,
}

impl Job {
    fn run(self) {
        let Self { work, done } = self;
        // Dropped last, also if the work panics.
        let _done = done;
        work();
    }
}

/// Says, when it is dropped, that nothing is left of a job that borrows.
struct Done(Arc<Latch>);

impl Done {
    fn open(latch: &Arc<Latch>) -> Self {
        lock(&latch.0).jobs += 1;
        Self(Arc::clone(latch))
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        let mut open = lock(&self.0.0);
        open.jobs -= 1;
        let waiting = if open.jobs == 0 { open.waiting.take() } else { None };
        drop(open);
        if let Some(thread) = waiting {
            thread.unpark();
        }
    }
}

/// How many jobs are not done, and the scope's thread if it waits for them.
struct Latch(Mutex<Open>);

struct Open {
    jobs: usize,
    waiting: Option<Thread>,
}

impl Latch {
    fn wait(&self) {
        if spin(|| lock(&self.0).jobs == 0) {
            return;
        }
        context::blocking(|| {
            loop {
                let mut open = lock(&self.0);
                if open.jobs == 0 {
                    return;
                }
                open.waiting = Some(sync::current());
                drop(open);
                sync::park();
            }
        });
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("outstanding", &lock(&self.latch.0).jobs).finish()
    }
}

impl<T> fmt::Debug for ScopedFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedFuture").field("is_done", &self.is_done()).finish()
    }
}
