//! What may go wrong, at each point where it may: every task has its outcome in time, and the pool goes on.
//!
//! D and a number is a row of CPython's own matrix (`test_deadlock.py`). There a crash breaks the pool; here it costs
//! one task.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering, mpsc},
    thread,
    time::Instant,
};

use raincheck::{Executor, Full, Outcome, ProcessPool, TaskError};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Meeting, TOO_LONG, area, assert_gone, claim, meet, pid, run_alone,
    traps::{DEATHS, Harm, Stage, Trap, carry},
};

/// Has harm done to one task among others, and sees what becomes of all of them, and of the pool.
#[track_caller]
fn costs_one_task(stage: Stage, harm: Harm) {
    let pool = ProcessPool::new(2);
    let before: Vec<_> = (0..10).map(|n| pool.submit(area::call(n, 2))).collect();
    let victim = pool.submit(carry::call(Trap::new(stage, harm)));
    let after: Vec<_> = (10..20).map(|n| pool.submit(area::call(n, 2))).collect();

    harm.assert_told_by(claim(victim));

    for (n, task) in (0..).zip(before.into_iter().chain(after)) {
        assert_eq!(claim(task), Ok(2 * n), "{harm:?} while {stage:?}");
    }
    assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
    assert!(pool.shutdown_timeout(TOO_LONG), "{harm:?} while {stage:?}: the pool does not end");
}

#[test]
fn d1_an_argument_cannot_be_written_down() {
    costs_one_task(Stage::Submitting, Harm::Error);
    costs_one_task(Stage::Submitting, Harm::Panic);
}

#[test]
fn d2_the_worker_exits_while_it_reads_the_argument() {
    costs_one_task(Stage::Arriving, Harm::Exit(1));
    costs_one_task(Stage::Arriving, Harm::Exit(0));
}

#[test]
fn d3_the_argument_cannot_be_read() {
    costs_one_task(Stage::Arriving, Harm::Error);
    costs_one_task(Stage::Arriving, Harm::Panic);
}

#[test]
fn d4_the_worker_crashes_while_it_reads_the_argument() {
    DEATHS.into_iter().for_each(|death| costs_one_task(Stage::Arriving, death));
}

#[test]
fn d5_the_worker_crashes_in_the_task() {
    DEATHS.into_iter().for_each(|death| costs_one_task(Stage::Running, death));
}

#[test]
fn d6_the_task_exits() {
    costs_one_task(Stage::Running, Harm::Exit(1));
    costs_one_task(Stage::Running, Harm::Exit(0));
}

#[test]
fn d7_the_task_fails() {
    costs_one_task(Stage::Running, Harm::Error);
    costs_one_task(Stage::Running, Harm::Panic);
}

#[test]
fn d8_the_worker_crashes_while_it_writes_the_value_down() {
    DEATHS.into_iter().for_each(|death| costs_one_task(Stage::Answering, death));
}

#[test]
fn d9_the_worker_exits_while_it_writes_the_value_down() {
    costs_one_task(Stage::Answering, Harm::Exit(1));
    costs_one_task(Stage::Answering, Harm::Exit(0));
}

#[test]
fn d10_the_value_cannot_be_written_down() {
    costs_one_task(Stage::Answering, Harm::Error);
    costs_one_task(Stage::Answering, Harm::Panic);
}

#[test]
fn d11_the_value_cannot_be_read_back() {
    costs_one_task(Stage::Claiming, Harm::Error);
    costs_one_task(Stage::Claiming, Harm::Panic);
}

/// What the next test runs by itself.
#[test]
#[ignore = "only started by another test"]
fn parent_that_ends_while_it_reads_a_value() {
    let folder = std::env::var("MEETING").unwrap();
    let harm = if std::env::var("HARM").unwrap() == "exit" { Harm::Exit(7) } else { Harm::Abort };
    let pool = ProcessPool::new(2);
    let _busy = pool.submit(meet::call(&folder, 1));
    while !Path::new(&folder).join("1").exists() {
        thread::yield_now();
    }
    let _ = claim(pool.submit(carry::call(Trap::new(Stage::Claiming, harm))));
}

