//! On a tokio runtime.
//!
//! A future is polled by the runtime, a closure runs on one of its blocking threads, and no more of both together are
//! under way than the executor has workers. Which of them a task is on is a lane: it is taken by the first task that
//! finds one free, goes on to the next task in the queue, and is given back when there is none.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    thread,
    time::Instant,
};

use tokio::runtime::{Builder, Handle as RuntimeHandle, Runtime, RuntimeFlavor};

use crate::{
    context::{self, Home, Host, State},
    error::TaskError,
    event::Lane,
    executor::{Executor, InProcess, pass_on},
    options::Options,
    panics,
    queue::{Lanes, Queue},
    setup::{Full, Setup, setup_methods, worker_methods},
    sync::wait_while,
    task::Task,
};

/// An executor on a [tokio](https://docs.rs/tokio) runtime: futures are polled, closures run on its blocking threads.
///
/// In a task, everything of tokio works: its sockets, timers and `spawn`. Cancelling a future that runs drops it at
/// its next await; so does a time limit. A closure sees [`cancelled`](crate::cancelled()), as on any thread.
///
/// Dropping an executor that has a runtime of its own waits for all its tasks, as dropping a
/// [`ThreadPool`](crate::ThreadPool) does. Dropping one on a runtime of the caller's does not wait; its tasks go on as
/// long as the runtime does.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, Tokio};
/// use std::time::Duration;
///
/// let executor = Tokio::new(100);
/// let naps: Vec<_> = (0..100)
///     .map(|n| executor.submit(async move { tokio::time::sleep(Duration::from_millis(10)).await; n }))
///     .collect();
/// for (n, nap) in naps.into_iter().enumerate() {
///     assert_eq!(nap.result()?, n);
/// }
/// # Ok::<(), raincheck::TaskError>(())
/// ```
pub struct Tokio {
    core: Arc<Core>,
    /// `None` on a runtime of the caller's.
    runtime: Option<Runtime>,
}

/// How a [`Tokio`] is to be; made by [`Tokio::builder`].
pub struct TokioBuilder {
    setup: Setup,
}

impl Tokio {
    /// An executor with a runtime of its own, that runs so many tasks at a time.
    ///
    /// # Panics
    ///
    /// If `workers` is 0, or if the system cannot provide a runtime.
    pub fn new(workers: usize) -> Self {
        Self::builder().workers(workers).build().expect("the system provides what a runtime needs")
    }

    /// An executor on the runtime that this is called in, that runs so many tasks at a time.
    ///
    /// # Panics
    ///
    /// If `workers` is 0, or outside a runtime.
    pub fn current(workers: usize) -> Self {
        Self::builder().workers(workers).build_on(RuntimeHandle::current())
    }

    /// An executor that is to be described further. Unless said, it runs as many tasks at a time as there are
    /// processors; where tasks mostly wait, that is few.
    pub fn builder() -> TokioBuilder {
        TokioBuilder { setup: Setup::new() }
    }
}

impl TokioBuilder {
    setup_methods!();
    worker_methods!();

    /// Makes the executor, with a runtime of its own.
    ///
    /// # Errors
    ///
    /// If the system cannot provide a runtime, with what it says.
    pub fn build(self) -> std::io::Result<Tokio> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(thread::available_parallelism().map_or(1, usize::from))
            // Each closure has a thread, and those that wait for one another have spare ones.
            .max_blocking_threads(self.setup.workers.saturating_add(512))
            .thread_name(&self.setup.name)
            .enable_all()
            .build()?;
        let mut executor = self.build_on(runtime.handle().clone());
        executor.runtime = Some(runtime);
        Ok(executor)
    }

    /// Makes the executor, on a runtime of the caller's.
    pub fn build_on(self, runtime: RuntimeHandle) -> Tokio {
        panics::note_places();
        let core = Arc::new_cyclic(|this| Core {
            this: Weak::clone(this),
            home: Home::new(),
            setup: self.setup,
            runtime,
            state: Mutex::default(),
            room: Condvar::new(),
            ended: Condvar::new(),
        });
        Tokio { core, runtime: None }
    }
}

struct Core {
    this: Weak<Self>,
    home: Home,
    setup: Setup,
    runtime: RuntimeHandle,
    state: Mutex<Lot>,
    /// There is room in a bounded queue.
    room: Condvar,
    /// The last lane was given back.
    ended: Condvar,
}

/// All that the lock guards.
#[derive(Default)]
struct Lot {
    queue: Queue,
    lanes: Lanes,
    /// Each lane's worker: whether it is prepared, and its state while no task has it.
    workers: Vec<Option<Option<State>>>,
    /// Lanes with a task, and of these those whose task waits and has given up its place.
    active: usize,
    blocked: isize,
    closed: bool,
    /// Why there will never be a worker.
    broken: Option<TaskError>,
}

impl Lot {
    fn has_place(&self, workers: usize) -> bool {
        (self.active as isize) - self.blocked < workers as isize
    }

    /// Why the executor takes no task, if so.
    fn refusal(&self) -> Option<TaskError> {
        self.broken.clone().or_else(|| self.closed.then_some(TaskError::ShutDown))
    }
}

