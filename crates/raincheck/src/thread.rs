//! A pool of threads.
//!
//! One mutex guards the queue and the count of those who sleep; one condvar wakes them. Whoever changes anything that
//! another thread may wait for does so under the lock, so that no wake-up can fall between looking and sleeping. What
//! makes it fast is how seldom the lock is taken and how seldom anyone is woken:
//!
//! - A worker takes several tasks at once while many wait, and keeps them in a queue of its own. Queues of workers are
//!   filled only under the pool's lock, so a worker that finds them empty under that lock may sleep.
//! - One wake-up is under way at a time. Who is woken wakes the next, if there is still work for one.
//! - A worker that runs out of work looks a few microseconds longer before it sleeps; meanwhile nobody need be woken.
//!
//! A worker that waits inside a task gives up its place: it counts as blocked, and another thread works instead.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::{
    context::{self, Home, Host},
    error::TaskError,
    event::Lane,
    executor::{Executor, InProcess},
    options::Options,
    panics,
    queue::{Lanes, Queue},
    setup::{Full, Setup, setup_methods},
    sync::{
        AtomicBool, AtomicUsize, Condvar, JoinHandle, Mutex, MutexGuard, NOT_POISONED, Ordering, is_finished, lock, spawn,
        spin,
    },
    task::Task,
    timer,
};

/// An executor of a fixed number of threads, started as they are needed.
///
/// Tasks start in the order in which they are submitted, as far as several workers have an order.
///
/// A worker that waits inside a task, for a future of whichever executor, gives its place to another thread
/// meanwhile: the pool stays as wide as it is, and even a pool of one never waits for itself.
///
/// Dropping the pool waits for all its tasks, those in the queue included; while unwinding from a panic, or in one of
/// its own tasks, it cancels those in the queue instead, and does not wait.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, ThreadPool};
///
/// let pool = ThreadPool::new(2);
/// let lengths: Vec<_> = ["one", "three"].map(|word| pool.submit(move || word.len())).into();
/// for length in lengths {
///     assert!(length.result()? > 2);
/// }
/// # Ok::<(), raincheck::TaskError>(())
/// ```
pub struct ThreadPool {
    core: Arc<Core>,
}

/// How a [`ThreadPool`] is to be; made by [`ThreadPool::builder`].
pub struct ThreadPoolBuilder {
    setup: Setup,
    stack_size: Option<usize>,
}

impl ThreadPool {
    /// A pool of so many threads.
    ///
    /// # Panics
    ///
    /// If `workers` is 0.
    pub fn new(workers: usize) -> Self {
        Self::builder().workers(workers).build()
    }

    /// A pool that is to be described further. Unless said, it has a thread for each processor.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder { setup: Setup::new(), stack_size: None }
    }
}

impl ThreadPoolBuilder {
    setup_methods!();

    /// How much stack each thread has, in bytes. Unless said, what threads of the standard library have.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Makes the pool. Its threads are started by the first tasks.
    pub fn build(self) -> ThreadPool {
        panics::note_places();
        let own_queues = (0..self.setup.workers).map(|_| Mutex::default()).collect();
        let core = Arc::new_cyclic(|this| Core {
            this: Weak::clone(this),
            home: Home::new(),
            setup: self.setup,
            stack_size: self.stack_size,
            queued: AtomicUsize::new(0),
            urgent: AtomicBool::new(false),
            pool: Mutex::new(Pool::default()),
            work: Condvar::new(),
            room: Condvar::new(),
            ended: Condvar::new(),
            own_queues,
        });
        ThreadPool { core }
    }
}

/// What the pool's threads share.
struct Core {
    this: Weak<Self>,
    home: Home,
    setup: Setup,
    stack_size: Option<usize>,
    /// How many tasks are in the queue, for those who look without the lock.
    queued: AtomicUsize,
    /// Whether one of them goes before those that a worker has taken already.
    urgent: AtomicBool,
    pool: Mutex<Pool>,
    /// There is work for a thread that sleeps, or none will come any more.
    work: Condvar,
    /// There is room in a bounded queue.
    room: Condvar,
    /// The last thread has ended.
    ended: Condvar,
    /// Tasks that each worker has taken, and that the others may take from it when they have none.
    own_queues: Box<[Mutex<VecDeque<Task>>]>,
}

