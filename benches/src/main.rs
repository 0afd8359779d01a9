//! The timed rows, over the allocator that programs have anyway. See the library for how to use it.

use std::process::ExitCode;

fn main() -> ExitCode {
    raincheck_bench::run(None)
}
