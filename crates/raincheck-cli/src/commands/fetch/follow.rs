//! Tells the report what becomes of each download, and keeps the list of those that failed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use raincheck::fetch::{Download, Ended, FetchError, Watch};
use serde_json::{Value, json};

use super::page::Page;
use crate::error::Error;
use crate::report::event::{Outcome, Status};
use crate::report::{Attempt, Report};

/// What the records tell of a download beside what they tell of every job.
pub(super) const COLUMNS: &[&str] = &[
    "name",
    "kind",
    "code",
    "checksum",
    "resumed",
    "etag",
    "last_modified",
    "resolve",
    "connect",
    "tls",
    "wait",
    "redirects",
];

/// Follows downloads for a report.
pub(super) struct Follow {
    report: Arc<Report>,
    open: Mutex<HashMap<u64, Attempt>>,
    /// Whether anyone reads the columns.
    tells_more: bool,
    failed: Option<Failed>,
    page: Option<Mutex<Page>>,
}

/// The list of those that failed, which can be given back as input.
pub(super) struct Failed {
    path: PathBuf,
    list: Mutex<(BufWriter<File>, Option<io::Error>)>,
}

impl Follow {
    pub(super) fn new(report: Arc<Report>, tells_more: bool, failed: Option<Failed>, page: Option<Page>) -> Self {
        Self { report, open: Mutex::default(), tells_more, failed, page: page.map(Mutex::new) }
    }

    /// Tells of a line that came to no download.
    pub(super) fn not_planned(&self, what: &str, outcome: Outcome) {
        self.report.submit(what).finish(outcome);
    }

    /// The report, when all is over.
    pub(super) fn end(self) -> (Arc<Report>, Option<Page>, Option<Failed>) {
        (self.report, self.page.map(|page| page.into_inner().expect("nobody panics while drawing")), self.failed)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Attempt>> {
        self.open.lock().expect("the lock is held by the map alone")
    }

    /// Puts those that were cut short on the list of what failed.
    pub(super) fn cut_short(&self) {
        let open = std::mem::take(&mut *self.open());
        for attempt in open.into_values() {
            attempt.into_job().finish(Outcome::not_done(Status::Cancelled, "interrupted"));
        }
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
        if let Some(page) = &self.page {
            page.lock().expect("nobody panics while drawing").retried(download.request().url(), error);
        }
    }

    fn ended(&self, ended: Ended) {
        let Some(attempt) = self.open().remove(&ended.download.number()) else { return };
        if let Some(page) = &self.page {
            page.lock().expect("nobody panics while drawing").ended(&ended);
        }
        if let (Err(_), Some(failed)) = (&ended.result, &self.failed) {
            failed.add(&ended.download);
        }
        let mut outcome = outcome(&ended);
        if self.tells_more {
            outcome.more = Some(more(&ended));
        }
        attempt.job().finish(outcome);
    }
}

impl Failed {
    /// Creates the list, or empties the one that is there.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let file = File::create(path)
            .map_err(|error| Error::usage(format!("cannot create `{}`", path.display())).because(error))?;
        Ok(Self { path: path.to_owned(), list: Mutex::new((BufWriter::new(file), None)) })
    }

    fn add(&self, download: &Download) {
        let mut list = self.list.lock().expect("the lock is held by the list alone");
        let (file, trouble) = &mut *list;
        let name = download.name().map(|name| format!("\t{}", name.display())).unwrap_or_default();
        if trouble.is_none() {
            *trouble = writeln!(file, "{}{name}", download.request().url()).err();
        }
    }

    /// Writes out what is not written yet.
    pub(super) fn end(self) -> Result<(), Error> {
        let (mut file, trouble) = self.list.into_inner().expect("the lock is held by the list alone");
        trouble
            .map_or_else(|| file.flush(), Err)
            .map_err(|error| Error::new(format!("cannot write `{}`", self.path.display())).because(error))
    }
}

fn outcome(ended: &Ended) -> Outcome {
    match &ended.result {
        Ok(fetched) if fetched.is_unchanged() => Outcome { detail: Some("unchanged".into()), ..Outcome::done(0) },
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

/// A value for each of the [`COLUMNS`].
fn more(ended: &Ended) -> Arc<[Value]> {
    let seconds = |time: Option<Duration>| time.map_or(Value::Null, |time| json!(time.as_micros() as f64 / 1e6));
    let name = ended.download.name().map(|name| name.to_string_lossy());
    match &ended.result {
        Ok(fetched) => {
            let timings = fetched.timings;
            let redirects: Vec<_> = fetched.redirects.iter().map(|step| json!([step.status, step.url])).collect();
            Arc::new([
                json!(fetched.name.as_ref().map(|name| name.to_string_lossy()).or(name)),
                Value::Null,
                json!(fetched.status),
                json!(fetched.checksum.as_ref().map(ToString::to_string)),
                json!(fetched.resumed),
                json!(fetched.etag),
                json!(fetched.last_modified),
                seconds(timings.resolve),
                seconds(timings.connect),
                seconds(timings.tls),
                seconds(timings.wait),
                if redirects.is_empty() { Value::Null } else { redirects.into() },
            ])
        }
        Err(error) => {
            let mut values = vec![Value::Null; COLUMNS.len()];
            values[0] = json!(name);
            values[1] = json!(error.kind());
            if let FetchError::Status { code, .. } = error {
                values[2] = json!(code);
            }
            values.into()
        }
    }
}
