//! Room for as many open files as there will be.

use std::io;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For more than these, the system makes room as they are opened.
const AT_ONCE: u64 = 4096;

/// Lets this program have so many files open, as far as the system's hard limit goes, and returns how many of them it may.
///
/// To be called before there is a second thread: Linux makes a larger table when there are more of them, and lets a program
/// of several threads wait each time until nobody can be looking at the old one, for ten milliseconds and more
/// (`expand_fdtable` in its `fs/file.c`).
pub(crate) fn make_room(files: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let mut allowed = limit.maximum.map_or(files, |maximum| files.min(maximum));
    if let Some(current) = limit.current.filter(|current| *current < allowed)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), ..limit }).is_err()
    {
        allowed = current;
    }
    let last = allowed.min(AT_ONCE).saturating_sub(1);
    // The table keeps its size when this is closed again.
    let _ = fcntl_dupfd_cloexec(io::stdin(), last as i32);
    allowed
}
