//! One function, many inputs: applied as they come, a bounded number at a time.

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
    executor::{Executor, InProcess},
    future::TaskFuture,
    panics,
    pieces::{Piece, Whole},
    sync::NOT_POISONED,
    task::{self, AsyncBody, Body, kind},
    wait::{self, CompletionQueue},
};

/// What [`Executor::map`] applies to each input: a closure, or a `#[task]` function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no function that `{E}` can apply to a `{In}`",
    note = "give a closure that is `Fn({In}) -> T + Send + Sync + 'static`, or `name::task()` of a `fn name` marked `#[raincheck::task]`"
)]
pub trait Function<E: ?Sized, In, Kind>: Sized {
    /// What it returns.
    type Output: Send + 'static;

    #[doc(hidden)]
    type Body: Body<Output = Applied<Self::Output>>;

    /// Whether several inputs can be handed over together.
    #[doc(hidden)]
    const GROUPS: bool;

    /// What makes a task of some inputs.
    #[doc(hidden)]
    fn into_maker(
        self,
        common: Arc<Common<In, Self::Output>>,
    ) -> impl Fn(Batch<In, Self::Output>) -> Self::Body + 'static;
}

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
    inputs: Spare<In>,
    values: Spare<Out>,
}

/// Buffers that are empty, and have room.
#[derive(Debug)]
struct Spare<T>(Mutex<Vec<Vec<T>>>);

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
    values: Values<Out>,
    /// Those inputs that gave no value, by their places, in order.
    errors: VecDeque<(usize, TaskError)>,
    /// What comes of the inputs behind these, in order: so many each.
    rest: Vec<(usize, GroupFuture<Out>)>,
    took: Duration,
}

/// Values, and where they are.
enum Values<Out> {
    /// By themselves.
    Own(Vec<Out>),
    /// In their place among all values.
    Placed(Piece<Out>),
}

impl<E, In, Out, F> Function<E, In, kind::Closure> for F
where
    E: InProcess + ?Sized,
    In: Send + 'static,
    Out: Send + 'static,
    F: Fn(In) -> Out + Send + Sync + 'static,
{
    type Output = Out;
    type Body = Apply<F, In, Out>;
    const GROUPS: bool = true;

    fn into_maker(self, common: Arc<Common<In, Out>>) -> impl Fn(Batch<In, Out>) -> Apply<F, In, Out> + 'static {
        let function = Arc::new(self);
        move |batch| Apply::new(Arc::clone(&function), batch, Arc::clone(&common))
    }
}

