//! How the lines of a log are written: Apache's `LogFormat` and nginx's `log_format`, as the steps in which a line is read.

use super::field::Field;
use super::time::TimeFormat;

/// A way to write a line: what it begins with, and then each part with what ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) head: Vec<u8>,
    pub(crate) parts: Vec<Part>,
    /// A line may end after so many parts.
    pub(crate) enough: usize,
}

/// One part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) what: What,
    /// Whether it stands in quotes, and a quote that is part of it is written `\"`.
    pub(crate) quoted: bool,
    /// The text that ends it; empty, where the end of the line does.
    pub(crate) end: Vec<u8>,
}

/// What a part of a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Nothing that anyone asks for.
    Other,
    /// A value as it is. Of two for the same field, the first counts.
    Text(Field),
    /// The host that a proxy asked for, which counts if the line names no other.
    ForwardedFor,
    /// `GET /path?query HTTP/1.1`
    Request,
    Time(TimeFormat),
    /// How many bytes were sent.
    Bytes,
}

/// The formats that are known by name. The first two are told apart by looking.
const KNOWN: [(&str, &str); 4] = [
    // Before the next one, which would take such a line too, with the site for the host.
    ("vhost", r#"%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i""#),
    ("combined", r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#),
    ("common", r#"%h %l %u %t "%r" %>s %b"#),
    // The same lines as Apache's combined ones.
    (
        "nginx",
        r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#,
    ),
];

impl Format {
    /// Reads a name of [`KNOWN`], a format of Apache or of nginx, or a whole line of their settings.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, format)) = KNOWN.iter().find(|(name, _)| *name == text) {
            return Self::parse(format).map(Self::which_may_end_early);
        }
        let (text, is_nginx) = unwrap_setting(text)?;
        let pieces = if is_nginx.unwrap_or_else(|| is_like_nginx(&text)) { nginx(&text)? } else { apache(&text)? };
        Self::of(pieces)
    }

    /// The formats to choose from by looking at a log: it is the first of those that fit most of its lines.
    pub(crate) fn candidates() -> Vec<Self> {
        KNOWN.iter().take(2).map(|(name, _)| Self::parse(name).expect("the known formats can be read")).collect()
    }

    /// Where a line of the common format, which lacks referrer and agent, may stand among others.
    fn which_may_end_early(mut self) -> Self {
        let bytes = self.parts.iter().position(|part| part.what == What::Bytes);
        self.enough = bytes.map_or(self.parts.len(), |index| index + 1);
        self
    }

    fn of(pieces: Vec<Piece>) -> Result<Self, String> {
        let mut format = Self { head: Vec::new(), parts: Vec::new(), enough: 0 };
        let mut names: Vec<String> = Vec::new();
        for piece in pieces {
            let (what, name) = match piece {
                Piece::Literal(text) => {
                    format.parts.last_mut().map_or(&mut format.head, |part| &mut part.end).extend(text);
                    continue;
                }
                Piece::Part(what, name) => (what, name),
            };
            if let Some(last) = format.parts.last_mut().filter(|last| last.end.is_empty()) {
                match (&last.what, &what) {
                    // A path with its query right behind it: together they are what was asked for.
                    (What::Text(Field::Url), What::Other) if is_query(&name) => continue,
                    _ => {
                        let before = names.last().map_or("", String::as_str);
                        return Err(format!("nothing stands between `{before}` and `{name}` to tell where one ends"));
                    }
                }
            }
            format.parts.push(Part { what, quoted: false, end: Vec::new() });
            names.push(name);
        }
        if format.parts.iter().all(|part| part.what == What::Other) {
            return Err("it names nothing that can be asked for, such as `%h` or `$remote_addr`".into());
        }
        let mut before = format.head.clone();
        for part in &mut format.parts {
            part.quoted = before.ends_with(b"\"") && part.end.starts_with(b"\"");
            before.clone_from(&part.end);
        }
        format.keep_the_first_of_each();
        format.enough = format.parts.len();
        Ok(format)
    }

    /// So that no part of a line overwrites another.
    fn keep_the_first_of_each(&mut self) {
        let has_host = self.parts.iter().any(|part| part.what == What::Text(Field::Host));
        let mut seen: Vec<What> = Vec::new();
        for part in &mut self.parts {
            if part.what == What::ForwardedFor {
                part.what = if has_host { What::Other } else { What::Text(Field::Host) };
            }
            // Times are in one form only, or in none.
            let kind = match &part.what {
                What::Time(_) => What::Time(TimeFormat::Common),
                what => what.clone(),
            };
            if seen.contains(&kind) {
                part.what = What::Other;
            }
            seen.push(kind);
        }
    }
}

/// A piece of a format as it is written.
enum Piece {
    Literal(Vec<u8>),
    /// What it stands for, and its name.
    Part(What, String),
}

fn is_query(name: &str) -> bool {
    ["%q", "$args", "$is_args", "$query_string"].contains(&name)
}

/// Whether a format that comes alone is one of nginx's.
fn is_like_nginx(text: &str) -> bool {
    let starts_name = |c: char| c.is_ascii_alphabetic() || c == '{' || c == '_';
    !text.contains('%') && text.split('$').skip(1).any(|rest| rest.starts_with(starts_name))
}

/// Takes the format out of a line of settings: `LogFormat "…" name`, `log_format name '…' '…';`. Says whose they are.
fn unwrap_setting(text: &str) -> Result<(String, Option<bool>), String> {
    let text = text.trim();
    let words = |name: &str| {
        let rest = text.get(name.len()..).filter(|rest| rest.starts_with(char::is_whitespace))?;
        text[..name.len()].eq_ignore_ascii_case(name).then_some(rest)
    };
    let (rest, is_nginx) = match (words("LogFormat"), words("log_format")) {
        (Some(rest), _) => (rest, false),
        (_, Some(rest)) => (rest, true),
        _ => return Ok((text.into(), None)),
    };
    let strings = quoted_strings(rest)?;
    match strings.first() {
        None => Err("no format in quotes follows".into()),
        // nginx joins them all; Apache's second string would be the name.
        Some(_) if is_nginx => Ok((strings.concat(), Some(true))),
        Some(first) => Ok((first.clone(), Some(false))),
    }
}

/// The strings in quotes of either kind. In one, a backslash keeps its meaning, but before the quote that ends it.
fn quoted_strings(text: &str) -> Result<Vec<String>, String> {
    let mut strings = Vec::new();
    let mut characters = text.chars();
    while let Some(quote) = characters.by_ref().find(|c| *c == '"' || *c == '\'') {
        let mut string = String::new();
        loop {
            match characters.next() {
                None => return Err(format!("the {quote} of a string is not closed")),
                Some(c) if c == quote => break,
                Some('\\') => match characters.next() {
                    Some(c) if c == quote => string.push(c),
                    Some(c) => string.extend(['\\', c]),
                    None => string.push('\\'),
                },
                Some(c) => string.push(c),
            }
        }
        strings.push(string);
    }
    Ok(strings)
}

/// Reads a format of Apache.
fn apache(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        match first {
            '%' if after.starts_with('%') => {
                pieces.push(Piece::Literal(b"%".to_vec()));
                rest = &after[1..];
            }
            '%' => {
                let (what, length) = directive(after)?;
                let name = &rest[..=length];
                match what {
                    Directive::One(what) => pieces.push(Piece::Part(what, name.into())),
                    Directive::TimeInBrackets => pieces.extend([
                        Piece::Literal(b"[".to_vec()),
                        Piece::Part(What::Time(TimeFormat::Common), name.into()),
                        Piece::Literal(b"]".to_vec()),
                    ]),
                }
                rest = &after[length..];
            }
            '\\' if after.starts_with(['"', '\\', 'n', 't']) => {
                let byte = match after.as_bytes()[0] {
                    b't' => b'\t',
                    b'n' => return Err("a line cannot have a line break in it".into()),
                    byte => byte,
                };
                pieces.push(Piece::Literal(vec![byte]));
                rest = &after[1..];
            }
            _ => {
                pieces.push(Piece::Literal(first.to_string().into_bytes()));
                rest = after;
            }
        }
    }
    Ok(pieces)
}

