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
mod kin;
mod limits;
mod link;
mod page;
mod poller;
mod rest;
mod serve;
mod socket;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod stack;
mod wire;

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::{OsStr, OsString},
    fmt, io, mem,
    ops::Range,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::{Arc, Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError, Weak},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

pub use self::serve::serve_if_worker;
#[cfg(fuzzing)]
pub use self::wire::check as check_frames;
use self::{
    limits::{Limits, overrun},
    link::{END, Link, STDERR, TOKENS},
    page::PLACES,
    poller::Poller,
    rest::{Part, Rest},
    serve::{Hello, Prepared},
    wire::{FAILED, FILES, Frame, GROUP, Kind, OBSERVED, SPENT, Stranger},
};
use crate::{
    call::{Call, TaskFunction},
    carry::{self, Berth, Written},
    cell::{Cancel, Remote},
    context,
    error::{Death, TaskError, signal_name},
    event::Lane,
    executor::{Executor, pass_on},
    options::Options,
    panics,
    queue::{Lanes, Queue},
    segment::{self, Attached},
    setup::{Full, Setup, setup_methods},
    task::Task,
    timer::{self, Alarm},
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
///   the end is heard only when that ends, too.
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

    /// Gives each task so much processor time, in whole seconds, at least one. A task that uses it up is ended with its
    /// worker, by SIGXCPU; [`Death::overran`] says so. What it starts has the same time again, each. In a
    /// [`map`](Executor::map) each input has it.
    #[cfg(not(target_os = "netbsd"))]
    #[must_use]
    pub fn processor_time(mut self, limit: Duration) -> Self {
        self.limits.processor_time = Some(limits::whole_seconds(limit));
        self
    }

    /// Gives each worker so many bytes of address space: what it maps counts, whether it is used or not. When it asks for
    /// more it gets none, which ends it as a rule; [`Death::overran`] says so. The system must know `RLIMIT_AS`: Linux
    /// does, macOS ignores it.
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

/// What the pool's threads share.
pub(crate) struct Core {
    this: Weak<Self>,
    setup: Setup,
    program: OsString,
    initializer: Option<Prepared>,
    worker_state: Option<Prepared>,
    /// What goes with these calls.
    attached: Attached,
    tasks_per_worker: usize,
    start: Duration,
    idle: Option<Duration>,
    grace: Option<Duration>,
    limits: Limits,
    lot: Mutex<Lot>,
    /// There is room in a bounded queue.
    room: Condvar,
    /// The last worker has gone.
    ended: Condvar,
    poller: Poller,
    listening: Once,
    /// Which thread listens to all workers.
    listener: OnceLock<ThreadId>,
}

/// All that the lock guards.
#[derive(Default)]
struct Lot {
    queue: Queue,
    /// The workers, by the numbers of their links.
    hands: BTreeMap<u64, Hand>,
    /// Workers that are being started.
    starting: usize,
    next_link: u64,
    lanes: Lanes,
    /// How many workers in a row have ended before they were ready.
    failures: u32,
    /// Set while no worker is started, since the last ones could not.
    rest: Option<Alarm>,
    /// Set while a worker is idle that may be let go.
    idle_alarm: Option<Alarm>,
    /// By what those are found who may have outlived their workers.
    unswept: Vec<String>,
    is_sweeping: bool,
    closed: bool,
    /// Why there will never be a worker.
    broken: Option<TaskError>,
}

/// One worker, and what it has to do.
struct Hand {
    link: Arc<Link>,
    phase: Phase,
    /// The tasks that are with it and not answered, in the order in which it will.
    flights: VecDeque<Flight>,
    next_task: u64,
    /// How many tasks it has been given in all.
    taken: usize,
    /// It gets no more, and goes when it has done what it has.
    is_spent: bool,
    /// Which functions it has been told of.
    defined: Vec<bool>,
    /// How many tasks may be with it, which goes by how long they take.
    window: usize,
    /// Since when, and how many it has answered since, to know how long they take.
    since: Instant,
    answered: usize,
}

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its process is started, and it has not said that it is ready.
    Starting,
    /// It does tasks.
    Ready,
    /// It gets no further ones: it has been told to go, or killed.
    Leaving,
}

/// A task on its way to a worker, or with it.
struct Flight {
    number: u64,
    /// `None` once it was taken back.
    task: Option<Sent>,
    /// What has come of a group that is not done.
    part: Part,
}

/// What is known of a task that was sent.
#[derive(Clone)]
struct Sent {
    task: Arc<dyn Remote>,
    written: Arc<Written>,
    /// What was said of it, if anyone observes it.
    moments: Option<Arc<Mutex<Moments>>>,
}

/// What was said of a task to those who observe it, so that each thing is said once and in order.
#[derive(Default)]
struct Moments {
    begun: bool,
    over: bool,
    time_limit: Option<Alarm>,
}

/// What is to be done once no lock is held.
enum Act {
    Begin(Sent, u64, u64, Lane),
    Progress(Sent, u64, u64, Lane, u64),
    /// The value is in this range of what was received.
    Answer(Sent, Lane, bool, Range<usize>, Attached),
    /// The same for the rest of a group.
    Complete(Sent, Lane, Part, Range<usize>, Attached),
    End(Sent, Lane, TaskError),
    /// It never started.
    Refuse(Arc<dyn Remote>, TaskError),
    /// It is done already, and this may be the last who holds it.
    Forget(Arc<dyn Remote>),
    Flush(Arc<Link>),
    Start(Lane),
    BreakDown(TaskError),
    MakeRoom,
}

