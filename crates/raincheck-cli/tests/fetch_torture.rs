//! `raincheck fetch` against a real nginx, with everything going wrong that can: no file may be lost, and none may be
//! short.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // nginx takes its worker with it on SIGTERM, and not on SIGKILL.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// A folder of files, and the nginx that serves them on a free port.
struct Site {
    folder: TempDir,
    names: Vec<String>,
    port: u16,
    _running: Vec<Running>,
}

impl Site {
    /// Serves `count` files. `locations` are nginx's, where `BACKEND0`, … stand for the built-in server with these
    /// options.
    fn start(count: usize, locations: &str, backends: &[&[&str]]) -> Self {
        let folder = TempDir::new().unwrap();
        let www = folder.path().join("www");
        fs::create_dir(&www).unwrap();
        let names: Vec<String> = (0..count).map(|number| format!("f{number:05}.bin")).collect();
        for (number, name) in names.iter().enumerate() {
            fs::write(www.join(name), contents(number)).unwrap();
        }

        let mut running = Vec::new();
        let mut locations = locations.to_owned();
        for (number, options) in backends.iter().enumerate() {
            let (server, address) = serve(&www, options);
            locations = locations.replace(&format!("BACKEND{number}"), &address);
            running.push(server);
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        running.push(nginx(folder.path(), port, &locations));
        Self { folder, names, port, _running: running }
    }

    fn list(&self) -> PathBuf {
        let list = self.folder.path().join("list.txt");
        let lines: String = self.names.iter().map(|name| format!("http://127.0.0.1:{}/{name}\n", self.port)).collect();
        fs::write(&list, lines).unwrap();
        list
    }

    fn fetch(&self, into: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raincheck"));
        command.args(["fetch", "--progress", "none", "-i"]).arg(self.list()).arg("-d").arg(into).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// What nginx was asked for: the run that asked, the path, the status and how much of it went out.
    fn log(&self) -> Vec<(String, String, u16)> {
        let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        let lines = log.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines.map(|parts| (parts[0].to_owned(), parts[1][1..].to_owned(), parts[2].parse().unwrap())).collect()
    }

    /// The files that are there under their names. Each of them must be whole.
    fn finished(&self, into: &Path) -> HashSet<String> {
        let there = |(number, name): (usize, &String)| {
            let found = fs::read(into.join(name)).ok()?;
            assert!(found == contents(number), "`{name}` is there, and not whole: {} bytes", found.len());
            Some(name.clone())
        };
        self.names.iter().enumerate().filter_map(there).collect()
    }

    /// Every file is there and whole, and nothing else.
    fn assert_all_there(&self, into: &Path) {
        assert_eq!(self.finished(into).len(), self.names.len());
        let known: HashSet<&str> = self.names.iter().map(String::as_str).collect();
        let litter: Vec<_> = left_in(into).into_iter().filter(|path| !known.contains(path.as_str())).collect();
        assert!(litter.is_empty(), "left behind: {litter:?}");
    }
}

/// What a file holds: the same for each number, and 1 to 30 KB of it.
fn contents(number: usize) -> Vec<u8> {
    let mut state = number as u64 + 1;
    let mut throw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let length = 1000 + throw() % 29_000;
    (0..length).map(|_| throw() as u8).collect()
}

/// All that lies in a folder, but for what the tool keeps there for its next run.
fn left_in(folder: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name != ".raincheck-fetch" {
            left.push(name);
            continue;
        }
        for part in fs::read_dir(entry.path().join("parts")).into_iter().flatten().flatten() {
            left.push(format!("parts/{}", part.file_name().display()));
        }
    }
    left
}

fn serve(folder: &Path, options: &[&str]) -> (Running, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raincheck"));
    let mut child =
        command.arg("serve").arg(folder).args(options).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    (Running(child), address.trim().to_owned())
}

fn nginx(folder: &Path, port: u16, locations: &str) -> Running {
    let at = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {at}/nginx-{kind};"))
        .collect();
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let config = format!(
        "{user} daemon off; worker_processes 1; pid {at}/nginx.pid; error_log {at}/nginx.log crit;
         events {{ worker_connections 1024; }}
         http {{
             {temporary} types {{}} default_type application/octet-stream; root {at}/www; keepalive_requests 100000;
             log_format who '$http_x_run $request_uri $status $http_range'; access_log {at}/access.log who;
             split_clients $request_id $fate {{ 5% error; 5% cut; 5% stall; 5% reset; 5% slow; * fine; }}
             limit_req_status 429; limit_req_zone $server_name$http_host zone=all:1m rate=800r/s;
             server {{ listen 127.0.0.1:{port}; reset_timedout_connection on; {locations} }}
         }}"
    );
    fs::write(folder.join("nginx.conf"), config).unwrap();
    let known = Command::new("nginx").arg("-v").output();
    assert!(known.is_ok(), "`nginx` is missing: `scripts/test-tools` installs it");
    let mut command = Command::new("nginx");
    command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("nginx.log"));
    let running = Running(command.stdin(Stdio::null()).spawn().unwrap());
    let begin = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begin.elapsed() < LONG, "nginx does not start: {}", log_of(folder));
        thread::sleep(Duration::from_millis(5));
    }
    running
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("nginx.log")).unwrap_or_default()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// One in twenty requests meets each of these; a range for what is missing may meet the next one.
const TROUBLE: &str = "
    location / {
        limit_req zone=all burst=10 nodelay;
        error_page 429 @later;
        if ($fate = error) { return 503; }
        if ($fate = reset) { return 444; }
        if ($fate = cut) { rewrite ^ /cut$uri last; }
        if ($fate = stall) { rewrite ^ /stall$uri last; }
        if ($fate = slow) { rewrite ^ /slow$uri last; }
    }
    location @later { internal; add_header Retry-After 1 always; return 429; }
    location /cut/ { internal; proxy_buffering off; proxy_pass BACKEND0/; }
    location /stall/ { internal; proxy_buffering off; proxy_pass BACKEND1/; }
    location /slow/ { internal; proxy_buffering off; proxy_pass BACKEND2/; }";

