//! What the program does that a pool is in, and what it is short of.
#![expect(unsafe_code, reason = "the system's own calls are what such programs make")]

use std::{
    fs,
    io::{self, Read, Write},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{self, Command, Stdio},
    ptr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use raincheck::{Blob, Executor, ProcessPool, Receiver, Sender, TaskError, TaskFuture, channel};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, kill_process, setrlimit, waitpid};

use crate::{
    Meeting, TOO_LONG, area, claim,
    deaths::keep_from_receiving,
    is_gone, meet, pid, run_alone,
    traps::{Harm, Stage, Trap, carry},
};

/// Its value, which comes though this thread does not listen.
#[track_caller]
fn value_told<T: Clone + Send + 'static>(task: &TaskFuture<T>) -> T {
    let (tell, told) = mpsc::channel();
    task.on_done(move |outcome| drop(tell.send(outcome.clone())));
    told.recv_timeout(TOO_LONG).expect("nobody hears the worker").unwrap()
}

#[raincheck::task]
fn speak_up() -> u32 {
    io::stderr().write_all(b"here I am\n").unwrap();
    process::id()
}

#[test]
#[ignore = "only started by another test"]
fn a_host_that_holds_stderr() {
    let pool = ProcessPool::new(1);
    let worker = claim(pool.submit(pid::call())).unwrap();

    let held = io::stderr().lock();

    assert_eq!(value_told(&pool.submit(speak_up::call())), worker);
    assert_eq!(value_told(&pool.submit(pid::call())), worker);
    drop(held);
}

#[test]
fn whoever_holds_stderr_can_wait_for_a_task_that_writes_to_it() {
    run_alone("hosts::a_host_that_holds_stderr");
}

/// What becomes of tasks where nobody can know how their workers ended.
fn outcomes_without_a_status() {
    let pool = ProcessPool::new(2);
    for harm in [Harm::Abort, Harm::Exit(9), Harm::Kill] {
        let error = claim(pool.submit(carry::call(Trap::new(Stage::Running, harm)))).unwrap_err().to_string();
        assert!(error.contains(" is gone while it ran "), "{error}");
        assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
    }
    let meeting = Meeting::new();
    let task = pool.submit(meet::call(meeting.path(), 1));
    meeting.wait_for(1);
    task.cancel();
    assert!(claim(task).unwrap_err().is_cancelled());
    let workers = pool.pids();
    assert!(pool.shutdown_timeout(TOO_LONG));
    assert!(workers.into_iter().all(is_gone));
}

#[test]
#[ignore = "only started by another test"]
fn a_host_that_ignores_its_children() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    outcomes_without_a_status();
}

#[test]
#[ignore = "only started by another test"]
fn a_host_that_reaps_all_children() {
    thread::spawn(|| {
        loop {
            // SAFETY: nothing is to be written anywhere.
            if unsafe { libc::waitpid(-1, ptr::null_mut(), 0) } < 0 {
                thread::yield_now();
            }
        }
    });
    // A worker may be reaped by who should, which is as good.
    let pool = ProcessPool::new(2);
    for harm in [Harm::Abort, Harm::Exit(9), Harm::Kill].repeat(3) {
        let error = claim(pool.submit(carry::call(Trap::new(Stage::Running, harm)))).unwrap_err();
        assert!(matches!(error, TaskError::WorkerLost(_)), "{error}");
        assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
    }
    assert!(pool.shutdown_timeout(TOO_LONG));
}

#[test]
fn a_host_may_ignore_its_children_or_reap_all_of_them() {
    run_alone("hosts::a_host_that_ignores_its_children");
    run_alone("hosts::a_host_that_reaps_all_children");
}

/// Lets this process have no more than so many descriptors, of those that it opens from now on.
fn limit_descriptors(most: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum }).unwrap();
}

#[raincheck::task]
fn fill(length: usize) -> Blob {
    vec![7; length].into()
}

