//! `raincheck fetch`: every file of a list, whole and once.

mod follow;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use raincheck::fetch::{Client, Download, Downloads, FetchError, Request, Retries, Stop};

use self::follow::Follow;
use crate::args::{ExecutorName, ReportOptions, Talk};
use crate::error::{Error, Exit};
use crate::executors;
use crate::interrupt::Interrupt;
use crate::report::Report;

/// What `raincheck fetch` is asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FetchArgs {
    /// What to fetch
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Fetch the URLs in LIST too, one a line; `-` is standard input
    #[arg(long = "input", short, value_name = "LIST")]
    inputs: Vec<PathBuf>,
    /// The folder that files go to
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Where downloads run [default: tokio]
    #[arg(long, value_name = "WHERE")]
    executor: Option<ExecutorName>,
    /// How many downloads run at once
    #[arg(long, short, value_name = "N", default_value = "16")]
    jobs: NonZeroUsize,
    /// Try again so many times what may go away: 429 and 5xx, time limits, lost connections, bodies cut off
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,
    #[command(flatten)]
    report: ReportOptions,
}

/// Does what was asked for.
pub(crate) fn run(args: FetchArgs, talk: Talk) -> Result<Exit, Error> {
    let interrupt = Interrupt::install().map_err(|error| Error::new("cannot listen for Ctrl-C").because(error))?;
    let name = args.executor.unwrap_or(ExecutorName::Tokio);
    let jobs = if name == ExecutorName::Inline { NonZeroUsize::MIN } else { args.jobs };
    let client = Client::builder().build().map_err(|error| Error::usage(error.to_string()))?;
    let downloads = Downloads::new(client)
        .at_once(jobs.get())
        .workers(if name == ExecutorName::Thread { jobs.get() } else { 1 })
        .retries(Retries::times(args.retries))
        .into_folder(&args.dir)
        .map_err(|error| Error::usage(format!("cannot open the folder `{}`", args.dir.display())).because(error))?;
    let executor = executors::make_here(name, if name == ExecutorName::Tokio { NonZeroUsize::MIN } else { jobs })?;

    let plan = args.report.plan("Downloads", talk);
    let report = Arc::new(Report::open(plan, &interrupt)?);
    report.style(&executors::style(name, jobs));
    let stop = Stop::new();
    let stopped = stop.clone();
    interrupt.on_asked(move || stopped.stop());

    let mut lists: Vec<Box<dyn BufRead + Send>> = Vec::new();
    for path in &args.inputs {
        lists.push(if path.as_os_str() == "-" {
            Box::new(BufReader::new(io::stdin()))
        } else {
            let file = File::open(path)
                .map_err(|error| Error::usage(format!("cannot read `{}`", path.display())).because(error))?;
            Box::new(BufReader::new(file))
        });
    }
    let lines = args.urls.into_iter().chain(lists.into_iter().flat_map(|list| list.lines().map_while(Result::ok)));
    let source = lines.enumerate().filter_map(|(number, line)| download(number as u64, &line).ok());

    let follow = Arc::new(Follow::new(Arc::clone(&report)));
    downloads
        .watched(&executor, source, Arc::clone(&follow) as _, &stop)
        .map_err(|error| Error::new("cannot run the downloads").because(error))?;
    drop(follow);
    let report = Arc::into_inner(report).expect("nobody follows the downloads any more");
    report.finish()
}

fn download(number: u64, line: &str) -> Result<Download, FetchError> {
    let (url, name) = line.split_once('\t').unwrap_or((line, line.rsplit('/').next().unwrap_or("index.html")));
    Ok(Download::new(Request::get(url)?).to(name).numbered(number))
}
