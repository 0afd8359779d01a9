//! Secure connections, and HTTP/2 over them.

use std::{
    net::TcpStream,
    sync::{Arc, OnceLock},
};

use http_body_util::Full;
use hyper::{body::Bytes, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use raincheck::fetch::{Client, ClientBuilder, FetchError, Http2, Request};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};

use crate::{
    fetched, fetched_by, run,
    server::{Server, ok, path},
};

/// Who signs what the tests' servers and clients show.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    leaf: rcgen::Certificate,
    key: KeyPair,
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut root = CertificateParams::new(vec![]).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let mut leaf = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        Authority { issuer, leaf, key }
    })
}

pub(crate) fn server_config() -> ServerConfig {
    let (chain, key) = identity();
    config_builder().with_no_client_auth().with_single_cert(chain, key).unwrap()
}

fn config_builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
}

fn identity() -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let authority = authority();
    (vec![authority.leaf.der().clone()], PrivateKeyDer::try_from(authority.key.serialize_der()).unwrap())
}

pub(crate) fn trusting() -> ClientBuilder {
    Client::builder().root_certificates(authority().issuer.pem().as_bytes()).unwrap()
}

fn get(server: &Server, path: &str) -> Request {
    Request::get(&server.url(path)).unwrap()
}

/// A server of HTTP/2 that answers with the path, or with so many bytes.
pub(crate) fn http2_server() -> Server {
    let mut config = server_config();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    Server::listening("https", move |stream: TcpStream, _, _| {
        run(async {
            stream.set_nonblocking(true).unwrap();
            let stream = tokio::net::TcpStream::from_std(stream).unwrap();
            let Ok(stream) = tokio_rustls::TlsAcceptor::from(Arc::clone(&config)).accept(stream).await else { return };
            let answer = service_fn(|request: http::Request<_>| async move {
                let body = match request.uri().path().strip_prefix("/bytes/") {
                    Some(count) => vec![b'x'; count.parse().unwrap()].into(),
                    None => Bytes::from(request.uri().path().to_owned()),
                };
                let mut response = http::Response::new(Full::new(body));
                if let Some(host) = request.headers().get("host") {
                    response.headers_mut().insert("x-host", host.clone());
                }
                Ok::<_, std::convert::Infallible>(response)
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
        })
    })
}

#[test]
fn a_certificate_of_a_given_root_is_trusted() {
    let server = Server::secure(server_config(), |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(path(&request)));
        }
    });

    let (response, body) = fetched_by(&trusting().build().unwrap(), get(&server, "/safe")).unwrap();

    assert_eq!(body, "/safe");
    assert!(response.timings().tls.is_some());
    assert!(response.timings().connect.is_some());
}

#[test]
fn a_certificate_of_nobody_is_refused_unless_anyone_is_trusted() {
    let server = Server::secure(server_config(), |peer| {
        peer.request();
        peer.send(ok("anyone"));
    });

    let error = fetched(get(&server, "/")).unwrap_err();
    let (_, body) = fetched_by(&Client::builder().insecure().build().unwrap(), get(&server, "/")).unwrap();

    assert!(
        matches!(&error, FetchError::Tls { host, reason } if host == "127.0.0.1" && reason.contains("UnknownIssuer")),
        "{error:?}"
    );
    assert_eq!(body, "anyone");
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["elsewhere.example".into()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority().issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config_builder().with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
    let server = Server::secure(config, |peer| peer.wait_for_end());

    let error = fetched_by(&trusting().build().unwrap(), get(&server, "/")).unwrap_err();

    assert!(matches!(&error, FetchError::Tls { reason, .. } if reason.contains("not valid for name")), "{error:?}");
}

#[test]
fn a_server_that_speaks_no_tls_is_an_error_of_tls() {
    let server = Server::new(|peer| {
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
        peer.wait_for_end();
    });
    let url = format!("https://{}/", server.address);

    let error = fetched(Request::get(&url).unwrap()).unwrap_err();

    assert_eq!(error.kind(), "tls");
    assert!(error.to_string().ends_with("is it `http://`?"), "{error}");
}

#[test]
fn a_client_shows_its_certificate_to_a_server_that_asks() {
    let (chain, key) = identity();
    let mut roots = RootCertStore::empty();
    roots.add(authority().issuer.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let config = config_builder().with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
    let server = Server::secure(config, |peer| {
        peer.request();
        peer.send(ok("known"));
    });
    let (certificate, key) = (authority().leaf.pem(), authority().key.serialize_pem());

    let unknown = fetched_by(&trusting().build().unwrap(), get(&server, "/"));
    let known = trusting().client_certificate(certificate.as_bytes(), key.as_bytes()).unwrap().build().unwrap();
    let (_, body) = fetched_by(&known, get(&server, "/")).unwrap();

    assert!(unknown.is_err());
    assert_eq!(body, "known");
}

#[test]
fn what_is_no_certificate_is_refused_when_the_client_is_made() {
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = Client::builder().root_certificates(pem.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), "invalid", "{pem}");
    }
}

