//! What is to be fetched, entry by entry: under which name, and whether it is there already.
//!
//! All of it is settled in the order of the lists, on the thread that reads them: so it does not depend on which download
//! ends first.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use raincheck::fetch::{Checksum, Credentials, Download, FetchError, Method, Request};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use url::Url;

use super::hashes::{Key, Texts};
use super::journal::{self, Past, Record};
use super::known::{Known, Ticket};
use super::list::{self, Entry, Found, List, Options, PiecesAsked, Problem};
use super::manners::Manners;
use super::names;
use super::options::Existing;
use super::sums::{self, Sums};
use super::template::{Template, Values};
use crate::batch::feed::Produce;
use crate::error::Error;
use crate::report::figures;

/// A pipe that says nothing for so long may be waiting for us, and an entry does not wait for its options any longer.
const SILENCE: Duration = Duration::from_millis(100);

/// So many changed names are told, lest a list of another system fill the screen.
const MOST_RENAMED: u64 = 10;

/// With sites to be asked, so many entries are read ahead.
const READ_AHEAD: usize = 256;

/// What one entry came to.
#[derive(Debug)]
pub(super) enum Planned {
    Fetch(Box<Download>),
    /// A file that is there already.
    There {
        url: String,
    },
    /// A line that cannot be followed.
    Refused {
        place: String,
        why: String,
    },
    /// A file that is in the way, or what its site keeps from robots.
    Bad {
        what: String,
        why: String,
        /// As it stands in a list, if it can be tried again.
        entry: Option<String>,
    },
    /// Something that the user should know, and that is about no file.
    Warning(String),
}

/// What all downloads have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) dir: PathBuf,
    pub(super) existing: Existing,
    pub(super) method: Option<String>,
    pub(super) body: Option<Vec<u8>>,
    /// What files are called, if not as their URLs end.
    pub(super) template: Option<Template>,
    /// Whether servers may name files.
    pub(super) named_by_server: bool,
    pub(super) sums: Sums,
    /// In how many pieces a large file is fetched, and of how many bytes at least, if a list does not say.
    pub(super) segments: (u32, u64),
    /// Whether there was nothing in the folder when the run began.
    pub(super) was_empty: bool,
    /// Whether nothing is to be done, but only told.
    pub(super) dry: bool,
}

/// Reads URLs and lists.
pub(super) struct Plan {
    common: Common,
    known: Arc<Known>,
    past: Past,
    arguments: std::iter::Enumerate<std::vec::IntoIter<String>>,
    lists: std::vec::IntoIter<List<Input>>,
    list: Option<List<Input>>,
    number: u64,
    /// Whether some list is no file, so that one may have to wait for it.
    waits: bool,
    /// What sites ask of robots, if that counts; and what was read ahead, so that many sites can be asked at a time.
    manners: Option<Manners>,
    ahead: VecDeque<Found>,
    /// What comes after a warning about it.
    held: Option<Planned>,
    /// How many files could not have the names that a list gave them.
    renamed: u64,
}

type Input = Box<dyn Read + Send>;

impl Plan {
    /// Opens all lists.
    ///
    /// # Errors
    ///
    /// A usage error that names the list that cannot be read.
    pub(super) fn open(
        urls: Vec<String>,
        lists: &[PathBuf],
        common: Common,
        known: Arc<Known>,
        past: Past,
    ) -> Result<Self, Error> {
        let lists: Vec<_> = lists.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
        let waits = lists.iter().any(|(_, is_file)| !is_file);
        let lists: Vec<_> = lists.into_iter().map(|(list, _)| list).collect();
        let arguments = urls.into_iter().enumerate();
        Ok(Self {
            common,
            known,
            past,
            arguments,
            lists: lists.into_iter(),
            list: None,
            number: 0,
            waits,
            manners: None,
            ahead: VecDeque::new(),
            held: None,
            renamed: 0,
        })
    }