/// A lane that has a task, or is about to get the next.
struct OnLane {
    core: Arc<Core>,
    lane: Lane,
    is_prepared: bool,
    state: Option<State>,
    /// Set while a task is on its way to a thread, or on it.
    task: Option<Task>,
    is_given_back: bool,
}

impl Core {
    fn lot(&self) -> MutexGuard<'_, Lot> {
        // No user code runs under this lock, and none of ours panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a task on a lane of its own. There is a place for it.
    fn launch(&self, mut lot: MutexGuard<'_, Lot>, task: Task) {
        let lane = lot.lanes.take();
        lot.active += 1;
        drop(lot);
        match self.this.upgrade() {
            Some(core) => OnLane {
                core,
                lane: Lane::new(lane),
                is_prepared: false,
                state: None,
                task: Some(task),
                is_given_back: false,
            }
            .launch(),
            None => task.refuse(TaskError::ShutDown),
        }
    }

    /// Queues a task, or launches it if there is a place. There is room for it.
    fn push(&self, mut lot: MutexGuard<'_, Lot>, task: Task) {
        if let Some(error) = lot.refusal() {
            drop(lot);
            return task.refuse(error);
        }
        if lot.has_place(self.setup.workers) {
            self.launch(lot, task);
        } else {
            lot.queue.push(task);
        }
    }

    fn is_full(&self, lot: &Lot) -> bool {
        self.setup.bound.is_some_and(|(bound, _)| !lot.has_place(self.setup.workers) && lot.queue.len() >= bound)
    }

    fn push_blocking(&self, task: Task) {
        let mut lot = self.lot();
        while self.is_full(&lot) && lot.refusal().is_none() {
            lot = self.room.wait(lot).unwrap_or_else(PoisonError::into_inner);
        }
        self.push(lot, task);
    }

    fn run_in_caller(&self, mut lot: MutexGuard<'_, Lot>, task: Task) {
        let lane = lot.lanes.take();
        drop(lot);
        task.run(Lane::new(lane));
        self.lot().lanes.give(lane);
    }

    /// Ends all tasks that have not started, and those to come.
    fn break_down(&self, error: TaskError) {
        let mut lot = self.lot();
        lot.broken = Some(error.clone());
        let tasks = lot.queue.take_all();
        drop(lot);
        self.room.notify_all();
        for task in tasks {
            task.refuse(error.clone());
        }
    }
}

impl OnLane {
    /// Has the task run where its kind is run, and then those that follow.
    fn launch(self) {
        let runtime = self.core.runtime.clone();
        // The runtime may be gone; then it drops what it is given, and `drop` sees to the task.
        if self.task.as_ref().is_some_and(Task::is_async) {
            runtime.spawn(self.poll());
        } else {
            runtime.spawn_blocking(|| self.run());
        }
    }

    /// Runs closures, as long as there are any.
    fn run(mut self) {
        if !self.prepare() {
            return;
        }
        while let Some(task) = self.task.take_if(|task| !task.is_async()) {
            let worker = context::become_worker(Arc::clone(&self.core) as _, self.lane, self.state.take());
            task.run(self.lane);
            self.state = worker.leave();
            self.next();
        }
        self.hand_on();
    }

    /// Polls futures, as long as there are any.
    async fn poll(mut self) {
        if !self.prepare() {
            return;
        }
        while let Some(task) = self.task.take_if(|task| task.is_async()) {
            let driven = Box::pin(task.drive(self.lane));
            Hosted { on_lane: &mut self, driven, has_place: true }.await;
            self.next();
        }
        self.hand_on();
    }

    /// Goes on with the other kind of task, if that is what comes next.
    fn hand_on(self) {
        if self.task.is_some() {
            self.launch();
        }
    }

    /// Takes the next task; gives the lane back if there is none, or no place for one.
    fn next(&mut self) {
        let core = Arc::clone(&self.core);
        let mut lot = core.lot();
        let is_over = lot.active as isize - lot.blocked > self.core.setup.workers as isize;
        self.task = if is_over { None } else { lot.queue.pop() };
        if self.task.is_none() {
            self.give_back(&mut lot);
        }
        drop(lot);
        core.room.notify_one();
    }

    fn give_back(&mut self, lot: &mut Lot) {
        let lane = self.lane.index();
        if lot.workers.len() <= lane {
            lot.workers.resize_with(lane + 1, || None);
        }
        lot.workers[lane] = self.is_prepared.then(|| self.state.take());
        lot.lanes.give(lane);
        lot.active -= 1;
        self.is_given_back = true;
        if lot.active == 0 {
            self.core.ended.notify_all();
        }
    }

    /// Makes this lane's worker ready, if it is not. `false` says that there can be none.
    fn prepare(&mut self) -> bool {
        if self.is_prepared {
            return true;
        }
        let prepared = self.core.lot().workers.get_mut(self.lane.index()).and_then(Option::take);
        match prepared.map_or_else(|| self.core.setup.prepare_worker(self.lane), Ok) {
            Ok(state) => {
                self.is_prepared = true;
                self.state = state;
                true
            }
            Err(error) => {
                if let Some(task) = self.task.take() {
                    task.refuse(error.clone());
                }
                self.core.break_down(error);
                false
            }
        }
    }
}

