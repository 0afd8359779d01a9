//! The connections of one runtime: never more than the limit, idle ones included, and never a new one that races an old.
//!
//! Each open connection holds a [`Place`], of which there are as many as the limit. Whoever needs a connection takes an
//! idle one that leads there; else a free place; else the place of the connection that has been idle longest, which is
//! closed; else waits for one of these. A connection is lent out whole and driven by whoever holds it, so that there is
//! no task, no channel and no wake-up between a request and its socket. Only HTTP/2, which many requests share, has a
//! task of its own.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::client::conn::http2;
use tokio::{sync::oneshot, task::AbortHandle};

use super::{
    FetchError, TimeLimit,
    connection::Http1,
    payload::Sending,
    route::{OwnedRoute, Route},
};

const NOT_POISONED: &str = "nothing that can panic is done under the lock of the pool";

/// Servers and what stands between forget connections after a minute or so; ours are not taken from them then.
const IDLE_AT_MOST: Duration = Duration::from_secs(60);

/// Servers allow 100 or more; with fewer at once, one lost connection takes fewer downloads with it.
const STREAMS_AT_MOST: usize = 100;

/// How many are remembered as not shareable; whoever is forgotten is asked again.
const UNSHARED_AT_MOST: usize = 1024;

/// So often may a connection be given to somebody behind, because it leads where they want to go, before the first in
/// the queue gets its place.
const PASSED_OVER_AT_MOST: u32 = 32;

/// The connections of one runtime, at most so many at once. Clones are the same.
#[derive(Clone)]
pub(crate) struct Connections {
    pool: Arc<Pool>,
}

struct Pool {
    at_most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many places are taken, by connections open, idle or being made.
    open: usize,
    /// Longest idle first.
    idle: VecDeque<Box<Http1>>,
    /// HTTP/2.
    shared: Vec<Shared>,
    /// Where the first secure connection is being made, which will tell whether it can be shared; and where it could not.
    greeting: Vec<OwnedRoute>,
    unshared: VecDeque<OwnedRoute>,
    waiting: VecDeque<Waiting>,
}

/// A connection that many requests can use at once.
struct Shared {
    route: OwnedRoute,
    sender: http2::SendRequest<Sending>,
    streams: Arc<AtomicUsize>,
    /// Ends the task that drives it, and with it the connection.
    driver: AbortHandle,
}

struct Waiting {
    route: OwnedRoute,
    passed_over: u32,
    give: oneshot::Sender<Given>,
}

/// What someone in need of a connection gets.
pub(super) enum Given {
    /// One that has been used before.
    Http1(Box<Http1>),
    /// A share of one.
    Http2(Stream),
    /// Leave to make one, and whether it must be told how this went.
    Place(Place, Option<Greeting>),
}

/// The right to have one connection open. Dropping it passes it on.
pub(super) struct Place {
    // Idle connections are the pool's, and shall not keep it.
    pool: Weak<Pool>,
}

/// One request's share of an HTTP/2 connection. Dropping it gives it back.
pub(super) struct Stream {
    pub(super) sender: http2::SendRequest<Sending>,
    share: Share,
}

struct Share {
    streams: Arc<AtomicUsize>,
    route: OwnedRoute,
    pool: Arc<Pool>,
}

/// The first secure connection to somewhere, on which others wait to know whether they can share it. Dropping it lets
/// them go on.
pub(super) struct Greeting {
    pool: Arc<Pool>,
    route: OwnedRoute,
}

enum Found {
    Given(Given),
    /// The place of this one, as soon as it is closed.
    Closing(Box<Http1>),
    Wait(oneshot::Receiver<Given>),
}

impl Connections {
    pub(crate) fn new(at_most: usize) -> Self {
        Self { pool: Arc::new(Pool { at_most: at_most.max(1), state: Mutex::default() }) }
    }

