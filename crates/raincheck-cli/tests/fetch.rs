//! `raincheck fetch` against a server that does what each test says.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What came over the wire.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    /// How many times the path had been asked for before.
    before: usize,
    range: Option<u64>,
    if_range: Option<String>,
    at: Instant,
}

/// What the server does.
enum Does {
    /// Answers with this status, these header lines and this body.
    Answers(u16, String, Vec<u8>),
    /// Says that there are so many bytes, sends these and closes the connection.
    CutsOff(usize, String, Vec<u8>),
    /// The same, but keeps the connection open, and says nothing more.
    Stalls(usize, String, Vec<u8>),
}

struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    most_open: Arc<AtomicUsize>,
}

impl Server {
    fn start(script: impl Fn(&Asked) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let most_open = Arc::new(AtomicUsize::new(0));
        let (script, open) = (Arc::new(script), Arc::new(AtomicUsize::new(0)));
        let server = Self { address, asked: Arc::clone(&asked), most_open: Arc::clone(&most_open) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
                let (open, most_open) = (Arc::clone(&open), Arc::clone(&most_open));
                thread::spawn(move || {
                    most_open.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    serve(&stream, &*script, &asked);
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    /// A server that has a file of so many bytes under each path, made from the path.
    fn of_files(bytes: usize) -> Self {
        Self::start(move |asked| Does::Answers(200, String::new(), body(&asked.path, bytes)))
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}

/// Answers one request after the other, until the script or the client ends it.
fn serve(stream: &TcpStream, script: &(dyn Fn(&Asked) -> Does + Send + Sync), all: &Mutex<Vec<Asked>>) {
    let mut lines = BufReader::new(stream);
    let mut to = stream;
    loop {
        let mut headers = HashMap::new();
        let mut first = String::new();
        if lines.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let path = first.split(' ').nth(1).unwrap().to_owned();
        let range =
            headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-')?.0.parse().ok());
        let asked = {
            let mut all = all.lock().unwrap();
            let before = all.iter().filter(|asked| asked.path == path).count();
            let if_range = headers.get("if-range").cloned();
            all.push(Asked { path, before, range, if_range, at: Instant::now() });
            all.last().unwrap().clone()
        };
        let sent = match script(&asked) {
            Does::Answers(status, more, body) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{more}\r\n", body.len());
                to.write_all(&[head.as_bytes(), &body].concat()).is_ok()
            }
            Does::CutsOff(length, more, body) => {
                let head = format!("HTTP/1.1 200 X\r\ncontent-length: {length}\r\n{more}\r\n");
                let _ = to.write_all(&[head.as_bytes(), &body].concat());
                let _ = stream.shutdown(std::net::Shutdown::Write);
                false
            }
            Does::Stalls(length, more, body) => {
                let head = format!("HTTP/1.1 200 X\r\ncontent-length: {length}\r\n{more}\r\n");
                let _ = to.write_all(&[head.as_bytes(), &body].concat());
                // Until the client has had enough of it.
                let _ = lines.read_line(&mut String::new());
                false
            }
        };
        if !sent {
            return;
        }
    }
}

/// So many bytes that no other path has.
fn body(path: &str, bytes: usize) -> Vec<u8> {
    path.bytes().cycle().zip(0_u32..).map(|(byte, n)| byte ^ (n / 251) as u8).take(bytes).collect()
}

struct Run {
    dir: TempDir,
}

impl Run {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raincheck"));
        command.arg("fetch").args(args);
        if !args.contains(&"-d") {
            command.arg("--dir").arg(self.dir.path().join("got"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command
    }

    fn fetch(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// A list of these paths of the server.
    fn list(&self, server: &Server, paths: impl IntoIterator<Item = String>) -> String {
        let list = self.dir.path().join("list.txt");
        fs::write(&list, paths.into_iter().map(|path| server.url(&path) + "\n").collect::<String>()).unwrap();
        list.to_str().unwrap().into()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join("got").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Everything in the folder, however hidden, but for what tells the next run what is whole.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        below(&self.dir.path().join("got"), &mut names);
        names.retain(|name| name != "journal");
        names.sort();
        names
    }
}

fn below(folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            below(&entry.path(), names);
        } else {
            names.push(entry.file_name().into_string().unwrap());
        }
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn paths(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("/f{n}"))
}

#[test]
fn every_executor_brings_every_file_byte_for_byte_and_equal_urls_once() {
    for executor in ["inline", "thread", "tokio"] {
        let (server, run) = (Server::of_files(3000), Run::new());
        let list = run.list(&server, paths(40).chain(paths(40)));

        let output = run.fetch(&["-i", &list, "-j", "8", "--executor", executor]);

        assert_eq!(output.status.code(), Some(0), "{executor}: {}", stderr(&output));
        for path in paths(40) {
            assert_eq!(run.read(&path[1..]), body(&path, 3000), "{executor} {path}");
        }
        assert_eq!((run.names().len(), server.asked().len()), (40, 40), "{executor}");
    }
}

#[test]
fn there_are_never_more_connections_than_asked_for() {
    let (server, run) = (Server::of_files(100), Run::new());
    let list = run.list(&server, paths(200));

    run.fetch(&["-i", &list, "-j", "5"]);

    assert_eq!(server.most_open.load(Ordering::SeqCst), 5);
}

#[test]
fn a_shell_that_lets_few_files_be_open_does_not_keep_connections_from_being_made() {
    const ALL: usize = 80;
    let (asking, all_ask) = (Mutex::new(0), Condvar::new());
    // Nobody is answered before all have asked.
    let server = Server::start(move |asked| {
        let mut asking = asking.lock().unwrap();
        *asking += 1;
        all_ask.notify_all();
        drop(all_ask.wait_timeout_while(asking, Duration::from_secs(20), |asking| *asking < ALL).unwrap());
        Does::Answers(200, String::new(), body(&asked.path, 10))
    });
    let run = Run::new();
    let list = run.list(&server, paths(ALL));
    let fetch = run.command(&["-i", &list, "-j", &ALL.to_string()]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -Sn 40; exec \"$0\" \"$@\""]).arg(fetch.get_program()).args(fetch.get_args());

    let output = shell.output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(server.most_open.load(Ordering::SeqCst), ALL);
}

#[test]
fn no_more_run_at_once_than_there_may_be_files_open() {
    let (server, run) = (Server::of_files(100), Run::new());
    let list = run.list(&server, paths(200));
    let fetch = run.command(&["-i", &list, "-j", "1000"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\""]).arg(fetch.get_program()).args(fetch.get_args());

    let output = shell.output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(run.names().len(), 200);
    assert!(server.most_open.load(Ordering::SeqCst) <= 18);
    let told = "18 at a time and not 1000, which would take 2064 open files: the system allows 100 (`ulimit -Hn`)";
    assert!(stderr(&output).contains(told), "{}", stderr(&output));
}

#[test]
fn retry_after_is_obeyed_and_what_is_not_found_is_not_asked_for_again() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/gone" => Does::Answers(404, String::new(), b"no such page".into()),
        _ if asked.before == 0 => Does::Answers(503, "retry-after: 1\r\n".into(), Vec::new()),
        path => Does::Answers(200, String::new(), body(path, 10)),
    });
    let run = Run::new();

    let output = run.fetch(&[&server.url("/gone"), &server.url("/busy")]);

    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(run.names(), ["busy"]);
    let asked = server.asked();
    let times: Vec<_> = asked.iter().filter(|asked| asked.path == "/busy").map(|asked| asked.at).collect();
    assert_eq!((asked.len(), times.len()), (3, 2));
    assert!(times[1] - times[0] >= Duration::from_secs(1));
}

#[test]
fn a_host_that_says_slow_down_is_left_alone_as_a_whole() {
    let first = Mutex::new(None::<Instant>);
    let early = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&early);
    let server = Server::start(move |asked| {
        let mut first = first.lock().unwrap();
        if asked.path == "/f0" && first.is_none() {
            *first = Some(Instant::now());
            return Does::Answers(429, "retry-after: 1\r\n".into(), Vec::new());
        }
        if first.is_some_and(|first| first.elapsed() < Duration::from_secs(1)) {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Does::Answers(200, String::new(), body(&asked.path, 10))
    });
    let run = Run::new();
    let list = run.list(&server, paths(50));

    let output = run.fetch(&["-i", &list, "-j", "1"]);

    assert_eq!((output.status.code(), run.names().len()), (Some(0), 50), "{}", stderr(&output));
    assert_eq!(early.load(Ordering::SeqCst), 0);
}

#[test]
fn a_waiting_retry_holds_no_slot() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/slow" if asked.before == 0 => Does::Answers(503, "retry-after: 1\r\n".into(), Vec::new()),
        path => Does::Answers(200, String::new(), body(path, 10)),
    });
    let run = Run::new();

    run.fetch(&["-j", "1", &server.url("/slow"), &server.url("/a"), &server.url("/b")]);

    let order: Vec<_> = server.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(order, ["/slow", "/a", "/b", "/slow"]);
}

