//! What becomes of tasks whose workers are processes, whatever happens to these.
#![cfg(all(feature = "process", unix))]

#[cfg(target_os = "linux")]
mod abuse;
mod chaos;
#[cfg(target_os = "linux")]
mod daemons;
mod deaths;
#[cfg(target_os = "linux")]
mod hosts;
mod leaks;
mod listening;
mod matrix;
mod stale;
mod streams;
mod traps;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use raincheck::{Outcome, TaskFuture};

/// Longer than anything takes here; what takes longer hangs, and the test fails.
const TOO_LONG: Duration = Duration::from_secs(30);

#[track_caller]
fn claim<T: Send + 'static>(future: TaskFuture<T>) -> Outcome<T> {
    future.result_timeout(TOO_LONG).unwrap_or_else(|future| panic!("it hangs: {future:?}"))
}

#[raincheck::task]
fn area(width: u32, height: u32) -> u32 {
    width * height
}

#[raincheck::task]
fn pid() -> u32 {
    std::process::id()
}

/// A folder for the test alone, where processes meet: who arrives leaves a file, and waits for another.
struct Meeting(PathBuf);

impl Meeting {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("raincheck-test-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.clone()
    }

    /// Waits until so many tasks have arrived.
    #[track_caller]
    fn wait_for(&self, arrived: usize) {
        let start = Instant::now();
        while fs::read_dir(&self.0).unwrap().filter(|it| it.as_ref().unwrap().file_name() != "open").count() < arrived {
            assert!(start.elapsed() < TOO_LONG, "fewer than {arrived} arrived");
            thread::yield_now();
        }
    }

    fn open(&self) {
        fs::write(self.0.join("open"), "").unwrap();
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Arrives, and waits until the meeting is open.
#[raincheck::task]
fn meet(folder: &Path, name: u32) -> u32 {
    fs::write(folder.join(name.to_string()), std::process::id().to_string()).unwrap();
    wait_until_open(folder);
    name
}

/// Waits, in another process than the one that opens it.
fn wait_until_open(folder: &Path) {
    let start = Instant::now();
    while !folder.join("open").exists() {
        assert!(start.elapsed() < TOO_LONG, "the meeting was never opened");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process is there, and no zombie that whoever has it now will reap.
fn is_there(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !matches!(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()), Some('Z' | 'X')))
}

/// Waits until a process is gone. `false` if it stays.
fn is_gone(pid: u32) -> bool {
    let start = Instant::now();
    while is_there(pid) {
        if start.elapsed() > Duration::from_secs(1) {
            return false;
        }
        thread::yield_now();
    }
    true
}

#[track_caller]
fn assert_gone(pid: u32) {
    assert!(is_gone(pid), "process {pid} is still there");
}

/// Runs one of the ignored tests in a process of its own, where nothing else runs.
#[track_caller]
fn run_alone(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact", test])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
