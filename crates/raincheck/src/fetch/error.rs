//! Why there is no response, or no file.

use std::{fmt, io, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::payload::Unreadable;

/// Why something could not be fetched.
///
/// It can be cloned, compared and written down by serde, so what the system or a peer said is kept as text. No password
/// and no credential of any kind is ever part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FetchError {
    /// The URL cannot be fetched: it does not parse, has no host, or is of another scheme than `http` and `https`.
    InvalidUrl {
        /// The URL as it was given, without a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The request or the client's settings cannot be used as they are: a header with a line break, a certificate file
    /// that does not parse.
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// The host's name has no address.
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// The host is there, and nobody listens at the port.
    Refused {
        /// The host and port.
        address: String,
    },
    /// No connection could be made for another reason: no route, no free local port, too many open files.
    Unreachable {
        /// The host and port.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// No secure connection: the certificate is not trusted or not the host's, or both sides have no way in common.
    Tls {
        /// The host.
        host: String,
        /// What was wrong.
        reason: String,
    },
    /// The proxy could not be reached, or refused.
    Proxy {
        /// The proxy, without its password.
        proxy: String,
        /// What was wrong.
        reason: String,
    },
    /// A time limit ran out.
    TimedOut {
        /// Which one.
        what: TimeLimit,
        /// How long it was.
        limit: Duration,
    },
    /// The server answered with a status that is no success.
    Status {
        /// The status.
        code: u16,
        /// How long the server asked to be left alone, by `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The server sent the request on, and on, and on.
    TooManyRedirects {
        /// How many were allowed.
        limit: usize,
    },
    /// The server sent the request on to where it cannot follow: another scheme, or no URL at all.
    InvalidRedirect {
        /// Where to, without a password.
        location: String,
        /// Why not.
        reason: String,
    },
    /// The connection was lost before there was a response.
    Reset {
        /// What the system said.
        reason: String,
    },
    /// The body ended before its end.
    CutOff {
        /// How many bytes came.
        got: u64,
        /// How many should have, where the server said so.
        of: Option<u64>,
    },
    /// The body is larger than allowed.
    TooLarge {
        /// How many bytes were allowed.
        limit: u64,
    },
    /// What came is no HTTP.
    Protocol {
        /// What was wrong with it.
        reason: String,
    },
    /// The body is not what its encoding (gzip, say), its character set or its format (JSON) says.
    Decoding {
        /// What was wrong with it.
        reason: String,
    },
    /// The file is whole, and not the one that was wanted.
    Checksum {
        /// The checksum that was asked for.
        expected: String,
        /// The checksum that it has.
        found: String,
    },
    /// The file could not be written or put under its name; or a file that was to be sent could not be read.
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The site asks robots not to fetch this.
    Forbidden {
        /// Where it says so: `robots.txt`, `X-Robots-Tag`.
        by: String,
    },
}

/// A time limit that ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TimeLimit {
    /// Of making a connection: looking up the name, TCP, the proxy, TLS.
    Connect,
    /// Of silence: between the request and the first byte, and from one piece to the next.
    Idle,
    /// Of all of it.
    Total,
}

impl FetchError {
    /// The kind of error, as reports and counts name it. These names do not change.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InvalidUrl { .. } => "invalid-url",
            Self::Invalid { .. } => "invalid",
            Self::Unresolved { .. } => "unresolved",
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Tls { .. } => "tls",
            Self::Proxy { .. } => "proxy",
            Self::TimedOut { what: TimeLimit::Connect, .. } => "connect-timeout",
            Self::TimedOut { what: TimeLimit::Idle, .. } => "idle-timeout",
            Self::TimedOut { what: TimeLimit::Total, .. } => "timeout",
            Self::Status { .. } => "status",
            Self::TooManyRedirects { .. } => "too-many-redirects",
            Self::InvalidRedirect { .. } => "invalid-redirect",
            Self::Reset { .. } => "reset",
            Self::CutOff { .. } => "cut-off",
            Self::TooLarge { .. } => "too-large",
            Self::Protocol { .. } => "protocol",
            Self::Decoding { .. } => "decoding",
            Self::Checksum { .. } => "checksum",
            Self::File { .. } => "file",
            Self::Forbidden { .. } => "forbidden",
        }
    }

    pub(crate) fn invalid(reason: impl fmt::Display) -> Self {
        Self::Invalid { reason: reason.to_string() }
    }

    /// What hyper says went wrong before there was a response.
    pub(super) fn before_response(error: &hyper::Error) -> Self {
        if let Some(unreadable) = cause::<Unreadable>(error) {
            return unreadable.into();
        }
        let reason = whole(error);
        if let Some(io) = cause::<io::Error>(error) {
            return match io.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::Protocol { reason },
                _ => Self::Reset { reason: io.to_string() },
            };
        }
        if error.is_incomplete_message() {
            return Self::Reset { reason: "closed before a response".into() };
        }
        if error.is_closed() || error.is_canceled() || cause::<h2::Error>(error).is_some_and(is_loss) {
            return Self::Reset { reason };
        }
        Self::Protocol { reason }
    }

    /// What hyper says went wrong in the middle of a body.
    pub(super) fn in_body(error: &hyper::Error, got: u64, of: Option<u64>) -> Self {
        let lost = match (cause::<io::Error>(error), cause::<h2::Error>(error)) {
            (_, Some(h2)) => is_loss(h2),
            (Some(io), None) => !matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput),
            (None, None) => error.is_incomplete_message() || error.is_closed() || error.is_canceled(),
        };
        if lost { Self::CutOff { got, of } } else { Self::Protocol { reason: whole(error) } }
    }
}

