//! One large file, hashed by several threads: BLAKE3 is a tree, and its subtrees can be hashed apart.
//!
//! Threads help where there are some to spare: as many hash at once as there are jobs at once, whichever file they are
//! at. A file that comes first while others wait is thus hashed by one, and the last one by all.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};

use super::algorithm::Sum;
use super::file::{changed, failed, with_buffer};
use crate::batch::Failure;
use crate::interrupt;

/// The length of a subtree: a power of two, as the tree demands.
const SUBTREE: u64 = 2 << 20;

/// Smaller files are done before a thread has begun to help.
const WORTH_IT: u64 = 4 * SUBTREE;

/// How many threads of this process are hashing.
static BUSY: AtomicUsize = AtomicUsize::new(0);

/// Counts a thread among those that hash, as long as it lives.
pub(super) struct Busy(());

impl Busy {
    pub(super) fn new() -> Self {
        BUSY.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// One more, if no more than so many hash then.
    fn among(most: usize) -> Option<Self> {
        let more = |busy| (busy < most).then_some(busy + 1);
        BUSY.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self(()))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        BUSY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether other threads could help with a file like this.
pub(super) fn is_worth_it(metadata: &Metadata, threads: usize) -> bool {
    threads > 1 && metadata.is_file() && metadata.len() >= WORTH_IT
}

/// The BLAKE3 sum of the first `length` bytes of a file, which must be worth it.
///
/// # Errors
///
/// What reading said, in whichever thread; that the file has become shorter; or that nobody wants the sum any more.
pub(super) fn blake3(file: &File, length: u64, threads: usize, progress: &dyn Fn(u64)) -> Result<Sum, Failure> {
    let hashing = Hashing::new(file, length);
    thread::scope(|scope| {
        loop {
            if let Some(busy) = Busy::among(threads) {
                scope.spawn(|| hashing.help(busy, threads));
            }
            if !hashing.step() {
                break;
            }
            progress(hashing.hashed.load(Ordering::Relaxed));
            if interrupt::job_is_unwanted() {
                hashing.fail(Failure::stopped());
            }
        }
    });
    hashing.finish()
}

/// A file on its way to its sum.
struct Hashing<'f> {
    file: &'f File,
    length: u64,
    /// The next subtree that nobody has taken yet.
    next: AtomicUsize,
    /// How many bytes are hashed.
    hashed: AtomicU64,
    /// What each subtree came to; zeros for those that are not hashed yet.
    values: Mutex<Vec<ChainingValue>>,
    failure: Mutex<Option<Failure>>,
}

const NOT_POISONED: &str = "nothing that can panic is done under the lock";

impl<'f> Hashing<'f> {
    fn new(file: &'f File, length: u64) -> Self {
        let count = length.div_ceil(SUBTREE) as usize;
        Self {
            file,
            length,
            next: AtomicUsize::new(0),
            hashed: AtomicU64::new(0),
            values: Mutex::new(vec![[0; 32]; count]),
            failure: Mutex::new(None),
        }
    }

    /// Hashes the next subtree. False if there is none, or any has failed.
    fn step(&self) -> bool {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let start = index as u64 * SUBTREE;
        if start >= self.length || self.failure.lock().expect(NOT_POISONED).is_some() {
            return false;
        }
        let length = SUBTREE.min(self.length - start);
        match with_buffer(|buffer| self.subtree(start, length, buffer)) {
            Ok(value) => {
                self.values.lock().expect(NOT_POISONED)[index] = value;
                self.hashed.fetch_add(length, Ordering::Relaxed);
                true
            }
            Err(failure) => {
                self.fail(failure);
                false
            }
        }
    }

    /// Helps until there is nothing to do, or another file has need of the thread.
    fn help(&self, _busy: Busy, threads: usize) {
        while BUSY.load(Ordering::Relaxed) <= threads && self.step() {}
    }

    fn subtree(&self, start: u64, length: u64, buffer: &mut [u8]) -> Result<ChainingValue, Failure> {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(start);
        let (mut at, end) = (start, start + length);
        while at < end {
            let most = buffer.len().min((end - at) as usize);
            match self.file.read_at(&mut buffer[..most], at) {
                Ok(0) => return Err(changed()),
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(hasher.finalize_non_root())
    }

    /// The first failure is the one that is told.
    fn fail(&self, failure: Failure) {
        self.failure.lock().expect(NOT_POISONED).get_or_insert(failure);
    }

    fn finish(self) -> Result<Sum, Failure> {
        if let Some(failure) = self.failure.into_inner().expect(NOT_POISONED) {
            return Err(failure);
        }
        let values = self.values.into_inner().expect(NOT_POISONED);
        let (left, right) = halves(&values, self.length);
        Ok(Sum::new(*merge_subtrees_root(&merge(left), &merge(right), Mode::Hash).as_bytes()))
    }
}

/// Some subtrees side by side, and how many bytes they cover.
type Range<'v> = (&'v [ChainingValue], u64);

/// The subtrees to the left and to the right of where the tree parts.
fn halves(values: &[ChainingValue], length: u64) -> (Range<'_>, Range<'_>) {
    let left_length = left_subtree_len(length);
    let (left, right) = values.split_at((left_length / SUBTREE) as usize);
    ((left, left_length), (right, length - left_length))
}

fn merge((values, length): Range<'_>) -> ChainingValue {
    if let [value] = values {
        return *value;
    }
    let (left, right) = halves(values, length);
    merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn sum(length: u64, threads: usize) -> (Sum, Sum) {
        // A period that no subtree's length is a multiple of, so that no two are alike.
        let mut bytes = (0..251).collect::<Vec<u8>>().repeat(length as usize / 251 + 1);
        bytes.truncate(length as usize);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (blake3(&file, length, threads, &|_| {}).unwrap(), Sum::new(*blake3::hash(&bytes).as_bytes()))
    }

    #[test]
    fn the_sum_is_that_of_the_whole_wherever_the_file_ends() {
        for length in [1, 2, 3, 4, 5, 7]
            .map(|count| count * SUBTREE)
            .into_iter()
            .flat_map(|length| [length + 1, length + SUBTREE])
        {
            let (ours, whole) = sum(length, 3);
            assert_eq!(ours, whole, "{length}");
        }
    }

    #[test]
    fn a_file_that_has_become_shorter_is_told() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 * SUBTREE).unwrap();

        let failure = blake3(&file, 4 * SUBTREE, 2, &|_| {}).unwrap_err();

        assert_eq!(failure.reason, "it changed while it was read");
    }
}
