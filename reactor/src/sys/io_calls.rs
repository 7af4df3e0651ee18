//! Reading, writing and polling.
//!
//! The calls of every message use `syscall(2)` directly. The functions of the C library are
//! cancellation points, which cost a program with threads four atomic operations a message.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::sigpipe::{Sigpipe, without_sigpipe};
use super::{check, poll, transfer};
use crate::{Interest, Readiness};

/// The most bytes of one call: the kernel transfers no more (`sendfile(2)`).
const TRANSFER_MAX: u64 = 0x7fff_f000;

/// The most slices of one call (`IOV_MAX`, `writev(2)`).
pub(crate) const SLICES_MAX: usize = 1024;

/// `read(2)`.
#[inline]
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    transfer(|| {
        let (pointer, length) = (buffer.as_mut_ptr(), buffer.len());
        // SAFETY: the buffer is writable for the given number of bytes.
        unsafe { libc::syscall(libc::SYS_read, fd.as_raw_fd(), pointer, length) }
    })
}

/// `writev(2)`, for descriptors that are no sockets. It never raises `SIGPIPE`.
pub(crate) fn writev(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = slices.len().min(SLICES_MAX) as libc::c_int;
    without_sigpipe(&mut Sigpipe::Unknown, || {
        transfer(|| {
            // SAFETY: an IoSlice is an iovec (std guarantees it), and there are `count` of them.
            unsafe { libc::writev(fd.as_raw_fd(), slices.as_ptr().cast(), count) as libc::c_long }
        })
    })
}

/// `send(2)` or `sendmsg(2)`. It never raises `SIGPIPE` (P26).
#[inline]
pub(crate) fn send(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    if let [only] = slices {
        return transfer(|| {
            let (pointer, length, flags) = (only.as_ptr(), only.len(), libc::MSG_NOSIGNAL);
            let (anywhere, none) = (std::ptr::null::<libc::sockaddr>(), 0);
            // SAFETY: the slice is readable for the given number of bytes, and a connected socket
            // takes no address.
            unsafe {
                libc::syscall(
                    libc::SYS_sendto,
                    fd.as_raw_fd(),
                    pointer,
                    length,
                    flags,
                    anywhere,
                    none,
                )
            }
        });
    }
    send_gathered(fd, slices, libc::MSG_NOSIGNAL)
}

/// `sendmsg(2)` with `MSG_MORE`: bytes that do not fill a segment wait for the next call.
pub(crate) fn send_more(fd: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    send_gathered(fd, slices, libc::MSG_NOSIGNAL | libc::MSG_MORE)
}

pub(super) fn send_gathered(
    fd: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    flags: libc::c_int,
) -> io::Result<usize> {
    // SAFETY: all-zero bytes are a valid msghdr: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len().min(SLICES_MAX);
    transfer(|| {
        // SAFETY: `message` points at valid slices, which sending does not change.
        unsafe { libc::syscall(libc::SYS_sendmsg, fd.as_raw_fd(), &raw const message, flags) }
    })
}

/// `sendfile(2)`. It never raises `SIGPIPE`, unless `known` was wrong.
pub(crate) fn sendfile(
    fd: BorrowedFd<'_>,
    file: &File,
    offset: u64,
    length: u64,
    known: &mut Sigpipe,
) -> io::Result<usize> {
    let start = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let count = length.min(TRANSFER_MAX) as usize;
    without_sigpipe(known, || {
        transfer(|| {
            let mut position = start;
            // SAFETY: both descriptors are open while borrowed, and `position` outlives the call.
            unsafe {
                libc::sendfile(fd.as_raw_fd(), file.as_raw_fd(), &mut position, count)
                    as libc::c_long
            }
        })
    })
}

/// Returns the part of `interest` that a descriptor is ready for now (`poll(2)` without waiting).
pub(crate) fn ready_now(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<Readiness> {
    let mut events = 0;
    if interest.contains(Interest::READ) {
        events |= libc::POLLIN;
    }
    if interest.contains(Interest::WRITE) {
        events |= libc::POLLOUT;
    }
    if interest.contains(Interest::PRIORITY) {
        events |= libc::POLLPRI;
    }
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: `entry` is one valid entry and outlives the call.
    super::reported(unsafe { libc::poll(&mut entry, 1, 0) })?;
    Ok(poll::readiness(entry.revents))
}

/// Waits until one of `fds` has input, has ended, or a signal arrives (`poll(2)`).
pub(crate) fn wait_for_input(fds: Vec<BorrowedFd<'_>>) -> io::Result<()> {
    let entry =
        |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut entries: Vec<libc::pollfd> = fds.into_iter().map(entry).collect();
    let count = entries.len() as libc::nfds_t;
    // SAFETY: there are `count` valid entries, which outlive the call.
    super::reported(unsafe { libc::poll(entries.as_mut_ptr(), count, -1) }).map(drop)
}

/// Makes a descriptor non-blocking (`fcntl(2)`).
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_GETFL takes no pointer.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    if flags & libc::O_NONBLOCK != 0 {
        return Ok(());
    }
    // SAFETY: F_SETFL takes no pointer.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(drop)
}

/// Returns the device and the inode of a descriptor (`fstat(2)`), which its copies share.
pub(crate) fn identity(fd: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    // SAFETY: all-zero bytes are a valid stat, which is made of integers.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `status` outlives the call.
    check(unsafe { libc::fstat(fd.as_raw_fd(), &mut status) })?;
    Ok((status.st_dev, status.st_ino))
}
