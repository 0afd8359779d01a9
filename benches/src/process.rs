//! The rows of the pool of processes, beside Python's pools and what the system itself takes.
//!
//! Python's are started from `benches/process/peers.py`, once `benches/process/setup` has made them ready. procspawn's
//! calls are joined in the order in which they were made, since otherwise its pool can hang, and so many at a time, since
//! each holds descriptors.

use std::{
    collections::VecDeque,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use raincheck::{Blob, Call, Executor, ProcessPool, TaskFunction};

use crate::measure::{Column, Contestant, Round, Rounds, Row, Setting};

pub(crate) fn rows(setting: Setting) -> Vec<Row> {
    let tasks = Work::Submit.count(setting);
    vec![
        row(
            "process-submit",
            format!("submit {tasks} calls to processes, then claim all"),
            &["µs/task"],
            vec![
                Contestant::ours("raincheck", submit),
                Contestant::peer("procspawn, 100 at a time", procspawn_submit),
                Contestant::baseline("`cat`, 64 frames a write", |setting| stream(setting, 64)),
                Contestant::baseline("`cat`, 1 frame a write", |setting| stream(setting, 1)),
            ],
            Work::Submit,
        ),
        row(
            "process-map",
            format!("map {} numbers over processes", Work::Map.count(setting)),
            &["µs/item"],
            vec![Contestant::ours("raincheck", map)],
            Work::Map,
        ),
        row(
            "process-pingpong",
            "submit one call to processes, wait for it".into(),
            &["p50 µs", "p99 µs"],
            vec![
                Contestant::ours("raincheck", ping_pong),
                Contestant::peer("procspawn", procspawn_ping_pong),
                Contestant::baseline("a socket pair and `cat`", raw_ping_pong),
            ],
            Work::PingPong,
        ),
        row(
            "process-bytes",
            format!("{} MiB there and back", Work::Bytes.count(setting) >> 20),
            &["ms"],
            vec![
                Contestant::ours("raincheck, a `Blob`", |setting| bytes(setting, echo::call)),
                Contestant::ours("raincheck, a `Blob` made anew", |setting| bytes(setting, remake::call)),
                Contestant::peer("procspawn", procspawn_bytes),
                Contestant::baseline("a socket pair and `cat`", raw_bytes),
            ],
            Work::Bytes,
        ),
        row(
            "process-start",
            "the first result of a new pool".into(),
            &["ms"],
            vec![
                Contestant::ours("raincheck", start),
                Contestant::peer("procspawn", procspawn_start),
                Contestant::baseline("`true`, started and waited for", raw_start),
            ],
            Work::Start,
        ),
        row(
            "process-abort",
            "a worker aborts: until it is told, and how many of 20 that waited are lost".into(),
            &["ms", "lost"],
            vec![Contestant::ours("raincheck", abort), Contestant::peer("procspawn", procspawn_abort)],
            Work::Abort,
        ),
        row(
            "process-memory",
            format!("what the parent holds more with {} calls that wait", Work::Memory.count(setting)),
            &["MB"],
            vec![Contestant::ours("raincheck", memory)],
            Work::Memory,
        ),
    ]
}

/// What is done in a row, as the script is told.
#[derive(Clone, Copy)]
enum Work {
    Submit,
    Map,
    PingPong,
    Bytes,
    Start,
    Abort,
    Memory,
}

impl Work {
    fn count(self, setting: Setting) -> u64 {
        match self {
            Self::Submit | Self::Memory => setting.count(100_000, 500),
            Self::Map => setting.count(1_000_000, 5_000),
            Self::PingPong => setting.count(5_000, 50),
            Self::Bytes => setting.count(64 << 20, 1 << 20),
            Self::Start | Self::Abort => 20,
        }
    }

    /// A tenth for the peers, per task or item, so that a round takes seconds and not minutes. Memory is compared whole.
    fn count_of_peers(self, setting: Setting) -> u64 {
        match self {
            Self::Submit | Self::Map | Self::PingPong => self.count(setting).div_ceil(10),
            Self::Bytes | Self::Start | Self::Abort | Self::Memory => self.count(setting),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Map => "map",
            Self::PingPong => "pingpong",
            Self::Bytes => "bytes",
            Self::Start => "start",
            Self::Abort => "abort",
            Self::Memory => "memory",
        }
    }
}

fn row(key: &'static str, title: String, heads: &[&'static str], mut contestants: Vec<Contestant>, work: Work) -> Row {
    if python().exists() {
        contestants.extend(pythons(work));
    }
    // What one round has freed serves the next, which would seem to need no memory.
    let rounds = if matches!(work, Work::Memory) { Rounds::Cold } else { Rounds::Warm };
    let columns = (0..).zip(heads).map(|(figure, head)| Column { head, figure, rounds }).collect();
    Row { key, title, columns, ranked_by: Some(0), at_once: false, counted: false, contestants }
}