/// All that the lock guards.
#[derive(Default)]
struct Pool {
    queue: Queue,
    /// All threads that there are.
    threads: usize,
    /// Those that wait inside a task, and have given up their place.
    blocked: isize,
    /// Those that sleep until they are given a `wake`.
    sleeping: usize,
    /// Those that have run out of work, and look a little longer before they sleep.
    looking: usize,
    /// Those that have a task; kept only for a bounded queue, which must know.
    busy: usize,
    /// How many of those who slept are on their way. None of them sleeps any more, so far as `sleeping` goes.
    wakes: usize,
    /// Those who wait for room.
    submitters: usize,
    lanes: Lanes,
    handles: Vec<JoinHandle<()>>,
    closed: bool,
    /// Why there will never be a worker.
    broken: Option<TaskError>,
}

/// What has to be done, without the lock, so that work does not wait for nothing.
enum Need {
    Nothing,
    Wake,
    Start(usize),
}

/// How long a thread sleeps that is one more than the pool's workers, before it ends.
const SPARE_TIME: Duration = Duration::from_secs(5);

/// No worker takes more tasks at a time.
const LARGEST_BATCH: usize = 32;

impl Pool {
    /// How many threads have a place: they have a task, or are about to look for one.
    fn awake(&self) -> isize {
        (self.threads - self.sleeping) as isize - self.blocked
    }

    /// What has to be done about the work that is queued. Whoever asks does it.
    fn need(&mut self, workers: usize) -> Need {
        if self.queue.len() == 0 || self.looking > 0 || self.wakes > 0 || self.awake() >= workers as isize {
            Need::Nothing
        } else if self.sleeping > 0 {
            self.sleeping -= 1;
            self.wakes += 1;
            Need::Wake
        } else {
            self.threads += 1;
            Need::Start(self.lanes.take())
        }
    }

    /// Why the pool takes no task, if so.
    fn refusal(&self) -> Option<TaskError> {
        self.broken.clone().or_else(|| self.closed.then_some(TaskError::ShutDown))
    }
}

impl Core {
    /// Notes, for those who look without the lock, how much is queued.
    fn note(&self, pool: &Pool) {
        self.queued.store(pool.queue.len(), Ordering::Relaxed);
        self.urgent.store(pool.queue.has_urgent(), Ordering::Relaxed);
    }

    /// Does what has to be done. Takes the lock's guard, since the lock must not be held.
    fn meet(&self, need: Need, pool: MutexGuard<'_, Pool>) {
        drop(pool);
        match need {
            Need::Nothing => {}
            Need::Wake => self.work.notify_one(),
            Need::Start(lane) => self.start(lane),
        }
    }

    fn start(&self, lane: usize) {
        let Some(this) = self.this.upgrade() else { return };
        let name = format!("{}-{lane}", self.setup.name);
        match spawn(name, self.stack_size, move || this.work(lane)) {
            Ok(handle) => {
                let mut pool = lock(&self.pool);
                pool.handles.retain(|handle| !is_finished(handle));
                pool.handles.push(handle);
            }
            Err(error) => {
                let mut pool = lock(&self.pool);
                pool.threads -= 1;
                pool.lanes.give(lane);
                // Others will do the work, if there are any.
                if pool.threads == 0 {
                    drop(pool);
                    self.break_down(TaskError::worker_lost(format!("no thread could be started: {error}")));
                }
            }
        }
    }

    /// Ends all tasks that have not started, and those to come, since there will be no worker for them.
    fn break_down(&self, error: TaskError) {
        let tasks = {
            let mut pool = lock(&self.pool);
            pool.broken = Some(error.clone());
            self.take_all(&mut pool)
        };
        self.work.notify_all();
        self.room.notify_all();
        for task in tasks {
            task.refuse(error.clone());
        }
    }

    /// The life of a thread.
    fn work(self: Arc<Self>, lane: usize) {
        match self.setup.prepare_worker(Lane::new(lane)) {
            Ok(state) => {
                let _worker = context::become_worker(Arc::clone(&self) as _, Lane::new(lane), state);
                let mut busy = false;
                while let Some(task) = self.next(lane, mem::replace(&mut busy, true)) {
                    task.run(Lane::new(lane));
                }
            }
            Err(error) => self.break_down(error),
        }
        let mut pool = lock(&self.pool);
        pool.threads -= 1;
        pool.lanes.give(lane);
        let was_last = pool.threads == 0;
        drop(pool);
        if was_last {
            self.ended.notify_all();
        }
    }

