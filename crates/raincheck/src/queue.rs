//! Tasks in the order in which they are to start, and the numbers of those who run them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    iter, mem,
};

use crate::task::Task;

/// Tasks that wait: the first come first, unless someone gave them a priority.
#[derive(Default)]
pub(crate) struct Queue {
    /// Those of priority 0, which most are.
    plain: VecDeque<Task>,
    /// All others, the highest priority first; equals in the order in which they came.
    ranked: BTreeMap<(Reverse<i32>, u64), Task>,
    ranked_so_far: u64,
}

/// Hands out small numbers, the smallest free one first.
#[derive(Default)]
pub(crate) struct Lanes {
    free: BinaryHeap<Reverse<usize>>,
    next: usize,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.plain.len() + self.ranked.len()
    }

    pub(crate) fn push(&mut self, task: Task) {
        match task.priority() {
            0 => self.plain.push_back(task),
            priority => {
                self.ranked.insert((Reverse(priority), self.ranked_so_far), task);
                self.ranked_so_far += 1;
            }
        }
    }

    /// Puts tasks back before all others of priority 0, in this order.
    pub(crate) fn push_front<I>(&mut self, tasks: I)
    where
        I: IntoIterator<Item = Task, IntoIter: DoubleEndedIterator>,
    {
        tasks.into_iter().rev().for_each(|task| self.plain.push_front(task));
    }

    pub(crate) fn has_urgent(&self) -> bool {
        self.ranked.first_key_value().is_some_and(|((Reverse(priority), _), _)| *priority > 0)
    }

    /// The next one of a priority above 0.
    pub(crate) fn pop_urgent(&mut self) -> Option<Task> {
        if self.has_urgent() { self.pop_ranked() } else { None }
    }

    pub(crate) fn pop(&mut self) -> Option<Task> {
        self.pop_urgent().or_else(|| self.plain.pop_front()).or_else(|| self.pop_ranked())
    }

    /// Moves the next few of priority 0 to another queue.
    pub(crate) fn pop_plain(&mut self, count: usize, to: &mut VecDeque<Task>) {
        to.extend(self.plain.drain(..count));
    }

    pub(crate) fn plain_len(&self) -> usize {
        self.plain.len()
    }

    pub(crate) fn take_all(&mut self) -> Vec<Task> {
        let mut tasks: Vec<Task> = iter::from_fn(|| self.pop_urgent()).collect();
        tasks.extend(mem::take(&mut self.plain));
        tasks.extend(mem::take(&mut self.ranked).into_values());
        tasks
    }

    fn pop_ranked(&mut self) -> Option<Task> {
        self.ranked.pop_first().map(|(_, task)| task)
    }
}

impl Lanes {
    pub(crate) fn take(&mut self) -> usize {
        if let Some(Reverse(lane)) = self.free.pop() {
            return lane;
        }
        self.next += 1;
        self.next - 1
    }

    pub(crate) fn give(&mut self, lane: usize) {
        self.free.push(Reverse(lane));
    }
}