#[test]
#[ignore = "only started by another test"]
fn a_host_that_has_no_descriptor_left_for_a_while() {
    const LARGE: usize = 1 << 20;
    let before = getrlimit(Resource::Nofile).current.unwrap();
    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));

    limit_descriptors(3);
    let large = pool.submit(fill::call(LARGE));
    let next = pool.submit(meet::call(meeting.path(), 1));

    let error = claim(large).unwrap_err();
    assert!(error.to_string().contains("there is no room for it"), "{error}");
    // The worker is to be replaced, which cannot be done now.
    let error = claim(next).unwrap_err();
    assert!(error.to_string().contains("Too many open files"), "{error}");

    limit_descriptors(before);
    assert_eq!(claim(pool.submit(fill::call(LARGE))).unwrap().len(), LARGE);
}

#[test]
fn a_pool_outlasts_a_shortage_of_descriptors() {
    run_alone("hosts::a_host_that_has_no_descriptor_left_for_a_while");
}

#[raincheck::task]
fn open_channel() -> (Sender<u32>, Receiver<u32>) {
    channel().unwrap()
}

/// Puts in what is too large for a message, and so goes in memory of its own.
#[raincheck::task]
fn send_much(to: Sender<String>) {
    to.send(&"~".repeat(1 << 20)).unwrap();
}

#[test]
#[ignore = "only started by another test"]
fn a_host_that_has_no_descriptor_left_for_a_channel() {
    const WAY_OUT: &str = "too many files open to be sent another: have it hold fewer at a time, or raise its limit";
    let before = getrlimit(Resource::Nofile).current.unwrap();
    let pool = ProcessPool::new(1);
    let worker = claim(pool.submit(pid::call()));
    let (sender, receiver) = channel().unwrap();
    assert_eq!(claim(pool.submit(send_much::call(sender))), Ok(()));

    limit_descriptors(3);
    let lost = claim(pool.submit(open_channel::call())).unwrap_err().to_string();
    let too_large = receiver.recv().unwrap_err().to_string();

    assert!(lost.contains("an end of a channel was lost on arrival") && lost.contains(WAY_OUT), "{lost}");
    assert!(too_large.contains("was lost on arrival") && too_large.contains(WAY_OUT), "{too_large}");
    limit_descriptors(before);
    assert!(claim(pool.submit(open_channel::call())).is_ok());
    // It is none of the worker's business.
    assert_eq!(claim(pool.submit(pid::call())), worker);
}

#[test]
fn an_end_of_a_channel_that_is_lost_for_want_of_a_descriptor_is_said_to_be() {
    run_alone("hosts::a_host_that_has_no_descriptor_left_for_a_channel");
}

#[raincheck::task]
fn count(senders: Vec<Sender<u32>>) -> usize {
    senders.len()
}

#[test]
#[ignore = "only started by another test"]
fn a_host_that_may_have_few_descriptors_on_their_way() {
    // Root may have any number, and so this is nobody; all threads are.
    // SAFETY: this changes who this process is, and no memory.
    unsafe { libc::setuid(65534) };
    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
    let ends: Vec<_> = (0..100).map(|_| channel::<u32>().unwrap().0).collect();

    limit_descriptors(2);
    let first = pool.submit(meet::call(meeting.path(), 1));
    let tasks: Vec<_> = ends.chunks(10).map(|ends| pool.submit(count::call(ends.to_vec()))).collect();
    // What needs no descriptor.
    fs::create_dir(meeting.path().join("open")).unwrap();

    assert_eq!(claim(first), Ok(1));
    assert!(tasks.into_iter().all(|task| claim(task) == Ok(10)));
    limit_descriptors(100);
}

#[test]
fn tasks_come_with_more_descriptors_than_may_be_on_their_way() {
    run_alone("hosts::a_host_that_may_have_few_descriptors_on_their_way");
}

