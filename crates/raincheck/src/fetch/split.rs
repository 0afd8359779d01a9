//! One large file that several lanes fetch, each a piece.
//!
//! It begins as every download does, with one request. When the head of the response says that the file is large and can be had in
//! pieces, lanes that have nothing else to do come to help. Each request for a piece is a job of the schedule like any other,
//! and one that failed waits there for its next attempt alone. What comes is written where it belongs in one temporary
//! file, and noted down beside it. Who is the last to leave ends the download.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

use super::{
    Download, FetchError, Fetched, Request, Response, Stop,
    attempt::{BETWEEN_NEWS, validator},
    file::Draft,
    note,
    pieces::{Pieces, length},
    run::Job,
    schedule::At,
};

/// What is written at a time.
const BUFFER: usize = 128 * 1024;
/// So much of a piece comes before it is noted down.
const BETWEEN_NOTES: u64 = 256 * 1024;

const NOT_POISONED: &str = "nothing that can panic is done under the lock of a file in pieces";

/// A file in pieces.
pub(super) struct Split {
    /// What is asked for; the job has another one, which is taken away at the end.
    pub(super) download: Download,
    pub(super) target: Target,
    /// How many bytes are there.
    there: AtomicU64,
    /// Nobody is to go on.
    pub(super) over: Stop,
    state: Mutex<State>,
}

/// What the pieces are of, and where they go.
pub(super) struct Target {
    pub(super) name: PathBuf,
    pub(super) temporary: PathBuf,
    pub(super) size: u64,
    pub(super) validator: String,
    /// Where it can be had, and which of these places answered first.
    pub(super) places: Vec<Url>,
    pub(super) origin: usize,
    pub(super) file: File,
    /// Takes a line for each stretch that is there.
    pub(super) note: Option<File>,
    pub(super) syncs: bool,
}

struct State {
    pieces: Pieces,
    /// Requests that are under way, and pieces that wait for their next attempt.
    running: usize,
    parked: usize,
    attempts: u32,
    /// Places that asked to be left alone, and until when.
    quiet: HashMap<usize, At>,
    /// All of it waits, and the watch was told.
    waits: bool,
    error: Option<FetchError>,
    /// The server has another file by now.
    has_changed: bool,
    place: usize,
    /// Places that have another file, or none.
    bad: HashSet<usize>,
    /// Taken by who ends it.
    rest: Option<(Box<Job>, Rest)>,
}

/// What the end of a download needs.
pub(super) struct Rest {
    pub(super) draft: Draft,
    pub(super) fetched: Box<Fetched>,
}

/// How a download in pieces begins.
pub(super) struct Opening {
    pub(super) target: Target,
    pub(super) pieces: Pieces,
    pub(super) rest: Rest,
    pub(super) response: Response,
}

/// A share of a file, and who fetches it.
pub(super) struct Piece {
    pub(super) split: Arc<Split>,
    /// What is still missing of it.
    range: Range<u64>,
    attempts: u32,
    /// How many of the attempts failed where there was a place that had not been asked, and count for nothing.
    moves: u32,
    place: usize,
    is_parked: bool,
    /// The response to the first request, which does not end where the piece does.
    response: Option<Response>,
}

/// How a request for a piece went, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// All of the piece is on disk.
    Whole,
    /// The server gives no pieces.
    Refused,
    /// The file is another one by now.
    Changed,
}

/// What is to be done when a request for a piece is over.
pub(super) enum Then {
    /// Nothing: others go on.
    Leave,
    /// It goes on then, or as soon as there is a slot.
    Park(At),
    /// The same, and nothing happens to the file meanwhile.
    Wait {
        until: At,
        error: FetchError,
        attempts: u32,
    },
    /// Everything is there.
    Finish(Box<Job>, Rest),
    Fail(Box<Job>, Rest, FetchError),
    /// It is to be fetched as a whole.
    Restart(Box<Job>, Rest),
}

