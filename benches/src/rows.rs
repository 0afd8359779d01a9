//! The rows: what is measured, in the order the tables are printed.
//!
//! Every round checks the sum of its values, so a row that is fast by losing work fails.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use cpu_time::ProcessTime;
use rayon::prelude::*;

use crate::measure::{Column, Contestant, Role, Round, Rounds, Row, Setting};
use crate::peers::{Peer, every_peer, rayon_pool};
use crate::raincheck_peer;

/// What to measure, as named on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Topic {
    /// Submit a million closures that do nothing, then claim every value
    Submit,
    /// Submit one, wait for it, repeat
    Pingpong,
    /// Map ten million tiny items, and a million of about 150 ns, in order
    Map,
    /// What a task that has not started holds
    Memory,
    /// CPU time that a pool burns with nothing to do
    Idle,
    /// Fork and join inside tasks, scopes, and starting a pool
    Nested,
    /// Calls to other processes, beside Python's pools if `benches/process/setup` has made them ready
    #[cfg(target_os = "linux")]
    Process,
}

impl Topic {
    /// The rows of this topic.
    pub(crate) fn rows(self, setting: Setting) -> Vec<Row> {
        match self {
            Self::Submit => vec![submit_row::<1>(setting), submit_row::<4>(setting)],
            Self::Pingpong => vec![ping_pong_row(setting)],
            Self::Map => vec![map_row::<Light>(setting), map_row::<Heavy>(setting), map_peak_row(setting)],
            Self::Memory => vec![memory_row(setting)],
            Self::Idle => vec![idle_row(setting)],
            Self::Nested => vec![fib_row(), scope_row(), start_row()],
            #[cfg(target_os = "linux")]
            Self::Process => crate::process::rows(setting),
        }
    }
}

/// A row of a kind most rows are of: ranked by its first column, one contestant at a time.
fn row(key: &'static str, title: String, columns: Vec<Column>, contestants: Vec<Contestant>) -> Row {
    Row { key, title, columns, ranked_by: Some(0), at_once: false, counted: false, contestants }
}

fn cold(head: &'static str, figure: usize) -> Column {
    let rounds = Rounds::Cold;
    Column { head, figure, rounds }
}

fn warm(head: &'static str, figure: usize) -> Column {
    let rounds = Rounds::Warm;
    Column { head, figure, rounds }
}

fn submit_row<const SUBMITTERS: u64>(setting: Setting) -> Row {
    let (key, submitters) = match SUBMITTERS {
        1 => ("submit-1", "one thread".to_owned()),
        _ => ("submit-4", format!("{SUBMITTERS} threads")),
    };
    let tasks = submit_tasks(setting);
    row(
        key,
        format!("submit {tasks} closures that do nothing from {submitters}, then claim all"),
        vec![warm("ns/task", 0), cold("cold", 0)],
        every_peer!(|P, setting| submit::<P, SUBMITTERS>(setting)),
    )
}

fn submit_tasks(setting: Setting) -> u64 {
    setting.count(1_000_000, 4_000)
}

fn submit<P: Peer, const SUBMITTERS: u64>(setting: Setting) -> Round {
    let pool = P::start(setting.workers);
    let tasks = submit_tasks(setting) / SUBMITTERS;
    Box::new(move || {
        let begun = Instant::now();
        let sum: u64 = thread::scope(|scope| {
            let submitter = || submit_and_claim(&pool, tasks);
            let others: Vec<_> = (1..SUBMITTERS).map(|_| scope.spawn(submitter)).collect();
            let first = submitter();
            let sums = others.into_iter().map(|other| other.join());
            sums.fold(first, |sum, other| sum + other.expect(NO_PANIC))
        });
        let taken = begun.elapsed();

        assert_eq!(sum, SUBMITTERS * sum_below(tasks));
        vec![nanos(taken) / (SUBMITTERS * tasks) as f64]
    })
}

fn submit_and_claim<P: Peer>(pool: &P, tasks: u64) -> u64 {
    let mut claims = Vec::with_capacity(tasks as usize);
    claims.extend((0..tasks).map(|number| pool.submit(move || black_box(number))));
    pool.claim_sum(claims)
}

fn ping_pong_row(setting: Setting) -> Row {
    let tasks = ping_pong_tasks(setting);
    row(
        "pingpong",
        format!("submit one, wait for it, {tasks} times"),
        vec![warm("p50 µs", 0), warm("p99 µs", 1), warm("CPU µs/task", 2)],
        every_peer!(|P, setting| ping_pong::<P>(setting)),
    )
}

fn ping_pong_tasks(setting: Setting) -> u64 {
    setting.count(50_000, 500)
}

