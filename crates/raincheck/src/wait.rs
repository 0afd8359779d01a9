//! Waiting: for one future, and for many.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    cell::{Claim, Watcher},
    context,
    counted::Counted,
    error::TaskError,
    future::TaskFuture,
    panics,
    shared::Shared,
    sync::{self, Mutex, Thread, lock, spin},
};

/// Blocks until the task is done or the time has come. Returns whether it is done.
///
/// A worker of the task's own executor runs it itself if nobody has started it: it is what the worker waits for, so
/// no stranger's task gets onto its stack. If it cannot, another worker takes its place while it waits.
pub(crate) fn wait_for<T: 'static>(task: &Counted<dyn Claim<T>>, until: Option<Instant>) -> bool {
    if task.flags().is_done() {
        return true;
    }
    // Running it would take as long as it takes: not for one who gives it only so long.
    if until.is_none() && help(task) {
        return true;
    }
    #[cfg(all(feature = "process", unix))]
    if crate::ear::listen_for(task, until) {
        return true;
    }
    if spin(|| task.flags().is_done()) {
        return true;
    }
    context::blocking(|| {
        let thread = sync::current();
        if task.watch(Watcher::Thread(thread.clone())).is_err() {
            return true;
        }
        let done = park_until(until, || task.flags().is_done());
        if !done {
            task.unwatch(&|watcher| matches!(watcher, Watcher::Thread(other) if other.id() == thread.id()));
        }
        done
    })
}

/// Runs the task here if this thread may and nobody else has. Returns whether it is done for that.
pub(crate) fn help<T: 'static>(task: &Counted<dyn Claim<T>>) -> bool {
    context::is_at_home(task.home()) && context::deeper(|| task.help()).unwrap_or(false)
}

/// Parks this thread until `ready` says so or the time has come. Returns what `ready` says in the end.
fn park_until(until: Option<Instant>, mut ready: impl FnMut() -> bool) -> bool {
    loop {
        if ready() {
            return true;
        }
        match until {
            None => sync::park(),
            Some(until) => match until.checked_duration_since(Instant::now()) {
                Some(rest) if !rest.is_zero() => sync::park_timeout(rest),
                _ => return ready(),
            },
        }
    }
}

/// Something that holds a future: what [`wait`] and [`as_completed`] take, and give back.
///
/// A [`TaskFuture`], a [`Shared`], or a pair of a key and either, so that what comes back can be told apart.
pub trait Awaited {
    #[doc(hidden)]
    fn is_done(&self) -> bool;
    #[doc(hidden)]
    fn error(&self) -> Option<TaskError>;
    /// Has the signal raised when the future is done. `false` if it is done already.
    #[doc(hidden)]
    fn signal(&self, signal: &Arc<Signal>, place: usize) -> bool;
    /// Has the signal forgotten.
    #[doc(hidden)]
    fn unsignal(&self, signal: &Arc<Signal>);
    /// How this thread runs the task itself, if it may; it says whether it did.
    #[doc(hidden)]
    fn helper(&self) -> Option<Box<dyn FnOnce() -> bool>>;
}

impl<T: Send + 'static> Awaited for TaskFuture<T> {
    fn is_done(&self) -> bool {
        TaskFuture::is_done(self)
    }

    fn error(&self) -> Option<TaskError> {
        TaskFuture::error(self)
    }

    fn signal(&self, signal: &Arc<Signal>, place: usize) -> bool {
        self.cell().watch(Watcher::Signal(Arc::clone(signal), place)).is_ok()
    }

    fn unsignal(&self, signal: &Arc<Signal>) {
        self.cell().unwatch(&|watcher| matches!(watcher, Watcher::Signal(other, _) if Arc::ptr_eq(other, signal)));
    }

    fn helper(&self) -> Option<Box<dyn FnOnce() -> bool>> {
        let cell = self.cell().clone();
        context::is_at_home(cell.home()).then(|| Box::new(move || help(&cell)) as _)
    }
}

impl<T: Send + Sync + 'static> Awaited for Shared<T> {
    fn is_done(&self) -> bool {
        Shared::is_done(self)
    }

    fn error(&self) -> Option<TaskError> {
        Shared::error(self)
    }

    fn signal(&self, signal: &Arc<Signal>, place: usize) -> bool {
        // To its own callbacks it is done before those who wait are told.
        !Shared::is_done(self) && self.cell().watch(Watcher::Signal(Arc::clone(signal), place)).is_ok()
    }

    fn unsignal(&self, signal: &Arc<Signal>) {
        self.cell().unwatch(&|watcher| matches!(watcher, Watcher::Signal(other, _) if Arc::ptr_eq(other, signal)));
    }

    fn helper(&self) -> Option<Box<dyn FnOnce() -> bool>> {
        let this = self.clone();
        context::is_worker().then(|| Box::new(move || this.help()) as _)
    }
}

