//! What is to be fetched, line by line, and what each file will be called.

use std::collections::HashSet;
use std::fs::{self, File};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raincheck::fetch::{Download, FetchError, Request};

use super::options::Existing;
use crate::batch::feed::Produce;
use crate::error::Error;

/// The name of what has none: a URL that ends with a slash.
const NAMELESS: &str = "index.html";
/// Room is left for what the temporary name adds, of the 255 bytes that file systems allow.
const LONGEST: usize = 200;

/// What one line came to.
#[derive(Debug)]
pub(super) enum Planned {
    Fetch(Box<Download>),
    /// A file that is there already.
    There {
        url: String,
    },
    /// A line that cannot be followed, or a file that is in the way.
    Bad {
        what: String,
        why: String,
    },
}

/// What all downloads have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) dir: PathBuf,
    pub(super) existing: Existing,
    pub(super) method: Option<String>,
    pub(super) body: Option<Vec<u8>>,
}

/// Reads URLs and lists.
pub(super) struct Plan {
    common: Arc<Common>,
    urls: std::vec::IntoIter<String>,
    lists: std::vec::IntoIter<(PathBuf, Lines)>,
    open: Option<(PathBuf, Lines)>,
    /// What is open is no file.
    slow: bool,
    line: u64,
    number: u64,
    /// Of what was planned: URLs and names, each as a number that no two share but by an accident of one in 2^64 pairs.
    urls_seen: HashSet<u64>,
    names_taken: HashSet<u64>,
    hasher: BuildHasherDefault<DefaultHasher>,
}

type Lines = Box<dyn BufRead + Send>;

impl Plan {
    /// Opens all lists.
    ///
    /// # Errors
    ///
    /// A usage error that names the list that cannot be read.
    pub(super) fn open(urls: Vec<String>, lists: &[PathBuf], common: Common) -> Result<Self, Error> {
        let mut opened = Vec::new();
        for path in lists {
            let lines: Lines = if path.as_os_str() == "-" {
                Box::new(BufReader::new(io::stdin()))
            } else {
                let file = File::open(path)
                    .map_err(|error| Error::usage(format!("cannot read `{}`", path.display())).because(error))?;
                Box::new(BufReader::with_capacity(64 * 1024, file))
            };
            opened.push((path.clone(), lines));
        }
        Ok(Self {
            common: Arc::new(common),
            urls: urls.into_iter(),
            lists: opened.into_iter(),
            open: None,
            slow: false,
            line: 0,
            number: 0,
            urls_seen: HashSet::new(),
            names_taken: HashSet::new(),
            hasher: BuildHasherDefault::default(),
        })
    }

    /// The next line that is one, and where it stands.
    fn line(&mut self) -> Result<Option<(String, String)>, Error> {
        if let Some(url) = self.urls.next() {
            return Ok(Some((url, "command line".into())));
        }
        loop {
            let Some((path, lines)) = &mut self.open else {
                let Some(next) = self.lists.next() else { return Ok(None) };
                self.slow = next.0.as_os_str() == "-" || !next.0.is_file();
                (self.open, self.line) = (Some(next), 0);
                continue;
            };
            let mut line = Vec::new();
            let read = lines.read_until(b'\n', &mut line);
            let read = read.map_err(|error| Error::new(format!("cannot read `{}`", path.display())).because(error))?;
            if read == 0 {
                self.open = None;
                continue;
            }
            self.line += 1;
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_matches(['\u{feff}', ' ', '\r', '\n']);
            if !line.is_empty() && !line.starts_with('#') {
                return Ok(Some((line.into(), format!("{}:{}", path.display(), self.line))));
            }
        }
    }

    fn plan(&mut self, line: &str) -> Result<Option<Planned>, FetchError> {
        let mut fields = line.split('\t').map(str::trim);
        let url = fields.next().unwrap_or_default();
        let request = self.request(url)?;
        if !self.urls_seen.insert(self.hasher.hash_one((request.url().as_str(), request.method().as_str()))) {
            return Ok(None);
        }
        let mut name = None;
        let mut download = Download::new(request);
        for field in fields.filter(|field| !field.is_empty()) {
            if field.starts_with("http://") || field.starts_with("https://") {
                download = download.mirror(field)?;
            } else if let Ok(checksum) = field.parse() {
                download = download.checksum(checksum);
            } else {
                name = Some(field);
            }
        }
        let name = match name {
            Some(name) => safe_path(name),
            None => safe(&last_segment(download.request().url().path())).into(),
        };
        let name = self.free(name);
        Ok(Some(self.beside_what_is_there(download, &name)))
    }

    fn request(&self, url: &str) -> Result<Request, FetchError> {
        let method = match (&self.common.method, &self.common.body) {
            (Some(method), _) => method.as_str(),
            (None, Some(_)) => "POST",
            (None, None) => "GET",
        };
        let method = method
            .to_uppercase()
            .parse()
            .map_err(|_| FetchError::Invalid { reason: format!("`{method}` is no method") })?;
        let request = Request::new(method, url)?;
        Ok(match &self.common.body {
            Some(body) => request.body(body.clone()),
            None => request,
        })
    }