const HELD: &str = "whoever calls this holds it";

/// How many workers in a row may fail to start before the pool gives up.
const MOST_FAILURES: u32 = 5;

/// How many workers may end one after the other that are about to start one and the same task: what they were sent with
/// it may be more than they can take.
const MOST_FALSE_STARTS: u32 = 5;

/// How long a process may take to say that it is a worker, unless it is given another time.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// How long the pool rests after the first of them; twice as long after the next.
const FIRST_REST: Duration = Duration::from_millis(20);

/// For how long a worker should have tasks waiting: longer than it takes to bring it more.
const WINDOW_TIME: Duration = Duration::from_micros(400);

/// No more tasks are with a worker at a time.
const LARGEST_WINDOW: usize = 128;
const _: () = assert!(LARGEST_WINDOW < PLACES);

/// How long a worker that was told to go may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a group of inputs that nobody wants may take to see it, before it is killed.
const GROUP_GRACE: Duration = Duration::from_millis(100);

impl Lot {
    /// Why the pool takes no task, if so.
    fn refusal(&self) -> Option<TaskError> {
        self.broken.clone().or_else(|| self.closed.then_some(TaskError::ShutDown))
    }

    fn busy(&self) -> usize {
        self.hands.values().filter(|hand| !hand.flights.is_empty()).count()
    }

    fn is_over(&self) -> bool {
        let has_workers = !self.hands.is_empty() || self.starting > 0 || self.is_sweeping;
        (self.closed || self.broken.is_some()) && self.queue.len() == 0 && !has_workers
    }
}

impl Hand {
    fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            phase: Phase::Starting,
            flights: VecDeque::new(),
            next_task: 1,
            taken: 0,
            is_spent: false,
            defined: Vec::new(),
            window: 2,
            since: Instant::now(),
            answered: 0,
        }
    }

    fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.phase != Phase::Leaving
    }

    /// Learns how many tasks may be with it.
    fn learn(&mut self) {
        if self.answered < self.window / 2 {
            return;
        }
        let now = Instant::now();
        let each = (now - self.since).as_nanos() / self.answered.max(1) as u128;
        let ideal = usize::try_from(WINDOW_TIME.as_nanos() / each.max(1)).unwrap_or(LARGEST_WINDOW);
        self.window = ideal.clamp(2, (self.window * 2).min(LARGEST_WINDOW));
        self.since = now;
        self.answered = 0;
    }
}

impl Core {
    fn lot(&self) -> MutexGuard<'_, Lot> {
        // No user code runs under this lock, and none of ours panics.
        self.lot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker of this number, if it is there.
    fn link(&self, id: u64) -> Option<Arc<Link>> {
        self.lot().hands.get(&id).map(|hand| Arc::clone(&hand.link))
    }

    /// Queues a task, and sees to it that someone comes for it. There is room for it.
    fn push(&self, mut lot: MutexGuard<'_, Lot>, task: Task) {
        if let Some(error) = lot.refusal() {
            drop(lot);
            return task.refuse(error);
        }
        lot.queue.push(task);
        self.serve(lot);
    }

    /// Gives what waits to those who are idle, or has a worker started for it.
    fn serve(&self, mut lot: MutexGuard<'_, Lot>) {
        let mut acts = Vec::new();
        self.distribute(&mut lot, &mut acts);
        drop(lot);
        self.perform(acts, &[]);
    }

    fn distribute(&self, lot: &mut Lot, acts: &mut Vec<Act>) {
        while lot.queue.len() > 0 {
            // One that has done all that it may is to be let go.
            let takes = |hand: &&Hand| hand.is_idle() && !hand.is_spent;
            let idle = lot.hands.values().find(takes).map(|hand| hand.link.id);
            match idle {
                Some(id) => self.fill(lot, id, acts),
                None => break,
            }
        }
        let could_start = lot.hands.len() + lot.starting < self.setup.workers && lot.rest.is_none();
        if could_start && lot.queue.len() > lot.starting && lot.broken.is_none() {
            lot.starting += 1;
            acts.push(Act::Start(Lane::new(lot.lanes.take())));
        }
    }

    /// Gives a worker as many tasks as may be with it.
    fn fill(&self, lot: &mut Lot, id: u64, acts: &mut Vec<Act>) {
        let Lot { hands, queue, .. } = lot;
        let Some(hand) = hands.get_mut(&id) else { return };
        if hand.phase == Phase::Leaving {
            return;
        }
        // Few enough that no worker runs dry while another one has several.
        let share = (queue.len() / (2 * self.setup.workers)).max(1);
        let window = if self.setup.bound.is_some() { 1 } else { hand.window.min(share) };
        let before = hand.flights.len();
        if before == 0 {
            hand.since = Instant::now();
            hand.answered = 0;
        }
        while hand.flights.len() < window && !hand.is_spent {
            let Some(task) = queue.pop() else { break };
            self.send(hand, task, acts);
        }
        if hand.flights.len() > before {
            acts.push(Act::Flush(Arc::clone(&hand.link)));
            if self.setup.bound.is_some() {
                acts.push(Act::MakeRoom);
            }
        }
    }

