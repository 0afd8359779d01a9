//! What is wanted: a URL and how to ask for it.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Credentials, FetchError, Payload};

/// What is wanted, and how to ask for it.
///
/// What a request leaves open, the [`Client`](super::Client) decides. A request can be cloned, sent again, and written
/// down by serde; its `Debug` output shows no password.
#[derive(Clone, Serialize, Deserialize)]
pub struct Request {
    url: Url,
    #[serde(with = "as_text")]
    method: Method,
    #[serde(with = "as_pairs")]
    headers: HeaderMap,
    body: Option<Payload>,
    credentials: Option<Credentials>,
    decode: Option<bool>,
    connect: Option<Duration>,
    idle: Option<Duration>,
    total: Option<Duration>,
    largest: Option<u64>,
    unfollowed: bool,
}

impl Request {
    /// A request of this method for `url`.
    ///
    /// # Errors
    ///
    /// [`FetchError::InvalidUrl`] if it is no URL, or has no host, or another scheme than `http` and `https`.
    pub fn new(method: Method, url: &str) -> Result<Self, FetchError> {
        Ok(Self::of(method, parse(url)?))
    }

    /// The same for a URL that has been parsed.
    ///
    /// # Errors
    ///
    /// [`FetchError::InvalidUrl`] if it has no host, or another scheme than `http` and `https`.
    pub fn for_url(method: Method, url: Url) -> Result<Self, FetchError> {
        usable(&url).map_err(|reason| FetchError::InvalidUrl { url: shown(&url), reason })?;
        Ok(Self::of(method, url))
    }

    /// A GET request.
    ///
    /// # Errors
    ///
    /// As for [`Request::new`].
    pub fn get(url: &str) -> Result<Self, FetchError> {
        Self::new(Method::GET, url)
    }

    /// A HEAD request.
    ///
    /// # Errors
    ///
    /// As for [`Request::new`].
    pub fn head(url: &str) -> Result<Self, FetchError> {
        Self::new(Method::HEAD, url)
    }

    /// A POST request.
    ///
    /// # Errors
    ///
    /// As for [`Request::new`].
    pub fn post(url: &str) -> Result<Self, FetchError> {
        Self::new(Method::POST, url)
    }

    /// A PUT request.
    ///
    /// # Errors
    ///
    /// As for [`Request::new`].
    pub fn put(url: &str) -> Result<Self, FetchError> {
        Self::new(Method::PUT, url)
    }

    /// A PATCH request.
    ///
    /// # Errors
    ///
    /// As for [`Request::new`].
    pub fn patch(url: &str) -> Result<Self, FetchError> {
        Self::new(Method::PATCH, url)
    }

    /// A DELETE request.
    ///
    /// # Errors
    ///
    /// As for [`Request::new`].
    pub fn delete(url: &str) -> Result<Self, FetchError> {
        Self::new(Method::DELETE, url)
    }

    /// An OPTIONS request.
    ///
    /// # Errors
    ///
    /// As for [`Request::new`].
    pub fn options(url: &str) -> Result<Self, FetchError> {
        Self::new(Method::OPTIONS, url)
    }

    /// A request for a URL that is known to be of `http` or `https`.
    pub(crate) fn of(method: Method, url: Url) -> Self {
        Self {
            url,
            method,
            headers: HeaderMap::new(),
            body: None,
            credentials: None,
            decode: None,
            connect: None,
            idle: None,
            total: None,
            largest: None,
            unfollowed: false,
        }
    }