    /// The next task for this worker. Sleeps until there is one; `None` when the thread is to end.
    fn next(&self, lane: usize, was_busy: bool) -> Option<Task> {
        if !self.urgent.load(Ordering::Relaxed)
            && let Some(task) = self.pop_own(lane)
        {
            return Some(task);
        }
        let mut has_looked = false;
        let mut pool = lock(&self.pool);
        pool.busy -= usize::from(was_busy && self.setup.bound.is_some());
        loop {
            let has_place = pool.awake() <= self.workers() as isize;
            if has_place && let Some(task) = self.take(&mut pool, lane) {
                pool.busy += usize::from(self.setup.bound.is_some());
                let need = pool.need(self.workers());
                self.meet(need, pool);
                return Some(task);
            }
            if pool.closed || pool.broken.is_some() {
                return None;
            }
            if has_place && !has_looked && pool.looking == 0 {
                pool.looking += 1;
                drop(pool);
                spin(|| self.queued.load(Ordering::Relaxed) > 0);
                has_looked = true;
                pool = lock(&self.pool);
                pool.looking -= 1;
            } else {
                pool = self.sleep(pool)?;
                has_looked = false;
            }
        }
    }

    /// Sleeps until this thread is needed; `None` when it is to end, as one more than the workers that was not.
    fn sleep<'a>(&self, mut pool: MutexGuard<'a, Pool>) -> Option<MutexGuard<'a, Pool>> {
        pool.sleeping += 1;
        let is_spare = pool.threads > self.workers();
        let until = Instant::now() + SPARE_TIME;
        loop {
            if pool.wakes > 0 {
                pool.wakes -= 1;
                return Some(pool);
            }
            if pool.closed || pool.broken.is_some() {
                pool.sleeping -= 1;
                return Some(pool);
            }
            if !is_spare {
                pool = self.work.wait(pool).expect(NOT_POISONED);
                continue;
            }
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                pool.sleeping -= 1;
                return None;
            }
            pool = self.work.wait_timeout(pool, rest).expect(NOT_POISONED).0;
        }
    }

    fn pop_own(&self, lane: usize) -> Option<Task> {
        lock(self.own_queues.get(lane)?).pop_front()
    }

    /// Takes a task: one that goes before all others, one of this worker's own, of the pool's, or of another worker's.
    fn take(&self, pool: &mut Pool, lane: usize) -> Option<Task> {
        let task = pool.queue.pop_urgent().or_else(|| self.pop_own(lane)).or_else(|| self.take_batch(pool, lane));
        let task = task.or_else(|| self.own_queues.iter().find_map(|queue| lock(queue).pop_front()));
        self.note(pool);
        if pool.submitters > 0 {
            self.room.notify_one();
        }
        task
    }

    /// Takes a task from the pool's queue, and while many wait some more for this worker's own.
    fn take_batch(&self, pool: &mut Pool, lane: usize) -> Option<Task> {
        let task = pool.queue.pop()?;
        // Few enough that no worker runs dry while another one has several.
        let batch = (pool.queue.plain_len() / (2 * self.setup.workers)).min(LARGEST_BATCH - 1);
        if batch > 0
            && self.setup.bound.is_none()
            && let Some(own) = self.own_queues.get(lane)
        {
            pool.queue.pop_plain(batch, &mut lock(own));
        }
        Some(task)
    }

    /// Takes all tasks that have not started, in the order in which they would have.
    fn take_all(&self, pool: &mut Pool) -> Vec<Task> {
        let mut tasks: Vec<Task> = self.own_queues.iter().flat_map(|queue| mem::take(&mut *lock(queue))).collect();
        tasks.extend(pool.queue.take_all());
        self.note(pool);
        tasks
    }

    /// Whether the queue is bounded, and has no room.
    fn is_full(&self, pool: &Pool) -> bool {
        self.setup.bound.is_some_and(|(bound, _)| {
            // What an idle worker is about to take does not wait.
            let running = usize::try_from(pool.busy as isize - pool.blocked).unwrap_or(0);
            pool.queue.len() >= bound + self.setup.workers.saturating_sub(running)
        })
    }

    /// Queues a task for which there is room, and sees to it that a worker comes.
    fn push(&self, mut pool: MutexGuard<'_, Pool>, task: Task) {
        if let Some(error) = pool.refusal() {
            drop(pool);
            return task.refuse(error);
        }
        pool.queue.push(task);
        self.note(&pool);
        let need = pool.need(self.workers());
        self.meet(need, pool);
    }

    /// Queues a task as soon as there is room.
    fn push_blocking(&self, task: Task) {
        let mut pool = lock(&self.pool);
        while self.is_full(&pool) && pool.refusal().is_none() {
            pool.submitters += 1;
            pool = self.room.wait(pool).expect(NOT_POISONED);
            pool.submitters -= 1;
        }
        self.push(pool, task);
    }

    /// Runs a task on the calling thread, which is none of the pool's.
    fn run_in_caller(&self, mut pool: MutexGuard<'_, Pool>, task: Task) {
        let lane = pool.lanes.take();
        drop(pool);
        task.run(Lane::new(lane));
        lock(&self.pool).lanes.give(lane);
    }
}

