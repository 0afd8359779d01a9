//! What requests have in common.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header};
use tokio::runtime;

use super::{
    BlockingResponse, Cookies, Credentials, FetchError, Payload, Proxy, Request, Response, blocking,
    credentials::{Challenges, Netrc},
    exchange::exchange,
    names::Names,
    pool::Connections,
    proxy::{Except, Proxies},
    request::{Shown, header_of},
    tls::{self, Http2, Identity, Tls, TlsSettings, Trust},
};

/// What requests have in common: headers, time limits, redirects. Cloning it is cheap, and the clones are the same.
#[derive(Clone)]
pub struct Client {
    settings: Arc<Settings>,
    /// For those who bring none of their own.
    connections: Arc<Mutex<HashMap<runtime::Id, Connections>>>,
}

/// Makes a [`Client`].
#[derive(Clone)]
pub struct ClientBuilder {
    settings: Settings,
    tls: TlsSettings,
    proxy: Option<Option<Arc<Proxy>>>,
    no_proxy: Option<Except>,
    addresses: HashMap<(String, u16), Vec<IpAddr>>,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) headers: HeaderMap,
    pub(super) query: Vec<(String, String)>,
    pub(super) connect: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) total: Option<Duration>,
    pub(super) redirects: usize,
    pub(super) largest: Option<u64>,
    pub(super) decode: bool,
    pub(super) connections: usize,
    pub(super) tls: Arc<Tls>,
    /// For proxies, with whom tunnels are agreed on by HTTP/1.
    pub(super) proxy_tls: Arc<Tls>,
    pub(super) proxies: Proxies,
    pub(super) names: Arc<Names>,
    pub(super) cookies: Option<Cookies>,
    pub(super) credentials: HashMap<String, Credentials>,
    pub(super) netrc: Netrc,
    pub(super) challenges: Arc<Challenges>,
}

