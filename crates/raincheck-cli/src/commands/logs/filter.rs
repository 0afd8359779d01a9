//! Which requests count: `status=404`, `path=/blog/*`, `agent~bot`, `host=10.0.0.0/8`, `bytes>1MB`.

use std::net::IpAddr;

use clap::ValueEnum;
use memchr::memmem;
use regex::bytes::Regex;

use super::amount::amount;
use super::field::Field;
use super::line::Entry;

/// What must hold of a request.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    subject: Subject,
    test: Test,
    /// Whether it must not hold instead.
    negated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Field(Field),
    Bytes,
}

#[derive(Clone, Debug)]
enum Test {
    /// It is one of these.
    OneOf(Vec<Pattern>),
    /// This is found in it.
    Found(Regex),
    Less(u64),
    Greater(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Text(Vec<u8>),
    /// Pieces with anything between them.
    Pieces(Vec<Vec<u8>>),
    Number(u64),
    /// `4xx`, by its hundreds.
    Class(u64),
    Network {
        address: IpAddr,
        prefix: u8,
    },
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const OPERATORS: [&str; 8] = ["!=", "!~", ">=", "<=", "=", "~", ">", "<"];
        let at = text.find(['!', '=', '~', '<', '>']).ok_or("write it as in status=404, path=/blog/* or agent~bot")?;
        let operator = OPERATORS.iter().find(|operator| text[at..].starts_with(*operator));
        let operator = operator.ok_or_else(|| format!("`{}` compares nothing; there is != and !~", &text[at..]))?;
        let (name, value) = (text[..at].trim(), text[at + operator.len()..].trim());
        let subject = subject(name)?;
        let number = || match subject {
            Subject::Bytes => amount(value),
            Subject::Field(Field::Status) => value.parse().map_err(|_| format!("`{value}` is no status")),
            Subject::Field(_) => Err(format!("only `status` and `bytes` can be compared by `{operator}`")),
        };
        let out_of_range = || format!("nothing is {operator} {value}");
        let test = match *operator {
            "=" | "!=" => Test::OneOf(patterns(subject, value)?),
            "~" | "!~" if subject == Subject::Bytes => return Err("`bytes` is compared by =, < and >".into()),
            "~" | "!~" => Test::Found(Regex::new(value).map_err(|error| error.to_string())?),
            ">" => Test::Greater(number()?),
            ">=" => Test::Greater(number()?.checked_sub(1).ok_or("everything is >= 0")?),
            "<" => Test::Less(number()?),
            _ => Test::Less(number()?.checked_add(1).ok_or_else(out_of_range)?),
        };
        Ok(Self { subject, test, negated: operator.starts_with('!') })
    }

    /// That the path is this, or the whole of what was asked for, if there is a query in it. A `*` stands for anything.
    pub(crate) fn asks_for(path: &str) -> Self {
        let field = if path.contains('?') { Field::Url } else { Field::Path };
        Self { subject: Subject::Field(field), test: Test::OneOf(vec![pattern(path)]), negated: false }
    }

    /// Whether it holds of this request.
    pub(crate) fn holds(&self, entry: &Entry<'_>) -> bool {
        let holds = match self.subject {
            Subject::Bytes => self.test.holds_for_number(entry.bytes),
            Subject::Field(Field::Status) => match &self.test {
                Test::Found(_) => self.test.holds_for_text(entry.text(Field::Status)),
                _ => self.test.holds_for_number(entry.status.into()),
            },
            Subject::Field(field) => self.test.holds_for_text(&entry.plain(field)),
        };
        holds != self.negated
    }

    /// A text that stands in every line for which this holds, if there is one.
    ///
    /// Servers escape quotes, backslashes and what is not printable; texts with those stand otherwise in the line.
    pub(crate) fn needle(&self) -> Option<&[u8]> {
        let (false, Subject::Field(field), Test::OneOf(patterns)) = (self.negated, self.subject, &self.test) else {
            return None;
        };
        let [pattern] = &patterns[..] else { return None };
        let text = match pattern {
            Pattern::Text(text) => text,
            Pattern::Pieces(pieces) => pieces.iter().max_by_key(|piece| piece.len())?,
            Pattern::Number(_) | Pattern::Class(_) | Pattern::Network { .. } => return None,
        };
        let stands_as_it_is = text.iter().all(|byte| matches!(byte, 0x20..0x7f) && !b"\"\\".contains(byte));
        // An empty value shows as `-`; and what is in most lines is sought in vain.
        (stands_as_it_is && text.len() >= 4 && field != Field::Status).then_some(text)
    }
}

