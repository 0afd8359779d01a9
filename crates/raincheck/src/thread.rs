//! A pool of threads.
//!
//! Two locks: one guards the tasks that wait, the other says what the threads do. Submitting takes the first alone,
//! and so does taking tasks; the second is for a thread that runs out of work, is woken, or waits inside a task. One
//! flag beside them, [`Core::wanted`], tells whoever has queued a task whether a thread should be called for it.
//!
//! No wake-up is lost, since whoever changes what the threads do sets the flag first and looks at the queue then, and
//! whoever queues a task reads the flag while it holds the queue: one of the two sees the other.
//!
//! What makes it fast is how seldom the locks are contended and how seldom anyone is woken:
//!
//! - A worker whose tasks are quick takes several at once while many wait, and keeps them in a queue of its own, from
//!   which the others take when they have none. Such a queue is filled only while its worker holds the pool's queue, so
//!   that one who looks at all of them, holding that, misses none. What a worker has taken and cannot come to goes back.
//! - One wake-up is under way at a time. Who is woken calls the next, if there is still work for one.
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
    executor::{Executor, InProcess, pass_on},
    options::Options,
    panics,
    queue::{Lanes, Queue},
    setup::{Full, Setup, setup_methods, worker_methods},
    sync::{
        self, Apart, AtomicBool, Brief, Condvar, JoinHandle, Mutex, MutexGuard, NOT_POISONED, Ordering, Thread,
        elapsed, is_finished, linger, lock, spawn, spin, wait_while,
    },
    task::Task,
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
    worker_methods!();

    /// How much stack each thread has, in bytes. Unless said, what threads of the standard library have.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Makes the pool. Its threads are started by the first tasks.
    pub fn build(self) -> ThreadPool {
        panics::note_places();
        let own_queues = (0..self.setup.workers.min(MOST_OWN_QUEUES)).map(|_| Apart::default()).collect();
        let core = Arc::new_cyclic(|this| Core {
            this: Weak::clone(this),
            home: Home::new(),
            setup: self.setup,
            stack_size: self.stack_size,
            waiting: Apart::default(),
            waits: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            own_queues,
            threads: Mutex::default(),
            wanted: AtomicBool::new(true),
            crowded: AtomicBool::new(false),
            room: Condvar::new(),
            ended: Condvar::new(),
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
    waiting: Apart<Brief<Waiting>>,
    /// Whether any task waits, for those who look without the lock.
    waits: AtomicBool,
    /// Whether one of them goes before those that a worker has taken already.
    urgent: AtomicBool,
    /// Tasks that each worker has taken, as far as it has such a queue.
    own_queues: Box<[OwnQueue]>,
    threads: Mutex<Threads>,
    /// Whether a thread should be called when there is work: a place is free, and nobody is on the way to it.
    wanted: AtomicBool,
    /// Whether there are more threads awake than places, so that one should step aside.
    crowded: AtomicBool,
    /// There is room in a bounded queue.
    room: Condvar,
    /// The last thread has ended.
    ended: Condvar,
}

/// Tasks that one worker has taken, and that the others take from it when they have none.
type OwnQueue = Apart<Brief<Own>>;

#[derive(Default)]
struct Own {
    tasks: VecDeque<Task>,
    /// Which time it was that tasks were taken from the pool's queue.
    taken_at: usize,
}

fn pop(own: &OwnQueue) -> Option<Task> {
    own.lock().tasks.pop_front()
}

/// The tasks that no worker has taken.
#[derive(Default)]
struct Waiting {
    queue: Queue,
    /// How often workers have taken some.
    takes: usize,
    closed: bool,
    /// Why there will never be a worker.
    broken: Option<TaskError>,
}

/// What the threads do.
#[derive(Default)]
struct Threads {
    /// All that there are.
    all: usize,
    /// Those that wait inside a task, and have given up their place.
    blocked: isize,
    /// Those that sleep, and have not been called. The last to fall asleep is called first: its caches are the warmest,
    /// and the few that are needed stay where they are, each on a processor of its own.
    asleep: Vec<Thread>,
    /// Those that have run out of work, and look a little longer before they sleep.
    looking: usize,
    /// Those that take no more work and are about to end.
    leaving: usize,
    /// Those that have a task; kept only for a bounded queue, which must know.
    busy: usize,
    /// How many of those who slept have been called and have not come.
    called: usize,
    lanes: Lanes,
    handles: Vec<JoinHandle<()>>,
    /// Nothing more will come: whoever runs out of work ends.
    ending: bool,
}

/// What is to be done so that work does not wait for nothing, once the locks are free.
enum Call {
    Nobody,
    Sleeper(Thread),
    New(usize),
}

/// Why a bounded queue has not taken a task, which is still the caller's.
enum NotQueued {
    NoRoom(Task),
    Refused(Task, TaskError),
}

/// How long a thread sleeps that is one more than the pool's workers, before it ends.
const SPARE_TIME: Duration = Duration::from_secs(5);

/// How often one looks before a thread is woken: for about a microsecond, where waking costs several.
const PATIENCE: usize = 64;

/// Every so many times that tasks are taken, a look at one worker: is it held up?
const ROUND: usize = 8;

/// A worker that is through with what it took sooner than this waits as long for more to come together.
const SHORT: Duration = Duration::from_micros(2);

/// A worker takes more at a time if it is through sooner than this, and else one by one: the others come to a task
/// that it has taken only when they have no other.
const BRISK: Duration = Duration::from_micros(100);

/// No worker takes more tasks at a time.
const LARGEST_BATCH: usize = 32;

/// Workers beyond these keep no tasks for later: whoever looks for work looks at all such queues.
const MOST_OWN_QUEUES: usize = 1024;

/// How one worker takes its tasks.
#[derive(Default)]
struct Pace {
    /// When it last took some.
    since: Option<Instant>,
    /// Whether others waited with it then, but few.
    among_few: bool,
    /// How many it takes beside the first, if so many wait.
    batch: usize,
}

impl Pace {
    /// Takes note that it is through with what it took. Whether it had better wait for more to come together.
    fn keep(&mut self) -> bool {
        let lasted = self.since.map_or(Duration::MAX, elapsed);
        self.batch = if lasted < BRISK { (2 * self.batch + 1).min(LARGEST_BATCH - 1) } else { 0 };
        self.among_few && lasted < SHORT
    }
}

impl Waiting {
    /// Why the pool takes no task, if so.
    fn refusal(&self) -> Option<TaskError> {
        self.broken.clone().or_else(|| self.closed.then_some(TaskError::ShutDown))
    }
}

impl Threads {
    /// How many threads have a place: they have a task, or are about to look for one.
    fn awake(&self) -> isize {
        (self.all - self.asleep.len() - self.leaving) as isize - self.blocked
    }

    /// Calls a thread to a place that is free, if nobody is on the way to it.
    fn call(&mut self, workers: usize) -> Call {
        if !self.are_wanted(workers) {
            Call::Nobody
        } else if let Some(thread) = self.asleep.pop() {
            self.called += 1;
            Call::Sleeper(thread)
        } else {
            self.all += 1;
            Call::New(self.lanes.take())
        }
    }

    fn are_wanted(&self, workers: usize) -> bool {
        self.looking == 0 && self.called == 0 && self.awake() < workers as isize
    }
}

/// Changes a flag that others look at, and leaves it with them if it is no change.
fn note(flag: &AtomicBool, now: bool) {
    if flag.load(Ordering::Relaxed) != now {
        flag.store(now, Ordering::Relaxed);
    }
}

impl Core {
    /// Says what follows from what the threads do. Due whenever that has changed, before the lock is given back.
    fn note(&self, threads: &Threads) {
        let workers = self.setup.workers;
        self.wanted.store(threads.are_wanted(workers), Ordering::Relaxed);
        self.crowded.store(threads.awake() > workers as isize, Ordering::Relaxed);
    }

    /// Says what waits. Due whenever that has changed, before the lock is given back.
    fn note_waiting(&self, waiting: &Waiting) {
        note(&self.waits, waiting.queue.len() > 0);
        note(&self.urgent, waiting.queue.has_urgent());
    }

    /// Sees to it that someone comes for the work that waits.
    #[cold]
    fn call(&self) {
        // Whoever has just finished a task comes by itself, and sooner than one who must be woken.
        linger(PATIENCE, || !self.waits.load(Ordering::Relaxed));
        if !self.waits.load(Ordering::Relaxed) {
            return;
        }
        let mut threads = lock(&self.threads);
        let call = threads.call(self.setup.workers);
        self.note(&threads);
        drop(threads);
        self.make(call);
    }

    /// Makes a call. No lock is held.
    fn make(&self, call: Call) {
        match call {
            Call::Nobody => {}
            Call::Sleeper(thread) => thread.unpark(),
            Call::New(lane) => self.start(lane),
        }
    }

    fn start(&self, lane: usize) {
        let Some(this) = self.this.upgrade() else { return };
        let name = format!("{}-{lane}", self.setup.name);
        let started = spawn(name, self.stack_size, move || this.work(lane));
        let mut threads = lock(&self.threads);
        match started {
            Ok(handle) => {
                threads.handles.retain(|handle| !is_finished(handle));
                threads.handles.push(handle);
            }
            Err(error) => {
                threads.all -= 1;
                threads.lanes.give(lane);
                self.note(&threads);
                // Others will do the work, if there are any.
                if threads.all == 0 {
                    drop(threads);
                    self.break_down(&TaskError::worker_lost(format!("no thread could be started: {error}")));
                }
            }
        }
    }

    /// Lets those look again who wait for room in a bounded queue.
    fn make_room(&self) {
        if self.setup.bound.is_some() {
            // Whoever waits does so holding the lock, and looks again under it.
            drop(lock(&self.threads));
            self.room.notify_all();
        }
    }

    /// Ends all tasks that have not started, and those to come, since there will be no worker for them.
    fn break_down(&self, error: &TaskError) {
        self.waiting.lock().broken = Some(error.clone());
        self.end();
        for task in self.drain() {
            task.refuse(error.clone());
        }
    }

    /// Tells everyone who waits that nothing more will come.
    fn end(&self) {
        let asleep = {
            let mut threads = lock(&self.threads);
            threads.ending = true;
            threads.asleep.clone()
        };
        asleep.iter().for_each(Thread::unpark);
        self.room.notify_all();
        // There may be no thread that could say so.
        self.ended.notify_all();
    }

    /// The life of a thread.
    fn work(self: Arc<Self>, lane: usize) {
        match self.setup.prepare_worker(Lane::new(lane)) {
            Ok(state) => {
                let worker = context::become_worker(Arc::clone(&self) as _, Lane::new(lane), state);
                let mut pace = Pace::default();
                while let Some(task) = self.next(lane, &mut pace) {
                    task.run(Lane::new(lane));
                    if self.setup.bound.is_some() {
                        lock(&self.threads).busy -= 1;
                        self.make_room();
                    }
                }
                // With it goes the worker's state, which is the user's.
                panics::discard(worker);
            }
            Err(error) => {
                lock(&self.threads).leaving += 1;
                self.break_down(&error);
            }
        }
        let mut threads = lock(&self.threads);
        threads.all -= 1;
        threads.leaving -= 1;
        threads.lanes.give(lane);
        self.note(&threads);
        let was_last = threads.all == 0;
        drop(threads);
        if was_last {
            self.ended.notify_all();
        }
    }

    /// The next task for this worker. Sleeps until there is one; `None` when the thread is to end.
    fn next(&self, lane: usize, pace: &mut Pace) -> Option<Task> {
        let own = self.own_queues.get(lane);
        if !self.urgent.load(Ordering::Relaxed)
            && let Some(task) = own.and_then(pop)
        {
            return Some(task);
        }
        if pace.keep() {
            self.let_gather();
        }
        loop {
            if !self.crowded.load(Ordering::Relaxed) {
                let task = if self.setup.bound.is_some() { self.take_bounded() } else { self.take(own, pace) };
                if task.is_some() {
                    return task;
                }
            }
            if !self.await_call() {
                return None;
            }
        }
    }

    /// Waits for a moment while tasks come in as fast as they are done, so that the lock is taken once for many of them
    /// and not in turn with whoever submits.
    fn let_gather(&self) {
        if self.waits.load(Ordering::Relaxed) {
            // A look at the flag now would take it away from whoever submits.
            linger(2 * PATIENCE, || false);
        }
    }

    /// Takes a task: one that goes before all others, one of this worker's own, of the pool's, or of another worker's.
    fn take(&self, own: Option<&OwnQueue>, pace: &mut Pace) -> Option<Task> {
        let mut waiting = self.waiting.lock();
        self.give_back(&mut waiting);
        pace.among_few = (2..2 * LARGEST_BATCH).contains(&waiting.queue.len());
        let task = (waiting.queue.pop_urgent())
            .or_else(|| own.and_then(pop))
            .or_else(|| self.take_batch(&mut waiting, own, pace))
            .or_else(|| self.own_queues.iter().find_map(pop));
        self.note_waiting(&waiting);
        let should_call = waiting.queue.len() > 0 && self.wanted.load(Ordering::Relaxed);
        drop(waiting);
        if should_call {
            self.call();
        }
        pace.since = Some(Instant::now());
        task
    }

    /// Takes a task from the pool's queue, and while many wait some more for this worker's own.
    fn take_batch(&self, waiting: &mut Waiting, own: Option<&OwnQueue>, pace: &Pace) -> Option<Task> {
        let task = waiting.queue.pop()?;
        // A worker's share of what waits.
        let batch = (waiting.queue.plain_len() / self.setup.workers).min(pace.batch);
        if batch > 0
            && let Some(own) = own
        {
            let mut own = own.lock();
            own.taken_at = waiting.takes;
            waiting.queue.pop_plain(batch, &mut own.tasks);
        }
        Some(task)
    }

    /// Gives back to the pool's queue what a worker has taken and not come to, though the others have taken tasks again
    /// and again: those would be overtaken by whatever comes for as long as it is held up.
    fn give_back(&self, waiting: &mut Waiting) {
        waiting.takes += 1;
        if waiting.takes.is_multiple_of(ROUND) {
            let own = &mut *self.own_queues[waiting.takes / ROUND % self.own_queues.len()].lock();
            if waiting.takes - own.taken_at > ROUND * self.own_queues.len() {
                waiting.queue.push_front(own.tasks.drain(..));
            }
        }
    }

    /// Takes a task from a bounded queue, which knows exactly who has one.
    fn take_bounded(&self) -> Option<Task> {
        let mut threads = lock(&self.threads);
        let mut waiting = self.waiting.lock();
        let task = waiting.queue.pop()?;
        self.note_waiting(&waiting);
        threads.busy += 1;
        let call = if waiting.queue.len() > 0 { threads.call(self.setup.workers) } else { Call::Nobody };
        self.note(&threads);
        drop(waiting);
        drop(threads);
        self.make_room();
        self.make(call);
        Some(task)
    }

    /// Looks a little longer for work, and then sleeps until called. `false` when the thread is to end.
    fn await_call(&self) -> bool {
        let mut threads = lock(&self.threads);
        if threads.looking == 0 && !threads.ending && !self.crowded.load(Ordering::Relaxed) {
            threads.looking += 1;
            self.note(&threads);
            drop(threads);
            let found = spin(|| self.waits.load(Ordering::Relaxed));
            threads = lock(&self.threads);
            threads.looking -= 1;
            self.note(&threads);
            if found {
                return true;
            }
        }
        threads.asleep.push(sync::current());
        self.note(&threads);
        // From here on whoever queues a task knows that this thread must be called for it; one may be queued before.
        let is_needed = threads.awake() < self.setup.workers as isize && self.has_work();
        if is_needed || threads.ending {
            threads.asleep.pop();
            threads.leaving += usize::from(!is_needed);
            self.note(&threads);
            return is_needed;
        }
        self.sleep(threads)
    }

    /// Sleeps until called. `false` when the thread is to end, as one more than the workers that was not needed.
    fn sleep<'a>(&'a self, mut threads: MutexGuard<'a, Threads>) -> bool {
        let this = sync::current().id();
        let is_spare = threads.all > self.setup.workers;
        let until = Instant::now() + SPARE_TIME;
        loop {
            let Some(place) = threads.asleep.iter().position(|thread| thread.id() == this) else {
                threads.called -= 1;
                self.note(&threads);
                return true;
            };
            let rest = until.saturating_duration_since(Instant::now());
            if threads.ending || is_spare && rest.is_zero() {
                threads.asleep.remove(place);
                // Its place is free from now on, however long it takes to end.
                threads.leaving += usize::from(!threads.ending);
                self.note(&threads);
                return threads.ending;
            }
            drop(threads);
            if is_spare {
                sync::park_timeout(rest);
            } else {
                sync::park();
            }
            threads = lock(&self.threads);
        }
    }

    /// Whether any task waits for a worker.
    fn has_work(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.queue.len() > 0 || self.own_queues.iter().any(|own| !own.lock().tasks.is_empty())
    }

    /// Queues a task, and sees to it that someone comes for it.
    fn push(&self, task: Task) {
        let mut waiting = self.waiting.lock();
        if let Some(error) = waiting.refusal() {
            drop(waiting);
            return task.refuse(error);
        }
        waiting.queue.push(task);
        self.note_waiting(&waiting);
        let should_call = self.wanted.load(Ordering::Relaxed);
        drop(waiting);
        if should_call {
            self.call();
        }
    }

    /// Queues a task if there is room in the queue, and gives it back if there is none. It is refused by the caller, who
    /// gives back the lock first.
    fn push_bounded(&self, threads: &mut Threads, bound: usize, task: Task) -> Result<Call, NotQueued> {
        let mut waiting = self.waiting.lock();
        if let Some(error) = waiting.refusal() {
            return Err(NotQueued::Refused(task, error));
        }
        // What an idle worker is about to take does not wait.
        let running = usize::try_from(threads.busy as isize - threads.blocked).unwrap_or(0);
        if waiting.queue.len() >= bound + self.setup.workers.saturating_sub(running) {
            return Err(NotQueued::NoRoom(task));
        }
        waiting.queue.push(task);
        self.note_waiting(&waiting);
        drop(waiting);
        let call = threads.call(self.setup.workers);
        self.note(threads);
        Ok(call)
    }

    /// Queues a task as soon as there is room.
    fn push_blocking(&self, bound: usize, mut task: Task) {
        let mut threads = lock(&self.threads);
        loop {
            match self.push_bounded(&mut threads, bound, task) {
                Ok(call) => {
                    drop(threads);
                    return self.make(call);
                }
                Err(NotQueued::Refused(task, error)) => {
                    drop(threads);
                    return task.refuse(error);
                }
                Err(NotQueued::NoRoom(again)) => task = again,
            }
            threads = self.room.wait(threads).expect(NOT_POISONED);
        }
    }

    /// Runs a task on the calling thread, which is none of the pool's.
    fn run_in_caller(&self, task: Task) {
        let lane = lock(&self.threads).lanes.take();
        task.run(Lane::new(lane));
        lock(&self.threads).lanes.give(lane);
    }
}

impl Executor for Core {
    fn execute(&self, task: Task) {
        let Some((bound, full)) = self.setup.bound else { return self.push(task) };
        let mut threads = lock(&self.threads);
        let pushed = self.push_bounded(&mut threads, bound, task);
        drop(threads);
        match (pushed, full) {
            (Ok(call), _) => self.make(call),
            (Err(NotQueued::Refused(task, error)), _) => task.refuse(error),
            (Err(NotQueued::NoRoom(task)), Full::Refuse) => task.refuse(TaskError::Refused),
            (Err(NotQueued::NoRoom(task)), Full::RunInCaller) => self.run_in_caller(task),
            (Err(NotQueued::NoRoom(task)), Full::Block) => context::blocking(|| self.push_blocking(bound, task)),
        }
    }

    fn workers(&self) -> usize {
        self.setup.workers
    }

    fn close(&self) {
        self.waiting.lock().closed = true;
        self.end();
    }

    fn drain(&self) -> Vec<Task> {
        let mut waiting = self.waiting.lock();
        let mut tasks: Vec<Task> = self.own_queues.iter().flat_map(|own| mem::take(&mut own.lock().tasks)).collect();
        tasks.extend(waiting.queue.take_all());
        self.note_waiting(&waiting);
        drop(waiting);
        self.make_room();
        tasks
    }

    fn join(&self, deadline: Option<Instant>) -> bool {
        if context::is_at_home(self.home) {
            return false;
        }
        context::blocking(|| {
            let go_on = |threads: &Threads| !threads.ending || threads.all > 0;
            let threads = wait_while(&self.ended, lock(&self.threads), deadline, go_on);
            let Some(mut threads) = threads else { return false };
            // They are at their very end: this is so that they are gone when this returns.
            let handles = mem::take(&mut threads.handles);
            drop(threads);
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
        let mut threads = lock(&self.threads);
        threads.blocked += 1;
        self.note(&threads);
        let mut waiting = self.waiting.lock();
        // Whoever blocks does not get to its own tasks.
        for own in self.own_queues.iter().rev() {
            waiting.queue.push_front(own.lock().tasks.drain(..));
        }
        self.note_waiting(&waiting);
        let has_work = waiting.queue.len() > 0;
        drop(waiting);
        let call = if has_work { threads.call(self.setup.workers) } else { Call::Nobody };
        self.note(&threads);
        drop(threads);
        self.make_room();
        self.make(call);
    }

    fn unblocked(&self) {
        let mut threads = lock(&self.threads);
        threads.blocked -= 1;
        self.note(&threads);
    }
}

impl Executor for ThreadPool {
    pass_on!(self => self.core);

    fn core(&self) -> Arc<dyn Executor> {
        Arc::clone(&self.core) as _
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
        let (threads, waiting) = (lock(&self.core.threads).all, self.core.waiting.lock().queue.len());
        f.debug_struct("ThreadPool")
            .field("name", &self.core.setup.name)
            .field("workers", &self.core.setup.workers)
            .field("threads", &threads)
            .field("waiting", &waiting)
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
