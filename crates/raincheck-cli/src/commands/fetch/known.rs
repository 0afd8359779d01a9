//! What the planning of downloads and the following of them both know.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::hashes::Key;
use super::journal::{self, Batch, Journal};
use super::list::Options;
use super::names::Names;
use crate::by_number::ByNumber;
use crate::report::Attempt;

/// What is known of a run, on whichever thread.
pub(super) struct Known {
    dir: PathBuf,
    /// None when nothing is to be written.
    journal: Option<Journal>,
    names: Mutex<Names>,
    tickets: Mutex<ByNumber<Ticket>>,
    /// Lines whose URL had come before.
    repeated: AtomicU64,
    /// What has failed, and left a part that the next run can go on with.
    unfinished: Mutex<HashSet<Key>>,
}

/// What there is to know of a download that is planned and has not ended, beside what it says itself.
pub(super) struct Ticket {
    pub(super) key: Key,
    pub(super) options: Option<Box<Options>>,
    /// Whether the server may name it.
    pub(super) named_by_server: bool,
    /// The name that the server has given it.
    pub(super) late_name: Option<String>,
    /// That it is whole, in the journal.
    pub(super) noted: Option<Batch>,
    /// The attempt that is being made, or was made last.
    pub(super) attempt: Option<Attempt>,
    /// That it does not have the name which its list gives it, and why.
    pub(super) renamed: Option<Box<str>>,
}

const NOT_POISONED: &str = "nothing that can panic is done under the locks of what is known";

impl Known {
    pub(super) fn new(dir: &Path, journal: Option<Journal>, names: Names) -> Self {
        Self {
            dir: dir.into(),
            journal,
            names: Mutex::new(names),
            tickets: Mutex::default(),
            repeated: AtomicU64::new(0),
            unfinished: Mutex::default(),
        }
    }

    pub(super) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    pub(super) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().expect(NOT_POISONED)
    }

    /// The tickets of downloads, by their numbers.
    pub(super) fn tickets(&self) -> MutexGuard<'_, ByNumber<Ticket>> {
        self.tickets.lock().expect(NOT_POISONED)
    }

    pub(super) fn count_repeated(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn repeated(&self) -> u64 {
        self.repeated.load(Ordering::Relaxed)
    }

    /// A download has failed; what has come of it may lie there for the next run.
    pub(super) fn leave(&self, key: Key) {
        if self.dir.join(journal::part(key)).exists() {
            self.unfinished.lock().expect(NOT_POISONED).insert(key);
        }
    }

    /// Clears what no run can go on with. To be called when all there was to do has been tried.
    pub(super) fn clear(&self) {
        let unfinished = self.unfinished.lock().expect(NOT_POISONED);
        if let Some(journal) = &self.journal {
            journal.clear(|key| unfinished.contains(&key));
        }
    }
}
