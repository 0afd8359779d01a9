//! A worker that was built from other source than the tests: it has a task of another signature, and lacks the rest.

#[raincheck::task(name = "stale.sum")]
fn sum(a: u64) -> u64 {
    a
}

fn main() {
    sum(0);
}
