//! `raincheck run`: a command for each input line or argument, many at a time.
//!
//! [`source`](self::source) reads the inputs, on a thread of its own; [`maker`](self::maker) makes jobs of them, the
//! batch runs them on an executor, and [`job`](self::job) is what one of them does.

mod command;
mod gate;
mod halt;
mod job;
mod joblog;
mod keeper;
mod kin;
mod maker;
mod output;
mod process;
mod results;
mod shell;
mod source;
mod split;
mod template;

use std::collections::{HashSet, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use regex::bytes::Regex;
use rustix::process::Signal;

use self::command::{Given, Plan as CommandPlan};
use self::gate::Gate;
use self::halt::Halt;
use self::job::{Input, Jobs, Mode, Stopping};
use self::joblog::{Earlier, Joblog};
use self::keeper::Keeper;
pub(crate) use self::keeper::{COMMAND as KEEP_WATCH, keep_watch};
use self::kin::Run;
use self::maker::{Done, From, Maker, Together};
use self::output::{Output, Trouble};
use self::process::Table;
use self::source::{Origin, Reading, Rows, Spec, Trim, Words};
use self::split::{Blocks, Cut, Size};
use self::template::{Syntax, Values};
use crate::args::{ExecutorName, JobOptions, ReportOptions, Talk, duration, number, number_within};
use crate::batch::Batch;
use crate::batch::feed::{Feed, Produce};
use crate::error::{Error, Exit, cannot_write_output};
use crate::executors;
use crate::interrupt::{self, Interrupt};
use crate::report::{self, Label, Report, figures};

/// Inputs are read so many ahead; the number of all is known as soon as the last one is among them.
const AHEAD: usize = 10_000;
/// What `-X` puts into one command line: as much as xargs does.
const MOST_BYTES: usize = 128 * 1024;

const USAGE: &str = "raincheck run [OPTIONS] [COMMAND [ARGUMENT]...] [::: INPUT...]";

const EXAMPLES: &str = "\
Inputs are the arguments after `:::`, the lines of the files after `::::`, or else the lines of
stdin. The command is run once for each, and gets it in place of `{}`, or at its end if it has no
`{}`. No shell sees the command or the inputs, unless you say --shell: names with spaces, quotes or
newlines are safe either way.

Placeholders:
  {}     the input              {.}   without its extension    {#}  the number of the job
  {/}    its file name          {/.}  both of that             {%}  its slot, 1 to --jobs
  {//}   its folder             {2} {2.} {-1}  the second, or last, of several inputs or columns
                                {name}  the column of this name, with --header

Examples:
  raincheck run gzip -9 ::: *.log                    compress each file
  find . -name '*.png' -print0 | raincheck run -0 optipng {}
  raincheck run convert {} {.}.jpg ::: *.png
  raincheck run --shell 'zcat {} | wc -l' ::: *.gz   pipes; {} needs no quotes, and minds none
  raincheck run -C, curl -o {2} {1} :::: list.csv    columns
  raincheck run ./try {1} {2} ::: a b ::: 1 2 3      every pair; `:::+` pairs them one to one
  raincheck run --pipe --block 10M sort < big        cut stdin into blocks of whole lines
  raincheck run < commands.txt                       no command: each line is one, for the shell

By its time limit, by --halt or by Ctrl-C, a job ends together with all that it has started, daemons
too: TERM, and KILL after --kill-after. Only what has left the job's process group, emptied its
environment and lost its parent gets away. What a job leaves running when it ends by itself is left
alone. A job that asks at the terminal, as for a password, is ended too, since it would wait for ever.
Ctrl-Z stops the jobs too, and their time limits, until you say `fg` or `bg`.

The exit code is 0 if every job succeeded, 1 if not, 2 if the command line is wrong, and 130 after
Ctrl-C.";

/// What `raincheck run` is asked for.
#[derive(Debug, Clone, clap::Args)]
#[command(override_usage = USAGE, after_long_help = EXAMPLES, after_help = "`--help` has the placeholders and examples")]
pub(crate) struct RunArgs {
    /// The command, and after `:::` its inputs; its own options may follow
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    words: Vec<OsString>,

    /// Read inputs from FILE, as `:::: FILE` does; `-` is stdin
    #[arg(long = "arg-file", short = 'a', value_name = "FILE", help_heading = "Inputs")]
    arg_files: Vec<PathBuf>,
    /// Inputs end with a NUL byte, as `find -print0` ends them
    #[arg(long, short = '0', conflicts_with = "delimiter", help_heading = "Inputs")]
    null: bool,
    /// Inputs end with this byte, as in ',' or '\t' [default: '\n']
    #[arg(long, short, value_name = "BYTE", value_parser = byte, help_heading = "Inputs")]
    delimiter: Option<u8>,
    /// Cut each input into columns {1}, {2} where this pattern matches, as in ',' or '\t' or '\s+'
    #[arg(long, short = 'C', value_name = "REGEX", help_heading = "Inputs")]
    colsep: Option<Regex>,
    /// `--header :` takes the first line of each source for names of columns: {name}
    #[arg(long, value_name = ":", value_parser = [":"], hide_possible_values = true, help_heading = "Inputs")]
    header: Option<String>,
    /// Take several sources side by side, not each with each; short ones begin again
    #[arg(long, alias = "xapply", help_heading = "Inputs")]
    link: bool,
    /// Take white space off the inputs: l, r, lr, or n for none [default: n, with --colsep lr]
    #[arg(long, value_name = "WHERE", value_parser = trim, help_heading = "Inputs")]
    trim: Option<Trim>,
    /// Skip empty inputs
    #[arg(long, short = 'r', help_heading = "Inputs")]
    no_run_if_empty: bool,
    /// Give each command N inputs; with --pipe, N records
    #[arg(long = "max-args", short = 'n', short_alias = 'N', value_name = "N", value_parser = number::<NonZeroUsize>, help_heading = "Inputs")]
    max_args: Option<NonZeroUsize>,
    /// Give each command as many inputs as fit; what is around {} is repeated for each
    #[arg(long = "xargs", short = 'X', conflicts_with = "max_args", help_heading = "Inputs")]
    fit: bool,
    /// With -X, make no command line longer than so many bytes
    #[arg(long, short = 's', value_name = "BYTES", value_parser = size, requires = "fit", help_heading = "Inputs")]
    max_chars: Option<u64>,

    /// Cut stdin into blocks of whole records, and give each command one on its stdin
    #[arg(long, alias = "spreadstdin", help_heading = "Stdin in blocks")]
    pipe: bool,
    /// About so big is a block, as in 500k or 10M [default: 1M]
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "pipe", conflicts_with = "max_args", help_heading = "Stdin in blocks")]
    block: Option<u64>,
    /// Records end with this [default: '\n', or nothing with --recstart]
    #[arg(long, value_name = "TEXT", value_parser = unescaped, requires = "pipe", help_heading = "Stdin in blocks")]
    recend: Option<Text>,
    /// Records begin with this, as in '>'
    #[arg(long, value_name = "TEXT", value_parser = unescaped, requires = "pipe", help_heading = "Stdin in blocks")]
    recstart: Option<Text>,

    /// Let a shell run the command, with its pipes, variables and `&&`; inputs are safe in it, quoted or not [default: sh]
    #[arg(long, value_name = "SHELL", num_args = 0..=1, require_equals = true, default_missing_value = command::SHELL, help_heading = "The command")]
    shell: Option<OsString>,
    /// Use this in place of {}
    #[arg(short = 'I', long = "replace", value_name = "TEXT", help_heading = "The command")]
    replace: Option<OsString>,
    /// Work in this folder; may have placeholders
    #[arg(long, alias = "workdir", value_name = "DIR", help_heading = "The command")]
    wd: Option<OsString>,
    /// Set a variable for the command, as in N={#}
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable(), help_heading = "The command")]
    env: Vec<(OsString, OsString)>,
    /// Add this to the niceness of the commands
    #[arg(long, value_name = "N", value_parser = number_within(-40..=40_i32), allow_hyphen_values = true, help_heading = "The command")]
    nice: Option<i32>,
    /// Print the commands and run none
    #[arg(long, alias = "dryrun", help_heading = "The command")]
    dry_run: bool,

    /// Show the output in the order of the inputs
    #[arg(long, short, help_heading = "Output")]
    keep_order: bool,
    /// Begin each line of output with the input and a tab
    #[arg(long, help_heading = "Output", conflicts_with = "ungroup")]
    tag: bool,
    /// Begin each line of output with this and a tab; may have placeholders
    #[arg(long, value_name = "TEXT", help_heading = "Output", conflicts_with_all = ["ungroup", "tag"])]
    tagstring: Option<OsString>,
    /// Show each line as it comes, whole, and not each job's output together
    #[arg(long, alias = "lb", alias = "linebuffer", help_heading = "Output", conflicts_with_all = ["keep_order", "ungroup", "results"])]
    line_buffer: bool,
    /// Let commands write to stdout themselves; lines may get mixed
    #[arg(long, short, help_heading = "Output", conflicts_with_all = ["keep_order", "results"])]
    ungroup: bool,
    /// Keep the output of each job in a folder of its own: DIR/1/INPUT/stdout, stderr, seq
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    results: Option<PathBuf>,

    /// Stop early, as in now,fail=1 (end all at the first failure), soon,fail=20%, now,success=1
    #[arg(long, value_name = "WHEN", value_parser = halting, default_value = "never", allow_hyphen_values = true, help_heading = "Stopping and resuming")]
    halt: Halting,
    /// What is told to end has so long before it is killed
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2s", help_heading = "Stopping and resuming")]
    kill_after: Duration,
    /// Log each job to FILE, as GNU parallel does; +FILE appends
    #[arg(long, value_name = "FILE", help_heading = "Stopping and resuming")]
    joblog: Option<PathBuf>,
    /// Skip the jobs that the log (or the results) of an earlier run has
    #[arg(long, help_heading = "Stopping and resuming")]
    resume: bool,
    /// Skip the jobs that have succeeded in an earlier run, by its log
    #[arg(long, requires = "joblog", help_heading = "Stopping and resuming")]
    resume_failed: bool,

    /// Start commands so far apart
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Starting")]
    delay: Option<Duration>,
    /// Start nothing while the load is above N, or N% of the processors
    #[arg(long, value_name = "N", value_parser = load, help_heading = "Starting")]
    load: Option<f64>,
    /// Start nothing while less memory is available, as in 2G
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Starting")]
    memfree: Option<u64>,

    #[command(flatten)]
    jobs: JobOptions,
    #[command(flatten)]
    report: ReportOptions,
}

