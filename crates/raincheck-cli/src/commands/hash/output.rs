//! What jobs have to say on stdout, in the order of the inputs though they end in any.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::mem;
use std::time::{Duration, Instant};

use crate::report::Report;

/// So much is kept back at most, and for no longer than that while more comes.
const MOST_KEPT: usize = 64 << 10;
const BETWEEN_WRITES: Duration = Duration::from_millis(50);

/// Lines on their way to stdout.
pub(super) struct Output<'r> {
    report: &'r Report,
    order: InOrder,
    /// What is in order, and not written yet.
    ready: Vec<u8>,
    written: Instant,
    to_a_person: bool,
}

impl<'r> Output<'r> {
    pub(super) fn new(report: &'r Report) -> Self {
        let to_a_person = io::stdout().is_terminal();
        Self { report, order: InOrder::default(), ready: Vec::new(), written: Instant::now(), to_a_person }
    }

    /// Takes what the job with this number says, which may be nothing, and writes what is its turn.
    ///
    /// # Errors
    ///
    /// What stdout said.
    pub(super) fn put(&mut self, number: usize, lines: Vec<u8>) -> io::Result<()> {
        self.order.put(number, lines);
        while let Some(lines) = self.order.next() {
            self.ready.extend(lines);
        }
        let due = self.to_a_person || self.ready.len() >= MOST_KEPT || self.written.elapsed() >= BETWEEN_WRITES;
        if due { self.write() } else { Ok(()) }
    }

    /// Writes all that is there, also what waits for jobs that will not be done.
    ///
    /// # Errors
    ///
    /// What stdout said.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.ready.extend(self.order.rest().flatten());
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.written = Instant::now();
        match mem::take(&mut self.ready) {
            ready if ready.is_empty() => Ok(()),
            ready => self.report.data(&ready),
        }
    }
}

/// Puts numbered things in order, without gaps.
#[derive(Debug, Default)]
struct InOrder {
    /// The number whose turn it is, which is that of the first slot.
    next: usize,
    slots: VecDeque<Option<Vec<u8>>>,
}

impl InOrder {
    fn put(&mut self, number: usize, lines: Vec<u8>) {
        let slot = number - self.next;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        self.slots[slot] = Some(lines);
    }

    /// The next one, if it is there.
    fn next(&mut self) -> Option<Vec<u8>> {
        let lines = self.slots.front_mut()?.take()?;
        self.slots.pop_front();
        self.next += 1;
        Some(lines)
    }

    /// What is left, in order.
    fn rest(&mut self) -> impl Iterator<Item = Vec<u8>> {
        mem::take(&mut self.slots).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_when_all_before_it_have_come() {
        let mut order = InOrder::default();
        let mut after = |number: usize| {
            order.put(number, vec![number as u8]);
            std::iter::from_fn(|| order.next()).flatten().collect::<Vec<_>>()
        };

        assert_eq!(
            [after(2), after(0), after(1), after(4), after(3)],
            [vec![], vec![0], vec![1, 2], vec![], vec![3, 4]]
        );
    }

    #[test]
    fn at_the_end_a_gap_holds_nothing_back() {
        let mut order = InOrder::default();
        order.put(3, vec![3]);
        order.put(1, vec![1]);

        assert_eq!(order.next(), None);
        assert_eq!(order.rest().collect::<Vec<_>>(), [[1], [3]]);
    }
}
