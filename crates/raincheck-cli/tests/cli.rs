//! What the program does, as console transcripts: one behaviour a file; and those of the README.

use std::fs::{self, File};
use std::process::{Command, Stdio};

/// What writes data to stdout, in a folder with these files.
const WRITERS: [&[&str]; 13] = [
    &["--help"],
    &["--version"],
    &["-h"],
    &["run", "--help"],
    &["completions", "bash"],
    &["man"],
    &["hash", "file"],
    &["hash", "--check", "sums"],
    &["logs", "log"],
    &["logs", "--format", "json", "log"],
    &["run", "echo", ":::", "a"],
    &["flags", "DE"],
    &["serve"],
];

fn writer(args: &[&str]) -> (tempfile::TempDir, Command) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    fs::write(dir.path().join("sums"), "d41d8cd98f00b204e9800998ecf8427e  file\n").unwrap();
    fs::write(dir.path().join("log"), "::1 - - [10/Oct/2000:13:55:36 +0000] \"GET / HTTP/1.1\" 200 1\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_raincheck"));
    command.args(args).current_dir(dir.path()).stdin(Stdio::null()).stderr(Stdio::piped());
    (dir, command)
}

#[test]
fn output_that_finds_no_room_is_an_error() {
    for args in WRITERS {
        let (_dir, mut command) = writer(args);

        let output = command.stdout(File::create("/dev/full").unwrap()).output().unwrap();

        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {told}");
        assert!(told.contains("error: cannot write to stdout: No space left on device"), "{args:?}: {told}");
    }
}

#[test]
fn output_that_nobody_reads_is_no_error() {
    for args in WRITERS {
        let (_dir, mut command) = writer(args);
        let (reader, out) = std::io::pipe().unwrap();
        drop(reader);

        let output = command.stdout(out).output().unwrap();

        assert_eq!(output.status.code(), Some(141), "{args:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!told.contains("error") && !told.contains("warning"), "{args:?}: {told}");
    }
}

#[test]
fn the_transcripts_hold() {
    trycmd::TestCases::new().case("tests/cli/*.md").case("../../README.md");
}