    /// Adds a header, beside others of that name.
    ///
    /// # Errors
    ///
    /// [`FetchError::Invalid`] if the name or the value is none, for a line break in it, say.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, FetchError> {
        let (name, value) = header_of(name, value)?;
        self.headers.append(name, value);
        Ok(self)
    }

    /// Shows these to the host of the URL, and to no other that it might redirect to. Those that stand in a URL itself
    /// (`https://user:password@host/`) need not be given.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sends `body` with the request: bytes, text, a [`Multipart`](super::Multipart), or another [`Payload`]. The header
    /// `Content-Type` is the payload's own, unless the request or the client has one.
    pub fn body(mut self, body: impl Into<Payload>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends `value` as JSON.
    ///
    /// # Errors
    ///
    /// [`FetchError::Invalid`] if it cannot be written as JSON, such as a map whose keys are no texts.
    pub fn json(self, value: &impl Serialize) -> Result<Self, FetchError> {
        Ok(self.body(Payload::json(value)?))
    }

    /// Sends names and values as a form does.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        self.body(Payload::form(fields))
    }

    /// Adds names and values to the URL, behind its `?`.
    pub fn query(mut self, fields: &[(&str, &str)]) -> Self {
        self.url.query_pairs_mut().extend_pairs(fields);
        self
    }

    /// Whether to ask for a compressed body, and to give it decompressed. Unless told, as the client says.
    pub fn decode(mut self, decode: bool) -> Self {
        self.decode = Some(decode);
        self
    }

    /// The time that all of it may take, redirects and body included.
    pub fn timeout(mut self, total: Duration) -> Self {
        self.total = Some(total);
        self
    }

    /// How long making a connection for it may take. Unless told, as the client says.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect = Some(limit);
        self
    }

    /// How long the server may be silent. Unless told, as the client says.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle = Some(limit);
        self
    }

    /// Gives a redirect as the response, instead of going where it leads.
    pub fn unfollowed(mut self) -> Self {
        self.unfollowed = true;
        self
    }

    /// How many bytes the body may have, after decompression.
    pub fn largest(mut self, bytes: u64) -> Self {
        self.largest = Some(bytes);
        self
    }

    /// Where to.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The headers that are this request's own.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn set_url(&mut self, url: Url) {
        self.url = url;
    }

    /// The same, to be changed.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    pub(super) fn own_credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(super) fn payload(&self) -> Option<&Payload> {
        self.body.as_ref()
    }

    pub(super) fn decodes(&self) -> Option<bool> {
        self.decode
    }

    /// Its own limits, in place of the client's.
    pub(super) fn connect(&self) -> Option<Duration> {
        self.connect
    }

    pub(super) fn idle(&self) -> Option<Duration> {
        self.idle
    }

    pub(super) fn follows(&self) -> bool {
        !self.unfollowed
    }

    pub(super) fn total(&self) -> Option<Duration> {
        self.total
    }

    pub(super) fn cap(&self) -> Option<u64> {
        self.largest
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &shown(&self.url))
            .field("headers", &Shown(&self.headers))
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// A URL of `http` or `https`, with a host.
pub(super) fn parse(url: &str) -> Result<Url, FetchError> {
    let invalid = |reason: String| FetchError::InvalidUrl { url: shown_text(url), reason };
    let parsed = Url::parse(url).map_err(|error| {
        // The parser's own word for what people write most, `example.org/file`, would not help them.
        invalid(if error == url::ParseError::RelativeUrlWithoutBase {
            "it does not begin with http:// or https://".into()
        } else {
            error.to_string()
        })
    })?;
    usable(&parsed).map_err(invalid)?;
    Ok(parsed)
}

/// Whether this is a URL that can be asked for.
pub(super) fn usable(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is neither http nor https", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("it names no host".into());
    }
    if url.port() == Some(0) {
        return Err("nobody listens at port 0".into());
    }
    Ok(())
}

/// The URL with its password, if it has one, made unreadable.
pub(crate) fn shown(url: &Url) -> String {
    if url.password().is_none() {
        return url.to_string();
    }
    let mut url = url.clone();
    // Only a URL without a host can have no password, and such a one has none.
    let _ = url.set_password(Some("***"));
    url.into()
}

/// The same for what may be no URL.
pub(super) fn shown_text(url: &str) -> String {
    if let Ok(url) = Url::parse(url) {
        return shown(&url);
    }
    let after_scheme = url.find("//").map_or(0, |at| at + 2);
    let authority = after_scheme + url[after_scheme..].find(['/', '?', '#', '\\']).unwrap_or(url.len() - after_scheme);
    match url[after_scheme..authority].rfind('@') {
        Some(at) => format!("{}***{}", &url[..after_scheme], &url[after_scheme + at..]),
        None => url.to_owned(),
    }
}

pub(super) fn header_of(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), FetchError> {
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| FetchError::invalid(format_args!("`{}` is no name of a header", name.escape_debug())))?;
    let mut value = HeaderValue::from_str(value.trim_matches([' ', '\t'])).map_err(|_| {
        FetchError::invalid(format_args!("the value of the header `{header}` has a character that cannot be sent"))
    })?;
    value.set_sensitive(is_secret(&header));
    Ok((header, value))
}

/// Whether what this header says lets someone in.
pub(super) fn is_secret(name: &HeaderName) -> bool {
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION].contains(name)
}

/// Headers for `Debug`, without what lets someone in.
pub(super) struct Shown<'a>(pub(super) &'a HeaderMap);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.0 {
            if is_secret(name) || *name == header::SET_COOKIE {
                map.entry(name, &"***");
            } else {
                map.entry(name, value);
            }
        }
        map.finish()
    }
}

mod as_text {
    use http::Method;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(method: &Method, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(method.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Method, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Headers as a list of names and values, since both can come twice.
mod as_pairs {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(headers: &HeaderMap, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<HeaderMap, D::Error> {
        Vec::<(String, Vec<u8>)>::deserialize(from)?
            .into_iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(D::Error::custom)?;
                let mut value = HeaderValue::from_bytes(&value).map_err(D::Error::custom)?;
                value.set_sensitive(super::is_secret(&name));
                Ok((name, value))
            })
            .collect()
    }
}