/// A text that clap does not take for a list.
#[derive(Clone, Debug)]
struct Text(Vec<u8>);

/// The value of `--halt`.
#[derive(Clone, Copy, Debug)]
struct Halting(Option<Halt>);

/// Runs the command for each input.
pub(crate) fn run(args: RunArgs, talk: Talk) -> Result<Exit, Error> {
    if args.jobs.executor() == ExecutorName::Process {
        return Err(Error::usage("each command is a process of its own already").hint("leave `--executor process` out"));
    }
    let Words { command, sources } = Words::split(args.words.clone())?;
    let reads_stdin = (sources.is_empty() && args.arg_files.is_empty())
        || sources.iter().any(|source| matches!(source.from, Origin::Stdin))
        || args.arg_files.iter().any(|file| file.as_os_str() == "-");
    let (mut maker, syntax) = open(&args, &command, sources)?;
    let plan = CommandPlan::new(given(&args, command.clone()), &syntax)?;
    if args.dry_run {
        if reads_stdin {
            report::tell_reading(args.what_is_read(), talk.verbosity());
        }
        return dry_run(maker, &plan);
    }
    if let Some(nice) = args.nice {
        set_nice(nice)?;
    }
    let log = open_log(&args, &mut maker)?;
    if args.resume && args.joblog.is_none() {
        let results = args.results.clone().map(|dir| (dir, syntax.names.clone()));
        maker.done.results = Some(results.ok_or_else(|| {
            Error::usage("there is nothing to resume from")
                .hint("`--resume` needs the `--joblog` or `--results` of before")
        })?);
    }
    let interrupt = Interrupt::install()?;
    execute(&args, talk, &interrupt, Prepared { maker, reads_stdin, syntax, plan, log, title: title(&command) })
}

