//! The peers: what else a Rust program would use to run a closure on another thread and claim its value later.
//!
//! Each is used as its own documentation advises, and is given the fastest way it has to claim many values.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use futures::executor::block_on;
use futures::task::SpawnExt;

/// A pool that hands out a claim for each closure it is given.
pub(crate) trait Peer: Send + Sync + 'static {
    /// What the tables call it.
    const NAME: &'static str;

    /// What `submit` hands out.
    type Claim<T: Send + 'static>;

    /// Starts a pool of that many threads.
    fn start(workers: NonZeroUsize) -> Self;

    /// Queues the work and returns at once.
    fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Claim<T>;

    /// Blocks until the work is done, and returns its value.
    fn claim<T: Send + 'static>(&self, claim: Self::Claim<T>) -> T;

    /// Claims them all, in the order given, and returns their sum.
    fn claim_sum(&self, claims: Vec<Self::Claim<u64>>) -> u64 {
        claims.into_iter().map(|claim| self.claim(claim)).sum()
    }
}

/// Every peer as a contestant of the row that the closure starts.
///
/// `every_peer!(|P, setting| ping_pong::<P>(setting))` names the peer's type `P`.
macro_rules! every_peer {
    (|$peer:ident, $setting:ident| $row:expr) => {
        $crate::peers::every_peer!(
            |$peer, $setting| $row;
            ours $crate::raincheck_peer::Raincheck,
            peer $crate::peers::CrossbeamWorkers,
            peer $crate::peers::RayonSpawn,
            peer $crate::peers::Threadpool,
            peer $crate::peers::RustyPool,
            peer $crate::peers::AsyncExecutor,
            peer $crate::peers::FuturesPool,
            peer $crate::peers::TokioSpawn,
            peer $crate::peers::TokioSpawnBlocking,
        )
    };
    (|$peer:ident, $setting:ident| $row:expr; $($role:ident $type:ty,)*) => {
        vec![$({
            type $peer = $type;
            $crate::measure::Contestant::$role(<$peer as $crate::peers::Peer>::NAME, |$setting| $row)
        }),*]
    };
}
pub(crate) use every_peer;

/// Threads that take boxed closures from one crossbeam channel: what people write by hand.
pub(crate) struct CrossbeamWorkers(crossbeam_channel::Sender<Box<dyn FnOnce() + Send>>);

impl Peer for CrossbeamWorkers {
    const NAME: &'static str = "crossbeam-channel + oneshot";
    type Claim<T: Send + 'static> = oneshot::Receiver<T>;

    fn start(workers: NonZeroUsize) -> Self {
        let (sender, receiver) = crossbeam_channel::unbounded::<Box<dyn FnOnce() + Send>>();
        for _ in 0..workers.get() {
            let receiver = receiver.clone();
            thread::spawn(move || receiver.into_iter().for_each(|work| work()));
        }
        Self(sender)
    }

    fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Claim<T> {
        let (work, claim) = answering(work);
        self.0.send(Box::new(work)).expect(ALIVE);
        claim
    }

    fn claim<T: Send + 'static>(&self, claim: Self::Claim<T>) -> T {
        claim.recv().expect(ALIVE)
    }
}

/// `rayon::ThreadPool::spawn`.
pub(crate) struct RayonSpawn(rayon::ThreadPool);

impl Peer for RayonSpawn {
    const NAME: &'static str = "rayon spawn + oneshot";
    type Claim<T: Send + 'static> = oneshot::Receiver<T>;

    fn start(workers: NonZeroUsize) -> Self {
        Self(rayon_pool(workers))
    }

    fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Claim<T> {
        let (work, claim) = answering(work);
        self.0.spawn(work);
        claim
    }

    fn claim<T: Send + 'static>(&self, claim: Self::Claim<T>) -> T {
        claim.recv().expect(ALIVE)
    }
}

/// `threadpool::ThreadPool::execute`.
pub(crate) struct Threadpool(threadpool::ThreadPool);

impl Peer for Threadpool {
    const NAME: &'static str = "threadpool + oneshot";
    type Claim<T: Send + 'static> = oneshot::Receiver<T>;

    fn start(workers: NonZeroUsize) -> Self {
        Self(threadpool::ThreadPool::new(workers.get()))
    }

    fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Claim<T> {
        let (work, claim) = answering(work);
        self.0.execute(work);
        claim
    }

    fn claim<T: Send + 'static>(&self, claim: Self::Claim<T>) -> T {
        claim.recv().expect(ALIVE)
    }
}

/// `rusty_pool::ThreadPool::evaluate`.
pub(crate) struct RustyPool(rusty_pool::ThreadPool);

impl Peer for RustyPool {
    const NAME: &'static str = "rusty_pool evaluate";
    type Claim<T: Send + 'static> = rusty_pool::JoinHandle<T>;

    fn start(workers: NonZeroUsize) -> Self {
        let pool = rusty_pool::Builder::new().core_size(workers.get()).max_size(workers.get()).build();
        Self(pool)
    }

    fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Claim<T> {
        self.0.evaluate(work)
    }

