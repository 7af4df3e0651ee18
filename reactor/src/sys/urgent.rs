//! Urgent data of TCP and Unix streams (`tcp(7)`, `unix(7)`): one byte outside of the order of the
//! others, called out-of-band data too.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::socket::{set_option, socket_option};
use super::{check, transfer};

// SAFETY: this is the declaration of POSIX, sockatmark(3), which `libc` does not have.
unsafe extern "C" {
    fn sockatmark(fd: libc::c_int) -> libc::c_int;
}

/// Sends one urgent byte (`MSG_OOB`, `send(2)`), and never blocks.
pub(crate) fn send_urgent(fd: BorrowedFd<'_>, byte: u8) -> io::Result<()> {
    let flags = libc::MSG_OOB | libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let pointer = std::ptr::from_ref(&byte).cast();
    transfer(|| {
        // SAFETY: `byte` is one readable byte and outlives the call.
        unsafe { libc::send(fd.as_raw_fd(), pointer, 1, flags) as libc::c_long }
    })
    .map(drop)
}

/// Receives the urgent byte (`MSG_OOB`, `recv(2)`), and never blocks. `None` is the end of the stream.
pub(crate) fn receive_urgent(fd: BorrowedFd<'_>) -> io::Result<Option<u8>> {
    let mut byte = 0_u8;
    let flags = libc::MSG_OOB | libc::MSG_DONTWAIT;
    let pointer = std::ptr::from_mut(&mut byte).cast();
    let count = transfer(|| {
        // SAFETY: `byte` is one writable byte and outlives the call.
        unsafe { libc::recv(fd.as_raw_fd(), pointer, 1, flags) as libc::c_long }
    })?;
    Ok((count == 1).then_some(byte))
}

/// Sets whether an urgent byte is among the others (`SO_OOBINLINE`, `socket(7)`).
pub(crate) fn set_urgent_inline(fd: BorrowedFd<'_>, is_inline: bool) -> io::Result<()> {
    set_option(fd, libc::SOL_SOCKET, libc::SO_OOBINLINE, i32::from(is_inline))
}

/// Returns whether an urgent byte is among the others.
pub(crate) fn is_urgent_inline(fd: BorrowedFd<'_>) -> io::Result<bool> {
    socket_option(fd, libc::SO_OOBINLINE).map(|value| value != 0)
}

/// Returns whether the next byte to read comes after the mark of the urgent one, or is that byte if it
/// is among the others (`sockatmark(3)`).
pub(crate) fn is_at_mark(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: sockatmark takes no pointer.
    check(unsafe { sockatmark(fd.as_raw_fd()) }).map(|at_mark| at_mark == 1)
}
