//! An HTTP server to try clients on: slow, unreliable or strict on request, and the same way each time.
//!
//! It serves a folder or the built-in flags, over HTTP/1.1 and, to clients that begin with it, HTTP/2. Everything
//! runs on one thread, and a connection costs a few kilobytes, so that thousands at once are no burden.

mod access;
mod body;
mod conditional;
mod content;
mod fate;
mod flags;
mod limit;
mod options;

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;

use self::access::AccessLog;
use self::body::{Body, Ending};
use self::conditional::{Wanted, wanted};
pub(crate) use self::content::Content;
use self::content::Resource;
use self::fate::{Fate, Fault, fingerprint};
pub(crate) use self::flags::has_flag;
use self::limit::Limiter;
pub(crate) use self::options::{Delay, ServerOptions, Share};
use crate::error::reason;

/// A running server.
///
/// Dropping it ends it at once: open connections are closed, whatever they are about, and the address is free again.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: StopHandle,
    desk: Arc<Desk>,
    /// Runs until the server is stopped. `None` once it has been waited for.
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts serving, on a thread of its own, and returns as soon as clients can connect.
    ///
    /// # Errors
    ///
    /// Every reason why it cannot start is found here, and none later; see [`StartError`].
    pub(crate) fn start(content: Content, options: ServerOptions) -> Result<Self, StartError> {
        Self::start_logging(content, options, None)
    }

    /// The same, with a line written to `log` for each request.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub(crate) fn start_logging(
        content: Content,
        options: ServerOptions,
        log: Option<Box<dyn Write + Send>>,
    ) -> Result<Self, StartError> {
        let desk = Arc::new(Desk::new(content, options, log.map(AccessLog::new))?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(StartError::System)?;
        let listener = {
            let _inside = runtime.enter();
            listen(&desk.options)?
        };
        let address = listener.local_addr().map_err(StartError::System)?;

        let stop = StopHandle(Arc::new(Notify::new()));
        let serving = {
            let (stop, desk) = (stop.clone(), Arc::clone(&desk));
            move || {
                runtime.spawn(accept(listener, desk));
                runtime.block_on(stop.0.notified());
                // Unlike dropping it, this does not wait for a disk that does not answer.
                runtime.shutdown_background();
            }
        };
        let thread = thread::Builder::new().name("server".to_owned()).spawn(serving).map_err(StartError::System)?;
        Ok(Self { address, stop, desk, thread: Some(thread) })
    }

    /// The address that it listens on, with the port that was picked.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has happened so far.
    pub(crate) fn stats(&self) -> Stats {
        self.desk.tally.stats()
    }

    /// Returns a handle that stops this server, for a signal handler or another thread.
    pub(crate) fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Blocks until the server has been stopped by its handle, and returns what has happened in its time.
    pub(crate) fn wait(mut self) -> Stats {
        self.join();
        self.stats()
    }

    fn join(&mut self) {
        // A panic of the thread has been reported on stderr, and leaves nothing to wait for.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        self.join();
    }
}

/// Stops a [`Server`] from elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct StopHandle(Arc<Notify>);

impl StopHandle {
    /// Tells the server to stop. Does not block; [`Server::wait`] returns when it has stopped.
    pub(crate) fn stop(&self) {
        self.0.notify_one();
    }
}

/// What has happened on a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    /// Requests that came, of whatever kind.
    pub(crate) requests: u64,
    /// Those answered with an error because of `error_rate`.
    pub(crate) errors: u64,
    /// Those whose body was cut off because of `cut_rate`.
    pub(crate) cut: u64,
    /// Those whose body was left hanging because of `stall_rate`.
    pub(crate) stalled: u64,
    /// Those turned away because of `limit`.
    pub(crate) limited: u64,
    /// Those that came back before the time that an error had told them.
    pub(crate) early: u64,
    /// Connections that were ever opened.
    pub(crate) opened: u64,
    /// Connections that are open now.
    pub(crate) connections: u64,
    /// The most connections that were ever open at once.
    pub(crate) peak_connections: u64,
}

/// Why a server could not start.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The folder to serve is not there, is not a folder or may not be read.
    Folder(PathBuf, io::Error),
    /// The host stands for no address of this machine.
    Host(String, io::Error),
    /// The address cannot be listened on: as a rule, because another program does.
    Address(SocketAddr, io::Error),
    /// The error, cut and stall rates add up to this, which is more than every request.
    Shares(f64),
    /// The system refused a thread or a poll.
    System(io::Error),
}

