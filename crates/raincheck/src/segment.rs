//! Memory that processes share, so that large values cross without being copied.
//!
//! Each process fills segments of its own, and lends them: the other side maps what it is lent, to read it, and keeps
//! the mapping, so that next time a number is all that crosses. A segment that nobody holds, here or there, is filled
//! again: fresh memory costs more than any copy. Both sides keep account in a [`Ledger`], which says what they owe each
//! other; whoever dies owes nothing, and since a segment has no name, nothing is left of it when its holders are gone.
#![expect(unsafe_code, reason = "memory that two processes share is no variable of Rust's")]

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::{self, NonNull},
    slice,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::{
    fs,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use crate::timer;

/// What is smaller goes with the rest of its message.
pub(crate) const LEAST: usize = 128 * 1024;

/// So many segments are kept to be filled again, of so many bytes in all, for so long.
const MOST_KEPT: usize = 16;
const LARGEST_KEPT: usize = 512 * 1024 * 1024;
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Set in the number of a segment that goes back to whose it is.
const BACK: u64 = 1 << 63;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file's bytes, as they are mapped into this process.
struct Mapping {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: the memory stays where it is until the mapping is dropped, and belongs to no thread.
unsafe impl Send for Mapping {}
// SAFETY: it is written only through `&mut`.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: BorrowedFd<'_>, size: usize, protection: ProtFlags) -> io::Result<Self> {
        if usize::try_from(fs::fstat(file)?.st_size).is_ok_and(|there| there < size) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a shared segment is smaller than it is said to be",
            ));
        }
        // SAFETY: a new mapping at an address of the system's choice touches no memory of this program.
        let start = unsafe { mmap(ptr::null_mut(), size, protection, MapFlags::SHARED, file, 0)? };
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("a segment was mapped at address 0"))?;
        Ok(Self { start, size })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is that large, zeroed by the system, and lives as long as `self`; the file behind it
        // cannot shrink, as its maker has sealed it. Who has filled it leaves it alone while anyone holds it, here or
        // elsewhere: a segment goes back to be filled again only when its last holder in its own process is gone, of
        // which the ledger is one for as long as the other side has not given it back.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.size) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; and it is mapped to be written, as only memory of this process is that is given out as
        // `&mut`.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.size) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that was made, and nobody refers to it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.size) };
    }
}

/// The process at the other end of a socket.
pub(crate) trait Peer: Send + Sync {
    /// Tells it that what it has lent is no longer held here.
    fn give_back(&self, key: u64);
    /// Tells it that a segment of ours will not come again.
    fn forget(&self, key: u64);
}

/// Memory of this process, that it fills again and again.
struct Memory {
    key: u64,
    file: OwnedFd,
    mapping: Mapping,
    /// Who has mapped it.
    known_to: Mutex<Vec<Weak<dyn Peer>>>,
}

impl Memory {
    fn new(size: usize) -> io::Result<Self> {
        let file = anonymous_file(size)?;
        let mapping = Mapping::new(file.as_fd(), size, ProtFlags::READ | ProtFlags::WRITE)?;
        seal(&file)?;
        Ok(Self { key: NEXT_KEY.fetch_add(1, Ordering::Relaxed), file, mapping, known_to: Mutex::default() })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for peer in lock(&self.known_to).drain(..) {
            if let Some(peer) = peer.upgrade() {
                peer.forget(self.key);
            }
        }
    }
}

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

/// Has the segments of this process be told from those of the other workers of its parent.
pub(crate) fn number_as(worker: u64) {
    NEXT_KEY.store(worker << 32 | 1, Ordering::Relaxed);
}

/// Memory that waits to be filled again, since when.
static KEPT: Mutex<Vec<(Instant, Memory)>> = Mutex::new(Vec::new());

/// A segment of this process that is filled.
pub(crate) struct Segment {
    /// Gone only while it is dropped.
    memory: Option<Memory>,
}

impl Segment {
    /// Has `fill` write a new segment; what it finds in there means nothing.
    pub(crate) fn build(len: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Self> {
        let memory = take_kept(len).map_or_else(|| Memory::new(len.next_multiple_of(LEAST)), Ok)?;
        let mut segment = Self { memory: Some(memory) };
        if let Some(memory) = &mut segment.memory {
            fill(&mut memory.mapping.bytes_mut()[..len]);
        }
        Ok(segment)
    }

    fn memory(&self) -> &Memory {
        self.memory.as_ref().expect("it is taken only when the segment is dropped")
    }

    fn key(&self) -> u64 {
        self.memory().key
    }

    /// All of it, of which the beginning is filled.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory().mapping.bytes()
    }

