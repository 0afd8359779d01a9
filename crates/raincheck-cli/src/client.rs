//! Fetching over HTTP: one behaviour, on a thread or as a future.
//!
//! Two libraries stand behind it, since a client that blocks and one that does not are built differently; what they
//! answer is told alike.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, StatusCode};

use crate::error::Error;

/// Why there is no file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FetchError {
    /// The server was asked, and has no such file: status 404.
    NotFound,
    /// The server answered with another status; it may ask to be left alone for so long.
    Status { code: u16, reason: String, retry_after: Option<Duration> },
    /// There was no answer in time.
    TimedOut,
    /// There was no answer, or not the whole of it.
    Broken(String),
}

/// A client for threads.
pub(crate) struct BlockingClient(ureq::Agent);

/// A client for futures, on a tokio runtime.
pub(crate) struct AsyncClient(reqwest::Client);

impl BlockingClient {
    /// A client that gives each request so long in all.
    pub(crate) fn new(limit: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(limit))
            // A status is an answer; what it means is told below.
            .http_status_as_error(false)
            .max_idle_connections_per_host(1000)
            .max_idle_connections(1000)
            .user_agent(USER_AGENT)
            .build();
        Self(config.into())
    }

    /// Returns the whole body, and says on the way how much of it has come. Blocks.
    pub(crate) fn get(&self, url: &str, moved: impl Fn(u64)) -> Result<Vec<u8>, FetchError> {
        let mut response = self.0.get(url).call().map_err(broken_blocking)?;
        check(response.status(), response.headers())?;
        let mut reader = response.body_mut().with_config().limit(u64::MAX).reader();
        let (mut body, mut chunk) = (Vec::new(), [0; 1 << 14]);
        loop {
            match reader.read(&mut chunk).map_err(|error| broken_blocking(error.into()))? {
                0 => return Ok(body),
                read => body.extend_from_slice(&chunk[..read]),
            }
            moved(body.len() as u64);
        }
    }
}

impl AsyncClient {
    /// A client that gives each request so long in all.
    ///
    /// # Errors
    ///
    /// If the system's certificates cannot be read.
    pub(crate) fn new(limit: Duration) -> Result<Self, Error> {
        // Said twice if there are two clients, which is once too often and no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(limit).user_agent(USER_AGENT).build();
        client.map(Self).map_err(|error| Error::new("cannot set up the HTTP client").because(error))
    }

    /// Returns the whole body, and says on the way how much of it has come.
    pub(crate) async fn get(&self, url: &str, moved: impl Fn(u64)) -> Result<Vec<u8>, FetchError> {
        let mut response = self.0.get(url).send().await.map_err(|error| broken_async(&error))?;
        check(response.status(), response.headers())?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| broken_async(&error))? {
            body.extend_from_slice(&chunk);
            moved(body.len() as u64);
        }
        Ok(body)
    }
}

const USER_AGENT: &str = concat!("raincheck/", env!("CARGO_PKG_VERSION"));

fn check(status: StatusCode, headers: &HeaderMap) -> Result<(), FetchError> {
    match status {
        StatusCode::NOT_FOUND => Err(FetchError::NotFound),
        status if status.is_success() => Ok(()),
        status => Err(FetchError::Status {
            code: status.as_u16(),
            reason: status.canonical_reason().unwrap_or("no known status").into(),
            retry_after: retry_after(headers),
        }),
    }
}

/// How long the server asks to be left alone, where it says so in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn broken_blocking(error: ureq::Error) -> FetchError {
    match error {
        ureq::Error::Timeout(_) => FetchError::TimedOut,
        error => FetchError::Broken(error.to_string()),
    }
}

fn broken_async(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        return FetchError::TimedOut;
    }
    // The outermost says only that the request failed, and for which URL; the innermost says why.
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    FetchError::Broken(cause.to_string())
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::Status { code, reason, .. } => write!(f, "{code} {reason}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}
