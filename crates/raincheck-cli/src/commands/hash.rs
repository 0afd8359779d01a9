//! `raincheck hash`: checksums of files and trees, written or checked.

mod ahead;
pub(super) mod algorithm;
mod check;
mod file;
pub(super) mod hashers;
pub(super) mod line;
mod output;
mod subtrees;
mod tree;

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use self::ahead::Ahead;
use self::algorithm::{Algorithm, Sum};
use self::check::{Check, CheckOptions};
use self::file::{Input, Place};
use self::line::{Ending, Format, Line};
use self::output::Output;
use self::tree::{Found, Tree, TreeOptions};
use crate::args::{ExecutorName, JobOptions, ReportOptions, Talk};
use crate::batch::{Batch, Calls, Failure, Tried};
use crate::error::{Error, Exit, cannot_write_output};
use crate::executors::{self, Chosen};
use crate::interrupt::Interrupt;
use crate::report::{Label, Plan, ProgressMode, Report, Verbosity};

/// How many jobs are under way for each worker: a small file is hashed within microseconds.
const UNDER_WAY: usize = 64;

/// What `raincheck hash` is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct HashArgs {
    /// Files, and folders with everything below them; `-` is standard input [default: -]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How sums are made; several at once in one reading, as in `-a sha256,blake3` [default: sha256; with --check, what
    /// the lines tell]
    #[arg(long = "algorithm", short, value_name = "NAME", value_delimiter = ',')]
    algorithms: Vec<Algorithm>,
    /// Read sums from the files named, and check them
    #[arg(long, short, conflicts_with = "TreeOptions")]
    check: bool,
    /// Write lines as BSD does, which name the algorithm; always so for several
    #[arg(long, conflicts_with = "check")]
    tag: bool,
    /// End lines with a NUL byte, and leave names as they are; with --check, read lists that are written so
    #[arg(long, short)]
    zero: bool,
    /// Write an asterisk before each name, as for files read in binary mode
    #[arg(long, short, conflicts_with_all = ["check", "tag"])]
    binary: bool,
    #[command(flatten)]
    checking: CheckOptions,
    #[command(flatten)]
    tree: TreeOptions,
    #[command(flatten)]
    jobs: JobOptions,
    #[command(flatten)]
    report: ReportOptions,
}

/// Does what was asked for.
pub(crate) fn run(args: HashArgs, talk: Talk) -> Result<Exit, Error> {
    let interrupt = Interrupt::install()?;
    if !args.check && args.names_stdin() && args.jobs.executor() == ExecutorName::Process {
        return Err(executors::stdin_stays_here());
    }
    let workers = Workers::new(&args.jobs)?;
    if args.check { check(args, talk, workers, &interrupt) } else { write(args, talk, workers, &interrupt) }
}

/// Who does the jobs.
struct Workers {
    executor: Chosen,
    place: Place,
    style: String,
}

impl Workers {
    fn new(options: &JobOptions) -> Result<Self, Error> {
        let (name, jobs) = (options.executor(), options.at_once());
        let place = match name {
            // Several threads go at one large file, but not several processes.
            ExecutorName::Process => Place { threads: 1, has_stdin: false },
            _ => Place { threads: jobs.get(), has_stdin: true },
        };
        Ok(Self { executor: executors::make(name, jobs)?, place, style: executors::style(name, jobs) })
    }
}