    /// Puts a task on its way to a worker.
    fn send(&self, hand: &mut Hand, task: Task, acts: &mut Vec<Act>) {
        let Some(task) = task.into_remote() else { return };
        let Some(written) = task.written() else {
            let error = TaskError::not_carried("it was submitted to an executor of this process: submit its call here");
            // If it is done already, as one that was cancelled, this is too late, and does nothing.
            return acts.push(Act::Refuse(task, error));
        };
        let (link, number) = (Arc::clone(&hand.link), hand.next_task);
        link.page.offer(number);
        written.embark(Berth { away: Arc::clone(&link) as _, number });
        // From here on whoever cancels it asks the page; who was before that has left nothing to send.
        if task.written().is_none() {
            return acts.push(Act::Forget(task));
        }
        let entry = written.entry.number() as usize;
        if hand.defined.len() <= entry {
            hand.defined.resize(entry + 1, false);
        }
        let mut posted = Ok(());
        if !hand.defined[entry] {
            hand.defined[entry] = true;
            posted = define(&link, &written);
        }
        let mut flags = 0;
        flags |= if written.is_group { GROUP } else { 0 };
        flags |= if written.has_files() { FILES } else { 0 };
        if task.is_observed() {
            flags |= OBSERVED;
            link.be_observed();
        }
        if let Err(error) = posted.and_then(|()| link.post_call(&written, number, flags)) {
            written.strand();
            let error = TaskError::not_carried(format!("`{}`: {error}", written.entry.name()));
            return acts.push(Act::Refuse(task, error));
        }
        let moments = task.is_observed().then(Arc::default);
        let task = Some(Sent { task, written, moments });
        hand.flights.push_back(Flight { number, task, part: Part::default() });
        hand.next_task += 1;
        hand.taken += 1;
        hand.is_spent |= hand.taken >= self.tasks_per_worker;
    }

    /// Takes note of what a worker has sent, in the order in which it did, and of what follows from it: also
    /// if an error says that the rest makes no sense.
    fn note(&self, link: &Arc<Link>, received: &[u8], acts: &mut Vec<Act>) -> io::Result<()> {
        let mut lot = self.lot();
        let Lot { hands, failures, .. } = &mut *lot;
        let Some(hand) = hands.get_mut(&link.id) else { return Ok(()) };
        let mut rest = received;
        let torn = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let (mut broken, mut is_spent, mut returned) = (None, false, Vec::new());
        while let Some(frame) = Frame::split_from(&mut rest)? {
            match frame.kind {
                Kind::Done | Kind::Skipped => {
                    if hand.flights.front().is_none_or(|flight| flight.number != frame.task) {
                        return torn(format!("task {} is answered out of turn", frame.task));
                    }
                    let Some(flight) = hand.flights.pop_front() else { continue };
                    let attached = link.ledger.take_next();
                    hand.answered += 1;
                    is_spent |= frame.kind == Kind::Done && frame.flags & SPENT != 0;
                    let Some(sent) = flight.task else { continue };
                    if frame.kind == Kind::Done {
                        let end = received.len() - rest.len();
                        let payload = end - frame.payload.len()..end;
                        let is_failed = frame.flags & FAILED != 0;
                        acts.push(if flight.part.is_empty() || is_failed {
                            Act::Answer(sent, link.lane, is_failed, payload, attached)
                        } else {
                            Act::Complete(sent, link.lane, flight.part, payload, attached)
                        });
                    } else if sent.written.disembark() {
                        returned.push(Task::of(sent.task));
                    } else {
                        acts.push(Act::Forget(sent.task));
                    }
                }
                Kind::Part => match hand.flights.front_mut() {
                    Some(flight) if flight.number == frame.task => {
                        flight.part.add(frame.entry, frame.payload, link.ledger.take_next())?;
                    }
                    _ => return torn(format!("task {} is answered out of turn", frame.task)),
                },
                Kind::Started | Kind::Progress => {
                    // It runs, and so is the first.
                    let Some(Flight { number, task: Some(sent), .. }) = hand.flights.front() else { continue };
                    sent.written.let_files_go();
                    let (sent, number) = (sent.clone(), *number);
                    acts.push(match frame.payload.first_chunk() {
                        Some(done) if frame.kind == Kind::Progress => {
                            Act::Progress(sent, link.id, number, link.lane, u64::from_le_bytes(*done))
                        }
                        _ => Act::Begin(sent, link.id, number, link.lane),
                    });
                }
                Kind::Ready => {
                    hand.phase = if hand.phase == Phase::Starting { Phase::Ready } else { hand.phase };
                    *failures = 0;
                }
                // What cannot be had is missing to this answer alone; another worker shows it anew.
                Kind::Show => is_spent |= link.ledger.show(frame.task, number(frame.payload)?).is_err(),
                Kind::Hand => is_spent |= link.ledger.hand(frame.task).is_err(),
                Kind::Lend => link.ledger.borrow(frame.payload, &link.as_peer())?,
                Kind::GiveBack => link.ledger.take_back(frame.task),
                Kind::Forget => link.ledger.forget(frame.task),
                Kind::Broken => broken = Some(String::from_utf8_lossy(frame.payload).into_owned()),
                kind => return torn(format!("{kind:?} from a worker")),
            }
        }
        if let Some(why) = broken {
            hand.phase = Phase::Leaving;
            acts.push(Act::BreakDown(TaskError::worker_lost(format!("the executor's initializer failed: {why}"))));
        }
        if is_spent {
            hand.is_spent = true;
            returned.extend(take_back(hand));
        } else if hand.flights.len() <= hand.window / 2 {
            hand.learn();
            self.fill(&mut lot, link.id, acts);
        }
        put_back(&mut lot.queue, returned);
        self.distribute(&mut lot, acts);
        self.settle_idle(&mut lot, link.id, acts);
        Ok(())
    }

