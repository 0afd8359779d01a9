//! Only a function can be a task.
//~ `#[raincheck::task]` goes on a function

#[raincheck::task]
struct Nothing;

fn main() {}
