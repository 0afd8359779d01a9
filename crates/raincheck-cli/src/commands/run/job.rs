//! One job: start the command, wait for it, and hand on what it printed and how it ended.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use signal_hook::low_level::signal_name;

use super::command::Plan;
use super::gate::Gate;
use super::halt::{Halt, Tally, When};
use super::joblog::Line;
use super::output::{Output, Printed, Shown, Spool, Stream, Trouble};
use super::process::{Ended, Held, Table, Waited};
use super::results::Folder;
use super::template::{Values, Word};
use crate::batch::{Again, Done, Failure, Tried};
use crate::interrupt::Interrupt;
use crate::report::event::Status;
use crate::report::{Attempt, figures};

/// Larger blocks go to a command by way of the disk.
const IN_MEMORY: usize = 64 * 1024 * 1024;

/// How often a command is looked at that says nothing.
const BETWEEN_LOOKS: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// What one job is about.
#[derive(Debug)]
pub(super) struct Input {
    /// Its number, from one, among all inputs.
    pub(super) number: u64,
    /// Its place, from zero, among those that are run.
    pub(super) turn: u64,
    pub(super) args: Vec<Vec<u8>>,
    /// What goes to its stdin.
    pub(super) block: Option<Vec<u8>>,
}

/// Where a command's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is shown together, when the command is over.
    Grouped,
    /// Each line as it comes.
    Lines,
    /// The command writes to our stdout and stderr itself.
    Ungrouped,
}

/// What all jobs have in common.
pub(super) struct Jobs {
    pub(super) plan: Plan,
    pub(super) table: Arc<Table>,
    pub(super) output: Output,
    pub(super) gate: Gate,
    pub(super) mode: Mode,
    pub(super) tag: Option<Word>,
    pub(super) logs: bool,
    pub(super) results: Option<(PathBuf, Vec<Vec<u8>>)>,
    pub(super) halt: Option<Halt>,
    pub(super) retries: u32,
    pub(super) limit: Option<Duration>,
    pub(super) interrupt: Interrupt,
    pub(super) nothing: File,
    pub(super) state: Stopping,
}

/// Whether to go on.
#[derive(Default)]
pub(super) struct Stopping {
    tally: Mutex<Tally>,
    total: OnceLock<Box<dyn Fn() -> Option<u64> + Send + Sync>>,
    /// Ends the inputs.
    end_inputs: OnceLock<Box<dyn Fn() + Send + Sync>>,
    halted: AtomicBool,
    trouble: Mutex<Option<Trouble>>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
struct Ending {
    /// As the log has them: -1 if it ran out of time, and what a shell says if it could not be started.
    exit: i32,
    signal: i32,
    start: SystemTime,
    took: Duration,
    /// What it printed, in bytes.
    out: u64,
    err: u64,
    stopped: bool,
}

/// Where its output is until it is shown.
enum Files {
    /// Files without a name.
    Nameless(Spool),
    /// The user's.
    Kept(Folder, Spool),
    None,
}

impl Stopping {
    /// How the inputs are ended, and how their number is learnt.
    pub(super) fn follow(
        &self,
        end_inputs: impl Fn() + Send + Sync + 'static,
        total: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) {
        let _ = self.end_inputs.set(Box::new(end_inputs));
        let _ = self.total.set(Box::new(total));
    }

    /// Whether a rule of `--halt` has come true.
    pub(super) fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    pub(super) fn tally(&self) -> Tally {
        *self.tally.lock().expect(NOT_POISONED)
    }

    pub(super) fn take_trouble(&self) -> Option<Trouble> {
        self.trouble.lock().expect(NOT_POISONED).take()
    }
}

const NOT_POISONED: &str = "nothing panics while what jobs share is locked";

impl Jobs {
    /// Lets nothing more begin, and ends what runs.
    pub(super) fn stop(&self, signal: Signal) {
        self.end_inputs();
        self.table.stop(signal);
        self.gate.stop();
    }

    fn end_inputs(&self) {
        if let Some(end) = self.state.end_inputs.get() {
            end();
        }
    }