    /// Notes that `peer` is about to be given the file; `false` if it has it.
    fn is_new_to(&self, peer: &Weak<dyn Peer>) -> bool {
        let mut known_to = lock(&self.memory().known_to);
        if known_to.iter().any(|known| known.ptr_eq(peer)) {
            return false;
        }
        known_to.retain(|known| known.strong_count() > 0);
        known_to.push(Weak::clone(peer));
        true
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            keep(memory);
        }
    }
}

/// The smallest that is large enough, and not much too large.
fn take_kept(len: usize) -> Option<Memory> {
    let mut kept = lock(&KEPT);
    let fits = |size: usize| size >= len && size / 4 <= len;
    let (place, _) = (kept.iter().map(|(_, memory)| memory.mapping.size).enumerate())
        .filter(|(_, size)| fits(*size))
        .min_by_key(|(_, size)| *size)?;
    Some(kept.swap_remove(place).1)
}

fn keep(memory: Memory) {
    let mut kept = lock(&KEPT);
    let size: usize = kept.iter().map(|(_, memory)| memory.mapping.size).sum();
    if kept.len() < MOST_KEPT && size + memory.mapping.size <= LARGEST_KEPT {
        kept.push((Instant::now(), memory));
        if kept.len() == 1 {
            drop(kept);
            timer::later(KEPT_FOR, let_old_go);
        }
    } else {
        drop(kept);
        drop(memory);
    }
}

/// Gives back to the system what has not been filled again for a while.
fn let_old_go() {
    let mut kept = lock(&KEPT);
    let now = Instant::now();
    let old: Vec<_> = kept.extract_if(.., |(since, _)| now.saturating_duration_since(*since) >= KEPT_FOR).collect();
    let is_empty = kept.is_empty();
    drop(kept);
    drop(old);
    if !is_empty {
        timer::later(KEPT_FOR, let_old_go);
    }
}

/// What another process has lent to this one. Given back when dropped.
pub(crate) struct Lease {
    key: u64,
    mapping: Arc<Mapping>,
    lender: Weak<dyn Peer>,
}

impl Lease {
    /// All of it, of which the beginning is filled.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.mapping.bytes()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(lender) = self.lender.upgrade() {
            lender.give_back(self.key);
        }
    }
}

/// A segment that goes with a message.
#[derive(Clone)]
pub(crate) enum Held {
    /// Of this process.
    Own(Arc<Segment>),
    /// Of the process that the message goes to, or comes from.
    Lent(Arc<Lease>),
    /// No segment, but a descriptor that goes along.
    File(u64, Arc<OwnedFd>),
    /// Such a one that was lost on arrival.
    Lost(u64),
}

impl Held {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(segment) => segment.bytes(),
            Self::Lent(lease) => lease.bytes(),
            Self::File(..) | Self::Lost(_) => &[],
        }
    }

    /// The descriptor by which it goes to another process.
    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Own(segment) => Some(segment.memory().file.as_fd()),
            Self::Lent(_) | Self::Lost(_) => None,
            Self::File(_, file) => Some(file.as_fd()),
        }
    }

    /// What it is called in a message that it goes with.
    pub(crate) fn key(&self) -> u64 {
        match self {
            Self::Own(segment) => segment.key(),
            Self::Lent(lease) => lease.key | BACK,
            Self::File(key, _) | Self::Lost(key) => *key,
        }
    }
}

/// What goes with a descriptor.
pub(crate) enum Going {
    /// A segment, for good.
    Shown { key: u64, size: u64 },
    /// The descriptor itself, with the next message.
    Handed { key: u64 },
}

/// Segments that go with a message, by what they are called in it.
pub(crate) type Attached = Vec<(u64, Held)>;

/// What this process and a peer owe each other.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Accounts>);

#[derive(Default)]
struct Accounts {
    /// Files that have come and not been mapped; `None` is one that was lost.
    files: VecDeque<Option<OwnedFd>>,
    /// What the peer has shown, mapped; `None` could not be.
    shown: HashMap<u64, Option<Arc<Mapping>>>,
    /// What the peer holds of ours, and how many times.
    lent: HashMap<u64, (Arc<Segment>, usize)>,
    /// What goes with the next message.
    next: Attached,
}

/// Why a descriptor is lost on arrival.
pub(crate) const NO_NUMBER: &str = "this process has too many files open to be sent another: have it hold fewer at a \
                                    time, or raise its limit (`ulimit -n`; a worker's is `open_files` of the pool)";

