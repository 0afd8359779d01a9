//! The parent's end of one worker: the process, its socket, what it says on stderr.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io::{self, PipeWriter, Read, Write},
    mem,
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use rustix::process::Pid;

use super::{
    dispatch::{Act, Core},
    kin, limits, outlet,
    page::Page,
    poller::{Interest, Poller},
    serve::Hello,
    socket,
    wire::{Frame, HEAD, Inbox, Kind, Stranger, Whole, greeting},
};
use crate::{
    carry::{self, Away, Written},
    cell::Cancel,
    ear::Ear,
    event::Lane,
    segment::{Attached, Going, Held, Ledger, Peer},
    sync::{WHILE_AWAKE, spin_for_another},
    timer,
};

/// One worker, as its parent holds it.
pub(super) struct Link {
    /// Unlike any other of this pool, ever.
    pub(super) id: u64,
    pub(super) lane: Lane,
    pub(super) pid: u32,
    /// By which what it has started is found when it is gone.
    pub(super) mark: String,
    pub(super) page: Page,
    pub(super) socket: UnixStream,
    /// Says when the process ends, also if another one has the other end of the socket by then.
    end: Option<OwnedFd>,
    pool: Weak<Core>,
    /// A byte in it has the worker look at the page; its end tells the worker that the parent is gone.
    bell: PipeWriter,
    child: Mutex<Option<Child>>,
    pub(super) ledger: Ledger,
    out: Mutex<Outbox>,
    inbox: Mutex<Inbox>,
    acquaintance: Mutex<Acquaintance>,
    /// How often the worker had written when the socket was last read to its end.
    heard: AtomicU64,
    stderr: Mutex<Stderr>,
    /// Which thread it is that waits for a task and listens, if one does.
    attended_by: AtomicUsize,
    is_observed: AtomicBool,
    buried: AtomicBool,
    /// How many processes the system had killed for want of memory before this one.
    pub(super) oom_kills: Option<u64>,
}

/// What of a worker the poller says is ready: the remainder of the token.
pub(super) const TOKENS: u64 = 4;
pub(super) const STDERR: u64 = 1;
pub(super) const END: u64 = 2;

/// The number of no thread.
const NO_THREAD: usize = 0;

/// Whether the process has turned out to be a worker.
#[derive(Clone, Copy, Default)]
enum Acquaintance {
    /// It has not said anything.
    #[default]
    None,
    /// It has said that it is.
    Made,
    /// It is none, or not in time, and is done with.
    Refused(Stranger),
}

/// What was read, and what follows from it.
#[derive(Default)]
struct Received {
    whole: Whole,
    acts: Vec<Act>,
    /// Nothing more will come.
    is_over: bool,
    has_come: bool,
    may_be_more: bool,
    /// It rings before it writes, if nobody listens.
    is_acquainted: bool,
}

/// What is to be sent.
#[derive(Default)]
struct Outbox {
    chunks: VecDeque<Chunk>,
    /// How much of the first chunk is sent.
    sent: usize,
    /// Whether the socket is full, and the poller says when it is not.
    is_stuck: bool,
    /// Whether the system does not take it at the moment, and the clock says when to try again.
    is_held_up: bool,
}

enum Chunk {
    /// Frames, one after the other.
    Frames(Vec<u8>),
    /// A payload that is too large to be copied.
    Payload(Arc<Written>),
    /// A frame with which a descriptor goes.
    With(Vec<u8>, Held),
}

/// A payload that is larger is sent from where it is.
const LARGEST_COPIED: usize = 16 * 1024;

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Frames(bytes) | Self::With(bytes, _) => bytes,
            Self::Payload(written) => &written.bytes,
        }
    }
}

/// What a worker has written to stderr.
struct Stderr {
    pipe: Option<ChildStderr>,
    /// The end of it, for whoever asks what happened.
    last: Vec<u8>,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// It has said that it has no memory.
    is_in_need: bool,
}

/// How much of it is kept.
const LAST_BYTES: usize = 4096;
const LAST_LINES: usize = 10;

