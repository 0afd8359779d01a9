//! The clock: calls that are to be made at a given time.
//!
//! One thread serves the whole program. It is started by the first alarm, sleeps until the earliest one is due, and
//! sleeps for ever when there is none.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{cell::Inside, context::Host, executor::Executor, panics, task::Task};

/// A call that is to be made. Dropping it calls it off.
#[must_use = "an alarm that is dropped never rings"]
pub(crate) struct Alarm(Option<Key>);

/// Alarms are told apart by a number, since two may be due at the same instant.
type Key = (Instant, u64);

struct Timer {
    alarms: Mutex<Alarms>,
    /// Says that there is an earlier alarm than the one that the thread sleeps for.
    earlier: Condvar,
}

struct Alarms {
    due: BTreeMap<Key, Box<dyn FnOnce() + Send>>,
    number: u64,
}

/// Has `ring` called after `delay`, on the clock's thread. It must be quick: all other alarms wait meanwhile.
pub(crate) fn after(delay: Duration, ring: impl FnOnce() + Send + 'static) -> Alarm {
    // What lies beyond the clock's range never comes.
    match Instant::now().checked_add(delay) {
        Some(when) => at(when, ring),
        None => Alarm(None),
    }
}

/// Has `ring` called at `when`, on the clock's thread.
pub(crate) fn at(when: Instant, ring: impl FnOnce() + Send + 'static) -> Alarm {
    let timer = timer();
    let mut alarms = timer.alarms();
    let key = (when, alarms.number);
    alarms.number += 1;
    let is_earliest = alarms.due.first_key_value().is_none_or(|(first, _)| key < *first);
    alarms.due.insert(key, Box::new(ring));
    drop(alarms);
    if is_earliest {
        timer.earlier.notify_one();
    }
    Alarm(Some(key))
}

/// Has `ring` called after `delay`, whatever happens meanwhile.
#[cfg(all(feature = "process", unix))]
pub(crate) fn later(delay: Duration, ring: impl FnOnce() + Send + 'static) {
    std::mem::forget(after(delay, ring));
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
    static THREAD: OnceLock<()> = OnceLock::new();
    let timer = TIMER.get_or_init(|| Timer {
        alarms: Mutex::new(Alarms { due: BTreeMap::new(), number: 0 }),
        earlier: Condvar::new(),
    });
    THREAD.get_or_init(|| {
        thread::Builder::new()
            .name("raincheck-timer".into())
            .spawn(|| {
                IS_CLOCK.set(true);
                timer.serve()
            })
            .expect("the system can start one more thread, for the clock");
    });
    timer
}

impl Timer {
    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) -> ! {
        let mut alarms = self.alarms();
        loop {
            let now = Instant::now();
            alarms = match alarms.due.first_entry() {
                Some(first) if first.key().0 <= now => {
                    let ring = first.remove();
                    drop(alarms);
                    panics::contain(ring);
                    self.alarms()
                }
                Some(first) => {
                    let rest = first.key().0 - now;
                    self.earlier.wait_timeout(alarms, rest).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.earlier.wait(alarms).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

thread_local! {
    static IS_CLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is the clock's, which must not wait for anything.
pub(crate) fn is_clock() -> bool {
    IS_CLOCK.get()
}

/// Hands a task over on a thread of its own, for an executor that would keep the clock waiting.
pub(crate) fn hand_over_elsewhere(executor: Arc<dyn Executor>, task: Task) {
    // If there can be no thread, the task is dropped with the closure, and thereby cancelled.
    drop(thread::Builder::new().name("raincheck-late".into()).spawn(move || executor.execute(task)));
}

/// The time that a running task is given. Dropping it calls it off.
pub(crate) struct TimeLimit {
    /// The executor that is one worker short while an overrun task goes on.
    host: Option<Arc<dyn Host>>,
    _alarm: Alarm,
}

impl TimeLimit {
    pub(crate) fn start(limit: Duration, task: &Arc<dyn Inside>, host: Option<Arc<dyn Host>>) -> Self {
        let alarm = after(limit, {
            let task = Arc::downgrade(task);
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
        });
        Self { host, _alarm: alarm }
    }

    /// Says that the task has returned, after the clock had ended it.
    pub(crate) fn overrun_is_over(self) {
        if let Some(host) = &self.host {
            host.unblocked();
        }
    }
}
