//! Many downloads at once, on an executor: what is asked for, and what is told.

use std::{
    collections::VecDeque,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use super::{
    Client, Download, Ended, FetchError, Fetched, Response, Retries, blocking,
    download::Segments,
    file::Folder,
    run::{self, Run},
    schedule::Limits,
    stop::Stop,
};
use crate::{InProcess, TaskError, TaskFuture};

/// Unless told, so many at a time.
const AT_ONCE: usize = 16;

const NOT_POISONED: &str = "nothing that can panic is done under the lock of what has ended";

/// What many downloads have in common: how many at a time, how fast, where to.
///
/// # Examples
///
/// A hundred pages, sixteen at a time, each as soon as it is there:
///
/// ```no_run
/// use raincheck::{ThreadPool, fetch::{Client, Download, Downloads, Request}};
///
/// let pool = ThreadPool::new(1);
/// let pages = (1..=100).map(|n| Download::new(Request::get(&format!("https://example.org/{n}")).unwrap()));
/// for ended in Downloads::new(Client::builder().build()?).at_once(16).on(&pool, pages)? {
///     match ended.result {
///         Ok(page) => println!("{}: {} bytes", page.url, page.bytes),
///         Err(error) => println!("{}: {error}", ended.download.request().url()),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Downloads {
    pub(super) client: Client,
    pub(super) retries: Retries,
    pub(super) limits: Limits,
    pub(super) workers: usize,
    pub(super) bytes_a_second: Option<u64>,
    pub(super) folder: Option<Arc<Folder>>,
    pub(super) keeps_times: bool,
    pub(super) syncs: bool,
    pub(super) leaves_parts: bool,
    pub(super) segments: Segments,
}

/// Whoever follows downloads, as they go on. Called on their own threads, so be quick.
///
/// What returns a `Result` is asked before something that cannot be taken back, and an error of it ends the download.
pub trait Watch: Send + Sync {
    /// An attempt begins, on this lane; they are counted from 1.
    fn started(&self, download: &Download, lane: usize, attempt: u32) {
        let _ = (download, lane, attempt);
    }

    /// So many bytes have come, in this attempt. Told now and then, and not for small bodies, unless they are slow.
    fn moved(&self, download: &Download, bytes: u64) {
        let _ = (download, bytes);
    }

    /// An attempt failed, and another one follows after the wait.
    fn retrying(&self, download: &Download, attempt: u32, wait: Duration, error: &FetchError) {
        let _ = (download, attempt, wait, error);
    }

    /// What the file is to be called, if not as the download says. Asked when the head of the response is there.
    ///
    /// # Errors
    ///
    /// Why it should not be fetched after all.
    fn named(&self, download: &Download, response: &Response) -> Result<Option<PathBuf>, FetchError> {
        let _ = (download, response);
        Ok(None)
    }

    /// The first bytes of a large body go to disk under the temporary name; with what is told here, they can be gone on
    /// with by [`Download::resume`], even if this program is killed. Returns whether that was noted down: otherwise they are
    /// removed when the download ends without being whole.
    ///
    /// # Errors
    ///
    /// Why it cannot go on.
    fn begun(&self, download: &Download, validator: &str, response: &Response) -> Result<bool, FetchError> {
        let _ = (download, validator, response);
        Ok(false)
    }

    /// All of it is on disk under the temporary name, verified, and is about to get the final one.
    ///
    /// # Errors
    ///
    /// Why it must not.
    fn whole(&self, download: &Download, fetched: &Fetched, file: &std::fs::File) -> Result<(), FetchError> {
        let _ = (download, fetched, file);
        Ok(())
    }

    /// What is [whole](Self::whole) now gets its final name. Between the two, others that came at about the same time are told to be
    /// whole, so that what is to be written down of all of them can be written at once.
    ///
    /// # Errors
    ///
    /// Why it must not.
    fn appears(&self, download: &Download) -> Result<(), FetchError> {
        let _ = download;
        Ok(())
    }

    /// It is over.
    fn ended(&self, ended: Ended);
}

/// Where downloads come from, when they may keep one waiting, as a pipe does.
pub trait Source: Send {
    /// The next one, if there is one yet. Must not block for long: other downloads wait meanwhile.
    fn pull(&mut self) -> Pulled;

    /// Calls this once, on any thread, as soon as [`pull`](Self::pull) has something else to say than `Later`.
    fn wake(&mut self, wake: Box<dyn FnOnce() + Send>);
}

