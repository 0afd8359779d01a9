//! What a run leaves for the next one: which files are whole, so that only the rest is fetched.
//!
//! It lies in a folder of its own within that of the downloads, with the parts of files that are not whole, and is held by
//! one run at a time. A line is written when a file is whole and before it gets its name, with those of all others that are
//! whole by then: so a run that is killed has either not begun to rename, or the next one finds the line, and the file as
//! a part under the same size and time, and gives it its name without asking the server again.
//!
//! The lines stay in the file. In memory there is, for each, where it stands: twelve bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::hashes::{ASCII, Key, Table};
use super::names::OWN_FOLDER;
pub(crate) use super::record::Record;

/// The first line, which tells that this version can read the rest.
const HEAD: &[u8] = b"raincheck fetch: what is whole, version 1\n";
const NAME: &str = "journal";
/// The parts of files, below [`OWN_FOLDER`].
const PARTS: &str = "parts";
/// No line is shorter, so that at most one begins within so many bytes.
const GRAIN: u64 = 16;
/// So much is read at a time.
const READ: usize = 256 * 1024;
/// A URL can have so many bytes, and a line not many more.
const LONGEST_LINE: usize = 256 * 1024;
/// A journal is written anew if it has more lines than that that say nothing any more, and more than others.
const MANY: usize = 1000;

/// What earlier runs have left, and what this one has come by.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// `None` if there was no journal.
    file: Option<File>,
    /// Where each key's line begins, in grains; with [`MET`] if this run has come by it.
    places: Table<u32>,
    /// What this run has come by, and earlier ones have not.
    met: Table<()>,
    /// How many lines there were, and how far they reach.
    lines: usize,
    whole: u64,
}

const MET: u32 = 1 << 31;

/// A journal that is being written. Dropping it takes away what it has made, if there is nothing in it that anyone could use.
#[derive(Debug)]
pub(crate) struct Journal {
    folder: PathBuf,
    /// The folder of the downloads and those around it, from within, so far as they were not there before.
    made: Vec<PathBuf>,
    file: Mutex<Writing>,
    /// Held until the end, as long as the process lives and no longer.
    _lock: File,
}

#[derive(Debug)]
struct Writing {
    file: File,
    /// How far it is written.
    end: u64,
    /// What is noted and not written yet, which is of this batch.
    lines: Vec<u8>,
    batch: u64,
    /// The batches that could not be written, and why.
    lost: Vec<(u64, io::ErrorKind)>,
}

/// The lines that are written together with this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch(u64);

/// Why there is no journal.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Where the downloads are to go is something else.
    NoFolder,
    /// Another run has it.
    Held,
    /// The file is none, or one of a later version.
    Unknown(PathBuf),
    Io(PathBuf, io::Error),
}

/// Where the part of a file lies that is not whole, below the folder of the downloads.
pub(crate) fn part(key: Key) -> String {
    let digits = key.digits();
    let mut path = String::with_capacity(64);
    path.extend([OWN_FOLDER, "/", PARTS, "/", std::str::from_utf8(&digits).expect(ASCII)]);
    path
}