    /// Sees what becomes of a worker that may have nothing to do.
    fn settle_idle(&self, lot: &mut Lot, id: u64, acts: &mut Vec<Act>) {
        self.relieve(lot, id, acts);
        let is_ending = (lot.closed || lot.broken.is_some()) && lot.queue.len() == 0;
        let Some(hand) = lot.hands.get_mut(&id).filter(|hand| hand.is_idle()) else { return };
        if is_ending || hand.is_spent {
            self.let_go(hand, acts);
        } else if let Some(limit) = self.idle {
            hand.since = Instant::now();
            if lot.idle_alarm.is_none() {
                lot.idle_alarm = Some(self.alarm(limit, Self::let_idle_go));
            }
        }
    }

    /// Gives an idle worker some of what waits with another one. It stays idle if there is none that anybody wants.
    fn relieve(&self, lot: &mut Lot, id: u64, acts: &mut Vec<Act>) {
        let takes = |hand: &Hand| hand.is_idle() && !hand.is_spent;
        if lot.queue.len() > 0 || !lot.hands.get(&id).is_some_and(takes) {
            return;
        }
        let fullest = lot.hands.values_mut().filter(|hand| hand.link.id != id).max_by_key(|hand| hand.flights.len());
        let Some(fullest) = fullest.filter(|hand| hand.flights.len() > 1) else { return };
        let mut taken = VecDeque::new();
        let most = fullest.flights.len() / 2;
        for flight in fullest.flights.iter_mut().rev().take(most) {
            if let Some(sent) = flight.task.take_if(|sent| sent.written.disembark()) {
                taken.push_front(Task::of(sent.task));
            }
        }
        lot.queue.push_front(taken);
        self.fill(lot, id, acts);
    }

    /// Tells a worker to go. It has no task.
    fn let_go(&self, hand: &mut Hand, acts: &mut Vec<Act>) {
        hand.phase = Phase::Leaving;
        // A frame without a payload is never too large.
        let _ = hand.link.post(Frame::new(Kind::Bye));
        acts.push(Act::Flush(Arc::clone(&hand.link)));
        let link = Arc::downgrade(&hand.link);
        // Nobody calls this off: it keeps nothing alive, and finds nobody if the worker has gone.
        timer::later(FAREWELL, move || {
            if let Some(link) = link.upgrade() {
                link.kill();
            }
        });
    }

    fn let_idle_go(&self) {
        let Some(limit) = self.idle else { return };
        let mut acts = Vec::new();
        let mut lot = self.lot();
        lot.idle_alarm = None;
        let now = Instant::now();
        let mut next = None;
        for hand in lot.hands.values_mut().filter(|hand| hand.is_idle()) {
            match limit.checked_sub(now.saturating_duration_since(hand.since)) {
                Some(rest) if !rest.is_zero() => next = Some(next.map_or(rest, |next: Duration| next.min(rest))),
                _ => self.let_go(hand, &mut acts),
            }
        }
        lot.idle_alarm = next.map(|rest| self.alarm(rest, Self::let_idle_go));
        drop(lot);
        self.perform(acts, &[]);
    }

    /// Has the clock call a method, if the pool is still there then.
    fn alarm(&self, delay: Duration, ring: impl FnOnce(&Self) + Send + 'static) -> Alarm {
        let this = Weak::clone(&self.this);
        timer::after(delay, move || {
            if let Some(this) = this.upgrade() {
                ring(&this);
            }
        })
    }

    /// Does what follows from what was noted. No lock is held.
    fn perform(&self, acts: Vec<Act>, received: &[u8]) {
        // Those who wait for work come first, and then those who wait for a value.
        for act in &acts {
            match act {
                Act::Flush(link) => link.flush(),
                Act::MakeRoom => {
                    drop(self.lot());
                    self.room.notify_all();
                }
                Act::Start(lane) => self.start(*lane),
                _ => {}
            }
        }
        for act in acts {
            match act {
                Act::Flush(_) | Act::MakeRoom | Act::Start(_) => {}
                Act::Begin(sent, link, number, lane) => self.begin(&sent, link, number, lane),
                Act::Progress(sent, link, number, lane, done) => {
                    self.begin(&sent, link, number, lane);
                    if let Some(moments) = sent.moments
                        && let Some(_moments) = Some(lock(&moments)).filter(|moments| !moments.over)
                    {
                        sent.task.progress(done);
                    }
                }
                Act::Answer(sent, lane, is_failed, range, attached) => {
                    let payload = &received[range];
                    let answer = if is_failed { Err(carry::read_error(payload)) } else { Ok(payload) };
                    segment::detaching(&attached, || end(&sent, lane, answer));
                }
                Act::Complete(sent, lane, part, range, attached) => segment::detaching(&attached, || {
                    part.with(&received[range], |whole| end(&sent, lane, Ok(whole)));
                }),
                Act::End(sent, lane, error) => end(&sent, lane, Err(error)),
                Act::Refuse(task, error) => Task::of(task).refuse(error),
                Act::Forget(task) => panics::discard(task),
                Act::BreakDown(error) => self.break_down(&error),
            }
        }
    }

