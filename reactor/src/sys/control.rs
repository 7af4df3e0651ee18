//! The control messages of datagrams (`cmsg(3)`): what the kernel says about a datagram besides its
//! bytes and its sender.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::datagram::{Local, Remote, plain};
use super::sending::Outgoing;

/// Control messages of one datagram, aligned for their headers.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; Control::SIZE],
    /// How many bytes have been written by this side.
    used: usize,
}

/// What a control message says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Note {
    /// The datagram was sent to this address.
    Asked(Local),
    /// The kernel has dropped so many datagrams at this socket so far.
    Missed(u32),
    /// These are several datagrams of this length.
    Segment(usize),
    /// The network has refused a datagram with this error; true if the call that sent it has
    /// returned the error already.
    Refused((i32, bool)),
}

/// The length of the header of a control message.
pub(super) const HEADER: usize = size_of::<libc::cmsghdr>();

/// Rounds up to the alignment of control messages.
const fn aligned(length: usize) -> usize {
    length.next_multiple_of(size_of::<libc::size_t>())
}

impl Control {
    /// Enough for the address asked, the number of drops, and an error with its address.
    pub(super) const SIZE: usize = 192;

    /// No control messages.
    pub(super) const EMPTY: Self = Self { bytes: [0; Self::SIZE], used: 0 };

    /// Returns whether a datagram is sent with control messages.
    fn is_needed(datagram: &Outgoing<'_>) -> bool {
        datagram.from.is_some() || datagram.segment.is_some()
    }

    /// Returns the control messages that a datagram is sent with, if it needs any.
    #[inline]
    pub(super) fn of(datagram: &Outgoing<'_>) -> Option<Self> {
        Self::is_needed(datagram).then(|| Self::describing(datagram))
    }

    #[inline(never)]
    fn describing(datagram: &Outgoing<'_>) -> Self {
        let mut control = Self::EMPTY;
        if let Some(from) = datagram.from {
            control.push_source(from, datagram.to);
        }
        if let Some(segment) = datagram.segment {
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        }
        control
    }

    /// Adds the address of this host to send from (`IP_PKTINFO`, `ip(7)`; `IPV6_PKTINFO`,
    /// `ipv6(7)`).
    fn push_source(&mut self, (address, interface): Local, to: Remote<'_>) {
        let is_to_ipv6 = matches!(to, Remote::Ip(SocketAddr::V6(_)));
        match address {
            IpAddr::V4(address) if !is_to_ipv6 => {
                // in_pktinfo: the interface, which routing decides, the source, and nothing.
                let mut content = [0; 12];
                content[4..8].copy_from_slice(&address.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &content);
            }
            // An IPv4 address on an IPv6 socket is written as an IPv6 address.
            _ => {
                let (address, interface) = match address {
                    IpAddr::V4(address) => (address.to_ipv6_mapped(), 0),
                    IpAddr::V6(address) => (address, interface),
                };
                let mut content = [0; 20];
                content[..16].copy_from_slice(&address.octets());
                content[16..].copy_from_slice(&interface.to_ne_bytes());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &content);
            }
        }
    }

    fn push(&mut self, level: i32, kind: i32, content: &[u8]) {
        self.used += aligned(write_message(&mut self.bytes[self.used..], level, kind, content));
    }

    /// Returns how many bytes have been written by this side.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    /// Returns what the control messages in the first `length` bytes say.
    pub(super) fn notes(&self, length: usize) -> impl Iterator<Item = Note> {
        notes(&self.bytes[..length.min(Self::SIZE)])
    }
}

/// Returns what the control messages in `bytes` say.
fn notes(bytes: &[u8]) -> impl Iterator<Item = Note> {
    messages(bytes).filter_map(|(level, kind, content)| note(level, kind, content))
}

/// Writes a control message to the start of `room`, which is long enough. Returns its length,
/// without what aligns the next one.
pub(super) fn write_message(room: &mut [u8], level: i32, kind: i32, content: &[u8]) -> usize {
    let length: libc::size_t = HEADER + content.len();
    let size = size_of::<libc::size_t>();
    room[..size].copy_from_slice(&length.to_ne_bytes());
    room[size..size + 4].copy_from_slice(&level.to_ne_bytes());
    room[size + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
    room[HEADER..length].copy_from_slice(content);
    length
}

/// Returns the level, the kind and the content of each control message in `rest`. A length that is
/// not valid ends them.
pub(super) fn messages(mut rest: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    std::iter::from_fn(move || {
        let size = size_of::<libc::size_t>();
        let length = usize::from_ne_bytes(rest.get(..size)?.try_into().ok()?);
        let content = rest.get(HEADER..length)?;
        let message = (number(rest, size)?, number(rest, size + 4)?, content);
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(message)
    })
}

/// Reads any bytes as control messages, for a fuzz target.
///
/// # Panics
/// When one of them says what cannot be.
#[cfg(fuzzing)]
pub fn control_notes(bytes: &[u8]) {
    check_notes(bytes);
}

/// Reads any bytes as control messages. Returns how many of them say something.
///
/// # Panics
/// When one of them says what cannot be.
#[cfg(any(test, fuzzing))]
fn check_notes(bytes: &[u8]) -> usize {
    let check = |note| match note {
        Note::Segment(length) => assert!(length > 0, "datagrams without bytes are coalesced"),
        Note::Asked((address, _)) => {
            let is_kept = matches!(address, IpAddr::V4(_));
            assert!(is_kept || !address.is_multicast(), "it was sent from a group: {address}");
        }
        Note::Missed(_) | Note::Refused(_) => {}
    };
    let count = notes(bytes).map(check).count();
    assert!(count <= bytes.len() / HEADER, "{count} messages in {} bytes", bytes.len());
    count
}

/// Returns the number at `place`.
fn number(bytes: &[u8], place: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(place..place + 4)?.try_into().ok()?))
}

