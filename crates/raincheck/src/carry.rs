//! How a call leaves this process: written down, found by its name there, and its value read back here.
//!
//! `#[task]` registers each function with its name and signature before `main`. A call is written down when it is
//! submitted, in the submitting thread, so that what cannot be written fails there and then. Codec: MessagePack with
//! field names.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    fmt, io,
    marker::PhantomData,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    call::{Begun, CallBody, TaskFunction},
    cell::{Cancel, OnCancel},
    context::{self, State},
    ear::Ear,
    error::{Death, Limit, Outcome, TaskError, signal_name},
    map::Applied,
    panics,
    segment::{self, Attached, Held, Peer},
    task::Body,
};

/// A `#[task]` function of this program, as it is found by its name; see [`tasks`].
pub struct Entry {
    name: &'static str,
    signature: &'static str,
    pub(crate) answer: fn(Order<'_>, &mut Vec<u8>) -> Outcome<()>,
    pub(crate) keep: fn(&[u8], &Attached) -> Outcome<State>,
    /// A small number by which this process calls it towards its workers; 0 until it has one.
    number: AtomicU32,
}

/// What a worker is to do, and how it does it.
#[doc(hidden)]
pub(crate) struct Order<'a> {
    pub(crate) bytes: &'a [u8],
    /// Who is told of each input, if it is a group of them.
    pub(crate) group: Option<&'a dyn Steps>,
    /// What has come with it.
    pub(crate) came_with: RefCell<Attached>,
    /// To whom the answer goes, if to another process.
    pub(crate) to: Option<&'a Weak<dyn Peer>>,
    /// Takes what goes with the answer.
    pub(crate) attach: &'a dyn Fn(Attached),
}

/// Takes note of how far a group of inputs is, so that who dies in one of them does not take the others along.
pub(crate) trait Steps {
    /// This input comes next.
    fn begin(&self, place: usize);
    /// It is done, and its answer the last thing in `out`. Those answers may be sent, and taken out of there: they
    /// begin at `first`, and the new one at `last`.
    fn end(&self, place: usize, out: &mut Vec<u8>, first: usize, last: usize);
}

impl Entry {
    #[doc(hidden)]
    pub const fn of<F: TaskFunction>() -> Self {
        Self { name: F::NAME, signature: F::SIGNATURE, answer: answer::<F>, keep: keep::<F>, number: AtomicU32::new(0) }
    }

    /// What the function is called everywhere.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its arguments' names and types and what it returns, as written.
    pub fn signature(&self) -> &'static str {
        self.signature
    }

    #[doc(hidden)]
    pub fn register(&'static self) {
        REGISTRY.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }

    /// The number by which this process calls it towards its workers.
    pub(crate) fn number(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        match self.number.load(Ordering::Relaxed) {
            0 => {
                let new = NEXT.fetch_add(1, Ordering::Relaxed);
                match self.number.compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => new,
                    Err(other) => other,
                }
            }
            number => number,
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).field("signature", &self.signature).finish_non_exhaustive()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.signature)
    }
}

static REGISTRY: Mutex<Vec<&'static Entry>> = Mutex::new(Vec::new());

/// The `#[task]` functions of this program, by name: what its workers can run.
///
/// Those of a library are among them only if the program mentions that library.
pub fn tasks() -> Vec<&'static Entry> {
    let mut tasks = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner).clone();
    tasks.sort_unstable_by_key(|entry| entry.name);
    tasks
}

/// Finds a function of this program. An `Err` says why it cannot be called, and what to do.
pub(crate) fn find(name: &str, signature: &str) -> Result<&'static Entry, String> {
    static BY_NAME: OnceLock<BTreeMap<&'static str, Vec<&'static Entry>>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for entry in tasks() {
            by_name.entry(entry.name).or_default().push(entry);
        }
        by_name
    });
    match by_name.get(name).map(Vec::as_slice) {
        None | Some([]) => Err(format!(
            "the worker has no task `{name}`, only {} others: build it from the same source, and mention the crate of \
             the task in it (`use that_crate as _;`)",
            by_name.len()
        )),
        Some([entry]) if entry.signature == signature => Ok(entry),
        Some([entry]) => Err(format!(
            "the worker's task `{name}` is `{}` and not `{signature}`: build both programs from the same source",
            entry.signature
        )),
        Some(several) => Err(format!(
            "{} tasks are called `{name}`: give them names of their own, `#[raincheck::task(name = \"…\")]`",
            several.len()
        )),
    }
}

