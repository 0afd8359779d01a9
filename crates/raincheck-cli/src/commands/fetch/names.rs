//! Names for files: of a URL, a header or a list, whatever is in it, never one that leads elsewhere.
//!
//! A name is a path below the folder of the downloads, with `/` between its parts. It has no part that means another
//! folder, none that another system could not store, and none that is ours. Two URLs never have one name, also not on a
//! file system that ignores case: who comes later in the list gets some letters of its URL's hash added. So names do not
//! depend on which download ends first, and are the same in the next run.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};

use percent_encoding::percent_decode_str;
use url::Url;

use super::hashes::{Key, Table};

/// The folder in which a run keeps what it has to know; no download goes there.
pub(crate) const OWN_FOLDER: &str = ".raincheck-fetch";

/// The name of what has none: a URL that ends with a slash.
const NAMELESS: &str = "index.html";
/// What file systems allow for one part.
const LONGEST_PART: usize = 255;
/// Beyond that, or if deeper, some system cannot open it.
const LONGEST: usize = 1024;
const DEEPEST: usize = 32;
/// An ending is no more than that: `.tar.gz`, and not what follows the first dot of a sentence.
const LONGEST_ENDING: usize = 16;

/// What a part of a URL's path says, with what is escaped in it. Bytes that are no UTF-8 stay escaped.
pub(crate) fn decoded(part: &str) -> Cow<'_, str> {
    if !part.contains('%') {
        return part.into();
    }
    let bytes: Vec<u8> = percent_decode_str(part).collect();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text += chunk.valid();
        chunk.invalid().iter().for_each(|byte| text += &format!("%{byte:02X}"));
    }
    text.into()
}

/// The last part of a URL's path, safe as a name.
pub(crate) fn of_url(url: &Url) -> String {
    match url.path().rsplit_once('/') {
        Some((_, "")) | None => NAMELESS.into(),
        Some((_, last)) => part(&decoded(last)),
    }
}

/// A name for a file in the folder itself, out of any text.
pub(crate) fn part(text: &str) -> String {
    let clean = match text.chars().any(|char| turns_text(char) || breaks(char)) {
        true => {
            text.chars().filter(|char| !turns_text(*char)).map(|char| if breaks(char) { '_' } else { char }).collect()
        }
        false => Cow::Borrowed(text),
    };
    // Windows drops dots and blanks at the end, and of a part that is all dots nothing is left but a folder.
    let name = shortened(clean.trim_start().trim_end_matches(dropped), "");
    let means_more = name.is_empty() || is_device(&name) || name.eq_ignore_ascii_case(OWN_FOLDER);
    if means_more { shortened(&format!("_{name}"), "") } else { name }
}

/// A name for a file in the folder or below it, out of any text in which `/` stands between folders.
pub(crate) fn path(text: &str) -> String {
    let parts: Vec<String> = text.split('/').filter(|part| !matches!(*part, "" | ".")).map(part).collect();
    let whole = parts.join("/");
    match parts.last() {
        None => NAMELESS.into(),
        Some(last) if whole.len() > LONGEST || parts.len() > DEEPEST => {
            format!("{}/{last}", Key::of(whole.as_bytes()).letters(12))
        }
        Some(_) => whole,
    }
}

/// Does not belong into a name: ends it, separates it, or means something to some shell or file system.
fn breaks(char: char) -> bool {
    char.is_control() || matches!(char, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '\u{2028}' | '\u{2029}')
}

/// What Windows leaves out at the end of a name.
fn dropped(char: char) -> bool {
    char == '.' || char.is_whitespace()
}

/// Shows a text in another order than it is in, so that `exe.gpj` looks like `jpg.exe`; or is not shown at all.
fn turns_text(char: char) -> bool {
    matches!(char, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A device on Windows, whatever its ending.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let is = |device: &str| stem.eq_ignore_ascii_case(device);
    let numbered = |kind: &str| {
        stem.split_at_checked(kind.len()).is_some_and(|(begin, number)| {
            let mut digits = number.chars();
            let has_digit = matches!((digits.next(), digits.next()), (Some('0'..='9' | '¹' | '²' | '³'), None));
            has_digit && begin.eq_ignore_ascii_case(kind)
        })
    };
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].into_iter().any(is) || numbered("COM") || numbered("LPT")
}

