//! What crosses to another thread must be `Send`.
//~ `Rc<i32>` cannot be sent between threads safely

use raincheck::{Executor, ThreadPool};

fn main() {
    let number = std::rc::Rc::new(1);
    let _ = ThreadPool::new(1).submit(move || *number);
}
