//! Maps by numbers, which need no hashing.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by numbers that nobody else chooses.
pub(crate) type ByNumber<V> = HashMap<u64, V, BuildHasherDefault<AsItIs>>;

/// The hasher for what is a hash already, or a number that needs none.
#[derive(Debug, Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("hashes are numbers")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
