//! How requests are made and answers taken: the options that become a client and a way to download.

use std::fs::{self, OpenOptions};
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use raincheck::fetch::{Client, ClientBuilder, Cookies, Credentials, Downloads, FetchError, Http2, Proxy, Retries};

use super::list::size;
use super::robots;
use crate::args::{duration, number, number_within};
use crate::error::{Error, reason};

/// How requests are made.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Requests")]
pub(super) struct RequestOptions {
    /// Send a header, as in 'Accept: image/*'; in place of our own of that name
    #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Say that the program is this one
    #[arg(long, short = 'A', value_name = "NAME")]
    user_agent: Option<String>,
    /// Send another request than GET; what has a body then needs --data
    #[arg(long, short = 'X', value_name = "METHOD")]
    pub(super) method: Option<String>,
    /// Send this with each request, or what is in @FILE; the method is POST then, unless given
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Send the cookies in FILE (cookies.txt, as curl and browsers write it)
    #[arg(long, short = 'b', value_name = "FILE")]
    cookies: Option<PathBuf>,
    /// Write the cookies to FILE at the end
    #[arg(long, short = 'c', value_name = "FILE")]
    save_cookies: Option<PathBuf>,
    /// Let HOST know who asks, as in 'example.org=name:password'
    #[arg(long = "user", short = 'u', value_name = "HOST=USER:PASSWORD", value_parser = user)]
    users: Vec<(String, Credentials)>,
    /// Let HOST have a token, as in 'api.example.org=TOKEN'
    #[arg(long = "bearer", value_name = "HOST=TOKEN", value_parser = bearer)]
    bearers: Vec<(String, Credentials)>,
    /// Take names and passwords from FILE [default: $NETRC or ~/.netrc]
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "absent, alone, and with a file are three different things")]
    netrc: Option<Option<PathBuf>>,
    /// Go through this proxy, http:// or socks5:// [default: as http_proxy, https_proxy and all_proxy say]
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Go to these hosts directly; `*` is all [default: as no_proxy says]
    #[arg(long, value_name = "HOSTS")]
    no_proxy: Option<String>,
    /// Take HOST, asked for at PORT, to be at this address, as in 'example.org:443:127.0.0.1'; or at these, with commas
    #[arg(long = "resolve", value_name = "HOST:PORT:ADDRESS", value_parser = resolved)]
    resolved: Vec<(String, u16, Vec<IpAddr>)>,
    /// Trust the authorities in FILE (PEM), and no others
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Show this certificate (PEM) to servers that ask
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Trust any certificate: anyone on the way can read and change everything
    #[arg(long, short = 'k')]
    insecure: bool,
    /// Ask for compressed answers, and write them decompressed; such a file cannot be gone on with
    #[arg(long)]
    pub(super) compressed: bool,
    /// Speak HTTP/1.1 alone, also where HTTP/2 is offered
    #[arg(long = "http1.1")]
    http1: bool,
    /// Speak HTTP/2 alone, also where nothing is agreed on: with http:// (h2c)
    #[arg(long, conflicts_with = "http1")]
    http2: bool,
    /// Follow so many redirects
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = number::<usize>)]
    max_redirects: usize,
    /// Refuse files larger than this, as in 500k, 20M or 4G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Give up on a connection that is not there after so long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    connect_timeout: Duration,
    /// Give up on a server that sends nothing for so long
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    idle_timeout: Duration,
    /// Give up on a download whose attempt takes longer than this in all
    #[arg(long, visible_alias = "timeout", value_name = "DURATION", value_parser = duration)]
    max_time: Option<Duration>,
}

/// How many, how fast, and how often.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "How many, how fast, how often")]
pub(super) struct PaceOptions {
    /// At most so many at once from one host [default: as many as --jobs]
    #[arg(long, value_name = "N", value_parser = number::<NonZeroUsize>)]
    per_host: Option<NonZeroUsize>,
    /// Find out how many at once each host can bear, up to --jobs
    #[arg(long)]
    adaptive: bool,
    /// Begin at most so many requests a second
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Begin at most so many requests a second to one host
    #[arg(long, value_name = "N", value_parser = rate)]
    per_host_rate: Option<f64>,
    /// Take in at most so many bytes a second, as in 500k or 2M
    #[arg(long, value_name = "SIZE", value_parser = size)]
    limit_rate: Option<u64>,
    /// Fetch a large file in so many pieces at once, where there are downloads to spare and its server gives pieces [default: 1, since
    /// servers count connections, and many files fill the line without it]
    #[arg(long, value_name = "N", default_value = "1", hide_default_value = true, value_parser = number::<NonZeroU32>)]
    segments: NonZeroU32,
    /// No piece is smaller than this
    #[arg(long, value_name = "SIZE", default_value = "8M", value_parser = size)]
    segment_size: u64,
    /// Try again so many times what may go away: 429 and 5xx, time limits but --max-time, lost connections, bodies cut off
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = number::<u32>)]
    retries: u32,
    /// Try again after these statuses too, as in 403,404
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = number_within(100..=599_u16))]
    retry_on: Vec<u16>,
    /// The longest wait before the second attempt; it doubles with each one, and a part of it is drawn by lot
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = duration)]
    retry_wait: Duration,
    /// Give up on a server that asks to be left alone for longer than this
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    max_retry_after: Duration,
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Existing {
    /// Leave it, and ask for nothing, if it is as this program has left it or has the right checksum; else that is a failure
    #[default]
    Skip,
    /// Leave it, and ask for nothing, whatever it is
    Keep,
    /// Ask whether there is a newer one, and replace it then
    Check,
    /// Fetch it anew, and replace it when the new one is whole
    Replace,
    /// Leave it, and count that as a failure
    Fail,
}

