//! Data parallelism: one picture, each row painted by whichever thread comes to it.
//!
//! Tasks of a scope may borrow: here each has a row of the picture to itself, and nothing is copied or locked.
//!
//! ```sh
//! cargo run --release --example data_parallelism
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use raincheck::{Executor, ThreadPool};

const WIDTH: usize = 78;
const HEIGHT: usize = 24;

fn main() {
    let mut picture = vec![b' '; WIDTH * HEIGHT];
    let pool = ThreadPool::new(4);

    pool.for_each(picture.chunks_mut(WIDTH).enumerate(), |(y, row)| {
        for (x, point) in row.iter_mut().enumerate() {
            *point = shade(x as f64 / WIDTH as f64 * 3.5 - 2.5, y as f64 / HEIGHT as f64 * 2.0 - 1.0);
        }
    });

    for row in picture.chunks(WIDTH) {
        println!("{}", String::from_utf8_lossy(row).trim_end());
    }
}

/// How dark the Mandelbrot set is here.
fn shade(real: f64, imaginary: f64) -> u8 {
    let (mut x, mut y) = (0.0, 0.0);
    let mut steps = 0;
    while steps < 100 && x * x + y * y <= 4.0 {
        (x, y) = (x * x - y * y + real, 2.0 * x * y + imaginary);
        steps += 1;
    }
    match steps {
        100 => b'#',
        12.. => b'+',
        6.. => b'.',
        _ => b' ',
    }
}
