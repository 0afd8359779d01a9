//! One outcome, many readers.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock, atomic},
    task::{Context, Poll},
    thread::{self, ThreadId},
    time::Duration,
};

use crate::{
    cell::{Cancel, Claim, Watcher},
    context,
    counted::{Counted, Weak},
    error::{Outcome, TaskError},
    future::TaskFuture,
    promise::promise,
    wait,
};

/// A future whose outcome stays where it is, for as many as hold a clone of it.
///
/// Made by [`TaskFuture::shared`]. Each clone can wait, block or `.await` by itself; dropping one does nothing to the
/// others, and dropping all of them lets the task run on.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, ThreadPool};
///
/// let pool = ThreadPool::new(2);
/// let page = pool.submit(|| String::from("page")).shared();
/// let length = pool.submit({ let page = page.clone(); move || page.get().unwrap().len() });
/// assert_eq!(length.result().unwrap(), 4);
/// assert_eq!(page.result().unwrap(), "page");
/// ```
pub struct Shared<T> {
    common: Arc<Common<T>>,
    /// Which of the clones this is, for the one async task that awaits it.
    end: usize,
    /// Whether one has.
    is_awaited: bool,
}

struct Common<T> {
    outcome: OnceLock<Outcome<T>>,
    /// Who has put it there, and shows it to the callbacks before anyone else.
    settler: OnceLock<ThreadId>,
    /// Done when the outcome is there.
    there: TaskFuture<()>,
    source: Weak<dyn Claim<T>>,
}

impl<T: Send + Sync + 'static> Shared<T> {
    pub(crate) fn of(future: TaskFuture<T>) -> Self {
        let (promise, there) = promise();
        let source = Counted::downgrade(future.cell());
        if future.cell().flags().take_cancel_on_drop() {
            // Held by all the readers together, so that the last one to go cancels.
            there.cell().set_cancel_on_drop();
            let source = source.clone();
            promise.on_cancel(move || source.upgrade().map_or(Cancel::TooLate, |source| source.cancel()));
        }
        let common = Arc::new(Common { outcome: OnceLock::new(), settler: OnceLock::new(), there, source });
        let weak = Arc::downgrade(&common);
        future.consume(move |outcome| {
            // If no reader is left, nobody wants it.
            if let Some(common) = weak.upgrade() {
                // Both are set once: a future has one consumer, which is called once.
                let _ = common.settler.set(thread::current().id());
                let _ = common.outcome.set(outcome);
                promise.finish(Ok(()));
            }
        });
        Self { common, end: 0, is_awaited: false }
    }

    pub(crate) fn cell(&self) -> &Counted<dyn Claim<()>> {
        self.common.there.cell()
    }

    /// Runs the task here if this thread may and nobody else has.
    pub(crate) fn help(&self) -> bool {
        self.common.source.upgrade().is_some_and(|source| wait::help(&source))
    }

    /// A look at the task's value, or at why there is none.
    ///
    /// Blocks until the task is done, as [`TaskFuture::result`] does.
    pub fn get(&self) -> Result<&T, &TaskError> {
        self.wait();
        self.common.outcome.get().expect("it is there when its signal says so").as_ref()
    }

    /// Returns a copy of the task's value, or why there is none.
    ///
    /// Blocks until the task is done, as [`TaskFuture::result`] does.
    pub fn result(&self) -> Outcome<T>
    where
        T: Clone,
    {
        self.get().cloned().map_err(Clone::clone)
    }

    /// A look at the outcome if it is there. Never blocks.
    pub fn try_get(&self) -> Option<Result<&T, &TaskError>> {
        self.is_done().then(|| self.get())
    }

    /// Blocks until the task is done.
    pub fn wait(&self) {
        if !self.is_done() {
            self.help();
            self.common.there.wait();
        }
    }

    /// Blocks until the task is done, or `limit` has passed. Returns whether it is done.
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        self.is_done() || self.common.there.wait_timeout(limit)
    }

    /// Whether the task has its outcome, cancelled included. Never blocks.
    pub fn is_done(&self) -> bool {
        // To a callback it is done; everyone else waits for those.
        self.common.there.is_done()
            || self.common.settler.get().is_some_and(|settler| *settler == thread::current().id())
    }

    /// Whether a worker has started the task, and it has no outcome yet. Never blocks.
    pub fn is_running(&self) -> bool {
        self.common.source.upgrade().is_some_and(|source| source.is_running())
    }

    /// Whether the task is done without a value because it was cancelled. Never blocks.
    pub fn is_cancelled(&self) -> bool {
        self.error().is_some_and(|error| error.is_cancelled())
    }

    /// Why the task has no value; `None` if it has one, or no outcome yet. Never blocks.
    pub fn error(&self) -> Option<TaskError> {
        self.common.outcome.get().and_then(|outcome| outcome.as_ref().err().cloned())
    }

    /// Cancels the task for all its readers; see [`TaskFuture::cancel`].
    pub fn cancel(&self) -> Cancel {
        match self.common.source.upgrade() {
            Some(source) => source.cancel(),
            None if self.is_cancelled() => Cancel::Prevented,
            None => Cancel::TooLate,
        }
    }

    /// Has `look` called with the outcome; see [`TaskFuture::on_done`].
    pub fn on_done(&self, look: impl FnOnce(&Outcome<T>) + Send + 'static) {
        // Held weakly, since the callback itself is held by what it would hold.
        let common = Arc::downgrade(&self.common);
        self.common.there.on_done(move |_there| {
            if let Some(outcome) = common.upgrade().as_ref().and_then(|common| common.outcome.get()) {
                look(outcome);
            }
        });
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        static NEXT: atomic::AtomicUsize = atomic::AtomicUsize::new(1);
        let end = NEXT.fetch_add(1, atomic::Ordering::Relaxed);
        Self { common: Arc::clone(&self.common), end, is_awaited: false }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.is_awaited && !self.common.there.is_done() {
            // Nobody awaits it here any more; the others may do so for long.
            let is_one = |watcher: &Watcher<()>| matches!(watcher, Watcher::Waker(end, _) if *end == self.end);
            self.common.there.cell().unwatch(&is_one);
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Future for Shared<T> {
    type Output = Outcome<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        let waker = Watcher::Waker(self.end, cx.waker().clone());
        if !self.is_done() && self.cell().watch(waker).is_ok() {
            self.is_awaited = true;
            context::note_await();
            return Poll::Pending;
        }
        Poll::Ready(self.result())
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.is_done(), self.is_running()) {
            (true, _) => "done",
            (false, true) => "running",
            (false, false) => "pending",
        };
        write!(f, "<Shared state={state}>")
    }
}