    /// Says that a task has started, once.
    fn begin(&self, sent: &Sent, link: u64, number: u64, lane: Lane) {
        let Some(moments) = &sent.moments else { return };
        let mut moments = lock(moments);
        if moments.begun || moments.over {
            return;
        }
        moments.begun = true;
        if let Some(limit) = sent.task.begin(lane) {
            let overrun = move |core: &Self| {
                core.end_early(link, number, TaskError::TimedOut { limit });
            };
            moments.time_limit = Some(self.alarm(limit, overrun));
        }
    }

    /// Stops a task that a worker has begun, since nobody wants it.
    fn stop(&self, link: u64, number: u64) -> Cancel {
        self.end_early(link, number, TaskError::Cancelled)
    }

    /// Ends a task that a worker has begun, and stops the worker, one way or the other.
    fn end_early(&self, link: u64, number: u64, error: TaskError) -> Cancel {
        let mut lot = self.lot();
        let Some(hand) = lot.hands.get_mut(&link) else { return Cancel::TooLate };
        let Some(sent) =
            (hand.flights.iter()).find(|flight| flight.number == number).and_then(|flight| flight.task.clone())
        else {
            return Cancel::TooLate;
        };
        let link = Arc::clone(&hand.link);
        let is_group = sent.written.is_group;
        let grace = self.grace.or(is_group.then_some(GROUP_GRACE));
        // Its answer may be on the way, and the worker at another task, whom a kill would hit.
        if link.page.has_finished(number) || grace.is_none() && !link.page.doom(number) {
            return Cancel::TooLate;
        }
        if grace.is_none() {
            hand.phase = Phase::Leaving;
        }
        drop(lot);
        let Some(grace) = grace else {
            // The outcome comes first: the end of the worker would be one, too.
            end(&sent, link.lane, Err(error));
            link.kill();
            return Cancel::Stopped;
        };
        link.ask_to_stop(number);
        let is_cancelled = error.is_cancelled();
        if is_group || !is_cancelled {
            end(&sent, link.lane, Err(error));
        }
        let id = link.id;
        let this = Weak::clone(&self.this);
        timer::later(grace, move || {
            if let Some(this) = this.upgrade() {
                this.kill_if_still_at(id, number);
            }
        });
        if is_cancelled && !is_group { Cancel::Requested } else { Cancel::Stopped }
    }

    /// Kills a worker whose task was asked to stop and has not.
    fn kill_if_still_at(&self, link: u64, number: u64) {
        let mut lot = self.lot();
        let Some(hand) = lot.hands.get_mut(&link) else { return };
        let Some(sent) =
            (hand.flights.front()).filter(|flight| flight.number == number).and_then(|flight| flight.task.clone())
        else {
            return;
        };
        if !hand.link.page.doom(number) {
            return;
        }
        hand.phase = Phase::Leaving;
        let link = Arc::clone(&hand.link);
        drop(lot);
        end(&sent, link.lane, Err(TaskError::Cancelled));
        link.kill();
    }

    /// Starts a worker, on a thread of its own, since that takes a while.
    fn start(&self, lane: Lane) {
        let Some(this) = self.this.upgrade() else { return };
        self.listen();
        let started = thread::Builder::new().name("raincheck-start".into()).spawn(move || {
            let id = {
                let mut lot = this.lot();
                lot.next_link += 1;
                lot.next_link
            };
            let hello: Hello = (
                this.setup.name.clone(),
                id,
                u32::try_from(lane.index()).unwrap_or(u32::MAX),
                this.initializer.clone(),
                this.worker_state.clone(),
                this.limits.parts(),
            );
            match Link::start(Weak::clone(&this.this), id, &this.poller, &this.program, &hello, &this.attached) {
                Ok(link) => this.enlist(link),
                Err(error) => this.has_not_started(lane, &error),
            }
        });
        if let Err(error) = started {
            let this = self.this.upgrade().expect(HELD);
            this.has_not_started(lane, &error);
        }
    }

    /// Takes in a worker that has been started.
    fn enlist(&self, link: Arc<Link>) {
        let mut acts = Vec::new();
        let mut lot = self.lot();
        lot.starting -= 1;
        let id = link.id;
        lot.hands.insert(id, Hand::new(Arc::clone(&link)));
        self.distribute(&mut lot, &mut acts);
        self.settle_idle(&mut lot, id, &mut acts);
        drop(lot);
        self.perform(acts, &[]);
        let silent = Arc::downgrade(&link);
        // Nobody calls this off either.
        timer::later(self.start, move || {
            if let Some(link) = silent.upgrade() {
                link.lose_patience();
            }
        });
        // Only now, so that what it says finds it here.
        if link.list(self).is_err() {
            self.bury(&link);
        }
    }

