//! Ends this process when it has used up a stretch of processor time, to the tick of the system's clock.
//!
//! `RLIMIT_CPU` alone counts in whole seconds.
#![expect(unsafe_code, reason = "the system's timers are got at by calls of C")]

use std::{
    mem::{self, MaybeUninit},
    ptr,
    sync::OnceLock,
    time::Duration,
};

/// A timer that runs while this process does, and sends it SIGXCPU when it is over.
struct Meter(libc::timer_t);

// SAFETY: it is a number of the system's, by which any thread may set the timer.
unsafe impl Send for Meter {}
// SAFETY: as above.
unsafe impl Sync for Meter {}

/// This process's only one; `None` if the system has none to give.
static METER: OnceLock<Option<Meter>> = OnceLock::new();

/// Ends this process by SIGXCPU when it has used so much more processor time, unless this is called again before. After
/// no time at all it does not.
pub(super) fn end_after(time: Duration) {
    if let Some(meter) = METER.get_or_init(Meter::new) {
        meter.set(time);
    }
}

impl Meter {
    fn new() -> Option<Self> {
        // SAFETY: no field of it means anything that nothing must not.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGXCPU;
        let mut timer = MaybeUninit::uninit();
        // SAFETY: there is room for the number, which is written if there is a timer.
        let made = unsafe { libc::timer_create(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut event, timer.as_mut_ptr()) };
        // SAFETY: as said.
        (made == 0).then(|| Self(unsafe { timer.assume_init() }))
    }

    fn set(&self, time: Duration) {
        let time = libc::timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: time.subsec_nanos() as libc::c_long,
        };
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let once = libc::itimerspec { it_interval: never, it_value: time };
        // SAFETY: the timer is there for as long as this process is, and nobody wants to know what it was set to.
        unsafe { libc::timer_settime(self.0, 0, &raw const once, ptr::null_mut()) };
    }
}