/// The client, and the cookies that it keeps.
pub(super) struct Made {
    pub(super) client: Client,
    cookies: Option<(Cookies, PathBuf)>,
}

impl RequestOptions {
    /// The client that asks in this way.
    pub(super) fn client(&self) -> Result<Made, Error> {
        let read = |path: &Path| {
            fs::read(path).map_err(|error| Error::usage(format!("cannot read `{}`", path.display())).because(error))
        };
        let mut builder = Client::builder();
        for (name, value) in &self.headers {
            builder = builder.header(name, value).map_err(unusable)?;
        }
        if let Some(agent) = &self.user_agent {
            builder = builder.header("user-agent", agent).map_err(unusable)?;
        }
        for (host, credentials) in self.users.iter().chain(&self.bearers) {
            builder = builder.credentials(host, credentials.clone());
        }
        builder = match &self.netrc {
            None => builder,
            Some(None) => builder.own_netrc().map_err(unreadable)?,
            Some(Some(path)) => builder.netrc(path).map_err(unreadable)?,
        };
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(Proxy::new(proxy).map_err(unusable)?);
        }
        if let Some(hosts) = &self.no_proxy {
            builder = builder.no_proxy(hosts);
        }
        for (host, port, addresses) in &self.resolved {
            builder = builder.resolve(host, *port, addresses.iter().copied());
        }
        if let Some(ca) = &self.ca {
            builder = builder.root_certificates(&read(ca)?).map_err(unusable_in(&[ca]))?;
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            builder = builder.client_certificate(&read(cert)?, &read(key)?).map_err(unusable_in(&[cert, key]))?;
        }
        if self.insecure {
            builder = builder.insecure();
        }
        let (builder, cookies) = self.with_cookies(builder, &read)?;
        let client = builder
            .connect_timeout(self.connect_timeout)
            .idle_timeout(self.idle_timeout)
            .timeout(self.max_time)
            .redirects(self.max_redirects)
            .largest(self.max_size)
            .decode(self.compressed)
            .http2(self.http2())
            .build()
            .map_err(unusable)?;
        Ok(Made { client, cookies })
    }

    fn http2(&self) -> Http2 {
        match (self.http1, self.http2) {
            (true, _) => Http2::Never,
            (false, true) => Http2::Always,
            (false, false) => Http2::Offer,
        }
    }

    fn with_cookies(
        &self,
        builder: ClientBuilder,
        read: &impl Fn(&Path) -> Result<Vec<u8>, Error>,
    ) -> Result<(ClientBuilder, Option<(Cookies, PathBuf)>), Error> {
        if self.cookies.is_none() && self.save_cookies.is_none() {
            return Ok((builder, None));
        }
        let cookies = match &self.cookies {
            None => Cookies::new(),
            Some(path) => {
                Cookies::from_netscape(&String::from_utf8_lossy(&read(path)?)).map_err(unusable_in(&[path]))?
            }
        };
        if let Some(path) = &self.save_cookies {
            // Better now than when all is fetched. What is in it stays until then.
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map_err(|error| Error::usage(format!("cannot write `{}`", path.display())).because(error))?;
        }
        let kept = self.save_cookies.clone().map(|path| (cookies.clone(), path));
        Ok((builder.cookies(cookies), kept))
    }

    /// The name that sites know us by, in what they ask of robots.
    pub(super) fn robot(&self) -> String {
        let agent = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("user-agent"));
        let agent = self.user_agent.as_deref().or(agent.map(|(_, agent)| agent.as_str()));
        match agent.map(robots::product) {
            None | Some("") => env!("CARGO_PKG_NAME").trim_end_matches("-cli").into(),
            Some(product) => product.into(),
        }
    }

    /// What is sent with each request.
    pub(super) fn body(&self) -> Result<Option<Vec<u8>>, Error> {
        let Some(data) = &self.data else { return Ok(None) };
        let Some(path) = data.strip_prefix('@') else { return Ok(Some(data.clone().into())) };
        fs::read(path).map(Some).map_err(|error| Error::usage(format!("cannot read `{path}`")).because(error))
    }
}

