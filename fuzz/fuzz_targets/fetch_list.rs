//! Lists of URLs: none breaks the reader, and what it reads it writes the same.
#![no_main]
#![allow(dead_code, reason = "the module is that of the tool, which uses more of it")]

#[path = "../../crates/raincheck-cli/src/commands/fetch/list.rs"]
mod list;

use libfuzzer_sys::fuzz_target;

use self::list::{Found, List, write};

fuzz_target!(|text: &[u8]| {
    let mut list = List::new(text, "list", || false);
    while let Some(found) = list.next().unwrap() {
        let Found::Entry(entry) = found else { continue };
        let written = write(&entry.url, entry.options(), None);
        let mut again = List::new(written.as_bytes(), "again", || false);
        let Some(Found::Entry(read)) = again.next().unwrap() else { panic!("{written:?}") };
        assert_eq!((&read.url, read.options()), (&entry.url, entry.options()), "{written:?}");
        assert_eq!(again.next().unwrap(), None, "{written:?}");
    }
});
