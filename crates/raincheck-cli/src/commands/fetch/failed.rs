//! The list of what failed, which can be given back as input: each URL with its name, and with all that its list said of it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use raincheck::fetch::{Download, FetchError};
use tempfile::{Builder, TempPath};

use super::known::Ticket;
use super::list;
use crate::error::Error;

/// The list, while it is being written.
///
/// What was called so before is there until the end: it may be the list that is being fetched.
pub(super) struct Failed {
    path: PathBuf,
    list: Mutex<(BufWriter<File>, Option<io::Error>)>,
    /// Where it is written meanwhile. None for what is no file, such as a pipe.
    unfinished: Option<TempPath>,
    /// What is planned and has not ended, by its number.
    open: Mutex<BTreeMap<u64, String>>,
    /// Whether it takes the place of a list that is fetched.
    is_input: bool,
}

const OPEN_ALONE: &str = "the lock is held by the map alone";

impl Failed {
    /// Creates the list, beside the place that it takes at the end.
    ///
    /// # Errors
    ///
    /// If that cannot be done.
    pub(super) fn create(path: &Path, inputs: &[PathBuf]) -> Result<Self, Error> {
        let cannot = |error| Error::usage(format!("cannot create `{}`", path.display())).because(error);
        // A link goes on to lead to the list.
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (file, unfinished) = if place.exists() && !place.is_file() {
            (OpenOptions::new().write(true).open(&place).map_err(cannot)?, None)
        } else {
            let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            // Asked first, since what cannot be made there would be told by a name that nobody gave.
            folder.metadata().map_err(cannot)?;
            // It has the passwords of those that have any; nobody else is to read it, and so the mode is 0600.
            let file = Builder::new().prefix(".failed-").tempfile_in(folder).map_err(cannot)?;
            let (file, unfinished) = file.into_parts();
            (file, Some(unfinished))
        };
        let is_input = inputs.iter().any(|input| input.canonicalize().is_ok_and(|input| input == place));
        let list = Mutex::new((BufWriter::new(file), None));
        Ok(Self { path: place, list, unfinished, open: Mutex::default(), is_input })
    }

    /// A download is planned; it is added at the end if nothing else becomes of it.
    pub(super) fn planned(&self, download: &Download, ticket: &Ticket) {
        // Where the server names it, it will be asked again.
        let name = download.name().filter(|_| !ticket.named_by_server).map(|name| name.to_string_lossy());
        let entry = list::write(download.request().url(), ticket.options.as_deref(), name.as_deref());
        self.open.lock().expect(OPEN_ALONE).insert(download.number(), entry);
    }

    /// A planned download has ended; it is added if it failed.
    pub(super) fn ended(&self, download: &Download, error: Option<&FetchError>) {
        let entry = self.open.lock().expect(OPEN_ALONE).remove(&download.number());
        if let (Some(entry), Some(error)) = (entry, error) {
            self.write(&error.to_string(), &entry);
        }
    }

    /// Says of a line why it came to no download.
    pub(super) fn remark(&self, what: &str, why: &str) {
        self.write(&format!("{what}: {why}"), "");
    }

    /// Adds an entry that failed.
    pub(super) fn write(&self, why: &str, entry: &str) {
        let why = why.replace(char::is_control, " ");
        let mut list = self.list.lock().expect("the lock is held by the list alone");
        let (file, trouble) = &mut *list;
        if trouble.is_none() {
            *trouble = write!(file, "# {why}\n{entry}").err();
        }
    }

    /// Writes out what is not written yet, and gives the list its name, unless it would take the place of one that was not
    /// read to its end.
    ///
    /// # Errors
    ///
    /// If something could not be written; what had the name keeps it then.
    pub(super) fn end(self, all_was_read: bool) -> Result<(), Error> {
        if self.is_input && !all_was_read {
            return Ok(());
        }
        for entry in std::mem::take(&mut *self.open.lock().expect(OPEN_ALONE)).into_values() {
            self.write("interrupted", &entry);
        }
        if !all_was_read {
            self.remark("interrupted", "what follows was not read, and is not in this list");
        }
        let (mut file, trouble) = self.list.into_inner().expect("the lock is held by the list alone");
        trouble
            .map_or_else(|| file.flush(), Err)
            .and_then(|()| self.unfinished.map_or(Ok(()), |unfinished| Ok(unfinished.persist(&self.path)?)))
            .map_err(|error| Error::new(format!("cannot write `{}`", self.path.display())).because(error))
    }
}
