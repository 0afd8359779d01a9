//! Who gets what: the tasks that wait, the workers that could take them, and what is told of either.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    io, mem,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError, Weak},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use super::{
    hand::{Flight, Hand, Phase, Sent, end, lock, take_back},
    limits::Limits,
    link::Link,
    number,
    poller::Poller,
    rest::Part,
    serve::Prepared,
    wire::{FAILED, FILES, Frame, GROUP, Kind, OBSERVED, SPENT},
};
use crate::{
    carry::{self, Berth, Written},
    cell::{Cancel, Remote},
    context,
    counted::Counted,
    error::TaskError,
    event::Lane,
    executor::Executor,
    options::Options,
    panics,
    queue::{Lanes, Queue},
    segment::{self, Attached},
    setup::{Full, Setup},
    sync::wait_while,
    task::Task,
    timer::{self, Alarm},
};

/// What the pool's threads share.
pub(crate) struct Core {
    pub(super) this: Weak<Self>,
    pub(super) setup: Setup,
    pub(super) program: OsString,
    pub(super) initializer: Option<Prepared>,
    pub(super) worker_state: Option<Prepared>,
    /// What goes with these calls.
    pub(super) attached: Attached,
    pub(super) tasks_per_worker: usize,
    pub(super) start: Duration,
    pub(super) idle: Option<Duration>,
    pub(super) grace: Option<Duration>,
    pub(super) limits: Limits,
    pub(super) lot: Mutex<Lot>,
    /// There is room in a bounded queue.
    pub(super) room: Condvar,
    /// The last worker has gone.
    pub(super) ended: Condvar,
    pub(super) poller: Poller,
    pub(super) listening: Once,
    /// Which thread listens to all workers.
    pub(super) listener: OnceLock<ThreadId>,
}

/// All that the lock guards.
#[derive(Default)]
pub(super) struct Lot {
    pub(super) queue: Queue,
    /// The workers, by the numbers of their links.
    pub(super) hands: BTreeMap<u64, Hand>,
    /// Workers that are being started.
    pub(super) starting: usize,
    pub(super) next_link: u64,
    pub(super) lanes: Lanes,
    /// How many workers in a row have ended before they were ready.
    pub(super) failures: u32,
    /// Set while no worker is started, since the last ones could not.
    pub(super) rest: Option<Alarm>,
    /// Set while a worker is idle that may be let go.
    pub(super) idle_alarm: Option<Alarm>,
    /// By what those are found who may have outlived their workers.
    pub(super) unswept: Vec<String>,
    pub(super) is_sweeping: bool,
    pub(super) closed: bool,
    /// Why there will never be a worker.
    pub(super) broken: Option<TaskError>,
}

/// What is to be done once no lock is held.
pub(super) enum Act {
    Begin(Sent, u64, u64, Lane),
    Progress(Sent, u64, u64, Lane, u64),
    /// The value is in this range of what was received.
    Answer(Sent, Lane, bool, Range<usize>, Attached),
    /// The same for the rest of a group.
    Complete(Sent, Lane, Part, Range<usize>, Attached),
    End(Sent, Lane, TaskError),
    /// It never started.
    Refuse(Counted<dyn Remote>, TaskError),
    /// It is done already, and this may be the last who holds it.
    Forget(Counted<dyn Remote>),
    Flush(Arc<Link>),
    Start(Lane),
    BreakDown(TaskError),
    MakeRoom,
}

pub(super) const HELD: &str = "whoever calls this holds it";

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

    pub(super) fn is_over(&self) -> bool {
        let has_workers = !self.hands.is_empty() || self.starting > 0 || self.is_sweeping;
        (self.closed || self.broken.is_some()) && self.queue.len() == 0 && !has_workers
    }
}

impl Core {
    pub(super) fn lot(&self) -> MutexGuard<'_, Lot> {
        // No user code runs under this lock, and none of ours panics.
        self.lot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker of this number, if it is there.
    pub(super) fn link(&self, id: u64) -> Option<Arc<Link>> {
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
    pub(super) fn serve(&self, mut lot: MutexGuard<'_, Lot>) {
        let mut acts = Vec::new();
        self.distribute(&mut lot, &mut acts);
        drop(lot);
        self.perform(acts, &[]);
    }

    pub(super) fn distribute(&self, lot: &mut Lot, acts: &mut Vec<Act>) {
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
    pub(super) fn note(&self, link: &Arc<Link>, received: &[u8], acts: &mut Vec<Act>) -> io::Result<()> {
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
                // Here nothing is left behind that would be missing to the next.
                Kind::Hand => drop(link.ledger.hand(frame.task)),
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
    pub(super) fn settle_idle(&self, lot: &mut Lot, id: u64, acts: &mut Vec<Act>) {
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

    /// The same for all of them.
    pub(super) fn settle_all(&self, lot: &mut Lot, acts: &mut Vec<Act>) {
        let ids: Vec<u64> = lot.hands.keys().copied().collect();
        for id in ids {
            self.settle_idle(lot, id, acts);
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
    pub(super) fn alarm(&self, delay: Duration, ring: impl FnOnce(&Self) + Send + 'static) -> Alarm {
        let this = Weak::clone(&self.this);
        timer::after(delay, move || {
            if let Some(this) = this.upgrade() {
                ring(&this);
            }
        })
    }

    /// Does what follows from what was noted. No lock is held.
    pub(super) fn perform(&self, acts: Vec<Act>, received: &[u8]) {
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
    pub(super) fn stop(&self, link: u64, number: u64) -> Cancel {
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
        // Nobody calls it off: it looks itself whether it is still due.
        mem::forget(self.alarm(grace, move |core| core.kill_if_still_at(id, number)));
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

    /// Whether the pool cannot end while this thread, which calls what is the users', waits for that.
    fn is_needed_here(&self) -> bool {
        self.listener.get() == Some(&thread::current().id())
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

/// Tells a worker which function a number means.
fn define(link: &Link, written: &Written) -> io::Result<()> {
    let entry = written.entry;
    let mut payload = Vec::new();
    carry::write(&(entry.name(), entry.signature()), &mut payload).map_err(io::Error::other)?;
    link.post(Frame { entry: entry.number(), payload: &payload, ..Frame::new(Kind::Define) })
}

/// Puts tasks back into the queue that were taken out of it before all that is there.
pub(super) fn put_back(queue: &mut Queue, tasks: impl IntoIterator<Item = Task>) {
    let (plain, ranked): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| task.priority() == 0);
    queue.push_front(plain);
    ranked.into_iter().for_each(|task| queue.push(task));
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
        self.settle_all(&mut lot, &mut acts);
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
        self.settle_all(&mut lot, &mut acts);
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
        let goes_on = |lot: &Lot| !(lot.closed && lot.is_over());
        context::blocking(|| wait_while(&self.ended, self.lot(), deadline, goes_on).is_some())
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
