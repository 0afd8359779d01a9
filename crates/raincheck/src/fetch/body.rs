//! The bytes of a response: all that were announced, not more than allowed, none of them waited for without end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

mod decoder;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};

use self::decoder::Step;
pub(super) use self::decoder::{ACCEPTED, Decoder};
use super::{
    FetchError,
    connection::{Http1, Watch},
    pool::{Connections, Stream},
};

/// A body as it comes. Dropping it before its end closes the connection.
pub(super) struct Body {
    decoder: Option<Box<Decoder>>,
    source: Source,
    got: u64,
    decoded: u64,
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
    Http2 {
        incoming: Incoming,
        watch: Watch,
        _stream: Stream,
    },
}

impl Body {
    /// The body that comes over a connection of its own.
    pub(super) fn http1(incoming: Incoming, http1: Box<Http1>, connections: &Connections, cap: u64) -> Self {
        let of = incoming.size_hint().exact();
        Self::new(Source::Http1 { incoming, http1, connections: connections.clone() }, of, cap)
    }

    /// The body that comes over a connection which others use too.
    pub(super) fn http2(incoming: Incoming, stream: Stream, watch: Watch, cap: u64) -> Self {
        let of = incoming.size_hint().exact();
        Self::new(Source::Http2 { incoming, watch, _stream: stream }, of, cap)
    }

    fn new(source: Source, of: Option<u64>, cap: u64) -> Self {
        let mut body = Self { decoder: None, source, got: 0, decoded: 0, of, cap };
        body.notice_end();
        body
    }

    /// Gives it decompressed from now on.
    pub(super) fn decode(&mut self, decoder: Decoder) {
        self.decoder = Some(Box::new(decoder));
    }

    /// How many bytes it has, where known.
    pub(super) fn length(&self) -> Option<u64> {
        if self.decoder.is_some() { None } else { self.of }
    }

    /// Whether it says itself that it is larger than allowed.
    pub(super) fn is_too_large(&self) -> bool {
        self.of.is_some_and(|of| of > self.cap)
    }

    /// Its next piece, never empty.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, FetchError>> {
        if self.decoder.is_some() {
            return self.poll_decoded(cx);
        }
        let piece = ready!(self.poll_piece(cx))?;
        if self.got > self.cap {
            return self.fail(FetchError::TooLarge { limit: self.cap });
        }
        Poll::Ready(Ok(piece))
    }

    fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, FetchError>> {
        while let Some(decoder) = &mut self.decoder {
            match decoder.step() {
                Ok(Step::Piece(piece)) => {
                    self.decoded += piece.len() as u64;
                    if self.decoded > self.cap {
                        return self.fail(FetchError::TooLarge { limit: self.cap });
                    }
                    return Poll::Ready(Ok(Some(piece)));
                }
                Ok(Step::End) => break,
                Ok(Step::NeedsMore) => {}
                Err(error) => return self.fail(error),
            }
            match ready!(self.poll_piece(cx))? {
                Some(piece) => {
                    if let Some(Err(error)) = self.decoder.as_mut().map(|decoder| decoder.feed(piece)) {
                        return self.fail(error);
                    }
                }
                None => self.decoder.iter_mut().for_each(|decoder| decoder.end()),
            }
        }
        // What stands behind the end of what was compressed is no part of it, but the connection is past it only now.
        while ready!(self.poll_piece(cx))?.is_some() {
            if self.got > self.cap {
                return self.fail(FetchError::TooLarge { limit: self.cap });
            }
        }
        Poll::Ready(Ok(None))
    }

    /// The next piece as it was sent.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, FetchError>> {
        if self.decoder.is_none() && self.of.is_some_and(|of| of > self.cap) {
            return self.fail(FetchError::TooLarge { limit: self.cap });
        }
        loop {
            let (frame, watch) = match &mut self.source {
                Source::Done => return Poll::Ready(Ok(None)),
                Source::Http1 { incoming, http1, .. } => (http1.poll_frame(incoming, cx), &mut http1.watch),
                Source::Http2 { incoming, watch, .. } => (Pin::new(incoming).poll_frame(cx), watch),
            };
            let Poll::Ready(frame) = frame else {
                return match watch.poll(cx) {
                    Poll::Ready(error) => self.fail(error),
                    Poll::Pending => Poll::Pending,
                };
            };
            watch.stir();
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
            Source::Http1 { incoming, .. } | Source::Http2 { incoming, .. } => incoming.is_end_stream(),
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
        self.decoder = None;
        self.of = None;
        Poll::Ready(Err(error))
    }
}
