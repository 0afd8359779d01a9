//! A command line for a shell, made so that no input can break out of its place in it.
//!
//! The inputs never become part of the script: they are the shell's positional parameters, and the script says `"${1}"`
//! where the placeholder was. A shell does not parse the value of a parameter again, so a name with quotes, spaces,
//! newlines or `$(…)` in it stays a name, whatever quotes the user has put around the placeholder.
//!
//! This file needs `template.rs` alone, so that it can be fuzzed.

use super::template::{Piece, Values, Word};

/// A command line with placeholders, each of which knows how it is quoted.
#[derive(Clone, Debug)]
pub(crate) struct Script(Vec<(Quoting, Piece)>);

/// A command line for one job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// What the shell is to run.
    pub(crate) text: Vec<u8>,
    /// Its `$1`, `$2` and so on.
    pub(crate) parameters: Vec<Vec<u8>>,
}

/// What quotes a place in a script stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quoting {
    /// The user's own script.
    Raw,
    None,
    /// `"…"`
    Double,
    /// `"${x-…}"`
    Braces,
    /// `` `…` ``, or the same within double quotes.
    Ticks,
    QuotedTicks,
    /// `'…'`
    Single,
    /// `$'…'`
    Ansi,
}

impl Script {
    pub(crate) fn new(word: Word) -> Self {
        let mut lexer = Lexer { open: Vec::new(), escaped: false, last: 0 };
        let mut pieces = Vec::new();
        for piece in word.0 {
            match piece {
                Piece::Text(mut text) => {
                    text.iter().for_each(|byte| lexer.read(*byte));
                    // `\{}` and `"${}"`: what would quote or swallow the first byte of ours is taken back.
                    if lexer.escaped {
                        text.pop();
                        lexer.escaped = false;
                    } else if lexer.quoting() == Quoting::Double && text.last() == Some(&b'$') {
                        text.insert(text.len() - 1, b'\\');
                    }
                    pieces.push((lexer.place(), Piece::Text(text)));
                }
                placeholder => {
                    pieces.push((lexer.place(), placeholder));
                    lexer.last = b'x';
                }
            }
        }
        Self(pieces)
    }

    /// Inputs that are command lines themselves, and run as they are.
    pub(crate) fn raw(words: Vec<Word>) -> Self {
        Self(words.into_iter().flat_map(|word| word.0).map(|piece| (Quoting::Raw, piece)).collect())
    }

    /// The script for one job, and the parameters to give it.
    pub(crate) fn bind(&self, values: Values<'_>) -> Bound {
        let mut bound = Bound { text: Vec::new(), parameters: Vec::new() };
        for (quoting, piece) in &self.0 {
            match piece {
                Piece::Text(text) => bound.text.extend(text),
                _ if *quoting == Quoting::Raw => bound.text.extend(piece.fill(values).join(&b' ')),
                _ => {
                    let mut filled = piece.fill(values).into_iter().peekable();
                    while let Some(value) = filled.next() {
                        bound.parameters.push(value);
                        let number = bound.parameters.len();
                        let place = match quoting {
                            Quoting::Raw | Quoting::None | Quoting::Ticks | Quoting::QuotedTicks => {
                                format!("\"${{{number}}}\"")
                            }
                            Quoting::Double | Quoting::Braces => format!("${{{number}}}"),
                            Quoting::Single => format!("'\"${{{number}}}\"'"),
                            Quoting::Ansi => format!("'\"${{{number}}}\"$'"),
                        };
                        bound.text.extend(place.into_bytes());
                        if filled.peek().is_some() {
                            bound.text.push(b' ');
                        }
                    }
                }
            }
        }
        bound
    }

    /// The same as one text with the inputs written out, for people to read or paste.
    pub(crate) fn literal(&self, values: Values<'_>) -> Vec<u8> {
        let mut text = Vec::new();
        for (quoting, piece) in &self.0 {
            match piece {
                Piece::Text(plain) => text.extend(plain),
                _ => {
                    let filled: Vec<_> = piece.fill(values).iter().map(|value| quoting.quote(value)).collect();
                    text.extend(filled.join(&b' '));
                }
            }
        }
        text
    }
}

