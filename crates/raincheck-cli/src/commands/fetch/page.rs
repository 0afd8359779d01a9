//! The report as a page: how fast it went, how long answers took, which hosts failed when. It opens from disk, and needs
//! nothing else.
//!
//! What is kept is bounded, whatever the length of the list: times fall into slices that widen as the run grows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use raincheck::fetch::{Ended, FetchError};
use url::Url;

use crate::error::Error;
use crate::report::figures;

/// So many slices of time there are at most.
const SLICES: usize = 240;
/// So many hosts are told apart; the rest are one.
const HOSTS: usize = 500;
/// So many have a row on the page.
const ROWS: usize = 40;
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 180.0;

/// What is known of the run.
pub(super) struct Page {
    path: PathBuf,
    began: Instant,
    slice: Duration,
    slices: Vec<Slice>,
    /// First bytes by the time they took: each step is half as long again as the one before, from a tenth of a millisecond.
    waits: [u64; 48],
    hosts: BTreeMap<String, Host>,
    kinds: BTreeMap<String, u64>,
    done: u64,
    failed: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Slice {
    bytes: u64,
    done: u64,
    errors: u64,
}

#[derive(Default)]
struct Host {
    done: u64,
    bytes: u64,
    failed: u64,
    retried: u64,
    /// Errors in each slice of time, retried ones included.
    errors: Vec<u32>,
}

impl Page {
    /// A page to be written there.
    ///
    /// # Errors
    ///
    /// A usage error if it cannot be.
    pub(super) fn new(path: &Path) -> Result<Self, Error> {
        fs::write(path, "")
            .map_err(|error| Error::usage(format!("cannot create `{}`", path.display())).because(error))?;
        Ok(Self {
            path: path.to_owned(),
            began: Instant::now(),
            slice: Duration::from_millis(100),
            slices: Vec::new(),
            waits: [0; 48],
            hosts: BTreeMap::new(),
            kinds: BTreeMap::new(),
            done: 0,
            failed: 0,
            bytes: 0,
        })
    }

    /// An attempt failed that is made again.
    pub(super) fn retried(&mut self, url: &Url, error: &FetchError) {
        let at = self.at();
        self.slices[at].errors += 1;
        *self.kinds.entry(kind(error)).or_default() += 1;
        let host = self.host(url);
        host.retried += 1;
        host.failed_at(at);
    }

    /// A download is over.
    pub(super) fn ended(&mut self, ended: &Ended) {
        let at = self.at();
        let url = ended.download.request().url();
        match &ended.result {
            Ok(fetched) => {
                let fresh = fetched.bytes - fetched.resumed;
                self.slices[at].bytes += fresh;
                self.slices[at].done += 1;
                self.done += 1;
                self.bytes += fresh;
                if let Some(wait) = fetched.timings.wait {
                    self.waits[step(wait)] += 1;
                }
                let host = self.host(url);
                host.done += 1;
                host.bytes += fresh;
            }
            Err(error) => {
                self.slices[at].errors += 1;
                self.failed += 1;
                *self.kinds.entry(kind(error)).or_default() += 1;
                let host = self.host(url);
                host.failed += 1;
                host.failed_at(at);
            }
        }
    }

    /// Writes the page.
    pub(super) fn end(self) -> Result<(), Error> {
        fs::write(&self.path, self.html())
            .map_err(|error| Error::new(format!("cannot write `{}`", self.path.display())).because(error))
    }

    /// The slice of now, made if there is none; when there are too many, each two become one.
    fn at(&mut self) -> usize {
        let mut at = (self.began.elapsed().as_nanos() / self.slice.as_nanos()) as usize;
        while at >= SLICES {
            self.slices = self.slices.chunks(2).map(|two| two.iter().fold(Slice::default(), Slice::and)).collect();
            for host in self.hosts.values_mut() {
                host.errors = host.errors.chunks(2).map(|two| two.iter().sum()).collect();
            }
            self.slice *= 2;
            at /= 2;
        }
        if self.slices.len() <= at {
            self.slices.resize(at + 1, Slice::default());
        }
        at
    }

    fn host(&mut self, url: &Url) -> &mut Host {
        let name = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let name = if self.hosts.len() >= HOSTS && !self.hosts.contains_key(name) { "other hosts" } else { name };
        if !self.hosts.contains_key(name) {
            self.hosts.insert(name.to_owned(), Host::default());
        }
        self.hosts.get_mut(name).expect("it was just put there")
    }

