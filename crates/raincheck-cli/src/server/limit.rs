//! At most so many requests in any one second.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Lets so many requests through in any one second, wherever that second begins.
#[derive(Debug)]
pub(super) struct Limiter {
    per_second: usize,
    /// When the requests of the last second were let through, the oldest first.
    admitted: VecDeque<Instant>,
}

impl Limiter {
    pub(super) fn new(per_second: NonZeroU32) -> Self {
        Self { per_second: per_second.get() as usize, admitted: VecDeque::new() }
    }

    /// Returns true if a request that comes `now` may pass. One that may not is free to come again in a second.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        while self.admitted.front().is_some_and(|&oldest| now.saturating_duration_since(oldest) >= SECOND) {
            self.admitted.pop_front();
        }
        let admits = self.admitted.len() < self.per_second;
        if admits {
            self.admitted.push_back(now);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_pass_in_any_one_second() {
        let start = Instant::now();
        let mut limiter = Limiter::new(NonZeroU32::new(2).expect("2 is not 0"));
        let mut admits = |millis| limiter.admits(start + Duration::from_millis(millis));

        assert_eq!([0, 900, 901, 999].map(&mut admits), [true, true, false, false]);
        assert_eq!([1000, 1001, 1899].map(&mut admits), [true, false, false]);
        assert_eq!([1900, 1999, 2000].map(&mut admits), [true, false, true]);
    }

    #[test]
    fn whoever_is_turned_away_does_not_count_against_the_limit() {
        let start = Instant::now();
        let mut limiter = Limiter::new(NonZeroU32::MIN);
        assert!(limiter.admits(start));
        for millis in 1..1000 {
            assert!(!limiter.admits(start + Duration::from_millis(millis)));
        }

        assert!(limiter.admits(start + SECOND));
    }
}
