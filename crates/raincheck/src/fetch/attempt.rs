//! One attempt at one download: the request, and the file that its body becomes.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use super::{
    Connections, Download, FetchError, Fetched, Request, Response,
    checksum::{Checksum, Hasher},
    download::{Partial, Segments},
    file::{Draft, Folder, Taken, hash_all},
    note::{Note, There},
    pieces::{self, Pieces},
    retry::retry_after,
    run::{Job, Run},
    split::{Came, Opening, Piece, Rest, Split, Strip, Target, range_of},
};

/// How much more has come before it is told again, or how much later it is.
pub(super) const BETWEEN_NEWS: u64 = 256 * 1024;
const NEWS_OF_SLOW_ONES: Duration = Duration::from_millis(200);
/// A body that nobody wants is read up to here, so that its connection can be used again.
const WORTH_READING: u64 = 64 * 1024;
const WORTH_WAITING: Duration = Duration::from_secs(1);
/// A file that was last changed so long ago is not changed again within the same second.
const SETTLED: Duration = Duration::from_secs(60);
/// Before a body larger than this comes, it is made sure that its name is free.
const LARGE: u64 = 1024 * 1024;

/// What a part that has filled the disk gives back of it, unless that is more than half.
const ROOM: u64 = 16 * 1024 * 1024;
const FULL: &str = "the disk is full";
const QUOTA: &str = "the quota of this user on the disk is used up";

/// What an attempt has come to.
pub(super) enum Tried {
    Fetched(Box<Fetched>),
    /// It is large, and goes on in pieces.
    Split(Box<Opening>),
}

impl Run {
    /// Asks for it, and takes in what comes.
    pub(super) async fn attempt(&self, connections: &Connections, job: &mut Job) -> Result<Tried, FetchError> {
        let mut partial = self.partial_on_disk(job);
        loop {
            let another = ask_otherwise(job, partial.as_ref());
            let request = another.as_deref().unwrap_or(&job.download.request);
            let response = self.client.send(connections, request).await?;
            let goes_on = match (response.status(), &partial) {
                (StatusCode::PARTIAL_CONTENT, Some(partial)) => is_rest(&job.download, partial, response.headers()),
                // A part that nobody has asked for would pass for the whole.
                (StatusCode::PARTIAL_CONTENT, None) if !request.headers().contains_key(header::RANGE) => {
                    let of = range_of(response.headers()).map(|(_, size)| size);
                    return Err(FetchError::CutOff { got: 0, of });
                }
                // What lies here is longer than what is there.
                (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => false,
                // The whole of it: the file has changed, or the server knows no ranges.
                (_, Some(_)) => {
                    partial = None;
                    true
                }
                (_, None) => true,
            };
            if goes_on {
                match self.left_by_another_run(job, &response) {
                    None => return self.take(job, response, partial).await,
                    // Dropping the response closes its connection: better than to take in what is here already.
                    left => (partial, job.partial) = (left.clone(), left),
                }
                continue;
            }
            read_out(response).await;
            (partial, job.partial) = (None, None);
        }
    }

    /// What an attempt before has left, if it lies there as it was left.
    fn partial_on_disk(&self, job: &mut Job) -> Option<Partial> {
        let partial = job.partial.clone()?;
        let there = match (&self.folder, job.download.name()) {
            (Some(folder), Some(name)) => folder.partial(&job.download.temporary_name(name)),
            _ => None,
        };
        if there == Some(partial.bytes) && partial.bytes > 0 {
            return Some(partial);
        }
        job.partial = None;
        None
    }

    /// What another run has left of this very file, in the first attempt.
    fn left_by_another_run(&self, job: &Job, response: &Response) -> Option<Partial> {
        if !self.leaves_parts
            || job.attempts > 1
            || job.partial.is_some()
            || response.status() != StatusCode::OK
            || response.length().is_some_and(|length| length <= WORTH_READING)
        {
            return None;
        }
        let (Some(folder), Some(name)) = (&self.folder, job.download.name()) else { return None };
        let temporary = job.download.temporary_name(name);
        let validator = validator(response)?;
        // With pieces, more can be made of it.
        if self.segments(job, response).is_some()
            || folder.noted(&temporary)? != note(&job.download, &validator, There::Beginning).write()
        {
            return None;
        }
        let bytes = folder.partial(&temporary).filter(|bytes| *bytes > 0)?;
        Some(Partial { bytes, validator })
    }

    /// Takes in a response, whatever it is.
    async fn take(&self, job: &mut Job, response: Response, partial: Option<Partial>) -> Result<Tried, FetchError> {
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            let fetched = Fetched::of(&response);
            read_out(response).await;
            return Ok(Tried::Fetched(fetched));
        }
        if !status.is_success() {
            return Err(refused(response).await);
        }
        let name = self.watch.named(&job.download, &response)?.or_else(|| job.download.name.clone());
        match (&self.folder, name) {
            (Some(folder), Some(name)) => self.keep_in_file(folder, name, job, response, partial).await,
            (None, Some(name)) => {
                let reason = "there is no folder for files; call `Downloads::into_folder`".into();
                Err(FetchError::File { path: name, reason })
            }
            (_, None) => keep_in_memory(&job.download, response).await.map(Tried::Fetched),
        }
    }

