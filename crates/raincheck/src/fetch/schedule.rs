//! Which download begins next, and when.
//!
//! A state machine without a clock: whoever drives it says what time it is, as the time since the beginning of the run. A
//! job is queued, then running, then over or parked until it is to be tried again; a parked one holds no slot. Jobs queue
//! by host, and hosts that may begin one take turns. Every step costs O(log n) at most, and a host is forgotten as soon as
//! it has no jobs, so that memory goes with what is looked at and not with the length of the list.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// A time, counted from the beginning of the run.
pub(crate) type At = Duration;

/// How far behind its pace a limit may catch up: a timer that fires late costs no throughput.
const CATCH_UP: Duration = Duration::from_millis(10);
/// So many answers of 503 with `Retry-After` beyond those that run, and nothing else between them, speak for the whole host.
/// One alone speaks for the one URL: a server that is overloaded now and then answers so at random.
const REFUSALS_OF_A_HOST: usize = 8;
/// Where concurrency that is to find itself begins.
const FIRST_CAP: f64 = 4.0;
/// What becomes of it when the host shows that it is too much.
const CUT: f64 = 0.7;
/// How much faster a learned pace becomes with each round of answers.
const QUICKEN: f64 = 1.1;
/// So much of the pace that was seen is used: a server's clock is coarse, its bucket may hold one more than comes back in
/// the time that it names, and to be refused once more costs all of that time.
const PRUDENCE: f64 = 0.97;

/// What may run at a time, and how fast it may begin.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Downloads at a time, in all.
    pub(crate) at_once: usize,
    /// Downloads at a time from one host.
    pub(crate) per_host: usize,
    /// Requests a second, in all.
    pub(crate) per_second: Option<f64>,
    /// Requests a second to one host.
    pub(crate) per_host_second: Option<f64>,
    /// Jobs that are known at a time: queued, parked and running.
    pub(crate) window: usize,
    /// Whether the number at a time from one host finds itself, between one and `per_host`.
    pub(crate) adaptive: bool,
}

/// A host, as long as it has jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(usize);

/// What there is to do now.
#[derive(Debug, PartialEq)]
pub(crate) enum Next<J> {
    /// Begin this; say [`over`](Schedule::over) when it has ended, however it did.
    Begin { job: J, host: HostId },
    /// Nothing before this time, or before something ends; without a time, only the latter.
    Wait(Option<At>),
}

/// How an attempt went, as far as it tells something about the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Showed {
    /// It answered.
    Answered,
    /// It asks this client to slow down, until then: 429.
    TooFast { until: At },
    /// It cannot serve this now, and may then: 503 with `Retry-After`.
    Unavailable { until: At },
    /// It seems to have too much to do: 5xx, a timeout, a reset.
    Overloaded,
    /// Nothing: the attempt failed here, or was stopped.
    Nothing,
}

/// All jobs that are known and not over.
#[derive(Debug)]
pub(crate) struct Schedule<J> {
    limits: Limits,
    by_name: HashMap<Arc<str>, HostId>,
    hosts: Vec<Host<J>>,
    free: Vec<HostId>,
    /// Hosts that may be able to begin a job, in turn. Each stands in it once at most.
    ready: VecDeque<HostId>,
    parked: BinaryHeap<Parked<J>>,
    held: BinaryHeap<Reverse<(At, HostId)>>,
    /// When the next request may begin, by the limit of requests a second.
    next_start: At,
    queued: usize,
    running: usize,
    turn: u64,
}

#[derive(Debug)]
struct Host<J> {
    name: Arc<str>,
    queue: VecDeque<J>,
    running: usize,
    parked: usize,
    /// It stands in `ready`.
    listed: bool,
    held_until: Option<At>,
    /// By the limit of requests a second.
    next_start: At,
    /// What it showed to be able to bear, when concurrency is to find itself.
    cap: f64,
    /// When `cap` was last cut: what began before shows nothing new.
    cut_at: At,
    refusals: usize,
    pace: Pace,
}

