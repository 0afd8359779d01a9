//! What becomes of the inputs of a `map` that go to a process together, when it dies in one of them.
#![cfg(all(feature = "process", unix))]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use raincheck::{Executor, Options, Outcome, ProcessPool, TaskError};

/// Longer than anything takes here.
const TOO_LONG: Duration = Duration::from_secs(30);

/// A file in which each input leaves a line when it runs.
struct Record(PathBuf);

impl Record {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("raincheck-groups-{}-{test}", std::process::id()));
        fs::write(&path, "").unwrap();
        Self(path)
    }

    /// Which inputs have run, in order, each as often as it has.
    fn runs(&self) -> Vec<u32> {
        let mut runs: Vec<u32> =
            fs::read_to_string(&self.0).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        runs.sort_unstable();
        runs
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn note(record: &Path, n: u32) {
    fs::OpenOptions::new().append(true).open(record).unwrap().write_all(format!("{n}\n").as_bytes()).unwrap();
}

/// Returns a text of so many bytes, unless it dies of the input.
#[raincheck::task]
fn survive(record: &Path, n: u32, fatal: Vec<u32>, length: usize) -> String {
    note(record, n);
    if fatal.contains(&n) {
        std::process::abort();
    }
    assert_ne!(n, 5, "no umbrella");
    text(n, length)
}

fn text(n: u32, length: usize) -> String {
    format!("{n}{}", "-".repeat(length))
}

#[track_caller]
fn assert_cost(outcomes: &[Outcome<String>], fatal: &[u32], length: usize) {
    for (n, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(it) => assert_eq!(*it, text(n, length)),
            Err(TaskError::Panicked(_)) => assert_eq!(n, 5),
            Err(TaskError::WorkerLost(lost)) => {
                assert!(fatal.contains(&n), "input {n}: {}", lost.reason());
                assert_eq!(lost.death().unwrap().signal_name(), Some("SIGABRT"));
                assert!(lost.death().unwrap().task().unwrap().ends_with("::survive"));
            }
            Err(error) => panic!("input {n}: {error}"),
        }
    }
}

#[test]
fn a_crash_in_a_group_costs_its_own_input_and_none_runs_twice() {
    // The answers are small enough to be sent with the last one, too many for that, and each too large by itself.
    for length in [4, 4000, 70_000] {
        for fatal in [vec![0], vec![99], vec![17], vec![0, 1, 2, 50, 98, 99]] {
            let record = Record::new(&format!("{length}-{}", fatal.len() as u32 * 100 + fatal[0]));
            let pool = ProcessPool::new(2);
            let inputs = (0..100).map(|n| (record.0.clone(), n, fatal.clone(), length));

            let outcomes: Vec<_> = pool.map(survive::task(), inputs).group(100).collect();

            assert_eq!(outcomes.len(), 100);
            assert_cost(&outcomes, &fatal, length);
            assert_eq!(outcomes.iter().filter(|it| it.is_err()).count(), fatal.len() + 1);
            assert_eq!(record.runs(), (0..100).collect::<Vec<_>>());
        }
    }
}

#[test]
fn crashes_in_a_map_that_groups_by_itself_cost_their_own_inputs() {
    let record = Record::new("by-itself");
    let fatal = vec![800, 1200, 1201, 1999];
    let pool = ProcessPool::new(2);
    let inputs = (0..2000).map(|n| (record.0.clone(), n, fatal.clone(), 4));

    let outcomes: Vec<_> = pool.map(survive::task(), inputs).collect();

    assert_cost(&outcomes, &fatal, 4);
    assert_eq!(outcomes.iter().filter(|it| it.is_err()).count(), 5);
    assert_eq!(record.runs(), (0..2000).collect::<Vec<_>>());
}

#[test]
fn a_group_that_goes_on_is_seen_to_start_once_and_to_finish_once() {
    let (send, receive) = std::sync::mpsc::channel();
    let send = std::sync::Mutex::new(send);
    let record = Record::new("observed");
    let pool = ProcessPool::new(1);
    let observed = pool.with(Options::new().observer(move |event: &raincheck::Event| {
        send.lock().unwrap().send(event.moment).unwrap();
    }));
    let inputs = (0..10).map(|n| (record.0.clone(), n, vec![3, 6], 4));

    let outcomes: Vec<_> = observed.map(survive::task(), inputs).group(10).collect();

    assert_eq!(outcomes.iter().filter(|it| it.is_err()).count(), 3);
    use raincheck::{Ending, Moment};
    let seen: Vec<_> = receive.try_iter().collect();
    let count = |is_it: fn(&Moment) -> bool| seen.iter().filter(|moment| is_it(moment)).count();
    // One, unless making the inputs took so long that they became two groups.
    let groups = count(|moment| matches!(moment, Moment::Submitted));
    assert_eq!(count(|moment| matches!(moment, Moment::Started(_))), groups, "{seen:?}");
    assert_eq!(count(|moment| matches!(moment, Moment::Finished(Ending::Returned))), groups, "{seen:?}");
    assert_eq!(seen.len(), 3 * groups, "{seen:?}");
}

#[test]
fn a_group_that_went_on_can_be_cancelled() {
    #[raincheck::task]
    fn hang(record: &Path, n: u32) {
        note(record, n);
        match n {
            0 => std::process::abort(),
            _ => std::thread::sleep(TOO_LONG),
        }
    }
    let record = Record::new("cancelled");
    let pool = ProcessPool::new(1);
    let map = pool.map(hang::task(), (0..3).map(|n| (record.0.clone(), n))).group(3).start();
    let start = Instant::now();
    while record.runs() != [0, 1] {
        assert!(start.elapsed() < TOO_LONG);
        std::thread::yield_now();
    }

    drop(map);
    drop(pool);

    assert!(start.elapsed() < TOO_LONG / 2);
    assert_eq!(record.runs(), [0, 1]);
}

#[test]
fn the_answers_of_a_group_outlive_the_pool_that_cannot_go_on_with_it() {
    let record = Record::new("broken");
    let program = record.0.with_extension("worker");
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
    #[raincheck::task]
    fn pull_the_ladder_up(record: &Path, program: &Path, n: u32) -> u32 {
        note(record, n);
        if n == 2 {
            fs::remove_file(program).unwrap();
            std::process::abort();
        }
        n
    }
    let pool = ProcessPool::builder().workers(1).worker_program(&program).build();

    let inputs = (0..5).map(|n| (record.0.clone(), program.clone(), n));
    let outcomes: Vec<_> = pool.map(pull_the_ladder_up::task(), inputs).group(5).collect();

    assert_eq!(outcomes[..2], [Ok(0), Ok(1)]);
    let why: Vec<_> = outcomes[2..].iter().map(|outcome| outcome.as_ref().unwrap_err().to_string()).collect();
    assert!(why[0].contains("SIGABRT"), "{why:?}");
    assert!(why[1].contains("No such file") && why[2].contains("No such file"), "{why:?}");
}
