//! Servers and URLs that mean no good, or do not know better.

use std::{
    sync::{Arc, Barrier, mpsc},
    thread,
    time::{Duration, Instant},
};

use raincheck::fetch::{Client, FetchError, Request, TimeLimit};

use crate::{
    fetched, fetched_by,
    server::{Server, header, ok, path, status},
};

/// What comes of a server that sends this and closes the connection.
fn of(answer: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<String, FetchError> {
    by(Request::get, answer)
}

fn by(
    method: fn(&str) -> Result<Request, FetchError>,
    answer: impl AsRef<[u8]> + Send + Sync + 'static,
) -> Result<String, FetchError> {
    let server = Server::new(move |peer| {
        peer.request();
        peer.send(&answer);
    });
    fetched(method(&server.url("/")).unwrap()).map(|(_, body)| body)
}

#[test]
fn what_is_no_http_is_an_error_and_never_a_body() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "<html>old</html>",
        "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        "HTTP/1.1 99999 What\r\n\r\n",
    ] {
        let error = of(answer).unwrap_err();
        assert!(matches!(error, FetchError::Protocol { .. }), "{answer:?}: {error:?}");
    }
}

#[test]
fn a_head_without_end_is_given_up() {
    let error = of(format!("HTTP/1.1 200 OK\r\n{}", "X-A: b\r\n".repeat(1_000_000))).unwrap_err();

    assert!(matches!(error, FetchError::Protocol { .. } | FetchError::Reset { .. }), "{error:?}");
}

#[test]
fn what_ends_too_early_is_told_from_what_ends() {
    let cut_off = |got, of| Err(FetchError::CutOff { got, of });

    assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), cut_off(3, Some(10)));
    assert_eq!(of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), cut_off(3, None));
    assert_eq!(of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"), cut_off(3, None));
    assert_eq!(of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").unwrap(), "abc");
    assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc").unwrap(), "abc");
    assert_eq!(of("HTTP/1.0 200 OK\r\n\r\nto the end").unwrap(), "to the end");
    assert_eq!(of("HTTP/1.1 200 OK\r\nContent-Len").unwrap_err().kind(), "reset");
    assert_eq!(of("").unwrap_err().kind(), "reset");
}

#[test]
fn answers_without_a_body_have_none_whatever_they_say() {
    assert_eq!(of("HTTP/1.1 204 No Content\r\n\r\n").unwrap(), "");
    assert_eq!(of("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n").unwrap(), "");
    assert_eq!(by(Request::head, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").unwrap(), "");
    let news = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(of(news).unwrap(), "ok");
}

#[test]
fn silence_has_an_end() {
    let limit = Duration::from_millis(100);
    let client = Client::builder().idle_timeout(limit).build().unwrap();
    for said in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"] {
        let server = Server::new(move |peer| {
            peer.request();
            peer.send(said);
            peer.wait_for_end();
        });

        let error = fetched_by(&client, Request::get(&server.url("/")).unwrap()).unwrap_err();

        assert_eq!(error, FetchError::TimedOut { what: TimeLimit::Idle, limit }, "{said}");
    }
}

#[test]
fn a_server_is_silent_since_it_last_said_something_be_it_the_head() {
    let (limit, some_time) = (Duration::from_secs(1), Duration::from_millis(100));
    let meeting = Arc::new(Barrier::new(2));
    let (told, silence) = mpsc::channel();
    let gate = Arc::clone(&meeting);
    let server = Server::new(move |peer| {
        peer.request();
        gate.wait();
        gate.wait();
        let since = Instant::now();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        peer.wait_for_end();
        told.send(since.elapsed()).unwrap();
    });
    let client = |limit| Client::builder().idle_timeout(limit).build().unwrap();
    let fetching = thread::spawn({
        let request = Request::get(&server.url("/")).unwrap();
        move || fetched_by(&client(limit), request)
    });
    meeting.wait();
    // Somebody else loses patience meanwhile.
    let dumb = Server::new(|peer| peer.wait_for_end());
    assert!(fetched_by(&client(some_time), Request::get(&dumb.url("/")).unwrap()).is_err());
    meeting.wait();

    let error = fetching.join().unwrap().unwrap_err();

    assert_eq!(error, FetchError::TimedOut { what: TimeLimit::Idle, limit });
    assert!(silence.recv().unwrap() >= limit);
}

#[test]
fn a_drip_that_is_never_silent_has_an_end_too() {
    let limit = Duration::from_millis(100);
    let server = Server::new(|peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\n\r\n");
        while peer.try_send("drip").is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let began = Instant::now();

    let error = fetched(Request::get(&server.url("/")).unwrap().timeout(limit)).unwrap_err();

    assert_eq!(error, FetchError::TimedOut { what: TimeLimit::Total, limit });
    assert!(began.elapsed() >= limit);
}

#[test]
fn a_body_is_no_larger_than_allowed_whether_it_says_so_or_not() {
    for head in ["Content-Length: 11\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let server = Server::new(move |peer| {
            peer.request();
            let body = if head.starts_with('T') { "b\r\nhello world\r\n0\r\n\r\n" } else { "hello world" };
            peer.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}"));
        });
        let request = || Request::get(&server.url("/")).unwrap();

        assert_eq!(fetched(request().largest(10)).unwrap_err(), FetchError::TooLarge { limit: 10 });
        assert_eq!(fetched(request().largest(11)).unwrap().1, "hello world");
    }
}