fn survives_all_trouble(executor: &str, jobs: &str, files: usize) {
    // One at a time waits out each of them.
    let (slow, silence) = if jobs == "1" { ("1m", "60ms") } else { ("100k", "300ms") };
    let backends: [&[&str]; 3] = [&["--cut-rate", "1"], &["--stall-rate", "1"], &["--slow", slow]];
    let site = Site::start(files, TROUBLE, &backends);
    let into = TempDir::new().unwrap();
    let patience = ["--retries", "30", "--retry-wait", "10ms", "--idle-timeout", silence];
    let output = site.fetch(into.path(), &[&["--executor", executor, "-j", jobs], &patience[..]].concat()).output();

    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    site.assert_all_there(into.path());
    let statuses: HashSet<u16> = site.log().into_iter().map(|(_, _, status)| status).collect();
    assert!([503, 444].iter().all(|status| statuses.contains(status)), "there was no trouble: {statuses:?}");
    assert!(executor == "inline" || statuses.contains(&429), "nobody was told to slow down: {statuses:?}");
}

#[test]
fn two_thousand_files_come_whole_through_all_trouble_on_tokio() {
    survives_all_trouble("tokio", "64", 2000);
}

#[test]
fn two_thousand_files_come_whole_through_all_trouble_on_threads() {
    survives_all_trouble("thread", "64", 2000);
}

#[test]
fn two_thousand_files_come_whole_through_all_trouble_one_by_one() {
    survives_all_trouble("inline", "1", 2000);
}

