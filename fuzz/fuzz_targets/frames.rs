//! Whatever bytes a worker sends are frames or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| raincheck::fuzzing::check_frames(input.1, input.0.into()));
