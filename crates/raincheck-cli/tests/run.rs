//! `raincheck run` with real commands, real signals, and beside the tools that it replaces.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes, so that it ends with a message and not with the patience of whoever waits.
const LONG: Duration = Duration::from_secs(30);

fn raincheck(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_raincheck"));
    command.arg("run").args(args).stdin(Stdio::null());
    command
}

/// The tool that ours is compared with.
fn peer(name: &str) -> Command {
    let known = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().expect("there is a shell");
    assert!(known.status.success(), "`{name}` is missing: `scripts/test-tools` installs it");
    let mut command = Command::new(name);
    // GNU parallel asks to be cited, but in a terminal only; and must not read the user's settings.
    command.env("PARALLEL_HOME", env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    command
}

/// What a command prints, given this on its stdin.
fn fed(command: &mut Command, stdin: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || drop(pipe.write_all(stdin)));
        child.wait_with_output().unwrap()
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A word that stands on the command line of what a test starts, and nowhere else on the machine.
fn marker() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("raincheck-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The processes that have this word on their command line; not the tool itself, and no zombies.
fn alive(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let line = text(&line).replace('\0', " ");
        if line.contains(marker) && !line.contains(env!("CARGO_BIN_EXE_raincheck")) {
            found.push(format!("{}: {line}", entry.file_name().display()));
        }
    }
    found
}

/// Waits until this is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn has_thread(child: &Child, name: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().flatten();
    threads
        .map(|thread| fs::read_to_string(thread.path().join("comm")))
        .any(|comm| comm.is_ok_and(|comm| comm.trim() == name))
}

/// A tree of three processes that ignore TERM and INT, each with the word on its command line.
fn stubborn(marker: &str) -> String {
    let deaf = "trap '' TERM INT; while :; do sleep 0.2; done";
    format!("{deaf} & sh -c \"{deaf}\" {marker} & sh -c \"{deaf}\" {marker}; : {marker}").replacen(
        deaf,
        &format!("(trap '' TERM INT; sh -c \"{deaf}\" {marker})"),
        1,
    )
}

#[test]
fn every_placeholder_means_what_it_means_to_gnu_parallel() {
    let inputs =
        ["a/b.c.gz", "/x/y", "plain", "two words", "a//b", "dir/", "./.hidden", "it's", "$HOME", "*", "\"", "\\"];
    let templates: [&[&str]; 8] = [
        &["echo"],
        &["echo", "{}", "{.}", "{/}", "{//}", "{/.}"],
        &["echo", "{#}", "x{}y", "{#}{}"],
        &["echo", "{1}", "{1.}", "{1/}", "{1//}", "{1/.}", "{-1}"],
        &["echo", "{2}", "{}"],
        &["echo", "{print}", "{ }", "{a}", "{}"],
        &["printf", "<%s>", "{}", "{}"],
        &["echo", "--", "{}"],
    ];
    for template in templates {
        let mut ours = raincheck(&["-q", "-k"]);
        let mut theirs = peer("parallel");
        theirs.args(["-k", "-q"]);
        for command in [&mut ours, &mut theirs] {
            command.args(template).arg(":::").args(inputs);
        }
        let (ours, theirs) = (ours.output().unwrap(), theirs.output().unwrap());

        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{template:?}: {}", text(&theirs.stderr));
    }
}