/// What a host that said 429 is taken to allow: a bucket of tokens like its own, as far as can be seen from outside.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Since when answers are counted.
    since: At,
    answered: f64,
    learned: Option<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    size: f64,
    tokens: f64,
    a_second: f64,
    filled_at: At,
}

#[derive(Debug)]
struct Parked<J> {
    due: Reverse<(At, u64)>,
    host: HostId,
    job: J,
}

impl<J> Schedule<J> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_name: HashMap::new(),
            hosts: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            parked: BinaryHeap::new(),
            held: BinaryHeap::new(),
            next_start: At::ZERO,
            queued: 0,
            running: 0,
            turn: 0,
        }
    }

    /// Whether another job should be added before [`next`](Self::next) is asked: there are too few to choose from, or none
    /// of them can begin, and there is room in the window.
    pub(crate) fn wants_more(&self) -> bool {
        let known = self.queued + self.running + self.parked.len();
        known < self.limits.window && (self.queued < self.limits.at_once || self.ready.is_empty())
    }

    /// Whether nothing is queued, parked or running.
    pub(crate) fn is_empty(&self) -> bool {
        self.queued + self.running + self.parked.len() == 0
    }

    /// Whether another job could begin at this moment.
    pub(crate) fn has_ready(&self) -> bool {
        self.running < self.limits.at_once && !self.ready.is_empty()
    }

    /// How many wait to be tried again.
    #[cfg(test)]
    pub(crate) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Queues a job of a host.
    pub(crate) fn add(&mut self, host: HostId, job: J) {
        self.hosts[host.0].queue.push_back(job);
        self.queued += 1;
        self.list(host);
    }

    /// The job to begin, if one can. `prefer` is the host to which whoever asks has a connection.
    pub(crate) fn next(&mut self, now: At, prefer: Option<HostId>) -> Next<J> {
        self.release(now);
        if self.running >= self.limits.at_once {
            return Next::Wait(None);
        }
        if let Some(host) = prefer.filter(|host| self.is_fair(*host) && self.can_begin(*host, now)) {
            if self.limits.per_second.is_some() && now < self.next_start {
                return Next::Wait(Some(self.next_start));
            }
            return self.begin(host, now);
        }
        while let Some(host) = self.ready.front().copied() {
            if !self.can_begin(host, now) {
                self.ready.pop_front();
                self.hosts[host.0].listed = false;
                self.forget_if_idle(host);
                continue;
            }
            if self.limits.per_second.is_some() && now < self.next_start {
                return Next::Wait(Some(self.next_start));
            }
            // It goes to the end of the line, whether it has another one or not: that shows when its turn comes.
            self.ready.rotate_left(1);
            return self.begin(host, now);
        }
        Next::Wait(self.next_event())
    }

    /// Begins something more of a host, beside what is queued, if anything of it may begin now; `more` makes it, if there
    /// is anything. To be asked when no job can begin.
    pub(crate) fn join(&mut self, name: &str, now: At, more: impl FnOnce() -> Option<J>) -> Next<J> {
        if self.running >= self.limits.at_once {
            return Next::Wait(None);
        }
        if self.limits.per_second.is_some() && now < self.next_start {
            return Next::Wait(Some(self.next_start));
        }
        let host = self.host(name, now);
        if self.has_room(host, now)
            && let Some(job) = more()
        {
            self.count(host, now);
            return Next::Begin { job, host };
        }
        let until = self.hosts[host.0].held_until;
        self.forget_if_idle(host);
        Next::Wait(until)
    }

    /// An attempt that began at `began` has ended. The slot is free; the job is the caller's, to [`park`](Self::park) or not.
    pub(crate) fn over(&mut self, host: HostId, began: At, now: At, showed: Showed) {
        self.running -= 1;
        self.hosts[host.0].running -= 1;
        self.learn(host, began, now, showed);
        self.list(host);
        // What is parked next must find its host, so that an idle one is forgotten when its turn in the line comes.
    }

    /// Puts a job aside until this time, then at the head of its host's queue.
    pub(crate) fn park(&mut self, host: HostId, job: J, until: At) {
        self.turn += 1;
        self.hosts[host.0].parked += 1;
        self.parked.push(Parked { due: Reverse((until, self.turn)), host, job });
    }

    /// Drops those that wait, queued or parked, and that nobody wants any more.
    pub(crate) fn drop_waiting(&mut self, is_void: impl Fn(&J) -> bool) {
        let mut left = Vec::new();
        let Self { hosts, parked, queued, .. } = self;
        parked.retain(|Parked { host, job, .. }| {
            if !is_void(job) {
                return true;
            }
            hosts[host.0].parked -= 1;
            left.push(*host);
            false
        });
        for host in hosts {
            let before = host.queue.len();
            host.queue.retain(|job| !is_void(job));
            *queued -= before - host.queue.len();
        }
        // A host must not be forgotten twice.
        left.sort_unstable();
        left.dedup();
        left.into_iter().for_each(|host| self.forget_if_idle(host));
    }

    /// The host of this name, to [`add`](Self::add) a job to at once. It is what limits go by: scheme, name and port.
    pub(crate) fn host(&mut self, name: &str, now: At) -> HostId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let name: Arc<str> = name.into();
        let host = Host {
            name: Arc::clone(&name),
            queue: VecDeque::new(),
            running: 0,
            parked: 0,
            listed: false,
            held_until: None,
            next_start: At::ZERO,
            cap: if self.limits.adaptive { FIRST_CAP } else { f64::INFINITY },
            cut_at: At::ZERO,
            refusals: 0,
            pace: Pace { since: now, answered: 0.0, learned: None },
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.hosts[id.0] = host;
                id
            }
            None => {
                self.hosts.push(host);
                HostId(self.hosts.len() - 1)
            }
        };
        self.by_name.insert(name, id);
        id
    }

    fn list(&mut self, id: HostId) {
        let host = &mut self.hosts[id.0];
        if !host.listed && host.held_until.is_none() {
            host.listed = true;
            self.ready.push_back(id);
        }
    }

    /// Lets go what was to wait until now.
    fn release(&mut self, now: At) {
        while self.held.peek().is_some_and(|Reverse((until, _))| *until <= now) {
            let Some(Reverse((until, id))) = self.held.pop() else { break };
            // Another one, later, may have been put in its place.
            if self.hosts[id.0].held_until == Some(until) {
                self.hosts[id.0].held_until = None;
                self.list(id);
            }
        }
        while self.parked.peek().is_some_and(|parked| parked.due.0.0 <= now) {
            let Some(Parked { host, job, .. }) = self.parked.pop() else { break };
            self.hosts[host.0].parked -= 1;
            self.hosts[host.0].queue.push_front(job);
            self.queued += 1;
            self.list(host);
        }
    }

    fn can_begin(&mut self, id: HostId, now: At) -> bool {
        !self.hosts[id.0].queue.is_empty() && self.has_room(id, now)
    }

    /// Whether a host lets another one begin.
    fn has_room(&mut self, id: HostId, now: At) -> bool {
        let host = &mut self.hosts[id.0];
        if host.held_until.is_some() {
            return false;
        }
        if host.running >= self.limits.per_host || host.running as f64 >= host.cap.max(1.0).floor() {
            return false;
        }
        match host.pace.wait(now) {
            None => true,
            Some(until) => {
                self.hold(id, until);
                false
            }
        }
    }

    /// Whether one more from this host leaves the others theirs.
    fn is_fair(&self, id: HostId) -> bool {
        let Some(host) = self.hosts.get(id.0) else { return false };
        let hosts = self.by_name.len().max(1);
        host.running < self.limits.at_once.div_ceil(hosts)
    }

    fn begin(&mut self, id: HostId, now: At) -> Next<J> {
        let host = &mut self.hosts[id.0];
        let job = host.queue.pop_front().expect("a host that can begin a job has one");
        self.queued -= 1;
        self.count(id, now);
        Next::Begin { job, host: id }
    }

    /// Counts what begins.
    fn count(&mut self, id: HostId, now: At) {
        let host = &mut self.hosts[id.0];
        host.running += 1;
        host.pace.spend();
        self.running += 1;
        if let Some(rate) = self.limits.per_second {
            self.next_start = paced(self.next_start, now, rate);
        }
        if let Some(rate) = self.limits.per_host_second {
            let next = paced(self.hosts[id.0].next_start, now, rate);
            self.hosts[id.0].next_start = next;
            if next > now {
                self.hold(id, next);
            }
        }
    }

    /// Lets a host begin nothing before this time.
    fn hold(&mut self, id: HostId, until: At) {
        let host = &mut self.hosts[id.0];
        if host.held_until.is_none_or(|held| held < until) {
            host.held_until = Some(until);
            self.held.push(Reverse((until, id)));
        }
    }

    fn learn(&mut self, id: HostId, began: At, now: At, showed: Showed) {
        let (adaptive, most) = (self.limits.adaptive, self.limits.per_host.min(self.limits.at_once) as f64);
        let host = &mut self.hosts[id.0];
        match showed {
            Showed::Answered => {
                host.refusals = 0;
                host.pace.answered();
                // One more with each round of answers, but only if what is allowed is also used.
                if adaptive && host.running as f64 * 2.0 + 1.0 >= host.cap {
                    host.cap = (host.cap + 1.0 / host.cap).min(most);
                }
            }
            Showed::TooFast { until } => {
                host.pace.too_fast(began, now, until);
                host.cut(began, now);
                self.hold(id, until);
            }
            Showed::Unavailable { until } => {
                host.refusals += 1;
                host.cut(began, now);
                // Refusals come sooner than answers: those that are still on their way may yet be some.
                if host.refusals >= REFUSALS_OF_A_HOST + host.running {
                    self.hold(id, until);
                }
            }
            Showed::Overloaded => host.cut(began, now),
            Showed::Nothing => {}
        }
    }

    fn forget_if_idle(&mut self, id: HostId) {
        let host = &self.hosts[id.0];
        if host.queue.is_empty() && host.running == 0 && host.parked == 0 && host.held_until.is_none() && !host.listed {
            self.by_name.remove(&host.name);
            self.free.push(id);
        }
    }

    /// When something that waits for a time may begin.
    fn next_event(&self) -> Option<At> {
        let parked = self.parked.peek().map(|parked| parked.due.0.0);
        let held = self.held.peek().map(|Reverse((until, _))| *until);
        parked.into_iter().chain(held).min()
    }
}