impl Split {
    /// Begins it. Returns the first piece as well, if anything is missing.
    pub(super) fn begin(job: Box<Job>, opening: Opening) -> (Arc<Self>, Option<Box<Piece>>) {
        let Opening { target, mut pieces, rest, response } = opening;
        let (first, origin) = (pieces.first(), target.origin);
        let (attempts, counted) = (job.attempts, job.places.counted(job.attempts));
        let split = Arc::new(Self {
            download: Download::clone(&job.download),
            target,
            there: AtomicU64::new(rest.fetched.resumed),
            over: Stop::new(),
            state: Mutex::new(State {
                pieces,
                running: usize::from(first.is_some()),
                parked: 0,
                attempts,
                quiet: HashMap::new(),
                waits: false,
                error: None,
                has_changed: false,
                place: origin,
                bad: HashSet::new(),
                rest: Some((job, rest)),
            }),
        });
        let piece = first.map(|range| {
            // It begins with the first byte.
            let response = (range.start == 0).then_some(response);
            Box::new(Piece {
                split: Arc::clone(&split),
                range,
                attempts: counted - 1,
                moves: 0,
                place: origin,
                is_parked: false,
                response,
            })
        });
        (split, piece)
    }

    /// What ends it, if that has not been taken.
    pub(super) fn take_rest(&self) -> Option<(Box<Job>, Rest)> {
        self.state().rest.take()
    }

    /// Whether one more can help now.
    pub(super) fn wants_help(&self, now: At) -> bool {
        let state = self.state();
        let is_busy = || state.quiet(self.after_place(state.place, &state, now)) > now;
        !self.over.is_stopped() && state.pieces.want_more(state.running + state.parked) && !is_busy()
    }

    /// Where the next one who helps would have to ask.
    pub(super) fn next_place(&self, now: At) -> &Url {
        let state = self.state();
        &self.target.places[self.after_place(state.place, &state, now)]
    }

    /// A piece for one who comes to help.
    pub(super) fn help(self: &Arc<Self>, now: At) -> Option<Box<Piece>> {
        if !self.wants_help(now) {
            return None;
        }
        let mut state = self.state();
        let range = state.pieces.last()?;
        state.running += 1;
        state.place = self.after_place(state.place, &state, now);
        let place = state.place;
        let split = Arc::clone(self);
        Some(Box::new(Piece { split, range, attempts: 0, moves: 0, place, is_parked: false, response: None }))
    }

    /// The next place to ask, of those that may be asked soonest; the one that answered first is never a bad one.
    fn after_place(&self, place: usize, state: &State, now: At) -> usize {
        let Target { places, origin, .. } = &self.target;
        let count = places.len();
        let good = (place + 1..=place + count).map(|place| place % count).filter(|place| !state.bad.contains(place));
        good.min_by_key(|place| state.quiet(*place).max(now)).unwrap_or(*origin)
    }

    /// More for a piece that has come to its end and can go on.
    fn extend(&self, piece: &mut Range<u64>) -> bool {
        let more = self.state().pieces.after(piece.end);
        piece.end = more.unwrap_or(piece.end);
        more.is_some()
    }

    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.target.file.write_all_at(bytes, at)
    }

    /// Notes down what is there of a piece, so that it counts after a kill.
    fn note(&self, stretch: &Range<u64>) {
        let Some(mut note) = self.target.note.as_ref() else { return };
        // After a power failure, too, if that was asked for.
        if self.target.syncs && self.target.file.sync_data().is_err() {
            return;
        }
        // What is not noted down is fetched again at worst.
        let _ = note.write_all(note::line(stretch).as_bytes());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(NOT_POISONED)
    }
}

impl State {
    /// Until when this place asked to be left alone.
    fn quiet(&self, place: usize) -> At {
        self.quiet.get(&place).copied().unwrap_or(At::ZERO)
    }

    /// One leaves. The last one ends it.
    fn leave(&mut self) -> Then {
        let is_void = self.error.is_some() || self.has_changed;
        if self.running > 0 || (self.parked > 0 && !is_void) {
            return Then::Leave;
        }
        let Some((mut job, rest)) = self.rest.take() else { return Then::Leave };
        job.attempts = self.attempts;
        match self.error.take() {
            Some(error) => Then::Fail(job, rest, error),
            None if self.pieces.is_empty() && !is_void => Then::Finish(job, rest),
            None => Then::Restart(job, rest),
        }
    }
}

impl Piece {
    /// It begins, maybe after a wait. Returns how many attempts at the file there were if all of it had waited.
    pub(super) fn begin(&mut self) -> Option<u32> {
        if !std::mem::take(&mut self.is_parked) {
            return None;
        }
        let mut state = self.split.state();
        state.parked -= 1;
        state.running += 1;
        std::mem::take(&mut state.waits).then_some(state.attempts)
    }

    /// Where it is to be had.
    pub(super) fn place(&self) -> &Url {
        &self.split.target.places[self.place]
    }