    /// About how many entries there are, if that can be told without reading a pipe.
    pub(super) fn count(arguments: usize, lists: &[PathBuf]) -> Option<u64> {
        let mut entries = arguments as u64;
        for path in lists {
            if !path.is_file() {
                return None;
            }
            entries += list::count(File::open(path).ok()?).ok()?;
        }
        Some(entries)
    }

    /// From now on, goes by what sites ask of robots.
    pub(super) fn mind(&mut self, manners: Manners) {
        self.manners = Some(manners);
    }

    /// Whether each step takes microseconds: no pipe and no site is waited for, and no file is read.
    pub(super) fn is_quick(&self) -> bool {
        self.is_bounded() && self.common.was_empty
    }

    /// Whether all of it comes without waiting for a pipe or a site.
    pub(super) fn is_bounded(&self) -> bool {
        !self.waits && self.manners.is_none()
    }

    /// What comes next. Reads ahead where sites are to be asked, but waits for none of it.
    fn next_found(&mut self) -> Result<Option<Found>, Error> {
        if self.manners.is_none() {
            return self.found();
        }
        while self.ahead.len() < READ_AHEAD && (self.ahead.is_empty() || !self.may_block()) {
            let Some(found) = self.found()? else { break };
            if let (Found::Entry(entry), Some(manners)) = (&found, &mut self.manners) {
                manners.prepare(&entry.url);
            }
            self.ahead.push_back(found);
        }
        Ok(self.ahead.pop_front())
    }

