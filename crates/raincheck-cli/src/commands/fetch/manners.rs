//! Asks each site for its `robots.txt` before anything is fetched from it, several sites at a time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, mpsc};
use std::thread;

use raincheck::fetch::{Client, FetchError, Request};
use url::Url;

use super::robots::{self, Rules};
use crate::error::Error;

/// So many sites are asked at a time.
const AT_ONCE: usize = 16;
/// Rules of so many sites are kept. Who comes by after that is asked again.
const KEPT: usize = 10_000;

/// What sites have said.
pub(super) struct Manners {
    ask: mpsc::Sender<Url>,
    said: Arc<Said>,
    asked: HashSet<String>,
}

#[derive(Default)]
struct Said {
    rules: Mutex<HashMap<String, Result<Arc<Rules>, String>>>,
    news: Condvar,
}

impl Manners {
    /// Goes by the rules for the robot of this name, which are asked for by the client.
    ///
    /// # Errors
    ///
    /// If the system cannot provide threads.
    pub(super) fn new(client: &Client, robot: &str) -> Result<Self, Error> {
        let (ask, sites) = mpsc::channel::<Url>();
        let (sites, said) = (Arc::new(Mutex::new(sites)), Arc::<Said>::default());
        for _ in 0..AT_ONCE {
            let (client, robot, sites, said) =
                (client.clone(), robot.to_owned(), Arc::clone(&sites), Arc::clone(&said));
            let next = move || sites.lock().expect("nothing panics under the lock of the queue").recv();
            let work = move || {
                while let Ok(site) = next() {
                    said.add(site.as_str(), rules_of(&client, &site, &robot).map(Arc::new));
                }
            };
            // They end when nobody can ask any more; a site that does not answer keeps nobody from leaving.
            thread::Builder::new()
                .name("robots".into())
                .spawn(work)
                .map_err(|error| Error::new("cannot start a thread to ask for robots.txt").because(error))?;
        }
        Ok(Self { ask, said, asked: HashSet::new() })
    }

    /// Asks the site of this URL, if it has not been asked. Does not wait.
    pub(super) fn prepare(&mut self, url: &Url) {
        let site = site(url);
        if self.asked.len() >= KEPT && !self.asked.contains(site.as_str()) {
            self.forget();
        }
        if self.asked.insert(site.as_str().into()) {
            // The threads are there as long as this is.
            let _ = self.ask.send(site);
        }
    }

    /// Whether the site allows this URL. Waits until it has answered.
    ///
    /// # Errors
    ///
    /// [`FetchError::Forbidden`] if not, or if it does not say.
    pub(super) fn allow(&mut self, url: &Url) -> Result<(), FetchError> {
        self.prepare(url);
        let site = site(url);
        let rules = self.said.news.wait_while(self.said.rules(), |rules| !rules.contains_key(site.as_str()));
        let rules = rules.expect(NOT_POISONED)[site.as_str()].clone();
        let forbidden = |by: String| FetchError::Forbidden { by };
        let rules = rules.map_err(|why| forbidden(format!("{site}, which cannot be had: {why}")))?;
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        if rules.allow(path) { Ok(()) } else { Err(forbidden(site.into())) }
    }

    /// Forgets what has been said, but not what is still to be.
    fn forget(&mut self) {
        let mut rules = self.said.rules();
        rules.drain().for_each(|(site, _)| {
            self.asked.remove(&site);
        });
    }
}

const NOT_POISONED: &str = "nothing panics under the lock of the rules";

impl Said {
    fn rules(&self) -> MutexGuard<'_, HashMap<String, Result<Arc<Rules>, String>>> {
        self.rules.lock().expect(NOT_POISONED)
    }

    fn add(&self, site: &str, rules: Result<Arc<Rules>, String>) {
        self.rules().insert(site.into(), rules);
        self.news.notify_all();
    }
}

/// Where the site of a URL has its rules.
fn site(url: &Url) -> Url {
    let mut site = url.clone();
    site.set_path("/robots.txt");
    site.set_query(None);
    site
}

/// What a site says, or why it says nothing: then nothing is allowed, as the RFC has it.
fn rules_of(client: &Client, site: &Url, robot: &str) -> Result<Rules, String> {
    let told = |error: FetchError| error.to_string();
    let request = Request::get(site.as_str()).map_err(told)?.decode(true);
    let mut response = client.fetch_blocking(request).map_err(told)?;
    match response.status().as_u16() {
        200..=299 => {
            let mut text = Vec::new();
            while text.len() < robots::LONGEST
                && let Some(piece) = response.chunk().map_err(told)?
            {
                text.extend_from_slice(&piece);
            }
            Ok(Rules::parse(&text, robot))
        }
        // It is there, and asks for patience.
        429 => Err("status 429".into()),
        300..=499 => Ok(Rules::none()),
        status => Err(format!("status {status}")),
    }
}
