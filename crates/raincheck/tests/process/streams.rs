//! What tasks write to stdout and stderr, and want to read from stdin, is no part of what workers and parents say.

use std::{
    fs,
    io::{self, Read, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use raincheck::{Executor, ProcessPool};

use crate::{Meeting, TOO_LONG, area, claim, wait_until_open};

const TASKS: u32 = 20;
/// More than a pipe or a socket holds.
const LENGTH: usize = 300_000;

/// Is loud, and listens.
#[raincheck::task]
fn chatter(n: u32) -> (u32, usize) {
    let noise = "~".repeat(LENGTH);
    io::stdout().write_all(noise.as_bytes()).unwrap();
    io::stdout().flush().unwrap();
    io::stderr().write_all(noise.as_bytes()).unwrap();
    let heard = io::stdin().read_to_end(&mut Vec::new()).unwrap();
    (n, heard)
}

/// What the next test starts as a program of its own.
#[test]
#[ignore = "only started by another test"]
fn tasks_that_chatter() {
    let pool = ProcessPool::new(2);

    let tasks: Vec<_> = (0..TASKS).map(|n| pool.submit(chatter::call(n))).collect();

    assert!((0..).zip(tasks).all(|(n, task)| claim(task) == Ok((n, 0))));
}

#[test]
fn what_tasks_print_arrives_whole_and_disturbs_nobody() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact", "streams::tasks_that_chatter"])
        .output()
        .unwrap();

    assert!(output.status.success(), "{}", output.status);
    for stream in [output.stdout, output.stderr] {
        assert_eq!(stream.iter().filter(|byte| **byte == b'~').count(), TASKS as usize * LENGTH);
    }
}

/// Writes so much to stderr, and then ends its worker, or not.
#[raincheck::task]
fn shout(byte: u8, length: usize, dies: bool) {
    io::stderr().write_all(&vec![byte; length]).unwrap();
    if dies {
        std::process::abort();
    }
}

/// More than is kept anywhere.
const MUCH: usize = 16 << 20;

/// What the pipe of a worker that has died holds whole, and how many of them nobody could keep.
const LAST_WORDS: usize = 60_000;
const DEATHS: usize = 40;

/// What the next tests start as a program of its own, and do not read the stderr of at first.
#[test]
#[ignore = "only started by another test"]
fn a_host_whose_stderr_nobody_reads() {
    let meeting = PathBuf::from(std::env::var("MEETING").unwrap());
    let (pool, deadly) = (ProcessPool::new(3), std::env::var("DEADLY").is_ok());
    if deadly {
        for _ in 0..DEATHS {
            assert!(claim(pool.submit(shout::call(b'~', LAST_WORDS, true))).is_err());
        }
        fs::write(meeting.join("1"), "").unwrap();
    } else {
        let [stopped, patient] = [b'-', b'~'].map(|byte| pool.submit(shout::call(byte, MUCH, false)));

        assert!((0..200).all(|n| claim(pool.submit(area::call(n, 2))) == Ok(2 * n)));

        stopped.cancel();
        assert!(claim(stopped).unwrap_err().is_cancelled());
        fs::write(meeting.join("1"), "").unwrap();
        assert_eq!(claim(patient), Ok(()));
    }
    // At its end it waits for no reader that pauses, as this one may on a loaded machine.
    wait_until_open(&meeting);
    assert!(pool.shutdown_timeout(TOO_LONG));
}

fn start_host(meeting: &Meeting) -> Command {
    let mut host = Command::new(std::env::current_exe().unwrap());
    host.args(["--ignored", "--nocapture", "--exact", "streams::a_host_whose_stderr_nobody_reads"]);
    host.env("MEETING", meeting.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    host
}

#[test]
fn workers_that_write_where_nobody_reads_hold_up_nobody_else_and_go_on_when_someone_does() {
    let meeting = Meeting::new();
    let mut host = start_host(&meeting).spawn().unwrap();
    meeting.wait_for(1);

    let (mut stderr, mut piece, mut said) = (host.stderr.take().unwrap(), vec![0; 65536], 0);
    while said < MUCH {
        let count = stderr.read(&mut piece).unwrap();
        assert!(count > 0, "only {said} bytes have come");
        said += piece[..count].iter().filter(|byte| **byte == b'~').count();
    }
    meeting.open();
    assert!(host.wait().unwrap().success());
    assert_eq!(said, MUCH);
}

#[test]
fn what_the_dead_have_written_and_nobody_read_is_left_out_and_counted() {
    let meeting = Meeting::new();
    let mut host = start_host(&meeting).env("DEADLY", "").spawn().unwrap();
    let mut stderr = host.stderr.take().unwrap();
    meeting.wait_for(1);

    let (mut said, mut piece) = (Vec::new(), vec![0; 65536]);
    let notice = |said: &[u8]| {
        let text = String::from_utf8_lossy(said);
        let (_, rest) = text.split_once("raincheck: here ")?;
        rest.split_once(" bytes are left out that workers wrote and nobody read\n")?.0.parse::<usize>().ok()
    };
    while notice(&said).is_none() {
        let count = stderr.read(&mut piece).unwrap();
        assert!(count > 0, "nothing is said of what is left out");
        said.extend_from_slice(&piece[..count]);
    }
    meeting.open();

    assert!(host.wait().unwrap().success());
    stderr.read_to_end(&mut said).unwrap();
    let written = said.iter().filter(|byte| **byte == b'~').count();
    assert_eq!(written + notice(&said).unwrap(), DEATHS * LAST_WORDS);
}
