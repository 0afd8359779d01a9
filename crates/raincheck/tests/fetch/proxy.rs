//! What stands between.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use raincheck::fetch::{Client, FetchError, Proxy, Request};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};

use crate::{
    fetched_by,
    server::{Peer, Server, header, ok, path, status},
    tls,
};

/// Lets bytes through in both directions until one end is closed.
fn tunnel(near: &TcpStream, far: &TcpStream) {
    let pass = |from: &TcpStream, to: &TcpStream| {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        }
    };
    let back = thread::spawn(pass(far, near));
    pass(near, far)();
    back.join().unwrap();
}

/// A proxy that makes the connections that it is asked for.
fn connecting_proxy(authorization: Option<&'static str>) -> Server {
    Server::new(move |peer: &mut Peer| {
        let request = peer.request().unwrap();
        assert!(request.starts_with("CONNECT "), "{request}");
        if header(&request, "proxy-authorization") != authorization {
            peer.send(status("407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n"));
            return;
        }
        let far = TcpStream::connect(path(&request)).unwrap();
        peer.send("HTTP/1.1 200 Connection established\r\nX-Any: thing\r\n\r\n");
        tunnel(peer.socket(), &far);
    })
}

/// A SOCKS 5 proxy; what it was asked for goes into the list.
fn socks_proxy(login: Option<(&'static str, &'static str)>, asked: Arc<Mutex<Vec<String>>>) -> Server {
    Server::listening("socks", move |near, _, _| {
        let mut answer = near.try_clone().unwrap();
        let mut reader = near.try_clone().unwrap();
        let mut take = |count: usize| {
            let mut bytes = vec![0; count];
            reader.read_exact(&mut bytes).unwrap();
            bytes
        };
        let head = take(2);
        let methods = take(head[1].into());
        let Some((user, password)) = login else {
            assert!(methods.contains(&0));
            answer.write_all(&[5, 0]).unwrap();
            return serve_socks(near, &asked);
        };
        if !methods.contains(&2) {
            answer.write_all(&[5, 0xff]).unwrap();
            return;
        }
        answer.write_all(&[5, 2]).unwrap();
        let length = take(2)[1];
        let sent_user = take(length.into());
        let length = take(1)[0];
        let right = sent_user == user.as_bytes() && take(length.into()) == password.as_bytes();
        answer.write_all(&[1, u8::from(!right)]).unwrap();
        if right {
            serve_socks(near, &asked);
        }
    })
}

fn serve_socks(mut near: TcpStream, asked: &Mutex<Vec<String>>) {
    let mut head = [0; 4];
    near.read_exact(&mut head).unwrap();
    let host = match head[3] {
        1 => {
            let mut address = [0; 4];
            near.read_exact(&mut address).unwrap();
            std::net::Ipv4Addr::from(address).to_string()
        }
        3 => {
            let mut length = [0];
            near.read_exact(&mut length).unwrap();
            let mut name = vec![0; length[0].into()];
            near.read_exact(&mut name).unwrap();
            String::from_utf8(name).unwrap()
        }
        other => panic!("address of kind {other}"),
    };
    let mut port = [0; 2];
    near.read_exact(&mut port).unwrap();
    asked.lock().unwrap().push(host.clone());
    if host == "forbidden.example" {
        near.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        return;
    }
    let far = TcpStream::connect(("127.0.0.1", u16::from_be_bytes(port))).unwrap();
    near.write_all(&[5, 0, 0, 3, 1, b'x', 0, 0]).unwrap();
    tunnel(&near, &far);
}

fn proxy(server: &Server, scheme: &str) -> Proxy {
    Proxy::new(&format!("{scheme}{}", server.address)).unwrap()
}

#[test]
fn a_proxy_is_given_the_request_for_what_is_not_secure() {
    let server =
        Server::answering(|request| ok(&format!("{} {:?}", path(request), header(request, "proxy-authorization"))));
    let client = Client::builder().proxy(proxy(&server, "http://me:secret@")).build().unwrap();

    let (response, body) = fetched_by(&client, Request::get("http://far.example/a?b#c").unwrap()).unwrap();
    let (_, second) = fetched_by(&client, Request::get("http://other.example/").unwrap()).unwrap();

    assert_eq!(body, "http://far.example/a?b Some(\"Basic bWU6c2VjcmV0\")");
    assert!(second.starts_with("http://other.example/ "));
    assert_eq!(header(&server.requests()[0], "host"), Some("far.example"));
    assert_eq!(response.url().as_str(), "http://far.example/a?b#c");
}