    fn claim<T: Send + 'static>(&self, claim: Self::Claim<T>) -> T {
        claim.await_complete()
    }
}

/// `async_executor::Executor`, run by plain threads.
pub(crate) struct AsyncExecutor {
    executor: Arc<async_executor::Executor<'static>>,
    /// Dropping these ends the threads.
    _running: Vec<futures::channel::oneshot::Sender<()>>,
}

impl Peer for AsyncExecutor {
    const NAME: &'static str = "async-executor spawn";
    type Claim<T: Send + 'static> = async_executor::Task<T>;

    fn start(workers: NonZeroUsize) -> Self {
        let executor = Arc::new(async_executor::Executor::new());
        let run_a_worker = |_| {
            let (running, stopped) = futures::channel::oneshot::channel::<()>();
            let executor = Arc::clone(&executor);
            thread::spawn(move || block_on(executor.run(stopped)));
            running
        };
        let running = (0..workers.get()).map(run_a_worker).collect();
        Self { executor, _running: running }
    }

    fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Claim<T> {
        self.executor.spawn(async move { work() })
    }

    fn claim<T: Send + 'static>(&self, claim: Self::Claim<T>) -> T {
        block_on(claim)
    }

    fn claim_sum(&self, claims: Vec<Self::Claim<u64>>) -> u64 {
        block_on(async {
            let mut sum = 0;
            for claim in claims {
                sum += claim.await;
            }
            sum
        })
    }
}

/// `futures::executor::ThreadPool::spawn_with_handle`.
pub(crate) struct FuturesPool(futures::executor::ThreadPool);

impl Peer for FuturesPool {
    const NAME: &'static str = "futures spawn_with_handle";
    type Claim<T: Send + 'static> = futures::future::RemoteHandle<T>;

    fn start(workers: NonZeroUsize) -> Self {
        let pool = futures::executor::ThreadPool::builder().pool_size(workers.get()).create();
        Self(pool.expect(ALIVE))
    }

    fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Claim<T> {
        self.0.spawn_with_handle(async move { work() }).expect(ALIVE)
    }

    fn claim<T: Send + 'static>(&self, claim: Self::Claim<T>) -> T {
        block_on(claim)
    }

    fn claim_sum(&self, claims: Vec<Self::Claim<u64>>) -> u64 {
        block_on(async {
            let mut sum = 0;
            for claim in claims {
                sum += claim.await;
            }
            sum
        })
    }
}

/// `tokio::spawn`, from outside the runtime.
pub(crate) struct TokioSpawn(tokio::runtime::Runtime);

impl Peer for TokioSpawn {
    const NAME: &'static str = "tokio spawn";
    type Claim<T: Send + 'static> = tokio::task::JoinHandle<T>;

    fn start(workers: NonZeroUsize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers.get()).build();
        Self(runtime.expect(ALIVE))
    }

    fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Claim<T> {
        self.0.spawn(async move { work() })
    }

    fn claim<T: Send + 'static>(&self, claim: Self::Claim<T>) -> T {
        self.0.block_on(claim).expect(ALIVE)
    }

    fn claim_sum(&self, claims: Vec<Self::Claim<u64>>) -> u64 {
        tokio_sum(&self.0, claims)
    }
}

/// `tokio::task::spawn_blocking`, with as many blocking threads as workers.
pub(crate) struct TokioSpawnBlocking(tokio::runtime::Runtime);

impl Peer for TokioSpawnBlocking {
    const NAME: &'static str = "tokio spawn_blocking";
    type Claim<T: Send + 'static> = tokio::task::JoinHandle<T>;

    fn start(workers: NonZeroUsize) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).max_blocking_threads(workers.get()).build();
        Self(runtime.expect(ALIVE))
    }

    fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Self::Claim<T> {
        self.0.spawn_blocking(work)
    }

    fn claim<T: Send + 'static>(&self, claim: Self::Claim<T>) -> T {
        self.0.block_on(claim).expect(ALIVE)
    }

    fn claim_sum(&self, claims: Vec<Self::Claim<u64>>) -> u64 {
        tokio_sum(&self.0, claims)
    }
}

const ALIVE: &str = "a pool lives as long as its row, and nothing in a row panics";

/// A rayon pool of its own, so that no row shares threads with another.
pub(crate) fn rayon_pool(workers: NonZeroUsize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(workers.get()).build().expect(ALIVE)
}

/// The work with its value sent to the claim: what a pool that only runs closures needs.
fn answering<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (impl FnOnce() + Send + 'static, oneshot::Receiver<T>) {
    let (sender, claim) = oneshot::channel();
    let answer = move || {
        // A row claims every value, so there is always somebody to receive it.
        let _ = sender.send(work());
    };
    (answer, claim)
}

/// Awaits them all in one `block_on`, which is cheaper than one each.
fn tokio_sum(runtime: &tokio::runtime::Runtime, claims: Vec<tokio::task::JoinHandle<u64>>) -> u64 {
    runtime.block_on(async {
        let mut sum = 0;
        for claim in claims {
            sum += claim.await.expect(ALIVE);
        }
        sum
    })
}