    fn html(&self) -> String {
        let took = self.began.elapsed();
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Downloads</title>\n\
             <style>{STYLE}</style>\n<main>\n<h1>Downloads</h1>\n<p>{} done, {} failed, {} in {}</p>\n",
            self.done,
            self.failed,
            figures::bytes(self.bytes),
            figures::seconds(took),
        );
        let a_second = |value: u64| value as f64 / self.slice.as_secs_f64();
        let rate: Vec<f64> = self.slices.iter().map(|slice| a_second(slice.bytes)).collect();
        let most = rate.iter().copied().fold(0.0, f64::max);
        page += &plot("Throughput", &rate, &format!("{}/s", figures::bytes(most as u64)), &self.span(), "bar");
        let files: Vec<f64> = self.slices.iter().map(|slice| a_second(slice.done)).collect();
        let most = files.iter().copied().fold(0.0, f64::max);
        page += &plot("Files", &files, &format!("{most:.0} a second"), &self.span(), "bar");
        page += &self.latencies();
        let errors: Vec<f64> = self.slices.iter().map(|slice| slice.errors as f64).collect();
        if errors.iter().any(|errors| *errors > 0.0) {
            let most = errors.iter().copied().fold(0.0, f64::max);
            page += &plot("Errors, retried ones included", &errors, &format!("{most:.0}"), &self.span(), "bar bad");
            page += &self.kinds();
        }
        page += &self.hosts();
        page + "</main>\n</html>\n"
    }

    fn span(&self) -> String {
        figures::seconds(self.slice * self.slices.len() as u32)
    }

    fn latencies(&self) -> String {
        let (Some(first), Some(last)) =
            (self.waits.iter().position(|count| *count > 0), self.waits.iter().rposition(|count| *count > 0))
        else {
            return String::new();
        };
        let shown: Vec<f64> = self.waits[first..=last].iter().map(|count| *count as f64).collect();
        let most = shown.iter().copied().fold(0.0, f64::max);
        let range = format!("{} to {}", figures::seconds(time_of(first)), figures::seconds(time_of(last + 1)));
        let median = figures::seconds(self.quantile(0.5));
        let slow = figures::seconds(self.quantile(0.99));
        let title = format!("Time to the first byte: half within {median}, 99 of 100 within {slow}");
        plot(&title, &shown, &format!("{most:.0} files"), &range, "bar")
    }

    /// The time within which this share of the first bytes came, to the next step.
    fn quantile(&self, share: f64) -> Duration {
        let all: u64 = self.waits.iter().sum();
        let mut left = (all as f64 * share).ceil() as u64;
        for (step, count) in self.waits.iter().enumerate() {
            if *count >= left {
                return time_of(step + 1);
            }
            left -= count;
        }
        Duration::ZERO
    }

    fn kinds(&self) -> String {
        let mut rows: Vec<_> = self.kinds.iter().collect();
        rows.sort_by(|one, other| other.1.cmp(one.1));
        let mut table = String::from("<table><tr><th>Error<th>Times</tr>\n");
        for (kind, count) in rows {
            let _ = writeln!(table, "<tr><td>{}<td>{count}</tr>", escape(kind));
        }
        table + "</table>\n"
    }

    fn hosts(&self) -> String {
        let mut hosts: Vec<_> = self.hosts.iter().collect();
        hosts.sort_by_key(|(_, host)| std::cmp::Reverse((host.failed, host.retried, host.done)));
        let mut table = String::from(
            "<h2>Hosts</h2>\n<table><tr><th>Host<th>Done<th>Bytes<th>Failed<th>Retried<th>Errors over time</tr>\n",
        );
        for (name, host) in hosts.iter().take(ROWS) {
            let Host { done, bytes, failed, retried, errors } = host;
            let _ = writeln!(
                table,
                "<tr><td>{}<td>{done}<td>{}<td>{failed}<td>{retried}<td>{}</tr>",
                escape(name),
                figures::bytes(*bytes),
                strip(errors, self.slices.len())
            );
        }
        if hosts.len() > ROWS {
            let _ = writeln!(table, "<tr><td colspan=\"6\">and {} more</tr>", hosts.len() - ROWS);
        }
        table + "</table>\n"
    }
}

