//! Datagrams without I/O: the peers that send and receive them, and those that wait to be sent.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;

use crate::output::Front;
use crate::{Output, Reply};

/// What a waiting datagram costs besides its bytes, for limits of memory: about what the kernel
/// adds to each.
const OVERHEAD: u64 = 256;

/// The remote side of datagrams: the sender of one that was received, or the receiver of one to
/// send.
///
/// A peer that was received also has the address of this host that the datagram was sent to, if the
/// socket is bound to several. What is sent to that peer leaves from there: many clients drop
/// answers that come from another address than they asked. So one sender that asks two addresses of
/// this host is two peers.
///
/// ```
/// use protocol::Peer;
///
/// let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 7)));
/// assert_eq!(peer.to_string(), "127.0.0.1:7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    name: Name,
    asked: Option<(IpAddr, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    Ip(SocketAddr),
    /// The name of a Unix socket: a path, or an abstract name after a zero byte. Empty if it has
    /// none.
    Unix(Arc<[u8]>),
}

impl Peer {
    /// Returns the peer whose Unix socket has this name (`unix(7)`): a path, an abstract name after
    /// a zero byte, or nothing. No answer can be sent to a socket without a name.
    pub fn unix(name: &[u8]) -> Self {
        Self { name: Name::Unix(name.into()), asked: None }
    }

    /// Returns this peer with the address of this host that it has asked, and the index of the
    /// network interface, zero for any: for drivers.
    #[must_use]
    pub fn asking(mut self, address: IpAddr, interface: u32) -> Self {
        self.asked = Some((address, interface));
        self
    }

    /// Returns its IP address and port, if it has them.
    pub fn address(&self) -> Option<SocketAddr> {
        match self.name {
            Name::Ip(address) => Some(address),
            Name::Unix(_) => None,
        }
    }

    /// Returns the path of its Unix socket, if it has one.
    #[cfg(unix)]
    pub fn path(&self) -> Option<&Path> {
        use std::os::unix::ffi::OsStrExt;
        let name = self.unix_name().filter(|name| !matches!(name, [] | [0, ..]))?;
        Some(Path::new(std::ffi::OsStr::from_bytes(name)))
    }

    /// Returns the name of its Unix socket as the kernel has it, if it is one.
    pub fn unix_name(&self) -> Option<&[u8]> {
        match &self.name {
            Name::Ip(_) => None,
            Name::Unix(name) => Some(name),
        }
    }

    /// Returns the address of this host that it has asked and the index of the network interface,
    /// if the socket reports them.
    pub fn asked(&self) -> Option<(IpAddr, u32)> {
        self.asked
    }

    /// Returns whether datagrams can be sent to it. A Unix socket without a name gets no answer.
    pub fn is_named(&self) -> bool {
        self.unix_name().is_none_or(|name| !name.is_empty())
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self { name: Name::Ip(address), asked: None }
    }
}

#[cfg(unix)]
impl From<&Path> for Peer {
    fn from(path: &Path) -> Self {
        use std::os::unix::ffi::OsStrExt;
        Self::unix(path.as_os_str().as_bytes())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Name::Ip(address) => address.fmt(f),
            Name::Unix(name) => match &**name {
                [] => f.write_str("a socket without a name"),
                [0, rest @ ..] => write!(f, "unix-dgram:@{}", String::from_utf8_lossy(rest)),
                path => write!(f, "unix-dgram:{}", String::from_utf8_lossy(path)),
            },
        }
    }
}

/// A datagram that did not arrive as a message: see
/// [`Service::failed`](crate::Service::failed).
#[derive(Debug)]
pub enum DatagramFailure {
    /// A received datagram was larger than the limit, so its end was lost and it was dropped.
    Truncated {
        /// Its length in bytes.
        length: usize,
    },
    /// A received datagram is not exactly one message, and was dropped.
    Malformed(Box<dyn Error + Send + Sync>),
    /// The network, or the kernel, has refused a datagram that was sent to the peer of the reply:
    /// its port is closed, there is no route, or it is too large. Networks report this late, and
    /// often not at all.
    Undelivered(io::Error),
    /// Datagrams to the peer of the reply were dropped because the peer, or this host, does not
    /// take them fast enough.
    Unsent,
    /// The kernel has dropped datagrams before they were received, because the receive buffer of
    /// the socket was full.
    Missed {
        /// How many, since this was told last.
        count: u32,
    },
}

