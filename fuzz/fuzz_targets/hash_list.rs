//! Lines of a list of sums: none breaks the parser, and what it reads it can write and read again.
#![no_main]
#![allow(dead_code, reason = "the modules are those of the tool, which uses more of them")]

#[path = "../../crates/raincheck-cli/src/commands/hash/algorithm.rs"]
mod algorithm;
#[path = "../../crates/raincheck-cli/src/commands/hash/line.rs"]
mod line;

use clap::ValueEnum;
use libfuzzer_sys::fuzz_target;

use self::algorithm::Algorithm;
use self::line::{Ending, Format, Parser};

fuzz_target!(|list: &[u8]| {
    for ending in [Ending::Newline, Ending::Nul] {
        let mut parser = Parser::new(Algorithm::value_variants(), ending);
        for text in list.split(|byte| *byte == ending.byte()) {
            let Some(line) = parser.parse(text) else { continue };
            let mut again = Vec::new();
            line.write(Format { tagged: true, ending, ..Format::default() }, &mut again);
            assert_eq!(again.pop(), Some(ending.byte()));
            assert_eq!(Parser::new(Algorithm::value_variants(), ending).parse(&again), Some(line));
        }
    }
});
