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
use crate::interrupt;

/// A read goes into so much memory: it is still in the core's cache when it is hashed.
const BUFFER: usize = 256 << 10;

/// What begins at a page is copied by a third faster than what does not.
const PAGE: usize = 4096;

/// How much is read between two looks at the progress.
const BETWEEN_LOOKS: u64 = 4 << 20;

/// What the job is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Input {
    /// Bytes on Unix; `-` is standard input.
    pub(super) name: OsString,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) place: Place,
}

/// Where the job runs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Place {
    /// How many threads of its process may hash at once, whichever file they are at.
    pub(super) threads: usize,
    /// Whether its process has the standard input that the user means.
    pub(super) has_stdin: bool,
}

/// Reads the file once and makes its sums, in the order of the algorithms.
///
/// A file that is written to meanwhile has no sum worth telling, and fails.
pub(super) fn sums(input: &Input, progress: &dyn Fn(u64)) -> Tried<Vec<Sum>> {
    let _busy = subtrees::Busy::new();
    if input.name == "-" {
        if !input.place.has_stdin {
            return Err(Failure::for_good("another process cannot read the standard input of this one"));
        }
        return read(&mut io::stdin().lock(), &input.algorithms, progress);
    }
    let mut file = File::open(&input.name).map_err(failed)?;
    let before = file.metadata().map_err(failed)?;
    let done = match input.algorithms[..] {
        [Algorithm::Blake3] if subtrees::is_worth_it(&before, input.place.threads) => {
            let sum = subtrees::blake3(&file, before.len(), input.place.threads, progress)?;
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
            if interrupt::job_is_unwanted() {
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
    KEPT.with_borrow_mut(|kept| {
        if kept.is_empty() {
            *kept = vec![0; BUFFER + PAGE];
        }
        let start = kept.as_ptr().align_offset(PAGE);
        work(&mut kept[start..][..BUFFER])
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;
    use std::os::unix::ffi::OsStringExt;
    use std::path::Path;

    use tempfile::NamedTempFile;

    use super::*;
    use crate::report::event::Status;

    const HERE: Place = Place { threads: 2, has_stdin: true };

    fn input(path: &Path, algorithm: Algorithm) -> Input {
        Input { name: path.into(), algorithms: vec![algorithm], place: HERE }
    }

    /// A file that is long enough for a look at the progress, and for threads to help.
    fn long_file() -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(16 << 20).unwrap();
        file
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_has_no_sum() {
        for algorithm in [Algorithm::Crc32c, Algorithm::Blake3] {
            for change in [|file: &File| file.set_len(0), |mut file: &File| file.write_all(b"more")] {
                let file = long_file();
                let writes = |_| change(&file.reopen().unwrap()).unwrap();

                let failure = sums(&input(file.path(), algorithm), &writes).expect_err("it changed");

                assert_eq!(failure.reason, "it changed while it was read", "{algorithm:?}");
            }
        }
    }

    #[test]
    fn progress_is_told_on_the_way_and_never_more_than_there_is() {
        for algorithm in [Algorithm::Crc32c, Algorithm::Blake3] {
            let file = long_file();
            let (told, last) = (Cell::new(0), Cell::new(0));

            let done = sums(&input(file.path(), algorithm), &|bytes| {
                assert!(last.replace(bytes) <= bytes && bytes <= 16 << 20);
                told.set(told.get() + 1);
            });

            assert_eq!(done.ok().map(|done| done.bytes), Some(16 << 20));
            assert!(told.get() > 0, "{algorithm:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let nowhere = sums(&input(Path::new("no/such/file"), Algorithm::Md5), &|_| {}).err().unwrap();
        let folder = sums(&input(Path::new("."), Algorithm::Md5), &|_| {}).err().unwrap();

        assert_eq!(
            (nowhere.status, nowhere.reason),
            (Status::NotFound, "No such file or directory (os error 2)".into())
        );
        assert_eq!((folder.status, folder.reason), (Status::Failed, "Is a directory (os error 21)".into()));
    }

    #[test]
    fn an_input_keeps_its_name_on_the_way_to_another_process() {
        let name = OsString::from_vec(b"\xff\n\\".to_vec());
        let input = Input { name: name.clone(), algorithms: vec![Algorithm::Sha1], place: HERE };

        let json = serde_json::to_string(&input).unwrap();

        assert_eq!(serde_json::from_str::<Input>(&json).unwrap().name, name);
    }
}
