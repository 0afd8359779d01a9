//! robots.txt: whatever is in it, it is read, and no path takes long to be looked up.
#![no_main]
#![allow(dead_code, reason = "the module is that of the tool, which uses more of it")]

#[path = "../../crates/raincheck-cli/src/commands/fetch/robots.rs"]
mod robots;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &str, &str)| {
    let (text, path, tag) = input;
    let rules = robots::Rules::parse(text, "raincheck");
    rules.allow(path);
    assert!(rules.allow("/robots.txt"));
    robots::forbidden_by(tag, robots::product(path));
});
