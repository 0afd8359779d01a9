//! What came of it all, told once at the end.

use std::sync::Arc;
use std::time::Duration;

use super::event::{Event, Moment, Status};
use super::figures;
use super::jobs::{Jobs, Reader};
use crate::error::Exit;
use crate::interrupt::Signal;
use crate::paint::Paint;

/// Counts how jobs ended.
#[derive(Default)]
pub(crate) struct Summary {
    styles: Vec<Tally>,
    /// Then it counts as done.
    expects_not_found: bool,
    expects_cancelled: bool,
    /// What was left was not to be begun any more, without an interrupt.
    cut_short: bool,
}

/// What comes before the verdict.
#[derive(Clone, Copy, Default)]
pub(crate) struct After<'a> {
    pub(crate) interrupted: bool,
    /// The user has seen what came of each style.
    pub(crate) summarized: bool,
    /// The file that lists what was not done.
    pub(crate) list: Option<&'a str>,
}

/// What came of one style.
#[derive(Default)]
struct Tally {
    name: Arc<str>,
    began: Duration,
    ended: Duration,
    jobs: [u64; Status::ALL.len()],
    /// How many there are, once that is known.
    expected: Option<u64>,
    bytes: u64,
}

impl Summary {
    pub(crate) fn new(expects_not_found: bool) -> Self {
        Self { styles: Vec::new(), expects_not_found, expects_cancelled: false, cut_short: false }
    }

    /// What was cancelled counts as done.
    pub(crate) fn expect_cancelled(&mut self) {
        self.expects_cancelled = true;
    }

    /// What was not begun is told.
    pub(crate) fn cut_short(&mut self) {
        self.cut_short = true;
    }

    /// How many jobs ended in this way, in all styles together.
    pub(crate) fn count(&self, status: Status) -> u64 {
        self.styles.iter().map(|tally| tally.count(status)).sum()
    }

    /// How the program should exit.
    pub(crate) fn exit(&self, interrupted: Option<Signal>) -> Exit {
        match interrupted {
            Some(signal) => Exit::Interrupted(signal),
            None if self.not_done() > 0 => Exit::SomeFailed,
            None => Exit::AllDone,
        }
    }

    /// What came of each style that ran anything, and of what was not begun if it was to be ended early.
    pub(crate) fn styles(&self, interrupted: bool) -> Vec<String> {
        let interrupted = interrupted || self.cut_short;
        let named = self.styles.len() > 1;
        self.styles.iter().filter(|tally| tally.all() > 0).map(|tally| tally.line(named, interrupted)).collect()
    }

    /// If not all was done, how much was not and where to read why; nothing that the user has just read.
    pub(crate) fn verdict(&self, paint: Paint, after: After<'_>) -> Vec<String> {
        let After { interrupted, summarized, list } = after;
        let failed = self.not_done() - if self.expects_cancelled { 0 } else { self.count(Status::Cancelled) };
        let told = self.styles.iter().map(Tally::all).sum::<u64>();
        let left = if self.expects_cancelled { 0 } else { self.left(interrupted) };
        let not_done = self.not_done() + left;
        let of_all = format!("{not_done} of {}", figures::count(told + left, "job"));
        let all_is_known = self.styles.iter().all(|tally| tally.expected.is_some());
        let ended = if all_is_known { "interrupted" } else { "interrupted before all inputs were read" };
        let mut lines = match (interrupted, not_done) {
            (false, 0) => Vec::new(),
            // It has its own line, and is counted in the one below that.
            (false, 1) if failed == 1 && summarized => Vec::new(),
            (true, 0) => vec![paint.warning(ended)],
            (true, _) => vec![paint.warning(&format!("{ended}, with {of_all} not done"))],
            (false, _) => vec![paint.warning(&format!("{of_all} {}", self.how(not_done)))],
        };
        match list {
            Some(file) if failed > 1 || interrupted && not_done > 0 => {
                lines.push(paint.hint(&format!("`{}` lists them with the reasons", figures::shown(file))));
            }
            None if failed > 1 => lines.push(paint.hint("`--report failures.jsonl` lists them with the reasons")),
            _ => {}
        }
        lines
    }

    /// The same for programs.
    pub(crate) fn json(&self, at: Duration, interrupted: bool) -> String {
        let mut counts = serde_json::Map::new();
        for status in Status::ALL {
            let left = if status == Status::NotBegun { self.left(interrupted) } else { 0 };
            counts.insert(status.key().into(), (self.count(status) + left).into());
        }
        let bytes: u64 = self.styles.iter().map(|tally| tally.bytes).sum();
        let at = at.as_secs_f64();
        serde_json::json!({ "event": "summary", "at": at, "jobs": counts, "bytes": bytes, "interrupted": interrupted })
            .to_string()
    }

    /// How many were left when it was to be ended early.
    fn left(&self, interrupted: bool) -> u64 {
        if interrupted || self.cut_short { self.styles.iter().map(Tally::left).sum() } else { 0 }
    }

