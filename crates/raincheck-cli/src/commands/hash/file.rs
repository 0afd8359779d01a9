//! One file and its sums: the job that `raincheck hash` does with each.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::algorithm::{Algorithm, Sum};
use super::hashers::Hashers;
use super::subtrees;
use crate::batch::{Done, Failure, Tried};

/// A read goes into so much memory: it is still in the core's cache when it is hashed.
pub(super) const BUFFER: usize = 128 << 10;

/// How much is read between two looks at the progress.
const BETWEEN_LOOKS: u64 = 4 << 20;

/// What the job is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Input {
    /// Bytes on Unix; `-` is standard input.
    pub(super) name: OsString,
    pub(super) algorithms: Vec<Algorithm>,
    /// How many threads of this process may hash at once, whichever file they are at.
    pub(super) threads: usize,
}

/// Reads the file once and makes its sums, in the order of the algorithms.
///
/// A file that is written to meanwhile has no sum worth telling, and fails.
pub(super) fn sums(input: &Input, progress: &dyn Fn(u64)) -> Tried<Vec<Sum>> {
    let _busy = subtrees::Busy::new();
    if input.name == "-" {
        return read(&mut io::stdin().lock(), &input.algorithms, progress);
    }
    let mut file = File::open(&input.name).map_err(failed)?;
    let before = file.metadata().map_err(failed)?;
    let done = match input.algorithms[..] {
        [Algorithm::Blake3] if subtrees::is_worth_it(&before, input.threads) => {
            let sum = subtrees::blake3(&file, before.len(), input.threads, progress)?;
            Done { bytes: before.len(), value: vec![sum] }
        }
        _ => read(&mut file, &input.algorithms, progress)?,
    };
    // What is no file on a disk may have any length at any time.
    if before.is_file() && version(&before) != version(&file.metadata().map_err(failed)?) {
        return Err(changed());
    }
    Ok(done)
}

/// Reads to the end.
fn read(source: &mut dyn Read, algorithms: &[Algorithm], progress: &dyn Fn(u64)) -> Tried<Vec<Sum>> {
    let mut hashers = Hashers::new(algorithms);
    let (mut bytes, mut told) = (0, 0);
    with_buffer(|buffer| {
        loop {
            if raincheck::cancelled() {
                return Err(Failure::stopped());
            }
            match source.read(buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    hashers.update(&buffer[..count]);
                    bytes += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
            if bytes - told >= BETWEEN_LOOKS {
                told = bytes;
                progress(bytes);
            }
        }
    })?;
    Ok(Done { bytes, value: hashers.finish() })
}

/// Lends this thread's buffer. It is kept, since memory that is new costs more than what is read into it.
pub(super) fn with_buffer<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    thread_local! {
        static KEPT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    KEPT.with_borrow_mut(|buffer| {
        buffer.resize(BUFFER, 0);
        work(buffer)
    })
}

/// Why it could not be read; whether it is there at all is a question of its own.
pub(super) fn failed(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => Failure::not_found(error.to_string()),
        // Asking again changes nothing.
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => Failure::for_good(error.to_string()),
        _ => Failure::for_now(error.to_string()),
    }
}

/// Someone wrote to it, so that what was read may never have been its content.
pub(super) fn changed() -> Failure {
    Failure::for_now("it changed while it was read")
}

/// What changes when someone writes to the file.
fn version(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}
