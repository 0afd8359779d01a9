//! How workers come, and how they go.

use std::{
    collections::VecDeque,
    io, mem,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::{Arc, Mutex, MutexGuard, Weak},
    thread,
    time::Duration,
};

use super::{
    dispatch::{Act, Core, HELD, Lot, put_back},
    hand::{Hand, Phase, Sent, end, lock, take_back},
    kin,
    limits::overrun,
    link::{END, Link, STDERR, TOKENS},
    rest::{Part, Rest},
    serve::Hello,
    wire::Stranger,
};
use crate::{
    carry,
    cell::Remote,
    counted::{Counted, widen},
    error::{Death, TaskError, signal_name},
    event::Lane,
    task::Task,
    timer,
};

/// Why there is no new worker.
enum Failure {
    /// The system is short of something, which may be there again when the next task comes.
    Passes(TaskError),
    /// The next one would fare no better.
    Stays(TaskError),
}

/// How many workers in a row may fail to start before the pool gives up.
const MOST_FAILURES: u32 = 5;

/// How many workers may end one after the other that are about to start one and the same task: what they were sent with
/// it may be more than they can take.
const MOST_FALSE_STARTS: u32 = 5;

/// How long the pool rests after the first of them; twice as long after the next.
const FIRST_REST: Duration = Duration::from_millis(20);

impl Core {
    /// Starts a worker, on a thread of its own, since that takes a while.
    pub(super) fn start(&self, lane: Lane) {
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
        self.has_failed(lot, if is_shortage(error) { Failure::Passes(why) } else { Failure::Stays(why) });
        self.tell_the_end();
    }

    /// Rests before the next worker is started, or gives up: for good, unless the next task may find it otherwise.
    fn has_failed(&self, mut lot: MutexGuard<'_, Lot>, failure: Failure) {
        lot.failures += 1;
        let is_alone = lot.hands.is_empty() && lot.starting == 0;
        if lot.failures >= MOST_FAILURES && is_alone {
            let why = match failure {
                Failure::Passes(why) => why,
                Failure::Stays(why) => {
                    drop(lot);
                    return self.break_down(&why);
                }
            };
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
    pub(super) fn break_down(&self, error: &TaskError) {
        let mut acts = Vec::new();
        let mut lot = self.lot();
        lot.broken.get_or_insert_with(|| error.clone());
        let mut tasks: Vec<Task> = lot.hands.values_mut().flat_map(take_back).collect();
        tasks.extend(lot.queue.take_all());
        self.settle_all(&mut lot, &mut acts);
        drop(lot);
        self.room.notify_all();
        self.ended.notify_all();
        for task in tasks {
            task.refuse(error.clone());
        }
        self.perform(acts, &[]);
    }

    /// Starts the thread that listens to all workers, if it is not there.
    pub(super) fn listen(&self) {
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
    pub(super) fn bury(&self, link: &Arc<Link>) {
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
        link.hear_out(self);
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
            self.has_failed(lot, Failure::Stays(TaskError::worker_lost(why)));
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
            Some(written) => {
                let rest = Counted::new(Rest::new(sent.task, written, part));
                Some(Task::of(widen!(rest => dyn Remote)))
            }
            None => {
                part.with(&carry::nanoseconds(link.page.ran()), |whole| end(&sent, link.lane, Ok(whole)));
                None
            }
        }
    }

    /// Tells everyone who waits for it that the last worker has gone, if so.
    pub(super) fn tell_the_end(&self) {
        if self.lot().is_over() {
            self.ended.notify_all();
            self.poller.wake();
        }
    }
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

/// Whether this says that the system, or this process, has no more descriptors, processes or memory at the moment.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| matches!(errno, Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM))
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
