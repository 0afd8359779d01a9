//! One attempt at one download: the request, and the file that its body becomes.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    Connections, Download, FetchError, Fetched, Request, Response,
    checksum::Hasher,
    download::Partial,
    downloads::{Job, Run},
    file::{Draft, Folder, Taken},
    retry::retry_after,
};

/// How much more has come before it is told again.
const BETWEEN_NEWS: u64 = 256 * 1024;
/// A body that nobody wants is read up to here, so that its connection can be used again.
const WORTH_READING: u64 = 64 * 1024;
const WORTH_WAITING: Duration = Duration::from_secs(1);
/// Before a body larger than this comes, it is made sure that its name is free.
const LARGE: u64 = 1024 * 1024;

impl Run {
    /// Asks for it, and takes in what comes.
    pub(super) async fn attempt(&self, connections: &Connections, job: &mut Job) -> Result<Fetched, FetchError> {
        let mut partial = self.partial_on_disk(job);
        loop {
            let request = ask(job, partial.as_ref());
            let response = self.client.send(connections, &request).await?;
            let goes_on = match (response.status(), &partial) {
                (StatusCode::PARTIAL_CONTENT, Some(partial)) => starts_at(response.headers()) == Some(partial.bytes),
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
        if folder.noted(&temporary)? != note(&job.download, &validator) {
            return None;
        }
        let bytes = folder.partial(&temporary).filter(|bytes| *bytes > 0)?;
        Some(Partial { bytes, validator })
    }

    /// Takes in a response, whatever it is.
    async fn take(&self, job: &mut Job, response: Response, partial: Option<Partial>) -> Result<Fetched, FetchError> {
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED {
            let fetched = Fetched::of(&response);
            read_out(response).await;
            return Ok(fetched);
        }
        if !status.is_success() {
            let after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = after.and_then(|value| retry_after(value, std::time::SystemTime::now()));
            read_out(response).await;
            return Err(FetchError::Status { code: status.as_u16(), retry_after });
        }
        let name = self.watch.named(&job.download, &response)?.or_else(|| job.download.name.clone());
        match (&self.folder, name) {
            (Some(folder), Some(name)) => self.keep_in_file(folder, name, job, response, partial).await,
            (None, Some(name)) => {
                let reason = "there is no folder for files; call `Downloads::into_folder`".into();
                Err(FetchError::File { path: name, reason })
            }
            (_, None) => keep_in_memory(&job.download, response).await,
        }
    }

    async fn keep_in_file(
        &self,
        folder: &Folder,
        name: PathBuf,
        job: &mut Job,
        mut response: Response,
        partial: Option<Partial>,
    ) -> Result<Fetched, FetchError> {
        let failed = |error: io::Error| file_error(folder, &name, &error);
        let mut fetched = Fetched::of(&response);
        let length = response.length();
        if length.is_none_or(|length| length > LARGE) && !job.download.replaces && folder.has(&name) {
            return Err(failed(io::ErrorKind::AlreadyExists.into()));
        }
        let mut hasher = job.download.hasher();
        let temporary = job.download.temporary_name(&name);
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
        let validator = validator(&response);
        job.partial = None;

        job.noted |= partial.is_some() && self.leaves_parts;
        let begun = |job: &mut Job, response: &Response| {
            let Some(validator) = &validator else { return Ok(false) };
            job.kept = self.watch.begun(&job.download, validator, response)?;
            if self.leaves_parts && !job.kept {
                folder.note(&temporary, &note(&job.download, validator)).map_err(failed)?;
                (job.noted, job.kept) = (true, true);
            }
            Ok(job.kept)
        };
        let came = self.receive(&mut draft, job, &mut response, hasher.as_mut(), &begun, &failed).await;
        if let Err(error) = came {
            if let Some(validator) = validator
                && draft.is_on_disk()
                && !matches!(error, FetchError::File { .. } | FetchError::TooLarge { .. })
            {
                job.partial = Some(Partial { bytes: draft.bytes(), validator });
                draft.keep_if_dropped(true);
            } else {
                draft.discard();
            }
            return Err(error);
        }

        fetched.bytes = draft.bytes();
        fetched.checksum = hasher.map(Hasher::finish);
        draft.keep_if_dropped(false);
        verify(&job.download, &fetched)?;
        let modified = fetched.last_modified.as_deref().filter(|_| self.keeps_times);
        let modified = modified.and_then(|date| httpdate::parse_http_date(date).ok());
        let file = draft.complete(modified, self.syncs).map_err(failed)?;
        self.watch.whole(&job.download, &fetched, file)?;
        let taken = if job.download.replaces { Taken::Replace } else { Taken::Keep };
        draft.publish(folder, &name, taken).map_err(failed)?;
        if job.noted {
            folder.forget(&temporary);
        }
        fetched.name = Some(name);
        Ok(fetched)
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
        let mut told = draft.bytes();
        let mut begun = false;
        while let Some(piece) = response.chunk().await? {
            if let Some(hasher) = &mut hasher {
                hasher.update(&piece);
            }
            if !begun && draft.would_flush(piece.len()) {
                begun = true;
                draft.keep_if_dropped(on_disk(job, response)?);
            }
            let bytes = piece.len();
            draft.write(piece).map_err(failed)?;
            if draft.bytes() - told >= BETWEEN_NEWS {
                told = draft.bytes();
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
    /// What the head of a response tells.
    fn of(response: &Response) -> Self {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
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
        }
    }
}

/// What is written down of a part that is left, to know it again by.
fn note(download: &Download, validator: &str) -> String {
    format!("{}\n{validator}\n", download.request.url())
}

/// The request, for what is missing; and after a failed attempt to the next mirror.
fn ask<'a>(job: &'a Job, partial: Option<&Partial>) -> Cow<'a, Request> {
    let Job { download, attempts, .. } = job;
    let places = download.mirrors.len() + 1;
    let place = (*attempts as usize).saturating_sub(1) % places;
    let mut request = Cow::Borrowed(&download.request);
    if place > 0 {
        request.to_mut().set_url(download.mirrors[place - 1].clone());
    }
    // Another place has another validator.
    if let Some(partial) = partial.filter(|_| places == 1)
        && let (Ok(range), Ok(validator)) =
            (HeaderValue::from_str(&format!("bytes={}-", partial.bytes)), HeaderValue::from_str(&partial.validator))
    {
        let headers = request.to_mut().headers_mut();
        headers.insert(header::RANGE, range);
        headers.insert(header::IF_RANGE, validator);
    }
    request
}

async fn keep_in_memory(download: &Download, response: Response) -> Result<Fetched, FetchError> {
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
fn validator(response: &Response) -> Option<String> {
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

/// Where a part of a body begins, as the server says: `Content-Range: bytes 100-199/200`.
fn starts_at(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (first, _) = range.trim().strip_prefix("bytes")?.trim_start().split_once('-')?;
    first.parse().ok()
}

/// Reads a body that nobody wants, if that is quicker than another connection.
async fn read_out(mut response: Response) {
    if response.length().is_none_or(|length| length > WORTH_READING) {
        return;
    }
    let read = async { while let Ok(Some(_)) = response.chunk().await {} };
    let _ = tokio::time::timeout(WORTH_WAITING, read).await;
}

fn file_error(folder: &Folder, name: &Path, error: &io::Error) -> FetchError {
    let reason = match error.kind() {
        io::ErrorKind::AlreadyExists => "there is a file of this name already".into(),
        io::ErrorKind::StorageFull => "the disk is full".into(),
        _ => error.to_string(),
    };
    FetchError::File { path: folder.path().join(name), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_that_came_is_read() {
        let starts = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, value.parse().unwrap());
            starts_at(&headers)
        };

        assert_eq!(starts("bytes 100-199/200"), Some(100));
        assert_eq!(starts("bytes 0-0/*"), Some(0));
        assert_eq!(starts("bytes */200"), None);
        assert_eq!(starts("lines 1-2/3"), None);
    }
}
