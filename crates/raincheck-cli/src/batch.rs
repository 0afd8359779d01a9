//! A pile of jobs, run on an executor: each told to the report, tried again if it fails, and ended on Ctrl-C.
//!
//! Jobs are taken from their source as workers become free, so that an endless source is fine. Everything here happens
//! on the thread that calls; only the work itself is on the executor.

pub(crate) mod feed;
pub(crate) mod lanes;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use raincheck::{
    Call, CompletionQueue, Event, Executor, InProcess, Moment, Options, Promise, TaskError, TaskFunction, TaskFuture,
    With, promise,
};
use serde::{Deserialize, Serialize};

use crate::args::JobOptions;
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::report::event::{Expected, Outcome, Status};
use crate::report::{Attempt, Job, Label, Report};

/// The wait before the second attempt; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long what runs may take to notice that it was cancelled.
const GRACE: Duration = Duration::from_millis(500);

/// What a job that was done hands over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done<T> {
    /// What it moved or read, for the report.
    pub(crate) bytes: u64,
    pub(crate) value: T,
}

/// Why an attempt at a job failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) reason: String,
    pub(crate) again: Again,
}

/// Whether another attempt may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Again {
    Never,
    /// After the usual wait.
    Later,
    /// Not before so long: the other side said so.
    After(Duration),
}

/// What an attempt comes to.
pub(crate) type Tried<T> = Result<Done<T>, Failure>;

impl Failure {
    /// There is no such thing, and asking again will not change that.
    pub(crate) fn not_found(reason: impl Into<String>) -> Self {
        Self { status: Status::NotFound, reason: reason.into(), again: Again::Never }
    }

    /// It will fail the same way each time.
    pub(crate) fn for_good(reason: impl Into<String>) -> Self {
        Self { status: Status::Failed, reason: reason.into(), again: Again::Never }
    }

    /// Another attempt may succeed.
    pub(crate) fn for_now(reason: impl Into<String>) -> Self {
        Self { status: Status::Failed, reason: reason.into(), again: Again::Later }
    }

    /// The attempt noticed that nobody wants its outcome any more.
    pub(crate) fn stopped() -> Self {
        Self { status: Status::Cancelled, reason: "stopped".into(), again: Again::Never }
    }
}

impl From<&TaskError> for Failure {
    fn from(error: &TaskError) -> Self {
        match error {
            TaskError::Cancelled | TaskError::ShutDown => Self::stopped(),
            TaskError::TimedOut { limit } => Self {
                status: Status::TimedOut,
                reason: format!("took longer than {}", crate::report::figures::seconds(*limit)),
                again: Again::Later,
            },
            TaskError::WorkerLost(_) => Self::for_now(error.to_string()),
            // A panic is a bug of ours, and would be one the next time too.
            other => Self::for_good(other.to_string()),
        }
    }
}

