//! raincheck beside its peers: one run on one machine, Markdown tables of medians and ratios.
//!
//! `cargo run --release -p raincheck-bench -- submit` and so on; `--help` lists the topics. Start reading at `rows`.

mod measure;
mod peers;
#[cfg(target_os = "linux")]
mod process;
mod raincheck_peer;
mod rows;
mod table;

use std::env;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;

use clap::{Parser, Subcommand, ValueEnum};

use measure::{Row, Setting};
use rows::Topic;
use table::Table;

pub use measure::{Allocated, Counter};

/// Measures raincheck beside its peers, and prints Markdown tables
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    /// What to measure [default: everything]
    topics: Vec<Topic>,

    #[command(subcommand)]
    served: Option<Served>,

    /// How many warm rounds to take the median of
    #[arg(long, value_name = "N", default_value = "5")]
    runs: NonZeroUsize,

    /// How many worker threads each pool has [default: one per core]
    #[arg(long, value_name = "N", global = true)]
    workers: Option<NonZeroUsize>,

    /// Small counts and one round: shows that all of it works, not how fast it is
    #[arg(long, global = true)]
    quick: bool,
}

#[derive(Subcommand)]
enum Served {
    /// Be one contestant of one row, and run a round for each line on stdin
    #[command(hide = true)]
    Serve { row: String, contestant: String },
}

/// Runs the program as its arguments say. The rows that count allocations need a counter.
pub fn run(counter: Option<Counter>) -> ExitCode {
    // Which a worker of its does not come back from.
    #[cfg(target_os = "linux")]
    procspawn::init();
    let args = Args::parse();
    let cores = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let setting = Setting { workers: args.workers.unwrap_or(cores), quick: args.quick, counter };
    let done = match &args.served {
        Some(Served::Serve { row, contestant }) => serve(row, contestant, setting),
        None => compare(&args, cores, setting),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With nobody left to tell, the exit code tells it.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(row: &str, contestant: &str, setting: Setting) -> io::Result<()> {
    let rows = Topic::value_variants().iter().flat_map(|topic| topic.rows(setting));
    let named = rows
        .filter(|candidate| candidate.key == row)
        .flat_map(|row| row.contestants)
        .find(|candidate| candidate.name == contestant);
    let Some(contestant) = named else {
        return Err(io::Error::other(format!("no `{contestant}` in `{row}`")));
    };
    measure::serve(&contestant, setting)
}

fn compare(args: &Args, cores: NonZeroUsize, setting: Setting) -> io::Result<()> {
    let runs = if args.quick { NonZeroUsize::MIN } else { args.runs };
    let topics = match args.topics.as_slice() {
        [] => Topic::value_variants(),
        topics => topics,
    };

    let rows: Vec<Row> = topics.iter().flat_map(|topic| topic.rows(setting)).collect();
    // Before anything is timed: one has to be built, and may fail to.
    let programs: Vec<PathBuf> = rows.iter().map(|row| program(row, setting)).collect::<io::Result<_>>()?;

    print(&heading(cores, setting, runs))?;
    #[cfg(target_os = "linux")]
    if rows.iter().any(process::lacks_peers) {
        print("\n**Python's pools are absent: `benches/process/setup` makes them ready.**\n")?;
    }
    for (row, program) in rows.iter().zip(&programs) {
        let figures = measure::run(row, program, setting, runs)?;
        let figures = &figures;
        print(&format!("\n{}", Table { row, figures }))?;
    }
    Ok(())
}

fn heading(cores: NonZeroUsize, setting: Setting, runs: NonZeroUsize) -> String {
    let release = if cfg!(debug_assertions) { "" } else { " --release" };
    let arguments: String = env::args().skip(1).map(|argument| format!(" {argument}")).collect();
    let separator = if arguments.is_empty() { "" } else { " --" };
    let caution = if cfg!(debug_assertions) || setting.quick {
        "\n\n**No figures to compare: a debug build or `--quick`.**"
    } else {
        ""
    };
    format!(
        "`cargo run{release} -p raincheck-bench{separator}{arguments}`\n\n\
         {cores} cores, {workers} workers. Medians (lowest–highest) of the warm rounds, {runs} each; a process for \
         each line, asked in turn. Lower is better. *Slanted* lines do the work without a pool.{caution}\n",
        workers = setting.workers,
    )
}

/// The binary that the row's contestants are served by.
fn program(row: &Row, setting: Setting) -> io::Result<PathBuf> {
    let this = env::current_exe()?;
    if !row.counted || setting.counter.is_some() {
        return Ok(this);
    }

    // `cargo run` has built this binary and not its sibling.
    let folder = this.parent().expect("a program lies in a folder");
    let target = folder.parent().expect("cargo puts each profile in a folder of its own");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "raincheck-bench", "--bin", "heap"])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .arg("--target-dir")
        .arg(target)
        .status()?;
    if !built.success() {
        return Err(io::Error::other("`heap`, which counts allocations, could not be built"));
    }
    Ok(folder.join("heap").with_extension(env::consts::EXE_EXTENSION))
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
