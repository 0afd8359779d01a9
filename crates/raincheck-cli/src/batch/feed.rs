//! Reads inputs ahead, on a thread of its own, so that a slow pipe keeps nobody else waiting. Where there is nothing to wait
//! for, whoever asks for the next input reads it, which costs less.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::lanes::{Inputs, Next};
use crate::error::Error;

/// Handed over at a time, when there are so many.
const TOGETHER: usize = 64;

/// What makes inputs, one after the other.
pub(crate) trait Produce: Send + 'static {
    type Input: Send + 'static;

    /// The next one. Blocks until there is one.
    fn next(&mut self) -> Result<Option<Self::Input>, Error>;

    /// Whether `next` may block.
    fn may_block(&self) -> bool;

    /// Whether this one is of those that are counted.
    fn counts(&self, input: &Self::Input) -> bool {
        let _ = input;
        true
    }
}

/// Inputs that are read ahead.
pub(crate) struct Feed<I> {
    shared: Arc<Shared<I>>,
    /// Who makes them, if they are not read ahead.
    producer: Option<Box<dyn Produce<Input = I>>>,
    /// Known before they are read.
    total: Option<u64>,
}

struct Shared<I> {
    /// So many are read ahead at most.
    ahead: usize,
    state: Mutex<State<I>>,
    /// Announces that there is room again.
    room: Condvar,
}

struct State<I> {
    ready: VecDeque<I>,
    produced: u64,
    /// There is no more to give out: all was read, or nobody wants it.
    ended: bool,
    /// All was read, so far as it could be.
    read: bool,
    error: Option<Error>,
    wake: Option<Box<dyn FnOnce() + Send>>,
}

impl<I: Send + 'static> Feed<I> {
    /// Begins to read, at most so many ahead.
    pub(crate) fn start(producer: impl Produce<Input = I>, ahead: usize, total: Option<u64>) -> Result<Self, Error> {
        let feed = Self { shared: Shared::new(ahead), producer: None, total };
        let filled = Arc::clone(&feed.shared);
        thread::Builder::new()
            .name("inputs".into())
            .spawn(move || filled.fill(producer))
            .map_err(|error| Error::new("cannot start a thread for the inputs").because(error))?;
        Ok(feed)
    }

    /// Reads none ahead: each is made when it is asked for. To be used where that takes no time.
    pub(crate) fn here(producer: impl Produce<Input = I>, total: Option<u64>) -> Self {
        Self { shared: Shared::new(0), producer: Some(Box::new(producer)), total }
    }

    /// Gives out no more from here on, whatever there is.
    pub(crate) fn stop(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || {
            let mut state = shared.state();
            state.ready.clear();
            shared.end(state);
        }
    }

    /// How many there are, as soon as that is known.
    pub(crate) fn watch_total(&self) -> impl Fn() -> Option<u64> + Send + Sync + 'static {
        let (shared, known) = (Arc::clone(&self.shared), self.total);
        move || shared.total(known)
    }

    /// Why there were no more inputs, if that was an error.
    pub(crate) fn trouble(&self) -> impl FnOnce() -> Option<Error> + use<I> {
        let shared = Arc::clone(&self.shared);
        move || shared.state().error.take()
    }
}

