//! One function, many inputs: applied as they come, a bounded number at a time.

mod apply;
mod feed;
mod group;

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::Arc,
    time::{Duration, Instant},
    vec,
};

pub(crate) use self::{
    apply::{Applied, Apply, Batch, Common},
    group::Group,
};
use self::{
    apply::{GroupFuture, LATE, Values},
    feed::{Feed, Ready},
};
use crate::{
    error::{Outcome, TaskError},
    executor::{Executor, InProcess},
    pieces::Whole,
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

    /// What makes a task of some inputs.
    #[doc(hidden)]
    fn into_maker(
        self,
        common: Arc<Common<In, Self::Output>>,
    ) -> impl Fn(Batch<In, Self::Output>) -> Self::Body + 'static;
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

/// An iterator over the outcomes of a function applied to many inputs, in the order of the inputs; made by
/// [`Executor::map`].
///
/// It begins with the first `next`, or with [`start`](Self::start). Its `next` blocks until the next outcome is there.
/// Dropping it cancels what has not started, and tells what runs.
#[must_use = "a map begins when it is iterated or started"]
pub struct Map<'e, I: Iterator, Out> {
    feed: Feed<'e, I, Out>,
    under_way: VecDeque<(usize, GroupFuture<Out>)>,
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