/// All that can be wrong before the first job has been found right.
struct Prepared {
    maker: Maker,
    /// Whether inputs come from stdin.
    reads_stdin: bool,
    syntax: Syntax,
    plan: CommandPlan,
    log: Option<Joblog>,
    title: String,
}

fn execute(args: &RunArgs, talk: Talk, interrupt: &Interrupt, prepared: Prepared) -> Result<Exit, Error> {
    let Prepared { maker, reads_stdin, syntax, plan, log, title } = prepared;
    let (executor, at_once) = (args.jobs.executor(), args.jobs.at_once());

    let mut shown = args.report.clone().plan(title, talk);
    if args.ungroup {
        shown = shown.sharing_the_terminal();
    }
    if reads_stdin {
        shown = shown.reading_stdin(args.what_is_read());
    }
    let report = Report::open(shown, interrupt)?;
    let run = Run::new();
    let keeper = Keeper::start(&run);
    if let Err(error) = &keeper {
        report.note(format!("if this program is killed, its jobs go on: cannot start a keeper for them: {error}"));
    }
    let cannot_begin = |error| Error::new("cannot begin").because(error);
    let jobs = Arc::new(Jobs {
        plan,
        table: Table::start(run, keeper.ok(), args.jobs.timeout, args.kill_after).map_err(cannot_begin)?,
        output: Output::new(args.keep_order, log, report.bar()).map_err(cannot_begin)?,
        gate: Gate::new(args.delay, args.load, args.memfree),
        mode: args.mode(),
        tag: args.tag_text().map(|tag| syntax.parse(&tag)),
        logs: args.joblog.is_some(),
        results: args.results.clone().map(|dir| (dir, syntax.names.clone())),
        halt: args.halt.0,
        retries: args.jobs.retries,
        limit: args.jobs.timeout,
        interrupt: interrupt.clone(),
        nothing: File::open("/dev/null").map_err(cannot_begin)?,
        state: Stopping::default(),
    });

    let ahead = match (args.pipe, args.halt.0) {
        // A block is large, and is needed one at a time.
        (true, _) => 1,
        (false, Some(halt)) if halt.needs_total() => usize::MAX,
        (false, _) => AHEAD,
    };
    let total = maker.count();
    let skipped = Arc::clone(&maker.done.skipped);
    let feed = Feed::start(maker, ahead, total)?;
    let trouble = feed.trouble();
    jobs.state.follow(feed.stop(), feed.watch_total());
    let (asked, stopped) = (interrupt.clone(), Arc::clone(&jobs));
    interrupt.on_asked(move || stopped.stop(signal_of(asked.asked())));
    let paused = Arc::clone(&jobs);
    interrupt.on_pause(move |stop| paused.table.pause(stop));

    let chosen = executors::make_here(executor, at_once)?;
    report.style(&format!("{} at a time", figures::count(at_once.get() as u64, "job")));
    // The time limit is kept by the table, which can end a command, and not just stop waiting for it.
    let batch = Batch { timeout: None, ..Batch::new(&report, interrupt, &args.jobs) };
    batch.run_in_lanes(&chosen, feed, label, |input, attempt| jobs.run(&input, attempt));
    drop(chosen);
    let told = jobs.output.finish();
    jobs.table.close();
    let trouble_of_ours = jobs.state.take_trouble().or(told.err());
    if let Some(Trouble::Output(error)) = &trouble_of_ours
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        // Whoever reads no more wants to hear no more.
        drop(report);
        return Err(cannot_write_output(io::ErrorKind::BrokenPipe.into()));
    }
    let halted = jobs.state.is_halted();
    if halted || trouble_of_ours.is_some() {
        report.cut_short();
    }
    if halted {
        report.note("stopped early, as `--halt` says");
        if args.halt.0.is_some_and(|halt| halt.is_met(jobs.state.tally())) {
            report.expect_cancelled();
        }
    }
    let skipped = skipped.load(Ordering::Relaxed);
    if skipped > 0 {
        report.note(format!("{} run before, and skipped", figures::count_of(skipped, "job was", "jobs were")));
    }
    let unread = trouble();
    if !report.has_jobs() && skipped == 0 && unread.is_none() && interrupt.asked().is_none() {
        report.note("there was nothing to run: there were no inputs");
    }
    let exit = report.finish();
    if let Some(trouble) = trouble_of_ours {
        return Err(cannot_tell(trouble, args.joblog.as_deref()));
    }
    if let Some(error) = unread {
        return Err(error);
    }
    Ok(match (exit?, args.halt.0) {
        // Those that were ended for it have not failed.
        (Exit::SomeFailed, Some(halt)) if halted && halt.is_met(jobs.state.tally()) => Exit::AllDone,
        (exit, _) => exit,
    })
}