impl<In, Out> Common<In, Out> {
    fn new(executor: Arc<dyn Executor>) -> Self {
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
    fn wants_attention(&self) -> bool {
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
    fn hurry(&self, is_late: bool) {
        if self.wants_attention() != is_late && !self.is_unwanted() {
            self.attention.store(is_late, Ordering::Relaxed);
        }
    }

    /// Says that nobody wants what is still to come.
    fn end(&self) {
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
    fn take(&self, room: usize) -> Vec<T> {
        let mut buffer = self.0.lock().expect(NOT_POISONED).pop().unwrap_or_default();
        buffer.reserve(room);
        buffer
    }

    /// Keeps an empty buffer, if it is worth it.
    fn keep(&self, buffer: Vec<T>) {
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

/// Hands over anew what is left of a group, in parts that all workers together can do at a time.
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
    let size = inputs.len().div_ceil(common.executor.workers().max(2));
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

/// A function that returns a future.
pub(crate) struct AsyncFunction<F>(pub(crate) F);

impl<E, In, T, F> Function<E, In, kind::Async> for AsyncFunction<F>
where
    E: InProcess + ?Sized,
    In: Send + 'static,
    T: Future + Send + 'static,
    T::Output: Send + 'static,
    F: Fn(In) -> T + Send + Sync + 'static,
{
    type Output = T::Output;
    type Body = AsyncBody<Applied<T::Output>>;
    // Together, the inputs would be awaited one after the other.
    const GROUPS: bool = false;

    fn into_maker(self, _common: Arc<Common<In, T::Output>>) -> impl Fn(Batch<In, T::Output>) -> Self::Body + 'static {
        let function = Arc::new(self.0);
        move |Batch { inputs, piece: _ }| {
            let function = Arc::clone(&function);
            AsyncBody::new(async move {
                let mut values = Vec::with_capacity(inputs.len());
                for input in inputs {
                    values.push(function(input).await);
                }
                Applied::of(values)
            })
        }
    }
}

/// How long the work of one group should take: long beside what handing it over costs, short beside what one waits
/// for.
const GROUP_TIME: Duration = Duration::from_micros(250);

/// No group has more inputs, and none has many that take more memory, inputs and values together.
const LARGEST_GROUP: usize = 1 << 14;
const LARGEST_GROUP_BYTES: usize = 1 << 18;

/// When a group that is waited for is late. One that has taken so long by then hands back what is left of it.
const LATE: Duration = Duration::from_millis(1);

/// An iterator over the outcomes of a function applied to many inputs, in the order of the inputs; made by
/// [`Executor::map`].
///
/// It begins with the first `next`, or with [`start`](Self::start). Its `next` blocks until the next outcome is there.
/// Dropping it cancels what has not started, and tells what runs.
#[must_use = "a map begins when it is iterated or started"]
pub struct Map<'e, I: Iterator, Out> {
    feed: Feed<'e, I, Out>,
    under_way: VecDeque<(usize, TaskFuture<Applied<Out>>)>,
    ready: Ready<Out>,
}

/// The same in the order in which the outcomes come, each with its input; made by [`Map::as_completed`].
#[must_use = "a map begins when it is iterated"]
pub struct MapAsCompleted<'e, I: Iterator, Out>
where
    Out: Send + 'static,
{
    feed: Feed<'e, I, Out>,
    under_way: CompletionQueue<(Vec<I::Item>, GroupFuture<Out>)>,
    inputs: vec::IntoIter<I::Item>,
    ready: Ready<Out>,
    /// What was not done in time.
    late: Vec<Vec<I::Item>>,
}

/// Pulls the inputs, and hands them over in groups.
struct Feed<'e, I: Iterator, Out> {
    /// `None` once it has ended.
    inputs: Option<I>,
    submit: Submit<'e, I::Item, Out>,
    common: Arc<Common<I::Item, Out>>,
    group: Group,
    /// How many groups may be under way.
    groups: usize,
    /// How many inputs may be pulled whose outcomes are not taken.
    buffer: usize,
    pulled: usize,
    limit: Option<(Duration, Instant)>,
}

/// Hands some inputs over.
type Submit<'e, In, Out> = Box<dyn Fn(Batch<In, Out>) -> GroupFuture<Out> + 'e>;

type GroupFuture<Out> = TaskFuture<Applied<Out>>;

/// How many inputs go together.
pub(crate) enum Group {
    /// So many, always.
    Fixed(usize),
    /// So many for now, and at most.
    Adapting(usize, usize),
}

/// The outcomes of one group that have not been taken.
struct Ready<Out> {
    /// The last one first, since nothing is quicker than to take the last one of a `Vec`.
    values: Vec<Out>,
    /// Those inputs that gave no value, by their places.
    errors: VecDeque<(usize, TaskError)>,
    /// How many inputs the group had, and which place is next.
    count: usize,
    place: usize,
}

impl<'e, I: Iterator, Out: Send + 'static> Map<'e, I, Out> {
    pub(crate) fn new<E, F, Kind>(executor: &'e E, function: F, inputs: I) -> Self
    where
        E: Executor + ?Sized,
        F: Function<E, I::Item, Kind, Output = Out>,
    {
        let common = Arc::new(Common::new(executor.core()));
        let make = function.into_maker(Arc::clone(&common));
        // An observer and a time limit mean each input.
        let is_each =
            executor.options().is_some_and(|options| options.observer.is_some() || options.time_limit.is_some());
        let group = if F::GROUPS && !is_each { Group::of_some::<(I::Item, Out)>() } else { Group::Fixed(1) };
        let feed = Feed {
            inputs: Some(inputs),
            submit: Box::new(move |batch| task::submit(executor, make(batch))),
            common,
            group,
            groups: executor.workers().saturating_mul(4).saturating_add(4),
            buffer: usize::MAX,
            pulled: 0,
            limit: None,
        };
        Self { feed, under_way: VecDeque::new(), ready: Ready::none() }
    }

    /// Pulls no more than this many inputs ahead of the outcomes that are taken: at least 1, whatever is said.
    ///
    /// Unless said, it is enough to keep all workers busy.
    pub fn buffer(mut self, inputs: usize) -> Self {
        self.feed.buffer = inputs.max(1);
        self.feed.groups = usize::MAX;
        self
    }

    /// Hands over this many inputs together, as one task: at least 1, whatever is said.
    ///
    /// Unless said, it is found out on the way: 1 for inputs that take long, and many for those that do not.
    pub fn group(mut self, inputs: usize) -> Self {
        self.feed.group = Group::Fixed(inputs.max(1));
        self
    }

    /// Gives all of it this long, counted from now. Then the outcome that is due is a
    /// [`TaskError::TimedOut`], the iterator ends, and what is left is cancelled.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.feed.limit = Instant::now().checked_add(limit).map(|deadline| (limit, deadline));
        self
    }

    /// Submits the first inputs now, and not with the first `next`.
    pub fn start(mut self) -> Self {
        self.fill(&mut None);
        self
    }

    /// Turns to the order in which the outcomes come, each with its input.
    ///
    /// # Panics
    ///
    /// If it has begun.
    pub fn as_completed(self) -> MapAsCompleted<'e, I, Out>
    where
        I::Item: Clone,
    {
        assert!(self.feed.pulled == 0, "a map that has begun keeps its order");
        MapAsCompleted {
            feed: self.feed,
            under_way: CompletionQueue::new(),
            inputs: Vec::new().into_iter(),
            ready: Ready::none(),
            late: Vec::new(),
        }
    }

    /// Returns all values, in the order of the inputs: the same as collecting them, and faster for small ones, since
    /// those that were handed over together are moved together.
    ///
    /// # Blocking
    ///
    /// Blocks until all is done.
    ///
    /// # Errors
    ///
    /// With the first error, in the order of the inputs; the rest is cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use raincheck::{Executor, ThreadPool};
    ///
    /// let pool = ThreadPool::new(2);
    /// assert_eq!(pool.map(|n: u64| n * n, 1..=4).values()?, [1, 4, 9, 16]);
    /// # Ok::<(), raincheck::TaskError>(())
    /// ```
    pub fn values(mut self) -> Outcome<Vec<Out>> {
        let room = self.size_hint().0;
        // What is under way by now has no place among all values.
        let mut whole = if self.feed.pulled == 0 { Whole::new(room) } else { None };
        let mut all = Vec::new();
        if whole.is_none() {
            // Of an endless input more is foretold than there is memory, and an error may end it soon.
            drop(all.try_reserve(room));
        }
        for outcome in self.ready.by_ref() {
            all.push(outcome?);
        }
        self.feed.reuse(&mut self.ready);
        while let Some(group) = self.next_group(&mut whole) {
            let (count, applied) = group?;
            let mut applied = applied?;
            self.feed.finish(count, applied.took);
            if let Some((_, error)) = applied.errors.pop_front() {
                return Err(error);
            }
            match (applied.values, &mut whole) {
                (Values::Placed(piece), Some(whole)) => whole.join(piece),
                (Values::Placed(_), None) => unreachable!("the whole is given up when no piece is left"),
                (Values::Own(mut values), _) => {
                    if let Some(whole) = whole.take() {
                        all = whole.into_vec();
                    }
                    all.append(&mut values);
                    self.feed.common.values.keep(values);
                }
            }
        }
        Ok(whole.map_or(all, Whole::into_vec))
    }

    fn fill(&mut self, whole: &mut Option<Whole<Out>>) {
        // Of tiny items several groups are handed over in a row, so that a worker that sleeps is woken once for them.
        if self.feed.group.is_of_many() && self.under_way.len() > self.feed.groups / 2 {
            return;
        }
        while let Some(inputs) = self.feed.pull(self.under_way.len()) {
            let piece = whole.as_mut().and_then(|whole| whole.cut(inputs.len()));
            self.under_way.push_back((inputs.len(), self.feed.submit(Batch { inputs, piece })));
        }
    }

    /// The next outcome, wherever it has to come from.
    #[inline(never)]
    fn next_slowly(&mut self) -> Option<Outcome<Out>> {
        loop {
            if let Some(outcome) = self.ready.next() {
                return Some(outcome);
            }
            if let Err(error) = self.advance()? {
                return Some(Err(error));
            }
        }
    }

    /// Makes the next group ready to be taken, the last one being used up. `None` if there is none.
    fn advance(&mut self) -> Option<Outcome<()>> {
        self.feed.reuse(&mut self.ready);
        match self.next_group(&mut None)? {
            Ok((count, applied)) => {
                self.ready = self.feed.ready(count, applied);
                Some(Ok(()))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Waits for the next group of so many. `None` if there is none.
    fn next_group(&mut self, whole: &mut Option<Whole<Out>>) -> Option<Outcome<(usize, Outcome<Applied<Out>>)>> {
        self.fill(whole);
        let (mut count, group) = self.under_way.pop_front()?;
        if !group.is_done() {
            // Whoever takes tiny items in order is woken for several groups at once, and not for each.
            let later = self.under_way.get(self.under_way.len() / 2);
            if let Some((_, later)) = later.filter(|_| self.feed.limit.is_none() && self.feed.group.is_of_many()) {
                self.feed.give_time(later);
            }
            self.feed.give_time(&group);
        }
        if let Some((limit, deadline)) = self.feed.limit
            && !group.wait_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            self.feed.end();
            self.under_way.clear();
            return Some(Err(TaskError::TimedOut { limit }));
        }
        let mut applied = group.result();
        if let Ok(applied) = &mut applied {
            for part in mem::take(&mut applied.rest).into_iter().rev() {
                count -= part.0;
                self.under_way.push_front(part);
            }
        }
        Some(Ok((count, applied)))
    }
}

impl<I: Iterator, Out: Send + 'static> Iterator for Map<'_, I, Out> {
    type Item = Outcome<Out>;

    #[inline]
    fn next(&mut self) -> Option<Outcome<Out>> {
        match self.ready.next_quickly() {
            Some(value) => Some(Ok(value)),
            None => self.next_slowly(),
        }
    }

    fn fold<B, F>(mut self, start: B, mut with: F) -> B
    where
        F: FnMut(B, Outcome<Out>) -> B,
    {
        let mut folded = start;
        loop {
            if self.ready.errors.is_empty() {
                folded = self.ready.values.drain(..).rev().map(Ok).fold(folded, &mut with);
            }
            for outcome in self.ready.by_ref() {
                folded = with(folded, outcome);
            }
            match self.advance() {
                None => return folded,
                Some(Ok(())) => {}
                Some(Err(error)) => folded = with(folded, Err(error)),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let under_way = self.ready.len() + self.under_way.iter().map(|(count, _)| count).sum::<usize>();
        let (least, most) = self.feed.inputs.as_ref().map_or((0, Some(0)), Iterator::size_hint);
        // A time limit may end it anywhere.
        let least = if self.feed.limit.is_some() { 0 } else { least.saturating_add(under_way) };
        (least, most.and_then(|most| most.checked_add(under_way)))
    }
}

impl<I: Iterator, Out: Send + 'static> Iterator for MapAsCompleted<'_, I, Out>
where
    I::Item: Clone,
{
    type Item = (I::Item, Outcome<Out>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(outcome) = self.ready.next() {
                return self.inputs.next().map(|input| (input, outcome));
            }
            self.feed.reuse(&mut self.ready);
            if let (Some(inputs), Some((limit, _))) = (self.late.pop(), self.feed.limit) {
                self.ready = Ready::failed(inputs.len(), &TaskError::TimedOut { limit });
                self.inputs = inputs.into_iter();
                continue;
            }
            while let Some(inputs) = self.feed.pull(self.under_way.len()) {
                self.under_way.push((inputs.clone(), self.feed.submit(Batch { inputs, piece: None })));
            }
            match self.next_group() {
                Some((mut inputs, group)) => {
                    let mut applied = group.result();
                    if let Ok(applied) = &mut applied {
                        for (count, part) in mem::take(&mut applied.rest).into_iter().rev() {
                            self.under_way.push((inputs.split_off(inputs.len() - count), part));
                        }
                    }
                    self.ready = self.feed.ready(inputs.len(), applied);
                    self.inputs = inputs.into_iter();
                }
                None if self.under_way.is_empty() => return None,
                None => {
                    self.feed.end();
                    self.late =
                        mem::take(&mut self.under_way).into_rest().into_iter().map(|(inputs, _group)| inputs).collect();
                }
            }
        }
    }
}

impl<I: Iterator, Out: Send + 'static> MapAsCompleted<'_, I, Out> {
    /// Waits for the next group that is through. `None` if there is none in time.
    fn next_group(&mut self) -> Option<(Vec<I::Item>, GroupFuture<Out>)> {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        if self.feed.is_patient() {
            let next = match self.feed.limit {
                None => self.under_way.next_soon(LATE),
                Some((_, deadline)) => self.under_way.next_timeout(left(deadline).min(LATE)),
            };
            if next.is_some() || self.under_way.is_empty() {
                return next;
            }
            self.feed.common.hurry(true);
        }
        match self.feed.limit {
            None => self.under_way.next(),
            Some((_, deadline)) => self.under_way.next_timeout(left(deadline)),
        }
    }
}

impl<I: Iterator, Out> Feed<'_, I, Out> {
    /// The next inputs that are to be handed over together; `None` if that is not for now, or none is left.
    fn pull(&mut self, under_way: usize) -> Option<Vec<I::Item>> {
        // It may have been made smaller since the first were pulled.
        let room = self.buffer.saturating_sub(self.pulled);
        if under_way >= self.groups || room == 0 {
            return None;
        }
        let inputs = self.inputs.as_mut()?;
        let size = self.group.size().min(room);
        // A size that was asked for may be more than there will be.
        let mut group = self.common.inputs.take(size.min(LARGEST_GROUP));
        let start = Instant::now();
        while group.len() < size {
            // One, two, four, eight and so on in all, and then so many at a time.
            let next = group.len().clamp(1, 256).min(size - group.len());
            let pulled = group.len() + next;
            group.extend(inputs.by_ref().take(next));
            if group.len() < pulled {
                self.inputs = None;
                break;
            }
            // A slow input must not hold up what it has brought already.
            if group.len() < size && start.elapsed() > GROUP_TIME {
                self.group.shrink_to(group.len());
                break;
            }
        }
        self.pulled += group.len();
        (!group.is_empty()).then_some(group)
    }

    /// Takes note that so many inputs are through, and learns from how long they took.
    fn finish(&mut self, count: usize, took: Duration) {
        self.pulled -= count;
        self.learn(count, took);
    }

    fn learn(&mut self, count: usize, took: Duration) {
        self.group.learn(count, took);
        if took < LATE {
            self.common.hurry(false);
        }
    }

    /// Whether groups may turn out to be late, and none has.
    fn is_patient(&self) -> bool {
        self.group.is_adapting() && !self.common.wants_attention()
    }

    /// Waits for a group until it is done or late. If it is late, those that are hand back what is left of them.
    fn give_time(&self, group: &GroupFuture<Out>)
    where
        Out: Send + 'static,
    {
        if !self.is_patient() {
            return;
        }
        let limit =
            self.limit.map_or(LATE, |(_, deadline)| deadline.saturating_duration_since(Instant::now()).min(LATE));
        let is_done = self.limit.is_none() && wait::help(group.cell()) || group.wait_timeout(limit);
        if !is_done {
            self.common.hurry(true);
        }
    }

    /// Takes back what a group that is used up has occupied.
    fn reuse(&mut self, ready: &mut Ready<Out>) {
        self.pulled -= mem::take(&mut ready.count);
        self.common.values.keep(mem::take(&mut ready.values));
    }

    /// Makes what came back ready to be taken, and learns from how long it took.
    fn ready(&mut self, count: usize, applied: Outcome<Applied<Out>>) -> Ready<Out> {
        match applied {
            Ok(Applied { values: Values::Own(mut values), errors, rest: _, took }) => {
                self.learn(count, took);
                values.reverse();
                Ready { values, errors, count, place: 0 }
            }
            Ok(Applied { values: Values::Placed(_), .. }) => unreachable!("only `values` cuts pieces"),
            Err(error) => Ready::failed(count, &error),
        }
    }

    /// Hands some inputs over. What is dropped unclaimed is cancelled.
    fn submit(&self, batch: Batch<I::Item, Out>) -> TaskFuture<Applied<Out>>
    where
        Out: Send + 'static,
    {
        (self.submit)(batch).cancel_on_drop()
    }

    /// Pulls nothing more.
    fn end(&mut self) {
        self.inputs = None;
        self.common.end();
    }
}

impl<I: Iterator, Out> Drop for Feed<'_, I, Out> {
    fn drop(&mut self) {
        self.common.end();
    }
}

impl Group {
    /// As many as turn out to be right, where each takes as much memory as a `T`.
    pub(crate) fn of_some<T>() -> Self {
        let fit = LARGEST_GROUP_BYTES / mem::size_of::<T>().max(1);
        Self::Adapting(1, fit.clamp(LARGEST_GROUP / 64, LARGEST_GROUP))
    }

    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Fixed(size) | Self::Adapting(size, _) => *size,
        }
    }

