//! A thread that waits for a future and for a socket at once.
//!
//! Who waits for a task that another process runs receives its value itself, instead of being woken by the thread
//! that does: one wake-up less on the way. But the future may be done otherwise meanwhile; so the thread sleeps in the
//! system's wait for descriptors, and has one of its own there, into which whoever finishes the future writes.

use std::{
    cell::RefCell,
    io::{self, PipeReader, PipeWriter},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::ioctl_fionbio,
};

use crate::{
    cell::{Claim, Watcher},
    context,
    counted::Counted,
};

/// By which a thread is woken that sleeps in the system's wait for descriptors.
pub(crate) struct Ear {
    sleeps: AtomicBool,
    reader: PipeReader,
    writer: PipeWriter,
    /// Unlike any other, and unlike any end of a future.
    number: usize,
}

thread_local! {
    static EAR: RefCell<Option<Arc<Ear>>> = const { RefCell::new(None) };
}

/// Blocks until the task is done or the time has come, and receives meanwhile what its worker sends. Gives up if
/// there is no such worker, or no longer. Returns whether the task is done.
pub(crate) fn listen_for<T: 'static>(task: &Counted<dyn Claim<T>>, until: Option<Instant>) -> bool {
    let Some(away) = task.attend() else { return false };
    let Some(ear) = Ear::of_this_thread() else { return false };
    if task.watch(Watcher::Waker(ear.number, Waker::from(Arc::clone(&ear)))).is_err() {
        return true;
    }
    context::blocking(|| away.attend(until, &|| task.flags().is_done(), &ear));
    let is_done = task.flags().is_done();
    if !is_done {
        task.unwatch(&|watcher| matches!(watcher, Watcher::Waker(number, _) if *number == ear.number));
    }
    is_done
}

impl Ear {
    /// Each thread has one, from when it first needs it; `None` if there are no more descriptors, or the thread is at
    /// its end.
    fn of_this_thread() -> Option<Arc<Self>> {
        static NEXT: AtomicUsize = AtomicUsize::new(usize::MAX);
        EAR.try_with(|ear| {
            let mut ear = ear.borrow_mut();
            if ear.is_none() {
                let (reader, writer) = io::pipe().ok()?;
                ioctl_fionbio(&reader, true).ok()?;
                ioctl_fionbio(&writer, true).ok()?;
                let number = NEXT.fetch_sub(1, Ordering::Relaxed);
                *ear = Some(Arc::new(Self { sleeps: AtomicBool::new(false), reader, writer, number }));
            }
            ear.clone()
        })
        .ok()?
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Sleeps until there is something to read in `what`, the time has come, or `is_over` says so. Returns whether
    /// there is something to read.
    pub(crate) fn sleep(&self, what: impl AsFd, until: Option<Instant>, is_over: &dyn Fn() -> bool) -> bool {
        self.sleeps.store(true, Ordering::SeqCst);
        // Whoever finishes the future does this the other way round.
        if is_over() {
            self.sleeps.store(false, Ordering::SeqCst);
            return false;
        }
        let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
        let rest = rest.and_then(|rest| Timespec::try_from(rest).ok());
        let what = what.as_fd();
        let mut fds = [PollFd::new(&what, PollFlags::IN), PollFd::new(&self.reader, PollFlags::IN)];
        // An interrupted wait is one in which nothing has come.
        let come = poll(&mut fds, rest.as_ref()).unwrap_or(0);
        if !self.sleeps.swap(false, Ordering::SeqCst) || come > 0 && !fds[1].revents().is_empty() {
            let _ = rustix::io::read(&self.reader, &mut [0; 16]);
        }
        come > 0 && !fds[0].revents().is_empty()
    }
}

impl Wake for Ear {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Who is awake, as the thread that has received the value itself, need not be told.
        if self.sleeps.swap(false, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.writer, &[1]);
        }
    }
}