#[test]
fn several_sources_go_together_as_with_gnu_parallel() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("inputs");
    fs::write(&file, "f1\nf2\nf3\n").unwrap();
    let file = file.to_str().unwrap();
    let cases: [&[&str]; 14] = [
        &["echo", ":::", "a", "b", ":::", "1", "2", "3"],
        &["echo", "{2}-{1}", ":::", "a", "b", ":::", "1", "2"],
        &["echo", ":::", "a", "b", "c", ":::+", "1", "2"],
        &["echo", ":::", "a", "b", ":::+", "1", "2", ":::", "x", "y"],
        &["--link", "echo", ":::", "a", "b", "c", ":::", "1", "2"],
        &["-a", file, "echo", "{1}{2}", ":::", "a", "b"],
        &["echo", "{1}{2}", ":::", "a", "b", "::::", file],
        &["echo", ":::", "a", "b", "::::+", file],
        &["-a", file, "-a", file, "echo"],
        &["-N2", "echo", "x{2}", "x{1}", ":::", "a", "b", "c"],
        &["-n", "2", "echo", ":::", "a", "b", "c"],
        &["--colsep", ",", "echo", "{2}-{1}-{3}", ":::", "a,b", " c , d ,e"],
        &["--colsep", "\\s+", "--header", ":", "echo", "{two}-{one}", ":::", "one two", "1  2", "3 4"],
        &["--tag", "echo", "{2}", ":::", "a", "b", ":::", "1"],
    ];
    for case in cases {
        let ours = raincheck(&["-q", "-k"]).args(case).output().unwrap();
        let theirs = peer("parallel").arg("-k").args(case).output().unwrap();

        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{case:?}: {}", text(&ours.stderr));
    }
}

#[test]
fn inputs_are_cut_apart_as_by_gnu_parallel_and_xargs() {
    let inputs = b"one\ntwo words\n\n  three\n'four' \"five\"\\\nlast";
    for case in [
        &["echo", "<{}>"][..],
        &["-r", "echo", "<{}>"],
        &["-d", "o", "echo", "<{}>"],
        &["--trim", "lr", "echo", "<{}>"],
    ] {
        let ours = fed(raincheck(&["-q", "-k"]).args(case), inputs);
        let theirs = fed(peer("parallel").args(["-k", "-q"]).args(case), inputs);

        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{case:?}");
    }
    let nulls = b"a\nb\0c d\0\xff\xfe\0'\0";
    for together in ["1", "3"] {
        let ours = fed(&mut raincheck(&["-q", "-k", "-0", "-n", together, "printf", "<%s>", "--"]), nulls);
        let theirs = fed(peer("xargs").args(["-0", "-n", together, "printf", "<%s>", "--"]), nulls);

        assert_eq!(ours.stdout, theirs.stdout);
    }
}

#[test]
fn stdin_is_cut_into_the_records_that_gnu_parallel_makes() {
    let lines: String = (0..400).map(|line| format!("{line} {}\n", "x".repeat(line % 90))).collect();
    let fasta: String = (0..300).map(|record| format!(">{record}\n{}\n", "ACGT\n".repeat(record % 7))).collect();
    let cases: [(&[&str], &str); 4] = [
        (&["--pipe", "-N", "27", "md5sum"], &lines),
        (&["--pipe", "-N", "13", "--recstart", ">", "md5sum"], &fasta),
        (&["--pipe", "-N", "31", "--recend", "x\\n", "md5sum"], &lines),
        (&["--pipe", "-N", "10000", "md5sum"], &lines),
    ];
    for (case, stdin) in cases {
        let ours = fed(raincheck(&["-q", "-k"]).args(case), stdin.as_bytes());
        let theirs = fed(peer("parallel").arg("-k").args(case), stdin.as_bytes());

        assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{case:?}");
    }
    let joined = fed(&mut raincheck(&["-q", "-k", "--pipe", "--block", "1k", "cat"]), lines.as_bytes());
    assert!(joined.stdout == lines.as_bytes());
}

#[test]
fn as_many_inputs_as_fit_are_given_to_one_command_and_the_last_are_spread() {
    let inputs: String = (0..5000).map(|input| format!("{input}\n")).collect();

    let lines = text(&fed(&mut raincheck(&["-q", "-k", "-j2", "-X", "-s", "4000", "echo"]), inputs.as_bytes()).stdout);

    assert!(lines.lines().all(|line| line.len() < 4000), "none is too long");
    assert!((6..=9).contains(&lines.lines().count()), "and there are not many: {}", lines.lines().count());
    assert_eq!(lines.split_whitespace().collect::<String>(), inputs.split_whitespace().collect::<String>());
    let two = raincheck(&["-q", "-k", "-j2", "-X", "echo", "x{}", ":::", "a", "b", "c"]).output().unwrap();
    assert_eq!(text(&two.stdout), "xa xb\nxc\n");
}

