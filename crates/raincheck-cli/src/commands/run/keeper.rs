//! The keeper: a process that outlives this one by a moment, to end what it ran if it is killed.
//!
//! `kill -9` leaves no time to tell anyone. `PR_SET_PDEATHSIG` would reach a command but not what that has started in turn,
//! and needs code between fork and exec, which is the slow way to start a process. So there is a table in memory that both
//! can see, of the process groups that run, and a pipe that only this process holds open. The keeper sleeps in a read from
//! that pipe; when it ends, whatever ended us, it ends the jobs that the table names. A command costs two small
//! writes to the table, and the keeper never wakes before the end.
//!
//! The keeper is this program once more, under another name, so that `killall -9 raincheck` does not hit both.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, PipeWriter, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::kin::{Kin, Looks, Process, Run, processes, tell};
use crate::error::Exit;

/// The hidden command that makes this program a keeper.
pub(crate) const COMMAND: &str = "keep-watch";
/// What it is called in lists of processes.
const NAME: &str = "job-keeper";
/// And before it has got round to that.
const UNNAMED: &str = "exe";
/// How long commands have to end after TERM.
const GRACE: Duration = Duration::from_millis(500);
const BETWEEN_LOOKS: Duration = Duration::from_millis(4);
/// How long a program that was killed may take to be gone. It is longer if it has much memory to give back.
const LONGEST_END: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// The end of it that this process holds.
pub(super) struct Keeper {
    process: Mutex<Child>,
    /// Its closing is what wakes the keeper. `None` when that has happened.
    life: Mutex<Option<PipeWriter>>,
    table: File,
}

/// What the table says of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Free,
    /// There may be a process with this mark that nobody has the number of yet.
    Starting(u32),
    /// A mark, and a group.
    Running(u32, Pid),
}

/// In bytes, of the table: the group, and the mark.
const ENTRY: usize = 8;

impl Keeper {
    /// Starts it, for the jobs of this run.
    pub(super) fn start(run: &Run) -> io::Result<Self> {
        let (alive, life) = io::pipe()?;
        let table = File::from(memfd_create("raincheck-jobs", MemfdFlags::CLOEXEC)?);
        let process = Command::new("/proc/self/exe")
            .arg0(NAME)
            .arg(COMMAND)
            .args([&std::process::id().to_string(), run.name()])
            .stdin(alive)
            .stdout(table.try_clone()?)
            .stderr(Stdio::null())
            // Ctrl-C is not for it.
            .process_group(0)
            .spawn()?;
        Ok(Self { process: Mutex::new(process), life: Mutex::new(Some(life)), table })
    }

    /// Notes what is in a slot.
    pub(super) fn note(&self, slot: usize, place: Place) {
        let (group, mark) = match place {
            Place::Free => (0, 0),
            Place::Starting(mark) => (-1, mark),
            Place::Running(mark, group) => (group.as_raw_nonzero().get(), mark),
        };
        let mut entry = [0; ENTRY];
        entry[..4].copy_from_slice(&group.to_ne_bytes());
        entry[4..].copy_from_slice(&mark.to_ne_bytes());
        // It is memory: there is nothing to go wrong but that there is no more, and then the system ends programs.
        let _ = self.table.write_all_at(&entry, (slot * ENTRY) as u64);
    }

    /// Lets it go, and waits until it has gone. What the table still names is ended first.
    pub(super) fn dismiss(&self) {
        drop(self.life.lock().expect(NOT_POISONED).take());
        let _ = self.process.lock().expect(NOT_POISONED).wait();
    }
}

const NOT_POISONED: &str = "nothing panics while the keeper is let go";

