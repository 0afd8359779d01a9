//! Tells the user and other programs what becomes of the jobs.
//!
//! A command opens a [`Report`], says in which [style](Report::style) it runs, and hands in what happens to each
//! [`Job`]. Everything that is shown or written is made of that one stream of events by readers that know nothing of each
//! other. Events may come from any thread; one lock puts them in order. Drawing happens on a thread of its own, so that
//! no job ever waits for a terminal.

pub(crate) mod event;
pub(crate) mod figures;
mod jobs;
mod label;
mod notes;
mod progress;
mod records;
mod screen;
mod stream;
mod summary;
mod timeline;

use std::fs::File;
use std::io::{self, IsTerminal, Stderr, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use self::event::{Event, Expected, Moment, Outcome, Status};
use self::jobs::{Jobs, Reader};
pub(crate) use self::label::Label;
use self::notes::Notes;
pub(crate) use self::notes::Verbosity;
use self::progress::Progress;
use self::records::Records;
pub(crate) use self::records::RecordsFile;
pub(crate) use self::screen::ProgressMode;
use self::screen::Screen;
use self::stream::Stream;
use self::summary::{After, Summary};
use self::timeline::Timeline;
pub(crate) use self::timeline::TimelineFile;
use crate::error::{Error, Exit};
use crate::interrupt::Interrupt;
use crate::paint::Paint;

/// How often progress is drawn.
const BETWEEN_DRAWINGS: Duration = Duration::from_millis(100);

/// What a report is to consist of.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The title of the timeline.
    pub(crate) title: String,
    pub(crate) verbosity: Verbosity,
    /// Whether the summary is shown; a command that tells it in its own words does without.
    pub(crate) tells_summary: bool,
    /// Whether failures are named and counted; a command that does so in its own words does without.
    pub(crate) tells_failures: bool,
    /// Whether `not found` is an answer like any other, and no failure.
    pub(crate) expects_not_found: bool,
    pub(crate) progress: ProgressMode,
    pub(crate) records: Option<RecordsFile>,
    /// What the records tell of each job beside what all have in common; see [`Outcome::more`].
    pub(crate) columns: &'static [&'static str],
    pub(crate) timeline: Option<TimelineFile>,
    /// What someone types meanwhile, at the terminal that stdin is.
    pub(crate) typed: Option<&'static str>,
}

impl Plan {
    /// For a command that reads this from stdin. If that is a terminal, it is said that one waits for it there, and no bar is
    /// drawn across what is typed.
    pub(crate) fn reading_stdin(self, what: &'static str) -> Self {
        match io::stdin().is_terminal() {
            true => Self { typed: Some(what), ..self.sharing_the_terminal() },
            false => self,
        }
    }

    /// For a terminal that others write to as well: no bar is drawn across that, unless it was asked for.
    pub(crate) fn sharing_the_terminal(self) -> Self {
        match self.progress {
            ProgressMode::Auto if io::stderr().is_terminal() => Self { progress: ProgressMode::None, ..self },
            _ => self,
        }
    }
}

#[cfg(test)]
impl Plan {
    /// Nothing is shown or written, but for what is asked of the report itself.
    pub(crate) fn silent() -> Self {
        Self {
            title: String::new(),
            verbosity: Verbosity::Quiet,
            tells_summary: false,
            tells_failures: true,
            expects_not_found: false,
            progress: ProgressMode::None,
            records: None,
            columns: &[],
            timeline: None,
            typed: None,
        }
    }
}

/// Where a command hands in what happens, and where it ends.
///
/// Dropping it without [`finish`](Self::finish) takes the bar away and tells nothing more.
pub(crate) struct Report {
    shared: Arc<Shared>,
    records: Option<RecordsFile>,
    timeline: Option<TimelineFile>,
    interrupt: Interrupt,
    drawing: Option<JoinHandle<Screen>>,
    bar: Bar,
    /// The file that lists what failed.
    failures: Option<String>,
}

/// The bar, if there is one, for whoever writes beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bar(Option<ProgressBar>);

/// One job, as long as anyone works on it. Clones are the same job.
///
/// When the last one is dropped without an outcome, the job counts as cancelled: nobody will do it.
#[derive(Clone)]
pub(crate) struct Job(Arc<OpenJob>);

struct OpenJob {
    number: u64,
    over: AtomicBool,
    attempts: AtomicU32,
    shared: Arc<Shared>,
}

/// One attempt at a job, for whoever makes it.
#[derive(Clone)]
pub(crate) struct Attempt {
    job: Job,
    number: u32,
}

