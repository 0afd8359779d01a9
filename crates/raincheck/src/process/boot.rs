//! How this program, started again, becomes a worker instead: before `main`, and so without a word in it.
//!
//! The system calls what stands in a program's list of initializers before it calls `main`. Ours looks whether this
//! process was started as a worker, and if so serves, and never returns. Tasks register in the same list, further up.
#![expect(
    unsafe_code,
    reason = "a section of the program that has a meaning to the system can be named in no other way"
)]

use std::sync::atomic::{AtomicBool, Ordering};

use super::serve::serve_if_worker;

static HAS_RUN: AtomicBool = AtomicBool::new(false);

/// Whether a process that is started from this program becomes a worker by itself.
pub(super) fn works() -> bool {
    HAS_RUN.load(Ordering::Relaxed)
}

extern "C" fn boot() {
    HAS_RUN.store(true, Ordering::Relaxed);
    serve_if_worker();
}

/// Has a write to a pipe that nobody reads fail, as in every program of Rust, instead of ending the process.
pub(super) fn ignore_broken_pipes() {
    // SAFETY: no handler of ours is installed; the system drops the signal from now on.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

// The function has the type that the system calls, less its arguments, which it may ignore. It runs on the main
// thread, where of the standard library only the name of that thread is not set up yet.
#[used]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
static BOOT: extern "C" fn() = boot;