#[test]
fn a_body_that_is_cut_off_is_no_file_until_the_rest_has_come() {
    let server = Server::start(|asked| match asked.before {
        0 => Does::CutsOff(1000, String::new(), vec![1; 500]),
        _ => Does::Answers(200, String::new(), body(&asked.path, 1000)),
    });
    let run = Run::new();

    let failed = run.fetch(&["--retries", "0", &server.url("/a")]);
    assert_eq!((failed.status.code(), run.names().len()), (Some(1), 0), "{}", stderr(&failed));

    let done = run.fetch(&[&server.url("/a")]);
    assert_eq!((done.status.code(), run.read("a")), (Some(0), body("/a", 1000)));
}

/// A large file that is cut off in the middle, and then served from where it was if it has not changed.
fn cut_in_the_middle(etag_then: &'static str) -> Server {
    const SIZE: usize = 2_000_000;
    Server::start(move |asked| {
        let whole = body(&asked.path, SIZE);
        let etag = format!("etag: {}\r\n", if asked.before == 0 { "\"one\"" } else { etag_then });
        match (asked.before, asked.range) {
            (0, _) => Does::CutsOff(SIZE, etag, whole[..SIZE / 2].into()),
            (_, Some(from)) if asked.if_range.as_deref() == Some(etag_then) => {
                let range = format!("{etag}content-range: bytes {from}-{}/{SIZE}\r\n", SIZE - 1);
                Does::Answers(206, range, whole[from as usize..].into())
            }
            _ => Does::Answers(200, etag, whole.iter().map(|byte| byte.wrapping_add(1)).collect()),
        }
    })
}