#[test]
fn a_callback_can_drop_the_pool_whose_tasks_go_on() {
    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
    let task = pool.submit(meet::call(meeting.path(), 1));
    let next = pool.submit(area::call(6, 7));
    meeting.wait_for(1);
    let (tell, told) = mpsc::channel();
    task.on_done(move |_| {
        drop(pool);
        tell.send(()).unwrap();
    });

    meeting.open();

    assert_eq!(told.recv_timeout(TOO_LONG), Ok(()));
    assert_eq!(claim(next), Ok(42));
}

#[raincheck::task]
fn spin() {
    let start = Instant::now();
    while start.elapsed() < TOO_LONG {
        std::hint::spin_loop();
    }
}

#[test]
#[ignore = "only started by another test"]
fn a_host_that_ignores_signals() {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGXCPU, libc::SIG_IGN) };
    let pool = ProcessPool::builder().workers(1).processor_time(Duration::from_millis(50)).build();

    let error = claim(pool.submit(spin::call())).unwrap_err();

    assert!(error.to_string().contains("by SIGXCPU (its processor time was used up)"), "{error}");
}

#[test]
fn processor_time_is_limited_also_where_the_host_ignores_the_signal() {
    run_alone("hosts::a_host_that_ignores_signals");
}

#[raincheck::task]
fn ask_at_the_terminal() -> io::Result<usize> {
    fs::File::open("/dev/tty")?.read(&mut [0; 8])
}

#[test]
#[ignore = "only started by another test"]
fn a_host_at_a_terminal() {
    let pool = ProcessPool::new(1);

    let error = claim(pool.submit(ask_at_the_terminal::call())).unwrap().unwrap_err();

    assert!(error.to_string().contains("Input/output error"), "{error}");
}

#[test]
fn a_task_that_asks_at_the_terminal_sees_an_error_instead_of_waiting_for_ever() {
    let (mut master, mut terminal) = (-1, -1);
    // SAFETY: there is room for both numbers, and all else is left out; nobody else has these descriptors.
    let (_master, terminal) = unsafe {
        assert_eq!(libc::openpty(&mut master, &mut terminal, ptr::null_mut(), ptr::null(), ptr::null()), 0);
        (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(terminal))
    };
    let mut host = Command::new(std::env::current_exe().unwrap());
    host.args(["--ignored", "--exact", "hosts::a_host_at_a_terminal"]).stdin(terminal).stdout(Stdio::null());
    // SAFETY: both are calls of the system and nothing else.
    unsafe {
        host.pre_exec(|| {
            libc::setsid();
            libc::ioctl(0, libc::TIOCSCTTY, 0);
            Ok(())
        });
    }

    let status = host.status().unwrap();

    assert!(status.success(), "{status}");
}

/// Starts a process of this number, in a group of its own. `None` if the system does not give that number.
fn start_as(number: u32) -> Option<process::Child> {
    fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).ok()?;
    let mut child = Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
    if child.id() == number {
        return Some(child);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
#[ignore = "only started by another test"]
fn a_host_that_reaps_a_worker_whose_number_goes_to_another() {
    let (pool, meeting) = (ProcessPool::new(2), Meeting::new());
    let opening = pool.submit(meet::call(meeting.path(), 1));
    let held = keep_from_receiving(&opening, &meeting);
    let worker = claim(pool.submit(pid::call())).unwrap();
    let number = Pid::from_raw(worker.try_into().unwrap()).unwrap();

    kill_process(number, Signal::KILL).unwrap();
    waitpid(Some(number), WaitOptions::empty()).unwrap();
    // Where it cannot be had, there is nothing to see.
    let Some(mut innocent) = start_as(worker) else { return };
    drop(held);

    assert!(pool.shutdown_timeout(TOO_LONG));
    assert!(innocent.try_wait().unwrap().is_none(), "another process was killed");
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}

#[test]
fn no_other_process_is_killed_that_has_a_workers_number() {
    run_alone("hosts::a_host_that_reaps_a_worker_whose_number_goes_to_another");
}
