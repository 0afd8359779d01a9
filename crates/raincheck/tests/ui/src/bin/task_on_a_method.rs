//! A method has no name of its own.
//~ a task cannot be a method, since it is found by its name

struct Words;

impl Words {
    #[raincheck::task]
    fn count(&self) -> usize {
        0
    }
}

fn main() {}
