//! What the parent and a worker say to each other: frames, each with its length.
//!
//! Each side begins with a greeting of 16 bytes, which says by what version of this file, of `Hello` and of the page it
//! goes. Then come frames, each a head of 24 bytes and a payload. There are few kinds, and none needs an answer but
//! [`Kind::Task`], which has exactly one: [`Kind::Done`], or [`Kind::Skipped`] if it was taken back.

use std::{
    fmt, io, mem,
    ops::{Deref, Range},
    os::fd::{AsFd, OwnedFd},
};

use super::socket;

/// Which version of the conversation this is: to be raised with every change of what the two sides say to each other or
/// share, since they may have been built from different sources.
const PROTOCOL: u32 = 3;

/// How long a greeting is, in all versions.
pub(super) const GREETING: usize = 16;
const NAME: &[u8; GREETING - 4] = b"raincheck\0\0\0";

/// What each side says before anything else.
pub(super) fn greeting() -> [u8; GREETING] {
    let mut greeting = [0; GREETING];
    let (name, version) = greeting.split_at_mut(NAME.len());
    name.copy_from_slice(NAME);
    version.copy_from_slice(&PROTOCOL.to_le_bytes());
    greeting
}

/// Looks how the other side begins. `false` if its greeting is not there whole.
pub(super) fn is_greeted(said: &[u8]) -> Result<bool, Stranger> {
    let name = said.len().min(NAME.len());
    if said[..name] != NAME[..name] {
        return Err(Stranger::Babbles);
    }
    match said.get(NAME.len()..).and_then(|rest| rest.first_chunk()) {
        None => Ok(false),
        Some(version) if u32::from_le_bytes(*version) == PROTOCOL => Ok(true),
        Some(version) => Err(Stranger::Speaks(u32::from_le_bytes(*version))),
    }
}

/// Why there can be no conversation with the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stranger {
    /// It speaks another version.
    Speaks(u32),
    /// It says something else.
    Babbles,
    /// It has said nothing in time.
    IsSilent,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Speaks(version) => write!(
                f,
                "it speaks version {version} of raincheck's protocol and not {PROTOCOL}: build both programs with the \
                 same version of raincheck"
            ),
            Self::Babbles => f.write_str("what it says is not raincheck's protocol: is it a program with tasks?"),
            Self::IsSilent => f.write_str("it has not said in time that it is a worker: is it a program with tasks?"),
        }
    }
}

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// To a worker, once and first: who it is, and how it makes itself ready.
    Hello = 1,
    /// To a worker: the name and signature of the function that has this number from now on.
    Define = 2,
    /// To a worker: a call.
    Task = 3,
    /// To a worker: nothing more will come.
    Bye = 4,
    /// From a worker: it is ready.
    Ready = 5,
    /// From a worker: it will never be; why.
    Broken = 6,
    /// From a worker: it has started a task that someone observes.
    Started = 7,
    /// From a worker: how far that task is.
    Progress = 8,
    /// From a worker: a task is done; its value, or why there is none.
    Done = 9,
    /// From a worker: a task had been taken back.
    Skipped = 10,
    /// From a worker: answers to a group that is not done; the entry says how many came before.
    Part = 11,
    /// Either way: a segment, which has this number and size, and whose descriptor comes along.
    Show = 12,
    /// Either way: what goes with the next task or answer.
    Lend = 13,
    /// Either way: what was lent is given back, once.
    GiveBack = 14,
    /// Either way: a segment that was shown will not be lent again.
    Forget = 15,
    /// Either way: a descriptor that goes with the next task or answer comes along.
    Hand = 16,
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// Which function, for a call or its definition.
    pub(super) entry: u32,
    /// Which task.
    pub(super) task: u64,
    pub(super) payload: &'a [u8],
}

/// The call is of a group of inputs.
pub(super) const GROUP: u8 = 1;
/// Someone wants to know when the task starts, and how far it is.
pub(super) const OBSERVED: u8 = 2;
/// The parent lets go of what the task has come with when it has started.
pub(super) const FILES: u8 = 4;
/// The payload says why there is no value.
pub(super) const FAILED: u8 = 1;
/// The worker is to be replaced before the next task: it has too much memory.
pub(super) const SPENT: u8 = 2;

pub(super) const HEAD: usize = 24;

/// Stands in every head: what anyone else writes to the socket has it not.
const MARK: [u8; 4] = *b"rain";

