//! `raincheck hash --check`: whether files still have the sums that lists say, in the words of coreutils.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::ahead::Ahead;
use super::algorithm::{Algorithm, Sum};
use super::file::{self, Input, Place};
use super::line::{Ending, Line, Parser, Shown};
use super::output::Output;
use crate::batch::{Batch, Calls, Done, Failure, Tried};
use crate::error::{Error, cannot_write_output, reason};
use crate::executors::Chosen;
use crate::paint::Paint;
use crate::report::event::Status;
use crate::report::{Label, figures};

/// How sums are checked.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Checking")]
pub(super) struct CheckOptions {
    /// Pass over files that are not there
    #[arg(long, requires = "check")]
    ignore_missing: bool,
    /// Fail if any line is improperly formatted
    #[arg(long, requires = "check")]
    strict: bool,
    /// Write nothing to stdout: the exit code tells
    #[arg(long, requires = "check", overrides_with = "warn")]
    status: bool,
    /// Tell which lines are improperly formatted
    #[arg(long, short, requires = "check", overrides_with = "status")]
    warn: bool,
}

/// What a job fails with whose file has another sum.
const MISMATCH: &str = "the checksum does not match";

impl CheckOptions {
    /// Whether a file that is not there is nothing to speak of.
    pub(super) fn ignores_missing(self) -> bool {
        self.ignore_missing
    }
}

/// What is checked, and how.
pub(super) struct Check {
    /// The lists; `-` is standard input.
    pub(super) lists: Vec<PathBuf>,
    /// The algorithms that the user named, if any.
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) ending: Ending,
    pub(super) options: CheckOptions,
    /// Whether nothing is said of a file that is as it should be.
    pub(super) quiet: bool,
}

/// What a list holds.
enum Entry {
    Claim(Claim),
    /// A line that is not properly formatted.
    Malformed {
        list: usize,
        line: u64,
    },
    /// Lines that could be of either of two algorithms were taken for the first.
    Guessed {
        list: usize,
    },
    /// The list cannot be read, or not to its end.
    Unreadable {
        list: usize,
        error: io::Error,
    },
}

/// That a file has this sum.
#[derive(Clone, Serialize, Deserialize)]
struct Claim {
    number: usize,
    list: usize,
    name: OsString,
    algorithm: Algorithm,
    sum: Sum,
}

/// What came of one list.
#[derive(Clone, Default)]
struct Tally {
    claims: u64,
    malformed: u64,
    matched: u64,
    mismatched: u64,
    /// Files that could not be read.
    unread: u64,
    guessed: bool,
    /// The list itself could not be read.
    unreadable: bool,
}

impl Check {
    /// Checks every file that is listed, and tells what came of it. Returns whether every list was in order.
    pub(super) fn run(self, executor: Chosen, place: Place, batch: &Batch<'_>) -> Result<bool, Error> {
        let tallies = RefCell::new(vec![Tally::default(); self.lists.len()]);
        let ahead = Ahead::find(batch.report, batch.interrupt, self.reader())?;
        let claims = ahead.filter_map(|entry| self.enter(entry, &mut tallies.borrow_mut(), batch));
        let mut output = Output::new(batch.report);
        let way = Calls(|claim| verify::call(claim, place));
        let label = |claim: &Claim| Label::of(claim.name.as_bytes());
        batch.run(executor, claims, label, &way, |claim, came| {
            let tally = &mut tallies.borrow_mut()[claim.list];
            let lines = self.take(&claim, came, tally, batch);
            output.put(claim.number, lines).map_err(cannot_write_output)
        })?;
        output.end().map_err(cannot_write_output)?;
        let tallies = tallies.into_inner();
        let told = self.lists.iter().zip(&tallies).map(|(list, tally)| self.tell(list, tally, batch));
        Ok(told.fold(true, |all, one| all & one))
    }