/// What all threads share.
struct Shared {
    clock: Instant,
    next_job: AtomicU64,
    readers: Mutex<Readers>,
    /// Announces that there is nothing more to draw.
    ended: Condvar,
}

/// Everyone who follows the stream.
struct Readers {
    jobs: Jobs,
    /// None if it is drawn nowhere.
    progress: Option<Progress>,
    notes: Notes,
    summary: Summary,
    stream: Option<Stream<Stderr>>,
    records: Option<Records<File>>,
    timeline: Option<Timeline>,
    tells_summary: bool,
    tells_failures: bool,
    ended: bool,
}

impl Report {
    /// Opens the files and begins to draw.
    ///
    /// # Errors
    ///
    /// A usage error that names the file that cannot be written; no job has run then.
    pub(crate) fn open(plan: Plan, interrupt: &Interrupt) -> Result<Self, Error> {
        let Plan {
            title,
            verbosity,
            tells_summary,
            tells_failures,
            expects_not_found,
            progress,
            records,
            columns,
            timeline,
            typed,
        } = plan;
        let mode = if verbosity == Verbosity::Quiet { ProgressMode::None } else { progress };
        let paint = Paint::for_stderr();
        if let Some(file) = &timeline {
            file.check().map_err(|error| cannot_create(file.path(), error))?;
        }
        let screen = Screen::new(mode);
        let readers = Readers {
            jobs: Jobs::default(),
            progress: screen.draws().then(Progress::default),
            notes: Notes::new(
                if mode == ProgressMode::Json { Verbosity::Quiet } else { verbosity },
                paint,
                expects_not_found,
            ),
            summary: Summary::new(expects_not_found),
            stream: (mode == ProgressMode::Json).then(|| Stream::new(io::stderr())),
            records: match &records {
                Some(file) => Some(file.create(columns).map_err(|error| cannot_create(file.path(), error))?),
                None => None,
            },
            timeline: timeline.is_some().then(|| Timeline::new(title)),
            tells_summary,
            tells_failures,
            ended: false,
        };
        let shared = Arc::new(Shared {
            clock: Instant::now(),
            next_job: AtomicU64::new(0),
            readers: Mutex::new(readers),
            ended: Condvar::new(),
        });
        let bar = Bar(screen.bar());
        let drawn = Arc::clone(&shared);
        let drawing = thread::Builder::new()
            .name("progress".into())
            .spawn(move || drawn.draw_until_ended(screen, paint))
            .map_err(|error| Error::new("cannot start a thread for the progress").because(error))?;
        if let Bar(Some(bar)) = &bar {
            let (stopped, left) = (bar.clone(), bar.clone());
            interrupt.on_pause(move |stop| {
                // It comes back with the next drawing, unless that is in the background.
                stopped.set_message("");
                stopped.suspend(stop);
            });
            interrupt.on_leaving(move || left.finish_and_clear());
        }
        let told = Arc::clone(&shared);
        interrupt.on_asked(move || {
            let line = "stopping: what runs is being cancelled; ask again to stop at once";
            told.readers().notes.tell(line.into());
        });
        if let Some(what) = typed {
            shared.readers().notes.tell(reading(what));
        }
        Ok(Self {
            shared,
            records,
            timeline,
            interrupt: interrupt.clone(),
            drawing: Some(drawing),
            bar,
            failures: None,
        })
    }

    /// Names the file that lists what failed, for when there are no records.
    pub(crate) fn failures_in(mut self, file: Option<&Path>) -> Self {
        self.failures = file.map(|file| file.to_string_lossy().into_owned());
        self
    }

    /// Begins a style: the jobs submitted from here on are run in this way, as in `one by one` or `8 threads`.
    pub(crate) fn style(&self, name: &str) {
        self.shared.emit(|at| Event::Style { at, name: name.into() });
    }

    /// Says how much there is to do in this style, as soon as that is known.
    pub(crate) fn expect(&self, expected: Expected) {
        self.shared.emit(|_| Event::Expected(expected));
    }

    /// Enters one more job.
    pub(crate) fn submit(&self, label: impl Into<Label>) -> Job {
        let number = self.shared.next_job.fetch_add(1, Ordering::Relaxed);
        let label = label.into();
        self.shared.emit(|at| Event::Job { job: number, at, moment: Moment::Submitted { label } });
        let (over, attempts) = (AtomicBool::new(false), AtomicU32::new(0));
        Job(Arc::new(OpenJob { number, over, attempts, shared: Arc::clone(&self.shared) }))
    }

