//! Tells the report, the journal and the list of what failed what becomes of each download.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use raincheck::fetch::{Download, Ended, FetchError, Fetched, Response, Watch};
use serde_json::{Value, json};

use super::disposition;
use super::failed::Failed;
use super::journal::{self, Journal, Record};
use super::known::{Known, Ticket};
use super::page::Page;
use super::robots;
use crate::report::Report;
use crate::report::event::{Outcome, Status};

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
    /// Whether anyone reads the columns.
    tells_more: bool,
    failed: Option<Failed>,
    page: Option<Mutex<Page>>,
    known: Arc<Known>,
    /// The name that sites know us by, if what they ask of robots counts.
    robot: Option<String>,
}

impl Follow {
    pub(super) fn new(
        report: Arc<Report>,
        tells_more: bool,
        failed: Option<Failed>,
        page: Option<Page>,
        known: Arc<Known>,
        robot: Option<String>,
    ) -> Self {
        Self { report, tells_more, failed, page: page.map(Mutex::new), known, robot }
    }

    /// Whether what failed is listed.
    pub(super) fn lists_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Tells of a download that is to be begun.
    pub(super) fn planned(&self, download: &Download) {
        if let Some(failed) = &self.failed
            && let Some(ticket) = self.known.tickets().get(&download.number())
        {
            failed.planned(download, ticket);
        }
    }

    /// Tells of a line that cannot be followed.
    pub(super) fn refused(&self, place: &str, why: String) {
        if let Some(failed) = &self.failed {
            failed.remark(place, &why);
        }
        self.not_planned(place, Outcome::not_done(Status::NotBegun, why));
    }

    /// Tells of what cannot be fetched, and whether that can be tried again.
    pub(super) fn bad(&self, what: &str, why: String, entry: Option<&str>) {
        match (&self.failed, entry) {
            (Some(failed), Some(entry)) => failed.write(&why, entry),
            (Some(failed), None) => failed.remark(what, &why),
            (None, _) => {}
        }
        self.not_planned(what, Outcome::not_done(Status::Failed, why));
    }

    /// Tells of a line that came to no download.
    pub(super) fn not_planned(&self, what: &str, outcome: Outcome) {
        self.report.submit(what).finish(outcome);
    }

    /// The report, when all is over.
    pub(super) fn end(self) -> (Arc<Report>, Option<Page>, Option<Failed>) {
        (self.report, self.page.map(|page| page.into_inner().expect("nobody panics while drawing")), self.failed)
    }

    /// Puts those that were cut short on the list of what failed.
    pub(super) fn cut_short(&self) {
        let open = std::mem::take(&mut *self.known.tickets());
        for attempt in open.into_values().filter_map(|ticket| ticket.attempt) {
            attempt.job().finish(Outcome::not_done(Status::Cancelled, "interrupted"));
        }
    }
}

impl Watch for Follow {
    fn started(&self, download: &Download, lane: usize, _attempt: u32) {
        let mut tickets = self.known.tickets();
        let Some(ticket) = tickets.get_mut(&download.number()) else { return };
        let job = match ticket.attempt.take() {
            Some(attempt) => attempt.into_job(),
            None => self.report.submit(download.request().url().as_str()),
        };
        ticket.attempt = Some(job.start(lane));
    }

    fn moved(&self, download: &Download, bytes: u64) {
        if let Some(Ticket { attempt: Some(attempt), .. }) = self.known.tickets().get(&download.number()) {
            attempt.progress(bytes);
        }
    }

    fn retrying(&self, download: &Download, _attempt: u32, wait: Duration, error: &FetchError) {
        if let Some(Ticket { attempt: Some(attempt), .. }) = self.known.tickets().get(&download.number()) {
            attempt.job().retry(wait, error.to_string());
        }
        if let Some(page) = &self.page {
            page.lock().expect("nobody panics while drawing").retried(download.request().url(), error);
        }
    }

    fn named(&self, download: &Download, response: &Response) -> Result<Option<PathBuf>, FetchError> {
        if let Some(robot) = &self.robot {
            let tags = response.headers().get_all("x-robots-tag").iter().filter_map(|tag| tag.to_str().ok());
            if let Some(word) = tags.filter_map(|tag| robots::forbidden_by(tag, robot)).next() {
                return Err(FetchError::Forbidden { by: format!("the header `X-Robots-Tag: {word}`") });
            }
        }
        let mut tickets = self.known.tickets();
        let Some(ticket) = tickets.get_mut(&download.number()).filter(|ticket| ticket.named_by_server) else {
            return Ok(None);
        };
        if ticket.late_name.is_none()
            && let Some(header) = response.headers().get("content-disposition")
            && let Some(name) = disposition::file_name(header.as_bytes())
        {
            let folder = download.name().and_then(Path::parent).unwrap_or(Path::new(""));
            let wanted = folder.join(name);
            // What it was going to be called is its own already.
            ticket.late_name = Some(match download.name() {
                Some(name) if name == wanted => wanted.to_string_lossy().into(),
                _ => self.known.names().claim(&wanted.to_string_lossy(), ticket.key).into_owned(),
            });
        }
        Ok(ticket.late_name.as_ref().map(PathBuf::from))
    }

    fn whole(&self, download: &Download, fetched: &Fetched, file: &File) -> Result<(), FetchError> {
        let Some(journal) = self.known.journal() else { return Ok(()) };
        let mut tickets = self.known.tickets();
        let Some(ticket) = tickets.get_mut(&download.number()) else { return Ok(()) };
        let name = match (&ticket.late_name, download.name()) {
            (Some(name), _) => name.into(),
            (None, name) => name.unwrap_or(Path::new("")).to_string_lossy(),
        };
        let checksum = fetched.checksum.as_ref().map(|checksum| checksum.to_string().into());
        let there = file.metadata().map_err(|error| not_noted(journal, &error))?;
        ticket.noted = Some(journal.note(&Record {
            key: ticket.key,
            url: download.request().url().as_str().into(),
            named_by_server: ticket.late_name.is_some(),
            size: there.len(),
            modified: journal::modified(&there),
            fetched: UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
            etag: fetched.etag.as_deref().map(Into::into),
            last_modified: fetched.last_modified.as_deref().map(Into::into),
            checksum,
            name,
        }));
        Ok(())
    }

    fn appears(&self, download: &Download) -> Result<(), FetchError> {
        let noted = self.known.tickets().get_mut(&download.number()).and_then(|ticket| ticket.noted.take());
        match (self.known.journal(), noted) {
            (Some(journal), Some(batch)) => journal.write(batch).map_err(|error| not_noted(journal, &error)),
            _ => Ok(()),
        }
    }

    fn ended(&self, ended: Ended) {
        let Some(ticket) = self.known.tickets().remove(&ended.download.number()) else { return };
        let Some(attempt) = ticket.attempt else { return };
        if let Some(page) = &self.page {
            page.lock().expect("nobody panics while drawing").ended(&ended);
        }
        if ended.result.is_err() {
            self.known.leave(ticket.key);
        }
        if let Some(failed) = &self.failed {
            failed.ended(&ended.download, ended.result.as_ref().err());
        }
        let mut outcome = outcome(&ended);
        if let (None, Some(renamed)) = (&outcome.detail, ticket.renamed) {
            outcome.detail = Some(renamed.into());
        }
        if self.tells_more {
            outcome.more = Some(more(&ended));
        }
        attempt.job().finish(outcome);
    }
}

fn not_noted(journal: &Journal, error: &io::Error) -> FetchError {
    FetchError::File { path: journal.path(), reason: error.to_string() }
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
