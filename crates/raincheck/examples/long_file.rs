//! A function applied to each line of a file that need not fit into memory.
//!
//! `map` reads on only as results are taken: however long the file, a handful of lines are in memory at a time, and the
//! results still come in the order of the lines.
//!
//! ```sh
//! cargo run --release --example long_file
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    error::Error,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
};

use raincheck::{Executor, ThreadPool};

const LINES: usize = 50_000;

fn main() -> Result<(), Box<dyn Error>> {
    let file = write_long_file()?;
    let size = file.metadata()?.len();
    let before = most_memory();

    let pool = ThreadPool::new(4);
    let lines = BufReader::new(file).lines();
    let mut longest = 0;
    for words in pool.map(|line: io::Result<String>| line.map(|line| line.split_whitespace().count()), lines) {
        longest = longest.max(words??);
    }

    println!("the longest of {LINES} lines has {longest} words");
    if let (Some(before), Some(after)) = (before, most_memory()) {
        println!("{:.0} MB read, {:.1} MB of memory more than before", mega(size), mega(after - before));
    }
    Ok(())
}

/// A file of some fifty megabytes, which is gone when it is closed.
fn write_long_file() -> io::Result<File> {
    let file = tempfile::NamedTempFile::new()?;
    let mut writer = BufWriter::new(&file);
    for number in 0..LINES {
        writeln!(writer, "{number}{}", " drop after drop".repeat(50 + number % 32))?;
    }
    writer.flush()?;
    drop(writer);
    file.reopen()
}

/// The most memory that this process has had so far, in bytes, where Linux tells.
fn most_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
