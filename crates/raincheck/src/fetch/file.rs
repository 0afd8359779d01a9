//! A file that appears under its name when it is whole, and not before.
//!
//! What comes is written to a temporary file and renamed. Everything goes by handles of folders: no name, whatever it
//! is, and no link that someone puts in the way leads out of the folder that was opened. A body that is small is
//! kept in memory until it is whole, so that a kill finds it either there or not begun.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IoSlice, Read, Write},
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rustix::{
    fs::{self, AtFlags, Mode, OFlags, Timespec, Timestamps},
    io::Errno,
};

use super::checksum::Hasher;

/// What is written at a time. A smaller body is written at once, when it is whole.
const BUFFER: usize = 128 * 1024;
/// So many subfolders are held open.
const OPEN_FOLDERS: usize = 64;
/// A URL and a validator have room in it, and a line for each stretch of a file of some hundred gigabytes.
const LONGEST_NOTE: u64 = 32 * 1024 * 1024;

/// A folder that files go into, and subfolders of it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    root: Arc<OwnedFd>,
    below: Mutex<BTreeMap<OsString, Arc<OwnedFd>>>,
}

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It stays, and the new one is an error.
    Keep,
    Replace,
}

/// A file that is not whole yet.
///
/// Dropped, it leaves what was written if it was told to [`keep`](Self::keep_if_dropped) it, and nothing otherwise.
#[derive(Debug)]
pub(crate) struct Draft {
    folder: Arc<OwnedFd>,
    name: PathBuf,
    state: State,
    /// Not written yet.
    buffer: Vec<u8>,
    /// What came last, and comes after that. Most bodies come in one piece, which need not be copied.
    last: Bytes,
    bytes: u64,
    keeps: bool,
}

#[derive(Debug)]
enum State {
    /// There is no file: all is in the buffer.
    InMemory,
    OnDisk(File),
    /// It has its final name, or is gone. Never left.
    Over,
}