/// How often it is read before other workers have their turn: a pipe that is full is empty by then.
const MOST_READS: usize = 256;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// Starts a process. It is told who it is, and can be given tasks at once.
    pub(super) fn start(
        pool: Weak<Core>,
        id: u64,
        poller: &Poller,
        program: &OsStr,
        hello: &Hello,
        attached: &Attached,
    ) -> io::Result<Arc<Self>> {
        let (page, page_file) = Page::new()?;
        let (ours, theirs) = socket::pair()?;
        let (pipe, bell) = io::pipe()?;
        let mark = kin::new_mark();
        let mut child = Command::new(program)
            .arg0(format!("{}-{}", hello.0, hello.2))
            .env(kin::MARKS, kin::marks_with(&mark))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::piped())
            // So that a kill reaches what the tasks have started, and a Ctrl-C only the parent, who decides.
            .process_group(0)
            .spawn()?;
        let stderr = child.stderr.take();
        let link = Arc::new(Self {
            id,
            lane: Lane::new(hello.2 as usize),
            pid: child.id(),
            mark,
            page,
            socket: ours,
            end: end_of(&child),
            pool,
            bell,
            child: Mutex::new(Some(child)),
            ledger: Ledger::default(),
            out: Mutex::default(),
            inbox: Mutex::default(),
            acquaintance: Mutex::default(),
            heard: AtomicU64::new(0),
            stderr: Mutex::new(Stderr { pipe: stderr, last: Vec::new(), line: Vec::new(), is_in_need: false }),
            attended_by: AtomicUsize::new(NO_THREAD),
            is_observed: AtomicBool::new(false),
            buried: AtomicBool::new(false),
            oom_kills: limits::oom_kills(),
        });
        let said = link.introduce([page_file.as_fd(), pipe.as_fd(), poller.bell()], hello, attached);
        if let Err(error) = said {
            link.kill();
            drop(link.reap());
            return Err(error);
        }
        Ok(link)
    }

    fn introduce(self: &Arc<Self>, files: [BorrowedFd<'_>; 3], hello: &Hello, attached: &Attached) -> io::Result<()> {
        match socket::send_with(&self.socket, &greeting(), &files) {
            // It has ended already, which whoever listens to it will see.
            Ok(_) | Err(rustix::io::Errno::PIPE) => {}
            Err(error) => return Err(error.into()),
        }
        self.socket.set_nonblocking(true)?;
        if let Some(pipe) = &lock(&self.stderr).pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        let mut payload = Vec::new();
        carry::write(hello, &mut payload).map_err(io::Error::other)?;
        self.lend(attached)?;
        self.post(Frame { payload: &payload, ..Frame::new(Kind::Hello) })?;
        self.flush();
        Ok(())
    }

    /// Adds a frame to what is to be sent. [`flush`](Self::flush) sends it.
    pub(super) fn post(&self, frame: Frame<'_>) -> io::Result<()> {
        let head = frame.head()?;
        let mut out = lock(&self.out);
        let frames = out.frames();
        frames.extend_from_slice(&head);
        frames.extend_from_slice(frame.payload);
        Ok(())
    }

    /// The same for a call, whose bytes are sent from where they are if they are many.
    pub(super) fn post_call(self: &Arc<Self>, written: &Arc<Written>, task: u64, flags: u8) -> io::Result<()> {
        let frame = Frame { kind: Kind::Task, flags, entry: written.entry.number(), task, payload: &written.bytes };
        let head = frame.head()?;
        self.lend(&written.attached())?;
        if written.bytes.len() <= LARGEST_COPIED {
            return self.post(frame);
        }
        let mut out = lock(&self.out);
        out.frames().extend_from_slice(&head);
        out.chunks.push_back(Chunk::Payload(Arc::clone(written)));
        Ok(())
    }

    /// Posts what goes with the next task.
    fn lend(self: &Arc<Self>, attached: &Attached) -> io::Result<()> {
        if attached.is_empty() {
            return Ok(());
        }
        let (frames, keys) = self.ledger.lend(attached, &self.as_peer());
        for (frame, held) in frames {
            lock(&self.out).chunks.push_back(Chunk::With(with_descriptor(&frame)?, held));
        }
        self.post(Frame { payload: &keys, ..Frame::new(Kind::Lend) })
    }

    /// This worker, as segments know it.
    pub(super) fn as_peer(self: &Arc<Self>) -> Weak<dyn Peer> {
        let this: Weak<Self> = Arc::downgrade(self);
        this
    }

    /// Sends what the socket takes now; the poller sees to the rest.
    pub(super) fn flush(&self) {
        let mut out = lock(&self.out);
        let before = out.is_stuck;
        match out.send(&self.socket) {
            Ok(is_stuck) => out.is_stuck = is_stuck,
            Err(error) => {
                out.is_stuck = false;
                if socket::passes(error) {
                    self.flush_later(&mut out);
                } else {
                    out.give_up(&self.socket);
                }
            }
        }
        self.page.has_posted();
        if out.is_stuck != before {
            self.watch_for(&out);
        }
    }

    fn flush_later(&self, out: &mut Outbox) {
        if mem::replace(&mut out.is_held_up, true) {
            return;
        }
        let (pool, id) = (Weak::clone(&self.pool), self.id);
        timer::later(socket::WHILE, move || {
            if let Some(link) = pool.upgrade().and_then(|pool| pool.link(id)) {
                lock(&link.out).is_held_up = false;
                link.flush();
            }
        });
    }

    /// Has the poller look for what nobody else does.
    fn watch(&self) {
        self.watch_for(&lock(&self.out));
    }

    fn watch_for(&self, out: &Outbox) {
        if let Some(pool) = self.pool.upgrade() {
            let interest = Interest { read: self.page.is_polled(), write: out.is_stuck };
            pool.poller.change(self.socket.as_fd(), self.token(), interest);
        }
    }

    /// Has the calling thread listen. `false` if another one does.
    fn listen(&self, ear: &Ear) -> bool {
        let Some(was_polled) = self.page.listen() else { return false };
        self.attended_by.store(ear.number(), Ordering::Relaxed);
        if was_polled {
            self.watch();
        }
        true
    }

    /// Has the calling thread listen no longer. If it may, the worker rests: the poller comes when it is called.
    fn listen_no_longer(&self, may_rest: bool) {
        self.attended_by.store(NO_THREAD, Ordering::Relaxed);
        if !may_rest {
            self.page.leave_to_poller();
        } else if self.page.rest(self.heard.load(Ordering::Relaxed)) {
            return;
        }
        self.watch();
    }

    /// What the poller calls its socket; the next numbers are its stderr and its end.
    pub(super) fn token(&self) -> u64 {
        self.id * TOKENS
    }

    /// Has the poller listen to this worker.
    pub(super) fn list(&self, pool: &Core) -> io::Result<()> {
        let out = lock(&self.out);
        let interest = Interest { read: self.page.is_polled(), write: out.is_stuck };
        pool.poller.add(self.socket.as_fd(), self.token(), interest)?;
        if let Some(pipe) = &lock(&self.stderr).pipe {
            pool.poller.add(pipe.as_fd(), self.token() + STDERR, Interest { read: true, write: false })?;
        }
        if let Some(end) = &self.end {
            pool.poller.add(end.as_fd(), self.token() + END, Interest { read: true, write: false })?;
        }
        Ok(())
    }

    /// Has the poller listen no longer.
    pub(super) fn strike(&self, pool: &Core) {
        pool.poller.remove(self.socket.as_fd());
        if let Some(end) = &self.end {
            pool.poller.remove(end.as_fd());
        }
    }

    /// Has the poller listen, if the worker has called for it.
    pub(super) fn answer_call(&self) {
        if self.page.answer_call() {
            self.watch();
        }
    }

    /// Receives what has come, and does what follows from it. `false` if nothing more will come.
    pub(super) fn receive(self: &Arc<Self>, pool: &Core) -> bool {
        loop {
            let received = self.take_in(pool);
            let (is_over, may_be_more) = (received.is_over, received.may_be_more);
            self.act_upon(pool, received);
            if is_over || !may_be_more {
                return !is_over;
            }
        }
    }

    /// Receives all that has come, which with descriptors comes a piece at a time, however much room there is.
    pub(super) fn receive_all(self: &Arc<Self>, pool: &Core) {
        loop {
            let received = self.take_in(pool);
            let is_last = received.is_over || !received.has_come;
            self.act_upon(pool, received);
            if is_last {
                return;
            }
        }
    }

    /// Reads once, and has the pool take note of it in order.
    fn take_in(self: &Arc<Self>, pool: &Core) -> Received {
        let mut received = Received::default();
        let mut inbox = lock(&self.inbox);
        // What was said until now is there.
        let answered = self.page.answered();
        match inbox.read(&self.socket) {
            Ok(0) => received.is_over = true,
            Ok(_) => {
                received.has_come = true;
                // What comes after descriptors is not read in one go with them.
                received.may_be_more = inbox.is_full() || inbox.has_files();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => received.is_over = true,
        }
        if !received.may_be_more {
            self.heard.store(answered, Ordering::Relaxed);
        }
        self.ledger.receive(inbox.take_files());
        if !self.is_acquainted(&mut inbox) {
            received.is_over |= self.stranger().is_some();
            return received;
        }
        received.is_acquainted = true;
        let noted = inbox.take_whole().and_then(|whole| {
            let noted = if whole.is_empty() { Ok(()) } else { pool.note(self, &whole, &mut received.acts) };
            received.whole = whole;
            noted
        });
        // Who talks nonsense is done with.
        received.is_over |= noted.is_err();
        received
    }

    /// Whether it has said that it is a worker, which comes before all else.
    fn is_acquainted(&self, inbox: &mut Inbox) -> bool {
        let mut acquaintance = lock(&self.acquaintance);
        if let Acquaintance::None = *acquaintance {
            *acquaintance = match inbox.take_greeting() {
                Ok(true) => Acquaintance::Made,
                Ok(false) => Acquaintance::None,
                Err(stranger) => Acquaintance::Refused(stranger),
            };
        }
        matches!(*acquaintance, Acquaintance::Made)
    }

    /// What it is instead of a worker, if that is known.
    pub(super) fn stranger(&self) -> Option<Stranger> {
        match *lock(&self.acquaintance) {
            Acquaintance::Refused(stranger) => Some(stranger),
            Acquaintance::None | Acquaintance::Made => None,
        }
    }

    /// Waits no longer for it to say that it is a worker.
    pub(super) fn lose_patience(&self) {
        let mut acquaintance = lock(&self.acquaintance);
        if let Acquaintance::None = *acquaintance {
            *acquaintance = Acquaintance::Refused(Stranger::IsSilent);
            drop(acquaintance);
            self.kill();
        }
    }

    /// Does what follows from what was received: what is the users' happens while nobody is kept from receiving.
    fn act_upon(&self, pool: &Core, received: Received) {
        pool.perform(received.acts, &received.whole);
        lock(&self.inbox).give_back(received.whole);
    }

    /// Notes that a task is sent here that someone observes.
    pub(super) fn be_observed(&self) {
        self.is_observed.store(true, Ordering::SeqCst);
    }

    /// Reads what the worker writes to stderr, keeps the end of it, and passes whole lines on, as long as there is room for
    /// them. The rest waits in the pipe.
    pub(super) fn hear(self: &Arc<Self>, pool: &Core) {
        let mut stderr = lock(&self.stderr);
        for _ in 0..MOST_READS {
            let Some(pipe) = &stderr.pipe else { return };
            let this = Arc::downgrade(self);
            let hear_again = move || {
                if let Some(link) = this.upgrade() {
                    link.hear_again();
                }
            };
            if outlet::is_full(hear_again) {
                return pool.poller.remove(pipe.as_fd());
            }
            if !stderr.read(pool) {
                return;
            }
        }
    }

    /// Has the poller listen to stderr again.
    fn hear_again(&self) {
        // Whoever has it listen no longer holds this lock until it does not.
        if let (Some(pool), Some(pipe)) = (self.pool.upgrade(), &lock(&self.stderr).pipe) {
            // That it cannot would be for want of memory; then this is read when the worker is gone.
            let _ = pool.poller.add(pipe.as_fd(), self.token() + STDERR, Interest { read: true, write: false });
        }
    }

    /// Does the same with all that a worker has left that is gone, and waits until it is passed on, unless nobody reads it.
    pub(super) fn hear_out(&self, pool: &Core) {
        let mut stderr = lock(&self.stderr);
        // What it has started may write there still.
        for _ in 0..MOST_READS {
            if !stderr.read(pool) {
                break;
            }
        }
        stderr.close(pool);
        drop(stderr);
        outlet::settle();
    }

    /// The last lines on stderr.
    pub(super) fn last_words(&self) -> String {
        let stderr = lock(&self.stderr);
        let text = String::from_utf8_lossy(&stderr.last);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// Whether it has said on stderr that it has no memory.
    pub(super) fn is_in_need(&self) -> bool {
        lock(&self.stderr).is_in_need
    }

    /// Has the worker look who is asked to stop.
    pub(super) fn ask_to_stop(&self, task: u64) {
        self.page.ask_to_stop(task);
        let _ = (&self.bell).write(&[1]);
    }

    /// Kills the worker, and what its tasks have started.
    pub(super) fn kill(&self) {
        self.kill_by(kin::kill_with_children);
    }

    /// Kills the worker, and of what its tasks have started what has not left its group.
    pub(super) fn kill_group(&self) {
        self.kill_by(kin::kill_group);
    }

    fn kill_by(&self, kill: impl FnOnce(Pid)) {
        // The number is the worker's as long as nobody has reaped it, which needs the same lock.
        if let Some(child) = &*self.child()
            && let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        {
            kill(pid);
        }
    }

    /// The process, if nobody has reaped it.
    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        let mut child = lock(&self.child);
        // This program may reap whatever ends, or let the system do that; then another process may have its number.
        if self.end.as_ref().is_some_and(is_reaped) {
            *child = None;
        }
        child
    }

    /// Says whether the worker has ended, and how. Does not block.
    pub(super) fn try_reap(&self) -> Option<io::Result<ExitStatus>> {
        let mut child = self.child();
        let Some(process) = &mut *child else { return Some(Err(io::ErrorKind::NotFound.into())) };
        match process.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => {
                *child = None;
                Some(Ok(status))
            }
            Err(error) => {
                // Someone else has reaped it, and its number is free.
                *child = None;
                Some(Err(error))
            }
        }
    }

    /// Blocks until the worker, which has been killed, has ended.
    pub(super) fn reap(&self) -> io::Result<ExitStatus> {
        let child = self.child().take();
        child.ok_or(io::ErrorKind::NotFound)?.wait()
    }

    /// Says, to the first who asks, that the end of this worker is theirs to see to.
    pub(super) fn is_first_at_grave(&self) -> bool {
        !self.buried.swap(true, Ordering::SeqCst)
    }
}

