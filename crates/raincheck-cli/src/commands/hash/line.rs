//! One line of a list of sums, as coreutils and b3sum write it, and as BSD and OpenSSL do.
//!
//! A line names its file by bytes. What would break the line is written as `\n`, `\r` and `\\`, and a backslash at the
//! head of the line says so; in a list that is separated by NUL bytes nothing needs to be.

use super::algorithm::{Algorithm, Sum};

/// What a line says: this is the sum of that file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) algorithm: Algorithm,
    pub(crate) sum: Sum,
    pub(crate) name: Vec<u8>,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Format {
    /// As BSD does: `SHA256 (name) = sum`.
    pub(crate) tagged: bool,
    /// Whether an asterisk, and not a blank, stands before the name.
    pub(crate) binary: bool,
    pub(crate) ending: Ending,
}

/// What ends a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    #[default]
    Newline,
    /// Then names stand as they are.
    Nul,
}

impl Ending {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Self::Newline => b'\n',
            Self::Nul => 0,
        }
    }
}

impl Line {
    /// Appends the line, with its ending.
    pub(crate) fn write(&self, format: Format, out: &mut Vec<u8>) {
        let shown = Shown::new(&self.name, format.ending);
        out.extend_from_slice(shown.head());
        if format.tagged {
            out.extend_from_slice(self.algorithm.tag().as_bytes());
            out.extend_from_slice(b" (");
            shown.write(out);
            out.extend_from_slice(b") = ");
            self.sum.write_hex(out);
        } else {
            self.sum.write_hex(out);
            out.extend_from_slice(if format.binary { b" *" } else { b"  " });
            shown.write(out);
        }
        out.push(format.ending.byte());
    }
}

/// A name as it stands in a line.
pub(crate) struct Shown<'n> {
    name: &'n [u8],
    escaped: bool,
}

impl<'n> Shown<'n> {
    pub(crate) fn new(name: &'n [u8], ending: Ending) -> Self {
        let breaks_the_line = |byte| matches!(byte, b'\\' | b'\n' | b'\r');
        Self { name, escaped: ending == Ending::Newline && name.iter().copied().any(breaks_the_line) }
    }

    /// As coreutils show it beside the word `OK`, for programs that read that: as it is, unless that takes two lines.
    pub(crate) fn in_verdict(name: &'n [u8], ending: Ending) -> Self {
        Self { name, escaped: ending == Ending::Newline && name.contains(&b'\n') }
    }

    /// What stands at the head of its line.
    pub(crate) fn head(&self) -> &'static [u8] {
        if self.escaped { b"\\" } else { b"" }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if !self.escaped {
            out.extend_from_slice(self.name);
            return;
        }
        for byte in self.name {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                byte => out.push(*byte),
            }
        }
    }
}

/// Reads the lines of one list, one after the other.
#[derive(Debug)]
pub(crate) struct Parser {
    /// The algorithms that lines may be of, in the order in which they are tried where only the length tells.
    algorithms: Vec<Algorithm>,
    ending: Ending,
    /// Whether names follow their sum after one blank, as the BSD tools write with `-r`; known after the first line
    /// that tells. Were both allowed in one list, a name that begins with a blank could be taken for another's.
    reversed: Option<bool>,
    guessed: bool,
}