    fn found(&mut self) -> Result<Option<Found>, Error> {
        if let Some((place, url)) = self.arguments.next() {
            return Ok(Some(list::argument(&url, place as u64 + 1).map_or_else(Found::Problem, Found::Entry)));
        }
        loop {
            let Some(list) = &mut self.list else {
                self.list = self.lists.next();
                if self.list.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let found = list.next().map_err(|error| {
                let name = list.name();
                Error::new(format!("cannot read `{name}`")).because(error).hint("what was read so far was fetched")
            })?;
            if found.is_some() {
                return Ok(found);
            }
            self.list = None;
        }
    }

    /// What becomes of an entry. `None` if it has come before.
    fn plan(&mut self, entry: &mut Entry) -> Result<Option<Planned>, FetchError> {
        let own_name = entry.options().and_then(|options| options.name.as_deref());
        let key = self.key(entry, own_name);
        if !self.past.meet(key) {
            self.known.count_repeated();
            return Ok(None);
        }
        self.number += 1;
        let wanted = self.wanted_name(entry, key);
        let named_by_server = self.common.named_by_server && own_name.is_none();
        let record = self.record(entry, key, &wanted, named_by_server);
        let name = match &record {
            Some(record) => Cow::Borrowed(&*record.name),
            None => self.known.names().claim(&wanted, key),
        };
        let checksum = entry.options().and_then(|options| options.checksum.as_ref());
        let checksum = checksum.or_else(|| self.common.sums.of(&name)).cloned();
        let mut download = self.download(entry, key, &name)?;
        if let Some(checksum) = &checksum {
            download = download.checksum(checksum.clone());
        }
        let planned = match self.beside_what_is_there(download, &name, record.as_ref(), checksum.as_ref()) {
            Planned::Fetch(download) => match self.manners.as_mut().map(|manners| manners.allow(&entry.url)) {
                Some(Err(error)) => bad(&entry.url, error.to_string()),
                None | Some(Ok(())) => Planned::Fetch(download),
            },
            planned => planned,
        };
        if let Planned::Bad { what, why, .. } = planned {
            // Where the server names it, it will be asked again.
            let name = Some(&*name).filter(|_| !named_by_server);
            return Ok(Some(Planned::Bad { what, why, entry: Some(list::write(&entry.url, entry.options(), name)) }));
        }
        if !matches!(planned, Planned::Fetch(_)) {
            return Ok(Some(planned));
        }
        let renamed = renamed(entry, &wanted, &name);
        if !self.common.dry {
            let options = entry.take_options();
            let renamed = renamed.as_deref().map(Into::into);
            let ticket = Ticket { key, options, named_by_server, late_name: None, noted: None, attempt: None, renamed };
            self.known.tickets().insert(self.number, ticket);
        }
        Ok(Some(match renamed {
            Some(how) => self.warned(format!("{}: {how}", entry.place), planned),
            None => planned,
        }))
    }

    /// Tells before it that a file cannot have the name that the list gives it.
    fn warned(&mut self, text: String, planned: Planned) -> Planned {
        self.renamed += 1;
        let text = match self.renamed {
            renamed if renamed <= MOST_RENAMED || self.common.dry => text,
            renamed if renamed == MOST_RENAMED + 1 => {
                "more files cannot have the names that the list gives them; `--dry-run` tells them all".into()
            }
            _ => return planned,
        };
        self.held = Some(planned);
        Planned::Warning(text)
    }

    /// The key of an entry that is to have this name, if the name is the entry's own.
    fn key(&self, entry: &Entry, name: Option<&str>) -> Key {
        let Common { method, body, .. } = &self.common;
        let mut texts = Texts::of(entry.url.as_str().as_bytes());
        if method.is_some() || body.is_some() {
            let method = method.as_deref().unwrap_or_default();
            texts.add(&[b"method", method.as_bytes(), body.as_deref().unwrap_or_default()]);
        }
        if let Some(name) = name {
            texts.add(&[b"name", name.as_bytes()]);
        }
        if let Some(Options { folder, headers, referer, user_agent, user, .. }) = entry.options() {
            let folder = folder.as_ref().filter(|_| name.is_none_or(|name| entry.has_name(name)));
            let texts_of = [
                ("folder", folder),
                ("referer", referer.as_ref()),
                ("agent", user_agent.as_ref()),
                ("user", user.as_ref()),
            ];
            for (what, text) in texts_of.into_iter().filter_map(|(what, text)| Some((what, text?))) {
                texts.add(&[what.as_bytes(), text.as_bytes()]);
            }
            headers.iter().for_each(|(name, value)| texts.add(&[b"header", name.as_bytes(), value.as_bytes()]));
        }
        texts.key()
    }

    /// The name that it has if nobody else has it.
    fn wanted_name(&self, entry: &Entry, key: Key) -> String {
        let options = entry.options();
        let name = match (options.and_then(|options| options.name.as_deref()), &self.common.template) {
            (Some(name), _) => names::path(name),
            (None, Some(template)) => template.fill(Values { url: &entry.url, key, number: self.number }),
            (None, None) => names::of_url(&entry.url),
        };
        match options.and_then(|options| options.folder.as_deref()) {
            Some(folder) => names::path(&format!("{folder}/{name}")),
            None => name,
        }
    }

    /// What an earlier run has written of it, if it would have the same name again.
    fn record(&self, entry: &Entry, key: Key, wanted: &str, named_by_server: bool) -> Option<Record<'static>> {
        if self.past.is_empty() {
            return None;
        }
        let url = entry.url.as_str();
        if let Some(record) = self.past.record(key, url) {
            let fits = names::may_come_of(&record.name, wanted, key) || (named_by_server && record.named_by_server);
            return fits.then_some(record);
        }
        // A list of what failed tells the name: what was fetched by it is ours, too.
        let has_own = entry.options().is_some_and(|options| options.name.is_some());
        let told = [wanted.to_owned(), names::second(wanted, key)];
        let mut told = told.iter().filter(|_| !has_own);
        told.find_map(|name| self.past.record(self.key(entry, Some(name)), url).filter(|record| record.name == **name))
    }

