//! Hashes of URLs and names, and sets of them that are as small as can be.
//!
//! A run has to know every URL that it has seen and every name that it has given, for a million of them and more. So both
//! are kept as hashes of 64 bits, in sorted order and next to each other: nine bytes each, where a hash map takes up to
//! twenty. That two of a million URLs have one hash happens in one of forty million runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::by_number::ByNumber;

/// What tells one wish from another: the hash of a URL, and of all in its entry that shapes the file.
///
/// It stays the same from version to version: names and journals are made with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key(pub(crate) u64);

pub(crate) const ASCII: &str = "digits are ASCII";

impl Key {
    /// The key of this text.
    pub(crate) fn of(text: &[u8]) -> Self {
        let hash = blake3::hash(text);
        let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        Self(u64::from_be_bytes(*first))
    }

    /// Reads it as it is shown.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        if text.len() != 16 {
            return None;
        }
        text.iter().try_fold(0, |key, byte| Some(key << 4 | u64::from(digit(byte)?))).map(Self)
    }

    /// It as it is shown: sixteen hexadecimal digits.
    pub(crate) fn digits(self) -> [u8; 16] {
        hexadecimal(self.0)
    }

    /// Its first letters, for a name: so many, of which each tells 32 apart; at most 12.
    pub(crate) fn letters(self, count: u32) -> String {
        // Without letters that look like digits or each other, as Crockford has them.
        const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        (1..=count).map(|place| char::from(LETTERS[(self.0 >> (64 - 5 * place)) as usize & 31])).collect()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).expect(ASCII))
    }
}

/// Texts of which one key is made.
pub(crate) struct Texts(Vec<u8>);

impl Texts {
    pub(crate) fn of(first: &[u8]) -> Self {
        Self(first.into())
    }

