//! `raincheck flags`: the classic demonstration of what executors are for.
//!
//! Without arguments it downloads the same twenty flags in each style and compares the times. With arguments it is the
//! book's second program: country codes, a server that is fast, slow or unreliable, and a report in its words.

mod cpu;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use std::{fs, io};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::args::{ExecutorName, JobOptions, ReportOptions, Talk, jobs_or_else, number};
use crate::batch::{Again, Async, Batch, Calls, Done, Failure, Tried};
use crate::client::{AsyncClient, BlockingClient, FetchError};
use crate::error::{Error, Exit, cannot_write_output, write_output};
use crate::executors;
use crate::interrupt::Interrupt;
use crate::report::event::Status;
use crate::report::figures;
use crate::report::{Attempt, Plan, Report, Verbosity};
use crate::server::{Content, Delay, Server, ServerOptions, Share};

/// The twenty most populous countries, as the book has them.
const POPULAR: [&str; 20] = [
    "CN", "IN", "US", "ID", "BR", "PK", "NG", "BD", "RU", "JP", "MX", "PH", "VN", "ET", "EG", "DE", "IR", "TR", "CD",
    "FR",
];

/// How long the demonstration's server takes for each response: about 7 s for all of them, one by one.
const DELAY: Duration = Duration::from_millis(350);

/// How long a server may take for a flag.
const LIMIT: Duration = Duration::from_secs(30);

/// Nobody needs more connections at a time.
const MOST_CONNECTIONS: usize = 1000;

/// What `raincheck flags` is asked for.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("jobs", |jobs| jobs
    .help("How many jobs run at once [default: as --max-req, or with --cpu one for each core]")
    .value_parser(jobs_or_else("30, or with --cpu for one for each core"))))]
pub(crate) struct FlagsArgs {
    /// Country codes, or first letters: B is all from BA to BZ [default: the 20 most populous countries]
    #[arg(value_name = "CC", value_parser = country)]
    countries: Vec<Country>,
    /// Get all flags there are
    #[arg(long, short)]
    all: bool,
    /// Get flags for every possible code, from AA to ZZ
    #[arg(long, short)]
    every: bool,
    /// Stop after the first N codes
    #[arg(long, short, value_name = "N", value_parser = number::<NonZeroUsize>)]
    limit: Option<NonZeroUsize>,
    /// Make at most N requests at a time, as --jobs does [default: 30, or 1 for --executor inline]
    #[arg(short = 'm', long = "max-req", alias = "max_req", value_name = "N", conflicts_with = "jobs", value_parser = number::<NonZeroUsize>)]
    max_req: Option<NonZeroUsize>,
    /// Compute and do not download: RC4, SHA-256 and primes, by one worker and by more, on threads and on processes
    #[arg(long, conflicts_with_all = ["countries", "all", "every", "limit", "max_req", "server", "base_url", "folder", "dir", "executor"])]
    cpu: bool,
    /// The server to ask
    #[arg(long, short, value_name = "LABEL", default_value = "local", ignore_case = true)]
    server: ServerLabel,
    /// The address that REMOTE is at; a flag is `URL/de/de.gif`
    #[arg(long, value_name = "URL", required_if_eq("server", "remote"), value_parser = web_address)]
    base_url: Option<String>,
    /// Have the other servers serve this folder, with flags as `de/de.gif` in it, and not the built-in flags
    #[arg(long, value_name = "DIR", conflicts_with = "base_url")]
    folder: Option<PathBuf>,
    /// Save the flags here [default: `downloaded`; the demonstration keeps none]
    #[arg(long, short, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    jobs: JobOptions,
    #[command(flatten)]
    report: ReportOptions,
}

/// Where flags come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ServerLabel {
    /// The built-in server, at once
    Local,
    /// The built-in server, half a second late
    Delay,
    /// The built-in server, where every fourth request fails and the rest is up to half a second late
    Error,
    /// The server at --base-url
    Remote,
}

/// A country code, or the letter that many begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Country {
    Code(String),
    Letter(char),
}

/// Does what was asked for.
pub(crate) fn run(args: FlagsArgs, talk: Talk) -> Result<Exit, Error> {
    let interrupt = Interrupt::install()?;
    if args.cpu {
        return cpu::demonstrate(args, talk, &interrupt);
    }
    if args.is_demonstration() { demonstrate(args, talk, &interrupt) } else { download(args, talk, &interrupt) }
}

impl FlagsArgs {
    /// Whether nothing is asked for but to be shown what there is.
    fn is_demonstration(&self) -> bool {
        self.countries.is_empty()
            && !self.all
            && !self.every
            && self.limit.is_none()
            && self.max_req.is_none()
            && self.server == ServerLabel::Local
            && self.folder.is_none()
            && self.jobs.executor.is_none()
    }