/// The part with this before its ending, and with less of what is before that if it would be too long.
fn shortened(part: &str, added: &str) -> String {
    if added.is_empty() && part.len() <= LONGEST_PART {
        return part.into();
    }
    let (stem, ending) = stem_and_ending(part);
    let room = LONGEST_PART - ending.len() - added.len();
    let stem = match stem.len() {
        length if length <= room => stem,
        _ => stem[..boundary(stem, room)].trim_end_matches(dropped),
    };
    format!("{stem}{added}{ending}")
}

/// Splits `a.tar.gz` into `a` and `.tar.gz`.
pub(crate) fn stem_and_ending(part: &str) -> (&str, &str) {
    let ending = |part: &str| match part.rfind('.') {
        Some(dot) if dot > 0 && part.len() - dot <= LONGEST_ENDING => dot,
        _ => part.len(),
    };
    let dot = ending(part);
    let is_tar = part.as_bytes()[..dot].last_chunk::<4>().is_some_and(|end| end.eq_ignore_ascii_case(b".tar"));
    part.split_at(if dot < part.len() && is_tar { ending(&part[..dot]) } else { dot })
}

/// The last place that is not within a character, up to there.
fn boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0)
}

/// Who comes later gets that added: nothing at first, then ever more.
fn additions(key: Key) -> impl Iterator<Item = String> {
    let letters = [0, 8, 12]
        .into_iter()
        .map(move |count| if count == 0 { String::new() } else { format!("-{}", key.letters(count)) });
    letters.chain((2_u64..).map(move |number| format!("-{}-{number}", key.letters(12))))
}

/// The name with that before the ending of its last part.
fn with(name: &str, added: &str) -> String {
    match name.rsplit_once('/') {
        Some((folder, last)) => format!("{folder}/{}", shortened(last, added)),
        None => shortened(name, added),
    }
}

/// Whether [`Names::claim`] may have made this name of that one. As it could have been made for this key alone, it is
/// nobody else's.
pub(crate) fn may_come_of(name: &str, wanted: &str, key: Key) -> bool {
    let mut path = String::new();
    let mut parts = name.split('/');
    let mut wishes = wanted.split('/').peekable();
    while let Some(wish) = wishes.next() {
        let Some(part) = parts.next() else { return false };
        let wish = joined(&path, wish);
        let key = if wishes.peek().is_some() { Key::of(wish.as_bytes()) } else { key };
        path = joined(&path, part);
        if !additions(key).take(4).any(|added| with(&wish, &added) == path) {
            return false;
        }
    }
    parts.next().is_none()
}

/// The name that the second of two gets.
pub(crate) fn second(name: &str, key: Key) -> String {
    let added = additions(key).nth(1).expect("there is no end of additions");
    with(name, &added)
}

fn joined(folder: &str, part: &str) -> String {
    if folder.is_empty() { part.into() } else { format!("{folder}/{part}") }
}

/// The names that are given.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Hashes of names in small letters, of files and of folders.
    taken: Table<()>,
}

