//! The answers of `raincheck logs`, held against those of awk and goaccess, and its page, opened in a browser.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn raincheck(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_raincheck")).args(arguments).output().unwrap()
}

/// What it writes to stdout, if all went well.
fn answer(arguments: &[&str]) -> String {
    let output = raincheck(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&answer(arguments)).unwrap()
}

/// What a program that the tests need from Debian writes to stdout.
fn peer(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("`{program}`: {error}; `scripts/test-tools` installs it"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Lines of a count and a key, as the rows of an answer.
fn counted_by_awk(program: &str, log: &Path) -> BTreeMap<String, u64> {
    let text = String::from_utf8(peer("mawk", &["-F\"", program, log.to_str().unwrap()])).unwrap();
    let row = |line: &str| line.split_once(' ').map(|(count, key)| (key.to_owned(), count.parse().unwrap()));
    text.lines().map(|line| row(line).unwrap()).collect()
}

/// The requests of each row of the answer with this number.
fn rows(answers: &Value, number: usize, key: &str) -> BTreeMap<String, u64> {
    let rows = answers["answers"][number]["rows"].as_array().unwrap();
    rows.iter().map(|row| (row[key].as_str().unwrap().to_owned(), row["requests"].as_u64().unwrap())).collect()
}

#[test]
fn the_answers_are_those_of_awk_on_every_executor_and_however_the_log_is_packed() {
    let dir = tempfile::tempdir().unwrap();
    // Large enough that it is cut into pieces.
    let plain = dir.path().join("access.log");
    fs::write(&plain, raincheck(&["logs", "--sample", "20MB", "--seed", "7", "--bad-share", "0"]).stdout).unwrap();
    let packed = dir.path().join("access.log.gz");
    fs::write(&packed, peer("gzip", &["-1", "-c", plain.to_str().unwrap()])).unwrap();

    let print = "END { for (key in n) print n[key], key }";
    let by_awk = [
        (r#"{ split($1, a, " "); n[a[1]]++ }"#, "host"),
        (r#"{ split($3, s, " "); n[s[1]]++ }"#, "status"),
        (r#"{ k = split($2, r, " "); sub(/\?.*/, "", r[2]); n[k == 1 ? "-" : r[2]]++ }"#, "path"),
        (r#"{ split($1, t, "["); n["2025-01-01 " substr(t[2], 13, 2) ":00"]++ }"#, "hour"),
        (r#"$2 ~ /^[A-Z]+ \/robots.txt[ ?]/ { split($1, a, " "); n[a[1]]++ }"#, "host"),
    ];
    let by_awk = by_awk.map(|(program, key)| (counted_by_awk(&format!("{program} {print}"), &plain), key));
    assert!(by_awk.iter().all(|(rows, _)| rows.len() > 5));
    for executor in ["inline", "thread", "tokio"] {
        for log in [&plain, &packed] {
            let asked = ["--top", "hosts,statuses,paths", "--per", "hour", "--hosts-of", "/robots.txt", "--all"];
            let log = log.to_str().unwrap();
            let how = ["logs", "--executor", executor, "--format", "json", "--quiet", log];
            let answers = json(&[&how[..], &asked].concat());

            // Spans come first, then tops in the order in which they were typed, then hosts of paths.
            for ((expected, key), number) in by_awk.iter().zip([1, 2, 3, 0, 4]) {
                assert!(rows(&answers, number, key) == *expected, "{executor}, {log}: {key}");
            }
            assert_eq!(answers["bad_lines"], 0);
        }
        let alone = answer(&[
            "logs",
            "--executor",
            executor,
            "--hosts-of",
            "/robots.txt",
            "--format",
            "plain",
            packed.to_str().unwrap(),
        ]);
        let mut alone: Vec<_> = alone.lines().collect();
        alone.sort_unstable();
        assert!(alone == by_awk[4].0.keys().collect::<Vec<_>>(), "only lines with `/robots.txt` are looked at");
    }
}

#[test]
fn requests_visitors_bytes_and_statuses_are_those_of_goaccess() {
    let dir = tempfile::tempdir().unwrap();
    let (log, report) = (dir.path().join("access.log"), dir.path().join("report.json"));
    fs::write(&log, raincheck(&["logs", "--sample", "60000", "--seed", "3", "--bad-share", "0"]).stdout).unwrap();
    let (log, report) = (log.to_str().unwrap(), report.to_str().unwrap());
    let options = ["--no-global-config", "--log-format=COMBINED", "--4xx-to-unique-count", "-o", report];
    peer("goaccess", &[&[log][..], &options].concat());
    let theirs: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    let ours = json(&["logs", log, "--per", "day", "--top", "statuses", "--all", "--format", "json", "--quiet"]);

    let (day, their_day) = (&ours["answers"][0]["rows"][0], &theirs["visitors"]["data"][0]);
    assert_eq!(ours["requests"], theirs["general"]["valid_requests"]);
    for (ours, theirs) in [("requests", "hits"), ("visitors", "visitors"), ("bytes", "bytes")] {
        assert_eq!(day[ours], their_day[theirs]["count"], "{ours}");
    }
    let mut statuses = BTreeMap::new();
    for class in theirs["status_codes"]["data"].as_array().unwrap() {
        for item in class["items"].as_array().unwrap() {
            let status = item["data"].as_str().unwrap()[..3].to_owned();
            statuses.insert(status, item["hits"]["count"].as_u64().unwrap());
        }
    }
    assert_eq!(rows(&ours, 1, "status"), statuses);
}

#[test]
fn a_sample_in_a_folder_is_read_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    let made = raincheck(&["logs", "--sample", "30000", "--into", folder, "--files", "3", "--log-format", "vhost"]);
    assert!(made.status.success());
    let answers = json(&["logs", folder, "--per", "day", "--top", "sites", "--format", "json", "--quiet"]);

    assert_eq!(answers["lines"], 30_000);
    assert_eq!(answers["logs"], 3);
    let days = rows(&answers, 0, "day");
    assert_eq!(days.keys().collect::<Vec<_>>(), ["2025-01-01", "2025-01-02", "2025-01-03"]);
    assert_eq!(rows(&answers, 1, "site").len(), 3);
}

#[test]
fn a_file_that_was_cut_off_counts_as_far_as_it_goes_and_the_exit_code_tells() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    raincheck(&["logs", "--sample", "5000", "--into", folder, "--bad-share", "0"]);
    let path = dir.path().join("access-001.log.gz");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let output = raincheck(&["logs", folder, "--format", "json"]);

    assert_eq!(output.status.code(), Some(1));
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers["complete"], false);
    assert!((1000..4000).contains(&answers["requests"].as_u64().unwrap()), "{}", answers["requests"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("the gzip file is cut off; what could be read of it counts: "), "{told}");
}

#[test]
fn after_ctrl_c_what_was_counted_is_said_not_to_be_all() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.log");
    fs::write(&log, raincheck(&["logs", "--sample", "500", "--bad-share", "0"]).stdout).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_raincheck"))
        .args(["logs", log.to_str().unwrap(), "-", "--top", "statuses", "--jobs", "2", "--progress", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It waits for more of stdin, which nobody closes.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"127.0.0.1 - ").unwrap();
    let mut events = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(events.any(|event| event.unwrap().contains("\"finished\"")), "the first log is done");
    peer("kill", &["-INT", &child.id().to_string()]);
    let mut answers = String::new();
    child.stdout.take().unwrap().read_to_string(&mut answers).unwrap();
    let rest: Vec<_> = events.map(Result::unwrap).collect();

    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(answers.starts_with("NOT ALL: only 1 of 2 logs read to the end\n"), "{answers}");
}

#[test]
fn the_page_opens_from_disk_in_a_browser_and_shows_its_plots() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("logs");
    let (page, picture) = (dir.path().join("report.html"), dir.path().join("page.png"));
    raincheck(&["logs", "--sample", "20000", "--into", folder.to_str().unwrap(), "--files", "3"]);
    answer(&["logs", folder.to_str().unwrap(), "-o", page.to_str().unwrap()]);
    let html = fs::read_to_string(&page).unwrap();
    let browse = |options: &[&str]| {
        let profile = format!("--user-data-dir={}", dir.path().join("profile").display());
        let address = format!("file://{}", page.display());
        // Without a network: every name leads nowhere.
        let usual = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND", &profile];
        peer("chromium", &[&usual[..], options, &[&address]].concat())
    };

    assert!(!html.contains("src=") && !html.contains("href=") && !html.contains("@import") && !html.contains("url("));
    let seen = String::from_utf8(browse(&["--dump-dom"])).unwrap();
    for part in ["<svg", "class=\"fine\"", "class=\"client\"", "Top paths (10 of ", "2025-01-02", "</html>"] {
        assert!(seen.contains(part), "{part}");
    }
    browse(&["--window-size=1200,1600", &format!("--screenshot={}", picture.display())]);
    assert!(fs::metadata(&picture).unwrap().len() > 50_000, "a picture with something in it");
}