impl<J> Host<J> {
    /// Takes back some of what was allowed, once for all that ran at the time.
    fn cut(&mut self, began: At, now: At) {
        if self.cap.is_finite() && began >= self.cut_at {
            self.cap = (self.cap * CUT).max(1.0);
            self.cut_at = now;
        }
    }
}

impl Pace {
    /// Until when there is no token, if there is none.
    fn wait(&mut self, now: At) -> Option<At> {
        let bucket = self.learned.as_mut()?;
        let filled = now.saturating_sub(bucket.filled_at).as_secs_f64() * bucket.a_second;
        bucket.tokens = (bucket.tokens + filled).min(bucket.size);
        bucket.filled_at = bucket.filled_at.max(now);
        if bucket.tokens >= 1.0 {
            return None;
        }
        Some(now + Duration::from_secs_f64((1.0 - bucket.tokens) / bucket.a_second).max(Duration::from_micros(1)))
    }

    fn spend(&mut self) {
        if let Some(bucket) = &mut self.learned {
            bucket.tokens -= 1.0;
        }
    }

    fn answered(&mut self) {
        self.answered += 1.0;
        if let Some(bucket) = &mut self.learned
            // What was learned is believed for a while. But it was seen once, and may have been another one's doing.
            && self.answered > 2.0 * bucket.size
        {
            let by = QUICKEN.powf(1.0 / bucket.size.max(1.0));
            bucket.a_second *= by;
            bucket.size *= by;
        }
    }

