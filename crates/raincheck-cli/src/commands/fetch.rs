//! `raincheck fetch`: every file of a list, whole and once.

mod disposition;
mod failed;
mod follow;
mod hashes;
mod journal;
mod known;
mod list;
mod manners;
mod names;
mod options;
mod page;
mod plan;
mod record;
mod robots;
mod source;
mod sums;
mod template;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raincheck::fetch::{Downloads, Stop};

use self::failed::Failed;
use self::follow::Follow;
use self::journal::{Journal, Past, Trouble};
use self::known::Known;
use self::manners::Manners;
use self::names::Names;
use self::options::{Existing, PaceOptions, RequestOptions};
use self::page::Page;
use self::plan::{Common, Plan, Planned};
use self::source::Planner;
use self::sums::Sums;
use self::template::Template;
use crate::args::{ExecutorName, ReportOptions, Talk, executor_here, jobs_or_else};
use crate::batch::feed::{Feed, Produce};
use crate::descriptors;
use crate::error::{Error, Exit, cannot_write_output};
use crate::executors;
use crate::interrupt::Interrupt;
use crate::report::event::Status;
use crate::report::{self, Report, figures};

const NOTHING: &str = "there was nothing to fetch: no URL was given";

/// What is read from a terminal.
const A_LIST: &str = "a list of URLs, one on each line";

/// So many lines are read ahead.
const AHEAD: usize = 1024;

/// Its connection and its file.
const FILES_EACH: u64 = 2;
/// Lists, reports, the journal, and what the runtime needs.
const FILES_BESIDE: u64 = 64;

const USAGE: &str = "raincheck fetch [OPTIONS] URL...\n       raincheck fetch [OPTIONS] --input LIST";

const EXAMPLES: &str = "\
Examples:
  raincheck fetch https://example.org/a.pdf https://example.org/b.pdf
  raincheck fetch -i urls.txt -d files -j 30                 a URL a line; again: what is missing
  raincheck fetch -i urls.txt -d files --failed again.txt    what failed, as a list to give back
  raincheck fetch --segments 4 https://example.org/disk.img  a large file in pieces at once
  raincheck fetch -i urls.txt --name '{host}/{path}'         files called as on their sites";

/// What `raincheck fetch` is asked for.
#[derive(Debug, Clone, clap::Args)]
#[command(override_usage = USAGE, after_help = EXAMPLES)]
pub(crate) struct FetchArgs {
    /// What to fetch
    #[arg(value_name = "URL", required_unless_present = "inputs")]
    urls: Vec<String>,
    /// Fetch what LIST says: a URL on each line, after tabs its name, checksum or mirrors, and indented below it options as
    /// aria2 has them (out, dir, checksum, header, referer, user-agent, http-user, http-passwd, split,
    /// max-connection-per-server, min-split-size); `-` is standard input
    #[arg(long = "input", short, value_name = "LIST")]
    inputs: Vec<PathBuf>,
    /// The folder that files go to
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// What files are called, of parts of their URL: {host}, {path}, {dir}, {name}, {stem}, {ext}, {query}, {hash}, and {#} for
    /// the number in the list [default: {name}]
    #[arg(long, value_name = "TEMPLATE", value_parser = Template::parse)]
    name: Option<Template>,
    /// Take the name that the server tells (Content-Disposition), where it tells one
    #[arg(long)]
    server_names: bool,
    /// Go by what sites ask of robots: robots.txt, and X-Robots-Tag (noai, noindex and the like)
    #[arg(long)]
    robots: bool,
    /// Check files by their names against FILE, a list of sums as sha256sum, b3sum or BSD's tools write it
    #[arg(long, value_name = "FILE")]
    sums: Vec<PathBuf>,
    /// What becomes of a file that is there already
    #[arg(long, value_name = "WHAT", default_value = "skip")]
    existing: Existing,
    /// Give files the time of their last change that the server tells
    #[arg(long, short = 'R')]
    remote_time: bool,
    /// Have each file on the disk itself before it gets its name
    #[arg(long)]
    fsync: bool,
    /// Write what failed to FILE, as a list to try again; after Ctrl-C, also what was not begun, so far as no
    /// pipe and no site is to be waited for
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
    /// Write what would be fetched, and under which name, to standard output, and fetch nothing
    #[arg(long)]
    dry_run: bool,
    /// Where downloads run: all on one thread, each on a thread, or one by one
    #[arg(long, value_name = "WHERE", default_value = "tokio", value_parser = executor_here())]
    executor: ExecutorName,
    /// How many downloads run at once, and how many connections there are, at most; of more than 16, as many as one
    /// thread has time for
    #[arg(long, short, value_name = "N", default_value = "16", value_parser = jobs_or_else("16"))]
    jobs: NonZeroUsize,
    #[command(flatten)]
    pace: PaceOptions,
    #[command(flatten)]
    requests: RequestOptions,
    #[command(flatten)]
    report: ReportOptions,
    /// Draw how fast it went, how long answers took and which hosts failed when, to FILE
    #[arg(long, value_name = "FILE.html", value_parser = html, help_heading = "Seeing what happens")]
    page: Option<PathBuf>,
}

