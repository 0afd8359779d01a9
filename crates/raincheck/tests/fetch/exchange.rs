//! One request, one response.

use std::time::Duration;

use raincheck::fetch::{Client, FetchError, Request};

use crate::{
    fetched, fetched_by, run,
    server::{Server, header, ok, path, status},
};

/// Longer than any limit that is to count before.
const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_body_comes_whole_with_its_status_and_headers() {
    let server = Server::answering(|_| "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nX-Why: gone\r\n\r\nnone".into());

    let (response, body) = fetched(Request::get(&server.url("/a?b#c")).unwrap()).unwrap();

    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["x-why"], "gone");
    assert_eq!(response.length(), Some(4));
    assert_eq!(body, "none");
    let request = &server.requests()[0];
    assert_eq!(path(request), "/a?b");
    assert_eq!(header(request, "host").unwrap(), server.address.to_string());
}

#[test]
fn one_connection_serves_one_request_after_the_other() {
    let server = Server::answering(|request| ok(path(request)));
    let client = Client::builder().build().unwrap();

    run(async {
        for path in ["/1", "/2", "/3"] {
            let response = client.fetch(Request::get(&server.url(path)).unwrap()).await.unwrap();
            assert_eq!(response.bytes().await.unwrap(), path);
        }
    });

    assert_eq!(server.connections(), 1);
}

#[test]
fn a_body_that_ends_early_is_cut_off() {
    let server = Server::new(|peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!");
    });

    let error = fetched(Request::get(&server.url("/")).unwrap()).unwrap_err();

    assert_eq!(error, FetchError::CutOff { got: 5, of: Some(10) });
}

#[test]
fn a_redirect_is_followed_and_noted() {
    let server = Server::answering(|request| match path(request) {
        "/from" => status("302 Found", "Location: to?x=1\r\n"),
        other => ok(other),
    });
    let client = Client::builder().build().unwrap();

    let (response, body) = fetched_by(&client, Request::get(&server.url("/from")).unwrap()).unwrap();

    assert_eq!(body, "/to?x=1");
    assert_eq!(response.url().as_str(), server.url("/to?x=1"));
    assert_eq!(response.redirects().len(), 1);
    assert_eq!(response.redirects()[0].status, 302);
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_redirect_is_the_response_for_who_does_not_want_it_followed() {
    let server = Server::answering(|_| status("302 Found", "Location: /to\r\n"));

    let (response, _) = fetched(Request::get(&server.url("/from")).unwrap().unfollowed()).unwrap();

    assert_eq!(response.status(), 302);
    assert_eq!(response.headers()["location"], "/to");
    assert_eq!(response.redirects(), []);
}

#[test]
fn what_all_urls_have_in_common_is_not_added_to_redirects() {
    let server = Server::answering(|request| match path(request) {
        "/from?own=1&lang=en&key=a+b" => status("302 Found", "Location: /to?own=2\r\n"),
        other => ok(other),
    });
    let client = Client::builder().query(&[("lang", "en")]).query(&[("key", "a b")]).build().unwrap();

    let (_, body) = fetched_by(&client, Request::get(&server.url("/from?own=1")).unwrap()).unwrap();

    assert_eq!(body, "/to?own=2");
}

#[test]
fn a_requests_own_limits_stand_instead_of_the_clients() {
    let server = Server::new(|peer| peer.wait_for_end());
    let client = Client::builder().idle_timeout(None).connect_timeout(None).timeout(LONG).build().unwrap();
    let idle = Request::options(&server.url("/")).unwrap().idle_timeout(Duration::from_millis(10));
    // It never says that its end of TLS is ready.
    let connect = Request::options(&server.url("/").replace("http:", "https:")).unwrap();

    let silent = fetched_by(&client, idle).unwrap_err();
    let far = fetched_by(&client, connect.connect_timeout(Duration::from_millis(10))).unwrap_err();

    assert_eq!([silent.kind(), far.kind()], ["idle-timeout", "connect-timeout"]);
}

#[test]
fn a_host_is_at_the_addresses_that_are_given_until_one_answers() {
    let server = Server::answering(|request| ok(header(request, "host").unwrap()));
    let port = server.address.port();
    // Nobody listens at the first.
    let addresses = ["127.0.0.2", "127.0.0.1"].map(|address| address.parse().unwrap());
    let client = Client::builder().proxy(None).resolve("Far.Example", port, addresses).build().unwrap();

    let (_, body) = fetched_by(&client, Request::get(&format!("http://far.example:{port}/")).unwrap()).unwrap();

    assert_eq!(body, format!("far.example:{port}"));
}
