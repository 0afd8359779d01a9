//! Lists of URLs: what each line wants, read as it comes and never held.
//!
//! A line is a URL; or a URL, a tab and the name its file shall have; or several URLs with tabs between, which are mirrors
//! of one file. Indented lines right below it are its own options, as in aria2's input files. `#` begins a comment.
//! As options may follow, an entry is complete when the next one begins, at an empty line, or when a pipe falls silent.
//!
//! A line that is none of these is told with its place, and the rest goes on. Apart from checksums, this file knows nothing of the
//! rest of the program, so that it can be fuzzed.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use raincheck::fetch::{Algorithm, Checksum};
use url::Url;

/// The longest line that can be one. Servers take no URL that is longer.
const LONGEST: usize = 64 * 1024;
/// So much is asked for at a time.
const READ: usize = 64 * 1024;

/// What one line of a list wants, with the options below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Of `http` or `https`, with neither fragment nor credentials.
    pub(crate) url: Url,
    pub(crate) place: Place,
    /// What only few entries have.
    options: Option<Box<Options>>,
}

/// What a list says of one entry beside its URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Other places where the same file is.
    pub(crate) mirrors: Vec<Url>,
    /// `URL<TAB>name`, or `out=`: the name as it stands there, which may be anything.
    pub(crate) name: Option<String>,
    /// `dir=`: a folder below that of the downloads, which may be anything, too.
    pub(crate) folder: Option<String>,
    /// `checksum=`
    pub(crate) checksum: Option<Checksum>,
    /// `header=`, in their order.
    pub(crate) headers: Vec<(String, String)>,
    /// `referer=`
    pub(crate) referer: Option<String>,
    /// `user-agent=`
    pub(crate) user_agent: Option<String>,
    /// `http-user=` and `http-passwd=`, or what stood before the host in the URL.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) pieces: PiecesAsked,
}

/// In how many pieces a large file is to be fetched at once. What is not said is as for all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PiecesAsked {
    /// `split=`
    pub(crate) at_most: Option<u32>,
    /// `max-connection-per-server=`
    pub(crate) per_server: Option<u32>,
    /// `min-split-size=`, in bytes.
    pub(crate) at_least: Option<u64>,
}

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file, `stdin`, or `command line`.
    pub(crate) list: Arc<str>,
    /// From one.
    pub(crate) line: u64,
}

/// A line that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    /// The line, or its beginning, with credentials left out.
    pub(crate) text: String,
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
}

/// What comes next in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Entry(Entry),
    Problem(Problem),
    /// An option that means nothing here, told once for each.
    Unused {
        place: Place,
        option: String,
    },
}

impl Entry {
    fn new(wanted: Wanted, place: Place) -> Self {
        let Wanted { url, user, password } = wanted;
        let mut entry = Self { url, place, options: None };
        if user.is_some() || password.is_some() {
            let options = entry.options_mut();
            (options.user, options.password) = (user, password);
        }
        entry
    }

    /// What the list says beside the URL, if anything.
    pub(crate) fn options(&self) -> Option<&Options> {
        self.options.as_deref()
    }

    /// The same, for as long as is needed.
    pub(crate) fn take_options(&mut self) -> Option<Box<Options>> {
        self.options.take()
    }

    /// Whether the list says that this is its name.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.options().is_some_and(|options| options.name.as_deref() == Some(name))
    }

    fn options_mut(&mut self) -> &mut Options {
        self.options.get_or_insert_default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.list, self.line)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Writes an entry as it is read; `name` stands in place of the one that it has.
pub(crate) fn write(url: &Url, options: Option<&Options>, name: Option<&str>) -> String {
    let mut text = url.to_string();
    let empty = Options::default();
    let Options { mirrors, name: own, folder, checksum, headers, referer, user_agent, user, password, pieces } =
        options.unwrap_or(&empty);
    mirrors.iter().for_each(|mirror| text += &format!("\t{mirror}"));
    text.push('\n');
    let mut option = |name: &str, value: &str| text += &format!("  {name}={value}\n");
    match name {
        Some(name) => option("out", name),
        None => {
            own.iter().for_each(|name| option("out", name));
            folder.iter().for_each(|folder| option("dir", folder));
        }
    }
    checksum.iter().for_each(|checksum| option("checksum", &checksum.to_string()));
    headers.iter().for_each(|(name, value)| option("header", &format!("{name}: {value}")));
    let texts = [("referer", referer), ("user-agent", user_agent), ("http-user", user), ("http-passwd", password)];
    texts.iter().for_each(|(name, value)| value.iter().for_each(|value| option(name, value)));
    let PiecesAsked { at_most, per_server, at_least } = *pieces;
    let numbers = [
        ("split", at_most.map(u64::from)),
        ("max-connection-per-server", per_server.map(u64::from)),
        ("min-split-size", at_least),
    ];
    numbers.iter().for_each(|(name, value)| value.iter().for_each(|value| option(name, &value.to_string())));
    text
}