impl Names {
    /// Gives the name to whoever has this key: as it stands, or if it is taken, with some letters of the key.
    pub(crate) fn claim<'n>(&mut self, name: &'n str, key: Key) -> Cow<'n, str> {
        if !name.contains('/') && self.take_file(name) {
            return name.into();
        }
        let name = self.in_free_folders(name);
        let mut free = additions(key).map(|added| with(&name, &added)).filter(|name| self.take_file(name));
        free.next().expect("there is no end of additions").into()
    }

    /// Keeps a name from being given, as there is a file that has it.
    pub(crate) fn keep(&mut self, name: &str) {
        for (slash, _) in name.match_indices('/') {
            self.taken.insert(folder(&name[..slash]), ());
        }
        self.taken.insert(file(name), ());
    }

    /// Takes the folders of a name; one whose name a file has gets another.
    fn in_free_folders(&mut self, name: &str) -> String {
        let Some((folders, last)) = name.rsplit_once('/') else { return name.into() };
        let mut path = String::new();
        for part in folders.split('/') {
            let wanted = joined(&path, part);
            // All that is in one folder stays together.
            let key = Key::of(wanted.as_bytes());
            path = additions(key)
                .map(|added| with(&wanted, &added))
                .find(|path| !self.taken.contains(file(path)))
                .expect("there is no end of additions");
            self.taken.insert(folder(&path), ());
        }
        format!("{path}/{last}")
    }

    fn take_file(&mut self, name: &str) -> bool {
        let file = file(name);
        !self.taken.contains(!file) && self.taken.insert(file, ())
    }
}

/// The hash of a name in small letters, the same in every run.
fn file(name: &str) -> u64 {
    let is_small = name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    let small = if is_small { Cow::Borrowed(name) } else { name.to_lowercase().into() };
    let mut hasher = DefaultHasher::new();
    hasher.write(small.as_bytes());
    hasher.finish()
}

