//! The locks, atomics and threads that the core is built on: the standard library's, or loom's while loom explores
//! every interleaving of them.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

#[cfg(not(raincheck_loom))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    thread::{JoinHandle, LocalKey, Thread, current, park, park_timeout},
    thread_local,
};

#[cfg(raincheck_loom)]
pub(crate) use loom::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
    },
    thread::{JoinHandle, LocalKey, Thread, current, park},
};

#[cfg(all(test, raincheck_loom))]
pub(crate) use loom::cell::UnsafeCell;

#[cfg(not(raincheck_loom))]
pub(crate) use crate::brief::Brief;

/// What loom can watch: a cell that is got at inside a closure.
#[cfg(not(raincheck_loom))]
#[derive(Default)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(raincheck_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with<R>(&self, look: impl FnOnce(*const T) -> R) -> R {
        look(self.0.get())
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
        change(self.0.get())
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

/// A mutex in its place: loom makes nothing of a thread that looks again and again, except in the lock's own model.
#[cfg(raincheck_loom)]
#[derive(Default)]
pub(crate) struct Brief<T>(Mutex<T>);

#[cfg(raincheck_loom)]
impl<T> Brief<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.0)
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().expect(NOT_POISONED)
    }
}

/// Waits as long as `goes_on`, until the deadline at most. `None` if it still does then.
pub(crate) fn wait_while<'a, T>(
    changed: &Condvar,
    mut guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
    goes_on: impl Fn(&T) -> bool,
) -> Option<MutexGuard<'a, T>> {
    while goes_on(&guard) {
        guard = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(Duration::ZERO) => return None,
            Some(rest) => changed.wait_timeout(guard, rest).unwrap_or_else(PoisonError::into_inner).0,
        };
    }
    Some(guard)
}

/// What a thread has at hand for as long as it runs anything at all. What it drops at its end may be a pool or a future,
/// for which it must still be there; so it is not dropped itself, and whoever fills it empties it again.
pub(crate) type Lasting<T> = std::mem::ManuallyDrop<T>;