    /// Whether inputs take so little time that several go together.
    fn is_of_many(&self) -> bool {
        matches!(self, Self::Adapting(size, _) if *size > 1)
    }

    fn is_adapting(&self) -> bool {
        matches!(self, Self::Adapting(..))
    }

    /// Goes by how long so many inputs took, if it is free to.
    pub(crate) fn learn(&mut self, count: usize, took: Duration) {
        let Self::Adapting(size, largest) = self else { return };
        // The last group may be a small one, and says little, unless it was slow all the same.
        if count < *size && took < GROUP_TIME {
            return;
        }
        let ideal = count as u128 * GROUP_TIME.as_nanos() / took.as_nanos().max(1);
        let ideal = usize::try_from(ideal).unwrap_or(*largest);
        *size = ideal.clamp(*size / 4, *size * 8).clamp(1, *largest);
    }

    fn shrink_to(&mut self, count: usize) {
        if let Self::Adapting(size, _) = self {
            *size = count;
        }
    }
}

impl<Out> Ready<Out> {
    fn none() -> Self {
        Self::failed(0, &TaskError::Cancelled)
    }

    /// So many inputs that all failed alike.
    fn failed(count: usize, error: &TaskError) -> Self {
        let errors = (0..count).map(|place| (place, error.clone())).collect();
        Self { values: Vec::new(), errors, count, place: 0 }
    }

