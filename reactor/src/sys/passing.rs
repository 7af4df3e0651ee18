//! Descriptors that are passed over Unix sockets (`SCM_RIGHTS`, `unix(7)`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::control::{HEADER, messages, write_message};
use super::datagram::no_header;
use super::transfer;

/// The most descriptors of one message: `SCM_MAX_FD` of the kernel (`unix(7)`).
pub(crate) const DESCRIPTORS_MAX: usize = 253;

/// The length of a descriptor in a control message.
const ONE: usize = size_of::<libc::c_int>();

/// Room for what the kernel may write before the descriptors if other code asked for it: the
/// credentials of the sender, and a descriptor of its process.
const OTHERS: usize = 64;

/// `SCM_PIDFD` (Linux 6.5), which `libc` does not define.
const SCM_PIDFD: libc::c_int = 0x04;

/// Whether a call waits until the socket is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// It would block instead, whatever the mode of the descriptor.
    Never,
    /// The mode of the descriptor decides.
    ByMode,
}

impl Waiting {
    fn flag(self) -> libc::c_int {
        match self {
            Self::Never => libc::MSG_DONTWAIT,
            Self::ByMode => 0,
        }
    }
}

/// What was received in one message.
#[derive(Debug)]
pub(crate) struct Message {
    /// How many bytes.
    pub(crate) length: usize,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// It had more bytes, which are lost.
    pub(crate) lacks_bytes: bool,
    /// It had more descriptors, which are closed.
    pub(crate) lacks_descriptors: bool,
}

/// Room for control messages, aligned for their headers.
#[repr(C, align(8))]
struct Room<const SIZE: usize>([u8; SIZE]);

/// Sends bytes with `descriptors`, of which there are [`DESCRIPTORS_MAX`] at most (`sendmsg(2)`).
/// It never raises `SIGPIPE`.
pub(crate) fn send_descriptors(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
    waiting: Waiting,
) -> io::Result<usize> {
    let mut numbers = [0; DESCRIPTORS_MAX * ONE];
    for (place, descriptor) in numbers.chunks_exact_mut(ONE).zip(descriptors) {
        place.copy_from_slice(&descriptor.as_raw_fd().to_ne_bytes());
    }
    let numbers = &numbers[..descriptors.len().min(DESCRIPTORS_MAX) * ONE];
    let mut room = Room([0; HEADER + DESCRIPTORS_MAX * ONE]);
    let mut slice =
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut header = no_header().msg_hdr;
    (header.msg_iov, header.msg_iovlen) = (&mut slice, 1);
    if !numbers.is_empty() {
        let length = write_message(&mut room.0, libc::SOL_SOCKET, libc::SCM_RIGHTS, numbers);
        header.msg_control = room.0.as_mut_ptr().cast();
        header.msg_controllen = length as _;
    }
    let flags = libc::MSG_NOSIGNAL | waiting.flag();
    transfer(|| {
        // SAFETY: the header points at readable bytes and control messages, which sending does not
        // change and which outlive the call.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &header, flags) as libc::c_long }
    })
}

/// Receives bytes, and the first `most` of the descriptors that were sent with them, closed on exec
/// (`recvmsg(2)`). The others are closed.
pub(crate) fn receive_descriptors(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    most: usize,
    waiting: Waiting,
) -> io::Result<Message> {
    let most = most.min(DESCRIPTORS_MAX);
    let mut room = Room([0; HEADER + DESCRIPTORS_MAX * ONE + OTHERS]);
    let mut slice = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut header = no_header().msg_hdr;
    (header.msg_iov, header.msg_iovlen) = (&mut slice, 1);
    header.msg_control = room.0.as_mut_ptr().cast();
    let available = HEADER + most * ONE + OTHERS;
    let flags = libc::MSG_CMSG_CLOEXEC | waiting.flag();
    let length = transfer(|| {
        header.msg_controllen = available as _;
        // SAFETY: the header points at writable bytes and control messages, which outlive the call,
        // and `available` is not more than the latter have.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &mut header, flags) as libc::c_long }
    })?;
    let written: usize = header.msg_controllen as _;
    let mut descriptors = opened(&room.0[..written.min(room.0.len())]);
    let has_more = descriptors.len() > most;
    // What the room for other messages took, if there were none.
    descriptors.truncate(most);
    Ok(Message {
        length,
        descriptors,
        lacks_bytes: header.msg_flags & libc::MSG_TRUNC != 0,
        lacks_descriptors: has_more || header.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// Takes over the descriptors that the kernel has opened for this process and written to `room`.
fn opened(room: &[u8]) -> Vec<OwnedFd> {
    let mut passed = Vec::new();
    for (level, kind, content) in messages(room) {
        if level != libc::SOL_SOCKET || !matches!(kind, libc::SCM_RIGHTS | SCM_PIDFD) {
            continue;
        }
        let owned = content.chunks_exact(ONE).filter_map(|bytes| {
            let number = libc::c_int::from_ne_bytes(bytes.try_into().ok()?);
            // SAFETY: the kernel has just opened it for this call, and no other code owns it.
            (number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) })
        });
        if kind == libc::SCM_RIGHTS {
            passed.extend(owned);
        } else {
            // It was not asked for here. It is closed.
            owned.for_each(drop);
        }
    }
    passed
}

/// Returns whether a descriptor is a Unix socket (`SO_DOMAIN`, `socket(7)`).
pub(crate) fn is_unix_socket(fd: BorrowedFd<'_>) -> io::Result<bool> {
    super::socket::socket_option(fd, libc::SO_DOMAIN).map(|domain| domain == libc::AF_UNIX)
}
