//! A tree of files, hashed on all cores: a bar that moves as files are done, and sums in the order of the names.
//!
//! ```sh
//! cargo run --release --example hash_tree [FOLDER]
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    env,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use raincheck::{Executor, ThreadPool};
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sample = tempfile::tempdir()?;
    let folder = env::args_os().nth(1).map_or_else(|| sample.path().to_owned(), PathBuf::from);
    plant(sample.path())?;
    let mut paths = Vec::new();
    find_files(&folder, &mut paths)?;
    paths.sort();

    let bar = ProgressBar::new(paths.len() as u64).with_style(ProgressStyle::with_template("{bar:30} {pos} of {len}")?);
    let moves = bar.clone();
    let pool = ThreadPool::builder().build(); // a thread for each core
    let sum_of = move |path: PathBuf| sum(&path).inspect(|_| moves.inc(1));
    for (path, sum) in paths.iter().zip(pool.map(sum_of, paths.clone())) {
        // Two things can go wrong, and both cost this file alone: the task could panic, the file be unreadable.
        match sum? {
            Ok(sum) => bar.suspend(|| println!("{sum}  {}", path.display())),
            Err(error) => bar.suspend(|| println!("{}: {error}", path.display())),
        }
    }
    bar.finish();
    Ok(())
}

fn sum(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn find_files(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => find_files(&entry.path(), paths)?,
            kind if kind.is_file() => paths.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a tree to hash, where none is named.
fn plant(folder: &Path) -> io::Result<()> {
    for branch in ["oak", "beech", "elm"] {
        fs::create_dir(folder.join(branch))?;
        for leaf in 1..=4_u8 {
            fs::write(folder.join(branch).join(format!("leaf {leaf}")), vec![leaf; 1 << 20])?;
        }
    }
    Ok(())
}
