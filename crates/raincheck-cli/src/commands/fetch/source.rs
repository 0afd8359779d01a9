//! Hands planned downloads to the lanes, as they are planned, here or on the thread that reads the lists.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use raincheck::fetch::{Pulled, Source, Stop};

use super::follow::Follow;
use super::plan::Planned;
use crate::batch::feed::Feed;
use crate::batch::lanes::{Inputs, Next};
use crate::report::event::{Expected, Outcome};
use crate::report::{Report, figures};

/// The planned downloads. What is there already, or cannot be fetched, is told to the report on the way.
pub(super) struct Planner {
    feed: Feed<Planned>,
    follow: Arc<Follow>,
    report: Arc<Report>,
    counted: Option<u64>,
    /// How many files were there already; told at the end.
    there: u64,
    stop: Stop,
    /// Whether the rest comes without waiting for a pipe or a site.
    is_bounded: bool,
    /// Whether all was read, to the end.
    read: Arc<AtomicBool>,
}

impl Planner {
    pub(super) fn new(
        feed: Feed<Planned>,
        follow: Arc<Follow>,
        report: Arc<Report>,
        stop: Stop,
        is_bounded: bool,
    ) -> Self {
        Self { feed, follow, report, counted: None, there: 0, stop, is_bounded, read: Arc::default() }
    }

    /// Tells, when all is over, whether all was read to the end.
    pub(super) fn all_was_read(&self) -> impl Fn() -> bool + use<> {
        let read = Arc::clone(&self.read);
        move || read.load(Ordering::Relaxed)
    }

    /// Tells how many there are, as soon as that is known, and again when it is known better.
    fn count(&mut self) {
        let total = self.feed.total();
        if let Some(total) = total.filter(|_| total != self.counted) {
            self.counted = Some(total);
            self.report.expect(Expected { jobs: Some(total), bytes: None });
        }
    }

    fn tell_there(&mut self) {
        match std::mem::take(&mut self.there) {
            0 => {}
            1 => self.report.note("1 file was there already"),
            there => self.report.note(format!("{} were there already", figures::count(there, "file"))),
        }
    }
}

impl Source for Planner {
    fn pull(&mut self) -> Pulled {
        loop {
            if self.counted.is_none() {
                self.count();
            }
            let planned = match self.feed.next() {
                Next::Input(planned) => planned,
                Next::Later => return Pulled::Later,
                Next::End => {
                    self.read.store(true, Ordering::Relaxed);
                    self.count();
                    self.tell_there();
                    return Pulled::End;
                }
            };
            match planned {
                Planned::Fetch(download) => {
                    self.follow.planned(&download);
                    return Pulled::Download(download);
                }
                Planned::There { url } => {
                    self.there += 1;
                    let outcome = Outcome { detail: Some("there already".into()), ..Outcome::done(0) };
                    self.follow.not_planned(&url, outcome);
                }
                Planned::Warning(text) => self.report.warn(text),
                Planned::Refused { place, why } => self.follow.refused(&place, why),
                Planned::Bad { what, why, entry } => self.follow.bad(&what, why, entry.as_deref()),
            }
        }
    }

    fn wake(&mut self, wake: Box<dyn FnOnce() + Send>) {
        self.feed.wake(wake);
    }
}

impl Drop for Planner {
    /// How many there are may have become known since the last one was asked for. After an interruption, what was not
    /// begun is read all the same, for the list of what failed.
    fn drop(&mut self) {
        self.count();
        if !self.stop.is_stopped() || !self.follow.lists_failed() {
            return;
        }
        loop {
            match self.pull() {
                Pulled::Later if self.is_bounded => {
                    let (tell, told) = mpsc::channel();
                    self.feed.wake(move || drop(tell));
                    let _: Result<(), _> = told.recv();
                }
                Pulled::Later | Pulled::End => return,
                _ => {}
            }
        }
    }
}