/// Prints the commands.
fn dry_run(mut maker: Maker, plan: &CommandPlan) -> Result<Exit, Error> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    while let Some(input) = maker.next()? {
        let mut line = plan.shown(Values { args: &input.args, number: input.number, slot: 1 });
        line.push(b'\n');
        out.write_all(&line).map_err(cannot_write_output)?;
        if maker.may_block() {
            out.flush().map_err(cannot_write_output)?;
        }
    }
    out.flush().map_err(cannot_write_output)?;
    Ok(Exit::AllDone)
}

/// Opens the inputs; with the names of their columns it is known what placeholders there are.
fn open(args: &RunArgs, command: &[OsString], mut sources: Vec<Spec>) -> Result<(Maker, Syntax), Error> {
    let files = args.arg_files.iter().map(|path| Spec { from: Origin::file(path), linked: false });
    sources.splice(..0, files);
    let mut syntax = Syntax::default();
    if let Some(replace) = &args.replace {
        syntax.input = replace.as_bytes().to_vec();
    }
    let stdin = || -> Result<File, Error> {
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        stdin.map(File::from).map_err(|error| Error::usage("cannot read stdin").because(error))
    };
    if args.pipe {
        if !sources.is_empty() {
            return Err(Error::usage("with `--pipe`, jobs are made of stdin, and not of other inputs"));
        }
        if command.is_empty() {
            return Err(Error::usage("`--pipe` needs a command to give the blocks to"));
        }
        let blocks = Blocks::new(stdin()?, args.cut());
        return Ok((Maker::new(From::Blocks(blocks), Done::default()), syntax));
    }
    if sources.is_empty() {
        if io::stdin().is_terminal() && command.is_empty() {
            return Err(Error::usage("there is no command, and there are no inputs")
                .hint("try `raincheck run echo ::: a b c`, or `raincheck run --help`"));
        }
        sources.push(Spec { from: Origin::Stdin, linked: false });
    }
    let (rows, names) = Rows::open(sources, args.reading(), Some(stdin()?))?;
    syntax.names = names;
    let together = match args.fit {
        true => {
            let fixed: usize = command.iter().map(|word| word.len() + 1).sum();
            let most = args.max_chars.map_or(MOST_BYTES, |most| usize::try_from(most).unwrap_or(usize::MAX));
            Together::Fit { room: most.saturating_sub(fixed), spread: args.jobs.jobs.map_or_else(cores, usize::from) }
        }
        false => Together::Count(args.max_args.map_or(1, usize::from)),
    };
    let from = From::Rows { rows, together, held: VecDeque::new(), ended: false };
    Ok((Maker::new(from, Done::default()), syntax))
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn given(args: &RunArgs, words: Vec<OsString>) -> Given {
    Given {
        words,
        shell: args.shell.clone(),
        takes_inputs: !args.pipe,
        around_each: args.fit,
        folder: args.wd.clone(),
        environment: args.env.clone(),
    }
}

fn open_log(args: &RunArgs, maker: &mut Maker) -> Result<Option<Joblog>, Error> {
    let Some(path) = &args.joblog else { return Ok(None) };
    let appended =
        path.as_os_str().as_bytes().strip_prefix(b"+").map(|path| PathBuf::from(OsString::from_vec(path.to_vec())));
    let earlier = if args.resume_failed { Earlier::Succeeded } else { Earlier::Ended };
    let opened = match appended {
        Some(path) if !args.resume && !args.resume_failed => Joblog::append(&path).map(|log| (log, HashSet::new())),
        Some(path) => Joblog::resume(&path, earlier),
        None if args.resume || args.resume_failed => Joblog::resume(path, earlier),
        None => Joblog::create(path).map(|log| (log, HashSet::new())),
    };
    let (log, done) = opened.map_err(|error| {
        let unfit = error.kind() == io::ErrorKind::InvalidData;
        let error = Error::usage(format!("cannot use the job log `{}`", path.display())).because(error);
        if unfit { error.hint("is it a file that `--joblog` has written?") } else { error }
    })?;
    maker.done.numbers = done;
    Ok(Some(log))
}

fn set_nice(nice: i32) -> Result<(), Error> {
    let raise = || -> rustix::io::Result<()> {
        let niceness = rustix::process::getpriority_process(None)?;
        rustix::process::setpriority_process(None, niceness + nice)
    };
    raise()
        .map_err(|error| Error::usage(format!("cannot change the niceness by {nice}")).because(io::Error::from(error)))
}

fn title(command: &[OsString]) -> String {
    match command {
        [] => "commands".into(),
        words => words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "),
    }
}

/// What a job is called: by its inputs, which tell it from the others.
fn label(input: &Arc<Input>) -> Label {
    match input.block {
        Some(_) => format!("block {}", input.number).into(),
        None => Label::of(&input.args.join(&b' ')),
    }
}

fn signal_of(asked: Option<interrupt::Signal>) -> Signal {
    match asked {
        Some(interrupt::Signal::Interrupt) => Signal::INT,
        Some(interrupt::Signal::Terminate) | None => Signal::TERM,
    }
}

fn cannot_tell(trouble: Trouble, joblog: Option<&Path>) -> Error {
    match trouble {
        Trouble::Output(error) => cannot_write_output(error),
        Trouble::Log(error) => {
            Error::new(format!("cannot write `{}`", joblog.unwrap_or(Path::new("")).display())).because(error)
        }
        Trouble::Results(folder, error) => {
            Error::new(format!("cannot keep output in `{}`", folder.display())).because(error)
        }
    }
}

impl RunArgs {
    /// What someone types where stdin is a terminal.
    fn what_is_read(&self) -> &'static str {
        if self.pipe { "what the commands are given" } else { "inputs, one on each line" }
    }

    fn mode(&self) -> Mode {
        match (self.line_buffer, self.ungroup) {
            (true, _) => Mode::Lines,
            (_, true) => Mode::Ungrouped,
            _ => Mode::Grouped,
        }
    }

    fn tag_text(&self) -> Option<Vec<u8>> {
        match &self.tagstring {
            Some(text) => Some(text.as_bytes().to_vec()),
            None if self.tag => Some(self.replace.as_ref().map_or(b"{}".to_vec(), |text| text.as_bytes().to_vec())),
            None => None,
        }
    }

    fn reading(&self) -> Reading {
        let by_default = self.colsep.is_some();
        Reading {
            end: if self.null { 0 } else { self.delimiter.unwrap_or(b'\n') },
            columns: self.colsep.clone(),
            trim: self.trim.unwrap_or(Trim { left: by_default, right: by_default }),
            skip_empty: self.no_run_if_empty,
            header: self.header.is_some(),
            link: self.link,
        }
    }

    fn cut(&self) -> Cut {
        let text = |text: &Option<Text>, default: &[u8]| text.as_ref().map_or(default.to_vec(), |text| text.0.clone());
        let end: &[u8] = if self.recstart.is_some() { b"" } else { b"\n" };
        let mut cut = Cut {
            record_end: text(&self.recend, end),
            record_start: text(&self.recstart, b""),
            size: match self.max_args {
                Some(records) => Size::Records(records.get()),
                None => Size::Bytes(self.block.map_or(1 << 20, |size| usize::try_from(size).unwrap_or(usize::MAX))),
            },
        };
        if cut.record_end.is_empty() && cut.record_start.is_empty() {
            cut.record_end = b"\n".to_vec();
        }
        cut
    }
}