impl Quoting {
    /// A value as it must be written here to be itself.
    fn quote(self, value: &[u8]) -> Vec<u8> {
        let escape = |text: &[u8], special: &[u8]| {
            let escape = |byte: &u8| if special.contains(byte) { vec![b'\\', *byte] } else { vec![*byte] };
            text.iter().flat_map(escape).collect()
        };
        let escaped = |special: &[u8]| escape(value, special);
        match self {
            Self::Raw => value.to_vec(),
            Self::None => quote(value),
            Self::Double => escaped(b"\"\\$`"),
            Self::Braces => escaped(b"\"\\$`}"),
            // Backquotes take a layer of backslashes away before anything else is read.
            Self::Ticks => escape(&quote(value), b"\\`$"),
            Self::QuotedTicks => escape(&quote(value), b"\\`$\""),
            Self::Ansi => escaped(b"'\\"),
            Self::Single => {
                let pieces: Vec<_> = value.split(|byte| *byte == b'\'').collect();
                pieces.join(&b"'\\''"[..])
            }
        }
    }
}

/// Follows the quotes of a script.
struct Lexer {
    open: Vec<Open>,
    /// The last byte was a backslash that quotes the next one.
    escaped: bool,
    last: u8,
}

/// What has been opened and not closed yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Quotes(Quoting),
    /// `(` or `$(`: its own world, even between double quotes.
    Paren,
    /// `` ` ``, likewise.
    Tick,
    /// `${`
    Brace,
    /// A comment, to the end of the line.
    Comment,
}

impl Lexer {
    /// What quotes a placeholder would stand in here.
    fn place(&self) -> Quoting {
        let in_double = self.open.contains(&Open::Quotes(Quoting::Double));
        match (self.quoting(), self.open.last()) {
            (Quoting::Double, Some(Open::Brace)) => Quoting::Braces,
            (Quoting::None, _) if self.open.contains(&Open::Tick) => {
                if in_double {
                    Quoting::QuotedTicks
                } else {
                    Quoting::Ticks
                }
            }
            (quoting, _) => quoting,
        }
    }

    fn quoting(&self) -> Quoting {
        // Between `${` and `}` the quotes around them still hold.
        let inner = self.open.iter().rev().find(|open| **open != Open::Brace);
        match inner {
            Some(Open::Quotes(quoting)) => *quoting,
            _ => Quoting::None,
        }
    }

