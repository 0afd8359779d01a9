//! Placeholders and shell lines: whatever the template and the input, nothing panics and no input becomes script.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/raincheck-cli/src/commands/run/template.rs"]
mod template;
#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/raincheck-cli/src/commands/run/shell.rs"]
mod shell;

use shell::Script;
use template::{Syntax, Values};

fuzz_target!(|input: (Vec<u8>, Vec<Vec<u8>>)| {
    let (text, args) = input;
    let values = Values { args: &args, number: 3, slot: 1 };
    let word = Syntax::default().parse(&text);
    word.fill(values);
    word.fill_words(values, true);

    let script = Script::new(word);
    script.literal(values);
    // The script is the same whatever the inputs are.
    let bound = script.bind(values);
    let others: Vec<Vec<u8>> = args.iter().map(|_| b"x".to_vec()).collect();
    assert_eq!(bound.text, script.bind(Values { args: &others, ..values }).text);
});