/// Does what was asked for.
pub(crate) fn run(args: FetchArgs, talk: Talk) -> Result<Exit, Error> {
    let asked = if args.executor == ExecutorName::Inline { NonZeroUsize::MIN } else { args.jobs };
    let (jobs, too_many) = at_once(asked);
    let common = Common {
        dir: args.dir.clone(),
        existing: args.existing,
        method: args.requests.method.clone(),
        body: args.requests.body()?,
        template: args.name,
        named_by_server: args.server_names,
        sums: read_sums(&args.sums)?,
        segments: args.pace.segments(),
        was_empty: is_empty(&args.dir),
        dry: args.dry_run,
    };
    let mut names = Names::default();
    let each = |record: &journal::Record<'_>| names.keep(&record.name);
    let (journal, past) = if args.dry_run {
        (None, Past::read(&args.dir, each).map_err(|trouble| no_journal(trouble, &args.dir))?)
    } else {
        let (journal, past) = Journal::open(&args.dir, each).map_err(|trouble| no_journal(trouble, &args.dir))?;
        (Some(journal), past)
    };
    let known = Arc::new(Known::new(&args.dir, journal, names));
    let total = Plan::count(args.urls.len(), &args.inputs);
    let mut plan = Plan::open(args.urls, &args.inputs, common, Arc::clone(&known), past)?;
    let reads_stdin = args.inputs.iter().any(|list| list.as_os_str() == "-");
    if args.dry_run {
        if reads_stdin {
            report::tell_reading(A_LIST, talk.verbosity());
        }
        return show(plan);
    }
    let interrupt = Interrupt::install()?;
    let made = args.requests.client()?;
    let robot = args.robots.then(|| args.requests.robot());
    if let Some(robot) = &robot {
        plan.mind(Manners::new(&made.client, robot)?);
    }
    let downloads = Downloads::new(made.client.clone())
        .at_once(jobs.get())
        .keep_times(args.remote_time)
        .sync(args.fsync)
        .leave_parts(true)
        // A thread for each download, or one for all.
        .workers(if args.executor == ExecutorName::Thread { jobs.get() } else { 1 })
        .into_folder(&args.dir)
        .map_err(|error| Error::usage(format!("cannot open the folder `{}`", args.dir.display())).because(error))?;
    let downloads = args.pace.apply(downloads);
    let threads = if args.executor == ExecutorName::Thread { jobs } else { NonZeroUsize::MIN };
    // On `tokio` one thread does it all: this one can, which would only wait for another.
    let here = if args.executor == ExecutorName::Tokio { ExecutorName::Inline } else { args.executor };
    let executor = executors::make_here(here, threads)?;
    let failed = args.failed.as_deref().map(|path| Failed::create(path, &args.inputs)).transpose()?;
    let page = args.page.as_deref().map(Page::new).transpose()?;

    let mut told = args.report.plan("Downloads", talk);
    if reads_stdin {
        told = told.reading_stdin(A_LIST);
    }
    let tells_more = told.records.is_some();
    let report = Arc::new(
        Report::open(report::Plan { columns: follow::COLUMNS, ..told }, &interrupt)?
            .failures_in(args.failed.as_deref()),
    );
    report.style(&executors::style(args.executor, jobs));
    too_many.into_iter().for_each(|told| report.note(told));
    let stop = Stop::new();
    let stopped = stop.clone();
    interrupt.on_asked(move || stopped.stop());

    let follow = Arc::new(Follow::new(Arc::clone(&report), tells_more, failed, page, Arc::clone(&known), robot));
    let is_bounded = plan.is_bounded();
    let feed = if plan.is_quick() { Feed::here(plan, total) } else { Feed::start(plan, AHEAD, total)? };
    let (stop_reading, trouble) = (feed.stop(), feed.trouble());
    let source = Planner::new(feed, Arc::clone(&follow), Arc::clone(&report), stop.clone(), is_bounded);
    let all_was_read = source.all_was_read();
    let ran = downloads.watched(&executor, source, Arc::clone(&follow) as _, &stop);
    stop_reading();
    ran.map_err(|error| Error::new("cannot run the downloads").because(error))?;

    let follow = Arc::into_inner(follow).expect("nobody follows the downloads any more");
    follow.cut_short();
    let (shared, page, failed) = follow.end();
    drop(shared);
    let report = Arc::into_inner(report).expect("nobody else tells the report any more");
    if known.repeated() > 0 {
        let times = figures::count_of(known.repeated(), "URL came", "URLs came");
        report.note(format!("{times} more than once, and is fetched once"));
    }
    let trouble = trouble();
    let all_was_read = all_was_read() && trouble.is_none();
    if all_was_read && Status::ALL.iter().all(|status| report.count(*status) == 0) {
        report.note(NOTHING);
    }
    let failed = failed.map_or(Ok(()), |failed| failed.end(all_was_read));
    let exit = report.finish()?;
    failed?;
    page.map_or(Ok(()), Page::end)?;
    made.end()?;
    match trouble {
        Some(error) => Err(error),
        None => {
            // Of a run that was cut short, the next one takes up what is left.
            if !stop.is_stopped() {
                known.clear();
            }
            Ok(exit)
        }
    }
}

