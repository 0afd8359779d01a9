//! What tasks have started and let go of: it ends with their worker, however that ends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use raincheck::{Executor, ProcessPool};

use crate::{Meeting, TOO_LONG, assert_gone, claim, is_gone, is_there, wait_until_open};

/// Leaves its number in a file, and stays.
const STAY: &str = r#"echo $$ > "$0" && exec sleep 40"#;

/// Starts processes that leave the worker's group, each a farther way, and goes on once they are there.
fn let_loose(folder: &Path) -> Vec<Command> {
    let start = |name: &str, command: &[&str]| {
        let mut start = Command::new(command[0]);
        start.args(&command[1..]).args(["sh", "-c", STAY]).arg(folder.join(name));
        start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        start
    };
    vec![
        // In a session of its own.
        start("1", &["setsid"]),
        // Its parent is gone, too.
        start("2", &["sh", "-c", r#"setsid "$@" & exit"#, "sh"]),
        // A child of such a one, from which the environment is taken.
        start("3", &["sh", "-c", r#"setsid sh -c '"$@"; exit' sh env -i "$@" & exit"#, "sh"]),
    ]
}

/// One that only its parent gives away.
fn without_environment(folder: &Path) -> Command {
    let mut start = Command::new("env");
    start.args(["-i", "setsid", "sh", "-c", STAY]).arg(folder.join("4"));
    start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    start
}

#[raincheck::task]
#[expect(clippy::zombie_processes, reason = "they are to be nobody's business")]
fn breed(folder: &Path, then: &str) {
    let mut commands = let_loose(folder);
    if then != "crash" {
        commands.push(without_environment(folder));
    }
    for mut command in commands {
        command.spawn().unwrap();
    }
    wait_until_open(folder);
    match then {
        "crash" => std::process::abort(),
        "return" => {}
        _ => thread::sleep(TOO_LONG),
    }
}

/// Waits until so many have left their numbers, and reads them.
#[track_caller]
fn numbers(meeting: &Meeting, count: usize) -> Vec<u32> {
    meeting.wait_for(count);
    let number = |name: usize| {
        let path = meeting.path().join(name.to_string());
        let start = Instant::now();
        loop {
            match fs::read_to_string(&path).unwrap().trim().parse() {
                Ok(number) => return number,
                Err(_) => assert!(start.elapsed() < TOO_LONG),
            }
        }
    };
    (1..=count).map(number).collect()
}

#[test]
fn a_task_that_is_cancelled_is_killed_with_its_daemons() {
    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    let task = pool.submit(breed::call(meeting.path(), "stay"));
    let daemons = numbers(&meeting, 4);

    task.cancel();

    daemons.into_iter().for_each(assert_gone);
}

#[test]
fn the_daemons_of_a_worker_that_crashes_end() {
    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    let task = pool.submit(breed::call(meeting.path(), "crash"));
    let daemons = numbers(&meeting, 3);

    meeting.open();

    assert!(claim(task).is_err());
    daemons.into_iter().for_each(assert_gone);
}

#[test]
fn the_daemons_of_a_worker_that_is_told_to_go_stay() {
    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    let task = pool.submit(breed::call(meeting.path(), "return"));
    let daemons = numbers(&meeting, 4);

    meeting.open();
    assert_eq!(claim(task), Ok(()));
    drop(pool);

    let stay = daemons.iter().all(|pid| is_there(*pid));
    for pid in daemons {
        Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().unwrap();
    }
    assert!(stay);
}

/// What the next tests start as a program of its own: it waits to be killed, or cancels its task and ends.
#[test]
#[ignore = "only started by another test"]
fn parent_of_daemons() {
    let folder = PathBuf::from(std::env::var("MEETING").unwrap());
    let pool = ProcessPool::new(1);
    let task = pool.submit(breed::call(folder.clone(), "stay"));
    let start = Instant::now();
    while !folder.join("cancel").exists() && start.elapsed() < TOO_LONG {
        thread::sleep(Duration::from_millis(1));
    }
    task.cancel();
}

fn start_parent(meeting: &Meeting) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "daemons::parent_of_daemons"])
        .env("MEETING", meeting.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn no_daemon_outlives_the_parent_of_its_worker() {
    let meeting = Meeting::new();
    let mut parent = start_parent(&meeting);
    let daemons = numbers(&meeting, 4);

    parent.kill().unwrap();
    parent.wait().unwrap();

    assert!(daemons.into_iter().all(is_gone));
}

#[test]
fn a_pool_has_not_ended_before_the_daemons_of_a_task_that_was_killed() {
    let meeting = Meeting::new();
    let mut parent = start_parent(&meeting);
    let daemons = numbers(&meeting, 4);

    fs::write(meeting.path().join("cancel"), "").unwrap();
    parent.wait().unwrap();

    assert!(daemons.into_iter().all(is_gone));
}
