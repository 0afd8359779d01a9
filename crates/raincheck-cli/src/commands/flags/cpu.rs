//! The book's other tables: work that only computes, by one worker and by more, on threads and on processes.
//!
//! A download waits, and twenty workers wait twenty times as well as one. These jobs keep a processor busy, so that no
//! more workers than there are processors make them any faster.

use std::fmt;
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use rc4::{KeyInit, Rc4, StreamCipher};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::FlagsArgs;
use crate::args::{ExecutorName, Talk};
use crate::batch::{Batch, Calls, Done, Failure, Tried};
use crate::error::{Error, Exit, write_output};
use crate::executors;
use crate::interrupt::Interrupt;
use crate::report::{Plan, Report};

/// Something to compute.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Work {
    /// Encrypt so many bytes by RC4, and decrypt them again.
    Rc4 { bytes: usize },
    /// Make the SHA-256 of so many bytes.
    Sha256 { bytes: usize },
    /// Find out, by trial, whether it is a prime number.
    Prime(u64),
}

/// As many bytes as are made up anew; more are these again, so that what is measured is the cipher.
const BUFFER: usize = 1 << 20;

/// The book's numbers, each about as hard as the next but for the small ones.
const NUMBERS: [u64; 20] = [
    2,
    142_702_110_479_723,
    299_593_572_317_531,
    3_333_333_333_333_301,
    3_333_333_333_333_333,
    3_333_335_652_092_209,
    4_444_444_444_444_423,
    4_444_444_444_444_444,
    4_444_444_488_888_889,
    5_555_553_133_149_889,
    5_555_555_555_555_503,
    5_555_555_555_555_555,
    6_666_666_666_666_666,
    6_666_666_666_666_719,
    6_666_667_141_414_921,
    7_777_777_536_340_681,
    7_777_777_777_777_753,
    7_777_777_777_777_777,
    9_999_999_999_999_917,
    9_999_999_999_999_999,
];

/// Computes one of them. Its value is a word about what came out.
#[raincheck::task]
fn compute(work: Work) -> Tried<String> {
    let (bytes, value) = match work {
        Work::Rc4 { bytes } => (bytes, encrypt_and_back(bytes)?),
        Work::Sha256 { bytes } => (bytes, digest(bytes)),
        Work::Prime(number) => (0, if is_prime(number) { "prime".into() } else { "not prime".into() }),
    };
    Ok(Done { bytes: bytes as u64, value })
}

/// What is shown of it while it runs.
impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rc4 { bytes } => write!(f, "RC4 of {} MB", bytes >> 20),
            Self::Sha256 { bytes } => write!(f, "SHA-256 of {} MB", bytes >> 20),
            Self::Prime(number) => write!(f, "{number}"),
        }
    }
}

fn encrypt_and_back(bytes: usize) -> Result<String, Failure> {
    let key = b"a key of 16 byte";
    let cipher = || Rc4::new_from_slice(key).expect("RC4 takes a key of 16 bytes");
    let clear = noise(BUFFER);
    let (mut encrypt, mut decrypt) = (cipher(), cipher());
    let mut buffer = clear.clone();
    for _ in 0..bytes.div_ceil(BUFFER) {
        encrypt.apply_keystream(&mut buffer);
        decrypt.apply_keystream(&mut buffer);
    }
    if buffer == clear {
        Ok("the same again".into())
    } else {
        Err(Failure::for_good("it did not come out as it went in"))
    }
}

fn digest(bytes: usize) -> String {
    let buffer = noise(BUFFER);
    let mut hasher = Sha256::new();
    (0..bytes.div_ceil(BUFFER)).for_each(|_| hasher.update(&buffer));
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// By trial, as the book does it: to take long is the point.
fn is_prime(number: u64) -> bool {
    if number < 4 {
        return number > 1;
    }
    if number.is_multiple_of(2) {
        return false;
    }
    let root = number.isqrt();
    (3..=root).step_by(2).all(|divisor| !number.is_multiple_of(divisor))
}

/// Bytes without a pattern, the same each time.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)).to_le_bytes()
    };
    let mut noise: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| next()).collect();
    noise.truncate(bytes);
    noise
}

