//! A page of memory that the parent and one worker share: who has which task, without a word between them.
//!
//! A task that waits in a worker's socket is there for both to take: the worker to start it, the parent to give it to
//! another worker or to cancel it. Whoever comes first has it. So nothing that is cancelled starts, nothing that has
//! started goes elsewhere, and when a worker dies it is certain which task it had begun.
#![expect(unsafe_code, reason = "memory that two processes share is no variable of Rust's")]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering, fence},
};

use rustix::{
    fs,
    mm::{MapFlags, ProtFlags, mmap, munmap},
    time::{ClockId, clock_gettime},
};

use crate::{carry::split_answer, segment::anonymous_file};

/// How many tasks can be with one worker at a time.
pub(super) const PLACES: usize = 256;

const SIZE: usize = 4096 + JOURNAL * size_of::<AtomicU64>();
const WORDS: usize = SIZE / size_of::<AtomicU64>();

/// When the running task started, by the system's clock, in nanoseconds.
const STARTED_AT: usize = 0;
/// Which task is asked to stop.
const STOP: usize = 1;
/// Which input of a group is under way.
const INPUT: usize = 2;
/// Which answers are in the journal: how many came before the first, and how many they are.
const NOTED: usize = 3;
/// How often each side has written to the socket: who looks here need not sleep to hear of it.
const POSTED: usize = 8;
const ANSWERED: usize = 16;
/// How often the worker has begun to write to the socket.
const BEGUN: usize = 17;
/// Who listens to the worker.
const LISTENER: usize = 24;
const FIRST_PLACE: usize = 32;
const FIRST_OF_JOURNAL: usize = 4096 / size_of::<AtomicU64>();

/// How long the journal is: the answers to a group that the worker has not sent, in case that it dies in the group.
const JOURNAL: usize = 8192;

const _: () = assert!(FIRST_PLACE + PLACES <= FIRST_OF_JOURNAL);

/// The page, as it is mapped into this process.
pub(super) struct Page(NonNull<[AtomicU64; WORDS]>);

// SAFETY: the memory stays where it is until the page is dropped, belongs to no thread, and is accessed by atomic
// operations alone.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

/// Where a task is, as both processes see it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// It lies in the worker's socket.
    Waiting = 1,
    /// The worker has started it.
    Started = 2,
    /// The parent has taken it back.
    Withdrawn = 3,
    /// The worker is done with it, and answers.
    Finished = 4,
    /// The parent is about to kill the worker because of it.
    Doomed = 5,
}

/// Who listens to the worker, of all the parent's threads.
///
/// Most often that is whoever waits for a task. What such a thread leaves behind is nobody's, until it, or another one,
/// waits for the next, so that turn after turn the poller need not be told; and who writes when nobody listens rings the
/// poller's bell first.
#[derive(Clone, Copy)]
enum Listener {
    /// The poller, which watches the socket.
    Poller = 0,
    /// A thread that waits for a task.
    Waiter = 1,
    /// The worker must ring before it writes.
    Nobody = 2,
    /// It has rung, and the poller will listen, unless someone else does first.
    Called = 3,
}