    /// The codes that are asked for, in order and each once.
    fn codes(&self) -> Vec<String> {
        let letters = 'A'..='Z';
        let pairs = || letters.clone().flat_map(|a| ('A'..='Z').map(move |b| format!("{a}{b}")));
        let codes: BTreeSet<String> = if self.every {
            pairs().collect()
        } else if self.all {
            match &self.folder {
                Some(folder) => pairs().filter(|code| flag_path(folder, code, "gif").is_file()).collect(),
                None if self.server == ServerLabel::Remote => pairs().collect(),
                None => pairs().filter(|code| crate::server::has_flag(&code.to_lowercase())).collect(),
            }
        } else if self.countries.is_empty() {
            POPULAR.iter().map(ToString::to_string).collect()
        } else {
            self.countries.iter().flat_map(Country::codes).collect()
        };
        codes.into_iter().take(self.limit.map_or(usize::MAX, usize::from)).collect()
    }
}

impl Country {
    fn codes(&self) -> Vec<String> {
        match self {
            Self::Code(code) => vec![code.clone()],
            Self::Letter(letter) => ('A'..='Z').map(|second| format!("{letter}{second}")).collect(),
        }
    }
}

fn country(text: &str) -> Result<Country, String> {
    let letters: Vec<char> = text.to_uppercase().chars().filter(char::is_ascii_uppercase).collect();
    match letters[..] {
        [letter] if text.len() == 1 => Ok(Country::Letter(letter)),
        [first, second] if text.len() == 2 => Ok(Country::Code([first, second].iter().collect())),
        _ => Err("each CC must be A to Z or AA to ZZ".into()),
    }
}

fn web_address(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() => Ok(text.into()),
        _ => Err("write it as in http://127.0.0.1:8000/flags".into()),
    }
}

/// Where a flag is, below a folder or a base address.
fn flag_path(below: &Path, code: &str, ending: &str) -> PathBuf {
    let code = code.to_lowercase();
    below.join(&code).join(format!("{code}.{ending}"))
}

/// A place that flags come from, for as long as it is needed.
struct Site {
    /// Held so that it goes on serving.
    _server: Option<Server>,
    base_url: String,
    ending: &'static str,
}

impl Site {
    fn open(args: &FlagsArgs) -> Result<Self, Error> {
        let delay = Delay::fixed(DELAY);
        let options = match args.server {
            ServerLabel::Remote => {
                let base_url = args.base_url.clone().unwrap_or_default();
                return Ok(Self { _server: None, base_url: base_url.trim_end_matches('/').into(), ending: "gif" });
            }
            ServerLabel::Local if args.is_demonstration() => ServerOptions { delay: Some(delay), ..Default::default() },
            ServerLabel::Local => ServerOptions::default(),
            ServerLabel::Delay => {
                ServerOptions { delay: Some(Delay::fixed(Duration::from_millis(500))), ..Default::default() }
            }
            ServerLabel::Error => ServerOptions {
                delay: Some(Delay::between(Duration::ZERO, Duration::from_millis(500))),
                error_rate: Share::new(0.25).expect("a quarter is a share"),
                error_status: 418,
                ..Default::default()
            },
        };
        let (content, below, ending) = match &args.folder {
            Some(folder) => (Content::Folder(folder.clone()), "", "gif"),
            None => (Content::BuiltInFlags, "/flags", "png"),
        };
        let server = Server::start(content, options).map_err(super::serve::cannot_start)?;
        let base_url = format!("http://{}{below}", server.address());
        Ok(Self { _server: Some(server), base_url, ending })
    }
}

/// What every download here has in common.
#[derive(Clone, Serialize, Deserialize)]
struct Download {
    base_url: String,
    ending: String,
    /// Where flags are saved.
    dir: PathBuf,
}

/// Downloads a flag, on a thread of whichever process.
#[raincheck::task]
fn save_flag(download: Download, code: String) -> Tried<()> {
    static CLIENT: LazyLock<BlockingClient> = LazyLock::new(|| BlockingClient::new(LIMIT));
    download.save(&code, CLIENT.get(&download.url(&code), raincheck::progress))
}

impl Download {
    fn new(site: &Site, dir: &Path) -> Self {
        Self { base_url: site.base_url.clone(), ending: site.ending.into(), dir: dir.to_owned() }
    }

    /// Downloads all flags, each a job of the report.
    fn all(&self, codes: &[String], name: ExecutorName, jobs: NonZeroUsize, batch: &Batch<'_>) -> Result<(), Error> {
        let codes = codes.iter().cloned();
        let take = |_, _: Result<(), &Failure>| Ok(());
        if name == ExecutorName::Tokio {
            let (download, client) = (self.clone(), Arc::new(AsyncClient::new(LIMIT)?));
            let way = Async(move |code: String, attempt: Attempt| {
                let (download, client) = (download.clone(), Arc::clone(&client));
                async move {
                    let fetched = client.get(&download.url(&code), |bytes| attempt.progress(bytes)).await;
                    download.save(&code, fetched)
                }
            });
            return batch.run(executors::make_here(name, jobs)?, codes, String::clone, &way, take);
        }
        let way = Calls(|code| save_flag::call(self.clone(), code));
        batch.run(executors::make(name, jobs)?, codes, String::clone, &way, take)
    }