    fn has_not_started(&self, lane: Lane, error: &io::Error) {
        let mut lot = self.lot();
        lot.starting -= 1;
        lot.lanes.give(lane.index());
        let program = self.program.to_string_lossy().into_owned();
        let why = TaskError::worker_lost(format!("no worker could be started from `{program}`: {error}"));
        self.has_failed(lot, why, is_shortage(error));
        self.tell_the_end();
    }

    /// Rests before the next worker is started, or gives up: for good, unless what the system is short of may be there
    /// again when the next task comes.
    fn has_failed(&self, mut lot: MutexGuard<'_, Lot>, why: TaskError, is_shortage: bool) {
        lot.failures += 1;
        let is_alone = lot.hands.is_empty() && lot.starting == 0;
        if lot.failures >= MOST_FAILURES && is_alone {
            if !is_shortage {
                drop(lot);
                return self.break_down(&why);
            }
            let tasks = lot.queue.take_all();
            drop(lot);
            self.room.notify_all();
            self.ended.notify_all();
            return tasks.into_iter().for_each(|task| task.refuse(why.clone()));
        }
        let rest = FIRST_REST * 2_u32.pow(lot.failures.min(8) - 1);
        lot.rest = Some(self.alarm(rest, |core| {
            let mut lot = core.lot();
            let rung = lot.rest.take();
            core.serve(lot);
            drop(rung);
        }));
        drop(lot);
        self.ended.notify_all();
    }

    /// Ends all tasks that have not started, and those to come, since there will be no worker for them.
    fn break_down(&self, error: &TaskError) {
        let mut acts = Vec::new();
        let mut lot = self.lot();
        lot.broken.get_or_insert_with(|| error.clone());
        let mut tasks = lot.queue.take_all();
        let ids: Vec<u64> = lot.hands.keys().copied().collect();
        for id in ids {
            let Some(hand) = lot.hands.get_mut(&id) else { continue };
            tasks.extend(take_back(hand));
            self.settle_idle(&mut lot, id, &mut acts);
        }
        drop(lot);
        self.room.notify_all();
        self.ended.notify_all();
        for task in tasks {
            task.refuse(error.clone());
        }
        self.perform(acts, &[]);
    }

    /// Starts the thread that listens to all workers, if it is not there.
    fn listen(&self) {
        self.listening.call_once(|| {
            let Some(this) = self.this.upgrade() else { return };
            let started = thread::Builder::new().name("raincheck-process".into()).spawn(move || this.hear_all());
            if let Err(error) = started {
                self.break_down(&TaskError::worker_lost(format!("no thread could be started: {error}")));
            }
        });
    }

    /// The life of that thread.
    fn hear_all(&self) {
        // It is the only one.
        let _ = self.listener.set(thread::current().id());
        let mut ready = Vec::new();
        while !self.lot().is_over() {
            match self.poller.wait(&mut ready) {
                Ok(true) => self.lot().hands.values().for_each(|hand| hand.link.answer_call()),
                Ok(false) => {}
                Err(error) => {
                    self.break_down(&TaskError::worker_lost(format!("nobody can listen to the workers: {error}")));
                    return;
                }
            }
            for ready in &ready {
                let Some(link) = self.link(ready.token / TOKENS) else { continue };
                match ready.token % TOKENS {
                    STDERR => {
                        link.hear(self);
                        continue;
                    }
                    END => {
                        // All that it has sent is there.
                        link.receive_all(self);
                        self.bury(&link);
                        continue;
                    }
                    _ => {}
                }
                if ready.can_write {
                    link.flush();
                }
                if ready.can_read && !link.receive(self) {
                    self.bury(&link);
                }
            }
        }
    }

    /// Sees to a worker that is gone, or talks nonsense.
    fn bury(&self, link: &Arc<Link>) {
        if !link.is_first_at_grave() {
            return;
        }
        link.strike(self);
        // Also its children, whose group bears its number until it is reaped; and the worker, should it be alive.
        let is_leaving = self.lot().hands.get(&link.id).is_some_and(|hand| hand.phase == Phase::Leaving);
        if is_leaving {
            link.kill_group()
        } else {
            link.kill()
        }
        for _ in 0..20 {
            if let Some(status) = link.try_reap() {
                return self.has_died(link, status);
            }
            thread::yield_now();
        }
        let (this, link) = (self.this.upgrade(), Arc::clone(link));
        let wait = move || {
            let status = link.reap();
            if let Some(this) = this {
                this.has_died(&link, status);
            }
        };
        // Without a thread for it, the wait is done here: it is a short one.
        if let Err((_error, wait)) = spawn("raincheck-reaper", wait) {
            wait();
        }
    }

