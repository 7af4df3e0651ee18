//! Datagrams: UDP over IPv4 and IPv6, and Unix. Many are received or sent by one call.

use std::io;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

use super::socket::peer_address;
use super::{check, transfer};
use crate::sys::control::{Control, Note};
use crate::sys::plain::Plain;

/// The most datagrams of one call.
pub(crate) const BATCH_MAX: usize = 32;

/// The distance between the places of two datagrams differs from a power of two, so that their
/// first bytes do not compete for the same lines of the processor's cache.
const STAGGER: usize = 192;

/// The remote side of a datagram, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remote<'a> {
    /// That of a connected socket.
    Connected,
    Ip(SocketAddr),
    /// The name of a Unix socket (`unix(7)`): a path, an abstract name after a zero byte, or
    /// nothing.
    Unix(&'a [u8]),
}

/// An address of this host, and the index of its interface.
pub(crate) type Local = (IpAddr, u32);

/// What is known about a received datagram besides its bytes and its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Its length as it was sent.
    pub(crate) length: usize,
    /// How many of its bytes were kept.
    pub(crate) kept: usize,
    pub(crate) is_truncated: bool,
    /// There are [`Notes`].
    pub(crate) is_noted: bool,
}

/// What the kernel says about a received datagram, if the socket asks for it and there is something
/// to say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notes {
    /// The address that it was sent to.
    pub(crate) asked: Option<Local>,
    /// How many datagrams the kernel has dropped at this socket so far, if it says so.
    pub(crate) missed: Option<u32>,
    /// These bytes are several datagrams of this length, of which the last may be shorter
    /// (`UDP_GRO`, `udp(7)`).
    pub(crate) segment: Option<usize>,
}

impl Notes {
    /// Returns what the control messages in the first `length` bytes say.
    fn of(control: &Control, length: usize) -> Self {
        let mut notes = Self::default();
        for note in control.notes(length) {
            match note {
                Note::Asked(address) => notes.asked = Some(address),
                Note::Missed(count) => notes.missed = Some(count),
                Note::Segment(length) => notes.segment = Some(length),
                Note::Refused(_) => {}
            }
        }
        notes
    }
}

/// An error that the network has reported for a datagram that was sent.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) error: io::Error,
    /// The receiver of that datagram.
    pub(crate) to: Option<SocketAddr>,
    /// The kernel has reported it to the call that sent the datagram already.
    pub(crate) was_told: bool,
}

/// Returns a header without content.
pub(super) fn no_header() -> libc::mmsghdr {
    // SAFETY: all-zero bytes are a valid mmsghdr: null pointers with zero lengths.
    unsafe { std::mem::zeroed() }
}

const NO_SLICE: libc::iovec = libc::iovec { iov_base: null_mut(), iov_len: 0 };

/// A name as the kernel writes it, of any family.
#[derive(Clone, Copy)]
#[repr(C)]
union RawName {
    storage: libc::sockaddr_storage,
    ip: libc::sockaddr_in6,
    unix: libc::sockaddr_un,
}

/// Places for the datagrams that one call receives.
pub(crate) struct Batch {
    /// How many bytes of a datagram there is room for.
    size: usize,
    /// How many bytes of a datagram are kept.
    kept: usize,
    bytes: Vec<u8>,
    names: Vec<RawName>,
    controls: Vec<Control>,
    slices: Vec<libc::iovec>,
    /// They point into the vectors above, which never grow. Between two calls, only the lengths are
    /// set anew.
    headers: Vec<libc::mmsghdr>,
    /// How many of the headers the kernel may have changed.
    used: usize,
    /// What a simulated kernel has put there instead.
    plain: Vec<Plain>,
}

impl Batch {
    /// Returns places for datagrams of up to `size` bytes. The kernel gives them memory when they
    /// are first used.
    pub(crate) fn new(size: usize) -> Self {
        // SAFETY: all-zero bytes are a valid sockaddr_storage, which is made of integers.
        let name = RawName { storage: unsafe { std::mem::zeroed() } };
        let mut batch = Self {
            size,
            kept: size,
            bytes: vec![0; (size + STAGGER) * BATCH_MAX],
            names: vec![name; BATCH_MAX],
            controls: vec![Control::EMPTY; BATCH_MAX],
            slices: vec![NO_SLICE; BATCH_MAX],
            headers: vec![no_header(); BATCH_MAX],
            used: BATCH_MAX,
            plain: Vec::new(),
        };
        batch.point();
        batch
    }