    fn url(&self, code: &str) -> String {
        let code = code.to_lowercase();
        format!("{}/{code}/{code}.{}", self.base_url, self.ending)
    }

    /// Saves what came.
    fn save(&self, code: &str, fetched: Result<Vec<u8>, FetchError>) -> Tried<()> {
        let image = fetched.map_err(|error| match error {
            FetchError::NotFound => Failure::not_found("not found"),
            FetchError::TimedOut => Failure { status: Status::TimedOut, ..Failure::for_now(error.to_string()) },
            FetchError::Status { retry_after: Some(wait), .. } => {
                Failure { again: Again::After(wait), ..Failure::for_now(error.to_string()) }
            }
            // Also where a second request would as a rule fare no better: `--retries` is for the user to say.
            FetchError::Status { .. } | FetchError::Broken(_) => Failure::for_now(error.to_string()),
        })?;
        self.write(code, &image).map_err(|error| Failure::for_good(format!("cannot save it: {error}")))?;
        Ok(Done { bytes: image.len() as u64, value: () })
    }

    /// A file has its name only once it is whole.
    fn write(&self, code: &str, image: &[u8]) -> io::Result<()> {
        let name = format!("{code}.{}", self.ending);
        let (part, whole) = (self.dir.join(format!("{name}.part")), self.dir.join(name));
        fs::write(&part, image)?;
        fs::rename(part, whole)
    }
}

/// The same downloads in each style, and how long each took.
fn demonstrate(args: FlagsArgs, talk: Talk, interrupt: &Interrupt) -> Result<Exit, Error> {
    let codes = args.codes();
    let site = Site::open(&args)?;
    let kept_nowhere = tempfile::tempdir().map_err(|error| Error::new("cannot create a folder").because(error))?;
    let dir = args.dir.as_deref().unwrap_or(kept_nowhere.path());
    create(dir)?;
    let many = args.jobs.jobs.unwrap_or(NonZeroUsize::new(codes.len()).unwrap_or(NonZeroUsize::MIN));
    let styles = [
        ("one by one", ExecutorName::Inline, NonZeroUsize::MIN),
        ("threads", ExecutorName::Thread, many),
        ("tokio", ExecutorName::Tokio, many),
        ("processes", ExecutorName::Process, many),
    ];
    let title = format!("{} flags, each {} ms away", codes.len(), DELAY.as_millis());
    let plan = Plan { tells_summary: false, ..args.report.clone().plan(title.clone(), talk) };
    let report = Report::open(plan, interrupt)?;
    report.note(format!("{title}, from {}", site.base_url));
    let batch = Batch::new(&report, interrupt, &args.jobs);

    let mut rows = Vec::new();
    for (name, executor, jobs) in styles {
        report.style(name);
        let start = Instant::now();
        Download::new(&site, dir).all(&codes, executor, jobs, &batch)?;
        if interrupt.asked().is_some() {
            break;
        }
        rows.push((name, jobs, start.elapsed()));
    }
    let exit = report.finish()?;
    if !rows.is_empty() {
        write_output(table(&rows).as_bytes())?;
    }
    Ok(exit)
}

/// The times side by side; the first is what the others are compared with.
fn table(rows: &[(&str, NonZeroUsize, Duration)]) -> String {
    let mut text = format!("{:<12} {:>7} {:>9} {:>9}\n", "style", "workers", "time", "speed-up");
    let first = rows.first().map_or(0.0, |(_, _, time)| time.as_secs_f64());
    for (name, workers, time) in rows {
        let seconds = time.as_secs_f64();
        text += &format!("{name:<12} {workers:>7} {seconds:>7.2} s {:>8.1}x\n", first / seconds);
    }
    text
}