impl Drop for OnLane {
    fn drop(&mut self) {
        if self.is_given_back {
            return;
        }
        let core = Arc::clone(&self.core);
        self.give_back(&mut core.lot());
        if core.lot().broken.is_none() {
            // Only a runtime that is shut down drops what it was given.
            let error = TaskError::worker_lost("the tokio runtime is shut down");
            if let Some(task) = self.task.take() {
                task.refuse(error.clone());
            }
            core.break_down(error);
        }
    }
}

/// A task's future, for whose polls the thread is a worker of the executor.
struct Hosted<'a, F> {
    on_lane: &'a mut OnLane,
    driven: Pin<Box<F>>,
    /// Given up while the task awaits a future that another one may have to bring.
    has_place: bool,
}

impl<F: Future<Output = ()>> Future for Hosted<'_, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.take_place();
        context::take_await();
        let host = Arc::clone(&self.on_lane.core) as _;
        let state = self.on_lane.state.take();
        let worker = context::become_worker(host, self.on_lane.lane, state);
        let polled = self.driven.as_mut().poll(cx);
        self.on_lane.state = worker.leave();
        if polled.is_pending() && context::take_await() {
            self.has_place = false;
            self.on_lane.core.blocked();
        }
        polled
    }
}

impl<F> Hosted<'_, F> {
    fn take_place(&mut self) {
        if !mem::replace(&mut self.has_place, true) {
            self.on_lane.core.unblocked();
        }
    }
}

impl<F> Drop for Hosted<'_, F> {
    fn drop(&mut self) {
        self.take_place();
    }
}

impl Executor for Core {
    fn execute(&self, task: Task) {
        let lot = self.lot();
        match self.setup.bound {
            Some((_, full)) if self.is_full(&lot) && lot.refusal().is_none() => match full {
                Full::Refuse => {
                    drop(lot);
                    task.refuse(TaskError::Refused);
                }
                Full::RunInCaller => self.run_in_caller(lot, task),
                Full::Block => {
                    drop(lot);
                    context::blocking(|| self.push_blocking(task));
                }
            },
            _ => self.push(lot, task),
        }
    }

    fn workers(&self) -> usize {
        self.setup.workers
    }

    fn close(&self) {
        self.lot().closed = true;
        self.room.notify_all();
        self.ended.notify_all();
    }

    fn drain(&self) -> Vec<Task> {
        let tasks = self.lot().queue.take_all();
        self.room.notify_all();
        tasks
    }

    fn join(&self, deadline: Option<Instant>) -> bool {
        if context::is_at_home(self.home) {
            return false;
        }
        let goes_on = |lot: &Lot| !lot.closed || lot.active > 0;
        context::blocking(|| wait_while(&self.ended, self.lot(), deadline, goes_on).is_some())
    }

    fn core(&self) -> Arc<dyn Executor> {
        self.this.upgrade().expect("whoever calls this holds it")
    }

    fn home(&self) -> Home {
        self.home
    }

    fn options(&self) -> Option<&Options> {
        self.setup.options()
    }
}

impl Host for Core {
    fn home(&self) -> Home {
        self.home
    }

    fn blocked(&self) {
        let mut lot = self.lot();
        lot.blocked += 1;
        if lot.has_place(self.setup.workers)
            && let Some(task) = lot.queue.pop()
        {
            self.launch(lot, task);
        }
        // There is one task less in the queue, or a place for one that is not.
        self.room.notify_one();
    }

    fn unblocked(&self) {
        self.lot().blocked -= 1;
    }

    fn stand_aside(&self, wait: &mut dyn FnMut()) {
        match RuntimeHandle::try_current().map(|runtime| runtime.runtime_flavor()) {
            // The runtime's other futures go on elsewhere.
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
            _ => wait(),
        }
    }
}

impl Executor for Tokio {
    pass_on!(self => self.core);

    fn core(&self) -> Arc<dyn Executor> {
        Arc::clone(&self.core) as _
    }

    fn options(&self) -> Option<&Options> {
        self.core.options()
    }
}

impl InProcess for Tokio {}

impl Drop for Tokio {
    fn drop(&mut self) {
        self.close();
        let Some(runtime) = self.runtime.take() else { return };
        if thread::panicking() || context::is_at_home(self.core.home) {
            drop(self.drain());
        } else {
            self.join(None);
        }
        // Nothing of ours is left on it, and what else was spawned need not be waited for; also inside a runtime,
        // where that would panic.
        runtime.shutdown_background();
    }
}

impl fmt::Debug for Tokio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lot = self.core.lot();
        f.debug_struct("Tokio")
            .field("workers", &self.core.setup.workers)
            .field("active", &lot.active)
            .field("queued", &lot.queue.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TokioBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokioBuilder")
            .field("workers", &self.setup.workers)
            .field("name", &self.setup.name)
            .field("queue", &self.setup.bound)
            .field("options", &self.setup.options)
            .finish_non_exhaustive()
    }
}
