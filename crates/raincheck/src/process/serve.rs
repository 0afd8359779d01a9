//! A worker's side: this program, started again to run tasks for another process.
//!
//! One thread reads calls and makes them, one after the other. The main thread does nothing but listen to a pipe whose
//! other end the parent holds: a byte in it says that a task is asked to stop; its end says that the parent is gone,
//! however it went, and then this process ends with all that its tasks have started.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    env,
    io::{self, Read, Write},
    mem,
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixStream,
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags},
};

use super::{
    boot, fork, kin,
    limits::{LimitParts, Limits},
    link::{send_with, with_descriptor},
    page::Page,
    poller::ring,
    socket,
    wire::{FAILED, FILES, Frame, GREETING, GROUP, HEAD, Inbox, Kind, OBSERVED, SPENT, Whole, greeting, is_greeted},
};
use crate::{
    carry::{self, Entry, Order, Steps},
    cell::{Flags, Inside, OnCancel},
    context::{self, Home, Host, State},
    counted::{Counted, lend},
    error::Outcome,
    event::Lane,
    panics,
    segment::{self, Attached, Ledger, Peer},
    sync::{WHILE_AWAKE, spin_for_another},
};

/// How a worker makes itself ready: its name, a number that no other worker of the pool has, its lane, the calls that
/// do it, and its limits.
pub(super) type Hello = (String, u64, u32, Option<Prepared>, Option<Prepared>, LimitParts);

/// A call that every worker makes once: the function's name, its signature, and the arguments.
pub(super) type Prepared = (String, String, Vec<u8>);

/// How often a task's progress is passed on at most.
const PROGRESS_PERIOD: Duration = Duration::from_millis(20);

/// Serves, if this process was started to be a worker, and then never returns; otherwise does nothing.
///
/// A program need not call this: it happens before `main`. Only where it does not, because the system that the
/// program is built for has no such thing, is it called first in `main`.
pub fn serve_if_worker() {
    let marks = env::var_os(kin::MARKS).unwrap_or_default();
    let Some((mark, parent)) = kin::own_mark(&marks) else { return };
    // A process that one of a worker's tasks starts has the variable too, but not the socket.
    if !is_called_by(parent) {
        return;
    }
    match serve(mark, parent) {
        Ok(never) => match never {},
        Err(error) => {
            let _ = writeln!(io::stderr(), "raincheck: this worker cannot serve: {error}");
            leave(1);
        }
    }
}

enum Never {}

/// Whether the standard input is the socket of a parent that started this process as a worker.
fn is_called_by(parent: i32) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        rustix::net::sockopt::socket_peercred(rustix::stdio::stdin())
            .is_ok_and(|peer| peer.pid.as_raw_nonzero().get() == parent)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent)
            && rustix::net::sockopt::socket_type(rustix::stdio::stdin()).is_ok()
    }
}

#[expect(clippy::exit, reason = "a worker has no `main` that it could return to")]
fn leave(code: i32) -> ! {
    process::exit(code)
}

fn serve(mark: &str, parent: i32) -> io::Result<Never> {
    boot::arrange_signals();
    fork::watch()?;
    panics::note_places();
    let socket = UnixStream::from(take_stdin()?);
    // Before the parent hears anything, so that it cannot have gone on to end unseen.
    let end_of_parent = end_of(parent)?;
    (&socket).write_all(&greeting())?;
    let [page_file, bell, pollers_bell] = receive_descriptors(&socket)?;
    let page = Arc::new(Page::map(page_file.as_fd())?);
    // So that no task can write to it that writes to all that is open.
    drop(page_file);
    let mut worker = Worker {
        line: Arc::new(Line {
            socket,
            writing: Mutex::new(()),
            pollers_bell,
            ledger: Ledger::default(),
            page,
            desk: Mutex::new(None),
            mark: mark.to_owned(),
        }),
        inbox: Inbox::default(),
        seen: 0,
        patience: Patience::default(),
        entries: Vec::new(),
        limits: Limits::default(),
        is_spent: false,
        out: Vec::new(),
    };
    let line = Arc::clone(&worker.line);
    let (hello, first) = worker.hear_hello()?;
    segment::number_as(hello.1);
    thread::Builder::new()
        .name(format!("{}-{}", hello.0, hello.2))
        // As much as a main thread has.
        .stack_size(8 * 1024 * 1024)
        .spawn(move || {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            super::stack::watch();
            match worker.work(&hello, first) {
                Ok(()) => leave(0),
                Err(error) => worker.line.end_because_of(&error),
            }
        })?;
    listen(bell, end_of_parent, &line)
}