    fn download(&self, entry: &Entry, key: Key, name: &str) -> Result<Download, FetchError> {
        let mut request = self.request(entry.url.clone())?;
        let mut mirrors = &[][..];
        if let Some(options) = entry.options() {
            for (name, value) in &options.headers {
                request = request.header(name, value)?;
            }
            for (name, value) in [("referer", &options.referer), ("user-agent", &options.user_agent)] {
                if let Some(value) = value {
                    request = request.header(name, value)?;
                }
            }
            if let Some(user) = &options.user {
                request =
                    request.credentials(Credentials::basic(user, options.password.as_deref().unwrap_or_default()));
            }
            mirrors = &options.mirrors;
        }
        let mut download = Download::new(request).to(name).temporary(journal::part(key)).numbered(self.number);
        if let Some((at_most, at_least)) = entry.options().and_then(|options| pieces(options, self.common.segments)) {
            download = download.segments(at_most as usize, at_least);
        }
        for mirror in mirrors {
            download = download.mirror(mirror.as_str())?;
        }
        Ok(download)
    }

    fn request(&self, url: Url) -> Result<Request, FetchError> {
        let method = match (&self.common.method, &self.common.body) {
            (Some(method), _) => method
                .to_uppercase()
                .parse()
                .map_err(|_| FetchError::Invalid { reason: format!("`{method}` is no method") })?,
            (None, Some(_)) => Method::POST,
            (None, None) => Method::GET,
        };
        let request = Request::for_url(method, url)?;
        Ok(match &self.common.body {
            Some(body) => request.body(body.clone()),
            None => request,
        })
    }

    /// What becomes of it, if there is a file of that name, or was.
    fn beside_what_is_there(
        &self,
        download: Download,
        name: &str,
        record: Option<&Record<'_>>,
        checksum: Option<&Checksum>,
    ) -> Planned {
        let Common { dir, existing, .. } = &self.common;
        let path = || dir.join(name);
        let url = || download.request().url().to_string();
        let ours = record
            .filter(|record| journal::is_there(dir, record) || (!self.common.dry && journal::complete(dir, record)));
        let is_right = || match checksum {
            Some(checksum) => {
                let was_right = ours.is_some_and(|record| record.checksum.as_deref() == Some(&*checksum.to_string()));
                was_right || sums::has(&path(), checksum).unwrap_or(false)
            }
            // What is as this program has left it was whole.
            None => ours.is_some(),
        };
        // What was empty has what this run has brought, and no two of its files have one name.
        let there = if self.common.was_empty { None } else { fs::symlink_metadata(path()).ok() };
        let is_there = there.is_some();
        match existing {
            _ if there.is_some_and(|there| there.is_dir()) => bad(
                download.request().url(),
                format!("there is a folder `{}`, where the file is to be", path().display()),
            ),
            Existing::Replace => Planned::Fetch(Box::new(download.replace(true))),
            _ if !is_there => Planned::Fetch(Box::new(download)),
            Existing::Fail => bad(download.request().url(), format!("there is a file `{}` already", path().display())),
            Existing::Keep => Planned::There { url: url() },
            Existing::Skip if is_right() => Planned::There { url: url() },
            // Ours, and not what it should be: the sum was not known then, or is of a later version.
            Existing::Skip if ours.is_some() => Planned::Fetch(Box::new(download.replace(true))),
            Existing::Skip => {
                let why = match (record, checksum) {
                    (_, Some(_)) => "has another checksum",
                    (Some(_), None) => "has changed since it was fetched",
                    (None, None) => "was not fetched by this program, which cannot tell whether it is whole",
                };
                let why = format!(
                    "the file `{}` {why}; `--existing keep` leaves it, and `replace` replaces it",
                    path().display()
                );
                bad(download.request().url(), why)
            }
            Existing::Check => {
                let mut download = download.replace(true);
                if let Some(record) = ours {
                    if let Some(etag) = &record.etag {
                        download = download.if_none_match(etag);
                    }
                    if let Some(date) = &record.last_modified {
                        download = download.if_modified_since(date);
                    }
                }
                Planned::Fetch(Box::new(download))
            }
        }
    }
}

impl Produce for Plan {
    type Input = Planned;

