//! A queue between processes.
//!
//! The system keeps it, as a pair of sockets that know where a message begins and ends: whoever dies in the middle of
//! something holds no lock and leaves no half of a message, and when the last who has one end is gone, the other end is
//! told.

use std::{
    fmt, fs,
    io::{self, Write},
    marker::PhantomData,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, socketpair,
    },
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};

use crate::{
    call::Portable,
    carry::{self, PortableError},
    context,
    segment::{self, Held, NO_NUMBER, anonymous_file},
};

/// Returns the two ends of a queue whose ends can go to other processes, as arguments and values of tasks.
///
/// Both can be cloned, and be in as many tasks as there are: each value is received once, and those of one sender in
/// their order. Values are written down by serde. Some hundred wait in the queue; then sending blocks. An end that went
/// to a process with a task is dropped there when the task drops it, or its process dies; in a
/// [`map`](crate::Executor::map) of several inputs at once, with the last of them.
///
/// Two such queues are a pipe of both directions.
///
/// # Errors
///
/// If the system provides no more descriptors.
///
/// # Examples
///
/// ```
/// use raincheck::{Executor, ProcessPool, Sender, channel};
///
/// #[raincheck::task]
/// fn count(to: Sender<u32>, most: u32) {
///     for n in 1..=most {
///         to.send(&n).expect("the receiver waits for all of them");
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = ProcessPool::new(1);
/// let (sender, receiver) = channel()?;
/// let task = pool.submit(count::call(sender, 3));
/// assert_eq!(receiver.iter().collect::<Result<Vec<_>, _>>()?, [1, 2, 3]);
/// # task.result()?;
/// # Ok(())
/// # }
/// ```
pub fn channel<T: Portable>() -> io::Result<(Sender<T>, Receiver<T>)> {
    let (sender, receiver) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Sender(Arc::new(sender), PhantomData), Receiver(Arc::new(receiver), PhantomData)))
}

/// The end of a [`channel`] that values are put in.
pub struct Sender<T>(Arc<OwnedFd>, PhantomData<fn(T)>);

/// The end of a [`channel`] that values come out of.
pub struct Receiver<T>(Arc<OwnedFd>, PhantomData<fn() -> T>);

/// Why a value was not sent, or none was received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelError {
    /// Nobody is left at the other end. What was sent before is received first.
    Closed,
    /// The time that was given ran out.
    TimedOut,
    /// The value cannot be written down or read back, or the system does not carry it; why. The next one may do.
    NotCarried(Box<str>),
}

/// A value that is larger goes in memory of its own.
const LARGEST_IN_LINE: usize = 32 * 1024;

/// The first byte of a message: the value follows, or its length does and its memory comes along.
const IN_LINE: u8 = 0;
const BESIDE: u8 = 1;

impl<T: Portable> Sender<T> {
    /// Puts a value in.
    ///
    /// # Blocking
    ///
    /// Blocks while the queue is full.
    ///
    /// # Errors
    ///
    /// - [`ChannelError::Closed`] if nobody is left who could receive it.
    /// - [`ChannelError::NotCarried`] if serde or the system fails.
    pub fn send(&self, value: &T) -> Result<(), ChannelError> {
        self.send_until(value, None)
    }

    /// The same, but gives up after a while, with [`ChannelError::TimedOut`].
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and if the queue stays full.
    pub fn send_timeout(&self, value: &T, limit: Duration) -> Result<(), ChannelError> {
        self.send_until(value, Instant::now().checked_add(limit))
    }

    fn send_until(&self, value: &T, until: Option<Instant>) -> Result<(), ChannelError> {
        let mut message = vec![IN_LINE];
        carry::write(value, &mut message).map_err(|why| ChannelError::NotCarried(why.into()))?;
        let mut beside = None;
        if message.len() > LARGEST_IN_LINE {
            let length = (message.len() - 1) as u64;
            beside = Some(lay_beside(&message[1..]).map_err(not_carried)?);
            message.clear();
            message.push(BESIDE);
            message.extend_from_slice(&length.to_le_bytes());
        }
        let files = beside.as_ref().map(AsFd::as_fd);
        when_ready(&self.0, PollFlags::OUT, until, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if let Some(file) = &files {
                ancillary.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(file)));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            rustix::net::sendmsg(&self.0, &[io::IoSlice::new(&message)], &mut ancillary, flags)
        })
        .map(|_| ())
    }
}

impl<T: Portable> Receiver<T> {
    /// Takes the next value out.
    ///
    /// # Blocking
    ///
    /// Blocks while there is none.
    ///
    /// # Errors
    ///
    /// - [`ChannelError::Closed`] if nobody is left who could send one.
    /// - [`ChannelError::NotCarried`] if serde or the system fails.
    pub fn recv(&self) -> Result<T, ChannelError> {
        self.recv_until(None)
    }

