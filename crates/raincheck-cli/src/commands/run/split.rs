//! Cuts a stream into records, or into blocks of whole records.
//!
//! This file knows nothing of the rest of the program, so that it can be fuzzed.

use std::io::{self, BufRead, BufReader, Read};

use memchr::memmem;

/// So much is asked for at a time.
const READ: usize = 64 * 1024;

/// The records of a stream: lines, unless another byte ends them.
pub(crate) struct Records<R> {
    read: BufReader<R>,
    end: u8,
}

impl<R: Read> Records<R> {
    pub(crate) fn new(read: R, end: u8) -> Self {
        Self { read: BufReader::with_capacity(READ, read), end }
    }

    /// The next record, without what ends it; the last one need not be ended.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut record = Vec::new();
        if self.read.read_until(self.end, &mut record)? == 0 {
            return Ok(None);
        }
        if record.last() == Some(&self.end) {
            record.pop();
        }
        Ok(Some(record))
    }

    /// Whether `next` has to read, and may have to wait for it.
    pub(crate) fn must_read(&self) -> bool {
        memchr::memchr(self.end, self.read.buffer()).is_none()
    }
}

/// How a stream is cut into blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Where one of these ends and one of those begins, there is a new record.
    pub(crate) record_end: Vec<u8>,
    pub(crate) record_start: Vec<u8>,
    pub(crate) size: Size,
}

/// How much goes into a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// As many whole records as make about so many bytes; at least one.
    Bytes(usize),
    /// So many records.
    Records(usize),
}

/// The blocks of a stream. One after the other, they are the stream.
pub(crate) struct Blocks<R> {
    read: R,
    cut: Cut,
    /// What has been read and not handed out: all after `taken`.
    held: Vec<u8>,
    taken: usize,
    ended: bool,
    chunk: Vec<u8>,
}

impl<R: Read> Blocks<R> {
    pub(crate) fn new(read: R, cut: Cut) -> Self {
        Self { read, cut, held: Vec::new(), taken: 0, ended: false, chunk: vec![0; READ] }
    }