impl fmt::Display for DatagramFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { length } => {
                write!(f, "a datagram of {length} bytes is larger than the limit")
            }
            Self::Malformed(error) => write!(f, "a datagram is not one message: {error}"),
            Self::Undelivered(error) => write!(f, "a datagram was not delivered: {error}"),
            Self::Unsent => f.write_str("a datagram was dropped: its receiver is too slow"),
            Self::Missed { count } => {
                write!(f, "the kernel dropped {count} datagrams: the receive buffer was full")
            }
        }
    }
}

/// A datagram that waits in an [`Outbox`]: its length and its receiver.
#[derive(Debug)]
pub struct Envelope {
    /// How many bytes it has.
    pub length: u64,
    /// Its receiver; `None` on a connected socket, which has one for all.
    pub peer: Option<Peer>,
}

impl Envelope {
    /// Returns its place among others: those to one peer have neighbouring places, the longest first.
    /// Different peers may share places, which only costs time.
    fn place(&self) -> u64 {
        let (host, port) = match self.peer.as_ref().and_then(Peer::address) {
            Some(SocketAddr::V4(address)) => (address.ip().to_bits(), address.port()),
            Some(SocketAddr::V6(address)) => {
                let bits = address.ip().to_bits();
                let folded = [bits, bits >> 32, bits >> 64, bits >> 96].map(|it| it as u32);
                (folded.iter().fold(0, |host, part| host ^ part), address.port())
            }
            None => (0, 0),
        };
        let shortness = u16::MAX - u16::try_from(self.length).unwrap_or(u16::MAX);
        u64::from(host) << 32 | u64::from(port) << 16 | u64::from(shortness)
    }
}

/// The part of an outbox that a [`Reply`] updates besides the output.
#[derive(Debug, Default)]
pub(crate) struct Envelopes {
    waiting: VecDeque<Envelope>,
    /// How many bytes the waiting datagrams have.
    enclosed: u64,
    /// The receiver of what is sent now.
    peer: Option<Peer>,
}

impl Envelopes {
    /// Makes everything that `output` has gained one datagram, which may be empty.
    #[inline]
    pub(crate) fn seal(&mut self, output: &Output) {
        let length = output.len() - self.enclosed;
        self.enclosed += length;
        self.waiting.push_back(Envelope { length, peer: self.peer.clone() });
    }

    pub(crate) fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    pub(crate) fn set_peer(&mut self, peer: &Peer) {
        self.peer = Some(peer.clone());
    }
}

/// Datagrams that wait to be sent, in order: an [`Output`], and where each of them ends. Drivers
/// of datagrams keep one for each socket.
///
/// ```
/// use protocol::codecs::Bytes;
/// use protocol::{Outbox, Peer};
///
/// let peer = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 7)));
/// let mut outbox = Outbox::new();
/// outbox.reply(&mut Bytes, Some(peer), |reply| {
///     reply.send(b"one");
///     reply.send(b"");
/// });
/// let lengths: Vec<u64> = outbox.waiting().map(|envelope| envelope.length).collect();
/// assert_eq!(lengths, [3, 0]);
/// ```
#[derive(Debug, Default)]
pub struct Outbox {
    output: Output,
    envelopes: Envelopes,
}