/// Whether a row has fewer contestants than it should, since they are not there.
pub(crate) fn lacks_peers(row: &Row) -> bool {
    row.key.starts_with("process-") && !python().exists()
}

/// Where `benches/process/setup` puts it.
fn python() -> PathBuf {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("python-pools/bin/python")
}

macro_rules! python_peers {
    ($work:expr, $($row:ident),+) => {
        match $work {
            $(Work::$row => vec![
                Contestant::peer("ProcessPoolExecutor", |setting| of_python(setting, Work::$row, "ProcessPoolExecutor")),
                Contestant::peer("multiprocessing.Pool", |setting| of_python(setting, Work::$row, "multiprocessing.Pool")),
                Contestant::peer("loky", |setting| of_python(setting, Work::$row, "loky")),
                Contestant::peer("pebble", |setting| of_python(setting, Work::$row, "pebble")),
                Contestant::peer("mpire", |setting| of_python(setting, Work::$row, "mpire")),
            ],)+
        }
    };
}

fn pythons(work: Work) -> Vec<Contestant> {
    python_peers!(work, Submit, Map, PingPong, Bytes, Start, Abort, Memory)
}

#[expect(clippy::zombie_processes, reason = "it ends when its input does, which is when this process ends")]
fn of_python(setting: Setting, work: Work, pool: &str) -> Round {
    let mut script = Command::new(python())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/process/peers.py"))
        .args([work.name(), pool, &setting.workers.to_string(), &work.count_of_peers(setting).to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // What its pools say of a crash is known.
        .stderr(Stdio::null())
        .spawn()
        .expect("Python starts");
    let mut questions = script.stdin.take().expect("it is piped");
    let mut answers = BufReader::new(script.stdout.take().expect("it is piped"));
    Box::new(move || {
        writeln!(questions, "round").expect("the script reads");
        let mut line = String::new();
        answers.read_line(&mut line).expect("the script answers");
        line.split_whitespace().map(|figure| figure.parse().expect("it is a figure")).collect()
    })
}

#[raincheck::task]
fn double(number: u64) -> u64 {
    2 * number
}

#[raincheck::task]
fn echo(bytes: Blob) -> Blob {
    bytes
}

/// Gives back other bytes than it was given.
#[raincheck::task]
fn remake(bytes: Blob) -> Blob {
    Blob::build(bytes.len(), |remade| remade.copy_from_slice(&bytes))
}

#[raincheck::task]
fn crash() {
    std::process::abort();
}

#[raincheck::task]
fn sleep(time: Duration) {
    thread::sleep(time);
}

fn pool(setting: Setting) -> ProcessPool {
    let pool = ProcessPool::new(setting.workers.get());
    let first: Vec<_> = (0..64).map(|n| pool.submit(double::call(n))).collect();
    first.into_iter().for_each(|task| drop(task.result()));
    pool
}

fn submit(setting: Setting) -> Round {
    let (pool, tasks) = (pool(setting), Work::Submit.count(setting));
    Box::new(move || {
        let begun = Instant::now();
        let claims: Vec<_> = (0..tasks).map(|n| pool.submit(double::call(n))).collect();
        let sum: u64 = claims.into_iter().map(|task| task.result().expect(RETURNS)).sum();
        let taken = begun.elapsed();
        assert_eq!(sum, tasks * (tasks - 1));
        vec![micros(taken) / tasks as f64]
    })
}

fn map(setting: Setting) -> Round {
    let (pool, items) = (pool(setting), Work::Map.count(setting));
    Box::new(move || {
        let begun = Instant::now();
        let sum: u64 = pool.map(double::task(), 0..items).map(|value| value.expect(RETURNS)).sum();
        let taken = begun.elapsed();
        assert_eq!(sum, items * (items - 1));
        vec![micros(taken) / items as f64]
    })
}

fn ping_pong(setting: Setting) -> Round {
    let (pool, turns) = (pool(setting), Work::PingPong.count(setting));
    Box::new(move || percentiles((0..turns).map(|n| timed(|| pool.submit(double::call(n)).result().expect(RETURNS)))))
}

fn bytes<F: TaskFunction<Output = Blob>>(setting: Setting, call: fn(Blob) -> Call<F>) -> Round {
    let (pool, size) = (pool(setting), Work::Bytes.count(setting) as usize);
    Box::new(move || {
        let argument = vec![7; size];
        let begun = Instant::now();
        let value = pool.submit(call(argument.into())).result().expect(RETURNS);
        let sum = sum(&value);
        let taken = begun.elapsed();
        assert_eq!(sum, sum_of_sevens(size));
        vec![micros(taken) / 1e3]
    })
}

/// Reads the whole of it, as whoever wanted it would, and as fast as memory is read: eight bytes at a time.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    assert!(rest.is_empty(), "the bench has no such size");
    words.iter().fold(0, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)))
}

