//! A body on its way: at its own pace, and not always to its end.

use std::fs::File;
use std::future;
use std::io::{self, Read, Seek, SeekFrom};
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::time::Instant;

/// How many bytes are read, and sent, at a time. A file no longer than this is read whole.
pub(super) const CHUNK: u64 = 64 * 1024;

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Where a body comes from.
#[derive(Debug)]
pub(super) enum Data {
    Memory(Bytes),
    File(Arc<File>),
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With its last byte.
    Complete,
    /// Before that, and with the connection.
    Cut,
    /// Never: nothing more comes, until the client loses patience.
    Stall,
}

pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn text(text: String) -> Body {
    Full::from(text).map_err(|never| match never {}).boxed_unsync()
}

/// Sends these bytes of the data, and then ends as told.
///
/// With a `pace`, in bytes a second, no byte is sent before its time.
pub(super) fn paced(data: Data, bytes: Range<u64>, pace: Option<NonZeroU64>, ending: Ending) -> Body {
    let sending = Sending { data, bytes, pace, sent: 0, started: Instant::now(), ending };
    StreamBody::new(stream::unfold(sending, Sending::next)).boxed_unsync()
}

struct Sending {
    data: Data,
    /// What is still to be sent.
    bytes: Range<u64>,
    pace: Option<NonZeroU64>,
    sent: u64,
    started: Instant,
    ending: Ending,
}

impl Sending {
    async fn next(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        if self.bytes.is_empty() {
            return self.end().await;
        }
        let length = self.wait_for_turn().await;
        let chunk = match self.read(length).await {
            Ok(chunk) => chunk,
            // The length is promised already, so closing the connection is all that is left to say.
            Err(error) => return self.fail(error),
        };
        self.bytes.start += chunk.len() as u64;
        self.sent += chunk.len() as u64;
        Some((Ok(Frame::data(chunk)), self))
    }

    async fn end(self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        match self.ending {
            Ending::Complete => None,
            Ending::Stall => future::pending().await,
            Ending::Cut => {
                // Gives the connection a moment to send what it holds; an error makes it drop all that.
                tokio::task::yield_now().await;
                self.fail(io::Error::other("cut off on purpose"))
            }
        }
    }

    fn fail(mut self, error: io::Error) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        self.bytes = 0..0;
        self.ending = Ending::Complete;
        Some((Err(error), self))
    }

    /// Waits until the pace allows the next bytes, and returns how many.
    async fn wait_for_turn(&self) -> u64 {
        let left = (self.bytes.end - self.bytes.start).min(CHUNK);
        let Some(pace) = self.pace else { return left };
        // Ten portions a second look steady to a client, and cost little.
        let portion = (pace.get() / 10).max(1).min(left);
        let due = (self.sent + portion) as f64 / pace.get() as f64;
        tokio::time::sleep_until(self.started + Duration::from_secs_f64(due)).await;
        portion
    }

    async fn read(&mut self, length: u64) -> io::Result<Bytes> {
        let start = self.bytes.start;
        match &self.data {
            Data::Memory(bytes) => Ok(bytes.slice(start as usize..(start + length) as usize)),
            Data::File(file) => {
                let file = Arc::clone(file);
                tokio::task::spawn_blocking(move || read_at(&file, start, length)).await?
            }
        }
    }
}

fn read_at(mut file: &File, start: u64, length: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes.into())
}
