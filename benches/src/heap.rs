//! The rows that count allocations. `peers` builds and starts this when it needs it.

use std::process::ExitCode;

use raincheck_bench::Allocated;

fn main() -> ExitCode {
    raincheck_bench::run(Some(count))
}

fn count(work: &mut dyn FnMut()) -> Allocated {
    let counted = allocation_counter::measure(work);
    Allocated { count: counted.count_total, bytes: counted.bytes_total, live: counted.bytes_current }
}
