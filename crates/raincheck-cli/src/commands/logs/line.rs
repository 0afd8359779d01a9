//! A line of a log, read by its format.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memrchr};

use super::field::Field;
use super::format::{Format, Part, What};
use super::time::{Clock, Stamp};

/// What a line says. Texts are as the line has them, with escapes in them; what it does not say is `-`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    texts: [&'a [u8]; Field::ALL.len()],
    /// Whether there can be escapes in its texts.
    has_escapes: bool,
    /// 0 if the line does not say.
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) time: Option<Stamp>,
}

impl<'a> Entry<'a> {
    /// What it says of this, as it is written.
    pub(crate) fn text(&self, field: Field) -> &'a [u8] {
        self.texts[field as usize]
    }

    /// What it says of this.
    #[inline]
    pub(crate) fn plain(&self, field: Field) -> Cow<'a, [u8]> {
        let text = self.text(field);
        if self.has_escapes { unescape(text) } else { Cow::Borrowed(text) }
    }

    fn set(&mut self, field: Field, text: &'a [u8]) {
        self.texts[field as usize] = if text.is_empty() { b"-" } else { text };
    }

    fn set_url(&mut self, url: &'a [u8]) {
        self.set(Field::Url, url);
        self.set(Field::Path, memchr(b'?', url).map_or(url, |end| &url[..end]));
    }

    /// Takes a request apart. One that is none, as a stray TLS hello makes, leaves all of it unknown.
    fn set_request(&mut self, request: &'a [u8]) {
        let (Some(first), Some(last)) = (memchr(b' ', request), memrchr(b' ', request)) else { return };
        if first == 0 {
            return;
        }
        // The oldest requests name no protocol.
        let (url, protocol) = match first == last {
            true => (&request[first + 1..], &b"-"[..]),
            false => (&request[first + 1..last], &request[last + 1..]),
        };
        self.set(Field::Method, &request[..first]);
        self.set_url(url);
        self.set(Field::Protocol, protocol);
    }
}

/// Reads the lines of one log.
#[derive(Clone, Debug)]
pub(crate) struct Parser {
    format: Format,
    clock: Clock,
}

impl Parser {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, clock: Clock::default() }
    }

    /// What the line says, if it is one of this format. More may follow on it, after a space.
    #[inline]
    pub(crate) fn parse<'a>(&mut self, line: &'a [u8]) -> Option<Entry<'a>> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !starts_with(line, &self.format.head) {
            return None;
        }
        let mut rest = &line[self.format.head.len()..];
        let has_escapes = memchr(b'\\', line).is_some();
        let mut entry = Entry { texts: [b"-"; Field::ALL.len()], has_escapes, status: 0, bytes: 0, time: None };
        for (index, part) in self.format.parts.iter().enumerate() {
            let value;
            match end_of(part, rest) {
                Some(end) => {
                    value = &rest[..end];
                    rest = &rest[end + part.end.len()..];
                }
                // What is not needed may be cut short.
                None if index >= self.format.enough || (index + 1 == self.format.enough && !part.quoted) => {
                    value = rest;
                    rest = b"";
                }
                None => return None,
            }
            match &part.what {
                What::Other | What::ForwardedFor => {}
                What::Text(Field::Status) => {
                    entry.status = status(value)?;
                    entry.set(Field::Status, value);
                }
                What::Text(Field::Url) => entry.set_url(value),
                What::Text(field) => entry.set(*field, value),
                What::Request => entry.set_request(value),
                What::Time(format) => entry.time = Some(self.clock.read(value, format)?),
                What::Bytes => entry.bytes = bytes(value)?,
            }
            if rest.is_empty() && index + 1 >= self.format.enough {
                break;
            }
        }
        (rest.is_empty() || rest[0] == b' ').then_some(entry)
    }
}