/// A call that is written down, or several of one function that go together.
#[doc(hidden)]
pub struct Written {
    pub(crate) entry: &'static Entry,
    pub(crate) is_group: bool,
    pub(crate) bytes: Vec<u8>,
    /// What goes with the bytes.
    attached: Mutex<Attached>,
    /// Where it waits to be started, once it is on its way.
    berth: Mutex<Option<Berth>>,
    /// How many workers have ended that were about to start it.
    false_starts: AtomicU32,
    /// The group that this is what is left of. They are in one place, which is the group's.
    whole: Option<Arc<Written>>,
}

/// A place with a worker: which worker, and which of its tasks.
pub(crate) struct Berth {
    pub(crate) away: Arc<dyn Away>,
    pub(crate) number: u64,
}

/// A worker in another process, as a task sees it that waits there.
pub(crate) trait Away: Send + Sync {
    fn has_begun(&self, number: u64) -> bool;
    /// Takes a task back; `false` if the worker has begun it.
    fn withdraw(&self, number: u64) -> bool;
    /// Stops a task that the worker has begun.
    fn stop(&self, number: u64) -> Cancel;
    /// Receives what the worker sends, on this thread, until `is_done` says so or the time has come. Gives up when
    /// someone else receives already, or nothing more will come.
    fn attend(self: Arc<Self>, until: Option<Instant>, is_done: &dyn Fn() -> bool, ear: &Ear);
}

impl Written {
    fn new(entry: &'static Entry, is_group: bool, bytes: Vec<u8>, attached: Attached) -> Self {
        Self {
            entry,
            is_group,
            bytes,
            attached: Mutex::new(attached),
            berth: Mutex::new(None),
            false_starts: AtomicU32::new(0),
            whole: None,
        }
    }

    /// What is left of a group without its first inputs; `None` if nothing is.
    pub(crate) fn without_first(self: &Arc<Self>, inputs: usize) -> Option<Arc<Self>> {
        let mut rest = &self.bytes[..];
        for _ in 0..inputs {
            unframed(&mut rest)?;
        }
        let whole = self.whole.as_ref().unwrap_or(self);
        let rest =
            Self { whole: Some(Arc::clone(whole)), ..Self::new(self.entry, true, rest.to_vec(), self.attached()) };
        (!rest.bytes.is_empty()).then(|| Arc::new(rest))
    }

