//! `raincheck fetch`: every file of a list, whole and once.

mod disposition;
mod follow;
mod hashes;
mod journal;
mod list;
mod names;
mod options;
mod page;
mod plan;
mod source;
mod sums;
mod template;

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use raincheck::fetch::{Downloads, Stop};

use self::follow::{Failed, Follow};
use self::options::{Existing, PaceOptions, RequestOptions};
use self::page::Page;
use self::plan::{Common, Plan, Planned};
use self::source::Planner;
use crate::args::{ExecutorName, ReportOptions, Talk};
use crate::batch::feed::{Feed, Produce};
use crate::error::{Error, Exit, cannot_write_output};
use crate::executors;
use crate::interrupt::Interrupt;
use crate::report::{self, Report, figures};

/// So many lines are read ahead.
const AHEAD: usize = 1024;

/// What `raincheck fetch` is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FetchArgs {
    /// What to fetch
    #[arg(value_name = "URL", required_unless_present = "inputs")]
    urls: Vec<String>,
    /// Fetch what LIST says, a URL on each line, and after tabs its name, checksum or mirrors; `-` is standard input
    #[arg(long = "input", short, value_name = "LIST")]
    inputs: Vec<PathBuf>,
    /// The folder that files go to
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// What becomes of a file that is there already
    #[arg(long, value_name = "WHAT", default_value = "skip")]
    existing: Existing,
    /// Give files the time of their last change that the server tells
    #[arg(long, short = 'R')]
    remote_time: bool,
    /// Have each file on the disk itself before it gets its name
    #[arg(long)]
    fsync: bool,
    /// Write what failed to FILE, as a list to try again
    #[arg(long, value_name = "FILE")]
    failed: Option<PathBuf>,
    /// Write what would be fetched, and under which name, to standard output, and fetch nothing
    #[arg(long)]
    dry_run: bool,
    /// Where downloads run: all on one thread, each on a thread, or one by one
    #[arg(long, value_name = "WHERE", default_value = "tokio")]
    executor: ExecutorName,
    /// How many downloads run at once, and how many connections there are at most
    #[arg(long, short, value_name = "N", default_value = "16")]
    jobs: NonZeroUsize,
    #[command(flatten)]
    pace: PaceOptions,
    #[command(flatten)]
    requests: RequestOptions,
    #[command(flatten)]
    report: ReportOptions,
    /// Draw how fast it went, how long answers took and which hosts failed when, to FILE
    #[arg(long, value_name = "FILE.html", help_heading = "Seeing what happens")]
    page: Option<PathBuf>,
}

/// Does what was asked for.
pub(crate) fn run(args: FetchArgs, talk: Talk) -> Result<Exit, Error> {
    let common = Common {
        dir: args.dir.clone(),
        existing: args.existing,
        method: args.requests.method.clone(),
        body: args.requests.body()?,
    };
    let plan = Plan::open(args.urls, &args.inputs, common)?;
    if args.dry_run {
        return show(plan);
    }
    let interrupt = Interrupt::install().map_err(|error| Error::new("cannot listen for Ctrl-C").because(error))?;
    let jobs = if args.executor == ExecutorName::Inline { NonZeroUsize::MIN } else { args.jobs };
    let made = args.requests.client()?;
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
    let executor = executors::make_here(args.executor, threads)?;
    let failed = args.failed.as_deref().map(Failed::create).transpose()?;
    let page = args.page.as_deref().map(Page::new).transpose()?;

    let told = args.report.plan("Downloads", talk);
    let tells_more = told.records.is_some();
    let report = Arc::new(Report::open(report::Plan { columns: follow::COLUMNS, ..told }, &interrupt)?);
    report.style(&executors::style(args.executor, jobs));
    let stop = Stop::new();
    let stopped = stop.clone();
    interrupt.on_asked(move || stopped.stop());

    let follow = Arc::new(Follow::new(Arc::clone(&report), tells_more, failed, page));
    let feed = Feed::start(plan, AHEAD, None)?;
    let (stop_reading, trouble) = (feed.stop(), feed.trouble());
    let source = Planner::new(feed, Arc::clone(&follow), Arc::clone(&report));
    let ran = downloads.watched(&executor, source, Arc::clone(&follow) as _, &stop);
    stop_reading();
    ran.map_err(|error| Error::new("cannot run the downloads").because(error))?;

    let follow = Arc::into_inner(follow).expect("nobody follows the downloads any more");
    follow.cut_short();
    let (shared, page, failed) = follow.end();
    drop(shared);
    let report = Arc::into_inner(report).expect("nobody else tells the report any more");
    let exit = report.finish()?;
    failed.map_or(Ok(()), Failed::end)?;
    page.map_or(Ok(()), Page::end)?;
    made.end()?;
    match trouble() {
        Some(error) => Err(error),
        None => Ok(exit),
    }
}

/// Writes what is planned.
fn show(mut plan: Plan) -> Result<Exit, Error> {
    let mut out = io::stdout().lock();
    let mut exit = Exit::AllDone;
    while let Some((_, planned)) = plan.next()? {
        let line = match planned {
            Planned::Fetch(download) => {
                let name = download.name().unwrap_or_else(|| "-".as_ref());
                format!("{}\t{}\n", download.request().url(), figures::shown(&name.to_string_lossy()))
            }
            Planned::There { .. } => continue,
            Planned::Bad { what, why } => {
                exit = Exit::SomeFailed;
                anstream::eprintln!("{}", crate::paint::Paint::for_stderr().warning(&format!("`{what}`: {why}")));
                continue;
            }
        };
        out.write_all(line.as_bytes()).map_err(cannot_write_output)?;
    }
    out.flush().map_err(cannot_write_output)?;
    Ok(exit)
}