/// Where a part ends; none if what ends it does not come.
#[inline]
fn end_of(part: &Part, text: &[u8]) -> Option<usize> {
    let Some(first) = part.end.first() else { return Some(text.len()) };
    let mut from = 0;
    loop {
        let at = from
            + match part.quoted {
                true => memchr2(b'"', b'\\', &text[from..])?,
                false => find_near(*first, &text[from..])?,
            };
        if part.quoted && text[at] == b'\\' {
            // What follows a backslash ends nothing.
            from = at + 2;
            if from >= text.len() {
                return None;
            }
            continue;
        }
        if starts_with(&text[at..], &part.end) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// As `memchr`, but without a call for what is near: most parts of a line are a few bytes long.
#[inline]
fn find_near(byte: u8, text: &[u8]) -> Option<usize> {
    let near = text.len().min(16);
    let found = text[..near].iter().position(|here| *here == byte);
    found.or_else(|| memchr(byte, &text[near..]).map(|at| near + at))
}

/// As of slices, but without a call: what ends a part is a byte or three.
#[inline]
fn starts_with(text: &[u8], end: &[u8]) -> bool {
    text.len() >= end.len() && text.iter().zip(end).all(|(byte, expected)| byte == expected)
}

fn status(text: &[u8]) -> Option<u16> {
    match text {
        [a, b, c] if text.iter().all(u8::is_ascii_digit) => {
            Some([a, b, c].into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
        }
        b"-" => Some(0),
        _ => None,
    }
}

fn bytes(text: &[u8]) -> Option<u64> {
    match text {
        b"-" => Some(0),
        // More digits could overflow, and no server sends that much.
        _ if text.is_empty() || text.len() > 19 => None,
        _ => {
            text.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
        }
    }
}

/// Takes the escapes out that servers put in: `\"`, `\\`, `\xhh`, `\n` and such, and of JSON `\u00hh`. What is none stays.
fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr(b'\\', text) else { return Cow::Borrowed(text) };
    let mut plain = text[..first].to_vec();
    let mut rest = &text[first..];
    while let Some((&byte, after)) = rest.split_first() {
        let (escaped, length) = match (byte, after) {
            (b'\\', [b'x', high, low, ..]) => (hex(*high, *low), 4),
            (b'\\', [b'u', b'0', b'0', high, low, ..]) => (hex(*high, *low).filter(u8::is_ascii), 6),
            (b'\\', [letter, ..]) => {
                let byte = match letter {
                    b'"' | b'\\' | b'/' => Some(*letter),
                    b'n' => Some(b'\n'),
                    b't' => Some(b'\t'),
                    b'r' => Some(b'\r'),
                    b'b' => Some(8),
                    b'v' => Some(11),
                    b'f' => Some(12),
                    _ => None,
                };
                (byte, 2)
            }
            _ => (None, 1),
        };
        let (byte, length) = escaped.map_or((byte, 1), |escaped| (escaped, length));
        plain.push(byte);
        rest = &rest[length..];
    }
    Cow::Owned(plain)
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a line says of everything that can be asked for.
    fn parse(format: &str, line: &[u8]) -> Option<(Vec<String>, u16, u64, Option<i64>)> {
        let mut parser = Parser::new(Format::parse(format).unwrap());
        parser.parse(line).map(|entry| {
            let said = Field::ALL.into_iter().filter(|field| entry.text(*field) != b"-");
            let text = |field| String::from_utf8_lossy(entry.text(field)).into_owned();
            let texts = said.map(|field| format!("{}={}", field.one(), text(field))).collect();
            (texts, entry.status, entry.bytes, entry.time.map(|stamp| stamp.wall))
        })
    }

    const LINE: &str = concat!(
        r#"2001:db8::7 - frank [10/Oct/2000:13:55:36 -0700] "GET /a_b.gif?x=1 HTTP/1.0" 200 2326 "#,
        r#""http://example.com/start.html" "Mozilla \"4.08\" [en]""#
    );

    #[test]
    fn a_combined_line_says_it_all() {
        let (texts, status, bytes, time) = parse("combined", LINE.as_bytes()).unwrap();

        assert_eq!(
            texts,
            [
                "host=2001:db8::7",
                "path=/a_b.gif",
                "url=/a_b.gif?x=1",
                "status=200",
                "referrer=http://example.com/start.html",
                r#"agent=Mozilla \"4.08\" [en]"#,
                "method=GET",
                "protocol=HTTP/1.0",
                "user=frank",
            ]
        );
        assert_eq!((status, bytes, time), (200, 2326, Some(971_186_136)));
        assert_eq!(parse("nginx", LINE.as_bytes()), parse("combined", LINE.as_bytes()));
    }

    #[test]
    fn a_known_format_takes_common_lines_and_lines_with_more() {
        let common = LINE.split(r#" "http:"#).next().unwrap();

        assert_eq!(parse("combined", common.as_bytes()).unwrap().0.len(), 7);
        assert_eq!(parse("common", common.as_bytes()), parse("combined", common.as_bytes()));
        let more = format!(r#"{LINE} "example.com" 0.002"#) + "\r";
        assert_eq!(parse("combined", more.as_bytes()), parse("combined", LINE.as_bytes()));
        assert!(parse(r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#, common.as_bytes()).is_none());
    }

    #[test]
    fn a_line_that_was_cut_after_what_matters_counts() {
        let (texts, status, bytes, _) = parse("combined", &LINE.as_bytes()[..LINE.len() - 8]).unwrap();

        assert!(texts.contains(&r#"agent=Mozilla \"4.08"#.into()), "{texts:?}");
        assert_eq!((status, bytes), (200, 2326));
    }

    #[test]
    fn the_site_stands_first_in_logs_of_many() {
        let line = format!("www.example.com:443 {LINE}");

        assert!(parse("vhost", line.as_bytes()).unwrap().0.contains(&"site=www.example.com".into()));
    }

    #[test]
    fn a_user_may_have_a_space() {
        let line = LINE.replace("frank", "frank n furter");

        assert!(parse("combined", line.as_bytes()).unwrap().0.contains(&"user=frank n furter".into()));
    }

    #[test]
    fn what_is_no_request_leaves_all_of_it_unknown_and_the_line_good() {
        for request in [r"\x16\x03\x01", "-", "", "quit", " / "] {
            let line = format!(r#"::1 - - [10/Oct/2000:13:55:36 -0700] "{request}" 400 - "-" "-""#);
            assert_eq!(parse("combined", line.as_bytes()).unwrap().0, ["host=::1", "status=400"], "{request}");
        }
        let old = r#"::1 - - [10/Oct/2000:13:55:36 -0700] "GET /" 200 -"#;
        assert_eq!(parse("common", old.as_bytes()).unwrap().0[1], "path=/");
    }

    #[test]
    fn lines_that_are_not_of_the_format_are_none() {
        for wrong in [
            "",
            "-",
            "hello",
            &LINE[..60],
            &LINE[..LINE.len() - 66],
            &LINE.replace(" 200 ", " 20 "),
            &LINE.replace(" 2326 ", " 2326b "),
            &LINE.replace(" 2326 ", " 99999999999999999999 "),
            &LINE.replace("Oct", "Ocm"),
            &(LINE.to_owned() + "!"),
        ] {
            assert_eq!(parse("combined", wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_of_json_is_a_format_like_any_other() {
        let format = r#"{"ip":"$remote_addr","t":"$time_iso8601","r":"$request","s":$status,"ua":"$http_user_agent"}"#;
        let line = r#"{"ip":"::1","t":"2015-05-17T10:05:03+00:00","r":"GET / HTTP/2.0","s":200,"ua":"a\"b"}"#;
        let (texts, status, _, time) = parse(format, line.as_bytes()).unwrap();

        assert_eq!((status, time), (200, Some(1_431_857_103)));
        assert!(texts.contains(&r#"agent=a\"b"#.into()), "{texts:?}");
    }

    #[test]
    fn escapes_are_taken_out_and_what_is_none_stays() {
        let pairs: [(&[u8], &[u8]); 6] = [
            (b"plain", b"plain"),
            (br#"a\"b\\c\td"#, b"a\"b\\c\td"),
            (br"\xe9\x22\xZZ", b"\xe9\"\\xZZ"),
            (br"\u0022\u00e9", br#""\u00e9"#),
            (br"\q\x4", br"\q\x4"),
            (br"end\", br"end\"),
        ];
        for (escaped, plain) in pairs {
            assert_eq!(unescape(escaped), plain, "{}", escaped.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_the_parser_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            for format in ["combined", "common", "vhost", "%h", "[%h]x\"%U%q\"yz%{usec}t", "%h %{%F %T %z}t %b"] {
                let _ = Parser::new(Format::parse(format).unwrap()).parse(&line);
            }
            let _ = unescape(&line);
        }

        #[test]
        fn nor_does_a_line_that_was_cut_or_changed(at in 0..LINE.len(), length in 0..LINE.len(), byte: u8) {
            let mut line = LINE.as_bytes().to_vec();
            line[at] = byte;
            line.truncate(length);
            let _ = Parser::new(Format::parse("combined").unwrap()).parse(&line);
        }

        #[test]
        fn what_was_written_is_read_back(
            host in "[0-9a-f:.]{1,30}",
            path in "/[!-~&&[^?\"\\\\]]{0,40}",
            status in 100_u16..600,
            sent: u32,
            agent in prop::collection::vec(any::<u8>(), 1..60),
        ) {
            let escaped: Vec<u8> = agent
                .iter()
                .flat_map(|byte| match byte {
                    b'"' | b'\\' => vec![b'\\', *byte],
                    0x20..0x7f => vec![*byte],
                    _ => format!("\\x{byte:02x}").into_bytes(),
                })
                .collect();
            let mut line = format!(r#"{host} - - [10/Oct/2000:13:55:36 -0700] "GET {path} HTTP/1.1" {status} {sent} "-" ""#).into_bytes();
            line.extend(escaped);
            line.push(b'"');
            let mut parser = Parser::new(Format::parse("combined").unwrap());
            let entry = parser.parse(&line).unwrap();

            prop_assert_eq!(entry.text(Field::Host), host.as_bytes());
            prop_assert_eq!(entry.text(Field::Path), path.as_bytes());
            prop_assert_eq!((entry.status, entry.bytes), (status, u64::from(sent)));
            prop_assert_eq!(&unescape(entry.text(Field::Agent))[..], &agent[..]);
        }
    }
}
