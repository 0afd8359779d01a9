//! Bytes through a socket, and descriptors that go along. What systems differ in stands here.

use std::{
    io::IoSlice,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::net::UnixStream,
    time::Duration,
};

use rustix::{
    io::{Errno, Result},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags,
    },
};

/// How many descriptors go with one message at most.
const MOST_FILES: usize = 3;

/// A pair of sockets. To write where nobody reads is an error, and no signal.
pub(super) fn pair() -> std::io::Result<(UnixStream, UnixStream)> {
    let pair = UnixStream::pair()?;
    #[cfg(target_vendor = "apple")]
    for end in [&pair.0, &pair.1] {
        rustix::net::sockopt::set_socket_nosigpipe(end, true)?;
    }
    Ok(pair)
}

/// Sends bytes. How many were sent comes back.
pub(super) fn send(socket: &UnixStream, bytes: &[u8]) -> Result<usize> {
    rustix::net::send(socket, bytes, WITHOUT_SIGNAL)
}

/// Sends bytes, and with the first of them descriptors, of which there are few.
pub(super) fn send_with(socket: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>]) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(files));
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, WITHOUT_SIGNAL)
}

/// Whether what could not be sent may be sent a little later: the system has no room for it, or too many descriptors of this
/// user are on their way.
pub(super) fn passes(error: Errno) -> bool {
    matches!(error, Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM)
}

/// How long that may take.
pub(super) const WHILE: Duration = Duration::from_millis(1);

/// Receives bytes into `room`, and the descriptors that came with them, which no program inherits that is started from
/// here; `None` is one for which this process had no number left. How many bytes have come comes back.
pub(super) fn receive(socket: impl AsFd, room: &mut [u8], files: &mut Vec<Option<OwnedFd>>) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let room = &mut [std::io::IoSliceMut::new(room)];
    let come = rustix::net::recvmsg(socket, room, &mut ancillary, TO_BE_CLOSED)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            files.extend(received.inspect(close_in_others).map(Some));
        }
    }
    if come.flags.contains(ReturnFlags::CTRUNC) {
        files.push(None);
    }
    Ok(come.bytes)
}

#[cfg(not(target_vendor = "apple"))]
const WITHOUT_SIGNAL: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(target_vendor = "apple"))]
const TO_BE_CLOSED: RecvFlags = RecvFlags::CMSG_CLOEXEC;

#[cfg(not(target_vendor = "apple"))]
fn close_in_others(_: &OwnedFd) {}

/// There the socket is told once.
#[cfg(target_vendor = "apple")]
const WITHOUT_SIGNAL: SendFlags = SendFlags::empty();
#[cfg(target_vendor = "apple")]
const TO_BE_CLOSED: RecvFlags = RecvFlags::empty();

/// A program that another thread starts just before this inherits it still.
#[cfg(target_vendor = "apple")]
fn close_in_others(file: &OwnedFd) {
    // A descriptor that has just come is one that can be told.
    let _ = rustix::io::fcntl_setfd(file, rustix::io::FdFlags::CLOEXEC);
}
