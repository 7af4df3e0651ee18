//! A simulated datagram socket: its buffer, and the refusals that it was told of.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::sim::calls::error;
use crate::sim::socket::Name;
use crate::sys::DatagramOption;

/// What the kernel takes for each datagram in a buffer, besides its bytes.
const OVERHEAD: usize = 768;
/// The receive buffer of a socket (`net.core.rmem_default`).
const RECEIVE_BUFFER: usize = 212_992;
/// A datagram socket.
pub(super) struct Datagrams {
    pub(super) peer: Option<Name>,
    pub(super) received: VecDeque<Letter>,
    /// How much of the buffer the received ones take.
    used: usize,
    room: usize,
    /// What the network has refused, the oldest first: the error, and the receiver.
    pub(super) refusals: VecDeque<(i32, SocketAddr)>,
    /// Refusals are queued (`IP_RECVERR`).
    pub(super) takes_refusals: bool,
    /// The address that a datagram was sent to is reported.
    pub(super) tells_asked: bool,
    pub(super) may_broadcast: bool,
    pub(super) groups: Vec<IpAddr>,
    /// How many datagrams were dropped since the buffer was full.
    pub(super) missed: u32,
}

/// A datagram that has arrived.
pub(super) struct Letter {
    pub(super) from: Option<Name>,
    pub(super) to: Option<IpAddr>,
    pub(super) bytes: Vec<u8>,
    pub(super) missed: u32,
}

impl Datagrams {
    pub(super) fn new() -> Self {
        Self {
            peer: None,
            received: VecDeque::new(),
            used: 0,
            room: RECEIVE_BUFFER,
            refusals: VecDeque::new(),
            takes_refusals: false,
            tells_asked: false,
            may_broadcast: false,
            groups: Vec::new(),
            missed: 0,
        }
    }

    pub(super) fn has_received(&self) -> bool {
        !self.received.is_empty()
    }

    pub(super) fn has_refusals(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// Returns whether there is room for a datagram of this size. There always is for the first.
    pub(super) fn has_room(&self, size: usize) -> bool {
        self.used == 0 || self.used + size + OVERHEAD <= self.room
    }

    /// Puts a datagram into the buffer. Returns whether there was room.
    pub(super) fn put(&mut self, mut letter: Letter) -> bool {
        if !self.has_room(letter.bytes.len()) {
            self.missed += 1;
            return false;
        }
        letter.missed = self.missed;
        self.used += letter.bytes.len() + OVERHEAD;
        self.received.push_back(letter);
        true
    }

    pub(super) fn take(&mut self) -> Option<Letter> {
        let letter = self.received.pop_front()?;
        self.used -= letter.bytes.len() + OVERHEAD;
        Some(letter)
    }

    /// Returns whether a datagram from `from` is for this socket, which its address has reached.
    pub(super) fn takes(&self, from: &Name) -> bool {
        self.peer.as_ref().is_none_or(|peer| peer == from)
    }

    pub(super) fn set(&mut self, option: DatagramOption, value: i32) {
        let size = usize::try_from(value).unwrap_or(0);
        match option {
            // The kernel doubles the value.
            DatagramOption::ReceiveBuffer => self.room = (2 * size).min(2 * RECEIVE_BUFFER),
            DatagramOption::Broadcast => self.may_broadcast = value != 0,
            DatagramOption::AskedAddress => self.tells_asked = value != 0,
            DatagramOption::Refusals => self.takes_refusals = value != 0,
            DatagramOption::SendBuffer
            | DatagramOption::Hops
            | DatagramOption::MulticastHops
            | DatagramOption::MulticastLoop
            | DatagramOption::TrafficClass
            | DatagramOption::Missed
            | DatagramOption::Coalescing => {}
        }
    }

    pub(super) fn join(&mut self, group: IpAddr) -> io::Result<()> {
        if !group.is_multicast() {
            return error(libc::EINVAL);
        }
        if self.groups.contains(&group) {
            return error(libc::EADDRINUSE);
        }
        self.groups.push(group);
        Ok(())
    }
}