impl Page {
    /// Makes a page, and the descriptor by which another process maps it too.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let file = anonymous_file(SIZE)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        fs::fcntl_add_seals(&file, fs::SealFlags::SHRINK | fs::SealFlags::GROW | fs::SealFlags::SEAL)?;
        Ok((Self::map(file.as_fd())?, file))
    }

    /// Maps the page that another process has made.
    pub(super) fn map(file: BorrowedFd<'_>) -> io::Result<Self> {
        if fs::fstat(file)?.st_size < SIZE as _ {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the shared page is too small"));
        }
        // SAFETY: a new mapping at an address of the system's choice touches no memory of this program.
        let start =
            unsafe { mmap(ptr::null_mut(), SIZE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0)? };
        NonNull::new(start.cast()).map(Self).ok_or_else(|| io::Error::other("a page was mapped at address 0"))
    }

    fn words(&self) -> &[AtomicU64; WORDS] {
        // SAFETY: the mapping is as large as the array, aligned to a page, zeroed by the system, and lives as long as
        // `self`. The file behind it cannot shrink: its maker has sealed it, or has nobody else given its name. The
        // other process changes it by atomic operations alone.
        unsafe { self.0.as_ref() }
    }

    fn place(&self, task: u64) -> &AtomicU64 {
        &self.words()[FIRST_PLACE + task as usize % PLACES]
    }

    /// Says, as the parent, that a task is in the worker's socket, or is about to be.
    pub(super) fn offer(&self, task: u64) {
        self.place(task).store(word(task, Claim::Waiting), Ordering::Release);
    }

    /// Takes a task, as the worker, to start it. `false` if the parent was first.
    pub(super) fn start(&self, task: u64) -> bool {
        self.words()[STARTED_AT].store(now(), Ordering::Relaxed);
        self.words()[INPUT].store(0, Ordering::Relaxed);
        self.words()[NOTED].store(0, Ordering::Relaxed);
        // Whoever sees what is noted next sees that it is of this task.
        fence(Ordering::SeqCst);
        self.move_on(task, Claim::Waiting, Claim::Started)
    }

    /// Says, as the worker, that a task is done. `false` if the parent is about to kill the worker because of it, which
    /// must then begin nothing else.
    pub(super) fn finish(&self, task: u64) -> bool {
        self.move_on(task, Claim::Started, Claim::Finished)
    }

    /// Makes sure, as the parent, that the worker stays at a task until it is killed because of it. `false` if it is done
    /// with it, or has not started it.
    pub(super) fn doom(&self, task: u64) -> bool {
        self.move_on(task, Claim::Started, Claim::Doomed) || self.is(task, Claim::Doomed)
    }

    /// Takes a task back, as the parent. `false` if the worker was first.
    pub(super) fn withdraw(&self, task: u64) -> bool {
        self.move_on(task, Claim::Waiting, Claim::Withdrawn) || self.is(task, Claim::Withdrawn)
    }

    fn move_on(&self, task: u64, from: Claim, to: Claim) -> bool {
        let (from, to) = (word(task, from), word(task, to));
        self.place(task).compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is(&self, task: u64, claim: Claim) -> bool {
        self.place(task).load(Ordering::Acquire) == word(task, claim)
    }

    /// Whether the worker has started it.
    pub(super) fn has_started(&self, task: u64) -> bool {
        let place = self.place(task).load(Ordering::Acquire);
        [Claim::Started, Claim::Finished, Claim::Doomed].into_iter().any(|claim| place == word(task, claim))
    }

    /// Whether the worker is done with it.
    pub(super) fn has_finished(&self, task: u64) -> bool {
        self.is(task, Claim::Finished)
    }

    /// How long ago the worker started the task that it is in.
    pub(super) fn ran(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(now().saturating_sub(self.words()[STARTED_AT].load(Ordering::Relaxed)))
    }

    /// Asks a task to stop, as the parent.
    pub(super) fn ask_to_stop(&self, task: u64) {
        self.words()[STOP].store(task, Ordering::Release);
    }

    /// Which task is asked to stop.
    pub(super) fn asked_to_stop(&self) -> u64 {
        self.words()[STOP].load(Ordering::Acquire)
    }

    /// Says, as the parent, that more has been written to the socket.
    pub(super) fn has_posted(&self) {
        self.words()[POSTED].fetch_add(1, Ordering::Release);
    }

    /// How often the parent has said so.
    pub(super) fn posted(&self) -> u64 {
        self.words()[POSTED].load(Ordering::Acquire)
    }

    /// Says, as the worker, that it is about to write to the socket. `true` if the poller must be called, for nobody
    /// listens.
    pub(super) fn is_to_ring(&self) -> bool {
        // Before the look at who listens, as `rest` does it the other way round: one of the two sees the other.
        self.words()[BEGUN].fetch_add(1, Ordering::SeqCst);
        self.is_heard_by(Listener::Nobody) && self.pass(Listener::Nobody, Listener::Called)
    }

    /// Says, as the worker, that more has been written to the socket.
    pub(super) fn has_answered(&self) {
        self.words()[ANSWERED].fetch_add(1, Ordering::Release);
    }

    /// How often the worker has said so.
    pub(super) fn answered(&self) -> u64 {
        self.words()[ANSWERED].load(Ordering::Acquire)
    }

    /// Has the calling thread listen. Says whether the poller did before; `None` if another thread does, and stays so.
    pub(super) fn listen(&self) -> Option<bool> {
        let before = self.words()[LISTENER].swap(Listener::Waiter as u64, Ordering::SeqCst);
        (before != Listener::Waiter as u64).then_some(before == Listener::Poller as u64)
    }

    /// Has nobody listen any more, where the calling thread did and has read all that was written when the worker had
    /// done so `heard` times. `false` if the worker has begun to write since and has not called, so that the poller is
    /// to listen now.
    pub(super) fn rest(&self, heard: u64) -> bool {
        self.words()[LISTENER].store(Listener::Nobody as u64, Ordering::SeqCst);
        self.words()[BEGUN].load(Ordering::SeqCst) == heard || !self.pass(Listener::Nobody, Listener::Poller)
    }

    /// Has the poller listen, where the calling thread did.
    pub(super) fn leave_to_poller(&self) {
        self.words()[LISTENER].store(Listener::Poller as u64, Ordering::SeqCst);
    }

    /// Has the poller listen, if the worker has called and nobody else has come. Says whether it now does.
    pub(super) fn answer_call(&self) -> bool {
        self.pass(Listener::Called, Listener::Poller)
    }

    /// Whether it is the poller who listens.
    pub(super) fn is_polled(&self) -> bool {
        self.is_heard_by(Listener::Poller)
    }

    fn is_heard_by(&self, listener: Listener) -> bool {
        self.words()[LISTENER].load(Ordering::SeqCst) == listener as u64
    }

    fn pass(&self, from: Listener, to: Listener) -> bool {
        let listener = &self.words()[LISTENER];
        listener.compare_exchange(from as u64, to as u64, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Says, as the worker, which input of a group comes next.
    pub(super) fn set_input(&self, place: usize) {
        self.words()[INPUT].store(place as u64, Ordering::Release);
    }

    /// Which input of a group was begun last.
    pub(super) fn input(&self) -> usize {
        self.words()[INPUT].load(Ordering::Acquire) as usize
    }

    /// Notes an answer, as the worker, behind those that were noted before; `words` says how long they are, and grows.
    /// `false` if there is no room.
    pub(super) fn note(&self, answer: &[u8], words: &mut usize) -> bool {
        let journal = &self.words()[FIRST_OF_JOURNAL..];
        let end = *words + answer.len().div_ceil(8);
        let Some(room) = journal.get(*words..end) else { return false };
        for (word, bytes) in room.iter().zip(answer.chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(eight), Ordering::Relaxed);
        }
        *words = end;
        let noted = &self.words()[NOTED];
        noted.store(noted.load(Ordering::Relaxed) + 1, Ordering::Release);
        true
    }

    /// Empties the journal, as the worker, since all answers up to this many are sent.
    pub(super) fn turn_over(&self, answers: usize) {
        self.words()[NOTED].store((answers as u64) << 32, Ordering::Release);
        // What is noted from now on is not seen before that.
        fence(Ordering::SeqCst);
    }

    /// Reads the journal of a worker that is gone: how many answers came before it, and those that are in it.
    pub(super) fn journal(&self) -> (usize, Vec<Vec<u8>>) {
        let noted = self.words()[NOTED].load(Ordering::Acquire);
        let (before, count) = (noted >> 32, noted & u64::from(u32::MAX));
        let journal = &self.words()[FIRST_OF_JOURNAL..];
        let bytes: Vec<u8> = journal.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        let mut rest = &bytes[..];
        let answers = (0..count).map_while(|_| {
            let answer = split_answer(&mut rest)?;
            rest.split_off(..answer.len().next_multiple_of(8) - answer.len())?;
            Some(answer.to_vec())
        });
        (before as usize, answers.collect())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that was made, and nobody refers to it any more. That it fails would mean that
        // it was none.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), SIZE) };
    }
}

fn word(task: u64, claim: Claim) -> u64 {
    task << 3 | claim as u64
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Looks until it is so, and lets others run now and then.
    fn until(is_so: impl Fn() -> bool) {
        for look in 1_u32.. {
            match is_so() {
                true => return,
                false if look % 128 == 0 => thread::yield_now(),
                false => std::hint::spin_loop(),
            }
        }
    }

    #[test]
    fn what_is_written_just_when_the_listener_leaves_is_heard_or_called_out() {
        const ROUNDS: u64 = 5_000;
        let (page, _file) = Page::new().unwrap();
        let turn = AtomicU64::new(0);
        let mut unheard = 0;
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    until(|| turn.load(Ordering::Acquire) == round);
                    page.is_to_ring();
                    page.has_answered();
                }
            });
            for round in 1..=ROUNDS {
                let takes = page.listen().is_some();
                turn.store(round, Ordering::Release);
                (0..round % 64).for_each(|_| std::hint::spin_loop());
                let heard = page.answered();
                page.rest(heard);
                until(|| page.answered() == round);
                // It was read; or the poller listens at once; or it does when it is called.
                let is_heard = heard == round || page.is_polled() || page.answer_call();
                unheard += usize::from(!takes || !is_heard);
            }
        });

        assert_eq!(unheard, 0);
    }

    #[test]
    fn a_second_thread_does_not_listen_beside_the_first() {
        let (page, _file) = Page::new().unwrap();

        assert_eq!(page.listen(), Some(true));
        assert_eq!(page.listen(), None);
        assert!(page.rest(0));
        assert_eq!(page.listen(), Some(false));
        page.leave_to_poller();
        assert!(page.is_polled());
    }
}