/// loom's own takes no `const { … }` where it is written, but does as an expression.
#[cfg(raincheck_loom)]
macro_rules! model_thread_local {
    ($($(#[$attribute:meta])* static $name:ident: $type:ty = $init:expr;)+) => {
        $(loom::thread_local! { $(#[$attribute])* static $name: $type = $init; })+
    };
}
#[cfg(raincheck_loom)]
pub(crate) use model_thread_local as thread_local;

/// Time stands still under loom: a limit never runs out.
#[cfg(raincheck_loom)]
pub(crate) fn park_timeout(_limit: std::time::Duration) {
    park();
}

/// What one thread changes all the time, away from what the others look at: two lines of cache, since processors fetch
/// them in pairs.
#[repr(align(128))]
#[derive(Default)]
pub(crate) struct Apart<T>(T);

impl<T> std::ops::Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// How long ago that was.
#[cfg(not(raincheck_loom))]
pub(crate) fn elapsed(since: std::time::Instant) -> std::time::Duration {
    since.elapsed()
}

/// Time stands still under loom, which must be able to run a model again as it was.
#[cfg(raincheck_loom)]
pub(crate) fn elapsed(_since: std::time::Instant) -> std::time::Duration {
    std::time::Duration::ZERO
}

/// Starts a thread.
#[cfg(not(raincheck_loom))]
pub(crate) fn spawn(
    name: String,
    stack_size: Option<usize>,
    life: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let builder = std::thread::Builder::new().name(name);
    match stack_size {
        Some(bytes) => builder.stack_size(bytes),
        None => builder,
    }
    .spawn(life)
}

/// Starts a thread of the model.
#[cfg(raincheck_loom)]
pub(crate) fn spawn(
    _name: String,
    _stack_size: Option<usize>,
    life: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    Ok(loom::thread::spawn(life))
}

/// Whether a thread has ended, so that nobody need wait for it.
#[cfg(not(raincheck_loom))]
pub(crate) fn is_finished(handle: &JoinHandle<()>) -> bool {
    handle.is_finished()
}

/// In a model every thread is waited for.
#[cfg(raincheck_loom)]
pub(crate) fn is_finished(_handle: &JoinHandle<()>) -> bool {
    false
}

/// What `expect` says of every lock: no user code runs while one is held, so none can be poisoned.
pub(crate) const NOT_POISONED: &str = "no lock is held across user code";

/// Locks, where no lock can be poisoned.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect(NOT_POISONED)
}

/// With one processor nobody else can bring about what a thread looks for.
#[cfg(not(raincheck_loom))]
static CAN_SPIN: std::sync::LazyLock<bool> =
    std::sync::LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1));

/// Looks now and again, for some microseconds in all, whether `ready` says yes: going to sleep and being woken costs
/// more than that. Returns what it says in the end.
///
/// With more than one processor, a thread that could make it so is let run in between.
#[cfg(not(raincheck_loom))]
pub(crate) fn spin(mut ready: impl FnMut() -> bool) -> bool {
    use std::{hint, thread};

    if ready() {
        return true;
    }
    if !*CAN_SPIN {
        return false;
    }
    for round in 0..60 {
        for _ in 0..16 {
            hint::spin_loop();
        }
        if ready() {
            return true;
        }
        if round >= 8 {
            thread::yield_now();
        }
    }
    ready()
}

/// How long who is awake, too, takes to answer what is quickly done.
#[cfg(all(feature = "process", unix, not(raincheck_loom)))]
pub(crate) const WHILE_AWAKE: Duration = Duration::from_micros(12);

/// The same for what another process does, which may want this very processor: it is let run at every look.
#[cfg(all(feature = "process", unix, not(raincheck_loom)))]
pub(crate) fn spin_for_another(longest: Duration, mut ready: impl FnMut() -> bool) -> bool {
    use std::{hint, thread};

    if ready() {
        return true;
    }
    if !*CAN_SPIN {
        return false;
    }
    // Most often the first turn is enough, and needs no clock.
    let mut end = None;
    loop {
        thread::yield_now();
        for _ in 0..4 {
            if ready() {
                return true;
            }
            hint::spin_loop();
        }
        let now = Instant::now();
        if now > *end.get_or_insert(now + longest) {
            return false;
        }
    }
}

/// What a thread does between two looks at a lock that is held for nanoseconds, the more patiently the longer it takes.
#[cfg(not(raincheck_loom))]
pub(crate) fn back_off(round: u32) {
    use std::{hint, thread, time::Duration};

    match round {
        0..32 => hint::spin_loop(),
        32..64 => thread::yield_now(),
        // Yielding lets nobody run whose priority is lower, and the lock may be with one of those.
        _ => thread::sleep(Duration::from_micros(20)),
    }
}

/// In a model the others run before this one looks again.
#[cfg(all(test, raincheck_loom))]
pub(crate) fn back_off(_round: u32) {
    loom::thread::yield_now();
}

/// Looks so many times, each some nanoseconds after the last, or until `ready` says yes.
#[cfg(not(raincheck_loom))]
pub(crate) fn linger(times: usize, mut ready: impl FnMut() -> bool) {
    for _ in 0..times {
        if ready() {
            return;
        }
        std::hint::spin_loop();
    }
}

/// In a model nothing comes by itself.
#[cfg(raincheck_loom)]
pub(crate) fn linger(_times: usize, _ready: impl FnMut() -> bool) {}

/// Under loom, waiting in a loop is a state space without end.
#[cfg(raincheck_loom)]
pub(crate) fn spin(mut ready: impl FnMut() -> bool) -> bool {
    ready()
}

/// What the standard library's thread-local cells can do, and loom's cannot.
#[cfg(raincheck_loom)]
pub(crate) trait LocalRefCell<T> {
    fn with_borrow<R>(&'static self, look: impl FnOnce(&T) -> R) -> R;
    fn with_borrow_mut<R>(&'static self, change: impl FnOnce(&mut T) -> R) -> R;
}

#[cfg(raincheck_loom)]
impl<T> LocalRefCell<T> for loom::thread::LocalKey<std::cell::RefCell<T>> {
    fn with_borrow<R>(&'static self, look: impl FnOnce(&T) -> R) -> R {
        self.with(|cell| look(&cell.borrow()))
    }

    fn with_borrow_mut<R>(&'static self, change: impl FnOnce(&mut T) -> R) -> R {
        self.with(|cell| change(&mut cell.borrow_mut()))
    }
}

/// The same for those that are copied.
#[cfg(raincheck_loom)]
pub(crate) trait LocalCell<T> {
    fn get(&'static self) -> T;
    fn set(&'static self, value: T);
    fn take(&'static self) -> T;
}

#[cfg(raincheck_loom)]
impl<T: Copy + Default> LocalCell<T> for loom::thread::LocalKey<std::cell::Cell<T>> {
    fn get(&'static self) -> T {
        self.with(|cell| cell.get())
    }

    fn set(&'static self, value: T) {
        self.with(|cell| cell.set(value));
    }

    fn take(&'static self) -> T {
        self.with(|cell| cell.take())
    }
}
