//! What becomes of a task, and of all others, when its worker dies, overruns, is cancelled or cannot start.

use std::{
    fs,
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use raincheck::{
    Blob, Cancel, Death, Executor, Full, Inline, Options, Outcome, ProcessPool, Retry, TaskError, TaskFuture,
};
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::{Meeting, TOO_LONG, area, assert_gone, claim, is_gone, meet, pid};

#[test]
fn a_call_is_made_in_another_process() {
    let pool = ProcessPool::new(2);

    assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
    assert_ne!(claim(pool.submit(pid::call())), Ok(std::process::id()));
}

/// Ends its process in one way or another.
#[raincheck::task]
#[expect(clippy::exit, reason = "that is what it is for")]
fn die(how: &str) -> u32 {
    io::stderr().write_all(format!("about to die by {how}\n").as_bytes()).unwrap();
    match how {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(99),
        "SIGSEGV" | "SIGKILL" => {
            let me = std::process::id().to_string();
            Command::new("kill").args(["-s", &how[3..], &me]).status().unwrap();
            thread::sleep(TOO_LONG);
            0
        }
        _ => panic!("no umbrella"),
    }
}

fn death(outcome: Outcome<u32>) -> Death {
    match outcome {
        Err(TaskError::WorkerLost(lost)) => lost.death().unwrap_or_else(|| panic!("{}", lost.reason())).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_that_dies_costs_the_task_that_it_had_started_and_no_other() {
    for (how, code, signal) in [
        ("abort", None, Some("SIGABRT")),
        ("exit", Some(99), None),
        ("SIGSEGV", None, Some("SIGSEGV")),
        ("SIGKILL", None, Some("SIGKILL")),
    ] {
        let pool = ProcessPool::new(1);
        let worker = claim(pool.submit(pid::call()));
        let victim = pool.submit(die::call(how));
        let others: Vec<_> = (0..20).map(|n| pool.submit(area::call(n, n))).collect();

        let death = death(claim(victim));

        assert_eq!((death.exit_code(), death.signal_name()), (code, signal), "{death}");
        assert_eq!(Ok(death.pid()), worker);
        assert!(death.task().unwrap().ends_with("::die"), "{death}");
        assert!(death.ran().unwrap() < TOO_LONG);
        assert!(death.stderr().ends_with(&format!("about to die by {how}")), "{death}");
        for (n, other) in (0..).zip(others) {
            assert_eq!(claim(other), Ok(n * n));
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_task_that_overflows_its_stack_is_said_to_have() {
    #[raincheck::task]
    fn dig(depth: u64) -> u64 {
        let ground = std::hint::black_box([depth; 64]);
        if depth == 0 { 0 } else { dig(depth - 1) + ground[depth as usize % 64] }
    }
    let pool = ProcessPool::new(1);
    let deep = pool.submit(dig::call(u64::MAX));
    let shallow = pool.submit(dig::call(2));

    let error = claim(deep).unwrap_err();

    assert!(error.to_string().contains("by SIGSEGV while"), "{error}");
    assert!(error.to_string().contains("has overflowed its stack"), "{error}");
    assert_eq!(claim(shallow), Ok(3));
}

#[test]
fn a_panic_is_the_tasks_error_and_does_not_cost_the_worker() {
    let pool = ProcessPool::new(1);
    let before = claim(pool.submit(pid::call()));

    let error = claim(pool.submit(die::call("a panic"))).unwrap_err();

    assert!(error.to_string().ends_with("no umbrella"), "{error}");
    assert!(error.to_string().contains("deaths.rs:"), "{error}");
    assert_eq!(claim(pool.submit(pid::call())), before);
}

#[test]
fn a_task_that_overruns_is_killed_with_what_it_has_started() {
    #[raincheck::task]
    fn sleeps(folder: &Path) {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(folder.join("child.new"), child.id().to_string()).unwrap();
        fs::rename(folder.join("child.new"), folder.join("child")).unwrap();
        child.wait().unwrap();
    }
    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    let limit = Duration::from_millis(300);

    let task = pool.with(Options::new().time_limit(limit)).submit(sleeps::call(meeting.path()));

    assert_eq!(claim(task), Err(TaskError::TimedOut { limit }));
    let child: u32 = fs::read_to_string(meeting.path().join("child")).unwrap().parse().unwrap();
    assert_gone(child);
    assert_eq!(claim(pool.submit(area::call(2, 2))), Ok(4));
}

#[test]
fn cancelling_a_running_task_kills_it_and_one_that_waits_never_starts() {
    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    let running = pool.submit(meet::call(meeting.path(), 1));
    meeting.wait_for(1);
    let waiting = pool.submit(meet::call(meeting.path(), 2));

    assert!(running.is_running() && !waiting.is_running());
    assert_eq!(waiting.cancel(), Cancel::Prevented);
    assert_eq!(running.cancel(), Cancel::Stopped);

    assert_eq!(claim(running), Err(TaskError::Cancelled));
    assert_eq!(claim(waiting), Err(TaskError::Cancelled));
    assert_eq!(claim(pool.submit(area::call(1, 3))), Ok(3));
    assert!(!meeting.path().join("2").exists());
}

/// Lets the task that waits at the meeting go, and keeps whoever receives the answers from it from that one on, until
/// what comes back is dropped.
pub(crate) fn keep_from_receiving<T: Send + 'static>(opening: &TaskFuture<T>, meeting: &Meeting) -> mpsc::Sender<()> {
    let (reached, reaches) = mpsc::channel();
    let (open, opens) = mpsc::channel();
    opening.on_done(move |_| {
        reached.send(()).unwrap();
        let _ = opens.recv_timeout(TOO_LONG);
    });
    meeting.open();
    reaches.recv_timeout(TOO_LONG).unwrap();
    open
}

#[test]
fn cancelling_what_is_done_already_does_not_cost_the_task_that_came_next() {
    let (pool, [first, second, third]) = (ProcessPool::new(1), [Meeting::new(), Meeting::new(), Meeting::new()]);
    let opening = pool.submit(meet::call(first.path(), 1));
    let done = pool.submit(meet::call(second.path(), 2));
    let next = pool.submit(meet::call(third.path(), 3));
    let others: Vec<_> = (0..20).map(|n| pool.submit(area::call(n, 1))).collect();
    // Before the second answer comes.
    let kept = keep_from_receiving(&opening, &first);
    second.open();
    third.wait_for(1);

    assert_eq!(done.cancel(), Cancel::TooLate);

    drop(kept);
    third.open();
    assert_eq!((claim(done), claim(next)), (Ok(2), Ok(3)));
    assert!((0..).zip(others).all(|(n, other)| claim(other) == Ok(n)));
}

#[test]
fn what_a_worker_has_answered_before_it_died_arrives_also_if_it_is_blobs() {
    #[raincheck::task]
    fn fill(byte: u8) -> Blob {
        Blob::from(vec![byte; 1 << 20])
    }
    // Whether the worker died before anyone read what it has answered.
    let unread = || {
        let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
        // So that many may be with the worker; but that goes by how long they took.
        let quick: Vec<_> = (0..2000).map(|n| pool.submit(area::call(n, 1))).collect();
        assert!(quick.into_iter().all(|task| claim(task).is_ok()));
        let worker = pool.pids()[0];
        let opening = pool.submit(meet::call(meeting.path(), 1));
        let blobs: Vec<_> = (0..6).map(|n| pool.submit(fill::call(n))).collect();
        let crash = pool.submit(die::call("abort"));
        let others: Vec<_> = (0..20).map(|n| pool.submit(area::call(n, 1))).collect();
        let kept = keep_from_receiving(&opening, &meeting);
        let is_unread = is_gone(worker);

        drop(kept);

        for (n, blob) in (0..).zip(blobs) {
            assert_eq!(*claim(blob).unwrap(), vec![n; 1 << 20][..]);
        }
        assert_eq!(death(claim(crash)).signal_name(), Some("SIGABRT"));
        assert!((0..).zip(others).all(|(n, other)| claim(other) == Ok(n)));
        is_unread
    };
    assert!((0..10).any(|_| unread()), "not all was with the worker, time and again");
}

#[test]
fn a_task_may_be_given_time_to_see_that_it_is_cancelled() {
    #[raincheck::task]
    fn looks(folder: &Path) -> bool {
        fs::write(folder.join("1"), "").unwrap();
        let start = Instant::now();
        while !raincheck::cancelled() && start.elapsed() < TOO_LONG {
            thread::yield_now();
        }
        raincheck::cancelled()
    }
    let (pool, meeting) = (ProcessPool::builder().workers(1).grace(TOO_LONG).build(), Meeting::new());
    let task = pool.submit(looks::call(meeting.path()));
    meeting.wait_for(1);

    assert_eq!(task.cancel(), Cancel::Requested);

    assert_eq!(claim(task), Ok(true));
}

#[test]
fn many_tasks_and_a_map_come_back_whole() {
    let pool = ProcessPool::new(2);
    let tasks: Vec<_> = (0..20_000).map(|n| pool.submit(area::call(n, 2))).collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(claim(task), Ok(2 * n));
    }

    let areas: Outcome<Vec<u32>> = pool.map(area::task(), (0..50_000).map(|n| (n, 3))).collect();

    assert_eq!(areas.unwrap(), (0..50_000).map(|n| 3 * n).collect::<Vec<_>>());
}

#[test]
fn one_megabyte_and_more_goes_there_and_back() {
    #[raincheck::task]
    fn echo(text: String) -> String {
        text
    }
    let pool = ProcessPool::new(2);
    let text: String = (0..3_000_000_u32).map(|n| char::from(b'a' + (n % 23) as u8)).collect();

    let tasks: Vec<_> = (0..4).map(|_| pool.submit(echo::call(text.clone()))).collect();

    assert!(tasks.into_iter().all(|task| claim(task).unwrap() == text));
}

#[test]
fn what_serde_does_not_know_is_carried_or_refused_with_the_way_out() {
    #[derive(Debug)]
    struct Opaque;

    #[raincheck::task]
    fn length(path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }
    #[raincheck::task]
    fn parsed(text: &str) -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
        Ok(text.parse()?)
    }
    #[raincheck::task]
    fn opaque() -> Opaque {
        Opaque
    }
    let pool = ProcessPool::new(1);

    assert_eq!(claim(pool.submit(length::call("/"))).unwrap().unwrap(), fs::metadata("/").unwrap().len());
    let missing = claim(pool.submit(length::call("/no/umbrella"))).unwrap().unwrap_err();
    assert_eq!((missing.kind(), missing.raw_os_error()), (io::ErrorKind::NotFound, Some(2)));
    assert_eq!(claim(pool.submit(parsed::call("7"))).unwrap().unwrap(), 7);
    assert!(claim(pool.submit(parsed::call("x"))).unwrap().unwrap_err().to_string().contains("invalid digit"));
    let error = claim(pool.submit(opaque::call())).unwrap_err().to_string();
    assert!(error.contains("::opaque") && error.contains("derive `serde::Serialize`"), "{error}");
    assert!(claim(Inline::new().submit(opaque::call())).is_ok());
}

#[test]
fn a_full_queue_refuses() {
    let pool = ProcessPool::builder().workers(1).queue(1, Full::Refuse).build();
    let meeting = Meeting::new();
    let running = pool.submit(meet::call(meeting.path(), 1));
    meeting.wait_for(1);
    let waiting = pool.submit(area::call(1, 1));

    assert_eq!(claim(pool.submit(area::call(2, 2))), Err(TaskError::Refused));

    meeting.open();
    assert_eq!((claim(running), claim(waiting)), (Ok(1), Ok(1)));
}

#[test]
fn workers_are_replaced_after_so_many_tasks_and_none_is_lost() {
    let pool = ProcessPool::builder().workers(2).tasks_per_worker(3).build();

    let pids: Outcome<Vec<u32>> = (0..30).map(|_| pool.submit(pid::call())).map(claim).collect();

    let pids = pids.unwrap();
    let mut distinct = pids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() >= 10, "{pids:?}");
    assert!(distinct.iter().all(|pid| pids.iter().filter(|it| *it == pid).count() <= 3), "{pids:?}");
}

#[test]
fn workers_are_replaced_while_others_submit() {
    let pool = ProcessPool::builder().workers(2).tasks_per_worker(2).build();

    let tasks: Vec<_> = thread::scope(|scope| {
        let submit = || (0..100).map(|n| pool.submit(area::call(n, 1))).collect::<Vec<_>>();
        let submitters = [scope.spawn(submit), scope.spawn(submit)];
        submitters.into_iter().map(|submitter| submitter.join().unwrap()).collect()
    });

    for tasks in tasks {
        assert!((0..).zip(tasks).all(|(n, task)| claim(task) == Ok(n)));
    }
}

#[test]
fn a_pool_ends_whose_workers_have_only_cancelled_tasks_left() {
    let (pool, begin, [first, second]) = (ProcessPool::new(2), Meeting::new(), [Meeting::new(), Meeting::new()]);
    let beginning = [1, 2].map(|n| pool.submit(meet::call(begin.path(), n)));
    begin.wait_for(2);
    // What a worker does next, and what then lies in its socket.
    let mut waiting = Vec::new();
    let running = [&first, &second].map(|meeting| {
        let task = pool.submit(meet::call(meeting.path(), 1));
        waiting.push(pool.submit(area::call(1, 1)));
        task
    });
    waiting.extend((0..10).map(|n| pool.submit(area::call(n, 1))));
    begin.open();
    first.wait_for(1);
    second.wait_for(1);
    // Some may have come before the second meeting, and are done.
    for task in &waiting {
        assert!(matches!(task.cancel(), Cancel::Prevented | Cancel::TooLate));
    }

    pool.close();
    first.open();
    let start = Instant::now();
    while pool.pids().len() > 1 {
        assert!(start.elapsed() < TOO_LONG, "a worker that has nothing to do stays");
        thread::yield_now();
    }
    second.open();

    assert!(pool.join(Some(Instant::now() + TOO_LONG)));
    assert_eq!(beginning.map(claim), [Ok(1), Ok(2)]);
    assert_eq!(running.map(claim), [Ok(1), Ok(1)]);
}

#[test]
fn workers_are_started_when_they_are_needed() {
    let pool = ProcessPool::new(4);
    assert!(pool.pids().is_empty());

    for _ in 0..10 {
        claim(pool.submit(pid::call())).unwrap();
    }

    assert_eq!(pool.pids().len(), 1);
}

#[test]
fn an_idle_worker_is_let_go_and_another_comes_when_it_is_needed() {
    let pool = ProcessPool::builder().workers(1).idle_timeout(Duration::from_millis(20)).build();
    let first = claim(pool.submit(pid::call())).unwrap();
    let start = Instant::now();
    while !pool.pids().is_empty() {
        assert!(start.elapsed() < TOO_LONG);
        thread::yield_now();
    }

    assert_gone(first);
    assert_ne!(claim(pool.submit(pid::call())), Ok(first));
}

#[test]
fn a_worker_has_its_state_and_a_failing_one_breaks_the_pool() {
    struct Count(u32);

    #[raincheck::task]
    fn count_from(start: u32) -> Count {
        assert_ne!(start, 13, "no database");
        Count(start)
    }
    #[raincheck::task]
    fn bump() -> Option<u32> {
        raincheck::with_worker_state(|count: &mut Count| {
            count.0 += 1;
            count.0
        })
    }
    let pool = ProcessPool::builder().workers(1).worker_state(count_from::call(40)).build();
    assert_eq!(claim(pool.submit(bump::call())), Ok(Some(41)));
    assert_eq!(claim(pool.submit(bump::call())), Ok(Some(42)));

    let pool = ProcessPool::builder().workers(2).worker_state(count_from::call(13)).build();
    let tasks: Vec<_> = (0..10).map(|_| pool.submit(bump::call())).collect();
    for task in tasks {
        let error = claim(task).unwrap_err().to_string();
        assert!(error.contains("no database"), "{error}");
    }
}

#[test]
fn a_program_that_is_no_worker_breaks_the_pool_which_says_so() {
    for (program, what) in [("/no/such/program", "No such file"), ("true", "exited with code 0")] {
        let pool = ProcessPool::builder().workers(2).worker_program(program).build();

        let error = claim(pool.submit(area::call(1, 1))).unwrap_err().to_string();

        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn progress_is_seen_while_the_task_runs() {
    #[raincheck::task]
    fn counts(folder: &Path) {
        for n in 1..=100 {
            raincheck::progress(n);
        }
        meet(folder, 1);
        raincheck::progress(1000);
    }
    let (pool, meeting) = (ProcessPool::new(1), Meeting::new());
    let (told, hears) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);

    let observed = pool.with(Options::new().observer(move |event: &raincheck::Event| {
        told.lock().unwrap().send(event.moment).unwrap();
    }));
    let task = observed.submit(counts::call(meeting.path()));
    meeting.wait_for(1);
    let mut seen = Vec::new();
    while !seen.contains(&raincheck::Moment::Progress(1)) {
        seen.push(hears.recv_timeout(TOO_LONG).unwrap());
    }
    assert!(task.is_running());
    meeting.open();
    assert_eq!(claim(task), Ok(()));
    seen.extend(hears.try_iter());

    use raincheck::{Ending, Moment};
    assert!(matches!(seen[..2], [Moment::Submitted, Moment::Started(_)]), "{seen:?}");
    assert_eq!(seen[seen.len() - 2..], [Moment::Progress(1000), Moment::Finished(Ending::Returned)]);
}

#[test]
fn a_pool_inside_a_task_works() {
    #[raincheck::task]
    fn squares(most: u32) -> Vec<u32> {
        let pool = ProcessPool::new(2);
        pool.map(area::task(), (0..most).map(|n| (n, n))).map(Result::unwrap).collect()
    }

    assert_eq!(claim(ProcessPool::new(1).submit(squares::call(4))), Ok(vec![0, 1, 4, 9]));
}

/// What the next test starts as a program of its own: a parent that ends with its workers idle and busy.
#[test]
#[ignore = "only started by another test"]
#[expect(clippy::exit, reason = "that is one of the ways")]
fn parent_that_ends() {
    let folder = PathBuf::from(std::env::var("MEETING").unwrap());
    #[raincheck::task]
    fn busy(folder: &Path) {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(folder.join("child"), child.id().to_string()).unwrap();
        meet(folder, 7);
        child.wait().unwrap();
    }
    let pool = ProcessPool::new(2);
    let _busy = pool.submit(busy::call(folder.clone()));
    fs::write(folder.join("idle"), claim(pool.submit(pid::call())).unwrap().to_string()).unwrap();
    let start = Instant::now();
    while start.elapsed() < TOO_LONG {
        if folder.join("exit").exists() {
            std::process::exit(3);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn no_worker_outlives_its_parent_nor_what_it_has_started_however_that_ends() {
    for signal in [Some(Signal::KILL), Some(Signal::TERM), Some(Signal::ABORT), None] {
        let meeting = Meeting::new();
        let mut parent = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "deaths::parent_that_ends"])
            .env("MEETING", meeting.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        meeting.wait_for(3);
        let pids: Vec<u32> = ["7", "idle", "child"]
            .iter()
            .map(|name| {
                let start = Instant::now();
                loop {
                    match fs::read_to_string(meeting.path().join(name)).unwrap().parse() {
                        Ok(pid) => return pid,
                        Err(_) => assert!(start.elapsed() < TOO_LONG),
                    }
                }
            })
            .collect();

        match signal {
            Some(signal) => kill_process(Pid::from_child(&parent), signal).unwrap(),
            None => fs::write(meeting.path().join("exit"), "").unwrap(),
        }
        let status = parent.wait().unwrap();

        assert_eq!((status.signal(), status.code()), (signal.map(Signal::as_raw), signal.is_none().then_some(3)));
        pids.into_iter().for_each(assert_gone);
    }
}

/// Waits for the clock, and goes through a socket.
#[cfg(feature = "tokio")]
#[raincheck::task]
async fn tokio_echo(text: String) -> io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    tokio::time::sleep(Duration::from_millis(1)).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await?;
        socket.write_all(text.as_bytes()).await
    });
    let mut heard = String::new();
    tokio::net::TcpStream::connect(address).await?.read_to_string(&mut heard).await?;
    server.await.unwrap()?;
    Ok(heard)
}

#[cfg(feature = "tokio")]
#[test]
fn an_async_task_finds_tokio_in_its_worker() {
    let pool = ProcessPool::new(1);

    for text in ["rain", "check"] {
        assert_eq!(claim(pool.submit(tokio_echo::call(text.to_owned()))).unwrap().unwrap(), text);
    }
    let echoes: Vec<String> =
        pool.map(tokio_echo::task(), ["a", "b"].map(str::to_owned)).map(|it| it.unwrap().unwrap()).collect();
    assert_eq!(echoes, ["a", "b"]);
}

#[cfg(feature = "tokio")]
#[test]
fn an_async_task_that_waits_for_tokio_is_dropped_when_it_is_cancelled() {
    #[raincheck::task]
    async fn sleeps_on_tokio(folder: &Path) {
        struct Leaves<'a>(&'a Path);
        impl Drop for Leaves<'_> {
            fn drop(&mut self) {
                fs::write(self.0.join("left"), "").unwrap();
            }
        }
        let _leaves = Leaves(folder);
        fs::write(folder.join("1"), "").unwrap();
        tokio::time::sleep(TOO_LONG).await;
    }
    let (pool, meeting) = (ProcessPool::builder().workers(1).grace(TOO_LONG).build(), Meeting::new());
    let task = pool.submit(sleeps_on_tokio::call(meeting.path()));
    meeting.wait_for(1);

    task.cancel();

    assert_eq!(claim(task), Err(TaskError::Cancelled));
    assert!(meeting.path().join("left").exists());
}