enum Directive {
    One(What),
    /// Which Apache adds by itself.
    TimeInBrackets,
}

/// Reads what follows a `%`, and says how long it is: `h`, `>s`, `{Referer}i`, `!200,304{User-agent}i`, `^FB`.
fn directive(text: &str) -> Result<(Directive, usize), String> {
    let unknown = |length: usize| format!("`%{}` is no directive of Apache", text.get(..length).unwrap_or(text));
    let modifiers = text.find(|c: char| !c.is_ascii_digit() && !"!,<>".contains(c)).ok_or_else(|| unknown(1))?;
    let mut rest = &text[modifiers..];
    let mut argument = None;
    if let Some(inner) = rest.strip_prefix('{') {
        let end = inner.find('}').ok_or_else(|| format!("the {{ of `%{text}` is not closed"))?;
        argument = Some(&inner[..end]);
        rest = &inner[end + 1..];
    }
    let letters = if rest.starts_with('^') { 3 } else { 1 };
    let name = rest.get(..letters).ok_or_else(|| unknown(text.len().min(1)))?;
    let length = text.len() - rest.len() + letters;
    let what = match (name, argument) {
        ("t", None) => return Ok((Directive::TimeInBrackets, length)),
        ("t", Some(format)) => time_of_apache(format)?,
        ("h" | "a", _) => What::Text(Field::Host),
        ("u", _) => What::Text(Field::User),
        ("v" | "V", _) => What::Text(Field::Site),
        ("m", _) => What::Text(Field::Method),
        ("U", _) => What::Text(Field::Url),
        ("H", _) => What::Text(Field::Protocol),
        ("s", _) => What::Text(Field::Status),
        ("r", _) => What::Request,
        ("b" | "B" | "O", _) => What::Bytes,
        ("i", Some(header)) => match header.to_ascii_lowercase().as_str() {
            "referer" => What::Text(Field::Referrer),
            "user-agent" => What::Text(Field::Agent),
            "host" => What::Text(Field::Site),
            "x-forwarded-for" => What::ForwardedFor,
            _ => What::Other,
        },
        ("A" | "D" | "f" | "I" | "k" | "l" | "L" | "p" | "P" | "q" | "R" | "S" | "T" | "X" | "^FB", _)
        | ("C" | "e" | "n" | "o" | "^ti" | "^to", Some(_)) => What::Other,
        _ => return Err(unknown(length)),
    };
    Ok((Directive::One(what), length))
}