impl<I: Send + 'static> Shared<I> {
    fn new(ahead: usize) -> Arc<Self> {
        let state = State { ready: VecDeque::new(), produced: 0, ended: false, read: false, error: None, wake: None };
        Arc::new(Self { ahead, state: Mutex::new(state), room: Condvar::new() })
    }

    /// The next one, of whoever makes them; the lock is not held meanwhile.
    fn make(&self, producer: &mut dyn Produce<Input = I>) -> Next<I> {
        if self.state().ended {
            return Next::End;
        }
        let made = producer.next();
        let mut state = self.state();
        match made {
            Ok(Some(input)) => {
                state.produced += u64::from(producer.counts(&input));
                Next::Input(input)
            }
            Ok(None) => {
                (state.ended, state.read) = (true, true);
                Next::End
            }
            Err(error) => {
                (state.error, state.ended, state.read) = (Some(error), true, true);
                Next::End
            }
        }
    }

    fn fill(&self, mut producer: impl Produce<Input = I>) {
        let (mut together, mut counted) = (Vec::new(), 0);
        loop {
            let full = together.len() >= TOGETHER.min(self.ahead);
            if !together.is_empty() && (full || producer.may_block()) && !self.hand_over(&mut together, &mut counted) {
                return;
            }
            match producer.next() {
                Ok(Some(input)) => {
                    counted += u64::from(producer.counts(&input));
                    together.push(input);
                }
                Ok(None) => break,
                Err(error) => {
                    self.state().error = Some(error);
                    break;
                }
            }
        }
        let all_is_given = self.hand_over(&mut together, &mut counted);
        let mut state = self.state();
        state.read = all_is_given;
        self.end(state);
    }

    /// Waits for room. Returns false if nobody wants any more.
    fn hand_over(&self, together: &mut Vec<I>, counted: &mut u64) -> bool {
        let state = self.room.wait_while(self.state(), |state| state.ready.len() >= self.ahead && !state.ended);
        let mut state = state.expect("the lock is held by the queue alone");
        if state.ended {
            return false;
        }
        state.produced += std::mem::take(counted);
        state.ready.extend(together.drain(..));
        let wake = state.wake.take();
        drop(state);
        if let Some(wake) = wake {
            wake();
        }
        true
    }

    fn end(&self, mut state: MutexGuard<'_, State<I>>) {
        state.ended = true;
        let wake = state.wake.take();
        drop(state);
        self.room.notify_all();
        if let Some(wake) = wake {
            wake();
        }
    }

    fn total(&self, known: Option<u64>) -> Option<u64> {
        let state = self.state();
        if state.read { Some(state.produced) } else { known }
    }

    fn state(&self) -> MutexGuard<'_, State<I>> {
        self.state.lock().expect("the lock is held by the queue alone")
    }
}

