//! Every job that is not over yet, so that readers need not each remember what came before.

use std::sync::Arc;
use std::time::Duration;

use super::event::{Event, Moment, Outcome};
use super::label::Label;
use crate::by_number::ByNumber;

/// Something that follows the stream of events.
pub(crate) trait Reader: Send {
    /// Takes in one event. `jobs` already knows of it, and still knows the job that it ended.
    fn read(&mut self, event: &Event, jobs: &Jobs);
}

/// The open jobs. Those that are over are forgotten, so that endless input fits in memory.
#[derive(Default)]
pub(crate) struct Jobs {
    style: Option<Arc<str>>,
    open: ByNumber<Record>,
    /// Over, and kept for the readers of the event that ended it.
    over: Option<u64>,
}

/// What is known of one job.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) style: Arc<str>,
    pub(crate) label: Label,
    /// The lane of its last attempt.
    pub(crate) lane: Option<usize>,
    /// When its first attempt began.
    pub(crate) started: Option<Duration>,
    pub(crate) attempts: u32,
    pub(crate) bytes: u64,
    pub(crate) ended: Option<(Duration, Outcome)>,
}

impl Jobs {
    /// Takes in one event. Returns false if it is about a job that is already over, or never was: readers must not see it.
    ///
    /// A job that overran its limit can come back later with an outcome of its own; the first one holds.
    pub(crate) fn follow(&mut self, event: &Event) -> bool {
        if let Some(over) = self.over.take() {
            self.open.remove(&over);
        }
        let (job, at, moment) = match event {
            Event::Style { name, .. } => {
                self.style = Some(Arc::clone(name));
                return true;
            }
            Event::Expected(_) => return true,
            Event::Job { job, at, moment } => (*job, *at, moment),
        };
        if let Moment::Submitted { label } = moment {
            self.open.insert(job, Record::new(self.style.clone().unwrap_or_default(), label.clone()));
            return true;
        }
        let Some(record) = self.open.get_mut(&job) else { return false };
        match moment {
            Moment::Submitted { .. } | Moment::Retrying { .. } => {}
            Moment::Started(lane) => {
                record.lane = Some(*lane);
                record.started.get_or_insert(at);
                record.attempts += 1;
                record.bytes = 0;
            }
            Moment::Progress { bytes } => record.bytes = *bytes,
            Moment::Finished(outcome) => {
                record.bytes = record.bytes.max(outcome.bytes);
                record.ended = Some((at, outcome.clone()));
                self.over = Some(job);
            }
        }
        true
    }

    /// What is known of a job that is open, or was ended by the event just followed.
    pub(crate) fn get(&self, job: u64) -> Option<&Record> {
        self.open.get(&job)
    }

    /// The jobs that have no outcome yet, in the order they were submitted.
    pub(crate) fn unfinished(&self) -> Vec<u64> {
        let mut jobs: Vec<u64> = self.open.keys().copied().filter(|job| Some(*job) != self.over).collect();
        jobs.sort_unstable();
        jobs
    }
}

impl Record {
    fn new(style: Arc<str>, label: Label) -> Self {
        Self { style, label, lane: None, started: None, attempts: 0, bytes: 0, ended: None }
    }
}

/// What the tests of every reader are written with.
#[cfg(test)]
pub(crate) mod script {
    use super::super::event::{Expected, Status};
    use super::*;

    /// Shows a list of events to a reader, as the stream would.
    pub(crate) fn replay(events: &[Event], reader: &mut dyn Reader) {
        let mut jobs = Jobs::default();
        for event in events {
            if jobs.follow(event) {
                reader.read(event, &jobs);
            }
        }
    }

    pub(crate) fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    pub(crate) fn style(at: u64, name: &str) -> Event {
        Event::Style { at: ms(at), name: name.into() }
    }

    pub(crate) fn expected(jobs: u64) -> Event {
        Event::Expected(Expected { jobs: Some(jobs), bytes: None })
    }

    pub(crate) fn submitted(job: u64, label: &str) -> Event {
        Event::Job { job, at: ms(0), moment: Moment::Submitted { label: label.into() } }
    }

    pub(crate) fn started(at: u64, job: u64, lane: usize) -> Event {
        Event::Job { job, at: ms(at), moment: Moment::Started(lane) }
    }

    pub(crate) fn moved(at: u64, job: u64, bytes: u64) -> Event {
        Event::Job { job, at: ms(at), moment: Moment::Progress { bytes } }
    }

    pub(crate) fn retrying(at: u64, job: u64, reason: &str) -> Event {
        Event::Job { job, at: ms(at), moment: Moment::Retrying { attempt: 1, wait: ms(500), reason: reason.into() } }
    }

    pub(crate) fn done(at: u64, job: u64, bytes: u64) -> Event {
        Event::Job { job, at: ms(at), moment: Moment::Finished(Outcome::done(bytes)) }
    }

    pub(crate) fn ended(at: u64, job: u64, status: Status, why: &str) -> Event {
        Event::Job { job, at: ms(at), moment: Moment::Finished(Outcome::not_done(status, why)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Status;
    use super::script::*;
    use super::*;

    #[test]
    fn the_first_outcome_of_a_job_holds() {
        let mut jobs = Jobs::default();
        for event in [submitted(0, "a"), started(1, 0, 3), ended(2, 0, Status::TimedOut, "too long")] {
            assert!(jobs.follow(&event));
        }

        assert!(!jobs.follow(&done(3, 0, 10)));
        assert!(!jobs.follow(&started(4, 7, 0)), "a job that nobody submitted");
    }

    #[test]
    fn a_job_over_is_forgotten_with_the_next_event() {
        let mut jobs = Jobs::default();
        for event in [style(0, "threads"), submitted(0, "a"), started(1, 0, 3), done(2, 0, 10)] {
            jobs.follow(&event);
        }
        let record = jobs.get(0).unwrap();
        assert_eq!((record.style.as_ref(), record.lane, record.attempts, record.bytes), ("threads", Some(3), 1, 10));

        jobs.follow(&submitted(1, "b"));

        assert!(jobs.get(0).is_none());
    }

    #[test]
    fn what_is_unfinished_comes_as_it_was_submitted() {
        let mut jobs = Jobs::default();
        for job in 1000..1100 {
            jobs.follow(&submitted(job, "a"));
        }
        jobs.follow(&done(1, 1050, 0));

        assert!(jobs.unfinished().into_iter().eq((1000..1050).chain(1051..1100)));
    }

    #[test]
    fn an_attempt_counts_its_bytes_from_nothing() {
        let mut jobs = Jobs::default();
        for event in [submitted(0, "a"), started(1, 0, 3), moved(2, 0, 900), retrying(3, 0, "reset"), started(9, 0, 1)]
        {
            jobs.follow(&event);
        }

        let record = jobs.get(0).unwrap();
        assert_eq!((record.started, record.lane, record.attempts, record.bytes), (Some(ms(1)), Some(1), 2, 0));
    }
}