impl PaceOptions {
    /// In how many pieces a large file is fetched, and of how many bytes at least.
    pub(super) fn segments(&self) -> (u32, u64) {
        (self.segments.get(), self.segment_size)
    }

    /// Downloads in this way.
    pub(super) fn apply(&self, downloads: Downloads) -> Downloads {
        let mut retries = Retries::times(self.retries).first(self.retry_wait).patience(self.max_retry_after);
        for status in &self.retry_on {
            retries = retries.status(*status);
        }
        let downloads = downloads
            .retries(retries)
            .adaptive(self.adaptive)
            .per_second(self.rate.unwrap_or_default())
            .per_host_second(self.per_host_rate.unwrap_or_default())
            .bytes_per_second(self.limit_rate.unwrap_or_default())
            .segments(self.segments.get() as usize, self.segment_size);
        match self.per_host {
            Some(most) => downloads.per_host(most.get()),
            None => downloads,
        }
    }
}

impl Made {
    /// Writes the cookies down, if that was asked for.
    pub(super) fn end(self) -> Result<(), Error> {
        let Some((cookies, path)) = self.cookies else { return Ok(()) };
        fs::write(&path, cookies.to_netscape())
            .map_err(|error| Error::new(format!("cannot write `{}`", path.display())).because(error))
    }
}

fn unusable(error: FetchError) -> Error {
    Error::usage(error.to_string())
}

/// What is in these files cannot be used.
fn unusable_in(files: &[&PathBuf]) -> impl Fn(FetchError) -> Error {
    let names: Vec<_> = files.iter().map(|file| format!("`{}`", file.display())).collect();
    move |error| Error::usage(format!("cannot use {}", names.join(" and "))).because(error)
}

/// The error names the file.
fn unreadable(error: FetchError) -> Error {
    Error::usage(format!("cannot read {}", reason(&error)))
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().into(), value.trim().into())),
        _ => Err("write it as in 'Accept: image/*'".into()),
    }
}

fn user(text: &str) -> Result<(String, Credentials), String> {
    let (host, user) = at_host(text)?;
    let (user, password) = user.split_once(':').ok_or("write it as in 'example.org=name:password'")?;
    Ok((host, Credentials::basic(user, password)))
}

fn bearer(text: &str) -> Result<(String, Credentials), String> {
    at_host(text).map(|(host, token)| (host, Credentials::bearer(token)))
}

/// A secret is for one host: no list of URLs can send it to another.
fn at_host(text: &str) -> Result<(String, &str), String> {
    match text.split_once('=') {
        Some((host, secret)) if !host.is_empty() && !secret.is_empty() && !host.contains([':', '/', '@']) => {
            Ok((host.into(), secret))
        }
        _ => Err("say for which host, as in 'example.org=…': it is told to no other".into()),
    }
}

fn resolved(text: &str) -> Result<(String, u16, Vec<IpAddr>), String> {
    let unreadable = || "write it as in 'example.org:443:127.0.0.1'".to_owned();
    let (host, rest) = text.split_once(':').ok_or_else(unreadable)?;
    let (port, addresses) = rest.split_once(':').ok_or_else(unreadable)?;
    let address = |text: &str| text.trim_matches(['[', ']']).parse().map_err(|_| format!("`{text}` is no address"));
    let addresses = addresses.split(',').map(address).collect::<Result<_, _>>()?;
    match port.parse() {
        Ok(port) if !host.is_empty() => Ok((host.into(), port, addresses)),
        _ => Err(unreadable()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("it must be a number above 0, such as 10 or 0.5".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_given_as_curl_has_it() {
        let given = resolved("h.org:443:10.0.0.1,[::1],::2").unwrap();
        assert_eq!(given, ("h.org".into(), 443, ["10.0.0.1", "::1", "::2"].map(|ip| ip.parse().unwrap()).to_vec()));
        for wrong in ["h.org", "h.org:443", "h.org:x:10.0.0.1", ":443:10.0.0.1", "h.org:443:", "h.org:443:elsewhere"] {
            assert!(resolved(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_for_one_host() {
        assert_eq!(user("h.org=me:a:b=c"), Ok(("h.org".into(), Credentials::basic("me", "a:b=c"))));
        assert!(user("me:secret").is_err());
        assert!(bearer("token").unwrap_err().contains("for which host"));
    }
}