fn ping_pong<P: Peer>(setting: Setting) -> Round {
    let pool = P::start(setting.workers);
    let tasks = ping_pong_tasks(setting);
    Box::new(move || {
        let cpu = ProcessTime::now();
        let mut turns = Vec::with_capacity(tasks as usize);
        let mut sum = 0;
        for number in 0..tasks {
            let begun = Instant::now();
            let claim = pool.submit(move || black_box(number));
            sum += pool.claim(claim);
            turns.push(begun.elapsed());
        }
        let cpu = cpu.elapsed();

        assert_eq!(sum, sum_below(tasks));
        let (p50, p99) = (percentile(&mut turns, 50), percentile(&mut turns, 99));
        vec![micros(p50), micros(p99), micros(cpu) / tasks as f64]
    })
}

/// What a map row maps, and over how many items.
pub(crate) trait Mapping: 'static {
    const KEY: &'static str;
    const TITLE: &'static str;
    fn items(setting: Setting) -> u64;
    fn apply(item: u64) -> u64;
}

/// So little per item that the pages of the output cost more.
pub(crate) struct Light;

impl Mapping for Light {
    const KEY: &'static str = "map-light";
    const TITLE: &'static str = "one multiplication each";

    fn items(setting: Setting) -> u64 {
        setting.count(10_000_000, 50_000)
    }

    fn apply(item: u64) -> u64 {
        item.wrapping_mul(item)
    }
}

/// Enough per item that a second core pays.
pub(crate) struct Heavy;

impl Mapping for Heavy {
    const KEY: &'static str = "map-heavy";
    const TITLE: &'static str = "about 150 ns each";

    fn items(setting: Setting) -> u64 {
        setting.count(1_000_000, 20_000)
    }

    fn apply(item: u64) -> u64 {
        arithmetic(item, STEPS_OF_150_NS)
    }
}

/// Far more than a pool's overhead, far less than a worker's share.
const CHUNK: u64 = 10_000;

fn map_row<M: Mapping>(setting: Setting) -> Row {
    let mut contestants = raincheck_peer::map::<M>();
    contestants.extend([
        Contestant::baseline("one thread", |setting| {
            map_round::<M>(setting, move || (0..M::items(setting)).map(M::apply).collect())
        }),
        Contestant::peer("rayon par_iter collect", |setting| {
            let pool = rayon_pool(setting.workers);
            let items = M::items(setting);
            let collect = move || (0..items).into_par_iter().map(M::apply).collect();
            map_round::<M>(setting, move || pool.install(collect))
        }),
    ]);
    // raincheck needs no chunks made by hand.
    let in_chunks = every_peer!(|P, setting| {
        let pool = P::start(setting.workers);
        map_round::<M>(setting, move || map_in_chunks::<P, M>(&pool, setting))
    });
    contestants.extend(in_chunks.into_iter().filter(|peer| peer.role == Role::Peer));
    let title = format!(
        "map {} items in order into a `Vec`, {} (pools: chunks of {CHUNK}, joined by hand)",
        M::items(setting),
        M::TITLE,
    );
    row(M::KEY, title, vec![warm("ns/item", 0)], contestants)
}

/// Times a map, and checks that it is the right one and in order.
pub(crate) fn map_round<M: Mapping>(setting: Setting, mut map: impl FnMut() -> Vec<u64> + 'static) -> Round {
    Box::new(move || {
        let begun = Instant::now();
        let outputs = map();
        let taken = begun.elapsed();

        assert_eq!(outputs.len() as u64, M::items(setting));
        let every_thousandth = (0..).zip(&outputs).step_by(1_000);
        for (item, output) in every_thousandth {
            assert_eq!(*output, M::apply(item));
        }
        vec![nanos(taken) / outputs.len() as f64]
    })
}

fn map_in_chunks<P: Peer, M: Mapping>(pool: &P, setting: Setting) -> Vec<u64> {
    let items = M::items(setting);
    let submit_chunk = |first| {
        let chunk = first..items.min(first + CHUNK);
        pool.submit(move || chunk.map(M::apply).collect::<Vec<_>>())
    };
    let claims: Vec<_> = (0..items).step_by(CHUNK as usize).map(submit_chunk).collect();

    let mut outputs = Vec::with_capacity(items as usize);
    for claim in claims {
        outputs.extend(pool.claim(claim));
    }
    outputs
}

fn map_peak_row(setting: Setting) -> Row {
    let title = format!(
        "how far the peak of resident memory grows while raincheck maps {} items to a sum",
        Light::items(setting)
    );
    Row { ranked_by: None, ..row("map-peak", title, vec![warm("MiB", 0)], raincheck_peer::map_to_sum()) }
}

