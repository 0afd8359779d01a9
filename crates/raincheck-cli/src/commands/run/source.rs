//! Where the inputs come from: arguments after `:::`, files, stdin; and what several of them make together.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::vec;

use regex::bytes::Regex;

use super::split::Records;
use crate::error::Error;

/// What one source gives at a time: its columns, or just one.
pub(super) type Row = Vec<Vec<u8>>;

/// The command line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) command: Vec<OsString>,
    pub(super) sources: Vec<Spec>,
}

/// A source, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) from: Origin,
    /// Goes with the source before it, input by input.
    pub(super) linked: bool,
}

/// Where inputs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Args(Vec<OsString>),
    File(PathBuf),
    Stdin,
}

impl Words {
    /// Splits a command line at `:::`, `::::`, `:::+` and `::::+`.
    ///
    /// # Errors
    ///
    /// If there is nothing for `:::+` to go with.
    pub(super) fn split(words: Vec<OsString>) -> Result<Self, Error> {
        let mut split = Self { command: Vec::new(), sources: Vec::new() };
        let mut words = words.into_iter().peekable();
        let separator = |word: &OsString| [":::", ":::+", "::::", "::::+"].into_iter().find(|sign| word == sign);
        while let Some(word) = words.next_if(|word| separator(word).is_none()) {
            split.command.push(word);
        }
        while let Some(sign) = words.next().as_ref().and_then(separator) {
            let linked = sign.ends_with('+');
            if linked && split.sources.is_empty() {
                return Err(Error::usage(format!("there are no inputs before `{sign}` for its own to go with"))
                    .hint("put a `:::` or `::::` before it"));
            }
            let args: Vec<OsString> = std::iter::from_fn(|| words.next_if(|word| separator(word).is_none())).collect();
            if sign.starts_with("::::") {
                // Each file is a source of its own; together they go with what was before.
                let files = args.iter().enumerate();
                split
                    .sources
                    .extend(files.map(|(place, file)| Spec { from: Origin::file(file), linked: linked && place == 0 }));
            } else {
                split.sources.push(Spec { from: Origin::Args(args), linked });
            }
        }
        Ok(split)
    }
}

impl Origin {
    /// A file of inputs; `-` is stdin.
    pub(super) fn file(path: impl AsRef<OsStr>) -> Self {
        let path = path.as_ref();
        if path == "-" { Self::Stdin } else { Self::File(path.into()) }
    }
}

/// How what is read becomes inputs.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// What ends an input.
    pub(super) end: u8,
    /// What separates columns.
    pub(super) columns: Option<Regex>,
    pub(super) trim: Trim,
    pub(super) skip_empty: bool,
    /// The first line of each source names its columns.
    pub(super) header: bool,
    /// All sources go together, input by input; a short one begins again.
    pub(super) link: bool,
}

/// Where white space around inputs is taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trim {
    pub(super) left: bool,
    pub(super) right: bool,
}

/// All inputs, in order.
pub(super) struct Rows {
    cross: Cross,
    reading: Reading,
}

enum Cross {
    /// The first group moves slowest, and is read as it comes; the others are held, since they are needed again.
    Product { first: Group, rest: Vec<Rest>, current: Option<Row> },
    /// All sources side by side, each held.
    Linked { sources: Vec<Vec<Row>>, at: usize },
}

/// A group that is needed again for each input of the one before.
struct Rest {
    group: Option<Group>,
    rows: Vec<Row>,
    at: usize,
}

/// A source, and those that go with it.
struct Group(Vec<Source>);

enum Source {
    Args(vec::IntoIter<OsString>),
    Read { records: Records<Box<dyn Read + Send>>, name: String },
}

impl Rows {
    /// Opens the sources, and returns the names of the columns if their first lines hold them.
    ///
    /// # Errors
    ///
    /// A usage error that names the file that cannot be opened.
    pub(super) fn open(specs: Vec<Spec>, reading: Reading, stdin: Option<File>) -> Result<(Self, Vec<Vec<u8>>), Error> {
        let mut stdin = stdin;
        let mut groups: Vec<Group> = Vec::new();
        let mut names = Vec::new();
        for spec in specs {
            let mut source = Source::open(spec.from, reading.end, &mut stdin)?;
            if reading.header {
                names.extend(source.next(&reading)?.unwrap_or_default());
            }
            match groups.last_mut() {
                Some(group) if spec.linked => group.0.push(source),
                _ => groups.push(Group(vec![source])),
            }
        }
        let cross = if reading.link {
            let mut sources = Vec::new();
            for mut source in groups.into_iter().flat_map(|group| group.0) {
                let mut rows = Vec::new();
                while let Some(row) = source.next(&reading)? {
                    rows.push(row);
                }
                sources.push(rows);
            }
            Cross::Linked { sources, at: 0 }
        } else {
            let mut groups = groups.into_iter();
            let first = groups.next().unwrap_or(Group(vec![Source::Args(Vec::new().into_iter())]));
            let rest = groups.map(|group| Rest { group: Some(group), rows: Vec::new(), at: 0 }).collect();
            Cross::Product { first, rest, current: None }
        };
        Ok((Self { cross, reading }, names))
    }

