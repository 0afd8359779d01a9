//! The bytes of a response: all that were announced, not more than allowed, none of them waited for without end.

use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};

use super::{FetchError, connection::Http1, pool::Connections};

/// A body as it comes. Dropping it before its end closes the connection.
pub(super) struct Body {
    source: Source,
    got: u64,
    of: Option<u64>,
    cap: u64,
}

enum Source {
    /// It is through, and its connection is somebody else's.
    Done,
    Http1 {
        incoming: Incoming,
        http1: Box<Http1>,
        connections: Connections,
    },
}

impl Body {
    /// The body that comes over this connection.
    pub(super) fn http1(
        incoming: Incoming,
        http1: Box<Http1>,
        connections: &Connections,
        of: Option<u64>,
        cap: u64,
    ) -> Self {
        let source = Source::Http1 { incoming, http1, connections: connections.clone() };
        let mut body = Self { source, got: 0, of, cap };
        body.notice_end();
        body
    }

    /// How many bytes it has, where known.
    pub(super) fn length(&self) -> Option<u64> {
        self.of
    }

    /// Its next piece, never empty.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, FetchError>> {
        if self.of.is_some_and(|of| of > self.cap) {
            return self.fail(FetchError::TooLarge { limit: self.cap });
        }
        loop {
            let frame = match &mut self.source {
                Source::Done => return Poll::Ready(Ok(None)),
                Source::Http1 { incoming, http1, .. } => match http1.poll_frame(incoming, cx) {
                    Poll::Ready(frame) => {
                        http1.watch.stir();
                        frame
                    }
                    Poll::Pending => match http1.watch.poll(cx) {
                        Poll::Ready(error) => return self.fail(error),
                        Poll::Pending => return Poll::Pending,
                    },
                },
            };
            let piece = match frame {
                // Trailers have no reader.
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return self.fail(FetchError::in_body(&error, self.got, self.of)),
                None => {
                    self.notice_end();
                    self.source = Source::Done;
                    return Poll::Ready(Ok(None));
                }
            };
            self.got += piece.len() as u64;
            if self.got > self.cap {
                return self.fail(FetchError::TooLarge { limit: self.cap });
            }
            self.notice_end();
            if !piece.is_empty() {
                return Poll::Ready(Ok(Some(piece)));
            }
        }
    }

    /// Gives the connection back as soon as the last byte is there, so that the next request need not wait until this
    /// body's reader asks once more.
    fn notice_end(&mut self) {
        let ended = match &self.source {
            Source::Done => false,
            Source::Http1 { incoming, .. } => incoming.is_end_stream(),
        };
        if !ended {
            return;
        }
        if let Source::Http1 { mut http1, connections, .. } = std::mem::replace(&mut self.source, Source::Done)
            && http1.is_reusable()
        {
            connections.give_back(http1);
        }
    }

    /// Nothing more comes after an error.
    fn fail<T>(&mut self, error: FetchError) -> Poll<Result<T, FetchError>> {
        self.source = Source::Done;
        self.of = None;
        Poll::Ready(Err(error))
    }
}
