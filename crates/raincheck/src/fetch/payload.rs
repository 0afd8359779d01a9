//! What is sent with a request: bytes from memory and from files, as often as it takes.
//!
//! A request may have to be sent again, after a redirect or over another connection, so a payload says where its bytes
//! are, and each sending reads them anew.

use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

mod multipart;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use serde::{Deserialize, Serialize};

pub use self::multipart::{Multipart, Part};
use super::FetchError;

/// So much of a file is read at a time.
const READ_AT_ONCE: usize = 64 << 10;

/// What is sent with a [`Request`](super::Request).
///
/// It is made from bytes or text, by [`Payload::json`], [`Payload::form`], [`Payload::file`], or from a [`Multipart`]. A
/// file is read while it is sent, and never whole into memory; where the request has to be sent again, it is read again.
///
/// # Examples
///
/// ```
/// # use std::{io::{Read, Write}, net::TcpListener};
/// # let server = TcpListener::bind("127.0.0.1:0")?;
/// # let url = format!("http://{}/", server.local_addr()?);
/// # std::thread::spawn(move || for stream in server.incoming() {
/// #     let mut stream = stream.unwrap();
/// #     stream.read(&mut [0; 10_000]).unwrap();
/// #     stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
/// # });
/// use raincheck::fetch::{Client, Payload};
///
/// let client = Client::builder().build()?;
/// client.post_blocking(&url, "plain text")?.error_for_status()?;
/// client.post_blocking(&url, Payload::json(&["drizzle", "hail"])?)?.error_for_status()?;
/// client.post_blocking(&url, Payload::form(&[("day", "today")]))?.error_for_status()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Payload {
    content_type: Option<String>,
    pieces: Vec<Piece>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Piece {
    Bytes(Bytes),
    File(PathBuf),
}

impl Payload {
    /// This value as JSON.
    ///
    /// # Errors
    ///
    /// [`FetchError::Invalid`] if it cannot be written as JSON, such as a map whose keys are no texts.
    pub fn json(value: &impl Serialize) -> Result<Self, FetchError> {
        let json = serde_json::to_vec(value).map_err(|error| FetchError::invalid(format_args!("no JSON: {error}")))?;
        Ok(Self::from(json).of_type("application/json"))
    }

    /// Names and values as a form sends them.
    pub fn form(fields: &[(&str, &str)]) -> Self {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Self::from(form).of_type("application/x-www-form-urlencoded")
    }

    /// What will be in this file when the request is sent. Whether it can be read turns out then.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self { content_type: None, pieces: vec![Piece::File(path.as_ref().to_owned())] }
    }

    fn of_type(self, content_type: &str) -> Self {
        Self { content_type: Some(content_type.to_owned()), ..self }
    }

    /// What it is, unless the request says otherwise.
    pub(super) fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The payload, ready to be sent once.
    pub(super) fn open(&self) -> Result<Sending, FetchError> {
        let pieces = self.pieces.iter().map(Opened::of).collect::<Result<VecDeque<_>, _>>()?;
        let left = pieces.iter().map(Opened::left).sum();
        Ok(Sending((left > 0).then(|| Box::new(Open { pieces, left, moved: Arc::default() }))))
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self { content_type: None, pieces: vec![Piece::Bytes(bytes)] }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from(bytes).into()
    }
}

/// Without what is sent.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.pieces).finish()
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::File(path) => path.fmt(f),
        }
    }
}

/// A payload on its way, if there is anything to send. Small, since requests go through many hands.
pub(super) struct Sending(Option<Box<Open>>);

struct Open {
    pieces: VecDeque<Opened>,
    left: u64,
    /// Set whenever something of it has gone.
    moved: Arc<AtomicBool>,
}

enum Opened {
    Bytes(Bytes),
    File { file: File, path: PathBuf, left: u64 },
}

impl Sending {
    /// Nothing, as most requests have it.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// How many bytes there are.
    pub(super) fn length(&self) -> u64 {
        self.0.as_ref().map_or(0, |open| open.left)
    }

    /// What tells that something has gone since it was last asked. A server that takes a long payload is silent.
    pub(super) fn moved(&self) -> Option<Arc<AtomicBool>> {
        self.0.as_ref().map(|open| Arc::clone(&open.moved))
    }
}

impl Open {
    fn next(&mut self) -> Option<Result<Bytes, Unreadable>> {
        while self.pieces.front()?.left() == 0 {
            self.pieces.pop_front();
        }
        let bytes = self.pieces.front_mut()?.read();
        if let Ok(bytes) = &bytes {
            self.left -= bytes.len() as u64;
        }
        Some(bytes)
    }
}

impl Opened {
    fn of(piece: &Piece) -> Result<Self, FetchError> {
        let path = match piece {
            Piece::Bytes(bytes) => return Ok(Self::Bytes(bytes.clone())),
            Piece::File(path) => path.clone(),
        };
        let failed = |reason: String| FetchError::File { path: path.clone(), reason };
        // Opening a pipe would wait for its other end.
        let kind = path.metadata().map_err(|error| failed(error.to_string()))?;
        if !kind.is_file() {
            return Err(failed("it is no regular file, so nobody knows how much there is to send".into()));
        }
        let file = File::open(&path).map_err(|error| failed(error.to_string()))?;
        let left = file.metadata().map_err(|error| failed(error.to_string()))?.len();
        Ok(Self::File { file, path, left })
    }

    fn left(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { left, .. } => *left,
        }
    }

    /// All of what is in memory; of a file, its next bytes, and never more than it had when it was opened.
    fn read(&mut self) -> Result<Bytes, Unreadable> {
        let (file, path, left) = match self {
            Self::Bytes(bytes) => return Ok(std::mem::take(bytes)),
            Self::File { file, path, left } => (file, path, left),
        };
        let mut bytes = Vec::new();
        let unreadable = |reason: String| Unreadable { path: path.clone(), reason };
        let most = (*left).min(READ_AT_ONCE as u64);
        let read = file.take(most).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
        if read == 0 {
            return Err(unreadable("it became shorter while it was sent".into()));
        }
        *left -= read as u64;
        Ok(bytes.into())
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Unreadable;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Unreadable>>> {
        let Some(open) = &mut self.0 else { return Poll::Ready(None) };
        open.moved.store(true, Ordering::Relaxed);
        Poll::Ready(open.next().map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}

/// A file that was to be sent, and failed when a part of it had been.
#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    path: PathBuf,
    reason: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for Unreadable {}

impl From<&Unreadable> for FetchError {
    fn from(unreadable: &Unreadable) -> Self {
        Self::File { path: unreadable.path.clone(), reason: unreadable.reason.clone() }
    }
}