/// Returns what one control message says, if this module knows it.
fn note(level: i32, kind: i32, content: &[u8]) -> Option<Note> {
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            // The source for answers: for a broadcast or multicast, it is the address of the
            // interface.
            let address: [u8; 4] = content.get(4..8)?.try_into().ok()?;
            let interface = number(content, 0)?;
            Some(Note::Asked((Ipv4Addr::from(address).into(), interface as u32)))
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let address: [u8; 16] = content.get(..16)?.try_into().ok()?;
            let address = Ipv6Addr::from(address);
            let interface = number(content, 16)? as u32;
            // Nothing can be sent from a group. An IPv4 address may be one, or a broadcast; the
            // kernel does not tell an IPv6 socket its own address then.
            let asked = match plain(address) {
                IpAddr::V6(address) if address.is_multicast() => Ipv6Addr::UNSPECIFIED.into(),
                IpAddr::V4(address) if address.is_multicast() || address.is_broadcast() => {
                    Ipv4Addr::UNSPECIFIED.into()
                }
                address => address,
            };
            Some(Note::Asked((asked, interface)))
        }
        (libc::SOL_UDP, libc::UDP_GRO) => {
            let length = usize::try_from(number(content, 0)?).ok()?;
            (length > 0).then_some(Note::Segment(length))
        }
        (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => Some(Note::Missed(number(content, 0)? as u32)),
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
            // sock_extended_err: the error, and which part of the system it comes from.
            let origin = *content.get(4)?;
            let was_told = origin == libc::SO_EE_ORIGIN_LOCAL;
            Some(Note::Refused((number(content, 0)?, was_told)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let v4: IpAddr = [127, 0, 0, 2].into();
        let v6: IpAddr = Ipv6Addr::LOCALHOST.into();
        for (address, to) in [(v4, "1.2.3.4:5"), (v6, "[::1]:5"), (v4, "[::ffff:1.2.3.4]:5")] {
            let to = Remote::Ip(to.parse().expect("it is an address"));
            let from = Some((address, 3));
            let outgoing = Outgoing { slices: &[], to, from, segment: None };
            let control = Control::of(&outgoing).expect("it has a source");
            let notes: Vec<_> = control.notes(control.used()).collect();
            assert!(
                matches!(notes[..], [Note::Asked((asked, _))] if asked == address),
                "{notes:?}"
            );
        }
    }

    #[test]
    fn the_length_of_coalesced_datagrams_is_read() {
        let mut control = Control::EMPTY;
        control.push(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
        control.push(libc::SOL_UDP, libc::UDP_GRO, &1200_i32.to_ne_bytes());
        let notes: Vec<_> = control.notes(control.used()).collect();
        assert!(matches!(notes[..], [Note::Missed(7), Note::Segment(1200)]), "{notes:?}");
    }

    #[test]
    fn a_length_beyond_the_room_is_not_believed() {
        let mut control = Control::EMPTY;
        control.push(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, &7_u32.to_ne_bytes());
        assert_eq!(control.notes(control.used()).count(), 1);
        control.bytes[..8].copy_from_slice(&4000_usize.to_ne_bytes());
        assert_eq!(control.notes(Control::SIZE).count(), 0);
        assert_eq!(control.notes(3).count(), 0);
    }
    #[test]
    fn no_bytes_make_the_reader_panic_and_what_is_valid_is_read() {
        let levels = [libc::IPPROTO_IP, libc::IPPROTO_IPV6, libc::SOL_UDP, libc::SOL_SOCKET, 0];
        let kinds = [
            libc::IP_PKTINFO,
            libc::IPV6_PKTINFO,
            libc::UDP_GRO,
            libc::SO_RXQ_OVFL,
            libc::IP_RECVERR,
            libc::IPV6_RECVERR,
        ];
        let (mut random, mut read) = (Random::new(1), 0);
        for _ in 0..50_000 {
            let mut bytes = Vec::new();
            for _ in 0..random.index(5) {
                let content = random.index(30);
                // Most lengths are right, and a few far from it.
                let length = match random.below(8) {
                    0 => random.number(),
                    1 => random.below(40),
                    _ => (HEADER + content) as u64,
                };
                bytes.extend(length.to_ne_bytes());
                bytes.extend(levels[random.index(levels.len())].to_ne_bytes());
                bytes.extend(kinds[random.index(kinds.len())].to_ne_bytes());
                bytes.extend(random.bytes(content));
                bytes.resize(bytes.len().next_multiple_of(8), 0);
            }
            bytes.truncate(bytes.len() - random.index(4).min(bytes.len()));
            read += check_notes(&bytes);
        }
        assert!(read > 5_000, "only {read} messages were valid");
    }
}
