//! How far the work is, in a line or a few.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::event::{Event, Expected, Moment, Status};
use super::figures;
use super::jobs::{Jobs, Reader};
use super::label::Label;
use crate::by_number::ByNumber;
use crate::paint::Paint;

/// Rates are taken over so long, so that they follow the network and do not jump with every job.
const WINDOW: Duration = Duration::from_secs(20);
const BETWEEN_SAMPLES: Duration = Duration::from_millis(500);
/// A job is named once it has run for so long.
const LONG: Duration = Duration::from_secs(2);
const MOST_NAMED: usize = 3;
const BAR_WIDTH: usize = 24;

/// The counts of the style that runs now.
#[derive(Default)]
pub(crate) struct Progress {
    style: Arc<str>,
    began: Duration,
    expected: Expected,
    submitted: u64,
    finished: [u64; Status::ALL.len()],
    bytes_finished: u64,
    running: ByNumber<Running>,
    retrying: BTreeSet<u64>,
    samples: VecDeque<Sample>,
}

struct Running {
    since: Duration,
    label: Option<Label>,
    bytes: u64,
}

/// How far it was at some time.
#[derive(Clone, Copy, Default)]
struct Sample {
    at: Duration,
    jobs: u64,
    bytes: u64,
}

impl Progress {
    /// The bar with its figures, and under it the jobs that have run longest; no line is wider than this. Nothing
    /// before there is a job.
    pub(crate) fn lines(&self, at: Duration, width: usize, paint: Paint) -> Vec<String> {
        if self.submitted == 0 {
            return Vec::new();
        }
        let figures = self.figures(at);
        let bar = self.bar(paint);
        let first = match bar {
            Some(bar) if figures.chars().count() + BAR_WIDTH < width => format!("{bar} {figures}"),
            _ => figures,
        };
        let mut lines = vec![cut(&first, width)];
        for running in self.longest(at) {
            let time = figures::about(at.saturating_sub(running.since));
            let line =
                cut(&format!("{time:>8}  {}", figures::shown(running.label.as_deref().unwrap_or_default())), width);
            lines.push(paint.apply(Style::new().dimmed(), &line));
        }
        lines
    }

    /// The figures alone: `8 threads: 12 of 40 done, 1 failed, 45.2 MB, 1.2 MB/s, 12 s left`. What failed is not done.
    pub(crate) fn figures(&self, at: Duration) -> String {
        let done = self.done();
        let mut parts = vec![match self.expected.jobs {
            Some(jobs) => format!("{done} of {jobs} done"),
            None => format!("{done} done"),
        }];
        for (status, number) in Status::ALL.iter().zip(self.finished).skip(1).filter(|(_, number)| *number > 0) {
            parts.push(format!("{number} {}", status.word()));
        }
        if !self.retrying.is_empty() {
            parts.push(format!("{} waiting to retry", self.retrying.len()));
        }
        if self.bytes() > 0 {
            parts.push(figures::bytes(self.bytes()));
        }
        parts.extend(self.rate(at));
        match self.time_left(at) {
            Some(left) => parts.push(format!("{} left", figures::about(left))),
            None => parts.extend(self.time_so_far(at)),
        }
        let parts = parts.join(", ");
        match &*self.style {
            "" => parts,
            style => format!("{style}: {parts}"),
        }
    }

    /// How many jobs are done with, however they ended.
    pub(crate) fn jobs_finished(&self) -> u64 {
        self.finished.iter().sum()
    }

    fn done(&self) -> u64 {
        self.finished[Status::Done as usize]
    }

    /// A bar as long as what is done, if the whole is known.
    fn bar(&self, paint: Paint) -> Option<String> {
        let share = match (self.expected.bytes, self.expected.jobs) {
            (Some(bytes @ 1..), _) => self.bytes() as f64 / bytes as f64,
            (_, Some(jobs @ 1..)) => self.jobs_finished() as f64 / jobs as f64,
            _ => return None,
        };
        let halves = (share.clamp(0.0, 1.0) * (BAR_WIDTH * 2) as f64) as usize;
        let (full, half) = (halves / 2, halves % 2);
        let done = "━".repeat(full) + &"╸".repeat(half);
        let rest = " ".repeat(BAR_WIDTH - full - half);
        if paint == Paint::Plain {
            return Some(done + &rest);
        }
        let colour = match self.done() == self.jobs_finished() {
            true => AnsiColor::Cyan,
            false => AnsiColor::Yellow,
        };
        let rest = rest.replace(' ', "━");
        Some(paint.apply(colour.on_default(), &done) + &paint.apply(AnsiColor::BrightBlack.on_default(), &rest))
    }

