//! Names made of parts of the URL: `{host}/{path}`, `{#}-{name}`.
//!
//! The placeholders are words, and beside them the signs that `raincheck run` has for the same: `{/}`, `{//}`, `{/.}`.

use url::Url;

use super::hashes::Key;
use super::names;

/// A name with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// As it stands.
    Text(String),
    Part(Part),
    /// With so many digits at least.
    Number(usize),
}

/// What of a URL a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// `{scheme}`: `http` or `https`.
    Scheme,
    /// `{host}`: with the port, if it is not the usual one.
    Host,
    /// `{path}`: folders and name.
    Path,
    /// `{dir}`, `{//}`: the folders.
    Folder,
    /// `{name}`, `{/}`: the last part of the path.
    Name,
    /// `{stem}`, `{/.}`: the same without its ending.
    Stem,
    /// `{ext}`: that ending, without its dot.
    Ending,
    /// `{query}`: what stands after the question mark.
    Query,
    /// `{hash}`: eight letters that other URLs have others of.
    Hash,
}

const WORDS: [(&str, Part); 12] = [
    ("scheme", Part::Scheme),
    ("host", Part::Host),
    ("path", Part::Path),
    ("dir", Part::Folder),
    ("//", Part::Folder),
    ("name", Part::Name),
    ("/", Part::Name),
    ("stem", Part::Stem),
    ("/.", Part::Stem),
    ("ext", Part::Ending),
    ("query", Part::Query),
    ("hash", Part::Hash),
];

/// What there is to fill in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'v> {
    pub(crate) url: &'v Url,
    pub(crate) key: Key,
    /// Its place in the list, from one.
    pub(crate) number: u64,
}

impl Template {
    /// Reads a template. Braces that are not placeholders are written twice: `{{`, `}}`.
    ///
    /// # Errors
    ///
    /// A sentence that names the placeholder that is none, and those that there are.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain += &rest[..at];
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain += brace;
                rest = after;
                continue;
            }
            let end = rest.find('}').filter(|_| brace == "{");
            let end = end.ok_or_else(|| format!("a `{brace}` that stands alone is written twice: `{brace}{brace}`"))?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::parse(&rest[..end])?);
            rest = &rest[end + 1..];
        }
        plain += rest;
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        if pieces.is_empty() { Err("a name is not empty".into()) } else { Ok(Self(pieces)) }
    }

    /// The name that it makes, safe below the folder of the downloads.
    pub(crate) fn fill(&self, values: Values<'_>) -> String {
        let mut name = String::new();
        for piece in &self.0 {
            piece.fill(values, &mut name);
        }
        names::path(&name)
    }
}

impl Piece {
    fn parse(inner: &str) -> Result<Self, String> {
        if let Some(digits) = inner.strip_prefix('#') {
            return match digits.parse() {
                _ if digits.is_empty() => Ok(Self::Number(1)),
                Ok(digits @ 1..=20) => Ok(Self::Number(digits)),
                _ => Err(format!("`{{{inner}}}` is no number of digits, as `{{#6}}` is")),
            };
        }
        match WORDS.into_iter().find(|(word, _)| *word == inner) {
            Some((_, part)) => Ok(Self::Part(part)),
            None => {
                let words: Vec<String> = WORDS.iter().map(|(word, _)| format!("`{{{word}}}`")).collect();
                Err(format!("`{{{inner}}}` stands for nothing; there are {} and `{{#}}`", words.join(", ")))
            }
        }
    }

    fn fill(&self, values: Values<'_>, name: &mut String) {
        match self {
            Self::Text(text) => *name += text,
            Self::Number(digits) => *name += &format!("{:0digits$}", values.number),
            Self::Part(part) => part.fill(values, name),
        }
    }
}