impl Folder {
    /// Opens the folder, and makes it if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let root = fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { path: path.to_owned(), root: Arc::new(root), below: Mutex::default() })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The subfolder that a file of this name lies in, made if it is not there, and the file's own name.
    ///
    /// # Errors
    ///
    /// If the name leads out of the folder, is none, or goes through a link.
    fn locate<'a>(&self, name: &'a Path) -> io::Result<(Arc<OwnedFd>, &'a OsStr)> {
        let mut parts = name.components();
        let Some(Component::Normal(file)) = parts.next_back() else { return Err(leads_out(name)) };
        let parent = parts.as_path().as_os_str();
        if parent.is_empty() {
            return Ok((Arc::clone(&self.root), file));
        }
        let mut below = self.below.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = below.get(parent) {
            return Ok((Arc::clone(folder), file));
        }
        if !parts.clone().all(|part| matches!(part, Component::Normal(_))) {
            return Err(leads_out(name));
        }
        let mut folder = Arc::clone(&self.root);
        for part in parts {
            folder = Arc::new(subfolder(&folder, part.as_os_str())?);
        }
        if below.len() >= OPEN_FOLDERS {
            below.clear();
        }
        below.insert(parent.to_owned(), Arc::clone(&folder));
        Ok((folder, file))
    }

    /// Begins a file under a temporary name. Nothing is on disk before there is more than a little of it.
    pub(crate) fn begin(&self, temporary: &Path) -> io::Result<Draft> {
        let (folder, name) = self.locate(temporary)?;
        Ok(Draft::new(folder, name, State::InMemory, 0))
    }

    /// Goes on with what lies under a temporary name, if it is as long as it should be. What is there is given to `hasher`.
    pub(crate) fn resume(
        &self,
        temporary: &Path,
        bytes: u64,
        hasher: Option<&mut Hasher>,
    ) -> io::Result<Option<Draft>> {
        let (folder, name) = self.locate(temporary)?;
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut file: File = match fs::openat(&*folder, name, flags, Mode::empty()) {
            Ok(file) => file.into(),
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let there = file.metadata()?;
        if !there.is_file() || there.len() != bytes {
            return Ok(None);
        }
        if let Some(hasher) = hasher {
            hash_rest(&mut file, hasher)?;
        }
        let mut draft = Draft::new(folder, name, State::OnDisk(file), bytes);
        draft.keeps = true;
        Ok(Some(draft))
    }

    /// A file under a temporary name that will be so long, to be written to [here and there](Draft::handle): what lies there,
    /// or, if it is to be `new`, an empty one.
    pub(crate) fn open_for_pieces(&self, temporary: &Path, bytes: u64, new: bool) -> io::Result<Draft> {
        let (folder, name) = self.locate(temporary)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = if new { create(&folder, name)? } else { fs::openat(&*folder, name, flags, Mode::empty())?.into() };
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Draft::new(folder, name, State::OnDisk(file), bytes))
    }

    /// How many bytes lie under a temporary name.
    pub(crate) fn partial(&self, temporary: &Path) -> Option<u64> {
        let (folder, name) = self.locate(temporary).ok()?;
        let stat = fs::statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        u64::try_from(stat.st_size).ok()
    }

    /// Removes what lies under a temporary name, if anything does.
    pub(crate) fn clear(&self, temporary: &Path) {
        if let Ok((folder, name)) = self.locate(temporary) {
            // It is litter at worst, and the next run comes past it again.
            let _ = fs::unlinkat(&*folder, name, AtFlags::empty());
        }
    }

    /// Writes down what lies under a temporary name, in a file beside it, in place of what was written down before. Lines
    /// can be added to the file that is returned.
    pub(crate) fn note(&self, temporary: &Path, note: &str) -> io::Result<File> {
        let (folder, name) = self.locate(temporary)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut new = note_name(name);
        new.push("-new");
        let mut file: File = fs::openat(&*folder, &new, flags, Mode::from_raw_mode(0o666))?.into();
        // A kill must not leave half a note.
        file.write_all(note.as_bytes())?;
        fs::renameat(&*folder, &new, &*folder, note_name(name))?;
        Ok(file)
    }

    /// What was written down, if anything was.
    pub(crate) fn noted(&self, temporary: &Path) -> Option<String> {
        let (folder, name) = self.locate(temporary).ok()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file: File = fs::openat(&*folder, note_name(name), flags, Mode::empty()).ok()?.into();
        let mut note = String::new();
        file.take(LONGEST_NOTE).read_to_string(&mut note).ok()?;
        Some(note)
    }

    /// Removes what was written down.
    pub(crate) fn forget(&self, temporary: &Path) {
        if let Ok((folder, name)) = self.locate(temporary) {
            // A note without a part is litter that the next run overwrites.
            let _ = fs::unlinkat(&*folder, note_name(name), AtFlags::empty());
        }
    }

    /// Whether something has this name.
    pub(crate) fn has(&self, name: &Path) -> bool {
        self.locate(name).is_ok_and(|(folder, name)| fs::statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())
    }
}

impl Draft {
    fn new(folder: Arc<OwnedFd>, name: &OsStr, state: State, bytes: u64) -> Self {
        Self { folder, name: name.into(), state, buffer: Vec::new(), last: Bytes::new(), bytes, keeps: false }
    }

    /// How much there is of it.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// From now on, what came stays when this is dropped: another run, or another attempt, can go on with it.
    pub(crate) fn keep_if_dropped(&mut self, keeps: bool) {
        self.keeps = keeps;
    }

    /// Whether some of it goes to disk when so many bytes more are written.
    pub(crate) fn would_flush(&self, more: usize) -> bool {
        self.buffer.len() + self.last.len() + more >= BUFFER
    }