    /// So many answers were allowed from then until the time that the host names: then so many are again.
    fn too_fast(&mut self, began: At, now: At, until: At) {
        if began < self.since {
            return;
        }
        let wait = until.saturating_sub(now).as_secs_f64().max(0.001);
        let whole = until.saturating_sub(self.since).as_secs_f64().max(wait);
        let a_second = (PRUDENCE * self.answered / whole).max(1.0 / wait);
        let size = (a_second * wait).max(1.0);
        self.learned = Some(Bucket { size, tokens: size, a_second, filled_at: until });
        // What began before this moment was sent without knowing, and shows nothing more.
        *self = Self { since: until, answered: 0.0, ..*self };
    }
}

/// When the next one may begin, at so many a second.
fn paced(next: At, now: At, a_second: f64) -> At {
    next.max(now.saturating_sub(CATCH_UP)) + Duration::from_secs_f64(1.0 / a_second)
}

impl<J> PartialEq for Parked<J> {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl<J> Eq for Parked<J> {}

impl<J> PartialOrd for Parked<J> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<J> Ord for Parked<J> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> At {
        Duration::from_millis(ms)
    }

    fn limits(at_once: usize) -> Limits {
        Limits { at_once, per_host: at_once, per_second: None, per_host_second: None, window: 1000, adaptive: false }
    }