impl Accounts {
    fn next_file(&mut self) -> io::Result<OwnedFd> {
        let file = self.files.pop_front().ok_or(io::ErrorKind::InvalidData)?;
        file.ok_or_else(|| io::Error::other(NO_NUMBER))
    }
}

impl Ledger {
    /// Notes that files have come, before what was said with them.
    pub(crate) fn receive(&self, files: impl Iterator<Item = Option<OwnedFd>>) {
        lock(&self.0).files.extend(files);
    }

    /// Notes that the peer has shown a segment: its file has come. An `Err` says why it cannot be mapped; then it is missing
    /// to what it goes with.
    pub(crate) fn show(&self, key: u64, size: u64) -> io::Result<()> {
        let file = lock(&self.0).next_file();
        let mapping = file.and_then(|file| {
            let size = usize::try_from(size).map_err(io::Error::other)?;
            Mapping::new(file.as_fd(), size, ProtFlags::READ).map(Arc::new)
        });
        let (mapping, outcome) = match mapping {
            Ok(mapping) => (Some(mapping), Ok(())),
            Err(error) => (None, Err(error)),
        };
        lock(&self.0).shown.insert(key, mapping);
        outcome
    }

    /// Notes that the peer will not lend this again.
    pub(crate) fn forget(&self, key: u64) {
        let forgotten = lock(&self.0).shown.remove(&key);
        drop(forgotten);
    }

    /// Notes what goes to the peer with the next message. What has to be sent before comes back, and what they are
    /// called.
    pub(crate) fn lend(&self, attached: &Attached, peer: &Weak<dyn Peer>) -> (Vec<(Going, Held)>, Vec<u8>) {
        let (mut going, mut keys) = (Vec::new(), Vec::new());
        for (key, held) in attached {
            match held {
                Held::File(key, _) => {
                    going.push((Going::Handed { key: *key }, held.clone()));
                    continue;
                }
                Held::Own(segment) => {
                    if segment.is_new_to(peer) {
                        going.push((Going::Shown { key: *key, size: segment.bytes().len() as u64 }, held.clone()));
                    }
                    lock(&self.0).lent.entry(*key).or_insert_with(|| (Arc::clone(segment), 0)).1 += 1;
                }
                Held::Lent(_) | Held::Lost(_) => {}
            }
            keys.extend_from_slice(&key.to_le_bytes());
        }
        (going, keys)
    }

    /// Notes that a descriptor has come, to go with the next message. An `Err` says why it has not; then it is lost to that.
    pub(crate) fn hand(&self, key: u64) -> io::Result<()> {
        let mut accounts = lock(&self.0);
        let (held, outcome) = match accounts.next_file() {
            Ok(file) => (Held::File(key, Arc::new(file)), Ok(())),
            Err(error) => (Held::Lost(key), Err(error)),
        };
        accounts.next.push((key, held));
        outcome
    }

    /// Notes that the peer has given back what it held once.
    pub(crate) fn take_back(&self, key: u64) {
        let mut accounts = lock(&self.0);
        let Some((_, times)) = accounts.lent.get_mut(&key) else { return };
        *times -= 1;
        let returned = if *times == 0 { accounts.lent.remove(&key) } else { None };
        drop(accounts);
        drop(returned);
    }

    /// Notes what goes with the next message from the peer, which is `lender`.
    pub(crate) fn borrow(&self, keys: &[u8], lender: &Weak<dyn Peer>) -> io::Result<()> {
        let mut accounts = lock(&self.0);
        let Accounts { shown, lent, next, .. } = &mut *accounts;
        for key in keys.as_chunks::<8>().0 {
            let key = u64::from_le_bytes(*key);
            let held = if key & BACK != 0 {
                lent.get(&(key & !BACK)).map(|(segment, _)| Held::Own(Arc::clone(segment)))
            } else {
                let Some(mapping) = shown.get(&key).ok_or(io::ErrorKind::InvalidData)? else { continue };
                let mapping = Arc::clone(mapping);
                Some(Held::Lent(Arc::new(Lease { key, mapping, lender: Weak::clone(lender) })))
            };
            next.push((key, held.ok_or(io::ErrorKind::InvalidData)?));
        }
        Ok(())
    }

    /// Takes what goes with the message that has come.
    pub(crate) fn take_next(&self) -> Attached {
        std::mem::take(&mut lock(&self.0).next)
    }

    /// Notes that the peer is gone.
    pub(crate) fn close(&self) {
        let accounts = std::mem::take(&mut *lock(&self.0));
        drop(accounts);
    }
}