/// How one attempt is handed to an executor: as the call of a task or as a future.
pub(crate) trait Way<E, I, T> {
    fn submit(&self, executor: &With<'_, E>, input: I, job: Job) -> TaskFuture<Tried<T>>;
}

/// By the call of a task, which any executor can carry. It says how far it is by [`raincheck::progress`].
pub(crate) struct Calls<F>(pub(crate) F);

/// By a function that returns a future.
pub(crate) struct Async<F>(pub(crate) F);

impl<E, I, T, F, Fun> Way<E, I, T> for Calls<F>
where
    E: Executor,
    T: Send + 'static,
    F: Fn(I) -> Call<Fun>,
    Fun: TaskFunction<Output = Tried<T>>,
{
    fn submit(&self, executor: &With<'_, E>, input: I, job: Job) -> TaskFuture<Tried<T>> {
        let attempt: Mutex<Option<Attempt>> = Mutex::default();
        let told = move |event: &Event| {
            let mut attempt = attempt.lock().unwrap_or_else(PoisonError::into_inner);
            match event.moment {
                Moment::Started(lane) => *attempt = Some(job.start(lane.index())),
                Moment::Progress(bytes) => attempt.iter().for_each(|attempt| attempt.progress(bytes)),
                _ => {}
            }
        };
        executor.with(Options::new().observer(told)).submit((self.0)(input))
    }
}

impl<E, I, T, F, R> Way<E, I, T> for Async<F>
where
    E: InProcess,
    I: Send + 'static,
    T: Send + 'static,
    F: Fn(I, Attempt) -> R + Clone + Send + 'static,
    R: Future<Output = Tried<T>> + Send + 'static,
{
    fn submit(&self, executor: &With<'_, E>, input: I, job: Job) -> TaskFuture<Tried<T>> {
        let work = self.0.clone();
        executor.submit(async move { work(input, job.start(lane())).await })
    }
}

fn lane() -> usize {
    raincheck::lane().map_or(0, |lane| lane.index())
}

/// What the jobs of one run have in common.
pub(crate) struct Batch<'r> {
    pub(crate) report: &'r Report,
    pub(crate) interrupt: &'r Interrupt,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: u32,
    /// How many jobs are under way for each worker. Two: one runs, and one waits, so that no worker waits for the thread
    /// that hands them out. Where jobs take microseconds, waking it for each would cost more than the job: then more.
    pub(crate) under_way: usize,
}

impl<'r> Batch<'r> {
    pub(crate) fn new(report: &'r Report, interrupt: &'r Interrupt, options: &JobOptions) -> Self {
        Self { report, interrupt, timeout: options.timeout, retries: options.retries, under_way: 2 }
    }

    /// Runs a job for each input, and gives `take` what each comes to, in the order in which they end: its value, or why
    /// the last attempt failed.
    ///
    /// Returns when all are done, or soon after the user asked to stop: then nothing new begins, what runs is cancelled,
    /// and what was cancelled is not taken.
    ///
    /// # Errors
    ///
    /// The first error of `take`; the remaining jobs are cancelled. That a job failed is in the report, and no error
    /// here.
    pub(crate) fn run<E, I, T, L: Into<Label>>(
        &self,
        executor: E,
        inputs: impl Iterator<Item = I>,
        label: impl Fn(&I) -> L,
        way: &impl Way<E, I, T>,
        take: impl FnMut(I, Result<T, &Failure>) -> Result<(), Error>,
    ) -> Result<(), Error>
    where
        E: Executor,
        I: Clone + Send + 'static,
        T: Send + 'static,
    {
        if let (least, Some(most)) = inputs.size_hint()
            && least == most
        {
            self.report.expect(Expected { jobs: Some(most as u64), bytes: None });
        }
        let options = match self.timeout {
            Some(limit) => Options::new().time_limit(limit),
            None => Options::new(),
        };
        let queue = CompletionQueue::new();
        queue.push((Ticket::Stop, stop_signal(self.interrupt)));
        let executor = Ended(Some(executor));
        let (ended, overran) = {
            let (executor, waiting) = (executor.get().with(options), BinaryHeap::new());
            let mut run = Run { batch: self, executor, queue, waiting, turn: 0, overran: false, way, take };
            let (outcome, overran) = (run.go(inputs, label), run.overran);
            run.cancel_rest();
            (outcome, overran)
        };
        executor.end(self.interrupt.asked().is_some() || ended.is_err() || overran);
        ended
    }
}

/// What stands in the queue.
enum Ticket<I> {
    /// One attempt at a job.
    Try(Open<I>),
    /// Comes out when the user asks to stop.
    Stop,
}

/// A job between its attempts.
struct Open<I> {
    input: I,
    job: Job,
    attempts: u32,
}

/// A job that waits for its next attempt: the one that is due first is the greatest.
struct Waiting<I> {
    due: Reverse<(Instant, u64)>,
    open: Open<I>,
}

