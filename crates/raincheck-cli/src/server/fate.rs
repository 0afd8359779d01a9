//! What becomes of a request: a pure function, so that the same run can be had again.

use std::time::Duration;

use super::options::ServerOptions;

/// What becomes of one request.
///
/// It follows from the seed, the path and how many times that path has been asked for, and from nothing else: not
/// from the time, not from which request came first, not from how many came at once. A client that asks for the
/// same things, retries included, meets the same trouble, whatever its concurrency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fate {
    /// How long the answer is held back.
    pub(super) delay: Duration,
    /// What goes wrong, if anything does.
    pub(super) fault: Option<Fault>,
}

/// What goes wrong with one answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    /// It is an error instead of the content.
    Error,
    /// Its body stops after this share of its bytes, and the connection is closed.
    Cut(f64),
    /// Its body stops after this share of its bytes, and the connection stays open.
    Stall(f64),
}

impl Fate {
    /// Decides over the `attempt`-th request for `path`; the first is number 1.
    pub(super) fn of(options: &ServerOptions, path: &str, attempt: u32) -> Self {
        let mut dice = Dice::new(options.seed, path, attempt);
        // Every throw is made whether it is needed or not: a longer `--delay` must not change which requests fail.
        let (which, how_long, how_far) = (dice.throw(), dice.throw(), dice.throw());

        let errors = options.error_rate.get();
        let cuts = errors + options.cut_rate.get();
        let stalls = cuts + options.stall_rate.get();
        let fault = match which {
            which if which < errors => Some(Fault::Error),
            which if which < cuts => Some(Fault::Cut(how_far)),
            which if which < stalls => Some(Fault::Stall(how_far)),
            _ => None,
        };
        Self { delay: options.delay.map_or(Duration::ZERO, |delay| delay.at(how_long)), fault }
    }
}

/// Returns a number that stands for `bytes`, the same on every machine and in every version of Rust.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    // FNV-1a.
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// SplitMix64: each state gives one number, and even neighbouring states give unlike ones.
struct Dice {
    state: u64,
}

impl Dice {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

    fn new(seed: u64, path: &str, attempt: u32) -> Self {
        let seeded = Self { state: seed }.number();
        let placed = Self { state: seeded ^ fingerprint(path.as_bytes()) }.number();
        Self { state: placed ^ u64::from(attempt) }
    }

    /// Returns a number from 0 up to, but not including, 1.
    fn throw(&mut self) -> f64 {
        // The upper 53 bits, which is what an `f64` holds exactly.
        let number = self.number() >> 11;
        number as f64 / (1_u64 << 53) as f64
    }

    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(Self::STEP);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::options::{Delay, Share};

    fn share(share: f64) -> Share {
        Share::new(share).expect("a share is from 0 to 1")
    }

    fn troubled() -> ServerOptions {
        ServerOptions {
            delay: Some(Delay::between(Duration::from_millis(100), Duration::from_millis(300))),
            error_rate: share(0.25),
            cut_rate: share(0.15),
            stall_rate: share(0.10),
            seed: 7,
            ..ServerOptions::default()
        }
    }

    fn fates(options: &ServerOptions) -> Vec<Fate> {
        (0..10_000).map(|number| Fate::of(options, &format!("/flags/{number}"), 1)).collect()
    }

    fn share_of(fates: &[Fate], is: impl Fn(&Fault) -> bool) -> f64 {
        let count = fates.iter().filter(|fate| fate.fault.as_ref().is_some_and(&is)).count();
        count as f64 / fates.len() as f64
    }

    #[test]
    fn the_same_seed_path_and_attempt_meet_the_same_fate() {
        assert_eq!(fates(&troubled()), fates(&troubled()));
    }

    #[test]
    fn the_fate_of_a_request_is_the_same_on_every_machine_and_in_every_release() {
        // Computed apart from this code, from the published definitions of FNV-1a and SplitMix64.
        let fate = |code| Fate::of(&troubled(), &format!("/flags/{code}/{code}.png"), 1);

        assert_eq!((fate("de").delay.as_micros(), fate("de").fault), (169_905, None));
        assert_eq!((fate("br").delay.as_micros(), fate("br").fault), (296_101, Some(Fault::Error)));
    }

    #[test]
    fn another_seed_path_or_attempt_is_another_fate() {
        let options = troubled();
        let other_seed = ServerOptions { seed: 8, ..troubled() };
        let delay = |options, path, attempt| Fate::of(options, path, attempt).delay;

        assert_ne!(delay(&options, "/a", 1), delay(&other_seed, "/a", 1));
        assert_ne!(delay(&options, "/a", 1), delay(&options, "/b", 1));
        assert_ne!(delay(&options, "/a", 1), delay(&options, "/a", 2));
    }

    #[test]
    fn each_fault_strikes_the_share_of_requests_it_was_given() {
        let fates = fates(&troubled());

        let near = |share: f64, expected: f64| (share - expected).abs() < 0.01;
        assert!(near(share_of(&fates, |fault| *fault == Fault::Error), 0.25));
        assert!(near(share_of(&fates, |fault| matches!(fault, Fault::Cut(_))), 0.15));
        assert!(near(share_of(&fates, |fault| matches!(fault, Fault::Stall(_))), 0.10));
    }

    #[test]
    fn a_failed_request_succeeds_when_it_is_tried_again_often_enough() {
        let options = ServerOptions { error_rate: share(0.5), ..ServerOptions::default() };

        let tries = (0..100).map(|number| {
            let path = format!("/{number}");
            (1..100).find(|&attempt| Fate::of(&options, &path, attempt).fault.is_none())
        });
        assert!(tries.flatten().max() > Some(3));
    }

    #[test]
    fn a_random_delay_stays_between_its_bounds_and_uses_them() {
        let delays: Vec<Duration> = fates(&troubled()).iter().map(|fate| fate.delay).collect();

        let (shortest, longest) = (delays.iter().min(), delays.iter().max());
        assert!(Some(&Duration::from_millis(100)) <= shortest && shortest < Some(&Duration::from_millis(101)));
        assert!(Some(&Duration::from_millis(299)) < longest && longest <= Some(&Duration::from_millis(300)));
    }

    #[test]
    fn a_longer_delay_does_not_change_which_requests_fail() {
        let faults = |options| fates(&options).into_iter().map(|fate| fate.fault).collect::<Vec<_>>();
        let slower = ServerOptions { delay: Some(Delay::fixed(Duration::from_secs(9))), ..troubled() };

        assert_eq!(faults(troubled()), faults(slower));
    }
}
