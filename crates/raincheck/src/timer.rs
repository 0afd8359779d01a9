//! The clock: calls that are to be made at a given time.
//!
//! One thread serves the whole program. It is started by the first alarm, sleeps until the earliest one is due, and
//! sleeps for ever when there is none. It makes no call itself that may lead to the user's code, such as a callback, since
//! all others would wait meanwhile. Other threads answer what has rung: one as a rule, more as long as those are held up,
//! and none when there is nothing for a second.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    cell::Inside,
    context::Host,
    counted::Counted,
    error::{Outcome, TaskError},
    panics,
};

/// A call that is to be made. Dropping it calls it off.
#[must_use = "an alarm that is dropped never rings"]
pub(crate) struct Alarm(Option<Key>);

/// Alarms are told apart by a number, since two may be due at the same instant.
type Key = (Instant, u64);

type Ring = Box<dyn FnOnce() + Send>;

/// Who makes the call.
#[derive(Clone, Copy)]
enum By {
    /// The clock itself: it is quick.
    #[cfg(all(feature = "process", unix))]
    Clock,
    /// One of those that answer.
    Another,
}

#[derive(Default)]
struct Timer {
    is_started: OnceLock<()>,
    alarms: Mutex<Alarms>,
    /// Says that there is an earlier alarm than the one that the clock sleeps for.
    earlier: Condvar,
    /// Calls a thread that has nothing to answer.
    call: Condvar,
}

#[derive(Default)]
struct Alarms {
    due: BTreeMap<Key, (Ring, By)>,
    number: u64,
    /// What has rung and is not answered.
    rung: VecDeque<Ring>,
    /// How many threads answer; how many of them sleep and have not been called, and how many have been and have not come.
    answering: u32,
    sleeping: u32,
    called: u32,
    /// When one more is to be started, if something is not answered by then.
    patience: Option<Instant>,
}

/// How long each of those that answer may keep what has rung waiting before there is one more: with many of them it
/// takes longer, so that there are not as many threads as calls.
const PATIENCE: Duration = Duration::from_millis(1);

/// How long a thread waits for something to answer before it ends.
const SPARE_TIME: Duration = Duration::from_secs(1);

/// Has `ring` called after `delay`, on a thread that is there for that.
pub(crate) fn after(delay: Duration, ring: impl FnOnce() + Send + 'static) -> Alarm {
    set(delay, Box::new(ring), By::Another).expect(CLOCK)
}

const CLOCK: &str = "the system can start one more thread, for the clock";

/// Has `ring` called after `delay`; an error if there can be no clock.
fn set(delay: Duration, ring: Ring, by: By) -> io::Result<Alarm> {
    // What lies beyond the clock's range never comes.
    let Some(when) = Instant::now().checked_add(delay) else { return Ok(Alarm(None)) };
    let timer = timer();
    timer.start()?;
    let mut alarms = timer.alarms();
    let key = (when, alarms.number);
    alarms.number += 1;
    let is_earliest = alarms.due.first_key_value().is_none_or(|(first, _)| key < *first);
    alarms.due.insert(key, (ring, by));
    drop(alarms);
    if is_earliest {
        timer.earlier.notify_one();
    }
    Ok(Alarm(Some(key)))
}

/// Has `ring` called after `delay` by the clock itself, whatever happens meanwhile. It must be quick.
#[cfg(all(feature = "process", unix))]
pub(crate) fn later(delay: Duration, ring: impl FnOnce() + Send + 'static) {
    std::mem::forget(set(delay, Box::new(ring), By::Clock).expect(CLOCK));
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(key) = self.0 {
            let ring = timer().alarms().due.remove(&key);
            drop(ring);
        }
    }
}

fn timer() -> &'static Timer {
    static TIMER: OnceLock<Timer> = OnceLock::new();
    TIMER.get_or_init(Timer::default)
}

impl Timer {
    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that there is a clock.
    fn start(&'static self) -> io::Result<()> {
        if self.is_started.get().is_some() {
            return Ok(());
        }
        let _alarms = self.alarms();
        if self.is_started.get().is_none() {
            thread::Builder::new().name("raincheck-timer".into()).spawn(|| self.serve())?;
            self.is_started.get_or_init(|| ());
        }
        Ok(())
    }