struct Run<'a, E, I, T, W, K> {
    batch: &'a Batch<'a>,
    executor: With<'a, E>,
    queue: CompletionQueue<(Ticket<I>, TaskFuture<Tried<T>>)>,
    waiting: BinaryHeap<Waiting<I>>,
    /// Tells apart what is due at the same time.
    turn: u64,
    /// Whether a job overran its limit. A thread that was given up on may be at it still, and for ever.
    overran: bool,
    way: &'a W,
    take: K,
}

impl<E, I, T, W, K> Run<'_, E, I, T, W, K>
where
    E: Executor,
    I: Clone + Send + 'static,
    T: Send + 'static,
    W: Way<E, I, T>,
    K: FnMut(I, Result<T, &Failure>) -> Result<(), Error>,
{
    fn go<L: Into<Label>>(
        &mut self,
        mut inputs: impl Iterator<Item = I>,
        label: impl Fn(&I) -> L,
    ) -> Result<(), Error> {
        let room = self.executor.workers().saturating_mul(self.batch.under_way);
        let mut more = true;
        loop {
            while more && self.under_way() < room && self.batch.interrupt.asked().is_none() {
                match inputs.next() {
                    Some(input) => {
                        let job = self.batch.report.submit(label(&input));
                        self.try_now(Open { input, job, attempts: 0 });
                    }
                    None => more = false,
                }
                // An executor that runs them at once has its outcome already, and the next input can wait for that.
                self.take_ready()?;
            }
            if self.batch.interrupt.asked().is_some() || (self.under_way() == 0 && self.waiting.is_empty()) {
                return Ok(());
            }
            self.take_next()?;
        }
    }

    /// The attempts in the queue; the signal to stop is no attempt.
    fn under_way(&self) -> usize {
        self.queue.len().saturating_sub(1)
    }

    fn try_now(&mut self, mut open: Open<I>) {
        open.attempts += 1;
        let future = self.way.submit(&self.executor, open.input.clone(), open.job.clone());
        self.queue.push((Ticket::Try(open), future));
    }

    fn take_ready(&mut self) -> Result<(), Error> {
        while let Some((ticket, future)) = self.queue.next_timeout(Duration::ZERO) {
            self.settle(ticket, future)?;
        }
        Ok(())
    }

    /// Waits for what comes first: an outcome, a job that is due again, or the user.
    fn take_next(&mut self) -> Result<(), Error> {
        let next = match self.waiting.peek() {
            None => self.queue.next(),
            Some(Waiting { due: Reverse((due, _)), .. }) => {
                self.queue.next_timeout(due.saturating_duration_since(Instant::now()))
            }
        };
        if let Some((ticket, future)) = next {
            self.settle(ticket, future)?;
        }
        while self.waiting.peek().is_some_and(|waiting| waiting.due.0.0 <= Instant::now()) {
            let Some(waiting) = self.waiting.pop() else { break };
            self.try_now(waiting.open);
        }
        Ok(())
    }

    /// Does with an attempt's outcome what is to be done with it.
    fn settle(&mut self, ticket: Ticket<I>, future: TaskFuture<Tried<T>>) -> Result<(), Error> {
        let Ticket::Try(open) = ticket else { return Ok(()) };
        let failure = match future.result() {
            Ok(Ok(Done { bytes, value })) => {
                let taken = (self.take)(open.input, Ok(value));
                open.job.finish(outcome_of_taking(bytes, &taken));
                return taken;
            }
            Ok(Err(failure)) => failure,
            Err(error) => {
                self.overran |= matches!(error, TaskError::TimedOut { .. });
                Failure::from(&error)
            }
        };
        let again = failure.again != Again::Never && open.attempts <= self.batch.retries;
        if !again || self.batch.interrupt.asked().is_some() {
            let taken = match failure.status {
                Status::Cancelled => Ok(()),
                _ => (self.take)(open.input, Err(&failure)),
            };
            open.job.finish(Outcome::not_done(failure.status, failure.reason));
            return taken;
        }
        let wait = failure.again.wait(open.attempts);
        open.job.retry(wait, failure.reason);
        self.turn += 1;
        self.waiting.push(Waiting { due: Reverse((Instant::now() + wait, self.turn)), open });
        Ok(())
    }

    /// Ends every job that has no outcome yet.
    fn cancel_rest(self) {
        let why = match self.batch.interrupt.asked() {
            Some(_) => "interrupted",
            None => "the command could not go on",
        };
        for Waiting { open, .. } in self.waiting {
            open.job.finish(Outcome::not_done(Status::Cancelled, why));
        }
        let rest = self.queue.into_rest();
        // All are told before any is asked what came of it: those that are done by now are not wasted.
        rest.iter().for_each(|(_, future)| {
            future.cancel();
        });
        let mut take = self.take;
        for (ticket, future) in rest {
            let Ticket::Try(Open { input, job, .. }) = ticket else { continue };
            match future.try_result() {
                Ok(Ok(Ok(Done { bytes, value }))) => {
                    let taken = take(input, Ok(value));
                    job.finish(outcome_of_taking(bytes, &taken));
                }
                Ok(Ok(Err(failure))) if failure.status != Status::Cancelled => {
                    // The command is ending already, for a reason that matters more.
                    let _ = take(input, Err(&failure));
                    job.finish(Outcome::not_done(failure.status, failure.reason));
                }
                _ => job.finish(Outcome::not_done(Status::Cancelled, why)),
            }
        }
    }
}