#[test]
fn a_body_without_a_length_is_whole_only_if_tls_says_so() {
    for polite in [true, false] {
        let server = Server::secure(server_config(), move |peer| {
            peer.request();
            peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it?");
            if polite { peer.close() } else { peer.close_rudely() }
        });

        let fetched = fetched_by(&trusting().build().unwrap(), get(&server, "/"));

        match fetched {
            Ok((_, body)) => assert!(polite && body == "all of it?"),
            Err(error) => assert_eq!((polite, error), (false, FetchError::CutOff { got: 10, of: None })),
        }
    }
}

#[test]
fn requests_share_a_connection_of_http2_from_the_first_on() {
    let server = http2_server();
    let client = trusting().connections(10).build().unwrap();

    run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..250 {
            let (client, request) = (client.clone(), get(&server, &format!("/{n}")));
            tasks.spawn(async move {
                let response = client.fetch(request).await.unwrap();
                assert_eq!(response.version(), http::Version::HTTP_2);
                assert!(!response.headers().contains_key("x-host"));
                assert_eq!(response.bytes().await.unwrap(), format!("/{n}"));
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });

    // A hundred streams each.
    assert!((1..=3).contains(&server.connections()), "{}", server.connections());
}

#[test]
fn a_shared_connection_counts_as_one_and_makes_room_when_nobody_uses_it() {
    let server = http2_server();
    let other = Server::answering(|request| ok(path(request)));
    let client = trusting().connections(1).build().unwrap();

    run(async {
        for server in [&server, &other, &server] {
            let response = client.fetch(get(server, "/here")).await.unwrap();
            assert_eq!(response.bytes().await.unwrap(), "/here");
        }
    });

    assert_eq!(server.connections(), 2);
}

#[test]
fn large_bodies_come_side_by_side_though_one_reader_pauses() {
    let server = http2_server();
    let client = trusting().build().unwrap();

    run(async {
        let mut paused = client.fetch(get(&server, "/bytes/20000000")).await.unwrap();
        let first = paused.chunk().await.unwrap().unwrap().len();
        let other = client.fetch(get(&server, "/bytes/20000000")).await.unwrap().bytes().await.unwrap();
        let mut rest = 0;
        while let Some(piece) = paused.chunk().await.unwrap() {
            rest += piece.len();
        }

        assert_eq!(other.len(), 20_000_000);
        assert_eq!(first + rest, 20_000_000);
    });

    assert_eq!(server.connections(), 1);
}

#[test]
fn without_http2_requests_have_connections_of_their_own() {
    let mut config = server_config();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server = Server::secure(config, |peer| {
        peer.request();
        peer.send(ok("old"));
    });

    let (response, _) = fetched_by(&trusting().http2(Http2::Never).build().unwrap(), get(&server, "/")).unwrap();

    assert_eq!(response.version(), http::Version::HTTP_11);
}

/// The environment is read by whole processes, so this test runs once more in one that has it.
#[test]
fn the_environment_says_where_the_roots_of_the_system_are() {
    const URL: &str = "RAINCHECK_TEST_ROOTS_URL";
    if let Ok(url) = std::env::var(URL) {
        let (_, body) = fetched(Request::get(&url).unwrap()).unwrap();
        assert_eq!(body, "safe");
        return;
    }
    let server = Server::secure(server_config(), |peer| {
        peer.request();
        peer.send(ok("safe"));
    });
    let mut roots = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut roots, authority().issuer.pem().as_bytes()).unwrap();

    let again = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tls::the_environment_says_where_the_roots_of_the_system_are"])
        .env("SSL_CERT_FILE", roots.path())
        .env(URL, server.url("/"))
        .env_remove("https_proxy")
        .env_remove("HTTPS_PROXY")
        .output()
        .unwrap();

    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
    assert_eq!(server.requests().len(), 1);
}