fn memory_row(setting: Setting) -> Row {
    let columns = vec![warm("live B/task", 0), warm("allocations/task", 1), warm("B asked for/task", 2)];
    let title = format!(
        "{} tasks that wait behind a closed gate: live bytes with queue and handle, and what a task and its place in the queue ask for",
        memory_tasks(setting)
    );
    Row { counted: true, ..row("memory", title, columns, every_peer!(|P, setting| memory::<P>(setting))) }
}

fn memory_tasks(setting: Setting) -> u64 {
    setting.count(100_000, 2_000)
}

fn memory<P: Peer>(setting: Setting) -> Round {
    let count = setting.counter.expect("`heap` serves the rows that count");
    let pool = P::start(setting.workers);
    let tasks = memory_tasks(setting);
    Box::new(move || {
        let (gate, mut claims) = close_gate(&pool, setting.workers);
        claims.reserve(tasks as usize);
        let all = count(&mut || claims.extend((0..tasks).map(|number| pool.submit(move || black_box(number)))));
        gate.wait();

        assert_eq!(pool.claim_sum(claims), sum_below(tasks));
        let each = |all: f64| all / tasks as f64;
        let handle = size_of::<P::Claim<u64>>() as f64;
        vec![each(all.live as f64) + handle, each(all.count as f64), each(all.bytes as f64)]
    })
}

/// Keeps every worker busy until the caller too waits at the gate. Each keeper's value is zero.
fn close_gate<P: Peer>(pool: &P, workers: NonZeroUsize) -> (Arc<Barrier>, Vec<P::Claim<u64>>) {
    let everyone = workers.get() + 1;
    let (closed, open) = (Arc::new(Barrier::new(everyone)), Arc::new(Barrier::new(everyone)));
    let keeper = |_| {
        let (closed, open) = (Arc::clone(&closed), Arc::clone(&open));
        pool.submit(move || {
            closed.wait();
            open.wait();
            0
        })
    };
    let keepers = (0..workers.get()).map(keeper).collect();
    closed.wait();
    (open, keepers)
}

fn idle_row(setting: Setting) -> Row {
    let title = format!(
        "CPU time of a pool after work, in the first {} ms and in the {} ms after them",
        FALLING_ASLEEP.as_millis(),
        asleep(setting).as_millis(),
    );
    let columns = vec![warm("first, CPU µs", 0), warm("then, CPU µs/s", 1)];
    Row { ranked_by: None, at_once: true, ..row("idle", title, columns, every_peer!(|P, setting| idle::<P>(setting))) }
}

const FALLING_ASLEEP: Duration = Duration::from_millis(10);

fn asleep(setting: Setting) -> Duration {
    Duration::from_millis(setting.count(3_000, 20))
}

fn idle<P: Peer>(setting: Setting) -> Round {
    let pool = P::start(setting.workers);
    Box::new(move || {
        assert_eq!(submit_and_claim(&pool, 1_000), sum_below(1_000));

        let first = cpu_while(|| thread::sleep(FALLING_ASLEEP));
        let then = cpu_while(|| thread::sleep(asleep(setting)));
        vec![micros(first), micros(then) / asleep(setting).as_secs_f64()]
    })
}

fn cpu_while(work: impl FnOnce()) -> Duration {
    let cpu = ProcessTime::now();
    work();
    cpu.elapsed()
}

fn fib_row() -> Row {
    let contestants = vec![
        raincheck_peer::fib_by_scopes(),
        Contestant::baseline("one thread", |_| fib_round(|| fib(black_box(FIB)))),
        Contestant::peer("rayon join", |setting| {
            let pool = rayon_pool(setting.workers);
            fib_round(move || pool.install(|| fib_by_join(FIB)))
        }),
        Contestant::peer("rayon scope", |setting| {
            let pool = rayon_pool(setting.workers);
            fib_round(move || pool.install(|| fib_by_scope(FIB)))
        }),
    ];
    let title = format!("fib({FIB}) forked down to {FIB_CUTOFF}, by tasks that wait for tasks");
    row("fib", title, vec![warm("ms", 0)], contestants)
}

pub(crate) const FIB: u32 = 30;
/// Below this, a fork costs more than the work.
pub(crate) const FIB_CUTOFF: u32 = 16;
const FIB_OF_30: u64 = 832_040;