/// What became of a job that was done, and whose value was then taken.
fn outcome_of_taking(bytes: u64, taken: &Result<(), Error>) -> Outcome {
    match taken {
        Ok(()) => Outcome::done(bytes),
        // Whoever reads no more wants to hear no more.
        Err(error) if error.is_output_closed() => Outcome::not_done(Status::Cancelled, error.to_string()),
        Err(error) => Outcome::not_done(Status::Failed, error.to_string()),
    }
}

impl Again {
    /// How long to wait after so many attempts.
    fn wait(self, attempts: u32) -> Duration {
        match self {
            Self::After(least) => least,
            Self::Never | Self::Later => usual_wait(attempts),
        }
    }
}

fn usual_wait(attempts: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX);
    FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
}

/// A future that is done when the user asks to stop.
fn stop_signal<T: Send + 'static>(interrupt: &Interrupt) -> TaskFuture<Tried<T>> {
    let (stop, asked): (Promise<Tried<T>>, _) = promise();
    interrupt.on_asked(move || {
        stop.finish(Err(TaskError::Cancelled));
    });
    asked
}

/// An executor, and how to be rid of it.
struct Ended<E>(Option<E>);

impl<E: Executor> Ended<E> {
    fn get(&self) -> &E {
        self.0.as_ref().expect("it is taken away by `end` only")
    }

    /// Ends its workers. If they were to be stopped, those that do not notice are not waited for.
    fn end(mut self, stopped: bool) {
        let Some(executor) = self.0.take() else { return };
        executor.close();
        drop(executor.drain());
        if stopped && !executor.join(Instant::now().checked_add(GRACE)) {
            // Dropping it would wait for threads that cannot be stopped; the program is about to end, and they with it.
            mem::forget(executor);
        }
    }
}

impl<I> PartialEq for Waiting<I> {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl<I> Eq for Waiting<I> {}

impl<I> PartialOrd for Waiting<I> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<I> Ord for Waiting<I> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::args::ExecutorName;
    use crate::error::Exit;
    use crate::executors;
    use crate::interrupt::Signal;
    use crate::report::Plan;

    /// By a function that blocks.
    struct Blocking<F>(F);

