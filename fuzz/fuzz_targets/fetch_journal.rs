//! Lines of a journal: none breaks the reader, and what it reads it writes the same.
#![no_main]
#![allow(dead_code, reason = "the modules are those of the tool, which uses more of them")]

#[path = "../../crates/raincheck-cli/src/by_number.rs"]
mod by_number;
#[path = "../../crates/raincheck-cli/src/commands/fetch/hashes.rs"]
mod hashes;
#[path = "../../crates/raincheck-cli/src/commands/fetch/record.rs"]
mod record;

use libfuzzer_sys::fuzz_target;

use self::record::Record;

fuzz_target!(|text: &[u8]| {
    // A checksum that is right is not guessed: with and without one.
    let checked = |line: &[u8]| [format!("{:08x}\t", crc32c::crc32c(line)).as_bytes(), line].concat();
    for line in text.split(|byte| *byte == b'\n').flat_map(|line| [line.to_vec(), checked(line)]) {
        let Some(record) = Record::parse(&line) else { continue };
        let mut again = Vec::new();
        record.write(&mut again);
        assert_eq!(again.pop(), Some(b'\n'));
        assert_eq!(Record::parse(&again), Some(record));
    }
});
