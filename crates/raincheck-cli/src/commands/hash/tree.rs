//! The files to hash: those named, those listed, and those below the folders among them.
//!
//! Every file below a folder is taken, hidden ones too, unless the user says otherwise: what a sum does not cover is
//! not protected. Links that are named are followed; links that are met are not, unless asked for. Within a folder the
//! order is that of the names' bytes, so that it is the same everywhere.

use std::error::Error as StdError;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use ignore::overrides::{Override, OverrideBuilder};
use ignore::{Walk, WalkBuilder};

use super::line::Ending;
use crate::error::Error;

/// Which files of a tree are taken.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Choosing files")]
pub(super) struct TreeOptions {
    /// Hash the files and folders that FILE lists, one a line; `-` is standard input
    #[arg(long, value_name = "FILE")]
    files_from: Option<PathBuf>,
    /// The same, each ended by a NUL byte, as `find -print0` lists them
    #[arg(long, value_name = "FILE", conflicts_with = "files_from")]
    files0_from: Option<PathBuf>,
    /// Of folders, take the files that match GLOB, or with a `!` before it those that do not; can be given again
    #[arg(long, short, value_name = "GLOB")]
    glob: Vec<String>,
    /// Of folders, leave out what is hidden
    #[arg(long)]
    no_hidden: bool,
    /// Of folders, leave out what `.gitignore`, `.ignore` and git's other rules say
    #[arg(long)]
    ignore_files: bool,
    /// Follow the links that are met in folders
    #[arg(long, short = 'L')]
    follow: bool,
    /// Stay on the file system that a folder is on
    #[arg(long, short = 'x')]
    one_file_system: bool,
}

impl TreeOptions {
    /// Whether files are named in a list.
    pub(super) fn has_list(&self) -> bool {
        self.files_from.is_some() || self.files0_from.is_some()
    }

    /// The globs of which a file must match one, if there are any.
    pub(super) fn picks(&self) -> Option<String> {
        let picks: Vec<_> =
            self.glob.iter().filter(|glob| !glob.starts_with('!')).map(|glob| format!("`{glob}`")).collect();
        (!picks.is_empty()).then(|| picks.join(" or "))
    }

    /// Whether that list is standard input.
    pub(super) fn lists_by_stdin(&self) -> bool {
        self.files_from.iter().chain(&self.files0_from).any(|list| list.as_os_str() == "-")
    }
}

/// A file to hash, or what stands in the way to some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: OsString,
    /// Its length now, if it has one.
    pub(super) bytes: u64,
    /// Why there is nothing to hash: a folder that cannot be read, say.
    pub(super) trouble: Option<String>,
}

impl Found {
    fn file(name: impl Into<OsString>, bytes: u64) -> Self {
        Self { name: name.into(), bytes, trouble: None }
    }

    fn trouble(name: impl Into<OsString>, trouble: impl Into<String>) -> Self {
        Self { name: name.into(), bytes: 0, trouble: Some(trouble.into()) }
    }
}

/// Where files are to be found.
pub(super) struct Tree {
    paths: Vec<PathBuf>,
    list: Option<List>,
    globs: Override,
    options: TreeOptions,
}

/// A list of names, open for reading.
struct List {
    name: PathBuf,
    lines: Box<dyn BufRead + Send>,
    ending: Ending,
}

impl Tree {
    /// The files at these paths, and those that the options add.
    ///
    /// # Errors
    ///
    /// A usage error if a list cannot be opened, or a glob is none.
    pub(super) fn new(paths: Vec<PathBuf>, options: TreeOptions) -> Result<Self, Error> {
        let list = match (&options.files_from, &options.files0_from) {
            (Some(list), _) => Some(List::open(list, Ending::Newline)?),
            (None, Some(list)) => Some(List::open(list, Ending::Nul)?),
            (None, None) => None,
        };
        let mut globs = OverrideBuilder::new(".");
        for glob in &options.glob {
            globs.add(glob).map_err(|error| Error::usage(format!("`{glob}` is no glob")).because(error))?;
        }
        let globs = globs.build().map_err(|error| Error::usage("the globs are too large").because(error))?;
        // As all tools of this kind do.
        let paths = if paths.is_empty() && list.is_none() { vec!["-".into()] } else { paths };
        Ok(Self { paths, list, globs, options })
    }