    pub(crate) fn add(&mut self, texts: &[&[u8]]) {
        for text in texts {
            // No text holds this, so that `ab`, `c` is not `a`, `bc`.
            self.0.push(0xff);
            self.0.extend_from_slice(text);
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key::of(&self.0)
    }
}

/// The last digits of a number.
pub(crate) fn hexadecimal<const DIGITS: usize>(number: u64) -> [u8; DIGITS] {
    std::array::from_fn(|place| b"0123456789abcdef"[(number >> (4 * (DIGITS - 1 - place))) as usize & 15])
}

/// Hashes with a value each; `()` makes a set of it.
#[derive(Debug)]
pub(crate) struct Table<V> {
    /// In rising order, and their values at the same places.
    hashes: Vec<u64>,
    values: Vec<V>,
    /// Those that came since, until there are enough to be worth a pass over all.
    recent: ByNumber<V>,
}

/// At least so many come together before they are sorted in.
const RECENT: usize = 1024;

impl<V: Copy> Default for Table<V> {
    fn default() -> Self {
        Self { hashes: Vec::new(), values: Vec::new(), recent: ByNumber::default() }
    }
}

impl<V: Copy> Table<V> {
    /// The table of these, of which the last counts where a hash comes twice.
    pub(crate) fn from_pairs(hashes: Vec<u64>, values: Vec<V>) -> Self {
        assert_eq!(hashes.len(), values.len(), "each hash has its value");
        if hashes.is_sorted_by(|a, b| a < b) {
            return Self { hashes, values, recent: ByNumber::default() };
        }
        let mut order: Vec<u32> = (0..u32::try_from(hashes.len()).expect("fewer than four thousand million")).collect();
        // Later ones first among equals, so that they stay.
        order.sort_unstable_by_key(|&place| (hashes[place as usize], std::cmp::Reverse(place)));
        order.dedup_by_key(|place| hashes[*place as usize]);
        Self {
            hashes: order.iter().map(|&place| hashes[place as usize]).collect(),
            values: order.iter().map(|&place| values[place as usize]).collect(),
            recent: ByNumber::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.hashes.len() + self.recent.len()
    }

    pub(crate) fn get(&self, hash: u64) -> Option<V> {
        self.recent.get(&hash).copied().or_else(|| self.place(hash).map(|place| self.values[place]))
    }

    pub(crate) fn contains(&self, hash: u64) -> bool {
        self.recent.contains_key(&hash) || self.place(hash).is_some()
    }

    /// Sets the value of a hash. Returns whether the hash is new.
    pub(crate) fn insert(&mut self, hash: u64, value: V) -> bool {
        if let Some(place) = self.place(hash) {
            self.values[place] = value;
            return false;
        }
        let is_new = self.recent.insert(hash, value).is_none();
        if self.recent.len() >= RECENT.max(self.hashes.len() / 32) {
            self.sort_in();
        }
        is_new
    }

    fn place(&self, hash: u64) -> Option<usize> {
        self.hashes.binary_search(&hash).ok()
    }

    /// Merges from the back, so that no second copy is needed.
    fn sort_in(&mut self) {
        let mut recent: Vec<(u64, V)> = self.recent.drain().collect();
        recent.sort_unstable_by_key(|(hash, _)| *hash);
        let mut old = self.hashes.len();
        let mut end = old + recent.len();
        // No room to spare: it would be as much again.
        self.hashes.reserve_exact(recent.len());
        self.values.reserve_exact(recent.len());
        self.hashes.extend(recent.iter().map(|(hash, _)| hash));
        self.values.extend(recent.iter().map(|(_, value)| value));
        while let Some((hash, value)) = recent.pop() {
            let after = self.hashes[..old].partition_point(|old| *old < hash);
            self.hashes.copy_within(after..old, end - (old - after));
            self.values.copy_within(after..old, end - (old - after));
            end -= old - after + 1;
            old = after;
            self.hashes[end] = hash;
            self.values[end] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_key_reads_back_as_it_is_shown_and_stays_what_it_was() {
        let key = Key::of(b"https://example.org/a");

        assert_eq!(Key::parse(key.to_string().as_bytes()), Some(key));
        assert_eq!(key.to_string().len(), 16);
        assert_eq!(Key::parse(b"0123456789abcdeg"), None);
        assert_eq!(Key(0x0102_0304_0506_0708).letters(8), "04106105");
        assert_eq!(Key(u64::MAX).letters(12), "zzzzzzzzzzzz");
    }

    #[test]
    fn a_key_of_several_texts_tells_where_one_ends() {
        let key = |first: &str, second: &str| {
            let mut texts = Texts::of(first.as_bytes());
            texts.add(&[second.as_bytes()]);
            texts.key()
        };

        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_eq!(key("a", "b"), Key::of(b"a\xffb"));
    }

    #[test]
    fn a_table_keeps_what_a_map_keeps() {
        let mut table = Table::default();
        let mut map = HashMap::new();
        let mut random = 7_u64;
        for value in 0..50_000_u32 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Few enough different ones that many come twice.
            let hash = (random % 30_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert_eq!(table.insert(hash, value), map.insert(hash, value).is_none());
        }

        assert_eq!(table.len(), map.len());
        for number in 0..30_000_u64 {
            let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert_eq!(table.get(hash), map.get(&hash).copied());
            assert_eq!(table.contains(hash), map.contains_key(&hash));
        }
    }

    #[test]
    fn a_table_made_at_once_keeps_the_last_of_equals() {
        let table = Table::from_pairs(vec![5, 3, 5, 1], vec!['a', 'b', 'c', 'd']);

        assert_eq!([5, 3, 1, 2].map(|hash| table.get(hash)), [Some('c'), Some('b'), Some('d'), None]);
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn a_million_take_nine_bytes_each() {
        let mut table = Table::default();
        for number in 0..1_000_000_u64 {
            table.insert(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), ());
        }

        let recent = table.recent.capacity() * 2 * size_of::<(u64, ())>();
        assert!(table.hashes.capacity() * 8 + recent <= 9_000_000, "{} and {recent}", table.hashes.capacity());
    }
}
