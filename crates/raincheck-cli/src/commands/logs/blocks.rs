//! A log as blocks of whole lines, whatever it is packed with, in bounded memory.
//!
//! Gzip is unpacked by zlib-rs, which reads as it goes: a file that was cut off gives all that is left of it, and no file
//! needs more memory than another. Where libdeflate, which can do neither, took 0.28 s for 1.1 GB on two cores, and igzip
//! 0.30 s, it took 0.30 s; `benches/logs.sh` compares the whole command.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;

use flate2::bufread::GzDecoder;
use memchr::{memchr, memrchr};

/// So much is unpacked at a time: as much as stays in a core's own cache until it is counted.
const BLOCK: usize = 256 << 10;
/// A line that is longer is no line of a log.
const LONGEST_LINE: usize = 1 << 20;

/// What a file is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
    Bzip2,
}

impl Packing {
    /// Tells by the first bytes.
    pub(crate) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::Plain,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "file",
            Self::Gzip => "gzip file",
            Self::Zstd => "zstd file",
            Self::Bzip2 => "bzip2 file",
        }
    }
}

/// Unpacks what is packed, and returns the rest as it is.
///
/// # Errors
///
/// If the first bytes cannot be read.
pub(crate) fn unpack<'r>(file: impl Read + 'r) -> io::Result<(Packing, Box<dyn Read + 'r>)> {
    let mut file = BufReader::with_capacity(BLOCK / 2, file);
    let packing = Packing::of(file.fill_buf()?);
    Ok(match packing {
        Packing::Plain => (packing, Box::new(file)),
        Packing::Gzip => (packing, Box::new(Members(Some(GzDecoder::new(file))))),
        Packing::Zstd => (packing, Box::new(zstd::Decoder::with_buffer(file)?)),
        Packing::Bzip2 => (packing, Box::new(bzip2::bufread::MultiBzDecoder::new(file))),
    })
}

/// What is packed by gzip: one member after the other, and perhaps zeros behind the last one, as on tapes.
struct Members<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let mut rest = self.0.take().map(GzDecoder::into_inner);
            match rest.as_mut().map(BufRead::fill_buf).transpose()? {
                None | Some([] | [0, ..]) => {}
                Some([0x1f, ..]) => self.0 = rest.map(GzDecoder::new),
                Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "what follows its end is no gzip")),
            }
        }
        Ok(0)
    }
}

