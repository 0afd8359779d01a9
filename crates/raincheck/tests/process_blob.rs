//! Many bytes as arguments and values: shared by processes, and gone when nobody holds them.
#![cfg(all(feature = "process", unix))]

#[cfg(target_os = "linux")]
use std::fs;
use std::{io, time::Duration};

use raincheck::{Blob, Executor, Inline, Outcome, ProcessPool, TaskError, TaskFuture, ThreadPool};
use serde::{Deserialize, Serialize};

/// Longer than anything takes here.
const TOO_LONG: Duration = Duration::from_secs(60);

/// What is larger crosses as memory.
const LEAST: usize = 128 * 1024;

#[track_caller]
fn claim<T: Send + 'static>(future: TaskFuture<T>) -> Outcome<T> {
    future.result_timeout(TOO_LONG).unwrap_or_else(|future| panic!("it hangs: {future:?}"))
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|place| (place / 4096) as u8 ^ seed).collect()
}

#[raincheck::task]
fn echo(blob: Blob) -> Blob {
    blob
}

#[raincheck::task]
fn inverted(blob: Blob) -> Blob {
    Blob::build(blob.len(), |to| to.iter_mut().zip(blob.iter()).for_each(|(to, from)| *to = !from))
}

#[raincheck::task]
fn pid() -> u32 {
    std::process::id()
}

#[test]
fn blobs_of_every_size_go_there_and_back_on_every_executor() {
    fn there_and_back(executor: &impl Executor) {
        for len in [0, 1, 2, 1000, LEAST - 1, LEAST, LEAST + 1, 3_000_001] {
            let bytes = pattern(len, 7);
            let not: Vec<u8> = bytes.iter().map(|byte| !byte).collect();

            assert!(*claim(executor.submit(echo::call(bytes.clone().into()))).unwrap() == bytes[..]);
            assert!(*claim(executor.submit(inverted::call(bytes[..].into()))).unwrap() == not[..]);
        }
    }
    there_and_back(&Inline::new());
    there_and_back(&ThreadPool::new(1));
    there_and_back(&ProcessPool::new(1));
}

#[test]
fn a_blob_may_be_anywhere_in_a_value() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Page {
        Text(String),
        Picture { width: u32, pixels: Blob },
    }
    #[raincheck::task]
    fn turn(pages: Vec<Page>, cover: Option<Blob>) -> io::Result<(Vec<Page>, Option<Blob>)> {
        Ok((pages.into_iter().rev().collect(), cover))
    }
    let pages = || {
        let big = Blob::from(pattern(LEAST, 1));
        vec![
            Page::Text("rain".into()),
            Page::Picture { width: 640, pixels: big.clone() },
            Page::Picture { width: 320, pixels: pattern(3 * LEAST, 2).into() },
            Page::Picture { width: 160, pixels: big },
        ]
    };

    let (turned, cover) =
        claim(ProcessPool::new(1).submit(turn::call(pages(), Some(pattern(LEAST, 3).into())))).unwrap().unwrap();

    assert!(turned.iter().rev().eq(&pages()));
    assert!(*cover.unwrap() == pattern(LEAST, 3)[..]);
}

#[test]
fn serde_knows_a_blob_as_bytes_outside_the_pool() {
    #[raincheck::task]
    fn as_json(blob: Blob) -> String {
        serde_json::to_string(&blob).unwrap()
    }
    let blob = Blob::from(vec![1, 2, 255]);
    assert_eq!(serde_json::to_string(&blob).unwrap(), "[1,2,255]");
    assert_eq!(serde_json::from_str::<Blob>("[1,2,255]").unwrap(), blob);

    let large = Blob::from(pattern(LEAST, 0));
    let json = claim(ProcessPool::new(1).submit(as_json::call(large.clone()))).unwrap();

    assert_eq!(serde_json::from_str::<Blob>(&json).unwrap(), large);
}

/// Whether these bytes lie in memory that has no name and is shared.
#[cfg(target_os = "linux")]
fn is_shared(bytes: &[u8]) -> bool {
    let address = bytes.as_ptr() as usize;
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        (usize::from_str_radix(start, 16).unwrap()..usize::from_str_radix(end, 16).unwrap()).contains(&address)
    });
    line.unwrap().contains("/memfd:raincheck")
}

#[test]
#[cfg(target_os = "linux")]
fn a_large_blob_is_mapped_and_not_copied() {
    #[raincheck::task]
    fn looks(blob: Blob) -> (bool, Blob) {
        (is_shared(&blob), Blob::from(vec![1; blob.len()]))
    }
    let pool = ProcessPool::new(1);

    let (was_shared, large) = claim(pool.submit(looks::call(vec![0; LEAST].into()))).unwrap();
    let (was_small_shared, small) = claim(pool.submit(looks::call(vec![0; 1000].into()))).unwrap();

    assert_eq!((was_shared, is_shared(&large)), (true, true));
    assert_eq!((was_small_shared, is_shared(&small)), (false, false));
}

