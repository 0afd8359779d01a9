//! The keeper: a process that outlives this one by a moment, to end what it ran if it is killed.
//!
//! `kill -9` leaves no time to tell anyone. `PR_SET_PDEATHSIG` would reach a command but not what that has started in turn,
//! and needs code between fork and exec, which is the slow way to start a process. So there is a table in memory that both
//! can see, of the process groups that run, and a pipe that only this process holds open. The keeper sleeps in a read from
//! that pipe; when it ends, whatever ended us, it signals the groups that the table names. A command costs two small
//! writes to the table, and the keeper never wakes before the end.
//!
//! The keeper is this program once more, under another name, so that `killall -9 raincheck` does not hit both.

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

use super::process::{Process, lives, processes, tell};
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
    /// There may be a process that nobody has the number of yet.
    Starting,
    Group(Pid),
}

impl Keeper {
    /// Starts it.
    pub(super) fn start() -> io::Result<Self> {
        let (alive, life) = io::pipe()?;
        let table = File::from(memfd_create("raincheck-jobs", MemfdFlags::CLOEXEC)?);
        let process = Command::new("/proc/self/exe")
            .arg0(NAME)
            .arg(COMMAND)
            .arg(std::process::id().to_string())
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
        let number: i32 = match place {
            Place::Free => 0,
            Place::Starting => -1,
            Place::Group(group) => group.as_raw_nonzero().get(),
        };
        // It is memory: there is nothing to go wrong but that there is no more, and then the system ends programs.
        let _ = self.table.write_all_at(&number.to_ne_bytes(), slot as u64 * 4);
    }

    /// Lets it go, and waits until it has gone. What the table still names is ended first.
    pub(super) fn dismiss(&self) {
        drop(self.life.lock().expect(NOT_POISONED).take());
        let _ = self.process.lock().expect(NOT_POISONED).wait();
    }
}

const NOT_POISONED: &str = "nothing panics while the keeper is let go";

/// What the keeper does: waits for the end of the program that started it, and then for that of its commands.
pub(crate) fn keep_watch(watched: i32) -> Exit {
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
    let mut groups: Vec<Pid> = places
        .iter()
        .filter_map(|place| match place {
            Place::Group(group) => Some(*group),
            Place::Free | Place::Starting => None,
        })
        .collect();
    if places.contains(&Place::Starting) {
        groups.extend(orphans(watched.as_ref()));
    }
    groups.iter().for_each(|group| tell(*group, Signal::TERM));
    let due = Instant::now() + GRACE;
    groups.retain(|group| lives(*group));
    while !groups.is_empty() && Instant::now() < due {
        thread::sleep(BETWEEN_LOOKS);
        groups.retain(|group| lives(*group));
    }
    groups.iter().for_each(|group| tell(*group, Signal::KILL));
    Exit::AllDone
}

fn places(table: &File) -> Vec<Place> {
    let mut bytes = vec![0; table.metadata().map_or(0, |metadata| metadata.len()) as usize];
    if table.read_exact_at(&mut bytes, 0).is_err() {
        return Vec::new();
    }
    let place = |bytes: &[u8]| match i32::from_ne_bytes(bytes.try_into().expect("a chunk has four bytes")) {
        0 => Place::Free,
        ..0 => Place::Starting,
        number => Pid::from_raw(number).map_or(Place::Free, Place::Group),
    };
    bytes.chunks_exact(4).map(place).collect()
}

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
