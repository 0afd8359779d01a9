//! The caller's side of a map: inputs are pulled and handed over in groups, and outcomes taken out of them.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    apply::{Applied, Batch, Common, GroupFuture, LATE, Values},
    group::{GROUP_TIME, Group, LARGEST_GROUP},
};
use crate::{
    error::{Outcome, TaskError},
    future::TaskFuture,
    wait,
};

/// Pulls the inputs, and hands them over in groups.
pub(super) struct Feed<'e, I: Iterator, Out> {
    /// `None` once it has ended.
    pub(super) inputs: Option<I>,
    pub(super) submit: Submit<'e, I::Item, Out>,
    pub(super) common: Arc<Common<I::Item, Out>>,
    pub(super) group: Group,
    /// How many groups may be under way.
    pub(super) groups: usize,
    /// How many inputs may be pulled whose outcomes are not taken.
    pub(super) buffer: usize,
    pub(super) pulled: usize,
    pub(super) limit: Option<(Duration, Instant)>,
}

/// Hands some inputs over.
pub(super) type Submit<'e, In, Out> = Box<dyn Fn(Batch<In, Out>) -> GroupFuture<Out> + 'e>;

/// The outcomes of one group that have not been taken.
pub(super) struct Ready<Out> {
    /// The last one first, since nothing is quicker than to take the last one of a `Vec`.
    pub(super) values: Vec<Out>,
    /// Those inputs that gave no value, by their places.
    pub(super) errors: VecDeque<(usize, TaskError)>,
    /// How many inputs the group had, and which place is next.
    count: usize,
    place: usize,
}

impl<I: Iterator, Out> Feed<'_, I, Out> {
    /// The next inputs that are to be handed over together; `None` if that is not for now, or none is left.
    pub(super) fn pull(&mut self, under_way: usize) -> Option<Vec<I::Item>> {
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
    pub(super) fn finish(&mut self, count: usize, took: Duration) {
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
    pub(super) fn is_patient(&self) -> bool {
        self.group.is_adapting() && !self.common.wants_attention()
    }

    /// Waits for a group until it is done or late. If it is late, those that are hand back what is left of them.
    pub(super) fn give_time(&self, group: &GroupFuture<Out>)
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
    pub(super) fn reuse(&mut self, ready: &mut Ready<Out>) {
        self.pulled -= mem::take(&mut ready.count);
        self.common.values.keep(mem::take(&mut ready.values));
    }

    /// Makes what came back ready to be taken, and learns from how long it took.
    pub(super) fn ready(&mut self, count: usize, applied: Outcome<Applied<Out>>) -> Ready<Out> {
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
    pub(super) fn submit(&self, batch: Batch<I::Item, Out>) -> TaskFuture<Applied<Out>>
    where
        Out: Send + 'static,
    {
        (self.submit)(batch).cancel_on_drop()
    }

    /// Pulls nothing more.
    pub(super) fn end(&mut self) {
        self.inputs = None;
        self.common.end();
    }
}

impl<I: Iterator, Out> Drop for Feed<'_, I, Out> {
    fn drop(&mut self) {
        self.common.end();
    }
}

impl<Out> Ready<Out> {
    pub(super) fn none() -> Self {
        Self::failed(0, &TaskError::Cancelled)
    }

    /// So many inputs that all failed alike.
    pub(super) fn failed(count: usize, error: &TaskError) -> Self {
        let errors = (0..count).map(|place| (place, error.clone())).collect();
        Self { values: Vec::new(), errors, count, place: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() + self.errors.len()
    }

    /// The next one, if it is a value and no error is to come.
    #[inline]
    pub(super) fn next_quickly(&mut self) -> Option<Out> {
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