impl<'a> Frame<'a> {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, flags: 0, entry: 0, task: 0, payload: &[] }
    }

    /// The bytes before the payload.
    pub(super) fn head(&self) -> io::Result<[u8; HEAD]> {
        let length = u32::try_from(self.payload.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, crate::carry::TOO_LARGE))?;
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4] = self.kind as u8;
        head[5] = self.flags;
        head[8..12].copy_from_slice(&self.entry.to_le_bytes());
        head[12..16].copy_from_slice(&MARK);
        head[16..].copy_from_slice(&self.task.to_le_bytes());
        Ok(head)
    }

    /// Takes the first frame from what has come; `None` if it is not there whole.
    pub(super) fn split_from(bytes: &mut &'a [u8]) -> io::Result<Option<Self>> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
        if head[12..16] != MARK {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what has come is no frame"));
        }
        let length = payload_len(head);
        let kind = Kind::of(head[4])?;
        let Some((payload, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        *bytes = rest;
        Ok(Some(Self {
            kind,
            flags: head[5],
            entry: u32::from_le_bytes([head[8], head[9], head[10], head[11]]),
            task: u64::from_le_bytes([head[16], head[17], head[18], head[19], head[20], head[21], head[22], head[23]]),
            payload,
        }))
    }
}

impl Kind {
    fn of(byte: u8) -> io::Result<Self> {
        use Kind::*;
        [
            Hello, Define, Task, Bye, Ready, Broken, Started, Progress, Done, Skipped, Part, Show, Lend, GiveBack,
            Forget, Hand,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no frame is of kind {byte}")))
    }
}

fn payload_len(head: &[u8; HEAD]) -> usize {
    u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize
}

/// How many more bytes make the first frame whole; 0 if it is, or if its head is not there.
pub(super) fn missing(bytes: &[u8]) -> usize {
    match bytes.first_chunk::<HEAD>() {
        Some(head) => (HEAD + payload_len(head)).saturating_sub(bytes.len()),
        None => 0,
    }
}

/// What has come from the other side: frames that are whole, and the beginning of the next.
#[derive(Default)]
pub(super) struct Inbox {
    /// Only the first of these have come.
    bytes: Vec<u8>,
    come: usize,
    spare: Vec<u8>,
    files: Vec<Option<OwnedFd>>,
}

/// Frames that are whole.
#[derive(Default)]
pub(super) struct Whole {
    bytes: Vec<u8>,
    used: Range<usize>,
}

impl Whole {
    /// Leaves only so many bytes, the last ones.
    pub(super) fn keep_last(&mut self, bytes: usize) {
        self.used.start = self.used.end - bytes;
    }
}

impl Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.used.clone()]
    }
}

/// How much is read at a time, if there is that much.
const GULP: usize = 64 * 1024;
/// Memory for a payload is made ready before it comes, if it is no longer than this, or than what has come of it.
const MOST_AHEAD: usize = 1024 * 1024;
/// A buffer that is larger is not kept.
const LARGEST_KEPT: usize = 8 * 1024 * 1024;

impl Inbox {
    /// Reads once. How much has come is returned: 0 says that the other side is gone.
    pub(super) fn read(&mut self, from: impl AsFd) -> io::Result<usize> {
        // A length is believed as far as what has come bears it out: a torn one must not cost gigabytes.
        let ahead = missing(&self.bytes[..self.come]).min(MOST_AHEAD.max(self.come));
        let room = self.come + ahead.max(GULP);
        if self.bytes.len() < room {
            // Zeroed by the system, which costs nothing until it is used.
            let mut larger = vec![0; room];
            larger[..self.come].copy_from_slice(&self.bytes[..self.come]);
            self.bytes = larger;
        }
        let room = &mut self.bytes[self.come..];
        // The system hands over the descriptors of one message at a time, and ours have one each.
        let come = rustix::io::retry_on_intr(|| socket::receive(&from, room, &mut self.files))?;
        self.come += come;
        Ok(come)
    }

    /// Takes the greeting, with which the other side begins. `false` if it is not there whole.
    pub(super) fn take_greeting(&mut self) -> Result<bool, Stranger> {
        let is_there = is_greeted(&self.bytes[..self.come])?;
        if is_there {
            self.bytes.copy_within(GREETING..self.come, 0);
            self.come -= GREETING;
        }
        Ok(is_there)
    }

    /// Takes the descriptors that have come; `None` stands for one that was lost on arrival.
    pub(super) fn take_files(&mut self) -> impl Iterator<Item = Option<OwnedFd>> {
        self.files.drain(..)
    }

    /// Whether there are any.
    pub(super) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Whether the last `read` may have left something behind.
    pub(super) fn is_full(&self) -> bool {
        self.come == self.bytes.len()
    }

    /// Takes all frames that are whole, and keeps the rest.
    pub(super) fn take_whole(&mut self) -> io::Result<Whole> {
        let mut rest = &self.bytes[..self.come];
        while Frame::split_from(&mut rest)?.is_some() {}
        let whole = self.come - rest.len();
        if whole == 0 {
            return Ok(Whole::default());
        }
        let mut next = mem::take(&mut self.spare);
        if next.len() < rest.len() {
            next.resize(rest.len(), 0);
        }
        next[..rest.len()].copy_from_slice(rest);
        self.come = rest.len();
        Ok(Whole { bytes: mem::replace(&mut self.bytes, next), used: 0..whole })
    }

    /// Gives back what was taken, so that it is used again.
    pub(super) fn give_back(&mut self, taken: Whole) {
        if taken.bytes.len() <= LARGEST_KEPT && taken.bytes.len() > self.spare.len() {
            self.spare = taken.bytes;
        }
    }
}

