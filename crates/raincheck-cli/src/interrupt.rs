//! Ctrl-C and SIGTERM: the first asks the work to stop, the second stops the program. Ctrl-Z: until someone says `fg`.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGTSTP};
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

/// So long the program stays at most when it is to end at once, to leave the terminal as it should be.
const LEAVING: Duration = Duration::from_millis(100);

/// Whether the user has asked to stop. Clones watch for the same.
#[derive(Clone, Default)]
pub(crate) struct Interrupt(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// What is done before the program ends at once.
    leaving: Mutex<Vec<Action>>,
    pauses: Mutex<Vec<Pause>>,
}

type Action = Box<dyn FnOnce() + Send>;
type Pause = Box<dyn Fn(&mut dyn FnMut()) + Send>;

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
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGTSTP])?;
        let watched = interrupt.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                let signal = match signal {
                    SIGTSTP => {
                        watched.pause(|| drop(low_level::emulate_default_handler(SIGTSTP)));
                        continue;
                    }
                    SIGTERM => Signal::Terminate,
                    _ => Signal::Interrupt,
                };
                SIGNALLED.store(true, Ordering::Relaxed);
                if !watched.ask(signal) {
                    watched.leave();
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

    /// Runs this before the program ends at once, in whatever state it is; but nobody waits long for it.
    pub(crate) fn on_leaving(&self, action: impl FnOnce() + Send + 'static) {
        self.0.leaving.lock().expect(NOT_POISONED).push(Box::new(action));
    }

    /// Runs this, on another thread, whenever the program is to be stopped until it is told to go on: it must call what it
    /// is given, which does that.
    pub(crate) fn on_pause(&self, around: impl Fn(&mut dyn FnMut()) + Send + 'static) {
        self.0.pauses.lock().expect(NOT_POISONED).push(Box::new(around));
    }

    /// Stops within all that is to be done around that.
    fn pause(&self, stop: impl FnOnce() + Send + 'static) {
        let shared = Arc::clone(&self.0);
        // Off this thread, since a signal to end must get through even if the terminal takes nothing.
        thread::spawn(move || {
            // If it is locked, it is being stopped.
            let Ok(pauses) = shared.pauses.try_lock() else { return };
            let mut stop = Some(stop);
            within(&pauses, &mut || stop.take().into_iter().for_each(|stop| stop()));
        });
    }

    fn leave(&self) {
        let shared = Arc::clone(&self.0);
        let (left, has_left) = mpsc::channel();
        thread::spawn(move || {
            let actions = std::mem::take(&mut *shared.leaving.lock().expect(NOT_POISONED));
            actions.into_iter().for_each(|action| action());
            let _ = left.send(());
        });
        let _ = has_left.recv_timeout(LEAVING);
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
        self.0.state.lock().expect("the lock is never held across an action")
    }
}

const NOT_POISONED: &str = "what is done around a stop does not panic";

fn within(pauses: &[Pause], stop: &mut dyn FnMut()) {
    match pauses.split_first() {
        Some((outer, inner)) => outer(&mut || within(inner, stop)),
        None => stop(),
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

    #[test]
    fn a_stop_is_within_all_that_is_to_be_around_it() {
        let interrupt = Interrupt::default();
        let (told, hears) = mpsc::channel();
        for (before, after) in [("bar away", "bar back"), ("jobs stop", "jobs go on")] {
            let told = told.clone();
            interrupt.on_pause(move |stop| {
                told.send(before).unwrap();
                stop();
                told.send(after).unwrap();
            });
        }

        interrupt.pause(move || told.send("stopped").unwrap());

        let heard: Vec<_> = (0..5).map(|_| hears.recv().unwrap()).collect();
        assert_eq!(heard, ["bar away", "jobs stop", "stopped", "jobs go on", "bar back"]);
    }
}
