//! How many connections there are, and when one is used again.

use std::sync::{Arc, Mutex, mpsc};

use raincheck::{
    InProcess, Inline, ThreadPool, Tokio,
    fetch::{self, Client, Download, FetchError, Request},
};

use crate::{
    run,
    server::{Server, ok, path},
};

#[test]
fn there_are_never_more_connections_than_allowed() {
    let server = Server::answering(|request| ok(path(request)));
    let client = Client::builder().connections(3).build().unwrap();

    run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..50 {
            let (client, url) = (client.clone(), server.url(&format!("/{n}")));
            tasks.spawn(async move {
                let response = client.fetch(Request::get(&url).unwrap()).await.unwrap();
                assert_eq!(response.bytes().await.unwrap(), format!("/{n}"));
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });

    assert_eq!(server.connections(), 3);
}

#[test]
fn the_connection_that_is_idle_longest_makes_room_for_another() {
    let (ended, ends) = mpsc::channel();
    let ended = Mutex::new(ended);
    let first = Server::new(move |peer| {
        peer.request();
        peer.send(ok("first"));
        peer.wait_for_end();
        ended.lock().unwrap().send(()).unwrap();
    });
    let [second, third] = [(), ()].map(|()| Server::answering(|_| ok("another")));
    let client = Client::builder().connections(2).build().unwrap();

    run(async {
        for server in [&first, &second, &third, &second] {
            client.fetch(Request::get(&server.url("/")).unwrap()).await.unwrap().bytes().await.unwrap();
        }
        ends.recv().unwrap();
    });

    assert_eq!(second.connections(), 1);
}

#[test]
fn whoever_waits_for_a_connection_gets_the_place_of_one_to_another_host() {
    let [first, second] = [(), ()].map(|()| Server::answering(|request| ok(path(request))));
    let client = Client::builder().connections(1).build().unwrap();

    run(async {
        let mut response = client.fetch(Request::get(&first.url("/held")).unwrap()).await.unwrap();
        let waiting = tokio::spawn({
            let (client, url) = (client.clone(), second.url("/waiting"));
            async move { client.fetch(Request::get(&url).unwrap()).await.unwrap().bytes().await.unwrap() }
        });
        tokio::task::yield_now().await;
        assert_eq!(second.connections(), 0);
        while response.chunk().await.unwrap().is_some() {}

        assert_eq!(waiting.await.unwrap(), "/waiting");
    });
}

#[test]
fn a_response_that_is_dropped_gives_its_place_back() {
    let server = Server::new(|peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
        peer.wait_for_end();
    });
    let client = Client::builder().connections(1).build().unwrap();

    run(async {
        for _ in 0..3 {
            drop(client.fetch(Request::get(&server.url("/")).unwrap()).await.unwrap());
        }
    });

    assert_eq!(server.connections(), 3);
}

#[test]
fn a_request_that_is_dropped_while_it_waits_costs_no_place() {
    let server = Server::answering(|request| ok(path(request)));
    let client = Client::builder().connections(1).build().unwrap();

    run(async {
        let mut held = client.fetch(Request::get(&server.url("/held")).unwrap()).await.unwrap();
        for _ in 0..3 {
            let mut waiting = Box::pin(client.fetch(Request::get(&server.url("/")).unwrap()));
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_ready())).await;
            assert!(!polled);
        }
        while held.chunk().await.unwrap().is_some() {}
        client.fetch(Request::get(&server.url("/")).unwrap()).await.unwrap().bytes().await.unwrap();
    });

    assert_eq!(server.connections(), 1);
}

#[test]
fn a_connection_that_was_closed_while_idle_is_replaced_unnoticed() {
    let (closed, closes) = mpsc::channel();
    let closed = Mutex::new(closed);
    let server = Server::new(move |peer| {
        peer.request();
        peer.send(ok("once"));
        // Without a word, as servers do that have waited long enough.
        peer.close();
        closed.lock().unwrap().send(()).unwrap();
    });
    let client = Client::builder().build().unwrap();

    run(async {
        for _ in 0..3 {
            client.fetch(Request::get(&server.url("/")).unwrap()).await.unwrap().bytes().await.unwrap();
            closes.recv().unwrap();
        }
    });

    assert_eq!(server.connections(), 3);
}

#[test]
fn a_request_that_an_old_connection_swallows_is_sent_again_unless_it_could_be_done_twice() {
    for (method, sent_again) in [(http::Method::GET, true), (http::Method::POST, false)] {
        let swallowed = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&swallowed);
        let server = Server::new(move |peer| {
            peer.request();
            peer.send(ok("first"));
            if peer.number == 0 && peer.request().is_some() {
                *counted.lock().unwrap() += 1;
                peer.close();
            }
        });
        let client = Client::builder().build().unwrap();

        let second = run(async {
            client.fetch(Request::get(&server.url("/")).unwrap()).await.unwrap().bytes().await.unwrap();
            client.fetch(Request::new(method, &server.url("/")).unwrap()).await.map(|response| response.status())
        });

        assert_eq!(*swallowed.lock().unwrap(), 1);
        if sent_again {
            assert_eq!(second.unwrap(), 200);
            assert_eq!(server.connections(), 2);
        } else {
            assert!(matches!(second, Err(FetchError::Reset { .. })), "{second:?}");
            assert_eq!(server.connections(), 1);
        }
    }
}

#[test]
fn a_new_connection_that_is_closed_without_an_answer_is_an_error_at_once() {
    let server = Server::new(|peer| {
        peer.request();
        peer.close();
    });
    let client = Client::builder().build().unwrap();

    let error = run(client.fetch(Request::get(&server.url("/")).unwrap())).unwrap_err();

    assert_eq!(error.kind(), "reset");
    assert_eq!(server.connections(), 1);
}

#[test]
fn runtimes_come_and_go_and_each_has_its_own_connections() {
    let server = Server::answering(|request| ok(path(request)));
    let client = Client::builder().build().unwrap();

    for n in 1..=3 {
        run(async {
            for _ in 0..2 {
                client.fetch(Request::get(&server.url("/")).unwrap()).await.unwrap().bytes().await.unwrap();
            }
        });
        assert_eq!(server.connections(), n);
    }
}

#[test]
fn downloads_as_tasks_use_the_connections_of_those_before_them_on_every_executor() {
    fn all(executor: &impl InProcess, server: &Server) {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..10 {
            let wanted = Download::new(Request::get(&server.url(&format!("/{n}"))).unwrap()).to(format!("{n}"));
            let task = fetch::fetch::call(wanted, folder.path().to_owned());

            assert_eq!(executor.submit(task).result().unwrap().unwrap().bytes, 2);
        }
    }
    // Tokio may have a thread end while another begins.
    for (name, most) in [("inline", 1), ("thread", 1), ("threads", 3), ("tokio", 9)] {
        let server = Server::answering(|request| ok(path(request)));
        match name {
            "inline" => all(&Inline::new(), &server),
            "tokio" => all(&Tokio::new(1), &server),
            _ => all(&ThreadPool::new(most), &server),
        }
        assert!((1..=most).contains(&server.connections()), "{name}: {}", server.connections());
    }
}
