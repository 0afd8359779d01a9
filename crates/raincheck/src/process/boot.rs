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

/// Has signals do what a worker needs, whatever they do in its parent. No handler is installed: the system drops them, or
/// ends this process.
pub(super) fn arrange_signals() {
    let arrangement = [
        // To write to a pipe that nobody reads is an error, as in every program of Rust.
        (libc::SIGPIPE, libc::SIG_IGN),
        // So is to want something from the terminal, of which workers are in the background: both would stand still.
        (libc::SIGTTIN, libc::SIG_IGN),
        (libc::SIGTTOU, libc::SIG_IGN),
        // By it ends who has used up the processor time.
        (libc::SIGXCPU, libc::SIG_DFL),
    ];
    for (signal, action) in arrangement {
        // SAFETY: as said above.
        unsafe { libc::signal(signal, action) };
    }
}

// The function has the type that the system calls, less its arguments, which it may ignore. It runs on the main
// thread, where of the standard library only the name of that thread is not set up yet.
#[used]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
static BOOT: extern "C" fn() = boot;
