//! How the server is to behave: the options of `raincheck serve`, and those that a program sets itself.

use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;
use std::time::Duration;

use hyper::StatusCode;

use crate::args::{duration, number, number_within};

/// How the server is to behave. The default is a well-behaved one, on a free port that only this machine can reach.
///
/// What happens to a request follows from the seed, the path and how many times that path has been asked for, and
/// from nothing else, so that a run can be had again whatever the concurrency. Only the limit goes by the clock; a
/// request that it turns away does not count as an attempt.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ServerOptions {
    /// The port to listen on; 0 picks a free one
    #[arg(long, value_name = "PORT", default_value_t = 0, value_parser = number_within(0..=u16::MAX))]
    pub(crate) port: u16,

    /// The address to listen on; `0.0.0.0` lets other machines in
    #[arg(long, value_name = "ADDRESS", default_value = LOOPBACK)]
    pub(crate) host: String,

    /// Hold every answer back this long: `350ms`, or between two times as in `0.5s..5s`
    #[arg(long, value_name = "DURATION")]
    pub(crate) delay: Option<Delay>,

    /// Hold the first answer of each connection back this much longer, as a distant server does
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) connect_delay: Option<Duration>,

    /// Answer this share of requests with an error: `0.25` or `25%`
    #[arg(long, value_name = "SHARE", default_value = "0", hide_default_value = true)]
    pub(crate) error_rate: Share,

    /// The status of those errors
    #[arg(long, value_name = "STATUS", default_value_t = StatusCode::SERVICE_UNAVAILABLE.as_u16(),
          value_parser = number_within(400..=599_u16))]
    pub(crate) error_status: u16,

    /// Say with those errors when to come again: in this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = number::<u32>)]
    pub(crate) retry_after: Option<u32>,

    /// Cut this share of bodies off half-way and close the connection
    #[arg(long, value_name = "SHARE", default_value = "0", hide_default_value = true)]
    pub(crate) cut_rate: Share,

    /// Let this share of bodies stop half-way, with the connection left open
    #[arg(long, value_name = "SHARE", default_value = "0", hide_default_value = true)]
    pub(crate) stall_rate: Share,

    /// Send each body no faster than this many bytes a second: `500`, `10k`, `1M`
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) slow: Option<NonZeroU64>,

    /// Answer this many requests in any one second, and the rest with 429 and `Retry-After`
    #[arg(long, value_name = "N", value_parser = number::<NonZeroU32>)]
    pub(crate) limit: Option<NonZeroU32>,

    /// Choose other delays and other victims; the same seed chooses the same ones again
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number::<u64>)]
    pub(crate) seed: u64,
}

const LOOPBACK: &str = "127.0.0.1";

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            port: 0,
            host: LOOPBACK.to_owned(),
            delay: None,
            connect_delay: None,
            error_rate: Share(0.0),
            error_status: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
            retry_after: None,
            cut_rate: Share(0.0),
            stall_rate: Share(0.0),
            slow: None,
            limit: None,
            seed: 0,
        }
    }
}

/// How long an answer is held back: always as long, or somewhere between two times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delay {
    shortest: Duration,
    longest: Duration,
}

impl Delay {
    /// Always this long.
    pub(crate) fn fixed(delay: Duration) -> Self {
        Self { shortest: delay, longest: delay }
    }

    /// Anything between the two, each equally likely.
    pub(crate) fn between(one: Duration, other: Duration) -> Self {
        Self { shortest: one.min(other), longest: one.max(other) }
    }

    /// The delay that lies this far, from 0 to 1, between the shortest and the longest.
    pub(super) fn at(self, how_far: f64) -> Duration {
        self.shortest + (self.longest - self.shortest).mul_f64(how_far)
    }
}