/// What a [`Source`] has to give.
#[derive(Debug)]
pub enum Pulled {
    /// The next one.
    Download(Box<Download>),
    /// None yet.
    Later,
    /// And never another one.
    End,
}

impl<I: Iterator<Item = Download> + Send> Source for I {
    fn pull(&mut self) -> Pulled {
        self.next().map_or(Pulled::End, |download| Pulled::Download(Box::new(download)))
    }

    fn wake(&mut self, wake: Box<dyn FnOnce() + Send>) {
        wake();
    }
}

impl Downloads {
    /// Downloads by this client: 16 at a time, each tried five times more if what went wrong may go away.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            retries: Retries::default(),
            limits: Limits {
                at_once: AT_ONCE,
                per_host: usize::MAX,
                per_second: None,
                per_host_second: None,
                window: run::WINDOW,
                adaptive: false,
            },
            workers: 1,
            bytes_a_second: None,
            folder: None,
            keeps_times: false,
            syncs: false,
            leaves_parts: false,
            segments: Segments { at_most: 1, at_least: 1 },
        }
    }

    /// So many at a time at most, and never more connections. Of more than 16, not all run where fewer keep their thread busy, as
    /// they do if a server that is near answers at once.
    #[must_use]
    pub fn at_once(mut self, downloads: usize) -> Self {
        self.limits.at_once = downloads.max(1);
        self
    }

    /// So many at a time from one host (and port) at most.
    #[must_use]
    pub fn per_host(mut self, downloads: usize) -> Self {
        self.limits.per_host = downloads.max(1);
        self
    }

    /// Finds out how many at a time a host can bear, up to the limits: a few at first, more as long as it answers, fewer
    /// when it fails.
    #[must_use]
    pub fn adaptive(mut self, adaptive: bool) -> Self {
        self.limits.adaptive = adaptive;
        self
    }

    /// Begins so many requests a second at most. A number that is not above 0 is no limit.
    #[must_use]
    pub fn per_second(mut self, requests: f64) -> Self {
        self.limits.per_second = (requests > 0.0).then_some(requests);
        self
    }

    /// Begins so many requests a second to one host at most. A number that is not above 0 is no limit.
    #[must_use]
    pub fn per_host_second(mut self, requests: f64) -> Self {
        self.limits.per_host_second = (requests > 0.0).then_some(requests);
        self
    }

    /// Lets so many bytes a second come at most, in all.
    #[must_use]
    pub fn bytes_per_second(mut self, bytes: u64) -> Self {
        self.bytes_a_second = (bytes > 0).then_some(bytes);
        self
    }

    /// Whether and when failed attempts are made again.
    #[must_use]
    pub fn retries(mut self, retries: Retries) -> Self {
        self.retries = retries;
        self
    }

    /// Files go into this folder, which is made if it is not there. No name and no link leads out of it.
    ///
    /// # Errors
    ///
    /// If it cannot be made or opened.
    pub fn into_folder(mut self, folder: impl AsRef<Path>) -> io::Result<Self> {
        self.folder = Some(Arc::new(Folder::open(folder.as_ref())?));
        Ok(self)
    }

    /// Gives files the time of their last change that the server tells.
    #[must_use]
    pub fn keep_times(mut self, keeps: bool) -> Self {
        self.keeps_times = keeps;
        self
    }

    /// Has each file on the disk itself before it gets its name, which survives a power failure and takes its time.
    #[must_use]
    pub fn sync(mut self, syncs: bool) -> Self {
        self.syncs = syncs;
        self
    }

    /// When a large file has not come to its end, leaves what there is of it, with a note beside, so that another run goes on
    /// with it, even after a kill. Of what has filled the disk, a little is given back, for other files.
    #[must_use]
    pub fn leave_parts(mut self, leaves: bool) -> Self {
        self.leaves_parts = leaves;
        self
    }

    /// Fetches a large file in so many pieces at once, none of which has fewer bytes than `at_least`, if its server gives pieces and
    /// tells by a strong validator that they are of the same file; of a file with a checksum, any validator will do.
    ///
    /// A piece is fetched where another download could run, and none can: it counts for all limits, and takes nothing from others.
    /// Unless told, a file is fetched by one request, as long as that goes well.
    #[must_use]
    pub fn segments(mut self, at_most: usize, at_least: u64) -> Self {
        self.segments = Segments { at_most, at_least: at_least.max(1) };
        self
    }

    /// Spreads the downloads over so many workers of the executor. Unless told, one does them all: for small files that is
    /// faster than two.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Runs them on the executor, and returns each as it ends. Downloads are taken from the iterator as they can begin; when
    /// a few hundred have ended that nobody has asked for, no new ones begin.
    ///
    /// On an executor that runs everything at once, such as [`Inline`](crate::Inline), all is done when this returns.
    /// Dropping what it returns ends what runs.
    ///
    /// # Errors
    ///
    /// If the system cannot provide a runtime.
    pub fn on<E, I>(&self, executor: &E, downloads: I) -> io::Result<AsEnded>
    where
        E: InProcess,
        I: IntoIterator<Item = Download>,
        I::IntoIter: Send + 'static,
    {
        let ends = Arc::new(Ends { caller: thread::current().id(), state: Mutex::default(), news: Condvar::new() });
        let stop = Stop::new();
        let run = Run::new(self, Box::new(downloads.into_iter()), Arc::clone(&ends) as _, &stop);
        *ends.room() = Room { run: Some(Arc::downgrade(&run)), ..Room::default() };
        let workers = run.submit(executor)?;
        Ok(AsEnded { ends, workers, stop })
    }

    /// Does one on this thread, by the connections that it has.
    pub(super) fn here(&self, download: Download) -> Result<Option<Ended>, FetchError> {
        let (runtime, connections) = blocking::own_connections(&self.client)?;
        let ends = Arc::new(Ends { caller: thread::current().id(), state: Mutex::default(), news: Condvar::new() });
        let source = Box::new(std::iter::once(download));
        Run::new(self, source, Arc::clone(&ends) as _, &Stop::new()).drive(&runtime, &connections, vec![0]);
        let ended = ends.room().ended.pop_front();
        Ok(ended)
    }

    /// Runs them on the executor, tells `watch` of each, and returns when all have ended or `stop` was used.
    ///
    /// # Errors
    ///
    /// If the system cannot provide a runtime.
    pub fn watched<E>(
        &self,
        executor: &E,
        source: impl Source + 'static,
        watch: Arc<dyn Watch>,
        stop: &Stop,
    ) -> io::Result<()>
    where
        E: InProcess,
    {
        let run = Run::new(self, Box::new(source), watch, stop);
        for worker in run.submit(executor)? {
            match worker.result() {
                // Cancelled: by whoever closed the executor. What it had in hand is gone with its lanes.
                Ok(()) | Err(TaskError::Cancelled | TaskError::ShutDown) => {}
                Err(error) => return Err(io::Error::other(error.to_string())),
            }
        }
        Ok(())
    }
}