#[test]
fn a_task_is_tried_again_whose_worker_was_killed_and_given_up_after_so_many() {
    /// Kills its worker the first few times, of which it leaves a mark each.
    #[raincheck::task]
    fn kills(folder: &Path, times: usize) -> Result<usize, String> {
        let before = fs::read_dir(folder).unwrap().count();
        if before < times {
            fs::write(folder.join(before.to_string()), "").unwrap();
            kill_process(getpid(), Signal::KILL).unwrap();
            thread::sleep(TOO_LONG);
        }
        Ok(before)
    }
    let (pool, survives, is_given_up) = (ProcessPool::new(1), Meeting::new(), Meeting::new());

    let task = pool.submit_retrying(Retry::times(3), kills::call(survives.path(), 2));
    let hopeless = pool.submit_retrying(Retry::times(2), kills::call(is_given_up.path(), 9));

    assert_eq!(claim(task), Ok(Ok(2)));
    match claim(hopeless) {
        Err(TaskError::WorkerLost(lost)) => assert_eq!(lost.death().unwrap().signal_name(), Some("SIGKILL")),
        other => panic!("{other:?}"),
    }
    // Once, and twice again.
    assert_eq!(fs::read_dir(is_given_up.path()).unwrap().count(), 3);
    assert_eq!(claim(pool.submit(area::call(2, 3))), Ok(6));
}

#[test]
fn tasks_are_listed_by_name() {
    let tasks = raincheck::tasks();

    assert!(tasks.is_sorted_by_key(|entry| entry.name()));
    let area = tasks.iter().find(|entry| entry.name().ends_with("process::area")).unwrap();
    assert_eq!(area.signature(), "fn(width: u32, height: u32) -> u32");
}