impl Away for Link {
    fn has_begun(&self, number: u64) -> bool {
        self.page.has_started(number)
    }

    fn withdraw(&self, number: u64) -> bool {
        self.page.withdraw(number)
    }

    fn stop(&self, number: u64) -> Cancel {
        self.pool.upgrade().map_or(Cancel::TooLate, |pool| pool.stop(self.id, number))
    }

    fn attend(self: Arc<Self>, until: Option<Instant>, is_done: &dyn Fn() -> bool, ear: &Ear) {
        let Some(pool) = self.pool.upgrade() else { return };
        // A callback that this thread runs, because it has received a value, may wait in its turn.
        let is_nested = self.attended_by.load(Ordering::Relaxed) == ear.number();
        while !is_done() && until.is_none_or(|until| Instant::now() < until) {
            if !is_nested {
                // What an observer sees is in order only if one thread says all of it, which is the poller's.
                let is_observed = self.is_observed.load(Ordering::SeqCst);
                if is_observed || !self.listen(ear) {
                    return;
                }
            }
            // A short task is answered sooner than a thread falls asleep.
            let has_come = || self.page.answered() != self.heard.load(Ordering::Relaxed) || is_done();
            let is_there = spin_for_another(WHILE_AWAKE, has_come) || ear.sleep(&self.socket, until, is_done);
            let received = if is_there { self.take_in(&pool) } else { Received::default() };
            let (is_over, may_rest) = (received.is_over, received.is_acquainted);
            // Others may receive while this thread is busy with what is the users', unless that would be seen.
            let keeps = is_nested || self.is_observed.load(Ordering::SeqCst);
            if !keeps {
                self.listen_no_longer(may_rest);
            }
            self.act_upon(&pool, received);
            if keeps && !is_nested {
                self.listen_no_longer(false);
            }
            if is_over {
                return pool.bury(&self);
            }
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn end_of(child: &Child) -> Option<OwnedFd> {
    use rustix::process::{PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(i32::try_from(child.id()).ok()?)?;
    // Without one, which is so before Linux 5.3, the socket has to do.
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Whether the process is gone, and its number free.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_reaped(process: &OwnedFd) -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    waitid(WaitId::PidFd(process.as_fd()), look).is_err_and(|error| error == rustix::io::Errno::CHILD)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn end_of(_child: &Child) -> Option<OwnedFd> {
    None
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_reaped(_process: &OwnedFd) -> bool {
    false
}

impl Peer for Link {
    fn give_back(&self, key: u64) {
        let _ = self.post(Frame { task: key, ..Frame::new(Kind::GiveBack) });
        self.flush();
    }

    fn forget(&self, key: u64) {
        let _ = self.post(Frame { task: key, ..Frame::new(Kind::Forget) });
        self.flush();
    }
}

/// The frame with which a descriptor goes.
pub(super) fn with_descriptor(going: &Going) -> io::Result<Vec<u8>> {
    match going {
        Going::Shown { key, size } => {
            let size = size.to_le_bytes();
            let frame = Frame { task: *key, payload: &size, ..Frame::new(Kind::Show) };
            Ok([&frame.head()?[..], &size].concat())
        }
        Going::Handed { key } => Ok(Frame { task: *key, ..Frame::new(Kind::Hand) }.head()?.to_vec()),
    }
}

/// Sends bytes, and with them a descriptor.
pub(super) fn send_with(socket: &UnixStream, bytes: &[u8], held: &Held) -> rustix::io::Result<usize> {
    socket::send_with(socket, bytes, held.file().as_slice())
}

impl Outbox {
    /// The frames that are not sent, to which one can be added.
    fn frames(&mut self) -> &mut Vec<u8> {
        if !matches!(self.chunks.back(), Some(Chunk::Frames(_))) {
            self.chunks.push_back(Chunk::Frames(Vec::with_capacity(4 * HEAD)));
        }
        match self.chunks.back_mut() {
            Some(Chunk::Frames(frames)) => frames,
            Some(Chunk::Payload(_) | Chunk::With(..)) | None => {
                unreachable!("the last chunk was just made to be of frames")
            }
        }
    }

    /// Sends as much as the socket takes. Says whether something is left.
    fn send(&mut self, socket: &UnixStream) -> rustix::io::Result<bool> {
        while let Some(chunk) = self.chunks.front() {
            let rest = &chunk.bytes()[self.sent..];
            if rest.is_empty() {
                self.sent = 0;
                match self.chunks.pop_front() {
                    // The memory serves again.
                    Some(Chunk::Frames(mut frames)) if self.chunks.is_empty() && frames.capacity() <= 1 << 20 => {
                        frames.clear();
                        self.chunks.push_back(Chunk::Frames(frames));
                        return Ok(false);
                    }
                    _ => continue,
                }
            }
            // The descriptor goes with the first byte.
            let sent = match chunk {
                Chunk::With(_, held) if self.sent == 0 => send_with(socket, rest, held),
                _ => socket::send(socket, rest),
            };
            match sent {
                Ok(count) => self.sent += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Sends nothing more. As a rule the worker is gone, which whoever reads sees too; if not, it is told that nothing will
    /// come, and goes.
    fn give_up(&mut self, socket: &UnixStream) {
        self.chunks.clear();
        self.sent = 0;
        let _ = socket.shutdown(Shutdown::Write);
    }
}

impl Stderr {
    fn take(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(bytes);
        let excess = self.last.len().saturating_sub(LAST_BYTES);
        self.last.drain(..excess);
        self.line.extend_from_slice(bytes);
        self.pass_on(false);
    }

    /// Passes on what is whole, or all of it.
    fn pass_on(&mut self, all: bool) {
        let end = match self.line.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) if !all && self.line.len() < LAST_BYTES => newline + 1,
            None if !all && self.line.len() < LAST_BYTES => 0,
            _ => self.line.len(),
        };
        if end > 0 {
            self.is_in_need |= limits::says_need(&String::from_utf8_lossy(&self.line[..end]));
            outlet::put(&self.line[..end]);
            self.line.drain(..end);
        }
    }

    /// Reads once. `false` if nothing has come, or nothing more will.
    fn read(&mut self, pool: &Core) -> bool {
        let mut bytes = [0; 4096];
        let Some(pipe) = &mut self.pipe else { return false };
        match pipe.read(&mut bytes) {
            Ok(count) if count > 0 => self.take(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(_) | Err(_) => {
                self.close(pool);
                return false;
            }
        }
        true
    }

    fn close(&mut self, pool: &Core) {
        if let Some(pipe) = self.pipe.take() {
            pool.poller.remove(pipe.as_fd());
        }
        self.pass_on(true);
    }
}
