//! A pile of short jobs: each worker takes its next input itself, and nothing passes through the calling thread.
//!
//! Where a job takes less than a millisecond, and the processors are busy with what it has started, a thread that hands out
//! work is one more that wants to run: it costs more than the work. So the executor is given one task for each worker, which
//! goes on from input to input. What is agreed for each job, time limit apart, is the same as in a batch otherwise.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use raincheck::InProcess;

use super::{Again, Batch, Done, Failure, Open, Tried, Waiting, lane};
use crate::report::event::{Expected, Outcome, Status};
use crate::report::{Attempt, Label, Report};

/// Where inputs come from that may keep one waiting, as a pipe does.
pub(crate) trait Inputs {
    type Input;

    /// The next one, if there is one yet. Does not block.
    fn next(&mut self) -> Next<Self::Input>;

    /// Calls this once, on any thread, as soon as `next` has something else to say than `Later`.
    fn wake(&mut self, wake: impl FnOnce() + Send + 'static);

    /// How many there are in all, as soon as that is known.
    fn total(&self) -> Option<u64>;
}

/// What [`Inputs`] have to give.
#[derive(Debug)]
pub(crate) enum Next<I> {
    Input(I),
    /// None yet.
    Later,
    /// And never another one.
    End,
}

impl Batch<'_> {
    /// Runs a job for each input, and returns when all are done, or when the user has asked to stop and what runs has
    /// come to its end: `work` must see to that.
    ///
    /// The time limit is for `work` to keep, too.
    pub(crate) fn run_in_lanes<I, In>(
        &self,
        executor: &impl InProcess,
        inputs: In,
        label: impl Fn(&I) -> Label + Sync,
        work: impl Fn(I, &Attempt) -> Tried<()> + Sync,
    ) where
        I: Clone + Send,
        In: Inputs<Input = I> + Send,
    {
        let news = Arc::new(News::default());
        let told = Arc::clone(&news);
        self.interrupt.on_asked(move || told.tell());
        let state = State { inputs, more: true, counted: None, waiting: BinaryHeap::new(), turn: 0, running: 0 };
        let lanes = Lanes { batch: self, label, work, state: Mutex::new(state), news };
        executor.scope(|scope| {
            for _ in 0..executor.workers() {
                // A lane catches what panics in it: there is nothing to learn from its future.
                let _ = scope.submit(|| lanes.drive());
            }
        });
        let why = if self.interrupt.asked().is_some() { "interrupted" } else { "the command could not go on" };
        let mut state = lanes.state.into_inner().expect(NOT_POISONED);
        state.count(self.report);
        for Waiting { open, .. } in state.waiting {
            open.job.finish(Outcome::not_done(Status::Cancelled, why));
        }
    }
}

struct Lanes<'a, I, In, L, W> {
    batch: &'a Batch<'a>,
    label: L,
    work: W,
    state: Mutex<State<I, In>>,
    news: Arc<News>,
}

struct State<I, In> {
    inputs: In,
    more: bool,
    /// So many there are, as the report has been told.
    counted: Option<u64>,
    waiting: BinaryHeap<Waiting<I>>,
    /// Tells apart what is due at the same time.
    turn: u64,
    /// Jobs that may yet come back to be tried again.
    running: usize,
}

impl<I, In: Inputs<Input = I>> State<I, In> {
    /// Tells how many there are, if that is known, and known better than before.
    fn count(&mut self, report: &Report) {
        let total = self.inputs.total();
        if total.is_some() && total != self.counted {
            self.counted = total;
            report.expect(Expected { jobs: total, bytes: None });
        }
    }
}

/// What a lane is to do next.
enum Step<I> {
    Try(Open<I>),
    /// Look again when there is news, or at this time.
    Wait(Option<Instant>),
    End,
}

