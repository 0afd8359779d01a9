//! Formats and lines of logs: `cargo +nightly fuzz run log_lines`.
//!
//! The first line is the format, the rest are lines. Nothing may panic, and what a line says must be part of it.

#![no_main]
#![expect(dead_code, reason = "the command uses more of these modules")]

#[path = "../../crates/raincheck-cli/src/commands/logs/field.rs"]
mod field;
#[path = "../../crates/raincheck-cli/src/commands/logs/format.rs"]
mod format;
#[path = "../../crates/raincheck-cli/src/commands/logs/line.rs"]
mod line;
#[path = "../../crates/raincheck-cli/src/commands/logs/time.rs"]
mod time;

use libfuzzer_sys::fuzz_target;

use self::field::Field;
use self::format::Format;
use self::line::Parser;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let given = first.and_then(|format| Format::parse(format).ok());
    for format in given.into_iter().chain(Format::candidates()) {
        let mut parser = Parser::new(format);
        for line in lines.clone() {
            let Some(entry) = parser.parse(line) else { continue };
            for field in Field::ALL {
                let text = entry.text(field);
                assert!(text == b"-" || line.windows(text.len()).any(|window| window == text));
                assert!(entry.plain(field).len() <= text.len());
            }
        }
    }
});