#[test]
fn what_has_come_of_a_large_file_is_gone_on_with() {
    let (server, run) = (cut_in_the_middle("\"one\""), Run::new());

    let output = run.fetch(&["--retry-wait", "1ms", &server.url("/big")]);

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(run.read("big"), body("/big", 2_000_000));
    assert_eq!(server.asked()[1].range, Some(1_000_000));
    assert_eq!(run.names(), ["big"]);
}

#[test]
fn a_large_file_that_has_changed_meanwhile_begins_anew() {
    let (server, run) = (cut_in_the_middle("\"two\""), Run::new());

    let output = run.fetch(&["--retry-wait", "1ms", &server.url("/big")]);

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let other: Vec<u8> = body("/big", 2_000_000).iter().map(|byte| byte.wrapping_add(1)).collect();
    assert!(run.read("big") == other);
    assert_eq!(run.names(), ["big"]);
}

#[test]
fn a_part_that_does_not_begin_where_it_was_asked_to_is_not_taken() {
    const SIZE: usize = 1_000_000;
    let server = Server::start(|asked| {
        let (whole, etag) = (body(&asked.path, SIZE), "etag: \"e\"\r\n");
        match (asked.before, asked.range) {
            (0, _) => Does::CutsOff(SIZE, etag.into(), whole[..SIZE / 2].into()),
            (_, Some(_)) => {
                let range = format!("{etag}content-range: bytes 7-{}/{SIZE}\r\n", SIZE - 1);
                Does::Answers(206, range, whole[7..].into())
            }
            _ => Does::Answers(200, etag.into(), whole),
        }
    });
    let run = Run::new();

    let output = run.fetch(&["--retry-wait", "1ms", &server.url("/big")]);

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(run.read("big") == body("/big", SIZE));
}

#[test]
fn a_server_that_falls_silent_is_given_up_on_and_asked_again() {
    let server = Server::start(|asked| match asked.before {
        0 => Does::Stalls(1000, String::new(), vec![1; 10]),
        _ => Does::Answers(200, String::new(), body(&asked.path, 1000)),
    });
    let run = Run::new();

    let output = run.fetch(&["--idle-timeout", "200ms", "--retry-wait", "1ms", &server.url("/a")]);

    assert_eq!((output.status.code(), run.read("a")), (Some(0), body("/a", 1000)), "{}", stderr(&output));
}

#[test]
fn the_same_command_again_asks_for_nothing_that_is_there() {
    let (server, run) = (Server::of_files(100), Run::new());
    let list = run.list(&server, paths(10));
    run.fetch(&["-i", &list]);

    let again = run.fetch(&["-i", &list]);

    assert_eq!((again.status.code(), server.asked().len()), (Some(0), 10), "{}", stderr(&again));
}

#[test]
fn two_urls_of_one_name_are_two_files() {
    let (server, run) = (Server::of_files(10), Run::new());

    run.fetch(&[&server.url("/1/a.png"), &server.url("/2/a.png")]);

    let names = run.names();
    assert!(names.len() == 2 && names[0].starts_with("a-") && names[1] == "a.png", "{names:?}");
    assert_eq!((run.read("a.png"), run.read(&names[0])), (body("/1/a.png", 10), body("/2/a.png", 10)));
}

#[test]
fn a_file_with_another_checksum_is_none() {
    let (server, run) = (Server::of_files(10), Run::new());
    let list = run.list(&server, [format!("/a\tmd5:{}", "0".repeat(32))]);

    let output = run.fetch(&["-i", &list, "--retries", "1", "--retry-wait", "1ms"]);

    assert_eq!((output.status.code(), run.names().len(), server.asked().len()), (Some(1), 0, 2));
    assert!(stderr(&output).contains("checksum"), "{}", stderr(&output));
}

#[test]
fn what_failed_can_be_given_back() {
    let server = Server::start(|asked| match (asked.path.as_str(), asked.before) {
        ("/f1" | "/f2", 0) => Does::Answers(500, String::new(), Vec::new()),
        (path, _) => Does::Answers(200, String::new(), body(path, 10)),
    });
    let run = Run::new();
    let (list, failed) = (run.list(&server, paths(3)), run.dir.path().join("failed.txt"));
    let failed = failed.to_str().unwrap();

    let first = run.fetch(&["-i", &list, "--retries", "0", "--failed", failed]);
    assert_eq!((first.status.code(), run.names().len()), (Some(1), 1));
    let told = stderr(&first);
    assert!(told.contains(&format!("`{failed}` lists them")) && !told.contains("--report"), "{told}");
    let second = run.fetch(&["-i", failed]);

    assert_eq!((second.status.code(), run.names()), (Some(0), vec!["f0".into(), "f1".into(), "f2".into()]));
    assert_eq!(server.asked().len(), 5);
}