    fn has_died(&self, link: &Arc<Link>, status: io::Result<ExitStatus>) {
        link.hear(self);
        link.ledger.close();
        let mut acts = Vec::new();
        let mut lot = self.lot();
        let Some(hand) = lot.hands.remove(&link.id) else { return };
        // Until its place is taken, so that the pool does not seem to be over meanwhile.
        lot.starting += 1;
        drop(lot);
        let mut stranded = VecDeque::new();
        let mut has_cost = false;
        // The first that waited may be why it has ended, unless that was on purpose, or there is another reason.
        let mut may_be_why = hand.phase == Phase::Ready;
        for flight in hand.flights {
            let Some(sent) = flight.task else { continue };
            if sent.written.disembark() {
                if mem::take(&mut may_be_why) && sent.written.note_false_start() >= MOST_FALSE_STARTS {
                    let death = death_of(link, &status, Some((sent.written.entry.name(), None)));
                    acts.push(Act::End(sent, link.lane, TaskError::worker_died(death)));
                } else {
                    stranded.push_back(Task::of(sent.task));
                }
                continue;
            }
            may_be_why = false;
            sent.written.strand();
            if !link.page.has_started(flight.number) || sent.task.is_over() {
                acts.push(Act::Forget(sent.task));
                continue;
            }
            has_cost = true;
            let death = death_of(link, &status, Some((sent.written.entry.name(), Some(link.page.ran()))));
            let error = TaskError::worker_died(death);
            if sent.written.is_group {
                stranded.extend(self.go_on(link, sent, flight.part, &error));
            } else {
                acts.push(Act::End(sent, link.lane, error));
            }
        }
        // First, so that nobody sees the next task on this lane before the end of this one.
        self.perform(acts, &[]);

        let mut acts = Vec::new();
        let mut lot = self.lot();
        lot.starting -= 1;
        lot.lanes.give(link.lane.index());
        let was_let_go = hand.phase == Phase::Leaving && status.as_ref().is_ok_and(ExitStatus::success);
        let is_to_be_swept = kin::MARKS_ARE_SEEN && !was_let_go;
        let begins_to_sweep = is_to_be_swept && !lot.is_sweeping;
        if is_to_be_swept {
            lot.unswept.push(link.mark.clone());
            lot.is_sweeping = true;
        }
        put_back(&mut lot.queue, stranded);
        if hand.phase == Phase::Starting && !has_cost && lot.broken.is_none() {
            let why = match link.stranger() {
                Some(stranger) => {
                    // Those who say what they are will say the same next time.
                    if stranger != Stranger::IsSilent {
                        lot.failures = lot.failures.max(MOST_FAILURES);
                    }
                    format!("`{}` is no worker for this program: {stranger}", self.program.to_string_lossy())
                }
                None => format!("no worker could make itself ready; the last one, {}", death_of(link, &status, None)),
            };
            self.has_failed(lot, TaskError::worker_lost(why), false);
        } else {
            self.distribute(&mut lot, &mut acts);
            drop(lot);
            self.perform(acts, &[]);
        }
        if begins_to_sweep {
            self.sweep();
        }
        self.room.notify_all();
        self.tell_the_end();
    }

    /// Ends what workers that were killed or have crashed have started. That takes milliseconds, and so a thread.
    fn sweep(&self) {
        let this = self.this.upgrade().expect(HELD);
        let sweep = move || {
            while let Some(marks) = this.next_to_sweep() {
                kin::kill_marked(&marks);
            }
            this.tell_the_end();
        };
        if let Err((_error, sweep)) = spawn("raincheck-sweeper", sweep) {
            sweep();
        }
    }

    fn next_to_sweep(&self) -> Option<Vec<String>> {
        let mut lot = self.lot();
        let marks = mem::take(&mut lot.unswept);
        lot.is_sweeping = !marks.is_empty();
        lot.is_sweeping.then_some(marks)
    }

    /// Ends the input of a group in which its worker died. What goes on with those behind it comes back.
    fn go_on(&self, link: &Link, sent: Sent, mut part: Part, error: &TaskError) -> Option<Task> {
        part.read_on(&link.page);
        // Between two inputs nobody is to blame.
        if part.count() == link.page.input() {
            part.fail(error);
        }
        match sent.written.without_first(part.count()) {
            Some(written) => Some(Task::of(Arc::new(Rest::new(sent.task, written, part)))),
            None => {
                part.with(&carry::nanoseconds(link.page.ran()), |whole| end(&sent, link.lane, Ok(whole)));
                None
            }
        }
    }

    /// Tells everyone who waits for it that the last worker has gone, if so.
    fn tell_the_end(&self) {
        if self.lot().is_over() {
            self.ended.notify_all();
            self.poller.wake();
        }
    }

    /// Whether the pool cannot end while this thread, which calls what is the users', waits for that.
    fn is_needed_here(&self) -> bool {
        timer::is_clock() || self.listener.get() == Some(&thread::current().id())
    }

    fn is_full(&self, lot: &Lot, bound: usize) -> bool {
        lot.queue.len() >= bound + self.setup.workers.saturating_sub(lot.busy())
    }

    fn push_blocking(&self, bound: usize, task: Task) {
        let mut lot = self.lot();
        while self.is_full(&lot, bound) && lot.refusal().is_none() {
            lot = self.room.wait(lot).unwrap_or_else(PoisonError::into_inner);
        }
        self.push(lot, task);
    }

    /// Runs a task on the calling thread, in this process.
    fn run_in_caller(&self, mut lot: MutexGuard<'_, Lot>, task: Task) {
        let lane = lot.lanes.take();
        drop(lot);
        task.run(Lane::new(lane));
        self.lot().lanes.give(lane);
    }
}

/// Whether this says that the system, or this process, has no more descriptors, processes or memory at the moment.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| matches!(errno, Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM))
}