    fn len(&self) -> usize {
        self.values.len() + self.errors.len()
    }

    /// The next one, if it is a value and no error is to come.
    #[inline]
    fn next_quickly(&mut self) -> Option<Out> {
        if self.errors.is_empty() { self.values.pop() } else { None }
    }
}

impl<Out> Iterator for Ready<Out> {
    type Item = Outcome<Out>;

    #[inline]
    fn next(&mut self) -> Option<Outcome<Out>> {
        if !self.errors.is_empty() {
            let place = self.place;
            self.place += 1;
            if self.errors.front().is_some_and(|(failed, _)| *failed == place) {
                return self.errors.pop_front().map(|(_, error)| Err(error));
            }
        }
        self.values.pop().map(Ok)
    }
}

impl<I: Iterator, Out> fmt::Debug for Map<'_, I, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("pulled", &self.feed.pulled).finish_non_exhaustive()
    }
}

impl<I: Iterator, Out: Send + 'static> fmt::Debug for MapAsCompleted<'_, I, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapAsCompleted").field("pulled", &self.feed.pulled).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;
    use crate::ThreadPool;

    /// The first input of a group, which is late when it is done.
    fn late(n: u64) -> u64 {
        let start = Instant::now();
        while n == 0 && start.elapsed() <= LATE {}
        n
    }

    fn applied(pool: &ThreadPool, piece: Option<Piece<u64>>) -> Applied<u64> {
        let common = Arc::new(Common::new(pool.core()));
        common.hurry(true);
        Apply::new(Arc::new(late), Batch { inputs: (0..8).collect(), piece }, common).apply()
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

        assert_eq!(sizes(&applied), (1, vec![3, 3, 1]));
    }

    #[test]
    fn what_is_handed_back_keeps_its_place() {
        let pool = ThreadPool::new(2);
        let mut whole = Whole::new(8).unwrap();

        let first = applied(&pool, whole.cut(8));
        assert_eq!(sizes(&first), (1, vec![4, 3]));
        for values in all(first) {
            match values {
                Values::Placed(piece) => whole.join(piece),
                Values::Own(_) => panic!("they had a place"),
            }
        }

        assert_eq!(whole.into_vec(), (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn the_buffers_of_what_is_handed_back_go_round() {
        let pool = ThreadPool::new(2);
        let common = Arc::new(Common::new(pool.core()));
        common.hurry(true);

        for _ in 0..3 {
            let mut inputs = common.inputs.take(8);
            inputs.extend(0..8);
            all(Apply::new(Arc::new(late), Batch { inputs, piece: None }, Arc::clone(&common)).apply());
        }

        // One for the group, and one for each of the parts.
        assert!(common.inputs.0.lock().unwrap().len() <= 3);
    }

    #[test]
    fn an_executor_that_is_closed_meanwhile_loses_nothing() {
        let pool = ThreadPool::new(2);
        pool.close();

        let values = all(applied(&pool, None));

        assert_eq!(values.iter().map(Values::len).sum::<usize>(), 8);
    }
}