#[test]
fn d12_the_parent_ends_while_it_reads_a_value_and_takes_its_workers_along() {
    for (harm, code) in [("exit", Some(7)), ("abort", None)] {
        let meeting = Meeting::new();
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "matrix::parent_that_ends_while_it_reads_a_value"])
            .env("MEETING", meeting.path())
            .env("HARM", harm)
            .output()
            .unwrap();

        assert_eq!(ended.status.code(), code, "{ended:?}");
        assert_gone(fs::read_to_string(meeting.path().join("1")).unwrap().parse().unwrap());
    }
}

#[test]
fn d13_a_worker_crashes_after_the_pool_was_shut_down() {
    for death in DEATHS {
        let (pool, meeting) = (ProcessPool::new(2), Meeting::new());
        let running = [1, 2].map(|n| pool.submit(meet::call(meeting.path(), n)));
        meeting.wait_for(2);
        let victims = [(); 3].map(|()| pool.submit(carry::call(Trap::new(Stage::Running, death))));
        let others: Vec<_> = (0..10).map(|n| pool.submit(area::call(n, 1))).collect();

        pool.close();
        assert_eq!(claim(pool.submit(area::call(1, 1))), Err(TaskError::ShutDown));
        meeting.open();

        assert!(pool.join(Some(Instant::now() + TOO_LONG)), "{death:?}");
        assert_eq!(running.map(claim), [Ok(1), Ok(2)]);
        victims.into_iter().for_each(|victim| death.assert_told_by(claim(victim)));
        assert_eq!(others.into_iter().map(claim).collect::<Outcome<Vec<_>>>().unwrap(), Vec::from_iter(0..10));
    }
}

#[test]
fn d14_the_pool_ends_whose_only_task_could_not_be_written_down() {
    let pool = ProcessPool::new(2);

    let task = pool.submit(carry::call(Trap::new(Stage::Submitting, Harm::Error)));
    pool.close();

    Harm::Error.assert_told_by(claim(task));
    assert!(pool.join(Some(Instant::now() + TOO_LONG)));
}

#[raincheck::task]
fn length(trap: Trap, text: &str) -> usize {
    trap.reaches(Stage::Running).unwrap();
    text.len()
}

/// More than a socket holds, so that the rest is still being sent.
const MEGABYTES: usize = 2 << 20;

#[test]
fn d15_a_worker_crashes_while_megabytes_are_sent_to_it() {
    for death in DEATHS {
        let pool = ProcessPool::new(1);
        let quiet = || Trap::new(Stage::Claiming, Harm::Error);
        let text = "7".repeat(MEGABYTES);
        let victim = pool.submit(carry::call(Trap::new(Stage::Running, death)));
        let others: Vec<_> = (0..4).map(|_| pool.submit(length::call(quiet(), text.clone()))).collect();
        let second = pool.submit(length::call(Trap::new(Stage::Running, death), text.clone()));
        let last = pool.submit(length::call(quiet(), text.clone()));

        death.assert_told_by(claim(victim));
        for task in others {
            assert_eq!(claim(task), Ok(MEGABYTES), "{death:?}");
        }
        death.assert_told_by(claim(second));
        assert_eq!(claim(last), Ok(MEGABYTES));
    }
}

