//! Bodies that were compressed for the way.

use std::io::Write;

use flate2::{Compression, write};
use raincheck::fetch::{Client, FetchError, Request};

use crate::{
    fetched,
    server::{Server, header},
};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `rain, rain` in brotli: one block that is not compressed, and an empty one as the last.
const BROTLI: &[u8] = &[0x8b, 0x04, 0x80, b'r', b'a', b'i', b'n', b',', b' ', b'r', b'a', b'i', b'n', 0x03];

/// A server of one body in one coding, one byte a chunk if asked so.
fn server_of(coding: &'static str, body: Vec<u8>, by_byte: bool) -> Server {
    Server::new(move |peer| {
        peer.request();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n"));
        if by_byte {
            peer.send("Transfer-Encoding: chunked\r\n\r\n");
            for byte in &body {
                peer.send([&b"1\r\n"[..], &[*byte], b"\r\n"].concat());
            }
            peer.send("0\r\n\r\n");
        } else {
            peer.send(format!("Content-Length: {}\r\n\r\n", body.len()));
            peer.send(&body);
        }
    })
}

#[test]
fn every_coding_is_undone_however_it_is_cut_into_pieces() {
    let text = "rain, rain";
    let bodies = [
        ("gzip", gzip(text.as_bytes())),
        ("x-gzip", gzip(text.as_bytes())),
        ("gzip", [gzip(b"rain,"), gzip(b" rain")].concat()),
        ("deflate", zlib(text.as_bytes())),
        ("deflate", deflate(text.as_bytes())),
        ("br", BROTLI.to_vec()),
        ("zstd", zstd::encode_all(text.as_bytes(), 3).unwrap()),
    ];
    for (coding, body) in bodies {
        for by_byte in [false, true] {
            let server = server_of(coding, body.clone(), by_byte);
            let request = Request::get(&server.url("/")).unwrap().decode(true);

            let (response, decoded) = fetched(request).unwrap_or_else(|error| panic!("{coding} {by_byte}: {error}"));

            assert_eq!(decoded, text, "{coding} {by_byte}");
            assert!(!response.headers().contains_key("content-encoding"));
            assert!(!response.headers().contains_key("content-length"));
            assert_eq!(header(&server.requests()[0], "accept-encoding"), Some("gzip, deflate, br, zstd"));
        }
    }
}

#[test]
fn without_being_asked_a_body_stays_as_it_is() {
    let server = server_of("gzip", gzip(b"rain"), false);

    let (response, _) = fetched(Request::get(&server.url("/")).unwrap()).unwrap();

    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.length(), Some(gzip(b"rain").len() as u64));
    assert_eq!(header(&server.requests()[0], "accept-encoding"), None);
}

#[test]
fn what_unfolds_to_more_than_allowed_is_stopped_there() {
    let million = vec![0; 5_000_000];
    for (coding, body) in [("gzip", gzip(&million)), ("zstd", zstd::encode_all(&million[..], 3).unwrap())] {
        let server = server_of(coding, body, false);
        let request = Request::get(&server.url("/")).unwrap().decode(true).largest(100_000);

        assert_eq!(fetched(request).unwrap_err(), FetchError::TooLarge { limit: 100_000 });
    }
}

#[test]
fn a_compressed_body_that_ends_early_or_is_none_does_not_decode() {
    let whole = gzip(b"rain, rain");
    for (coding, body) in [
        ("gzip", whole[..whole.len() - 4].to_vec()),
        ("gzip", b"no gzip".to_vec()),
        ("br", BROTLI[..5].to_vec()),
        ("deflate", b"x\x9cno zlib".to_vec()),
        ("zstd", zstd::encode_all(&b"rain, rain"[..], 3).unwrap()[..10].to_vec()),
    ] {
        let server = server_of(coding, body, false);
        let request = Request::get(&server.url("/")).unwrap().decode(true);

        let error = fetched(request).unwrap_err();

        assert!(matches!(error, FetchError::Decoding { .. }), "{coding}: {error:?}");
    }
}

#[test]
fn an_empty_body_is_empty_in_any_coding() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        for by_byte in [false, true] {
            let server = server_of(coding, Vec::new(), by_byte);
            let client = Client::builder().decode(true).build().unwrap();

            let (_, body) = crate::fetched_by(&client, Request::get(&server.url("/")).unwrap()).unwrap();

            assert_eq!(body, "");
        }
    }
}

#[test]
fn a_part_of_a_compressed_body_stays_compressed() {
    let server = Server::answering(|_| {
        "HTTP/1.1 206 Partial Content\r\nContent-Encoding: gzip\r\nContent-Range: bytes 2-5/9\r\nContent-Length: 4\r\n\r\npart".into()
    });

    let (response, body) = fetched(Request::get(&server.url("/")).unwrap().decode(true)).unwrap();

    assert_eq!(body, "part");
    assert_eq!(response.headers()["content-encoding"], "gzip");
}
