//! `raincheck fetch`: brings the files of a list of URLs.
#![expect(dead_code, reason = "the engine takes these up")]

mod hashes;
mod list;
mod sums;
