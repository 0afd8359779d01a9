//! Workers are killed at random while many tasks run: every future has its one right outcome.
//!
//! `RAINCHECK_CHAOS` says how many tasks there are, and `RAINCHECK_SEED` which of the many possible runs it is.

use std::{
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use raincheck::{Cancel, Executor, Options, Outcome, ProcessPool, TaskError, TaskFuture};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    area, claim,
    traps::{DEATHS, Harm, Stage, Trap, carry},
};

/// The same numbers each time, for the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("`{name}` is no number")))
}

/// Its own process, and what makes it worth killing.
#[raincheck::task]
fn victim(text: String) -> (u32, String) {
    (std::process::id(), text)
}

#[raincheck::task]
fn sleep(time: Duration) {
    thread::sleep(time);
}

/// What all threads of the test share.
struct Chaos {
    pool: ProcessPool,
    /// Workers that were ready once.
    seen: Mutex<Vec<u32>>,
    /// How many were killed from outside, and how many tasks kill their own.
    kills: AtomicUsize,
    /// How many tasks have lost their worker.
    lost: AtomicUsize,
    outcomes: Arc<AtomicUsize>,
    is_over: AtomicBool,
}

impl Chaos {
    /// Claims a task's outcome: what it should be, or that its worker is gone.
    #[track_caller]
    fn expect<T: Send + PartialEq + std::fmt::Debug + 'static>(
        &self,
        task: TaskFuture<T>,
        cancel: Option<Cancel>,
        value: &T,
    ) {
        let outcome = claim(task);
        match (&outcome, cancel) {
            (Err(TaskError::Cancelled), Some(Cancel::Prevented | Cancel::Stopped)) => {}
            (_, Some(Cancel::Prevented | Cancel::Stopped)) => panic!("{outcome:?} although {cancel:?}"),
            (Err(TaskError::WorkerLost(_)), _) => self.has_lost(&outcome),
            (Ok(found), _) => assert_eq!(found, value),
            (Err(error), _) => panic!("{error} instead of {value:?}, {cancel:?}"),
        }
    }

    #[track_caller]
    fn has_lost<T>(&self, outcome: &Outcome<T>) {
        match outcome {
            Err(TaskError::WorkerLost(lost)) if lost.death().is_some_and(|death| death.task().is_some()) => {}
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it has a value"),
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn count<T: Send + 'static>(&self, task: &TaskFuture<T>) {
        let outcomes = Arc::clone(&self.outcomes);
        task.on_done(move |_| {
            outcomes.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// Submits so many tasks of all kinds, a few at a time, and checks what becomes of each.
    fn submit(&self, tasks: u64, mut random: Random) {
        let mut done = 0;
        while done < tasks {
            let batch = (1 + random.below(200)).min(tasks - done);
            done += batch;
            let mut checks: Vec<Box<dyn FnOnce(&Self)>> = Vec::new();
            for n in 0..batch as u32 {
                checks.push(match random.below(1000) {
                    0..4 => self.submit_harm(random.pick(&DEATHS)),
                    4..10 => self.submit_harm(random.pick(&[Harm::Error, Harm::Panic])),
                    10..12 => self.submit_slow(),
                    12..60 => self.submit_victim(random.pick(&[1, 100, 10_000, 300_000])),
                    60..200 => {
                        let task = self.pool.submit(area::call(n, 3));
                        self.count(&task);
                        let cancel = task.cancel();
                        Box::new(move |chaos| chaos.expect(task, Some(cancel), &(n * 3)))
                    }
                    200..260 => {
                        let task = self.pool.submit(area::call(n, 4));
                        self.count(&task);
                        Box::new(move |chaos| {
                            let cancel = task.cancel();
                            chaos.expect(task, Some(cancel), &(n * 4));
                        })
                    }
                    _ => {
                        let task = self.pool.submit(area::call(n, 5));
                        self.count(&task);
                        Box::new(move |chaos| chaos.expect(task, None, &(n * 5)))
                    }
                });
            }
            while !checks.is_empty() {
                let next = random.below(checks.len() as u64) as usize;
                checks.swap_remove(next)(self);
            }
        }
    }

    fn submit_harm(&self, harm: Harm) -> Box<dyn FnOnce(&Self)> {
        let stage = if self.outcomes.load(Ordering::Relaxed) % 2 == 0 { Stage::Running } else { Stage::Answering };
        let task = self.pool.submit(carry::call(Trap::new(stage, harm)));
        self.count(&task);
        Box::new(move |chaos| match claim(task) {
            lost @ Err(TaskError::WorkerLost(_)) => {
                chaos.has_lost(&lost);
                if DEATHS.contains(&harm) {
                    chaos.kills.fetch_add(1, Ordering::Relaxed);
                }
            }
            outcome => harm.assert_told_by(outcome),
        })
    }

    fn submit_slow(&self) -> Box<dyn FnOnce(&Self)> {
        let limit = Duration::from_millis(20);
        let task = self.pool.with(Options::new().time_limit(limit)).submit(sleep::call(Duration::from_secs(1000)));
        self.count(&task);
        Box::new(move |chaos| match claim(task) {
            Err(TaskError::TimedOut { limit: told }) => assert_eq!(told, limit),
            outcome => chaos.has_lost(&outcome),
        })
    }

    fn submit_victim(&self, size: usize) -> Box<dyn FnOnce(&Self)> {
        let task = self.pool.submit(victim::call("3".repeat(size)));
        self.count(&task);
        Box::new(move |chaos| match claim(task) {
            Ok((pid, text)) => {
                assert!(text.len() == size && text.bytes().all(|byte| byte == b'3'));
                chaos.seen.lock().unwrap().push(pid);
            }
            outcome => chaos.has_lost(&outcome),
        })
    }

    /// Kills now and then one that was ready, which therefore counts as no failure to start.
    fn kill(&self, mut random: Random) {
        while !self.is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_micros(500 + random.below(20_000)));
            let mut seen = self.seen.lock().unwrap();
            let alive = self.pool.pids();
            seen.retain(|pid| alive.contains(pid));
            if !seen.is_empty() {
                let pid = random.pick(&seen);
                seen.retain(|it| *it != pid);
                let signal = random.pick(&[Signal::KILL, Signal::SEGV, Signal::TERM, Signal::ABORT]);
                self.kills.fetch_add(1, Ordering::Relaxed);
                let _ = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal);
            }
        }
    }
}

