//! Ends what a task has forked and lets return.
//!
//! Such a process is a copy of the worker: it has the same socket and the same page, and what it said there would be
//! taken for the worker's word. So whatever says something there looks first which of the two it is.
#![expect(unsafe_code, reason = "the system tells a process that it is a copy, and ends it, by calls of C")]

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

static IS_COPY: AtomicBool = AtomicBool::new(false);

const MESSAGE: &[u8] = b"raincheck: a process that a task has forked is ended here, where it would go on as the \
                         worker: have it call `_exit` itself\n";

/// Notices from now on when this process is forked.
pub(super) fn watch() -> io::Result<()> {
    // SAFETY: what is called in the copy may be called there: it changes one atomic.
    match unsafe { libc::pthread_atfork(None, None, Some(in_copy)) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

extern "C" fn in_copy() {
    IS_COPY.store(true, Ordering::Relaxed);
}

/// Ends this process if it is a copy of the worker.
pub(super) fn end_if_copy() {
    if IS_COPY.load(Ordering::Relaxed) {
        end();
    }
}

#[cold]
fn end() -> ! {
    // Not by the standard library, which has a lock for it: another thread may have held that, and is not here.
    let _ = rustix::io::write(rustix::stdio::stderr(), MESSAGE);
    // SAFETY: it ends the process, and calls nothing of what this program has arranged for its end.
    unsafe { libc::_exit(1) }
}