/// The median of a few, since one is over in a millisecond.
pub(crate) fn fib_round(mut compute: impl FnMut() -> u64 + 'static) -> Round {
    Box::new(move || {
        let mut turns = [Duration::ZERO; 9];
        for turn in &mut turns {
            let begun = Instant::now();
            assert_eq!(compute(), FIB_OF_30);
            *turn = begun.elapsed();
        }
        vec![micros(percentile(&mut turns, 50)) / 1e3]
    })
}

pub(crate) fn fib(n: u32) -> u64 {
    if n < 2 {
        return n.into();
    }
    fib(n - 1) + fib(n - 2)
}

fn fib_by_join(n: u32) -> u64 {
    if n < FIB_CUTOFF {
        return fib(n);
    }
    let (a, b) = rayon::join(|| fib_by_join(n - 1), || fib_by_join(n - 2));
    a + b
}

fn fib_by_scope(n: u32) -> u64 {
    if n < FIB_CUTOFF {
        return fib(n);
    }
    let mut a = 0;
    let b = rayon::scope(|scope| {
        scope.spawn(|_| a = fib_by_scope(n - 1));
        fib_by_scope(n - 2)
    });
    a + b
}

fn scope_row() -> Row {
    let contestants = vec![
        raincheck_peer::scope(),
        Contestant::baseline("one thread", |_| {
            scope_round(|tasks| tasks.iter_mut().for_each(|task| *task = microsecond(*task)))
        }),
        Contestant::baseline("std::thread::scope, a share each", |setting| {
            scope_round(move |tasks| {
                let share = tasks.len().div_ceil(setting.workers.get());
                thread::scope(|scope| {
                    for share in tasks.chunks_mut(share) {
                        scope.spawn(|| share.iter_mut().for_each(|task| *task = microsecond(*task)));
                    }
                });
            })
        }),
        Contestant::peer("rayon scope", |setting| {
            let pool = rayon_pool(setting.workers);
            scope_round(move |tasks| {
                pool.scope(|scope| {
                    for task in tasks {
                        scope.spawn(|_| *task = microsecond(*task));
                    }
                });
            })
        }),
    ];
    let title = format!("a scope of {SCOPE_TASKS} tasks that borrow, about a microsecond each");
    row("scope", title, vec![warm("µs", 0)], contestants)
}

const SCOPE_TASKS: u64 = 1_000;

/// The median of a few, each of which replaces every number by what `microsecond` makes of it.
pub(crate) fn scope_round(mut run: impl FnMut(&mut [u64]) + 'static) -> Round {
    Box::new(move || {
        let numbers: Vec<u64> = (0..SCOPE_TASKS).collect();
        let expected: Vec<u64> = numbers.iter().copied().map(microsecond).collect();
        let mut turns = [Duration::ZERO; 9];
        for turn in &mut turns {
            let mut tasks = numbers.clone();
            let begun = Instant::now();
            run(&mut tasks);
            *turn = begun.elapsed();
            assert_eq!(tasks, expected);
        }
        vec![micros(percentile(&mut turns, 50))]
    })
}

/// About a microsecond of work.
pub(crate) fn microsecond(number: u64) -> u64 {
    arithmetic(number, 7 * STEPS_OF_150_NS)
}

fn start_row() -> Row {
    row(
        "start",
        "start a pool and claim its first value".to_owned(),
        vec![warm("p50 µs", 0), warm("p99 µs", 1)],
        every_peer!(|P, setting| start::<P>(setting)),
    )
}

fn start<P: Peer>(setting: Setting) -> Round {
    Box::new(move || {
        let pools = setting.count(200, 5) as usize;
        let mut turns = Vec::with_capacity(pools);
        for _ in 0..pools {
            let begun = Instant::now();
            let pool = P::start(setting.workers);
            let value = pool.claim(pool.submit(|| black_box(7)));
            turns.push(begun.elapsed());

            assert_eq!(value, 7);
        }
        let (p50, p99) = (percentile(&mut turns, 50), percentile(&mut turns, 99));
        vec![micros(p50), micros(p99)]
    })
}

/// How many steps of `arithmetic` took 150 ns where the rows were first run.
const STEPS_OF_150_NS: u32 = 120;

/// Work that can neither be vectorised nor left out: each step needs the one before.
fn arithmetic(number: u64, steps: u32) -> u64 {
    (0..steps).fold(black_box(number), |number, _| (number ^ (number >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9))
}

const NO_PANIC: &str = "a submitter panics only if a pool loses its work";

fn sum_below(count: u64) -> u64 {
    count * (count - 1) / 2
}

fn percentile(turns: &mut [Duration], percent: usize) -> Duration {
    turns.sort_unstable();
    turns[turns.len() * percent / 100]
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

fn micros(time: Duration) -> f64 {
    nanos(time) / 1e3
}