impl Past {
    /// Reads the journal of a folder, and tells `each` what is in it.
    ///
    /// # Errors
    ///
    /// If there is one that cannot be read.
    pub(crate) fn read(dir: &Path, each: impl FnMut(&Record<'_>)) -> Result<Self, Trouble> {
        let path = dir.join(OWN_FOLDER).join(NAME);
        match File::open(&path) {
            Ok(file) => Self::load(file, &path, each),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(error) => Err(Trouble::Io(path, error)),
        }
    }

    fn load(file: File, path: &Path, mut each: impl FnMut(&Record<'_>)) -> Result<Self, Trouble> {
        let failed = |error| Trouble::Io(path.to_owned(), error);
        let mut read = BufReader::with_capacity(READ, &file);
        let mut line = Vec::new();
        read.read_until(b'\n', &mut line).map_err(failed)?;
        if !HEAD.starts_with(&line) {
            return Err(Trouble::Unknown(path.to_owned()));
        }
        let mut whole = if line == HEAD { HEAD.len() as u64 } else { 0 };
        let (mut keys, mut places, mut lines) = (Vec::new(), Vec::new(), 0);
        // Of a line that was cut off there is no end; of one that is damaged, there is.
        while next_line(&mut read, &mut line).map_err(failed)? {
            if let (Some(record), Ok(place)) = (Record::parse(&line[..line.len() - 1]), u32::try_from(whole / GRAIN))
                && place < MET
            {
                each(&record);
                keys.push(record.key.0);
                places.push(place);
            }
            lines += 1;
            whole += line.len() as u64;
        }
        keys.shrink_to_fit();
        places.shrink_to_fit();
        Ok(Self { file: Some(file), places: Table::from_pairs(keys, places), met: Table::default(), lines, whole })
    }

    /// Whether earlier runs have written nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.len() == 0
    }

    /// Notes that this run has come by the key. Returns whether it is for the first time.
    pub(crate) fn meet(&mut self, key: Key) -> bool {
        match self.places.get(key.0) {
            Some(place) => {
                self.places.insert(key.0, place | MET);
                place & MET == 0
            }
            None => self.met.insert(key.0, ()),
        }
    }

    /// What an earlier run has written of the URL with this key.
    pub(crate) fn record(&self, key: Key, url: &str) -> Option<Record<'static>> {
        let place = self.places.get(key.0)?;
        // One that cannot be read any more is none: then the file is fetched again.
        let record = self.line_at(u64::from(place & !MET) * GRAIN, key)?;
        (record.url == url).then_some(record)
    }

    /// The line of this key that begins in the grain from there.
    fn line_at(&self, place: u64, key: Key) -> Option<Record<'static>> {
        let file = self.file.as_ref()?;
        // With the end of the line before, so that it is seen where one begins.
        let from = place.checked_sub(1)?;
        let mut bytes = vec![0; 1024];
        let mut length = read_at(file, &mut bytes, from)?;
        loop {
            let starts = memchr::memchr_iter(b'\n', &bytes[..length.min(GRAIN as usize)]);
            let lines = starts.map(|end| &bytes[end + 1..length]);
            let mut ended = lines.filter_map(|line| Some(&line[..memchr::memchr(b'\n', line)?]));
            if let Some(record) = ended.find_map(|line| Record::parse(line).filter(|record| record.key == key)) {
                return Some(record.into_owned());
            }
            if bytes.len() >= LONGEST_LINE || length < bytes.len() {
                return None;
            }
            bytes.resize(LONGEST_LINE, 0);
            length = read_at(file, &mut bytes, from)?;
        }
    }
}

fn next_line(read: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    read.read_until(b'\n', line)?;
    Ok(line.last() == Some(&b'\n'))
}

/// Reads as much as there is room for, or is there.
fn read_at(file: &File, bytes: &mut [u8], from: u64) -> Option<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], from + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(length)
}

