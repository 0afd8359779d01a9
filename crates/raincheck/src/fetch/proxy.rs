//! Who stands between, and for whom.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::{Host, Url};

use super::{Credentials, FetchError, connect::Stream, names::Names, route::Route};

/// What a proxy may say before it lets us through.
const ANSWER_AT_MOST: usize = 16 << 10;

/// A proxy: `http://`, `https://`, `socks5://` (names are looked up here) or `socks5h://` (names are looked up there).
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: Kind,
    pub(super) host: String,
    pub(super) port: u16,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Https,
    Socks5,
    Socks5h,
}

/// Which proxy is for which URL.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    pub(super) http: Option<Arc<Proxy>>,
    pub(super) https: Option<Arc<Proxy>>,
    pub(super) except: Except,
}

/// What is reached without a proxy, as `no_proxy` has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Except {
    everything: bool,
    hosts: Vec<(Range, Option<u16>)>,
}

#[derive(Clone, Debug)]
enum Range {
    /// This name, and all below it.
    Domain(String),
    /// The addresses whose first bits are these.
    Addresses(IpAddr, u8),
}

impl Proxy {
    /// A proxy by its URL, which may have a user's name and password in it. Without a scheme, it is `http://`.
    ///
    /// # Errors
    ///
    /// [`FetchError::Invalid`] if it is none.
    pub fn new(url: &str) -> Result<Self, FetchError> {
        let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let no_proxy = |reason: &str| FetchError::invalid(format_args!("not a proxy: {reason}"));
        let parsed = Url::parse(&with_scheme).map_err(|error| no_proxy(&error.to_string()))?;
        let (kind, port) = match parsed.scheme() {
            "http" => (Kind::Http, 80),
            "https" => (Kind::Https, 443),
            "socks5" => (Kind::Socks5, 1080),
            "socks5h" | "socks" => (Kind::Socks5h, 1080),
            other => {
                return Err(no_proxy(&format!("there are none of `{other}`, but http, https, socks5 and socks5h")));
            }
        };
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| no_proxy("it has no host"))?;
        Ok(Self {
            kind,
            host: host.to_owned(),
            port: parsed.port().unwrap_or(port),
            credentials: Credentials::of_url(&parsed),
        })
    }

    /// Whether it takes requests for `http://` URLs as they are, and does not only pass bytes on.
    pub(super) fn forwards(&self) -> bool {
        matches!(self.kind, Kind::Http | Kind::Https)
    }

    /// Whether it is itself spoken to by TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.kind == Kind::Https
    }

    /// What tells it who is asking.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, FetchError> {
        self.credentials.as_ref().map_or(Ok(None), Credentials::unasked)
    }

    /// Has it connect `stream`, which leads to it, to where `route` leads.
    pub(super) async fn open(&self, stream: &mut Stream, route: Route<'_>, names: &Names) -> Result<(), FetchError> {
        match self.kind {
            Kind::Http | Kind::Https => self.connect(stream, route).await,
            Kind::Socks5 | Kind::Socks5h => self.socks(stream, route, names).await,
        }
    }

    pub(super) fn failed(&self, reason: impl fmt::Display) -> FetchError {
        FetchError::Proxy { proxy: self.to_string(), reason: reason.to_string() }
    }

    async fn connect(&self, stream: &mut Stream, route: Route<'_>) -> Result<(), FetchError> {
        let to = format!("{}:{}", route.host, route.port);
        let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
        if let Some(authorization) = self.authorization()? {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        self.write(stream, &request).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            // Byte by byte, since what follows is for somebody else.
            let mut byte = [0];
            self.read(stream, &mut byte).await?;
            answer.push(byte[0]);
            if answer.len() > ANSWER_AT_MOST {
                return Err(self.failed("it answers too much"));
            }
        }
        let line = String::from_utf8_lossy(&answer);
        let line = line.lines().next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.").and_then(|line| line.split_once(' ')).map(|(_, status)| status);
        match status {
            Some(status) if status.starts_with('2') => Ok(()),
            Some(status) => Err(self.failed(format_args!("it answers {}", status.escape_debug()))),
            None => Err(self.failed("it does not answer by HTTP")),
        }
    }

    /// RFC 1928 and, for the password, RFC 1929.
    async fn socks(&self, stream: &mut Stream, route: Route<'_>, names: &Names) -> Result<(), FetchError> {
        let login = match &self.credentials {
            Some(Credentials::Basic { user, password }) => Some((user.as_bytes(), password.as_bytes())),
            _ => None,
        };
        self.write(stream, if login.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] }).await?;
        let mut method = [0; 2];
        self.read(stream, &mut method).await?;
        match (method, login) {
            ([5, 0], _) => {}
            ([5, 2], Some((user, password))) => {
                let mut request = vec![1];
                self.push_short(&mut request, user)?;
                self.push_short(&mut request, password)?;
                self.write(stream, &request).await?;
                let mut verdict = [0; 2];
                self.read(stream, &mut verdict).await?;
                if verdict[1] != 0 {
                    return Err(self.failed("it does not take the name and password"));
                }
            }
            ([5, _], _) => return Err(self.failed("it wants to be told who is asking, in a way that was not given")),
            _ => return Err(self.failed("it does not speak SOCKS 5")),
        }

        let mut request = vec![5, 1, 0];
        match self.target(route, names).await? {
            Ok(IpAddr::V4(address)) => {
                request.push(1);
                request.extend_from_slice(&address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                request.push(4);
                request.extend_from_slice(&address.octets());
            }
            Err(name) => {
                request.push(3);
                self.push_short(&mut request, name.as_bytes())?;
            }
        }
        request.extend_from_slice(&route.port.to_be_bytes());
        self.write(stream, &request).await?;

        let mut head = [0; 4];
        self.read(stream, &mut head).await?;
        if head[1] != 0 {
            return Err(self.failed(socks_refusal(head[1])));
        }
        let mut rest = match head[3] {
            1 => vec![0; 4 + 2],
            4 => vec![0; 16 + 2],
            3 => {
                let mut length = [0];
                self.read(stream, &mut length).await?;
                vec![0; usize::from(length[0]) + 2]
            }
            _ => return Err(self.failed("it answers with an address of no kind")),
        };
        self.read(stream, &mut rest).await
    }

    /// The address that it shall connect to, or the name that it shall look up itself.
    async fn target<'a>(&self, route: Route<'a>, names: &Names) -> Result<Result<IpAddr, &'a str>, FetchError> {
        if let Ok(address) = route.host.trim_matches(['[', ']']).parse() {
            return Ok(Ok(address));
        }
        if self.kind == Kind::Socks5h {
            return Ok(Err(route.host));
        }
        let addresses = names.resolve(route.host, route.port).await?;
        // Proxies that reach only one kind of address reach this one.
        let best = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        best.map(SocketAddr::ip).map(Ok).ok_or_else(|| self.failed("there is no address for it to connect to"))
    }

    fn push_short(&self, to: &mut Vec<u8>, bytes: &[u8]) -> Result<(), FetchError> {
        let length = u8::try_from(bytes.len()).map_err(|_| self.failed("SOCKS cannot send names as long as these"))?;
        to.push(length);
        to.extend_from_slice(bytes);
        Ok(())
    }

    async fn write(&self, stream: &mut Stream, bytes: &[u8]) -> Result<(), FetchError> {
        stream.write_all(bytes).await.map_err(|error| self.failed(error))?;
        stream.flush().await.map_err(|error| self.failed(error))
    }

    async fn read(&self, stream: &mut Stream, bytes: &mut [u8]) -> Result<(), FetchError> {
        match stream.read_exact(bytes).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(self.failed("it closed the connection"))
            }
            Err(error) => Err(self.failed(error)),
        }
    }
}

