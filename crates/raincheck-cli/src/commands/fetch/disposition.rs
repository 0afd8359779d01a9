//! The name that a server gives a file: `Content-Disposition`, as RFC 6266 has it and as browsers read it.

use percent_encoding::percent_decode;

use super::names;

/// The name in such a header, safe for a file in the folder itself. `None` if it has none.
///
/// It is the server's word: a name that would hide the file does not.
pub(crate) fn file_name(header: &[u8]) -> Option<String> {
    let mut plain = None;
    let mut extended = None;
    for (name, value) in parameters(header) {
        match &*name.to_ascii_lowercase() {
            b"filename" if plain.is_none() => plain = Some(text(&value)),
            b"filename*" if extended.is_none() => extended = extended_text(&value),
            _ => {}
        }
    }
    let name = extended.or(plain)?;
    // Some send the path that the file has with them.
    let base = name.rsplit(['/', '\\']).next().unwrap_or(&name).trim();
    if base.is_empty() || base.chars().all(|char| char == '.') {
        return None;
    }
    Some(match base.strip_prefix('.') {
        Some(rest) => names::part(&format!("_{rest}")),
        None => names::part(base),
    })
}

/// The parameters, with quotes taken off.
fn parameters(header: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    // The type comes first; some leave it out.
    let mut rest = header;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(rest.len());
        let name = rest[..end].trim_ascii();
        if rest.get(end) != Some(&b'=') {
            rest = rest.get(end + 1..).unwrap_or_default();
            continue;
        }
        let (value, after) = value(rest[end + 1..].trim_ascii_start());
        found.push((name.to_vec(), value));
        rest = after;
    }
    found
}

/// The value that a text begins with, and what comes after the next semicolon.
fn value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        // Blanks should be in quotes, and are not always.
        let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
        return (text[..end].trim_ascii().to_vec(), text.get(end + 1..).unwrap_or_default());
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'"' => {
                let rest = &quoted[place + 1..];
                let end = rest.iter().position(|byte| *byte == b';').map_or(rest.len(), |end| end + 1);
                return (value, &rest[end..]);
            }
            // A path of Windows is not escaped, as a rule: there, and before letters, it stays.
            b'\\' if matches!(quoted.get(place + 1), Some(b'"' | b'\\')) => {
                value.extend(bytes.next().map(|(_, byte)| byte))
            }
            byte => value.push(*byte),
        }
    }
    (value, &[])
}

/// What `filename` says: as it stands, or percent-encoded, or in the encoding of mails, as browsers allow.
fn text(value: &[u8]) -> String {
    let unescaped: Vec<u8> = match mail(value) {
        Some(text) => return text,
        None => percent_decode(value).collect(),
    };
    match String::from_utf8(unescaped) {
        Ok(text) => text,
        // An escape that was none.
        Err(_) => latin1_unless_utf8(value),
    }
}

fn latin1_unless_utf8(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

/// What `filename*` says: `UTF-8'en'na%C3%AFve`.
fn extended_text(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |byte| *byte == b'\'');
    let (charset, _, text) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes: Vec<u8> = percent_decode(text).collect();
    if charset.eq_ignore_ascii_case(b"utf-8") {
        return String::from_utf8(bytes).ok();
    }
    charset.eq_ignore_ascii_case(b"iso-8859-1").then(|| bytes.into_iter().map(char::from).collect())
}

