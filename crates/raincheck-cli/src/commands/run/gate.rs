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
}

impl Gate {
    /// A gate that lets commands through so far apart, with at most this load, and at least so much memory.
    pub(super) fn new(delay: Option<Duration>, load: Option<f64>, memory: Option<u64>) -> Self {
        Self { delay, load, memory, ..Self::default() }
    }

    /// Blocks until a command may start, or everything is to stop.
    pub(super) fn pass(&self) {
        if self.delay.is_none() && self.load.is_none() && self.memory.is_none() {
            return;
        }
        let mut state = self.state.lock().expect(NOT_POISONED);
        while let Some(wait) = self.wait(state.last).filter(|_| !state.stopped) {
            state = self.stopped.wait_timeout(state, wait).expect(NOT_POISONED).0;
        }
        state.last = Some(Instant::now());
    }

    /// Lets everyone through.
    pub(super) fn stop(&self) {
        self.state.lock().expect(NOT_POISONED).stopped = true;
        self.stopped.notify_all();
    }

    /// How long to wait before looking again; `None` if nothing is in the way.
    fn wait(&self, last: Option<Instant>) -> Option<Duration> {
        if let (Some(delay), Some(last)) = (self.delay, last) {
            let left = delay.saturating_sub(last.elapsed());
            if !left.is_zero() {
                return Some(left);
            }
        }
        // Where the system does not say, nothing is in the way.
        let high = self.load.is_some_and(|most| load().is_some_and(|load| load > most));
        let low = self.memory.is_some_and(|least| available().is_some_and(|available| available < least));
        (high || low).then_some(BETWEEN_LOOKS)
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
    use std::thread;

    use super::*;

    #[test]
    fn the_first_passes_at_once_and_the_next_after_the_delay() {
        let delay = Duration::from_millis(30);
        let gate = Gate { delay: Some(delay), ..Gate::default() };
        gate.pass();
        let first = Instant::now();

        gate.pass();

        assert!(first.elapsed() > delay / 2);
    }

    #[test]
    fn nobody_waits_for_what_the_system_has() {
        let gate = Gate { load: Some(1e9), memory: Some(1), ..Gate::default() };

        gate.pass();

        assert!(load().is_some() && available().is_some());
    }

    #[test]
    fn a_stop_lets_everyone_through() {
        let gate = Gate { memory: Some(u64::MAX), ..Gate::default() };

        thread::scope(|scope| {
            scope.spawn(|| gate.pass());
            gate.stop();
        });
    }
}