/// Reads one list.
pub(crate) struct List<R> {
    lines: Lines<R>,
    name: Arc<str>,
    urls: Urls,
    /// Options that have been told to mean nothing.
    unused: Vec<String>,
    /// An entry whose options are being read.
    open: Option<Pending>,
    /// A line that was read and comes after the entry that was open.
    next: Option<Found>,
    /// Whether nothing more comes for a while, as from a pipe.
    is_silent: Box<dyn Fn() -> bool + Send>,
    ended: bool,
}

/// What options are being read for.
enum Pending {
    Entry(Entry),
    /// A line that was refused, and its options with it.
    Refused,
}

impl<R: Read> List<R> {
    /// Reads from there; `name` says in messages where that is.
    ///
    /// `is_silent` waits a little for more, and tells whether nothing came: then an entry is handed over as it is.
    pub(crate) fn new(read: R, name: &str, is_silent: impl Fn() -> bool + Send + 'static) -> Self {
        let lines = Lines { read: BufReader::with_capacity(READ, read), number: 0, line: Vec::new() };
        let is_silent = Box::new(is_silent);
        Self {
            lines,
            name: name.into(),
            urls: Urls::default(),
            unused: Vec::new(),
            open: None,
            next: None,
            is_silent,
            ended: false,
        }
    }

