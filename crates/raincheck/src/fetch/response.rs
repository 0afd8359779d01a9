//! What came back.

use std::{fmt, future::poll_fn, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    FetchError,
    body::Body,
    request::{Shown, shown},
};

/// What came back: a status, headers, and a body that comes in pieces.
///
/// Dropping it before the end of its body closes the connection.
pub struct Response {
    pub(super) head: http::response::Parts,
    pub(super) url: Url,
    pub(super) redirects: Vec<Redirect>,
    pub(super) timings: Timings,
    pub(super) body: Body,
}

/// One step of the way to a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// The status that sent the request on.
    pub status: u16,
    /// Where it was then sent, without a password.
    pub url: String,
}

/// How long the parts of a request took, where they took place: an open connection is not made anew.
///
/// After redirects, those of the last request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Timings {
    /// Looking up the name.
    pub resolve: Option<Duration>,
    /// Making the TCP connection, and what the proxy took.
    pub connect: Option<Duration>,
    /// Agreeing on TLS.
    pub tls: Option<Duration>,
    /// From the request to the head of its response.
    pub wait: Option<Duration>,
}

impl Response {
    /// The status of the last answer.
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The headers of the last answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The version of HTTP that was spoken.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// Where the response came from in the end.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The way there, if it was not the way that was asked for.
    pub fn redirects(&self) -> &[Redirect] {
        &self.redirects
    }

    /// What took how long.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// How many bytes the pieces will have together, where known.
    pub fn length(&self) -> Option<u64> {
        self.body.length()
    }

    /// The next piece of the body, or `None` at its end, when all of it came.
    ///
    /// # Errors
    ///
    /// - [`FetchError::CutOff`] if the connection was lost before the end.
    /// - [`FetchError::TimedOut`] if nothing came for too long, or all of it took too long.
    /// - [`FetchError::TooLarge`] if there are more bytes than allowed.
    /// - [`FetchError::Decoding`] if it does not decode, [`FetchError::Protocol`] if its framing is broken.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        poll_fn(|cx| self.body.poll_chunk(cx)).await
    }

    /// The whole body.
    ///
    /// # Errors
    ///
    /// As for [`Response::chunk`].
    pub async fn bytes(mut self) -> Result<Bytes, FetchError> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut whole = BytesMut::from(first);
        whole.extend_from_slice(&second);
        while let Some(piece) = self.chunk().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("url", &shown(&self.url))
            .field("headers", &Shown(self.headers()))
            .finish_non_exhaustive()
    }
}
