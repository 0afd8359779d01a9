//! Ctrl-C and SIGTERM: the first asks the work to stop, the second stops the program.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::error::Error;

/// A signal that asks the program to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    /// What shells show for a program that this signal ended.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Whether a signal has asked this process to stop.
static SIGNALLED: AtomicBool = AtomicBool::new(false);

/// Whether nobody wants the outcome of the job that calls this: it is cancelled, or the user has asked to stop.
///
/// Who submits a job to `inline` has its future only when it is done, and so can cancel nothing.
pub(crate) fn job_is_unwanted() -> bool {
    raincheck::cancelled() || SIGNALLED.load(Ordering::Relaxed)
}

/// Whether the user has asked to stop. Clones watch for the same.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<State>>);

type Action = Box<dyn FnOnce() + Send>;

enum State {
    /// Nobody asked yet; when someone does, these run.
    Calm(Vec<Action>),
    /// Never left.
    Asked(Signal),
}

impl Default for State {
    fn default() -> Self {
        Self::Calm(Vec::new())
    }
}

impl Interrupt {
    /// Listens for signals from now on, for as long as the program runs.
    ///
    /// # Errors
    ///
    /// If the system does not let it.
    pub(crate) fn install() -> Result<Self, Error> {
        Self::listen().map_err(|error| Error::new("cannot listen for Ctrl-C").because(error))
    }

    fn listen() -> io::Result<Self> {
        let interrupt = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let watched = interrupt.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                let signal = match signal {
                    SIGTERM => Signal::Terminate,
                    _ => Signal::Interrupt,
                };
                SIGNALLED.store(true, Ordering::Relaxed);
                if !watched.ask(signal) {
                    low_level::exit(signal.exit_code().into());
                }
            }
        })?;
        Ok(interrupt)
    }

    /// The signal that asked to stop, if one did.
    pub(crate) fn asked(&self) -> Option<Signal> {
        match *self.state() {
            State::Asked(signal) => Some(signal),
            State::Calm(_) => None,
        }
    }

    /// Runs this when the user asks to stop, on another thread; at once, if that was before.
    pub(crate) fn on_asked(&self, action: impl FnOnce() + Send + 'static) {
        if let State::Calm(actions) = &mut *self.state() {
            actions.push(Box::new(action));
            return;
        }
        action();
    }

    /// Takes in a signal. Returns false if it is not the first one.
    pub(crate) fn ask(&self, signal: Signal) -> bool {
        let actions = match &mut *self.state() {
            State::Asked(_) => return false,
            state @ State::Calm(_) => match std::mem::replace(state, State::Asked(signal)) {
                State::Calm(actions) => actions,
                State::Asked(_) => unreachable!("the state was calm under this very lock"),
            },
        };
        // Outside the lock, and off this thread: a second signal must get through even while these run.
        thread::spawn(move || actions.into_iter().for_each(|action| action()));
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("the lock is never held across an action")
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interrupt").field(&self.asked()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_first_signal_runs_the_actions_and_holds() {
        let interrupt = Interrupt::default();
        let (told, hears) = mpsc::channel();
        let early = told.clone();
        interrupt.on_asked(move || early.send("registered before").unwrap());
        assert_eq!(interrupt.asked(), None);

        assert!(interrupt.ask(Signal::Terminate));
        assert!(!interrupt.ask(Signal::Interrupt), "the second one is for the program to end at once");

        assert_eq!(hears.recv(), Ok("registered before"));
        assert_eq!(interrupt.asked(), Some(Signal::Terminate));
        interrupt.on_asked(move || told.send("registered after").unwrap());
        assert_eq!(hears.recv(), Ok("registered after"));
    }
}
