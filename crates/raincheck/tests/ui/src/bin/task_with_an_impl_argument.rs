//! An argument has one type.
//~ an argument of a task has one type: name the type in place of `impl`

#[raincheck::task]
fn length(value: impl ToString) -> usize {
    value.to_string().len()
}

fn main() {}