    /// What reads the lists.
    fn reader(&self) -> impl FnOnce(&mut dyn FnMut(Entry, Option<u64>) -> bool) + Send + 'static {
        let (lists, algorithms, ending) = (self.lists.clone(), self.allowed(), self.ending);
        move |take| {
            let mut number = 0;
            for (list, path) in lists.iter().enumerate() {
                let mut parser = Parser::new(&algorithms, ending);
                let read = read_list(path, list, &mut parser, &mut number, take);
                if parser.has_guessed() {
                    take(Entry::Guessed { list }, None);
                }
                match read {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        take(Entry::Unreadable { list, error }, None);
                    }
                }
            }
        }
    }

    /// The algorithms that lines may be of.
    fn allowed(&self) -> Vec<Algorithm> {
        match &self.algorithms[..] {
            [] => Algorithm::value_variants().to_vec(),
            named => named.to_vec(),
        }
    }

    /// Counts an entry. What is to be done about it is a claim.
    fn enter(&self, entry: Entry, tallies: &mut [Tally], batch: &Batch<'_>) -> Option<Claim> {
        match entry {
            Entry::Claim(claim) => {
                tallies[claim.list].claims += 1;
                return Some(claim);
            }
            Entry::Malformed { list, line } => {
                tallies[list].malformed += 1;
                if self.options.warn {
                    let kind = match self.algorithms[..] {
                        [algorithm] => format!("{} ", algorithm.tag()),
                        _ => String::new(),
                    };
                    let name = shown(&self.lists[list]);
                    warn(batch, &format!("{name}: {line}: improperly formatted {kind}checksum line"));
                }
            }
            Entry::Guessed { list } => tallies[list].guessed = true,
            Entry::Unreadable { list, error } => {
                tallies[list].unreadable = true;
                warn(batch, &format!("{}: {}", shown(&self.lists[list]), reason(&error)));
            }
        }
        None
    }

    /// Counts what came of a claim, and returns what stdout is told.
    fn take(&self, claim: &Claim, came: Result<(), &Failure>, tally: &mut Tally, batch: &Batch<'_>) -> Vec<u8> {
        let word = match came {
            Ok(()) => {
                tally.matched += 1;
                if self.quiet {
                    return Vec::new();
                }
                "OK"
            }
            Err(failure) if failure.status == Status::NotFound && self.options.ignore_missing => return Vec::new(),
            Err(failure) if failure.reason == MISMATCH => {
                tally.mismatched += 1;
                "FAILED"
            }
            Err(failure) => {
                tally.unread += 1;
                warn(batch, &format!("{}: {}", shown(Path::new(&claim.name)), reason(&failure.reason)));
                "FAILED open or read"
            }
        };
        if self.options.status {
            return Vec::new();
        }
        let shown = Shown::in_verdict(claim.name.as_bytes(), self.ending);
        let mut line = shown.head().to_vec();
        shown.write(&mut line);
        line.extend_from_slice(b": ");
        line.extend_from_slice(word.as_bytes());
        line.push(self.ending.byte());
        line
    }

    /// Says what was wrong with a list, and returns whether nothing was.
    fn tell(&self, list: &Path, tally: &Tally, batch: &Batch<'_>) -> bool {
        let name = shown(list);
        if batch.interrupt.asked().is_some() || tally.unreadable {
            return false;
        }
        if tally.claims == 0 {
            warn(batch, &format!("{name}: no properly formatted checksum lines found"));
            return false;
        }
        if !self.options.status {
            for (count, one, many) in [
                (tally.malformed, "line is improperly formatted", "lines are improperly formatted"),
                (tally.unread, "listed file could not be read", "listed files could not be read"),
                (tally.mismatched, "computed checksum did NOT match", "computed checksums did NOT match"),
            ] {
                if count > 0 {
                    warn(batch, &format!("{count} {}", if count == 1 { one } else { many }));
                }
            }
            if self.options.ignore_missing && tally.matched == 0 {
                warn(batch, &format!("{name}: no file was verified"));
            }
            if tally.guessed && tally.matched == 0 && tally.mismatched > 0 {
                let hint = "sums of 64 digits were taken for SHA-256; if they are BLAKE3, add `--algorithm blake3`";
                batch.report.note(Paint::for_stderr().hint(hint));
            }
        }
        let strictly = !self.options.strict || tally.malformed == 0;
        tally.matched > 0 && tally.mismatched == 0 && tally.unread == 0 && strictly
    }
}

/// Makes the sum and compares it.
#[raincheck::task]
fn verify(claim: Claim, place: Place) -> Tried<()> {
    let input = Input { name: claim.name, algorithms: vec![claim.algorithm], place };
    let Done { bytes, value } = file::sums(&input, &raincheck::progress)?;
    if value == [claim.sum] { Ok(Done { bytes, value: () }) } else { Err(Failure::for_good(MISMATCH)) }
}

/// Gives `take` what a list holds. Returns false once `take` has.
fn read_list(
    path: &Path,
    list: usize,
    parser: &mut Parser,
    number: &mut usize,
    take: &mut dyn FnMut(Entry, Option<u64>) -> bool,
) -> io::Result<bool> {
    let is_stdin = path.as_os_str() == "-";
    let mut lines: Box<dyn BufRead> = match is_stdin {
        true => Box::new(io::stdin().lock()),
        false => Box::new(BufReader::new(File::open(path)?)),
    };
    let (mut text, mut line) = (Vec::new(), 0);
    loop {
        text.clear();
        if lines.read_until(parser.ending().byte(), &mut text)? == 0 {
            return Ok(true);
        }
        line += 1;
        let Some(text) = content(&text, parser.ending()) else { continue };
        let (entry, bytes) = match parser.parse(text) {
            // It cannot be the list and a file at once.
            Some(Line { name, .. }) if is_stdin && name == b"-" => (Entry::Malformed { list, line }, None),
            Some(Line { algorithm, sum, name }) => {
                let name = OsString::from_vec(name);
                let bytes = fs::metadata(&name).map_or(0, |metadata| metadata.len());
                *number += 1;
                (Entry::Claim(Claim { number: *number - 1, list, name, algorithm, sum }), Some(bytes))
            }
            None => (Entry::Malformed { list, line }, None),
        };
        if !take(entry, bytes) {
            return Ok(false);
        }
    }
}

/// What a line says: not its ending, and nothing if it is empty or a comment.
fn content(line: &[u8], ending: Ending) -> Option<&[u8]> {
    let line = line.strip_suffix(&[ending.byte()]).unwrap_or(line);
    let line = match ending {
        Ending::Newline => line.strip_suffix(b"\r").unwrap_or(line),
        Ending::Nul => line,
    };
    (!line.is_empty() && !line.starts_with(b"#")).then_some(line)
}

fn warn(batch: &Batch<'_>, text: &str) {
    batch.report.note(Paint::for_stderr().warning(text));
}

fn shown(path: &Path) -> String {
    figures::shown(&path.to_string_lossy())
}
