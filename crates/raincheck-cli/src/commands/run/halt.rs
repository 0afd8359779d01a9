//! When to stop before all is done, because of how jobs have ended: `--halt`, as GNU parallel has it.

use std::str::FromStr;

/// `--halt now,fail=1`: when to stop, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Halt {
    pub(super) when: When,
    why: Why,
    limit: Limit,
}

/// What to do with the jobs that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// They run to their end, and no more begin.
    Soon,
    /// They are ended too.
    Now,
}

/// Which jobs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Fail,
    Success,
    Done,
}

/// How many of them it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    Jobs(u64),
    /// Of all jobs there are.
    Percent(f64),
}

/// How many jobs have ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) failed: u64,
    pub(super) succeeded: u64,
}

impl Halt {
    /// Whether it is time, of so many jobs in all, if that is known.
    pub(super) fn is_due(&self, tally: Tally, total: Option<u64>) -> bool {
        let count = match self.why {
            Why::Fail => tally.failed,
            Why::Success => tally.succeeded,
            Why::Done => tally.failed + tally.succeeded,
        };
        match self.limit {
            Limit::Jobs(jobs) => count >= jobs,
            Limit::Percent(percent) => {
                count > 0 && total.is_some_and(|total| count as f64 >= total as f64 * percent / 100.0)
            }
        }
    }

    /// Whether what the user was after has been had, so that what was ended for it is no failure.
    pub(super) fn is_met(&self, tally: Tally) -> bool {
        match self.why {
            Why::Fail => false,
            Why::Success => true,
            Why::Done => tally.failed == 0,
        }
    }

    /// Whether the number of all jobs must be known for it.
    pub(super) fn needs_total(&self) -> bool {
        matches!(self.limit, Limit::Percent(_))
    }
}

/// Reads the value of `--halt`; `None` is `never`.
pub(super) fn halt(text: &str) -> Result<Option<Halt>, String> {
    const HELP: &str = "write it as in now,fail=1, soon,fail=20% or now,success=1";
    // The short forms of old.
    let text = match text {
        "never" | "0" => return Ok(None),
        "1" => "soon,fail=1",
        "2" => "now,fail=1",
        "-1" => "soon,success=1",
        "-2" => "now,success=1",
        _ => text,
    };
    let (when, rest) = text.split_once(',').ok_or(HELP)?;
    let (why, limit) = rest.split_once('=').ok_or(HELP)?;
    let when = match when {
        "soon" => When::Soon,
        "now" => When::Now,
        _ => return Err(HELP.into()),
    };
    let why = match why {
        "fail" => Why::Fail,
        "success" => Why::Success,
        "done" => Why::Done,
        _ => return Err(HELP.into()),
    };
    let limit = match limit.strip_suffix('%') {
        Some(percent) => {
            f64::from_str(percent).ok().filter(|percent| (0.0..=100.0).contains(percent)).map(Limit::Percent)
        }
        None => u64::from_str(limit).ok().filter(|jobs| *jobs > 0).map(Limit::Jobs),
    };
    Ok(Some(Halt { when, why, limit: limit.ok_or(HELP)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(text: &str, failed: u64, succeeded: u64, total: Option<u64>) -> bool {
        halt(text).unwrap().unwrap().is_due(Tally { failed, succeeded }, total)
    }

    #[test]
    fn rules_are_read_as_gnu_parallel_reads_them() {
        assert_eq!(halt("never"), Ok(None));
        assert_eq!(halt("2"), halt("now,fail=1"));
        assert_eq!(halt("soon,done=30%").unwrap().unwrap().limit, Limit::Percent(30.0));
        for wrong in ["", "now", "now,fail", "later,fail=1", "now,fail=0", "now,fail=x", "now,luck=1", "soon,fail=120%"]
        {
            assert!(halt(wrong).unwrap_err().contains("now,fail=1"), "{wrong}");
        }
    }

    #[test]
    fn a_rule_counts_what_it_names() {
        assert!(due("now,fail=2", 2, 0, None));
        assert!(!due("now,fail=2", 1, 9, None));
        assert!(due("soon,success=1", 0, 1, None));
        assert!(due("soon,done=3", 1, 2, None));
    }

    #[test]
    fn a_share_is_of_all_jobs() {
        assert!(!due("now,fail=50%", 4, 0, Some(10)));
        assert!(due("now,fail=50%", 5, 0, Some(10)));
        assert!(!due("now,fail=50%", 5, 0, None), "nobody knows yet what half of them is");
    }
}