    /// The next block; never an empty one.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let length = match self.cut.size {
            Size::Bytes(bytes) => self.about(bytes.max(1))?,
            Size::Records(records) => self.exactly(records.max(1))?,
        };
        let block = self.held[self.taken..self.taken + length].to_vec();
        self.taken += length;
        Ok((!block.is_empty()).then_some(block))
    }

    /// The length of the block that comes next: to the last boundary within so many bytes, or to the first one after.
    fn about(&mut self, bytes: usize) -> io::Result<usize> {
        let mut wanted = bytes;
        loop {
            while self.waiting().len() < wanted && !self.ended {
                self.read_more(wanted - self.waiting().len())?;
            }
            let waiting = self.waiting();
            if waiting.len() <= wanted && self.ended {
                return Ok(waiting.len());
            }
            if let Some(boundary) = self.cut.last_boundary(&waiting[..wanted.min(waiting.len())]) {
                return Ok(boundary);
            }
            wanted = wanted.saturating_mul(2);
        }
    }

    /// The length of the block that comes next: so many records.
    fn exactly(&mut self, records: usize) -> io::Result<usize> {
        let mut found = 0;
        let mut from = 0;
        loop {
            while let Some(boundary) = self.cut.next_boundary(self.waiting(), from) {
                found += 1;
                from = boundary;
                if found == records {
                    return Ok(boundary);
                }
            }
            if self.ended {
                return Ok(self.waiting().len());
            }
            self.read_more(READ)?;
        }
    }

    fn waiting(&self) -> &[u8] {
        &self.held[self.taken..]
    }

    /// Reads at most so many bytes, once.
    fn read_more(&mut self, bytes: usize) -> io::Result<()> {
        // What was handed out goes when there is more of it than of what is left: each byte moves once or so.
        if self.taken > self.held.len() / 2 {
            self.held.drain(..self.taken);
            self.taken = 0;
        }
        let chunk = &mut self.chunk[..bytes.min(READ)];
        let read = loop {
            match self.read.read(chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.held.extend(&chunk[..read]);
        self.ended |= read == 0;
        Ok(())
    }
}

impl Cut {
    /// The last place in a text where a record begins, other than at its start.
    fn last_boundary(&self, text: &[u8]) -> Option<usize> {
        // A match at the very start, of a record's first bytes alone, is no boundary.
        let found = memmem::rfind(text, &self.pattern())?;
        Some(found + self.record_end.len()).filter(|boundary| *boundary > 0)
    }

    /// The next place after this one where a record begins.
    fn next_boundary(&self, text: &[u8], from: usize) -> Option<usize> {
        let pattern = self.pattern();
        // A record that begins right here is the one that is under way.
        let skip = from + usize::from(self.record_end.is_empty());
        let found = memmem::find(text.get(skip..)?, &pattern)?;
        Some(skip + found + self.record_end.len())
    }

    fn pattern(&self) -> Vec<u8> {
        [&self.record_end[..], &self.record_start].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(end: &str, start: &str, size: Size) -> Cut {
        Cut { record_end: end.into(), record_start: start.into(), size }
    }

    fn blocks(text: &[u8], cut: Cut) -> Vec<Vec<u8>> {
        let mut blocks = Blocks::new(Trickle(text), cut);
        std::iter::from_fn(|| blocks.next().unwrap()).collect()
    }

    fn words(text: &str, cut: Cut) -> Vec<String> {
        blocks(text.as_bytes(), cut).into_iter().map(|block| String::from_utf8(block).unwrap()).collect()
    }

    /// Comes a few bytes at a time, as from a slow pipe.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let bytes = into.len().min(self.0.len()).min(1 + self.0.len() % 3);
            into[..bytes].copy_from_slice(&self.0[..bytes]);
            self.0 = &self.0[bytes..];
            Ok(bytes)
        }
    }

    #[test]
    fn records_end_with_their_byte_and_the_last_need_not() {
        let read = |text: &str, end| {
            let mut records = Records::new(text.as_bytes(), end);
            std::iter::from_fn(|| records.next().unwrap()).map(|record| String::from_utf8(record).unwrap()).collect()
        };
        let lines: Vec<String> = read("a\n\nb c", b'\n');
        let nulls: Vec<String> = read("a\nb\0c\0", 0);

        assert_eq!(lines, ["a", "", "b c"]);
        assert_eq!(nulls, ["a\nb", "c"]);
    }

    #[test]
    fn a_block_is_as_many_whole_lines_as_fit() {
        assert_eq!(words("aa\nbb\ncc\ndd", cut("\n", "", Size::Bytes(7))), ["aa\nbb\n", "cc\ndd"]);
        assert_eq!(words("aa\nbb\n", cut("\n", "", Size::Bytes(3))), ["aa\n", "bb\n"]);
        assert_eq!(words("a long line\nb\n", cut("\n", "", Size::Bytes(3))), ["a long line\n", "b\n"]);
        assert!(words("", cut("\n", "", Size::Bytes(3))).is_empty());
    }

    #[test]
    fn a_block_is_so_many_records() {
        assert_eq!(words("1\n2\n3\n4\n5", cut("\n", "", Size::Records(2))), ["1\n2\n", "3\n4\n", "5"]);
        assert_eq!(words(">a\nb>c>d", cut("", ">", Size::Records(1))), [">a\nb", ">c", ">d"]);
        assert_eq!(words("x;>a;b;>c", cut(";", ">", Size::Records(1))), ["x;", ">a;b;", ">c"]);
    }

    #[test]
    fn nothing_is_lost_and_every_block_but_the_first_begins_a_record() {
        let mut random = 11_u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for _ in 0..3000 {
            let text: Vec<u8> = (0..next(60)).map(|_| b">;\nab"[next(5) as usize]).collect();
            let (end, start) = [("\n", ""), (";\n", ""), ("", ">"), (";", ">"), ("\n", "a")][next(5) as usize];
            let size = if next(2) == 0 { Size::Bytes(next(20) as usize) } else { Size::Records(next(5) as usize) };
            let blocks = blocks(&text, cut(end, start, size));

            assert_eq!(blocks.concat(), text);
            for (before, block) in blocks.iter().zip(blocks.iter().skip(1)) {
                assert!(before.ends_with(end.as_bytes()) && block.starts_with(start.as_bytes()), "{blocks:?}");
            }
            if let Size::Records(records) = size {
                let boundary = [end, start].concat();
                let inside = |block: &[u8]| {
                    let found = memmem::find_iter(block, &boundary);
                    found.filter(|at| (1..block.len()).contains(&(at + end.len()))).count()
                };
                for block in &blocks {
                    assert!(inside(block) < records.max(1), "{block:?} of {records}");
                }
            }
        }
    }
}
