//! Tasks that borrow from the caller, which waits for them.
//!
//! Here, in `counted`, `pieces` and `brief` the core has unsafe code; here because an executor takes only what lives for ever,
//! and these tasks do not. They are done before what they borrow is gone, and that is what has to be made sure of.

#![expect(unsafe_code, reason = "an executor takes work for any time to come; that it is done in time is ensured here")]

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    marker::PhantomData,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process,
    time::Duration,
};

#[cfg(raincheck_loom)]
use crate::sync::LocalRefCell as _;
use crate::{
    cell::{Cancel, Claim, Inside},
    context::{self, Around},
    counted::{Counted, widen},
    error::Outcome,
    executor::InProcess,
    future::TaskFuture,
    sync::{self, AtomicUsize, Brief, Mutex, Ordering, Thread, lock, spin, thread_local},
    task::{self, ClosureBody},
    wait,
};

/// Where tasks are submitted that borrow from the caller; lent out by [`Executor::scope`](crate::Executor::scope).
pub struct Scope<'scope, 'env: 'scope> {
    submit: &'scope (dyn Fn(Job) -> TaskFuture<()> + Sync),
    /// Whether the scope's thread is a worker of the same executor, which may have to run the tasks itself.
    is_at_home: bool,
    tasks: Counted<Tasks>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// A value that a task in a scope has yet to hand in.
///
/// Dropping it lets the task run on; the scope waits for it all the same.
#[must_use = "a future that is dropped lets its task run on, but its outcome is lost"]
pub struct ScopedFuture<'scope, T> {
    done: TaskFuture<()>,
    value: Counted<dyn Hold<T> + 'scope>,
    scope: PhantomData<&'scope ()>,
}

/// The tasks of a scope.
struct Tasks {
    /// Twice the number of those that are not done, and one more if the scope's thread waits for them.
    latch: AtomicUsize,
    waiting: Mutex<Option<Thread>>,
    /// Those that nobody was seen to have started; kept only by a worker of the executor.
    own: Brief<OwnTasks>,
    /// Of the scope around this one, if that stands open inside the same task.
    outer: Option<Counted<Tasks>>,
}

const JOB: usize = 2;
const WAITING: usize = 1;

/// Work of more bytes has a box of its own, in which it is done: it would be moved about on the stack of who does it, where
/// tasks are inside one another.
const LARGE: usize = 128;

type OwnTask = Counted<dyn Claim<()>>;

/// Tasks in order. The last one has a place of its own, since many scopes have but one.
#[derive(Default)]
struct OwnTasks {
    others: VecDeque<OwnTask>,
    last: Option<OwnTask>,
}

/// What stands open inside a running task of a scope: the task does not end before it does.
///
/// So whoever waits for the task may run what that waits for. It waits for that as it is, so that no stranger's
/// task gets onto its stack.
#[derive(Default)]
pub(crate) struct Open {
    /// The innermost of the scopes that it has opened.
    scope: Brief<Option<Counted<Tasks>>>,
    /// Another scope's task that its thread runs while it waits: so it waits for what that has open, too.
    /// Not counted: it is taken out before it ends, and whoever else looks counts it before the lock is given back.
    inner: Brief<Option<Around>>,
}

thread_local! {
    /// The scope's task that this thread is inside, also if others are inside that.
    static INSIDE: RefCell<Option<Around>> = const { RefCell::new(None) };
}

/// Runs `work`, and returns when all tasks are done that it and they have submitted.
pub(crate) fn scope<'env, E, F, R>(executor: &'env E, work: F) -> R
where
    E: InProcess + ?Sized,
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let is_at_home = context::is_at_home(executor.home());
    let tasks = Tasks::open(is_at_home);
    let submit = |job: Job| task::submit_in_scope(executor, ClosureBody::new(move || job.run()));
    let scope = Scope { submit: &submit, is_at_home, tasks, scope: PhantomData, env: PhantomData };
    let result = catch_unwind(AssertUnwindSafe(|| work(&scope)));
    // Also when `work` has panicked: its tasks borrow what the unwinding would take away.
    let stay = Stay;
    scope.tasks.help();
    scope.tasks.wait();
    mem::forget(stay);
    scope.tasks.close(is_at_home);
    result.unwrap_or_else(|payload| resume_unwind(payload))
}

/// Nothing but the end of all tasks leads past this: should waiting for them panic, the program ends instead.
struct Stay;

