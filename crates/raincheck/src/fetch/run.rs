//! The lanes of one run, and what they share.
//!
//! Downloads run in lanes, each of which does one after the other. The lanes of a worker are tasks on a runtime of its own,
//! of one thread: what a small file costs is system calls, and a second thread would add wake-ups to them. All lanes
//! share one [`Schedule`], under a lock that is held for microseconds, and take their next job from it themselves;
//! nothing passes through another thread on its way.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    sync::Notify,
    task::{JoinError, JoinSet},
};
use url::Url;

use super::{
    Client, Connections, Download, Ended, FetchError, Fetched, Retries,
    attempt::{Tried, is_full, leave_for_room},
    download::{Partial, Segments},
    downloads::{Downloads, Pulled, Source, Watch},
    file::Folder,
    load::Load,
    places::Places,
    schedule::{At, HostId, Next, Schedule, Showed},
    split::{Opening, Piece, Split, Then},
    stop::{Stop, either},
};
use crate::{InProcess, TaskFuture};

/// How many jobs are looked at ahead for one that can begin, whose host has room.
pub(super) const WINDOW: usize = 8192;

/// So many lanes of a worker begin at once, and so many times as many when it has time for more, which is seen so often.
const LANES_AT_FIRST: usize = 16;
const GROWTH: usize = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// What comes in less time than this comes from a server that is near.
const NEAR: Duration = Duration::from_millis(5);

const NOT_POISONED: &str = "nothing that can panic is done under the lock of a run";

/// What the lanes of one run share.
pub(super) struct Run {
    pub(super) client: Client,
    retries: Retries,
    at_once: usize,
    workers: usize,
    pub(super) folder: Option<Arc<Folder>>,
    pub(super) keeps_times: bool,
    pub(super) syncs: bool,
    pub(super) leaves_parts: bool,
    pub(super) segments: Segments,
    pub(super) watch: Arc<dyn Watch>,
    clock: Instant,
    state: Mutex<State>,
    news: Arc<News>,
    /// Lanes that wait for news.
    sleeping: AtomicUsize,
    throttle: Option<Throttle>,
    pub(super) stop: Stop,
    luck: RandomState,
}

/// What the source tells. It is all of a run that whoever wakes the lanes may hold, since the rest has an end.
#[derive(Default)]
struct News {
    /// Something can begin, or nothing will any more.
    has_come: Notify,
    /// The source has more.
    fed: AtomicBool,
}

struct State {
    schedule: Schedule<Work>,
    /// Files in pieces, which lanes that have nothing else to do can help with.
    splits: Vec<Arc<Split>>,
    source: Box<dyn Source>,
    ended: bool,
    /// The source will say when it has more.
    awaited: bool,
    paused: bool,
    /// Until when a lane sleeps that will see to what is due then.
    watched_until: Option<At>,
}

/// What a lane does.
enum Work {
    Whole(Box<Job>),
    Piece(Box<Piece>),
}

/// A download between its attempts.
pub(super) struct Job {
    pub(super) download: Box<Download>,
    pub(super) attempts: u32,
    /// When the first one began.
    began: At,
    /// What the last attempt, or another run, has left on disk.
    pub(super) partial: Option<Partial>,
    /// It is to stay there when the download fails: somebody has noted down what it is.
    pub(super) kept: bool,
    /// There is a note beside it.
    pub(super) noted: bool,
    /// Where it was asked for.
    pub(super) places: Places,
    /// It is not to be fetched in pieces any more.
    pub(super) whole: bool,
}

/// A limit of bytes a second, for all lanes together.
struct Throttle {
    a_second: f64,
    free_at: Mutex<At>,
}