#[test]
fn any_name_arrives_byte_for_byte_on_every_executor() {
    let names: Vec<Vec<u8>> =
        vec![b"\xff\xfe.x".into(), b"a\nb".into(), b"'\"$(id)`\\".into(), b"".into(), b"-n".into()];
    let expected: Vec<u8> = names.iter().flat_map(|name| [b"<", &name[..], b">"].concat()).collect();
    for executor in ["inline", "thread", "tokio"] {
        for shell in [&["printf", "<%s>"][..], &["--shell", "printf '<%s>' {}"], &["--shell", "printf \"<%s>\" \"{}\""]]
        {
            let mut command = raincheck(&["-q", "-k", "--executor", executor]);
            command.args(shell).arg(":::").args(names.iter().map(|name| OsStr::from_bytes(name)));

            let output = command.output().unwrap();

            assert_eq!(text(&output.stdout), text(&expected), "{executor} {shell:?}: {}", text(&output.stderr));
            assert_eq!(output.status.code(), Some(0));
        }
    }
}

#[test]
fn names_that_are_no_text_can_be_had_back_from_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let names: [&[u8]; 3] = [b"caf\xe9 1%.txt", b"caf\xea 1%.txt", b"text"];
    let report = |command: &str, file: &str| {
        let mut tool = Command::new(env!("CARGO_BIN_EXE_raincheck"));
        tool.args([command, "-q", "-j1", "--report", file]).args(if command == "run" {
            &["false", ":::"][..]
        } else {
            &[]
        });
        tool.args(names.iter().map(|name| OsStr::from_bytes(name))).current_dir(dir.path()).output().unwrap();
        let report = fs::read_to_string(dir.path().join(file)).unwrap();
        fs::remove_file(dir.path().join(file)).unwrap();
        report
    };
    let decoded = |raw: &str| percent_encoding::percent_decode_str(raw).collect::<Vec<u8>>();
    for command in ["run", "hash"] {
        let json = report(command, "r.jsonl");
        let records = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let there = records.map(|record| match record["raw"].as_str() {
            Some(raw) => decoded(raw),
            None => record["label"].as_str().unwrap().into(),
        });
        assert_eq!(there.collect::<Vec<_>>(), names, "{command}");

        let table = report(command, "r.csv");
        let records = csv::Reader::from_reader(table.as_bytes()).into_deserialize::<BTreeMap<String, String>>();
        let there =
            records.map(|record| record.map(|mut record| (record.remove("raw"), record.remove("label"))).unwrap());
        let there = there.map(|(raw, label)| match raw.unwrap().as_str() {
            "" => label.unwrap().into_bytes(),
            raw => decoded(raw),
        });
        assert_eq!(there.collect::<Vec<_>>(), names, "{command}");
    }
}

#[test]
fn gnu_parallel_resumes_from_our_log_and_we_from_its() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let (ours, theirs) = (ours.to_str().unwrap(), theirs.to_str().unwrap());
    let tries =
        |log: &str| raincheck(&["-q", "--joblog", log, "sh", "-c", "exit {}", ":::", "0", "3", "0"]).output().unwrap();
    assert_eq!(tries(ours).status.code(), Some(1));
    peer("parallel").args(["--joblog", theirs, "exit {}", ":::", "0", "3", "0"]).output().unwrap();
    let codes = |log: &str| {
        let log = fs::read_to_string(log).unwrap();
        let fields = log.lines().map(|line| line.split('\t').map(str::to_string).collect::<Vec<_>>());
        fields
            .map(|fields| (fields[0].clone(), fields[1].clone(), fields[6].clone(), fields[7].clone()))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(codes(ours), codes(theirs), "the same columns with the same codes");

    let args = ["echo", "again {}", ":::", "0", "3", "0", "4"];
    let by_them = peer("parallel").args(["-k", "--resume-failed", "--joblog", ours]).args(args).output().unwrap();
    let by_us = raincheck(&["-q", "-k", "--resume-failed", "--joblog", theirs]).args(args).output().unwrap();

    assert_eq!(text(&by_us.stdout), "again 3\nagain 4\n", "{}", text(&by_us.stderr));
    assert_eq!(text(&by_us.stdout), text(&by_them.stdout), "{}", text(&by_them.stderr));
}