/// What stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block<'b> {
    /// Whole lines, each with its end but perhaps the last of all.
    Lines(&'b [u8]),
    /// The beginning of a line that is too long to be one.
    TooLong(&'b [u8]),
}

/// Gives all that is read to `take`, block by block, until that says to stop.
///
/// # Errors
///
/// What the reader said; all that came before has been taken.
pub(crate) fn for_each(mut reader: impl Read, mut take: impl FnMut(Block<'_>) -> ControlFlow<()>) -> io::Result<()> {
    let mut buffer = vec![0; BLOCK];
    // The beginning of a line whose end has yet to come.
    let mut kept = 0;
    let mut skips = false;
    loop {
        let read = match reader.read(&mut buffer[kept..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(read) => Ok(read),
            Err(error) => Err(error),
        };
        let filled = kept + *read.as_ref().unwrap_or(&0);
        let ends = !matches!(read, Ok(1..));
        let mut start = 0;
        if skips {
            let line_end = memchr(b'\n', &buffer[..filled]);
            start = line_end.map_or(filled, |at| at + 1);
            skips = line_end.is_none();
        }
        // A line that was cut off, where the reader failed, is not one.
        let end = match ends && read.is_ok() {
            true => filled,
            false => memrchr(b'\n', &buffer[kept.max(start)..filled]).map_or(start, |at| kept.max(start) + at + 1),
        };
        if start < end && take(Block::Lines(&buffer[start..end])).is_break() {
            return Ok(());
        }
        if ends {
            return read.map(drop);
        }
        buffer.copy_within(end..filled, 0);
        kept = filled - end;
        if kept >= LONGEST_LINE {
            if take(Block::TooLong(&buffer[..kept])).is_break() {
                return Ok(());
            }
            (kept, skips) = (0, true);
        }
        if kept == buffer.len() {
            buffer.resize(kept * 2, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// Reads a few bytes at a time, so that lines fall apart in every way.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len());
            (&mut self.0).take(length as u64).read(buffer)
        }
    }

    /// All lines, how many were too long, and how it ended.
    fn read(reader: impl Read) -> (Vec<u8>, usize, io::Result<()>) {
        let (mut lines, mut too_long) = (Vec::new(), 0);
        let ended = for_each(reader, |block| {
            match block {
                Block::Lines(block) => lines.extend_from_slice(block),
                Block::TooLong(_) => too_long += 1,
            }
            ControlFlow::Continue(())
        });
        (lines, too_long, ended)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn text(lines: usize) -> Vec<u8> {
        (0..lines).flat_map(|line| format!("line {line}, {}\n", line * 7919).into_bytes()).collect()
    }

    #[test]
    fn what_follows_the_end_of_a_gzip_file_is_not_what_was_cut_off_of_it() {
        let all = |rest: &[u8]| {
            let packed = [&gzip(b"a\nb\n"), rest].concat();
            let (lines, _, ended) = read(unpack(&packed[..]).unwrap().1);
            (lines, ended.map_err(|error| error.to_string()))
        };

        assert_eq!(all(b""), (b"a\nb\n".to_vec(), Ok(())));
        assert_eq!(all(&[0; 512]), (b"a\nb\n".to_vec(), Ok(())));
        assert_eq!(all(b"more"), (b"a\nb\n".to_vec(), Err("what follows its end is no gzip".into())));
        assert!(all(&gzip(b"c\n")[..9]).1.is_err(), "the next one is cut off");
    }

    #[test]
    fn whatever_it_is_packed_with_the_lines_are_the_same() {
        let text = text(50_000);
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&text).unwrap();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        let halves = text.split_at(text.len() / 2 + 3);
        let members = [gzip(halves.0), gzip(b""), gzip(halves.1)].concat();
        let files = [
            (Packing::Plain, text.clone()),
            (Packing::Gzip, gzip(&text)),
            (Packing::Gzip, members),
            (Packing::Zstd, [zstd.clone(), zstd::encode_all(&b""[..], 1).unwrap()].concat()),
            (Packing::Bzip2, bzip2.finish().unwrap()),
        ];
        for (packing, file) in files {
            let (told, reader) = unpack(&file[..]).unwrap();
            let (lines, _, ended) = read(reader);
            assert_eq!(told, packing);
            assert!(ended.is_ok() && lines == text, "{packing:?}: {ended:?}");
        }
    }

    #[test]
    fn of_a_file_that_was_cut_off_every_whole_line_is_read() {
        let text = text(50_000);
        let packed = gzip(&text);
        for share in [2, 3, 9] {
            let (lines, _, ended) = read(unpack(&packed[..packed.len() / share]).unwrap().1);

            assert!(ended.is_err(), "it says so");
            assert!(lines.ends_with(b"\n") && text.starts_with(&lines), "whole lines only");
            assert!(lines.len() > text.len() / share / 2, "{} of {}", lines.len(), text.len());
        }
    }

    #[test]
    fn a_line_without_end_costs_no_memory_and_no_other_line() {
        let mut text = b"before\n".to_vec();
        text.resize(5 << 20, b'x');
        text.extend_from_slice(b"\nafter\n");
        let (lines, too_long, ended) = read(&text[..]);
        assert_eq!((lines.as_slice(), too_long, ended.is_ok()), (&b"before\nafter\n"[..], 1, true));

        let (lines, too_long, _) = read(Slow(&text[..text.len() - 7], 10_007));
        assert_eq!((lines.as_slice(), too_long), (&b"before\n"[..], 1), "not even at the end");
    }

    #[test]
    fn a_long_line_that_is_one_is_whole() {
        let mut text = vec![b'x'; LONGEST_LINE - 10];
        text.extend_from_slice(b"\nshort");

        assert_eq!(read(&text[..]).0, text);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_come(text in "[ab\n]{0,200}", at_a_time in 1_usize..9) {
            let mut blocks = Vec::new();
            for_each(Slow(text.as_bytes(), at_a_time), |block| {
                let Block::Lines(lines) = block else { panic!("none is long") };
                blocks.push(lines.to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();

            prop_assert_eq!(blocks.concat(), text.as_bytes());
            for block in blocks.iter().rev().skip(1) {
                prop_assert!(block.ends_with(b"\n"));
            }
        }
    }
}
