//! What commands print: each one's together, in the order of the inputs if asked, or line by line as it comes.
//!
//! A command prints into files without a name, so that one that prints gigabytes costs no memory, and one that prints
//! nothing costs nothing: the files are used again and again. Its worker copies what is in them to stdout and stderr when
//! the command is over. What has to wait for its turn is kept in memory while that is little, and else in another file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use super::joblog::Joblog;
use crate::report::Bar;

/// So much that waits for its turn stays in memory.
const IN_MEMORY: u64 = 16 * 1024 * 1024;
const CHUNK: usize = 64 * 1024;

/// Where the output of all commands comes together.
pub(super) struct Output {
    state: Mutex<State>,
    /// Whether it is shown in the order of the inputs.
    ordered: bool,
    bar: Bar,
}

struct State {
    out: File,
    err: File,
    log: Option<Joblog>,
    /// Whose turn it is, and what those after it have to say.
    turn: u64,
    waiting: BTreeMap<u64, Waiting>,
    in_memory: u64,
    overflow: Option<File>,
    overflow_length: u64,
}

/// What there is to show of one command.
pub(super) struct Shown<'a> {
    pub(super) out: Option<Printed<'a>>,
    pub(super) err: Option<Printed<'a>>,
    /// Stands before each line.
    pub(super) tag: Option<Vec<u8>>,
    /// Its line in the log.
    pub(super) log: Option<Vec<u8>>,
}

/// What a command has printed to one of its two files; never nothing.
#[derive(Clone, Copy)]
pub(super) struct Printed<'a> {
    pub(super) file: &'a File,
    pub(super) length: u64,
}

struct Waiting {
    out: Option<Kept>,
    err: Option<Kept>,
    tag: Option<Vec<u8>>,
    log: Option<Vec<u8>>,
}

enum Kept {
    Memory(Vec<u8>),
    Overflow { start: u64, length: u64 },
}

/// Why something could not be shown.
#[derive(Debug)]
pub(super) enum Trouble {
    Output(io::Error),
    Log(io::Error),
    Results(PathBuf, io::Error),
}

/// Which of the two a command prints to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

impl Output {
    /// To stdout and stderr, beside the bar.
    pub(super) fn new(ordered: bool, log: Option<Joblog>, bar: Bar) -> io::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let err = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Ok(Self::to(out, err, ordered, log, bar))
    }

    fn to(out: File, err: File, ordered: bool, log: Option<Joblog>, bar: Bar) -> Self {
        let (waiting, overflow) = (BTreeMap::new(), None);
        let state = State { out, err, log, turn: 0, waiting, in_memory: 0, overflow, overflow_length: 0 };
        Self { state: Mutex::new(state), ordered, bar }
    }

    /// Shows the output of a command that is over, and then enters it in the log; now, or when it is its turn.
    pub(super) fn show(&self, turn: u64, shown: Shown<'_>) -> Result<(), Trouble> {
        if !self.ordered {
            if shown.out.is_none() && shown.err.is_none() && shown.log.is_none() {
                return Ok(());
            }
            return self.state().show(shown, &self.bar);
        }
        let mut state = self.state();
        if turn != state.turn {
            let waiting = state.keep(shown).map_err(Trouble::Output)?;
            state.waiting.insert(turn, waiting);
            return Ok(());
        }
        state.show(shown, &self.bar)?;
        state.turn += 1;
        loop {
            let turn = state.turn;
            let Some(waiting) = state.waiting.remove(&turn) else { break };
            state.show_kept(waiting, &self.bar)?;
            state.turn += 1;
        }
        state.reclaim().map_err(Trouble::Output)
    }

    /// Shows whole lines as they come.
    pub(super) fn lines(&self, stream: Stream, tag: Option<&[u8]>, lines: &[u8]) -> Result<(), Trouble> {
        let mut state = self.state();
        let (to, beside) = state.stream(stream);
        beside(&self.bar, &mut || copy_bytes(lines, tag, to)).map_err(Trouble::Output)
    }

    /// Shows what still waits for a turn that will not come.
    pub(super) fn finish(&self) -> Result<(), Trouble> {
        let mut state = self.state();
        while let Some((_, waiting)) = state.waiting.pop_first() {
            state.show_kept(waiting, &self.bar)?;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while the output is locked")
    }
}