    fn next(&mut self) -> Result<Option<Planned>, Error> {
        if let Some(planned) = self.held.take() {
            return Ok(Some(planned));
        }
        while let Some(found) = self.next_found()? {
            match found {
                Found::Entry(mut entry) => match self.plan(&mut entry) {
                    Ok(None) => {}
                    Ok(Some(planned)) => return Ok(Some(planned)),
                    Err(error) => {
                        return Ok(Some(bad(&entry.url, error.to_string())));
                    }
                },
                Found::Problem(Problem { place, what, hint, .. }) => {
                    let why = hint.map_or_else(|| what.clone(), |hint| format!("{what}; {hint}"));
                    return Ok(Some(Planned::Refused { place: place.to_string(), why }));
                }
                Found::Unused { place, option } => {
                    let text = format!("{place}: the option `{option}` means nothing here, and is passed over");
                    return Ok(Some(Planned::Warning(text)));
                }
            }
        }
        Ok(None)
    }

    /// A warning is about no file.
    fn counts(&self, planned: &Planned) -> bool {
        !matches!(planned, Planned::Warning(_))
    }

    fn may_block(&self) -> bool {
        // A pipe that is slow must not keep what has come of it waiting.
        self.held.is_none() && self.list.as_ref().is_some_and(List::must_read)
    }
}

/// What cannot be fetched as things are.
fn bad(url: &Url, why: String) -> Planned {
    Planned::Bad { what: url.to_string(), why, entry: None }
}

/// In how many pieces a list says that a file is to be fetched, and of how many bytes at least, if it says anything of it.
///
/// As in aria2, each place that has the file gets as many requests as it allows at most.
fn pieces(options: &Options, (unless_told, at_least): (u32, u64)) -> Option<(u32, u64)> {
    let asked = options.pieces;
    if asked == PiecesAsked::default() {
        return None;
    }
    let places = u32::try_from(options.mirrors.len() + 1).unwrap_or(u32::MAX);
    let allowed = asked.per_server.map(|per_server| per_server.saturating_mul(places));
    let at_most = match (asked.at_most, allowed) {
        (Some(at_most), Some(allowed)) => at_most.min(allowed),
        (at_most, allowed) => at_most.or(allowed).unwrap_or(unless_told),
    };
    Some((at_most, asked.at_least.unwrap_or(at_least)))
}

/// Says so if a file does not have the name that its list gives it, but this one.
fn renamed(entry: &Entry, wanted: &str, name: &str) -> Option<String> {
    let options = entry.options()?;
    let (folder, own) = (options.folder.as_deref(), options.name.as_deref());
    let given = match (folder, own) {
        (Some(folder), Some(own)) => format!("{folder}/{own}"),
        (Some(folder), None) => format!("{folder}/{}", wanted.rsplit('/').next().unwrap_or_default()),
        (None, own) => own?.to_owned(),
    };
    let is_same =
        !given.starts_with('/') && given.split('/').filter(|part| !matches!(*part, "" | ".")).eq(wanted.split('/'));
    let why = match is_same {
        false => "cannot be its name",
        true if name != wanted => "is taken",
        true => return None,
    };
    Some(format!("the file is called `{}`, as `{}` {why}", figures::shown(name), figures::shown(&given)))
}

/// Opens a list, and tells whether it is a file.
fn open(path: &Path) -> Result<(List<Input>, bool), Error> {
    let cannot = |error: io::Error| Error::usage(format!("cannot read `{}`", path.display())).because(error);
    let (file, name) = if path.as_os_str() == "-" {
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(cannot)?;
        (File::from(stdin), "stdin".to_owned())
    } else {
        (File::open(path).map_err(cannot)?, path.display().to_string())
    };
    let there = file.metadata().map_err(cannot)?;
    // To open a folder works, and to read it does not.
    if there.is_dir() {
        return Err(cannot(io::ErrorKind::IsADirectory.into()));
    }
    let waits = if there.is_file() { None } else { Some(file.as_fd().try_clone_to_owned().map_err(cannot)?) };
    let input: Input = Box::new(file);
    let list = List::new(input, &name, move || waits.as_ref().is_some_and(is_silent));
    Ok((list, there.is_file()))
}