    /// The response that it begins with, if there is one.
    pub(super) fn take_response(&mut self) -> Option<Response> {
        self.response.take()
    }

    /// The request for what is missing of it.
    pub(super) fn ask(&self) -> Request {
        let split = &*self.split;
        let mut request = split.download.request().clone();
        if *request.url() != *self.place() {
            request.set_url(self.place().clone());
        }
        let Range { start, end } = self.range;
        let headers = request.headers_mut();
        if let Ok(range) = HeaderValue::from_str(&format!("bytes={start}-{}", end - 1)) {
            headers.insert(header::RANGE, range);
        }
        if self.has_same_validator()
            && let Ok(validator) = HeaderValue::from_str(&split.target.validator)
        {
            headers.insert(header::IF_RANGE, validator);
        }
        request
    }

    /// Whether what comes must have the validator of what came first. With a checksum, another place may have another one: it is the
    /// checksum then that tells in the end.
    fn has_same_validator(&self) -> bool {
        self.place == self.split.target.origin || self.split.download.checksum.is_none()
    }

    /// What the head of a response says of the piece. `None` if it is what comes next of it.
    pub(super) fn judge(&self, response: &Response) -> Option<Came> {
        let target = &self.split.target;
        let is_same = !self.has_same_validator() || validator(response).as_ref() == Some(&target.validator);
        match response.status() {
            StatusCode::PARTIAL_CONTENT => match range_of(response.headers()) {
                _ if !is_same => Some(Came::Changed),
                Some((_, size)) if size != target.size => Some(Came::Changed),
                Some((start, _)) if start == self.range.start => None,
                _ => Some(Came::Refused),
            },
            StatusCode::RANGE_NOT_SATISFIABLE => Some(Came::Changed),
            _ if is_same => Some(Came::Refused),
            _ => Some(Came::Changed),
        }
    }

    /// Does with the end of a request what is to be done with it. `wait` says how long to wait after an error, if there is to be another
    /// attempt; who asks to be left alone for longer than `patience` is not waited for.
    pub(super) fn after(
        &mut self,
        tried: Option<Result<Came, FetchError>>,
        now: At,
        patience: Duration,
        wait: impl FnOnce(&FetchError, u32) -> Option<Duration>,
    ) -> Then {
        let split = Arc::clone(&self.split);
        let mut state = split.state();
        state.running -= 1;
        match tried {
            // The others have ended it.
            None => state.leave(),
            Some(Ok(Came::Whole)) => {
                if state.pieces.want_more(state.running + state.parked)
                    && let Some(range) = state.pieces.last()
                {
                    (self.range, self.attempts, self.moves) = (range, 0, 0);
                    if state.quiet(self.place) > now {
                        self.place = split.after_place(self.place, &state, now);
                    }
                    return self.park(now, &mut state);
                }
                state.leave()
            }
            // That is a mirror's own affair: the piece is asked for elsewhere.
            Some(Ok(Came::Refused | Came::Changed)) if self.place != split.target.origin => {
                state.bad.insert(self.place);
                self.place = split.after_place(self.place, &state, now);
                self.park(now, &mut state)
            }
            Some(Ok(Came::Refused)) => {
                state.pieces.give_back(self.range.clone());
                state.pieces.want_one();
                state.leave()
            }
            Some(Ok(Came::Changed)) => {
                split.over.stop();
                state.has_changed = true;
                state.leave()
            }
            Some(Err(error)) => self.after_error(error, now, patience, wait, state),
        }
    }

    /// It goes on as soon as its place may be asked.
    fn park(&mut self, now: At, state: &mut State) -> Then {
        self.is_parked = true;
        state.parked += 1;
        Then::Park(now.max(state.quiet(self.place)))
    }

