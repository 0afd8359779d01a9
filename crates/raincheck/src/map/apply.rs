//! The worker's side of a map: a function applied to a group of inputs, and what is left of one that takes long.

use std::{
    collections::VecDeque,
    fmt, iter, mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
    vec,
};

use crate::{
    error::{Outcome, TaskError},
    executor::Executor,
    future::TaskFuture,
    panics,
    pieces::Piece,
    sync::NOT_POISONED,
    task::{self, Body},
};

/// What a map and its tasks have in common.
#[doc(hidden)]
pub struct Common<In, Out> {
    /// There is something to be seen to between two inputs.
    attention: AtomicBool,
    /// Nobody wants what is still to come.
    unwanted: AtomicBool,
    /// Where the rest of a group goes that takes long.
    executor: Arc<dyn Executor>,
    /// Emptied buffers, for the groups to come: fresh memory costs more than most of what is done with it.
    pub(super) inputs: Spare<In>,
    pub(super) values: Spare<Out>,
}

/// Buffers that are empty, and have room.
#[derive(Debug)]
pub(super) struct Spare<T>(Mutex<Vec<Vec<T>>>);

/// Inputs that are handed over together.
#[doc(hidden)]
pub struct Batch<In, Out> {
    pub(crate) inputs: Vec<In>,
    /// Where the values had better be put, if that is known.
    pub(crate) piece: Option<Piece<Out>>,
}

/// What became of some inputs that were handed over together.
#[doc(hidden)]
pub struct Applied<Out> {
    pub(super) values: Values<Out>,
    /// Those inputs that gave no value, by their places, in order.
    pub(super) errors: VecDeque<(usize, TaskError)>,
    /// What comes of the inputs behind these, in order: so many each.
    pub(super) rest: Vec<(usize, GroupFuture<Out>)>,
    pub(super) took: Duration,
}

/// Values, and where they are.
pub(super) enum Values<Out> {
    /// By themselves.
    Own(Vec<Out>),
    /// In their place among all values.
    Placed(Piece<Out>),
}

/// What comes of a group.
pub(super) type GroupFuture<Out> = TaskFuture<Applied<Out>>;

/// When a group that is waited for is late. One that has taken so long by then hands back what is left of it.
pub(super) const LATE: Duration = Duration::from_millis(1);

/// In how many parts for each worker.
const PARTS: usize = 8;

impl<In, Out> Common<In, Out> {
    pub(super) fn new(executor: Arc<dyn Executor>) -> Self {
        Self {
            attention: AtomicBool::new(false),
            unwanted: AtomicBool::new(false),
            executor,
            inputs: Spare::none(),
            values: Spare::none(),
        }
    }

    /// Whether there is something to be seen to: so quickly answered that every input can ask.
    #[inline]
    pub(super) fn wants_attention(&self) -> bool {
        self.attention.load(Ordering::Relaxed)
    }

    fn is_unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Relaxed)
    }

    /// Whether a group that began then had better go no further.
    #[cold]
    fn should_stop(&self, start: Instant) -> bool {
        self.is_unwanted() || start.elapsed() > LATE
    }

    /// Has the groups that are late handed back, until it is said that none is.
    pub(super) fn hurry(&self, is_late: bool) {
        if self.wants_attention() != is_late && !self.is_unwanted() {
            self.attention.store(is_late, Ordering::Relaxed);
        }
    }

    /// Says that nobody wants what is still to come.
    pub(super) fn end(&self) {
        self.unwanted.store(true, Ordering::Relaxed);
        self.attention.store(true, Ordering::Relaxed);
    }
}

impl<In, Out> fmt::Debug for Common<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common").field("is_unwanted", &self.is_unwanted()).finish_non_exhaustive()
    }
}

impl<T> Spare<T> {
    fn none() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// An empty buffer with room for so many.
    pub(super) fn take(&self, room: usize) -> Vec<T> {
        let mut buffer = self.0.lock().expect(NOT_POISONED).pop().unwrap_or_default();
        buffer.reserve(room);
        buffer
    }

    /// Keeps an empty buffer, if it is worth it.
    pub(super) fn keep(&self, buffer: Vec<T>) {
        if buffer.capacity() > 1 {
            self.0.lock().expect(NOT_POISONED).push(buffer);
        }
    }
}

/// A function applied to some inputs, one after the other.
#[doc(hidden)]
pub struct Apply<F, In, Out> {
    function: Arc<F>,
    batch: Batch<In, Out>,
    common: Arc<Common<In, Out>>,
}