    /// The next input. Blocks until there is one.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Error> {
        match &mut self.cross {
            Cross::Linked { sources, at } => {
                let longest = sources.iter().map(Vec::len).max().unwrap_or(0);
                if *at >= longest || sources.iter().any(Vec::is_empty) {
                    return Ok(None);
                }
                let row = sources.iter().flat_map(|rows| rows[*at % rows.len()].clone()).collect();
                *at += 1;
                Ok(Some(row))
            }
            Cross::Product { first, rest, current } => {
                for rest in rest.iter_mut() {
                    if let Some(mut group) = rest.group.take() {
                        while let Some(row) = group.next(&self.reading)? {
                            rest.rows.push(row);
                        }
                    }
                }
                if rest.iter().any(|rest| rest.rows.is_empty()) {
                    return Ok(None);
                }
                if current.is_none() {
                    *current = first.next(&self.reading)?;
                }
                let Some(head) = current.clone() else { return Ok(None) };
                let tail = rest.iter().flat_map(|rest| rest.rows[rest.at].clone());
                let row = head.into_iter().chain(tail).collect();
                // The last one moves fastest, as the digits of a number do.
                let all_wrapped = rest.iter_mut().rev().all(|rest| {
                    rest.at = (rest.at + 1) % rest.rows.len();
                    rest.at == 0
                });
                if all_wrapped {
                    *current = None;
                }
                Ok(Some(row))
            }
        }
    }

    /// Whether `next` has to read, and may have to wait for it.
    pub(super) fn must_read(&self) -> bool {
        match &self.cross {
            Cross::Product { first, current: None, .. } => first.0.iter().any(Source::must_read),
            Cross::Product { .. } | Cross::Linked { .. } => false,
        }
    }

    /// How many inputs there are, if that is known without reading.
    pub(super) fn count(&self) -> Option<u64> {
        match &self.cross {
            Cross::Linked { sources, .. } => {
                let none = sources.iter().any(Vec::is_empty);
                Some(if none { 0 } else { sources.iter().map(Vec::len).max().unwrap_or(0) as u64 })
            }
            Cross::Product { first, rest, .. } => {
                if self.reading.skip_empty {
                    return None;
                }
                let groups = std::iter::once(first).chain(rest.iter().filter_map(|rest| rest.group.as_ref()));
                groups.map(Group::count).try_fold(1, |product: u64, count| product.checked_mul(count?))
            }
        }
    }
}

impl Group {
    /// One of each, until the first has no more.
    fn next(&mut self, reading: &Reading) -> Result<Option<Row>, Error> {
        let mut row = Vec::new();
        for source in &mut self.0 {
            match source.next(reading)? {
                Some(columns) => row.extend(columns),
                None => return Ok(None),
            }
        }
        Ok(Some(row))
    }

    fn count(&self) -> Option<u64> {
        self.0.iter().map(Source::count).try_fold(u64::MAX, |least, count| Some(least.min(count?)))
    }
}

impl Source {
    fn open(from: Origin, end: u8, stdin: &mut Option<File>) -> Result<Self, Error> {
        let (read, name): (Box<dyn Read + Send>, _) = match from {
            Origin::Args(args) => return Ok(Self::Args(args.into_iter())),
            Origin::File(path) => (Box::new(open(&path)?), format!("`{}`", path.display())),
            Origin::Stdin => {
                let stdin = stdin.take().ok_or_else(|| Error::usage("stdin can be read only once"))?;
                (Box::new(stdin), "stdin".into())
            }
        };
        Ok(Self::Read { records: Records::new(read, end), name })
    }

