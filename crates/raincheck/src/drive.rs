//! A future as a task: polled with the task's context around it, and dropped at the next await when it is cancelled.

use std::{
    mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    cell::{Cancel, Inside},
    context,
    counted::Counted,
    error::{Outcome, TaskError},
    panics::{catch, discard},
    sync::{self, AtomicBool, Ordering, Thread},
};

/// A task's future while it runs; ready with the task's outcome.
pub(crate) struct Driven<T> {
    task: Counted<dyn Inside>,
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    /// Who polls, for whoever cancels. Set anew at each poll.
    poller: Arc<Mutex<Waker>>,
}

impl<T> Driven<T> {
    pub(crate) fn new(task: Counted<dyn Inside>, work: Pin<Box<dyn Future<Output = T> + Send>>) -> Self {
        let poller = Arc::new(Mutex::new(Waker::noop().clone()));
        let to_stop = Arc::clone(&poller);
        task.on_cancel(Box::new(move || {
            replace(&to_stop, Waker::noop().clone()).wake();
            Cancel::Stopped
        }));
        Self { task, work: Some(work), poller }
    }
}

impl<T> Future for Driven<T> {
    type Output = Outcome<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<T>> {
        // The waker must be in its place before the look at the flag: whoever cancels does it the other way round.
        let is_other = !self.poller.lock().unwrap_or_else(PoisonError::into_inner).will_wake(cx.waker());
        if is_other {
            // To clone or drop a waker is the user's code, for which no lock is held.
            drop(replace(&self.poller, cx.waker().clone()));
        }
        let Self { task, work, .. } = self.get_mut();
        context::inside(task, || {
            if task.flags().should_stop() {
                discard(work.take());
                return Poll::Ready(Err(TaskError::Cancelled));
            }
            let polled = work.as_mut().expect("a future is not polled once it is ready").as_mut();
            match catch(|| polled.poll(cx)) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(value)) => {
                    discard(work.take());
                    Poll::Ready(Ok(value))
                }
                Err(error) => {
                    discard(work.take());
                    Poll::Ready(Err(error))
                }
            }
        })
    }
}

impl<T> Drop for Driven<T> {
    fn drop(&mut self) {
        discard(self.work.take());
    }
}

fn replace(poller: &Mutex<Waker>, waker: Waker) -> Waker {
    mem::replace(&mut *poller.lock().unwrap_or_else(PoisonError::into_inner), waker)
}

/// Polls a future on this thread until it is ready, parked in between.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    #[cfg(all(feature = "process", feature = "tokio", unix))]
    if let Some(runtime) = runtime::of_this_thread() {
        return runtime.block_on(future);
    }
    let mut future = pin!(future);
    let parked = Arc::new(Parked { thread: sync::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parked));
    let mut cx = Context::from_waker(&waker);
    loop {
        context::take_await();
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        let park = || {
            while !parked.woken.swap(false, Ordering::Acquire) {
                sync::park();
            }
        };
        // What another task must bring may need this one's worker.
        if context::take_await() { context::blocking(park) } else { park() }
    }
}

/// The runtime on which a worker in a process of its own drives its tasks, so that those find all of tokio there.
#[cfg(all(feature = "process", feature = "tokio", unix))]
pub(crate) mod runtime {
    use std::{
        cell::{Cell, OnceCell},
        rc::Rc,
    };

    use tokio::runtime::{Builder, Handle, Runtime};

    thread_local! {
        static IS_PROVIDED: Cell<bool> = const { Cell::new(false) };
        static RUNTIME: OnceCell<Rc<Runtime>> = const { OnceCell::new() };
    }

    /// Has this thread drive its tasks on a runtime, which the first of them makes.
    pub(crate) fn provide() {
        IS_PROVIDED.set(true);
    }

    /// `None` also inside a task of that runtime: a thread is inside one runtime at a time.
    pub(super) fn of_this_thread() -> Option<Rc<Runtime>> {
        if !IS_PROVIDED.get() || Handle::try_current().is_ok() {
            return None;
        }
        let runtime = RUNTIME.with(|runtime| {
            let make = || Builder::new_current_thread().enable_all().build().map(Rc::new);
            match runtime.get() {
                Some(runtime) => Ok(Rc::clone(runtime)),
                None => make().inspect(|made| drop(runtime.set(Rc::clone(made)))),
            }
        });
        // What of the task needs none goes well without.
        runtime.ok()
    }
}

struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