    /// Gives `take` each file in order, until it returns false or there are no more.
    pub(super) fn visit(mut self, take: &mut dyn FnMut(Found) -> bool) {
        let list = self.list.take();
        for path in &self.paths {
            if !self.visit_path(path, take) {
                return;
            }
        }
        if let Some(List { name, lines, ending }) = list
            && let Err(error) =
                lines_of(lines, ending, |line| self.visit_path(Path::new(OsStr::from_bytes(line)), take))
        {
            take(Found::trouble(name, error.to_string()));
        }
    }

    /// Returns false once `take` has.
    fn visit_path(&self, path: &Path, take: &mut dyn FnMut(Found) -> bool) -> bool {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.visit_folder(path, take),
            Ok(metadata) => take(Found::file(path, metadata.len())),
            // Whoever opens it is told the reason. And `-` is no file.
            Err(_) => take(Found::file(path, 0)),
        }
    }

    fn visit_folder(&self, folder: &Path, take: &mut dyn FnMut(Found) -> bool) -> bool {
        for entry in self.walk(folder) {
            let found = match entry {
                Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => {
                    let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                    Found::file(entry.into_path(), bytes)
                }
                // Folders, and what has no content of its own: links, pipes, sockets, devices.
                Ok(_) => continue,
                Err(error) => {
                    let (path, reason) = reason(folder, &error);
                    Found::trouble(path, reason)
                }
            };
            if !take(found) {
                return false;
            }
        }
        true
    }

    fn walk(&self, folder: &Path) -> Walk {
        let TreeOptions { no_hidden, ignore_files, follow, one_file_system, .. } = self.options;
        WalkBuilder::new(folder)
            .standard_filters(ignore_files)
            .hidden(no_hidden)
            .overrides(self.globs.clone())
            .follow_links(follow)
            .same_file_system(one_file_system)
            // The list of sums may be written to the very folder whose sums it holds.
            .skip_stdout(true)
            // Those of one folder differ by their names alone, and bytes are compared faster than components.
            .sort_by_file_path(|a, b| a.as_os_str().cmp(b.as_os_str()))
            .build()
    }
}

impl List {
    fn open(path: &Path, ending: Ending) -> Result<Self, Error> {
        let lines: Box<dyn BufRead + Send> = match path.to_str() {
            Some("-") => Box::new(BufReader::new(io::stdin())),
            _ => {
                let cannot = |error| Error::usage(format!("cannot read the list `{}`", path.display())).because(error);
                Box::new(BufReader::new(File::open(path).map_err(cannot)?))
            }
        };
        Ok(Self { name: path.into(), lines, ending })
    }
}

/// Gives `take` each name, until it returns false.
fn lines_of(mut lines: impl BufRead, ending: Ending, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(ending.byte(), &mut line)? == 0 {
            return Ok(());
        }
        line.pop_if(|last| *last == ending.byte());
        if !line.is_empty() && !take(&line) {
            return Ok(());
        }
    }
}

/// What the system said. The walk wraps that in a sentence that names the path again.
fn innermost(error: &io::Error) -> String {
    let mut innermost: &(dyn StdError + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Which path an error of the walk is about, and what is the matter.
fn reason(folder: &Path, error: &ignore::Error) -> (PathBuf, String) {
    match error {
        ignore::Error::WithPath { path, err } => (path.clone(), reason(path, err).1),
        ignore::Error::WithDepth { err, .. } => reason(folder, err),
        ignore::Error::Loop { ancestor, child } => {
            (child.clone(), format!("it leads back to `{}`, which it lies in", ancestor.display()))
        }
        ignore::Error::Io(error) => (folder.into(), innermost(error)),
        other => (folder.into(), other.to_string()),
    }
}