    fn not_done(&self) -> u64 {
        let fine = |status| match status {
            Status::Done => true,
            Status::NotFound => self.expects_not_found,
            Status::Cancelled => self.expects_cancelled,
            Status::Failed | Status::TimedOut | Status::NotBegun => false,
        };
        Status::ALL.iter().filter(|status| !fine(**status)).map(|status| self.count(*status)).sum()
    }

    /// The one word for all that were not done, if one fits them all.
    fn how(&self, not_done: u64) -> &'static str {
        let all_are = |status| self.count(status) == not_done;
        match not_done {
            _ if all_are(Status::Failed) => "failed",
            _ if all_are(Status::TimedOut) => "timed out",
            1 if all_are(Status::NotFound) => "was not found",
            _ if all_are(Status::NotFound) => "were not found",
            1 if all_are(Status::NotBegun) => "was not begun",
            _ if all_are(Status::NotBegun) => "were not begun",
            1 => "was not done",
            _ => "were not done",
        }
    }

    fn tally(&mut self) -> &mut Tally {
        if self.styles.is_empty() {
            self.styles.push(Tally::default());
        }
        self.styles.last_mut().expect("one was just pushed if there was none")
    }
}

impl Tally {
    fn count(&self, status: Status) -> u64 {
        self.jobs[status as usize]
    }

    fn all(&self) -> u64 {
        self.jobs.iter().sum()
    }

    /// How many of those that are expected nobody took up.
    fn left(&self) -> u64 {
        self.expected.unwrap_or_default().saturating_sub(self.all())
    }

    fn line(&self, named: bool, interrupted: bool) -> String {
        let took = self.ended.saturating_sub(self.began);
        let left = if interrupted { self.left() } else { 0 };
        let all = self.all() + left;
        let count = |status| self.count(status) + if status == Status::NotBegun { left } else { 0 };
        let mut line = if named { format!("{}: ", self.name) } else { String::new() };
        line += &match self.count(Status::Done) {
            done if done == all => format!("{} done in {}", figures::count(done, "job"), figures::seconds(took)),
            _ => {
                let counts = Status::ALL.into_iter().filter(|status| count(*status) > 0);
                let counts: Vec<_> = counts.map(|status| format!("{} {}", count(status), status.word())).collect();
                format!("{} in {}: {}", figures::count(all, "job"), figures::seconds(took), counts.join(", "))
            }
        };
        if self.bytes > 0 {
            let rate = (self.bytes as f64 / took.as_secs_f64().max(1e-6)) as u64;
            line += &format!(", {} at {}/s", figures::bytes(self.bytes), figures::bytes(rate));
        }
        line
    }
}