#[test]
fn killed_fifty_times_it_ends_with_every_file_and_asks_for_no_finished_one_again() {
    let site = Site::start(2000, "location / { proxy_pass BACKEND0; }", &[&["--delay", "5ms..40ms"]]);
    let into = TempDir::new().unwrap();
    // Not to be had again, and nothing that it must decide: a kill may come at any moment.
    let mut dice = std::process::id() as u64;
    let mut finished_before = vec![HashSet::new()];
    for run in 0..50 {
        let mut child = site
            .fetch(into.path(), &["-j", "8", "-H", &format!("X-Run: {run}")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        thread::sleep(Duration::from_millis(20 + (dice >> 33) % 200));
        child.kill().unwrap();
        child.wait().unwrap();
        finished_before.push(site.finished(into.path()));
    }
    let output = site.fetch(into.path(), &["-j", "8", "-H", "X-Run: 50"]).output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    site.assert_all_there(into.path());
    assert!(
        (200..2000).contains(&finished_before[50].len()),
        "the kills came in the middle: {}",
        finished_before[50].len()
    );
    for (run, name, _) in site.log() {
        let Ok(run) = run.parse::<usize>() else { continue };
        assert!(!finished_before[run].contains(&name), "run {run} asked for `{name}`, which was there");
    }
}

#[test]
fn a_large_file_in_pieces_survives_twenty_kills_and_what_is_there_is_not_asked_for_again() {
    const SIZE: usize = 32 << 20;
    let site = Site::start(0, "sendfile off; location / { limit_rate 2m; }", &[]);
    let whole: Vec<u8> = (0..SIZE as u32).map(|n| (n ^ (n / 251)) as u8).collect();
    fs::write(site.folder.path().join("www/big"), &whole).unwrap();
    let into = TempDir::new().unwrap();
    let url = format!("http://127.0.0.1:{}/big", site.port);
    let options = ["--segments", "4", "--segment-size", "1M", &url];
    let note = || {
        let parts = fs::read_dir(into.path().join(".raincheck-fetch/parts")).into_iter().flatten().flatten();
        let note = parts.map(|part| part.path()).find(|path| path.to_string_lossy().ends_with("-note"))?;
        let text = fs::read_to_string(note).ok()?;
        let stretch = |line: &str| line.split_once('-').and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
        Some(text.lines().skip(3).filter_map(stretch).collect::<Vec<std::ops::Range<usize>>>())
    };
    let mut dice = std::process::id() as u64;
    let mut noted = vec![Vec::new()];
    for run in 0..20 {
        let mut command = site.fetch(into.path(), &["-H", &format!("X-Run: {run}")]);
        let mut child = command.args(options).stderr(Stdio::null()).spawn().unwrap();
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        thread::sleep(Duration::from_millis(20 + (dice >> 33) % 500));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(fs::read(into.path().join("big")).is_ok_and(|got| got == whole) || !into.path().join("big").exists());
        noted.push(note().unwrap_or_default());
    }
    let output = site.fetch(into.path(), &["-H", "X-Run: 20"]).args(options).output().unwrap();

    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(fs::read(into.path().join("big")).unwrap() == whole);
    assert_eq!(left_in(into.path()), ["big"]);
    assert!(noted.iter().any(|noted| noted.len() > 1), "the kills came in the middle");
    let log = fs::read_to_string(site.folder.path().join("access.log")).unwrap();
    for line in log.lines() {
        let parts: Vec<&str> = line.split(' ').collect();
        let (Ok(run), Some(range)) = (parts[0].parse::<usize>(), parts[3].strip_prefix("bytes=")) else { continue };
        let (start, end) = range.split_once('-').unwrap();
        let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse::<usize>().unwrap() + 1);
        let again = noted[run].iter().find(|there| there.start < end && start < there.end);
        assert!(again.is_none(), "run {run} asked for {start}-{end}, of which {again:?} was there");
    }
}

#[test]
fn ctrl_c_ends_it_at_once_and_the_next_run_asks_only_for_the_rest() {
    let site = Site::start(500, "location / { proxy_pass BACKEND0; }", &[&["--delay", "50ms"]]);
    for executor in ["inline", "thread", "tokio"] {
        let into = TempDir::new().unwrap();
        let run = format!("X-Run: {executor}");
        let child = site.fetch(into.path(), &["-j", "8", "--executor", executor]).spawn().unwrap();
        let begin = Instant::now();
        while site.finished(into.path()).len() < 5 {
            assert!(begin.elapsed() < LONG, "nothing comes");
        }
        let begin = Instant::now();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let output = child.wait_with_output().unwrap();
        let took = begin.elapsed();

        assert_eq!(output.status.code(), Some(130), "{}", told(&output));
        // In 0.2 s on a machine that has nothing else to do: `benches/fetch/run 1 interrupt`.
        assert!(took < Duration::from_secs(2), "{executor} took {took:?}");
        let finished = site.finished(into.path());
        let again = site.fetch(into.path(), &["-j", "100", "-H", &run]).output().unwrap();
        assert_eq!(again.status.code(), Some(0), "{}", told(&again));
        site.assert_all_there(into.path());
        let asked = site.log().into_iter().filter(|(by, _, _)| by == executor);
        assert!(asked.map(|(_, name, _)| name).all(|name| !finished.contains(&name)));
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_no_short_file() {
    let site = Site::start(50, "", &[]);
    let into = TempDir::new().unwrap();
    let mut command = site.fetch(into.path(), &["-j", "4", "--retries", "0"]);
    let shell = "ulimit -f 8; trap '' XFSZ; exec \"$0\" \"$@\"";
    let mut limited = Command::new("bash");
    limited.args(["-c", shell]).arg(command.get_program()).args(command.get_args());
    let output = limited.stdin(Stdio::null()).output().unwrap();

    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("File too large"), "{}", told(&output));
    let small = (0..50).filter(|&number| contents(number).len() <= 8192).count();
    assert_eq!(site.finished(into.path()).len(), small);
    // With room again, the rest comes.
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    site.assert_all_there(into.path());
}

#[test]
fn a_link_planted_under_a_name_is_not_written_through_and_a_folder_there_is_told() {
    let site = Site::start(3, "", &[]);
    let into = TempDir::new().unwrap();
    let secret = site.folder.path().join("secret");
    fs::write(&secret, "mine").unwrap();
    symlink(&secret, into.path().join(&site.names[0])).unwrap();
    fs::create_dir(into.path().join(&site.names[1])).unwrap();
    let output = site.fetch(into.path(), &["--existing", "replace"]).output().unwrap();

    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert_eq!(fs::read_to_string(&secret).unwrap(), "mine");
    assert!(told(&output).contains(&site.names[1]), "{}", told(&output));
    assert_eq!(fs::read(into.path().join(&site.names[2])).unwrap(), contents(2));
}

/// Runs it where `prepare`, a script, has mounted something into the folder, and leaves what there is then in `out`. `None` if this machine
/// lets nobody mount.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn fetch_on(prepare: &str, into: &Path, out: &Path, mut command: Command) -> Option<Output> {
    let may_mount = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this machine lets nobody mount a file system");
        return None;
    }
    let script = format!("{prepare} || exit 99; \"$@\"; code=$?; cp -r \"$INTO/.\" \"$OUT\"; exit $code");
    let mut mounted = Command::new("unshare");
    mounted.args(["-m", "bash", "-c", &script, "bash"]).arg(command.get_program()).args(command.get_args());
    mounted.env("INTO", into).env("OUT", out).stdin(Stdio::null());
    command.stdin(Stdio::null());
    Some(mounted.output().unwrap())
}

