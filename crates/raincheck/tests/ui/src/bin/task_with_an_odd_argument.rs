//! What cannot be written down cannot be an argument.
//~ `Odd` cannot be an argument of a task, which can go to another process
//~ derive `serde::Serialize` and `serde::Deserialize` for it

struct Odd;

#[raincheck::task]
fn takes(_odd: Odd) {}

fn main() {}