/// The book's second program.
fn download(args: FlagsArgs, talk: Talk, interrupt: &Interrupt) -> Result<Exit, Error> {
    let codes = args.codes();
    let site = Site::open(&args)?;
    let dir = args.dir.clone().unwrap_or_else(|| "downloaded".into());
    create(&dir)?;
    let executor = args.jobs.executor();
    let asked = args.max_req.or(args.jobs.jobs).unwrap_or(NonZeroUsize::new(30).unwrap_or(NonZeroUsize::MIN));
    let most = if executor == ExecutorName::Inline { 1 } else { MOST_CONNECTIONS.min(codes.len()) };
    let jobs = asked.min(NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN));

    let label = args.server.to_possible_value().map_or_else(String::new, |value| value.get_name().to_uppercase());
    let plan = args.report.clone().plan(figures::count(codes.len() as u64, "flag"), talk);
    // As in the book, the first `-v` names every flag.
    let verbosity = if plan.verbosity > Verbosity::Normal { Verbosity::Everything } else { plan.verbosity };
    // A country without a flag is an answer, and no failure.
    let plan = Plan { verbosity, tells_summary: false, expects_not_found: true, ..plan };
    let report = Report::open(plan, interrupt)?;
    let head = head(&label, &site.base_url, &codes, jobs);
    report.data(head.as_bytes()).map_err(cannot_write_output)?;
    report.style(&executors::style(executor, jobs));

    let start = Instant::now();
    Download::new(&site, &dir).all(&codes, executor, jobs, &Batch::new(&report, interrupt, &args.jobs))?;
    let elapsed = start.elapsed();
    let counts = Status::ALL.map(|status| report.count(status));
    let exit = report.finish()?;
    let tail = tail(|status| counts[status as usize], elapsed);
    write_output(tail.as_bytes())?;
    Ok(exit)
}

/// What is about to be done, in the book's words.
fn head(label: &str, base_url: &str, codes: &[String], jobs: NonZeroUsize) -> String {
    let (first, last) = (codes.first().map_or("", String::as_str), codes.last().map_or("", String::as_str));
    let which = if codes.len() <= 10 { codes.join(" ") } else { format!("from {first} to {last}") };
    let flags = if codes.len() == 1 { "flag" } else { "flags" };
    let connections = if jobs.get() == 1 { "connection" } else { "connections" };
    format!(
        "{label} site: {base_url}\nSearching for {} {flags}: {which}\n{jobs} concurrent {connections} will be used.\n",
        codes.len()
    )
}

/// What became of it, in the book's words.
fn tail(counts: impl Fn(Status) -> u64, elapsed: Duration) -> String {
    let mut text = format!("{}\n", "-".repeat(20));
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    let done = counts(Status::Done);
    text += &format!("{done} flag{} downloaded.\n", plural(done));
    let not_found = counts(Status::NotFound);
    if not_found > 0 {
        text += &format!("{not_found} not found.\n");
    }
    let errors = counts(Status::Failed) + counts(Status::TimedOut);
    if errors > 0 {
        text += &format!("{errors} error{}.\n", plural(errors));
    }
    text + &format!("Elapsed time: {:.2}s\n", elapsed.as_secs_f64())
}

fn create(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir)
        .map_err(|error| Error::usage(format!("cannot create the folder `{}`", dir.display())).because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(numbers: [u64; 5]) -> impl Fn(Status) -> u64 {
        move |status| numbers[status as usize]
    }

    #[test]
    fn the_words_are_those_of_the_book() {
        let codes: Vec<String> = Country::Letter('A').codes();
        let jobs = NonZeroUsize::new(30).unwrap();

        assert_eq!(
            head("DELAY", "http://localhost:8002/flags", &codes, jobs),
            "DELAY site: http://localhost:8002/flags\nSearching for 26 flags: from AA to AZ\n\
             30 concurrent connections will be used.\n"
        );
        assert_eq!(
            tail(counts([43, 35, 0, 0, 0]), Duration::from_millis(1720)),
            "--------------------\n43 flags downloaded.\n35 not found.\nElapsed time: 1.72s\n"
        );
    }

    #[test]
    fn one_of_a_kind_is_told_in_the_singular() {
        assert_eq!(
            head("LOCAL", "u", &["DE".into()], NonZeroUsize::MIN),
            "LOCAL site: u\nSearching for 1 flag: DE\n1 concurrent connection will be used.\n"
        );
        assert_eq!(
            tail(counts([1, 0, 1, 0, 0]), Duration::ZERO),
            "--------------------\n1 flag downloaded.\n1 error.\nElapsed time: 0.00s\n"
        );
    }

    #[test]
    fn a_country_is_two_letters_or_the_first_of_many() {
        assert_eq!(country("br"), Ok(Country::Code("BR".into())));
        assert_eq!(country("b"), Ok(Country::Letter('B')));
        assert_eq!(Country::Letter('B').codes().len(), 26);
        for wrong in ["", "b1", "bra", "é", "1", "--"] {
            assert!(country(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_table_compares_with_the_first_style() {
        let one = NonZeroUsize::MIN;
        let rows = [("one by one", one, Duration::from_secs(7)), ("threads", one, Duration::from_millis(350))];

        assert_eq!(
            table(&rows),
            "style        workers      time  speed-up\n\
             one by one         1    7.00 s      1.0x\n\
             threads            1    0.35 s     20.0x\n"
        );
    }
}