    fn next(&mut self, reading: &Reading) -> Result<Option<Row>, Error> {
        loop {
            let next = match self {
                Self::Args(args) => args.next().map(|arg| arg.as_bytes().to_vec()),
                Self::Read { records, name } => records.next().map_err(|error| cannot_read(name, error))?,
            };
            let Some(text) = next else { return Ok(None) };
            let row = reading.row(text);
            if !(reading.skip_empty && row.iter().all(Vec::is_empty)) {
                return Ok(Some(row));
            }
        }
    }

    fn must_read(&self) -> bool {
        match self {
            Self::Args(_) => false,
            Self::Read { records, .. } => records.must_read(),
        }
    }

    fn count(&self) -> Option<u64> {
        match self {
            Self::Args(args) => Some(args.len() as u64),
            Self::Read { .. } => None,
        }
    }
}

impl Reading {
    fn row(&self, text: Vec<u8>) -> Row {
        match &self.columns {
            None => vec![self.trim.of(&text).to_vec()],
            Some(separator) => separator.split(&text).map(|column| self.trim.of(column).to_vec()).collect(),
        }
    }
}

impl Trim {
    fn of(self, text: &[u8]) -> &[u8] {
        let text = if self.left { text.trim_ascii_start() } else { text };
        if self.right { text.trim_ascii_end() } else { text }
    }
}

pub(super) fn open(path: &Path) -> Result<File, Error> {
    let file = File::open(path).and_then(|file| {
        // To open a folder works, and to read it does not.
        if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
    });
    file.map_err(|error| Error::usage(format!("cannot open the inputs in `{}`", path.display())).because(error))
}

pub(super) fn cannot_read(name: &str, error: io::Error) -> Error {
    Error::new(format!("cannot read {name}")).because(error).hint("the inputs read so far were run")
}

#[cfg(test)]
mod tests {
    use super::*;

    const READING: Reading = Reading {
        end: b'\n',
        columns: None,
        trim: Trim { left: false, right: false },
        skip_empty: false,
        header: false,
        link: false,
    };

    fn words(line: &str) -> Words {
        Words::split(line.split(' ').map(OsString::from).collect()).unwrap()
    }

    fn rows(line: &str, reading: Reading) -> Vec<String> {
        let (mut rows, names) = Rows::open(words(line).sources, reading, None).unwrap();
        let join = |row: &[Vec<u8>]| String::from_utf8(row.join(&b' ')).unwrap();
        let named = (!names.is_empty()).then(|| join(&names));
        named.into_iter().chain(std::iter::from_fn(|| rows.next().unwrap()).map(|row| join(&row))).collect()
    }

    #[test]
    fn the_command_ends_where_the_inputs_begin() {
        let split = words("echo -n {} ::: a b :::: file -");

        assert_eq!(split.command, ["echo", "-n", "{}"]);
        assert_eq!(
            split.sources,
            [
                Spec { from: Origin::Args(vec!["a".into(), "b".into()]), linked: false },
                Spec { from: Origin::File("file".into()), linked: false },
                Spec { from: Origin::Stdin, linked: false },
            ]
        );
        assert!(Words::split(vec!["echo".into(), ":::+".into(), "a".into()]).is_err());
    }

    #[test]
    fn sources_are_crossed_and_the_last_moves_fastest() {
        assert_eq!(rows("x ::: a b ::: 1 2 3", READING), ["a 1", "a 2", "a 3", "b 1", "b 2", "b 3"]);
        assert!(rows("x ::: a b :::", READING).is_empty());
    }

    #[test]
    fn linked_sources_go_side_by_side() {
        assert_eq!(rows("x ::: a b c :::+ 1 2 ::: x y", READING), ["a 1 x", "a 1 y", "b 2 x", "b 2 y"]);
        let linked = Reading { link: true, ..READING };
        assert_eq!(rows("x ::: a b c ::: 1 2", linked), ["a 1", "b 2", "c 1"]);
    }

    #[test]
    fn columns_are_cut_trimmed_and_named() {
        let reading = Reading {
            columns: Some(Regex::new(",").unwrap()),
            trim: Trim { left: true, right: true },
            header: true,
            ..READING
        };

        assert_eq!(rows("x ::: file,size a,1 b,\t2", reading), ["file size", "a 1", "b 2"]);
    }

    #[test]
    fn the_number_of_inputs_is_known_for_arguments_alone() {
        let count = |line| Rows::open(words(line).sources, READING, None).unwrap().0.count();

        assert_eq!(count("x ::: a b ::: 1 2 3"), Some(6));
        assert_eq!(count("x ::: a b :::+ 1"), Some(1));
        assert_eq!(count("x ::: a :::: /dev/null"), None);
    }
}