impl FromStr for Delay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("..") {
            None => duration(text).map(Self::fixed),
            Some((shortest, longest)) => {
                // A delay of nothing is no option to type, but a fine place for a range to begin.
                let shortest = if shortest == "0" { Duration::ZERO } else { duration(shortest)? };
                let longest = duration(longest)?;
                if shortest > longest {
                    return Err("the shorter time must come first".to_owned());
                }
                Ok(Self::between(shortest, longest))
            }
        }
    }
}

/// A part of all requests, from 0 (none) to 1 (every one).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(f64);

impl Share {
    /// Returns `None` unless `share` is from 0 to 1.
    pub(crate) fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// The share as a number from 0 to 1.
    pub(crate) fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.parse::<f64>().map(|percent| percent / 100.0),
            None => text.parse(),
        };
        share
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| "expected a share from `0` to `1`, or from `0%` to `100%`".to_owned())
    }
}

fn bytes(text: &str) -> Result<NonZeroU64, String> {
    let (number, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| NonZeroU64::new(number.checked_mul(factor)?))
        .ok_or_else(|| "expected bytes a second, 1 or more, such as `500`, `10k` or `1M`".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        options: ServerOptions,
    }

    fn parsed(arguments: &[&str]) -> Result<ServerOptions, String> {
        CommandLine::try_parse_from(["serve"].iter().chain(arguments))
            .map(|line| line.options)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_line_without_options_is_the_default() {
        let options = parsed(&[]).expect("no option is required");

        assert_eq!(format!("{options:?}"), format!("{:?}", ServerOptions::default()));
    }

    #[test]
    fn a_delay_is_one_time_or_a_range_of_times() {
        let delay = |text| parsed(&["--delay", text]).expect("the delay is well-formed").delay;

        let millis = Duration::from_millis;
        assert_eq!(delay("350ms"), Some(Delay::fixed(millis(350))));
        assert_eq!(delay("0.5s..5s"), Some(Delay::between(millis(500), millis(5000))));
        assert_eq!(delay("0..2s"), Some(Delay::between(millis(0), millis(2000))));
    }

    #[test]
    fn a_delay_without_sense_is_refused() {
        for wrong in ["", "s", "-1s", "1s..", "..1s", "1 parsec", "5s..1s", "0s"] {
            parsed(&[&format!("--delay={wrong}")]).expect_err(wrong);
        }
        let error = parsed(&["--delay", "5s..1s"]).expect_err("the wrong way round");
        assert!(error.contains("the shorter time must come first"), "{error}");
    }

    #[test]
    fn a_share_is_a_fraction_or_a_percentage() {
        let share = |text| parsed(&["--error-rate", text]).expect("the share is well-formed").error_rate.get();

        assert_eq!([share("0.25"), share("25%"), share("1"), share("0")], [0.25, 0.25, 1.0, 0.0]);
    }

    #[test]
    fn a_share_outside_0_to_1_is_refused() {
        for wrong in ["1.01", "101%", "-0.1", "NaN", "half", ""] {
            let error = parsed(&[&format!("--error-rate={wrong}")]).expect_err(wrong);
            assert!(error.contains("expected a share from `0` to `1`"), "{wrong}: {error}");
        }
    }

    #[test]
    fn bytes_a_second_take_the_usual_suffixes() {
        let slow = |text| parsed(&["--slow", text]).expect("the speed is well-formed").slow.map(NonZeroU64::get);

        assert_eq!([slow("500"), slow("10k"), slow("1M")], [Some(500), Some(10_240), Some(1_048_576)]);
        for wrong in ["0", "0k", "k", "-1", "1.5k", "99999999999G", "ä"] {
            let error = parsed(&[&format!("--slow={wrong}")]).expect_err(wrong);
            assert!(error.contains("expected bytes a second, 1 or more"), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_status_of_an_error_is_an_error_status() {
        assert_eq!(parsed(&["--error-status", "418"]).expect("418 is an error").error_status, 418);
        parsed(&["--error-status", "200"]).expect_err("200 is no error");
    }
}
