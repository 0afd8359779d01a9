//! The most frequent texts of a stream, in bounded memory.
//!
//! A counter for each text that comes, until there are twice as many as may be kept. Then the count of the greatest that
//! must go is taken off all of them, and those with nothing left are dropped (Misra and Gries, in batches). A count is thus
//! never too high, and too low by no more than was ever taken off: after `n` requests at most `n / most`. Whatever
//! came more often than that is among the rest.

use std::cmp::Reverse;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

/// Counters for some of the texts that came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sketch {
    counts: HashMap<Vec<u8>, u64>,
    most: usize,
    /// How much was taken off.
    too_low_by: u64,
}

impl Sketch {
    /// One that keeps this many texts, which must not be zero.
    pub(crate) fn new(most: usize) -> Self {
        Self { counts: HashMap::new(), most, too_low_by: 0 }
    }

    /// By how much a count may be too low, and how often a text may have come that is not here.
    pub(crate) fn too_low_by(&self) -> u64 {
        self.too_low_by
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.counts.iter().map(|(text, count)| (&text[..], *count))
    }

    #[inline]
    pub(crate) fn count(&mut self, text: &[u8]) {
        *self.counts.entry_ref(text).or_insert(0) += 1;
        if self.counts.len() >= self.most.saturating_mul(2) {
            self.shrink();
        }
    }

    /// Adds what another counted of the same stream.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.too_low_by += other.too_low_by;
        for (text, count) in other.counts {
            *self.counts.entry(text).or_insert(0) += count;
        }
        self.shrink();
    }

    /// Keeps no more than may be kept.
    pub(crate) fn shrink(&mut self) {
        if self.counts.len() <= self.most {
            return;
        }
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, greatest_to_go, _) = counts.select_nth_unstable_by_key(self.most, |count| Reverse(*count));
        let less = *greatest_to_go;
        self.too_low_by += less;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(less);
            *count > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_count_is_never_too_high_and_too_low_by_no_more_than_is_said(
            streams in prop::collection::vec(prop::collection::vec(0_u8..60, 0..400), 1..4),
            most in 1_usize..20,
        ) {
            let mut exact: HashMap<u8, u64> = HashMap::new();
            let mut all = Sketch::new(most);
            for stream in &streams {
                let mut sketch = Sketch::new(most);
                for text in stream {
                    *exact.entry(*text).or_default() += 1;
                    sketch.count(&[*text]);
                }
                all.absorb(sketch);
            }
            let total: u64 = exact.values().sum();
            let kept: HashMap<u8, u64> = all.counts().map(|(text, count)| (text[0], count)).collect();

            prop_assert!(kept.len() <= most);
            prop_assert!(all.too_low_by() <= total / most as u64);
            for (text, count) in exact {
                let kept = kept.get(&text).copied().unwrap_or(0);
                prop_assert!(kept <= count && count <= kept + all.too_low_by(), "{kept} for {count}");
            }
        }
    }
}
