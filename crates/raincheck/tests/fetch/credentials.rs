//! Who is asking, and who learns of it.

use std::io::Write;

use raincheck::fetch::{Client, Credentials, Request};

use crate::{
    fetched, fetched_by,
    server::{Server, header, ok, path, status},
};

/// Answers with what it was told of who is asking.
fn server_that_tells() -> Server {
    Server::answering(|request| ok(header(request, "authorization").unwrap_or("nobody")))
}

fn url_with(server: &Server, user: &str, path: &str) -> String {
    server.url(path).replace("http://", &format!("http://{user}@"))
}

#[test]
fn a_password_in_the_url_is_sent_and_shown_nowhere() {
    let server = server_that_tells();
    let request = Request::get(&url_with(&server, "me%40x:s%3Acret", "/")).unwrap();
    let shown = format!("{request:?}");

    let (response, body) = fetched(request).unwrap();

    assert_eq!(body, "Basic bWVAeDpzOmNyZXQ=");
    assert!(!shown.contains("cret"), "{shown}");
    assert!(!format!("{response:?}{}", response.url()).contains("cret"));
    assert!(!path(&server.requests()[0]).contains("me"));
    let error = Request::get("ftp://me:secret@example.org/").unwrap_err();
    assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
    let error = Request::get("http://me:secret@exa mple.org/").unwrap_err();
    assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
}

#[test]
fn a_requests_own_credentials_come_before_the_clients_and_those_before_a_netrc() {
    let server = server_that_tells();
    let mut netrc = tempfile::NamedTempFile::new().unwrap();
    writeln!(netrc, "machine 127.0.0.1 login n password n").unwrap();
    let with_netrc = Client::builder().netrc(netrc.path()).unwrap();
    let with_both = with_netrc.clone().credentials("127.0.0.1", Credentials::bearer("client")).build().unwrap();
    let with_netrc = with_netrc.build().unwrap();
    let plain = || Request::get(&server.url("/")).unwrap();

    let told = |client: &Client, request: Request| fetched_by(client, request).unwrap().1;

    assert_eq!(told(&with_netrc, plain()), "Basic bjpu");
    assert_eq!(told(&with_both, plain()), "Bearer client");
    assert_eq!(told(&with_both, plain().credentials(Credentials::bearer("own"))), "Bearer own");
    assert_eq!(told(&with_both, plain().header("Authorization", "by hand").unwrap()), "by hand");
}

#[test]
fn what_is_for_one_host_is_never_sent_to_another() {
    let other = Server::answering(|request| {
        ok(&format!("{:?} {:?}", header(request, "authorization"), header(request, "cookie")))
    });
    let elsewhere = other.url("/").replace("127.0.0.1", "localhost");
    let answer = status("302 Found", &format!("Location: {elsewhere}\r\n"));
    let server = Server::answering(move |_| answer.clone());
    let requests = [
        Request::get(&url_with(&server, "me:secret", "/")).unwrap(),
        Request::get(&server.url("/")).unwrap().credentials(Credentials::bearer("secret")),
        Request::get(&server.url("/"))
            .unwrap()
            .header("Authorization", "secret")
            .unwrap()
            .header("Cookie", "a=b")
            .unwrap(),
    ];

    for request in requests {
        assert_eq!(fetched(request).unwrap().1, "None None");
    }
    let by_port = Server::answering({
        let answer = status("307 Temporary Redirect", &format!("Location: {}\r\n", other.url("/")));
        move |_| answer.clone()
    });
    let request = Request::get(&url_with(&by_port, "me:secret", "/")).unwrap();
    assert_eq!(fetched(request).unwrap().1, "None None");
}

#[test]
fn credentials_stay_on_the_way_within_a_host() {
    let server = Server::answering(|request| match path(request) {
        "/from" => status("301 Moved Permanently", "Location: /to\r\n"),
        _ => ok(header(request, "authorization").unwrap_or("nobody")),
    });

    let (_, body) = fetched(Request::get(&url_with(&server, "a:b", "/from")).unwrap()).unwrap();

    assert_eq!(body, "Basic YTpi");
}

#[test]
fn a_digest_is_given_when_asked_for_and_from_then_on_unasked() {
    let server = Server::answering(|request| match header(request, "authorization") {
        Some(answer) if answer.starts_with("Digest username=\"me\", realm=\"here\", nonce=\"n1\"") => ok(answer),
        _ => status(
            "401 Unauthorized",
            "WWW-Authenticate: Basic realm=\"here\"\r\nWWW-Authenticate: Digest realm=\"here\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256\r\n",
        ),
    });
    let client = Client::builder().build().unwrap();
    let request = || Request::get(&server.url("/a?b")).unwrap().credentials(Credentials::digest("me", "secret"));

    let first = fetched_by(&client, request()).unwrap().1;
    let second = fetched_by(&client, request()).unwrap().1;

    assert!(first.contains("uri=\"/a?b\"") && first.contains("nc=00000001"), "{first}");
    assert!(second.contains("nc=00000002"), "{second}");
    assert_eq!(server.requests().len(), 3);
    assert!(!server.requests().concat().contains("secret"));
}

#[test]
fn who_is_refused_is_not_asked_for_ever() {
    let server =
        Server::answering(|_| status("401 Unauthorized", "WWW-Authenticate: Digest realm=\"here\", nonce=\"n\"\r\n"));

    let (response, _) =
        fetched(Request::get(&server.url("/")).unwrap().credentials(Credentials::digest("me", "wrong"))).unwrap();

    assert_eq!(response.status(), 401);
    assert_eq!(server.requests().len(), 2);
}
