//! `raincheck logs`: questions to web server logs, many files at once.
//!
//! What is typed becomes an [`Ask`]; each log, or a piece of a large one, is a job that counts what is asked; the counts are
//! added up here as they come, and drawn as [`Answers`] at the end.

mod amount;
mod answer;
mod blocks;
mod field;
mod filter;
mod format;
mod line;
mod names;
mod output;
mod page;
mod plot;
mod question;
mod reading;
mod sample;
mod sampling;
mod sketch;
mod source;
mod tally;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};
use std::iter;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use self::answer::{Answers, Extent, Order, readable};
use self::field::Field;
use self::filter::Filter;
use self::format::Format;
use self::output::{Form, OutputFile};
use self::question::{Ask, Question};
use self::reading::{Found, Work};
use self::sampling::SampleOptions;
use self::source::Piece;
use self::tally::{BadLine, Tally};
use self::time::{Moment, Span};
use crate::args::{ExecutorName, JobOptions, ReportOptions, Talk, number};
use crate::batch::{Batch, Calls, Failure, Tried};
use crate::error::{Error, Exit, write_output};
use crate::executors;
use crate::interrupt::Interrupt;
use crate::report::event::Expected;
use crate::report::{Report, figures};

/// Rows of a top that are shown unless more are asked for.
const USUAL_ROWS: usize = 10;

const EXAMPLES: &str = "\
Examples:
  raincheck logs access.log*                       what happened, at a glance
  raincheck logs --hosts-of /robots.txt logs/      who fetched it, from all logs in a folder
  raincheck logs --per day access.log*.gz          accesses per day
  raincheck logs --top paths --top referrers --where status=404 access.log
  raincheck logs --per hour --where status=5xx --since 2025-01-31 /var/log/nginx
  raincheck logs -o report.html access.log*        a page with plots
  ssh server cat access.log | raincheck logs       from anywhere";

/// What `raincheck logs` is asked for.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct LogsArgs {
    /// Logs, plain or packed by gzip, zstd or bzip2; folders of them; `-` for stdin [default: -]
    #[arg(value_name = "LOG")]
    logs: Vec<PathBuf>,
    #[command(flatten)]
    asking: AskingOptions,
    #[command(flatten)]
    showing: ShowingOptions,
    #[command(flatten)]
    sample: SampleOptions,
    #[command(flatten)]
    jobs: JobOptions,
    #[command(flatten)]
    report: ReportOptions,
}

/// What is asked. All of it is answered in one reading.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Asking")]
struct AskingOptions {
    /// Which come most often; may be given several times [default: an overview]
    #[arg(long, value_name = "FIELD", value_delimiter = ',', hide_possible_values = true, help = top_help())]
    top: Vec<Field>,
    /// What happened in each minute, hour, day or month
    #[arg(long, value_name = "SPAN", value_delimiter = ',', hide_possible_values = true)]
    per: Vec<Span>,
    /// All hosts that asked for this path, as in /robots.txt; a * in it stands for anything
    #[arg(long, value_name = "PATH")]
    hosts_of: Vec<String>,
    /// Count only requests for which this holds: status=404 status=4xx path=/blog/* host=10.0.0.0/8 method!=GET
    /// agent~REGEX bytes>1MB. If given several times, all must hold
    #[arg(long = "where", short = 'w', value_name = "FILTER", value_parser = filter)]
    filters: Vec<String>,
    /// Count only requests from this time on, as in 2025-01-31 or "2025-01-31 12:00", by the log's own clock
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    since: Option<Moment>,
    /// Count only requests before this time
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    until: Option<Moment>,
    /// How lines are written: combined, common, vhost, nginx, or a LogFormat of Apache or log_format of nginx in quotes
    /// [default: found out for each log]
    #[arg(long, value_name = "FORMAT", value_parser = log_format)]
    log_format: Option<String>,
    /// Keep no more than so many keys for each --top, in bounded memory; the answers are then approximate, and say how far
    #[arg(long, value_name = "N", value_parser = number::<NonZeroUsize>)]
    max_keys: Option<NonZeroUsize>,
}

/// How answers are shown.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Showing answers")]
struct ShowingOptions {
    /// How many rows of each --top are shown
    #[arg(long, short = 'n', value_name = "N", default_value_t = USUAL_ROWS, value_parser = number::<usize>)]
    limit: usize,
    /// Show all rows
    #[arg(long, short, conflicts_with = "limit")]
    all: bool,
    /// By what the rows of --top are ordered
    #[arg(long, value_name = "WHAT", default_value = "requests", conflicts_with = "max_keys")]
    order: Order,
    /// In which form the answers go to stdout
    #[arg(long, value_name = "FORM", default_value = "table", conflicts_with = "output")]
    format: Form,
    /// Write the answers here and not to stdout, in the form of the ending: .html with plots, .json, .csv or .txt
    #[arg(long, short, value_name = "FILE")]
    output: Vec<OutputFile>,
    /// Show the first N lines that could not be read, on stderr
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = number::<usize>)]
    bad_lines: usize,
}