    /// What comes next, or `None` at the end. Blocks until it is there.
    ///
    /// # Errors
    ///
    /// If the list cannot be read on. What is wrong with a line is a [`Found::Problem`], after which it goes on.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        if let Some(found) = self.next.take() {
            return Ok(Some(found));
        }
        while !self.ended {
            let is_open = matches!(self.open, Some(Pending::Entry(_)));
            if is_open && self.lines.read.buffer().is_empty() && (self.is_silent)() {
                return Ok(self.close().map(Found::Entry));
            }
            let found = match self.lines.next()? {
                None => {
                    self.ended = true;
                    return Ok(self.close().map(Found::Entry));
                }
                Some(Ok(())) => self.line(),
                Some(Err(Unreadable::TooLong)) if is_indented(&self.lines.line) => {
                    let text = String::from_utf8_lossy(&self.lines.line).into_owned();
                    self.half_read_option(&text, self.place(), &too_long())
                }
                Some(Err(unreadable)) => {
                    self.ended = unreadable == Unreadable::Utf16;
                    self.open_next(Err(self.unreadable(unreadable)))
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether `next` has to read, and may have to wait for it.
    pub(crate) fn must_read(&self) -> bool {
        self.next.is_none() && !self.lines.has_line()
    }

    /// What the line that was read has to say.
    fn line(&mut self) -> Option<Found> {
        let place = self.place();
        let line = std::mem::take(&mut self.lines.line);
        let text = match std::str::from_utf8(&line) {
            Ok(text) => text,
            Err(_) if is_indented(&line) => {
                let found = self.half_read_option(&String::from_utf8_lossy(&line), place, NO_UTF8);
                self.lines.line = line;
                return found;
            }
            Err(_) => {
                let hint = "write other bytes of a URL as `%XX`, and names in UTF-8";
                let problem = problem(place, &String::from_utf8_lossy(&line), NO_UTF8, Some(hint));
                self.lines.line = line;
                return self.open_next(Err(problem));
            }
        };
        let found = self.text(text, place);
        self.lines.line = line;
        found
    }

    fn text(&mut self, text: &str, place: Place) -> Option<Found> {
        let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
        if trimmed.starts_with('#') {
            return None;
        }
        // Whoever writes into a pipe line by line can end an entry with an empty one, and need not wait for the next.
        if trimmed.is_empty() {
            return self.close().map(Found::Entry);
        }
        if text.starts_with([' ', '\t']) && !is_url(trimmed) {
            return self.option(trimmed, place);
        }
        let read = entry(trimmed, &place, &mut self.urls);
        let read = read.map_err(|(what, hint)| problem(place, trimmed, &what, hint.as_deref()));
        self.open_next(read)
    }

    /// Begins with the next entry, and hands over the one before it.
    fn open_next(&mut self, read: Result<Entry, Problem>) -> Option<Found> {
        let before = self.close().map(Found::Entry);
        match read {
            Ok(entry) => {
                self.open = Some(Pending::Entry(entry));
                before
            }
            Err(problem) => {
                self.open = Some(Pending::Refused);
                let problem = Found::Problem(problem);
                match before {
                    None => Some(problem),
                    before => {
                        self.next = Some(problem);
                        before
                    }
                }
            }
        }
    }

    fn close(&mut self) -> Option<Entry> {
        match self.open.take() {
            Some(Pending::Entry(entry)) => Some(entry),
            Some(Pending::Refused) | None => None,
        }
    }

    fn option(&mut self, text: &str, place: Place) -> Option<Found> {
        let entry = match &mut self.open {
            Some(Pending::Entry(entry)) => entry,
            Some(Pending::Refused) => return None,
            None => {
                let hint = "a line that begins with a blank is an option of the URL above it";
                return Some(Found::Problem(problem(place, text, "there is no URL above this option", Some(hint))));
            }
        };
        match set(entry, text) {
            Ok(()) => None,
            Err(refusal) => self.refuse(refusal, text, place),
        }
    }

    /// An option of which not all can be read, which matters only if it means something here.
    fn half_read_option(&mut self, text: &str, place: Place, what: &str) -> Option<Found> {
        if !matches!(self.open, Some(Pending::Entry(_))) {
            return self.option(text.trim(), place);
        }
        let refusal = match text.trim().split_once('=') {
            Some((name, _)) if !OPTIONS.contains(&name.trim_end()) => Refusal::Unused(name.trim_end().into()),
            _ => Refusal::Wrong(what.into()),
        };
        self.refuse(refusal, text.trim(), place)
    }

    fn refuse(&mut self, refusal: Refusal, text: &str, place: Place) -> Option<Found> {
        match refusal {
            Refusal::Unused(option) => {
                if self.unused.contains(&option) {
                    return None;
                }
                self.unused.push(option.clone());
                Some(Found::Unused { place, option })
            }
            // Without its checksum or header the file would be another: the entry goes, too.
            Refusal::Wrong(what) => {
                self.open = Some(Pending::Refused);
                Some(Found::Problem(problem(place, text, &what, None)))
            }
        }
    }

    fn unreadable(&self, unreadable: Unreadable) -> Problem {
        let text = String::from_utf8_lossy(&self.lines.line);
        match unreadable {
            Unreadable::TooLong => problem(self.place(), &text, &too_long(), None),
            Unreadable::Utf16 => {
                problem(self.place(), "", "the list is in UTF-16", Some("`iconv -f UTF-16 -t UTF-8` makes UTF-8 of it"))
            }
        }
    }

    fn place(&self) -> Place {
        Place { list: Arc::clone(&self.name), line: self.lines.number }
    }
}

/// About how many entries a list has: its lines that are no options and no comments.
pub(crate) fn count(list: impl Read) -> io::Result<u64> {
    let mut read = BufReader::with_capacity(READ, list);
    // The beginning of a line that has come in part.
    let mut begun = Vec::new();
    let mut entries = 0;
    loop {
        let piece = read.fill_buf()?;
        if piece.is_empty() {
            return Ok(entries + u64::from(is_entry(&begun)));
        }
        let mut rest = piece;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            if begun.is_empty() {
                entries += u64::from(is_entry(line));
            } else {
                begin(&mut begun, line);
                entries += u64::from(is_entry(&begun));
                begun.clear();
            }
            rest = after.get(1..).unwrap_or_default();
        }
        begin(&mut begun, rest);
        let length = piece.len();
        read.consume(length);
    }
}

/// Adds to what is known of a line, as far as is needed to tell what it is.
fn begin(begun: &mut Vec<u8>, more: &[u8]) {
    const ENOUGH: usize = 256;
    let room = ENOUGH.saturating_sub(begun.len());
    begun.extend_from_slice(&more[..more.len().min(room)]);
}

/// Whether a line that begins so is an entry, and no option, no comment and not empty.
fn is_entry(line: &[u8]) -> bool {
    match line.first() {
        None | Some(b'#' | b'\r') => false,
        Some(b' ' | b'\t') => {
            let text = line.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            is_url(text.trim_start_matches([' ', '\t']))
        }
        Some(_) => true,
    }
}

/// Reads what an argument on the command line wants.
pub(crate) fn argument(text: &str, number: u64) -> Result<Entry, Problem> {
    let place = Place { list: "command line".into(), line: number };
    wanted(text.trim(), "", &mut Urls::default())
        .map(|wanted| Entry::new(wanted, place.clone()))
        .map_err(|(what, hint)| problem(place, text, &what, hint.as_deref()))
}

/// What is wrong, and what to do about it.
type Wrong = (String, Option<String>);

/// A URL, and what was taken out of it.
struct Wanted {
    url: Url,
    user: Option<String>,
    password: Option<String>,
}

fn entry(text: &str, place: &Place, urls: &mut Urls) -> Result<Entry, Wrong> {
    let mut fields = text.split('\t').map(str::trim).filter(|field| !field.is_empty());
    let first = wanted(fields.next().unwrap_or_default(), "", urls)?;
    let mut entry = Entry::new(first, place.clone());
    for field in fields {
        let options = entry.options_mut();
        if is_url(field) {
            options.mirrors.push(wanted(field, "the mirror ", &mut Urls::default())?.url);
        } else if let Some(sum) = checksum_field(field) {
            options.checksum = Some(sum.map_err(|what| (what, None))?);
        } else if options.name.replace(field.into()).is_some() {
            return Err((
                "there are two names for one URL".into(),
                Some("tabs stand between URL, mirrors, name and checksum".into()),
            ));
        }
    }
    Ok(entry)
}

/// A field such as `sha256:HEX`, or so many digits that they are one. What is no checksum, but begins like one, is a mistake,
/// and not a name.
fn checksum_field(field: &str) -> Option<Result<Checksum, String>> {
    let checksum = field.parse::<Checksum>();
    let begins_like_one = || {
        let (algorithm, digits) = field.split_once([':', '=']).unwrap_or_default();
        algorithm.parse::<Algorithm>().is_ok()
            && !digits.is_empty()
            && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    (checksum.is_ok() || begins_like_one()).then_some(checksum)
}

fn is_url(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once("://") else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char))
}