impl<K, A: Awaited> Awaited for (K, A) {
    fn is_done(&self) -> bool {
        self.1.is_done()
    }

    fn error(&self) -> Option<TaskError> {
        self.1.error()
    }

    fn signal(&self, signal: &Arc<Signal>, place: usize) -> bool {
        self.1.signal(signal, place)
    }

    fn unsignal(&self, signal: &Arc<Signal>) {
        self.1.unsignal(signal);
    }

    fn helper(&self) -> Option<Box<dyn FnOnce() -> bool>> {
        self.1.helper()
    }
}

/// Where many futures say that they are done, for one who waits for them together.
#[doc(hidden)]
#[derive(Default)]
pub struct Signal(Mutex<Raised>);

#[derive(Default)]
struct Raised {
    /// The places of those that are done and have not been asked for.
    places: VecDeque<usize>,
    threads: Vec<Thread>,
    /// One at the most for each that awaits the next, by its number.
    wakers: Vec<(usize, Waker)>,
    /// How many have awaited.
    numbers: usize,
}

impl Raised {
    /// Adds a waker, and gives back the one that it replaces.
    fn add_waker(&mut self, number: usize, waker: Waker) -> Option<Waker> {
        match self.wakers.iter_mut().find(|(other, _)| *other == number) {
            Some((_, old)) => Some(mem::replace(old, waker)),
            None => {
                self.wakers.push((number, waker));
                None
            }
        }
    }
}

/// One that awaits the next. When it is dropped, it is woken no more.
struct Waiting<'a> {
    signal: &'a Signal,
    number: usize,
}

impl<'a> Waiting<'a> {
    fn at(signal: &'a Signal) -> Self {
        let mut raised = lock(&signal.0);
        raised.numbers += 1;
        Self { signal, number: raised.numbers }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut raised = lock(&self.signal.0);
        let place = raised.wakers.iter().position(|(number, _)| *number == self.number);
        let waker = place.map(|place| raised.wakers.swap_remove(place));
        drop(raised);
        panics::discard(waker);
    }
}

impl Signal {
    /// Says that the future in this place is done.
    pub(crate) fn raise(&self, place: usize) {
        lock(&self.0).places.push_back(place);
        self.stir();
    }

    /// The next future that is done, in the order in which they were.
    fn lowered(&self) -> Option<usize> {
        lock(&self.0).places.pop_front()
    }

    /// Blocks until there is a next one, nothing is left that could be one, or the time has come.
    fn wait(&self, until: Option<Instant>, is_over: impl Fn() -> bool) -> Option<usize> {
        if spin(|| self.is_raised()) {
            let place = self.lowered();
            if place.is_some() {
                return place;
            }
        }
        context::blocking(|| {
            let me = sync::current();
            let mut place = None;
            park_until(until, || {
                let mut raised = lock(&self.0);
                place = raised.places.pop_front();
                if place.is_some() || is_over() {
                    return true;
                }
                if !raised.threads.iter().any(|thread| thread.id() == me.id()) {
                    raised.threads.push(me.clone());
                }
                false
            });
            place
        })
    }

    fn is_raised(&self) -> bool {
        !lock(&self.0).places.is_empty()
    }

    /// Has everyone who waits look again.
    fn stir(&self) {
        let mut raised = lock(&self.0);
        let threads = mem::take(&mut raised.threads);
        let wakers = mem::take(&mut raised.wakers);
        drop(raised);
        threads.iter().for_each(Thread::unpark);
        // A waker is the user's, and whoever finishes a promise has nothing to do with it.
        wakers.into_iter().for_each(|(_, waker)| panics::contain(|| waker.wake()));
    }
}

/// For how many of its futures [`wait`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Until {
    /// Until one is done, however it ended.
    FirstCompleted,
    /// Until one has failed, which being cancelled is not, or all are done.
    FirstFailed,
    /// Until all are done.
    AllCompleted,
}

/// What [`wait`] gives back: the items it was given, in the order in which it was given them.
#[derive(Debug)]
pub struct Waited<I> {
    /// Those that are done.
    pub done: Vec<I>,
    /// Those that are not.
    pub not_done: Vec<I>,
}

/// Blocks until as many of `items` are done as `until` says, and sorts them into those that are and those that are
/// not.
///
/// An item is a future, or a pair of a key and a future; they may belong to different executors. A cancelled future is
/// done. Returns at once if there is none.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, ThreadPool, Until, wait};
///
/// let pool = ThreadPool::new(2);
/// let futures = ["one", "two"].map(|word| (word, pool.submit(move || word.len())));
/// let waited = wait(futures, Until::AllCompleted);
/// assert_eq!(waited.done.len(), 2);
/// assert!(waited.not_done.is_empty());
/// ```
pub fn wait<I: Awaited>(items: impl IntoIterator<Item = I>, until: Until) -> Waited<I> {
    wait_until(items, until, None)
}

