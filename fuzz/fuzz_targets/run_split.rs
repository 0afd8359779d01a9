//! Blocks: whatever the stream, they are the stream, one after the other.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/raincheck-cli/src/commands/run/split.rs"]
mod split;

use split::{Blocks, Cut, Size};

fuzz_target!(|input: (Vec<u8>, Vec<u8>, Vec<u8>, Result<u8, u8>)| {
    let (text, record_end, record_start, size) = input;
    if record_end.is_empty() && record_start.is_empty() {
        return;
    }
    let size = match size {
        Ok(bytes) => Size::Bytes(bytes.into()),
        Err(records) => Size::Records(records.into()),
    };
    let mut blocks = Blocks::new(&text[..], Cut { record_end, record_start, size });
    let mut joined = Vec::new();
    while let Some(block) = blocks.next().unwrap() {
        assert!(!block.is_empty());
        joined.extend(block);
    }
    assert_eq!(joined, text);
});
