//! What can be typed: every command and every option that commands share. It is parsed and validated here, and nothing
//! is done.

use std::fmt::Display;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::commands::{FetchArgs, FlagsArgs, HashArgs, LogsArgs, RunArgs, ServeArgs};
use crate::error::{Error, Exit, cannot_write_output};
use crate::report::{Plan, ProgressMode, RecordsFile, TimelineFile, Verbosity};

/// A pile of jobs, done: many at once, each with its own time limit, and what became of each told
#[derive(Debug, Parser)]
#[command(name = "raincheck", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Begin with:  raincheck flags --timeline flags.html")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) talk: Talk,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Reads the command line. If there is nothing more to do, since it is wrong or asks for help, says so, and how to exit.
pub(crate) fn read() -> Result<Cli, Result<Exit, Error>> {
    Cli::try_parse().map_err(|told| tell(&with_way_out(told)))
}

fn tell(told: &clap::Error) -> Result<Exit, Error> {
    if told.use_stderr() {
        // If stderr is gone too, the exit code is all that is left to tell it by.
        let _ = told.print();
        return Ok(Exit::Usage);
    }
    told.print().and_then(|()| io::stdout().flush()).map_err(cannot_write_output)?;
    Ok(Exit::AllDone)
}

/// Other tools have `-o FILE`, or `-O`, for where a download goes, and GNU parallel has to be asked for a bar.
fn with_way_out(mut error: clap::Error) -> clap::Error {
    let unknown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(unknown)) if error.kind() == ErrorKind::UnknownArgument => unknown.as_str(),
        _ => "",
    };
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let is_of = |command: &str| usage.contains(&format!("raincheck {command}"));
    let tip = match unknown {
        "-o" | "-O" | "--output" if is_of("fetch") => {
            Some("`--name` says what files are called, as in `--name a.pdf`, and `--dir` where they go")
        }
        "--bar" | "--eta" if is_of("run") => {
            Some("a bar with the time left is there without it; `--progress` has others")
        }
        _ => None,
    };
    if let Some(tip) = tip {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Download a list of files, many at once: each whole, once, and under its name only when it is there
    ///
    /// What aria2c -i, curl -Z and wget2 -i do. The same command again fetches only what is missing.
    Fetch(Box<FetchArgs>),
    /// Download flags one by one, on threads, on tokio and on processes, and show why it gets faster
    ///
    /// Without arguments it is the demonstration: the same twenty downloads in each style, from a built-in server, with
    /// a table. With country codes or options it downloads those, in the style of `--executor`.
    Flags(FlagsArgs),
    /// Write or check the sums of files and whole trees: sha256sum, b3sum and their like, on all cores
    ///
    /// Lines are those of sha256sum and b3sum, in the order of the files, and each reads the other's lists.
    Hash(HashArgs),
    /// Ask web server logs who came, for what, when, and what went wrong
    ///
    /// Apache's and nginx's logs in any format, plain or packed, many at once. Without a question it gives an overview.
    Logs(LogsArgs),
    /// Run a command for each input: what GNU parallel and `xargs -P` do
    Run(Box<RunArgs>),
    /// Serve files or flags over HTTP, slowly and with errors on demand, to try clients on
    Serve(ServeArgs),
    /// Print a script that teaches a shell to complete this program's options
    ///
    /// For bash: raincheck completions bash > ~/.local/share/bash-completion/completions/raincheck
    Completions {
        /// The shell to print it for
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    ///
    /// To read it at once: raincheck man | man -l -
    Man,
    /// What `run` starts beside itself; see there.
    #[command(name = crate::commands::KEEP_WATCH, hide = true)]
    KeepWatch { watched: i32, run: String },
}

/// How much is told besides the data.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Talk {
    /// Tell only what ends the program
    #[arg(long, short, global = true, conflicts_with = "verbose", display_order = 900)]
    quiet: bool,
    /// Name every failure and every retry; twice: every job
    #[arg(long, short, global = true, action = ArgAction::Count, display_order = 901)]
    verbose: u8,
}

/// How jobs are run.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Running jobs")]
pub(crate) struct JobOptions {
    /// Where jobs run [default: thread]
    #[arg(long, value_name = "WHERE")]
    pub(crate) executor: Option<ExecutorName>,
    /// How many jobs run at once [default: one for each core]
    #[arg(long, short, short_alias = 'P', value_name = "N", value_parser = jobs_or_else("one for each core"))]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Give up on a job that runs longer than this, as in 30s, 500ms or 1h30m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Try a failed job so many times more
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number::<u32>)]
    pub(crate) retries: u32,
}

impl JobOptions {
    /// Where jobs run: on threads, unless said.
    pub(crate) fn executor(&self) -> ExecutorName {
        self.executor.unwrap_or(ExecutorName::Thread)
    }

    /// How many jobs run at once: one on `inline`, and elsewhere one for each core, unless said.
    pub(crate) fn at_once(&self) -> NonZeroUsize {
        let cores = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        match self.executor() {
            ExecutorName::Inline => NonZeroUsize::MIN,
            ExecutorName::Thread | ExecutorName::Process | ExecutorName::Tokio => self.jobs.unwrap_or_else(cores),
        }
    }
}