fn socks_refusal(code: u8) -> &'static str {
    match code {
        1 => "it failed",
        2 => "its rules do not allow it",
        3 => "it does not reach the network",
        4 => "it does not reach the host",
        5 => "the host refuses its connection",
        6 => "its connection took too long",
        7 => "it cannot connect",
        8 => "it does not know this kind of address",
        _ => "it refused",
    }
}

/// Without name and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http => "http",
            Kind::Https => "https",
            Kind::Socks5 => "socks5",
            Kind::Socks5h => "socks5h",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl Proxies {
    /// What the environment says: `http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`, or the same in capitals.
    pub(super) fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, FetchError> {
        let either = |name: &str| {
            [name.to_owned(), name.to_uppercase()]
                .into_iter()
                // Under CGI, `HTTP_PROXY` is what a visitor sent as the header `Proxy`.
                .filter(|name| name != "HTTP_PROXY" || variable("REQUEST_METHOD").is_none())
                .find_map(|name| variable(&name).filter(|value| !value.is_empty()).map(|value| (name, value)))
        };
        let proxy = |name: &str| match either(name) {
            None => Ok(None),
            Some((name, value)) => match Proxy::new(&value) {
                Ok(proxy) => Ok(Some(Arc::new(proxy))),
                Err(error) => Err(FetchError::invalid(format_args!("environment variable {name}: {error}"))),
            },
        };
        let all = proxy("all_proxy")?;
        Ok(Self {
            http: proxy("http_proxy")?.or_else(|| all.clone()),
            https: proxy("https_proxy")?.or(all),
            except: either("no_proxy").map(|(_, list)| Except::parse(&list)).unwrap_or_default(),
        })
    }

    /// The proxy for this URL, if it has one.
    pub(super) fn find(&self, url: &Url) -> Option<&Arc<Proxy>> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.except.has(url))
    }
}