impl<I, In, L, W> Lanes<'_, I, In, L, W>
where
    I: Clone,
    In: Inputs<Input = I>,
    L: Fn(&I) -> Label,
    W: Fn(I, &Attempt) -> Tried<()>,
{
    /// What one worker does.
    fn drive(&self) {
        loop {
            let seen = self.news.seen();
            match self.step() {
                Step::Try(open) => self.attempt(open),
                Step::Wait(until) => self.news.wait(seen, until),
                Step::End => return,
            }
        }
    }

    fn step(&self) -> Step<I> {
        let mut state = self.state();
        if self.batch.interrupt.asked().is_some() {
            return Step::End;
        }
        if state.waiting.peek().is_some_and(|waiting| waiting.due.0.0 <= Instant::now()) {
            state.running += 1;
            return Step::Try(state.waiting.pop().expect("one was just seen").open);
        }
        if state.more {
            let next = state.inputs.next();
            if state.counted.is_none() {
                state.count(self.batch.report);
            }
            match next {
                Next::Input(input) => {
                    state.running += 1;
                    // Under the lock, so that jobs are numbered in the order of their inputs.
                    let job = self.batch.report.submit((self.label)(&input));
                    return Step::Try(Open { input, job, attempts: 0 });
                }
                Next::Later => {
                    if !self.news.is_awaited.swap(true, Ordering::Relaxed) {
                        let news = Arc::clone(&self.news);
                        state.inputs.wake(move || {
                            news.is_awaited.store(false, Ordering::Relaxed);
                            news.tell();
                        });
                    }
                }
                Next::End => state.more = false,
            }
        }
        if !state.more && state.running == 0 && state.waiting.is_empty() {
            self.news.tell();
            return Step::End;
        }
        Step::Wait(state.waiting.peek().map(|waiting| waiting.due.0.0))
    }

    fn attempt(&self, mut open: Open<I>) {
        open.attempts += 1;
        let attempt = open.job.start(lane());
        let tried = panic::catch_unwind(AssertUnwindSafe(|| (self.work)(open.input.clone(), &attempt)));
        let again = match tried.unwrap_or_else(|_| Err(Failure::for_good("it panicked"))) {
            Ok(Done { bytes, value: () }) => {
                open.job.finish(Outcome::done(bytes));
                None
            }
            Err(failure) => self.settle(&open, failure),
        };
        let mut state = self.state();
        state.running -= 1;
        if let Some(due) = again {
            state.turn += 1;
            let due = Reverse((due, state.turn));
            state.waiting.push(Waiting { due, open });
        }
        if again.is_some() || (!state.more && state.running == 0) {
            self.news.tell();
        }
    }

    /// When to try again, if at all.
    fn settle(&self, open: &Open<I>, failure: Failure) -> Option<Instant> {
        let again = failure.again != Again::Never && open.attempts <= self.batch.retries;
        if !again || self.batch.interrupt.asked().is_some() {
            open.job.finish(Outcome::not_done(failure.status, failure.reason));
            return None;
        }
        let wait = failure.again.wait(open.attempts);
        open.job.retry(wait, failure.reason);
        Some(Instant::now() + wait)
    }

    fn state(&self) -> MutexGuard<'_, State<I, In>> {
        self.state.lock().expect(NOT_POISONED)
    }
}

const NOT_POISONED: &str = "the work is done while nothing is locked";

/// Announces that there may be something to do.
///
/// A lane notes what it has seen before it looks; so it cannot miss what is announced while it looks.
#[derive(Default)]
struct News {
    number: Mutex<u64>,
    changed: Condvar,
    /// The inputs have been asked to announce the next one.
    is_awaited: AtomicBool,
}

impl News {
    fn seen(&self) -> u64 {
        *self.number.lock().expect(NOT_POISONED)
    }

    fn tell(&self) {
        *self.number.lock().expect(NOT_POISONED) += 1;
        self.changed.notify_all();
    }