#[test]
fn a_list_can_be_given_what_failed_of_itself() {
    let server = Server::start(|asked| match (asked.path.as_str(), asked.before) {
        ("/f1", 0) => Does::Answers(500, String::new(), Vec::new()),
        (path, _) => Does::Answers(200, String::new(), body(path, 10)),
    });
    let run = Run::new();
    let list = run.list(&server, paths(3));
    let files_beside =
        || fs::read_dir(run.dir.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    let before = files_beside();

    let first = run.fetch(&["-i", &list, "--retries", "0", "--failed", &list]);
    assert_eq!((first.status.code(), run.names().len()), (Some(1), 2));
    assert!(fs::read_to_string(&list).unwrap().contains(&server.url("/f1")));
    let second = run.fetch(&["-i", &list, "--failed", &list]);

    assert_eq!((second.status.code(), run.names().len(), server.asked().len()), (Some(0), 3, 4));
    assert_eq!(fs::read_to_string(&list).unwrap(), "");
    // An error before anything ran leaves the list alone.
    fs::write(&list, server.url("/f3")).unwrap();
    let third = run.fetch(&["-i", &list, "--failed", &list, "--report", "/nowhere/r.jsonl"]);
    assert_eq!((third.status.code(), fs::read_to_string(&list).unwrap()), (Some(2), server.url("/f3")));
    assert_eq!(files_beside(), before);
}

#[test]
fn the_records_tell_of_each_download() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/old" => Does::Answers(301, "location: /new\r\n".into(), Vec::new()),
        "/none" => Does::Answers(404, String::new(), Vec::new()),
        path => Does::Answers(200, "etag: \"e\"\r\n".into(), body(path, 10)),
    });
    let run = Run::new();
    let records = run.dir.path().join("r.jsonl");

    run.fetch(&["--report", records.to_str().unwrap(), "-j", "1", &server.url("/old"), &server.url("/none")]);

    let records = fs::read_to_string(records).unwrap();
    let records: Vec<serde_json::Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&records[0]["name"], &records[0]["code"]), (&"old".into(), &200.into()));
    assert_eq!(records[0]["redirects"][0][0], 301);
    assert_eq!((&records[1]["status"], &records[1]["code"]), (&"not-found".into(), &404.into()));
    assert_eq!(records[1]["kind"], "status");
}

#[test]
fn bad_lines_and_dead_hosts_are_told_and_the_rest_goes_on() {
    let (server, run) = (Server::of_files(10), Run::new());
    let list = run.dir.path().join("list");
    fs::write(&list, format!("# a comment\nftp://h/x\n\n{}\nhttp://127.0.0.1:1/y\n", server.url("/a"))).unwrap();

    let output = run.fetch(&["-i", list.to_str().unwrap(), "--retries", "0"]);

    let told = stderr(&output);
    assert_eq!((output.status.code(), run.names()), (Some(1), vec!["a".into()]), "{told}");
    assert!(told.contains("list:2` not begun: `ftp://h/x` is not of http or https"), "{told}");
    assert!(told.contains("refused") && told.contains("1 done, 1 failed, 1 not begun"), "{told}");
}

/// Files of which one, after the first few, does not come until the program is gone; says when it is asked for.
fn stuck_after(few: usize) -> (Server, mpsc::Receiver<()>) {
    let (tell, told) = mpsc::channel();
    let server = Server::start(move |asked| {
        let number: usize = asked.path[2..].parse().unwrap();
        if asked.before == 0 && number == few {
            let _ = tell.send(());
            return Does::Stalls(2_000_000, String::new(), body(&asked.path, 300_000));
        }
        Does::Answers(200, String::new(), body(&asked.path, 1000))
    });
    (server, told)
}

#[test]
fn ctrl_c_ends_at_once_and_the_next_run_asks_only_for_the_rest() {
    let ((server, stuck), run) = (stuck_after(5), Run::new());
    let list = run.list(&server, paths(8));
    let child = run.command(&["-i", &list, "-j", "1"]).spawn().unwrap();
    stuck.recv().unwrap();

    let asked_to_stop = Instant::now();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();

    assert!(asked_to_stop.elapsed() < Duration::from_secs(2), "{:?}", asked_to_stop.elapsed());
    assert_eq!((output.status.code(), run.names().len()), (Some(130), 5), "{}", stderr(&output));
    assert!(stderr(&output).contains("interrupted, with 3 of 8 jobs not done"), "{}", stderr(&output));
    let again = run.fetch(&["-i", &list]);
    assert_eq!((again.status.code(), run.names().len(), server.asked().len()), (Some(0), 8, 6 + 3));
}

#[test]
fn after_ctrl_c_what_was_not_begun_is_with_what_failed() {
    let ((server, stuck), run) = (stuck_after(2), Run::new());
    let list = run.list(&server, paths(8));
    fs::write(&list, fs::read_to_string(&list).unwrap() + "ftp://h/a\n").unwrap();
    let child = run.command(&["-i", &list, "-j", "1", "--failed", &list]).spawn().unwrap();
    stuck.recv().unwrap();

    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let told = fs::read_to_string(&list).unwrap();
    let urls: Vec<_> = told.lines().filter(|line| line.starts_with("http")).map(str::to_owned).collect();
    assert_eq!(urls, (2..8).map(|number| server.url(&format!("/f{number}"))).collect::<Vec<_>>(), "{told}");
    assert!(told.lines().any(|line| line.starts_with("# ") && line.contains("not of http or https")), "{told}");
}