type Beside = fn(&Bar, &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>;

impl State {
    fn stream(&mut self, stream: Stream) -> (&mut File, Beside) {
        match stream {
            Stream::Out => (&mut self.out, |bar, write| bar.beside_data(write)),
            Stream::Err => (&mut self.err, |bar, write| bar.beside(write)),
        }
    }

    fn show(&mut self, shown: Shown<'_>, bar: &Bar) -> Result<(), Trouble> {
        let Shown { out, err, tag, log } = shown;
        for (stream, printed) in [(Stream::Out, out), (Stream::Err, err)] {
            let Some(Printed { file, length }) = printed else { continue };
            let (to, beside) = self.stream(stream);
            beside(bar, &mut || copy(file, 0, length, tag.as_deref(), to)).map_err(Trouble::Output)?;
        }
        self.log(log)
    }

    fn show_kept(&mut self, waiting: Waiting, bar: &Bar) -> Result<(), Trouble> {
        let Waiting { out, err, tag, log } = waiting;
        let tag = tag.as_deref();
        for (stream, kept) in [(Stream::Out, out), (Stream::Err, err)] {
            let overflow = self.overflow.take();
            let (to, beside) = self.stream(stream);
            let shown = match (&kept, &overflow) {
                (Some(Kept::Memory(bytes)), _) => beside(bar, &mut || copy_bytes(bytes, tag, to)),
                (Some(Kept::Overflow { start, length }), Some(file)) => {
                    beside(bar, &mut || copy(file, *start, *length, tag, to))
                }
                _ => Ok(()),
            };
            if let Some(Kept::Memory(bytes)) = kept {
                self.in_memory -= bytes.len() as u64;
            }
            self.overflow = overflow;
            shown.map_err(Trouble::Output)?;
        }
        self.log(log)
    }

    fn keep(&mut self, shown: Shown<'_>) -> io::Result<Waiting> {
        let mut kept = |printed: Option<Printed<'_>>| {
            let Some(Printed { mut file, length }) = printed else { return Ok(None) };
            file.seek(SeekFrom::Start(0))?;
            if self.in_memory + length <= IN_MEMORY {
                let mut bytes = Vec::with_capacity(length as usize);
                file.take(length).read_to_end(&mut bytes)?;
                self.in_memory += bytes.len() as u64;
                return Ok::<_, io::Error>(Some(Kept::Memory(bytes)));
            }
            let overflow = match &mut self.overflow {
                Some(overflow) => overflow,
                None => self.overflow.insert(tempfile::tempfile()?),
            };
            let start = self.overflow_length;
            overflow.seek(SeekFrom::Start(start))?;
            let length = io::copy(&mut file.take(length), overflow)?;
            self.overflow_length += length;
            Ok(Some(Kept::Overflow { start, length }))
        };
        Ok(Waiting { out: kept(shown.out)?, err: kept(shown.err)?, tag: shown.tag, log: shown.log })
    }

    /// Gives the disk back when nothing waits any more.
    fn reclaim(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() && self.overflow_length > 0 {
            self.overflow_length = 0;
            if let Some(overflow) = &self.overflow {
                overflow.set_len(0)?;
            }
        }
        Ok(())
    }

    fn log(&mut self, line: Option<Vec<u8>>) -> Result<(), Trouble> {
        match (&mut self.log, line) {
            (Some(log), Some(line)) => log.write(&line).map_err(Trouble::Log),
            _ => Ok(()),
        }
    }
}