impl Test {
    fn holds_for_text(&self, text: &[u8]) -> bool {
        match self {
            Self::OneOf(patterns) => patterns.iter().any(|pattern| pattern.fits(text)),
            Self::Found(regex) => regex.is_match(text),
            Self::Less(_) | Self::Greater(_) => false,
        }
    }

    fn holds_for_number(&self, number: u64) -> bool {
        match self {
            Self::Less(than) => number < *than,
            Self::Greater(than) => number > *than,
            Self::OneOf(patterns) => patterns.iter().any(|pattern| pattern.fits_number(number)),
            Self::Found(_) => false,
        }
    }
}

impl Pattern {
    fn fits(&self, text: &[u8]) -> bool {
        match self {
            Self::Text(wanted) => text == &wanted[..],
            Self::Pieces(pieces) => fits_pieces(text, pieces),
            Self::Network { address, prefix } => {
                let host = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                host.is_some_and(|host| in_network(host, *address, *prefix))
            }
            Self::Number(_) | Self::Class(_) => false,
        }
    }

    fn fits_number(&self, number: u64) -> bool {
        match self {
            Self::Number(wanted) => number == *wanted,
            Self::Class(hundreds) => number / 100 == *hundreds,
            Self::Text(_) | Self::Pieces(_) | Self::Network { .. } => false,
        }
    }
}

fn fits_pieces(text: &[u8], pieces: &[Vec<u8>]) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    let Some(mut text) = text.strip_prefix(&first[..]) else { return false };
    for piece in middle {
        match memmem::find(text, piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

fn in_network(host: IpAddr, network: IpAddr, prefix: u8) -> bool {
    // As one number of 128 bits, at its upper end.
    let number = |address| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
        IpAddr::V6(address) => u128::from(address),
    };
    host.is_ipv4() == network.is_ipv4()
        && (prefix == 0 || (number(host) ^ number(network)) >> (128 - u32::from(prefix)) == 0)
}

fn subject(name: &str) -> Result<Subject, String> {
    if name == "bytes" || name == "size" {
        return Ok(Subject::Bytes);
    }
    Field::from_str(name, true).map(Subject::Field).map_err(|_| {
        let names: Vec<_> = Field::ALL.iter().map(|field| field.one()).collect();
        format!("`{name}` is not told of a request; there is {} and bytes", names.join(", "))
    })
}

fn patterns(subject: Subject, value: &str) -> Result<Vec<Pattern>, String> {
    match subject {
        Subject::Bytes => Ok(vec![Pattern::Number(amount(value)?)]),
        Subject::Field(Field::Status) => value.split(',').map(|value| status(value.trim())).collect(),
        Subject::Field(Field::Host) => value.split(',').map(|value| host(value.trim())).collect(),
        Subject::Field(Field::Method) => Ok(value.split(',').map(|value| pattern(value.trim())).collect()),
        // Their texts have commas in them.
        Subject::Field(_) => Ok(vec![pattern(value)]),
    }
}

fn pattern(text: &str) -> Pattern {
    match text.contains('*') {
        true => Pattern::Pieces(text.split('*').map(Into::into).collect()),
        false => Pattern::Text(if text.is_empty() { "-" } else { text }.into()),
    }
}

fn status(text: &str) -> Result<Pattern, String> {
    match text.as_bytes() {
        [hundreds @ b'1'..=b'9', b'x' | b'X', b'x' | b'X'] => Ok(Pattern::Class(u64::from(hundreds - b'0'))),
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9'] => {
            Ok(Pattern::Number(text.parse().expect("three digits are a number")))
        }
        // As a line has it that does not say.
        b"-" => Ok(Pattern::Number(0)),
        _ => Err(format!("`{text}` is no status; write it as in 404, 4xx or 301,302")),
    }
}