    /// The jobs that have run for a while, the longest first.
    fn longest(&self, at: Duration) -> Vec<&Running> {
        let is_long = |running: &Running| at.saturating_sub(running.since) > LONG;
        let mut long: Vec<_> = self.running.iter().filter(|(_, running)| is_long(running)).collect();
        long.sort_unstable_by_key(|(job, running)| (running.since, **job));
        long.into_iter().take(MOST_NAMED).map(|(_, running)| running).collect()
    }

    fn bytes(&self) -> u64 {
        self.bytes_finished + self.running.values().map(|running| running.bytes).sum::<u64>()
    }

    /// By bytes where there are any, by jobs otherwise: `1.2 MB/s`, `34 jobs/s`.
    fn rate(&self, at: Duration) -> Option<String> {
        let (jobs, bytes) = self.rates(at)?;
        match bytes {
            0.0 if jobs >= 10.0 => Some(format!("{jobs:.0} jobs/s")),
            0.0 if jobs > 0.0 => Some(format!("{jobs:.1} jobs/s")),
            0.0 => None,
            _ => Some(format!("{}/s", figures::bytes(bytes as u64))),
        }
    }

    fn time_left(&self, at: Duration) -> Option<Duration> {
        let (jobs_a_second, bytes_a_second) = self.rates(at)?;
        let seconds = match (self.expected.bytes, self.expected.jobs) {
            (Some(bytes), _) => bytes.saturating_sub(self.bytes()) as f64 / bytes_a_second,
            (None, Some(jobs)) => jobs.saturating_sub(self.jobs_finished()) as f64 / jobs_a_second,
            (None, None) => return None,
        };
        Duration::try_from_secs_f64(seconds).ok()
    }

    fn time_so_far(&self, at: Duration) -> Option<String> {
        let whole = Duration::from_secs(at.saturating_sub(self.began).as_secs());
        (!whole.is_zero()).then(|| figures::about(whole))
    }

    /// Jobs and bytes in a second, over the last while.
    fn rates(&self, at: Duration) -> Option<(f64, f64)> {
        let oldest = self.samples.front()?;
        let seconds = at.saturating_sub(oldest.at).as_secs_f64();
        if seconds == 0.0 {
            return None;
        }
        let jobs = (self.jobs_finished() - oldest.jobs) as f64 / seconds;
        // A failed attempt takes its bytes back.
        let bytes = self.bytes().saturating_sub(oldest.bytes) as f64 / seconds;
        Some((jobs, bytes))
    }

    fn sample(&mut self, at: Duration) {
        if self.samples.back().is_some_and(|last| at.saturating_sub(last.at) < BETWEEN_SAMPLES) {
            return;
        }
        self.samples.push_back(Sample { at, jobs: self.jobs_finished(), bytes: self.bytes() });
        // One that is older than the window stays, so that a rate is never taken over too little.
        while self.samples.get(1).is_some_and(|second| at.saturating_sub(second.at) >= WINDOW) {
            self.samples.pop_front();
        }
    }
}

impl Reader for Progress {
    fn read(&mut self, event: &Event, jobs: &Jobs) {
        let (job, at, moment) = match event {
            Event::Style { at, name } => {
                *self = Self { style: Arc::clone(name), began: *at, ..Self::default() };
                self.sample(*at);
                return;
            }
            Event::Expected(expected) => {
                self.expected = *expected;
                return;
            }
            Event::Job { job, at, moment } => (*job, *at, moment),
        };
        match moment {
            Moment::Submitted { .. } => self.submitted += 1,
            Moment::Started(_) => {
                self.retrying.remove(&job);
                let label = jobs.get(job).map(|record| record.label.clone());
                self.running.insert(job, Running { since: at, label, bytes: 0 });
            }
            Moment::Progress { bytes } => {
                if let Some(running) = self.running.get_mut(&job) {
                    running.bytes = *bytes;
                }
            }
            Moment::Retrying { .. } => {
                self.running.remove(&job);
                self.retrying.insert(job);
            }
            Moment::Finished(outcome) => {
                let moved = self.running.remove(&job).map_or(0, |running| running.bytes);
                self.retrying.remove(&job);
                self.bytes_finished += moved.max(outcome.bytes);
                self.finished[outcome.status as usize] += 1;
            }
        }
        self.sample(at);
    }
}

