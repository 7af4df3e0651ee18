//! Calls that wait, for sockets in blocking mode.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::io_calls::send_gathered;
use super::{check, poll, timespec};
use crate::Readiness;

/// Whether a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as the timeout of the socket, and until a signal is handled.
    Waits,
    /// Not at all (`MSG_DONTWAIT`).
    Never,
}

/// `recv(2)`. A signal that is handled meanwhile ends it with
/// [`Interrupted`](io::ErrorKind::Interrupted), also with `SA_RESTART` if the socket has a timeout
/// (`signal(7)`).
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    room: &mut [u8],
    patience: Patience,
) -> io::Result<usize> {
    let flags = if patience == Patience::Never { libc::MSG_DONTWAIT } else { 0 };
    let (pointer, length) = (room.as_mut_ptr().cast(), room.len());
    // SAFETY: the room is writable for the given number of bytes.
    let count = unsafe { libc::recv(fd.as_raw_fd(), pointer, length, flags) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// `sendmsg(2)`, which does not wait. It never raises `SIGPIPE` (P26).
pub(crate) fn send_now(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    send_gathered(fd, slices, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
}

/// Sets how long a receiving call waits (`SO_RCVTIMEO`, `socket(7)`); zero is for ever.
pub(crate) fn set_receive_timeout(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    set_timeout(fd, libc::SO_RCVTIMEO, timeout)
}

/// Sets how long a sending call waits, and `connect(2)` of a Unix socket (`SO_SNDTIMEO`); zero is for
/// ever.
pub(crate) fn set_send_timeout(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    set_timeout(fd, libc::SO_SNDTIMEO, timeout)
}

fn set_timeout(fd: BorrowedFd<'_>, option: libc::c_int, timeout: Duration) -> io::Result<()> {
    let time = libc::timeval {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: libc::suseconds_t::from(timeout.subsec_micros()),
    };
    let length = size_of_val(&time) as libc::socklen_t;
    let pointer = std::ptr::from_ref(&time).cast();
    // SAFETY: `time` is readable for its own length.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, pointer, length) })
        .map(drop)
}

/// Makes a descriptor blocking (`fcntl(2)`).
pub(crate) fn set_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_GETFL takes no pointer.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: F_SETFL takes no pointer.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK) })
        .map(drop)
}

/// Ends the receiving side (`shutdown(2)`): a call that waits for input returns.
pub(crate) fn shutdown_read(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: shutdown takes no pointer.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RD) }).map(drop)
}

/// Ends both sides (`shutdown(2)`).
pub(crate) fn shutdown_both(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: shutdown takes no pointer.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RDWR) }).map(drop)
}

/// What a descriptor is waited for, and what it is ready for.
#[derive(Clone, Copy)]
pub(crate) struct Polled<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) hang_up: bool,
    pub(crate) found: Readiness,
}

/// Waits until one of `fds` is ready, for `timeout` at most; `None` is for ever (`ppoll(2)`). Errors
/// and hang-ups make a descriptor ready too. Returns how many are ready, or `None` when a signal was
/// handled.
pub(crate) fn poll_all(
    fds: &mut [Polled<'_>],
    timeout: Option<Duration>,
) -> io::Result<Option<usize>> {
    let entry = |it: &Polled<'_>| {
        let mut events = 0;
        for (is_wanted, event) in
            [(it.read, libc::POLLIN), (it.write, libc::POLLOUT), (it.hang_up, libc::POLLRDHUP)]
        {
            events |= if is_wanted { event } else { 0 };
        }
        libc::pollfd { fd: it.fd.as_raw_fd(), events, revents: 0 }
    };
    let mut entries: Vec<libc::pollfd> = fds.iter().map(entry).collect();
    let time = timeout.map(timespec);
    let (pointer, count) = (entries.as_mut_ptr(), entries.len() as libc::nfds_t);
    let (limit, mask) = (super::pointer(time.as_ref()), std::ptr::null());
    // SAFETY: there are `count` valid entries, which outlive the call, as the time does. The mask may
    // be null.
    let ready = super::reported(unsafe { libc::ppoll(pointer, count, limit, mask) })?;
    for (it, entry) in fds.iter_mut().zip(&entries) {
        it.found = poll::readiness(entry.revents);
    }
    Ok(ready)
}