#[test]
fn d15_a_worker_is_killed_while_megabytes_are_sent_both_ways() {
    #[raincheck::task]
    fn echo(text: String) -> String {
        text
    }
    let pool = ProcessPool::new(2);
    let tasks: Vec<_> =
        (b'a'..b'm').map(|n| pool.submit(echo::call(char::from(n).to_string().repeat(MEGABYTES)))).collect();
    let mut killed = 0;
    while killed < 4 && !tasks.iter().all(raincheck::TaskFuture::is_done) {
        for pid in pool.pids() {
            killed += 1;
            kill(pid, Signal::KILL);
        }
        // Some of it crosses before the next ones.
        thread::sleep(std::time::Duration::from_millis(30));
    }

    let mut lost = 0;
    for (n, task) in (b'a'..).zip(tasks) {
        match claim(task) {
            Ok(text) => assert!(text.len() == MEGABYTES && text.bytes().all(|byte| byte == n)),
            Err(TaskError::WorkerLost(_)) => lost += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(lost <= killed, "{lost} tasks for {killed} workers");
    assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
}

#[test]
fn d16_more_is_submitted_than_sockets_hold_while_every_worker_is_busy() {
    let (pool, meeting) = (ProcessPool::new(2), Meeting::new());
    let running = [1, 2].map(|n| pool.submit(meet::call(meeting.path(), n)));
    meeting.wait_for(2);
    let quiet = || Trap::new(Stage::Claiming, Harm::Error);

    let large: Vec<_> = (0..100).map(|_| pool.submit(length::call(quiet(), "1".repeat(300_000)))).collect();
    let tiny: Vec<_> = (0..20_000).map(|n| pool.submit(area::call(n, 1))).collect();
    meeting.open();

    assert_eq!(running.map(claim), [Ok(1), Ok(2)]);
    assert!(large.into_iter().all(|task| claim(task) == Ok(300_000)));
    assert!((0..).zip(tiny).all(|(n, task)| claim(task) == Ok(n)));
}

#[test]
fn d16_a_worker_that_reads_nothing_holds_up_nobody_else() {
    let pool = ProcessPool::new(2);
    let stopped = claim(pool.submit(pid::call())).unwrap();
    kill(stopped, Signal::STOP);
    // Each of its threads stops when it sees the signal.
    let threads = || fs::read_dir(format!("/proc/{stopped}/task")).unwrap().map(|it| it.unwrap().path().join("stat"));
    while !threads().all(|stat| fs::read_to_string(stat).unwrap().contains(") T ")) {
        thread::yield_now();
    }
    let quiet = || Trap::new(Stage::Claiming, Harm::Error);

    let tasks: Vec<_> = (0..50).map(|_| pool.submit(length::call(quiet(), "1".repeat(300_000)))).collect();
    // All but what the stopped one had been given: that may have been begun, for all that anyone knows.
    let start = Instant::now();
    while tasks.iter().filter(|task| task.is_done()).count() < 49 {
        assert!(start.elapsed() < TOO_LONG);
        thread::yield_now();
    }
    kill(stopped, Signal::KILL);

    assert!(tasks.into_iter().all(|task| claim(task) == Ok(300_000)));
}

fn kill(pid: u32, signal: Signal) {
    // It may be gone already.
    let _ = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal);
}

#[test]
fn a_worker_dies_while_it_is_idle() {
    for signal in [Signal::SEGV, Signal::ABORT, Signal::KILL, Signal::TERM] {
        let pool = ProcessPool::new(1);
        let idle = claim(pool.submit(pid::call())).unwrap();

        kill(idle, signal);
        // Sent to one that is dead or alive, as it happens: it goes elsewhere, unless it was begun.
        let next = claim(pool.submit(pid::call()));
        assert_gone(idle);

        assert!(next.is_ok() || matches!(next, Err(TaskError::WorkerLost(_))), "{next:?}");
        assert_ne!(claim(pool.submit(pid::call())), Ok(idle), "{signal:?}");
    }
}

#[test]
fn a_worker_dies_while_the_pool_is_dropped() {
    for signal in [Signal::SEGV, Signal::ABORT, Signal::KILL, Signal::STOP] {
        let pool = ProcessPool::new(2);
        let pids = [pool.submit(pid::call()), pool.submit(pid::call())].map(|task| claim(task).unwrap());

        let start = Instant::now();
        thread::scope(|scope| {
            scope.spawn(move || drop(pool));
            pids.into_iter().for_each(|pid| kill(pid, signal));
        });

        assert!(start.elapsed() < TOO_LONG, "{signal:?}");
        pids.into_iter().for_each(assert_gone);
    }
}

#[test]
fn a_callback_kills_the_worker_that_it_hears_from() {
    let pool = Arc::new(ProcessPool::new(1));
    for round in 0..5 {
        let (told, hears) = mpsc::channel();
        let task = pool.submit(pid::call());
        let others: Vec<_> = (0..10).map(|n| pool.submit(area::call(n, round))).collect();
        let again = Arc::clone(&pool);
        task.on_done(move |outcome| {
            kill(*outcome.as_ref().unwrap(), Signal::KILL);
            // And asks the same pool for more.
            told.send(again.submit(area::call(6, 7))).unwrap();
            panic!("a callback panics");
        });

        let outcomes: Vec<_> = others.into_iter().map(claim).collect();

        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Err(TaskError::WorkerLost(_)))).count();
        assert!(lost <= 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10 - lost, "{outcomes:?}");
        let more = claim(hears.recv_timeout(TOO_LONG).unwrap());
        assert!(more == Ok(42) || lost == 0 && matches!(more, Err(TaskError::WorkerLost(_))), "{more:?}");
    }
}

