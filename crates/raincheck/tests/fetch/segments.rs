//! Large files in pieces.

use std::{
    collections::HashSet,
    fs,
    ops::Range,
    path::Path,
    sync::{
        Arc, Barrier, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use raincheck::{
    InProcess, Inline, ThreadPool, Tokio,
    fetch::{Algorithm, Checksum, Client, Download, Downloads, Ended, Request, Retries},
};

use sha2::{Digest, Sha256};

use crate::server::{Peer, Server, header, path, status};

const SIZE: usize = 4 << 20;
const PIECE: u64 = 256 << 10;

fn body() -> &'static [u8] {
    static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| (0..SIZE as u32).map(|n| (n ^ (n / 251)) as u8).collect());
    &BODY
}

/// What a request asks for, and whether that is all.
fn wanted(request: &str) -> (Range<usize>, bool) {
    let range = header(request, "range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    match range {
        Some((start, end)) => (start.parse().unwrap()..end.parse::<usize>().map_or(SIZE, |end| end + 1), false),
        None => (0..SIZE, true),
    }
}

/// The head of an answer with these bytes of the file.
fn head(range: &Range<usize>, is_all: bool, etag: &str) -> String {
    let (status, last) = (if is_all { "200 OK" } else { "206 Partial Content" }, range.end - 1);
    let range_line =
        if is_all { String::new() } else { format!("Content-Range: bytes {}-{last}/{SIZE}\r\n", range.start) };
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\nETag: {etag}\r\n{range_line}\r\n",
        range.len()
    )
}

/// Answers as a server of files does.
fn answer(peer: &mut Peer, request: &str) {
    let (range, is_all) = wanted(request);
    peer.send(head(&range, is_all, "\"e\""));
    peer.send(&body()[range]);
}

/// The ranges that were asked for by range, in order.
fn ranges(server: &Server) -> Vec<Range<usize>> {
    let asked = server.requests().iter().map(|request| wanted(request)).collect::<Vec<_>>();
    let mut ranges: Vec<_> = asked.into_iter().filter(|(_, is_all)| !is_all).map(|(range, _)| range).collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

fn downloads(folder: &Path) -> Downloads {
    Downloads::new(Client::builder().build().unwrap())
        .at_once(4)
        .segments(4, PIECE)
        .retries(Retries::times(2).first(Duration::from_millis(1)))
        .into_folder(folder)
        .unwrap()
}

fn download(server: &Server, name: &str) -> Download {
    Download::new(Request::get(&server.url(&format!("/{name}"))).unwrap()).to(name)
}

fn fetch(downloads: &Downloads, executor: &impl InProcess, wanted: Vec<Download>) -> Vec<Ended> {
    downloads.on(executor, wanted).unwrap().collect()
}

/// The file is there, and nothing else.
fn assert_whole(folder: &Path) {
    let names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["big"]);
    assert!(fs::read(folder.join("big")).unwrap() == body());
}

#[test]
fn pieces_come_at_once_on_every_executor_and_each_byte_is_asked_for_once() {
    for (name, workers) in [("inline", 1), ("one thread", 1), ("four threads", 4), ("tokio", 1), ("tokio, spread", 4)] {
        // Nobody gets anything before four have asked.
        let (gate, open, most) = (Barrier::new(4), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, seen, turn) = (Arc::clone(&open), Arc::clone(&most), AtomicUsize::new(0));
        let server = Server::new(move |peer| {
            seen.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            while let Some(request) = peer.request() {
                let (range, is_all) = wanted(&request);
                peer.send(head(&range, is_all, "\"e\""));
                if turn.fetch_add(1, Ordering::SeqCst) < 4 {
                    gate.wait();
                }
                peer.send(&body()[range]);
            }
            count.fetch_sub(1, Ordering::SeqCst);
        });
        let folder = tempfile::tempdir().unwrap();
        let downloads = downloads(folder.path()).workers(workers);
        let wanted = vec![download(&server, "big")];

        let ended = match name {
            "inline" => fetch(&downloads, &Inline::new(), wanted),
            "one thread" | "four threads" => fetch(&downloads, &ThreadPool::new(workers), wanted),
            _ => fetch(&downloads, &Tokio::new(workers), wanted),
        };

        assert_eq!(ended[0].result.as_ref().unwrap().bytes, SIZE as u64, "{name}");
        assert_whole(folder.path());
        assert_eq!(most.load(Ordering::SeqCst), 4, "{name}");
        let ranges = ranges(&server);
        assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "{name}: {ranges:?}");
        assert!(ranges.iter().all(|range| range.len() as u64 >= PIECE), "{name}: {ranges:?}");
    }
}

