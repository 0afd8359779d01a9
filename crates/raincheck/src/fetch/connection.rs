//! One open connection, and the watch over how long it is silent.
//!
//! An HTTP/1 connection is driven by the task that waits for its response: there is no other that would have to be woken.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Sleep;

use super::{
    FetchError, TimeLimit,
    connect::Stream,
    error::is_refused,
    payload::Sending,
    pool::{self, Connections, Place},
    route::OwnedRoute,
};

/// How much of one body may be on its way or wait to be read: 2 MiB are 40 MB/s at 50 ms.
const STREAM_WINDOW: u32 = 2 << 20;

/// As much for all streams that a connection has, so that a reader that pauses holds up no other.
const CONNECTION_WINDOW: u32 = 256 << 20;

/// What HTTP/1 headers may have, more or less.
const HEADERS_AT_MOST: u32 = 256 << 10;

/// A connection that nothing comes from for this long is asked whether it lives, and given as long to say so.
const PING_AFTER: Duration = Duration::from_secs(15);

/// An HTTP/1 connection. Dropping it closes it.
pub(super) struct Http1 {
    sender: http1::SendRequest<Sending>,
    connection: http1::Connection<TokioIo<Stream>, Sending>,
    ended: bool,
    pub(super) watch: Watch,
    pub(super) route: OwnedRoute,
    pub(super) idle_since: Instant,
    // Last, so that the connection is closed before its place is passed on.
    place: Place,
}

/// Why there is no response.
pub(super) struct Failed {
    pub(super) error: FetchError,
    pub(super) request: Fate,
}

/// What has become of a request that has no response.
pub(super) enum Fate {
    /// The server says that it has done nothing about it.
    Refused,
    /// Nothing of it was sent.
    Unsent,
    /// It was sent, and nothing came back.
    Unknown,
    /// Something came back, or did not come in time.
    Failed,
}

impl Http1 {
    pub(super) async fn new(stream: Stream, route: OwnedRoute, place: Place) -> Result<Box<Self>, FetchError> {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| FetchError::before_response(&error))?;
        Ok(Box::new(Self {
            sender,
            connection,
            ended: false,
            watch: Watch::new(Limits::default()),
            route,
            idle_since: Instant::now(),
            place,
        }))
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(
        &mut self,
        request: http::Request<Sending>,
        limits: Limits,
        now: Instant,
    ) -> Result<http::Response<Incoming>, Failed> {
        let moved = request.body().moved();
        let mut response = pin!(self.sender.try_send_request(request));
        self.watch.start(limits, moved, now);
        poll_fn(|cx| {
            if !self.ended {
                self.ended = Pin::new(&mut self.connection).poll(cx).is_ready();
            }
            // Only the connection, which this task drives, can make it ready, so nobody has to be woken for it.
            match response.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(response) => {
                    self.watch.stir();
                    Poll::Ready(response.map_err(Failed::from))
                }
                Poll::Pending if self.ended => Poll::Ready(Err(Failed::closed())),
                Poll::Pending => self.watch.poll(cx).map(|error| Err(Failed::of(error))),
            }
        })
        .await
    }

    /// The next frame of the body, where this connection is what it comes from.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let mut nobody = Context::from_waker(Waker::noop());
        if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(&mut nobody) {
            return Poll::Ready(frame);
        }
        if !self.ended {
            self.ended = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
        Pin::new(body).poll_frame(&mut nobody)
    }

    /// Whether another request can be sent. To be asked when a response is through.
    pub(super) fn is_reusable(&mut self) -> bool {
        // Also if it has seen the end of the response already: what it wakes when the next request is sent is nobody then, and not
        // the task that was the last to drive it.
        if !self.ended {
            self.ended = Pin::new(&mut self.connection).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        }
        !self.ended && self.sender.is_ready()
    }

    /// Closes it.
    pub(super) fn into_place(self) -> Place {
        self.place
    }
}

impl Failed {
    pub(super) fn of(error: FetchError) -> Self {
        Self { error, request: Fate::Failed }
    }

    fn closed() -> Self {
        Self { error: FetchError::Reset { reason: "closed before a response".into() }, request: Fate::Unknown }
    }

    /// Whether the request can be sent again without being done twice.
    pub(super) fn can_repeat(&self, method: &Method) -> bool {
        match self.request {
            Fate::Refused | Fate::Unsent => true,
            Fate::Unknown => method.is_idempotent(),
            Fate::Failed => false,
        }
    }
}