#[test]
fn workers_die_while_the_queue_is_full() {
    for death in DEATHS {
        let pool = Arc::new(ProcessPool::builder().workers(2).queue(2, Full::Block).build());
        let count = Arc::new(AtomicUsize::new(0));
        let submitters: Vec<_> = (0..3)
            .map(|_| {
                let (pool, count) = (Arc::clone(&pool), Arc::clone(&count));
                thread::spawn(move || {
                    for n in 0..20 {
                        if n % 10 == 3 {
                            death.assert_told_by(claim(pool.submit(carry::call(Trap::new(Stage::Running, death)))));
                        } else {
                            let task = pool.submit(area::call(n, n));
                            drop(pool.submit(area::call(1, 1)));
                            assert_eq!(claim(task), Ok(n * n));
                        }
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();

        submitters.into_iter().for_each(|submitter| submitter.join().unwrap());

        assert_eq!(count.load(Ordering::Relaxed), 60);
        assert!(pool.shutdown_timeout(TOO_LONG));
    }
}

/// Does harm to those who find no such file, and leaves it.
#[raincheck::task]
fn harm_the_first(file: &Path, harm: Harm) {
    if !file.exists() {
        fs::write(file, "").unwrap();
        harm.strike().unwrap();
    }
}

#[test]
fn a_worker_dies_before_it_is_ready_and_the_next_one_is() {
    for death in DEATHS {
        let meeting = Meeting::new();
        let prepare = harm_the_first::call(meeting.path().join("file"), death);
        let pool = ProcessPool::builder().workers(1).initializer(prepare).build();

        let tasks: Vec<_> = (0..20).map(|n| pool.submit(area::call(n, 2))).collect();

        assert!((0..).zip(tasks).all(|(n, task)| claim(task) == Ok(2 * n)), "{death:?}");
    }
}

#[test]
fn no_worker_can_be_made_ready_which_everyone_is_told() {
    #[raincheck::task]
    fn harm(harm: Harm) {
        harm.strike().unwrap();
    }
    for death in DEATHS {
        let pool = ProcessPool::builder().workers(2).initializer(harm::call(death)).build();
        let tasks: Vec<_> = (0..20).map(|n| pool.submit(area::call(n, 2))).collect();

        for task in tasks {
            let error = claim(task).unwrap_err().to_string();
            assert!(error.contains("no worker could make itself ready"), "{death:?}: {error}");
        }

        assert!(matches!(claim(pool.submit(area::call(1, 1))), Err(TaskError::WorkerLost(_))));
        assert!(pool.shutdown_timeout(TOO_LONG), "{death:?}");
    }
}

/// What the next test runs by itself.
#[test]
#[ignore = "only started by another test"]
fn a_parent_without_descriptors() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let pool = ProcessPool::new(2);
    assert_eq!(claim(pool.submit(area::call(6, 7))), Ok(42));
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: Some(3) }).unwrap();

    let victim = pool.submit(carry::call(Trap::new(Stage::Running, Harm::Kill)));
    let others: Vec<_> = (0..10).map(|n| pool.submit(area::call(n, 1))).collect();

    Harm::Kill.assert_told_by(claim(victim));
    // Whether or not there is another worker, everyone is told something.
    for other in others {
        let outcome = claim(other);
        assert!(matches!(outcome, Ok(_) | Err(TaskError::WorkerLost(_))), "{outcome:?}");
    }
    assert!(pool.shutdown_timeout(TOO_LONG));
}

#[test]
fn a_pool_that_cannot_replace_its_workers_says_so() {
    run_alone("matrix::a_parent_without_descriptors");
}