impl Outbox {
    /// Returns an empty outbox.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lends `call` a reply to `peer`. Each message that it sends is a datagram. Bytes that were
    /// appended otherwise belong to the next message of the call; after the last, they are a
    /// datagram of their own.
    #[inline]
    pub fn reply<C: crate::Codec, T>(
        &mut self,
        codec: &mut C,
        peer: Option<Peer>,
        call: impl FnOnce(&mut Reply<'_, C>) -> T,
    ) -> T {
        self.envelopes.peer = peer;
        let result = call(&mut Reply::enveloped(codec, &mut self.output, &mut self.envelopes));
        self.seal_rest();
        result
    }

    /// Lends `decode` the output for the answers of the codec itself. They are one datagram to
    /// `peer`.
    #[inline]
    pub fn answer<T>(&mut self, peer: &Option<Peer>, decode: impl FnOnce(&mut Output) -> T) -> T {
        let result = decode(&mut self.output);
        if self.output.len() != self.envelopes.enclosed {
            self.envelopes.peer.clone_from(peer);
            self.seal_rest();
        }
        result
    }

    #[inline]
    fn seal_rest(&mut self) {
        if self.output.len() != self.envelopes.enclosed {
            self.envelopes.seal(&self.output);
        }
    }

    /// Returns the datagrams that wait, in order. Their bytes are those of
    /// [`output`](Self::output), one after the other.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &Envelope> {
        self.envelopes.waiting.iter()
    }

    /// Returns the datagram that waits and its bytes, if it is the only one, and they are contiguous
    /// and at least one. This is the usual case of a peer that waits for each answer.
    #[inline]
    pub fn only(&self) -> Option<(&Envelope, &[u8])> {
        let envelope =
            self.envelopes.waiting.front().filter(|_| self.envelopes.waiting.len() == 1)?;
        match self.output.front() {
            Front::Whole(bytes) => Some((envelope, bytes)),
            _ => None,
        }
    }

    /// Returns the bytes of the datagrams that wait.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Returns whether no datagram waits.
    pub fn is_empty(&self) -> bool {
        self.envelopes.waiting.is_empty()
    }

    /// Returns what the waiting datagrams cost, in bytes: their own, and 256 for each.
    pub fn cost(&self) -> u64 {
        self.output.len() + OVERHEAD * self.envelopes.waiting.len() as u64
    }

    /// Removes the first datagram, which was sent or is dropped, and returns its envelope.
    #[inline]
    pub fn remove_first(&mut self) -> Option<Envelope> {
        let first = self.envelopes.waiting.pop_front()?;
        self.forget(first.length);
        Some(first)
    }

    /// Removes the bytes of datagrams that no longer wait.
    #[inline]
    fn forget(&mut self, length: u64) {
        self.envelopes.enclosed -= length;
        self.output.consume(length);
    }

    /// Removes the first `count` datagrams, which were sent: like as many calls of
    /// [`remove_first`](Self::remove_first), for less.
    ///
    /// # Panics
    /// Panics if fewer wait.
    #[inline]
    pub fn remove(&mut self, count: usize) {
        let length = if count == 1 {
            self.envelopes.waiting.pop_front().expect("no datagram waits").length
        } else {
            self.take_lengths(count)
        };
        self.forget(length);
    }

    /// Removes the first `count` envelopes, and returns the lengths of their datagrams together.
    fn take_lengths(&mut self, count: usize) -> u64 {
        self.envelopes.waiting.drain(..count).map(|it| it.length).sum()
    }

