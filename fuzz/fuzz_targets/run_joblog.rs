//! Job logs: whatever the file, it is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/raincheck-cli/src/commands/run/joblog.rs"]
mod joblog;

use joblog::{Earlier, read};

fuzz_target!(|text: &[u8]| {
    if let (Ok(ended), Ok(succeeded)) = (read(text, Earlier::Ended), read(text, Earlier::Succeeded)) {
        assert!(succeeded.done.is_subset(&ended.done));
        assert!(ended.whole <= text.len());
    }
});
