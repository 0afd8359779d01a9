//! Cookies on their way.

use raincheck::fetch::{Client, Cookies, Request};

use crate::{
    fetched_by,
    server::{Server, header, ok, path, status},
};

#[test]
fn what_a_server_sets_comes_back_to_it_even_from_a_redirect() {
    let server = Server::answering(|request| match path(request) {
        "/login" => {
            status("302 Found", "Set-Cookie: session=abc; Path=/\r\nSet-Cookie: other=1\r\nLocation: /home\r\n")
        }
        _ => ok(header(request, "cookie").unwrap_or("none")),
    });
    let cookies = Cookies::new();
    let client = Client::builder().cookies(cookies.clone()).build().unwrap();

    let (_, body) = fetched_by(&client, Request::get(&server.url("/login")).unwrap()).unwrap();

    assert_eq!(body, "session=abc; other=1");
    assert!(cookies.to_netscape().contains("127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tabc\n"));
    assert!(!format!("{cookies:?}").contains("abc"));
}

#[test]
fn a_requests_own_cookie_is_sent_beside_those_that_were_kept() {
    let server = Server::answering(|request| ok(header(request, "cookie").unwrap_or("none")));
    let cookies = Cookies::from_netscape("127.0.0.1\tFALSE\t/\tFALSE\t0\tkept\t1\n").unwrap();
    let client = Client::builder().cookies(cookies).build().unwrap();

    let request = Request::get(&server.url("/")).unwrap().header("Cookie", "own=2").unwrap();
    let (_, body) = fetched_by(&client, request).unwrap();

    assert_eq!(body, "own=2; kept=1");
}

#[test]
fn without_a_place_for_cookies_none_are_sent() {
    let server = Server::answering(|request| match path(request) {
        "/set" => status("302 Found", "Set-Cookie: a=1; Path=/\r\nLocation: /\r\n"),
        _ => ok(header(request, "cookie").unwrap_or("none")),
    });

    let (_, body) = crate::fetched(Request::get(&server.url("/set")).unwrap()).unwrap();

    assert_eq!(body, "none");
}