impl Journal {
    /// Goes on with the journal of a folder, or begins one; `each` is told what is in it.
    ///
    /// # Errors
    ///
    /// If another run has it, or it cannot be read or written.
    pub(crate) fn open(dir: &Path, each: impl FnMut(&Record<'_>)) -> Result<(Self, Past), Trouble> {
        let folder = dir.join(OWN_FOLDER);
        let failed = |error| Trouble::Io(folder.clone(), error);
        let is_none = |there: fs::Metadata| !there.is_dir();
        if fs::metadata(dir).is_ok_and(is_none) {
            return Err(Trouble::NoFolder);
        }
        let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && fs::symlink_metadata(folder).is_err();
        let made = dir.ancestors().take_while(is_missing).map(Path::to_owned).collect();
        fs::create_dir_all(dir).map_err(failed)?;
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        // A link that somebody has put there would lead us to write elsewhere.
        if !fs::symlink_metadata(&folder).map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        let lock = held(&folder)?;
        let path = folder.join(NAME);
        let failed = |error| Trouble::Io(path.clone(), error);
        let mut past = Past::load(open(&path).map_err(failed)?, &path, each)?;
        if past.lines > 2 * past.places.len() + MANY {
            past = past.compact(&folder).map_err(failed)?;
        }
        let mut file = past.file.as_ref().expect("it was just loaded").try_clone().map_err(failed)?;
        file.set_len(past.whole).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
        if past.whole == 0 {
            file.write_all(HEAD).map_err(failed)?;
        }
        let end = past.whole.max(HEAD.len() as u64);
        let file = Mutex::new(Writing { file, end, lines: Vec::new(), batch: 0, lost: Vec::new() });
        Ok((Self { folder, made, file, _lock: lock }, past))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Notes that a file is whole. It is not written down yet, but [`write`](Self::write) does that for all that are noted by then.
    pub(crate) fn note(&self, record: &Record<'_>) -> Batch {
        let mut writing = self.writing();
        record.write(&mut writing.lines);
        Batch(writing.batch)
    }

    /// Writes down what is noted, unless somebody has, since this batch. To be called before one of these files gets its name.
    ///
    /// # Errors
    ///
    /// If that could not be written, for all of the batch: the next run knows nothing of it.
    pub(crate) fn write(&self, batch: Batch) -> io::Result<()> {
        let mut writing = self.writing();
        if writing.batch == batch.0 {
            return writing.write();
        }
        match writing.lost.iter().find(|(lost, _)| *lost == batch.0) {
            Some((_, why)) => Err((*why).into()),
            None => Ok(()),
        }
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.file.lock().expect("the lock is held by the journal alone")
    }

    /// Removes parts of files that nobody wants any more: all that are ours but those of which `keeps` says otherwise.
    pub(crate) fn clear(&self, keeps: impl Fn(Key) -> bool) {
        for entry in fs::read_dir(self.folder.join(PARTS)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let key = name
                .as_encoded_bytes()
                .split_at_checked(16)
                .filter(|(_, rest)| rest.is_empty() || rest.starts_with(b"-"));
            // Whatever else lies there is not ours.
            if let Some(key) = key.and_then(|(key, _)| Key::parse(key))
                && !keeps(key)
            {
                // The next run comes past it again.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // What is not empty is not removed, as it should be.
        let _ = fs::remove_dir(self.folder.join(PARTS));
        if !self.file.get_mut().is_ok_and(|writing| writing.end <= HEAD.len() as u64) {
            return;
        }
        let _ = fs::remove_file(self.folder.join(NAME));
        if fs::remove_dir(&self.folder).is_ok() {
            let _ = self.made.iter().try_for_each(fs::remove_dir);
        }
    }
}

impl Writing {
    fn write(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.lines);
        match &written {
            Ok(()) => self.end += self.lines.len() as u64,
            Err(error) => {
                self.lost.push((self.batch, error.kind()));
                // A disk that is full, say. Half of a line would spoil the next one, and whole ones are not true. If this does not
                // work either, the next run takes half a line for none.
                let _ = self.file.set_len(self.end).and_then(|()| self.file.seek(SeekFrom::Start(self.end)));
            }
        }
        self.lines.clear();
        self.batch += 1;
        written
    }
}

/// Holds the folder, and waits for nobody: two runs in one would take each other's parts.
fn held(folder: &Path) -> Result<File, Trouble> {
    let failed = |error| Trouble::Io(folder.to_owned(), error);
    let lock = File::open(folder).map_err(failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(Trouble::Held),
        // Some file systems have no locks, or none for folders: there it is up to the user.
        Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::BADF) | Ok(()) => Ok(lock),
        Err(error) => Err(failed(error.into())),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().read(true).write(true).create(true).truncate(false).custom_flags(no_link).open(path)
}

impl Past {
    /// Writes the lines that count into a new journal, which takes the place of the old one at once.
    fn compact(self, folder: &Path) -> io::Result<Self> {
        let (path, new) = (folder.join(NAME), folder.join("journal-new"));
        let Some(mut old) = self.file else { return Ok(Self::default()) };
        old.seek(SeekFrom::Start(HEAD.len() as u64))?;
        let mut read = BufReader::with_capacity(READ, old);
        let _ = fs::remove_file(&new);
        let mut written = BufWriter::with_capacity(READ, open(&new)?);
        written.write_all(HEAD)?;
        let (mut line, mut at, mut end) = (Vec::new(), HEAD.len() as u64, HEAD.len() as u64);
        let (mut keys, mut places) = (Vec::with_capacity(self.places.len()), Vec::with_capacity(self.places.len()));
        while next_line(&mut read, &mut line)? {
            if let Some(record) = Record::parse(&line[..line.len() - 1])
                && self.places.get(record.key.0) == u32::try_from(at / GRAIN).ok()
            {
                written.write_all(&line)?;
                keys.push(record.key.0);
                places.push((end / GRAIN) as u32);
                end += line.len() as u64;
            }
            at += line.len() as u64;
        }
        let file = written.into_inner()?;
        // A power failure must not leave the new name on an empty file.
        file.sync_all()?;
        fs::rename(&new, &path)?;
        let lines = keys.len();
        Ok(Self { file: Some(file), places: Table::from_pairs(keys, places), met: Table::default(), lines, whole: end })
    }
}

/// Whether the file that a record tells of is there as it was left.
pub(crate) fn is_there(dir: &Path, record: &Record<'_>) -> bool {
    fs::symlink_metadata(dir.join(&*record.name)).is_ok_and(|there| is_of(&there, record))
}

/// Gives a file its name, if a run was killed that was just about to. Returns whether it was.
pub(crate) fn complete(dir: &Path, record: &Record<'_>) -> bool {
    let part = dir.join(part(record.key));
    let is_whole = || fs::symlink_metadata(&part).is_ok_and(|there| is_of(&there, record));
    let is_free = || fs::symlink_metadata(dir.join(&*record.name)).is_err();
    is_whole() && is_free() && publish(dir, &part, record).is_ok()
}

fn is_of(there: &fs::Metadata, record: &Record<'_>) -> bool {
    there.is_file() && there.len() == record.size && modified(there) == record.modified
}

/// When a file was changed last, in nanoseconds since 1970.
pub(crate) fn modified(there: &fs::Metadata) -> i128 {
    i128::from(there.mtime()) * 1_000_000_000 + i128::from(there.mtime_nsec())
}

fn publish(dir: &Path, part: &Path, record: &Record<'_>) -> io::Result<()> {
    let mut folder = dir.to_owned();
    let (folders, _) = record.name.rsplit_once('/').unwrap_or_default();
    for name in folders.split('/').filter(|name| !name.is_empty()) {
        folder.push(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !fs::symlink_metadata(&folder)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
    }
    fs::rename(part, dir.join(&*record.name))
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn record(number: u64, name: &str) -> Record<'static> {
        Record {
            key: Key(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            url: format!("http://h/{number}").into(),
            name: Cow::Owned(name.to_owned()),
            named_by_server: false,
            size: 4,
            modified: 0,
            fetched: 0,
            etag: None,
            last_modified: None,
            checksum: None,
        }
    }

    fn whole(journal: &Journal, record: &Record<'_>) -> io::Result<()> {
        journal.write(journal.note(record))
    }

    fn reopened(dir: &Path) -> (Past, Vec<String>) {
        let mut names = Vec::new();
        let (_, past) = Journal::open(dir, |record| names.push(record.name.to_string())).unwrap();
        (past, names)
    }

    fn name_of(past: &Past, number: u64) -> Option<String> {
        let record = record(number, "");
        past.record(record.key, &record.url).map(|record| record.name.into_owned())
    }

    #[test]
    fn what_one_run_writes_the_next_one_reads() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path(), |_| ()).unwrap();
        for number in 0..500 {
            whole(&journal, &record(number, &"n".repeat(number as usize * 7 % 3000))).unwrap();
        }
        whole(&journal, &record(3, "again")).unwrap();
        drop(journal);

        let (past, names) = reopened(dir.path());
        assert_eq!((names.len(), past.places.len()), (501, 500));
        for number in 0..500 {
            let name = if number == 3 { "again".into() } else { "n".repeat(number as usize * 7 % 3000) };
            assert_eq!(name_of(&past, number), Some(name));
        }
        assert_eq!(name_of(&past, 500), None);
        assert_eq!(past.record(record(1, "").key, "http://another"), None);
    }

    #[test]
    fn a_line_that_was_cut_off_anywhere_costs_that_line_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path(), |_| ()).unwrap();
        (0..3).for_each(|number| whole(&journal, &record(number, "n")).unwrap());
        drop(journal);
        let path = dir.path().join(OWN_FOLDER).join(NAME);
        let text = fs::read(&path).unwrap();
        let last = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;

        for end in 0..text.len() {
            fs::write(&path, &text[..end]).unwrap();
            let (journal, past) = Journal::open(dir.path(), |_| ()).unwrap();
            if end >= last {
                assert_eq!(past.places.len(), 2);
            }
            whole(&journal, &record(7, "seven")).unwrap();
            drop(journal);
            let (past, _) = reopened(dir.path());
            assert_eq!(name_of(&past, 7).as_deref(), Some("seven"), "cut at {end}");
            if end >= last {
                assert_eq!(name_of(&past, 1).as_deref(), Some("n"));
            }
        }
    }

