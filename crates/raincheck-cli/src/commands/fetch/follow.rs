//! Tells the report what becomes of each download.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use raincheck::fetch::{Download, Ended, FetchError, Watch};

use crate::report::event::{Outcome, Status};
use crate::report::{Attempt, Report};

/// Follows downloads for a report.
pub(super) struct Follow {
    report: Arc<Report>,
    open: Mutex<HashMap<u64, Attempt>>,
}

impl Follow {
    pub(super) fn new(report: Arc<Report>) -> Self {
        Self { report, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Attempt>> {
        self.open.lock().expect("the lock is held by the map alone")
    }
}

impl Watch for Follow {
    fn started(&self, download: &Download, lane: usize, _attempt: u32) {
        let number = download.number();
        let before = self.open().remove(&number);
        let job = match before {
            Some(attempt) => attempt.into_job(),
            None => self.report.submit(download.request().url().as_str()),
        };
        let attempt = job.start(lane);
        self.open().insert(number, attempt);
    }

    fn moved(&self, download: &Download, bytes: u64) {
        if let Some(attempt) = self.open().get(&download.number()) {
            attempt.progress(bytes);
        }
    }

    fn retrying(&self, download: &Download, _attempt: u32, wait: Duration, error: &FetchError) {
        if let Some(attempt) = self.open().get(&download.number()) {
            attempt.job().retry(wait, error.to_string());
        }
    }

    fn ended(&self, ended: Ended) {
        let Some(attempt) = self.open().remove(&ended.download.number()) else { return };
        attempt.job().finish(outcome(&ended));
    }
}

fn outcome(ended: &Ended) -> Outcome {
    match &ended.result {
        Ok(fetched) => Outcome::done(fetched.bytes),
        Err(error) => Outcome::not_done(status(error), error.to_string()),
    }
}

fn status(error: &FetchError) -> Status {
    match error {
        FetchError::Status { code: 404 | 410, .. } => Status::NotFound,
        FetchError::TimedOut { .. } => Status::TimedOut,
        _ => Status::Failed,
    }
}