#[test]
fn redirects_that_lead_nowhere_are_errors() {
    for location in [
        "file:///etc/passwd",
        "ftp://example.org/",
        "javascript:alert(1)",
        "http://",
        "http://[",
        "//:80/",
        "http://a:0/",
    ] {
        let answer = status("302 Found", &format!("Location: {location}\r\n"));

        let error = of(answer).unwrap_err();

        assert!(matches!(error, FetchError::InvalidRedirect { .. }), "{location}: {error:?}");
    }
    let secret = of(status("302 Found", "Location: ftp://me:secret@a/\r\n")).unwrap_err();
    assert!(!format!("{secret:?}{secret}").contains("secret"));
}

#[test]
fn a_redirect_without_a_location_is_a_response() {
    let server = Server::answering(|_| status("302 Found", ""));

    assert_eq!(fetched(Request::get(&server.url("/")).unwrap()).unwrap().0.status(), 302);
}

#[test]
fn a_redirect_to_itself_ends_at_the_limit() {
    let server = Server::answering(|_| status("302 Found", "Location: /\r\n"));
    let client = Client::builder().redirects(3).build().unwrap();

    let error = fetched_by(&client, Request::get(&server.url("/")).unwrap()).unwrap_err();

    assert_eq!(error, FetchError::TooManyRedirects { limit: 3 });
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn redirects_are_read_as_browsers_read_them() {
    for (location, expected) in [
        ("next", "/a/next"),
        ("/next", "/next"),
        ("?q", "/a/from?q"),
        ("../x y", "/x%20y"),
        ("/caf\u{e9}", "/caf%C3%A9"),
    ] {
        let server = Server::answering(move |request| match path(request) {
            "/a/from" => status("302 Found", &format!("Location: {location}\r\n")),
            other => ok(other),
        });
        assert_eq!(fetched(Request::get(&server.url("/a/from#part")).unwrap()).unwrap().1, expected);
    }
    let server = Server::answering(|request| match path(request) {
        "/" => status("302 Found", &format!("Location: //{}/there\r\n", header(request, "host").unwrap())),
        other => ok(other),
    });
    let (response, body) = fetched(Request::get(&server.url("/#part")).unwrap()).unwrap();
    assert_eq!(body, "/there");
    assert_eq!(response.url().fragment(), Some("part"));
}

#[test]
fn methods_and_bodies_go_along_or_not_as_the_standard_says() {
    for (code, method, expected) in [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ] {
        let server = Server::answering(move |request| match path(request) {
            "/from" => status(&format!("{code} Elsewhere"), "Location: /to\r\n"),
            _ => status("200 OK", ""),
        });
        let request = Request::new(method.parse().unwrap(), &server.url("/from")).unwrap();
        let request =
            if method == "HEAD" { request } else { request.header("Content-Type", "a/b").unwrap().body("rain") };

        fetched(request).unwrap();

        let second = &server.requests()[1];
        let kept = expected == method && method != "HEAD";
        assert!(second.starts_with(&format!("{expected} /to ")), "{code} {method}: {second}");
        assert_eq!(second.ends_with("rain"), kept, "{code} {method}: {second}");
        assert_eq!(header(second, "content-type").is_some(), kept, "{code} {method}: {second}");
    }
}

#[test]
fn a_url_injects_nothing() {
    let server = Server::answering(|_| ok(""));

    for tail in [
        "/a\r\nX-Evil: 1",
        "/a\nX-Evil: 1",
        "/a%0d%0aX-Evil: 1",
        "/a?b\r\nX-Evil: 1",
        "/a\0b",
        "/a\u{2028}b",
        "/\"<>\\^`{|}",
    ] {
        let Ok(request) = Request::get(&server.url(tail)) else { continue };
        fetched(request).unwrap();
    }

    for request in server.requests() {
        assert_eq!(header(&request, "x-evil"), None, "{request}");
        assert_eq!(request.lines().next().unwrap().split(' ').count(), 3, "{request}");
    }
}

#[test]
fn headers_inject_nothing() {
    let request = || Request::get("http://example.org/").unwrap();
    for (name, value) in
        [("X-A", "a\r\nX-Evil: 1"), ("X-A\r\nX-Evil", "1"), ("X A", "1"), ("", "1"), ("X-A", "a\0b"), ("X:A", "1")]
    {
        assert_eq!(request().header(name, value).unwrap_err().kind(), "invalid", "{name:?} {value:?}");
        assert_eq!(Client::builder().header(name, value).unwrap_err().kind(), "invalid", "{name:?} {value:?}");
    }
}

#[test]
fn urls_that_cannot_be_fetched_say_so_at_once() {
    for url in [
        "",
        "example.org/file",
        "/file",
        "ftp://example.org/",
        "http://",
        "http:///",
        "https://?",
        "http://a b/",
        "http://[::1",
        "http://a:99999/",
        "http://a:0/",
        "mailto:me",
    ] {
        let error = Request::get(url).err();
        // The standard of URLs reads `http:///x` as `http://x`; then there must be a host.
        if let Some(error) = error {
            assert_eq!(error.kind(), "invalid-url", "{url}");
        } else {
            panic!("{url} was taken");
        }
    }
}

#[test]
fn hosts_come_in_many_forms() {
    for (given, host) in [
        ("http://B\u{fc}cher.example/", "xn--bcher-kva.example"),
        ("http://[0:0:0:0:0:0:0:1]:8/", "[::1]"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://EXAMPLE.org:80/", "example.org"),
    ] {
        assert_eq!(Request::get(given).unwrap().url().host_str(), Some(host));
    }
    let listener = std::net::TcpListener::bind("[::1]:0").expect("this system has IPv6 on its loopback");
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(ok("six").as_bytes());
    });
    assert_eq!(fetched(Request::get(&url).unwrap()).unwrap().1, "six");
}

#[test]
fn who_is_not_there_is_told_from_who_does_not_exist() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();

    let refused = fetched(Request::get(&format!("http://127.0.0.1:{port}/")).unwrap()).unwrap_err();
    let unresolved = fetched(Request::get("http://nobody.invalid/").unwrap()).unwrap_err();

    assert_eq!(refused, FetchError::Refused { address: format!("127.0.0.1:{port}") });
    assert!(matches!(unresolved, FetchError::Unresolved { host, .. } if host == "nobody.invalid"));
}
