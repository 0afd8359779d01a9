//! One download: what is wanted and where it goes, and what came of it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Algorithm, Checksum, FetchError, Redirect, Request, Timings};

/// A request, and what is to become of its body.
///
/// # Examples
///
/// ```
/// use raincheck::fetch::{Download, Request};
///
/// let download = Download::new(Request::get("https://example.org/logo.png")?).to("images/logo.png");
/// # Ok::<(), raincheck::fetch::FetchError>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Download {
    pub(super) request: Request,
    pub(super) number: u64,
    pub(super) name: Option<PathBuf>,
    pub(super) temporary: Option<PathBuf>,
    pub(super) partial: Option<Partial>,
    pub(super) checksum: Option<Checksum>,
    pub(super) mirrors: Vec<Url>,
    pub(super) replaces: bool,
    pub(super) sums: Option<Algorithm>,
    pub(super) segments: Option<Segments>,
}

/// In how many pieces a large file is fetched at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segments {
    pub(super) at_most: usize,
    /// None of them has fewer bytes.
    pub(super) at_least: u64,
}

/// A part of a file that was fetched before, and how to tell whether the rest still belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// How many bytes there are.
    pub bytes: u64,
    /// The `ETag`, if it is a strong one, or else the `Last-Modified` of the response that they are from.
    pub validator: String,
}

impl Download {
    /// Keeps the body in memory.
    pub fn new(request: Request) -> Self {
        Self {
            request,
            number: 0,
            name: None,
            temporary: None,
            partial: None,
            checksum: None,
            mirrors: Vec::new(),
            replaces: false,
            sums: None,
            segments: None,
        }
    }

    /// Writes the body to a file of this name, in the folder that the [`Downloads`](super::Downloads) go to. Subfolders
    /// are made.
    #[must_use]
    pub fn to(mut self, name: impl Into<PathBuf>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The name of the file until it is whole, in the same folder; unless told, the final one with a dot before and
    /// `.raincheck-part` after it.
    #[must_use]
    pub fn temporary(mut self, name: impl Into<PathBuf>) -> Self {
        self.temporary = Some(name.into());
        self
    }

    /// Goes on with what lies under the temporary name, if the server still has the same file.
    #[must_use]
    pub fn resume(mut self, partial: Partial) -> Self {
        self.partial = Some(partial);
        self
    }

    /// Fails, and leaves no file, if the body has another checksum.
    #[must_use]
    pub fn checksum(mut self, checksum: Checksum) -> Self {
        self.checksum = Some(checksum);
        self
    }

    /// Makes a checksum of the body, to be told with the rest.
    #[must_use]
    pub fn sum(mut self, algorithm: Algorithm) -> Self {
        self.sums = Some(algorithm);
        self
    }

    /// Asks for it only if it has changed since this time, a date as HTTP has it. Otherwise what comes
    /// [is unchanged](Fetched::is_unchanged).
    #[must_use]
    pub fn if_modified_since(mut self, date: &str) -> Self {
        if let Ok(date) = date.parse() {
            self.request.headers_mut().insert(http::header::IF_MODIFIED_SINCE, date);
        }
        self
    }

    /// Asks for it only if it is no longer what had this `ETag`. Otherwise what comes
    /// [is unchanged](Fetched::is_unchanged).
    #[must_use]
    pub fn if_none_match(mut self, etag: &str) -> Self {
        if let Ok(etag) = etag.parse() {
            self.request.headers_mut().insert(http::header::IF_NONE_MATCH, etag);
        }
        self
    }

    /// Another place that has the same. It is asked at once when those before it have failed, however they did, and its first attempt
    /// is no retry; when all have failed, the error is the one that tells most.
    ///
    /// # Errors
    ///
    /// [`FetchError::InvalidUrl`], as for a request.
    pub fn mirror(mut self, url: &str) -> Result<Self, FetchError> {
        self.mirrors.push(super::request::parse(url)?);
        Ok(self)
    }

    /// Fetches it in so many pieces at once, as [`Downloads::segments`](super::Downloads::segments) says for all others.
    #[must_use]
    pub fn segments(mut self, at_most: usize, at_least: u64) -> Self {
        self.segments = Some(Segments { at_most, at_least: at_least.max(1) });
        self
    }

    /// Replaces the file that has the name, if there is one, when the new one is whole. Unless told, that is an error.
    #[must_use]
    pub fn replace(mut self, replaces: bool) -> Self {
        self.replaces = replaces;
        self
    }

    /// A number of the caller's, to know it by.
    #[must_use]
    pub fn numbered(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    /// What is asked for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The caller's number; 0 unless told.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The name of the file that it goes to.
    pub fn name(&self) -> Option<&Path> {
        self.name.as_deref()
    }

    /// The name until it is whole.
    pub(super) fn temporary_name(&self, name: &Path) -> PathBuf {
        if let Some(temporary) = &self.temporary {
            return temporary.clone();
        }
        let file = name.file_name().unwrap_or_default().to_string_lossy();
        // A name has 255 bytes at most, and these must fit in too.
        let mut end = file.len().min(200);
        while !file.is_char_boundary(end) {
            end -= 1;
        }
        name.with_file_name(format!(".{}.raincheck-part", &file[..end]))
    }
}

/// What came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetched {
    /// The status of the response: 200, as a rule.
    pub status: u16,
    /// Where it came from in the end.
    pub url: Url,
    /// How many bytes there are; those that were there before included.
    pub bytes: u64,
    /// How many of them were there before.
    pub resumed: u64,
    /// The body, unless it went to a file.
    pub body: Option<Bytes>,
    /// The name of the file, in its folder.
    pub name: Option<PathBuf>,
    /// The checksum, if one was asked for.
    pub checksum: Option<Checksum>,
    /// The way there, if it was not the way that was asked for.
    pub redirects: Vec<Redirect>,
    /// What took how long.
    pub timings: Timings,
    /// The server's `ETag`.
    pub etag: Option<String>,
    /// The server's `Last-Modified`.
    pub last_modified: Option<String>,
}

impl Fetched {
    /// The server said that what the caller has is still what it has: no body came, and no file was touched.
    pub fn is_unchanged(&self) -> bool {
        self.status == 304
    }
}

/// How a download ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended {
    /// Which.
    pub download: Download,
    /// What came, or why nothing did in the last attempt.
    pub result: Result<Fetched, FetchError>,
    /// How many attempts were made.
    pub attempts: u32,
    /// The lane of the last one.
    pub lane: usize,
    /// From the beginning of the first attempt to the end of the last, waits included.
    pub took: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temporary_name_is_beside_the_final_one_and_fits() {
        let download = Download::new(Request::get("http://h/").unwrap());

        assert_eq!(download.temporary_name(Path::new("a/b.c")), Path::new("a/.b.c.raincheck-part"));
        let long = "é".repeat(127);
        let temporary = download.temporary_name(Path::new(&long));
        assert!(temporary.as_os_str().len() <= 255);
        assert_eq!(download.temporary("parts/1").temporary_name(Path::new("x")), Path::new("parts/1"));
    }
}
