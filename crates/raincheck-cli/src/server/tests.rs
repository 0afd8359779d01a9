//! Each test is a client on a real connection, with requests written by hand.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use tempfile::TempDir;

use super::*;

const FLAG: &str = "/flags/de/de.png";
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq)]
struct Reply {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Reply {
    /// Reads one answer. The body ends where its length says, or where the connection does.
    fn read(stream: &mut impl Read) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer has a head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a head begins with the status");
        let mut headers: HashMap<_, _> = lines
            .map(|line| line.split_once(": ").expect("a header has a name and a value"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        headers.remove("date");

        let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a length is a number"));
        let mut body = Vec::new();
        // An error is the end of the connection too, and the tests see that by what is missing.
        let _ = stream.take(length).read_to_end(&mut body);
        Self { status: status.parse().expect("a status is a number"), headers, body }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn connect(server: &Server) -> std::net::TcpStream {
    let stream = std::net::TcpStream::connect(server.address()).expect("the server listens");
    // A server that hangs fails the test, and does not hang it too.
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

fn ask(server: &Server, method: &str, path: &str, headers: &str) -> Reply {
    let mut stream = connect(server);
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n")
        .expect("the server listens");
    let mut reply = Reply::read(&mut stream);
    let nothing = stream.read(&mut [0]).unwrap_or_default();
    assert_eq!(nothing, 0, "nothing follows the body");
    reply.headers.remove("connection");
    reply
}

fn get(server: &Server, path: &str) -> Reply {
    ask(server, "GET", path, "")
}

fn flags(options: ServerOptions) -> Server {
    Server::start(Content::BuiltInFlags, options).expect("a port is free")
}

fn folder(root: &Path) -> Server {
    Server::start(Content::Folder(root.to_owned()), ServerOptions::default()).expect("a port is free")
}

/// A folder `site` with a few files, beside a `secret` that no request may reach.
fn site() -> (TempDir, Server) {
    let here = tempfile::tempdir().expect("the system has a place for temporary files");
    let site = here.path().join("site");
    let files: [(&str, &[u8]); 5] = [
        ("site/hello.txt", b"hello, world\n"),
        ("site/deep/er/a b.json", b"{}"),
        ("site/big.bin", &big()),
        ("secret", b"secret"),
        ("site-secret/secret", b"secret"),
    ];
    for (path, bytes) in files {
        let path = here.path().join(path);
        fs::create_dir_all(path.parent().expect("each has a folder")).expect("the place is writable");
        fs::write(path, bytes).expect("the place is writable");
    }
    let server = folder(&site);
    (here, server)
}

/// More than a few chunks, and no two alike.
fn big() -> Vec<u8> {
    (0_u32..100_001).flat_map(u32::to_le_bytes).collect()
}

fn share(share: f64) -> Share {
    Share::new(share).expect("a share is from 0 to 1")
}

/// Waits for what another thread is about to bring about.
fn until(what: &str, happens: impl Fn() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !happens() {
        assert!(Instant::now() < patience, "{what}");
        thread::yield_now();
    }
}

#[test]
fn a_flag_comes_with_its_type_length_and_tag() {
    let reply = get(&flags(ServerOptions::default()), FLAG);

    assert_eq!(reply.status, 200);
    assert!(reply.body.starts_with(b"\x89PNG"));
    assert_eq!(reply.header("content-type"), "image/png");
    assert_eq!(reply.header("content-length"), reply.body.len().to_string());
    assert_eq!(reply.header("accept-ranges"), "bytes");
    assert!(reply.header("etag").starts_with('"'));
}

#[test]
fn a_country_without_a_flag_is_not_found() {
    let reply = get(&flags(ServerOptions::default()), "/flags/zz/zz.png");

    assert_eq!(reply.status, 404);
    assert_eq!(reply.text(), "404 Not Found: /flags/zz/zz.png\n");
}

#[test]
fn a_file_is_found_by_its_path_below_the_folder() {
    let (_here, server) = site();

    assert_eq!(get(&server, "/hello.txt").text(), "hello, world\n");
    assert_eq!(get(&server, "/hello.txt?query").text(), "hello, world\n");
    assert_eq!(get(&server, "/deep/er/a%20b.json").text(), "{}");
    assert_eq!(get(&server, "http://test/hello.txt").text(), "hello, world\n");
}

#[test]
fn a_folder_lists_what_can_be_had_of_it_by_links_that_lead_there() {
    let (here, server) = site();
    let site = here.path().join("site");
    fs::write(site.join("deep/<b>&\"?#:%.txt"), "odd").expect("the place is writable");
    #[cfg(unix)]
    std::os::unix::fs::symlink(here.path().join("secret"), site.join("deep/out")).expect("the place is writable");

    let top = get(&server, "/");
    let deep = get(&server, "/deep/");

    assert_eq!((top.status, top.header("content-type")), (200, "text/html; charset=utf-8"));
    let links = |reply: &Reply| -> Vec<String> {
        let text = reply.text();
        text.split("href=\"").skip(1).map(|link| link.split_once('"').expect("it ends").0.to_owned()).collect()
    };
    assert_eq!(links(&top), ["big.bin", "deep/", "hello.txt"]);
    assert_eq!(links(&deep), ["%3Cb%3E%26%22%3F%23%3A%25.txt", "er/"]);
    assert!(deep.text().contains(">&lt;b&gt;&amp;&quot;?#:%.txt</a>"), "{}", deep.text());
    for link in links(&deep) {
        assert_eq!(get(&server, &format!("/deep/{link}")).status, 200, "{link}");
    }
    let tag = format!("If-None-Match: {}\r\n", top.header("etag"));
    assert_eq!(ask(&server, "GET", "/", &tag).status, 304);
    let head = ask(&server, "HEAD", "/", "");
    assert_eq!((head.status, head.header("etag")), (200, top.header("etag")));
}

#[test]
fn a_folder_with_an_index_is_that_and_one_without_a_slash_is_sent_there() {
    let (here, server) = site();
    fs::write(here.path().join("site/deep/index.html"), "welcome").expect("the place is writable");

    assert_eq!(get(&server, "/deep/").text(), "welcome");
    let sent = get(&server, "/deep");
    assert_eq!((sent.status, sent.header("location")), (301, "/deep/"));
    assert_eq!(["//", "/deep//", "/hello.txt/", "/nowhere/"].map(|path| get(&server, path).status), [404; 4]);
}

#[test]
fn a_big_file_arrives_whole() {
    let (_here, server) = site();

    assert!(get(&server, "/big.bin").body == big());
}

#[test]
fn an_empty_file_is_an_empty_answer() {
    let (here, server) = site();
    fs::write(here.path().join("site/empty"), "").expect("the place is writable");

    let reply = get(&server, "/empty");
    assert_eq!((reply.status, reply.header("content-length"), reply.body.len()), (200, "0", 0));
}

#[test]
fn head_says_what_get_would_and_sends_no_body() {
    let (_here, server) = site();

    for path in ["/hello.txt", "/big.bin", "/nowhere"] {
        let mut stream = connect(&server);
        write!(stream, "HEAD {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("the server listens");
        let mut head = Vec::new();
        stream.read_to_end(&mut head).expect("the server closes the connection");
        assert!(head.ends_with(b"\r\n\r\n"), "there is no body");

        let mut head = Reply::read(&mut head.as_slice());
        head.headers.remove("connection");
        let get = get(&server, path);
        assert_eq!((head.status, head.headers), (get.status, get.headers));
    }
}

#[test]
fn other_methods_are_told_which_ones_are_allowed() {
    let server = flags(ServerOptions::default());

    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let reply = ask(&server, method, FLAG, "Content-Length: 0\r\n");
        assert_eq!((reply.status, reply.header("allow")), (405, "GET, HEAD"), "{method}");
    }
}

#[test]
fn a_range_brings_just_those_bytes() {
    let (_here, server) = site();
    let part = |path, range: &str| {
        let reply = ask(&server, "GET", path, &format!("Range: {range}\r\n"));
        assert_eq!(reply.status, 206);
        assert_eq!(reply.header("content-length"), reply.body.len().to_string());
        (reply.header("content-range").to_owned(), reply.body)
    };

    assert_eq!(part("/hello.txt", "bytes=7-11"), ("bytes 7-11/13".to_owned(), b"world".to_vec()));
    let (range, bytes) = part("/big.bin", "bytes=65530-300000");
    assert_eq!(range, "bytes 65530-300000/400004");
    assert!(bytes == big()[65530..=300_000]);
}

#[test]
fn a_range_beyond_the_end_is_refused_with_the_true_length() {
    let (_here, server) = site();

    let reply = ask(&server, "GET", "/hello.txt", "Range: bytes=13-\r\n");
    assert_eq!((reply.status, reply.header("content-range")), (416, "bytes */13"));
}

#[test]
fn whoever_has_a_version_gets_it_again_only_after_a_change() {
    let (here, server) = site();
    let first = get(&server, "/hello.txt");
    let if_new = format!("If-None-Match: {}\r\n", first.header("etag"));
    let if_modified = format!("If-Modified-Since: {}\r\n", first.header("last-modified"));

    let unchanged = ask(&server, "GET", "/hello.txt", &if_new);
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, first.header("etag")));
    assert_eq!(ask(&server, "GET", "/hello.txt", &if_modified).status, 304);
    assert_eq!(ask(&server, "HEAD", "/hello.txt", &if_new).status, 304);

    // As long as before, and a moment later: only the time tells them apart.
    let file = fs::File::create(here.path().join("site/hello.txt")).expect("the place is writable");
    (&file).write_all(b"HELLO, WORLD\n").expect("the place is writable");
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(2)).expect("a file has a time");
    assert_eq!(ask(&server, "GET", "/hello.txt", &if_new).text(), "HELLO, WORLD\n");
    assert_eq!(ask(&server, "GET", "/hello.txt", &if_modified).text(), "HELLO, WORLD\n");
}

#[test]
fn a_download_is_resumed_only_if_it_is_still_the_same_version() {
    let (_here, server) = site();
    let tag = get(&server, "/hello.txt").header("etag").to_owned();
    let resume = |tag: &str| ask(&server, "GET", "/hello.txt", &format!("Range: bytes=5-\r\nIf-Range: {tag}\r\n"));

    assert_eq!((resume(&tag).status, resume(&tag).text()), (206, ", world\n".to_owned()));
    assert_eq!((resume("\"old\"").status, resume("\"old\"").text()), (200, "hello, world\n".to_owned()));
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let (here, server) = site();
    let secret = here.path().join("secret");
    let secret = secret.to_str().expect("a temporary path is text");
    let encoded = secret.replace('/', "%2f");

    for path in [
        "/../secret",
        "/deep/../../secret",
        "/%2e%2e/secret",
        "/%2E%2E/secret",
        "/.%2e/secret",
        "/..%2fsecret",
        "/..%2Fsecret",
        "/deep%2f..%2f..%2fsecret",
        "/..%5csecret",
        "/..\\secret",
        "/%2e%2e%2fsecret",
        "/../site-secret/secret",
        "/%00../secret",
        "/hello.txt%00",
        "/%252e%252e/secret",
        "/%c0%ae%c0%ae/secret",
        &format!("/{secret}"),
        &format!("/{encoded}"),
        secret,
    ] {
        let reply = get(&server, path);
        assert!(matches!(reply.status, 400 | 404), "{path}: {reply:?}");
        assert_ne!(reply.text(), "secret", "{path}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_only_if_it_stays_in_the_folder() {
    use std::os::unix::fs::symlink;

    let (here, server) = site();
    let site = here.path().join("site");
    let link = |to: &Path, name: &str| symlink(to, site.join(name)).expect("links can be made");
    link(Path::new("hello.txt"), "inside");
    link(&site.join("deep"), "inside-folder");
    link(Path::new("../secret"), "outside");
    link(&here.path().join("secret"), "outside-absolute");
    link(Path::new(".."), "outside-folder");
    link(&here.path().join("site-secret"), "outside-folder-with-the-same-beginning");
    link(Path::new("outside"), "outside-by-two-links");
    link(Path::new("loop"), "loop");
    link(Path::new("nowhere"), "dangling");

    assert_eq!(get(&server, "/inside").text(), "hello, world\n");
    assert_eq!(get(&server, "/inside-folder/er/a%20b.json").text(), "{}");
    for path in [
        "/outside",
        "/outside-absolute",
        "/outside-folder/secret",
        "/outside-folder-with-the-same-beginning/secret",
        "/outside-by-two-links",
        "/dangling",
    ] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
    assert!(matches!(get(&server, "/loop").status, 404 | 500));
}

#[cfg(unix)]
#[test]
fn the_folder_itself_may_be_a_link() {
    let (here, _server) = site();
    let link = here.path().join("link");
    std::os::unix::fs::symlink("site", &link).expect("links can be made");

    assert_eq!(get(&folder(&link), "/hello.txt").text(), "hello, world\n");
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_not_found_and_holds_nobody_up() {
    let (here, server) = site();
    let made = std::process::Command::new("mkfifo").arg(here.path().join("site/pipe")).status();
    assert!(made.expect("a Unix has `mkfifo`").success());

    assert_eq!(get(&server, "/pipe").status, 404);
}

#[test]
fn errors_on_purpose_have_the_status_that_was_asked_for() {
    let server = flags(ServerOptions { error_rate: share(1.0), error_status: 418, ..ServerOptions::default() });

    assert_eq!(get(&server, FLAG).status, 418);
    assert_eq!(get(&server, "/nowhere").status, 418);
    assert_eq!(server.stats().errors, 2);
}

#[test]
fn no_answer_comes_before_its_delay() {
    let delay = Duration::from_millis(80);
    let server = flags(ServerOptions { delay: Some(Delay::fixed(delay)), ..ServerOptions::default() });
    let asked = Instant::now();

    assert_eq!(get(&server, FLAG).status, 200);
    assert!(asked.elapsed() >= delay);
}

#[test]
fn a_slow_body_is_whole_and_no_faster_than_asked() {
    let server = flags(ServerOptions { slow: NonZeroU64::new(2000), ..ServerOptions::default() });
    let asked = Instant::now();
    let reply = get(&server, FLAG);

    assert_eq!(reply.body.len().to_string(), reply.header("content-length"));
    assert!(asked.elapsed() >= Duration::from_secs_f64(reply.body.len() as f64 / 2000.0));
}

#[test]
fn a_cut_body_promises_more_than_it_brings() {
    let (here, _server) = site();
    let options = ServerOptions { cut_rate: share(1.0), ..ServerOptions::default() };
    let server = Server::start(Content::Folder(here.path().join("site")), options).expect("a port is free");

    let reply = get(&server, "/big.bin");
    assert_eq!((reply.status, reply.header("content-length")), (200, "400004"));
    assert!(!reply.body.is_empty() && reply.body.len() < 400_004);
    assert!(big().starts_with(&reply.body));
    assert_eq!(server.stats().cut, 1);
}

#[test]
fn a_cut_body_brings_all_the_bytes_before_the_cut() {
    let options = ServerOptions { cut_rate: share(1.0), ..ServerOptions::default() };
    let server = flags(options.clone());

    for code in ["de", "fr", "it", "pl", "br"] {
        let path = format!("/flags/{code}/{code}.png");
        let Some(Fault::Cut(how_far)) = Fate::of(&options, &path, 1).fault else { panic!("all are cut") };
        let reply = get(&server, &path);
        let length: f64 = reply.header("content-length").parse().expect("a length is a number");
        assert_eq!(reply.body.len(), (length * how_far) as usize, "{code}");
    }
}

#[test]
fn a_cut_download_can_be_finished_by_ranges() {
    let (here, _server) = site();
    let options = ServerOptions { cut_rate: share(0.9), ..ServerOptions::default() };
    let server = Server::start(Content::Folder(here.path().join("site")), options).expect("a port is free");

    let mut bytes = Vec::new();
    for _ in 0..1000 {
        if bytes.len() == big().len() {
            break;
        }
        let range = format!("Range: bytes={}-\r\n", bytes.len());
        bytes.extend(ask(&server, "GET", "/big.bin", &range).body);
    }
    assert!(bytes == big());
    assert!(server.stats().cut > 0);
}

#[test]
fn a_stalled_body_stays_open_until_the_client_gives_up() {
    let options = ServerOptions { stall_rate: share(1.0), ..ServerOptions::default() };
    let server = flags(options.clone());
    let Some(Fault::Stall(how_far)) = Fate::of(&options, FLAG, 1).fault else { panic!("all stall") };
    let mut stream = connect(&server);
    write!(stream, "GET {FLAG} HTTP/1.1\r\nHost: test\r\n\r\n").expect("the server listens");

    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the head comes");
        head.push(byte[0]);
    }
    let length: f64 = Reply::read(&mut head.as_slice()).header("content-length").parse().expect("it is a number");
    let mut body = vec![0; (length * how_far) as usize];
    stream.read_exact(&mut body).expect("the body begins");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout can be set");
    let nothing = stream.read(&mut [0]).expect_err("nothing more comes, not even the end");
    assert!(matches!(nothing.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut));

    assert_eq!((server.stats().stalled, server.stats().connections), (1, 1));
    stream.shutdown(Shutdown::Both).expect("the connection is still open");
    until("a connection ends when its client is gone", || server.stats().connections == 0);
}

#[test]
fn requests_beyond_the_limit_are_told_when_to_come_again() {
    let server = flags(ServerOptions { limit: NonZeroU32::new(2), ..ServerOptions::default() });
    let mut stream = connect(&server);
    let request = format!("GET {FLAG} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.repeat(4).as_bytes()).expect("the server listens");
    let replies = [(); 4].map(|()| Reply::read(&mut stream));

    assert_eq!(replies.each_ref().map(|reply| reply.status), [200, 200, 429, 429]);
    assert_eq!(replies.each_ref().map(|reply| reply.header("retry-after")), ["", "", "1", "1"]);
    assert_eq!(server.stats().limited, 2);
}

#[test]
fn the_same_seed_brings_the_same_trouble_whatever_the_order_and_the_concurrency() {
    let options = ServerOptions {
        error_rate: share(0.3),
        cut_rate: share(0.3),
        delay: Some(Delay::between(Duration::ZERO, Duration::from_millis(2))),
        seed: 42,
        ..ServerOptions::default()
    };
    let paths: Vec<String> = ["de", "fr", "it", "pl", "br", "jp", "zz", "in", "us", "cn", "ng", "vn"]
        .map(|code| format!("/flags/{code}/{code}.png"))
        .to_vec();
    let thrice = |server: &Server, path: &str| [(); 3].map(|()| get(server, path));

    let server = flags(options.clone());
    let one_by_one: Vec<_> = paths.iter().map(|path| thrice(&server, path)).collect();
    let server = flags(options.clone());
    let all_at_once: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = paths.iter().rev().map(|path| scope.spawn(|| thrice(&server, path))).collect();
        clients.into_iter().rev().map(|client| client.join().expect("no client panics")).collect()
    });
    assert_eq!(one_by_one, all_at_once);

    let server = flags(ServerOptions { seed: 43, ..options });
    let with_another_seed: Vec<_> = paths.iter().map(|path| thrice(&server, path)).collect();
    assert_ne!(one_by_one, with_another_seed);
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let server = flags(ServerOptions::default());
    let mut stream = connect(&server);

    for path in [FLAG, "/nowhere", "/flags/fr/fr.png"] {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").expect("the connection is open");
        let mut reply = Reply::read(&mut stream);
        reply.headers.remove("connection");
        assert_eq!(reply, get(&server, path));
    }
}

#[test]
fn many_clients_are_served_at_once_and_counted() {
    let server = flags(ServerOptions::default());
    let mut clients: Vec<_> = (0..300).map(|_| connect(&server)).collect();
    until("every connection is accepted", || server.stats().connections == 300);

    for client in &mut clients {
        write!(client, "GET {FLAG} HTTP/1.1\r\nHost: test\r\n\r\n").expect("the connection is open");
    }
    assert!(clients.iter_mut().all(|client| Reply::read(client).status == 200));
    drop(clients);
    until("every connection is closed", || server.stats().connections == 0);
    let Stats { requests, peak_connections, .. } = server.stats();
    assert_eq!((requests, peak_connections), (300, 300));
}

#[test]
fn a_client_may_begin_with_http_2() {
    let server = flags(ServerOptions::default());

    let replies = over_http_2(&server, &[FLAG, "/flags/fr/fr.png", "/nowhere"]);
    let first = get(&server, FLAG).body;
    assert_eq!(replies[0], (200, Ok(first)));
    assert_eq!((replies[1].0, replies[2].0), (200, 404));
    assert_eq!(server.stats().peak_connections, 1, "one connection carries them all");
}

#[test]
fn over_http_2_a_cut_body_is_an_error_and_not_an_end() {
    let server = flags(ServerOptions { cut_rate: share(1.0), ..ServerOptions::default() });

    let replies = over_http_2(&server, &[FLAG]);
    assert_eq!(replies, [(200, Err(()))]);
}

/// Asks for all paths at once on one connection. A body that ends badly is an `Err`.
fn over_http_2(server: &Server, paths: &[&str]) -> Vec<(u16, Result<Vec<u8>, ()>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime can be had");
    runtime.block_on(async {
        let stream = TcpStream::connect(server.address()).await.expect("the server listens");
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("the server speaks HTTP/2");
        tokio::spawn(connection);
        let asked = paths.iter().map(|path| {
            let uri = format!("http://{}{path}", server.address());
            let request = Request::get(uri).body(Empty::<bytes::Bytes>::new()).expect("the request is legal");
            let mut sender = sender.clone();
            tokio::spawn(async move {
                let response = sender.send_request(request).await.expect("an answer comes");
                let status = response.status().as_u16();
                let body = response.into_body().collect().await;
                (status, body.map(|body| body.to_bytes().to_vec()).map_err(|_| ()))
            })
        });
        let mut replies = Vec::new();
        for reply in asked.collect::<Vec<_>>() {
            replies.push(reply.await.expect("no client panics"));
        }
        replies
    })
}

#[test]
fn dropping_the_server_closes_its_connections_and_frees_its_port() {
    let server = flags(ServerOptions { stall_rate: share(1.0), ..ServerOptions::default() });
    let port = server.address().port();
    let (mut idle, mut stalled) = (connect(&server), connect(&server));
    write!(stalled, "GET {FLAG} HTTP/1.1\r\nHost: test\r\n\r\n").expect("the connection is open");
    until("one body stalls", || server.stats().stalled == 1 && server.stats().connections == 2);

    drop(server);
    assert_eq!(idle.read(&mut [0]).ok().unwrap_or_default(), 0);
    let mut begun = Vec::new();
    let _ = stalled.read_to_end(&mut begun);
    let again = flags(ServerOptions { port, ..ServerOptions::default() });
    assert_eq!(get(&again, FLAG).status, 200);
}

#[test]
fn its_handle_stops_a_server_that_is_waited_for() {
    let server = flags(ServerOptions::default());
    let handle = server.stop_handle();
    get(&server, FLAG);

    let waiting = thread::spawn(|| server.wait());
    handle.stop();
    assert_eq!(waiting.join().expect("waiting does not panic").requests, 1);
}

#[test]
fn a_folder_that_cannot_be_served_is_named() {
    let (here, _server) = site();
    let error = |folder: &Path| {
        let started = Server::start(Content::Folder(folder.to_owned()), ServerOptions::default());
        started.expect_err("there is nothing to serve").to_string()
    };

    assert_eq!(error(Path::new("no/such/folder")), "no folder `no/such/folder`");
    let file = here.path().join("secret");
    assert_eq!(error(&file), format!("`{}` is not a folder", file.display()));
}

#[test]
fn a_port_that_is_taken_is_named_with_the_way_out() {
    let port = flags(ServerOptions::default());
    let options = ServerOptions { port: port.address().port(), ..ServerOptions::default() };

    let error = Server::start(Content::BuiltInFlags, options).expect_err("the port is taken");
    assert_eq!(error.to_string(), format!("another program listens on `{}` already", port.address()));
    assert_eq!(error.hint(), Some("`--port 0` picks a port that is free"));
}

#[test]
fn a_host_that_is_none_is_named() {
    let options = ServerOptions { host: "not a host".to_owned(), ..ServerOptions::default() };

    let error = Server::start(Content::BuiltInFlags, options).expect_err("a host has no spaces");
    assert!(error.to_string().starts_with("no address for host `not a host`: "), "{error}");
}

#[test]
fn rates_that_add_up_to_more_than_every_request_are_refused() {
    let options = |cut| ServerOptions {
        error_rate: share(0.7),
        stall_rate: share(0.2),
        cut_rate: share(cut),
        ..ServerOptions::default()
    };

    flags(options(0.1));
    let error = Server::start(Content::BuiltInFlags, options(0.5)).expect_err("0.7 + 0.2 + 0.5 is more than 1");
    assert!(error.to_string().starts_with("`--error-rate`, `--cut-rate` and `--stall-rate` add up to 1.4"), "{error}");
}