impl<I: Send + 'static> Inputs for Feed<I> {
    type Input = I;

    fn next(&mut self) -> Next<I> {
        if let Some(producer) = &mut self.producer {
            return self.shared.make(&mut **producer);
        }
        let mut state = self.shared.state();
        match state.ready.pop_front() {
            Some(input) => {
                // Waking the thread for each one would cost more than reading it does.
                let is_time = state.ready.len() == self.shared.ahead / 2;
                drop(state);
                if is_time {
                    self.shared.room.notify_one();
                }
                Next::Input(input)
            }
            None if state.ended => Next::End,
            None => Next::Later,
        }
    }

    fn wake(&mut self, wake: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.state();
        if state.ready.is_empty() && !state.ended {
            state.wake = Some(Box::new(wake));
            return;
        }
        drop(state);
        wake();
    }

    fn total(&self) -> Option<u64> {
        self.shared.total(self.total)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use super::*;

    /// The even ones of numbers are not counted.
    struct OddOnes(std::vec::IntoIter<u64>);

    impl Produce for OddOnes {
        type Input = u64;

        fn next(&mut self) -> Result<Option<u64>, Error> {
            Ok(self.0.next())
        }

        fn may_block(&self) -> bool {
            false
        }

        fn counts(&self, input: &u64) -> bool {
            input % 2 == 1
        }
    }

    #[test]
    fn the_total_is_of_those_that_count() {
        let numbers = || OddOnes(vec![1, 2, 3, 4, 5].into_iter());
        for mut feed in [Feed::here(numbers(), Some(9)), Feed::start(numbers(), 2, Some(9)).unwrap()] {
            let mut came = 0;
            while came < 5 {
                came += u64::from(next(&mut feed).is_some());
            }
            while next(&mut feed).is_none() && feed.total() == Some(9) {}

            assert_eq!(feed.total(), Some(3));
        }
    }

    /// Numbers that come through a channel: `None` is the end.
    struct Slow(Receiver<Option<u64>>);

    impl Produce for Slow {
        type Input = u64;

        fn next(&mut self) -> Result<Option<u64>, Error> {
            self.0.recv().map_err(|error| Error::new("cannot read").because(error))
        }

        fn may_block(&self) -> bool {
            true
        }
    }

    fn next(feed: &mut Feed<u64>) -> Option<u64> {
        loop {
            match feed.next() {
                Next::Input(input) => return Some(input),
                Next::End => return None,
                Next::Later => {
                    let (told, hears) = mpsc::channel();
                    feed.wake(move || told.send(()).unwrap());
                    hears.recv().unwrap();
                }
            }
        }
    }

    /// Numbers up to ten, and then none that can be read.
    struct Numbers(u64);

    impl Produce for Numbers {
        type Input = u64;

        fn next(&mut self) -> Result<Option<u64>, Error> {
            self.0 += 1;
            if self.0 > 10 { Err(Error::new("cannot count further")) } else { Ok(Some(self.0)) }
        }

        fn may_block(&self) -> bool {
            false
        }
    }

    #[test]
    fn inputs_made_here_come_in_order_until_the_trouble() {
        let mut feed = Feed::here(Numbers(0), Some(12));
        let trouble = feed.trouble();
        assert_eq!(feed.total(), Some(12));

        for number in 1..=10 {
            assert_eq!(next(&mut feed), Some(number));
        }
        assert_eq!((next(&mut feed), next(&mut feed)), (None, None));
        assert_eq!(feed.total(), Some(10));
        assert!(trouble().is_some());
    }

    #[test]
    fn no_input_is_made_here_after_the_stop() {
        let mut feed = Feed::here(Numbers(0), None);
        assert_eq!(next(&mut feed), Some(1));
        (feed.stop())();

        assert_eq!(next(&mut feed), None);
    }

    #[test]
    fn how_many_there_are_is_no_better_known_after_the_stop() {
        let (send, receive) = mpsc::channel();
        for known in [None, Some(12)] {
            let mut here = Feed::here(Numbers(0), known);
            assert_eq!(next(&mut here), Some(1));
            (here.stop())();

            assert_eq!((next(&mut here), here.total()), (None, known));
        }
        let mut ahead = Feed::start(Slow(receive), 9, None).unwrap();
        send.send(Some(1)).unwrap();
        assert_eq!(next(&mut ahead), Some(1));
        (ahead.stop())();

        assert_eq!((next(&mut ahead), ahead.total()), (None, None));
        drop(send);
    }

    #[test]
    fn an_input_comes_as_soon_as_it_is_there() {
        let (send, receive) = mpsc::channel();
        let mut feed = Feed::start(Slow(receive), 1, None).unwrap();
        assert!(matches!(feed.next(), Next::Later));

        for number in [1, 2] {
            send.send(Some(number)).unwrap();
            assert_eq!(next(&mut feed), Some(number));
        }
        send.send(None).unwrap();

        assert_eq!(next(&mut feed), None);
        assert_eq!(feed.total(), Some(2));
    }

    #[test]
    fn an_error_ends_the_inputs_and_is_kept() {
        let (send, receive) = mpsc::channel();
        let mut feed = Feed::start(Slow(receive), 9, None).unwrap();
        let trouble = feed.trouble();
        send.send(Some(1)).unwrap();
        drop(send);

        assert_eq!((next(&mut feed), next(&mut feed)), (Some(1), None));
        assert!(trouble().unwrap().to_string().starts_with("cannot read"));
    }

    #[test]
    fn a_stop_wakes_whoever_waits() {
        let (send, receive) = mpsc::channel();
        let mut feed = Feed::start(Slow(receive), 1, None).unwrap();
        let stop = feed.stop();

        thread::scope(|scope| {
            scope.spawn(stop);
            assert_eq!(next(&mut feed), None);
        });
        drop(send);
    }
}
