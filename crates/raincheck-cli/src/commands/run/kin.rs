//! What a job has started, to be ended with it.
//!
//! Most of it is in the job's process group. What has left that, as daemons do, is known by a mark in its environment, which
//! is handed down to all that a job starts, whoever its parent is by then; and a child of either is one of them too. What
//! has emptied its environment and has no parent left is out of reach.

use std::ffi::OsString;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

/// The variable that tells a process which jobs it comes from: their marks, the nearest one last.
pub(super) const MARKS: &str = "RAINCHECK_JOB";

/// Tells the marks of one run of this program from all others.
#[derive(Clone, Debug)]
pub(super) struct Run {
    name: String,
    /// The marks that this program has itself, since it is part of a job.
    outer: OsString,
}

/// A job in the system: its mark's number, and its group when it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kin {
    pub(super) mark: u32,
    pub(super) group: Option<Pid>,
}

impl Run {
    pub(super) fn new() -> Self {
        Self::named(format!("{}-{:x}", std::process::id(), RandomState::new().hash_one(0)))
    }

    /// The run that another process has named.
    pub(super) fn named(name: String) -> Self {
        let mut outer = std::env::var_os(MARKS).unwrap_or_default();
        if !outer.is_empty() {
            outer.push(" ");
        }
        Self { name, outer }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The number of a mark that no other job of this run has.
    pub(super) fn new_mark(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// What the variable is for a job with this mark.
    pub(super) fn marks_with(&self, mark: u32) -> OsString {
        let mut marks = self.outer.clone();
        marks.push(format!("{}-{mark}", self.name));
        marks
    }

    /// The mark in the value of the variable that is of this run.
    fn mark_in(&self, marks: &[u8]) -> Option<u32> {
        let own = |word: &[u8]| {
            let number = word.strip_prefix(self.name.as_bytes())?.strip_prefix(b"-")?;
            std::str::from_utf8(number).ok()?.parse().ok()
        };
        marks.split(|byte| *byte == b' ').find_map(own)
    }
}

/// Looks at all processes, once for all who want to know at the same time.
pub(super) struct Looks {
    run: Run,
    /// What is older than this program is no kin of its jobs.
    oldest: u64,
    last: Mutex<Option<(Instant, Arc<Seen>)>>,
}

/// All processes there were at some time.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<(Process, Option<u32>)>);

impl Looks {
    pub(super) fn new(run: Run) -> Self {
        let oldest = Process::read(rustix::process::getpid()).map_or(0, |me| me.started);
        Self { run, oldest, last: Mutex::new(None) }
    }

    /// What there is now.
    pub(super) fn now(&self) -> Arc<Seen> {
        let asked = Instant::now();
        let mut last = self.last.lock().expect("nothing panics in a look");
        if let Some((begun, seen)) = &*last
            && *begun >= asked
        {
            return Arc::clone(seen);
        }
        let begun = Instant::now();
        let young = processes().filter(|process| process.started >= self.oldest);
        let marked = young.map(|process| (process.mark(&self.run), process)).map(|(mark, process)| (process, mark));
        let seen = Arc::new(Seen(marked.collect()));
        *last = Some((begun, Arc::clone(&seen)));
        seen
    }
}

impl Seen {
    /// What of these jobs still runs.
    pub(super) fn of(&self, jobs: &[Kin]) -> Vec<&Process> {
        let groups = |group| jobs.iter().any(|job| job.group.is_some_and(|it| it.as_raw_nonzero().get() == group));
        let marks = |mark| jobs.iter().any(|job| job.mark == mark);
        let (mut found, mut others): (Vec<&Process>, Vec<&Process>) = (Vec::new(), Vec::new());
        for (process, mark) in &self.0 {
            let is_kin = groups(process.group) || mark.is_some_and(marks);
            if is_kin { found.push(process) } else { others.push(process) }
        }
        let mut known = 0;
        while known < found.len() {
            let parent = found[known].pid.as_raw_nonzero().get();
            found.extend(others.extract_if(.., |process| process.parent == parent));
            known += 1;
        }
        found
    }
}

/// A process, as /proc has it.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: Pid,
    pub(super) name: String,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    /// In ticks since the system started.
    pub(super) started: u64,
}

impl Process {
    /// The process of this number, unless it is gone or a zombie.
    pub(super) fn read(pid: Pid) -> Option<Self> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name, in brackets, may hold anything; what follows it are numbers.
        let (from, to) = (stat.find('(')?, stat.rfind(')')?);
        let fields: Vec<&str> = stat.get(to + 2..)?.split(' ').collect();
        let [state, parent, group, session, ..] = fields[..] else { return None };
        if matches!(state, "Z" | "X") {
            return None;
        }
        Some(Self {
            pid,
            name: stat.get(from + 1..to)?.into(),
            parent: parent.parse().ok()?,
            group: group.parse().ok()?,
            session: session.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// The mark of this run that it has. Other users' processes are not to be read.
    fn mark(&self, run: &Run) -> Option<u32> {
        let environment = fs::read(format!("/proc/{}/environ", self.pid.as_raw_nonzero())).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        variables.find_map(|it| run.mark_in(it.strip_prefix(MARKS.as_bytes())?.strip_prefix(b"=")?))
    }

    /// Whether it leads or is in this group.
    pub(super) fn is_in(&self, group: Option<Pid>) -> bool {
        group.is_some_and(|group| group.as_raw_nonzero().get() == self.group)
    }

    /// Signals it alone, unless it has gone and another one has its number.
    pub(super) fn tell(&self, signal: Signal) {
        let Ok(process) = pidfd_open(self.pid, PidfdFlags::empty()) else { return };
        if Self::read(self.pid).is_some_and(|now| now.started == self.started) {
            let _ = pidfd_send_signal(&process, signal);
            if signal != Signal::KILL {
                let _ = pidfd_send_signal(&process, Signal::CONT);
            }
        }
    }
}

/// All processes there are.
pub(super) fn processes() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter_map(Process::read)
}

/// Signals a group. That it has gone already is as well.
pub(super) fn tell(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
    if signal != Signal::KILL {
        // A command that was stopped, as one is that reads from the terminal, must run to hear of it.
        let _ = kill_process_group(group, Signal::CONT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_among_those_of_other_runs() {
        let (ours, others) = (Run::new(), Run::new());

        let marks = |run: &Run, mark| run.marks_with(mark).into_encoded_bytes();
        let both = [marks(&others, 3), marks(&ours, 12)].join(&b' ');

        assert_eq!(ours.mark_in(&both), Some(12));
        assert_eq!(others.mark_in(&both), Some(3));
        assert_eq!(Run::new().mark_in(&both), None);
        assert_eq!(ours.mark_in(b""), None);
    }

    #[test]
    fn kin_are_the_group_the_marked_and_their_children() {
        let pid = |number| Pid::from_raw(number).unwrap();
        let process = |number, parent, group, mark| {
            let (pid, name) = (pid(number), String::new());
            (Process { pid, name, parent, group, session: 1, started: 1 }, mark)
        };
        let seen = Seen(vec![
            process(12, 11, 12, None),
            process(10, 1, 10, Some(0)),
            process(11, 1, 11, Some(7)),
            process(20, 1, 20, None),
            process(21, 1, 20, None),
            process(30, 1, 30, None),
            process(13, 12, 13, None),
        ]);

        let of = |jobs: &[Kin]| {
            let mut found: Vec<i32> = seen.of(jobs).iter().map(|it| it.pid.as_raw_nonzero().get()).collect();
            found.sort_unstable();
            found
        };

        assert_eq!(of(&[Kin { mark: 7, group: None }]), [11, 12, 13]);
        assert_eq!(of(&[Kin { mark: 8, group: Some(pid(20)) }]), [20, 21]);
        assert_eq!(of(&[]), [0; 0]);
    }
}