impl Client {
    /// A client whose settings can be chosen.
    pub fn builder() -> ClientBuilder {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("raincheck/", env!("CARGO_PKG_VERSION"))));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let tls = TlsSettings { trust: Trust::System, identity: None, http2: Http2::Offer };
        ClientBuilder {
            tls: tls.clone(),
            proxy: None,
            no_proxy: None,
            addresses: HashMap::new(),
            settings: Settings {
                headers,
                query: Vec::new(),
                connect: Some(Duration::from_secs(10)),
                idle: Some(Duration::from_secs(30)),
                total: None,
                redirects: 20,
                largest: None,
                decode: false,
                connections: 100,
                tls: Arc::new(Tls::new(tls.clone())),
                proxy_tls: Arc::new(Tls::new(tls)),
                proxies: Proxies::default(),
                names: Arc::new(Names::new(HashMap::new())),
                cookies: None,
                credentials: HashMap::new(),
                netrc: Netrc::default(),
                challenges: Arc::default(),
            },
        }
    }

    /// Connections for one runtime, at most so many open at once, idle ones included.
    pub(crate) fn connections(&self, at_most: usize) -> Connections {
        Connections::new(at_most)
    }

    /// Sends it, follows redirects, answers challenges. What the final status means is the caller's business.
    pub(crate) fn send(
        &self,
        connections: &Connections,
        request: &Request,
    ) -> impl Future<Output = Result<Response, FetchError>> {
        exchange(&self.settings, connections, request)
    }

    /// Sends it, follows redirects, and returns the response whatever its status, as soon as its head is there.
    ///
    /// # Panics
    ///
    /// If not called within a tokio runtime that has its I/O and its timers enabled.
    ///
    /// # Errors
    ///
    /// Any [`FetchError`] but those of files, checksums, statuses and robots: there is none for a response that came.
    pub async fn fetch(&self, request: Request) -> Result<Response, FetchError> {
        let connections = self.own_connections();
        self.send(&connections, &request).await
    }

    /// Fetches this URL. [`Client::fetch`] says the rest.
    ///
    /// # Errors
    ///
    /// [`FetchError::InvalidUrl`], and as for [`Client::fetch`].
    pub async fn get(&self, url: &str) -> Result<Response, FetchError> {
        self.fetch(Request::get(url)?).await
    }

    /// Fetches what is said of this URL, without what is there.
    ///
    /// # Errors
    ///
    /// As for [`Client::get`].
    pub async fn head(&self, url: &str) -> Result<Response, FetchError> {
        self.fetch(Request::head(url)?).await
    }

    /// Sends `body` to this URL: bytes, text, or another [`Payload`]. [`Client::fetch`] says the rest.
    ///
    /// # Errors
    ///
    /// As for [`Client::get`]; and [`FetchError::File`] if a file that shall be sent cannot be read.
    pub async fn post(&self, url: &str, body: impl Into<Payload>) -> Result<Response, FetchError> {
        self.fetch(Request::post(url)?.body(body)).await
    }

    /// Puts `body` there. As [`Client::post`].
    ///
    /// # Errors
    ///
    /// As for [`Client::post`].
    pub async fn put(&self, url: &str, body: impl Into<Payload>) -> Result<Response, FetchError> {
        self.fetch(Request::put(url)?.body(body)).await
    }

    /// Changes what is there by what `body` says. As [`Client::post`].
    ///
    /// # Errors
    ///
    /// As for [`Client::post`].
    pub async fn patch(&self, url: &str, body: impl Into<Payload>) -> Result<Response, FetchError> {
        self.fetch(Request::patch(url)?.body(body)).await
    }

    /// Deletes what is there.
    ///
    /// # Errors
    ///
    /// As for [`Client::get`].
    pub async fn delete(&self, url: &str) -> Result<Response, FetchError> {
        self.fetch(Request::delete(url)?).await
    }

    /// The same as [`Client::fetch`] for code that is not async: it waits on the calling thread.
    ///
    /// Each thread keeps connections of its own, as many as the client may have.
    ///
    /// # Blocking
    ///
    /// Until the head of the response is there.
    ///
    /// # Errors
    ///
    /// As for [`Client::fetch`]; and [`FetchError::Invalid`] if called from async code, which it would hold up.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::{io::{Read, Write}, net::TcpListener};
    /// # let server = TcpListener::bind("127.0.0.1:0")?;
    /// # let url = format!("http://{}/", server.local_addr()?);
    /// # std::thread::spawn(move || {
    /// #     let (mut stream, _) = server.accept().unwrap();
    /// #     stream.read(&mut [0; 1000]).unwrap();
    /// #     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrain").unwrap();
    /// # });
    /// use raincheck::fetch::{Client, Request};
    ///
    /// let client = Client::builder().build()?;
    /// let response = client.fetch_blocking(Request::get(&url)?)?;
    /// assert_eq!(response.status(), 200);
    /// assert_eq!(response.text()?, "rain");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fetch_blocking(&self, request: Request) -> Result<BlockingResponse, FetchError> {
        blocking::fetch(self, request)
    }

    /// [`Client::get`] for code that is not async. [`Client::fetch_blocking`] says the rest.
    ///
    /// # Errors
    ///
    /// [`FetchError::InvalidUrl`], and as for [`Client::fetch_blocking`].
    pub fn get_blocking(&self, url: &str) -> Result<BlockingResponse, FetchError> {
        self.fetch_blocking(Request::get(url)?)
    }

    /// [`Client::head`] for code that is not async.
    ///
    /// # Errors
    ///
    /// As for [`Client::get_blocking`].
    pub fn head_blocking(&self, url: &str) -> Result<BlockingResponse, FetchError> {
        self.fetch_blocking(Request::head(url)?)
    }

    /// [`Client::post`] for code that is not async.
    ///
    /// # Errors
    ///
    /// As for [`Client::get_blocking`]; and [`FetchError::File`] if a file that shall be sent cannot be read.
    pub fn post_blocking(&self, url: &str, body: impl Into<Payload>) -> Result<BlockingResponse, FetchError> {
        self.fetch_blocking(Request::post(url)?.body(body))
    }

    /// [`Client::put`] for code that is not async.
    ///
    /// # Errors
    ///
    /// As for [`Client::post_blocking`].
    pub fn put_blocking(&self, url: &str, body: impl Into<Payload>) -> Result<BlockingResponse, FetchError> {
        self.fetch_blocking(Request::put(url)?.body(body))
    }

    /// [`Client::patch`] for code that is not async.
    ///
    /// # Errors
    ///
    /// As for [`Client::post_blocking`].
    pub fn patch_blocking(&self, url: &str, body: impl Into<Payload>) -> Result<BlockingResponse, FetchError> {
        self.fetch_blocking(Request::patch(url)?.body(body))
    }

    /// [`Client::delete`] for code that is not async.
    ///
    /// # Errors
    ///
    /// As for [`Client::get_blocking`].
    pub fn delete_blocking(&self, url: &str) -> Result<BlockingResponse, FetchError> {
        self.fetch_blocking(Request::delete(url)?)
    }

    /// The connections of the runtime that this runs on. A socket cannot leave its runtime.
    pub(super) fn own_connections(&self) -> Connections {
        let runtime = runtime::Handle::current();
        let mut all = self.connections.lock().expect("nothing panics under this lock");
        if let Some(connections) = all.get(&runtime.id()) {
            return connections.clone();
        }
        let connections = self.connections(self.settings.connections);
        all.insert(runtime.id(), connections.clone());
        let ended = Ended { client: Arc::downgrade(&self.connections), runtime: runtime.id() };
        // Dropped with its runtime, and with it the connections that are of no use any more.
        runtime.spawn(async move {
            let _ended = ended;
            std::future::pending::<()>().await;
        });
        connections
    }
}

