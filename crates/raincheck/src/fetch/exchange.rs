//! One request and its response, with what lies between them: redirects, challenges, a connection that had gone stale.

use std::{borrow::Cow, sync::Arc, time::Instant};

use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri, Version,
    header::{self, AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION},
    uri::PathAndQuery,
};
use hyper::body::Incoming;
use url::{Position, Url};

use super::{
    Credentials, FetchError, Proxy, Redirect, Request, Response, Timings,
    body::{ACCEPTED, Body, Decoder},
    client::Settings,
    connect,
    connection::{self, Failed, Fate, Http1, Limits, Watch},
    payload::{Payload, Sending},
    pool::{Connections, Given, Greeting, Place, Stream},
    request::{shown, shown_text, usable},
    response::Parts,
    route::{OwnedRoute, Route},
    tls::Http2,
};

/// Of a body that nobody wants, so much is read to keep the connection.
const DRAINED_AT_MOST: u64 = 64 << 10;

/// So often is a request sent again that servers have not looked at: they may close a connection after so many requests,
/// which others have used up.
const SENT_AGAIN_AT_MOST: u32 = 10;

/// Sends `request`, and what it leads to, until there is a response that leads no further.
pub(super) async fn exchange(
    settings: &Settings,
    connections: &Connections,
    request: &Request,
) -> Result<Response, FetchError> {
    let total = request.total().or(settings.total).map(|total| (Instant::now() + total, total));
    let limits =
        Limits { connect: request.connect().or(settings.connect), idle: request.idle().or(settings.idle), total };
    let mut redirects = Vec::new();
    let mut hop = Hop::first(settings, request)?;
    loop {
        let mut response = hop.send(connections, limits).await?;
        if let Some(cookies) = &settings.cookies {
            cookies.take(&hop.url, response.headers());
        }
        if response.status() == StatusCode::UNAUTHORIZED && hop.can_answer(response.headers()) {
            drain(response).await;
            continue;
        }
        let Some(location) = redirection(&response).filter(|_| request.follows()) else {
            response.parts().redirects = redirects;
            if hop.decodes {
                decode(&mut response);
            }
            return Ok(response);
        };
        if redirects.len() == settings.redirects {
            return Err(FetchError::TooManyRedirects { limit: settings.redirects });
        }
        hop.follow(response.status(), &location)?;
        redirects.push(Redirect { status: response.status().as_u16(), url: shown(&hop.url) });
        drain(response).await;
    }
}

/// One request on the way.
struct Hop<'a> {
    settings: &'a Settings,
    method: Method,
    url: Url,
    /// What stands between here and there.
    proxy: Option<&'a Arc<Proxy>>,
    headers: Cow<'a, HeaderMap>,
    payload: Option<&'a Payload>,
    cap: u64,
    decodes: bool,
    /// Who asks here.
    credentials: Option<Credentials>,
    /// The server has asked who, and was told.
    answered: bool,
}

