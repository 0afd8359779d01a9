//! Making a connection: name, TCP, and what lies between.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{
    FetchError, Proxy, TimeLimit, Timings,
    client::Settings,
    connection::Limits,
    names::Names,
    route::Route,
    tls::{self, Tls},
};

/// How long the next address waits for the one before it, as RFC 8305 advises.
const HEAD_START: Duration = Duration::from_millis(250);

/// The bytes of a connection, whatever they go through.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<Stream>>),
}

impl Stream {
    /// Whether both sides agreed on HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => tls::is_http2(stream),
        }
    }
}

/// A connection along `route`, in time.
pub(super) async fn stream(
    settings: &Settings,
    tls: &Tls,
    route: Route<'_>,
    limits: Limits,
    timings: &mut Timings,
) -> Result<Stream, FetchError> {
    let connect = limits.connect.map(|limit| (Instant::now() + limit, limit, TimeLimit::Connect));
    let total = limits.total.map(|(until, limit)| (until, limit, TimeLimit::Total));
    let made = async {
        let mut stream = match route.proxy {
            None => Stream::Plain(tcp(&settings.names, route.host, route.port, timings).await?),
            Some(proxy) => through(proxy, settings, route, timings).await?,
        };
        if route.secure {
            let began = Instant::now();
            stream = Stream::Tls(Box::new(tls.secure(route.host, stream).await?));
            timings.tls = Some(began.elapsed());
        }
        Ok(stream)
    };
    match connect.into_iter().chain(total).min_by_key(|(until, ..)| *until) {
        None => made.await,
        Some((until, limit, what)) => {
            tokio::time::timeout_at(until.into(), made).await.unwrap_or(Err(FetchError::TimedOut { what, limit }))
        }
    }
}

/// A connection that `proxy` has made along `route`.
async fn through(
    proxy: &Proxy,
    settings: &Settings,
    route: Route<'_>,
    timings: &mut Timings,
) -> Result<Stream, FetchError> {
    let began = Instant::now();
    let stream = tcp(&settings.names, &proxy.host, proxy.port, timings).await.map_err(|error| proxy.failed(error))?;
    let mut stream = Stream::Plain(stream);
    if proxy.is_secure() {
        let secured = settings.proxy_tls.secure(&proxy.host, stream).await.map_err(|error| proxy.failed(error))?;
        stream = Stream::Tls(Box::new(secured));
    }
    proxy.open(&mut stream, route, &settings.names).await?;
    timings.connect = Some(began.elapsed() - timings.resolve.unwrap_or_default());
    Ok(stream)
}

/// A TCP connection to a host of a URL.
async fn tcp(names: &Names, host: &str, port: u16, timings: &mut Timings) -> Result<TcpStream, FetchError> {
    let began = Instant::now();
    let addresses = names.resolve(host, port).await?;
    let resolved = Instant::now();
    timings.resolve = Some(resolved - began);
    let stream = any(&addresses).await.map_err(|error| not_connected(host, port, &error))?;
    timings.connect = Some(resolved.elapsed());
    // Small requests must not wait for the answer to the one before them. A socket that cannot is still of use.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// A connection to the first that answers; each is tried when all before it have failed, or have had their head start.
async fn any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    if let [only] = addresses {
        return TcpStream::connect(*only).await;
    }
    let mut untried = addresses.iter();
    let mut attempts = Vec::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match untried.next() {
            Some(address) => attempts.push(Box::pin(TcpStream::connect(*address))),
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        let tried = if untried.len() == 0 {
            first(&mut attempts).await
        } else {
            match tokio::time::timeout(HEAD_START, first(&mut attempts)).await {
                Ok(tried) => tried,
                Err(_) => continue,
            }
        };
        match tried {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
}

/// What comes first of those, of which it is taken out.
async fn first<F: Future + Unpin>(attempts: &mut Vec<F>) -> F::Output {
    poll_fn(|cx| {
        for at in 0..attempts.len() {
            if let Poll::Ready(output) = Pin::new(&mut attempts[at]).poll(cx) {
                drop(attempts.swap_remove(at));
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    })
    .await
}

fn not_connected(host: &str, port: u16, error: &io::Error) -> FetchError {
    let address = format!("{host}:{port}");
    if error.kind() == io::ErrorKind::ConnectionRefused {
        return FetchError::Refused { address };
    }
    FetchError::Unreachable { address, reason: error.to_string() }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
