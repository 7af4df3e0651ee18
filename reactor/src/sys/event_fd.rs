//! `eventfd(2)`: a counter that a loop can wait for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// An event that any thread can notify and a loop waits for.
pub(crate) struct EventFd {
    fd: OwnedFd,
}

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointer.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor was just opened, and no other code owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Makes the event readable, from any thread. It fails only when the counter is full, when the
    /// event is readable already.
    pub(crate) fn notify(&self) {
        notify_raw(self.fd.as_raw_fd());
    }

    /// Replaces the event by a new one that has the same number, so that a forked process and its
    /// original no longer share it. Other descriptors of the event are not changed.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let new = Self::new()?;
        let (from, to) = (new.fd.as_raw_fd(), self.fd.as_raw_fd());
        // SAFETY: dup3 takes no pointer, and this value owns the number that is replaced.
        check(unsafe { libc::dup3(from, to, libc::O_CLOEXEC) }).map(drop)
    }

    /// Returns another descriptor of the same event.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Adds one to the counter of `fd`. It is async-signal-safe, as `write(2)` is.
pub(super) fn notify_raw(fd: i32) {
    let one = 1_u64;
    // SAFETY: `one` is readable for its eight bytes.
    unsafe { libc::write(fd, std::ptr::from_ref(&one).cast(), size_of::<u64>()) };
}
