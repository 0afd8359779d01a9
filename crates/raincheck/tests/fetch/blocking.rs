//! What code that is not async has of it, and what is made of bodies.

use std::{collections::HashMap, io::Read};

use raincheck::fetch::{Client, FetchError, Request};

use crate::{
    run,
    server::{Server, header, ok, path, status},
};

fn client() -> Client {
    Client::builder().build().unwrap()
}

#[test]
fn a_thread_that_blocks_uses_its_connection_again() {
    let server = Server::answering(|request| ok(path(request)));
    let client = client();

    for path in ["/1", "/2", "/3"] {
        let mut body = String::new();
        let mut response = client.fetch_blocking(Request::get(&server.url(path)).unwrap()).unwrap();
        response.read_to_string(&mut body).unwrap();
        assert_eq!(body, path);
    }

    assert_eq!(server.connections(), 1);
}

#[test]
fn what_was_read_before_is_not_part_of_what_is_left() {
    let server = Server::answering(|_| ok("{}[1,2]"));
    let mut response = client().fetch_blocking(Request::get(&server.url("/")).unwrap()).unwrap();

    response.read_exact(&mut [0; 2]).unwrap();

    assert_eq!(response.json::<Vec<u8>>().unwrap(), [1, 2]);
}

#[test]
fn blocking_in_async_code_is_an_error_and_no_panic() {
    let error = run(async { client().fetch_blocking(Request::get("http://localhost/").unwrap()) }).unwrap_err();

    assert_eq!(error.kind(), "invalid");
}

#[test]
fn a_text_is_read_by_its_character_set() {
    for (head, body, text) in [
        ("text/plain; charset=ISO-8859-1", &b"caf\xe9"[..], "café"),
        ("text/plain; Charset=\"utf-8\"", "café".as_bytes(), "café"),
        ("text/plain", b"\xef\xbb\xbfcaf\xc3\xa9", "café"),
        ("text/plain; charset=nonsense", b"caf\xff", "caf\u{fffd}"),
    ] {
        let server = Server::new(move |peer| {
            peer.request();
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Type: {head}\r\nContent-Length: {}\r\n\r\n", body.len()));
            peer.send(body);
        });

        let response = client().fetch_blocking(Request::get(&server.url("/")).unwrap()).unwrap();

        assert_eq!(response.text().unwrap(), text, "{head}");
    }
}

#[test]
fn what_is_no_json_does_not_decode() {
    let server = Server::answering(|_| ok("<html>"));

    let response = client().fetch_blocking(Request::get(&server.url("/")).unwrap()).unwrap();

    assert_eq!(response.json::<HashMap<String, String>>().unwrap_err().kind(), "decoding");
}

#[test]
fn a_status_is_an_error_for_who_asks() {
    let server = Server::answering(|request| match path(request) {
        "/busy" => status("503 Service Unavailable", "Retry-After: 7\r\n"),
        _ => ok(""),
    });
    let fetch = |path| client().fetch_blocking(Request::get(&server.url(path)).unwrap()).unwrap().error_for_status();

    let error = fetch("/busy").unwrap_err();

    assert!(matches!(error, FetchError::Status { code: 503, retry_after: Some(wait) } if wait.as_secs() == 7));
    assert_eq!(fetch("/").unwrap().status(), 200);
}

#[test]
fn forms_json_and_queries_are_sent_as_everyone_does() {
    let server = Server::answering(|_| ok(""));
    let form = Request::post(&server.url("/")).unwrap().form(&[("a b", "1&2"), ("c", "é")]);
    let json = Request::put(&server.url("/")).unwrap().json(&[1, 2]).unwrap();
    let query = Request::delete(&server.url("/?x")).unwrap().query(&[("a b", "1&2")]);

    for request in [form, json, query] {
        client().fetch_blocking(request).unwrap();
    }

    let requests = server.requests();
    assert!(
        requests[0].starts_with("POST / ") && requests[0].ends_with("\r\n\r\na+b=1%262&c=%C3%A9"),
        "{}",
        requests[0]
    );
    assert_eq!(header(&requests[0], "content-type"), Some("application/x-www-form-urlencoded"));
    assert!(requests[1].starts_with("PUT / ") && requests[1].ends_with("\r\n\r\n[1,2]"), "{}", requests[1]);
    assert!(requests[2].starts_with("DELETE /?x&a+b=1%262 "), "{}", requests[2]);
}

#[test]
fn a_request_that_was_written_down_is_the_same_when_read() {
    let request =
        Request::post("https://example.org/a?b").unwrap().header("X-A", "1").unwrap().header("X-A", "2").unwrap();
    let request = request.body("rain").decode(true);

    let written = serde_json::to_string(&request).unwrap();
    let read: Request = serde_json::from_str(&written).unwrap();

    assert_eq!(serde_json::to_string(&read).unwrap(), written);
    assert_eq!(read.headers().get_all("x-a").iter().count(), 2);
    let changed = written.replace("https://example.org/a?b", "file:///etc/passwd");
    let changed: Request = serde_json::from_str(&changed).unwrap();
    assert_eq!(client().fetch_blocking(changed).unwrap_err().kind(), "invalid-url");
}