/// What stands in `%{…}t`.
fn time_of_apache(format: &str) -> Result<What, String> {
    let format = format.strip_prefix("begin:").or(format.strip_prefix("end:")).unwrap_or(format);
    let ticks = match format {
        "sec" => 1,
        "msec" => 1000,
        "usec" => 1_000_000,
        "msec_frac" | "usec_frac" => return Ok(What::Other),
        _ => {
            let format = TimeFormat::strftime(format);
            return format
                .map(What::Time)
                .map_err(|directive| format!("times in the form `{directive}` cannot be read"));
        }
    };
    Ok(What::Time(TimeFormat::Epoch { ticks }))
}

/// Reads a format of nginx.
fn nginx(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        if at > 0 {
            pieces.push(Piece::Literal(rest.as_bytes()[..at].to_vec()));
        }
        let after = &rest[at + 1..];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, length) = match after.strip_prefix('{') {
            Some(inner) => {
                let end = inner.find('}').ok_or_else(|| format!("the {{ of `${after}` is not closed"))?;
                (&inner[..end], end + 2)
            }
            None => {
                let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(format!("no variable of nginx follows the `$` in `{}`", &rest[at..]));
        }
        pieces.push(Piece::Part(variable(name), format!("${name}")));
        rest = &after[length..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.into()));
    }
    Ok(pieces)
}

