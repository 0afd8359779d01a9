//! One function, many inputs: applied as they come, a bounded number at a time.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{
        Arc,
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
    task::{self, AsyncBody, Body, kind},
    wait::CompletionQueue,
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

    /// What makes a task of some inputs; the flag says that nobody wants the rest.
    #[doc(hidden)]
    fn into_maker(self, unwanted: Arc<AtomicBool>) -> impl Fn(Vec<In>) -> Self::Body + 'static;
}

/// What became of some inputs that were handed over together.
#[doc(hidden)]
#[derive(Debug)]
pub struct Applied<Out> {
    values: Vec<Out>,
    /// Those inputs that gave no value, by their places, in order.
    errors: VecDeque<(usize, TaskError)>,
    took: Duration,
}

impl<E, In, Out, F> Function<E, In, kind::Closure> for F
where
    E: InProcess + ?Sized,
    In: Send + 'static,
    Out: Send + 'static,
    F: Fn(In) -> Out + Send + Sync + 'static,
{
    type Output = Out;
    type Body = Apply<F, In>;
    const GROUPS: bool = true;

    fn into_maker(self, unwanted: Arc<AtomicBool>) -> impl Fn(Vec<In>) -> Apply<F, In> + 'static {
        let function = Arc::new(self);
        move |inputs| Apply::new(Arc::clone(&function), inputs, Arc::clone(&unwanted))
    }
}

/// A function applied to some inputs, one after the other.
#[doc(hidden)]
pub struct Apply<F, In> {
    function: Arc<F>,
    inputs: Vec<In>,
    unwanted: Arc<AtomicBool>,
}

