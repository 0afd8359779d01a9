//! How a row is measured: every contestant in a process of its own, asked in turn, round after round.
//!
//! A process each, because pools, allocator and page tables that another contestant has warmed or worn would show in
//! the figures. In turn (A B C A B C), because the machine drifts, and so drifts under all alike.

use std::io::{self, BufRead, BufReader, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What all contestants of a run have in common.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) workers: NonZeroUsize,
    /// Small counts: to see that all of it works, not how fast it is.
    pub(crate) quick: bool,
    /// Present in the binary whose allocator counts.
    pub(crate) counter: Option<Counter>,
}

impl Setting {
    /// The row's count, or the one for `--quick`.
    pub(crate) fn count(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }
}

/// Runs the work and returns what this thread allocated meanwhile.
pub type Counter = fn(&mut dyn FnMut()) -> Allocated;

/// What a thread allocated while it was counted.
#[derive(Clone, Copy)]
pub struct Allocated {
    /// How many allocations were made.
    pub count: u64,
    /// How many bytes they asked for.
    pub bytes: u64,
    /// How many bytes were held at the end and not at the start.
    pub live: i64,
}

/// One table: contestants that do the same work.
pub(crate) struct Row {
    /// Names the row to the contestants' processes.
    pub(crate) key: &'static str,
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
    /// The column that the ratios compare.
    pub(crate) ranked_by: Option<usize>,
    /// Whether all contestants run a round at the same time, as only idle ones may.
    pub(crate) at_once: bool,
    /// Whether the contestants need the allocator that counts.
    pub(crate) counted: bool,
    pub(crate) contestants: Vec<Contestant>,
}

/// One figure of a row.
pub(crate) struct Column {
    pub(crate) head: &'static str,
    /// Which figure of a round it shows.
    pub(crate) figure: usize,
    pub(crate) rounds: Rounds,
}

/// Which rounds a column shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounds {
    /// The first in its process, which pays for fresh memory and for starting threads.
    Cold,
    /// The median of all later ones.
    Warm,
}

/// One who takes part in a row.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// Prepares, in the contestant's own process, and returns what runs a round.
    pub(crate) start: fn(Setting) -> Round,
}

/// Runs one round and returns its figures.
pub(crate) type Round = Box<dyn FnMut() -> Vec<f64>>;

/// Why a contestant is in the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is what the others are compared with.
    Ours,
    /// It competes.
    Peer,
    /// It shows what the work itself costs, and is never the best peer.
    Baseline,
}

impl Contestant {
    pub(crate) fn ours(name: &'static str, start: fn(Setting) -> Round) -> Self {
        let role = Role::Ours;
        Self { name, role, start }
    }

    pub(crate) fn peer(name: &'static str, start: fn(Setting) -> Round) -> Self {
        let role = Role::Peer;
        Self { name, role, start }
    }

    pub(crate) fn baseline(name: &'static str, start: fn(Setting) -> Round) -> Self {
        let role = Role::Baseline;
        Self { name, role, start }
    }
}

/// Runs the row and returns the figures of each round of each contestant, the cold round first.
///
/// # Errors
///
/// If a contestant's process cannot be started, or ends before its time, as it does when a sum is wrong.
pub(crate) fn run(row: &Row, program: &Path, setting: Setting, runs: NonZeroUsize) -> io::Result<Vec<Vec<Vec<f64>>>> {
    let start = |contestant: &Contestant| Process::start(program, row.key, contestant.name, setting);
    let mut processes: Vec<Process> = row.contestants.iter().map(start).collect::<io::Result<_>>()?;

    let mut figures = vec![Vec::new(); processes.len()];
    for _ in 0..=runs.get() {
        if row.at_once {
            processes.iter_mut().try_for_each(Process::ask)?;
        }
        for (process, figures) in processes.iter_mut().zip(&mut figures) {
            if !row.at_once {
                process.ask()?;
            }
            figures.push(process.answer()?);
        }
    }
    Ok(figures)
}

/// Runs a round for each line that comes in, and prints its figures: the other end of [`run`].
///
/// # Errors
///
/// If the standard streams fail, which means that nobody listens any more.
pub(crate) fn serve(contestant: &Contestant, setting: Setting) -> io::Result<()> {
    let mut round = (contestant.start)(setting);
    for line in io::stdin().lines() {
        line?;
        let figures: Vec<String> = round().iter().map(f64::to_string).collect();
        writeln!(io::stdout(), "{}", figures.join(" "))?;
    }
    Ok(())
}

/// A contestant's process. Dropping it closes its input, at which it ends.
struct Process {
    name: String,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    child: Child,
}

impl Process {
    fn start(program: &Path, row: &str, name: &str, setting: Setting) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(["serve", row, name])
            .args(["--workers", &setting.workers.to_string()])
            .args(setting.quick.then_some("--quick"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self {
            name: format!("`{name}` in `{row}`"),
            questions: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().expect("its output is piped")),
            child,
        })
    }

    /// Asks for a round, and does not wait for it.
    fn ask(&mut self) -> io::Result<()> {
        let questions = self.questions.as_mut().expect("taken only when dropped");
        writeln!(questions, "round").map_err(|_| self.ended())
    }

    /// Waits for the round asked for, and returns its figures.
    fn answer(&mut self) -> io::Result<Vec<f64>> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let figures: Result<Vec<f64>, _> = line.split_whitespace().map(str::parse).collect();
        match figures {
            Ok(figures) if !figures.is_empty() => Ok(figures),
            Ok(_) | Err(_) => Err(self.ended()),
        }
    }

    fn ended(&self) -> io::Error {
        io::Error::other(format!("{} ended without an answer", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.questions.take());
        // Whatever its end was like, its figures are in.
        let _ = self.child.wait();
    }
}