#[test]
fn a_secure_connection_goes_through_a_tunnel_that_nobody_sees_into() {
    let server = Server::secure(tls::server_config(), |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(header(&request, "proxy-authorization").unwrap_or("far")));
        }
    });
    let between = connecting_proxy(Some("Basic bWU6c2VjcmV0"));
    let client = tls::trusting().proxy(proxy(&between, "http://me:secret@")).build().unwrap();

    let (_, body) = fetched_by(&client, Request::get(&server.url("/")).unwrap()).unwrap();

    assert_eq!(body, "far");
    assert_eq!(path(&between.requests()[0]), server.address.to_string());
}

#[test]
fn many_share_a_connection_of_http2_through_a_tunnel() {
    let server = tls::http2_server();
    let between = connecting_proxy(None);
    let client = tls::trusting().proxy(proxy(&between, "http://")).build().unwrap();

    crate::run(async {
        for path in ["/1", "/2"] {
            let response = client.fetch(Request::get(&server.url(path)).unwrap()).await.unwrap();
            assert_eq!(response.bytes().await.unwrap(), path);
        }
    });

    assert_eq!(between.connections(), 1);
}

#[test]
fn a_proxy_that_refuses_is_an_error_that_names_it_and_no_password() {
    let between = connecting_proxy(Some("somebody else"));
    let client = Client::builder().proxy(proxy(&between, "http://me:secret@")).build().unwrap();

    let error = fetched_by(&client, Request::get("https://far.example/").unwrap()).unwrap_err();

    let expected = format!("proxy http://{}: it answers 407 Proxy Authentication Required", between.address);
    assert_eq!(error.to_string(), expected);
    assert!(!format!("{error:?} {client:?}").contains("secret"));
}

#[test]
fn a_proxy_that_is_not_there_or_talks_nonsense_is_an_error_of_the_proxy() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let babbling = Server::new(|peer| peer.send("what?\r\n\r\n what?"));
    let silent = Server::listening("", |mut near, _, _| drop(near.read(&mut [0; 100])));
    let endless = Server::new(|peer| peer.send("HTTP/1.1 200 OK\r\nx: y\r\n".repeat(10_000)));
    for scheme in ["http", "socks5", "socks5h"] {
        for address in [
            format!("127.0.0.1:{port}"),
            babbling.address.to_string(),
            silent.address.to_string(),
            endless.address.to_string(),
        ] {
            let proxy = Proxy::new(&format!("{scheme}://{address}")).unwrap();
            let client = Client::builder().proxy(proxy).build().unwrap();

            let error = fetched_by(&client, Request::get("https://127.0.0.1/").unwrap()).unwrap_err();

            assert!(matches!(error, FetchError::Proxy { .. }), "{scheme}://{address}: {error:?}");
        }
    }
}

#[test]
fn socks_looks_names_up_here_or_there() {
    let server = Server::answering(|request| ok(path(request)));
    let port = server.address.port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let between = socks_proxy(Some(("me", "secret")), Arc::clone(&asked));
    let by = |scheme: &str| Client::builder().proxy(proxy(&between, scheme)).build().unwrap();

    let (there, here) = (by("socks5h://me:secret@"), by("socks5://me:secret@"));
    let (_, body) = fetched_by(&there, Request::get(&format!("http://far.example:{port}/there")).unwrap()).unwrap();
    assert_eq!(body, "/there");
    let (_, body) = fetched_by(&here, Request::get(&format!("http://localhost:{port}/here")).unwrap()).unwrap();
    assert_eq!(body, "/here");
    assert_eq!(*asked.lock().unwrap(), ["far.example", "127.0.0.1"]);

    let error = fetched_by(&there, Request::get("http://forbidden.example/").unwrap()).unwrap_err();
    assert!(error.to_string().ends_with("its rules do not allow it"), "{error}");
    for wrong in ["socks5h://me:wrong@", "socks5h://"] {
        let error = fetched_by(&by(wrong), Request::get("http://far.example/").unwrap()).unwrap_err();
        assert_eq!(error.kind(), "proxy");
    }
}

#[test]
fn socks_without_a_password_carries_secure_connections_too() {
    let server = Server::secure(tls::server_config(), |peer| {
        peer.request();
        peer.send(ok("far"));
    });
    let between = socks_proxy(None, Arc::default());
    let client = tls::trusting().proxy(proxy(&between, "socks5h://")).build().unwrap();

    let (_, body) = fetched_by(&client, Request::get(&server.url("/")).unwrap()).unwrap();

    assert_eq!(body, "far");
}