/// Receives these bytes as if a worker had sent them, in pieces of so many, and checks that what comes out of them is
/// what went in: frames and the beginning of one more, or an error. For who makes such bytes up.
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "a fuzz target is let in from outside"))]
pub fn check(bytes: &[u8], piece: usize) {
    let mut rest = bytes;
    let mut again = Vec::new();
    let whole = loop {
        match Frame::split_from(&mut rest) {
            Ok(Some(frame)) => {
                again.extend_from_slice(&frame.head().expect("what was that short is that short"));
                again.extend_from_slice(frame.payload);
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.to_string()),
        }
    };
    let used = bytes.len() - rest.len();
    assert_eq!(again.len(), used);
    // What a head does not use is not looked at.
    for (place, (byte, again)) in bytes.iter().zip(&again).enumerate() {
        assert!(byte == again || *again == 0, "byte {place} was {byte} and is {again}");
    }

    let (reader, writer) = std::os::unix::net::UnixStream::pair().expect("there are descriptors");
    let mut inbox = Inbox::default();
    let mut taken = Vec::new();
    let mut outcome = Ok(());
    for piece in bytes.chunks(piece.clamp(1, GULP)) {
        io::Write::write_all(&mut &writer, piece).expect("a socket holds as much as is read at a time");
        inbox.read(&reader).expect("someone is there");
        assert!(inbox.bytes.capacity() <= 2 * (MOST_AHEAD + bytes.len() + GULP), "{}", inbox.bytes.capacity());
        match inbox.take_whole() {
            Ok(whole) => {
                taken.extend_from_slice(&whole);
                inbox.give_back(whole);
            }
            Err(error) => {
                outcome = Err(error.to_string());
                break;
            }
        }
    }
    assert_eq!(outcome, whole);
    if whole.is_ok() {
        assert_eq!(taken, bytes[..used]);
        assert_eq!(inbox.bytes[..inbox.come], *rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_was_once_it_is_there_whole() {
        let frame = Frame { kind: Kind::Task, flags: GROUP, entry: 7, task: u64::MAX - 1, payload: b"six times seven" };
        let mut bytes = frame.head().unwrap().to_vec();
        bytes.extend_from_slice(frame.payload);
        for end in 0..bytes.len() {
            assert_eq!(Frame::split_from(&mut &bytes[..end]).unwrap(), None);
        }

        bytes.push(1);
        let mut rest = &bytes[..];

        assert_eq!(Frame::split_from(&mut rest).unwrap(), Some(frame));
        assert_eq!(rest, [1]);
    }

    #[test]
    fn a_greeting_is_known_once_it_is_there_whole_and_any_other_as_soon_as_it_differs() {
        let ours = greeting();
        assert!((0..GREETING).all(|end| is_greeted(&ours[..end]) == Ok(false)));
        assert_eq!(is_greeted(&ours), Ok(true));

        let next = [&NAME[..], &(PROTOCOL + 1).to_le_bytes()].concat();
        assert_eq!(is_greeted(&next), Err(Stranger::Speaks(PROTOCOL + 1)));
        assert_eq!(is_greeted(b"h"), Err(Stranger::Babbles));
    }

    #[test]
    fn an_unknown_kind_is_an_error_and_no_panic() {
        assert!(Frame::split_from(&mut &[255; 64][..]).is_err());
    }

    /// The same numbers each time, for the same seed.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit) as usize
        }

        fn bytes(&mut self, most: u64) -> Vec<u8> {
            (0..self.below(most)).map(|_| self.below(256) as u8).collect()
        }
    }

    /// Frames as they should be, of all kinds.
    fn frames(random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..random.below(6) {
            let payload = random.bytes(60);
            let kind = Kind::of(1 + random.below(10) as u8).unwrap();
            let (flags, entry, task) = (random.below(4) as u8, random.below(100) as u32, random.0);
            bytes.extend_from_slice(&Frame { kind, flags, entry, task, payload: &payload }.head().unwrap());
            bytes.extend_from_slice(&payload);
        }
        bytes
    }

    #[test]
    fn whatever_comes_is_frames_or_an_error() {
        let mut random = Random(0x5EED);
        for round in 0..20_000 {
            let mut bytes = frames(&mut random);
            match round % 4 {
                0 => {}
                // Torn off.
                1 => bytes.truncate(random.below(bytes.len() as u64 + 1)),
                // A bit is wrong, or a few are.
                2 => {
                    for _ in 0..1 + random.below(4) {
                        if !bytes.is_empty() {
                            let place = random.below(bytes.len() as u64);
                            bytes[place] ^= 1 << random.below(8);
                        }
                    }
                }
                _ => bytes = random.bytes(200),
            }
            check(&bytes, 1 + random.below(100));
        }
    }

    #[test]
    fn a_length_that_nothing_follows_reserves_little() {
        let mut bytes = Frame::new(Kind::Done).head().unwrap();
        bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());

        check(&bytes, HEAD);
    }
}
