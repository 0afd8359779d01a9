//! What is told while the work goes on: a line for each job that is not done.

use super::event::{Event, Moment, Outcome, Status};
use super::figures;
use super::jobs::{Jobs, Reader};
use crate::paint::Paint;

/// So many failures are told as they come; the rest are counted, lest a dead server fill the screen.
const MOST_FAILURES: u64 = 10;

/// How much is told besides the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Only what ends the program.
    Quiet,
    /// Progress, the first few failures, and a summary.
    Normal,
    /// Every failure and every retry.
    Verbose,
    /// Every job.
    Everything,
}

/// The lines that wait to be shown above the progress.
pub(crate) struct Notes {
    verbosity: Verbosity,
    paint: Paint,
    /// Then it is no failure.
    expects_not_found: bool,
    pending: Vec<String>,
    failures: u64,
}

impl Notes {
    pub(crate) fn new(verbosity: Verbosity, paint: Paint, expects_not_found: bool) -> Self {
        Self { verbosity, paint, expects_not_found, pending: Vec::new(), failures: 0 }
    }

    /// The lines since the last call.
    pub(crate) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.pending)
    }

    /// Tells something that is not about one job.
    pub(crate) fn tell(&mut self, line: String) {
        if self.verbosity > Verbosity::Quiet {
            self.pending.push(line);
        }
    }

    pub(crate) fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    fn finished(&mut self, label: &str, outcome: &Outcome) {
        match outcome.status {
            Status::Done => {
                if self.verbosity >= Verbosity::Everything {
                    let size = figures::bytes(outcome.bytes);
                    self.pending.push(if outcome.bytes > 0 {
                        format!("done `{label}`: {size}")
                    } else {
                        format!("done `{label}`")
                    });
                }
            }
            // After Ctrl-C everything is cancelled, and the summary says how many.
            Status::Cancelled if self.verbosity < Verbosity::Everything => {}
            Status::NotFound if self.expects_not_found => {
                if self.verbosity >= Verbosity::Everything {
                    self.pending.push(format!("not found `{label}`"));
                }
            }
            Status::NotFound | Status::Failed | Status::TimedOut | Status::Cancelled | Status::NotBegun => {
                self.failures += 1;
                if self.verbosity < Verbosity::Verbose && self.failures > MOST_FAILURES {
                    if self.failures == MOST_FAILURES + 1 {
                        self.pending.push(self.paint.hint("more jobs failed, too many to name; `-v` names them all"));
                    }
                    return;
                }
                let word = outcome.status.word();
                let text = match &outcome.detail {
                    // Nothing is said twice: `not found: not found`.
                    Some(detail) if detail != word => format!("`{label}` {word}: {}", figures::in_short(detail)),
                    _ => format!("`{label}` {word}"),
                };
                self.pending.push(self.paint.warning(&text));
            }
        }
    }
}

impl Reader for Notes {
    fn read(&mut self, event: &Event, jobs: &Jobs) {
        let Event::Job { job, moment, .. } = event else { return };
        if self.verbosity == Verbosity::Quiet {
            return;
        }
        let Some(record) = jobs.get(*job) else { return };
        match moment {
            Moment::Retrying { attempt, wait, reason } if self.verbosity >= Verbosity::Verbose => {
                let label = figures::in_short(&record.label);
                let (reason, wait) = (figures::in_short(reason), figures::seconds(*wait));
                self.pending.push(format!("retrying `{label}` in {wait}: attempt {attempt} failed: {reason}"));
            }
            Moment::Finished(outcome) => self.finished(&figures::in_short(&record.label), outcome),
            Moment::Submitted { .. } | Moment::Started(_) | Moment::Progress { .. } | Moment::Retrying { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::jobs::script::*;
    use super::*;

    fn told(verbosity: Verbosity, events: &[Event]) -> Vec<String> {
        let mut notes = Notes::new(verbosity, Paint::Plain, false);
        replay(events, &mut notes);
        notes.take()
    }

    fn one_of_each() -> Vec<Event> {
        vec![
            submitted(0, "a\x1b"),
            submitted(1, "b"),
            submitted(2, "c"),
            started(0, 0, 0),
            retrying(1, 0, "503"),
            started(2, 0, 0),
            ended(3, 0, Status::Failed, "connection reset"),
            ended(4, 1, Status::Cancelled, "interrupted"),
            done(5, 2, 1000),
        ]
    }

    #[test]
    fn failures_are_told_with_their_reason() {
        assert_eq!(told(Verbosity::Normal, &one_of_each()), ["warning: `a\\u{1b}` failed: connection reset"]);
        assert!(told(Verbosity::Quiet, &one_of_each()).is_empty());
    }

    #[test]
    fn more_is_told_to_those_who_ask() {
        assert_eq!(
            told(Verbosity::Everything, &one_of_each()),
            [
                "retrying `a\\u{1b}` in 500 ms: attempt 1 failed: 503",
                "warning: `a\\u{1b}` failed: connection reset",
                "warning: `b` cancelled: interrupted",
                "done `c`: 1.0 kB",
            ]
        );
    }

    #[test]
    fn not_found_can_be_an_answer_and_no_warning() {
        let told = |verbosity| {
            let mut notes = Notes::new(verbosity, Paint::Plain, true);
            replay(&[submitted(0, "a"), ended(1, 0, Status::NotFound, "404")], &mut notes);
            notes.take()
        };

        assert!(told(Verbosity::Verbose).is_empty());
        assert_eq!(told(Verbosity::Everything), ["not found `a`"]);
    }

    #[test]
    fn a_dead_server_does_not_fill_the_screen() {
        let events: Vec<Event> =
            (0..50).flat_map(|job| [submitted(job, "x"), ended(1, job, Status::NotFound, "not found")]).collect();

        let lines = told(Verbosity::Normal, &events);
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[0], "warning: `x` not found");
        assert!(lines[10].contains("`-v`"));
        assert_eq!(told(Verbosity::Verbose, &events).len(), 50);
    }
}
