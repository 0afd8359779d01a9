//! One line of a journal: a file that is whole.
//!
//! A line begins with a checksum of the rest, so that one that was cut off, overwritten with zeros by a power failure, or
//! run together with another, is known for what it is. This file knows little of the rest of the program, so that it can
//! be fuzzed.

use std::borrow::Cow;
use std::io::Write;

use super::hashes::{Key, hexadecimal};

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record<'r> {
    pub(crate) key: Key,
    pub(crate) url: Cow<'r, str>,
    /// Where it is, below the folder of the downloads.
    pub(crate) name: Cow<'r, str>,
    /// Whether the server named it.
    pub(crate) named_by_server: bool,
    pub(crate) size: u64,
    /// Nanoseconds since 1970 at which it was changed last, and seconds since then at which it was whole.
    pub(crate) modified: i128,
    pub(crate) fetched: u64,
    pub(crate) etag: Option<Cow<'r, str>>,
    pub(crate) last_modified: Option<Cow<'r, str>>,
    pub(crate) checksum: Option<Cow<'r, str>>,
}

/// So many digits and a tab stand before what they are the checksum of.
const DIGITS: usize = 8;
const CHECK: usize = DIGITS + 1;

impl Record<'_> {
    /// Appends the line, with its end.
    pub(crate) fn write(&self, line: &mut Vec<u8>) {
        let start = line.len();
        line.extend_from_slice(&[b'\t'; CHECK]);
        let kind = if self.named_by_server { "server" } else { "file" };
        line.extend_from_slice(kind.as_bytes());
        line.push(b'\t');
        line.extend_from_slice(&self.key.digits());
        number(self.size, line);
        match u64::try_from(self.modified) {
            Ok(modified) => number(modified, line),
            // Before 1970, or after 2554.
            Err(_) => write!(line, "\t{}", self.modified).expect("there is room in memory"),
        }
        number(self.fetched, line);
        for text in [&self.name, &self.url] {
            field(text, line);
        }
        for text in [&self.etag, &self.last_modified, &self.checksum] {
            field(text.as_deref().unwrap_or_default(), line);
        }
        let check = crc32c::crc32c(&line[start + CHECK..]);
        line[start..start + DIGITS].copy_from_slice(&hexadecimal::<DIGITS>(check.into()));
        line.push(b'\n');
    }
}

impl<'r> Record<'r> {
    /// Reads a line without its end. `None` if it is none, or damaged.
    pub(crate) fn parse(line: &'r [u8]) -> Option<Self> {
        let (check, rest) = line.split_at_checked(CHECK)?;
        if !is_checked(check, rest) {
            return None;
        }
        let mut fields = std::str::from_utf8(rest).ok()?.split('\t');
        let named_by_server = match fields.next()? {
            "file" => false,
            "server" => true,
            _ => return None,
        };
        let record = Self {
            named_by_server,
            key: Key::parse(fields.next()?.as_bytes())?,
            size: fields.next()?.parse().ok()?,
            modified: fields.next()?.parse().ok()?,
            fetched: fields.next()?.parse().ok()?,
            name: unescaped(fields.next()?)?,
            url: unescaped(fields.next()?)?,
            etag: optional(fields.next()?)?,
            last_modified: optional(fields.next()?)?,
            checksum: optional(fields.next()?)?,
        };
        fields.next().is_none().then_some(record)
    }

    /// The same, without what it was read from.
    pub(crate) fn into_owned(self) -> Record<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Record {
            url: owned(self.url),
            name: owned(self.name),
            etag: self.etag.map(owned),
            last_modified: self.last_modified.map(owned),
            checksum: self.checksum.map(owned),
            ..self
        }
    }
}

fn is_checked(check: &[u8], rest: &[u8]) -> bool {
    let Some((b'\t', digits)) = check.split_last() else { return false };
    std::str::from_utf8(digits)
        .ok()
        .filter(|digits| !digits.starts_with('+'))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .is_some_and(|check| check == crc32c::crc32c(rest))
}