/// Where jobs run: the values of `--executor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExecutorName {
    /// One by one, on the main thread
    Inline,
    /// On a pool of threads
    Thread,
    /// On a pool of processes: a job that crashes, or overruns its time limit, is ended and costs no other
    Process,
    /// On an async runtime
    Tokio,
}

/// Reads those executors alone whose jobs stay in this process.
pub(crate) fn executor_here() -> impl TypedValueParser<Value = ExecutorName> {
    let here = ExecutorName::value_variants().iter().filter(|name| **name != ExecutorName::Process);
    PossibleValuesParser::new(here.filter_map(ExecutorName::to_possible_value))
        .map(|name| ExecutorName::from_str(&name, false).expect("only its values come through"))
}

/// What is shown and written of the jobs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Seeing what happens")]
pub(crate) struct ReportOptions {
    /// How progress is shown, on stderr
    #[arg(long, value_name = "HOW", default_value = "auto")]
    progress: ProgressMode,
    /// Write a line about each job, as it ends, to FILE.jsonl or FILE.csv; where a name is no UTF-8, `raw` has its bytes,
    /// percent-encoded
    #[arg(long, value_name = "FILE")]
    report: Option<RecordsFile>,
    /// Draw which job ran when and where, to FILE.svg, FILE.html, or FILE.json for Perfetto
    #[arg(long, value_name = "FILE")]
    timeline: Option<TimelineFile>,
}

impl Talk {
    pub(crate) fn verbosity(self) -> Verbosity {
        match self.verbose {
            _ if self.quiet => Verbosity::Quiet,
            0 => Verbosity::Normal,
            1 => Verbosity::Verbose,
            _ => Verbosity::Everything,
        }
    }
}

impl ReportOptions {
    /// What the report is to consist of, under this title.
    pub(crate) fn plan(self, title: impl Into<String>, talk: Talk) -> Plan {
        let Self { progress, report, timeline } = self;
        Plan {
            title: title.into(),
            verbosity: talk.verbosity(),
            tells_summary: progress != ProgressMode::None,
            tells_failures: true,
            expects_not_found: false,
            progress,
            records: report,
            columns: &[],
            timeline,
            typed: None,
        }
    }
}

/// Reads how many jobs run at once. Other tools have a 0 or a word for what is to be had here without the option.
pub(crate) fn jobs_or_else(default: &'static str) -> impl TypedValueParser<Value = NonZeroUsize> {
    move |text: &str| number(text).map_err(|wrong| format!("{wrong}; leave it out for {default}"))
}

/// Reads a whole number: from 0 on, or from 1 on, as its type has it.
pub(crate) fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| {
        let is_a_number = text.bytes().all(|byte| byte.is_ascii_digit()) && text.bytes().any(|byte| byte != b'0');
        match "0".parse::<N>() {
            _ if is_a_number => "it is too large".into(),
            Ok(_) => "it must be a whole number, 0 or more".into(),
            Err(_) => "it must be a whole number, 1 or more".into(),
        }
    })
}

/// Reads a whole number between these two.
pub(crate) fn number_within<N>(range: RangeInclusive<N>) -> impl TypedValueParser<Value = N>
where
    N: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text: &str| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("it must be a whole number, {} to {}", range.start(), range.end()))
    }
}

/// Reads a length of time: `30s`, `500ms`, `1.5m`, `1h30m`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const HELP: &str = "write it as in 30s, 500ms or 1h30m";
    let mut total = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(HELP.into());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| HELP.to_string())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            // Only alone: in `1h30` it would be anyone's guess.
            "" if digits == text.trim().len() => 1.0,
            unit => return Err(format!("`{unit}` is no unit of time; {HELP}")),
        };
        total += number * unit;
        rest = &rest[letters..];
    }
    match Duration::try_from_secs_f64(total) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".into()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("it is too long".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_no_number_is_refused_with_what_is_allowed() {
        assert_eq!((number("0"), number("7")), (Ok(0_u64), Ok(7_u64)));
        for wrong in ["", "-1", "1.5", "50%", "auto"] {
            assert_eq!(number::<u32>(wrong), Err("it must be a whole number, 0 or more".into()), "{wrong}");
        }
        assert_eq!(number::<NonZeroUsize>("00"), Err("it must be a whole number, 1 or more".into()));
        assert_eq!(number::<u32>("4294967296"), Err("it is too large".into()));
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        let read = ["30s", "500ms", "1.5m", "1h30m", "2", "1d"].map(|text| duration(text).map(|time| time.as_millis()));

        assert_eq!(read, [Ok(30_000), Ok(500), Ok(90_000), Ok(5_400_000), Ok(2_000), Ok(86_400_000)]);
    }

    #[test]
    fn what_is_no_duration_is_refused_with_a_way_out() {
        for text in ["", "soon", "-1s", "1h30", "5 parsecs", "1..5s"] {
            let error = duration(text).unwrap_err();
            assert!(error.contains("30s, 500ms or 1h30m"), "{text}: {error}");
        }
        assert_eq!(duration("0s"), Err("it must be longer than nothing".into()));
        assert_eq!(duration(&format!("{}d", "9".repeat(30))), Err("it is too long".into()));
    }
}
