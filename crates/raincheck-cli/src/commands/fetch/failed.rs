//! The list of what failed, which can be given back as input: each URL with its name, and with all that its list said of it.

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
}

impl Failed {
    /// Creates the list, beside the place that it takes at the end.
    ///
    /// # Errors
    ///
    /// If that cannot be done.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let cannot = |error| Error::usage(format!("cannot create `{}`", path.display())).because(error);
        // A link goes on to lead to the list.
        let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (file, unfinished) = if place.exists() && !place.is_file() {
            (OpenOptions::new().write(true).open(&place).map_err(cannot)?, None)
        } else {
            let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            // It has the passwords of those that have any; nobody else is to read it, and so the mode is 0600.
            let file = Builder::new().prefix(".failed-").tempfile_in(folder).map_err(cannot)?;
            let (file, unfinished) = file.into_parts();
            (file, Some(unfinished))
        };
        Ok(Self { path: place, list: Mutex::new((BufWriter::new(file), None)), unfinished })
    }

    /// Adds a download, and why it failed.
    pub(super) fn add(&self, download: &Download, ticket: &Ticket, error: &FetchError) {
        // Where the server names it, it will be asked again.
        let name = download.name().filter(|_| !ticket.named_by_server).map(|name| name.to_string_lossy());
        let why = error.to_string().replace(char::is_control, " ");
        let entry = list::write(download.request().url(), ticket.options.as_deref(), name.as_deref());
        let mut list = self.list.lock().expect("the lock is held by the list alone");
        let (file, trouble) = &mut *list;
        if trouble.is_none() {
            *trouble = write!(file, "# {why}\n{entry}").err();
        }
    }

    /// Writes out what is not written yet, and gives the list its name.
    ///
    /// # Errors
    ///
    /// If something could not be written; what had the name keeps it then.
    pub(super) fn end(self) -> Result<(), Error> {
        let (mut file, trouble) = self.list.into_inner().expect("the lock is held by the list alone");
        trouble
            .map_or_else(|| file.flush(), Err)
            .and_then(|()| self.unfinished.map_or(Ok(()), |unfinished| Ok(unfinished.persist(&self.path)?)))
            .map_err(|error| Error::new(format!("cannot write `{}`", self.path.display())).because(error))
    }
}
