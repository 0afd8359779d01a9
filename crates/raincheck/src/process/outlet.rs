//! What workers have written to stderr, on its way to this program's.
//!
//! Whoever reads that may be slow, and perhaps nobody does; then it blocks to write there. So a thread of its own writes,
//! which is there while there is something to write. What is too much waits in the pipes of those who write it, as it
//! would if they wrote there themselves, and nobody else waits.

use std::{
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

struct Outlet {
    waiting: Vec<u8>,
    /// How many bytes are missing behind these.
    left_out: usize,
    writer: Writer,
    /// Called when there is room again.
    callers: Vec<Caller>,
}

type Caller = Box<dyn FnOnce() + Send>;

/// What the thread that writes does.
enum Writer {
    /// There is none.
    None,
    /// It waits for more.
    Rests,
    /// It writes, or has been called to, and began with the last piece then.
    Writes(Instant),
}

static OUTLET: Mutex<Outlet> =
    Mutex::new(Outlet { waiting: Vec::new(), left_out: 0, writer: Writer::None, callers: Vec::new() });

/// There is more to write, or nothing any longer.
static CHANGED: Condvar = Condvar::new();

/// When so much waits, nothing more is read from workers that live.
const FULL: usize = 256 * 1024;

/// Nor is more kept than this of those that are gone, whose pipes go with them.
const MOST: usize = 1024 * 1024;

/// How much is written at a time: what a pipe takes as one.
const PIECE: usize = 4096;

/// Who takes no piece for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the thread that writes waits for more.
const REST: Duration = Duration::from_millis(100);

fn lock() -> MutexGuard<'static, Outlet> {
    // What is behind this lock is whole at every step.
    OUTLET.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outlet {
    /// Sees to it that there is a thread that writes. `false` if there can be none now.
    fn has_writer(&mut self) -> bool {
        if matches!(self.writer, Writer::None)
            && thread::Builder::new().name("raincheck-stderr".into()).spawn(write).is_ok()
        {
            self.writer = Writer::Writes(Instant::now());
        }
        !matches!(self.writer, Writer::None)
    }
}

/// Has these bytes be written. Does not block.
pub(super) fn put(bytes: &[u8]) {
    let mut outlet = lock();
    if outlet.waiting.len() + bytes.len() > MOST || outlet.left_out > 0 {
        outlet.left_out += bytes.len();
    } else {
        outlet.waiting.extend_from_slice(bytes);
    }
    outlet.has_writer();
    if matches!(outlet.writer, Writer::Rests) {
        // Whoever waits for what is written waits for it from here on, and not from when it has woken.
        outlet.writer = Writer::Writes(Instant::now());
    }
    drop(outlet);
    CHANGED.notify_all();
}

/// Whether there is no room for more; then `call` is called as soon as there is.
pub(super) fn is_full(call: impl FnOnce() + Send + 'static) -> bool {
    let mut outlet = lock();
    // Without a thread that could call, it goes on until too much waits.
    let is_full = outlet.waiting.len() >= FULL && outlet.has_writer();
    if is_full {
        outlet.callers.push(Box::new(call));
    }
    is_full
}

/// Waits until all of it is written, unless nobody reads it.
pub(super) fn settle() {
    let mut outlet = lock();
    while let Writer::Writes(since) = outlet.writer {
        let Some(rest) = PATIENCE.checked_sub(since.elapsed()) else { return };
        outlet = CHANGED.wait_timeout(outlet, rest).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// The life of the thread that writes.
fn write() {
    while let Some((bytes, callers)) = next() {
        callers.into_iter().for_each(|call| call());
        for piece in bytes.chunks(PIECE) {
            lock().writer = Writer::Writes(Instant::now());
            write_to_stderr(piece);
        }
    }
}

/// Waits for what is to be written, and for a while at most.
fn next() -> Option<(Vec<u8>, Vec<Caller>)> {
    let mut outlet = lock();
    if outlet.waiting.is_empty() {
        outlet.writer = Writer::Rests;
        CHANGED.notify_all();
        let is_empty = |outlet: &mut Outlet| outlet.waiting.is_empty();
        outlet = CHANGED.wait_timeout_while(outlet, REST, is_empty).unwrap_or_else(PoisonError::into_inner).0;
    }
    if outlet.waiting.is_empty() {
        outlet.writer = Writer::None;
        return None;
    }
    outlet.writer = Writer::Writes(Instant::now());
    let mut bytes = mem::take(&mut outlet.waiting);
    let left_out = mem::take(&mut outlet.left_out);
    if left_out > 0 {
        let notice = format!("\nraincheck: here {left_out} bytes are left out that workers wrote and nobody read\n");
        bytes.extend_from_slice(notice.as_bytes());
    }
    Some((bytes, mem::take(&mut outlet.callers)))
}

/// Writes to this program's stderr, but not by way of its lock: whoever holds that may be waiting for a task.
fn write_to_stderr(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::write(rustix::stdio::stderr(), bytes)) {
            Ok(count) if count > 0 => bytes = &bytes[count..],
            Ok(_) | Err(_) => return,
        }
    }
}
