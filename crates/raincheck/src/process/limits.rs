//! What a worker may use, and how it is told from its end that it has used it up.

#[cfg(not(target_os = "netbsd"))]
use std::time::Duration;
use std::{fs, io, os::unix::process::ExitStatusExt, process::ExitStatus};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
#[cfg(not(target_os = "netbsd"))]
use rustix::time::{ClockId, clock_gettime};

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::meter;
use crate::error::Limit;

/// What a worker may use; `None` is without limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// Nanoseconds of processor time, for each task.
    pub(super) processor_time: Option<u64>,
    /// Bytes of memory that the worker can have.
    pub(super) memory: Option<u64>,
    pub(super) open_files: Option<u64>,
    /// Bytes of memory with which it is replaced between two tasks.
    pub(super) ceiling: Option<u64>,
}

/// The same, as it is written down.
pub(super) type LimitParts = [Option<u64>; 4];

impl Limits {
    pub(super) fn parts(self) -> LimitParts {
        [self.processor_time, self.memory, self.open_files, self.ceiling]
    }

    pub(super) fn of([processor_time, memory, open_files, ceiling]: LimitParts) -> Self {
        Self { processor_time, memory, open_files, ceiling }
    }

    /// Limits this process, once.
    pub(super) fn begin(&self) -> io::Result<()> {
        if let Some(bytes) = self.memory {
            limit(Resource::As, bytes)?;
        }
        if let Some(files) = self.open_files {
            limit(Resource::Nofile, files)?;
        }
        Ok(())
    }

    /// Gives the task that starts now its processor time: this much more than is used up.
    pub(super) fn begin_task(&self) {
        // There is no such clock on NetBSD, and so no such limit.
        #[cfg(not(target_os = "netbsd"))]
        if let Some(time) = self.processor_time() {
            let used = clock_gettime(ClockId::ProcessCPUTime);
            let used = Duration::new(used.tv_sec.try_into().unwrap_or(0), used.tv_nsec.try_into().unwrap_or(0));
            // What the task starts has this one alone. A limit that can be set once can be set again.
            let _ = limit(Resource::Cpu, whole_seconds(used + time));
            #[cfg(any(target_os = "linux", target_os = "android"))]
            meter::end_after(time);
        }
    }

    /// What this process does until the next task is not the last one's.
    pub(super) fn end_task(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.processor_time().is_some() {
            meter::end_after(Duration::ZERO);
        }
    }

    #[cfg(not(target_os = "netbsd"))]
    fn processor_time(&self) -> Option<Duration> {
        self.processor_time.map(Duration::from_nanos)
    }

    /// Whether this process has more memory of its own than it is to have.
    pub(super) fn are_passed(&self) -> bool {
        let Some(ceiling) = self.ceiling else { return false };
        own_memory().is_some_and(|bytes| bytes > ceiling)
    }
}

/// Sets what ends the process, or has it see an error. What it could raise that to at most stays as it is.
fn limit(what: Resource, to: u64) -> io::Result<()> {
    let maximum = getrlimit(what).maximum;
    let current = maximum.map_or(to, |maximum| maximum.min(to));
    Ok(setrlimit(what, Rlimit { current: Some(current), maximum })?)
}

/// How many bytes of memory this process has that it shares with no other.
fn own_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split(' ').skip(1).map(str::parse::<u64>);
    let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// How many processes the system has killed for want of memory, if it says so.
pub(super) fn oom_kills() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Whether this is what Rust says when there is no memory, before it aborts.
pub(super) fn says_need(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("memory allocation of ") && line.ends_with(" bytes failed"))
}

/// Which limit a process has run into, as far as its end says: how it ended, whether it has said that it has no memory,
/// and how many processes the system had killed for want of it before.
pub(super) fn overrun(status: ExitStatus, is_in_need: bool, oom_kills_before: Option<u64>) -> Option<Limit> {
    let is = |signal: Signal| status.signal() == Some(signal.as_raw());
    if is(Signal::XCPU) {
        Some(Limit::ProcessorTime)
    } else if is(Signal::ABORT) && is_in_need {
        Some(Limit::Memory)
    } else if is(Signal::KILL) && oom_kills() > oom_kills_before {
        Some(Limit::SystemMemory)
    } else {
        None
    }
}

/// Whole seconds, of which the last may be more than is asked for.
#[cfg(not(target_os = "netbsd"))]
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
