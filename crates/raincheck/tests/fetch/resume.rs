//! Going on with what an attempt before has left.

use std::{fs, path::Path, time::Duration};

use raincheck::{
    Inline,
    fetch::{Client, Download, Downloads, Ended, Request, Retries},
};

use crate::server::{Peer, Server, header};

const SIZE: usize = 1 << 20;
const CUT: usize = 300_000;

fn body(version: u8) -> Vec<u8> {
    (0..SIZE as u32).map(|n| (n ^ (n / 251)) as u8 ^ version).collect()
}

/// Where the rest begins that a request asks for.
fn start(request: &str) -> Option<usize> {
    header(request, "range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// Sends the whole of a version, or as much of it as the peer gets.
fn send_whole(peer: &mut Peer, version: u8, sent: usize) {
    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nETag: \"{version}\"\r\n\r\n"));
    peer.send(&body(version)[..sent]);
}

/// Sends a part of a version.
fn send_part(peer: &mut Peer, version: u8, start: usize, end: usize) {
    peer.send(format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nETag: \"{version}\"\r\n\
         Content-Range: bytes {start}-{}/{SIZE}\r\n\r\n",
        end - start,
        end - 1
    ));
    peer.send(&body(version)[start..end]);
}

fn fetch(server: &Server, folder: &Path) -> Ended {
    let downloads = Downloads::new(Client::builder().build().unwrap())
        .retries(Retries::times(4).first(Duration::from_millis(1)))
        .into_folder(folder)
        .unwrap();
    let wanted = Download::new(Request::get(&server.url("/file")).unwrap()).to("file");
    downloads.on(&Inline::new(), [wanted]).unwrap().next().unwrap()
}

fn assert_is(folder: &Path, version: u8) {
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert!(fs::read(folder.join("file")).unwrap() == body(version));
}

#[test]
fn a_server_that_sends_less_than_it_was_asked_for_is_asked_again() {
    let server = Server::new(|peer| {
        while let Some(request) = peer.request() {
            match start(&request) {
                Some(start) => send_part(peer, 1, start, SIZE.min(start + CUT)),
                None => {
                    send_whole(peer, 1, CUT);
                    return peer.close();
                }
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();

    let ended = fetch(&server, folder.path());

    assert_eq!(ended.result.unwrap().bytes, SIZE as u64);
    assert_is(folder.path(), 1);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn the_rest_of_another_version_is_not_taken_for_the_rest_of_this_one() {
    // A server that knows nothing of If-Range.
    let server = Server::new(|peer| {
        while let Some(request) = peer.request() {
            match start(&request) {
                Some(start) => send_part(peer, 2, start, SIZE),
                None if peer.number == 0 => {
                    send_whole(peer, 1, CUT);
                    return peer.close();
                }
                None => send_whole(peer, 2, SIZE),
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();

    let ended = fetch(&server, folder.path());

    assert_eq!(ended.result.unwrap().bytes, SIZE as u64);
    assert_is(folder.path(), 2);
}

#[test]
fn a_part_that_was_not_asked_for_is_not_taken_for_the_whole() {
    let server = Server::new(|peer| {
        while peer.request().is_some() {
            send_part(peer, 1, 0, CUT);
        }
    });
    let folder = tempfile::tempdir().unwrap();

    let ended = fetch(&server, folder.path());

    assert_eq!(ended.result.unwrap_err().kind(), "cut-off");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