/// Remembers where the last URL led to. Most lead to the same place: of them only what follows it is read.
#[derive(Default)]
struct Urls {
    /// The place, as it stands in the list, and the first URL that led there.
    before: Option<(String, Url)>,
}

impl Urls {
    /// The URL, if it leads to that place.
    fn beside(&self, text: &str) -> Option<Url> {
        let (place, before) = self.before.as_ref()?;
        let path = text.strip_prefix(&**place).filter(|path| is_path(path))?;
        let path = path.split('#').next()?;
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        // To join it with the other would take longer than all the rest of an entry.
        let mut url = before.clone();
        url.set_path(path);
        url.set_query(query);
        Some(url)
    }

    fn remember(&mut self, text: &str, url: &Url) {
        if let Some(place) = place(text) {
            self.before = Some((place.into(), url.clone()));
        }
    }
}

/// Scheme, host and port; `None` if it is not that plain.
fn place(text: &str) -> Option<&str> {
    let host = text.find("://")? + 3;
    let path = host + text[host..].find(['/', '?', '#', '\\', '@'])?;
    (path > host && is_path(&text[path..])).then_some(&text[..path])
}

fn is_path(text: &str) -> bool {
    // Of more slashes than one nobody would think that another host follows, but that is what they mean.
    text.starts_with('/') && !text[1..].starts_with(['/', '\\'])
}

/// Reads a URL that nothing blank stands around.
fn wanted(text: &str, which: &str, urls: &mut Urls) -> Result<Wanted, Wrong> {
    if text.chars().any(char::is_control) {
        return Err((format!("{which}`{}` has a control character", shown(text)), None));
    }
    if let Some(url) = urls.beside(text) {
        return Ok(Wanted { url, user: None, password: None });
    }
    let mut url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => return Err(no_scheme(text, which)),
        Err(error) => return Err((format!("{which}`{}` is no URL: {error}", shown(text)), None)),
    };
    if !matches!(url.scheme(), "http" | "https") {
        // `localhost:8000/a` has the form of a URL with the scheme `localhost`.
        if !text.contains("://") {
            return Err(no_scheme(text, which));
        }
        return Err((format!("{which}`{}` is not of http or https", shown(text)), None));
    }
    url.set_fragment(None);
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = (!url.username().is_empty()).then(|| decoded(url.username()));
    let password = url.password().map(decoded);
    if user.is_some() || password.is_some() {
        // A URL of http has a host, so that these cannot fail.
        let _ = (url.set_username(""), url.set_password(None));
    }
    urls.remember(text, &url);
    Ok(Wanted { url, user, password })
}

