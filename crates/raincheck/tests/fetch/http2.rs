//! Servers of HTTP/2 that go away in the middle, written frame by frame.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex, OnceLock},
};

use raincheck::fetch::{Client, Http2, Request};

use crate::{
    run,
    server::{Server, ok},
};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;

/// The server's end of a connection.
struct Peer(TcpStream);

impl Peer {
    /// Begins as the standard has it, without TLS.
    fn greet(mut stream: TcpStream) -> Self {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut peer = Self(stream);
        peer.send(SETTINGS, 0, 0, &[]);
        peer
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        let _ = self.0.write_all(&frame);
    }

    /// The flags and stream of the next frame of this kind, or `None` when the client is gone.
    fn next(&mut self, kind: u8) -> Option<(u8, u32)> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            std::io::copy(&mut (&self.0).take(length.into()), &mut std::io::sink()).ok()?;
            if head[3] == kind {
                return Some((head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]])));
            }
        }
    }

    fn answer(&mut self, stream: u32) {
        // In the compressed form, the status 200 is this one byte.
        self.send(HEADERS, END_HEADERS, stream, &[0x88]);
        self.send(DATA, END_STREAM, stream, b"rain");
    }

    fn answer_all(&mut self) {
        while let Some((_, stream)) = self.next(HEADERS) {
            self.answer(stream);
        }
    }

    /// Says that nothing behind this stream has been looked at.
    fn go_away(&mut self, last: u32, why: u32) {
        let payload = [last.to_be_bytes(), why.to_be_bytes()].concat();
        self.send(GOAWAY, 0, 0, &payload);
    }

    /// Returns when the client has had the time for all that follows from what it was sent.
    fn let_it_think(&mut self) {
        for _ in 0..20 {
            self.send(PING, 0, 0, &[0; 8]);
            while self.next(PING).unwrap().0 != ACK {}
        }
    }
}

fn server(serve: impl Fn(&mut Peer, usize) + Send + Sync + 'static) -> Server {
    Server::listening("http", move |stream, number, _| serve(&mut Peer::greet(stream), number))
}

fn client(connections: usize) -> Client {
    Client::builder().http2(Http2::Always).connections(connections).build().unwrap()
}

/// Sends so many requests at once that must not be done twice, and returns how they ended.
fn posted(client: &Client, server: &Server, count: usize) -> Vec<Result<String, &'static str>> {
    run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..count {
            let (client, request) = (client.clone(), Request::post(&server.url("/")).unwrap());
            tasks.spawn(async move {
                let response = client.fetch(request).await.map_err(|error| error.kind())?;
                assert_eq!(response.version(), http::Version::HTTP_2);
                response.text().await.map_err(|error| error.kind())
            });
        }
        tasks.join_all().await
    })
}

fn all_well(count: usize) -> Vec<Result<String, &'static str>> {
    vec![Ok("rain".into()); count]
}

#[test]
fn http2_is_spoken_without_being_agreed_on_where_that_is_asked_for() {
    let server = server(|peer, _| peer.answer_all());

    assert_eq!(posted(&client(10), &server, 50), all_well(50));

    assert_eq!(server.connections(), 1);
}

#[test]
fn a_server_that_speaks_only_http1_is_no_server_of_http2() {
    let server = Server::answering(|_| ok("old"));

    let ended = posted(&client(1), &server, 1);

    assert!(ended[0].is_err(), "{ended:?}");
}

#[test]
fn what_a_server_that_goes_away_has_not_looked_at_is_sent_to_it_again() {
    for why in [NO_ERROR, INTERNAL_ERROR] {
        let server = server(move |peer, number| {
            if number > 0 {
                return peer.answer_all();
            }
            let streams: Vec<u32> = (0..4).map(|_| peer.next(HEADERS).unwrap().1).collect();
            peer.go_away(streams[0], why);
            peer.answer(streams[0]);
            peer.answer_all();
        });

        assert_eq!(posted(&client(10), &server, 4), all_well(4));

        assert_eq!(server.connections(), 2);
    }
}

#[test]
fn what_a_new_connection_refuses_is_sent_over_another() {
    let server = server(|peer, number| {
        if number < 3 {
            peer.next(HEADERS);
            peer.go_away(0, NO_ERROR);
        }
        peer.answer_all();
    });

    assert_eq!(posted(&client(10), &server, 1), all_well(1));

    assert_eq!(server.connections(), 4);
}

#[test]
fn a_server_that_only_ever_goes_away_is_an_error_in_the_end() {
    let server = server(|peer, number| {
        // It gives in to a client that knows no end.
        if number < 100 {
            peer.next(HEADERS);
            peer.go_away(0, NO_ERROR);
        }
        peer.answer_all();
    });

    assert_eq!(posted(&client(10), &server, 1), [Err("reset")]);
}

#[test]
fn a_connection_that_is_gone_away_from_counts_until_its_last_answer() {
    let (gone, goes) = tokio::sync::oneshot::channel();
    let gone = Mutex::new(Some(gone));
    let seen = Arc::new(OnceLock::<Server>::new());
    let itself = Arc::clone(&seen);
    let server = seen.get_or_init(|| {
        server(move |peer, number| {
            if number > 0 {
                return peer.answer_all();
            }
            let (_, stream) = peer.next(HEADERS).unwrap();
            peer.go_away(stream, NO_ERROR);
            peer.let_it_think();
            gone.lock().unwrap().take().unwrap().send(()).unwrap();
            peer.let_it_think();
            if itself.wait().connections() == 1 {
                peer.answer(stream);
            }
            peer.answer_all();
        })
    });
    let client = client(1);

    let (first, second) = run(async {
        let fetch = || async { client.get(&server.url("/")).await?.text().await };
        let second = async {
            goes.await.unwrap();
            fetch().await
        };
        tokio::join!(fetch(), second)
    });

    assert_eq!((first.as_deref(), second.as_deref()), (Ok("rain"), Ok("rain")));
    assert_eq!(server.connections(), 2);
}