#[test]
fn a_disk_that_becomes_full_costs_what_does_not_fit_and_nothing_else() {
    let site = Site::start(60, "", &[]);
    fs::write(site.folder.path().join("www/big"), vec![7; 4 << 20]).unwrap();
    let (into, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let records = out.path().join("records.jsonl");
    let mut command = site.fetch(into.path(), &["-j", "4", "--retries", "0", "--report"]);
    command.arg(&records).arg(format!("http://127.0.0.1:{}/big", site.port));
    command.args(["--segments", "4", "--segment-size", "64k"]);
    let full = "mount -t tmpfs -o size=640k tmpfs \"$INTO\"";
    let Some(output) = fetch_on(full, into.path(), out.path(), command) else { return };

    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("the disk is full"), "{}", told(&output));
    let finished = site.finished(out.path()).len();
    assert!((5..60).contains(&finished), "{finished}");
    assert!(!out.path().join("big").exists());
    let records = fs::read_to_string(records).unwrap();
    let full = records.lines().filter(|line| line.contains("\"kind\":\"file\"") && line.contains("http://")).count();
    assert_eq!(full, 61 - finished, "each is told with its URL");
}

#[test]
fn what_has_room_comes_though_what_came_before_had_none() {
    let site = Site::start(10, "", &[]);
    fs::write(site.folder.path().join("www/big"), vec![7; 4 << 20]).unwrap();
    for segments in ["1", "4"] {
        let (into, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        // What the command names is before what the list has.
        let mut command = site.fetch(into.path(), &["-j", "1", "--retries", "0", "--segment-size", "64k"]);
        command.args(["--segments", segments]).arg(format!("http://127.0.0.1:{}/big", site.port));
        let full = "mount -t tmpfs -o size=640k tmpfs \"$INTO\"";
        let Some(output) = fetch_on(full, into.path(), out.path(), command) else { return };

        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        assert!(
            told(&output).contains("/big` failed") && told(&output).contains("the disk is full"),
            "{}",
            told(&output)
        );
        assert_eq!(site.finished(out.path()).len(), 10, "{}", told(&output));
    }
}

#[test]
fn what_has_come_before_the_disk_was_full_is_not_asked_for_again() {
    let site = Site::start(1, "", &[]);
    let whole: Vec<u8> = (0..4_u32 << 20).map(|n| (n ^ (n / 251)) as u8).collect();
    fs::write(site.folder.path().join("www/big"), &whole).unwrap();
    for segments in ["1", "4"] {
        let (into, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let command = |into: &Path, run: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_raincheck"));
            command.args([
                "fetch",
                "--segment-size",
                "64k",
                "--retries",
                "0",
                "-H",
                &format!("X-Run: {run}{segments}"),
            ]);
            command.args(["--segments", segments, "-j", "4", "-d"]).arg(into);
            // The small one makes the journal that has room already when the disk is full.
            command.args([&*site.names[0], "big"].map(|name| format!("http://127.0.0.1:{}/{name}", site.port)));
            command
        };
        // Nor is it lost if another run finds no room at all.
        let full = "mount -t tmpfs -o size=2m tmpfs \"$INTO\" && { \"$@\"; cat /dev/zero >\"$INTO/filler\"; true; }";
        let Some(output) = fetch_on(full, into.path(), out.path(), command(into.path(), "full")) else { return };
        fs::remove_file(out.path().join("filler")).unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        assert_eq!(told(&output).matches("/big` failed").count(), 2, "{}", told(&output));
        let kept = "the disk is full; what has come is kept, and another run goes on from there";
        assert!(told(&output).contains(kept), "{}", told(&output));

        let records = into.path().join("records.jsonl");
        let output =
            command(out.path(), "room").args(["--existing", "replace", "--report"]).arg(&records).output().unwrap();

        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        assert!(fs::read(out.path().join("big")).unwrap() == whole);
        let mut left = left_in(out.path());
        left.sort();
        assert_eq!(left, ["big", &site.names[0]]);
        let records = fs::read_to_string(records).unwrap();
        let record = records.lines().find(|line| line.contains("/big\"")).unwrap();
        let record: serde_json::Value = serde_json::from_str(record).unwrap();
        let resumed = record["resumed"].as_u64().unwrap();
        assert!((512 << 10..2 << 20).contains(&resumed), "{segments}: {record}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_to_costs_what_goes_there_alone() {
    let site = Site::start(4, "", &[]);
    let (into, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let list = site.folder.path().join("named.txt");
    let lines = site.names.iter().enumerate().map(|(number, name)| {
        format!("http://127.0.0.1:{}/{name}\t{}{name}\n", site.port, if number < 2 { "sub/" } else { "" })
    });
    fs::write(&list, lines.collect::<String>()).unwrap();
    let command = |into: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raincheck"));
        command.args(["fetch", "--progress", "none", "--retries", "0", "-i"]).arg(&list).arg("-d").arg(into);
        command
    };
    let below = "mkdir \"$INTO/sub\" && mount -t tmpfs -o ro tmpfs \"$INTO/sub\"";
    let Some(output) = fetch_on(below, into.path(), out.path(), command(into.path())) else { return };

    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    for name in &site.names[..2] {
        assert!(
            told(&output).contains(&format!("/{name}` failed")) && told(&output).contains("Read-only file system"),
            "{}",
            told(&output)
        );
    }
    assert_eq!(site.finished(out.path()).len(), 2);

    let all = "mount -t tmpfs -o ro tmpfs \"$INTO\"";
    let output = fetch_on(all, into.path(), out.path(), command(into.path())).unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("Read-only file system"), "{}", told(&output));
}

#[test]
fn what_goes_to_another_file_system_below_the_folder_comes_and_is_not_asked_for_again() {
    let site = Site::start(6, "", &[]);
    let (into, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let list = site.folder.path().join("named.txt");
    let lines = site.names.iter().map(|name| format!("http://127.0.0.1:{}/{name}\tsub/{name}\n", site.port));
    fs::write(&list, lines.collect::<String>()).unwrap();
    let below = "mkdir \"$INTO/sub\" && mount -t tmpfs tmpfs \"$INTO/sub\"";
    for existing in ["skip", "replace"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raincheck"));
        command.args(["fetch", "--retries", "0", "--existing", existing, "-H", "X-Run: 0", "-i"]);
        command.arg(&list).arg("-d").arg(into.path());
        // The first run is a part of the preparation.
        let twice = format!("rm -rf \"$INTO/sub\" && {below} && {{ \"$@\" || exit 98; }}");
        let Some(output) = fetch_on(&twice, into.path(), out.path(), command) else { return };

        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        assert_eq!(told(&output).contains("6 files were there already"), existing == "skip", "{}", told(&output));
        for (number, name) in site.names.iter().enumerate() {
            assert_eq!(fs::read(out.path().join("sub").join(name)).unwrap(), contents(number), "{existing}");
        }
        assert_eq!(left_in(out.path()), ["sub"]);
    }
}

#[test]
fn a_folder_that_vanishes_in_mid_run_is_told_for_each_file_and_the_run_ends() {
    let site = Site::start(40, "location / { proxy_pass BACKEND0; }", &[&["--delay", "30ms"]]);
    let into = TempDir::new().unwrap();
    let folder = into.path().join("got");
    let child = site.fetch(&folder, &["-j", "2", "--retries", "0"]).spawn().unwrap();
    let begin = Instant::now();
    while !folder.is_dir() || site.finished(&folder).len() < 3 {
        assert!(begin.elapsed() < LONG, "nothing comes");
    }
    fs::rename(&folder, into.path().join("gone")).unwrap();
    fs::remove_dir_all(into.path().join("gone")).unwrap();
    let output = child.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("http://") && told(&output).contains("No such file"), "{}", told(&output));
    assert!(!folder.exists(), "it is not made anew in mid-run");
    assert_eq!(site.fetch(&folder, &[]).output().unwrap().status.code(), Some(0));
    site.assert_all_there(&folder);
}