    /// A connection that leads there, or leave to make one. `shareable` if it might turn out to be HTTP/2.
    pub(super) async fn take(
        &self,
        route: Route<'_>,
        shareable: bool,
        total: Option<(Instant, Duration)>,
    ) -> Result<Given, FetchError> {
        loop {
            match self.pool.find(route, shareable) {
                Found::Given(given) => return Ok(given),
                Found::Closing(http1) => return Ok(Given::Place(http1.into_place(), None)),
                // Whoever was to give it may have ended first, or have learnt that there is something to share.
                Found::Wait(wait) => match in_time(wait, total).await? {
                    Ok(given) => return Ok(given),
                    Err(_) => continue,
                },
            }
        }
    }

    /// Takes back a connection that can be used again.
    pub(super) fn give_back(&self, http1: Box<Http1>) {
        let mut http1 = http1;
        loop {
            let mut state = self.pool.lock();
            let Some(next) = state.next_for(&http1.route) else {
                http1.idle_since = Instant::now();
                state.idle.push_back(http1);
                return;
            };
            drop(state);
            if next.route != http1.route {
                // Closes it, which passes its place on.
                let place = http1.into_place();
                match next.give.send(Given::Place(place, None)) {
                    Ok(()) | Err(_) => return,
                }
            }
            match next.give.send(Given::Http1(http1)) {
                Ok(()) => return,
                Err(Given::Http1(unwanted)) => http1 = unwanted,
                Err(_) => unreachable!("what was not received comes back"),
            }
        }
    }

    /// Lets many share a connection that has been made, the caller first.
    pub(super) fn share(&self, route: OwnedRoute, sender: http2::SendRequest<Sending>, driver: AbortHandle) -> Stream {
        let streams = Arc::new(AtomicUsize::new(1));
        let share = Share { streams: Arc::clone(&streams), route: route.clone(), pool: Arc::clone(&self.pool) };
        self.pool.lock().shared.push(Shared { route, sender: sender.clone(), streams, driver });
        Stream { sender, share }
    }

    /// Lets nobody else share the connection of this stream, since it takes no more requests.
    pub(super) fn retire(&self, stream: &Stream) {
        let mut state = self.pool.lock();
        let at = state.shared.iter().position(|shared| Arc::ptr_eq(&shared.streams, &stream.share.streams));
        // Those who still read from it do not need this; without them it ends now.
        let retired = at.map(|at| state.shared.swap_remove(at));
        drop(state);
        drop(retired);
    }
}

/// What comes of waiting, unless the time is up first.
async fn in_time<T>(wait: impl Future<Output = T>, total: Option<(Instant, Duration)>) -> Result<T, FetchError> {
    match total {
        None => Ok(wait.await),
        Some((until, limit)) => tokio::time::timeout_at(until.into(), wait)
            .await
            .map_err(|_| FetchError::TimedOut { what: TimeLimit::Total, limit }),
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(NOT_POISONED)
    }

    fn find(self: &Arc<Self>, route: Route<'_>, shareable: bool) -> Found {
        let mut state = self.lock();
        if let Some(http1) = state.idle_to(route) {
            return if http1.idle_since.elapsed() < IDLE_AT_MOST {
                Found::Given(Given::Http1(http1))
            } else {
                Found::Closing(http1)
            };
        }
        if shareable {
            if let Some((sender, streams)) = state.share_of(route) {
                let share = Share { streams, route: OwnedRoute::from(route), pool: Arc::clone(self) };
                return Found::Given(Given::Http2(Stream { sender, share }));
            }
            if state.greeting.iter().any(|greeting| *greeting == route) {
                return Found::Wait(state.wait(route));
            }
        }
        if state.open < self.at_most {
            state.open += 1;
            let greeting = (shareable && state.greets(route))
                .then(|| Greeting { pool: Arc::clone(self), route: OwnedRoute::from(route) });
            drop(state);
            return Found::Given(Given::Place(Place { pool: Arc::downgrade(self) }, greeting));
        }
        if let Some(longest_idle) = state.idle.pop_front() {
            return Found::Closing(longest_idle);
        }
        let wait = state.wait(route);
        // Its place comes as soon as its task has ended.
        let closing = state.unused_share();
        drop(state);
        if let Some(shared) = closing {
            shared.driver.abort();
        }
        Found::Wait(wait)
    }

    /// Gives a place to who has waited longest, or lays it open.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            let Some(next) = state.first_in_need().and_then(|at| state.waiting.remove(at)) else {
                state.open -= 1;
                return;
            };
            drop(state);
            match next.give.send(Given::Place(Place { pool: Arc::downgrade(self) }, None)) {
                Ok(()) => return,
                Err(Given::Place(mut place, _)) => place.pool = Weak::new(),
                Err(_) => unreachable!("what was not received comes back"),
            }
        }
    }
}

