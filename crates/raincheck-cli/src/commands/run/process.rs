//! The commands that run: each leads a process group of its own, so that all it starts can be ended with it.
//!
//! A worker thread starts a command and blocks until it ends; another one, that sleeps until a time limit is due, ends
//! those that overrun. Ending is `TERM`, and `KILL` for whatever is left of the job after a while: first its group, and when
//! its leader has gone also [what has left that](super::kin).
//!
//! Nothing here may keep `std` from starting commands by `posix_spawn`: no `pre_exec`, no user or group. A fork of this
//! program's memory would take longer than most of the commands do.

use std::collections::HashSet;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::keeper::{Keeper, Place};
use super::kin::{Kin, Looks, MARKS, Run, tell};

/// How soon, and then how often, it is looked whether what is left of a job has gone.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
const LONGEST_BETWEEN: Duration = Duration::from_millis(40);
/// What is killed is gone a moment later, and lets go of its files and ports only then; but a broken disk may hold it for ever.
const DYING: Duration = Duration::from_secs(1);

/// Everything that runs, by slot.
pub(super) struct Table {
    state: Mutex<State>,
    /// Announces that there is something to end.
    changed: Condvar,
    /// Held to write by who stops everything: nothing is started meanwhile.
    starting: RwLock<()>,
    keeper: Option<Keeper>,
    run: Run,
    looks: Looks,
    limit: Option<Duration>,
    grace: Duration,
}

struct State {
    slots: Vec<Slot>,
    stopped: Option<Signal>,
    /// Nothing will run any more.
    closed: bool,
}

#[derive(Default)]
struct Slot {
    taken: bool,
    /// What runs in it, from its start until it is about to be reaped: no longer, lest another process have its number.
    group: Option<Pid>,
    /// When it is to be ended, and next by force.
    due: Option<Instant>,
    ended: Option<Ended>,
}

/// Why a command was ended before its own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    TimedOut,
    Stopped,
    /// It wanted to read from the terminal or to set it, and would have waited for that for ever: it is in the background.
    AskedTerminal,
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waited {
    pub(super) status: ExitStatus,
    /// Whether it was ended from here: then all that it has started is gone.
    pub(super) ended: Option<Ended>,
}

/// A slot that is held. It is free again when this is dropped.
pub(super) struct Held<'t> {
    table: &'t Table,
    slot: usize,
    mark: u32,
}

impl Table {
    /// An empty table. Commands are given so long, and when they are told to end, so long again.
    pub(super) fn start(
        run: Run,
        keeper: Option<Keeper>,
        limit: Option<Duration>,
        grace: Duration,
    ) -> io::Result<Arc<Self>> {
        let state = Mutex::new(State { slots: Vec::new(), stopped: None, closed: false });
        let (changed, looks) = (Condvar::new(), Looks::new(run.clone()));
        let starting = RwLock::default();
        let table = Arc::new(Self { state, changed, starting, keeper, run, looks, limit, grace });
        let watched = Arc::clone(&table);
        thread::Builder::new().name("limits".into()).spawn(move || watched.watch())?;
        Ok(table)
    }

