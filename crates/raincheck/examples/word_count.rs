//! Words counted page by page, wherever the pages are counted.
//!
//! `#[raincheck::task]` makes calls of a plain function into values that any executor can carry. To have the words
//! counted elsewhere, change one word: `ThreadPool`.
//!
//! ```sh
//! cargo run --release --example word_count
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;

use raincheck::{Executor, TaskError, ThreadPool};

#[raincheck::task]
fn count(page: String) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in page.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

fn main() -> Result<(), TaskError> {
    let pool = ThreadPool::new(4); // or `ProcessPool::new(4)`: just change that

    let mut total: BTreeMap<String, u64> = BTreeMap::new();
    for counts in pool.map(count::task(), pages()) {
        for (word, times) in counts? {
            *total.entry(word).or_default() += times;
        }
    }

    let mut words: Vec<_> = total.into_iter().collect();
    words.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    for (word, times) in &words[..3] {
        println!("{times:>6} {word}");
    }
    Ok(())
}

/// A book of a thousand pages.
fn pages() -> impl Iterator<Item = String> {
    (0..1000).map(|page| {
        let verse = "The rain it raineth on the just and also on the unjust fella; ";
        let rest = "but chiefly on the just, because the unjust hath the just's umbrella. ";
        format!("Page {page}. {}{}", verse.repeat(page % 7), rest.repeat(page % 5))
    })
}
