//! A client cannot set a future's outcome.
//~ no method named `finish` found for struct `TaskFuture<T>`

use raincheck::{Executor, ThreadPool};

fn main() {
    ThreadPool::new(1).submit(|| 1).finish(Ok(2));
}