impl Run {
    pub(super) fn new(downloads: &Downloads, source: Box<dyn Source>, watch: Arc<dyn Watch>, stop: &Stop) -> Arc<Self> {
        let Downloads {
            client,
            retries,
            limits,
            workers,
            bytes_a_second,
            folder,
            keeps_times,
            syncs,
            leaves_parts,
            segments,
        } = downloads.clone();
        let at_once = limits.at_once;
        let state = State {
            schedule: Schedule::new(limits),
            splits: Vec::new(),
            source,
            ended: false,
            awaited: false,
            paused: false,
            watched_until: None,
        };
        Arc::new(Self {
            client,
            retries,
            at_once,
            workers: workers.min(at_once),
            folder,
            keeps_times,
            syncs,
            leaves_parts,
            segments,
            watch,
            clock: Instant::now(),
            state: Mutex::new(state),
            news: Arc::default(),
            sleeping: AtomicUsize::new(0),
            throttle: bytes_a_second.map(|bytes| Throttle { a_second: bytes as f64, free_at: Mutex::new(At::ZERO) }),
            stop: stop.clone(),
            luck: RandomState::new(),
        })
    }

    /// Gives each worker its share of the lanes.
    pub(super) fn submit<E: InProcess>(self: &Arc<Self>, executor: &E) -> io::Result<Vec<TaskFuture<()>>> {
        let mut lanes = 0..self.at_once;
        let mut workers = Vec::new();
        for worker in 0..self.workers {
            let share = self.at_once / self.workers + usize::from(worker < self.at_once % self.workers);
            let mine: Vec<usize> = lanes.by_ref().take(share).collect();
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let run = Arc::clone(self);
            workers.push(executor.submit(move || run.drive(&runtime, &run.client.connections(mine.len()), mine)));
        }
        Ok(workers)
    }

    /// Runs these lanes until there is nothing more to do: a few at first, and more as long as their thread has time for more.
    ///
    /// Where servers answer as fast as this thread takes in what they send, more lanes would only cost connections and memory. Where
    /// they take their time, all have begun within milliseconds.
    pub(super) fn drive(self: &Arc<Self>, runtime: &runtime::Runtime, connections: &Connections, lanes: Vec<usize>) {
        runtime.block_on(async {
            let mut load = Load::new(runtime.metrics());
            let mut lanes = lanes.into_iter();
            let mut tasks = JoinSet::new();
            let all = async {
                self.begin(&mut tasks, connections, lanes.by_ref().take(LANES_AT_FIRST));
                while lanes.len() > 0 {
                    match tokio::time::timeout(BETWEEN_LOOKS, tasks.join_next()).await {
                        Ok(ended) => {
                            ended.into_iter().for_each(unwind_if_panicked);
                            // It has seen that there will be nothing more to do.
                            break;
                        }
                        Err(_) if load.leaves_time() => {
                            let more = tasks.len() * (GROWTH - 1);
                            self.begin(&mut tasks, connections, lanes.by_ref().take(more));
                        }
                        Err(_) => {}
                    }
                }
                while let Some(ended) = tasks.join_next().await {
                    unwind_if_panicked(ended);
                }
            };
            // Dropping the lanes closes their connections and leaves of their files what can be gone on with.
            either(all, self.stop.stopped()).await;
        });
    }

    fn begin(self: &Arc<Self>, tasks: &mut JoinSet<()>, connections: &Connections, lanes: impl Iterator<Item = usize>) {
        for lane in lanes {
            let (run, connections) = (Arc::clone(self), connections.clone());
            tasks.spawn(async move { run.lane(&connections, lane).await });
        }
    }

    async fn lane(self: &Arc<Self>, connections: &Connections, lane: usize) {
        let (mut last, mut is_near) = (None, false);
        while let Some((work, host)) = self.next(last).await {
            last = Some(host);
            // A server that is near is woken once for many requests if they go out in one go, when all that has come is dealt
            // with. Of one that is not, the answers would then come in one go as well, and wait for each other.
            if is_near {
                tokio::task::yield_now().await;
            }
            let began = self.now();
            match work {
                Work::Whole(job) => self.whole(connections, job, host, lane).await,
                // Boxed, since it is rare, and would make every lane larger.
                Work::Piece(piece) => Box::pin(self.piece(connections, piece, host, lane)).await,
            }
            is_near = self.now() - began < NEAR;
        }
    }