#[test]
fn after_ctrl_c_a_list_beside_a_pipe_that_has_not_ended_is_as_it_was() {
    let interrupted = |failed: &str| {
        let ((server, stuck), run) = (stuck_after(2), Run::new());
        let list = run.list(&server, paths(4));
        let (before, failed) = (fs::read_to_string(&list).unwrap(), run.dir.path().join(failed));
        let mut command = run.command(&["-i", &list, "-i", "-", "-j", "1", "--failed", failed.to_str().unwrap()]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let pipe = child.stdin.take();
        stuck.recv().unwrap();

        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(pipe);

        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(stderr(&output).contains("interrupted before all inputs were read, with "), "{}", stderr(&output));
        (before, fs::read_to_string(failed).unwrap())
    };

    let (before, list) = interrupted("list.txt");
    let (_, failed) = interrupted("failed.txt");

    assert_eq!(list, before);
    assert!(failed.contains("/f2\n") && failed.contains("what follows was not read"), "{failed}");
}

#[test]
fn a_kill_leaves_no_short_file_and_nothing_that_the_next_run_does_not_clear() {
    let ((server, stuck), run) = (stuck_after(5), Run::new());
    let list = run.list(&server, paths(8));
    let mut child = run.command(&["-i", &list, "-j", "1"]).spawn().unwrap();
    stuck.recv().unwrap();

    child.kill().unwrap();
    child.wait().unwrap();

    let whole = |name: &String| !name.starts_with('.');
    assert_eq!(run.names().iter().filter(|name| whole(name)).count(), 5);
    let again = run.fetch(&["-i", &list]);
    assert_eq!((again.status.code(), server.asked().len()), (Some(0), 6 + 3));
    assert_eq!(run.names(), paths(8).map(|path| path[1..].to_owned()).collect::<Vec<_>>());
}

#[test]
fn the_next_run_goes_on_with_what_a_killed_one_has_left_of_a_large_file() {
    const SIZE: usize = 2_000_000;
    let (tell, stuck) = mpsc::channel();
    let server = Server::start(move |asked| {
        let (whole, etag) = (body(&asked.path, SIZE), "etag: \"e\"\r\n");
        match (asked.before, asked.range) {
            (0, _) => {
                let _ = tell.send(());
                Does::Stalls(SIZE, etag.into(), whole[..SIZE / 2].into())
            }
            (_, Some(from)) => {
                let range = format!("{etag}content-range: bytes {from}-{}/{SIZE}\r\n", SIZE - 1);
                Does::Answers(206, range, whole[from as usize..].into())
            }
            _ => Does::Answers(200, etag.into(), whole),
        }
    });
    let run = Run::new();
    let mut child = run.command(&[&server.url("/big")]).spawn().unwrap();
    stuck.recv().unwrap();
    let parts = run.dir.path().join("got/.raincheck-fetch/parts");
    let come = || fs::read_dir(&parts).into_iter().flatten().map(|part| part.unwrap().metadata().unwrap().len()).max();
    while come().unwrap_or(0) < 500_000 {
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let output = run.fetch(&[&server.url("/big")]);

    assert_eq!((output.status.code(), run.names()), (Some(0), vec!["big".into()]), "{}", stderr(&output));
    assert!(run.read("big") == body("/big", SIZE));
    assert!(server.asked().last().unwrap().range.is_some_and(|from| from >= 500_000), "{:?}", server.asked());
}

#[test]
fn the_first_bytes_of_a_large_file_outlive_ctrl_c() {
    const SIZE: usize = 2_000_000;
    let server = Server::start(move |asked| {
        let (whole, etag) = (body(&asked.path, SIZE), "etag: \"e\"\r\n");
        match asked.range {
            None => Does::Stalls(SIZE, etag.into(), whole[..50_000].into()),
            Some(from) => {
                let range = format!("{etag}content-range: bytes {from}-{}/{SIZE}\r\n", SIZE - 1);
                Does::Answers(206, range, whole[from as usize..].into())
            }
        }
    });
    let run = Run::new();
    let mut child = run.command(&[&server.url("/big")]).spawn().unwrap();
    let parts = run.dir.path().join("got/.raincheck-fetch/parts");
    let begin = Instant::now();
    while fs::read_dir(&parts).into_iter().flatten().next().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(20), "nothing is noted of it");
        thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    child.wait().unwrap();

    let output = run.fetch(&[&server.url("/big")]);

    assert_eq!((output.status.code(), run.names()), (Some(0), vec!["big".into()]), "{}", stderr(&output));
    assert!(run.read("big") == body("/big", SIZE));
    assert!(server.asked().last().unwrap().range.is_some_and(|from| from > 0), "{:?}", server.asked());
}

#[test]
fn a_list_of_nothing_is_said_to_be_one() {
    let run = Run::new();
    let list = run.dir.path().join("list");
    fs::write(&list, "# nothing\n\n").unwrap();

    for args in [&["-i", "-"][..], &["-i", list.to_str().unwrap()], &["--dry-run", "-i", "-"]] {
        let output = run.fetch(args);

        assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{args:?}");
        assert_eq!(stderr(&output), "there was nothing to fetch: no URL was given\n", "{args:?}");
    }
    assert!(run.names().is_empty());
}

#[test]
fn a_list_of_aria2_says_in_how_many_pieces_a_file_comes() {
    const SIZE: usize = 8_000_000;
    let server = Server::start(|asked| match asked.range {
        None => Does::Answers(200, "accept-ranges: bytes\r\netag: \"e\"\r\n".into(), body(&asked.path, SIZE)),
        Some(from) => {
            let range = format!("etag: \"e\"\r\ncontent-range: bytes {from}-{}/{SIZE}\r\n", SIZE - 1);
            Does::Answers(206, range, body(&asked.path, SIZE)[from as usize..].into())
        }
    });
    let run = Run::new();
    let list = run.dir.path().join("list");
    let options = "  split=2\n  max-connection-per-server=4\n  min-split-size=1M\n  gid=2089b05ecca3d829\n";
    fs::write(&list, format!("{0}/a\n{options}{0}/b\n  gid=2089b05ecca3d82a\n", server.address)).unwrap();

    let output = run.fetch(&["-i", list.to_str().unwrap(), "-j", "4"]);

    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("the option `gid` means nothing here").count(), 1, "{}", stderr(&output));
    assert_eq!((run.read("a"), run.read("b")), (body("/a", SIZE), body("/b", SIZE)));
    let in_pieces = |path: &str| server.asked().iter().any(|asked| asked.path == path && asked.range.is_some());
    assert!(in_pieces("/a") && !in_pieces("/b"));
}

