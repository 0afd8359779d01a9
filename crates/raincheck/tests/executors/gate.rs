//! Where the threads of a test meet, and what counts as meeting too late.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Longer than anything takes here; what takes longer hangs, and the test fails.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(30);

/// A gate that tasks wait at until the test opens it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Gatekeeper>, Condvar)>);

#[derive(Default)]
struct Gatekeeper {
    arrived: usize,
    is_open: bool,
}

impl Gate {
    /// Waits, as a task, until the gate is open.
    pub(crate) fn pass(&self) {
        let (keeper, changed) = &*self.0;
        let mut guard = keeper.lock().unwrap();
        guard.arrived += 1;
        changed.notify_all();
        let (_guard, waited) = changed.wait_timeout_while(guard, TOO_LONG, |keeper| !keeper.is_open).unwrap();
        assert!(!waited.timed_out(), "the gate was never opened");
    }

    /// Waits, as the test, until so many tasks have arrived.
    pub(crate) fn wait_for(&self, arrived: usize) {
        let (keeper, changed) = &*self.0;
        let guard = keeper.lock().unwrap();
        let (_guard, waited) = changed.wait_timeout_while(guard, TOO_LONG, |keeper| keeper.arrived < arrived).unwrap();
        assert!(!waited.timed_out(), "fewer than {arrived} tasks arrived at the gate");
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().is_open = true;
        self.0.1.notify_all();
    }
}

/// Counts how many of its clones are alive.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(crate) fn new() -> (Self, impl Fn() -> usize) {
        let alive = Arc::new(AtomicUsize::new(1));
        let count = Arc::clone(&alive);
        (Self(alive), move || count.load(Ordering::SeqCst))
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Claims a result that must come soon, so that what hangs fails by name.
#[track_caller]
pub(crate) fn claim<T: Send + 'static>(future: raincheck::TaskFuture<T>) -> raincheck::Outcome<T> {
    future.result_timeout(TOO_LONG).unwrap_or_else(|future| panic!("it hangs: {future:?}"))
}