/// The same as [`wait`], for at most `limit`. That the time is up is no error: it shows in what is not done.
pub fn wait_timeout<I: Awaited>(items: impl IntoIterator<Item = I>, until: Until, limit: Duration) -> Waited<I> {
    wait_until(items, until, Instant::now().checked_add(limit))
}

fn wait_until<I: Awaited>(items: impl IntoIterator<Item = I>, until: Until, deadline: Option<Instant>) -> Waited<I> {
    let items: Vec<I> = items.into_iter().collect();
    let is_enough = |item: &I| match until {
        Until::FirstCompleted => true,
        Until::FirstFailed => item.error().is_some_and(|error| !error.is_cancelled()),
        Until::AllCompleted => false,
    };
    let signal = Arc::new(Signal::default());
    let mut outstanding = 0;
    let mut enough = false;
    for (place, item) in items.iter().enumerate() {
        if item.signal(&signal, place) {
            outstanding += 1;
        } else {
            enough |= is_enough(item);
        }
    }
    let mut helpers = items.iter().filter_map(Awaited::helper);
    while !enough && outstanding > 0 {
        let raised = signal.lowered().or_else(|| {
            // What this thread runs itself, it need not wait for.
            if deadline.is_none() && helpers.any(|help| help()) {
                return signal.lowered();
            }
            signal.wait(deadline, || false)
        });
        let Some(place) = raised else { break };
        outstanding -= 1;
        enough = is_enough(&items[place]);
    }
    drop(helpers);
    if outstanding > 0 {
        items.iter().for_each(|item| item.unsignal(&signal));
    }
    let (done, not_done) = items.into_iter().partition(Awaited::is_done);
    Waited { done, not_done }
}

/// Gives the `items` back one after the other, each when it is done, whichever is first.
///
/// An item is a future, or a pair of a key and a future; they may belong to different executors. Those that are done
/// already come first. To add further ones on the way, see [`CompletionQueue`].
///
/// # Blocking
///
/// The iterator's `next` blocks until one more is done. Inside a task it does what
/// [`TaskFuture::result`] does there.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, ThreadPool, as_completed};
///
/// let pool = ThreadPool::new(2);
/// let futures = ["one", "three"].map(|word| (word, pool.submit(move || word.len())));
/// for (word, length) in as_completed(futures) {
///     assert_eq!(length.result()?, word.len());
/// }
/// # Ok::<(), raincheck::TaskError>(())
/// ```
pub fn as_completed<I: Awaited>(items: impl IntoIterator<Item = I>) -> AsCompleted<I> {
    let queue = CompletionQueue::new();
    for item in items {
        queue.push(item);
    }
    AsCompleted { total: queue.len(), queue, until: None }
}

/// The iterator that [`as_completed`] returns. Dropping it drops the futures that it still holds.
pub struct AsCompleted<I> {
    queue: CompletionQueue<I>,
    total: usize,
    until: Option<Instant>,
}

impl<I: Awaited> AsCompleted<I> {
    /// Ends the iteration when `limit` has passed, counted from now. What is not done by then is dropped, or taken
    /// out by [`into_rest`](Self::into_rest).
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.until = Instant::now().checked_add(limit);
        self
    }

    /// How many items it was given, and how many of them have not come out.
    pub fn unfinished(&self) -> (usize, usize) {
        (self.queue.len(), self.total)
    }

    /// Takes out the items that have not come out.
    pub fn into_rest(self) -> Vec<I> {
        self.queue.into_rest()
    }
}

impl<I: Awaited> Iterator for AsCompleted<I> {
    type Item = I;

    fn next(&mut self) -> Option<I> {
        self.queue.next_until(self.until, self.until.is_none())
    }
}

impl<I> fmt::Debug for AsCompleted<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsCompleted({} (of {}) futures unfinished)", self.queue.len(), self.total)
    }
}

/// A queue of futures that come out when they are done, and to which further ones can be added at any time, by any
/// thread.
///
/// Dropping it drops the futures that it holds.
///
/// # Examples
///
/// A crawler adds what it finds while it reads what is done:
///
/// ```
/// use raincheck::{CompletionQueue, Executor, ThreadPool};
///
/// let pool = ThreadPool::new(2);
/// let queue = CompletionQueue::new();
/// queue.push(pool.submit(|| 1));
/// let mut sum = 0;
/// while let Some(future) = queue.next() {
///     let number = future.result()?;
///     sum += number;
///     if number < 4 {
///         queue.push(pool.submit(move || number * 2));
///     }
/// }
/// assert_eq!(sum, 1 + 2 + 4);
/// # Ok::<(), raincheck::TaskError>(())
/// ```
pub struct CompletionQueue<I> {
    items: Mutex<Items<I>>,
    signal: Arc<Signal>,
}