#[test]
fn a_file_that_is_not_large_or_cannot_be_told_from_another_is_asked_for_once() {
    for tell in ["ETag: \"e\"\r\n", "Accept-Ranges: bytes\r\n", "Accept-Ranges: bytes\r\nETag: W/\"e\"\r\n"] {
        let server = Server::new(move |peer| {
            while peer.request().is_some() {
                peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n{tell}\r\n"));
                peer.send(body());
            }
        });
        let folder = tempfile::tempdir().unwrap();

        fetch(&downloads(folder.path()), &Inline::new(), vec![download(&server, "big")]);

        assert_whole(folder.path());
        assert_eq!(server.requests().len(), 1, "{tell}");
    }
    let server = Server::new(|peer| {
        while let Some(request) = peer.request() {
            answer(peer, &request)
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let downloads = downloads(folder.path()).segments(4, SIZE as u64 / 2 + 1);
    fetch(&downloads, &Inline::new(), vec![download(&server, "big")]);
    assert_whole(folder.path());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn no_piece_takes_the_place_of_another_download() {
    let (tell, small_are_done) = mpsc::channel::<()>();
    let (tell, small_are_done) = (Mutex::new(Some(tell)), Mutex::new(small_are_done));
    let left = AtomicUsize::new(20);
    let server = Server::new(move |peer| {
        while let Some(request) = peer.request() {
            match path(&request) {
                "/big" => {
                    let (range, is_all) = wanted(&request);
                    peer.send(head(&range, is_all, "\"e\""));
                    // Until the sender is gone.
                    let _ = small_are_done.lock().unwrap().recv();
                    peer.send(&body()[range]);
                }
                _ => {
                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx");
                    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                        tell.lock().unwrap().take();
                    }
                }
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let wanted_all = std::iter::once("big".to_owned()).chain((0..20).map(|n| n.to_string()));
    let wanted_all = wanted_all.map(|name| download(&server, &name)).collect();

    let ended = fetch(&downloads(folder.path()).at_once(2), &Inline::new(), wanted_all);

    assert!(ended.len() == 21 && ended.iter().all(|ended| ended.result.is_ok()));
    let requests = server.requests();
    let first_piece = requests.iter().position(|request| header(request, "range").is_some());
    assert!(first_piece.is_none_or(|at| at > 20), "{first_piece:?}");
}

#[test]
fn a_piece_that_is_cut_off_is_gone_on_with_and_the_rest_is_left_alone() {
    let (gate, cut) = (Barrier::new(2), AtomicUsize::new(0));
    let server = Server::new(move |peer| {
        while let Some(request) = peer.request() {
            let (range, is_all) = wanted(&request);
            peer.send(head(&range, is_all, "\"e\""));
            let turn = cut.fetch_add(1, Ordering::SeqCst);
            if turn < 2 {
                gate.wait();
            }
            if is_all {
                peer.send(&body()[range]);
            } else if turn < 2 {
                peer.send(&body()[range.start..range.start + 100_000]);
                return peer.close();
            } else {
                peer.send(&body()[range]);
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();

    let ended =
        fetch(&downloads(folder.path()).at_once(2).segments(2, PIECE), &Inline::new(), vec![download(&server, "big")]);

    assert_eq!(ended[0].attempts, 2, "{:?}", ended[0].result);
    assert_whole(folder.path());
    let ranges = ranges(&server);
    let starts: HashSet<_> = ranges.iter().map(|range| range.start).collect();
    assert_eq!(starts.len(), ranges.len(), "none from where it had begun: {ranges:?}");
    assert_eq!(server.requests().iter().filter(|request| header(request, "range").is_none()).count(), 1);
}

#[test]
fn a_file_that_changes_meanwhile_is_fetched_anew() {
    let gate = Barrier::new(2);
    let turn = AtomicUsize::new(0);
    let server = Server::new(move |peer| {
        while let Some(request) = peer.request() {
            match turn.fetch_add(1, Ordering::SeqCst) {
                0 => {
                    peer.send(head(&(0..SIZE), true, "\"old\""));
                    gate.wait();
                    peer.send(vec![7; 1000]);
                    return peer.wait_for_end();
                }
                1 => {
                    assert_eq!(header(&request, "if-range"), Some("\"old\""));
                    gate.wait();
                }
                // Other pieces may be on their way, and learn the same; nothing else is asked for in pieces.
                _ => assert!(header(&request, "range").is_none() || header(&request, "if-range") == Some("\"old\"")),
            }
            peer.send(head(&(0..SIZE), true, "\"new\""));
            peer.send(body());
        }
    });
    let folder = tempfile::tempdir().unwrap();

    let ended = fetch(&downloads(folder.path()), &Inline::new(), vec![download(&server, "big")]);

    assert!(ended[0].result.is_ok(), "{:?}", ended[0].result);
    assert_whole(folder.path());
}

#[test]
fn a_piece_that_waits_long_does_not_outlive_the_file_that_it_was_of() {
    let (turn, refused) = (AtomicUsize::new(0), AtomicBool::new(false));
    let server = Server::new(move |peer| {
        while let Some(request) = peer.request() {
            let (range, is_all) = wanted(&request);
            if turn.fetch_add(1, Ordering::SeqCst) == 0 {
                peer.send(head(&range, true, "\"old\""));
                peer.send(&body()[..PIECE as usize]);
                return peer.close();
            }
            // There is one lane: whatever it asks for next, it has put this aside.
            if !is_all && range.end == SIZE && !refused.swap(true, Ordering::SeqCst) {
                peer.send(status("503 Service Unavailable", "Retry-After: 500\r\n"));
                continue;
            }
            if !refused.load(Ordering::SeqCst) {
                return peer.close();
            }
            peer.send(head(&(0..SIZE), true, "\"new\""));
            peer.send(body());
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let downloads = downloads(folder.path()).at_once(1).retries(Retries::times(100).first(Duration::from_millis(1)));
    let wanted = vec![download(&server, "big")];
    let (tell, is_over) = mpsc::channel();

    std::thread::spawn(move || tell.send(fetch(&downloads, &Inline::new(), wanted)));

    let ended = is_over.recv_timeout(Duration::from_secs(20)).expect("it waits for what nobody wants");
    assert!(ended[0].result.is_ok(), "{:?}", ended[0].result);
    assert_whole(folder.path());
}

#[test]
fn a_server_that_gives_no_pieces_after_all_gives_the_whole() {
    let gate = Barrier::new(2);
    let turn = AtomicUsize::new(0);
    let server = Server::new(move |peer| {
        while peer.request().is_some() {
            peer.send(head(&(0..SIZE), true, "\"e\""));
            if turn.fetch_add(1, Ordering::SeqCst) < 2 {
                gate.wait();
            }
            peer.send(body());
        }
    });
    let folder = tempfile::tempdir().unwrap();

    let ended = fetch(&downloads(folder.path()).at_once(2), &Inline::new(), vec![download(&server, "big")]);

    assert!(ended[0].result.is_ok(), "{:?}", ended[0].result);
    assert_whole(folder.path());
}

#[test]
fn a_file_with_a_gap_that_nobody_can_fill_is_fetched_anew_and_never_given_its_name() {
    let (asked, over, turn) = (Barrier::new(2), Barrier::new(2), AtomicUsize::new(0));
    let server = Server::new(move |peer| {
        while let Some(request) = peer.request() {
            match turn.fetch_add(1, Ordering::SeqCst) {
                // It goes up to where the piece begins, and no further.
                0 => {
                    peer.send(head(&(0..SIZE), true, "\"e\""));
                    asked.wait();
                    peer.send(body());
                    peer.wait_for_end();
                    over.wait();
                    return;
                }
                1 => {
                    asked.wait();
                    over.wait();
                    peer.send(head(&(0..SIZE), true, "\"e\""));
                }
                _ => {
                    assert_eq!(header(&request, "range"), None);
                    peer.send(head(&(0..SIZE), true, "\"e\""));
                    peer.send(body());
                }
            }
        }
    });
    let folder = tempfile::tempdir().unwrap();

    let ended =
        fetch(&downloads(folder.path()).at_once(2).segments(2, PIECE), &Inline::new(), vec![download(&server, "big")]);

    assert!(ended[0].result.is_ok(), "{:?}", ended[0].result);
    assert_whole(folder.path());
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn what_failed_is_gone_on_with_by_the_next_run_which_asks_for_what_is_missing_alone() {
    let fails = Arc::new(AtomicUsize::new(1));
    let failing = Arc::clone(&fails);
    let gate = Barrier::new(4);
    let server = Server::new(move |peer| {
        while let Some(request) = peer.request() {
            if failing.load(Ordering::SeqCst) == 0 {
                answer(peer, &request);
                continue;
            }
            let (range, is_all) = wanted(&request);
            peer.send(head(&range, is_all, "\"e\""));
            gate.wait();
            peer.send(&body()[range.start..range.start + 200_000]);
            return peer.close();
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let downloads = downloads(folder.path()).retries(Retries::times(0)).leave_parts(true);
    let failed = fetch(&downloads, &Inline::new(), vec![download(&server, "big")]);
    assert_eq!(failed[0].result.as_ref().unwrap_err().kind(), "cut-off");
    fails.store(0, Ordering::SeqCst);
    let before = server.requests().len();

    let ended = fetch(&downloads, &Inline::new(), vec![download(&server, "big")]);

    assert_eq!(ended[0].result.as_ref().unwrap().resumed, 800_000);
    assert_whole(folder.path());
    let asked: Vec<_> = server.requests()[before..].iter().map(|request| wanted(request)).collect();
    let missing: usize = asked.iter().filter(|(_, is_all)| !is_all).map(|(range, _)| range.len()).sum();
    assert_eq!(missing, SIZE - 800_000);
}

#[test]
fn pieces_come_from_mirrors_too_and_from_none_that_has_another_file() {
    let gate = Arc::new(Barrier::new(3));
    let start = |etag: &'static str, is_slow: bool| {
        let (gate, turn) = (Arc::clone(&gate), AtomicUsize::new(0));
        Server::new(move |peer| {
            while let Some(request) = peer.request() {
                let (range, is_all) = wanted(&request);
                // What has changed is given whole.
                let is_same = header(&request, "if-range").is_none_or(|tag| tag == etag);
                let range = if is_same { range } else { 0..SIZE };
                peer.send(head(&range, is_all || !is_same, etag));
                if turn.fetch_add(1, Ordering::SeqCst) == 0 && is_slow {
                    gate.wait();
                }
                peer.send(if is_same { body()[range].to_vec() } else { vec![7; SIZE] });
            }
        })
    };
    let (origin, same, other) = (start("\"e\"", true), start("\"e\"", true), start("\"x\"", false));
    let folder = tempfile::tempdir().unwrap();
    let wanted_file = download(&origin, "big").mirror(&other.url("/big")).unwrap().mirror(&same.url("/big")).unwrap();
    let opener = Arc::clone(&gate);
    let open = std::thread::spawn(move || opener.wait());

    let ended = fetch(&downloads(folder.path()), &Inline::new(), vec![wanted_file]);

    open.join().unwrap();
    assert!(ended[0].result.is_ok(), "{:?}", ended[0].result);
    assert_whole(folder.path());
    assert!(!same.requests().is_empty() && !other.requests().is_empty());
    assert_eq!(other.requests().len(), 1, "it is not asked again");
}

#[test]
fn a_piece_that_is_refused_for_a_while_is_asked_for_at_a_mirror_at_once() {
    for answer_to_pieces in ["503 Service Unavailable", "429 Too Many Requests"] {
        // The whole goes on when a piece of it has been refused.
        let gate = Barrier::new(2);
        let (turn, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let origin = Server::new(move |peer| {
            while let Some(request) = peer.request() {
                let (range, is_all) = wanted(&request);
                if is_all && turn.fetch_add(1, Ordering::SeqCst) == 0 {
                    peer.send(head(&range, true, "\"e\""));
                    gate.wait();
                    peer.send(&body()[range]);
                } else {
                    if refused.fetch_add(1, Ordering::SeqCst) == 0 {
                        gate.wait();
                    }
                    peer.send(status(answer_to_pieces, "Retry-After: 100\r\n"));
                }
            }
        });
        let mirror = Server::new(|peer| {
            while let Some(request) = peer.request() {
                answer(peer, &request)
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let wanted_file = download(&origin, "big").mirror(&mirror.url("/big")).unwrap();

        let ended = fetch(&downloads(folder.path()), &Inline::new(), vec![wanted_file]);

        assert!(ended[0].result.is_ok(), "{answer_to_pieces}: {:?}", ended[0].result);
        assert!(ended[0].took < Duration::from_secs(100), "{answer_to_pieces}: it waited for who is busy");
        assert_whole(folder.path());
        assert_eq!(ranges(&origin).len(), 1, "{answer_to_pieces}: who is busy is not asked again");
    }
}

#[test]
fn what_has_come_is_gone_on_with_at_a_mirror_that_has_the_same() {
    let cut = Server::new(|peer| {
        peer.request();
        peer.send(head(&(0..SIZE), true, "\"e\""));
        peer.send(&body()[..SIZE / 2]);
    });
    let mirror = Server::new(|peer| {
        while let Some(request) = peer.request() {
            answer(peer, &request)
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let wanted_file = download(&cut, "big").mirror(&mirror.url("/big")).unwrap();

    let ended = fetch(&downloads(folder.path()).segments(1, PIECE), &Inline::new(), vec![wanted_file]);

    assert!(ended[0].result.is_ok(), "{:?}", ended[0].result);
    assert_whole(folder.path());
    let request = &mirror.requests()[0];
    assert_eq!(header(request, "if-range"), Some("\"e\""));
    assert_eq!(wanted(request).0.start, SIZE / 2);
}

#[test]
fn with_a_checksum_it_is_gone_on_with_at_any_mirror_and_fetched_anew_if_that_was_wrong() {
    for is_right in [true, false] {
        let cut = Server::new(move |peer| {
            peer.request();
            peer.send(head(&(0..SIZE), true, "\"e\""));
            peer.send(if is_right { body()[..SIZE / 2].to_vec() } else { vec![7; SIZE / 2] });
        });
        let mirror = Server::new(|peer| {
            while let Some(request) = peer.request() {
                answer(peer, &request)
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let sum = Checksum::new(Algorithm::Sha256, &*Sha256::digest(body())).unwrap();
        let wanted_file =
            download(&cut, "big").mirror(&mirror.url("/big")).unwrap().mirror(&mirror.url("/big")).unwrap();

        let ended =
            fetch(&downloads(folder.path()).segments(1, PIECE), &Inline::new(), vec![wanted_file.checksum(sum)]);

        assert!(ended[0].result.is_ok(), "{:?}", ended[0].result);
        assert_whole(folder.path());
        assert_eq!(wanted(&mirror.requests()[0]).0.start, SIZE / 2);
        assert_eq!(mirror.requests().len(), if is_right { 1 } else { 2 });
    }
}