impl StartError {
    /// Returns what the user can do about it, if there is something plain.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Folder(..) => Some("leave the folder out to serve the built-in flags"),
            Self::Host(..) => Some("`--host 127.0.0.1` serves this machine, `--host 0.0.0.0` its network too"),
            Self::Address(_, error) if error.kind() == io::ErrorKind::AddrInUse => {
                Some("`--port 0` picks a port that is free")
            }
            Self::Address(_, error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("ports below 1024 are for administrators; `--port 0` picks a port that is free")
            }
            Self::Shares(_) => Some("a request has one fate, so the rates can be 1 at most together"),
            Self::Address(..) | Self::System(_) => None,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder, error) => {
                let folder = folder.display();
                match error.kind() {
                    io::ErrorKind::NotFound => write!(f, "no folder `{folder}`"),
                    io::ErrorKind::NotADirectory => write!(f, "`{folder}` is not a folder"),
                    _ => write!(f, "cannot read folder `{folder}`: {error}"),
                }
            }
            Self::Host(host, error) => write!(f, "no address for host `{host}`: {error}"),
            Self::Address(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "another program listens on `{address}` already")
            }
            Self::Address(address, error) => write!(f, "cannot listen on `{address}`: {}", reason(error)),
            Self::Shares(sum) => {
                write!(f, "`--error-rate`, `--cut-rate` and `--stall-rate` add up to {sum}, which is more than 1")
            }
            Self::System(error) => write!(f, "cannot start the server: {}", reason(error)),
        }
    }
}

impl Error for StartError {}

/// Listens on the first address of the host that lets it.
fn listen(options: &ServerOptions) -> Result<TcpListener, StartError> {
    let host = &options.host;
    let addresses =
        (host.as_str(), options.port).to_socket_addrs().map_err(|error| StartError::Host(host.clone(), error))?;
    let mut refused = StartError::Host(host.clone(), io::ErrorKind::AddrNotAvailable.into());
    for address in addresses {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = StartError::Address(address, error),
        }
    }
    Err(refused)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    // As many as may knock at once; the system holds it down to its own maximum.
    const BACKLOG: u32 = 16 * 1024;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Elsewhere than on Unix it would allow two servers on one port.
    socket.set_reuseaddr(cfg!(unix))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                tokio::spawn(converse(stream, client, Arc::clone(&desk)));
            }
            // That one connection is lost, or no more can be opened; then some must close first.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Answers requests on one connection until either side ends it.
async fn converse(stream: TcpStream, client: SocketAddr, desk: Arc<Desk>) {
    let _open = desk.tally.open_connection();
    let is_new = Arc::new(AtomicBool::new(true));
    // Without it, the answer may wait for an acknowledgement; if it cannot be had, that is all that happens.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let (desk, is_new) = (Arc::clone(&desk), Arc::clone(&is_new));
        async move {
            if let Some(delay) = desk.options.connect_delay
                && is_new.swap(false, Ordering::Relaxed)
            {
                tokio::time::sleep(delay).await;
            }
            let response = desk.answer(&request).await;
            if let Some(log) = &desk.log {
                log.write(client, &request, &response);
            }
            Ok::<_, Infallible>(response)
        }
    });
    // What ends a connection early is the client's doing, or ours on purpose, and is nobody's news.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

/// What all connections share: what is served, how, and what has been so far.
#[derive(Debug)]
struct Desk {
    content: Content,
    options: ServerOptions,
    limiter: Option<Mutex<Limiter>>,
    /// What each path has been asked for so far, by its fingerprint.
    visits: Mutex<HashMap<u64, Visits>>,
    tally: Tally,
    log: Option<AccessLog>,
}

/// The requests there were for one path.
#[derive(Debug, Default)]
struct Visits {
    number: u32,
    /// Until when the last answer asked not to be disturbed.
    not_before: Option<Instant>,
}