/// Waits a little for more, and tells whether nothing came.
fn is_silent(file: &OwnedFd) -> bool {
    let limit = Timespec { tv_sec: 0, tv_nsec: SILENCE.as_nanos() as i64 };
    matches!(poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&limit)), Ok(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::fetch::names::Names;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn common(&self) -> Common {
            Common {
                dir: self.0.path().into(),
                existing: Existing::Skip,
                method: None,
                body: None,
                template: None,
                named_by_server: false,
                sums: Sums::default(),
                segments: (1, 8 << 20),
                was_empty: false,
                dry: true,
            }
        }

        /// What becomes of these lines, after what the journal says.
        fn plan(&self, lines: &str, common: Common) -> Vec<Planned> {
            let list = self.0.path().join("list");
            fs::write(&list, lines).unwrap();
            let mut names = Names::default();
            let past = Past::read(self.0.path(), |record| names.keep(&record.name)).unwrap();
            let known = Arc::new(Known::new(self.0.path(), None, names));
            let mut plan = Plan::open(vec![], &[list], common, known, past).unwrap();
            std::iter::from_fn(|| plan.next().unwrap()).collect()
        }

        fn names(&self, lines: &str) -> Vec<String> {
            self.names_with(lines, self.common())
        }

        fn names_with(&self, lines: &str, common: Common) -> Vec<String> {
            let name = |planned: &Planned| match planned {
                Planned::Fetch(download) => Some(download.name().unwrap().display().to_string()),
                Planned::Warning(_) => None,
                other => panic!("{other:?}"),
            };
            self.plan(lines, common).iter().filter_map(name).collect()
        }

        /// What is told of these lines.
        fn warnings(&self, lines: &str, common: Common) -> Vec<String> {
            let warning = |planned| match planned {
                Planned::Warning(text) => Some(text.replace(&format!("{}/", self.0.path().display()), "")),
                _ => None,
            };
            self.plan(lines, common).into_iter().filter_map(warning).collect()
        }

        /// Does as if everything planned was fetched, and was what its URL is.
        fn fetch(&self, lines: &str, common: Common) {
            let list = self.0.path().join("list");
            fs::write(&list, lines).unwrap();
            let mut names = Names::default();
            let (journal, past) = journal::Journal::open(self.0.path(), |record| names.keep(&record.name)).unwrap();
            let known = Arc::new(Known::new(self.0.path(), Some(journal), names));
            let mut plan =
                Plan::open(vec![], &[list], Common { dry: false, ..common }, Arc::clone(&known), past).unwrap();
            while let Some(planned) = plan.next().unwrap() {
                let Planned::Fetch(download) = planned else { continue };
                let (name, url) = (download.name().unwrap(), download.request().url().to_string());
                let path = self.0.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &url).unwrap();
                let there = fs::metadata(&path).unwrap();
                let record = Record {
                    key: known.tickets()[&download.number()].key,
                    name: name.to_string_lossy(),
                    named_by_server: false,
                    size: there.len(),
                    modified: journal::modified(&there),
                    fetched: 0,
                    etag: Some("\"e\"".into()),
                    last_modified: None,
                    checksum: None,
                    url: Cow::Borrowed(&url),
                };
                let journal = known.journal().unwrap();
                journal.write(journal.note(&record)).unwrap();
            }
        }
    }

    /// In a word each.
    fn words(planned: &[Planned]) -> Vec<&'static str> {
        let word = |planned: &Planned| match planned {
            Planned::Fetch(_) => "fetch",
            Planned::There { .. } => "there",
            Planned::Refused { .. } => "refused",
            Planned::Bad { .. } => "bad",
            Planned::Warning(_) => "warning",
        };
        planned.iter().map(word).collect()
    }

    const THREE: &str = "http://h/1/a.png\nhttp://h/2/a.png\nhttp://h/3/A.png\n";

    #[test]
    fn names_come_from_the_url_the_list_or_the_template() {
        let folder = Folder::new();
        let list = "http://h/a/b.png?x=1\nhttp://h/\nhttp://h/e\tsub/f.bin\nhttp://h/g\n  dir=d\n  out=../i\n";

        assert_eq!(folder.names(list), ["b.png", "index.html", "sub/f.bin", "d/_/i"]);
        let template = Template::parse("{host}/{#2}-{name}").ok();
        assert_eq!(
            folder.names_with(list, Common { template, ..folder.common() }),
            ["h/01-b.png", "h/02-index.html", "sub/f.bin", "d/_/i"]
        );
    }

    #[test]
    fn a_name_that_the_list_gives_and_the_file_cannot_have_is_told() {
        let folder = Folder::new();
        let list = "http://h/1\tx\nhttp://h/2\tx\nhttp://h/3\t../a\nhttp://h/4\tnul\nhttp://h/5\n  dir=/etc\n\
                    http://h/6\t./b//c\nhttp://h/7\n  dir=d/\nhttp://h/8/x\n";

        let told = folder.warnings(list, folder.common());

        let second = &folder.names(list)[1];
        assert_eq!(
            told,
            [
                format!("list:2: the file is called `{second}`, as `x` is taken"),
                "list:3: the file is called `_/a`, as `../a` cannot be its name".into(),
                "list:4: the file is called `_nul`, as `nul` cannot be its name".into(),
                "list:5: the file is called `etc/5`, as `/etc/5` cannot be its name".into(),
            ]
        );
        folder.fetch(list, folder.common());
        assert_eq!(folder.warnings(list, folder.common()), [""; 0], "what is there is not told again");
    }

    #[test]
    fn a_list_says_in_how_many_pieces_a_file_comes() {
        let pieces = |options: &str| {
            let mut list = list::List::new(options.as_bytes(), "l", || false);
            let Some(Found::Entry(entry)) = list.next().unwrap() else { panic!() };
            entry.options().and_then(|options| pieces(options, (2, 99)))
        };

        assert_eq!(pieces("http://h/a\n  out=x"), None);
        assert_eq!(
            pieces("http://h/a\n  split=5\n  max-connection-per-server=16\n  min-split-size=1k"),
            Some((5, 1024))
        );
        assert_eq!(pieces("http://h/a\thttp://m/a\n  split=5\n  max-connection-per-server=2"), Some((4, 99)));
        assert_eq!(pieces("http://h/a\n  max-connection-per-server=3"), Some((3, 99)));
        assert_eq!(pieces("http://h/a\n  min-split-size=7"), Some((2, 7)));
    }

    #[test]
    fn of_many_changed_names_a_few_are_told_unless_all_are_asked_for() {
        let folder = Folder::new();
        let list: String = (0..30).map(|n| format!("http://h/{n}\t../{n}\n")).collect();

        let told = folder.warnings(&list, Common { dry: false, ..folder.common() });

        assert_eq!(told.len(), 11);
        assert!(told[10].contains("`--dry-run`"), "{told:?}");
        assert_eq!(folder.warnings(&list, folder.common()).len(), 30);
    }

    #[test]
    fn no_two_urls_have_one_name_and_no_url_is_planned_twice() {
        let folder = Folder::new();
        let names = folder.names(&format!("{THREE}{THREE}http://H:80/1/a.png#x\n"));

        assert_eq!((names.len(), &*names[0]), (3, "a.png"));
        assert!(names[1].starts_with("a-") && names[2].starts_with("A-"), "{names:?}");
    }

    #[test]
    fn one_url_under_two_names_is_two_wishes() {
        let folder = Folder::new();

        assert_eq!(folder.names("http://h/a\tx\nhttp://h/a\ty\nhttp://h/a\tx\n"), ["x", "y"]);
    }

    #[test]
    fn what_is_there_as_it_was_left_is_not_fetched_again() {
        let folder = Folder::new();
        folder.fetch(THREE, folder.common());

        assert_eq!(words(&folder.plan(THREE, folder.common())), ["there", "there", "there"]);
        // Whatever the order, and whatever else there is.
        let other = "http://h/0/a.png\nhttp://h/3/A.png\nhttp://h/2/a.png\nhttp://h/1/a.png\n";
        assert_eq!(words(&folder.plan(other, folder.common())), ["fetch", "there", "there", "there"]);
    }

    #[test]
    fn what_is_gone_is_fetched_again_under_its_name() {
        let folder = Folder::new();
        let names = folder.names(THREE);
        folder.fetch(THREE, folder.common());
        fs::remove_file(folder.0.path().join(&names[1])).unwrap();

        let planned = folder.plan(THREE, folder.common());
        assert_eq!(words(&planned), ["there", "fetch", "there"]);
        let Planned::Fetch(download) = &planned[1] else { panic!() };
        assert_eq!(download.name(), Some(Path::new(&names[1])));
    }

    #[test]
    fn a_file_that_is_not_ours_or_has_changed_is_in_the_way() {
        let folder = Folder::new();
        folder.fetch("http://h/a\n", folder.common());
        for name in ["a", "b"] {
            fs::write(folder.0.path().join(name), "mine").unwrap();
        }

        let with = |existing| words(&folder.plan("http://h/a\nhttp://h/b\n", Common { existing, ..folder.common() }));
        assert_eq!(with(Existing::Skip), ["bad", "bad"]);
        assert_eq!(with(Existing::Fail), ["bad", "bad"]);
        assert_eq!(with(Existing::Keep), ["there", "there"]);
        assert_eq!(with(Existing::Replace), ["fetch", "fetch"]);
        assert_eq!(with(Existing::Check), ["fetch", "fetch"]);
    }

    #[test]
    fn a_folder_is_no_file_that_was_there_already() {
        let folder = Folder::new();
        fs::create_dir(folder.0.path().join("a")).unwrap();

        for existing in [Existing::Skip, Existing::Keep, Existing::Check, Existing::Replace, Existing::Fail] {
            let planned = folder.plan("http://h/a\n", Common { existing, ..folder.common() });
            let [Planned::Bad { why, .. }] = &planned[..] else { panic!("{existing:?}: {planned:?}") };
            assert!(why.starts_with("there is a folder `"), "{why}");
        }
    }

    #[test]
    fn a_checksum_decides_whoever_has_brought_the_file() {
        let folder = Folder::new();
        fs::write(folder.0.path().join("a"), "abc").unwrap();
        let list = |sum: &str| words(&folder.plan(&format!("http://h/a\tmd5:{sum}\n"), folder.common()));

        assert_eq!(list("900150983cd24fb0d6963f7d28e17f72"), ["there"]);
        assert_eq!(list("900150983cd24fb0d6963f7d28e17f73"), ["bad"]);

        folder.fetch("http://h/b\n", folder.common());
        let other = format!("http://h/b\tmd5:{}\n", "0".repeat(32));
        assert_eq!(words(&folder.plan(&other, folder.common())), ["fetch"]);
    }

    #[test]
    fn what_was_fetched_by_a_list_of_what_failed_is_known_to_the_first_list() {
        let folder = Folder::new();
        let template = || Template::parse("{#}-{name}").ok();
        let by_number = || Common { template: template(), ..folder.common() };
        let names = folder.names_with(THREE, by_number());
        folder.fetch(&format!("http://h/2/a.png\n  out={}\n", names[1]), folder.common());

        assert_eq!(words(&folder.plan(THREE, by_number())), ["fetch", "there", "fetch"]);
    }

    #[test]
    fn with_another_template_files_are_fetched_under_their_new_names() {
        let folder = Folder::new();
        folder.fetch(THREE, folder.common());
        let template = Template::parse("{path}").ok();

        assert_eq!(folder.names_with(THREE, Common { template, ..folder.common() }), ["1/a.png", "2/a.png", "3/A.png"]);
    }

    #[test]
    fn a_bad_line_is_told_and_the_rest_goes_on() {
        let folder = Folder::new();

        let planned = folder.plan("ftp://h/a\nhttp://h/b\n  gid=3\nnonsense\n", folder.common());
        assert_eq!(words(&planned), ["refused", "warning", "fetch", "refused"]);
    }
}