    /// Makes an attempt at a download.
    async fn whole(self: &Arc<Self>, connections: &Connections, mut job: Box<Job>, host: HostId, lane: usize) {
        let began = self.now();
        if job.attempts == 0 {
            job.began = began;
        }
        job.attempts += 1;
        self.watch.started(&job.download, lane, job.attempts);
        match self.attempt(connections, &mut job).await {
            Ok(Tried::Fetched(fetched)) => self.settle(job, host, began, lane, Ok(fetched)),
            Err(error) => self.settle(job, host, began, lane, Err(error)),
            Ok(Tried::Split(opening)) => Box::pin(self.split(connections, job, *opening, host, lane)).await,
        }
    }

    /// Goes on with a download in pieces: the first of them is this lane's.
    async fn split(
        self: &Arc<Self>,
        connections: &Connections,
        job: Box<Job>,
        opening: Opening,
        host: HostId,
        lane: usize,
    ) {
        let (split, piece) = Split::begin(job, opening);
        if let Some(piece) = piece {
            self.state().splits.push(split);
            self.news.has_come.notify_one();
            return self.piece(connections, piece, host, lane).await;
        }
        // Another run had all of it, but not the time to say so.
        if let Some((mut job, rest)) = split.take_rest() {
            let began = self.now();
            let fetched = self.finish(&split, &mut job, rest).await;
            self.settle(job, host, began, lane, fetched);
        }
    }

    /// Asks for a piece of a file, and does with what comes of that what is to be done with it.
    async fn piece(self: &Arc<Self>, connections: &Connections, mut piece: Box<Piece>, host: HostId, lane: usize) {
        let (split, began) = (Arc::clone(&piece.split), self.now());
        if let Some(attempts) = piece.begin() {
            self.watch.started(&split.download, lane, attempts);
        }
        let tried = split.over.unless_stopped(self.fetch_piece(connections, &mut piece)).await;
        let now = self.now();
        let mut showed = Showed::Nothing;
        if let Some(tried) = &tried {
            showed = showed_by(tried.as_ref().err(), None, now);
        }
        let then = piece.after(tried, now, self.retries.longest_asked(), |error, attempts| {
            let wait = self.retries.wait(error, attempts, self.luck());
            showed = showed_by(Some(error), wait, now);
            wait
        });
        match then {
            Then::Leave => self.state().schedule.over(host, began, now, showed),
            Then::Park(until) => self.park(piece, host, began, showed, until),
            Then::Wait { until, error, attempts } => {
                self.watch.retrying(&split.download, attempts, until.saturating_sub(now), &error);
                self.park(piece, host, began, showed, until);
            }
            Then::Finish(mut job, rest) => {
                self.forget(&split);
                let fetched = self.finish(&split, &mut job, rest).await;
                self.settle(job, host, began, lane, fetched);
            }
            Then::Fail(job, rest, mut error) => {
                self.forget(&split);
                if job.kept && is_full(&error) {
                    error = leave_for_room(rest.draft, 0, error);
                } else if matches!(error, FetchError::File { .. } | FetchError::TooLarge { .. }) {
                    rest.draft.discard();
                }
                self.settle(job, host, began, lane, Err(error));
            }
            Then::Restart(mut job, rest) => {
                self.forget(&split);
                rest.draft.discard();
                (job.whole, job.kept, job.noted) = (true, false, false);
                let mut state = self.state();
                state.schedule.over(host, began, now, showed);
                state.schedule.park(host, Work::Whole(job), now);
            }
        }
    }

    /// Puts a piece aside until this time.
    fn park(&self, piece: Box<Piece>, host: HostId, began: At, showed: Showed, until: At) {
        let now = self.now();
        let mut state = self.state();
        state.schedule.over(host, began, now, showed);
        // Others may have ended the split since, and nobody would come for it.
        if piece.split.over.is_stopped() {
            return;
        }
        let host = state.schedule.host(place_of(piece.place()), now);
        state.schedule.park(host, Work::Piece(piece), until);
    }

    /// Lets nobody help with this any more, and none of its pieces wait.
    fn forget(&self, split: &Arc<Split>) {
        let mut state = self.state();
        state.splits.retain(|other| !Arc::ptr_eq(other, split));
        state.schedule.drop_waiting(|work| matches!(work, Work::Piece(piece) if Arc::ptr_eq(&piece.split, split)));
    }