impl Reader for Summary {
    fn read(&mut self, event: &Event, jobs: &Jobs) {
        match event {
            Event::Style { at, name } => {
                self.styles.push(Tally { name: Arc::clone(name), began: *at, ended: *at, ..Tally::default() });
            }
            Event::Job { job, at, moment: Moment::Finished(outcome) } => {
                let bytes = jobs.get(*job).map_or(outcome.bytes, |record| record.bytes);
                let tally = self.tally();
                tally.jobs[outcome.status as usize] += 1;
                tally.bytes += bytes;
                tally.ended = *at;
            }
            Event::Expected(expected) => self.tally().expected = expected.jobs,
            Event::Job { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::jobs::script::*;
    use super::*;

    const INTERRUPTED: After<'_> = After { interrupted: true, summarized: true, list: None };

    fn after(events: &[Event]) -> Summary {
        let mut summary = Summary::default();
        replay(events, &mut summary);
        summary
    }

    #[test]
    fn all_done_is_one_line() {
        let summary = after(&[style(0, "threads"), submitted(0, "a"), started(0, 0, 0), done(2000, 0, 5_000_000)]);

        assert_eq!(summary.styles(false), ["1 job done in 2.00 s, 5.0 MB at 2.5 MB/s"]);
        assert!(summary.verdict(Paint::Plain, After::default()).is_empty());
        assert_eq!(summary.exit(None), Exit::AllDone);
    }

    #[test]
    fn what_was_not_done_is_counted_and_the_way_out_named() {
        let summary = after(&[
            submitted(0, "a"),
            submitted(1, "b"),
            submitted(2, "c"),
            ended(900, 0, Status::Failed, "reset"),
            ended(950, 1, Status::Failed, "reset"),
            done(1000, 2, 0),
        ]);

        assert_eq!(summary.styles(false), ["3 jobs in 1.00 s: 1 done, 2 failed"]);
        assert_eq!(
            summary.verdict(Paint::Plain, After::default()),
            ["warning: 2 of 3 jobs failed", "hint: `--report failures.jsonl` lists them with the reasons",]
        );
        assert_eq!(summary.exit(None), Exit::SomeFailed);
    }

    /// One of two jobs was cancelled, by an interrupt say.
    fn one_done_and_one_cancelled() -> [Event; 4] {
        [submitted(0, "a"), submitted(1, "b"), done(900, 1, 0), ended(1000, 0, Status::Cancelled, "")]
    }

    #[test]
    fn the_one_that_failed_is_told_once_and_counted_once() {
        let failed = after(&[submitted(0, "a"), ended(900, 0, Status::Failed, "reset")]);
        let cancelled = after(&one_done_and_one_cancelled());
        let told = After { summarized: true, list: Some("r.csv"), ..After::default() };

        assert_eq!(failed.styles(false), ["1 job in 900 ms: 1 failed"]);
        assert!(failed.verdict(Paint::Plain, told).is_empty());
        assert_eq!(failed.verdict(Paint::Plain, After::default()), ["warning: 1 of 1 job failed"]);
        assert_eq!(cancelled.verdict(Paint::Plain, told), ["warning: 1 of 2 jobs was not done"], "it was not named");
    }

    #[test]
    fn an_interrupt_says_what_is_left() {
        let summary = after(&[&[style(0, ""), expected(5)][..], &one_done_and_one_cancelled()].concat());

        assert_eq!(summary.styles(true), ["5 jobs in 1.00 s: 1 done, 1 cancelled, 3 not begun"]);
        assert_eq!(
            summary.verdict(Paint::Plain, After { list: Some("r.csv"), ..INTERRUPTED }),
            ["warning: interrupted, with 4 of 5 jobs not done", "hint: `r.csv` lists them with the reasons",]
        );
        assert_eq!(summary.verdict(Paint::Plain, INTERRUPTED).len(), 1, "why is known");
        assert_eq!(summary.exit(Some(Signal::Terminate)), Exit::Interrupted(Signal::Terminate));
    }

    #[test]
    fn programs_are_told_what_was_not_begun() {
        let summary = after(&[&[style(0, ""), expected(5)][..], &one_done_and_one_cancelled()].concat());
        let not_begun = |interrupted| {
            let told: serde_json::Value = serde_json::from_str(&summary.json(Duration::ZERO, interrupted)).unwrap();
            told["jobs"]["not-begun"].as_u64()
        };

        assert_eq!((not_begun(true), not_begun(false)), (Some(3), Some(0)));
    }

    #[test]
    fn what_was_not_begun_has_not_failed() {
        let one =
            after(&[submitted(0, "l:1"), ended(5, 0, Status::NotBegun, "no URL"), submitted(1, "a"), done(9, 1, 0)]);
        let two = after(
            &[&[style(0, ""), expected(3), submitted(0, "l:1")][..], &[ended(5, 0, Status::NotBegun, "")]].concat(),
        );

        assert_eq!(one.styles(false), ["2 jobs in 9 ms: 1 done, 1 not begun"]);
        assert_eq!(one.verdict(Paint::Plain, After::default()), ["warning: 1 of 2 jobs was not begun"]);
        assert_eq!(one.exit(None), Exit::SomeFailed);
        assert_eq!(two.styles(true), ["3 jobs in 5 ms: 3 not begun"], "the line, and what an interrupt has left");
    }

    #[test]
    fn whatever_ends_it_early_what_was_not_begun_is_told() {
        let mut summary = after(&[&[style(0, ""), expected(5)][..], &one_done_and_one_cancelled()].concat());
        summary.cut_short();

        assert_eq!(summary.styles(false), ["5 jobs in 1.00 s: 1 done, 1 cancelled, 3 not begun"]);
        assert_eq!(summary.verdict(Paint::Plain, After::default()), ["warning: 4 of 5 jobs were not done"]);
        summary.expect_cancelled();
        assert!(summary.verdict(Paint::Plain, After::default()).is_empty(), "nobody needs them any more");
    }

    #[test]
    fn an_interrupt_before_all_is_known_says_so() {
        let some = after(&[&[style(0, "")][..], &one_done_and_one_cancelled()].concat());
        let none = after(&[style(0, "")]);

        let first = |summary: &Summary| summary.verdict(Paint::Plain, INTERRUPTED).remove(0);
        assert_eq!(first(&some), "warning: interrupted before all inputs were read, with 1 of 2 jobs not done");
        assert_eq!(first(&none), "warning: interrupted before all inputs were read");
        assert_eq!(some.styles(true), ["2 jobs in 1.00 s: 1 done, 1 cancelled"]);
    }

    #[test]
    fn each_of_several_styles_has_its_line_and_its_own_time() {
        let summary = after(&[
            style(0, "one by one"),
            submitted(0, "a"),
            done(3000, 0, 0),
            style(3000, "threads"),
            submitted(1, "a"),
            ended(4000, 1, Status::NotFound, "404"),
        ]);

        assert_eq!(
            summary.styles(false),
            ["one by one: 1 job done in 3.00 s", "threads: 1 job in 1.00 s: 1 not found"]
        );
        assert_eq!(summary.verdict(Paint::Plain, After::default())[0], "warning: 1 of 2 jobs was not found");
    }

    #[test]
    fn not_found_can_be_an_answer() {
        let mut summary = Summary::new(true);
        replay(&[submitted(0, "a"), ended(5, 0, Status::NotFound, "404")], &mut summary);

        assert_eq!(summary.exit(None), Exit::AllDone);
        assert!(summary.verdict(Paint::Plain, After::default()).is_empty());
    }
}
