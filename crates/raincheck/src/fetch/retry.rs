//! Whether to try again, and when.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::error::{FetchError, TimeLimit};

/// Whether and when a request that failed is sent again.
///
/// What may go away is tried again: answers of 408, 429 and 5xx (but for 501 and 505, which say that the server never
/// will), time limits that ran out, connections that were refused, reset or cut off, names that the resolver could not look
/// up just now. A file with a wrong checksum is fetched again until the same wrong one has come twice. What will not is not: 404 above all, 401, 403, a certificate that is not trusted, a full disk.
///
/// The wait before the second attempt is drawn between nothing and `first`, and that limit doubles with each further
/// one, so that many clients do not come back at the same moment. A server that says how long to wait, by `Retry-After`,
/// is obeyed to the letter instead; if it says longer than [`patience`](Self::patience), the request fails.
///
/// # Examples
///
/// ```
/// use raincheck::fetch::Retries;
/// use std::time::Duration;
///
/// let retries = Retries::times(3).first(Duration::from_millis(100)).status(409);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    times: u32,
    first: Duration,
    longest: Duration,
    patience: Duration,
    statuses: Vec<u16>,
}

impl Default for Retries {
    /// Five further attempts, half a second at first, half a minute at most, and patience for ten minutes.
    fn default() -> Self {
        Self::times(5)
    }
}

impl Retries {
    /// So many further attempts after the first.
    pub fn times(times: u32) -> Self {
        Self {
            times,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            patience: Duration::from_secs(600),
            statuses: Vec::new(),
        }
    }

    /// The longest wait before the second attempt. It doubles with each further one.
    #[must_use]
    pub fn first(mut self, wait: Duration) -> Self {
        self.first = wait;
        self
    }

    /// No wait of our own choice is longer than this.
    #[must_use]
    pub fn longest(mut self, wait: Duration) -> Self {
        self.longest = wait;
        self
    }

    /// A server that asks to be left alone for longer than this has failed.
    #[must_use]
    pub fn patience(mut self, wait: Duration) -> Self {
        self.patience = wait;
        self
    }

    /// Tries again after this status too.
    #[must_use]
    pub fn status(mut self, code: u16) -> Self {
        self.statuses.push(code);
        self
    }

    /// How long a server may ask to be left alone.
    pub(crate) fn longest_asked(&self) -> Duration {
        self.patience
    }

    /// How long to wait after so many attempts, the last of which failed so; `None` if there is no point in another one.
    ///
    /// `draw` is a number from 0 to 1.
    pub(crate) fn wait(&self, error: &FetchError, attempts: u32, draw: f64) -> Option<Duration> {
        if attempts > self.times || !self.may_go_away(error) {
            return None;
        }
        if let FetchError::Status { retry_after: Some(asked), .. } = error {
            return (*asked <= self.patience).then_some(*asked);
        }
        let factor = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        Some(self.first.saturating_mul(factor).min(self.longest).mul_f64(draw.clamp(0.0, 1.0)))
    }

    /// Whether another attempt may succeed where this one did not.
    pub(crate) fn may_go_away(&self, error: &FetchError) -> bool {
        match error {
            FetchError::Status { code, .. } => {
                self.statuses.contains(code) || matches!(code, 408 | 429 | 500 | 502..=504 | 506..=599)
            }
            // The connection and silence are of the moment; who has had all the time there is will not do with as much again.
            FetchError::TimedOut { what, .. } => *what != TimeLimit::Total,
            FetchError::Unresolved { reason, .. } => is_temporary(reason),
            FetchError::Refused { .. }
            | FetchError::Unreachable { .. }
            | FetchError::Reset { .. }
            | FetchError::CutOff { .. }
            // What was damaged on the way, or stored half, comes right the next time or never; it is cheap to find out.
            | FetchError::Checksum { .. } => true,
            FetchError::Proxy { .. } => true,
            FetchError::InvalidUrl { .. }
            | FetchError::Invalid { .. }
            | FetchError::Tls { .. }
            | FetchError::TooManyRedirects { .. }
            | FetchError::InvalidRedirect { .. }
            | FetchError::TooLarge { .. }
            | FetchError::Protocol { .. }
            | FetchError::Decoding { .. }
            | FetchError::File { .. }
            | FetchError::Forbidden { .. } => false,
        }
    }
}

/// Whether the resolver may know better in a while: it could not ask, as opposed to being told that there is no such name.
fn is_temporary(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("temporary") || reason.contains("try again") || reason.contains("timed out")
}

/// What `Retry-After` says: seconds, or a date, which is counted from now.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // A date has whole seconds. Arriving within the second before it would be early.
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> FetchError {
        FetchError::Status { code, retry_after: None }
    }

    fn refused(seconds: u64) -> FetchError {
        FetchError::Status { code: 503, retry_after: Some(Duration::from_secs(seconds)) }
    }

    #[test]
    fn what_may_go_away_is_tried_again_and_what_will_not_is_not() {
        let retries = Retries::default();
        for code in [408, 429, 500, 502, 503, 504, 520, 599] {
            assert!(retries.may_go_away(&status(code)), "{code}");
        }
        for code in [301, 400, 401, 403, 404, 405, 410, 416, 451, 501, 505] {
            assert!(!retries.may_go_away(&status(code)), "{code}");
        }
        assert!(retries.may_go_away(&FetchError::CutOff { got: 1, of: Some(2) }));
        assert!(retries.may_go_away(&FetchError::Reset { reason: "by peer".into() }));
        let silence = |what| FetchError::TimedOut { what, limit: Duration::from_secs(1) };
        assert!(retries.may_go_away(&silence(TimeLimit::Idle)));
        assert!(!retries.may_go_away(&silence(TimeLimit::Total)));
    }

    #[test]
    fn a_name_that_does_not_exist_is_not_looked_up_again() {
        let unresolved = |reason: &str| FetchError::Unresolved { host: "h".into(), reason: reason.into() };
        let retries = Retries::default();

        assert!(retries.may_go_away(&unresolved("Temporary failure in name resolution")));
        assert!(!retries.may_go_away(&unresolved("Name or service not known")));
    }

    #[test]
    fn statuses_can_be_added() {
        assert!(Retries::times(1).status(404).may_go_away(&status(404)));
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_drawn_from_the_whole_of_it() {
        let retries = Retries::times(9).first(Duration::from_secs(1)).longest(Duration::from_secs(5));
        let waits = |draw: f64| (1..=4).map(move |n| retries.wait(&status(500), n, draw).unwrap().as_secs_f64());

        assert!(waits.clone()(1.0).eq([1.0, 2.0, 4.0, 5.0]));
        assert!(waits.clone()(0.5).eq([0.5, 1.0, 2.0, 2.5]));
        assert!(waits(0.0).all(|wait| wait == 0.0));
    }

    #[test]
    fn attempts_come_to_an_end() {
        let retries = Retries::times(2);

        assert!(retries.wait(&status(500), 2, 1.0).is_some());
        assert_eq!(retries.wait(&status(500), 3, 1.0), None);
        assert_eq!(Retries::times(0).wait(&status(500), 1, 1.0), None);
    }

    #[test]
    fn retry_after_is_obeyed_to_the_letter_or_not_at_all() {
        let retries = Retries::default().longest(Duration::from_secs(1)).patience(Duration::from_secs(120));

        assert_eq!(retries.wait(&refused(90), 1, 0.1), Some(Duration::from_secs(90)));
        assert_eq!(retries.wait(&refused(0), 4, 1.0), Some(Duration::ZERO));
        assert_eq!(retries.wait(&refused(121), 1, 0.1), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();

        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-5", now), None);
    }
}