    fn after_error(
        &mut self,
        error: FetchError,
        now: At,
        patience: Duration,
        wait: impl FnOnce(&FetchError, u32) -> Option<Duration>,
        mut state: MutexGuard<'_, State>,
    ) -> Then {
        let split = Arc::clone(&self.split);
        let is_alone = state.running + state.parked == 0;
        let is_ours = matches!(error, FetchError::File { .. } | FetchError::TooLarge { .. });
        self.attempts += 1;
        let wait = wait(&error, self.attempts - self.moves);
        let asks_for_quiet = match error {
            FetchError::Status { retry_after: Some(asked), .. } if asked <= patience => {
                let until = state.quiet(self.place).max(now + asked);
                state.quiet.insert(self.place, until);
                true
            }
            _ => false,
        };
        let next = split.after_place(self.place, &state, now);
        // Each place is asked once before any is asked again, whatever went wrong at the others.
        let is_new =
            !is_ours && next != self.place && (self.attempts as usize) < split.target.places.len() - state.bad.len();
        if is_new || wait.is_some() {
            self.moves += u32::from(is_new);
            let is_free = is_new || (asks_for_quiet && next != self.place);
            let until = if is_free { now } else { now + wait.unwrap_or_default() }.max(state.quiet(next));
            self.place = next;
            self.is_parked = true;
            state.parked += 1;
            state.attempts += 1;
            if state.running > 0 || state.waits {
                return Then::Park(until);
            }
            state.waits = true;
            return Then::Wait { until, error, attempts: state.attempts - 1 };
        }
        if !is_ours && self.place != split.target.origin {
            state.bad.insert(self.place);
            self.place = split.after_place(self.place, &state, now);
            return self.park(now, &mut state);
        }
        if !is_alone && !is_ours {
            // The others can do without: a server may allow fewer than there were.
            state.pieces.give_back(self.range.clone());
            state.pieces.want_fewer();
            return Then::Leave;
        }
        split.over.stop();
        state.error.get_or_insert(error);
        state.leave()
    }
}

/// Puts what comes of a piece on disk.
pub(super) struct Strip<'a> {
    piece: &'a mut Piece,
    buffer: Vec<u8>,
    noted: u64,
}

impl<'a> Strip<'a> {
    pub(super) fn new(piece: &'a mut Piece) -> Self {
        let noted = piece.range.start;
        Self { piece, buffer: Vec::new(), noted }
    }

    /// How many bytes of the piece have not come yet. One whose response goes on takes more, if there is any.
    pub(super) fn missing(&mut self, goes_on: bool) -> u64 {
        let missing = length(&self.piece.range) - self.buffer.len() as u64;
        if missing == 0 && goes_on && self.piece.split.extend(&mut self.piece.range) {
            return length(&self.piece.range) - self.buffer.len() as u64;
        }
        missing
    }

    /// Adds what came. Returns how much there is of the file, if that is worth telling.
    pub(super) fn write(&mut self, bytes: &Bytes) -> io::Result<Option<u64>> {
        if self.buffer.len() + bytes.len() >= BUFFER {
            self.flush()?;
        }
        if self.buffer.is_empty() && bytes.len() >= BUFFER / 2 {
            self.piece.split.write(bytes, self.piece.range.start)?;
            self.advance(bytes.len());
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        let came = bytes.len() as u64;
        let there = self.piece.split.there.fetch_add(came, Ordering::Relaxed) + came;
        Ok((there / BETWEEN_NEWS != (there - came) / BETWEEN_NEWS).then_some(there))
    }

    /// Writes out what came.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.piece.split.write(&buffer, self.piece.range.start)?;
        self.advance(buffer.len());
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn advance(&mut self, bytes: usize) {
        self.piece.range.start += bytes as u64;
        if self.piece.range.start - self.noted >= BETWEEN_NOTES {
            self.note();
        }
    }

    fn note(&mut self) {
        let stretch = self.noted..self.piece.range.start;
        if !stretch.is_empty() {
            self.noted = stretch.end;
            self.piece.split.note(&stretch);
        }
    }
}

impl Drop for Strip<'_> {
    /// What came before an error, or a stop, counts.
    fn drop(&mut self) {
        // What could not be written is missing still.
        let _ = self.flush();
        self.note();
    }
}

/// Where a part of a body begins, and how long the whole is: `Content-Range: bytes 100-199/200`.
pub(super) fn range_of(headers: &HeaderMap) -> Option<(u64, u64)> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (first, rest) = range.trim().strip_prefix("bytes")?.trim_start().split_once('-')?;
    let (_, size) = rest.split_once('/')?;
    Some((first.parse().ok()?, size.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_of_use_only_with_the_size_of_the_whole() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, value.parse().unwrap());
            range_of(&headers)
        };

        assert_eq!(read("bytes 100-199/200"), Some((100, 200)));
        assert_eq!(read("bytes 0-0/*"), None);
        assert_eq!(read("bytes */200"), None);
        assert_eq!(read("lines 1-2/3"), None);
    }
}