    /// The next job, as soon as one can begin; `None` when there will be no more.
    async fn next(self: &Arc<Self>, last: Option<HostId>) -> Option<(Work, HostId)> {
        loop {
            match self.look(last, false) {
                Look::Begin(work, host) => return Some((work, host)),
                Look::End => return None,
                Look::Sleep(_) => {}
            }
            let mut news = pin!(self.news.has_come.notified());
            news.as_mut().enable();
            self.sleeping.fetch_add(1, Ordering::SeqCst);
            let _awake = Awake(&self.sleeping);
            // What has come between the look and the registration is seen by another look.
            match self.look(last, true) {
                Look::Begin(work, host) => return Some((work, host)),
                Look::End => return None,
                Look::Sleep(None) => news.await,
                Look::Sleep(Some(until)) => {
                    let wait = until.saturating_sub(self.now());
                    let _ = tokio::time::timeout(wait, news).await;
                    self.state().watched_until.take_if(|watched| *watched == until);
                    // Whoever sleeps beside this lane has no alarm now.
                    if self.sleeping.load(Ordering::SeqCst) > 1 {
                        self.news.has_come.notify_one();
                    }
                }
            }
        }
    }

    /// What this lane is to do. One that is about to sleep may be the one that has to look again at some time.
    fn look(self: &Arc<Self>, last: Option<HostId>, sleepy: bool) -> Look {
        let now = self.now();
        let mut state = self.state();
        if state.paused {
            return Look::Sleep(None);
        }
        self.fill(&mut state, now);
        let next = match state.schedule.next(now, last) {
            Next::Wait(until) if !state.splits.is_empty() => state.help(now, until),
            next => next,
        };
        match next {
            Next::Begin { job, host } => {
                let has_more = state.schedule.has_ready() || state.splits.iter().any(|split| split.wants_help(now));
                if has_more && self.sleeping.load(Ordering::SeqCst) > 0 {
                    self.news.has_come.notify_one();
                }
                Look::Begin(job, host)
            }
            Next::Wait(_) if state.ended && state.schedule.is_empty() => {
                self.news.has_come.notify_waiters();
                Look::End
            }
            Next::Wait(Some(until)) if sleepy && state.watched_until.is_none_or(|watched| until < watched) => {
                state.watched_until = Some(until);
                Look::Sleep(Some(until))
            }
            Next::Wait(_) => Look::Sleep(None),
        }
    }

    /// Takes in downloads as long as there are too few to choose from.
    fn fill(&self, state: &mut State, now: At) {
        if state.awaited {
            if !self.news.fed.swap(false, Ordering::SeqCst) {
                return;
            }
            state.awaited = false;
        }
        while !state.ended && state.schedule.wants_more() {
            match state.source.pull() {
                Pulled::Download(download) => {
                    let host = state.schedule.host(place_of(download.request.url()), now);
                    state.schedule.add(host, Work::Whole(Job::new(download, now)));
                }
                Pulled::Later => {
                    state.awaited = true;
                    let news = Arc::clone(&self.news);
                    // It may be called at once, so it must not touch the state.
                    state.source.wake(Box::new(move || {
                        news.fed.store(true, Ordering::SeqCst);
                        news.has_come.notify_one();
                    }));
                    return;
                }
                Pulled::End => state.ended = true,
            }
        }
    }

    /// Does with an attempt's result what is to be done with it.
    fn settle(&self, mut job: Box<Job>, host: HostId, began: At, lane: usize, tried: Result<Box<Fetched>, FetchError>) {
        let now = self.now();
        let wait = match &tried {
            Ok(_) => None,
            Err(error) => {
                let count = job.download.mirrors.len() + 1;
                job.places.after(error, count, job.attempts, &self.retries, self.luck())
            }
        };
        let showed = showed_by(tried.as_ref().err(), wait, now);
        if let (Some(wait), Err(error)) = (wait, &tried) {
            self.watch.retrying(&job.download, job.attempts, wait, error);
            let mut state = self.state();
            state.schedule.over(host, began, now, showed);
            let host = state.schedule.host(place_of(job.url()), now);
            state.schedule.park(host, Work::Whole(job), now + wait);
            return;
        }
        self.state().schedule.over(host, began, now, showed);
        if tried.is_err() {
            self.leave(&mut job);
        }
        let Job { download, attempts, began, places, .. } = *job;
        let result = tried.map(|fetched| *fetched).map_err(|error| places.verdict(error));
        self.watch.ended(Ended { download: *download, result, attempts, lane, took: now.saturating_sub(began) });
    }