fn no_scheme(text: &str, which: &str) -> Wrong {
    let shown = shown(text);
    let hint = (!shown.is_empty()).then(|| format!("write it as `https://{shown}`"));
    (format!("{which}`{shown}` has no scheme"), hint)
}

/// The options that mean something here, as [`set`] reads them.
const OPTIONS: [&str; 11] = [
    "out",
    "dir",
    "checksum",
    "header",
    "referer",
    "user-agent",
    "http-user",
    "http-passwd",
    "split",
    "max-connection-per-server",
    "min-split-size",
];

const NO_UTF8: &str = "the line is not in UTF-8";

fn too_long() -> String {
    format!("the line is longer than {LONGEST} bytes")
}

fn is_indented(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t")
}

/// Why an option was not taken.
enum Refusal {
    /// It means nothing here.
    Unused(String),
    Wrong(String),
}

fn set(entry: &mut Entry, text: &str) -> Result<(), Refusal> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(Refusal::Wrong(format!("`{}` is neither a URL nor an option such as `out=NAME`", shown(text))));
    };
    let (name, value) = (name.trim_end(), value.trim_start());
    let options = entry.options_mut();
    let text = || Some(value.to_owned());
    match name {
        "out" => options.name = text(),
        "dir" => options.folder = text(),
        "checksum" => options.checksum = Some(value.parse().map_err(Refusal::Wrong)?),
        "header" => options.headers.push(header(value).map_err(Refusal::Wrong)?),
        "referer" => options.referer = text(),
        "user-agent" => options.user_agent = text(),
        "http-user" => options.user = text(),
        "http-passwd" => options.password = text(),
        "split" => options.pieces.at_most = Some(number(value).map_err(Refusal::Wrong)?),
        "max-connection-per-server" => options.pieces.per_server = Some(number(value).map_err(Refusal::Wrong)?),
        "min-split-size" => {
            let wrong = |what| Refusal::Wrong(format!("`{}` is no size: {what}", shown(value)));
            options.pieces.at_least = Some(size(value).map_err(wrong)?);
        }
        _ => return Err(Refusal::Unused(name.into())),
    }
    Ok(())
}