fn host(text: &str) -> Result<Pattern, String> {
    let Some((address, prefix)) = text.split_once('/') else { return Ok(pattern(text)) };
    let wrong = || format!("`{text}` is no network; write it as in 10.0.0.0/8 or 2001:db8::/32");
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    if prefix > most { Err(wrong()) } else { Ok(Pattern::Network { address, prefix }) }
}

#[cfg(test)]
mod tests {
    use super::super::format::Format;
    use super::super::line::Parser;
    use super::*;

    const LINE: &[u8] = br#"10.1.2.3 - - [10/Oct/2000:13:55:36 -0700] "GET /blog/a%20b.html?x=1 HTTP/1.0" 404 2326 "-" "Googlebot \"2\", new""#;

    fn holds(filter: &str) -> bool {
        let mut parser = Parser::new(Format::parse("combined").unwrap());
        Filter::parse(filter).unwrap().holds(&parser.parse(LINE).unwrap())
    }

    #[test]
    fn filters_hold_of_what_they_say() {
        for filter in [
            "status=404",
            "status=4xx",
            "status=200,404",
            "status!=200",
            "status>=400",
            "status<=404",
            "status<500",
            "path=/blog/a%20b.html",
            "path=/blog/*",
            "path=*.html",
            "url=/blog/*?x=*",
            "host=10.0.0.0/8",
            "hosts = 10.1.2.3",
            "host=::1,10.1.2.3",
            "host!=2001:db8::/32",
            "agent~(?i)googleBOT",
            r#"agent=Googlebot "2", new"#,
            "agent!~Firefox",
            "bytes>2kB",
            "bytes=2326",
            "bytes<=2326",
            "method=GET,HEAD",
            "referrer=-",
            "referrer=",
            "user=-",
        ] {
            assert!(holds(filter), "{filter}");
        }
        for filter in [
            "status=40",
            "status!=4xx",
            "status>404",
            "path=/blog",
            "path=/blog/a*a%20b.html",
            "path=*.htm",
            "host=10.2.0.0/16",
            "host=0.0.0.0/33",
            "agent~^bot",
            "bytes<2326",
        ] {
            assert!(!Filter::parse(filter).is_ok_and(|_| holds(filter)), "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_a_way_out() {
        let error = |text| Filter::parse(text).unwrap_err();

        assert_eq!(error("404"), "write it as in status=404, path=/blog/* or agent~bot");
        assert_eq!(
            error("colour=red"),
            "`colour` is not told of a request; there is host, path, url, status, referrer, agent, method, protocol, \
             user, site and bytes"
        );
        assert_eq!(error("status=4x"), "`4x` is no status; write it as in 404, 4xx or 301,302");
        assert_eq!(error("path>3"), "only `status` and `bytes` can be compared by `>`");
        assert_eq!(
            error("host=10.0.0.0/99"),
            "`10.0.0.0/99` is no network; write it as in 10.0.0.0/8 or 2001:db8::/32"
        );
        assert!(error("agent~(").contains("unclosed group"));
    }

    #[test]
    fn the_needle_stands_in_every_line_that_counts() {
        let needle =
            |text| Filter::parse(text).unwrap().needle().map(|needle| String::from_utf8_lossy(needle).into_owned());

        assert_eq!(needle("path=/robots.txt"), Some("/robots.txt".into()));
        assert_eq!(needle("path=/blog/*.html"), Some("/blog/".into()));
        assert_eq!(needle("host=10.1.2.3"), Some("10.1.2.3".into()));
        for none in [
            "path!=/robots.txt",
            "path=/é/index",
            "agent=\"quoted\"",
            "status=404",
            "path=/",
            "host=10.0.0.0/8",
            "agent~bot",
        ] {
            assert_eq!(needle(none), None, "{none}");
        }
    }

    #[test]
    fn a_path_with_a_query_is_looked_for_whole() {
        assert_eq!(Filter::asks_for("/a?b").subject, Subject::Field(Field::Url));
        assert_eq!(Filter::asks_for("/a").subject, Subject::Field(Field::Path));
    }
}