/// Copies a stretch of a file.
fn copy(mut from: &File, start: u64, length: u64, tag: Option<&[u8]>, to: &mut File) -> io::Result<()> {
    from.seek(SeekFrom::Start(start))?;
    let mut from = from.take(length);
    if length <= CHUNK as u64 {
        let mut bytes = Vec::with_capacity(length as usize);
        from.read_to_end(&mut bytes)?;
        return copy_bytes(&bytes, tag, to);
    }
    let Some(tag) = tag else {
        // From file to file, which the system can do by itself.
        return io::copy(&mut from, to).map(drop);
    };
    let mut chunk = vec![0; CHUNK];
    let mut begins_line = true;
    loop {
        let read = from.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&tagged(&chunk[..read], tag, begins_line))?;
        begins_line = chunk[read - 1] == b'\n';
    }
}

fn copy_bytes(bytes: &[u8], tag: Option<&[u8]>, to: &mut File) -> io::Result<()> {
    match tag {
        Some(tag) => to.write_all(&tagged(bytes, tag, true)),
        None => to.write_all(bytes),
    }
}

/// The same with the tag before each line.
fn tagged(text: &[u8], tag: &[u8], begins_line: bool) -> Vec<u8> {
    let mut tagged = Vec::with_capacity(text.len() * 2);
    for (place, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if begins_line || place > 0 {
            tagged.extend(tag);
        }
        tagged.extend(line);
    }
    tagged
}

/// The two files that a command prints into.
pub(super) struct Spool {
    pub(super) out: File,
    pub(super) err: File,
}

impl Spool {
    /// Two empty files without names.
    ///
    /// Each command has its own: what it leaves running may write to them when it is long over.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { out: tempfile::tempfile()?, err: tempfile::tempfile()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn read(mut file: &File) -> Vec<u8> {
        let mut text = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut text).unwrap();
        text
    }

    /// What is shown of these outputs, given out in this order of their turns.
    fn shown(ordered: bool, outputs: &[(u64, &[u8])], tag: Option<&[u8]>) -> Vec<u8> {
        let out = file(b"");
        let output = Output::to(out.try_clone().unwrap(), file(b""), ordered, None, Bar::default());
        for (turn, text) in outputs {
            let spool = file(text);
            let out = Some(Printed { file: &spool, length: text.len() as u64 });
            output.show(*turn, Shown { out, err: None, tag: tag.map(<[u8]>::to_vec), log: None }).unwrap();
        }
        output.finish().unwrap();
        read(&out)
    }

    #[test]
    fn output_comes_in_the_order_of_the_inputs_if_asked() {
        let outputs: [(u64, &[u8]); 4] = [(2, b"c\n"), (0, b"a\n"), (1, b"b\n"), (5, b"f\n")];

        assert_eq!(shown(true, &outputs, None), b"a\nb\nc\nf\n");
        assert_eq!(shown(false, &outputs, None), b"c\na\nb\nf\n");
    }

    #[test]
    fn what_waits_and_is_much_waits_on_disk_and_comes_out_whole() {
        let much: Vec<u8> = (0..IN_MEMORY + 5).map(|at| (at % 251) as u8).collect();

        let text = shown(true, &[(3, b"little"), (2, &much), (1, &much), (0, b"first")], None);

        assert_eq!(text.len(), 5 + 2 * much.len() + 6);
        assert!(text.starts_with(b"first") && text.ends_with(b"little"));
        assert!(text[5..5 + much.len()] == much && text[5 + much.len()..5 + 2 * much.len()] == much);
    }

    #[test]
    fn a_tag_stands_before_each_line() {
        assert_eq!(shown(false, &[(0, b"a\n\nb")], Some(b"x\t")), b"x\ta\nx\t\nx\tb");
        let long = b"0123456789\n".repeat(20_000);
        let tagged = shown(false, &[(0, &long)], Some(b"x"));
        assert_eq!(tagged, b"x0123456789\n".repeat(20_000));
    }
}