impl<F, In, Out> Body for Apply<F, In, Out>
where
    In: Send + 'static,
    Out: Send + 'static,
    F: Fn(In) -> Out + Send + Sync + 'static,
{
    type Output = Applied<Out>;
    const ASYNC: bool = false;

    fn perform(self) -> Outcome<Applied<Out>> {
        let is_alone = self.batch.inputs.len() == 1;
        let mut applied = self.apply();
        match applied.errors.pop_front() {
            // An input by itself is a task by itself, and fails as one.
            Some((_, error)) if is_alone => Err(error),
            Some(first) => {
                applied.errors.push_front(first);
                Ok(applied)
            }
            None => Ok(applied),
        }
    }

    fn into_future(self) -> std::pin::Pin<Box<dyn Future<Output = Applied<Out>> + Send>> {
        Box::pin(async move { self.apply() })
    }
}

impl<F, In, Out> Apply<F, In, Out>
where
    In: Send + 'static,
    Out: Send + 'static,
    F: Fn(In) -> Out + Send + Sync + 'static,
{
    pub(crate) fn new(function: Arc<F>, batch: Batch<In, Out>, common: Arc<Common<In, Out>>) -> Self {
        Self { function, batch, common }
    }

    fn apply(self) -> Applied<Out> {
        let start = Instant::now();
        let Self { function, batch: Batch { inputs: mut buffer, piece }, common } = self;
        let count = buffer.len();
        let mut values = match piece {
            Some(piece) => Values::Placed(piece),
            None => Values::Own(common.values.take(count)),
        };
        let mut errors = VecDeque::new();
        let mut rest = Vec::new();
        let mut inputs = buffer.drain(..);
        while inputs.len() > 0 {
            // One guard for all of them, and a new one behind an input that panics.
            let ended = panics::catch(|| {
                while inputs.len() > 0 {
                    // One at least, so that what is handed back time and again comes to an end.
                    values.extend(inputs.by_ref().take(1).map(|input| function(input)));
                    let undisturbed = iter::from_fn(|| if common.wants_attention() { None } else { inputs.next() });
                    values.extend(undisturbed.map(|input| function(input)));
                    if common.wants_attention() && common.should_stop(start) {
                        return;
                    }
                }
            });
            let place = values.len() + errors.len();
            match ended {
                Ok(()) if place == count => {}
                Ok(()) if common.is_unwanted() => {
                    // Nobody is left who would see these.
                    errors.extend((place..count).map(|place| (place, TaskError::Cancelled)));
                    break;
                }
                Ok(()) => rest = hand_back(&function, &mut inputs, values.split_off(), &common),
                Err(error) => errors.push_back((place, error)),
            }
        }
        panics::discard(inputs);
        common.inputs.keep(buffer);
        Applied { values, errors, rest, took: start.elapsed() }
    }
}

/// Hands over anew what is left of a group, in several parts for each worker: what takes long may stand together.
fn hand_back<F, In, Out>(
    function: &Arc<F>,
    inputs: &mut vec::Drain<'_, In>,
    mut room: Option<Piece<Out>>,
    common: &Arc<Common<In, Out>>,
) -> Vec<(usize, GroupFuture<Out>)>
where
    In: Send + 'static,
    Out: Send + 'static,
    F: Fn(In) -> Out + Send + Sync + 'static,
{
    // An executor that runs in the caller what it has no room for makes this go deeper, but never one input at a time.
    let size = inputs.len().div_ceil(common.executor.workers().saturating_mul(PARTS));
    let mut rest = Vec::new();
    while inputs.len() > 0 {
        let mut part = common.inputs.take(size);
        part.extend(inputs.by_ref().take(size));
        let count = part.len();
        let behind = room.as_mut().map(|room| room.split_off(count));
        let batch = Batch { inputs: part, piece: mem::replace(&mut room, behind) };
        rest.push((count, Part::submit(Apply::new(Arc::clone(function), batch, Arc::clone(common)))));
    }
    rest
}

/// A part of a group, as a task by itself. What it is to do stays within reach of the worker that hands it over: the
/// executor took it with the group, and must not lose it by being closed or full now.
struct Part<F, In, Out>(Arc<Mutex<Option<Apply<F, In, Out>>>>);

impl<F, In, Out> Part<F, In, Out>
where
    In: Send + 'static,
    Out: Send + 'static,
    F: Fn(In) -> Out + Send + Sync + 'static,
{
    fn take(self) -> Apply<F, In, Out> {
        self.0.lock().expect(NOT_POISONED).take().expect("what is refused is not performed")
    }

    fn submit(apply: Apply<F, In, Out>) -> GroupFuture<Out> {
        let executor = Arc::clone(&apply.common.executor);
        let part = Arc::new(Mutex::new(Some(apply)));
        let future = task::submit(&*executor, Self(Arc::clone(&part))).cancel_on_drop();
        if !future.is_done() {
            return future;
        }
        let refused = part.lock().expect(NOT_POISONED).take();
        match refused {
            Some(apply) => TaskFuture::ready(apply.perform()),
            None => future,
        }
    }
}