fn sum_of_sevens(size: usize) -> u64 {
    u64::from_ne_bytes([7; 8]).wrapping_mul(size as u64 / 8)
}

fn start(setting: Setting) -> Round {
    Box::new(move || {
        let begun = Instant::now();
        let pool = ProcessPool::new(setting.workers.get());
        let value = pool.submit(double::call(21)).result().expect(RETURNS);
        let taken = begun.elapsed();
        assert_eq!(value, 42);
        vec![micros(taken) / 1e3]
    })
}

fn abort(setting: Setting) -> Round {
    Box::new(move || {
        let pool = pool(setting);
        let begun = Instant::now();
        let victim = pool.submit(crash::call());
        let pending: Vec<_> = (0..20).map(|n| pool.submit(double::call(n))).collect();
        assert!(victim.result().is_err());
        let taken = begun.elapsed();
        let lost = pending.into_iter().map(|task| task.result()).filter(Result::is_err).count();
        vec![micros(taken) / 1e3, lost as f64]
    })
}

fn memory(setting: Setting) -> Round {
    Box::new(move || {
        let (pool, tasks) = (pool(setting), Work::Memory.count(setting));
        let keepers: Vec<_> =
            (0..setting.workers.get()).map(|_| pool.submit(sleep::call(Duration::from_secs(1)))).collect();
        let mut claims = Vec::with_capacity(tasks as usize);
        let before = resident();
        claims.extend((0..tasks).map(|n| pool.submit(double::call(n))));
        let held = resident().saturating_sub(before);
        keepers.into_iter().for_each(|task| task.result().expect(RETURNS));
        let sum: u64 = claims.into_iter().map(|task| task.result().expect(RETURNS)).sum();
        assert_eq!(sum, tasks * (tasks - 1));
        vec![held as f64 / 1e6]
    })
}

fn procspawn_pool(setting: Setting) -> procspawn::Pool {
    let pool = procspawn::Pool::new(setting.workers.get()).expect("there are descriptors");
    let first: Vec<_> = (0..64).map(|n| pool.spawn(n, twice)).collect();
    first.into_iter().for_each(|call| drop(call.join()));
    pool
}

fn twice(number: u64) -> u64 {
    2 * number
}

fn procspawn_submit(setting: Setting) -> Round {
    const AT_A_TIME: usize = 100;
    let (pool, tasks) = (procspawn_pool(setting), Work::Submit.count_of_peers(setting));
    Box::new(move || {
        let begun = Instant::now();
        let mut claims = VecDeque::with_capacity(AT_A_TIME);
        let mut sum = 0;
        for n in 0..tasks {
            if claims.len() == AT_A_TIME {
                sum += claim_first(&mut claims);
            }
            claims.push_back(pool.spawn(n, twice));
        }
        while !claims.is_empty() {
            sum += claim_first(&mut claims);
        }
        let taken = begun.elapsed();
        assert_eq!(sum, tasks * (tasks - 1));
        vec![micros(taken) / tasks as f64]
    })
}

fn claim_first(claims: &mut VecDeque<procspawn::JoinHandle<u64>>) -> u64 {
    claims.pop_front().expect("one is there").join().expect(RETURNS)
}

fn procspawn_ping_pong(setting: Setting) -> Round {
    let (pool, turns) = (procspawn_pool(setting), Work::PingPong.count_of_peers(setting));
    Box::new(move || percentiles((0..turns).map(|n| timed(|| pool.spawn(n, twice).join().expect(RETURNS)))))
}