impl From<TrySendError<http::Request<Sending>>> for Failed {
    fn from(failed: TrySendError<http::Request<Sending>>) -> Self {
        let error = FetchError::before_response(failed.error());
        let request = if is_refused(failed.error()) {
            Fate::Refused
        } else if failed.message().is_some() {
            Fate::Unsent
        } else if matches!(error, FetchError::Reset { .. }) {
            Fate::Unknown
        } else {
            Fate::Failed
        };
        Self { error, request }
    }
}

/// Makes a connection that many requests can share, with a task that drives it.
pub(super) async fn http2(
    stream: Stream,
    route: OwnedRoute,
    place: Place,
    connections: &Connections,
) -> Result<pool::Stream, FetchError> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADERS_AT_MOST)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_AFTER)
        .handshake(Placed { io: TokioIo::new(stream), _place: place })
        .await
        .map_err(|error| FetchError::before_response(&error))?;
    let driver = tokio::spawn(async move {
        // Those who have requests on it hear of its end by these.
        let _ = connection.await;
    });
    Ok(connections.share(route, sender, driver.abort_handle()))
}

/// A connection with its place, which is passed on when it is closed. A server that goes away takes no more requests,
/// and still answers those that it has: the connection is open longer than it is shared.
struct Placed {
    io: TokioIo<Stream>,
    // Last, so that the connection is closed before.
    _place: Place,
}

impl Read for Placed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, to)
    }
}

impl Write for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }
}

/// Sends a request over a shared connection and waits for the head of its response.
pub(super) async fn send_http2(
    stream: &mut pool::Stream,
    request: http::Request<Sending>,
    watch: &mut Watch,
) -> Result<http::Response<Incoming>, Failed> {
    watch.moved = request.body().moved();
    let mut response = pin!(stream.sender.try_send_request(request));
    poll_fn(|cx| match response.as_mut().poll(cx) {
        Poll::Ready(response) => {
            watch.stir();
            Poll::Ready(response.map_err(Failed::from))
        }
        Poll::Pending => watch.poll(cx).map(|error| Err(Failed::of(error))),
    })
    .await
}

/// How long what leads to a response may take, and the response.
#[derive(Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) connect: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) total: Option<(Instant, Duration)>,
}

/// Ends what is silent for too long, or takes too long altogether.
///
/// One timer serves all requests of a connection: it is set anew when it goes off, and not whenever something comes.
pub(super) struct Watch {
    timer: Option<Pin<Box<Sleep>>>,
    limits: Limits,
    quiet_since: Option<Instant>,
    /// Whether something of the request has gone meanwhile.
    moved: Option<Arc<AtomicBool>>,
}

impl Watch {
    pub(super) fn new(limits: Limits) -> Self {
        Self { timer: None, limits, quiet_since: None, moved: None }
    }

    /// Starts over, for another request.
    fn start(&mut self, limits: Limits, moved: Option<Arc<AtomicBool>>, now: Instant) {
        self.limits = limits;
        self.moved = moved;
        self.quiet_since = Some(now);
    }

    /// Something came.
    pub(super) fn stir(&mut self) {
        self.quiet_since = None;
    }

    /// Ready when a limit has run out. To be asked when there is nothing else to do.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<FetchError> {
        if self.moved.as_ref().is_some_and(|moved| moved.swap(false, Ordering::Relaxed)) {
            self.stir();
        }
        let idle = match self.limits.idle {
            Some(idle) => {
                let since = *self.quiet_since.get_or_insert_with(Instant::now);
                Some((since + idle, idle, TimeLimit::Idle))
            }
            None => None,
        };
        let total = self.limits.total.map(|(until, total)| (until, total, TimeLimit::Total));
        let Some((until, limit, what)) = idle.into_iter().chain(total).min_by_key(|(until, ..)| *until) else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until.into())));
        if timer.deadline() > until.into() {
            timer.as_mut().reset(until.into());
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(FetchError::TimedOut { what, limit });
            }
            timer.as_mut().reset(until.into());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_takes_a_long_payload_is_not_silent() {
        let idle = Duration::from_secs(10);
        let moved = Arc::new(AtomicBool::new(true));
        let mut watch = Watch::new(Limits { idle: Some(idle), ..Limits::default() });
        watch.moved = Some(Arc::clone(&moved));
        let run = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut poll_after_20_seconds = || {
            watch.quiet_since = Instant::now().checked_sub(Duration::from_secs(20));
            run.block_on(poll_fn(|cx| Poll::Ready(watch.poll(cx))))
        };

        assert!(poll_after_20_seconds().is_pending());
        assert_eq!(poll_after_20_seconds(), Poll::Ready(FetchError::TimedOut { what: TimeLimit::Idle, limit: idle }));
    }
}
