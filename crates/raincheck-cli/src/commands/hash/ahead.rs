//! What is to be done, found on a thread of its own, some way ahead of those who do it.
//!
//! So a slow disk holds up no worker, and how much there is to do is known early; and memory holds no more than a few
//! thousand names, however many there are.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::report::Report;
use crate::report::event::Expected;

/// How many are found ahead.
const DISTANCE: usize = 8192;

/// What was found, in order. Ends early when the user asks to stop.
pub(super) struct Ahead<'r, T> {
    report: &'r Report,
    interrupt: Interrupt,
    /// `None` says that there are no more, or that the user asked to stop.
    found: Receiver<Option<T>>,
    /// Known once all are found.
    total: Arc<OnceLock<Expected>>,
    total_told: bool,
}

impl<'r, T: Send + 'static> Ahead<'r, T> {
    /// Lets `find` call back with what it finds, and with the bytes to expect of it if it is a job, until it is told
    /// false: that nobody wants more.
    ///
    /// # Errors
    ///
    /// If the system has no thread for it.
    pub(super) fn find(
        report: &'r Report,
        interrupt: &Interrupt,
        find: impl FnOnce(&mut dyn FnMut(T, Option<u64>) -> bool) + Send + 'static,
    ) -> Result<Self, Error> {
        let (sender, found) = mpsc::sync_channel(DISTANCE);
        let stop = sender.clone();
        // This thread may be waiting for the next one, from a terminal say.
        interrupt.on_asked(move || {
            let _ = stop.send(None);
        });
        let total = Arc::new(OnceLock::new());
        let known = Arc::clone(&total);
        let search = move || {
            let (sends, mut jobs, mut bytes) = (Sends(sender), 0, 0);
            find(&mut |one, its_bytes| {
                jobs += u64::from(its_bytes.is_some());
                bytes += its_bytes.unwrap_or_default();
                sends.0.send(Some(one)).is_ok()
            });
            let _ = known.set(Expected { jobs: Some(jobs), bytes: Some(bytes) });
        };
        thread::Builder::new()
            .name("search".into())
            .spawn(search)
            .map_err(|error| Error::new("cannot start a thread for the search").because(error))?;
        Ok(Self { report, interrupt: interrupt.clone(), found, total, total_told: false })
    }
}

impl<T> Ahead<'_, T> {
    /// Tells how much there is to do, once that is known.
    fn tell_total(&mut self) {
        if !self.total_told
            && let Some(total) = self.total.get()
        {
            self.report.expect(*total);
            self.total_told = true;
        }
    }
}

impl<T> Drop for Ahead<'_, T> {
    /// It may have become known since the last one was asked for.
    fn drop(&mut self) {
        self.tell_total();
    }
}

/// The end that finds. Dropping it says that there are no more, whatever the reason.
struct Sends<T>(SyncSender<Option<T>>);

impl<T> Drop for Sends<T> {
    fn drop(&mut self) {
        // Nobody may want more by now.
        let _ = self.0.send(None);
    }
}

impl<T> Iterator for Ahead<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let one = self.found.recv().ok().flatten();
        let all_are_found = self.total.get().is_some() || self.interrupt.asked().is_some();
        assert!(one.is_some() || all_are_found, "the search panicked, so that not all was found");
        self.tell_total();
        one
    }
}