    /// Runs the command for one input.
    pub(super) fn run(&self, input: &Input, attempt: &Attempt) -> Tried<()> {
        if self.state.is_halted() {
            return Err(Failure::stopped());
        }
        let held = self.table.enter().ok_or_else(Failure::stopped)?;
        self.gate.pass(|why| attempt.note(why));
        if self.state.is_halted() || self.table.is_stopped() {
            return Err(Failure::stopped());
        }
        let values = Values { args: &input.args, number: input.number, slot: held.number() };
        let mut files = Files::None;
        let (ending, outcome) = match self.spawn(&held, input, values, &mut files) {
            Ok((ending, outcome)) => (ending, outcome),
            Err(failure) => (Ending::of_none(&failure), Err(failure)),
        };
        let tried_again = outcome.as_ref().is_err_and(|failure| failure.again != Again::Never)
            && attempt.number() <= self.retries
            && self.interrupt.asked().is_none();
        if !tried_again && !ending.stopped {
            self.tell(input, values, &files, &ending).map_err(|trouble| self.give_up(trouble))?;
            self.count(outcome.is_ok());
        }
        outcome
    }

    /// Starts the command and waits for its end.
    fn spawn(
        &self,
        held: &Held<'_>,
        input: &Input,
        values: Values<'_>,
        files: &mut Files,
    ) -> Result<(Ending, Tried<()>), Failure> {
        let mut command = self.plan.prepare(values).map_err(Failure::for_good)?;
        *files = self.files(input)?;
        let stdin = match &input.block {
            Some(block) => stdin_of(block).map_err(cannot_spool)?,
            None => self.nothing.try_clone().map_err(cannot_spool)?,
        };
        let start = SystemTime::now();
        let since = Instant::now();
        let mut child = match self.start(held, &mut command, &stdin, files) {
            // A script without `#!` is one for the shell: so says POSIX.
            Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
                self.start(held, &mut by_shell(&command), &stdin, files)
            }
            started => started,
        }
        .map_err(|error| cannot_start(&command, &error))?;
        let mut printed = (0, 0);
        if self.mode == Mode::Lines {
            let tag = self.tag(values);
            let look = |child: &Child| held.end_if_it_asks(child);
            let shown = pump(&mut child, look, |stream, lines| self.output.lines(stream, tag.as_deref(), lines));
            printed = shown.map_err(|trouble| self.give_up(trouble))?;
        }
        let waited =
            held.wait(&mut child).map_err(|error| Failure::for_good(format!("cannot wait for it: {error}")))?;
        let took = since.elapsed();
        if let Files::Nameless(spool) | Files::Kept(_, spool) = &*files {
            printed = (length(&spool.out), length(&spool.err));
        }
        let (out, err) = printed;
        let Waited { status, ended } = waited;
        let (exit, signal) = match ended {
            Some(Ended::TimedOut) => (-1, Signal::TERM.as_raw()),
            _ => (status.code().unwrap_or(0), status.signal().unwrap_or(0)),
        };
        let stopped = ended == Some(Ended::Stopped);
        Ok((Ending { exit, signal, start, took, out, err, stopped }, self.judge(status, ended, out + err)))
    }

    fn start(&self, held: &Held<'_>, command: &mut Command, stdin: &File, files: &Files) -> io::Result<Child> {
        command.stdin(stdin.try_clone()?);
        match files {
            Files::Nameless(spool) | Files::Kept(_, spool) => {
                command.stdout(spool.out.try_clone()?).stderr(spool.err.try_clone()?);
            }
            Files::None if self.mode == Mode::Lines => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
            Files::None => {
                command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
            }
        }
        held.start(command)
    }

    fn files(&self, input: &Input) -> Result<Files, Failure> {
        if let Some((dir, names)) = &self.results {
            let folder = Folder::of(dir, names, &input.args);
            return match folder.create() {
                Ok(spool) => Ok(Files::Kept(folder, spool)),
                Err(error) => {
                    let place = folder.path().display();
                    Err(Failure::for_good(format!("cannot keep its output in `{place}`: {error}")))
                }
            };
        }
        match self.mode {
            Mode::Grouped => Spool::new().map(Files::Nameless).map_err(cannot_spool),
            Mode::Lines | Mode::Ungrouped => Ok(Files::None),
        }
    }

