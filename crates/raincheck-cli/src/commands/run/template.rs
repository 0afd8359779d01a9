//! A command with placeholders, and what becomes of it for one job.
//!
//! Everything is bytes: a name that is not UTF-8 arrives at the command as it is. This file knows nothing of the rest of
//! the program, so that it can be fuzzed alone.

/// One word of a command, or any other text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) Vec<Piece>);

/// A stretch of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// As it stands.
    Text(Vec<u8>),
    /// `{}`, `{2}`, `{/.}` and the like: the input, or some of it.
    Input(Which, Part),
    /// `{#}`: the number of the job, from one.
    Number,
    /// `{%}`: the slot it runs in, from one, which no other job has at the same time.
    Slot,
}

/// Which of a job's arguments a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    /// From one.
    Nth(usize),
    /// From one, counted from the last.
    NthLast(usize),
}

/// What of an argument a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `{}`
    Whole,
    /// `{.}`: without its extension.
    Stem,
    /// `{/}`: without its folder.
    Name,
    /// `{//}`: the folder.
    Folder,
    /// `{/.}`: without either.
    NameStem,
}

/// What there is to fill in for one job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a> {
    pub(crate) args: &'a [Vec<u8>],
    pub(crate) number: u64,
    pub(crate) slot: usize,
}

/// How placeholders are written.
#[derive(Clone, Debug)]
pub(crate) struct Syntax {
    /// What stands for the whole input; `{}` unless the user said otherwise.
    pub(crate) input: Vec<u8>,
    /// Names of columns, as the header line has them.
    pub(crate) names: Vec<Vec<u8>>,
}

impl Default for Syntax {
    fn default() -> Self {
        Self { input: b"{}".to_vec(), names: Vec::new() }
    }
}

impl Syntax {
    /// Finds the placeholders in a text. What only looks like one, as in `awk '{print $1}'`, stays text.
    pub(crate) fn parse(&self, text: &[u8]) -> Word {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut at = 0;
        while at < text.len() {
            match self.placeholder(&text[at..]) {
                Some((piece, length)) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece);
                    at += length;
                }
                None => {
                    plain.push(text[at]);
                    at += 1;
                }
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Word(pieces)
    }

    /// The placeholder that this text begins with, and its length.
    fn placeholder(&self, text: &[u8]) -> Option<(Piece, usize)> {
        if !self.input.is_empty() && text.starts_with(&self.input) {
            return Some((Piece::Input(Which::All, Part::Whole), self.input.len()));
        }
        let inner = text.strip_prefix(b"{")?;
        let inner = &inner[..inner.iter().position(|byte| *byte == b'}')?];
        Some((self.meaning(inner)?, inner.len() + 2))
    }

    fn meaning(&self, inner: &[u8]) -> Option<Piece> {
        match inner {
            b"#" => return Some(Piece::Number),
            b"%" => return Some(Piece::Slot),
            // With another way to write it, `{}` is text again.
            b"" => return None,
            _ => {}
        }
        // The longest ending first: a column may be called `a.`, but `{1/.}` is not the column `1/` without extension.
        let endings = [
            (&b"/."[..], Part::NameStem),
            (b"//", Part::Folder),
            (b"/", Part::Name),
            (b".", Part::Stem),
            (b"", Part::Whole),
        ];
        endings.into_iter().find_map(|(ending, part)| {
            let which = self.which(inner.strip_suffix(ending)?)?;
            Some(Piece::Input(which, part))
        })
    }

    fn which(&self, text: &[u8]) -> Option<Which> {
        if text.is_empty() {
            return Some(Which::All);
        }
        if let Some(place) = self.names.iter().position(|name| name == text) {
            return Some(Which::Nth(place + 1));
        }
        let (digits, from_the_end) = match text.strip_prefix(b"-") {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
        match number {
            0 => None,
            _ if from_the_end => Some(Which::NthLast(number)),
            _ => Some(Which::Nth(number)),
        }
    }
}

impl Word {
    /// Whether it holds any placeholder.
    pub(crate) fn is_fixed(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// Whether it differs from input to input by more than a number.
    pub(crate) fn takes_input(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Input(..)))
    }

    /// The text it becomes; where several arguments take one place, there are spaces between them.
    pub(crate) fn fill(&self, values: Values<'_>) -> Vec<u8> {
        let mut text = Vec::new();
        for piece in &self.0 {
            text.extend(piece.fill(values).join(&b' '));
        }
        text
    }

    /// The words it becomes: one, but as many as there are arguments if it is a placeholder for all of them; or if all
    /// are to be had, with what is around the placeholder around each.
    pub(crate) fn fill_words(&self, values: Values<'_>, around_each: bool) -> Vec<Vec<u8>> {
        let stands_for_all = |piece: &Piece| matches!(piece, Piece::Input(Which::All, _));
        match &self.0[..] {
            [alone] if stands_for_all(alone) => alone.fill(values),
            pieces if around_each && pieces.iter().any(stands_for_all) => {
                let one = |arg| {
                    let only = Values { args: std::slice::from_ref(arg), ..values };
                    let fill = |piece: &Piece| piece.fill(if stands_for_all(piece) { only } else { values }).concat();
                    pieces.iter().flat_map(fill).collect()
                };
                values.args.iter().map(one).collect()
            }
            _ => vec![self.fill(values)],
        }
    }
}