/// Downloads as they end; see [`Downloads::on`].
pub struct AsEnded {
    ends: Arc<Ends>,
    workers: Vec<TaskFuture<()>>,
    stop: Stop,
}

/// Those that have ended and that nobody has asked for yet.
struct Ends {
    caller: thread::ThreadId,
    state: Mutex<Room>,
    news: Condvar,
}

#[derive(Default)]
struct Room {
    ended: VecDeque<Ended>,
    run: Option<std::sync::Weak<Run>>,
}

/// So many may have ended before somebody must ask for them.
const UNCLAIMED: usize = 256;

impl Ends {
    fn room(&self) -> MutexGuard<'_, Room> {
        self.state.lock().expect(NOT_POISONED)
    }
}

impl Watch for Ends {
    fn ended(&self, ended: Ended) {
        let mut room = self.room();
        room.ended.push_back(ended);
        // Whoever runs on the thread of the caller would wait for itself.
        if room.ended.len() >= UNCLAIMED
            && thread::current().id() != self.caller
            && let Some(run) = room.run.as_ref().and_then(std::sync::Weak::upgrade)
        {
            run.pause(true);
        }
        self.news.notify_one();
    }
}

impl Iterator for AsEnded {
    type Item = Ended;

    /// Blocks until the next one has ended.
    fn next(&mut self) -> Option<Ended> {
        let mut room = self.ends.room();
        loop {
            if let Some(ended) = room.ended.pop_front() {
                if room.ended.len() == UNCLAIMED / 2
                    && let Some(run) = room.run.as_ref().and_then(std::sync::Weak::upgrade)
                {
                    run.pause(false);
                }
                return Some(ended);
            }
            if self.workers.iter().all(TaskFuture::is_done) {
                return None;
            }
            // The end of the last worker is announced as well, but another executor may end it without a word.
            room = self.ends.news.wait_timeout(room, Duration::from_millis(50)).expect(NOT_POISONED).0;
        }
    }
}

impl Drop for AsEnded {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl fmt::Debug for AsEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsEnded").finish_non_exhaustive()
    }
}