#[test]
fn what_is_excepted_is_reached_without_the_proxy() {
    let server = Server::answering(|_| ok("direct"));
    let between = Server::answering(|_| ok("by proxy"));
    let builder = Client::builder().proxy(proxy(&between, "http://"));

    let (_, by_proxy) = fetched_by(&builder.clone().build().unwrap(), Request::get(&server.url("/")).unwrap()).unwrap();
    let except = builder.no_proxy("127.0.0.0/8").build().unwrap();
    let (_, direct) = fetched_by(&except, Request::get(&server.url("/")).unwrap()).unwrap();

    assert_eq!((by_proxy.as_str(), direct.as_str()), ("by proxy", "direct"));
}

#[test]
fn what_a_proxy_is_told_of_who_is_asking_reaches_no_server() {
    let server = Server::answering(|request| ok(header(request, "proxy-authorization").unwrap_or("nobody")));
    let client = Client::builder().proxy(None).build().unwrap();
    let request = Request::get(&server.url("/")).unwrap().header("Proxy-Authorization", "secret").unwrap();

    assert_eq!(fetched_by(&client, request).unwrap().1, "nobody");
}

/// A proxy that is itself spoken to by TLS, and makes the connections that it is asked for.
fn secure_proxy() -> Server {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls::server_config()));
    Server::listening("https", move |near, _, requests| {
        crate::run(async {
            near.set_nonblocking(true).unwrap();
            let near = tokio::net::TcpStream::from_std(near).unwrap();
            let mut near = BufStream::new(acceptor.accept(near).await.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                near.read_line(&mut head).await.unwrap();
            }
            requests.lock().unwrap().push(head.clone());
            if head.starts_with("CONNECT ") {
                let mut far = tokio::net::TcpStream::connect(path(&head)).await.unwrap();
                near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                near.flush().await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            } else {
                near.write_all(ok("by the proxy").as_bytes()).await.unwrap();
                near.flush().await.unwrap();
                // Until the client has read it, and goes.
                let _ = near.read_line(&mut head).await;
            }
        });
    })
}

#[test]
fn a_secure_proxy_is_spoken_to_by_tls_and_carries_secure_connections_inside() {
    let server = Server::secure(tls::server_config(), |peer| {
        peer.request();
        peer.send(ok("far"));
    });
    let between = secure_proxy();
    let client = tls::trusting().proxy(proxy(&between, "https://me:secret@")).build().unwrap();

    let (_, inside) = fetched_by(&client, Request::get(&server.url("/")).unwrap()).unwrap();
    let (_, given) = fetched_by(&client, Request::get("http://far.example/a").unwrap()).unwrap();

    assert_eq!((inside.as_str(), given.as_str()), ("far", "by the proxy"));
    let [connect, get] = &between.requests()[..] else { panic!("two requests") };
    assert_eq!(path(connect), server.address.to_string());
    assert_eq!(path(get), "http://far.example/a");
    for request in [connect, get] {
        assert_eq!(header(request, "proxy-authorization"), Some("Basic bWU6c2VjcmV0"));
    }
    assert_eq!(header(&server.requests()[0], "proxy-authorization"), None);
}

#[test]
fn a_secure_proxy_that_nobody_vouches_for_is_told_nothing() {
    let between = secure_proxy();
    let client = Client::builder().proxy(proxy(&between, "https://me:secret@")).build().unwrap();

    let error = fetched_by(&client, Request::get("http://far.example/").unwrap()).unwrap_err();

    assert!(error.kind() == "proxy" && error.to_string().contains("UnknownIssuer"), "{error}");
    assert_eq!(between.requests().len(), 0);
}

#[test]
fn a_host_that_a_proxied_one_leads_to_learns_nothing_of_who_asked_the_proxy() {
    let direct = Server::answering(|request| ok(header(request, "proxy-authorization").unwrap_or("nobody")));
    let answer = status("302 Found", &format!("Location: {}\r\n", direct.url("/")));
    let between = Server::answering(move |_| answer.clone());
    let builder = Client::builder().proxy(proxy(&between, "http://me:secret@")).no_proxy("127.0.0.1");
    let by_hand = Request::get("http://far.example/").unwrap().header("Proxy-Authorization", "by hand").unwrap();

    for request in [Request::get("http://far.example/").unwrap(), by_hand] {
        let (_, body) = fetched_by(&builder.clone().build().unwrap(), request).unwrap();
        assert_eq!(body, "nobody");
    }

    let told: Vec<_> =
        between.requests().iter().map(|request| header(request, "proxy-authorization").unwrap().to_owned()).collect();
    assert_eq!(told, ["Basic bWU6c2VjcmV0", "by hand"]);
}