struct Items<I> {
    /// Each in its place, until it comes out.
    held: Vec<Option<I>>,
    vacant: Vec<usize>,
}

impl<I: Awaited> CompletionQueue<I> {
    /// A queue of no futures.
    pub fn new() -> Self {
        Self { items: Mutex::new(Items { held: Vec::new(), vacant: Vec::new() }), signal: Arc::new(Signal::default()) }
    }

    /// Adds one. Never blocks.
    pub fn push(&self, item: I) {
        let mut items = lock(&self.items);
        let place = items.vacant.pop().unwrap_or(items.held.len());
        // Registered under the lock, so that nobody who is signalled finds the place empty.
        let is_done = !item.signal(&self.signal, place);
        if place == items.held.len() {
            items.held.push(Some(item));
        } else {
            items.held[place] = Some(item);
        }
        drop(items);
        if is_done {
            self.signal.raise(place);
        }
    }

    /// The next one that is done. Blocks until there is one; `None` if the queue holds no future at all.
    pub fn next(&self) -> Option<I> {
        self.next_until(None, true)
    }

    /// The same as `next`, but blocks for at most `limit`; `None` then, too.
    pub fn next_timeout(&self, limit: Duration) -> Option<I> {
        self.next_until(Instant::now().checked_add(limit), false)
    }

    /// The same, but what this thread may run itself it does, however long that takes.
    pub(crate) fn next_soon(&self, limit: Duration) -> Option<I> {
        self.next_until(Instant::now().checked_add(limit), true)
    }

    /// The next one that is done, for async code; `None` if the queue holds no future at all.
    pub async fn next_async(&self) -> Option<I> {
        let waiting = Waiting::at(&self.signal);
        let place = poll_fn(|cx| {
            // Cloned before the lock is taken, since that is the user's code too.
            let waker = cx.waker().clone();
            let mut raised = lock(&self.signal.0);
            match raised.places.pop_front() {
                Some(place) => Poll::Ready(Some(place)),
                None if self.is_empty() => Poll::Ready(None),
                None => {
                    let replaced = raised.add_waker(waiting.number, waker);
                    drop(raised);
                    drop(replaced);
                    context::note_await();
                    Poll::Pending
                }
            }
        })
        .await?;
        self.take(place)
    }

    fn next_until(&self, until: Option<Instant>, may_help: bool) -> Option<I> {
        if let Some(place) = self.signal.lowered() {
            return self.take(place);
        }
        // A limit that is over already asks for a look; parking for no time at all would take the kernel's while.
        if self.is_empty() || until.is_some_and(|until| until <= Instant::now()) {
            return None;
        }
        if may_help
            && self.help()
            && let Some(place) = self.signal.lowered()
        {
            return self.take(place);
        }
        self.take(self.signal.wait(until, || self.is_empty())?)
    }

    /// Runs one of the tasks here if this thread may and nobody else has. Returns whether it did.
    fn help(&self) -> bool {
        if !context::is_worker() {
            return false;
        }
        let mut place = 0;
        loop {
            let helper = match lock(&self.items).held.get(place) {
                None => return false,
                Some(item) => item.as_ref().and_then(Awaited::helper),
            };
            if helper.is_some_and(|help| help()) {
                return true;
            }
            place += 1;
        }
    }

    /// Takes out all that are still in it, done or not.
    pub fn into_rest(self) -> Vec<I> {
        let rest: Vec<I> = lock(&self.items).held.drain(..).flatten().collect();
        rest.iter().for_each(|item| item.unsignal(&self.signal));
        rest
    }

    fn take(&self, place: usize) -> Option<I> {
        let mut items = lock(&self.items);
        let item = items.held[place].take();
        items.vacant.push(place);
        let is_last = items.vacant.len() == items.held.len();
        drop(items);
        if is_last {
            self.signal.stir();
        }
        item
    }
}

impl<I> CompletionQueue<I> {
    /// How many futures are in it, done or not.
    pub fn len(&self) -> usize {
        let items = lock(&self.items);
        items.held.len() - items.vacant.len()
    }

    /// Whether there is no future in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<I: Awaited> Default for CompletionQueue<I> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I> fmt::Debug for CompletionQueue<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompletionQueue").field("len", &self.len()).finish()
    }
}