fn number(text: &str) -> Result<u32, String> {
    let number = text.trim_end().parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{}` is no number above 0", shown(text)))
}

/// Reads an amount of data: `500`, `64k`, `20M`, `4G`, in powers of 1024 as aria2, curl and wget have it.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1_u64 << 30),
        _ => (text, 1),
    };
    let number = number.parse::<u64>().ok().filter(|number| *number > 0);
    number.and_then(|number| number.checked_mul(factor)).ok_or_else(|| "write it as in 500k, 20M or 4G".into())
}

/// Reads `Name: value`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let token = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char);
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() && name.chars().all(token) && !value.chars().any(char::is_control) => {
            Ok((name.into(), value.trim().into()))
        }
        _ => Err(format!("`{}` is no header of the form `Name: value`", shown(text))),
    }
}

fn problem(place: Place, text: &str, what: &str, hint: Option<&str>) -> Problem {
    Problem { place, text: shown(text), what: what.into(), hint: hint.map(Into::into) }
}

/// A text for a message: on one line, not too long, and without the credentials of a URL.
fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let open = without_credentials(text);
    let clean = |char: char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char };
    let mut shown: String = open.chars().take(MOST).map(clean).collect();
    if open.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

fn without_credentials(text: &str) -> String {
    if let Some((name, _)) = text.split_once('=').filter(|(name, _)| matches!(*name, "http-passwd" | "header")) {
        return format!("{name}=…");
    }
    let mut open = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (head, tail) = rest.split_at(start + 3);
        open += head;
        let authority = tail.find(['/', '?', '#', '\\', '\t', ' ']).unwrap_or(tail.len());
        rest = &tail[tail[..authority].rfind('@').map_or(0, |at| at + 1)..];
    }
    open + rest
}

/// Why there is no line to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unreadable {
    TooLong,
    Utf16,
}

/// The lines of a stream, of which no more than the longest is held.
struct Lines<R> {
    read: BufReader<R>,
    /// The number of the line that was read last, from one.
    number: u64,
    /// That line, without what ends it, or the beginning of one that is too long.
    line: Vec<u8>,
}

impl<R: Read> Lines<R> {
    fn next(&mut self) -> io::Result<Option<Result<(), Unreadable>>> {
        self.line.clear();
        let limit = LONGEST as u64 + 2;
        if self.read.by_ref().take(limit).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        if self.number == 1 {
            if self.line.starts_with(b"\xff\xfe") || self.line.starts_with(b"\xfe\xff") {
                return Ok(Some(Err(Unreadable::Utf16)));
            }
            if self.line.starts_with(b"\xef\xbb\xbf") {
                self.line.drain(..3);
            }
        }
        let ended = self.line.pop_if(|last| *last == b'\n').is_some();
        self.line.pop_if(|last| *last == b'\r');
        if self.line.len() <= LONGEST {
            return Ok(Some(Ok(())));
        }
        if !ended {
            self.skip_line()?;
        }
        Ok(Some(Err(Unreadable::TooLong)))
    }

    /// Whether there is a whole line to be had without reading.
    fn has_line(&self) -> bool {
        memchr::memchr(b'\n', self.read.buffer()).is_some()
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let held = match self.read.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(held) => held,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            match memchr::memchr(b'\n', held) {
                Some(end) => {
                    self.read.consume(end + 1);
                    return Ok(());
                }
                None => {
                    let all = held.len();
                    self.read.consume(all);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Vec<Found> {
        let mut list = List::new(text, "l", || false);
        std::iter::from_fn(|| list.next().unwrap()).collect()
    }

    /// What was found, in a line each.
    fn shown(text: &str) -> Vec<String> {
        let one = |found| match found {
            Found::Entry(entry) => match entry.options() {
                None => entry.url.to_string(),
                Some(options) => {
                    let mut shown = entry.url.to_string();
                    let Options {
                        mirrors,
                        name,
                        folder,
                        checksum,
                        headers,
                        referer,
                        user_agent,
                        user,
                        password,
                        pieces,
                    } = options;
                    mirrors.iter().for_each(|mirror| shown += &format!(" | {mirror}"));
                    let texts = [
                        ("name", name),
                        ("dir", folder),
                        ("referer", referer),
                        ("agent", user_agent),
                        ("user", user),
                        ("password", password),
                    ];
                    texts
                        .iter()
                        .for_each(|(what, text)| text.iter().for_each(|text| shown += &format!(" {what}={text}")));
                    checksum.iter().for_each(|checksum| shown += &format!(" {checksum}"));
                    headers.iter().for_each(|(name, value)| shown += &format!(" {name}: {value}"));
                    let PiecesAsked { at_most, per_server, at_least } = *pieces;
                    let numbers = [at_most.map(u64::from), per_server.map(u64::from), at_least];
                    if numbers.iter().any(Option::is_some) {
                        shown += &format!(" {numbers:?}");
                    }
                    shown
                }
            },
            Found::Problem(problem) => format!("! {problem}"),
            Found::Unused { place, option } => format!("? {place} {option}"),
        };
        read(text.as_bytes()).into_iter().map(one).collect()
    }

    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

    #[test]
    fn entries_are_counted_wherever_what_is_read_is_cut() {
        /// Reads byte by byte.
        struct Slowly<'t>(&'t [u8]);

        impl Read for Slowly<'_> {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                let length = to.len().min(1);
                self.0.read(&mut to[..length])
            }
        }

        for (list, entries) in [
            ("", 0),
            ("http://h/a", 1),
            ("http://h/a\n", 1),
            (
                "# three\r\nhttp://h/a\n  out=b\n\thttp://h/c\n  referer=http://r/\n # no\n\nhttp://h/b\tname\r\n\r\n \t\n",
                3,
            ),
            ("http://h/a\n  \n  http://h/b", 2),
        ] {
            assert_eq!(count(list.as_bytes()).unwrap(), entries, "{list:?}");
            assert_eq!(count(Slowly(list.as_bytes())).unwrap(), entries, "{list:?} in pieces");
        }
    }

    #[test]
    fn a_line_is_a_url_with_its_name_mirrors_and_checksum() {
        assert_eq!(
            shown(&format!(
                "\u{feff}# files\r\n\r\nhttp://h/a\r\nHTTP://H:80/b#x\tb.txt\nhttp://h/c\thttps://m/c\t{MD5}\tsub/c\n  http://h/d  "
            )),
            [
                "http://h/a".to_owned(),
                "http://h/b name=b.txt".into(),
                format!("http://h/c | https://m/c name=sub/c md5:{MD5}"),
                "http://h/d".into(),
            ]
        );
    }

    #[test]
    fn indented_lines_are_options_as_aria2_has_them() {
        let list = format!(
            "http://h/a\thttp://m/a\n  out=x\n\tdir=d/e\n  checksum=md5={MD5}\n # a comment\n  header=X-A: b\n  header=Y:c\n  \
             referer=http://r/\n  user-agent=me\n  http-user=u\n  http-passwd=p\nhttp://h/b"
        );

        assert_eq!(
            shown(&list),
            [
                &*format!(
                    "http://h/a | http://m/a name=x dir=d/e referer=http://r/ agent=me user=u password=p md5:{MD5} X-A: b Y: c"
                ),
                "http://h/b"
            ]
        );
    }

    #[test]
    fn an_option_that_means_nothing_here_is_told_once() {
        assert_eq!(
            shown("http://h/a\n  gid=5\n  pause=true\nhttp://h/b\n  gid=6\n"),
            ["? l:2 gid", "? l:3 pause", "http://h/a", "http://h/b"]
        );
    }

    #[test]
    fn what_aria2_calls_splitting_is_read_with_its_units() {
        let list = "http://h/a\n  split=5\n  max-connection-per-server=4\n  min-split-size=1M\nhttp://h/b\n  split=0\n\
                    http://h/c\n  min-split-size=1x\n";

        assert_eq!(
            shown(list),
            [
                "http://h/a [Some(5), Some(4), Some(1048576)]",
                "! l:6: `0` is no number above 0",
                "! l:8: `1x` is no size: write it as in 500k, 20M or 4G"
            ]
        );
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(["500", "64k", "20M", "4G"].map(size), [Ok(500), Ok(65_536), Ok(20_971_520), Ok(4_294_967_296)]);
        for wrong in ["0", "k", "-1", "1.5M", "99999999999G", ""] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_option_that_cannot_be_read_is_unused_if_it_means_nothing_and_takes_its_entry_if_it_does() {
        let told = |option: &[u8]| {
            let list = [b"http://h/a\n  ", option, b"=caf\xe9\n  checksum=bad\nhttp://h/b"].concat();
            read(&list).iter().map(|found| format!("{found:?}")).collect::<Vec<_>>()
        };
        let long = format!("http://h/a\n  gid={}\n  out=x\nhttp://h/b", "9".repeat(LONGEST));

        let [unknown, known] = [told(b"gid"), told(b"out")];

        assert!(unknown[0].starts_with("Unused") && unknown[1].contains("checksum"), "{unknown:?}");
        assert!(known[0].contains(NO_UTF8) && known.len() == 2, "{known:?}");
        assert_eq!(shown(&long), ["? l:2 gid", "http://h/a name=x", "http://h/b"]);
    }

    #[test]
    fn every_option_that_means_something_is_known_by_its_name() {
        for option in OPTIONS {
            let mut entry = argument("http://h/a", 1).unwrap();
            assert!(!matches!(set(&mut entry, &format!("{option}=x")), Err(Refusal::Unused(_))), "{option}");
        }
        let all = all_options();
        let written: Vec<_> =
            all.lines().filter_map(|line| Some(line.strip_prefix("  ")?.split_once('=')?.0)).collect();
        assert_eq!(written, OPTIONS);
    }

    #[test]
    fn credentials_are_no_part_of_the_url() {
        assert_eq!(shown("http://me:p%40ss@h/a"), ["http://h/a user=me password=p@ss"]);
        let Found::Problem(problem) = &read(b"ftp://me:secret@h/a")[0] else { panic!() };
        assert!(!format!("{problem:?}").contains("secret"), "{problem:?}");
        let Found::Problem(problem) = &read(b"  http-passwd=secret")[0] else { panic!() };
        assert!(!format!("{problem:?}").contains("secret"), "{problem:?}");
    }

    #[test]
    fn a_line_that_is_none_is_told_with_its_place_and_the_rest_goes_on() {
        for (line, told) in [
            ("example.org/a", "`example.org/a` has no scheme"),
            ("localhost:80/a", "`localhost:80/a` has no scheme"),
            ("ftp://h/a", "`ftp://h/a` is not of http or https"),
            ("http://", "`http://` is no URL: empty host"),
            ("http://h:99999/", "`http://h:99999/` is no URL: invalid port number"),
            ("http://h/a\x01", "`http://h/a\u{fffd}` has a control character"),
            ("http://h/a\tb\tc", "there are two names for one URL"),
            ("http://h/a\tmd5:00", "md5 has 32 digits, not 2"),
            ("http://h/a\n  checksum=xy", "`xy` is no checksum"),
            ("http://h/a\n  header=x", "`x` is no header of the form `Name: value`"),
            ("http://h/a\n  nonsense", "`nonsense` is neither a URL nor an option such as `out=NAME`"),
            ("http://h/a\n\n  out=x", "there is no URL above this option"),
        ] {
            let found = shown(&format!("{line}\nhttp://h/next"));
            let problems: Vec<&String> = found.iter().filter(|found| found.starts_with('!')).collect();
            assert!(problems.len() == 1 && problems[0].contains(told), "{line}: {found:?}");
            assert_eq!(found.last().unwrap(), "http://h/next", "{line}");
        }
    }

    #[test]
    fn a_refused_line_takes_its_options_with_it() {
        assert_eq!(shown("http:///\n  out=x\nhttp://h/b").len(), 2);
        assert_eq!(shown("nonsense\n  out=x\n  checksum=bad\nhttp://h/b")[1], "http://h/b");
    }

    #[test]
    fn lines_that_are_too_long_or_in_another_encoding_are_told() {
        let long = [&b"http://h/"[..], &vec![b'a'; 70_000], b"\nhttp://h/b"].concat();
        let found = read(&long);
        assert!(
            matches!(&found[0], Found::Problem(problem) if problem.what.contains("longer") && problem.text.len() < 300)
        );
        assert!(matches!(&found[1], Found::Entry(entry) if entry.place.line == 2));

        let latin = read(b"http://h/\xe9\nhttp://h/b");
        assert!(matches!(&latin[0], Found::Problem(problem) if problem.what == "the line is not in UTF-8"));
        assert_eq!(latin.len(), 2);

        let wide: Vec<u8> = [&b"\xff\xfe"[..], b"h\0t\0t\0p\0\n\0"].concat();
        let found = read(&wide);
        assert!(matches!(&found[..], [Found::Problem(problem)] if problem.what.contains("UTF-16")));
    }

    #[test]
    fn the_longest_line_is_read() {
        let url = format!("http://h/{}", "a".repeat(LONGEST - 9));
        assert_eq!(shown(&format!("{url}\r\n")), [url]);
    }

    /// An entry with all that can be said of one.
    fn all_options() -> String {
        format!(
            "http://h/a\thttp://m/a\n  out=x\n  dir=d\n  checksum=md5:{MD5}\n  header=X-A: b\n  referer=r\n  user-agent=me\n  \
             http-user=u\n  http-passwd=p\n  split=3\n  max-connection-per-server=2\n  min-split-size=100\n"
        )
    }

    #[test]
    fn an_entry_reads_back_as_it_is_written() {
        let list = all_options();
        let Found::Entry(entry) = read(list.as_bytes()).remove(0) else { panic!() };

        assert_eq!(write(&entry.url, entry.options(), None), list);
        assert_eq!(write(&entry.url, entry.options(), Some("y/z")), list.replace("out=x\n  dir=d", "out=y/z"));
        assert_eq!(write(&entry.url, None, None), "http://h/a\n");
    }

    #[test]
    fn an_entry_does_not_wait_for_a_pipe_that_is_silent() {
        let mut list = List::new(&b"http://h/a\n  out=x\n"[..], "l", || true);

        assert!(matches!(list.next().unwrap(), Some(Found::Entry(entry)) if entry.options().unwrap().name.is_some()));
    }

    proptest! {
        #[test]
        fn a_url_is_the_same_whatever_came_before_it(
            place in r"(http|HTTP|https|ftp)(:/{0,3})(h|H|h:80|1\.2|é|u:p@h|)",
            paths in proptest::collection::vec(r"[/\\?#@:]{0,2}[a/\\?#@:%2e. é]{0,7}", 2..8),
        ) {
            let read = |text: &str, urls: &mut Urls| {
                wanted(text.trim(), "", urls).map(|wanted| (wanted.url, wanted.user, wanted.password))
            };
            let mut urls = Urls::default();
            for path in &paths {
                let text = format!("{place}{path}");
                prop_assert_eq!(read(&text, &mut urls), read(&text, &mut Urls::default()), "{}", text);
            }
        }

        #[test]
        fn no_list_breaks_the_reader_and_no_line_is_passed_over(
            lines in prop::collection::vec("(https?://h/[a-z]{0,3}(\t[a-z:/]{1,9}){0,2}|[ -~\t]{0,12}|  [a-z]{3,8}=[a-z]{0,4}|\u{e9})", 0..20),
            ending in "\r?\n",
        ) {
            let text = lines.join(&ending);
            let found = read(text.as_bytes());
            let urls = lines.iter().filter(|line| line.starts_with("http")).count();
            let told = found.iter().filter(|found| !matches!(found, Found::Unused { .. })).count();
            assert!(told >= urls, "{found:?}");
        }

        #[test]
        fn no_bytes_break_the_reader(text in any::<Vec<u8>>()) {
            read(&text);
        }
    }
}