/// What a variable of nginx stands for; there are as many as there are modules and settings.
fn variable(name: &str) -> What {
    match name {
        "remote_addr" => What::Text(Field::Host),
        "http_x_forwarded_for" | "proxy_add_x_forwarded_for" => What::ForwardedFor,
        "remote_user" => What::Text(Field::User),
        "time_local" => What::Time(TimeFormat::Common),
        "time_iso8601" => What::Time(TimeFormat::iso()),
        "msec" => What::Time(TimeFormat::Epoch { ticks: 1 }),
        "request" => What::Request,
        "request_method" => What::Text(Field::Method),
        "request_uri" | "uri" | "document_uri" => What::Text(Field::Url),
        "server_protocol" => What::Text(Field::Protocol),
        "status" => What::Text(Field::Status),
        "body_bytes_sent" | "bytes_sent" => What::Bytes,
        "http_referer" => What::Text(Field::Referrer),
        "http_user_agent" => What::Text(Field::Agent),
        "host" | "http_host" | "server_name" => What::Text(Field::Site),
        _ => What::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whats(text: &str) -> Vec<What> {
        Format::parse(text).unwrap().parts.into_iter().map(|part| part.what).collect()
    }

    fn error(text: &str) -> String {
        Format::parse(text).unwrap_err()
    }

    #[test]
    fn apache_and_nginx_write_the_same_combined_lines() {
        let (apache, nginx) = (whats("combined"), whats("nginx"));

        assert_eq!(apache[2..], nginx[1..], "but for the name that identd gives, which nginx writes as `-`");
    }

    #[test]
    fn a_line_of_settings_is_taken_as_it_is() {
        let lines = [
            r#"LogFormat "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"" mine"#,
            r#"  logformat '%h %l %u %t "%r" %s %b "%{Referer}i" "%{user-agent}i"'"#,
            r#"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-agent}i\""#,
        ];
        for line in lines {
            assert_eq!(whats(line), whats("combined"), "{line}");
        }
        let nginx = r#"log_format main '$remote_addr - $remote_user [$time_local] "$request" '
                       '$status $body_bytes_sent "$http_referer" '
                       '"$http_user_agent"';"#;
        assert_eq!(Format::parse(nginx).unwrap().parts, Format::parse("nginx").unwrap().parts);
    }

    #[test]
    fn every_form_of_a_directive_is_known() {
        let format = r"%!200,304{User-agent}i %400,501{Referer}i %{c}a %{%F %T}t|%^FB|%{X}^ti %{VARNAME}e %{msec}t %%";

        assert_eq!(
            whats(format),
            [
                What::Text(Field::Agent),
                What::Text(Field::Referrer),
                What::Text(Field::Host),
                What::Time(TimeFormat::strftime("%F %T").unwrap()),
                What::Other,
                What::Other,
                What::Other,
                What::Other, // a second time
            ]
        );
    }

    #[test]
    fn a_path_and_its_query_are_one() {
        assert_eq!(whats("%h %U%q %H")[1..], [What::Text(Field::Url), What::Text(Field::Protocol)]);
        assert_eq!(whats("$remote_addr $uri$is_args$args $status").len(), 3);
    }

    #[test]
    fn behind_a_proxy_the_host_is_whom_it_asked_for() {
        assert_eq!(whats("%{X-Forwarded-For}i %t")[0], What::Text(Field::Host));
        assert_eq!(whats("%{X-Forwarded-For}i %h %t")[0], What::Other);
    }

    #[test]
    fn what_is_no_format_is_refused_with_the_reason() {
        assert_eq!(error("%h%u"), "nothing stands between `%h` and `%u` to tell where one ends");
        assert_eq!(error("%h %y"), "`%y` is no directive of Apache");
        assert_eq!(error("%{Referer"), "the { of `%{Referer` is not closed");
        assert_eq!(error("%h %{%Q}t"), "times in the form `%Q` cannot be read");
        assert_eq!(error("$remote_addr ${status"), "the { of `${status` is not closed");
        assert_eq!(error("combine"), "it names nothing that can be asked for, such as `%h` or `$remote_addr`");
        assert_eq!(error("log_format main '$remote_addr"), "the ' of a string is not closed");
        assert_eq!(error("LogFormat combined"), "no format in quotes follows");
        assert_eq!(error("%"), "`%` is no directive of Apache");
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reading_of_formats_panic(text in r#"(LogFormat |log_format x )?["'%${}a-zA-Z<>!,0-9\\^ é]{0,40}"#) {
            let _ = Format::parse(&text);
        }
    }
}