impl Piece {
    /// What it becomes: one text, but one for each argument if it stands for all.
    pub(crate) fn fill(&self, values: Values<'_>) -> Vec<Vec<u8>> {
        match self {
            Self::Text(text) => vec![text.clone()],
            Self::Number => vec![values.number.to_string().into_bytes()],
            Self::Slot => vec![values.slot.to_string().into_bytes()],
            Self::Input(which, part) => {
                let args = values.args;
                let one = match which {
                    Which::All => return args.iter().map(|arg| part.of(arg).to_vec()).collect(),
                    Which::Nth(number) => args.get(number - 1),
                    Which::NthLast(number) => args.len().checked_sub(*number).map(|place| &args[place]),
                };
                // A line may have fewer columns than the one before.
                vec![one.map(|arg| part.of(arg).to_vec()).unwrap_or_default()]
            }
        }
    }
}

impl Part {
    /// This part of an argument.
    pub(crate) fn of(self, arg: &[u8]) -> &[u8] {
        match self {
            Self::Whole => arg,
            Self::Stem => stem(arg),
            Self::Name => name(arg),
            Self::Folder => folder(arg),
            Self::NameStem => stem(name(arg)),
        }
    }
}

fn name(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(path, |slash| &path[slash + 1..])
}

/// Without the extension of the last component, if it has one.
fn stem(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| matches!(byte, b'.' | b'/')) {
        Some(dot) if path[dot] == b'.' => &path[..dot],
        _ => path,
    }
}

/// As `dirname` has it.
fn folder(path: &[u8]) -> &[u8] {
    let trimmed = |path: &'_ [u8]| path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let named = &path[..trimmed(path)];
    if named.is_empty() {
        return if path.is_empty() { b"." } else { b"/" };
    }
    match named.iter().rposition(|byte| *byte == b'/') {
        None => b".",
        Some(slash) => match trimmed(&named[..slash]) {
            0 => b"/",
            end => &named[..end],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, args: &[&str]) -> String {
        let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        let values = Values { args: &args, number: 7, slot: 2 };
        String::from_utf8(Syntax::default().parse(text.as_bytes()).fill(values)).unwrap()
    }

    fn words(text: &str, args: &[&str], around_each: bool) -> Vec<String> {
        let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        let values = Values { args: &args, number: 7, slot: 2 };
        let words = Syntax::default().parse(text.as_bytes()).fill_words(values, around_each);
        words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn placeholders_stand_for_parts_of_the_input() {
        let all = "{}|{.}|{/}|{//}|{/.}|{#}|{%}";

        assert_eq!(filled(all, &["a/b.c.gz"]), "a/b.c.gz|a/b.c|b.c.gz|a|b.c|7|2");
        assert_eq!(filled(all, &["name"]), "name|name|name|.|name|7|2");
        assert_eq!(filled(all, &["/a.d/b"]), "/a.d/b|/a.d/b|b|/a.d|b|7|2");
        assert_eq!(filled(all, &[""]), "|||.||7|2");
    }

    #[test]
    fn the_folder_is_what_dirname_says() {
        let folders = ["a", "/a", "a/b/", "/", "//", "a//b", "//a", "a/"].map(|path| filled("{//}", &[path]));

        assert_eq!(folders, [".", "/", "a", "/", "/", "a", "/", "."]);
    }

    #[test]
    fn columns_are_counted_from_either_end() {
        assert_eq!(filled("{2}-{1.}-{-1}-{3/}", &["x.y", "b", "p/q"]), "b-x-p/q-q");
        assert_eq!(filled("<{9}><{-9}>", &["a"]), "<><>");
        assert_eq!(filled("{}", &["a", "b c"]), "a b c");
    }

    #[test]
    fn what_only_looks_like_a_placeholder_is_text() {
        for text in
            ["{print $1}", "{0}", "{", "}", "{}}".strip_prefix("{}").unwrap(), "{1x}", "{ }", "{a,b}", "{--1}", "{-}"]
        {
            assert_eq!(filled(text, &["x"]), text);
        }
        assert_eq!(filled("{{}}", &["x"]), "{x}");
        assert_eq!(filled("{99999999999999999999999}", &["x"]), "{99999999999999999999999}");
    }

    #[test]
    fn columns_can_have_names_and_the_input_another_sign() {
        let syntax = Syntax { input: b"@".to_vec(), names: vec![b"file".to_vec(), b"size.".to_vec()] };
        let args = [b"a/b.c".to_vec(), b"9".to_vec()];
        let values = Values { args: &args, number: 1, slot: 1 };

        assert_eq!(syntax.parse(b"@ {} {file/.} {size.}").fill(values), b"a/b.c 9 {} b 9");
    }

    #[test]
    fn several_arguments_are_several_words() {
        assert_eq!(words("{}", &["a b", "c"], false), ["a b", "c"]);
        assert_eq!(words("{.}", &["a.x", "c.x"], false), ["a", "c"]);
        assert_eq!(words("-f{}", &["a", "c"], false), ["-fa c"]);
        assert_eq!(words("-f{}:{1}", &["a", "c"], true), ["-fa:a", "-fc:a"]);
        assert_eq!(words("plain", &["a", "c"], true), ["plain"]);
    }

    #[test]
    fn a_parse_loses_nothing() {
        // Whatever the text, what is no placeholder comes back byte for byte.
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..20_000 {
            let text: Vec<u8> = (0..random % 12)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    b"{}./#%-12a \xff"[(random % 12) as usize]
                })
                .collect();
            random = random.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(1);
            let word = Syntax::default().parse(&text);
            let plain: usize =
                word.0.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum();
            let placeholders = word.0.iter().filter(|piece| !matches!(piece, Piece::Text(_))).count();
            assert!(plain + 2 * placeholders <= text.len(), "{text:?}");
            if placeholders == 0 {
                assert_eq!(word.fill(Values { args: &[], number: 1, slot: 1 }), text);
            }
        }
    }
}