    fn add(schedule: &mut Schedule<&'static str>, host: &str, job: &'static str, now: At) {
        let host = schedule.host(host, now);
        schedule.add(host, job);
    }

    /// The names of all that can begin now.
    fn begun(schedule: &mut Schedule<&'static str>, now: At) -> Vec<&'static str> {
        let mut jobs = Vec::new();
        while let Next::Begin { job, .. } = schedule.next(now, None) {
            jobs.push(job);
        }
        jobs
    }

    fn begin(schedule: &mut Schedule<&'static str>, now: At) -> (&'static str, HostId) {
        match schedule.next(now, None) {
            Next::Begin { job, host } => (job, host),
            Next::Wait(until) => panic!("nothing begins before {until:?}"),
        }
    }

    #[test]
    fn no_more_run_at_a_time_than_allowed() {
        let mut schedule = Schedule::new(limits(2));
        for job in ["a", "b", "c"] {
            add(&mut schedule, "h", job, ms(0));
        }

        let (_, host) = begin(&mut schedule, ms(0));
        begin(&mut schedule, ms(0));
        assert_eq!(schedule.next(ms(0), None), Next::Wait(None));
        schedule.over(host, ms(0), ms(5), Showed::Answered);
        assert_eq!(begin(&mut schedule, ms(5)).0, "c");
    }

    #[test]
    fn hosts_take_turns() {
        let mut schedule = Schedule::new(limits(9));
        for (host, job) in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("b", "b2")] {
            add(&mut schedule, host, job, ms(0));
        }

        assert_eq!(begun(&mut schedule, ms(0)), ["a1", "b1", "c1", "a2", "b2", "a3"]);
    }

    #[test]
    fn a_host_at_its_limit_leaves_the_slots_to_others() {
        let mut schedule = Schedule::new(Limits { per_host: 1, ..limits(9) });
        for (host, job) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
            add(&mut schedule, host, job, ms(0));
        }