impl Except {
    /// From a list such as `localhost,.example.org,10.0.0.0/8,[::1]:8080`, or `*`. What is none of these matches nothing.
    pub(super) fn parse(list: &str) -> Self {
        let mut except = Self::default();
        for entry in list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()) {
            if entry == "*" {
                except.everything = true;
            } else {
                except.hosts.extend(Range::parse(entry));
            }
        }
        except
    }

    fn has(&self, url: &Url) -> bool {
        self.everything
            || self.hosts.iter().any(|(range, port)| {
                port.is_none_or(|port| url.port_or_known_default() == Some(port))
                    && url.host().is_some_and(|host| range.has(&host))
            })
    }
}

impl Range {
    fn parse(entry: &str) -> Option<(Self, Option<u16>)> {
        let whole = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        if let Some(address) = whole(entry) {
            return Some((Self::Addresses(address, u8::MAX), None));
        }
        if let Some((address, bits)) = entry.split_once('/') {
            return Some((Self::Addresses(whole(address)?, bits.parse().ok()?), None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        if let Some(address) = whole(host) {
            return Some((Self::Addresses(address, u8::MAX), port));
        }
        let name = host.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
        (!name.is_empty()).then_some((Self::Domain(name), port))
    }

    fn has<S: AsRef<str>>(&self, host: &Host<S>) -> bool {
        match (self, host) {
            (Self::Domain(domain), Host::Domain(host)) => host
                .as_ref()
                .trim_end_matches('.')
                .strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            (Self::Addresses(IpAddr::V4(range), bits), Host::Ipv4(address)) => {
                let ignored = 32u32.saturating_sub((*bits).into());
                u32::from(*range).checked_shr(ignored) == u32::from(*address).checked_shr(ignored)
            }
            (Self::Addresses(IpAddr::V6(range), bits), Host::Ipv6(address)) => {
                let ignored = 128u32.saturating_sub((*bits).into());
                u128::from(*range).checked_shr(ignored) == u128::from(*address).checked_shr(ignored)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let proxies = Proxies::from_environment(variable).unwrap();
        proxies.find(&Url::parse(url).unwrap()).map(ToString::to_string)
    }

    #[test]
    fn the_environment_says_which_proxy_is_for_what() {
        let variables = [("http_proxy", "one:1"), ("HTTP_PROXY", "two:2"), ("ALL_PROXY", "socks5h://three")];

        assert_eq!(found(&variables, "http://a/").unwrap(), "http://one:1");
        assert_eq!(found(&variables, "https://a/").unwrap(), "socks5h://three:1080");
        assert_eq!(found(&[], "http://a/"), None);
    }

    #[test]
    fn a_visitors_header_is_no_proxy() {
        let variables = [("HTTP_PROXY", "evil:1"), ("REQUEST_METHOD", "GET")];

        assert_eq!(found(&variables, "http://a/"), None);
        assert_eq!(found(&variables[..1], "http://a/").unwrap(), "http://evil:1");
    }

    #[test]
    fn what_no_proxy_names_is_reached_without_one() {
        let except =
            "localhost, .example.org,*.example.net,10.0.0.0/8 [::1]:8080,192.168.1.1,fd00::/8,host:81,nonsense:x,/";
        let variables = [("all_proxy", "p:1"), ("no_proxy", except)];
        for url in [
            "http://localhost/",
            "http://example.org/",
            "https://www.EXAMPLE.org:8/",
            "http://a.example.net/",
            "http://10.1.2.3/",
            "http://[::1]:8080/",
            "http://192.168.1.1:99/",
            "http://[fd12::1]/",
            "http://host:81/",
            "http://example.org./",
        ] {
            assert_eq!(found(&variables, url), None, "{url}");
        }
        for url in [
            "http://badexample.org/",
            "http://11.1.2.3/",
            "http://[::1]/",
            "http://192.168.1.2/",
            "http://host/",
            "http://org/",
        ] {
            assert!(found(&variables, url).is_some(), "{url}");
        }
        assert_eq!(found(&[("all_proxy", "p:1"), ("NO_PROXY", "*")], "http://a/"), None);
        assert_eq!(found(&[("all_proxy", "p:1"), ("NO_PROXY", "0.0.0.0/0,::/0")], "http://1.2.3.4/"), None);
    }

    #[test]
    fn a_password_of_a_proxy_is_shown_nowhere() {
        let proxy = Proxy::new("http://me:secret@host:3128").unwrap();

        assert_eq!(proxy.to_string(), "http://host:3128");
        assert!(!format!("{proxy:?} {:?}", proxy.failed("no")).contains("secret"));
        for wrong in ["", "ftp://me:secret@host", "http://", "http://me:secret@", "http://me:secret@ho st"] {
            assert!(!format!("{:?}", Proxy::new(wrong).unwrap_err()).contains("secret"), "{wrong}");
        }
    }
}
