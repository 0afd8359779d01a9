//! Whether a thread has time for more.

use std::time::{Duration, Instant};

use tokio::runtime::RuntimeMetrics;

/// How much of its time a thread may be busy for more to be of use.
const BUSY: f64 = 0.75;

/// So much does one look at it weigh: what holds it up for a moment is no lack of work.
const WEIGHT: f64 = 0.125;

/// How busy the thread of a runtime is.
pub(super) struct Load {
    metrics: RuntimeMetrics,
    looked_at: Instant,
    busy_then: Duration,
    share: Share,
}

/// What part of its time a thread is busy, of late.
struct Share(f64);

impl Load {
    pub(super) fn new(metrics: RuntimeMetrics) -> Self {
        let busy_then = metrics.worker_total_busy_duration(0);
        Self { metrics, looked_at: Instant::now(), busy_then, share: Share(BUSY) }
    }

    /// Whether the thread has been idle for a good part of the time of late. To be asked now and then.
    pub(super) fn leaves_time(&mut self) -> bool {
        let (now, busy) = (Instant::now(), self.metrics.worker_total_busy_duration(0));
        let was_busy = busy.saturating_sub(self.busy_then);
        let leaves_time = self.share.leaves_time(now - self.looked_at, was_busy);
        (self.looked_at, self.busy_then) = (now, busy);
        leaves_time
    }
}

impl Share {
    /// The same after so much time, of which the thread was busy for so much.
    fn leaves_time(&mut self, time: Duration, busy: Duration) -> bool {
        let share = busy.as_secs_f64() / time.as_secs_f64().max(f64::MIN_POSITIVE);
        self.0 += WEIGHT * (share.min(1.0) - self.0);
        self.0 < BUSY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_millis(2);

    #[test]
    fn a_thread_that_waits_for_answers_has_time_for_more_even_if_it_was_busy_asking_at_first() {
        let mut share = Share(BUSY);

        assert!(!share.leaves_time(TIME, TIME));
        assert!(share.leaves_time(TIME, Duration::ZERO));
    }

    #[test]
    fn a_thread_that_is_busy_has_no_time_for_more_because_it_was_held_up_once() {
        let mut share = Share(BUSY);
        for _ in 0..20 {
            share.leaves_time(TIME, TIME.mul_f64(0.95));
        }

        assert!(!share.leaves_time(TIME, Duration::ZERO));
        assert!(!share.leaves_time(TIME, TIME.mul_f64(0.95)));
    }

    #[test]
    fn a_thread_that_comes_to_wait_after_all_has_time_for_more_soon() {
        let mut share = Share(1.0);

        assert!((0..3).any(|_| share.leaves_time(TIME, Duration::ZERO)));
    }
}