/// A number that is a frame's payload.
fn number(payload: &[u8]) -> io::Result<u64> {
    payload.first_chunk().map(|number| u64::from_le_bytes(*number)).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells a worker which function a number means.
fn define(link: &Link, written: &Written) -> io::Result<()> {
    let entry = written.entry;
    let mut payload = Vec::new();
    carry::write(&(entry.name(), entry.signature()), &mut payload).map_err(io::Error::other)?;
    link.post(Frame { entry: entry.number(), payload: &payload, ..Frame::new(Kind::Define) })
}

/// Hands in a task's outcome. If it is observed, it has started first, and nothing is said of it afterwards.
fn end(sent: &Sent, lane: Lane, answer: Result<&[u8], TaskError>) {
    let Some(moments) = &sent.moments else { return sent.task.conclude(answer) };
    let mut moments = lock(moments);
    if moments.over {
        return;
    }
    moments.over = true;
    let alarm = moments.time_limit.take();
    if !moments.begun {
        moments.begun = true;
        sent.task.begin(lane);
    }
    sent.task.conclude(answer);
    drop(moments);
    drop(alarm);
}

/// Takes back from a worker what it has not started, in the order in which it would have.
fn take_back(hand: &mut Hand) -> Vec<Task> {
    let waiting = hand.flights.iter_mut().filter_map(|flight| flight.task.take_if(|sent| sent.written.disembark()));
    waiting.map(|sent| Task::of(sent.task)).collect()
}

/// Puts tasks back into the queue that were taken out of it before all that is there.
fn put_back(queue: &mut Queue, tasks: impl IntoIterator<Item = Task>) {
    let (plain, ranked): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| task.priority() == 0);
    queue.push_front(plain);
    ranked.into_iter().for_each(|task| queue.push(task));
}

/// All that is known of a worker's end: which task it had to do with, and for how long if it had started it.
fn death_of(link: &Link, status: &io::Result<ExitStatus>, of: Option<(&str, Option<Duration>)>) -> Death {
    let status = status.as_ref().ok();
    let signal = status.and_then(ExitStatusExt::signal);
    Death {
        pid: link.pid,
        task: of.map(|(name, _)| name.to_owned()),
        ran: of.and_then(|(_, ran)| ran),
        exit_code: status.and_then(ExitStatus::code),
        signal,
        signal_name: signal.and_then(signal_name),
        overran: status.and_then(|status| overrun(*status, link.is_in_need(), link.oom_kills)),
        stderr: link.last_words(),
    }
}

/// Starts a thread, and gives the work back if there can be none.
fn spawn<F: FnOnce() + Send + 'static>(name: &str, work: F) -> Result<(), (io::Error, F)> {
    let work = Arc::new(Mutex::new(Some(work)));
    let its = Arc::clone(&work);
    let started = thread::Builder::new().name(name.into()).spawn(move || {
        if let Some(work) = lock(&its).take() {
            work();
        }
    });
    match started {
        Ok(_) => Ok(()),
        Err(error) => Err((error, lock(&work).take().expect("no thread has taken it"))),
    }
}

impl Executor for Core {
    fn execute(&self, task: Task) {
        let lot = self.lot();
        match self.setup.bound {
            Some((bound, full)) if self.is_full(&lot, bound) && lot.refusal().is_none() => match full {
                Full::Refuse => {
                    drop(lot);
                    task.refuse(TaskError::Refused);
                }
                Full::RunInCaller => self.run_in_caller(lot, task),
                Full::Block => {
                    drop(lot);
                    context::blocking(|| self.push_blocking(bound, task));
                }
            },
            _ => self.push(lot, task),
        }
    }

    fn workers(&self) -> usize {
        self.setup.workers
    }

    fn close(&self) {
        let mut acts = Vec::new();
        let mut lot = self.lot();
        lot.closed = true;
        let ids: Vec<u64> = lot.hands.keys().copied().collect();
        for id in ids {
            self.settle_idle(&mut lot, id, &mut acts);
        }
        drop(lot);
        self.perform(acts, &[]);
        self.room.notify_all();
        self.ended.notify_all();
        self.tell_the_end();
    }

    fn drain(&self) -> Vec<Task> {
        let mut acts = Vec::new();
        let mut lot = self.lot();
        let mut tasks: Vec<Task> = lot.hands.values_mut().flat_map(take_back).collect();
        tasks.extend(lot.queue.take_all());
        let ids: Vec<u64> = lot.hands.keys().copied().collect();
        for id in ids {
            self.settle_idle(&mut lot, id, &mut acts);
        }
        drop(lot);
        self.perform(acts, &[]);
        self.room.notify_all();
        self.tell_the_end();
        tasks
    }

    fn join(&self, deadline: Option<Instant>) -> bool {
        if self.is_needed_here() {
            return false;
        }
        context::blocking(|| {
            let mut lot = self.lot();
            while !(lot.closed && lot.is_over()) {
                lot = match deadline {
                    None => self.ended.wait(lot).unwrap_or_else(PoisonError::into_inner),
                    Some(deadline) => {
                        let rest = deadline.saturating_duration_since(Instant::now());
                        if rest.is_zero() {
                            return false;
                        }
                        self.ended.wait_timeout(lot, rest).unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            }
            true
        })
    }

    fn core(&self) -> Arc<dyn Executor> {
        self.this.upgrade().expect(HELD)
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn options(&self) -> Option<&Options> {
        self.setup.options()
    }
}

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