impl<F, In, Out> Body for Part<F, In, Out>
where
    In: Send + 'static,
    Out: Send + 'static,
    F: Fn(In) -> Out + Send + Sync + 'static,
{
    type Output = Applied<Out>;
    const ASYNC: bool = false;

    fn perform(self) -> Outcome<Applied<Out>> {
        self.take().perform()
    }

    fn into_future(self) -> std::pin::Pin<Box<dyn Future<Output = Applied<Out>> + Send>> {
        self.take().into_future()
    }
}

impl<Out> Applied<Out> {
    #[cfg(all(feature = "process", unix))]
    pub(crate) fn new(values: Vec<Out>, errors: VecDeque<(usize, TaskError)>, took: Duration) -> Self {
        Self { values: Values::Own(values), errors, rest: Vec::new(), took }
    }

    /// Inputs that gave these values, in a time that says nothing.
    pub(crate) fn of(values: Vec<Out>) -> Self {
        Self { values: Values::Own(values), errors: VecDeque::new(), rest: Vec::new(), took: Duration::ZERO }
    }
}

impl<Out> Values<Out> {
    fn len(&self) -> usize {
        match self {
            Self::Own(values) => values.len(),
            Self::Placed(piece) => piece.len(),
        }
    }

    fn extend(&mut self, values: impl Iterator<Item = Out>) {
        match self {
            Self::Own(all) => all.extend(values),
            Self::Placed(piece) => piece.extend(values),
        }
    }

    /// Takes off the room that is left, if they have a place.
    fn split_off(&mut self) -> Option<Piece<Out>> {
        match self {
            Self::Own(_) => None,
            Self::Placed(piece) => Some(piece.split_off(piece.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;
    use crate::{ThreadPool, pieces::Whole};

    /// How many inputs there are.
    const ALL: u64 = 40;

    /// The first input of a group, which is late when it is done.
    fn late(n: u64) -> u64 {
        let start = Instant::now();
        while n == 0 && start.elapsed() <= LATE {}
        n
    }

    fn applied(pool: &ThreadPool, piece: Option<Piece<u64>>) -> Applied<u64> {
        let common = Arc::new(Common::new(pool.core()));
        common.hurry(true);
        Apply::new(Arc::new(late), Batch { inputs: (0..ALL).collect(), piece }, common).apply()
    }

    fn sizes(applied: &Applied<u64>) -> (usize, Vec<usize>) {
        (applied.values.len(), applied.rest.iter().map(|(count, _)| *count).collect())
    }

    /// The values of all parts in order, of which any may have been late in its turn.
    fn all(applied: Applied<u64>) -> Vec<Values<u64>> {
        let rest = applied.rest.into_iter().flat_map(|(_, part)| all(part.result().unwrap()));
        iter::once(applied.values).chain(rest).collect()
    }

    #[test]
    fn a_group_that_is_late_hands_back_its_rest() {
        let applied = applied(&ThreadPool::new(3), None);

        assert_eq!(sizes(&applied), (1, [vec![2; 19], vec![1]].concat()));
    }

    #[test]
    fn what_is_handed_back_keeps_its_place() {
        let pool = ThreadPool::new(2);
        let mut whole = Whole::new(ALL as usize).unwrap();

        let first = applied(&pool, whole.cut(ALL as usize));
        assert_eq!(sizes(&first), (1, vec![3; 13]));
        for values in all(first) {
            match values {
                Values::Placed(piece) => whole.join(piece),
                Values::Own(_) => panic!("they had a place"),
            }
        }

        assert_eq!(whole.into_vec(), (0..ALL).collect::<Vec<_>>());
    }

    #[test]
    fn the_buffers_of_what_is_handed_back_go_round() {
        let pool = ThreadPool::new(2);
        let common = Arc::new(Common::new(pool.core()));
        common.hurry(true);

        for _ in 0..20 {
            let mut inputs = common.inputs.take(ALL as usize);
            inputs.extend(0..ALL);
            all(Apply::new(Arc::new(late), Batch { inputs, piece: None }, Arc::clone(&common)).apply());
        }

        // One for the group, and one for each of the parts, of which there are more if they are late, too.
        assert!(common.inputs.0.lock().unwrap().len() <= 1 + 13 + 13);
    }

    #[test]
    fn an_executor_that_is_closed_meanwhile_loses_nothing() {
        let pool = ThreadPool::new(2);
        pool.close();

        let values = all(applied(&pool, None));

        assert_eq!(values.iter().map(Values::len).sum::<usize>(), ALL as usize);
    }
}