impl Parser {
    pub(crate) fn new(algorithms: &[Algorithm], ending: Ending) -> Self {
        Self { algorithms: algorithms.to_vec(), ending, reversed: None, guessed: false }
    }

    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }

    /// Whether there was a line that could be of another algorithm, too, for all that it says.
    pub(crate) fn has_guessed(&self) -> bool {
        self.guessed
    }

    /// Reads a line without its ending. `None` if it is not properly formatted.
    pub(crate) fn parse(&mut self, line: &[u8]) -> Option<Line> {
        if line.contains(&0) {
            return None;
        }
        let line = skip_blanks(line);
        let (escaped, line) = match line.strip_prefix(b"\\") {
            Some(rest) if self.ending == Ending::Newline => (true, rest),
            _ => (false, line),
        };
        let parsed = match self.tag_of(line) {
            Some((algorithm, rest)) => tagged(algorithm, rest),
            None => self.untagged(line),
        }?;
        let name = if escaped { unescape(parsed.name)? } else { parsed.name.to_vec() };
        Some(Line { algorithm: parsed.algorithm, sum: parsed.sum, name })
    }

    /// The algorithm whose tag the line begins with, and the rest of the line.
    fn tag_of<'l>(&self, line: &'l [u8]) -> Option<(Algorithm, &'l [u8])> {
        self.algorithms.iter().find_map(|algorithm| Some((*algorithm, line.strip_prefix(algorithm.tag().as_bytes())?)))
    }

    /// `sum  name` or `sum *name`, or with one blank alone.
    fn untagged<'l>(&mut self, line: &'l [u8]) -> Option<Parsed<'l>> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let mut fitting = self.algorithms.iter().filter(|algorithm| algorithm.len() * 2 == digits);
        let algorithm = *fitting.next()?;
        self.guessed |= fitting.next().is_some();
        let sum = Sum::from_hex(&line[..digits])?;
        // The blank, what says the mode or is the first letter of the name, and one letter more.
        let [blank, rest @ ..] = &line[digits..] else { return None };
        if !is_blank(*blank) || rest.len() < 2 {
            return None;
        }
        let name = match rest {
            [b' ' | b'*', name @ ..] if self.reversed != Some(true) => {
                self.reversed = Some(false);
                name
            }
            _ if self.reversed == Some(false) => return None,
            name => {
                self.reversed = Some(true);
                name
            }
        };
        Some(Parsed { algorithm, sum, name })
    }
}

/// A line whose name may still be escaped.
struct Parsed<'l> {
    algorithm: Algorithm,
    sum: Sum,
    name: &'l [u8],
}

/// What follows the tag: ` (name) = sum`, or as OpenSSL has it, `(name)= sum`.
fn tagged(algorithm: Algorithm, rest: &[u8]) -> Option<Parsed<'_>> {
    let rest = rest.strip_prefix(b" ").unwrap_or(rest).strip_prefix(b"(")?;
    let end = rest.iter().rposition(|byte| *byte == b')')?;
    let (name, rest) = (&rest[..end], skip_blanks(&rest[end + 1..]));
    let digits = skip_blanks(rest.strip_prefix(b"=")?);
    if digits.len() != algorithm.len() * 2 {
        return None;
    }
    Some(Parsed { algorithm, sum: Sum::from_hex(digits)?, name })
}

fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        whole.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            byte => *byte,
        });
    }
    Some(whole)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|byte| is_blank(**byte)).count();
    &bytes[blanks..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Algorithm; 6] =
        [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Blake3, Algorithm::Sha1, Algorithm::Md5, Algorithm::Crc32c];

    /// A generator that says the same each time (splitmix64).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }

        fn below(&mut self, end: usize) -> usize {
            (self.next() % end as u64) as usize
        }

        fn pick<T: Copy>(&mut self, from: &[T]) -> T {
            from[self.below(from.len())]
        }

        /// Bytes that a parser could stumble over, and any others.
        fn bytes(&mut self, most: usize) -> Vec<u8> {
            const ODD: &[u8] = b"\\\n\r\t *()=#-/nra0fF\xff\xc3";
            let length = self.below(most + 1);
            (0..length).map(|_| if self.below(3) == 0 { self.next() as u8 } else { self.pick(ODD) }).collect()
        }

        /// A name as files have them, which NUL bytes are never in.
        fn name(&mut self) -> Vec<u8> {
            let mut name = self.bytes(12);
            name.retain(|byte| *byte != 0);
            if name.is_empty() { b"a".to_vec() } else { name }
        }

        fn line(&mut self) -> Line {
            let algorithm = self.pick(&ALL);
            let sum = Sum::new((0..algorithm.len()).map(|_| self.next() as u8).collect::<Vec<_>>());
            Line { algorithm, sum, name: self.name() }
        }

        fn format(&mut self) -> Format {
            let ending = self.pick(&[Ending::Newline, Ending::Nul]);
            let tagged = self.below(2) == 0;
            Format { tagged, binary: !tagged && self.below(2) == 0, ending }
        }
    }

    fn written(line: &Line, format: Format) -> Vec<u8> {
        let mut text = Vec::new();
        line.write(format, &mut text);
        text
    }

    fn parsed(text: &[u8]) -> Option<Line> {
        Parser::new(&ALL, Ending::Newline).parse(text)
    }

    #[test]
    fn every_line_that_is_written_reads_back_the_same() {
        let mut random = Random(1);
        for _ in 0..20_000 {
            let (line, format) = (random.line(), random.format());
            let text = written(&line, format);
            let Some((ending, body)) = text.split_last() else { panic!("a line has an ending") };
            assert_eq!(*ending, format.ending.byte());
            assert!(!body.contains(ending), "a list could not be taken apart: {}", text.escape_ascii());

            let allowed = if format.tagged { &ALL[..] } else { &[line.algorithm] };
            let read = Parser::new(allowed, format.ending).parse(body);

            assert_eq!(read.as_ref(), Some(&line), "{}", text.escape_ascii());
        }
    }

    /// The same as the fuzz target `hash_list`, with lines that are nearly right.
    #[test]
    fn no_line_breaks_the_parser_and_what_it_reads_it_can_write() {
        let mut random = Random(2);
        for _ in 0..50_000 {
            let (line, format) = (random.line(), random.format());
            let mut text = written(&line, format);
            for _ in 0..random.below(4) {
                let (start, end) = (random.below(text.len() + 1), random.below(text.len() + 1));
                let end = end.clamp(start, start + 3).min(text.len());
                text.splice(start..end, random.bytes(3));
            }

            if let Some(line) = parsed(&text) {
                let again = written(&line, Format { tagged: true, ..Format::default() });
                assert_eq!(parsed(&again[..again.len() - 1]), Some(line), "{}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn lines_of_every_tool_are_read() {
        let sum = "900150983cd24fb0d6963f7d28e17f72";
        for text in [
            format!("{sum}  a b"),
            format!("{sum} *a b"),
            format!("{} *a b", sum.to_uppercase()),
            format!(" \t{sum}  a b"),
            format!("{sum} a b"),
            format!("{sum}\ta b"),
            format!("MD5 (a b) = {sum}"),
            format!("MD5(a b)= {sum}"),
        ] {
            let line = parsed(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (line.algorithm, line.sum.to_string().as_str(), &*line.name),
                (Algorithm::Md5, sum, &b"a b"[..])
            );
        }
    }

    #[test]
    fn what_is_not_quite_a_line_is_none() {
        let sum = "900150983cd24fb0d6963f7d28e17f72";
        for text in [
            String::new(),
            sum.into(),
            format!("{sum}  "),
            format!("{sum}a  b"),
            format!("{sum}a"),
            format!("{}  a", &sum[1..]),
            format!("\\{sum}  a\\x"),
            format!("\\{sum}  a\\"),
            format!("{sum}  a\0b"),
            format!("MD5 a = {sum}"),
            format!("MD5 (a) = {sum} "),
            format!("MD5 (a) {sum}"),
            format!("MD4 (a) = {sum}"),
            format!("SHA1 (a) = {sum}"),
        ] {
            assert_eq!(parsed(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_list_has_one_blank_before_its_names_or_two_but_not_both() {
        let sum = "900150983cd24fb0d6963f7d28e17f72";
        let names = |lines: [String; 2]| {
            let mut parser = Parser::new(&ALL, Ending::Newline);
            lines.map(|line| parser.parse(line.as_bytes()).map(|line| String::from_utf8(line.name).unwrap()))
        };
        let (one, two) = (format!("{sum} ab"), format!("{sum}  ab"));

        assert_eq!(names([two.clone(), one.clone()]), [Some("ab".into()), None]);
        assert_eq!(names([one, two]), [Some("ab".into()), Some(" ab".into())]);
    }

    #[test]
    fn a_length_that_two_algorithms_have_is_the_first_ones_and_told() {
        let sum = "0".repeat(64);
        let mut parser = Parser::new(&ALL, Ending::Newline);
        assert_eq!(
            parser.parse(format!("BLAKE3 (a) = {sum}").as_bytes()).map(|line| line.algorithm),
            Some(Algorithm::Blake3)
        );
        assert!(!parser.has_guessed());

        assert_eq!(parser.parse(format!("{sum}  a").as_bytes()).map(|line| line.algorithm), Some(Algorithm::Sha256));
        assert!(parser.has_guessed());
    }
}