    /// What becomes of it, if there is a file of that name.
    fn beside_what_is_there(&self, download: Download, name: &Path) -> Planned {
        let path = self.common.dir.join(name);
        let there = fs::symlink_metadata(&path).ok();
        let download = download.to(name).replace(self.common.existing == Existing::Replace);
        match (there, self.common.existing) {
            (None, _) | (_, Existing::Replace) => Planned::Fetch(Box::new(download)),
            (Some(_), Existing::Skip) => Planned::There { url: download.request().url().to_string() },
            (Some(_), Existing::Fail) => Planned::Bad {
                what: download.request().url().to_string(),
                why: format!("there is a file `{}` already", path.display()),
            },
            (Some(there), Existing::Check) => {
                let since = there.modified().map(httpdate::fmt_http_date).unwrap_or_default();
                Planned::Fetch(Box::new(download.replace(true).if_modified_since(&since)))
            }
        }
    }

    /// The name, or if it is taken by another URL, one like it: `logo.png`, `logo.2.png`.
    fn free(&mut self, name: PathBuf) -> PathBuf {
        let mut candidate = name.clone();
        let mut number = 2;
        // Names are told apart as on file systems that ignore case.
        while !self.names_taken.insert(self.hasher.hash_one(candidate.to_string_lossy().to_lowercase())) {
            candidate = numbered(&name, number);
            number += 1;
        }
        candidate
    }
}

impl Produce for Plan {
    type Input = (u64, Planned);

    fn next(&mut self) -> Result<Option<(u64, Planned)>, Error> {
        while let Some((line, place)) = self.line()? {
            let planned = match self.plan(&line) {
                Ok(Some(planned)) => planned,
                Ok(None) => continue,
                Err(error) => Planned::Bad { what: place, why: error.to_string() },
            };
            self.number += 1;
            let planned = match planned {
                Planned::Fetch(download) => Planned::Fetch(Box::new(download.numbered(self.number))),
                other => other,
            };
            return Ok(Some((self.number, planned)));
        }
        Ok(None)
    }

    fn may_block(&self) -> bool {
        // A pipe that is slow must not keep what has come of it waiting.
        self.slow
    }
}

/// The last part of a path, with what is escaped in it.
fn last_segment(path: &str) -> String {
    let segment = path.rsplit('/').next().unwrap_or_default();
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// A name for one file, which leads nowhere else and hides nowhere.
fn safe(name: &str) -> String {
    let name: String = name.chars().map(|c| if c == '/' || c == '\\' || c.is_control() { '_' } else { c }).collect();
    let name = match name.trim() {
        "" => NAMELESS.into(),
        name if name.starts_with('.') => format!("_{name}"),
        name => name.to_owned(),
    };
    if name.len() <= LONGEST {
        return name;
    }
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if ending.len() <= 16 => (stem, format!(".{ending}")),
        _ => (name.as_str(), String::new()),
    };
    let mut end = LONGEST - ending.len();
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", &stem[..end])
}

/// The same for a name with subfolders.
fn safe_path(name: &str) -> PathBuf {
    let parts = name.split('/').filter(|part| !part.is_empty() && *part != ".");
    let path: PathBuf = parts.map(|part| if part == ".." { "_".into() } else { safe(part) }).collect();
    if path.as_os_str().is_empty() { NAMELESS.into() } else { path }
}

fn numbered(name: &Path, number: u64) -> PathBuf {
    let stem = name.file_stem().unwrap_or_default().to_string_lossy();
    match name.extension() {
        Some(ending) => name.with_file_name(format!("{stem}.{number}.{}", ending.to_string_lossy())),
        None => name.with_file_name(format!("{stem}.{number}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(lines: &[&str]) -> Vec<Planned> {
        let common = Common { dir: "/nonexistent".into(), existing: Existing::Skip, method: None, body: None };
        let lines = lines.iter().map(ToString::to_string).collect();
        let mut plan = Plan::open(lines, &[], common).unwrap();
        std::iter::from_fn(|| plan.next().unwrap().map(|(_, planned)| planned)).collect()
    }

    fn names(lines: &[&str]) -> Vec<String> {
        let name = |planned: &Planned| match planned {
            Planned::Fetch(download) => download.name().unwrap().display().to_string(),
            other => panic!("{other:?}"),
        };
        plan(lines).iter().map(name).collect()
    }

    #[test]
    fn names_come_from_the_url_or_the_list() {
        assert_eq!(
            names(&["http://h/a/b.png?x=1", "http://h/", "http://h/c%20d", "http://h/e\tsub/f.bin"]),
            ["b.png", "index.html", "c d", "sub/f.bin"]
        );
    }

    #[test]
    fn no_two_urls_have_one_name_and_no_url_is_fetched_twice() {
        assert_eq!(
            names(&["http://h/1/a.png", "http://h/2/a.png", "http://h/1/a.png", "http://h/3/A.png"]),
            ["a.png", "a.2.png", "A.3.png"]
        );
    }

    #[test]
    fn no_name_leads_elsewhere() {
        assert_eq!(
            names(&[
                "http://h/..%2f..%2fetc%2fpasswd",
                "http://h/x\t../../etc/passwd",
                "http://h/.ssh",
                "http://h/a%00b",
                "http://h/y\t/abs"
            ]),
            ["_.._.._etc_passwd", "_/_/etc/passwd", "_.ssh", "a_b", "abs"]
        );
        let long = format!("http://h/{}.tar.gz", "é".repeat(300));
        assert!(names(&[&long])[0].len() <= LONGEST);
    }

    #[test]
    fn a_bad_line_is_told_and_the_rest_goes_on() {
        let planned = plan(&["ftp://h/a", "http://h/b", "nonsense"]);

        let bad = |planned: &Planned| matches!(planned, Planned::Bad { .. });
        assert_eq!(planned.iter().map(bad).collect::<Vec<_>>(), [true, false, true]);
    }
}