/// Appends a tab and the number. Formatting it would take longer than all the rest of the line.
fn number(number: u64, line: &mut Vec<u8>) {
    let mut digits = [b'\t'; 21];
    let (mut left, mut first) = (number, digits.len());
    while left > 0 || first == digits.len() {
        first -= 1;
        digits[first] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    line.extend_from_slice(&digits[first - 1..]);
}

/// Appends a tab and the text, with what would break the line escaped.
fn field(text: &str, line: &mut Vec<u8>) {
    line.push(b'\t');
    // To look at all of it at once is faster than to stop at the first.
    if text.bytes().fold(true, |plain, byte| plain & !matches!(byte, b'\t' | b'\n' | b'\r' | b'\\')) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    for byte in text.bytes() {
        match byte {
            b'\t' => line.extend_from_slice(b"\\t"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\\' => line.extend_from_slice(b"\\\\"),
            byte => line.push(byte),
        }
    }
}

fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('\\') {
        return Some(text.into());
    }
    let mut whole = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        whole.push(match char {
            '\\' => match chars.next()? {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            },
            char => char,
        });
    }
    Some(whole.into())
}

#[expect(clippy::option_option, reason = "a text that is not there, and one that is damaged, are two things")]
fn optional(text: &str) -> Option<Option<Cow<'_, str>>> {
    if text.is_empty() { Some(None) } else { unescaped(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some() -> Record<'static> {
        Record {
            key: Key(0xabc),
            url: "http://h/a".into(),
            name: "a/b\tc\\".into(),
            named_by_server: false,
            size: 12,
            modified: 1_700_000_000_123_456_789,
            fetched: 1_700_000_001,
            etag: Some("\"x\"".into()),
            last_modified: None,
            checksum: None,
        }
    }

    fn line(record: &Record<'_>) -> Vec<u8> {
        let mut line = Vec::new();
        record.write(&mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        assert!(!line.contains(&b'\n'));
        line
    }

    #[test]
    fn a_line_is_what_it_always_was() {
        // Journals of older versions must stay readable.
        let text =
            "5f5a1a3a\tfile\t0000000000000abc\t12\t1700000000123456789\t1700000001\ta/b\\tc\\\\\thttp://h/a\t\"x\"\t\t";

        assert_eq!(String::from_utf8(line(&some())).unwrap()[8..], text[8..]);
        assert_eq!(Record::parse(&line(&some())), Some(some()));
    }

    #[test]
    fn a_line_that_was_cut_off_or_run_together_is_none() {
        let line = line(&some());

        for end in 0..line.len() {
            assert_eq!(Record::parse(&line[..end]), None);
            assert_eq!(Record::parse(&[&line[..end], &line[..]].concat()), if end == 0 { Some(some()) } else { None });
        }
        let zeros = [&line[..20], &vec![0; line.len() - 20][..]].concat();
        assert_eq!(Record::parse(&zeros), None);
    }

    proptest! {
        #[test]
        fn whatever_is_written_reads_back_the_same(
            (url, name, etag) in (".*", ".*", proptest::option::of(".+")),
            (key, size, modified, fetched, named_by_server) in any::<(u64, u64, i64, u64, bool)>(),
        ) {
            let record = Record {
                key: Key(key), url: url.into(), name: name.into(), named_by_server, size, modified: modified.into(), fetched,
                etag: etag.clone().map(Cow::Owned), last_modified: etag.map(Cow::Owned), checksum: None,
            };
            assert_eq!(Record::parse(&line(&record)), Some(record));
        }

        #[test]
        fn one_byte_that_changed_is_found(place in 0_usize..120, byte in any::<u8>()) {
            let mut line = line(&some());
            let place = place % line.len();
            if line[place] != byte && !(place < 8 && line[place].eq_ignore_ascii_case(&byte)) {
                line[place] = byte;
                assert_eq!(Record::parse(&line), None);
            }
        }
    }
}