    /// Lets no new downloads begin, or lets them begin again.
    pub(super) fn pause(&self, paused: bool) {
        self.state().paused = paused;
        if !paused {
            self.news.has_come.notify_one();
        }
    }

    /// Waits until so many more bytes may come.
    pub(super) async fn throttle(&self, bytes: usize) {
        let Some(throttle) = &self.throttle else { return };
        let now = self.now();
        let wait = {
            let mut free_at = throttle.free_at.lock().expect(NOT_POISONED);
            *free_at = (*free_at).max(now) + Duration::from_secs_f64(bytes as f64 / throttle.a_second);
            free_at.saturating_sub(now)
        };
        // A timer is coarser than that, and what is owed is not forgotten.
        if wait > Duration::from_millis(2) {
            tokio::time::sleep(wait).await;
        }
    }

    /// A number from 0 to 1.
    fn luck(&self) -> f64 {
        self.luck.hash_one(self.now()) as f64 / u64::MAX as f64
    }

    fn now(&self) -> At {
        self.clock.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(NOT_POISONED)
    }
}

impl State {
    /// Begins with a piece of what somebody else is at work on, if that is wanted; else waits, until then or earlier.
    fn help(&mut self, now: At, until: Option<At>) -> Next<Work> {
        let mut until = until;
        for split in self.splits.iter().filter(|split| split.wants_help(now)) {
            let place = split.next_place(now);
            match self.schedule.join(place_of(place), now, || split.help(now).map(Work::Piece)) {
                Next::Wait(then) => until = until.into_iter().chain(then).min(),
                begin => return begin,
            }
        }
        Next::Wait(until)
    }
}

impl Job {
    fn new(download: Box<Download>, now: At) -> Box<Self> {
        let partial = download.partial.clone();
        Box::new(Self {
            download,
            attempts: 0,
            began: now,
            partial,
            kept: false,
            noted: false,
            places: Places::default(),
            whole: false,
        })
    }

    /// The URL to ask.
    pub(super) fn url(&self) -> &Url {
        let mirror = self.places.at().checked_sub(1).and_then(|at| self.download.mirrors.get(at));
        mirror.unwrap_or_else(|| self.download.request.url())
    }
}

/// What a lane is to do.
enum Look {
    Begin(Work, HostId),
    /// Until there is news, or until then.
    Sleep(Option<At>),
    End,
}

fn unwind_if_panicked(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// The place that limits go by: scheme, host and port.
fn place_of(url: &Url) -> &str {
    &url[url::Position::BeforeScheme..url::Position::AfterPort]
}

/// A lane that sleeps, until this is dropped.
struct Awake<'a>(&'a AtomicUsize);

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What an attempt tells about the host.
fn showed_by(error: Option<&FetchError>, wait: Option<Duration>, now: At) -> Showed {
    let Some(error) = error else { return Showed::Answered };
    match error {
        FetchError::Status { code: 429, retry_after } => match retry_after.or(wait.filter(|wait| !wait.is_zero())) {
            Some(wait) => Showed::TooFast { until: now + wait },
            None => Showed::Overloaded,
        },
        FetchError::Status { code: 503, retry_after: Some(asked) } if wait.is_some() => {
            Showed::Unavailable { until: now + *asked }
        }
        FetchError::Status { code: 500.., .. }
        | FetchError::TimedOut { .. }
        | FetchError::Reset { .. }
        | FetchError::CutOff { .. }
        | FetchError::Refused { .. }
        | FetchError::Unreachable { .. } => Showed::Overloaded,
        FetchError::Status { .. } => Showed::Answered,
        _ => Showed::Nothing,
    }
}