/// What the keeper does: waits for the end of the program that started it, and then for that of its commands.
pub(crate) fn keep_watch(watched: i32, run: String) -> Exit {
    let _ = rustix::thread::set_name(c"job-keeper");
    // It must not keep a folder from being unmounted.
    let _ = std::env::set_current_dir("/");
    // None if it has gone already, and not a trace of it is left.
    let watched = Pid::from_raw(watched).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let mut nothing = [0];
    while io::stdin().read(&mut nothing).is_ok_and(|read| read > 0) {}

    let Ok(table) = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned().map(File::from) else {
        return Exit::SomeFailed;
    };
    let places = places(&table);
    let job = |place: &Place| match *place {
        Place::Running(mark, group) => Some(Kin { mark, group: Some(group) }),
        Place::Starting(mark) => Some(Kin { mark, group: None }),
        Place::Free => None,
    };
    let mut jobs: Vec<Kin> = places.iter().filter_map(job).collect();
    if jobs.iter().any(|job| job.group.is_none()) {
        // Each is a group, and whose it is makes no difference here.
        let mark = jobs[0].mark;
        jobs.extend(orphans(watched.as_ref()).into_iter().map(|group| Kin { mark, group: Some(group) }));
    }
    end(&jobs, &Looks::new(Run::named(run)));
    Exit::AllDone
}

/// Tells all that is left of these jobs to end, and kills what is left of it after a while.
fn end(jobs: &[Kin], looks: &Looks) {
    let tell_groups = |signal| jobs.iter().filter_map(|job| job.group).for_each(|group| tell(group, signal));
    tell_groups(Signal::TERM);
    let due = Instant::now() + GRACE;
    let (mut told, mut are_killed) = (HashSet::new(), false);
    loop {
        let seen = looks.now();
        let left = seen.of(jobs);
        let now = Instant::now();
        if left.is_empty() || now >= due + GRACE {
            return;
        }
        if now >= due && !are_killed {
            tell_groups(Signal::KILL);
            are_killed = true;
        }
        for process in left {
            let is_in_group = jobs.iter().any(|job| process.is_in(job.group));
            match told.insert((process.pid, process.started)) {
                _ if now >= due => process.tell(Signal::KILL),
                true if !is_in_group => process.tell(Signal::TERM),
                _ => {}
            }
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

fn places(table: &File) -> Vec<Place> {
    let mut bytes = vec![0; table.metadata().map_or(0, |metadata| metadata.len()) as usize];
    if table.read_exact_at(&mut bytes, 0).is_err() {
        return Vec::new();
    }
    let place = |entry: &[u8]| {
        let (group, mark) = entry.split_at(4);
        let mark = u32::from_ne_bytes(mark.try_into().expect(ENTRY_IS_WHOLE));
        match i32::from_ne_bytes(group.try_into().expect(ENTRY_IS_WHOLE)) {
            ..0 => Place::Starting(mark),
            number => Pid::from_raw(number).map_or(Place::Free, |group| Place::Running(mark, group)),
        }
    };
    bytes.chunks_exact(ENTRY).map(place).collect()
}

const ENTRY_IS_WHOLE: &str = "an entry is two numbers of four bytes";

/// The commands that were being started when the program was killed, so that nobody has noted their numbers.
///
/// They are what was begun after the keeper, in its session, has now the same new parent, and leads a group. What had not yet
/// become a command would hold the pipe open.
fn orphans(watched: Option<&OwnedFd>) -> Vec<Pid> {
    // Each thread gives away its own children as it ends, the last of them well after the pipe was closed. The process has
    // ended when all have; that the keeper itself has been given away says nothing of the others.
    if let Some(watched) = watched {
        let _ = poll(&mut [PollFd::new(watched, PollFlags::IN)], Some(&LONGEST_END));
    }
    // In a container, parent and session may be outside, and have the number 0.
    let Some(keeper) = Process::read(rustix::process::getpid()) else { return Vec::new() };
    let is_ours = |process: &Process| {
        let is_child = process.parent == keeper.parent && process.session == keeper.session;
        // Another one's keeper may be an orphan too, and has work to do.
        let is_keeper = [NAME, UNNAMED].contains(&process.name.as_str());
        let leads = process.group == process.pid.as_raw_nonzero().get();
        is_child && leads && process.started >= keeper.started && process.pid != keeper.pid && !is_keeper
    };
    processes().filter(is_ours).map(|process| process.pid).collect()
}
