//! What is told on a terminal, where someone may be typing.

use std::io::Write;
use std::process::{Command, Stdio};

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
