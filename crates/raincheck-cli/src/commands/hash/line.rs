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