/// Whether the server says that it has done nothing about a request.
pub(super) fn is_refused(error: &hyper::Error) -> bool {
    cause::<h2::Error>(error).is_some_and(|error| {
        let reason = error.reason();
        // A server that goes away says how far it got, and only requests behind that have this error. Of one that has
        // had too much from us nothing is asked again at once.
        error.is_remote()
            && (error.is_go_away() && reason != Some(h2::Reason::ENHANCE_YOUR_CALM)
                || error.is_reset() && reason == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// Whether this is how a server ends what it had to end, and not a mistake of its own or ours.
fn is_loss(error: &h2::Error) -> bool {
    error.is_io()
        || error.is_go_away()
        || matches!(
            error.reason(),
            Some(h2::Reason::NO_ERROR | h2::Reason::CANCEL | h2::Reason::REFUSED_STREAM | h2::Reason::INTERNAL_ERROR)
        )
}

/// The error of this type at the bottom of `error`.
fn cause<E: std::error::Error + 'static>(error: &hyper::Error) -> Option<&E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// The error with all its causes, of which hyper tells but the first.
fn whole(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error).skip(1) {
        text.push_str(": ");
        text.push_str(&cause.to_string());
    }
    text
}

fn causes<'a>(error: &'a hyper::Error) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidUrl { url, reason } => write!(f, "`{url}` cannot be fetched: {reason}"),
            Self::Invalid { reason } => f.write_str(reason),
            Self::Unresolved { host, reason } => write!(f, "no address for `{host}`: {reason}"),
            Self::Refused { address } => write!(f, "connection refused by {address}"),
            Self::Unreachable { address, reason } => write!(f, "no connection to {address}: {reason}"),
            Self::Tls { host, reason } => write!(f, "no secure connection to `{host}`: {reason}"),
            Self::Proxy { proxy, reason } => write!(f, "proxy {proxy}: {reason}"),
            Self::TimedOut { what: TimeLimit::Connect, limit } => write!(f, "no connection within {limit:?}"),
            Self::TimedOut { what: TimeLimit::Idle, limit } => write!(f, "nothing came for {limit:?}"),
            Self::TimedOut { what: TimeLimit::Total, limit } => write!(f, "not done within {limit:?}"),
            Self::Status { code, retry_after: None } => write!(f, "the server answered {}", Code(*code)),
            Self::Status { code, retry_after: Some(wait) } => {
                write!(f, "the server answered {}, and to come again in {wait:?}", Code(*code))
            }
            Self::TooManyRedirects { limit } => write!(f, "redirected more than {limit} times"),
            Self::InvalidRedirect { location, reason } => write!(f, "redirected to `{location}`: {reason}"),
            Self::Reset { reason } => write!(f, "connection lost: {reason}"),
            Self::CutOff { got, of: Some(of) } => write!(f, "cut off after {got} of {of} bytes"),
            Self::CutOff { got, of: None } => write!(f, "cut off after {got} bytes"),
            Self::TooLarge { limit } => write!(f, "larger than {limit} bytes"),
            Self::Protocol { reason } => write!(f, "no proper HTTP: {reason}"),
            Self::Decoding { reason } => write!(f, "does not decode: {reason}"),
            Self::Checksum { expected, found } => write!(f, "checksum is {found}, not {expected}"),
            Self::File { path, reason } => write!(f, "`{}`: {reason}", path.display()),
            Self::Forbidden { by } => write!(f, "not for robots, says {by}"),
        }
    }
}

impl std::error::Error for FetchError {}

/// A status with its name: `404 Not Found`.
struct Code(u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match http::StatusCode::from_u16(self.0) {
            Ok(status) => fmt::Display::fmt(&status, f),
            Err(_) => fmt::Display::fmt(&self.0, f),
        }
    }
}
