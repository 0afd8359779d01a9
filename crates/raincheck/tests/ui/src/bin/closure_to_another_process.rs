//! A closure cannot go where only calls can.
//~ cannot be submitted to `Elsewhere`
//~ mark a function `#[raincheck::task]`, and submit `name::call(…)`

use std::{sync::Arc, time::Instant};

use raincheck::{Executor, Task};

/// An executor outside the library whose tasks leave this process.
struct Elsewhere;

impl Executor for Elsewhere {
    fn execute(&self, task: Task) {
        drop(task);
    }
    fn workers(&self) -> usize {
        1
    }
    fn close(&self) {}
    fn drain(&self) -> Vec<Task> {
        Vec::new()
    }
    fn join(&self, _deadline: Option<Instant>) -> bool {
        true
    }
    fn core(&self) -> Arc<dyn Executor> {
        Arc::new(Elsewhere)
    }
}

#[raincheck::task]
fn fine(n: u8) -> u8 {
    n
}

fn main() {
    let _ = Elsewhere.submit(fine::call(1));
    let _ = Elsewhere.submit(|| 1);
}
