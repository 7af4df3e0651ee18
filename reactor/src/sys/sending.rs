//! Sending datagrams: one, or many by one call.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::control::Control;
use super::datagram::{BATCH_MAX, Local, Remote, no_header};
use super::socket::RawAddress;
use super::transfer;

/// A datagram to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) slices: &'a [IoSlice<'a>],
    pub(crate) to: Remote<'a>,
    /// The address of this host to send it from.
    pub(crate) from: Option<Local>,
    /// It is several datagrams of this length, of which the last may be shorter (`UDP_SEGMENT`,
    /// `udp(7)`).
    pub(crate) segment: Option<u16>,
}

impl RawAddress {
    #[inline]
    fn of(remote: Remote<'_>) -> io::Result<Self> {
        match remote {
            Remote::Connected => Ok(Self::None),
            Remote::Ip(address) => Ok(Self::inet(&address)),
            Remote::Unix(name) => Self::unix_name(name),
        }
    }
}

/// Room to describe datagrams to the kernel, which is used again for each call.
#[derive(Default)]
pub(crate) struct SendRoom {
    names: Vec<RawAddress>,
    controls: Vec<Control>,
    headers: Vec<libc::mmsghdr>,
}

impl SendRoom {
    fn clear(&mut self) {
        self.names.clear();
        self.controls.clear();
        self.headers.clear();
    }

    /// Adds a datagram, without the pointers into this room, which may still move.
    fn add(&mut self, datagram: &Outgoing<'_>) -> io::Result<()> {
        let mut described = no_header();
        let header = &mut described.msg_hdr;
        header.msg_iov = datagram.slices.as_ptr().cast_mut().cast();
        header.msg_iovlen = datagram.slices.len() as _;
        if let Some(control) = Control::of(datagram) {
            header.msg_controllen = control.used() as _;
            self.controls.push(control);
        }
        self.names.push(RawAddress::of(datagram.to)?);
        self.headers.push(described);
        Ok(())
    }

    /// Makes the headers point at their names and controls.
    fn point(&mut self) {
        let mut controls = self.controls.iter_mut();
        for (described, name) in self.headers.iter_mut().zip(&self.names) {
            let (_, address, length) = name.parts();
            let header = &mut described.msg_hdr;
            header.msg_name = address.cast_mut().cast();
            header.msg_namelen = length;
            if header.msg_controllen > 0
                && let Some(control) = controls.next()
            {
                header.msg_control = control.as_mut_ptr().cast();
            }
        }
    }
}

/// Sends `datagrams`, or the first of them (`sendmmsg(2)`), and returns how many, which is at least
/// one. It never raises `SIGPIPE`.
pub(crate) fn send_batch<'a>(
    fd: BorrowedFd<'_>,
    datagrams: impl Iterator<Item = Outgoing<'a>>,
    room: &mut SendRoom,
) -> io::Result<usize> {
    room.clear();
    for datagram in datagrams.take(BATCH_MAX) {
        room.add(&datagram)?;
    }
    room.point();
    let (headers, count) = (room.headers.as_mut_ptr(), room.headers.len());
    transfer(|| {
        let (call, flags) = (libc::SYS_sendmmsg, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        // SAFETY: each header points at a name, at slices (an IoSlice is an iovec) and at a control
        // that are readable, and that sending does not change; none of these moves during the call.
        unsafe { libc::syscall(call, fd.as_raw_fd(), headers, count, flags) }
    })
}

/// Sends one datagram (`sendmsg(2)`), for less than [`send_batch`] takes. It never raises `SIGPIPE`.
#[inline]
pub(crate) fn send_one(fd: BorrowedFd<'_>, datagram: &Outgoing<'_>) -> io::Result<()> {
    let mut header = no_header().msg_hdr;
    header.msg_iov = datagram.slices.as_ptr().cast_mut().cast();
    header.msg_iovlen = datagram.slices.len() as _;
    let name = RawAddress::of(datagram.to)?;
    let (_, address, length) = name.parts();
    header.msg_name = address.cast_mut().cast();
    header.msg_namelen = length;
    let mut control = Control::of(datagram);
    if let Some(control) = &mut control {
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = control.used() as _;
    }
    transfer(|| {
        let (call, flags) = (libc::SYS_sendmsg, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        // SAFETY: the header points at a name, at slices (an IoSlice is an iovec) and at a control
        // that are readable, and that sending does not change; none of these moves during the call.
        unsafe { libc::syscall(call, fd.as_raw_fd(), &header, flags) }
    })
    .map(drop)
}