    impl<E, I, T, F> Way<E, I, T> for Blocking<F>
    where
        E: InProcess,
        I: Send + 'static,
        T: Send + 'static,
        F: Fn(I, &Attempt) -> Tried<T> + Clone + Send + 'static,
    {
        fn submit(&self, executor: &With<'_, E>, input: I, job: Job) -> TaskFuture<Tried<T>> {
            let work = self.0.clone();
            executor.submit(move || work(input, &job.start(lane())))
        }
    }

    /// Runs jobs for these inputs and returns what was taken, what ended how often in which way, and the exit.
    fn run<T: Send + 'static>(
        executor: ExecutorName,
        interrupt: &Interrupt,
        (timeout, retries): (Option<Duration>, u32),
        inputs: impl IntoIterator<Item = u64>,
        way: &impl Way<Box<dyn InProcess>, u64, T>,
    ) -> (Vec<u64>, [u64; 6], Exit) {
        let report = Report::open(Plan::silent(), interrupt).unwrap();
        let batch = Batch { report: &report, interrupt, timeout, retries, under_way: 2 };
        let mut taken = Vec::new();
        let take = |input, came: Result<T, &Failure>| {
            taken.extend(came.is_ok().then_some(input));
            Ok(())
        };
        let chosen = executors::make_here(executor, NonZeroUsize::new(2).unwrap()).unwrap();
        batch.run(chosen, inputs.into_iter(), u64::to_string, way, take).unwrap();
        taken.sort_unstable();
        let counts = Status::ALL.map(|status| report.count(status));
        (taken, counts, report.finish().unwrap())
    }

    fn done(_: u64) -> Tried<()> {
        Ok(Done { bytes: 1, value: () })
    }

    #[test]
    fn each_input_is_done_once_on_every_executor() {
        let inputs = || 0..100;
        let all: Vec<u64> = inputs().collect();
        let expected = (all, [100, 0, 0, 0, 0, 0], Exit::AllDone);

        for name in [ExecutorName::Inline, ExecutorName::Thread, ExecutorName::Tokio] {
            let blocking = Blocking(|input, _: &_| done(input));
            assert_eq!(run(name, &Interrupt::default(), (None, 0), inputs(), &blocking), expected, "{name:?}");
        }
        let concurrent = Async(|input, _| async move { done(input) });
        assert_eq!(run(ExecutorName::Tokio, &Interrupt::default(), (None, 0), inputs(), &concurrent), expected);
    }

    #[test]
    fn a_bad_input_is_counted_and_the_rest_goes_on() {
        let way = Blocking(|input, _: &_| match input {
            1 => Err(Failure::not_found("404")),
            2 => Err(Failure::for_good("403")),
            3 => panic!("no umbrella"),
            _ => done(input),
        });

        let outcome = run(ExecutorName::Thread, &Interrupt::default(), (None, 5), 0..6, &way);

        assert_eq!(outcome, (vec![0, 4, 5], [3, 1, 2, 0, 0, 0], Exit::SomeFailed));
    }

    #[test]
    fn what_may_succeed_later_is_tried_again_as_often_as_agreed() {
        let attempts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&attempts);
        let way = move |succeeds_at| {
            let counted = Arc::clone(&counted);
            Blocking(move |input, _: &_| {
                let attempt = counted.fetch_add(1, Ordering::Relaxed) + 1;
                let again = Again::After(Duration::ZERO);
                if attempt < succeeds_at { Err(Failure { again, ..Failure::for_now("503") }) } else { done(input) }
            })
        };
        let run = |way| run(ExecutorName::Thread, &Interrupt::default(), (None, 2), [7], &way);

        assert_eq!(run(way(3)), (vec![7], [1, 0, 0, 0, 0, 0], Exit::AllDone));
        assert_eq!(attempts.swap(0, Ordering::Relaxed), 3);
        assert_eq!(run(way(99)), (vec![], [0, 0, 1, 0, 0, 0], Exit::SomeFailed));
        assert_eq!(attempts.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_job_that_overruns_is_given_up() {
        let way = Async(|input, _| async move {
            match input {
                1 => std::future::pending().await,
                _ => done(input),
            }
        });

        let limit = Some(Duration::from_millis(20));
        let outcome = run(ExecutorName::Tokio, &Interrupt::default(), (limit, 0), 0..3, &way);

        assert_eq!(outcome, (vec![0, 2], [2, 0, 0, 1, 0, 0], Exit::SomeFailed));
    }

    #[test]
    fn an_interrupt_cancels_what_runs_and_begins_nothing_new() {
        let interrupt = Interrupt::default();
        let ctrl_c = interrupt.clone();
        let held = Arc::new(());
        let holds = Arc::clone(&held);
        let way = Async(move |input, _| {
            let (ctrl_c, holds) = (ctrl_c.clone(), Arc::clone(&holds));
            async move {
                let _holds = holds;
                match input {
                    0 => done(input),
                    1 => {
                        ctrl_c.ask(Signal::Interrupt);
                        std::future::pending().await
                    }
                    _ => std::future::pending().await,
                }
            }
        });

        let (taken, counts, exit) = run(ExecutorName::Tokio, &interrupt, (None, 3), 0.., &way);

        assert_eq!((taken, exit), (vec![0], Exit::Interrupted(Signal::Interrupt)));
        assert_eq!((counts[0], counts[1..4].iter().sum::<u64>()), (1, 0));
        assert!((1..=4).contains(&counts[4]), "no more than were under way: {counts:?}");
        drop(way);
        assert_eq!(Arc::strong_count(&held), 1, "what ran was dropped");
    }

    #[test]
    fn an_interrupt_does_not_wait_for_a_thread_that_does_not_listen() {
        let interrupt = Interrupt::default();
        let ctrl_c = interrupt.clone();
        let (never, nothing) = mpsc::channel::<()>();
        let nothing = Arc::new(Mutex::new(nothing));
        let way = Blocking(move |_, _: &_| {
            ctrl_c.ask(Signal::Terminate);
            let _ = nothing.lock().unwrap().recv();
            done(0)
        });

        let outcome = run(ExecutorName::Thread, &interrupt, (None, 0), [0], &way);

        assert_eq!(outcome, (vec![], [0, 0, 0, 0, 1, 0], Exit::Interrupted(Signal::Terminate)));
        drop(never);
    }

    #[test]
    fn a_thread_that_overran_and_does_not_listen_is_not_waited_for() {
        let (never, nothing) = mpsc::channel::<()>();
        let nothing = Arc::new(Mutex::new(nothing));
        let way = Blocking(move |input, _: &_| match input {
            0 => {
                let _ = nothing.lock().unwrap().recv();
                done(0)
            }
            _ => done(input),
        });

        let limit = Some(Duration::from_millis(20));
        let outcome = run(ExecutorName::Thread, &Interrupt::default(), (limit, 0), 0..3, &way);

        assert_eq!(outcome, (vec![1, 2], [2, 0, 0, 1, 0, 0], Exit::SomeFailed));
        drop(never);
    }

    #[test]
    fn an_error_of_the_taker_ends_the_run() {
        let interrupt = Interrupt::default();
        let report = Report::open(Plan::silent(), &interrupt).unwrap();
        let batch = Batch { report: &report, interrupt: &interrupt, timeout: None, retries: 0, under_way: 2 };
        let chosen = executors::make_here(ExecutorName::Thread, NonZeroUsize::new(2).unwrap()).unwrap();
        let way = Blocking(|input, _: &_| done(input));

        let ended = batch.run(chosen, 0.., u64::to_string, &way, |_, _| Err(Error::new("disk full")));

        assert_eq!(ended.unwrap_err().to_string(), "disk full");
    }

    #[test]
    fn the_wait_doubles_up_to_a_limit() {
        let waits = [1, 2, 3, 7, 40].map(|attempts| usual_wait(attempts).as_millis());

        assert_eq!(waits, [500, 1000, 2000, 30_000, 30_000]);
    }
}