#[test]
fn every_future_has_its_one_right_outcome_whoever_is_killed() {
    const SUBMITTERS: u64 = 4;
    let (tasks, seed) = (setting("RAINCHECK_CHAOS", 4_000), setting("RAINCHECK_SEED", 1));
    let chaos = Chaos {
        pool: ProcessPool::new(3),
        seen: Mutex::default(),
        kills: AtomicUsize::new(0),
        lost: AtomicUsize::new(0),
        outcomes: Arc::default(),
        is_over: AtomicBool::new(false),
    };

    thread::scope(|scope| {
        let submitters: Vec<_> = (1..=SUBMITTERS)
            .map(|n| {
                let (chaos, random) = (&chaos, Random::new(seed * 100 + n));
                scope.spawn(move || chaos.submit(tasks / SUBMITTERS, random))
            })
            .collect();
        let killer = scope.spawn(|| chaos.kill(Random::new(seed)));
        let ended: Vec<_> = submitters.into_iter().map(thread::ScopedJoinHandle::join).collect();
        chaos.is_over.store(true, Ordering::Relaxed);
        killer.join().unwrap();
        assert!(ended.iter().all(Result::is_ok), "with `RAINCHECK_SEED={seed}`");
    });

    let Chaos { pool, kills, lost, outcomes, .. } = chaos;
    drop(pool);
    let (kills, lost) = (kills.into_inner(), lost.into_inner());
    assert_eq!(outcomes.load(Ordering::Relaxed) as u64, tasks / SUBMITTERS * SUBMITTERS);
    // A worker that dies costs one task at most.
    assert!(lost <= kills, "{lost} tasks were lost by {kills} deaths, with `RAINCHECK_SEED={seed}`");
    assert!(kills > 0, "nobody was killed");
}