#[test]
fn results_are_laid_out_as_by_gnu_parallel() {
    let dir = tempfile::tempdir().unwrap();
    let tree = |root: &Path| {
        let find = Command::new("find").arg(".").args(["-type", "f", "-printf", "%p %s\n"]).current_dir(root).output();
        text(&find.unwrap().stdout).lines().map(str::to_string).collect::<BTreeSet<_>>()
    };
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let args = ["echo", ":::", "a/b", "c\\d", "e f", ":::", "1"];

    let shown = raincheck(&["-q", "--results"]).arg(&ours).args(args).output().unwrap();
    peer("parallel").args(["-q", "--results"]).arg(&theirs).args(args).output().unwrap();

    assert_eq!(tree(&ours), tree(&theirs));
    assert_eq!(text(&shown.stdout).lines().count(), 3, "and it is shown all the same");
}

#[test]
fn a_program_that_is_not_there_is_one_error_and_nothing_runs() {
    let output = raincheck(&["no-such-program", "{}", ":::", "a", "b", "c"]).output().unwrap();

    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr).matches("no-such-program").count(), 1, "{}", text(&output.stderr));
}

#[test]
fn a_script_without_an_interpreter_is_one_for_the_shell() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    fs::write(&script, "echo \"got $1\"\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();

    let output = raincheck(&["-q", script.to_str().unwrap(), ":::", "a b"]).output().unwrap();

    assert_eq!(text(&output.stdout), "got a b\n");
}

