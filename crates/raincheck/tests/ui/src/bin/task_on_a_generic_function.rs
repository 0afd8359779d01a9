//! A task is found by its name, and a generic function has many.
//~ a task cannot be generic, since it is found by its name

#[raincheck::task]
fn length<T: ToString>(value: T) -> usize {
    value.to_string().len()
}

fn main() {}