    fn read(&mut self, byte: u8) {
        let before = std::mem::replace(&mut self.last, byte);
        if std::mem::take(&mut self.escaped) {
            // An escaped byte opens nothing, with what follows neither.
            self.last = b'x';
            return;
        }
        let inner = self.open.last().copied();
        match (inner, self.quoting(), byte) {
            (Some(Open::Comment), _, _) => {
                if byte == b'\n' {
                    self.open.pop();
                }
            }
            (_, Quoting::Single, b'\'') | (_, Quoting::Ansi, b'\'') => {
                self.open.pop();
            }
            (_, Quoting::Single, _) => {}
            (_, _, b'\\') => self.escaped = true,
            (_, Quoting::Ansi, _) => {}
            (Some(Open::Tick), _, b'`') => {
                self.open.pop();
            }
            (_, _, b'`') => self.open.push(Open::Tick),
            (_, _, b'(') if before == b'$' => self.open.push(Open::Paren),
            (_, _, b'{') if before == b'$' => self.open.push(Open::Brace),
            (Some(Open::Brace), _, b'}') => {
                self.open.pop();
            }
            (Some(Open::Quotes(Quoting::Double)), _, b'"') => {
                self.open.pop();
            }
            (_, Quoting::Double, b'"') => self.open.push(Open::Quotes(Quoting::Double)),
            (_, Quoting::Double, _) => {}
            (_, Quoting::None, b'\'') => {
                self.open.push(Open::Quotes(if before == b'$' { Quoting::Ansi } else { Quoting::Single }));
            }
            (_, Quoting::None, b'"') => self.open.push(Open::Quotes(Quoting::Double)),
            (_, Quoting::None, b'(') => self.open.push(Open::Paren),
            (Some(Open::Paren), Quoting::None, b')') => {
                self.open.pop();
            }
            (_, Quoting::None, b'#') if matches!(before, 0 | b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(') => {
                self.open.push(Open::Comment);
            }
            (_, _, _) => {}
        }
    }
}

/// A word as it must be written for a shell to read it back as it is.
pub(crate) fn quote(word: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut quoted = vec![b'\''];
    quoted.extend(Quoting::Single.quote(word));
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use super::super::template::Syntax;
    use super::*;

    /// Names that have broken scripts before.
    const EVIL: [&[u8]; 12] = [
        b"plain",
        b"two words",
        b"",
        b"'; touch pwned; '",
        b"\"; touch pwned; \"",
        b"$(touch pwned)",
        b"`touch pwned`",
        b"a\nb\\",
        b"-n",
        b"*",
        b"\xff\xfe",
        b"${1}$1'\"",
    ];

    fn shell(script: &[u8], parameters: &[Vec<u8>]) -> Vec<u8> {
        let parameters = parameters.iter().map(|parameter| OsStr::from_bytes(parameter));
        // Should one get through, it leaves no trace in the project.
        let output = Command::new("sh")
            .current_dir(std::env::temp_dir())
            .arg("-c")
            .arg(OsStr::from_bytes(script))
            .arg("sh")
            .args(parameters)
            .output();
        output.unwrap().stdout
    }

    #[test]
    fn no_input_breaks_out_of_its_place_whatever_the_quotes() {
        for (template, around) in [
            ("printf '<%s>' {}", ("<", ">")),
            ("printf '<%s>' \"a {} b\"", ("<a ", " b>")),
            ("printf '<%s>' 'a {} b'", ("<a ", " b>")),
            ("printf '<%s>' a{}b", ("<a", "b>")),
            ("printf '<%s>' \"$(printf '%s.' {})\"", ("<", ".>")),
            ("printf '<%s>' \"$(printf '%s.' \"{}\")\"", ("<", ".>")),
            ("x='(' # it's a \"comment\n printf '<%s>' \"${x+{}}\"", ("<", ">")),
            ("printf '<%s>' \"\\\"{}\\\"\"", ("<\"", "\">")),
            ("printf '<%s>' \\{}", ("<", ">")),
            ("printf '<%s>' \"`printf '%s.' {}`\"", ("<", ".>")),
            ("printf '<%s>' \"\\$${}\"", ("<$$", ">")),
        ] {
            for value in EVIL {
                let args = [value.to_vec()];
                let values = Values { args: &args, number: 1, slot: 1 };
                let script = Script::new(Syntax::default().parse(template.as_bytes()));
                let bound = script.bind(values);
                let expected = [around.0.as_bytes(), value, around.1.as_bytes()].concat();

                let told = String::from_utf8_lossy(&bound.text).into_owned();
                assert_eq!(shell(&bound.text, &bound.parameters), expected, "{told} with {value:?}");
                let literal = script.literal(values);
                assert_eq!(shell(&literal, &[]), expected, "{}", String::from_utf8_lossy(&literal));
            }
        }
    }

    #[test]
    fn several_inputs_are_several_words() {
        let args = [b"a b".to_vec(), b"c".to_vec()];
        let values = Values { args: &args, number: 1, slot: 1 };
        let script = Script::new(Syntax::default().parse(b"ls {} {2}"));

        assert_eq!(script.bind(values).text, b"ls \"${1}\" \"${2}\" \"${3}\"");
        assert_eq!(script.literal(values), b"ls 'a b' c c");
    }

    #[test]
    fn quotes_are_written_only_where_needed() {
        assert_eq!(quote(b"a/b-c_1.txt"), b"a/b-c_1.txt");
        assert_eq!(quote(b""), b"''");
        assert_eq!(quote(b"it's"), b"'it'\\''s'");
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let mut random = 7_u64;
        let mut words = Vec::new();
        for _ in 0..300 {
            let word: Vec<u8> = (0..random % 9)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    (random % 255 + 1) as u8
                })
                .collect();
            random = random.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(1);
            words.push(word);
        }
        let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();

        let read = shell(&[b"printf '%s\\0' ", &quoted.join(&b' ')[..]].concat(), &[]);

        assert_eq!(read, words.iter().flat_map(|word| [word, &b"\0"[..]].concat()).collect::<Vec<u8>>());
    }
}
