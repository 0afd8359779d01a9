//! The limit: start a command and wait for it, over and over, on so many threads, and nothing else.
//! `spawn THREADS TIMES COMMAND…`; built by `benches/run.sh`.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (threads, times): (usize, usize) = (args[0].parse().unwrap(), args[1].parse().unwrap());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < times {
                    assert!(Command::new(&args[2]).args(&args[3..]).status().unwrap().success());
                }
            });
        }
    });
}