#[test]
fn downloads_from_a_pipe_begin_before_it_ends() {
    let (server, run) = (Server::of_files(10), Run::new());
    let mut child = run.command(&["-i", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut list = child.stdin.take().unwrap();
    writeln!(list, "{}", server.url("/a")).unwrap();

    while server.asked().is_empty() {
        thread::yield_now();
    }
    writeln!(list, "{}", server.url("/b")).unwrap();
    drop(list);

    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(run.names(), ["a", "b"]);
}

#[test]
fn what_sites_ask_of_robots_counts_if_asked_for() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/robots.txt" => Does::Answers(200, String::new(), b"User-agent: *\nDisallow: /private\n".into()),
        "/tagged" => Does::Answers(200, "x-robots-tag: noai\r\n".into(), body("/tagged", 10)),
        path => Does::Answers(200, String::new(), body(path, 10)),
    });
    let run = Run::new();
    let urls = ["/private/a", "/tagged", "/b"].map(|path| server.url(path));
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();

    let output = run.fetch(&[&["--robots"], &urls[..]].concat());

    let told = stderr(&output);
    assert_eq!((output.status.code(), run.names()), (Some(1), vec!["b".into()]), "{told}");
    assert!(told.contains("/robots.txt") && told.contains("X-Robots-Tag: noai"), "{told}");
    let asked = server.asked();
    assert_eq!(asked.iter().filter(|asked| asked.path == "/robots.txt").count(), 1);
    assert!(asked.iter().all(|asked| asked.path != "/private/a"));
    assert_eq!(run.fetch(&urls).status.code(), Some(0));
}

#[test]
fn a_site_that_does_not_say_what_it_asks_of_robots_is_left_alone() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/robots.txt" => Does::Answers(503, String::new(), Vec::new()),
        path => Does::Answers(200, String::new(), body(path, 10)),
    });
    let run = Run::new();

    let output = run.fetch(&["--robots", &server.url("/a")]);

    assert_eq!((output.status.code(), server.asked().len()), (Some(1), 1), "{}", stderr(&output));
}

#[test]
fn what_robots_may_not_fetch_and_what_a_file_is_in_the_way_of_can_be_given_back() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/robots.txt" => Does::Answers(200, String::new(), b"User-agent: *\nDisallow: /private\n".into()),
        "/tagged" => Does::Answers(200, "x-robots-tag: noai\r\n".into(), body("/tagged", 10)),
        path => Does::Answers(200, String::new(), body(path, 10)),
    });
    let run = Run::new();
    let list = run.dir.path().join("list");
    fs::write(&list, format!("{0}/private/a\tx\n  referer=me\n{0}/tagged\n{0}/b\n{0}/c\n", server.address)).unwrap();
    fs::create_dir(run.dir.path().join("got")).unwrap();
    fs::write(run.dir.path().join("got/c"), "mine").unwrap();
    let list = list.to_str().unwrap();

    let first = run.fetch(&["-i", list, "--robots", "--failed", list]);
    let failed = fs::read_to_string(list).unwrap();
    let second = run.fetch(&["-i", list, "--existing", "replace", "--failed", list]);

    assert_eq!(first.status.code(), Some(1), "{}", stderr(&first));
    assert!(failed.contains(&format!("{}\n  out=x\n  referer=me\n", server.url("/private/a"))), "{failed}");
    assert_eq!((second.status.code(), &*fs::read_to_string(list).unwrap()), (Some(0), ""), "{}", stderr(&second));
    assert_eq!(
        (run.names(), run.read("x")),
        (["b", "c", "tagged", "x"].map(String::from).into(), body("/private/a", 10))
    );
}

/// A server of our own, until it is dropped, with its log.
struct Serve(Child);

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

