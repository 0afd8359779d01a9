//! raincheck itself: as a peer among the others, and in the rows where each contestant does it its own way.

use std::fs;
use std::num::NonZeroUsize;
use std::sync::Arc;

use raincheck::{Executor, TaskFuture, ThreadPool};

use crate::measure::{Contestant, Round, Setting};
use crate::peers::Peer;
use crate::rows::{FIB, FIB_CUTOFF, Light, Mapping, fib, fib_round, map_round, microsecond, scope_round};

/// `raincheck::ThreadPool`.
pub(crate) struct Raincheck(ThreadPool);

impl Peer for Raincheck {
    const NAME: &'static str = "raincheck";
    type Claim<T: Send + 'static> = TaskFuture<T>;

    fn start(workers: NonZeroUsize) -> Self {
        Self(ThreadPool::new(workers.get()))
    }

    fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> TaskFuture<T> {
        self.0.submit(work)
    }

    fn claim<T: Send + 'static>(&self, claim: TaskFuture<T>) -> T {
        claim.result().expect(RETURNS)
    }
}

/// `pool.map`, without a word about chunks: all values at once, and one by one.
pub(crate) fn map<M: Mapping>() -> Vec<Contestant> {
    vec![
        Contestant::ours("raincheck map, values", |setting| {
            let pool = ThreadPool::new(setting.workers.get());
            let items = M::items(setting);
            map_round::<M>(setting, move || pool.map(M::apply, 0..items).values().expect(RETURNS))
        }),
        Contestant::ours("raincheck map, iterated", |setting| {
            let pool = ThreadPool::new(setting.workers.get());
            let items = M::items(setting);
            map_round::<M>(setting, move || {
                let mut outputs = Vec::with_capacity(items as usize);
                outputs.extend(pool.map(M::apply, 0..items).map(|outcome| outcome.expect(RETURNS)));
                outputs
            })
        }),
    ]
}

/// The same, the outputs summed instead of kept: memory that grows with the input is ours alone.
pub(crate) fn map_to_sum() -> Vec<Contestant> {
    vec![
        Contestant::ours("a tenth of the items", |setting| map_peak(setting, Light::items(setting) / 10)),
        Contestant::ours("all items", |setting| map_peak(setting, Light::items(setting))),
    ]
}

fn map_peak(setting: Setting, items: u64) -> Round {
    let pool = ThreadPool::new(setting.workers.get());
    let expected = (0..items).map(Light::apply).fold(0, u64::wrapping_add);
    let before = peak_mebibytes();
    Box::new(move || {
        let outputs = pool.map(Light::apply, 0..items).map(|outcome| outcome.expect(RETURNS));
        assert_eq!(outputs.fold(0, u64::wrapping_add), expected);

        vec![peak_mebibytes() - before]
    })
}

/// The most memory this process has ever had resident, or not a number where the system does not tell.
fn peak_mebibytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
    peak.map_or(f64::NAN, |kibibytes: f64| kibibytes / 1024.0)
}

/// Tasks that submit a task in a scope and wait for it.
pub(crate) fn fib_by_scopes() -> Contestant {
    Contestant::ours("raincheck scope", |setting| {
        let pool = Arc::new(ThreadPool::new(setting.workers.get()));
        fib_round(move || {
            let inner = Arc::clone(&pool);
            pool.submit(move || fib_in(&inner, FIB)).result().expect(RETURNS)
        })
    })
}

fn fib_in(pool: &ThreadPool, n: u32) -> u64 {
    if n < FIB_CUTOFF {
        return fib(n);
    }
    pool.scope(|scope| {
        let a = scope.submit(|| fib_in(pool, n - 1));
        let b = fib_in(pool, n - 2);
        a.result().expect(RETURNS) + b
    })
}

/// A scope of tasks that each change a number they borrow.
pub(crate) fn scope() -> Contestant {
    Contestant::ours("raincheck scope", |setting| {
        let pool = ThreadPool::new(setting.workers.get());
        scope_round(move |tasks| {
            pool.scope(|scope| {
                for task in tasks {
                    drop(scope.submit(|| *task = microsecond(*task)));
                }
            });
        })
    })
}

const RETURNS: &str = "no row's task panics or is cancelled";
