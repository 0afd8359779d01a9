//! Which bytes of a large file nobody has begun to fetch, and who takes which.
//!
//! Whoever has the response to the first request takes from the front, and goes on with that response as long as what
//! follows is nobody's. All others take from the end. So one that stays alone fetches the whole with one request, and those who come to help
//! ask for what they need and no more. A share becomes smaller with what is left, so that all are done at about the same time.

use std::ops::Range;

/// What is left of a file.
#[derive(Debug)]
pub(crate) struct Pieces {
    /// Of this nobody has taken anything: in order, none empty, none that touches the next.
    free: Vec<Range<u64>>,
    at_most: usize,
    at_least: u64,
}

impl Pieces {
    /// What is missing, for so many at work at a time, in pieces of so many bytes at least.
    pub(crate) fn new(missing: Vec<Range<u64>>, at_most: usize, at_least: u64) -> Self {
        Self { free: missing, at_most: at_most.max(1), at_least: at_least.max(1) }
    }

    /// Whether everything has been taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// Whether one more can help so many who are at work.
    pub(crate) fn want_more(&self, at_work: usize) -> bool {
        at_work < self.at_most && !self.free.is_empty()
    }

    /// Lets one less be at work at a time.
    pub(crate) fn want_fewer(&mut self) {
        self.at_most = (self.at_most - 1).max(1);
    }

    /// Lets only one be at work.
    pub(crate) fn want_one(&mut self) {
        self.at_most = 1;
    }

    /// A share, from the beginning.
    pub(crate) fn first(&mut self) -> Option<Range<u64>> {
        let share = self.share();
        let free = self.free.first_mut()?;
        let end = if self.at_least.saturating_add(share) > length(free) { free.end } else { free.start + share };
        let piece = free.start..end;
        free.start = end;
        self.free.retain(|free| !free.is_empty());
        Some(piece)
    }

    /// A share, from the end.
    pub(crate) fn last(&mut self) -> Option<Range<u64>> {
        let share = self.share();
        let free = self.free.last_mut()?;
        let start = if self.at_least.saturating_add(share) > length(free) { free.start } else { free.end - share };
        let piece = start..free.end;
        free.end = start;
        self.free.retain(|free| !free.is_empty());
        Some(piece)
    }

    /// Another share for who has come to this place and can go on there: its end.
    pub(crate) fn after(&mut self, place: u64) -> Option<u64> {
        let share = self.share();
        let free = self.free.iter_mut().find(|free| free.start == place)?;
        let end = if self.at_least.saturating_add(share) > length(free) { free.end } else { free.start + share };
        free.start = end;
        self.free.retain(|free| !free.is_empty());
        Some(end)
    }

    /// Takes back what was not fetched after all.
    pub(crate) fn give_back(&mut self, piece: Range<u64>) {
        self.free.push(piece);
        self.free = merged(std::mem::take(&mut self.free));
    }

    fn share(&self) -> u64 {
        let left: u64 = self.free.iter().map(length).sum();
        left.div_ceil(self.at_most as u64).max(self.at_least)
    }
}

/// How many bytes a range has.
pub(crate) fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// The same bytes, in order, and each once.
pub(crate) fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    ranges.dedup_by(|next, before| {
        let touches = next.start <= before.end;
        if touches {
            before.end = before.end.max(next.end);
        }
        touches
    });
    ranges
}

/// What is missing of so many bytes, where these are there.
pub(crate) fn missing(size: u64, there: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut missing = Vec::new();
    let mut from = 0;
    for range in merged(there.to_vec()) {
        missing.push(from..range.start.min(size));
        from = range.end;
    }
    missing.push(from..size);
    missing.retain(|range| !range.is_empty());
    missing
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges can have one")]
mod tests {
    use super::*;

    #[test]
    fn one_takes_from_the_front_and_the_others_from_the_end() {
        let mut pieces = Pieces::new(vec![0..100], 4, 10);

        assert_eq!((pieces.first(), pieces.last(), pieces.last()), (Some(0..25), Some(81..100), Some(67..81)));
        assert_eq!(pieces.after(25), Some(36));
        assert_eq!((pieces.last(), pieces.last(), pieces.last()), (Some(57..67), Some(47..57), Some(36..47)));
        assert_eq!((pieces.after(36), pieces.first(), pieces.is_empty()), (None, None, true));
    }

    #[test]
    fn no_piece_is_smaller_than_told_unless_a_gap_is() {
        let mut pieces = Pieces::new(vec![0..19, 50..53], 8, 10);

        assert_eq!((pieces.last(), pieces.last()), (Some(50..53), Some(0..19)));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut pieces = Pieces::new(vec![0..40], 2, 10);
        assert_eq!((pieces.first(), pieces.last()), (Some(0..20), Some(30..40)));

        pieces.give_back(33..40);
        pieces.give_back(30..33);

        assert_eq!((pieces.after(20), pieces.after(30), pieces.is_empty()), (Some(30), Some(40), true));
    }

    #[test]
    fn as_many_are_wanted_as_told_and_there_is_work_for() {
        let mut pieces = Pieces::new(vec![0..40], 2, 10);
        assert!(pieces.want_more(1) && !pieces.want_more(2));

        pieces.want_fewer();
        assert!(pieces.want_more(0) && !pieces.want_more(1));
        pieces.first();
        assert!(!pieces.want_more(0));
    }

    #[test]
    fn what_is_missing_is_all_that_is_not_there() {
        assert_eq!(missing(10, &[]), vec![0..10]);
        assert_eq!(missing(10, &[3..5, 0..2, 4..6]), [2..3, 6..10]);
        assert_eq!(missing(10, &[0..6, 6..12]), vec![]);
        assert_eq!(missing(0, &[]), vec![]);
    }

    #[test]
    fn every_byte_is_taken_once_whoever_takes_it() {
        let mut dice = 1_u64;
        let mut throw = |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % sides
        };
        for _ in 0..500 {
            let (size, at_most, at_least) = (1 + throw(2000), 1 + throw(8) as usize, 1 + throw(300));
            let mut pieces = Pieces::new(vec![0..size], at_most, at_least);
            let mut taken: Vec<Range<u64>> = Vec::new();
            while !pieces.is_empty() {
                match throw(4) {
                    0 => taken.extend(pieces.first()),
                    1 => taken.extend(pieces.last()),
                    2 => taken.pop().into_iter().for_each(|piece| pieces.give_back(piece)),
                    _ => {
                        let before = taken.last().map_or(0, |piece| piece.end);
                        taken.extend(pieces.after(before).map(|end| before..end));
                    }
                }
            }

            let all: u64 = taken.iter().map(length).sum();
            assert_eq!((merged(taken), all), (vec![0..size], size));
        }
    }
}