impl<F, In, Out> Body for Apply<F, In>
where
    In: Send + 'static,
    Out: Send + 'static,
    F: Fn(In) -> Out + Send + Sync + 'static,
{
    type Output = Applied<Out>;
    const ASYNC: bool = false;

    fn perform(self) -> Outcome<Applied<Out>> {
        let is_alone = self.inputs.len() == 1;
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

impl<F, In> Apply<F, In> {
    pub(crate) fn new(function: Arc<F>, inputs: Vec<In>, unwanted: Arc<AtomicBool>) -> Self {
        Self { function, inputs, unwanted }
    }
}

impl<F, In, Out> Apply<F, In>
where
    F: Fn(In) -> Out,
{
    fn apply(self) -> Applied<Out> {
        let start = Instant::now();
        let count = self.inputs.len();
        let mut values = Vec::with_capacity(count);
        let mut errors = VecDeque::new();
        let mut inputs = self.inputs.into_iter();
        while inputs.len() > 0 {
            // One guard for all of them, and a new one behind an input that panics.
            let ended = panics::catch(|| {
                for input in inputs.by_ref() {
                    if self.unwanted.load(Ordering::Relaxed) {
                        return;
                    }
                    values.push((self.function)(input));
                }
            });
            let place = values.len() + errors.len();
            match ended {
                Ok(()) if inputs.len() == 0 && place == count => {}
                Ok(()) => {
                    // Nobody is left who would see these.
                    errors.extend((place..count).map(|place| (place, TaskError::Cancelled)));
                    break;
                }
                Err(error) => errors.push_back((place, error)),
            }
        }
        panics::discard(inputs);
        Applied { values, errors, took: start.elapsed() }
    }
}

impl<Out> Applied<Out> {
    #[cfg(all(feature = "process", unix))]
    pub(crate) fn new(values: Vec<Out>, errors: VecDeque<(usize, TaskError)>, took: Duration) -> Self {
        Self { values, errors, took }
    }

    /// Inputs that gave these values, in a time that says nothing.
    pub(crate) fn of(values: Vec<Out>) -> Self {
        Self { values, errors: VecDeque::new(), took: Duration::ZERO }
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

    fn into_maker(self, _unwanted: Arc<AtomicBool>) -> impl Fn(Vec<In>) -> Self::Body + 'static {
        let function = Arc::new(self.0);
        move |inputs| {
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
const GROUP_TIME: Duration = Duration::from_micros(100);

/// No group is larger.
const LARGEST_GROUP: usize = 1 << 12;

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
    /// Says that nobody wants what is still to come.
    unwanted: Arc<AtomicBool>,
    group: Group,
    /// How many groups may be under way.
    groups: usize,
    /// How many inputs may be pulled whose outcomes are not taken.
    buffer: usize,
    pulled: usize,
    limit: Option<(Duration, Instant)>,
}

/// Hands some inputs over.
type Submit<'e, In, Out> = Box<dyn Fn(Vec<In>) -> GroupFuture<Out> + 'e>;

type GroupFuture<Out> = TaskFuture<Applied<Out>>;

/// How many inputs go together.
pub(crate) enum Group {
    /// So many, always.
    Fixed(usize),
    /// So many for now.
    Adapting(usize),
}

/// The outcomes of one group that have not been taken, in order.
struct Ready<Out> {
    values: vec::IntoIter<Out>,
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
        let unwanted = Arc::new(AtomicBool::new(false));
        let make = function.into_maker(Arc::clone(&unwanted));
        // An observer and a time limit mean each input.
        let is_each =
            executor.options().is_some_and(|options| options.observer.is_some() || options.time_limit.is_some());
        let group = if F::GROUPS && !is_each { Group::Adapting(1) } else { Group::Fixed(1) };
        let feed = Feed {
            inputs: Some(inputs),
            submit: Box::new(move |inputs| task::submit(executor, make(inputs))),
            unwanted,
            group,
            groups: 4 * executor.workers() + 4,
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
        self.fill();
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

    fn fill(&mut self) {
        while let Some(inputs) = self.feed.pull(self.under_way.len()) {
            self.under_way.push_back((inputs.len(), self.feed.submit(inputs)));
        }
    }
}

impl<I: Iterator, Out: Send + 'static> Iterator for Map<'_, I, Out> {
    type Item = Outcome<Out>;

    fn next(&mut self) -> Option<Outcome<Out>> {
        loop {
            if let Some(outcome) = self.ready.next() {
                return Some(outcome);
            }
            self.feed.pulled -= mem::take(&mut self.ready.count);
            self.fill();
            let (count, group) = self.under_way.pop_front()?;
            if let Some((limit, deadline)) = self.feed.limit
                && !group.wait_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                self.feed.end();
                self.under_way.clear();
                return Some(Err(TaskError::TimedOut { limit }));
            }
            self.ready = self.feed.ready(count, group.result());
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
            self.feed.pulled -= mem::take(&mut self.ready.count);
            if let (Some(inputs), Some((limit, _))) = (self.late.pop(), self.feed.limit) {
                self.ready = Ready::failed(inputs.len(), &TaskError::TimedOut { limit });
                self.inputs = inputs.into_iter();
                continue;
            }
            while let Some(inputs) = self.feed.pull(self.under_way.len()) {
                self.under_way.push((inputs.clone(), self.feed.submit(inputs)));
            }
            let next = match self.feed.limit {
                None => self.under_way.next(),
                Some((_, deadline)) => self.under_way.next_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            match next {
                Some((inputs, group)) => {
                    self.ready = self.feed.ready(inputs.len(), group.result());
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

impl<I: Iterator, Out> Feed<'_, I, Out> {
    /// The next inputs that are to be handed over together; `None` if that is not for now, or none is left.
    fn pull(&mut self, under_way: usize) -> Option<Vec<I::Item>> {
        let room = self.buffer - self.pulled;
        if under_way >= self.groups || room == 0 {
            return None;
        }
        let inputs = self.inputs.as_mut()?;
        let size = self.group.size().min(room);
        let start = Instant::now();
        let mut group = Vec::with_capacity(size);
        while group.len() < size {
            match inputs.next() {
                Some(input) => group.push(input),
                None => {
                    self.inputs = None;
                    break;
                }
            }
            // A slow input must not hold up what it has brought already.
            let should_look = group.len().is_power_of_two() || group.len() % 256 == 0;
            if should_look && start.elapsed() > GROUP_TIME {
                self.group.shrink_to(group.len());
                break;
            }
        }
        self.pulled += group.len();
        (!group.is_empty()).then_some(group)
    }

    /// Makes what came back ready to be taken, and learns from how long it took.
    fn ready(&mut self, count: usize, applied: Outcome<Applied<Out>>) -> Ready<Out> {
        match applied {
            Ok(Applied { values, errors, took }) => {
                self.group.learn(count, took);
                Ready { values: values.into_iter(), errors, count, place: 0 }
            }
            Err(error) => Ready::failed(count, &error),
        }
    }

    /// Hands some inputs over. What is dropped unclaimed is cancelled.
    fn submit(&self, inputs: Vec<I::Item>) -> TaskFuture<Applied<Out>>
    where
        Out: Send + 'static,
    {
        (self.submit)(inputs).cancel_on_drop()
    }

    /// Pulls nothing more.
    fn end(&mut self) {
        self.inputs = None;
        self.unwanted.store(true, Ordering::Relaxed);
    }
}

impl<I: Iterator, Out> Drop for Feed<'_, I, Out> {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
    }
}

impl Group {
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Fixed(size) | Self::Adapting(size) => *size,
        }
    }

    /// Goes by how long so many inputs took, if it is free to.
    pub(crate) fn learn(&mut self, count: usize, took: Duration) {
        let Self::Adapting(size) = self else { return };
        // The last group may be a small one, and says little.
        if count < *size {
            return;
        }
        let ideal = count as u128 * GROUP_TIME.as_nanos() / took.as_nanos().max(1);
        let ideal = usize::try_from(ideal).unwrap_or(LARGEST_GROUP);
        *size = ideal.clamp(*size / 4, *size * 8).clamp(1, LARGEST_GROUP);
    }

    fn shrink_to(&mut self, count: usize) {
        if let Self::Adapting(size) = self {
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
        Self { values: Vec::new().into_iter(), errors, count, place: 0 }
    }

    fn len(&self) -> usize {
        self.values.len() + self.errors.len()
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
        self.values.next().map(Ok)
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