    /// Adds what came.
    pub(crate) fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if self.would_flush(bytes.len()) {
            self.flush()?;
            if bytes.len() >= BUFFER / 2 {
                return self.file()?.write_all(&bytes);
            }
        }
        let before = std::mem::replace(&mut self.last, bytes);
        self.buffer.extend_from_slice(&before);
        Ok(())
    }

    /// Whether the next bytes, or those before, are on disk already.
    pub(crate) fn is_on_disk(&self) -> bool {
        matches!(self.state, State::OnDisk(_))
    }

    /// Whether what came is on disk, or will be when this is dropped.
    pub(crate) fn stays(&self) -> bool {
        self.is_on_disk() || self.keeps
    }

    /// Whether so many bytes are not kept in memory until they are whole.
    pub(crate) fn is_large(bytes: u64) -> bool {
        bytes >= BUFFER as u64
    }

    /// Writes out what came, so that another attempt can go on with it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let (buffer, last) = (std::mem::take(&mut self.buffer), std::mem::take(&mut self.last));
        if !buffer.is_empty() || !last.is_empty() {
            write_both(self.file()?, &buffer, &last)?;
        }
        // Kept for its room.
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    /// Cuts off so many bytes at its end, or half of it if that is less, of what is on disk, but leaves the first `kept` bytes.
    /// What is not written yet is dropped: it would be written behind the cut.
    pub(crate) fn give_back(&mut self, room: u64, kept: u64) {
        self.buffer.clear();
        self.last.clear();
        if let State::OnDisk(file) = &self.state
            && let Ok(there) = file.metadata()
        {
            let (length, room) = (there.len(), room.min(there.len() / 2));
            // Where that does not work, it stays as it is.
            let _ = file.set_len((length - room).max(kept.min(length)));
        }
    }

    /// Everything is written, under the temporary name still; `bytes` are the last of it, or all.
    ///
    /// The time is that of the last change, as the server told it.
    pub(crate) fn complete(&mut self, modified: Option<SystemTime>, sync: bool) -> io::Result<&File> {
        self.flush()?;
        let file = self.file()?;
        if let Some(modified) = modified {
            fs::futimens(&*file, &times(modified))?;
        }
        if sync {
            file.sync_all()?;
        }
        Ok(file)
    }

    /// The file, to write to and read from in places.
    pub(crate) fn handle(&mut self) -> io::Result<File> {
        self.file()?.try_clone()
    }

    /// Gives a file that is [complete](Self::complete) its name.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken and what has it is to be kept; the draft is gone then, as after any error.
    pub(crate) fn publish(mut self, folder: &Folder, name: &Path, taken: Taken) -> io::Result<()> {
        let (to, name) = folder.locate(name)?;
        match rename(&self.folder, self.name.as_os_str(), &to, name, taken) {
            Ok(()) => {
                self.state = State::Over;
                Ok(())
            }
            Err(error) => {
                self.keeps = false;
                match error.kind() {
                    io::ErrorKind::CrossesDevices => carry_over(self.file()?, &to, name, taken),
                    _ => Err(error),
                }
            }
        }
    }

    /// Removes it.
    pub(crate) fn discard(mut self) {
        self.keeps = false;
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if !matches!(self.state, State::OnDisk(_)) {
            self.state = State::OnDisk(create(&self.folder, self.name.as_os_str())?);
        }
        match &mut self.state {
            State::OnDisk(file) => Ok(file),
            State::InMemory | State::Over => unreachable!("it was just opened"),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.keeps && !matches!(self.state, State::Over) && self.flush().is_ok() {
            return;
        }
        if !matches!(self.state, State::OnDisk(_)) {
            return;
        }
        // Nobody is there to be told, and the next run clears it.
        let _ = fs::unlinkat(&*self.folder, &self.name, AtFlags::empty());
    }
}