fn top_help() -> String {
    let words: Vec<_> = Field::ALL.iter().map(|field| field.many()).collect();
    format!("Which of these come most often: {}; may be given several times [default: an overview]", words.join(", "))
}

fn filter(text: &str) -> Result<String, String> {
    Filter::parse(text).map(|_| text.into())
}

fn log_format(text: &str) -> Result<String, String> {
    Format::parse(text).map(|_| text.into())
}

impl AskingOptions {
    fn questions(&self) -> Vec<Question> {
        let exact = self.max_keys.is_none();
        let per = self.per.iter().map(|span| Question::per(*span, exact));
        let top = self.top.iter().map(|field| Question::top(*field));
        let hosts = self.hosts_of.iter().map(|path| Question::hosts_of(path));
        per.chain(top).chain(hosts).collect()
    }

    /// Whether nothing in particular is asked.
    fn is_overview(&self) -> bool {
        self.top.is_empty() && self.per.is_empty() && self.hosts_of.is_empty()
    }
}

impl LogsArgs {
    fn ask(&self) -> Ask {
        let AskingOptions { filters, since, until, log_format, max_keys, .. } = self.asking.clone();
        let questions = match self.asking.is_overview() {
            true => Question::overview(max_keys.is_none()),
            false => self.asking.questions(),
        };
        Ask {
            questions,
            filters,
            since,
            until,
            format: log_format,
            most_keys: max_keys.map(usize::from),
            bad_lines: self.showing.bad_lines,
        }
    }
}

/// Does what was asked for.
pub(crate) fn run(args: LogsArgs, talk: Talk) -> Result<Exit, Error> {
    let interrupt = Interrupt::install()?;
    let workers = args.jobs.at_once();
    if let Some(sample) = args.sample.asked() {
        return sampling::run(
            sample,
            args.asking.log_format.as_deref(),
            &args.jobs,
            workers,
            args.report,
            talk,
            &interrupt,
        );
    }
    if args.logs.is_empty() && io::stdin().is_terminal() {
        return Err(Error::usage("no log is named").hint("name files or folders, as in `raincheck logs access.log*`"));
    }
    for file in &args.showing.output {
        file.check()?;
    }
    let ask = Arc::new(args.ask());
    let pieces = source::find(&args.logs, workers.get());
    let reads_stdin = pieces.iter().any(|piece| piece.source == source::Source::Stdin);
    if args.jobs.executor() == ExecutorName::Process && reads_stdin {
        return Err(executors::stdin_stays_here());
    }
    let mut sum = Sum::new(&ask, &pieces);
    let plan = args.report.clone().plan("logs", talk);
    let plan = if reads_stdin { plan.reading_stdin("a log") } else { plan };
    let report = Report::open(plan, &interrupt)?;
    let chosen = executors::make(args.jobs.executor(), workers)?;
    let bytes = pieces.iter().map(|piece| piece.size).sum::<Option<u64>>();
    report.expect(Expected { jobs: Some(pieces.len() as u64), bytes });

    let mut pieces = pieces.into_iter();
    // Not the vector's own iterator: since it knows its length, the batch would announce jobs without bytes.
    let works = iter::from_fn(|| Some(Work { piece: pieces.next()?, ask: Arc::clone(&ask) }));
    Batch::new(&report, &interrupt, &args.jobs).run(
        chosen,
        works,
        |work| work.piece.label(),
        &Calls(read::call),
        |work, found| {
            sum.take(work.piece, found, &report);
            Ok(())
        },
    )?;

    let is_interrupted = interrupt.asked().is_some();
    let all_whole = sum.tell(&report, args.showing.bad_lines);
    let exit = match report.finish()? {
        Exit::AllDone if !all_whole => Exit::SomeFailed,
        exit => exit,
    };
    if sum.found_no_log() && !is_interrupted {
        return Err(Error::new("there is no log in what was named").hint(
            "`--log-format` says how the lines of other logs are written; files that are named are read in any case",
        ));
    }
    show(&sum.answers(&args), &args, is_interrupted)?;
    Ok(exit)
}

/// Reads a piece of a log.
#[raincheck::task]
fn read(work: Work) -> Tried<Found> {
    reading::read(&work, &raincheck::progress)
}