/// What goes with a message that is being written, and to whom, if that is certain.
type Writing = (Attached, Option<Weak<dyn Peer>>);

thread_local! {
    /// Set while this thread writes a message.
    static WRITTEN: RefCell<Option<Writing>> = const { RefCell::new(None) };
    /// What goes with the messages that this thread reads.
    static READ: RefCell<Vec<Attached>> = const { RefCell::new(Vec::new()) };
}

/// Calls `write`, which writes a message, to this peer if it is certain. What is to go with it comes back, too.
pub(crate) fn attaching<R>(to: Option<&Weak<dyn Peer>>, write: impl FnOnce() -> R) -> (R, Attached) {
    struct Before(Option<Writing>);
    impl Drop for Before {
        fn drop(&mut self) {
            drop(WRITTEN.replace(self.0.take()));
        }
    }
    let before = Before(WRITTEN.replace(Some((Vec::new(), to.cloned()))));
    let result = write();
    let attached = take_attached();
    drop(before);
    (result, attached)
}

/// Takes what has been attached so far to the message that this thread writes.
pub(crate) fn take_attached() -> Attached {
    WRITTEN
        .with_borrow_mut(|written| written.as_mut().map(|(attached, _)| std::mem::take(attached)))
        .unwrap_or_default()
}

/// Has a segment go with the message that this thread writes. Says what it is called there.
pub(crate) fn attach(held: Held) -> u64 {
    let key = held.key();
    WRITTEN.with_borrow_mut(|written| {
        if let Some((attached, _)) = written
            && attached.iter().all(|(other, _)| *other != key)
        {
            attached.push((key, held));
        }
    });
    key
}

/// Has a descriptor go with the message that this thread writes. Says what it is called there.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn attach_file(file: &Arc<OwnedFd>) -> u64 {
    attach(Held::File(NEXT_KEY.fetch_add(1, Ordering::Relaxed), Arc::clone(file)))
}

/// Whether what this thread writes is a message with which segments can go.
pub(crate) fn can_attach() -> bool {
    WRITTEN.with_borrow(Option::is_some)
}

/// Whether the message that this thread writes goes to whose segment this is.
pub(crate) fn goes_back(lease: &Lease) -> bool {
    WRITTEN.with_borrow(|written| matches!(written, Some((_, Some(peer))) if peer.ptr_eq(&lease.lender)))
}

/// Calls `read`, which reads a message that this has come with.
pub(crate) fn detaching<R>(attached: &Attached, read: impl FnOnce() -> R) -> R {
    struct Depth;
    impl Drop for Depth {
        fn drop(&mut self) {
            let popped = READ.with_borrow_mut(Vec::pop);
            drop(popped);
        }
    }
    if attached.is_empty() {
        return read();
    }
    READ.with_borrow_mut(|all| all.push(attached.clone()));
    let _depth = Depth;
    read()
}

/// What has come under this name with the message that this thread reads.
pub(crate) fn attached(key: u64) -> Option<Held> {
    READ.with_borrow(|all| {
        let mut there = all.iter().rev().flatten();
        there.find(|(other, _)| *other == key).map(|(_, held)| held.clone())
    })
}

/// Memory that has a descriptor and no name.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn anonymous_file(size: usize) -> io::Result<OwnedFd> {
    let file = fs::memfd_create(c"raincheck", fs::MemfdFlags::CLOEXEC | fs::MemfdFlags::ALLOW_SEALING)?;
    fs::ftruncate(&file, size as u64)?;
    Ok(file)
}

/// Sees to it that a file keeps its size, and whoever maps it from now on can only read it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn seal(file: &OwnedFd) -> io::Result<()> {
    use fs::SealFlags;
    fs::fcntl_add_seals(file, SealFlags::SHRINK | SealFlags::GROW)?;
    // Systems before Linux 5.1 do not have this one; there it is good manners alone.
    let _ = fs::fcntl_add_seals(file, SealFlags::FUTURE_WRITE);
    Ok(fs::fcntl_add_seals(file, SealFlags::SEAL)?)
}

/// The same where memory must have a name for a moment.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn anonymous_file(size: usize) -> io::Result<OwnedFd> {
    use rustix::shm;
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("/rc-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let flags = shm::OFlags::CREATE | shm::OFlags::EXCL | shm::OFlags::RDWR;
    let file = shm::open(name.as_str(), flags, shm::Mode::RUSR | shm::Mode::WUSR)?;
    shm::unlink(name.as_str())?;
    fs::ftruncate(&file, size as u64)?;
    Ok(file)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn seal(_file: &OwnedFd) -> io::Result<()> {
    Ok(())
}