/// Writes one after the other, at once if the system does.
fn write_both(file: &mut File, one: &[u8], other: &[u8]) -> io::Result<()> {
    let written = if one.is_empty() || other.is_empty() {
        0
    } else {
        file.write_vectored(&[IoSlice::new(one), IoSlice::new(other)])?
    };
    file.write_all(one.get(written..).unwrap_or_default())?;
    file.write_all(&other[written.saturating_sub(one.len())..])
}

/// Opens a subfolder, and makes it if it is not there. A link is none, wherever it leads.
fn subfolder(of: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match fs::openat(of, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return Ok(opened?),
    }
    match fs::mkdirat(of, name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => Ok(fs::openat(of, name, flags, Mode::empty())?),
        Err(error) => Err(error.into()),
    }
}

/// Creates a file, in place of a temporary one that was left behind.
fn create(folder: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o666);
    match fs::openat(folder, name, flags, mode) {
        Err(Errno::EXIST) => {
            fs::unlinkat(folder, name, AtFlags::empty())?;
            Ok(fs::openat(folder, name, flags, mode)?.into())
        }
        opened => Ok(opened?.into()),
    }
}

fn rename(from: &OwnedFd, old: &OsStr, to: &OwnedFd, new: &OsStr, taken: Taken) -> io::Result<()> {
    if taken == Taken::Replace {
        return Ok(fs::renameat(from, old, to, new)?);
    }
    match rename_if_free(from, old, to, new) {
        // File systems that do not know how have hard links, as a rule, which never replace anything either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::linkat(from, old, to, new, AtFlags::empty())?;
            fs::unlinkat(from, old, AtFlags::empty())?;
            Ok(())
        }
        renamed => Ok(renamed?),
    }
}

/// Gives the name, on another file system, to a copy that has none before it is whole: a kill leaves nothing of it there.
#[cfg(target_os = "linux")]
fn carry_over(file: &File, to: &OwnedFd, name: &OsStr, taken: Taken) -> io::Result<()> {
    use std::{io::Seek as _, os::fd::AsRawFd as _};

    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let mut copy: File = match fs::openat(to, ".", flags, Mode::from_raw_mode(0o666)) {
        // It has no files without names.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => return Err(Errno::XDEV.into()),
        opened => opened?.into(),
    };
    let there = file.metadata()?;
    let mut from = file;
    from.rewind()?;
    io::copy(&mut from, &mut copy)?;
    // What is known of the one is then true of the other.
    fs::futimens(&copy, &times(there.modified()?))?;
    copy.sync_all()?;
    let nameless = format!("/proc/self/fd/{}", copy.as_raw_fd());
    let link = || fs::linkat(fs::CWD, &nameless, to, name, AtFlags::SYMLINK_FOLLOW);
    match link() {
        Err(Errno::EXIST) if taken == Taken::Replace => {
            fs::unlinkat(to, name, AtFlags::empty())?;
            Ok(link()?)
        }
        linked => Ok(linked?),
    }
}

#[cfg(not(target_os = "linux"))]
fn carry_over(_: &File, _: &OwnedFd, _: &OsStr, _: Taken) -> io::Result<()> {
    Err(Errno::XDEV.into())
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_if_free(from: &OwnedFd, old: &OsStr, to: &OwnedFd, new: &OsStr) -> rustix::io::Result<()> {
    fs::renameat_with(from, old, to, new, fs::RenameFlags::NOREPLACE)
}

/// Other systems have no such call.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_if_free(_: &OwnedFd, _: &OsStr, _: &OwnedFd, _: &OsStr) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

/// Gives the hasher what the file has, from its beginning.
fn hash_rest(file: &mut File, hasher: &mut Hasher) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Gives the hasher all of the file, wherever it was read last. Ends with an error as soon as it is no longer wanted.
pub(crate) fn hash_all(file: &File, hasher: &mut Hasher, is_unwanted: impl Fn() -> bool) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut at = 0;
    while !is_unwanted() {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(()),
            read => {
                hasher.update(&buffer[..read]);
                at += read as u64;
            }
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}

fn times(modified: SystemTime) -> Timestamps {
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let last_modification =
        Timespec { tv_sec: since.as_secs().try_into().unwrap_or_default(), tv_nsec: since.subsec_nanos().into() };
    let now = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_NOW };
    Timestamps { last_access: now, last_modification }
}