impl Desk {
    fn new(content: Content, options: ServerOptions, log: Option<AccessLog>) -> Result<Self, StartError> {
        let shares = options.error_rate.get() + options.cut_rate.get() + options.stall_rate.get();
        // The sum of three shares may be off by a hair.
        if shares > 1.0 + 1e-9 {
            return Err(StartError::Shares(shares));
        }
        let content = match content {
            Content::Folder(folder) => {
                Content::Folder(folder.clone()).canonical().map_err(|error| StartError::Folder(folder, error))?
            }
            Content::BuiltInFlags => content,
        };
        Ok(Self {
            content,
            limiter: options.limit.map(|limit| Mutex::new(Limiter::new(limit))),
            options,
            visits: Mutex::default(),
            tally: Tally::default(),
            log,
        })
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        count(&self.tally.requests);
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = refusal(request, StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if !self.admits() {
            count(&self.tally.limited);
            let response = refusal(request, StatusCode::TOO_MANY_REQUESTS, "more requests than --limit allows");
            return self.come_again(request, response, 1);
        }

        let path = request.uri().path();
        let fate = Fate::of(&self.options, path, self.attempt(path));
        if !fate.delay.is_zero() {
            tokio::time::sleep(fate.delay).await;
        }
        if fate.fault == Some(Fault::Error) {
            count(&self.tally.errors);
            let status = StatusCode::from_u16(self.options.error_status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            let response = refusal(request, status, "an error on purpose, by --error-rate");
            return match self.options.retry_after {
                Some(seconds) => self.come_again(request, response, seconds),
                None => response,
            };
        }
        match self.content.find(path).await {
            Ok(resource) => self.hand_out(request, resource, fate.fault),
            Err(StatusCode::MOVED_PERMANENTLY) => {
                let mut response = refusal(request, StatusCode::MOVED_PERMANENTLY, "a folder ends with a slash");
                response.headers_mut().insert(header::LOCATION, text_value(format!("{path}/")));
                response
            }
            Err(status) => refusal(request, status, path),
        }
    }

    fn admits(&self) -> bool {
        self.limiter.as_ref().is_none_or(|limiter| locked(limiter).admits(Instant::now()))
    }

    /// Counts this request for the path, and returns how many that makes.
    fn attempt(&self, path: &str) -> u32 {
        let mut visits = locked(&self.visits);
        let visits = visits.entry(fingerprint(path.as_bytes())).or_default();
        self.note_early(visits);
        visits.number = visits.number.saturating_add(1);
        visits.number
    }

    fn note_early(&self, visits: &mut Visits) {
        if visits.not_before.take().is_some_and(|not_before| Instant::now() < not_before) {
            count(&self.tally.early);
        }
    }

    /// Tells the client to come again after so many seconds, and remembers that it was told.
    fn come_again(&self, request: &Request<Incoming>, mut response: Response<Body>, seconds: u32) -> Response<Body> {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        let mut visits = locked(&self.visits);
        let visits = visits.entry(fingerprint(request.uri().path().as_bytes())).or_default();
        self.note_early(visits);
        visits.not_before = Some(Instant::now() + Duration::from_secs(seconds.into()));
        response
    }

    fn hand_out(&self, request: &Request<Incoming>, resource: Resource, fault: Option<Fault>) -> Response<Body> {
        let wanted = wanted(request.method(), request.headers(), &resource);
        let (status, bytes) = match wanted {
            Wanted::Whole => (StatusCode::OK, 0..resource.length),
            Wanted::Part(bytes) => (StatusCode::PARTIAL_CONTENT, bytes),
            Wanted::Nothing(StatusCode::NOT_MODIFIED) => (StatusCode::NOT_MODIFIED, 0..0),
            Wanted::Nothing(status) => {
                let mut response = refusal(request, status, request.uri().path());
                if status == StatusCode::RANGE_NOT_SATISFIABLE {
                    let range = text_value(format!("bytes */{}", resource.length));
                    response.headers_mut().insert(header::CONTENT_RANGE, range);
                }
                return response;
            }
        };

        let mut response = Response::new(body::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::ETAG, text_value(resource.etag));
        if let Some(modified) = resource.modified {
            headers.insert(header::LAST_MODIFIED, text_value(httpdate::fmt_http_date(modified)));
        }
        if status == StatusCode::NOT_MODIFIED {
            return response;
        }
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(resource.content_type));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {}-{}/{}", bytes.start, bytes.end - 1, resource.length);
            headers.insert(header::CONTENT_RANGE, text_value(range));
        }
        if request.method() == Method::GET && !bytes.is_empty() {
            let (length, ending) = self.course(bytes.end - bytes.start, fault);
            let sent = bytes.start..bytes.start + length;
            *response.body_mut() = body::paced(resource.data, sent, self.options.slow, ending);
        }
        response
    }

    /// Returns how many bytes of a body of this length are sent, and what happens then.
    fn course(&self, length: u64, fault: Option<Fault>) -> (u64, Ending) {
        let (how_far, ending, tally) = match fault {
            Some(Fault::Cut(how_far)) => (how_far, Ending::Cut, &self.tally.cut),
            Some(Fault::Stall(how_far)) => (how_far, Ending::Stall, &self.tally.stalled),
            Some(Fault::Error) | None => return (length, Ending::Complete),
        };
        count(tally);
        // At least one byte is kept back, or the fault could not be told from success.
        (((length as f64 * how_far) as u64).min(length - 1), ending)
    }
}

/// Answers with a status and a line of text that says what is wrong.
fn refusal(request: &Request<Incoming>, status: StatusCode, what: &str) -> Response<Body> {
    let line = format!("{status}: {what}\n");
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(line.len()));
    if request.method() != Method::HEAD {
        *response.body_mut() = body::text(line);
    }
    response
}

fn text_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("tags, dates and ranges are plain ASCII")
}

/// What is counted, each for itself: nothing is decided by these numbers, so they need no common order.
#[derive(Debug, Default)]
struct Tally {
    requests: AtomicU64,
    errors: AtomicU64,
    cut: AtomicU64,
    stalled: AtomicU64,
    limited: AtomicU64,
    early: AtomicU64,
    opened: AtomicU64,
    connections: AtomicU64,
    peak_connections: AtomicU64,
}

impl Tally {
    fn open_connection(&self) -> OpenConnection<'_> {
        count(&self.opened);
        let open = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak_connections.fetch_max(open, Ordering::Relaxed);
        OpenConnection(self)
    }

    fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            requests: read(&self.requests),
            errors: read(&self.errors),
            cut: read(&self.cut),
            stalled: read(&self.stalled),
            limited: read(&self.limited),
            early: read(&self.early),
            opened: read(&self.opened),
            connections: read(&self.connections),
            peak_connections: read(&self.peak_connections),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Counts as open until it is dropped.
struct OpenConnection<'a>(&'a Tally);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A counter is whole at any moment, even if someone panicked while holding it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