    /// Brings the datagrams to each peer together, the longest first; those of one length keep their
    /// order. Then a driver can give several to the kernel as one (`UDP_SEGMENT`, `udp(7)`): all of one
    /// length, and one that is shorter. So any two to one peer can leave together.
    ///
    /// It does nothing if their bytes are not contiguous, which they are up to 64 KiB: moving more
    /// again and again would take longer than it saves.
    ///
    /// ```
    /// use protocol::Outbox;
    /// use protocol::codecs::Bytes;
    ///
    /// let mut outbox = Outbox::new();
    /// outbox.reply(&mut Bytes, None, |reply| {
    ///     reply.send(b"short");
    ///     reply.send(b"the longest");
    ///     reply.send(b"longer");
    /// });
    /// outbox.group_by_peer();
    /// assert_eq!(outbox.output().to_vec(), b"the longestlongershort");
    /// ```
    pub fn group_by_peer(&mut self) {
        let Front::Whole(mut rest) = self.output.front() else { return };
        let waiting = &mut self.envelopes.waiting;
        if waiting.iter().is_sorted_by_key(|it| it.place()) {
            return;
        }
        let mut sorted = Vec::with_capacity(rest.len());
        let mut letters = Vec::with_capacity(waiting.len());
        for envelope in waiting.drain(..) {
            let (bytes, others) = rest.split_at(envelope.length as usize);
            letters.push((envelope, bytes));
            rest = others;
        }
        letters.sort_by_cached_key(|(envelope, _)| envelope.place());
        for (envelope, bytes) in letters {
            waiting.push_back(envelope);
            sorted.extend_from_slice(bytes);
        }
        self.output.clear();
        self.output.append(&sorted);
    }

    /// Returns a copy of the bytes of the first datagram.
    pub fn first_bytes(&self) -> Vec<u8> {
        let length = self.envelopes.waiting.front().map_or(0, |first| first.length as usize);
        let mut bytes = Vec::with_capacity(length);
        let mut slices = [io::IoSlice::new(&[]); 64];
        let filled = self.output.gather(&mut slices);
        for slice in &slices[..filled] {
            bytes.extend_from_slice(&slice[..slice.len().min(length - bytes.len())]);
        }
        if bytes.len() < length {
            bytes = self.output.to_vec();
            bytes.truncate(length);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::{Bytes, Lines};

    fn peer(port: u16) -> Peer {
        SocketAddr::from(([127, 0, 0, 1], port)).into()
    }

    #[test]
    fn each_message_is_a_datagram_and_bytes_without_a_message_are_one() {
        let mut outbox = Outbox::new();
        outbox.reply(&mut Lines::default(), Some(peer(1)), |reply| {
            reply.send(b"one");
            reply.parts().1.append(b"part ");
            reply.send(b"two");
            reply.to(&peer(2));
            reply.share((*b"three").into());
            reply.parts().1.append(b"rest");
        });
        let waiting: Vec<_> =
            outbox.waiting().map(|it| (it.length, it.peer.clone().expect("it has one"))).collect();
        assert_eq!(waiting, [(4, peer(1)), (9, peer(1)), (5, peer(2)), (4, peer(2))]);
        assert_eq!(outbox.output().to_vec(), b"one\npart two\nthreerest");
        assert_eq!(outbox.cost(), 22 + 4 * OVERHEAD);
        assert_eq!(outbox.first_bytes(), b"one\n");
        assert_eq!(outbox.remove_first().map(|it| it.length), Some(4));
        assert_eq!(outbox.first_bytes(), b"part two\n");
        outbox.remove(2);
        assert_eq!((outbox.first_bytes(), outbox.cost()), (b"rest".to_vec(), 4 + OVERHEAD));
        outbox.remove(1);
        assert!(outbox.is_empty() && outbox.output().is_empty());
    }

    #[test]
    fn the_only_datagram_is_lent_with_its_bytes_unless_they_are_in_parts() {
        let mut outbox = Outbox::new();
        assert!(outbox.only().is_none());
        outbox.reply(&mut Bytes, Some(peer(1)), |reply| reply.send(b"one"));
        let only = outbox.only().map(|(envelope, bytes)| (envelope.peer.clone(), bytes));
        assert_eq!(only, Some((Some(peer(1)), &b"one"[..])));
        outbox.reply(&mut Bytes, Some(peer(2)), |reply| reply.send(b"two"));
        assert!(outbox.only().is_none(), "two wait");
        outbox.remove(1);
        assert_eq!(
            outbox.only().map(|(envelope, bytes)| (envelope.length, bytes)),
            Some((3, &b"two"[..]))
        );
        outbox.remove(1);
        outbox.reply(&mut Bytes, None, |reply| {
            reply.parts().1.share([7; 100].into());
            reply.send(b"rest");
        });
        assert!(outbox.only().is_none(), "it is in two parts");
        assert_eq!(outbox.waiting().map(|it| it.length).collect::<Vec<_>>(), [104]);
    }

    #[test]
    fn datagrams_to_one_peer_come_together_the_longest_first() {
        let far = Peer::from(SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 2)));
        let [one, two] = [peer(1), peer(2)];
        let mut outbox = Outbox::new();
        let sent =
            [(&two, "a"), (&one, "bbb"), (&far, "c"), (&two, ""), (&one, "ddd"), (&two, "ee")];
        for (to, text) in sent {
            outbox.reply(&mut Bytes, Some(to.clone()), |reply| reply.send(text.as_bytes()));
        }
        outbox.group_by_peer();
        let waiting: Vec<_> =
            outbox.waiting().map(|it| (it.peer.clone().expect("it has one"), it.length)).collect();
        let own = |peer: &Peer, length| (peer.clone(), length);
        let [a, b, c] = [own(&two, 2), own(&two, 1), own(&two, 0)];
        assert_eq!(waiting, [own(&far, 1), own(&one, 3), own(&one, 3), a, b, c]);
        assert_eq!(outbox.output().to_vec(), b"cbbbdddeea");
        outbox.group_by_peer();
        outbox.remove(6);
        assert!(outbox.is_empty() && outbox.output().is_empty());
    }