    /// Makes the headers point at their places.
    fn point(&mut self) {
        let places = self.bytes.chunks_exact_mut(self.size + STAGGER);
        let parts = self.names.iter_mut().zip(&mut self.controls).zip(places);
        let headers = self.headers.iter_mut().zip(&mut self.slices);
        for ((header, slice), ((name, control), place)) in headers.zip(parts) {
            *slice = libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: self.kept };
            let header = &mut header.msg_hdr;
            header.msg_name = std::ptr::from_mut(name).cast();
            (header.msg_iov, header.msg_iovlen) = (slice, 1);
            header.msg_control = control.as_mut_ptr().cast();
        }
    }

    /// Keeps `size` bytes of each datagram from now on, and returns true if there is room for them.
    #[inline]
    pub(crate) fn keep(&mut self, size: usize) -> bool {
        let kept = size.min(self.size);
        if kept != self.kept {
            self.kept = kept;
            self.slices.iter_mut().for_each(|slice| slice.iov_len = kept);
        }
        size <= self.size
    }

    /// Begins a batch of a simulated kernel.
    pub(crate) fn begin_plain(&mut self) {
        self.plain.clear();
    }

    /// Appends a datagram to a batch of a simulated kernel.
    pub(crate) fn put_plain(&mut self, bytes: &[u8], about: Plain) {
        let start = self.plain.len() * (self.size + STAGGER);
        let kept = &bytes[..bytes.len().min(self.kept)];
        self.bytes[start..start + kept.len()].copy_from_slice(kept);
        self.plain.push(about);
    }

    /// Tells the kernel again how much room each place has.
    fn reset(&mut self) {
        if !self.plain.is_empty() {
            self.plain.clear();
        }
        for header in &mut self.headers[..self.used] {
            header.msg_hdr.msg_namelen = size_of::<RawName>() as libc::socklen_t;
            header.msg_hdr.msg_controllen = Control::SIZE as _;
        }
    }

    /// Returns what is known about datagram `number` of the last batch.
    #[inline]
    pub(crate) fn received(&self, number: usize) -> Received {
        if let Some(plain) = self.plain.get(number) {
            return plain.received(self.kept);
        }
        let libc::mmsghdr { msg_hdr: header, msg_len } = &self.headers[number];
        let length = *msg_len as usize;
        Received {
            length,
            kept: length.min(self.kept),
            is_truncated: header.msg_flags & libc::MSG_TRUNC != 0,
            is_noted: header.msg_controllen > 0,
        }
    }

    /// Returns the sender of datagram `number` of the last batch.
    #[inline]
    pub(crate) fn sender(&self, number: usize) -> Remote<'_> {
        match self.plain.get(number) {
            Some(plain) => plain.sender(),
            None => remote(&self.names[number], self.headers[number].msg_hdr.msg_namelen as usize),
        }
    }

    /// Returns what the kernel says about datagram `number` of the last batch.
    pub(crate) fn notes(&self, number: usize) -> Notes {
        if let Some(plain) = self.plain.get(number) {
            return plain.notes();
        }
        Notes::of(&self.controls[number], self.headers[number].msg_hdr.msg_controllen)
    }

    /// Returns bytes of datagram `number` of the last batch.
    #[inline]
    pub(crate) fn part(&mut self, number: usize, part: Range<usize>) -> &mut [u8] {
        let start = number * (self.size + STAGGER);
        &mut self.bytes[start..start + self.size][part]
    }
}

/// Returns the remote side in the first `length` bytes of a name.
#[inline]
fn remote(name: &RawName, length: usize) -> Remote<'_> {
    if length == 0 {
        return Remote::Unix(&[]);
    }
    // SAFETY: every family has this field at the same place, and any bits are valid integers.
    let family = unsafe { name.storage.ss_family };
    if libc::c_int::from(family) == libc::AF_UNIX {
        // SAFETY: the kernel has written this variant, or left zeros; any bits are valid integers.
        return Remote::Unix(unix_name(unsafe { &name.unix }, length));
    }
    // SAFETY: the kernel has written this variant or a shorter one; any bits are valid integers.
    peer_address(unsafe { &name.ip }).map_or(Remote::Connected, Remote::Ip)
}

/// Returns the name in the first `length` bytes of the address of a Unix socket.
pub(super) fn unix_name(address: &libc::sockaddr_un, length: usize) -> &[u8] {
    let path = &address.sun_path;
    let count = length.saturating_sub(offset_of!(libc::sockaddr_un, sun_path)).min(path.len());
    // SAFETY: c_char and u8 have the same layout, and the array has at least `count` of them.
    let path = unsafe { std::slice::from_raw_parts(path.as_ptr().cast::<u8>(), count) };
    match path {
        // An abstract name may contain zeros.
        [0, ..] => path,
        _ => &path[..path.iter().position(|byte| *byte == 0).unwrap_or(count)],
    }
}