    /// What a command's end means for its job.
    fn judge(&self, status: ExitStatus, ended: Option<Ended>, bytes: u64) -> Tried<()> {
        match (ended, status.code(), status.signal()) {
            (Some(Ended::Stopped), ..) => Err(Failure::stopped()),
            (Some(Ended::AskedTerminal), ..) => {
                Err(Failure::for_good("it asked at the terminal, which is no job's to read or to set"))
            }
            (Some(Ended::TimedOut), ..) => {
                let limit = figures::seconds(self.limit.unwrap_or_default());
                Err(Failure { status: Status::TimedOut, ..Failure::for_now(format!("took longer than {limit}")) })
            }
            (None, Some(0), _) => Ok(Done { bytes, value: () }),
            (None, Some(code), _) => Err(Failure::for_now(format!("exit code {code}"))),
            (None, None, Some(signal)) => {
                let name = signal_name(signal).map_or_else(|| format!("signal {signal}"), String::from);
                Err(Failure::for_now(format!("killed by {name}")))
            }
            (None, None, None) => Err(Failure::for_now(status.to_string())),
        }
    }

    /// Shows what it printed, keeps it, and enters it in the log.
    fn tell(&self, input: &Input, values: Values<'_>, files: &Files, ending: &Ending) -> Result<(), Trouble> {
        let log = self.logs.then(|| {
            let sent = input.block.as_ref().map_or(0, |block| block.len() as u64);
            let Ending { exit, signal, start, took, out, .. } = *ending;
            let command = &self.plan.shown(values);
            Line { number: input.number, start, took, sent, received: out, exit, signal, command }.text()
        });
        let (out, err) = match files {
            Files::Nameless(spool) | Files::Kept(_, spool) => {
                (printed(&spool.out, ending.out), printed(&spool.err, ending.err))
            }
            Files::None => (None, None),
        };
        let tag = if out.is_some() || err.is_some() { self.tag(values) } else { None };
        if let Files::Kept(folder, _) = files {
            folder.finish(input.number).map_err(|error| Trouble::Results(folder.path().to_owned(), error))?;
        }
        self.output.show(input.turn, Shown { out, err, tag, log })
    }

    fn tag(&self, values: Values<'_>) -> Option<Vec<u8>> {
        self.tag.as_ref().map(|tag| [&tag.fill(values)[..], b"\t"].concat())
    }

    /// Counts a job that is over, and stops if that is one too many.
    fn count(&self, succeeded: bool) {
        let Some(halt) = &self.halt else { return };
        let mut tally = self.state.tally.lock().expect(NOT_POISONED);
        if succeeded {
            tally.succeeded += 1
        } else {
            tally.failed += 1
        }
        let total = self.state.total.get().and_then(|total| total());
        let due = halt.is_due(*tally, total);
        drop(tally);
        if due && !self.state.halted.swap(true, Ordering::Relaxed) {
            self.end_inputs();
            self.gate.stop();
            if halt.when == When::Now {
                self.table.stop(Signal::TERM);
            }
        }
    }

    /// Ends everything, because of what cannot be done for any job.
    fn give_up(&self, trouble: Trouble) -> Failure {
        self.state.trouble.lock().expect(NOT_POISONED).get_or_insert(trouble);
        self.stop(Signal::TERM);
        Failure::stopped()
    }
}

impl Ending {
    /// Of a command that could not be started.
    fn of_none(failure: &Failure) -> Self {
        Self {
            exit: if failure.status == Status::NotFound { 127 } else { 126 },
            signal: 0,
            start: SystemTime::now(),
            took: Duration::ZERO,
            out: 0,
            err: 0,
            stopped: failure.status == Status::Cancelled,
        }
    }
}

fn printed(file: &File, length: u64) -> Option<Printed<'_>> {
    (length > 0).then_some(Printed { file, length })
}

fn length(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

/// A file to read the block from.
fn stdin_of(block: &[u8]) -> io::Result<File> {
    let mut file = match block.len() {
        ..=IN_MEMORY => File::from(memfd_create("block", MemfdFlags::CLOEXEC)?),
        _ => tempfile::tempfile()?,
    };
    file.write_all(block)?;
    file.rewind()?;
    Ok(file)
}

fn by_shell(script: &Command) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg(script.get_program()).args(script.get_args());
    if let Some(folder) = script.get_current_dir() {
        command.current_dir(folder);
    }
    for (name, value) in script.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}

fn cannot_spool(error: io::Error) -> Failure {
    Failure::for_now(format!("cannot keep its input or output: {error}"))
}

