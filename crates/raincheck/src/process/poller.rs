//! One thread's wait for all sockets.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

/// Something that is waited for has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    pub(super) token: u64,
    pub(super) can_read: bool,
    pub(super) can_write: bool,
}

/// What of a socket is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Interest {
    pub(super) read: bool,
    pub(super) write: bool,
}

pub(super) use system::{Poller, ring};

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use rustix::event::{
        EventfdFlags,
        epoll::{self, CreateFlags, EventData, EventFlags},
        eventfd,
    };

    use super::*;

    /// Waits for many descriptors; a change of what is waited for reaches a wait that is under way.
    pub(in crate::process) struct Poller {
        epoll: OwnedFd,
        bell: OwnedFd,
    }

    const BELL: u64 = u64::MAX;

    impl Poller {
        pub(in crate::process) fn new() -> io::Result<Self> {
            let epoll = epoll::create(CreateFlags::CLOEXEC)?;
            let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            epoll::add(&epoll, &bell, EventData::new_u64(BELL), EventFlags::IN)?;
            Ok(Self { epoll, bell })
        }

        pub(in crate::process) fn add(&self, what: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
            Ok(epoll::add(&self.epoll, what, EventData::new_u64(token), flags(interest))?)
        }

        pub(in crate::process) fn change(&self, what: BorrowedFd<'_>, token: u64, interest: Interest) {
            // It fails only if what is changed was removed, and then it does not matter.
            let _ = epoll::modify(&self.epoll, what, EventData::new_u64(token), flags(interest));
        }

        pub(in crate::process) fn remove(&self, what: BorrowedFd<'_>) {
            let _ = epoll::delete(&self.epoll, what);
        }

        /// Wakes who waits.
        pub(in crate::process) fn wake(&self) {
            ring(&self.bell);
        }

        /// By which another process can do so.
        pub(in crate::process) fn bell(&self) -> BorrowedFd<'_> {
            self.bell.as_fd()
        }

        /// Blocks until something has come. Says whether the bell has rung.
        pub(in crate::process) fn wait(&self, ready: &mut Vec<Ready>) -> io::Result<bool> {
            ready.clear();
            let mut has_rung = false;
            let mut events = Vec::with_capacity(64);
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events {
                let (token, flags) = (event.data.u64(), event.flags);
                if token == BELL {
                    let _ = rustix::io::read(&self.bell, &mut [0; 8]);
                    has_rung = true;
                    continue;
                }
                let is_over = flags.intersects(EventFlags::HUP | EventFlags::ERR);
                ready.push(Ready {
                    token,
                    can_read: is_over || flags.contains(EventFlags::IN),
                    can_write: flags.contains(EventFlags::OUT),
                });
            }
            Ok(has_rung)
        }
    }

    /// Wakes who waits where this bell is.
    pub(in crate::process) fn ring(bell: impl AsFd) {
        let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
    }

    fn flags(interest: Interest) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, interest.read);
        flags.set(EventFlags::OUT, interest.write);
        flags
    }
}

/// The same by `poll`, for systems without `epoll`: all are listed anew for each wait.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::{
        collections::BTreeMap,
        os::fd::AsRawFd,
        sync::{Mutex, MutexGuard, PoisonError},
    };

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    pub(in crate::process) struct Poller {
        listed: Mutex<BTreeMap<i32, (OwnedFd, u64, Interest)>>,
        bell: (OwnedFd, OwnedFd),
    }

    impl Poller {
        pub(in crate::process) fn new() -> io::Result<Self> {
            let (reader, writer) = io::pipe()?;
            rustix::io::ioctl_fionbio(&reader, true)?;
            rustix::io::ioctl_fionbio(&writer, true)?;
            Ok(Self { listed: Mutex::default(), bell: (reader.into(), writer.into()) })
        }

        fn listed(&self) -> MutexGuard<'_, BTreeMap<i32, (OwnedFd, u64, Interest)>> {
            self.listed.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(in crate::process) fn add(&self, what: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
            let own = what.try_clone_to_owned()?;
            self.listed().insert(what.as_raw_fd(), (own, token, interest));
            self.wake();
            Ok(())
        }

        pub(in crate::process) fn change(&self, what: BorrowedFd<'_>, _token: u64, interest: Interest) {
            if let Some(listed) = self.listed().get_mut(&what.as_raw_fd()) {
                listed.2 = interest;
            }
            self.wake();
        }

        pub(in crate::process) fn remove(&self, what: BorrowedFd<'_>) {
            self.listed().remove(&what.as_raw_fd());
        }

        pub(in crate::process) fn wake(&self) {
            ring(&self.bell.1);
        }

        pub(in crate::process) fn bell(&self) -> BorrowedFd<'_> {
            self.bell.1.as_fd()
        }

        pub(in crate::process) fn wait(&self, ready: &mut Vec<Ready>) -> io::Result<bool> {
            ready.clear();
            let listed: Vec<(OwnedFd, u64, Interest)> = self
                .listed()
                .values()
                .filter_map(|(fd, token, interest)| Some((fd.try_clone().ok()?, *token, *interest)))
                .collect();
            let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(&self.bell.0, PollFlags::IN)];
            for (fd, _, interest) in &listed {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, interest.read);
                flags.set(PollFlags::OUT, interest.write);
                fds.push(PollFd::new(fd, flags));
            }
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let has_rung = !fds[0].revents().is_empty();
            if has_rung {
                let _ = rustix::io::read(&self.bell.0, &mut [0; 64]);
            }
            for (fd, (_, token, _)) in fds[1..].iter().zip(&listed) {
                let come = fd.revents();
                if !come.is_empty() {
                    let is_over = come.intersects(PollFlags::HUP | PollFlags::ERR);
                    ready.push(Ready {
                        token: *token,
                        can_read: is_over || come.contains(PollFlags::IN),
                        can_write: come.contains(PollFlags::OUT),
                    });
                }
            }
            Ok(has_rung)
        }
    }

    pub(in crate::process) fn ring(bell: impl AsFd) {
        let _ = rustix::io::write(bell, &[1]);
    }
}