/// Another one for the folder of that name.
fn folder(name: &str) -> u64 {
    !file(name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn of(url: &str) -> String {
        of_url(&Url::parse(url).unwrap())
    }

    #[test]
    fn the_name_is_the_last_part_of_the_path() {
        for (url, name) in [
            ("http://h/a/b.png?x=1", "b.png"),
            ("http://h/", "index.html"),
            ("http://h", "index.html"),
            ("http://h/a/", "index.html"),
            ("http://h/c%20d.txt", "c d.txt"),
            ("http://h/%C3%A9t%C3%A9", "été"),
            ("http://h/caf%E9.txt", "caf%E9.txt"),
            ("http://h/.profile", ".profile"),
        ] {
            assert_eq!(of(url), name, "{url}");
        }
    }

    #[test]
    fn what_leads_elsewhere_or_means_something_does_not_get_through() {
        for (text, name) in [
            ("..", "_"),
            (".", "_"),
            ("...", "_"),
            ("", "_"),
            (" ", "_"),
            ("../../etc/passwd", ".._.._etc_passwd"),
            ("a\\..\\b", "a_.._b"),
            ("a\0b\nc", "a_b_c"),
            ("C:evil", "C_evil"),
            ("con", "_con"),
            ("NUL.tar.gz", "_NUL.tar.gz"),
            ("com1 .x", "_com1 .x"),
            ("lpt²", "_lpt²"),
            ("console", "console"),
            ("name. . ", "name"),
            (".raincheck-fetch", "_.raincheck-fetch"),
            (".Raincheck-Fetch.", "_.Raincheck-Fetch"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
        ] {
            assert_eq!(part(text), name, "{text:?}");
        }
        assert_eq!(path("/../a/./b//c"), "_/a/b/c");
        assert_eq!(path(".raincheck-fetch/journal"), "_.raincheck-fetch/journal");
        assert_eq!(path("///"), "index.html");
    }

    #[test]
    fn a_name_that_is_too_long_keeps_its_ending_and_whole_characters() {
        let name = part(&format!("{}.tar.gz", "é".repeat(300)));

        assert!(name.len() <= 255 && name.len() > 250 && name.ends_with("é.tar.gz"), "{name}");
        let deep = path(&"a/".repeat(2000));
        assert_eq!(deep.split('/').count(), 2, "{deep}");
    }

    #[test]
    fn the_second_of_two_gets_letters_of_its_own_and_keeps_its_ending() {
        let mut names = Names::default();
        let key = |text: &str| Key::of(text.as_bytes());

        assert_eq!(names.claim("a.tar.gz", key("1")), "a.tar.gz");
        let second = names.claim("A.tar.gz", key("2"));
        assert_eq!(second, format!("A-{}.tar.gz", key("2").letters(8)));
        assert!(may_come_of(&second, "A.tar.gz", key("2")));
        assert!(!may_come_of(&second, "A.tar.gz", key("3")));
        assert!(!may_come_of("b", "a", key("3")));
    }

    #[test]
    fn no_file_has_the_name_of_a_folder() {
        let mut names = Names::default();
        let key = Key(0);

        assert_eq!(names.claim("a", key), "a");
        let below = names.claim("a/b", key);
        assert!(below.starts_with("a-") && below.ends_with("/b"), "{below}");
        assert_eq!(names.claim("a/c", key).split('/').next(), below.split('/').next());
        assert!(may_come_of(&below, "a/b", key) && !may_come_of(&below, "x/b", key) && !may_come_of("a", "a/b", key));
        assert_eq!(names.claim("x/y", key), "x/y");
        assert_eq!(names.claim("X", key), "X-00000000");
    }

    #[test]
    fn what_is_kept_is_not_given() {
        let mut names = Names::default();
        names.keep("a/b");

        assert_eq!(names.claim("a/b", Key(0)), "a/b-00000000");
        assert_eq!(names.claim("a", Key(0)), "a-00000000");
    }

    #[test]
    fn fifteen_thousand_urls_with_one_base_name_have_as_many_names() {
        let mut names = Names::default();
        let given: HashSet<String> =
            (0..15_486).map(|n: u32| names.claim("0.jpg", Key::of(&n.to_be_bytes())).into_owned()).collect();

        assert_eq!(given.len(), 15_486);
    }

    /// Whatever a name must be so that it stays within the folder, on any system.
    fn assert_safe(name: &str) {
        assert!(name.len() <= LONGEST && !name.is_empty(), "{name:?}");
        for part in name.split('/') {
            assert!(!part.is_empty() && part.len() <= LONGEST_PART, "{name:?}");
            assert!(!part.ends_with(['.', ' ']), "{name:?}");
            assert!(
                !part.chars().any(|char| char.is_control() || "\\:*?\"<>|".contains(char) || turns_text(char)),
                "{name:?}"
            );
            assert!(!is_device(part), "{name:?}");
            assert!(!part.eq_ignore_ascii_case(OWN_FOLDER), "{name:?}");
        }
        assert!(!std::path::Path::new(name).is_absolute());
    }

    /// Texts that somebody could think of.
    fn nasty() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("..".to_owned()),
            Just("/".into()),
            Just("\\".into()),
            Just("%2f".into()),
            Just("%2e".into()),
            Just("\0".into()),
            Just(" ".into()),
            Just(".".into()),
            Just("CON".into()),
            Just("nul".into()),
            Just(".raincheck-fetch".into()),
            Just("\u{202e}".into()),
            Just("é".repeat(200)),
            Just("{".into()),
            Just("x.tar.gz".into()),
            any::<String>(),
            "[a-zA-Z0-9._-]{0,300}",
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_text_whatsoever_leaves_the_folder(text in nasty(), key in any::<u64>()) {
            let mut names = Names::default();
            for name in [part(&text), path(&text), part(&decoded(&text))] {
                assert_safe(&name);
                for _ in 0..3 {
                    assert_safe(&names.claim(&name, Key(key)));
                }
            }
            if let Ok(url) = Url::parse(&format!("http://h/{text}")) {
                assert_safe(&of_url(&url));
            }
        }

        #[test]
        fn no_two_claims_have_one_name(texts in prop::collection::vec(("[aAbB/.]{1,5}", 0_u64..3), 1..40)) {
            let mut names = Names::default();
            let mut given = HashSet::new();
            let mut folders = HashSet::new();
            for (text, key) in texts {
                let name = names.claim(&path(&text), Key(key)).to_lowercase();
                name.match_indices('/').for_each(|(slash, _)| { folders.insert(name[..slash].to_owned()); });
                assert!(given.insert(name));
            }
            assert!(given.is_disjoint(&folders));
        }
    }
}