#[test]
fn http_2_is_spoken_without_tls_if_the_command_says_so() {
    let run = Run::new();
    fs::write(run.dir.path().join("a"), "rain").unwrap();
    for (option, protocol) in [("--http2", "HTTP/2.0"), ("--http1.1", "HTTP/1.1")] {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_raincheck"));
        serve.args(["serve", "--port", "0", "--verbose"]).arg(run.dir.path());
        let mut serve = Serve(serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let mut address = String::new();
        BufReader::new(serve.0.stdout.take().unwrap()).read_line(&mut address).unwrap();

        let output = run.fetch(&[option, "--existing", "replace", &format!("{}/a", address.trim())]);

        assert_eq!((output.status.code(), run.read("a")), (Some(0), b"rain".into()), "{option}: {}", stderr(&output));
        let mut line = String::new();
        BufReader::new(serve.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(&format!("\"GET /a {protocol}\"")), "{option}: {line}");
    }
}

#[test]
fn lists_can_be_pipes_with_names_one_after_the_other() {
    let (server, run) = (Server::of_files(10), Run::new());
    let pipes = ["one", "two"].map(|name| run.dir.path().join(name));
    assert!(Command::new("mkfifo").args(&pipes).status().unwrap().success());
    let [one, two] = pipes.each_ref().map(|pipe| pipe.to_str().unwrap());

    let child = run.command(&["-i", one, "-i", two]).spawn().unwrap();
    fs::write(one, format!("{}\n  out=x\n", server.url("/a"))).unwrap();
    fs::write(two, server.url("/b")).unwrap();
    let output = child.wait_with_output().unwrap();

    assert_eq!((output.status.code(), run.names()), (Some(0), vec!["b".into(), "x".into()]), "{}", stderr(&output));
}

#[test]
fn a_server_may_name_files_if_asked_for_and_is_not_asked_again() {
    let server = Server::start(|asked| {
        let name = "content-disposition: attachment; filename=\"../../report.pdf\"\r\n";
        Does::Answers(200, name.into(), body(&asked.path, 10))
    });
    let run = Run::new();
    let urls = [server.url("/get?1"), server.url("/get?2")];
    let fetch = || run.fetch(&["--server-names", &urls[0], &urls[1]]);

    let first = fetch();
    let names = run.names();
    assert!(names.len() == 2 && names[0].starts_with("report-") && names[1] == "report.pdf", "{names:?}");
    let second = fetch();

    assert_eq!((first.status.code(), second.status.code()), (Some(0), Some(0)), "{}", stderr(&second));
    assert_eq!((run.names(), server.asked().len()), (names, 2));
}

#[test]
fn what_failed_keeps_its_name_its_headers_and_its_mirrors() {
    let server = Server::start(|asked| match asked.before {
        0 => Does::Answers(404, String::new(), Vec::new()),
        _ => Does::Answers(200, String::new(), body(&asked.path, 10)),
    });
    let run = Run::new();
    let (list, failed) = (run.dir.path().join("list"), run.dir.path().join("failed"));
    let (list, failed) = (list.to_str().unwrap(), failed.to_str().unwrap());
    fs::write(list, format!("{0}/a\n  header=X-A: b\n  http-user=me\n  http-passwd=secret\n{0}/c\n", server.address))
        .unwrap();

    let first = run.fetch(&["-i", list, "--name", "{#2}-{name}", "--failed", failed]);
    let told = fs::read_to_string(failed).unwrap();
    let second = run.fetch(&["-i", failed]);
    let third = run.fetch(&["-i", list, "--name", "{#2}-{name}"]);

    assert!(told.contains("  out=01-a\n  header=X-A: b\n  http-user=me\n  http-passwd=secret\n"), "{told}");
    assert!(!stderr(&first).contains("secret"));
    assert_eq!(fs::metadata(failed).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!((first.status.code(), second.status.code(), third.status.code()), (Some(1), Some(0), Some(0)));
    assert_eq!((run.names(), server.asked().len()), (vec!["01-a".into(), "02-c".into()], 4));
}

#[test]
fn a_name_that_cannot_be_is_told_with_the_one_that_is_used() {
    let (server, run) = (Server::of_files(10), Run::new());
    let (list, records) = (run.dir.path().join("list"), run.dir.path().join("records.jsonl"));
    fs::write(&list, format!("{0}/a\t../x\n{0}/b\ty\n", server.address)).unwrap();
    let (list, records) = (list.to_str().unwrap(), records.to_str().unwrap());

    let output = run.fetch(&["-i", list, "--report", records]);

    let how = "the file is called `_/x`, as `../x` cannot be its name";
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains(&format!("warning: {list}:1: {how}")), "{}", stderr(&output));
    let records = fs::read_to_string(records).unwrap();
    let of = |path: &str| records.lines().find(|line| line.contains(&server.url(path))).unwrap();
    assert!(of("/a").contains(how) && of("/b").contains("\"detail\":null"), "{records}");
}

#[test]
fn two_runs_in_one_folder_do_not_meet() {
    let ((server, stuck), run) = (stuck_after(0), Run::new());
    let mut child = run.command(&[&server.url("/f0")]).spawn().unwrap();
    stuck.recv().unwrap();

    let second = run.fetch(&[&server.url("/f1")]);
    child.kill().unwrap();
    child.wait().unwrap();

    assert_eq!(second.status.code(), Some(2));
    assert!(stderr(&second).contains("another `raincheck fetch` is at work in"), "{}", stderr(&second));
    assert_eq!(run.fetch(&[&server.url("/f1")]).status.code(), Some(0));
}

#[test]
fn a_file_that_somebody_else_has_put_there_is_left_and_told() {
    let (server, run) = (Server::of_files(10), Run::new());
    fs::create_dir(run.dir.path().join("got")).unwrap();
    fs::write(run.dir.path().join("got/a"), "mine").unwrap();

    let output = run.fetch(&[&server.url("/a")]);

    assert_eq!((output.status.code(), run.read("a"), server.asked().len()), (Some(1), b"mine".into(), 0));
    assert!(stderr(&output).contains("--existing keep"), "{}", stderr(&output));
    assert_eq!(run.fetch(&["--existing", "keep", &server.url("/a")]).status.code(), Some(0));
    assert_eq!(run.fetch(&["--existing", "replace", &server.url("/a")]).status.code(), Some(0));
    assert_eq!(run.read("a"), body("/a", 10));
}

#[test]
fn a_folder_that_nothing_came_into_is_not_made() {
    let ((server, stuck), run) = (stuck_after(0), Run::new());
    let nothing = run.dir.path().join("got");

    let (none, unread) = (run.fetch(&["http://127.0.0.1:1/f", "--retries", "0"]), run.fetch(&["-i", "/nowhere/list"]));
    assert_eq!((none.status.code(), unread.status.code(), nothing.exists()), (Some(1), Some(2), false));
    let child = run.command(&[&server.url("/f0")]).spawn().unwrap();
    stuck.recv().unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!((child.wait_with_output().unwrap().status.code(), nothing.exists()), (Some(130), false));
}

#[test]
fn a_dry_run_changes_nothing() {
    let (server, run) = (Server::of_files(10), Run::new());

    let output = run.fetch(&["--dry-run", "--name", "{path}", &server.url("/x/a"), &server.url("/x/b")]);

    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(out, format!("{0}/x/a\tx/a\n{0}/x/b\tx/b\n", server.address));
    assert!(!run.dir.path().join("got").exists() && server.asked().is_empty());
}

#[test]
fn sums_from_a_list_are_checked_by_name() {
    let (server, run) = (Server::start(|_| Does::Answers(200, String::new(), b"abc".into())), Run::new());
    let sums = run.dir.path().join("MD5SUMS");
    fs::write(&sums, format!("900150983cd24fb0d6963f7d28e17f72  a\n{}  b\n", "0".repeat(32))).unwrap();
    let sums = sums.to_str().unwrap();

    let output = run.fetch(&["--sums", sums, "--retries", "0", &server.url("/a"), &server.url("/b")]);
    assert_eq!((output.status.code(), run.names()), (Some(1), vec!["a".into()]), "{}", stderr(&output));

    fs::write(sums, "nonsense\n").unwrap();
    let refused = run.fetch(&["--sums", sums, &server.url("/a")]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_host_is_where_the_command_says() {
    let (server, run) = (Server::of_files(10), Run::new());
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let (place, url) = (format!("far.example:{port}:127.0.0.1"), format!("http://far.example:{port}/a"));

    let output = run.fetch(&["--retries", "0", "--resolve", &place, &url]);

    assert_eq!((output.status.code(), run.names()), (Some(0), vec!["a".into()]), "{}", stderr(&output));
}

#[test]
fn what_is_no_folder_is_told() {
    let run = Run::new();

    for place in ["/dev/null", "/dev/null/below"] {
        let output = run.fetch(&["-d", place, "http://127.0.0.1:1/a"]);

        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).to_lowercase().contains("not a "), "{}", stderr(&output));
    }
    let output = run.fetch(&["-d", "/dev/null", "http://127.0.0.1:1/a"]);
    assert!(stderr(&output).contains("`/dev/null` is not a folder"), "{}", stderr(&output));
}

#[test]
fn what_cannot_be_used_is_named_before_anything_is_fetched() {
    let run = Run::new();
    let no_pem = run.dir.path().join("no.pem");
    fs::write(&no_pem, "nonsense\n").unwrap();
    let no_pem = no_pem.to_str().unwrap();
    for (args, told) in [
        (&["--ca", no_pem][..], format!("cannot use `{no_pem}`: no certificate in the PEM")),
        (&["--cert", no_pem, "--key", no_pem], format!("cannot use `{no_pem}` and `{no_pem}`: ")),
        (&["--cookies", no_pem], format!("cannot use `{no_pem}`: line 1 is no cookie")),
        (&["--netrc=/no/such"], "cannot read `/no/such`: No such file or directory\n".into()),
        (
            &["--save-cookies", "/no/such/cookies"],
            "cannot write `/no/such/cookies`: No such file or directory\n".into(),
        ),
        (&["--page", "page.txt"], "its name must end in .html".into()),
    ] {
        let output = run.fetch(&[args, &["http://127.0.0.1:1/a"]].concat());

        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(&told), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn saved_cookies_stay_as_they_are_where_nothing_is_fetched() {
    let run = Run::new();
    let jar = run.dir.path().join("jar");
    fs::write(&jar, "of an earlier run").unwrap();

    let output = run.fetch(&["-c", jar.to_str().unwrap(), "--page", "/no/such/page.html", "http://127.0.0.1:1/a"]);

    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(jar).unwrap(), "of an earlier run");
}