/// How many downloads can run at once, of so many, and what is to be said if they cannot all.
fn at_once(asked: NonZeroUsize) -> (NonZeroUsize, Option<String>) {
    let needed = (asked.get() as u64).saturating_mul(FILES_EACH).saturating_add(FILES_BESIDE);
    let allowed = descriptors::make_room(needed);
    let possible = allowed.saturating_sub(FILES_BESIDE) / FILES_EACH;
    let possible = usize::try_from(possible).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN);
    if possible >= asked {
        return (asked, None);
    }
    let told = format!(
        "{possible} at a time and not {asked}, which would take {needed} open files: the system allows {allowed} (`ulimit -Hn`)"
    );
    (possible, Some(told))
}

fn html(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    match path.extension().and_then(|ending| ending.to_str()) {
        Some(ending) if ["html", "htm"].contains(&&*ending.to_lowercase()) => Ok(path),
        _ => Err("its name must end in .html".into()),
    }
}

fn read_sums(lists: &[PathBuf]) -> Result<Sums, Error> {
    let mut sums = Sums::default();
    for path in lists {
        let cannot = |error| Error::usage(format!("cannot read `{}`", path.display())).because(error);
        sums.read(BufReader::new(File::open(path).map_err(cannot)?), path).map_err(cannot)?;
        // Were it passed over, the file that it is about would go unchecked.
        if let Some(line) = sums.bad_lines.first() {
            return Err(Error::usage(format!("line {line} of `{}` tells no sum of a file", path.display()))
                .hint("a line is `SUM  NAME` as sha256sum writes it, or `SHA256 (NAME) = SUM`"));
        }
    }
    Ok(sums)
}

/// Whether nothing is in the folder, or there is none.
fn is_empty(dir: &Path) -> bool {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn no_journal(trouble: Trouble, dir: &Path) -> Error {
    match trouble {
        Trouble::NoFolder => Error::usage(format!("`{}` is not a folder", dir.display())),
        Trouble::Held => Error::usage(format!("another `raincheck fetch` is at work in `{}`", dir.display()))
            .hint("wait until it is done, or choose another folder by `--dir`"),
        Trouble::Unknown(path) => Error::usage(format!("`{}` is no journal of this version", path.display())).hint(
            "use the version that wrote it; without the file, all is fetched again that `--existing` does not keep",
        ),
        Trouble::Io(path, error) => Error::usage(format!("cannot use `{}`", path.display())).because(error),
    }
}

/// Writes what is planned.
fn show(mut plan: Plan) -> Result<Exit, Error> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut exit = Exit::AllDone;
    let mut was_empty = true;
    while let Some(planned) = plan.next()? {
        was_empty = false;
        let line = match planned {
            Planned::Fetch(download) => {
                let name = download.name().unwrap_or_else(|| "-".as_ref());
                format!("{}\t{}\n", download.request().url(), figures::shown(&name.to_string_lossy()))
            }
            Planned::There { .. } => continue,
            Planned::Warning(text) => {
                anstream::eprintln!("{}", crate::paint::Paint::for_stderr().warning(&text));
                continue;
            }
            Planned::Refused { place: what, why } | Planned::Bad { what, why, .. } => {
                exit = Exit::SomeFailed;
                anstream::eprintln!("{}", crate::paint::Paint::for_stderr().warning(&format!("`{what}`: {why}")));
                continue;
            }
        };
        out.write_all(line.as_bytes()).map_err(cannot_write_output)?;
    }
    out.flush().map_err(cannot_write_output)?;
    if was_empty {
        anstream::eprintln!("{NOTHING}");
    }
    Ok(exit)
}