/// The line, cut where the terminal ends: a wrapped line could not be taken back.
fn cut(line: &str, width: usize) -> String {
    console::truncate_str(line, width, "…").into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::jobs::script::*;
    use super::*;

    fn after(events: &[Event]) -> Progress {
        let mut progress = Progress::default();
        replay(events, &mut progress);
        progress
    }

    #[test]
    fn figures_name_only_what_there_is() {
        let progress =
            after(&[style(0, "2 threads"), expected(4), submitted(0, "a"), started(0, 0, 0), done(1000, 0, 0)]);

        assert_eq!(progress.figures(ms(1000)), "2 threads: 1 of 4 done, 1.0 jobs/s, 3 s left");
    }

    #[test]
    fn every_way_not_to_be_done_is_counted() {
        let progress = after(&[
            style(0, ""),
            expected(9),
            submitted(0, "a"),
            submitted(1, "b"),
            submitted(2, "c"),
            submitted(3, "d"),
            started(0, 0, 0),
            started(0, 1, 1),
            started(0, 2, 2),
            ended(500, 0, Status::NotFound, "404"),
            ended(500, 1, Status::Failed, "reset"),
            retrying(500, 2, "503"),
            ended(1000, 3, Status::Cancelled, "interrupted"),
        ]);

        assert_eq!(
            progress.figures(ms(1000)),
            "0 of 9 done, 1 not found, 1 failed, 1 cancelled, 1 waiting to retry, 3.0 jobs/s, 2 s left"
        );
    }

    #[test]
    fn unknown_input_has_a_rate_and_the_time_so_far_but_no_bar() {
        let progress = after(&[style(0, ""), submitted(0, "a"), started(0, 0, 0), moved(4000, 0, 8_000_000)]);

        assert_eq!(progress.lines(ms(4000), 80, Paint::Plain)[0], "0 done, 8.0 MB, 2.0 MB/s, 4 s");
    }

    #[test]
    fn known_bytes_tell_the_time_left_better_than_jobs() {
        let whole = Event::Expected(Expected { jobs: Some(2), bytes: Some(100_000) });
        let progress = after(&[
            style(0, ""),
            whole,
            submitted(0, "small"),
            submitted(1, "big"),
            started(0, 0, 0),
            done(1000, 0, 10_000),
        ]);

        assert_eq!(progress.figures(ms(1000)), "1 of 2 done, 10.0 kB, 10.0 kB/s, 9 s left");
    }

    #[test]
    fn a_failed_attempt_takes_its_bytes_back() {
        let progress =
            after(&[style(0, ""), submitted(0, "a"), started(0, 0, 0), moved(100, 0, 900), retrying(200, 0, "reset")]);

        assert_eq!(progress.figures(ms(1000)), "0 done, 1 waiting to retry, 1 s");
    }

    #[test]
    fn the_bar_is_as_long_as_what_is_done() {
        let progress = after(&[style(0, ""), expected(2), submitted(0, "a"), started(0, 0, 0), done(1000, 0, 0)]);

        let line = &progress.lines(ms(1000), 80, Paint::Plain)[0];
        assert_eq!(line, "━━━━━━━━━━━━             1 of 2 done, 1.0 jobs/s, 1 s left");
    }

    #[test]
    fn jobs_that_run_for_long_are_named_longest_first() {
        let progress = after(&[
            style(0, ""),
            submitted(0, "quick"),
            submitted(1, "slow\x1b[2J"),
            submitted(2, "slower"),
            started(0, 2, 0),
            started(1000, 1, 1),
            started(4000, 0, 2),
        ]);

        assert_eq!(progress.lines(ms(5000), 80, Paint::Plain)[1..], ["     5 s  slower", "     4 s  slow\\u{1b}[2J"]);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let progress = after(&[
            style(0, "threads"),
            expected(10),
            submitted(0, "https://example.org/a/very/long/name/that/does/not/fit"),
            started(0, 0, 0),
        ]);

        for width in [10, 40, 41, 42, 60] {
            for line in progress.lines(ms(5000), width, Paint::Coloured) {
                assert!(console::measure_text_width(&line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_new_style_begins_from_nothing() {
        let progress = after(&[
            style(0, "one"),
            submitted(0, "a"),
            started(0, 0, 0),
            done(1000, 0, 9),
            style(2000, "two"),
            expected(3),
        ]);

        assert_eq!(progress.figures(ms(2000)), "two: 0 of 3 done");
    }

    #[test]
    fn the_rate_is_that_of_the_last_while() {
        let mut events = vec![style(0, ""), submitted(0, "a"), started(0, 0, 0)];
        events.extend((1..=60).map(|second| moved(second * 1000, 0, second.min(30) * 1_000_000)));

        // For the last thirty seconds nothing has come.
        assert_eq!(after(&events).figures(ms(60_000)), "0 done, 30.0 MB, 1 min 0 s");
    }
}