impl<'a> Hop<'a> {
    fn first(settings: &'a Settings, request: &'a Request) -> Result<Self, FetchError> {
        // A request that was read back by serde has not been looked at.
        usable(request.url()).map_err(|reason| FetchError::InvalidUrl { url: shown(request.url()), reason })?;
        let mut headers = Cow::Borrowed(&settings.headers);
        // What the request says stands instead of what the client says; what it says twice stands twice.
        let mut last = None;
        for (name, value) in request.headers() {
            if last.replace(name) == Some(name) {
                headers.to_mut().append(name, value.clone());
            } else {
                headers.to_mut().insert(name, value.clone());
            }
        }
        let (mut url, in_url) = without_credentials(request.url().clone());
        if !settings.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&settings.query);
        }
        let credentials = request.own_credentials().cloned().or(in_url).or_else(|| settings.credentials_for(&url));
        Ok(Self {
            settings,
            method: request.method().clone(),
            proxy: settings.proxies.find(&url),
            url,
            headers,
            payload: request.payload(),
            cap: request.cap().or(settings.largest).unwrap_or(u64::MAX),
            decodes: request.decodes().unwrap_or(settings.decode),
            credentials,
            answered: false,
        })
    }

    /// Sends it over an open connection where there is one.
    ///
    /// Such a connection may have been closed by the server just before, which says nothing about this request: it is
    /// then sent once more, over a new one. So it is, some times, if the server says that it has done nothing about it.
    async fn send(&self, connections: &Connections, limits: Limits) -> Result<Response, FetchError> {
        let mut timings = Timings::default();
        let mut sent_again = 0;
        let mut lost_before = false;
        loop {
            let (place, greeting) = match connections.take(self.route(), self.may_share(), limits.total).await? {
                Given::Place(place, greeting) => (place, greeting),
                Given::Http1(mut http1) => match self.over_http1(&mut http1, limits, &mut timings).await {
                    Ok(response) => return Ok(self.http1_response(response, http1, connections, timings)),
                    Err(failed) if failed.can_repeat(&self.method) => (http1.into_place(), None),
                    Err(failed) => return Err(failed.error),
                },
                Given::Http2(stream) => match self.over_http2(stream, connections, limits, timings).await {
                    Ok(response) => return Ok(response),
                    Err(failed)
                        if failed.can_repeat(&self.method) && sent_again < SENT_AGAIN_AT_MOST && !lost_before =>
                    {
                        lost_before = matches!(failed.request, Fate::Unknown);
                        sent_again += 1;
                        continue;
                    }
                    Err(failed) => return Err(failed.error),
                },
            };
            match Box::pin(self.send_over_new(place, greeting, connections, limits, timings)).await {
                Ok(response) => return Ok(response),
                Err(Failed { request: Fate::Refused, .. }) if sent_again < SENT_AGAIN_AT_MOST => sent_again += 1,
                Err(failed) => return Err(failed.error),
            }
        }
    }

    async fn send_over_new(
        &self,
        place: Place,
        greeting: Option<Greeting>,
        connections: &Connections,
        limits: Limits,
        mut timings: Timings,
    ) -> Result<Response, Failed> {
        let forwarding = self.forwarding();
        let tls = if forwarding.is_some() { &self.settings.proxy_tls } else { &self.settings.tls };
        let stream = connect::stream(self.settings, tls, self.route(), limits, &mut timings).await;
        let stream = stream.map_err(|error| match forwarding {
            Some(proxy) if !matches!(error, FetchError::TimedOut { .. }) => Failed::of(proxy.failed(error)),
            _ => Failed::of(error),
        })?;
        let route = OwnedRoute::from(self.route());
        if stream.is_http2() || tls.http2() == Http2::Always {
            let stream = connection::http2(stream, route, place, connections).await.map_err(Failed::of)?;
            drop(greeting);
            return self.over_http2(stream, connections, limits, timings).await;
        }
        drop(greeting);
        let mut http1 = Http1::new(stream, route, place).await.map_err(Failed::of)?;
        let response = self.over_http1(&mut http1, limits, &mut timings).await?;
        Ok(self.http1_response(response, http1, connections, timings))
    }

    async fn over_http1(
        &self,
        http1: &mut Http1,
        limits: Limits,
        timings: &mut Timings,
    ) -> Result<http::Response<Incoming>, Failed> {
        let request = self.http1_request().map_err(Failed::of)?;
        let sent = Instant::now();
        let response = http1.send(request, limits, sent).await;
        timings.wait = Some(sent.elapsed());
        response
    }

    fn http1_response(
        &self,
        response: http::Response<Incoming>,
        http1: Box<Http1>,
        connections: &Connections,
        timings: Timings,
    ) -> Response {
        let (head, incoming) = response.into_parts();
        let body = Body::http1(incoming, http1, connections, self.cap);
        Response::new(Parts { head, url: self.url.clone(), redirects: Vec::new(), timings, body })
    }

    async fn over_http2(
        &self,
        mut stream: Stream,
        connections: &Connections,
        limits: Limits,
        mut timings: Timings,
    ) -> Result<Response, Failed> {
        let request = self.http2_request().map_err(Failed::of)?;
        let mut watch = Watch::new(limits);
        let sent = Instant::now();
        let response = connection::send_http2(&mut stream, request, &mut watch).await.inspect_err(|failed| {
            if !matches!(failed.request, Fate::Failed) {
                connections.retire(&stream);
            }
        })?;
        timings.wait = Some(sent.elapsed());
        let (head, incoming) = response.into_parts();
        let body = Body::http2(incoming, stream, watch, self.cap);
        Ok(Response::new(Parts { head, url: self.url.clone(), redirects: Vec::new(), timings, body }))
    }

    /// Whether it might go over a connection that many share.
    fn may_share(&self) -> bool {
        match self.settings.tls.http2() {
            Http2::Never => false,
            Http2::Offer => self.url.scheme() == "https",
            Http2::Always => self.forwarding().is_none(),
        }
    }

    /// Whose answer it will be.
    fn site(&self) -> Route<'_> {
        Route {
            secure: self.url.scheme() == "https",
            host: self.url.host_str().unwrap_or_default(),
            port: self.url.port_or_known_default().unwrap_or_default(),
            proxy: None,
        }
    }

    /// Where the connection leads that it takes.
    fn route(&self) -> Route<'_> {
        match (self.forwarding(), self.proxy) {
            (Some(proxy), _) => Route { secure: proxy.is_secure(), host: &proxy.host, port: proxy.port, proxy: None },
            (None, proxy) => Route { proxy, ..self.site() },
        }
    }

    /// The proxy that is given the request itself, and not only a connection to make.
    fn forwarding(&self) -> Option<&'a Arc<Proxy>> {
        self.proxy.filter(|proxy| self.url.scheme() == "http" && proxy.forwards())
    }

    fn http1_request(&self) -> Result<http::Request<Sending>, FetchError> {
        let forwarding = self.forwarding();
        let uri = if forwarding.is_some() {
            let whole = &self.url[..Position::AfterQuery];
            Uri::try_from(whole).map_err(|error| self.unfit(error))?
        } else {
            let target = &self.url[Position::BeforePath..Position::AfterQuery];
            Uri::from(PathAndQuery::try_from(target).map_err(|error| self.unfit(error))?)
        };
        let mut request = self.request(uri, Version::HTTP_11)?;
        if let Some(authorization) = forwarding.map_or(Ok(None), |proxy| proxy.authorization())? {
            request.headers_mut().entry(PROXY_AUTHORIZATION).or_insert(authorization);
        }
        let host = &self.url[Position::BeforeHost..Position::AfterPort];
        let host = HeaderValue::from_str(host).map_err(|error| self.unfit(error))?;
        request.headers_mut().entry(HOST).or_insert(host);
        Ok(request)
    }

    fn http2_request(&self) -> Result<http::Request<Sending>, FetchError> {
        let host = &self.url[Position::BeforeHost..Position::AfterPort];
        let target = &self.url[Position::BeforePath..Position::AfterQuery];
        let uri = Uri::builder()
            .scheme(self.url.scheme())
            .authority(host)
            .path_and_query(target)
            .build()
            .map_err(|error| self.unfit(error))?;
        let mut request = self.request(uri, Version::HTTP_2)?;
        for name in [HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
            request.headers_mut().remove(name);
        }
        Ok(request)
    }

    fn request(&self, uri: Uri, version: Version) -> Result<http::Request<Sending>, FetchError> {
        let payload = self.payload.map_or_else(|| Ok(Sending::nothing()), Payload::open)?;
        let says_nothing = payload.length() == 0 && [Method::POST, Method::PUT, Method::PATCH].contains(&self.method);
        let mut request = http::Request::new(payload);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = version;
        *request.headers_mut() = HeaderMap::clone(&self.headers);
        if self.decodes {
            request.headers_mut().entry(header::ACCEPT_ENCODING).or_insert(ACCEPTED);
        }
        if let Some(content_type) = self.payload.and_then(Payload::content_type) {
            let content_type = HeaderValue::from_str(content_type)
                .map_err(|_| FetchError::invalid("the type of the payload cannot be sent"))?;
            request.headers_mut().entry(header::CONTENT_TYPE).or_insert(content_type);
        }
        if says_nothing {
            // Servers ask for the length of what such a request brings.
            request.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
        }
        if self.forwarding().is_none() {
            // It would reach the server.
            request.headers_mut().remove(PROXY_AUTHORIZATION);
        }
        if let Some(credentials) = &self.credentials
            && !self.headers.contains_key(AUTHORIZATION)
            && let Some(shown) = self.shown_to_server(credentials)?
        {
            request.headers_mut().insert(AUTHORIZATION, shown);
        }
        if let Some(cookies) = self.settings.cookies.as_ref().and_then(|cookies| cookies.header(&self.url)) {
            let own = self.headers.get(COOKIE).and_then(|own| own.to_str().ok());
            let all = own.map_or(cookies.clone(), |own| format!("{own}; {cookies}"));
            let mut all = HeaderValue::try_from(all).map_err(|_| FetchError::invalid("a cookie cannot be sent"))?;
            all.set_sensitive(true);
            request.headers_mut().insert(COOKIE, all);
        }
        Ok(request)
    }

    /// What of the credentials is sent: the answer to what the server has asked for, or what it need not ask for.
    fn shown_to_server(&self, credentials: &Credentials) -> Result<Option<HeaderValue>, FetchError> {
        let target = &self.url[Position::BeforePath..Position::AfterQuery];
        match self.settings.challenges.answer(self.site(), credentials, &self.method, target)? {
            Some(answer) => Ok(Some(answer)),
            None => credentials.unasked(),
        }
    }

    /// Whether there is an answer to a server that asks who is asking, which it has not had yet.
    fn can_answer(&mut self, headers: &HeaderMap) -> bool {
        let Some(credentials) = &self.credentials else { return false };
        if self.answered || self.headers.contains_key(AUTHORIZATION) {
            return false;
        }
        self.answered = true;
        self.settings.challenges.take(self.site(), headers, credentials)
    }

    fn unfit(&self, error: impl ToString) -> FetchError {
        FetchError::InvalidUrl { url: shown(&self.url), reason: error.to_string() }
    }

    /// Turns to where a response leads.
    fn follow(&mut self, status: StatusCode, location: &str) -> Result<(), FetchError> {
        let invalid = |reason: String| FetchError::InvalidRedirect { location: shown_text(location), reason };
        let mut next = self.url.join(location).map_err(|error| invalid(error.to_string()))?;
        usable(&next).map_err(invalid)?;
        if next.fragment().is_none() {
            next.set_fragment(self.url.fragment());
        }
        let becomes_get = match status {
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.payload = None;
            for name in
                [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE, header::CONTENT_LOCATION]
            {
                self.headers.to_mut().remove(name);
            }
        }
        if !same_site(&self.url, &next) {
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                self.headers.to_mut().remove(name);
            }
            self.credentials = self.settings.credentials_for(&next);
        }
        let (next, in_url) = without_credentials(next);
        if in_url.is_some() {
            self.credentials = in_url;
        }
        self.answered = false;
        // Given for one host, it would mislead the next.
        self.headers.to_mut().remove(HOST);
        self.proxy = self.settings.proxies.find(&next);
        self.url = next;
        Ok(())
    }
}