    /// Whether there was anything to do so far.
    pub(crate) fn has_jobs(&self) -> bool {
        self.shared.next_job.load(Ordering::Relaxed) > 0
    }

    /// Writes data to stdout, in one piece and clear of the bar.
    ///
    /// # Errors
    ///
    /// What stdout said; pass it to [`cannot_write_output`](crate::error::cannot_write_output).
    pub(crate) fn data(&self, data: &[u8]) -> io::Result<()> {
        let write = || {
            let mut out = io::stdout().lock();
            out.write_all(data)?;
            out.flush()
        };
        self.bar.beside_data(write)
    }

    /// The bar, for jobs that write to the terminal themselves.
    pub(crate) fn bar(&self) -> Bar {
        self.bar.clone()
    }

    /// What was not begun is to be told, as after an interrupt.
    pub(crate) fn cut_short(&self) {
        self.shared.readers().summary.cut_short();
    }

    /// Shows a line above the progress, unless the user wants quiet.
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.shared.readers().notes.tell(line.into());
    }

    /// Warns above the progress, unless the user wants quiet.
    pub(crate) fn warn(&self, text: String) {
        self.shared.readers().notes.tell(Paint::for_stderr().warning(&text));
    }

    /// Says what to do next, above the progress.
    pub(crate) fn hint(&self, text: String) {
        self.shared.readers().notes.tell(Paint::for_stderr().hint(&text));
    }

    /// From now on, that a job was cancelled is no failure: it was no longer needed.
    pub(crate) fn expect_cancelled(&self) {
        self.shared.readers().summary.expect_cancelled();
    }

    /// How many jobs ended in this way so far, in all styles together.
    pub(crate) fn count(&self, status: Status) -> u64 {
        self.shared.readers().summary.count(status)
    }

    /// Ends the report: the last lines are shown, the timeline is written, and the exit code is known.
    ///
    /// Jobs without an outcome are cancelled: if they still run, nobody waits for them.
    ///
    /// # Errors
    ///
    /// If the timeline or the records could not be written. The summary has been shown all the same.
    pub(crate) fn finish(mut self) -> Result<Exit, Error> {
        let unfinished = self.shared.readers().jobs.unfinished();
        for job in unfinished {
            let why = if self.interrupt.asked().is_some() { "interrupted" } else { "not waited for" };
            let moment = Moment::Finished(Outcome::not_done(Status::Cancelled, why));
            self.shared.emit(|at| Event::Job { job, at, moment });
        }
        let screen = self.stop_drawing();
        let interrupted = self.interrupt.asked();
        let at = self.shared.clock.elapsed();
        let mut readers = self.shared.readers();
        let records = self.records.as_ref().map(|file| file.path().to_string_lossy());
        // The records have nothing of what was not begun.
        let list = records.filter(|_| interrupted.is_none()).or(self.failures.as_deref().map(Into::into));
        let mut last = readers.notes.take();
        if readers.stream.is_some() {
            last.push(readers.summary.json(at, interrupted.is_some()));
        } else if readers.notes.verbosity() > Verbosity::Quiet {
            if readers.tells_summary {
                last.extend(readers.summary.styles(interrupted.is_some()));
            }
            if readers.tells_failures || interrupted.is_some() {
                let (interrupted, summarized) = (interrupted.is_some(), readers.tells_summary);
                let after = After { interrupted, summarized, list: list.as_deref() };
                last.extend(readers.summary.verdict(Paint::for_stderr(), after));
            }
        }
        if let Some(mut screen) = screen {
            screen.end(&last);
        }
        if let (Some(file), Some(timeline)) = (&self.timeline, &readers.timeline) {
            file.write(timeline).map_err(|error| cannot_write(file.path(), error))?;
        }
        if let (Some(file), Some(error)) = (&self.records, readers.records.as_mut().and_then(Records::trouble)) {
            return Err(cannot_write(file.path(), error).hint("lines are missing from it; the jobs went on"));
        }
        Ok(readers.summary.exit(interrupted))
    }

    fn stop_drawing(&mut self) -> Option<Screen> {
        self.shared.readers().ended = true;
        self.shared.ended.notify_all();
        self.drawing.take()?.join().ok()
    }
}

