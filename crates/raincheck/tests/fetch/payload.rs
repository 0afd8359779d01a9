//! What is sent with a request.

use std::{
    io::{Read, Write},
    sync::{Mutex, mpsc},
};

use raincheck::fetch::{Client, Multipart, Part, Payload, Request};

use crate::server::{Server, header, ok, path, status};

fn client() -> Client {
    Client::builder().build().unwrap()
}

/// What the server was sent as the last body.
fn sent(server: &Server) -> String {
    let request = server.requests().pop().unwrap();
    request.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn each_method_has_a_call() {
    let server = Server::answering(|request| ok(request.split(' ').next().unwrap()));
    let (client, url) = (client(), server.url("/"));

    let blocking = [
        client.get_blocking(&url),
        client.post_blocking(&url, "a"),
        client.put_blocking(&url, String::from("b")),
        client.patch_blocking(&url, vec![b'c']),
        client.delete_blocking(&url),
    ]
    .map(|response| response.unwrap().text().unwrap());
    let head = client.head_blocking(&url).unwrap();
    let awaited = crate::run(async {
        [
            client.get(&url).await,
            client.post(&url, "a").await,
            client.put(&url, "b").await,
            client.patch(&url, "c").await,
            client.delete(&url).await,
        ]
        .map(|response| response.unwrap().status())
    });

    assert_eq!(blocking, ["GET", "POST", "PUT", "PATCH", "DELETE"]);
    assert_eq!(head.status(), 200);
    assert!(awaited.iter().all(|status| *status == 200));
    let requests: Vec<_> = server
        .requests()
        .iter()
        .map(|request| format!("{} {}", &request[..3], request.split_once("\r\n\r\n").unwrap().1))
        .collect();
    let sent = ["GET ", "POS a", "PUT b", "PAT c", "DEL "];
    assert_eq!(requests, [&sent[..], &["HEA "], &sent[..]].concat());
}

#[test]
fn a_request_that_could_have_a_body_and_has_none_says_so() {
    let server = Server::answering(|_| ok(""));
    let requests = [Request::post(&server.url("/")).unwrap(), Request::put(&server.url("/")).unwrap().body("")];

    for request in requests {
        client().fetch_blocking(request).unwrap();
        assert_eq!(header(&server.requests().pop().unwrap(), "content-length"), Some("0"));
    }
    client().get_blocking(&server.url("/")).unwrap();

    assert_eq!(header(&server.requests().pop().unwrap(), "content-length"), None);
}

#[test]
fn a_type_that_the_request_gives_stands_instead_of_the_payloads_own() {
    let server = Server::answering(|_| ok(""));
    let request = Request::post(&server.url("/")).unwrap().json(&[1]).unwrap();

    client().fetch_blocking(request.header("Content-Type", "application/vnd.api+json").unwrap()).unwrap();

    let request = &server.requests()[0];
    assert_eq!(request.to_lowercase().matches("content-type").count(), 1, "{request}");
    assert_eq!(header(request, "content-type"), Some("application/vnd.api+json"));
}

#[test]
fn a_form_with_files_is_sent_as_browsers_do() {
    let server = Server::answering(|_| ok(""));
    let mut file = tempfile::Builder::new().suffix(".txt").tempfile().unwrap();
    file.write_all(b"from a file").unwrap();
    let form = Multipart::new()
        .text("day", "to\r\nday")
        .file("notes", file.path())
        .part("a \"b\"\r\n", Part::new(&b"\xe2\x98\x82"[..]).file_name("ü\".gif").content_type("image/gif").unwrap());

    client().post_blocking(&server.url("/"), form).unwrap();

    let request = server.requests().pop().unwrap();
    let (kind, boundary) = header(&request, "content-type").unwrap().split_once("; boundary=").unwrap();
    let name = file.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(kind, "multipart/form-data");
    assert!(boundary.len() > 30 && boundary.len() <= 70, "{boundary}");
    assert_eq!(
        sent(&server).replace(boundary, "BOUNDARY"),
        format!(
            "--BOUNDARY\r\nContent-Disposition: form-data; name=\"day\"\r\n\r\nto\r\nday\r\n\
             --BOUNDARY\r\nContent-Disposition: form-data; name=\"notes\"; filename=\"{name}\"\r\n\r\nfrom a file\r\n\
             --BOUNDARY\r\nContent-Disposition: form-data; name=\"a %22b%22%0D%0A\"; filename=\"ü%22.gif\"\r\n\
             Content-Type: image/gif\r\n\r\n☂\r\n\
             --BOUNDARY--\r\n"
        )
    );
}

#[test]
fn a_type_cannot_add_lines_of_its_own() {
    assert_eq!(Part::new("").content_type("a/b\r\nX: y").unwrap_err().kind(), "invalid");
}

#[test]
fn forms_have_boundaries_of_their_own() {
    let server = Server::answering(|_| ok(""));

    for _ in 0..2 {
        client().post_blocking(&server.url("/"), Multipart::new()).unwrap();
    }

    let boundaries: Vec<_> =
        server.requests().iter().map(|request| header(request, "content-type").unwrap().to_owned()).collect();
    assert_ne!(boundaries[0], boundaries[1]);
}

#[test]
fn a_file_is_sent_whole_and_read_anew_where_the_server_sends_on() {
    let server = Server::answering(|request| match path(request) {
        "/from" => status("307 Temporary Redirect", "Location: /to\r\n"),
        _ => ok(""),
    });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text = "rain\n".repeat(100_000);
    file.write_all(text.as_bytes()).unwrap();

    client().post_blocking(&server.url("/from"), Payload::file(file.path())).unwrap();

    let bodies: Vec<_> =
        server.requests().iter().map(|request| request.split_once("\r\n\r\n").unwrap().1.to_owned()).collect();
    assert!(bodies == [text.clone(), text]);
}

#[test]
fn a_file_that_cannot_be_sent_is_an_error_that_names_it() {
    let server = Server::answering(|_| ok(""));
    let folder = tempfile::tempdir().unwrap();

    for path in [folder.path().join("none"), folder.path().to_owned()] {
        let error = client().post_blocking(&server.url("/"), Payload::file(&path)).unwrap_err();

        assert_eq!(error.kind(), "file");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }

    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_file_that_becomes_shorter_while_it_is_sent_is_an_error_that_names_it() {
    let (begun, begins) = mpsc::channel();
    let (shortened, go_on) = mpsc::channel();
    let (begun, go_on) = (Mutex::new(begun), Mutex::new(go_on));
    let server = Server::listening("http", move |mut stream, _, _| {
        stream.read_exact(&mut [0; 1000]).unwrap();
        begun.lock().unwrap().send(()).unwrap();
        go_on.lock().unwrap().recv().unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    // More than the sockets between can hold.
    file.as_file().set_len(100 << 20).unwrap();
    let handle = file.reopen().unwrap();
    let shortener = std::thread::spawn(move || {
        begins.recv().unwrap();
        handle.set_len(10).unwrap();
        shortened.send(()).unwrap();
    });

    let error = client().post_blocking(&server.url("/"), Payload::file(file.path())).unwrap_err();

    assert_eq!(error.kind(), "file");
    assert!(error.to_string().contains("shorter"), "{error}");
    shortener.join().unwrap();
}

#[test]
fn what_is_sent_stands_in_no_debug_output_and_is_the_same_when_read_back() {
    let server = Server::answering(|_| ok(""));
    let file = tempfile::Builder::new().suffix("notes.txt").tempfile().unwrap();
    let form = Multipart::new().text("secret", "s3cret").file("notes", file.path());
    let request = Request::post(&server.url("/")).unwrap().body(form);

    let written = serde_json::to_string(&request).unwrap();
    let read: Request = serde_json::from_str(&written).unwrap();

    assert!(!format!("{request:?}").contains("s3cret"), "{request:?}");
    assert!(format!("{request:?}").contains("notes.txt"), "{request:?}");
    client().fetch_blocking(request).unwrap();
    client().fetch_blocking(read).unwrap();
    let [first, again] = &server.requests()[..] else { panic!("two requests") };
    assert!(first.contains("s3cret") && first.contains("multipart/form-data"), "{first}");
    assert_eq!(again, first);
}
