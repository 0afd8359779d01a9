//! Who fetched /robots.txt, from a folder of packed logs: one task a log, side by side.
//!
//! `cargo run --release --example robots -- FOLDER`; without a folder it makes one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use raincheck::{Executor, ThreadPool};

/// The hosts in one log that fetched /robots.txt.
#[raincheck::task]
fn robots(log: &Path) -> Result<BTreeSet<String>, String> {
    let find = || -> io::Result<BTreeSet<String>> {
        let mut hosts = BTreeSet::new();
        for line in BufReader::new(MultiGzDecoder::new(File::open(log)?)).split(b'\n') {
            let line = line?;
            // Logs are not always UTF-8; the two fields that matter are.
            let line = String::from_utf8_lossy(&line);
            let mut fields = line.split_whitespace();
            if let (Some(host), Some("/robots.txt")) = (fields.next(), fields.nth(5)) {
                hosts.insert(host.to_owned());
            }
        }
        Ok(hosts)
    };
    find().map_err(|error| format!("{}: {error}", log.display()))
}

/// The hosts in all logs of a folder.
pub(crate) fn all_robots(folder: &Path) -> Result<BTreeSet<String>, Box<dyn std::error::Error>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        logs.push(entry?.path());
    }
    logs.retain(|path| path.extension().is_some_and(|ending| ending == "gz"));

    let pool = ThreadPool::new(4); // or `ProcessPool::new(4)`: just change that
    let mut hosts = BTreeSet::new();
    for found in pool.map(robots::task(), logs) {
        hosts.extend(found??);
    }
    Ok(hosts)
}

/// Writes a week of logs, in which every eleventh host is a robot.
pub(crate) fn make_logs(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for day in 1..=7 {
        let file = File::create(folder.join(format!("2012-12-{day:02}.log.gz")))?;
        let mut log = GzEncoder::new(file, Compression::default());
        for request in 0..5000 {
            let host = request * day % 110;
            let path = if host % 11 == 0 { "/robots.txt" } else { "/index.html" };
            writeln!(log, r#"192.0.2.{host} - - [{day:02}/Dec/2012:12:00:00 +0000] "GET {path} HTTP/1.1" 200 71"#)?;
        }
        log.finish()?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is what the example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder),
        None => {
            let folder = std::env::temp_dir().join("raincheck-robots");
            make_logs(&folder)?;
            folder
        }
    };
    for host in all_robots(&folder)? {
        println!("{host}");
    }
    Ok(())
}