impl Slice {
    fn and(self, other: &Self) -> Self {
        Self { bytes: self.bytes + other.bytes, done: self.done + other.done, errors: self.errors + other.errors }
    }
}

impl Host {
    fn failed_at(&mut self, at: usize) {
        if self.errors.len() <= at {
            self.errors.resize(at + 1, 0);
        }
        self.errors[at] += 1;
    }
}

/// What an error is counted as: statuses each for itself.
fn kind(error: &FetchError) -> String {
    match error {
        FetchError::Status { code, .. } => format!("status {code}"),
        other => other.kind().to_owned(),
    }
}

fn step(wait: Duration) -> usize {
    let tenths = wait.as_secs_f64() * 1e4;
    if tenths <= 1.0 { 0 } else { (tenths.log(1.5) as usize).min(47) }
}

fn time_of(step: usize) -> Duration {
    Duration::from_secs_f64(1.5_f64.powi(step as i32) / 1e4)
}

/// Bars side by side, with the greatest value and the range of the axis below.
fn plot(title: &str, values: &[f64], most: &str, range: &str, class: &str) -> String {
    let greatest = values.iter().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let width = WIDTH / values.len().max(1) as f64;
    let mut svg = format!(
        "<h2>{}</h2>\n<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">\n<text x=\"0\" y=\"12\">{}</text>\n",
        escape(title),
        HEIGHT + 40.0,
        escape(most)
    );
    for (n, value) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        let height = (value / greatest * HEIGHT).max(1.0);
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
            n as f64 * width,
            HEIGHT + 20.0 - height,
            (width - 0.5).max(0.5)
        );
    }
    let base = HEIGHT + 20.0;
    svg + &format!(
        "<line x1=\"0\" x2=\"{WIDTH}\" y1=\"{base}\" y2=\"{base}\"/>\n<text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
         </svg>\n",
        base + 16.0,
        escape(range)
    )
}

/// When a host had errors, in one row.
fn strip(errors: &[u32], slices: usize) -> String {
    let most = errors.iter().copied().max().unwrap_or(0).max(1);
    let width = 300.0 / slices.max(1) as f64;
    let mut svg = String::from("<svg class=\"strip\" viewBox=\"0 0 300 14\">");
    for (n, count) in errors.iter().enumerate().filter(|(_, count)| **count > 0) {
        let opacity = 0.25 + 0.75 * f64::from(*count) / f64::from(most);
        let _ = write!(
            svg,
            "<rect class=\"bad\" x=\"{:.1}\" y=\"0\" width=\"{:.1}\" height=\"14\" opacity=\"{opacity:.2}\"/>",
            n as f64 * width,
            width.max(1.0)
        );
    }
    svg + "</svg>"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
main { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { font-size: 1.05rem; margin: 2rem 0 .3rem }
svg { width: 100%; height: auto; overflow: visible }
svg text { font-size: 12px; fill: currentColor }
svg line { stroke: currentColor; opacity: .4 }
.bar { fill: #0b84a5 } .bad { fill: #c8402f }
.strip { width: 300px; height: 14px }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { text-align: left; padding: .15rem 1rem .15rem 0 }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_widen_and_nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let mut page = Page::new(&dir.path().join("page.html")).unwrap();
        for _ in 0..5 {
            let at = page.at();
            page.slices[at].done += 1;
            page.began -= Duration::from_secs(60);
        }

        assert!(page.slices.len() <= SLICES);
        assert_eq!(page.slices.iter().map(|slice| slice.done).sum::<u64>(), 5);
    }

    #[test]
    fn a_page_stands_alone_and_escapes_what_hosts_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.html");
        let mut page = Page::new(&path).unwrap();
        let error = FetchError::Status { code: 503, retry_after: None };
        page.retried(&"http://host/a".parse().unwrap(), &error);
        page.hosts.insert("<b>".into(), Host::default());
        page.end().unwrap();

        let html = fs::read_to_string(path).unwrap();
        assert!(html.contains("status 503") && html.contains("&lt;b&gt;"), "{html}");
        assert!(!html.contains("src=") && !html.contains("href="), "{html}");
    }

    #[test]
    fn a_time_falls_into_the_step_that_begins_before_it() {
        for ms in [1, 7, 50, 900, 20_000] {
            let wait = Duration::from_millis(ms);
            assert!(time_of(step(wait)) <= wait && wait < time_of(step(wait) + 1), "{ms} ms");
        }
    }
}