/// Receives up to `most` datagrams (`recvmmsg(2)`), and returns how many. Fewer than `most` means
/// that no more were there, or that an error waits, which the next call reports.
#[inline]
pub(crate) fn receive_batch(
    fd: BorrowedFd<'_>,
    batch: &mut Batch,
    most: usize,
) -> io::Result<usize> {
    let most = most.min(BATCH_MAX);
    batch.reset();
    batch.used = most;
    let headers = batch.headers.as_mut_ptr();
    let count = transfer(|| {
        let (call, flags) = (libc::SYS_recvmmsg, libc::MSG_DONTWAIT | libc::MSG_TRUNC);
        let timeout = std::ptr::null::<libc::timespec>();
        // SAFETY: the first `most` headers point at names, slices, controls and bytes that are
        // writable and that `batch` owns; none of these vectors ever grows, so that they do not move.
        unsafe { libc::syscall(call, fd.as_raw_fd(), headers, most, flags, timeout) }
    })?;
    batch.used = count;
    Ok(count)
}

/// Takes the first error out of the error queue of a socket (`MSG_ERRQUEUE`, `IP_RECVERR`, `ip(7)`).
///
/// # Errors
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is none.
pub(crate) fn take_refusal(fd: BorrowedFd<'_>) -> io::Result<Refusal> {
    // SAFETY: all-zero bytes are a valid sockaddr_storage, which is made of integers.
    let mut name = RawName { storage: unsafe { std::mem::zeroed() } };
    let mut control = Control::EMPTY;
    let mut header = no_header().msg_hdr;
    header.msg_name = std::ptr::from_mut(&mut name).cast();
    header.msg_namelen = size_of::<RawName>() as libc::socklen_t;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = Control::SIZE as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    transfer(|| {
        // SAFETY: the header points at a name and a control, both writable, and at no slices.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &mut header, flags) as libc::c_long }
    })?;
    let to = match remote(&name, header.msg_namelen as usize) {
        Remote::Ip(address) => Some(address),
        Remote::Connected | Remote::Unix(_) => None,
    };
    let found = control.notes(header.msg_controllen as _).find_map(|note| match note {
        Note::Refused(refused) => Some(refused),
        Note::Asked(_) | Note::Missed(_) | Note::Segment(_) => None,
    });
    let (number, was_told) = found.unwrap_or((libc::EIO, false));
    Ok(Refusal { error: io::Error::from_raw_os_error(number), to, was_told })
}

/// An option of a datagram socket that is a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatagramOption {
    /// The size of the receive buffer in bytes.
    ReceiveBuffer,
    /// The size of the send buffer in bytes.
    SendBuffer,
    /// Whether datagrams may be broadcast.
    Broadcast,
    /// The hop limit, or time to live.
    Hops,
    /// The hop limit of multicast datagrams.
    MulticastHops,
    /// Whether multicast datagrams are also received by this host.
    MulticastLoop,
    /// The traffic class, or type of service.
    TrafficClass,
    /// Whether the address that was asked is reported with each datagram.
    AskedAddress,
    /// Whether refusals of the network are queued.
    Refusals,
    /// Whether the number of dropped datagrams is reported.
    Missed,
    /// Whether datagrams of one sender are received together.
    Coalescing,
}

/// Sets an option of a datagram socket. Those of IPv4 are also set for an IPv6 socket, which may
/// receive IPv4 datagrams.
pub(crate) fn set_datagram_option(
    fd: BorrowedFd<'_>,
    option: DatagramOption,
    is_ipv6: bool,
    value: i32,
) -> io::Result<()> {
    use DatagramOption as It;
    let (v4, v6) = match option {
        It::ReceiveBuffer => return set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &value),
        It::SendBuffer => return set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &value),
        It::Broadcast => return set(fd, libc::SOL_SOCKET, libc::SO_BROADCAST, &value),
        It::Missed => return set(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &value),
        It::Coalescing => return set(fd, libc::SOL_UDP, libc::UDP_GRO, &value),
        It::Hops => (libc::IP_TTL, libc::IPV6_UNICAST_HOPS),
        It::MulticastHops => (libc::IP_MULTICAST_TTL, libc::IPV6_MULTICAST_HOPS),
        It::MulticastLoop => (libc::IP_MULTICAST_LOOP, libc::IPV6_MULTICAST_LOOP),
        It::TrafficClass => (libc::IP_TOS, libc::IPV6_TCLASS),
        It::AskedAddress if is_ipv6 => {
            return set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &value);
        }
        It::AskedAddress => (libc::IP_PKTINFO, 0),
        It::Refusals => (libc::IP_RECVERR, libc::IPV6_RECVERR),
    };
    if is_ipv6 {
        set(fd, libc::IPPROTO_IPV6, v6, &value)?;
    }
    set(fd, libc::IPPROTO_IP, v4, &value)
}

/// `setsockopt(2)` with a value that consists of integers alone.
pub(super) fn set<T: Copy>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    let (pointer, length) = (std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: `value` is readable for its own length.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, pointer, length) }).map(drop)
}

/// Returns the IPv4 address that an IPv6 address contains, or the address itself.
pub(super) fn plain(address: Ipv6Addr) -> IpAddr {
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
}
