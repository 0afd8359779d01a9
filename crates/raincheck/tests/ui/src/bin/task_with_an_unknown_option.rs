//! There is one option.
//~ the only option is `name`: `#[raincheck::task(name = "images.thumbnail")]`

#[raincheck::task(retries = 3)]
fn nothing() {}

fn main() {}