/// Writes the sums of all files.
fn write(args: HashArgs, talk: Talk, workers: Workers, interrupt: &Interrupt) -> Result<Exit, Error> {
    let algorithms = args.algorithms();
    let format = args.format(&algorithms);
    let mut plan = args.report.clone().plan("Sums of files", talk);
    if args.names_stdin() {
        plan = plan.reading_stdin("what is to be hashed");
    } else if args.tree.lists_by_stdin() {
        plan = plan.reading_stdin("names of files");
    }
    let picks = args.tree.picks();
    let tree = Tree::new(args.paths, args.tree)?;
    let plan = Plan { tells_summary: plan.verbosity > Verbosity::Normal, ..plan };
    let report = Report::open(plan, interrupt)?;
    report.style(&workers.style);
    let batch = Batch { under_way: UNDER_WAY, ..Batch::new(&report, interrupt, &args.jobs) };
    let found = Ahead::find(&report, interrupt, |take| {
        tree.visit(&mut |found| {
            let bytes = found.bytes;
            take(found, Some(bytes))
        })
    })?;
    let mut output = Output::new(&report);

    let way = Calls(|(_, found): (usize, Found)| {
        let input = Input { name: found.name, algorithms: algorithms.clone(), place: workers.place };
        sums_of::call(input, found.trouble)
    });
    let label = |(_, found): &(usize, Found)| Label::of(found.name.as_bytes());
    batch.run(workers.executor, found.enumerate(), label, &way, |(number, found), sums| {
        let sums = sums.unwrap_or_default();
        output.put(number, lines(&algorithms, sums, found.name.as_bytes(), format)).map_err(cannot_write_output)
    })?;
    output.end().map_err(cannot_write_output)?;
    if report.has_jobs() || interrupt.asked().is_some() {
        return report.finish();
    }
    match picks {
        // What someone has asked for by name is not there; an empty folder may be as it should be.
        Some(globs) => Err(Error::new(format!("no file matches {globs}"))),
        None => {
            report.note("there was nothing to hash");
            report.finish()
        }
    }
}

/// Makes the sums of a file, unless it is known that it cannot be read.
#[raincheck::task]
fn sums_of(input: Input, trouble: Option<String>) -> Tried<Vec<Sum>> {
    match trouble {
        Some(trouble) => Err(Failure::for_good(trouble)),
        None => file::sums(&input, &raincheck::progress),
    }
}

/// A line for each sum of a file.
fn lines(algorithms: &[Algorithm], sums: Vec<Sum>, name: &[u8], format: Format) -> Vec<u8> {
    let mut lines = Vec::new();
    for (algorithm, sum) in algorithms.iter().zip(sums) {
        Line { algorithm: *algorithm, sum, name: name.into() }.write(format, &mut lines);
    }
    lines
}

/// Checks the sums in the lists.
fn check(args: HashArgs, talk: Talk, workers: Workers, interrupt: &Interrupt) -> Result<Exit, Error> {
    let plan = args.report.clone().plan("Sums checked", talk);
    let quiet = plan.verbosity == Verbosity::Quiet;
    // Here `--quiet` means what it means to coreutils: whatever is wrong is told still.
    let progress = if quiet { ProgressMode::None } else { plan.progress };
    let plan = Plan {
        verbosity: plan.verbosity.max(Verbosity::Normal),
        tells_summary: plan.verbosity > Verbosity::Normal,
        tells_failures: false,
        expects_not_found: args.checking.ignores_missing(),
        progress,
        ..plan
    };
    let plan = if args.names_stdin() { plan.reading_stdin("a list of sums") } else { plan };
    let report = Report::open(plan, interrupt)?;
    report.style(&workers.style);
    let batch = Batch { under_way: UNDER_WAY, ..Batch::new(&report, interrupt, &args.jobs) };
    let check = Check {
        lists: if args.paths.is_empty() { vec!["-".into()] } else { args.paths.clone() },
        algorithms: args.algorithms.clone(),
        ending: args.ending(),
        options: args.checking,
        quiet,
    };
    let in_order = check.run(workers.executor, workers.place, &batch)?;
    match report.finish()? {
        Exit::AllDone if !in_order => Ok(Exit::SomeFailed),
        exit => Ok(exit),
    }
}

impl HashArgs {
    /// Whether standard input is among what is named.
    fn names_stdin(&self) -> bool {
        let names_none = self.paths.is_empty() && !self.tree.has_list();
        names_none || self.paths.iter().any(|path| path.as_os_str() == "-")
    }

    /// The algorithms to use, each once.
    fn algorithms(&self) -> Vec<Algorithm> {
        let mut algorithms = Vec::new();
        for algorithm in &self.algorithms {
            if !algorithms.contains(algorithm) {
                algorithms.push(*algorithm);
            }
        }
        if algorithms.is_empty() { vec![Algorithm::Sha256] } else { algorithms }
    }

    fn ending(&self) -> Ending {
        if self.zero { Ending::Nul } else { Ending::Newline }
    }

    fn format(&self, algorithms: &[Algorithm]) -> Format {
        Format { tagged: self.tag || algorithms.len() > 1, binary: self.binary, ending: self.ending() }
    }
}