    #[test]
    fn datagrams_in_several_segments_stay_in_their_order() {
        let mut outbox = Outbox::new();
        outbox.reply(&mut Bytes, None, |reply| {
            reply.send(b"short");
            reply.share([7; 100].into());
        });
        outbox.group_by_peer();
        assert_eq!(outbox.waiting().map(|it| it.length).collect::<Vec<_>>(), [5, 100]);
        assert_eq!(outbox.first_bytes(), b"short");
    }

    #[test]
    #[should_panic(expected = "no datagram waits")]
    fn no_datagram_can_be_removed_when_none_waits() {
        Outbox::new().remove(1);
    }

    #[test]
    fn an_empty_message_is_an_empty_datagram_and_no_message_is_none() {
        let mut outbox = Outbox::new();
        outbox.reply(&mut Bytes, None, |_reply| ());
        assert!(outbox.is_empty());
        outbox.reply(&mut Bytes, None, |reply| reply.send(b""));
        assert_eq!(outbox.waiting().len(), 1);
        assert_eq!(outbox.remove_first().map(|it| it.length), Some(0));
        assert!(outbox.is_empty() && outbox.cost() == 0);
    }

    #[test]
    fn the_first_of_many_segments_is_copied_whole() {
        let mut outbox = Outbox::new();
        outbox.reply(&mut Bytes, None, |reply| {
            for _ in 0..200 {
                reply.parts().1.share([7; 100].into());
            }
            reply.send(b"");
            reply.send(b"next");
        });
        assert_eq!(outbox.first_bytes(), [7; 20_000]);
    }

    #[test]
    fn peers_print_as_users_write_them() {
        assert_eq!(peer(7).to_string(), "127.0.0.1:7");
        assert_eq!(Peer::from(Path::new("/run/x")).to_string(), "unix-dgram:/run/x");
        assert_eq!(Peer::unix(b"\0x").to_string(), "unix-dgram:@x");
        assert_eq!(Peer::unix(b"").to_string(), "a socket without a name");
        assert!(Peer::unix(b"\0x").path().is_none() && Peer::unix(b"\0x").is_named());
        assert!(!Peer::unix(b"").is_named() && peer(7).is_named());
    }

    #[test]
    fn the_codec_s_own_answers_are_one_datagram() {
        let mut outbox = Outbox::new();
        outbox.answer(&Some(peer(3)), |output| output.append(b"pong"));
        outbox.answer(&Some(peer(3)), |_output| ());
        assert_eq!(outbox.waiting().map(|it| it.length).collect::<Vec<_>>(), [4]);
    }
}
