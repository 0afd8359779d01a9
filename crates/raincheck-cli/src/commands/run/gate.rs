//! What a command waits for before it starts: some time since the last one, little load, enough memory.

use std::fs;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// How often load and memory are looked at.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// Where commands wait.
#[derive(Default)]
pub(super) struct Gate {
    delay: Option<Duration>,
    /// Start nothing above this load.
    load: Option<f64>,
    /// Start nothing with less memory available.
    memory: Option<u64>,
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    last: Option<Instant>,
    stopped: bool,
    has_told: bool,
}

impl Gate {
    /// A gate that lets commands through so far apart, with at most this load, and at least so much memory.
    pub(super) fn new(delay: Option<Duration>, load: Option<f64>, memory: Option<u64>) -> Self {
        Self { delay, load, memory, ..Self::default() }
    }

    /// Blocks until a command may start, or everything is to stop. The first time that load or memory is in the way,
    /// `tell` is told.
    pub(super) fn pass(&self, tell: impl FnOnce(&str)) {
        if self.delay.is_none() && self.load.is_none() && self.memory.is_none() {
            return;
        }
        let mut state = self.state.lock().expect(NOT_POISONED);
        let mut tell = Some(tell).filter(|_| !state.has_told);
        while let Some((wait, why)) = self.wait(state.last).filter(|_| !state.stopped) {
            if let Some((tell, why)) = why.and_then(|why| Some((tell.take()?, why))) {
                state.has_told = true;
                tell(why);
            }
            state = self.stopped.wait_timeout(state, wait).expect(NOT_POISONED).0;
        }
        state.last = Some(Instant::now());
    }

    /// Lets everyone through.
    pub(super) fn stop(&self) {
        self.state.lock().expect(NOT_POISONED).stopped = true;
        self.stopped.notify_all();
    }

    /// How long to wait before looking again, and for what, if it is not just the delay; `None` if nothing is in the way.
    fn wait(&self, last: Option<Instant>) -> Option<(Duration, Option<&'static str>)> {
        if let (Some(delay), Some(last)) = (self.delay, last) {
            let left = delay.saturating_sub(last.elapsed());
            if !left.is_zero() {
                return Some((left, None));
            }
        }
        // Where the system does not say, nothing is in the way.
        let high = self.load.is_some_and(|most| load().is_some_and(|load| load > most));
        let low = self.memory.is_some_and(|least| available().is_some_and(|available| available < least));
        let why = match (high, low) {
            (true, _) => "waiting for the load to fall, as `--load` says",
            (false, true) => "waiting for memory to be free, as `--memfree` says",
            (false, false) => return None,
        };
        Some((BETWEEN_LOOKS, Some(why)))
    }
}

const NOT_POISONED: &str = "nothing panics while the gate is locked";

/// The load of the last minute.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// The bytes of memory that can be had.
fn available() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn the_first_passes_at_once_and_the_next_after_the_delay() {
        let delay = Duration::from_millis(30);
        let gate = Gate { delay: Some(delay), ..Gate::default() };
        gate.pass(|_| unreachable!());
        let first = Instant::now();

        gate.pass(|_| unreachable!("a delay needs no word"));

        assert!(first.elapsed() > delay / 2);
    }

    #[test]
    fn nobody_waits_for_what_the_system_has() {
        let gate = Gate { load: Some(1e9), memory: Some(1), ..Gate::default() };

        gate.pass(|_| unreachable!());

        assert!(load().is_some() && available().is_some());
    }

    #[test]
    fn a_stop_lets_everyone_through() {
        let gate = Gate { memory: Some(u64::MAX), ..Gate::default() };

        thread::scope(|scope| {
            scope.spawn(|| gate.pass(|_| ()));
            gate.stop();
        });
    }

    #[test]
    fn who_waits_is_told_for_what_and_only_once() {
        let gate = Gate { memory: Some(u64::MAX), ..Gate::default() };
        let (tell, told) = mpsc::channel();

        thread::scope(|scope| {
            for _ in 0..2 {
                let tell = tell.clone();
                scope.spawn(|| gate.pass(move |why| tell.send(why.to_owned()).unwrap()));
            }
            assert!(told.recv().unwrap().contains("`--memfree`"));
            gate.stop();
        });

        drop(tell);
        assert!(told.recv().is_err());
    }
}