fn cannot_start(command: &Command, error: &io::Error) -> Failure {
    let program = command.get_program().display();
    if let Some(folder) = command.get_current_dir().filter(|folder| !folder.is_dir()) {
        return Failure::not_found(format!("there is no folder `{}` to work in", folder.display()));
    }
    match error.kind() {
        io::ErrorKind::NotFound => Failure::not_found(format!("there is no program `{program}`")),
        // There may be room for another process later.
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => {
            Failure::for_now(format!("cannot start `{program}`: {error}"))
        }
        _ => Failure::for_good(format!("cannot start `{program}`: {error}")),
    }
}

/// Shows whole lines of what a command prints while it runs, until it ends. Returns how much it printed. While nothing
/// comes, the command is looked at now and then.
fn pump(
    child: &mut Child,
    look: impl Fn(&Child),
    mut show: impl FnMut(Stream, &[u8]) -> Result<(), Trouble>,
) -> Result<(u64, u64), Trouble> {
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else { return Ok((0, 0)) };
    let ended =
        pidfd_open(Pid::from_child(child), PidfdFlags::empty()).map_err(|error| Trouble::Output(error.into()))?;
    let mut pipes = [Pipe::new(Stream::Out, out.into()), Pipe::new(Stream::Err, err.into())];
    let mut is_over = false;
    while !is_over && pipes.iter().any(|pipe| pipe.is_open) {
        let mut watched = vec![PollFd::new(&ended, PollFlags::IN)];
        watched.extend(pipes.iter().filter(|pipe| pipe.is_open).map(|pipe| PollFd::new(&pipe.end, PollFlags::IN)));
        match poll(&mut watched, Some(&BETWEEN_LOOKS)) {
            Ok(0) => {
                look(child);
                continue;
            }
            Ok(_) => {}
            Err(_) => continue,
        }
        let mut ready = watched.iter().map(|watched| !watched.revents().is_empty()).collect::<Vec<_>>().into_iter();
        // Something may hold the pipes open that the command has left behind; what is in them now is all there is.
        is_over = ready.next().unwrap_or(false);
        for pipe in pipes.iter_mut().filter(|pipe| pipe.is_open) {
            if ready.next().unwrap_or(false) || is_over {
                pipe.read(is_over, &mut show)?;
            }
        }
    }
    for pipe in &mut pipes {
        pipe.finish(&mut show)?;
    }
    Ok((pipes[0].length, pipes[1].length))
}

/// What a command prints to.
struct Pipe {
    stream: Stream,
    end: OwnedFd,
    is_open: bool,
    /// A line that is not whole yet.
    begun: Vec<u8>,
    length: u64,
}

impl Pipe {
    fn new(stream: Stream, end: OwnedFd) -> Self {
        Self { stream, end, is_open: true, begun: Vec::new(), length: 0 }
    }

    /// Reads what is there, and shows the lines that are whole; `all` of it, or once.
    fn read(&mut self, all: bool, show: &mut impl FnMut(Stream, &[u8]) -> Result<(), Trouble>) -> Result<(), Trouble> {
        let mut chunk = [0; 64 * 1024];
        loop {
            let mut look = [PollFd::new(&self.end, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if !matches!(poll(&mut look, Some(&now)), Ok(1..)) {
                return Ok(());
            }
            let read = match rustix::io::read(&self.end, &mut chunk) {
                Ok(0) | Err(_) => {
                    self.is_open = false;
                    return Ok(());
                }
                Ok(read) => read,
            };
            self.length += read as u64;
            match chunk[..read].iter().rposition(|byte| *byte == b'\n') {
                None => self.begun.extend(&chunk[..read]),
                Some(end) => {
                    self.begun.extend(&chunk[..=end]);
                    show(self.stream, &self.begun)?;
                    self.begun.clear();
                    self.begun.extend(&chunk[end + 1..read]);
                }
            }
            if !all {
                return Ok(());
            }
        }
    }

    fn finish(&mut self, show: &mut impl FnMut(Stream, &[u8]) -> Result<(), Trouble>) -> Result<(), Trouble> {
        match &self.begun[..] {
            b"" => Ok(()),
            // Or it would run into another one's next line.
            last => show(self.stream, &[last, b"\n"].concat()),
        }
    }
}