/// `=?UTF-8?Q?na=C3=AFve?=`, or with `B` and base64.
fn mail(value: &[u8]) -> Option<String> {
    let inner = value.strip_prefix(b"=?")?.strip_suffix(b"?=")?;
    let mut parts = inner.splitn(3, |byte| *byte == b'?');
    let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = match encoding {
        b"Q" | b"q" => {
            let text: Vec<u8> = text
                .iter()
                .flat_map(|byte| match byte {
                    b'=' => b"%".to_vec(),
                    b'_' => b" ".to_vec(),
                    b'%' => b"%25".to_vec(),
                    byte => vec![*byte],
                })
                .collect();
            percent_decode(&text).collect()
        }
        b"B" | b"b" => base64(text)?,
        _ => return None,
    };
    if charset.eq_ignore_ascii_case(b"utf-8") {
        return String::from_utf8(bytes).ok();
    }
    charset.eq_ignore_ascii_case(b"iso-8859-1").then(|| bytes.into_iter().map(char::from).collect())
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for byte in text.iter().take_while(|byte| **byte != b'=') {
        held = (held << 6 | u32::from(digit(byte)?)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn named(header: &str) -> Option<String> {
        file_name(header.as_bytes())
    }

    #[test]
    fn names_are_read_as_the_rfc_and_browsers_read_them() {
        for (header, name) in [
            ("attachment; filename=report.pdf", "report.pdf"),
            ("Attachment; FileName=\"my report.pdf\"", "my report.pdf"),
            ("attachment; filename=my report.pdf; x=y", "my report.pdf"),
            (r#"inline; filename="a\"b.txt""#, "a_b.txt"),
            ("attachment; filename=\"EURO rates\"; filename*=UTF-8''%e2%82%ac%20rates", "€ rates"),
            ("attachment; filename*=iso-8859-1'en'%A3%20rates", "£ rates"),
            ("attachment; filename*=utf-8'en'x; filename=y", "x"),
            ("attachment; filename*=utf-7''x; filename=y", "y"),
            ("attachment; filename*=UTF-8''%ff; filename=y", "y"),
            ("attachment; filename=\"na%C3%AFve.txt\"", "naïve.txt"),
            ("attachment; filename=\"100%.txt\"", "100%.txt"),
            ("attachment; filename=\"=?UTF-8?B?bmHDr3ZlLnR4dA==?=\"", "naïve.txt"),
            ("attachment; filename=\"=?utf-8?q?na=C3=AFve_1.txt?=\"", "naïve 1.txt"),
            ("filename=x", "x"),
            ("attachment;filename=x;", "x"),
            ("attachment; filename=\"a;b.txt\"; size=3", "a;b.txt"),
            ("attachment; filename=\"unfinished", "unfinished"),
        ] {
            assert_eq!(named(header).as_deref(), Some(name), "{header}");
        }
        assert_eq!(file_name(b"attachment; filename=\"caf\xe9.txt\"").as_deref(), Some("café.txt"));
        assert_eq!(file_name("attachment; filename=\"café.txt\"".as_bytes()).as_deref(), Some("café.txt"));
    }

    #[test]
    fn a_server_can_neither_lead_elsewhere_nor_hide_a_file() {
        for (header, name) in [
            ("attachment; filename=\"../../etc/passwd\"", "passwd"),
            (r#"attachment; filename="C:\\Windows\\evil.dll""#, "evil.dll"),
            (r#"attachment; filename="C:\Windows\evil.dll""#, "evil.dll"),
            ("attachment; filename*=UTF-8''..%2f..%2fx", "x"),
            ("attachment; filename=.bashrc", "_bashrc"),
            ("attachment; filename=\"a\tb\"", "a_b"),
        ] {
            assert_eq!(named(header).as_deref(), Some(name), "{header}");
        }
    }

    #[test]
    fn where_there_is_no_name_there_is_none() {
        for header in [
            "",
            "attachment",
            "inline; x=y",
            "attachment; filename=",
            "attachment; filename=..",
            "attachment; filename=\"a/\"",
            ";;;=;\"",
        ] {
            assert_eq!(named(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_whatsoever_leaves_the_folder(header in "(attachment)?(; ?(filename|filename\\*|x)=(UTF-8'')?\"?[ -~%.\\\\/é\u{0}]{0,20}\"?){0,3}", noise in any::<Vec<u8>>()) {
            for header in [header.as_bytes(), &noise, &[header.as_bytes(), &noise].concat()] {
                if let Some(name) = file_name(header) {
                    assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with('.') && !name.is_empty() && name.len() <= 255);
                }
            }
        }
    }
}
