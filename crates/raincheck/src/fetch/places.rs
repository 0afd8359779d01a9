//! At which of its places a download is asked for next, and when.
//!
//! Each place is asked once before any is asked again, whatever went wrong at the others, and that costs no retry. After that,
//! those are asked again where what went wrong may go away.

use std::time::Duration;

use super::{FetchError, Retries};

/// Where a download has been asked for, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Places {
    at: usize,
    /// How often it went on to a place that had not been asked before.
    moves: u32,
    /// The last error of each place.
    failed: Vec<(usize, FetchError)>,
    /// The checksums that were found and not wanted.
    wrong: Vec<String>,
}

impl Places {
    /// The one to ask; 0 is the URL of the request, and mirrors follow.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// How many of so many attempts count against the retries.
    pub(super) fn counted(&self, attempts: u32) -> u32 {
        attempts.saturating_sub(self.moves)
    }

    /// How long to wait until the next of so many places is asked; `None` if there is no point in it.
    pub(super) fn after(
        &mut self,
        error: &FetchError,
        count: usize,
        attempts: u32,
        retries: &Retries,
        draw: f64,
    ) -> Option<Duration> {
        if is_the_same_everywhere(error) {
            return None;
        }
        if let FetchError::Checksum { found, .. } = error {
            self.wrong.push(found.clone());
        }
        let at = self.at;
        self.failed.retain(|(place, _)| *place != at);
        self.failed.push((at, error.clone()));
        if let Some(place) = (0..count).find(|place| self.error_of(*place).is_none()) {
            self.at = place;
            self.moves += 1;
            return Some(Duration::ZERO);
        }
        let attempts = self.counted(attempts);
        let mut next = (at + 1..=at + count).map(|place| place % count);
        let (place, wait) = next.find_map(|place| {
            let error = self.error_of(place).filter(|error| !self.is_settled(error))?;
            Some((place, retries.wait(error, attempts, draw)?))
        })?;
        self.at = place;
        Some(wait)
    }

    /// What to say when all of it has failed, the last time so: what the first place said that said anything.
    pub(super) fn verdict(mut self, last: FetchError) -> FetchError {
        if is_the_same_everywhere(&last) {
            return last;
        }
        self.failed.sort_by_key(|(place, error)| (rank(error), *place));
        self.failed.into_iter().next().map_or(last, |(_, error)| error)
    }

    fn error_of(&self, place: usize) -> Option<&FetchError> {
        self.failed.iter().find(|(failed, _)| *failed == place).map(|(_, error)| error)
    }

    /// What is damaged on the way is damaged differently each time. The same sum twice is that of the file.
    fn is_settled(&self, error: &FetchError) -> bool {
        let FetchError::Checksum { found, .. } = error else { return false };
        self.wrong.iter().filter(|wrong| *wrong == found).count() > 1
    }
}

/// Whether no other place can help.
fn is_the_same_everywhere(error: &FetchError) -> bool {
    matches!(error, FetchError::File { .. } | FetchError::Invalid { .. } | FetchError::Forbidden { .. })
}

/// Which error tells most, the lowest first: of a file that came, of a server that answered, of one that did not.
fn rank(error: &FetchError) -> u8 {
    match error {
        FetchError::Checksum { .. } | FetchError::TooLarge { .. } | FetchError::CutOff { .. } => 0,
        FetchError::Status { .. } => 1,
        FetchError::Unresolved { .. } | FetchError::Refused { .. } | FetchError::Unreachable { .. } => 3,
        _ => 2,
    }
}