    pub(crate) fn attached(&self) -> Attached {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether descriptors go with it that the worker is to have alone.
    pub(crate) fn has_files(&self) -> bool {
        // A group may have to be sent again.
        let attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        !self.is_group && attached.iter().any(|(_, held)| matches!(held, Held::File(..)))
    }

    /// Lets go of those, once it has started: nobody else will be sent it.
    pub(crate) fn let_files_go(&self) {
        if self.has_files() {
            let mut attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
            let gone = std::mem::take(&mut *attached);
            drop(attached);
            drop(gone);
        }
    }

    /// How many inputs a group has.
    pub(crate) fn inputs(&self) -> usize {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(|| unframed(&mut rest)).count()
    }

    fn berth(&self) -> std::sync::MutexGuard<'_, Option<Berth>> {
        let whole = self.whole.as_deref().unwrap_or(self);
        whole.berth.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts it on its way.
    pub(crate) fn embark(&self, berth: Berth) {
        *self.berth() = Some(berth);
    }

    /// Takes it back from its worker, to go elsewhere; `false` if the worker has begun it, or nobody wants it.
    pub(crate) fn disembark(&self) -> bool {
        let mut berth = self.berth();
        let is_free = berth.as_ref().is_none_or(|berth| berth.away.withdraw(berth.number));
        if is_free {
            *berth = None;
        }
        is_free
    }

    /// Has it forget its worker, which is gone.
    pub(crate) fn strand(&self) {
        *self.berth() = None;
    }

    /// Takes note that a worker has ended which was about to start it. How many have comes back.
    pub(crate) fn note_false_start(&self) -> u32 {
        self.false_starts.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.berth().as_ref().is_some_and(|berth| berth.away.has_begun(berth.number))
    }

    pub(crate) fn withdraw(&self) -> Result<(), OnCancel> {
        match &*self.berth() {
            Some(berth) if !berth.away.withdraw(berth.number) => {
                let (away, number) = (Arc::clone(&berth.away), berth.number);
                Err(Box::new(move || away.stop(number)))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn away(&self) -> Option<Arc<dyn Away>> {
        self.berth().as_ref().map(|berth| Arc::clone(&berth.away))
    }
}

/// Writes a call down.
pub(crate) fn write_call<F: TaskFunction>(args: F::Args) -> Result<Arc<Written>, TaskError> {
    let mut bytes = Vec::new();
    let (written, attached) = segment::attaching(None, || user(|| write(&args, &mut bytes)));
    written.map_err(|why| unwritable::<F>(&why))?;
    Ok(Arc::new(Written::new(F::entry(), false, bytes, attached)))
}

/// Writes the calls of one function down, which go together.
pub(crate) fn write_calls<F: TaskFunction>(calls: impl Iterator<Item = F::Args>) -> Result<Arc<Written>, TaskError> {
    let mut bytes = Vec::new();
    let (written, attached) = segment::attaching(None, || {
        user(|| {
            for args in calls {
                framed(&mut bytes, |bytes| write(&args, bytes))?;
            }
            Ok(())
        })
    });
    written.map_err(|why| unwritable::<F>(&why))?;
    Ok(Arc::new(Written::new(F::entry(), true, bytes, attached)))
}

fn unwritable<F: TaskFunction>(why: &str) -> TaskError {
    TaskError::not_carried(format!("the arguments of `{}` cannot be written down: {why}", F::NAME))
}

/// Reads the value of a call.
pub(crate) fn read_value<F: TaskFunction>(bytes: &[u8]) -> Outcome<F::Output> {
    user(|| F::read_output(bytes))
        .map_err(|why| TaskError::not_carried(format!("the value of `{}` cannot be read back: {why}", F::NAME)))
}

/// Reads the values of calls that went together.
pub(crate) fn read_values<F: TaskFunction>(bytes: &[u8]) -> Outcome<Applied<F::Output>> {
    let mut rest = bytes;
    let torn = || TaskError::not_carried(format!("the values of `{}` are torn", F::NAME));
    let took = Duration::from_nanos(u64::from_le_bytes(
        *rest.split_off(..TOOK).and_then(|it| it.first_chunk()).ok_or_else(torn)?,
    ));
    let (mut values, mut errors) = (Vec::new(), VecDeque::new());
    while !rest.is_empty() {
        let answer = split_answer(&mut rest).ok_or_else(torn)?;
        let (kind, bytes) = (answer[0], &answer[ANSWER_HEAD..]);
        let value = if kind == 0 { read_value::<F>(bytes) } else { Err(read_error(bytes)) };
        match value {
            Ok(value) => values.push(value),
            Err(error) => errors.push_back((values.len() + errors.len(), error)),
        }
    }
    match errors.pop_front() {
        // An input by itself is a task by itself, and fails as one.
        Some((_, error)) if values.is_empty() && errors.is_empty() => Err(error),
        Some(first) => {
            errors.push_front(first);
            Ok(Applied::new(values, errors, took))
        }
        None => Ok(Applied::new(values, errors, took)),
    }
}

/// Does an order, as the worker that was given it, and writes the value down.
fn answer<F: TaskFunction>(order: Order<'_>, out: &mut Vec<u8>) -> Outcome<()> {
    match order.group {
        Some(steps) => answer_group::<F>(&order, steps, out),
        None => answer_one::<F>(&order, order.bytes, out),
    }
}

fn answer_one<F: TaskFunction>(order: &Order<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Outcome<()> {
    let came_with = if order.group.is_some() { order.came_with.borrow().clone() } else { order.came_with.take() };
    let args = read_args::<F>(bytes, &came_with)?;
    // What the task drops is gone.
    drop(came_with);
    let value = CallBody::<F>::of(args).perform()?;
    let (written, attached) = segment::attaching(order.to, || write_value::<F>(value, out));
    written?;
    if !attached.is_empty() {
        (order.attach)(attached);
    }
    Ok(())
}

fn answer_group<F: TaskFunction>(order: &Order<'_>, steps: &dyn Steps, out: &mut Vec<u8>) -> Outcome<()> {
    let start = Instant::now();
    let before = out.len();
    out.extend_from_slice(&[0; TOOK]);
    let first = out.len();
    let mut rest = order.bytes;
    let mut place = 0;
    while let Some(bytes) = unframed(&mut rest) {
        steps.begin(place);
        let last = out.len();
        let done = if context::cancelled() { Err(TaskError::Cancelled) } else { frame_answer::<F>(order, bytes, out) };
        if let Err(error) = &done {
            out.truncate(last);
            write_failure(error, out);
        }
        steps.end(place, out, first, last);
        place += 1;
    }
    out[before..first].copy_from_slice(&nanoseconds(start.elapsed()));
    Ok(())
}

/// How long a group took stands before its answers.
pub(crate) const TOOK: usize = 8;

/// Before each answer stands whether it is an error, and how long it is.
const ANSWER_HEAD: usize = 5;

pub(crate) fn nanoseconds(time: Duration) -> [u8; TOOK] {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_le_bytes()
}

fn frame_answer<F: TaskFunction>(order: &Order<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Outcome<()> {
    let head = out.len();
    out.extend_from_slice(&[0; ANSWER_HEAD]);
    answer_one::<F>(order, bytes, out)?;
    let length = u32::try_from(out.len() - head - ANSWER_HEAD).map_err(|_| TaskError::not_carried(TOO_LARGE))?;
    out[head + 1..head + ANSWER_HEAD].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Writes down that an input of a group has no value, among those that have.
pub(crate) fn write_failure(error: &TaskError, out: &mut Vec<u8>) {
    out.push(1);
    framed(out, |out| {
        write_error(error, out);
        Ok(())
    })
    .expect("an error's text is not that long");
}

/// Takes the first answer of those of a group, with its head; `None` if none is there whole.
pub(crate) fn split_answer<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(*rest.get(1..)?.first_chunk()?);
    rest.split_off(..usize::try_from(length).ok()?.checked_add(ANSWER_HEAD)?)
}

fn read_args<F: TaskFunction>(bytes: &[u8], came_with: &Attached) -> Outcome<F::Args> {
    segment::detaching(came_with, || user(|| read(bytes)))
        .map_err(|why| TaskError::not_carried(format!("the arguments of `{}` cannot be read back: {why}", F::NAME)))
}

fn write_value<F: TaskFunction>(value: F::Output, out: &mut Vec<u8>) -> Outcome<()> {
    user(|| F::write_output(value, out))
        .map_err(|why| TaskError::not_carried(format!("the value of `{}` cannot be written down: {why}", F::NAME)))
}

/// Makes a call whose value stays with the worker.
fn keep<F: TaskFunction>(bytes: &[u8], came_with: &Attached) -> Outcome<State> {
    let args = read_args::<F>(bytes, came_with)?;
    let value = match panics::catch(|| F::start(args))? {
        Begun::Value(value) => value,
        Begun::Future(future) => panics::catch(|| crate::drive::block_on(future))?,
    };
    Ok(Box::new(value))
}

/// Runs what is the user's: how values are written and read. A panic in it is why it failed.
fn user<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panics::catch(work).unwrap_or_else(|error| Err(error.to_string()))
}

/// Runs the calls of a group that has come back to this process unstarted.
pub(crate) fn apply_here<F: TaskFunction>(written: &Written) -> Outcome<Applied<F::Output>> {
    let start = Instant::now();
    let (mut values, mut errors) = (Vec::new(), VecDeque::new());
    let mut rest = &written.bytes[..];
    while let Some(bytes) = unframed(&mut rest) {
        let value = if context::cancelled() {
            Err(TaskError::Cancelled)
        } else {
            read_args::<F>(bytes, &written.attached()).and_then(|args| CallBody::<F>::of(args).perform())
        };
        match value {
            Ok(value) => values.push(value),
            Err(error) => errors.push_back((values.len() + errors.len(), error)),
        }
    }
    Ok(Applied::new(values, errors, start.elapsed()))
}

/// Calls a function whose arguments are written down, in this process.
pub(crate) fn args_of<F: TaskFunction>(written: &Written) -> Outcome<F::Args> {
    read_args::<F>(&written.bytes, &written.attached())
}

/// Writes a value in MessagePack.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, to: &mut Vec<u8>) -> Result<(), String> {
    let mut serializer = rmp_serde::Serializer::new(to).with_struct_map();
    value.serialize(&mut serializer).map_err(|error| error.to_string())
}

/// Reads a value in MessagePack, which must be all there is.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let _reading = Reading::begin();
    let mut rest = bytes;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    let value = T::deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    drop(deserializer);
    if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes are left over", rest.len())) }
}

thread_local! {
    static READERS: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread reads what [`write`] has written.
pub(crate) fn is_reading() -> bool {
    READERS.get() > 0
}

struct Reading;

impl Reading {
    fn begin() -> Self {
        READERS.set(READERS.get() + 1);
        Self
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        READERS.set(READERS.get() - 1);
    }
}

/// Appends what `write` writes, with its length before it.
fn framed(to: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>) -> Result<(), String> {
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    write(to)?;
    let length = u32::try_from(to.len() - start - 4).map_err(|_| TOO_LARGE.to_owned())?;
    to[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// What cannot be said in four bytes is larger than a frame can be anyway.
pub(crate) const TOO_LARGE: &str = "it is larger than 4 GiB";

fn unframed<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
    rest.split_off(..usize::try_from(length).ok()?)
}

/// An error as it is written down: which it is, and what it says.
type ErrorParts = (u8, String, Option<String>, Option<DeathParts>);
type DeathParts = (u32, Option<String>, Option<Duration>, Option<i32>, Option<i32>, Option<u8>, String);

/// The limits, each in the place by whose number it is written down.
const LIMITS: &[Limit] = &[Limit::ProcessorTime, Limit::Memory, Limit::SystemMemory];

/// Writes down why a task has no value.
pub(crate) fn write_error(error: &TaskError, to: &mut Vec<u8>) {
    let (kind, text, place) = match error {
        TaskError::Panicked(panic) => (0, panic.message().to_owned(), panic.place().map(ToOwned::to_owned)),
        TaskError::Cancelled => (1, String::new(), None),
        TaskError::NotCarried(why) => (2, String::clone(why), None),
        TaskError::WorkerLost(lost) => (3, lost.reason().to_owned(), None),
        TaskError::Refused => (4, String::new(), None),
        TaskError::ShutDown => (5, String::new(), None),
        TaskError::TimedOut { .. } | TaskError::AllFailed(_) => (3, error.to_string(), None),
    };
    let death = match error {
        TaskError::WorkerLost(lost) => lost.death().map(|death| {
            let Death { pid, task, ran, exit_code, signal, overran, stderr, .. } = death.clone();
            let overran = overran.and_then(|limit| LIMITS.iter().position(|it| *it == limit)).map(|it| it as u8);
            (pid, task, ran, exit_code, signal, overran, stderr)
        }),
        _ => None,
    };
    write::<ErrorParts>(&(kind, text, place, death), to).expect("a vector takes what is written to it");
}

pub(crate) fn read_error(bytes: &[u8]) -> TaskError {
    match read::<ErrorParts>(bytes) {
        Ok((0, message, place, _)) => TaskError::panicked(message, place),
        Ok((1, ..)) => TaskError::Cancelled,
        Ok((2, why, ..)) => TaskError::not_carried(why),
        Ok((4, ..)) => TaskError::Refused,
        Ok((5, ..)) => TaskError::ShutDown,
        Ok((.., Some((pid, task, ran, exit_code, signal, overran, stderr)))) => {
            let signal_name = signal.and_then(signal_name);
            let overran = overran.and_then(|limit| LIMITS.get(usize::from(limit)).copied());
            TaskError::worker_died(Death { pid, task, ran, exit_code, signal, signal_name, overran, stderr })
        }
        Ok((_, why, ..)) => TaskError::worker_lost(why),
        Err(why) => TaskError::not_carried(format!("the worker's error cannot be read: {why}")),
    }
}

/// How values of type `T` are carried: by serde, as an error's text, or not at all. `#[task]` asks it about the type
/// that a function returns, which the compiler knows there.
#[doc(hidden)]
#[derive(Debug)]
pub struct Carrier<T>(PhantomData<fn() -> T>);

impl<T> Carrier<T> {
    #[expect(clippy::new_without_default, reason = "only the attribute's own code makes one")]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

/// Whatever serde can write and read.
#[doc(hidden)]
pub trait BySerde<T> {
    fn write(&self, value: T, to: &mut Vec<u8>) -> Result<(), String>;
    fn read(&self, bytes: &[u8]) -> Result<T, String>;
}

impl<T: Serialize + DeserializeOwned> BySerde<T> for &&Carrier<T> {
    fn write(&self, value: T, to: &mut Vec<u8>) -> Result<(), String> {
        write(&value, to)
    }

    fn read(&self, bytes: &[u8]) -> Result<T, String> {
        read(bytes)
    }
}

/// Results whose error serde knows nothing of.
#[doc(hidden)]
pub trait ByError<T> {
    fn write(&self, value: T, to: &mut Vec<u8>) -> Result<(), String>;
    fn read(&self, bytes: &[u8]) -> Result<T, String>;
}

impl<T: Serialize + DeserializeOwned, E: PortableError> ByError<Result<T, E>> for &Carrier<Result<T, E>> {
    fn write(&self, value: Result<T, E>, to: &mut Vec<u8>) -> Result<(), String> {
        write(&value.map_err(PortableError::into_parts), to)
    }

    fn read(&self, bytes: &[u8]) -> Result<Result<T, E>, String> {
        read::<Result<T, (String, i64)>>(bytes).map(|value| value.map_err(|parts| E::from_parts(parts.0, parts.1)))
    }
}

/// All others: a task may return them, but only in this process.
#[doc(hidden)]
pub trait ByNothing<T> {
    fn write(&self, value: T, to: &mut Vec<u8>) -> Result<(), String>;
    fn read(&self, bytes: &[u8]) -> Result<T, String>;
}

impl<T> ByNothing<T> for Carrier<T> {
    fn write(&self, _value: T, _to: &mut Vec<u8>) -> Result<(), String> {
        Err(no_way::<T>())
    }

    fn read(&self, _bytes: &[u8]) -> Result<T, String> {
        Err(no_way::<T>())
    }
}

fn no_way<T>() -> String {
    format!(
        "derive `serde::Serialize` and `serde::Deserialize` for `{}`, implement `raincheck::PortableError` if it is an \
         error inside a `Result`, or run the task in this process",
        std::any::type_name::<T>()
    )
}

/// An error that serde knows nothing of, and that can go to another process all the same, as a text and a number.
///
/// A task that returns `Result<T, E>` can be run in another process if `E` is such an error: [`io::Error`],
/// `Box<dyn Error + Send + Sync>`, or one of your own.
///
/// # Examples
///
/// ```
/// struct NoUmbrella { litres: i64 }
///
/// impl raincheck::PortableError for NoUmbrella {
///     fn into_parts(self) -> (String, i64) {
///         (String::new(), self.litres)
///     }
///
///     fn from_parts(_text: String, litres: i64) -> Self {
///         Self { litres }
///     }
/// }
/// ```
pub trait PortableError: Sized {
    /// Takes the error apart.
    fn into_parts(self) -> (String, i64);

    /// Puts it together again.
    fn from_parts(text: String, number: i64) -> Self;
}

/// Keeps the kind and the text, and for an error of the system its number.
impl PortableError for io::Error {
    fn into_parts(self) -> (String, i64) {
        match self.raw_os_error() {
            Some(number) => (String::new(), i64::from(number)),
            None => {
                let kind = KINDS.iter().position(|kind| *kind == self.kind()).unwrap_or(KINDS.len());
                (self.to_string(), -1 - i64::try_from(kind).unwrap_or(i64::MAX - 1))
            }
        }
    }

    fn from_parts(text: String, number: i64) -> Self {
        match i32::try_from(number) {
            Ok(number) if number >= 0 => Self::from_raw_os_error(number),
            _ => {
                let kind = usize::try_from(-1 - number).ok().and_then(|kind| KINDS.get(kind).copied());
                Self::new(kind.unwrap_or(io::ErrorKind::Other), text)
            }
        }
    }
}

/// The kinds that are told apart, in an order that both sides have.
const KINDS: &[io::ErrorKind] = {
    use io::ErrorKind::*;
    &[
        Other,
        NotFound,
        PermissionDenied,
        ConnectionRefused,
        ConnectionReset,
        ConnectionAborted,
        NotConnected,
        AddrInUse,
        AddrNotAvailable,
        BrokenPipe,
        AlreadyExists,
        WouldBlock,
        InvalidInput,
        InvalidData,
        TimedOut,
        WriteZero,
        Interrupted,
        Unsupported,
        UnexpectedEof,
        OutOfMemory,
        HostUnreachable,
        NetworkUnreachable,
        NetworkDown,
        NotADirectory,
        IsADirectory,
        DirectoryNotEmpty,
        ReadOnlyFilesystem,
        StaleNetworkFileHandle,
        StorageFull,
        NotSeekable,
        QuotaExceeded,
        FileTooLarge,
        ResourceBusy,
        ExecutableFileBusy,
        Deadlock,
        TooManyLinks,
        ArgumentListTooLong,
    ]
};

/// Keeps the text, with those of its sources.
impl PortableError for Box<dyn std::error::Error + Send + Sync> {
    fn into_parts(self) -> (String, i64) {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            let said = error.to_string();
            if !text.ends_with(&said) {
                text = format!("{text}: {said}");
            }
            source = error.source();
        }
        (text, 0)
    }

    fn from_parts(text: String, _number: i64) -> Self {
        text.into()
    }
}