impl Part {
    fn fill(self, values: Values<'_>, name: &mut String) {
        let Values { url, key, .. } = values;
        // A slash that is escaped in the URL, or stands in the query, makes no folder.
        let flat = |text: &str| text.replace(['/', '\\'], "_");
        match self {
            Self::Scheme => *name += url.scheme(),
            Self::Host => {
                *name += url.host_str().unwrap_or_default();
                if let Some(port) = url.port() {
                    *name += &format!("_{port}");
                }
            }
            Self::Path => {
                let before = name.len();
                Self::Folder.fill(values, name);
                if name.len() > before {
                    name.push('/');
                }
                *name += &names::of_url(url);
            }
            Self::Folder => {
                let folders = url.path().trim_start_matches('/').rsplit_once('/').map_or("", |(folders, _)| folders);
                let folders: Vec<String> = folders.split('/').map(|part| flat(&names::decoded(part))).collect();
                *name += &folders.join("/");
            }
            Self::Name => *name += &names::of_url(url),
            Self::Stem => *name += names::stem_and_ending(&names::of_url(url)).0,
            Self::Ending => *name += names::stem_and_ending(&names::of_url(url)).1.trim_start_matches('.'),
            Self::Query => *name += &flat(&names::decoded(url.query().unwrap_or_default())),
            Self::Hash => *name += &key.letters(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(template: &str, url: &str) -> String {
        let url = Url::parse(url).unwrap();
        Template::parse(template).unwrap().fill(Values { url: &url, key: Key(0), number: 7 })
    }

    #[test]
    fn placeholders_stand_for_parts_of_the_url() {
        let url = "https://example.org:8443/a%20b/c/photo.tar.gz?size=1/2#x";

        for (template, name) in [
            ("{host}/{path}", "example.org_8443/a b/c/photo.tar.gz"),
            ("{scheme}-{dir}/{name}", "https-a b/c/photo.tar.gz"),
            ("{//}/{/}", "a b/c/photo.tar.gz"),
            ("{stem}-{query}.{ext}", "photo-size=1_2.tar.gz"),
            ("{#}-{/.}", "7-photo"),
            ("{#4}.{hash}", "0007.00000000"),
            ("{{{name}}}", "{photo.tar.gz}"),
            ("{#}-{path}", "7-a b/c/photo.tar.gz"),
            ("plain", "plain"),
        ] {
            assert_eq!(filled(template, url), name, "{template}");
        }
    }

    #[test]
    fn what_a_url_does_not_have_leaves_nothing() {
        assert_eq!(filled("{dir}/{name}", "http://h/a"), "a");
        assert_eq!(filled("{stem}.{ext}", "http://h/a"), "a");
        assert_eq!(filled("{path}", "http://h/"), "index.html");
        assert_eq!(filled("{host}/{path}", "http://h/a/"), "h/a/index.html");
        assert_eq!(filled("{#}-{path}", "http://h/a"), "7-a");
        assert_eq!(filled("{query}", "http://h/"), "index.html");
    }

    #[test]
    fn a_placeholder_that_is_none_is_refused() {
        let wrong = |text: &str| Template::parse(text).unwrap_err();

        assert!(wrong("{nam}").starts_with("`{nam}` stands for nothing; there are `{scheme}`, `{host}`"));
        assert_eq!(wrong("a}b"), "a `}` that stands alone is written twice: `}}`");
        assert_eq!(wrong("a{b"), "a `{` that stands alone is written twice: `{{`");
        assert_eq!(wrong("{#0}"), "`{#0}` is no number of digits, as `{#6}` is");
        assert_eq!(wrong(""), "a name is not empty");
    }

    proptest! {
        #[test]
        fn no_url_whatsoever_leaves_the_folder(path in "[%2e2f5c./\\\\a?#\u{0}-\u{ff}]{0,60}", template in "(\\{(host|path|dir|name|stem|ext|query|//|/)\\}|[./a]){1,6}") {
            if let Ok(url) = Url::parse(&format!("http://h/{path}")) {
                let name = filled(&template, url.as_str());
                for part in name.split('/') {
                    assert!(!part.is_empty() && !part.trim_matches('.').is_empty() && part.len() <= 255 && !part.contains(['\\', '\0']), "{name:?}");
                }
            }
        }
    }
}
