//! A closure cannot be given to a pool of processes.
//~ cannot be submitted to `ProcessPool`
//~ mark a function `#[raincheck::task]`, and submit `name::call(…)`

use raincheck::{Executor, ProcessPool};

fn main() {
    let _ = ProcessPool::new(1).submit(|| 1);
}
