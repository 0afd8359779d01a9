//! The list of what failed, which can be given back as input: each URL with its name, and with all that its list said of it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use raincheck::fetch::{Download, FetchError};

use super::known::Ticket;
use super::list;
use crate::error::Error;

/// The list, while it is being written.
pub(super) struct Failed {
    path: PathBuf,
    list: Mutex<(BufWriter<File>, Option<io::Error>)>,
}

impl Failed {
    /// Creates the list, or empties the one that is there.
    ///
    /// # Errors
    ///
    /// If that cannot be done.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        // It has the passwords of those that have any; nobody else is to read it.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = file.map_err(|error| Error::usage(format!("cannot create `{}`", path.display())).because(error))?;
        Ok(Self { path: path.to_owned(), list: Mutex::new((BufWriter::new(file), None)) })
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

    /// Writes out what is not written yet.
    ///
    /// # Errors
    ///
    /// If something could not be written.
    pub(super) fn end(self) -> Result<(), Error> {
        let (mut file, trouble) = self.list.into_inner().expect("the lock is held by the list alone");
        trouble
            .map_or_else(|| file.flush(), Err)
            .map_err(|error| Error::new(format!("cannot write `{}`", self.path.display())).because(error))
    }
}
