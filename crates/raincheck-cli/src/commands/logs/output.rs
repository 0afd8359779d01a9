//! Where answers are written, and in which form.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;

use super::answer::Answers;
use super::page;
use crate::error::Error;

/// The forms that answers can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Tables for people
    Table,
    /// The keys alone, one a line
    Plain,
    /// One JSON object
    Json,
    /// One CSV table
    Csv,
    /// A page with plots
    Html,
}

impl Form {
    pub(crate) fn write(self, answers: &Answers, is_overview: bool) -> String {
        match self {
            Self::Table => answers.table(is_overview),
            Self::Plain => answers.plain(),
            Self::Json => answers.json(),
            Self::Csv => answers.csv(),
            Self::Html => page::draw(answers),
        }
    }
}

/// A file for answers; its ending says in which form.
#[derive(Clone, Debug)]
pub(crate) struct OutputFile {
    path: PathBuf,
    form: Form,
}

impl FromStr for OutputFile {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        let path = PathBuf::from(path);
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let form = match ending.as_str() {
            "html" | "htm" => Form::Html,
            "json" => Form::Json,
            "csv" => Form::Csv,
            "txt" => Form::Table,
            _ => return Err("its name must end in .html, .json, .csv or .txt".into()),
        };
        Ok(Self { path, form })
    }
}

impl OutputFile {
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Finds out now, not after an hour of work, whether the file can be written.
    ///
    /// # Errors
    ///
    /// A usage error that names it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let error = match self.path.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => fs::File::create(unfinished(&self.path)).and_then(|_| fs::remove_file(unfinished(&self.path))),
        };
        error.map_err(|error| Error::usage(format!("cannot create `{}`", self.path.display())).because(error))
    }

    /// Writes the answers, so that the file is either the old one or the whole new one.
    ///
    /// # Errors
    ///
    /// What the system said, with the name of the file.
    pub(crate) fn write(&self, answers: &Answers, is_overview: bool) -> Result<(), Error> {
        let text = self.form.write(answers, is_overview);
        write_whole(&self.path, |file| io::Write::write_all(file, text.as_bytes()))
            .map_err(|error| Error::new(format!("cannot write `{}`", self.path.display())).because(error))
    }
}

/// Writes a file that has its name only once it is whole.
pub(crate) fn write_whole(path: &Path, write: impl FnOnce(&mut fs::File) -> io::Result<()>) -> io::Result<()> {
    let unfinished = unfinished(path);
    let written = fs::File::create(&unfinished).and_then(|mut file| write(&mut file));
    written.and_then(|()| fs::rename(&unfinished, path)).inspect_err(|_| {
        // What went wrong is told; that the leftover stays is not worth a second error.
        let _ = fs::remove_file(&unfinished);
    })
}

/// The name beside the file under which it is written.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}