        let (_, a) = begin(&mut schedule, ms(0));
        assert_eq!(begun(&mut schedule, ms(0)), ["b1"]);
        assert!(schedule.wants_more(), "what can begin may come later in the list");
        schedule.over(a, ms(0), ms(1), Showed::Answered);
        assert_eq!(begun(&mut schedule, ms(1)), ["a2"]);
    }

    #[test]
    fn what_is_parked_holds_no_slot_and_comes_first_when_due() {
        let mut schedule = Schedule::new(limits(1));
        for job in ["a", "b", "c"] {
            add(&mut schedule, "h", job, ms(0));
        }
        let (a, host) = begin(&mut schedule, ms(0));
        schedule.over(host, ms(0), ms(1), Showed::Overloaded);
        schedule.park(host, a, ms(500));

        let (b, _) = begin(&mut schedule, ms(1));
        assert_eq!((b, schedule.parked()), ("b", 1));
        schedule.over(host, ms(1), ms(500), Showed::Answered);
        assert_eq!(begin(&mut schedule, ms(500)).0, "a");
        schedule.over(host, ms(500), ms(501), Showed::Answered);
        assert_eq!(begin(&mut schedule, ms(501)).0, "c");
    }

    #[test]
    fn waiting_names_the_time_at_which_something_can_begin() {
        let mut schedule = Schedule::new(limits(4));
        add(&mut schedule, "h", "a", ms(0));
        let (a, host) = begin(&mut schedule, ms(0));
        assert_eq!(schedule.next(ms(0), None), Next::Wait(None));

        schedule.over(host, ms(0), ms(1), Showed::Overloaded);
        schedule.park(host, a, ms(700));

        assert_eq!(schedule.next(ms(1), None), Next::Wait(Some(ms(700))));
        assert_eq!(schedule.next(ms(699), None), Next::Wait(Some(ms(700))));
        assert_eq!(begin(&mut schedule, ms(700)).0, "a");
    }

    #[test]
    fn a_host_that_asks_to_slow_down_is_left_alone_and_others_are_not() {
        let mut schedule = Schedule::new(limits(4));
        for (host, job) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
            add(&mut schedule, host, job, ms(0));
        }
        let (job, a) = begin(&mut schedule, ms(0));
        schedule.over(a, ms(0), ms(10), Showed::TooFast { until: ms(1010) });
        schedule.park(a, job, ms(1010));

        assert_eq!(begun(&mut schedule, ms(10)), ["b1"]);
        assert_eq!(schedule.next(ms(1009), None), Next::Wait(Some(ms(1010))));
        assert_eq!(begin(&mut schedule, ms(1010)).0, "a1");
    }

    #[test]
    fn the_longest_wait_that_a_host_asked_for_counts() {
        let mut schedule = Schedule::new(limits(4));
        for job in ["a", "b", "c"] {
            add(&mut schedule, "h", job, ms(0));
        }
        let (_, host) = begin(&mut schedule, ms(0));
        begin(&mut schedule, ms(0));
        schedule.over(host, ms(0), ms(10), Showed::TooFast { until: ms(2010) });
        schedule.over(host, ms(0), ms(12), Showed::TooFast { until: ms(1012) });

        assert_eq!(begun(&mut schedule, ms(1500)), [""; 0]);
        assert_eq!(begun(&mut schedule, ms(2010)), ["c"]);
    }

    #[test]
    fn unavailable_speaks_for_the_host_only_when_nothing_else_comes() {
        let mut schedule = Schedule::new(limits(4));
        for _ in 0..20 {
            add(&mut schedule, "h", "x", ms(0));
        }
        let refuse = |times: usize, schedule: &mut Schedule<&'static str>| {
            for _ in 0..times {
                let (_, host) = begin(schedule, ms(1));
                schedule.over(host, ms(1), ms(2), Showed::Unavailable { until: ms(9000) });
            }
        };
        refuse(REFUSALS_OF_A_HOST - 1, &mut schedule);
        let (_, host) = begin(&mut schedule, ms(3));
        schedule.over(host, ms(3), ms(4), Showed::Answered);

        refuse(REFUSALS_OF_A_HOST - 1, &mut schedule);
        // What is on its way may bring an answer.
        begin(&mut schedule, ms(5));
        refuse(1, &mut schedule);
        refuse(1, &mut schedule);
        assert_eq!(schedule.next(ms(6), None), Next::Wait(Some(ms(9000))));
    }

    #[test]
    fn a_server_with_a_limit_is_run_into_once_and_then_kept_up_with() {
        // What is there in the beginning may be some more than comes back in a second.
        for at_first in [200.0, 201.0, 203.0] {
            let (requests, refused_at, took) = run_into_a_limit(at_first);

            assert!(requests <= 550, "{requests} requests");
            assert!(took < ms(1700), "{took:?}");
            assert!(refused_at.iter().all(|at| *at < ms(100)), "{refused_at:?}");
        }
    }

    /// 500 jobs for a server that allows 200 a second, in a bucket of 200; 30 at a time; each request takes a tenth of a millisecond.
    fn run_into_a_limit(at_first: f64) -> (usize, Vec<At>, At) {
        let mut schedule = Schedule::new(limits(30));
        let (mut tokens, mut filled, mut now) = (at_first, ms(0), ms(0));
        let mut refused_at = Vec::new();
        let (mut done, mut requests, mut added) = (0, 0, 0);
        while done < 500 {
            while added < 500 && schedule.wants_more() {
                add(&mut schedule, "h", "x", now);
                added += 1;
            }
            let mut running = Vec::new();
            let next = loop {
                match schedule.next(now, None) {
                    Next::Begin { job, host } => running.push((job, host)),
                    Next::Wait(until) => break until,
                }
            };
            if running.is_empty() {
                now = next.expect("there is something to wait for");
                continue;
            }
            let began = now;
            now += Duration::from_micros(100) * running.len() as u32;
            for (job, host) in running {
                requests += 1;
                tokens = (tokens + (now - filled).as_secs_f64() * 200.0).min(tokens.max(200.0));
                filled = now;
                if tokens >= 1.0 {
                    tokens -= 1.0;
                    done += 1;
                    schedule.over(host, began, now, Showed::Answered);
                } else {
                    refused_at.push(now);
                    schedule.over(host, began, now, Showed::TooFast { until: now + ms(1000) });
                    schedule.park(host, job, now + ms(1000));
                }
            }
        }

        (requests, refused_at, now)
    }

    #[test]
    fn requests_begin_no_faster_than_asked() {
        let mut schedule = Schedule::new(Limits { per_second: Some(100.0), ..limits(100) });
        for _ in 0..100 {
            add(&mut schedule, "h", "x", ms(0));
        }

        let begun: usize = (0..500).step_by(5).map(|at| begun(&mut schedule, ms(at)).len()).sum();

        assert!((49..=52).contains(&begun), "{begun} in half a second");
    }

    #[test]
    fn one_host_s_pace_does_not_hold_up_another() {
        let mut schedule = Schedule::new(Limits { per_host_second: Some(1.0), ..limits(100) });
        for (host, job) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("b", "b2")] {
            add(&mut schedule, host, job, ms(0));
        }

        assert_eq!(begun(&mut schedule, ms(20)), ["a1", "b1"]);
        assert_eq!(begun(&mut schedule, ms(900)), [""; 0]);
        assert_eq!(begun(&mut schedule, ms(1020)), ["a2", "b2"]);
    }

    #[test]
    fn a_lane_stays_with_its_host_as_long_as_that_is_fair() {
        let mut schedule = Schedule::new(limits(2));
        for (host, job) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("b", "b2")] {
            add(&mut schedule, host, job, ms(0));
        }
        let (_, a) = begin(&mut schedule, ms(0));
        begin(&mut schedule, ms(0));
        schedule.over(a, ms(0), ms(1), Showed::Answered);

        assert_eq!(schedule.next(ms(1), Some(a)), Next::Begin { job: "a2", host: a });
    }

    #[test]
    fn what_joins_a_job_keeps_to_all_limits() {
        let limited = Limits { per_host: 2, ..limits(3) };
        let joined = |schedule: &mut Schedule<&'static str>, host: &str, now| schedule.join(host, now, || Some("more"));
        let mut schedule = Schedule::new(limited.clone());
        add(&mut schedule, "h", "a", ms(0));
        let (_, h) = begin(&mut schedule, ms(0));

        assert_eq!(joined(&mut schedule, "h", ms(0)), Next::Begin { job: "more", host: h });
        assert_eq!(joined(&mut schedule, "h", ms(0)), Next::Wait(None), "the host has two");
        assert!(matches!(joined(&mut schedule, "other", ms(0)), Next::Begin { .. }));
        assert_eq!(joined(&mut schedule, "third", ms(0)), Next::Wait(None), "there are three");
        schedule.over(h, ms(0), ms(1), Showed::TooFast { until: ms(500) });
        assert_eq!(joined(&mut schedule, "h", ms(1)), Next::Wait(Some(ms(500))), "the host is to be left alone");
        assert_eq!(schedule.next(ms(500), None), Next::Wait(None));
        assert_eq!(schedule.join("h", ms(500), || None), Next::Wait(None), "there is nothing more");

        let mut schedule = Schedule::new(Limits { per_second: Some(10.0), ..limited });
        add(&mut schedule, "h", "a", ms(0));
        begin(&mut schedule, ms(0));
        assert_eq!(joined(&mut schedule, "h", ms(20)), Next::Wait(Some(ms(100))));
        assert!(matches!(joined(&mut schedule, "h", ms(100)), Next::Begin { .. }));
    }

    #[test]
    fn concurrency_that_finds_itself_grows_with_answers_and_is_cut_once_for_all_that_ran() {
        let mut schedule = Schedule::new(Limits { adaptive: true, ..limits(100) });
        for _ in 0..400 {
            add(&mut schedule, "h", "x", ms(0));
        }
        let round = |schedule: &mut Schedule<&'static str>, at: u64, showed| {
            let mut hosts = Vec::new();
            while let Next::Begin { host, .. } = schedule.next(ms(at), None) {
                hosts.push(host);
            }
            hosts.iter().for_each(|host| schedule.over(*host, ms(at), ms(at + 1), showed));
            hosts.len()
        };

        assert_eq!(round(&mut schedule, 0, Showed::Answered), 4);
        let later: Vec<usize> = (1..20).map(|n| round(&mut schedule, n * 10, Showed::Answered)).collect();
        let most = *later.last().unwrap();
        assert!(most > 8, "{later:?}");
        let overloaded = round(&mut schedule, 300, Showed::Overloaded);
        let cut = round(&mut schedule, 310, Showed::Answered);
        assert!(cut as f64 >= overloaded as f64 * 0.6 && cut < overloaded, "{cut} after {overloaded}");
    }

    #[test]
    fn the_window_bounds_what_is_known() {
        let mut schedule = Schedule::new(Limits { window: 10, per_host: 1, ..limits(4) });
        let mut added = 0;
        while schedule.wants_more() && added < 100 {
            add(&mut schedule, "h", "x", ms(0));
            added += 1;
            schedule.next(ms(0), None);
        }

        assert_eq!(added, 10);
    }

    #[test]
    fn hosts_without_jobs_are_forgotten() {
        let mut schedule = Schedule::new(limits(2));
        for n in 0..1000 {
            add(&mut schedule, &format!("host-{n}"), "x", ms(n));
            let (_, host) = begin(&mut schedule, ms(n));
            schedule.over(host, ms(n), ms(n), Showed::Answered);
        }
        begun(&mut schedule, ms(2000));

        assert!(schedule.hosts.len() < 10, "{} hosts are remembered", schedule.hosts.len());
        assert!(schedule.is_empty());
    }
}