impl State {
    /// The connection to there that was used last, since it is the likeliest to be open still.
    fn idle_to(&mut self, route: Route<'_>) -> Option<Box<Http1>> {
        let at = self.idle.iter().rposition(|http1| http1.route == route)?;
        self.idle.remove(at)
    }

    fn share_of(&mut self, route: Route<'_>) -> Option<(http2::SendRequest<Sending>, Arc<AtomicUsize>)> {
        self.shared.retain(|shared| !shared.sender.is_closed());
        let shared = self
            .shared
            .iter()
            .filter(|shared| shared.route == route)
            .find(|shared| shared.streams.load(Ordering::Relaxed) < STREAMS_AT_MOST)?;
        // Under the lock, like every other step up; steps down need none.
        shared.streams.fetch_add(1, Ordering::Relaxed);
        Some((shared.sender.clone(), Arc::clone(&shared.streams)))
    }

    /// Takes out a shared connection that nobody uses.
    fn unused_share(&mut self) -> Option<Shared> {
        let at = self.shared.iter().position(|shared| shared.streams.load(Ordering::Relaxed) == 0)?;
        Some(self.shared.swap_remove(at))
    }

    /// Whether a connection to there would be the first, so that nobody knows yet whether it can be shared.
    fn greets(&mut self, route: Route<'_>) -> bool {
        let first = !self.unshared.iter().any(|unshared| *unshared == route);
        if first {
            self.greeting.push(OwnedRoute::from(route));
        }
        first
    }

    fn wait(&mut self, route: Route<'_>) -> oneshot::Receiver<Given> {
        let (give, wait) = oneshot::channel();
        self.waiting.push_back(Waiting { route: OwnedRoute::from(route), passed_over: 0, give });
        wait
    }

    /// Who gets a connection that leads along `route`: the first who wants to go there, unless the first of all has been
    /// passed over too often.
    fn next_for(&mut self, route: &OwnedRoute) -> Option<Waiting> {
        let mut at = self.first_in_need()?;
        while self.waiting[at].give.is_closed() {
            self.waiting.remove(at);
            at = self.first_in_need()?;
        }
        let front = &mut self.waiting[at];
        if front.route != *route && front.passed_over < PASSED_OVER_AT_MOST {
            front.passed_over += 1;
            if let Some(at) = self.waiting.iter().position(|waiting| waiting.route == *route) {
                return self.waiting.remove(at);
            }
        }
        self.waiting.remove(at)
    }

    /// Who has waited longest for a place. Who waits to know whether a connection that is being made can be shared does not need one.
    fn first_in_need(&self) -> Option<usize> {
        self.waiting.iter().position(|waiting| !self.greeting.contains(&waiting.route))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.pass_on();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let left = self.streams.fetch_sub(1, Ordering::Relaxed) - 1;
        let mut state = self.pool.lock();
        // Looks again, and finds this share; or that its connection is used by nobody, and closes it.
        let looks_again = match state.waiting.iter().position(|waiting| waiting.route == self.route) {
            None if left > 0 => None,
            None => state.waiting.pop_front(),
            Some(at) => state.waiting.remove(at),
        };
        drop(state);
        drop(looks_again);
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.greeting.retain(|greeting| *greeting != self.route);
        // After a failure too: those who wait shall not fail one after the other.
        if !state.shared.iter().any(|shared| shared.route == self.route) {
            if state.unshared.len() == UNSHARED_AT_MOST {
                state.unshared.pop_front();
            }
            state.unshared.push_back(self.route.clone());
        }
        let (look_again, wait): (Vec<_>, Vec<_>) =
            mem::take(&mut state.waiting).into_iter().partition(|waiting| waiting.route == self.route);
        state.waiting = wait.into();
        drop(state);
        drop(look_again);
    }
}