impl Drop for Stay {
    fn drop(&mut self) {
        process::abort();
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Submits a task that may borrow whatever outlives the scope, and other tasks' futures. Does not block, unless
    /// the executor's queue is bounded and set to block when it is full.
    pub fn submit<F, T>(&'scope self, work: F) -> ScopedFuture<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        if mem::size_of::<F>() > LARGE {
            let work: Box<dyn FnOnce() -> T + Send + 'scope> = Box::new(work);
            return self.lend(work);
        }
        self.lend(work)
    }

    fn lend<F, T>(&'scope self, work: F) -> ScopedFuture<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let (work, value) = Counted::pair(Loan(Brief::new(Stage::Work(work))));
        let work = widen!(work => dyn Perform + 'scope);
        // SAFETY: only the lifetime changes. The job gives up the work, and what it has of its value, before its `Done` is
        // dropped, and this scope does not end before that: `scope` waits on the latch in every case, and `Stay` lets
        // nothing past.
        let work = unsafe { mem::transmute::<Counted<dyn Perform + 'scope>, Counted<dyn Perform + 'static>>(work) };
        let done = (self.submit)(Job { work, _done: Done::open(&self.tasks) });
        if self.is_at_home {
            self.tasks.own.lock().push_back(done.cell().clone());
        }
        ScopedFuture { done, value: widen!(value => dyn Hold<T> + 'scope), scope: PhantomData }
    }
}

impl Tasks {
    /// The tasks of a scope that begins.
    fn open(is_at_home: bool) -> Counted<Self> {
        let new = |outer| {
            Counted::new(Self { latch: AtomicUsize::new(0), waiting: Mutex::default(), own: Brief::default(), outer })
        };
        let opened = look_inside(is_at_home, |open| {
            let mut innermost = open.scope.lock();
            let tasks = new(innermost.take());
            *innermost = Some(tasks.clone());
            tasks
        });
        opened.unwrap_or_else(|| new(None))
    }

    /// Ends the scope, all of whose tasks are done.
    fn close(&self, is_at_home: bool) {
        look_inside(is_at_home, |open| mem::replace(&mut *open.scope.lock(), self.outer.clone()));
    }

    /// Runs here what nobody has started, if this is one of the executor's own workers, and then what keeps those
    /// who have started the rest.
    fn help(&self) {
        let mut started = Vec::new();
        // One at a time, since each may submit more.
        while let Some(task) = { self.own.lock().pop_back() } {
            if !task.flags().is_done() && !wait::help(&task) && !task.flags().is_done() {
                started.push(task);
            }
        }
        started.iter().for_each(help_inside);
    }

    fn wait(&self) {
        if spin(|| self.latch.load(Ordering::Acquire) == 0) {
            return;
        }
        context::blocking(|| {
            *lock(&self.waiting) = Some(sync::current());
            // Whoever ends the last job from here on sees that someone waits.
            self.latch.fetch_or(WAITING, Ordering::AcqRel);
            while self.latch.load(Ordering::Acquire) != WAITING {
                sync::park();
            }
        });
    }
}

impl OwnTasks {
    fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    fn push_back(&mut self, task: OwnTask) {
        self.others.extend(self.last.replace(task));
    }

    fn pop_back(&mut self) -> Option<OwnTask> {
        let next = self.others.pop_back();
        mem::replace(&mut self.last, next)
    }

    fn pop_front(&mut self) -> Option<OwnTask> {
        self.others.pop_front().or_else(|| self.last.take())
    }
}

/// Looks at what stands open inside the scope's task that this thread is inside, if its executor is the same.
fn look_inside<R>(is_at_home: bool, look: impl FnOnce(&Open) -> R) -> Option<R> {
    if !is_at_home {
        return None;
    }
    INSIDE.with_borrow(|task| task.as_ref().and_then(|task| task.open()).map(look))
}

/// If this thread may, runs here what the task has open, until it is done or nothing more is seen to be open.
fn help_inside(task: &OwnTask) {
    let Some(open) = task.open() else { return };
    let is_done = || task.flags().is_done();
    while context::is_at_home(task.home())
        && !is_done()
        && (open.help() || spin(|| is_done() || open.is_open()) && !is_done())
    {}
}

impl Open {
    /// Runs a task here that nobody has started, one of those that were there first: they tend to be the largest.
    /// Returns whether there was one.
    fn help(&self) -> bool {
        while let Some(task) = self.next() {
            if wait::help(&task) {
                return true;
            }
        }
        false
    }

    fn next(&self) -> Option<OwnTask> {
        self.outermost().and_then(|tasks| tasks.own.lock().pop_front())
    }

    /// Whether there may be something to run.
    fn is_open(&self) -> bool {
        self.outermost().is_some()
    }

    /// The outermost of the scopes that have something left.
    fn outermost(&self) -> Option<Counted<Tasks>> {
        let (mut scope, mut found) = (self.scope.lock().clone(), None);
        while let Some(tasks) = scope {
            scope = tasks.outer.clone();
            if !tasks.own.lock().is_empty() {
                found = Some(tasks);
            }
        }
        found.or_else(|| {
            let inner = self.inner.lock().as_deref().cloned();
            inner?.open()?.outermost()
        })
    }
}

impl<T> ScopedFuture<'_, T> {
    /// Returns the task's value, or why there is none. Blocks until the task is done, as
    /// [`TaskFuture::result`] does.
    pub fn result(self) -> Outcome<T> {
        self.help();
        self.done.result()?;
        Ok(self.value.take().expect("a task that has returned has left its value"))
    }

    /// Blocks until the task is done.
    pub fn wait(&self) {
        self.help();
        self.done.wait();
    }

    /// Runs the task here if nobody has started it, or else what it waits for itself.
    fn help(&self) {
        if !wait::help(self.done.cell()) {
            help_inside(self.done.cell());
        }
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
    work: Counted<dyn Perform>,
    _done: Done,
}

impl Job {
    fn run(self) {
        context::with_task(|task| inside(task.expect("a job is run inside its task"), || self.work.perform()));
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.work.give_up();
    }
}

/// What a task does, and then its value, both of which may borrow.
struct Loan<F, T>(Brief<Stage<F, T>>);

enum Stage<F, T> {
    /// Left when it is performed or given up.
    Work(F),
    /// Left when the caller takes it.
    Value(T),
    Nothing,
}

/// A loan as the job sees it.
trait Perform: Send + Sync {
    /// Does the work, and leaves its value.
    fn perform(&self);
    /// Drops the work if it was not done.
    fn give_up(&self);
}

/// A loan as the caller sees it.
trait Hold<T>: Send + Sync {
    fn take(&self) -> Option<T>;
}

impl<F, T> Loan<F, T> {
    fn take_work(&self) -> Option<F> {
        let mut stage = self.0.lock();
        match *stage {
            Stage::Work(_) => match mem::replace(&mut *stage, Stage::Nothing) {
                Stage::Work(work) => Some(work),
                _ => unreachable!("the stage was just seen to be work"),
            },
            Stage::Value(_) | Stage::Nothing => None,
        }
    }
}

impl<F: FnOnce() -> T + Send, T: Send> Perform for Loan<F, T> {
    fn perform(&self) {
        let work = self.take_work().expect("a job is run once");
        let value = work();
        *self.0.lock() = Stage::Value(value);
    }

    fn give_up(&self) {
        drop(self.take_work());
    }
}

impl<F: Send, T: Send> Hold<T> for Loan<F, T> {
    fn take(&self) -> Option<T> {
        match mem::replace(&mut *self.0.lock(), Stage::Nothing) {
            Stage::Value(value) => Some(value),
            Stage::Work(_) | Stage::Nothing => None,
        }
    }
}

/// Calls `work` with this thread inside a scope's task, which is seen by whoever waits for the one around it.
fn inside<R>(task: &Counted<dyn Inside>, work: impl FnOnce() -> R) -> R {
    struct Seen(Option<Around>);
    impl Seen {
        fn see(&self, task: Option<Around>) {
            if let Some(open) = self.0.as_ref().and_then(|outer| outer.open()) {
                *open.inner.lock() = task;
            }
        }
    }
    impl Drop for Seen {
        fn drop(&mut self) {
            self.see(None);
        }
    }

    let outer = INSIDE.with_borrow(Clone::clone);
    context::within(&INSIDE, task, || {
        let seen = Seen(outer);
        seen.see(INSIDE.with_borrow(Clone::clone));
        work()
    })
}

/// Says, when it is dropped, that nothing is left of a job that borrows.
struct Done(Counted<Tasks>);

impl Done {
    fn open(tasks: &Counted<Tasks>) -> Self {
        tasks.latch.fetch_add(JOB, Ordering::Relaxed);
        Self(tasks.clone())
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        // What the job has done comes before whatever follows the scope.
        if self.0.latch.fetch_sub(JOB, Ordering::AcqRel) == JOB | WAITING
            && let Some(thread) = { lock(&self.0.waiting).take() }
        {
            thread.unpark();
        }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("outstanding", &(self.tasks.latch.load(Ordering::Relaxed) / JOB)).finish()
    }
}

impl<T> fmt::Debug for ScopedFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedFuture").field("is_done", &self.is_done()).finish()
    }
}