impl Bar {
    /// Takes the bar away while this is written to stderr.
    pub(crate) fn beside<R>(&self, write: impl FnOnce() -> R) -> R {
        match &self.0 {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away while data is written to stdout, if both go to one terminal.
    pub(crate) fn beside_data<R>(&self, write: impl FnOnce() -> R) -> R {
        if self.0.is_some() && io::stdout().is_terminal() { self.beside(write) } else { write() }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(mut screen) = self.stop_drawing() {
            screen.end(&[]);
        }
    }
}

impl Job {
    /// A worker took it, on this lane: the first attempt, or the next one.
    pub(crate) fn start(&self, lane: usize) -> Attempt {
        let number = self.0.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        self.emit(Moment::Started(lane));
        Attempt { job: self.clone(), number }
    }

    /// The attempt failed; another one follows after the wait.
    pub(crate) fn retry(&self, wait: Duration, reason: impl Into<String>) {
        let attempt = self.0.attempts.load(Ordering::Relaxed);
        self.emit(Moment::Retrying { attempt, wait, reason: reason.into() });
    }

    /// It is over. Only the first outcome counts: a job that overran its limit may come back with another.
    pub(crate) fn finish(&self, outcome: Outcome) {
        if !self.0.over.swap(true, Ordering::Relaxed) {
            self.emit(Moment::Finished(outcome));
        }
    }

    fn emit(&self, moment: Moment) {
        let job = self.0.number;
        self.0.shared.emit(|at| Event::Job { job, at, moment });
    }
}

impl Attempt {
    /// Which attempt at the job it is, from one.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Shows a line above the progress, unless the user wants quiet.
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.job.0.shared.readers().notes.tell(line.into());
    }

    /// The job that it is an attempt at.
    pub(crate) fn job(&self) -> &Job {
        &self.job
    }

    /// The same, when the attempt is over.
    pub(crate) fn into_job(self) -> Job {
        self.job
    }

    /// So many bytes have moved, in this attempt.
    ///
    /// One that overran its limit, and still runs while the next one is made, is not heard any more.
    pub(crate) fn progress(&self, bytes: u64) {
        if self.job.0.attempts.load(Ordering::Relaxed) == self.number {
            self.job.emit(Moment::Progress { bytes });
        }
    }
}

impl Drop for OpenJob {
    fn drop(&mut self) {
        if *self.over.get_mut() {
            return;
        }
        let outcome = match thread::panicking() {
            true => Outcome::not_done(Status::Failed, "it panicked"),
            false => Outcome::not_done(Status::Cancelled, "nobody worked on it any more"),
        };
        let job = self.number;
        self.shared.emit(|at| Event::Job { job, at, moment: Moment::Finished(outcome) });
    }
}

impl Shared {
    /// Puts an event into the stream. The time is taken under the lock, so that it never runs backwards.
    fn emit(&self, event: impl FnOnce(Duration) -> Event) {
        let mut readers = self.readers();
        let event = event(self.clock.elapsed());
        readers.read(&event);
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().expect("no reader panics")
    }

    fn draw_until_ended(&self, mut screen: Screen, paint: Paint) -> Screen {
        let mut readers = self.readers();
        while !readers.ended {
            let at = self.clock.elapsed();
            let notes = readers.notes.take();
            let lines = readers.progress.as_ref().map(|progress| screen.lines(progress, at, paint)).unwrap_or_default();
            // Jobs must not wait for the terminal, so nothing is locked while it is drawn on.
            drop(readers);
            screen.show(&notes, &lines);
            readers = self.readers();
            if !readers.ended {
                readers = self.ended.wait_timeout(readers, BETWEEN_DRAWINGS).expect("no reader panics").0;
            }
        }
        screen
    }
}

impl Readers {
    fn read(&mut self, event: &Event) {
        if !self.jobs.follow(event) {
            return;
        }
        if let Some(progress) = &mut self.progress {
            progress.read(event, &self.jobs);
        }
        if self.tells_failures {
            self.notes.read(event, &self.jobs);
        }
        self.summary.read(event, &self.jobs);
        if let Some(stream) = &mut self.stream {
            stream.read(event, &self.jobs);
        }
        if let Some(records) = &mut self.records {
            records.read(event, &self.jobs);
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.read(event, &self.jobs);
        }
    }
}

/// Says that this is read from the terminal, if stdin is one, for a command that runs no jobs and has no report.
pub(crate) fn tell_reading(what: &str, verbosity: Verbosity) {
    if verbosity > Verbosity::Quiet && io::stdin().is_terminal() {
        anstream::eprintln!("{}", reading(what));
    }
}

fn reading(what: &str) -> String {
    format!("reading from this terminal: {what}; Ctrl-D ends it")
}

fn cannot_create(path: &Path, error: io::Error) -> Error {
    Error::usage(format!("cannot create `{}`", path.display())).because(error)
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::new(format!("cannot write `{}`", path.display())).because(error)
}
