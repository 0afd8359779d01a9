//! Says on stderr that a task has overflowed its stack.
//!
//! The standard library does that where it calls `main`, which it never does in a worker. The thread that does the tasks
//! is watched, on Linux; what runs over on another thread, or another system, just ends by a signal.
#![expect(unsafe_code, reason = "a handler of a signal is the only one who hears of it")]

use std::{
    mem::{self, MaybeUninit},
    ops::Range,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Where the guarded pages begin and end that lie below the stack of the thread that does the tasks.
static BEGIN: AtomicUsize = AtomicUsize::new(0);
static END: AtomicUsize = AtomicUsize::new(0);

const MESSAGE: &[u8] = b"raincheck: the task has overflowed its stack\n";

/// What the handler has for a stack of its own, there being no other: more than any processor's registers take.
const ROOM: usize = 64 * 1024;

/// Watches the stack of this thread from now on, unless someone handles that signal already.
pub(super) fn watch() {
    let Some(guard) = guard() else { return };
    BEGIN.store(guard.start, Ordering::Relaxed);
    END.store(guard.end, Ordering::Relaxed);
    let room = vec![0_u8; ROOM].leak();
    let stack = libc::stack_t { ss_sp: room.as_mut_ptr().cast(), ss_flags: 0, ss_size: ROOM };
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the room is never given back. The structures are valid, all zeroes being an action and a mask. What the
    // handler does may be done at any time.
    unsafe {
        if libc::sigaction(libc::SIGSEGV, ptr::null(), before.as_mut_ptr()) != 0
            || before.assume_init_ref().sa_sigaction != libc::SIG_DFL
            || libc::sigaltstack(&raw const stack, ptr::null_mut()) != 0
        {
            return;
        }
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = on_fault as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut());
    }
}

/// The guarded pages below this thread's stack, or those at its end, which depends on the system's library.
fn guard() -> Option<Range<usize>> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut start, mut size, mut guard) = (ptr::null_mut(), 0, 0);
    // SAFETY: the attributes are read only if they were written, and destroyed once; the rest are places to write to.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size);
        libc::pthread_attr_getguardsize(attributes.as_ptr(), &raw mut guard);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    Some(start.addr().checked_sub(guard)?..start.addr() + guard)
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the system hands over what it knows of a fault, as it was asked to.
    let address = unsafe { (*info).si_addr() }.addr();
    if (BEGIN.load(Ordering::Relaxed)..END.load(Ordering::Relaxed)).contains(&address) {
        // Nobody can be told that it does not work.
        let _ = rustix::io::write(rustix::stdio::stderr(), MESSAGE);
    }
    // SAFETY: both may be called in a handler. The signal ends this process as soon as this returns, as if nobody had
    // handled it.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}