    fn wait(&self, seen: u64, until: Option<Instant>) {
        let number = self.number.lock().expect(NOT_POISONED);
        let is_old = |number: &mut u64| *number == seen;
        match until {
            None => drop(self.changed.wait_while(number, is_old).expect(NOT_POISONED)),
            Some(until) => {
                let limit = until.saturating_duration_since(Instant::now());
                drop(self.changed.wait_timeout_while(number, limit, is_old).expect(NOT_POISONED));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::num::NonZeroUsize;
    use std::sync::atomic::AtomicU32;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::args::ExecutorName;
    use crate::executors;
    use crate::interrupt::{Interrupt, Signal};
    use crate::report::Plan;

    const EXECUTORS: [ExecutorName; 3] = [ExecutorName::Inline, ExecutorName::Thread, ExecutorName::Tokio];

    type Wake = Box<dyn FnOnce() + Send>;

    /// Inputs that a test hands in.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Handed>>);

    #[derive(Default)]
    struct Handed {
        inputs: VecDeque<u64>,
        ended: bool,
        wake: Option<Wake>,
    }

    impl Slow {
        fn give(&self, inputs: impl IntoIterator<Item = u64>, ended: bool) {
            let mut handed = self.0.lock().unwrap();
            handed.inputs.extend(inputs);
            handed.ended = ended;
            let wake = handed.wake.take();
            drop(handed);
            if let Some(wake) = wake {
                wake();
            }
        }
    }

    impl Inputs for Slow {
        type Input = u64;

        fn next(&mut self) -> Next<u64> {
            let mut handed = self.0.lock().unwrap();
            match (handed.inputs.pop_front(), handed.ended) {
                (Some(input), _) => Next::Input(input),
                (None, true) => Next::End,
                (None, false) => Next::Later,
            }
        }

        fn wake(&mut self, wake: impl FnOnce() + Send + 'static) {
            let mut handed = self.0.lock().unwrap();
            if handed.inputs.is_empty() && !handed.ended {
                handed.wake = Some(Box::new(wake));
                return;
            }
            drop(handed);
            wake();
        }

        fn total(&self) -> Option<u64> {
            None
        }
    }

    fn run(
        name: ExecutorName,
        interrupt: &Interrupt,
        retries: u32,
        inputs: Slow,
        work: impl Fn(u64, &Attempt) -> Tried<()> + Sync,
    ) -> [u64; 6] {
        let report = Report::open(Plan::silent(), interrupt).unwrap();
        let batch = Batch { report: &report, interrupt, timeout: None, retries, under_way: 2 };
        let executor = executors::make_here(name, NonZeroUsize::new(2).unwrap()).unwrap();
        batch.run_in_lanes(&executor, inputs, |input| input.to_string().into(), work);
        Status::ALL.map(|status| report.count(status))
    }

    fn done(_: u64, _: &Attempt) -> Tried<()> {
        Ok(Done { bytes: 0, value: () })
    }

    #[test]
    fn each_input_is_done_once_on_every_executor() {
        for name in EXECUTORS {
            let inputs = Slow::default();
            inputs.give(0..1000, true);
            let sum = AtomicU32::new(0);

            let counts = run(name, &Interrupt::default(), 0, inputs, |input, attempt| {
                sum.fetch_add(input as u32, Ordering::Relaxed);
                done(input, attempt)
            });

            assert_eq!((counts, sum.into_inner()), ([1000, 0, 0, 0, 0, 0], 499_500), "{name:?}");
        }
    }

    #[test]
    fn inputs_may_come_while_the_jobs_run() {
        for name in EXECUTORS {
            let inputs = Slow::default();
            let later = inputs.clone();
            thread::scope(|scope| {
                scope.spawn(move || {
                    (0..50).for_each(|input| later.give([input], false));
                    later.give([50], true);
                });

                assert_eq!(run(name, &Interrupt::default(), 0, inputs, done), [51, 0, 0, 0, 0, 0], "{name:?}");
            });
        }
    }

    #[test]
    fn what_fails_is_tried_again_and_a_panic_is_not() {
        for name in EXECUTORS {
            let inputs = Slow::default();
            inputs.give(0..4, true);
            let attempts = AtomicU32::new(0);

            let counts = run(name, &Interrupt::default(), 2, inputs, |input, attempt| match input {
                1 if attempt.number() < 3 => {
                    attempts.fetch_add(1, Ordering::Relaxed);
                    Err(Failure { again: Again::After(Duration::ZERO), ..Failure::for_now("not yet") })
                }
                2 => panic!("no umbrella"),
                _ => done(input, attempt),
            });

            assert_eq!((counts, attempts.into_inner()), ([3, 0, 1, 0, 0, 0], 2), "{name:?}");
        }
    }

    #[test]
    fn an_interrupt_ends_lanes_that_wait_for_inputs() {
        for name in EXECUTORS {
            let interrupt = Interrupt::default();
            let inputs = Slow::default();
            inputs.give([0], false);

            let counts = run(name, &interrupt, 0, inputs, |input, attempt| {
                interrupt.ask(Signal::Interrupt);
                done(input, attempt)
            });

            assert_eq!(counts, [1, 0, 0, 0, 0, 0], "{name:?}");
        }
    }
}