/// Dropped with a runtime.
struct Ended {
    client: Weak<Mutex<HashMap<runtime::Id, Connections>>>,
    runtime: runtime::Id,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let Some(client) = self.client.upgrade() else { return };
        let gone = client.lock().expect("nothing panics under this lock").remove(&self.runtime);
        drop(gone);
    }
}

impl ClientBuilder {
    /// Sends this header with every request that has none of that name. Replaces what was set before.
    ///
    /// # Errors
    ///
    /// [`FetchError::Invalid`] if the name or the value is none.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, FetchError> {
        let (name, value) = header_of(name, value)?;
        self.settings.headers.insert(name, value);
        Ok(self)
    }

    /// Adds names and values to the URL of every request, whatever its host; but not to those that a redirect names.
    pub fn query(mut self, fields: &[(&str, &str)]) -> Self {
        self.settings.query.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// How long making a connection may take; 10 seconds unless told otherwise, `None` for as long as it takes.
    pub fn connect_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.connect = limit.into();
        self
    }

    /// How long a server may be silent, before its response and in the middle of it; 30 seconds unless told otherwise.
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.idle = limit.into();
        self
    }

    /// How long a request may take with its redirects and its body; unless told, as long as it takes.
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.total = limit.into();
        self
    }

    /// How many connections may be open at once on one runtime, idle ones included; 100 unless told otherwise.
    pub fn connections(mut self, at_most: usize) -> Self {
        self.settings.connections = at_most;
        self
    }

    /// Whether to ask for compressed bodies (gzip, deflate, br, zstd), and to give them decompressed, without the headers
    /// that speak of the compressed one. Unless told, bodies are not asked for so, and given as they come.
    pub fn decode(mut self, decode: bool) -> Self {
        self.settings.decode = decode;
        self
    }

    /// Keeps the cookies that servers set here, and sends them back. Unless told, none are kept.
    pub fn cookies(mut self, cookies: Cookies) -> Self {
        self.settings.cookies = Some(cookies);
        self
    }

    /// Shows these to this host, whatever leads to it, unless a request or its URL brings its own.
    pub fn credentials(mut self, host: &str, credentials: Credentials) -> Self {
        self.settings.credentials.insert(host.to_ascii_lowercase(), credentials);
        self
    }

    /// Shows hosts the credentials that a file has for them, which is written like `~/.netrc`: last of all those that
    /// there may be.
    ///
    /// # Errors
    ///
    /// [`FetchError::File`] if it cannot be read.
    pub fn netrc(mut self, path: impl AsRef<Path>) -> Result<Self, FetchError> {
        self.settings.netrc = Netrc::read(path.as_ref())?;
        Ok(self)
    }

    /// The same with the user's own: `$NETRC`, or `~/.netrc`. There need not be any.
    ///
    /// # Errors
    ///
    /// [`FetchError::File`] if it is there and cannot be read.
    pub fn own_netrc(self) -> Result<Self, FetchError> {
        let own = std::env::var_os("NETRC")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".netrc")).filter(|path| path.exists()));
        match own {
            Some(path) => self.netrc(path),
            None => Ok(self),
        }
    }

    /// Fetches everything through this proxy, or with `None` through none, whatever the environment says.
    ///
    /// Unless told, the proxies are those of the environment: `http_proxy` and `https_proxy` for URLs of these schemes,
    /// `all_proxy` for what neither names, but not for the hosts in `no_proxy`. Capitals do as well, except that
    /// `HTTP_PROXY` is ignored under CGI, where a visitor could set it.
    pub fn proxy(mut self, proxy: impl Into<Option<Proxy>>) -> Self {
        self.proxy = Some(proxy.into().map(Arc::new));
        self
    }

    /// The hosts that no proxy is asked for, in place of those that the environment names: `localhost,.example.org`
    /// (and all below it), `10.0.0.0/8`, `host:8080`; `*` for all.
    pub fn no_proxy(mut self, hosts: &str) -> Self {
        self.no_proxy = Some(Except::parse(hosts));
        self
    }

    /// Takes this host to be at these addresses, when it is asked for at this port, and looks its name up nowhere. Without
    /// any, as if nothing had been said.
    ///
    /// Other names are looked up once for all who ask, and known for a minute.
    pub fn resolve(mut self, host: &str, port: u16, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let addresses: Vec<_> = addresses.into_iter().collect();
        if !addresses.is_empty() {
            self.addresses.insert((host.to_ascii_lowercase(), port), addresses);
        }
        self
    }

    /// Trusts what is signed by these certificates, PEM with one or more, and by no others.
    ///
    /// Otherwise those are trusted that the system trusts; on Linux the environment variables `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` say where else they are.
    ///
    /// # Errors
    ///
    /// [`FetchError::Invalid`] if there is no certificate in it, or one that does not parse.
    pub fn root_certificates(mut self, pem: &[u8]) -> Result<Self, FetchError> {
        self.tls.trust = Trust::Roots(Arc::new(tls::roots(pem)?));
        Ok(self)
    }

    /// Trusts any certificate, so that anyone on the way can read and change everything.
    pub fn insecure(mut self) -> Self {
        self.tls.trust = Trust::Anyone;
        self
    }

    /// Shows this certificate to servers that ask for one. Both are PEM, and may be the same file.
    ///
    /// # Errors
    ///
    /// [`FetchError::Invalid`] if there is no certificate or no key.
    pub fn client_certificate(mut self, chain: &[u8], key: &[u8]) -> Result<Self, FetchError> {
        self.tls.identity = Some(Arc::new(Identity::new(chain, key)?));
        Ok(self)
    }

    /// When HTTP/2 is spoken; unless told, with servers that choose it. All requests to a host then share a connection.
    /// With a proxy that is given requests itself, those for `http://`, it is not.
    pub fn http2(mut self, when: Http2) -> Self {
        self.tls.http2 = when;
        self
    }

    /// How many redirects are followed; 20 unless told otherwise.
    pub fn redirects(mut self, at_most: usize) -> Self {
        self.settings.redirects = at_most;
        self
    }

    /// How many bytes a body may have, after decompression; unless told, any number.
    pub fn largest(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.settings.largest = bytes.into();
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// [`FetchError::Invalid`] if the environment names a proxy that is none.
    pub fn build(mut self) -> Result<Client, FetchError> {
        self.settings.proxy_tls = Arc::new(Tls::new(TlsSettings { http2: Http2::Never, ..self.tls.clone() }));
        self.settings.names = Arc::new(Names::new(self.addresses));
        self.settings.tls = Arc::new(Tls::new(self.tls));
        self.settings.proxies = match self.proxy {
            Some(proxy) => Proxies { http: proxy.clone(), https: proxy, except: Except::default() },
            None => Proxies::from_environment(|name| std::env::var(name).ok())?,
        };
        if let Some(except) = self.no_proxy {
            self.settings.proxies.except = except;
        }
        Ok(Client { settings: Arc::new(self.settings), connections: Arc::default() })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("headers", &Shown(&self.settings.headers)).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("headers", &Shown(&self.settings.headers)).finish_non_exhaustive()
    }
}
