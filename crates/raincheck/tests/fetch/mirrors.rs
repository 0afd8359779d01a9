//! Files that can be had at several places.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use raincheck::{
    Inline,
    fetch::{Algorithm, Checksum, Client, Download, Downloads, Ended, FetchError, Request, Retries},
};

use sha2::{Digest, Sha256};

use crate::server::{Server, ok, status};

fn fetch(retries: u32, places: &[&str]) -> Ended {
    let mut wanted = Download::new(Request::get(places[0]).unwrap());
    for place in &places[1..] {
        wanted = wanted.mirror(place).unwrap();
    }
    let retries = Retries::times(retries).first(Duration::from_millis(1));
    let downloads = Downloads::new(Client::builder().build().unwrap()).retries(retries);
    downloads.on(&Inline::new(), [wanted]).unwrap().next().unwrap()
}

/// A URL where nobody listens.
fn nobody() -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{address}/")
}

#[test]
fn whatever_goes_wrong_the_next_place_is_asked_at_once_and_that_is_no_retry() {
    let good = Server::answering(|_| ok("here"));
    let missing = Server::answering(|_| status("404 Not Found", ""));
    let busy = Server::answering(|_| status("429 Too Many Requests", "Retry-After: 500\r\n"));
    let nonsense = Server::answering(|_| "SSH-2.0\r\n".into());
    let insecure = missing.url("/").replace("http:", "https:");
    let bad: [&str; 6] =
        [&missing.url("/"), &busy.url("/"), &nonsense.url("/"), &insecure, "http://nowhere.invalid/", &nobody()];

    for place in bad {
        let ended = fetch(0, &[place, &good.url("/")]);
        assert_eq!((ended.result.unwrap().bytes, ended.attempts), (4, 2), "{place}");
    }
    let good = good.url("/");
    let all: Vec<&str> = bad.into_iter().chain([&*good]).collect();
    assert_eq!(fetch(0, &all).result.unwrap().bytes, 4);
}

#[test]
fn when_all_places_have_failed_those_are_asked_again_where_it_may_go_away_and_the_most_telling_error_is_final() {
    let missing = Server::answering(|_| status("404 Not Found", ""));
    let broken = Server::answering(|_| status("500 Oh", ""));

    let ended = fetch(2, &[&nobody(), &broken.url("/"), &missing.url("/")]);

    assert!(matches!(ended.result, Err(FetchError::Status { code: 500, .. })), "{:?}", ended.result);
    assert_eq!(ended.attempts, 5);
    assert_eq!((broken.requests().len(), missing.requests().len()), (2, 1));
}

#[test]
fn a_wrong_checksum_is_seen_twice_and_then_believed_and_one_that_comes_right_is_right() {
    let sum = |text: &str| Checksum::new(Algorithm::Sha256, &*Sha256::digest(text)).unwrap();
    let by = |server: &Server, mirrors: usize| {
        let mut wanted = Download::new(Request::get(&server.url("/")).unwrap()).checksum(sum("right"));
        for _ in 0..mirrors {
            wanted = wanted.mirror(&server.url("/")).unwrap();
        }
        let retries = Retries::times(5).first(Duration::from_millis(1));
        let downloads = Downloads::new(Client::builder().build().unwrap()).retries(retries);
        downloads.on(&Inline::new(), [wanted]).unwrap().next().unwrap()
    };
    for (mirrors, asked) in [(0, 2), (1, 2), (2, 3)] {
        let wrong = Server::answering(|_| ok("wrong"));
        let ended = by(&wrong, mirrors);
        assert_eq!(ended.result.unwrap_err().kind(), "checksum");
        assert_eq!(wrong.requests().len(), asked, "{mirrors} mirrors");
    }
    let turn = AtomicUsize::new(0);
    let damaging = Server::answering(move |_| ok(["rigt", "rihgt", "right"][turn.fetch_add(1, Ordering::SeqCst)]));
    assert_eq!(by(&damaging, 0).result.unwrap().bytes, 5);
}