    async fn keep_in_file(
        &self,
        folder: &Folder,
        name: PathBuf,
        job: &mut Job,
        mut response: Response,
        partial: Option<Partial>,
    ) -> Result<Tried, FetchError> {
        let failed = |error: io::Error| file_error(folder, &name, &error);
        let length = response.length();
        if length.is_none_or(|length| length > LARGE) && !job.download.replaces && folder.has(&name) {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let temporary = job.download.temporary_name(&name);
        if partial.is_none()
            && let Some(shape) = self.shape(folder, &temporary, job, &response)
        {
            let opening = self.open(folder, shape, name.clone(), temporary, job, response).map_err(failed)?;
            return Ok(Tried::Split(opening));
        }
        let mut fetched = Fetched::of(&response);
        let mut hasher = job.download.hasher();
        let mut draft = match &partial {
            Some(partial) => {
                let resumed = folder.resume(&temporary, partial.bytes, hasher.as_mut()).map_err(failed)?;
                // It was there a moment ago. Another attempt will see that it is not.
                resumed.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?
            }
            None => folder.begin(&temporary).map_err(failed)?,
        };
        fetched.resumed = draft.bytes();
        draft.keep_if_dropped(job.kept && partial.is_some());
        // What goes on need not say again what it is.
        let validator = |response: &Response| match &partial {
            Some(partial) => Some(partial.validator.clone()),
            None => validator(response),
        };
        job.partial = None;

        job.noted |= partial.is_some() && self.leaves_parts;
        let begun = |job: &mut Job, response: &Response| {
            if partial.is_none() {
                // What lies there is of another file, or of another version, and the note must not come to speak of it.
                folder.clear(&temporary);
            }
            let Some(validator) = validator(response) else {
                // What another run has noted down is no longer so.
                folder.forget(&temporary);
                return Ok(false);
            };
            job.kept = self.watch.begun(&job.download, &validator, response)?;
            if self.leaves_parts && !job.kept {
                let note = note(&job.download, &validator, There::Beginning);
                folder.note(&temporary, &note.write()).map_err(failed)?;
                (job.noted, job.kept) = (true, true);
            }
            Ok(job.kept)
        };
        let came = self.receive(&mut draft, job, &mut response, hasher.as_mut(), &begun, &failed).await;
        // A server may send less than it was asked for.
        let size = partial.as_ref().and_then(|_| range_of(response.headers())).map(|(_, size)| size);
        let came = came.and_then(|()| match size {
            Some(size) if size != draft.bytes() => Err(FetchError::CutOff { got: draft.bytes(), of: Some(size) }),
            _ => Ok(()),
        });
        // All but what is in memory alone is on disk before it counts as all there: the disk may be full by now.
        let came = came.and_then(|()| if draft.is_on_disk() { draft.flush().map_err(failed) } else { Ok(()) });
        if let Err(error) = came {
            return Err(match validator(&response).filter(|_| draft.stays()) {
                Some(_) if (job.kept || job.noted) && is_full(&error) => {
                    // What an earlier run has left stays as it is.
                    leave_for_room(draft, fetched.resumed, error)
                }
                Some(validator) if !matches!(error, FetchError::File { .. } | FetchError::TooLarge { .. }) => {
                    job.partial = Some(Partial { bytes: draft.bytes(), validator });
                    draft.keep_if_dropped(true);
                    error
                }
                _ => {
                    draft.discard();
                    error
                }
            });
        }

        fetched.bytes = draft.bytes();
        fetched.checksum = hasher.map(Hasher::finish);
        draft.keep_if_dropped(false);
        // Nothing more comes of it, and other lanes go on meanwhile: they use its memory again.
        drop(response);
        self.publish(folder, name, &temporary, job, draft, fetched).await.map(Tried::Fetched)
    }

    /// Verifies what is there, and gives it its name.
    async fn publish(
        &self,
        folder: &Folder,
        name: PathBuf,
        temporary: &Path,
        job: &Job,
        mut draft: Draft,
        mut fetched: Box<Fetched>,
    ) -> Result<Box<Fetched>, FetchError> {
        let failed = |error: io::Error| file_error(folder, &name, &error);
        verify(&job.download, &fetched)?;
        let modified = fetched.last_modified.as_deref().filter(|_| self.keeps_times);
        let modified = modified.and_then(|date| httpdate::parse_http_date(date).ok());
        let file = draft.complete(modified, self.syncs).map_err(failed)?;
        self.watch.whole(&job.download, &fetched, file)?;
        // Of all that has come meanwhile, what is to be written down can be written at once.
        tokio::task::yield_now().await;
        self.watch.appears(&job.download)?;
        let taken = if job.download.replaces { Taken::Replace } else { Taken::Keep };
        draft.publish(folder, &name, taken).map_err(failed)?;
        if job.noted {
            folder.forget(temporary);
        }
        fetched.name = Some(name);
        Ok(fetched)
    }

    /// In how many pieces it is fetched, of which length at least, if it is.
    fn segments(&self, job: &Job, response: &Response) -> Option<Segments> {
        let segments = job.download.segments.unwrap_or(self.segments);
        let may_be = segments.at_most > 1 && response.length()? / 2 >= segments.at_least;
        (may_be && can_be_in_pieces(job, response).is_some()).then_some(segments)
    }

    /// What is there of it and how the rest is fetched, if that is to be done in pieces: because it is large, or because another run has left
    /// pieces of it.
    fn shape(&self, folder: &Folder, temporary: &Path, job: &Job, response: &Response) -> Option<Shape> {
        let segments = self.segments(job, response);
        // What is small is never left half done.
        if segments.is_none() && (!self.leaves_parts || response.length()? <= WORTH_READING) {
            return None;
        }
        let (size, validator) = (can_be_in_pieces(job, response)?, validator(response)?);
        let left = || {
            let note = Note::read(&folder.noted(temporary)?)?;
            if note.url != job.download.request.url().as_str() || note.validator != validator {
                return None;
            }
            let bytes = folder.partial(temporary)?;
            match note.there {
                There::Beginning if segments.is_some() && bytes <= size => Some(pieces::missing(bytes, &[])),
                There::Pieces { size: then, stretches } if then == size => {
                    Some(stretches.into_iter().map(|stretch| stretch.start..stretch.end.min(bytes)).collect())
                }
                There::Beginning | There::Pieces { .. } => None,
            }
        };
        let there = if self.leaves_parts { left() } else { None };
        if segments.is_none() && there.is_none() {
            return None;
        }
        let there = pieces::merged(there.unwrap_or_default());
        let Segments { at_most, at_least } = segments.unwrap_or(Segments { at_most: 1, at_least: size });
        let pieces = Pieces::new(pieces::missing(size, &there), at_most, at_least);
        Some(Shape { size, validator, there, pieces })
    }

    fn open(
        &self,
        folder: &Folder,
        shape: Shape,
        name: PathBuf,
        temporary: PathBuf,
        job: &mut Job,
        response: Response,
    ) -> io::Result<Box<Opening>> {
        let Shape { size, validator, there, pieces } = shape;
        let mut fetched = Fetched::of(&response);
        fetched.bytes = size;
        fetched.resumed = there.iter().map(pieces::length).sum();
        let mut draft = folder.open_for_pieces(&temporary, size, there.is_empty())?;
        // The note on it may find no room.
        draft.keep_if_dropped(self.leaves_parts && !there.is_empty());
        job.partial = None;
        let note = if self.leaves_parts {
            let there = There::Pieces { size, stretches: there };
            Some(folder.note(&temporary, &note(&job.download, &validator, there).write())?)
        } else {
            None
        };
        (job.noted, job.kept) = (note.is_some(), note.is_some());
        draft.keep_if_dropped(job.kept);
        let (file, places, origin) = (draft.handle()?, places(&job.download), job.places.at());
        let target = Target { name, temporary, size, validator, places, origin, file, note, syncs: self.syncs };
        Ok(Box::new(Opening { target, pieces, rest: Rest { draft, fetched }, response }))
    }

    /// Takes in a piece.
    pub(super) async fn fetch_piece(&self, connections: &Connections, piece: &mut Piece) -> Result<Came, FetchError> {
        let (mut response, goes_on) = match piece.take_response() {
            Some(response) => (response, true),
            None => {
                let response = self.client.send(connections, &piece.ask()).await?;
                let status = response.status();
                if !status.is_success() && status != StatusCode::RANGE_NOT_SATISFIABLE {
                    return Err(refused(response).await);
                }
                if let Some(came) = piece.judge(&response) {
                    read_out(response).await;
                    return Ok(came);
                }
                (response, false)
            }
        };
        let split = Arc::clone(&piece.split);
        let failed = |error: io::Error| self.piece_error(&split, &error);
        let mut strip = Strip::new(piece);
        let mut chunk = Bytes::new();
        loop {
            let missing = strip.missing(goes_on);
            if missing == 0 {
                return strip.flush().map_err(failed).map(|()| Came::Whole);
            }
            if chunk.is_empty() {
                let length = response.length();
                chunk = response.chunk().await?.ok_or(FetchError::CutOff { got: 0, of: length })?;
                self.throttle(chunk.len()).await;
            }
            let wanted = usize::try_from(missing).map_or(chunk.len(), |missing| missing.min(chunk.len()));
            if let Some(there) = strip.write(&chunk.split_to(wanted)).map_err(failed)? {
                self.watch.moved(&split.download, there);
            }
        }
    }

    /// Ends a download whose pieces are all there.
    pub(super) async fn finish(&self, split: &Split, job: &mut Job, rest: Rest) -> Result<Box<Fetched>, FetchError> {
        let Some(folder) = &self.folder else { return Err(self.piece_error(split, &io::ErrorKind::NotFound.into())) };
        let Rest { mut draft, mut fetched } = rest;
        let summed = self.sum(&job.download, &mut draft).await.map_err(|error| self.piece_error(split, &error));
        fetched.checksum = summed.inspect_err(|_| draft.keep_if_dropped(false))?;
        draft.keep_if_dropped(false);
        // If it is not what it should be, another attempt is to fetch it as a whole.
        job.whole = true;
        self.publish(folder, split.target.name.clone(), &split.target.temporary, job, draft, fetched).await
    }

    /// The checksum of a file that did not come in order, if one is wanted.
    async fn sum(&self, download: &Download, draft: &mut Draft) -> io::Result<Option<Checksum>> {
        let Some(mut hasher) = download.hasher() else { return Ok(None) };
        let (file, stop) = (draft.handle()?, self.stop.clone());
        // It takes long for a large file, and the other lanes of this thread are not to wait for it.
        let summing = tokio::task::spawn_blocking(move || {
            hash_all(&file, &mut hasher, || stop.is_stopped())?;
            Ok(Some(hasher.finish()))
        });
        summing.await.map_err(io::Error::other)?
    }

    fn piece_error(&self, split: &Split, error: &io::Error) -> FetchError {
        match &self.folder {
            Some(folder) => file_error(folder, &split.target.name, error),
            None => FetchError::File { path: split.target.name.clone(), reason: error.to_string() },
        }
    }

    /// Takes in the body, to its end.
    async fn receive(
        &self,
        draft: &mut Draft,
        job: &mut Job,
        response: &mut Response,
        mut hasher: Option<&mut Hasher>,
        on_disk: &impl Fn(&mut Job, &Response) -> Result<bool, FetchError>,
        failed: &impl Fn(io::Error) -> FetchError,
    ) -> Result<(), FetchError> {
        let (mut told, mut told_at) = (draft.bytes(), Instant::now());
        let is_large = response.length().is_some_and(Draft::is_large);
        let mut begun = false;
        while let Some(piece) = response.chunk().await? {
            if let Some(hasher) = &mut hasher {
                hasher.update(&piece);
            }
            // What is large can be gone on with from its first bytes on.
            if !begun && (is_large || draft.would_flush(piece.len())) {
                begun = true;
                draft.keep_if_dropped(on_disk(job, response)?);
            }
            let bytes = piece.len();
            draft.write(piece).map_err(failed)?;
            if draft.bytes() - told >= BETWEEN_NEWS || told_at.elapsed() >= NEWS_OF_SLOW_ONES {
                (told, told_at) = (draft.bytes(), Instant::now());
                self.watch.moved(&job.download, told);
            }
            self.throttle(bytes).await;
        }
        Ok(())
    }

    /// Clears what a download that has failed for good leaves behind, unless another run can go on with it.
    pub(super) fn leave(&self, job: &mut Job) {
        if let (Some(_), Some(folder), Some(name)) = (job.partial.take(), &self.folder, job.download.name())
            && !job.kept
        {
            folder.clear(&job.download.temporary_name(name));
        }
    }
}

impl Download {
    fn hasher(&self) -> Option<Hasher> {
        let algorithm = self.checksum.as_ref().map(|checksum| checksum.algorithm()).or(self.sums);
        algorithm.map(Hasher::new)
    }
}

impl Fetched {
    /// What the head of a response tells, in a place of its own: it goes through many hands.
    fn of(response: &Response) -> Box<Self> {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Box::new(Self {
            status: response.status().as_u16(),
            url: response.url().clone(),
            bytes: 0,
            resumed: 0,
            body: None,
            name: None,
            checksum: None,
            redirects: response.redirects().to_vec(),
            timings: response.timings(),
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
        })
    }
}

/// What is written down of a part that is left, to know it again by.
fn note(download: &Download, validator: &str, there: There) -> Note {
    Note { url: download.request.url().to_string(), validator: validator.to_owned(), there }
}

/// What is there of a file, and what of it is missing.
struct Shape {
    size: u64,
    validator: String,
    there: Vec<Range<u64>>,
    pieces: Pieces,
}

/// How long a file is, if this response says that it can be fetched in pieces, and that they can be told from those of another one.
fn can_be_in_pieces(job: &Job, response: &Response) -> Option<u64> {
    let Job { download, whole, kept, noted, .. } = job;
    let request = &download.request;
    // What somebody else keeps the note of is gone on with at its end.
    let is_theirs = download.partial.is_some() || (*kept && !*noted);
    let is_plain = request.method() == Method::GET && request.payload().is_none();
    if *whole || is_theirs || !is_plain || response.status() != StatusCode::OK || response.is_too_large() {
        return None;
    }
    let ranges = response.headers().get(header::ACCEPT_RANGES)?;
    let is_sure = download.checksum.is_some() || has_strong_validator(response);
    let size = response.length()?;
    (ranges.as_bytes().eq_ignore_ascii_case(b"bytes") && is_sure && validator(response).is_some()).then_some(size)
}

/// Whether what tells one version of a file from the next cannot be the same for both. A date can, if it was just now.
fn has_strong_validator(response: &Response) -> bool {
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let date = |name| text(name).and_then(|date| httpdate::parse_http_date(date).ok());
    if text(header::ETAG).is_some_and(|etag| !etag.starts_with("W/")) {
        return true;
    }
    match (date(header::LAST_MODIFIED), date(header::DATE)) {
        (Some(modified), Some(now)) => now.duration_since(modified).is_ok_and(|since| since >= SETTLED),
        _ => false,
    }
}

/// What a response says that is no success.
async fn refused(response: Response) -> FetchError {
    let code = response.status().as_u16();
    let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = after.and_then(|value| retry_after(value, std::time::SystemTime::now()));
    read_out(response).await;
    FetchError::Status { code, retry_after }
}

/// All places where it can be had.
fn places(download: &Download) -> Vec<Url> {
    std::iter::once(download.request.url()).chain(&download.mirrors).cloned().collect()
}

/// The request, if it is not the one that the download has: for what is missing, or to another place.
fn ask_otherwise(job: &Job, partial: Option<&Partial>) -> Option<Box<Request>> {
    let download = &job.download;
    let has_mirrors = !download.mirrors.is_empty();
    let copy = || Box::new(download.request.clone());
    let mut request = None;
    if job.places.at() > 0 {
        request.get_or_insert_with(copy).set_url(job.url().clone());
    }
    // Another place may call another file the same by its date; an `ETag` that is equal there is no accident.
    // With a checksum it is seen in the end, whatever the places call theirs.
    let is_checked = download.checksum.is_some();
    let is_tag = |partial: &Partial| partial.validator.starts_with('"');
    if let Some(partial) = partial.filter(|partial| !has_mirrors || is_checked || is_tag(partial))
        && let (Ok(range), Ok(validator)) =
            (HeaderValue::from_str(&format!("bytes={}-", partial.bytes)), HeaderValue::from_str(&partial.validator))
    {
        let headers = request.get_or_insert_with(copy).headers_mut();
        headers.insert(header::RANGE, range);
        if !has_mirrors || !is_checked {
            headers.insert(header::IF_RANGE, validator);
        }
    }
    request
}

async fn keep_in_memory(download: &Download, response: Response) -> Result<Box<Fetched>, FetchError> {
    let mut fetched = Fetched::of(&response);
    let body = response.bytes().await?;
    fetched.bytes = body.len() as u64;
    fetched.checksum = download.hasher().map(|mut hasher| {
        hasher.update(&body);
        hasher.finish()
    });
    verify(download, &fetched)?;
    fetched.body = Some(body);
    Ok(fetched)
}

fn verify(download: &Download, fetched: &Fetched) -> Result<(), FetchError> {
    match (&download.checksum, &fetched.checksum) {
        (Some(expected), Some(found)) if expected != found => {
            Err(FetchError::Checksum { expected: expected.to_string(), found: found.to_string() })
        }
        _ => Ok(()),
    }
}

/// What tells whether a later response has the same bytes: the `ETag`, if it is a strong one, or else the `Last-Modified`.
///
/// `None` for a body that was decoded, whose bytes are not those of the server.
pub(super) fn validator(response: &Response) -> Option<String> {
    let headers = response.headers();
    if headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(header::ETAG) {
        Some(etag) if !etag.starts_with("W/") => Some(etag.to_owned()),
        _ => text(header::LAST_MODIFIED).map(str::to_owned),
    }
}

/// Whether what comes follows on what is here: from its end on, and of the same version, if the server says of which.
///
/// With a checksum, it is seen in the end whether it was the same.
fn is_rest(download: &Download, partial: &Partial, headers: &HeaderMap) -> bool {
    let is_tag = partial.validator.starts_with('"');
    let said = headers.get(if is_tag { header::ETAG } else { header::LAST_MODIFIED });
    let is_same = said.is_none_or(|said| said.as_bytes() == partial.validator.as_bytes());
    (is_same || download.checksum.is_some()) && range_of(headers).is_some_and(|(start, _)| start == partial.bytes)
}

/// Reads a body that nobody wants, if that is quicker than another connection.
async fn read_out(mut response: Response) {
    if response.length().is_none_or(|length| length > WORTH_READING) {
        return;
    }
    let read = async { while let Ok(Some(_)) = response.chunk().await {} };
    let _ = tokio::time::timeout(WORTH_WAITING, read).await;
}

/// Whether there was no room for it, as there may be in another run.
pub(super) fn is_full(error: &FetchError) -> bool {
    matches!(error, FetchError::File { reason, .. } if reason == FULL || reason == QUOTA)
}

/// Leaves for another run what has come of a file, though not all of what follows on the first `kept` bytes, so that smaller files
/// still find room.
pub(super) fn leave_for_room(mut draft: Draft, kept: u64, error: FetchError) -> FetchError {
    draft.give_back(ROOM, kept);
    draft.keep_if_dropped(true);
    match error {
        FetchError::File { path, reason } => FetchError::File {
            path,
            reason: format!("{reason}; what has come is kept, and another run goes on from there"),
        },
        error => error,
    }
}

fn file_error(folder: &Folder, name: &Path, error: &io::Error) -> FetchError {
    let reason = match error.kind() {
        io::ErrorKind::AlreadyExists => "there is a file of this name already".into(),
        io::ErrorKind::StorageFull => FULL.into(),
        io::ErrorKind::QuotaExceeded => QUOTA.into(),
        io::ErrorKind::CrossesDevices => "its folder is on another file system than the one that all goes to".into(),
        _ => error.to_string(),
    };
    FetchError::File { path: folder.path().join(name), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rest_of_the_same_version_is_the_rest() {
        let download = Download::new(Request::get("http://h/").unwrap());
        let is = |download: &Download, validator: &str, headers: &[(&'static str, &str)]| {
            let partial = Partial { bytes: 100, validator: validator.into() };
            let headers = headers.iter().map(|(name, value)| ((*name).try_into().unwrap(), value.parse().unwrap()));
            is_rest(download, &partial, &headers.collect())
        };
        let range = ("content-range", "bytes 100-199/200");

        assert!(is(&download, "\"a\"", &[range]));
        assert!(is(&download, "\"a\"", &[range, ("etag", "\"a\""), ("last-modified", "another")]));
        assert!(!is(&download, "\"a\"", &[range, ("etag", "\"b\"")]));
        assert!(!is(&download, "a date", &[range, ("last-modified", "another")]));
        assert!(!is(&download, "\"a\"", &[("content-range", "bytes 99-199/200")]));
        assert!(!is(&download, "\"a\"", &[("content-range", "bytes 100-199/*")]));
        assert!(!is(&download, "\"a\"", &[]));

        let checked = download.checksum("md5:900150983cd24fb0d6963f7d28e17f72".parse().unwrap());
        assert!(is(&checked, "\"a\"", &[range, ("etag", "\"b\"")]));
    }
}
