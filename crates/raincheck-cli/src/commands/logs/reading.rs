//! The job of this command: to read one piece of a log and count what is asked.

use std::cell::Cell;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use memchr::{memchr, memmem, memrchr};
use serde::{Deserialize, Serialize};

use super::blocks::{self, Block, Packing};
use super::format::Format;
use super::line::Parser;
use super::question::{Ask, Asked};
use super::source::Piece;
use super::tally::Tally;
use crate::batch::{Again, Done, Failure, Tried};
use crate::interrupt;
use crate::report::event::Status;

/// Progress is told whenever so much more has been read.
const BETWEEN_PROGRESS: u64 = 1 << 20;
/// How many lines are looked at to find out how they are written.
const LOOKED_AT: usize = 100;

/// What one job is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) piece: Piece,
    #[serde(with = "shared")]
    pub(crate) ask: Arc<Ask>,
}

/// What one job comes to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Found {
    Counted {
        tally: Box<Tally>,
        /// Why the log could not be read to its end.
        trouble: Option<String>,
    },
    /// A file in a folder that is no access log.
    NotALog,
}

/// Reads a piece and counts what is asked. `progress` is told how many bytes of the file have been read.
///
/// # Errors
///
/// If nothing could be read, or not one line is in the format. A file that breaks off counts as far as it goes.
pub(crate) fn read(work: &Work, progress: &dyn Fn(u64)) -> Tried<Found> {
    let Work { piece, ask } = work;
    let asked = ask.read().map_err(Failure::for_good)?;
    let read_so_far = Rc::new(Cell::new(0));
    let file = piece.open().map_err(|error| cannot_read(&error))?;
    let file = Metered { file, read: Rc::clone(&read_so_far) };
    let (packing, unpacked) = blocks::unpack(file).map_err(|error| cannot_read(&error))?;

    let mut counting = Counting::new(ask, &asked);
    let mut told = 0;
    let mut stopped = false;
    let ended = blocks::for_each(unpacked, |block| {
        counting.block(block);
        if read_so_far.get() - told >= BETWEEN_PROGRESS {
            told = read_so_far.get();
            progress(told);
        }
        stopped = interrupt::job_is_unwanted();
        if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if stopped {
        return Err(Failure::stopped());
    }
    let tally = counting.tally;
    let trouble = match ended {
        Ok(()) => None,
        // The disk or the network, and not what is in the file.
        Err(error) if error.raw_os_error().is_some() => return Err(cannot_read(&error)),
        Err(error) => Some(damage(packing, &error, tally.lines)),
    };
    if counting.parser.is_none() && counting.has_lines {
        return match piece.was_named {
            true => {
                Err(Failure::for_good("no line of it is in a known format; `--log-format` says how lines are written"))
            }
            false => Ok(Done { bytes: read_so_far.get(), value: Found::NotALog }),
        };
    }
    if counting.needle.is_none() && tally.lines > 0 && tally.bad == tally.lines {
        return Err(Failure::for_good("no line of it is in the format that was given by `--log-format`"));
    }
    Ok(Done { bytes: read_so_far.get(), value: Found::Counted { tally: Box::new(tally), trouble } })
}

fn cannot_read(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => Failure { status: Status::NotFound, ..Failure::for_good("there is no such file") },
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => Failure::for_good(error.to_string()),
        _ => Failure { again: Again::Later, ..Failure::for_now(error.to_string()) },
    }
}

/// What is wrong with a packed file.
fn damage(packing: Packing, error: &io::Error, lines: u64) -> String {
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut off".into(),
        _ => format!("is damaged ({error})"),
    };
    let lines = crate::report::figures::count(lines, "line");
    format!("the {} {what}; what could be read of it counts: {lines}", packing.name())
}

/// Counts what is read through it.
struct Metered<R> {
    file: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.read.set(self.read.get() + length as u64);
        Ok(length)
    }
}

/// The counts of one piece, as it is read.
struct Counting<'a> {
    ask: &'a Ask,
    asked: &'a Asked,
    /// Only lines with this in them can count.
    needle: Option<memmem::Finder<'a>>,
    /// None until the format is known.
    parser: Option<Parser>,
    /// Whether there was anything, be it looked at or passed over.
    has_lines: bool,
    tally: Tally,
}

impl<'a> Counting<'a> {
    fn new(ask: &'a Ask, asked: &'a Asked) -> Self {
        let needle = ask.needle(asked).map(memmem::Finder::new);
        let parser = asked.format.clone().map(Parser::new);
        Self { ask, asked, needle, parser, has_lines: false, tally: Tally::new(ask) }
    }

    fn block(&mut self, block: Block<'_>) {
        self.has_lines = true;
        let lines = match block {
            Block::Lines(lines) => lines,
            Block::TooLong(head) => {
                self.tally.lines += 1;
                return self.tally.count_bad(head, self.ask);
            }
        };
        if self.parser.is_none() {
            self.parser = format_of(lines).map(Parser::new);
        }
        match self.needle.take() {
            Some(needle) => {
                for_each_line_with(&needle, lines, |line| self.line(line));
                self.needle = Some(needle);
            }
            None => for_each_line(lines, |line| self.line(line)),
        }
    }

    #[inline]
    fn line(&mut self, line: &[u8]) {
        self.tally.lines += 1;
        match self.parser.as_mut().and_then(|parser| parser.parse(line)) {
            Some(entry) => self.tally.count(&entry, self.ask, self.asked),
            None => self.tally.count_bad(line, self.ask),
        }
    }
}

/// The known format that most of these lines are in, if any is.
fn format_of(lines: &[u8]) -> Option<Format> {
    let fitting = |format: &Format| {
        let mut parser = Parser::new(format.clone());
        lines.split(|byte| *byte == b'\n').take(LOOKED_AT).filter(|line| parser.parse(line).is_some()).count()
    };
    let counted = Format::candidates().into_iter().map(|format| (fitting(&format), format));
    // Of two that fit as well, the first.
    let (most, format) = counted.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (most > 0).then_some(format)
}

#[inline]
fn for_each_line(mut lines: &[u8], mut take: impl FnMut(&[u8])) {
    while !lines.is_empty() {
        let end = memchr(b'\n', lines).unwrap_or(lines.len());
        take(&lines[..end]);
        lines = lines.get(end + 1..).unwrap_or_default();
    }
}

/// Each line with this in it, once. All others are passed over without being looked at.
fn for_each_line_with(needle: &memmem::Finder<'_>, mut lines: &[u8], mut take: impl FnMut(&[u8])) {
    while let Some(at) = needle.find(lines) {
        let start = memrchr(b'\n', &lines[..at]).map_or(0, |end| end + 1);
        let end = memchr(b'\n', &lines[at..]).map_or(lines.len(), |length| at + length);
        take(&lines[start..end]);
        lines = lines.get(end + 1..).unwrap_or_default();
    }
}

/// What is shared is sent once for each.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Ask;

    pub(super) fn serialize<S: Serializer>(ask: &Arc<Ask>, serializer: S) -> Result<S::Ok, S::Error> {
        ask.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Ask>, D::Error> {
        Ask::deserialize(deserializer).map(Arc::new)
    }
}