/// The name of the note on what lies under a temporary name.
fn note_name(temporary: &OsStr) -> OsString {
    let mut name = temporary.to_owned();
    name.push("-note");
    name
}

fn leads_out(name: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is no name of a file in this folder", name.display()))
}

#[cfg(test)]
mod tests {
    use std::fs as std_fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::fetch::Algorithm;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        (dir, folder)
    }

    /// A finished file with this in it.
    fn fetch(folder: &Folder, name: &str, taken: Taken, body: &[u8]) -> io::Result<()> {
        let mut draft = folder.begin(Path::new(".tmp"))?;
        draft.write(Bytes::copy_from_slice(body))?;
        draft.complete(None, false)?;
        draft.publish(folder, Path::new(name), taken)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std_fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_gives_room_back_is_the_beginning_still_and_no_less_than_was_to_be_kept() {
        for (room, kept, left) in [(5, 0, 2 * BUFFER - 5), (u64::MAX, 0, BUFFER), (u64::MAX, 200_000, 200_000)] {
            let (dir, folder) = folder();
            let body: Vec<u8> = (0..2 * BUFFER + 3).map(|n| (n / 251) as u8).collect();
            let mut draft = folder.begin(Path::new(".tmp")).unwrap();
            draft.write(Bytes::copy_from_slice(&body[..2 * BUFFER])).unwrap();
            draft.write(Bytes::copy_from_slice(&body[2 * BUFFER..])).unwrap();
            draft.keep_if_dropped(true);

            draft.give_back(room, kept);
            drop(draft);

            assert!(std_fs::read(dir.path().join(".tmp")).unwrap() == body[..left], "{room} {kept}");
        }
    }

    #[test]
    fn a_file_has_its_name_only_when_whole() {
        let (dir, folder) = folder();
        let mut draft = folder.begin(Path::new(".tmp")).unwrap();
        draft.write(vec![7; 2 * BUFFER].into()).unwrap();
        assert_eq!(names(dir.path()), [".tmp"]);

        draft.write(Bytes::from_static(b"end")).unwrap();
        draft.complete(None, false).unwrap();
        draft.publish(&folder, Path::new("a/b/file"), Taken::Keep).unwrap();

        assert_eq!(names(dir.path()), ["a"]);
        assert_eq!(std_fs::read(dir.path().join("a/b/file")).unwrap().len(), 2 * BUFFER + 3);
    }

    #[test]
    fn an_empty_body_is_a_file_too() {
        let (dir, folder) = folder();

        fetch(&folder, "empty", Taken::Keep, b"").unwrap();

        assert_eq!(std_fs::read(dir.path().join("empty")).unwrap(), b"");
    }

    #[test]
    fn the_beginning_of_a_body_stays_if_it_is_to_be_kept_and_leaves_nothing_otherwise() {
        for (keeps, left) in [(false, &[][..]), (true, &[".tmp"])] {
            let (dir, folder) = folder();
            let mut draft = folder.begin(Path::new(".tmp")).unwrap();
            draft.write(Bytes::from_static(b"half of it")).unwrap();
            draft.keep_if_dropped(keeps);
            drop(draft);

            assert_eq!(names(dir.path()), left);
        }
    }

    #[test]
    fn a_name_that_is_taken_keeps_what_has_it_unless_told() {
        let (dir, folder) = folder();
        fetch(&folder, "file", Taken::Keep, b"first").unwrap();

        let error = fetch(&folder, "file", Taken::Keep, b"second").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            (names(dir.path()), std_fs::read(dir.path().join("file")).unwrap()),
            (vec!["file".into()], b"first".into())
        );

        fetch(&folder, "file", Taken::Replace, b"third").unwrap();
        assert_eq!(std_fs::read(dir.path().join("file")).unwrap(), b"third");
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let (dir, folder) = folder();
        for name in ["../out", "/etc/out", "a/../../out", "..", "", ".", "a/./../b/.."] {
            assert!(fetch(&folder, name, Taken::Replace, b"x").is_err(), "{name}");
        }
        assert!(!dir.path().parent().unwrap().join("out").exists());
    }

    #[test]
    fn no_link_leads_out_of_the_folder() {
        let (dir, folder) = folder();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        symlink(outside.path().join("file"), dir.path().join(".tmp")).unwrap();

        assert!(fetch(&folder, "link/file", Taken::Replace, b"x").is_err());
        fetch(&folder, "file", Taken::Replace, b"x").unwrap();
        assert!(folder.resume(Path::new(".tmp"), 0, None).unwrap().is_none());

        assert_eq!(names(outside.path()), [""; 0]);
    }

    #[test]
    fn what_was_kept_is_gone_on_with() {
        let (dir, folder) = folder();
        let mut draft = folder.begin(Path::new(".tmp")).unwrap();
        draft.write(vec![1; BUFFER].into()).unwrap();
        draft.write(vec![2; 10].into()).unwrap();
        draft.keep_if_dropped(true);
        drop(draft);
        let there = folder.partial(Path::new(".tmp")).unwrap();
        assert_eq!(there, BUFFER as u64 + 10);

        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut draft = folder.resume(Path::new(".tmp"), there, Some(&mut hasher)).unwrap().unwrap();
        draft.write(Bytes::from_static(b"end")).unwrap();
        hasher.update(b"end");
        draft.complete(None, false).unwrap();
        draft.publish(&folder, Path::new("file"), Taken::Keep).unwrap();

        assert_eq!(std_fs::metadata(dir.path().join("file")).unwrap().len(), there + 3);
        let mut whole = Hasher::new(Algorithm::Sha256);
        whole.update(&std_fs::read(dir.path().join("file")).unwrap());
        assert_eq!(whole.finish(), hasher.finish());
    }

    #[test]
    fn what_is_not_as_long_as_it_was_is_not_gone_on_with() {
        let (dir, folder) = folder();
        std_fs::write(dir.path().join(".tmp"), b"12345").unwrap();

        assert!(folder.resume(Path::new(".tmp"), 4, None).unwrap().is_none());
        assert!(folder.resume(Path::new("none"), 4, None).unwrap().is_none());
        fetch(&folder, "file", Taken::Keep, b"new").unwrap();
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn the_time_of_the_last_change_is_the_server_s_if_wanted() {
        let (dir, folder) = folder();
        let then = UNIX_EPOCH + std::time::Duration::from_secs(784_111_777);
        let mut draft = folder.begin(Path::new(".tmp")).unwrap();
        draft.write(Bytes::from_static(b"x")).unwrap();
        draft.complete(Some(then), false).unwrap();
        draft.publish(&folder, Path::new("file"), Taken::Keep).unwrap();

        assert_eq!(std_fs::metadata(dir.path().join("file")).unwrap().modified().unwrap(), then);
    }

    #[test]
    fn a_full_disk_leaves_nothing_under_the_final_name() {
        let (dir, folder) = folder();
        symlink("/dev/full", dir.path().join("full")).unwrap();
        let full = std_fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut draft = folder.begin(Path::new(".tmp")).unwrap();
        draft.write(vec![0; BUFFER].into()).unwrap();
        draft.state = State::OnDisk(full);

        assert_eq!(draft.write(vec![0; BUFFER].into()).unwrap_err().kind(), io::ErrorKind::StorageFull);
        drop(draft);
        assert_eq!(names(dir.path()), ["full"]);
    }
}