/// Reads what `\n`, `\t`, `\0` or `\x1f` stand for.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let Some((letter, after)) = rest.split_first() else {
            return Err("there is nothing after the last `\\`".into());
        };
        rest = after;
        bytes.push(match letter {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                rest = rest.get(2..).unwrap_or_default();
                byte.ok_or("two hexadecimal digits must follow `\\x`")?
            }
            other => return Err(format!("`\\{}` stands for nothing", other.escape_ascii())),
        });
    }
    Ok(bytes)
}

fn unescaped(text: &str) -> Result<Text, String> {
    unescape(text).map(Text)
}

fn byte(text: &str) -> Result<u8, String> {
    match unescape(text)?[..] {
        [byte] => Ok(byte),
        _ => Err("it must be one byte, as in ',' or '\\t' or '\\0'".into()),
    }
}

/// Reads a size: `k`, `m` and `g` are powers of 1000, `K`, `M` and `G` of 1024, as GNU parallel has it.
fn size(text: &str) -> Result<u64, String> {
    const HELP: &str = "write it as in 500k, 10M or 2G";
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| HELP)?;
    let unit: u64 = match &text[digits..] {
        "" => 1,
        "k" => 1000,
        "m" => 1000 * 1000,
        "g" => 1000 * 1000 * 1000,
        "K" | "Ki" | "KiB" => 1 << 10,
        "M" | "Mi" | "MiB" => 1 << 20,
        "G" | "Gi" | "GiB" => 1 << 30,
        _ => return Err(HELP.into()),
    };
    match number.checked_mul(unit) {
        Some(0) => Err("it must be more than nothing".into()),
        Some(bytes) => Ok(bytes),
        None => Err("it is too much".into()),
    }
}