#[test]
fn what_is_done_is_shown_while_the_next_input_is_awaited() {
    for (executor, mode) in [("inline", "-k"), ("thread", "--line-buffer"), ("tokio", "-k"), ("thread", "-u")] {
        let mut command = raincheck(&["-q", mode, "--executor", executor, "echo"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut stdin = child.stdin.take().unwrap();
        for line in ["one\n", "two\n"] {
            stdin.write_all(line.as_bytes()).unwrap();
            let mut shown = String::new();
            out.read_line(&mut shown).unwrap();
            assert_eq!(shown, line, "{executor} {mode}");
        }
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_time_limit_ends_the_whole_tree_even_one_that_ignores_term() {
    for executor in ["inline", "thread", "tokio"] {
        let marker = marker();
        let args =
            ["--timeout", "300ms", "--kill-after", "100ms", "--executor", executor, "sh", "-c", &stubborn(&marker)];

        let output = raincheck(&args).args([":::", "a"]).output().unwrap();

        assert_eq!(alive(&marker), [""; 0], "{executor}");
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("`a` timed out: took longer than 300 ms"), "{}", text(&output.stderr));
    }
}

/// A daemon that does this first, and then runs on; and who starts it is done.
fn daemon(marker: &str, first: &str) -> String {
    format!("setsid --fork sh -c \"{first}; while :; do sleep 0.1; done\" {marker} > /dev/null 2>&1")
}

const RUNS_ON: &str = "while :; do sleep 0.1; done";

#[test]
fn daemons_end_with_a_job_that_is_ended() {
    type End = fn(&Child);
    let ctrl_c: End = |child| signal(child, Signal::INT);
    let cases: [(&[&str], End); 3] = [
        (&["--timeout", "2s", "--kill-after", "1s"], |_| ()),
        (&["--kill-after", "1s"], ctrl_c),
        (&["--kill-after", "1s", "--halt", "now,fail=1"], |_| ()),
    ];
    for (args, end) in cases {
        let (marker, dir) = (marker(), tempfile::tempdir().unwrap());
        let at = |name: &str| dir.path().join(name).display().to_string();
        let hears = daemon(&marker, &format!("trap 'touch {}; exit' TERM; touch {}", at("heard"), at("one")));
        let deaf = daemon(&marker, &format!("trap '' TERM; touch {}", at("other")));
        let starts = format!("{hears}; {deaf}; {RUNS_ON}");
        let fails = format!("until [ -e {} ]; do sleep 0.01; done; exit 1", at("go"));
        let mut command = raincheck(&["-q", "-j2"]);
        let mut child = command.args(args).args(["sh", "-c", "{}", ":::", &starts, &fails]).spawn().unwrap();
        until("both daemons run", || Path::new(&at("one")).exists() && Path::new(&at("other")).exists());
        fs::write(at("go"), "").unwrap();

        end(&child);
        child.wait().unwrap();

        assert_eq!(alive(&marker), [""; 0], "{args:?}");
        assert!(Path::new(&at("heard")).exists(), "{args:?}: it may end in good order");
    }
}

#[test]
fn daemons_end_with_a_tool_that_is_ended_at_once() {
    for how in [Signal::KILL, Signal::INT] {
        let (marker, dir) = (marker(), tempfile::tempdir().unwrap());
        let begun = dir.path().join("begun");
        let starts = daemon(&marker, &format!("trap '' TERM; touch {}", begun.display()));
        let args = ["-q", "--kill-after", "1h", "sh", "-c", &format!("{starts}; {RUNS_ON}"), ":::", "a"];
        let mut child = raincheck(&args).spawn().unwrap();
        until("the daemon runs", || begun.exists());

        until("the tool has gone", || {
            signal(&child, how);
            child.try_wait().unwrap().is_some()
        });

        until("nothing is left", || alive(&marker).is_empty());
    }
}

#[test]
fn daemons_of_a_job_that_has_ended_by_itself_are_left_alone() {
    let (marker, others) = (marker(), marker());
    let dir = tempfile::tempdir().unwrap();
    let begun = dir.path().join("begun");
    let starts = daemon(&marker, &format!("touch {}", begun.display()));
    let ended = format!("until [ -e {} ]; do sleep 0.01; done; {}; {RUNS_ON}", begun.display(), daemon(&others, ":"));
    let mut command = raincheck(&["-q", "-j2", "--timeout", "1s", "sh", "-c", "{}", ":::"]);

    let code = command.args([&starts, &ended]).status().unwrap().code();

    let left = alive(&marker);
    for process in &left {
        let pid = process.split(':').next().unwrap().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
    assert_eq!((left.len(), code), (1, Some(1)), "{left:?}");
    assert_eq!(alive(&others), [""; 0]);
}

#[test]
fn ctrl_c_and_sigterm_reach_the_jobs_and_nothing_outlives_them() {
    for (sent, name, code) in [(Signal::INT, "INT", 130), (Signal::TERM, "TERM", 143)] {
        let dir = tempfile::tempdir().unwrap();
        let (heard, listens) = (dir.path().join("heard"), dir.path().join("listens"));
        let marker = marker();
        // One that hears the signal, and a tree that does not care.
        let polite = format!(
            "trap 'echo {name} > {}; exit' {name}; touch {}; : {marker}; while :; do sleep 0.1; done",
            heard.display(),
            listens.display()
        );
        let mut command = raincheck(&["-j2", "--kill-after", "2s", "sh", "-c"]);
        command.args(["{}", ":::", &polite, &stubborn(&marker)]).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        until("both run", || alive(&marker).len() >= 4 && listens.exists());

        signal(&child, sent);
        let output = child.wait_with_output().unwrap();

        assert_eq!(output.status.code(), Some(code));
        assert_eq!(alive(&marker), [""; 0]);
        assert_eq!(fs::read_to_string(&heard).unwrap(), format!("{name}\n"));
        assert!(text(&output.stderr).contains("interrupted, with 2 of 2 jobs not done"), "{}", text(&output.stderr));
    }
}

#[test]
fn after_ctrl_c_what_was_not_begun_is_counted() {
    // What is run, what it is fed, and whether that ends.
    let cases: [(&[&str], &str, bool, &str); 3] = [
        (&[":::", "1", "2", "3", "4"], "", true, "interrupted, with 4 of 4 jobs not done"),
        (&[], "1\n2\n3\n4\n", true, "interrupted, with 4 of 4 jobs not done"),
        (&[], "1\n2\n", false, "interrupted before all inputs were read, with 2 of 2 jobs not done"),
    ];
    for (inputs, fed, ends, told) in cases {
        let marker = marker();
        let mut command = raincheck(&["-j2", "sh", "-c"]);
        command.arg(format!("sleep 60; : {marker} {{}}")).args(inputs);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(fed.as_bytes()).unwrap();
        until("both run", || alive(&marker).len() >= 2);
        let pipe = (!ends).then_some(pipe);
        until("all is read", || !(ends && has_thread(&child, "inputs")));

        signal(&child, Signal::INT);
        let output = child.wait_with_output().unwrap();
        drop(pipe);

        assert_eq!(output.status.code(), Some(130));
        assert!(text(&output.stderr).contains(told), "{inputs:?}: {}", text(&output.stderr));
    }
}

#[test]
fn ctrl_c_ends_it_while_it_waits_for_inputs() {
    for executor in ["inline", "thread", "tokio"] {
        let mut command = raincheck(&["-q", "--executor", executor, "echo"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let _open = child.stdin.take();
        let mut pipe = _open.as_ref().unwrap();
        pipe.write_all(b"a\n").unwrap();
        let mut shown = [0; 2];
        child.stdout.as_mut().unwrap().read_exact(&mut shown).unwrap();

        signal(&child, Signal::INT);

        assert_eq!(child.wait().unwrap().code(), Some(130), "{executor}");
    }
}

#[test]
fn a_second_ctrl_c_ends_it_at_once_and_the_jobs_too() {
    let marker = marker();
    let mut child =
        raincheck(&["-q", "--kill-after", "1h", "sh", "-c", &stubborn(&marker), ":::", "a"]).spawn().unwrap();
    until("it runs", || alive(&marker).len() >= 3);

    signal(&child, Signal::INT);
    // The first one must have been taken in; then the tool waits for an hour.
    until("it is told", || {
        signal(&child, Signal::INT);
        child.try_wait().unwrap().is_some()
    });

    until("nothing is left", || alive(&marker).is_empty());
}

#[test]
fn kill_9_leaves_nothing_alive() {
    let marker = marker();
    let mut child = raincheck(&["-q", "-j3", "sh", "-c", &stubborn(&marker), ":::", "a", "b", "c"]).spawn().unwrap();
    until("all run", || alive(&marker).len() >= 9);

    signal(&child, Signal::KILL);
    assert_eq!(child.wait().unwrap().signal(), Some(9));

    until("nothing is left", || alive(&marker).is_empty());
}

#[test]
fn kill_9_leaves_nothing_alive_whenever_it_comes() {
    for delay in 0..20 {
        let marker = marker();
        let inputs: Vec<String> = (0..50).map(|input| input.to_string()).collect();
        let mut command = raincheck(&["-q", "-j50", "sh", "-c", "while :; do sleep 0.2; done", &marker, ":::"]);
        // A session of its own, as a terminal's is.
        command.args(&inputs).process_group(0);
        let mut child = command.spawn().unwrap();
        thread::sleep(Duration::from_millis(delay * 2));

        signal(&child, Signal::KILL);
        child.wait().unwrap();

        until(&format!("nothing is left after {delay}"), || alive(&marker).is_empty());
    }
}

/// There, the parent and the session of the first process have no number.
#[test]
#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know what was not tested")]
fn kill_9_leaves_nothing_alive_in_a_container() {
    let inside = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", program]);
        command
    };
    if !inside("true").output().is_ok_and(|tried| tried.status.success()) {
        eprintln!("not tested: this system lets nobody make a PID namespace");
        return;
    }
    let me = std::env::current_exe().unwrap();

    let out = inside(me.to_str().unwrap())
        .args(["--exact", "kill_9_leaves_nothing_alive_whenever_it_comes"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", text(&out.stdout));
}

#[test]
fn what_a_job_prints_costs_no_memory() {
    // All that it may have, were it to keep half a gigabyte, would not be enough.
    let limited =
        "ulimit -v 300000; MALLOC_ARENA_MAX=1 exec \"$0\" run -q -j2 -k head -c 300000000 ::: /dev/zero /dev/zero";
    let mut child = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_raincheck")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let (mut chunk, mut length) = (vec![0; 1 << 20], 0);
    loop {
        match out.read(&mut chunk).unwrap() {
            0 => break,
            read => length += read,
        }
    }

    assert!(child.wait().unwrap().success());
    assert_eq!(length, 600_000_000);
}

#[test]
fn lines_are_never_torn_and_a_jobs_output_is_never_mixed() {
    let inputs: Vec<String> = (0..60).map(|input| input.to_string()).collect();
    let script = "for i in 1 2 3; do printf 'begin %s ' $0; printf '%s end\\n' $0; done; printf 'last %s' $0";
    let run = |mode: &[&str]| {
        let mut command = raincheck(&["-q", "-j4"]);
        command.args(mode).args(["sh", "-c", script, "{}", ":::"]).args(&inputs);
        text(&command.output().unwrap().stdout)
    };

    for line in run(&["--line-buffer"]).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["begin", one, other, "end"] => assert_eq!(one, other),
            ["last", _] => {}
            _ => panic!("torn: {line}"),
        }
    }
    let whole = |input: &String| format!("{}last {input}", format!("begin {input} {input} end\n").repeat(3));
    assert_eq!(run(&["-k"]), inputs.iter().map(whole).collect::<String>());
    let grouped = run(&[]);
    assert!(inputs.iter().all(|input| grouped.contains(&whole(input))), "each in one piece");
}

#[test]
fn what_a_job_leaves_running_holds_nobody_up_and_gets_into_no_others_output() {
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("gate");
    let done = dir.path().join("done");
    let (gate_path, done_path) = (gate.display(), done.display());
    let late = format!("until [ -e {gate_path} ]; do sleep 0.01; done; echo late; touch {done_path}");
    let leaves = format!("trap '' PIPE; ({late}) & echo first");
    let daemon = format!("trap '' PIPE; setsid --fork sh -c '{late}'; echo first");
    let waits = format!("touch {gate_path}; until [ -e {done_path} ]; do sleep 0.01; done; echo second");

    for (mode, leaves) in [("-k", &leaves), ("--line-buffer", &leaves), ("-k", &daemon)] {
        let _ = (fs::remove_file(&gate), fs::remove_file(&done));
        let output = raincheck(&["-q", "-j1", mode, "sh", "-c", "{}", ":::", leaves, &waits]).output().unwrap();

        assert_eq!(text(&output.stdout), "first\nsecond\n", "{mode} {leaves}");
    }
}

#[test]
fn a_halt_ends_what_runs_now_or_lets_it_finish() {
    let dir = tempfile::tempdir().unwrap();
    let (begun, finished) = (dir.path().join("begun"), dir.path().join("finished"));
    let (begun_path, finished_path) = (begun.display(), finished.display());
    let long = format!("touch {begun_path}; sleep 0.5; touch {finished_path}");
    let fails = format!("until [ -e {begun_path} ]; do sleep 0.01; done; exit 7");
    let run = |halt: &str| {
        let _ = (fs::remove_file(&begun), fs::remove_file(&finished));
        let output = raincheck(&["-j2", "--halt", halt, "sh", "-c", "{}", ":::", &long, &fails, "echo never"]).output();
        let output = output.unwrap();
        (output.status.code(), finished.exists(), text(&output.stdout).contains("never"))
    };

    assert_eq!(run("now,fail=1"), (Some(1), false, false));
    assert_eq!(run("soon,fail=1"), (Some(1), true, false));
    assert_eq!(run("never"), (Some(1), true, true));
    let met = raincheck(&["--halt", "now,success=1", "-j2", "sleep", ":::", "0.05", "1000"]).output().unwrap();
    assert_eq!(met.status.code(), Some(0), "{}", text(&met.stderr));
}

#[test]
fn killed_work_is_resumed_with_nothing_lost_and_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (log, shown) = (dir.path().join("log"), dir.path().join("shown"));
    let inputs: Vec<String> = (0..400).map(|input| input.to_string()).collect();
    let run = |more: &[&str]| {
        let out = fs::OpenOptions::new().create(true).append(true).open(&shown).unwrap();
        let mut command = raincheck(&["-q", "-j2", "-k", "--joblog", log.to_str().unwrap()]);
        command.args(more).args(["echo", ":::"]).args(&inputs).stdout(out).spawn().unwrap()
    };
    let lines = || fs::read_to_string(&shown).unwrap_or_default().lines().count();

    let mut child = run(&[]);
    until("some are done", || lines() >= 20);
    // Interrupted, and not killed outright: then what was shown and what was logged are the same to the job.
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    let first = lines();
    let rest = run(&["--resume"]).wait().unwrap();

    assert!(rest.success());
    assert!(first < 400, "it was interrupted while there was something to do");
    let mut all: Vec<u64> = fs::read_to_string(&shown).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..400).collect::<Vec<u64>>());
}

#[test]
fn a_failed_job_is_tried_again_and_only_its_last_output_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let tried = dir.path().join("tried");
    let script = format!("echo x >> {0}; echo attempt; [ $(wc -l < {0}) = 2 ]", tried.display());

    let output = raincheck(&["-q", "--retries", "3", "sh", "-c", &script, ":::", "a"]).output().unwrap();

    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "attempt\n"));
    assert_eq!(fs::read_to_string(&tried).unwrap(), "x\nx\n");
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let mut command = raincheck(&["-j2", "--line-buffer", "sh", "-c", "while echo {}; do :; done", ":::", "a", "b"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();

    let output = child.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(141));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_timeline_that_finds_no_room_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    // No file may grow, as if the disk were full.
    command.args(["-c", "ulimit -f 0; trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_raincheck")]);
    command.args(["run", "--timeline", "t.svg", "true", ":::", "a"]);

    let output = command.current_dir(dir.path()).output().unwrap();

    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("cannot write `t.svg`: File too large"), "{}", text(&output.stderr));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_input_that_is_a_whole_file_does_not_fill_the_screen() {
    let mut child = raincheck(&["echo"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&b"name\0".repeat(100_000)).unwrap();

    let output = child.wait_with_output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.len() < 10_000 && told.contains("`-0` reads inputs"), "{} bytes: {}", told.len(), &told[..1000]);
}

#[test]
fn where_output_finds_no_room_all_that_is_not_done_is_counted() {
    let full = fs::File::create("/dev/full").unwrap();

    let output = raincheck(&["-j1", "echo", ":::", "1", "2", "3", "4", "5"]).stdout(full).output().unwrap();

    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("5 of 5 jobs were not done") && told.contains("cannot write to stdout: No space"), "{told}");
}

#[test]
fn what_an_earlier_run_has_done_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let run = |inputs: &[&str]| {
        let mut command = raincheck(&["--joblog", "log", "--resume", "true", ":::"]);
        text(&command.args(inputs).current_dir(dir.path()).output().unwrap().stderr)
    };

    assert!(!run(&["a", "b"]).contains("before"));
    assert!(run(&["a", "b", "c"]).contains("2 jobs were run before, and skipped\n1 job done"));
}