/// Takes the parent's socket from where it was put, and leaves nothing there for the tasks to read.
fn take_stdin() -> io::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let nothing = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(nothing)?;
    Ok(socket)
}

/// Receives the parent's greeting, and what cannot be said in bytes: the page, the pipe to listen to, and the bell to ring
/// if nobody listens here.
fn receive_descriptors(socket: &UnixStream) -> io::Result<[OwnedFd; 3]> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let mut greeting = [0; GREETING];
    let mut descriptors = Vec::new();
    let come = rustix::io::retry_on_intr(|| socket::receive(socket, &mut greeting, &mut descriptors))?;
    let mut socket = socket;
    socket.read_exact(&mut greeting[come..])?;
    is_greeted(&greeting).map_err(|stranger| invalid(format!("who has started it is no parent for it: {stranger}")))?;
    let descriptors: Vec<OwnedFd> = descriptors.into_iter().flatten().collect();
    <[OwnedFd; 3]>::try_from(descriptors).map_err(|_| invalid("the parent has sent no descriptors".into()))
}

/// Says when the parent ends, also if a process that it has forked has the other end of the pipe still. `None` if that
/// cannot be known, and the pipe has to do. An `Err` says that it has ended already.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn end_of(parent: i32) -> io::Result<Option<OwnedFd>> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let Some(parent) = Pid::from_raw(parent) else { return Ok(None) };
    match pidfd_open(parent, PidfdFlags::empty()) {
        Ok(end) => Ok(Some(end)),
        Err(error @ rustix::io::Errno::SRCH) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn end_of(_parent: i32) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

/// The life of the main thread.
fn listen(bell: OwnedFd, end_of_parent: Option<OwnedFd>, line: &Line) -> ! {
    let mut byte = [0];
    let mut files: Vec<_> =
        [&bell].into_iter().chain(&end_of_parent).map(|it| PollFd::new(it, PollFlags::IN)).collect();
    loop {
        match poll(&mut files, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => line.end_with_all(),
        }
        if files[1..].iter().any(|end| !end.revents().is_empty()) {
            line.end_with_all();
        }
        match rustix::io::read(&bell, &mut byte) {
            Ok(0) => line.end_with_all(),
            Ok(_) => {
                let desk = line.desk().clone();
                if let Some(desk) = desk
                    && desk.task == line.page.asked_to_stop()
                {
                    desk.stop();
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => line.end_with_all(),
        }
    }
}

/// What the two threads of a worker share.
struct Line {
    socket: UnixStream,
    /// Held by whoever writes a frame: a blob may be dropped by any thread.
    writing: Mutex<()>,
    /// Rung before that, if nobody listens.
    pollers_bell: OwnedFd,
    ledger: Ledger,
    page: Arc<Page>,
    /// The task that is being done.
    desk: Mutex<Option<Counted<Desk>>>,
    mark: String,
}

impl Line {
    /// Ends this process and all that its tasks have started: nobody is left whom they could serve.
    fn end_with_all(&self) -> ! {
        kin::kill_marked(std::slice::from_ref(&self.mark));
        // There is no group of this number unless this process leads it.
        kin::kill_with_children(rustix::process::getpid());
        leave(1);
    }

    /// Does the same, and says why if it is not that the parent is gone.
    fn end_because_of(&self, error: &io::Error) -> ! {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        if !matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset) {
            let _ = writeln!(io::stderr(), "raincheck: this worker cannot go on: {error}");
        }
        self.end_with_all()
    }

    fn desk(&self) -> MutexGuard<'_, Option<Counted<Desk>>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, frame: Frame<'_>) -> io::Result<()> {
        let mut bytes = frame.head()?.to_vec();
        bytes.extend_from_slice(frame.payload);
        self.write(&bytes)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.write_by(|mut socket| socket.write_all(bytes))
    }

    fn write_by(&self, write: impl FnOnce(&UnixStream) -> io::Result<()>) -> io::Result<()> {
        fork::end_if_copy();
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.page.is_to_ring() {
            ring(&self.pollers_bell);
        }
        write(&self.socket)?;
        self.page.has_answered();
        Ok(())
    }

    /// Sends what goes with the next answer.
    fn lend(self: &Arc<Self>, attached: &Attached) -> io::Result<()> {
        if attached.is_empty() {
            return Ok(());
        }
        let (frames, keys) = self.ledger.lend(attached, &self.as_peer());
        for (frame, held) in frames {
            let bytes = with_descriptor(&frame)?;
            self.write_by(|mut socket| {
                let sent = loop {
                    match rustix::io::retry_on_intr(|| send_with(socket, &bytes, &held)) {
                        Err(error) if socket::passes(error) => thread::sleep(socket::WHILE),
                        sent => break sent?,
                    }
                };
                socket.write_all(&bytes[sent..])
            })?;
        }
        self.send(Frame { payload: &keys, ..Frame::new(Kind::Lend) })
    }

    /// The parent, as segments know it.
    fn as_peer(self: &Arc<Self>) -> Weak<dyn Peer> {
        let this: Weak<Self> = Arc::downgrade(self);
        this
    }

    /// Takes note of a frame about segments; `false` if it is another.
    fn note(self: &Arc<Self>, frame: &Frame<'_>) -> io::Result<bool> {
        match frame.kind {
            Kind::Show => self.ledger.show(frame.task, super::number(frame.payload)?)?,
            Kind::Hand => self.ledger.hand(frame.task)?,
            Kind::Lend => self.ledger.borrow(frame.payload, &self.as_peer())?,
            Kind::GiveBack => self.ledger.take_back(frame.task),
            Kind::Forget => self.ledger.forget(frame.task),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Peer for Line {
    fn give_back(&self, key: u64) {
        // If the parent is gone, the other thread sees it too.
        let _ = self.send(Frame { task: key, ..Frame::new(Kind::GiveBack) });
    }

    fn forget(&self, key: u64) {
        let _ = self.send(Frame { task: key, ..Frame::new(Kind::Forget) });
    }
}

/// A task as it sees itself while this worker does it.
struct Desk {
    task: u64,
    flags: Flags,
    on_cancel: Mutex<Option<OnCancel>>,
    /// To whom its progress is told, if to anyone.
    observed_by: Option<Arc<Line>>,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    sent: Option<Instant>,
    unsent: Option<u64>,
}

impl Desk {
    fn stop(&self) {
        self.flags.ask_to_stop();
        let hook = self.on_cancel.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(hook) = hook {
            panics::contain(|| {
                hook();
            });
        }
    }

    fn tell(&self, line: &Line, done: u64) {
        let payload = &done.to_le_bytes();
        // If the parent is gone, the other thread sees it too.
        let _ = line.send(Frame { task: self.task, payload, ..Frame::new(Kind::Progress) });
    }

    /// Tells what has not been told. The last word on progress counts.
    fn finish(&self) {
        let unsent = self.progress.lock().unwrap_or_else(PoisonError::into_inner).unsent.take();
        if let (Some(line), Some(done)) = (&self.observed_by, unsent) {
            self.tell(line, done);
        }
    }
}

impl Inside for Desk {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn flags(&self) -> &Flags {
        &self.flags
    }

    fn overrun(&self, _limit: Duration) -> bool {
        // The parent has the clock.
        false
    }

    fn on_cancel(&self, hook: OnCancel) {
        *self.on_cancel.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    fn progress(&self, done: u64) {
        let Some(line) = &self.observed_by else { return };
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if progress.sent.is_some_and(|sent| now - sent < PROGRESS_PERIOD) {
            progress.unsent = Some(done);
            return;
        }
        *progress = Progress { sent: Some(now), unsent: None };
        drop(progress);
        self.tell(line, done);
    }
}

/// The thread that does the tasks is a worker of no executor of this process.
struct Elsewhere;

impl Host for Elsewhere {
    fn home(&self) -> Home {
        Home::NONE
    }

    fn blocked(&self) {}

    fn unblocked(&self) {}
}

/// The thread that does the tasks.
struct Worker {
    line: Arc<Line>,
    inbox: Inbox,
    /// How often the parent had written when the socket was last read.
    seen: u64,
    patience: Patience,
    /// What the parent's numbers mean here; an `Err` says why there is no such function.
    entries: Vec<Option<Result<&'static Entry, String>>>,
    limits: Limits,
    /// It has too much memory, and is to go.
    is_spent: bool,
    /// Used again for each answer.
    out: Vec<u8>,
}

/// How long a worker looks for more to do before it sleeps: not at all for a while after it looked in vain, and the longer
/// the more often that was.
///
/// The look after that is a long one. Where the two sides sleep on different processors, each wakes too late for the other's
/// short look, turn after turn, though both would be quick; once one of them stays awake for the other, they are.
#[derive(Default)]
struct Patience {
    /// How many waits it does not look.
    pause: u32,
    /// How often it looked in vain since a short look was not.
    vain: u32,
    is_next_long: bool,
}

/// How long it takes to be woken and then to submit a task, and some more.
const WHILE_WOKEN: Duration = Duration::from_micros(150);

impl Patience {
    fn wait(&mut self, has_come: impl FnMut() -> bool) {
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        let is_long = mem::take(&mut self.is_next_long);
        match spin_for_another(if is_long { WHILE_WOKEN } else { WHILE_AWAKE }, has_come) {
            // What comes next tells whether it was worth it.
            true if is_long => {}
            true => self.vain = 0,
            false => {
                self.vain = (self.vain + 1).min(6);
                self.pause = (1 << self.vain) - 1;
                self.is_next_long = true;
            }
        }
    }
}

/// An answer's memory that is larger is given back.
const LARGEST_KEPT: usize = 8 * 1024 * 1024;

impl Worker {
    /// Reads on; an `Err` says that the parent is gone.
    fn read(&mut self) -> io::Result<Whole> {
        loop {
            self.disregard_what_is_read()?;
            self.patience.wait(|| self.line.page.posted() != self.seen);
            self.seen = self.line.page.posted();
            if self.inbox.read(&self.line.socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.line.ledger.receive(self.inbox.take_files());
            let whole = self.inbox.take_whole()?;
            if !whole.is_empty() {
                return Ok(whole);
            }
        }
    }

    /// Notes that the parent's writes until now are all read. It counts a write only when that is done, of which this thread,
    /// if it slept, has heard before; what it had read would seem to be more to come, and it would sleep again.
    fn disregard_what_is_read(&mut self) -> io::Result<()> {
        let posted = self.line.page.posted();
        if posted != self.seen && rustix::io::ioctl_fionread(&self.line.socket)? == 0 {
            self.seen = posted;
        }
        Ok(())
    }

    /// Reads who this worker is, and what else has come with that.
    fn hear_hello(&mut self) -> io::Result<(Hello, Whole)> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        loop {
            let mut whole = self.read()?;
            let mut rest = &whole[..];
            while let Some(frame) = Frame::split_from(&mut rest)? {
                if self.line.note(&frame)? {
                    continue;
                }
                if frame.kind != Kind::Hello {
                    return Err(invalid(format!("the parent says {:?} before it says who it is", frame.kind)));
                }
                let hello = carry::read(frame.payload).map_err(invalid)?;
                let rest = rest.len();
                whole.keep_last(rest);
                return Ok((hello, whole));
            }
        }
    }

    /// Does what comes, until the parent says that nothing more will.
    fn work(&mut self, (_, _, lane, prepare, state, limits): &Hello, first: Whole) -> io::Result<()> {
        let lane = Lane::new(*lane as usize);
        let worker = context::become_worker(Arc::new(Elsewhere), lane, None);
        #[cfg(feature = "tokio")]
        crate::drive::runtime::provide();
        self.limits = Limits::of(*limits);
        self.limits.begin()?;
        let attached = self.line.ledger.take_next();
        let prepared = prepare.as_ref().map_or(Ok(()), |call| keep(call, &attached).map(panics::discard));
        let state = prepared.and_then(|()| state.as_ref().map(|call| keep(call, &attached)).transpose());
        drop(attached);
        let state = match state {
            Ok(state) => state,
            Err(why) => {
                self.line.send(Frame { payload: why.as_bytes(), ..Frame::new(Kind::Broken) })?;
                return Ok(());
            }
        };
        drop(worker);
        let worker = context::become_worker(Arc::new(Elsewhere), lane, state);
        self.line.send(Frame::new(Kind::Ready))?;
        let mut whole = first;
        loop {
            let mut rest = &whole[..];
            while let Some(frame) = Frame::split_from(&mut rest)? {
                if self.line.note(&frame)? {
                    continue;
                }
                match frame.kind {
                    Kind::Task => self.answer(&frame)?,
                    Kind::Define => self.define(&frame),
                    Kind::Bye => {
                        // With it goes the worker's state, which is the user's.
                        panics::discard(worker);
                        return Ok(());
                    }
                    kind => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{kind:?} to a worker"))),
                }
            }
            self.inbox.give_back(whole);
            whole = self.read()?;
        }
    }

    fn define(&mut self, frame: &Frame<'_>) {
        let entry = match carry::read::<(String, String)>(frame.payload) {
            Ok((name, signature)) => carry::find(&name, &signature),
            Err(why) => Err(why),
        };
        let number = frame.entry as usize;
        if self.entries.len() <= number {
            self.entries.resize_with(number + 1, || None);
        }
        self.entries[number] = Some(entry);
    }

    fn answer(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        let task = frame.task;
        let came_with = self.line.ledger.take_next();
        // The parent gives it to another.
        if self.is_spent || !self.line.page.start(task) {
            return self.line.send(Frame { task, ..Frame::new(Kind::Skipped) });
        }
        let is_observed = frame.flags & OBSERVED != 0;
        if is_observed || frame.flags & FILES != 0 {
            self.line.send(Frame { task, ..Frame::new(Kind::Started) })?;
        }
        let mut out = mem::take(&mut self.out);
        out.clear();
        out.extend_from_slice(&[0; HEAD]);
        let lent = RefCell::new(Vec::new());
        let outcome = match self.entries.get(frame.entry as usize) {
            Some(Some(Ok(entry))) => self.perform(entry, frame, came_with, &lent, &mut out),
            Some(Some(Err(why))) => Err(crate::TaskError::not_carried(why.as_str())),
            Some(None) | None => Err(crate::TaskError::not_carried("the parent has not said what function it means")),
        };
        let mut failed = outcome.err();
        if failed.is_none() && u32::try_from(out.len()).is_err() {
            failed = Some(crate::TaskError::not_carried(format!("its value is too large: {}", carry::TOO_LARGE)));
        }
        if let Some(error) = &failed {
            out.truncate(HEAD);
            carry::write_error(error, &mut out);
        }
        let mut flags = if failed.is_some() { FAILED } else { 0 };
        self.is_spent = self.limits.are_passed();
        flags |= if self.is_spent { SPENT } else { 0 };
        if !self.line.page.finish(task) {
            // The kill is on its way, or the end of the parent.
            loop {
                thread::park();
            }
        }
        let head = Frame { task, flags, payload: &out[HEAD..], ..Frame::new(Kind::Done) }.head()?;
        out[..HEAD].copy_from_slice(&head);
        self.line.lend(&lent.take())?;
        let sent = self.line.write(&out);
        if out.capacity() <= LARGEST_KEPT {
            self.out = out;
        }
        sent
    }

    fn perform(
        &self,
        entry: &Entry,
        frame: &Frame<'_>,
        came_with: Attached,
        lent: &RefCell<Attached>,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        let is_observed = frame.flags & OBSERVED != 0;
        let desk = Counted::new(Desk {
            task: frame.task,
            flags: Flags::new(),
            on_cancel: Mutex::new(None),
            observed_by: is_observed.then(|| Arc::clone(&self.line)),
            progress: Mutex::default(),
        });
        *self.line.desk() = Some(desk.clone());
        // It may have been asked to stop before this thread came here.
        if self.line.page.asked_to_stop() == frame.task {
            desk.stop();
        }
        let inside = lend!(&desk => dyn Inside);
        let outcome = context::inside(&inside, || {
            let group = Group {
                line: &self.line,
                task: frame.task,
                lent,
                limits: self.limits,
                sent: Cell::new(0),
                noted: Cell::new(0),
            };
            let is_group = frame.flags & GROUP != 0;
            self.limits.begin_task();
            let order = Order {
                bytes: frame.payload,
                group: is_group.then_some(&group),
                came_with: RefCell::new(came_with),
                to: Some(&self.line.as_peer()),
                attach: &|more| lent.borrow_mut().extend(more),
            };
            let outcome = (entry.answer)(order, out);
            fork::end_if_copy();
            self.limits.end_task();
            outcome
        });
        *self.line.desk() = None;
        desk.finish();
        outcome
    }
}

/// A group of inputs on its way through this worker, which may die in any of them.
struct Group<'a> {
    line: &'a Arc<Line>,
    task: u64,
    /// What goes with the answers that are not sent.
    lent: &'a RefCell<Attached>,
    limits: Limits,
    /// How many answers are sent.
    sent: Cell<usize>,
    /// How much of the journal is filled with others.
    noted: Cell<usize>,
}

impl Steps for Group<'_> {
    fn begin(&self, place: usize) {
        self.line.page.set_input(place);
        if place > 0 {
            self.limits.begin_task();
        }
    }

    fn end(&self, place: usize, out: &mut Vec<u8>, first: usize, last: usize) {
        fork::end_if_copy();
        let mut noted = self.noted.get();
        let lent = self.lent.take();
        if lent.is_empty() && self.line.page.note(&out[last..], &mut noted) {
            return self.noted.set(noted);
        }
        let before = u32::try_from(self.sent.get()).unwrap_or(u32::MAX);
        let part = Frame { task: self.task, entry: before, payload: &out[first..], ..Frame::new(Kind::Part) };
        // If the parent is gone, the other thread sees it too.
        let _ = self.line.lend(&lent).and_then(|()| self.line.send(part));
        out.truncate(first);
        self.sent.set(place + 1);
        self.noted.set(0);
        self.line.page.turn_over(place + 1);
    }
}

/// Makes one of the calls that make a worker ready, and keeps its value.
fn keep((name, signature, args): &Prepared, came_with: &Attached) -> Result<State, String> {
    let entry = carry::find(name, signature)?;
    (entry.keep)(args, came_with).map_err(|error| error.to_string())
}