impl Settings {
    fn credentials_for(&self, url: &Url) -> Option<Credentials> {
        let host = url.host_str()?;
        self.credentials.get(host).or_else(|| self.netrc.find(host)).cloned()
    }
}

/// Takes the credentials out of a URL, so that they are in nothing that is made of it.
fn without_credentials(mut url: Url) -> (Url, Option<Credentials>) {
    let credentials = Credentials::of_url(&url);
    if credentials.is_some() {
        // Neither fails for a URL that has a host.
        let _ = (url.set_username(""), url.set_password(None));
    }
    (url, credentials)
}

/// Whether what opens the one may be shown to the other: the same host and port, and none less safe.
fn same_site(from: &Url, to: &Url) -> bool {
    let upgraded = from.scheme() == "http" && to.scheme() == "https" && from.port().is_none() && to.port().is_none();
    from.host() == to.host()
        && (upgraded || (from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default()))
}

/// Where a response sends its reader on.
fn redirection(response: &Response) -> Option<String> {
    match response.status() {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {
            // Servers send it as UTF-8, which is not what the standard has, and what browsers follow.
            let location = response.headers().get(header::LOCATION)?;
            Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
        }
        _ => None,
    }
}

/// Has the body given decompressed, with headers that say so. Not a part of one, which does not decompress.
fn decode(response: &mut Response) {
    if response.status() == StatusCode::PARTIAL_CONTENT {
        return;
    }
    if let Some(decoder) = Decoder::of(response.headers()) {
        let parts = response.parts();
        parts.head.headers.remove(header::CONTENT_ENCODING);
        parts.head.headers.remove(header::CONTENT_LENGTH);
        parts.body.decode(decoder);
    }
}

/// Reads what is left of a short body, so that its connection can be used again.
async fn drain(mut response: Response) {
    let mut left = DRAINED_AT_MOST;
    while left > 0
        && let Ok(Some(piece)) = response.chunk().await
    {
        left = left.saturating_sub(piece.len() as u64);
    }
}
