//! The `raincheck` command.
fn main() {}