    /// The life of the clock.
    fn serve(&'static self) -> ! {
        let mut alarms = self.alarms();
        loop {
            let now = Instant::now();
            if let Some(first) = alarms.due.first_entry()
                && first.key().0 <= now
            {
                match first.remove() {
                    #[cfg(all(feature = "process", unix))]
                    (ring, By::Clock) => {
                        drop(alarms);
                        panics::contain(ring);
                        alarms = self.alarms();
                    }
                    (ring, By::Another) => self.have_answered(&mut alarms, ring),
                }
            } else if alarms.patience.is_some_and(|end| end <= now) {
                alarms = self.have_more_answer(alarms);
            } else {
                let first = alarms.due.first_key_value().map(|((when, _), _)| *when);
                alarms = match first.into_iter().chain(alarms.patience).min() {
                    Some(next) => {
                        self.earlier.wait_timeout(alarms, next - now).unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => self.earlier.wait(alarms).unwrap_or_else(PoisonError::into_inner),
                };
            }
        }
    }

    /// Leaves what has rung to those who answer.
    fn have_answered(&self, alarms: &mut Alarms, ring: Ring) {
        alarms.rung.push_back(ring);
        if alarms.sleeping > 0 {
            alarms.sleeping -= 1;
            alarms.called += 1;
            self.call.notify_one();
        } else if alarms.patience.is_none() {
            alarms.patience = Some(Instant::now() + PATIENCE * alarms.answering);
        }
    }

    /// Has one more thread answer, if there is something that nobody has come to. If there can be none at all, the clock
    /// answers.
    fn have_more_answer(&'static self, mut alarms: MutexGuard<'static, Alarms>) -> MutexGuard<'static, Alarms> {
        alarms.patience = None;
        if alarms.rung.is_empty() {
            return alarms;
        }
        let started = thread::Builder::new().name("raincheck-late".into()).spawn(move || self.answer());
        if started.is_ok() {
            alarms.answering += 1;
        } else if alarms.answering == 0 {
            let ring = alarms.rung.pop_front();
            drop(alarms);
            ring.into_iter().for_each(panics::contain);
            alarms = self.alarms();
        }
        alarms.patience = Some(Instant::now() + PATIENCE * alarms.answering);
        alarms
    }

    /// The life of a thread that answers.
    fn answer(&self) {
        let mut alarms = self.alarms();
        loop {
            if let Some(ring) = alarms.rung.pop_front() {
                drop(alarms);
                panics::contain(ring);
                alarms = self.alarms();
                continue;
            }
            alarms.sleeping += 1;
            let (woken, waited) = self.call.wait_timeout(alarms, SPARE_TIME).unwrap_or_else(PoisonError::into_inner);
            alarms = woken;
            if alarms.called > 0 {
                alarms.called -= 1;
            } else {
                alarms.sleeping -= 1;
                if waited.timed_out() && alarms.rung.is_empty() {
                    alarms.answering -= 1;
                    return;
                }
            }
        }
    }
}

/// The time that a running task is given. Dropping it calls it off.
pub(crate) struct TimeLimit {
    /// The executor that is one worker short while an overrun task goes on.
    host: Option<Arc<dyn Host>>,
    _alarm: Alarm,
}

impl TimeLimit {
    pub(crate) fn start(limit: Duration, task: &Counted<dyn Inside>, host: Option<Arc<dyn Host>>) -> Outcome<Self> {
        let ring = {
            let task = Counted::downgrade(task);
            let host = host.clone();
            move || {
                let Some(task) = task.upgrade() else { return };
                if let Some(host) = &host {
                    host.blocked();
                }
                if !task.overrun(limit)
                    && let Some(host) = &host
                {
                    host.unblocked();
                }
            }
        };
        let alarm = set(limit, Box::new(ring), By::Another);
        let alarm = alarm.map_err(|error| TaskError::worker_lost(format!("nobody keeps its time: {error}")))?;
        Ok(Self { host, _alarm: alarm })
    }

    /// Says that the task has returned, after the clock had ended it.
    pub(crate) fn overrun_is_over(self) {
        if let Some(host) = &self.host {
            host.unblocked();
        }
    }
}