#[test]
fn a_map_over_blobs_comes_back_whole_also_when_a_worker_dies_in_it() {
    #[raincheck::task]
    fn grow(n: u8, blob: Blob) -> Blob {
        if n == 3 {
            std::process::abort();
        }
        Blob::build(blob.len() * 2, |to| to.fill(n))
    }
    let pool = ProcessPool::new(2);
    for group in [1, 6] {
        let inputs = (0..12).map(|n| (n, Blob::from(vec![n; LEAST])));

        let outcomes: Vec<_> = pool.map(grow::task(), inputs).group(group).collect();

        for (n, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(blob) => assert!(n != 3 && *blob == vec![n; 2 * LEAST][..]),
                Err(TaskError::WorkerLost(_)) => assert_eq!(n, 3),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn what_is_held_is_not_written_over() {
    let pool = ProcessPool::new(2);
    let mut held = Vec::new();
    for n in 0..40 {
        let blob = Blob::from(vec![n; LEAST]);
        held.push((n, claim(pool.submit(echo::call(blob.clone()))).unwrap()));
        held.push((!n, claim(pool.submit(inverted::call(blob))).unwrap()));
        if n % 3 == 0 {
            held.remove(0);
        }
    }
    drop(pool);

    assert!(held.iter().all(|(byte, blob)| **blob == vec![*byte; LEAST][..]));
}

#[test]
fn workers_read_one_table_that_was_set_up_once() {
    struct Table(Blob);
    #[raincheck::task]
    fn load(table: Blob) -> Table {
        Table(table)
    }
    #[raincheck::task]
    fn look_up(place: usize) -> Option<(u8, u32)> {
        raincheck::with_worker_state(|table: &mut Table| (table.0[place], std::process::id()))
    }
    let table = Blob::from(pattern(8 * LEAST, 5));
    let pool = ProcessPool::builder().workers(2).worker_state(load::call(table.clone())).build();

    let found: Vec<_> = (0..100).map(|n| pool.submit(look_up::call(n * 9000))).map(claim).collect();

    for (n, found) in found.into_iter().enumerate() {
        assert_eq!(found.unwrap().unwrap().0, table[n * 9000]);
    }
}

#[test]
fn one_gibibyte_crosses() {
    #[raincheck::task]
    fn ends(blob: Blob) -> (usize, u8, u8) {
        (blob.len(), blob[0], blob[blob.len() - 1])
    }
    // The system gives memory for what is written alone.
    let blob = Blob::build(1 << 30, |to| (to[0], to[(1 << 30) - 1]) = (1, 2));

    assert_eq!(claim(ProcessPool::new(1).submit(ends::call(blob))), Ok((1 << 30, 1, 2)));
}

/// A segment more may be needed when one comes back late; two hundred calls and ten deaths would show.
#[cfg(target_os = "linux")]
#[track_caller]
fn assert_no_more(now: [usize; 4], before: [usize; 4]) {
    assert!(now.iter().zip(before).all(|(now, before)| *now <= before + 4), "{now:?} after {before:?}");
}

/// What the next test starts as a program of its own, where nobody else opens anything.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "only started by another test"]
fn program_whose_descriptors_are_counted() {
    #[raincheck::task]
    fn die(blob: Blob) -> usize {
        assert!(!blob.is_empty());
        std::process::abort()
    }
    #[raincheck::task]
    fn descriptors() -> usize {
        fs::read_dir("/proc/self/fd").unwrap().count()
    }
    fn mappings(of: &str) -> usize {
        let maps = fs::read_to_string(format!("/proc/{of}/maps")).unwrap();
        maps.lines().filter(|line| line.contains("/memfd:raincheck")).count()
    }
    let pool = ProcessPool::new(1);
    let round = || {
        for n in 0..20 {
            let blob = Blob::from(vec![n; LEAST]);
            assert!(*claim(pool.submit(echo::call(blob.clone()))).unwrap() == vec![n; LEAST][..]);
            assert!(*claim(pool.submit(inverted::call(blob))).unwrap() == vec![!n; LEAST][..]);
        }
    };
    let count = || {
        let worker = claim(pool.submit(pid::call())).unwrap().to_string();
        let here = fs::read_dir("/proc/self/fd").unwrap().count();
        [here, claim(pool.submit(descriptors::call())).unwrap(), mappings("self"), mappings(&worker)]
    };

    round();
    let before = count();
    for _ in 0..5 {
        round();
    }
    assert_no_more(count(), before);

    // A death gives back what its worker held.
    for _ in 0..10 {
        claim(pool.submit(die::call(vec![1; LEAST].into()))).unwrap_err();
    }
    round();
    assert_no_more(count(), before);
}

#[test]
#[cfg(target_os = "linux")]
fn neither_descriptors_nor_memory_grow_with_the_calls_nor_with_deaths() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "program_whose_descriptors_are_counted"])
        .output()
        .unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
