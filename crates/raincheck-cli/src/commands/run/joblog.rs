//! The log of jobs, in the form of GNU parallel's `--joblog`: each can read the other's.
//!
//! A line is written whole and at once, when a job is over and its output has been shown. What a later run reads from it
//! is which jobs need not be run again. Reading knows nothing of the rest of the program, so that it can be fuzzed.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

const HEAD: &[u8] = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

/// One line: what became of a job.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) number: u64,
    pub(crate) start: SystemTime,
    pub(crate) took: Duration,
    /// How many bytes it was sent, and printed.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// The exit code, or -1 if it ran out of time.
    pub(crate) exit: i32,
    pub(crate) signal: i32,
    pub(crate) command: &'a [u8],
}

impl Line<'_> {
    /// The line as it stands in the file.
    pub(crate) fn text(&self) -> Vec<u8> {
        let start = self.start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut text = format!(
            "{}\t:\t{}.{:03}\t{:10.3}\t{}\t{}\t{}\t{}\t",
            self.number,
            start.as_secs(),
            start.subsec_millis(),
            self.took.as_secs_f64(),
            self.sent,
            self.received,
            self.exit,
            self.signal,
        )
        .into_bytes();
        // A command with a newline stays one line; GNU parallel writes it so.
        text.extend(self.command.iter().map(|byte| if *byte == b'\n' { 0 } else { *byte }));
        text.push(b'\n');
        text
    }
}

/// Which jobs of an earlier run count as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    /// All that ran to their end.
    Ended,
    /// Those that ran to their end without failing.
    Succeeded,
}

/// What a log says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// The numbers of the jobs that need not be run again.
    pub(crate) done: HashSet<u64>,
    /// How long the log is without a last line that was cut off as it was written.
    pub(crate) whole: usize,
}

/// Reads a log.
///
/// # Errors
///
/// The number of the first line that is none of a log.
pub(crate) fn read(text: &[u8], earlier: Earlier) -> Result<Content, usize> {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut done = HashSet::new();
    for (index, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
        // The head, and what is after the last newline.
        if line.is_empty() || (index == 0 && line.starts_with(b"Seq\t")) {
            continue;
        }
        let (number, succeeded) = entry(line).ok_or(index + 1)?;
        // A job is in the log once for each time that it was run; the last time counts.
        if succeeded || earlier == Earlier::Ended {
            done.insert(number);
        } else {
            done.remove(&number);
        }
    }
    Ok(Content { done, whole })
}

/// The number of a job, and whether it succeeded.
fn entry(line: &[u8]) -> Option<(u64, bool)> {
    let fields: Vec<&[u8]> = line.splitn(9, |byte| *byte == b'\t').collect();
    let [number, _, start, took, sent, received, exit, signal, _] = fields[..] else { return None };
    let text = |field| std::str::from_utf8(field).ok().map(str::trim);
    for decimal in [start, took] {
        text(decimal)?.parse::<f64>().ok()?;
    }
    for count in [sent, received] {
        text(count)?.parse::<i64>().ok()?;
    }
    let (exit, signal): (i64, i64) = (text(exit)?.parse().ok()?, text(signal)?.parse().ok()?);
    Some((text(number)?.parse().ok()?, exit == 0 && signal == 0))
}

/// A log that is being written.
pub(crate) struct Joblog(File);

impl Joblog {
    /// Begins a log, in place of the one that is there, if one is.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Self::begin(file)
    }

    /// Adds to a log, whatever is in it.
    pub(crate) fn append(path: &Path) -> io::Result<Self> {
        Self::begin(OpenOptions::new().append(true).create(true).open(path)?)
    }

    /// Goes on with a log.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or is no log: `InvalidData` then, with the number of the line that is none.
    pub(crate) fn resume(path: &Path, earlier: Earlier) -> io::Result<(Self, HashSet<u64>)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let Content { done, whole } = read(&text, earlier).map_err(|line| {
            io::Error::new(io::ErrorKind::InvalidData, format!("line {line} is not one of a job log"))
        })?;
        if whole < text.len() {
            file.set_len(whole as u64)?;
        }
        Ok((Self::begin(file)?, done))
    }

    fn begin(mut file: File) -> io::Result<Self> {
        if file.seek(SeekFrom::End(0)).unwrap_or(0) == 0 {
            file.write_all(HEAD)?;
        }
        Ok(Self(file))
    }

    /// Appends a line, in one piece.
    pub(crate) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.0.write_all(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, exit: i32, command: &[u8]) -> Vec<u8> {
        let start = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_042);
        let took = Duration::from_millis(1234);
        Line { number, start, took, sent: 0, received: 6, exit, signal: 0, command }.text()
    }

    #[test]
    fn a_line_is_as_gnu_parallel_writes_it() {
        let line = String::from_utf8(line(3, 7, b"echo 'a\nb'")).unwrap();

        assert_eq!(line, "3\t:\t1700000000.042\t     1.234\t0\t6\t7\t0\techo 'a\0b'\n");
    }

    #[test]
    fn the_last_run_of_a_job_counts() {
        let log =
            [HEAD, &line(1, 0, b"a"), &line(2, 1, b"b\tc"), &line(3, 1, b""), &line(3, 0, b""), b"4\t:\t17"].concat();

        let ended = read(&log, Earlier::Ended).unwrap();
        let succeeded = read(&log, Earlier::Succeeded).unwrap();

        assert_eq!(ended.done, HashSet::from([1, 2, 3]));
        assert_eq!(succeeded.done, HashSet::from([1, 3]));
        assert_eq!(ended.whole, log.len() - 6, "the line that was cut off is not part of it");
    }

    #[test]
    fn what_is_no_log_is_refused_with_the_line() {
        assert_eq!(read(b"my notes\n", Earlier::Ended), Err(1));
        assert_eq!(read(&[HEAD, &line(1, 0, b"a"), b"1 : 2\n"].concat(), Earlier::Ended), Err(3));
    }

    #[test]
    fn whatever_is_read_what_was_written_is_read_back() {
        let mut random = 5_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for _ in 0..2000 {
            let command: Vec<u8> = (0..next() % 20).map(|_| next() as u8).collect();
            let (number, exit) = (next(), (next() % 3) as i32 - 1);
            let text = line(number, exit, &command);

            let content = read(&text, Earlier::Succeeded).unwrap();

            assert_eq!(content.done.contains(&number), exit == 0);
            assert_eq!(content.whole, text.len());
            let cut = (next() as usize) % text.len();
            assert_eq!(read(&text[..cut], Earlier::Ended).unwrap(), Content::default());
        }
    }
}
