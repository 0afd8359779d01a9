//! What came back.

use std::{
    fmt,
    future::poll_fn,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version, header};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;

use super::{
    FetchError,
    body::Body,
    link,
    request::{Shown, shown},
    retry::retry_after,
};

/// What came back: a status, headers, and a body that comes in pieces.
///
/// Dropping it before the end of its body closes the connection.
pub struct Response(Box<Parts>);

/// What a response consists of, in a place of its own: it goes through many hands, and would be copied at each.
pub(super) struct Parts {
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
    pub(super) fn new(parts: Parts) -> Self {
        Self(Box::new(parts))
    }

    pub(super) fn parts(&mut self) -> &mut Parts {
        &mut self.0
    }

    /// The status of the last answer.
    pub fn status(&self) -> StatusCode {
        self.0.head.status
    }

    /// The headers of the last answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.head.headers
    }

    /// The version of HTTP that was spoken.
    pub fn version(&self) -> Version {
        self.0.head.version
    }

    /// Where the response came from in the end.
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// The way there, if it was not the way that was asked for.
    pub fn redirects(&self) -> &[Redirect] {
        &self.0.redirects
    }

    /// What took how long.
    pub fn timings(&self) -> Timings {
        self.0.timings
    }

    /// Where the response says that what is so related to it is, by a `Link` header: the `next` page of a list, say.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{io::{Read, Write}, net::TcpListener};
    /// # let server = TcpListener::bind("127.0.0.1:0")?;
    /// # let site = format!("http://{}", server.local_addr()?);
    /// # std::thread::spawn(move || for (stream, link) in server.incoming().zip(["Link: <?page=2>; rel=\"next\"\r\n", ""]) {
    /// #     let mut stream = stream.unwrap();
    /// #     stream.read(&mut [0; 1000]).unwrap();
    /// #     write!(stream, "HTTP/1.1 200 OK\r\n{link}Content-Length: 4\r\nConnection: close\r\n\r\nrain").unwrap();
    /// # });
    /// use raincheck::fetch::{Client, Request};
    ///
    /// let client = Client::builder().build()?;
    /// let mut pages = Vec::new();
    /// let mut page = Some(format!("{site}/list"));
    /// while let Some(url) = page.take() {
    ///     let response = client.get_blocking(&url)?.error_for_status()?;
    ///     page = response.link("next").map(String::from);
    ///     pages.push(response.text()?);
    /// }
    /// assert_eq!(pages.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn link(&self, relation: &str) -> Option<Url> {
        link::find(self.headers(), &self.0.url, relation)
    }

    /// How many bytes the pieces will have together, where known.
    pub fn length(&self) -> Option<u64> {
        self.0.body.length()
    }

    /// Whether it says itself that it is larger than allowed.
    pub(super) fn is_too_large(&self) -> bool {
        self.0.body.is_too_large()
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
        poll_fn(|cx| self.0.body.poll_chunk(cx)).await
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

    /// The whole body as text, by the character set that its `Content-Type` names, or its byte order mark; otherwise
    /// UTF-8. What is none in that set becomes `\u{fffd}`.
    ///
    /// # Errors
    ///
    /// As for [`Response::chunk`].
    pub async fn text(self) -> Result<String, FetchError> {
        let encoding = self.encoding();
        let bytes = self.bytes().await?;
        Ok(encoding.decode(&bytes).0.into_owned())
    }

    pub(super) fn encoding(&self) -> &'static encoding_rs::Encoding {
        charset(self.headers()).unwrap_or(encoding_rs::UTF_8)
    }

    /// The whole body as a value that was written as JSON.
    ///
    /// # Errors
    ///
    /// [`FetchError::Decoding`] if it is not JSON or not such a value; otherwise as for [`Response::chunk`].
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, FetchError> {
        from_json(&self.bytes().await?)
    }

    /// Itself, unless its status says that there is not what was asked for.
    ///
    /// # Errors
    ///
    /// [`FetchError::Status`] for a status of 400 and more.
    pub fn error_for_status(self) -> Result<Self, FetchError> {
        if self.status().as_u16() < 400 {
            return Ok(self);
        }
        let asked = self.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|value| retry_after(value, SystemTime::now()));
        Err(FetchError::Status { code: self.status().as_u16(), retry_after })
    }
}

pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FetchError> {
    serde_json::from_slice(bytes).map_err(|error| FetchError::Decoding { reason: error.to_string() })
}

fn charset(headers: &HeaderMap) -> Option<&'static encoding_rs::Encoding> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let parameters = content_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, label) = parameters.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    encoding_rs::Encoding::for_label(label.trim().trim_matches(['"', '\'']).as_bytes())
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("url", &shown(&self.0.url))
            .field("headers", &Shown(self.headers()))
            .finish_non_exhaustive()
    }
}