/// Writes the answers where they were asked for.
fn show(answers: &Answers, args: &LogsArgs, is_interrupted: bool) -> Result<(), Error> {
    if answers.lines == 0 && !answers.are_complete() {
        // Nothing could be read, which has been said; that nothing happened would be wrong.
        return Ok(());
    }
    let is_overview = args.asking.is_overview();
    let ShowingOptions { format, output, .. } = &args.showing;
    // A table of values has no place for a caveat; half of one would be taken for the whole.
    let can_say_so = |form: Form| !(is_interrupted && matches!(form, Form::Csv | Form::Plain));
    let told = if output.is_empty() { can_say_so(*format) } else { output.iter().all(|file| can_say_so(file.form())) };
    if !told {
        Error::new("what was counted is not all, and so is not written as it was asked for")
            .hint("tables, JSON and pages say what they are of")
            .tell();
    }
    if output.is_empty() && can_say_so(*format) {
        let text = format.write(answers, is_overview);
        write_output(text.as_bytes())?;
    }
    output.iter().filter(|file| can_say_so(file.form())).try_for_each(|file| file.write(answers, is_overview))
}

/// What all pieces come to.
struct Sum {
    ask: Arc<Ask>,
    tally: Tally,
    /// For each log, by its number, how many pieces of it have yet to come.
    open: BTreeMap<usize, usize>,
    /// Logs that are not in the sum, or not to their ends.
    lacking: BTreeSet<usize>,
    /// Files in folders that are none.
    skipped: BTreeSet<usize>,
    /// How many lines each piece had, and its bad ones: by log and place, since lines are counted from the log's beginning.
    bad_lines: BTreeMap<(usize, u64), (String, u64, Vec<BadLine>)>,
    any_trouble: bool,
}

impl Sum {
    fn new(ask: &Arc<Ask>, pieces: &[Piece]) -> Self {
        let mut open = BTreeMap::new();
        for piece in pieces {
            *open.entry(piece.log).or_default() += 1;
        }
        Self {
            ask: Arc::clone(ask),
            tally: Tally::new(ask),
            open,
            lacking: BTreeSet::new(),
            skipped: BTreeSet::new(),
            bad_lines: BTreeMap::new(),
            any_trouble: false,
        }
    }

    /// Adds what a piece came to.
    fn take(&mut self, piece: Piece, found: Result<Found, &Failure>, report: &Report) {
        match found {
            Ok(Found::Counted { mut tally, trouble }) => {
                if self.ask.bad_lines > 0 {
                    let bad = std::mem::take(&mut tally.bad_lines);
                    self.bad_lines.insert((piece.log, piece.start), (piece.log_name(), tally.lines, bad));
                }
                self.tally.absorb(*tally, &self.ask);
                if let Some(trouble) = trouble {
                    report.warn(format!("`{}`: {}", figures::shown(&piece.label()), figures::shown(&trouble)));
                    self.lacking.insert(piece.log);
                    self.any_trouble = true;
                }
            }
            Ok(Found::NotALog) => {
                report.note(format!("skipped `{}`: it is no access log", figures::shown(&piece.label())));
                self.skipped.insert(piece.log);
            }
            Err(_) => {
                self.lacking.insert(piece.log);
            }
        }
        if let Some(open) = self.open.get_mut(&piece.log) {
            *open -= 1;
        }
    }

    /// Tells of lines that could not be read. Returns whether all that was read was whole.
    fn tell(&self, report: &Report, most: usize) -> bool {
        let Tally { bad, lines, .. } = self.tally;
        if bad > 0 {
            let lines = figures::count(lines, "line");
            report.warn(format!("{bad} of {lines} could not be read, and are not counted"));
            if most == 0 {
                report.hint("`--bad-lines 10` shows the first of them".into());
            }
        }
        let mut shown = 0;
        let mut log_before = (usize::MAX, 0);
        for ((log, _), (name, lines, bad)) in &self.bad_lines {
            let before = if log_before.0 == *log { log_before.1 } else { 0 };
            for BadLine { number, text } in bad.iter().take(most - shown) {
                report.note(format!(
                    "{}:{}: {}",
                    figures::shown(name),
                    before + number,
                    figures::shown(&readable(text))
                ));
                shown += 1;
            }
            log_before = (*log, before + lines);
        }
        !self.any_trouble
    }

    /// Whether folders were searched in vain.
    fn found_no_log(&self) -> bool {
        self.open.len() == self.skipped.len()
    }

    fn answers(&self, args: &LogsArgs) -> Answers {
        let most = if args.showing.all { usize::MAX } else { args.showing.limit };
        let mut answers = Answers::of(&self.tally, &self.ask, args.showing.order, most);
        let whole = self.open.iter().filter(|(log, open)| **open == 0 && !self.lacking.contains(log));
        answers.read = Extent {
            logs: (self.open.len() - self.skipped.len()) as u64,
            whole: whole.filter(|(log, _)| !self.skipped.contains(log)).count() as u64,
        };
        let asked = self.ask.read().expect("it was read when it was typed");
        answers.lines_with = self.ask.needle(&asked).map(readable);
        if args.asking.is_overview() { answers.for_a_glance() } else { answers }
    }
}