    /// Takes the lowest free slot; none, if everything is to stop.
    pub(super) fn enter(&self) -> Option<Held<'_>> {
        let mut state = self.state();
        if state.stopped.is_some() {
            return None;
        }
        let slot = state.slots.iter().position(|slot| !slot.taken).unwrap_or(state.slots.len());
        if slot == state.slots.len() {
            state.slots.push(Slot::default());
        }
        state.slots[slot] = Slot { taken: true, ..Slot::default() };
        Some(Held { table: self, slot, mark: self.run.new_mark() })
    }

    /// Passes a signal on to everything that runs, and lets nothing new begin.
    pub(super) fn stop(&self, signal: Signal) {
        let mut state = self.state();
        state.stopped = Some(signal);
        let due = Instant::now() + self.grace;
        for slot in &mut state.slots {
            slot.end(Ended::Stopped, signal, due);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Has everything that runs wait while `stop` stops this program, as Ctrl-Z does, and gives it that time back.
    pub(super) fn pause(&self, stop: &mut dyn FnMut()) {
        let _nothing_starts = self.starting.write().expect(NOT_POISONED);
        // Locked all the while: who watches the time must not wake up before the limits are moved.
        let mut state = self.state();
        let tell_all = |state: &State, signal| {
            for group in state.slots.iter().filter_map(|slot| slot.group) {
                // It may have ended.
                let _ = kill_process_group(group, signal);
            }
        };
        tell_all(&state, Signal::TSTP);
        let since = Instant::now();
        stop();
        let paused = since.elapsed();
        state.slots.iter_mut().filter_map(|slot| slot.due.as_mut()).for_each(|due| *due += paused);
        tell_all(&state, Signal::CONT);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().stopped.is_some()
    }

    /// Ends what watches over the commands: the thread that watches the time, and the keeper.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
        if let Some(keeper) = &self.keeper {
            keeper.dismiss();
        }
    }

    fn watch(&self) {
        let mut state = self.state();
        while !state.closed {
            let now = Instant::now();
            let stopped = state.stopped.is_some();
            for slot in &mut state.slots {
                if slot.due.is_some_and(|due| due <= now) {
                    match slot.ended {
                        None => slot.end(Ended::TimedOut, Signal::TERM, now + self.grace),
                        Some(_) => slot.kill(),
                    }
                }
            }
            let next = state.slots.iter().filter_map(|slot| slot.due).min();
            // What begins meanwhile is due no sooner than this: so nobody needs to wake this thread for it.
            let next = next.or(self.limit.filter(|_| !stopped).map(|limit| now + limit));
            state = match next {
                Some(next) => {
                    let wait = next.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(state, wait).expect(NOT_POISONED).0
                }
                None => self.changed.wait(state).expect(NOT_POISONED),
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(NOT_POISONED)
    }

    fn note(&self, slot: usize, place: Place) {
        if let Some(keeper) = &self.keeper {
            keeper.note(slot, place);
        }
    }
}

const NOT_POISONED: &str = "nothing panics while the table is locked";

impl Slot {
    fn end(&mut self, why: Ended, signal: Signal, due: Instant) {
        let (Some(group), None) = (self.group, self.ended) else { return };
        self.ended = Some(why);
        self.due = Some(due);
        tell(group, signal);
    }

    fn kill(&mut self) {
        self.due = None;
        if let Some(group) = self.group {
            tell(group, Signal::KILL);
        }
    }
}

impl Held<'_> {
    /// The number of the slot, from one.
    pub(super) fn number(&self) -> usize {
        self.slot + 1
    }

    /// Starts a command here.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub(super) fn start(&self, command: &mut Command) -> io::Result<Child> {
        let _nothing_is_paused = self.table.starting.read().expect(NOT_POISONED);
        // Said beforehand, since this program may be killed in the middle of it.
        self.table.note(self.slot, Place::Starting(self.mark));
        let child = match command.process_group(0).env(MARKS, self.table.run.marks_with(self.mark)).spawn() {
            Ok(child) => child,
            Err(error) => {
                self.table.note(self.slot, Place::Free);
                return Err(error);
            }
        };
        let group = group_of(&child);
        self.table.note(self.slot, Place::Running(self.mark, group));
        let mut state = self.table.state();
        let stopped = state.stopped;
        let slot = &mut state.slots[self.slot];
        slot.group = Some(group);
        slot.due = self.table.limit.map(|limit| Instant::now() + limit);
        if let Some(signal) = stopped {
            slot.end(Ended::Stopped, signal, Instant::now() + self.table.grace);
            self.table.changed.notify_all();
        }
        Ok(child)
    }

    /// Ends the command if it has been stopped since it wants the terminal.
    pub(super) fn end_if_it_asks(&self, child: &Child) {
        let stop = waitid(WaitId::Pid(group_of(child)), WaitIdOptions::STOPPED | WaitIdOptions::NOHANG);
        let by = stop.ok().flatten().and_then(|status| status.stopping_signal());
        if [Signal::TTIN, Signal::TTOU].map(|signal| Some(signal.as_raw())).contains(&by) {
            let due = Instant::now() + self.table.grace;
            self.table.state().slots[self.slot].end(Ended::AskedTerminal, Signal::TERM, due);
            self.table.changed.notify_all();
        }
    }

    /// Blocks until the command is over.
    pub(super) fn wait(&self, child: &mut Child) -> io::Result<Waited> {
        let group = group_of(child);
        // It stays a zombie, so that nobody can have its number until the table has forgotten it.
        let ends_or_stops = WaitIdOptions::EXITED | WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        loop {
            match waitid(WaitId::Pid(group), ends_or_stops) {
                Ok(Some(status)) if status.stopped() => self.end_if_it_asks(child),
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => break,
            }
        }
        let (ended, due) = {
            let mut state = self.table.state();
            let slot = &mut state.slots[self.slot];
            slot.group = None;
            (slot.ended, slot.due.take())
        };
        let status = child.wait()?;
        if ended.is_some() {
            self.table.sweep(Kin { mark: self.mark, group: Some(group) }, due.unwrap_or_else(Instant::now));
        }
        self.table.note(self.slot, Place::Free);
        Ok(Waited { status, ended })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.table.state().slots[self.slot].taken = false;
    }
}

fn group_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

impl Table {
    /// Waits until nothing is left of a job whose leader has gone; ends the rest by force when it is time.
    ///
    /// What has left its group has not heard of the end yet, and has its own time.
    fn sweep(&self, job: Kin, due: Instant) {
        let (mut is_killed, mut told, mut latest) = (false, HashSet::new(), due);
        let mut pause = BETWEEN_LOOKS;
        loop {
            let seen = self.looks.now();
            let left = seen.of(&[job]);
            let now = Instant::now();
            if left.is_empty() || now >= latest + DYING {
                return;
            }
            if now >= due && !is_killed {
                job.group.into_iter().for_each(|group| tell(group, Signal::KILL));
                is_killed = true;
            }
            for process in left.into_iter().filter(|process| !process.is_in(job.group)) {
                if told.is_empty() {
                    latest = due.max(now + self.grace);
                }
                match told.insert((process.pid, process.started)) {
                    _ if now >= latest => process.tell(Signal::KILL),
                    true => process.tell(Signal::TERM),
                    false => {}
                }
            }
            thread::sleep(pause);
            pause = LONGEST_BETWEEN.min(pause * 2);
        }
    }
}
