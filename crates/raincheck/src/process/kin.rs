//! All that a worker's tasks have started, to be ended with it.
//!
//! Most of it is in the worker's process group. What has left that, as daemons do, is found on Linux in two ways: as a
//! child of a child, while those in between live; and by a mark in the environment, which names the workers that a
//! process comes from and is handed down, whoever its parent is by then.

use std::{
    collections::hash_map::RandomState,
    ffi::{OsStr, OsString},
    hash::{BuildHasher, Hasher},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The variable that tells a process which workers it comes from: their marks, the nearest one last.
pub(super) const MARKS: &str = "RAINCHECK_WORKER";

/// A mark for a new worker. It begins with the number of this process, and is unlike all others.
pub(super) fn new_mark() -> String {
    static RANDOM: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let random = RANDOM.get_or_init(|| RandomState::new().build_hasher().finish());
    format!("{}-{random:x}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What the variable is for a worker with this mark.
pub(super) fn marks_with(mark: &str) -> OsString {
    let mut marks = std::env::var_os(MARKS).unwrap_or_default();
    if !marks.is_empty() {
        marks.push(" ");
    }
    marks.push(mark);
    marks
}

/// The mark of this process, and the number of the process that has made it, if it was started as a worker.
pub(super) fn own_mark(marks: &OsStr) -> Option<(&str, i32)> {
    let mark = marks.to_str()?.rsplit(' ').next()?;
    Some((mark, mark.split('-').next()?.parse().ok()?))
}

/// Kills a worker with its group, and all that comes from it and has its parents.
pub(super) fn kill_with_children(worker: Pid) {
    // These first: who dies gives its children away, and this process may be of the group.
    system::kill(system::descendants(worker));
    kill_group(worker);
}

/// Kills a worker with its group.
pub(super) fn kill_group(worker: Pid) {
    let _ = kill_process_group(worker, Signal::KILL);
    // A task may have put its worker into another group. Last, since this process may be the worker.
    let _ = kill_process(worker, Signal::KILL);
}

/// Kills all that comes from these workers by what its environment says, with its children, but for this process itself.
pub(super) fn kill_marked(marks: &[String]) {
    // It may have started more meanwhile. What a signal does not end cannot be helped.
    for _ in 0..MOST_LOOKS {
        let found = system::marked(marks);
        if found.is_empty() {
            return;
        }
        system::kill(found);
        std::thread::yield_now();
    }
}

const MOST_LOOKS: u32 = 100;

/// Whether anything can be found by its mark.
pub(super) const MARKS_ARE_SEEN: bool = cfg!(any(target_os = "linux", target_os = "android"));

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::{fs, os::fd::OwnedFd};

    use rustix::process::{PidfdFlags, getpid, pidfd_open, pidfd_send_signal};

    use super::*;

    /// A process, which keeps its number as long as this is held.
    pub(super) struct Found(OwnedFd);

    /// Finds a process that is as it should be, which is looked at when nobody else can get its number any more.
    fn find(pid: Pid, is_it: impl Fn() -> bool) -> Option<Found> {
        let found = Found(pidfd_open(pid, PidfdFlags::empty()).ok()?);
        is_it().then_some(found)
    }

    pub(super) fn kill(found: Vec<Found>) {
        for Found(process) in found {
            // It may have ended by itself.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
    }

    pub(super) fn descendants(ancestor: Pid) -> Vec<Found> {
        let mut found = Vec::new();
        let mut ahead = vec![ancestor];
        while let Some(parent) = ahead.pop() {
            for child in children(parent) {
                if let Some(process) = find(child, || parent_of(child) == Some(parent)) {
                    found.push(process);
                    ahead.push(child);
                }
            }
        }
        found
    }

    fn children(parent: Pid) -> Vec<Pid> {
        let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
        let lists = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
        lists.flat_map(|list| list.split(' ').filter_map(number).collect::<Vec<_>>()).collect()
    }

    fn parent_of(process: Pid) -> Option<Pid> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // After the name, which may have any characters in it, and the state.
        number(stat.rsplit(") ").next()?.split(' ').nth(1)?)
    }

    fn number(text: &str) -> Option<Pid> {
        Pid::from_raw(text.trim().parse().ok()?)
    }

    pub(super) fn marked(marks: &[String]) -> Vec<Found> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let me = getpid();
        let pids = entries.filter_map(|entry| number(entry.ok()?.file_name().to_str()?)).filter(|pid| *pid != me);
        let mut found = Vec::new();
        for pid in pids.filter(|pid| has_mark(*pid, marks)) {
            found.extend(descendants(pid));
            found.extend(find(pid, || has_mark(pid, marks)));
        }
        found
    }

    fn has_mark(process: Pid, marks: &[String]) -> bool {
        // Other users' processes are not to be read, nor are those that have ended.
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let variables = environment.split(|byte| *byte == 0);
        let mut values = variables.filter_map(|it| it.strip_prefix(MARKS.as_bytes())?.strip_prefix(b"="));
        values
            .any(|value| value.split(|byte| *byte == b' ').any(|word| marks.iter().any(|mark| mark.as_bytes() == word)))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use super::*;

    pub(super) enum Found {}

    pub(super) fn kill(_: Vec<Found>) {}

    pub(super) fn descendants(_: Pid) -> Vec<Found> {
        Vec::new()
    }

    pub(super) fn marked(_: &[String]) -> Vec<Found> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_the_process_that_made_it_and_comes_last() {
        let (one, other) = (new_mark(), new_mark());
        assert_ne!(one, other);

        let marks = OsString::from(format!("1-2-3 {one}"));

        assert_eq!(own_mark(&marks), Some((one.as_str(), i32::try_from(std::process::id()).unwrap())));
        assert_eq!(own_mark(OsStr::new("")), None);
    }
}