/// The three piles of work, with what they are called.
fn piles() -> [(&'static str, Vec<Work>); 3] {
    // The book's twelve lengths, times so many that a fast machine takes a moment, too.
    let lengths = (0..12).map(|n| (149 + n * 21) << 16);
    [
        ("RC4, there and back", lengths.map(|bytes| Work::Rc4 { bytes }).collect()),
        ("SHA-256", (0..12).map(|_| Work::Sha256 { bytes: 64 << 20 }).collect()),
        // The hardest first, so that none of them is alone at the end.
        ("primes, by trial", NUMBERS.iter().rev().map(|number| Work::Prime(*number)).collect()),
    ]
}

/// Does each pile with one worker, two and so on, on threads and on processes.
pub(super) fn demonstrate(args: FlagsArgs, talk: Talk, interrupt: &Interrupt) -> Result<Exit, Error> {
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let most = args.jobs.jobs.unwrap_or(cores);
    let plan = Plan { tells_summary: false, ..args.report.plan("Computing", talk) };
    let report = Report::open(plan, interrupt)?;
    let batch = Batch::new(&report, interrupt, &args.jobs);
    let mut text = String::new();
    for (name, pile) in piles() {
        let mut rows = Vec::new();
        for workers in (1..=most.get()).filter_map(NonZeroUsize::new) {
            let mut times = [Duration::ZERO; 2];
            for (time, executor) in times.iter_mut().zip([ExecutorName::Thread, ExecutorName::Process]) {
                report.style(&format!("{name}, {}", executors::style(executor, workers)));
                *time = once(&pile, executor, workers, &batch)?;
            }
            if interrupt.asked().is_some() {
                return report.finish();
            }
            rows.push((workers, times));
        }
        text += &table(&format!("{} jobs: {name}", pile.len()), &rows);
    }
    let exit = report.finish()?;
    write_output(text.as_bytes())?;
    Ok(exit)
}

/// How long the pile takes.
fn once(pile: &[Work], executor: ExecutorName, workers: NonZeroUsize, batch: &Batch<'_>) -> Result<Duration, Error> {
    let chosen = executors::make(executor, workers)?;
    let start = Instant::now();
    batch.run(chosen, pile.iter().cloned(), Work::to_string, &Calls(compute::call), |_, _| Ok(()))?;
    Ok(start.elapsed())
}

/// The times side by side; one worker is what the others are compared with.
fn table(title: &str, rows: &[(NonZeroUsize, [Duration; 2])]) -> String {
    let mut text =
        format!("{title}\n{:>7} {:>9} {:>9} {:>11} {:>9}\n", "workers", "threads", "speed-up", "processes", "speed-up");
    let Some((_, first)) = rows.first() else { return text };
    for (workers, times) in rows {
        let [threads, processes] = times.map(|time| time.as_secs_f64());
        let [alone, apart] = first.map(|time| time.as_secs_f64());
        text += &format!(
            "{workers:>7} {threads:>7.2} s {:>8.1}x {processes:>9.2} s {:>8.1}x\n",
            alone / threads,
            apart / processes
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_told_from_others() {
        let found: Vec<u64> = (0..30).filter(|number| is_prime(*number)).collect();

        assert_eq!(found, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(is_prime(NUMBERS[1]) && !is_prime(NUMBERS[1] + 2));
    }

    #[test]
    fn a_sum_is_that_of_so_many_bytes() {
        let twice = [noise(BUFFER), noise(BUFFER)].concat();

        assert_eq!(
            digest(2 * BUFFER),
            Sha256::digest(twice).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        );
        assert_eq!(encrypt_and_back(2 * BUFFER).unwrap(), "the same again");
    }

    #[test]
    fn the_table_compares_with_one_worker() {
        let time = |threads, processes| [threads, processes].map(Duration::from_millis);
        let rows = [(1, time(1000, 1100)), (2, time(500, 550))];
        let rows = rows.map(|(workers, times)| (NonZeroUsize::new(workers).unwrap(), times));

        assert_eq!(
            table("12 jobs: SHA-256", &rows),
            "12 jobs: SHA-256\n\
             workers   threads  speed-up   processes  speed-up\n      \
             1    1.00 s      1.0x      1.10 s      1.0x\n      \
             2    0.50 s      2.0x      0.55 s      2.0x\n"
        );
    }
}
