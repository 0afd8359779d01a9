//! What a job is called.

use std::fmt::{self, Display};
use std::ops::Deref;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// The text that stands for a job, and the bytes that it stands for where they are no text: names of files may be any bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    text: Arc<str>,
    raw: Option<Arc<[u8]>>,
}

/// What is not written as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'/').remove(b'_').remove(b'~');

impl Label {
    /// A label for these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => Self { text: String::from_utf8_lossy(bytes).into(), raw: Some(bytes.into()) },
        }
    }

    /// The bytes, percent-encoded, if they are no text: two labels that look the same may differ in them.
    pub(crate) fn raw(&self) -> Option<String> {
        self.raw.as_ref().map(|raw| percent_encode(raw, ENCODED).to_string())
    }
}

impl Deref for Label {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        Self { text: text.into(), raw: None }
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Self { text: text.into(), raw: None }
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;

    use super::*;

    #[test]
    fn text_is_as_it_is_and_other_bytes_can_be_had_back() {
        assert_eq!((&*Label::of(b"a b%20"), Label::of(b"a b%20").raw()), ("a b%20", None));

        let bytes = b"caf\xe9/50% of\n\xff.txt";
        let label = Label::of(bytes);

        assert_eq!(&*label, "caf\u{fffd}/50% of\n\u{fffd}.txt");
        assert_eq!(label.raw().as_deref(), Some("caf%E9/50%25%20of%0A%FF.txt"));
        assert_eq!(percent_decode_str(&label.raw().unwrap()).collect::<Vec<u8>>(), bytes);
    }
}