fn load(text: &str) -> Result<f64, String> {
    let (number, of) = match text.strip_suffix('%') {
        Some(number) => (number, cores() as f64 / 100.0),
        None => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number * of),
        _ => Err("write it as in 4, 1.5 or 80%".into()),
    }
}

fn trim(text: &str) -> Result<Trim, String> {
    match text {
        "n" => Ok(Trim::default()),
        "l" => Ok(Trim { left: true, right: false }),
        "r" => Ok(Trim { left: false, right: true }),
        "lr" | "rl" => Ok(Trim { left: true, right: true }),
        _ => Err("it is one of n, l, r and lr".into()),
    }
}

fn halting(text: &str) -> Result<Halting, String> {
    halt::halt(text).map(Halting)
}

fn variable() -> impl TypedValueParser<Value = (OsString, OsString)> {
    OsStringValueParser::new().try_map(|text| {
        let bytes = text.as_bytes();
        match bytes.iter().position(|byte| *byte == b'=') {
            Some(at @ 1..) => {
                let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
                Ok((owned(&bytes[..at]), owned(&bytes[at + 1..])))
            }
            _ => Err("write it as in NAME=VALUE"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_gnu_parallel_reads_them() {
        assert_eq!(
            ["12", "1k", "1K", "10M", "2g"].map(size),
            [Ok(12), Ok(1000), Ok(1024), Ok(10 << 20), Ok(2_000_000_000)]
        );
        for wrong in ["", "k", "1.5M", "1X", "-1", "0", "99999999999999999999", "99999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn escapes_stand_for_bytes() {
        assert_eq!(unescape("a\\n\\t\\0\\x1f\\\\"), Ok(b"a\n\t\0\x1f\\".to_vec()));
        assert_eq!((byte(","), byte("\\0")), (Ok(b','), Ok(0)));
        for wrong in ["\\", "\\q", "\\x1", "\\xzz", "ab", ""] {
            assert!(byte(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_load_may_be_a_share_of_the_processors() {
        assert_eq!(load("1.5"), Ok(1.5));
        assert_eq!(load("100%"), Ok(cores() as f64));
        assert!(load("much").is_err());
    }
}
