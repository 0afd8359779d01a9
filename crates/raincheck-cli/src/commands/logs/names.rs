//! Texts and their numbers: each text is kept once, and counted by its number.

use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::{Deserialize, Serialize};

/// Numbers texts in the order in which they first come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Names {
    /// All texts, one after the other.
    text: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// The numbers by the texts' hashes. It is built again after it was sent.
    #[serde(skip)]
    index: HashTable<u32>,
    #[serde(skip)]
    hasher: DefaultHashBuilder,
}

impl Names {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The text with this number.
    pub(crate) fn get(&self, number: u32) -> &[u8] {
        text_of(&self.text, &self.ends, number)
    }

    /// The number of this text.
    #[inline]
    pub(crate) fn number(&mut self, name: &[u8]) -> u32 {
        if self.index.len() != self.ends.len() {
            self.build_index();
        }
        let Self { text, ends, index, hasher } = self;
        let hash = hash(hasher, name);
        if let Some(number) = index.find(hash, |number| text_of(text, ends, *number) == name) {
            return *number;
        }
        let number = u32::try_from(ends.len()).expect("so many different texts fit into no memory");
        text.extend_from_slice(name);
        ends.push(text.len());
        index.insert_unique(hash, number, |number| self::hash(hasher, text_of(text, ends, *number)));
        number
    }

    /// Takes in all texts of another, and returns which number each of its numbers has here.
    pub(crate) fn absorb(&mut self, other: &Self) -> Vec<u32> {
        (0..other.len()).map(|number| self.number(other.get(number as u32))).collect()
    }

    fn build_index(&mut self) {
        let Self { text, ends, index, hasher } = self;
        let hash_of = |number: &u32| hash(hasher, text_of(text, ends, *number));
        for number in index.len()..ends.len() {
            let number = number as u32;
            index.insert_unique(hash_of(&number), number, hash_of);
        }
    }
}

fn text_of<'a>(text: &'a [u8], ends: &[usize], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = if number == 0 { 0 } else { ends[number - 1] };
    &text[start..ends[number]]
}

fn hash(hasher: &DefaultHashBuilder, name: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(name);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_one_number_also_after_it_was_sent() {
        let mut names = Names::default();
        assert_eq!([names.number(b"a"), names.number(b""), names.number(b"b"), names.number(b"a")], [0, 1, 2, 0]);

        let mut sent: Names = serde_json::from_str(&serde_json::to_string(&names).unwrap()).unwrap();
        assert_eq!([sent.number(b"b"), sent.number(b"c"), sent.number(b"")], [2, 3, 1]);
        assert_eq!(names.absorb(&sent), [0, 1, 2, 3]);
        assert_eq!(names.get(3), b"c");
    }

    #[test]
    fn many_texts_are_told_apart() {
        let mut names = Names::default();
        for number in 0..100_000_u32 {
            assert_eq!(names.number(format!("/page/{number}").as_bytes()), number);
        }
        for number in 0..100_000 {
            assert_eq!(names.get(number), format!("/page/{number}").as_bytes());
        }
    }
}
