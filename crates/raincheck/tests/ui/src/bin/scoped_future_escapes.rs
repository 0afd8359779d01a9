//! What a task in a scope brings cannot outlive what it borrows.
//~ borrowed data escapes outside of closure

use raincheck::{Executor, ThreadPool};

fn main() {
    let pool = ThreadPool::new(1);
    let mut escaped = None;
    pool.scope(|s| {
        escaped = Some(s.submit(|| 1));
    });
    drop(escaped);
}