    #[test]
    fn what_is_noted_together_is_written_together_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path(), |_| ()).unwrap();
        let path = dir.path().join(OWN_FOLDER).join(NAME);
        let written = || fs::read_to_string(&path).unwrap().lines().count() - 1;

        let [one, two] = [1, 2].map(|number| journal.note(&record(number, "n")));
        assert_eq!(written(), 0);
        journal.write(two).unwrap();
        journal.write(one).unwrap();
        assert_eq!(written(), 2);

        // A disk that takes nothing, for a while.
        let usual = std::mem::replace(&mut journal.writing().file, File::open(&path).unwrap());
        let [three, four] = [3, 4].map(|number| journal.note(&record(number, "n")));
        assert!(journal.write(three).is_err());
        journal.writing().file = usual;
        let five = journal.note(&record(5, "n"));
        journal.write(five).unwrap();
        assert!(journal.write(four).is_err(), "it was lost with the third");
        drop(journal);

        let (past, _) = reopened(dir.path());
        let known: Vec<u64> = (1..=5).filter(|number| name_of(&past, *number).is_some()).collect();
        assert_eq!(known, [1, 2, 5]);
    }

    #[test]
    fn two_runs_in_one_folder_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = Journal::open(dir.path(), |_| ()).unwrap();

        assert!(matches!(Journal::open(dir.path(), |_| ()), Err(Trouble::Held)));
        drop(first);
        assert!(Journal::open(dir.path(), |_| ()).is_ok());
    }

    #[test]
    fn what_is_no_journal_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(OWN_FOLDER)).unwrap();
        let path = dir.path().join(OWN_FOLDER).join(NAME);
        fs::write(&path, "raincheck fetch: what is whole, version 2\n").unwrap();

        assert!(matches!(Journal::open(dir.path(), |_| ()), Err(Trouble::Unknown(_))));
        assert!(matches!(Past::read(dir.path(), |_| ()), Err(Trouble::Unknown(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "raincheck fetch: what is whole, version 2\n");
    }

    #[test]
    fn a_link_in_place_of_our_folder_is_not_followed() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join(OWN_FOLDER)).unwrap();

        assert!(matches!(Journal::open(dir.path(), |_| ()), Err(Trouble::Io(..))));
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_journal_of_old_news_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path(), |_| ()).unwrap();
        for round in 0..400 {
            (0..5).for_each(|number| whole(&journal, &record(number, &round.to_string())).unwrap());
        }
        drop(journal);

        for _ in 0..2 {
            let (past, _) = reopened(dir.path());
            assert_eq!(past.lines, 5);
            (0..5).for_each(|number| assert_eq!(name_of(&past, number).as_deref(), Some("399")));
        }
        assert!(fs::metadata(dir.path().join(OWN_FOLDER).join(NAME)).unwrap().len() < 1000);
    }

    #[test]
    fn a_url_is_met_once() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path(), |_| ()).unwrap();
        whole(&journal, &record(1, "one")).unwrap();
        drop(journal);
        let (mut past, _) = reopened(dir.path());

        for number in [1, 2] {
            assert!(past.meet(record(number, "").key));
            assert!(!past.meet(record(number, "").key));
        }
        assert_eq!(name_of(&past, 1).as_deref(), Some("one"));
    }

    #[test]
    fn a_file_is_there_as_it_was_left_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "four").unwrap();
        let mut record = Record { modified: modified(&fs::metadata(&path).unwrap()), ..record(1, "a") };
        assert!(is_there(dir.path(), &record));

        record.size = 5;
        assert!(!is_there(dir.path(), &record));
        record.size = 4;
        record.modified += 1;
        assert!(!is_there(dir.path(), &record));
        fs::remove_file(&path).unwrap();
        assert!(!is_there(dir.path(), &record));
    }

    #[test]
    fn a_file_that_a_kill_kept_from_its_name_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join(part(record(1, "").key));
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        fs::write(&part, "four").unwrap();
        let record = Record { modified: modified(&fs::metadata(&part).unwrap()), ..record(1, "below/a") };

        assert!(!is_there(dir.path(), &record) && complete(dir.path(), &record) && is_there(dir.path(), &record));
        assert!(!complete(dir.path(), &record));
        assert_eq!(fs::read(dir.path().join("below/a")).unwrap(), b"four");
        assert!(!part.exists());
    }

    #[test]
    fn only_what_is_ours_and_of_no_use_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path(), |_| ()).unwrap();
        let parts = dir.path().join(OWN_FOLDER).join(PARTS);
        fs::create_dir(&parts).unwrap();
        let kept = Key(7);
        for name in [&*Key(6).to_string(), &format!("{}-note", Key(6)), &*kept.to_string(), "notes.txt"] {
            fs::write(parts.join(name), "").unwrap();
        }

        journal.clear(|key| key == kept);

        let mut left: Vec<_> = fs::read_dir(&parts).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [&*kept.to_string(), "notes.txt"]);
    }

    #[test]
    fn a_run_that_brought_nothing_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(dir.path(), |_| ()).unwrap();
        journal.clear(|_| false);
        drop(journal);

        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_folders_that_it_has_made_go_with_it_if_nothing_came() {
        let dir = tempfile::tempdir().unwrap();
        let [empty, whole, other] = ["empty", "whole", "other"].map(|name| dir.path().join(name).join("b/c"));
        drop(Journal::open(&empty, |_| ()).unwrap());
        let (journal, _) = Journal::open(&whole, |_| ()).unwrap();
        self::whole(&journal, &record(1, "a")).unwrap();
        drop(journal);
        let journal = Journal::open(&other, |_| ()).unwrap();
        fs::write(dir.path().join("other/b/mine"), "").unwrap();
        drop(journal);

        assert!(!dir.path().join("empty").exists());
        assert!(whole.join(OWN_FOLDER).join(NAME).exists());
        assert!(!other.exists() && dir.path().join("other/b/mine").exists());
    }
}
