//! What is told on a terminal, where someone may be typing.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// A terminal with a shell in it that does this, and what has been shown there.
struct Terminal {
    child: Child,
    shown: Vec<u8>,
}

impl Terminal {
    fn start(line: &str) -> Self {
        let mut command = Command::new("script");
        command.args(["-qec", &line.replace("raincheck", env!("CARGO_BIN_EXE_raincheck")), "/dev/null"]);
        command.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped());
        Self { child: command.spawn().expect("`scripts/test-tools` installs `script`"), shown: Vec::new() }
    }

    fn type_in(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is shown, and returns what has been since the last time.
    fn until(&mut self, text: &str) -> String {
        loop {
            let so_far = String::from_utf8_lossy(&self.shown).into_owned();
            if let Some(at) = so_far.find(text) {
                self.shown = so_far.as_bytes()[at + text.len()..].to_vec();
                return so_far[..at].into();
            }
            let mut more = [0; 4096];
            let read = self.child.stdout.as_mut().unwrap().read(&mut more).unwrap();
            assert!(read > 0, "`{text}` is not shown: {so_far:?}");
            self.shown.extend_from_slice(&more[..read]);
        }
    }
}

#[test]
fn ctrl_z_stops_the_jobs_too_and_their_time_and_fg_brings_all_back() {
    let dir = tempfile::tempdir().unwrap();
    let (ticks, go) = (dir.path().join("ticks"), dir.path().join("go"));
    let job = format!("until [ -e {} ]; do echo x >> {}; sleep 0.01; done", go.display(), ticks.display());
    let mut terminal = Terminal::start(&format!(
        "set -m; raincheck run -j1 --timeout 2s sh -c '{job}' ::: a; echo in front again; read line; fg; echo code $?"
    ));
    terminal.until("0 of 1 done");

    terminal.type_in("\x1a");
    let before = terminal.until("in front again");
    let ticked = || fs::metadata(&ticks).map_or(0, |file| file.len());
    let then = ticked();
    thread::sleep(Duration::from_secs(2));

    assert!(before.ends_with("\x1b[2K"), "the bar is taken away: {before:?}");
    assert_eq!(ticked(), then, "the job runs on");
    terminal.type_in("\n");
    terminal.until("0 of 1 done");
    fs::write(&go, "").unwrap();
    terminal.until("1 job done");
    terminal.until("code 0");
}

#[test]
fn nothing_is_drawn_from_the_background() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let job = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let mut terminal = Terminal::start(&format!(
        "set -m; raincheck run -j1 sh -c '{job}' ::: a & sleep 0.5; echo in front; read line; fg; echo code $?"
    ));

    let before = terminal.until("in front");
    terminal.type_in("\n");
    let after = terminal.until("0 of 1 done");

    assert!(!before.contains(" done") && !after.contains("\x1b[2K"), "{before:?} {after:?}");
    fs::write(&go, "").unwrap();
    terminal.until("code 0");
}

#[test]
fn a_job_that_asks_at_the_terminal_fails_and_waits_for_nobody() {
    for (mode, asks) in
        [("-k", "read line < /dev/tty"), ("--line-buffer", "read line < /dev/tty"), ("-u", "stty sane < /dev/tty")]
    {
        let mut terminal = Terminal::start(&format!(
            "set -m; raincheck run -j1 --retries 3 {mode} sh -c '{asks}; echo asked' ::: a; echo code $?"
        ));

        let shown = terminal.until("code 1");

        assert!(shown.contains("`a` failed: it asked at the terminal"), "{mode}: {shown:?}");
    }
}

#[test]
fn a_dumb_terminal_is_told_in_lines() {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let job = format!("until [ -e {} ]; do sleep 0.01; done; exit 1", go.display());
    let mut terminal =
        Terminal::start(&format!("TERM=dumb CI=true raincheck run -j1 sh -c '{job}' ::: a; echo code $?"));

    let before = terminal.until("0 of 1 done, ") + &terminal.until(" s\r\n");
    fs::write(&go, "").unwrap();
    let after = terminal.until("code 1");

    assert!(!before.contains('\x1b') && !after.contains('\x1b'), "{before:?} {after:?}");
}

#[test]
fn a_second_ctrl_c_leaves_no_bar_behind() {
    let dir = tempfile::tempdir().unwrap();
    let listens = dir.path().join("listens");
    let job = format!("trap '' INT; touch {}; while :; do sleep 0.1; done", listens.display());
    let mut terminal =
        Terminal::start(&format!("set -m; raincheck run -j1 --kill-after 1h sh -c \"{job}\" ::: a; echo after"));
    terminal.until("0 of 1 done");
    while !listens.exists() {
        thread::sleep(Duration::from_millis(5));
    }

    terminal.type_in("\x03");
    terminal.until("ask again");
    terminal.until("0 of 1 done");
    terminal.type_in("\x03");
    let shown = terminal.until("after");

    assert!(shown.ends_with("\x1b[2K"), "{shown:?}");
}

/// What the tool shows on a terminal where this is typed, and then Ctrl-D.
fn shown(args: &str, typed: &str) -> String {
    // `script` has a terminal for it, and passes the end of its own input on as Ctrl-D.
    let mut command = Command::new("script");
    command.args(["-qec", &format!("{} {args}", env!("CARGO_BIN_EXE_raincheck")), "/dev/null"]);
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("`script`: {error}; `scripts/test-tools` installs it"));
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}

#[test]
fn who_is_waited_for_at_a_terminal_is_told_and_sees_what_he_types() {
    let log = "::1 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1\n";
    let cases = [
        ("run -j1 echo", "a\n", "inputs, one on each line"),
        ("run -j1 echo :::: -", "a\n", "inputs, one on each line"),
        ("run --dry-run echo", "a\n", "inputs, one on each line"),
        ("run -j1 --pipe cat", "a\n", "what the commands are given"),
        ("hash", "a\n", "what is to be hashed"),
        ("hash --files-from -", "no-such-file\n", "names of files"),
        ("hash --check", "a\n", "a list of sums"),
        ("fetch -i -", "not-a-url\n", "a list of URLs, one on each line"),
        ("fetch --dry-run -i -", "http://h/a\n", "a list of URLs, one on each line"),
        ("logs -", log, "a log"),
    ];
    for (args, typed, what) in cases {
        let shown = shown(args, typed);

        assert!(shown.contains(&format!("reading from this terminal: {what}; Ctrl-D ends it")), "{args}: {shown}");
        assert!(!shown.contains(" done, ") && !shown.contains('\u{2501}'), "{args} draws a bar: {shown:?}");
    }
}

#[test]
fn nothing_is_said_of_the_terminal_where_it_is_not_read() {
    for args in ["run -j1 echo ::: a", "run --dry-run echo ::: a", "hash no-such-file", "logs", "fetch -q -i -"] {
        let shown = shown(args, "");

        assert!(!shown.contains("from this terminal"), "{args}: {shown}");
    }
}