    /// The same, but gives up after a while, with [`ChannelError::TimedOut`].
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv), and if none comes.
    pub fn recv_timeout(&self, limit: Duration) -> Result<T, ChannelError> {
        self.recv_until(Instant::now().checked_add(limit))
    }

    /// All values, as they come, until nobody is left who could send one.
    pub fn iter(&self) -> impl Iterator<Item = Result<T, ChannelError>> {
        std::iter::from_fn(|| match self.recv() {
            Err(ChannelError::Closed) => None,
            received => Some(received),
        })
    }

    fn recv_until(&self, until: Option<Instant>) -> Result<T, ChannelError> {
        let mut message = vec![0; 1 + LARGEST_IN_LINE];
        let (mut files, mut is_lost) = (Vec::<OwnedFd>::new(), false);
        let length = when_ready(&self.0, PollFlags::IN, until, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let room = &mut [io::IoSliceMut::new(&mut message)];
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let mut received = rustix::net::recvmsg(&self.0, room, &mut ancillary, flags)?;
            if received.bytes == 0 {
                // Nobody is left; but the system looks for that after it has looked for a message, and the last one
                // may have come in between.
                received = rustix::net::recvmsg(&self.0, room, &mut ancillary, flags)?;
            }
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(come) = message {
                    files.extend(come);
                }
            }
            is_lost = received.flags.contains(ReturnFlags::CTRUNC);
            Ok(received.bytes)
        })?;
        let value = match (message[..length].split_first(), files.pop()) {
            (None, _) => return Err(ChannelError::Closed),
            (Some((&IN_LINE, value)), _) => carry::read(value),
            (Some((_, length)), Some(file)) => {
                let bytes = take_from_beside(length, file).map_err(not_carried)?;
                carry::read(&bytes)
            }
            (Some(_), None) if is_lost => Err(format!("the memory that it was in was lost on arrival: {NO_NUMBER}")),
            (Some(_), None) => Err("the memory that a value was in has not come".into()),
        };
        value.map_err(|why| ChannelError::NotCarried(why.into()))
    }
}

/// Tries until it is ready or the time has come.
fn when_ready(
    socket: &OwnedFd,
    ready: PollFlags,
    until: Option<Instant>,
    mut attempt: impl FnMut() -> rustix::io::Result<usize>,
) -> Result<usize, ChannelError> {
    loop {
        match attempt() {
            Ok(bytes) => return Ok(bytes),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(ChannelError::Closed),
            Err(error) => return Err(not_carried(error.into())),
        }
        let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
        if rest.is_some_and(|rest| rest.is_zero()) {
            return Err(ChannelError::TimedOut);
        }
        let rest = rest.and_then(|rest| Timespec::try_from(rest).ok());
        // An interrupted wait is one in which nothing has come.
        context::blocking(|| poll(&mut [PollFd::new(socket, ready)], rest.as_ref()).unwrap_or(0));
    }
}

fn not_carried(error: io::Error) -> ChannelError {
    ChannelError::NotCarried(error.to_string().into())
}

fn lay_beside(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = fs::File::from(anonymous_file(bytes.len())?);
    file.write_all(bytes)?;
    Ok(file.into())
}

fn take_from_beside(length: &[u8], file: OwnedFd) -> io::Result<Vec<u8>> {
    let file = fs::File::from(file);
    let length = usize::try_from(super::number(length)?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length.min(usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX))];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("nobody is left at the other end of the channel"),
            Self::TimedOut => f.write_str("the channel was not ready in time"),
            Self::NotCarried(why) => write!(f, "a value could not be carried through the channel: {why}"),
        }
    }
}

impl std::error::Error for ChannelError {}

/// As what a task returns in a `Result`.
impl PortableError for ChannelError {
    fn into_parts(self) -> (String, i64) {
        match self {
            Self::Closed => (String::new(), 0),
            Self::TimedOut => (String::new(), 1),
            Self::NotCarried(why) => (why.into(), 2),
        }
    }

    fn from_parts(why: String, number: i64) -> Self {
        match number {
            0 => Self::Closed,
            1 => Self::TimedOut,
            _ => Self::NotCarried(why.into()),
        }
    }
}

const ONLY_WITH_TASKS: &str = "an end of a channel goes to another process only as an argument or a value of a task";

macro_rules! end {
    ($End:ident) => {
        impl<T> Clone for $End<T> {
            fn clone(&self) -> Self {
                Self(Arc::clone(&self.0), PhantomData)
            }
        }

        impl<T> fmt::Debug for $End<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($End)).finish_non_exhaustive()
            }
        }

        impl<T> Serialize for $End<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if !segment::can_attach() {
                    return Err(S::Error::custom(ONLY_WITH_TASKS));
                }
                serializer.serialize_u64(segment::attach_file(&self.0))
            }
        }

        impl<'de, T> Deserialize<'de> for $End<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match segment::attached(u64::deserialize(deserializer)?) {
                    Some(Held::File(_, file)) => Ok(Self(file, PhantomData)),
                    Some(Held::Lost(_)) => {
                        Err(D::Error::custom(format!("an end of a channel was lost on arrival: {NO_NUMBER}")))
                    }
                    _ => Err(D::Error::custom(ONLY_WITH_TASKS)),
                }
            }
        }
    };
}

end!(Sender);
end!(Receiver);