fn procspawn_bytes(setting: Setting) -> Round {
    let (pool, size) = (procspawn_pool(setting), Work::Bytes.count_of_peers(setting) as usize);
    Box::new(move || {
        let argument = vec![7_u8; size];
        let begun = Instant::now();
        let value = pool.spawn(argument, |bytes| bytes).join().expect(RETURNS);
        let sum = sum(&value);
        let taken = begun.elapsed();
        assert_eq!(sum, sum_of_sevens(size));
        vec![micros(taken) / 1e3]
    })
}

fn procspawn_start(setting: Setting) -> Round {
    Box::new(move || {
        let begun = Instant::now();
        let pool = procspawn::Pool::new(setting.workers.get()).expect("there are descriptors");
        let value = pool.spawn(21, twice).join().expect(RETURNS);
        let taken = begun.elapsed();
        assert_eq!(value, 42);
        vec![micros(taken) / 1e3]
    })
}

fn procspawn_abort(setting: Setting) -> Round {
    Box::new(move || {
        let pool = procspawn_pool(setting);
        let begun = Instant::now();
        let victim = pool.spawn((), |()| std::process::abort());
        let pending: Vec<_> = (0..20).map(|n| pool.spawn(n, twice)).collect();
        let victim: Result<(), _> = victim.join();
        assert!(victim.is_err());
        let taken = begun.elapsed();
        let lost = pending.into_iter().map(procspawn::JoinHandle::join).filter(Result::is_err).count();
        vec![micros(taken) / 1e3, lost as f64]
    })
}

/// How many bytes of this process are in memory.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("on Linux it is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has one");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("it is a number") * 1024
}

/// Another process that sends back what it is sent.
struct Cat {
    socket: UnixStream,
    child: Child,
}

impl Cat {
    fn start() -> Self {
        let (socket, theirs) = UnixStream::pair().expect("there are descriptors");
        let theirs = OwnedFd::from(theirs);
        let input = theirs.try_clone().expect("there are descriptors");
        let child = Command::new("cat").stdin(input).stdout(theirs).spawn().expect("`cat` is everywhere");
        Self { socket, child }
    }
}

impl Drop for Cat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As large as the head of a frame and a number.
const FRAME: usize = 32;

fn stream(setting: Setting, frames: usize) -> Round {
    let (cat, tasks) = (Cat::start(), Work::Submit.count(setting) as usize);
    Box::new(move || {
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| {
                let bytes = vec![7; frames * FRAME];
                (0..tasks / frames).for_each(|_| (&cat.socket).write_all(&bytes).expect("`cat` reads"));
            });
            let mut rest = tasks / frames * frames * FRAME;
            let mut bytes = vec![0; 1 << 16];
            while rest > 0 {
                rest -= (&cat.socket).read(&mut bytes).expect("`cat` writes");
            }
        });
        vec![micros(begun.elapsed()) / tasks as f64]
    })
}

fn raw_ping_pong(setting: Setting) -> Round {
    let (cat, turns) = (Cat::start(), Work::PingPong.count(setting));
    Box::new(move || {
        percentiles((0..turns).map(|_| {
            timed(|| {
                let mut bytes = [7; FRAME];
                (&cat.socket).write_all(&bytes).expect("`cat` reads");
                (&cat.socket).read_exact(&mut bytes).expect("`cat` writes");
            })
        }))
    })
}

fn raw_bytes(setting: Setting) -> Round {
    let (cat, size) = (Cat::start(), Work::Bytes.count(setting) as usize);
    let (there, mut back) = (vec![7; size], vec![0; size]);
    Box::new(move || {
        let begun = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| (&cat.socket).write_all(&there).expect("`cat` reads"));
            (&cat.socket).read_exact(&mut back).expect("`cat` writes");
        });
        let sum = sum(&back);
        let taken = begun.elapsed();
        assert_eq!(sum, sum_of_sevens(size));
        vec![micros(taken) / 1e3]
    })
}

fn raw_start(_setting: Setting) -> Round {
    Box::new(|| vec![micros(timed(|| Command::new("true").status().expect("`true` is everywhere"))) / 1e3])
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    drop(work());
    begun.elapsed()
}

fn percentiles(turns: impl Iterator<Item = Duration>) -> Vec<f64> {
    let mut turns: Vec<Duration> = turns.collect();
    turns.sort_unstable();
    vec![micros(turns[turns.len() / 2]), micros(turns[turns.len() * 99 / 100])]
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

const RETURNS: &str = "the task returns";