impl Executor for Core {
    fn execute(&self, task: Task) {
        let pool = lock(&self.pool);
        match self.setup.bound {
            Some((_, full)) if self.is_full(&pool) && pool.refusal().is_none() => match full {
                Full::Refuse => {
                    drop(pool);
                    task.refuse(TaskError::Refused);
                }
                Full::RunInCaller => self.run_in_caller(pool, task),
                Full::Block => {
                    drop(pool);
                    if timer::is_clock() {
                        timer::hand_over_elsewhere(self.core(), task);
                    } else {
                        context::blocking(|| self.push_blocking(task));
                    }
                }
            },
            _ => self.push(pool, task),
        }
    }

    fn workers(&self) -> usize {
        self.setup.workers
    }

    fn close(&self) {
        lock(&self.pool).closed = true;
        self.work.notify_all();
        self.room.notify_all();
        // There may be no thread that could say so.
        self.ended.notify_all();
    }

    fn drain(&self) -> Vec<Task> {
        let mut pool = lock(&self.pool);
        let tasks = self.take_all(&mut pool);
        drop(pool);
        self.room.notify_all();
        tasks
    }

    fn join(&self, deadline: Option<Instant>) -> bool {
        if context::is_at_home(self.home) {
            return false;
        }
        context::blocking(|| {
            let mut pool = lock(&self.pool);
            while !pool.closed || pool.threads > 0 {
                pool = match deadline {
                    None => self.ended.wait(pool).expect(NOT_POISONED),
                    Some(deadline) => {
                        let rest = deadline.saturating_duration_since(Instant::now());
                        if rest.is_zero() {
                            return false;
                        }
                        self.ended.wait_timeout(pool, rest).expect(NOT_POISONED).0
                    }
                };
            }
            // They are at their very end: this is so that they are gone when this returns.
            let handles = mem::take(&mut pool.handles);
            drop(pool);
            for handle in handles {
                handle.join().expect("a worker's thread does not panic");
            }
            true
        })
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
        let mut pool = lock(&self.pool);
        pool.blocked += 1;
        // Whoever blocks does not get to its own tasks.
        for queue in self.own_queues.iter().rev() {
            let own = mem::take(&mut *lock(queue));
            pool.queue.push_front(own);
        }
        self.note(&pool);
        let need = pool.need(self.workers());
        self.meet(need, pool);
    }

    fn unblocked(&self) {
        lock(&self.pool).blocked -= 1;
    }
}

impl Executor for ThreadPool {
    fn execute(&self, task: Task) {
        self.core.execute(task);
    }

    fn workers(&self) -> usize {
        self.core.workers()
    }

    fn close(&self) {
        self.core.close();
    }

    fn drain(&self) -> Vec<Task> {
        self.core.drain()
    }

    fn join(&self, deadline: Option<Instant>) -> bool {
        self.core.join(deadline)
    }

    fn core(&self) -> Arc<dyn Executor> {
        Arc::clone(&self.core) as _
    }

    fn home(&self) -> Home {
        self.core.home
    }

    fn options(&self) -> Option<&Options> {
        self.core.options()
    }
}

impl InProcess for ThreadPool {}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.close();
        if thread::panicking() || context::is_at_home(self.core.home) {
            drop(self.drain());
        } else {
            self.join(None);
        }
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = lock(&self.core.pool);
        f.debug_struct("ThreadPool")
            .field("name", &self.core.setup.name)
            .field("workers", &self.core.setup.workers)
            .field("threads", &pool.threads)
            .field("queued", &pool.queue.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("workers", &self.setup.workers)
            .field("name", &self.setup.name)
            .field("queue", &self.setup.bound)
            .field("options", &self.setup.options)
            .finish_non_exhaustive()
    }
}
