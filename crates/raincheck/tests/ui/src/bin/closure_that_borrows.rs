//! What outlives the caller cannot borrow from it; a scope can.
//~ closure may outlive the current function, but it borrows `word`

use raincheck::{Executor, ThreadPool};

fn main() {
    let word = String::from("borrowed");
    let _ = ThreadPool::new(1).submit(|| word.len());
}
